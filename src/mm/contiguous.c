/* SPDX-License-Identifier: MIT */
/*
 * contiguous.c: pages by physical address: contiguous memory, noncached memory, pages without an
 * address.
 *
 * IRQL <= DISPATCH_LEVEL as said for each; the pool's lock only. All of it is blocks of whole pages
 * in the pool's arenas: it counts as the driver's pool (VER-44), and its physical addresses follow
 * from the arena's.
 *
 * Implements VER-19, VER-20 and MmAllocatePagesForMdl's family. Chosen: caching means nothing here;
 * pages for an MDL are always contiguous and all or nothing, though the pages say that less may
 * come.
 */
#include "ex/pool.h"
#include "mm/mm_internal.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

#define TAG_CONTIGUOUS 'oCmM'
#define TAG_PAGES      'gPmM'
#define TRIES          32u /* for a run that crosses no boundary */

/* What the physical addresses of a block must be. */
struct physical_limits {
	uint64_t low, high; /* first and last allowed byte */
	uint64_t boundary;  /* no multiple of it lies inside; 0: none */
};

static bool fits(const struct physical_limits *limits, const void *block, size_t size)
{
	uint64_t first = mm_physical_of(block);
	uint64_t last = first + size - 1;
	if (first < limits->low || last > limits->high)
		return false;
	return !limits->boundary || first / limits->boundary == last / limits->boundary;
}

/* Whether the arena has any memory within the limits. */
static bool overlaps(const struct physical_limits *limits, const struct ex_arena *arena)
{
	uint64_t last = arena->physical + ((uint64_t)arena->page_count << PAGE_SHIFT) - 1;
	return arena->physical <= limits->high && last >= limits->low;
}

/* Blocks that do not fit are kept until one does, so that each try gives another one. */
static void *allocate_in(struct ex_arena *arena, size_t size, const struct physical_limits *limits,
			 ULONG tag, uint64_t caller)
{
	void *misfits[TRIES];
	unsigned tries = 0;
	void *found = NULL;
	while (!found && tries < TRIES) {
		void *block = ex_run_allocate(arena, size, PORT_READ | PORT_WRITE, tag, caller);
		if (!block)
			break;
		if (fits(limits, block, size))
			found = block;
		else
			misfits[tries++] = block;
	}
	while (tries)
		ex_free(misfits[--tries]);
	return found;
}

static void *allocate(size_t size, const struct physical_limits *limits, ULONG tag, uint64_t caller)
{
	static const enum ex_arena_id order[] = {EX_ARENA_NONPAGED, EX_ARENA_LOW};
	if (!size || (limits->boundary && size > limits->boundary))
		return NULL;
	size = (size + PAGE_SIZE - 1) & ~(size_t)(PAGE_SIZE - 1);
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		struct ex_arena *arena = &ex_arenas[order[i]];
		void *block = overlaps(limits, arena)
				      ? allocate_in(arena, size, limits, tag, caller)
				      : NULL;
		if (block)
			return block;
	}
	return NULL;
}

/* ---- Contiguous memory
 * ------------------------------------------------------------------------------ */

/* IRQL <= DISPATCH_LEVEL. Page aligned, not zeroed by contract. 0: none below that address. */
PVOID NTAPI MmAllocateContiguousMemory(SIZE_T NumberOfBytes,
				       PHYSICAL_ADDRESS HighestAcceptableAddress)
{
	struct physical_limits limits = {.high = (uint64_t)HighestAcceptableAddress.QuadPart};
	return allocate(NumberOfBytes, &limits, TAG_CONTIGUOUS, VF_CALLER());
}

/* The same between two addresses, and across no multiple of Boundary (a power of two; 0: none). */
PVOID NTAPI MmAllocateContiguousMemorySpecifyCache(SIZE_T NumberOfBytes, PHYSICAL_ADDRESS Lowest,
						   PHYSICAL_ADDRESS Highest,
						   PHYSICAL_ADDRESS Boundary,
						   MEMORY_CACHING_TYPE CacheType)
{
	(void)CacheType;
	struct physical_limits limits = {.low = (uint64_t)Lowest.QuadPart,
					 .high = (uint64_t)Highest.QuadPart,
					 .boundary = (uint64_t)Boundary.QuadPart};
	return allocate(NumberOfBytes, &limits, TAG_CONTIGUOUS, VF_CALLER());
}

/* IRQL <= DISPATCH_LEVEL. (VER-20) */
VOID NTAPI MmFreeContiguousMemory(PVOID BaseAddress)
{
	ex_block_free(BaseAddress, TAG_CONTIGUOUS, VF_CALLER(), __func__);
}

