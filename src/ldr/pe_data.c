/* SPDX-License-Identifier: MIT */
/*
 * PE reader: relocations, load configuration, exception directory, debug directory.
 *
 * Contexts: any; pure code. Requirements: DEF-324, DEF-326, DEF-327, DEF-331.
 *
 * Chosen where documents are silent: an exception directory may end in zero entries (padding),
 * which are not counted; a debug directory that cannot be read is ignored, because nothing depends
 * on it but names in messages.
 */
#include "ldr/pe_internal.h"

enum {
	BLOCK_SIZE = 8,
	RELOC_ABSOLUTE = 0, /* padding */
	RELOC_DIR64 = 10,
	RELOC_BYTES = 8,
	FUNCTION_SIZE = 12,
	UNWIND_INDIRECT = 1, /* the address is one of another entry */
	CONFIG_SIZE_FIELD = 4,
	CONFIG_COOKIE = 0x58,
	CONFIG_GUARD_CHECK = 0x70,
	CONFIG_GUARD_DISPATCH = 0x78,
	CONFIG_GUARD_TABLE = 0x80,
	CONFIG_GUARD_COUNT = 0x88,
	CONFIG_GUARD_FLAGS = 0x90,
	CONFIG_KNOWN = 0x94,
	COOKIE_SIZE = 8,
	DEBUG_SIZE = 28,
	DEBUG_TYPE = 12,
	DEBUG_DATA_SIZE = 16,
	DEBUG_DATA_RVA = 20,
	DEBUG_CODEVIEW = 2,
	DEBUG_ENTRIES_MAX = 32,
	CODEVIEW_RSDS = 0x53445352,
	CODEVIEW_NAME = 24, /* after the signature, a GUID and an age */
};

static int directory_span(const struct ldr_pe *pe, enum ldr_pe_directory number,
			  struct pe_span *span, struct ldr_pe_error *error)
{
	uint32_t rva = pe->directory[number].rva;
	uint32_t size = pe->directory[number].size;

	if (rva == 0 || size == 0)
		return LDR_PE_END;
	if (!pe_span_at(pe, rva, span) || size > span->extent)
		return pe_bad(error, LDR_PE_E_DIRECTORY_OUTSIDE, number, rva, size);
	return LDR_PE_ITEM;
}

int ldr_pe_relocs(const struct ldr_pe *pe, struct ldr_pe_reloc_iter *iter,
		  struct ldr_pe_error *error)
{
	uint32_t rva = pe->directory[LDR_PE_BASERELOC].rva;
	struct pe_span span;
	int result;

	*iter = (struct ldr_pe_reloc_iter){.pe = pe};
	result = directory_span(pe, LDR_PE_BASERELOC, &span, error);
	if (result != LDR_PE_ITEM)
		return result;
	iter->next = iter->block_end = rva;
	iter->end = rva + pe->directory[LDR_PE_BASERELOC].size;
	return LDR_PE_ITEM;
}

static int open_block(struct ldr_pe_reloc_iter *iter, struct ldr_pe_error *error)
{
	unsigned char bytes[BLOCK_SIZE];
	uint32_t size;

	/* Fewer bytes than a block's header are padding. */
	if (iter->end - iter->next < BLOCK_SIZE)
		return LDR_PE_END;
	if (!ldr_pe_read(iter->pe, iter->next, bytes, sizeof(bytes)))
		return pe_bad(error, LDR_PE_E_DIRECTORY_OUTSIDE, LDR_PE_BASERELOC, iter->next,
			      sizeof(bytes));
	iter->page = pe_u32(bytes);
	size = pe_u32(bytes + 4);
	if (size < BLOCK_SIZE || size % 2 || size > iter->end - iter->next)
		return pe_bad(error, LDR_PE_E_RELOC_SIZE, iter->block, iter->next, size);
	if (iter->page >= iter->pe->image_size)
		return pe_bad(error, LDR_PE_E_RELOC_PAGE, iter->block, iter->page,
			      iter->pe->image_size);
	iter->block_end = iter->next + size;
	iter->next += BLOCK_SIZE;
	iter->block++;
	return LDR_PE_ITEM;
}

