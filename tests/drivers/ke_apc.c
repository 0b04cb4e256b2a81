/* SPDX-License-Identifier: MIT */
/* Kernel APCs: where and when they run (DEF-257, DEF-258, PLT-21). */
#include "check.h"

static KAPC apc, other;
static volatile LONG kernel_runs, normal_runs, rundowns;
static volatile KIRQL kernel_irql, normal_irql;
static volatile PKTHREAD ran_on;
static volatile PVOID seen_context, seen_one;
static KEVENT event, ready, finish;

static VOID NTAPI kernel_routine(PKAPC Apc, PKNORMAL_ROUTINE *Normal, PVOID *Context, PVOID *One,
				 PVOID *Two)
{
	UNREFERENCED_PARAMETER(Apc);
	UNREFERENCED_PARAMETER(Normal);
	UNREFERENCED_PARAMETER(Context);
	UNREFERENCED_PARAMETER(Two);
	kernel_irql = KeGetCurrentIrql();
	ran_on = KeGetCurrentThread();
	seen_one = *One;
	kernel_runs++;
}

static VOID NTAPI normal_routine(PVOID Context, PVOID One, PVOID Two)
{
	UNREFERENCED_PARAMETER(One);
	UNREFERENCED_PARAMETER(Two);
	normal_irql = KeGetCurrentIrql();
	seen_context = Context;
	normal_runs++;
}

static VOID NTAPI rundown(PKAPC Apc)
{
	UNREFERENCED_PARAMETER(Apc);
	rundowns++;
}

static void reset(PKTHREAD thread, BOOLEAN normal)
{
	kernel_runs = normal_runs = 0;
	KeInitializeApc(&apc, thread, OriginalApcEnvironment, kernel_routine, rundown,
			normal ? normal_routine : NULL, KernelMode, &event);
}

static void to_itself(void)
{
	KIRQL old;
	reset(KeGetCurrentThread(), FALSE);
	CHECK(KeInsertQueueApc(&apc, &ready, NULL, 0), "DEF-258 queued");
	CHECK(kernel_runs == 1 && kernel_irql == APC_LEVEL,
	      "DEF-257 a special kernel APC runs at once, at APC_LEVEL");
	CHECK(ran_on == KeGetCurrentThread() && seen_one == &ready,
	      "DEF-258 in its thread, with its arguments");

	reset(KeGetCurrentThread(), TRUE);
	KeInsertQueueApc(&apc, NULL, NULL, 0);
	CHECK(kernel_runs == 1 && normal_runs == 1 && normal_irql == PASSIVE_LEVEL &&
		      seen_context == &event,
	      "DEF-257 a normal kernel APC's routine runs at PASSIVE_LEVEL");

	reset(KeGetCurrentThread(), TRUE);
	KeEnterCriticalRegion();
	KeInsertQueueApc(&apc, NULL, NULL, 0);
	CHECK(kernel_runs == 0, "PLT-21 a critical region holds normal kernel APCs");
	CHECK(!KeInsertQueueApc(&apc, NULL, NULL, 0), "DEF-258 queued already");
	KeLeaveCriticalRegion();
	CHECK(normal_runs == 1, "PLT-21 and lets them go at its end");

	reset(KeGetCurrentThread(), FALSE);
	KeEnterCriticalRegion();
	KeInsertQueueApc(&apc, NULL, NULL, 0);
	CHECK(kernel_runs == 1, "PLT-21 special ones come through a critical region");
	KeLeaveCriticalRegion();

	reset(KeGetCurrentThread(), FALSE);
	KeEnterGuardedRegion();
	KeInsertQueueApc(&apc, NULL, NULL, 0);
	CHECK(kernel_runs == 0, "PLT-21 a guarded region holds special ones too");
	KeLeaveGuardedRegion();
	CHECK(kernel_runs == 1, "PLT-21 and lets them go at its end");

	reset(KeGetCurrentThread(), FALSE);
	KeRaiseIrql(APC_LEVEL, &old);
	KeInsertQueueApc(&apc, NULL, NULL, 0);
	CHECK(kernel_runs == 0, "DEF-257 nothing at APC_LEVEL");
	KeLowerIrql(old);
	CHECK(kernel_runs == 1, "DEF-257 delivered when the IRQL drops");
}

/* Context 0: waits without end; else runs. Both until told. */
static VOID NTAPI target(PVOID Context)
{
	KeLeaveCriticalRegion(); /* PLT-41: threads start inside one */
	KeSetEvent(&ready, 0, FALSE);
	if (!Context)
		KeWaitForSingleObject(&finish, Executive, KernelMode, FALSE, NULL);
	while (!KeReadStateEvent(&finish))
		KeStallExecutionProcessor(10);
	KeEnterCriticalRegion();
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static void to_another(PVOID how)
{
	KeClearEvent(&finish);
	KeClearEvent(&ready);
	PVOID thread = check_thread(target, how);
	KeWaitForSingleObject(&ready, Executive, KernelMode, FALSE, NULL);
	check_sleep(10);
	reset(thread, TRUE);
	KeInsertQueueApc(&apc, NULL, NULL, 0);
	for (int i = 0; i < 500 && !normal_runs; i++)
		check_sleep(1);
	CHECK(normal_runs == 1 && ran_on == thread,
	      how ? "DEF-258 a running thread is interrupted" : "DEF-258 a wait is interrupted");
	check_sleep(2);
	CHECK(!KeReadStateEvent(thread), "DEF-258 and goes on afterwards");
	KeSetEvent(&finish, 0, FALSE);
	check_join(thread);
}

static VOID NTAPI short_lived(PVOID Context)
{
	UNREFERENCED_PARAMETER(Context);
	KeSetEvent(&ready, 0, FALSE);
	KeWaitForSingleObject(&finish, Executive, KernelMode, FALSE, NULL);
	PsTerminateSystemThread(STATUS_SUCCESS); /* still in the critical region it started in */
}

static void thread_ends(void)
{
	KeClearEvent(&finish);
	KeClearEvent(&ready);
	PVOID thread = check_thread(short_lived, NULL);
	KeWaitForSingleObject(&ready, Executive, KernelMode, FALSE, NULL);
	reset(thread, TRUE);
	KeInsertQueueApc(&apc, NULL, NULL, 0);
	KeSetEvent(&finish, 0, FALSE);
	KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, NULL);
	CHECK(rundowns == 1 && normal_runs == 0,
	      "DEF-257 an APC of a thread that ends is run down");
	KeInitializeApc(&other, thread, OriginalApcEnvironment, kernel_routine, NULL, NULL,
			KernelMode, NULL);
	CHECK(!KeInsertQueueApc(&other, NULL, NULL, 0), "DEF-258 FALSE when the thread has ended");
	ObDereferenceObject(thread);
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	KeInitializeEvent(&event, NotificationEvent, FALSE);
	KeInitializeEvent(&ready, NotificationEvent, FALSE);
	KeInitializeEvent(&finish, NotificationEvent, FALSE);
	to_itself();
	to_another(NULL);
	to_another(&apc);
	thread_ends();
	return check_result();
}
