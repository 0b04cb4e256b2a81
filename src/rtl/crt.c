/* SPDX-License-Identifier: MIT */
/*
 * crt.c: memory and text functions that images import under their C names (DEF-313), and their Rtl
 * relatives.
 *
 * Pure code, no locks: any IRQL on resident memory, NMI too. The exported names belong to libc or
 * to the core's own convention, so the functions are called crt_* and the DDI table gives them
 * their names. A bad pointer below DISPATCH_LEVEL is an exception in the driver, at its call
 * (DDI_FAULT): nothing is held here.
 */
#include "rtl/rtl_internal.h"
#include <ntifs.h>

/* ---- Memory
 * -------------------------------------------------------------------------------------- */

void *NTAPI crt_memcpy(void *to, const void *from, size_t size)
{
	return memmove(to, from, size); /* drivers get away with overlap on Windows */
}

void *NTAPI crt_memset(void *to, int value, size_t size)
{
	return memset(to, value, size);
}

int NTAPI crt_memcmp(const void *a, const void *b, size_t size)
{
	return memcmp(a, b, size);
}

VOID NTAPI rtl_zero_memory(PVOID Destination, SIZE_T Length)
{
	memset(Destination, 0, Length);
}

VOID NTAPI rtl_fill_memory(PVOID Destination, SIZE_T Length, UCHAR Fill)
{
	memset(Destination, Fill, Length);
}

/* The number of equal leading bytes. (DEF-168) */
SIZE_T NTAPI RtlCompareMemory(const VOID *Source1, const VOID *Source2, SIZE_T Length)
{
	const unsigned char *one = Source1;
	const unsigned char *two = Source2;
	SIZE_T equal = 0;
	while (equal < Length && one[equal] == two[equal])
		equal++;
	return equal;
}

/* The number of leading bytes that are copies of the pattern; a multiple of 4. */
SIZE_T NTAPI RtlCompareMemoryUlong(PVOID Source, SIZE_T Length, ULONG Pattern)
{
	const ULONG *words = Source;
	SIZE_T equal = 0;
	while (equal < Length / sizeof(ULONG) && words[equal] == Pattern)
		equal++;
	return equal * sizeof(ULONG);
}

/* ---- Text of either width: bodies in crt_text.def
 * ------------------------------------------------- */

static int ascii_lower(int c)
{
	return c >= 'A' && c <= 'Z' ? c + 0x20 : c;
}

static int ascii_upper(int c)
{
	return c >= 'a' && c <= 'z' ? c - 0x20 : c;
}

#define CHARACTER          char
#define VALUE              unsigned char
#define NAME(narrow, wide) crt_##narrow
#include "rtl/crt_text.def"
#undef CHARACTER
#undef VALUE
#undef NAME

#define CHARACTER          WCHAR
#define VALUE              WCHAR
#define NAME(narrow, wide) crt_##wide
#include "rtl/crt_text.def"

/* Lengths that read no further than `size` characters. */
size_t NTAPI crt_strnlen(const char *text, size_t size)
{
	size_t n = 0;
	while (n < size && text[n])
		n++;
	return n;
}

size_t NTAPI crt_wcsnlen(const WCHAR *text, size_t size)
{
	size_t n = 0;
	while (n < size && text[n])
		n++;
	return n;
}

/* ---- Characters
 * ------------------------------------------------------------------------------------------ */

int NTAPI crt_tolower(int c)
{
	return ascii_lower(c);
}

int NTAPI crt_toupper(int c)
{
	return ascii_upper(c);
}

WCHAR NTAPI crt_towlower(WCHAR c)
{
	return rtl_downcase(c);
}

WCHAR NTAPI crt_towupper(WCHAR c)
{
	return rtl_upcase(c);
}

int NTAPI crt_isdigit(int c)
{
	return c >= '0' && c <= '9';
}

int NTAPI crt_isxdigit(int c)
{
	int lower = ascii_lower(c);
	return crt_isdigit(c) || (lower >= 'a' && lower <= 'f');
}

int NTAPI crt_isspace(int c)
{
	return c == ' ' || (c >= 9 && c <= 13);
}

int NTAPI crt_isprint(int c)
{
	return c >= 0x20 && c < 0x7f;
}

int NTAPI crt_isupper(int c)
{
	return c >= 'A' && c <= 'Z';
}

int NTAPI crt_islower(int c)
{
	return c >= 'a' && c <= 'z';
}
