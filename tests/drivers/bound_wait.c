/* SPDX-License-Identifier: MIT */
/*
 * Deregistration while the callback runs, and waits (BND-15): it returns when the call has ended,
 * and later exceptions go to the program. Action: `bound_program32 handler 2 1`.
 */
#include "bound.h"

static PVOID handle, threads[2];
static KEVENT entered, leave;
static volatile LONG inside, deregistered;

static BOUND_CALLBACK_STATUS NTAPI on_bound(VOID)
{
	InterlockedIncrement(&inside);
	KeSetEvent(&entered, IO_NO_INCREMENT, FALSE);
	KeWaitForSingleObject(&leave, Executive, KernelMode, FALSE, NULL);
	InterlockedDecrement(&inside);
	return bound_handle();
}

static VOID NTAPI deregisters(PVOID unused)
{
	UNREFERENCED_PARAMETER(unused);
	KeWaitForSingleObject(&entered, Executive, KernelMode, FALSE, NULL);
	bound_deregister(handle);
	CHECK(!inside, "BND-15 no call runs when it returns");
	InterlockedExchange(&deregistered, 1);
}

static VOID NTAPI watches(PVOID unused)
{
	KIRQL old;
	UNREFERENCED_PARAMETER(unused);
	KeWaitForSingleObject(&entered, Executive, KernelMode, FALSE, NULL);
	check_sleep(50);
	CHECK(!deregistered && inside, "BND-15 it waits for the call");
	CHECK(KeDeregisterBoundCallback(handle) == STATUS_INVALID_HANDLE,
	      "BND-7 the handle is stale from the beginning");
	KeRaiseIrql(APC_LEVEL, &old);
	KeLowerIrql(old);
	KeSetEvent(&leave, IO_NO_INCREMENT, FALSE);
}

static VOID NTAPI unload(PDRIVER_OBJECT DriverObject)
{
	UNREFERENCED_PARAMETER(DriverObject);
	check_join(threads[0]);
	check_join(threads[1]);
	CHECK(deregistered, "BND-15 it has returned");
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	UNREFERENCED_PARAMETER(RegistryPath);
	DriverObject->DriverUnload = unload;
	KeInitializeEvent(&entered, NotificationEvent, FALSE);
	KeInitializeEvent(&leave, NotificationEvent, FALSE);
	handle = KeRegisterBoundCallback(on_bound);
	threads[0] = check_thread(deregisters, NULL);
	threads[1] = check_thread(watches, NULL);
	CHECK(handle && threads[0] && threads[1], "BND-6 a handle");
	return check_result();
}
