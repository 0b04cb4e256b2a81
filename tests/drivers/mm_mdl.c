/* SPDX-License-Identifier: MIT */
/* MDLs and probes: CASE 0 as allowed; the others break one rule each (PLT-49..54, VER-15, VER-32,
 * VER-44, VER-60). */
#include "check.h"

#define TAG 'ldmT'

static PUCHAR nonpaged, paged;

static __attribute__((noinline, unused)) void probe_and_lock(PMDL mdl, KPROCESSOR_MODE mode,
							     LOCK_OPERATION operation)
{
	MmProbeAndLockPages(mdl, mode, operation);
}

CHECK_HELPER NTSTATUS lock(PMDL mdl, KPROCESSOR_MODE mode, LOCK_OPERATION operation)
{
	NTSTATUS status = STATUS_SUCCESS;
	__try {
		probe_and_lock(mdl, mode, operation);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		status = GetExceptionCode();
	}
	return status;
}

CHECK_HELPER void fields(void)
{
	PMDL mdl = IoAllocateMdl(nonpaged + 0x123, 2 * PAGE_SIZE, FALSE, FALSE, NULL);
	CHECK(mdl && mdl->StartVa == nonpaged && mdl->ByteOffset == 0x123 &&
		      mdl->ByteCount == 2 * PAGE_SIZE && mdl->Size == 0x30 + 8 * 3 && !mdl->Next,
	      "PLT-50 fields after IoAllocateMdl");
	CHECK(MmGetMdlVirtualAddress(mdl) == nonpaged + 0x123, "PLT-50 MmGetMdlVirtualAddress");
	CHECK(MmSizeOfMdl((PVOID)1, PAGE_SIZE) == 0x30 + 8 * 2, "MmSizeOfMdl");

	MmBuildMdlForNonPagedPool(mdl);
	PPFN_NUMBER frames = MmGetMdlPfnArray(mdl);
	CHECK((mdl->MdlFlags & MDL_SOURCE_IS_NONPAGED_POOL) &&
		      mdl->MappedSystemVa == nonpaged + 0x123,
	      "PLT-51 built");
	CHECK(MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority) == nonpaged + 0x123,
	      "PLT-51 system address");
	BOOLEAN right = TRUE;
	for (int i = 0; i < 3; i++)
		right = right &&
			frames[i] ==
				(ULONG64)MmGetPhysicalAddress(nonpaged + i * PAGE_SIZE).QuadPart >>
					PAGE_SHIFT;
	CHECK(right && frames[0], "PLT-51 page frame numbers");

	PMDL part = IoAllocateMdl(nonpaged + PAGE_SIZE, 100, FALSE, FALSE, NULL);
	IoBuildPartialMdl(mdl, part, nonpaged + PAGE_SIZE + 5, 50);
	CHECK((part->MdlFlags & MDL_PARTIAL) && MmGetMdlByteCount(part) == 50 &&
		      MmGetMdlPfnArray(part)[0] == frames[1] &&
		      MmGetSystemAddressForMdlSafe(part, NormalPagePriority) ==
			      nonpaged + PAGE_SIZE + 5,
	      "IoBuildPartialMdl");
	IoFreeMdl(part);
	IoFreeMdl(mdl);
	CHECK(!IoAllocateMdl(nonpaged, 0xfffff001, FALSE, FALSE, NULL), "PLT-49 too long");
}

