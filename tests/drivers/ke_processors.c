/* SPDX-License-Identifier: MIT */
/*
 * Queries about processors, affinity of threads, KAFFINITY_EX (PRC-51..69, DEF-15..21, DEF-126,
 * DEF-127, DEF-174). Runs on any machine; PROCESSORS and GROUP_SIZE say what it should find.
 */
#include "check.h"
#include <ntaffinity.h>

extern __declspec(dllimport) CCHAR KeNumberProcessors; /* not in headers any more */

#define GROUPS ((PROCESSORS + GROUP_SIZE - 1) / GROUP_SIZE)

static ULONG in_group(ULONG group)
{
	ULONG rest = PROCESSORS - group * GROUP_SIZE;
	return group >= GROUPS ? 0 : rest < GROUP_SIZE ? rest : GROUP_SIZE;
}

static KAFFINITY mask(ULONG count)
{
	return count == 64 ? ~(KAFFINITY)0 : ((KAFFINITY)1 << count) - 1;
}

static void counts(void)
{
	KAFFINITY active = 0;
	CHECK(KeQueryActiveProcessorCount(&active) == in_group(0) && active == mask(in_group(0)),
	      "PRC-51 group 0");
	CHECK(KeQueryActiveProcessorCount(NULL) == in_group(0), "PRC-51 without a mask");
	CHECK(KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS) == PROCESSORS,
	      "PRC-52 the system");
	CHECK(KeQueryActiveProcessorCountEx(GROUPS - 1) == in_group(GROUPS - 1),
	      "PRC-52 the last group");
	CHECK(KeQueryActiveProcessorCountEx(500) == 0, "PRC-52 an invalid group");
	CHECK(KeQueryMaximumProcessorCountEx(ALL_PROCESSOR_GROUPS) >= PROCESSORS,
	      "PRC-54 at least the active ones");
	CHECK(KeQueryMaximumProcessorCount() == KeQueryMaximumProcessorCountEx(0),
	      "PRC-53 group 0");
	CHECK(KeQueryMaximumProcessorCountEx(500) == 0, "PRC-54 an invalid group");
	CHECK(KeQueryActiveProcessors() == mask(in_group(0)), "PRC-55 mask of group 0");
	CHECK(KeQueryActiveGroupCount() == GROUPS, "PRC-60 active groups");
	CHECK(KeQueryMaximumGroupCount() >= GROUPS, "PRC-60 possible groups");
	CHECK(KeQueryGroupAffinity(GROUPS - 1) == mask(in_group(GROUPS - 1)),
	      "PRC-61 the last group's mask");
	CHECK(KeQueryGroupAffinity(500) == 0, "PRC-61 an invalid group");
	CHECK(KeNumberProcessors == (CCHAR)in_group(0), "PRC-70 KeNumberProcessors");
}

static void conversions(void)
{
	BOOLEAN good = TRUE;
	PROCESSOR_NUMBER number;
	for (ULONG index = 0; index < PROCESSORS; index++) {
		memset(&number, 0xff, sizeof number);
		good &= KeGetProcessorNumberFromIndex(index, &number) == STATUS_SUCCESS;
		good &= number.Group == index / GROUP_SIZE && number.Number == index % GROUP_SIZE &&
			number.Reserved == 0;
		good &= KeGetProcessorIndexFromNumber(&number) == index;
	}
	CHECK(good, "PRC-62 every index to its number and back");
	CHECK(KeGetProcessorNumberFromIndex(PROCESSORS, &number) == STATUS_INVALID_PARAMETER,
	      "DEF-126 an index too far");
	number = (PROCESSOR_NUMBER){.Group = GROUPS};
	CHECK(KeGetProcessorIndexFromNumber(&number) == INVALID_PROCESSOR_INDEX,
	      "PRC-59 a group too far");
	number = (PROCESSOR_NUMBER){.Number = GROUP_SIZE};
	CHECK(KeGetProcessorIndexFromNumber(&number) == INVALID_PROCESSOR_INDEX,
	      "PRC-59 a number too far");
	number = (PROCESSOR_NUMBER){.Reserved = 1};
	CHECK(KeGetProcessorIndexFromNumber(&number) == INVALID_PROCESSOR_INDEX,
	      "PRC-59 Reserved must be 0");
}

