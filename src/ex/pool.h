/* SPDX-License-Identifier: MIT */
/*
 * pool.h: the pool's insides, for ex/pool*.c and for mm (pages, physical addresses, pageable pool).
 *
 * An arena is reserved address space. Beside it, in reservations of their own so that no overrun of
 * a block reaches them, lie one `struct ex_page` per page and EX_PAGE_BLOCKS `struct ex_block` per
 * page. Everything about an address is therefore found by arithmetic, without touching the block.
 */
#pragma once

#include <stdatomic.h>
#include "ex/ex.h"
#include "ke/ke.h"
#include "rtl/rtl.h"

#define EX_BLOCK_SMALLEST 32u /* smallest class: a page's block records fill a page */
#define EX_PAGE_BLOCKS    (PAGE_SIZE / EX_BLOCK_SMALLEST)
#define EX_NO_BLOCK       0xffffu
#define EX_NO_PAGE        0xffffffffu

/* Bytes that say where a value comes from; as a pointer each is not canonical. */
#define EX_FILL_FRESH 0xcb /* allocated, never written */
#define EX_FILL_FREED 0xdf
#define EX_FILL_TAIL  0xb5 /* behind the block */

enum ex_arena_id { EX_ARENA_NONPAGED, EX_ARENA_PAGED, EX_ARENA_LOW, EX_ARENAS };

/* The core's blocks lie on pages of their own: a driver that writes past its block hits drivers. */
enum ex_heap_id { EX_HEAP_NX, EX_HEAP_EXECUTE, EX_HEAP_PAGED, EX_HEAP_CORE, EX_HEAPS };

enum ex_page_kind {
	EX_PAGE_FREE = 0,
	EX_PAGE_SLAB,    /* blocks of one class */
	EX_PAGE_RUN,     /* first page of a block of whole pages */
	EX_PAGE_BODY,    /* its other pages */
	EX_PAGE_RESERVE, /* one block of the emergency reserve */
};

/* Written under the pool's lock; `kind` is also read without it (release: when the rest is set up).
 */
struct ex_page {
	_Atomic uint8_t kind;
	uint8_t class; /* slab: index of its block size */
	uint8_t heap;  /* slab: enum ex_heap_id */
	uint8_t unused;
	uint16_t live;                  /* slab: blocks in use */
	uint16_t fresh;                 /* slab: blocks from here on were never used */
	uint16_t first_free, last_free; /* slab: block numbers, EX_NO_BLOCK */
	uint32_t next, previous;        /* in a list of slabs or of free runs; EX_NO_PAGE */
	uint32_t span;           /* run, free run: pages; body: distance to the run's first page */
	_Atomic uint32_t locked; /* mm: how often MmProbeAndLockPages holds it */
	uint32_t pad;
};
_Static_assert(sizeof(struct ex_page) == 32, "one cache line for two");

enum ex_block_state { EX_BLOCK_FRESH = 0, EX_BLOCK_LIVE, EX_BLOCK_FREED };

/* Written under the pool's lock; read without it by ex_pool_find. */
struct ex_block {
	uint32_t tag;
	uint16_t next_free; /* in its slab */
	_Atomic uint8_t state;
	uint8_t tail; /* bytes behind the block are EX_FILL_TAIL and are checked when it is freed */
	uint64_t size; /* as asked for */
	uint64_t caller;
	union {
		uint64_t freed_by;         /* freed */
		struct ke_meaning meaning; /* live, allocated while checked; else 0 */
	};
};
/* Of blocks that others may take or free meanwhile, for reports: each field by itself is whole. */
#define EX_BLOCK_GET(field)        __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define EX_BLOCK_SET(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)
_Static_assert(sizeof(struct ex_block) * EX_PAGE_BLOCKS == PAGE_SIZE, "block records of a page");

struct ex_arena {
	char *base;
	struct ex_page *pages;
	struct ex_block *blocks;
	uint32_t page_count;
	_Atomic uint32_t used; /* pages below were handed out once: their records exist (release) */
	uint32_t records;      /* pages whose records are accessible */
	uint64_t physical;     /* model's physical address of `base` */
};

extern struct ex_arena ex_arenas[EX_ARENAS];
extern struct ke_lock
	ex_pool_lock; /* every list of the pool; DISPATCH_LEVEL, innermost of ex and mm */

/* The arena that holds an address; 0: none. Any context. */
static inline struct ex_arena *ex_arena_of(const void *address)
{
	for (unsigned i = 0; i < EX_ARENAS; i++) {
		struct ex_arena *arena = &ex_arenas[i];
		if ((uintptr_t)address - (uintptr_t)arena->base < (uint64_t)arena->page_count
									  << PAGE_SHIFT)
			return arena;
	}
	return NULL;
}

static inline uint32_t ex_page_number(const struct ex_arena *arena, const void *address)
{
	return (uint32_t)(((uintptr_t)address - (uintptr_t)arena->base) >> PAGE_SHIFT);
}

