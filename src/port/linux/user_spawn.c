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
 * waited for all the same.
 */
static void take_orphans(void)
{
	static _Atomic bool taken;
	if (atomic_exchange(&taken, true))
		return;
	const struct sigaction bury = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
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

/* _Fork runs no handlers of libraries and takes no lock. */
static pid_t fork_blocked(const struct port_user_start *start, const struct pipes *pipes)
{
	uint64_t all = ~0ull, before;
	host_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before, sizeof all, 0, 0);
	pid_t pid = _Fork();
	if (pid == 0)
		become(start, pipes);
	int error = errno;
	host_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, sizeof before, 0, 0);
	errno = error;
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
	if (pipe2(pipes.go, O_CLOEXEC) || pipe2(pipes.result, O_CLOEXEC) ||
	    (pid = fork_blocked(start, &pipes)) < 0) {
		refuse(start, errno, "the host refused a process");
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
		while (user_wait(pid, &status) >= 0 && WIFSTOPPED(status))
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
