/* SPDX-License-Identifier: MIT */
/* Rules of the object manager and the Zw functions: CASE 0 keeps them, each other case breaks one
 * (VER-21, VER-33, VER-38). */
#include "check.h"

static HANDLE handle;
static PVOID object;
static UNICODE_STRING link_name = RTL_CONSTANT_STRING(L"\\??\\KetchRule"),
		      target = RTL_CONSTANT_STRING(L"\\Device\\Nothing");

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
	if (CASE != 6 && handle)
		ZwClose(handle);
	if (CASE != 7)
		IoDeleteSymbolicLink(&link_name);
}

static void at_apc(int what)
{
	KIRQL old;
	PVOID again;
	UNICODE_STRING other = RTL_CONSTANT_STRING(L"\\??\\KetchOther");
	KeRaiseIrql(APC_LEVEL, &old);
	if (what == 3 &&
	    NT_SUCCESS(ObReferenceObjectByHandle(handle, 0, NULL, KernelMode, &again, NULL)))
		ObDereferenceObject(again);
	if (what == 4) {
		ZwClose(handle);
		handle = NULL;
	}
	if (what == 5 && NT_SUCCESS(IoCreateSymbolicLink(&other, &target))) {
		KeLowerIrql(old);
		IoDeleteSymbolicLink(&other);
		return;
	}
	if (what == 8)
		RtlDeleteRegistryValue(RTL_REGISTRY_SERVICES, L"none", L"none");
	KeLowerIrql(old);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	ZwCreateEvent(&handle, EVENT_ALL_ACCESS, NULL, NotificationEvent, FALSE);
	ObReferenceObjectByHandle(handle, 0, NULL, KernelMode, &object, NULL);
	IoCreateSymbolicLink(&link_name, &target);
	ObDereferenceObject(object);
	if (CASE == 1) { /* a reference too many is given back, after the object is gone */
		ZwClose(handle);
		handle = NULL;
		ObDereferenceObject(object);
	}
	if (CASE == 2) { /* a dead object is used */
		ZwClose(handle);
		handle = NULL;
		ObReferenceObject(object);
	}
	if (CASE == 9)
		ObDereferenceObject(NULL);
	if (CASE == 3 || CASE == 4 || CASE == 5 || CASE == 8)
		at_apc(CASE);
	CHECK(TRUE, "the driver goes on");
	return check_result();
}
