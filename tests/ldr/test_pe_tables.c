// SPDX-License-Identifier: MIT
/* PE reader: exports, load configuration, exception and debug directories. */
#include "pe_check.h"

static bool read_exports(const struct ldr_pe *pe, struct ldr_pe_error *error)
{
	struct ldr_pe_exports exports;
	struct ldr_pe_export found;
	int result;

	if (ldr_pe_exports(pe, &exports, error) == LDR_PE_BAD)
		return false;
	for (uint32_t i = 0; i <= exports.name_count; i++) {
		result = ldr_pe_export_named(&exports, i, &found, error);
		if (result == LDR_PE_BAD)
			return false;
		assert_int_equal(result, i < exports.name_count ? LDR_PE_ITEM : LDR_PE_END);
	}
	return true;
}

static bool read_config(const struct ldr_pe *pe, struct ldr_pe_error *error)
{
	struct ldr_pe_load_config config;

	return ldr_pe_load_config(pe, &config, error) != LDR_PE_BAD;
}

static bool read_functions(const struct ldr_pe *pe, struct ldr_pe_error *error)
{
	uint32_t rva, count;

	return ldr_pe_functions(pe, &rva, &count, error) != LDR_PE_BAD;
}

static void def322_exports(void **state)
{
	struct ldr_pe_exports exports;
	struct ldr_pe_export found;
	struct ldr_pe_error error;
	struct image image;
	struct ldr_pe pe;

	(void)state;
	open_valid(&image, &pe);
	assert_int_equal(ldr_pe_exports(&pe, &exports, &error), LDR_PE_ITEM);
	expect_text(exports.module, "test.sys");
	assert_int_equal(ldr_pe_export_find(&exports, "Alpha", 5, &found, &error), LDR_PE_ITEM);
	assert_int_equal(found.rva, TEXT + 0x20);
	assert_int_equal(found.ordinal, 5);
	assert_int_equal(found.forward_to.length, 0);
	assert_int_equal(ldr_pe_export_find(&exports, "Beta", 4, &found, &error), LDR_PE_ITEM);
	assert_int_equal(found.rva, 0);
	expect_text(found.forward_to, "ntoskrnl");
	expect_text(found.forward_name, "DbgPrint");
	assert_int_equal(ldr_pe_export_find(&exports, "Gamma", 5, &found, &error), LDR_PE_ITEM);
	expect_text(found.forward_to, "lib.v2");
	assert_int_equal(found.forward_name.length, 0);
	assert_int_equal(found.forward_ordinal, 17);

	assert_int_equal(ldr_pe_export_find(&exports, "Alph", 4, &found, &error), LDR_PE_END);
	assert_int_equal(ldr_pe_export_find(&exports, "Alphab", 6, &found, &error), LDR_PE_END);
	assert_int_equal(ldr_pe_export_find(&exports, "Zeta", 4, &found, &error), LDR_PE_END);
	assert_int_equal(ldr_pe_export_find(&exports, "", 0, &found, &error), LDR_PE_END);

	assert_int_equal(ldr_pe_export_ordinal(&exports, 5, &found, &error), LDR_PE_ITEM);
	assert_int_equal(found.rva, TEXT + 0x20);
	assert_int_equal(found.name.length, 0);
	/* Ordinal 6 is unused; 4 and 9 are outside the table. */
	assert_int_equal(ldr_pe_export_ordinal(&exports, 6, &found, &error), LDR_PE_END);
	assert_int_equal(ldr_pe_export_ordinal(&exports, 4, &found, &error), LDR_PE_END);
	assert_int_equal(ldr_pe_export_ordinal(&exports, 9, &found, &error), LDR_PE_END);
	assert_true(read_exports(&pe, &error));
}

