/* SPDX-License-Identifier: MIT */
/*
 * pool_block.c: blocks: allocate, free, find.
 *
 * Contexts and locks: IRQL <= DISPATCH_LEVEL under ex_pool_lock; above it pool_reserve.c. A block
 * is filled and checked outside the lock, at the caller's IRQL: paged pool may have to be brought
 * in. The life of a block ends by one atomic exchange, so that of two frees one always loses,
 * wherever they come from. ex_place_find and ex_pool_find: any context.
 *
 * Implements PLT-46 (fill), PLT-47 (alignment), VER-28 and VER-31 (through pool_check.c), VER-44
 * (ex_pool_each).
 */
#include "ex/pool.h"
#include "mm/mm.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

#define TAIL_LEAST 8u /* checked bytes behind a small block, when the verifier is on */

/* Checked bytes behind an array for fewer processors than the partition can hold: where the
 * elements of others would be (PRC-71). As many as make the block a page. */
static size_t tail_of(const struct ex_request *request, const struct ke_meaning *meaning)
{
	if (!meaning->processors)
		return TAIL_LEAST;
	size_t element = request->size / meaning->processors;
	size_t others = element * (ke_processor_maximum - meaning->processors);
	return others > TAIL_LEAST ? others : TAIL_LEAST;
}

static _Atomic uint64_t fail_after = UINT64_MAX;
static struct ex_pool_totals totals; /* under ex_pool_lock */

/* ---- Start ---------------------------------------------------------------------------------- */

bool ex_pool_initialize(void)
{
	if (!ex_arenas_initialize())
		return false;
	ex_slabs_initialize();
	return ex_reserve_initialize();
}

/* ---- Finding
 * ------------------------------------------------------------------------------------------- */

bool ex_place_find(const void *address, struct ex_place *place)
{
	struct ex_arena *arena = ex_arena_of(address);
	struct ex_page *page = arena ? ex_page_of(arena, address) : NULL;
	if (!page)
		return false;

	uint32_t number = (uint32_t)(page - arena->pages);
	size_t offset = (uintptr_t)address & (PAGE_SIZE - 1);
	unsigned block = 0;
	*place = (struct ex_place){.arena = arena, .page = page, .room = PAGE_SIZE};
	switch (atomic_load_explicit(&page->kind, memory_order_acquire)) {
	case EX_PAGE_SLAB:
		place->room = ex_class_size(page->class);
		block = (unsigned)(offset / place->room);
		if (block >= ex_slab_capacity(page))
			return false; /* behind the last block */
		break;
	case EX_PAGE_BODY:
		number -= page->span;
		place->page = &arena->pages[number];
		place->room = (size_t)place->page->span << PAGE_SHIFT;
		break;
	case EX_PAGE_RUN:
		place->room = (size_t)page->span << PAGE_SHIFT;
		break;
	case EX_PAGE_RESERVE:
		place->reserve = true;
		break;
	default: /* a free page: it may begin a run that was freed */
		break;
	}
	place->base = ex_page_address(arena, number) + (size_t)block * place->room;
	place->block = &arena->blocks[(size_t)number * EX_PAGE_BLOCKS + block];
	place->start = address == place->base;
	return true;
}

/* ---- Allocating
 * ------------------------------------------------------------------------------------------ */

static bool injected_failure(const struct ex_request *request)
{
	if (!request->driver ||
	    atomic_load_explicit(&fail_after, memory_order_relaxed) == UINT64_MAX)
		return false;
	uint64_t left = atomic_load_explicit(&fail_after, memory_order_relaxed);
	while (left &&
	       !atomic_compare_exchange_weak_explicit(&fail_after, &left, left - 1,
						      memory_order_relaxed, memory_order_relaxed))
		;
	return !left;
}

void ex_pool_fail_after(uint64_t count)
{
	atomic_store_explicit(&fail_after, count, memory_order_relaxed);
}

void ex_pool_account(int64_t blocks, uint64_t bytes)
{
	totals.blocks += (uint64_t)blocks;
	if (blocks > 0) {
		totals.bytes += bytes;
		totals.allocated++;
	} else {
		totals.bytes -= bytes;
		totals.freed++;
	}
}

/* The memory of who freed it before: after ex_check_recycled has read that. */
static void set_meaning(struct ex_block *record, const struct ke_meaning *meaning)
{
	uint64_t value;
	memcpy(&value, meaning, sizeof value);
	EX_BLOCK_SET(record->freed_by, value);
}

