/* SPDX-License-Identifier: MIT */
/*
 * boot.c: bring the parts up in the order in which they need each other; the control thread;
 * waiting of the host's threads.
 *
 * The host's thread lays out the partition and starts processor 0, whose idle thread boots the
 * rest: pool, objects, the loader, the other processors, and the control thread, which carries out
 * what the host asks for (load, unload, ioctl), one command after the other, at PASSIVE_LEVEL.
 */
#include "ex/ex.h"
#include "io/io.h"
#include "ke/bound.h"
#include "ke/ke.h"
#include "ke/machine.h"
#include "rtl/rtl.h"
#include "vf/vf.h"
#include "ke/nmi.h"
#include "ldr/ldr.h"
#include "machine/machine.h"
#include "ndk/ndk.h"
#include "ob/ob.h"
#include "ps/ps.h"
#include "wsk/wsk.h"

struct ketch_options machine_options;
char machine_message[16384];

static _Atomic uint32_t booted; /* 1: ready; 2: failed, see machine_message */
static uint64_t deadline_ns = UINT64_MAX;

static void refuse(const char *what, NTSTATUS status)
{
	rtl_print(machine_message, sizeof machine_message,
		  "the machine cannot boot: %s (status 0x%08x)", what, status);
	atomic_store(&booted, 2);
	ke_host_signal();
}

static void control(void *unused)
{
	(void)unused;
	NTSTATUS status = ex_initialize();
	if (NT_SUCCESS(status))
		status = io_initialize();
	if (NT_SUCCESS(status))
		status = ndk_initialize();
	if (NT_SUCCESS(status))
		status = machine_processors_initialize();
	if (!NT_SUCCESS(status)) {
		refuse("worker threads and system objects", status);
		return;
	}
	wsk_initialize();
	atomic_store(&booted, 1);
	ke_host_signal();
	ke_commands_serve(KE_COMMANDS_CONTROL);
}

/* On processor 0, in what becomes its idle thread. Never waits. */
static void boot(void *processor)
{
	struct ke_processor *self = processor;
	NTSTATUS status = ob_initialize();
	if (NT_SUCCESS(status))
		status = ps_initialize();
	if (NT_SUCCESS(status))
		status = ldr_initialize();
	if (!NT_SUCCESS(status)) {
		refuse("objects and the loader", status);
		ke_idle(self);
	}
	self->idle->Process = self->idle->owner = ps_system_process;
	ke_processor_activate(self);
	for (uint32_t i = 1; i < machine_options.processors; i++) {
		PKTHREAD idle;
		status = ps_thread_allocate(&idle);
		if (!NT_SUCCESS(status) || !ke_processor_begin(i, idle)) {
			refuse("processors: no memory or no threads",
			       STATUS_INSUFFICIENT_RESOURCES);
			ke_idle(self);
		}
	}
	status = ps_start();
	if (NT_SUCCESS(status))
		status = ps_thread_create(NULL, control, NULL, NULL);
	if (!NT_SUCCESS(status))
		refuse("system threads", status);
	ke_idle(self);
}

/* ---- Waiting, on the host's side ---- */

static _Atomic bool interrupted;

void ketch_interrupt(void)
{
	atomic_store(&interrupted, true);
	ke_host_signal();
}

bool machine_interrupted(void)
{
	if (!atomic_exchange(&interrupted, false))
		return false;
	uint64_t until = port_time_ns() + KETCH_INTERRUPT_MS * 1000000ull;
	if (until < deadline_ns)
		deadline_ns = until;
	return true;
}

enum ketch_outcome machine_wait(bool (*done)(void *context), void *context, uint64_t poll_ns)
{
	for (;;) {
		uint32_t seen = atomic_load(&ke_host_event);
		if (done(context))
			return KETCH_OK;
		if (atomic_load(&ke_machine_stopped) == KE_STOP_BUGCHECK)
			return KETCH_BUGCHECK;
		if (machine_interrupted())
			return KETCH_INTERRUPTED;
		uint64_t now = port_time_ns();
		if (now >= deadline_ns) {
			if (!ke_machine_claim_stop(KE_STOP_TIMEOUT) &&
			    atomic_load(&ke_machine_stopped) == KE_STOP_BUGCHECK)
				return KETCH_BUGCHECK;
			ke_machine_freeze(1000000000u);
			return KETCH_TIMEOUT;
		}
		uint64_t left = deadline_ns - now;
		port_host_wait(&ke_host_event, seen, (int64_t)(left < poll_ns ? left : poll_ns));
	}
}

static bool command_done(void *command)
{
	return atomic_load(&((struct ke_command *)command)->done);
}

static struct ke_command *last_command;

enum ketch_outcome machine_idle(void)
{
	return last_command ? machine_wait(command_done, last_command, 1000000000u) : KETCH_OK;
}

enum ketch_outcome machine_command(struct ke_command *command)
{
	last_command = command;
	machine_message[0] = 0;
	ke_command_post(KE_COMMANDS_CONTROL, command);
	return machine_wait(command_done, command, 1000000000u);
}

static bool boot_done(void *unused)
{
	(void)unused;
	return atomic_load(&booted) != 0;
}

bool ketch_boot(const struct ketch_options *options)
{
	const char *why;
	const struct ke_partition partition = {
		.maximum = options->maximum_processors,
		.group_size = options->group_size,
		.layout = options->layout == KETCH_LAYOUT_HOLES    ? KE_LAYOUT_HOLES
			  : options->layout == KETCH_LAYOUT_SPREAD ? KE_LAYOUT_SPREAD
								   : KE_LAYOUT_PACKED,
	};
	machine_options = *options;
	vf_mode = options->verify == KETCH_VERIFY_OFF      ? VF_OFF
		  : options->verify == KETCH_VERIFY_REPORT ? VF_REPORT
							   : VF_BUGCHECK;
	vf_drivers_select(options->verify_drivers);
	vf_quiet = options->quiet_findings;
	ke_nmi_ignore_unhandled = options->ignore_unhandled_nmi;
	ke_bound_anywhere = options->relax_bound_routine;
	vf_strict_signed_callbacks = options->strict_signed_callbacks;
	vf_strict_processor_veto = options->strict_processor_veto;
	vf_strict_group_aware = options->strict_group_aware;
	if (!port_initialize(&why)) {
		rtl_print(machine_message, sizeof machine_message,
			  "the host cannot carry a machine: %s", why);
		return false;
	}
	if (!machine_network(options))
		return false;
	if (options->timeout_ms)
		deadline_ns = port_time_ns() + (uint64_t)options->timeout_ms * 1000000u;
	if (!ex_pool_initialize() || !ke_boot(&partition, boot)) {
		rtl_print(machine_message, sizeof machine_message,
			  "the host cannot carry a machine: no address space or no threads");
		return false;
	}
	return machine_wait(boot_done, NULL, 1000000000u) == KETCH_OK && atomic_load(&booted) == 1;
}

const char *ketch_message(void)
{
	return machine_message;
}
