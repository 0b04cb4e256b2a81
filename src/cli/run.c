/* SPDX-License-Identifier: MIT */
/*
 * run.c: `ketch run`: boot a machine, load drivers, stage the actions in order, unload, report.
 *
 * Ctrl-C ends the action that is under way; the drivers are unloaded and the report is printed; a
 * second one ends the process.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "cli/cli.h"

#define STATUS_INVALID_DEVICE_REQUEST 0xC0000010u
#define STATUS_OBJECT_NAME_NOT_FOUND  0xC0000034u

static volatile sig_atomic_t interrupts;

static void say(const char *text)
{
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		return; /* nobody listens any more */
}

static void on_interrupt(int number)
{
	(void)number;
	if (interrupts++) {
		say("ketch: stopped at once\n");
		_exit(EXIT_REFUSED);
	}
	say("ketch: interrupted: unloading (once more: stop at once)\n");
	ketch_interrupt();
}

bool run_step(struct run *run, const char *stage, enum ketch_outcome outcome, uint32_t status)
{
	if (outcome == KETCH_OK)
		return true;
	run->outcome = outcome;
	run->stage = stage;
	run->status = status;
	run->interrupted |= outcome == KETCH_INTERRUPTED;
	return false;
}

void run_explain(struct run *run, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	free(run->message);
	if (vasprintf(&run->message, format, arguments) < 0)
		run->message = NULL;
	va_end(arguments);
}

static bool set_up(struct run *run)
{
	char service[128];
	const char *name = file_name(run->drivers[0]);
	const char *dot = strrchr(name, '.');
	snprintf(service, sizeof service, "%.*s", (int)(dot ? dot - name : (long)strlen(name)),
		 name);
	for (size_t i = 0; i < run->registry_count; i++) {
		char *pair = strdup(run->registry[i]);
		char *value = strchr(pair, '=');
		*value++ = 0;
		bool set = ketch_registry_set(service, pair, value);
		if (!set)
			usage_error("--reg=%s: the value is not a number, text or hex:BYTES",
				    escaped(run->registry[i]));
		free(pair);
		if (!set)
			return false;
	}
	if (run->files && !ketch_files_set(run->files)) {
		usage_error("--files=%s: %s", escaped(run->files), ketch_message());
		return false;
	}
	return true;
}

static bool load(struct run *run, const char *path)
{
	size_t size;
	uint32_t status = 0;
	void *image = file_read(path, &size);
	run->subject = file_name(path);
	if (!image) {
		run_explain(run, "ketch: %s: cannot be read: %s", escaped(path), strerror(errno));
		run->unusable = true;
		return run_step(run, "load", KETCH_REFUSED, STATUS_OBJECT_NAME_NOT_FOUND);
	}
	symbol_add_image(file_name(path), path);
	enum ketch_outcome outcome = ketch_driver_load(file_name(path), image, size, &status);
	if (outcome != KETCH_INTERRUPTED)
		free(image);
	/* The loader says why in words; DriverEntry has only a status. */
	if (outcome == KETCH_REFUSED && *ketch_message()) {
		run_explain(run, "%s", ketch_message());
		run->unusable = true;
	}
	/* After Ctrl-C it may still come: unloading waits for its DriverEntry. */
	if (outcome == KETCH_OK || outcome == KETCH_INTERRUPTED)
		run->loaded[run->loaded_count++] = path;
	return run_step(run, "load", outcome, status);
}

static bool nmi_once(struct run *run, uint32_t processor)
{
	struct ketch_nmi nmi;
	enum ketch_outcome outcome = ketch_nmi(processor, &nmi);
	if (outcome == KETCH_REFUSED) {
		run_explain(run, "ketch: nmi:%u: %s", processor, ketch_message());
		run->unusable = true;
		return run_step(run, "nmi", outcome, 0);
	}
	if (outcome == KETCH_OK && nmi.delivered && processor < 64) {
		run->last_nmi[processor] = nmi;
		run->nmi_count[processor]++;
	}
	return run_step(run, "nmi", outcome, 0);
}

static bool nmi_action(struct run *run, const struct action *action)
{
	for (uint32_t round = 0; round < action->count; round++) {
		if (action->processor != ACTION_ALL_PROCESSORS) {
			if (!nmi_once(run, action->processor))
				return false;
			continue;
		}
		for (uint32_t i = 0; i < ketch_processor_count(); i++) {
			if (!nmi_once(run, i))
				return false;
		}
	}
	return true;
}

static bool add_action(struct run *run, const struct action *action)
{
	for (uint32_t round = 0; round < action->count; round++) {
		struct ketch_added added;
		enum ketch_outcome outcome = ketch_processor_add(action->how, &added);
		run->added += outcome == KETCH_OK && !added.status;
		run->subject = file_name(run->drivers[0]);
		if (outcome == KETCH_REFUSED && added.vetoed) {
			run_explain(run, "ketch: %s: a driver refused processor %u with 0x%08x %s",
				    action->text, added.processor, added.status,
				    status_name(added.status));
		} else if (outcome == KETCH_REFUSED) {
			run_explain(run, "ketch: %s: %s", action->text, ketch_message());
			run->unusable = true;
		}
		if (!run_step(run, action->text, outcome, added.status))
			return false;
	}
	return true;
}

