/* SPDX-License-Identifier: MIT */
/*
 * Which bound callbacks run, in which order, how often, and what their answers do. The programs
 * that raise the exceptions are actions of the run; what happened is checked at unload.
 *   CASE 0  order and the end of the walk (BND-10, 11, 12, 20, 21): three exceptions
 *   CASE 1  Handled without a change: ten times, then ContinueSearch (BND-22, BND-20)
 *   CASE 2  nothing but #BR of user mode calls (BND-16, 28, 29, 32)
 *   CASE 3  answers out of range count as ContinueSearch (BND-25)
 *   CASE 4  the callback's context (BND-3, 18, 27, DEF-27, 28, 30, 34)
 */
#include "bound.h"

static PVOID handles[4];
static char calls[64];
static ULONG count, round;

static VOID called(char who)
{
	if (count < sizeof calls - 1)
		calls[count++] = who;
}

static BOOLEAN calls_are(const char *expected)
{
	ULONG i;
	for (i = 0; expected[i] && expected[i] == calls[i]; i++)
		;
	return expected[i] == calls[i];
}

/* ---- CASE 0: A is the oldest, B is registered twice, C is the newest ---- */

static BOUND_CALLBACK_STATUS NTAPI a(VOID)
{
	called('A');
	round++;
	return bound_handle();
}

static BOUND_CALLBACK_STATUS NTAPI b(VOID)
{
	called('B');
	if (round != 2)
		return BoundExceptionContinueSearch;
	round++;
	return bound_handle();
}

static BOUND_CALLBACK_STATUS NTAPI c(VOID)
{
	called('C');
	if (round != 1)
		return BoundExceptionContinueSearch;
	round++;
	return bound_handle();
}

/* ---- CASE 1 ---- */

static BOUND_CALLBACK_STATUS NTAPI ten_times(VOID)
{
	called('X');
	return count <= 10 ? BoundExceptionHandled : BoundExceptionContinueSearch;
}

/* ---- CASE 3 ---- */

static BOUND_CALLBACK_STATUS NTAPI no_answer(VOID)
{
	called('N');
	return (BOUND_CALLBACK_STATUS)(round++ ? 77 : BoundExceptionMaximum);
}

/* ---- CASE 4 ---- */

static VOID NTAPI on_dpc(PKDPC dpc, PVOID context, PVOID unused1, PVOID unused2)
{
	UNREFERENCED_PARAMETER(dpc);
	UNREFERENCED_PARAMETER(unused1);
	UNREFERENCED_PARAMETER(unused2);
	KeSetEvent((PRKEVENT)context, IO_NO_INCREMENT, FALSE);
}

static BOUND_CALLBACK_STATUS NTAPI context(VOID)
{
	KTRAP_FRAME *frame = bound_frame();
	PKTHREAD thread = KeGetCurrentThread();
	PEPROCESS process = PsGetCurrentProcess();
	KAPC_STATE state;
	KEVENT event;
	KDPC dpc;
	called('X');
	CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL, "BND-18 PASSIVE_LEVEL");
	CHECK(process != PsInitialSystemProcess && !PsIsSystemThread((PETHREAD)thread),
	      "BND-18, DEF-28 on a thread of the program's process");
	CHECK(ExGetPreviousMode() == UserMode, "DEF-30 from user mode");
	CHECK(!KeAreAllApcsDisabled(), "BND-18 APCs can be delivered");
	CHECK(frame && frame->PreviousMode == UserMode && frame->PreviousIrql == PASSIVE_LEVEL,
	      "DEF-27, DEF-30 the trap frame");
	CHECK(frame->SegCs == 0x23 && frame->SegSs == 0x2b && !frame->ErrorCode,
	      "DEF-30, BND-27 selectors, no error code");
	CHECK(frame->Rax == 1000 && *(ULONG *)frame->Rdx == 0,
	      "DEF-31, DEF-33 registers and memory");
	CHECK(((UCHAR *)frame->Rip)[0] == 0x62 && ((UCHAR *)frame->Rip)[1] == 0x02,
	      "BND-27 RIP is at the instruction");
	CHECK(!(frame->Rax >> 32 | frame->Rdx >> 32 | frame->Rip >> 32 | frame->Rsp >> 32),
	      "DEF-30 zero-extended registers");
	DbgPrintEx(DPFLTR_IHVDRIVER_ID, DPFLTR_ERROR_LEVEL, "DEF-34 DbgPrintEx\n");
	KeInitializeEvent(&event, NotificationEvent, FALSE);
	KeInitializeDpc(&dpc, on_dpc, &event);
	KeInsertQueueDpc(&dpc, NULL, NULL);
	CHECK(KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL) == STATUS_SUCCESS,
	      "BND-18, DEF-34 a DPC and a wait");
	KeStackAttachProcess((PRKPROCESS)PsInitialSystemProcess, &state);
	CHECK(PsGetCurrentProcess() == PsInitialSystemProcess,
	      "DEF-34 attached to another process");
	KeUnstackDetachProcess(&state);
	check_sleep(1);
	CHECK(PsGetCurrentProcess() == process && KeGetCurrentThread() == thread &&
		      bound_frame() == frame && *(ULONG *)frame->Rdx == 0,
	      "DEF-28 the same thread, process and frame after waits");
	return bound_handle();
}

static VOID NTAPI unload(PDRIVER_OBJECT DriverObject)
{
	static const char *const expected[] = {"CBBACCB", "XXXXXXXXXXX", "", "NN", "X"};
	UNREFERENCED_PARAMETER(DriverObject);
	if (CASE == 3) /* the callback behind it handled both */
		CHECK(round == 2, "BND-25 it was called for both");
	CHECK(calls_are(expected[CASE]),
	      CASE == 0 ? "BND-10, 11, 12, 20, 21 newest first, each entry, until one answers"
	      : CASE == 1
		      ? "BND-22, BND-26 ten times Handled and once ContinueSearch are eleven calls"
	      : CASE == 2 ? "BND-16, 28, 29, 32 no call"
			  : "BND-3 called");
	for (ULONG i = 0; i < RTL_NUMBER_OF(handles); i++) {
		if (handles[i])
			bound_deregister(handles[i]);
	}
}

static BOUND_CALLBACK_STATUS NTAPI behind(VOID)
{
	return bound_handle();
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	UNREFERENCED_PARAMETER(RegistryPath);
	DriverObject->DriverUnload = unload;
	CHECK(!bound_frame(), "DEF-27 no trap frame outside of a callback");
	switch (CASE) {
	case 0:
		handles[0] = KeRegisterBoundCallback(a);
		handles[1] = KeRegisterBoundCallback(b);
		handles[2] = KeRegisterBoundCallback(b);
		handles[3] = KeRegisterBoundCallback(c);
		CHECK(handles[0] && handles[1] && handles[2] && handles[3] &&
			      handles[1] != handles[2],
		      "BND-6, BND-10, BND-12 four registrations");
		break;
	case 1:
		handles[0] = KeRegisterBoundCallback(ten_times);
		break;
	case 2:
		handles[0] = KeRegisterBoundCallback(a);
		break;
	case 3:
		handles[0] = KeRegisterBoundCallback(behind);
		handles[1] = KeRegisterBoundCallback(no_answer);
		break;
	case 4:
		handles[0] = KeRegisterBoundCallback(context);
		break;
	}
	CHECK(handles[0] != NULL, "BND-1, BND-6 a handle");
	return check_result();
}
