/* SPDX-License-Identifier: MIT */
/* baseline.c: what each row is compared with: the same work by the host's own means, or by
 * Userspace RCU. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#define RCU_MEMBARRIER
#include <urcu.h>
#include <urcu/rculist.h>
#include "bench/bench.h"

extern char **environ;

uint64_t bench_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- Signals: an empty handler, with the flags and the alternate stack of the NMI's ---- */

static volatile uint64_t handled;

static void on_signal(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	(void)context;
	handled++;
}

static void use_alternate_stack(void)
{
	stack_t stack = {.ss_size = 128u << 10};
	stack.ss_sp = malloc(stack.ss_size);
	sigaltstack(&stack, NULL);
}

static void tgkill_to(pid_t thread)
{
	static pid_t process;
	if (!process)
		process = getpid();
	syscall(SYS_tgkill, process, thread, SIGWINCH);
}

double baseline_tgkill_self(unsigned count)
{
	pid_t self = gettid();
	uint64_t begin = bench_now();
	for (unsigned i = 0; i < count; i++)
		tgkill_to(self);
	return (double)(bench_now() - begin) / count;
}

static volatile pid_t busy_thread;
static volatile bool busy_stop;

static void *busy_main(void *unused)
{
	(void)unused;
	use_alternate_stack();
	busy_thread = gettid();
	while (!busy_stop)
		;
	return NULL;
}

double baseline_tgkill_cross(unsigned count)
{
	pthread_t thread;
	busy_thread = 0;
	busy_stop = false;
	if (pthread_create(&thread, NULL, busy_main, NULL))
		return -1;
	while (!busy_thread)
		sched_yield();
	uint64_t until = bench_now() + BENCH_BATCH_NS;
	for (unsigned i = 0; i < count && bench_now() < until; i++) {
		uint64_t before = handled, begin = bench_now();
		tgkill_to(busy_thread);
		while (handled == before)
			__builtin_ia32_pause();
		bench_record(bench_now() - begin);
	}
	busy_stop = true;
	pthread_join(thread, NULL);
	return 0;
}

/* ---- Calls ---- */

typedef unsigned char __attribute__((ms_abi)) (*callback)(void *context, unsigned char handled);

static volatile uint64_t first_tick, last_tick;

static unsigned char __attribute__((ms_abi, noinline))
call_empty(void *context, unsigned char handled_before)
{
	(void)context;
	return handled_before;
}

static unsigned char __attribute__((ms_abi, noinline))
call_first(void *context, unsigned char handled_before)
{
	(void)context;
	(void)handled_before;
	first_tick = __builtin_ia32_rdtsc();
	return 1;
}

static unsigned char __attribute__((ms_abi, noinline))
call_last(void *context, unsigned char handled_before)
{
	(void)context;
	last_tick = __builtin_ia32_rdtsc();
	return handled_before;
}

static double call_array(callback empty, unsigned count)
{
	static callback volatile calls[64];
	pid_t self = gettid();
	for (int i = 0; i < 64; i++)
		calls[i] = i == 0 ? call_first : i == 63 ? call_last : empty;
	uint64_t sum = 0, begin_ns = bench_now(), begin = __builtin_ia32_rdtsc();
	for (unsigned n = 0; n < count; n++) {
		unsigned char any = 0;
		for (int i = 0; i < 64; i++)
			any |= calls[i](NULL, any);
		sum += last_tick - first_tick;
		/* As far apart as NMIs are, so that both measure warm code and a cold pipeline. */
		tgkill_to(self);
	}
	double ns_per_tick =
		(double)(bench_now() - begin_ns) / (double)(__builtin_ia32_rdtsc() - begin);
	return (double)sum / count / 64 * ns_per_tick;
}

double baseline_array_call(unsigned count)
{
	double best = 0;
	for (unsigned place = 0; place < BENCH_PLACES; place++) {
		double ns = call_array((callback)bench_place(place), count / BENCH_PLACES);
		if (!place || ns < best)
			best = ns;
	}
	return best;
}

double baseline_empty_call(unsigned count)
{
	callback volatile call = call_empty;
	uint64_t begin = bench_now();
	for (unsigned i = 0; i < count; i++)
		call(NULL, 0);
	return (double)(bench_now() - begin) / count;
}

