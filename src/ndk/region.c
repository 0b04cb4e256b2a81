/* SPDX-License-Identifier: MIT */
/*
 * region.c: tokens and the guard of registered memory. When a deregistration has ended not one byte
 * of the region is read or written by anybody (DESIGN.md decision 7).
 *
 * A token is a slot of a fixed table in disguise. The table is never freed, so an access may look a
 * token up without a lock while its region goes away: it counts itself in the slot's gate, and only
 * then looks whether the gate was open and the token is this one. A deregistration closes the gate,
 * then waits until the count is 0. Both steps are read-modify-writes of one word, so either the
 * access finds the gate closed, or the deregistration finds the access in the count and waits. An
 * access lasts for one piece of at most 32 KiB at DISPATCH_LEVEL, and each piece is checked anew: a
 * deregistration waits for one copy of 32 KiB per processor at the most, however large the request.
 *
 * Who writes, who reads, in what order: an access adds to the gate with acquire and takes off with
 * release; the owner opens with release (after it has written the slot) and closes with seq_cst,
 * then reads the gate with acquire until the count is 0 (after that the memory is the consumer's);
 * who takes the count of a closed gate to 0 wakes it.
 * A window's access holds the window's gate, then its parent's.
 *
 * Tokens (NDK-124, "unguessable, not reused soon"): a counter gives each registration the next
 * number; its low 24 bits go through a permutation keyed at boot to bits 31..8, whose lowest bits
 * chose the slot; its high 8 bits are bits 7..0, shifted by a keyed sum of the others. So a value
 * comes back after 2^32 registrations, a guess hits with the probability live / 2^32, and bits 7..0
 * can be turned (--strict=ndk-tokens) without moving the slot.
 *
 * Contexts: IRQL <= DISPATCH_LEVEL; no locks. An access must be at DISPATCH_LEVEL: else the thread
 * could be switched away inside, and who waits for it on this processor would wait for ever.
 *
 * Implements NDK-123, NDK-124, NDK-133, DEF-1, DEF-92, DEF-97 and the access checks of NDK-109a.
 */
#include "ndk/region.h"
#include "mm/mm.h"
#include "rtl/rtl.h"

#define GATE_OPEN (UINT64_C(1) << 63)
#define SPIN_NS   10000 /* what a piece takes at most when nobody is stopped on the way */

static struct ndk_region regions[NDK_REGIONS] __attribute__((aligned(64)));
static _Atomic uint32_t counter;
static _Atomic uint32_t live;
static uint64_t keys[5];
bool ndk_strict_tokens;

void ndk_regions_initialize(void)
{
	uint32_t first;
	port_random(keys, sizeof keys);
	port_random(&first, sizeof first);
	atomic_store_explicit(&counter, first, memory_order_relaxed);
}

/* ---- Tokens ---------------------------------------------------------------------------------- */

#define HALF 0xfffu

static uint32_t mix(uint32_t half, uint64_t key)
{
	uint64_t value = (half + key) * 0x9e3779b97f4a7c15;
	return (uint32_t)((value >> 45) ^ (value >> 27)) & HALF;
}

/* A permutation of 24 bits: four rounds over two halves. */
static uint32_t disguise(uint32_t number)
{
	uint32_t left = number >> 12, right = number & HALF;
	for (unsigned i = 0; i < 4; i++) {
		uint32_t next = left ^ mix(right, keys[i]);
		left = right;
		right = next;
	}
	return left << 12 | right;
}

static uint32_t reveal(uint32_t number)
{
	uint32_t left = number >> 12, right = number & HALF;
	for (unsigned i = 4; i-- > 0;) {
		uint32_t before = right ^ mix(left, keys[i]);
		right = left;
		left = before;
	}
	return left << 12 | right;
}

static uint32_t token_of(uint32_t number)
{
	uint32_t high = disguise(number & 0xffffff);
	uint32_t low = (number >> 24) + mix(high & HALF, keys[4]) + mix(high >> 12, keys[4]);
	return high << 8 | (low & 0xff);
}

static struct ndk_region *slot_of(uint32_t token)
{
	return &regions[reveal(token >> 8) % NDK_REGIONS];
}

/* ---- Slots ----------------------------------------------------------------------------------- */

