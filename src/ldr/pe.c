/* SPDX-License-Identifier: MIT */
/*
 * PE reader: headers, section table, access by RVA.
 *
 * Every field is checked before it is used, in the order in which it becomes reachable, so that all
 * later code can rely on what ldr_pe_open has accepted: sections ascend without overlap inside
 * SizeOfImage, their raw data lies in the file, directories lie inside SizeOfImage. What a
 * directory holds is checked by its own reader when it is read.
 *
 * Contexts: any; pure code on memory that the caller keeps. No locks.
 * Requirements: DEF-317, DEF-320, DEF-335; DESIGN section 5 (truncated files).
 *
 * Chosen where documents are silent: at most 96 sections and 256 MiB; gaps between sections are
 * accepted (they stay inaccessible); a section without VirtualSize has the size of its raw data; a
 * file with a SectionAlignment below a page must have each section's data at a file offset equal to
 * its address, because Windows maps such a file as one piece; an entry point may be absent only in
 * an image that exports something.
 */
#include "ldr/pe_internal.h"

enum {
	DOS_HEADER_SIZE = 0x40,
	DOS_MAGIC = 0x5a4d,
	DOS_PE_OFFSET = 0x3c,
	PE_MAGIC = 0x4550,
	PE_HEADER_SIZE = 24, /* signature and file header */
	PE_MACHINE = 4,
	PE_SECTIONS = 6,
	PE_TIME = 8,
	PE_OPTIONAL_SIZE = 20,
	PE_CHARACTERISTICS = 22,
	MACHINE_X64 = 0x8664,
	OPT_MAGIC = 0x20b,
	OPT_ENTRY = 16,
	OPT_IMAGE_BASE = 24,
	OPT_SECTION_ALIGNMENT = 32,
	OPT_FILE_ALIGNMENT = 36,
	OPT_IMAGE_SIZE = 56,
	OPT_HEADERS_SIZE = 60,
	OPT_CHECKSUM = 64,
	OPT_SUBSYSTEM = 68,
	OPT_DLL_CHARACTERISTICS = 70,
	OPT_DIRECTORY_COUNT = 108,
	OPT_DIRECTORIES = 112,
	SUBSYSTEM_NATIVE = 1,
	SECTION_SIZE = 40,
	SECTION_VIRTUAL_SIZE = 8,
	SECTION_ADDRESS = 12,
	SECTION_RAW_SIZE = 16,
	SECTION_RAW_OFFSET = 20,
	SECTION_FLAGS = 36,
};

bool pe_fail(struct ldr_pe_error *error, enum ldr_pe_code code, uint32_t index, uint64_t value,
	     uint64_t limit)
{
	*error =
		(struct ldr_pe_error){.code = code, .index = index, .value = value, .limit = limit};
	return false;
}

int pe_bad(struct ldr_pe_error *error, enum ldr_pe_code code, uint32_t index, uint64_t value,
	   uint64_t limit)
{
	pe_fail(error, code, index, value, limit);
	return LDR_PE_BAD;
}

int pe_bad_named(struct ldr_pe_error *error, enum ldr_pe_code code, uint32_t index, uint64_t value,
		 uint64_t limit, struct ldr_pe_text name)
{
	size_t room = sizeof(error->name) - 1;

	pe_fail(error, code, index, value, limit);
	if (name.length)
		__builtin_memcpy(error->name, name.bytes, name.length < room ? name.length : room);
	return LDR_PE_BAD;
}

static bool section_fail(struct ldr_pe_error *error, enum ldr_pe_code code,
			 const struct ldr_pe_section *section, uint64_t value, uint64_t limit)
{
	pe_fail(error, code, section->index + 1, value, limit);
	__builtin_memcpy(error->name, section->name, sizeof(section->name));
	return false;
}

