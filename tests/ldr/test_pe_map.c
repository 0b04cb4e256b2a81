// SPDX-License-Identifier: MIT
/* PE reader: mapping, relocation, protections by page; reading a mapped image. */
#include "pe_check.h"

#define NEW_BASE 0x400000010000u

static bool map_image(const struct ldr_pe *pe, struct ldr_pe_error *error)
{
	void *to = calloc(1, ldr_pe_span(pe));
	bool good;

	assert_non_null(to);
	good = ldr_pe_map(pe, to, ldr_pe_span(pe), NEW_BASE, error);
	free(to);
	return good;
}

static uint64_t u64_at(const unsigned char *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

static void def324_image_is_laid_out_and_relocated(void **state)
{
	unsigned char *to = calloc(1, IMG_SIZE_OF_IMAGE);
	struct ldr_pe_error error;
	struct image image;
	struct ldr_pe pe;

	(void)state;
	assert_non_null(to);
	open_valid(&image, &pe);
	assert_int_equal(ldr_pe_span(&pe), IMG_SIZE_OF_IMAGE);
	if (!ldr_pe_map(&pe, to, IMG_SIZE_OF_IMAGE, NEW_BASE, &error))
		expect_message(&error, "(the image is mapped)");
	assert_memory_equal(to, image.bytes, 0x400);
	assert_int_equal(to[0x400], 0);
	assert_memory_equal(to + TEXT, image.bytes + 0x400, 0x200);
	assert_int_equal(to[TEXT + 0x200], 0);
	assert_memory_equal(to + RDATA, image.bytes + 0x600, 0x800);
	assert_int_equal(u64_at(to + POINTER), NEW_BASE + TEXT + 0x20);
	assert_int_equal(u64_at(to + POINTER_LAST), NEW_BASE + DATA);
	assert_int_equal(u64_at(to + COOKIE), COOKIE_DEFAULT);
	assert_int_equal(to[DATA + 0x200], 0);
	assert_int_equal(to[INIT], 0x95);
	free(to);
}

static void def324_preferred_base_changes_nothing(void **state)
{
	unsigned char *to = calloc(1, IMG_SIZE_OF_IMAGE);
	struct ldr_pe_error error;
	struct image image;
	struct ldr_pe pe;

	(void)state;
	assert_non_null(to);
	open_valid(&image, &pe);
	assert_true(ldr_pe_map(&pe, to, IMG_SIZE_OF_IMAGE, IMG_BASE_ADDRESS, &error));
	assert_memory_equal(to + DATA, image.bytes + image_offset(DATA), 0x200);
	assert_false(ldr_pe_map(&pe, to, IMG_SIZE_OF_IMAGE - 1, IMG_BASE_ADDRESS, &error));
	expect_message(&error, "bad.sys: mapping it takes 0x9000 bytes, but only 0x8fff are there");
	free(to);
}

static void def324_relocations_refused(void **state)
{
	const struct spoiled rows[] = {
		{image_offset(RELOC + 4), 4, 7,
		 "bad.sys: relocation block at 0x8000: size 0x7 is below 8, odd, or past the "
		 "directory's "
		 "end"},
		{image_offset(RELOC + 4), 4, 0,
		 "bad.sys: relocation block at 0x8000: size 0x0 is below 8, odd, or past the "
		 "directory's "
		 "end"},
		{image_offset(RELOC + 4), 4, 0xb,
		 "bad.sys: relocation block at 0x8000: size 0xb is below 8, odd, or past the "
		 "directory's "
		 "end"},
		{image_offset(RELOC + 4), 4, 0x12,
		 "bad.sys: relocation block at 0x8000: size 0x12 is below 8, odd, or past the "
		 "directory's "
		 "end"},
		{image_offset(RELOC + 4), 4, 0xfffffff0,
		 "bad.sys: relocation block at 0x8000: size 0xfffffff0 is below 8, odd, or past "
		 "the "
		 "directory's end"},
		{image_offset(RELOC), 4, 0x9000,
		 "bad.sys: relocation block 0: address 0x9000 is not below SizeOfImage 0x9000"},
		{image_offset(RELOC), 4, 0x4602,
		 "bad.sys: relocation at 0x47fa: its 8 bytes are not inside one section"},
		{image_offset(RELOC), 4, 0,
		 "bad.sys: relocation at 0x10: its 8 bytes are not inside one "
		 "section"},
		{image_offset(RELOC + 10), 2, 0x3010,
		 "bad.sys: relocation at 0x3010: type 3, but x64 images use 0 and 10 only"},
		{image_offset(RELOC + 10), 2, 0xb010,
		 "bad.sys: relocation at 0x3010: type 11, but x64 images use 0 and 10 only"},
		{IMG_DIRECTORY(5) + 4, 4, 0x20,
		 "bad.sys: data directory 5: address 0x8000 with 0x20 bytes is not inside one "
		 "section"},
		{IMG_CHARACTERISTICS, 2, 0x23,
		 "bad.sys: its relocations were stripped and it cannot be loaded at 0x400000010000 "
		 "instead of 0x140000000: link it with /fixed:no"},
	};

	(void)state;
	EXPECT_REFUSALS(rows, map_image);
}

static void def339_protections_by_page(void **state)
{
	static const struct ldr_pe_run expected[] = {
		{0x0000, 0x1000, LDR_PE_SECTION_READ},
		{0x1000, 0x1000, LDR_PE_SECTION_READ | LDR_PE_SECTION_EXECUTE},
		{0x2000, 0x1000, LDR_PE_SECTION_READ},
		{0x3000, 0x2000, LDR_PE_SECTION_READ | LDR_PE_SECTION_WRITE},
		{0x5000, 0x1000, LDR_PE_SECTION_READ},
		{0x6000, 0x2000, LDR_PE_SECTION_READ | LDR_PE_SECTION_EXECUTE},
		{0x8000, 0x1000, LDR_PE_SECTION_READ},
	};
	struct ldr_pe_run_iter iter;
	struct ldr_pe_run run;
	struct image image;
	struct ldr_pe pe;

	(void)state;
	open_valid(&image, &pe);
	ldr_pe_runs(&pe, &iter);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		assert_int_equal(ldr_pe_run_next(&iter, &run), LDR_PE_ITEM);
		assert_memory_equal(&run, &expected[i], sizeof(run));
	}
	assert_int_equal(ldr_pe_run_next(&iter, &run), LDR_PE_END);
}

