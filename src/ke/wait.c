/* SPDX-License-Identifier: MIT */
/*
 * wait.c: waiting on dispatcher objects, for every type (PLT-27..29).
 *
 * All under the dispatcher lock. A waiting thread has one block per object in the objects' lists
 * and, with a time-out, one in its own timer's list; whoever ends the wait unlinks all of them,
 * puts the result into wait_status and makes the thread ready. Whoever signals an object consumes
 * it on behalf of the waiter before the waiter runs.
 *
 * A kernel APC interrupts a wait: the thread gets WAIT_INTERRUPTED, delivers, and waits again until
 * the same moment.
 */
#include "ke/internal.h"

#define WAIT_INTERRUPTED ((NTSTATUS)0x7ffffffe) /* never leaves this file */

static KMUTANT *mutant_of(DISPATCHER_HEADER *object)
{
	return CONTAINING_RECORD(object, KMUTANT, Header);
}

static bool is_signalled(const DISPATCHER_HEADER *object, PKTHREAD thread)
{
	if (ke_state(object) > 0)
		return true;
	return object->Type == KE_MUTANT &&
	       mutant_of((DISPATCHER_HEADER *)object)->OwnerThread == thread;
}

/* The thread's wait takes what the object has. Returns STATUS_ABANDONED_WAIT_0 for an abandoned
 * mutex, else 0. */
static NTSTATUS consume(DISPATCHER_HEADER *object, PKTHREAD thread)
{
	switch (object->Type) {
	case KE_EVENT_SYNCHRONIZATION:
	case KE_TIMER_SYNCHRONIZATION:
		ke_state_set(object, 0);
		break;
	case KE_SEMAPHORE:
		ke_state_set(object, ke_state(object) - 1);
		break;
	case KE_MUTANT:
		ke_state_set(object, ke_state(object) - 1);
		if (ke_state(object) == 0) {
			KMUTANT *mutant = mutant_of(object);
			bool abandoned = mutant->Abandoned;
			mutant->OwnerThread = thread;
			mutant->Abandoned = FALSE;
			thread->kernel_apc_disable -= mutant->ApcDisable;
			InsertTailList(&thread->mutants, &mutant->MutantListEntry);
			return abandoned ? STATUS_ABANDONED_WAIT_0 : STATUS_SUCCESS;
		}
		break;
	default:
		break;
	}
	return STATUS_SUCCESS;
}

static void unlink_blocks(PKTHREAD thread)
{
	for (uint32_t i = 0; i < thread->wait_count; i++) {
		if (thread->wait_list[i].linked)
			RemoveEntryList(&thread->wait_list[i].entry);
		thread->wait_list[i].linked = 0;
	}
	struct ke_wait_block *timer = &thread->wait_blocks[3];
	if (timer->linked) {
		RemoveEntryList(&timer->entry);
		timer->linked = 0;
		ke_timer_remove(&thread->wait_timer);
	}
}

void ke_thread_unwait(PKTHREAD thread, NTSTATUS status, KPRIORITY increment)
{
	unlink_blocks(thread);
	thread->wait_status = status;
	if (increment > 0 && thread->base_priority < LOW_REALTIME_PRIORITY) {
		int boosted = thread->base_priority + increment;
		if (boosted > LOW_REALTIME_PRIORITY - 1)
			boosted = LOW_REALTIME_PRIORITY - 1;
		if (boosted > thread->priority)
			thread->priority = (int8_t)boosted;
	}
	ke_thread_make_ready(thread);
}

static bool all_signalled(PKTHREAD thread, const struct ke_wait_block *blocks, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (!is_signalled(blocks[i].object, thread))
			return false;
	}
	return true;
}

static NTSTATUS consume_all(PKTHREAD thread, const struct ke_wait_block *blocks, uint32_t count)
{
	NTSTATUS status = STATUS_SUCCESS;
	for (uint32_t i = 0; i < count; i++) {
		NTSTATUS one = consume(blocks[i].object, thread);
		if (one)
			status = one;
	}
	return status;
}

