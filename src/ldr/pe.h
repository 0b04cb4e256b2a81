/* SPDX-License-Identifier: MIT */
/*
 * A checked reader of PE32+ x64 driver images. Pure: it allocates nothing, keeps no state, calls
 * nothing but mem*, and trusts no field. It works on the bytes of a file and, after
 * ldr_pe_mapped(), on the mapped image.
 *
 * Whatever returns int gives LDR_PE_ITEM, LDR_PE_END or LDR_PE_BAD; after LDR_PE_BAD, and whenever
 * a function that takes an error returns false, the error says what is wrong.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	LDR_PE_BAD = -1,
	LDR_PE_END = 0,
	LDR_PE_ITEM = 1,
};

/* Limits. Drivers in the field stay far below them; a hostile file does not keep us busy beyond
 * them. */
enum {
	LDR_PE_PAGE = 0x1000,
	LDR_PE_IMAGE_MAX = 0x10000000, /* bytes, 256 MiB */
	LDR_PE_ALIGNMENT_MIN = 0x20,
	LDR_PE_SECTION_ALIGNMENT_MAX = 0x200000,
	LDR_PE_FILE_ALIGNMENT_MAX = 0x10000,
	LDR_PE_BASE_ALIGNMENT = 0x10000,
	LDR_PE_SECTIONS_MAX = 96,
	LDR_PE_DESCRIPTORS_MAX = 1024,
	LDR_PE_IMPORTS_MAX = 0x10000, /* of one table, all modules together */
	LDR_PE_EXPORTS_MAX = 0x10000,
	LDR_PE_NAME_MAX = 1024, /* bytes of a symbol's or a module's name */
	LDR_PE_ERROR_MAX = 300, /* characters of a formatted error */
};

enum ldr_pe_directory {
	LDR_PE_EXPORT = 0,
	LDR_PE_IMPORT = 1,
	LDR_PE_EXCEPTION = 3,
	LDR_PE_SECURITY = 4, /* a file offset, not an RVA; never read */
	LDR_PE_BASERELOC = 5,
	LDR_PE_DEBUG = 6,
	LDR_PE_LOAD_CONFIG = 10,
	LDR_PE_IAT = 12,
	LDR_PE_DELAY_IMPORT = 13,
	LDR_PE_DIRECTORIES = 16,
};

/* Section characteristics (public PE format). */
#define LDR_PE_SECTION_CODE        0x00000020u
#define LDR_PE_SECTION_DISCARDABLE 0x02000000u
#define LDR_PE_SECTION_EXECUTE     0x20000000u
#define LDR_PE_SECTION_READ        0x40000000u
#define LDR_PE_SECTION_WRITE       0x80000000u

#define LDR_PE_RELOCS_STRIPPED  0x0001u
#define LDR_PE_EXECUTABLE_IMAGE 0x0002u

/*
 * Every refusal: code and text. In a text {n} is the name, {i} the index, {v} and {l} value and
 * limit in hexadecimal, {V} and {L} in decimal. Sections are counted from 1, as linkers' map files
 * do; directories have their documented number; descriptors, blocks and entries are counted from 0.
 */
