/* SPDX-License-Identifier: MIT */
/*
 * format_test: the printf language (PLT-55), from both kinds of argument lists and to both widths.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "rtl/rtl_internal.h"

static struct rtl_format_result last;
static char text[256];

__attribute__((ms_abi)) static void run_ms(size_t size, const char *format, ...)
{
	struct rtl_arguments arguments = {.microsoft = true};
	__builtin_ms_va_start(arguments.ms, format);
	memset(text, '~', sizeof(text));
	last = rtl_format(text, size, format, &arguments);
	__builtin_ms_va_end(arguments.ms);
}

static void run_sysv(size_t size, const char *format, ...)
{
	struct rtl_arguments arguments = {.microsoft = false};
	va_start(arguments.sysv, format);
	memset(text, '~', sizeof(text));
	last = rtl_format(text, size, format, &arguments);
	va_end(arguments.sysv);
}

__attribute__((ms_abi)) static void run_wide(const WCHAR *format, ...)
{
	struct rtl_arguments arguments = {.microsoft = true};
	WCHAR wide[128];
	struct rtl_output out = {.buffer = wide, .room = 127, .wide = true};
	__builtin_ms_va_start(arguments.ms, format);
	last = rtl_format_run(&out, format, true, &arguments);
	__builtin_ms_va_end(arguments.ms);
	wide[out.length < 127 ? out.length : 127] = 0;
	rtl_utf8(text, sizeof(text), wide, out.length);
}

#define CHECK(expected, ...)                                                                       \
	do {                                                                                       \
		run_ms(sizeof(text), __VA_ARGS__);                                                 \
		assert_string_equal(text, expected);                                               \
		assert_int_equal(last.length, strlen(expected));                                   \
		run_sysv(sizeof(text), __VA_ARGS__);                                               \
		assert_string_equal(text, expected);                                               \
		assert_int_equal(last.length, strlen(expected));                                   \
	} while (0)

#define CHECK_WIDE(expected, ...)                                                                  \
	do {                                                                                       \
		run_wide(__VA_ARGS__);                                                             \
		assert_string_equal(text, expected);                                               \
	} while (0)

static void plt55_integers(void **state)
{
	(void)state;
	CHECK("0", "%d", 0);
	CHECK("-1", "%d", -1);
	CHECK("-2147483648", "%d", INT32_MIN);
	CHECK("2147483647", "%i", INT32_MAX);
	CHECK("4294967295", "%u", UINT32_MAX);
	CHECK("ffffffff", "%x", UINT32_MAX);
	CHECK("DEADBEEF", "%X", 0xdeadbeefu);
	CHECK("777", "%o", 0777);
	CHECK("0x1f", "%#x", 0x1f);
	CHECK("0X1F", "%#X", 0x1f);
	CHECK("0", "%#x", 0);
	CHECK("017", "%#o", 017);
	CHECK("0", "%#o", 0);
	CHECK("+5", "%+d", 5);
	CHECK(" 5", "% d", 5);
	CHECK("+5", "%+ d", 5);
	CHECK("-5", "%+d", -5);
	CHECK("5", "%+u", 5u);
}

static void plt55_sizes(void **state)
{
	(void)state;
	CHECK("9223372036854775807", "%I64d", INT64_MAX);
	CHECK("-9223372036854775808", "%lld", INT64_MIN);
	CHECK("18446744073709551615", "%I64u", UINT64_MAX);
	CHECK("123456789abcdef0", "%I64x", 0x123456789abcdef0);
	CHECK("123456789ABCDEF0", "%llX", 0x123456789abcdef0);
	CHECK("12345678", "%I32x", 0x12345678);
	CHECK("123456789abcdef0", "%Ix", 0x123456789abcdef0);
	CHECK("18446744073709551615", "%Iu", UINT64_MAX);
	CHECK("18446744073709551615", "%zu", UINT64_MAX);
	CHECK("-2", "%hd", 0x1fffe);
	CHECK("65534", "%hu", 0x1fffe);
	CHECK("-2", "%hhd", 0x1fe);
	CHECK("fe", "%hhx", 0x1fe);
	CHECK("-1", "%ld", -1); /* long is 32 bit */
	CHECK("ffffffff 7", "%lx %d", UINT32_MAX, 7);
	CHECK("7 8 9", "%I64d %d %ld", (int64_t)7, 8, 9);
}

