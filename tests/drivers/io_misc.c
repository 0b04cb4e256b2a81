/* SPDX-License-Identifier: MIT */
/*
 * Work items (DEF-186, DEF-245, DEF-249), StartIo, device timers, remove locks, plug and play
 * notifications (PRC-48), shutdown, exclusive devices. With -DLEAVE the driver leaves a
 * notification registered: it is not unloaded (VER-42).
 */
#include "check.h"

static PDEVICE_OBJECT device;
static KEVENT done;
static struct {
	PVOID object, context;
	PIO_WORKITEM item;
	KIRQL irql;
	BOOLEAN system;
	ULONG calls;
} seen;

/* ---- Work items ---- */

static VOID NTAPI work(PDEVICE_OBJECT object, PVOID context)
{
	seen.object = object;
	seen.context = context;
	seen.irql = KeGetCurrentIrql();
	seen.system = PsIsSystemThread(PsGetCurrentThread());
	seen.calls++;
	KeSetEvent(&done, IO_NO_INCREMENT, FALSE);
}

static VOID NTAPI work_ex(PVOID object, PVOID context, PIO_WORKITEM item)
{
	seen.object = object;
	seen.context = context;
	seen.item = item;
	if (++seen.calls < 5) {
		IoQueueWorkItemEx(item, work_ex, DelayedWorkQueue, context);
		return;
	}
	IoFreeWorkItem(item);
	KeSetEvent(&done, IO_NO_INCREMENT, FALSE);
}

static void work_items(PDRIVER_OBJECT driver)
{
	KIRQL old;
	PIO_WORKITEM item = IoAllocateWorkItem(device);
	CHECK(IoAllocateWorkItem(NULL) == NULL, "DEF-245 no object, no work item");
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	IoQueueWorkItem(item, work, DelayedWorkQueue, &seen);
	KeLowerIrql(old);
	KeWaitForSingleObject(&done, Executive, KernelMode, FALSE, NULL);
	CHECK(seen.object == device && seen.context == &seen && seen.irql == PASSIVE_LEVEL &&
		      seen.system,
	      "DEF-186 the routine runs at PASSIVE_LEVEL in a system thread");
	IoFreeWorkItem(item);
	seen.calls = 0;
	item = IoAllocateWorkItem((PDEVICE_OBJECT)driver);
	IoQueueWorkItemEx(item, work_ex, CriticalWorkQueue, NULL);
	KeWaitForSingleObject(&done, Executive, KernelMode, FALSE, NULL);
	CHECK(seen.calls == 5 && seen.object == driver && seen.item == item,
	      "DEF-245, DEF-249 a driver's item, queued again and freed in its own routine");
	item = ExAllocatePoolWithTag(NonPagedPoolNx, IoSizeofWorkItem(), 'tseT');
	IoInitializeWorkItem(device, item);
	IoQueueWorkItem(item, work, NormalWorkQueue, NULL);
	KeWaitForSingleObject(&done, Executive, KernelMode, FALSE, NULL);
	check_sleep(20);
	IoUninitializeWorkItem(item);
	ExFreePoolWithTag(item, 'tseT');
	CHECK(TRUE, "an item in the driver's own memory");
}

/* ---- StartIo ---- */

static ULONG started, cancelled;

static VOID NTAPI start_io(PDEVICE_OBJECT target, PIRP irp)
{
	started++;
	if (KeGetCurrentIrql() != DISPATCH_LEVEL || target->CurrentIrp != irp)
		started += 100;
}

static VOID NTAPI cancel(PDEVICE_OBJECT target, PIRP irp)
{
	KeRemoveEntryDeviceQueue(&target->DeviceQueue, &irp->Tail.Overlay.DeviceQueueEntry);
	IoReleaseCancelSpinLock(irp->CancelIrql);
	cancelled++;
}

