/* SPDX-License-Identifier: MIT */
/*
 * Which numbers, groups and masks processors have, for all that are there at boot (PROCESSORS) and
 * all that join, in each layout (LAYOUT: 0 packed, 1 holes, 2 spread), against a model of its own:
 * PRC-38, 51..63, 65, 66, 70. GROUP_SIZE and MAXIMUM as on the command line.
 */
#include "check.h"

extern __declspec(dllimport) CCHAR KeNumberProcessors; /* not in headers any more */

#define GROUPS ((MAXIMUM + GROUP_SIZE - 1) / GROUP_SIZE)

static PVOID change;
static ULONG last_count;
static BOOLEAN counts_good = TRUE, masks_good = TRUE, numbers_good = TRUE, current_good = TRUE,
	       maxima_good = TRUE, grows = TRUE;

/* The model: walk the processors in the order in which they come. */
static ULONG group_of(ULONG index)
{
	return LAYOUT == 2 ? index % GROUPS : index / GROUP_SIZE;
}

static ULONG number_of(ULONG index)
{
	ULONG order = LAYOUT == 2 ? index / GROUPS : index % GROUP_SIZE, number = 0;
	if (LAYOUT != 1)
		return order;
	/* Even numbers in ascending order, then the odd ones. */
	for (ULONG n = 0; n < order; n++) {
		number += 2;
		if (number >= GROUP_SIZE && number % 2 == 0)
			number = 1;
	}
	return number;
}

static ULONG model_count(ULONG active, ULONG group)
{
	ULONG count = 0;
	for (ULONG i = 0; i < active; i++)
		count += group_of(i) == group;
	return count;
}

static KAFFINITY model_mask(ULONG active, ULONG group)
{
	KAFFINITY mask = 0;
	for (ULONG i = 0; i < active; i++) {
		if (group_of(i) == group)
			mask |= (KAFFINITY)1 << number_of(i);
	}
	return mask;
}

static VOID compare_counts(ULONG active)
{
	KAFFINITY mask = 0;
	USHORT used = 0;
	counts_good &= KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS) == active;
	for (USHORT group = 0; group < GROUPS + 1; group++) {
		ULONG count = model_count(active, group);
		used += count != 0;
		counts_good &= KeQueryActiveProcessorCountEx(group) == count;
		masks_good &= KeQueryGroupAffinity(group) == model_mask(active, group);
		maxima_good &= KeQueryMaximumProcessorCountEx(group) == model_count(MAXIMUM, group);
	}
	counts_good &= KeQueryActiveGroupCount() == used;
	counts_good &= KeQueryActiveProcessorCount(&mask) == model_count(active, 0);
	masks_good &= mask == model_mask(active, 0) && KeQueryActiveProcessors() == mask;
	counts_good &= (ULONG)KeNumberProcessors == model_count(active, 0);
	maxima_good &= KeQueryMaximumGroupCount() == GROUPS &&
		       KeQueryMaximumProcessorCount() == model_count(MAXIMUM, 0) &&
		       KeQueryMaximumProcessorCountEx(ALL_PROCESSOR_GROUPS) == MAXIMUM;
	grows &= active >= last_count;
	last_count = active;
}

/* Every index to its number, every possible number to its index. */
static VOID compare_numbers(ULONG active)
{
	PROCESSOR_NUMBER number;
	ULONG valid = 0;
	for (ULONG i = 0; i < active; i++) {
		memset(&number, 0xff, sizeof number);
		numbers_good &= KeGetProcessorNumberFromIndex(i, &number) == STATUS_SUCCESS &&
				number.Group == group_of(i) && number.Number == number_of(i) &&
				number.Reserved == 0 && KeGetProcessorIndexFromNumber(&number) == i;
	}
	numbers_good &= KeGetProcessorNumberFromIndex(active, &number) == STATUS_INVALID_PARAMETER;
	for (ULONG group = 0; group <= GROUPS; group++) {
		for (ULONG n = 0; n < 70; n++) {
			number = (PROCESSOR_NUMBER){.Group = (USHORT)group, .Number = (UCHAR)n};
			ULONG index = KeGetProcessorIndexFromNumber(&number);
			if (index == INVALID_PROCESSOR_INDEX)
				continue;
			valid++;
			numbers_good &=
				index < active && group_of(index) == group && number_of(index) == n;
		}
	}
	numbers_good &= valid == active;
	number = (PROCESSOR_NUMBER){.Reserved = 1};
	numbers_good &= KeGetProcessorIndexFromNumber(&number) == INVALID_PROCESSOR_INDEX;
}

