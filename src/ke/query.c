/* SPDX-License-Identifier: MIT */
/*
 * Queries about processors, groups and nodes (PRC-51..66, DEF-126, DEF-137, DEF-152, DEF-163,
 * DEF-164, DEF-174, DEF-259, DEF-302).
 *
 * Any IRQL, NMI too; no locks. Active processors are those with the lowest indices: one load of
 * ke_processor_count answers every question, so that an answer never mixes two states, and all that
 * is asked later sees at least as many (PRC-38). The layout (ke/processor.c) says which group and
 * number an index has.
 *
 * Chosen: valid numbers and indices are those of active processors, plus the one that is being
 * added (PRC-9, PRC-64). A number with Reserved != 0 is invalid (PRC-59). A group of another than
 * an active or possible number has no processors. KeGetCurrentProcessorNumber in another group than
 * 0 is the number modulo the count that group 0 had when the processor came (PRC-57): what headers
 * read inline is the same. NUMA nodes are the groups: node n is group n.
 */
#include "ke/internal.h"

CCHAR KeNumberProcessors; /* PRC-70: kept by ke_processor_activate */

static uint32_t active_count(void)
{
	return atomic_load_explicit(&ke_processor_count, memory_order_acquire);
}

static bool is_known(uint32_t index)
{
	/* In this order: the one that joins is counted before it has joined. */
	return index == atomic_load(&ke_processor_joining) || index < active_count();
}

#define COUNTED_ALLOCATIONS 8

/* PRC-71: the thread has been told how many processors there are. */
static __attribute__((noinline)) VOID NTAPI note_counted(uint32_t count)
{
	PKTHREAD thread = ke_thread();
	if (ke_irql() > APC_LEVEL)
		return;
	thread->counted_processors = count;
	thread->counted_left = COUNTED_ALLOCATIONS;
}

struct ke_meaning ke_meaning_of(size_t size)
{
	PKTHREAD thread = ke_thread();
	struct ke_meaning meaning = {0};
	if (ke_irql() > APC_LEVEL)
		return meaning;
	meaning.addition = thread->change_start;
	if (thread->counted_left && thread->counted_left-- &&
	    thread->counted_processors < ke_processor_maximum &&
	    size % thread->counted_processors == 0)
		meaning.processors = thread->counted_processors;
	return meaning;
}

USHORT ke_legacy_group(void)
{
	return vf_strict_group_aware ? (USHORT)(ke_groups_of(active_count()) - 1) : 0;
}

KAFFINITY ke_affinity_active(USHORT group)
{
	return ke_group_mask(active_count(), group);
}

KAFFINITY ke_affinity_possible(USHORT group)
{
	return ke_group_mask(ke_processor_maximum, group);
}

/* Active processors of group 0; their mask into *ActiveProcessors, optional. Any IRQL. PRC-51. */
ULONG NTAPI KeQueryActiveProcessorCount(PKAFFINITY ActiveProcessors)
{
	uint32_t count = active_count();
	if (ActiveProcessors)
		*ActiveProcessors = ke_group_mask(count, 0);
	if (vf_on())
		note_counted(ke_group_count(count, 0));
	return ke_group_count(count, 0);
}

/* Active processors of a group, or with ALL_PROCESSOR_GROUPS of the system; 0 for an invalid group.
 * Any IRQL. PRC-52. */
ULONG NTAPI KeQueryActiveProcessorCountEx(USHORT GroupNumber)
{
	uint32_t count = active_count();
	if (GroupNumber != ALL_PROCESSOR_GROUPS)
		count = ke_group_count(count, GroupNumber);
	if (vf_on() && count)
		note_counted(count);
	return count;
}

/* The most processors that group 0 can have. Any IRQL. PRC-53. */
ULONG NTAPI KeQueryMaximumProcessorCount(VOID)
{
	return ke_group_count(ke_processor_maximum, 0);
}

/* The most that a group, or with ALL_PROCESSOR_GROUPS the system, can have; 0 for an invalid group.
 * Any IRQL. PRC-54. */
ULONG NTAPI KeQueryMaximumProcessorCountEx(USHORT GroupNumber)
{
	return GroupNumber == ALL_PROCESSOR_GROUPS
		       ? ke_processor_maximum
		       : ke_group_count(ke_processor_maximum, GroupNumber);
}

