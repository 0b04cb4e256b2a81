/* SPDX-License-Identifier: MIT */
/*
 * pool_slab.c: small blocks: pages of equal blocks, one list of pages per heap and block size.
 *
 * Contexts and locks: IRQL <= DISPATCH_LEVEL, ex_pool_lock held by the caller, but for the class
 * functions, which read constants. A page keeps its block size for good, so that a block freed
 * twice is always known as such. The block that has been free longest is used first: late writes to
 * freed blocks are found (ex_check_recycled).
 */
#include "ex/pool.h"

#define SLAB_CHUNK 64u /* pages made accessible at a time */

static const uint16_t class_sizes[] = {
	32,  48,  64,  80,  96,  112, 128,  160,  192,  224,       256,
	320, 384, 448, 512, 640, 816, 1024, 1360, 2048, PAGE_SIZE,
};
#define CLASSES (sizeof(class_sizes) / sizeof(class_sizes[0]))

struct heap {
	uint32_t free_pages;       /* accessible, without a class */
	uint32_t partial[CLASSES]; /* slabs with a free block, oldest first */
	uint32_t partial_last[CLASSES];
};

static struct heap heaps[EX_HEAPS];
static uint8_t
	class_by_size[PAGE_SIZE / 16 + 1]; /* index: bytes / 16, rounded up; constant after start */

const struct ex_heap_plan ex_heap_plan[EX_HEAPS] = {
	[EX_HEAP_NX] = {EX_ARENA_NONPAGED, PORT_READ | PORT_WRITE},
	[EX_HEAP_EXECUTE] = {EX_ARENA_NONPAGED, PORT_READ | PORT_WRITE | PORT_EXECUTE},
	[EX_HEAP_PAGED] = {EX_ARENA_PAGED, PORT_READ | PORT_WRITE},
	[EX_HEAP_CORE] = {EX_ARENA_NONPAGED, PORT_READ | PORT_WRITE},
};

/* ---- Classes ----------------------------------------------------------------------------------
 */

uint16_t ex_class_size(unsigned class)
{
	return class_sizes[class];
}

unsigned ex_class_of(size_t size, bool cache_aligned)
{
	if (cache_aligned)
		size = (size + SYSTEM_CACHE_LINE_SIZE - 1) & ~(size_t)(SYSTEM_CACHE_LINE_SIZE - 1);
	unsigned class = class_by_size[(size + 15) / 16];
	while (cache_aligned && class_sizes[class] % SYSTEM_CACHE_LINE_SIZE)
		class ++;
	return class;
}

void ex_slabs_initialize(void)
{
	unsigned class = 0;
	for (size_t granules = 0; granules <= PAGE_SIZE / 16; granules++) {
		if (granules * 16 > class_sizes[class])
			class ++;
		class_by_size[granules] = (uint8_t) class;
	}
	for (unsigned id = 0; id < EX_HEAPS; id++) {
		heaps[id].free_pages = EX_NO_PAGE;
		for (class = 0; class < CLASSES; class ++) {
			heaps[id].partial[class] = EX_NO_PAGE;
			heaps[id].partial_last[class] = EX_NO_PAGE;
		}
	}
}

/* ---- Lists of slabs (the lock is held)
 * ------------------------------------------------------------ */

static void append_partial(struct heap *heap, struct ex_arena *arena, uint32_t number)
{
	struct ex_page *page = &arena->pages[number];
	page->next = EX_NO_PAGE;
	page->previous = heap->partial_last[page->class];
	if (page->previous == EX_NO_PAGE)
		heap->partial[page->class] = number;
	else
		arena->pages[page->previous].next = number;
	heap->partial_last[page->class] = number;
}

static void remove_partial(struct heap *heap, struct ex_arena *arena, uint32_t number)
{
	struct ex_page *page = &arena->pages[number];
	if (page->previous == EX_NO_PAGE)
		heap->partial[page->class] = page->next;
	else
		arena->pages[page->previous].next = page->next;
	if (page->next == EX_NO_PAGE)
		heap->partial_last[page->class] = page->previous;
	else
		arena->pages[page->next].previous = page->previous;
}