static void *allocate_small(const struct ex_request *request)
{
	size_t wanted = request->size;
	struct ke_meaning meaning = {0};
	if (vf_on()) {
		if (request->driver)
			meaning = ke_meaning_of(wanted);
		wanted += tail_of(request, &meaning);
		if (wanted > PAGE_SIZE)
			wanted = PAGE_SIZE;
	}
	unsigned class = ex_class_of(wanted, request->cache_aligned);
	struct ex_block *record;
	bool recycled;
	ULONG former_tag = 0;

	KIRQL old = ke_lock_raise(&ex_pool_lock);
	char *base = ex_slab_take(request->heap, class, &record, &recycled);
	if (base) {
		former_tag = record->tag;
		EX_BLOCK_SET(record->tag, request->tag);
		EX_BLOCK_SET(record->size, request->size);
		EX_BLOCK_SET(record->caller, request->caller);
		record->tail = vf_on();
		atomic_store_explicit(&record->state, EX_BLOCK_LIVE, memory_order_release);
		ex_pool_account(1, request->size);
	}
	ke_lock_lower(&ex_pool_lock, old);
	if (!base)
		return NULL;

	size_t room = ex_class_size(class);
	if (vf_on()) {
		struct ex_place place;
		if (request->heap == EX_HEAP_PAGED)
			mm_pageable_bring(base, room);
		if (recycled && ex_place_find(base, &place))
			ex_check_recycled(&place, former_tag);
		memset(base + request->size, EX_FILL_TAIL, room - request->size);
	}
	set_meaning(record, &meaning);
	if (request->zero)
		memset(base, 0, request->size);
	else if (vf_on())
		memset(base, EX_FILL_FRESH, request->size);
	return base;
}

static void *allocate_large(const struct ex_request *request)
{
	struct ex_arena *arena = &ex_arenas[ex_heap_plan[request->heap].arena];
	char *base = ex_run_allocate(arena, request->size, ex_heap_plan[request->heap].protection,
				     request->tag, request->caller);
	if (!base)
		return NULL;
	if (!vf_on())
		return base;

	size_t room = (request->size + PAGE_SIZE - 1) & ~(size_t)(PAGE_SIZE - 1);
	struct ex_place place;
	if (request->heap == EX_HEAP_PAGED)
		mm_pageable_bring(base, room);
	memset(base + request->size, EX_FILL_TAIL, room - request->size);
	if (!request->zero)
		memset(base, EX_FILL_FRESH, request->size);
	if (ex_place_find(base, &place)) {
		struct ke_meaning meaning = {0};
		if (request->driver)
			meaning = ke_meaning_of(request->size);
		place.block->tail = true;
		set_meaning(place.block, &meaning);
	}
	return base;
}

void *ex_block_allocate(const struct ex_request *request)
{
	struct ex_request asked = *request;
	if (vf_on() && asked.ddi)
		ex_check_allocate(&asked);
	if (!asked.size)
		asked.size = 1; /* a block of its own, as documented */
	if (injected_failure(&asked))
		return NULL;
	if (ke_irql() > DISPATCH_LEVEL)
		return ex_reserve_take(&asked);
	if (atomic_load_explicit(&ex_put_off_count, memory_order_relaxed))
		ex_put_off_finish();
	return asked.size < PAGE_SIZE ? allocate_small(&asked) : allocate_large(&asked);
}

/* ---- Freeing
 * ------------------------------------------------------------------------------------------------
 */

/* The block goes from live to freed, once, whoever tries it at the same time. */
static bool end_life(struct ex_block *block, uint64_t caller)
{
	uint8_t live = EX_BLOCK_LIVE;
	if (!atomic_compare_exchange_strong_explicit(&block->state, &live, EX_BLOCK_FREED,
						     memory_order_acq_rel, memory_order_relaxed))
		return false;
	EX_BLOCK_SET(block->freed_by, caller);
	return true;
}

static void free_run(const struct ex_place *place)
{
	struct ex_arena *arena = place->arena;
	uint32_t first = (uint32_t)(place->page - arena->pages);
	uint32_t pages = place->page->span;

	KIRQL old = ke_lock_raise(&ex_pool_lock);
	ex_pool_account(-1, place->block->size);
	for (uint32_t i = 0; i < pages; i++)
		atomic_store_explicit(&arena->pages[first + i].kind, EX_PAGE_FREE,
				      memory_order_release);
	ke_lock_lower(&ex_pool_lock, old);

	port_pages_decommit(place->base, ex_run_accessible(pages));

	old = ke_lock_raise(&ex_pool_lock);
	ex_run_give(arena, first, pages);
	ke_lock_lower(&ex_pool_lock, old);
}

static void free_small(const struct ex_place *place)
{
	size_t size = place->block->size;
	if (vf_on())
		memset(place->base, EX_FILL_FREED, place->room);
	KIRQL old = ke_lock_raise(&ex_pool_lock);
	ex_pool_account(-1, size);
	ex_slab_give(place);
	ke_lock_lower(&ex_pool_lock, old);
}

/* What is left to do for a block whose life has ended. IRQL <= DISPATCH_LEVEL. */
void ex_block_finish(void *block)
{
	struct ex_place place;
	if (!ex_place_find(block, &place))
		return;
	if (vf_on() && place.arena == &ex_arenas[EX_ARENA_PAGED])
		mm_pageable_bring(place.base, place.room);
	if (place.page->kind == EX_PAGE_RUN)
		free_run(&place);
	else
		free_small(&place);
}

