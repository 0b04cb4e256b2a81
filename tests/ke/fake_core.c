/* SPDX-License-Identifier: MIT */
/*
 * See fake_core.h. A KTHREAD and a processor for each host thread; events are one mutex and one
 * condition for all.
 */
#define _GNU_SOURCE
#include "tests/ke/fake_core.h"
#include <asm/prctl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

bool fake_no_memory;

void *port_pages_reserve(void *hint, size_t size)
{
	void *base = fake_no_memory
			     ? MAP_FAILED
			     : mmap(hint, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return base == MAP_FAILED ? NULL : base;
}

bool port_pages_protect(void *base, size_t size, unsigned protection)
{
	(void)protection;
	return !mprotect(base, size, PROT_READ | PROT_WRITE);
}

void port_pages_release(void *base, size_t size)
{
	munmap(base, size);
}

void port_spin(unsigned round)
{
	if (round % 16 == 15)
		sched_yield();
}

void port_random(void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((unsigned char *)bytes)[i] = (unsigned char)rand();
}

static __thread KIRQL irql;

void fake_irql_set(KIRQL level)
{
	irql = level;
}

KIRQL ke_lock_raise(struct ke_lock *lock)
{
	KIRQL old = irql;
	while (atomic_exchange(&lock->held, 1))
		sched_yield();
	irql = DISPATCH_LEVEL;
	return old;
}

void ke_lock_lower(struct ke_lock *lock, KIRQL old)
{
	atomic_store(&lock->held, 0);
	irql = old;
}

void fake_thread_begin(void)
{
	static __thread KTHREAD thread;
	static __thread struct ke_processor processor;
	thread.walks = NULL;
	processor.self = &processor;
	processor.current = &thread;
	if (syscall(SYS_arch_prctl, ARCH_SET_GS, &processor) != 0)
		abort();
}

/* ---- Events ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

VOID NTAPI KeInitializeEvent(PRKEVENT event, EVENT_TYPE type, BOOLEAN state)
{
	(void)type;
	event->Header.SignalState = state;
}

LONG NTAPI KeSetEvent(PRKEVENT event, KPRIORITY increment, BOOLEAN wait)
{
	(void)increment;
	(void)wait;
	pthread_mutex_lock(&mutex);
	LONG before = event->Header.SignalState;
	event->Header.SignalState = 1;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&mutex);
	return before;
}

NTSTATUS NTAPI KeWaitForSingleObject(PVOID object, KWAIT_REASON reason, KPROCESSOR_MODE mode,
				     BOOLEAN alertable, PLARGE_INTEGER timeout)
{
	(void)reason;
	(void)mode;
	(void)alertable;
	(void)timeout;
	PRKEVENT event = object;
	if (irql > APC_LEVEL)
		abort(); /* the core may not wait here */
	pthread_mutex_lock(&mutex);
	while (!event->Header.SignalState)
		pthread_cond_wait(&changed, &mutex);
	pthread_mutex_unlock(&mutex);
	return STATUS_SUCCESS;
}
