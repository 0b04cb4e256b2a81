/* SPDX-License-Identifier: MIT */
/*
 * KAFFINITY_EX: sets of processors over groups (DEF-15..DEF-21).
 *
 * Any IRQL, NMI too; no locks: a set belongs to its owner (the interlocked forms excepted). Nothing
 * is written past Bitmap[19]: drivers hold blocks of 0xA8 bytes (DEF-16), and this machine has at
 * most 20 groups.
 *
 * Chosen: a set whose Count is not in 1..32, or whose Size is neither 20 nor 32, was never
 * initialized; it is reported, counts as empty and is not changed. Bits of absent processors may
 * stand in a set; the complement is taken within the active processors. "Left" is the highest
 * index, "right" the lowest.
 */
#include "ke/internal.h"

#define GROUPS KE_MAXIMUM_GROUPS

_Static_assert(offsetof(KAFFINITY_EX, Bitmap) == 8 && sizeof(KAFFINITY_EX) == 0xa8, "DEF-15");
_Static_assert(GROUPS == 20, "DEF-15");

#define HERE __func__, __builtin_return_address(0)

static bool is_set(const KAFFINITY_EX *set, const char *ddi, void *return_address)
{
	if (set->Count >= 1 && set->Count <= 32 && (set->Size == GROUPS || set->Size == 32))
		return true;
	if (vf_on())
		vf_report(VF_AffinityUninitialized, ddi, vf_caller(return_address),
			  (uint64_t)(uintptr_t)set,
			  "was given the block %p with Count %u and Size %u, which was never "
			  "initialized",
			  set, set->Count, set->Size);
	return false;
}

/* How many masks of a set mean something here. */
static unsigned used(const KAFFINITY_EX *set)
{
	return set->Count < GROUPS ? set->Count : GROUPS;
}

static uint64_t mask_at(const KAFFINITY_EX *set, unsigned group)
{
	return group < used(set) ? set->Bitmap[group] : 0;
}

static void clear(KAFFINITY_EX *set)
{
	memset(set->Bitmap, 0, sizeof set->Bitmap);
	set->Count = 1;
	set->Size = GROUPS;
	set->Reserved = 0;
}

/* Let the set have masks up to this group; those that were not in use become empty. */
static void extend(KAFFINITY_EX *set, unsigned group)
{
	for (unsigned g = set->Count; g <= group; g++)
		set->Bitmap[g] = 0;
	if (set->Count <= group)
		set->Count = (USHORT)(group + 1);
}

/* Where a processor's bit is; false, with a report, when there is no such processor (DEF-19). */
static bool locate(ULONG index, PROCESSOR_NUMBER *number, const void *set, const char *ddi,
		   void *return_address)
{
	if (NT_SUCCESS(KeGetProcessorNumberFromIndex(index, number)))
		return true;
	if (vf_on())
		vf_report(VF_AffinityIndex, ddi, vf_caller(return_address),
			  (uint64_t)(uintptr_t)set,
			  "was given the processor index %u; this machine has %u processors", index,
			  KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS));
	return false;
}

static uint64_t bit(const PROCESSOR_NUMBER *number)
{
	return 1ull << number->Number;
}

/* Make an empty set of any 0xA8 bytes; returns the argument. Any IRQL. DEF-18. */
PVOID NTAPI KeInitializeAffinityEx(PKAFFINITY_EX Affinity)
{
	clear(Affinity);
	return Affinity;
}

/* Put the processor with this system-wide index in. Any IRQL. DEF-19. */
VOID NTAPI KeAddProcessorAffinityEx(PKAFFINITY_EX Affinity, ULONG Index)
{
	PROCESSOR_NUMBER number;
	if (!is_set(Affinity, HERE) || !locate(Index, &number, Affinity, HERE))
		return;
	extend(Affinity, number.Group);
	Affinity->Bitmap[number.Group] |= bit(&number);
}

/* Take it out. Any IRQL. DEF-20. */
VOID NTAPI KeRemoveProcessorAffinityEx(PKAFFINITY_EX Affinity, ULONG Index)
{
	PROCESSOR_NUMBER number;
	if (!is_set(Affinity, HERE) || !locate(Index, &number, Affinity, HERE))
		return;
	if (number.Group < used(Affinity))
		Affinity->Bitmap[number.Group] &= ~bit(&number);
}

/* TRUE if it is in. Any IRQL. DEF-20. */
BOOLEAN NTAPI KeCheckProcessorAffinityEx(PCKAFFINITY_EX Affinity, ULONG Index)
{
	PROCESSOR_NUMBER number;
	if (!is_set(Affinity, HERE) || !NT_SUCCESS(KeGetProcessorNumberFromIndex(Index, &number)))
		return FALSE;
	return (mask_at(Affinity, number.Group) & bit(&number)) != 0;
}

/* The same, and put it in at once, atomically. The set must have a mask for the processor's group.
 * Any IRQL. DEF-20. */
