/* SPDX-License-Identifier: MIT */
/*
 * thread.c: host threads that take turns as virtual processors (DESIGN.md section 2, the baton's
 * protocol).
 *
 * Contexts. port_thread_switch, port_thread_exit and port_cpu_start run on a baton at
 * DISPATCH_LEVEL or above; handlers of signal.c may interrupt them at any instruction and trust
 * host_held_cpu alone. Locks. `pool_lock` is a spin lock around the list of parked host
 * threads. On a baton it is taken at DISPATCH_LEVEL or above (port.h), so its holder is never
 * parked; the filler takes it without a baton.
 *
 * A hand-off: the giver stores holder = 0, writes to->cpu, sets to->go (release) and wakes it. The
 * taker clears go (acquire), sets GS base, publishes holder (seq_cst), then tests the NMI latch
 * (seq_cst): a sender sets the latch before it reads holder, so either it sees the taker and
 * signals it, or the taker sees the latch. Maskable interrupts that came meanwhile are found by the
 * core when it lowers the IRQL.
 *
 * Borrowing. A user thread that enters the kernel wants a processor at once, and waking an idle
 * thread only to have it hand over its baton would cost two switches of the host. `asleep` says
 * whose the baton of a sleeping idle thread (the sleeper) is:
 *
 *	AWAKE -> ASLEEP   the sleeper, in port_cpu_idle
 *	ASLEEP -> AWAKE   whoever wakes it (a kick), or a handler that runs on it, or itself
 *	ASLEEP -> LENT    the borrower (port_cpu_claim)
 *	LENT -> ASLEEP    the holder at that time (port_cpu_return): the borrower, or to whom the
 *			  baton was handed meanwhile
 *
 * Each leaves ASLEEP by a compare-exchange, so one of them wins. The sleeper's host thread sleeps
 *on `asleep` all the while; only AWAKE ends its sleep. A handler on it must not run kernel code
 * while somebody else may take the baton: host_held_cpu first makes ASLEEP to AWAKE, or finds LENT
 * and does nothing. The borrower publishes itself in holder, then tests the latch; the returner
 * publishes the sleeper in holder, then stores ASLEEP, then tests latch and pending word (all
 * seq_cst). So a sender that still read the other's id in holder, and whose signal did nothing
 * there, has set its bit before the test: the tester finds it and signals (an NMI) or wakes (the
 * pending word; a borrower's core tests it when it lowers the IRQL).
 */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include "port/linux/host.h"
#include "port/linux/memcheck.h"
#include "port/linux/sanitize.h"

#define POOL_SPARE 6 /* parked threads that the filler keeps ready */

__thread struct port_thread *host_self __attribute__((tls_model("initial-exec")));

static bool have_wrgsbase;
static _Atomic uint32_t pool_lock;
static struct port_thread *pool_free;
static _Atomic uint32_t pool_count;
static _Atomic uint32_t pool_coming; /* spawned, not yet in the pool */
static _Atomic uint32_t pool_wanted; /* the filler's futex: changes when the pool runs low */
static _Atomic uint32_t pool_failed; /* times the host refused a thread */

long host_futex_wait(_Atomic uint32_t *word, uint32_t value, const struct timespec *absolute)
{
	return host_syscall(SYS_futex, (long)word, FUTEX_WAIT_BITSET_PRIVATE, value, (long)absolute,
			    0, FUTEX_BITSET_MATCH_ANY);
}

long host_futex_wake(_Atomic uint32_t *word, int count)
{
	return host_syscall(SYS_futex, (long)word, FUTEX_WAKE_PRIVATE, count, 0, 0, 0);
}

void host_tgkill(uint32_t tid, int signal)
{
	static _Atomic uint32_t process;
	uint32_t pid = atomic_load_explicit(&process, memory_order_relaxed);
	if (!pid) {
		pid = (uint32_t)host_syscall(SYS_getpid, 0, 0, 0, 0, 0, 0);
		atomic_store_explicit(&process, pid, memory_order_relaxed);
	}
	host_syscall(SYS_tgkill, pid, tid, signal, 0, 0, 0);
}

struct port_cpu *host_held_cpu(void)
{
	struct port_thread *self = host_self;
	if (!self)
		return NULL;
	struct port_cpu *cpu = atomic_load(&self->cpu);
	if (!cpu || atomic_load(&cpu->holder) != self->tid)
		return NULL;
	uint32_t asleep = PORT_CPU_ASLEEP;
	if (!atomic_load(&cpu->asleep) || cpu->sleeper != self ||
	    atomic_compare_exchange_strong(&cpu->asleep, &asleep, PORT_CPU_AWAKE))
		return cpu;
	return asleep == PORT_CPU_LENT ? NULL : cpu;
}

