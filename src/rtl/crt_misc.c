/* SPDX-License-Identifier: MIT */
/*
 * crt_misc.c: numbers in text, sorting and searching, under the C names that images import
 * (DEF-313).
 *
 * Pure code, no locks; any IRQL on resident memory. LONG and ULONG are 32 bit, as in the drivers
 * that call.
 */
#include "rtl/rtl_internal.h"

static bool is_space(char c)
{
	return c == ' ' || (c >= 9 && c <= 13);
}

static unsigned digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'a' && c <= 'z')
		return (unsigned)(c - 'a' + 10);
	if (c >= 'A' && c <= 'Z')
		return (unsigned)(c - 'A' + 10);
	return 99;
}

struct number {
	uint64_t value;
	bool negative;
	const char *end;
};

/* A number of at most 32 bits: anything above stays at 2^32. Base 0: by prefix. */
static struct number read_number(const char *text, unsigned base)
{
	struct number number = {.end = text};
	while (is_space(*text))
		text++;
	number.negative = *text == '-';
	if (*text == '-' || *text == '+')
		text++;
	bool hexadecimal = text[0] == '0' && (text[1] | 0x20) == 'x' && digit_value(text[2]) < 16;
	if ((base == 0 || base == 16) && hexadecimal) {
		base = 16;
		text += 2;
	} else if (base == 0) {
		base = *text == '0' ? 8 : 10;
	}
	for (; digit_value(*text) < base; text++) {
		number.value = number.value * base + digit_value(*text);
		if (number.value >> 32)
			number.value = (uint64_t)1 << 32;
		number.end = text + 1;
	}
	return number;
}

/* 0xFFFFFFFF when it is too large. */
ULONG NTAPI crt_strtoul(const char *text, char **end, int base)
{
	struct number number = read_number(text, (unsigned)base);
	if (end)
		*end = (char *)number.end;
	if (number.value >> 32)
		return 0xffffffffu;
	return number.negative ? 0 - (ULONG)number.value : (ULONG)number.value;
}

/* The nearest that a LONG can hold when it is too large. */
LONG NTAPI crt_strtol(const char *text, char **end, int base)
{
	struct number number = read_number(text, (unsigned)base);
	if (end)
		*end = (char *)number.end;
	if (number.negative)
		return number.value > 0x80000000u ? INT32_MIN : (LONG)(0 - (uint32_t)number.value);
	return number.value > 0x7fffffffu ? INT32_MAX : (LONG)number.value;
}

int NTAPI crt_atoi(const char *text)
{
	return crt_strtol(text, NULL, 10);
}

/* ---- Sorting and searching
 * ---------------------------------------------------------------------------- */

typedef int(NTAPI *crt_compare)(const void *one, const void *two);

static void swap(char *one, char *two, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		char kept = one[i];
		one[i] = two[i];
		two[i] = kept;
	}
}

/* Let the element at `root` sink to its place in the heap of the first `count`. */
static void sink(char *base, size_t root, size_t count, size_t size, crt_compare compare)
{
	for (;;) {
		size_t child = 2 * root + 1;
		if (child >= count)
			return;
		if (child + 1 < count &&
		    compare(base + child * size, base + (child + 1) * size) < 0)
			child++;
		if (compare(base + root * size, base + child * size) >= 0)
			return;
		swap(base + root * size, base + child * size, size);
		root = child;
	}
}

/* A heap sort: no recursion on a kernel stack, and no bad cases. Equal elements in any order, as
 * documented. */
void NTAPI crt_qsort(void *base, size_t count, size_t size, crt_compare compare)
{
	if (count < 2)
		return;
	for (size_t root = count / 2; root-- > 0;)
		sink(base, root, count, size, compare);
	for (size_t last = count - 1; last > 0; last--) {
		swap(base, (char *)base + last * size, size);
		sink(base, 0, last, size, compare);
	}
}

void *NTAPI crt_bsearch(const void *key, const void *base, size_t count, size_t size,
			crt_compare compare)
{
	const char *elements = base;
	while (count) {
		const char *middle = elements + count / 2 * size;
		int order = compare(key, middle);
		if (!order)
			return (void *)middle;
		if (order > 0) {
			elements = middle + size;
			count -= count / 2 + 1;
		} else {
			count /= 2;
		}
	}
	return NULL;
}