#define LDR_PE_ERRORS(X)                                                                           \
	X(SMALL,                                                                                   \
	  "the file has {V} bytes, fewer than the {L} of an image's first header: it is empty "    \
	  "or truncated")                                                                          \
	X(DOS_MAGIC, "the file starts with {v} instead of MZ ({l}): it is not a Windows image")    \
	X(PE_OFFSET, "the PE header's offset {v} is not a multiple of 4 from {l} on")              \
	X(PE_TRUNCATED, "the headers end at {v}, past the end of the file ({l}): the file is "     \
			"truncated")                                                               \
	X(PE_MAGIC, "the signature at the PE header's offset is {v} instead of PE ({l})")          \
	X(MACHINE, "machine type {v}, but only x64 ({l}) can run: build the driver for x64")       \
	X(MAGIC, "optional header magic {v}, but only PE32+ ({l}) can run")                        \
	X(OPTIONAL_SIZE, "the optional header has {v} bytes, but its fields need {l}")             \
	X(NOT_EXECUTABLE, "characteristics {v} lack the flag of a linked image ({l}): its link "   \
			  "failed, or it is an object file")                                       \
	X(SUBSYSTEM,                                                                               \
	  "subsystem {V}, but a driver is native ({L}): link it with /subsystem:native")           \
	X(SECTION_ALIGNMENT, "SectionAlignment {v} is not a power of two from 0x20 to {l}")        \
	X(FILE_ALIGNMENT, "FileAlignment {v} is not a power of two from 0x20 to {l}")              \
	X(ALIGNMENTS, "FileAlignment {v} is larger than SectionAlignment {l}")                     \
	X(LOW_ALIGNMENT,                                                                           \
	  "FileAlignment {v} differs from SectionAlignment {l}, which is below a page")            \
	X(IMAGE_BASE, "ImageBase {v} is not a multiple of {l}")                                    \
	X(IMAGE_SIZE, "SizeOfImage {v} is 0 or larger than {l}")                                   \
	X(HEADERS_SHORT, "SizeOfHeaders {v} does not cover the section table, which ends at {l}")  \
	X(HEADERS_FILE,                                                                            \
	  "SizeOfHeaders {v} is past the end of the file ({l}): the file is truncated")            \
	X(HEADERS_IMAGE, "SizeOfHeaders {v} is larger than SizeOfImage {l}")                       \
	X(SECTION_COUNT, "{V} sections, but an image has 1 to {L}")                                \
	X(SECTION_UNALIGNED, "section {i} ({n}): address {v} is not a multiple of "                \
			     "SectionAlignment {l}")                                               \
	X(SECTION_EMPTY, "section {i} ({n}): it has neither a size in memory nor in the file")     \
	X(SECTION_OVERLAP,                                                                         \
	  "section {i} ({n}): address {v} is below {l}, where the headers or the "                 \
	  "section before it end")                                                                 \
	X(SECTION_BEYOND, "section {i} ({n}): it ends at {v}, past SizeOfImage {l}")               \
	X(SECTION_RAW_UNALIGNED, "section {i} ({n}): file offset {v} is not a multiple of "        \
				 "FileAlignment {l}")                                              \
	X(SECTION_TRUNCATED, "section {i} ({n}): raw data ends at {v}, past the end of the file "  \
			     "({l}): the file is truncated")                                       \
	X(SECTION_MOVED, "section {i} ({n}): file offset {v} differs from address {l}, which a "   \
			 "SectionAlignment below a page does not allow")                           \
	X(NO_ENTRY, "it has neither an entry point nor exports: link it with /entry:DriverEntry")  \
	X(ENTRY, "entry point {v} is not in an executable section")                                \
	X(DIRECTORY, "data directory {i}: it ends at {v}, past SizeOfImage {l}")                   \
	X(DIRECTORY_OUTSIDE, "data directory {i}: address {v} with {l} bytes is not inside one "   \
			     "section")                                                            \
	X(IMPORT_COUNT, "import descriptor {i}: the table has no end within {L} descriptors")      \
	X(IMPORT_TABLE, "import descriptor {i}: its address {v} is outside all sections")          \
	X(IMPORT_MODULE, "import descriptor {i}: the module name at {v} is outside the image, "    \
			 "empty or longer than {L} bytes")                                         \
	X(IMPORT_NO_SLOTS, "import descriptor {i} ({n}): it has no import address table")          \
	X(IMPORT_ENTRIES, "import descriptor {i} ({n}): more than {L} imports, the table has no "  \
			  "end")                                                                   \
	X(IMPORT_LOOKUP, "import descriptor {i} ({n}): the lookup entry at {v} is outside all "    \
			 "sections")                                                               \
	X(IMPORT_SLOT, "import descriptor {i} ({n}): the address slot at {v} is outside all "      \
		       "sections")                                                                 \
	X(IMPORT_THUNK, "import descriptor {i} ({n}): lookup entry {v} is neither an ordinal nor " \
			"an address below {l}")                                                    \
	X(IMPORT_NAME,                                                                             \
	  "import descriptor {i} ({n}): the symbol name at {v} is outside the image, "             \
	  "empty or longer than {L} bytes")                                                        \
	X(DELAY_ATTRIBUTES,                                                                        \
	  "delay import descriptor {i}: attributes {v}, but only tables of RVAs "                  \
	  "({l}) are known")                                                                       \
	X(EXPORT_COUNT, "export directory: {V} functions or names, more than {L}")                 \
	X(EXPORT_TABLE, "export directory: the table at {v} with {l} bytes is not inside one "     \
			"section")                                                                 \
	X(EXPORT_NAME, "export directory: name {i} at {v} is outside the image, empty or longer "  \
		       "than {L} bytes")                                                           \
	X(EXPORT_INDEX, "export directory: name {i} ({n}) refers to function {V} of {L}")          \
	X(EXPORT_ADDRESS, "export directory: function {i} has address {v}, outside all sections")  \
	X(EXPORT_FORWARDER, "export directory: the forwarder {n} at {v} is not Module.Name or "    \
			    "Module.#Ordinal")                                                     \
	X(RELOC_SIZE,                                                                              \
	  "relocation block at {v}: size {l} is below 8, odd, or past the directory's "            \
	  "end")                                                                                   \
	X(RELOC_PAGE, "relocation block {i}: address {v} is not below SizeOfImage {l}")            \
	X(RELOC_TYPE, "relocation at {v}: type {L}, but x64 images use 0 and 10 only")             \
	X(RELOC_TARGET, "relocation at {v}: its 8 bytes are not inside one section")               \
	X(RELOCS_GONE, "its relocations were stripped and it cannot be loaded at {v} instead of "  \
		       "{l}: link it with /fixed:no")                                              \
	X(MAP_SPACE, "mapping it takes {v} bytes, but only {l} are there")                         \
	X(FUNCTIONS_SIZE, "exception directory: size {v} is not a multiple of {L}")                \
	X(FUNCTION_RANGE, "exception directory: entry {i} spans {v} to {l}, which is empty or "    \
			  "outside the image")                                                     \
	X(FUNCTION_ORDER,                                                                          \
	  "exception directory: entry {i} begins at {v}, before the end {l} of the "               \
	  "one before")                                                                            \
	X(FUNCTION_UNWIND,                                                                         \
	  "exception directory: entry {i} has its unwind data at {v}, outside all "                \
	  "sections")                                                                              \
	X(CONFIG_SIZE,                                                                             \
	  "load configuration: size {v} is too small or past its section's end ({l})")             \
	X(COOKIE, "load configuration: the security cookie at {v} is not inside a writable "       \
		  "section")