/* On the processor itself. */
static VOID visit(ULONG index)
{
	GROUP_AFFINITY there = {.Mask = (KAFFINITY)1 << number_of(index),
				.Group = (USHORT)group_of(index)};
	GROUP_AFFINITY previous;
	PROCESSOR_NUMBER number;
	KeSetSystemGroupAffinityThread(&there, &previous);
	current_good &= KeGetCurrentProcessorNumberEx(&number) == index &&
			number.Group == group_of(index) && number.Number == number_of(index);
	ULONG legacy = KeGetCurrentProcessorNumber();
	current_good &= legacy == __readgsword(0x184);
	current_good &= group_of(index) == 0 ? legacy == number_of(index)
					     : legacy < KeQueryActiveProcessorCount(NULL);
	KeRevertToUserGroupAffinityThread(&previous);
}

#ifdef GROUP_AWARE
static KEVENT ran;
static PROCESSOR_NUMBER ran_on;

static VOID NTAPI OnDpc(PKDPC dpc, PVOID context, PVOID unused1, PVOID unused2)
{
	UNREFERENCED_PARAMETER(dpc);
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(unused1);
	UNREFERENCED_PARAMETER(unused2);
	KeGetCurrentProcessorNumberEx(&ran_on);
	KeSetEvent(&ran, IO_NO_INCREMENT, FALSE);
}

static VOID group_aware(VOID)
{
	static KDPC dpc;
	PROCESSOR_NUMBER number;
	USHORT highest = KeQueryActiveGroupCount() - 1;
	CHECK(KeSetSystemAffinityThreadEx(1) == 0 &&
		      (KeGetCurrentProcessorNumberEx(&number), number.Group == highest) &&
		      number.Number == 0,
	      "PRC-66 KeSetSystemAffinityThreadEx acts on the highest group");
	KeRevertToUserAffinityThreadEx(1);
	KeGetCurrentProcessorNumberEx(&number);
	CHECK(number.Group == highest, "PRC-66 so does KeRevertToUserAffinityThreadEx");
	KeRevertToUserAffinityThreadEx(0);
	KeInitializeEvent(&ran, NotificationEvent, FALSE);
	KeInitializeDpc(&dpc, OnDpc, NULL);
	KeSetTargetProcessorDpc(&dpc, 0);
	KeInsertQueueDpc(&dpc, NULL, NULL);
	KeWaitForSingleObject(&ran, Executive, KernelMode, FALSE, NULL);
	CHECK(ran_on.Group == highest && ran_on.Number == 0,
	      "PRC-66 so does KeSetTargetProcessorDpc");
}
#endif

static VOID NTAPI OnChange(PVOID context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT now, PNTSTATUS status)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(status);
	numbers_good &= now->ProcNumber.Group == group_of(now->NtNumber) &&
			now->ProcNumber.Number == number_of(now->NtNumber) &&
			now->ProcNumber.Reserved == 0;
	if (now->State != KeProcessorAddCompleteNotify ||
	    KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS) != now->NtNumber + 1)
		return; /* one that was there at load */
	compare_counts(now->NtNumber + 1);
	if (now->NtNumber % 16 == 0 || now->NtNumber < 8)
		compare_numbers(now->NtNumber + 1);
	visit(now->NtNumber);
}

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	ULONG active = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
	UNREFERENCED_PARAMETER(driver);
	KeDeregisterProcessorChangeCallback(change);
	compare_counts(active);
	compare_numbers(active);
	CHECK(active > PROCESSORS, "PRC-31 processors were added");
	CHECK(counts_good, "PRC-51, 52, 60, 70 counts");
	CHECK(masks_good, "PRC-51, 55, 61, PRC-63 masks");
	CHECK(maxima_good, "PRC-53, 54, 60, PRC-65, 66 maxima, constant");
	CHECK(numbers_good, "PRC-58, 59, 62 indices and numbers");
	CHECK(current_good, "PRC-56, 57 the current processor");
	CHECK(grows, "PRC-38 counts never fall");
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	compare_counts(PROCESSORS);
	compare_numbers(PROCESSORS);
	for (ULONG i = 0; i < PROCESSORS; i += i < 8 ? 1 : 16)
		visit(i);
	CHECK(counts_good && masks_good && maxima_good, "PRC-51..55, 60, 61 at load");
	CHECK(numbers_good, "PRC-58, 59, 62 at load");
	CHECK(current_good, "PRC-56, 57 at load");
#ifdef GROUP_AWARE
	group_aware();
#endif
	change =
		KeRegisterProcessorChangeCallback(OnChange, NULL, KE_PROCESSOR_CHANGE_ADD_EXISTING);
	CHECK(change, "PRC-14 registered");
	return check_result();
}
