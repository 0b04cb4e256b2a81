/* SPDX-License-Identifier: MIT */
/* machine.h: the machine as a whole: how it starts and how it stops. */
#pragma once

#include "ke/ke.h"

enum ke_stop_reason {
	KE_RUNNING = 0,
	KE_STOP_BUGCHECK,
	KE_STOP_TIMEOUT,
	KE_STOP_HALT,
};

/* enum ke_stop_reason; written once. */
extern _Atomic uint32_t ke_machine_stopped;
/* Changes whenever a host thread that waits for the machine should look again (futex). */
extern _Atomic uint32_t ke_host_event;
void ke_host_signal(void); /* NMI-safe */

/*
 * Lay out the partition and run boot(processor 0) on processor 0 in its idle thread, at
 * PASSIVE_LEVEL; boot ends in ke_idle and never waits. Called by a host thread. False: no memory or
 * no threads.
 */
bool ke_boot(uint32_t maximum, uint32_t group_size, void (*boot)(void *processor));
void ke_idle(void *processor);
/* Start processor `index`, which nobody runs on yet, with this idle thread; it is active on return.
 * IRQL <= DISPATCH_LEVEL. */
bool ke_processor_begin(uint32_t index, PKTHREAD idle);
/* From boot(): processor 0 takes part in counts and masks. */
void ke_processor_activate(struct ke_processor *processor);

/* Be the one who stops the machine: false if it is being stopped already. */
bool ke_machine_claim_stop(enum ke_stop_reason reason);
/* Make all processors but the caller's stand still, waiting for at most wait_ns. */
void ke_machine_freeze(uint64_t wait_ns);
/*
 * The machine has stopped for good: publish the reason (the first one stays), wake the host's
 * waiters, park. Called on a baton at HIGH_LEVEL, also on the NMI's stack, after the other
 * processors were frozen.
 */
_Noreturn void ke_machine_stop(enum ke_stop_reason reason);
