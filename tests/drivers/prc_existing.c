/* SPDX-License-Identifier: MIT */
/*
 * KeRegisterProcessorChangeCallback with KE_PROCESSOR_CHANGE_ADD_EXISTING: which calls come, in
 * what order, with what (PRC-4, 9..26). For 4 processors; an action may add one, of which only
 * those that stand registered may hear (PRC-13, 22, 40).
 */
#include "check.h"

#define PROCESSORS 4
#define NEVER      99

struct call {
	KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change;
	NTSTATUS entry; /* *OperationStatus */
	BOOLEAN number_right, passive;
	PVOID thread;
};

struct log {
	ULONG veto_at;
	NTSTATUS veto;
	ULONG count;
	struct call calls[16];
};

static VOID NTAPI OnChange(PVOID context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change,
			   PNTSTATUS status)
{
	struct log *log = context;
	struct call *call = &log->calls[log->count++ % 16];
	PROCESSOR_NUMBER number;
	call->change = *change;
	call->entry = *status;
	call->number_right = NT_SUCCESS(KeGetProcessorNumberFromIndex(change->NtNumber, &number)) &&
			     RtlEqualMemory(&number, &change->ProcNumber, sizeof number) &&
			     KeGetProcessorIndexFromNumber(&number) == change->NtNumber;
	call->passive = KeGetCurrentIrql() == PASSIVE_LEVEL;
	call->thread = KeGetCurrentThread();
	check_sleep(1); /* PRC-11 it may wait */
	if (change->State == KeProcessorAddStartNotify && change->NtNumber == log->veto_at)
		*status = log->veto;
}

static BOOLEAN is(const struct call *call, KE_PROCESSOR_CHANGE_NOTIFY_STATE state, ULONG index)
{
	return call->change.State == state && call->change.NtNumber == index;
}

/* PRC-9, 10, 11, 17, 21. */
static BOOLEAN sound(const struct log *log)
{
	BOOLEAN good = TRUE;
	for (ULONG i = 0; i < log->count; i++) {
		const struct call *call = &log->calls[i];
		NTSTATUS wanted = call->change.State == KeProcessorAddFailureNotify
					  ? log->veto
					  : STATUS_SUCCESS;
		good &= call->number_right && call->passive && call->entry == STATUS_SUCCESS &&
			call->change.Status == wanted && call->thread == KeGetCurrentThread();
	}
	return good;
}

static VOID accepted(VOID)
{
	static struct log log = {.veto_at = NEVER};
	BOOLEAN starts = TRUE, completes = TRUE;
	PVOID handle =
		KeRegisterProcessorChangeCallback(OnChange, &log, KE_PROCESSOR_CHANGE_ADD_EXISTING);
	CHECK(handle, "PRC-14 a handle");
	CHECK(log.count == 2 * PROCESSORS, "PRC-14 two calls for each processor before the return");
	for (ULONG i = 0; i < PROCESSORS; i++) {
		starts &= is(&log.calls[i], KeProcessorAddStartNotify, i);
		completes &= is(&log.calls[PROCESSORS + i], KeProcessorAddCompleteNotify, i);
	}
	CHECK(starts, "PRC-15 Start for each, by index");
	CHECK(completes, "PRC-16 then Complete for each, by index");
	CHECK(sound(&log), "PRC-9, 10, 11, 17, 21 what each call sees");
	KeDeregisterProcessorChangeCallback(handle);
}

/* Start up to the one that vetoes, Failure for those before it. */
static struct log vetoed[PROCESSORS];

static VOID veto(ULONG at)
{
	struct log *log = &vetoed[at];
	BOOLEAN good;
	log->veto_at = at;
	log->veto = STATUS_DEVICE_NOT_READY + (NTSTATUS)at;
	CHECK(!KeRegisterProcessorChangeCallback(OnChange, log, KE_PROCESSOR_CHANGE_ADD_EXISTING),
	      "PRC-22, PRC-25 a veto makes it NULL, and only the context knows why");
	good = log->count == at + 1 + at;
	for (ULONG i = 0; i <= at; i++)
		good &= is(&log->calls[i], KeProcessorAddStartNotify, i);
	CHECK(good, "PRC-19 no Start behind the veto");
	for (ULONG i = 0; i < at; i++)
		good &= is(&log->calls[at + 1 + i], KeProcessorAddFailureNotify, i);
	CHECK(good, "PRC-19, PRC-20 Failure for those before it, by index");
	CHECK(sound(log), "PRC-21 Failure has the veto's status");
}

static struct log twice = {.veto_at = NEVER}, quiet = {.veto_at = NEVER}, gone = {.veto_at = NEVER};
static PVOID first, second, third;

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	ULONG added = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS) - PROCESSORS;
	UNREFERENCED_PARAMETER(driver);
	CHECK(twice.count == 4 * added, "PRC-26 one function registered twice is called twice");
	CHECK(quiet.count == 2 * added, "PRC-13 without the flag: those that join");
	CHECK(gone.count == 0, "PRC-40 not called after deregistration");
	CHECK(vetoed[2].count == 5, "PRC-22 a registration that was vetoed does not stand");
	KeDeregisterProcessorChangeCallback(first);
	KeDeregisterProcessorChangeCallback(second);
	KeDeregisterProcessorChangeCallback(third);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	accepted();
	for (ULONG at = 0; at < PROCESSORS; at++)
		veto(at);
	KeDeregisterProcessorChangeCallback(KeRegisterProcessorChangeCallback(OnChange, &gone, 0));
	first = KeRegisterProcessorChangeCallback(OnChange, &twice, 0);
	second = KeRegisterProcessorChangeCallback(OnChange, &twice, 0);
	third = KeRegisterProcessorChangeCallback(OnChange, &quiet, 0);
	CHECK(first && second && third && first != second, "PRC-26 two registrations");
	CHECK(twice.count == 0 && quiet.count == 0, "PRC-13 no calls without the flag");
#ifdef UNCHECKED /* what is a rule's finding besides */
	static struct log lenient = {.veto_at = 1, .veto = STATUS_PENDING},
			  bits = {.veto_at = NEVER};
	PVOID handle = KeRegisterProcessorChangeCallback(OnChange, &lenient,
							 KE_PROCESSOR_CHANGE_ADD_EXISTING);
	CHECK(handle && lenient.count == 2 * PROCESSORS, "PRC-18 a success code is no veto");
	KeDeregisterProcessorChangeCallback(handle);
	KeDeregisterProcessorChangeCallback(handle);
	KeDeregisterProcessorChangeCallback((PVOID)((ULONG_PTR)first ^ 1));
	handle = KeRegisterProcessorChangeCallback(OnChange, &bits, 0x80000002);
	CHECK(handle && bits.count == 0, "PRC-4 other flags are ignored");
	KeDeregisterProcessorChangeCallback(handle);
	KIRQL old;
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	CHECK(!KeRegisterProcessorChangeCallback(OnChange, &bits, 0),
	      "PRC-10 at DISPATCH_LEVEL there is no waiting: NULL");
	KeDeregisterProcessorChangeCallback(third);
	KeLowerIrql(old);
#endif
	return check_result();
}
