/* SPDX-License-Identifier: MIT
 *
 * Memory, strings, versions, registry helpers, debug output (PLT-55). The number behind each
 * prototype is the highest IRQL of the caller; text must be resident above 1.
 */
#pragma once
#include "../ntdef.h"
#include "../ntstatus.h"
#ifdef _WIN32
#include "../crt/string.h"
#endif

EXTERN_C_START

/* Memory: any IRQL on resident memory. The first five are exported as functions as well (DEF-313).
 */
#define RtlCopyMemory(to, from, n)            __builtin_memcpy((to), (from), (n))
#define RtlMoveMemory(to, from, n)            __builtin_memmove((to), (from), (n))
#define RtlZeroMemory(to, n)                  __builtin_memset((to), 0, (n))
#define RtlFillMemory(to, n, byte)            __builtin_memset((to), (byte), (n))
#define RtlFillBytes(to, n, byte)             __builtin_memset((to), (byte), (n))
#define RtlCopyBytes(to, from, n)             __builtin_memcpy((to), (from), (n))
#define RtlZeroBytes(to, n)                   __builtin_memset((to), 0, (n))
#define RtlCopyMemoryNonTemporal(to, from, n) __builtin_memcpy((to), (from), (n))
#define RtlEqualMemory(one, two, n)           (__builtin_memcmp((one), (two), (n)) == 0)
NTSYSAPI SIZE_T NTAPI RtlCompareMemory(const VOID *Source1, const VOID *Source2, SIZE_T Length);
NTSYSAPI SIZE_T NTAPI RtlCompareMemoryUlong(PVOID Source, SIZE_T Length, ULONG Pattern);
FORCEINLINE PVOID RtlSecureZeroMemory(PVOID Address, SIZE_T Size)
{
	__builtin_memset(Address, 0, Size);
	__asm__ volatile("" : : "r"(Address) : "memory");
	return Address;
}

/* Counted strings. */
NTSYSAPI VOID NTAPI RtlInitString(PSTRING DestinationString, PCSZ SourceString);
NTSYSAPI VOID NTAPI RtlInitAnsiString(PANSI_STRING DestinationString, PCSZ SourceString);
NTSYSAPI VOID NTAPI RtlInitUnicodeString(PUNICODE_STRING DestinationString,
					 PCWSTR SourceString); /* 15 */
NTSYSAPI NTSTATUS NTAPI RtlInitUnicodeStringEx(PUNICODE_STRING DestinationString,
					       PCWSTR SourceString);
NTSYSAPI VOID NTAPI RtlCopyString(PSTRING DestinationString, const STRING *SourceString); /* 15 */
NTSYSAPI VOID NTAPI RtlCopyUnicodeString(PUNICODE_STRING DestinationString,
					 PCUNICODE_STRING SourceString); /* 2 */
NTSYSAPI NTSTATUS NTAPI RtlAppendUnicodeStringToString(PUNICODE_STRING Destination,
						       PCUNICODE_STRING Source); /* 2 */
NTSYSAPI NTSTATUS NTAPI RtlAppendUnicodeToString(PUNICODE_STRING Destination,
						 PCWSTR Source); /* 2 */
NTSYSAPI LONG NTAPI RtlCompareUnicodeString(PCUNICODE_STRING String1, PCUNICODE_STRING String2,
					    BOOLEAN CaseInSensitive); /* 0 */
NTSYSAPI BOOLEAN NTAPI RtlEqualUnicodeString(PCUNICODE_STRING String1, PCUNICODE_STRING String2,
					     BOOLEAN CaseInSensitive); /* 0 */
NTSYSAPI BOOLEAN NTAPI RtlPrefixUnicodeString(PCUNICODE_STRING String1, PCUNICODE_STRING String2,
					      BOOLEAN CaseInSensitive); /* 0 */
NTSYSAPI LONG NTAPI RtlCompareString(const STRING *String1, const STRING *String2,
				     BOOLEAN CaseInSensitive);
NTSYSAPI BOOLEAN NTAPI RtlEqualString(const STRING *String1, const STRING *String2,
				      BOOLEAN CaseInSensitive);
