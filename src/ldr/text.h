/* SPDX-License-Identifier: MIT */
/* Building one line of printable ASCII in a buffer of fixed size. Pure, as pe.h. What does not fit
 * is cut. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct ldr_text {
	char *buffer; /* always NUL-terminated, unless size is 0 */
	size_t size;
	size_t length;
};

void ldr_text_start(struct ldr_text *text, char *buffer, size_t size);
void ldr_text_add(struct ldr_text *text, const char *string);
void ldr_text_bytes(struct ldr_text *text, const char *bytes, size_t length);
void ldr_text_hex(struct ldr_text *text, uint64_t value); /* 0x1a2c */
void ldr_text_decimal(struct ldr_text *text, uint64_t value);

/*
 * Printable characters as they are, a backslash doubled, all others as \xNN. A name that takes more
 * than `most` characters (at least 8) is cut and ends in "...".
 */
void ldr_text_escaped(struct ldr_text *text, const char *bytes, size_t length, size_t most);
