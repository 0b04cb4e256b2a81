/* SPDX-License-Identifier: MIT */
/*
 * sched.c: the dispatcher: which thread runs on which processor.
 *
 * One dispatcher lock, taken at DISPATCH_LEVEL, guards ready queues, thread states, waits, timers
 * and every processor's `next`. It is held across a switch: the thread that leaves passes it to the
 * thread that comes, which releases it. Interrupts above DISPATCH_LEVEL take no lock.
 *
 * A thread that becomes ready goes, in this order, to an idle processor of its affinity (the one
 * where it ran last if that is idle), to the processor whose thread has the lowest priority if that
 * is lower than its own, or into the ready queue of its priority. `next` is the standby thread of a
 * processor; DISPATCH_LEVEL interrupts make it look. A processor whose current thread is its idle
 * thread and that has no `next` has its bit in ke_idle_mask.
 *
 * A thread in user mode (KE_THREAD_USER) is nowhere here. When it enters the kernel it borrows the
 * baton of an idle processor, whose idle thread sleeps on (port/linux/thread.c); whoever runs there
 * last gives it back. So a switch to an idle thread whose baton is lent hands nothing over, the
 * dispatcher lock neither: the thread that leaves releases it, between letting the baton go and
 * giving it back. Who has no processor takes the lock as `held = NOWHERE`; the core's GS base is
 * then `nowhere`, so that ke_this() is no processor.
 *
 * Quantum: while threads wait in ready queues the clock device interrupts busy processors every
 * QUANTUM_TICK_NS (timer.c); at the end of its quantum a thread makes way for another of at least
 * its priority.
 */
#include "ke/internal.h"

#define QUANTUM_TICKS 2
#define NOWHERE       0x7fffffffu

static struct ke_lock dispatcher;
static struct ke_processor nowhere; /* stays zero but for `self` */
static LIST_ENTRY ready[32];
static uint32_t ready_mask; /* bit p: ready[p] is not empty */
_Atomic uint32_t ke_ready_count;
_Atomic uint64_t ke_idle_mask[KE_MAXIMUM_GROUPS];
void (*ke_thread_gone)(PKTHREAD thread);
void (*_Atomic ke_process_switched)(PKPROCESS to);
bool (*_Atomic ke_processor_hold)(void);

void ke_scheduler_initialize(void)
{
	for (int i = 0; i < 32; i++)
		InitializeListHead(&ready[i]);
	nowhere.self = &nowhere;
	nowhere.irql = HIGH_LEVEL; /* whoever asks must not think it may wait */
}

static inline uint64_t bit_of(const struct ke_processor *p)
{
	return 1ull << p->number.Number;
}

static bool allowed(PKTHREAD thread, const struct ke_processor *p)
{
	return thread->affinity.Group == p->number.Group && (thread->affinity.Mask & bit_of(p));
}

/* ---- Ready queues; dispatcher lock held ---- */

static void queue_insert(PKTHREAD thread, bool front)
{
	LIST_ENTRY *list = &ready[thread->priority];
	thread->State = KE_THREAD_READY;
	if (front)
		InsertHeadList(list, &thread->ready_entry);
	else
		InsertTailList(list, &thread->ready_entry);
	ready_mask |= 1u << thread->priority;
	if (atomic_fetch_add(&ke_ready_count, 1) == 0)
		port_clock_arm(port_time_ns() + KE_QUANTUM_TICK_NS);
}

static void queue_remove(PKTHREAD thread)
{
	RemoveEntryList(&thread->ready_entry);
	for (int i = 0; i < 32; i++) {
		if (IsListEmpty(&ready[i]))
			ready_mask &= ~(1u << i);
	}
	atomic_fetch_sub(&ke_ready_count, 1);
}

/* The best ready thread that may run on `p` with a priority of at least `floor`; taken out of its
 * queue. */
static PKTHREAD queue_take(const struct ke_processor *p, int floor)
{
	for (uint32_t mask = ready_mask; mask;) {
		int priority = 31 - __builtin_clz(mask);
		if (priority < floor)
			break;
		mask &= ~(1u << priority);
		for (LIST_ENTRY *e = ready[priority].Flink; e != &ready[priority]; e = e->Flink) {
			PKTHREAD thread = CONTAINING_RECORD(e, KTHREAD, ready_entry);
			if (allowed(thread, p)) {
				queue_remove(thread);
				return thread;
			}
		}
	}
	return NULL;
}

