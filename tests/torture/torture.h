/* SPDX-License-Identifier: MIT */
/* torture.h: what the torture drivers share: a seed (-DSEED=N), a number of rounds (-DROUNDS=N),
 * random numbers. */
#pragma once

#include "../drivers/check.h"
#include <ntaffinity.h>

#ifndef SEED
#define SEED 1
#endif

typedef struct {
	ULONG64 state;
} RANDOM;

/* Each worker has its own sequence, made by the seed and its number. */
CHECK_HELPER VOID random_start(RANDOM *random, ULONG worker)
{
	random->state = (ULONG64)SEED * 0x9e3779b97f4a7c15ull + worker * 0xbf58476d1ce4e5b9ull + 1;
}

/* 0 .. limit - 1 */
CHECK_HELPER ULONG random_below(RANDOM *random, ULONG limit)
{
	ULONG64 x = random->state += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return (ULONG)((x ^ (x >> 31)) % limit);
}

CHECK_HELPER LARGE_INTEGER torture_us(LONG us)
{
	LARGE_INTEGER time;
	time.QuadPart = -10LL * us;
	return time;
}