static bool open_file_header(struct ldr_pe *pe, struct ldr_pe_error *error)
{
	const unsigned char *file = pe->data;
	uint64_t end;

	if (pe->size < DOS_HEADER_SIZE)
		return pe_fail(error, LDR_PE_E_SMALL, 0, pe->size, DOS_HEADER_SIZE);
	if (pe_u16(file) != DOS_MAGIC)
		return pe_fail(error, LDR_PE_E_DOS_MAGIC, 0, pe_u16(file), DOS_MAGIC);
	pe->header_offset = pe_u32(file + DOS_PE_OFFSET);
	if (pe->header_offset % 4 || pe->header_offset < DOS_HEADER_SIZE)
		return pe_fail(error, LDR_PE_E_PE_OFFSET, 0, pe->header_offset, DOS_HEADER_SIZE);
	end = (uint64_t)pe->header_offset + PE_HEADER_SIZE;
	if (end > pe->size)
		return pe_fail(error, LDR_PE_E_PE_TRUNCATED, 0, end, pe->size);

	file += pe->header_offset;
	if (pe_u32(file) != PE_MAGIC)
		return pe_fail(error, LDR_PE_E_PE_MAGIC, 0, pe_u32(file), PE_MAGIC);
	if (pe_u16(file + PE_MACHINE) != MACHINE_X64)
		return pe_fail(error, LDR_PE_E_MACHINE, 0, pe_u16(file + PE_MACHINE), MACHINE_X64);
	end += pe_u16(file + PE_OPTIONAL_SIZE);
	if (end > pe->size)
		return pe_fail(error, LDR_PE_E_PE_TRUNCATED, 0, end, pe->size);
	pe->section_table = (uint32_t)end;
	pe->section_count = pe_u16(file + PE_SECTIONS);
	pe->time_stamp = pe_u32(file + PE_TIME);
	pe->characteristics = pe_u16(file + PE_CHARACTERISTICS);
	return true;
}

static bool check_alignments(const struct ldr_pe *pe, struct ldr_pe_error *error)
{
	uint32_t memory = pe->section_alignment;
	uint32_t file = pe->file_alignment;

	if (!pe_power_of_two(memory) || memory < LDR_PE_ALIGNMENT_MIN ||
	    memory > LDR_PE_SECTION_ALIGNMENT_MAX)
		return pe_fail(error, LDR_PE_E_SECTION_ALIGNMENT, 0, memory,
			       LDR_PE_SECTION_ALIGNMENT_MAX);
	if (!pe_power_of_two(file) || file < LDR_PE_ALIGNMENT_MIN ||
	    file > LDR_PE_FILE_ALIGNMENT_MAX)
		return pe_fail(error, LDR_PE_E_FILE_ALIGNMENT, 0, file, LDR_PE_FILE_ALIGNMENT_MAX);
	if (memory < LDR_PE_PAGE && file != memory)
		return pe_fail(error, LDR_PE_E_LOW_ALIGNMENT, 0, file, memory);
	if (file > memory)
		return pe_fail(error, LDR_PE_E_ALIGNMENTS, 0, file, memory);
	return true;
}

/* Directories that nobody reads must be in bounds all the same: the driver may look at them. */
static bool open_directories(struct ldr_pe *pe, const unsigned char *optional, uint32_t count,
			     struct ldr_pe_error *error)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t rva = pe_u32(optional + OPT_DIRECTORIES + 8 * i);
		uint32_t size = pe_u32(optional + OPT_DIRECTORIES + 8 * i + 4);
		uint64_t end = (uint64_t)rva + size;

		if (i == LDR_PE_SECURITY || rva == 0)
			continue;
		if (end > pe->image_size || rva >= pe->image_size)
			return pe_fail(error, LDR_PE_E_DIRECTORY, i, end, pe->image_size);
		pe->directory[i].rva = rva;
		pe->directory[i].size = size;
	}
	return true;
}

