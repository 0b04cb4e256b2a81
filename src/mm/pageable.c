/* SPDX-License-Identifier: MIT */
/*
 * pageable.c: pageable sections of drivers and paged pool, under the verifier (force IRQL
 * checking).
 *
 * Real paging in small: pageable memory is inaccessible until somebody touches it below
 * DISPATCH_LEVEL; the fault brings it in (mm_pageable_fault), and the next raise to DISPATCH_LEVEL,
 * on any processor, takes it away again (mm_pageable_trim). Locked memory stays. A touch at
 * DISPATCH_LEVEL or above is then a fault that cannot be served: bug check 0xD1 or 0xA.
 *
 * What this misses: memory that another processor brought in between the raise and the touch is
 * accessible to both, as on Windows. It never accuses an innocent driver: locked memory that was
 * trimmed by a race is brought in at any IRQL.
 *
 * Contexts: mm_pageable_* and mm_is_* in any context, NMI too: no locks. Sections are written at
 * PASSIVE_LEVEL under `section_lock`; readers see an entry complete (`state`, release/acquire) or
 * not at all, and entries are never moved. What was brought in is remembered in a ring of atomic
 * words; the one who takes a word out takes the memory away.
 *
 * Implements DEF-335, DEF-337, DEF-340, VER-35. Without the verifier nothing is ever trimmed.
 */
#include "ex/pool.h"
#include "ke/ke.h"
#include "mm/mm_internal.h"
#include "mm/user.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

#define SECTIONS 512u /* of all images */
#define RING     64u  /* ranges that are in at a time; more push the oldest out */

static struct mm_image_section sections[SECTIONS];
static _Atomic uint32_t section_count; /* entries ever used (release: the entry is complete) */
static struct ke_lock section_lock;

/* A range of pages: number of the first page, count << 36; 0: empty. */
static _Atomic uint64_t ring[RING];
static _Atomic uint32_t ring_next;
_Atomic uint32_t mm_pageable_present;

/* ---- Sections ---------------------------------------------------------------------------------
 */

struct mm_image_section *mm_section_find(uint64_t address)
{
	uint32_t count = atomic_load_explicit(&section_count, memory_order_acquire);
	for (uint32_t i = 0; i < count; i++) {
		struct mm_image_section *section = &sections[i];
		if (atomic_load_explicit(&section->live, memory_order_acquire) &&
		    address - section->base < section->size)
			return section;
	}
	return NULL;
}

struct mm_image_section *mm_section_by_record(const void *record)
{
	uint32_t count = atomic_load_explicit(&section_count, memory_order_acquire);
	for (uint32_t i = 0; i < count; i++) {
		if (record == &sections[i])
			return atomic_load_explicit(&sections[i].live, memory_order_acquire)
				       ? &sections[i]
				       : NULL;
	}
	return NULL;
}

bool mm_section_add(const struct mm_section *new)
{
	KIRQL old = ke_lock_raise(&section_lock);
	uint32_t count = atomic_load_explicit(&section_count, memory_order_relaxed);
	uint32_t i = 0;
	while (i < count && sections[i].used)
		i++;
	bool room = i < SECTIONS;
	if (room) {
		struct mm_image_section *section = &sections[i];
		section->used = true;
		section->image_base = new->image_base;
		section->base = (uintptr_t) new->base;
		section->size = new->size;
		section->protection = new->protection;
		section->compiled_pageable = new->pageable;
		rtl_copy(section->name, sizeof(section->name), new->name);
		atomic_store_explicit(&section->locks, 0, memory_order_relaxed);
		atomic_store_explicit(&section->pageable, new->pageable, memory_order_relaxed);
		/* Release: pairs with mm_section_find. */
		atomic_store_explicit(&section->live, true, memory_order_release);
		if (i == count)
			atomic_store_explicit(&section_count, count + 1, memory_order_release);
	}
	ke_lock_lower(&section_lock, old);
	if (room && new->pageable && vf_on())
		mm_pageable_remember((uintptr_t) new->base, new->size);
	return room;
}

/* An entry is used again only for another address, so a late reader of an old one compares in vain.
 */
static void forget(bool (*match)(const struct mm_image_section *section, uint64_t value),
		   uint64_t value)
{
	KIRQL old = ke_lock_raise(&section_lock);
	uint32_t count = atomic_load_explicit(&section_count, memory_order_relaxed);
	for (uint32_t i = 0; i < count; i++) {
		if (!sections[i].used || !match(&sections[i], value))
			continue;
		atomic_store_explicit(&sections[i].live, false, memory_order_release);
		sections[i].used = false;
	}
	ke_lock_lower(&section_lock, old);
}

static bool has_base(const struct mm_image_section *section, uint64_t base)
{
	return section->base == base;
}

static bool has_image(const struct mm_image_section *section, uint64_t image_base)
{
	return section->image_base == image_base;
}

void mm_section_remove(void *base)
{
	forget(has_base, (uintptr_t)base);
}

void mm_section_remove_image(uint64_t image_base)
{
	forget(has_image, image_base);
}

void mm_sections_of_image(uint64_t image_base, void (*each)(struct mm_image_section *section))
{
	uint32_t count = atomic_load_explicit(&section_count, memory_order_acquire);
	for (uint32_t i = 0; i < count; i++) {
		struct mm_image_section *section = &sections[i];
		if (atomic_load_explicit(&section->live, memory_order_acquire) &&
		    section->image_base == image_base)
			each(section);
	}
}

/* ---- What is pageable ---------------------------------------------------------------------------
 */

static bool in_paged_pool(uint64_t address)
{
	return ex_arena_of((const void *)address) == &ex_arenas[EX_ARENA_PAGED];
}

