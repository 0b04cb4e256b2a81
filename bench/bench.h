/* SPDX-License-Identifier: MIT */
/*
 * bench.h: rows of `./x bench`, measured against a baseline in the same run.
 *
 * main.c and baseline.c are ordinary programs of the host; kernel.c runs on batons and is compiled
 * like the core.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct row {
	const char *name, *what, *unit; /* ns, us, ms, MiB or /s */
	double value, baseline, ratio;  /* medians; baseline below 0: none */
	const char *reach;
};

uint64_t bench_now(void); /* ns */
double bench_median(double *samples, size_t count);

#define BENCH_SAMPLES 31

/*
 * Operations that the host's scheduler can stretch by a thousand are timed one by one: a batch
 * records each, stops after BENCH_BATCH_NS, and stands for the median of its records.
 */
#define BENCH_BATCH_NS 100000000u
#define BENCH_RECORDS  512
extern double bench_records[BENCH_RECORDS];
extern unsigned bench_recorded;
static inline void bench_record(uint64_t ns)
{
	if (bench_recorded < BENCH_RECORDS)
		bench_records[bench_recorded++] = (double)ns;
}

/* A figure of the machine against one of the host, as a row; batches alternate, so that both meet
 * the same noise. */
void bench_measure(const char *name, const char *what, const char *reach,
		   double (*figure)(unsigned), double (*baseline)(unsigned), unsigned count,
		   unsigned samples);
/* The same, as a rate: times a second (of 1 MiB: MiB/s). */
void bench_measure_rate(const char *name, const char *what, const char *reach,
			double (*figure)(unsigned), double (*baseline)(unsigned), unsigned count,
			unsigned samples);
/* The rows of ndk_rows.c. False: they could not be measured. */
bool bench_ndk_rows(void);

/* One batch each: ns for one operation. On a baton, in the control thread. */
double kernel_nmi_self(unsigned count);
double kernel_nmi_cross(unsigned count);
double kernel_nmi_callback(unsigned count);
double kernel_register_deregister(unsigned count);
double kernel_deregister_busy(unsigned count);
double kernel_irql(unsigned count);
double kernel_load_unload(unsigned count);
double kernel_processor_add(unsigned count);
double kernel_processor_notify(unsigned count);
/* Set-up and take-down of what several batches share. */
void kernel_callback_begin(void);
void kernel_callbacks_end(void);
void kernel_dispatchers_begin(void);
void kernel_dispatchers_end(void);
void kernel_change_begin(unsigned count);
void kernel_change_end(void);
void kernel_driver_set(const char *name, const void *file, size_t size);

/*
 * Routines of an NMI callback's form that return what they are given, at several addresses. A call
 * takes half as long again when its target falls together with its caller in the host's branch
 * predictor (the same list, in one process: 1.6 ns a callback at most addresses, 2.4 at others),
 * and which do depends on where the process was loaded. So a batch tries all and takes the fastest.
 */
#define BENCH_PLACES 16
#define BENCH_STRIDE 4160
extern const char bench_places[];
static inline const void *bench_place(unsigned number)
{
	return bench_places + (size_t)number * BENCH_STRIDE;
}

/* kernel_bound.c; the program is bound_faults. */
double kernel_bound_handled(unsigned count);
void kernel_bound_set(const char *path);

/* Run a batch in the machine's control thread. */
double bench_in_kernel(double (*batch)(unsigned count), unsigned count);
void bench_call_kernel(void (*call)(void));
/* How long a dispatch or a read-side section lasts in the deregister rows. */
#define BENCH_HOLD_NS 10000u

/* baseline.c */
double baseline_tgkill_self(unsigned count);
double baseline_tgkill_cross(unsigned count);
double baseline_array_call(unsigned count);
double baseline_urcu_idle(unsigned count);
double baseline_urcu_busy(unsigned count);
double baseline_empty_call(unsigned count);
double baseline_memcpy(unsigned count);
double baseline_map(unsigned count);
void baseline_begin(const char *image);
void baseline_readers_begin(bool busy);
void baseline_readers_end(void);
/* baseline_bound.c */
double baseline_bound(unsigned count);
void baseline_bound_set(const char *path);
double bench_process(const char *const *words);

/* processor.c */
double baseline_thread_start(unsigned count);
double baseline_256_threads(void); /* ns for all */
/* `ketch run` until its driver prints: ns, and MiB that were resident at most. */
bool bench_boot(const char *const *words, double *ns, double *mib);
