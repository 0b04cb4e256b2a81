/* SPDX-License-Identifier: MIT */
/*
 * mdl.c: memory descriptor lists: making, describing, freeing.
 *
 * IRQL <= DISPATCH_LEVEL; no locks: an MDL belongs to one caller at a time. Page frame numbers are
 * those of the model (mm/physical.c). The memory of an MDL counts as the calling driver's (VER-44).
 *
 * Implements PLT-49..51, PLT-54, PLT-81, DEF-149, DEF-150, DEF-166 and the checks of VER-32 for
 * building and freeing.
 */
#include <bugcodes.h>
#include "ex/pool.h"
#include "mm/mm_internal.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

#define TAG_MDL        ' ldM'
#define LENGTH_LONGEST 0xfffff000u /* 4 GiB - PAGE_SIZE (PLT-49) */

static size_t span(const void *address, size_t length)
{
	return (BYTE_OFFSET(address) + length + PAGE_SIZE - 1) >> PAGE_SHIFT;
}

size_t mm_mdl_pages(const MDL *mdl)
{
	return span((void *)(uintptr_t)mdl->ByteOffset, mdl->ByteCount);
}

/* IRQL any. */
SIZE_T NTAPI MmSizeOfMdl(PVOID Base, SIZE_T Length)
{
	return sizeof(MDL) + span(Base, Length) * sizeof(PFN_NUMBER);
}

static PMDL make(PMDL mdl, const void *address, size_t length)
{
	memset(mdl, 0, sizeof(*mdl));
	mdl->Size = (CSHORT)MmSizeOfMdl((PVOID)address, length);
	mdl->StartVa = PAGE_ALIGN(address);
	mdl->ByteOffset = BYTE_OFFSET(address);
	mdl->ByteCount = (ULONG)length;
	return mdl;
}

PMDL mm_mdl_allocate(const void *address, size_t length, uint64_t caller)
{
	PMDL mdl = ex_allocate_for(MmSizeOfMdl((PVOID)address, length), TAG_MDL, NonPagedPoolNx,
				   caller);
	return mdl ? make(mdl, address, length) : NULL;
}

/*
 * IRQL <= DISPATCH_LEVEL. An MDL for a range; with an IRP its first, or (SecondaryBuffer) the last
 * of its chain. 0: no memory, or Length above 4 GiB - PAGE_SIZE. (PLT-49)
 */
PMDL NTAPI IoAllocateMdl(PVOID VirtualAddress, ULONG Length, BOOLEAN SecondaryBuffer,
			 BOOLEAN ChargeQuota, PIRP Irp)
{
	(void)ChargeQuota;
	if (Length > LENGTH_LONGEST)
		return NULL;
	PMDL mdl = mm_mdl_allocate(VirtualAddress, Length, VF_CALLER());
	if (!mdl || !Irp)
		return mdl;
	PMDL *link = &Irp->MdlAddress;
	while (SecondaryBuffer && *link)
		link = &(*link)->Next;
	*link = mdl;
	return mdl;
}

/* The older form: in the caller's memory, or (MemoryDescriptorList 0) in pool. */
PMDL NTAPI MmCreateMdl(PMDL MemoryDescriptorList, PVOID Base, SIZE_T Length)
{
	if (Length > LENGTH_LONGEST)
		return NULL;
	return MemoryDescriptorList ? make(MemoryDescriptorList, Base, Length)
				    : mm_mdl_allocate(Base, Length, VF_CALLER());
}

static void check_free(PMDL mdl, uint64_t caller)
{
	uint64_t parameters[3] = {(uint64_t)mdl, (USHORT)mdl->MdlFlags, 0};
	bool own = !(mdl->MdlFlags & MDL_PARTIAL);
	const char *what = mdl->MdlFlags & MDL_PAGES_LOCKED ? "locked" : "mapped";
	if (!own || !(mdl->MdlFlags & (MDL_MAPPED_TO_SYSTEM_VA | MDL_PAGES_LOCKED)))
		return;
	vf_report_with(VF_MdlFreeMapped, "IoFreeMdl", caller, (uint64_t)mdl, parameters,
		       "frees the MDL %p (flags 0x%04x) while its pages are %s", mdl,
		       (USHORT)mdl->MdlFlags, what);
	if (mdl->MdlFlags & MDL_PAGES_LOCKED)
		mm_mdl_unlock(mdl);
}

/* IRQL <= DISPATCH_LEVEL. The pages must be unlocked and unmapped; a mapping of a partial MDL goes
 * with it. (DEF-150) */
VOID NTAPI IoFreeMdl(PMDL Mdl)
{
	uint64_t caller = VF_CALLER();
	if (vf_on())
		check_free(Mdl, caller);
	ex_block_free(Mdl, 0, caller, "IoFreeMdl");
}

/* ---- Describing
 * ------------------------------------------------------------------------------------- */

void mm_mdl_fill(PMDL mdl)
{
	PPFN_NUMBER frames = MmGetMdlPfnArray(mdl);
	size_t pages = mm_mdl_pages(mdl);
	for (size_t i = 0; i < pages; i++)
		frames[i] = mm_physical_of((char *)mdl->StartVa + i * PAGE_SIZE) >> PAGE_SHIFT;
}

static bool on_own_stack(const void *address)
{
	PKTHREAD thread = ke_thread();
	return address >= thread->StackLimit && address < thread->StackBase;
}

