/* SPDX-License-Identifier: MIT */
/*
 * A processor that joins really runs (PRC-9, 30, 31, 52, 56, 57, 64, 67..70): threads that wait for
 * a processor move to it, affinity leads there, targeted DPCs, IPIs and NMIs reach it; nothing of
 * that before it has started. BUSY threads keep the machine busy all the time.
 */
#include "check.h"
#include <ntaffinity.h>

#ifndef BUSY
#define BUSY 3
#endif

extern __declspec(dllimport) CCHAR KeNumberProcessors; /* not in headers any more */

static PVOID change, nmi;
static PVOID threads[BUSY];
static volatile LONG stop;
static volatile LONG64 seen[BUSY]; /* processors where each has run, as a mask */
static volatile LONG nmis, nmi_faults;
static volatile ULONG nmi_on, nmi_joining = INVALID_PROCESSOR_INDEX, nmi_count;
static volatile LONG ipis;
static ULONG added;

static VOID NTAPI busy(PVOID context)
{
	volatile LONG64 *mine = context;
	while (!stop)
		InterlockedOr64(mine, 1LL << KeGetCurrentProcessorNumberEx(NULL));
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static BOOLEAN seen_on(ULONG index)
{
	LONG64 all = 0;
	for (ULONG i = 0; i < BUSY; i++)
		all |= seen[i];
	return (all >> index) & 1;
}

static KAFFINITY bit(const PROCESSOR_NUMBER *number)
{
	return (KAFFINITY)1 << number->Number;
}

static BOOLEAN in_mask(const PROCESSOR_NUMBER *number)
{
	return (KeQueryGroupAffinity(number->Group) & bit(number)) != 0;
}

/* All at HIGH_LEVEL: PRC-52, 56, 58, 59, 61, 64. */
static BOOLEAN NTAPI OnNmi(PVOID context, BOOLEAN handled)
{
	PROCESSOR_NUMBER own, number;
	ULONG count = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS), sum = 0;
	BOOLEAN good = TRUE;
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(handled);
	nmi_on = KeGetCurrentProcessorNumberEx(&own);
	good &= nmi_on < count && KeGetProcessorIndexFromNumber(&own) == nmi_on && in_mask(&own);
	for (ULONG i = 0; i < count; i++)
		good &= NT_SUCCESS(KeGetProcessorNumberFromIndex(i, &number)) &&
			KeGetProcessorIndexFromNumber(&number) == i;
	for (USHORT group = 0; group < KeQueryActiveGroupCount(); group++)
		sum += KeQueryActiveProcessorCountEx(group);
	good &= sum == count && KeQueryMaximumProcessorCountEx(ALL_PROCESSOR_GROUPS) >= count;
	if (nmi_joining != INVALID_PROCESSOR_INDEX)
		good &= NT_SUCCESS(KeGetProcessorNumberFromIndex(nmi_joining, &number)) &&
			KeGetProcessorIndexFromNumber(&number) == nmi_joining;
	nmi_count = count;
	InterlockedExchangeAdd(&nmi_faults, !good);
	InterlockedIncrement(&nmis);
	return TRUE;
}

/* An NMI on this processor; TRUE when its callback ran there. */
static BOOLEAN send_nmi(ULONG index)
{
	KAFFINITY_EX set;
	LONG before = nmis;
	KeInitializeAffinityEx(&set);
	KeAddProcessorAffinityEx(&set, index);
	HalSendNMI(&set);
	for (ULONG i = 0; i < 5000 && nmis == before; i++)
		check_sleep(1);
	return nmis != before && nmi_on == index;
}

struct dpc_at {
	KDPC dpc;
	KEVENT ran;
	ULONG on;
	KIRQL irql;
};

static VOID NTAPI OnDpc(PKDPC dpc, PVOID context, PVOID unused1, PVOID unused2)
{
	struct dpc_at *at = context;
	UNREFERENCED_PARAMETER(dpc);
	UNREFERENCED_PARAMETER(unused1);
	UNREFERENCED_PARAMETER(unused2);
	at->on = KeGetCurrentProcessorNumberEx(NULL);
	at->irql = KeGetCurrentIrql();
	KeSetEvent(&at->ran, IO_NO_INCREMENT, FALSE);
}

static ULONG_PTR NTAPI OnIpi(ULONG_PTR argument)
{
	InterlockedOr64((volatile LONG64 *)argument, 1LL << KeGetCurrentProcessorNumberEx(NULL));
	InterlockedIncrement(&ipis);
	return 0;
}

