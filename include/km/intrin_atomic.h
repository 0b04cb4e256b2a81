/* SPDX-License-Identifier: MIT
 *
 * Interlocked operations: any IRQL on resident memory. All are full barriers. Increment, Decrement
 * and Add return the new value, all others the old one.
 */
#pragma once
#include "ntdef.h"

EXTERN_C_START

#define KM_INTERLOCKED(suffix, type)                                                               \
	FORCEINLINE type InterlockedExchange##suffix(volatile type *Target, type Value)            \
	{                                                                                          \
		return __atomic_exchange_n(Target, Value, __ATOMIC_SEQ_CST);                       \
	}                                                                                          \
	FORCEINLINE type InterlockedExchangeAdd##suffix(volatile type *Target, type Value)         \
	{                                                                                          \
		return __atomic_fetch_add(Target, Value, __ATOMIC_SEQ_CST);                        \
	}                                                                                          \
	FORCEINLINE type InterlockedAdd##suffix(volatile type *Target, type Value)                 \
	{                                                                                          \
		return __atomic_add_fetch(Target, Value, __ATOMIC_SEQ_CST);                        \
	}                                                                                          \
	FORCEINLINE type InterlockedCompareExchange##suffix(volatile type *Target, type Value,     \
							    type Comperand)                        \
	{                                                                                          \
		type old = Comperand;                                                              \
		__atomic_compare_exchange_n(Target, &old, Value, 0, __ATOMIC_SEQ_CST,              \
					    __ATOMIC_SEQ_CST);                                     \
		return old;                                                                        \
	}                                                                                          \
	FORCEINLINE type InterlockedAnd##suffix(volatile type *Target, type Value)                 \
	{                                                                                          \
		return __atomic_fetch_and(Target, Value, __ATOMIC_SEQ_CST);                        \
	}                                                                                          \
	FORCEINLINE type InterlockedOr##suffix(volatile type *Target, type Value)                  \
	{                                                                                          \
		return __atomic_fetch_or(Target, Value, __ATOMIC_SEQ_CST);                         \
	}                                                                                          \
	FORCEINLINE type InterlockedXor##suffix(volatile type *Target, type Value)                 \
	{                                                                                          \
		return __atomic_fetch_xor(Target, Value, __ATOMIC_SEQ_CST);                        \
	}
#define KM_INTERLOCKED_STEP(suffix, type)                                                          \
	FORCEINLINE type InterlockedIncrement##suffix(volatile type *Target)                       \
	{                                                                                          \
		return __atomic_add_fetch(Target, 1, __ATOMIC_SEQ_CST);                            \
	}                                                                                          \
	FORCEINLINE type InterlockedDecrement##suffix(volatile type *Target)                       \
	{                                                                                          \
		return __atomic_sub_fetch(Target, 1, __ATOMIC_SEQ_CST);                            \
	}

KM_INTERLOCKED(, LONG)
KM_INTERLOCKED_STEP(, LONG)
KM_INTERLOCKED(64, LONG64)
KM_INTERLOCKED_STEP(64, LONG64)
KM_INTERLOCKED(16, SHORT)
KM_INTERLOCKED_STEP(16, SHORT)
KM_INTERLOCKED(8, CHAR)
#undef KM_INTERLOCKED
#undef KM_INTERLOCKED_STEP

