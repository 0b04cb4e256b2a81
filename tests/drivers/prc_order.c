/* SPDX-License-Identifier: MIT */
/*
 * Who is told of a processor that joins, and when (PRC-29..37, 43..50). Two callbacks a and b, two
 * clients o and p of \Callback\ProcessorAdd, a plug and play notification n. Each call is two
 * letters: who, and S, C, F (or the arrival: nA). -DEXPECT=... is the whole sequence of the run;
 * -DVETO=x: who sets an error at Start, -DVETO2=x: who does, too, if none is set.
 */
#include "check.h"
#include <initguid.h>
#include <wdmguid.h>

#define WORD_OF(x) #x
#define WORD(x)    WORD_OF(x)
#ifndef VETO
#define VETO -
#endif
#ifndef VETO2
#define VETO2 -
#endif
#ifndef CAUSE
#define CAUSE STATUS_DEVICE_NOT_READY
#endif

/* GUID_DEVICE_PROCESSOR, as the documents have it. */
static const GUID processor_class = {
	0x97fadb10, 0x4e33, 0x40ae, {0x35, 0x9c, 0x8b, 0xef, 0x02, 0x9d, 0xbd, 0xd0}};

#define VETOES (*WORD(VETO) != '-' || *WORD(VETO2) != '-')

static char sequence[200];
static ULONG used, before, joining;
static BOOLEAN sound = TRUE, status_right = TRUE, kept = TRUE;
static PVOID adder;
static PVOID callback_a, callback_b, client_o, client_p, notification;
static PCALLBACK_OBJECT object;
static LONG pnp_requests;

static VOID say(char who, char what)
{
	if (used < sizeof sequence - 2) {
		sequence[used++] = who;
		sequence[used++] = what;
	}
}

/* All forms come here. */
static VOID note(char who, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change, PNTSTATUS status)
{
	ULONG active = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
	say(who, "SCF"[change->State]);
	if (!adder)
		adder = KeGetCurrentThread();
	/* PRC-11: one thread; PRC-10, 45: PASSIVE_LEVEL; PRC-12: on any active processor. */
	sound &= adder == KeGetCurrentThread() && KeGetCurrentIrql() == PASSIVE_LEVEL &&
		 KeGetCurrentProcessorNumberEx(NULL) < active;
	if (change->State == KeProcessorAddStartNotify && who == 'a') {
		before = active;
		joining = change->NtNumber;
	}
	sound &= change->NtNumber == joining;
	switch (change->State) {
	case KeProcessorAddStartNotify:
		/* PRC-30, 21. */
		sound &= active == before && change->NtNumber == before &&
			 change->Status == STATUS_SUCCESS;
		/* PRC-36: who comes later finds the error. */
		if (NT_SUCCESS(*status) && who == *WORD(VETO))
			*status = STATUS_DEVICE_NOT_READY;
		else if (NT_SUCCESS(*status) && who == *WORD(VETO2))
			*status = STATUS_NO_MEMORY;
		else if (!NT_SUCCESS(*status))
			kept &= *status == STATUS_DEVICE_NOT_READY || *WORD(VETO) == '-';
		break;
	case KeProcessorAddCompleteNotify: /* PRC-31 */
		sound &= active == before + 1 && change->Status == STATUS_SUCCESS;
		break;
	case KeProcessorAddFailureNotify: /* PRC-32 */
		sound &= active == before;
		status_right &= change->Status == CAUSE;
		break;
	}
	check_sleep(2);
}

static VOID NTAPI OnA(PVOID context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change, PNTSTATUS status)
{
	UNREFERENCED_PARAMETER(context);
	note('a', change, status);
}

static VOID NTAPI OnB(PVOID context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change, PNTSTATUS status)
{
	UNREFERENCED_PARAMETER(context);
	note('b', change, status);
}

static VOID NTAPI OnObject(PVOID context, PVOID argument1, PVOID argument2)
{
	note((char)(ULONG_PTR)context, argument1, argument2);
}

static BOOLEAN ends_with_class(PCUNICODE_STRING name)
{
	static const UNICODE_STRING class =
		RTL_CONSTANT_STRING(L"#{97fadb10-4e33-40ae-359c-8bef029dbdd0}");
	UNICODE_STRING tail = class;
	if (name->Length < class.Length)
		return FALSE;
	tail.Buffer = (PWSTR)((char *)name->Buffer + name->Length - class.Length);
	return RtlEqualUnicodeString(&tail, &class, TRUE);
}

