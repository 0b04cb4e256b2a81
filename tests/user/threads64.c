/* SPDX-License-Identifier: MIT */
/*
 * threads64.c: a 64-bit program with threads, each with 32-bit code whose BOUND fails.
 *   run T N        T threads, N exceptions each; every index must come back in range
 *   churn N        N threads come and go, each with one exception; and processes between them
 *   leader         its first thread ends before the others
 *   orphan         it makes a process, and ends without having waited for it
 *   exit, kill, exec PROGRAM ...   another thread ends the program, or becomes another, while this
 * one is in a callback (which waits) stop           it is stopped and continued while one of its
 * threads is in a callback
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bound64.h"

static int rounds;

static void check(struct bound_page *page, int index)
{
	int result = bound_run(page, index);
	if (result < 0 || result > 9) {
		printf("FAIL index %d came back as %d\n", index, result);
		fflush(stdout);
		_exit(99);
	}
}

static void *faults(void *unused)
{
	struct bound_page *page = bound_page_create();
	for (int i = 0; i < rounds; i++)
		check(page, 1000 + i);
	munmap(page, 4096);
	return unused;
}

static void run(int count)
{
	pthread_t threads[64];
	for (int i = 0; i < count; i++)
		pthread_create(&threads[i], NULL, faults, NULL);
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

static void churn(int count)
{
	rounds = 1;
	for (int i = 0; i < count; i++) {
		run(4);
		pid_t child = fork();
		int status;
		if (child == 0) {
			run(2);
			_exit(i & 63);
		}
		if (waitpid(child, &status, 0) != child || !WIFEXITED(status) ||
		    WEXITSTATUS(status) != (i & 63)) {
			printf("FAIL child's status %x\n", status);
			exit(99);
		}
	}
}

static void in_callback(const char *what, char **words)
{
	pthread_t thread;
	rounds = 1;
	pthread_create(&thread, NULL, faults, NULL);
	usleep(300000); /* the callback waits for longer */
	if (!strcmp(what, "exit"))
		_exit(5);
	if (!strcmp(what, "kill"))
		kill(getpid(), SIGKILL);
	if (!strcmp(what, "exec")) {
		execv(words[0], words);
		printf("FAIL exec\n");
	}
	if (!strcmp(what, "stop")) {
		pid_t parent = getpid(), child = fork();
		if (child == 0) {
			kill(parent, SIGSTOP);
			usleep(200000);
			kill(parent, SIGCONT);
			_exit(0);
		}
		pthread_join(thread, NULL);
		waitpid(child, NULL, 0);
	}
}

static void *late(void *unused)
{
	usleep(100000);
	run(2);
	faults(NULL);
	_exit(6);
	return unused;
}

int main(int count, char **words)
{
	pthread_t thread;
	if (count > 3 && !strcmp(words[1], "run")) {
		rounds = atoi(words[3]);
		run(atoi(words[2]));
	} else if (count > 2 && !strcmp(words[1], "churn")) {
		churn(atoi(words[2]));
	} else if (count > 1 && !strcmp(words[1], "leader")) {
		rounds = 5;
		pthread_create(&thread, NULL, late, NULL);
		pthread_exit(NULL);
	} else if (count > 1 && !strcmp(words[1], "orphan")) {
		if (fork() == 0)
			_exit(0);
		usleep(100000);
	} else if (count > 1) {
		in_callback(words[1], words + 2);
	}
	return 0;
}
