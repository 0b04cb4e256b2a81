/* SPDX-License-Identifier: MIT */
/*
 * live.c: objects that live in drivers' memory, kept apart from it: resources, lookaside lists,
 * locked MDLs.
 *
 * A hash table of the object's address. Contexts: IRQL <= DISPATCH_LEVEL under `live_lock`, which
 * is taken before ex_pool_lock. Filled only while the verifier is on. Implements VER-28 (what a
 * freed block still holds) and the lists for VER-38, VER-44.
 */
#include "ex/pool.h"
#include "mm/mm.h"
#include "vf/vf.h"

#define BUCKETS 256u
#define PUT_OFF 16u
#define LISTED  32u /* objects that one look calls back for */

struct entry {
	struct entry *next;
	struct ex_live live;
};

static struct entry *buckets[BUCKETS];
static struct ke_lock live_lock;

/* Removals above DISPATCH_LEVEL, where the lock may be held by what was interrupted: done later. */
static struct {
	_Atomic(const void *) object;
	_Atomic uint32_t kind;
} put_off[PUT_OFF];

static struct entry **bucket_of(const void *object)
{
	uint64_t hash = ((uintptr_t)object >> 3) * UINT64_C(0x9e3779b97f4a7c15);
	return &buckets[hash >> 56];
}

static struct entry **find(enum ex_live_kind kind, const void *object)
{
	struct entry **link = bucket_of(object);
	while (*link && ((*link)->live.object != object || (*link)->live.kind != kind))
		link = &(*link)->next;
	return link;
}

static void remove_later(enum ex_live_kind kind, const void *object)
{
	for (unsigned i = 0; i < PUT_OFF; i++) {
		const void *empty = NULL;
		if (!atomic_compare_exchange_strong(&put_off[i].object, &empty, object))
			continue;
		atomic_store(&put_off[i].kind, kind + 1); /* complete */
		return;
	}
}

static void remove_put_off(void)
{
	for (unsigned i = 0; i < PUT_OFF; i++) {
		const void *object = atomic_load(&put_off[i].object);
		uint32_t kind = object ? atomic_exchange(&put_off[i].kind, 0) : 0;
		if (!kind)
			continue;
		atomic_store(&put_off[i].object, NULL);
		ex_live_remove((enum ex_live_kind)(kind - 1), object);
	}
}

bool ex_live_add(enum ex_live_kind kind, const void *object, size_t size, uint64_t caller)
{
	if (!vf_on() || ke_irql() > DISPATCH_LEVEL)
		return true;
	remove_put_off();
	struct entry *new = ex_allocate(sizeof(*new), 'eviL', NonPagedPoolNx);
	if (!new)
		return true; /* unchecked rather than refused */
	new->live = (struct ex_live){kind, object, size, caller};

	KIRQL old = ke_lock_raise(&live_lock);
	struct entry **link = find(kind, object);
	bool fresh = !*link;
	if (fresh)
		*link = new;
	else
		(*link)->live = new->live;
	ke_lock_lower(&live_lock, old);
	if (!fresh)
		ex_free(new);
	return fresh;
}

bool ex_live_remove(enum ex_live_kind kind, const void *object)
{
	if (!vf_on())
		return true;
	if (ke_irql() > DISPATCH_LEVEL) {
		remove_later(kind, object);
		return true;
	}
	KIRQL old = ke_lock_raise(&live_lock);
	struct entry **link = find(kind, object);
	struct entry *entry = *link;
	if (entry)
		*link = entry->next;
	ke_lock_lower(&live_lock, old);
	ex_free(entry);
	return entry;
}

static bool concerns(const struct ex_live *live, uint64_t low, uint64_t high)
{
	uint64_t object = (uintptr_t)live->object;
	return (object >= low && object < high) || (live->caller >= low && live->caller < high);
}

