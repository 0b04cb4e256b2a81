/* SPDX-License-Identifier: MIT */
/* KeIpiGenericCall (PLT-39): all processors at once, at IPI_LEVEL, also when two call it and when
 * others hold locks. */
#include "check.h"

static volatile LONG entered, together, wrong_irql;
static volatile LONG64 seen_processors;
static ULONG processors;
static KSPIN_LOCK lock;
static volatile LONG calls, stop;

static ULONG_PTR NTAPI worker(ULONG_PTR argument)
{
	if (KeGetCurrentIrql() != IPI_LEVEL)
		InterlockedIncrement(&wrong_irql);
	InterlockedOr64(&seen_processors, 1LL << KeGetCurrentProcessorNumberEx(NULL));
	InterlockedIncrement(&entered);
	/* Nobody gets out before all are in. */
	for (int i = 0; i < 100000 && entered < (LONG)processors; i++)
		KeStallExecutionProcessor(10);
	if (entered == (LONG)processors)
		InterlockedIncrement(&together);
	return argument + KeGetCurrentProcessorNumberEx(NULL);
}

/* One processor comes late: it is at HIGH_LEVEL for a while. */
static volatile LONG blocking;
static volatile LONG64 released, earliest;

static VOID NTAPI late(PVOID Context)
{
	KIRQL old;
	UNREFERENCED_PARAMETER(Context);
	KeSetSystemAffinityThreadEx(2);
	KeRaiseIrql(HIGH_LEVEL, &old);
	blocking = 1;
	KeStallExecutionProcessor(30000);
	released = KeQueryPerformanceCounter(NULL).QuadPart;
	KeLowerIrql(old);
	KeRevertToUserAffinityThreadEx(0);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static ULONG_PTR NTAPI when(ULONG_PTR argument)
{
	LONG64 now = KeQueryPerformanceCounter(NULL).QuadPart, seen;
	do {
		seen = earliest;
	} while (now < seen && InterlockedCompareExchange64(&earliest, now, seen) != seen);
	return argument;
}

static void barrier(void)
{
	KeSetSystemAffinityThreadEx(1);
	earliest = MAXLONGLONG;
	PVOID thread = check_thread(late, NULL);
	while (!blocking)
		check_sleep(1);
	KeIpiGenericCall(when, 0);
	CHECK(released && earliest >= released, "PLT-39 nobody begins before all have come");
	check_join(thread);
	KeRevertToUserAffinityThreadEx(0);
}

static ULONG_PTR NTAPI count(ULONG_PTR argument)
{
	InterlockedIncrement((volatile LONG *)argument);
	return 0;
}

static VOID NTAPI caller(PVOID Context)
{
	UNREFERENCED_PARAMETER(Context);
	for (int i = 0; i < 50; i++)
		KeIpiGenericCall(count, (ULONG_PTR)&calls);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID NTAPI locker(PVOID Context)
{
	KIRQL old;
	KEVENT event;
	UNREFERENCED_PARAMETER(Context);
	KeInitializeEvent(&event, SynchronizationEvent, FALSE);
	while (!stop) {
		KeAcquireSpinLock(&lock, &old);
		KeStallExecutionProcessor(20);
		KeReleaseSpinLock(&lock, old);
		KeSetEvent(&event, 0, FALSE);
		KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
	}
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	PVOID lockers[2], callers[3];
	KIRQL old;
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	processors = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);

	KeRaiseIrql(DISPATCH_LEVEL, &old);
	ULONG self = KeGetCurrentProcessorNumberEx(NULL);
	ULONG_PTR result = KeIpiGenericCall(worker, 1000);
	CHECK(KeGetCurrentIrql() == DISPATCH_LEVEL, "PLT-39 the caller's IRQL is back");
	KeLowerIrql(old);
	CHECK(result == 1000 + self, "PLT-39 returns the value of the calling processor");
	CHECK(wrong_irql == 0, "PLT-39 workers run at IPI_LEVEL");
	CHECK(entered == (LONG)processors &&
		      seen_processors == (LONG64)((2ULL << (processors - 1)) - 1),
	      "PLT-39 on each active processor once");
	CHECK(together == (LONG)processors, "PLT-39 all at the same time");

	if (processors > 1)
		barrier();
	for (int i = 0; i < 2; i++)
		lockers[i] = check_thread(locker, NULL);
	for (int i = 0; i < 3; i++)
		callers[i] = check_thread(caller, NULL);
	for (int i = 0; i < 3; i++)
		check_join(callers[i]);
	stop = 1;
	for (int i = 0; i < 2; i++)
		check_join(lockers[i]);
	CHECK(calls == (LONG)(3 * 50 * processors),
	      "PLT-39 three callers, and processors that hold locks: none is lost");
	return check_result();
}