static void gs_base_set(struct port_thread *self, void *base)
{
	if (self->gs_base == base)
		return;
	self->gs_base = base;
	if (have_wrgsbase)
		__asm__ volatile("wrgsbase %0" : : "r"(base) : "memory");
	else
		host_syscall(SYS_arch_prctl, ARCH_SET_GS, (long)base, 0, 0, 0, 0);
}

static void baton_give(struct port_cpu *cpu, struct port_thread *to)
{
	atomic_store(&to->cpu, cpu);
	host_delay();
	atomic_store_explicit(&to->go, 1, memory_order_release); /* pairs with port_thread_wait */
	host_futex_wake(&to->go, 1);
}

static void baton_publish(struct port_cpu *cpu, struct port_thread *self)
{
	gs_base_set(self, cpu->gs_base);
	host_delay();
	atomic_store(&cpu->holder, self->tid);
	host_delay();
	if (atomic_load(&cpu->nmi))
		host_tgkill(self->tid, HOST_SIGNAL_NMI);
}

void port_thread_wait(struct port_thread *self)
{
	for (;;) {
		uint32_t one = 1;
		if (atomic_compare_exchange_strong_explicit(
			    &self->go, &one, 0, memory_order_acquire, memory_order_relaxed))
			break;
		host_futex_wait(&self->go, 0, NULL);
	}
	baton_publish(atomic_load(&self->cpu), self);
}

void port_thread_switch(struct port_cpu *cpu, struct port_thread *from, struct port_thread *to)
{
	atomic_store(&cpu->holder, 0);
	host_delay();
	baton_give(cpu, to);
	host_delay();
	port_thread_wait(from);
}

void port_cpu_release(struct port_cpu *cpu, struct port_thread *self, void *gs_base)
{
	atomic_store(&cpu->holder, 0);
	host_delay();
	gs_base_set(self, gs_base);
}

void port_thread_give(struct port_cpu *cpu, struct port_thread *self, struct port_thread *to,
		      void *gs_base)
{
	port_cpu_release(cpu, self, gs_base);
	baton_give(cpu, to);
}

/* ---- Borrowing ---- */

void port_cpu_idle(struct port_cpu *cpu)
{
	uint32_t asleep = PORT_CPU_ASLEEP;
	cpu->sleeper = host_self;
	/* Pairs with port_cpu_kick: it sets pending, then looks whether we sleep. */
	atomic_store(&cpu->asleep, PORT_CPU_ASLEEP);
	host_delay();
	if (atomic_load(&cpu->pending) &&
	    atomic_compare_exchange_strong(&cpu->asleep, &asleep, PORT_CPU_AWAKE))
		return;
	while ((asleep = atomic_load(&cpu->asleep)) != PORT_CPU_AWAKE)
		host_futex_wait(&cpu->asleep, asleep, NULL);
	host_delay();
}

bool host_idle_wake(struct port_cpu *cpu)
{
	uint32_t asleep = PORT_CPU_ASLEEP;
	if (!atomic_compare_exchange_strong(&cpu->asleep, &asleep, PORT_CPU_AWAKE))
		return false;
	host_futex_wake(&cpu->asleep, 1);
	return true;
}

bool port_cpu_claim(struct port_cpu *cpu)
{
	uint32_t asleep = PORT_CPU_ASLEEP;
	return atomic_compare_exchange_strong(&cpu->asleep, &asleep, PORT_CPU_LENT);
}

void port_cpu_take(struct port_cpu *cpu, struct port_thread *self)
{
	host_delay();
	atomic_store(&self->cpu, cpu);
	baton_publish(cpu, self);
}

bool port_cpu_lent(const struct port_cpu *cpu)
{
	return atomic_load(&cpu->asleep) == PORT_CPU_LENT;
}

void port_cpu_return(struct port_cpu *cpu)
{
	uint32_t sleeper = cpu->sleeper->tid;
	atomic_store(&cpu->holder, sleeper);
	host_delay();
	atomic_store(&cpu->asleep, PORT_CPU_ASLEEP);
	host_delay();
	if (atomic_load(&cpu->nmi))
		host_tgkill(sleeper, HOST_SIGNAL_NMI);
	if (atomic_load(&cpu->pending))
		host_idle_wake(cpu);
}

void port_cpu_start(struct port_cpu *cpu, struct port_thread *first)
{
#if HOST_TSAN
	host_tsan_watch(cpu);
#endif
	baton_give(cpu, first);
}

/* AddressSanitizer marks the frames it believes in; those that are left without a return must be
 * forgotten. */
void __asan_handle_no_return(void) __attribute__((weak));

void host_stack_abandon(void)
{
	if (__asan_handle_no_return)
		__asan_handle_no_return();
}

/* ---- The pool of host threads ---- */

static void pool_acquire(void)
{
	for (unsigned round = 0; atomic_exchange_explicit(&pool_lock, 1, memory_order_acquire);
	     round++)
		port_spin(round);
}

static void pool_release(void)
{
	atomic_store_explicit(&pool_lock, 0, memory_order_release);
}

