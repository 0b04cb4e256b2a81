/* SPDX-License-Identifier: MIT
 *
 * Bounded strings, as code of the driver's own over _vsnprintf and _vsnwprintf (DEF-312). Cch
 * functions count characters, Cb functions bytes, both with the terminator. They always terminate,
 * and say STATUS_BUFFER_OVERFLOW when they truncated, STATUS_INVALID_PARAMETER when the size is 0
 * or above NTSTRSAFE_MAX_CCH. IRQL: text resident above 1; printf forms 0.
 */
#pragma once
#include "ntstatus.h"
#include "crt/stdio.h"

EXTERN_C_START

#define NTSTRSAFE_MAX_CCH                2147483647
#define NTSTRSAFE_MAX_LENGTH             (NTSTRSAFE_MAX_CCH - 1)
#define NTSTRSAFE_UNICODE_STRING_MAX_CCH (0xffff / sizeof(WCHAR))
#define STRSAFE_IGNORE_NULLS             0x00000100
#define STRSAFE_FILL_BEHIND_NULL         0x00000200
#define STRSAFE_FILL_ON_FAILURE          0x00000400
#define STRSAFE_NULL_ON_FAILURE          0x00000800
#define STRSAFE_NO_TRUNCATION            0x00001000
#define STRSAFE_FILL_BYTE(byte)          ((ULONG)(((byte)&0xff) | STRSAFE_FILL_BEHIND_NULL))
#define STRSAFE_FAILURE_BYTE(byte)       ((ULONG)(((byte)&0xff) | STRSAFE_FILL_ON_FAILURE))
typedef CHAR *NTSTRSAFE_PSTR;
typedef const CHAR *NTSTRSAFE_PCSTR;
typedef WCHAR *NTSTRSAFE_PWSTR;
typedef const WCHAR *NTSTRSAFE_PCWSTR;

#define KM_STRSAFE static inline __attribute__((unused))

/* What the flags of an Ex function ask for, after the text with `used` characters was written. */
#define KM_STRSAFE_FINISH(X, T)                                                                    \
	KM_STRSAFE NTSTATUS km_strsafe_finish##X(NTSTATUS status, T *to, SIZE_T cch, SIZE_T used,  \
						 T **end, SIZE_T *left, ULONG flags)               \
	{                                                                                          \
		if (status == STATUS_INVALID_PARAMETER)                                            \
			return status;                                                             \
		if (!NT_SUCCESS(status) && (flags & STRSAFE_FILL_ON_FAILURE)) {                    \
			__builtin_memset(to, (int)(flags & 0xff), cch * sizeof(T));                \
			to[cch - 1] = 0;                                                           \
			used = (flags & 0xff) ? cch - 1 : 0;                                       \
		}                                                                                  \
		if (!NT_SUCCESS(status) &&                                                         \
		    (flags & (STRSAFE_NULL_ON_FAILURE | STRSAFE_NO_TRUNCATION))) {                 \
			to[0] = 0;                                                                 \
			used = 0;                                                                  \
		}                                                                                  \
		if (NT_SUCCESS(status) && (flags & STRSAFE_FILL_BEHIND_NULL))                      \
			__builtin_memset(to + used + 1, (int)(flags & 0xff),                       \
					 (cch - used - 1) * sizeof(T));                            \
		if (end != NULL)                                                                   \
			*end = to + used;                                                          \
		if (left != NULL)                                                                  \
			*left = cch - used;                                                        \
		return status;                                                                     \
	}

