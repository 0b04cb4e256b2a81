/* SPDX-License-Identifier: MIT */
/*
 * physical.c: physical addresses of the model, and which pages are locked.
 *
 * The pool's arenas are the machine's RAM: each has a fixed place (ex/pool_pages.c). Any other
 * kernel page (images, stacks) has its own address as its physical one, and a user page its address
 * with bit 47 set: both lie above all RAM, so the mapping is the same for ever, has an inverse, and
 * costs nothing. A user page that an MDL has locked is the frame that holds it (mm/user_lock.c).
 *
 * Contexts: any, NMI too; no locks.
 * Implements DEF-203, DEF-273, and the lock counts behind VER-44 and VER-60.
 */
#include "ex/pool.h"
#include "mm/mm_internal.h"
#include "mm/user.h"

#define KERNEL_BASE 0x400000000000u
#define USER_BIT    (UINT64_C(1) << 47)

uint64_t mm_physical_of(const void *address)
{
	uint64_t value = (uintptr_t)address;
	const struct ex_arena *arena = ex_arena_of(address);
	if (arena)
		return ex_page_live(address) ? arena->physical + (value - (uintptr_t)arena->base)
					     : 0;
	if (value >> 47)
		return 0; /* not canonical, or an address of Windows' own kernel */
	const void *locked = mm_user_locked(value);
	if (locked)
		return (uintptr_t)locked;
	if (!mm_address_valid(address))
		return 0;
	return value >= KERNEL_BASE ? value : value | USER_BIT;
}

void *mm_virtual_of(uint64_t physical)
{
	for (unsigned i = 0; i < EX_ARENAS; i++) {
		const struct ex_arena *arena = &ex_arenas[i];
		if (physical - arena->physical < (uint64_t)arena->page_count << PAGE_SHIFT) {
			void *address = arena->base + (physical - arena->physical);
			return ex_page_live(address) ? address : NULL;
		}
	}
	if (physical & USER_BIT)
		physical &= ~USER_BIT;
	else if (physical < KERNEL_BASE)
		return NULL;
	return physical >> 47 || !mm_address_valid((void *)physical) ? NULL : (void *)physical;
}

bool mm_address_valid(const void *address)
{
	return mm_user_accessible((uintptr_t)address, false) ||
	       mm_is_unlocked_pageable((uintptr_t)address);
}

/* The pages of [base, base + size) that are locked; `forget`: until now. */
static size_t count_locked(const void *base, size_t size, bool forget)
{
	const struct ex_arena *arena = ex_arena_of(base);
	size_t locked = 0;
	if (!arena || !size)
		return 0;
	uint32_t last = ex_page_number(arena, (const char *)base + size - 1);
	uint32_t end = atomic_load_explicit(&arena->used, memory_order_acquire);
	for (uint32_t page = ex_page_number(arena, base); page <= last && page < end; page++) {
		if (!atomic_load_explicit(&arena->pages[page].locked, memory_order_relaxed))
			continue;
		locked++;
		if (forget)
			atomic_store_explicit(&arena->pages[page].locked, 0, memory_order_seq_cst);
	}
	return locked;
}

size_t mm_pages_locked(const void *base, size_t size)
{
	return count_locked(base, size, false);
}

void mm_pages_forget_locks(const void *base, size_t size)
{
	count_locked(base, size, true);
}