static void plt55_width_precision(void **state)
{
	(void)state;
	CHECK("   42", "%5d", 42);
	CHECK("42   |", "%-5d|", 42);
	CHECK("00042", "%05d", 42);
	CHECK("-0042", "%05d", -42);
	CHECK("+0042", "%+05d", 42);
	CHECK("0x002a", "%#06x", 42);
	CHECK("42   |", "%-05d|", 42);
	CHECK("  042", "%5.3d", 42);
	CHECK("  042", "%05.3d", 42); /* a precision switches the zero flag off */
	CHECK("042  |", "%-5.3d|", 42);
	CHECK("", "%.0d", 0);
	CHECK("  ", "%2.0x", 0);
	CHECK("1", "%.0d", 1);
	CHECK("   42", "%*d", 5, 42);
	CHECK("42   |", "%*d|", -5, 42);
	CHECK("0042", "%.*d", 4, 42);
	CHECK("42", "%.*d", -1, 42);
	CHECK("  0042", "%*.*d", 6, 4, 42);
	CHECK("1234567", "%3d", 1234567);
}

static void plt55_pointers(void **state)
{
	(void)state;
	CHECK("0000000000000000", "%p", NULL);
	CHECK("FFFFF78000000014", "%p", (void *)0xfffff78000000014);
	CHECK("    00000000DEADBEEF", "%20p", (void *)0xdeadbeef);
	CHECK("00000000DEADBEEF    |", "%-20p|", (void *)0xdeadbeef);
}

static void plt55_narrow_text(void **state)
{
	(void)state;
	CHECK("", "");
	CHECK("plain", "plain");
	CHECK("100%", "100%%");
	CHECK("[abc]", "[%s]", "abc");
	CHECK("[   abc]", "[%6s]", "abc");
	CHECK("[abc   ]", "[%-6s]", "abc");
	CHECK("[ab]", "[%.2s]", "abc");
	CHECK("[   ab]", "[%5.2s]", "abc");
	CHECK("[]", "[%.0s]", "abc");
	CHECK("[a]", "[%c]", 'a');
	CHECK("[  a]", "[%3c]", 'a');
	CHECK("(null)", "%s", NULL);
	CHECK("(nul", "%.4s", NULL);
	CHECK("abc", "%hs", "abc");
	CHECK("abc", "%hS", "abc");
	/* A precision bounds what is read: no terminator needed. */
	static const char unterminated[3] = {'x', 'y', 'z'};
	CHECK("xyz", "%.3s", unterminated);
	assert_false(last.wide_used);
	/* %c of 0 counts. */
	run_ms(sizeof(text), "a%cb", 0);
	assert_int_equal(last.length, 3);
	assert_memory_equal(text, "a\0b", 4);
}

