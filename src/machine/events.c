/* SPDX-License-Identifier: MIT */
/*
 * events.c: what a program stages: load and unload drivers, NMIs, IOCTLs, time (ketch.h). Called by
 * host threads.
 */
#include "io/io.h"
#include "ke/ke.h"
#include "ke/machine.h"
#include "rtl/rtl.h"
#include "vf/vf.h"
#include "ldr/ldr.h"
#include "machine/machine.h"

/* ---- Drivers ---- */

struct load {
	struct ke_command command;
	struct ldr_request request;
	NTSTATUS status;
};

static void run_load(struct ke_command *command)
{
	struct load *load = CONTAINING_RECORD(command, struct load, command);
	struct ldr_image *image;
	load->status = ldr_image_load(&load->request, &image);
	if (NT_SUCCESS(load->status))
		load->status = io_driver_start(image);
}

enum ketch_outcome ketch_driver_load(const char *name, const void *image, size_t size,
				     uint32_t *status)
{
	static struct load load;
	enum ketch_outcome outcome = machine_idle();
	if (outcome != KETCH_OK)
		return outcome;
	load = (struct load){
		.command.run = run_load,
		.request = {.name = name,
			    .file = image,
			    .size = size,
			    .allow_missing = machine_options.allow_missing,
			    .message = machine_message,
			    .message_size = sizeof machine_message},
	};
	outcome = machine_command(&load.command);
	*status = outcome == KETCH_OK ? (uint32_t)load.status : 0;
	return outcome == KETCH_OK && !NT_SUCCESS(load.status) ? KETCH_REFUSED : outcome;
}

struct unload {
	struct ke_command command;
	const char *name;
	NTSTATUS status;
};

static void run_unload(struct ke_command *command)
{
	struct unload *unload = CONTAINING_RECORD(command, struct unload, command);
	struct ldr_image *image = ldr_image_named(unload->name);
	unload->status = image ? io_driver_unload(image) : STATUS_OBJECT_NAME_NOT_FOUND;
	if (!NT_SUCCESS(unload->status))
		rtl_copy(machine_message, sizeof machine_message,
			 image ? io_driver_busy_reason() : "no such driver is loaded");
}

enum ketch_outcome ketch_driver_unload(const char *name, uint32_t *status)
{
	static struct unload unload;
	enum ketch_outcome outcome = machine_idle();
	if (outcome != KETCH_OK)
		return outcome;
	unload = (struct unload){.command.run = run_unload, .name = name};
	outcome = machine_command(&unload.command);
	*status = outcome == KETCH_OK ? (uint32_t)unload.status : 0;
	return outcome == KETCH_OK && !NT_SUCCESS(unload.status) ? KETCH_REFUSED : outcome;
}

/* ---- Registry and files ---- */

struct setting {
	struct ke_command command;
	const char *service, *name, *value;
	NTSTATUS status;
};

static void run_setting(struct ke_command *command)
{
	struct setting *setting = CONTAINING_RECORD(command, struct setting, command);
	setting->status = io_registry_set(setting->service, setting->name, setting->value);
}

bool ketch_registry_set(const char *service, const char *name, const char *value)
{
	/* Not on the stack: Ctrl-C ends this call before the control thread has seen it. */
	static struct setting setting;
	if (machine_idle() != KETCH_OK)
		return false;
	setting = (struct setting){
		.command.run = run_setting, .service = service, .name = name, .value = value};
	return machine_command(&setting.command) == KETCH_OK && NT_SUCCESS(setting.status);
}

bool ketch_files_set(const char *folder)
{
	int error;
	if (port_files_set(folder, &error)) {
		io_files_present = true;
		return true;
	}
	rtl_print(machine_message, sizeof machine_message, "the folder cannot be opened (error %d)",
		  error);
	return false;
}

/* ---- NMIs ---- */

struct nmi_wait {
	struct ke_processor *processor;
	uint64_t delivered; /* before */
};

/* Delivered, and the dispatch is over. */
static bool nmi_over(void *context)
{
	struct nmi_wait *wait = context;
	for (unsigned round = 0; round < 2000; round++) {
		if (atomic_load(&wait->processor->nmi_delivered) != wait->delivered &&
		    !(atomic_load_explicit(&wait->processor->nmi_sequence, memory_order_acquire) &
		      1))
			return true;
		port_spin(round);
	}
	return false;
}