void ke_object_signal(DISPATCHER_HEADER *object, KPRIORITY increment)
{
	LIST_ENTRY *entry = object->WaitListHead.Flink;
	while (entry != &object->WaitListHead && ke_state(object) > 0) {
		struct ke_wait_block *block = CONTAINING_RECORD(entry, struct ke_wait_block, entry);
		PKTHREAD thread = block->thread;
		NTSTATUS status;
		if (block->wait_all) {
			if (!all_signalled(thread, thread->wait_list, thread->wait_count)) {
				entry = entry->Flink;
				continue;
			}
			status = consume_all(thread, thread->wait_list, thread->wait_count);
		} else {
			status = block->key + consume(object, thread);
		}
		ke_thread_unwait(thread, status, increment);
		entry = object->WaitListHead
				.Flink; /* its other blocks may have been the next ones */
	}
}

/* ---- Waiting ---- */

struct wait {
	PKTHREAD thread;
	uint32_t count;
	void **objects;
	struct ke_wait_block *blocks; /* the caller's memory, or the thread's own */
	bool all, alertable;
	KPROCESSOR_MODE mode;
	uint8_t reason;
	bool has_timeout, poll;
	LARGE_INTEGER due; /* absolute interrupt time, if has_timeout */
	const char *ddi;
	uint64_t caller;
};

/*
 * The thread's blocks are written under the dispatcher lock, for each try anew: an APC that came
 * since may have waited itself.
 */
static void fill_blocks(const struct wait *w)
{
	PKTHREAD thread = w->thread;
	thread->wait_list = w->blocks;
	thread->wait_count = w->count;
	thread->wait_reason = w->reason;
	for (uint32_t i = 0; i < w->count; i++)
		w->blocks[i] = (struct ke_wait_block){.thread = thread,
						      .object = w->objects[i],
						      .key = w->all ? 0 : (NTSTATUS)i,
						      .wait_all = w->all};
}

/* With the blocks filled: satisfied at once? */
static bool satisfied_now(struct wait *w, NTSTATUS *status)
{
	struct ke_wait_block *blocks = w->thread->wait_list;
	if (w->count == 0)
		return false;
	if (w->all) {
		if (!all_signalled(w->thread, blocks, w->count))
			return false;
		*status = consume_all(w->thread, blocks, w->count);
		return true;
	}
	for (uint32_t i = 0; i < w->count; i++) {
		if (is_signalled(blocks[i].object, w->thread)) {
			*status = (NTSTATUS)i + consume(blocks[i].object, w->thread);
			return true;
		}
	}
	return false;
}

static _Noreturn void wait_is_fatal(const struct wait *w, KIRQL irql)
{
	struct ke_processor *self = ke_this();
	struct ke_bugcheck_detail detail = {
		.text = "a wait that has to block at DISPATCH_LEVEL or above",
		.address = w->caller};
	if (self->in_dpc && irql == DISPATCH_LEVEL)
		ke_bugcheck(0xB8 /* ATTEMPTED_SWITCH_FROM_DPC */, (uint64_t)w->thread,
			    (uint64_t)self->idle, (uint64_t)w->thread->StackBase, 0, &detail);
	ke_bugcheck(0xA /* IRQL_NOT_LESS_OR_EQUAL */,
		    (uint64_t)(w->count ? w->thread->wait_list[0].object : NULL), irql, 0,
		    w->caller, &detail);
}

static void enqueue(struct wait *w)
{
	PKTHREAD thread = w->thread;
	for (uint32_t i = 0; i < w->count; i++) {
		struct ke_wait_block *block = &thread->wait_list[i];
		InsertTailList(&block->object->WaitListHead, &block->entry);
		block->linked = 1;
	}
	if (w->has_timeout) {
		struct ke_wait_block *block = &thread->wait_blocks[3];
		*block = (struct ke_wait_block){.thread = thread,
						.object = &thread->wait_timer.Header,
						.key = STATUS_TIMEOUT,
						.linked = 1};
		ke_state_set(&thread->wait_timer.Header, 0);
		InsertTailList(&thread->wait_timer.Header.WaitListHead, &block->entry);
		ke_timer_insert(&thread->wait_timer, w->due);
	}
	thread->State = KE_THREAD_WAITING;
}