NTSYSAPI NTSTATUS NTAPI RtlAnsiStringToUnicodeString(PUNICODE_STRING DestinationString,
						     PCANSI_STRING SourceString,
						     BOOLEAN AllocateDestinationString); /* 0 */
NTSYSAPI NTSTATUS NTAPI RtlUnicodeStringToAnsiString(PANSI_STRING DestinationString,
						     PCUNICODE_STRING SourceString,
						     BOOLEAN AllocateDestinationString); /* 0 */
NTSYSAPI ULONG NTAPI RtlxAnsiStringToUnicodeSize(PCANSI_STRING AnsiString);              /* 0 */
NTSYSAPI ULONG NTAPI RtlxUnicodeStringToAnsiSize(PCUNICODE_STRING UnicodeString);        /* 0 */
#define RtlAnsiStringToUnicodeSize(string) RtlxAnsiStringToUnicodeSize(string)
#define RtlUnicodeStringToAnsiSize(string) RtlxUnicodeStringToAnsiSize(string)
NTSYSAPI VOID NTAPI RtlFreeUnicodeString(PUNICODE_STRING UnicodeString); /* 0 */
NTSYSAPI VOID NTAPI RtlFreeAnsiString(PANSI_STRING AnsiString);          /* 0 */
NTSYSAPI NTSTATUS NTAPI RtlUnicodeStringToInteger(PCUNICODE_STRING String, ULONG Base,
						  PULONG Value); /* 0 */
NTSYSAPI NTSTATUS NTAPI RtlIntegerToUnicodeString(ULONG Value, ULONG Base,
						  PUNICODE_STRING String); /* 0 */
NTSYSAPI NTSTATUS NTAPI RtlInt64ToUnicodeString(ULONGLONG Value, ULONG Base,
						PUNICODE_STRING String); /* 0 */
NTSYSAPI NTSTATUS NTAPI RtlUpcaseUnicodeString(PUNICODE_STRING DestinationString,
					       PCUNICODE_STRING SourceString,
					       BOOLEAN AllocateDestinationString); /* 0 */
NTSYSAPI NTSTATUS NTAPI RtlDowncaseUnicodeString(PUNICODE_STRING DestinationString,
						 PCUNICODE_STRING SourceString,
						 BOOLEAN AllocateDestinationString); /* 0 */
NTSYSAPI WCHAR NTAPI RtlUpcaseUnicodeChar(WCHAR SourceCharacter);                    /* 0 */
NTSYSAPI WCHAR NTAPI RtlDowncaseUnicodeChar(WCHAR SourceCharacter);                  /* 0 */
NTSYSAPI CHAR NTAPI RtlUpperChar(CHAR Character);                                    /* 0 */
NTSYSAPI NTSTATUS NTAPI RtlStringFromGUID(REFGUID Guid, PUNICODE_STRING GuidString); /* 0 */
NTSYSAPI NTSTATUS NTAPI RtlGUIDFromString(PCUNICODE_STRING GuidString, GUID *Guid);  /* 0 */
NTSYSAPI NTSTATUS NTAPI RtlHashUnicodeString(PCUNICODE_STRING String, BOOLEAN CaseInSensitive,
					     ULONG HashAlgorithm, PULONG HashValue); /* 0 */
NTSYSAPI NTSTATUS NTAPI RtlCharToInteger(PCSZ String, ULONG Base, PULONG Value);     /* 0 */
NTSYSAPI ULONG NTAPI RtlRandomEx(PULONG Seed);                                       /* 0 */
NTSYSAPI BOOLEAN NTAPI RtlIsNtDdiVersionAvailable(ULONG Version);                    /* 0 */
NTSYSAPI BOOLEAN NTAPI RtlIsServicePackVersionInstalled(ULONG Version);              /* 0 */