static void check_build(PMDL mdl, uint64_t caller)
{
	static const char ddi[] = "MmBuildMdlForNonPagedPool";
	const void *address = MmGetMdlVirtualAddress(mdl);
	struct ex_pool_block block;
	uint64_t parameters[3] = {ke_irql(), (uint64_t)mdl, (USHORT)mdl->MdlFlags};
	uint64_t pageable[3] = {ke_irql(), (uint64_t)mdl, (uint64_t)address};

	if (ex_pool_find(address, &block) == EX_POOL_PAGED)
		vf_report_with(VF_MdlBuildPaged, ddi, caller, (uint64_t)mdl, parameters,
			       "builds the MDL %p over paged pool at %p", mdl, address);
	else if (mm_is_unlocked_pageable((uint64_t)address))
		vf_report_with(VF_MdlPageable, ddi, caller, (uint64_t)mdl, pageable,
			       "builds the MDL %p over the pageable section at %p", mdl, address);
	else if (on_own_stack(address))
		vf_report(VF_MdlMisuse, ddi, caller, (uint64_t)mdl,
			  "builds the MDL %p over the stack at %p", mdl, address);
	if (mdl->MdlFlags & (MDL_PAGES_LOCKED | MDL_MAPPED_TO_SYSTEM_VA | MDL_PARTIAL |
			     MDL_SOURCE_IS_NONPAGED_POOL))
		vf_report(VF_MdlMisuse, ddi, caller, (uint64_t)mdl,
			  "builds the MDL %p, which is in use (flags 0x%04x)", mdl,
			  (USHORT)mdl->MdlFlags);
}

/* IRQL <= DISPATCH_LEVEL. The MDL describes resident memory; the rest of a chain is not touched.
 * (PLT-51) */
VOID NTAPI MmBuildMdlForNonPagedPool(PMDL MemoryDescriptorList)
{
	if (vf_on())
		check_build(MemoryDescriptorList, VF_CALLER());
	mm_mdl_fill(MemoryDescriptorList);
	MemoryDescriptorList->Process = NULL;
	MemoryDescriptorList->MappedSystemVa = MmGetMdlVirtualAddress(MemoryDescriptorList);
	MemoryDescriptorList->MdlFlags |= MDL_SOURCE_IS_NONPAGED_POOL;
}

/*
 * IRQL <= DISPATCH_LEVEL. Describe a part of what SourceMdl describes; Length 0: up to its end.
 * TargetMdl must have room for its pages, else bug check 0x40, as documented.
 */
VOID NTAPI IoBuildPartialMdl(PMDL SourceMdl, PMDL TargetMdl, PVOID VirtualAddress, ULONG Length)
{
	const char *source = MmGetMdlVirtualAddress(SourceMdl);
	ULONG offset = (ULONG)((char *)VirtualAddress - source);
	if (!Length)
		Length = SourceMdl->ByteCount - offset;
	size_t pages = span(VirtualAddress, Length);
	size_t room = ((USHORT)TargetMdl->Size - sizeof(MDL)) / sizeof(PFN_NUMBER);
	if (pages > room) {
		struct ke_bugcheck_detail detail = {
			.address = VF_CALLER(), .text = "the target MDL is too small for the part"};
		ke_bugcheck(TARGET_MDL_TOO_SMALL, (uint64_t)TargetMdl, (uint64_t)SourceMdl, pages,
			    room, &detail);
	}

	CSHORT inherited = MDL_SOURCE_IS_NONPAGED_POOL | MDL_MAPPED_TO_SYSTEM_VA |
			   MDL_IO_PAGE_READ | MDL_IO_SPACE;
	CSHORT kept = TargetMdl->MdlFlags & MDL_ALLOCATED_FIXED_SIZE;
	TargetMdl->MdlFlags = (CSHORT)(kept | MDL_PARTIAL | (SourceMdl->MdlFlags & inherited));
	TargetMdl->Process = SourceMdl->Process;
	TargetMdl->StartVa = PAGE_ALIGN(VirtualAddress);
	TargetMdl->ByteOffset = BYTE_OFFSET(VirtualAddress);
	TargetMdl->ByteCount = Length;
	TargetMdl->MappedSystemVa = (char *)SourceMdl->MappedSystemVa + offset;
	size_t first = ((char *)TargetMdl->StartVa - (char *)SourceMdl->StartVa) >> PAGE_SHIFT;
	memmove(MmGetMdlPfnArray(TargetMdl), MmGetMdlPfnArray(SourceMdl) + first,
		pages * sizeof(PFN_NUMBER));
}

/* IRQL <= DISPATCH_LEVEL. Drop bytes from the start. STATUS_INVALID_PARAMETER_2: more than there
 * are. */
NTSTATUS NTAPI MmAdvanceMdl(PMDL Mdl, ULONG NumberOfBytes)
{
	if (NumberOfBytes >= Mdl->ByteCount)
		return STATUS_INVALID_PARAMETER_2;
	char *start = (char *)MmGetMdlVirtualAddress(Mdl) + NumberOfBytes;
	size_t dropped = ((char *)PAGE_ALIGN(start) - (char *)Mdl->StartVa) >> PAGE_SHIFT;
	size_t pages = mm_mdl_pages(Mdl);
	PPFN_NUMBER frames = MmGetMdlPfnArray(Mdl);
	for (size_t i = 0; i < dropped && (Mdl->MdlFlags & MDL_PAGES_LOCKED); i++)
		mm_mdl_page_unlock(Mdl, i);
	memmove(frames, frames + dropped, (pages - dropped) * sizeof(PFN_NUMBER));
	Mdl->StartVa = PAGE_ALIGN(start);
	Mdl->ByteOffset = BYTE_OFFSET(start);
	Mdl->ByteCount -= NumberOfBytes;
	if (Mdl->MdlFlags & (MDL_MAPPED_TO_SYSTEM_VA | MDL_SOURCE_IS_NONPAGED_POOL))
		Mdl->MappedSystemVa = (char *)Mdl->MappedSystemVa + NumberOfBytes;
	return STATUS_SUCCESS;
}
