/* SPDX-License-Identifier: MIT
 *
 * The base types of the kernel's interface (PLT-1, PLT-66..71).
 *
 * Two worlds compile this file. A driver (`_WIN32` is defined: clang for the msvc target, or
 * mingw-w64) is LLP64 and imports the kernel's functions. The core of Ketch is LP64 with the SysV
 * convention as its default, so there LONG is `int`, NTAPI is the Microsoft convention spelled out,
 * and nothing is imported.
 */
#pragma once

/* What every driver's source has: `#pragma alloc_text`, pool tags of four characters. */
#ifdef _WIN32
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#pragma GCC diagnostic ignored "-Wmultichar"
#define ALLOC_PRAGMA      1
#define ALLOC_DATA_PRAGMA 1
#endif

#include <stdarg.h>
#include <stddef.h>
#include "sal.h"

#ifdef __cplusplus
#define EXTERN_C       extern "C"
#define EXTERN_C_START extern "C" {
#define EXTERN_C_END   }
#else
#define EXTERN_C extern
#define EXTERN_C_START
#define EXTERN_C_END
#endif

/* What drivers test for; the msvc compiler and the WDK's build define these. */
#ifndef _WIN64
#define _WIN64 1
#endif
#ifndef _AMD64_
#define _AMD64_ 1
#endif
#ifndef _M_AMD64
#define _M_AMD64 100
#endif
#ifndef _M_X64
#define _M_X64 100
#endif
#ifndef _INTEGRAL_MAX_BITS
#define _INTEGRAL_MAX_BITS 64
#endif

/* Windows versions. The runtime offers everything up to the newest. */
#define NTDDI_WIN2K      0x05000000
#define NTDDI_WINXP      0x05010000
#define NTDDI_WS03       0x05020000
#define NTDDI_VISTA      0x06000000
#define NTDDI_WINVISTA   0x06000000
#define NTDDI_LONGHORN   0x06000000
#define NTDDI_VISTASP1   0x06000100
#define NTDDI_WS08       0x06000100
#define NTDDI_WIN7       0x06010000
#define NTDDI_WIN8       0x06020000
#define NTDDI_WINBLUE    0x06030000
#define NTDDI_WIN10      0x0A000000
#define NTDDI_WIN10_TH2  0x0A000001
#define NTDDI_WIN10_RS1  0x0A000002
#define NTDDI_WIN10_RS2  0x0A000003
#define NTDDI_WIN10_RS3  0x0A000004
#define NTDDI_WIN10_RS4  0x0A000005
#define NTDDI_WIN10_RS5  0x0A000006
#define NTDDI_WIN10_19H1 0x0A000007
#define NTDDI_WIN10_VB   0x0A000008
#define NTDDI_WIN10_MN   0x0A000009
#define NTDDI_WIN10_FE   0x0A00000A
#define NTDDI_WIN10_CO   0x0A00000B
#define NTDDI_WIN10_NI   0x0A00000C
#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0A00
#endif
#ifndef NTDDI_VERSION
#define NTDDI_VERSION NTDDI_WIN10_NI
#endif

/* Calling conventions and linkage (PLT-1). */
#ifdef _WIN32
#define NTAPI           __stdcall
#define FASTCALL        __fastcall
#define DECLSPEC_IMPORT __declspec(dllimport)
#define CDECL           __cdecl
#else
#define NTAPI    __attribute__((ms_abi))
#define FASTCALL __attribute__((ms_abi))
#define DECLSPEC_IMPORT
#define CDECL __attribute__((ms_abi))
#endif
#ifndef NTSYSAPI
#define NTSYSAPI DECLSPEC_IMPORT
#endif
#ifndef NTKERNELAPI
#define NTKERNELAPI DECLSPEC_IMPORT
#endif
#ifndef NTHALAPI
#define NTHALAPI DECLSPEC_IMPORT
#endif
#define NTSYSCALLAPI NTSYSAPI

