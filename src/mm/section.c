/* SPDX-License-Identifier: MIT */
/*
 * section.c: drivers' say over the paging of their sections.
 *
 * IRQL <= APC_LEVEL; no locks: counts and flags are atomic (mm/pageable.c reads them). A handle is
 * the address of our record of the section; for memory that is no section of its own, and so is
 * resident, it is `resident`.
 *
 * Implements DEF-337 (locking, MmPageEntireDriver, MmResetDriverPaging), VER-19.
 */
#include "mm/mm_internal.h"
#include "vf/vf.h"

static char resident;

static void lock(struct mm_image_section *section)
{
	/* Counted first: see trim_section. */
	atomic_fetch_add_explicit(&section->locks, 1, memory_order_seq_cst);
	if (vf_on())
		port_pages_protect((void *)section->base, section->size, section->protection);
}

/* The section of a handle; 0: resident memory, or no handle (reported). */
static struct mm_image_section *section_of(void *handle, uint64_t caller, const char *ddi)
{
	if (handle == &resident)
		return NULL;
	struct mm_image_section *section = mm_section_by_record(handle);
	if (!section && vf_on())
		vf_report(VF_MdlMisuse, ddi, caller, (uint64_t)handle,
			  "is called with %p, which is not the handle of a locked section", handle);
	return section;
}

/* IRQL <= APC_LEVEL. Keeps the section of the address in memory; returns a handle for the other
 * functions. */
PVOID NTAPI MmLockPagableDataSection(PVOID AddressWithinSection)
{
	struct mm_image_section *section = mm_section_find((uint64_t)AddressWithinSection);
	if (!section)
		return &resident;
	lock(section);
	return section;
}

/* IRQL <= APC_LEVEL. Locks nest. */
VOID NTAPI MmLockPagableSectionByHandle(PVOID ImageSectionHandle)
{
	struct mm_image_section *section = section_of(ImageSectionHandle, VF_CALLER(), __func__);
	if (section)
		lock(section);
}

/* IRQL <= APC_LEVEL. */
VOID NTAPI MmUnlockPagableImageSection(PVOID ImageSectionHandle)
{
	uint64_t caller = VF_CALLER();
	struct mm_image_section *section = section_of(ImageSectionHandle, caller, __func__);
	if (!section)
		return;
	uint32_t locks = atomic_load_explicit(&section->locks, memory_order_relaxed);
	while (locks &&
	       !atomic_compare_exchange_weak_explicit(&section->locks, &locks, locks - 1,
						      memory_order_seq_cst, memory_order_relaxed))
		;
	if (!locks && vf_on())
		vf_report(VF_MdlUnlockNotLocked, __func__, caller, section->base,
			  "unlocks the section %s, which is not locked", section->name);
	if (locks == 1 && vf_on() && atomic_load_explicit(&section->pageable, memory_order_relaxed))
		mm_pageable_remember(section->base, section->size);
}

static void make_pageable(struct mm_image_section *section)
{
	atomic_store_explicit(&section->pageable, true, memory_order_seq_cst);
	if (vf_on())
		mm_pageable_remember(section->base, section->size);
}

static void make_as_compiled(struct mm_image_section *section)
{
	if (section->compiled_pageable)
		return;
	atomic_store_explicit(&section->pageable, false, memory_order_seq_cst);
	if (vf_on())
		port_pages_protect((void *)section->base, section->size, section->protection);
}

/* IRQL <= APC_LEVEL. All sections of the driver become pageable. Returns its base; 0: the address
 * is in no driver. */
PVOID NTAPI MmPageEntireDriver(PVOID AddressWithinSection)
{
	struct mm_image_section *section = mm_section_find((uint64_t)AddressWithinSection);
	if (!section)
		return NULL;
	mm_sections_of_image(section->image_base, make_pageable);
	return (PVOID)section->image_base;
}

/* IRQL <= APC_LEVEL. As they were compiled: PAGE* pageable, the rest resident. */
VOID NTAPI MmResetDriverPaging(PVOID AddressWithinSection)
{
	struct mm_image_section *section = mm_section_find((uint64_t)AddressWithinSection);
	if (section)
		mm_sections_of_image(section->image_base, make_as_compiled);
}
