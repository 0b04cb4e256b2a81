/* SPDX-License-Identifier: MIT */
/*
 * Exceptions in drivers: offer one to the handlers, and unwind to the one that takes it.
 *
 * An exception comes from a trap (ke_port_trap), from a driver (RtlRaiseException) or from a DDI
 * (ExRaiseStatus). The search calls the language handler of each frame, innermost first; a handler
 * that wants the exception unwinds: each frame up to its own is offered its termination handlers,
 * then the thread continues in the handler's block. Everything happens on the raising thread's
 * stack, below the frames concerned.
 *
 * Contexts: the raising thread, any IRQL; documented for <= APC_LEVEL. No locks: the core never
 * raises while it holds one.
 *
 * Requirements: DEF-331, DEF-332 (filters, constant filters, finally on unwind, nested scopes),
 * DEF-333.
 *
 * Chosen where documents are silent: a filter that continues a noncontinuable exception, or returns
 * no disposition, raises STATUS_NONCONTINUABLE_EXCEPTION or STATUS_INVALID_DISPOSITION in the same
 * place; an unwind to a frame that is not there is an unhandled STATUS_INVALID_UNWIND_TARGET.
 */
#include "ldr/exception.h"
#include "ke/walk.h"
#include "ldr/unwind.h"
#include "rtl/rtl.h"

void ldr_context_to_regs(const CONTEXT *context, struct port_regs *regs)
{
	memcpy(&regs->rax, &context->Rax, 17 * sizeof(uint64_t));
	regs->rflags = context->EFlags;
}

void ldr_context_from_regs(CONTEXT *context, const struct port_regs *regs)
{
	memcpy(&context->Rax, &regs->rax, 17 * sizeof(uint64_t));
	context->EFlags = (ULONG)regs->rflags;
}

/* Volatile registers are lost in a call: they read as 0. */
void ldr_context_from_record(CONTEXT *context, const struct ke_call_record *record)
{
	memset(context, 0, sizeof(*context));
	context->ContextFlags = CONTEXT_FULL | CONTEXT_UNWOUND_TO_CALL;
	context->SegCs = 0x10;
	context->SegSs = 0x18;
	context->EFlags = 0x202;
	__asm__ volatile("fxsave64 %0" : "=m"(context->FltSave));
	context->MxCsr = context->FltSave.MxCsr;
	context->Rip = record->rip;
	context->Rsp = record->rsp;
	context->Rbx = record->rbx;
	context->Rbp = record->rbp;
	context->Rsi = record->rsi;
	context->Rdi = record->rdi;
	context->R12 = record->r12;
	context->R13 = record->r13;
	context->R14 = record->r14;
	context->R15 = record->r15;
	memcpy(&context->Xmm6, record->xmm, sizeof(record->xmm));
}

/* The newest record that holds a driver's registers, over those of handlers that run. */
static const struct ke_call_record *caller_record(void)
{
	const struct ke_call_record *record = ke_thread()->records;

	while (record && record->kind == KE_RECORD_HANDLER) {
		record = record->previous;
	}
	return record;
}

bool ldr_exception_caller(CONTEXT *context)
{
	const struct ke_call_record *record = caller_record();

	if (record && record->kind == KE_RECORD_DDI) {
		ldr_context_from_record(context, record);
		return true;
	}
	return false;
}

_Noreturn void ldr_exception_resume(const CONTEXT *context)
{
	PKTHREAD thread = ke_thread();
	struct port_regs regs;

	thread->records =
		(struct ke_call_record *)ke_walk_record(thread, thread->records, context->Rsp);
	ldr_context_to_regs(context, &regs);
	if ((context->ContextFlags & CONTEXT_FLOATING_POINT) == CONTEXT_FLOATING_POINT) {
		CONTEXT aligned;

		memcpy(&aligned.FltSave, &context->FltSave, sizeof(aligned.FltSave));
		aligned.FltSave.MxCsr &= 0xffff; /* other bits fault when they are loaded */
		port_context_resume(&regs, &aligned.FltSave);
	}
	port_context_resume(&regs, 0);
}

/* ---- The search ---- */

/* Another exception in the place of one that a handler treated wrongly. */
static bool dispatch_instead(NTSTATUS status, EXCEPTION_RECORD *record, CONTEXT *context)
{
	EXCEPTION_RECORD instead = {
		.ExceptionCode = status,
		.ExceptionFlags = EXCEPTION_NONCONTINUABLE,
		.ExceptionRecord = record,
		.ExceptionAddress = record->ExceptionAddress,
	};

	if (record->ExceptionCode == STATUS_NONCONTINUABLE_EXCEPTION ||
	    record->ExceptionCode == STATUS_INVALID_DISPOSITION) {
		return false; /* wrongly treated again */
	}
	if (!ldr_exception_dispatch(&instead, context, false)) {
		ke_trap_unhandled(&instead, context);
	}
	return false;
}

