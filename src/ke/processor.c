/* SPDX-License-Identifier: MIT */
/*
 * processor.c: the partition's processors: numbers, groups, and the core's own spin locks.
 *
 * All processors that the partition can hold are laid out at boot (address space only; pages come
 * with use), so `ke_processors` never changes afterwards and needs no lock. The active ones have
 * the lowest indices; ke_processor_count grows by a release store once the processor may run
 * threads, and never falls (PRC-38).
 */
#include "ke/internal.h"

struct ke_processor *ke_processors[KE_MAXIMUM_PROCESSORS];
uint32_t ke_processor_maximum;
_Atomic uint32_t ke_processor_count;
uint32_t ke_group_size;

_Static_assert(offsetof(struct ke_processor, self) == 0x18, "KPCR.Self (DEF-38)");
_Static_assert(offsetof(struct ke_processor, current_prcb) == 0x20, "KPCR.CurrentPrcb");
_Static_assert(offsetof(struct ke_processor, idt_base) == 0x38, "KPCR.IdtBase");
_Static_assert(offsetof(struct ke_processor, irql) == 0x50, "KPCR.Irql");
_Static_assert(offsetof(struct ke_processor, legacy_number) == 0x184, "processor number");
_Static_assert(offsetof(struct ke_processor, current) == 0x188, "current thread");
_Static_assert(offsetof(struct ke_processor, prcb_number) == 0x1a4, "PRCB.Number");

#define STRIDE ((sizeof(struct ke_processor) + PORT_PAGE_SIZE - 1) & ~(size_t)(PORT_PAGE_SIZE - 1))

bool ke_processors_initialize(uint32_t maximum, uint32_t group_size)
{
	size_t size = maximum * STRIDE;
	char *memory = port_pages_reserve(NULL, size);
	if (!memory || !port_pages_protect(memory, size, PORT_READ | PORT_WRITE))
		return false;
	for (uint32_t i = 0; i < maximum; i++)
		ke_processors[i] = (struct ke_processor *)(memory + i * STRIDE);
	ke_processor_maximum = maximum;
	ke_group_size = group_size;
	return true;
}

/* Fill in what a processor is before it first runs. Its pages are touched here, not at boot. */
void ke_processor_prepare(struct ke_processor *processor, uint32_t index)
{
	processor->self = processor;
	processor->current_prcb = (char *)processor + 0x180;
	processor->mxcsr = 0x1f80;
	processor->irql = DISPATCH_LEVEL;
	processor->index = index;
	processor->number.Group = (USHORT)(index / ke_group_size);
	processor->number.Number = (UCHAR)(index % ke_group_size);
	processor->legacy_number = processor->number.Number;
	processor->prcb_number = index;
	processor->port.gs_base = processor;
	processor->dpcs.list.Flink = processor->dpcs.list.Blink = &processor->dpcs.list;
}

/* From here on counts and masks include it. */
void ke_processor_activate(struct ke_processor *processor)
{
	/* Counted before it can get an NMI: a deregistration waits for every dispatch (nmi_grace).
	 */
	atomic_store(&ke_processor_count, processor->index + 1);
	atomic_store(&processor->active, true);
	if (processor->number.Group == 0)
		KeNumberProcessors = (CCHAR)(processor->number.Number + 1); /* PRC-70 */
}

void ke_idle(void *processor)
{
	struct ke_processor *self = processor;
	for (;;) {
		port_cpu_idle(&self->port);
		ke_interrupt_deliver(PASSIVE_LEVEL);
	}
}

struct ke_processor *ke_processor_find(USHORT group, UCHAR number)
{
	uint32_t index = (uint32_t)group * ke_group_size + number;
	if (number >= ke_group_size || index >= ke_processor_maximum)
		return NULL;
	return ke_processors[index];
}

/* The lock's holder was interrupted by an NMI whose callback wants the same lock: it would wait for
 * ever. */
static _Noreturn void lock_deadlock(struct ke_lock *lock)
{
	ke_bugcheck(0xF /* SPIN_LOCK_ALREADY_OWNED */, (uint64_t)lock, 0, 0, 0,
		    &(struct ke_bugcheck_detail){
			    .text = ke_in_nmi()
					    ? "an NMI callback called a function that takes a lock "
					      "which "
					      "the interrupted code holds"
					    : "a core lock is acquired twice on one processor"});
}

void ke_lock_acquire(struct ke_lock *lock)
{
	uint32_t own = ke_this()->index + 1;
	for (unsigned round = 0;; round++) {
		uint32_t held = atomic_load_explicit(&lock->held, memory_order_relaxed);
		if (!held && atomic_compare_exchange_weak_explicit(&lock->held, &held, own,
								   memory_order_acquire,
								   memory_order_relaxed))
			return;
		if (__builtin_expect(held == own, 0))
			lock_deadlock(lock);
		port_spin(round);
	}
}

void ke_lock_release(struct ke_lock *lock)
{
	atomic_store_explicit(&lock->held, 0, memory_order_release);
}

KIRQL ke_lock_raise(struct ke_lock *lock)
{
	KIRQL old = ke_irql();
	if (old < DISPATCH_LEVEL)
		ke_irql_set(DISPATCH_LEVEL);
	ke_lock_acquire(lock);
	return old;
}

void ke_lock_lower(struct ke_lock *lock, KIRQL old)
{
	ke_lock_release(lock);
	ke_irql_lower(old);
}
