/* SPDX-License-Identifier: MIT */
/*
 * options.c: the command line of `ketch run`: options, drivers, actions; all is checked before the
 * machine boots.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "cli/cli.h"

enum option_code {
	OPTION_VERIFY = 256,
	OPTION_NO_VERIFY,
	OPTION_VERIFY_DRIVERS,
	OPTION_UNHANDLED,
	OPTION_MISSING,
	OPTION_REG,
	OPTION_FILES,
	OPTION_STRICT,
	OPTION_RELAX,
	OPTION_LAYOUT,
	OPTION_TIMEOUT,
	OPTION_JSON,
	OPTION_STATUS,
	OPTION_BUGCHECK,
	OPTION_RULE,
	OPTION_ADAPTER,
	OPTION_NDK_COMPLETE,
	OPTION_NDK_FAIL,
	OPTION_NDK_FLAGS,
	OPTION_NDK_HANDSHAKE,
	OPTION_WSK_DELAY,
	OPTION_WSK_PATIENCE,
};

static const struct option long_options[] = {
	{"verify", required_argument, NULL, OPTION_VERIFY},
	{"verify-drivers", required_argument, NULL, OPTION_VERIFY_DRIVERS},
	{"no-verify", no_argument, NULL, OPTION_NO_VERIFY},
	{"unhandled-nmi", required_argument, NULL, OPTION_UNHANDLED},
	{"allow-missing", no_argument, NULL, OPTION_MISSING},
	{"reg", required_argument, NULL, OPTION_REG},
	{"files", required_argument, NULL, OPTION_FILES},
	{"strict", required_argument, NULL, OPTION_STRICT},
	{"relax", required_argument, NULL, OPTION_RELAX},
	{"layout", required_argument, NULL, OPTION_LAYOUT},
	{"timeout", required_argument, NULL, OPTION_TIMEOUT},
	{"json", required_argument, NULL, OPTION_JSON},
	{"expect-status", required_argument, NULL, OPTION_STATUS},
	{"expect-bugcheck", required_argument, NULL, OPTION_BUGCHECK},
	{"expect-rule", required_argument, NULL, OPTION_RULE},
	{"adapter", required_argument, NULL, OPTION_ADAPTER},
	{"ndk-complete", required_argument, NULL, OPTION_NDK_COMPLETE},
	{"ndk-fail", required_argument, NULL, OPTION_NDK_FAIL},
	{"ndk-flags", required_argument, NULL, OPTION_NDK_FLAGS},
	{"ndk-handshake", required_argument, NULL, OPTION_NDK_HANDSHAKE},
	{"wsk-delay", required_argument, NULL, OPTION_WSK_DELAY},
	{"wsk-patience", required_argument, NULL, OPTION_WSK_PATIENCE},
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
		if (!strcmp(name, "signed-callbacks"))
			run->machine.strict_signed_callbacks = true;
		else if (!strcmp(name, "processor-veto"))
			run->machine.strict_processor_veto = true;
		else if (!strcmp(name, "group-aware"))
			run->machine.strict_group_aware = true;
		else if (!strcmp(name, "ndk-arm"))
			run->machine.strict_ndk_arm = true;
		else if (!strcmp(name, "ndk-tokens"))
			run->machine.strict_ndk_tokens = true;
		else
			return usage_error("there is no strict switch %s (there are "
					   "signed-callbacks, processor-veto, group-aware, ndk-arm "
					   "and ndk-tokens)",
					   escaped(name));
	}
	return 0;
}

static int relax_option(struct run *run)
{
	if (strcmp(optarg, "bound-routine") != 0)
		return usage_error("there is no switch --relax=%s (there is bound-routine)",
				   escaped(optarg));
	run->machine.relax_bound_routine = true;
	return 0;
}

/* inline, pending, random or random:SEED; a seed that was drawn here is told, to be given again. */
static int complete_option(struct run *run)
{
	static const char *const how[] = {"default", "inline", "pending", "random", NULL};
	struct timespec now;
	unsigned choice;
	int error;
	if (!strncmp(optarg, "random:", 7)) {
		if (!number_parse(optarg + 7, UINT64_MAX, &run->machine.ndk_seed))
			return usage_error("--ndk-complete=random takes a number as its seed, "
					   "not %s",
					   escaped(optarg + 7));
		run->machine.ndk_complete = KETCH_NDK_RANDOM;
		return 0;
	}
	if ((error = choice_option("--ndk-complete", how, &choice)))
		return error;
	run->machine.ndk_complete = (enum ketch_ndk_complete)choice;
	if (run->machine.ndk_complete == KETCH_NDK_RANDOM) {
		clock_gettime(CLOCK_REALTIME, &now);
		run->machine.ndk_seed = (uint64_t)now.tv_nsec ^ (uint64_t)getpid() << 32;
		fprintf(stderr, "ketch: --ndk-complete=random:%llu\n",
			(unsigned long long)run->machine.ndk_seed);
	}
	return 0;
}