/* `next` changes under the dispatcher lock; its own processor glances at it without. */
static PKTHREAD next_of(struct ke_processor *p)
{
	return atomic_load_explicit(&p->next, memory_order_relaxed);
}

static void next_set(struct ke_processor *p, PKTHREAD thread)
{
	atomic_store_explicit(&p->next, thread, memory_order_relaxed);
}

static void standby(struct ke_processor *p, PKTHREAD thread)
{
	thread->State = KE_THREAD_STANDBY;
	thread->processor = p;
	next_set(p, thread);
	atomic_fetch_and(&ke_idle_mask[p->number.Group], ~bit_of(p));
	if (p == ke_this())
		atomic_fetch_or(&p->port.pending,
				1u << DISPATCH_LEVEL); /* taken when the lock's holder lowers */
	else
		ke_interrupt_request(p, DISPATCH_LEVEL);
}

static struct ke_processor *pick_idle(PKTHREAD thread)
{
	USHORT group = thread->affinity.Group;
	uint64_t idle = atomic_load(&ke_idle_mask[group]) & thread->affinity.Mask;
	if (!idle)
		return NULL;
	struct ke_processor *last = thread->processor;
	if (last && last->number.Group == group && (idle & bit_of(last)))
		return last;
	return ke_processor_find(group, (UCHAR)__builtin_ctzll(idle));
}

static struct ke_processor *pick_weaker(PKTHREAD thread)
{
	struct ke_processor *weakest = NULL;
	int lowest = thread->priority;
	for (uint64_t mask = thread->affinity.Mask; mask; mask &= mask - 1) {
		struct ke_processor *p =
			ke_processor_find(thread->affinity.Group, (UCHAR)__builtin_ctzll(mask));
		if (!p || !ke_processor_is_active(p))
			continue;
		PKTHREAD runs = next_of(p) ? next_of(p) : p->current;
		int priority = runs == p->idle ? -1 : runs->priority;
		if (priority < lowest) {
			lowest = priority;
			weakest = p;
		}
	}
	return weakest;
}

static void make_ready(PKTHREAD thread, bool front)
{
	struct ke_processor *p = pick_idle(thread);
	if (!p)
		p = pick_weaker(thread);
	if (!p) {
		queue_insert(thread, front);
		return;
	}
	PKTHREAD displaced = next_of(p);
	standby(p, thread);
	if (displaced)
		make_ready(displaced, true);
}

/* ---- Switching ---- */

/* A thread that ended passed the lock on and cannot clean up after itself: whoever releases the
 * lock next does. */
static void release(void)
{
	struct ke_processor *self = ke_this();
	PKTHREAD gone = self->gone;
	self->gone = NULL;
	ke_lock_release(&dispatcher);
	if (gone)
		ke_thread_gone(gone);
}

/* Where a new thread begins: on the other side of a switch, with the dispatcher lock. */
static void thread_begin(void *argument)
{
	PKTHREAD thread = argument;
	release();
	if (atomic_load(&thread->apc_pending))
		atomic_fetch_or(&ke_this()->port.pending, 1u << APC_LEVEL);
	ke_irql_lower(PASSIVE_LEVEL);
	thread->start(thread->start_context);
	ke_thread_exit(STATUS_SUCCESS);
}

/* Where the first thread of a processor begins: nobody passed it a lock. */
static void first_begin(void *argument)
{
	PKTHREAD thread = argument;
	ke_irql_lower(PASSIVE_LEVEL);
	thread->start(thread->start_context);
}

static PKTHREAD pick_next(struct ke_processor *self)
{
	PKTHREAD next = next_of(self);
	next_set(self, NULL);
	if (!next)
		next = queue_take(self, 0);
	if (!next) {
		next = self->idle;
		atomic_fetch_or(&ke_idle_mask[self->number.Group], bit_of(self));
	}
	return next;
}

/* On the processor itself: its user addresses mean those of `to` from now on. */
static void see_memory(PKTHREAD from, PKTHREAD to)
{
	void (*switched)(PKPROCESS) =
		atomic_load_explicit(&ke_process_switched, memory_order_acquire);
	if (switched && from->Process != to->Process)
		switched(to->Process);
}

