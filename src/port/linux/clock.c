/* SPDX-License-Identifier: MIT */
/*
 * clock.c: time, and the clock device: a thread without a baton that sleeps until the earliest
 * armed deadline.
 *
 * `deadline` is lowered by anyone (NMI-safe) and raised by the clock's thread alone; `armed` is its
 * futex. An arming that comes while ke_port_clock runs is seen because the thread reads `armed`
 * before it takes the deadline.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <sys/prctl.h>
#include <time.h>
#include "port/linux/host.h"
#include "port/linux/sanitize.h"

#define EPOCH_1601_TO_1970_100NS 116444736000000000ull
#define SPIN_BEFORE_SLEEP        24 /* pauses: about 1 us */
#define SLEEP_NS                 5000

static uint64_t boot_ns;
static _Atomic uint64_t deadline = UINT64_MAX;
static _Atomic uint32_t armed;

static uint64_t read_clock(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now); /* no lock; of the thread, a system call */
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t port_time_ns(void)
{
	return read_clock(CLOCK_MONOTONIC) - boot_ns;
}

uint64_t port_time_thread_ns(void)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t port_time_system(void)
{
	return read_clock(CLOCK_REALTIME) / 100 + EPOCH_1601_TO_1970_100NS;
}

/*
 * After about 1 us the wait goes on asleep, a little at a time: sched_yield would give the rest of
 * this thread's time slice away, so that on a busy host each round would last as long as the slices
 * of everybody else.
 */
void port_spin(unsigned round)
{
	if (round < SPIN_BEFORE_SLEEP) {
		__builtin_ia32_pause();
		return;
	}
	unsigned times = (round - SPIN_BEFORE_SLEEP) / 16;
	struct timespec pause = {.tv_nsec = SLEEP_NS * (times < 8 ? 1 + (long)times : 8)};
	host_syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, (long)&pause, 0, 0, 0);
}

void port_wait(_Atomic uint32_t *word, uint32_t value)
{
	for (unsigned round = 0; round < SPIN_BEFORE_SLEEP; round++) {
		if (atomic_load_explicit(word, memory_order_acquire) != value)
			return;
		__builtin_ia32_pause();
	}
	host_delay();
	host_futex_wait(word, value, NULL);
}

void port_wake(_Atomic uint32_t *word)
{
	host_delay();
	host_futex_wake(word, INT32_MAX);
}

void port_wake_one(_Atomic uint32_t *word)
{
	host_delay();
	host_futex_wake(word, 1);
}

void port_clock_arm(uint64_t deadline_ns)
{
	uint64_t current = atomic_load(&deadline);
	do {
		if (current <= deadline_ns)
			return;
	} while (!atomic_compare_exchange_weak(&deadline, &current, deadline_ns));
	atomic_fetch_add(&armed, 1);
	host_futex_wake(&armed, 1);
}

static void *clock_main(void *unused)
{
	(void)unused;
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	for (;;) {
		uint32_t seen = atomic_load(&armed);
		uint64_t until = atomic_load(&deadline);
		if (until > port_time_ns()) {
			uint64_t absolute = until + boot_ns;
			struct timespec at = {.tv_sec = (time_t)(absolute / 1000000000u),
					      .tv_nsec = (long)(absolute % 1000000000u)};
			host_futex_wait(&armed, seen, until == UINT64_MAX ? NULL : &at);
			continue;
		}
		atomic_store(&deadline, UINT64_MAX);
		uint64_t next = ke_port_clock(port_time_ns());
		if (next != UINT64_MAX)
			port_clock_arm(next);
	}
	return NULL;
}

bool host_clock_start(void)
{
	boot_ns = read_clock(CLOCK_MONOTONIC);
	return host_device_start(clock_main, NULL, "ketch-clock");
}