CHECK_HELPER void locking(void)
{
	PMDL mdl = IoAllocateMdl(paged + 10, 3 * PAGE_SIZE, FALSE, FALSE, NULL);
	CHECK(lock(mdl, KernelMode, IoWriteAccess) == STATUS_SUCCESS,
	      "PLT-52 paged pool is locked");
	CHECK((mdl->MdlFlags & (MDL_PAGES_LOCKED | MDL_WRITE_OPERATION)) ==
		      (MDL_PAGES_LOCKED | MDL_WRITE_OPERATION),
	      "PLT-52 flags");
	PUCHAR mapped = MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority);
	CHECK(mapped && (mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA) && mdl->MappedSystemVa == mapped,
	      "PLT-53 mapped");

	KIRQL old;
	KeRaiseIrql(DISPATCH_LEVEL, &old); /* takes pageable memory away, but not this */
	mapped[0] = 77;
	mapped[2 * PAGE_SIZE] = 78;
	KeLowerIrql(old);
	CHECK(paged[10] == 77 && paged[10 + 2 * PAGE_SIZE] == 78,
	      "DEF-337 locked pages at DISPATCH_LEVEL");
	MmUnmapLockedPages(mapped, mdl);
	CHECK(!(mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA), "PLT-53 unmapped");
	MmUnlockPages(mdl);
	CHECK(!(mdl->MdlFlags & MDL_PAGES_LOCKED), "PLT-53 unlocked");
	CHECK(lock(mdl, KernelMode, IoReadAccess) == STATUS_SUCCESS, "PLT-52 and locked again");
	MmMapLockedPagesSpecifyCache(mdl, KernelMode, MmCached, NULL, FALSE, NormalPagePriority);
	MmUnlockPages(mdl);
	CHECK(!(mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA), "PLT-53 MmUnlockPages unmaps");
	IoFreeMdl(mdl);

	mdl = IoAllocateMdl((PVOID)0x10000, 100, FALSE, FALSE, NULL);
	CHECK(lock(mdl, UserMode, IoReadAccess) == STATUS_ACCESS_VIOLATION,
	      "PLT-52 no such user memory");
	IoFreeMdl(mdl);
	mdl = IoAllocateMdl(nonpaged, 100, FALSE, FALSE, NULL);
	CHECK(lock(mdl, UserMode, IoReadAccess) == STATUS_ACCESS_VIOLATION,
	      "PLT-52 kernel memory in UserMode");
	CHECK(lock(mdl, KernelMode, IoReadAccess) == STATUS_SUCCESS,
	      "DEF-90 nonpaged pool may be locked");
	MmUnlockPages(mdl);
	IoFreeMdl(mdl);
}

CHECK_HELPER void pages(void)
{
	PHYSICAL_ADDRESS zero = {{0}}, all = {{0}}, skip = {{0}};
	all.QuadPart = -1;
	PMDL mdl = MmAllocatePagesForMdlEx(zero, all, skip, 5 * PAGE_SIZE, MmCached, 0);
	CHECK(mdl && MmGetMdlByteCount(mdl) == 5 * PAGE_SIZE && (mdl->MdlFlags & MDL_PAGES_LOCKED),
	      "MmAllocatePagesForMdlEx");
	PUCHAR mapped = MmMapLockedPagesSpecifyCache(mdl, KernelMode, MmCached, NULL, FALSE,
						     NormalPagePriority);
	BOOLEAN zeroed = mapped != NULL;
	for (ULONG i = 0; zeroed && i < 5 * PAGE_SIZE; i++)
		zeroed = !mapped[i];
	CHECK(zeroed, "its pages are zero");
	MmUnmapLockedPages(mapped, mdl);
	MmFreePagesFromMdl(mdl);
	ExFreePool(mdl);

	PHYSICAL_ADDRESS limit = {{0}}, boundary = {{0}};
	limit.QuadPart = 0xffffff;
	PVOID low = MmAllocateContiguousMemory(3 * PAGE_SIZE, limit);
	CHECK(low && MmGetPhysicalAddress(low).QuadPart + 3 * PAGE_SIZE <= 0x1000000 &&
		      MmGetPhysicalAddress((PUCHAR)low + 2 * PAGE_SIZE).QuadPart ==
			      MmGetPhysicalAddress(low).QuadPart + 2 * PAGE_SIZE,
	      "MmAllocateContiguousMemory below 16 MiB");
	CHECK(MmGetVirtualForPhysical(MmGetPhysicalAddress(low)) == low, "DEF-273 the inverse");
	MmFreeContiguousMemory(low);
	limit.QuadPart = 0x2fffff; /* 2 MiB above the first one: room for fewer than 40 */
	PVOID all_low[40];
	ULONG count = 0;
	BOOLEAN below = TRUE;
	while (count < 40 &&
	       (all_low[count] = MmAllocateContiguousMemory(16 * PAGE_SIZE, limit)) != NULL) {
		below = below &&
			MmGetPhysicalAddress(all_low[count]).QuadPart + 16 * PAGE_SIZE <= 0x300000;
		count++;
	}
	CHECK(count > 10 && count < 40 && below, "MmAllocateContiguousMemory keeps to the limit");
	while (count)
		MmFreeContiguousMemory(all_low[--count]);
	boundary.QuadPart = 0x10000;
	low = MmAllocateContiguousMemorySpecifyCache(0xc000, zero, all, boundary, MmCached);
	CHECK(low && MmGetPhysicalAddress(low).QuadPart / 0x10000 ==
			      (MmGetPhysicalAddress(low).QuadPart + 0xbfff) / 0x10000,
	      "MmAllocateContiguousMemorySpecifyCache crosses no boundary");
	MmFreeContiguousMemorySpecifyCache(low, 0xc000, MmCached);
	limit.QuadPart = 0xfff;
	CHECK(!MmAllocateContiguousMemory(PAGE_SIZE, limit),
	      "MmAllocateContiguousMemory in the first page");
}

