/* SPDX-License-Identifier: MIT */
/*
 * run.c: `ketch run`: boot a machine, load drivers, stage the actions in order, unload, report.
 *
 * Ctrl-C ends the action that is under way; the drivers are unloaded and the report is printed; a
 * second one ends the process.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "cli/cli.h"

#define STATUS_INVALID_DEVICE_REQUEST 0xC0000010u

enum option_code {
	OPTION_VERIFY = 256,
	OPTION_NO_VERIFY,
	OPTION_UNHANDLED,
	OPTION_MISSING,
	OPTION_REG,
	OPTION_FILES,
	OPTION_STRICT,
	OPTION_TIMEOUT,
	OPTION_JSON,
	OPTION_STATUS,
	OPTION_BUGCHECK,
	OPTION_RULE,
};

static const struct option long_options[] = {
	{"verify", required_argument, NULL, OPTION_VERIFY},
	{"no-verify", no_argument, NULL, OPTION_NO_VERIFY},
	{"unhandled-nmi", required_argument, NULL, OPTION_UNHANDLED},
	{"allow-missing", no_argument, NULL, OPTION_MISSING},
	{"reg", required_argument, NULL, OPTION_REG},
	{"files", required_argument, NULL, OPTION_FILES},
	{"strict", required_argument, NULL, OPTION_STRICT},
	{"timeout", required_argument, NULL, OPTION_TIMEOUT},
	{"json", required_argument, NULL, OPTION_JSON},
	{"expect-status", required_argument, NULL, OPTION_STATUS},
	{"expect-bugcheck", required_argument, NULL, OPTION_BUGCHECK},
	{"expect-rule", required_argument, NULL, OPTION_RULE},
	{NULL, 0, NULL, 0},
};

static int number_option(const char *name, uint64_t low, uint64_t high, uint32_t *to)
{
	uint64_t value;
	if (!number_parse(optarg, high, &value) || value < low)
		return usage_error("%s takes a number from %llu to %llu, not %s", name,
				   (unsigned long long)low, (unsigned long long)high,
				   escaped(optarg));
	*to = (uint32_t)value;
	return 0;
}

static int choice_option(const char *name, const char *const *choices, unsigned *choice)
{
	for (*choice = 0; choices[*choice]; ++*choice) {
		if (!strcmp(optarg, choices[*choice]))
			return 0;
	}
	fprintf(stderr, "ketch: %s takes ", name);
	for (unsigned i = 0; choices[i]; i++)
		fprintf(stderr, "%s%s", i ? " or " : "", choices[i]);
	fprintf(stderr, ", not %s\n", escaped(optarg));
	return EXIT_USAGE;
}

static int strict_option(struct run *run)
{
	char names[256], *state, *name;
	if (strlen(optarg) >= sizeof names)
		return usage_error("--strict takes switches' names, separated by commas");
	strcpy(names, optarg);
	for (name = strtok_r(names, ",", &state); name; name = strtok_r(NULL, ",", &state)) {
		if (strcmp(name, "signed-callbacks"))
			return usage_error(
				"there is no strict switch %s (there is signed-callbacks)",
				escaped(name));
		run->machine.strict_signed_callbacks = true;
	}
	return 0;
}

static int take_option(struct run *run, int code)
{
	static const char *const verify[] = {"off", "report", "bugcheck", NULL};
	static const char *const unhandled[] = {"bugcheck", "ignore", NULL};
	uint32_t seconds;
	unsigned choice;
	int error = 0;
	switch (code) {
	case 'p':
		return number_option("-p", 1, 256, &run->machine.processors);
	case 'P':
		return number_option("-P", 1, 1280, &run->machine.maximum_processors);
	case 'g':
		return number_option("-g", 1, 64, &run->machine.group_size);
	case OPTION_VERIFY:
		error = choice_option("--verify", verify, &choice);
		run->machine.verify = (enum ketch_verify)choice;
		return error;
	case OPTION_NO_VERIFY:
		run->machine.verify = KETCH_VERIFY_OFF;
		return 0;
	case OPTION_UNHANDLED:
		error = choice_option("--unhandled-nmi", unhandled, &choice);
		run->machine.ignore_unhandled_nmi = choice == 1;
		return error;
	case OPTION_MISSING:
		run->machine.allow_missing = true;
		return 0;
	case OPTION_REG:
		if (!strchr(optarg, '=') || *optarg == '=')
			return usage_error("--reg takes NAME=VALUE, not %s", escaped(optarg));
		if (run->registry_count == sizeof run->registry / sizeof *run->registry)
			return usage_error("--reg can be given 64 times");
		run->registry[run->registry_count++] = optarg;
		return 0;
	case OPTION_FILES:
		run->files = optarg;
		return 0;
	case OPTION_STRICT:
		return strict_option(run);
	case OPTION_TIMEOUT:
		error = number_option("--timeout", 1, 86400, &seconds);
		run->machine.timeout_ms = seconds * 1000;
		return error;
	case OPTION_JSON:
		run->json = optarg;
		return 0;
	case OPTION_STATUS:
		run->expect_status = optarg;
		if (!number_parse(optarg, UINT32_MAX, &run->expect_status_value))
			return usage_error(
				"--expect-status takes a number such as 0xc0000001, not %s",
				escaped(optarg));
		return 0;
	case OPTION_BUGCHECK:
		run->expect_bugcheck = optarg;
		if (!number_parse(optarg, UINT32_MAX, &run->expect_bugcheck_value))
			return usage_error("--expect-bugcheck takes a number such as 0x80, not %s",
					   escaped(optarg));
		return 0;
	case OPTION_RULE:
		run->expect_rule = optarg;
		return 0;
	default:
		return usage_error("run: ketch run --help");
	}
}

static int take_words(struct run *run, int count, char **words)
{
	if (count == 0)
		return usage_error("which driver? (run: ketch run --help)");
	for (int i = 0; i < count; i++) {
		const char *why;
		if (i == 0 || words[i][0] == '+') {
			if (run->driver_count == sizeof run->drivers / sizeof *run->drivers)
				return usage_error("at most 16 drivers in one run");
			run->drivers[run->driver_count++] = words[i] + (i != 0);
			continue;
		}
		if (run->action_count == sizeof run->actions / sizeof *run->actions)
			return usage_error("at most 64 actions in one run");
		if (!action_parse(words[i], &run->actions[run->action_count++], &why))
			return usage_error("%s is not an action: %s", escaped(words[i]), why);
	}
	return 0;
}

/* ---- The run ---- */

