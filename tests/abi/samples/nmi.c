/* SPDX-License-Identifier: MIT */
/*
 * A driver as it is written in the field: an NMI callback, its own KAFFINITY_EX (DEF-15), pageable
 * code, pool tags. Compiled and linked, not run: the headers must take it without a warning.
 */
#include <ntddk.h>

typedef struct _KAFFINITY_EX {
	USHORT Count;
	USHORT Size;
	ULONG Reserved;
	ULONGLONG Bitmap[20];
} KAFFINITY_EX, *PKAFFINITY_EX;

NTHALAPI VOID NTAPI HalSendNMI(PKAFFINITY_EX Processors);
NTKERNELAPI VOID NTAPI KeInitializeAffinityEx(PKAFFINITY_EX Affinity);
NTKERNELAPI VOID NTAPI KeAddProcessorAffinityEx(PKAFFINITY_EX Affinity, INT Index);

DRIVER_INITIALIZE DriverEntry;
DRIVER_UNLOAD NmiUnload;
NMI_CALLBACK OnNmi;

#ifdef ALLOC_PRAGMA
#pragma alloc_text(INIT, DriverEntry)
#endif
#pragma alloc_text(PAGE, NmiUnload)

static volatile LONG Count;
static PVOID Handle;

_Use_decl_annotations_ BOOLEAN OnNmi(PVOID Context, BOOLEAN Handled)
{
	UNREFERENCED_PARAMETER(Handled);
	NT_ASSERT(KeGetCurrentIrql() == HIGH_LEVEL);
	InterlockedIncrement((volatile LONG *)Context);
	return TRUE;
}

VOID NmiUnload(_In_ PDRIVER_OBJECT DriverObject)
{
	NTSTATUS status;
	PAGED_CODE();
	UNREFERENCED_PARAMETER(DriverObject);
	status = KeDeregisterNmiCallback(Handle);
	DbgPrintEx(DPFLTR_IHVDRIVER_ID, DPFLTR_ERROR_LEVEL, "%ld NMIs, 0x%08X\n", Count, status);
}

_Function_class_(DRIVER_INITIALIZE) _IRQL_requires_same_ NTSTATUS
	DriverEntry(_In_ PDRIVER_OBJECT DriverObject, _In_ PUNICODE_STRING RegistryPath)
{
	PKAFFINITY_EX processors;
	LARGE_INTEGER interval;
	ULONG index;
	UNREFERENCED_PARAMETER(RegistryPath);
	DriverObject->DriverUnload = NmiUnload;
	Handle = KeRegisterNmiCallback(OnNmi, (PVOID)&Count);
	if (!Handle)
		return STATUS_INSUFFICIENT_RESOURCES;
	processors =
		(PKAFFINITY_EX)ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof(*processors), 'imnK');
	if (!processors) {
		KeDeregisterNmiCallback(Handle);
		return STATUS_INSUFFICIENT_RESOURCES;
	}
	KeInitializeAffinityEx(processors);
	for (index = 0; index < KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS); index++)
		KeAddProcessorAffinityEx(processors, (INT)index);
	HalSendNMI(processors);
	interval.QuadPart = -10 * 1000; /* 1 ms */
	KeDelayExecutionThread(KernelMode, FALSE, &interval);
	ExFreePoolWithTag(processors, 'imnK');
	return STATUS_SUCCESS;
}
