/* SPDX-License-Identifier: MIT */
/*
 * registry.h: the one registry of driver callbacks that events are dispatched to (DESIGN.md
 * decision 3).
 *
 * A family (NMI, bound, processor change) has one registry. Entries are kept newest first and read
 * without a lock, in any context. Deregistration returns when no processor still runs the callback,
 * or could still reach its entry.
 */
#pragma once

#include "ke/ke.h"

struct ke_registry_entry {
	struct ke_registry_entry *_Atomic next;
	void *routine;
	void *context;
	uint64_t caller;     /* who registered it */
	uint32_t slot;       /* own place, fixed */
	uint32_t generation; /* odd while registered; lock */
	struct ke_registry_entry *next_free;
	_Atomic uint32_t claimed, declined; /* NMIs that no driver sent, while checked (VER-48) */
};

#define KE_REGISTRY_CHUNKS 24

struct ke_registry {
	const char *name;
	uint32_t family; /* part of the handle: handles of other families do not match */
	/* Returns when every reader that might have reached an unlinked entry has left. */
	void (*grace)(void);
	struct ke_registry_entry *_Atomic head;
	struct ke_lock lock; /* writers; free list, chunks, generations */
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
 * Take the entry out and wait for its running calls. STATUS_SUCCESS, or STATUS_INVALID_HANDLE when
 * the handle names no live registration of this family. IRQL <= APC_LEVEL, not inside a callback of
 * the family.
 */
NTSTATUS ke_registry_deregister(struct ke_registry *registry, void *handle);
/* Call back for each live entry, at DISPATCH_LEVEL (unload checks). */
void ke_registry_each(struct ke_registry *registry,
		      void (*each)(void *context, const struct ke_registry_entry *entry),
		      void *context);