static NTSTATUS wait_run(struct wait *w)
{
	PKTHREAD thread = w->thread;
	NTSTATUS status;
	KIRQL old = thread->wait_next ? thread->WaitIrql : ke_dispatcher_lock();
	thread->wait_next = false;
	for (;;) {
		fill_blocks(w);
		if (satisfied_now(w, &status))
			break;
		if (w->poll ||
		    (w->has_timeout && (uint64_t)w->due.QuadPart <= ke_interrupt_time())) {
			status = STATUS_TIMEOUT;
			break;
		}
		if (old >= DISPATCH_LEVEL)
			wait_is_fatal(w, old);
		if (w->alertable && thread->alerted) {
			thread->alerted = false;
			status = STATUS_ALERTED;
			break;
		}
		if (old < APC_LEVEL && atomic_load(&thread->apc_pending) &&
		    ke_apc_deliverable(thread)) {
			ke_dispatcher_unlock(old); /* delivers */
			old = ke_dispatcher_lock();
			continue;
		}
		thread->alertable = w->alertable;
		thread->wait_mode = w->mode;
		thread->WaitIrql = old;
		enqueue(w);
		ke_switch_away();
		status = thread->wait_status;
		if (status != WAIT_INTERRUPTED)
			break;
		ke_dispatcher_unlock(old);
		old = ke_dispatcher_lock();
	}
	thread->wait_count = 0;
	ke_dispatcher_unlock(old);
	return status;
}

void ke_wait_interrupt(PKTHREAD thread)
{
	ke_thread_unwait(thread, WAIT_INTERRUPTED, 0);
}

void ke_wait_next(KIRQL old, bool wait)
{
	if (wait) {
		ke_thread()->wait_next = true;
		ke_thread()->WaitIrql = old;
		return;
	}
	ke_dispatcher_unlock(old);
}

static __attribute__((noinline)) void check_irql(const struct wait *w, void *object,
						 const LARGE_INTEGER *timeout)
{
	/* After KeSetEvent(.., TRUE) the IRQL is only raised for the lock that it kept. */
	KIRQL irql = w->thread->wait_next ? w->thread->WaitIrql : ke_irql();
	uint64_t parameters[3] = {irql, (uint64_t)object, (uint64_t)timeout};
	enum vf_rule rule;
	if (irql > DISPATCH_LEVEL)
		rule = VF_WaitAboveDispatch;
	else if (irql == DISPATCH_LEVEL && !timeout)
		rule = VF_WaitForeverAtDispatch;
	else if (irql == DISPATCH_LEVEL && timeout->QuadPart)
		rule = VF_WaitTimeoutAtDispatch;
	else
		return;
	vf_report_with(rule, w->ddi, w->caller, (uint64_t)object, parameters,
		       "%s at IRQL %u with %s", w->ddi, irql,
		       !timeout            ? "no time-out"
		       : timeout->QuadPart ? "a time-out that is not zero"
					   : "a zero time-out");
}

static void set_timeout(struct wait *w, const LARGE_INTEGER *timeout)
{
	if (!timeout)
		return;
	w->poll = timeout->QuadPart == 0;
	w->has_timeout = !w->poll;
	uint64_t now = ke_interrupt_time();
	if (timeout->QuadPart < 0) {
		w->due.QuadPart = (LONGLONG)(now + (0 - (uint64_t)timeout->QuadPart));
	} else {
		/* Absolute, since 1601: as far from now as the wall clock says. */
		int64_t left = timeout->QuadPart - (int64_t)port_time_system();
		w->due.QuadPart = (LONGLONG)(left > 0 ? now + (uint64_t)left : now);
	}
}

/*
 * Wait for one object. IRQL <= APC_LEVEL with Timeout NULL or not zero; <= DISPATCH_LEVEL with a
 * zero Timeout. Timeout: 100 ns units, negative relative, positive absolute since 1601.
 * STATUS_SUCCESS, STATUS_TIMEOUT, STATUS_ALERTED, STATUS_USER_APC, STATUS_ABANDONED_WAIT_0 (mutex
 * whose owner ended). Source: PLT-27, VER-30.
 */
