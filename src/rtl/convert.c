/* SPDX-License-Identifier: MIT */
/*
 * convert.c: strings into strings, numbers and GUIDs and back, for drivers.
 *
 * PASSIVE_LEVEL; no locks. Strings that a function allocates come from paged pool and belong to the
 * calling driver. Implements DEF-212, DEF-214 and their relatives. The ANSI code page is UTF-8 (see
 * format.c).
 */
#include "rtl/rtl_internal.h"
#include <ntifs.h>

#define TAG_STRING 'grtS'

static void *allocate(size_t size)
{
	return ExAllocatePoolWithTag(PagedPool, size, TAG_STRING);
}

/* ---- ANSI and Unicode
 * ---------------------------------------------------------------------------- */

/* The bytes of a UTF-16 text in UTF-8; writes whole characters while they fit, *written bytes of
 * them. */
static size_t narrow(char *to, size_t room, const WCHAR *from, size_t characters, size_t *written)
{
	size_t bytes = 0;
	*written = 0;
	for (size_t i = 0; i < characters;) {
		uint32_t point;
		unsigned char text[4];
		i += rtl_utf16_next(from + i, characters - i, &point);
		size_t count = rtl_utf8_put(text, point);
		if (*written == bytes && bytes + count <= room) {
			memcpy(to + bytes, text, count);
			*written += count;
		}
		bytes += count;
	}
	return bytes;
}

/* Bytes with terminator. */
ULONG NTAPI RtlxAnsiStringToUnicodeSize(PCANSI_STRING AnsiString)
{
	return (ULONG)((rtl_widen(NULL, 0, AnsiString->Buffer, AnsiString->Length) + 1) *
		       sizeof(WCHAR));
}

ULONG NTAPI RtlxUnicodeStringToAnsiSize(PCUNICODE_STRING UnicodeString)
{
	size_t written;
	return (ULONG)narrow(NULL, 0, UnicodeString->Buffer, UnicodeString->Length / sizeof(WCHAR),
			     &written) +
	       1;
}

/*
 * PASSIVE_LEVEL. Terminated. STATUS_INVALID_PARAMETER_2: longer than a string can be;
 * STATUS_BUFFER_OVERFLOW: does not fit with its terminator (no change); STATUS_NO_MEMORY. (DEF-212)
 */
NTSTATUS NTAPI RtlAnsiStringToUnicodeString(PUNICODE_STRING DestinationString,
					    PCANSI_STRING SourceString,
					    BOOLEAN AllocateDestinationString)
{
	ULONG size = RtlxAnsiStringToUnicodeSize(SourceString);
	if (size > 0xfffe)
		return STATUS_INVALID_PARAMETER_2;
	if (AllocateDestinationString) {
		DestinationString->Buffer = allocate(size);
		DestinationString->MaximumLength = (USHORT)size;
		if (!DestinationString->Buffer)
			return STATUS_NO_MEMORY;
	} else if (size > DestinationString->MaximumLength) {
		return STATUS_BUFFER_OVERFLOW;
	}
	size_t units = size / sizeof(WCHAR) - 1;
	rtl_widen(DestinationString->Buffer, units, SourceString->Buffer, SourceString->Length);
	DestinationString->Buffer[units] = 0;
	DestinationString->Length = (USHORT)(units * sizeof(WCHAR));
	return STATUS_SUCCESS;
}

/*
 * PASSIVE_LEVEL. Terminated. STATUS_BUFFER_OVERFLOW: the destination holds what fits, terminated;
 * STATUS_INVALID_PARAMETER_2, STATUS_NO_MEMORY as above.
 */
NTSTATUS NTAPI RtlUnicodeStringToAnsiString(PANSI_STRING DestinationString,
					    PCUNICODE_STRING SourceString,
					    BOOLEAN AllocateDestinationString)
{
	NTSTATUS status = STATUS_SUCCESS;
	ULONG size = RtlxUnicodeStringToAnsiSize(SourceString);
	if (size > 0xffff)
		return STATUS_INVALID_PARAMETER_2;
	if (AllocateDestinationString) {
		DestinationString->Buffer = allocate(size);
		DestinationString->MaximumLength = (USHORT)size;
		if (!DestinationString->Buffer)
			return STATUS_NO_MEMORY;
	} else if (size > DestinationString->MaximumLength) {
		status = STATUS_BUFFER_OVERFLOW;
		if (!DestinationString->MaximumLength)
			return status;
	}
	size_t written;
	size_t room = status ? DestinationString->MaximumLength - 1u : size - 1u;
	narrow(DestinationString->Buffer, room, SourceString->Buffer,
	       SourceString->Length / sizeof(WCHAR), &written);
	DestinationString->Buffer[written] = 0;
	DestinationString->Length = (USHORT)written;
	return status;
}