static void plt55_wide_text_is_noted(void **state)
{
	(void)state;
	UNICODE_STRING unicode = {.Length = 6, .MaximumLength = 6, .Buffer = (WCHAR *)L"ketch"};
	ANSI_STRING ansi = {.Length = 3, .MaximumLength = 3, .Buffer = (char *)"ketch"};
	UNICODE_STRING empty = {0};
	CHECK("[ketch]", "[%S]", L"ketch");
	assert_true(last.wide_used);
	CHECK("[ketch]", "[%ls]", L"ketch");
	assert_true(last.wide_used);
	CHECK("[ketch]", "[%ws]", L"ketch");
	assert_true(last.wide_used);
	CHECK("[ket]", "[%wZ]", &unicode);
	assert_true(last.wide_used);
	CHECK("[  ket]", "[%5wZ]", &unicode);
	CHECK("[ket  ]", "[%-5wZ]", &unicode);
	CHECK("[ke]", "[%.2wZ]", &unicode);
	CHECK("[k]", "[%C]", L'k');
	assert_true(last.wide_used);
	CHECK("[k]", "[%lc]", L'k');
	assert_true(last.wide_used);
	CHECK("[k]", "[%wc]", L'k');
	assert_true(last.wide_used);
	CHECK("[ket]", "[%Z]", &ansi);
	assert_false(last.wide_used);
	CHECK("(null)", "%wZ", &empty);
	CHECK("(null)", "%wZ", NULL);
	CHECK("(null)", "%Z", NULL);
	CHECK("(null)", "%S", NULL);
	/* The ANSI code page is UTF-8. */
	CHECK("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "%S", L"\u00e9\u20ac\U0001f600");
	CHECK("\xef\xbf\xbd|", "%S|", L"\xd800");
	/* A precision counts bytes of output and cuts no character in two. */
	CHECK("a", "%.2S", L"a\u00e9");
	CHECK("a\xc3\xa9", "%.3S", L"a\u00e9");
}

static void plt55_no_floating_point(void **state)
{
	(void)state;
	CHECK("? 7", "%f %d", 1.5, 7);
	assert_true(last.float_used);
	CHECK("? 7", "%10.3e %d", 1.5, 7);
	CHECK("? 7 x", "%g %d %s", 1.5, 7, "x");
	CHECK("7", "%d", 7);
	assert_false(last.float_used);
}

static void plt55_unknown_conversions(void **state)
{
	(void)state;
	CHECK("y", "%y");
	assert_true(last.invalid);
	CHECK("a", "a%");
	assert_true(last.invalid);
	CHECK("a", "a%-05.3l");
	assert_true(last.invalid);
	int written = 77;
	CHECK("ab 5", "a%nb %d", &written, 5);
	assert_int_equal(written, 77);
	assert_true(last.invalid);
	CHECK("%", "%%");
	assert_false(last.invalid);
}

static void plt55_never_writes_more_than_size(void **state)
{
	(void)state;
	run_ms(4, "%s", "abcdef");
	assert_memory_equal(text, "abc\0~", 5);
	assert_int_equal(last.length, 6);
	run_ms(1, "%d", 12345);
	assert_memory_equal(text, "\0~", 2);
	assert_int_equal(last.length, 5);
	run_ms(0, "%d", 12345);
	assert_memory_equal(text, "~", 1);
	assert_int_equal(last.length, 5);
	run_ms(4, "%2147483647d|", 1);
	assert_memory_equal(text, "   \0~", 5);
	assert_int_equal(last.length, 0x80000000u);
	run_ms(4, "%99999999999999999999d", 1);
	assert_int_equal(last.length, 0x7fffffffu);
	run_ms(4, "%S", L"\u20ac\u20ac"); /* room for one character of three bytes */
	assert_memory_equal(text, "\xe2\x82\xac\0~", 5);
	assert_int_equal(last.length, 6);
}

/* More arguments than registers: both conventions take them from the stack. */
static void plt55_many_arguments(void **state)
{
	(void)state;
	CHECK("1 2 3 4 5 6 7 8 9 a", "%d %d %d %d %d %d %d %I64d %d %s", 1, 2, 3, 4, 5, 6, 7,
	      (int64_t)8, 9, "a");
}

static void def313_wide_format_exchanges_text_widths(void **state)
{
	(void)state;
	UNICODE_STRING unicode = {.Length = 6, .MaximumLength = 6, .Buffer = (WCHAR *)L"ketch"};
	CHECK_WIDE("ketch", L"%s", L"ketch");
	CHECK_WIDE("ketch", L"%S", "ketch");
	CHECK_WIDE("ketch", L"%hs", "ketch");
	CHECK_WIDE("ketch", L"%ws", L"ketch");
	CHECK_WIDE("ket", L"%wZ", &unicode);
	CHECK_WIDE("k-k", L"%c-%C", L'k', 'k');
	CHECK_WIDE("0x00ff -1", L"%#06x %d", 255, -1);
	CHECK_WIDE("  ke", L"%4.2s", L"ketch");
	CHECK_WIDE("\xe2\x82\xac", L"%S", "\xe2\x82\xac");
	CHECK_WIDE("\xef\xbf\xbd", L"%S", "\xff");
	CHECK_WIDE("(null)", L"%s", NULL);
}

static void own_print_returns_the_need(void **state)
{
	(void)state;
	char small[4];
	assert_int_equal(rtl_print(small, sizeof(small), "%s-%u", "ab", 17u), 5);
	assert_string_equal(small, "ab-");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plt55_integers),
		cmocka_unit_test(plt55_sizes),
		cmocka_unit_test(plt55_width_precision),
		cmocka_unit_test(plt55_pointers),
		cmocka_unit_test(plt55_narrow_text),
		cmocka_unit_test(plt55_wide_text_is_noted),
		cmocka_unit_test(plt55_no_floating_point),
		cmocka_unit_test(plt55_unknown_conversions),
		cmocka_unit_test(plt55_never_writes_more_than_size),
		cmocka_unit_test(plt55_many_arguments),
		cmocka_unit_test(def313_wide_format_exchanges_text_widths),
		cmocka_unit_test(own_print_returns_the_need),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
