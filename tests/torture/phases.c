/* SPDX-License-Identifier: MIT */
/*
 * A driver to be interrupted from outside, by Ctrl-C or `ketch nmi`, in each phase of a run:
 * PHASE=1 sleeps in DriverEntry, 2 spins there, 3 sleeps in an IOCTL, 4 sleeps in DriverUnload, 5
 * sleeps in a processor change callback, 0 is quick everywhere. It says `phase` when it has come
 * there.
 */
#include "torture.h"

static PVOID handle;
static volatile LONG nmis;
static PDEVICE_OBJECT device;
static UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\??\\Phases");

static BOOLEAN NTAPI on_nmi(PVOID context, BOOLEAN handled)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(handled);
	InterlockedIncrement(&nmis);
	return TRUE;
}

#ifndef SLEEP_MS
#define SLEEP_MS 60000
#endif

static VOID sleep_for_long(VOID)
{
	DbgPrint("phase\n");
	check_sleep(SLEEP_MS);
}

static PVOID change_handle;

static VOID NTAPI on_change(PVOID context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change,
			    PNTSTATUS status)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(status);
	if (change->State == KeProcessorAddStartNotify)
		sleep_for_long();
}

static NTSTATUS NTAPI open_or_close(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
	UNREFERENCED_PARAMETER(DeviceObject);
	Irp->IoStatus.Status = STATUS_SUCCESS;
	Irp->IoStatus.Information = 0;
	IoCompleteRequest(Irp, IO_NO_INCREMENT);
	return STATUS_SUCCESS;
}

static NTSTATUS NTAPI control(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
	sleep_for_long();
	return open_or_close(DeviceObject, Irp);
}

static VOID NTAPI unload(PDRIVER_OBJECT DriverObject)
{
	UNREFERENCED_PARAMETER(DriverObject);
	if (PHASE == 4)
		sleep_for_long();
	KeDeregisterNmiCallback(handle);
	if (PHASE == 5)
		KeDeregisterProcessorChangeCallback(change_handle);
	IoDeleteSymbolicLink(&link);
	IoDeleteDevice(device);
	DbgPrint("phases: %d NMIs, goodbye\n", nmis);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\Phases");
	UNREFERENCED_PARAMETER(RegistryPath);
	if (PHASE == 1)
		sleep_for_long();
	if (PHASE == 2) {
		DbgPrint("phase\n");
		for (;;)
			YieldProcessor();
	}
	DriverObject->DriverUnload = unload;
	DriverObject->MajorFunction[IRP_MJ_CREATE] = open_or_close;
	DriverObject->MajorFunction[IRP_MJ_CLOSE] = open_or_close;
	DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = control;
	if (!NT_SUCCESS(IoCreateSymbolicLink(&link, &name)))
		return STATUS_UNSUCCESSFUL;
	handle = KeRegisterNmiCallback(on_nmi, NULL);
	if (PHASE == 5)
		change_handle = KeRegisterProcessorChangeCallback(on_change, NULL, 0);
	if (PHASE == 0)
		DbgPrint("phase\n");
	return IoCreateDevice(DriverObject, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
}

DRIVER_INITIALIZE DriverEntry;