static bool open_optional_header(struct ldr_pe *pe, struct ldr_pe_error *error)
{
	const unsigned char *optional = pe->data + pe->header_offset + PE_HEADER_SIZE;
	uint32_t size = pe->section_table - pe->header_offset - PE_HEADER_SIZE;
	uint32_t directories, needed;
	uint16_t subsystem;

	if (size < 2)
		return pe_fail(error, LDR_PE_E_OPTIONAL_SIZE, 0, size, OPT_DIRECTORIES);
	if (pe_u16(optional) != OPT_MAGIC)
		return pe_fail(error, LDR_PE_E_MAGIC, 0, pe_u16(optional), OPT_MAGIC);
	if (size < OPT_DIRECTORIES)
		return pe_fail(error, LDR_PE_E_OPTIONAL_SIZE, 0, size, OPT_DIRECTORIES);
	directories = pe_u32(optional + OPT_DIRECTORY_COUNT);
	if (directories > LDR_PE_DIRECTORIES)
		directories = LDR_PE_DIRECTORIES;
	needed = OPT_DIRECTORIES + 8 * directories;
	if (size < needed)
		return pe_fail(error, LDR_PE_E_OPTIONAL_SIZE, 0, size, needed);

	if (!(pe->characteristics & LDR_PE_EXECUTABLE_IMAGE))
		return pe_fail(error, LDR_PE_E_NOT_EXECUTABLE, 0, pe->characteristics,
			       LDR_PE_EXECUTABLE_IMAGE);
	subsystem = pe_u16(optional + OPT_SUBSYSTEM);
	if (subsystem != SUBSYSTEM_NATIVE)
		return pe_fail(error, LDR_PE_E_SUBSYSTEM, 0, subsystem, SUBSYSTEM_NATIVE);

	pe->entry = pe_u32(optional + OPT_ENTRY);
	pe->image_base = pe_u64(optional + OPT_IMAGE_BASE);
	pe->section_alignment = pe_u32(optional + OPT_SECTION_ALIGNMENT);
	pe->file_alignment = pe_u32(optional + OPT_FILE_ALIGNMENT);
	pe->image_size = pe_u32(optional + OPT_IMAGE_SIZE);
	pe->headers_size = pe_u32(optional + OPT_HEADERS_SIZE);
	pe->checksum = pe_u32(optional + OPT_CHECKSUM);
	pe->dll_characteristics = pe_u16(optional + OPT_DLL_CHARACTERISTICS);
	if (!check_alignments(pe, error))
		return false;
	if (pe->image_base % LDR_PE_BASE_ALIGNMENT)
		return pe_fail(error, LDR_PE_E_IMAGE_BASE, 0, pe->image_base,
			       LDR_PE_BASE_ALIGNMENT);
	if (pe->image_size == 0 || pe->image_size > LDR_PE_IMAGE_MAX)
		return pe_fail(error, LDR_PE_E_IMAGE_SIZE, 0, pe->image_size, LDR_PE_IMAGE_MAX);
	if (pe->headers_size > pe->size)
		return pe_fail(error, LDR_PE_E_HEADERS_FILE, 0, pe->headers_size, pe->size);
	if (pe->headers_size > pe->image_size)
		return pe_fail(error, LDR_PE_E_HEADERS_IMAGE, 0, pe->headers_size, pe->image_size);
	return open_directories(pe, optional, directories, error);
}

static bool check_section(const struct ldr_pe *pe, const struct ldr_pe_section *section,
			  uint64_t free_from, struct ldr_pe_error *error)
{
	const unsigned char *header =
		pe->data + pe->section_table + (size_t)section->index * SECTION_SIZE;
	uint64_t raw_size = pe_u32(header + SECTION_RAW_SIZE);
	uint64_t end = (uint64_t)section->rva + section->size;

	if (section->rva % pe->section_alignment)
		return section_fail(error, LDR_PE_E_SECTION_UNALIGNED, section, section->rva,
				    pe->section_alignment);
	if (section->size == 0)
		return section_fail(error, LDR_PE_E_SECTION_EMPTY, section, 0, 0);
	if (section->rva < free_from)
		return section_fail(error, LDR_PE_E_SECTION_OVERLAP, section, section->rva,
				    free_from);
	if (end > pe->image_size)
		return section_fail(error, LDR_PE_E_SECTION_BEYOND, section, end, pe->image_size);
	if (raw_size == 0)
		return true;
	if (section->raw_offset % pe->file_alignment)
		return section_fail(error, LDR_PE_E_SECTION_RAW_UNALIGNED, section,
				    section->raw_offset, pe->file_alignment);
	if (section->raw_offset + raw_size > pe->size)
		return section_fail(error, LDR_PE_E_SECTION_TRUNCATED, section,
				    section->raw_offset + raw_size, pe->size);
	if (pe->section_alignment < LDR_PE_PAGE && section->raw_offset != section->rva)
		return section_fail(error, LDR_PE_E_SECTION_MOVED, section, section->raw_offset,
				    section->rva);
	return true;
}

static bool open_sections(const struct ldr_pe *pe, struct ldr_pe_error *error)
{
	uint64_t table_end = pe->section_table + (uint64_t)pe->section_count * SECTION_SIZE;
	uint64_t free_from = pe->headers_size;

	if (pe->section_count == 0 || pe->section_count > LDR_PE_SECTIONS_MAX)
		return pe_fail(error, LDR_PE_E_SECTION_COUNT, 0, pe->section_count,
			       LDR_PE_SECTIONS_MAX);
	/* Which the file covers. */
	if (table_end > pe->headers_size)
		return pe_fail(error, LDR_PE_E_HEADERS_SHORT, 0, pe->headers_size, table_end);
	for (uint32_t i = 0; i < pe->section_count; i++) {
		struct ldr_pe_section section;

		ldr_pe_section(pe, i, &section);
		if (!check_section(pe, &section, free_from, error))
			return false;
		free_from = pe_align((uint64_t)section.rva + section.size, pe->section_alignment);
	}
	return true;
}

static bool check_entry(const struct ldr_pe *pe, struct ldr_pe_error *error)
{
	struct ldr_pe_section section;

	if (pe->entry == 0) {
		if (pe->directory[LDR_PE_EXPORT].rva)
			return true;
		return pe_fail(error, LDR_PE_E_NO_ENTRY, 0, 0, 0);
	}
	if (!ldr_pe_section_at(pe, pe->entry, 1, &section) ||
	    !(section.flags & LDR_PE_SECTION_EXECUTE))
		return pe_fail(error, LDR_PE_E_ENTRY, 0, pe->entry, 0);
	return true;
}