enum ketch_outcome ketch_nmi(uint32_t number, struct ketch_nmi *nmi)
{
	*nmi = (struct ketch_nmi){.processor = number};
	if (machine_interrupted()) /* a flood of NMIs that are quick never waits */
		return KETCH_INTERRUPTED;
	if (number >= atomic_load(&ke_processor_count)) {
		rtl_print(machine_message, sizeof machine_message,
			  "there is no processor %u (the machine has %u)", number,
			  atomic_load(&ke_processor_count));
		return KETCH_REFUSED;
	}
	struct ke_processor *p = ke_processors[number];
	struct nmi_wait wait = {.processor = p, .delivered = atomic_load(&p->nmi_delivered)};
	atomic_store(&p->nmi_trace, true);
	if (ke_nmi_send(p) == KE_NMI_COALESCED) {
		atomic_store(&p->nmi_trace, false);
		return KETCH_OK;
	}
	enum ketch_outcome outcome = machine_wait(nmi_over, &wait, 50000);
	atomic_store(&p->nmi_trace, false);
	nmi->delivered = outcome == KETCH_OK;
	nmi->irql = p->nmi_irql;
	nmi->rip = p->nmi_rip;
	nmi->idle = p->nmi_thread == p->idle;
	nmi->driver_address = p->nmi_driver_address;
	port_stub_lookup(nmi->rip, &nmi->rip);
	return outcome;
}

bool ketch_nmi_raise(uint32_t number)
{
	return number < atomic_load(&ke_processor_count) &&
	       ke_nmi_send(ke_processors[number]) != KE_NMI_NO_PROCESSOR;
}

bool ketch_nmi_counts(uint32_t number, struct ketch_nmi_counts *counts)
{
	if (number >= atomic_load(&ke_processor_count))
		return false;
	struct ke_processor *p = ke_processors[number];
	counts->sent = atomic_load(&p->nmi_sent);
	counts->delivered = atomic_load(&p->nmi_delivered);
	counts->coalesced = atomic_load(&p->nmi_coalesced);
	counts->latched = atomic_load(&p->port.nmi);
	return true;
}

uint32_t ketch_processor_count(void)
{
	return atomic_load(&ke_processor_count);
}

/* ---- IOCTLs ---- */

struct ioctl {
	struct ke_command command;
	struct io_user_request request;
};

static void run_ioctl(struct ke_command *command)
{
	io_user_ioctl(&CONTAINING_RECORD(command, struct ioctl, command)->request);
}

enum ketch_outcome ketch_ioctl(const char *device, uint32_t code, const void *in, size_t in_size,
			       void *out, size_t out_size, size_t *returned, uint32_t *status)
{
	static struct ioctl ioctl;
	enum ketch_outcome outcome = machine_idle();
	if (outcome != KETCH_OK)
		return outcome;
	ioctl = (struct ioctl){
		.command.run = run_ioctl,
		.request = {.device = device,
			    .code = code,
			    .in = in,
			    .in_size = in_size,
			    .out = out,
			    .out_size = out_size},
	};
	outcome = machine_command(&ioctl.command);
	*returned = outcome == KETCH_OK ? ioctl.request.returned : 0;
	*status = outcome == KETCH_OK ? (uint32_t)ioctl.request.status : 0;
	return outcome == KETCH_OK && !NT_SUCCESS(ioctl.request.status) ? KETCH_REFUSED : outcome;
}

/* ---- Time ---- */

static bool time_over(void *until)
{
	return port_time_ns() >= *(uint64_t *)until;
}

enum ketch_outcome ketch_wait(uint32_t ms)
{
	uint64_t until = port_time_ns() + (uint64_t)ms * 1000000u;
	while (!time_over(&until)) {
		uint64_t left = until - port_time_ns();
		enum ketch_outcome outcome =
			machine_wait(time_over, &until, left < 1000000000u ? left : 1000000000u);
		if (outcome != KETCH_OK)
			return outcome;
	}
	return KETCH_OK;
}

static void run_shutdown(struct ke_command *command)
{
	(void)command;
	io_shutdown();
}

static bool shutdown_done(void *command)
{
	return atomic_load(&((struct ke_command *)command)->done);
}

void ketch_halt(void)
{
	static struct ke_command shutdown = {.run = run_shutdown};
	/* Drivers that stay are told (IRP_MJ_SHUTDOWN); ketch_message keeps what it says. */
	if (atomic_load(&ke_machine_stopped) == KE_RUNNING) {
		ke_command_post(KE_COMMANDS_CONTROL, &shutdown);
		machine_wait(shutdown_done, &shutdown, 1000000000u);
	}
	if (ke_machine_claim_stop(KE_STOP_HALT))
		ke_machine_freeze(1000000000u);
	port_console_flush();
}
