/* SPDX-License-Identifier: MIT */
/*
 * pool_pages.c: the pool's address space: arenas, their records, runs of pages.
 *
 * An arena hands out address space from its low end (`used`). A run that was given back waits in a
 * queue of runs of the same length, inaccessible, until it is the oldest there: whoever still uses
 * the freed memory faults. Runs are not merged: address space is plentiful, and a freed run costs
 * no memory. Behind each run lies a page that is not accessible while the verifier is on.
 *
 * Contexts: IRQL <= DISPATCH_LEVEL under ex_pool_lock where it says so; ex_page_live in any
 * context, NMI too.
 *
 * Implements PLT-47 (page alignment). The arenas' sizes and physical addresses are Ketch's choice:
 * nonpaged pool at 4 GiB, paged pool behind it, and 1 GiB from 1 MiB on for memory that a device
 * with few address bits must reach.
 */
#include "ex/pool.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

#define GIB      ((uint64_t)1 << 30)
#define KERNEL   0x400000000000u /* where kernel memory begins (DEF-325) */
#define RECORDED 1024u           /* pages whose records become accessible at a time */

/* Run lengths: exact up to EXACT pages, then eight steps for each doubling. */
#define EXACT       64u
#define STEPS       8u
#define DOUBLINGS   20u
#define RUN_LENGTHS (EXACT + STEPS * DOUBLINGS + 1)

struct run_queue {
	uint32_t first, last; /* page numbers, linked by ex_page.next */
};

struct ex_arena ex_arenas[EX_ARENAS];
struct ke_lock ex_pool_lock;

static struct run_queue run_queues[EX_ARENAS][RUN_LENGTHS];

/* ---- Start ---------------------------------------------------------------------------------- */

static const struct {
	uint64_t hint, size, physical;
} arena_plan[EX_ARENAS] = {
	[EX_ARENA_NONPAGED] = {KERNEL + 4 * GIB, 32 * GIB, 4 * GIB},
	[EX_ARENA_PAGED] = {KERNEL + 36 * GIB, 16 * GIB, 36 * GIB},
	[EX_ARENA_LOW] = {KERNEL + GIB, GIB, 1 << 20},
};

bool ex_arenas_initialize(void)
{
	for (unsigned i = 0; i < EX_ARENAS; i++) {
		struct ex_arena *arena = &ex_arenas[i];
		uint32_t pages = (uint32_t)(arena_plan[i].size >> PAGE_SHIFT);
		char *base = port_pages_reserve((void *)arena_plan[i].hint, arena_plan[i].size);
		arena->pages = port_pages_reserve(NULL, (size_t)pages * sizeof(struct ex_page));
		arena->blocks = port_pages_reserve(NULL, (size_t)pages * PAGE_SIZE);
		if (!base || !arena->pages || !arena->blocks)
			return false;
		arena->base = base;
		arena->page_count = pages;
		arena->physical = arena_plan[i].physical;
		for (unsigned length = 0; length < RUN_LENGTHS; length++)
			run_queues[i][length] = (struct run_queue){EX_NO_PAGE, EX_NO_PAGE};
	}
	return true;
}

/* ---- Run lengths ------------------------------------------------------------------------------
 */

/* The queue for runs of at least `pages` pages, and the length that all of its runs have; false:
 * too long. */
static bool run_length(uint32_t pages, unsigned *queue, uint32_t *length)
{
	if (pages <= EXACT) {
		*queue = pages;
		*length = pages;
		return true;
	}
	unsigned doubling = 31 - (unsigned)__builtin_clz(
					 pages - 1); /* 2^doubling < pages <= 2^(doubling + 1) */
	uint32_t step = (1u << doubling) / STEPS;
	uint32_t steps = (pages - (1u << doubling) + step - 1) / step;
	*queue = EXACT + (doubling - 6) * STEPS + steps;
	*length = (1u << doubling) + steps * step;
	return *queue < RUN_LENGTHS;
}

/* ---- Taking and giving --------------------------------------------------------------------------
 */

/* Make the records of pages below `end` accessible. */
static bool extend_records(struct ex_arena *arena, uint32_t end)
{
	if (end <= arena->records)
		return true;
	uint32_t wanted = (end + RECORDED - 1) / RECORDED * RECORDED;
	if (wanted > arena->page_count)
		wanted = arena->page_count;
	size_t count = wanted - arena->records;
	if (!port_pages_protect(arena->pages + arena->records, count * sizeof(struct ex_page),
				PORT_READ | PORT_WRITE) ||
	    !port_pages_protect(arena->blocks + (size_t)arena->records * EX_PAGE_BLOCKS,
				count * PAGE_SIZE, PORT_READ | PORT_WRITE))
		return false;
	arena->records = wanted;
	return true;
}