static __attribute__((noinline, unused)) void poke(volatile UCHAR *address)
{
	*address = 1;
}

CHECK_HELPER void mappings(void)
{
	NTSTATUS volatile status = 0;
	PMDL mdl = IoAllocateMdl(nonpaged, 2 * PAGE_SIZE, FALSE, FALSE, NULL);
	MmProbeAndLockPages(mdl, KernelMode, IoModifyAccess);
	PVOID reserved = MmAllocateMappingAddress(4 * PAGE_SIZE, TAG);
	PUCHAR mapped = MmMapLockedPagesWithReservedMapping(reserved, TAG, mdl, MmCached);
	CHECK(reserved && mapped, "MmMapLockedPagesWithReservedMapping");
	mapped[PAGE_SIZE] = 99;
	CHECK(nonpaged[PAGE_SIZE] == 99, "the mapping is the memory");
	MmUnmapReservedMapping(reserved, TAG, mdl);
	CHECK(!(mdl->MdlFlags & MDL_MAPPED_TO_SYSTEM_VA), "MmUnmapReservedMapping");
	MmFreeMappingAddress(reserved, TAG);

	CHECK(MmProtectMdlSystemAddress(mdl, PAGE_READONLY) == STATUS_NOT_MAPPED_VIEW,
	      "nothing to protect");
	mapped = MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority);
	CHECK(MmProtectMdlSystemAddress(mdl, 0x1000) == STATUS_INVALID_PAGE_PROTECTION,
	      "not a protection");
	CHECK(MmProtectMdlSystemAddress(mdl, PAGE_READONLY) == STATUS_SUCCESS,
	      "MmProtectMdlSystemAddress");
	__try {
		poke(mapped);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		status = GetExceptionCode();
	}
	CHECK(status == STATUS_ACCESS_VIOLATION, "a read-only mapping cannot be written");
	MmUnlockPages(mdl);
	poke(nonpaged);
	CHECK(nonpaged[0] == 1, "after the unlock the memory can");
	IoFreeMdl(mdl);
}

static __attribute__((noinline, unused)) void probe(PVOID address, SIZE_T length, ULONG alignment,
						    BOOLEAN write)
{
	if (write)
		ProbeForWrite(address, length, alignment);
	else
		ProbeForRead(address, length, alignment);
}

CHECK_HELPER NTSTATUS probed(PVOID address, SIZE_T length, ULONG alignment, BOOLEAN write)
{
	NTSTATUS status = STATUS_SUCCESS;
	__try {
		probe(address, length, alignment, write);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		status = GetExceptionCode();
	}
	return status;
}

CHECK_HELPER void probes(void)
{
	CHECK(probed((PVOID)0x20000, 100, 4, FALSE) == STATUS_SUCCESS,
	      "ProbeForRead touches nothing");
	CHECK(probed((PVOID)0x20000, 100, 4, TRUE) == STATUS_ACCESS_VIOLATION,
	      "ProbeForWrite does");
	CHECK(probed((PVOID)0x20001, 100, 4, FALSE) == STATUS_DATATYPE_MISALIGNMENT, "alignment");
	CHECK(probed(nonpaged, 100, 1, FALSE) == STATUS_ACCESS_VIOLATION, "DEF-325 kernel memory");
	CHECK(probed((PVOID)~0ull, 100, 1, FALSE) == STATUS_ACCESS_VIOLATION, "a range that wraps");
	CHECK(probed(nonpaged, 0, 1, TRUE) == STATUS_SUCCESS, "length 0");
}

