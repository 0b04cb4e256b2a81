// SPDX-License-Identifier: MIT
/* The loader: images from the request to the unload. */
#include "image_check.h"

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
		cmocka_unit_test(def317_no_memory),
		cmocka_unit_test(names_and_collisions),
		cmocka_unit_test(refused_images_leave_nothing),
		cmocka_unit_test(def50_def52_loader_entries),
		cmocka_unit_test(def51_entries_belong_to_drivers),
	};

	fake_boot();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
