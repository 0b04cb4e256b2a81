/* SPDX-License-Identifier: MIT */
/*
 * processor.c: the partition's processors: numbers, groups, and the core's own spin locks.
 *
 * All processors that the partition can hold are laid out at boot (address space only; pages come
 * with use), so `ke_processors` never changes afterwards and needs no lock. The active ones have
 * the lowest indices; ke_processor_count grows under the dispatcher lock, once the processor may
 * run threads, and never falls (PRC-38). Which group and number an index has is fixed at boot by
 * the layout (PRC-62, PRC-63, PRC-66), so that every question about counts and masks is answered by
 * one load of the count, at any IRQL and in an NMI.
 */
#include "ke/internal.h"

struct ke_processor *ke_processors[KE_MAXIMUM_PROCESSORS];
uint32_t ke_processor_maximum;
_Atomic uint32_t ke_processor_count;
_Atomic uint32_t ke_processor_joining = KE_NO_PROCESSOR;
uint32_t ke_group_size;

/* Constant after boot. */
static enum ke_layout layout;
static uint32_t groups;       /* that the partition can have */
static uint8_t number_at[64]; /* in a group: the number of its k-th processor to come */
static uint8_t order_of[64];  /* the inverse */
static KAFFINITY mask_at[65]; /* the mask of its first k processors */

_Static_assert(offsetof(struct ke_processor, self) == 0x18, "KPCR.Self (DEF-38)");
_Static_assert(offsetof(struct ke_processor, current_prcb) == 0x20, "KPCR.CurrentPrcb");
_Static_assert(offsetof(struct ke_processor, idt_base) == 0x38, "KPCR.IdtBase");
_Static_assert(offsetof(struct ke_processor, irql) == 0x50, "KPCR.Irql");
_Static_assert(offsetof(struct ke_processor, legacy_number) == 0x184, "processor number");
_Static_assert(offsetof(struct ke_processor, current) == 0x188, "current thread");
_Static_assert(offsetof(struct ke_processor, prcb_number) == 0x1a4, "PRCB.Number");

#define STRIDE ((sizeof(struct ke_processor) + PORT_PAGE_SIZE - 1) & ~(size_t)(PORT_PAGE_SIZE - 1))

static void lay_out_groups(void)
{
	uint32_t half = (ke_group_size + 1) / 2;
	for (uint32_t order = 0; order < ke_group_size; order++) {
		uint32_t number = layout != KE_LAYOUT_HOLES ? order
				  : order < half            ? 2 * order
							    : 2 * (order - half) + 1;
		number_at[order] = (uint8_t)number;
		order_of[number] = (uint8_t)order;
		mask_at[order + 1] = mask_at[order] | (KAFFINITY)1 << number;
	}
}

bool ke_processors_initialize(const struct ke_partition *partition)
{
	uint32_t maximum = partition->maximum;
	size_t size = maximum * STRIDE;
	char *memory = port_pages_reserve(NULL, size);
	if (!memory || !port_pages_protect(memory, size, PORT_READ | PORT_WRITE))
		return false;
	for (uint32_t i = 0; i < maximum; i++)
		ke_processors[i] = (struct ke_processor *)(memory + i * STRIDE);
	ke_processor_maximum = maximum;
	ke_group_size = partition->group_size;
	layout = partition->layout;
	groups = (maximum + ke_group_size - 1) / ke_group_size;
	lay_out_groups();
	return true;
}

/* ---- Numbers, groups and masks; any context ---- */

PROCESSOR_NUMBER ke_processor_number(uint32_t index)
{
	bool spread = layout == KE_LAYOUT_SPREAD;
	uint32_t group = spread ? index % groups : index / ke_group_size;
	uint32_t order = spread ? index / groups : index % ke_group_size;
	return (PROCESSOR_NUMBER){.Group = (USHORT)group, .Number = number_at[order]};
}

uint32_t ke_processor_index(uint32_t group, uint32_t number)
{
	if (group >= groups || number >= ke_group_size)
		return KE_NO_PROCESSOR;
	uint32_t index = layout == KE_LAYOUT_SPREAD ? order_of[number] * groups + group
						    : group * ke_group_size + order_of[number];
	return index < ke_processor_maximum ? index : KE_NO_PROCESSOR;
}

uint32_t ke_group_count(uint32_t count, uint32_t group)
{
	if (group >= groups)
		return 0;
	if (layout == KE_LAYOUT_SPREAD)
		return (count + groups - 1 - group) / groups;
	uint32_t first = group * ke_group_size;
	if (first >= count)
		return 0;
	uint32_t rest = count - first;
	return rest < ke_group_size ? rest : ke_group_size;
}

KAFFINITY ke_group_mask(uint32_t count, uint32_t group)
{
	return mask_at[ke_group_count(count, group)];
}

uint32_t ke_groups_of(uint32_t count)
{
	if (layout == KE_LAYOUT_SPREAD)
		return count < groups ? count : groups;
	return (count + ke_group_size - 1) / ke_group_size;
}

