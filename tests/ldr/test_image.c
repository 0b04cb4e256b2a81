// SPDX-License-Identifier: MIT
/* The loader: images from the request to the unload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_kernel.h"
#include "ldr/pe.h"
#include "pe_build.h"

static char message[2000];

/* The image of the PE tests, with imports that all exist. */
static void loadable(struct image *image)
{
	image_build(image);
	put64(image, image_offset(LOOKUP_NT + 8), 0); /* no ordinal */
	put32(image, IMG_DIRECTORY(13), 0);           /* no delayed module */
}

static NTSTATUS try_load(const struct image *image, const char *name, bool allow_missing,
			 struct ldr_image **loaded)
{
	const struct ldr_request request = {.name = name,
					    .file = image->bytes,
					    .size = sizeof(image->bytes),
					    .allow_missing = allow_missing,
					    .message = message,
					    .message_size = sizeof(message)};
	NTSTATUS status = ldr_image_load(&request, loaded);

	assert_int_equal(fake_lock_depth, 0);
	assert_int_equal(NT_SUCCESS(status), *loaded != NULL);
	return status;
}

static struct ldr_image *load(const struct image *image, const char *name)
{
	struct ldr_image *loaded;

	if (!NT_SUCCESS(try_load(image, name, false, &loaded)))
		fail_msg("%s", message);
	assert_string_equal(message, "");
	return loaded;
}

static void unload(struct ldr_image *image)
{
	assert_int_equal(ldr_image_unload(image), STATUS_SUCCESS);
	assert_int_equal(fake_lock_depth, 0);
}

static uint64_t u64_at(const struct ldr_image *image, uint32_t rva)
{
	uint64_t value;

	memcpy(&value, (const void *)(image->base + rva), sizeof(value));
	return value;
}

static void expect_wide(UNICODE_STRING string, const char *expected)
{
	assert_int_equal(string.Length, 2 * strlen(expected));
	for (size_t i = 0; expected[i]; i++)
		assert_int_equal(string.Buffer[i], expected[i]);
}

static void def317_load_maps_and_binds(void **state)
{
	struct ldr_image *image;
	struct image file;

	(void)state;
	loadable(&file);
	image = load(&file, "Nmi.sys");
	assert_int_equal(image->base % 0x10000, 0);
	assert_true(image->base > 0x400000000000u);
	assert_int_equal(image->size, IMG_SIZE_OF_IMAGE);
	assert_int_equal(image->entry_point, image->base + INIT + 0x10);
	assert_int_equal(image->preferred_base, IMG_BASE_ADDRESS);
	assert_int_equal(ldr_image_state(image), LDR_LOADED);
	assert_int_equal(u64_at(image, POINTER), image->base + TEXT + 0x20);
	assert_int_equal(u64_at(image, SLOTS_NT), (uint64_t)fake_dbgprint);
	assert_int_equal(u64_at(image, SLOTS_NT + 8), 0);
	assert_int_equal(u64_at(image, SLOTS_NT2), (uint64_t)fake_bugcheckex);
	assert_int_equal(u64_at(image, SLOTS_HAL), (uint64_t)fake_halsendnmi);
	assert_int_equal((uint64_t)image->functions, image->base + FUNCTIONS);
	assert_int_equal(image->function_count, 2);
	assert_ptr_equal(ldr_image_named("nMI.SYS"), image);
	unload(image);
	assert_null(ldr_image_named("nMI.SYS"));
}

static void imports_are_checked_when_the_verifier_is_on(void **state)
{
	struct ldr_image *image;
	struct image file;

	(void)state;
	loadable(&file);
	vf_mode = VF_REPORT;
	image = load(&file, "nmi.sys");
	vf_mode = VF_OFF;
	assert_int_equal(u64_at(image, SLOTS_NT), (uint64_t)fake_checked);
	unload(image);
}

static void def324_no_relocations_no_load(void **state)
{
	struct ldr_image *image;
	struct image file;

	(void)state;
	loadable(&file);
	put16(&file, IMG_CHARACTERISTICS, 0x23);
	assert_int_equal(try_load(&file, "nmi.sys", false, &image), STATUS_CONFLICTING_ADDRESSES);
	assert_non_null(strstr(message, "nmi.sys: its relocations were stripped"));
}

static void def327_cookie_is_replaced(void **state)
{
	static const uint64_t replaced[] = {COOKIE_DEFAULT, 0};
	struct ldr_image *image;
	struct image file;
	uint64_t first = 0;

	(void)state;
	for (int i = 0; i < 2; i++) {
		uint64_t cookie;

		loadable(&file);
		put64(&file, image_offset(COOKIE), replaced[i]);
		image = load(&file, "nmi.sys");
		cookie = u64_at(image, COOKIE);
		assert_true(cookie != 0 && cookie != COOKIE_DEFAULT && cookie != first);
		assert_int_equal(cookie >> 48, 0);
		first = cookie;
		unload(image);
	}
	loadable(&file);
	put64(&file, image_offset(COOKIE), 0x1234);
	image = load(&file, "nmi.sys");
	assert_int_equal(u64_at(image, COOKIE), 0x1234);
	unload(image);
}

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

