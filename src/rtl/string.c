/* SPDX-License-Identifier: MIT */
/*
 * string.c: texts of the core itself: bytes, UTF-8, UTF-16.
 *
 * Pure code: no locks, no allocation; any IRQL and NMI callbacks too.
 */
#include "rtl/rtl_internal.h"

#define REPLACEMENT 0xfffdu

size_t rtl_length(const char *text)
{
	size_t length = 0;
	while (text[length])
		length++;
	return length;
}

size_t rtl_wide_length(const WCHAR *text)
{
	size_t length = 0;
	while (text[length])
		length++;
	return length;
}

bool rtl_equal(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

static char fold(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool rtl_equal_nocase(const char *a, const char *b)
{
	while (*a && fold(*a) == fold(*b)) {
		a++;
		b++;
	}
	return fold(*a) == fold(*b);
}

void rtl_copy(char *to, size_t size, const char *from)
{
	if (!size)
		return;
	size_t i = 0;
	for (; i + 1 < size && from[i]; i++)
		to[i] = from[i];
	to[i] = 0;
}

/* ---- UTF-16 and UTF-8 ----------------------------------------------------------------------- */

size_t rtl_utf16_next(const WCHAR *text, size_t characters, uint32_t *point)
{
	uint32_t first = text[0];
	if (first < 0xd800 || first > 0xdfff) {
		*point = first;
		return 1;
	}
	if (first < 0xdc00 && characters > 1 && text[1] >= 0xdc00 && text[1] <= 0xdfff) {
		*point = 0x10000 + ((first - 0xd800) << 10) + (text[1] - 0xdc00u);
		return 2;
	}
	*point = REPLACEMENT;
	return 1;
}

size_t rtl_utf16_put(WCHAR units[2], uint32_t point)
{
	if (point < 0x10000) {
		units[0] = (WCHAR)point;
		return 1;
	}
	units[0] = (WCHAR)(0xd800 + ((point - 0x10000) >> 10));
	units[1] = (WCHAR)(0xdc00 + (point & 0x3ff));
	return 2;
}

size_t rtl_utf8_put(unsigned char bytes[4], uint32_t point)
{
	if (point < 0x80) {
		bytes[0] = (unsigned char)point;
		return 1;
	}
	if (point < 0x800) {
		bytes[0] = (unsigned char)(0xc0 | point >> 6);
		bytes[1] = (unsigned char)(0x80 | (point & 0x3f));
		return 2;
	}
	if (point < 0x10000) {
		bytes[0] = (unsigned char)(0xe0 | point >> 12);
		bytes[1] = (unsigned char)(0x80 | (point >> 6 & 0x3f));
		bytes[2] = (unsigned char)(0x80 | (point & 0x3f));
		return 3;
	}
	bytes[0] = (unsigned char)(0xf0 | point >> 18);
	bytes[1] = (unsigned char)(0x80 | (point >> 12 & 0x3f));
	bytes[2] = (unsigned char)(0x80 | (point >> 6 & 0x3f));
	bytes[3] = (unsigned char)(0x80 | (point & 0x3f));
	return 4;
}

size_t rtl_utf8_next(const char *text, size_t size, uint32_t *point)
{
	static const uint32_t lowest[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned char first = (unsigned char)text[0];
	size_t count;
	uint32_t value;
	*point = REPLACEMENT;
	if (first < 0x80) {
		*point = first;
		return 1;
	}
	if (first >= 0xc0 && first < 0xe0) {
		count = 2;
		value = first & 0x1f;
	} else if (first >= 0xe0 && first < 0xf0) {
		count = 3;
		value = first & 0x0f;
	} else if (first >= 0xf0 && first < 0xf8) {
		count = 4;
		value = first & 0x07;
	} else {
		return 1;
	}
	if (count > size)
		return 1;
	for (size_t i = 1; i < count; i++) {
		unsigned char next = (unsigned char)text[i];
		if ((next & 0xc0) != 0x80)
			return 1;
		value = value << 6 | (next & 0x3f);
	}
	if (value < lowest[count] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
		return 1;
	*point = value;
	return count;
}

size_t rtl_widen(WCHAR *to, size_t room, const char *from, size_t size)
{
	size_t units = 0;
	for (size_t i = 0; i < size;) {
		uint32_t point;
		WCHAR pair[2];
		i += rtl_utf8_next(from + i, size - i, &point);
		size_t count = rtl_utf16_put(pair, point);
		if (units + count <= room)
			memcpy(to + units, pair, count * sizeof(WCHAR));
		units += count;
	}
	return units;
}

size_t rtl_utf8(char *to, size_t size, const WCHAR *from, size_t characters)
{
	size_t needed = 0;
	size_t written = 0;
	for (size_t i = 0; i < characters;) {
		uint32_t point;
		unsigned char bytes[4];
		size_t units = rtl_utf16_next(from + i, characters - i, &point);
		if (units == 1 && from[i] >= 0xd800 && from[i] <= 0xdfff) {
			if (size)
				to[0] = 0;
			return (size_t)-1;
		}
		size_t count = rtl_utf8_put(bytes, point);
		if (needed == written && written + count < size) {
			memcpy(to + written, bytes, count);
			written += count;
		}
		needed += count;
		i += units;
	}
	if (size)
		to[written] = 0;
	return needed;
}

size_t rtl_narrow(char *to, size_t size, const WCHAR *from, size_t characters)
{
	static const char digits[] = "0123456789abcdef";
	size_t written = 0;
	for (size_t i = 0; i < characters; i++) {
		WCHAR unit = from[i];
		char text[6] = {'\\',
				'x',
				digits[unit >> 12],
				digits[unit >> 8 & 15],
				digits[unit >> 4 & 15],
				digits[unit & 15]};
		size_t count = 6;
		if (unit >= 0x20 &&
		    unit < 0x7f) { /* a backslash is not doubled: paths stay readable */
			text[0] = (char)unit;
			count = 1;
		}
		if (written + count >= size)
			break;
		memcpy(to + written, text, count);
		written += count;
	}
	if (size)
		to[written] = 0;
	return written;
}

int rtl_compare_unicode(const UNICODE_STRING *a, const UNICODE_STRING *b, bool ignore_case)
{
	size_t shorter = (a->Length < b->Length ? a->Length : b->Length) / sizeof(WCHAR);
	for (size_t i = 0; i < shorter; i++) {
		int first = a->Buffer[i];
		int second = b->Buffer[i];
		if (first == second)
			continue;
		if (ignore_case) {
			first = rtl_upcase((WCHAR)first);
			second = rtl_upcase((WCHAR)second);
		}
		if (first != second)
			return first - second;
	}
	return (int)a->Length - (int)b->Length;
}