FORCEINLINE VOID RtlInitEmptyUnicodeString(PUNICODE_STRING String, PWCHAR Buffer, USHORT BufferSize)
{
	String->Length = 0;
	String->MaximumLength = BufferSize;
	String->Buffer = Buffer;
}
FORCEINLINE VOID RtlInitEmptyAnsiString(PANSI_STRING String, PCHAR Buffer, USHORT BufferSize)
{
	String->Length = 0;
	String->MaximumLength = BufferSize;
	String->Buffer = Buffer;
}

/* Byte order: any IRQL. */
#define RtlUshortByteSwap(n)    __builtin_bswap16(n)
#define RtlUlongByteSwap(n)     __builtin_bswap32(n)
#define RtlUlonglongByteSwap(n) __builtin_bswap64(n)
FORCEINLINE LARGE_INTEGER RtlConvertLongToLargeInteger(LONG Value)
{
	LARGE_INTEGER large;
	large.QuadPart = Value;
	return large;
}
FORCEINLINE LARGE_INTEGER RtlConvertUlongToLargeInteger(ULONG Value)
{
	LARGE_INTEGER large;
	large.QuadPart = Value;
	return large;
}
#define RtlPointerToOffset(base, p) ((ULONG)(((PCHAR)(p)) - ((PCHAR)(base))))
#define RtlOffsetToPointer(base, n) ((PCHAR)(((PCHAR)(base)) + ((ULONG_PTR)(n))))

/* Time. */
typedef struct _TIME_FIELDS {
	CSHORT Year;
	CSHORT Month;
	CSHORT Day;
	CSHORT Hour;
	CSHORT Minute;
	CSHORT Second;
	CSHORT Milliseconds;
	CSHORT Weekday;
} TIME_FIELDS, *PTIME_FIELDS;
NTSYSAPI VOID NTAPI RtlTimeToTimeFields(PLARGE_INTEGER Time, PTIME_FIELDS TimeFields);    /* 15 */
NTSYSAPI BOOLEAN NTAPI RtlTimeFieldsToTime(PTIME_FIELDS TimeFields, PLARGE_INTEGER Time); /* 15 */

/* Version: 0x114 bytes, or 0x11C in the Ex form (DEF-215). */
typedef struct _OSVERSIONINFOW {
	ULONG dwOSVersionInfoSize;
	ULONG dwMajorVersion;
	ULONG dwMinorVersion;
	ULONG dwBuildNumber;
	ULONG dwPlatformId;
	WCHAR szCSDVersion[128];
} OSVERSIONINFOW, *POSVERSIONINFOW, *LPOSVERSIONINFOW, RTL_OSVERSIONINFOW, *PRTL_OSVERSIONINFOW;

typedef struct _OSVERSIONINFOEXW {
	ULONG dwOSVersionInfoSize;
	ULONG dwMajorVersion;
	ULONG dwMinorVersion;
	ULONG dwBuildNumber;
	ULONG dwPlatformId;
	WCHAR szCSDVersion[128];
	USHORT wServicePackMajor;
	USHORT wServicePackMinor;
	USHORT wSuiteMask;
	UCHAR wProductType;
	UCHAR wReserved;
} OSVERSIONINFOEXW, *POSVERSIONINFOEXW, *LPOSVERSIONINFOEXW, RTL_OSVERSIONINFOEXW,
	*PRTL_OSVERSIONINFOEXW;
typedef OSVERSIONINFOEXW OSVERSIONINFOEX, *POSVERSIONINFOEX;
typedef OSVERSIONINFOW OSVERSIONINFO, *POSVERSIONINFO;
#define VER_PLATFORM_WIN32_NT    2
#define VER_NT_WORKSTATION       1
#define VER_NT_DOMAIN_CONTROLLER 2
#define VER_NT_SERVER            3
NTSYSAPI NTSTATUS NTAPI RtlGetVersion(PRTL_OSVERSIONINFOW VersionInformation); /* 0 */

