/* SPDX-License-Identifier: MIT */
/* MDL rules (VER-32, VER-44, PLT-50..53): CASE 0 keeps them, the others break one each. */
#include "check.h"

static PVOID paged, resident;
static PMDL mdl;
__attribute__((section("PAGEDATA"), aligned(4096))) static UCHAR pageable[PAGE_SIZE] = {1};
static UCHAR here[PAGE_SIZE];
static struct {
	MDL mdl;
	PFN_NUMBER pages[4];
} in_image;

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

#define RAISED(level, call)                                                                        \
	do {                                                                                       \
		KIRQL old_;                                                                        \
		KeRaiseIrql(level, &old_);                                                         \
		call;                                                                              \
		KeLowerIrql(old_);                                                                 \
	} while (0)

static void lock(void)
{
	MmProbeAndLockPages(mdl, KernelMode, IoModifyAccess);
}

CHECK_HELPER void kept(void)
{
	lock();
	PUCHAR address = MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority);
	CHECK(address, "PLT-53 mapped");
	address[0] = 7;
	CHECK(*(PUCHAR)paged == 7, "PLT-53 the mapping is the memory");
	MmUnlockPages(mdl);
	IoFreeMdl(mdl);
	mdl = IoAllocateMdl(resident, PAGE_SIZE, FALSE, FALSE, NULL);
	RAISED(DISPATCH_LEVEL, MmBuildMdlForNonPagedPool(mdl));
	CHECK(MmGetSystemAddressForMdlSafe(mdl, NormalPagePriority) == resident,
	      "PLT-51 nonpaged pool is mapped");
	IoFreeMdl(mdl);
}

CHECK_HELPER void broken(int which)
{
	PVOID address = NULL;
	KIRQL old;
	switch (which) {
	case 1:
		IoFreeMdl(mdl);
		mdl = IoAllocateMdl(resident, PAGE_SIZE, FALSE, FALSE, NULL);
		RAISED(3, lock());
		MmUnlockPages(mdl);
		break;
	case 2:
		lock();
		RAISED(3, MmUnlockPages(mdl));
		if (mdl->MdlFlags & MDL_PAGES_LOCKED)
			MmUnlockPages(mdl);
		break;
	case 3:
		MmUnlockPages(mdl);
		break;
	case 4:
		IoFreeMdl(mdl);
		mdl = IoAllocateMdl(resident, PAGE_SIZE, FALSE, FALSE, NULL);
		MmBuildMdlForNonPagedPool(mdl);
		MmUnlockPages(mdl);
		break;
	case 5:
		MmBuildMdlForNonPagedPool(mdl);
		break;
	case 6:
		IoFreeMdl(mdl);
		mdl = IoAllocateMdl(resident, PAGE_SIZE, FALSE, FALSE, NULL);
		MmBuildMdlForNonPagedPool(mdl);
		lock();
		break;
	case 7:
		MmUnmapLockedPages(paged, mdl);
		break;
	case 8:
		lock();
		address = MmMapLockedPagesSpecifyCache(mdl, KernelMode, MmCached, NULL, FALSE,
						       NormalPagePriority);
		IoFreeMdl(mdl);
		mdl = NULL;
		break;
	case 9: /* still locked at unload */
		MmInitializeMdl(&in_image.mdl, here, sizeof here);
		MmProbeAndLockPages(&in_image.mdl, KernelMode, IoWriteAccess);
		break;
	case 10:
		IoFreeMdl(mdl);
		mdl = IoAllocateMdl(pageable, PAGE_SIZE, FALSE, FALSE, NULL);
		MmBuildMdlForNonPagedPool(mdl);
		break;
	case 11: /* not locked */
		KeRaiseIrql(PASSIVE_LEVEL, &old);
		address = MmMapLockedPagesSpecifyCache(mdl, KernelMode, MmCached, NULL, FALSE,
						       NormalPagePriority);
		KeLowerIrql(old);
		break;
	}
	UNREFERENCED_PARAMETER(address);
	if (mdl)
		IoFreeMdl(mdl);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	paged = ExAllocatePool2(POOL_FLAG_PAGED, PAGE_SIZE, 'tseT');
	resident = ExAllocatePool2(POOL_FLAG_NON_PAGED, PAGE_SIZE, 'tseT');
	mdl = IoAllocateMdl(paged, PAGE_SIZE, FALSE, FALSE, NULL);
	if (CASE)
		broken(CASE);
	else
		kept();
	ExFreePoolWithTag(paged, 'tseT');
	ExFreePoolWithTag(resident, 'tseT');
	return check_result();
}
