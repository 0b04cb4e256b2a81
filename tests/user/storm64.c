/* SPDX-License-Identifier: MIT */
/*
 * storm64.c: threads whose BOUND fails, a child that stops, continues and signals the process all
 * the while, and an exec in the middle: by the first thread, or, in odd rounds, by another one
 * while the first sleeps. One word: how many rounds are left.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bound64.h"

#define THREADS 5

static volatile sig_atomic_t caught;
static unsigned round_number;

static void on_signal(int number)
{
	caught = number;
}

static void *faults(void *unused)
{
	struct bound_page *page = bound_page_create();
	for (int i = 0; i < 20; i++) {
		int result = bound_run(page, 1000 + i);
		if (result < 0 || result > 9) {
			printf("FAIL index %d came back as %d\n", 1000 + i, result);
			fflush(stdout);
			_exit(99);
		}
	}
	munmap(page, 4096);
	return unused;
}

static void *become(void *words)
{
	usleep(round_number * 7919 % 2000);
	execv(*(char **)words, words);
	printf("FAIL exec\n");
	exit(99);
}

/* Signals that the next program ignores: they come until the child ends. */
static void disturb(pid_t parent)
{
	for (int i = 0; i < 30; i++) {
		kill(parent, SIGWINCH);
		if (i % 7 == 0) {
			kill(parent, SIGSTOP);
			usleep(300);
			kill(parent, SIGCONT);
		}
		usleep(200);
	}
}

int main(int count, char **words)
{
	pthread_t threads[THREADS + 1];
	char next[16];
	char *const later[] = {words[0], next, NULL};
	if (count < 2 || (round_number = (unsigned)atoi(words[1])) == 0)
		return 0;
	snprintf(next, sizeof next, "%u", round_number - 1);
	signal(SIGWINCH, on_signal);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, faults, NULL);
	pid_t parent = getpid(), child = fork();
	if (child == 0) {
		disturb(parent);
		_exit(0);
	}
	if (round_number & 1)
		pthread_create(&threads[THREADS], NULL, become, (void *)(uintptr_t)later);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	while (round_number & 1)
		pause();
	while (waitpid(child, NULL, 0) < 0)
		;
	return become((void *)(uintptr_t)later) != NULL;
}
