/* SPDX-License-Identifier: MIT */
/* Mutexes and semaphores: ownership, recursion, abandonment, order of units (PLT-28, PLT-30,
 * PLT-75, PLT-76). */
#include "check.h"

static KMUTEX mutex;
static KSEMAPHORE semaphore;
static KEVENT held, go;
static LARGE_INTEGER zero;
static volatile LONG inside, most_inside, passes;

static NTSTATUS take(PVOID object, PLARGE_INTEGER timeout)
{
	return KeWaitForSingleObject(object, Executive, KernelMode, FALSE, timeout);
}

static VOID NTAPI holder(PVOID Context)
{
	take(&mutex, NULL);
	KeSetEvent(&held, 0, FALSE);
	take(&go, NULL);
	if (!Context)
		KeReleaseMutex(&mutex, FALSE);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID NTAPI competitor(PVOID Context)
{
	UNREFERENCED_PARAMETER(Context);
	for (int i = 0; i < 500; i++) {
		take(&semaphore, NULL);
		LONG now = InterlockedIncrement(&inside);
		if (now > most_inside)
			most_inside = now;
		InterlockedDecrement(&inside);
		KeReleaseSemaphore(&semaphore, 0, 1, FALSE);
		take(&mutex, NULL);
		passes++;
		KeReleaseMutex(&mutex, FALSE);
	}
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static void recursion(void)
{
	CHECK(KeReadStateMutex(&mutex) == 1, "PLT-30 a free mutex reads 1");
	CHECK(take(&mutex, NULL) == STATUS_SUCCESS, "PLT-30 acquired");
	CHECK(KeReadStateMutex(&mutex) == 0, "PLT-30 an owned mutex reads 0");
	CHECK(KeAreApcsDisabled(), "PLT-30 only special kernel APCs while a mutex is held");
	CHECK(take(&mutex, &zero) == STATUS_SUCCESS, "PLT-30 the owner acquires it again");
	CHECK(KeReleaseMutex(&mutex, FALSE) == -1, "PLT-30 release of the second acquire");
	CHECK(KeReadStateMutex(&mutex) == 0, "PLT-30 still owned");
	CHECK(KeReleaseMutex(&mutex, FALSE) == 0, "PLT-30 release of the first acquire");
	CHECK(KeReadStateMutex(&mutex) == 1, "PLT-30 free again");
}

static void ownership(BOOLEAN abandon)
{
	KeClearEvent(&held);
	KeClearEvent(&go);
	PVOID thread = check_thread(holder, abandon ? &mutex : NULL);
	take(&held, NULL);
	CHECK(take(&mutex, &zero) == STATUS_TIMEOUT, "PLT-27 another thread's mutex times out");
	KeSetEvent(&go, 0, FALSE);
	if (abandon) {
		PVOID objects[2] = {&semaphore, &mutex};
		CHECK(KeWaitForMultipleObjects(2, objects, WaitAny, Executive, KernelMode, FALSE,
					       NULL, NULL) == STATUS_ABANDONED_WAIT_0 + 1,
		      "PLT-28 an abandoned mutex: 0x80 + index");
	} else {
		CHECK(take(&mutex, NULL) == STATUS_SUCCESS, "PLT-30 released by its owner");
	}
	check_join(thread);
	CHECK(KeReleaseMutex(&mutex, FALSE) == 0, "PLT-30 the new owner releases");
	CHECK(take(&mutex, &zero) == STATUS_SUCCESS, "PLT-30 the mutex is not abandoned any more");
	KeReleaseMutex(&mutex, FALSE);
}

static void not_owner(void)
{
	NTSTATUS status = STATUS_SUCCESS;
	__try {
		KeReleaseMutex(&mutex, FALSE);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		status = GetExceptionCode();
	}
	CHECK(status == STATUS_MUTANT_NOT_OWNED,
	      "PLT-30 a release by another raises STATUS_MUTANT_NOT_OWNED");
}

static void units(void)
{
	KSEMAPHORE two;
	KeInitializeSemaphore(&two, 1, 2);
	CHECK(KeReadStateSemaphore(&two) == 1, "a semaphore reads its count");
	CHECK(KeReleaseSemaphore(&two, 0, 1, FALSE) == 1, "a release returns the count before");
	CHECK(take(&two, &zero) == STATUS_SUCCESS && take(&two, &zero) == STATUS_SUCCESS,
	      "two units");
	CHECK(take(&two, &zero) == STATUS_TIMEOUT, "and no third");
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	PVOID threads[4];
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	KeInitializeMutex(&mutex, 0);
	KeInitializeSemaphore(&semaphore, 0, 2);
	KeInitializeEvent(&held, NotificationEvent, FALSE);
	KeInitializeEvent(&go, NotificationEvent, FALSE);
	recursion();
	ownership(FALSE);
	ownership(TRUE);
	if (!CASE)
		units();
	else
		not_owner();
	KeReleaseSemaphore(&semaphore, 0, 2, FALSE);
	for (int i = 0; i < 4; i++)
		threads[i] = check_thread(competitor, NULL);
	for (int i = 0; i < 4; i++)
		check_join(threads[i]);
	CHECK(passes == 4 * 500, "PLT-30 no change under a mutex is lost");
	CHECK(most_inside <= 2, "a semaphore of two lets two in");
	return check_result();
}
