// SPDX-License-Identifier: MIT
/* The loader: protections, discarded sections, what is left of an unloaded image. */
#include "image_check.h"

static void def339_pages_are_protected_as_the_sections_say(void **state)
{
	struct ldr_image *image;
	struct image file;

	(void)state;
	loadable(&file);
	image = load(&file, "nmi.sys");
	assert_string_equal(fake_protection(image->base), "r--");
	assert_string_equal(fake_protection(image->base + TEXT), "r-x");
	assert_string_equal(fake_protection(image->base + RDATA), "r--");
	assert_string_equal(fake_protection(image->base + DATA), "rw-");
	assert_string_equal(fake_protection(image->base + DATA + 0x1000), "rw-");
	assert_string_equal(fake_protection(image->base + PAGED), "r-x");
	/* Guards: nothing before and behind it can be reached. */
	assert_string_equal(fake_protection(image->base - 1), "---");
	assert_string_equal(fake_protection(image->base + image->size), "---");
	assert_false(image->has_wx);
	unload(image);
}

static void def339_writable_code_is_noted(void **state)
{
	struct ldr_image *image;
	struct image file;

	(void)state;
	loadable(&file);
	put32(&file, IMG_SECTION(5) + SEC_FLAGS, 0xe2000020);
	strcpy(fake_printed, "rwx allowed");
	image = load(&file, "nmi.sys");
	assert_true(image->has_wx);
	assert_string_equal(fake_printed,
			    "nmi.sys: some of its pages are writable and executable (note)\n");
	assert_string_equal(fake_protection(image->base + INIT), "rwx");
	unload(image);
	fake_printed[0] = 0;
}

/* Also: .data keeps what DriverEntry wrote. */
static void def335_def336_init_is_discarded(void **state)
{
	struct ldr_section *init;
	struct ldr_image *image;
	struct image file;

	(void)state;
	loadable(&file);
	image = load(&file, "nmi.sys");
	init = ldr_image_section_at(image, image->base + INIT + 0x1ff);
	assert_non_null(init);
	assert_string_equal(init->name, "INIT");
	assert_true(init->discardable);
	assert_false(init->pageable);
	assert_null(ldr_image_section_at(image, image->base + INIT + 0x200));
	assert_null(ldr_image_section_at(image, image->base - 1));
	assert_true(ldr_image_section_at(image, image->base + PAGED)->pageable);
	assert_int_equal(ldr_image_section_at(image, image->base + PAGED)->protection,
			 PORT_READ | PORT_EXECUTE);
	assert_false(atomic_load(&init->discarded));
	*(uint64_t *)(image->base + DATA + 0x100) = 77;
	unsigned told = fake_sections;
	assert_true(told > 3);
	assert_int_equal(fake_pageable_sections, 1);

	ldr_image_discard_init(image);
	assert_int_equal(fake_sections, told - 2); /* INIT and .reloc */
	assert_true(atomic_load(&init->discarded));
	assert_string_equal(fake_protection(image->base + INIT), "---");
	assert_string_equal(fake_protection(image->base + RELOC), "---");
	assert_string_equal(fake_protection(image->base + PAGED), "r-x");
	assert_int_equal(u64_at(image, DATA + 0x100), 77);
	ldr_image_discard_init(image);
	unload(image);
	assert_int_equal(fake_sections, 0);
}

/* Pages that no section covers: between two sections, and behind the last. */
static void def339_gaps_are_inaccessible(void **state)
{
	struct ldr_image *image;
	struct image file;

	(void)state;
	loadable(&file);
	put32(&file, IMG_SECTION(2) + SEC_SIZE, 0x800);
	put32(&file, IMG_IMAGE_SIZE, IMG_SIZE_OF_IMAGE + 0x1800);
	image = load(&file, "nmi.sys");
	assert_int_equal(image->size, IMG_SIZE_OF_IMAGE + 0x2000);
	assert_string_equal(fake_protection(image->base + DATA), "rw-");
	assert_string_equal(fake_protection(image->base + DATA + 0x1000), "---");
	assert_string_equal(fake_protection(image->base + PDATA), "r--");
	assert_string_equal(fake_protection(image->base + IMG_SIZE_OF_IMAGE), "---");
	assert_string_equal(fake_protection(image->base + IMG_SIZE_OF_IMAGE + 0x1000), "---");
	unload(image);
}

