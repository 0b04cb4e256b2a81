/* SPDX-License-Identifier: MIT */
/*
 * main.c: `ketch-bench [--json]`: one row per figure; batches of the figure and of its baseline
 * alternate, and each row shows the medians and their ratio. The first rows are the run's own
 * calibration. Takes hello.sys and ketch from beside itself.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <jansson.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "bench/bench.h"
#include "ketch/ketch.h"

static struct row rows[32];
static size_t row_count;
static char hello[PATH_MAX], ketch[PATH_MAX], bound_faults[PATH_MAX];

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

double bench_median(double *samples, size_t count)
{
	qsort(samples, count, sizeof *samples, compare);
	return samples[count / 2];
}

double bench_records[BENCH_RECORDS];
unsigned bench_recorded;

/* One batch: what it returns, or the median of what it recorded. */
static double batch_of(double value)
{
	unsigned count = bench_recorded;
	bench_recorded = 0;
	return count ? bench_median(bench_records, count) : value;
}

static struct row *add(const char *name, const char *what, const char *unit, const char *reach)
{
	struct row *row = &rows[row_count++];
	*row = (struct row){
		.name = name, .what = what, .unit = unit, .baseline = -1, .reach = reach};
	return row;
}

static void show(const struct row *row)
{
	printf("%-30s %12.2f %-3s", row->name, row->value, row->unit);
	if (row->baseline >= 0)
		printf(" %12.2f %-3s %8.3f", row->baseline, row->unit, row->ratio);
	else
		printf(" %16s %8s", "", "");
	printf("  %-12s %s\n", row->reach ? row->reach : "", row->what);
	fflush(stdout);
}

void bench_measure(const char *name, const char *what, const char *reach,
		   double (*figure)(unsigned), double (*baseline)(unsigned), unsigned count,
		   unsigned samples)
{
	double values[BENCH_SAMPLES], baselines[BENCH_SAMPLES];
	struct row *row = add(name, what, "ns", reach);
	for (unsigned i = 0; i < samples; i++) {
		values[i] = batch_of(bench_in_kernel(figure, count));
		baselines[i] = batch_of(baseline(count));
	}
	row->value = bench_median(values, samples);
	row->baseline = bench_median(baselines, samples);
	row->ratio = row->value / row->baseline;
}

void bench_measure_rate(const char *name, const char *what, const char *reach,
			double (*figure)(unsigned), double (*baseline)(unsigned), unsigned count,
			unsigned samples)
{
	bench_measure(name, what, reach, figure, baseline, count, samples);
	struct row *row = &rows[row_count - 1];
	row->unit = "/s";
	row->value = 1e9 / row->value;
	row->baseline = 1e9 / row->baseline;
	row->ratio = row->value / row->baseline;
}

static void calibrate(const char *name, const char *what, double (*figure)(unsigned),
		      unsigned count)
{
	double values[BENCH_SAMPLES];
	struct row *row = add(name, what, "ns", NULL);
	for (unsigned i = 0; i < BENCH_SAMPLES; i++)
		values[i] = figure(count);
	row->value = bench_median(values, BENCH_SAMPLES);
}

static void measure_process(void)
{
	const char *const run[] = {ketch, "run", hello, NULL};
	const char *const nothing[] = {"/bin/true", NULL};
	double values[BENCH_SAMPLES], baselines[BENCH_SAMPLES];
	struct row *row = add("run.wall", "`ketch run hello.sys` as a process, against /bin/true",
			      "ms", "<= 15 above");
	for (unsigned i = 0; i < BENCH_SAMPLES; i++) {
		values[i] = bench_process(run) / 1e6;
		baselines[i] = bench_process(nothing) / 1e6;
	}
	row->value = bench_median(values, BENCH_SAMPLES);
	row->baseline = bench_median(baselines, BENCH_SAMPLES);
	row->ratio = row->value / row->baseline;
}

/* To DriverEntry, whose greeting is the sign; `baseline` 0: none. */
static bool measure_boot(void)
{
	/* It waits so that its memory can be read while it is there. */
	const char *const run[] = {ketch, "run", "-p", "256", "-P", "256", hello, "wait:100", NULL};
	double values[BENCH_SAMPLES], baselines[BENCH_SAMPLES], memory[BENCH_SAMPLES];
	for (unsigned i = 0; i < BENCH_SAMPLES; i++) {
		if (!bench_boot(run, &values[i], &memory[i]))
			return false;
		values[i] /= 1e6;
		baselines[i] = baseline_256_threads() / 1e6;
	}
	struct row *row =
		add("boot of 256 processors",
		    "start of the process to DriverEntry, against 256 pthread_create + join", "ms",
		    "<= 250");
	row->value = bench_median(values, BENCH_SAMPLES);
	row->baseline = bench_median(baselines, BENCH_SAMPLES);
	row->ratio = row->value / row->baseline;
	row = add("boot of 256 processors, resident", "most memory until DriverEntry", "MiB",
		  "<= 64");
	row->value = bench_median(memory, BENCH_SAMPLES);
	return true;
}