static int check_target(struct ldr_pe_reloc_iter *iter, uint32_t rva, struct ldr_pe_error *error)
{
	struct ldr_pe_section section;

	if (rva >= iter->safe_start && (uint64_t)rva + RELOC_BYTES <= iter->safe_end)
		return LDR_PE_ITEM;
	if (!ldr_pe_section_at(iter->pe, rva, RELOC_BYTES, &section))
		return pe_bad(error, LDR_PE_E_RELOC_TARGET, iter->block - 1, rva, 0);
	iter->safe_start = section.rva;
	iter->safe_end = section.rva + section.size;
	return LDR_PE_ITEM;
}

int ldr_pe_reloc_next(struct ldr_pe_reloc_iter *iter, uint32_t *rva, struct ldr_pe_error *error)
{
	unsigned char bytes[2];
	uint32_t type;

	for (;;) {
		if (iter->next == iter->block_end) {
			int result = open_block(iter, error);

			if (result != LDR_PE_ITEM)
				return result;
			continue;
		}
		if (!ldr_pe_read(iter->pe, iter->next, bytes, sizeof(bytes)))
			return pe_bad(error, LDR_PE_E_DIRECTORY_OUTSIDE, LDR_PE_BASERELOC,
				      iter->next, sizeof(bytes));
		iter->next += sizeof(bytes);
		type = pe_u16(bytes) >> 12;
		*rva = iter->page + (pe_u16(bytes) & 0xfff);
		if (type == RELOC_DIR64)
			return check_target(iter, *rva, error);
		if (type != RELOC_ABSOLUTE)
			return pe_bad(error, LDR_PE_E_RELOC_TYPE, iter->block - 1, *rva, type);
	}
}

static int read_cookie(const struct ldr_pe *pe, uint64_t address, uint32_t *rva,
		       struct ldr_pe_error *error)
{
	uint64_t offset = address - pe->image_base;
	struct ldr_pe_section section;

	if (address == 0)
		return LDR_PE_ITEM;
	if (offset >= pe->image_size ||
	    !ldr_pe_section_at(pe, (uint32_t)offset, COOKIE_SIZE, &section) ||
	    !(section.flags & LDR_PE_SECTION_WRITE))
		return pe_bad(error, LDR_PE_E_COOKIE, 0, address, 0);
	*rva = (uint32_t)offset;
	return LDR_PE_ITEM;
}

int ldr_pe_load_config(const struct ldr_pe *pe, struct ldr_pe_load_config *config,
		       struct ldr_pe_error *error)
{
	uint32_t rva = pe->directory[LDR_PE_LOAD_CONFIG].rva;
	unsigned char bytes[CONFIG_KNOWN] = {0};
	struct pe_span span;
	uint32_t known;

	*config = (struct ldr_pe_load_config){.size = 0};
	if (rva == 0)
		return LDR_PE_END;
	if (!pe_span_at(pe, rva, &span) || !ldr_pe_read(pe, rva, bytes, CONFIG_SIZE_FIELD))
		return pe_bad(error, LDR_PE_E_DIRECTORY_OUTSIDE, LDR_PE_LOAD_CONFIG, rva,
			      CONFIG_SIZE_FIELD);
	config->size = pe_u32(bytes);
	if (config->size < CONFIG_SIZE_FIELD || config->size > span.extent)
		return pe_bad(error, LDR_PE_E_CONFIG_SIZE, 0, config->size, span.extent);
	known = config->size < CONFIG_KNOWN ? config->size : CONFIG_KNOWN;
	if (!ldr_pe_read(pe, rva, bytes, known))
		return pe_bad(error, LDR_PE_E_DIRECTORY_OUTSIDE, LDR_PE_LOAD_CONFIG, rva, known);
	if (known >= CONFIG_GUARD_CHECK + 8)
		config->guard_check_pointer = pe_u64(bytes + CONFIG_GUARD_CHECK);
	if (known >= CONFIG_GUARD_DISPATCH + 8)
		config->guard_dispatch_pointer = pe_u64(bytes + CONFIG_GUARD_DISPATCH);
	if (known >= CONFIG_GUARD_TABLE + 8)
		config->guard_function_table = pe_u64(bytes + CONFIG_GUARD_TABLE);
	if (known >= CONFIG_GUARD_COUNT + 8)
		config->guard_function_count = pe_u64(bytes + CONFIG_GUARD_COUNT);
	if (known >= CONFIG_GUARD_FLAGS + 4)
		config->guard_flags = pe_u32(bytes + CONFIG_GUARD_FLAGS);
	if (known < CONFIG_COOKIE + 8)
		return LDR_PE_ITEM;
	return read_cookie(pe, pe_u64(bytes + CONFIG_COOKIE), &config->security_cookie, error);
}