FORCEINLINE PVOID InterlockedExchangePointer(PVOID volatile *Target, PVOID Value)
{
	return __atomic_exchange_n(Target, Value, __ATOMIC_SEQ_CST);
}
FORCEINLINE PVOID InterlockedCompareExchangePointer(PVOID volatile *Target, PVOID Value,
						    PVOID Comperand)
{
	PVOID old = Comperand;
	__atomic_compare_exchange_n(Target, &old, Value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	return old;
}
FORCEINLINE UCHAR InterlockedCompareExchange128(volatile LONG64 *Target, LONG64 High, LONG64 Low,
						LONG64 *Comperand)
{
	UCHAR equal;
	__asm__ volatile("lock cmpxchg16b %0; sete %1"
			 : "+m"(*(volatile LONG64(*)[2])Target), "=q"(equal), "+a"(Comperand[0]),
			   "+d"(Comperand[1])
			 : "b"(Low), "c"(High)
			 : "memory", "cc");
	return equal;
}
FORCEINLINE UCHAR InterlockedBitTestAndSet(volatile LONG *Base, LONG Bit)
{
	volatile LONG *word = Base + (Bit >> 5);
	ULONG mask = (ULONG)1 << (Bit & 31);
	return ((ULONG)__atomic_fetch_or(word, (LONG)mask, __ATOMIC_SEQ_CST) & mask) != 0;
}
FORCEINLINE UCHAR InterlockedBitTestAndReset(volatile LONG *Base, LONG Bit)
{
	volatile LONG *word = Base + (Bit >> 5);
	ULONG mask = (ULONG)1 << (Bit & 31);
	return ((ULONG)__atomic_fetch_and(word, (LONG)~mask, __ATOMIC_SEQ_CST) & mask) != 0;
}
FORCEINLINE UCHAR InterlockedBitTestAndSet64(volatile LONG64 *Base, LONG64 Bit)
{
	volatile LONG64 *word = Base + (Bit >> 6);
	ULONG64 mask = (ULONG64)1 << (Bit & 63);
	return ((ULONG64)__atomic_fetch_or(word, (LONG64)mask, __ATOMIC_SEQ_CST) & mask) != 0;
}
FORCEINLINE UCHAR InterlockedBitTestAndReset64(volatile LONG64 *Base, LONG64 Bit)
{
	volatile LONG64 *word = Base + (Bit >> 6);
	ULONG64 mask = (ULONG64)1 << (Bit & 63);
	return ((ULONG64)__atomic_fetch_and(word, (LONG64)~mask, __ATOMIC_SEQ_CST) & mask) != 0;
}
FORCEINLINE ULONG InterlockedExchangeUlong(volatile ULONG *Target, ULONG Value)
{
	return __atomic_exchange_n(Target, Value, __ATOMIC_SEQ_CST);
}
#define InterlockedAddLargeStatistic(target, value) ((VOID)InterlockedAdd64(target, (LONG)(value)))
#define ExInterlockedAddLargeStatistic(target, value)                                              \
	((VOID)InterlockedAdd64((volatile LONG64 *)&(target)->QuadPart, (LONG)(value)))

/* The same under their intrinsic names, and with the weaker orders that x64 does not distinguish.
 */
#define _InterlockedExchange                InterlockedExchange
#define _InterlockedExchange64              InterlockedExchange64
#define _InterlockedExchange16              InterlockedExchange16
#define _InterlockedExchange8               InterlockedExchange8
#define _InterlockedExchangePointer         InterlockedExchangePointer
#define _InterlockedExchangeAdd             InterlockedExchangeAdd
#define _InterlockedExchangeAdd64           InterlockedExchangeAdd64
#define _InterlockedCompareExchange         InterlockedCompareExchange
#define _InterlockedCompareExchange64       InterlockedCompareExchange64
#define _InterlockedCompareExchange16       InterlockedCompareExchange16
#define _InterlockedCompareExchange8        InterlockedCompareExchange8
#define _InterlockedCompareExchangePointer  InterlockedCompareExchangePointer
#define _InterlockedCompareExchange128      InterlockedCompareExchange128
#define _InterlockedIncrement               InterlockedIncrement
#define _InterlockedIncrement64             InterlockedIncrement64
#define _InterlockedIncrement16             InterlockedIncrement16
#define _InterlockedDecrement               InterlockedDecrement
#define _InterlockedDecrement64             InterlockedDecrement64
#define _InterlockedDecrement16             InterlockedDecrement16
#define _InterlockedAnd                     InterlockedAnd
#define _InterlockedAnd64                   InterlockedAnd64
#define _InterlockedAnd8                    InterlockedAnd8
#define _InterlockedOr                      InterlockedOr
#define _InterlockedOr64                    InterlockedOr64
#define _InterlockedOr8                     InterlockedOr8
#define _InterlockedXor                     InterlockedXor
#define _InterlockedXor64                   InterlockedXor64
#define _interlockedbittestandset           InterlockedBitTestAndSet
#define _interlockedbittestandreset         InterlockedBitTestAndReset
#define _interlockedbittestandset64         InterlockedBitTestAndSet64
#define _interlockedbittestandreset64       InterlockedBitTestAndReset64
#define InterlockedExchangeAcquire          InterlockedExchange
#define InterlockedExchangeNoFence          InterlockedExchange
#define InterlockedExchangeAcquire64        InterlockedExchange64
#define InterlockedCompareExchangeAcquire   InterlockedCompareExchange
#define InterlockedCompareExchangeRelease   InterlockedCompareExchange
#define InterlockedCompareExchangeNoFence   InterlockedCompareExchange
#define InterlockedCompareExchangeAcquire64 InterlockedCompareExchange64
#define InterlockedCompareExchangeRelease64 InterlockedCompareExchange64
#define InterlockedIncrementAcquire         InterlockedIncrement
#define InterlockedIncrementRelease         InterlockedIncrement
#define InterlockedIncrementNoFence         InterlockedIncrement
#define InterlockedDecrementAcquire         InterlockedDecrement
#define InterlockedDecrementRelease         InterlockedDecrement
#define InterlockedDecrementNoFence         InterlockedDecrement
#define InterlockedIncrementSizeT(p)        ((SIZE_T)InterlockedIncrement64((volatile LONG64 *)(p)))
#define InterlockedDecrementSizeT(p)        ((SIZE_T)InterlockedDecrement64((volatile LONG64 *)(p)))
#define InterlockedExchangeAddSizeT(p, n)                                                          \
	((SIZE_T)InterlockedExchangeAdd64((volatile LONG64 *)(p), (LONG64)(n)))

/* Single accesses that the compiler may neither split nor repeat. */
#define KM_ACCESS(suffix, type)                                                                    \
	FORCEINLINE type Read##suffix##Acquire(const volatile type *Source)                        \
	{                                                                                          \
		return __atomic_load_n(Source, __ATOMIC_ACQUIRE);                                  \
	}                                                                                          \
	FORCEINLINE type Read##suffix##NoFence(const volatile type *Source)                        \
	{                                                                                          \
		return __atomic_load_n(Source, __ATOMIC_RELAXED);                                  \
	}                                                                                          \
	FORCEINLINE void Write##suffix##Release(volatile type *Target, type Value)                 \
	{                                                                                          \
		__atomic_store_n(Target, Value, __ATOMIC_RELEASE);                                 \
	}                                                                                          \
	FORCEINLINE void Write##suffix##NoFence(volatile type *Target, type Value)                 \
	{                                                                                          \
		__atomic_store_n(Target, Value, __ATOMIC_RELAXED);                                 \
	}
KM_ACCESS(, LONG)
KM_ACCESS(64, LONG64)
KM_ACCESS(ULong, ULONG)
KM_ACCESS(ULong64, ULONG64)
KM_ACCESS(UShort, USHORT)
KM_ACCESS(Boolean, BOOLEAN)
#undef KM_ACCESS
FORCEINLINE PVOID ReadPointerAcquire(PVOID const volatile *Source)
{
	return __atomic_load_n(Source, __ATOMIC_ACQUIRE);
}
FORCEINLINE PVOID ReadPointerNoFence(PVOID const volatile *Source)
{
	return __atomic_load_n(Source, __ATOMIC_RELAXED);
}
FORCEINLINE void WritePointerRelease(PVOID volatile *Target, PVOID Value)
{
	__atomic_store_n(Target, Value, __ATOMIC_RELEASE);
}
FORCEINLINE void WritePointerNoFence(PVOID volatile *Target, PVOID Value)
{
	__atomic_store_n(Target, Value, __ATOMIC_RELAXED);
}

EXTERN_C_END
