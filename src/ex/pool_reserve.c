/* SPDX-License-Identifier: MIT */
/*
 * pool_reserve.c: the pool above DISPATCH_LEVEL.
 *
 * An NMI callback, an IPI worker or an interrupt routine must not use the pool, but drivers do
 * (DEF-22), and the pool's lock may be held by the very code that was interrupted. So nothing here
 * waits: an allocation takes one of a few blocks by atomic operations alone; a free is put off
 * until somebody uses the pool at DISPATCH_LEVEL or below.
 */
#include "ex/pool.h"
#include "rtl/rtl.h"

#define RESERVE 32u /* blocks of a page each */
#define PUT_OFF 64u /* frees that can wait */

static char *reserve_base;             /* constant after start */
static _Atomic uint32_t reserve_taken; /* bit per block */
static _Atomic(void *) put_off[PUT_OFF];
_Atomic uint32_t ex_put_off_count;

bool ex_reserve_initialize(void)
{
	struct ex_arena *arena = &ex_arenas[EX_ARENA_NONPAGED];
	uint32_t first = ex_run_take(arena, RESERVE);
	if (first == EX_NO_PAGE)
		return false;
	reserve_base = ex_page_address(arena, first);
	if (!port_pages_protect(reserve_base, RESERVE * PAGE_SIZE, PORT_READ | PORT_WRITE))
		return false;
	for (uint32_t i = 0; i < RESERVE; i++)
		atomic_store_explicit(&arena->pages[first + i].kind, EX_PAGE_RESERVE,
				      memory_order_release);
	return true;
}

void *ex_reserve_take(const struct ex_request *request)
{
	struct ex_arena *arena = &ex_arenas[EX_ARENA_NONPAGED];
	uint32_t taken = atomic_load_explicit(&reserve_taken, memory_order_relaxed);
	uint32_t bit;
	if (request->size > PAGE_SIZE)
		return NULL;
	do {
		if (taken == UINT32_MAX)
			return NULL;
		bit = ~taken & (taken + 1); /* lowest that is clear */
	} while (!atomic_compare_exchange_weak_explicit(
		&reserve_taken, &taken, taken | bit, memory_order_acquire, memory_order_relaxed));
	char *base = reserve_base + (size_t)__builtin_ctz(bit) * PAGE_SIZE;
	struct ex_block *block =
		&arena->blocks[(size_t)ex_page_number(arena, base) * EX_PAGE_BLOCKS];
	EX_BLOCK_SET(block->tag, request->tag);
	EX_BLOCK_SET(block->size, request->size);
	EX_BLOCK_SET(block->caller, request->caller);
	block->tail = false;
	atomic_store_explicit(&block->state, EX_BLOCK_LIVE, memory_order_release);
	memset(base, request->zero ? 0 : EX_FILL_FRESH, PAGE_SIZE);
	return base;
}

void ex_reserve_give(const struct ex_place *place)
{
	uint32_t bit = 1u << ((place->base - reserve_base) >> PAGE_SHIFT);
	atomic_fetch_and_explicit(&reserve_taken, ~bit, memory_order_release);
}

void ex_put_off(void *block)
{
	for (unsigned i = 0; i < PUT_OFF; i++) {
		void *empty = NULL;
		if (atomic_compare_exchange_strong_explicit(&put_off[i], &empty, block,
							    memory_order_release,
							    memory_order_relaxed)) {
			atomic_fetch_add_explicit(&ex_put_off_count, 1, memory_order_release);
			return;
		}
	}
	ke_print(PORT_STREAM_REPORT,
		 "pool: block %p, freed above DISPATCH_LEVEL, is lost: too many such frees\n",
		 block);
}

void ex_put_off_finish(void)
{
	for (unsigned i = 0; i < PUT_OFF; i++) {
		void *block = atomic_exchange_explicit(&put_off[i], NULL, memory_order_acquire);
		if (!block)
			continue;
		atomic_fetch_sub_explicit(&ex_put_off_count, 1, memory_order_relaxed);
		ex_block_finish(block);
	}
}