bool ldr_exception_dispatch(EXCEPTION_RECORD *record, CONTEXT *context, bool nowhere)
{
	struct ldr_function function;
	struct ldr_cursor cursor = {
		.context = *context,
		.function = &function,
		.thread = ke_thread(),
		.record = ke_thread()->records,
		.nowhere = nowhere,
	};
	enum ldr_step step;

	while ((step = ldr_cursor_step(&cursor, UNW_FLAG_EHANDLER)) == LDR_STEP_FRAME) {
		if (cursor.nested_until) {
			record->ExceptionFlags |= EXCEPTION_NESTED_CALL;
		}
		if (cursor.handler) {
			switch (ldr_cursor_call(&cursor, record, context, 0, false)) {
			case ExceptionContinueExecution:
				if (record->ExceptionFlags & EXCEPTION_NONCONTINUABLE) {
					return dispatch_instead(STATUS_NONCONTINUABLE_EXCEPTION,
								record, context);
				}
				return true;
			case ExceptionContinueSearch:
				break;
			case ExceptionNestedException:
				record->ExceptionFlags |= EXCEPTION_NESTED_CALL;
				break;
			default:
				return dispatch_instead(STATUS_INVALID_DISPOSITION, record,
							context);
			}
		}
		if (cursor.establisher >= cursor.nested_until) {
			record->ExceptionFlags &= ~EXCEPTION_NESTED_CALL;
			cursor.nested_until = 0;
		}
		cursor.context = cursor.caller;
	}
	if (step == LDR_STEP_BROKEN) {
		record->ExceptionFlags |= EXCEPTION_STACK_INVALID;
	}
	return false;
}

_Noreturn void ldr_exception_deliver(EXCEPTION_RECORD *record, CONTEXT *context, bool nowhere)
{
	if (ldr_exception_dispatch(record, context, nowhere)) {
		ldr_exception_resume(context);
	}
	ke_trap_unhandled(record, context);
}

/* ---- The unwind ---- */

static _Noreturn void bad_unwind(NTSTATUS status, EXCEPTION_RECORD *record, CONTEXT *context)
{
	EXCEPTION_RECORD instead = {
		.ExceptionCode = status,
		.ExceptionFlags = EXCEPTION_NONCONTINUABLE,
		.ExceptionRecord = record,
		.ExceptionAddress = (PVOID)context->Rip,
	};

	ke_trap_unhandled(&instead, context);
}

/* Offer a frame that is left its termination handlers. */
static void leave_frame(struct ldr_cursor *cursor, EXCEPTION_RECORD *record, uint64_t target_ip,
			bool is_target)
{
	ULONG flags =
		record->ExceptionFlags & ~(EXCEPTION_TARGET_UNWIND | EXCEPTION_COLLIDED_UNWIND);

	if (is_target) {
		flags |= EXCEPTION_TARGET_UNWIND;
	}
	if (cursor->collided) {
		flags |= EXCEPTION_COLLIDED_UNWIND;
	}
	record->ExceptionFlags = flags;
	if (ldr_cursor_call(cursor, record, &cursor->context, target_ip, true) !=
	    ExceptionContinueSearch) {
		bad_unwind(STATUS_INVALID_DISPOSITION, record, &cursor->context);
	}
}

/*
 * Leave all frames up to the one at `target`, and continue there at `target_ip` with RAX = `value`.
 * Thunked. IRQL <= HIGH_LEVEL; documented for user mode only. `target` 0: leave all (an exit
 * unwind). `record` 0: STATUS_UNWIND. `scratch` and `history` are not needed. Does not return.
 */
VOID NTAPI RtlUnwindEx(PVOID target, PVOID target_ip, PEXCEPTION_RECORD record, PVOID value,
		       PCONTEXT scratch, PUNWIND_HISTORY_TABLE history)
{
	EXCEPTION_RECORD own = {.ExceptionCode = STATUS_UNWIND};
	struct ldr_function function;
	struct ldr_cursor cursor = {
		.function = &function,
		.thread = ke_thread(),
		.record = ke_thread()->records,
	};

	(void)scratch;
	(void)history;
	/* Begin in the core: the newest record leads to the frames of the driver, or to an unwind
	 * under way. */
	cursor.context.Rsp = (uint64_t)__builtin_frame_address(0);
	if (!record) {
		record = &own;
	}
	record->ExceptionFlags |= EXCEPTION_UNWINDING | (target ? 0 : EXCEPTION_EXIT_UNWIND);
	while (ldr_cursor_step(&cursor, UNW_FLAG_UHANDLER) == LDR_STEP_FRAME) {
		bool is_target = cursor.establisher == (uint64_t)target;

		if (target && cursor.establisher > (uint64_t)target) {
			break;
		}
		if (cursor.handler) {
			leave_frame(&cursor, record, (uint64_t)target_ip, is_target);
		}
		if (is_target) {
			cursor.context.Rip = (uint64_t)target_ip;
			cursor.context.Rax = (uint64_t)value;
			if (record->ExceptionCode == STATUS_UNWIND_CONSOLIDATE) {
				RtlRestoreContext(&cursor.context, record);
			}
			ldr_exception_resume(&cursor.context);
		}
		cursor.context = cursor.caller;
	}
	bad_unwind(target ? STATUS_INVALID_UNWIND_TARGET : STATUS_UNWIND, record, &cursor.context);
}

/* RtlUnwindEx without scratch memory and history. Thunked. */
VOID NTAPI RtlUnwind(PVOID target, PVOID target_ip, PEXCEPTION_RECORD record, PVOID value)
{
	RtlUnwindEx(target, target_ip, record, value, 0, 0);
}

/* What compilers call for a jump out of a __try block that has a __finally: to `target_ip` in the
 * frame `frame`. Thunked. */
VOID NTAPI _local_unwind(PVOID frame, PVOID target_ip)
{
	RtlUnwindEx(frame, target_ip, 0, 0, 0, 0);
}