#define KM_STRSAFE_FUNCTIONS(X, T, vprint)                                                         \
	KM_STRSAFE NTSTATUS RtlStringCchLength##X(const T *Text, SIZE_T MaxCch, SIZE_T *Cch)       \
	{                                                                                          \
		SIZE_T n = 0;                                                                      \
		if (Text != NULL && MaxCch <= NTSTRSAFE_MAX_CCH)                                   \
			while (n < MaxCch && Text[n] != 0)                                         \
				n++;                                                               \
		if (Text == NULL || MaxCch > NTSTRSAFE_MAX_CCH || n == MaxCch) {                   \
			if (Cch != NULL)                                                           \
				*Cch = 0;                                                          \
			return STATUS_INVALID_PARAMETER;                                           \
		}                                                                                  \
		if (Cch != NULL)                                                                   \
			*Cch = n;                                                                  \
		return STATUS_SUCCESS;                                                             \
	}                                                                                          \
	KM_STRSAFE NTSTATUS RtlStringCbLength##X(const T *Text, SIZE_T MaxCb, SIZE_T *Cb)          \
	{                                                                                          \
		NTSTATUS status = RtlStringCchLength##X(Text, MaxCb / sizeof(T), Cb);              \
		if (Cb != NULL)                                                                    \
			*Cb *= sizeof(T);                                                          \
		return status;                                                                     \
	}                                                                                          \
	KM_STRSAFE NTSTATUS km_strsafe_copy##X(T *to, SIZE_T cch, const T *from, SIZE_T most,      \
					       SIZE_T *used)                                       \
	{                                                                                          \
		SIZE_T n = 0;                                                                      \
		*used = 0;                                                                         \
		if (cch == 0 || cch > NTSTRSAFE_MAX_CCH)                                           \
			return STATUS_INVALID_PARAMETER;                                           \
		while (n < most && n < cch - 1 && from[n] != 0) {                                  \
			to[n] = from[n];                                                           \
			n++;                                                                       \
		}                                                                                  \
		to[n] = 0;                                                                         \
		*used = n;                                                                         \
		return n < most && from[n] != 0 ? STATUS_BUFFER_OVERFLOW : STATUS_SUCCESS;         \
	}                                                                                          \
	KM_STRSAFE NTSTATUS km_strsafe_cat##X(T *to, SIZE_T cch, const T *from, SIZE_T most,       \
					      SIZE_T *used)                                        \
	{                                                                                          \
		SIZE_T old;                                                                        \
		NTSTATUS status = RtlStringCchLength##X(to, cch, &old);                            \
		*used = 0;                                                                         \
		if (!NT_SUCCESS(status))                                                           \
			return status;                                                             \
		status = km_strsafe_copy##X(to + old, cch - old, from, most, used);                \
		*used += old;                                                                      \
		return status;                                                                     \
	}                                                                                          \
	KM_STRSAFE NTSTATUS km_strsafe_print##X(T *to, SIZE_T cch, const T *format,                \
						km_va_list list, SIZE_T *used)                     \
	{                                                                                          \
		int n;                                                                             \
		*used = 0;                                                                         \
		if (cch == 0 || cch > NTSTRSAFE_MAX_CCH)                                           \
			return STATUS_INVALID_PARAMETER;                                           \
		n = vprint(to, cch - 1, format, list);                                             \
		*used = n < 0 || (SIZE_T)n > cch - 1 ? cch - 1 : (SIZE_T)n;                        \
		to[*used] = 0;                                                                     \
		return n < 0 || (SIZE_T)n > cch - 1 ? STATUS_BUFFER_OVERFLOW : STATUS_SUCCESS;     \
	}                                                                                          \
	KM_STRSAFE_FINISH(X, T)                                                                    \
	KM_STRSAFE_FORMS(Cch, X, T, 1)                                                             \
	KM_STRSAFE_FORMS(Cb, X, T, sizeof(T))

/* The Cch and the Cb form of each function; `unit` bytes or characters of the size are one
 * character. */