uint32_t ex_run_take(struct ex_arena *arena, uint32_t pages)
{
	unsigned number;
	uint32_t length;
	if (!run_length(pages, &number, &length))
		return EX_NO_PAGE;

	struct run_queue *queue = &run_queues[arena - ex_arenas][number];
	uint32_t page = queue->first;
	if (page != EX_NO_PAGE) {
		queue->first = arena->pages[page].next;
		if (queue->first == EX_NO_PAGE)
			queue->last = EX_NO_PAGE;
		return page;
	}

	page = atomic_load_explicit(&arena->used, memory_order_relaxed);
	if (arena->page_count - page < (uint64_t)length + 1 ||
	    !extend_records(arena, page + length + 1))
		return EX_NO_PAGE;
	/* Release: pairs with ex_page_of, which then reads the records. */
	atomic_store_explicit(&arena->used, page + length + 1, memory_order_release);
	return page;
}

void ex_run_give(struct ex_arena *arena, uint32_t page, uint32_t pages)
{
	unsigned number;
	uint32_t length;
	if (!run_length(pages, &number, &length))
		return;
	struct run_queue *queue = &run_queues[arena - ex_arenas][number];
	arena->pages[page].next = EX_NO_PAGE;
	if (queue->first == EX_NO_PAGE)
		queue->first = page;
	else
		arena->pages[queue->last].next = page;
	queue->last = page;
}

bool ex_page_live(const void *address)
{
	const struct ex_arena *arena = ex_arena_of(address);
	const struct ex_page *page = arena ? ex_page_of(arena, address) : NULL;
	return page && atomic_load_explicit(&page->kind, memory_order_acquire) != EX_PAGE_FREE;
}

/* ---- Blocks of whole pages
 * ------------------------------------------------------------------------ */

static void describe_run(struct ex_arena *arena, uint32_t first, uint32_t pages)
{
	for (uint32_t i = 1; i < pages; i++) {
		arena->pages[first + i].span = i;
		atomic_store_explicit(&arena->pages[first + i].kind, EX_PAGE_BODY,
				      memory_order_release);
	}
	arena->pages[first].span = pages;
	atomic_store_explicit(&arena->pages[first].kind, EX_PAGE_RUN, memory_order_release);
}

/*
 * The page behind a run stays inaccessible only while the verifier is on: it costs the host two
 * mappings for each run, of which it has some ten thousands; without it neighbouring runs are one
 * mapping.
 */
size_t ex_run_accessible(uint32_t pages)
{
	return ((size_t)pages + !vf_on()) << PAGE_SHIFT;
}

void *ex_run_allocate(struct ex_arena *arena, size_t size, unsigned protection, ULONG tag,
		      uint64_t caller)
{
	if (size > (uint64_t)arena->page_count << PAGE_SHIFT)
		return NULL;
	uint32_t pages = (uint32_t)((size + PAGE_SIZE - 1) >> PAGE_SHIFT);

	KIRQL old = ke_lock_raise(&ex_pool_lock);
	uint32_t first = ex_run_take(arena, pages);
	ke_lock_lower(&ex_pool_lock, old);
	if (first == EX_NO_PAGE)
		return NULL;

	char *base = ex_page_address(arena, first);
	bool accessible = port_pages_protect(base, ex_run_accessible(pages), protection);
	if (!accessible)
		port_pages_decommit(base, ex_run_accessible(pages)); /* a part may be */

	old = ke_lock_raise(&ex_pool_lock);
	if (!accessible) {
		ex_run_give(arena, first, pages);
		ke_lock_lower(&ex_pool_lock, old);
		return NULL;
	}
	struct ex_block *block = &arena->blocks[(size_t)first * EX_PAGE_BLOCKS];
	EX_BLOCK_SET(block->tag, tag);
	EX_BLOCK_SET(block->size, size);
	EX_BLOCK_SET(block->caller, caller);
	block->tail = false;
	atomic_store_explicit(&block->state, EX_BLOCK_LIVE, memory_order_release);
	describe_run(arena, first, pages);
	ex_pool_account(1, size);
	ke_lock_lower(&ex_pool_lock, old);
	return base;
}