static void start_packets(PDRIVER_OBJECT driver)
{
	PIRP irps[3];
	KIRQL old;
	driver->DriverStartIo = start_io;
	for (int i = 0; i < 3; i++) {
		irps[i] = IoAllocateIrp(1, FALSE);
		IoSetNextIrpStackLocation(irps[i]);
		IoGetCurrentIrpStackLocation(irps[i])->DeviceObject = device;
		IoStartPacket(device, irps[i], NULL, cancel);
	}
	CHECK(started == 1 && device->CurrentIrp == irps[0],
	      "the first packet is started, the others wait");
	CHECK(IoCancelIrp(irps[1]) && cancelled == 1, "a waiting packet is cancelled");
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	IoStartNextPacket(device, TRUE);
	CHECK(started == 2 && device->CurrentIrp == irps[2],
	      "IoStartNextPacket starts the next that is left");
	IoStartNextPacket(device, TRUE);
	CHECK(started == 2 && device->CurrentIrp == NULL, "then the device is idle");
	KeLowerIrql(old);
	for (int i = 0; i < 3; i++) {
		IoSetCancelRoutine(irps[i], NULL);
		IoFreeIrp(irps[i]);
	}
}

/* ---- The device's timer ---- */

static volatile LONG ticks;
static KIRQL tick_irql;

static VOID NTAPI tick(PDEVICE_OBJECT target, PVOID context)
{
	tick_irql = KeGetCurrentIrql();
	if (target == device && context == &ticks)
		InterlockedIncrement(&ticks);
}

static void timer(void)
{
	LONG now;
	CHECK(IoInitializeTimer(device, tick, (PVOID)&ticks) == STATUS_SUCCESS,
	      "IoInitializeTimer");
	IoStartTimer(device);
	for (int i = 0; i < 300 && ticks < 2; i++)
		check_sleep(10);
	IoStopTimer(device);
	CHECK(ticks >= 2 && tick_irql == DISPATCH_LEVEL,
	      "the timer's routine is called each second at DISPATCH_LEVEL");
	check_sleep(20);
	now = ticks;
	check_sleep(1100);
	CHECK(ticks == now, "IoStopTimer");
}

/* ---- Remove locks ---- */

static IO_REMOVE_LOCK lock;

static VOID NTAPI holder(PVOID unused)
{
	UNREFERENCED_PARAMETER(unused);
	check_sleep(30);
	seen.calls = 1000;
	IoReleaseRemoveLock(&lock, NULL);
}

static void remove_lock(void)
{
	IoInitializeRemoveLock(&lock, 'tseT', 0, 0);
	CHECK(IoAcquireRemoveLock(&lock, NULL) == STATUS_SUCCESS, "IoAcquireRemoveLock");
	CHECK(IoAcquireRemoveLock(&lock, NULL) == STATUS_SUCCESS, "and again");
	PVOID thread = check_thread(holder, NULL);
	IoReleaseRemoveLockAndWait(&lock, NULL);
	CHECK(seen.calls == 1000, "IoReleaseRemoveLockAndWait waits for the other holder");
	CHECK(IoAcquireRemoveLock(&lock, NULL) == STATUS_DELETE_PENDING,
	      "afterwards nobody gets it");
	check_join(thread);
}

/* ---- Plug and play ---- */

static const GUID class = {0x12345678, 0x1234, 0x5678, {1, 2, 3, 4, 5, 6, 7, 8}};
static const GUID arrival = {
	0xcb3a4004, 0x46f0, 0x11d0, {0xb0, 0x8f, 0x00, 0x60, 0x97, 0x13, 0x05, 0x3f}};
static PVOID notification, second;
static ULONG arrivals, removals;
static UNICODE_STRING link;

