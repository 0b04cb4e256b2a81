// SPDX-License-Identifier: MIT
/* The loader on a host with little address space, and look-ups while images come and go. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_kernel.h"
#include "ldr/ldr_internal.h"
#include "pe_build.h"

static char message[400];
static struct image file;

static NTSTATUS load(const char *name, struct ldr_image **image)
{
	const struct ldr_request request = {.name = name,
					    .file = &file,
					    .size = sizeof(file),
					    .allow_missing = true,
					    .message = message,
					    .message_size = sizeof(message)};

	return ldr_image_load(&request, image);
}

static void no_address_space_at_all(void **state)
{
	(void)state;
	fake_reserve_limit = (size_t)1 << 28;
	assert_int_equal(ldr_arena_initialize(), STATUS_INSUFFICIENT_RESOURCES);
	fake_reserve_limit = (size_t)1 << 30;
	fake_boot();
}

static void def341_addresses_run_out(void **state)
{
	struct ldr_image *image, *previous = NULL;
	int loads = 0;
	NTSTATUS status;

	(void)state;
	image_build(&file);
	put32(&file, IMG_IMAGE_SIZE, 0x10000000); /* 256 MiB of 1 GiB */
	while (NT_SUCCESS(status = load("big.sys", &image))) {
		assert_true(!previous || image->base >= previous->base + previous->size);
		assert_int_equal(ldr_image_unload(image), STATUS_SUCCESS);
		previous = image;
		assert_true(++loads < 4);
	}
	assert_int_equal(status, STATUS_INSUFFICIENT_RESOURCES);
	assert_string_equal(message,
			    "big.sys: the address space for drivers is used up: load fewer "
			    "in one run");
	assert_int_equal(loads, 3);
	/* Smaller ones still fit. */
	image_build(&file);
	assert_int_equal(load("small.sys", &image), STATUS_SUCCESS);
	assert_int_equal(ldr_image_unload(image), STATUS_SUCCESS);
}

static _Atomic bool over;
static _Atomic uint64_t base_seen;

/* NMI handlers look up without a lock: every answer is an image that holds the address. */
static void *look_up(void *found)
{
	uint64_t *count = found;

	while (!atomic_load(&over)) {
		uint64_t address = atomic_load(&base_seen) + 0x10000 + (*count & 0x8fff);
		struct ldr_image *image = ldr_image_from_address(address);
		char where[64];

		if (image && (address - image->base >= image->size ||
			      strncmp(image->name, "small", 5) != 0 || image->section_count != 7))
			abort();
		if (image && ldr_address_format(address, where, sizeof(where)) < 10)
			abort();
		*count += 1;
	}
	return found;
}

static void lookups_need_no_lock(void **state)
{
	struct ldr_image *image;
	uint64_t count = 0;
	pthread_t thread;

	(void)state;
	image_build(&file);
	assert_int_equal(pthread_create(&thread, NULL, look_up, &count), 0);
	for (int i = 0; i < 300; i++) {
		assert_int_equal(load("small.sys", &image), STATUS_SUCCESS);
		atomic_store(&base_seen, image->base);
		assert_int_equal(ldr_image_unload(image), STATUS_SUCCESS);
	}
	atomic_store(&over, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(count > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_address_space_at_all),
		cmocka_unit_test(def341_addresses_run_out),
		cmocka_unit_test(lookups_need_no_lock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
