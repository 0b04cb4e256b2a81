/* SPDX-License-Identifier: MIT */
/*
 * nmi.c: nonmaskable interrupts: sending, dispatch to callbacks, the default handler (NMI-1..43,
 * DEF-7..14).
 *
 * Sending sets the processor's latch (exchange) and interrupts whoever holds it; the handler takes
 * the latch (exchange) and comes here. So one dispatch runs, one NMI is latched, the rest coalesce
 * (NMI-38), and always sent = delivered + coalesced + latched. The host signal blocks itself until
 * its handler returns, as NMIs stay blocked until IRET; an exception that ends inside a callback
 * lets them in early, and a second dispatch on the processor is bug check 0x111 (NMI-39).
 *
 * Grace period (DESIGN.md decision 3): nmi_sequence is odd while a dispatch runs. A dispatch makes
 * it odd (seq_cst) before it reads the list's head; a writer unlinks (seq_cst) before it reads the
 * sequence. So a writer that finds it even knows that a later dispatch does not see the entry, and
 * one that finds it odd waits until it changes.
 *
 * Chosen where the documents are silent: NULL routine (NMI-6), double registration (NMI-7), no
 * limit (NMI-8), no parameters for 0x80 and 0x111 (NMI-26, NMI-39), one option to ignore an
 * unclaimed NMI (NMI-27).
 */
#include "ke/nmi.h"
#include "ke/guard.h"
#include "ke/internal.h"
#include "ke/registry.h"
#include "ke/walk.h"

#define NMI_SLOW_NS    1000000u /* VER-49: advice */
#define SEND_WAIT_NS   1000000u
#define NMI_CLAIMS_ALL 8 /* VER-48: advice after so many */

bool ke_nmi_ignore_unhandled;

static void nmi_grace(void);

static struct ke_registry nmi_callbacks = {.name = "NMI", .family = 1, .grace = nmi_grace};

/*
 * Wait for the dispatches that run now, on each processor, without stopping any. All sequences are
 * read first: what ends on the others while one is waited for need not be waited for again.
 */
static void nmi_grace(void)
{
	uint32_t sequences[KE_MAXIMUM_PROCESSORS];
	/* After the unlinking (seq_cst): who is counted later gets no NMI before it. */
	uint32_t count = atomic_load(&ke_processor_count);
	for (uint32_t i = 0; i < count; i++)
		sequences[i] = atomic_load(&ke_processors[i]->nmi_sequence);
	for (uint32_t i = 0; i < count; i++) {
		struct ke_processor *p = ke_processors[i];
		if (!(sequences[i] & 1))
			continue;
		/* Pairs with the end of a dispatch: it changes the sequence, then looks for
		 * waiters. */
		atomic_fetch_add(&p->nmi_waiters, 1);
		while (atomic_load(&p->nmi_sequence) == sequences[i])
			port_wait(&p->nmi_sequence, sequences[i]);
		atomic_fetch_sub(&p->nmi_waiters, 1);
	}
}

/* ---- Sending ---- */

enum ke_nmi_outcome ke_nmi_send(struct ke_processor *processor)
{
	if (!ke_processor_is_active(processor))
		return KE_NMI_NO_PROCESSOR;
	atomic_fetch_add_explicit(&processor->nmi_sent, 1, memory_order_relaxed);
	if (atomic_exchange(&processor->port.nmi, 1)) {
		atomic_fetch_add_explicit(&processor->nmi_coalesced, 1, memory_order_relaxed);
		return KE_NMI_COALESCED;
	}
	port_cpu_nmi(&processor->port);
	return KE_NMI_SENT;
}

/* ---- Dispatch ---- */