static NTSTATUS NTAPI notified(PVOID structure, PVOID context)
{
	PDEVICE_INTERFACE_CHANGE_NOTIFICATION change = structure;
	if (change->Version != 1 || change->Size != sizeof(*change) || context != &seen ||
	    RtlCompareMemory(&change->InterfaceClassGuid, &class, sizeof(class)) != sizeof(class) ||
	    !RtlEqualUnicodeString(change->SymbolicLinkName, &link, FALSE) ||
	    KeGetCurrentIrql() != PASSIVE_LEVEL)
		return STATUS_UNSUCCESSFUL;
	if (RtlCompareMemory(&change->Event, &arrival, sizeof(arrival)) == sizeof(arrival))
		arrivals++;
	else
		removals++;
	return STATUS_SUCCESS;
}

static NTSTATUS NTAPI once(PVOID structure, PVOID context)
{
	UNREFERENCED_PARAMETER(structure);
	UNREFERENCED_PARAMETER(context);
	arrivals += 100;
	IoUnregisterPlugPlayNotificationEx(second);
	return STATUS_SUCCESS;
}

static void plug_and_play(PDRIVER_OBJECT driver)
{
	PVOID object;
	PWSTR list;
	CHECK(IoRegisterPlugPlayNotification(EventCategoryDeviceInterfaceChange, 0, (PVOID) & class,
					     driver, notified, &seen,
					     &notification) == STATUS_SUCCESS,
	      "PRC-48 IoRegisterPlugPlayNotification");
	CHECK(IoRegisterDeviceInterface(device, &class, NULL, &link) == STATUS_SUCCESS &&
		      link.Length,
	      "IoRegisterDeviceInterface");
	CHECK(IoSetDeviceInterfaceState(&link, TRUE) == STATUS_SUCCESS && arrivals == 1,
	      "an arrival is told");
	CHECK(IoSetDeviceInterfaceState(&link, TRUE) == STATUS_OBJECT_NAME_EXISTS && arrivals == 1,
	      "once");
	CHECK(ObReferenceObjectByName(&link, OBJ_CASE_INSENSITIVE, NULL, 0, NULL, KernelMode, NULL,
				      &object) == STATUS_SUCCESS &&
		      object == device,
	      "the interface's name leads to the device");
	ObDereferenceObject(object);
	CHECK(IoGetDeviceInterfaces(&class, NULL, 0, &list) == STATUS_SUCCESS &&
		      !wcscmp(list, link.Buffer) && list[link.Length / 2 + 1] == 0,
	      "IoGetDeviceInterfaces");
	ExFreePool(list);
	CHECK(IoRegisterPlugPlayNotification(EventCategoryDeviceInterfaceChange,
					     PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES,
					     (PVOID) & class, driver, notified, &seen,
					     &second) == STATUS_SUCCESS &&
		      arrivals == 2,
	      "existing interfaces are told at registration");
	CHECK(IoUnregisterPlugPlayNotificationEx(second) == STATUS_SUCCESS,
	      "IoUnregisterPlugPlayNotificationEx");
	IoRegisterPlugPlayNotification(EventCategoryDeviceInterfaceChange, 0, (PVOID) & class,
				       driver, once, NULL, &second);
	CHECK(IoSetDeviceInterfaceState(&link, FALSE) == STATUS_SUCCESS && removals == 1 &&
		      arrivals == 102,
	      "a removal is told; a routine may unregister itself");
	CHECK(IoSetDeviceInterfaceState(&link, FALSE) == STATUS_OBJECT_NAME_NOT_FOUND &&
		      removals == 1 && arrivals == 102,
	      "once");
	CHECK(ObReferenceObjectByName(&link, 0, NULL, 0, NULL, KernelMode, NULL, &object) ==
		      STATUS_OBJECT_NAME_NOT_FOUND,
	      "the name is gone");
	RtlFreeUnicodeString(&link);
	CHECK(IoRegisterPlugPlayNotification(77, 0, NULL, driver, once, NULL, &second) ==
		      STATUS_INVALID_PARAMETER,
	      "an unknown category");
#ifndef LEAVE
	CHECK(IoUnregisterPlugPlayNotification(notification) == STATUS_SUCCESS,
	      "IoUnregisterPlugPlayNotification");
#endif
	check_sleep(50); /* what unregistered itself is freed by a work item */
}