static inline char *ex_page_address(const struct ex_arena *arena, uint32_t page)
{
	return arena->base + ((size_t)page << PAGE_SHIFT);
}

/* The record of the page that holds `address`; 0 when the page was never handed out. Any context.
 */
static inline struct ex_page *ex_page_of(const struct ex_arena *arena, const void *address)
{
	uint32_t page = ex_page_number(arena, address);
	if (page >= atomic_load_explicit(&arena->used, memory_order_acquire))
		return NULL;
	return &arena->pages[page];
}

/* True while the page of `address` holds memory of the pool (its contents can be brought in). Any
 * context. */
bool ex_page_live(const void *address);

bool ex_arenas_initialize(void);
/*
 * Address space of `pages` pages and an inaccessible one behind them; EX_NO_PAGE when there is
 * none. The pool's lock is held. They come inaccessible and zero.
 */
uint32_t ex_run_take(struct ex_arena *arena, uint32_t pages);
/* Bytes to make accessible for a run of `pages`, and to take away again. */
size_t ex_run_accessible(uint32_t pages);
/* Give it back; the pages are inaccessible and zero again. The pool's lock is held. */
void ex_run_give(struct ex_arena *arena, uint32_t page, uint32_t pages);

/* Blocks of whole pages. IRQL <= DISPATCH_LEVEL. Zeroed. */
void *ex_run_allocate(struct ex_arena *arena, size_t size, unsigned protection, ULONG tag,
		      uint64_t caller);

/* Small blocks. The pool's lock is held. */
struct ex_heap_plan {
	enum ex_arena_id arena;
	unsigned protection;
};
extern const struct ex_heap_plan ex_heap_plan[EX_HEAPS];
void ex_slabs_initialize(void);
unsigned ex_class_of(size_t size, bool cache_aligned); /* 1 <= size <= PAGE_SIZE; no lock */
uint16_t ex_class_size(unsigned class);                /* no lock */
unsigned ex_slab_capacity(const struct ex_page *page); /* no lock */
/* The block of this class that has been free longest; *recycled: it was in use before. */
void *ex_slab_take(enum ex_heap_id heap, unsigned class, struct ex_block **record, bool *recycled);

/* Where an address lies. */
struct ex_place {
	struct ex_arena *arena;
	struct ex_page *page;
	struct ex_block *block;
	char *base;  /* of the block */
	size_t room; /* bytes up to the next block or guard page */
	bool start;  /* the address is `base` */
	bool reserve;
};
bool ex_place_find(const void *address, struct ex_place *place);

void ex_slab_give(const struct ex_place *place); /* the lock is held */

/* Allocate and free with everything said. */
struct ex_request {
	size_t size;
	ULONG tag;
	enum ex_heap_id heap;
	bool cache_aligned;
	bool zero;
	bool driver; /* failure injection applies */
	uint64_t caller;
	const char *ddi; /* for findings; 0: the core */
	bool compliance; /* VER-13 covers the DDI: its rule instead of the classic ones */
};
void *ex_block_allocate(const struct ex_request *request);
/* Bits of POOL_TYPE. */
#define POOL_TYPE_PAGED         1
#define POOL_TYPE_CACHE_ALIGNED 4
#define POOL_TYPE_NX            512
#define POOL_TYPE_ZERO          1024
static inline enum ex_heap_id ex_heap_of_type(POOL_TYPE type)
{
	if (type & POOL_TYPE_PAGED)
		return EX_HEAP_PAGED;
	return type & POOL_TYPE_NX ? EX_HEAP_NX : EX_HEAP_EXECUTE;
}
/* `tag` 0: any. */
void ex_block_free(void *block, ULONG tag, uint64_t caller, const char *ddi);

void ex_block_finish(void *block);
void ex_pool_account(int64_t blocks, uint64_t bytes); /* the lock is held */

/* Above DISPATCH_LEVEL: no lock. */
bool ex_reserve_initialize(void);
void *ex_reserve_take(const struct ex_request *request);
void ex_reserve_give(const struct ex_place *place);
void ex_put_off(void *block); /* its life has ended: finish it later */
void ex_put_off_finish(void); /* IRQL <= DISPATCH_LEVEL: do what was put off */
extern _Atomic uint32_t ex_put_off_count;

/* pool_check.c: what a finding says. `caller` 0: the core's own mistake, a bug check. */
void ex_check_allocate(const struct ex_request *request);
/* The block is about to be freed (live, not yet poisoned). */
void ex_check_free(const struct ex_place *place, ULONG tag, uint64_t caller, const char *ddi);
void ex_check_bad_free(const void *address, const struct ex_place *place, uint64_t caller,
		       const char *ddi);
void ex_check_recycled(const struct ex_place *place, ULONG former_tag);
/* Whether the block holds what must not go away with it (VER-28). */
void ex_check_contents(const struct ex_place *place, uint64_t caller, const char *ddi);
