/* SPDX-License-Identifier: MIT */
/*
 * Lines of printable ASCII for the loader's messages, built without allocation.
 *
 * Contexts: any, NMI included; pure code on the caller's buffer. No locks.
 * Requirements: DESIGN section 5 (a refusal is one line of printable ASCII, names escaped).
 */
#include "ldr/text.h"

#include <stdbool.h>

enum {
	ESCAPE_MAX = 4, /* \xNN */
	DIGITS_MAX = 20,
};

static const char digits[] = "0123456789abcdef";

void ldr_text_start(struct ldr_text *text, char *buffer, size_t size)
{
	*text = (struct ldr_text){.buffer = buffer, .size = size};
	if (size)
		buffer[0] = 0;
}

void ldr_text_bytes(struct ldr_text *text, const char *bytes, size_t length)
{
	size_t room = text->size ? text->size - 1 - text->length : 0;

	if (length > room)
		length = room;
	if (length == 0)
		return;
	__builtin_memcpy(text->buffer + text->length, bytes, length);
	text->length += length;
	text->buffer[text->length] = 0;
}

void ldr_text_add(struct ldr_text *text, const char *string)
{
	size_t length = 0;

	while (string[length])
		length++;
	ldr_text_bytes(text, string, length);
}

static void add_number(struct ldr_text *text, uint64_t value, unsigned int base)
{
	char reversed[DIGITS_MAX], number[DIGITS_MAX];
	size_t count = 0;

	do {
		reversed[count++] = digits[value % base];
		value /= base;
	} while (value);
	for (size_t i = 0; i < count; i++)
		number[i] = reversed[count - 1 - i];
	ldr_text_bytes(text, number, count);
}

void ldr_text_hex(struct ldr_text *text, uint64_t value)
{
	ldr_text_add(text, "0x");
	add_number(text, value, 16);
}

void ldr_text_decimal(struct ldr_text *text, uint64_t value)
{
	add_number(text, value, 10);
}

static size_t escape(char byte, char out[ESCAPE_MAX])
{
	unsigned char value = (unsigned char)byte;

	out[0] = byte;
	if (byte == '\\') {
		out[1] = byte;
		return 2;
	}
	if (value >= ' ' && value <= '~')
		return 1;
	out[0] = '\\';
	out[1] = 'x';
	out[2] = digits[value >> 4];
	out[3] = digits[value & 15];
	return ESCAPE_MAX;
}

void ldr_text_escaped(struct ldr_text *text, const char *bytes, size_t length, size_t most)
{
	static const char cut[] = "...";
	char one[ESCAPE_MAX];
	size_t total = 0, used = 0;
	bool whole;

	for (size_t i = 0; i < length && total <= most; i++)
		total += escape(bytes[i], one);
	whole = total <= most;
	if (!whole)
		most -= sizeof(cut) - 1;
	for (size_t i = 0; i < length; i++) {
		size_t width = escape(bytes[i], one);

		if (used + width > most)
			break;
		ldr_text_bytes(text, one, width);
		used += width;
	}
	if (!whole)
		ldr_text_add(text, cut);
}