BOOLEAN NTAPI KeInterlockedSetProcessorAffinityEx(PKAFFINITY_EX Affinity, ULONG Index)
{
	PROCESSOR_NUMBER number;
	if (!is_set(Affinity, HERE) || !locate(Index, &number, Affinity, HERE))
		return FALSE;
	if (number.Group >= used(Affinity))
		extend(Affinity, number.Group);
	return (__atomic_fetch_or(&Affinity->Bitmap[number.Group], bit(&number), __ATOMIC_SEQ_CST) &
		bit(&number)) != 0;
}

/* TRUE if it was in; take it out at once, atomically. Any IRQL. DEF-20. */
BOOLEAN NTAPI KeInterlockedClearProcessorAffinityEx(PKAFFINITY_EX Affinity, ULONG Index)
{
	PROCESSOR_NUMBER number;
	if (!is_set(Affinity, HERE) || !locate(Index, &number, Affinity, HERE) ||
	    number.Group >= used(Affinity))
		return FALSE;
	return (__atomic_fetch_and(&Affinity->Bitmap[number.Group], ~bit(&number),
				   __ATOMIC_SEQ_CST) &
		bit(&number)) != 0;
}

/* ---- Whole sets ---- */

enum operation { COPY, AND, OR, SUBTRACT };

/* result = one OP two; result may be one of them, uninitialized or 0. TRUE if the result is not
 * empty. */
static BOOLEAN combine(const KAFFINITY_EX *one, const KAFFINITY_EX *two, KAFFINITY_EX *result,
		       enum operation operation, const char *ddi, void *return_address)
{
	KAFFINITY_EX sum;
	uint64_t any = 0;
	bool valid = is_set(one, ddi, return_address);
	if (two && !is_set(two, ddi, return_address))
		valid = false;
	clear(&sum);
	for (unsigned group = 0; valid && group < GROUPS; group++) {
		uint64_t a = mask_at(one, group), b = two ? mask_at(two, group) : 0;
		uint64_t mask = operation == AND        ? a & b
				: operation == OR       ? a | b
				: operation == SUBTRACT ? a & ~b
							: a;
		sum.Bitmap[group] = mask;
		any |= mask;
		if (mask)
			sum.Count = (USHORT)(group + 1);
	}
	if (result)
		memcpy(result, &sum, sizeof sum);
	return any != 0;
}

/* Destination, which need not be initialized, becomes what Source is. Any IRQL. DEF-20. */
VOID NTAPI KeCopyAffinityEx(PKAFFINITY_EX Destination, PCKAFFINITY_EX Source)
{
	combine(Source, NULL, Destination, COPY, HERE);
}

/* What is in both, into *Result, optional. TRUE if there is anything. Any IRQL. DEF-20. */
BOOLEAN NTAPI KeAndAffinityEx(PCKAFFINITY_EX One, PCKAFFINITY_EX Two, PKAFFINITY_EX Result)
{
	return combine(One, Two, Result, AND, HERE);
}

/* What is in either. Any IRQL. DEF-20. */
VOID NTAPI KeOrAffinityEx(PCKAFFINITY_EX One, PCKAFFINITY_EX Two, PKAFFINITY_EX Result)
{
	combine(One, Two, Result, OR, HERE);
}

/* What is in One and not in Two, into *Result, optional. TRUE if there is anything. Any IRQL.
 * DEF-20. */
BOOLEAN NTAPI KeSubtractAffinityEx(PCKAFFINITY_EX One, PCKAFFINITY_EX Two, PKAFFINITY_EX Result)
{
	return combine(One, Two, Result, SUBTRACT, HERE);
}

/* The active processors that are not in Affinity. Any IRQL. DEF-20. */
VOID NTAPI KeComplementAffinityEx(PKAFFINITY_EX Result, PCKAFFINITY_EX Affinity)
{
	KAFFINITY_EX active;
	clear(&active);
	active.Count = KeQueryActiveGroupCount();
	for (USHORT group = 0; group < active.Count; group++)
		active.Bitmap[group] = ke_affinity_active(group);
	combine(&active, Affinity, Result, SUBTRACT, HERE);
}

/* TRUE if nothing is in. Any IRQL. DEF-20. */
BOOLEAN NTAPI KeIsEmptyAffinityEx(PCKAFFINITY_EX Affinity)
{
	return !combine(Affinity, NULL, NULL, COPY, HERE);
}

/* TRUE if the same processors are in both. Any IRQL. DEF-20. */
BOOLEAN NTAPI KeIsEqualAffinityEx(PCKAFFINITY_EX One, PCKAFFINITY_EX Two)
{
	return !combine(One, Two, NULL, SUBTRACT, HERE) && !combine(Two, One, NULL, SUBTRACT, HERE);
}

/* TRUE if all of One is in Two. Any IRQL. DEF-20. */
BOOLEAN NTAPI KeIsSubsetAffinityEx(PCKAFFINITY_EX One, PCKAFFINITY_EX Two)
{
	return !combine(One, Two, NULL, SUBTRACT, HERE);
}

/* TRUE if exactly one group has processors in; *Group, optional, gets its number. Any IRQL. DEF-20.
 */