#define KM_STRSAFE_FORMS(C, X, T, unit)                                                            \
	KM_STRSAFE NTSTATUS RtlString##C##Copy##X(T *To, SIZE_T Size, const T *From)               \
	{                                                                                          \
		SIZE_T used;                                                                       \
		return km_strsafe_copy##X(To, Size / (unit), From, NTSTRSAFE_MAX_CCH, &used);      \
	}                                                                                          \
	KM_STRSAFE NTSTATUS RtlString##C##CopyN##X(T *To, SIZE_T Size, const T *From, SIZE_T Most) \
	{                                                                                          \
		SIZE_T used;                                                                       \
		return km_strsafe_copy##X(To, Size / (unit), From, Most / (unit), &used);          \
	}                                                                                          \
	KM_STRSAFE NTSTATUS RtlString##C##Cat##X(T *To, SIZE_T Size, const T *From)                \
	{                                                                                          \
		SIZE_T used;                                                                       \
		return km_strsafe_cat##X(To, Size / (unit), From, NTSTRSAFE_MAX_CCH, &used);       \
	}                                                                                          \
	KM_STRSAFE NTSTATUS RtlString##C##CatN##X(T *To, SIZE_T Size, const T *From, SIZE_T Most)  \
	{                                                                                          \
		SIZE_T used;                                                                       \
		return km_strsafe_cat##X(To, Size / (unit), From, Most / (unit), &used);           \
	}                                                                                          \
	KM_STRSAFE NTSTATUS RtlString##C##VPrintf##X(T *To, SIZE_T Size, const T *Format,          \
						     km_va_list List)                              \
	{                                                                                          \
		SIZE_T used;                                                                       \
		return km_strsafe_print##X(To, Size / (unit), Format, List, &used);                \
	}                                                                                          \
	KM_STRSAFE NTSTATUS CDECL RtlString##C##Printf##X(T *To, SIZE_T Size, const T *Format,     \
							  ...)                                     \
	{                                                                                          \
		SIZE_T used;                                                                       \
		NTSTATUS status;                                                                   \
		km_va_list list;                                                                   \
		km_va_start(list, Format);                                                         \
		status = km_strsafe_print##X(To, Size / (unit), Format, list, &used);              \
		km_va_end(list);                                                                   \
		return status;                                                                     \
	}                                                                                          \
	KM_STRSAFE NTSTATUS RtlString##C##CopyEx##X(T *To, SIZE_T Size, const T *From, T **End,    \
						    SIZE_T *Left, ULONG Flags)                     \
	{                                                                                          \
		SIZE_T used;                                                                       \
		NTSTATUS status =                                                                  \
			km_strsafe_copy##X(To, Size / (unit), From, NTSTRSAFE_MAX_CCH, &used);     \
		status = km_strsafe_finish##X(status, To, Size / (unit), used, End, Left, Flags);  \
		if (Left != NULL && status != STATUS_INVALID_PARAMETER)                            \
			*Left *= (unit);                                                           \
		return status;                                                                     \
	}                                                                                          \
	KM_STRSAFE NTSTATUS RtlString##C##CatEx##X(T *To, SIZE_T Size, const T *From, T **End,     \
						   SIZE_T *Left, ULONG Flags)                      \
	{                                                                                          \
		SIZE_T used;                                                                       \
		NTSTATUS status =                                                                  \
			km_strsafe_cat##X(To, Size / (unit), From, NTSTRSAFE_MAX_CCH, &used);      \
		status = km_strsafe_finish##X(status, To, Size / (unit), used, End, Left, Flags);  \
		if (Left != NULL && status != STATUS_INVALID_PARAMETER)                            \
			*Left *= (unit);                                                           \
		return status;                                                                     \
	}                                                                                          \
	KM_STRSAFE NTSTATUS RtlString##C##VPrintfEx##X(T *To, SIZE_T Size, T **End, SIZE_T *Left,  \
						       ULONG Flags, const T *Format,               \
						       km_va_list List)                            \
	{                                                                                          \
		SIZE_T used;                                                                       \
		NTSTATUS status = km_strsafe_print##X(To, Size / (unit), Format, List, &used);     \
		status = km_strsafe_finish##X(status, To, Size / (unit), used, End, Left, Flags);  \
		if (Left != NULL && status != STATUS_INVALID_PARAMETER)                            \
			*Left *= (unit);                                                           \
		return status;                                                                     \
	}                                                                                          \
	KM_STRSAFE NTSTATUS CDECL RtlString##C##PrintfEx##X(                                       \
		T *To, SIZE_T Size, T **End, SIZE_T *Left, ULONG Flags, const T *Format, ...)      \
	{                                                                                          \
		NTSTATUS status;                                                                   \
		km_va_list list;                                                                   \
		km_va_start(list, Format);                                                         \
		status = RtlString##C##VPrintfEx##X(To, Size, End, Left, Flags, Format, list);     \
		km_va_end(list);                                                                   \
		return status;                                                                     \
	}

KM_STRSAFE_FUNCTIONS(A, CHAR, _vsnprintf)
KM_STRSAFE_FUNCTIONS(W, WCHAR, _vsnwprintf)
#undef KM_STRSAFE_FUNCTIONS
#undef KM_STRSAFE_FORMS
#undef KM_STRSAFE_FINISH

/* Counted strings: no terminator is written or needed. */
KM_STRSAFE NTSTATUS RtlUnicodeStringValidate(PCUNICODE_STRING String)
{
	if (String == NULL)
		return STATUS_INVALID_PARAMETER;
	if (String->Length % sizeof(WCHAR) || String->MaximumLength % sizeof(WCHAR) ||
	    String->Length > String->MaximumLength ||
	    (String->Buffer == NULL && String->MaximumLength != 0))
		return STATUS_INVALID_PARAMETER;
	return STATUS_SUCCESS;
}