enum ldr_pe_code {
	LDR_PE_OK,
#define LDR_PE_ERROR_CODE(code, text) LDR_PE_E_##code,
	LDR_PE_ERRORS(LDR_PE_ERROR_CODE)
#undef LDR_PE_ERROR_CODE
		LDR_PE_CODES
};

struct ldr_pe_error {
	enum ldr_pe_code code;
	uint32_t index;
	uint64_t value;
	uint64_t limit;
	char name[64]; /* as it stands in the file: escaped only when formatted; NUL-padded */
};

/* Text inside the image: not NUL-terminated, any bytes but NUL. */
struct ldr_pe_text {
	const char *bytes;
	uint32_t length;
};

struct ldr_pe {
	const unsigned char *data;
	size_t size;
	bool mapped; /* data is laid out by RVA */
	uint64_t image_base;
	uint32_t image_size; /* as the header has it; mappings round it up to pages */
	uint32_t headers_size;
	uint32_t header_offset; /* of the PE signature */
	uint32_t section_table; /* offset */
	uint32_t section_count;
	uint32_t section_alignment;
	uint32_t file_alignment;
	uint32_t entry; /* RVA, 0 = none */
	uint32_t time_stamp;
	uint32_t checksum;
	uint16_t characteristics;
	uint16_t dll_characteristics;
	struct {
		uint32_t rva; /* 0 = absent */
		uint32_t size;
	} directory[LDR_PE_DIRECTORIES];
};

