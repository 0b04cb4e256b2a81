/* SPDX-License-Identifier: MIT */
/* rtl_internal.h: what the files of rtl share: the formatting engine under both output widths,
 * UTF-8, case. */
#pragma once

#include "rtl/rtl.h"

/* Where text goes: at most `room` units of 1 byte or (wide) 2 bytes; `length` counts what the text
 * needs. */
struct rtl_output {
	void *buffer;
	size_t room;
	size_t length;
	bool wide;
};

/*
 * The engine: the Microsoft printf language from a format of bytes or (format_wide) UTF-16. In a
 * wide format the meanings of %s %c and %S %C are exchanged, as documented. Terminates nothing.
 */
struct rtl_format_result rtl_format_run(struct rtl_output *output, const void *format,
					bool format_wide, struct rtl_arguments *arguments);

/* The next character of a UTF-16 text of `characters` (> 0) units: stores the code point, returns
 * the units it took. A lone surrogate gives U+FFFD. */
size_t rtl_utf16_next(const WCHAR *text, size_t characters, uint32_t *point);
/* Encode a code point: returns the bytes written to `bytes` (1 to 4). */
size_t rtl_utf8_put(unsigned char bytes[4], uint32_t point);
/* The next character of a UTF-8 text of `size` (> 0) bytes: stores the code point, returns the
 * bytes it took. Bytes that are not UTF-8 give U+FFFD, one for one byte. */
size_t rtl_utf8_next(const char *text, size_t size, uint32_t *point);
/* Encode a code point as UTF-16: returns the units written (1 or 2). */
size_t rtl_utf16_put(WCHAR units[2], uint32_t point);

/* The value of a digit of base 16, or more. */
unsigned rtl_digit(unsigned c);
/* An address in text to a driver's buffer of bytes or (wide) UTF-16; returns its terminator. */
void *rtl_address_put(const char *text, bool wide, void *to);
/* *room: in characters with terminator, in and out. STATUS_INVALID_PARAMETER: it is too small. */
NTSTATUS rtl_address_put_counted(const char *text, bool wide, void *to, ULONG *room);

WCHAR rtl_downcase(WCHAR character);
size_t rtl_wide_length(const WCHAR *text);

/* ---- Between format.c, which reads the format, and format_convert.c, which writes the values ----
 */

enum format_size { SIZE_DEFAULT, SIZE_BYTE, SIZE_SHORT, SIZE_LONG, SIZE_WIDE, SIZE_32, SIZE_64 };

struct format_spec {
	bool left, plus, space, alternate, zero;
	size_t width;
	size_t precision;
	bool has_precision;
	enum format_size size;
};

struct format_state {
	struct rtl_output *out;
	const void *format;
	bool format_wide;
	struct rtl_arguments *arguments;
	struct rtl_format_result result;
};

uint32_t format_next_32(struct rtl_arguments *arguments);
uint64_t format_next_64(struct rtl_arguments *arguments);
void format_put(struct rtl_output *out, unsigned unit);
/* Write the conversion whose letter is `letter`. */
void format_convert(struct format_state *state, struct format_spec *spec, unsigned letter);
