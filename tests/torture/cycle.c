/* SPDX-License-Identifier: MIT */
/*
 * Takes one of everything in DriverEntry and gives it back in DriverUnload: for load_unload.c,
 * which does that hundreds of times and looks at the memory of the process (PLT-59, VER-40).
 */
#include "torture.h"

static PVOID handle, memory, paged, thread;
static KTIMER timer;
static KDPC dpc;
static KEVENT stop;
static PDEVICE_OBJECT device;
static volatile LONG nmis, ticks;
static LOOKASIDE_LIST_EX lookaside;
static ERESOURCE resource;

static BOOLEAN NTAPI on_nmi(PVOID context, BOOLEAN handled)
{
	UNREFERENCED_PARAMETER(handled);
	InterlockedIncrement((volatile LONG *)context);
	return TRUE;
}

static VOID NTAPI on_timer(PKDPC Dpc, PVOID context, PVOID first, PVOID second)
{
	UNREFERENCED_PARAMETER(Dpc);
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(first);
	UNREFERENCED_PARAMETER(second);
	InterlockedIncrement(&ticks);
}

static VOID NTAPI worker(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
	KeWaitForSingleObject(&stop, Executive, KernelMode, FALSE, NULL);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID NTAPI unload(PDRIVER_OBJECT DriverObject)
{
	UNREFERENCED_PARAMETER(DriverObject);
	KeCancelTimer(&timer);
	KeFlushQueuedDpcs();
	KeSetEvent(&stop, 0, FALSE);
	check_join(thread);
	KeDeregisterNmiCallback(handle);
	ExFreePoolWithTag(memory, 'troT');
	ExFreePoolWithTag(paged, 'troT');
	ExDeleteLookasideListEx(&lookaside);
	ExDeleteResourceLite(&resource);
	IoDeleteDevice(device);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\Cycle");
	LARGE_INTEGER due = check_ms(1);
	UNREFERENCED_PARAMETER(RegistryPath);
	DriverObject->DriverUnload = unload;
	KeInitializeEvent(&stop, NotificationEvent, FALSE);
	KeInitializeTimer(&timer);
	KeInitializeDpc(&dpc, on_timer, NULL);
	KeSetTimerEx(&timer, due, 1, &dpc);
	memory = ExAllocatePoolWithTag(NonPagedPoolNx, 70000, 'troT');
	paged = ExAllocatePoolWithTag(PagedPool, 70000, 'troT');
	ExInitializeLookasideListEx(&lookaside, NULL, NULL, NonPagedPoolNx, 0, 128, 'troT', 0);
	ExFreeToLookasideListEx(&lookaside, ExAllocateFromLookasideListEx(&lookaside));
	ExInitializeResourceLite(&resource);
	thread = check_thread(worker, NULL);
	handle = KeRegisterNmiCallback(on_nmi, (PVOID)&nmis);
	if (!memory || !paged || !thread || !handle)
		return STATUS_INSUFFICIENT_RESOURCES;
	return IoCreateDevice(DriverObject, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
}

DRIVER_INITIALIZE DriverEntry;
