/* SPDX-License-Identifier: MIT */
/*
 * Device queues: requests that wait for a busy device (PLT-85, VER-12).
 *
 * Runs at DISPATCH_LEVEL (initialization and the removal of a given entry at or below). The queue's
 * own spin lock, in the 8 bytes at Lock, guards list and Busy; nothing else is locked meanwhile.
 */
#include "ke/internal.h"

#define DEVICE_QUEUE_OBJECT 20

_Static_assert(sizeof(KDEVICE_QUEUE) == 0x28 && offsetof(KDEVICE_QUEUE, Busy) == 0x20, "PLT-85");

static KDEVICE_QUEUE_ENTRY *entry_of(LIST_ENTRY *link)
{
	return CONTAINING_RECORD(link, KDEVICE_QUEUE_ENTRY, DeviceListEntry);
}

/* The lock is ours alone, so the word of the drivers' spin locks serves without their checks. */
static KIRQL lock(KDEVICE_QUEUE *queue)
{
	_Atomic KSPIN_LOCK *word = (_Atomic KSPIN_LOCK *)&queue->Lock;
	KIRQL old = ke_irql();
	if (old < DISPATCH_LEVEL)
		ke_irql_set(DISPATCH_LEVEL);
	for (unsigned round = 0;; round++) {
		KSPIN_LOCK free = 0;
		if (atomic_compare_exchange_weak_explicit(word, &free, 1, memory_order_acquire,
							  memory_order_relaxed))
			return old;
		port_spin(round);
	}
}

static void unlock(KDEVICE_QUEUE *queue, KIRQL old)
{
	atomic_store_explicit((_Atomic KSPIN_LOCK *)&queue->Lock, 0, memory_order_release);
	ke_irql_lower(old);
}

/* An empty queue of a device that is not busy. IRQL <= DISPATCH_LEVEL. */
VOID NTAPI KeInitializeDeviceQueue(PKDEVICE_QUEUE DeviceQueue)
{
	memset(DeviceQueue, 0, sizeof *DeviceQueue);
	DeviceQueue->Type = DEVICE_QUEUE_OBJECT;
	DeviceQueue->Size = sizeof *DeviceQueue;
	InitializeListHead(&DeviceQueue->DeviceListHead);
}

/* Put `entry` in front of `before` when the device is busy; else the device becomes busy and the
 * entry is not queued. */
static BOOLEAN insert(KDEVICE_QUEUE *queue, KDEVICE_QUEUE_ENTRY *entry, bool by_key, ULONG key)
{
	KIRQL old = lock(queue);
	BOOLEAN busy = queue->Busy;
	if (busy) {
		LIST_ENTRY *before = &queue->DeviceListHead;
		if (by_key) {
			before = before->Flink;
			while (before != &queue->DeviceListHead && entry_of(before)->SortKey <= key)
				before = before->Flink;
		}
		InsertTailList(before, &entry->DeviceListEntry);
	}
	if (by_key)
		entry->SortKey = key;
	queue->Busy = TRUE;
	entry->Inserted = busy;
	unlock(queue, old);
	return busy;
}

/* Queue at the end. FALSE: the device was not busy; it is now, and the entry was not queued. IRQL =
 * DISPATCH_LEVEL. */
BOOLEAN NTAPI KeInsertDeviceQueue(PKDEVICE_QUEUE DeviceQueue, PKDEVICE_QUEUE_ENTRY Entry)
{
	return insert(DeviceQueue, Entry, false, 0);
}

/* The same in the order of keys, behind equal ones. IRQL = DISPATCH_LEVEL. */
BOOLEAN NTAPI KeInsertByKeyDeviceQueue(PKDEVICE_QUEUE DeviceQueue, PKDEVICE_QUEUE_ENTRY Entry,
				       ULONG SortKey)
{
	return insert(DeviceQueue, Entry, true, SortKey);
}

static KDEVICE_QUEUE_ENTRY *remove_next(KDEVICE_QUEUE *queue, bool by_key, ULONG key)
{
	KDEVICE_QUEUE_ENTRY *entry = NULL;
	KIRQL old = lock(queue);
	LIST_ENTRY *head = &queue->DeviceListHead;
	if (IsListEmpty(head)) {
		queue->Busy = FALSE;
	} else {
		LIST_ENTRY *found = head->Flink;
		while (by_key && found != head && entry_of(found)->SortKey < key)
			found = found->Flink;
		if (found == head)
			found = head->Flink;
		RemoveEntryList(found);
		entry = entry_of(found);
		entry->Inserted = FALSE;
	}
	unlock(queue, old);
	return entry;
}

/* Take the first entry; NULL: none waits, the device is not busy any more. IRQL = DISPATCH_LEVEL.
 */
PKDEVICE_QUEUE_ENTRY NTAPI KeRemoveDeviceQueue(PKDEVICE_QUEUE DeviceQueue)
{
	return remove_next(DeviceQueue, false, 0);
}

/* Take the first entry whose key is at least `SortKey`, or the first of all; NULL as above. IRQL =
 * DISPATCH_LEVEL. */
PKDEVICE_QUEUE_ENTRY NTAPI KeRemoveByKeyDeviceQueue(PKDEVICE_QUEUE DeviceQueue, ULONG SortKey)
{
	return remove_next(DeviceQueue, true, SortKey);
}

/* Take this entry out; FALSE: it was not queued. IRQL <= DISPATCH_LEVEL. */
BOOLEAN NTAPI KeRemoveEntryDeviceQueue(PKDEVICE_QUEUE DeviceQueue, PKDEVICE_QUEUE_ENTRY Entry)
{
	KIRQL old = lock(DeviceQueue);
	BOOLEAN queued = Entry->Inserted;
	if (queued) {
		RemoveEntryList(&Entry->DeviceListEntry);
		Entry->Inserted = FALSE;
	}
	unlock(DeviceQueue, old);
	return queued;
}
