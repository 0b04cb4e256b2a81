/* SPDX-License-Identifier: MIT */
/*
 * timer.c: timers, and what the core does on the clock device's behalf (PLT-38).
 *
 * Timers that are set form one list in order of due time, under the dispatcher lock. `next_due_ns`
 * mirrors its head for the clock device, which runs without a baton and takes no lock: it raises
 * the clock interrupt on one processor, whose DISPATCH_LEVEL part expires what is due. If that
 * processor does not get to it within RETRY_NS (it sits at a high IRQL), the device tries the next
 * one. The device also gives busy processors their quantum ticks while threads wait in ready
 * queues. Due times are interrupt time: 100 ns since boot.
 */
#include "ke/internal.h"

#define RETRY_NS 2000000u

static LIST_ENTRY timers = {&timers, &timers};
static _Atomic uint64_t next_due_ns = UINT64_MAX;
static uint32_t clock_turn; /* the clock device's own */
void (*ke_refresh)(void);
_Atomic uint32_t ke_refresh_wanted;

uint64_t ke_interrupt_time(void)
{
	return port_time_ns() / 100;
}

/* UINT64_MAX, never, for what lies more than 584 years ahead: drivers say "for ever" that way. */
static uint64_t due_ns(const KTIMER *timer)
{
	uint64_t due = timer->DueTime.QuadPart;
	return due < UINT64_MAX / 100 ? due * 100 : UINT64_MAX;
}

/* ---- The list; dispatcher lock held ---- */

static void publish_head(void)
{
	uint64_t due = UINT64_MAX;
	if (!IsListEmpty(&timers))
		due = due_ns(CONTAINING_RECORD(timers.Flink, KTIMER, TimerListEntry));
	atomic_store(&next_due_ns, due);
	if (due != UINT64_MAX)
		port_clock_arm(due);
}

void ke_timer_insert(KTIMER *timer, LARGE_INTEGER due)
{
	timer->DueTime.QuadPart = (ULONGLONG)due.QuadPart;
	timer->Processor = (USHORT)ke_this()->index;
	LIST_ENTRY *after = timers.Blink; /* most timers are due after those that are set */
	while (after != &timers &&
	       CONTAINING_RECORD(after, KTIMER, TimerListEntry)->DueTime.QuadPart >
		       timer->DueTime.QuadPart)
		after = after->Blink;
	InsertHeadList(after, &timer->TimerListEntry);
	if (timers.Flink == &timer->TimerListEntry)
		publish_head();
}

static bool is_set(const KTIMER *timer)
{
	return timer->TimerListEntry.Flink != NULL;
}

bool ke_timer_remove(KTIMER *timer)
{
	if (!is_set(timer))
		return false;
	bool first = timers.Flink == &timer->TimerListEntry;
	RemoveEntryList(&timer->TimerListEntry);
	timer->TimerListEntry.Flink = NULL;
	if (first)
		publish_head();
	return true;
}

static void expire(KTIMER *timer, uint64_t now)
{
	ke_timer_remove(timer);
	if (timer->Period) {
		LARGE_INTEGER due;
		uint64_t period = (uint64_t)timer->Period * 10000;
		due.QuadPart = (LONGLONG)(timer->DueTime.QuadPart + period);
		if ((uint64_t)due.QuadPart <=
		    now) /* the host was late: periods that are over are not made up */
			due.QuadPart = (LONGLONG)(now + period);
		ke_timer_insert(timer, due);
	}
	PKDPC dpc = timer->Dpc;
	ke_state_set(&timer->Header, 1);
	ke_object_signal(&timer->Header, 0);
	if (dpc) {
		uint64_t system = port_time_system();
		KeInsertQueueDpc(dpc, (PVOID)(system & 0xffffffff), (PVOID)(system >> 32));
	}
}

void ke_timers_expire(void)
{
	if (port_time_ns() < atomic_load(&next_due_ns))
		return;
	KIRQL old = ke_dispatcher_lock();
	while (!IsListEmpty(&timers)) {
		KTIMER *timer = CONTAINING_RECORD(timers.Flink, KTIMER, TimerListEntry);
		uint64_t now = port_time_ns();
		if (due_ns(timer) > now)
			break;
		expire(timer, now / 100);
	}
	ke_dispatcher_unlock(old);
}

void ke_timers_each(void (*each)(void *context, KTIMER *timer), void *context)
{
	KIRQL old = ke_dispatcher_lock();
	for (LIST_ENTRY *e = timers.Flink; e != &timers; e = e->Flink)
		each(context, CONTAINING_RECORD(e, KTIMER, TimerListEntry));
	ke_dispatcher_unlock(old);
}

/* ---- The clock ---- */

/* CLOCK_LEVEL, on the processor. */
void ke_clock_interrupt(struct ke_processor *self)
{
	if (atomic_exchange(&self->tick, false) && --self->current->quantum <= 0)
		self->quantum_end = true;
	if (atomic_load(&ke_refresh_wanted))
		ke_refresh();
	atomic_fetch_or(&self->port.pending, 1u << DISPATCH_LEVEL);
}

