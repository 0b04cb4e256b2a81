/* SPDX-License-Identifier: MIT */
/*
 * unicode.c: counted strings for drivers.
 *
 * Pure code, no locks: any IRQL on resident text. (The functions that look at case are
 * PASSIVE_LEVEL by their pages, because Windows keeps its tables in pageable memory; here they work
 * anywhere and the table's IRQL is what is checked.) Implements DEF-135, DEF-216, DEF-279, DEF-280
 * and their relatives.
 */
#include "rtl/rtl_internal.h"
#include <ntifs.h>

#define LONGEST 0xfffeu /* bytes of a UNICODE_STRING with terminator: an even number */

/* IRQL any. Source may be NULL: 0, 0, NULL. A text that is too long is cut at 65532 bytes.
 * (DEF-135) */
VOID NTAPI RtlInitUnicodeString(PUNICODE_STRING DestinationString, PCWSTR SourceString)
{
	size_t bytes = SourceString ? rtl_wide_length(SourceString) * sizeof(WCHAR) : 0;
	if (bytes > LONGEST - sizeof(WCHAR))
		bytes = LONGEST - sizeof(WCHAR);
	DestinationString->Length = (USHORT)bytes;
	DestinationString->MaximumLength = SourceString ? (USHORT)(bytes + sizeof(WCHAR)) : 0;
	DestinationString->Buffer = (PWCH)SourceString;
}

/* The same; a text that is too long gives STATUS_NAME_TOO_LONG and no change. */
NTSTATUS NTAPI RtlInitUnicodeStringEx(PUNICODE_STRING DestinationString, PCWSTR SourceString)
{
	if (SourceString && rtl_wide_length(SourceString) * sizeof(WCHAR) > LONGEST - sizeof(WCHAR))
		return STATUS_NAME_TOO_LONG;
	RtlInitUnicodeString(DestinationString, SourceString);
	return STATUS_SUCCESS;
}

/* IRQL any. (DEF-216) */
VOID NTAPI RtlInitAnsiString(PANSI_STRING DestinationString, PCSZ SourceString)
{
	size_t bytes = SourceString ? rtl_length((const char *)SourceString) : 0;
	if (bytes > 0xfffe)
		bytes = 0xfffe;
	DestinationString->Length = (USHORT)bytes;
	DestinationString->MaximumLength = SourceString ? (USHORT)(bytes + 1) : 0;
	DestinationString->Buffer = (PCHAR)SourceString;
}

VOID NTAPI RtlInitString(PSTRING DestinationString, PCSZ SourceString)
{
	RtlInitAnsiString(DestinationString, SourceString);
}

/* Source may be NULL: the destination becomes empty. Copies what fits into MaximumLength. IRQL any.
 */
VOID NTAPI RtlCopyString(PSTRING DestinationString, const STRING *SourceString)
{
	USHORT bytes = SourceString ? SourceString->Length : 0;
	if (bytes > DestinationString->MaximumLength)
		bytes = DestinationString->MaximumLength;
	if (bytes)
		memmove(DestinationString->Buffer, SourceString->Buffer, bytes);
	DestinationString->Length = bytes;
}

static void terminate(PUNICODE_STRING string)
{
	if (string->MaximumLength - string->Length >= (int)sizeof(WCHAR))
		string->Buffer[string->Length / sizeof(WCHAR)] = 0;
}

/* Source may be NULL: the destination becomes empty. Copies what fits, terminates when there is
 * room. <= DISPATCH. (DEF-280) */
VOID NTAPI RtlCopyUnicodeString(PUNICODE_STRING DestinationString, PCUNICODE_STRING SourceString)
{
	USHORT bytes = SourceString ? SourceString->Length : 0;
	if (bytes > DestinationString->MaximumLength)
		bytes = (USHORT)(DestinationString->MaximumLength & ~1u);
	if (bytes)
		memmove(DestinationString->Buffer, SourceString->Buffer, bytes);
	DestinationString->Length = bytes;
	if (DestinationString->Buffer)
		terminate(DestinationString);
}

