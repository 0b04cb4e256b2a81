/* SPDX-License-Identifier: MIT */
/*
 * DEF-337 under load: threads write and check paged pool while others raise to DISPATCH_LEVEL,
 * which takes it away, and while locked pages are used at DISPATCH_LEVEL. No content is lost, and
 * nobody is accused.
 */
#include "check.h"

#define TAG     'rtsM'
#define THREADS 4
#define ROUNDS  1500

static LONG volatile damaged;
static PUCHAR shared; /* paged, one page for each thread, and one that is locked now and then */

static void check_block(PUCHAR block, SIZE_T size, UCHAR mark)
{
	for (SIZE_T i = 0; i < size; i += 97)
		if (block[i] != (UCHAR)(mark + i))
			InterlockedIncrement(&damaged);
}

static void fill_block(PUCHAR block, SIZE_T size, UCHAR mark)
{
	for (SIZE_T i = 0; i < size; i++)
		block[i] = (UCHAR)(mark + i);
}

static void raise_and_lower(void)
{
	KIRQL old;
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	KeLowerIrql(old);
}

/* A page that is shared with the other threads' trimming. */
static void with_locked(PUCHAR page, UCHAR mark)
{
	KIRQL old;
	PMDL mdl = IoAllocateMdl(page, PAGE_SIZE, FALSE, FALSE, NULL);
	MmProbeAndLockPages(mdl, KernelMode, IoModifyAccess);
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	fill_block(page, PAGE_SIZE, mark);
	check_block(page, PAGE_SIZE, mark);
	KeLowerIrql(old);
	MmUnlockPages(mdl);
	IoFreeMdl(mdl);
	check_block(page, PAGE_SIZE, mark);
}

static VOID NTAPI worker(PVOID context)
{
	UCHAR mark = (UCHAR)(ULONG_PTR)context;
	PUCHAR own = shared + mark * PAGE_SIZE;
	PUCHAR blocks[8] = {0};
	SIZE_T sizes[8];
	ULONG seed = mark + 1;
	for (int i = 0; i < ROUNDS; i++) {
		seed = seed * 1103515245 + 12345;
		ULONG slot = seed >> 16 & 7;
		if (blocks[slot]) {
			check_block(blocks[slot], sizes[slot], mark);
			ExFreePoolWithTag(blocks[slot], TAG);
			blocks[slot] = NULL;
		} else {
			sizes[slot] = (seed >> 8 & 0x1fff) + 1;
			blocks[slot] = ExAllocatePool2(POOL_FLAG_PAGED, sizes[slot], TAG);
			fill_block(blocks[slot], sizes[slot], mark);
		}
		if (i % 3 == 0)
			raise_and_lower();
		if (i % 5 == 0)
			with_locked(own, mark);
		check_block(own, PAGE_SIZE, mark);
	}
	for (int i = 0; i < 8; i++) {
		if (!blocks[i])
			continue;
		check_block(blocks[i], sizes[i], mark);
		ExFreePoolWithTag(blocks[i], TAG);
	}
}

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	PVOID threads[THREADS];
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	shared = ExAllocatePool2(POOL_FLAG_PAGED, THREADS * PAGE_SIZE, TAG);
	for (int i = 0; i < THREADS; i++)
		fill_block(shared + i * PAGE_SIZE, PAGE_SIZE, (UCHAR)i);
	for (int i = 0; i < THREADS; i++)
		threads[i] = check_thread(worker, (PVOID)(ULONG_PTR)i);
	for (int i = 0; i < THREADS; i++)
		check_join(threads[i]);
	ExFreePool(shared);
	CHECK(!damaged, "DEF-337 contents survive");
	return check_result();
}