static void names_and_collisions(void **state)
{
	struct ldr_image *image, *other;
	char long_name[120];
	struct image file;

	(void)state;
	loadable(&file);
	image = load(&file, "n\xc3\xa4h \xf0\x9f\x98\x80.sys");
	assert_string_equal(image->name, "n\\xc3\\xa4h \\xf0\\x9f\\x98\\x80.sys");
	assert_int_equal(image->entry.base_name.Length, 2 * 10);
	assert_int_equal(image->entry.base_name.Buffer[1], 0xe4);
	assert_int_equal(image->entry.base_name.Buffer[4], 0xd83d);
	assert_int_equal(image->entry.base_name.Buffer[5], 0xde00);
	unload(image);

	memset(long_name, 'x', sizeof(long_name));
	long_name[97] = 0;
	assert_int_equal(try_load(&file, long_name, false, &image), STATUS_OBJECT_NAME_INVALID);
	long_name[96] = 0;
	unload(load(&file, long_name));
	assert_int_equal(try_load(&file, "", false, &image), STATUS_OBJECT_NAME_INVALID);
	assert_int_equal(try_load(&file, "a/b.sys", false, &image), STATUS_OBJECT_NAME_INVALID);
	assert_int_equal(try_load(&file, "a\xff.sys", false, &image), STATUS_OBJECT_NAME_INVALID);
	assert_int_equal(try_load(&file, "a\xc3", false, &image), STATUS_OBJECT_NAME_INVALID);
	assert_int_equal(try_load(&file, "a\xed\xa0\x80", false, &image),
			 STATUS_OBJECT_NAME_INVALID);
	assert_int_equal(try_load(&file, "a\xbf\xbf", false, &image), STATUS_OBJECT_NAME_INVALID);
	assert_int_equal(try_load(&file, "a\xf9\x80\x80\x80", false, &image),
			 STATUS_OBJECT_NAME_INVALID);
	assert_int_equal(try_load(&file, "a\xc1\x81", false, &image), STATUS_OBJECT_NAME_INVALID);
	assert_int_equal(try_load(&file, "a\n", false, &image), STATUS_OBJECT_NAME_INVALID);
	assert_string_equal(message,
			    "a\\x0a: its name is not a file name of 1 to 96 UTF-8 characters");

	image = load(&file, "nmi.sys");
	assert_int_equal(try_load(&file, "NMI.SYS", false, &other), STATUS_OBJECT_NAME_COLLISION);
	assert_string_equal(message, "NMI.SYS: a loaded driver has this name: unload it first");
	unload(image);
}

static void refused_images_leave_nothing(void **state)
{
	const struct {
		uint32_t offset, value;
		const char *words;
	} rows[] = {
		{IMG_MACHINE, 0x8665, "machine type"},
		{image_offset(RELOC + 8), 0xa0103010, "type 3"},
		{image_offset(EXPORTS + 20), 0x10001, "export directory"},
		{image_offset(CONFIG), 0x401, "load configuration"},
		{image_offset(FUNCTIONS), 0x9000, "exception directory"},
		{image_offset(LOOKUP_NT2), 0x7fffffff, "symbol name"},
	};
	struct ldr_image *before, *image;
	size_t blocks;
	struct image file;

	(void)state;
	loadable(&file);
	before = load(&file, "good.sys");
	unload(before);
	blocks = fake_blocks;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		loadable(&file);
		put32(&file, rows[i].offset, rows[i].value);
		assert_int_equal(try_load(&file, "bad.sys", false, &image),
				 STATUS_INVALID_IMAGE_FORMAT);
		if (!strstr(message, rows[i].words))
			fail_msg("%s: expected %s", message, rows[i].words);
		assert_int_equal(strncmp(message, "bad.sys: ", 9), 0);
		assert_null(strchr(message, '\n'));
	}
	assert_int_equal(fake_blocks, blocks);
	assert_ptr_equal(ldr_image_newest(), before);
	assert_null(ldr_image_named("bad.sys"));
	/* Nor have they used addresses. */
	loadable(&file);
	image = load(&file, "good.sys");
	assert_int_equal(image->base - before->base, 0x10000);
	unload(image);
}

/* Memory runs out at every point of a load in turn: a clean refusal each time, and then it works.
 */