/* Free what one of these functions allocated, and zero the string. PASSIVE_LEVEL. (DEF-214) */
VOID NTAPI RtlFreeUnicodeString(PUNICODE_STRING UnicodeString)
{
	if (UnicodeString->Buffer)
		ExFreePool(UnicodeString->Buffer);
	memset(UnicodeString, 0, sizeof(*UnicodeString));
}

VOID NTAPI RtlFreeAnsiString(PANSI_STRING AnsiString)
{
	if (AnsiString->Buffer)
		ExFreePool(AnsiString->Buffer);
	memset(AnsiString, 0, sizeof(*AnsiString));
}

/* ---- Case
 * ------------------------------------------------------------------------------------------ */

static NTSTATUS change_case(PUNICODE_STRING to, PCUNICODE_STRING from, bool allocates,
			    WCHAR (*change)(WCHAR))
{
	if (allocates) {
		to->Buffer = allocate(from->Length ? from->Length : sizeof(WCHAR));
		to->MaximumLength = from->Length;
		if (!to->Buffer)
			return STATUS_NO_MEMORY;
	} else if (from->Length > to->MaximumLength) {
		return STATUS_BUFFER_OVERFLOW;
	}
	for (size_t i = 0; i < from->Length / sizeof(WCHAR); i++)
		to->Buffer[i] = change(from->Buffer[i]);
	to->Length = from->Length;
	return STATUS_SUCCESS;
}

/* PASSIVE_LEVEL. Not terminated. STATUS_BUFFER_OVERFLOW, STATUS_NO_MEMORY. Source and destination
 * may be the same. */
NTSTATUS NTAPI RtlUpcaseUnicodeString(PUNICODE_STRING DestinationString,
				      PCUNICODE_STRING SourceString,
				      BOOLEAN AllocateDestinationString)
{
	return change_case(DestinationString, SourceString, AllocateDestinationString, rtl_upcase);
}

NTSTATUS NTAPI RtlDowncaseUnicodeString(PUNICODE_STRING DestinationString,
					PCUNICODE_STRING SourceString,
					BOOLEAN AllocateDestinationString)
{
	return change_case(DestinationString, SourceString, AllocateDestinationString,
			   rtl_downcase);
}

/* ---- Numbers
 * ----------------------------------------------------------------------------------------- */

/* A text of either width. */
struct number_text {
	const void *units;
	size_t count, at;
	bool wide;
};

static unsigned peek(const struct number_text *text)
{
	if (text->at >= text->count)
		return 0;
	if (text->wide)
		return ((const WCHAR *)text->units)[text->at];
	return ((const unsigned char *)text->units)[text->at];
}

static unsigned digit_value(unsigned c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 10;
	return 99;
}

/* 0x, 0o and 0b name the base when none is given. */
static ULONG read_base(struct number_text *text)
{
	if (peek(text) != '0')
		return 10;
	text->at++;
	ULONG base = 10;
	if (peek(text) == 'x')
		base = 16;
	else if (peek(text) == 'o')
		base = 8;
	else if (peek(text) == 'b')
		base = 2;
	if (base == 10)
		text->at--;
	else
		text->at++;
	return base;
}

static NTSTATUS to_integer(struct number_text *text, ULONG base, PULONG value)
{
	if (base != 0 && base != 2 && base != 8 && base != 10 && base != 16)
		return STATUS_INVALID_PARAMETER;
	while (peek(text) && peek(text) <= ' ')
		text->at++;
	bool negative = peek(text) == '-';
	if (negative || peek(text) == '+')
		text->at++;
	if (!base)
		base = read_base(text);
	ULONG result = 0;
	for (; digit_value(peek(text)) < base; text->at++)
		result = result * base + digit_value(peek(text));
	*value = negative ? 0 - result : result;
	return STATUS_SUCCESS;
}

/*
 * PASSIVE_LEVEL. Base 0 (by prefix), 2, 8, 10 or 16, else STATUS_INVALID_PARAMETER. Stops at the
 * first character that is no digit; no digits are 0.
 */
NTSTATUS NTAPI RtlUnicodeStringToInteger(PCUNICODE_STRING String, ULONG Base, PULONG Value)
{
	struct number_text text = {
		.units = String->Buffer, .count = String->Length / sizeof(WCHAR), .wide = true};
	return to_integer(&text, Base, Value);
}

