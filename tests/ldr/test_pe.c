// SPDX-License-Identifier: MIT
/* PE reader: headers, section table, directory bounds, access by RVA, messages. */
#include "pe_check.h"

static void def317_valid_image_opens(void **state)
{
	struct image image;
	struct ldr_pe pe;

	(void)state;
	open_valid(&image, &pe);
	assert_int_equal(pe.image_base, IMG_BASE_ADDRESS);
	assert_int_equal(pe.image_size, IMG_SIZE_OF_IMAGE);
	assert_int_equal(pe.entry, INIT + 0x10);
	assert_int_equal(pe.section_count, 7);
	assert_int_equal(pe.directory[LDR_PE_IMPORT].rva, IMPORTS);
	assert_int_equal(pe.directory[LDR_PE_SECURITY].rva, 0);
}

static void def317_headers_refused(void **state)
{
	static const struct spoiled rows[] = {
		{0, 2, 0x4e5a,
		 "bad.sys: the file starts with 0x4e5a instead of MZ (0x5a4d): it is not a "
		 "Windows image"},
		{0x3c, 4, 0x82,
		 "bad.sys: the PE header's offset 0x82 is not a multiple of 4 from 0x40 on"},
		{0x3c, 4, 0x3c,
		 "bad.sys: the PE header's offset 0x3c is not a multiple of 4 from 0x40 on"},
		{0x3c, 4, 0xfffffffc,
		 "bad.sys: the headers end at 0x100000014, past the end of the file "
		 "(0x1800): the file is truncated"},
		{0x3c, 4, 0x17ec,
		 "bad.sys: the headers end at 0x1804, past the end of the file (0x1800): "
		 "the file is truncated"},
		{IMG_PE, 4, 0x454e,
		 "bad.sys: the signature at the PE header's offset is 0x454e instead "
		 "of PE (0x4550)"},
		{IMG_MACHINE, 2, 0x14c,
		 "bad.sys: machine type 0x14c, but only x64 (0x8664) can run: build the driver for "
		 "x64"},
		{IMG_MACHINE, 2, 0xaa64,
		 "bad.sys: machine type 0xaa64, but only x64 (0x8664) can run: build the driver "
		 "for x64"},
		{IMG_OPT, 2, 0x10b,
		 "bad.sys: optional header magic 0x10b, but only PE32+ (0x20b) can run"},
		{IMG_OPTIONAL_SIZE, 2, 0,
		 "bad.sys: the optional header has 0x0 bytes, but its fields need 0x70"},
		{IMG_OPTIONAL_SIZE, 2, 0x6f,
		 "bad.sys: the optional header has 0x6f bytes, but its fields need 0x70"},
		{IMG_OPTIONAL_SIZE, 2, 239,
		 "bad.sys: the optional header has 0xef bytes, but its fields need 0xf0"},
		{IMG_OPTIONAL_SIZE, 2, 0xffff,
		 "bad.sys: the headers end at 0x10097, past the end of the "
		 "file (0x1800): the file is truncated"},
		{IMG_CHARACTERISTICS, 2, 0x20,
		 "bad.sys: characteristics 0x20 lack the flag of a linked "
		 "image (0x2): its link failed, or it is an object file"},
		{IMG_SUBSYSTEM, 2, 3,
		 "bad.sys: subsystem 3, but a driver is native (1): link it with "
		 "/subsystem:native"},
		{IMG_SECTION_ALIGNMENT, 4, 0,
		 "bad.sys: SectionAlignment 0x0 is not a power of two from 0x20 to 0x200000"},
		{IMG_SECTION_ALIGNMENT, 4, 0x1800,
		 "bad.sys: SectionAlignment 0x1800 is not a power of two from 0x20 to 0x200000"},
		{IMG_SECTION_ALIGNMENT, 4, 0x10,
		 "bad.sys: SectionAlignment 0x10 is not a power of two from 0x20 to 0x200000"},
		{IMG_SECTION_ALIGNMENT, 4, 0x400000,
		 "bad.sys: SectionAlignment 0x400000 is not a power of two from 0x20 to 0x200000"},
		{IMG_FILE_ALIGNMENT, 4, 3,
		 "bad.sys: FileAlignment 0x3 is not a power of two from 0x20 to 0x10000"},
		{IMG_FILE_ALIGNMENT, 4, 0x2000,
		 "bad.sys: FileAlignment 0x2000 is larger than SectionAlignment 0x1000"},
		{IMG_SECTION_ALIGNMENT, 4, 0x400,
		 "bad.sys: FileAlignment 0x200 differs from "
		 "SectionAlignment 0x400, which is below a page"},
		{IMG_BASE, 8, 0x140001000,
		 "bad.sys: ImageBase 0x140001000 is not a multiple of 0x10000"},
		{IMG_IMAGE_SIZE, 4, 0, "bad.sys: SizeOfImage 0x0 is 0 or larger than 0x10000000"},
		{IMG_IMAGE_SIZE, 4, 0x10000001,
		 "bad.sys: SizeOfImage 0x10000001 is 0 or larger than 0x10000000"},
		{IMG_HEADERS_SIZE, 4, 0x200,
		 "bad.sys: SizeOfHeaders 0x200 does not cover the section "
		 "table, which ends at 0x2a0"},
		{IMG_HEADERS_SIZE, 4, 0x1801,
		 "bad.sys: SizeOfHeaders 0x1801 is past the end of the file "
		 "(0x1800): the file is truncated"},
		{IMG_IMAGE_SIZE, 4, 0x300,
		 "bad.sys: SizeOfHeaders 0x400 is larger than SizeOfImage 0x300"},
		{IMG_SECTION_COUNT, 2, 0, "bad.sys: 0 sections, but an image has 1 to 96"},
		{IMG_SECTION_COUNT, 2, 97, "bad.sys: 97 sections, but an image has 1 to 96"},
		{IMG_ENTRY, 4, DATA, "bad.sys: entry point 0x3000 is not in an executable section"},
		{IMG_ENTRY, 4, 0x100, "bad.sys: entry point 0x100 is not in an executable section"},
		{IMG_ENTRY, 4, 0xfffffff0,
		 "bad.sys: entry point 0xfffffff0 is not in an executable section"},
		{IMG_ENTRY, 4, TEXT + 0x200,
		 "bad.sys: entry point 0x1200 is not in an executable section"},
	};

	(void)state;
	EXPECT_REFUSALS(rows, NULL);
}

