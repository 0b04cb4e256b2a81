/* SPDX-License-Identifier: MIT */
/* string_test: the core's own texts: UTF-8, UTF-16, escapes, case. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "rtl/rtl_internal.h"

static size_t units(const WCHAR *text)
{
	return rtl_wide_length(text);
}

static void copies_truncate_and_terminate(void **state)
{
	(void)state;
	char to[4] = "~~~";
	rtl_copy(to, sizeof(to), "abcdef");
	assert_string_equal(to, "abc");
	rtl_copy(to, 1, "x");
	assert_string_equal(to, "");
	to[0] = '~';
	rtl_copy(to, 0, "x");
	assert_int_equal(to[0], '~');
	assert_true(rtl_equal("", "") && rtl_equal("ab", "ab"));
	assert_false(rtl_equal("ab", "abc") || rtl_equal("abc", "ab") || rtl_equal("a", "A"));
	assert_true(rtl_equal_nocase("NtOsKrnl.EXE", "ntoskrnl.exe"));
	assert_false(rtl_equal_nocase("hal.dll", "hal.dl") || rtl_equal_nocase("@", "`"));
}

static void utf8_of_utf16(void **state)
{
	(void)state;
	char to[16];
	assert_int_equal(rtl_utf8(to, sizeof(to), L"a\u00e9\u20ac\U0001f600", 5), 10);
	assert_string_equal(to, "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	assert_int_equal(rtl_utf8(to, 3, L"a\u20ac", 2), 4); /* the need; no half character */
	assert_string_equal(to, "a");
	static const WCHAR lone[][2] = {{0xd800, 'a'}, {0xdc00, 'a'}, {'a', 0xdbff}};
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(rtl_utf8(to, sizeof(to), lone[i], 2), (size_t)-1);
	assert_int_equal(rtl_utf8(NULL, 0, L"abc", 3), 3);
}

/* Every code point there and back; every other start of a sequence gives one replacement. */
static void utf8_round_trip(void **state)
{
	(void)state;
	for (uint32_t point = 1; point < 0x110000; point++) {
		unsigned char bytes[4];
		WCHAR pair[2];
		uint32_t back;
		if (point >= 0xd800 && point < 0xe000)
			continue;
		size_t size = rtl_utf8_put(bytes, point);
		assert_int_equal(rtl_utf8_next((char *)bytes, size, &back), size);
		assert_int_equal(back, point);
		assert_int_equal(rtl_utf8_next((char *)bytes, size - (size > 1), &back),
				 1); /* cut */
		assert_int_equal(back, size > 1 ? 0xfffd : point);
		size_t count = rtl_utf16_put(pair, point);
		assert_int_equal(rtl_utf16_next(pair, count, &back), count);
		assert_int_equal(back, point);
	}
	static const char *const bad[] = {"\x80",         "\xc0\x80",         "\xe0\x80\x80",
					  "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint32_t point;
		assert_int_equal(rtl_utf8_next(bad[i], strlen(bad[i]), &point), 1);
		assert_int_equal(point, 0xfffd);
	}
}

static void narrow_is_printable_ascii(void **state)
{
	(void)state;
	char to[16];
	assert_int_equal(rtl_narrow(to, sizeof(to), L"\\Device\\x", 9), 9);
	assert_string_equal(to, "\\Device\\x");
	assert_int_equal(rtl_narrow(to, sizeof(to), L"a\n\u20ac", 3), 13);
	assert_string_equal(to, "a\\x000a\\x20ac");
	assert_int_equal(rtl_narrow(to, 8, L"ab\n\n", 4), 2); /* no escape is cut */
	assert_string_equal(to, "ab");
}

static void case_maps_back(void **state)
{
	(void)state;
	unsigned changed = 0;
	for (unsigned c = 0; c < 0x10000; c++) {
		WCHAR upper = rtl_upcase((WCHAR)c);
		if (upper == c)
			continue;
		changed++;
		assert_int_equal(rtl_upcase(upper), upper);
		if (c != 0x3c2) /* final sigma */
			assert_int_equal(rtl_downcase(upper), c);
	}
	assert_in_range(changed, 1000, 1500);
	assert_int_equal(rtl_upcase('a'), 'A');
	assert_int_equal(rtl_upcase(0xff), 0x178);
	assert_int_equal(rtl_upcase(0x131), 0x131); /* dotless i */
	assert_int_equal(rtl_upcase(0xb5), 0xb5);
	assert_int_equal(rtl_upcase(0x3c2), 0x3a3);
	assert_int_equal(rtl_upcase(0xff41), 0xff21);
}

static void comparing(void **state)
{
	(void)state;
	struct {
		const WCHAR *a, *b;
		int exact, folded; /* signs */
	} rows[] = {
		{L"", L"", 0, 0},
		{L"a", L"", 1, 1},
		{L"a", L"A", 1, 0},
		{L"abc", L"ABD", 1, -1},
		{L"\u00e9x", L"\u00c9", 1, 1},
		{L"ab", L"abc", -1, -1},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		UNICODE_STRING a = {(USHORT)(units(rows[i].a) * 2), 0, (WCHAR *)rows[i].a};
		UNICODE_STRING b = {(USHORT)(units(rows[i].b) * 2), 0, (WCHAR *)rows[i].b};
		int exact = rtl_compare_unicode(&a, &b, false),
		    folded = rtl_compare_unicode(&a, &b, true);
		assert_int_equal((exact > 0) - (exact < 0), rows[i].exact);
		assert_int_equal((folded > 0) - (folded < 0), rows[i].folded);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_truncate_and_terminate),
		cmocka_unit_test(utf8_of_utf16),
		cmocka_unit_test(utf8_round_trip),
		cmocka_unit_test(narrow_is_printable_ascii),
		cmocka_unit_test(case_maps_back),
		cmocka_unit_test(comparing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
