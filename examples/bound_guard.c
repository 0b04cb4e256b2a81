/* SPDX-License-Identifier: MIT */
/*
 * bound_guard: lets the arrays of a user program grow.
 *
 *     ketch cc bound_guard.c && ketch run bound_guard.sys user:bounds32
 *
 * bounds32 checks each index with BOUND, the instruction that compares it with a lower and an upper
 * bound in memory. An index that is out raises a bound exception, and Windows asks the bound
 * callbacks before the program hears of it. This one finds the index and the bounds by the
 * registers of the program, widens the bounds in the program's memory, counts, and has the
 * instruction executed again. Beyond LIMIT it lets the exception go to the program:
 *
 *     ketch run bound_guard.sys user:bounds32,100
 */
#include <ntddk.h>
#include <nttrap.h>

#define LIMIT 64 /* items that bounds32 has room for */

/* As BOUND reads them. */
struct bounds {
	LONG lower, upper;
};

static PVOID registration;
static volatile LONG widened, refused;

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD Unload;

/* The registers of the thread that this callback runs on, as they are in user mode. */
static KTRAP_FRAME *TrapFrame(VOID)
{
	return *(KTRAP_FRAME **)((PUCHAR)KeGetCurrentThread() + 0x90);
}

/* At PASSIVE_LEVEL, in the context of the process: its memory is at its own addresses. */
static BOUND_CALLBACK_STATUS NTAPI OnBound(VOID)
{
	KTRAP_FRAME *frame = TrapFrame();
	const UCHAR *code = (const UCHAR *)frame->Rip;
	struct bounds *bounds = (struct bounds *)frame->Rdx;
	LONG index = (LONG)frame->Rcx;

	if (code[0] != 0x62 || code[1] != 0x0a)
		return BoundExceptionContinueSearch; /* not `bound ecx, [edx]`: not ours */
	if (index < bounds->lower || index >= LIMIT || bounds->upper < 0) {
		InterlockedIncrement(&refused);
		return BoundExceptionContinueSearch;
	}
	DbgPrint("bound_guard: index %d is out of %d..%d: widened\n", index, bounds->lower,
		 bounds->upper);
	while (bounds->upper < index)
		bounds->upper = 2 * bounds->upper + 1; /* 3, 7, 15, 31, 63 */
	InterlockedIncrement(&widened);
	return BoundExceptionHandled;
}

static VOID Unload(PDRIVER_OBJECT DriverObject)
{
	UNREFERENCED_PARAMETER(DriverObject);
	KeDeregisterBoundCallback(registration);
	DbgPrint("bound_guard: %d times widened, %d times refused\n", widened, refused);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	UNREFERENCED_PARAMETER(RegistryPath);
	registration = KeRegisterBoundCallback(OnBound);
	if (!registration)
		return STATUS_INSUFFICIENT_RESOURCES;
	DriverObject->DriverUnload = Unload;
	return STATUS_SUCCESS;
}
