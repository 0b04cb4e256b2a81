/* SPDX-License-Identifier: MIT */
/*
 * irql.c: interrupt request levels, the pending word, and delivery (PLT-3, 5, 11..14; DEF-40, 41).
 *
 * The IRQL is a byte of the processor (gs:[0x50]); raising it is one store. `pending` has a bit per
 * level, set by anyone; it is the processor's interrupt request register. A level is deliverable
 * when it is above the IRQL and the interrupt flag is on. Three places deliver: a host signal
 * (ke_port_interrupt), a lowered IRQL, and the end of an NMI.
 *
 * Below DISPATCH_LEVEL the thread may be moved to another processor between any two instructions,
 * so code here touches gs-relative fields in one instruction, or first raises the IRQL to
 * HIGH_LEVEL, which pins it: handlers then leave the bits pending, and the loop looks again after
 * it has put the IRQL back.
 */
#include "ke/internal.h"

#define GS_PENDING offsetof(struct ke_processor, port.pending)
#define GS_OFF     offsetof(struct ke_processor, interrupts_off)

/* Nothing deliverable at `irql` on whatever processor this is: one or two gs-relative loads. */
static inline bool quiet(KIRQL irql)
{
	uint32_t pending;
	uint8_t off;
	__asm__ volatile("movl %%gs:%c1, %0" : "=r"(pending) : "i"(GS_PENDING));
	if (__builtin_expect((pending >> (irql + 1)) == 0, 1))
		return true;
	__asm__ volatile("movb %%gs:%c1, %0" : "=q"(off) : "i"(GS_OFF));
	return off;
}

static void interrupt(struct ke_processor *self, KIRQL level)
{
	switch (level) {
	case KE_IPI_LEVEL:
		ke_ipi_interrupt(self);
		break;
	case KE_CLOCK_LEVEL:
		ke_clock_interrupt(self);
		break;
	case KE_DEVICE_LEVEL:
		ke_device_interrupt();
		break;
	case DISPATCH_LEVEL:
		ke_dispatch_interrupt();
		break;
	case APC_LEVEL:
		ke_apc_deliver();
		break;
	default:
		ke_bugcheck(0xC8 /* IRQL_UNEXPECTED_VALUE */, level, 0, 0, 0, NULL);
	}
}

/*
 * Deliver all that is deliverable at `irql`, the current IRQL, highest first. May switch threads
 * and return on another processor when irql < DISPATCH_LEVEL.
 */
void ke_interrupt_deliver(KIRQL irql)
{
	while (!quiet(irql)) {
		ke_irql_set(HIGH_LEVEL);
		struct ke_processor *self = ke_this();
		uint32_t pending = atomic_load(&self->port.pending);
		if (ke_in_nmi()) {
			ke_irql_set(irql);
			return; /* the end of the NMI delivers */
		}
		if ((pending >> (irql + 1)) == 0 || self->interrupts_off) {
			ke_irql_set(irql);
			continue; /* what came meanwhile saw HIGH_LEVEL and stayed pending */
		}
		KIRQL level = (KIRQL)(31 - __builtin_clz(pending));
		atomic_fetch_and(&self->port.pending, ~(1u << level));
		ke_irql_set(level);
		interrupt(self, level);
		ke_irql_set(irql);
	}
}

void ke_port_interrupt(struct port_cpu *cpu, struct port_frame *frame)
{
	(void)cpu;
	PKTHREAD thread = ke_thread();
	struct port_frame *outer = thread->interrupt_frame;
	thread->interrupt_frame = frame;
	ke_interrupt_deliver(ke_irql());
	thread->interrupt_frame = outer;
}

void ke_irql_lower(KIRQL irql)
{
	ke_irql_set(irql);
	if (!quiet(irql))
		ke_interrupt_deliver(irql);
}

void ke_interrupt_request(struct ke_processor *processor, KIRQL level)
{
	atomic_fetch_or(&processor->port.pending, 1u << level);
	port_cpu_kick(&processor->port);
}

/* On a baton: request on the own processor without a signal; delivered now, or when the IRQL drops.
 */
void ke_interrupt_request_self(KIRQL level)
{
	KIRQL irql = ke_irql();
	ke_irql_set(HIGH_LEVEL);
	atomic_fetch_or(&ke_this()->port.pending, 1u << level);
	ke_irql_set(irql);
	if (!quiet(irql))
		ke_interrupt_deliver(irql);
}

/* ---- Emulated CR8, CLI, STI ---- */

unsigned ke_port_cr8_read(void)
{
	return ke_irql();
}

