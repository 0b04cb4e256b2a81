/* SPDX-License-Identifier: MIT */
/*
 * pool_check.c: what the pool says about a driver's use of it.
 *
 * Contexts: those of the pool's functions; no lock is held. A finding is reported when the verifier
 * is on, and the pool carries on as well as it can: an allocation is made, a bad free has no
 * effect. Without the verifier a bad free stops the machine as on Windows: bug check 0xC2
 * BAD_POOL_CALLER.
 *
 * Implements VER-27, VER-28, VER-31, VER-13 (its run-time half) and PLT-48 (tags).
 */
#include <bugcodes.h>
#include "ex/pool.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

#define BAD_POOL_FREED     0x07u /* parameter 1: the block was freed before */
#define BAD_POOL_TAG       0x0au
#define BAD_POOL_ADDRESS   0x46u
#define PROTECTED_POOL_BIT 0x80000000u

/* A tag as its four characters. */
struct tag_text {
	char text[5];
};

static struct tag_text tag_text(ULONG tag)
{
	struct tag_text result;
	for (unsigned i = 0; i < 4; i++) {
		char c = (char)(tag >> 8 * i);
		result.text[i] = c >= 0x20 && c < 0x7f ? c : '.';
	}
	result.text[4] = 0;
	return result;
}

static uint64_t pool_type(const struct ex_place *place)
{
	return place->arena == &ex_arenas[EX_ARENA_PAGED] ? PagedPool : NonPagedPool;
}

/* ---- Allocation --------------------------------------------------------------------------------
 */

/* The image that is unloading; size 0: none. Written by the one who unloads. */
static _Atomic uint64_t unloading_base, unloading_size;

void ex_pool_unloading(uint64_t base, uint64_t size)
{
	atomic_store_explicit(&unloading_size, 0, memory_order_relaxed);
	atomic_store_explicit(&unloading_base, base, memory_order_release);
	atomic_store_explicit(&unloading_size, size, memory_order_release);
}

static void check_unloading(const struct ex_request *request)
{
	uint64_t size = atomic_load_explicit(&unloading_size, memory_order_acquire);
	uint64_t base = atomic_load_explicit(&unloading_base, memory_order_relaxed);
	if (request->caller - base < size)
		vf_report(VF_PoolUnloading, request->ddi, request->caller, 0,
			  "allocates %I64u bytes, tag '%s', after DriverUnload has returned",
			  (uint64_t)request->size, tag_text(request->tag).text);
}

void ex_check_allocate(const struct ex_request *request)
{
	KIRQL irql = ke_irql();
	bool paged = request->heap == EX_HEAP_PAGED;
	uint64_t parameters[3] = {irql, paged ? PagedPool : NonPagedPool, request->size};
	struct tag_text tag = tag_text(request->tag);

	check_unloading(request);
	if (!request->size)
		vf_report_with(VF_PoolZeroSize, request->ddi, request->caller, 0, parameters,
			       "allocates 0 bytes, tag '%s'", tag.text);
	if (paged && irql > APC_LEVEL && request->compliance)
		vf_report(VF_IrqlExAllocatePool, request->ddi, request->caller, 0,
			  "allocates paged pool (%I64u bytes, tag '%s') at %s (%u)",
			  (uint64_t)request->size, tag.text, vf_irql_name(irql), irql);
	else if (paged && irql > APC_LEVEL)
		vf_report_with(VF_PoolPagedIrql, request->ddi, request->caller, 0, parameters,
			       "allocates paged pool (%I64u bytes, tag '%s') at %s (%u)",
			       (uint64_t)request->size, tag.text, vf_irql_name(irql), irql);
	else if (irql > DISPATCH_LEVEL && !request->compliance)
		vf_report_with(VF_PoolNonPagedIrql, request->ddi, request->caller, 0, parameters,
			       "allocates %I64u bytes, tag '%s', at %s (%u)",
			       (uint64_t)request->size, tag.text, vf_irql_name(irql), irql);
}