static void def317_no_memory(void **state)
{
	static int *const knobs[] = {&fake_allocate_fails, &fake_protect_fails};
	struct ldr_image *image;
	struct image file;
	NTSTATUS status;

	(void)state;
	image_build(&file); /* two imports are missing: stubs are made */
	for (int i = 0; i < 2; i++) {
		struct ldr_image *before = ldr_image_newest();
		const size_t blocks = fake_blocks;
		int failures = -1;

		do {
			*knobs[i] = ++failures;
			status = try_load(&file, "nmi.sys", true, &image);
			if (NT_SUCCESS(status))
				break;
			assert_int_equal(status, STATUS_INSUFFICIENT_RESOURCES);
			assert_int_equal(strncmp(message, "nmi.sys: the ", 13), 0);
			assert_null(strchr(message, '\n'));
			assert_int_equal(fake_blocks, blocks);
			assert_ptr_equal(ldr_image_newest(), before);
		} while (failures < 100);
		*knobs[i] = -1;
		/* Image, block, two records; all, image's runs, stubs' two. */
		assert_int_equal(failures, i ? 9 : 4);
		if (i)
			assert_int_equal(image->base - before->base, 0x20000);
		unload(image);
	}
}

static void def50_def52_loader_entries(void **state)
{
	LIST_ENTRY *head = &PsLoadedModuleList.in_load_order;
	struct ldr_entry *entry, *kernel, *hal;
	struct ldr_image *image;
	struct image file;

	(void)state;
	loadable(&file);
	image = load(&file, "nmi.sys");
	entry = &image->entry;
	assert_int_equal((uint64_t)entry->dll_base, image->base);
	assert_int_equal((uint64_t)entry->entry_point, image->entry_point);
	assert_int_equal(entry->size_of_image, image->size);
	expect_wide(entry->base_name, "nmi.sys");
	expect_wide(entry->full_name, "\\SystemRoot\\system32\\drivers\\nmi.sys");
	entry->flags |= 0x20; /* DEF-51 */

	kernel = (struct ldr_entry *)head->Flink;
	hal = (struct ldr_entry *)kernel->in_load_order.Flink;
	expect_wide(kernel->base_name, "ntoskrnl.exe");
	expect_wide(kernel->full_name, "\\SystemRoot\\system32\\ntoskrnl.exe");
	expect_wide(hal->base_name, "HAL.dll");
	assert_ptr_equal(hal->in_load_order.Flink, entry);
	assert_ptr_equal(entry->in_load_order.Flink, head);
	assert_ptr_equal(head->Blink, entry);
	assert_null(PsLoadedModuleList.dll_base);
	assert_int_equal(image->entry.flags, 0x20);
	unload(image);
	assert_ptr_equal(head->Blink, hal);
	assert_ptr_equal(hal->in_load_order.Flink, head);
	/* A walker that stands on it gets on. */
	assert_ptr_equal(entry->in_load_order.Flink, head);
}

/* A driver that hides, and one that fills its entry with garbage. */
static void def51_entries_belong_to_drivers(void **state)
{
	LIST_ENTRY *head = &PsLoadedModuleList.in_load_order, *last = head->Blink;
	struct ldr_image *image;
	struct image file;

	(void)state;
	loadable(&file);
	image = load(&file, "hides.sys");
	image->entry.in_load_order.Blink->Flink = image->entry.in_load_order.Flink;
	image->entry.in_load_order.Flink->Blink = image->entry.in_load_order.Blink;
	unload(image);
	assert_ptr_equal(head->Blink, last);
	assert_ptr_equal(last->Flink, head);

	image = load(&file, "garbage.sys");
	memset(&image->entry, 0xa5, sizeof(image->entry));
	assert_ptr_equal(ldr_image_named("garbage.sys"), image);
	unload(image);
	head->Blink = last;
	last->Flink = head;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(def317_load_maps_and_binds),
		cmocka_unit_test(imports_are_checked_when_the_verifier_is_on),
		cmocka_unit_test(def324_no_relocations_no_load),
		cmocka_unit_test(def327_cookie_is_replaced),
		cmocka_unit_test(def339_pages_are_protected_as_the_sections_say),
		cmocka_unit_test(def339_writable_code_is_noted),
		cmocka_unit_test(def335_def336_init_is_discarded),
		cmocka_unit_test(def335_what_the_loader_needs_is_not_discarded),
		cmocka_unit_test(def339_gaps_are_inaccessible),
		cmocka_unit_test(def335_shared_pages_stay),
		cmocka_unit_test(def317_no_memory),
		cmocka_unit_test(def341_unloaded_memory_stays_reserved),
		cmocka_unit_test(names_and_collisions),
		cmocka_unit_test(refused_images_leave_nothing),
		cmocka_unit_test(def50_def52_loader_entries),
		cmocka_unit_test(def51_entries_belong_to_drivers),
	};

	fake_boot();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
