/* SPDX-License-Identifier: MIT */
/*
 * percpu: counters of each processor, for partitions that grow.
 *
 *     ketch cc percpu.c && ketch run -p 2 percpu.sys addx6 nmi:all
 *
 * A processor change callback with KE_PROCESSOR_CHANGE_ADD_EXISTING is called for the processors
 * that are there and for those that join, so nothing else has to know how many there are. Start:
 * the processor does not run yet: allocate its counters, or veto. Complete: it runs: a thread is
 * bound to it. Failure: it will not come: free what Start allocated. The table of pointers has room
 * for all processors that the partition can ever hold; only its entries come and go.
 */
#include <ntddk.h>

#define TAG 'ucpP'

struct counters {
	volatile LONG nmis;
	volatile LONG rounds; /* of its thread */
	PROCESSOR_NUMBER number;
	PKTHREAD thread;
};

static struct counters *volatile *table; /* by system-wide index */
static ULONG maximum;
static NTSTATUS refusal; /* why the last addition was vetoed */
static KEVENT stop;
static PVOID nmi_handle, change_handle;

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD Unload;
static KSTART_ROUTINE Count;
static PROCESSOR_CALLBACK_FUNCTION OnChange;

/* Bound to one processor: counts in its counters until the driver unloads. */
static VOID NTAPI Count(PVOID Context)
{
	struct counters *mine = Context;
	GROUP_AFFINITY affinity;
	LARGE_INTEGER pause;

	RtlZeroMemory(&affinity, sizeof(affinity));
	affinity.Group = mine->number.Group;
	affinity.Mask = (KAFFINITY)1 << mine->number.Number;
	KeSetSystemGroupAffinityThread(&affinity, NULL);
	pause.QuadPart = -1000000; /* 100 ms */
	do {
		ULONG index = KeGetCurrentProcessorNumberEx(NULL);

		if (table[index] != mine)
			DbgPrint("percpu: the thread of %u:%u runs on processor %u\n",
				 mine->number.Group, mine->number.Number, index);
		InterlockedIncrement(&mine->rounds);
	} while (KeWaitForSingleObject(&stop, Executive, KernelMode, FALSE, &pause) ==
		 STATUS_TIMEOUT);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static NTSTATUS Allocate(PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT Change)
{
	struct counters *new = ExAllocatePoolWithTag(NonPagedPool, sizeof(struct counters), TAG);

	if (!new)
		return STATUS_INSUFFICIENT_RESOURCES;
	RtlZeroMemory(new, sizeof(*new));
	new->number = Change->ProcNumber;
	table[Change->NtNumber] = new;
	return STATUS_SUCCESS;
}

static VOID StartThread(struct counters *mine)
{
	HANDLE handle;

	if (!NT_SUCCESS(PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Count,
					     mine)))
		return; /* its NMIs are counted all the same */
	ObReferenceObjectByHandle(handle, THREAD_ALL_ACCESS, NULL, KernelMode,
				  (PVOID *)&mine->thread, NULL);
	ZwClose(handle);
}

static VOID NTAPI OnChange(PVOID Context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT Change,
			   PNTSTATUS Status)
{
	struct counters *mine = table[Change->NtNumber];

	UNREFERENCED_PARAMETER(Context);
	switch (Change->State) {
	case KeProcessorAddStartNotify:
		refusal = Allocate(Change);
		if (!NT_SUCCESS(refusal) && *Status == STATUS_SUCCESS)
			*Status = refusal;
		break;
	case KeProcessorAddCompleteNotify:
		StartThread(mine);
		break;
	case KeProcessorAddFailureNotify:
		table[Change->NtNumber] = NULL;
		if (mine)
			ExFreePoolWithTag(mine, TAG);
		break;
	}
}

/* HIGH_LEVEL, on any processor: only its own counters. */
static BOOLEAN NTAPI OnNmi(PVOID Context, BOOLEAN Handled)
{
	struct counters *mine = table[KeGetCurrentProcessorNumberEx(NULL)];

	UNREFERENCED_PARAMETER(Context);
	UNREFERENCED_PARAMETER(Handled);
	if (mine)
		InterlockedIncrement(&mine->nmis);
	return TRUE;
}

static VOID NTAPI Unload(PDRIVER_OBJECT DriverObject)
{
	ULONG index, seen = 0;

	UNREFERENCED_PARAMETER(DriverObject);
	/* From here on the table does not grow. */
	KeDeregisterProcessorChangeCallback(change_handle);
	KeDeregisterNmiCallback(nmi_handle);
	KeSetEvent(&stop, IO_NO_INCREMENT, FALSE);
	for (index = 0; index < maximum; index++) {
		struct counters *mine = table[index];

		if (!mine)
			continue;
		if (mine->thread) {
			KeWaitForSingleObject(mine->thread, Executive, KernelMode, FALSE, NULL);
			ObDereferenceObject(mine->thread);
		}
		DbgPrint("percpu: processor %u (%u:%u): %d NMIs, its thread %s\n", index,
			 mine->number.Group, mine->number.Number, mine->nmis,
			 mine->rounds ? "ran" : "did not run");
		ExFreePoolWithTag(mine, TAG);
		seen++;
	}
	DbgPrint("percpu: %u processors\n", seen);
	ExFreePoolWithTag((PVOID)table, TAG);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	UNREFERENCED_PARAMETER(RegistryPath);
	/* Not the active count: processors that join later have higher indices. */
	maximum = KeQueryMaximumProcessorCountEx(ALL_PROCESSOR_GROUPS);
	table = ExAllocatePoolWithTag(NonPagedPool, maximum * sizeof(*table), TAG);
	if (!table)
		return STATUS_INSUFFICIENT_RESOURCES;
	RtlZeroMemory((PVOID)table, maximum * sizeof(*table));
	KeInitializeEvent(&stop, NotificationEvent, FALSE);

	nmi_handle = KeRegisterNmiCallback(OnNmi, NULL);
	if (nmi_handle)
		change_handle = KeRegisterProcessorChangeCallback(OnChange, NULL,
								  KE_PROCESSOR_CHANGE_ADD_EXISTING);
	if (!change_handle) { /* if our callback vetoed, it was told of the failures, too */
		if (nmi_handle)
			KeDeregisterNmiCallback(nmi_handle);
		ExFreePoolWithTag((PVOID)table, TAG);
		return NT_SUCCESS(refusal) ? STATUS_INSUFFICIENT_RESOURCES : refusal;
	}
	DriverObject->DriverUnload = Unload;
	return STATUS_SUCCESS;
}
