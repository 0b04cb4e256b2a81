/* SPDX-License-Identifier: MIT
 *
 * Checked integer arithmetic and conversion, inline: STATUS_SUCCESS, or STATUS_INTEGER_OVERFLOW and
 * all bits set in the result. Any IRQL.
 */
#pragma once
#include "ntstatus.h"

EXTERN_C_START

#define KM_INTSAFE_OPERATION(name, type, builtin)                                                  \
	FORCEINLINE NTSTATUS name(type One, type Two, type *Result)                                \
	{                                                                                          \
		type value;                                                                        \
		if (!builtin(One, Two, &value)) {                                                  \
			*Result = value;                                                           \
			return STATUS_SUCCESS;                                                     \
		}                                                                                  \
		*Result = (type)-1;                                                                \
		return STATUS_INTEGER_OVERFLOW;                                                    \
	}
#define KM_INTSAFE_ARITHMETIC(name, type)                                                          \
	KM_INTSAFE_OPERATION(Rtl##name##Add, type, __builtin_add_overflow)                         \
	KM_INTSAFE_OPERATION(Rtl##name##Sub, type, __builtin_sub_overflow)                         \
	KM_INTSAFE_OPERATION(Rtl##name##Mult, type, __builtin_mul_overflow)
#define KM_INTSAFE_CONVERSION(from, from_type, to, to_type)                                        \
	FORCEINLINE NTSTATUS Rtl##from##To##to(from_type Value, to_type *Result)                   \
	{                                                                                          \
		if (!__builtin_add_overflow(Value, (from_type)0, Result))                          \
			return STATUS_SUCCESS;                                                     \
		*Result = (to_type)-1;                                                             \
		return STATUS_INTEGER_OVERFLOW;                                                    \
	}

KM_INTSAFE_ARITHMETIC(UInt8, UINT8)
KM_INTSAFE_ARITHMETIC(UShort, USHORT)
KM_INTSAFE_ARITHMETIC(UInt, UINT)
KM_INTSAFE_ARITHMETIC(ULong, ULONG)
KM_INTSAFE_ARITHMETIC(ULongLong, ULONGLONG)
KM_INTSAFE_ARITHMETIC(ULongPtr, ULONG_PTR)
KM_INTSAFE_ARITHMETIC(UIntPtr, UINT_PTR)
KM_INTSAFE_ARITHMETIC(SizeT, SIZE_T)
KM_INTSAFE_ARITHMETIC(DWord, DWORD)
KM_INTSAFE_ARITHMETIC(Short, SHORT)
KM_INTSAFE_ARITHMETIC(Int, INT)
KM_INTSAFE_ARITHMETIC(Long, LONG)
KM_INTSAFE_ARITHMETIC(LongLong, LONGLONG)
KM_INTSAFE_ARITHMETIC(LongPtr, LONG_PTR)

KM_INTSAFE_CONVERSION(UShort, USHORT, UChar, UCHAR)
KM_INTSAFE_CONVERSION(UInt, UINT, UChar, UCHAR)
KM_INTSAFE_CONVERSION(UInt, UINT, UShort, USHORT)
KM_INTSAFE_CONVERSION(UInt, UINT, Int, INT)
KM_INTSAFE_CONVERSION(UInt, UINT, Long, LONG)
KM_INTSAFE_CONVERSION(Int, INT, UInt, UINT)
KM_INTSAFE_CONVERSION(Int, INT, ULong, ULONG)
KM_INTSAFE_CONVERSION(Int, INT, UShort, USHORT)
KM_INTSAFE_CONVERSION(Int, INT, SizeT, SIZE_T)
KM_INTSAFE_CONVERSION(Long, LONG, ULong, ULONG)
KM_INTSAFE_CONVERSION(Long, LONG, UShort, USHORT)
KM_INTSAFE_CONVERSION(Long, LONG, SizeT, SIZE_T)
KM_INTSAFE_CONVERSION(ULong, ULONG, UChar, UCHAR)
KM_INTSAFE_CONVERSION(ULong, ULONG, UShort, USHORT)
KM_INTSAFE_CONVERSION(ULong, ULONG, Short, SHORT)
KM_INTSAFE_CONVERSION(ULong, ULONG, Long, LONG)
KM_INTSAFE_CONVERSION(ULong, ULONG, Int, INT)
KM_INTSAFE_CONVERSION(LongLong, LONGLONG, ULong, ULONG)
KM_INTSAFE_CONVERSION(LongLong, LONGLONG, Long, LONG)
KM_INTSAFE_CONVERSION(LongLong, LONGLONG, ULongLong, ULONGLONG)
KM_INTSAFE_CONVERSION(LongLong, LONGLONG, SizeT, SIZE_T)
KM_INTSAFE_CONVERSION(ULongLong, ULONGLONG, UShort, USHORT)
KM_INTSAFE_CONVERSION(ULongLong, ULONGLONG, ULong, ULONG)
KM_INTSAFE_CONVERSION(ULongLong, ULONGLONG, Long, LONG)
KM_INTSAFE_CONVERSION(ULongLong, ULONGLONG, UInt, UINT)
KM_INTSAFE_CONVERSION(ULongLong, ULONGLONG, LongLong, LONGLONG)
KM_INTSAFE_CONVERSION(ULongLong, ULONGLONG, SizeT, SIZE_T)
KM_INTSAFE_CONVERSION(ULongPtr, ULONG_PTR, ULong, ULONG)
KM_INTSAFE_CONVERSION(ULongPtr, ULONG_PTR, Long, LONG)
KM_INTSAFE_CONVERSION(ULongPtr, ULONG_PTR, UShort, USHORT)
KM_INTSAFE_CONVERSION(SizeT, SIZE_T, UShort, USHORT)
KM_INTSAFE_CONVERSION(SizeT, SIZE_T, UInt, UINT)
KM_INTSAFE_CONVERSION(SizeT, SIZE_T, Int, INT)
KM_INTSAFE_CONVERSION(SizeT, SIZE_T, ULong, ULONG)
KM_INTSAFE_CONVERSION(SizeT, SIZE_T, Long, LONG)
KM_INTSAFE_CONVERSION(SizeT, SIZE_T, LongLong, LONGLONG)
#undef KM_INTSAFE_OPERATION
#undef KM_INTSAFE_ARITHMETIC
#undef KM_INTSAFE_CONVERSION

EXTERN_C_END
