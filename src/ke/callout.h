/* SPDX-License-Identifier: MIT */
/*
 * callout.h: the border between the core and drivers, in both directions.
 *
 * Inward: a DDI that may raise or call a driver is entered through an assembly thunk (DDI_THUNK in
 * the table) that pushes a call record on the stack and links it into the thread, so that unwinding
 * goes from record to record and never through our frames (DESIGN.md decision 5). Outward: every
 * call of a driver's routine goes through ke_callout_begin/end, which pushes a record too. A record
 * of kind BARRIER ends an unwind: an exception that reaches it has no handler. A record of kind
 * INTERRUPT is a barrier for exceptions and a bridge for stack walks: it carries what was
 * interrupted. TRAP and HANDLER are exception dispatch's own: the context that trapped, and the
 * language handler (filter, finally block) that runs.
 *
 * Records lie on the stacks, newer ones lower, so those below a given stack pointer are dead: an
 * unwind drops them.
 */
#pragma once

#include "ke/ke.h"

struct ldr_handler_call;

enum ke_record_kind {
	KE_RECORD_DDI = 0,       /* a driver called a DDI: rip.. are the driver's, after the call */
	KE_RECORD_BARRIER = 1,   /* the core called a driver on its own account */
	KE_RECORD_INTERRUPT = 2, /* the core called a driver from an interrupt, NMI or trap */
	KE_RECORD_TRAP = 3,    /* `context`: where an exception happened that is being dispatched */
	KE_RECORD_HANDLER = 4, /* `handler`: a language handler runs */
};

/* Laid out for ddi_thunk.S. Nonvolatile registers of the driver at the call. */
struct ke_call_record {
	struct ke_call_record *previous;          /* 00 */
	uint64_t kind;                            /* 08 */
	uint64_t rip, rsp;                        /* 10, 18: after the DDI returns */
	uint64_t rbx, rbp, rsi, rdi;              /* 20 .. 38 */
	uint64_t r12, r13, r14, r15;              /* 40 .. 58 */
	uint64_t xmm[10][2];                      /* 60: XMM6..XMM15 */
	union {                                   /* 100 */
		struct port_frame *frame;         /* INTERRUPT: what was interrupted */
		CONTEXT *context;                 /* TRAP */
		struct ldr_handler_call *handler; /* HANDLER */
	};
	uint64_t ddi; /* 108: DDI: index into ddi_table; TRAP: 1 when RIP is no code (a jump to
			 nowhere) */
};
_Static_assert(sizeof(struct ke_call_record) == 0x110, "ddi_thunk.S knows this size");

/* Around a call of a driver's routine. `frame` 0: BARRIER, else INTERRUPT. Any IRQL, NMI too. */
static inline void ke_callout_begin(struct ke_call_record *record, struct port_frame *frame)
{
	PKTHREAD thread = ke_thread();
	record->previous = thread->records;
	record->kind = frame ? KE_RECORD_INTERRUPT : KE_RECORD_BARRIER;
	record->frame = frame;
	thread->records = record;
}

static inline void ke_callout_end(struct ke_call_record *record)
{
	ke_thread()->records = record->previous;
}