static void def317_directories_refused(void **state)
{
	static const struct spoiled rows[] = {
		{IMG_DIRECTORY(1), 4, 0x9000,
		 "bad.sys: data directory 1: it ends at 0x9050, past SizeOfImage 0x9000"},
		{IMG_DIRECTORY(3) + 4, 4, 0xffffffff,
		 "bad.sys: data directory 3: it ends at 0x100004fff, past SizeOfImage 0x9000"},
		{IMG_DIRECTORY(9), 4, 0xfffffff0,
		 "bad.sys: data directory 9: it ends at 0xfffffff0, past SizeOfImage 0x9000"},
	};

	(void)state;
	EXPECT_REFUSALS(rows, NULL);
}

static void def317_sections_refused(void **state)
{
	static const struct spoiled rows[] = {
		{IMG_SECTION(1) + SEC_RVA, 4, 0x2010,
		 "bad.sys: section 2 (.rdata): address 0x2010 is not "
		 "a multiple of SectionAlignment 0x1000"},
		{IMG_SECTION(2) + SEC_RVA, 4, 0x2000,
		 "bad.sys: section 3 (.data): address 0x2000 is "
		 "below 0x3000, where the headers or the section "
		 "before it end"},
		{IMG_SECTION(0) + SEC_RVA, 4, 0,
		 "bad.sys: section 1 (.text): address 0x0 is below 0x400, "
		 "where the headers or the section before it end"},
		{IMG_SECTION(2) + SEC_SIZE, 4, 0x2001,
		 "bad.sys: section 4 (.pdata): address 0x5000 is "
		 "below 0x6000, where the headers or the section "
		 "before it end"},
		{IMG_SECTION(6) + SEC_SIZE, 4, 0x1001,
		 "bad.sys: section 7 (.reloc): it ends at 0x9001, past SizeOfImage 0x9000"},
		{IMG_SECTION(6) + SEC_SIZE, 4, 0xffffffff,
		 "bad.sys: section 7 (.reloc): it ends at 0x100007fff, past SizeOfImage 0x9000"},
		{IMG_SECTION(6) + SEC_RVA, 4, 0xfffff000,
		 "bad.sys: section 7 (.reloc): it ends at 0xfffff010, past SizeOfImage 0x9000"},
		{IMG_SECTION(2) + SEC_RAW, 4, 0xe10,
		 "bad.sys: section 3 (.data): file offset 0xe10 is "
		 "not a multiple of FileAlignment 0x200"},
		{IMG_SECTION(2) + SEC_RAW_SIZE, 4, 0xc00,
		 "bad.sys: section 3 (.data): raw data ends at 0x1a00, past the end of the file "
		 "(0x1800): "
		 "the file is truncated"},
		{IMG_SECTION(2) + SEC_RAW, 4, 0xfffffe00,
		 "bad.sys: section 3 (.data): raw data ends at 0x100000000, past the end of the "
		 "file "
		 "(0x1800): the file is truncated"},
	};

	(void)state;
	EXPECT_REFUSALS(rows, NULL);
}

