/* SPDX-License-Identifier: MIT */
/*
 * The bug check: stop the machine for good and say why.
 *
 * The first one wins; a processor that comes later parks until the winner freezes it. The winner
 * raises to HIGH_LEVEL, freezes the others, fills the report in static storage, then calls the
 * drivers' callbacks, and publishes. A fault in a callback enters again on the same processor: it
 * never hurts the report, which is complete by then, and the remaining callbacks still run. A
 * second fault while the report itself is written publishes what there is.
 *
 * Contexts: any IRQL, NMI too (on the alternate stack). No locks, no allocation.
 *
 * Requirements: PLT-56, PLT-57, NMI-32 (KeBugCheckEx in an NMI callback).
 *
 * Chosen where documents are silent: the order of PLT-56. Without an address to blame, the newest
 * driver frame on the stack is blamed.
 */
#include "ke/bugcheck.h"
#include "ke/machine.h"
#include "ke/walk.h"
#include "rtl/rtl.h"

#define FREEZE_NS 500000000ull

/* How far the winner has come. Written by the winner only. */
enum phase { PHASE_REPORT, PHASE_CALLBACKS, PHASE_DONE };

/* The winner's index + 1; 0: no bug check yet. */
static _Atomic uint32_t winner;
static enum phase phase;
static struct ketch_bugcheck report;

const struct ketch_bugcheck *ke_bugcheck_report(void)
{
	return &report;
}

static void report_frames(struct ke_walk *walk)
{
	const uint32_t room = sizeof(report.frames) / sizeof(report.frames[0]);

	while (report.frame_count < room && ke_walk_next(walk)) {
		struct ketch_frame *frame = &report.frames[report.frame_count];

		frame->address = walk->address;
		(void)ke_where(walk->address, frame->where, sizeof(frame->where));
		if (walk->image && report.address == 0) {
			report.address = walk->address;
		}
		report.frame_count++;
	}
}

/* Walks its caller's caller when nothing better is known: kept out of line for that. */
static __attribute__((noinline)) void fill(ULONG code, const uint64_t parameters[4], KIRQL irql,
					   const struct ke_bugcheck_detail *detail)
{
	const char *name = ke_bugcheck_name(code), *driver;
	struct ke_walk walk;

	report.code = code;
	memcpy(report.parameters, parameters, sizeof(report.parameters));
	rtl_copy(report.name, sizeof(report.name), name ? name : "");
	report.processor = ke_this()->index;
	report.irql = irql;
	if (detail && detail->text) {
		rtl_copy(report.text, sizeof(report.text), detail->text);
	}
	if (detail) {
		report.address = detail->address;
	}
	if (detail && detail->regs) {
		ke_walk_begin(&walk, ke_thread(), detail->regs);
	} else {
		ke_walk_begin_caller(&walk);
	}
	report.registers_valid = detail && detail->regs;
	memcpy(report.registers, &walk.regs, sizeof(report.registers));
	report_frames(&walk);
	driver = report.address ? ke_where_driver(report.address) : 0;
	rtl_copy(report.driver, sizeof(report.driver), driver ? driver : "");
}

_Noreturn void ke_bugcheck(ULONG code, uint64_t p1, uint64_t p2, uint64_t p3, uint64_t p4,
			   const struct ke_bugcheck_detail *detail)
{
	const uint64_t parameters[4] = {p1, p2, p3, p4};
	KIRQL irql = ke_irql();
	uint32_t self, none = 0;

	ke_irql_set(HIGH_LEVEL); /* from here on the thread stays on this processor */
	self = ke_this()->index + 1;
	if (atomic_compare_exchange_strong(&winner, &none, self)) {
		ke_machine_freeze(FREEZE_NS);
		fill(code, parameters, irql, detail);
		phase = PHASE_CALLBACKS;
	} else if (none != self) {
		for (unsigned round = 0;; round++) {
			port_spin(round); /* until the winner freezes this processor */
		}
	}
	if (phase == PHASE_CALLBACKS) {
		ke_bugcheck_callbacks(); /* enters here again when a routine fails */
		phase = PHASE_DONE;
	}
	ke_machine_stop(KE_STOP_BUGCHECK);
}

/*
 * Stop the machine with a bug check. Thunked. Any IRQL, NMI too. Never returns. PLT-56, NMI-32.
 */
DECLSPEC_NORETURN VOID NTAPI KeBugCheckEx(ULONG code, ULONG_PTR p1, ULONG_PTR p2, ULONG_PTR p3,
					  ULONG_PTR p4)
{
	ke_bugcheck(code, p1, p2, p3, p4, 0);
}

/* KeBugCheckEx with four zeros. Thunked. */
DECLSPEC_NORETURN VOID NTAPI KeBugCheck(ULONG code)
{
	ke_bugcheck(code, 0, 0, 0, 0, 0);
}