bool ldr_pe_open(struct ldr_pe *pe, const void *file, size_t size, struct ldr_pe_error *error)
{
	*pe = (struct ldr_pe){.data = file, .size = size};
	*error = (struct ldr_pe_error){.code = LDR_PE_OK};
	return open_file_header(pe, error) && open_optional_header(pe, error) &&
	       open_sections(pe, error) && check_entry(pe, error);
}

void ldr_pe_mapped(struct ldr_pe *mapped, const struct ldr_pe *file, const void *base)
{
	*mapped = *file;
	mapped->data = base;
	mapped->size = file->image_size;
	mapped->mapped = true;
}

void ldr_pe_section(const struct ldr_pe *pe, uint32_t index, struct ldr_pe_section *section)
{
	const unsigned char *header = pe->data + pe->section_table + (size_t)index * SECTION_SIZE;
	uint32_t raw_size = pe_u32(header + SECTION_RAW_SIZE);
	uint32_t unit = pe->section_alignment < LDR_PE_PAGE ? pe->section_alignment : LDR_PE_PAGE;
	uint64_t room;

	*section = (struct ldr_pe_section){
		.index = index,
		.rva = pe_u32(header + SECTION_ADDRESS),
		.size = pe_u32(header + SECTION_VIRTUAL_SIZE),
		.raw_offset = pe_u32(header + SECTION_RAW_OFFSET),
		.flags = pe_u32(header + SECTION_FLAGS),
	};
	if (section->size == 0)
		section->size = raw_size;
	room = pe_align(section->size, unit);
	section->raw_size = raw_size < room ? raw_size : (uint32_t)room;
	__builtin_memcpy(section->name, header, 8);
}

bool ldr_pe_section_at(const struct ldr_pe *pe, uint32_t rva, uint32_t length,
		       struct ldr_pe_section *section)
{
	for (uint32_t i = 0; i < pe->section_count; i++) {
		ldr_pe_section(pe, i, section);
		if (rva < section->rva)
			return false;
		if (rva - section->rva < section->size)
			return length <= section->size - (rva - section->rva);
	}
	return false;
}

bool ldr_pe_section_pageable(const struct ldr_pe_section *section)
{
	return __builtin_memcmp(section->name, "PAGE", 4) == 0;
}

bool ldr_pe_section_discarded(const struct ldr_pe_section *section)
{
	return __builtin_memcmp(section->name, "INIT", sizeof("INIT")) == 0 ||
	       (section->flags & LDR_PE_SECTION_DISCARDABLE);
}

bool pe_span_at(const struct ldr_pe *pe, uint32_t rva, struct pe_span *span)
{
	struct ldr_pe_section section;
	uint32_t offset;

	if (rva < pe->headers_size) {
		span->bytes = pe->data + rva;
		span->extent = span->present = pe->headers_size - rva;
		return true;
	}
	if (!ldr_pe_section_at(pe, rva, 1, &section))
		return false;
	offset = rva - section.rva;
	span->extent = section.size - offset;
	if (pe->mapped) {
		span->bytes = pe->data + rva;
		span->present = span->extent;
	} else if (offset < section.raw_size) {
		span->bytes = pe->data + section.raw_offset + offset;
		span->present = section.raw_size - offset;
		if (span->present > span->extent)
			span->present = span->extent;
	} else {
		span->bytes = NULL;
		span->present = 0;
	}
	return true;
}

bool ldr_pe_read(const struct ldr_pe *pe, uint32_t rva, void *out, size_t length)
{
	struct pe_span span;
	size_t present;

	if (!pe_span_at(pe, rva, &span) || length > span.extent)
		return false;
	present = length < span.present ? length : span.present;
	if (present)
		__builtin_memcpy(out, span.bytes, present);
	__builtin_memset((char *)out + present, 0, length - present);
	return true;
}

bool ldr_pe_text(const struct ldr_pe *pe, uint32_t rva, struct ldr_pe_text *text)
{
	struct pe_span span;
	uint32_t length = 0;

	if (!pe_span_at(pe, rva, &span))
		return false;
	while (length < span.present && span.bytes[length] && length <= LDR_PE_NAME_MAX)
		length++;
	if (length == 0 || length > LDR_PE_NAME_MAX || length == span.extent)
		return false;
	*text = (struct ldr_pe_text){.bytes = (const char *)span.bytes, .length = length};
	return true;
}