static NTSTATUS NTAPI OnArrival(PVOID structure, PVOID context)
{
	PDEVICE_INTERFACE_CHANGE_NOTIFICATION change = structure;
	say((char)(ULONG_PTR)context, 'A');
	sound &= IsEqualGUID(&change->Event, &GUID_DEVICE_INTERFACE_ARRIVAL) &&
		 IsEqualGUID(&change->InterfaceClassGuid, &processor_class) &&
		 change->Version == 1 && change->Size == sizeof *change &&
		 ends_with_class(change->SymbolicLinkName) && KeGetCurrentIrql() == PASSIVE_LEVEL &&
		 KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS) == before + 1;
	return STATUS_SUCCESS;
}

static NTSTATUS NTAPI on_pnp(PDEVICE_OBJECT device, PIRP irp)
{
	UNREFERENCED_PARAMETER(device);
	pnp_requests++;
	irp->IoStatus.Status = STATUS_NOT_SUPPORTED;
	IoCompleteRequest(irp, IO_NO_INCREMENT);
	return STATUS_NOT_SUPPORTED;
}

static PDRIVER_OBJECT self;
static PDEVICE_OBJECT device;

#define STOP_CODE 0x222000

static VOID take_back(VOID)
{
	static const char expected[] = WORD(EXPECT);
	DbgPrint("sequence: %s\n", sequence);
	CHECK(RtlEqualMemory(sequence, expected, sizeof expected),
	      "PRC-29, PRC-33, PRC-34, PRC-35, PRC-37, PRC-47, PRC-50 exactly these calls in this "
	      "order");
	CHECK(sound, "PRC-10, 11, 12, 21, 30, 31, 32, PRC-45, PRC-48 what each call sees");
	CHECK(status_right, "PRC-32, 36, 37 Failure has the first error");
	CHECK(kept, "PRC-36 later ones see the first error");
	CHECK(pnp_requests == 0, "PRC-49 no device takes part in a rebalance");
	KeDeregisterProcessorChangeCallback(callback_a);
	KeDeregisterProcessorChangeCallback(callback_b);
	ExUnregisterCallback(client_o);
	ExUnregisterCallback(client_p);
	ObDereferenceObject(object);
	CHECK(!notification || NT_SUCCESS(IoUnregisterPlugPlayNotificationEx(notification)),
	      "PRC-48 IoUnregisterPlugPlayNotificationEx");
}

static NTSTATUS NTAPI dispatch(PDEVICE_OBJECT target, PIRP irp)
{
	PIO_STACK_LOCATION at = IoGetCurrentIrpStackLocation(irp);
	UNREFERENCED_PARAMETER(target);
	/* VER-42: a driver with plug and play registrations is not unloaded, so an IOCTL takes them
	 * back. */
	if (at->MajorFunction == IRP_MJ_DEVICE_CONTROL)
		take_back();
	irp->IoStatus.Status = STATUS_SUCCESS;
	irp->IoStatus.Information = 0;
	IoCompleteRequest(irp, IO_NO_INCREMENT);
	return STATUS_SUCCESS;
}

static UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\??\\Order");

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
	if (!notification)
		take_back(); /* a veto ends the run's actions */
	IoDeleteSymbolicLink(&link);
	IoDeleteDevice(device);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Callback\\ProcessorAdd");
	UNICODE_STRING device_name = RTL_CONSTANT_STRING(L"\\Device\\Order");
	OBJECT_ATTRIBUTES attributes;
	UNREFERENCED_PARAMETER(path);

	self = driver;
	driver->DriverUnload = unload;
	driver->MajorFunction[IRP_MJ_CREATE] = dispatch;
	driver->MajorFunction[IRP_MJ_CLOSE] = dispatch;
	driver->MajorFunction[IRP_MJ_DEVICE_CONTROL] = dispatch;
	driver->MajorFunction[IRP_MJ_PNP] = on_pnp;
	IoCreateDevice(driver, 0, &device_name, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
	IoCreateSymbolicLink(&link, &device_name);

	InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE, NULL, NULL);
	CHECK(ExCreateCallback(&object, &attributes, FALSE, FALSE) == STATUS_SUCCESS,
	      "PRC-43 the object is there");
	/* The object's clients first: callbacks are called before them all the same (PRC-47). */
	client_o = ExRegisterCallback(object, OnObject, (PVOID)'o');
	if (VETOES)
		notification = NULL;
	else
		CHECK(NT_SUCCESS(IoRegisterPlugPlayNotification(
			      EventCategoryDeviceInterfaceChange, 0, (PVOID)&processor_class,
			      driver, OnArrival, (PVOID)'n', &notification)),
		      "PRC-48 IoRegisterPlugPlayNotification");
	callback_a = KeRegisterProcessorChangeCallback(OnA, NULL, 0);
	client_p = ExRegisterCallback(object, OnObject, (PVOID)'p');
	callback_b = KeRegisterProcessorChangeCallback(OnB, NULL, 0);
	CHECK(callback_a && callback_b && client_o && client_p, "PRC-43 registrations");
	return check_result();
}
