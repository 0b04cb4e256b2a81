/* SPDX-License-Identifier: MIT */
/*
 * Traps: what becomes of a fault in driver code, or in the core while it works on what a driver
 * gave it.
 *
 * ke_port_trap runs on the alternate stack and only decides. A trap that a driver may handle
 * becomes an exception: its record and context are put on the thread's own stack below what was
 * interrupted, and the frame is rewritten so that the thread continues there, in
 * ldr_exception_deliver. What no driver may handle is a bug check at once (ldr/trap_fatal.c).
 *
 * Contexts: the holder of a baton, any IRQL, NMI too. No locks.
 *
 * Requirements: DEF-332, DEF-328, DEF-33, DEF-26, DEF-336, VER-35, VER-39, NMI-36.
 *
 * Chosen where documents are silent:
 * - At or above DISPATCH_LEVEL a page fault is fatal, as documented; other exceptions (a division
 * by zero) are offered to handlers at every IRQL. In an NMI callback every exception is fatal.
 * - A bad system address (MmSystemRangeStart and above) is offered to handlers as a bad user
 * address is (DEF-332), and is bug check 0x50 when nobody handles it. Windows does not offer it: a
 * handler that takes one of the kernel's half of the address space gets a line in the report.
 * - A fault inside the core below DISPATCH_LEVEL is raised in the driver, at its call of the DDI,
 * when the table says that the function holds nothing then (DDI_FAULT); else it is a bug check that
 * blames the driver's call.
 * - An instruction that a process cannot do is reported and raised as
 * STATUS_PRIVILEGED_INSTRUCTION.
 */
#include "ldr/trap.h"
#include "ke/guard.h"
#include "ldr/ddi.h"
#include "ldr/exception.h"
#include "mm/mm.h"
#include "mm/user.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

#define RED_ZONE 128

/* What lies on the thread's stack while its exception is dispatched. */
struct trap_area {
	CONTEXT context;
	EXCEPTION_RECORD record;
	struct ke_call_record call; /* kind TRAP: leads from our frames to the context */
	const char *text;           /* of the trap; 0: none */
	bool nowhere;
} __attribute__((aligned(64)));

static void enter(struct trap_area *area) __attribute__((noreturn));

/* On the thread's own stack: rules that a trap breaks, whoever handles it (DEF-336, DEF-338). */
static void judge(const struct trap_area *area)
{
	KIRQL irql = ke_irql();
	if (area->record.ExceptionCode == STATUS_ASSERTION_FAILURE && irql > APC_LEVEL)
		vf_report(VF_PagedCode, NULL, area->context.Rip, area->context.Rip,
			  "PAGED_CODE or another assertion failed at %s (%u)", vf_irql_name(irql),
			  irql);
	if (!area->nowhere)
		return;
	const struct ldr_image *image = ldr_image_from_address(area->context.Rip);
	const struct ldr_section *section =
		image ? ldr_image_section_at(image, area->context.Rip) : NULL;
	uint64_t caller = 0;
	if (section && atomic_load_explicit(&section->discarded, memory_order_relaxed)) {
		if (!ke_guard_read64(area->context.Rsp, &caller) || !ldr_image_from_address(caller))
			caller = area->context.Rip; /* called by the core: a callback */
		vf_report(VF_InitCall, NULL, caller, area->context.Rip,
			  "code of the discarded section %s was called", section->name);
	}
}

static void enter(struct trap_area *area)
{
	if (area->text) {
		char where[80];

		(void)ke_where(area->context.Rip, where, sizeof(where));
		ke_print(PORT_STREAM_REPORT, "ketch: %s: %s cannot be done in a process\n", where,
			 area->text);
	}
	if (vf_on())
		judge(area);
	ldr_exception_deliver(&area->record, &area->context, area->nowhere);
}

const struct ke_call_record *ldr_trap_record(uint64_t function, uint64_t rsp)
{
	return function == (uint64_t)enter ? &((const struct trap_area *)rsp)->call : 0;
}

static NTSTATUS float_status(uint64_t code)
{
	static const struct {
		uint8_t bit;
		NTSTATUS status;
	} causes[] = {
		{0x01, STATUS_FLOAT_INVALID_OPERATION}, {0x04, STATUS_FLOAT_DIVIDE_BY_ZERO},
		{0x02, STATUS_FLOAT_DENORMAL_OPERAND},  {0x08, STATUS_FLOAT_OVERFLOW},
		{0x10, STATUS_FLOAT_UNDERFLOW},         {0x20, STATUS_FLOAT_INEXACT_RESULT},
	};

	for (unsigned i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
		if (code & causes[i].bit) {
			return causes[i].status;
		}
	}
	return STATUS_FLOAT_INVALID_OPERATION;
}