static void def317_empty_section_refused(void **state)
{
	struct ldr_pe_error error;
	struct image image;
	struct ldr_pe pe;

	(void)state;
	image_build(&image);
	put32(&image, IMG_SECTION(4) + SEC_SIZE, 0);
	put32(&image, IMG_SECTION(4) + SEC_RAW_SIZE, 0);
	assert_false(ldr_pe_open(&pe, image.bytes, sizeof(image.bytes), &error));
	expect_message(&error,
		       "bad.sys: section 5 (PAGE): it has neither a size in memory nor in the "
		       "file");
}

/* DESIGN section 5: also when only padding is lost (.reloc uses 0x10 of its 0x200 bytes). */
static void every_truncation_refused(void **state)
{
	struct image image;

	(void)state;
	image_build(&image);
	for (size_t size = 0; size < sizeof(image); size++) {
		struct ldr_pe_error error;
		struct ldr_pe pe;
		void *file = exact_copy(&image, size);

		assert_false(ldr_pe_open(&pe, file, size, &error));
		free(file);
		if (size == sizeof(image) - 1)
			expect_message(&error,
				       "bad.sys: section 7 (.reloc): raw data ends at 0x1800, "
				       "past the end of the file (0x17ff): the file is "
				       "truncated");
		if (size == 0)
			expect_message(&error,
				       "bad.sys: the file has 0 bytes, fewer than the 64 of an "
				       "image's first header: it is empty or truncated");
	}
}

static void no_entry_needs_exports(void **state)
{
	struct ldr_pe_error error;
	struct image image;
	struct ldr_pe pe;

	(void)state;
	image_build(&image);
	put32(&image, IMG_ENTRY, 0);
	assert_true(ldr_pe_open(&pe, image.bytes, sizeof(image.bytes), &error));
	put32(&image, IMG_DIRECTORY(0), 0);
	assert_false(ldr_pe_open(&pe, image.bytes, sizeof(image.bytes), &error));
	expect_message(&error, "bad.sys: it has neither an entry point nor exports: link it with "
			       "/entry:DriverEntry");
}

/* What Windows does not look at: the signature's place, directories beyond the 16th. */
static void def317_ignored_fields(void **state)
{
	static const struct spoiled rows[] = {
		{IMG_DIRECTORY(LDR_PE_SECURITY), 8, 0xfffffff0fffffff0, NULL},
		{IMG_DIRECTORY_COUNT, 4, 0xffffffff, NULL},
		{IMG_DIRECTORY_COUNT, 4, 17, NULL},
		{IMG_DIRECTORY(9) + 4, 4, 0xffffffff, NULL}, /* its address is 0 */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ldr_pe_error error;
		struct image image;
		struct ldr_pe pe;

		image_build(&image);
		spoil(&image, &rows[i]);
		if (!ldr_pe_open(&pe, image.bytes, sizeof(image.bytes), &error))
			expect_message(&error, "(the image opens)");
		assert_int_equal(pe.directory[LDR_PE_SECURITY].rva, 0);
	}
}

