/* SPDX-License-Identifier: MIT */
/*
 * Rules about processors that join, each broken by one CASE; CASE 0 keeps them all. Run with an
 * action that adds a processor (PRC-4, 6, 17, 26, 27, 36, 42, 46, 71, VER-36, 42, 50..54).
 */
#include "check.h"
#include <wdmguid.h>

static PVOID first, second, client;
static PCALLBACK_OBJECT object;
static volatile ULONG
	*counters; /* CASE 0: for all that can come; CASE 15, 16, 22: for those that are there */
static PVOID taken;
static LONG calls;
#define TAG 'crpT'

#if CASE == 14
#define SIZE 24
#else
#define SIZE sizeof(ULONG)
#endif

/* Registered first. */
static VOID NTAPI OnFirst(PVOID context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change,
			  PNTSTATUS status)
{
	UNREFERENCED_PARAMETER(context);
	calls++;
	switch (change->State) {
	case KeProcessorAddStartNotify:
		taken = ExAllocatePoolWithTag(NonPagedPoolNx, 100, TAG);
		if (CASE == 1)
			change->NtNumber++;
		if (CASE == 20)
			*(volatile LONG *)16 = 1;
		if (CASE == 2)
			*status = STATUS_PENDING;
		if (CASE == 3 || CASE == 12 || CASE == 17)
			*status = STATUS_NO_MEMORY;
		if (CASE == 9)
			KeDeregisterProcessorChangeCallback(second);
		if (CASE == 10)
			CHECK(!KeRegisterProcessorChangeCallback(OnFirst, NULL, 0),
			      "PRC-27 a registration inside is refused");
		break;
	case KeProcessorAddCompleteNotify:
		if (CASE == 4)
			*status = STATUS_UNSUCCESSFUL;
		if (CASE == 11) {
			KIRQL old;
			KeRaiseIrql(APC_LEVEL, &old);
		}
		if (change->NtNumber >= 2 && counters && CASE != 22)
			counters[change->NtNumber]++;
		ExFreePoolWithTag(taken, TAG);
		break;
	case KeProcessorAddFailureNotify:
		if (CASE == 5)
			*status = STATUS_UNSUCCESSFUL;
		if (CASE != 12)
			ExFreePoolWithTag(taken, TAG);
		break;
	}
}

static VOID NTAPI OnSecond(PVOID context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change,
			   PNTSTATUS status)
{
	UNREFERENCED_PARAMETER(context);
	if (change->State == KeProcessorAddStartNotify && CASE == 3)
		*status = STATUS_SUCCESS; /* over the first one's */
}

/* CASE 22: what such an array is for. */
static PVOID nmi;

static BOOLEAN NTAPI OnNmi(PVOID context, BOOLEAN handled)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(handled);
	if (counters)
		counters[KeGetCurrentProcessorNumberEx(NULL)]++;
	return TRUE;
}

/* Of \Callback\ProcessorAdd. */
static VOID NTAPI OnObject(PVOID context, PVOID argument1, PVOID argument2)
{
	PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change = argument1;
	UNREFERENCED_PARAMETER(context);
	if (CASE == 17 && change->State == KeProcessorAddStartNotify)
		*(PNTSTATUS)argument2 = STATUS_UNSUCCESSFUL;
}

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
	CHECK(CASE == 9 || calls >= 2, "PRC-29 a start and a second call");
	if (CASE != 8)
		KeDeregisterProcessorChangeCallback(first);
	KeDeregisterProcessorChangeCallback(second);
	if (CASE == 6)
		KeDeregisterProcessorChangeCallback(second);
	ExUnregisterCallback(client);
	ObDereferenceObject(object);
	if (nmi)
		KeDeregisterNmiCallback(nmi);
	if (counters)
		ExFreePoolWithTag((PVOID)counters, TAG);
}

static VOID NTAPI at_apc_level(VOID)
{
	KIRQL old;
	KeRaiseIrql(APC_LEVEL, &old);
	KeDeregisterProcessorChangeCallback(KeRegisterProcessorChangeCallback(OnSecond, NULL, 0));
	KeLowerIrql(old);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Callback\\ProcessorAdd");
	OBJECT_ATTRIBUTES attributes;
	ULONG present = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
	ULONG maximum = KeQueryMaximumProcessorCountEx(ALL_PROCESSOR_GROUPS);
	UNREFERENCED_PARAMETER(path);

	driver->DriverUnload = unload;
	if (CASE == 0 || CASE == 15 || CASE == 16 || CASE == 22) {
		counters = ExAllocatePoolWithTag(NonPagedPoolNx,
						 SIZE * (CASE == 0 ? maximum : present), TAG);
		if (!counters)
			return STATUS_NO_MEMORY;
		RtlZeroMemory((PVOID)counters, SIZE * (CASE == 0 ? maximum : present));
	}
	InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE, NULL, NULL);
	if (!NT_SUCCESS(ExCreateCallback(&object, &attributes, FALSE, FALSE)))
		return STATUS_UNSUCCESSFUL;
	if (CASE == 0 || CASE == 22)
		nmi = KeRegisterNmiCallback(OnNmi, NULL);
	client = ExRegisterCallback(object, OnObject, NULL);
	first = KeRegisterProcessorChangeCallback(OnFirst, NULL, CASE == 13 ? 0x12 : 0);
	second = KeRegisterProcessorChangeCallback(OnSecond, NULL, 0);
	CHECK(first && second && first != second, "PRC-13 handles");
	CHECK(calls == 0, "PRC-13 no call without KE_PROCESSOR_CHANGE_ADD_EXISTING");
	if (CASE == 7)
		at_apc_level();
	if (CASE == 14)
		CHECK(!KeRegisterProcessorChangeCallback(NULL, NULL, 0), "PRC-26 no routine");
	if (CASE == 18)
		KeDeregisterProcessorChangeCallback(NULL);
	if (CASE == 20) {
		/* An exception does not leave a callback, not even for who registers it. */
		__try {
			KeRegisterProcessorChangeCallback(OnFirst, NULL,
							  KE_PROCESSOR_CHANGE_ADD_EXISTING);
		} __except (1) {
			DbgPrint("FAIL the exception left the callback\n");
		}
	}
	if (CASE == 19)
		ExNotifyCallback(object, NULL, NULL);
	if (CASE == 21) { /* Unload is not called */
		KeDeregisterProcessorChangeCallback(second);
		ExUnregisterCallback(client);
		ObDereferenceObject(object);
		return STATUS_DEVICE_NOT_READY;
	}
	return check_result();
}
