/* SPDX-License-Identifier: MIT */
/*
 * A bound callback in a driver built by mingw-w64 with its own headers, which know nothing of bound
 * callbacks and trap frames: declared here, as drivers in the field do (BND-1..5, DEF-27, DEF-29).
 */
#include <ntifs.h>

typedef enum { ContinueSearch, Handled, Error } BOUND_STATUS;
typedef BOUND_STATUS(NTAPI *BOUND_ROUTINE)(void);
__declspec(dllimport) PVOID NTAPI KeRegisterBoundCallback(BOUND_ROUTINE routine);
__declspec(dllimport) NTSTATUS NTAPI KeDeregisterBoundCallback(PVOID handle);

#define FRAME_RCX 0x38
#define FRAME_RDX 0x40
#define FRAME_RIP 0x168

static PVOID handle;
static LONG calls;

static void check(BOOLEAN ok, const char *what)
{
	DbgPrint("%s %s\n", ok ? "PASS" : "FAIL", what);
}

/* bounds32: ECX is the index, EDX points to the bounds. */
static BOUND_STATUS NTAPI on_bound(void)
{
	PUCHAR thread = (PUCHAR)(ULONG_PTR)__readgsqword(0x188);
	PUCHAR frame = *(PUCHAR *)(thread + 0x90);
	LONG index = *(LONG *)(frame + FRAME_RCX);
	LONG *bounds = (LONG *)*(ULONG_PTR *)(frame + FRAME_RDX);
	PUCHAR code = (PUCHAR) * (ULONG_PTR *)(frame + FRAME_RIP);
	if (calls++ == 0)
		check(thread == (PUCHAR)KeGetCurrentThread() && code[0] == 0x62 &&
			      KeGetCurrentIrql() == PASSIVE_LEVEL,
		      "DEF-27, BND-18 the frame by gs:[0x188]");
	bounds[1] = index;
	return Handled;
}

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
	check(calls == 36, "BND-21 one call for each index out of bounds");
	check(KeDeregisterBoundCallback(handle) == STATUS_SUCCESS, "BND-7 deregistered");
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	handle = KeRegisterBoundCallback(on_bound);
	check(handle != NULL, "BND-1 registered");
	return handle ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