/* It is known by its number and takes part in nothing. */
static VOID started(PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT joining)
{
	GROUP_AFFINITY there = {.Mask = bit(&joining->ProcNumber),
				.Group = joining->ProcNumber.Group};
	GROUP_AFFINITY previous = {.Mask = 1};
	PROCESSOR_NUMBER number;
	struct dpc_at at;
	LONG64 asked = 0;
	ULONG count = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);

	CHECK(joining->NtNumber == count && !in_mask(&joining->ProcNumber),
	      "PRC-30 counts and masks exclude it");
	CHECK(NT_SUCCESS(KeGetProcessorNumberFromIndex(count, &number)) &&
		      RtlEqualMemory(&number, &joining->ProcNumber, sizeof number) &&
		      KeGetProcessorIndexFromNumber(&number) == count,
	      "PRC-9, 64 its index and its number are known");
	CHECK(KeGetProcessorNumberFromIndex(count + 1, &number) == STATUS_INVALID_PARAMETER,
	      "PRC-64 the next one's are not");
	KeInitializeDpc(&at.dpc, OnDpc, &at);
	CHECK(KeSetTargetProcessorDpcEx(&at.dpc, &joining->ProcNumber) == STATUS_INVALID_PARAMETER,
	      "PRC-30 no DPC can be targeted at it");
	KeSetSystemGroupAffinityThread(&there, &previous);
	CHECK(previous.Mask == 0 && KeGetCurrentProcessorNumberEx(NULL) < count,
	      "PRC-69 affinity to it has no effect yet");
	KeIpiGenericCall(OnIpi, (ULONG_PTR)&asked);
	CHECK(asked == (1LL << count) - 1, "PRC-30 an IPI does not reach it");
	nmi_joining = count;
	CHECK(send_nmi(0) && nmi_count == count, "PRC-58, 59 the same in an NMI callback");
	nmi_joining = INVALID_PROCESSOR_INDEX;
	check_sleep(20);
	CHECK(!seen_on(count), "PRC-30 no thread runs on it");
}

static VOID complete(PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT joined)
{
	GROUP_AFFINITY there = {.Mask = bit(&joined->ProcNumber),
				.Group = joined->ProcNumber.Group};
	GROUP_AFFINITY previous = {.Mask = 1};
	PROCESSOR_NUMBER number;
	struct dpc_at at;
	LONG64 asked = 0;
	ULONG index = joined->NtNumber;

	CHECK(KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS) == index + 1 &&
		      in_mask(&joined->ProcNumber),
	      "PRC-31 counts and masks include it");
	CHECK((ULONG)KeNumberProcessors == KeQueryActiveProcessorCount(NULL),
	      "PRC-70 changes, too");
	KeSetSystemGroupAffinityThread(&there, &previous);
	CHECK(previous.Mask == 0 && KeGetCurrentProcessorNumberEx(&number) == index &&
		      RtlEqualMemory(&number, &joined->ProcNumber, sizeof number),
	      "PRC-31, 56, 69 a thread with affinity to it runs there");
	CHECK(__readgsbyte(0x184) == number.Number && __readgsbyte(0x185) == 0 &&
		      KeGetCurrentProcessorNumber() == number.Number,
	      "PRC-57 what headers read inline");
	CHECK(__readgsqword(0x20) == __readgsqword(0x18) + 0x180 && __readgsdword(0x1a4) == index,
	      "DEF-38 its own KPCR");
	check_sleep(2);
	CHECK(KeGetCurrentProcessorNumberEx(NULL) == index, "PRC-31 also after a wait");
	PROCESSOR_NUMBER next = joined->ProcNumber;
	GROUP_AFFINITY both = there;
	next.Number++;
	both.Mask |= bit(&next);
	if (KeGetProcessorIndexFromNumber(&next) == INVALID_PROCESSOR_INDEX &&
	    index + 1 < KeQueryMaximumProcessorCountEx(there.Group)) {
		GROUP_AFFINITY set;
		KeSetSystemGroupAffinityThread(&both, &set);
		KeSetSystemGroupAffinityThread(&there, &set);
		CHECK(set.Mask == there.Mask && set.Group == there.Group,
		      "PRC-69 bits of processors that may come are dropped");
	}
	KeRevertToUserGroupAffinityThread(&previous);
	KeInitializeDpc(&at.dpc, OnDpc, &at);
	KeInitializeEvent(&at.ran, NotificationEvent, FALSE);
	CHECK(NT_SUCCESS(KeSetTargetProcessorDpcEx(&at.dpc, &joined->ProcNumber)),
	      "PRC-31 a DPC can be targeted at it");
	KeInsertQueueDpc(&at.dpc, NULL, NULL);
	KeWaitForSingleObject(&at.ran, Executive, KernelMode, FALSE, NULL);
	CHECK(at.on == index && at.irql == DISPATCH_LEVEL, "PRC-31 and runs there");
	KeFlushQueuedDpcs();
	KeIpiGenericCall(OnIpi, (ULONG_PTR)&asked);
	CHECK(asked == (1LL << (index + 1)) - 1, "PRC-31 an IPI reaches it");
	CHECK(send_nmi(index), "PRC-31 an NMI reaches it");
	CHECK(nmi_count == index + 1, "PRC-52 counts in its NMI callback");
	for (ULONG i = 0; i < 10000 && !seen_on(index); i++)
		check_sleep(1);
	CHECK(seen_on(index), "PRC-31 threads that wait for a processor run on it");
	added++;
}

static VOID NTAPI OnChange(PVOID context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT now, PNTSTATUS status)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(status);
	if (now->State == KeProcessorAddStartNotify)
		started(now);
	else if (now->State == KeProcessorAddCompleteNotify)
		complete(now);
}

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
	stop = 1;
	for (ULONG i = 0; i < BUSY; i++)
		check_join(threads[i]);
	KeDeregisterProcessorChangeCallback(change);
	KeDeregisterNmiCallback(nmi);
	CHECK(added != 0, "PRC-31 processors were added");
	CHECK(nmi_faults == 0, "PRC-52, 56, 58..61 queries in NMI callbacks are right");
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	nmi = KeRegisterNmiCallback(OnNmi, NULL);
	change = KeRegisterProcessorChangeCallback(OnChange, NULL, 0);
	for (ULONG i = 0; i < BUSY; i++)
		threads[i] = check_thread(busy, (PVOID)&seen[i]);
	CHECK(nmi && change, "PRC-13 registered");
	return check_result();
}