void ex_block_free(void *block, ULONG tag, uint64_t caller, const char *ddi)
{
	struct ex_place place;
	bool found = ex_place_find(block, &place);
	if (!found || !place.start ||
	    atomic_load_explicit(&place.block->state, memory_order_acquire) != EX_BLOCK_LIVE) {
		ex_check_bad_free(block, found ? &place : NULL, caller, ddi);
		return;
	}
	if (vf_on() && place.arena == &ex_arenas[EX_ARENA_PAGED])
		mm_pageable_bring(place.base, place.room);
	ex_check_free(&place, tag, caller, ddi);
	if (!end_life(place.block, caller)) {
		ex_check_bad_free(block, &place, caller, ddi);
		return;
	}
	if (place.reserve) {
		ex_reserve_give(&place);
		return;
	}
	if (ke_irql() > DISPATCH_LEVEL) {
		ex_put_off(block);
		return;
	}
	ex_block_finish(block);
	if (atomic_load_explicit(&ex_put_off_count, memory_order_relaxed))
		ex_put_off_finish();
}

void ex_free(void *block)
{
	if (block)
		ex_block_free(block, 0, (uint64_t)__builtin_return_address(0), NULL);
}

/* ---- Looking -------------------------------------------------------------------------------- */

static void describe(const struct ex_place *place, struct ex_pool_block *block)
{
	block->base = place->base;
	block->size = EX_BLOCK_GET(place->block->size);
	block->tag = EX_BLOCK_GET(place->block->tag);
	block->paged = place->arena == &ex_arenas[EX_ARENA_PAGED];
	block->caller = EX_BLOCK_GET(place->block->caller);
	block->freed_by = EX_BLOCK_GET(place->block->freed_by);
	struct ke_meaning meaning;
	memcpy(&meaning, &block->freed_by, sizeof meaning);
	block->addition = meaning.addition;
}

enum ex_pool_kind ex_pool_find(const void *address, struct ex_pool_block *block)
{
	struct ex_place place;
	*block = (struct ex_pool_block){0};
	if (!ex_arena_of(address))
		return EX_POOL_NOT;
	if (!ex_place_find(address, &place))
		return EX_POOL_FREE;
	/* First the state: what a live block says of itself is not older than that life. */
	uint8_t state = atomic_load_explicit(&place.block->state, memory_order_acquire);
	describe(&place, block);
	if (state != EX_BLOCK_LIVE)
		return EX_POOL_FREE;
	return block->paged ? EX_POOL_PAGED : EX_POOL_NONPAGED;
}

/* Call back for the block if it lives and its allocator lies in the range. */
static size_t visit(const void *address, uint64_t low, uint64_t high,
		    void (*each)(void *context, const struct ex_pool_block *block), void *context)
{
	struct ex_pool_block block;
	enum ex_pool_kind kind = ex_pool_find(address, &block);
	if (kind == EX_POOL_FREE || kind == EX_POOL_NOT || block.caller < low ||
	    block.caller >= high)
		return 0;
	if (each)
		each(context, &block);
	return 1;
}

size_t ex_pool_each(const void *base, size_t size,
		    void (*each)(void *context, const struct ex_pool_block *block), void *context)
{
	uint64_t low = (uintptr_t)base;
	size_t count = 0;
	for (unsigned id = 0; id < EX_ARENAS; id++) {
		struct ex_arena *arena = &ex_arenas[id];
		uint32_t used = atomic_load_explicit(&arena->used, memory_order_acquire);
		for (uint32_t number = 0; number < used; number++) {
			struct ex_page *page = &arena->pages[number];
			uint8_t kind = atomic_load_explicit(&page->kind, memory_order_acquire);
			char *address = ex_page_address(arena, number);
			if (kind == EX_PAGE_RUN || kind == EX_PAGE_RESERVE)
				count += visit(address, low, low + size, each, context);
			if (kind != EX_PAGE_SLAB)
				continue;
			for (unsigned i = 0; i < ex_slab_capacity(page); i++)
				count += visit(address + (size_t)i * ex_class_size(page->class),
					       low, low + size, each, context);
		}
	}
	return count;
}

void ex_pool_totals(struct ex_pool_totals *result)
{
	KIRQL old = ke_lock_raise(&ex_pool_lock);
	*result = totals;
	ke_lock_lower(&ex_pool_lock, old);
}

/* ---- For the core ------------------------------------------------------------------------------
 */

static void *allocate_for(size_t size, ULONG tag, POOL_TYPE type, uint64_t caller, bool driver)
{
	struct ex_request request = {
		.size = size,
		.tag = tag,
		.heap = !driver && type == NonPagedPoolNx ? EX_HEAP_CORE : ex_heap_of_type(type),
		.cache_aligned = type & POOL_TYPE_CACHE_ALIGNED,
		.zero = !driver || (type & POOL_TYPE_ZERO),
		.driver = driver,
		.caller = caller,
	};
	return ex_block_allocate(&request);
}

void *ex_allocate(size_t size, ULONG tag, POOL_TYPE type)
{
	return allocate_for(size, tag, type, (uint64_t)__builtin_return_address(0), false);
}

void *ex_allocate_for(size_t size, ULONG tag, POOL_TYPE type, uint64_t caller)
{
	return allocate_for(size, tag, type, caller, true);
}
