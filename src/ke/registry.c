/* SPDX-License-Identifier: MIT */
/*
 * registry.c: callbacks that are walked while others come and go (NMI-5..14, 28, 29; BND-7, 10..12,
 * 15; PRC-41).
 *
 * Families with grace periods. Who writes: register and deregister, one at a time under `lock`
 * (DISPATCH_LEVEL). Who reads: dispatches, in an NMI at any instruction, also of the writer itself,
 * without a lock. Order: an entry is complete before head points at it (release; readers acquire).
 * Unlinking is one store; the entry keeps its `next`, so a reader that stands on it walks on. Its
 * memory is never given back, and the entry is not used again before the family's grace period:
 * until every dispatch that was running when it was unlinked has ended.
 *
 * Counted families. A call may wait for seconds, on any processor, so nobody can wait for "all who
 * read now". Who reads: walks, each step under `lock`, which is not held during the call. A walk
 * keeps its place by the count of the entry that it calls: an entry with a count is neither
 * unlinked nor used again. Deregistration makes the generation even, from which moment no walk
 * enters the entry; if it is being called, it stays in the list as a place to go on from, with
 * links that others keep right, until the last call leaves it and wakes the deregistration
 * (`waiters`, under `lock`), which then unlinks it. Were it unlinked at once, its own
 * `next` would grow stale: it could name an entry that has been removed and registered anew at the
 * head, and the walk would begin again from there. A slot that was left can be a newer registration
 * when a walk comes by: `number` and the walk's `limit` tell.
 *
 * Lock order: `lock`, then the dispatcher lock (the last call sets the waiter's event).
 *
 * Entries lie in chunks that double in size and stay for ever, so a handle of garbage is checked by
 * arithmetic on numbers and never by touching what it points at. A handle is the slot and its
 * generation, enciphered with a key drawn at boot: not NULL, not guessable, different each time a
 * slot is used.
 */
#include "ke/registry.h"
#include "ke/internal.h"

/* ---- Handles: a four-round Feistel network over (slot, generation), keyed by family ---- */

static uint32_t mix(uint32_t half, uint64_t key)
{
	uint64_t x = (half ^ key) * 0x9e3779b97f4a7c15ull;
	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9ull;
	return (uint32_t)(x >> 32) ^ (uint32_t)x;
}

static const uint64_t *keys(void)
{
	static uint64_t key[4];
	static struct ke_lock drawing; /* who draws is not switched off while others wait */
	static _Atomic bool drawn;
	if (atomic_load_explicit(&drawn, memory_order_acquire))
		return key;
	KIRQL old = ke_lock_raise(&drawing);
	if (!atomic_load_explicit(&drawn, memory_order_relaxed)) {
		port_random(key, sizeof key);
		atomic_store_explicit(&drawn, true, memory_order_release);
	}
	ke_lock_lower(&drawing, old);
	return key;
}

static uint64_t encipher(const struct ke_registry *registry, uint32_t slot, uint32_t generation)
{
	const uint64_t *key = keys();
	uint32_t left = slot, right = generation;
	for (int i = 0; i < 4; i++) {
		uint32_t next = left ^ mix(right, key[i] + registry->family);
		left = right;
		right = next;
	}
	return (uint64_t)left << 32 | right;
}

static void decipher(const struct ke_registry *registry, uint64_t handle, uint32_t *slot,
		     uint32_t *generation)
{
	const uint64_t *key = keys();
	uint32_t left = (uint32_t)(handle >> 32), right = (uint32_t)handle;
	for (int i = 3; i >= 0; i--) {
		uint32_t previous = right ^ mix(left, key[i] + registry->family);
		right = left;
		left = previous;
	}
	*slot = left;
	*generation = right;
}

/* ---- Slots ---- */

static uint32_t chunk_size(uint32_t chunk)
{
	return 64u << chunk;
}

/* Slot s lies in the chunk whose sizes below it add up to 64 * (2^k - 1). */
static struct ke_registry_entry *entry_at(struct ke_registry *registry, uint32_t slot)
{
	uint32_t chunk = 31 - (uint32_t)__builtin_clz(slot / 64 + 1);
	if (chunk >= registry->chunk_count)
		return NULL;
	return &registry->chunks[chunk][slot - 64 * ((1u << chunk) - 1)];
}

/* With the lock: more free entries. The memory stays for the run, so it comes from the port and not
 * from the pool. */
