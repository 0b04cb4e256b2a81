/* SPDX-License-Identifier: MIT */
/*
 * echo: a device that answers an IOCTL with its input in reverse, after a prefix from the service's
 * key.
 *
 *     ketch cc echo.c
 *     ketch run --reg=Prefix=7 echo.sys ioctl:KetchEcho,0x222000,c0ffee
 */
#include <ntddk.h>

#define IOCTL_ECHO                                                                                 \
	CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS) /* 0x222000 */

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD Unload;
static DRIVER_DISPATCH OpenClose, Control;

static UNICODE_STRING device_name = RTL_CONSTANT_STRING(L"\\Device\\KetchEcho");
static UNICODE_STRING link_name = RTL_CONSTANT_STRING(L"\\DosDevices\\KetchEcho");
static UCHAR prefix;

static NTSTATUS Complete(PIRP irp, NTSTATUS status, ULONG_PTR information)
{
	irp->IoStatus.Status = status;
	irp->IoStatus.Information = information;
	IoCompleteRequest(irp, IO_NO_INCREMENT);
	return status;
}

static NTSTATUS NTAPI OpenClose(PDEVICE_OBJECT device, PIRP irp)
{
	UNREFERENCED_PARAMETER(device);
	return Complete(irp, STATUS_SUCCESS, 0);
}

static NTSTATUS NTAPI Control(PDEVICE_OBJECT device, PIRP irp)
{
	PIO_STACK_LOCATION at = IoGetCurrentIrpStackLocation(irp);
	ULONG size = at->Parameters.DeviceIoControl.InputBufferLength;
	PUCHAR bytes = irp->AssociatedIrp.SystemBuffer;
	ULONG i;

	UNREFERENCED_PARAMETER(device);
	if (at->Parameters.DeviceIoControl.IoControlCode != IOCTL_ECHO)
		return Complete(irp, STATUS_INVALID_DEVICE_REQUEST, 0);
	if (at->Parameters.DeviceIoControl.OutputBufferLength <= size)
		return Complete(irp, STATUS_BUFFER_TOO_SMALL, 0);
	for (i = 0; i < size / 2; i++) {
		UCHAR byte = bytes[i];

		bytes[i] = bytes[size - 1 - i];
		bytes[size - 1 - i] = byte;
	}
	RtlMoveMemory(bytes + 1, bytes, size);
	bytes[0] = prefix;
	return Complete(irp, STATUS_SUCCESS, size + 1);
}

static ULONG ReadPrefix(PUNICODE_STRING key)
{
	RTL_QUERY_REGISTRY_TABLE query[2] = {0};
	ULONG value = 0;

	query[0].Flags = RTL_QUERY_REGISTRY_DIRECT | RTL_QUERY_REGISTRY_TYPECHECK;
	query[0].Name = L"Prefix";
	query[0].EntryContext = &value;
	query[0].DefaultType = (REG_DWORD << RTL_QUERY_REGISTRY_TYPECHECK_SHIFT) | REG_NONE;
	RtlQueryRegistryValues(RTL_REGISTRY_ABSOLUTE, key->Buffer, query, NULL, NULL);
	return value;
}

static VOID Unload(PDRIVER_OBJECT DriverObject)
{
	IoDeleteSymbolicLink(&link_name);
	IoDeleteDevice(DriverObject->DeviceObject);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	PDEVICE_OBJECT device;
	NTSTATUS status;

	prefix = (UCHAR)ReadPrefix(RegistryPath);
	status = IoCreateDevice(DriverObject, 0, &device_name, FILE_DEVICE_UNKNOWN, 0, FALSE,
				&device);
	if (!NT_SUCCESS(status))
		return status;
	status = IoCreateSymbolicLink(&link_name, &device_name);
	if (!NT_SUCCESS(status)) {
		IoDeleteDevice(device);
		return status;
	}
	DriverObject->MajorFunction[IRP_MJ_CREATE] = OpenClose;
	DriverObject->MajorFunction[IRP_MJ_CLOSE] = OpenClose;
	DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = Control;
	DriverObject->DriverUnload = Unload;
	return STATUS_SUCCESS;
}