/* The books of a switch: `next` begins to run on `self` now. */
static void account(struct ke_processor *self, PKTHREAD from, PKTHREAD next)
{
	uint64_t now = port_time_ns();
	from->cpu_time_ns += now - from->switched_in_ns;
	next->switched_in_ns = now;
	next->State = KE_THREAD_RUNNING;
	next->processor = self;
	next->quantum = QUANTUM_TICKS;
	self->quantum_end = false;
	if (next == from)
		return;
	bool off = self->interrupts_off;
	self->interrupts_off = next->interrupts_off;
	from->interrupts_off = off;
	self->current = next;
}

/*
 * The idle thread, which has slept all the while, has its baton again; it will not release the
 * lock. The caller has no processor afterwards.
 */
static void return_to_idle(struct ke_processor *self, struct port_thread *host)
{
	port_cpu_release(&self->port, host, &nowhere);
	self->irql = PASSIVE_LEVEL;
	ke_lock_release(&dispatcher);
	port_cpu_return(&self->port);
}

void ke_switch_away(void)
{
	struct ke_processor *self = ke_this();
	PKTHREAD from = self->current;
	struct port_thread *host = from->port;
	bool ends = from->State == KE_THREAD_TERMINATED;
	PKTHREAD next = pick_next(self);
	see_memory(from, next);
	account(self, from, next);
	if (next == from)
		return;
	if (ends)
		self->gone = from;
	if (next == self->idle && port_cpu_lent(&self->port)) {
		if (ends) /* the idle thread looks after it */
			atomic_fetch_or(&self->port.pending, 1u << DISPATCH_LEVEL);
		return_to_idle(self, host);
		if (ends)
			port_thread_end(host);
		port_thread_wait(host);
	} else if (ends) {
		port_thread_exit(&self->port, host, next->port);
	} else {
		port_thread_switch(&self->port, host, next->port);
	}
	if (atomic_load(&from->apc_pending))
		atomic_fetch_or(&ke_this()->port.pending, 1u << APC_LEVEL);
}

/* DISPATCH_LEVEL interrupt: DPCs, due timers, then another thread if one must run. */
void ke_dispatch_interrupt(void)
{
	struct ke_processor *self = ke_this();
	ke_dpc_run(self);
	ke_timers_expire();
	if (!next_of(self) && !self->quantum_end && !self->gone &&
	    !atomic_load_explicit(&self->resched, memory_order_relaxed))
		return; /* what is set later comes with an interrupt */
	ke_lock_acquire(&dispatcher);
	PKTHREAD current = self->current;
	bool expired = self->quantum_end;
	self->quantum_end = false;
	atomic_store_explicit(&self->resched, false, memory_order_relaxed);
	if (current != self->idle) {
		if (expired && current->priority > current->base_priority)
			current->priority--; /* a boost decays */
		int floor = expired ? current->priority : current->priority + 1;
		bool must_leave = !allowed(current, self);
		if (!next_of(self))
			next_set(self, queue_take(self, must_leave ? 0 : floor));
		if (next_of(self) || must_leave) {
			make_ready(current, !expired);
			ke_switch_away();
		} else {
			current->quantum = QUANTUM_TICKS;
		}
	} else if (next_of(self)) {
		ke_switch_away();
	}
	release();
}

bool ke_port_hold(struct port_cpu *cpu)
{
	(void)cpu;
	bool (*hold)(void) = atomic_load_explicit(&ke_processor_hold, memory_order_acquire);
	return hold && hold();
}

/* ---- User threads ---- */

void ke_thread_user_leave(void)
{
	(void)ke_dispatcher_lock();
	struct ke_processor *self = ke_this();
	PKTHREAD thread = self->current;
	thread->State = KE_THREAD_USER;
	PKTHREAD next = pick_next(self);
	see_memory(thread, next);
	account(self, thread, next);
	thread->interrupts_off = false; /* user mode has them on */
	if (next == self->idle && port_cpu_lent(&self->port))
		return_to_idle(self, thread->port);
	else
		port_thread_give(&self->port, thread->port, next->port, &nowhere);
}

/* With the lock: an idle processor that lends its baton; where the thread ran last, if possible. */
static struct ke_processor *claim_idle(PKTHREAD thread)
{
	USHORT group = thread->affinity.Group;
	uint64_t idle = atomic_load(&ke_idle_mask[group]) & thread->affinity.Mask;
	struct ke_processor *last = thread->processor;
	if (last && last->number.Group == group && (idle & bit_of(last)) &&
	    port_cpu_claim(&last->port))
		return last;
	for (; idle; idle &= idle - 1) {
		struct ke_processor *p = ke_processor_find(group, (UCHAR)__builtin_ctzll(idle));
		if (p && port_cpu_claim(&p->port))
			return p;
	}
	return NULL;
}