static bool grow(struct ke_registry *registry)
{
	uint32_t chunk = registry->chunk_count;
	if (chunk == KE_REGISTRY_CHUNKS)
		return false;
	size_t size = chunk_size(chunk) * sizeof(struct ke_registry_entry);
	size = (size + PORT_PAGE_SIZE - 1) & ~(size_t)(PORT_PAGE_SIZE - 1);
	struct ke_registry_entry *entries = port_pages_reserve(NULL, size);
	if (!entries)
		return false;
	if (!port_pages_protect(entries, size, PORT_READ | PORT_WRITE)) {
		port_pages_release(entries, size);
		return false;
	}
	registry->chunks[chunk] = entries;
	registry->chunk_count++;
	for (uint32_t i = chunk_size(chunk); i-- > 0;) {
		entries[i].slot = 64 * ((1u << chunk) - 1) + i;
		entries[i].next_free = registry->free;
		registry->free = &entries[i];
	}
	return true;
}

void *ke_registry_register(struct ke_registry *registry, void *routine, void *context,
			   uint64_t caller)
{
	uint64_t handle = 0;
	KIRQL old = ke_lock_raise(&registry->lock);
	if (!registry->free && !grow(registry))
		goto out;
	struct ke_registry_entry *entry = registry->free;
	registry->free = entry->next_free;
	entry->routine = routine;
	entry->context = context;
	entry->caller = caller;
	entry->running = entry->waited = 0; /* claimed, declined */
	entry->number = ++registry->registrations;
	do {
		/* Odd, and such that the handle is not NULL. */
		entry->generation = (entry->generation + 1) | 1;
		handle = encipher(registry, entry->slot, entry->generation);
	} while (!handle);
	struct ke_registry_entry *older =
		atomic_load_explicit(&registry->head, memory_order_relaxed);
	atomic_store_explicit(&entry->next, older, memory_order_relaxed);
	entry->newer = NULL;
	if (older)
		older->newer = entry;
	else
		registry->oldest = entry;
	/* Pairs with the acquire in ke_registry_first. */
	atomic_store_explicit(&registry->head, entry, memory_order_release);
out:
	ke_lock_lower(&registry->lock, old);
	return (void *)handle;
}

/* With the lock. */
static void unlink_entry(struct ke_registry *registry, struct ke_registry_entry *entry)
{
	struct ke_registry_entry *older = atomic_load_explicit(&entry->next, memory_order_relaxed);
	if (older)
		older->newer = entry->newer;
	else
		registry->oldest = entry->newer;
	/* seq_cst: before a grace period begins. */
	atomic_store(entry->newer ? &entry->newer->next : &registry->head, older);
}

static void free_entry(struct ke_registry *registry, struct ke_registry_entry *entry)
{
	entry->next_free = registry->free;
	registry->free = entry;
}

/* With the lock: the entry that lives under this handle; 0: none. */
static struct ke_registry_entry *find(struct ke_registry *registry, void *handle)
{
	uint32_t slot, generation;
	decipher(registry, (uint64_t)handle, &slot, &generation);
	struct ke_registry_entry *entry = slot < UINT32_MAX - 64 ? entry_at(registry, slot) : NULL;
	bool live = handle && entry && entry->generation == generation && (generation & 1);
	return live ? entry : NULL;
}

/* On the stack of a deregistration that sleeps. */
struct ke_registry_waiter {
	struct ke_registry_waiter *next;
	const struct ke_registry_entry *entry;
	KEVENT left; /* nobody calls the entry any more */
};

/*
 * With the lock, which is given up for a while: sleep until no call of the entry runs. Whoever sets
 * the event does so with the lock, and is done with it when we have it again.
 */
static void wait_for_calls(struct ke_registry *registry, struct ke_registry_entry *entry, KIRQL old)
{
	struct ke_registry_waiter waiter = {.next = registry->waiters, .entry = entry};
	KeInitializeEvent(&waiter.left, NotificationEvent, FALSE);
	registry->waiters = &waiter;
	entry->waited = true;
	ke_lock_lower(&registry->lock, old);
	KeWaitForSingleObject(&waiter.left, Executive, KernelMode, FALSE, NULL);
	ke_lock_raise(&registry->lock);
	struct ke_registry_waiter **link = &registry->waiters;
	while (*link != &waiter)
		link = &(*link)->next;
	*link = waiter.next;
}