/* The file ends where the optional header would begin. */
static void no_optional_header(void **state)
{
	struct ldr_pe_error error;
	struct image image;
	struct ldr_pe pe;
	void *file;

	(void)state;
	image_build(&image);
	put16(&image, IMG_OPTIONAL_SIZE, 0);
	file = exact_copy(&image, IMG_OPT);
	assert_false(ldr_pe_open(&pe, file, IMG_OPT, &error));
	expect_message(&error,
		       "bad.sys: the optional header has 0x0 bytes, but its fields need 0x70");
	free(file);
}

static void section_without_virtual_size(void **state)
{
	struct ldr_pe_section section;
	struct ldr_pe_error error;
	struct image image;
	struct ldr_pe pe;

	(void)state;
	image_build(&image);
	put32(&image, IMG_SECTION(4) + SEC_SIZE, 0);
	assert_true(ldr_pe_open(&pe, image.bytes, sizeof(image.bytes), &error));
	ldr_pe_section(&pe, 4, &section);
	assert_int_equal(section.size, 0x200);
}

/* DEF-317: one page holds all; addresses equal file offsets. */
static void def317_small_alignment(void **state)
{
	struct ldr_pe_section section;
	struct ldr_pe_error error;
	struct image image;
	struct ldr_pe pe;

	(void)state;
	image_build(&image);
	put32(&image, IMG_SECTION_ALIGNMENT, 0x20);
	put32(&image, IMG_FILE_ALIGNMENT, 0x20);
	put16(&image, IMG_SECTION_COUNT, 2);
	put32(&image, IMG_DIRECTORY_COUNT, 0);
	put32(&image, IMG_SECTION(0) + SEC_RVA, 0x400);
	put32(&image, IMG_SECTION(1) + SEC_RVA, 0x600);
	put32(&image, IMG_ENTRY, 0x410);
	if (!ldr_pe_open(&pe, image.bytes, sizeof(image.bytes), &error))
		expect_message(&error, "(the image opens)");
	assert_true(ldr_pe_section_at(&pe, 0x600, 0x800, &section));
	assert_string_equal(section.name, ".rdata");

	put32(&image, IMG_SECTION(1) + SEC_RVA, 0x620);
	assert_false(ldr_pe_open(&pe, image.bytes, sizeof(image.bytes), &error));
	expect_message(&error,
		       "bad.sys: section 2 (.rdata): file offset 0x600 differs from address "
		       "0x620, which a SectionAlignment below a page does not allow");
}

