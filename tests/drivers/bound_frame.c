/* SPDX-License-Identifier: MIT */
/*
 * The trap frame is live: what a callback writes there is what user mode goes on with (DEF-29..32,
 * refining BND-22).
 *   CASE 0  each register in turn; bound_registers64 checks that exactly that one has changed
 *   CASE 1  a RIP that no user code can have ends the process
 *   CASE 2  changes count with ContinueSearch, too: the program's handler sees them
 *   CASE 3  debug registers: the program gets a trap
 */
#include "bound.h"
#include "bound_registers.h"

static PVOID handle;
static ULONG calls;

static VOID change_xmm(M128A *xmm, enum reg reg)
{
	CHECK(xmm->High == (LONG64)~xmm->Low, "DEF-29 an XMM register");
	xmm->Low = changed(reg, xmm->Low);
	xmm->High = (LONG64)~xmm->Low;
}

static VOID change(KTRAP_FRAME *frame, enum reg reg)
{
	ULONG64 *const general[] = {&frame->Rax, &frame->Rcx, &frame->Rdx, &frame->Rbx,
				    &frame->Rsp, &frame->Rbp, &frame->Rsi, &frame->Rdi,
				    &frame->R8,  &frame->R9,  &frame->R10, &frame->R11};
	if (reg <= R11)
		*general[reg] = changed(reg, *general[reg]);
	else if (reg >= XMM0 && reg <= XMM5)
		change_xmm(&frame->Xmm0 + (reg - XMM0), reg);
	switch (reg) {
	case RIP:
		frame->Rip = changed(reg, frame->Rip);
		break;
	case FLAGS:
		frame->EFlags = (ULONG)changed(reg, frame->EFlags);
		/* Not user mode's to change: they stay as they are. */
		frame->EFlags &= ~0x200u;
		frame->EFlags |= 0x23000;
		break;
	case MXCSR:
		frame->MxCsr = (ULONG)changed(reg, frame->MxCsr);
		break;
	case DS:
		frame->SegDs = (USHORT)changed(reg, frame->SegDs);
		break;
	case ES:
		frame->SegEs = (USHORT)changed(reg, frame->SegEs);
		break;
	case FS:
		frame->SegFs = (USHORT)changed(reg, frame->SegFs);
		break;
	case GS:
		frame->SegGs = (USHORT)changed(reg, frame->SegGs);
		break;
	case GS_BASE:
		frame->GsBase = changed(reg, frame->GsBase);
		break;
	case CODE_64:
		frame->SegCs = 0x33;
		frame->Rip = frame->Rdi;
		break;
	default:
		break;
	}
}

static BOUND_CALLBACK_STATUS NTAPI on_bound(VOID)
{
	KTRAP_FRAME *frame = bound_frame();
	calls++;
	switch (CASE) {
	case 1:
		frame->SegCs = 0x33;
		frame->Rip = 0x8000000000001234;
		return BoundExceptionHandled;
	case 2:
		frame->Rax = 0x4b45;
		frame->Rip += 2;
		return BoundExceptionContinueSearch;
	case 3:
		CHECK(!frame->Dr7 || calls > 1, "DEF-29 no debug register is set at first");
		CHECK(frame->Dr0 == (calls > 1 ? frame->Rdi : 0), "DEF-29 Dr0 is what was written");
		frame->Dr0 = frame->Rdi;
		frame->Dr7 = calls == 1; /* execution, on, once */
		break;
	default:
		change(frame, (enum reg)(calls - 1));
		break;
	}
	if (frame->Rip % 16 == 0 && CASE == 0)
		((LONG *)(frame->Rdx & ~8ull))[1] = 0x7fffffff;
	else if (CASE == 3)
		frame->Rip += SKIPPED;
	return BoundExceptionHandled;
}

static VOID NTAPI unload(PDRIVER_OBJECT DriverObject)
{
	UNREFERENCED_PARAMETER(DriverObject);
	CHECK(calls == (CASE == 0 ? ROUNDS : CASE == 3 ? 2 : 1), "DEF-31 one call for each round");
	bound_deregister(handle);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	UNREFERENCED_PARAMETER(RegistryPath);
	DriverObject->DriverUnload = unload;
	handle = KeRegisterBoundCallback(on_bound);
	CHECK(handle != NULL, "BND-6 a handle");
	return check_result();
}
