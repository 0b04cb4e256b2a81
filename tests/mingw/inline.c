/* SPDX-License-Identifier: MIT */
/* Built by mingw-w64 with its own headers, which inline CR8, GS and the shared page (PLT-5..8): the
 * independent check of the ABI. */
#include <ntddk.h>

static LONG failures;

static void check(BOOLEAN ok, const char *what)
{
	failures += !ok;
	DbgPrint("%s %s\n", ok ? "PASS" : "FAIL", what);
}

static volatile LONG calls;

static BOOLEAN NTAPI on_nmi(PVOID context, BOOLEAN handled)
{
	(void)handled;
	InterlockedIncrement((volatile LONG *)context);
	return KeGetCurrentIrql() == HIGH_LEVEL;
}

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	(void)driver;
	check(calls >= 2, "NMI-20 the callback was called");
}

static PVOID handle;

static VOID NTAPI unload_all(PDRIVER_OBJECT driver)
{
	unload(driver);
	check(KeDeregisterNmiCallback(handle) == STATUS_SUCCESS, "NMI-11 deregistered");
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	KIRQL old;
	KSPIN_LOCK lock;
	LARGE_INTEGER before, after, pause;
	volatile char big[20000]; /* ___chkstk_ms */
	(void)path;
	big[0] = big[sizeof big - 1] = 1;
	check(KeGetCurrentIrql() == PASSIVE_LEVEL, "PLT-5 CR8 reads 0");
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	check(old == PASSIVE_LEVEL && KeGetCurrentIrql() == DISPATCH_LEVEL, "PLT-5 CR8 was raised");
	KeLowerIrql(old);
	check(KeGetCurrentIrql() == PASSIVE_LEVEL, "PLT-5 CR8 was lowered");
	KeInitializeSpinLock(&lock);
	KeAcquireSpinLock(&lock, &old);
	check(KeGetCurrentIrql() == DISPATCH_LEVEL, "PLT-16 the lock raises");
	KeReleaseSpinLock(&lock, old);
	check(KeGetCurrentThread() != NULL && KeGetCurrentProcessorNumber() < 4, "PLT-6 GS");
	KeQuerySystemTime(&before);
	pause.QuadPart = -20000;
	KeDelayExecutionThread(KernelMode, FALSE, &pause);
	KeQuerySystemTime(&after);
	check(after.QuadPart > before.QuadPart && before.QuadPart > 0,
	      "PLT-7 the shared page's time goes on");
	handle = KeRegisterNmiCallback(on_nmi, (PVOID)&calls);
	check(handle != NULL, "NMI-5 registered");
	driver->DriverUnload = unload_all;
	return failures ? STATUS_UNSUCCESSFUL : STATUS_SUCCESS;
}
