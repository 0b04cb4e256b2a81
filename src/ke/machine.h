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

/* Which group and number the processors have, in the order in which they come (PRC-62, PRC-63,
 * PRC-66). */
enum ke_layout {
	KE_LAYOUT_PACKED, /* a group is full before the next one begins; numbers ascend */
	KE_LAYOUT_HOLES,  /* the same, but the even numbers of a group come before the odd ones */
	KE_LAYOUT_SPREAD, /* one to each group in turn */
};

struct ke_partition {
	uint32_t maximum;    /* processors that it can hold, up to KE_MAXIMUM_PROCESSORS */
	uint32_t group_size; /* per group, 1..64 */
	enum ke_layout layout;
};

/*
 * Lay out the partition and run boot(processor 0) on processor 0 in its idle thread, at
 * PASSIVE_LEVEL; boot ends in ke_idle and never waits. Called by a host thread. False: no memory or
 * no threads.
 */
bool ke_boot(const struct ke_partition *partition, void (*boot)(void *processor));
void ke_idle(void *processor);
/* Start processor `index`, which nobody runs on yet, with this idle thread; it is active on return.
 * IRQL <= DISPATCH_LEVEL. For boot(): who comes later is added (ke/processor_change.h). */
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
