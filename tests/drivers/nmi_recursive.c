/* SPDX-License-Identifier: MIT */
/* An exception that ends inside an NMI callback lets NMIs in again: the next one is RECURSIVE_NMI
 * (NMI-39). */
#include "check.h"
#include <ntaffinity.h>

static BOOLEAN NTAPI on_nmi(PVOID context, BOOLEAN handled)
{
	KAFFINITY_EX self;
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(handled);
	KeInitializeAffinityEx(&self);
	KeAddProcessorAffinityEx(&self, KeGetCurrentProcessorNumberEx(NULL));
	HalSendNMI(&self); /* latched: NMIs are blocked */
#ifdef EXCEPTION
	__asm__ volatile("int $0x2d\n\tnop" : : "a"(0) : "memory");
	DbgPrint("FAIL NMI-39 the latched NMI did not come\n");
#endif
	return TRUE;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	KAFFINITY_EX first;
	UNREFERENCED_PARAMETER(DriverObject);
	UNREFERENCED_PARAMETER(RegistryPath);
	PVOID handle = KeRegisterNmiCallback(on_nmi, NULL);
	KeInitializeAffinityEx(&first);
	KeAddProcessorAffinityEx(&first, 0);
	HalSendNMI(&first);
	check_sleep(5);
	CHECK(KeDeregisterNmiCallback(handle) == STATUS_SUCCESS,
	      "NMI-38 without an exception the second NMI waits for the first");
	return check_result();
}

DRIVER_INITIALIZE DriverEntry;