static void access_violation(EXCEPTION_RECORD *record, unsigned access, uint64_t address)
{
	record->ExceptionCode = STATUS_ACCESS_VIOLATION;
	record->NumberParameters = 2;
	record->ExceptionInformation[0] = access == PORT_EXECUTE ? 8 : access == PORT_WRITE ? 1 : 0;
	record->ExceptionInformation[1] = address;
}

unsigned trap_describe(const struct port_trap *trap, EXCEPTION_RECORD *record)
{
	switch (trap->kind) {
	case PORT_TRAP_PAGE_FAULT:
		access_violation(record, trap->access, trap->address);
		return 0;
	case PORT_TRAP_PROTECTION:
		access_violation(record, PORT_READ, UINT64_MAX);
		return 0;
	case PORT_TRAP_DIVIDE:
		record->ExceptionCode = STATUS_INTEGER_DIVIDE_BY_ZERO;
		return 0;
	case PORT_TRAP_OVERFLOW_INTEGER:
		record->ExceptionCode = STATUS_INTEGER_OVERFLOW;
		return 0;
	case PORT_TRAP_BREAKPOINT:
		record->ExceptionCode = STATUS_BREAKPOINT;
		record->NumberParameters = 1;
		return 1;
	case PORT_TRAP_SINGLE_STEP:
		record->ExceptionCode = STATUS_SINGLE_STEP;
		return 0;
	case PORT_TRAP_FLOAT:
		record->ExceptionCode = float_status(trap->code);
		record->NumberParameters = 1;
		return 0;
	case PORT_TRAP_ALIGNMENT:
		record->ExceptionCode = STATUS_DATATYPE_MISALIGNMENT;
		return 0;
	case PORT_TRAP_ASSERT:
		record->ExceptionCode = STATUS_ASSERTION_FAILURE;
		return 0;
	case PORT_TRAP_PRIVILEGED:
		record->ExceptionCode = STATUS_PRIVILEGED_INSTRUCTION;
		return 0;
	default:
		record->ExceptionCode = STATUS_ILLEGAL_INSTRUCTION;
		return 0;
	}
}

/* Room for the area below RSP on the thread's stack; 0: there is none. */
static struct trap_area *area_below(uint64_t rsp)
{
	const struct _KTHREAD *thread = ke_thread();
	uint64_t low = (uint64_t)thread->StackLimit, high = (uint64_t)thread->StackBase;

	if (rsp <= low || rsp > high || rsp - low < RED_ZONE + sizeof(struct trap_area) + 64) {
		return 0;
	}
	return (struct trap_area *)((rsp - RED_ZONE - sizeof(struct trap_area)) & ~63ull);
}

/* Have the thread continue in `enter`, on its own stack. */
static void redirect(struct port_frame *frame, struct port_regs regs, struct trap_area *area)
{
	uint64_t *stack = (uint64_t *)area - 1;
	uint8_t *fxsave = port_frame_fxsave(frame);
	const uint32_t mxcsr = 0x1f80;
	const uint16_t control = 0x37f;

	*stack = 0; /* enter's return address: the end of a frame chain */
	regs.rsp = (uint64_t)stack;
	regs.rbp = 0;
	regs.rip = (uint64_t)enter;
	regs.rdi = (uint64_t)area;
	regs.rflags &= ~0x40500ull; /* no direction, trap or alignment check flag in our code */
	memcpy(fxsave, &control, sizeof(control));
	memcpy(fxsave + 24, &mxcsr, sizeof(mxcsr));
	port_frame_write(frame, &regs);
}

/* Make the trap an exception of the interrupted thread. */
static void raise(const struct port_trap *trap, const struct trap_place *place,
		  struct port_frame *frame)
{
	struct trap_area *area = area_below(place->regs.rsp);

