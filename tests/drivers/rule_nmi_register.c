/* SPDX-License-Identifier: MIT */
/*
 * Registration and deregistration of NMI callbacks (NMI-6, NMI-12, NMI-15, VER-40, VER-43, VER-45,
 * DEF-24, DEF-340). CASE 0 does it right; 1 PAGE section; 2 context in paged pool; 3 no routine; 4
 * deregistered twice; 5 NULL handle; 6 garbage handle; 7 stale handle while another registration
 * lives; 8 left at unload; 9 left by a DriverEntry that fails.
 */
#include "check.h"
#include <ntaffinity.h>

static volatile LONG calls;

static BOOLEAN NTAPI callback(PVOID Context, BOOLEAN Handled)
{
	UNREFERENCED_PARAMETER(Context);
	UNREFERENCED_PARAMETER(Handled);
	InterlockedIncrement(&calls);
	return TRUE;
}

__attribute__((section("PAGE"), noinline)) static BOOLEAN NTAPI pageable(PVOID Context,
									 BOOLEAN Handled)
{
	return Handled || Context != NULL;
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

static void send(void)
{
	KAFFINITY_EX set;
	KeInitializeAffinityEx(&set);
	KeAddProcessorAffinityEx(&set, 0);
	HalSendNMI(&set);
}

static void stale(PVOID handle)
{
	PVOID second = KeRegisterNmiCallback(callback, NULL);
	CHECK(KeDeregisterNmiCallback(handle) == STATUS_INVALID_HANDLE,
	      "DEF-24 a stale handle is refused");
	LONG before = calls;
	send();
	for (int i = 0; i < 100 && calls == before; i++)
		check_sleep(1);
	CHECK(calls == before + 1, "NMI-12 a stale handle does not remove another registration");
	CHECK(KeDeregisterNmiCallback(second) == STATUS_SUCCESS,
	      "NMI-11 the other one is deregistered");
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	PVOID context = NULL, handle;
	if (CASE == 2)
		context = ExAllocatePool2(POOL_FLAG_PAGED, 32, 'tseT');
	handle = KeRegisterNmiCallback(CASE == 1 ? pageable : CASE == 3 ? NULL : callback, context);
	CHECK((handle != NULL) == (CASE != 3),
	      "NMI-5, NMI-6 a handle for a routine, NULL without one");
	if (CASE == 8)
		return STATUS_SUCCESS;
	if (CASE == 9)
		return STATUS_CANCELLED;
	if (CASE != 3)
		CHECK(KeDeregisterNmiCallback(handle) == STATUS_SUCCESS, "NMI-11 a live handle");
	switch (CASE) {
	case 4:
		CHECK(KeDeregisterNmiCallback(handle) == STATUS_INVALID_HANDLE,
		      "NMI-12 a second time");
		break;
	case 5:
		CHECK(KeDeregisterNmiCallback(NULL) == STATUS_INVALID_HANDLE, "NMI-12 NULL");
		break;
	case 6:
		CHECK(KeDeregisterNmiCallback((PVOID)0xdeadbeefcafef00d) == STATUS_INVALID_HANDLE,
		      "NMI-12 garbage");
		break;
	case 7:
		stale(handle);
		break;
	}
	if (context)
		ExFreePoolWithTag(context, 'tseT');
	return check_result();
}
