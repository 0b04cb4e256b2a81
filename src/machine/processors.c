/* SPDX-License-Identifier: MIT */
/*
 * processors.c: processors are added: what a program asks for (ketch.h), and the thread that does
 * it.
 *
 * One thread of the core adds all processors, at PASSIVE_LEVEL, so all notifications of hot
 * additions come on it (PRC-11). An addition goes on with plug and play: arrival of the processor's
 * device interface (PRC-48), after Complete (PRC-50).
 *
 * Chosen: no resource rebalance follows (PRC-49): no bus enumerates devices here, so there is no
 * PnP driver that a QUERY_STOP could go to.
 */
#include "io/io.h"
#include "ke/machine.h"
#include "ke/processor_change.h"
#include "machine/machine.h"
#include "ob/ob.h"
#include "ps/ps.h"
#include "rtl/rtl.h"

static const GUID device_processor = {
	0x97fadb10, 0x4e33, 0x40ae, {0x35, 0x9c, 0x8b, 0xef, 0x02, 0x9d, 0xbd, 0xd0}};

/* \??\ACPI#Processor#INDEX#{class} */
static void announce(uint32_t index)
{
	char text[96];
	WCHAR name[96];
	UNICODE_STRING link = {.Buffer = name, .MaximumLength = sizeof name};
	rtl_print(text, sizeof text,
		  "\\??\\ACPI#Processor#%u#{97fadb10-4e33-40ae-359c-8bef029dbdd0}", index);
	unsigned n = 0;
	for (; text[n]; n++)
		name[n] = (WCHAR)text[n];
	name[n] = 0;
	link.Length = (USHORT)(n * sizeof *name);
	io_pnp_arrival(&device_processor, &link);
}

NTSTATUS machine_processor_add(enum ke_add how, struct ke_added *added)
{
	PKTHREAD idle;
	*added = (struct ke_added){.index = atomic_load(&ke_processor_count)};
	NTSTATUS status = ps_thread_allocate(&idle);
	if (!NT_SUCCESS(status))
		return status;
	status = ke_processor_add(how, idle, added);
	if (NT_SUCCESS(status))
		announce(added->index);
	else
		ob_dereference(idle);
	return status;
}

/* ---- What the host asks for ---- */

struct addition {
	struct ke_command command;
	enum ke_add how;
	struct ke_added added;
	NTSTATUS status;
};

static void run_addition(struct ke_command *command)
{
	struct addition *addition = CONTAINING_RECORD(command, struct addition, command);
	addition->status = machine_processor_add(addition->how, &addition->added);
}

static void adder(void *unused)
{
	(void)unused;
	ke_commands_serve(KE_COMMANDS_ADD);
}

NTSTATUS machine_processors_initialize(void)
{
	return ps_thread_create(NULL, adder, NULL, NULL);
}

static bool addition_done(void *addition)
{
	return atomic_load(&((struct addition *)addition)->command.done);
}

static void post(struct addition *addition, enum ketch_add how)
{
	*addition = (struct addition){.command.run = run_addition,
				      .how = how == KETCH_ADD_FAIL       ? KE_ADD_FAIL
					     : how == KETCH_ADD_MISMATCH ? KE_ADD_MISMATCH
									 : KE_ADD};
	ke_command_post(KE_COMMANDS_ADD, &addition->command);
}

static enum ketch_outcome outcome_of(const struct addition *addition, struct ketch_added *added)
{
	PROCESSOR_NUMBER number = ke_processor_number(addition->added.index);
	*added = (struct ketch_added){
		.processor = addition->added.index,
		.group = number.Group,
		.number = number.Number,
		.status = (uint32_t)addition->status,
		.vetoed = addition->added.vetoed,
	};
	if (NT_SUCCESS(addition->status))
		return KETCH_OK;
	bool staged = addition->how == KE_ADD_FAIL && addition->status == STATUS_UNSUCCESSFUL;
	return staged && !added->vetoed ? KETCH_OK : KETCH_REFUSED;
}

enum ketch_outcome ketch_processor_add(enum ketch_add how, struct ketch_added *added)
{
	/* Not on the stack: Ctrl-C ends this call before the thread has seen it. */
	static struct addition addition = {.command.done = 1};
	enum ketch_outcome outcome = machine_wait(addition_done, &addition, 1000000000u);
	*added = (struct ketch_added){0};
	if (outcome != KETCH_OK)
		return outcome;
	machine_message[0] = 0;
	post(&addition, how);
	outcome = machine_wait(addition_done, &addition, 1000000000u);
	if (outcome != KETCH_OK)
		return outcome;
	outcome = outcome_of(&addition, added);
	if (addition.status == STATUS_NO_MORE_ENTRIES && !added->vetoed)
		rtl_print(machine_message, sizeof machine_message,
			  "the machine holds %u processors and is full (-P)", ke_processor_maximum);
	else if (outcome == KETCH_REFUSED && !added->vetoed)
		rtl_copy(machine_message, sizeof machine_message,
			 "the host has no memory or no threads for one more processor");
	return outcome;
}

enum ketch_outcome ketch_processor_add_aside(enum ketch_add how, struct ketch_added *added)
{
	struct addition addition;
	post(&addition, how);
	for (;;) {
		uint32_t seen = atomic_load(&ke_host_event);
		if (addition_done(&addition))
			return outcome_of(&addition, added);
		/* Processors stand still: the request is not touched any more. */
		if (atomic_load(&ke_machine_stopped) != KE_RUNNING) {
			*added = (struct ketch_added){0};
			return KETCH_BUGCHECK;
		}
		port_host_wait(&ke_host_event, seen, 1000000000);
	}
}