CHECK_HELPER void memory(void)
{
	MM_COPY_ADDRESS from;
	UCHAR buffer[64] = {0};
	SIZE_T done = 0;

	RtlFillMemory(nonpaged, PAGE_SIZE, 0x3c);
	from.VirtualAddress = nonpaged;
	CHECK(MmCopyMemory(buffer, from, 64, MM_COPY_MEMORY_VIRTUAL, &done) == STATUS_SUCCESS &&
		      done == 64 && buffer[63] == 0x3c,
	      "DEF-306 MmCopyMemory virtual");
	from.PhysicalAddress = MmGetPhysicalAddress(nonpaged + 8);
	buffer[0] = 0;
	CHECK(MmCopyMemory(buffer, from, 8, MM_COPY_MEMORY_PHYSICAL, &done) == STATUS_SUCCESS &&
		      buffer[0] == 0x3c,
	      "DEF-306 MmCopyMemory physical");
	from.VirtualAddress = (PVOID)0xffffff8000001000;
	CHECK(!NT_SUCCESS(MmCopyMemory(buffer, from, 8, MM_COPY_MEMORY_VIRTUAL, &done)) && !done,
	      "DEF-306 an address that is not there");
	CHECK(MmCopyMemory(buffer, from, 8, 3, &done) == STATUS_INVALID_PARAMETER,
	      "DEF-306 both flags");

	CHECK(MmIsAddressValid(nonpaged) && !MmIsAddressValid(NULL) &&
		      !MmIsAddressValid((PVOID)0xffffff8000001000),
	      "DEF-167 MmIsAddressValid");
	CHECK(MmGetPhysicalAddress((PVOID)0xffffff8000001000).QuadPart == 0,
	      "DEF-203 0 when invalid");
	CHECK((MmGetPhysicalAddress(nonpaged + 77).QuadPart & 0xfff) == 77,
	      "DEF-203 keeps the offset");
	CHECK(MmGetVirtualForPhysical(MmGetPhysicalAddress(&done)) == &done,
	      "DEF-273 a stack page");
	CHECK(MmGetVirtualForPhysical(MmGetPhysicalAddress(&nonpaged)) == &nonpaged,
	      "DEF-273 an image page");

	PPHYSICAL_MEMORY_RANGE ranges = MmGetPhysicalMemoryRanges();
	LONGLONG physical = MmGetPhysicalAddress(nonpaged).QuadPart;
	BOOLEAN ascending = TRUE, holds = FALSE;
	for (int i = 0; ranges[i].NumberOfBytes.QuadPart; i++) {
		ascending =
			ascending && (!i || ranges[i].BaseAddress.QuadPart >
						    ranges[i - 1].BaseAddress.QuadPart +
							    ranges[i - 1].NumberOfBytes.QuadPart);
		holds = holds || (physical >= ranges[i].BaseAddress.QuadPart &&
				  physical < ranges[i].BaseAddress.QuadPart +
						     ranges[i].NumberOfBytes.QuadPart);
	}
	CHECK(ascending && holds, "DEF-204 MmGetPhysicalMemoryRanges");
	ExFreePool(ranges);

	PHYSICAL_ADDRESS at = MmGetPhysicalAddress(nonpaged), device = {{0}};
	PUCHAR io = MmMapIoSpace(at, PAGE_SIZE, MmNonCached);
	CHECK(io && io[0] == 0x3c, "DEF-205 MmMapIoSpace of RAM");
	MmUnmapIoSpace(io, PAGE_SIZE);
	device.QuadPart = 0xfee00000;
	CHECK(!MmMapIoSpace(device, PAGE_SIZE, MmNonCached), "DEF-205 no device there");
}

