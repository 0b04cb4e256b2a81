/* SPDX-License-Identifier: MIT */
/*
 * dpc.c: deferred procedure calls (PLT-32..37).
 *
 * Inserting must work in any context, NMIs too (NMI-32), so it takes no lock: DpcData goes from
 * NULL to the target's queue by compare-and-swap (who loses finds it queued), then the DPC is
 * pushed onto the queue's `incoming` stack (release). The queue's lock (HIGH_LEVEL; never in an
 * NMI) is for those who take out: the owner that runs them, and KeRemoveQueueDpc. They first move
 * `incoming` (acquire) into the list, oldest first, High importance to the front. DpcData goes back
 * to NULL before the routine is called, so a DPC may queue itself again.
 *
 * Threaded DPCs run as ordinary ones: at DISPATCH_LEVEL, which their contract allows (PLT-37).
 */
#include "ke/internal.h"

#define TYPE_DPC          19
#define TYPE_THREADED_DPC 26
#define TARGETED          0x8000 /* in KDPC.Number, with the processor's index */

/* DpcListEntry is a LIST_ENTRY once in the list; its Flink alone is the link of the stack. */
static LIST_ENTRY *entry_of(KDPC *dpc)
{
	return (LIST_ENTRY *)&dpc->DpcListEntry;
}

static KDPC *dpc_of(LIST_ENTRY *entry)
{
	return CONTAINING_RECORD(entry, KDPC, DpcListEntry);
}

static void queue_lock(struct ke_dpc_queue *queue)
{
	for (unsigned round = 0; atomic_exchange_explicit(&queue->lock, 1, memory_order_acquire);
	     round++)
		port_spin(round);
}

static void queue_unlock(struct ke_dpc_queue *queue)
{
	atomic_store_explicit(&queue->listed, !IsListEmpty(&queue->list), memory_order_relaxed);
	atomic_store_explicit(&queue->lock, 0, memory_order_release);
}

/* With the queue's lock: move what was pushed into the list. */
static void take_incoming(struct ke_dpc_queue *queue)
{
	atomic_store_explicit(&queue->listed, true, memory_order_relaxed);
	/* Released to nothing_queued: who finds `incoming` taken sees `listed`. */
	KDPC *stack = atomic_exchange_explicit(&queue->incoming, NULL, memory_order_acq_rel);
	KDPC *ordered = NULL;
	while (stack) {
		KDPC *below = (KDPC *)entry_of(stack)->Flink;
		entry_of(stack)->Flink = (LIST_ENTRY *)ordered;
		ordered = stack;
		stack = below;
	}
	while (ordered) {
		KDPC *next = (KDPC *)entry_of(ordered)->Flink;
		if (ordered->Importance == HighImportance)
			InsertHeadList(&queue->list, entry_of(ordered));
		else
			InsertTailList(&queue->list, entry_of(ordered));
		ordered = next;
	}
}

static KDPC *pop(struct ke_dpc_queue *queue, struct _KDPC *copy)
{
	KDPC *dpc = NULL;
	KIRQL old = ke_irql_raise(HIGH_LEVEL);
	queue_lock(queue);
	take_incoming(queue);
	if (!IsListEmpty(&queue->list)) {
		dpc = dpc_of(RemoveHeadList(&queue->list));
		/* Not DpcData, which others may try to take. */
		copy->DeferredRoutine = dpc->DeferredRoutine;
		copy->DeferredContext = dpc->DeferredContext;
		copy->SystemArgument1 = dpc->SystemArgument1;
		copy->SystemArgument2 = dpc->SystemArgument2;
		__atomic_store_n(&dpc->DpcData, NULL, __ATOMIC_RELEASE);
	}
	atomic_store(&queue->running, dpc != NULL);
	queue_unlock(queue);
	ke_irql_set(old); /* DISPATCH_LEVEL: interrupts above it are looked for when the caller
			     lowers */
	return dpc;
}

/* Without the lock. While another processor moves `incoming` into the list this says no. */
static bool nothing_queued(struct ke_dpc_queue *queue)
{
	return !atomic_load_explicit(&queue->incoming, memory_order_acquire) &&
	       !atomic_load_explicit(&queue->listed, memory_order_acquire);
}

/* VER-39: a DPC routine entered or left regions of the thread that it interrupted. */
static __attribute__((noinline)) void regions_changed(PKTHREAD thread, const KDPC *dpc, int before)
{
	uint64_t routine = (uint64_t)dpc->DeferredRoutine;
	int after = thread->kernel_apc_disable + thread->special_apc_disable;
	uint64_t parameters[3] = {routine, (uint64_t)(int64_t)before, (uint64_t)(int64_t)after};
	vf_report_with(VF_DpcApcDisable, NULL, routine, routine, parameters,
		       "a DPC routine changed the regions of the thread that it interrupted from "
		       "%d to %d",
		       before, after);
}