/* A gap stays without a run; pages that two sections share get both protections. */
static void def339_gaps_and_shared_pages(void **state)
{
	static const struct ldr_pe_run expected[] = {
		{0x0000, 0x1000, LDR_PE_SECTION_READ | LDR_PE_SECTION_EXECUTE},
		{0x1000, 0x1000,
		 LDR_PE_SECTION_READ | LDR_PE_SECTION_EXECUTE | LDR_PE_SECTION_WRITE},
		{0x2000, 0x1000, LDR_PE_SECTION_READ | LDR_PE_SECTION_WRITE},
		{0x5000, 0x1000, LDR_PE_SECTION_READ},
	};
	struct ldr_pe_run_iter iter;
	struct ldr_pe_error error;
	struct ldr_pe_run run;
	struct image image;
	struct ldr_pe pe;

	(void)state;
	image_build(&image);
	put32(&image, IMG_SECTION_ALIGNMENT, 0x20);
	put32(&image, IMG_FILE_ALIGNMENT, 0x20);
	put16(&image, IMG_SECTION_COUNT, 3);
	put32(&image, IMG_DIRECTORY_COUNT, 0);
	put32(&image, IMG_ENTRY, 0x410);
	put32(&image, IMG_IMAGE_SIZE, 0x5400);
	put32(&image, IMG_SECTION(0) + SEC_RVA, 0x400);
	put32(&image, IMG_SECTION(0) + SEC_SIZE, 0x1000);
	put32(&image, IMG_SECTION(1) + SEC_RVA, 0x1420);
	put32(&image, IMG_SECTION(1) + SEC_SIZE, 0x1000);
	put32(&image, IMG_SECTION(1) + SEC_RAW_SIZE, 0);
	put32(&image, IMG_SECTION(1) + SEC_FLAGS, 0xc0000040);
	put32(&image, IMG_SECTION(2) + SEC_RVA, 0x5200);
	put32(&image, IMG_SECTION(2) + SEC_SIZE, 0x100);
	put32(&image, IMG_SECTION(2) + SEC_RAW_SIZE, 0);
	put32(&image, IMG_SECTION(2) + SEC_FLAGS, 0x00000040);
	if (!ldr_pe_open(&pe, image.bytes, sizeof(image.bytes), &error))
		expect_message(&error, "(the image opens)");
	ldr_pe_runs(&pe, &iter);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		assert_int_equal(ldr_pe_run_next(&iter, &run), LDR_PE_ITEM);
		assert_memory_equal(&run, &expected[i], sizeof(run));
	}
	assert_int_equal(ldr_pe_run_next(&iter, &run), LDR_PE_END);
	assert_true(map_image(&pe, &error));
}

static void mapped_image_reads_the_same(void **state)
{
	unsigned char *to = calloc(1, IMG_SIZE_OF_IMAGE);
	struct ldr_pe_exports exports;
	struct ldr_pe_export found;
	struct ldr_pe_error error;
	unsigned char bytes[0x10];
	struct ldr_pe pe, mapped;
	struct image image;
	uint32_t rva, count;

	(void)state;
	assert_non_null(to);
	open_valid(&image, &pe);
	assert_true(ldr_pe_map(&pe, to, IMG_SIZE_OF_IMAGE, NEW_BASE, &error));
	ldr_pe_mapped(&mapped, &pe, to);
	memset(&image, 0xee, sizeof(image));
	assert_int_equal(ldr_pe_exports(&mapped, &exports, &error), LDR_PE_ITEM);
	assert_int_equal(ldr_pe_export_find(&exports, "Alpha", 5, &found, &error), LDR_PE_ITEM);
	assert_int_equal(found.rva, TEXT + 0x20);
	assert_int_equal(ldr_pe_functions(&mapped, &rva, &count, &error), LDR_PE_ITEM);
	assert_int_equal(count, 2);
	/* What the driver wrote there since is seen; the end of the section is respected. */
	to[DATA + 0x17ff] = 7;
	assert_true(ldr_pe_read(&mapped, DATA + 0x17f0, bytes, 0x10));
	assert_int_equal(bytes[0xf], 7);
	assert_false(ldr_pe_read(&mapped, DATA + 0x17f1, bytes, 0x10));
	free(to);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(def324_image_is_laid_out_and_relocated),
		cmocka_unit_test(def324_preferred_base_changes_nothing),
		cmocka_unit_test(def324_relocations_refused),
		cmocka_unit_test(def339_protections_by_page),
		cmocka_unit_test(def339_gaps_and_shared_pages),
		cmocka_unit_test(mapped_image_reads_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
