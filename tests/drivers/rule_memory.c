/* SPDX-License-Identifier: MIT */
/*
 * Rules about where things lie and when they go: CASE 1 a set timer in a freed block (VER-28), 2 an
 * event in paged pool (VER-33), 3 PAGED_CODE at DISPATCH_LEVEL (DEF-338), 4 code of INIT called
 * after DriverEntry (DEF-336), 5 a DPC that leaves a region (VER-39), 6 PAGED_CODE at
 * DISPATCH_LEVEL (DEF-338); 0 none of it.
 */
#define DBG 1
#include "check.h"

static KDPC dpc;
static volatile LONG runs;
static PKTIMER timer;
static KMUTEX mutex;
static int (*volatile left_over)(int);

__attribute__((section("INIT"), noinline)) static int in_init(int value)
{
	return value + 1;
}

__attribute__((section("PAGE"), noinline)) static void pageable(void)
{
	PAGED_CODE();
	runs++;
}

__attribute__((noinline)) static void resident(void)
{
	PAGED_CODE();
	runs++;
}

static VOID NTAPI deferred(PKDPC Dpc, PVOID Context, PVOID One, PVOID Two)
{
	UNREFERENCED_PARAMETER(Dpc);
	UNREFERENCED_PARAMETER(Context);
	UNREFERENCED_PARAMETER(One);
	UNREFERENCED_PARAMETER(Two);
	if (CASE == 5)
		KeReleaseMutex(&mutex, FALSE); /* which the interrupted thread owns */
	runs++;
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
	if (CASE == 4)
		runs = left_over((int)runs);
}

static void set_timer(BOOLEAN cancel)
{
	timer = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *timer + 64, 'tseT');
	KeInitializeTimer(timer);
	KeSetTimer(timer, check_ms(30000), NULL);
	if (cancel)
		KeCancelTimer(timer);
	ExFreePoolWithTag(timer, 'tseT');
}

static void paged_code_high(void)
{
	KIRQL old;
	KeRaiseIrql(CASE ? DISPATCH_LEVEL : APC_LEVEL, &old);
	__try {
		if (CASE == 6)
			resident();
		else
			pageable();
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		runs++;
	}
	KeLowerIrql(old);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	left_over = in_init;
	CHECK(left_over(1) == 2, "DEF-335 INIT code runs during DriverEntry");
	if (CASE == 0 || CASE == 1)
		set_timer(CASE == 0);
	if (CASE == 0 || CASE == 2) {
		POOL_FLAGS kind = CASE == 2 ? POOL_FLAG_PAGED : POOL_FLAG_NON_PAGED;
		PKEVENT event = ExAllocatePool2(kind, sizeof *event, 'tseT');
		KeInitializeEvent(event, NotificationEvent, FALSE);
		ExFreePoolWithTag(event, 'tseT');
	}
	if (CASE == 0 || CASE == 3 || CASE == 6) {
		paged_code_high();
		CHECK(runs == 1, "DEF-338 pageable code");
	}
	if (CASE == 0 || CASE == 5) {
		LONG before = runs;
		KeInitializeMutex(&mutex, 0);
		KeWaitForSingleObject(&mutex, Executive, KernelMode, FALSE, NULL);
		KeInitializeDpc(&dpc, deferred, NULL);
		KeInsertQueueDpc(&dpc, NULL, NULL);
		KeFlushQueuedDpcs();
		CHECK(runs == before + 1, "PLT-36 the DPC ran");
		if (CASE == 0)
			KeReleaseMutex(&mutex, FALSE);
	}
	return check_result();
}
