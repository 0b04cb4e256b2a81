/* SPDX-License-Identifier: MIT */
/*
 * lock.c: probing, locking and mapping what MDLs describe.
 *
 * IRQL <= DISPATCH_LEVEL (<= APC_LEVEL when pageable memory may have to come in); no locks: lock
 * counts are atomic, one per pool page and one per image section; other memory is resident and
 * needs none. A mapping is the memory's own address: the model has one address space, and pages of
 * an MDL lie one behind the other.
 *
 * Implements PLT-52..54, DEF-207, DEF-274, DEF-275, DEF-206 and the checks of VER-32 for locking
 * and mapping. Chosen: mapping into a user process is not supported and raises
 * STATUS_NOT_SUPPORTED. Pages of user processes: user_lock.c.
 */
#include "ex/pool.h"
#include "ke/guard.h"
#include "mm/mm_internal.h"
#include "mm/user.h"
#include "vf/vf.h"

/* An MDL in one of these states cannot be locked (VER-32, 0xB0). */
#define FLAGS_NOT_LOCKABLE                                                                         \
	(MDL_PAGES_LOCKED | MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL | MDL_PARTIAL |  \
	 MDL_IO_SPACE)

/* ---- Single pages
 * ---------------------------------------------------------------------------------- */

/* The count that keeps a page in; 0: it is resident anyway. */
static _Atomic uint32_t *lock_count(const void *address)
{
	const struct ex_arena *arena = ex_arena_of(address);
	if (arena) {
		struct ex_page *page = ex_page_of(arena, address);
		return page ? &page->locked : NULL;
	}
	struct mm_image_section *section = mm_section_find((uint64_t)address);
	return section ? &section->locks : NULL;
}

static void page_lock(void *address)
{
	_Atomic uint32_t *count = lock_count(address);
	if (count)
		atomic_fetch_add_explicit(count, 1, memory_order_seq_cst);
}

static void page_unlock(void *address)
{
	_Atomic uint32_t *count = lock_count(address);
	if (!count)
		return;
	uint32_t locks = atomic_load_explicit(count, memory_order_relaxed);
	/* Never below 0: the driver may have changed the MDL meanwhile. */
	while (locks &&
	       !atomic_compare_exchange_weak_explicit(count, &locks, locks - 1,
						      memory_order_seq_cst, memory_order_relaxed))
		;
	if (locks == 1 && vf_on() && mm_is_pageable((uint64_t)address))
		mm_pageable_remember((uint64_t)address, PAGE_SIZE);
}

/* The page is there and can be used so; brings it in. It is locked already, so it stays. */
static bool page_probe(char *address, bool user, bool write)
{
	unsigned char byte;
	if (!ke_guard_copy(&byte, address, 1))
		return false;
	if (!write)
		return true;
	/* A user page is probed by writing, as the processor would; a kernel page may be in use by
	 * others. */
	return user ? ke_guard_copy(address, &byte, 1) : port_pages_accessible(address, true);
}

/* ---- Locking
 * ------------------------------------------------------------------------------------------ */

static bool in_user_range(const MDL *mdl)
{
	uint64_t start = (uint64_t)MmGetMdlVirtualAddress(mdl);
	return start + mdl->ByteCount >= start && start + mdl->ByteCount <= MmUserProbeAddress;
}

NTSTATUS mm_mdl_lock(PMDL mdl, KPROCESSOR_MODE mode, LOCK_OPERATION operation, uint64_t caller)
{
	bool user = in_user_range(mdl);
	bool write = operation != IoReadAccess;
	size_t pages = mm_mdl_pages(mdl);
	size_t done = 0;
	if (mode != KernelMode && !user)
		return STATUS_ACCESS_VIOLATION;
	if (user && mm_user_current()) {
		NTSTATUS status = mm_user_lock(mdl, write);
		if (!NT_SUCCESS(status))
			return status;
		goto locked;
	}

	for (; done < pages; done++) {
		char *page = (char *)mdl->StartVa + done * PAGE_SIZE;
		/* The first page counts from the first byte: a probe must not touch what lies
		 * before it. */
		char *byte = done ? page : MmGetMdlVirtualAddress(mdl);
		page_lock(page);
		if (!page_probe(byte, user, write)) {
			page_unlock(page);
			break;
		}
	}
	if (done < pages) {
		while (done)
			page_unlock((char *)mdl->StartVa + --done * PAGE_SIZE);
		return STATUS_ACCESS_VIOLATION;
	}
	mm_mdl_fill(mdl);
locked:
	mdl->Process = user ? (PEPROCESS)ke_thread()->Process : NULL;
	mdl->MdlFlags |= (CSHORT)(MDL_PAGES_LOCKED | (write ? MDL_WRITE_OPERATION : 0));
	ex_live_add(EX_LIVE_MDL_LOCKED, mdl, sizeof(MDL), caller);
	return STATUS_SUCCESS;
}