static NTSTATUS append(PUNICODE_STRING to, const WCHAR *text, size_t bytes)
{
	if (bytes > (size_t)to->MaximumLength - to->Length)
		return STATUS_BUFFER_TOO_SMALL;
	if (!bytes)
		return STATUS_SUCCESS;
	memmove((char *)to->Buffer + to->Length, text, bytes);
	to->Length = (USHORT)(to->Length + bytes);
	terminate(to);
	return STATUS_SUCCESS;
}

/* STATUS_BUFFER_TOO_SMALL when it does not fit: no change. <= DISPATCH. (DEF-279) */
NTSTATUS NTAPI RtlAppendUnicodeStringToString(PUNICODE_STRING Destination, PCUNICODE_STRING Source)
{
	return append(Destination, Source->Buffer, Source->Length);
}

NTSTATUS NTAPI RtlAppendUnicodeToString(PUNICODE_STRING Destination, PCWSTR Source)
{
	return append(Destination, Source, Source ? rtl_wide_length(Source) * sizeof(WCHAR) : 0);
}

/* ---- Comparing: PASSIVE_LEVEL
 * -------------------------------------------------------------------- */

LONG NTAPI RtlCompareUnicodeString(PCUNICODE_STRING String1, PCUNICODE_STRING String2,
				   BOOLEAN CaseInSensitive)
{
	return rtl_compare_unicode(String1, String2, CaseInSensitive);
}

BOOLEAN NTAPI RtlEqualUnicodeString(PCUNICODE_STRING String1, PCUNICODE_STRING String2,
				    BOOLEAN CaseInSensitive)
{
	return String1->Length == String2->Length &&
	       !rtl_compare_unicode(String1, String2, CaseInSensitive);
}

/* TRUE if String2 begins with String1. */
BOOLEAN NTAPI RtlPrefixUnicodeString(PCUNICODE_STRING String1, PCUNICODE_STRING String2,
				     BOOLEAN CaseInSensitive)
{
	UNICODE_STRING head = *String2;
	if (head.Length < String1->Length)
		return FALSE;
	head.Length = String1->Length;
	return !rtl_compare_unicode(String1, &head, CaseInSensitive);
}

static int upper(char c)
{
	return c >= 'a' && c <= 'z' ? c - 0x20 : (unsigned char)c;
}

LONG NTAPI RtlCompareString(const STRING *String1, const STRING *String2, BOOLEAN CaseInSensitive)
{
	USHORT shorter = String1->Length < String2->Length ? String1->Length : String2->Length;
	for (USHORT i = 0; i < shorter; i++) {
		int one = CaseInSensitive ? upper(String1->Buffer[i])
					  : (unsigned char)String1->Buffer[i];
		int two = CaseInSensitive ? upper(String2->Buffer[i])
					  : (unsigned char)String2->Buffer[i];
		if (one != two)
			return one - two;
	}
	return String1->Length - String2->Length;
}

BOOLEAN NTAPI RtlEqualString(const STRING *String1, const STRING *String2, BOOLEAN CaseInSensitive)
{
	return String1->Length == String2->Length &&
	       !RtlCompareString(String1, String2, CaseInSensitive);
}

WCHAR NTAPI RtlUpcaseUnicodeChar(WCHAR SourceCharacter)
{
	return rtl_upcase(SourceCharacter);
}

WCHAR NTAPI RtlDowncaseUnicodeChar(WCHAR SourceCharacter)
{
	return rtl_downcase(SourceCharacter);
}

CHAR NTAPI RtlUpperChar(CHAR Character)
{
	return (CHAR)upper(Character);
}

#define HASH_DEFAULT 0u
#define HASH_X65599  1u

/* STATUS_INVALID_PARAMETER: no string, no place for the value, or an unknown algorithm. */
NTSTATUS NTAPI RtlHashUnicodeString(PCUNICODE_STRING String, BOOLEAN CaseInSensitive,
				    ULONG HashAlgorithm, PULONG HashValue)
{
	if (!String || !HashValue ||
	    (HashAlgorithm != HASH_DEFAULT && HashAlgorithm != HASH_X65599))
		return STATUS_INVALID_PARAMETER;
	ULONG hash = 0;
	for (size_t i = 0; i < String->Length / sizeof(WCHAR); i++) {
		WCHAR unit = String->Buffer[i];
		hash = hash * 65599 + (CaseInSensitive ? rtl_upcase(unit) : unit);
	}
	*HashValue = hash;
	return STATUS_SUCCESS;
}
