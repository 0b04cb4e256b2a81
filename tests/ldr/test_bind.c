// SPDX-License-Identifier: MIT
/* The loader: import binding, forwarders, export drivers, missing imports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_kernel.h"
#include "pe_build.h"

static char message[2000];

static void text_at(struct image *image, uint32_t rva, const char *text)
{
	strcpy((char *)image->bytes + image_offset(rva), text);
}

/* The image of the PE tests, with imports that all exist. */
static void loadable(struct image *image)
{
	image_build(image);
	put64(image, image_offset(LOOKUP_NT + 8), 0); /* no ordinal */
	put32(image, IMG_DIRECTORY(13), 0);           /* no delayed module */
}

/* The same with its delayed table: module!name. */
static void importing(struct image *image, const char *module, const char *name)
{
	image_build(image);
	put64(image, image_offset(LOOKUP_NT + 8), 0);
	text_at(image, MODULE_EXTRA, module);
	text_at(image, NAME_LATER + 2, name);
}

static struct ldr_missing seen[8];
static char seen_names[8][64];
static int seen_count;

static void see(void *context, const struct ldr_missing *missing)
{
	assert_ptr_equal(context, seen);
	assert_true(seen_count < 8);
	snprintf(seen_names[seen_count], 64, "%s!%s", missing->module, missing->name);
	seen[seen_count++] = *missing;
}

static NTSTATUS try_load(const struct image *image, const char *name, bool allow_missing,
			 struct ldr_image **loaded)
{
	const struct ldr_request request = {.name = name,
					    .file = image->bytes,
					    .size = sizeof(image->bytes),
					    .allow_missing = allow_missing,
					    .message = message,
					    .message_size = sizeof(message),
					    .missing = see,
					    .context = seen};

	seen_count = 0;
	return ldr_image_load(&request, loaded);
}

static struct ldr_image *load(const struct image *image, const char *name)
{
	struct ldr_image *loaded;