/* ---- Coming to life ---- */

/* Fill in what a processor is before it first runs. Its pages are touched here, not at boot. */
void ke_processor_prepare(struct ke_processor *processor, uint32_t index)
{
	processor->current_prcb = (char *)processor + 0x180;
	processor->mxcsr = 0x1f80;
	processor->irql = DISPATCH_LEVEL;
	processor->index = index;
	processor->number = ke_processor_number(index);
	processor->legacy_number = processor->number.Number;
	/* PRC-57: what headers read inline is below the count of group 0, which never falls. */
	if (processor->number.Group)
		processor->legacy_number %= ke_group_count(index, 0);
	processor->prcb_number = index;
	processor->port.gs_base = processor;
	processor->dpcs.list.Flink = processor->dpcs.list.Blink = &processor->dpcs.list;
	/* Last: ke_processor_is_active reads it before the index. */
	__atomic_store_n(&processor->self, processor, __ATOMIC_RELEASE);
}

/*
 * From here on counts and masks include it, and threads that wait for a processor run there
 * (PRC-31). Counted before it can get an NMI: a deregistration waits for every dispatch
 * (nmi_grace).
 */
void ke_processor_activate(struct ke_processor *processor)
{
	KIRQL old = ke_dispatcher_lock();
	atomic_store(&ke_processor_count, processor->index + 1);
	if (processor->number.Group == 0)
		KeNumberProcessors = (CCHAR)ke_group_count(processor->index + 1, 0); /* PRC-70 */
	ke_processor_offer(processor);
	ke_dispatcher_unlock(old);
}

/* `started`: 1 once its idle thread has run, 2 while somebody waits for that. */
bool ke_processor_start(struct ke_processor *processor, PKTHREAD idle)
{
	uint32_t never = 0;
	processor->idle = idle;
	idle->priority = idle->base_priority = 0;
	KIRQL old = ke_irql_raise(DISPATCH_LEVEL);
	bool runs = ke_processor_run(processor, idle, ke_idle, processor);
	ke_irql_lower(old);
	if (!runs)
		return false;
	if (atomic_compare_exchange_strong(&processor->started, &never, 2)) {
		while (atomic_load(&processor->started) == 2)
			port_wait(&processor->started, 2);
	}
	return true;
}

void ke_idle(void *processor)
{
	struct ke_processor *self = processor;
	if (atomic_exchange(&self->started, 1) == 2)
		port_wake(&self->started);
	for (;;) {
		port_cpu_idle(&self->port);
		ke_interrupt_deliver(PASSIVE_LEVEL);
	}
}

struct ke_processor *ke_processor_find(USHORT group, UCHAR number)
{
	uint32_t index = ke_processor_index(group, number);
	return index == KE_NO_PROCESSOR ? NULL : ke_processors[index];
}

/* ---- The core's spin locks ---- */

#define LOCK_SPINS 64

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

/*
 * Waiters sleep after a while, and a release wakes one of them: were they to look again and again,
 * hundreds of processors on a few of the host's would keep the holder from running. Who has slept
 * takes the lock with WAITERS set, since others may sleep still.
 */
#define WAITERS 0x80000000u

static bool take(struct ke_lock *lock, uint32_t value)
{
	uint32_t free = 0;
	return atomic_compare_exchange_strong_explicit(&lock->held, &free, value,
						       memory_order_acquire, memory_order_relaxed);
}

static __attribute__((noinline)) void acquire_contended(struct ke_lock *lock, uint32_t own)
{
	uint32_t value = own;
	for (unsigned round = 0;; round++) {
		uint32_t held = atomic_load_explicit(&lock->held, memory_order_relaxed);
		if (!held) {
			if (take(lock, value))
				return;
			continue;
		}
		if ((held & ~WAITERS) == own)
			lock_deadlock(lock);
		if (round < LOCK_SPINS) {
			port_spin(0);
			continue;
		}
		if (!(held & WAITERS) && !atomic_compare_exchange_strong_explicit(
						 &lock->held, &held, held | WAITERS,
						 memory_order_relaxed, memory_order_relaxed))
			continue;
		value = own | WAITERS;
		port_wait(&lock->held, held | WAITERS);
	}
}

void ke_lock_acquire(struct ke_lock *lock)
{
	uint32_t own = ke_this()->index + 1;
	if (__builtin_expect(!take(lock, own), 0))
		acquire_contended(lock, own);
}

void ke_lock_pass(struct ke_lock *lock, const struct ke_processor *to)
{
	uint32_t held = atomic_load_explicit(&lock->held, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&lock->held, &held,
						      (held & WAITERS) | (to->index + 1),
						      memory_order_relaxed, memory_order_relaxed))
		;
}

void ke_lock_release(struct ke_lock *lock)
{
	if (__builtin_expect(
		    atomic_exchange_explicit(&lock->held, 0, memory_order_release) & WAITERS, 0))
		port_wake_one(&lock->held);
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