static bool ioctl_action(struct run *run, const struct action *action)
{
	static uint8_t output[4096]; /* a driver may still write to it after Ctrl-C */
	size_t returned = 0;
	uint32_t status = 0;
	enum ketch_outcome outcome =
		ketch_ioctl(action->device, action->code, action->input, action->input_size, output,
			    sizeof output, &returned, &status);
	run->ioctls++;
	run->subject = file_name(run->drivers[0]);
	if (outcome == KETCH_OK || outcome == KETCH_REFUSED) {
		printf("%s: status 0x%08x %s, %zu bytes", action->text, status, status_name(status),
		       returned);
		for (size_t i = 0; i < returned && i < sizeof output; i++)
			printf("%s%02x", i ? "" : ": ", output[i]);
		putchar('\n');
		fflush(stdout);
	}
	return run_step(run, action->text, outcome, status);
}

/* Newest first. A driver without DriverUnload cannot be unloaded (PLT-59), which is its right: it
 * stays. */
static bool unload_all(struct run *run)
{
	bool interrupted = false;
	if (!user_wait_all(run))
		return false;
	while (run->loaded_count) {
		const char *name = file_name(run->loaded[run->loaded_count - 1]);
		uint32_t status = 0;
		run->subject = name;
		enum ketch_outcome outcome = ketch_driver_unload(name, &status);
		if (outcome == KETCH_INTERRUPTED) {
			run->interrupted = interrupted = true;
			continue; /* waits for what goes on, and finds it gone */
		}
		run->loaded_count--;
		if (outcome == KETCH_REFUSED && status == STATUS_INVALID_DEVICE_REQUEST) {
			usage_error("%s: %s; it stays loaded", escaped(name), ketch_message());
			run->stays_loaded = true;
			continue;
		}
		if (outcome == KETCH_REFUSED && run->interrupted &&
		    status == STATUS_OBJECT_NAME_NOT_FOUND) {
			/* Unloaded, or its DriverEntry failed, after Ctrl-C. */
			run->unloaded |= interrupted;
			continue;
		}
		if (outcome == KETCH_REFUSED)
			run_explain(run, "ketch: %s: it cannot be unloaded: %s (0x%08x %s)",
				    escaped(name), ketch_message(), status, status_name(status));
		if (!run_step(run, "unload", outcome, status))
			return false;
		run->unloaded = true;
	}
	return !interrupted || run_step(run, "unload", KETCH_INTERRUPTED, 0);
}

static bool act(struct run *run)
{
	for (size_t i = 0; i < run->action_count; i++) {
		const struct action *action = &run->actions[i];
		bool ok = true;
		switch (action->kind) {
		case ACTION_NMI:
			ok = nmi_action(run, action);
			break;
		case ACTION_ADD:
			ok = add_action(run, action);
			break;
		case ACTION_IOCTL:
			ok = ioctl_action(run, action);
			break;
		case ACTION_WAIT:
			ok = run_step(run, "wait", ketch_wait(action->ms), 0);
			break;
		case ACTION_USER:
			ok = user_action(run, action);
			break;
		case ACTION_UNLOAD:
			ok = unload_all(run);
			break;
		}
		if (!ok)
			return false;
	}
	return true;
}

/* Others first, in the order given: the driver under test may import from them. */
static bool load_all(struct run *run)
{
	for (size_t i = 1; i <= run->driver_count; i++) {
		if (!load(run, run->drivers[i % run->driver_count]))
			return false;
	}
	return true;
}

static void stage(struct run *run)
{
	if (load_all(run))
		act(run);
	if (run->outcome == KETCH_BUGCHECK || run->outcome == KETCH_TIMEOUT)
		return;
	/* What went wrong first is what the report says, unless taking down the rest goes worse. */
	enum ketch_outcome outcome = run->outcome;
	uint32_t status = run->status;
	const char *stage = run->stage, *subject = run->subject;
	char *message = run->message;
	run->outcome = KETCH_OK;
	run->message = NULL;
	unload_all(run);
	if (outcome == KETCH_INTERRUPTED)
		run->stage = stage;
	if (outcome != KETCH_OK && run->outcome != KETCH_BUGCHECK &&
	    run->outcome != KETCH_TIMEOUT) {
		run->outcome = outcome;
		run->status = status;
		run->stage = stage;
		run->subject = subject;
		run->message = message;
	}
}

static double seconds_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int cli_run(int argc, char **argv)
{
	static struct run run = {
		.machine = {.processors = 2,
			    .group_size = 64,
			    .verify = KETCH_VERIFY_REPORT,
			    .quiet_findings = true,
			    .timeout_ms = 60000},
	};
	int error;
	double begin = seconds_now();
	error = options_take(&run, argc, argv);
	if (error)
		return error;

	if (!ketch_boot(&run.machine))
		return usage_error("%s", ketch_message());
	remote_listen();
	struct sigaction action = {.sa_handler = on_interrupt};
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (!set_up(&run))
		return EXIT_USAGE;
	stage(&run);
	ketch_halt();
	run.seconds = seconds_now() - begin;
	run.exit_status = report_exit_status(&run);
	report_text(&run);
	if (run.json && !report_json(&run))
		run.exit_status = usage_error("--json=%s: cannot be written: %s", escaped(run.json),
					      strerror(errno));
	fflush(stdout);
	_exit(run.exit_status); /* processors still sleep in this process */
}
