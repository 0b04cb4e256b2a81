/* SPDX-License-Identifier: MIT */
/*
 * PE reader: the export directory, by name, by ordinal, by position; forwarders.
 *
 * ldr_pe_exports checks that the three arrays lie in the image; each entry is checked when it is
 * looked up. A lookup by name is a binary search, as on Windows, so names that are not sorted are
 * not found, as on Windows.
 *
 * Contexts: any; pure code. On a mapped image the directory must be readable. Requirements:
 * DEF-322.
 *
 * Chosen where documents are silent: the last dot of a forwarder separates module and name; at most
 * 65,536 functions.
 */
#include "ldr/pe_internal.h"

enum {
	EXPORT_SIZE = 40,
	EXPORT_MODULE = 12,
	EXPORT_BASE = 16,
	EXPORT_FUNCTION_COUNT = 20,
	EXPORT_NAME_COUNT = 24,
	EXPORT_FUNCTIONS = 28,
	EXPORT_NAMES = 32,
	EXPORT_INDEXES = 36,
	ORDINAL_MAX = 0xffff,
};

static bool table_inside(const struct ldr_pe *pe, uint32_t rva, uint32_t size)
{
	struct pe_span span;

	return size == 0 || (pe_span_at(pe, rva, &span) && size <= span.extent);
}

int ldr_pe_exports(const struct ldr_pe *pe, struct ldr_pe_exports *exports,
		   struct ldr_pe_error *error)
{
	uint32_t directory = pe->directory[LDR_PE_EXPORT].rva;
	unsigned char bytes[EXPORT_SIZE];
	uint32_t most;

	*exports = (struct ldr_pe_exports){.pe = pe};
	if (directory == 0)
		return LDR_PE_END;
	if (!ldr_pe_read(pe, directory, bytes, sizeof(bytes)))
		return pe_bad(error, LDR_PE_E_DIRECTORY_OUTSIDE, LDR_PE_EXPORT, directory,
			      sizeof(bytes));
	exports->ordinal_base = pe_u32(bytes + EXPORT_BASE);
	exports->function_count = pe_u32(bytes + EXPORT_FUNCTION_COUNT);
	exports->name_count = pe_u32(bytes + EXPORT_NAME_COUNT);
	exports->functions = pe_u32(bytes + EXPORT_FUNCTIONS);
	exports->names = pe_u32(bytes + EXPORT_NAMES);
	exports->indexes = pe_u32(bytes + EXPORT_INDEXES);
	most = exports->function_count > exports->name_count ? exports->function_count
							     : exports->name_count;
	if (most > LDR_PE_EXPORTS_MAX)
		return pe_bad(error, LDR_PE_E_EXPORT_COUNT, 0, most, LDR_PE_EXPORTS_MAX);
	if (!table_inside(pe, exports->functions, 4 * exports->function_count))
		return pe_bad(error, LDR_PE_E_EXPORT_TABLE, 0, exports->functions,
			      4 * exports->function_count);
	if (!table_inside(pe, exports->names, 4 * exports->name_count))
		return pe_bad(error, LDR_PE_E_EXPORT_TABLE, 0, exports->names,
			      4 * exports->name_count);
	if (!table_inside(pe, exports->indexes, 2 * exports->name_count))
		return pe_bad(error, LDR_PE_E_EXPORT_TABLE, 0, exports->indexes,
			      2 * exports->name_count);
	ldr_pe_text(pe, pe_u32(bytes + EXPORT_MODULE), &exports->module);
	return LDR_PE_ITEM;
}

/* "Module.Name" or "Module.#ordinal". */
static bool split_forwarder(struct ldr_pe_text text, struct ldr_pe_export *found)
{
	uint32_t dot = text.length;

	while (dot && text.bytes[dot - 1] != '.')
		dot--;
	if (dot <= 1 || dot == text.length)
		return false;
	found->forward_to = (struct ldr_pe_text){.bytes = text.bytes, .length = dot - 1};
	found->forward_name =
		(struct ldr_pe_text){.bytes = text.bytes + dot, .length = text.length - dot};
	if (found->forward_name.bytes[0] != '#')
		return true;
	if (found->forward_name.length == 1)
		return false;
	for (uint32_t i = 1; i < found->forward_name.length; i++) {
		char digit = found->forward_name.bytes[i];

		if (digit < '0' || digit > '9')
			return false;
		found->forward_ordinal = 10 * found->forward_ordinal + (uint32_t)(digit - '0');
		if (found->forward_ordinal > ORDINAL_MAX)
			return false;
	}
	found->forward_name.length = 0;
	return true;
}

