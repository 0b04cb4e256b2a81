/* SPDX-License-Identifier: MIT */
/*
 * Registrations and deregistrations while a processor joins (PRC-11, 28, 29, 41): other threads try
 * while a callback is being told of the start, and get through when all is over.
 */
#include "check.h"

static PVOID slow, victim, late;
static PVOID deregisterer, registerer;
static volatile LONG trying, finished; /* threads */
static volatile LONG victim_starts, victim_seconds, victim_seconds_before_return = -1;
static volatile LONG late_calls[8]; /* by index */
static volatile LONG late_count_seen;
static BOOLEAN waited = TRUE;
static ULONG joined;

static VOID NTAPI OnVictim(PVOID context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT now, PNTSTATUS status)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(status);
	InterlockedIncrement(now->State == KeProcessorAddStartNotify ? &victim_starts
								     : &victim_seconds);
}

static VOID NTAPI OnLate(PVOID context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT now, PNTSTATUS status)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(status);
	if (now->NtNumber < RTL_NUMBER_OF(late_calls))
		InterlockedIncrement(&late_calls[now->NtNumber]);
	late_count_seen = (LONG)KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
}

static VOID NTAPI deregister(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
	InterlockedIncrement(&trying);
	KeDeregisterProcessorChangeCallback(victim);
	victim_seconds_before_return = victim_seconds;
	InterlockedIncrement(&finished);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID NTAPI register_late(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
	InterlockedIncrement(&trying);
	late = KeRegisterProcessorChangeCallback(OnLate, NULL, KE_PROCESSOR_CHANGE_ADD_EXISTING);
	InterlockedIncrement(&finished);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

/* The last one registered. */
static VOID NTAPI OnSlow(PVOID context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT now, PNTSTATUS status)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(status);
	if (!joined)
		joined = now->NtNumber; /* the first addition is what is looked at */
	if (now->State == KeProcessorAddStartNotify && !deregisterer) {
		deregisterer = check_thread(deregister, NULL);
		registerer = check_thread(register_late, NULL);
		for (ULONG i = 0; i < 5000 && trying < 2; i++)
			check_sleep(1);
	}
	if (now->NtNumber != joined)
		return;
	check_sleep(30); /* room for one that does not wait */
	waited &= finished == 0;
}

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
	check_join(deregisterer);
	check_join(registerer);
	KeDeregisterProcessorChangeCallback(slow);
	KeDeregisterProcessorChangeCallback(late);
	CHECK(waited, "PRC-28, 41 nothing is registered or deregistered while a processor joins");
	CHECK(victim_starts == 1 && victim_seconds == 1 && victim_seconds_before_return == 1,
	      "PRC-29, 41 who gets a start gets the second call before it is gone");
	CHECK(late_calls[joined] == 2 && late_calls[0] == 2 && late_count_seen >= (LONG)joined + 1,
	      "PRC-28 the processor is seen exactly once");
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	victim = KeRegisterProcessorChangeCallback(OnVictim, NULL, 0);
	slow = KeRegisterProcessorChangeCallback(OnSlow, NULL, 0);
	CHECK(slow && victim, "PRC-13 registered");
	return check_result();
}
