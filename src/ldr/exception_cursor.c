/* SPDX-License-Identifier: MIT */
/*
 * Go from frame to frame for exception dispatch, and call language handlers.
 *
 * Driver frames are undone by their unwind data. Between two drivers lie frames of the core; they
 * are never unwound: the newest call record that is not below RSP says where to go on, or that the
 * search ends (ke/callout.h).
 *
 * Two records are dispatch's own. TRAP: the exception was raised while another one, which happened
 * in this context, was being dispatched. HANDLER: by a handler that ran then. If that handler ran
 * for an unwind, the frames that it had come to are left and must not be visited again: the cursor
 * takes over where the unwind was, with the scopes that were still to do (a collided unwind).
 *
 * Contexts: the raising thread, any IRQL. No locks.
 */
#include "ke/guard.h"
#include "ke/walk.h"
#include "ldr/exception.h"
#include "ldr/ldr.h"
#include "ldr/unwind.h"
#include "rtl/rtl.h"

#define OTHER_STACK                                                                                \
	65536 /* bytes above RSP that are the stack when it is not the thread's own (an NMI's) */

static void stack_limits(const struct ldr_cursor *cursor, uint64_t *low, uint64_t *high)
{
	uint64_t rsp = cursor->context.Rsp;

	*low = rsp;
	if (rsp >= (uint64_t)cursor->thread->StackLimit &&
	    rsp < (uint64_t)cursor->thread->StackBase) {
		*high = (uint64_t)cursor->thread->StackBase;
	} else {
		*high = rsp + OTHER_STACK;
	}
}

static struct ldr_unwind unwind_of(const struct ldr_cursor *cursor, CONTEXT *context)
{
	struct ldr_unwind unwind = {
		.registers = (uint64_t *)&context->Rax,
		.xmm = context->FltSave.XmmRegisters,
	};

	stack_limits(cursor, &unwind.low, &unwind.high);
	return unwind;
}

/* A frame whose handler ran when this exception came. */
static void pass_handler(struct ldr_cursor *cursor, const struct ldr_handler_call *call)
{
	if (call->unwinding) {
		cursor->context = *call->frame;
		cursor->scope = call->dispatcher->ScopeIndex;
		cursor->collided = true;
	} else if (call->dispatcher->EstablisherFrame > cursor->nested_until) {
		cursor->nested_until = call->dispatcher->EstablisherFrame;
	}
}

/* From the core to the driver that called it. */
static enum ldr_step step_core(struct ldr_cursor *cursor)
{
	for (;;) {
		const struct ke_call_record *record =
			ke_walk_record(cursor->thread, cursor->record, cursor->context.Rsp);

		if (!record) {
			return LDR_STEP_END;
		}
		cursor->record = record->previous;
		switch (record->kind) {
		case KE_RECORD_DDI:
			ldr_context_from_record(&cursor->context, record);
			return LDR_STEP_FRAME;
		case KE_RECORD_TRAP:
			cursor->context = *record->context;
			cursor->nowhere = record->ddi != 0;
			return LDR_STEP_FRAME;
		case KE_RECORD_HANDLER:
			pass_handler(cursor, record->handler);
			if (record->handler->unwinding) {
				return LDR_STEP_FRAME;
			}
			break;
		default:
			return LDR_STEP_END;
		}
	}
}

/* Say whether the context's RIP is a return address; language handlers that compare ranges need to
 * know. */
static void mark_call(CONTEXT *context, bool call)
{
	context->ContextFlags &= ~(ULONG)CONTEXT_UNWOUND_TO_CALL;
	if (call) {
		context->ContextFlags |= CONTEXT_UNWOUND_TO_CALL;
	}
}

static enum ldr_step step_function(struct ldr_cursor *cursor, unsigned flags)
{
	struct ldr_unwind unwind;
	uint64_t low, high;

	cursor->caller = cursor->context;
	unwind = unwind_of(cursor, &cursor->caller);
	if (!ldr_unwind_function(&unwind, cursor->function, flags)) {
		return LDR_STEP_BROKEN;
	}
	stack_limits(cursor, &low, &high);
	if (unwind.establisher & 7 || unwind.establisher < low || unwind.establisher >= high) {
		return LDR_STEP_BROKEN;
	}
	mark_call(&cursor->caller, !unwind.interrupted);
	cursor->establisher = unwind.establisher;
	cursor->handler = unwind.handler;
	cursor->handler_data = unwind.handler_data;
	return LDR_STEP_FRAME;
}

enum ldr_step ldr_cursor_step(struct ldr_cursor *cursor, unsigned flags)
{
	cursor->scope = 0;
	cursor->collided = false;
	for (;;) {
		enum ldr_function_kind kind =
			ldr_function_find(cursor->context.Rip, cursor->function);

		if (kind == LDR_FUNCTION_FOUND && !cursor->nowhere) {
			return step_function(cursor, flags);
		}
		if (kind == LDR_FUNCTION_LEAF || cursor->nowhere) {
			struct ldr_unwind unwind = unwind_of(cursor, &cursor->context);

			cursor->nowhere = false;
			if (!ldr_unwind_leaf(&unwind)) {
				return LDR_STEP_BROKEN;
			}
			mark_call(&cursor->context, true);
		} else if (step_core(cursor) == LDR_STEP_END) {
			return LDR_STEP_END;
		}
	}
}

EXCEPTION_DISPOSITION ldr_cursor_call(struct ldr_cursor *cursor, EXCEPTION_RECORD *record,
				      CONTEXT *original, uint64_t target, bool unwinding)
{
	PEXCEPTION_ROUTINE handler = (PEXCEPTION_ROUTINE)(cursor->function->base + cursor->handler);
	DISPATCHER_CONTEXT dispatcher = {
		.ControlPc = cursor->context.Rip,
		.ImageBase = cursor->function->base,
		.FunctionEntry = cursor->function->where,
		.EstablisherFrame = cursor->establisher,
		.TargetIp = target,
		.ContextRecord = unwinding ? &cursor->context : &cursor->caller,
		.LanguageHandler = handler,
		.HandlerData = (PVOID)cursor->handler_data,
		.ScopeIndex = cursor->scope,
		.Fill0 = (cursor->context.ContextFlags & CONTEXT_UNWOUND_TO_CALL) != 0,
	};
	struct ldr_handler_call call = {
		.record =
			{
				.previous = cursor->thread->records,
				.kind = KE_RECORD_HANDLER,
				.handler = &call,
			},
		.dispatcher = &dispatcher,
		.frame = &cursor->context,
		.unwinding = unwinding,
	};
	EXCEPTION_DISPOSITION disposition;

	cursor->thread->records = &call.record;
	disposition = handler(record, (PVOID)cursor->establisher, original, &dispatcher);
	cursor->thread->records = call.record.previous;
	return disposition;
}