struct ldr_pe_section {
	uint32_t index; /* from 0 */
	uint32_t rva;
	uint32_t size; /* bytes in memory, not 0 */
	uint32_t raw_offset;
	uint32_t
		raw_size; /* bytes in the file that belong to memory, rounded up to the alignment */
	uint32_t flags;   /* LDR_PE_SECTION_* and the rest of the characteristics */
	char name[9];     /* NUL-terminated, unescaped */
};

/* Checks headers, section table and directory bounds of a file. `file` must stay while `pe` is
 * used. */
bool ldr_pe_open(struct ldr_pe *pe, const void *file, size_t size, struct ldr_pe_error *error);

/* The same image, read from where ldr_pe_map put it. */
void ldr_pe_mapped(struct ldr_pe *mapped, const struct ldr_pe *file, const void *base);

/* Section number `index` (from 0, below section_count). */
void ldr_pe_section(const struct ldr_pe *pe, uint32_t index, struct ldr_pe_section *section);

/* The section that holds all of [rva, rva + length). */
bool ldr_pe_section_at(const struct ldr_pe *pe, uint32_t rva, uint32_t length,
		       struct ldr_pe_section *section);

/* DEF-335: what becomes of a section. */
bool ldr_pe_section_pageable(const struct ldr_pe_section *section);
bool ldr_pe_section_discarded(const struct ldr_pe_section *section);

/* Copies [rva, rva + length), which must lie in the headers or in one section; zero-filled parts
 * read as 0. */
bool ldr_pe_read(const struct ldr_pe *pe, uint32_t rva, void *out, size_t length);

/* The text at `rva`, 1 to LDR_PE_NAME_MAX bytes long. */
bool ldr_pe_text(const struct ldr_pe *pe, uint32_t rva, struct ldr_pe_text *text);

/* Imports (DEF-320), ordinary or delayed, over all descriptors. */
struct ldr_pe_import {
	struct ldr_pe_text module;
	struct ldr_pe_text name; /* length 0: by ordinal */
	uint16_t ordinal;
	uint16_t hint;
	uint32_t slot; /* RVA of the 8 bytes to fill */
};

struct ldr_pe_import_iter {
	const struct ldr_pe *pe;
	bool delayed;
	bool inside; /* a descriptor is open */
	uint32_t descriptor;
	uint32_t total;
	uint32_t lookup; /* RVAs of the next lookup entry and address slot */
	uint32_t slot;
	struct ldr_pe_text module;
};

void ldr_pe_imports(const struct ldr_pe *pe, bool delayed, struct ldr_pe_import_iter *iter);
int ldr_pe_import_next(struct ldr_pe_import_iter *iter, struct ldr_pe_import *import,
		       struct ldr_pe_error *error);

/* Exports (DEF-322). */
struct ldr_pe_exports {
	const struct ldr_pe *pe;
	struct ldr_pe_text module; /* length 0 when the directory names none */
	uint32_t ordinal_base;
	uint32_t function_count;
	uint32_t name_count;
	uint32_t functions; /* RVAs of the three arrays */
	uint32_t names;
	uint32_t indexes;
};

struct ldr_pe_export {
	struct ldr_pe_text name; /* length 0: found by ordinal */
	uint32_t ordinal;
	uint32_t rva;                    /* 0 for a forwarder */
	struct ldr_pe_text forward_to;   /* module without extension; length 0: not a forwarder */
	struct ldr_pe_text forward_name; /* length 0: by forward_ordinal */
	uint32_t forward_ordinal;
};

/* LDR_PE_END when the image has no exports. */
int ldr_pe_exports(const struct ldr_pe *pe, struct ldr_pe_exports *exports,
		   struct ldr_pe_error *error);
