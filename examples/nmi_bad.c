/* SPDX-License-Identifier: MIT */
/*
 * nmi_bad: a driver that works in a quick test and breaks two rules of NMI callbacks.
 *
 *     ketch cc nmi_bad.c && ketch run -p 4 nmi_bad.sys nmi:3
 *
 * Its callback sets an event, although at HIGH_LEVEL it may have interrupted the very code that
 * keeps events (then it is bug check 0xF: `nmi` on processor 0 right after the load finds that in
 * every other run); and the driver unloads with the callback registered, so that the next NMI calls
 * code that is gone:
 *
 *     ketch run nmi_bad.sys nmi unload nmi        bug check 0xCE
 */
#include <ntddk.h>

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD Unload;

static KEVENT hit;
static PVOID registration;

static BOOLEAN NTAPI OnNmi(PVOID Context, BOOLEAN Handled)
{
	UNREFERENCED_PARAMETER(Handled);
	KeSetEvent((PRKEVENT)Context, IO_NO_INCREMENT, FALSE); /* legal up to DISPATCH_LEVEL only */
	return TRUE;
}

static VOID Unload(PDRIVER_OBJECT DriverObject)
{
	UNREFERENCED_PARAMETER(DriverObject);
	DbgPrint("nmi_bad: goodbye\n"); /* forgotten: KeDeregisterNmiCallback(registration) */
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	UNREFERENCED_PARAMETER(RegistryPath);
	KeInitializeEvent(&hit, NotificationEvent, FALSE);
	registration = KeRegisterNmiCallback(OnNmi, &hit);
	if (!registration)
		return STATUS_INSUFFICIENT_RESOURCES;
	DriverObject->DriverUnload = Unload;
	return STATUS_SUCCESS;
}
