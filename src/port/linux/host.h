/* SPDX-License-Identifier: MIT */
/* host.h: what the files of the Linux port share. */
#pragma once

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include "port/port.h"

/*
 * A host thread that runs kernel threads, one after the other.
 * go    1: a baton was handed to it. Set by the giver (release), taken by the thread (acquire).
 * cpu   whose baton. Written by the giver before go, and only while the thread holds none.
 */
struct port_thread {
	_Atomic uint32_t go;
	struct port_cpu *_Atomic cpu;
	uint32_t tid;
	void *gs_base; /* what this host thread's GS base is now */
	void (*entry)(void *argument);
	void *argument;
	void *stack_limit, *stack_base;
	void *alternate;
	jmp_buf home; /* where the host thread goes back to the pool */
	struct port_thread *next_free;
	_Atomic uint32_t kicked; /* port_thread_kick: the kernel wants it. Cleared by itself. */
	/* Messages that it has claimed and not yet published; on_freeze does not stop it there. */
	volatile uint32_t publishing;
};

extern __thread struct port_thread *host_self __attribute__((tls_model("initial-exec")));

/* Signals. A standard signal for NMIs: one running, one pending, the rest coalesce. */
#define HOST_SIGNAL_NMI       SIGUSR1
#define HOST_SIGNAL_INTERRUPT SIGUSR2
#define HOST_SIGNAL_FREEZE    SIGXCPU
#define HOST_SIGNAL_HOLD      SIGVTALRM

#define HOST_STACK_SIZE     (256u << 10)
#define HOST_ALTERNATE_SIZE (128u << 10)

/* System calls without libc's wrappers: no errno, no cancellation points. Negative errno on
 * failure. */
static inline long host_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

long host_futex_wait(_Atomic uint32_t *word, uint32_t value, const struct timespec *absolute);
long host_futex_wake(_Atomic uint32_t *word, int count); /* how many woke */
void host_tgkill(uint32_t tid, int signal);

/* The processor whose baton the calling thread holds, or 0; an idle thread's sleep is then over. */
struct port_cpu *host_held_cpu(void);
/* False: the idle thread does not sleep with its baton. NMI-safe. */
bool host_idle_wake(struct port_cpu *cpu);
/* The calling thread leaves its present frames for good. */
void host_stack_abandon(void);

/* Start a device thread, which has this name; the machine's signals are kept away from it. */
bool host_device_start(void *(*main)(void *), void *argument, const char *name);

void host_on_trap(int number, siginfo_t *info, void *context);
bool host_signals_install(void);
void host_signals_prepare_thread(struct port_thread *thread);
bool host_threads_start(void);
bool host_clock_start(void);
bool host_console_start(void);
bool host_request_start(void);
void host_user_start(void);
/* In a handler on a thread without a baton: it may wait for its user thread, which it shall not. */
void host_user_interrupted(void *context);
