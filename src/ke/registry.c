/* SPDX-License-Identifier: MIT */
/*
 * registry.c: callbacks that any context may walk while others come and go (NMI-5..14, 28, 29).
 *
 * Who writes: register and deregister, one at a time under `lock` (DISPATCH_LEVEL). Who reads:
 * dispatches, in an NMI at any instruction, also of the writer itself, without a lock. Order: an
 * entry is complete before head points at it (release; readers acquire). Unlinking is one store;
 * the entry keeps its `next`, so a reader that stands on it walks on. Its memory is never given
 * back, and the entry is not used again before the family's grace period: until every dispatch that
 * was running when it was unlinked has ended.
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
	atomic_store_explicit(&entry->claimed, 0, memory_order_relaxed);
	atomic_store_explicit(&entry->declined, 0, memory_order_relaxed);
	do {
		/* Odd, and such that the handle is not NULL. */
		entry->generation = (entry->generation + 1) | 1;
		handle = encipher(registry, entry->slot, entry->generation);
	} while (!handle);
	atomic_store_explicit(&entry->next,
			      atomic_load_explicit(&registry->head, memory_order_relaxed),
			      memory_order_relaxed);
	/* Pairs with the acquire in ke_registry_first. */
	atomic_store_explicit(&registry->head, entry, memory_order_release);
out:
	ke_lock_lower(&registry->lock, old);
	return (void *)handle;
}

static void unlink_entry(struct ke_registry *registry, struct ke_registry_entry *entry)
{
	struct ke_registry_entry *_Atomic *link = &registry->head;
	struct ke_registry_entry *at;
	while ((at = atomic_load_explicit(link, memory_order_relaxed)) != entry)
		link = &at->next;
	atomic_store(link, atomic_load_explicit(&entry->next, memory_order_relaxed));
}

NTSTATUS ke_registry_deregister(struct ke_registry *registry, void *handle)
{
	uint32_t slot, generation;
	decipher(registry, (uint64_t)handle, &slot, &generation);

	KIRQL old = ke_lock_raise(&registry->lock);
	struct ke_registry_entry *entry = slot < UINT32_MAX - 64 ? entry_at(registry, slot) : NULL;
	bool live = handle && entry && entry->generation == generation && (generation & 1);
	if (live) {
		entry->generation++; /* from here on the handle is stale */
		unlink_entry(registry, entry);
	}
	ke_lock_lower(&registry->lock, old);
	if (!live)
		return STATUS_INVALID_HANDLE;

	registry->grace();

	old = ke_lock_raise(&registry->lock);
	entry->next_free = registry->free;
	registry->free = entry;
	ke_lock_lower(&registry->lock, old);
	return STATUS_SUCCESS;
}

void ke_registry_each(struct ke_registry *registry,
		      void (*each)(void *context, const struct ke_registry_entry *entry),
		      void *context)
{
	KIRQL old = ke_lock_raise(&registry->lock);
	for (struct ke_registry_entry *e = ke_registry_first(registry); e; e = ke_registry_next(e))
		each(context, e);
	ke_lock_lower(&registry->lock, old);
}
