/* SPDX-License-Identifier: MIT */
/*
 * pool.c: the pool's functions for drivers.
 *
 * Contexts: as documented for each; above DISPATCH_LEVEL they survive (see pool_reserve.c). No
 * locks here. Implements PLT-45, PLT-46, PLT-48, DEF-131, DEF-140, DEF-148, DEF-170, DEF-182.
 *
 * Chosen: an allocation of 0 bytes gives a block of its own; quota and sessions are accepted and
 * mean nothing; the priorities mean nothing, there is no low-memory state. ExAllocatePool2 knows
 * the required flags that are documented and refuses the others.
 */
#include "ex/pool.h"
#include "vf/vf.h"

#define TAG_NONE 0x656e6f4eu /* "None" */

/* Extended parameters of ExAllocatePool3: the low byte is the kind, bit 8 says that it may be
 * ignored. */
struct pool_extended {
	uint64_t type;
	uint64_t value;
};
#define EXTENDED_PRIORITY  1
#define EXTENDED_SECURE    2
#define EXTENDED_NUMA_NODE 3

static void *allocate(POOL_TYPE type, SIZE_T size, ULONG tag, bool compliance, uint64_t caller,
		      const char *ddi)
{
	struct ex_request request = {
		.size = size,
		.tag = tag,
		.heap = ex_heap_of_type(type),
		.cache_aligned = type & POOL_TYPE_CACHE_ALIGNED,
		.zero = type & POOL_TYPE_ZERO,
		.driver = true,
		.caller = caller,
		.ddi = ddi,
		.compliance = compliance,
	};
	return ex_block_allocate(&request);
}

/* IRQL <= DISPATCH_LEVEL, paged pool APC_LEVEL. 0: no memory. (PLT-46, DEF-170) */
PVOID NTAPI ExAllocatePool(POOL_TYPE PoolType, SIZE_T NumberOfBytes)
{
	return allocate(PoolType, NumberOfBytes, TAG_NONE, false, VF_CALLER(), __func__);
}

/*
 * IRQL <= DISPATCH_LEVEL, paged pool APC_LEVEL. 0: no memory; with POOL_RAISE_IF_ALLOCATION_FAILURE
 * it raises STATUS_INSUFFICIENT_RESOURCES instead. Not zeroed unless POOL_ZERO_ALLOCATION. (PLT-46)
 */
PVOID NTAPI ExAllocatePoolWithTag(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
	void *block = allocate(PoolType, NumberOfBytes, Tag, true, VF_CALLER(), __func__);
	if (!block && (PoolType & POOL_RAISE_IF_ALLOCATION_FAILURE))
		ExRaiseStatus(STATUS_INSUFFICIENT_RESOURCES);
	return block;
}

/* The same; the priority means nothing here. */
PVOID NTAPI ExAllocatePoolWithTagPriority(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag,
					  EX_POOL_PRIORITY Priority)
{
	(void)Priority;
	void *block = allocate(PoolType, NumberOfBytes, Tag, true, VF_CALLER(), __func__);
	if (!block && (PoolType & POOL_RAISE_IF_ALLOCATION_FAILURE))
		ExRaiseStatus(STATUS_INSUFFICIENT_RESOURCES);
	return block;
}

static void *with_quota(POOL_TYPE type, SIZE_T size, ULONG tag, uint64_t caller, const char *ddi)
{
	void *block = allocate(type, size, tag, false, caller, ddi);
	if (!block && !(type & POOL_QUOTA_FAIL_INSTEAD_OF_RAISE))
		ExRaiseStatus(STATUS_INSUFFICIENT_RESOURCES);
	return block;
}

/* IRQL <= APC_LEVEL by rule. Raises STATUS_INSUFFICIENT_RESOURCES unless
 * POOL_QUOTA_FAIL_INSTEAD_OF_RAISE. */
PVOID NTAPI ExAllocatePoolWithQuota(POOL_TYPE PoolType, SIZE_T NumberOfBytes)
{
	return with_quota(PoolType, NumberOfBytes, TAG_NONE, VF_CALLER(), __func__);
}

PVOID NTAPI ExAllocatePoolWithQuotaTag(POOL_TYPE PoolType, SIZE_T NumberOfBytes, ULONG Tag)
{
	return with_quota(PoolType, NumberOfBytes, Tag, VF_CALLER(), __func__);
}

/* ---- Flags ------------------------------------------------------------------------------------
 */

#define FLAGS_REQUIRED 0xffffffffull
#define FLAGS_POOLS    (POOL_FLAG_NON_PAGED | POOL_FLAG_NON_PAGED_EXECUTE | POOL_FLAG_PAGED)
#define FLAGS_KNOWN                                                                                \
	(FLAGS_POOLS | POOL_FLAG_USE_QUOTA | POOL_FLAG_UNINITIALIZED | POOL_FLAG_SESSION |         \
	 POOL_FLAG_CACHE_ALIGNED | POOL_FLAG_RAISE_ON_FAILURE)

