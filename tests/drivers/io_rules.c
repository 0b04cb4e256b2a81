/* SPDX-License-Identifier: MIT */
/*
 * Rules of devices and requests: CASE 0 keeps them, each other case breaks one (VER-22, VER-38,
 * DEF-157, bug checks 0x35, 0x44, 0x48).
 */
#include "check.h"

static PDEVICE_OBJECT device, other;
static PIO_WORKITEM item;
static PIRP irp;

static VOID NTAPI cancel(PDEVICE_OBJECT target, PIRP request)
{
	UNREFERENCED_PARAMETER(target);
	IoReleaseCancelSpinLock(request->CancelIrql);
}

static NTSTATUS NTAPI dispatch(PDEVICE_OBJECT target, PIRP request)
{
	KIRQL old;
	UNREFERENCED_PARAMETER(target);
	request->IoStatus.Status = STATUS_SUCCESS;
	request->IoStatus.Information = 0;
	switch (IoGetCurrentIrpStackLocation(request)->MajorFunction == IRP_MJ_DEVICE_CONTROL ? CASE
											      : 0) {
	case 1:
		IoCompleteRequest(request, IO_NO_INCREMENT);
		KeRaiseIrql(APC_LEVEL, &old);
		return STATUS_SUCCESS;
	case 2:
		IoCompleteRequest(request, IO_NO_INCREMENT);
		IoCompleteRequest(request, IO_NO_INCREMENT);
		return STATUS_SUCCESS;
	case 3:
		request->IoStatus.Status = STATUS_PENDING;
		break;
	case 4:
		IoSetCancelRoutine(request, cancel);
		break;
	case 5: /* says pending, marks nothing */
		IoCompleteRequest(request, IO_NO_INCREMENT);
		return STATUS_PENDING;
	case 6: /* marks pending, says success */
		IoMarkIrpPending(request);
		break;
	case 7:
		request->IoStatus.Information = 100000;
		break;
	case 8: /* forgets it */
		return STATUS_SUCCESS;
	}
	IoCompleteRequest(request, IO_NO_INCREMENT);
	return STATUS_SUCCESS;
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\??\\KetchRules");
	UNREFERENCED_PARAMETER(driver);
	IoDeleteSymbolicLink(&link);
	if (CASE != 12)
		IoFreeWorkItem(item);
	if (CASE != 13)
		IoFreeIrp(irp);
	IoDeleteDevice(device);
	if (CASE == 10)
		IoDeleteDevice(device);
	if (CASE == 11)
		IoDeleteDevice(NULL);
	if (CASE == 14)
		IoCreateDevice(driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &other);
}

static NTSTATUS NTAPI keep(PDEVICE_OBJECT target, PIRP request, PVOID context)
{
	UNREFERENCED_PARAMETER(target);
	UNREFERENCED_PARAMETER(request);
	UNREFERENCED_PARAMETER(context);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static NTSTATUS NTAPI notified(PVOID structure, PVOID context)
{
	UNREFERENCED_PARAMETER(structure);
	UNREFERENCED_PARAMETER(context);
	return STATUS_SUCCESS;
}

static VOID NTAPI work(PDEVICE_OBJECT target, PVOID context)
{
	UNREFERENCED_PARAMETER(target);
	KeWaitForSingleObject(context, Executive, KernelMode, FALSE, NULL);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\KetchRules"),
		       link = RTL_CONSTANT_STRING(L"\\??\\KetchRules");
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	for (int i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++)
		driver->MajorFunction[i] = dispatch;
	IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
	IoCreateSymbolicLink(&link, &name);
	item = IoAllocateWorkItem(device);
	irp = IoAllocateIrp(1, FALSE);
	if (CASE == 15) { /* nobody keeps the driver's own request */
		IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_FLUSH_BUFFERS;
		IoCallDriver(device, irp);
	}
	if (CASE == 16) { /* no location left */
		IoSetCompletionRoutine(irp, keep, NULL, TRUE, TRUE, TRUE);
		IoCallDriver(device, irp);
		irp->CurrentLocation = 1;
		irp->Tail.Overlay.CurrentStackLocation = (PIO_STACK_LOCATION)(irp + 1);
		IoCallDriver(device, irp);
	}
	if (CASE == 17) {
		IoFreeIrp(irp);
		IoFreeIrp(irp);
	}
	if (CASE == 18) {
		KEVENT event;
		KIRQL old;
		KeInitializeEvent(&event, NotificationEvent, FALSE);
		KeRaiseIrql(DISPATCH_LEVEL, &old); /* no worker takes it: there is one processor */
		IoQueueWorkItem(item, work, DelayedWorkQueue, &event);
		IoQueueWorkItem(item, work, DelayedWorkQueue, &event);
		KeLowerIrql(old);
		KeSetEvent(&event, 0, FALSE);
	}
	if (CASE == 19) {
		KIRQL old;
		KeRaiseIrql(APC_LEVEL, &old);
		IoCreateDevice(driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &other);
		KeLowerIrql(old);
		IoDeleteDevice(other);
	}
	if (CASE == 20) {
		KIRQL old;
		IoCreateDevice(driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &other);
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		IoDeleteDevice(other);
		KeLowerIrql(old);
	}
	if (CASE == 21 || CASE == 22) {
		static const GUID class = {1, 2, 3, {4}};
		PVOID notification;
		IoRegisterPlugPlayNotification(EventCategoryDeviceInterfaceChange, 0,
					       (PVOID) & class, driver, notified, NULL,
					       &notification);
		if (CASE == 21) { /* left by a DriverEntry that fails */
			unload(driver);
			return STATUS_CANCELLED;
		}
		IoUnregisterPlugPlayNotification(notification);
		IoUnregisterPlugPlayNotification(notification);
	}
	if (CASE == 23) { /* its own device stays open */
		PFILE_OBJECT file;
		PDEVICE_OBJECT found;
		device->Flags &= ~DO_DEVICE_INITIALIZING;
		IoGetDeviceObjectPointer(&name, FILE_READ_DATA, &file, &found);
	}
	CHECK(TRUE, "the driver goes on");
	return check_result();
}