/* Sections that share pages: only whole pages of its own go with INIT. */
static void def335_shared_pages_stay(void **state)
{
	static const struct {
		uint32_t rva, size, own_rva, own_size;
	} rows[] = {
		{0x400, 0x1400, 0x1000, 0},       /* .text: the headers' page, INIT's page */
		{0x1800, 0x3000, 0x2000, 0x2000}, /* INIT: 0x1000 and 0x4000 are shared */
		{0x4800, 0x1000, 0x5000, 0x1000}, /* PAGE: the last page is its own */
	};
	struct ldr_image *image;
	struct image file;

	(void)state;
	image_build(&file);
	memset(file.bytes + IMG_DIRECTORIES, 0, 16 * 8);
	put32(&file, IMG_SECTION_ALIGNMENT, 0x20);
	put32(&file, IMG_FILE_ALIGNMENT, 0x20);
	put16(&file, IMG_SECTION_COUNT, 3);
	put32(&file, IMG_IMAGE_SIZE, 0x5800);
	put32(&file, IMG_ENTRY, 0x410);
	memcpy(file.bytes + IMG_SECTION(1), file.bytes + IMG_SECTION(5), 40);
	memcpy(file.bytes + IMG_SECTION(2), file.bytes + IMG_SECTION(4), 40);
	for (int i = 0; i < 3; i++) {
		put32(&file, IMG_SECTION(i) + SEC_RVA, rows[i].rva);
		put32(&file, IMG_SECTION(i) + SEC_SIZE, rows[i].size);
		put32(&file, IMG_SECTION(i) + SEC_RAW_SIZE, i ? 0 : 0x200);
	}
	image = load(&file, "nmi.sys");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(image->sections[i].own_rva, rows[i].own_rva);
		assert_int_equal(image->sections[i].own_size, rows[i].own_size);
	}
	ldr_image_discard_init(image);
	assert_string_equal(fake_protection(image->base + 0x1fff), "r-x");
	assert_string_equal(fake_protection(image->base + 0x2000), "---");
	assert_string_equal(fake_protection(image->base + 0x3fff), "---");
	assert_string_equal(fake_protection(image->base + 0x4000), "r-x");
	unload(image);
}

static void def335_what_the_loader_needs_is_not_discarded(void **state)
{
	static const uint32_t discardable = 0x42000040;
	struct ldr_image *image;
	struct image file;

	(void)state;
	/* Exports and unwind data are in .rdata, the entries in .pdata. */
	loadable(&file);
	put32(&file, IMG_SECTION(1) + SEC_FLAGS, discardable);
	put32(&file, IMG_SECTION(3) + SEC_FLAGS, discardable);
	image = load(&file, "nmi.sys");
	ldr_image_discard_init(image);
	assert_string_equal(fake_protection(image->base + RDATA), "r--");
	assert_string_equal(fake_protection(image->base + PDATA), "r--");
	assert_string_equal(fake_protection(image->base + INIT), "---");
	unload(image);

	/* Unwind data alone. */
	put32(&file, IMG_DIRECTORY(0), 0);
	image = load(&file, "nmi.sys");
	ldr_image_discard_init(image);
	assert_string_equal(fake_protection(image->base + RDATA), "r--");
	unload(image);

	/* Exports without names. */
	loadable(&file);
	put32(&file, IMG_SECTION(1) + SEC_FLAGS, discardable);
	put32(&file, IMG_DIRECTORY(3), 0);
	put32(&file, image_offset(EXPORTS + 24), 0);
	image = load(&file, "nmi.sys");
	ldr_image_discard_init(image);
	assert_string_equal(fake_protection(image->base + RDATA), "r--");
	unload(image);

	/* Neither. */
	put32(&file, IMG_DIRECTORY(0), 0);
	image = load(&file, "nmi.sys");
	ldr_image_discard_init(image);
	assert_string_equal(fake_protection(image->base + RDATA), "---");
	unload(image);

	/* Only one name is there. */
	loadable(&file);
	put32(&file, IMG_SECTION(6) + SEC_SIZE, 0x20);
	put32(&file, image_offset(EXPORT_NAMES + 8), RELOC + 0x10);
	put32(&file, image_offset(RELOC + 0x10), 'Z');
	image = load(&file, "nmi.sys");
	ldr_image_discard_init(image);
	assert_string_equal(fake_protection(image->base + RELOC), "r--");
	unload(image);
}

static void def341_unloaded_memory_stays_reserved(void **state)
{
	struct ldr_image *first, *second;
	struct image file;
	char where[64];

	(void)state;
	loadable(&file);
	first = load(&file, "nmi.sys");
	*(uint64_t *)(first->base + DATA + 0x100) = 77;
	assert_ptr_equal(ldr_image_from_address(first->base), first);
	assert_ptr_equal(ldr_image_from_address(first->base + first->size - 1), first);
	assert_null(ldr_image_from_address(first->base + first->size));
	assert_null(ldr_image_from_address(first->base - 1));
	unload(first);
	assert_int_equal(ldr_image_state(first), LDR_UNLOADED);
	for (uint32_t rva = 0; rva < first->size; rva += 0x1000)
		assert_string_equal(fake_protection(first->base + rva), "---");
	assert_int_equal(ldr_image_unload(first), STATUS_INVALID_PARAMETER);
	assert_int_equal(ldr_image_begin_unload(first), STATUS_INVALID_PARAMETER);

	/* DEF-339: an image loaded again starts from the file's contents, elsewhere. */
	second = load(&file, "nmi.sys");
	assert_true(second->base >= first->base + first->size);
	assert_int_equal(u64_at(second, DATA + 0x100), 0);
	assert_ptr_equal(ldr_image_from_address(first->base + TEXT), first);
	ldr_address_format(first->base + 0x1a2c, where, sizeof(where));
	assert_string_equal(where, "nmi.sys+0x1a2c");
	assert_ptr_equal(ldr_image_newest(), second);
	assert_ptr_equal(second->next, first);
	unload(second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(def339_pages_are_protected_as_the_sections_say),
		cmocka_unit_test(def339_writable_code_is_noted),
		cmocka_unit_test(def335_def336_init_is_discarded),
		cmocka_unit_test(def335_what_the_loader_needs_is_not_discarded),
		cmocka_unit_test(def339_gaps_are_inaccessible),
		cmocka_unit_test(def335_shared_pages_stay),
		cmocka_unit_test(def341_unloaded_memory_stays_reserved),
	};

	fake_boot();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
