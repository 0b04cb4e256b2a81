/* SPDX-License-Identifier: MIT */
/*
 * signals64.c: what a program may expect of signals, stops, children and of what it is started
 * with, while it is traced. Prints FAIL lines; exits with 0.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("FAIL line %d: %s (errno %d)\n", __LINE__, #condition, errno);      \
			fflush(stdout);                                                            \
		}                                                                                  \
	} while (0)

static volatile sig_atomic_t seen, code;
static void *volatile address;
static int values[8];

static void count(int number)
{
	seen = number;
}

static void on_value(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	values[seen++] = info->si_value.sival_int;
}

static void on_fault(int number, siginfo_t *info, void *raw)
{
	ucontext_t *context = raw;
	seen = number;
	code = info->si_code;
	address = info->si_addr;
	if (number == SIGSEGV && info->si_code > 0)
		context->uc_mcontext.gregs[REG_RIP] += 2; /* the faults below are 2 bytes long */
}

static void handle(int number, void (*plain)(int), void (*full)(int, siginfo_t *, void *),
		   int flags)
{
	struct sigaction action = {.sa_flags = flags};
	if (full)
		action.sa_sigaction = full, action.sa_flags |= SA_SIGINFO;
	else
		action.sa_handler = plain;
	CHECK(sigaction(number, &action, NULL) == 0);
}

static void beginnings(void)
{
	sigset_t mask;
	struct sigaction action;
	int files = 0, signal_number;
	CHECK(sigprocmask(SIG_SETMASK, NULL, &mask) == 0);
	for (signal_number = 1; signal_number < 65; signal_number++) {
		if (signal_number == 32 || signal_number == 33)
			continue;
		CHECK(!sigismember(&mask, signal_number));
		CHECK(sigaction(signal_number, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
	}
	DIR *folder = opendir("/proc/self/fd");
	for (struct dirent *entry; (entry = readdir(folder));)
		files += entry->d_name[0] != '.';
	closedir(folder);
	CHECK(files <= 4); /* 0, 1, 2 and the folder */
	CHECK(prctl(PR_GET_TIMERSLACK) == 50000);
	CHECK(prctl(PR_GET_PDEATHSIG, &signal_number) == 0 && signal_number == 0);
}

static void interrupted_calls(void)
{
	struct itimerval soon = {.it_value.tv_usec = 30000}, never = {{0, 0}, {0, 0}};
	int pipes[2];
	char byte;
	CHECK(pipe(pipes) == 0);
	handle(SIGALRM, count, NULL, 0);
	seen = 0;
	setitimer(ITIMER_REAL, &soon, NULL);
	CHECK(read(pipes[0], &byte, 1) == -1 && errno == EINTR && seen == SIGALRM);
	/* Begun again after the handler, until somebody writes. */
	handle(SIGALRM, count, NULL, SA_RESTART);
	seen = 0;
	setitimer(ITIMER_REAL, &soon, NULL);
	pid_t child = fork();
	if (child == 0) {
		usleep(100000);
		_exit(write(pipes[1], "x", 1) == 1 ? 0 : 1);
	}
	CHECK(read(pipes[0], &byte, 1) == 1 && byte == 'x' && seen == SIGALRM);
	setitimer(ITIMER_REAL, &never, NULL);
	CHECK(waitpid(child, NULL, 0) == child);
	close(pipes[0]);
	close(pipes[1]);
}

static void queued(void)
{
	sigset_t all, before;
	sigfillset(&all);
	handle(SIGRTMIN + 3, NULL, on_value, 0);
	sigprocmask(SIG_BLOCK, &all, &before);
	seen = 0;
	for (int i = 0; i < 5; i++)
		CHECK(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 100 + i}) == 0);
	CHECK(seen == 0);
	sigprocmask(SIG_SETMASK, &before, NULL);
	CHECK(seen == 5);
	for (int i = 0; i < 5; i++)
		CHECK(values[i] == 100 + i);
}

