/* SPDX-License-Identifier: MIT */
/* Waits: an APC that waits inside one, time-outs that mean for ever, a wait that follows a signal
 * at once (PLT-25, PLT-27, PLT-38, DEF-257). */
#include "check.h"

static KAPC apc;
static KEVENT first, second, inside, started;
static volatile LONG normal_runs;

static VOID NTAPI kernel_routine(PKAPC Apc, PKNORMAL_ROUTINE *Normal, PVOID *Context, PVOID *One,
				 PVOID *Two)
{
	UNREFERENCED_PARAMETER(Apc);
	UNREFERENCED_PARAMETER(Normal);
	UNREFERENCED_PARAMETER(Context);
	UNREFERENCED_PARAMETER(One);
	UNREFERENCED_PARAMETER(Two);
}

static VOID NTAPI waiting_routine(PVOID Context, PVOID One, PVOID Two)
{
	UNREFERENCED_PARAMETER(Context);
	UNREFERENCED_PARAMETER(One);
	UNREFERENCED_PARAMETER(Two);
	KeWaitForSingleObject(&inside, Executive, KernelMode, FALSE, NULL);
	normal_runs++;
}

static VOID NTAPI interrupter(PVOID Context)
{
	KeWaitForSingleObject(&started, Executive, KernelMode, FALSE, NULL);
	check_sleep(5); /* the other one is in its wait, or gets the APC on its way there */
	KeInitializeApc(&apc, (PKTHREAD)Context, OriginalApcEnvironment, kernel_routine, NULL,
			waiting_routine, KernelMode, NULL);
	KeInsertQueueApc(&apc, NULL, NULL, 0);
	check_sleep(5);
	KeSetEvent(&inside, IO_NO_INCREMENT, FALSE); /* ends the wait of the APC and no other */
	check_sleep(20);
	KeSetEvent(&second, IO_NO_INCREMENT, FALSE);
}

static void apc_that_waits(void)
{
	PVOID objects[2] = {&first, &second};
	LARGE_INTEGER timeout;
	PVOID thread;
	timeout.QuadPart = -50000000LL;
	KeInitializeEvent(&first, NotificationEvent, FALSE);
	KeInitializeEvent(&second, NotificationEvent, FALSE);
	KeInitializeEvent(&inside, NotificationEvent, FALSE);
	KeInitializeEvent(&started, NotificationEvent, FALSE);
	thread = check_thread(interrupter, KeGetCurrentThread());
	KeSetEvent(&started, IO_NO_INCREMENT, FALSE);
	NTSTATUS status = KeWaitForMultipleObjects(2, objects, WaitAny, Executive, KernelMode,
						   FALSE, &timeout, NULL);
	CHECK(normal_runs == 1, "DEF-257 a wait is interrupted for a kernel APC");
	CHECK(status == STATUS_WAIT_1 && KeReadStateEvent(&second),
	      "PLT-28 a wait goes on with its own objects after an APC that waited itself");
	check_join(thread);
}

static void for_ever(LONGLONG due)
{
	KTIMER timer;
	LARGE_INTEGER when;
	when.QuadPart = due;
	KeInitializeTimer(&timer);
	KeSetTimer(&timer, when, NULL);
	check_sleep(5);
	CHECK(!KeReadStateTimer(&timer), "PLT-38 a due time beyond all time does not come");
	CHECK(KeCancelTimer(&timer), "PLT-38 it is still set");
}

static void signal_and_wait(void)
{
	LARGE_INTEGER timeout;
	KEVENT event;
	KeInitializeEvent(&event, NotificationEvent, FALSE);
	timeout.QuadPart = -10000;
	KeSetEvent(&event, IO_NO_INCREMENT, TRUE);
	CHECK(KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL) == STATUS_SUCCESS,
	      "PLT-25 signal and wait in one");
	KeSetEvent(&event, IO_NO_INCREMENT, TRUE);
	CHECK(KeWaitForSingleObject(&started, Executive, KernelMode, FALSE, &timeout) ==
			      STATUS_SUCCESS &&
		      KeGetCurrentIrql() == PASSIVE_LEVEL,
	      "PLT-25 the IRQL is back after the wait");
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	apc_that_waits();
	for_ever(-MAXLONGLONG);
	for_ever(-MAXLONGLONG - 1);
	for_ever(MAXLONGLONG);
	signal_and_wait();
	return check_result();
}