struct ndk_region *ndk_region_take(void)
{
	if (atomic_fetch_add_explicit(&live, 1, memory_order_relaxed) >= NDK_REGIONS_LIMIT) {
		atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
		return NULL;
	}
	for (;;) { /* a quarter of the slots is free */
		uint32_t number = atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed);
		struct ndk_region *region = &regions[number % NDK_REGIONS];
		uint32_t token = token_of(number), none = 0;
		if (token && atomic_compare_exchange_strong_explicit(&region->token, &none, token,
								     memory_order_acquire,
								     memory_order_relaxed))
			return region;
	}
}

void ndk_region_give(struct ndk_region *region)
{
	/* Released to the taker: the slot is no longer ours. */
	atomic_store_explicit(&region->token, 0, memory_order_release);
	atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
}

void ndk_region_set(struct ndk_region *region, struct ndk_object *owner, struct ndk_pd *pd,
		    uint64_t start, uint64_t length, unsigned rights,
		    const struct ndk_backing *backing)
{
	region->owner = owner;
	region->pd = pd;
	region->start = start;
	region->length = length;
	region->rights = (uint16_t)rights;
	region->offset = (uint16_t)backing->offset;
	region->base = backing->base;
	region->pages = backing->pages;
}

void ndk_region_open(struct ndk_region *region)
{
	/* Releases the slot's contents to the accesses that find it open. */
	atomic_fetch_or_explicit(&region->gate, GATE_OPEN, memory_order_release);
}

bool ndk_region_close(struct ndk_region *region)
{
	uint64_t gate = atomic_fetch_and_explicit(&region->gate, ~GATE_OPEN, memory_order_seq_cst);
	bool busy = (gate & ~GATE_OPEN) != 0;
	/* A piece takes a few microseconds, and to be woken takes longer: only who was stopped on
	 * the way is slept for. */
	uint64_t begin = busy ? port_time_ns() : 0;
	while (gate & ~GATE_OPEN) {
		if (port_time_ns() - begin < SPIN_NS)
			__builtin_ia32_pause();
		else
			port_wait(&region->inside, (uint32_t)gate);
		/* Acquires the release of each access that has ended. */
		gate = atomic_load_explicit(&region->gate, memory_order_acquire);
	}
	return busy;
}

/* ---- Accesses -------------------------------------------------------------------------------- */

static void leave(struct ndk_region *region)
{
	if (atomic_fetch_sub_explicit(&region->gate, 1, memory_order_release) == 1)
		port_wake(
			&region->inside); /* closed, and this was the last: who closes may sleep */
}

static bool enter(struct ndk_region *region)
{
	uint64_t gate = atomic_fetch_add_explicit(&region->gate, 1, memory_order_acquire);
	if (gate & GATE_OPEN)
		return true;
	leave(region);
	return false;
}

/* A window's region: the one that it lies in. The caller is inside. */
static struct ndk_region *parent_of(const struct ndk_region *region)
{
	if (!(region->rights & NDK_REGION_WINDOW))
		return NULL;
	return ((struct ndk_mw *)region->owner)->mr->region;
}

/* A window of a fast register dies with the registration that it was bound to. */
static bool same_registration(const struct ndk_region *region)
{
	const struct ndk_mw *mw = (const struct ndk_mw *)region->owner;
	return mw->generation == mw->mr->generation;
}

/* The piece at `offset`, at most `length` bytes and at most NDK_CHUNK. */
static void locate(const struct ndk_region *region, uint64_t offset, uint64_t length,
		   struct ndk_access *access)
{
	size_t most = length < NDK_CHUNK ? (size_t)length : NDK_CHUNK;
	if (region->base) {
		access->data = region->base + offset;
		access->length = most;
		return;
	}
	uint64_t at = region->offset + offset;
	char **page = &region->pages[at / NDK_PAGE_SIZE];
	size_t inside = at % NDK_PAGE_SIZE;
	access->data = *page + inside;
	access->length = NDK_PAGE_SIZE - inside;
	while (access->length < most && page[1] == page[0] + NDK_PAGE_SIZE) {
		access->length += NDK_PAGE_SIZE;
		page++;
	}
	if (access->length > most)
		access->length = most;
}

/* The privileged token: logical addresses, which are the model's physical ones. Nothing guards
 * them but the LAM, which is the consumer's to keep (VER-62). */
