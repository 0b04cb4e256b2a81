/* SPDX-License-Identifier: MIT */
/*
 * What an NMI callback may call (NMI-31..34, VER-46, VER-47, DEF-13, DEF-22): CASE 0 only what is
 * legal at any IRQL, the others one routine each that is not.
 */
#include "check.h"
#include <ntaffinity.h>

static struct {
	volatile ULONG calls;
	KIRQL irql;
	ULONG processor, count;
	LARGE_INTEGER counter, frequency;
	UNICODE_STRING text;
	PVOID pool, handle;
	NTSTATUS status;
	KEVENT event;
	KSEMAPHORE semaphore;
	KSPIN_LOCK lock;
	KDPC dpc;
	volatile LONG dpcs;
} seen;

static BOOLEAN NTAPI other(PVOID Context, BOOLEAN Handled)
{
	UNREFERENCED_PARAMETER(Context);
	return Handled;
}

static VOID NTAPI deferred(PKDPC Dpc, PVOID Context, PVOID One, PVOID Two)
{
	UNREFERENCED_PARAMETER(Dpc);
	UNREFERENCED_PARAMETER(Context);
	UNREFERENCED_PARAMETER(One);
	UNREFERENCED_PARAMETER(Two);
	InterlockedIncrement(&seen.dpcs);
}

static void send(void)
{
	KAFFINITY_EX set;
	KeInitializeAffinityEx(&set);
	KeAddProcessorAffinityEx(&set, KeGetCurrentProcessorNumberEx(NULL));
	HalSendNMI(&set);
}

static void legal(void)
{
	seen.irql = KeGetCurrentIrql();
	seen.processor = KeGetCurrentProcessorNumberEx(NULL);
	seen.count = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
	seen.counter = KeQueryPerformanceCounter(&seen.frequency);
	KeStallExecutionProcessor(1);
	RtlInitUnicodeString(&seen.text, L"text");
	KeInitializeEvent(&seen.event, NotificationEvent, FALSE);
}

static BOOLEAN NTAPI callback(PVOID Context, BOOLEAN Handled)
{
	LARGE_INTEGER zero = {0};
	UNREFERENCED_PARAMETER(Context);
	UNREFERENCED_PARAMETER(Handled);
	if (seen.calls++)
		return TRUE;
	switch (CASE) {
	case 0:
		legal();
		break;
	case 1:
		KeSetEvent(&seen.event, 0, FALSE);
		break;
	case 2:
		KeAcquireSpinLockRaiseToDpc(&seen.lock);
		break;
	case 3:
		seen.pool = ExAllocatePool2(POOL_FLAG_NON_PAGED, 64, 'tseT');
		break;
	case 4:
		KeReadStateSemaphore(&seen.semaphore);
		break;
	case 5:
		DbgPrint("printed in an NMI callback\n");
		break;
	case 6:
		KeInsertQueueDpc(&seen.dpc, NULL, NULL);
		break;
	case 7:
		seen.handle = KeRegisterNmiCallback(other, NULL);
		break;
	case 8:
		send();
		break;
	case 9:
		KeWaitForSingleObject(&seen.event, Executive, KernelMode, FALSE, &zero);
		break;
	case 10:
		seen.status = KeDeregisterNmiCallback(seen.handle);
		break;
	}
	return TRUE;
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	KeInitializeEvent(&seen.event, NotificationEvent, FALSE);
	KeInitializeSemaphore(&seen.semaphore, 0, 1);
	KeInitializeSpinLock(&seen.lock);
	KeInitializeDpc(&seen.dpc, deferred, NULL);
	PVOID handle = KeRegisterNmiCallback(callback, NULL);
	CHECK(handle, "NMI-5 the callback is registered");
	if (CASE == 10)
		seen.handle = handle;

	KeEnterCriticalRegion();
	ULONG processor = KeGetCurrentProcessorNumberEx(NULL);
	send();
	KeLeaveCriticalRegion();
	for (int i = 0; i < 100 && seen.calls < (CASE == 8 ? 2 : 1); i++)
		check_sleep(1);
	CHECK(seen.calls == (CASE == 8 ? 2 : 1), "DEF-10 one NMI calls the callback once");
	CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL, "NMI-31 the interrupted IRQL is back");
	if (CASE == 0) {
		CHECK(seen.irql == HIGH_LEVEL, "NMI-31 HIGH_LEVEL in the callback");
		CHECK(seen.processor == processor || seen.processor < seen.count,
		      "NMI-32 the processor's index");
		CHECK(seen.count == KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS),
		      "NMI-32 processor count");
		CHECK(seen.counter.QuadPart > 0 && seen.frequency.QuadPart > 0,
		      "NMI-32 performance counter");
		CHECK(seen.text.Length == 8, "NMI-33 a routine for any IRQL works");
	}
	if (CASE == 3) {
		CHECK(seen.pool != NULL, "DEF-22 pool allocation in an NMI callback survives");
		if (seen.pool)
			ExFreePoolWithTag(seen.pool, 'tseT');
	}
	if (CASE == 6) {
		KeFlushQueuedDpcs();
		CHECK(seen.dpcs == 1, "NMI-32 a DPC queued in an NMI callback runs");
	}
	if (CASE == 7)
		CHECK(seen.handle == NULL, "NMI-18 registration inside a callback is refused");
	if (CASE == 10)
		CHECK(seen.status == STATUS_UNSUCCESSFUL,
		      "NMI-18 deregistration inside a callback is refused");
	CHECK(KeDeregisterNmiCallback(handle) == STATUS_SUCCESS,
	      "NMI-11 the callback is deregistered");
	return check_result();
}