static void def322_exports_refused(void **state)
{
	const struct spoiled rows[] = {
		{IMG_DIRECTORY(0), 4, RDATA + 0x7f0,
		 "bad.sys: data directory 0: address 0x27f0 with 0x28 bytes is not inside one "
		 "section"},
		{image_offset(EXPORTS + 20), 4, 0x10001,
		 "bad.sys: export directory: 65537 functions or names, more than 65536"},
		{image_offset(EXPORTS + 24), 4, 0xffffffff,
		 "bad.sys: export directory: 4294967295 functions or names, more than 65536"},
		{image_offset(EXPORTS + 20), 4, 0x200,
		 "bad.sys: export directory: the table at 0x2230 "
		 "with 0x800 bytes is not inside one section"},
		{image_offset(EXPORTS + 32), 4, 0x900,
		 "bad.sys: export directory: the table at 0x900 "
		 "with 0xc bytes is not inside one section"},
		{image_offset(EXPORTS + 36), 4, RDATA + 0x7fb,
		 "bad.sys: export directory: the table at 0x27fb with 0x6 bytes is not inside one "
		 "section"},
		{image_offset(EXPORT_NAMES + 4), 4, 0x9000,
		 "bad.sys: export directory: name 1 at 0x9000 is outside the image, empty or "
		 "longer than "
		 "1024 bytes"},
		{image_offset(EXPORT_INDEXES + 2), 2, 4,
		 "bad.sys: export directory: name 1 (Beta) refers to function 4 of 4"},
		{image_offset(EXPORT_FUNCTIONS), 4, 0x1200,
		 "bad.sys: export directory: function 0 has address 0x1200, outside all sections"},
		{image_offset(EXPORT_INDEXES), 2, 1,
		 "bad.sys: export directory: function 1 has address 0x0, outside all sections"},
		{image_offset(FORWARDER_BETA + 8), 2, 'x' | 'x' << 8,
		 "bad.sys: export directory: the forwarder ntoskrnlxxbgPrint at 0x22a0 is not "
		 "Module.Name or Module.#Ordinal"},
	};
	struct image image;
	struct ldr_pe pe;
	struct ldr_pe_error error;

	(void)state;
	EXPECT_REFUSALS(rows, read_exports);

	open_valid(&image, &pe);
	strcpy((char *)image.bytes + image_offset(FORWARDER_GAMMA), "lib.#65536");
	assert_false(read_exports(&pe, &error));
	expect_message(&error,
		       "bad.sys: export directory: the forwarder lib.#65536 at 0x22c0 is not "
		       "Module.Name or Module.#Ordinal");
	strcpy((char *)image.bytes + image_offset(FORWARDER_GAMMA), "lib.#65535");
	assert_true(read_exports(&pe, &error));
	strcpy((char *)image.bytes + image_offset(FORWARDER_GAMMA), "lib.#");
	assert_false(read_exports(&pe, &error));
	strcpy((char *)image.bytes + image_offset(FORWARDER_GAMMA), "lib.#1x");
	assert_false(read_exports(&pe, &error));
	strcpy((char *)image.bytes + image_offset(FORWARDER_GAMMA), "lib.");
	assert_false(read_exports(&pe, &error));
	strcpy((char *)image.bytes + image_offset(FORWARDER_GAMMA), ".name");
	assert_false(read_exports(&pe, &error));
}

static void def326_load_config(void **state)
{
	struct ldr_pe_load_config config;
	struct ldr_pe_error error;
	struct image image;
	struct ldr_pe pe;

	(void)state;
	open_valid(&image, &pe);
	assert_int_equal(ldr_pe_load_config(&pe, &config, &error), LDR_PE_ITEM);
	assert_int_equal(config.security_cookie, COOKIE);
	assert_int_equal(config.guard_check_pointer, IMG_BASE_ADDRESS + RDATA + 0x700);
	assert_int_equal(config.guard_dispatch_pointer, IMG_BASE_ADDRESS + RDATA + 0x708);
	assert_int_equal(config.guard_function_table, IMG_BASE_ADDRESS + RDATA + 0x710);
	assert_int_equal(config.guard_function_count, 3);
	assert_int_equal(config.guard_flags, 0x100);

	/* A field counts only when Size covers all of it. */
	put32(&image, image_offset(CONFIG), 0x93);
	assert_int_equal(ldr_pe_load_config(&pe, &config, &error), LDR_PE_ITEM);
	assert_int_equal(config.guard_function_count, 3);
	assert_int_equal(config.guard_flags, 0);
	put32(&image, image_offset(CONFIG), 0x60);
	assert_int_equal(ldr_pe_load_config(&pe, &config, &error), LDR_PE_ITEM);
	assert_int_equal(config.security_cookie, COOKIE);
	assert_int_equal(config.guard_check_pointer, 0);
	put32(&image, image_offset(CONFIG), 0x5f);
	assert_int_equal(ldr_pe_load_config(&pe, &config, &error), LDR_PE_ITEM);
	assert_int_equal(config.security_cookie, 0);

	put64(&image, image_offset(CONFIG + 0x58), 0);
	put32(&image, image_offset(CONFIG), 0x94);
	assert_int_equal(ldr_pe_load_config(&pe, &config, &error), LDR_PE_ITEM);
	assert_int_equal(config.security_cookie, 0);
	pe.directory[LDR_PE_LOAD_CONFIG].rva = 0;
	assert_int_equal(ldr_pe_load_config(&pe, &config, &error), LDR_PE_END);
}

