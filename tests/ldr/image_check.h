/* SPDX-License-Identifier: MIT */
/* What the tests of the loader share: the PE tests' image, loaded and unloaded. */
#pragma once

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

static char message[2000]; /* of the last load */

/* Told by the last load. */
static struct ldr_missing seen[8];
static char seen_names[8][64];
static int seen_count;

static inline void see(void *context, const struct ldr_missing *missing)
{
	assert_ptr_equal(context, seen);
	if (seen_count < 8) {
		snprintf(seen_names[seen_count], 64, "%s!%s", missing->module, missing->name);
		seen[seen_count] = *missing;
	}
	seen_count++;
}

static inline void text_at(struct image *image, uint32_t rva, const char *text)
{
	strcpy((char *)image->bytes + image_offset(rva), text);
}

/* The image of the PE tests, with imports that all exist. */
static inline void loadable(struct image *image)
{
	image_build(image);
	put64(image, image_offset(LOOKUP_NT + 8), 0); /* no ordinal */
	put32(image, IMG_DIRECTORY(13), 0);           /* no delayed module */
}

/* The same with its delayed table: module!name. */
static inline void importing(struct image *image, const char *module, const char *name)
{
	image_build(image);
	put64(image, image_offset(LOOKUP_NT + 8), 0);
	text_at(image, MODULE_EXTRA, module);
	text_at(image, NAME_LATER + 2, name);
}

static inline NTSTATUS try_load(const struct image *image, const char *name, bool allow_missing,
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
	NTSTATUS status;

	seen_count = 0;
	status = ldr_image_load(&request, loaded);
	assert_int_equal(fake_lock_depth, 0);
	assert_int_equal(NT_SUCCESS(status), *loaded != NULL);
	return status;
}

static inline struct ldr_image *load(const struct image *image, const char *name)
{
	struct ldr_image *loaded;

	if (!NT_SUCCESS(try_load(image, name, false, &loaded)))
		fail_msg("%s", message);
	assert_string_equal(message, "");
	return loaded;
}

static inline void unload(struct ldr_image *image)
{
	assert_int_equal(ldr_image_unload(image), STATUS_SUCCESS);
	assert_int_equal(fake_lock_depth, 0);
}

static inline uint64_t u64_at(const struct ldr_image *image, uint32_t rva)
{
	uint64_t value;

	memcpy(&value, (const void *)(image->base + rva), sizeof(value));
	return value;
}
