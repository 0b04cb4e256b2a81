/* SPDX-License-Identifier: MIT */
/*
 * exception.h: exceptions in drivers: search for a handler, unwind to it, raise from the core.
 *
 * The core raises by calling ExRaiseStatus or its relatives, from a DDI that is marked DDI_THUNK,
 * while it holds no lock and nothing else that the rest of the DDI would have released.
 */
#pragma once

#include "ke/callout.h"

/*
 * The exception `record` happened where `context` says. Offers it to the handlers of the driver
 * frames from there up to the next barrier. True: continue with *context (a filter said so, and may
 * have changed it). False: nobody handled it. Does not return when a handler unwinds. `nowhere`:
 * RIP is not code (a jump through a bad pointer); the caller's address is on top of the stack. Any
 * IRQL; on the stack that the context uses, below its RSP.
 */
bool ldr_exception_dispatch(EXCEPTION_RECORD *record, CONTEXT *context, bool nowhere);

/* The same, and a bug check when nobody handles it; continues with the context when it is to be
 * continued. */
_Noreturn void ldr_exception_deliver(EXCEPTION_RECORD *record, CONTEXT *context, bool nowhere);

/* ke/trap.c: the exception has no handler: the bug check that this is on Windows. */
_Noreturn void ke_trap_unhandled(EXCEPTION_RECORD *record, CONTEXT *context);

/* The driver's registers at its call of the DDI that runs now, from the newest record. False: no
 * DDI runs. */
bool ldr_exception_caller(CONTEXT *context);

/* Leave everything below the context's RSP and continue with it. */
_Noreturn void ldr_exception_resume(const CONTEXT *context);

void ldr_context_from_regs(CONTEXT *context, const struct port_regs *regs);
void ldr_context_to_regs(const CONTEXT *context, struct port_regs *regs);
void ldr_context_from_record(CONTEXT *context, const struct ke_call_record *record);

/* ---- Private to exception*.c ---- */

/* A language handler that runs. Lies next to its record on the dispatcher's stack. */
struct ldr_handler_call {
	struct ke_call_record record; /* kind HANDLER */
	DISPATCHER_CONTEXT *dispatcher;
	const CONTEXT *frame; /* registers in the frame whose handler it is */
	bool unwinding;       /* false: it searches */
};

/* Where a search or an unwind has come to. */
struct ldr_cursor {
	CONTEXT context;               /* registers in this frame */
	CONTEXT caller;                /* the same after it has returned */
	struct ldr_function *function; /* of this frame */
	uint64_t establisher;
	uint32_t handler; /* RVA; 0: none */
	uint64_t handler_data;
	uint32_t scope; /* first scope that counts; not 0 only after a collision */
	PKTHREAD thread;
	const struct ke_call_record *record; /* newest one not passed yet */
	bool nowhere;  /* see ldr_exception_dispatch; only before the first step */
	bool collided; /* set when this frame was taken over from an unwind that was under way */
	uint64_t nested_until; /* establisher of the frame whose filter raised the exception; 0:
				  none */
};

enum ldr_step {
	LDR_STEP_FRAME,  /* a driver's frame with unwind data */
	LDR_STEP_END,    /* the driver was called from here by the core on its own account */
	LDR_STEP_BROKEN, /* unwind data or stack cannot be right */
};

/* Go to the first frame at or above the context that has unwind data; then, after context = caller,
 * to the next. */
enum ldr_step ldr_cursor_step(struct ldr_cursor *cursor, unsigned flags);
/* Call the frame's handler. */
EXCEPTION_DISPOSITION ldr_cursor_call(struct ldr_cursor *cursor, EXCEPTION_RECORD *record,
				      CONTEXT *original, uint64_t target, bool unwinding);
