/* SPDX-License-Identifier: MIT */
/*
 * work.c: work items and the system's worker threads.
 *
 * Three queues by urgency, one semaphore, and threads at PASSIVE_LEVEL that always serve the most
 * urgent item. When the last idle worker takes an item it starts another one first, so items that
 * wait for each other do not stop the engine (up to WORKERS_MOST).
 *
 * Contexts and locks: queueing at IRQL <= DISPATCH_LEVEL. `work_lock` (DISPATCH_LEVEL) protects the
 * queues and the workers' records; nothing is called while it is held. An item belongs to the
 * engine only until its routine is entered: the routine may free it (DEF-249, DEF-297).
 *
 * Implements DEF-186 (the engine), DEF-297, PLT-4. A routine that returns above PASSIVE_LEVEL stops
 * the machine with 0xE1, an item that is queued twice with 0x96, as documented.
 */
#include <bugcodes.h>
#include "ex/ex_internal.h"
#include "ke/callout.h"
#include "ke/ke.h"
#include "ps/ps.h"
#include "vf/vf.h"

#define WORKERS_FIRST 2u
#define WORKERS_MOST  64u

enum work_urgency { URGENT_HYPER, URGENT_CRITICAL, URGENT_DELAYED, URGENCIES };

/* What is queued: the core's items and the drivers' WORK_QUEUE_ITEMs, each kind in its own lists.
 */
enum work_kind { WORK_CORE, WORK_DRIVER, WORK_KINDS };

struct worker {
	uint64_t routine; /* that runs; 0: idle, or the core's own work */
};

static LIST_ENTRY queues[URGENCIES][WORK_KINDS];
static struct worker workers[WORKERS_MOST];
static uint32_t worker_count, idle_count;
static struct ke_lock work_lock;
static KSEMAPHORE work_ready; /* one for each queued item */

static enum work_urgency urgency_of(WORK_QUEUE_TYPE type)
{
	if (type == HyperCriticalWorkQueue || type == SuperCriticalWorkQueue ||
	    type == RealTimeWorkQueue)
		return URGENT_HYPER;
	return type == CriticalWorkQueue ? URGENT_CRITICAL : URGENT_DELAYED;
}

static void enqueue(LIST_ENTRY *entry, enum work_kind kind, WORK_QUEUE_TYPE type)
{
	KIRQL old = ke_lock_raise(&work_lock);
	InsertTailList(&queues[urgency_of(type)][kind], entry);
	ke_lock_lower(&work_lock, old);
	KeReleaseSemaphore(&work_ready, 0, 1, FALSE);
}

void ex_work_queue(struct ex_work *work, WORK_QUEUE_TYPE type)
{
	enqueue(&work->entry, WORK_CORE, type);
}

/*
 * Run an item's routine once in a worker thread. IRQL <= DISPATCH_LEVEL. The item must have been
 * initialised by ExInitializeWorkItem and not be queued; it may be freed or queued again once its
 * routine runs. (DEF-297)
 */
VOID NTAPI ExQueueWorkItem(PWORK_QUEUE_ITEM WorkItem, WORK_QUEUE_TYPE QueueType)
{
	if (WorkItem->List.Flink) {
		struct ke_bugcheck_detail detail = {.address = VF_CALLER(),
						    .text = "a work item is queued that is queued "
							    "already, or was not initialised"};
		ke_bugcheck(INVALID_WORK_QUEUE_ITEM, (uint64_t)WorkItem,
			    (uint64_t)WorkItem->WorkerRoutine, 0, 0, &detail);
	}
	enqueue(&WorkItem->List, WORK_DRIVER, QueueType);
}

/* ---- The workers ------------------------------------------------------------------------------
 */

struct work_taken {
	struct ex_work *core;
	WORK_QUEUE_ITEM *driver;
	PWORKER_THREAD_ROUTINE routine;
	void *parameter;
};

/* The most urgent item; of equal ones the core's come first. The lock is held; the semaphore says
 * that there is one. */
static void take(struct work_taken *taken)
{
	for (unsigned urgency = 0; urgency < URGENCIES; urgency++) {
		if (!IsListEmpty(&queues[urgency][WORK_CORE])) {
			LIST_ENTRY *entry = RemoveHeadList(&queues[urgency][WORK_CORE]);
			taken->core = CONTAINING_RECORD(entry, struct ex_work, entry);
			return;
		}
		if (!IsListEmpty(&queues[urgency][WORK_DRIVER])) {
			LIST_ENTRY *entry = RemoveHeadList(&queues[urgency][WORK_DRIVER]);
			taken->driver = CONTAINING_RECORD(entry, WORK_QUEUE_ITEM, List);
			taken->routine = taken->driver->WorkerRoutine;
			taken->parameter = taken->driver->Parameter;
			entry->Flink = NULL; /* may be queued again from now on */
			return;
		}
	}
}