/* ---- Exclusive devices ---- */

static NTSTATUS NTAPI succeed(PDEVICE_OBJECT target, PIRP irp)
{
	UNREFERENCED_PARAMETER(target);
	irp->IoStatus.Status = STATUS_SUCCESS;
	irp->IoStatus.Information = 0;
	IoCompleteRequest(irp, IO_NO_INCREMENT);
	return STATUS_SUCCESS;
}

static void exclusive(PDRIVER_OBJECT driver)
{
	UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\KetchExclusive");
	PDEVICE_OBJECT own, found;
	PFILE_OBJECT file, again;
	driver->MajorFunction[IRP_MJ_CREATE] = driver->MajorFunction[IRP_MJ_CLOSE] = succeed;
	driver->MajorFunction[IRP_MJ_CLEANUP] = succeed;
	IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, 0, TRUE, &own);
	CHECK(IoGetDeviceObjectPointer(&name, FILE_READ_DATA, &file, &found) ==
		      STATUS_NO_SUCH_DEVICE,
	      "a device that is not initialized cannot be opened");
	own->Flags &= ~DO_DEVICE_INITIALIZING;
	CHECK(IoGetDeviceObjectPointer(&name, FILE_READ_DATA, &file, &found) == STATUS_SUCCESS,
	      "an exclusive device");
	CHECK(IoGetDeviceObjectPointer(&name, FILE_READ_DATA, &again, &found) ==
		      STATUS_ACCESS_DENIED,
	      "is opened once at a time");
	IoDeleteDevice(own);
	CHECK(file->DeviceObject == own && own->Type == 3,
	      "a deleted device lives until it is closed");
	ObDereferenceObject(file);
}

/* ---- The event log, and a request sent on ---- */

static NTSTATUS NTAPI kept(PDEVICE_OBJECT target, PIRP irp, PVOID context)
{
	UNREFERENCED_PARAMETER(target);
	UNREFERENCED_PARAMETER(irp);
	UNREFERENCED_PARAMETER(context);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static void log_and_forward(void)
{
	PIO_ERROR_LOG_PACKET entry = IoAllocateErrorLogEntry(device, sizeof(IO_ERROR_LOG_PACKET));
	CHECK(entry != NULL, "IoAllocateErrorLogEntry");
	entry->ErrorCode = 0xC0040001;
	entry->UniqueErrorValue = 4711;
	IoWriteErrorLogEntry(entry);
	CHECK(IoAllocateErrorLogEntry(device, 8) == NULL, "an entry has at least its fixed part");
	IoFreeErrorLogEntry(IoAllocateErrorLogEntry(device, ERROR_LOG_MAXIMUM_SIZE));
	PIRP irp = IoAllocateIrp(2, FALSE);
	IoSetCompletionRoutine(irp, kept, NULL, TRUE, TRUE, TRUE);
	IoSetNextIrpStackLocation(irp);
	IoGetCurrentIrpStackLocation(irp)->MajorFunction = IRP_MJ_CLOSE;
	CHECK(IoForwardIrpSynchronously(device, irp) && irp->IoStatus.Status == STATUS_SUCCESS &&
		      irp->CurrentLocation == 2,
	      "IoForwardIrpSynchronously gives the request back");
	irp->CurrentLocation = 1;
	CHECK(!IoForwardIrpSynchronously(device, irp), "no location left");
	IoFreeIrp(irp);
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
	IoDeleteDevice(device);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\KetchMisc");
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	KeInitializeEvent(&done, SynchronizationEvent, FALSE);
	if (!NT_SUCCESS(IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &device)))
		return STATUS_UNSUCCESSFUL;
	work_items(driver);
	start_packets(driver);
#ifndef LEAVE
	timer();
#endif
	remove_lock();
	plug_and_play(driver);
	exclusive(driver);
	log_and_forward();
	return check_result();
}
