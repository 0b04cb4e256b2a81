/* SPDX-License-Identifier: MIT */
/* internal.h: what the files of ke share among themselves. */
#pragma once

#include "ke/callout.h"
#include "ke/ke.h"
#include "ke/machine.h"
#include "ke/request.h"
#include "ke/pageable.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

/* processor.c */
bool ke_processors_initialize(const struct ke_partition *partition);
void ke_processor_prepare(struct ke_processor *processor, uint32_t index);
/* Let a prepared processor run its idle thread, and wait until it does; it is not active yet. IRQL
 * <= DISPATCH_LEVEL. False: the host has no more threads. */
bool ke_processor_start(struct ke_processor *processor, PKTHREAD idle);
void ke_processor_activate(struct ke_processor *processor);
/* A lock that is held goes on as one that this processor holds. */
void ke_lock_pass(struct ke_lock *lock, const struct ke_processor *to);

/* irql.c */
void ke_interrupt_deliver(KIRQL irql);

/* Interrupts, by level; called at that level on the processor. */
void ke_ipi_interrupt(struct ke_processor *self);   /* ipi.c */
void ke_clock_interrupt(struct ke_processor *self); /* timer.c */
void ke_device_interrupt(void);                     /* request.c */
void ke_dispatch_interrupt(void);                   /* sched.c */
void ke_apc_deliver(void);                          /* apc.c */

/* sched.c */
void ke_scheduler_initialize(void);
/* With the dispatcher lock held, the calling thread's State set and the thread queued where it
 * belongs (or nowhere). */
void ke_switch_away(void);
/* With the dispatcher lock held. */
void ke_thread_make_ready(PKTHREAD thread);
/*
 * A processor that nobody runs on begins to run `thread` (its idle thread, or the boot thread),
 * which nobody scheduled. At DISPATCH_LEVEL, or before the machine runs. False: the host has no
 * more threads.
 */
bool ke_processor_run(struct ke_processor *processor, PKTHREAD thread, void (*start)(void *),
		      void *context);
/* With the dispatcher lock held: the processor, which idles, takes a ready thread that may run
 * there, or is there for the next one. */
void ke_processor_offer(struct ke_processor *processor);
#define KE_QUANTUM_TICK_NS 10000000u
extern _Atomic uint32_t ke_ready_count;
extern _Atomic uint64_t ke_idle_mask[KE_MAXIMUM_GROUPS];

/* SignalState changes under the dispatcher lock (KeClearEvent aside) and is read without it by
 * KeReadState*. */
static inline void ke_state_set(DISPATCHER_HEADER *object, LONG state)
{
	__atomic_store_n(&object->SignalState, state, __ATOMIC_RELEASE);
}

static inline LONG ke_state(const DISPATCHER_HEADER *object)
{
	return __atomic_load_n(&object->SignalState, __ATOMIC_ACQUIRE);
}

/* timer.c; with the dispatcher lock held */
void ke_timer_insert(KTIMER *timer, LARGE_INTEGER due);
bool ke_timer_remove(KTIMER *timer);
void ke_timers_expire(void); /* without it, at DISPATCH_LEVEL */
uint64_t ke_interrupt_time(void);

/* dpc.c */
void ke_dpc_run(struct ke_processor *self);

/* wait.c */
/* With the dispatcher lock held: a kernel APC is deliverable to a thread that waits below
 * APC_LEVEL. */
void ke_wait_interrupt(PKTHREAD thread);
/* After a signal: unlock, or with `wait` keep the lock for the calling thread's next wait. */
void ke_wait_next(KIRQL old, bool wait);

/* apc.c: a kernel APC could be delivered to this thread now, were its IRQL below APC_LEVEL.
 * Dispatcher lock held. */
bool ke_apc_deliverable(PKTHREAD thread);

/* thread.c */
void ke_thread_prepare(PKTHREAD thread, void (*start)(void *), void *context);

/* mutex.c; with the dispatcher lock held: the thread ends and owns mutexes */
void ke_mutants_abandon(PKTHREAD thread);
/* apc.c: the calling thread ends: no APC any more; those queued are run down. PASSIVE_LEVEL. */
void ke_apc_rundown(void);

/* query.c: masks of the processors of a group that are active, and that can be. */
KAFFINITY ke_affinity_active(USHORT group);
KAFFINITY ke_affinity_possible(USHORT group);
/* The group that the functions without a group act on: 0, or the highest active one (PRC-66). */
USHORT ke_legacy_group(void);

#define KE_TIME_INCREMENT   156250 /* 100 ns units of a clock tick (DEF-46) */
#define KE_PROCESS_PRIORITY 8

/* VER-33: a synchronization object is initialized in pageable memory. For KeInitialize*, when
 * vf_on(). */
static inline void ke_check_resident(const char *ddi, void *return_address, const void *object)
{
	if (mm_is_pageable((uint64_t)object))
		vf_report(VF_ObjectPageable, ddi, vf_caller(return_address), (uint64_t)object,
			  "was given the object %p in pageable memory", object);
}