	if (!area) {
		trap_stack_overflow(trap, place);
	}
	memset(area, 0, sizeof(*area));
	area->call.kind = KE_RECORD_TRAP;
	area->call.context = &area->context;
	area->text = trap->kind == PORT_TRAP_PRIVILEGED ? trap->text : 0;
	if (place->call) {
		ldr_context_from_record(&area->context, place->call);
		trap_describe(trap, &area->record);
	} else {
		ldr_context_from_regs(&area->context, &place->regs);
		area->context.ContextFlags = CONTEXT_FULL | CONTEXT_SEGMENTS;
		area->context.SegCs = 0x10;
		area->context.SegSs = 0x18;
		memcpy(&area->context.FltSave, port_frame_fxsave(frame),
		       sizeof(area->context.FltSave));
		area->context.MxCsr = area->context.FltSave.MxCsr;
		area->context.Rip = place->driver_rip - trap_describe(trap, &area->record);
		area->nowhere = trap->kind == PORT_TRAP_PAGE_FAULT &&
				trap->access == PORT_EXECUTE && trap->address == place->regs.rip;
	}
	area->call.ddi = area->nowhere;
	/* From here on a walk that begins in `enter` finds the way; until then the record is below
	 * RSP and does not count. */
	area->call.previous = ke_thread()->records;
	ke_thread()->records = &area->call;
	area->record.ExceptionAddress = (PVOID)area->context.Rip;
	redirect(frame, place->regs, area);
}

/*
 * In core code: the record of the DDI call that the core works for, if nothing of a driver lies
 * between and the function may be left by an exception.
 */
static const struct ke_call_record *leavable_call(struct trap_place *place)
{
	const struct ke_call_record *record =
		ke_walk_record(ke_thread(), ke_thread()->records, place->regs.rsp);

	if (!record || record->kind != KE_RECORD_DDI || record->ddi >= ddi_count ||
	    !(ddi_table[record->ddi].flags & DDI_FAULT)) {
		return 0;
	}
	return place->blame == record->rip && place->blame_rsp == record->rsp ? record : 0;
}

/* Where the trap happened, and which driver is to blame. */
static void find_place(const struct port_trap *trap, struct trap_place *place)
{
	struct ke_walk walk;

	place->irql = ke_irql();
	place->driver_rip = place->regs.rip;
	(void)port_stub_lookup(place->regs.rip, &place->driver_rip);
	place->image = ldr_image_from_address(place->driver_rip);
	place->nowhere = trap->kind == PORT_TRAP_PAGE_FAULT && trap->access == PORT_EXECUTE;
	if (place->image && !place->nowhere) {
		place->blame = place->driver_rip;
		place->blame_rsp = place->regs.rsp;
		return;
	}
	ke_walk_begin(&walk, ke_thread(), &place->regs);
	for (unsigned i = 0; i < 64 && ke_walk_next(&walk); i++) {
		if (walk.image && walk.address != place->regs.rip) {
			place->blame = walk.address;
			place->blame_rsp = walk.stack;
			break;
		}
	}
}

bool ke_port_trap(struct port_cpu *cpu, const struct port_trap *trap, struct port_frame *frame)
{
	struct trap_place place = {0};
	bool page_fault = trap->kind == PORT_TRAP_PAGE_FAULT;
	struct port_trap breakpoint;
	uint64_t recover;

	(void)cpu;
	if (trap->kind == PORT_TRAP_DEBUG_SERVICE) {
		if (ke_in_nmi()) {
			/* No debugger: it returns. The IRET that ends this exception lets NMIs in
			 * (NMI-39). */
			port_frame_nmi_unblock(frame);
			return true;
		}
		breakpoint = *trap;
		breakpoint.kind = PORT_TRAP_BREAKPOINT;
		trap = &breakpoint;
	}
	port_frame_read(frame, &place.regs);
	recover = page_fault || trap->kind == PORT_TRAP_PROTECTION
			  ? ke_guard_recover(place.regs.rip)
			  : 0;
	if (page_fault && !(recover && ke_irql() >= DISPATCH_LEVEL) &&
	    (mm_user_fault(trap->address, trap->access, ke_irql()) ||
	     mm_pageable_fault(trap->address, trap->access, ke_irql()))) {
		return true;
	}
	if (recover) {
		place.regs.rip = recover;
		port_frame_write(frame, &place.regs);
		return true;
	}
	find_place(trap, &place);
	trap_unloaded(trap, &place);
	if (page_fault && !ke_in_nmi()) {
		trap_guard_page(trap, &place);
	}
	if (trap->kind == PORT_TRAP_FAST_FAIL || trap->kind == PORT_TRAP_BOUND || ke_in_nmi() ||
	    (page_fault && place.irql >= DISPATCH_LEVEL) || trap_executes_user(trap)) {
		trap_fatal(trap, &place);
	}
	if (!place.image && !place.nowhere) {
		place.call = place.irql < DISPATCH_LEVEL ? leavable_call(&place) : 0;
		if (!place.call) {
			trap_fatal(trap, &place);
		}
	}
	raise(trap, &place, frame);
	return true;
}