/*
 * Exported variables (DEF-314). The import slot holds the variable's address, and the documented
 * declarations name the slot: in a driver `PsThreadType` is a pointer to the variable that the core
 * calls PsThreadType. Named by its symbol, the slot links with every kind of import library.
 */
#ifdef _WIN32
#define KM_EXPORTED_DATA(type, name) EXTERN_C type *name __asm__("__imp_" #name)
#else
#define KM_EXPORTED_DATA(type, name) EXTERN_C type name
#endif

#define DECLSPEC_ALIGN(n) __attribute__((aligned(n)))
#define DECLSPEC_NORETURN __attribute__((noreturn))
#define DECLSPEC_NOINLINE __attribute__((noinline))
#define DECLSPEC_NOVTABLE
#define DECLSPEC_DEPRECATED_DDK
#define DECLSPEC_CACHEALIGN         DECLSPEC_ALIGN(64)
#define POINTER_ALIGNMENT           DECLSPEC_ALIGN(8)
#define MEMORY_ALLOCATION_ALIGNMENT 16
#define SYSTEM_CACHE_LINE_SIZE      64
#ifndef FORCEINLINE
#define FORCEINLINE static inline __attribute__((always_inline, unused))
#endif
#define CFORCEINLINE FORCEINLINE
#define RESTRICTED_POINTER
#ifndef UNALIGNED
#define UNALIGNED __attribute__((aligned(1)))
#endif
#ifdef __cplusplus
#define KM_STATIC_ASSERT(e, text) static_assert(e, text)
#else
#define KM_STATIC_ASSERT(e, text) _Static_assert(e, text)
#endif
#define C_ASSERT(e) KM_STATIC_ASSERT(e, #e)

#define VOID void
#ifndef CONST
#define CONST const
#endif
#ifndef IN
#define IN
#endif
#ifndef OUT
#define OUT
#endif
#ifndef OPTIONAL
#define OPTIONAL
#endif
#define TRUE  1
#define FALSE 0

/* Integers. LONG is the 32-bit type in every world. */
#ifdef _WIN32
typedef long LONG;
typedef unsigned long ULONG;
#else
typedef int LONG;
typedef unsigned int ULONG;
#endif
typedef char CHAR, CCHAR, *PCHAR, *PCCHAR;
typedef signed char SCHAR, *PSCHAR, INT8, *PINT8;
typedef unsigned char UCHAR, *PUCHAR, BOOLEAN, *PBOOLEAN, BYTE, *PBYTE, UINT8, *PUINT8;
typedef short SHORT, *PSHORT, CSHORT, INT16, *PINT16;
typedef unsigned short USHORT, *PUSHORT, WORD, UINT16, *PUINT16;
typedef int INT, *PINT, INT32, *PINT32, LONG32, *PLONG32;
typedef unsigned int UINT, *PUINT, UINT32, *PUINT32, ULONG32, *PULONG32, DWORD32, *PDWORD32;
typedef LONG *PLONG;
typedef ULONG *PULONG, DWORD, *PDWORD, CLONG, LOGICAL, *PLOGICAL, LCID;
typedef int BOOL, *PBOOL;
typedef long long LONGLONG, *PLONGLONG, LONG64, *PLONG64, INT64, *PINT64, USN;
typedef unsigned long long ULONGLONG, *PULONGLONG, ULONG64, *PULONG64, DWORD64, *PDWORD64,
	DWORDLONG, UINT64, *PUINT64;
typedef long long INT_PTR, *PINT_PTR, LONG_PTR, *PLONG_PTR, SSIZE_T, *PSSIZE_T;
typedef unsigned long long UINT_PTR, *PUINT_PTR, ULONG_PTR, *PULONG_PTR, DWORD_PTR, *PDWORD_PTR,
	SIZE_T, *PSIZE_T;
typedef ULONG_PTR KAFFINITY, *PKAFFINITY;
typedef float FLOAT;
typedef double DOUBLE;

