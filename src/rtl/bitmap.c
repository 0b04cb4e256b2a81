/* SPDX-License-Identifier: MIT */
/*
 * bitmap.c: bit maps of drivers. Bit n is bit n % 32 of word n / 32.
 *
 * Pure code, no locks: any IRQL on a resident map; the caller serialises.
 */
#include <ntifs.h>
#include "rtl/rtl.h"

#define NONE 0xffffffffu

VOID NTAPI RtlInitializeBitMap(PRTL_BITMAP BitMapHeader, PULONG BitMapBuffer, ULONG SizeOfBitMap)
{
	BitMapHeader->SizeOfBitMap = SizeOfBitMap;
	BitMapHeader->Buffer = BitMapBuffer;
}

static bool test(const RTL_BITMAP *map, ULONG bit)
{
	return map->Buffer[bit / 32] >> bit % 32 & 1;
}

static void put(PRTL_BITMAP map, ULONG bit, bool value)
{
	if (value)
		map->Buffer[bit / 32] |= 1u << bit % 32;
	else
		map->Buffer[bit / 32] &= ~(1u << bit % 32);
}

static void put_run(PRTL_BITMAP map, ULONG start, ULONG count, bool value)
{
	while (count) {
		if (start % 32 == 0 && count >= 32) {
			map->Buffer[start / 32] = value ? NONE : 0;
			start += 32;
			count -= 32;
		} else {
			put(map, start++, value);
			count--;
		}
	}
}

VOID NTAPI RtlClearAllBits(PRTL_BITMAP BitMapHeader)
{
	memset(BitMapHeader->Buffer, 0, ((size_t)BitMapHeader->SizeOfBitMap + 31) / 32 * 4);
}

VOID NTAPI RtlSetAllBits(PRTL_BITMAP BitMapHeader)
{
	memset(BitMapHeader->Buffer, 0xff, ((size_t)BitMapHeader->SizeOfBitMap + 31) / 32 * 4);
}

VOID NTAPI RtlSetBits(PRTL_BITMAP BitMapHeader, ULONG StartingIndex, ULONG NumberToSet)
{
	put_run(BitMapHeader, StartingIndex, NumberToSet, true);
}

VOID NTAPI RtlClearBits(PRTL_BITMAP BitMapHeader, ULONG StartingIndex, ULONG NumberToClear)
{
	put_run(BitMapHeader, StartingIndex, NumberToClear, false);
}

VOID NTAPI RtlSetBit(PRTL_BITMAP BitMapHeader, ULONG BitNumber)
{
	put(BitMapHeader, BitNumber, true);
}

VOID NTAPI RtlClearBit(PRTL_BITMAP BitMapHeader, ULONG BitNumber)
{
	put(BitMapHeader, BitNumber, false);
}

BOOLEAN NTAPI RtlTestBit(PRTL_BITMAP BitMapHeader, ULONG BitNumber)
{
	return test(BitMapHeader, BitNumber);
}

/* How many bits from `start` on, at most `most`, have the value. */
static ULONG run_length(const RTL_BITMAP *map, ULONG start, ULONG most, bool value)
{
	ULONG length = 0;
	while (length < most && start + length < map->SizeOfBitMap &&
	       test(map, start + length) == value)
		length++;
	return length;
}

static bool are(PRTL_BITMAP map, ULONG start, ULONG length, bool value)
{
	return length && length <= map->SizeOfBitMap && start <= map->SizeOfBitMap - length &&
	       run_length(map, start, length, value) == length;
}

BOOLEAN NTAPI RtlAreBitsSet(PRTL_BITMAP BitMapHeader, ULONG StartingIndex, ULONG Length)
{
	return are(BitMapHeader, StartingIndex, Length, true);
}

BOOLEAN NTAPI RtlAreBitsClear(PRTL_BITMAP BitMapHeader, ULONG StartingIndex, ULONG Length)
{
	return are(BitMapHeader, StartingIndex, Length, false);
}

ULONG NTAPI RtlNumberOfSetBits(PRTL_BITMAP BitMapHeader)
{
	ULONG count = 0;
	for (ULONG bit = 0; bit < BitMapHeader->SizeOfBitMap; bit++)
		count += test(BitMapHeader, bit);
	return count;
}

ULONG NTAPI RtlNumberOfClearBits(PRTL_BITMAP BitMapHeader)
{
	return BitMapHeader->SizeOfBitMap - RtlNumberOfSetBits(BitMapHeader);
}

/* The first run of `count` bits with the value that begins in [from, to); NONE: there is none. */
static ULONG find_between(const RTL_BITMAP *map, ULONG count, ULONG from, ULONG to, bool value)
{
	for (ULONG start = from; start < to;) {
		ULONG length = run_length(map, start, count, value);
		if (length == count)
			return start;
		start += length + 1; /* the bit that ended the run cannot begin one */
	}
	return NONE;
}

/* From the hint on, then from the start. A count of 0 answers the hint's byte, as documented. */
static ULONG find(const RTL_BITMAP *map, ULONG count, ULONG hint, bool value)
{
	if (hint >= map->SizeOfBitMap)
		hint = 0;
	if (!count)
		return hint & ~7u;
	ULONG found = find_between(map, count, hint, map->SizeOfBitMap, value);
	return found != NONE ? found : find_between(map, count, 0, hint, value);
}

ULONG NTAPI RtlFindClearBits(PRTL_BITMAP BitMapHeader, ULONG NumberToFind, ULONG HintIndex)
{
	return find(BitMapHeader, NumberToFind, HintIndex, false);
}

ULONG NTAPI RtlFindSetBits(PRTL_BITMAP BitMapHeader, ULONG NumberToFind, ULONG HintIndex)
{
	return find(BitMapHeader, NumberToFind, HintIndex, true);
}

/* The index, or 0xFFFFFFFF when there is no such run. */
ULONG NTAPI RtlFindClearBitsAndSet(PRTL_BITMAP BitMapHeader, ULONG NumberToFind, ULONG HintIndex)
{
	ULONG start = find(BitMapHeader, NumberToFind, HintIndex, false);
	if (start != NONE)
		put_run(BitMapHeader, start, NumberToFind, true);
	return start;
}

ULONG NTAPI RtlFindSetBitsAndClear(PRTL_BITMAP BitMapHeader, ULONG NumberToFind, ULONG HintIndex)
{
	ULONG start = find(BitMapHeader, NumberToFind, HintIndex, true);
	if (start != NONE)
		put_run(BitMapHeader, start, NumberToFind, false);
	return start;
}
