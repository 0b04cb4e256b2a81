/* SPDX-License-Identifier: MIT */
/* processor.c: processors that join and large machines, on the host's side: baselines, and machines
 * that are booted as processes. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bench/bench.h"

extern char **environ;

/* ---- A thread's first instruction, and word of it ---- */

static _Atomic uint32_t running; /* 1: it does; 2: somebody sleeps until it does */

static void *first_instruction(void *unused)
{
	(void)unused;
	if (atomic_exchange(&running, 1) == 2)
		syscall(SYS_futex, &running, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	return NULL;
}

double baseline_thread_start(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		pthread_t thread;
		uint32_t never = 0;
		atomic_store(&running, 0);
		uint64_t begin = bench_now();
		if (pthread_create(&thread, NULL, first_instruction, NULL))
			return -1;
		if (atomic_compare_exchange_strong(&running, &never, 2)) {
			while (atomic_load(&running) == 2)
				syscall(SYS_futex, &running, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
		}
		bench_record(bench_now() - begin);
		pthread_join(thread, NULL);
	}
	return 0;
}

double baseline_256_threads(void)
{
	static pthread_t threads[256];
	uint64_t begin = bench_now();
	for (unsigned i = 0; i < 256; i++) {
		if (pthread_create(&threads[i], NULL, first_instruction, NULL))
			return -1;
	}
	for (unsigned i = 0; i < 256; i++)
		pthread_join(threads[i], NULL);
	return (double)(bench_now() - begin);
}

/* ---- A machine in a process ---- */

static double peak_kib(pid_t pid)
{
	char path[64], line[128];
	double kib = -1;
	snprintf(path, sizeof path, "/proc/%d/status", pid);
	FILE *status = fopen(path, "r");
	while (status && fgets(line, sizeof line, status)) {
		if (!strncmp(line, "VmHWM:", 6))
			kib = strtod(line + 6, NULL);
	}
	if (status)
		fclose(status);
	return kib;
}

/* Until the driver's DriverEntry prints: the time, and the most memory that was resident. */
bool bench_boot(const char *const *words, double *ns, double *mib)
{
	posix_spawn_file_actions_t actions;
	char text[256];
	int ends[2], status = -1;
	pid_t pid;
	if (pipe2(ends, O_CLOEXEC))
		return false;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	uint64_t begin = bench_now();
	int error = posix_spawn(&pid, words[0], &actions, NULL, (char *const *)(uintptr_t)words,
				environ);
	close(ends[1]);
	posix_spawn_file_actions_destroy(&actions);
	bool printed = !error && read(ends[0], text, sizeof text) > 0;
	*ns = (double)(bench_now() - begin);
	*mib = error ? -1 : peak_kib(pid) / 1024;
	while (!error && read(ends[0], text, sizeof text) > 0)
		;
	close(ends[0]);
	if (!error)
		waitpid(pid, &status, 0);
	return printed && *mib > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
