/* SPDX-License-Identifier: MIT */
/*
 * Rules about the use of objects: references, fast mutexes, resources, callback objects, devices,
 * IRPs, waits, and what is left of them (VER-30, VER-33, VER-34, VER-38, VER-54, DEF-157, DEF-181,
 * PLT-63). CASE 0 keeps them, the others break one each.
 */
#include "check.h"

static FAST_MUTEX mutex;
static ERESOURCE resource, never;
static KEVENT event;
static KDPC dpc;
static NPAGED_LOOKASIDE_LIST lookaside;
static KBUGCHECK_CALLBACK_RECORD record;
static PDRIVER_OBJECT self;
static PIO_WORKITEM item;
static PDEVICE_OBJECT device;

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
	if (device)
		IoDeleteDevice(device);
}

static VOID NTAPI deferred(PKDPC Dpc, PVOID Context, PVOID One, PVOID Two)
{
	UNREFERENCED_PARAMETER(Dpc);
	UNREFERENCED_PARAMETER(Context);
	UNREFERENCED_PARAMETER(One);
	UNREFERENCED_PARAMETER(Two);
}

static VOID NTAPI bug(PVOID Buffer, ULONG Length)
{
	UNREFERENCED_PARAMETER(Buffer);
	UNREFERENCED_PARAMETER(Length);
}

static VOID NTAPI process(HANDLE Parent, HANDLE Process, BOOLEAN Create)
{
	UNREFERENCED_PARAMETER(Parent);
	UNREFERENCED_PARAMETER(Process);
	UNREFERENCED_PARAMETER(Create);
}

static NTSTATUS NTAPI twice(PDEVICE_OBJECT Device, PIRP Irp)
{
	UNREFERENCED_PARAMETER(Device);
	Irp->IoStatus.Status = CASE == 10 ? STATUS_PENDING : STATUS_SUCCESS;
	Irp->IoStatus.Information = 0;
	IoCompleteRequest(Irp, IO_NO_INCREMENT);
	if (CASE == 17)
		IoCompleteRequest(Irp, IO_NO_INCREMENT);
	return STATUS_SUCCESS;
}

static void wait_at_dispatch(PLARGE_INTEGER timeout)
{
	KIRQL old;
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, timeout);
	KeLowerIrql(old);
}

static void notify_system(void)
{
	UNICODE_STRING name;
	OBJECT_ATTRIBUTES attributes;
	PCALLBACK_OBJECT object;
	RtlInitUnicodeString(&name, L"\\Callback\\PowerState");
	InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE, NULL, NULL);
	CHECK(NT_SUCCESS(ExCreateCallback(&object, &attributes, FALSE, TRUE)),
	      "PLT-64 the system's callback object");
	ExNotifyCallback(object, NULL, NULL);
	ObDereferenceObject(object);
}

static void send_flush(void)
{
	IO_STATUS_BLOCK status;
	KEVENT done;
	self->MajorFunction[IRP_MJ_FLUSH_BUFFERS] = twice;
	IoCreateDevice(self, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
	device->Flags &= ~DO_DEVICE_INITIALIZING;
	KeInitializeEvent(&done, NotificationEvent, FALSE);
	PIRP irp = IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, device, NULL, 0, NULL, &done,
						&status);
	CHECK(IoCallDriver(device, irp) == STATUS_SUCCESS, "VER-38 the IRP was sent");
}

static void open_handle(BOOLEAN close)
{
	UNICODE_STRING name;
	OBJECT_ATTRIBUTES attributes;
	HANDLE handle;
	RtlInitUnicodeString(&name, L"\\Driver");
	InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE,
				   NULL, NULL);
	CHECK(NT_SUCCESS(ZwOpenDirectoryObject(&handle, DIRECTORY_QUERY, &attributes)),
	      "DEF-288 a handle");
	if (close)
		ZwClose(handle);
}

static void queue_elsewhere(void)
{
	PROCESSOR_NUMBER number;
	KeGetProcessorNumberFromIndex(0, &number);
	KeSetTargetProcessorDpcEx(&dpc, &number);
}

CHECK_HELPER void broken(int which)
{
	LARGE_INTEGER soon = check_ms(1);
	PVOID object = PsGetCurrentThread();
	KIRQL old;
	switch (which) {
	case 1: /* acquired twice by one thread: cannot end */
		ExAcquireFastMutex(&mutex);
		ExAcquireFastMutex(&mutex);
		break;
	case 2:
		KeRaiseIrql(APC_LEVEL, &old);
		ExReleaseFastMutex(&mutex);
		KeLowerIrql(old);
		break;
	case 3:
		KeEnterCriticalRegion();
		if (ExAcquireResourceSharedLite(&never, FALSE))
			ExReleaseResourceLite(&never);
		KeLeaveCriticalRegion();
		break;
	case 4:
		ExAcquireResourceExclusiveLite(&resource, TRUE);
		ExReleaseResourceLite(&resource);
		break;
	case 5:
		ExUnregisterCallback((PVOID)&event);
		break;
	case 6:
		notify_system();
		break;
	case 7:
		IoDeleteDevice(NULL);
		break;
	case 8:
		KeSetEvent(&event, 0, FALSE);
		wait_at_dispatch(NULL);
		break;
	case 9:
		KeSetEvent(&event, 0, FALSE);
		wait_at_dispatch(&soon);
		break;
	case 10:
	case 17:
		send_flush();
		break;
	case 11: /* one dereference too many of an object that it does not own */
		ObReferenceObject(object);
		for (int i = 0; i < 64; i++)
			ObDereferenceObject(object);
		break;
	case 12:
		open_handle(FALSE);
		break;
	case 13:
		KeInitializeCallbackRecord(&record);
		KeRegisterBugCheckCallback(&record, bug, NULL, 0, (PUCHAR) "test");
		break;
	case 14:
		PsSetCreateProcessNotifyRoutine(process, FALSE);
		break;
	case 15:
		ExInitializeNPagedLookasideList(&lookaside, NULL, NULL, 0, 64, 'tseT', 0);
		break;
	case 16:
		IoCreateDevice(self, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
		item = IoAllocateWorkItem(device);
		break;
	}
}

static void kept(void)
{
	ExAcquireFastMutex(&mutex);
	ExReleaseFastMutex(&mutex);
	KeEnterCriticalRegion();
	CHECK(ExAcquireResourceExclusiveLite(&resource, TRUE), "DEF-181 acquired");
	ExReleaseResourceLite(&resource);
	KeLeaveCriticalRegion();
	send_flush();
	open_handle(TRUE);
	KeInitializeCallbackRecord(&record);
	KeRegisterBugCheckCallback(&record, bug, NULL, 0, (PUCHAR) "test");
	CHECK(KeDeregisterBugCheckCallback(&record), "PLT-57 deregistered");
	PsSetCreateProcessNotifyRoutine(process, FALSE);
	PsSetCreateProcessNotifyRoutine(process, TRUE);
	ExInitializeNPagedLookasideList(&lookaside, NULL, NULL, 0, 64, 'tseT', 0);
	ExDeleteNPagedLookasideList(&lookaside);
	item = IoAllocateWorkItem(device);
	IoFreeWorkItem(item);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	self = driver;
	driver->DriverUnload = unload;
	ExInitializeFastMutex(&mutex);
	ExInitializeResourceLite(&resource);
	KeInitializeEvent(&event, NotificationEvent, FALSE);
	KeInitializeDpc(&dpc, deferred, NULL);
	queue_elsewhere();
	if (CASE)
		broken(CASE);
	else
		kept();
	ExDeleteResourceLite(&resource);
	return check_result();
}