void ke_dpc_run(struct ke_processor *self)
{
	struct ke_dpc_queue *queue = &self->dpcs;
	PKTHREAD thread = self->current;
	KDPC copy, *dpc;
	if (nothing_queued(queue))
		return;
	bool outer = self->in_dpc;
	self->in_dpc = true;
	while ((dpc = pop(queue, &copy))) {
		struct ke_call_record record;
		ke_interrupt_deliver(DISPATCH_LEVEL);
		int32_t regions = thread->kernel_apc_disable + thread->special_apc_disable;
		ke_callout_begin(&record, thread->interrupt_frame);
		copy.DeferredRoutine(dpc, copy.DeferredContext, copy.SystemArgument1,
				     copy.SystemArgument2);
		ke_callout_end(&record);
		if (vf_on() && thread->kernel_apc_disable + thread->special_apc_disable != regions)
			regions_changed(thread, &copy, regions);
		if (ke_irql() != DISPATCH_LEVEL)
			vf_callout_irql(copy.DeferredRoutine, copy.DeferredContext, DISPATCH_LEVEL,
					0xFE);
	}
	self->in_dpc = outer;
}

void ke_dpcs_each(void (*each)(void *context, KDPC *dpc), void *context)
{
	for (uint32_t i = 0; i < atomic_load(&ke_processor_count); i++) {
		struct ke_dpc_queue *queue = &ke_processors[i]->dpcs;
		KIRQL old = ke_irql_raise(HIGH_LEVEL);
		queue_lock(queue);
		take_incoming(queue);
		for (LIST_ENTRY *e = queue->list.Flink; e != &queue->list; e = e->Flink)
			each(context, dpc_of(e));
		queue_unlock(queue);
		ke_irql_lower(old);
	}
}

/* ---- DDIs ---- */

static void initialize(PKDPC Dpc, UCHAR type, PKDEFERRED_ROUTINE routine, PVOID context)
{
	memset(Dpc, 0, sizeof *Dpc);
	Dpc->Type = type;
	Dpc->Importance = MediumImportance;
	Dpc->DeferredRoutine = routine;
	Dpc->DeferredContext = context;
}

/* Initialize a DPC. IRQL: any. Source: PLT-32. */
VOID NTAPI KeInitializeDpc(PRKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine, PVOID DeferredContext)
{
	if (vf_on())
		ke_check_resident("KeInitializeDpc", __builtin_return_address(0), Dpc);
	initialize(Dpc, TYPE_DPC, DeferredRoutine, DeferredContext);
}

/* Initialize a threaded DPC, which may run at PASSIVE_LEVEL or DISPATCH_LEVEL (here: the latter).
 * IRQL: any. Source: PLT-37. */
VOID NTAPI KeInitializeThreadedDpc(PRKDPC Dpc, PKDEFERRED_ROUTINE DeferredRoutine,
				   PVOID DeferredContext)
{
	initialize(Dpc, TYPE_THREADED_DPC, DeferredRoutine, DeferredContext);
}

/* Queue a DPC; FALSE and no effect if it is queued already. IRQL: any, NMI too. Source: PLT-33,
 * NMI-32. */
