/* SPDX-License-Identifier: MIT */
/* An NMI callback and the IRQL (NMI-35, VER-36): CASE 1 returns at DISPATCH_LEVEL, 2 lowers and
 * raises again, 0 does neither. */
#include "check.h"
#include <ntaffinity.h>

static volatile LONG calls;

static BOOLEAN NTAPI callback(PVOID Context, BOOLEAN Handled)
{
	KIRQL old;
	UNREFERENCED_PARAMETER(Context);
	UNREFERENCED_PARAMETER(Handled);
	calls++;
	if (CASE)
		KeLowerIrql(DISPATCH_LEVEL);
	if (CASE == 2)
		KeRaiseIrql(HIGH_LEVEL, &old);
	return TRUE;
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	KAFFINITY_EX set;
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	PVOID handle = KeRegisterNmiCallback(callback, NULL);
	KeInitializeAffinityEx(&set);
	KeAddProcessorAffinityEx(&set, 0);
	HalSendNMI(&set);
	for (int i = 0; i < 100 && !calls; i++)
		check_sleep(1);
	CHECK(calls == 1, "NMI-35 the callback was called and returned");
	KeDeregisterNmiCallback(handle);
	return check_result();
}
