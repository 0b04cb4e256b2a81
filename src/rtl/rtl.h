/* SPDX-License-Identifier: MIT */
/* rtl.h: strings, lists and formatting: pure code, callable at any IRQL, NMI too. */
#pragma once

#include <ntdef.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);

/*
 * Where a formatter takes its arguments from: a SysV va_list (our own code) or a Microsoft one
 * (drivers).
 */
struct rtl_arguments {
	bool microsoft;
	va_list sysv;
	__builtin_ms_va_list ms;
};

struct rtl_format_result {
	size_t length;   /* bytes the whole text needs, without the terminator */
	bool wide_used;  /* a %C %S %lc %ls %wc %ws %wZ was seen: PASSIVE_LEVEL only (PLT-55) */
	bool float_used; /* a floating point conversion was seen: not allowed, printed as '?' */
	bool invalid;    /* an unknown conversion was seen */
};

/*
 * The one formatter: the Microsoft kernel printf language (%d %i %u %x %X %o %c %s %p %I64x %I32d
 * %Iu %ll %h %l %w %Z %wZ %S %C, flags, width, precision, '*'). Never writes more than `size`
 * bytes, always terminates when size > 0.
 */
struct rtl_format_result rtl_format(char *buffer, size_t size, const char *format,
				    struct rtl_arguments *arguments);
/* The same for our own code; returns the bytes the text needs. */
size_t rtl_print(char *buffer, size_t size, const char *format, ...);
size_t rtl_vprint(char *buffer, size_t size, const char *format, va_list arguments);

/* Which Windows this is; the shared page says the same (DEF-47). */
#define RTL_VERSION_MAJOR 10
#define RTL_VERSION_MINOR 0
#define RTL_VERSION_BUILD 19045
#define RTL_VERSION_SUITE 0x100 /* single user terminal services */

size_t rtl_length(const char *text);
bool rtl_equal(const char *a, const char *b);           /* case-sensitive */
bool rtl_equal_nocase(const char *a, const char *b);    /* ASCII */
void rtl_copy(char *to, size_t size, const char *from); /* truncates, terminates */
/* The number at *at, at most `limit`, of at most `digits` digits of the base; *at goes behind it.
 */
bool rtl_number_read(const char **at, const char *end, unsigned base, unsigned digits,
		     uint64_t limit, uint64_t *value);
/* The address, in network order, that [at, end) is; false: it is none. */
bool rtl_address4_read(const char *at, const char *end, uint8_t bytes[4]);
bool rtl_address6_read(const char *at, const char *end, uint8_t bytes[16]);
/* UTF-16 to printable ASCII with escapes (\xNNNN) and back; for messages and host names.
 * Terminates. */
size_t rtl_narrow(char *to, size_t size, const WCHAR *from, size_t characters);
size_t rtl_utf8(char *to, size_t size, const WCHAR *from,
		size_t characters); /* strict; (size_t)-1 on bad UTF-16 */
/* The UTF-16 units of a UTF-8 text; writes those that fit. Does not terminate. */
size_t rtl_widen(WCHAR *to, size_t room, const char *from, size_t size);
WCHAR rtl_upcase(WCHAR character);
int rtl_compare_unicode(const UNICODE_STRING *a, const UNICODE_STRING *b, bool ignore_case);
