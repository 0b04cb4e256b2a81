/* SPDX-License-Identifier: MIT */
/* Counted strings, conversions, the CRT exports, times, bit maps, addresses (DEF-78, DEF-135,
 * DEF-212..216, DEF-313). */
#include "check.h"
#include <crt/ctype.h>
#include <crt/stdio.h>
#include <crt/stdlib.h>
#include <crt/string.h>
#include <ip2string.h>

static BOOLEAN is(PCUNICODE_STRING string, PCWSTR text)
{
	UNICODE_STRING wanted;
	RtlInitUnicodeString(&wanted, text);
	return RtlEqualUnicodeString(string, &wanted, FALSE);
}

static void unicode(void)
{
	UNICODE_STRING a, b, room;
	WCHAR buffer[8];

	RtlInitUnicodeString(&a, L"Ketch");
	CHECK(a.Length == 10 && a.MaximumLength == 12 && a.Buffer[0] == 'K',
	      "DEF-135 RtlInitUnicodeString");
	RtlInitUnicodeString(&b, NULL);
	CHECK(!b.Length && !b.MaximumLength && !b.Buffer, "DEF-135 RtlInitUnicodeString of NULL");
	RtlInitEmptyUnicodeString(&room, buffer, sizeof(buffer));
	RtlCopyUnicodeString(&room, &a);
	CHECK(room.Length == 10 && is(&room, L"Ketch") && !buffer[5],
	      "DEF-280 RtlCopyUnicodeString terminates");
	room.MaximumLength = 6;
	RtlCopyUnicodeString(&room, &a);
	CHECK(room.Length == 6 && is(&room, L"Ket"), "DEF-280 RtlCopyUnicodeString truncates");
	RtlCopyUnicodeString(&room, NULL);
	CHECK(room.Length == 0, "DEF-280 RtlCopyUnicodeString of NULL");
	room.MaximumLength = sizeof(buffer);
	CHECK(NT_SUCCESS(RtlAppendUnicodeStringToString(&room, &a)), "DEF-279 append");
	CHECK(RtlAppendUnicodeToString(&room, L"1234") == STATUS_BUFFER_TOO_SMALL &&
		      room.Length == 10,
	      "DEF-279 append that does not fit");
	CHECK(NT_SUCCESS(RtlAppendUnicodeToString(&room, L"123")) && is(&room, L"Ketch123"),
	      "DEF-279 append fills");
	RtlInitUnicodeString(&b, L"kETCH one");
	CHECK(RtlPrefixUnicodeString(&a, &b, TRUE) && !RtlPrefixUnicodeString(&a, &b, FALSE),
	      "RtlPrefixUnicodeString");
	CHECK(RtlCompareUnicodeString(&a, &b, TRUE) < 0,
	      "RtlCompareUnicodeString: the shorter first");
	CHECK(RtlUpcaseUnicodeChar(0xe9) == 0xc9 && RtlUpcaseUnicodeChar(0x451) == 0x401 &&
		      RtlDowncaseUnicodeChar(0xc9) == 0xe9,
	      "case beyond ASCII");
	ULONG hash = 0, other = 0;
	RtlInitUnicodeString(&a, L"KETCH ONE");
	RtlHashUnicodeString(&a, TRUE, 0, &hash);
	RtlHashUnicodeString(&b, TRUE, 1, &other);
	CHECK(hash && hash == other, "RtlHashUnicodeString without case");
}

static void ansi(void)
{
	ANSI_STRING narrow, back;
	UNICODE_STRING wide;
	WCHAR small[3];

	RtlInitAnsiString(&narrow, "ketch");
	CHECK(narrow.Length == 5 && narrow.MaximumLength == 6, "DEF-216 RtlInitAnsiString");
	CHECK(NT_SUCCESS(RtlAnsiStringToUnicodeString(&wide, &narrow, TRUE)) &&
		      is(&wide, L"ketch") && wide.MaximumLength == 12 && !wide.Buffer[5],
	      "DEF-212 RtlAnsiStringToUnicodeString");
	CHECK(NT_SUCCESS(RtlUnicodeStringToAnsiString(&back, &wide, TRUE)) &&
		      !strcmp(back.Buffer, "ketch"),
	      "RtlUnicodeStringToAnsiString");
	RtlFreeAnsiString(&back);
	RtlFreeUnicodeString(&wide);
	CHECK(!wide.Buffer && !wide.Length, "DEF-214 RtlFreeUnicodeString zeroes");
	RtlInitEmptyUnicodeString(&wide, small, sizeof(small));
	CHECK(RtlAnsiStringToUnicodeString(&wide, &narrow, FALSE) == STATUS_BUFFER_OVERFLOW,
	      "DEF-212 too small");
}