static void wake_waiter(struct ke_registry *registry, const struct ke_registry_entry *entry)
{
	struct ke_registry_waiter *waiter = registry->waiters;
	while (waiter->entry != entry)
		waiter = waiter->next;
	KeSetEvent(&waiter->left, IO_NO_INCREMENT, FALSE);
}

NTSTATUS ke_registry_deregister(struct ke_registry *registry, void *handle)
{
	NTSTATUS status = STATUS_SUCCESS;
	if (!registry->grace && ke_registry_inside(registry))
		return STATUS_UNSUCCESSFUL;

	KIRQL old = ke_lock_raise(&registry->lock);
	struct ke_registry_entry *entry = find(registry, handle);
	if (!entry) {
		status = STATUS_INVALID_HANDLE;
		goto out;
	}
	if (!registry->grace && entry->running && old > APC_LEVEL) {
		status = STATUS_UNSUCCESSFUL; /* who waits here stops the processor that calls */
		goto out;
	}
	entry->generation++; /* from here on the handle is stale */
	if (registry->grace) {
		unlink_entry(registry, entry);
		ke_lock_lower(&registry->lock, old);
		registry->grace();
		old = ke_lock_raise(&registry->lock);
	} else {
		if (entry->running)
			wait_for_calls(registry, entry, old);
		unlink_entry(registry, entry);
	}
	free_entry(registry, entry);
out:
	ke_lock_lower(&registry->lock, old);
	return status;
}

/* ---- Walks ---- */

bool ke_registry_inside(const struct ke_registry *registry)
{
	for (const struct ke_registry_walk *w = ke_thread()->walks; w; w = w->outer) {
		if (w->registry == registry)
			return true;
	}
	return false;
}

void ke_registry_walk_begin(struct ke_registry_walk *walk, struct ke_registry *registry,
			    enum ke_registry_order order)
{
	PKTHREAD thread = ke_thread();
	KIRQL old = ke_lock_raise(&registry->lock);
	walk->limit = registry->registrations;
	ke_lock_lower(&registry->lock, old);
	walk->registry = registry;
	walk->entry = NULL;
	walk->order = order;
	walk->outer = thread->walks;
	thread->walks = walk;
}

/* With the lock: the call of the walk's entry is over. */
static void leave(struct ke_registry_walk *walk)
{
	struct ke_registry_entry *entry = walk->entry;
	if (entry && --entry->running == 0 && entry->waited)
		wake_waiter(walk->registry, entry);
	walk->entry = NULL;
}

static struct ke_registry_entry *first_of(const struct ke_registry_walk *walk)
{
	return walk->order == KE_OLDEST_FIRST ? walk->registry->oldest
					      : ke_registry_first(walk->registry);
}

static struct ke_registry_entry *after(const struct ke_registry_walk *walk,
				       struct ke_registry_entry *entry)
{
	return walk->order == KE_OLDEST_FIRST ? entry->newer : ke_registry_next(entry);
}

struct ke_registry_entry *ke_registry_walk_next(struct ke_registry_walk *walk)
{
	KIRQL old = ke_lock_raise(&walk->registry->lock);
	struct ke_registry_entry *next = walk->entry ? after(walk, walk->entry) : first_of(walk);
	while (next && (!(next->generation & 1) || next->number > walk->limit))
		next = after(walk, next);
	leave(walk);
	if (next)
		next->running++;
	else
		walk->limit = 0; /* ended: asked again it finds nothing */
	walk->entry = next;
	ke_lock_lower(&walk->registry->lock, old);
	return next;
}

void ke_registry_walk_end(struct ke_registry_walk *walk)
{
	if (walk->entry) {
		KIRQL old = ke_lock_raise(&walk->registry->lock);
		leave(walk);
		ke_lock_lower(&walk->registry->lock, old);
	}
	ke_thread()->walks = walk->outer;
}

void ke_registry_each(struct ke_registry *registry,
		      void (*each)(void *context, const struct ke_registry_entry *entry),
		      void *context)
{
	KIRQL old = ke_lock_raise(&registry->lock);
	for (struct ke_registry_entry *e = ke_registry_first(registry); e;
	     e = ke_registry_next(e)) {
		if (e->generation & 1)
			each(context, e);
	}
	ke_lock_lower(&registry->lock, old);
}
