/* SPDX-License-Identifier: MIT */
/*
 * Software exceptions: RtlRaiseException, ExRaiseStatus and relatives, and RtlCaptureContext's C
 * half.
 *
 * They are thunked (DDI_THUNK): the newest call record holds the driver's registers at the call,
 * and the exception happens there. The core calls the same functions from its own thunked DDIs
 * (ldr/exception.h).
 *
 * Contexts: documented for IRQL <= APC_LEVEL; works at any. No locks.
 *
 * Requirements: DEF-332, VER-17.
 *
 * Chosen where documents are silent: volatile registers of the exception's context are 0, except
 * that those which a filter puts there are loaded when it continues.
 */
#include "ldr/exception.h"
#include "rtl/rtl.h"

/* Raise at the driver's call of the running DDI; at a core that raised without one there is nothing
 * to unwind to. */
static _Noreturn void raise_at_caller(EXCEPTION_RECORD *record)
{
	CONTEXT context;

	if (!ldr_exception_caller(&context)) {
		struct ke_bugcheck_detail detail = {
			.text = "an exception was raised where no driver's call can take it",
			.address = (uint64_t)record->ExceptionAddress,
		};

		ke_bugcheck(KMODE_EXCEPTION_NOT_HANDLED, (uint32_t)record->ExceptionCode,
			    (uint64_t)record->ExceptionAddress, record->ExceptionInformation[0],
			    record->ExceptionInformation[1], &detail);
	}
	if (!record->ExceptionAddress) {
		record->ExceptionAddress = (PVOID)context.Rip;
	}
	ldr_exception_deliver(record, &context, false);
}

static _Noreturn void raise_status(NTSTATUS status)
{
	EXCEPTION_RECORD record = {
		.ExceptionCode = status,
		.ExceptionFlags = EXCEPTION_NONCONTINUABLE,
	};

	raise_at_caller(&record);
}

/*
 * Raise the exception of *record. Thunked. IRQL <= APC_LEVEL. Returns when a filter continues
 * execution. The record's address becomes the caller's; its flags lose all but
 * EXCEPTION_NONCONTINUABLE.
 */
VOID NTAPI RtlRaiseException(PEXCEPTION_RECORD record)
{
	record->ExceptionFlags &= EXCEPTION_NONCONTINUABLE;
	record->ExceptionAddress = 0;
	if (record->NumberParameters > EXCEPTION_MAXIMUM_PARAMETERS) {
		record->NumberParameters = EXCEPTION_MAXIMUM_PARAMETERS;
	}
	raise_at_caller(record);
}

/* Raise `status`, noncontinuable. Thunked. IRQL <= APC_LEVEL (VER-17). Does not return. */
VOID NTAPI ExRaiseStatus(NTSTATUS status)
{
	raise_status(status);
}

/* As ExRaiseStatus. */
VOID NTAPI RtlRaiseStatus(NTSTATUS status)
{
	raise_status(status);
}

/* Raise STATUS_ACCESS_VIOLATION, noncontinuable. Thunked. IRQL <= APC_LEVEL (VER-17). Does not
 * return. */
VOID NTAPI ExRaiseAccessViolation(VOID)
{
	raise_status(STATUS_ACCESS_VIOLATION);
}

/* Raise STATUS_DATATYPE_MISALIGNMENT, noncontinuable. Thunked. IRQL <= APC_LEVEL (VER-17). Does not
 * return. */
VOID NTAPI ExRaiseDatatypeMisalignment(VOID)
{
	raise_status(STATUS_DATATYPE_MISALIGNMENT);
}