/* What was found is called back with no lock held, so that a finding shows the caller's IRQL. */
size_t ex_live_each(enum ex_live_kind kind, const void *base, size_t size, bool remove,
		    void (*each)(void *context, const struct ex_live *live), void *context)
{
	struct ex_live found[LISTED];
	struct entry *removed = NULL;
	size_t count = 0;
	remove_put_off();
	KIRQL old = ke_lock_raise(&live_lock);
	for (unsigned i = 0; i < BUCKETS; i++) {
		struct entry **link = &buckets[i];
		while (*link) {
			struct entry *entry = *link;
			if (entry->live.kind != kind ||
			    !concerns(&entry->live, (uintptr_t)base, (uintptr_t)base + size)) {
				link = &entry->next;
				continue;
			}
			if (count < LISTED)
				found[count] = entry->live;
			count++;
			if (!remove) {
				link = &entry->next;
				continue;
			}
			*link = entry->next;
			entry->next = removed;
			removed = entry;
		}
	}
	ke_lock_lower(&live_lock, old);
	for (size_t i = 0; each && i < count && i < LISTED; i++)
		each(context, &found[i]);
	while (removed) {
		struct entry *next = removed->next;
		ex_free(removed);
		removed = next;
	}
	return count;
}

/* ---- A block that is freed ----------------------------------------------------------------------
 */

struct contents {
	const struct ex_place *place;
	const void *resource;
};

static void note_resource(void *context, const struct ex_live *live)
{
	struct contents *contents = context;
	uint64_t offset = (uintptr_t)live->object - (uintptr_t)contents->place->base;
	if (offset < contents->place->block->size)
		contents->resource = live->object;
}

struct timers {
	uint64_t base, size;
	KTIMER *found;
};

static void note_timer(void *context, KTIMER *timer)
{
	struct timers *timers = context;
	if ((uint64_t)(uintptr_t)timer - timers->base < timers->size)
		timers->found = timer;
}

static void check_timers(const struct ex_place *place, uint64_t caller, const char *ddi)
{
	struct timers timers = {.base = (uintptr_t)place->base, .size = place->block->size};
	if (timers.size < sizeof(KTIMER))
		return;
	ke_timers_each(note_timer, &timers);
	if (!timers.found)
		return;
	uint64_t parameters[3] = {(uintptr_t)timers.found, timers.found->Header.Type,
				  (uintptr_t)place->base};
	vf_report_with(VF_PoolFreeTimer, ddi, caller, (uintptr_t)timers.found, parameters,
		       "frees the block %p, which holds the set timer %p", place->base,
		       timers.found);
	KeCancelTimer(timers.found); /* the kernel's list must not lead into a freed block */
}

void ex_check_contents(const struct ex_place *place, uint64_t caller, const char *ddi)
{
	if (!ddi || ke_irql() > DISPATCH_LEVEL) /* the core's own block; or the lock may be held */
		return;
	struct contents contents = {.place = place};
	size_t size = place->block->size;
	uint64_t parameters[3] = {0, 0, (uintptr_t)place->base};
	if (size >= sizeof(ERESOURCE))
		ex_live_each(EX_LIVE_RESOURCE, place->base, size, false, note_resource, &contents);
	if (contents.resource) {
		parameters[0] = (uintptr_t)contents.resource;
		vf_report_with(VF_PoolFreeResource, ddi, caller, (uintptr_t)contents.resource,
			       parameters, "frees the block %p, which holds the ERESOURCE %p",
			       place->base, contents.resource);
		ex_live_remove(EX_LIVE_RESOURCE, contents.resource);
	}
	check_timers(place, caller, ddi);
	ke_lock_order_forget(place->base, size);
	size_t locked = mm_pages_locked(place->base, place->room);
	if (!locked)
		return;
	vf_report(VF_PoolFreeLocked, ddi, caller, (uintptr_t)place->base,
		  "frees the block %p while %I64u of its pages are locked", place->base,
		  (uint64_t)locked);
	mm_pages_forget_locks(place->base, place->room); /* the next owner is innocent */
}