bool ke_port_cr8_write(unsigned irql, uint64_t rip)
{
	(void)rip;
	KIRQL old = ke_irql();
	if (irql >= DISPATCH_LEVEL && old < DISPATCH_LEVEL && vf_on())
		mm_pageable_trim();
	ke_irql_set((KIRQL)irql);
	return irql < old && !quiet((KIRQL)irql);
}

bool ke_port_interrupt_flag(bool enable)
{
	/* In a trap handler: the interrupt signal is blocked, so this thread stays on this
	 * processor. */
	ke_this()->interrupts_off = !enable;
	return enable && !quiet(ke_irql());
}

bool ke_port_interrupts_masked(void)
{
	return atomic_load(&ke_this()->port.pending) && quiet(ke_irql());
}

/* ---- DDIs ---- */

/* The rest of KeLowerIrql, kept apart so that its common path saves no XMM registers. */
static __attribute__((noinline)) VOID NTAPI lower_slow(KIRQL irql)
{
	ke_interrupt_deliver(irql);
}

static __attribute__((noinline)) VOID NTAPI lower_checked(KIRQL NewIrql, uint64_t caller)
{
	KIRQL old = ke_irql();
	if (NewIrql > old || NewIrql > HIGH_LEVEL) {
		uint64_t parameters[3] = {old, NewIrql, 0};
		vf_report_with(VF_LowerIrql, "KeLowerIrql", caller, 0, parameters,
			       "KeLowerIrql asks for %u, above the current IRQL %u", NewIrql, old);
	}
	if (old == HIGH_LEVEL && NewIrql < HIGH_LEVEL && ke_in_nmi())
		vf_report(VF_NmiIrql, "KeLowerIrql", caller, 0,
			  "an NMI callback lowers the IRQL from %u to %u", old, NewIrql);
}

/*
 * Lower the IRQL to what a raise returned; delivers what became deliverable before it returns.
 * IRQL: any. Source: PLT-14, VER-29.
 */
VOID NTAPI KeLowerIrql(KIRQL NewIrql)
{
	if (vf_on())
		lower_checked(NewIrql, (uint64_t)__builtin_return_address(0));
	if (NewIrql > HIGH_LEVEL)
		return;
	ke_irql_set(NewIrql);
	if (!quiet(NewIrql))
		lower_slow(NewIrql);
}

static __attribute__((noinline)) VOID NTAPI raise_checked(KIRQL NewIrql, const char *ddi,
							  uint64_t caller)
{
	KIRQL old = ke_irql();
	if (NewIrql < old || NewIrql > HIGH_LEVEL) {
		uint64_t parameters[3] = {old, NewIrql, 0};
		vf_report_with(VF_RaiseIrql, ddi, caller, 0, parameters,
			       "%s asks for %u at IRQL %u", ddi, NewIrql, old);
	}
	if (NewIrql >= DISPATCH_LEVEL && old < DISPATCH_LEVEL)
		mm_pageable_trim();
}

static __attribute__((noinline, noreturn)) VOID NTAPI raise_to_less(KIRQL old, KIRQL new)
{
	ke_bugcheck(0xC8 /* IRQL_UNEXPECTED_VALUE */,
		    ((uint64_t)old << 16) | ((uint64_t) new << 8) | 0xFE, 0, 0, 0,
		    &(struct ke_bugcheck_detail){
			    .text = "KeRaiseIrql to a level below the current one"});
}

/*
 * Raise the IRQL; returns the previous one. A level below the current one is fatal: 0xC8, id 0xFE
 * (0xC4/0x30 with the verifier). IRQL: any up to NewIrql. Source: PLT-12, VER-29.
 */
KIRQL NTAPI KfRaiseIrql(KIRQL NewIrql)
{
	KIRQL old = ke_irql();
	if (vf_on())
		raise_checked(NewIrql, "KeRaiseIrql", (uint64_t)__builtin_return_address(0));
	if (__builtin_expect(NewIrql < old || NewIrql > HIGH_LEVEL, 0))
		raise_to_less(old, NewIrql);
	ke_irql_set(NewIrql);
	return old;
}

/* Raise to DISPATCH_LEVEL; returns the previous IRQL. IRQL <= DISPATCH_LEVEL. Source: PLT-13. */
KIRQL NTAPI KeRaiseIrqlToDpcLevel(void)
{
	KIRQL old = ke_irql();
	if (vf_on())
		raise_checked(DISPATCH_LEVEL, "KeRaiseIrqlToDpcLevel",
			      (uint64_t)__builtin_return_address(0));
	if (__builtin_expect(old > DISPATCH_LEVEL, 0))
		raise_to_less(old, DISPATCH_LEVEL);
	ke_irql_set(DISPATCH_LEVEL);
	return old;
}

/* The current IRQL. IRQL: any. Source: PLT-11. */
KIRQL NTAPI KeGetCurrentIrql(void)
{
	return ke_irql();
}
