// SPDX-License-Identifier: MIT
/* PE reader: import tables, and the bounds of names. */
#include "pe_check.h"

static bool read_imports(const struct ldr_pe *pe, struct ldr_pe_error *error)
{
	for (int delayed = 0; delayed < 2; delayed++) {
		struct ldr_pe_import_iter iter;
		struct ldr_pe_import import;
		int result;

		ldr_pe_imports(pe, delayed, &iter);
		while ((result = ldr_pe_import_next(&iter, &import, error)) == LDR_PE_ITEM)
			;
		if (result == LDR_PE_BAD)
			return false;
	}
	return true;
}

static void expect_import(struct ldr_pe_import_iter *iter, const char *module, const char *name,
			  unsigned int ordinal, uint32_t slot)
{
	struct ldr_pe_import import;
	struct ldr_pe_error error;

	assert_int_equal(ldr_pe_import_next(iter, &import, &error), LDR_PE_ITEM);
	expect_text(import.module, module);
	expect_text(import.name, name);
	assert_int_equal(import.ordinal, ordinal);
	assert_int_equal(import.slot, slot);
}

/* Two descriptors for one module, an ordinal, a missing OriginalFirstThunk, the delayed table. */
static void def320_imports(void **state)
{
	struct ldr_pe_import_iter iter;
	struct ldr_pe_import import;
	struct ldr_pe_error error;
	struct image image;
	struct ldr_pe pe;

	(void)state;
	open_valid(&image, &pe);
	ldr_pe_imports(&pe, false, &iter);
	expect_import(&iter, "ntoskrnl.exe", "DbgPrint", 0, SLOTS_NT);
	expect_import(&iter, "ntoskrnl.exe", "", 7, SLOTS_NT + 8);
	expect_import(&iter, "ntoskrnl.exe", "KeBugCheckEx", 0, SLOTS_NT2);
	expect_import(&iter, "HAL.dll", "HalSendNMI", 0, SLOTS_HAL);
	assert_int_equal(ldr_pe_import_next(&iter, &import, &error), LDR_PE_END);
	assert_int_equal(ldr_pe_import_next(&iter, &import, &error), LDR_PE_END);
	ldr_pe_imports(&pe, true, &iter);
	expect_import(&iter, "extra.sys", "Later", 0, DELAY_SLOTS);
	assert_int_equal(ldr_pe_import_next(&iter, &import, &error), LDR_PE_END);

	put32(&image, IMG_DIRECTORY(1), 0);
	put32(&image, IMG_DIRECTORY(1) + 4, 0);
	assert_true(ldr_pe_open(&pe, image.bytes, sizeof(image.bytes), &error));
	ldr_pe_imports(&pe, false, &iter);
	assert_int_equal(ldr_pe_import_next(&iter, &import, &error), LDR_PE_END);
}

static void def320_imports_refused(void **state)
{
	const struct spoiled rows[] = {
		{IMG_DIRECTORY(1), 4, 0x500,
		 "bad.sys: import descriptor 0: its address 0x500 is outside all sections"},
		{image_offset(IMPORTS + 12), 4, 0x900,
		 "bad.sys: import descriptor 0: the module name at 0x900 is outside the image, "
		 "empty or "
		 "longer than 1024 bytes"},
		{image_offset(IMPORTS + 20 + 16), 4, 0,
		 "bad.sys: import descriptor 1 (ntoskrnl.exe): it has no import address table"},
		{image_offset(IMPORTS), 4, 0xfffffffc,
		 "bad.sys: import descriptor 0 (ntoskrnl.exe): the lookup entry at 0xfffffffc is "
		 "outside "
		 "all sections"},
		{image_offset(IMPORTS), 4, RDATA + 0x7fc,
		 "bad.sys: import descriptor 0 (ntoskrnl.exe): the lookup entry at 0x27fc is "
		 "outside all "
		 "sections"},
		{image_offset(IMPORTS + 16), 4, 0x100,
		 "bad.sys: import descriptor 0 (ntoskrnl.exe): the address slot at 0x100 is "
		 "outside all "
		 "sections"},
		{image_offset(IMPORTS + 16), 4, RDATA + 0x7f8,
		 "bad.sys: import descriptor 0 (ntoskrnl.exe): the address slot at 0x2800 is "
		 "outside all "
		 "sections"},
		{image_offset(LOOKUP_NT2), 8, 0x4000000000002130,
		 "bad.sys: import descriptor 1 (ntoskrnl.exe): lookup entry 0x4000000000002130 is "
		 "neither an ordinal nor an address below 0x80000000"},
		{image_offset(LOOKUP_NT2), 8, 0x7fffffff,
		 "bad.sys: import descriptor 1 (ntoskrnl.exe): the symbol name at 0x7fffffff is "
		 "outside "
		 "the image, empty or longer than 1024 bytes"},
		{image_offset(NAME_KEBUGCHECKEX + 2), 2, 0,
		 "bad.sys: import descriptor 1 (ntoskrnl.exe): the symbol name at 0x2130 is "
		 "outside the "
		 "image, empty or longer than 1024 bytes"},
		{image_offset(DELAY), 4, 0,
		 "bad.sys: delay import descriptor 0: attributes 0x0, but "
		 "only tables of RVAs (0x1) are known"},
		{image_offset(DELAY + 12), 4, RELOC + 0xc,
		 "bad.sys: import descriptor 0 (extra.sys): the address slot at 0x800c is outside "
		 "all "
		 "sections"},
	};

	(void)state;
	EXPECT_REFUSALS(rows, read_imports);
}

