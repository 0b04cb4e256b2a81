// SPDX-License-Identifier: MIT
/* The loader: imports that nobody provides. */
#include "image_check.h"

typedef void NTAPI routine(uint64_t argument);

static void call_and_stop(struct ldr_image *image, uint32_t slot)
{
	routine *call = (routine *)u64_at(image, slot);

	fake_stop.armed = true;
	if (setjmp(fake_stop.back) == 0) {
		call(1);
		fail_msg("the stub returned");
	}
	assert_false(fake_stop.armed);
}

static void def321_missing_imports_are_all_named(void **state)
{
	const size_t blocks = fake_blocks;
	struct ldr_image *image;
	struct image file;

	(void)state;
	image_build(&file);
	text_at(&file, NAME_KEBUGCHECKEX + 2, "Ke\nBad");
	assert_int_equal(try_load(&file, "nmi.sys", false, &image),
			 STATUS_DRIVER_ORDINAL_NOT_FOUND);
	assert_null(image);
	assert_string_equal(
		message,
		"nmi.sys: import ntoskrnl.exe!#7 is not supported (run: ketch imports nmi.sys)\n"
		"nmi.sys: import ntoskrnl.exe!Ke\\x0aBad is not supported (run: ketch imports "
		"nmi.sys)\n"
		"nmi.sys: import extra.sys!Later is missing: no such module is loaded (load it "
		"before)");
	assert_int_equal(seen_count, 3);
	assert_string_equal(seen_names[0], "ntoskrnl.exe!#7");
	assert_int_equal(seen[0].status, STATUS_DRIVER_ORDINAL_NOT_FOUND);
	assert_string_equal(seen_names[1], "ntoskrnl.exe!Ke\\x0aBad");
	assert_int_equal(seen[1].status, STATUS_DRIVER_ENTRYPOINT_NOT_FOUND);
	assert_string_equal(seen_names[2], "extra.sys!Later");
	assert_int_equal(seen[2].status, STATUS_OBJECT_NAME_NOT_FOUND);
	assert_int_equal(fake_blocks, blocks);

	/* The first decides the status. */
	loadable(&file);
	text_at(&file, NAME_KEBUGCHECKEX + 2, "KeBugCheckEy");
	assert_int_equal(try_load(&file, "nmi.sys", false, &image),
			 STATUS_DRIVER_ENTRYPOINT_NOT_FOUND);
	importing(&file, "nobody.sys", "Later");
	assert_int_equal(try_load(&file, "nmi.sys", false, &image), STATUS_OBJECT_NAME_NOT_FOUND);
}

/* Missing imports, and then a table that is damaged: one line each. */
static void def321_missing_then_damaged(void **state)
{
	struct ldr_image *image;
	struct image file;

	(void)state;
	image_build(&file);
	put64(&file, image_offset(LOOKUP_NT2), 0x7fffffff);
	assert_int_equal(try_load(&file, "nmi.sys", false, &image), STATUS_INVALID_IMAGE_FORMAT);
	assert_string_equal(message,
			    "nmi.sys: import ntoskrnl.exe!#7 is not supported (run: ketch "
			    "imports nmi.sys)\n"
			    "nmi.sys: import descriptor 1 (ntoskrnl.exe): the symbol name at "
			    "0x7fffffff is outside the image, empty or longer than 1024 bytes");
}

/* More stubs than one block holds. */
static void def321_many_missing_imports(void **state)
{
	enum { COUNT = 5000, SIZE = 0x1600 + 0x10000 };
	unsigned char *bytes = calloc(1, SIZE);
	struct ldr_request request = {
		.name = "nmi.sys", .file = bytes, .size = SIZE, .allow_missing = true};
	struct ldr_image *image;
	struct image file;

	(void)state;
	assert_non_null(bytes);
	loadable(&file);
	put32(&file, IMG_DIRECTORY(5), 0);
	put32(&file, IMG_IMAGE_SIZE, RELOC + 0x10000);
	put32(&file, IMG_SECTION(6) + SEC_SIZE, 0x10000);
	put32(&file, IMG_SECTION(6) + SEC_RAW_SIZE, 0x10000);
	put32(&file, image_offset(IMPORTS), 0);
	put32(&file, image_offset(IMPORTS + 16), RELOC);
	memcpy(bytes, file.bytes, sizeof(file.bytes));
	memset(bytes + 0x1600, 0, 0x10000);
	for (uint64_t i = 0; i < COUNT; i++) {
		uint64_t thunk = 0x8000000000000000u | (i + 1);

		memcpy(bytes + 0x1600 + 8 * i, &thunk, 8);
	}
	assert_int_equal(ldr_image_load(&request, &image), STATUS_SUCCESS);
	assert_int_equal(image->missing_count, COUNT);
	call_and_stop(image, RELOC);
	assert_non_null(strstr(fake_stop.text, " called ntoskrnl.exe!#1,"));
	call_and_stop(image, RELOC + 8 * (COUNT - 1));
	assert_non_null(strstr(fake_stop.text, " called ntoskrnl.exe!#5000,"));
	for (int i = 0; i < COUNT - 1; i++)
		assert_true(u64_at(image, RELOC + 8 * i) != u64_at(image, RELOC + 8 * i + 8));
	unload(image);
	free(bytes);
}