static int take_option(struct run *run, int code)
{
	static const char *const verify[] = {"off", "report", "bugcheck", NULL};
	static const char *const unhandled[] = {"bugcheck", "ignore", NULL};
	static const char *const layouts[] = {"packed", "holes", "spread", NULL};
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
	case OPTION_VERIFY_DRIVERS:
		run->machine.verify_drivers = optarg;
		return 0;
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
	case OPTION_LAYOUT:
		error = choice_option("--layout", layouts, &choice);
		run->machine.layout = (enum ketch_layout)choice;
		return error;
	case OPTION_ADAPTER:
		if (run->machine.adapter_count == sizeof run->adapters / sizeof *run->adapters)
			return usage_error("--adapter can be given 16 times");
		run->adapters[run->machine.adapter_count++] = optarg;
		run->machine.adapters = run->adapters;
		return 0;
	case OPTION_NDK_COMPLETE:
		return complete_option(run);
	case OPTION_NDK_FAIL:
		if (run->machine.ndk_failure_count == sizeof run->failures / sizeof *run->failures)
			return usage_error("--ndk-fail can be given 16 times");
		run->failures[run->machine.ndk_failure_count++] = optarg;
		run->machine.ndk_failures = run->failures;
		return 0;
	case OPTION_NDK_FLAGS:
		run->machine.ndk_flags_set = true;
		return number_option("--ndk-flags", 0, UINT32_MAX, &run->machine.ndk_flags);
	case OPTION_NDK_HANDSHAKE:
		return number_option("--ndk-handshake", 1, 3600000, &run->machine.ndk_handshake_ms);
	case OPTION_WSK_DELAY:
		return number_option("--wsk-delay", 0, 3600000, &run->machine.wsk_delay_ms);
	case OPTION_WSK_PATIENCE:
		return number_option("--wsk-patience", 1, 3600000, &run->machine.wsk_patience_ms);
	case OPTION_STRICT:
		return strict_option(run);
	case OPTION_RELAX:
		return relax_option(run);
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

static int check_options(struct run *run)
{
	struct ketch_options *machine = &run->machine;
	struct stat folder;
	if (!machine->maximum_processors)
		machine->maximum_processors = machine->processors > 64 ? machine->processors : 64;
	if (machine->maximum_processors < machine->processors)
		return usage_error("-P %u is less than the %u processors at boot (-p)",
				   machine->maximum_processors, machine->processors);
	if (run->files && stat(run->files, &folder))
		return usage_error("--files=%s: %s", escaped(run->files), strerror(errno));
	if (run->files && !S_ISDIR(folder.st_mode))
		return usage_error("--files=%s: it is not a folder", escaped(run->files));
	if (run->expect_rule && !ketch_rule_known(run->expect_rule))
		return usage_error("--expect-rule=%s: there is no such rule, by name or number "
				   "(docs/rules.md has all)",
				   escaped(run->expect_rule));
	for (size_t i = 0; i < run->action_count; i++) {
		const struct action *action = &run->actions[i];
		const char *why;
		if (action->kind == ACTION_USER && !user_usable(action->arguments[0], &why))
			return usage_error("%s: %s", escaped(action->text), why);
	}
	/* Better now than after a long run. */
	if (run->json) {
		int file = open(run->json, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
		if (file < 0)
			return usage_error("--json=%s: cannot be written: %s", escaped(run->json),
					   strerror(errno));
		close(file);
	}
	return 0;
}

int options_take(struct run *run, int argc, char **argv)
{
	int code, error;
	opterr = 0;
	while ((code = getopt_long(argc, argv, ":p:P:g:", long_options, NULL)) != -1) {
		if (code == ':' || code == '?')
			return usage_error(
				"%s %s (run: ketch run --help)", escaped(argv[optind - 1]),
				code == ':' ? "needs a value" : "is not an option of ketch run");
		if ((error = take_option(run, code)))
			return error;
	}
	if ((error = take_words(run, argc - optind, argv + optind)))
		return error;
	return check_options(run);
}
