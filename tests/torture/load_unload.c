/* SPDX-License-Identifier: MIT */
/*
 * Loads and unloads a driver many times in one machine, with an NMI in between; the process must
 * not grow.
 *
 *     load_unload DRIVER.sys TIMES KIB   KIB: by how much it may grow. Prints PASS and FAIL lines;
 * exit status 0 when all passed
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ketch/ketch.h"

#define WARM_UP     20
#define GROWTH_MAPS 8

static int failures;

static void check(bool condition, const char *what)
{
	printf("%s %s\n", condition ? "PASS" : "FAIL", what);
	failures += !condition;
}

static long resident_kib(void)
{
	long pages = 0, unused;
	FILE *file = fopen("/proc/self/statm", "r");
	if (!file || fscanf(file, "%ld %ld", &unused, &pages) != 2)
		exit(2);
	fclose(file);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static long mappings(void)
{
	long lines = 0;
	int c;
	FILE *file = fopen("/proc/self/maps", "r");
	if (!file)
		exit(2);
	while ((c = getc(file)) != EOF)
		lines += c == '\n';
	fclose(file);
	return lines;
}

static void *read_file(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	if (!file)
		return NULL;
	fseek(file, 0, SEEK_END);
	*size = (size_t)ftell(file);
	rewind(file);
	void *bytes = malloc(*size);
	if (bytes && fread(bytes, 1, *size, file) != *size)
		exit(2);
	fclose(file);
	return bytes;
}

static bool once(const void *image, size_t size)
{
	uint32_t status = 0;
	struct ketch_nmi nmi;
	if (ketch_driver_load("cycle.sys", image, size, &status) != KETCH_OK) {
		printf("load: 0x%08x %s\n", status, ketch_message());
		return false;
	}
	if (ketch_nmi(1, &nmi) != KETCH_OK)
		return false;
	if (ketch_driver_unload("cycle.sys", &status) != KETCH_OK) {
		printf("unload: 0x%08x %s\n", status, ketch_message());
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	const struct ketch_options options = {.processors = 2,
					      .maximum_processors = 2,
					      .group_size = 64,
					      .verify = KETCH_VERIFY_REPORT,
					      .timeout_ms = 120000};
	int times = argc > 3 ? atoi(argv[2]) : 0, done = 0;
	long resident = 0, maps = 0;
	size_t size;
	void *image = argc > 3 ? read_file(argv[1], &size) : NULL;
	if (!image || !ketch_boot(&options)) {
		fprintf(stderr, "load_unload: %s\n",
			image ? ketch_message() : "usage: load_unload DRIVER.sys TIMES KIB");
		return 2;
	}
	for (; done < times && once(image, size); done++) {
		if (done == WARM_UP) {
			resident = resident_kib();
			maps = mappings();
		}
	}
	long grown = resident_kib() - resident, more = mappings() - maps;
	printf("load_unload: %d times; resident %ld KiB, %+ld KiB; %ld mappings, %+ld\n", done,
	       resident, grown, maps, more);
	check(done == times, "PLT-59 a driver is loaded and unloaded again and again");
	check(grown < atol(argv[3]), "PLT-59 the resident memory does not grow");
	check(more < GROWTH_MAPS, "PLT-59 the mappings do not grow");
	check(ketch_violation_count() == 0, "VER-40 nothing is left behind");
	fflush(stdout);
	_exit(failures != 0);
}
