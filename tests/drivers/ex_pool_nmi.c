/* SPDX-License-Identifier: MIT */
/*
 * DEF-22: NMI callbacks that allocate and free while the interrupted code is inside the pool:
 * nothing hangs, nothing is lost, the rule is reported (VER-46).
 */
#include "check.h"

#define TAG 'imNP'

static PVOID handle, threads[2];
static LONG volatile stop, hits, refused, damaged;

static BOOLEAN NTAPI callback(PVOID context, BOOLEAN handled)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(handled);
	PUCHAR block = ExAllocatePoolWithTag(NonPagedPoolNx, 100, TAG);
	InterlockedIncrement(&hits);
	if (!block) {
		InterlockedIncrement(&refused);
		return TRUE;
	}
	for (int i = 0; i < 100; i++)
		block[i] = (UCHAR)i;
	for (int i = 0; i < 100; i++)
		if (block[i] != i)
			InterlockedIncrement(&damaged);
	ExFreePoolWithTag(block, TAG);
	return TRUE;
}

static VOID NTAPI hammer(PVOID context)
{
	UCHAR mark = (UCHAR)(ULONG_PTR)context;
	while (!stop) {
		PUCHAR block = ExAllocatePoolWithTag(NonPagedPoolNx, 64, TAG);
		block[0] = block[63] = mark;
		if (block[0] != mark || block[63] != mark)
			InterlockedIncrement(&damaged);
		ExFreePoolWithTag(block, TAG);
	}
}

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
	stop = 1;
	for (int i = 0; i < 2; i++)
		check_join(threads[i]);
	KeDeregisterNmiCallback(handle);
	CHECK(hits > 0, "DEF-22 the callback ran");
	CHECK(!refused, "DEF-22 the reserve was enough");
	CHECK(!damaged, "DEF-22 no block was damaged");
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	handle = KeRegisterNmiCallback(callback, NULL);
	for (int i = 0; i < 2; i++)
		threads[i] = check_thread(hammer, (PVOID)(ULONG_PTR)(i + 1));
	return STATUS_SUCCESS;
}
