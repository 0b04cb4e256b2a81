/* SPDX-License-Identifier: MIT */
/*
 * user_spawn.c: start a user program: fork, trace, exec.
 *
 * Context: a kernel thread's host thread, without a baton. The child waits for a byte before it
 * execs, so it is traced (and dies with Ketch, PTRACE_O_EXITKILL) before it can do anything; when
 * Ketch dies earlier the pipe ends instead. It calls nothing but the host.
 *
 * The program gets standard input, output and error, the directory, the environment and the signal
 * mask that Ketch was started with. Handled signals are reset by exec itself; Ketch ignores none
 * that it was not started with ignored. Nothing else of Ketch's is open in it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include "port/linux/user.h"
#include "port/linux/user_layout.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif
#define TIMER_SLACK_NS 50000 /* the host's usual one; kernel threads have less */

extern char **environ;

static uint64_t initial_mask;

void host_user_start(void)
{
	host_syscall(SYS_rt_sigprocmask, SIG_BLOCK, 0, (long)&initial_mask, sizeof initial_mask, 0,
		     0);
}

/*
 * Orphans of programs become ours, so that hosts which let nobody but ancestors trace a process let
 * us; and are buried when they end, for none of ours waits for them. Those that are traced are
 * waited for all the same. A stop of a traced program sends no signal: it would wake the main
 * thread at each fault.
 */
static void take_orphans(void)
{
	static _Atomic bool taken;
	if (atomic_exchange(&taken, true))
		return;
	const struct sigaction bury = {.sa_handler = SIG_DFL,
				       .sa_flags = SA_NOCLDWAIT | SA_NOCLDSTOP};
	sigaction(SIGCHLD, &bury, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

struct pipes {
	int go[2], result[2];
};

/* The child, in a copy of a process whose other threads are gone. */
static _Noreturn void become(const struct port_user_start *start, const struct pipes *pipes)
{
	uint8_t byte;
	host_syscall(SYS_close, pipes->go[1], 0, 0, 0, 0, 0);
	if (host_syscall(SYS_read, pipes->go[0], (long)&byte, 1, 0, 0, 0) != 1)
		host_syscall(SYS_exit_group, 127, 0, 0, 0, 0, 0);
	if (host_syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC, 0, 0, 0) != 0) {
		for (int file = 3; file < 1024; file++)
			host_syscall(SYS_fcntl, file, F_SETFD, FD_CLOEXEC, 0, 0, 0);
	}
	user_layout_prepare();
	host_syscall(SYS_prctl, PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0, 0);
	host_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (long)&initial_mask, 0, sizeof initial_mask,
		     0, 0);
	int error = -(int)host_syscall(SYS_execve, (long)start->arguments[0],
				       (long)start->arguments, (long)environ, 0, 0, 0);
	host_syscall(SYS_write, pipes->result[1], (long)&error, sizeof error, 0, 0, 0);
	for (;;)
		host_syscall(SYS_exit_group, 127, 0, 0, 0, 0, 0);
}

static bool refuse(struct port_user_start *start, int error, const char *what)
{
	snprintf(start->what, sizeof start->what, "%s: %s", what, strerror(error));
	return false;
}

/* Until the new program's first stop. */
static bool await_exec(struct port_user *user, const struct pipes *pipes,
		       struct port_user_start *start)
{
	int status, error = 0;
	for (;;) {
		if (user_wait((int32_t)user->tid, &status) < 0)
			return refuse(start, ECHILD, "it cannot be traced");
		if (!WIFSTOPPED(status))
			break;
		user_stopped(user, status);
		if (status >> 16 == PTRACE_EVENT_EXEC)
			return true;
		user_go(user, PTRACE_CONT);
	}
	if (read(pipes->result[0], &error, sizeof error) != sizeof error)
		return refuse(start, EINTR, "it was killed before it began");
	return refuse(start, error, "it cannot be run");
}

/*
 * The thread that forks is the parent, and a wait by a parent finds its children whoever traces
 * them: once an exec has given the process to another tracer, two would wait for it. So a thread
 * forks that never waits.
 */
static struct {
	pthread_mutex_t lock; /* one after the other */
	bool runs;
	_Atomic uint32_t asked, done;
	const struct port_user_start *start;
	const struct pipes *pipes;
	pid_t pid;
	int error;
} forker = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *forker_main(void *unused)
{
	(void)unused;
	for (uint32_t number = 0;; number++) {
		while (atomic_load(&forker.asked) == number)
			host_futex_wait(&forker.asked, number, NULL);
		/* Runs no handlers of libraries and takes no lock. All signals are blocked here. */
		forker.pid = _Fork();
		if (forker.pid == 0)
			become(forker.start, forker.pipes);
		forker.error = errno;
		atomic_store(&forker.done, number + 1);
		host_futex_wake(&forker.done, 1);
	}
	return NULL;
}

/* The child's id; negative: errno. */
static pid_t fork_aside(const struct port_user_start *start, const struct pipes *pipes)
{
	pid_t pid = -EAGAIN;
	pthread_mutex_lock(&forker.lock);
	if (forker.runs || host_device_start(forker_main, NULL, "ketch-programs")) {
		forker.runs = true;
		forker.start = start;
		forker.pipes = pipes;
		uint32_t done = atomic_load(&forker.done);
		atomic_fetch_add(&forker.asked, 1);
		host_futex_wake(&forker.asked, 1);
		while (atomic_load(&forker.done) == done)
			host_futex_wait(&forker.done, done, NULL);
		pid = forker.pid < 0 ? -forker.error : forker.pid;
	}
	pthread_mutex_unlock(&forker.lock);
	return pid;
}

struct port_user *port_user_spawn(struct port_user_start *start, struct port_process **process)
{
	struct pipes pipes = {{-1, -1}, {-1, -1}};
	struct port_user *user = NULL;
	pid_t pid = -1;
	bool started = false;
	*process = NULL;
	take_orphans();
	if (pipe2(pipes.go, O_CLOEXEC) || pipe2(pipes.result, O_CLOEXEC)) {
		refuse(start, errno, "the host refused a pipe");
		goto out;
	}
	pid = fork_aside(start, &pipes);
	if (pid < 0) {
		refuse(start, -pid, "the host refused a process");
		goto out;
	}
	close(pipes.go[0]);
	close(pipes.result[1]);
	pipes.go[0] = pipes.result[1] = -1;
	*process = user_process_create((uint32_t)pid);
	user = *process ? user_create(*process, (uint32_t)pid) : NULL;
	long traced = user_ptrace(PTRACE_SEIZE, (uint32_t)pid, 0, (void *)USER_OPTIONS);
	if (!user || traced != 0) {
		int status;
		refuse(start, user ? (int)-traced : ENOMEM, "it cannot be traced");
		kill(pid, SIGKILL);
		while (traced == 0 && user_wait(pid, &status) >= 0 && WIFSTOPPED(status))
			user_ptrace(PTRACE_CONT, (uint32_t)pid, 0, NULL);
		goto out;
	}
	if (write(pipes.go[1], "", 1) == 1)
		started = await_exec(user, &pipes, start);
	else
		refuse(start, errno, "it cannot be started");
	if (started) {
		user_layout_lower(user);
		user_process_image_read(*process);
	}
out:
	for (int i = 0; i < 2; i++) {
		if (pipes.go[i] >= 0)
			close(pipes.go[i]);
		if (pipes.result[i] >= 0)
			close(pipes.result[i]);
	}
	if (started)
		return user;
	if (user)
		port_user_release(user);
	if (*process)
		port_process_release(*process);
	*process = NULL;
	return NULL;
}
