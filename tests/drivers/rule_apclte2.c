/* SPDX-License-Identifier: MIT */
/* IrqlKeApcLte2 (VER-5, NMI-16): CASE 0 calls all eight routines at APC_LEVEL, CASE 1 to 8 one of
 * them at DISPATCH_LEVEL. */
#include "check.h"

static BOOLEAN NTAPI callback(PVOID Context, BOOLEAN Handled)
{
	UNREFERENCED_PARAMETER(Context);
	return Handled;
}

static void regions(void)
{
	KeEnterCriticalRegion();
	CHECK(KeAreApcsDisabled(), "PLT-22 KeAreApcsDisabled in a critical region");
	KeLeaveCriticalRegion();
	KeEnterGuardedRegion();
	CHECK(KeAreAllApcsDisabled(), "DEF-255 KeAreAllApcsDisabled in a guarded region");
	KeLeaveGuardedRegion();
}

CHECK_HELPER void all_legal(void)
{
	KIRQL old;
	KeRaiseIrql(APC_LEVEL, &old);
	regions();
	CHECK(KeAreAllApcsDisabled(), "DEF-255 KeAreAllApcsDisabled at APC_LEVEL");
	PVOID handle = KeRegisterNmiCallback(callback, NULL);
	CHECK(handle, "NMI-16 KeRegisterNmiCallback at APC_LEVEL");
	CHECK(KeDeregisterNmiCallback(handle) == STATUS_SUCCESS,
	      "NMI-16 KeDeregisterNmiCallback at APC_LEVEL");
	KeLowerIrql(old);
}

#if CASE > 0
static void one_illegal(void)
{
	KIRQL old;
	PVOID handle = NULL;
	if (CASE == 4)
		KeEnterCriticalRegion();
	if (CASE == 6)
		KeEnterGuardedRegion();
	if (CASE == 8)
		handle = KeRegisterNmiCallback(callback, NULL);

	KeRaiseIrql(DISPATCH_LEVEL, &old);
	switch (CASE) {
	case 1:
		KeAreApcsDisabled();
		break;
	case 2:
		KeAreAllApcsDisabled();
		break;
	case 3:
		KeEnterCriticalRegion();
		break;
	case 4:
		KeLeaveCriticalRegion();
		break;
	case 5:
		KeEnterGuardedRegion();
		break;
	case 6:
		KeLeaveGuardedRegion();
		break;
	case 7:
		handle = KeRegisterNmiCallback(callback, NULL);
		break;
	case 8:
		KeDeregisterNmiCallback(handle);
		break;
	}
	KeLowerIrql(old);

	if (CASE == 3)
		KeLeaveCriticalRegion();
	if (CASE == 5)
		KeLeaveGuardedRegion();
	if (CASE == 7)
		KeDeregisterNmiCallback(handle);
}
#endif

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
#if CASE > 0
	one_illegal();
#else
	all_legal();
#endif
	return check_result();
}