static int check_function(const struct ldr_pe *pe, uint32_t index, const unsigned char *bytes,
			  uint32_t *previous_end, struct ldr_pe_error *error)
{
	uint32_t begin = pe_u32(bytes), end = pe_u32(bytes + 4);
	uint32_t unwind = pe_u32(bytes + 8) & ~(uint32_t)UNWIND_INDIRECT;
	struct pe_span span;

	if (begin >= end || end > pe->image_size)
		return pe_bad(error, LDR_PE_E_FUNCTION_RANGE, index, begin, end);
	if (begin < *previous_end)
		return pe_bad(error, LDR_PE_E_FUNCTION_ORDER, index, begin, *previous_end);
	if (!pe_span_at(pe, unwind, &span))
		return pe_bad(error, LDR_PE_E_FUNCTION_UNWIND, index, unwind, 0);
	*previous_end = end;
	return LDR_PE_ITEM;
}

int ldr_pe_functions(const struct ldr_pe *pe, uint32_t *rva, uint32_t *count,
		     struct ldr_pe_error *error)
{
	uint32_t size = pe->directory[LDR_PE_EXCEPTION].size;
	uint32_t previous_end = 0;
	struct pe_span span;
	int result;

	*rva = *count = 0;
	result = directory_span(pe, LDR_PE_EXCEPTION, &span, error);
	if (result != LDR_PE_ITEM)
		return result;
	if (size % FUNCTION_SIZE)
		return pe_bad(error, LDR_PE_E_FUNCTIONS_SIZE, 0, size, FUNCTION_SIZE);
	for (uint32_t i = 0; i < size / FUNCTION_SIZE; i++) {
		static const unsigned char none[FUNCTION_SIZE];
		unsigned char bytes[FUNCTION_SIZE];

		if (!ldr_pe_read(pe, pe->directory[LDR_PE_EXCEPTION].rva + i * FUNCTION_SIZE, bytes,
				 sizeof(bytes)))
			return pe_bad(error, LDR_PE_E_DIRECTORY_OUTSIDE, LDR_PE_EXCEPTION,
				      pe->directory[LDR_PE_EXCEPTION].rva, size);
		if (__builtin_memcmp(bytes, none, sizeof(none)) == 0)
			continue;
		/* An entry after padding: a hole in a sorted table. */
		if (*count != i)
			return pe_bad(error, LDR_PE_E_FUNCTION_RANGE, *count, 0, 0);
		result = check_function(pe, i, bytes, &previous_end, error);
		if (result != LDR_PE_ITEM)
			return result;
		*count = i + 1;
	}
	*rva = pe->directory[LDR_PE_EXCEPTION].rva;
	return *count ? LDR_PE_ITEM : LDR_PE_END;
}

bool ldr_pe_pdb(const struct ldr_pe *pe, struct ldr_pe_text *name)
{
	uint32_t rva = pe->directory[LDR_PE_DEBUG].rva;
	uint32_t entries = pe->directory[LDR_PE_DEBUG].size / DEBUG_SIZE;

	if (rva == 0)
		return false;
	if (entries > DEBUG_ENTRIES_MAX)
		entries = DEBUG_ENTRIES_MAX;
	for (uint32_t i = 0; i < entries; i++) {
		unsigned char entry[DEBUG_SIZE];
		unsigned char signature[4];
		uint32_t data;

		if (!ldr_pe_read(pe, rva + i * DEBUG_SIZE, entry, sizeof(entry)))
			return false;
		if (pe_u32(entry + DEBUG_TYPE) != DEBUG_CODEVIEW)
			continue;
		data = pe_u32(entry + DEBUG_DATA_RVA);
		if (pe_u32(entry + DEBUG_DATA_SIZE) <= CODEVIEW_NAME || data >= pe->image_size ||
		    !ldr_pe_read(pe, data, signature, sizeof(signature)) ||
		    pe_u32(signature) != CODEVIEW_RSDS)
			continue;
		if (ldr_pe_text(pe, data + CODEVIEW_NAME, name))
			return true;
	}
	return false;
}