/* What the verifier looks at after each callback; off the common path. */
static __attribute__((noinline)) void check_callback(struct ke_registry_entry *entry,
						     uint64_t begin_ns, bool claimed, bool wanted)
{
	if (!wanted && !claimed)
		atomic_fetch_add_explicit(&entry->declined, 1, memory_order_relaxed);
	if (!wanted && claimed &&
	    atomic_fetch_add_explicit(&entry->claimed, 1, memory_order_relaxed) ==
		    NMI_CLAIMS_ALL - 1 &&
	    !atomic_load_explicit(&entry->declined, memory_order_relaxed))
		vf_report(VF_NmiClaimsAll, NULL, (uint64_t)entry->routine, (uint64_t)entry->routine,
			  "an NMI callback claimed each of %u NMIs that no driver sent",
			  NMI_CLAIMS_ALL);
	uint64_t took = port_time_thread_ns() - begin_ns; /* not what the host took from it */
	if (took > NMI_SLOW_NS)
		vf_report(VF_NmiSlow, NULL, (uint64_t)entry->routine, (uint64_t)entry->routine,
			  "an NMI callback ran for %I64u us", took / 1000);
}

static __attribute__((noinline, noreturn)) void irql_changed(const struct ke_registry_entry *entry,
							     KIRQL irql)
{
	vf_callout_irql(entry->routine, entry->context, HIGH_LEVEL, 2);
	ke_bugcheck(0xC8 /* IRQL_UNEXPECTED_VALUE */,
		    ((uint64_t)irql << 16) | (HIGH_LEVEL << 8) | 2, (uint64_t)entry->routine,
		    (uint64_t)entry->context, 0,
		    &(struct ke_bugcheck_detail){
			    .address = (uint64_t)entry->routine,
			    .text = "an NMI callback returned at another IRQL than HIGH_LEVEL"});
}

/* Call every callback, newest first; TRUE if one claimed the NMI (NMI-20..23). */
static bool walk(bool wanted)
{
	bool handled = false, check = vf_on();
	for (struct ke_registry_entry *e = ke_registry_first(&nmi_callbacks); e;
	     e = ke_registry_next(e)) {
		PNMI_CALLBACK routine = (PNMI_CALLBACK)e->routine;
		uint64_t begin = check ? port_time_thread_ns() : 0;
		bool claimed = routine(e->context, handled) != 0;
		handled |= claimed;
		KIRQL irql = ke_irql();
		if (__builtin_expect(irql != HIGH_LEVEL, 0))
			irql_changed(e, irql);
		if (check)
			check_callback(e, begin, claimed, wanted);
	}
	return handled;
}

static _Noreturn void unhandled(struct port_frame *frame)
{
	struct port_regs regs;
	port_frame_read(frame, &regs);
	ke_bugcheck(0x80 /* NMI_HARDWARE_FAILURE */, 0, 0, 0, 0,
		    &(struct ke_bugcheck_detail){.regs = &regs,
						 .address = regs.rip,
						 .text = "no callback claimed the NMI (register "
							 "one that returns TRUE, or run with "
							 "--unhandled-nmi=ignore)"});
}

/* The innermost address in a driver on the stack that the NMI interrupted; 0: none. */
static uint64_t driver_address(PKTHREAD thread, struct port_frame *frame)
{
	struct port_regs regs;
	struct ke_walk walk;
	port_frame_read(frame, &regs);
	ke_walk_begin(&walk, thread, &regs);
	while (ke_walk_next(&walk)) {
		if (walk.image)
			return walk.address;
	}
	return 0;
}

