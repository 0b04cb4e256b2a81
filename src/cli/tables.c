/* SPDX-License-Identifier: MIT */
/* tables.c: `ketch ddi` and `ketch imports`: what is supported, without booting a machine. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cli/cli.h"

static const char *irql_text(uint8_t irql)
{
	static const char *const names[16] = {
		[0] = "PASSIVE", [1] = "APC",  [2] = "DISPATCH", [12] = "DIRQL",
		[13] = "CLOCK",  [14] = "IPI", [15] = "any"};
	return names[irql & 15] ? names[irql & 15] : "device";
}

static const char *version_text(uint16_t version)
{
	switch (version) {
	case 0x0500:
		return "2000";
	case 0x0501:
		return "XP";
	case 0x0502:
		return "2003";
	case 0x0600:
		return "Vista";
	case 0x0601:
		return "7";
	case 0x0602:
		return "8";
	case 0x0603:
		return "8.1";
	default:
		return "10";
	}
}

static void print_row(const struct ketch_ddi *d)
{
	if (d->data) {
		printf("%-44s %-13s data\n", d->name, d->module);
		return;
	}
	printf("%-44s %-13s %s%s%-9s %-6s %s%s%s\n", d->name, d->module,
	       d->irql_min ? irql_text(d->irql_min) : "",
	       d->irql_min ? ".." : "<= ", irql_text(d->irql_max), version_text(d->version),
	       d->rule, d->nmi_allowed ? ", allowed in NMI callbacks" : "",
	       d->storport_prohibited ? ", not for StorPort miniports" : "");
}

int cli_ddi(int argc, char **argv)
{
	struct ketch_ddi d;
	bool found = argc < 2;
	if (argc > 2)
		return usage_error("one name at a time: ketch ddi [NAME]");
	for (uint32_t i = 0; ketch_ddi(i, &d); i++) {
		if (argc == 2 && strcmp(argv[1], d.name))
			continue;
		print_row(&d);
		found = true;
	}
	if (!found)
		return usage_error("%s is not in the table (run: ketch ddi)", escaped(argv[1]));
	return EXIT_EXPECTED;
}

struct tally {
	unsigned supported, missing;
};

static void print_import(void *context, const struct ketch_import *import)
{
	struct tally *tally = context;
	if (import->supported)
		tally->supported++;
	else
		tally->missing++;
	printf("%-9s %s!", import->supported ? "supported" : "missing", escaped(import->module));
	if (import->name)
		printf("%s\n", escaped(import->name));
	else
		printf("#%u\n", import->ordinal);
}

int cli_imports(int argc, char **argv)
{
	struct tally tally = {0};
	size_t size;
	if (argc != 2)
		return usage_error("which driver? ketch imports DRIVER.sys");
	void *image = file_read(argv[1], &size);
	if (!image)
		return usage_error("%s: cannot be read: %s", escaped(argv[1]), strerror(errno));
	bool ok = ketch_imports(file_name(argv[1]), image, size, print_import, &tally);
	free(image);
	if (!ok) {
		fflush(stdout);
		fprintf(stderr, "%s\n", ketch_message());
		return EXIT_USAGE;
	}
	printf("%u supported, %u missing\n", tally.supported, tally.missing);
	return tally.missing ? EXIT_USAGE : EXIT_EXPECTED;
}