static void faults(void)
{
	handle(SIGTRAP, NULL, on_fault, 0);
	handle(SIGSEGV, NULL, on_fault, 0);
	seen = 0;
	__asm__ volatile("int3");
	CHECK(seen == SIGTRAP && code == SI_KERNEL);
	seen = 0;
	__asm__ volatile("movb %%al, (%0)" : : "r"((uint64_t)64), "a"(0) : "memory");
	CHECK(seen == SIGSEGV && code == SEGV_MAPERR && address == (void *)64);
	seen = 0;
	__asm__ volatile("movb %%al, (%0)" : : "r"(1ull << 63), "a"(0) : "memory");
	CHECK(seen == SIGSEGV && code == SI_KERNEL);
	seen = 0;
	raise(SIGSEGV);
	CHECK(seen == SIGSEGV && code == SI_TKILL);
	seen = 0;
	kill(getpid(), SIGTRAP);
	CHECK(seen == SIGTRAP && code == SI_USER);
}

static void stops(void)
{
	int status;
	siginfo_t info;
	handle(SIGCHLD, NULL, on_fault, SA_RESTART);
	pid_t child = fork();
	if (child == 0) {
		struct timespec nap = {.tv_nsec = 150000000};
		/* Stopped and continued in the middle it goes on, and is not interrupted. */
		_exit(nanosleep(&nap, NULL) == 0 ? 9 : 1);
	}
	usleep(30000);
	CHECK(kill(child, SIGSTOP) == 0);
	CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status) &&
	      WSTOPSIG(status) == SIGSTOP);
	CHECK(waitpid(child, &status, WUNTRACED | WNOHANG) == 0); /* and stays so */
	usleep(250000);                                           /* for longer than its nap */
	CHECK(waitpid(child, &status, WNOHANG) == 0);
	CHECK(kill(child, SIGCONT) == 0);
	CHECK(waitpid(child, &status, WCONTINUED) == child && WIFCONTINUED(status));
	seen = 0;
	CHECK(waitid(P_PID, (id_t)child, &info, WEXITED) == 0 && info.si_code == CLD_EXITED &&
	      info.si_status == 9);
	CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
	/* Killed while it is stopped. */
	child = fork();
	if (child == 0)
		for (;;)
			pause();
	kill(child, SIGTSTP);
	CHECK(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status) &&
	      WSTOPSIG(status) == SIGTSTP);
	kill(child, SIGKILL);
	CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
	      WTERMSIG(status) == SIGKILL);
	handle(SIGCHLD, SIG_DFL, NULL, 0);
}

static void *with_mask(void *wanted)
{
	sigset_t mask;
	int signal_number = 0;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	for (int i = 1; i < 32; i++)
		CHECK(sigismember(&mask, i) == sigismember(wanted, i));
	CHECK(prctl(PR_GET_PDEATHSIG, &signal_number) == 0 && signal_number == 0);
	return NULL;
}

/* Threads and processes are handed from tracer to tracer: nothing of that may stay. */
static void newborns(void)
{
	sigset_t some, before;
	pthread_t thread;
	int status;
	sigemptyset(&some);
	sigaddset(&some, SIGUSR1);
	sigaddset(&some, SIGHUP);
	pthread_sigmask(SIG_SETMASK, &some, &before);
	for (int i = 0; i < 10; i++) {
		CHECK(pthread_create(&thread, NULL, with_mask, &some) == 0);
		CHECK(pthread_kill(thread, SIGUSR1) == 0); /* blocked there, too */
		CHECK(pthread_join(thread, NULL) == 0);
		pid_t parent = getpid(), child = fork();
		if (child == 0) {
			with_mask(&some);
			CHECK(getppid() == parent);
			_exit(33);
		}
		CHECK(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 33);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	/* A signal that arrives before it has run an instruction. */
	for (int i = 0; i < 20; i++) {
		pid_t child = vfork();
		if (child == 0) {
			execl("/bin/true", "true", NULL);
			_exit(1);
		}
		CHECK(waitpid(child, &status, 0) == child && status == 0);
		child = fork();
		if (child == 0)
			for (;;)
				pause();
		CHECK(kill(child, i & 1 ? SIGTERM : SIGSTOP) == 0);
		CHECK(waitpid(child, &status, WUNTRACED) == child);
		if (i & 1) {
			CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
			continue;
		}
		CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
		kill(child, SIGTERM);
		kill(child, SIGCONT);
		CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
	}
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	beginnings();
	interrupted_calls();
	queued();
	faults();
	stops();
	newborns();
	printf("PASS signals\n");
	return 0;
}
