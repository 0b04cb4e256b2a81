// SPDX-License-Identifier: MIT
/* The loader: import binding, forwarders, export drivers. */
#include "image_check.h"

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
		cmocka_unit_test(def322_forwarders_are_followed),
		cmocka_unit_test(def323_no_memory),
		cmocka_unit_test(def322_eight_levels),
		cmocka_unit_test(def322_circle_of_forwarders),
		cmocka_unit_test(def323_export_drivers),
	};

	fake_boot();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