/* A freed block, about to be used again: is it as it was left? */
void ex_check_recycled(const struct ex_place *place, ULONG former_tag)
{
	const unsigned char *bytes = (const unsigned char *)place->base;
	size_t i = 0;
	while (i < place->room && bytes[i] == EX_FILL_FREED)
		i++;
	if (i == place->room)
		return;
	struct tag_text tag = tag_text(former_tag);
	vf_report(VF_PoolUsedAfterFree, NULL, EX_BLOCK_GET(place->block->freed_by),
		  (uint64_t)place->base,
		  "freed the block %p (tag '%s'), and byte %I64u of it was written afterwards (now "
		  "%02x)",
		  place->base, tag.text, (uint64_t)i, bytes[i]);
}

/* ---- Free
 * ---------------------------------------------------------------------------------------- */

static void check_irql(const struct ex_place *place, uint64_t caller, const char *ddi)
{
	KIRQL irql = ke_irql();
	bool paged = pool_type(place) == PagedPool;
	uint64_t parameters[3] = {irql, pool_type(place), (uint64_t)place->base};
	if (irql <= APC_LEVEL || (!paged && irql <= DISPATCH_LEVEL))
		return;
	if (ddi[0] != 'E') /* a routine of mm: its own IRQL rule has been judged */
		return;
	vf_report_with(paged ? VF_PoolFreePagedIrql : VF_PoolFreeNonPagedIrql, ddi, caller,
		       (uint64_t)place->base, parameters,
		       "frees the %s block %p (tag '%s') at %s (%u)", paged ? "paged" : "nonpaged",
		       place->base, tag_text(place->block->tag).text, vf_irql_name(irql), irql);
}

/* PRC-71: the block has an element for each processor that was there when it was allocated, and an
 * element of one that came later was written. Where it was allocated is what must change. */
static bool report_array(const struct ex_place *place, size_t at, const char *ddi)
{
	uint32_t processors = place->block->meaning.processors;
	uint32_t now = atomic_load(&ke_processor_count);
	uint64_t size = place->block->size;
	if (!processors || at / (size / processors) >= now)
		return false;
	vf_report(VF_ProcessorArray, ddi, place->block->caller, (uint64_t)place->base,
		  "frees the block %p (tag '%s'), an array for %u processors of %I64u bytes each: "
		  "the element of processor %u was written (byte %I64u); there are %u now",
		  place->base, tag_text(place->block->tag).text, processors, size / processors,
		  (uint32_t)(at / (size / processors)), (uint64_t)at, now);
	return true;
}

static void check_tail(const struct ex_place *place, uint64_t caller, const char *ddi)
{
	if (!place->block->tail)
		return;
	const unsigned char *bytes = (const unsigned char *)place->base;
	size_t size = place->block->size;
	size_t i = size;
	while (i < place->room && bytes[i] == EX_FILL_TAIL)
		i++;
	if (i == place->room)
		return;
	uint64_t parameters[3] = {(uint64_t)place->base, (uint64_t)place->base + i, size};
	char where[80];
	vf_address_where(place->block->caller, where, sizeof(where));
	if (report_array(place, i, ddi))
		return;
	vf_report_with(VF_PoolOverrun, ddi, caller, (uint64_t)place->base, parameters,
		       "frees the block %p (%I64u bytes, tag '%s', allocated at %s): byte %I64u "
		       "was written (%02x)",
		       place->base, (uint64_t)size, tag_text(place->block->tag).text, where,
		       (uint64_t)i, bytes[i]);
}

static void check_tag(const struct ex_place *place, ULONG tag, uint64_t caller, const char *ddi)
{
	ULONG own = place->block->tag;
	if (!tag || tag == own || (tag | PROTECTED_POOL_BIT) == (own | PROTECTED_POOL_BIT))
		return;
	if (vf_on())
		vf_report(VF_PoolTag, ddi, caller, (uint64_t)place->base,
			  "frees the block %p with tag '%s'; it was allocated with '%s'",
			  place->base, tag_text(tag).text, tag_text(own).text);
	else if (own & PROTECTED_POOL_BIT)
		ke_bugcheck(BAD_POOL_CALLER, BAD_POOL_TAG, (uint64_t)place->base, own, tag, NULL);
}

void (*ex_memory_watch)(const void *memory, size_t size, bool unlock, const char *ddi,
			uint64_t caller);

