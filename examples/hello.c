/* SPDX-License-Identifier: MIT */
/*
 * hello: the smallest driver. It says hello when it is loaded and goodbye when it is unloaded.
 *
 *     ketch cc hello.c && ketch run hello.sys
 */
#include <ntddk.h>

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD Unload;

static VOID Unload(PDRIVER_OBJECT DriverObject)
{
	UNREFERENCED_PARAMETER(DriverObject);
	DbgPrint("hello: goodbye\n");
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	DriverObject->DriverUnload = Unload;
	DbgPrint("hello: loaded, my key is %wZ\n", RegistryPath);
	return STATUS_SUCCESS;
}