	if (!NT_SUCCESS(try_load(image, name, false, &loaded)))
		fail_msg("%s", message);
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

static void def318_def319_module_names(void **state)
{
	static const struct {
		const char *module, *name;
		void *bound; /* 0: the module is not known */
	} rows[] = {
		{"ntoskrnl.exe", "DbgPrint", (void *)fake_dbgprint},
		{"NTOSKRNL.EXE", "DbgPrint", (void *)fake_dbgprint},
		{"NtOsKrnl", "DbgPrint", (void *)fake_dbgprint},
		{"ntkrnlmp.exe", "DbgPrint", (void *)fake_dbgprint},
		{"hal.dll", "DbgPrint", (void *)fake_dbgprint},
		{"ntoskrnl.exe", "HalSendNMI", (void *)fake_halsendnmi},
		{"HAL", "HalSendNMI", (void *)fake_halsendnmi},
		{"ext-ms-win-ntos-ps-l1-1-0.dll", "DbgPrint", (void *)fake_dbgprint},
		{"netio.sys", "WskRegister", (void *)fake_checked},
		{"NETIO", "WskRegister", (void *)fake_checked},
		{"ntoskrnl.exe", "NtBuildNumber", &fake_variable},
		{"ntoskrnl.dll", "DbgPrint", NULL},
		{"ntoskrnl.exe.sys", "DbgPrint", NULL},
		{"ntoskrn", "DbgPrint", NULL},
		{"hal.dl", "HalSendNMI", NULL},
	};
	struct ldr_image *image;
	struct image file;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		importing(&file, rows[i].module, rows[i].name);
		if (!rows[i].bound) {
			assert_int_equal(try_load(&file, "nmi.sys", false, &image),
					 STATUS_OBJECT_NAME_NOT_FOUND);
			continue;
		}
		image = load(&file, "nmi.sys");
		assert_int_equal(u64_at(image, DELAY_SLOTS), (uint64_t)rows[i].bound);
		unload(image);
	}
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

static void def322_forwarders_are_followed(void **state)
{
	struct ldr_image *library, *dotted, *image;
	struct image file;
	size_t blocks;

	(void)state;
	loadable(&file);
	library = load(&file, "lib.sys");
	importing(&file, "LIB.sys", "Beta"); /* to ntoskrnl.DbgPrint */
	image = load(&file, "nmi.sys");
	assert_int_equal(u64_at(image, DELAY_SLOTS), (uint64_t)fake_dbgprint);
	assert_int_equal(ldr_image_unload(library), STATUS_DEVICE_BUSY);
	assert_int_equal(ldr_image_state(library), LDR_LOADED);
	unload(image);

	importing(&file, "lib", "Alpha");
	image = load(&file, "nmi.sys");
	assert_int_equal(u64_at(image, DELAY_SLOTS), library->base + TEXT + 0x20);
	unload(image);

	/* Twice from one driver: one dependency. */
	blocks = fake_blocks;
	put32(&file, image_offset(DELAY + 16), RDATA + 0x720);
	put64(&file, image_offset(RDATA + 0x720), NAME_LATER);
	put64(&file, image_offset(RDATA + 0x728), 0x8000000000000005u);
	image = load(&file, "nmi.sys");
	assert_int_equal(u64_at(image, DELAY_SLOTS + 8), library->base + TEXT + 0x20);
	assert_int_equal(fake_blocks, blocks + 2);
	unload(image);

	/* By ordinal: 5 is Alpha, 6 unused. */
	importing(&file, "lib.sys", "");
	put64(&file, image_offset(DELAY_LOOKUP), 0x8000000000000005u);
	image = load(&file, "nmi.sys");
	assert_int_equal(u64_at(image, DELAY_SLOTS), library->base + TEXT + 0x20);
	unload(image);
	put64(&file, image_offset(DELAY_LOOKUP), 0x8000000000000006u);
	assert_int_equal(try_load(&file, "nmi.sys", false, &image),
			 STATUS_DRIVER_ORDINAL_NOT_FOUND);
	/* A forwarder names its module without extension, dots or not. */
	loadable(&file);
	put32(&file, image_offset(EXPORTS + 16), 17);
	dotted = load(&file, "lib.v2.dll");
	importing(&file, "lib.sys", "Gamma"); /* to lib.v2.#17 */
	image = load(&file, "nmi.sys");
	assert_int_equal(u64_at(image, DELAY_SLOTS), dotted->base + TEXT + 0x20);
	unload(image);
	unload(dotted);
	importing(&file, "lib.sys", "Omega");
	assert_int_equal(try_load(&file, "nmi.sys", false, &image),
			 STATUS_DRIVER_ENTRYPOINT_NOT_FOUND);
	unload(library);
}

static void def323_no_memory(void **state)
{
	struct ldr_image *library, *image;
	struct image file;
	size_t blocks;

	(void)state;
	loadable(&file);
	library = load(&file, "lib.sys");
	importing(&file, "lib.sys", "Alpha");
	blocks = fake_blocks;
	for (int failures = 0; failures < 2; failures++) {
		fake_allocate_fails = failures;
		assert_int_equal(try_load(&file, "nmi.sys", false, &image),
				 STATUS_INSUFFICIENT_RESOURCES);
		assert_int_equal(fake_blocks, blocks);
	}
	fake_allocate_fails = -1;
	unload(library);
}

/* Chain: l0.Beta -> l1.Beta -> ... -> l8.Beta -> ntoskrnl.DbgPrint. */
static void def322_eight_levels(void **state)
{
	enum { LIBRARIES = 9 };
	struct ldr_image *library[LIBRARIES], *image;
	char name[16];
	struct image file;

	(void)state;
	for (int i = LIBRARIES - 1; i >= 0; i--) {
		loadable(&file);
		if (i < LIBRARIES - 1) {
			snprintf(name, sizeof(name), "l%d.Beta", i + 1);
			text_at(&file, FORWARDER_BETA, name);
		}
		snprintf(name, sizeof(name), "l%d.sys", i);
		library[i] = load(&file, name);
	}
	/* l1: eight forwarders, the last one to ntoskrnl. l0: nine. */
	importing(&file, "l1.sys", "Beta");
	image = load(&file, "nmi.sys");
	assert_int_equal(u64_at(image, DELAY_SLOTS), (uint64_t)fake_dbgprint);
	/* Each link of the chain is used. */
	for (int i = 1; i < LIBRARIES; i++)
		assert_int_equal(ldr_image_unload(library[i]), STATUS_DEVICE_BUSY);
	unload(image);
	importing(&file, "l0.sys", "Beta");
	assert_int_equal(try_load(&file, "nmi.sys", false, &image),
			 STATUS_DRIVER_ENTRYPOINT_NOT_FOUND);
	for (int i = 0; i < LIBRARIES; i++)
		unload(library[i]);
}

static void def322_circle_of_forwarders(void **state)
{
	struct ldr_image *library, *image;
	struct image file;

	(void)state;
	loadable(&file);
	text_at(&file, FORWARDER_BETA, "self.Beta");
	library = load(&file, "self.sys");
	importing(&file, "self.sys", "Beta");
	assert_int_equal(try_load(&file, "nmi.sys", false, &image),
			 STATUS_DRIVER_ENTRYPOINT_NOT_FOUND);
	unload(library);
}

/*
 * A library whose DllInitialize stores the registry path's length and counts, and whose DllUnload
 * counts. At DATA + 0x100: initialisations, unloads, length; at DATA + 0x10c the status to return.
 */
static void export_driver(struct image *image)
{
	static const unsigned char initialize[] = {
		0xff, 0x05, 0xaa, 0x20, 0x00, 0x00, /* inc dword [rip + ..]: DATA + 0x100 */
		0x0f, 0xb7, 0x01,                   /* movzx eax, word [rcx] */
		0x89, 0x05, 0xa9, 0x20, 0x00, 0x00, /* mov [rip + ..], eax: DATA + 0x108 */
		0x8b, 0x05, 0xa7, 0x20, 0x00, 0x00, /* mov eax, [rip + ..]: DATA + 0x10c */
		0xc3,
	};
	static const unsigned char unload_routine[] = {
		0xff, 0x05, 0x7e, 0x20, 0x00, 0x00, /* inc dword [rip + ..]: DATA + 0x104 */
		0x31, 0xc0, 0xc3,                   /* xor eax, eax; ret */
	};

	loadable(image);
	put32(image, image_offset(EXPORT_FUNCTIONS), TEXT + 0x50);
	put32(image, image_offset(EXPORT_FUNCTIONS + 8), TEXT + 0x80);
	text_at(image, EXPORT_ALPHA, "DllInitialize");
	text_at(image, EXPORT_BETA, "DllUnload");
	memcpy(image->bytes + image_offset(TEXT + 0x50), initialize, sizeof(initialize));
	memcpy(image->bytes + image_offset(TEXT + 0x80), unload_routine, sizeof(unload_routine));
}

static uint32_t counter(const struct ldr_image *image, uint32_t offset)
{
	return (uint32_t)u64_at(image, DATA + 0x100 + offset);
}

static void def323_export_drivers(void **state)
{
	struct ldr_image *library, *one, *two;
	struct image file;

	(void)state;
	export_driver(&file);
	library = load(&file, "library.sys");
	assert_int_equal(counter(library, 0), 0);
	importing(&file, "library.sys", "DllInitialize");
	one = load(&file, "one.sys");
	assert_int_equal(counter(library, 0), 1);
	assert_int_equal(
		counter(library, 8),
		2 * strlen("\\Registry\\Machine\\System\\CurrentControlSet\\Services\\library"));
	two = load(&file, "two.sys");
	assert_int_equal(counter(library, 0), 1);
	assert_int_equal(ldr_image_begin_unload(library), STATUS_DEVICE_BUSY);
	unload(one);
	assert_int_equal(counter(library, 4), 0);
	unload(two);
	assert_int_equal(counter(library, 4), 1);
	one = load(&file, "one.sys");
	assert_int_equal(counter(library, 0), 2);
	unload(one);
	assert_int_equal(counter(library, 4), 2);

	/* DllInitialize fails: so does the load, and the library has no user. */
	*(uint32_t *)(library->base + DATA + 0x10c) = (uint32_t)STATUS_NOT_IMPLEMENTED;
	assert_int_equal(try_load(&file, "one.sys", false, &one), STATUS_NOT_IMPLEMENTED);
	assert_string_equal(message,
			    "one.sys: DllInitialize of library.sys, which it imports from, "
			    "failed with 0xc0000002");
	assert_int_equal(counter(library, 4), 2);
	assert_int_equal(fake_lock_depth, 0);

	/* Nobody can import from it while it goes. */
	assert_int_equal(ldr_image_begin_unload(library), STATUS_SUCCESS);
	assert_int_equal(ldr_image_state(library), LDR_UNLOADING);
	assert_int_equal(try_load(&file, "one.sys", false, &one), STATUS_OBJECT_NAME_NOT_FOUND);
	unload(library);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(def318_def319_module_names),
		cmocka_unit_test(def321_missing_imports_are_all_named),
		cmocka_unit_test(def321_missing_then_damaged),
		cmocka_unit_test(def321_message_is_cut),
		cmocka_unit_test(def321_many_missing_imports),
		cmocka_unit_test(def321_allowed_missing_imports_stop_when_called),
		cmocka_unit_test(def322_forwarders_are_followed),
		cmocka_unit_test(def323_no_memory),
		cmocka_unit_test(def322_eight_levels),
		cmocka_unit_test(def322_circle_of_forwarders),
		cmocka_unit_test(def323_export_drivers),
	};

	fake_boot();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