/* Registry helpers: 0. */
#define RTL_REGISTRY_ABSOLUTE        0
#define RTL_REGISTRY_SERVICES        1
#define RTL_REGISTRY_CONTROL         2
#define RTL_REGISTRY_WINDOWS_NT      3
#define RTL_REGISTRY_DEVICEMAP       4
#define RTL_REGISTRY_USER            5
#define RTL_REGISTRY_HANDLE          0x40000000
#define RTL_REGISTRY_OPTIONAL        0x80000000
#define RTL_QUERY_REGISTRY_SUBKEY    0x00000001
#define RTL_QUERY_REGISTRY_TOPKEY    0x00000002
#define RTL_QUERY_REGISTRY_REQUIRED  0x00000004
#define RTL_QUERY_REGISTRY_NOVALUE   0x00000008
#define RTL_QUERY_REGISTRY_NOEXPAND  0x00000010
#define RTL_QUERY_REGISTRY_DIRECT    0x00000020
#define RTL_QUERY_REGISTRY_DELETE    0x00000040
#define RTL_QUERY_REGISTRY_TYPECHECK 0x00000100
/* the expected REG_ type in DefaultType */
#define RTL_QUERY_REGISTRY_TYPECHECK_SHIFT 24
typedef NTSTATUS NTAPI RTL_QUERY_REGISTRY_ROUTINE(PWSTR ValueName, ULONG ValueType, PVOID ValueData,
						  ULONG ValueLength, PVOID Context,
						  PVOID EntryContext);
typedef RTL_QUERY_REGISTRY_ROUTINE *PRTL_QUERY_REGISTRY_ROUTINE;
typedef struct _RTL_QUERY_REGISTRY_TABLE {
	PRTL_QUERY_REGISTRY_ROUTINE QueryRoutine;
	ULONG Flags;
	PWSTR Name;
	PVOID EntryContext;
	ULONG DefaultType;
	PVOID DefaultData;
	ULONG DefaultLength;
} RTL_QUERY_REGISTRY_TABLE, *PRTL_QUERY_REGISTRY_TABLE;
NTSYSAPI NTSTATUS NTAPI RtlQueryRegistryValues(ULONG RelativeTo, PCWSTR Path,
					       PRTL_QUERY_REGISTRY_TABLE QueryTable, PVOID Context,
					       PVOID Environment);
NTSYSAPI NTSTATUS NTAPI RtlWriteRegistryValue(ULONG RelativeTo, PCWSTR Path, PCWSTR ValueName,
					      ULONG ValueType, PVOID ValueData, ULONG ValueLength);
NTSYSAPI NTSTATUS NTAPI RtlDeleteRegistryValue(ULONG RelativeTo, PCWSTR Path, PCWSTR ValueName);
NTSYSAPI NTSTATUS NTAPI RtlCheckRegistryKey(ULONG RelativeTo, PWSTR Path);
NTSYSAPI NTSTATUS NTAPI RtlCreateRegistryKey(ULONG RelativeTo, PWSTR Path);

/* Bit maps. */
typedef struct _RTL_BITMAP {
	ULONG SizeOfBitMap;
	PULONG Buffer;
} RTL_BITMAP, *PRTL_BITMAP;
NTSYSAPI VOID NTAPI RtlInitializeBitMap(PRTL_BITMAP BitMapHeader, PULONG BitMapBuffer,
					ULONG SizeOfBitMap);
NTSYSAPI VOID NTAPI RtlClearAllBits(PRTL_BITMAP BitMapHeader);
NTSYSAPI VOID NTAPI RtlSetAllBits(PRTL_BITMAP BitMapHeader);
NTSYSAPI VOID NTAPI RtlSetBits(PRTL_BITMAP BitMapHeader, ULONG StartingIndex, ULONG NumberToSet);
NTSYSAPI VOID NTAPI RtlClearBits(PRTL_BITMAP BitMapHeader, ULONG StartingIndex,
				 ULONG NumberToClear);
NTSYSAPI BOOLEAN NTAPI RtlTestBit(PRTL_BITMAP BitMapHeader, ULONG BitNumber);
NTSYSAPI ULONG NTAPI RtlNumberOfSetBits(PRTL_BITMAP BitMapHeader);
NTSYSAPI ULONG NTAPI RtlFindClearBitsAndSet(PRTL_BITMAP BitMapHeader, ULONG NumberToFind,
					    ULONG HintIndex);

EXTERN_C_END