void ex_check_free(const struct ex_place *place, ULONG tag, uint64_t caller, const char *ddi)
{
	if (vf_on()) {
		check_irql(place, caller, ddi);
		check_tail(place, caller, ddi);
		ex_check_contents(place, caller, ddi);
		if (ex_memory_watch)
			ex_memory_watch(place->base, (size_t)EX_BLOCK_GET(place->block->size),
					false, ddi, caller);
	}
	check_tag(place, tag, caller, ddi);
}

static void report_bad_free(const void *address, const struct ex_place *place, uint64_t caller,
			    const char *ddi)
{
	uint8_t state = place ? atomic_load_explicit(&place->block->state, memory_order_acquire)
			      : EX_BLOCK_FRESH;
	char where[80];
	if (state == EX_BLOCK_FREED && place->start) {
		uint64_t parameters[3] = {0, (uint64_t)address, 0};
		vf_address_where(EX_BLOCK_GET(place->block->freed_by), where, sizeof(where));
		vf_report_with(VF_PoolDoubleFree, ddi, caller, (uint64_t)address, parameters,
			       "frees the block %p (tag '%s') again; it was freed at %s", address,
			       tag_text(place->block->tag).text, where);
		return;
	}
	uint64_t parameters[3] = {(uint64_t)address, 0, 0};
	if (state == EX_BLOCK_LIVE)
		vf_report_with(
			VF_PoolFreeUnknown, ddi, caller, (uint64_t)address, parameters,
			"frees %p, which is byte %I64u of the block %p (%I64u bytes, tag '%s')",
			address, (uint64_t)((const char *)address - place->base), place->base,
			place->block->size, tag_text(place->block->tag).text);
	else
		vf_report_with(VF_PoolFreeUnknown, ddi, caller, (uint64_t)address, parameters,
			       "frees %p, which no allocation returned", address);
}

void ex_check_bad_free(const void *address, const struct ex_place *place, uint64_t caller,
		       const char *ddi)
{
	if (vf_on() && ddi) {
		report_bad_free(address, place, caller, ddi);
		return;
	}
	bool freed =
		place && place->start &&
		atomic_load_explicit(&place->block->state, memory_order_acquire) == EX_BLOCK_FREED;
	struct ke_bugcheck_detail detail = {.address = caller,
					    .text = "a pool block is freed that is not allocated"};
	ke_bugcheck(BAD_POOL_CALLER, freed ? BAD_POOL_FREED : BAD_POOL_ADDRESS, (uint64_t)address,
		    0, 0, &detail);
}

/* ---- An address in words ----------------------------------------------------------------------
 */

/* The block in front of an address: the page behind a run of pages is never accessible. */
static bool find_before(const void *address, struct ex_pool_block *block)
{
	const char *before = (const char *)((uintptr_t)address & ~(uintptr_t)(PAGE_SIZE - 1)) - 1;
	return ex_pool_find(before, block) > EX_POOL_FREE;
}

void ex_pool_describe(const void *address, char *text, size_t size)
{
	struct ex_pool_block block;
	char where[80];
	enum ex_pool_kind kind = ex_pool_find(address, &block);
	uint64_t offset = (uintptr_t)address - (uintptr_t)block.base;
	rtl_copy(text, size, "");
	if (kind == EX_POOL_NOT)
		return;
	if (kind == EX_POOL_FREE && block.freed_by) {
		vf_address_where(block.freed_by, where, sizeof(where));
		rtl_print(text, size, "a pool block (tag '%s') that was freed%s%s",
			  tag_text(block.tag).text, where[0] ? " at " : "", where);
	} else if (kind == EX_POOL_FREE && find_before(address, &block)) {
		offset = (uintptr_t)address - (uintptr_t)block.base;
		rtl_print(text, size, "byte %I64u of a pool block of %I64u bytes, tag '%s'", offset,
			  (uint64_t)block.size, tag_text(block.tag).text);
	} else if (kind == EX_POOL_FREE) {
		rtl_copy(text, size, "free pool");
	} else {
		rtl_print(text, size, "%s pool, byte %I64u of a block of %I64u bytes, tag '%s'",
			  block.paged ? "paged" : "nonpaged", offset, (uint64_t)block.size,
			  tag_text(block.tag).text);
	}
}
