/* SPDX-License-Identifier: MIT */
/* Pool rules (VER-27, VER-28, VER-31, VER-60, PLT-45, PLT-48): CASE 0 keeps them, the others break
 * one each. */
#include "check.h"

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

static PVOID take(POOL_FLAGS flags)
{
	return ExAllocatePool2(flags, 100, 'tseT');
}

CHECK_HELPER void kept(void)
{
	PVOID block;
	RAISED(DISPATCH_LEVEL, block = take(POOL_FLAG_NON_PAGED); ExFreePoolWithTag(block, 'tseT'));
	RAISED(APC_LEVEL, block = take(POOL_FLAG_PAGED); ExFreePoolWithTag(block, 'tseT'));
	block = take(POOL_FLAG_NON_PAGED);
	memset(block, 0x55, 100);
	ExFreePool(block);
	CHECK(block, "PLT-45 blocks of both kinds");
}

static void freed_resource(void)
{
	PERESOURCE resource = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *resource, 'tseT');
	ExInitializeResourceLite(resource);
	ExFreePoolWithTag(resource, 'tseT');
}

static void freed_locked(void)
{
	PVOID block = ExAllocatePool2(POOL_FLAG_PAGED, PAGE_SIZE, 'tseT');
	PMDL mdl = IoAllocateMdl(block, PAGE_SIZE, FALSE, FALSE, NULL);
	MmProbeAndLockPages(mdl, KernelMode, IoWriteAccess);
	ExFreePoolWithTag(block, 'tseT');
	MmUnlockPages(mdl);
	IoFreeMdl(mdl);
}

CHECK_HELPER void broken(int which)
{
	volatile UCHAR *block = NULL;
	if (which >= 6)
		block = take(which == 7 ? POOL_FLAG_PAGED : POOL_FLAG_NON_PAGED);
	switch (which) {
	case 1:
		block = ExAllocatePoolWithTag(NonPagedPoolNx, 0, 'tseT');
		break;
	case 2:
		RAISED(DISPATCH_LEVEL, block = take(POOL_FLAG_PAGED));
		break;
	case 3:
		RAISED(3, block = take(POOL_FLAG_NON_PAGED));
		break;
	case 4:
		ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_PAGED, 10, 'tseT');
		break;
	case 5:
		ExFreePoolWithTag((PVOID)unload, 'tseT');
		break;
	case 6:
		RAISED(3, ExFreePoolWithTag((PVOID)block, 'tseT'));
		break;
	case 7:
		RAISED(DISPATCH_LEVEL, ExFreePoolWithTag((PVOID)block, 'tseT'));
		break;
	case 8:
		ExFreePoolWithTag((PVOID)block, 'tseT');
		ExFreePoolWithTag((PVOID)block, 'tseT');
		break;
	case 9:
		ExFreePoolWithTag((PVOID)block, 'gnrW');
		break;
	case 10:
		block[100] = 1;
		ExFreePoolWithTag((PVOID)block, 'tseT');
		break;
	case 11:
		freed_resource();
		break;
	case 12:
		freed_locked();
		break;
	}
	if (which > 10 || (which <= 3 && block))
		ExFreePoolWithTag((PVOID)block, 'tseT');
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	if (CASE)
		broken(CASE);
	else
		kept();
	return check_result();
}
