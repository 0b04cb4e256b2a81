/* SPDX-License-Identifier: MIT */
/*
 * A device with I/O controls: IRPs, structured exceptions, locks of every kind, lookaside lists, a
 * thread, a timer, bounded strings, intrinsics, the shared page, exported variables. Compiled and
 * linked, not run.
 */
#include <ntifs.h>
#include <intrin.h>
#include <ntintsafe.h>
#include <ntstrsafe.h>

#define IOCTL_SUM  CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define IOCTL_READ CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_NEITHER, FILE_ANY_ACCESS)
#define TAG        'lpmS'

extern POBJECT_TYPE *PsThreadType;       /* as drivers redeclare it */
extern POBJECT_TYPE *IoDriverObjectType; /* not in public headers (DEF-307) */

typedef struct _ITEM {
	LIST_ENTRY Link;
	ULONG Value;
} ITEM, *PITEM;

typedef struct _EXTENSION {
	LIST_ENTRY Items;
	KSPIN_LOCK Lock;
	FAST_MUTEX Mutex;
	ERESOURCE Resource;
	EX_PUSH_LOCK PushLock;
	EX_RUNDOWN_REF Rundown;
	IO_REMOVE_LOCK RemoveLock;
	NPAGED_LOOKASIDE_LIST Lookaside;
	LOOKASIDE_LIST_EX LookasideEx;
	KTIMER Timer;
	KDPC Dpc;
	KEVENT Fired;
} EXTENSION, *PEXTENSION;

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD Unload;
_Dispatch_type_(IRP_MJ_CREATE) _Dispatch_type_(IRP_MJ_CLOSE) static DRIVER_DISPATCH Open;
_Dispatch_type_(IRP_MJ_DEVICE_CONTROL) static DRIVER_DISPATCH Control;
static KDEFERRED_ROUTINE OnTimer;
static KSTART_ROUTINE Worker;
static IO_COMPLETION_ROUTINE Completed;

DECLARE_CONST_UNICODE_STRING(DeviceName, L"\\Device\\Sample");
DECLARE_GLOBAL_CONST_UNICODE_STRING(LinkName, L"\\DosDevices\\Sample");

static VOID OnTimer(PKDPC Dpc, PVOID Context, PVOID Argument1, PVOID Argument2)
{
	PEXTENSION extension = (PEXTENSION)Context;
	UNREFERENCED_PARAMETER(Dpc);
	UNREFERENCED_PARAMETER(Argument1);
	UNREFERENCED_PARAMETER(Argument2);
	KeSetEvent(&extension->Fired, IO_NO_INCREMENT, FALSE);
}