/* A table that never ends costs a bounded number of steps and is an error. */
static void import_tables_are_bounded(void **state)
{
	enum { SIZE = 0x100000 };
	struct ldr_pe_import_iter iter;
	struct ldr_pe_import import;
	struct ldr_pe_error error;
	struct image image;
	struct ldr_pe pe;
	unsigned char *file = calloc(1, SIZE);
	uint32_t imports = 0;
	int result;

	(void)state;
	assert_non_null(file);
	image_build(&image);
	/* .reloc grows to the file's end and holds a lookup table of ordinals without an end. */
	put32(&image, IMG_IMAGE_SIZE, RELOC + SIZE);
	put32(&image, IMG_SECTION(6) + SEC_SIZE, SIZE - 0x1600);
	put32(&image, IMG_SECTION(6) + SEC_RAW_SIZE, SIZE - 0x1600);
	put32(&image, image_offset(IMPORTS), RELOC + 0x200);
	put32(&image, image_offset(IMPORTS + 16), RELOC + 0x200);
	memcpy(file, image.bytes, sizeof(image.bytes));
	memset(file + 0x1800, 0x80, SIZE - 0x1800);
	assert_true(ldr_pe_open(&pe, file, SIZE, &error));
	ldr_pe_imports(&pe, false, &iter);
	while ((result = ldr_pe_import_next(&iter, &import, &error)) == LDR_PE_ITEM)
		imports++;
	assert_int_equal(result, LDR_PE_BAD);
	assert_int_equal(imports, LDR_PE_IMPORTS_MAX);
	expect_message(&error,
		       "bad.sys: import descriptor 0 (ntoskrnl.exe): more than 65536 imports, "
		       "the table has no end");

	/* Descriptors without an end: each is one DWORD pattern with a name, and an empty table. */
	for (uint32_t i = 0; i < 2048; i++) {
		uint32_t fields[5] = {PAGED + 0x100, 0, 0, MODULE_NT, PAGED + 0x100};

		memcpy(file + 0x2000 + i * sizeof(fields), fields, sizeof(fields));
	}
	memset(file + 0x1200, 0, 0x200);
	put32(&image, IMG_DIRECTORY(1), RELOC + 0x2000 - 0x1600);
	memcpy(file, image.bytes, 0x400);
	assert_true(ldr_pe_open(&pe, file, SIZE, &error));
	ldr_pe_imports(&pe, false, &iter);
	assert_int_equal(ldr_pe_import_next(&iter, &import, &error), LDR_PE_BAD);
	expect_message(&error, "bad.sys: import descriptor 1024: the table has no end within 1024 "
			       "descriptors");
	free(file);
}

/* A name as long as allowed, one byte longer, and one that the end of the section cuts. */
static void names_are_bounded(void **state)
{
	struct ldr_pe_text text;
	struct image image;
	struct ldr_pe pe;

	(void)state;
	open_valid(&image, &pe);
	memset(image.bytes + image_offset(RDATA), 'x', 0x800);
	image.bytes[image_offset(RDATA + LDR_PE_NAME_MAX)] = 0;
	assert_true(ldr_pe_text(&pe, RDATA, &text));
	assert_int_equal(text.length, LDR_PE_NAME_MAX);
	image.bytes[image_offset(RDATA + LDR_PE_NAME_MAX)] = 'x';
	image.bytes[image_offset(RDATA + LDR_PE_NAME_MAX + 1)] = 0;
	assert_false(ldr_pe_text(&pe, RDATA, &text));
	assert_false(ldr_pe_text(&pe, RDATA + 0x7f0, &text));
	assert_false(ldr_pe_text(&pe, RDATA + LDR_PE_NAME_MAX + 1, &text));
	/* .pdata has 0x18 bytes: what the file has behind them is not part of it. */
	strcpy((char *)image.bytes + image_offset(PDATA + 0x10), "0123456789");
	assert_false(ldr_pe_text(&pe, PDATA + 0x10, &text));
	/* In .data zeros follow the raw data and end the text. */
	memset(image.bytes + image_offset(DATA), 'y', 0x200);
	assert_true(ldr_pe_text(&pe, DATA + 0x1f0, &text));
	assert_int_equal(text.length, 0x10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(def320_imports),
		cmocka_unit_test(def320_imports_refused),
		cmocka_unit_test(import_tables_are_bounded),
		cmocka_unit_test(names_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