static void def326_load_config_refused(void **state)
{
	const struct spoiled rows[] = {
		{image_offset(CONFIG), 4, 0x401,
		 "bad.sys: load configuration: size 0x401 is too small "
		 "or past its section's end (0x400)"},
		{image_offset(CONFIG), 4, 0,
		 "bad.sys: load configuration: size 0x0 is too small or past "
		 "its section's end (0x400)"},
		{image_offset(CONFIG + 0x58), 8, IMG_BASE_ADDRESS + RDATA,
		 "bad.sys: load configuration: the security cookie at 0x140002000 is not inside a "
		 "writable section"},
		{image_offset(CONFIG + 0x58), 8, IMG_BASE_ADDRESS + DATA + 0x17f9,
		 "bad.sys: load configuration: the security cookie at 0x1400047f9 is not inside a "
		 "writable section"},
		{image_offset(CONFIG + 0x58), 8, COOKIE,
		 "bad.sys: load configuration: the security cookie at 0x3018 is not inside a "
		 "writable "
		 "section"},
		{IMG_DIRECTORY(10), 4, 0x500,
		 "bad.sys: data directory 10: address 0x500 with 0x4 bytes is not inside one "
		 "section"},
	};

	(void)state;
	EXPECT_REFUSALS(rows, read_config);
}

static void def331_functions(void **state)
{
	struct ldr_pe_error error;
	struct image image;
	struct ldr_pe pe;
	uint32_t rva, count;

	(void)state;
	open_valid(&image, &pe);
	assert_int_equal(ldr_pe_functions(&pe, &rva, &count, &error), LDR_PE_ITEM);
	assert_int_equal(rva, FUNCTIONS);
	assert_int_equal(count, 2);
	/* Zero entries at the end are padding. */
	memset(image.bytes + image_offset(FUNCTIONS + 12), 0, 12);
	assert_int_equal(ldr_pe_functions(&pe, &rva, &count, &error), LDR_PE_ITEM);
	assert_int_equal(count, 1);
	/* But not in the middle. */
	memcpy(image.bytes + image_offset(FUNCTIONS + 12), image.bytes + image_offset(FUNCTIONS),
	       12);
	memset(image.bytes + image_offset(FUNCTIONS), 0, 12);
	assert_int_equal(ldr_pe_functions(&pe, &rva, &count, &error), LDR_PE_BAD);
	memset(image.bytes + image_offset(FUNCTIONS), 0, 24);
	assert_int_equal(ldr_pe_functions(&pe, &rva, &count, &error), LDR_PE_END);
}

static void def331_functions_refused(void **state)
{
	const struct spoiled rows[] = {
		{IMG_DIRECTORY(3) + 4, 4, 20,
		 "bad.sys: exception directory: size 0x14 is not a multiple of 12"},
		{IMG_DIRECTORY(3) + 4, 4, 36,
		 "bad.sys: data directory 3: address 0x5000 with 0x24 bytes is not inside one "
		 "section"},
		{image_offset(FUNCTIONS), 8, 0,
		 "bad.sys: exception directory: entry 0 spans 0x0 to 0x0, which is empty or "
		 "outside the "
		 "image"},
		{image_offset(FUNCTIONS), 4, TEXT + 0x20,
		 "bad.sys: exception directory: entry 0 spans 0x1020 to 0x1020, which is empty or "
		 "outside the image"},
		{image_offset(FUNCTIONS + 16), 4, 0x9001,
		 "bad.sys: exception directory: entry 1 spans 0x1020 to 0x9001, which is empty or "
		 "outside the image"},
		{image_offset(FUNCTIONS + 12), 4, TEXT + 0x1f,
		 "bad.sys: exception directory: entry 1 begins at 0x101f, before the end 0x1020 of "
		 "the "
		 "one before"},
		{image_offset(FUNCTIONS + 8), 4, 0xfffffffd,
		 "bad.sys: exception directory: entry 0 has its unwind data at 0xfffffffc, outside "
		 "all "
		 "sections"},
	};

	(void)state;
	EXPECT_REFUSALS(rows, read_functions);
}

