/* SPDX-License-Identifier: MIT */
/*
 * Rules of regions, mutexes, semaphores, processor sets, debug output, waits and IRQL (VER-5..7,
 * VER-9, VER-12, VER-23, VER-29, VER-30, PLT-12, PLT-14, PLT-30, PLT-55, DEF-8, DEF-17, DEF-19).
 * CASE 0 keeps them, the others break one each.
 */
#include "check.h"
#include <ntaffinity.h>

static KMUTEX mutex;
static KSEMAPHORE semaphore;
static KEVENT event;
static KTIMER timer;
static KDEVICE_QUEUE queue;
static KDEVICE_QUEUE_ENTRY entry;
static LARGE_INTEGER zero;

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

#define RAISED(level, call)                                                                        \
	do {                                                                                       \
		KIRQL old_;                                                                        \
		KeRaiseIrql(level, &old_);                                                         \
		call;                                                                              \
		KeLowerIrql(old_);                                                                 \
	} while (0)

CHECK_HELPER void raise_status_of_release(void)
{
	NTSTATUS status = STATUS_SUCCESS;
	__try {
		KeReleaseMutex(&mutex, FALSE);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		status = GetExceptionCode();
	}
	CHECK(status == STATUS_MUTANT_NOT_OWNED, "PLT-30 release by another thread raises");
}

CHECK_HELPER void raise_status_of_semaphore(void)
{
	NTSTATUS status = STATUS_SUCCESS;
	__try {
		KeReleaseSemaphore(&semaphore, 0, 3, FALSE);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		status = GetExceptionCode();
	}
	CHECK(status == STATUS_SEMAPHORE_LIMIT_EXCEEDED, "a release beyond the limit raises");
	CHECK(KeReadStateSemaphore(&semaphore) == 0, "and changes nothing");
}

CHECK_HELPER void kept(void)
{
	UNICODE_STRING wide;
	KAFFINITY_EX set;
	RtlInitUnicodeString(&wide, L"wide");
	KeEnterCriticalRegion();
	KeEnterCriticalRegion();
	KeLeaveCriticalRegion();
	KeLeaveCriticalRegion();
	KeEnterGuardedRegion();
	KeLeaveGuardedRegion();
	CHECK(KeWaitForSingleObject(&mutex, Executive, KernelMode, FALSE, NULL) == STATUS_SUCCESS,
	      "PLT-30 acquire");
	CHECK(KeReleaseMutex(&mutex, FALSE) == 0, "PLT-30 release");
	CHECK(KeReleaseSemaphore(&semaphore, 0, 1, FALSE) == 0, "semaphore release");
	CHECK(DbgPrint("%wZ at PASSIVE_LEVEL\n", &wide) == STATUS_SUCCESS, "PLT-55 wide text");
	RAISED(DISPATCH_LEVEL, KeSetEvent(&event, 0, FALSE));
	RAISED(DISPATCH_LEVEL, KeInitializeTimer(&timer));
	RAISED(DISPATCH_LEVEL,
	       CHECK(!KeInsertDeviceQueue(&queue, &entry), "VER-12 at DISPATCH_LEVEL"));
	RAISED(DISPATCH_LEVEL, CHECK(KeWaitForSingleObject(&event, Executive, KernelMode, FALSE,
							   &zero) == STATUS_SUCCESS,
				     "PLT-27 a zero time-out at DISPATCH_LEVEL"));
	RAISED(APC_LEVEL, CHECK(KeQueryActiveProcessors() & 1, "VER-6 at APC_LEVEL"));
	KeInitializeAffinityEx(&set);
	KeAddProcessorAffinityEx(&set, 0);
	CHECK(KeCheckProcessorAffinityEx(&set, 0), "DEF-19 in");
}

CHECK_HELPER void broken(int which)
{
	UNICODE_STRING wide;
	KAFFINITY_EX set;
	KIRQL old;
	RtlInitUnicodeString(&wide, L"wide");
	switch (which) {
	case 1:
		KeLeaveCriticalRegion();
		break;
	case 2:
		KeLeaveGuardedRegion();
		break;
	case 3:
		raise_status_of_release();
		break;
	case 4:
		raise_status_of_semaphore();
		break;
	case 5:
		RAISED(DISPATCH_LEVEL, DbgPrint("%wZ\n", &wide));
		break;
	case 6:
		RAISED(3, KeSetEvent(&event, 0, FALSE));
		break;
	case 7:
		RAISED(3, KeInitializeTimer(&timer));
		break;
	case 8:
		KeInsertDeviceQueue(&queue, &entry);
		break;
	case 9:
		RAISED(3, KeInsertDeviceQueue(&queue, &entry));
		break;
	case 10:
		RAISED(DISPATCH_LEVEL, KeQueryActiveProcessors());
		break;
	case 11:
		RAISED(3, KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &zero));
		break;
	case 12:
		memset(&set, 0xa5, sizeof set);
		KeAddProcessorAffinityEx(&set, 0);
		break;
	case 13:
		KeInitializeAffinityEx(&set);
		KeAddProcessorAffinityEx(&set, 1000);
		CHECK(KeIsEmptyAffinityEx(&set), "DEF-19 a bad index changes nothing");
		break;
	case 14:
		HalSendNMI((PCKAFFINITY_EX)0x8000000000000000);
		break;
	case 15:
		KeLowerIrql(DISPATCH_LEVEL);
		break;
	case 16:
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		KeRaiseIrql(APC_LEVEL, &old);
		break;
	case 17:
		RAISED(DISPATCH_LEVEL, KeSetEvent(&event, 0, TRUE);
		       KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &zero));
		break;
	case 18:
		RAISED(IPI_LEVEL, DbgPrint("above DIRQL\n"));
		break;
	}
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	KeInitializeMutex(&mutex, 0);
	KeInitializeSemaphore(&semaphore, 0, 2);
	KeInitializeEvent(&event, NotificationEvent, TRUE);
	KeInitializeDeviceQueue(&queue);
	if (CASE)
		broken(CASE);
	else
		kept();
	return check_result();
}