static void numbers(void)
{
	UNICODE_STRING text;
	WCHAR buffer[40];
	ULONG value = 0;
	GUID guid = {0x01234567, 0x89ab, 0xcdef, {1, 2, 3, 4, 5, 6, 7, 8}}, parsed;

	RtlInitUnicodeString(&text, L"  -0x1F rest");
	CHECK(NT_SUCCESS(RtlUnicodeStringToInteger(&text, 0, &value)) && value == (ULONG)-31,
	      "RtlUnicodeStringToInteger");
	CHECK(RtlUnicodeStringToInteger(&text, 7, &value) == STATUS_INVALID_PARAMETER, "base 7");
	RtlInitEmptyUnicodeString(&text, buffer, sizeof(buffer));
	CHECK(NT_SUCCESS(RtlIntegerToUnicodeString(0xbeef, 16, &text)) && is(&text, L"BEEF"),
	      "RtlIntegerToUnicodeString");
	text.MaximumLength = 4;
	CHECK(RtlIntegerToUnicodeString(12345, 10, &text) == STATUS_BUFFER_OVERFLOW,
	      "RtlIntegerToUnicodeString too small");
	CHECK(NT_SUCCESS(RtlStringFromGUID(&guid, &text)) &&
		      is(&text, L"{01234567-89AB-CDEF-0102-030405060708}"),
	      "RtlStringFromGUID");
	CHECK(NT_SUCCESS(RtlGUIDFromString(&text, &parsed)) &&
		      RtlCompareMemory(&guid, &parsed, 16) == 16,
	      "RtlGUIDFromString");
	text.Buffer[3] = 'g';
	CHECK(RtlGUIDFromString(&text, &parsed) == STATUS_INVALID_PARAMETER,
	      "RtlGUIDFromString of nonsense");
	RtlFreeUnicodeString(&text);
}

/* In volatile pointers, so that the compiler calls the exports. */
static size_t (*volatile length)(const char *) = strlen;
static int (*volatile compare)(const void *, const void *, size_t) = memcmp;
static void *(*volatile move)(void *, const void *, size_t) = memmove;
static void *(*volatile fill)(void *, int, size_t) = memset;

static void crt(void)
{
	char text[16] = "abcdef";
	WCHAR wide[16];

	CHECK(length("ketch") == 5 && wcslen(L"ketch") == 5, "DEF-313 strlen, wcslen");
	move(text + 1, text, 5);
	CHECK(!compare(text, "aabcde", 6), "DEF-313 memmove overlapping");
	fill(text, 'x', 3);
	CHECK(!strcmp(text, "xxxcde"), "DEF-313 memset, strcmp");
	CHECK(_stricmp("KETCH", "ketch") == 0 && _wcsicmp(L"KETCH", L"ketci") < 0,
	      "DEF-313 _stricmp, _wcsicmp");
	CHECK(strstr("a ketch sails", "ketch") && !strstr("a ketch sails", "yawl"),
	      "DEF-313 strstr");
	CHECK(strncmp("ketch", "ketchup", 5) == 0 && strcmp("ketch", "ketchup") < 0,
	      "DEF-313 strncmp");
	CHECK(!wcscmp(wcscpy(wide, L"mast"), L"mast") && wcschr(wide, 's') == wide + 2,
	      "DEF-313 wcscpy, wcschr");
	CHECK(_snprintf(text, sizeof(text), "%d-%s-%02x", -1, "ab", 10) == 8 &&
		      !strcmp(text, "-1-ab-0a"),
	      "DEF-313 _snprintf");
	CHECK(_snprintf(text, 4, "%s", "abcdef") == -1 && text[3] == 'd',
	      "DEF-313 _snprintf that does not fit");
	CHECK(_snwprintf(wide, 16, L"%s %S %I64u", L"a", "b", 7ull) == 5 && !wcscmp(wide, L"a b 7"),
	      "DEF-313 _snwprintf");
	CHECK(strtoul("0xff", NULL, 0) == 255 && atoi(" -12x") == -12, "DEF-313 strtoul, atoi");
	CHECK(toupper('a') == 'A' && isdigit('7') && !isspace('x'), "DEF-313 characters");
	CHECK(RtlCompareMemory("abcd", "abxd", 4) == 2, "DEF-168 RtlCompareMemory");
}