void mm_mdl_page_unlock(const MDL *mdl, size_t i)
{
	if (!mdl->Process || !mm_user_page_unlock(mdl, i))
		page_unlock((char *)mdl->StartVa + i * PAGE_SIZE);
}

void mm_mdl_unlock(PMDL mdl)
{
	if (mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA)
		mm_mdl_unmap(mdl);
	size_t pages = mm_mdl_pages(mdl);
	for (size_t i = 0; i < pages; i++)
		mm_mdl_page_unlock(mdl, i);
	mdl->MdlFlags &=
		(CSHORT) ~(MDL_PAGES_LOCKED | MDL_MAPPED_TO_SYSTEM_VA | MDL_WRITE_OPERATION);
	ex_live_remove(EX_LIVE_MDL_LOCKED, mdl);
}

/* False: the lock must not be tried. */
static bool check_lock(PMDL mdl, KPROCESSOR_MODE mode, uint64_t caller)
{
	static const char ddi[] = "MmProbeAndLockPages";
	uint64_t wrong = (USHORT)mdl->MdlFlags & FLAGS_NOT_LOCKABLE;
	uint64_t parameters[3] = {ke_irql(), (uint64_t)mdl, (uint64_t)mode};
	if (vf_on() && ke_irql() > DISPATCH_LEVEL)
		vf_report_with(VF_MdlLockIrql, ddi, caller, (uint64_t)mdl, parameters,
			       "locks the pages of the MDL %p at %s (%u)", mdl,
			       vf_irql_name(ke_irql()), ke_irql());
	else if (vf_on() && ke_irql() > APC_LEVEL &&
		 (in_user_range(mdl) ||
		  mm_is_unlocked_pageable((uint64_t)MmGetMdlVirtualAddress(mdl))))
		vf_report_with(VF_MdlLockIrql, ddi, caller, (uint64_t)mdl, parameters,
			       "locks pageable memory by the MDL %p at %s (%u)", mdl,
			       vf_irql_name(ke_irql()), ke_irql());
	if (vf_on() && wrong) {
		uint64_t flags[3] = {(uint64_t)mdl, (USHORT)mdl->MdlFlags, wrong};
		vf_report_with(VF_MdlLockFlags, ddi, caller, (uint64_t)mdl, flags,
			       "locks the MDL %p, whose flags are 0x%04x", mdl,
			       (USHORT)mdl->MdlFlags);
	}
	return !(mdl->MdlFlags & (MDL_PAGES_LOCKED | MDL_SOURCE_IS_NONPAGED_POOL));
}

/*
 * IRQL <= APC_LEVEL for pageable memory, else <= DISPATCH_LEVEL. Raises STATUS_ACCESS_VIOLATION
 * when a page cannot be accessed so, or (UserMode) is no user memory. (PLT-52)
 */
VOID NTAPI MmProbeAndLockPages(PMDL MemoryDescriptorList, KPROCESSOR_MODE AccessMode,
			       LOCK_OPERATION Operation)
{
	uint64_t caller = VF_CALLER();
	if (!check_lock(MemoryDescriptorList, AccessMode, caller))
		return;
	NTSTATUS status = mm_mdl_lock(MemoryDescriptorList, AccessMode, Operation, caller);
	if (!NT_SUCCESS(status))
		ExRaiseStatus(status);
}

/* IRQL <= DISPATCH_LEVEL. Unmaps first. An MDL that is not locked: no effect, reported. (PLT-53) */
VOID NTAPI MmUnlockPages(PMDL MemoryDescriptorList)
{
	static const char ddi[] = "MmUnlockPages";
	PMDL mdl = MemoryDescriptorList;
	uint64_t caller = VF_CALLER();
	uint64_t irql[3] = {ke_irql(), (uint64_t)mdl, 0};
	uint64_t flags[3] = {(uint64_t)mdl, (USHORT)mdl->MdlFlags, 0};
	bool locked = mdl->MdlFlags & MDL_PAGES_LOCKED;
	if (vf_on() && ke_irql() > DISPATCH_LEVEL)
		vf_report_with(VF_MdlUnlockIrql, ddi, caller, (uint64_t)mdl, irql,
			       "unlocks the pages of the MDL %p at %s (%u)", mdl,
			       vf_irql_name(ke_irql()), ke_irql());
	if (vf_on() && !locked && (mdl->MdlFlags & MDL_SOURCE_IS_NONPAGED_POOL))
		vf_report_with(VF_MdlUnlockNonPaged, ddi, caller, (uint64_t)mdl, flags,
			       "unlocks the MDL %p, which describes nonpaged pool (flags 0x%04x)",
			       mdl, (USHORT)mdl->MdlFlags);
	else if (vf_on() && !locked)
		vf_report_with(VF_MdlUnlockNotLocked, ddi, caller, (uint64_t)mdl, flags,
			       "unlocks the MDL %p, which is not locked (flags 0x%04x)", mdl,
			       (USHORT)mdl->MdlFlags);
	if (vf_on() && locked && ex_memory_watch)
		ex_memory_watch(mdl, sizeof(*mdl), true, "MmUnlockPages", caller);
	if (locked)
		mm_mdl_unlock(mdl);
}

