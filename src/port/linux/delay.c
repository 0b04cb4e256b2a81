/* SPDX-License-Identifier: MIT */
/*
 * delay.c: pauses at random, to make races wider (sanitizer builds, or -Dtorture_delays=true).
 *
 * The port calls host_delay where an order between threads matters: after a baton was let go,
 * before it is published, between a latch and its signal, in a grace wait. Without KETCH_DELAY_SEED
 * in the environment that costs a load. Each thread draws from its own sequence, which the seed and
 * the order of the threads' first pauses determine; so a seed makes a failure likely again, not
 * certain.
 *
 * Contexts: any, signal handlers too; no locks. A handler that interrupts a draw draws the same
 * number again, which is as good.
 */
#include "port/linux/sanitize.h"
#ifdef HOST_DELAYS
#include <stdlib.h>
#include <time.h>
#include "port/linux/host.h"

#define LONGEST_NS 200000u

static uint32_t seed; /* 0: no pauses; set before there are threads */
static _Atomic uint32_t threads;
static __thread uint32_t state __attribute__((tls_model("initial-exec")));

void host_delays_start(void)
{
	const char *text = getenv("KETCH_DELAY_SEED");
	seed = text ? (uint32_t)strtoul(text, NULL, 0) : 0;
}

static uint32_t draw(void)
{
	uint32_t x = state;
	if (!x)
		x = (seed + atomic_fetch_add(&threads, 1)) * 2654435761u | 1;
	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return state = x;
}

void host_delay(void)
{
	if (!seed)
		return;
	uint32_t x = draw();
	switch (x >> 27) { /* 3 in 32 */
	case 0:
		for (uint32_t i = x & 255; i; i--)
			__builtin_ia32_pause();
		break;
	case 1:
		host_syscall(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
		break;
	case 2: {
		struct timespec pause = {.tv_nsec = (long)(x & 0x7ffffff) % LONGEST_NS};
		host_syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, (long)&pause, 0, 0, 0);
		break;
	}
	default:
		break;
	}
}
#endif
