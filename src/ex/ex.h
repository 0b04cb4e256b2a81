/* SPDX-License-Identifier: MIT */
/*
 * ex.h: the executive's services for the rest of the core: pool, work items, live objects, leak
 * lists.
 */
#pragma once

#include <ntifs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Start ---- */

/* Reserve the pool. Before anything allocates; needs only the port. False: the host has no room. */
bool ex_pool_initialize(void);
/* The rest: worker threads, the system's callback objects. PASSIVE_LEVEL, when threads, ob and ps
 * work. */
NTSTATUS ex_initialize(void);

/* ---- Pool: IRQL <= DISPATCH_LEVEL (paged pool APC_LEVEL); above it, NMI too, a small reserve
 * answers (DEF-22) ---- */

/*
 * The core's own memory: zeroed, 16-byte aligned, page aligned from PAGE_SIZE up; 0 when there is
 * none. Type NonPagedPoolNx unless there is a reason. Belongs to no driver.
 */
void *ex_allocate(size_t size, ULONG tag, POOL_TYPE type);
/* The same on behalf of the driver that `caller` (an address in it: VF_CALLER()) lies in: counts as
 * its memory (VER-44), and pool failure injection applies. Not zeroed. */
void *ex_allocate_for(size_t size, ULONG tag, POOL_TYPE type, uint64_t caller);
/* Free what any allocator gave; 0 is allowed. */
void ex_free(void *block);

/*
 * DriverUnload of the image at [base, base + size) has returned: whoever still allocates there is
 * reported (VER-31, 0x61), until the next call. size 0: nobody unloads. PASSIVE_LEVEL, one unload
 * at a time.
 */
void ex_pool_unloading(uint64_t base, uint64_t size);

/* After `count` more allocations for drivers, every one fails; UINT64_MAX (the default): none does.
 */
void ex_pool_fail_after(uint64_t count);

/* What an address in the pool belongs to. NMI-safe, lock-free: the answer may be old when it
 * arrives. */
enum ex_pool_kind {
	EX_POOL_NOT,  /* not in the pool */
	EX_POOL_FREE, /* in the pool, but in no live block */
	EX_POOL_NONPAGED,
	EX_POOL_PAGED,
};
struct ex_pool_block {
	void *base;
	size_t size; /* as asked for */
	ULONG tag;
	bool paged;
	uint64_t caller;   /* who allocated it */
	uint32_t addition; /* of a processor at whose start it was allocated, while checked; 0: none
			    */
	uint64_t freed_by; /* EX_POOL_FREE: who freed it last; 0: never used */
};
enum ex_pool_kind ex_pool_find(const void *address, struct ex_pool_block *block);
/* The same in words for a bad access: "paged pool, byte 3 of ...", "freed at nmi.sys+0x12"; empty:
 * not in the pool. */
void ex_pool_describe(const void *address, char *text, size_t size);

/*
 * Call back for each live block that code in [base, base + size) allocated (VER-44). PASSIVE_LEVEL;
 * the callback must not allocate or free. Returns how many there were; `each` 0: only count.
 */
size_t ex_pool_each(const void *base, size_t size,
		    void (*each)(void *context, const struct ex_pool_block *block), void *context);
struct ex_pool_totals {
	uint64_t blocks, bytes, allocated, freed; /* live; since boot */
};
void ex_pool_totals(struct ex_pool_totals *totals);

/* ---- Live objects in drivers' memory (VER-28, VER-38): kept while the verifier is on; IRQL <=
 * DISPATCH_LEVEL ---- */

enum ex_live_kind {
	EX_LIVE_RESOURCE,   /* ERESOURCE */
	EX_LIVE_LOOKASIDE,  /* any lookaside list */
	EX_LIVE_MDL_LOCKED, /* pages locked by MmProbeAndLockPages */
	EX_LIVE_KINDS,
};
struct ex_live {
	enum ex_live_kind kind;
	const void *object;
	size_t size;
	uint64_t caller; /* who initialised or locked it */
};
/* False: it was there already. */
bool ex_live_add(enum ex_live_kind kind, const void *object, size_t size, uint64_t caller);
/* False: there was none. */
bool ex_live_remove(enum ex_live_kind kind, const void *object);
/*
 * Each live object of a kind that lies in [base, base + size) or was made by code there; `remove`:
 * forget them (their memory goes away). The callback must not call ex_live_*. Returns how many
 * there were.
 */
size_t ex_live_each(enum ex_live_kind kind, const void *base, size_t size, bool remove,
		    void (*each)(void *context, const struct ex_live *live), void *context);

/*
 * Verifier on: a block of pool is freed, or (`unlock`) the pages of the MDL at `memory` are
 * unlocked. Whoever works with such memory sets it at boot (NDK's regions); IRQL <= DISPATCH_LEVEL.
 */
extern void (*ex_memory_watch)(const void *memory, size_t size, bool unlock, const char *ddi,
			       uint64_t caller);

/* ---- Work items: threads of the system that run routines at PASSIVE_LEVEL ---- */

/*
 * One queued call. The owner's memory until the routine is entered: the engine does not touch it
 * afterwards, so the routine may free it. `driver`: the routine is a driver's (call record around
 * it, IRQL checked afterwards).
 */
struct ex_work {
	LIST_ENTRY entry;
	void (*run)(struct ex_work *work);
	uint64_t routine; /* the driver's routine, for leak lists and messages; 0: none */
};
/* IRQL <= DISPATCH_LEVEL. */
void ex_work_queue(struct ex_work *work, WORK_QUEUE_TYPE type);
/* After a driver's work routine: at PASSIVE_LEVEL, outside every region? (io calls it too.) */
void ex_work_check_return(uint64_t routine, const void *parameter, const void *item);
/* Queued or running work whose routine lies in [base, base + size). Returns how many; `each` may be
 * 0. */
size_t ex_work_each(const void *base, size_t size,
		    void (*each)(void *context, uint64_t routine, bool running), void *context);

/* ---- Callback objects ---- */

/* Registrations whose function lies in [base, base + size). Returns how many; `each` may be 0. */
size_t ex_callback_each(const void *base, size_t size,
			void (*each)(void *context, uint64_t routine, const void *handle),
			void *context);
/* Take out every registration whose function lies there, without waiting (the image goes away). */
size_t ex_callback_purge(const void *base, size_t size);