BOOLEAN NTAPI KeIsSingleGroupAffinityEx(PCKAFFINITY_EX Affinity, PUSHORT Group)
{
	unsigned found = 0;
	if (!is_set(Affinity, HERE))
		return FALSE;
	for (unsigned group = 0; group < used(Affinity); group++) {
		if (!Affinity->Bitmap[group])
			continue;
		found++;
		if (Group)
			*Group = (USHORT)group;
	}
	return found == 1;
}

static ULONG count_bits(uint64_t mask)
{
	ULONG count = 0;
	for (; mask; mask &= mask - 1)
		count++;
	return count;
}

/* How many are in. Any IRQL. DEF-20. */
ULONG NTAPI KeCountSetBitsAffinityEx(PCKAFFINITY_EX Affinity)
{
	ULONG count = 0;
	if (is_set(Affinity, HERE)) {
		for (unsigned group = 0; group < used(Affinity); group++)
			count += count_bits(Affinity->Bitmap[group]);
	}
	return count;
}

/* The lowest or highest index that is in; bits that no processor can have count as if every group
 * were full. */
static ULONG find_first(const KAFFINITY_EX *set, bool highest)
{
	ULONG found = INVALID_PROCESSOR_INDEX;
	for (unsigned group = 0; group < used(set); group++) {
		for (uint64_t mask = set->Bitmap[group]; mask; mask &= mask - 1) {
			unsigned number = (unsigned)__builtin_ctzll(mask);
			ULONG index = ke_processor_index(group, number);
			if (index == KE_NO_PROCESSOR)
				index = group * ke_group_size + number;
			if (found == INVALID_PROCESSOR_INDEX ||
			    (highest ? index > found : index < found))
				found = index;
		}
	}
	return found;
}

/* The highest index that is in, or INVALID_PROCESSOR_INDEX. Any IRQL. DEF-20. */
ULONG NTAPI KeFindFirstSetLeftAffinityEx(PCKAFFINITY_EX Affinity)
{
	return is_set(Affinity, HERE) ? find_first(Affinity, true) : INVALID_PROCESSOR_INDEX;
}

/* The lowest index that is in, or INVALID_PROCESSOR_INDEX. Any IRQL. DEF-20. */
ULONG NTAPI KeFindFirstSetRightAffinityEx(PCKAFFINITY_EX Affinity)
{
	return is_set(Affinity, HERE) ? find_first(Affinity, false) : INVALID_PROCESSOR_INDEX;
}

/* ---- Groups ---- */

/* False, with a report, when the machine cannot have this group. */
static bool is_group(USHORT group, const void *set, const char *ddi, void *return_address)
{
	if (group < GROUPS)
		return true;
	if (vf_on())
		vf_report(VF_AffinityIndex, ddi, vf_caller(return_address),
			  (uint64_t)(uintptr_t)set, "was given the group %u; there are at most %u",
			  group, GROUPS);
	return false;
}

/* Put the processors of a group in. Any IRQL. DEF-20. */
VOID NTAPI KeAddGroupAffinityEx(PKAFFINITY_EX Affinity, USHORT Group, KAFFINITY Mask)
{
	if (!is_set(Affinity, HERE) || !is_group(Group, Affinity, HERE))
		return;
	extend(Affinity, Group);
	Affinity->Bitmap[Group] |= Mask;
}

/* Take them out. Any IRQL. DEF-20. */
VOID NTAPI KeRemoveGroupAffinityEx(PKAFFINITY_EX Affinity, USHORT Group, KAFFINITY Mask)
{
	if (is_set(Affinity, HERE) && is_group(Group, Affinity, HERE) && Group < used(Affinity))
		Affinity->Bitmap[Group] &= ~Mask;
}

/* Keep only these. Any IRQL. DEF-20. */
VOID NTAPI KeAndGroupAffinityEx(PKAFFINITY_EX Affinity, USHORT Group, KAFFINITY Mask)
{
	if (!is_set(Affinity, HERE) || !is_group(Group, Affinity, HERE))
		return;
	uint64_t kept = mask_at(Affinity, Group) & Mask;
	clear(Affinity);
	extend(Affinity, Group);
	Affinity->Bitmap[Group] = kept;
}

/* The processors of a group that are in. Any IRQL. DEF-20. */
KAFFINITY NTAPI KeQueryGroupAffinityEx(PCKAFFINITY_EX Affinity, USHORT Group)
{
	return is_set(Affinity, HERE) ? mask_at(Affinity, Group) : 0;
}

/* The first group with processors in; {0, 0} when the set is empty. Any IRQL. DEF-20. */
VOID NTAPI KeFirstGroupAffinityEx(PGROUP_AFFINITY GroupAffinity, PCKAFFINITY_EX Affinity)
{
	*GroupAffinity = (GROUP_AFFINITY){0};
	if (!is_set(Affinity, HERE))
		return;
	for (unsigned group = 0; group < used(Affinity); group++) {
		if (Affinity->Bitmap[group]) {
			GroupAffinity->Mask = Affinity->Bitmap[group];
			GroupAffinity->Group = (USHORT)group;
			return;
		}
	}
}