/* Of 64 processor change callbacks, and of additions with one. Last: the machine is large behind
 * it. */
static void change_callbacks(void)
{
	kernel_change_begin(64);
}

static void change_callback(void)
{
	kernel_change_begin(1);
}

static void measure_processors(void)
{
	bench_call_kernel(change_callbacks);
	bench_measure("processor.notify", "64 callbacks, one phase, verifier off, against a call",
		      "<= 20 ns", kernel_processor_notify, baseline_empty_call, 2000,
		      BENCH_SAMPLES);
	bench_call_kernel(kernel_change_end);
	bench_call_kernel(change_callback);
	bench_measure("processor.add",
		      "1 callback, against pthread_create, first instruction, handshake", "<= 3",
		      kernel_processor_add, baseline_thread_start, 16, BENCH_SAMPLES);
	bench_call_kernel(kernel_change_end);
}

/* Readers of one side run only while that side is measured: they would take the other's processors
 * away. */
static void measure_busy_deregister(void)
{
	double values[BENCH_SAMPLES], baselines[BENCH_SAMPLES];
	const unsigned samples = 25, count = 100;
	struct row *row =
		add("registry.deregister",
		    "3 processors in continuous NMI dispatch, against liburcu synchronize_rcu",
		    "ns", "<= 1.0");
	for (unsigned i = 0; i < samples; i++) {
		bench_call_kernel(kernel_dispatchers_begin);
		values[i] = batch_of(bench_in_kernel(kernel_deregister_busy, count));
		bench_call_kernel(kernel_dispatchers_end);
		baseline_readers_begin(true);
		baselines[i] = batch_of(baseline_urcu_busy(count));
		baseline_readers_end();
	}
	row->value = bench_median(values, samples);
	row->baseline = bench_median(baselines, samples);
	row->ratio = row->value / row->baseline;
}

/* All threads of this process, and what they start, on one processor of the host; or on all. */
static void pin(bool one)
{
	static cpu_set_t all, first;
	if (one) {
		sched_getaffinity(0, sizeof all, &all);
		CPU_ZERO(&first);
		for (int cpu = 0; cpu < CPU_SETSIZE && !CPU_COUNT(&first); cpu++) {
			if (CPU_ISSET(cpu, &all))
				CPU_SET(cpu, &first);
		}
	}
	DIR *tasks = opendir("/proc/self/task");
	for (struct dirent *task; tasks && (task = readdir(tasks));)
		if (task->d_name[0] != '.')
			sched_setaffinity(atoi(task->d_name), sizeof all, one ? &first : &all);
	if (tasks)
		closedir(tasks);
}

/* The host's scheduler has the tracer and the program share a processor in some runs and in others
 * not, which is twice as slow: here they always do. */
static void measure_bound(void)
{
	pin(true);
	bench_measure("bound.handled",
		      "fault to callback to resumed, separate process, against a bare tracer",
		      "<= 1.25", kernel_bound_handled, baseline_bound, 1000, BENCH_SAMPLES);
	pin(false);
}

