/* SPDX-License-Identifier: MIT */
/*
 * guard.c: a driver with a bound callback: ANSWER is what it says. With WAIT it waits so many
 * milliseconds first; with MARK it then looks for that at the stack pointer. Handled puts the
 * index, which is in EAX, into range.
 */
#include <ntifs.h>
#include <nttrap.h>

#ifndef ANSWER
#define ANSWER BoundExceptionHandled
#endif
#ifndef MARK
#define MARK 0
#endif
#ifndef WAIT
#define WAIT 0
#endif

static PVOID Handle;
static volatile LONG Calls, Inside;

static BOUND_CALLBACK_STATUS Callback(VOID)
{
	PKTHREAD Thread = (PKTHREAD)KeGetCurrentThread();
	KTRAP_FRAME *Frame = *(KTRAP_FRAME **)((char *)Thread + 0x90);
	InterlockedIncrement(&Calls);
	InterlockedIncrement(&Inside);
	if (PsIsSystemThread((PETHREAD)Thread) || ExGetPreviousMode() != UserMode ||
	    PsGetCurrentProcess() == PsInitialSystemProcess ||
	    PsGetProcessId(PsGetCurrentProcess()) != PsGetCurrentProcessId() ||
	    PsGetThreadProcess((PETHREAD)Thread) != PsGetCurrentProcess() ||
	    KeGetCurrentIrql() != PASSIVE_LEVEL)
		DbgPrint("FAIL the callback does not run in a user thread\n");
#ifdef GROUP
	PROCESSOR_NUMBER Number;
	KeGetCurrentProcessorNumberEx(&Number);
	if (Number.Group != GROUP)
		DbgPrint("FAIL the callback runs in group %u\n", Number.Group);
#endif
	if (WAIT) {
		LARGE_INTEGER Time = {.QuadPart = -10000LL * WAIT};
		KeDelayExecutionThread(KernelMode, FALSE, &Time);
	}
	/* The program's memory is there, even if it was killed meanwhile (bound64.h). */
	if (MARK && *(volatile ULONG *)Frame->Rsp != MARK)
		DbgPrint("FAIL the program's memory is not what it was\n");
	InterlockedDecrement(&Inside);
	volatile BOUND_CALLBACK_STATUS Answer = ANSWER;
	if (Answer == BoundExceptionHandled)
		Frame->Rax = 3;
	return Answer;
}

static VOID Unload(PDRIVER_OBJECT DriverObject)
{
	UNREFERENCED_PARAMETER(DriverObject);
	if ((Handle && KeDeregisterBoundCallback(Handle) != STATUS_SUCCESS) || Inside)
		DbgPrint("FAIL deregistration\n");
	DbgPrint("PASS %d calls\n", Calls);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	UNREFERENCED_PARAMETER(RegistryPath);
	DriverObject->DriverUnload = Unload;
#ifdef NO_CALLBACK
	return STATUS_SUCCESS;
#endif
	Handle = KeRegisterBoundCallback(Callback);
	return Handle ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}