VOID NTAPI MmFreeContiguousMemorySpecifyCache(PVOID BaseAddress, SIZE_T NumberOfBytes,
					      MEMORY_CACHING_TYPE CacheType)
{
	(void)NumberOfBytes;
	(void)CacheType;
	ex_block_free(BaseAddress, TAG_CONTIGUOUS, VF_CALLER(), __func__);
}

/* IRQL <= APC_LEVEL. 0: no memory. (VER-19) */
PVOID NTAPI MmAllocateNonCachedMemory(SIZE_T NumberOfBytes)
{
	struct physical_limits limits = {.high = UINT64_MAX};
	return allocate(NumberOfBytes, &limits, TAG_CONTIGUOUS, VF_CALLER());
}

VOID NTAPI MmFreeNonCachedMemory(PVOID BaseAddress, SIZE_T NumberOfBytes)
{
	(void)NumberOfBytes;
	ex_block_free(BaseAddress, TAG_CONTIGUOUS, VF_CALLER(), __func__);
}

/* ---- Pages for an MDL
 * ---------------------------------------------------------------------------------- */

static PMDL pages_for_mdl(const struct physical_limits *limits, size_t size, bool zero,
			  uint64_t caller)
{
	size = (size + PAGE_SIZE - 1) & ~(size_t)(PAGE_SIZE - 1);
	if (!size || size > 0xfffff000u)
		return NULL;
	PMDL mdl = mm_mdl_allocate(NULL, size, caller);
	if (!mdl)
		return NULL;
	char *block = allocate(size, limits, TAG_PAGES, caller);
	if (!block) {
		ex_free(mdl);
		return NULL;
	}
	if (!zero && vf_on())
		memset(block, EX_FILL_FRESH, size);
	PPFN_NUMBER frames = MmGetMdlPfnArray(mdl);
	for (size_t i = 0; i < size >> PAGE_SHIFT; i++)
		frames[i] = mm_physical_of(block + i * PAGE_SIZE) >> PAGE_SHIFT;
	mdl->MdlFlags |= MDL_PAGES_LOCKED;
	return mdl;
}

/*
 * IRQL <= APC_LEVEL. Zeroed pages without an address: MmMapLockedPagesSpecifyCache gives one.
 * SkipBytes means nothing here. 0: no memory within the limits. End: MmFreePagesFromMdl, then
 * ExFreePool of the MDL. (VER-19)
 */
PMDL NTAPI MmAllocatePagesForMdl(PHYSICAL_ADDRESS LowAddress, PHYSICAL_ADDRESS HighAddress,
				 PHYSICAL_ADDRESS SkipBytes, SIZE_T TotalBytes)
{
	(void)SkipBytes;
	struct physical_limits limits = {.low = (uint64_t)LowAddress.QuadPart,
					 .high = (uint64_t)HighAddress.QuadPart};
	return pages_for_mdl(&limits, TotalBytes, true, VF_CALLER());
}

PMDL NTAPI MmAllocatePagesForMdlEx(PHYSICAL_ADDRESS LowAddress, PHYSICAL_ADDRESS HighAddress,
				   PHYSICAL_ADDRESS SkipBytes, SIZE_T TotalBytes,
				   MEMORY_CACHING_TYPE CacheType, ULONG Flags)
{
	(void)SkipBytes;
	(void)CacheType;
	struct physical_limits limits = {.low = (uint64_t)LowAddress.QuadPart,
					 .high = (uint64_t)HighAddress.QuadPart};
	return pages_for_mdl(&limits, TotalBytes, !(Flags & MM_DONT_ZERO_ALLOCATION), VF_CALLER());
}

/* IRQL <= APC_LEVEL. The MDL itself stays: ExFreePool. */
VOID NTAPI MmFreePagesFromMdl(PMDL MemoryDescriptorList)
{
	PMDL mdl = MemoryDescriptorList;
	uint64_t caller = VF_CALLER();
	PPFN_NUMBER frames = MmGetMdlPfnArray(mdl);
	struct ex_pool_block block;
	void *base = mm_mdl_pages(mdl) ? mm_virtual_of(frames[0] << PAGE_SHIFT) : NULL;
	bool own = base && ex_pool_find(base, &block) == EX_POOL_NONPAGED && block.base == base &&
		   block.tag == TAG_PAGES;
	if (!own) {
		if (vf_on())
			vf_report(VF_MdlMisuse, __func__, caller, (uint64_t)mdl,
				  "frees the pages of the MDL %p, which MmAllocatePagesForMdl did "
				  "not make",
				  mdl);
		return;
	}
	ex_block_free(base, TAG_PAGES, caller, __func__);
	mdl->MdlFlags &= (CSHORT) ~(MDL_PAGES_LOCKED | MDL_MAPPED_TO_SYSTEM_VA);
	mdl->ByteCount = 0;
}
