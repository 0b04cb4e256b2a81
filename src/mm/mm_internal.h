/* SPDX-License-Identifier: MIT */
/* mm_internal.h: what the files of mm share. */
#pragma once

#include "mm/mm.h"

/* A section of an image. `pageable` differs from what was compiled after MmPageEntireDriver. */
struct mm_image_section {
	_Atomic bool live;
	bool used; /* under the sections' lock */
	bool compiled_pageable;
	_Atomic bool pageable;
	_Atomic uint32_t locks; /* MmLockPagable*, MmProbeAndLockPages */
	unsigned protection;
	uint64_t image_base, base, size;
	char name[12];
};

/* The section that holds an address; 0: none. Any context. */
struct mm_image_section *mm_section_find(uint64_t address);
/* The same by the address of the record; 0: it is none. */
struct mm_image_section *mm_section_by_record(const void *record);
void mm_sections_of_image(uint64_t image_base, void (*each)(struct mm_image_section *section));
/* Present, or pageable and not there now: a read below DISPATCH_LEVEL succeeds. Any context. */
bool mm_address_valid(const void *address);
/* Accessible pageable pages: to be taken away at the next raise. */
void mm_pageable_remember(uint64_t base, size_t size);

/* ---- MDLs ---- */

/* Pages that the range of an MDL spans. */
size_t mm_mdl_pages(const MDL *mdl);
/* 0: no memory. Counts as the caller's. IRQL <= DISPATCH_LEVEL. */
PMDL mm_mdl_allocate(const void *address, size_t length, uint64_t caller);
/* Write the page frame numbers of the range. */
void mm_mdl_fill(PMDL mdl);
/* Map it: the address; 0: its pages do not lie one behind the other, or are not locked. */
void *mm_mdl_map(PMDL mdl, uint64_t caller, const char *ddi);
/* It is mapped: not any more, and its pages can be read and written again. */
void mm_mdl_unmap(PMDL mdl);
/* In MdlFlags, a bit without documented meaning for drivers: MmProtectMdlSystemAddress changed the
 * pages. */
#define MM_MDL_PROTECTED MDL_INTERNAL
/* One lock less on page `i` of a locked MDL. */
void mm_mdl_page_unlock(const MDL *mdl, size_t i);

/* ---- MDLs of user memory (mm/user_lock.c) ---- */

/*
 * Lock the pages of an MDL that lies in user memory of the current process, and fill in their
 * numbers. STATUS_ACCESS_VIOLATION; STATUS_INSUFFICIENT_RESOURCES: too much is locked.
 */
NTSTATUS mm_user_lock(PMDL mdl, bool write);
/* Page `i` of a locked MDL with a process. False: it is not one of these pages. */
bool mm_user_page_unlock(const MDL *mdl, size_t i);
/* An address for the pages one behind the other; 0: they are none of these, or no room. Its end. */
void *mm_user_view(const MDL *mdl);
void mm_user_view_release(const MDL *mdl, void *base);
