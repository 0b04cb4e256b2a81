/* SPDX-License-Identifier: MIT */
/*
 * What goes: discardable sections after DriverEntry, and whole images.
 *
 * Contexts: PASSIVE_LEVEL under the loader's mutex. State and `discarded` are written here only
 * (release) and read anywhere (acquire): once a reader sees them, the pages are gone or going.
 * Requirements: DEF-323, DEF-335, DEF-336, DEF-341.
 *
 * Chosen where documents are silent: a section stays when the loader needs it later (exports that
 * other drivers may import, unwind data), so that no later load depends on discarded memory; of a
 * section that shares pages with another one, only the pages of its own go.
 */
#include "ex/ex.h"
#include "ldr/ldr_internal.h"
#include "mm/mm.h"
#include "port/port.h"

static bool overlaps(const struct ldr_section *section, uint32_t rva, uint64_t size)
{
	return rva < (uint64_t)section->rva + section->size && rva + size > section->rva;
}

static bool holds_exports(const struct ldr_image *image, const struct ldr_section *section)
{
	const struct ldr_pe *pe = &image->own->pe;
	struct ldr_pe_exports exports;
	struct ldr_pe_error error;
	uint64_t names;

	if (ldr_pe_exports(pe, &exports, &error) != LDR_PE_ITEM)
		return false;
	if (overlaps(section, pe->directory[LDR_PE_EXPORT].rva,
		     pe->directory[LDR_PE_EXPORT].size) ||
	    overlaps(section, exports.functions, 4 * (uint64_t)exports.function_count) ||
	    overlaps(section, exports.names, 4 * (uint64_t)exports.name_count) ||
	    overlaps(section, exports.indexes, 2 * (uint64_t)exports.name_count))
		return true;
	names = image->base + exports.names;
	for (uint32_t i = 0; i < exports.name_count; i++) {
		uint32_t name;

		memcpy(&name, (const void *)(names + 4 * i), sizeof(name));
		if (overlaps(section, name, 1))
			return true;
	}
	return false;
}

static bool holds_unwind_data(const struct ldr_image *image, const struct ldr_section *section)
{
	const struct {
		uint32_t begin, end, unwind;
	} *function = image->functions;

	if (image->function_count &&
	    overlaps(section, (uint32_t)((uint64_t)image->functions - image->base),
		     12 * (uint64_t)image->function_count))
		return true;
	for (uint32_t i = 0; i < image->function_count; i++) {
		if (overlaps(section, function[i].unwind, 1))
			return true;
	}
	return false;
}

void ldr_image_discard_init(struct ldr_image *image)
{
	ldr_lock();
	for (uint32_t i = 0; i < image->section_count; i++) {
		struct ldr_section *section = &image->sections[i];

		if (!section->discardable || section->own_size == 0 ||
		    atomic_load_explicit(&section->discarded, memory_order_relaxed) ||
		    holds_exports(image, section) || holds_unwind_data(image, section))
			continue;
		/* Pairs with the acquire of whoever explains a fault there. */
		atomic_store_explicit(&section->discarded, true, memory_order_release);
		mm_section_remove((void *)(image->base + section->own_rva));
		port_pages_decommit((void *)(image->base + section->own_rva), section->own_size);
	}
	ldr_unlock();
}

NTSTATUS ldr_image_begin_unload(struct ldr_image *image)
{
	NTSTATUS status = STATUS_SUCCESS;

	ldr_lock();
	if (ldr_image_state(image) != LDR_LOADED)
		status = STATUS_INVALID_PARAMETER;
	else if (image->own->users)
		status = STATUS_DEVICE_BUSY;
	else
		atomic_store_explicit(&image->state, LDR_UNLOADING, memory_order_release);
	ldr_unlock();
	return status;
}

NTSTATUS ldr_image_unload(struct ldr_image *image)
{
	NTSTATUS status = STATUS_SUCCESS;

	ldr_lock();
	if (ldr_image_state(image) == LDR_LOADED)
		status = ldr_image_begin_unload(image);
	else if (ldr_image_state(image) != LDR_UNLOADING)
		status = STATUS_INVALID_PARAMETER;
	if (NT_SUCCESS(status)) {
		ldr_modules_remove(image);
		/* Before the pages go: who faults in them then sees why. */
		atomic_store_explicit(&image->state, LDR_UNLOADED, memory_order_release);
		mm_section_remove_image(image->base);
		port_pages_decommit((void *)image->base, image->size);
		ldr_missing_free(image, false);
		ldr_dependencies_release(image);
	}
	ldr_unlock();
	return status;
}