static void groups_of_threads(void)
{
	GROUP_AFFINITY wanted, first, previous;
	BOOLEAN there = TRUE, chained = TRUE;
	memset(&previous, 0xff, sizeof previous);
	for (ULONG index = 0; index < PROCESSORS; index++) {
		PROCESSOR_NUMBER number;
		wanted = (GROUP_AFFINITY){.Mask = (KAFFINITY)1 << (index % GROUP_SIZE),
					  .Group = (USHORT)(index / GROUP_SIZE)};
		KeSetSystemGroupAffinityThread(&wanted, &previous);
		there &= KeGetCurrentProcessorNumberEx(&number) == index;
		if (index == 0)
			first = previous;
		else
			chained &= previous.Mask == (KAFFINITY)1 << ((index - 1) % GROUP_SIZE);
	}
	CHECK(there, "DEF-127 on return the thread runs on a processor of the mask");
	CHECK(first.Mask == 0 && first.Group == 0, "PRC-69 no system affinity before: {0, 0}");
	CHECK(chained, "PRC-69 the previous system affinity");

	wanted = (GROUP_AFFINITY){.Mask = 1, .Group = 500};
	KeSetSystemGroupAffinityThread(&wanted, &previous);
	CHECK(previous.Mask == 0 && KeGetCurrentProcessorNumberEx(NULL) == PROCESSORS - 1,
	      "PRC-69 an invalid group changes nothing");
	wanted = (GROUP_AFFINITY){0};
	KeSetSystemGroupAffinityThread(&wanted, &previous);
	CHECK(previous.Mask == 0, "PRC-69 an empty mask changes nothing");

	wanted = (GROUP_AFFINITY){.Mask = 1};
	KeRevertToUserGroupAffinityThread(&wanted);
	CHECK(KeGetCurrentProcessorNumberEx(NULL) == 0, "PRC-69 back to a previous affinity");
	KeRevertToUserGroupAffinityThread(&first);
	wanted = (GROUP_AFFINITY){.Mask = 1};
	KeSetSystemGroupAffinityThread(&wanted, &previous);
	CHECK(previous.Mask == 0, "PRC-69 after a revert with Mask 0 there is no system affinity");
	KeRevertToUserGroupAffinityThread(&previous);
}

static void masks_of_threads(void)
{
	KIRQL old;
	ULONG last = in_group(0) - 1;
	CHECK(KeSetSystemAffinityThreadEx(1) == 0, "PRC-67 none before: 0");
	CHECK(KeGetCurrentProcessorNumberEx(NULL) == 0, "PRC-67 on processor 0");
	CHECK(KeSetSystemAffinityThreadEx((KAFFINITY)1 << last) == 1, "PRC-67 the previous mask");
	CHECK(KeGetCurrentProcessorNumberEx(NULL) == last,
	      "PRC-67 on the last processor of group 0");
	KeRevertToUserAffinityThreadEx(1);
	CHECK(KeGetCurrentProcessorNumberEx(NULL) == 0, "PRC-68 a mask that is not 0 is set");
	KeRevertToUserAffinityThreadEx(0);
	KeRevertToUserAffinityThreadEx((KAFFINITY)1 << last);
	CHECK(KeSetSystemAffinityThreadEx(1) == 0, "PRC-68 no effect without a set before");

	KeRaiseIrql(DISPATCH_LEVEL, &old);
	KeSetSystemAffinityThreadEx((KAFFINITY)1 << last);
	CHECK(KeGetCurrentProcessorNumberEx(NULL) == 0, "PRC-67 at DISPATCH_LEVEL the move waits");
	KeLowerIrql(old);
	CHECK(KeGetCurrentProcessorNumberEx(NULL) == last, "PRC-67 until the IRQL drops");
	KeRevertToUserAffinityThreadEx(0);
}

/* DEF-16: guard bytes behind the 168 bytes of a set. */
struct guarded {
	KAFFINITY_EX set;
	UCHAR guard[64];
};

static BOOLEAN intact(const struct guarded *g)
{
	for (ULONG i = 0; i < sizeof g->guard; i++) {
		if (g->guard[i] != 0xc3)
			return FALSE;
	}
	return TRUE;
}