static enum ex_heap_id heap_of_flags(POOL_FLAGS flags)
{
	if (flags & POOL_FLAG_PAGED)
		return EX_HEAP_PAGED;
	return flags & POOL_FLAG_NON_PAGED ? EX_HEAP_NX : EX_HEAP_EXECUTE;
}

static void *allocate_by_flags(POOL_FLAGS flags, SIZE_T size, ULONG tag, uint64_t caller,
			       const char *ddi)
{
	uint64_t required = flags & FLAGS_REQUIRED;
	NTSTATUS status = STATUS_INVALID_PARAMETER;
	void *block = NULL;

	ULONG64 pools = flags & FLAGS_POOLS;
	bool one_pool = pools && !(pools & (pools - 1));
	if (!tag || !one_pool || (required & ~FLAGS_KNOWN)) {
		if (vf_on())
			vf_report(VF_PoolFlags, ddi, caller, 0,
				  "is called with flags 0x%I64x and tag 0x%08x", flags, tag);
	} else {
		struct ex_request request = {
			.size = size,
			.tag = tag,
			.heap = heap_of_flags(flags),
			.cache_aligned = flags & POOL_FLAG_CACHE_ALIGNED,
			.zero = !(flags & POOL_FLAG_UNINITIALIZED),
			.driver = true,
			.caller = caller,
			.ddi = ddi,
		};
		block = ex_block_allocate(&request);
		status = STATUS_INSUFFICIENT_RESOURCES;
	}
	if (!block && (flags & POOL_FLAG_RAISE_ON_FAILURE))
		ExRaiseStatus(status);
	return block;
}

/*
 * IRQL <= DISPATCH_LEVEL, paged pool APC_LEVEL. Zeroed unless POOL_FLAG_UNINITIALIZED. 0: no
 * memory, bad flags or tag 0; with POOL_FLAG_RAISE_ON_FAILURE it raises
 * STATUS_INSUFFICIENT_RESOURCES or STATUS_INVALID_PARAMETER instead. (PLT-45)
 */
PVOID NTAPI ExAllocatePool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag)
{
	return allocate_by_flags(Flags, NumberOfBytes, Tag, VF_CALLER(), __func__);
}

static bool extended_known(const struct pool_extended *parameters, ULONG count)
{
	for (ULONG i = 0; i < count; i++) {
		uint64_t kind = parameters[i].type & 0xff;
		bool optional = parameters[i].type & 0x100;
		if (kind != EXTENDED_PRIORITY && kind != EXTENDED_NUMA_NODE && !optional)
			return false;
	}
	return true;
}

/* The same with extended parameters: priority and node mean nothing; a secure pool there is not. */
PVOID NTAPI ExAllocatePool3(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag,
			    PVOID ExtendedParameters, ULONG ExtendedParametersCount)
{
	if (extended_known(ExtendedParameters, ExtendedParameters ? ExtendedParametersCount : 0))
		return allocate_by_flags(Flags, NumberOfBytes, Tag, VF_CALLER(), __func__);
	if (Flags & POOL_FLAG_RAISE_ON_FAILURE)
		ExRaiseStatus(STATUS_INVALID_PARAMETER);
	return NULL;
}

/* ---- Free ---------------------------------------------------------------------------------------
 */

/* IRQL <= DISPATCH_LEVEL, paged blocks APC_LEVEL. Takes blocks of every allocator. (PLT-48) */
VOID NTAPI ExFreePool(PVOID P)
{
	ex_block_free(P, 0, VF_CALLER(), __func__);
}

/* The same; a tag that is not 0 must be the block's. */
VOID NTAPI ExFreePoolWithTag(PVOID P, ULONG Tag)
{
	ex_block_free(P, Tag, VF_CALLER(), __func__);
}

VOID NTAPI ExFreePool2(PVOID P, ULONG Tag, PVOID ExtendedParameters, ULONG ExtendedParametersCount)
{
	(void)ExtendedParameters;
	(void)ExtendedParametersCount;
	ex_block_free(P, Tag, VF_CALLER(), __func__);
}

/* The bytes of the block that may be used; *QuotaCharged is always FALSE. IRQL <= DISPATCH_LEVEL.
 */
SIZE_T NTAPI ExQueryPoolBlockSize(PVOID PoolBlock, PBOOLEAN QuotaCharged)
{
	struct ex_place place;
	*QuotaCharged = FALSE;
	if (!ex_place_find(PoolBlock, &place) || !place.start)
		return 0;
	return vf_on() ? place.block->size : place.room;
}
