/* SPDX-License-Identifier: MIT */
/*
 * The rules of bound callbacks, one broken in each CASE but the first; and what ends in a bug
 * check. cases.txt names what is expected.
 */
#include "bound.h"

enum {
	KEPT,
	REGISTER_IRQL,
	DEREGISTER_IRQL,
	NO_ROUTINE,
	ROUTINE_NOWHERE,
	TWICE,
	NULL_HANDLE,
	GARBAGE,
	NMI_HANDLE,
	INSIDE,
	REPEAT,
	FRAME_CS,
	FRAME_DS,
	FRAME_GS_BASE,
	LEFT,
	LEFT_ENTRY_FAILED,
	IRQL,
	REGION,
	INT_5,
	POINTER,
	BOUND_HANDLE_TO_NMI,
	ROUTINE_IN_POOL,
	BOUND_HANDLE_TO_CHANGE,
};

static PVOID handle;
static NTSTATUS inside_status;
static PVOID pool, pool_handle;

/* mov rax, gs:[188h]; mov rax, [rax + 90h]; mov qword [rax + 30h], 3; mov eax, 1; ret */
static const UCHAR in_pool[] = {0x65, 0x48, 0x8b, 0x04, 0x25, 0x88, 0x01, 0x00, 0x00, 0x48,
				0x8b, 0x80, 0x90, 0x00, 0x00, 0x00, 0x48, 0xc7, 0x40, 0x30,
				0x03, 0x00, 0x00, 0x00, 0xb8, 0x01, 0x00, 0x00, 0x00, 0xc3};

static BOUND_CALLBACK_STATUS NTAPI on_bound(VOID)
{
	KTRAP_FRAME *frame = bound_frame();
	KIRQL old;
	switch (CASE) {
	case INSIDE:
		inside_status = KeDeregisterBoundCallback(handle);
		break;
	case REPEAT:
		return BoundExceptionHandled;
	case FRAME_CS:
		frame->SegCs = 0x10;
		break;
	case FRAME_DS:
		frame->SegDs = 0x18;
		break;
	case FRAME_GS_BASE:
		frame->GsBase = 0xfffff80000000000;
		break;
	case IRQL:
		KeRaiseIrql(APC_LEVEL, &old);
		break;
	case REGION:
		KeEnterCriticalRegion();
		break;
	case POINTER:
		return *(volatile ULONG *)(ULONG_PTR)(frame->Rip & 0xfff) ? BoundExceptionHandled
									  : BoundExceptionError;
	}
	return bound_handle();
}

static BOOLEAN NTAPI on_nmi(PVOID Context, BOOLEAN Handled)
{
	UNREFERENCED_PARAMETER(Context);
	return Handled;
}

static VOID misuse_handles(VOID)
{
	PVOID nmi;
	NTSTATUS status = STATUS_INVALID_HANDLE;
	KIRQL old;
	switch (CASE) {
	case REGISTER_IRQL:
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		nmi = KeRegisterBoundCallback(on_bound);
		KeLowerIrql(old);
		bound_deregister(nmi);
		break;
	case DEREGISTER_IRQL:
		nmi = KeRegisterBoundCallback(on_bound);
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		KeDeregisterBoundCallback(nmi);
		KeLowerIrql(old);
		break;
	case NO_ROUTINE:
		CHECK(!KeRegisterBoundCallback(NULL), "BND-13 NULL routine, NULL handle");
		break;
	case ROUTINE_IN_POOL:
		pool = ExAllocatePool2(POOL_FLAG_NON_PAGED_EXECUTE, sizeof in_pool, 'dnuB');
		RtlCopyMemory(pool, in_pool, sizeof in_pool);
		pool_handle = KeRegisterBoundCallback((PBOUND_CALLBACK)pool);
		CHECK(pool_handle != NULL, "DEF-37 a routine in no driver, with the switch");
		break;
	case ROUTINE_NOWHERE:
		CHECK(!KeRegisterBoundCallback((PBOUND_CALLBACK)KeGetCurrentThread()),
		      "DEF-37 a routine in no driver, NULL handle");
		break;
	case TWICE:
		nmi = KeRegisterBoundCallback(on_bound);
		bound_deregister(nmi);
		status = KeDeregisterBoundCallback(nmi);
		break;
	case NULL_HANDLE:
		status = KeDeregisterBoundCallback(NULL);
		break;
	case GARBAGE:
		status = KeDeregisterBoundCallback((PUCHAR)handle + 8);
		break;
	case NMI_HANDLE:
		nmi = KeRegisterNmiCallback(on_nmi, NULL);
		status = KeDeregisterBoundCallback(nmi);
		CHECK(KeDeregisterNmiCallback(nmi) == STATUS_SUCCESS,
		      "BND-14 it is still an NMI's");
		break;
	case BOUND_HANDLE_TO_NMI:
		status = KeDeregisterNmiCallback(handle);
		break;
	case BOUND_HANDLE_TO_CHANGE:
		KeDeregisterProcessorChangeCallback(handle);
		break;
	case INT_5:
		__asm__ volatile("int $5");
		break;
	}
	CHECK(status == STATUS_INVALID_HANDLE, "BND-7, BND-14 STATUS_INVALID_HANDLE");
}

static VOID NTAPI unload(PDRIVER_OBJECT DriverObject)
{
	UNREFERENCED_PARAMETER(DriverObject);
	if (CASE == INSIDE)
		CHECK(inside_status == STATUS_UNSUCCESSFUL, "BND-15 refused inside a callback");
	if (CASE != LEFT)
		bound_deregister(handle);
	if (pool) {
		bound_deregister(pool_handle);
		ExFreePool(pool);
	}
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	UNREFERENCED_PARAMETER(RegistryPath);
	DriverObject->DriverUnload = unload;
	handle = KeRegisterBoundCallback(on_bound);
	CHECK(handle != NULL, "BND-1, BND-6 a handle");
	misuse_handles();
	return CASE == LEFT_ENTRY_FAILED ? STATUS_CANCELLED : check_result();
}