static void lock_from_nowhere(void)
{
	for (unsigned round = 0;; round++) {
		uint32_t held = 0;
		if (atomic_compare_exchange_weak_explicit(&dispatcher.held, &held, NOWHERE,
							  memory_order_acquire,
							  memory_order_relaxed))
			return;
		port_spin(round);
	}
}

void ke_thread_user_enter(PKTHREAD thread)
{
	lock_from_nowhere();
	struct ke_processor *self = claim_idle(thread);
	if (self) {
		/* The processor has a holder again when all that handlers read is right. */
		ke_lock_pass(&dispatcher, self);
		atomic_fetch_and(&ke_idle_mask[self->number.Group], ~bit_of(self));
		self->irql = DISPATCH_LEVEL;
		account(self, self->idle, thread);
		port_cpu_take(&self->port, thread->port);
		see_memory(self->idle, thread);
	} else {
		make_ready(thread, false);
		ke_lock_release(&dispatcher);
		port_thread_wait(thread->port); /* comes back with the lock, as from a switch */
	}
	release();
	if (atomic_load(&thread->apc_pending))
		atomic_fetch_or(&ke_this()->port.pending, 1u << APC_LEVEL);
	ke_irql_lower(PASSIVE_LEVEL);
}

/* ---- For the rest of the core ---- */

KIRQL ke_dispatcher_lock(void)
{
	return ke_lock_raise(&dispatcher);
}

void ke_dispatcher_unlock(KIRQL old)
{
	release();
	ke_irql_lower(old);
}

void ke_thread_make_ready(PKTHREAD thread)
{
	make_ready(thread, false);
}

/* The standby thread of `p` went elsewhere: one that queued up behind it may run there now. */
static void offer(struct ke_processor *p)
{
	bool idles = p->current == p->idle;
	PKTHREAD thread = queue_take(p, idles ? 0 : p->current->priority + 1);
	if (thread)
		standby(p, thread);
	else if (idles)
		atomic_fetch_or(&ke_idle_mask[p->number.Group], bit_of(p));
}

void ke_processor_offer(struct ke_processor *processor)
{
	offer(processor);
}

void ke_thread_requeue(PKTHREAD thread)
{
	struct ke_processor *p = thread->processor;
	switch (thread->State) {
	case KE_THREAD_READY:
		queue_remove(thread);
		make_ready(thread, false);
		break;
	case KE_THREAD_STANDBY:
		if (next_of(p) == thread)
			next_set(p, NULL);
		make_ready(thread, false);
		if (!next_of(p))
			offer(p);
		break;
	case KE_THREAD_RUNNING:
		atomic_store_explicit(&p->resched, true, memory_order_relaxed);
		if (p == ke_this())
			atomic_fetch_or(&p->port.pending, 1u << DISPATCH_LEVEL);
		else
			ke_interrupt_request(p, DISPATCH_LEVEL);
		break;
	default:
		break;
	}
}

static bool thread_attach(PKTHREAD thread, void (*begin)(void *))
{
	thread->port = port_thread_create(begin, thread, &thread->StackLimit, &thread->StackBase);
	thread->InitialStack = thread->StackBase;
	return thread->port != NULL;
}

NTSTATUS ke_thread_initialize(PKTHREAD thread, void (*start)(void *), void *context)
{
	ke_thread_prepare(thread, start, context);
	KIRQL old = ke_irql_raise(DISPATCH_LEVEL);
	bool attached = thread_attach(thread, thread_begin);
	ke_irql_lower(old);
	return attached ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
}

void ke_thread_ready(PKTHREAD thread)
{
	KIRQL old = ke_dispatcher_lock();
	make_ready(thread, false);
	ke_dispatcher_unlock(old);
}

bool ke_processor_run(struct ke_processor *processor, PKTHREAD thread, void (*start)(void *),
		      void *context)
{
	ke_thread_prepare(thread, start, context);
	if (!thread_attach(thread, first_begin))
		return false;
	thread->State = KE_THREAD_RUNNING;
	thread->processor = processor;
	thread->quantum = QUANTUM_TICKS;
	thread->switched_in_ns = port_time_ns();
	processor->current = thread;
	port_cpu_start(&processor->port, thread->port);
	return true;
}
