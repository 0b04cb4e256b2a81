/* SPDX-License-Identifier: MIT */
/* machine.h: the machine as a whole: how it stops. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

enum ke_stop_reason {
	KE_RUNNING = 0,
	KE_STOP_BUGCHECK,
	KE_STOP_TIMEOUT,
	KE_STOP_HALT,
};

/* enum ke_stop_reason; written once, by ke_machine_stop (release); host threads wait on it (port_host_wait). */
extern _Atomic uint32_t ke_machine_stopped;

/*
 * The machine has stopped for good: publish the reason (the first one stays), wake the host's waiters, park. Called on a baton
 * at HIGH_LEVEL, also on the NMI's stack, after the other processors were frozen.
 */
_Noreturn void ke_machine_stop(enum ke_stop_reason reason);