/* Function number `index`, which is below function_count. LDR_PE_END: an unused ordinal. */
static int function_at(const struct ldr_pe_exports *exports, uint32_t index,
		       struct ldr_pe_export *found, struct ldr_pe_error *error)
{
	const struct ldr_pe *pe = exports->pe;
	uint32_t start = pe->directory[LDR_PE_EXPORT].rva;
	struct ldr_pe_section section;
	struct ldr_pe_text text;
	unsigned char bytes[4];
	uint32_t rva;

	found->ordinal = exports->ordinal_base + index;
	if (!ldr_pe_read(pe, exports->functions + 4 * index, bytes, sizeof(bytes)))
		return pe_bad(error, LDR_PE_E_EXPORT_TABLE, index, exports->functions,
			      4 * exports->function_count);
	rva = pe_u32(bytes);
	if (rva == 0)
		return LDR_PE_END;
	if (rva >= start && rva - start < pe->directory[LDR_PE_EXPORT].size) {
		if (!ldr_pe_text(pe, rva, &text))
			return pe_bad(error, LDR_PE_E_EXPORT_NAME, index, rva, LDR_PE_NAME_MAX);
		if (!split_forwarder(text, found))
			return pe_bad_named(error, LDR_PE_E_EXPORT_FORWARDER, index, rva, 0, text);
		return LDR_PE_ITEM;
	}
	if (!ldr_pe_section_at(pe, rva, 1, &section))
		return pe_bad(error, LDR_PE_E_EXPORT_ADDRESS, index, rva, 0);
	found->rva = rva;
	return LDR_PE_ITEM;
}

static int name_at(const struct ldr_pe_exports *exports, uint32_t index, struct ldr_pe_text *name,
		   struct ldr_pe_error *error)
{
	unsigned char bytes[4];

	if (!ldr_pe_read(exports->pe, exports->names + 4 * index, bytes, sizeof(bytes)))
		return pe_bad(error, LDR_PE_E_EXPORT_TABLE, index, exports->names,
			      4 * exports->name_count);
	if (!ldr_pe_text(exports->pe, pe_u32(bytes), name))
		return pe_bad(error, LDR_PE_E_EXPORT_NAME, index, pe_u32(bytes), LDR_PE_NAME_MAX);
	return LDR_PE_ITEM;
}

int ldr_pe_export_named(const struct ldr_pe_exports *exports, uint32_t index,
			struct ldr_pe_export *found, struct ldr_pe_error *error)
{
	unsigned char bytes[2];
	int result;

	*found = (struct ldr_pe_export){.ordinal = 0};
	if (index >= exports->name_count)
		return LDR_PE_END;
	result = name_at(exports, index, &found->name, error);
	if (result != LDR_PE_ITEM)
		return result;
	if (!ldr_pe_read(exports->pe, exports->indexes + 2 * index, bytes, sizeof(bytes)))
		return pe_bad(error, LDR_PE_E_EXPORT_TABLE, index, exports->indexes,
			      2 * exports->name_count);
	if (pe_u16(bytes) >= exports->function_count)
		return pe_bad_named(error, LDR_PE_E_EXPORT_INDEX, index, pe_u16(bytes),
				    exports->function_count, found->name);
	result = function_at(exports, pe_u16(bytes), found, error);
	/* A name without a function: nothing to find, but not the end of the table either. */
	if (result == LDR_PE_END)
		return pe_bad(error, LDR_PE_E_EXPORT_ADDRESS, pe_u16(bytes), 0, 0);
	return result;
}

/* Order of the bytes, as the format sorts names. */
static int compare(struct ldr_pe_text left, const char *right, size_t length)
{
	size_t shared = left.length < length ? left.length : length;
	int order = __builtin_memcmp(left.bytes, right, shared);

	if (order)
		return order;
	return left.length < length ? -1 : left.length > length;
}

int ldr_pe_export_find(const struct ldr_pe_exports *exports, const char *name, size_t length,
		       struct ldr_pe_export *found, struct ldr_pe_error *error)
{
	uint32_t low = 0, high = exports->name_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		struct ldr_pe_text candidate;
		int order;

		if (name_at(exports, middle, &candidate, error) != LDR_PE_ITEM)
			return LDR_PE_BAD;
		order = compare(candidate, name, length);
		if (order == 0)
			return ldr_pe_export_named(exports, middle, found, error);
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return LDR_PE_END;
}

int ldr_pe_export_ordinal(const struct ldr_pe_exports *exports, uint32_t ordinal,
			  struct ldr_pe_export *found, struct ldr_pe_error *error)
{
	*found = (struct ldr_pe_export){.ordinal = 0};
	if (ordinal < exports->ordinal_base ||
	    ordinal - exports->ordinal_base >= exports->function_count)
		return LDR_PE_END;
	return function_at(exports, ordinal - exports->ordinal_base, found, error);
}