/* Text. WCHAR is 16 bit: the core is compiled with -fshort-wchar. */
typedef wchar_t WCHAR, *PWCHAR, *LPWSTR, *PWSTR, *NWPSTR;
typedef const WCHAR *PCWSTR, *LPCWSTR, *PCWCHAR, *LPCWCHAR, *PCWCH, *PCNZWCH, *PCUNZWCH;
typedef PWSTR *PZPWSTR;
typedef PCWSTR *PZPCWSTR;
typedef WCHAR *PWCH, *LPWCH;
typedef CHAR *PSTR, *LPSTR, *NPSTR, *PCH, *LPCH, *PSZ, *PNZCH;
typedef const CHAR *PCSTR, *LPCSTR, *PCCH, *LPCCH, *PCSZ, *PCNZCH;
KM_STATIC_ASSERT(sizeof(WCHAR) == 2, "WCHAR is 16 bit: compile with -fshort-wchar");
KM_STATIC_ASSERT(sizeof(LONG) == 4 && sizeof(void *) == 8, "x64 only");
#ifndef TEXT
#define TEXT(text) L##text
#endif
#define UNICODE_NULL             ((WCHAR)0)
#define UNICODE_STRING_MAX_BYTES ((USHORT)65534)
#define UNICODE_STRING_MAX_CHARS 32767
#define ANSI_NULL                ((CHAR)0)

/* Pointers and handles. */
typedef void *PVOID, *LPVOID, *HANDLE, *PVOID64;
typedef const void *PCVOID, *LPCVOID;
typedef HANDLE *PHANDLE;
typedef LONG NTSTATUS, *PNTSTATUS, HRESULT, SCODE;
typedef UCHAR KIRQL, *PKIRQL;
typedef CCHAR KPROCESSOR_MODE;
typedef LONG KPRIORITY;
typedef ULONG ACCESS_MASK, *PACCESS_MASK;
typedef ULONG SECURITY_INFORMATION, *PSECURITY_INFORMATION;
typedef ULONG DEVICE_TYPE;
typedef PVOID PSID, PSECURITY_DESCRIPTOR;
#define DECLARE_HANDLE(name)                                                                       \
	struct name##__ {                                                                          \
		int unused;                                                                        \
	};                                                                                         \
	typedef struct name##__ *name

/*
 * The list of a variable function's arguments. Every such DDI has the Microsoft convention, whose
 * va_list is a plain pointer; in the core that is not the compiler's default va_list.
 */
#ifdef _WIN32
typedef va_list km_va_list;
#define km_va_start(list, last) va_start(list, last)
#define km_va_end(list)         va_end(list)
#else
typedef __builtin_ms_va_list km_va_list;
#define km_va_start(list, last) __builtin_ms_va_start(list, last)
#define km_va_end(list)         __builtin_ms_va_end(list)
#endif

#define NT_SUCCESS(status)     ((NTSTATUS)(status) >= 0)
#define NT_INFORMATION(status) ((((ULONG)(status)) >> 30) == 1)
#define NT_WARNING(status)     ((((ULONG)(status)) >> 30) == 2)
#define NT_ERROR(status)       ((((ULONG)(status)) >> 30) == 3)

#ifndef min
#ifndef __cplusplus
#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
#endif
#endif
#define MINCHAR      0x80
#define MAXCHAR      0x7f
#define MINSHORT     0x8000
#define MAXSHORT     0x7fff
#define MINLONG      0x80000000
#define MAXLONG      0x7fffffff
#define MAXUCHAR     0xff
#define MAXUSHORT    0xffff
#define MAXULONG     0xffffffff
#define MAXULONG_PTR (~(ULONG_PTR)0)
#define MAXLONG_PTR  ((LONG_PTR)(MAXULONG_PTR >> 1))
#define MAXSIZE_T    MAXULONG_PTR
#define MAXLONGLONG  0x7fffffffffffffffLL
#define MAXULONGLONG 0xffffffffffffffffULL

