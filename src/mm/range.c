/* SPDX-License-Identifier: MIT */
/*
 * range.c: where user memory ends and the kernel's begins, and probing by it.
 *
 * Probes: IRQL <= APC_LEVEL; they raise in the driver at its call (DDI_THUNK, DDI_FAULT), and hold
 * nothing. Implements DEF-314, DEF-325 and VER-15's probes. Chosen: all kernel memory (pool,
 * images, stacks) lies at 0x400000000000 or above, so this is where the system range begins; the 64
 * KiB below it belong to nobody, as on Windows.
 */
#include "mm/mm_internal.h"

#define SYSTEM_RANGE 0x400000000000u
#define NO_MANS_LAND 0x10000u

PVOID MmSystemRangeStart = (PVOID)SYSTEM_RANGE;
PVOID MmHighestUserAddress = (PVOID)(SYSTEM_RANGE - NO_MANS_LAND - 1);
ULONG_PTR MmUserProbeAddress = SYSTEM_RANGE - NO_MANS_LAND;

/* Raises unless the range is aligned and lies in user memory. */
static void probe(uint64_t start, SIZE_T length, ULONG alignment)
{
	if (alignment && start & (alignment - 1))
		ExRaiseStatus(STATUS_DATATYPE_MISALIGNMENT);
	if (start + length < start || start + length > MmUserProbeAddress)
		ExRaiseStatus(STATUS_ACCESS_VIOLATION);
}

/* IRQL <= APC_LEVEL. Raises STATUS_DATATYPE_MISALIGNMENT or STATUS_ACCESS_VIOLATION; length 0
 * always passes. Touches nothing. */
VOID NTAPI ProbeForRead(const volatile VOID *Address, SIZE_T Length, ULONG Alignment)
{
	if (Length)
		probe((uint64_t)Address, Length, Alignment);
}

/* The same, and each page must be writable: one byte of each is read and written back. */
VOID NTAPI ProbeForWrite(volatile VOID *Address, SIZE_T Length, ULONG Alignment)
{
	if (!Length)
		return;
	probe((uint64_t)Address, Length, Alignment);
	volatile char *last = (volatile char *)Address + Length - 1;
	volatile char *byte = Address;
	while (byte <= last) {
		*byte = *byte;
		byte = (volatile char *)(((uint64_t)byte | (PAGE_SIZE - 1)) + 1);
	}
}

/* IRQL any. Always the same kind of machine: a large one. */
ULONG NTAPI MmQuerySystemSize(VOID)
{
	return 2; /* MmLargeSystem */
}
