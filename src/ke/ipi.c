/* SPDX-License-Identifier: MIT */
/*
 * KeIpiGenericCall: one routine on all active processors at the same time (PLT-39, DEF-304).
 *
 * The caller may be anywhere below IPI_LEVEL; targets are interrupted at IPI_LEVEL. One call runs
 * at a time: `owner` is taken with interrupts up to IPI_LEVEL let in (the caller stays at its IRQL,
 * raised to DISPATCH_LEVEL), so who waits for it takes part in the call that holds it. Holders of
 * locks at DISPATCH_LEVEL are interrupted like everybody else; nothing here takes a lock.
 *
 * `round` numbers the calls. Caller: writes worker and argument, marks each target in its ipi_round
 * (release), requests the interrupt, and counts itself in. A target reads its mark (acquire),
 * counts itself in, waits for `go`, runs the worker and counts itself out, which is the last it
 * touches of the call. The caller returns when all are out.
 */
#include "ke/internal.h"

static struct {
	struct ke_lock owner;
	PKIPI_BROADCAST_WORKER worker;
	ULONG_PTR argument;
	uint32_t round; /* the owner's */
	uint32_t count; /* that take part, the owner too */
	_Atomic uint32_t go;
	_Atomic uint32_t arrived, done;
} call;

/* Asleep after a while: hundreds of processors that look again and again would keep the rest from
 * coming. */
static void meet(uint32_t round)
{
	uint32_t go;
	while ((go = atomic_load_explicit(&call.go, memory_order_acquire)) != round)
		port_wait(&call.go, go);
}

/* The last one wakes the owner. */
static void count_in(_Atomic uint32_t *counter, uint32_t all, memory_order order)
{
	if (atomic_fetch_add_explicit(counter, 1, order) + 1 == all)
		port_wake_one(counter);
}

static ULONG_PTR run_worker(struct port_frame *frame, bool target)
{
	KIRQL irql = ke_irql();
	struct ke_call_record record;
	PKIPI_BROADCAST_WORKER worker = call.worker;
	ULONG_PTR argument = call.argument;
	if (target)
		ke_callout_begin(&record, frame);
	ULONG_PTR result = worker(argument);
	if (target)
		ke_callout_end(&record);
	if (vf_on())
		vf_callout_irql((void *)worker, (void *)argument, irql, 2);
	return result;
}

void ke_ipi_interrupt(struct ke_processor *self)
{
	/* Acquires the release in start. */
	uint32_t round = atomic_exchange_explicit(&self->ipi_round, 0, memory_order_acquire);
	if (!round)
		return;
	uint32_t all = call.count;
	count_in(&call.arrived, all, memory_order_relaxed);
	meet(round);
	run_worker(ke_thread()->interrupt_frame, true);
	/* Acquired by the caller at the end. */
	count_in(&call.done, all, memory_order_release);
}

/* Interrupt all others; returns how many processors take part. */
static uint32_t start(const struct ke_processor *self, uint32_t round)
{
	uint32_t count = atomic_load_explicit(&ke_processor_count, memory_order_acquire);
	call.count = count;
	atomic_store_explicit(&call.arrived, 1, memory_order_relaxed);
	atomic_store_explicit(&call.done, 1, memory_order_relaxed);
	for (uint32_t i = 0; i < count; i++) {
		struct ke_processor *target = ke_processors[i];
		if (target == self)
			continue;
		atomic_store_explicit(&target->ipi_round, round, memory_order_release);
		ke_interrupt_request(target, KE_IPI_LEVEL);
	}
	return count;
}

static void wait_for(_Atomic uint32_t *counter, uint32_t count)
{
	uint32_t now;
	while ((now = atomic_load_explicit(counter, memory_order_acquire)) != count)
		port_wait(counter, now);
}

/*
 * Run BroadcastFunction(Context) at IPI_LEVEL on every active processor, all entering it together;
 * returns the value of the calling processor when all have returned. IRQL < IPI_LEVEL. The function
 * may take no locks and allocate nothing. PLT-39.
 */
ULONG_PTR NTAPI KeIpiGenericCall(PKIPI_BROADCAST_WORKER BroadcastFunction, ULONG_PTR Context)
{
	KIRQL old = ke_lock_raise(&call.owner);
	KIRQL level =
		old > IPI_LEVEL
			? old
			: IPI_LEVEL; /* above is a defect, which the entry check has reported */
	ke_irql_raise(level);
	struct ke_processor *self = ke_this();
	call.worker = BroadcastFunction;
	call.argument = Context;
	if (++call.round == 0)
		call.round = 1;

	uint32_t count = start(self, call.round);
	wait_for(&call.arrived, count);
	atomic_store_explicit(&call.go, call.round, memory_order_release);
	port_wake(&call.go);
	ULONG_PTR result = run_worker(NULL, false);
	wait_for(&call.done, count);

	ke_irql_set(old < DISPATCH_LEVEL ? DISPATCH_LEVEL : old);
	ke_lock_lower(&call.owner, old);
	return result;
}
