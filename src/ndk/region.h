/* SPDX-License-Identifier: MIT */
/* region.h: what a token stands for; see region.c. */
#pragma once

#include "ndk/internal.h"

#define NDK_REGIONS       32768u /* slots; a power of 2, at most 2^24 */
#define NDK_REGIONS_LIMIT (NDK_REGIONS / 4 * 3)

/*
 * Where the memory of a region is: one piece from `base`, or (base 0) pages[i] of NDK_PAGE_SIZE, of
 * which the first byte is at `offset`.
 */
struct ndk_backing {
	char *base;
	char **pages; /* owned by the MR */
	uint32_t page_count;
	uint32_t offset;
};

/*
 * A slot. `gate` and `token` may be touched by anyone at any time; the rest is written by the owner
 * while the gate is closed and nobody is inside.
 *
 * gate    GATE_OPEN and, below, how many accesses are under way or are being refused.
 * token   0: the slot is free.
 */
#define NDK_REGION_WINDOW 0x8000
struct ndk_region {
	union {
		_Atomic uint64_t gate;
		_Atomic uint32_t inside; /* its low half: the count, for port_wait */
	};
	_Atomic uint32_t token;
	uint16_t rights; /* enum ndk_right; NDK_REGION_WINDOW */
	uint16_t offset; /* backing's */
	struct ndk_pd *pd;
	uint64_t start, length;
	char *base;
	char **pages;
	struct ndk_object *owner; /* MR or MW, which stays while the gate is open */
};
_Static_assert(sizeof(struct ndk_region) == 64, "one cache line");

void ndk_regions_initialize(void);
/* A free slot with a fresh token, closed. 0: all are in use. */
struct ndk_region *ndk_region_take(void);
/* Give it back: it must be closed. */
void ndk_region_give(struct ndk_region *region);
/* While it is closed: what its token stands for. */
void ndk_region_set(struct ndk_region *region, struct ndk_object *owner, struct ndk_pd *pd,
		    uint64_t start, uint64_t length, unsigned rights,
		    const struct ndk_backing *backing);
void ndk_region_open(struct ndk_region *region);
/* Refuse accesses from now on, and wait until none is under way. Returns whether any was. */
bool ndk_region_close(struct ndk_region *region);
/* NDK-124: the next value of a token: only bits 7..0 change (of regions: --strict=ndk-tokens; of
 * windows: where the device chooses the rest). */
static inline uint32_t ndk_token_turn(uint32_t token)
{
	uint32_t turned = (token & ~0xffu) | ((token + 1) & 0xff);
	return turned ? turned : 1;
}
/* While it is closed: another token of the same slot. */
static inline void ndk_region_retoken(struct ndk_region *region, uint32_t token)
{
	atomic_store_explicit(&region->token, token, memory_order_relaxed);
}
/* A token that is never open; 0: none is free. */
uint32_t ndk_region_reserve_token(void);
void ndk_region_release_token(uint32_t token);
/* Who owns the open region with this token, and its rights (enum ndk_right); one reference is the
 * caller's. 0: there is none. */
struct ndk_object *ndk_region_owner(struct ndk_pd *pd, uint32_t token, unsigned *rights);
static inline uint32_t ndk_region_token(const struct ndk_region *region)
{
	return atomic_load_explicit(&region->token, memory_order_relaxed);
}

/* ---- memory.c: what MDLs and page arrays describe ---- */

/*
 * The first `length` bytes of an MDL chain. STATUS_INVALID_PARAMETER: no length, a chain that is
 * shorter, not virtually contiguous, or not locked; STATUS_NOT_SUPPORTED: memory of a user process;
 * STATUS_INSUFFICIENT_RESOURCES. *backing owns its pages.
 */
NTSTATUS ndk_backing_of_mdl(MDL *mdl, SIZE_T length, struct ndk_backing *backing, bool *unlocked);
/* Logical pages. STATUS_INVALID_PARAMETER: one is not aligned, or is no memory. */
NTSTATUS ndk_backing_of_pages(const NDK_LOGICAL_ADDRESS *pages, uint32_t count, uint32_t offset,
			      struct ndk_backing *backing);
void ndk_backing_free(struct ndk_backing *backing);
/* For providers: the pieces of [offset, offset + length). Returns how many there are; fills up to
 * `room`. */
unsigned ndk_backing_runs(const struct ndk_backing *backing, uint64_t offset, uint64_t length,
			  struct ndk_run *runs, unsigned room);
