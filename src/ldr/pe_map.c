/* SPDX-License-Identifier: MIT */
/*
 * PE reader: laying an image out in memory, relocating it, and the protections its pages then need.
 *
 * Contexts: any; pure code on memory of the caller. No locks. The file's bytes are read, never
 * those just written: tables that overlap what relocation or binding writes cannot mislead it.
 * Requirements: DEF-324, DEF-339.
 *
 * Chosen where documents are silent: bytes between VirtualSize and the end of the section's last
 * page come from the file, as they do on Windows; pages that several sections share (small
 * alignments) get the union of the sections' protections.
 */
#include "ldr/pe_internal.h"

#define PROTECTIONS (LDR_PE_SECTION_READ | LDR_PE_SECTION_WRITE | LDR_PE_SECTION_EXECUTE)

uint32_t ldr_pe_span(const struct ldr_pe *pe)
{
	return (uint32_t)pe_align(pe->image_size, LDR_PE_PAGE);
}

static bool relocate(const struct ldr_pe *pe, unsigned char *to, uint64_t delta,
		     struct ldr_pe_error *error)
{
	struct ldr_pe_reloc_iter iter;
	uint32_t rva;
	int result;

	result = ldr_pe_relocs(pe, &iter, error);
	while (result == LDR_PE_ITEM) {
		result = ldr_pe_reloc_next(&iter, &rva, error);
		if (result == LDR_PE_ITEM) {
			uint64_t value = pe_u64(to + rva) + delta;

			__builtin_memcpy(to + rva, &value, sizeof(value));
		}
	}
	return result != LDR_PE_BAD;
}

bool ldr_pe_map(const struct ldr_pe *pe, void *to, size_t space, uint64_t base,
		struct ldr_pe_error *error)
{
	unsigned char *image = to;

	if (space < ldr_pe_span(pe))
		return pe_fail(error, LDR_PE_E_MAP_SPACE, 0, ldr_pe_span(pe), space);
	if (base != pe->image_base && (pe->characteristics & LDR_PE_RELOCS_STRIPPED))
		return pe_fail(error, LDR_PE_E_RELOCS_GONE, 0, base, pe->image_base);
	__builtin_memcpy(image, pe->data, pe->headers_size);
	for (uint32_t i = 0; i < pe->section_count; i++) {
		struct ldr_pe_section section;
		size_t length;

		ldr_pe_section(pe, i, &section);
		length = ldr_pe_span(pe) - section.rva;
		if (section.raw_size < length)
			length = section.raw_size;
		if (length)
			__builtin_memcpy(image + section.rva, pe->data + section.raw_offset,
					 length);
	}
	/* Also at the preferred base: a table that is wrong must not depend on luck. */
	return relocate(pe, image, base - pe->image_base, error);
}

void ldr_pe_runs(const struct ldr_pe *pe, struct ldr_pe_run_iter *iter)
{
	*iter = (struct ldr_pe_run_iter){.pe = pe};
}

/* What covers the page at `page`: its protection, and in `next` the first page where this may
 * change. */
static uint32_t page_flags(const struct ldr_pe *pe, uint32_t page, uint32_t *next)
{
	uint32_t headers_end = (uint32_t)pe_align(pe->headers_size, LDR_PE_PAGE);
	uint32_t end = page + LDR_PE_PAGE;
	uint32_t flags = 0;

	*next = ldr_pe_span(pe);
	if (page < headers_end) {
		flags = LDR_PE_SECTION_READ;
		*next = headers_end;
	}
	for (uint32_t i = 0; i < pe->section_count; i++) {
		struct ldr_pe_section section;
		uint32_t first, last;

		ldr_pe_section(pe, i, &section);
		first = section.rva & ~(uint32_t)(LDR_PE_PAGE - 1);
		last = (uint32_t)pe_align((uint64_t)section.rva + section.size, LDR_PE_PAGE);
		if (first < end && last > page) {
			/* A section without any right is readable: the loader itself reads it. */
			flags |= (section.flags & PROTECTIONS) | LDR_PE_SECTION_READ;
			/* In a shared page the neighbour's part may end earlier. */
			if (last < *next)
				*next = last;
		} else if (first >= end && first < *next) {
			*next = first;
		}
	}
	return flags;
}

int ldr_pe_run_next(struct ldr_pe_run_iter *iter, struct ldr_pe_run *run)
{
	uint32_t span = ldr_pe_span(iter->pe);
	uint32_t next;

	*run = (struct ldr_pe_run){.rva = iter->next};
	while (iter->next < span) {
		uint32_t flags = page_flags(iter->pe, iter->next, &next);

		if (run->size && flags != run->flags)
			return LDR_PE_ITEM;
		if (flags) {
			if (run->size == 0)
				run->rva = iter->next;
			run->flags = flags;
			run->size += next - iter->next;
		}
		iter->next = next;
	}
	return run->size ? LDR_PE_ITEM : LDR_PE_END;
}
