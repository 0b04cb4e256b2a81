/* SPDX-License-Identifier: MIT */
/*
 * work.c: work items of drivers: a routine that runs at PASSIVE_LEVEL on a system thread while its
 * device or driver object is referenced.
 *
 * Contexts: allocation, queueing <= DISPATCH_LEVEL. Lock: `item_lock` (DISPATCH_LEVEL) for the list
 * of items. The engine does not touch an item once its routine was entered, so the routine may free
 * it or queue it again (DEF-249). Implements DEF-186, DEF-245, DEF-249, VER-38. Choice: queueing an
 * item that is queued is bug check 0x96, as the corrupted queue is on Windows.
 */
#include "io/io_internal.h"

struct _IO_WORKITEM {
	struct ex_work work;
	void *object; /* device or driver */
	PIO_WORKITEM_ROUTINE routine;
	PIO_WORKITEM_ROUTINE_EX routine_ex;
	void *context;
	_Atomic bool queued;
	uint64_t caller; /* who made it */
	LIST_ENTRY all;
};

static struct ke_lock item_lock;
static LIST_ENTRY items = {&items, &items};

static void item_initialize(PIO_WORKITEM item, void *object, uint64_t caller)
{
	memset(item, 0, sizeof(*item));
	item->object = object;
	item->caller = caller;
	KIRQL old = ke_lock_raise(&item_lock);
	InsertTailList(&items, &item->all);
	ke_lock_lower(&item_lock, old);
}

static void item_remove(PIO_WORKITEM item, const char *ddi, uint64_t caller)
{
	if (atomic_load(&item->queued))
		vf_report(VF_WorkItemLeft, ddi, caller, (uint64_t)item,
			  "got the work item %p while it is queued", item);
	KIRQL old = ke_lock_raise(&item_lock);
	RemoveEntryList(&item->all);
	ke_lock_lower(&item_lock, old);
}

static void run(struct ex_work *work)
{
	PIO_WORKITEM item = CONTAINING_RECORD(work, struct _IO_WORKITEM, work);
	PIO_WORKITEM_ROUTINE routine = item->routine;
	PIO_WORKITEM_ROUTINE_EX routine_ex = item->routine_ex;
	void *object = item->object, *context = item->context;
	atomic_store(&item->queued, false); /* from here on it is the driver's */
	if (routine_ex)
		IO_CALLOUT(routine_ex, context, routine_ex(object, context, item));
	else
		IO_CALLOUT(routine, context, routine(object, context));
	ob_dereference(object);
}

static void queue(PIO_WORKITEM item, PIO_WORKITEM_ROUTINE routine,
		  PIO_WORKITEM_ROUTINE_EX routine_ex, WORK_QUEUE_TYPE type, void *context,
		  uint64_t caller)
{
	if (atomic_exchange(&item->queued, true)) {
		struct ke_bugcheck_detail detail = {
			.text = "a work item was queued that is still queued", .address = caller};
		ke_bugcheck(INVALID_WORK_QUEUE_ITEM, (uint64_t)item, (uint64_t)item,
			    (uint64_t)routine, 0, &detail);
	}
	item->routine = routine;
	item->routine_ex = routine_ex;
	item->context = context;
	item->work.run = run;
	item->work.routine = routine_ex ? (uint64_t)routine_ex : (uint64_t)routine;
	ob_reference(item->object);
	ex_work_queue(&item->work, type);
}

/* Work items that the driver made and did not free (VER-38). */
void io_work_unload(const struct vf_unload *unload)
{
	for (uint32_t index = 0;; index++) {
		uint32_t n = 0;
		PIO_WORKITEM item = 0;
		void *address = 0;
		KIRQL old = ke_lock_raise(&item_lock);
		for (LIST_ENTRY *entry = items.Flink; entry != &items && !item;
		     entry = entry->Flink) {
			PIO_WORKITEM candidate = CONTAINING_RECORD(entry, struct _IO_WORKITEM, all);
			if (candidate->caller < unload->base || candidate->caller >= unload->end ||
			    n++ < index)
				continue;
			item = candidate;
			address = (void *)item->caller;
		}
		ke_lock_lower(&item_lock, old);
		if (!item)
			return;
		vf_unload_left(unload, VF_WorkItemLeft, address, item, "the work item %p allocated",
			       item);
	}
}

/* ---- DDIs ---- */

/* For a device or driver object (DEF-245). IRQL <= DISPATCH. NULL: the argument is NULL, or no
 * memory. */
PIO_WORKITEM NTAPI IoAllocateWorkItem(PDEVICE_OBJECT DeviceObject)
{
	PIO_WORKITEM item = DeviceObject ? io_allocate(sizeof(*item)) : 0;
	if (item)
		item_initialize(item, DeviceObject, VF_CALLER());
	return item;
}

/* IRQL <= DISPATCH; also inside the item's own routine (DEF-249). */
VOID NTAPI IoFreeWorkItem(PIO_WORKITEM IoWorkItem)
{
	item_remove(IoWorkItem, "IoFreeWorkItem", VF_CALLER());
	ex_free(IoWorkItem);
}

/* Have Routine(object, Context) called at PASSIVE_LEVEL on a system thread (DEF-186). IRQL <=
 * DISPATCH. */
VOID NTAPI IoQueueWorkItem(PIO_WORKITEM IoWorkItem, PIO_WORKITEM_ROUTINE WorkerRoutine,
			   WORK_QUEUE_TYPE QueueType, PVOID Context)
{
	queue(IoWorkItem, WorkerRoutine, 0, QueueType, Context, VF_CALLER());
}

/* The same; the routine also gets the item. */
VOID NTAPI IoQueueWorkItemEx(PIO_WORKITEM IoWorkItem, PIO_WORKITEM_ROUTINE_EX WorkerRoutine,
			     WORK_QUEUE_TYPE QueueType, PVOID Context)
{
	queue(IoWorkItem, 0, WorkerRoutine, QueueType, Context, VF_CALLER());
}

/* Bytes of a work item in the driver's own memory. */
ULONG NTAPI IoSizeofWorkItem(VOID)
{
	return sizeof(struct _IO_WORKITEM);
}

/* A work item in the driver's own (nonpaged) memory. IRQL <= DISPATCH. */
VOID NTAPI IoInitializeWorkItem(PVOID IoObject, PIO_WORKITEM IoWorkItem)
{
	item_initialize(IoWorkItem, IoObject, VF_CALLER());
}

VOID NTAPI IoUninitializeWorkItem(PIO_WORKITEM IoWorkItem)
{
	item_remove(IoWorkItem, "IoUninitializeWorkItem", VF_CALLER());
}
