/* SPDX-License-Identifier: MIT */
/*
 * The address space of driver images, and what an address belongs to.
 *
 * One reservation holds all images of a run. It is handed out from low to high and never again
 * (DEF-341), in units of 64 KiB, and a table has the image of each unit. So a lookup is one load,
 * and a load needs no mmap of its own. The reservation and the table cost address space only.
 *
 * Contexts: lookups at any IRQL and in NMIs, without a lock; the rest at PASSIVE_LEVEL under the
 * loader's mutex. A table entry is written once, when its image is complete (release), and read by
 * lookups (acquire); images are never freed. Requirements: DEF-324 (64 KiB aligned bases), DEF-341.
 */
#include "ldr/ldr_internal.h"
#include "port/port.h"

enum {
	UNIT = LDR_REGION_ALIGNMENT,
	ARENA_SIZE_SHIFT_MAX = 36, /* 64 GiB: a million small images */
	ARENA_SIZE_SHIFT_MIN = 29,
};

static uint64_t arena; /* constant after boot */
static uint64_t unit_count;
static uint64_t next_unit;                 /* first one that was never handed out */
static _Atomic(struct ldr_image *) *units; /* by number; 0: no image */
static _Atomic(struct ldr_image *) newest;

NTSTATUS ldr_arena_initialize(void)
{
	size_t table_size;
	unsigned int shift;
	void *reserved = NULL;

	/* A host that limits address space gets by with less. */
	for (shift = ARENA_SIZE_SHIFT_MAX; !reserved && shift >= ARENA_SIZE_SHIFT_MIN; shift--)
		reserved = port_pages_reserve(NULL, (size_t)1 << shift);
	if (!reserved)
		return STATUS_INSUFFICIENT_RESOURCES;
	shift++;
	arena = ((uint64_t)reserved + UNIT - 1) & ~(uint64_t)(UNIT - 1);
	unit_count = ((uint64_t)reserved + ((uint64_t)1 << shift) - arena) / UNIT;
	next_unit = 1; /* the first is a guard */

	table_size =
		(unit_count * sizeof(*units) + PORT_PAGE_SIZE - 1) & ~(size_t)(PORT_PAGE_SIZE - 1);
	units = port_pages_reserve(NULL, table_size);
	if (!units || !port_pages_protect((void *)units, table_size, PORT_READ | PORT_WRITE))
		return STATUS_INSUFFICIENT_RESOURCES;
	return STATUS_SUCCESS;
}

/* At least one page stays inaccessible behind it, before the next image. */
static uint64_t units_for(size_t size)
{
	return (size + PORT_PAGE_SIZE + UNIT - 1) / UNIT;
}

void *ldr_arena_reserve(size_t size)
{
	uint64_t count = units_for(size);
	uint64_t first = next_unit;

	if (count > unit_count - next_unit)
		return NULL;
	next_unit += count;
	return (void *)(arena + first * UNIT);
}

void ldr_arena_cancel(void *base, size_t size)
{
	uint64_t first = ((uint64_t)base - arena) / UNIT;

	port_pages_decommit(base, size);
	/* Not when a load by a DllInitialize came after it. */
	if (first + units_for(size) == next_unit)
		next_unit = first;
}

void ldr_arena_publish(struct ldr_image *image)
{
	uint64_t first = (image->base - arena) / UNIT;
	uint64_t end = (image->base + image->size - arena + UNIT - 1) / UNIT;

	for (uint64_t unit = first; unit < end; unit++)
		/* Pairs with the acquire in ldr_image_from_address. */
		atomic_store_explicit(&units[unit], image, memory_order_release);
	image->next = atomic_load_explicit(&newest, memory_order_relaxed);
	/* Pairs with the acquire in ldr_image_newest. */
	atomic_store_explicit(&newest, image, memory_order_release);
}

struct ldr_image *ldr_image_from_address(uint64_t address)
{
	uint64_t unit = (address - arena) / UNIT;
	struct ldr_image *image;

	if (unit >= unit_count)
		return NULL;
	image = atomic_load_explicit(&units[unit], memory_order_acquire);
	return image && address - image->base < image->size ? image : NULL;
}

struct ldr_image *ldr_image_newest(void)
{
	return atomic_load_explicit(&newest, memory_order_acquire);
}