static void times(void)
{
	LARGE_INTEGER time, back;
	TIME_FIELDS fields;

	time.QuadPart = 125911584000000000 + 10000 * 86399999LL; /* 2000-01-01 23:59:59.999 */
	RtlTimeToTimeFields(&time, &fields);
	CHECK(fields.Year == 2000 && fields.Month == 1 && fields.Day == 1 && fields.Hour == 23 &&
		      fields.Minute == 59 && fields.Second == 59 && fields.Milliseconds == 999 &&
		      fields.Weekday == 6,
	      "RtlTimeToTimeFields");
	CHECK(RtlTimeFieldsToTime(&fields, &back) && back.QuadPart == time.QuadPart,
	      "RtlTimeFieldsToTime");
	fields.Month = 2;
	fields.Day = 30;
	CHECK(!RtlTimeFieldsToTime(&fields, &back), "the 30th of February");
	BOOLEAN same = TRUE;
	for (LONGLONG day = 0; day < 200000; day += 13) { /* more than 500 years */
		time.QuadPart = day * 864000000000LL;
		RtlTimeToTimeFields(&time, &fields);
		same = same && RtlTimeFieldsToTime(&fields, &back) &&
		       back.QuadPart == time.QuadPart;
	}
	CHECK(same, "there and back for 500 years");
	KeQuerySystemTime(&time);
	RtlTimeToTimeFields(&time, &fields);
	CHECK(fields.Year >= 2024 && fields.Year < 2200, "the clock is right");
}

static void bits(void)
{
	ULONG words[3] = {0};
	RTL_BITMAP map;

	RtlInitializeBitMap(&map, words, 70);
	RtlSetBits(&map, 3, 40);
	CHECK(words[0] == 0xfffffff8 && words[1] == 0x7ff && RtlNumberOfSetBits(&map) == 40,
	      "RtlSetBits");
	CHECK(RtlFindClearBitsAndSet(&map, 5, 0) == 43 && RtlTestBit(&map, 47) &&
		      !RtlTestBit(&map, 48),
	      "RtlFindClearBitsAndSet");
	CHECK(RtlFindClearBitsAndSet(&map, 23, 0) == 0xffffffff,
	      "RtlFindClearBitsAndSet without room");
	RtlClearAllBits(&map);
	CHECK(RtlNumberOfSetBits(&map) == 0, "RtlClearAllBits");
}

static void addresses(void)
{
	struct {
		ULONG value;
	} address;
	USHORT port = 7;

	CHECK(RtlIpv4StringToAddressExW(L"192.0.2.1", TRUE, (struct in_addr *)&address, &port) ==
			      STATUS_SUCCESS &&
		      address.value == 0x010200c0 && port == 0,
	      "DEF-78 an address");
	CHECK(RtlIpv4StringToAddressExW(L"10.1.2.3:445", TRUE, (struct in_addr *)&address, &port) ==
			      STATUS_SUCCESS &&
		      address.value == 0x0302010a && port == RtlUshortByteSwap(445),
	      "DEF-78 an address and a port");
	PCWSTR bad[] = {L"",         L"1.2.3",    L"1.2.3.256", L"1.2.3.4:65536",
			L"1.2.3.4x", L"1.2.3.4:", L"a.b.c.d",   L"1..2.3"};
	for (ULONG i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(RtlIpv4StringToAddressExW(bad[i], TRUE, (struct in_addr *)&address, &port) ==
			      STATUS_INVALID_PARAMETER,
		      "DEF-78 nonsense is refused");
}

static void version(void)
{
	RTL_OSVERSIONINFOEXW info = {.dwOSVersionInfoSize = sizeof(info)};
	ULONG major, minor, build;

	RtlGetVersion((PRTL_OSVERSIONINFOW)&info);
	PsGetVersion(&major, &minor, &build, NULL);
	CHECK(info.dwMajorVersion == 10 && info.dwMajorVersion == major &&
		      info.dwMinorVersion == minor && info.dwBuildNumber == build &&
		      info.wProductType == VER_NT_WORKSTATION,
	      "DEF-215 RtlGetVersion agrees with PsGetVersion");
	CHECK(SharedUserData->NtMajorVersion == major && SharedUserData->NtMinorVersion == minor,
	      "DEF-47 the shared page agrees");
}

/* A bad pointer inside a function of the kernel is an exception at its call. */
static void faults(void)
{
	volatile NTSTATUS status = 0;
	char buffer[8];
	__try {
		move(buffer, (const void *)0x10000, sizeof(buffer));
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		status = GetExceptionCode();
	}
	CHECK(status == STATUS_ACCESS_VIOLATION, "DEF-332 memmove from a bad address is caught");
	status = 0;
	__try {
		UNICODE_STRING string;
		RtlInitUnicodeString(&string, (PCWSTR)0x10000);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		status = GetExceptionCode();
	}
	CHECK(status == STATUS_ACCESS_VIOLATION,
	      "DEF-332 RtlInitUnicodeString of a bad address is caught");
}

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	unicode();
	ansi();
	numbers();
	crt();
	times();
	bits();
	addresses();
	version();
	faults();
	return check_result();
}