static void pool_put(struct port_thread *thread)
{
	pool_acquire();
	thread->next_free = pool_free;
	pool_free = thread;
	atomic_fetch_add(&pool_count, 1);
	pool_release();
}

static struct port_thread *pool_get(void)
{
	pool_acquire();
	struct port_thread *thread = pool_free;
	if (thread) {
		pool_free = thread->next_free;
		atomic_fetch_sub(&pool_count, 1);
	}
	pool_release();
	return thread;
}

static void *thread_main(void *argument)
{
	struct port_thread *self = argument;
	self->tid = (uint32_t)host_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0);
	/* Above this frame lie libc's frames and the thread's TLS; kernel threads own what is
	 * below. */
	self->stack_base = __builtin_frame_address(0);
	host_self = self;
	host_signals_prepare_thread(self);
	/* The host thread of a kernel thread that has ended begins again here, so that thread after
	 * thread does not creep down its stack. */
	if (_setjmp(self->home) == 0) {
		pool_put(self); /* until here nobody may give it a baton */
		atomic_fetch_sub(&pool_coming, 1);
	} else {
		pool_put(self);
	}
	port_thread_wait(self);
	self->entry(self->argument);
	abort(); /* a kernel thread ends by port_thread_exit */
}

void port_thread_exit(struct port_cpu *cpu, struct port_thread *from, struct port_thread *to)
{
	atomic_store(&cpu->holder, 0);
	host_delay();
	baton_give(cpu, to);
	host_delay();
	port_thread_end(from);
}

void port_thread_end(struct port_thread *self)
{
	longjmp(self->home, 1); /* which the sanitizers know: the frames below are dead */
}

/* One mapping per host thread: guard, alternate stack, guard, stack. */
static bool thread_spawn(void)
{
	const size_t guard = PORT_PAGE_SIZE;
	const size_t size = guard + HOST_ALTERNATE_SIZE + guard + HOST_STACK_SIZE;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return false;
	struct port_thread *thread = calloc(1, sizeof *thread);
	if (!thread || mprotect(memory, guard, PROT_NONE) ||
	    mprotect(memory + guard + HOST_ALTERNATE_SIZE, guard, PROT_NONE))
		goto fail;
	thread->alternate = memory + guard;
	thread->stack_limit = memory + guard + HOST_ALTERNATE_SIZE + guard;

	pthread_attr_t attributes;
	pthread_t id;
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstack(&attributes, thread->stack_limit, HOST_STACK_SIZE);
	atomic_fetch_add(&pool_coming, 1);
	int error = pthread_create(&id, &attributes, thread_main, thread);
	pthread_attr_destroy(&attributes);
	if (!error)
		return true;
	atomic_fetch_sub(&pool_coming, 1);
fail:
	munmap(memory, size);
	free(thread);
	return false;
}

static void *filler_main(void *unused)
{
	(void)unused;
	for (;;) {
		uint32_t wanted = atomic_load(&pool_wanted);
		while (atomic_load(&pool_count) + atomic_load(&pool_coming) < POOL_SPARE) {
			if (!thread_spawn()) {
				atomic_fetch_add(&pool_failed, 1);
				break;
			}
		}
		host_futex_wait(&pool_wanted, wanted, NULL);
	}
	return NULL;
}

static void filler_wake(void)
{
	atomic_fetch_add(&pool_wanted, 1);
	host_futex_wake(&pool_wanted, 1);
}

struct port_thread *port_thread_create(void (*entry)(void *argument), void *argument,
				       void **stack_limit, void **stack_base)
{
	uint32_t failed = atomic_load(&pool_failed);
	struct port_thread *thread;
	for (unsigned round = 0; !(thread = pool_get()); round++) {
		if (round % 64 == 0)
			filler_wake();
		if (atomic_load(&pool_failed) != failed)
			return NULL;
		port_spin(round);
	}
	if (atomic_load(&pool_count) < POOL_SPARE / 2)
		filler_wake();
	thread->entry = entry;
	thread->argument = argument;
	*stack_limit = thread->stack_limit;
	*stack_base = thread->stack_base;
	return thread;
}

bool host_device_start(void *(*main)(void *), void *argument, const char *name)
{
	sigset_t all, before;
	pthread_t id;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	int error = pthread_create(&id, NULL, main, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		return false;
	pthread_setname_np(id, name);
	pthread_detach(id);
	return true;
}

bool host_threads_start(void)
{
	have_wrgsbase = (getauxval(AT_HWCAP2) & 2) && !RUNNING_ON_VALGRIND;
	for (int i = 0; i < POOL_SPARE; i++) {
		if (!thread_spawn())
			return false;
	}
	return host_device_start(filler_main, NULL, "ketch-threads");
}

void port_park(void)
{
	static _Atomic uint32_t never;
	for (;;)
		host_futex_wait(&never, 0, NULL);
}
