/* SPDX-License-Identifier: MIT */
/* baseline_bound.c: the least that a tracer can do for a bound exception: see what it is, and
 * write registers. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bench/bench.h"

static const char *program_path;

void baseline_bound_set(const char *path)
{
	program_path = path;
}

static bool handle(pid_t pid)
{
	siginfo_t info;
	struct user_regs_struct regs;
	unsigned char code[15];
	int bounds[2];
	if (ptrace(PTRACE_GETSIGINFO, pid, 0, &info) || info.si_code != SI_KERNEL ||
	    ptrace(PTRACE_GETREGS, pid, 0, &regs))
		return false;
	struct iovec to = {code, sizeof code}, from = {(void *)regs.rip, sizeof code};
	if (process_vm_readv(pid, &to, 1, &from, 1, 0) < 2 || code[0] != 0x62 || code[1] != 0x0a)
		return false;
	to = (struct iovec){bounds, sizeof bounds};
	from = (struct iovec){(void *)regs.rdx, sizeof bounds};
	if (process_vm_readv(pid, &to, 1, &from, 1, 0) != sizeof bounds ||
	    ((int)regs.rcx >= bounds[0] && (int)regs.rcx <= bounds[1]))
		return false;
	regs.rip += 2;
	return ptrace(PTRACE_SETREGS, pid, 0, &regs) == 0;
}

double baseline_bound(unsigned count)
{
	char number[16];
	int status;
	uint64_t first = 0, last = 0;
	unsigned faults = 0;
	snprintf(number, sizeof number, "%u", count);
	pid_t pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		execl(program_path, program_path, number, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, &status, __WALL); /* the exec */
	ptrace(PTRACE_CONT, pid, 0, 0);
	while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status)) {
		if (WSTOPSIG(status) != SIGSEGV || !handle(pid))
			return -1;
		last = bench_now();
		if (!faults++)
			first = last;
		ptrace(PTRACE_CONT, pid, 0, 0);
	}
	return faults == count ? (double)(last - first) / (count - 1) : -1;
}