static NTSTATUS access_logical(uint64_t address, uint64_t length, unsigned rights,
			       struct ndk_access *access)
{
	if (rights & (NDK_RIGHT_REMOTE_READ | NDK_RIGHT_REMOTE_WRITE))
		return STATUS_ACCESS_VIOLATION;
	size_t most = length < NDK_CHUNK ? (size_t)length : NDK_CHUNK;
	char *data = mm_virtual_of(address);
	if (!data)
		return STATUS_ACCESS_VIOLATION;
	size_t here = NDK_PAGE_SIZE - (size_t)(address % NDK_PAGE_SIZE);
	while (here < most && mm_virtual_of(address + here) == data + here)
		here += NDK_PAGE_SIZE;
	access->data = data;
	access->length = here < most ? here : most;
	access->guard = NULL;
	return STATUS_SUCCESS;
}

NTSTATUS ndk_access_begin(struct ndk_pd *pd, uint32_t token, uint64_t address, uint64_t length,
			  unsigned rights, struct ndk_access *access)
{
	NTSTATUS status = STATUS_ACCESS_VIOLATION;
	if (token == pd->object.adapter->privileged_token)
		return access_logical(address, length, rights, access);
	struct ndk_region *region = slot_of(token);
	if (!enter(region))
		return status;
	uint64_t offset = address - region->start; /* modulo 2^64 (DEF-92) */
	if (!token || ndk_region_token(region) != token || region->pd != pd ||
	    (region->rights & rights) != rights)
		goto refuse;
	if (offset > region->length || length > region->length - offset) {
		if (rights & (NDK_RIGHT_REMOTE_READ | NDK_RIGHT_REMOTE_WRITE))
			status = STATUS_REMOTE_RESOURCES;
		goto refuse;
	}
	struct ndk_region *parent = parent_of(region);
	if (parent && !enter(parent))
		goto refuse;
	if (parent && !same_registration(region)) {
		leave(parent);
		goto refuse;
	}
	locate(region, offset, length, access);
	access->guard = region;
	return STATUS_SUCCESS;
refuse:
	leave(region);
	return status;
}

void ndk_access_end(struct ndk_access *access)
{
	struct ndk_region *region = access->guard;
	if (!region)
		return;
	struct ndk_region *parent = parent_of(region);
	if (parent)
		leave(parent);
	leave(region);
}

unsigned ndk_local_lookup(struct ndk_pd *pd, uint32_t token, uint64_t address, uint32_t length,
			  enum ndk_right right, struct ndk_mr **mr, struct ndk_run *runs,
			  unsigned room)
{
	struct ndk_access access;
	unsigned count = 0;
	char *end = NULL;
	*mr = NULL;
	KIRQL old = ke_irql_raise(DISPATCH_LEVEL);
	while (length && NT_SUCCESS(ndk_access_begin(pd, token, address, length, right, &access))) {
		const struct ndk_region *region = access.guard;
		size_t here = region && region->base ? length : access.length;
		if (region)
			*mr = (struct ndk_mr *)region->owner;
		ndk_access_end(&access);
		if (access.data != end && count++ < room)
			runs[count - 1] = (struct ndk_run){access.data, 0};
		if (count <= room)
			runs[count - 1].size += here;
		end = access.data + here;
		address += here;
		length -= (uint32_t)here;
	}
	ke_irql_lower(old);
	return length ? 0 : count;
}

struct ndk_object *ndk_region_owner(struct ndk_pd *pd, uint32_t token, unsigned *rights)
{
	struct ndk_region *region = slot_of(token);
	struct ndk_object *owner = NULL;
	KIRQL old = ke_irql_raise(DISPATCH_LEVEL);
	if (enter(region)) {
		if (token && ndk_region_token(region) == token && region->pd == pd &&
		    ndk_busy_try(region->owner))
			owner = region->owner;
		*rights = region->rights;
		leave(region);
	}
	ke_irql_lower(old);
	return owner;
}

uint32_t ndk_region_reserve_token(void)
{
	struct ndk_region *region = ndk_region_take();
	return region ? ndk_region_token(region) : 0;
}

void ndk_region_release_token(uint32_t token)
{
	if (token)
		ndk_region_give(slot_of(token));
}