KM_STRSAFE NTSTATUS RtlUnicodeStringInit(PUNICODE_STRING String, PCWSTR Text)
{
	SIZE_T bytes = 0;
	String->Length = String->MaximumLength = 0;
	String->Buffer = NULL;
	if (Text == NULL)
		return STATUS_SUCCESS;
	if (!NT_SUCCESS(RtlStringCbLengthW(Text, 0x10000, &bytes)))
		return STATUS_INVALID_PARAMETER;
	String->Length = (USHORT)bytes;
	String->MaximumLength =
		(USHORT)(bytes + sizeof(WCHAR) > 0xfffe ? 0xfffe : bytes + sizeof(WCHAR));
	String->Buffer = (PWCH)(ULONG_PTR)Text;
	return STATUS_SUCCESS;
}

KM_STRSAFE NTSTATUS km_unicode_append(PUNICODE_STRING to, USHORT at, const WCHAR *from,
				      SIZE_T bytes)
{
	SIZE_T room = (SIZE_T)(to->MaximumLength - at);
	SIZE_T n = bytes < room ? bytes : room;
	__builtin_memmove((PUCHAR)to->Buffer + at, from, n);
	to->Length = (USHORT)(at + n);
	return n < bytes ? STATUS_BUFFER_OVERFLOW : STATUS_SUCCESS;
}

KM_STRSAFE NTSTATUS RtlUnicodeStringCopy(PUNICODE_STRING To, PCUNICODE_STRING From)
{
	if (!NT_SUCCESS(RtlUnicodeStringValidate(To)) ||
	    !NT_SUCCESS(RtlUnicodeStringValidate(From)))
		return STATUS_INVALID_PARAMETER;
	return km_unicode_append(To, 0, From->Buffer, From->Length);
}

KM_STRSAFE NTSTATUS RtlUnicodeStringCat(PUNICODE_STRING To, PCUNICODE_STRING From)
{
	if (!NT_SUCCESS(RtlUnicodeStringValidate(To)) ||
	    !NT_SUCCESS(RtlUnicodeStringValidate(From)))
		return STATUS_INVALID_PARAMETER;
	return km_unicode_append(To, To->Length, From->Buffer, From->Length);
}

KM_STRSAFE NTSTATUS RtlUnicodeStringCopyString(PUNICODE_STRING To, PCWSTR From)
{
	SIZE_T bytes;
	if (!NT_SUCCESS(RtlUnicodeStringValidate(To)) ||
	    !NT_SUCCESS(RtlStringCbLengthW(From, 0x20000, &bytes)))
		return STATUS_INVALID_PARAMETER;
	return km_unicode_append(To, 0, From, bytes);
}

KM_STRSAFE NTSTATUS RtlUnicodeStringCatString(PUNICODE_STRING To, PCWSTR From)
{
	SIZE_T bytes;
	if (!NT_SUCCESS(RtlUnicodeStringValidate(To)) ||
	    !NT_SUCCESS(RtlStringCbLengthW(From, 0x20000, &bytes)))
		return STATUS_INVALID_PARAMETER;
	return km_unicode_append(To, To->Length, From, bytes);
}

KM_STRSAFE NTSTATUS RtlUnicodeStringVPrintf(PUNICODE_STRING To, PCWSTR Format, km_va_list List)
{
	SIZE_T room;
	int n;
	if (!NT_SUCCESS(RtlUnicodeStringValidate(To)))
		return STATUS_INVALID_PARAMETER;
	room = To->MaximumLength / sizeof(WCHAR);
	n = room != 0 ? _vsnwprintf(To->Buffer, room, Format, List) : -1;
	if (n < 0 || (SIZE_T)n > room) {
		To->Length = (USHORT)(room * sizeof(WCHAR));
		return STATUS_BUFFER_OVERFLOW;
	}
	To->Length = (USHORT)((SIZE_T)n * sizeof(WCHAR));
	return STATUS_SUCCESS;
}

KM_STRSAFE NTSTATUS CDECL RtlUnicodeStringPrintf(PUNICODE_STRING To, PCWSTR Format, ...)
{
	NTSTATUS status;
	km_va_list list;
	km_va_start(list, Format);
	status = RtlUnicodeStringVPrintf(To, Format, list);
	km_va_end(list);
	return status;
}

EXTERN_C_END
