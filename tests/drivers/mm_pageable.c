/* SPDX-License-Identifier: MIT */
/*
 * Pageable memory (DEF-335, DEF-337, VER-35): CASE 0 as allowed; the others touch it at
 * DISPATCH_LEVEL or in an NMI callback: bug check 0xD1 with the verifier, nothing without it.
 */
#include "check.h"

#define TAG                'egaP'
#define PAGED_CODE_SECTION __attribute__((section("PAGEkode"), noinline))

static PULONG paged;
__attribute__((section("PAGEdata"))) static ULONG volatile paged_data = 7;

PAGED_CODE_SECTION static ULONG paged_code(ULONG n)
{
	return n * 3 + paged_data;
}

/* The code that raises and touches must itself be resident. */
static __attribute__((noinline)) void touch(int what)
{
	KIRQL old;
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	switch (what) {
	case 1:
		*(ULONG volatile *)paged = 1;
		break;
	case 2:
		paged_data = 8;
		break;
	case 3:
		paged_code(1);
		break;
	}
	KeLowerIrql(old);
}

#if CASE == 0
static void legal(void)
{
	KIRQL old;
	ULONG volatile value;

	for (int i = 0; i < 20; i++) {
		paged[i * 1024] = i;
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		KeLowerIrql(old);
	}
	BOOLEAN kept = TRUE;
	for (int i = 0; i < 20; i++)
		kept = kept && paged[i * 1024] == (ULONG)i;
	CHECK(kept, "DEF-337 paged pool keeps its contents");
	CHECK(paged_code(1) == 10, "DEF-335 pageable code and data at PASSIVE_LEVEL");
	KeRaiseIrql(APC_LEVEL, &old);
	CHECK(paged_code(1) == 10, "DEF-337 and at APC_LEVEL");
	KeLowerIrql(old);

	PVOID code = MmLockPagableCodeSection(paged_code);
	PVOID data = MmLockPagableDataSection((PVOID)&paged_data);
	CHECK(code && data && code != data, "DEF-337 handles of locked sections");
	MmLockPagableSectionByHandle(code);
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	value = paged_code(2);
	KeLowerIrql(old);
	CHECK(value == 13, "DEF-337 locked sections at DISPATCH_LEVEL");
	MmUnlockPagableImageSection(code);
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	value = paged_code(3);
	KeLowerIrql(old);
	CHECK(value == 16, "DEF-337 locks nest");
	MmUnlockPagableImageSection(code);
	MmUnlockPagableImageSection(data);

	CHECK(MmPageEntireDriver((PVOID)(ULONG_PTR)legal) != NULL, "DEF-337 MmPageEntireDriver");
	CHECK(paged_code(1) == 10, "DEF-337 everything works at PASSIVE_LEVEL");
	MmResetDriverPaging((PVOID)(ULONG_PTR)legal);
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	value = 1;
	KeLowerIrql(old);
	CHECK(value == 1, "DEF-337 MmResetDriverPaging: resident code again");
	UNREFERENCED_PARAMETER(touch);
}
#endif

#if CASE == 5
static BOOLEAN NTAPI callback(PVOID context, BOOLEAN handled)
{
	UNREFERENCED_PARAMETER(handled);
	*(ULONG volatile *)context = 5;
	return TRUE;
}
static PVOID handle;
#endif

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
#if CASE == 5
	KeDeregisterNmiCallback(handle);
#endif
	ExFreePool(paged);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	paged = ExAllocatePool2(POOL_FLAG_PAGED, 20 * PAGE_SIZE, TAG);
#if CASE == 0
	legal();
#elif CASE <= 3
	touch(CASE);
	CHECK(TRUE, "it went on");
#elif CASE == 4
	MmPageEntireDriver((PVOID)(ULONG_PTR)touch);
	touch(0);
#elif CASE == 5
	handle = KeRegisterNmiCallback(callback, paged); /* reported: NmiPageable */
#elif CASE == 6
	PVOID code = MmLockPagableCodeSection(paged_code);
	MmUnlockPagableImageSection(code);
	MmUnlockPagableImageSection(code);
#elif CASE == 7
	ULONG volatile local = paged_code(1);
	PMDL mdl = IoAllocateMdl((PVOID)&paged_data, 4, FALSE, FALSE, NULL);
	MmBuildMdlForNonPagedPool(mdl);
	IoFreeMdl(mdl);
	UNREFERENCED_PARAMETER(local);
#endif
	return check_result();
}