#define FIELD_OFFSET(type, field)             ((LONG)offsetof(type, field))
#define UFIELD_OFFSET(type, field)            ((ULONG)offsetof(type, field))
#define RTL_FIELD_SIZE(type, field)           (sizeof(((type *)0)->field))
#define RTL_SIZEOF_THROUGH_FIELD(type, field) (offsetof(type, field) + RTL_FIELD_SIZE(type, field))
#define RTL_CONTAINS_FIELD(p, size, field)                                                         \
	((((PCHAR)(&(p)->field)) + sizeof((p)->field)) <= (((PCHAR)(p)) + (size)))
#define RTL_NUMBER_OF(array)             (sizeof(array) / sizeof((array)[0]))
#define RTL_NUMBER_OF_FIELD(type, field) RTL_NUMBER_OF(((type *)0)->field)
#define ARRAYSIZE(array)                 RTL_NUMBER_OF(array)
#define _ARRAYSIZE(array)                RTL_NUMBER_OF(array)
#define RTL_PADDING_BETWEEN_FIELDS(type, one, two)                                                 \
	(offsetof(type, two) - offsetof(type, one) - RTL_FIELD_SIZE(type, one))
#define TYPE_ALIGNMENT(type)  __alignof__(type)
#define PROBE_ALIGNMENT(type) TYPE_ALIGNMENT(ULONG)
#ifdef __cplusplus
#define CONTAINING_RECORD(address, type, field)                                                    \
	((type *)((ULONG_PTR)(address) - (ULONG_PTR)offsetof(type, field)))
#else
#define CONTAINING_RECORD(address, type, field) ((type *)((PCHAR)(address)-offsetof(type, field)))
#endif
#define ARGUMENT_PRESENT(pointer)             ((CHAR *)(ULONG_PTR)(pointer) != (CHAR *)NULL)
#define UNREFERENCED_PARAMETER(name)          ((void)(name))
#define DBG_UNREFERENCED_PARAMETER(name)      ((void)(name))
#define DBG_UNREFERENCED_LOCAL_VARIABLE(name) ((void)(name))
#define UNREFERENCED_LOCAL_VARIABLE(name)     ((void)(name))
#define FlagOn(flags, bits)                   ((flags) & (bits))
#define BooleanFlagOn(flags, bits)            ((BOOLEAN)(((flags) & (bits)) != 0))
#define SetFlag(flags, bits)                  ((flags) |= (bits))
#define ClearFlag(flags, bits)                ((flags) &= ~(bits))

#define HandleToULong(h) ((ULONG)(ULONG_PTR)(h))
#define HandleToUlong(h) HandleToULong(h)
#define HandleToLong(h)  ((LONG)(LONG_PTR)(h))
#define ULongToHandle(n) ((HANDLE)(ULONG_PTR)(n))
#define UlongToHandle(n) ULongToHandle(n)
#define LongToHandle(n)  ((HANDLE)(LONG_PTR)(n))
#define ULongToPtr(n)    ((PVOID)(ULONG_PTR)(ULONG)(n))
#define UlongToPtr(n)    ULongToPtr(n)
#define LongToPtr(n)     ((PVOID)(LONG_PTR)(LONG)(n))
#define PtrToUlong(p)    ((ULONG)(ULONG_PTR)(p))
#define PtrToULong(p)    PtrToUlong(p)
#define PtrToLong(p)     ((LONG)(LONG_PTR)(p))
#define PtrToUint(p)     ((UINT)(UINT_PTR)(p))
#define PtrToInt(p)      ((INT)(INT_PTR)(p))

#define MAKEWORD(lo, hi) ((USHORT)(((UCHAR)(lo)) | ((USHORT)((UCHAR)(hi))) << 8))
#define MAKELONG(lo, hi) ((LONG)(((USHORT)(lo)) | ((ULONG)((USHORT)(hi))) << 16))
#define LOWORD(n)        ((USHORT)((ULONG_PTR)(n)&0xffff))
#define HIWORD(n)        ((USHORT)(((ULONG_PTR)(n) >> 16) & 0xffff))
#define LOBYTE(n)        ((UCHAR)((ULONG_PTR)(n)&0xff))
#define HIBYTE(n)        ((UCHAR)(((ULONG_PTR)(n) >> 8) & 0xff))

#include "ntdef_types.h"
