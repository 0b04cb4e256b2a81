/* SPDX-License-Identifier: MIT */
/* sanitize.h: what builds for sanitizers and torture need of the port; nothing of it is left in
 * others. */
#pragma once

#include <stdbool.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HOST_TSAN 1
#endif
#endif
#if !defined(HOST_TSAN) && defined(__SANITIZE_THREAD__)
#define HOST_TSAN 1
#endif
#ifndef HOST_TSAN
#define HOST_TSAN 0
#endif

/*
 * A point where races are likely: with KETCH_DELAY_SEED=N in the environment the thread pauses here
 * now and then, for up to 200 us. Callable wherever the port's code runs, handlers included.
 */
#ifdef HOST_DELAYS
void host_delays_start(void);
void host_delay(void);
#else
static inline void host_delays_start(void)
{
}
static inline void host_delay(void)
{
}
#endif

#if HOST_TSAN
struct sigaction;
struct port_cpu;
/* sigaction() for our handlers under ThreadSanitizer. */
bool host_tsan_install(int number, const struct sigaction *action);
/* From now on this processor's signals are sent again until they have been taken. */
void host_tsan_watch(struct port_cpu *cpu);
bool host_tsan_start(void);
#endif
