/* SPDX-License-Identifier: MIT */
/*
 * machine.c: how the machine starts its processors and how it stops.
 *
 * Stopping: whoever finds a reason (a bug check on a baton, a time-out on the host's side) freezes
 * the processors and publishes the reason; `ke_host_event` wakes the host threads that wait for
 * anything.
 */
#include "ke/machine.h"
#include "ke/internal.h"
#include "ke/processor_change.h"

_Atomic uint32_t ke_machine_stopped;
_Atomic uint32_t ke_host_event;

void ke_host_signal(void)
{
	atomic_fetch_add(&ke_host_event, 1);
	port_host_wake(&ke_host_event);
}

bool ke_machine_claim_stop(enum ke_stop_reason reason)
{
	uint32_t running = KE_RUNNING;
	return atomic_compare_exchange_strong(&ke_machine_stopped, &running, reason);
}

void ke_machine_stop(enum ke_stop_reason reason)
{
	ke_machine_claim_stop(reason);
	ke_host_signal();
	port_park();
}

void ke_machine_freeze(uint64_t wait_ns)
{
	uint32_t count = atomic_load(&ke_processor_count);
	uint64_t until = port_time_ns() + wait_ns;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t now = port_time_ns();
		port_cpu_freeze(&ke_processors[i]->port, now < until ? until - now : 0);
	}
}

bool ke_processor_begin(uint32_t index, PKTHREAD idle)
{
	struct ke_processor *processor = ke_processors[index];
	ke_processor_prepare(processor, index);
	processor->idle = idle;
	idle->priority = idle->base_priority = 0;
	KIRQL old = ke_irql_raise(DISPATCH_LEVEL);
	bool runs = ke_processor_run(processor, idle, ke_idle, processor);
	if (runs)
		ke_processor_activate(processor);
	ke_irql_lower(old);
	return runs;
}

bool ke_boot(const struct ke_partition *partition, void (*boot)(void *))
{
	static KTHREAD first; /* becomes processor 0's idle thread */
	if (!ke_processors_initialize(partition))
		return false;
	ke_scheduler_initialize();
	ke_request_initialize();
	ke_processor_change_initialize();
	struct ke_processor *processor = ke_processors[0];
	ke_processor_prepare(processor, 0);
	processor->idle = &first;
	return ke_processor_run(processor, &first, boot, processor);
}