static VOID Worker(PVOID Context)
{
	PEXTENSION extension = (PEXTENSION)Context;
	ExAcquireFastMutex(&extension->Mutex);
	ExReleaseFastMutex(&extension->Mutex);
	KeEnterCriticalRegion();
	ExAcquireResourceExclusiveLite(&extension->Resource, TRUE);
	ExReleaseResourceLite(&extension->Resource);
	ExAcquirePushLockExclusive(&extension->PushLock);
	ExReleasePushLockExclusive(&extension->PushLock);
	KeLeaveCriticalRegion();
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static NTSTATUS Completed(PDEVICE_OBJECT DeviceObject, PIRP Irp, PVOID Context)
{
	UNREFERENCED_PARAMETER(DeviceObject);
	UNREFERENCED_PARAMETER(Context);
	if (Irp->PendingReturned)
		IoMarkIrpPending(Irp);
	return STATUS_CONTINUE_COMPLETION;
}

static NTSTATUS Open(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
	UNREFERENCED_PARAMETER(DeviceObject);
	Irp->IoStatus.Status = STATUS_SUCCESS;
	Irp->IoStatus.Information = 0;
	IoCompleteRequest(Irp, IO_NO_INCREMENT);
	return STATUS_SUCCESS;
}

static NTSTATUS Sum(PEXTENSION Extension, PULONG Buffer, SIZE_T Count, PULONG Result)
{
	NTSTATUS status = STATUS_SUCCESS;
	KLOCK_QUEUE_HANDLE queue;
	KIRQL old;
	SIZE_T i;
	*Result = 0;
	for (i = 0; i < Count && NT_SUCCESS(status); i++)
		status = RtlULongAdd(*Result, Buffer[i], Result);
	KeAcquireSpinLock(&Extension->Lock, &old);
	while (!IsListEmpty(&Extension->Items)) {
		PLIST_ENTRY entry = RemoveHeadList(&Extension->Items);
		ExFreeToNPagedLookasideList(&Extension->Lookaside,
					    CONTAINING_RECORD(entry, ITEM, Link));
	}
	KeReleaseSpinLock(&Extension->Lock, old);
	KeAcquireInStackQueuedSpinLock(&Extension->Lock, &queue);
	KeReleaseInStackQueuedSpinLock(&queue);
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	KeLowerIrql(old);
	return status;
}

static NTSTATUS ReadUser(PVOID UserBuffer, ULONG Length, PULONG Value)
{
	NTSTATUS status = STATUS_SUCCESS;
	PMDL mdl;
	__try {
		ProbeForRead(UserBuffer, Length, TYPE_ALIGNMENT(ULONG));
		*Value = *(volatile ULONG *)UserBuffer;
		mdl = IoAllocateMdl(UserBuffer, Length, FALSE, FALSE, NULL);
		if (!mdl)
			return STATUS_INSUFFICIENT_RESOURCES;
		__try {
			PVOID address;
			MmProbeAndLockPages(mdl, UserMode, IoWriteAccess);
			address = MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority |
									    MdlMappingNoExecute);
			if (address)
				RtlCopyMemory(address, Value, sizeof(*Value));
			MmUnlockPages(mdl);
		} __finally {
			if (AbnormalTermination())
				DbgPrint("unwinding\n");
			IoFreeMdl(mdl);
		}
	} __except (GetExceptionInformation()->ExceptionRecord->ExceptionCode ==
				    STATUS_ACCESS_VIOLATION
			    ? EXCEPTION_EXECUTE_HANDLER
			    : EXCEPTION_CONTINUE_SEARCH) {
		status = GetExceptionCode();
	}
	return status;
}

static NTSTATUS Control(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
	PEXTENSION extension = (PEXTENSION)DeviceObject->DeviceExtension;
	PIO_STACK_LOCATION stack = IoGetCurrentIrpStackLocation(Irp);
	ULONG size = stack->Parameters.DeviceIoControl.InputBufferLength;
	NTSTATUS status = IoAcquireRemoveLock(&extension->RemoveLock, Irp);
	ULONG value = 0;
	Irp->IoStatus.Information = 0;
	if (NT_SUCCESS(status)) {
		switch (stack->Parameters.DeviceIoControl.IoControlCode) {
		case IOCTL_SUM:
			status = Sum(extension, (PULONG)Irp->AssociatedIrp.SystemBuffer,
				     size / sizeof(ULONG), &value);
			break;
		case IOCTL_READ:
			status = ReadUser(stack->Parameters.DeviceIoControl.Type3InputBuffer, size,
					  &value);
			break;
		default:
			status = STATUS_INVALID_DEVICE_REQUEST;
		}
		IoReleaseRemoveLock(&extension->RemoveLock, Irp);
	}
	KdPrint(("control: %lu, 0x%08X\n", value, status));
	Irp->IoStatus.Status = status;
	IoCompleteRequest(Irp, IO_NO_INCREMENT);
	return status;
}

static VOID Unload(PDRIVER_OBJECT DriverObject)
{
	UNICODE_STRING link;
	RtlInitUnicodeString(&link, L"\\DosDevices\\Sample");
	IoDeleteSymbolicLink(&link);
	if (DriverObject->DeviceObject)
		IoDeleteDevice(DriverObject->DeviceObject);
}