/* Name number `index`, in the order of the table. LDR_PE_END past the last. */
int ldr_pe_export_named(const struct ldr_pe_exports *exports, uint32_t index,
			struct ldr_pe_export *found, struct ldr_pe_error *error);
/* LDR_PE_END when there is none. The names must be sorted, as the format demands. */
int ldr_pe_export_find(const struct ldr_pe_exports *exports, const char *name, size_t length,
		       struct ldr_pe_export *found, struct ldr_pe_error *error);
int ldr_pe_export_ordinal(const struct ldr_pe_exports *exports, uint32_t ordinal,
			  struct ldr_pe_export *found, struct ldr_pe_error *error);

/* Base relocations (DEF-324): the RVA of each 8-byte address, checked to lie in a section. */
struct ldr_pe_reloc_iter {
	const struct ldr_pe *pe;
	uint32_t block; /* number */
	uint32_t next;  /* RVAs: next entry, end of block, end of directory */
	uint32_t block_end;
	uint32_t end;
	uint32_t page;
	uint32_t safe_start; /* of the section of the last target */
	uint32_t safe_end;
};

int ldr_pe_relocs(const struct ldr_pe *pe, struct ldr_pe_reloc_iter *iter,
		  struct ldr_pe_error *error);
int ldr_pe_reloc_next(struct ldr_pe_reloc_iter *iter, uint32_t *rva, struct ldr_pe_error *error);

/* Load configuration (DEF-326). A field that Size does not cover is 0. RVAs are 0 when absent. */
struct ldr_pe_load_config {
	uint32_t size;
	uint32_t security_cookie; /* RVA of the variable, 8 bytes in a writable section */
	uint64_t guard_check_pointer;
	uint64_t guard_dispatch_pointer;
	uint64_t guard_function_table;
	uint64_t guard_function_count;
	uint32_t guard_flags;
};

/* LDR_PE_END when there is none. Only on a file: a mapped image holds relocated addresses. */
int ldr_pe_load_config(const struct ldr_pe *pe, struct ldr_pe_load_config *config,
		       struct ldr_pe_error *error);

/* Exception directory (DEF-331): checked as a whole, not what the unwind RVAs lead to. */
int ldr_pe_functions(const struct ldr_pe *pe, uint32_t *rva, uint32_t *count,
		     struct ldr_pe_error *error);

/* The PDB's name from the debug directory. false: there is none that can be read. */
bool ldr_pe_pdb(const struct ldr_pe *pe, struct ldr_pe_text *name);

/*
 * Lays the image out by RVA in `to` (zero-filled, at least ldr_pe_span(pe) bytes) and relocates it
 * for `base`.
 */
uint32_t ldr_pe_span(const struct ldr_pe *pe); /* SizeOfImage in whole pages */
bool ldr_pe_map(const struct ldr_pe *pe, void *to, size_t space, uint64_t base,
		struct ldr_pe_error *error);

/* Runs of pages with one protection (DEF-339), ascending; pages that no section covers are not in
 * any run. */
struct ldr_pe_run {
	uint32_t rva; /* page-aligned, as is size */
	uint32_t size;
	uint32_t flags; /* LDR_PE_SECTION_READ, _WRITE, _EXECUTE of all sections in these pages */
};

struct ldr_pe_run_iter {
	const struct ldr_pe *pe;
	uint32_t next; /* RVA */
};

void ldr_pe_runs(const struct ldr_pe *pe, struct ldr_pe_run_iter *iter);
int ldr_pe_run_next(struct ldr_pe_run_iter *iter, struct ldr_pe_run *run);

/*
 * One line of printable ASCII, at most LDR_PE_ERROR_MAX characters, cut at size - 1, always
 * terminated: "FILE: what is wrong". Returns its length.
 */
size_t ldr_pe_error_format(const struct ldr_pe_error *error, const char *file, char *buffer,
			   size_t size);