void ke_port_nmi(struct port_cpu *cpu, struct port_frame *frame)
{
	struct ke_processor *self = CONTAINING_RECORD(cpu, struct ke_processor, port);
	struct ke_call_record record;
	uint32_t sequence = atomic_load_explicit(&self->nmi_sequence, memory_order_relaxed);
	uint64_t number =
		atomic_fetch_add_explicit(&self->nmi_delivered, 1, memory_order_relaxed) + 1;
	if (sequence & 1)
		ke_bugcheck(
			0x111 /* RECURSIVE_NMI */, 0, 0, 0, 0,
			&(struct ke_bugcheck_detail){.text = "an NMI came while an NMI callback "
							     "ran: an exception inside the "
							     "callback let NMIs in again"});
	/* Pairs with nmi_grace: the sequence is odd before the list is read. */
	atomic_store(&self->nmi_sequence, sequence + 1);

	KIRQL irql = self->irql;
	self->irql = HIGH_LEVEL;
	struct port_frame *outer = self->nmi_frame;
	self->nmi_frame = frame;
	/* For the one who waits for this NMI; others may come meanwhile and overwrite it. */
	atomic_store_explicit(&self->nmi_irql, irql, memory_order_relaxed);
	atomic_store_explicit(&self->nmi_thread, self->current, memory_order_relaxed);
	atomic_store_explicit(&self->nmi_rip, port_frame_rip(frame), memory_order_relaxed);
	if (atomic_load_explicit(&self->nmi_trace, memory_order_relaxed))
		atomic_store_explicit(&self->nmi_driver_address,
				      driver_address(self->current, frame), memory_order_relaxed);
	if (vf_on())
		mm_pageable_trim();

	ke_callout_begin(&record, frame);
	bool handled =
		walk(number <= atomic_load_explicit(&self->nmi_wanted, memory_order_relaxed));
	ke_callout_end(&record);
	if (!handled && !ke_nmi_ignore_unhandled)
		unhandled(frame);

	self->nmi_frame = outer;
	self->irql = irql;
	atomic_store(&self->nmi_sequence, sequence + 2);
	if (atomic_load(&self->nmi_waiters))
		port_wake(&self->nmi_sequence);
	/* What callbacks requested (a DPC) or what came meanwhile: taken as soon as the NMI is
	 * over. */
	if (!self->interrupts_off && atomic_load(&cpu->pending) >> (irql + 1))
		port_cpu_kick(cpu);
}

/* ---- DDIs ---- */

/* From an NMI callback; the entry check has reported it as IrqlKeApcLte2 (VER-47). */
static bool refused_in_nmi(void)
{
	return ke_irql() == HIGH_LEVEL && ke_in_nmi();
}

/*
 * Register a routine that is called for every NMI, on every processor, newest first, at HIGH_LEVEL.
 * IRQL <= APC_LEVEL. CallbackRoutine: in non-pageable code; Context: passed to it unchanged, may be
 * NULL. Returns a handle for KeDeregisterNmiCallback, or NULL: no memory, no routine, or called
 * from an NMI callback. Source: NMI-1, 5..9, 16..18.
 */
PVOID NTAPI KeRegisterNmiCallback(PNMI_CALLBACK CallbackRoutine, PVOID Context)
{
	uint64_t caller = (uint64_t)__builtin_return_address(0);
	if (refused_in_nmi())
		return NULL;
	if (!CallbackRoutine) {
		vf_report(VF_NmiRoutine, "KeRegisterNmiCallback", caller, 0,
			  "KeRegisterNmiCallback without a routine");
		return NULL;
	}
	if (vf_on() && mm_is_pageable((uint64_t)CallbackRoutine))
		vf_report(VF_NmiPageable, "KeRegisterNmiCallback", caller,
			  (uint64_t)CallbackRoutine, "the NMI callback lies in pageable code");
	if (vf_on() && Context && mm_is_pageable((uint64_t)Context))
		vf_report(VF_NmiPageable, "KeRegisterNmiCallback", caller, (uint64_t)Context,
			  "the NMI callback's context lies in pageable memory");
	return ke_registry_register(&nmi_callbacks, (void *)CallbackRoutine, Context, caller);
}

/*
 * Remove a callback; when it returns no processor runs it any more. IRQL <= APC_LEVEL.
 * STATUS_SUCCESS; STATUS_INVALID_HANDLE: no live registration has this handle; STATUS_UNSUCCESSFUL:
 * called from an NMI callback, nothing changed. Source: NMI-2, 11..18.
 */
NTSTATUS NTAPI KeDeregisterNmiCallback(PVOID Handle)
{
	uint64_t caller = (uint64_t)__builtin_return_address(0);
	if (refused_in_nmi())
		return STATUS_UNSUCCESSFUL;
	NTSTATUS status = ke_registry_deregister(&nmi_callbacks, Handle);
	if (status == STATUS_INVALID_HANDLE && vf_on())
		vf_report(VF_NmiHandle, "KeDeregisterNmiCallback", caller, (uint64_t)Handle,
			  Handle ? "no NMI callback is registered under handle %p (deregistered "
				   "before?)"
				 : "KeDeregisterNmiCallback with a NULL handle %p (did the "
				   "registration fail?)",
			  Handle);
	return status;
}