/* The mask of active processors of group 0. Any IRQL (rule IrqlKeApcLte1: APC_LEVEL). PRC-55. */
KAFFINITY NTAPI KeQueryActiveProcessors(VOID)
{
	return ke_affinity_active(0);
}

/* The mask of active processors of a group; 0 for an invalid group. Any IRQL. PRC-61. */
KAFFINITY NTAPI KeQueryGroupAffinity(USHORT GroupNumber)
{
	return ke_affinity_active(GroupNumber);
}

/* Groups with at least one active processor. Any IRQL. PRC-60. */
USHORT NTAPI KeQueryActiveGroupCount(VOID)
{
	return (USHORT)ke_groups_of(active_count());
}

/* The most groups there can be. Any IRQL. PRC-60. */
USHORT NTAPI KeQueryMaximumGroupCount(VOID)
{
	return (USHORT)ke_groups_of(ke_processor_maximum);
}

/* The index of the calling processor; group and number into *ProcNumber, optional. Any IRQL.
 * PRC-56. */
ULONG NTAPI KeGetCurrentProcessorNumberEx(PPROCESSOR_NUMBER ProcNumber)
{
	const struct ke_processor *self = ke_this();
	if (ProcNumber)
		*ProcNumber = self->number;
	return self->index;
}

#undef KeGetCurrentProcessorNumber
/* The number within group 0; on a processor of another group a number below the count of group 0.
 * Any IRQL. PRC-57. */
ULONG NTAPI KeGetCurrentProcessorNumber(VOID)
{
	return ke_this()->legacy_number;
}

/*
 * Group and number of the processor with this index. Any IRQL. STATUS_SUCCESS;
 * STATUS_INVALID_PARAMETER when no active processor has it. PRC-58, DEF-126.
 */
NTSTATUS NTAPI KeGetProcessorNumberFromIndex(ULONG ProcIndex, PPROCESSOR_NUMBER ProcNumber)
{
	if (!is_known(ProcIndex))
		return STATUS_INVALID_PARAMETER;
	*ProcNumber = ke_processor_number(ProcIndex);
	return STATUS_SUCCESS;
}

/* The index of an active processor, or INVALID_PROCESSOR_INDEX. Any IRQL. PRC-59. */
ULONG NTAPI KeGetProcessorIndexFromNumber(PPROCESSOR_NUMBER ProcNumber)
{
	if (ProcNumber->Reserved)
		return INVALID_PROCESSOR_INDEX;
	uint32_t index = ke_processor_index(ProcNumber->Group, ProcNumber->Number);
	return index != KE_NO_PROCESSOR && is_known(index) ? index : INVALID_PROCESSOR_INDEX;
}

/* The highest node number in use. Any IRQL. */
USHORT NTAPI KeQueryHighestNodeNumber(VOID)
{
	return (USHORT)(ke_groups_of(active_count()) - 1);
}

/* The node of the calling processor. Any IRQL. */
USHORT NTAPI KeGetCurrentNodeNumber(VOID)
{
	return ke_this()->number.Group;
}

/* The active processors of a node: mask and group, and their number; each optional. Zeros for an
 * invalid node. Any IRQL. */
VOID NTAPI KeQueryNodeActiveAffinity(USHORT NodeNumber, PGROUP_AFFINITY Affinity, PUSHORT Count)
{
	uint32_t active = active_count(), count = ke_group_count(active, NodeNumber);
	if (Affinity)
		*Affinity = (GROUP_AFFINITY){.Mask = ke_group_mask(active, NodeNumber),
					     .Group = count ? NodeNumber : 0};
	if (Count)
		*Count = (USHORT)count;
}

/* The most processors that a node can have. Any IRQL. */
USHORT NTAPI KeQueryNodeMaximumProcessorCount(USHORT NodeNumber)
{
	return (USHORT)ke_group_count(ke_processor_maximum, NodeNumber);
}

#undef KeGetCurrentThread
/* The thread that calls. Any IRQL. DEF-136. */
PKTHREAD NTAPI KeGetCurrentThread(VOID)
{
	return ke_thread();
}