double baseline_memcpy(unsigned count)
{
	static char from[64 << 10], to[64 << 10];
	uint64_t begin = bench_now();
	for (unsigned i = 0; i < count; i++) {
		memcpy(to, from, sizeof to);
		__asm__ volatile("" : : "r"(to) : "memory");
	}
	return (double)(bench_now() - begin) / count;
}

/* ---- Userspace RCU ---- */

struct node {
	struct cds_list_head list;
	void *routine, *context;
};

static CDS_LIST_HEAD(nodes);
static pthread_t readers[3];
static unsigned reader_count;
static volatile bool reader_stop, reader_busy;
static unsigned reader_ready;

static void *reader_main(void *unused)
{
	(void)unused;
	rcu_register_thread();
	__atomic_add_fetch(&reader_ready, 1, __ATOMIC_SEQ_CST);
	while (!reader_stop) {
		if (!reader_busy) {
			usleep(1000);
			continue;
		}
		rcu_read_lock();
		uint64_t until = bench_now() + BENCH_HOLD_NS;
		while (bench_now() < until)
			;
		rcu_read_unlock();
	}
	rcu_unregister_thread();
	return NULL;
}

void baseline_readers_begin(bool busy)
{
	reader_count = busy ? 3 : 2;
	reader_stop = false;
	reader_busy = busy;
	reader_ready = 0;
	for (unsigned i = 0; i < reader_count; i++)
		pthread_create(&readers[i], NULL, reader_main, NULL);
	while (__atomic_load_n(&reader_ready, __ATOMIC_SEQ_CST) < reader_count)
		sched_yield();
	rcu_register_thread();
}

void baseline_readers_end(void)
{
	reader_stop = true;
	for (unsigned i = 0; i < reader_count; i++)
		pthread_join(readers[i], NULL);
	rcu_unregister_thread();
}

double baseline_urcu_idle(unsigned count)
{
	uint64_t begin = bench_now();
	for (unsigned i = 0; i < count; i++) {
		struct node *node = malloc(sizeof *node);
		node->routine = node->context = NULL;
		cds_list_add_rcu(&node->list, &nodes);
		cds_list_del_rcu(&node->list);
		synchronize_rcu();
		free(node);
	}
	return (double)(bench_now() - begin) / count;
}

double baseline_urcu_busy(unsigned count)
{
	uint64_t until = bench_now() + BENCH_BATCH_NS;
	for (unsigned i = 0; i < count && bench_now() < until; i++) {
		usleep(1000); /* as in kernel_deregister_busy */
		uint64_t begin = bench_now();
		synchronize_rcu();
		bench_record(bench_now() - begin);
	}
	return 0;
}

/* ---- Files and processes ---- */

static const char *image_path;

double baseline_map(unsigned count)
{
	uint64_t begin = bench_now();
	for (unsigned i = 0; i < count; i++) {
		struct stat status;
		int file = open(image_path, O_RDONLY | O_CLOEXEC);
		if (file < 0 || fstat(file, &status))
			return -1;
		size_t size = ((size_t)status.st_size + 4095) & ~(size_t)4095;
		size_t whole = size + 4 * 4096; /* headers and sections, each in pages of its own,
						   as hello.sys has them */
		char *base = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				  -1, 0);
		if (base == MAP_FAILED ||
		    pread(file, base, (size_t)status.st_size, 0) != status.st_size)
			return -1;
		close(file);
		for (unsigned section = 0; section < 4; section++)
			mprotect(base + section * 4096, 4096,
				 section == 1 ? PROT_READ | PROT_EXEC : PROT_READ);
		munmap(base, whole);
	}
	return (double)(bench_now() - begin) / count;
}

void baseline_begin(const char *image)
{
	struct sigaction action = {.sa_sigaction = on_signal,
				   .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
	sigaddset(&action.sa_mask, SIGUSR2);
	sigaction(SIGWINCH, &action, NULL);
	use_alternate_stack();
	image_path = image;
}

double bench_process(const char *const *words)
{
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int status;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	uint64_t begin = bench_now();
	int error = posix_spawn(&pid, words[0], &actions, NULL, (char *const *)(uintptr_t)words,
				environ);
	if (!error)
		waitpid(pid, &status, 0);
	posix_spawn_file_actions_destroy(&actions);
	return error || !WIFEXITED(status) || WEXITSTATUS(status) ? -1
								  : (double)(bench_now() - begin);
}