static bool find(void)
{
	char self[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
	if (length < 0)
		return false;
	self[length] = 0;
	*strrchr(self, '/') = 0;
	static const char *const drivers[] = {"hello.sys", "../examples/hello.sys",
					      "examples/hello.sys"};
	static const char *const commands[] = {"ketch", "../src/cli/ketch", "src/cli/ketch"};
	for (size_t i = 0; i < 3 && !*hello; i++) {
		snprintf(hello, sizeof hello, "%.2000s/%s", self, drivers[i]);
		if (access(hello, R_OK))
			*hello = 0;
	}
	for (size_t i = 0; i < 3 && !*ketch; i++) {
		snprintf(ketch, sizeof ketch, "%.2000s/%s", self, commands[i]);
		if (access(ketch, X_OK))
			*ketch = 0;
	}
	snprintf(bound_faults, sizeof bound_faults, "%.2000s/bound_faults", self);
	return *hello && *ketch && !access(bound_faults, X_OK);
}

static bool load_hello(void)
{
	static char file[1 << 20];
	FILE *in = fopen(hello, "rb");
	size_t size = in ? fread(file, 1, sizeof file, in) : 0;
	if (in)
		fclose(in);
	kernel_driver_set("hello.sys", file, size);
	return size != 0;
}

static void print_json(void)
{
	json_t *list = json_array();
	for (size_t i = 0; i < row_count; i++) {
		const struct row *row = &rows[i];
		json_t *one = json_pack("{s:s, s:f, s:s}", "name", row->name, "value", row->value,
					"unit", row->unit);
		json_object_set_new(one, "baseline",
				    row->baseline < 0 ? json_null() : json_real(row->baseline));
		json_object_set_new(one, "ratio",
				    row->baseline < 0 ? json_null() : json_real(row->ratio));
		json_array_append_new(list, one);
	}
	json_dumpf(list, stdout, JSON_INDENT(1));
	putchar('\n');
}

int main(int argc, char **argv)
{
	struct ketch_options options = {
		.processors = 4, .maximum_processors = 1280, .group_size = 64};
	bool json = argc == 2 && !strcmp(argv[1], "--json");
	if (argc > 1 && !json) {
		fprintf(stderr, "usage: ketch-bench [--json]\n");
		return 2;
	}
	if (!find() || !load_hello()) {
		fprintf(stderr,
			"ketch-bench: hello.sys, ketch and bound_faults are not beside it (run: "
			"./x build)\n");
		return 2;
	}
	if (!ketch_boot(&options)) {
		fprintf(stderr, "ketch-bench: %s\n", ketch_message());
		return 2;
	}
	baseline_begin(hello);
	kernel_bound_set(bound_faults);
	baseline_bound_set(bound_faults);

	calibrate("calibration.call", "an empty call through a pointer", baseline_empty_call,
		  100000);
	calibrate("calibration.memcpy", "memcpy of 64 KiB", baseline_memcpy, 500);
	calibrate("calibration.tgkill", "tgkill to self, empty handler", baseline_tgkill_self,
		  2000);

	bench_call_kernel(kernel_callback_begin);
	bench_measure("nmi.self", "send to callback to resumed, against tgkill to self", "<= 1.15",
		      kernel_nmi_self, baseline_tgkill_self, 2000, BENCH_SAMPLES);
	bench_measure("nmi.cross", "send to callback, other processor busy, against tgkill",
		      "<= 1.20", kernel_nmi_cross, baseline_tgkill_cross, 500, BENCH_SAMPLES);
	bench_call_kernel(kernel_callbacks_end);
	bench_measure("nmi.dispatch.per_callback", "64 callbacks, against 64 pointers in an array",
		      "<= 1.5", kernel_nmi_callback, baseline_array_call, 800, BENCH_SAMPLES);

	baseline_readers_begin(false);
	bench_measure("registry.register+deregister",
		      "idle, against liburcu-memb with two quiet threads", "<= 1.0",
		      kernel_register_deregister, baseline_urcu_idle, 500, BENCH_SAMPLES);
	baseline_readers_end();
	measure_busy_deregister();
	measure_bound();
	bench_measure("irql.raise+lower", "called form, against an empty call", "<= 5 ns",
		      kernel_irql, baseline_empty_call, 100000, BENCH_SAMPLES);
	if (!bench_ndk_rows()) {
		fprintf(stderr, "ketch-bench: two NDK ends could not be connected\n");
		return 2;
	}
	/* hello.sys greets on standard output. */
	int out = dup(STDOUT_FILENO);
	if (!freopen("/dev/null", "w", stdout))
		return 2;
	bench_measure("driver.load+unload",
		      "hello.sys in process, against open, mmap, mprotect, munmap", "<= 3",
		      kernel_load_unload, baseline_map, 20, BENCH_SAMPLES);
	measure_processors();
	ketch_wait(20);
	ketch_halt();
	fflush(stdout);
	dup2(out, STDOUT_FILENO);
	/* The machine buried the orphans of user programs; these children are waited for. */
	signal(SIGCHLD, SIG_DFL);
	measure_process();
	if (!measure_boot()) {
		fprintf(stderr, "ketch-bench: a machine of 256 processors did not boot\n");
		return 2;
	}

	if (json) {
		print_json();
	} else {
		printf("%-30s %16s %16s %8s  %-12s\n", "figure", "value", "baseline", "ratio",
		       "reach");
		for (size_t i = 0; i < row_count; i++)
			show(&rows[i]);
	}
	fflush(stdout);
	_exit(0); /* processors still sleep in this process */
}