BOOLEAN NTAPI KeInsertQueueDpc(PRKDPC Dpc, PVOID SystemArgument1, PVOID SystemArgument2)
{
	KIRQL irql = ke_irql_raise(HIGH_LEVEL); /* stay on this processor */
	struct ke_processor *self = ke_this();
	struct ke_processor *target =
		Dpc->Number & TARGETED ? ke_processors[Dpc->Number & ~TARGETED] : self;
	struct ke_dpc_queue *queue = &target->dpcs;
	PVOID free = NULL;
	bool inserted = __atomic_compare_exchange_n(&Dpc->DpcData, &free, queue, false,
						    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	if (inserted) {
		Dpc->SystemArgument1 = SystemArgument1;
		Dpc->SystemArgument2 = SystemArgument2;
		KDPC *below = atomic_load_explicit(&queue->incoming, memory_order_relaxed);
		do
			entry_of(Dpc)->Flink = (LIST_ENTRY *)below;
		while (!atomic_compare_exchange_weak_explicit(
			&queue->incoming, &below, Dpc, memory_order_release, memory_order_relaxed));
		if (target == self)
			atomic_fetch_or(&self->port.pending, 1u << DISPATCH_LEVEL);
		else
			ke_interrupt_request(target, DISPATCH_LEVEL);
		if (vf_on() && ke_in_nmi())
			vf_report(VF_NmiQueueDpc, "KeInsertQueueDpc", VF_CALLER(), (uint64_t)Dpc,
				  "KeInsertQueueDpc in an NMI callback");
	}
	ke_irql_lower(irql);
	return inserted;
}

/* Take a DPC out of its queue; TRUE if it was queued. IRQL: any but in an NMI callback (FALSE
 * there). Source: PLT-33. */
BOOLEAN NTAPI KeRemoveQueueDpc(PRKDPC Dpc)
{
	bool removed = false;
	struct ke_dpc_queue *queue;
	if (ke_irql() == HIGH_LEVEL && ke_in_nmi())
		return FALSE; /* the interrupted code may hold the queue's lock */
	KIRQL irql = ke_irql_raise(HIGH_LEVEL);
	for (unsigned round = 0;
	     (queue = __atomic_load_n((struct ke_dpc_queue **)&Dpc->DpcData, __ATOMIC_ACQUIRE));
	     round++) {
		queue_lock(queue);
		take_incoming(queue);
		for (LIST_ENTRY *e = queue->list.Flink; !removed && e != &queue->list; e = e->Flink)
			removed = dpc_of(e) == Dpc;
		if (removed) {
			RemoveEntryList(entry_of(Dpc));
			__atomic_store_n(&Dpc->DpcData, NULL, __ATOMIC_RELEASE);
		}
		queue_unlock(queue);
		if (removed)
			break;
		port_spin(round); /* an inserter has claimed but not yet pushed it, or it was just
				     taken to run */
	}
	ke_irql_lower(irql);
	return removed;
}

/* Low, Medium (as initialized), MediumHigh, or High: to the front of the queue. IRQL: any. Source:
 * PLT-35. */
VOID NTAPI KeSetImportanceDpc(PRKDPC Dpc, KDPC_IMPORTANCE Importance)
{
	Dpc->Importance = (UCHAR)Importance;
}

/* Run the DPC on this processor of group 0 from now on; a number that is not active is ignored.
 * IRQL: any. Source: PLT-34; PRC-66 for another group than 0. */
VOID NTAPI KeSetTargetProcessorDpc(PRKDPC Dpc, CCHAR Number)
{
	PROCESSOR_NUMBER number = {.Group = ke_legacy_group(), .Number = (UCHAR)Number};
	KeSetTargetProcessorDpcEx(Dpc, &number);
}

/*
 * Run the DPC on this processor from now on. IRQL: any. STATUS_SUCCESS; STATUS_INVALID_PARAMETER
 * for a processor that does not exist or is not active yet (DEF-126). Source: PLT-34.
 */
NTSTATUS NTAPI KeSetTargetProcessorDpcEx(PKDPC Dpc, PPROCESSOR_NUMBER ProcNumber)
{
	struct ke_processor *target = ke_processor_find(ProcNumber->Group, ProcNumber->Number);
	if (!target || ProcNumber->Reserved || !ke_processor_is_active(target))
		return STATUS_INVALID_PARAMETER;
	Dpc->Number = (USHORT)(TARGETED | target->index);
	return STATUS_SUCCESS;
}

/* Nothing is queued and nothing runs; a DPC is `running` before it leaves the queue. */
static bool idle(struct ke_processor *p)
{
	struct ke_dpc_queue *queue = &p->dpcs;
	KIRQL old = ke_irql_raise(HIGH_LEVEL);
	queue_lock(queue);
	bool nothing = nothing_queued(queue) && !atomic_load(&queue->running);
	queue_unlock(queue);
	ke_irql_lower(old);
	return nothing;
}

struct flush {
	KDPC dpc;
	KEVENT done;
};

static VOID NTAPI flush_routine(PKDPC Dpc, PVOID context, PVOID unused1, PVOID unused2)
{
	(void)Dpc;
	(void)unused1;
	(void)unused2;
	KeSetEvent(&((struct flush *)context)->done, IO_NO_INCREMENT, FALSE);
}

/* Return when every DPC that was queued before the call, on any processor, has run. IRQL =
 * PASSIVE_LEVEL. Source: PLT-36. */
VOID NTAPI KeFlushQueuedDpcs(void)
{
	/* A DPC of ours at the end of each queue that is not empty: when it runs, those before it
	 * have run. */
	for (uint32_t i = 0; i < atomic_load(&ke_processor_count); i++) {
		struct flush flush;
		if (idle(ke_processors[i]))
			continue;
		KeInitializeDpc(&flush.dpc, flush_routine, &flush);
		KeInitializeEvent(&flush.done, NotificationEvent, FALSE);
		flush.dpc.Number = (USHORT)(TARGETED | i);
		KeInsertQueueDpc(&flush.dpc, NULL, NULL);
		KeWaitForSingleObject(&flush.done, Executive, KernelMode, FALSE, NULL);
	}
}
