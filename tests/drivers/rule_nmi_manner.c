/* SPDX-License-Identifier: MIT */
/* Advice on NMI callbacks: CASE 1 takes its time (VER-49), 2 claims every NMI (VER-48), 0 is quick
 * and claims its own only. */
#include "check.h"

static PVOID handle;

static BOOLEAN NTAPI callback(PVOID Context, BOOLEAN Handled)
{
	UNREFERENCED_PARAMETER(Context);
	if (CASE == 1)
		KeStallExecutionProcessor(30000); /* it shares the host with others */
	return CASE == 2 ? TRUE : Handled;
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
	KeDeregisterNmiCallback(handle);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	handle = KeRegisterNmiCallback(callback, NULL);
	CHECK(handle, "NMI-5 the callback is registered");
	return check_result();
}
