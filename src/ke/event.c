/* SPDX-License-Identifier: MIT */
/*
 * event.c: events (PLT-24..26). Under the dispatcher lock; IRQL <= DISPATCH_LEVEL.
 */
#include "ke/internal.h"

/*
 * Initialize an event. IRQL: any. Type: NotificationEvent (stays set, releases all) or
 * SynchronizationEvent (releases one and resets). Source: PLT-24.
 */
VOID NTAPI KeInitializeEvent(PRKEVENT Event, EVENT_TYPE Type, BOOLEAN State)
{
	if (vf_on())
		ke_check_resident("KeInitializeEvent", __builtin_return_address(0), Event);
	ke_object_initialize(&Event->Header, (UCHAR)Type, State != 0);
	Event->Header.Size = sizeof *Event / 4;
}

/*
 * Set an event; returns the previous state (non-zero: it was set). IRQL <= DISPATCH_LEVEL; with
 * Wait TRUE <= APC_LEVEL: the next call must be a KeWait, until which the IRQL stays raised.
 * Increment: priority boost for the thread whose wait ends. Source: PLT-25, VER-9.
 */
LONG NTAPI KeSetEvent(PRKEVENT Event, KPRIORITY Increment, BOOLEAN Wait)
{
	if (vf_on() && Wait && ke_irql() > APC_LEVEL)
		vf_report(VF_IrqlKeSetEvent, "KeSetEvent", VF_CALLER(), (uint64_t)Event,
			  "KeSetEvent with Wait TRUE at IRQL %u", ke_irql());
	KIRQL old = ke_dispatcher_lock();
	LONG before = ke_state(&Event->Header);
	ke_state_set(&Event->Header, 1);
	if (!before)
		ke_object_signal(&Event->Header, Increment);
	ke_wait_next(old, Wait);
	return before;
}

/* Set to not signalled. IRQL <= DISPATCH_LEVEL. Source: PLT-26. */
VOID NTAPI KeClearEvent(PRKEVENT Event)
{
	__atomic_store_n(&Event->Header.SignalState, 0, __ATOMIC_SEQ_CST);
}

/* Set to not signalled; returns the previous state. IRQL <= DISPATCH_LEVEL. Source: PLT-26. */
LONG NTAPI KeResetEvent(PRKEVENT Event)
{
	KIRQL old = ke_dispatcher_lock();
	LONG before = ke_state(&Event->Header);
	ke_state_set(&Event->Header, 0);
	ke_dispatcher_unlock(old);
	return before;
}

/* Release those who wait, and leave the event not signalled; returns the previous state. IRQL <=
 * DISPATCH_LEVEL. */
LONG NTAPI KePulseEvent(PRKEVENT Event, KPRIORITY Increment, BOOLEAN Wait)
{
	KIRQL old = ke_dispatcher_lock();
	LONG before = ke_state(&Event->Header);
	ke_state_set(&Event->Header, 1);
	if (!before)
		ke_object_signal(&Event->Header, Increment);
	ke_state_set(&Event->Header, 0);
	ke_wait_next(old, Wait);
	return before;
}

/* The state: non-zero if signalled. IRQL <= DISPATCH_LEVEL. Source: PLT-26. */
LONG NTAPI KeReadStateEvent(PRKEVENT Event)
{
	return ke_state(&Event->Header);
}
