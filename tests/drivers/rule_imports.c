/* SPDX-License-Identifier: MIT */
/* What an import table tells: a StorPort miniport that imports KeSetEvent (VER-72), an obsolete
 * export (VER-55), or nothing. */
#include "check.h"

#ifdef STORPORT
__declspec(dllimport) ULONG NTAPI
	StorPortInitialize(PVOID One, PVOID Two, PVOID Data, PVOID Context);
#endif
#ifdef OBSOLETE
extern __declspec(dllimport) CCHAR KeNumberProcessors;
#endif

static KEVENT event;

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	driver->DriverUnload = unload;
	KeInitializeEvent(&event, NotificationEvent, FALSE);
	KeSetEvent(&event, 0, FALSE);
	CHECK(KeReadStateEvent(&event), "the event is set");
#ifdef STORPORT
	if (!path)
		return (NTSTATUS)StorPortInitialize(driver, path, NULL, NULL);
#endif
#ifdef OBSOLETE
	CHECK(KeNumberProcessors > 0, "PRC-70 the export has a value");
#endif
	UNREFERENCED_PARAMETER(path);
	return check_result();
}
