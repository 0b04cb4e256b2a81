/* SPDX-License-Identifier: MIT */
/*
 * mapping.c: reserved mapping addresses, and the protection of mappings.
 *
 * IRQL as said for each; `mappings_lock` protects the list of reservations.
 *
 * A mapping in Ketch is the memory's own address (mm/lock.c). So a reserved range is only a promise
 * that the mapping succeeds: its own addresses are never accessible, and the address that the map
 * function returns is the one to use. For the same reason a protection holds for every use of the
 * memory, until it is unmapped.
 *
 * Implements MmAllocateMappingAddress's family and MmProtectMdlSystemAddress; misuse is MdlMisuse.
 */
#include "ex/pool.h"
#include "mm/mm_internal.h"
#include "vf/vf.h"

#define TAG_RESERVED 'vRmM'

struct reserved_mapping {
	void *base; /* what the driver holds */
	size_t size;
	ULONG tag;
	PMDL mdl; /* mapped; 0: none */
	struct reserved_mapping *next;
};

static struct reserved_mapping *mappings;
static struct ke_lock mappings_lock; /* DISPATCH_LEVEL, before ex_pool_lock */

/* The reservation with this address and tag. The lock is held. */
static struct reserved_mapping **find(const void *base, ULONG tag)
{
	struct reserved_mapping **link = &mappings;
	while (*link && ((*link)->base != base || (*link)->tag != tag))
		link = &(*link)->next;
	return link;
}

static void misuse(const char *ddi, uint64_t caller, const void *base, const char *what)
{
	if (vf_on())
		vf_report(VF_MdlMisuse, ddi, caller, (uint64_t)base, "is called for %p, %s", base,
			  what);
}

/* IRQL <= APC_LEVEL. Address space for NumberOfBytes; 0: none, or PoolTag 0. */
PVOID NTAPI MmAllocateMappingAddress(SIZE_T NumberOfBytes, ULONG PoolTag)
{
	size_t size = (NumberOfBytes + PAGE_SIZE - 1) & ~(size_t)(PAGE_SIZE - 1);
	if (!size || !PoolTag)
		return NULL;
	struct reserved_mapping *new = ex_allocate(sizeof(*new), TAG_RESERVED, NonPagedPoolNx);
	if (!new)
		return NULL;
	new->base = port_pages_reserve(NULL, size);
	if (!new->base) {
		ex_free(new);
		return NULL;
	}
	new->size = size;
	new->tag = PoolTag;
	KIRQL old = ke_lock_raise(&mappings_lock);
	new->next = mappings;
	mappings = new;
	ke_lock_lower(&mappings_lock, old);
	return new->base;
}

/* IRQL <= APC_LEVEL. The tag of the allocation; nothing is mapped. */
VOID NTAPI MmFreeMappingAddress(PVOID BaseAddress, ULONG PoolTag)
{
	KIRQL old = ke_lock_raise(&mappings_lock);
	struct reserved_mapping **link = find(BaseAddress, PoolTag);
	struct reserved_mapping *mapping = *link;
	if (mapping && !mapping->mdl)
		*link = mapping->next;
	ke_lock_lower(&mappings_lock, old);
	if (!mapping || mapping->mdl) {
		misuse(__func__, VF_CALLER(), BaseAddress,
		       mapping ? "which is still mapped" : "which is no reservation with this tag");
		return;
	}
	port_pages_release(mapping->base, mapping->size);
	ex_free(mapping);
}

/* IRQL <= DISPATCH_LEVEL. The address of the pages; 0: they do not fit, or the reservation is in
 * use. */
