/* SPDX-License-Identifier: MIT */
/* What the tests of the PE reader share: spoil a field, expect exactly this refusal. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ldr/pe.h"
#include "pe_build.h"

struct spoiled {
	uint32_t offset; /* in the file */
	int width;       /* bytes: 2, 4, 8 */
	uint64_t value;
	const char *message;
};

/* A copy of exactly `size` bytes, so that the sanitizers see a read past the end. */
static inline void *exact_copy(const struct image *image, size_t size)
{
	void *copy = malloc(size ? size : 1);

	assert_non_null(copy);
	memcpy(copy, image->bytes, size);
	return copy;
}

static inline void spoil(struct image *image, const struct spoiled *what)
{
	switch (what->width) {
	case 2:
		put16(image, what->offset, (uint16_t)what->value);
		break;
	case 4:
		put32(image, what->offset, (uint32_t)what->value);
		break;
	case 8:
		put64(image, what->offset, what->value);
		break;
	default:
		fail_msg("width %d", what->width);
	}
}

static inline void expect_message(const struct ldr_pe_error *error, const char *message)
{
	char line[LDR_PE_ERROR_MAX + 1];

	ldr_pe_error_format(error, "bad.sys", line, sizeof(line));
	assert_string_equal(line, message);
}

/* Reads one part of an image; false: refused. */
typedef bool reader(const struct ldr_pe *pe, struct ldr_pe_error *error);

/* Each row spoils a fresh image; it opens, and `read` refuses it. read 0: it does not open. */
static inline void expect_refusals(const struct spoiled *rows, size_t count, reader *read)
{
	for (size_t i = 0; i < count; i++) {
		struct image image;
		struct ldr_pe pe;
		struct ldr_pe_error error;
		void *file;
		bool good;

		image_build(&image);
		spoil(&image, &rows[i]);
		file = exact_copy(&image, sizeof(image));
		good = ldr_pe_open(&pe, file, sizeof(image), &error);
		if (read) {
			if (!good)
				expect_message(&error, "(the image opens)");
			good = read(&pe, &error);
		}
		if (good)
			fail_msg("row %zu was accepted: %s", i, rows[i].message);
		expect_message(&error, rows[i].message);
		free(file);
	}
}

#define EXPECT_REFUSALS(rows, read) expect_refusals(rows, sizeof(rows) / sizeof((rows)[0]), read)

/* The valid image, opened. */
static inline void open_valid(struct image *image, struct ldr_pe *pe)
{
	struct ldr_pe_error error;

	image_build(image);
	if (!ldr_pe_open(pe, image->bytes, sizeof(image->bytes), &error))
		expect_message(&error, "(the image opens)");
}

static inline void expect_text(struct ldr_pe_text text, const char *expected)
{
	assert_int_equal(text.length, strlen(expected));
	assert_memory_equal(text.bytes, expected, text.length);
}