static VOID UseProcessor(VOID)
{
	int registers[4];
	ULONG index;
	KSYSTEM_TIME time;
	__cpuid(registers, 1);
	if (_BitScanForward(&index, (ULONG)registers[2]) && __rdtsc() != 0)
		YieldProcessor();
	_disable();
	_enable();
	__writecr8(__readcr8());
	do {
		time.High1Time = SharedUserData->InterruptTime.High1Time;
		time.LowPart = SharedUserData->InterruptTime.LowPart;
	} while (time.High1Time != SharedUserData->InterruptTime.High2Time);
	DbgPrint("%lu, KTHREAD %p, %p\n", time.LowPart, (PVOID)__readgsqword(0x188),
		 (PVOID)KeGetPcr());
}

static NTSTATUS RunWorker(PEXTENSION Extension)
{
	OBJECT_ATTRIBUTES attributes;
	HANDLE handle;
	PVOID thread;
	NTSTATUS status;
	InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
	status = PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, &attributes, NULL, NULL, Worker,
				      Extension);
	if (!NT_SUCCESS(status))
		return status;
	status = ObReferenceObjectByHandle(handle, SYNCHRONIZE, *PsThreadType, KernelMode, &thread,
					   NULL);
	ZwClose(handle);
	if (NT_SUCCESS(status)) {
		KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, NULL);
		ObDereferenceObject(thread);
	}
	return status;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	PDEVICE_OBJECT device;
	PEXTENSION extension;
	LARGE_INTEGER due;
	WCHAR text[64];
	PITEM item;
	ULONG i;
	NTSTATUS status =
		IoCreateDevice(DriverObject, sizeof(EXTENSION), (PUNICODE_STRING)&DeviceName,
			       FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &device);
	if (!NT_SUCCESS(status))
		return status;
	for (i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++)
		DriverObject->MajorFunction[i] = Open;
	DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Control;
	DriverObject->DriverUnload = Unload;

	extension = (PEXTENSION)device->DeviceExtension;
	InitializeListHead(&extension->Items);
	KeInitializeSpinLock(&extension->Lock);
	ExInitializeFastMutex(&extension->Mutex);
	ExInitializeResourceLite(&extension->Resource);
	ExInitializePushLock(&extension->PushLock);
	ExInitializeRundownProtection(&extension->Rundown);
	IoInitializeRemoveLock(&extension->RemoveLock, TAG, 0, 0);
	ExInitializeNPagedLookasideList(&extension->Lookaside, NULL, NULL, POOL_NX_ALLOCATION,
					sizeof(ITEM), TAG, 0);
	ExInitializeLookasideListEx(&extension->LookasideEx, NULL, NULL, NonPagedPoolNx, 0, 32, TAG,
				    0);
	item = (PITEM)ExAllocateFromNPagedLookasideList(&extension->Lookaside);
	if (item)
		InsertTailList(&extension->Items, &item->Link);

	KeInitializeEvent(&extension->Fired, NotificationEvent, FALSE);
	KeInitializeTimer(&extension->Timer);
	KeInitializeDpc(&extension->Dpc, OnTimer, extension);
	due.QuadPart = -10 * 1000;
	KeSetTimerEx(&extension->Timer, due, 100, &extension->Dpc);
	KeWaitForSingleObject(&extension->Fired, Executive, KernelMode, FALSE, &due);
	KeCancelTimer(&extension->Timer);

	RtlStringCbPrintfW(text, sizeof(text), L"%wZ %d", RegistryPath, KD_DEBUGGER_NOT_PRESENT);
	DbgPrint("%ws %p %p %lu %p\n", text, MM_HIGHEST_USER_ADDRESS, (PVOID)PsInitialSystemProcess,
		 HandleToULong(PsGetCurrentProcessId()), (PVOID)*IoDriverObjectType);
	UseProcessor();
	status = RunWorker(extension);
	if (NT_SUCCESS(status))
		status = IoCreateSymbolicLink((PUNICODE_STRING)&LinkName,
					      (PUNICODE_STRING)&DeviceName);
	device->Flags &= ~(ULONG)DO_DEVICE_INITIALIZING;
	(VOID) Completed;
	return status;
}