/* Interrupt each processor that is not idle; `quantum`: its thread has used up a tick. True: all
 * are idle. */
static bool tick_busy(uint32_t count, bool quantum)
{
	bool nobody = true;
	for (uint32_t i = 0; i < count; i++) {
		struct ke_processor *p = ke_processors[i];
		if (atomic_load(&ke_idle_mask[p->number.Group]) & (1ull << p->number.Number))
			continue;
		nobody = false;
		if (quantum)
			atomic_store(&p->tick, true);
		ke_interrupt_request(p, KE_CLOCK_LEVEL);
	}
	return nobody;
}

/* On the clock device's thread. */
uint64_t ke_port_clock(uint64_t now_ns)
{
	uint32_t count = atomic_load_explicit(&ke_processor_count, memory_order_acquire);
	uint64_t next = atomic_load(&next_due_ns);
	if (count == 0)
		return UINT64_MAX;
	if (next <= now_ns) {
		ke_interrupt_request(ke_processors[clock_turn++ % count], KE_CLOCK_LEVEL);
		next = now_ns + RETRY_NS;
	} else {
		clock_turn = 0;
	}
	bool ready = atomic_load(&ke_ready_count) != 0,
	     refresh = atomic_load(&ke_refresh_wanted) != 0;
	if (ready || refresh) {
		bool nobody = tick_busy(count, ready);
		if (nobody && refresh)
			ke_interrupt_request(ke_processors[clock_turn++ % count], KE_CLOCK_LEVEL);
		if (next > now_ns + KE_QUANTUM_TICK_NS)
			next = now_ns + KE_QUANTUM_TICK_NS;
	}
	return next;
}

/* ---- DDIs ---- */

/* Initialize a notification timer. IRQL <= DISPATCH_LEVEL. Source: PLT-38. */
VOID NTAPI KeInitializeTimer(PKTIMER Timer)
{
	if (vf_on())
		ke_check_resident("KeInitializeTimer", __builtin_return_address(0), Timer);
	KeInitializeTimerEx(Timer, NotificationTimer);
}

/* Initialize a timer: NotificationTimer or SynchronizationTimer. IRQL <= DISPATCH_LEVEL. Source:
 * PLT-38. */
VOID NTAPI KeInitializeTimerEx(PKTIMER Timer, TIMER_TYPE Type)
{
	if (vf_on())
		ke_check_resident("KeInitializeTimerEx", __builtin_return_address(0), Timer);
	memset(Timer, 0, sizeof *Timer);
	ke_object_initialize(&Timer->Header, (UCHAR)(KE_TIMER_NOTIFICATION + Type), 0);
}

/*
 * Set a timer: DueTime in 100 ns, negative relative, positive absolute since 1601; Period in ms, 0
 * for once. Returns TRUE if it was set already (the old setting is cancelled). IRQL <=
 * DISPATCH_LEVEL. Source: PLT-38.
 */
BOOLEAN NTAPI KeSetTimerEx(PKTIMER Timer, LARGE_INTEGER DueTime, LONG Period, PKDPC Dpc)
{
	LARGE_INTEGER due;
	uint64_t now = ke_interrupt_time();
	if (DueTime.QuadPart < 0) {
		due.QuadPart = (LONGLONG)(now + (0 - (uint64_t)DueTime.QuadPart));
	} else {
		int64_t left = DueTime.QuadPart - (int64_t)port_time_system();
		due.QuadPart = (LONGLONG)(left > 0 ? now + (uint64_t)left : now);
	}
	KIRQL old = ke_dispatcher_lock();
	bool was_set = ke_timer_remove(Timer);
	ke_state_set(&Timer->Header, 0);
	Timer->Period = (ULONG)(Period > 0 ? Period : 0);
	Timer->Dpc = Dpc;
	ke_timer_insert(Timer, due);
	ke_dispatcher_unlock(old);
	return was_set;
}

/* KeSetTimerEx without a period. */
BOOLEAN NTAPI KeSetTimer(PKTIMER Timer, LARGE_INTEGER DueTime, PKDPC Dpc)
{
	return KeSetTimerEx(Timer, DueTime, 0, Dpc);
}

/* Returns TRUE if the timer was set; its DPC may run all the same. IRQL <= DISPATCH_LEVEL. Source:
 * PLT-38. */
BOOLEAN NTAPI KeCancelTimer(PKTIMER Timer)
{
	KIRQL old = ke_dispatcher_lock();
	bool was_set = ke_timer_remove(Timer);
	Timer->Period = 0;
	ke_dispatcher_unlock(old);
	return was_set;
}

/* TRUE if the timer is signalled. IRQL <= DISPATCH_LEVEL. Source: PLT-38. */
BOOLEAN NTAPI KeReadStateTimer(PKTIMER Timer)
{
	return ke_state(&Timer->Header) != 0;
}