static volatile sig_atomic_t interrupts;

static void on_interrupt(int number)
{
	if (interrupts++)
		_exit(EXIT_REFUSED);
	(void)number;
	ketch_interrupt();
}

/* False: stop here; outcome, status and stage tell why. */
static bool step(struct run *run, const char *stage, enum ketch_outcome outcome, uint32_t status)
{
	if (outcome == KETCH_OK)
		return true;
	run->outcome = outcome;
	run->stage = stage;
	run->status = status;
	run->interrupted |= outcome == KETCH_INTERRUPTED;
	return false;
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
	if (!image) {
		run->image_refused = true;
		return false;
	}
	symbol_add_image(file_name(path), path);
	enum ketch_outcome outcome = ketch_driver_load(file_name(path), image, size, &status);
	if (outcome != KETCH_INTERRUPTED)
		free(image);
	/* The loader says why in words; DriverEntry has only a status. */
	run->image_refused = outcome == KETCH_REFUSED && *ketch_message();
	if (outcome == KETCH_OK)
		run->loaded[run->loaded_count++] = path;
	return step(run, "load", outcome, status);
}

static bool nmi_once(struct run *run, uint32_t processor)
{
	struct ketch_nmi nmi;
	enum ketch_outcome outcome = ketch_nmi(processor, &nmi);
	run->nmis_sent++;
	if (outcome == KETCH_REFUSED) {
		usage_error("%s", ketch_message());
		run->image_refused = true;
		return step(run, "nmi", outcome, 0);
	}
	if (outcome == KETCH_OK && nmi.delivered) {
		run->nmis_delivered++;
		if (processor < 64) {
			run->last_nmi[processor] = nmi;
			run->nmi_count[processor]++;
		}
	} else if (outcome == KETCH_OK) {
		run->nmis_coalesced++;
	}
	return step(run, "nmi", outcome, 0);
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

static bool ioctl_action(struct run *run, const struct action *action)
{
	uint8_t output[4096];
	size_t returned = 0;
	uint32_t status = 0;
	enum ketch_outcome outcome =
		ketch_ioctl(action->device, action->code, action->input, action->input_size, output,
			    sizeof output, &returned, &status);
	run->ioctls++;
	if (outcome == KETCH_OK || outcome == KETCH_REFUSED) {
		printf("%s: status 0x%08x %s, %zu bytes", action->text, status, status_name(status),
		       returned);
		for (size_t i = 0; i < returned && i < sizeof output; i++)
			printf("%s%02x", i ? "" : ": ", output[i]);
		putchar('\n');
		fflush(stdout);
	}
	return step(run, action->text, outcome, status);
}

/* Newest first. A driver without DriverUnload cannot be unloaded (PLT-59), which is its right: it
 * stays. */
static bool unload_all(struct run *run)
{
	while (run->loaded_count) {
		const char *name = file_name(run->loaded[--run->loaded_count]);
		uint32_t status = 0;
		enum ketch_outcome outcome = ketch_driver_unload(name, &status);
		if (outcome == KETCH_REFUSED && status == STATUS_INVALID_DEVICE_REQUEST) {
			usage_error("%s: %s; it stays loaded", escaped(name), ketch_message());
			run->stays_loaded = true;
			continue;
		}
		if (!step(run, "unload", outcome, status))
			return false;
	}
	return true;
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
		case ACTION_IOCTL:
			ok = ioctl_action(run, action);
			break;
		case ACTION_WAIT:
			ok = step(run, "wait", ketch_wait(action->ms), 0);
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
	const char *stage = run->stage;
	run->outcome = KETCH_OK;
	unload_all(run);
	if (outcome != KETCH_OK && run->outcome != KETCH_BUGCHECK &&
	    run->outcome != KETCH_TIMEOUT) {
		run->outcome = outcome;
		run->status = status;
		run->stage = stage;
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
			    .maximum_processors = 64,
			    .group_size = 64,
			    .verify = KETCH_VERIFY_REPORT,
			    .quiet_findings = true,
			    .timeout_ms = 60000},
	};
	int code, error;
	double begin = seconds_now();
	opterr = 0;
	while ((code = getopt_long(argc, argv, ":p:P:g:", long_options, NULL)) != -1) {
		if (code == ':' || code == '?')
			return usage_error(
				"%s %s (run: ketch run --help)", escaped(argv[optind - 1]),
				code == ':' ? "needs a value" : "is not an option of ketch run");
		if ((error = take_option(&run, code)))
			return error;
	}
	if ((error = take_words(&run, argc - optind, argv + optind)))
		return error;
	if (run.machine.maximum_processors < run.machine.processors)
		run.machine.maximum_processors = run.machine.processors;

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