static void sets(void)
{
	struct guarded a, b, r;
	GROUP_AFFINITY group;
	USHORT number = 99;
	ULONG last = PROCESSORS - 1;
	memset(&a, 0xc3, sizeof a);
	memset(&b, 0xc3, sizeof b);
	memset(&r, 0xc3, sizeof r);
	CHECK(KeInitializeAffinityEx(&a.set) == &a.set, "DEF-18 returns its argument");
	CHECK(a.set.Count == 1 && a.set.Size == 20 && a.set.Reserved == 0 && a.set.Bitmap[19] == 0,
	      "DEF-18 fields");
	CHECK(KeIsEmptyAffinityEx(&a.set) && KeCountSetBitsAffinityEx(&a.set) == 0, "DEF-20 empty");
	CHECK(KeFindFirstSetLeftAffinityEx(&a.set) == INVALID_PROCESSOR_INDEX,
	      "DEF-20 nothing to find");
	KeAddProcessorAffinityEx(&a.set, last);
	CHECK(a.set.Count == GROUPS && a.set.Bitmap[GROUPS - 1] == (1ULL << (last % GROUP_SIZE)),
	      "DEF-19 the last processor");
	CHECK(KeCheckProcessorAffinityEx(&a.set, last) && !KeIsEmptyAffinityEx(&a.set),
	      "DEF-20 is in");
	CHECK(KeFindFirstSetLeftAffinityEx(&a.set) == last &&
		      KeFindFirstSetRightAffinityEx(&a.set) == last,
	      "DEF-20 found");
	CHECK(KeIsSingleGroupAffinityEx(&a.set, &number) && number == GROUPS - 1,
	      "DEF-20 one group");
	KeFirstGroupAffinityEx(&group, &a.set);
	CHECK(group.Group == GROUPS - 1 && group.Mask == a.set.Bitmap[GROUPS - 1],
	      "DEF-20 first group");
	KeCopyAffinityEx(&b.set, &a.set);
	CHECK(KeIsEqualAffinityEx(&a.set, &b.set), "DEF-20 a copy is equal");
	KeRemoveProcessorAffinityEx(&b.set, last);
	CHECK(KeIsEmptyAffinityEx(&b.set) && !KeIsEqualAffinityEx(&a.set, &b.set),
	      "DEF-20 taken out");
	CHECK(KeIsSubsetAffinityEx(&b.set, &a.set) && !KeIsSubsetAffinityEx(&a.set, &b.set),
	      "DEF-20 subset");
	KeComplementAffinityEx(&r.set, &b.set);
	CHECK(KeCountSetBitsAffinityEx(&r.set) == PROCESSORS,
	      "DEF-20 the complement of nothing is all");
	CHECK(KeAndAffinityEx(&r.set, &a.set, &b.set) && KeIsEqualAffinityEx(&a.set, &b.set),
	      "DEF-20 and");
	KeSubtractAffinityEx(&r.set, &a.set, &b.set);
	CHECK(KeCountSetBitsAffinityEx(&b.set) == PROCESSORS - 1, "DEF-20 subtract");
	KeOrAffinityEx(&b.set, &a.set, &b.set);
	CHECK(KeIsEqualAffinityEx(&b.set, &r.set), "DEF-20 or, into an operand");
	CHECK(KeInterlockedClearProcessorAffinityEx(&b.set, 0) &&
		      !KeCheckProcessorAffinityEx(&b.set, 0),
	      "DEF-20 clear");
	CHECK(!KeInterlockedSetProcessorAffinityEx(&b.set, 0) &&
		      KeCheckProcessorAffinityEx(&b.set, 0),
	      "DEF-20 set");
	KeInitializeAffinityEx(&b.set);
	KeAddGroupAffinityEx(&b.set, 19, 5);
	CHECK(b.set.Count == 20 && KeQueryGroupAffinityEx(&b.set, 19) == 5,
	      "DEF-20 the highest group");
	KeRemoveGroupAffinityEx(&b.set, 19, 1);
	CHECK(KeQueryGroupAffinityEx(&b.set, 19) == 4, "DEF-20 taken out of the group");
	CHECK(intact(&a) && intact(&b) && intact(&r), "DEF-16 nothing is written past +0xA7");
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	counts();
	conversions();
	groups_of_threads();
	masks_of_threads();
	sets();
	return check_result();
}