NTSTATUS NTAPI RtlCharToInteger(PCSZ String, ULONG Base, PULONG Value)
{
	struct number_text text = {.units = String, .count = rtl_length((const char *)String)};
	return to_integer(&text, Base, Value);
}

/* PASSIVE_LEVEL. Base 0 (10), 2, 8, 10 or 16; terminated when there is room.
 * STATUS_INVALID_PARAMETER, STATUS_BUFFER_OVERFLOW. */
NTSTATUS NTAPI RtlInt64ToUnicodeString(ULONGLONG Value, ULONG Base, PUNICODE_STRING String)
{
	WCHAR digits[64];
	size_t count = 0;
	if (!Base)
		Base = 10;
	if (Base != 2 && Base != 8 && Base != 10 && Base != 16)
		return STATUS_INVALID_PARAMETER;
	do {
		digits[count++] = (WCHAR) "0123456789ABCDEF"[Value % Base];
		Value /= Base;
	} while (Value);
	if (count * sizeof(WCHAR) > String->MaximumLength)
		return STATUS_BUFFER_OVERFLOW;
	for (size_t i = 0; i < count; i++)
		String->Buffer[i] = digits[count - 1 - i];
	String->Length = (USHORT)(count * sizeof(WCHAR));
	if (String->MaximumLength - String->Length >= (int)sizeof(WCHAR))
		String->Buffer[count] = 0;
	return STATUS_SUCCESS;
}

NTSTATUS NTAPI RtlIntegerToUnicodeString(ULONG Value, ULONG Base, PUNICODE_STRING String)
{
	return RtlInt64ToUnicodeString(Value, Base, String);
}

/* ---- GUIDs
 * --------------------------------------------------------------------------------------------- */

#define GUID_LENGTH 38 /* {00112233-4455-6677-8899-AABBCCDDEEFF} */

/* The digits' places, and the byte of a GUID's text order that each pair makes. */
static const uint8_t guid_places[16] = {1, 3, 5, 7, 10, 12, 15, 17, 20, 22, 25, 27, 29, 31, 33, 35};

/* Data1 to Data3 are numbers: their first digits are the last bytes in memory. */
static const uint8_t guid_bytes[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};

/* PASSIVE_LEVEL. Allocates; free by RtlFreeUnicodeString. STATUS_NO_MEMORY. */
NTSTATUS NTAPI RtlStringFromGUID(REFGUID Guid, PUNICODE_STRING GuidString)
{
	WCHAR *text = allocate((GUID_LENGTH + 1) * sizeof(WCHAR));
	if (!text)
		return STATUS_NO_MEMORY;
	for (size_t i = 0; i < GUID_LENGTH; i++)
		text[i] = '-';
	for (size_t i = 0; i < 16; i++) {
		unsigned byte = ((const unsigned char *)Guid)[guid_bytes[i]];
		text[guid_places[i]] = (WCHAR) "0123456789ABCDEF"[byte >> 4];
		text[guid_places[i] + 1] = (WCHAR) "0123456789ABCDEF"[byte & 15];
	}
	text[0] = '{';
	text[GUID_LENGTH - 1] = '}';
	text[GUID_LENGTH] = 0;
	GuidString->Buffer = text;
	GuidString->Length = GUID_LENGTH * sizeof(WCHAR);
	GuidString->MaximumLength = (GUID_LENGTH + 1) * sizeof(WCHAR);
	return STATUS_SUCCESS;
}

/* PASSIVE_LEVEL. STATUS_INVALID_PARAMETER: not of the form {8-4-4-4-12 digits}. */
NTSTATUS NTAPI RtlGUIDFromString(PCUNICODE_STRING GuidString, GUID *Guid)
{
	const WCHAR *text = GuidString->Buffer;
	if (GuidString->Length != GUID_LENGTH * sizeof(WCHAR) || text[0] != '{' ||
	    text[GUID_LENGTH - 1] != '}' || text[9] != '-' || text[14] != '-' || text[19] != '-' ||
	    text[24] != '-')
		return STATUS_INVALID_PARAMETER;
	unsigned char bytes[16];
	for (size_t i = 0; i < 16; i++) {
		unsigned high = digit_value(text[guid_places[i]]);
		unsigned low = digit_value(text[guid_places[i] + 1]);
		if (high > 15 || low > 15)
			return STATUS_INVALID_PARAMETER;
		bytes[guid_bytes[i]] = (unsigned char)(high << 4 | low);
	}
	memcpy(Guid, bytes, sizeof(*Guid));
	return STATUS_SUCCESS;
}