void ke_nmi_callbacks_each(void (*each)(void *context, const struct ke_registry_entry *entry),
			   void *context)
{
	ke_registry_each(&nmi_callbacks, each, context);
}

/* ---- HalSendNMI ---- */

/* DEF-8: a KAFFINITY_EX that can be read as one, whatever was passed. */
static bool looks_like_affinity_ex(const void *address)
{
	uint16_t head[2];
	if ((uint64_t)address < 0x10000 || !ke_guard_copy(head, address, sizeof head))
		return false;
	uint16_t count = head[0], size = head[1];
	if (count < 1 || count > 32)
		return false;
	return size == 0 || size == 20 || size == 32 || size >= count;
}

/* Call for each possible processor of the set. */
static void each_processor(const uint64_t *masks, unsigned groups,
			   void (*each)(struct ke_processor *p, uint64_t until), uint64_t until)
{
	for (unsigned group = 0; group < groups; group++) {
		for (uint64_t mask = masks[group]; mask; mask &= mask - 1) {
			struct ke_processor *p =
				ke_processor_find((USHORT)group, (UCHAR)__builtin_ctzll(mask));
			if (p)
				each(p, until);
		}
	}
}

static void send(struct ke_processor *p, uint64_t until)
{
	(void)until;
	/* The one that is on its way may have taken the latch without being counted yet: ours is
	 * the next or the one after. */
	uint64_t mine = atomic_load(&p->nmi_delivered) + 2;
	uint64_t wanted = atomic_load_explicit(&p->nmi_wanted, memory_order_relaxed);
	while (wanted < mine && !atomic_compare_exchange_weak(&p->nmi_wanted, &wanted, mine))
		;
	ke_nmi_send(p);
}

static void wait_until_taken(struct ke_processor *p, uint64_t until)
{
	for (unsigned round = 0; atomic_load(&p->port.nmi) && port_time_ns() < until; round++)
		port_spin(round);
}

/*
 * Send an NMI to each active processor of the set, the own one too. IRQL: any (from an NMI
 * callback: reported, latched). Processors: KAFFINITY_EX *, or a mask of group 0 by value (first
 * generation; reported). Returns 0. Source: DEF-7..13.
 */
ULONG_PTR NTAPI HalSendNMI(const KAFFINITY_EX *Processors)
{
	uint64_t caller = (uint64_t)__builtin_return_address(0);
	uint64_t masks[32] = {0};
	unsigned count = 0;
	if (vf_on() && ke_irql() == HIGH_LEVEL && ke_in_nmi())
		vf_report(VF_NmiSend, "HalSendNMI", caller, 0, "HalSendNMI from an NMI callback");
	if (looks_like_affinity_ex(Processors)) {
		uint16_t wanted = *(const uint16_t *)Processors;
		if (ke_guard_copy(masks, (const char *)Processors + 8, wanted * sizeof *masks))
			count = wanted;
	} else {
		uint64_t mask = (uint64_t)Processors;
		uint32_t present = ke_group_count(atomic_load(&ke_processor_count), 0);
		if (present == 64 || mask < 1ull << present || !(mask & ~ke_affinity_active(0))) {
			masks[0] = mask;
			count = 1;
		}
		vf_report(VF_HalSendNmiArgument, "HalSendNMI", caller, mask,
			  count ? "HalSendNMI takes a KAFFINITY_EX pointer; %#I64x was taken as a "
				  "mask of group 0"
				: "HalSendNMI: %#I64x is neither a KAFFINITY_EX nor a mask of "
				  "present processors",
			  mask);
	}
	each_processor(masks, count, send, 0);
	/* DEF-11: for at most a millisecond. The own one has come by now, unless an NMI callback
	 * sends. */
	if (ke_irql() != HIGH_LEVEL || !ke_in_nmi())
		each_processor(masks, count, wait_until_taken, port_time_ns() + SEND_WAIT_NS);
	return 0;
}