/* A message buffer that is too small is filled with what fits. */
static void def321_message_is_cut(void **state)
{
	char small[24];
	struct image file;
	struct ldr_image *image;
	struct ldr_request request = {.name = "nmi.sys",
				      .file = file.bytes,
				      .size = sizeof(file.bytes),
				      .message = small,
				      .message_size = sizeof(small)};

	(void)state;
	image_build(&file);
	assert_int_equal(ldr_image_load(&request, &image), STATUS_DRIVER_ORDINAL_NOT_FOUND);
	assert_string_equal(small, "nmi.sys: import ntoskrn");
	request.message = NULL;
	assert_int_equal(ldr_image_load(&request, &image), STATUS_DRIVER_ORDINAL_NOT_FOUND);
}

static void def321_allowed_missing_imports_stop_when_called(void **state)
{
	static const unsigned char call_slot[] = {
		0x48, 0x83, 0xec, 0x28,             /* sub rsp, 0x28 */
		0xff, 0x15, 0xbe, 0x0f, 0x00, 0x00, /* call [rip + ..]: SLOTS_NT + 8 */
	};
	struct ldr_image *image;
	struct image file;
	uint64_t stub;

	(void)state;
	image_build(&file);
	memcpy(file.bytes + image_offset(TEXT + 0x100), call_slot, sizeof(call_slot));
	assert_int_equal(try_load(&file, "nmi.sys", true, &image), STATUS_SUCCESS);
	assert_string_equal(message, "");
	assert_int_equal(seen_count, 2);
	assert_int_equal(image->missing_count, 2);
	assert_int_equal(u64_at(image, SLOTS_NT), (uint64_t)fake_dbgprint);
	stub = u64_at(image, SLOTS_NT + 8);
	assert_string_equal(fake_protection(stub), "r-x");
	assert_true(stub != u64_at(image, DELAY_SLOTS));

	call_and_stop(image, SLOTS_NT + 8);
	assert_int_equal(fake_stop.code, (ULONG)STATUS_DRIVER_ORDINAL_NOT_FOUND);
	assert_int_equal(fake_stop.parameters[1], stub);
	/* Called by this test, not by a driver: the driver that imports it is named. */
	assert_true(fake_stop.parameters[0] > (uint64_t)call_and_stop &&
		    fake_stop.parameters[0] < (uint64_t)call_and_stop + 0x400);
	assert_int_equal(fake_stop.address, 0);
	assert_string_equal(fake_stop.text,
			    "nmi.sys called ntoskrnl.exe!#7, which is not supported "
			    "(run: ketch imports nmi.sys)");

	/* Called by the driver. */
	*(uint64_t *)(image->base + DATA + 0x100) = image->base + TEXT + 0x100;
	call_and_stop(image, DATA + 0x100);
	assert_int_equal(fake_stop.address, image->base + TEXT + 0x10a);
	assert_int_equal(fake_stop.parameters[0], fake_stop.address);
	assert_string_equal(fake_stop.text, "nmi.sys+0x110a called ntoskrnl.exe!#7, which is not "
					    "supported (run: ketch imports nmi.sys)");

	call_and_stop(image, DELAY_SLOTS);
	assert_int_equal(fake_stop.code, (ULONG)STATUS_OBJECT_NAME_NOT_FOUND);
	assert_non_null(strstr(fake_stop.text, " called extra.sys!Later, which is not supported"));
	unload(image);
	assert_string_equal(fake_protection(stub), "---");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(def321_missing_imports_are_all_named),
		cmocka_unit_test(def321_missing_then_damaged),
		cmocka_unit_test(def321_message_is_cut),
		cmocka_unit_test(def321_many_missing_imports),
		cmocka_unit_test(def321_allowed_missing_imports_stop_when_called),
	};

	fake_boot();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