/* How often the page is locked by MDLs. */
static uint32_t pool_locks(uint64_t address)
{
	struct ex_page *page = ex_page_of(&ex_arenas[EX_ARENA_PAGED], (const void *)address);
	return page ? atomic_load_explicit(&page->locked, memory_order_seq_cst) : 0;
}

bool mm_is_pageable(uint64_t address)
{
	if (in_paged_pool(address))
		return true;
	const struct mm_image_section *section = mm_section_find(address);
	return section && atomic_load_explicit(&section->pageable, memory_order_relaxed);
}

bool mm_is_unlocked_pageable(uint64_t address)
{
	if (in_paged_pool(address))
		return !pool_locks(address);
	const struct mm_image_section *section = mm_section_find(address);
	return section && atomic_load_explicit(&section->pageable, memory_order_relaxed) &&
	       !atomic_load_explicit(&section->locks, memory_order_seq_cst);
}

/* ---- Taking away
 * ---------------------------------------------------------------------------------- */

/*
 * A lock is counted before its owner makes the memory accessible; here the count is read again
 * after the memory was taken away (both sequentially consistent): whoever comes second gives it
 * back.
 */
static void trim_section(struct mm_image_section *section)
{
	if (!atomic_load_explicit(&section->pageable, memory_order_seq_cst) ||
	    atomic_load_explicit(&section->locks, memory_order_seq_cst))
		return;
	port_pages_protect((void *)section->base, section->size, PORT_NONE);
	if (atomic_load_explicit(&section->locks, memory_order_seq_cst) ||
	    !atomic_load_explicit(&section->pageable, memory_order_seq_cst))
		port_pages_protect((void *)section->base, section->size, section->protection);
}

/* Pages that are no longer pool are inaccessible already; a freed run that was handed out again
 * faults once more. */
static void trim_pool(uint64_t base, uint64_t pages)
{
	for (uint64_t i = 0; i < pages;) {
		uint64_t start = i;
		while (i < pages && !pool_locks(base + i * PAGE_SIZE))
			i++;
		if (i > start)
			port_pages_protect((void *)(base + start * PAGE_SIZE),
					   (i - start) * PAGE_SIZE, PORT_NONE);
		while (i < pages && pool_locks(base + i * PAGE_SIZE))
			i++;
	}
	for (uint64_t i = 0; i < pages; i++) {
		if (pool_locks(base + i * PAGE_SIZE))
			port_pages_protect((void *)(base + i * PAGE_SIZE), PAGE_SIZE,
					   PORT_READ | PORT_WRITE);
	}
}

static void trim_range(uint64_t range)
{
	uint64_t base = (range & ((UINT64_C(1) << 36) - 1)) << PAGE_SHIFT;
	if (in_paged_pool(base)) {
		trim_pool(base, range >> 36);
		return;
	}
	struct mm_image_section *section = mm_section_find(base);
	if (section)
		trim_section(section);
}

void mm_pageable_trim_now(void)
{
	/* Acquire: pairs with mm_pageable_remember; what it put in before it set the flag is found
	 * below. */
	if (!atomic_exchange_explicit(&mm_pageable_present, 0, memory_order_acquire))
		return;
	mm_user_trim();
	for (unsigned i = 0; i < RING; i++) {
		if (!atomic_load_explicit(&ring[i], memory_order_relaxed))
			continue;
		uint64_t range = atomic_exchange_explicit(&ring[i], 0, memory_order_acq_rel);
		if (range)
			trim_range(range);
	}
}

/* ---- Bringing in
 * ---------------------------------------------------------------------------------- */

void mm_pageable_remember(uint64_t base, size_t size)
{
	uint64_t range = base >> PAGE_SHIFT | (size >> PAGE_SHIFT) << 36;
	unsigned i = atomic_fetch_add_explicit(&ring_next, 1, memory_order_relaxed) % RING;
	uint64_t pushed = atomic_exchange_explicit(&ring[i], range, memory_order_acq_rel);
	atomic_store_explicit(&mm_pageable_present, 1, memory_order_release);
	if (pushed && pushed != range)
		trim_range(pushed);
}

void mm_pageable_bring(void *base, size_t size)
{
	uint64_t low = (uintptr_t)base & ~(uint64_t)(PAGE_SIZE - 1);
	uint64_t high = ((uintptr_t)base + size + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1);
	port_pages_protect((void *)low, high - low, PORT_READ | PORT_WRITE);
	mm_pageable_remember(low, high - low);
}

static bool bring_section(struct mm_image_section *section, unsigned access, KIRQL irql)
{
	bool may_fault = irql < DISPATCH_LEVEL ||
			 !atomic_load_explicit(&section->pageable, memory_order_seq_cst) ||
			 atomic_load_explicit(&section->locks, memory_order_seq_cst);
	if (!may_fault || !vf_on() || !(access & section->protection))
		return false;
	port_pages_protect((void *)section->base, section->size, section->protection);
	if (atomic_load_explicit(&section->pageable, memory_order_seq_cst))
		mm_pageable_remember(section->base, section->size);
	return true;
}

bool mm_pageable_fault(uint64_t address, unsigned access, KIRQL irql)
{
	if (!in_paged_pool(address)) {
		struct mm_image_section *section = mm_section_find(address);
		return section && bring_section(section, access, irql);
	}
	if (!vf_on() || !(access & (PORT_READ | PORT_WRITE)) ||
	    !ex_page_live((const void *)address))
		return false;
	if (irql >= DISPATCH_LEVEL && !pool_locks(address))
		return false;
	mm_pageable_bring((void *)(address & ~(uint64_t)(PAGE_SIZE - 1)), PAGE_SIZE);
	return true;
}
