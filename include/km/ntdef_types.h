/* SPDX-License-Identifier: MIT
 *
 * The base structures: lists, strings, object attributes, processor numbers (PLT-66..71). Included
 * by ntdef.h.
 */
#pragma once
#include "ntdef.h"

typedef union _LARGE_INTEGER {
	struct {
		ULONG LowPart;
		LONG HighPart;
	};
	struct {
		ULONG LowPart;
		LONG HighPart;
	} u;
	LONGLONG QuadPart;
} LARGE_INTEGER, *PLARGE_INTEGER;

typedef union _ULARGE_INTEGER {
	struct {
		ULONG LowPart;
		ULONG HighPart;
	};
	struct {
		ULONG LowPart;
		ULONG HighPart;
	} u;
	ULONGLONG QuadPart;
} ULARGE_INTEGER, *PULARGE_INTEGER;

typedef LARGE_INTEGER PHYSICAL_ADDRESS, *PPHYSICAL_ADDRESS;

typedef struct _LUID {
	ULONG LowPart;
	LONG HighPart;
} LUID, *PLUID;

typedef struct _LIST_ENTRY {
	struct _LIST_ENTRY *Flink;
	struct _LIST_ENTRY *Blink;
} LIST_ENTRY, *PLIST_ENTRY, *PRLIST_ENTRY;

typedef struct _SINGLE_LIST_ENTRY {
	struct _SINGLE_LIST_ENTRY *Next;
} SINGLE_LIST_ENTRY, *PSINGLE_LIST_ENTRY;

typedef struct _LIST_ENTRY32 {
	ULONG Flink;
	ULONG Blink;
} LIST_ENTRY32, *PLIST_ENTRY32;

typedef struct _LIST_ENTRY64 {
	ULONGLONG Flink;
	ULONGLONG Blink;
} LIST_ENTRY64, *PLIST_ENTRY64;

typedef struct _STRING {
	USHORT Length;        /* bytes, without a terminator */
	USHORT MaximumLength; /* bytes */
	PCHAR Buffer;
} STRING, *PSTRING, ANSI_STRING, *PANSI_STRING, OEM_STRING, *POEM_STRING, UTF8_STRING,
	*PUTF8_STRING, CANSI_STRING;
typedef const STRING *PCANSI_STRING, *PCOEM_STRING, *PCUTF8_STRING;

typedef struct _UNICODE_STRING {
	USHORT Length;        /* bytes, without a terminator */
	USHORT MaximumLength; /* bytes */
	PWCH Buffer;
} UNICODE_STRING, *PUNICODE_STRING;
typedef const UNICODE_STRING *PCUNICODE_STRING;

#define RTL_CONSTANT_STRING(text)                                                                  \
	{                                                                                          \
		sizeof(text) - sizeof((text)[0]), sizeof(text), KM_STRING_CAST(text)               \
	}
#ifdef __cplusplus
extern "C++" {
static inline constexpr PCHAR km_string_cast(const CHAR *text)
{
	return const_cast<PCHAR>(text);
}
static inline constexpr PWCHAR km_string_cast(const WCHAR *text)
{
	return const_cast<PWCHAR>(text);
}
}
#define KM_STRING_CAST(text) km_string_cast(text)
#else
#define KM_STRING_CAST(text) text
#endif

