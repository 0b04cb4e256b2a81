/* SPDX-License-Identifier: MIT */
/*
 * memory.c: looking at memory: physical addresses, validity, copies that never fault.
 *
 * Contexts as said for each; no locks.
 * Implements DEF-167, DEF-179, DEF-203..205, DEF-273, DEF-306.
 */
#include "ex/pool.h"
#include "ke/guard.h"
#include "mm/mm_internal.h"
#include "mm/user.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

#define TAG_RANGES 'naRM'

/* IRQL any. Stable while the memory is there; 0 when it is not. (DEF-203) */
PHYSICAL_ADDRESS NTAPI MmGetPhysicalAddress(PVOID BaseAddress)
{
	PHYSICAL_ADDRESS physical = {.QuadPart = (LONGLONG)mm_physical_of(BaseAddress)};
	return physical;
}

/* IRQL any. The inverse; 0 when it is no memory of the model. (DEF-273) */
PVOID NTAPI MmGetVirtualForPhysical(PHYSICAL_ADDRESS PhysicalAddress)
{
	return mm_virtual_of((uint64_t)PhysicalAddress.QuadPart);
}

/* IRQL <= DISPATCH_LEVEL by its page; works anywhere. TRUE: an access would not fault now.
 * (DEF-167) */
BOOLEAN NTAPI MmIsAddressValid(PVOID VirtualAddress)
{
	return mm_user_accessible((uint64_t)VirtualAddress, false);
}

/* PASSIVE_LEVEL. The machine's RAM in ascending order, ended by 0, 0; the caller frees it. 0: no
 * memory. (DEF-204) */
PPHYSICAL_MEMORY_RANGE NTAPI MmGetPhysicalMemoryRanges(VOID)
{
	static const enum ex_arena_id order[] = {EX_ARENA_LOW, EX_ARENA_NONPAGED, EX_ARENA_PAGED};
	PPHYSICAL_MEMORY_RANGE ranges = ex_allocate_for((EX_ARENAS + 1) * sizeof(*ranges),
							TAG_RANGES, NonPagedPoolNx, VF_CALLER());
	if (!ranges)
		return NULL;
	size_t count = 0;
	for (size_t i = 0; i < EX_ARENAS; i++) {
		const struct ex_arena *arena = &ex_arenas[order[i]];
		LONGLONG base = (LONGLONG)arena->physical;
		LONGLONG size = (LONGLONG)arena->page_count << PAGE_SHIFT;
		PPHYSICAL_MEMORY_RANGE last = count ? &ranges[count - 1] : NULL;
		if (last && last->BaseAddress.QuadPart + last->NumberOfBytes.QuadPart == base) {
			last->NumberOfBytes.QuadPart += size;
			continue;
		}
		ranges[count].BaseAddress.QuadPart = base;
		ranges[count].NumberOfBytes.QuadPart = size;
		count++;
	}
	ranges[count].BaseAddress.QuadPart = 0;
	ranges[count].NumberOfBytes.QuadPart = 0;
	return ranges;
}

/* ---- Device memory: the model has none, only RAM
 * ------------------------------------------------------- */

/* IRQL <= DISPATCH_LEVEL. The memory's own address; 0 when it is not RAM in use. (DEF-205) */
PVOID NTAPI MmMapIoSpace(PHYSICAL_ADDRESS PhysicalAddress, SIZE_T NumberOfBytes,
			 MEMORY_CACHING_TYPE CacheType)
{
	(void)CacheType;
	uint64_t physical = (uint64_t)PhysicalAddress.QuadPart;
	if (!NumberOfBytes || physical + NumberOfBytes < physical)
		return NULL;
	char *first = mm_virtual_of(physical);
	for (uint64_t offset = 0; first && offset < NumberOfBytes; offset += PAGE_SIZE) {
		if (mm_virtual_of(physical + offset) != first + offset)
			return NULL;
	}
	return first && mm_virtual_of(physical + NumberOfBytes - 1) == first + NumberOfBytes - 1
		       ? first
		       : NULL;
}

PVOID NTAPI MmMapIoSpaceEx(PHYSICAL_ADDRESS PhysicalAddress, SIZE_T NumberOfBytes, ULONG Protect)
{
	(void)Protect;
	return MmMapIoSpace(PhysicalAddress, NumberOfBytes, MmNonCached);
}

/* IRQL <= DISPATCH_LEVEL. (DEF-179) */
VOID NTAPI MmUnmapIoSpace(PVOID BaseAddress, SIZE_T NumberOfBytes)
{
	(void)NumberOfBytes;
	if (vf_on() && !mm_physical_of(BaseAddress))
		vf_report(VF_MdlUnmapNotMapped, __func__, VF_CALLER(), (uint64_t)BaseAddress,
			  "unmaps %p, which is not mapped", BaseAddress);
}

/* ---- Copies
 * ------------------------------------------------------------------------------------------------
 */

/* Where the bytes at `offset` are; 0: nowhere. */
static const char *source_at(const MM_COPY_ADDRESS *source, ULONG flags, uint64_t offset)
{
	if (flags == MM_COPY_MEMORY_VIRTUAL)
		return (const char *)source->VirtualAddress + offset;
	return mm_virtual_of((uint64_t)source->PhysicalAddress.QuadPart + offset);
}

/*
 * IRQL <= APC_LEVEL. Never faults on the source. *NumberOfBytesTransferred: up to the first byte
 * that is not there. STATUS_SUCCESS; STATUS_INVALID_PARAMETER: the flags name not exactly one kind
 * of address; STATUS_PARTIAL_COPY; STATUS_INVALID_ADDRESS: not one byte. (DEF-306)
 */
NTSTATUS NTAPI MmCopyMemory(PVOID TargetAddress, MM_COPY_ADDRESS SourceAddress,
			    SIZE_T NumberOfBytes, ULONG Flags, PSIZE_T NumberOfBytesTransferred)
{
	uint64_t done = 0;
	*NumberOfBytesTransferred = 0;
	if (Flags != MM_COPY_MEMORY_VIRTUAL && Flags != MM_COPY_MEMORY_PHYSICAL)
		return STATUS_INVALID_PARAMETER;
	while (done < NumberOfBytes) {
		const char *from = source_at(&SourceAddress, Flags, done);
		uint64_t chunk =
			PAGE_SIZE - ((uint64_t)from & (PAGE_SIZE - 1)); /* to the end of the page */
		if (chunk > NumberOfBytes - done)
			chunk = NumberOfBytes - done;
		if (!from || !ke_guard_copy((char *)TargetAddress + done, from, chunk))
			break;
		done += chunk;
	}
	*NumberOfBytesTransferred = done;
	if (done == NumberOfBytes)
		return STATUS_SUCCESS;
	return done ? STATUS_PARTIAL_COPY : STATUS_INVALID_ADDRESS;
}
