/* SPDX-License-Identifier: MIT */
/*
 * registry.h: the one registry of driver callbacks that events are dispatched to (DESIGN.md
 * decision 3).
 *
 * A family (NMI, bound, processor change) has one registry; entries are kept newest first.
 * Deregistration returns when nobody still runs the callback, or could still reach its entry. There
 * are two kinds of families:
 *
 * - `grace` is set (NMI): callbacks run at HIGH_LEVEL and do not block. Read without a lock, in any
 *   context, by ke_registry_first and ke_registry_next; `grace` waits for the readers.
 * - `grace` is 0 (bound, processor change): callbacks block and move to other processors. Read by a
 *   walk (ke_registry_walk_*), which counts the running calls of each entry; deregistration sleeps
 *   until the entry has none, and is refused on a thread that is inside a callback of the family.
 */
#pragma once

#include "ke/ke.h"

/* One line of the cache: an NMI's walk reads one for each callback. */
struct ke_registry_entry {
	struct ke_registry_entry *_Atomic next; /* the next older one */
	void *routine;
	void *context;
	uint64_t caller;                             /* who registered it */
	union {                                      /* lock */
		struct ke_registry_entry *newer;     /* in the list */
		struct ke_registry_entry *next_free; /* free */
	};
	uint32_t slot;       /* own place, fixed */
	uint32_t generation; /* odd while registered; lock */
	uint64_t number;     /* of the registration, ascending; fixed while registered */
	union {
		struct {                  /* counted families; lock */
			uint32_t running; /* calls that run now */
			uint32_t waited;  /* a deregistration waits for them (ke_registry.waiters)
					   */
		};
		struct { /* NMIs that no driver sent, while checked (VER-48) */
			_Atomic uint32_t claimed, declined;
		};
	};
};
_Static_assert(sizeof(struct ke_registry_entry) == 64, "one line of the cache");

#define KE_REGISTRY_CHUNKS 24

struct ke_registry {
	const char *name;
	uint32_t family; /* part of the handle: handles of other families do not match */
	/* Returns when every reader that might have reached an unlinked entry has left; 0: calls
	 * are counted. */
	void (*grace)(void);
	struct ke_registry_entry *_Atomic head; /* the newest */
	struct ke_registry_entry *oldest;       /* lock */
	uint64_t registrations;                 /* so far; lock */
	struct ke_registry_waiter *waiters;     /* deregistrations that sleep; lock */
	struct ke_lock lock; /* writers and walks; free list, chunks, generations */
	struct ke_registry_entry *free;
	struct ke_registry_entry
		*chunks[KE_REGISTRY_CHUNKS]; /* chunk k holds 64 << k entries; never freed */
	uint32_t chunk_count;
};

/* The first entry for a reader; go on with ke_registry_next. Any context. */
static inline struct ke_registry_entry *ke_registry_first(struct ke_registry *registry)
{
	return atomic_load_explicit(&registry->head, memory_order_acquire);
}

static inline struct ke_registry_entry *ke_registry_next(struct ke_registry_entry *entry)
{
	return atomic_load_explicit(&entry->next, memory_order_acquire);
}

/* Register; returns an opaque handle, 0 when there is no memory. IRQL <= APC_LEVEL, not in an NMI.
 */
void *ke_registry_register(struct ke_registry *registry, void *routine, void *context,
			   uint64_t caller);
/*
 * Take the entry out and wait for its running calls. STATUS_SUCCESS; STATUS_INVALID_HANDLE: the
 * handle names no live registration of this family; STATUS_UNSUCCESSFUL, nothing changed, of a
 * counted family only: called inside one of its callbacks, or above APC_LEVEL while the callback
 * runs. IRQL <= APC_LEVEL; not inside a callback of a family with grace periods.
 */
NTSTATUS ke_registry_deregister(struct ke_registry *registry, void *handle);

/* ---- Walks of a counted family ---- */

enum ke_registry_order { KE_NEWEST_FIRST, KE_OLDEST_FIRST };

/* On the stack of the thread that dispatches; its own thread alone touches it. */
struct ke_registry_walk {
	struct ke_registry *registry;
	struct ke_registry_entry *entry; /* whose call runs; 0: none yet */
	struct ke_registry_walk *outer;  /* of the same thread: a callback led to this dispatch */
	uint64_t limit; /* later registrations are not called; may be lowered before the first
			   next */
	enum ke_registry_order order;
};

/*
 * A walk calls, in its order, each entry that was registered when it began and still is when its
 * turn comes, once. IRQL <= DISPATCH_LEVEL, not in an NMI; the caller may block between two steps.
 *
 *	ke_registry_walk_begin(&walk, &registry, KE_NEWEST_FIRST);
 *	while ((entry = ke_registry_walk_next(&walk)) && call(entry) == CONTINUE)
 *		;
 *	ke_registry_walk_end(&walk);
 */
void ke_registry_walk_begin(struct ke_registry_walk *walk, struct ke_registry *registry,
			    enum ke_registry_order order);
/* Leaves the entry before; 0: there is no further one. */
struct ke_registry_entry *ke_registry_walk_next(struct ke_registry_walk *walk);
void ke_registry_walk_end(struct ke_registry_walk *walk);
/* True if the calling thread is inside a callback of the family. */
bool ke_registry_inside(const struct ke_registry *registry);

/* Call back for each live entry, at DISPATCH_LEVEL (unload checks). */
void ke_registry_each(struct ke_registry *registry,
		      void (*each)(void *context, const struct ke_registry_entry *entry),
		      void *context);