void ex_work_check_return(uint64_t routine, const void *parameter, const void *item)
{
	KIRQL irql = ke_irql();
	PKTHREAD thread = ke_thread();
	if (irql != PASSIVE_LEVEL) {
		struct ke_bugcheck_detail detail = {
			.address = routine, .text = "a work routine returned above PASSIVE_LEVEL"};
		ke_bugcheck(WORKER_THREAD_RETURNED_AT_BAD_IRQL, routine, irql, (uint64_t)parameter,
			    (uint64_t)item, &detail);
	}
	if (thread->kernel_apc_disable || thread->special_apc_disable) {
		if (vf_on())
			vf_report(
				VF_CriticalRegions, NULL, routine, routine,
				"returned from a work routine inside a critical or guarded region");
		thread->kernel_apc_disable = 0;
		thread->special_apc_disable = 0;
	}
}

static void run_driver(const struct work_taken *taken)
{
	struct ke_call_record record;
	ke_callout_begin(&record, NULL);
	taken->routine(taken->parameter);
	ke_callout_end(&record);
	ex_work_check_return((uint64_t)taken->routine, taken->parameter, taken->driver);
}

static void worker_main(void *context);

/* The lock is not held. The record was counted by the caller. */
static bool start_worker(uint32_t number)
{
	return NT_SUCCESS(ps_thread_create(NULL, worker_main, &workers[number], NULL));
}

/* The caller is about to be busy: if nobody else is idle, make one. */
static void keep_one_idle(void)
{
	KIRQL old = ke_lock_raise(&work_lock);
	bool start = !idle_count && worker_count < WORKERS_MOST;
	uint32_t number = worker_count;
	if (start) {
		worker_count++;
		idle_count++;
	}
	ke_lock_lower(&work_lock, old);
	if (!start || start_worker(number))
		return;
	/* The host has no more threads: the items wait for those that there are. */
	old = ke_lock_raise(&work_lock);
	idle_count--;
	if (worker_count == number + 1)
		worker_count = number;
	ke_lock_lower(&work_lock, old);
}

static void worker_main(void *context)
{
	struct worker *self = context;
	for (;;) {
		struct work_taken taken = {0};
		KeWaitForSingleObject(&work_ready, Executive, KernelMode, FALSE, NULL);

		KIRQL old = ke_lock_raise(&work_lock);
		idle_count--;
		take(&taken);
		self->routine = taken.core ? taken.core->routine : (uint64_t)taken.routine;
		ke_lock_lower(&work_lock, old);

		keep_one_idle();
		if (taken.core)
			taken.core->run(taken.core);
		else
			run_driver(&taken);

		old = ke_lock_raise(&work_lock);
		self->routine = 0;
		idle_count++;
		ke_lock_lower(&work_lock, old);
	}
}

NTSTATUS ex_work_initialize(void)
{
	for (unsigned urgency = 0; urgency < URGENCIES; urgency++) {
		for (unsigned kind = 0; kind < WORK_KINDS; kind++)
			InitializeListHead(&queues[urgency][kind]);
	}
	KeInitializeSemaphore(&work_ready, 0, MAXLONG);
	worker_count = idle_count = WORKERS_FIRST;
	for (uint32_t i = 0; i < WORKERS_FIRST; i++) {
		if (!start_worker(i))
			return STATUS_INSUFFICIENT_RESOURCES;
	}
	return STATUS_SUCCESS;
}

/* ---- What is left of a driver -------------------------------------------------------------------
 */

#define LISTED 32u /* that one look calls back for */

struct visit {
	uint64_t low, high;
	size_t count;
	uint64_t routines[LISTED];
	bool running[LISTED];
};

static void visit(struct visit *visit, uint64_t routine, bool running)
{
	if (routine < visit->low || routine >= visit->high)
		return;
	if (visit->count < LISTED) {
		visit->routines[visit->count] = routine;
		visit->running[visit->count] = running;
	}
	visit->count++;
}

size_t ex_work_each(const void *base, size_t size,
		    void (*each)(void *context, uint64_t routine, bool running), void *context)
{
	struct visit state = {.low = (uintptr_t)base, .high = (uintptr_t)base + size};
	KIRQL old = ke_lock_raise(&work_lock);
	for (unsigned urgency = 0; urgency < URGENCIES; urgency++) {
		LIST_ENTRY *head = &queues[urgency][WORK_CORE];
		for (LIST_ENTRY *entry = head->Flink; entry != head; entry = entry->Flink)
			visit(&state, CONTAINING_RECORD(entry, struct ex_work, entry)->routine,
			      false);
		head = &queues[urgency][WORK_DRIVER];
		for (LIST_ENTRY *entry = head->Flink; entry != head; entry = entry->Flink) {
			WORK_QUEUE_ITEM *item = CONTAINING_RECORD(entry, WORK_QUEUE_ITEM, List);
			visit(&state, (uint64_t)item->WorkerRoutine, false);
		}
	}
	for (uint32_t i = 0; i < worker_count; i++)
		visit(&state, workers[i].routine, true);
	ke_lock_lower(&work_lock, old);
	for (size_t i = 0; each && i < state.count && i < LISTED; i++)
		each(context, state.routines[i], state.running[i]);
	return state.count;
}
