/* SPDX-License-Identifier: MIT */
/*
 * PE reader: import tables, ordinary and delayed.
 *
 * A table is walked by its terminators, as Windows does, and not by the directory's size, which
 * linkers fill in differently. Descriptors and imports are counted, so that a table that has no end
 * is an error and not a hang. Several descriptors for one module are normal (mingw-w64 makes them),
 * as is a missing OriginalFirstThunk.
 *
 * Contexts: any; pure code. Requirements: DEF-320.
 *
 * Chosen where documents are silent: a descriptor without a name ends the table; delay import
 * tables of virtual addresses (attributes bit 0 clear, 32-bit only) are refused.
 */
#include "ldr/pe_internal.h"

enum {
	DESCRIPTOR_SIZE = 20,
	DESCRIPTOR_LOOKUP = 0,
	DESCRIPTOR_NAME = 12,
	DESCRIPTOR_SLOTS = 16,
	DELAY_SIZE = 32,
	DELAY_ATTRIBUTES = 0,
	DELAY_NAME = 4,
	DELAY_SLOTS = 12,
	DELAY_LOOKUP = 16,
	DELAY_RVAS = 1,
	HINT_SIZE = 2,
	SLOT_SIZE = 8,
};

#define THUNK_ORDINAL     0x8000000000000000u
#define THUNK_ORDINAL_MAX 0xffffu
#define THUNK_ADDRESS_END 0x80000000u

void ldr_pe_imports(const struct ldr_pe *pe, bool delayed, struct ldr_pe_import_iter *iter)
{
	*iter = (struct ldr_pe_import_iter){.pe = pe, .delayed = delayed};
}

/* Opens descriptor number iter->descriptor. */
static int open_descriptor(struct ldr_pe_import_iter *iter, struct ldr_pe_error *error)
{
	unsigned char bytes[DELAY_SIZE];
	uint32_t size = iter->delayed ? DELAY_SIZE : DESCRIPTOR_SIZE;
	uint32_t number = iter->descriptor;
	uint32_t table, name;

	table = iter->pe->directory[iter->delayed ? LDR_PE_DELAY_IMPORT : LDR_PE_IMPORT].rva;
	if (table == 0)
		return LDR_PE_END;
	table += number * size;
	if (number >= LDR_PE_DESCRIPTORS_MAX)
		return pe_bad(error, LDR_PE_E_IMPORT_COUNT, number, table, LDR_PE_DESCRIPTORS_MAX);
	if (!ldr_pe_read(iter->pe, table, bytes, size))
		return pe_bad(error, LDR_PE_E_IMPORT_TABLE, number, table, iter->pe->image_size);
	name = pe_u32(bytes + (iter->delayed ? DELAY_NAME : DESCRIPTOR_NAME));
	if (name == 0)
		return LDR_PE_END;
	if (iter->delayed && !(pe_u32(bytes + DELAY_ATTRIBUTES) & DELAY_RVAS))
		return pe_bad(error, LDR_PE_E_DELAY_ATTRIBUTES, number,
			      pe_u32(bytes + DELAY_ATTRIBUTES), DELAY_RVAS);
	if (!ldr_pe_text(iter->pe, name, &iter->module))
		return pe_bad(error, LDR_PE_E_IMPORT_MODULE, number, name, LDR_PE_NAME_MAX);
	iter->lookup = pe_u32(bytes + (iter->delayed ? DELAY_LOOKUP : DESCRIPTOR_LOOKUP));
	iter->slot = pe_u32(bytes + (iter->delayed ? DELAY_SLOTS : DESCRIPTOR_SLOTS));
	if (iter->slot == 0)
		return pe_bad_named(error, LDR_PE_E_IMPORT_NO_SLOTS, number, 0, 0, iter->module);
	if (iter->lookup == 0)
		iter->lookup = iter->slot;
	iter->inside = true;
	return LDR_PE_ITEM;
}

static int read_thunk(const struct ldr_pe_import_iter *iter, uint64_t thunk,
		      struct ldr_pe_import *import, struct ldr_pe_error *error)
{
	unsigned char hint[HINT_SIZE];
	uint32_t name;

	*import = (struct ldr_pe_import){.module = iter->module, .slot = iter->slot};
	if (thunk & THUNK_ORDINAL) {
		import->ordinal = (uint16_t)(thunk & THUNK_ORDINAL_MAX);
		return LDR_PE_ITEM;
	}
	if (thunk >= THUNK_ADDRESS_END)
		return pe_bad_named(error, LDR_PE_E_IMPORT_THUNK, iter->descriptor, thunk,
				    THUNK_ADDRESS_END, iter->module);
	name = (uint32_t)thunk;
	if (!ldr_pe_read(iter->pe, name, hint, sizeof(hint)) ||
	    !ldr_pe_text(iter->pe, name + HINT_SIZE, &import->name))
		return pe_bad_named(error, LDR_PE_E_IMPORT_NAME, iter->descriptor, name,
				    LDR_PE_NAME_MAX, iter->module);
	import->hint = pe_u16(hint);
	return LDR_PE_ITEM;
}

int ldr_pe_import_next(struct ldr_pe_import_iter *iter, struct ldr_pe_import *import,
		       struct ldr_pe_error *error)
{
	struct ldr_pe_section section;
	unsigned char bytes[SLOT_SIZE];
	uint64_t thunk;
	int result;

	for (;;) {
		if (!iter->inside) {
			result = open_descriptor(iter, error);
			if (result != LDR_PE_ITEM)
				return result;
		}
		if (!ldr_pe_read(iter->pe, iter->lookup, bytes, sizeof(bytes)))
			return pe_bad_named(error, LDR_PE_E_IMPORT_LOOKUP, iter->descriptor,
					    iter->lookup, 0, iter->module);
		thunk = pe_u64(bytes);
		if (thunk)
			break;
		iter->inside = false;
		iter->descriptor++;
	}
	if (iter->total++ >= LDR_PE_IMPORTS_MAX)
		return pe_bad_named(error, LDR_PE_E_IMPORT_ENTRIES, iter->descriptor, iter->total,
				    LDR_PE_IMPORTS_MAX, iter->module);
	if (!ldr_pe_section_at(iter->pe, iter->slot, SLOT_SIZE, &section))
		return pe_bad_named(error, LDR_PE_E_IMPORT_SLOT, iter->descriptor, iter->slot, 0,
				    iter->module);
	result = read_thunk(iter, thunk, import, error);
	iter->lookup += SLOT_SIZE;
	iter->slot += SLOT_SIZE;
	return result;
}
