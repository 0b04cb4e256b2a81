// SPDX-License-Identifier: MIT
/*
 * libFuzzer target: opens any bytes as a driver image, walks every table of the file, maps and
 * relocates it into a heap buffer as the loader does, and walks the tables of the mapped image.
 * Refusals must be one printable line.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ldr/pe.h"

enum {
	/* Buffers larger than this are left to the loader: they cost the fuzzer its speed and hold
	   only zeros. */
	MAP_MAX = 0x400000,
	PAGE = 0x1000,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned int sink;

static void require(bool condition)
{
	if (!condition)
		abort();
}

static void use_text(struct ldr_pe_text text)
{
	require(text.length <= LDR_PE_NAME_MAX);
	for (uint32_t i = 0; i < text.length; i++) {
		require(text.bytes[i] != 0);
		sink += (unsigned char)text.bytes[i];
	}
}

static void use_error(const struct ldr_pe_error *error)
{
	char line[LDR_PE_ERROR_MAX + 1];
	size_t length = ldr_pe_error_format(error, "fuzz.sys", line, sizeof(line));

	require(error->code > LDR_PE_OK && error->code < LDR_PE_CODES);
	require(length == strlen(line) && length < LDR_PE_ERROR_MAX);
	for (size_t i = 0; i < length; i++)
		require(line[i] >= ' ' && line[i] <= '~');
}

static void walk_imports(const struct ldr_pe *pe, bool delayed)
{
	struct ldr_pe_import_iter iter;
	struct ldr_pe_import import;
	struct ldr_pe_error error;
	struct ldr_pe_section section;
	int result;

	ldr_pe_imports(pe, delayed, &iter);
	while ((result = ldr_pe_import_next(&iter, &import, &error)) == LDR_PE_ITEM) {
		use_text(import.module);
		use_text(import.name);
		require(ldr_pe_section_at(pe, import.slot, 8, &section));
	}
	if (result == LDR_PE_BAD)
		use_error(&error);
}

static void use_export(const struct ldr_pe *pe, const struct ldr_pe_export *found)
{
	struct ldr_pe_section section;

	use_text(found->name);
	use_text(found->forward_to);
	use_text(found->forward_name);
	require(found->forward_to.length || ldr_pe_section_at(pe, found->rva, 1, &section));
}

static void walk_exports(const struct ldr_pe *pe)
{
	struct ldr_pe_exports exports;
	struct ldr_pe_export found;
	struct ldr_pe_error error;
	int result = ldr_pe_exports(pe, &exports, &error);

	if (result == LDR_PE_BAD)
		use_error(&error);
	if (result != LDR_PE_ITEM)
		return;
	use_text(exports.module);
	for (uint32_t i = 0; i < exports.name_count; i++) {
		result = ldr_pe_export_named(&exports, i, &found, &error);
		if (result == LDR_PE_BAD)
			use_error(&error);
		else
			use_export(pe, &found);
	}
	for (uint32_t i = 0; i <= exports.function_count; i++) {
		result = ldr_pe_export_ordinal(&exports, exports.ordinal_base + i, &found, &error);
		if (result == LDR_PE_BAD)
			use_error(&error);
		else if (result == LDR_PE_ITEM)
			use_export(pe, &found);
	}
	if (ldr_pe_export_find(&exports, "DllInitialize", 13, &found, &error) == LDR_PE_ITEM)
		use_export(pe, &found);
}

static void walk_data(const struct ldr_pe *pe)
{
	struct ldr_pe_load_config config;
	struct ldr_pe_section section;
	struct ldr_pe_error error;
	struct ldr_pe_text text;
	unsigned char entry[12];
	uint32_t rva, count;
	int result;

	result = ldr_pe_load_config(pe, &config, &error);
	if (result == LDR_PE_BAD)
		use_error(&error);
	else if (result == LDR_PE_ITEM && config.security_cookie)
		require(ldr_pe_section_at(pe, config.security_cookie, 8, &section));
	result = ldr_pe_functions(pe, &rva, &count, &error);
	if (result == LDR_PE_BAD)
		use_error(&error);
	else if (result == LDR_PE_ITEM)
		require(ldr_pe_read(pe, rva + 12 * (count - 1), entry, sizeof(entry)));
	if (ldr_pe_pdb(pe, &text))
		use_text(text);
}

static void walk_runs(const struct ldr_pe *pe)
{
	struct ldr_pe_run_iter iter;
	struct ldr_pe_run run;
	uint32_t end = 0;

	ldr_pe_runs(pe, &iter);
	while (ldr_pe_run_next(&iter, &run) == LDR_PE_ITEM) {
		require(run.rva % PAGE == 0 && run.size % PAGE == 0 && run.size);
		require(run.rva >= end && run.flags);
		end = run.rva + run.size;
		require(end <= ldr_pe_span(pe));
	}
}

static void walk(const struct ldr_pe *pe)
{
	walk_imports(pe, false);
	walk_imports(pe, true);
	walk_exports(pe);
	walk_data(pe);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ldr_pe pe, mapped;
	struct ldr_pe_error error;
	uint32_t span;
	void *to;

	if (!ldr_pe_open(&pe, data, size, &error)) {
		use_error(&error);
		return 0;
	}
	walk(&pe);
	walk_runs(&pe);
	span = ldr_pe_span(&pe);
	if (span > MAP_MAX)
		return 0;
	to = calloc(1, span);
	require(to != NULL);
	if (ldr_pe_map(&pe, to, span, 0x400000010000u, &error)) {
		ldr_pe_mapped(&mapped, &pe, to);
		walk(&mapped);
	} else {
		use_error(&error);
	}
	free(to);
	return 0;
}