/* More accessible pages for a heap. */
static bool refill(enum ex_heap_id id)
{
	struct ex_arena *arena = &ex_arenas[ex_heap_plan[id].arena];
	uint32_t first = ex_run_take(arena, SLAB_CHUNK);
	if (first == EX_NO_PAGE)
		return false;
	if (!port_pages_protect(ex_page_address(arena, first), SLAB_CHUNK * PAGE_SIZE,
				ex_heap_plan[id].protection)) {
		port_pages_decommit(ex_page_address(arena, first), SLAB_CHUNK * PAGE_SIZE);
		ex_run_give(arena, first, SLAB_CHUNK);
		return false;
	}
	/* A run that was as long as this may have been freed here: its record is the first block's.
	 */
	atomic_store_explicit(&arena->blocks[(size_t)first * EX_PAGE_BLOCKS].state, EX_BLOCK_FRESH,
			      memory_order_relaxed);
	for (uint32_t i = SLAB_CHUNK; i-- > 0;) {
		arena->pages[first + i].next = heaps[id].free_pages;
		heaps[id].free_pages = first + i;
	}
	return true;
}

static uint32_t new_slab(enum ex_heap_id id, unsigned class)
{
	struct heap *heap = &heaps[id];
	struct ex_arena *arena = &ex_arenas[ex_heap_plan[id].arena];
	if (heap->free_pages == EX_NO_PAGE && !refill(id))
		return EX_NO_PAGE;
	uint32_t number = heap->free_pages;
	struct ex_page *page = &arena->pages[number];
	heap->free_pages = page->next;

	page->class = (uint8_t) class;
	page->heap = (uint8_t)id;
	page->live = 0;
	page->fresh = 0;
	page->first_free = EX_NO_BLOCK;
	page->last_free = EX_NO_BLOCK;
	atomic_store_explicit(&page->kind, EX_PAGE_SLAB, memory_order_release);
	append_partial(heap, arena, number);
	return number;
}

/* ---- Small blocks (the lock is held)
 * ---------------------------------------------------------------- */

unsigned ex_slab_capacity(const struct ex_page *page)
{
	return PAGE_SIZE / class_sizes[page->class];
}

/* Take the block that has been free longest; *recycled: it was in use before. */
void *ex_slab_take(enum ex_heap_id id, unsigned class, struct ex_block **record, bool *recycled)
{
	struct heap *heap = &heaps[id];
	struct ex_arena *arena = &ex_arenas[ex_heap_plan[id].arena];
	uint32_t number = heap->partial[class];
	if (number == EX_NO_PAGE)
		number = new_slab(id, class);
	if (number == EX_NO_PAGE)
		return NULL;

	struct ex_page *page = &arena->pages[number];
	struct ex_block *blocks = &arena->blocks[(size_t)number * EX_PAGE_BLOCKS];
	unsigned block;
	if (page->fresh < ex_slab_capacity(page)) {
		block = page->fresh++;
	} else {
		block = page->first_free;
		page->first_free = blocks[block].next_free;
		if (page->first_free == EX_NO_BLOCK)
			page->last_free = EX_NO_BLOCK;
	}
	page->live++;
	if (page->live == ex_slab_capacity(page))
		remove_partial(heap, arena, number);
	*record = &blocks[block];
	*recycled =
		atomic_load_explicit(&blocks[block].state, memory_order_relaxed) == EX_BLOCK_FREED;
	return ex_page_address(arena, number) + (size_t)block * class_sizes[class];
}

void ex_slab_give(const struct ex_place *place)
{
	struct ex_page *page = place->page;
	struct ex_arena *arena = place->arena;
	struct heap *heap = &heaps[page->heap];
	uint32_t number = (uint32_t)(page - arena->pages);
	struct ex_block *blocks = &arena->blocks[(size_t)number * EX_PAGE_BLOCKS];
	uint16_t block = (uint16_t)(place->block - blocks);

	blocks[block].next_free = EX_NO_BLOCK;
	if (page->first_free == EX_NO_BLOCK)
		page->first_free = block;
	else
		blocks[page->last_free].next_free = block;
	page->last_free = block;
	if (page->live-- == ex_slab_capacity(page))
		append_partial(heap, arena, number);
}
