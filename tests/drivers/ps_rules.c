/* SPDX-License-Identifier: MIT */
/* How threads must not end, what they leave, and who may register callbacks (VER-21, VER-38,
 * DEF-51). CASE says which. */
#include "check.h"

static VOID NTAPI ends_in_region(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
	KeEnterCriticalRegion();
}

static VOID NTAPI ends_raised(PVOID context)
{
	KIRQL old;
	UNREFERENCED_PARAMETER(context);
	KeRaiseIrql(APC_LEVEL, &old);
}

static VOID NTAPI ends_outside_region(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
	KeEnterCriticalRegion();
	KeLeaveCriticalRegion();
}

static VOID NTAPI process_notify(PEPROCESS process, HANDLE id, PPS_CREATE_NOTIFY_INFO info)
{
	UNREFERENCED_PARAMETER(process);
	UNREFERENCED_PARAMETER(id);
	UNREFERENCED_PARAMETER(info);
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
	if (CASE == 0)
		PsSetCreateProcessNotifyRoutineEx(process_notify, TRUE);
}

/* The loader entry that DriverSection points to (DEF-50). */
static void set_signed(PDRIVER_OBJECT driver)
{
	*(ULONG *)((PCHAR)driver->DriverSection + 0x68) |= 0x20;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	HANDLE handle;
	KIRQL old;
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	check_join(check_thread(ends_outside_region, NULL));
	if (CASE == 1)
		check_join(check_thread(ends_in_region, NULL));
	if (CASE == 2)
		check_join(check_thread(ends_raised, NULL));
	if (CASE == 3) {
		KeRaiseIrql(APC_LEVEL, &old);
		PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL,
				     ends_outside_region, NULL);
		KeLowerIrql(old);
		ZwWaitForSingleObject(handle, FALSE, NULL);
		ZwClose(handle);
	}
	if (CASE == 5) {
		CHECK(PsSetCreateProcessNotifyRoutineEx(process_notify, FALSE) ==
			      STATUS_ACCESS_DENIED,
		      "DEF-51 strict: an image without the bit is refused");
		set_signed(driver);
		CHECK(PsSetCreateProcessNotifyRoutineEx(process_notify, FALSE) == STATUS_SUCCESS,
		      "DEF-51 strict: an image with the bit is not");
		PsSetCreateProcessNotifyRoutineEx(process_notify, TRUE);
	} else if (CASE == 0 || CASE == 4) {
		CHECK(PsSetCreateProcessNotifyRoutineEx(process_notify, FALSE) == STATUS_SUCCESS,
		      "DEF-51 not strict: the bit does not matter");
	}
	return check_result();
}
