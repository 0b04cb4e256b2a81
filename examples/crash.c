/* SPDX-License-Identifier: MIT */
/*
 * crash: a driver that follows a NULL pointer while it holds a spin lock: what a bug check looks
 * like.
 *
 *     ketch cc crash.c && ketch run crash.sys        bug check 0xD1, exit status 3
 */
#include <ntddk.h>

struct request {
	LIST_ENTRY link;
	ULONG *done; /* who made the request forgot to set it */
};

DRIVER_INITIALIZE DriverEntry;

static KSPIN_LOCK lock;
static LIST_ENTRY queue;
static struct request first;

static DECLSPEC_NOINLINE VOID Complete(struct request *request)
{
	RemoveEntryList(&request->link);
	*request->done = 1;
}

static DECLSPEC_NOINLINE ULONG CompleteAll(VOID)
{
	ULONG count = 0;
	KIRQL old;

	KeAcquireSpinLock(&lock, &old);
	while (!IsListEmpty(&queue)) {
		Complete(CONTAINING_RECORD(queue.Flink, struct request, link));
		count++;
	}
	KeReleaseSpinLock(&lock, old);
	return count;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	UNREFERENCED_PARAMETER(DriverObject);
	UNREFERENCED_PARAMETER(RegistryPath);
	KeInitializeSpinLock(&lock);
	InitializeListHead(&queue);
	InsertTailList(&queue, &first.link);
	DbgPrint("crash: %u requests completed\n", CompleteAll());
	return STATUS_SUCCESS;
}