#define DECLARE_CONST_UNICODE_STRING(name, text)                                                   \
	const WCHAR name##_buffer[] = text;                                                        \
	const UNICODE_STRING name = {sizeof(text) - sizeof(WCHAR), sizeof(text),                   \
				     (PWCH)name##_buffer}
#define DECLARE_GLOBAL_CONST_UNICODE_STRING(name, text)                                            \
	extern const UNICODE_STRING name;                                                          \
	const UNICODE_STRING name = RTL_CONSTANT_STRING(text)
#define DECLARE_UNICODE_STRING_SIZE(name, chars)                                                   \
	WCHAR name##_buffer[chars];                                                                \
	UNICODE_STRING name = {0, (chars) * sizeof(WCHAR), name##_buffer}

typedef struct _OBJECT_ATTRIBUTES {
	ULONG Length;
	HANDLE RootDirectory;
	PUNICODE_STRING ObjectName;
	ULONG Attributes; /* OBJ_* */
	PVOID SecurityDescriptor;
	PVOID SecurityQualityOfService;
} OBJECT_ATTRIBUTES, *POBJECT_ATTRIBUTES;
typedef const OBJECT_ATTRIBUTES *PCOBJECT_ATTRIBUTES;

/* PLT-65 */
#define OBJ_INHERIT                       0x00000002
#define OBJ_PERMANENT                     0x00000010
#define OBJ_EXCLUSIVE                     0x00000020
#define OBJ_CASE_INSENSITIVE              0x00000040
#define OBJ_OPENIF                        0x00000080
#define OBJ_OPENLINK                      0x00000100
#define OBJ_KERNEL_HANDLE                 0x00000200
#define OBJ_FORCE_ACCESS_CHECK            0x00000400
#define OBJ_IGNORE_IMPERSONATED_DEVICEMAP 0x00000800
#define OBJ_DONT_REPARSE                  0x00001000
#define OBJ_VALID_ATTRIBUTES              0x00001FF2

#define InitializeObjectAttributes(p, name, flags, root, security)                                 \
	do {                                                                                       \
		(p)->Length = sizeof(OBJECT_ATTRIBUTES);                                           \
		(p)->RootDirectory = (root);                                                       \
		(p)->ObjectName = (name);                                                          \
		(p)->Attributes = (flags);                                                         \
		(p)->SecurityDescriptor = (security);                                              \
		(p)->SecurityQualityOfService = NULL;                                              \
	} while (0)
#define RTL_CONSTANT_OBJECT_ATTRIBUTES(name, flags)                                                \
	{                                                                                          \
		sizeof(OBJECT_ATTRIBUTES), NULL, (PUNICODE_STRING)(name), (flags), NULL, NULL      \
	}

/* Group is 0-based; Number is relative to the group (PLT-70). */
typedef struct _PROCESSOR_NUMBER {
	USHORT Group;
	UCHAR Number;
	UCHAR Reserved;
} PROCESSOR_NUMBER, *PPROCESSOR_NUMBER;

typedef struct _GROUP_AFFINITY {
	KAFFINITY Mask;
	USHORT Group;
	USHORT Reserved[3];
} GROUP_AFFINITY, *PGROUP_AFFINITY;

typedef struct _CLIENT_ID {
	HANDLE UniqueProcess;
	HANDLE UniqueThread;
} CLIENT_ID, *PCLIENT_ID;

typedef enum _EVENT_TYPE { NotificationEvent, SynchronizationEvent } EVENT_TYPE;
typedef enum _TIMER_TYPE { NotificationTimer, SynchronizationTimer } TIMER_TYPE;
typedef enum _WAIT_TYPE { WaitAll, WaitAny, WaitNotification, WaitDequeue, WaitDpc } WAIT_TYPE;
typedef enum _NT_PRODUCT_TYPE {
	NtProductWinNt = 1,
	NtProductLanManNt,
	NtProductServer
} NT_PRODUCT_TYPE;

/* 8 bytes at 0: depth, sequence; at 8: the first entry. A block of 16 bytes, so that cmpxchg16b can
 * change it. */
typedef struct DECLSPEC_ALIGN(16) _SLIST_ENTRY {
	struct _SLIST_ENTRY *Next;
} SLIST_ENTRY, *PSLIST_ENTRY;

typedef union DECLSPEC_ALIGN(16) _SLIST_HEADER {
	struct {
		ULONGLONG Alignment;
		ULONGLONG Region;
	};
	struct {
		ULONGLONG Depth : 16;
		ULONGLONG Sequence : 48;
		ULONGLONG Reserved : 4;
		ULONGLONG NextEntry : 60; /* address / 16 */
	} HeaderX64;
} SLIST_HEADER, *PSLIST_HEADER;

#include "guiddef.h"
