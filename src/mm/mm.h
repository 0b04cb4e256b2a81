/* SPDX-License-Identifier: MIT */
/*
 * mm.h: pageable memory, locked pages and physical addresses, for the rest of the core.
 */
#pragma once

#include <ntifs.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ke/pageable.h"
#include "port/port.h"

/* ---- Pageable memory under the verifier (DEF-337, VER-35): see mm/pageable.c ---- */

/*
 * The loader names every section of an image that has whole pages of its own, after it has set its
 * protection; PAGE* sections are pageable (DEF-335). `name` is copied. False: the table is full.
 * PASSIVE_LEVEL.
 */
struct mm_section {
	uint64_t image_base;
	void *base;
	size_t size;         /* whole pages */
	unsigned protection; /* PORT_READ ... */
	bool pageable;
	const char *name;
};
bool mm_section_add(const struct mm_section *section);
/* The memory at `base` goes away (INIT is discarded). */
void mm_section_remove(void *base);
/* All of an image goes away. */
void mm_section_remove_image(uint64_t image_base);
/* Bring paged pool in, for code that is about to touch it. Any context. */
void mm_pageable_bring(void *base, size_t size);

/* ---- Locked pages ---- */

/* Pages of [base, base + size) that an MDL holds locked, or that a nonpaged-pool MDL describes. Any
 * context. */
size_t mm_pages_locked(const void *base, size_t size);
/* They are freed although they are locked: forget the locks. */
void mm_pages_forget_locks(const void *base, size_t size);
/*
 * Lock the pages of an MDL as MmProbeAndLockPages does, without raising. IRQL <= DISPATCH_LEVEL, <=
 * APC_LEVEL for pageable memory. STATUS_ACCESS_VIOLATION: a page is not there, cannot be written,
 * or is no user memory although the mode says so. `caller`: the driver on whose behalf; MDLs that
 * are locked are live objects (EX_LIVE_MDL_LOCKED, ex/ex.h).
 */
NTSTATUS mm_mdl_lock(PMDL mdl, KPROCESSOR_MODE mode, LOCK_OPERATION operation, uint64_t caller);
/* Unlock (and unmap) them. IRQL <= DISPATCH_LEVEL. */
void mm_mdl_unlock(PMDL mdl);

/* ---- Physical addresses of the model: any context ---- */

/* 0 when the address is not kernel memory that is present. The page offset is kept. */
uint64_t mm_physical_of(const void *address);
/* The inverse; 0 when it is no memory of the model. */
void *mm_virtual_of(uint64_t physical);