/* ---- Mapping
 * -------------------------------------------------------------------------------------------------
 */

/* The address at which all pages lie one behind the other; 0: they do not. */
static char *address_of_pages(const MDL *mdl)
{
	const PFN_NUMBER *frames = MmGetMdlPfnArray(mdl);
	size_t pages = mm_mdl_pages(mdl);
	for (size_t i = 1; i < pages; i++) {
		if (frames[i] != frames[0] + i)
			return NULL;
	}
	char *base = pages ? mm_virtual_of(frames[0] << PAGE_SHIFT) : NULL;
	return base ? base + mdl->ByteOffset : NULL;
}

void *mm_mdl_map(PMDL mdl, uint64_t caller, const char *ddi)
{
	CSHORT described = MDL_PAGES_LOCKED | MDL_PARTIAL | MDL_SOURCE_IS_NONPAGED_POOL;
	if (vf_on() &&
	    (!(mdl->MdlFlags & described) || (mdl->MdlFlags & MDL_SOURCE_IS_NONPAGED_POOL)))
		vf_report(VF_MdlMisuse, ddi, caller, (uint64_t)mdl,
			  "maps the MDL %p, %s (flags 0x%04x)", mdl,
			  mdl->MdlFlags & MDL_SOURCE_IS_NONPAGED_POOL
				  ? "which describes nonpaged pool"
				  : "whose pages are not locked",
			  (USHORT)mdl->MdlFlags);
	if (!(mdl->MdlFlags & described))
		return NULL;
	char *address = address_of_pages(mdl);
	if (!address) {
		address = mm_user_view(mdl);
		if (!address)
			return NULL;
		address += mdl->ByteOffset;
	}
	mdl->MappedSystemVa = address;
	mdl->MdlFlags |= (CSHORT)(MDL_MAPPED_TO_SYSTEM_VA |
				  (mdl->MdlFlags & MDL_PARTIAL ? MDL_PARTIAL_HAS_BEEN_MAPPED : 0));
	return address;
}

/*
 * KernelMode: IRQL <= DISPATCH_LEVEL; the address, or 0 when the pages do not lie one behind the
 * other. UserMode: <= APC_LEVEL; raises STATUS_NOT_SUPPORTED. Cache type and priority mean nothing
 * here. (PLT-53)
 */
PVOID NTAPI MmMapLockedPagesSpecifyCache(PMDL MemoryDescriptorList, KPROCESSOR_MODE AccessMode,
					 MEMORY_CACHING_TYPE CacheType, PVOID RequestedAddress,
					 ULONG BugCheckOnFailure, ULONG Priority)
{
	(void)CacheType;
	(void)RequestedAddress;
	(void)BugCheckOnFailure;
	(void)Priority;
	if (AccessMode != KernelMode)
		ExRaiseStatus(STATUS_NOT_SUPPORTED);
	return mm_mdl_map(MemoryDescriptorList, VF_CALLER(), __func__);
}

PVOID NTAPI MmMapLockedPages(PMDL MemoryDescriptorList, KPROCESSOR_MODE AccessMode)
{
	if (AccessMode != KernelMode)
		ExRaiseStatus(STATUS_NOT_SUPPORTED);
	return mm_mdl_map(MemoryDescriptorList, VF_CALLER(), __func__);
}

/* IRQL <= DISPATCH_LEVEL. (PLT-53) */
VOID NTAPI MmUnmapLockedPages(PVOID BaseAddress, PMDL MemoryDescriptorList)
{
	PMDL mdl = MemoryDescriptorList;
	uint64_t parameters[3] = {(uint64_t)mdl, (USHORT)mdl->MdlFlags, (uint64_t)BaseAddress};
	bool mapped =
		(mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) && mdl->MappedSystemVa == BaseAddress;
	if (vf_on() && !mapped)
		vf_report_with(VF_MdlUnmapNotMapped, "MmUnmapLockedPages", VF_CALLER(),
			       (uint64_t)mdl, parameters,
			       "unmaps the MDL %p from %p, where it is not mapped (flags 0x%04x)",
			       mdl, BaseAddress, (USHORT)mdl->MdlFlags);
	if (mapped)
		mm_mdl_unmap(mdl);
}