#if CASE > 0
static void broken(void)
{
	KIRQL old;
	PMDL mdl = IoAllocateMdl(nonpaged, 2 * PAGE_SIZE, FALSE, FALSE, NULL);
	PMDL pageable = IoAllocateMdl(paged, 2 * PAGE_SIZE, FALSE, FALSE, NULL);
	switch (CASE) {
	case 1: /* 0x70 */
		KeRaiseIrql(HIGH_LEVEL, &old);
		MmProbeAndLockPages(mdl, KernelMode, IoReadAccess);
		KeLowerIrql(old);
		MmUnlockPages(mdl);
		break;
	case 2: /* 0x78 */
		MmProbeAndLockPages(mdl, KernelMode, IoReadAccess);
		KeRaiseIrql(HIGH_LEVEL, &old);
		MmUnlockPages(mdl);
		KeLowerIrql(old);
		break;
	case 3: /* 0x7C */
		MmUnlockPages(mdl);
		break;
	case 4: /* 0x7D */
		MmBuildMdlForNonPagedPool(mdl);
		MmUnlockPages(mdl);
		break;
	case 5: /* 0x7F */
		MmBuildMdlForNonPagedPool(pageable);
		break;
	case 6: /* 0xB0 */
		MmBuildMdlForNonPagedPool(mdl);
		MmProbeAndLockPages(mdl, KernelMode, IoReadAccess);
		break;
	case 7: /* 0xB0: locked twice */
		MmProbeAndLockPages(mdl, KernelMode, IoReadAccess);
		MmProbeAndLockPages(mdl, KernelMode, IoReadAccess);
		MmUnlockPages(mdl);
		break;
	case 8: /* 0xB6 */
		MmProbeAndLockPages(mdl, KernelMode, IoReadAccess);
		MmUnmapLockedPages(nonpaged, mdl);
		MmUnlockPages(mdl);
		break;
	case 9: /* 0xB8 */
		MmProbeAndLockPages(mdl, KernelMode, IoReadAccess);
		MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority);
		IoFreeMdl(mdl);
		mdl = NULL;
		break;
	case 10: /* VER-44: 0xCB, and the MDL's own memory */
		MmProbeAndLockPages(mdl, KernelMode, IoReadAccess);
		mdl = NULL;
		break;
	case 11: { /* VER-60 */
		MmProbeAndLockPages(mdl, KernelMode, IoReadAccess);
		ExFreePool(nonpaged);
		MmUnlockPages(mdl);
		nonpaged = ExAllocatePool2(POOL_FLAG_NON_PAGED, 4 * PAGE_SIZE, TAG);
		break;
	}
	case 12: { /* PLT-51: a stack */
		ULONG local;
		PMDL stack = IoAllocateMdl(&local, sizeof(local), FALSE, FALSE, NULL);
		MmBuildMdlForNonPagedPool(stack);
		IoFreeMdl(stack);
		break;
	}
	case 13: /* PLT-51: nothing to map */
		MmMapLockedPagesSpecifyCache(mdl, KernelMode, MmCached, NULL, FALSE,
					     NormalPagePriority);
		break;
	case 14: { /* VER-19 */
		PHYSICAL_ADDRESS zero = {{0}}, all = {{0}};
		all.QuadPart = -1;
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		PMDL own = MmAllocatePagesForMdl(zero, all, zero, PAGE_SIZE);
		KeLowerIrql(old);
		MmFreePagesFromMdl(own);
		ExFreePool(own);
		break;
	}
	case 15: /* VER-15 */
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		ProbeForRead((PVOID)0x10000, 1, 1);
		KeLowerIrql(old);
		break;
	}
	if (mdl)
		IoFreeMdl(mdl);
	IoFreeMdl(pageable);
}
#endif

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	nonpaged = ExAllocatePool2(POOL_FLAG_NON_PAGED, 4 * PAGE_SIZE, TAG);
	paged = ExAllocatePool2(POOL_FLAG_PAGED, 4 * PAGE_SIZE, TAG);
#if CASE > 0
	broken();
#else
	fields();
	locking();
	pages();
	mappings();
	probes();
	memory();
#endif
	ExFreePool(nonpaged);
	ExFreePool(paged);
	return check_result();
}