NTSTATUS NTAPI KeWaitForSingleObject(PVOID Object, KWAIT_REASON WaitReason,
				     KPROCESSOR_MODE WaitMode, BOOLEAN Alertable,
				     PLARGE_INTEGER Timeout)
{
	PKTHREAD thread = ke_thread();
	struct wait w = {.thread = thread,
			 .count = 1,
			 .objects = &Object,
			 .blocks = thread->wait_blocks,
			 .reason = (uint8_t)WaitReason,
			 .alertable = Alertable,
			 .mode = WaitMode,
			 .ddi = "KeWaitForSingleObject",
			 .caller = (uint64_t)__builtin_return_address(0)};
	if (vf_on())
		check_irql(&w, Object, Timeout);
	set_timeout(&w, Timeout);
	return wait_run(&w);
}

/*
 * Wait for all (WaitAll) or one (WaitAny) of Count objects. More than THREAD_WAIT_OBJECTS (3) need
 * a WaitBlockArray, at most 64. IRQL and statuses as KeWaitForSingleObject; WaitAny: index of the
 * object, or STATUS_ABANDONED_WAIT_0 + index. Too many objects or no wait blocks: bug check 0xC.
 * Source: PLT-28.
 */
NTSTATUS NTAPI KeWaitForMultipleObjects(ULONG Count, PVOID Object[], WAIT_TYPE WaitType,
					KWAIT_REASON WaitReason, KPROCESSOR_MODE WaitMode,
					BOOLEAN Alertable, PLARGE_INTEGER Timeout,
					PKWAIT_BLOCK WaitBlockArray)
{
	PKTHREAD thread = ke_thread();
	struct wait w = {.thread = thread,
			 .count = Count,
			 .objects = Object,
			 /* Ours in the caller's memory, packed at the front of it. */
			 .blocks = Count > THREAD_WAIT_OBJECTS
					   ? (struct ke_wait_block *)WaitBlockArray
					   : thread->wait_blocks,
			 .reason = (uint8_t)WaitReason,
			 .alertable = Alertable,
			 .mode = WaitMode,
			 .all = WaitType == WaitAll,
			 .ddi = "KeWaitForMultipleObjects",
			 .caller = (uint64_t)__builtin_return_address(0)};
	if (Count > MAXIMUM_WAIT_OBJECTS || (Count > THREAD_WAIT_OBJECTS && !WaitBlockArray))
		ke_bugcheck(
			0xC /* MAXIMUM_WAIT_OBJECTS_EXCEEDED */, 0, 0, 0, 0,
			&(struct ke_bugcheck_detail){.address = w.caller,
						     .text = "KeWaitForMultipleObjects with more "
							     "than 64 objects, or more than "
							     "3 without a WaitBlockArray"});
	if (vf_on())
		check_irql(&w, Object, Timeout);
	set_timeout(&w, Timeout);
	return wait_run(&w);
}

/* Let another ready thread of at least the same priority run. */
static void yield(void)
{
	KIRQL old = ke_dispatcher_lock();
	ke_this()->quantum_end = true;
	atomic_fetch_or(&ke_this()->port.pending, 1u << DISPATCH_LEVEL);
	ke_dispatcher_unlock(old);
}

/* Sleep. IRQL <= APC_LEVEL. Interval as a Timeout. STATUS_SUCCESS, STATUS_ALERTED, STATUS_USER_APC.
 * Source: PLT-29. */
NTSTATUS NTAPI KeDelayExecutionThread(KPROCESSOR_MODE WaitMode, BOOLEAN Alertable,
				      PLARGE_INTEGER Interval)
{
	PKTHREAD thread = ke_thread();
	struct wait w = {.thread = thread,
			 .blocks = thread->wait_blocks,
			 .alertable = Alertable,
			 .mode = WaitMode,
			 .ddi = "KeDelayExecutionThread",
			 .caller = (uint64_t)__builtin_return_address(0)};
	set_timeout(&w, Interval);
	if (w.poll) {
		yield();
		return STATUS_SUCCESS;
	}
	NTSTATUS status = wait_run(&w);
	return status == STATUS_TIMEOUT ? STATUS_SUCCESS : status;
}
