/* SPDX-License-Identifier: MIT */
/*
 * policy.c: how functions complete, and failures on demand.
 *
 * A consumer must survive every legal way to complete (NDK-75..79): inline, STATUS_PENDING with the
 * completion called before the return, or later, by a DPC or at PASSIVE_LEVEL.
 *
 * Any IRQL <= DISPATCH_LEVEL; no locks: mode and plans are set before drivers run, counters and the
 * generator's state are atomic. The generator hands out numbers in the order of its callers, so a
 * seed repeats a run only as far as the calls come in the same order.
 *
 * Implements DEF-3, DEF-4 and the command's --ndk-complete and --ndk-fail. Chosen: a failure on
 * demand comes asynchronously where the mode would make a success pend, else inline; a work
 * request, which never pends, then completes with STATUS_ACCESS_VIOLATION, as if its own memory
 * were not accessible (post.c). Every function counts its calls from boot, all objects together.
 */
#include "ndk/policy.h"
#include <stdatomic.h>
#include "rtl/rtl.h"

struct plan {
	const char *name;
	int32_t status;
	uint32_t nth[NDK_FAILURES]; /* the calls that fail; 0: none */
	_Atomic uint32_t calls;
};

static struct plan plans[] = {
#define PLAN(function, code) {.name = #function, .status = (int32_t)(code)},
	NDK_FUNCTIONS(PLAN)
#undef PLAN
};

bool ndk_failures;
static enum ndk_complete mode;
static _Atomic uint64_t state;

void ndk_policy_set(enum ndk_complete complete, uint64_t seed)
{
	mode = complete;
	atomic_store_explicit(&state, seed, memory_order_relaxed);
}

bool ndk_policy_fail(const char *name, uint32_t nth)
{
	static const char *const others[][2] = {{"WskOpenNdkAdapter", "OpenAdapter"},
						{"AcceptEx", "Accept"},
						{"CompleteConnectEx", "CompleteConnect"}};
	if (name[0] == 'N' && name[1] == 'd' && name[2] == 'k')
		name += 3;
	for (unsigned i = 0; i < sizeof others / sizeof *others; i++) {
		if (rtl_equal_nocase(others[i][0], name))
			name = others[i][1];
	}
	for (unsigned i = 0; i < NDK_FUNCTION_COUNT; i++) {
		if (!rtl_equal_nocase(plans[i].name, name))
			continue;
		for (unsigned j = 0; j < NDK_FAILURES; j++) {
			if (plans[i].nth[j])
				continue;
			plans[i].nth[j] = nth;
			ndk_failures = true;
			return true;
		}
	}
	return false;
}

bool ndk_must_fail_slow(enum ndk_function function, int32_t *status)
{
	struct plan *plan = &plans[function];
	uint32_t call = atomic_fetch_add_explicit(&plan->calls, 1, memory_order_relaxed) + 1;
	for (unsigned i = 0; i < NDK_FAILURES && plan->nth[i]; i++) {
		if (call != plan->nth[i])
			continue;
		*status = plan->status;
		return true;
	}
	return false;
}

/* splitmix64: each draw takes the next state, so draws of several processors never repeat one. */
uint32_t ndk_policy_draw(uint32_t below)
{
	if (mode != NDK_COMPLETE_RANDOM)
		return 0;
	uint64_t value =
		atomic_fetch_add_explicit(&state, 0x9e3779b97f4a7c15, memory_order_relaxed);
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
	value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
	return (uint32_t)(((value ^ (value >> 31)) >> 32) * below >> 32);
}

bool ndk_policy_random(void)
{
	return mode == NDK_COMPLETE_RANDOM;
}

enum ndk_how ndk_policy_how(bool close)
{
	switch (mode) {
	case NDK_COMPLETE_INLINE:
		return NDK_INLINE;
	case NDK_COMPLETE_PENDING:
		return NDK_LATER;
	case NDK_COMPLETE_RANDOM:
		return (enum ndk_how)ndk_policy_draw(3);
	default:
		return close ? NDK_LATER : NDK_INLINE;
	}
}