static void def335_sections_classified(void **state)
{
	static const struct {
		const char *name;
		uint32_t flags;
		bool pageable, discarded;
	} rows[] = {
		{"PAGE", 0x60000020, true, false},      {"PAGELK", 0x60000020, true, false},
		{"PAGEDATA", 0xc0000040, true, false},  {"page", 0x60000020, false, false},
		{"PAG", 0x60000020, false, false},      {"INIT", 0x60000020, false, true},
		{"INITDATA", 0xc0000040, false, false}, {"init", 0x60000020, false, false},
		{".reloc", 0x42000040, false, true},    {".text", 0x62000020, false, true},
		{".text", 0x60000020, false, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ldr_pe_section section = {.flags = rows[i].flags};

		memcpy(section.name, rows[i].name, strlen(rows[i].name));
		assert_int_equal(ldr_pe_section_pageable(&section), rows[i].pageable);
		assert_int_equal(ldr_pe_section_discarded(&section), rows[i].discarded);
	}
}

static void read_stays_in_one_section(void **state)
{
	unsigned char bytes[0x1801];
	struct image image;
	struct ldr_pe pe;

	(void)state;
	open_valid(&image, &pe);
	assert_true(ldr_pe_read(&pe, 0, bytes, 0x400));
	assert_false(ldr_pe_read(&pe, 0x3ff, bytes, 2));
	assert_false(ldr_pe_read(&pe, 0x400, bytes, 1));
	assert_true(ldr_pe_read(&pe, TEXT + 0x1ff, bytes, 1));
	assert_int_equal(bytes[0], 0x90);
	assert_false(ldr_pe_read(&pe, TEXT + 0x1ff, bytes, 2));
	assert_false(ldr_pe_read(&pe, 0xfffffff8, bytes, 8));
	/* Memory beyond the raw data reads as zeros. */
	memset(bytes, 0xcc, sizeof(bytes));
	assert_true(ldr_pe_read(&pe, DATA, bytes, 0x1800));
	assert_int_equal(bytes[COOKIE - DATA], 0x32);
	assert_int_equal(bytes[0x200], 0);
	assert_int_equal(bytes[0x17ff], 0);
	assert_int_equal(bytes[0x1800], 0xcc);
	assert_false(ldr_pe_read(&pe, DATA, bytes, 0x1801));
}

static void messages_are_one_short_printable_line(void **state)
{
	char file[400], line[LDR_PE_ERROR_MAX + 100];
	size_t longest = 0;

	(void)state;
	memset(file, '\xff', sizeof(file) - 1);
	file[sizeof(file) - 1] = 0;
	for (int code = 0; code < LDR_PE_CODES; code++) {
		struct ldr_pe_error error = {.code = (enum ldr_pe_code)code,
					     .index = UINT32_MAX,
					     .value = UINT64_MAX,
					     .limit = UINT64_MAX};
		size_t length;

		memset(error.name, '\n', sizeof(error.name));
		length = ldr_pe_error_format(&error, file, line, sizeof(line));
		assert_int_equal(length, strlen(line));
		/* Below the limit: nothing of the text was cut. */
		assert_true(length < LDR_PE_ERROR_MAX);
		for (size_t i = 0; i < length; i++)
			assert_in_range(line[i], ' ', '~');
		assert_null(strchr(line, '{'));
		assert_non_null(strstr(line, "...: "));
		longest = length > longest ? length : longest;
	}
	assert_true(longest > 200);
}

static void message_escapes_names(void **state)
{
	struct ldr_pe_error error = {
		.code = LDR_PE_E_SECTION_EMPTY, .index = 1, .name = "a\\\x1b\"\x80"};
	char line[LDR_PE_ERROR_MAX + 1], small[12];

	(void)state;
	ldr_pe_error_format(&error, "b\nd.sys", line, sizeof(line));
	assert_string_equal(line,
			    "b\\x0ad.sys: section 1 (a\\\\\\x1b\"\\x80): it has neither a size in "
			    "memory nor in the file");
	assert_int_equal(ldr_pe_error_format(&error, "bad.sys", small, sizeof(small)), 11);
	assert_string_equal(small, "bad.sys: se");
	/* Cut between two escapes, with an ellipsis; 72 characters fit. */
	memset(error.name, '\n', sizeof(error.name));
	ldr_pe_error_format(&error, "bad.sys", line, sizeof(line));
	assert_non_null(strstr(line, "\\x0a...): it has"));
	assert_int_equal(strchr(line, ')') - strchr(line, '(') - 1, 71);
	memset(error.name + 18, 0, sizeof(error.name) - 18);
	ldr_pe_error_format(&error, "bad.sys", line, sizeof(line));
	assert_non_null(strstr(line, "\\x0a): it has"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(def317_valid_image_opens),
		cmocka_unit_test(def317_headers_refused),
		cmocka_unit_test(def317_directories_refused),
		cmocka_unit_test(def317_sections_refused),
		cmocka_unit_test(def317_empty_section_refused),
		cmocka_unit_test(every_truncation_refused),
		cmocka_unit_test(no_entry_needs_exports),
		cmocka_unit_test(def317_ignored_fields),
		cmocka_unit_test(no_optional_header),
		cmocka_unit_test(section_without_virtual_size),
		cmocka_unit_test(def317_small_alignment),
		cmocka_unit_test(def335_sections_classified),
		cmocka_unit_test(read_stays_in_one_section),
		cmocka_unit_test(messages_are_one_short_printable_line),
		cmocka_unit_test(message_escapes_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