/* No table at all; what stands at address 0 is not taken for one. */
static void absent_tables(void **state)
{
	struct ldr_pe_load_config config;
	struct ldr_pe_import_iter iter;
	struct ldr_pe_exports exports;
	struct ldr_pe_reloc_iter relocs;
	struct ldr_pe_import import;
	struct ldr_pe_error error;
	struct ldr_pe_text name;
	struct image image;
	struct ldr_pe pe;
	uint32_t rva, count;

	(void)state;
	image_build(&image);
	memset(image.bytes + 2, 0x11, 0x3a);
	memset(image.bytes + IMG_DIRECTORIES, 0, 16 * 8);
	assert_true(ldr_pe_open(&pe, image.bytes, sizeof(image.bytes), &error));
	for (int delayed = 0; delayed < 2; delayed++) {
		ldr_pe_imports(&pe, delayed, &iter);
		assert_int_equal(ldr_pe_import_next(&iter, &import, &error), LDR_PE_END);
	}
	assert_int_equal(ldr_pe_exports(&pe, &exports, &error), LDR_PE_END);
	assert_int_equal(ldr_pe_relocs(&pe, &relocs, &error), LDR_PE_END);
	assert_int_equal(ldr_pe_reloc_next(&relocs, &rva, &error), LDR_PE_END);
	assert_int_equal(ldr_pe_load_config(&pe, &config, &error), LDR_PE_END);
	assert_int_equal(ldr_pe_functions(&pe, &rva, &count, &error), LDR_PE_END);
	assert_int_equal(rva, 0);
	assert_int_equal(count, 0);
	assert_false(ldr_pe_pdb(&pe, &name));
}

static void pdb_name(void **state)
{
	struct ldr_pe_text name;
	struct image image;
	struct ldr_pe pe;

	(void)state;
	open_valid(&image, &pe);
	assert_true(ldr_pe_pdb(&pe, &name));
	expect_text(name, "c:\\src\\nmi.pdb");
	/* A directory of which only the first entry is in the image: it suffices. */
	pe.directory[LDR_PE_DEBUG].size = 28 * 1000;
	assert_true(ldr_pe_pdb(&pe, &name));
	/* A directory of other entries is read up to a limit. */
	memset(image.bytes + image_offset(RDATA), 0, 0x500);
	pe.directory[LDR_PE_DEBUG].rva = DEBUG - 32 * 28;
	assert_false(ldr_pe_pdb(&pe, &name));
	pe.directory[LDR_PE_DEBUG].rva = DEBUG - 31 * 28;
	assert_true(ldr_pe_pdb(&pe, &name));
	pe.directory[LDR_PE_DEBUG].rva = DEBUG;
	put32(&image, image_offset(DEBUG + 20), 0xfffffff0);
	assert_false(ldr_pe_pdb(&pe, &name));
	put32(&image, image_offset(DEBUG + 20), CODEVIEW);
	put32(&image, image_offset(DEBUG + 16), 24);
	assert_false(ldr_pe_pdb(&pe, &name));
	put32(&image, image_offset(DEBUG + 16), 100);
	put32(&image, image_offset(DEBUG + 12), 4);
	assert_false(ldr_pe_pdb(&pe, &name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(def322_exports),     cmocka_unit_test(def322_exports_refused),
		cmocka_unit_test(def326_load_config), cmocka_unit_test(def326_load_config_refused),
		cmocka_unit_test(def331_functions),   cmocka_unit_test(def331_functions_refused),
		cmocka_unit_test(absent_tables),      cmocka_unit_test(pdb_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