PVOID NTAPI MmMapLockedPagesWithReservedMapping(PVOID MappingAddress, ULONG PoolTag,
						PMDL MemoryDescriptorList,
						MEMORY_CACHING_TYPE CacheType)
{
	(void)CacheType;
	PMDL mdl = MemoryDescriptorList;
	uint64_t caller = VF_CALLER();
	KIRQL old = ke_lock_raise(&mappings_lock);
	struct reserved_mapping *mapping = *find(MappingAddress, PoolTag);
	bool fits = mapping && !mapping->mdl && mm_mdl_pages(mdl) <= mapping->size >> PAGE_SHIFT;
	if (fits)
		mapping->mdl = mdl;
	ke_lock_lower(&mappings_lock, old);
	if (!fits) {
		misuse(__func__, caller, MappingAddress,
		       !mapping ? "which is no reservation with this tag"
				: "where the MDL does not fit");
		return NULL;
	}
	void *address = mm_mdl_map(mdl, caller, __func__);
	if (!address)
		mapping->mdl = NULL;
	return address;
}

/* IRQL <= DISPATCH_LEVEL. `BaseAddress`: the reservation's. */
VOID NTAPI MmUnmapReservedMapping(PVOID BaseAddress, ULONG PoolTag, PMDL MemoryDescriptorList)
{
	KIRQL old = ke_lock_raise(&mappings_lock);
	struct reserved_mapping *mapping = *find(BaseAddress, PoolTag);
	bool mapped = mapping && mapping->mdl == MemoryDescriptorList;
	if (mapped)
		mapping->mdl = NULL;
	ke_lock_lower(&mappings_lock, old);
	if (mapped)
		mm_mdl_unmap(MemoryDescriptorList);
	else
		misuse(__func__, VF_CALLER(), BaseAddress, "where the MDL is not mapped");
}

/* ---- Protection
 * ----------------------------------------------------------------------------------- */

/* PAGE_* as the port's bits; -1: not a protection of a mapping. */
static int port_protection(ULONG protect)
{
	switch (protect) {
	case PAGE_NOACCESS:
		return PORT_NONE;
	case PAGE_READONLY:
		return PORT_READ;
	case PAGE_READWRITE:
		return PORT_READ | PORT_WRITE;
	case PAGE_EXECUTE:
	case PAGE_EXECUTE_READ:
		return PORT_READ | PORT_EXECUTE;
	case PAGE_EXECUTE_READWRITE:
		return PORT_READ | PORT_WRITE | PORT_EXECUTE;
	default:
		return -1;
	}
}

/*
 * IRQL <= DISPATCH_LEVEL. STATUS_SUCCESS; STATUS_NOT_MAPPED_VIEW: the MDL is not mapped;
 * STATUS_INVALID_PAGE_PROTECTION. Unmapping gives the pages back to reading and writing.
 */
NTSTATUS NTAPI MmProtectMdlSystemAddress(PMDL MemoryDescriptorList, ULONG NewProtect)
{
	PMDL mdl = MemoryDescriptorList;
	int protection = port_protection(NewProtect);
	if (!(mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA))
		return STATUS_NOT_MAPPED_VIEW;
	if (protection < 0)
		return STATUS_INVALID_PAGE_PROTECTION;
	if (!port_pages_protect(PAGE_ALIGN(mdl->MappedSystemVa), mm_mdl_pages(mdl) << PAGE_SHIFT,
				(unsigned)protection))
		return STATUS_INSUFFICIENT_RESOURCES;
	if (protection == (PORT_READ | PORT_WRITE))
		mdl->MdlFlags &= (CSHORT)~MM_MDL_PROTECTED;
	else
		mdl->MdlFlags |= MM_MDL_PROTECTED;
	return STATUS_SUCCESS;
}

void mm_mdl_unmap(PMDL mdl)
{
	if (mdl->MdlFlags & MM_MDL_PROTECTED)
		port_pages_protect(PAGE_ALIGN(mdl->MappedSystemVa), mm_mdl_pages(mdl) << PAGE_SHIFT,
				   PORT_READ | PORT_WRITE);
	if (!(mdl->MdlFlags & MDL_PARTIAL) || (mdl->MdlFlags & MDL_PARTIAL_HAS_BEEN_MAPPED))
		mm_user_view_release(mdl, PAGE_ALIGN(mdl->MappedSystemVa));
	mdl->MdlFlags &= (CSHORT) ~(MDL_MAPPED_TO_SYSTEM_VA | MDL_PARTIAL_HAS_BEEN_MAPPED |
				    MM_MDL_PROTECTED);
}
