/* SPDX-License-Identifier: MIT */
/* Device queues, time, debug output, priorities (PLT-40, PLT-55, PLT-85, DEF-45, DEF-46, DEF-314).
 */
#include "check.h"

extern __declspec(dllimport) ULONG NtBuildNumber;

static KDEVICE_QUEUE queue;
static KDEVICE_QUEUE_ENTRY entries[4];

static void device_queues(void)
{
	KIRQL old;
	KeInitializeDeviceQueue(&queue);
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	CHECK(!KeInsertDeviceQueue(&queue, &entries[0]),
	      "PLT-85 a device that is not busy takes the entry itself");
	CHECK(KeInsertDeviceQueue(&queue, &entries[1]) && entries[1].Inserted,
	      "PLT-85 a busy one queues it");
	CHECK(KeInsertByKeyDeviceQueue(&queue, &entries[2], 7), "PLT-85 by key");
	CHECK(KeInsertByKeyDeviceQueue(&queue, &entries[3], 3), "PLT-85 by key");
	CHECK(KeRemoveByKeyDeviceQueue(&queue, 5) == &entries[2],
	      "PLT-85 the first key of at least 5");
	CHECK(KeRemoveEntryDeviceQueue(&queue, &entries[3]) && !entries[3].Inserted,
	      "PLT-85 a given entry");
	CHECK(!KeRemoveEntryDeviceQueue(&queue, &entries[3]), "PLT-85 which is not there any more");
	CHECK(KeRemoveDeviceQueue(&queue) == &entries[1], "PLT-85 the first");
	CHECK(KeRemoveDeviceQueue(&queue) == NULL && !queue.Busy, "PLT-85 none: not busy any more");
	KeLowerIrql(old);
}

static void times(void)
{
	LARGE_INTEGER frequency, before, after, system, precise, ticks;
	ULONG64 counter;
	before = KeQueryPerformanceCounter(&frequency);
	ULONGLONG interrupt = KeQueryInterruptTime();
	KeStallExecutionProcessor(2000);
	after = KeQueryPerformanceCounter(NULL);
	CHECK(frequency.QuadPart == 10000000, "PLT-40 10 MHz");
	LONGLONG passed = (after.QuadPart - before.QuadPart) / 10;
	CHECK(passed >= 2000, "PLT-40 a stall takes at least its time");
	CHECK(KeQueryInterruptTime() >= interrupt + 20000, "PLT-7 interrupt time in 100 ns");
	CHECK(KeQueryUnbiasedInterruptTime() >= interrupt, "unbiased interrupt time");
	CHECK(KeQueryInterruptTimePrecise(&counter) >= interrupt && counter,
	      "precise interrupt time");
	KeQuerySystemTime(&system);
	KeQuerySystemTimePrecise(&precise);
	CHECK(precise.QuadPart >= system.QuadPart && precise.QuadPart - system.QuadPart < 10000000,
	      "PLT-40 system times agree");
	CHECK(system.QuadPart > 132000000000000000LL, "system time is since 1601");
	CHECK(KeQueryTimeIncrement() == 156250, "DEF-46 time increment");
	KeQueryTickCount(&ticks);
	LONGLONG expected = (LONGLONG)(KeQueryInterruptTime() / 156250);
	CHECK(ticks.QuadPart <= expected && expected - ticks.QuadPart <= 2,
	      "DEF-46 ticks are interrupt time");
}

static ULONG print_list(const char *prefix, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	ULONG status = vDbgPrintExWithPrefix(prefix, 0, 0, format, list);
	va_end(list);
	return status;
}

static void printing(void)
{
	static char text[600];
	memset(text, 'x', sizeof text - 1);
	ULONG status = DbgPrint("%s", text);
	DbgPrint("\n");
	CHECK(status == STATUS_SUCCESS, "PLT-55 a long message is cut off");
	CHECK(DbgPrintEx(DPFLTR_IHVDRIVER_ID, DPFLTR_INFO_LEVEL, "%s %d %I64x %wZ\n", "text", -1,
			 0x123456789abcLL, NULL) == STATUS_SUCCESS,
	      "PLT-55 DbgPrintEx");
	CHECK(print_list("prefix: ", "%u\n", 42) == STATUS_SUCCESS, "PLT-55 vDbgPrintExWithPrefix");
	CHECK(KD_DEBUGGER_NOT_PRESENT && !KD_DEBUGGER_ENABLED, "DEF-314 no debugger");
	CHECK((NtBuildNumber & 0xffff) >= 7600, "DEF-314 NtBuildNumber");
}

static void priorities(void)
{
	ULONG user = 1;
	PKTHREAD thread = KeGetCurrentThread();
	KPRIORITY before = KeSetPriorityThread(thread, 12);
	CHECK(KeQueryPriorityThread(thread) == 12, "KeSetPriorityThread");
	CHECK(KeSetPriorityThread(thread, before) == 12, "returns the one before");
	KeSetBasePriorityThread(thread, 2);
	CHECK(KeSetBasePriorityThread(thread, 0) == 2,
	      "KeSetBasePriorityThread returns the increment before");
	KeQueryRuntimeThread(thread, &user);
	CHECK(user == 0, "KeQueryRuntimeThread: no time in user mode");
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	device_queues();
	times();
	printing();
	priorities();
	return check_result();
}
