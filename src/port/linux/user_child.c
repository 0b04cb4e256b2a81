/* SPDX-License-Identifier: MIT */
/*
 * user_child.c: threads and processes that user programs make: from the tracer of the parent, which
 * the host gives them, to one of their own.
 *
 * Contexts: user_newborn_* in the parent's tracer, port_user_adopt in the child's, both without a
 * baton.
 *
 * A callback may block, so every user thread needs a tracer of its own; but the host attaches a new
 * one to the tracer of its parent, and a tracer can only let go. So the newborn, which has not run
 * an instruction yet, gets all signals blocked and its registers set to the system call it has just
 * returned from, as pause(); then the parent's tracer detaches. The new tracer seizes it in
 * pause(), puts registers and mask back, and has it run.
 *
 * In between nobody traces it, and nothing would end it with Ketch. A thread ends with the other
 * threads of its process, which are traced; a process is told beforehand to die with its parent
 * (PR_SET_PDEATHSIG), which stays stopped until the child is adopted. If that kills it because the
 * parent was killed, then it is as if the fork had come too late: neither has run since.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include "port/linux/sanitize.h"
#include "port/linux/user.h"

void user_newborn_seen(struct port_user *user, uint32_t tid, int status)
{
	struct user_newborn *newborn = user->newborns;
	while (newborn && newborn->tid != tid)
		newborn = newborn->next;
	if (!newborn) {
		newborn = calloc(1, sizeof *newborn);
		if (!newborn) { /* its stop is waited for in vain: end it */
			host_syscall(SYS_kill, tid, SIGKILL, 0, 0, 0, 0);
			return;
		}
		newborn->tid = tid;
		newborn->next = user->newborns;
		user->newborns = newborn;
	}
	newborn->dead = !WIFSTOPPED(status);
	/* Killed before it began. */
	if (!newborn->dead && status >> 16 == PTRACE_EVENT_EXIT)
		user_ptrace(PTRACE_CONT, tid, 0, NULL);
}

/* Wait until the newborn stands still for the first time. False: it died. */
static bool newborn_wait(struct port_user *parent, uint32_t tid)
{
	for (struct user_newborn **link = &parent->newborns; *link; link = &(*link)->next) {
		struct user_newborn *newborn = *link;
		if (newborn->tid != tid)
			continue;
		bool alive = !newborn->dead;
		*link = newborn->next;
		free(newborn);
		return alive;
	}
	int status;
	while (user_wait((int32_t)tid, &status) >= 0 && WIFSTOPPED(status)) {
		if (status >> 16 != PTRACE_EVENT_EXIT)
			return true;
		user_ptrace(PTRACE_CONT, tid, 0, NULL);
	}
	return false;
}

/* It dies with its parent, until it is adopted; or no longer. */
static bool guard(struct port_user *child, int signal)
{
	const uint64_t arguments[6] = {PR_SET_PDEATHSIG, (uint64_t)signal};
	bool done;
	return user_call_run(child, &child->raw, USER_CALL_PRCTL, arguments, &done) == 0;
}

/* Leave it in pause(), without a tracer. */
static bool park(struct port_user *child)
{
	static const uint64_t none[6];
	uint64_t all = ~0ull, address;
	struct user_regs_struct regs = child->raw;
	unsigned bits = user_call_site(child, &regs, &address);
	if (!bits)
		return false;
	user_call_prepare(&regs, bits, address, USER_CALL_PAUSE, none);
	host_delay();
	return user_ptrace(PTRACE_SETSIGMASK, child->tid, sizeof all, &all) == 0 &&
	       user_ptrace(PTRACE_SETREGS, child->tid, 0, &regs) == 0 &&
	       user_ptrace(PTRACE_DETACH, child->tid, 0, NULL) == 0;
}

static struct port_user *newborn_prepare(struct port_user *parent, uint32_t tid, bool same_process)
{
	struct port_process *process = parent->process;
	if (!same_process && !(process = user_process_create(tid)))
		return NULL;
	struct port_user *child = user_create(process, tid);
	if (!child)
		goto fail;
	if (!same_process)
		user_process_image_read(process);
	if (!user_regs_fetch(child) ||
	    user_ptrace(PTRACE_GETSIGMASK, tid, sizeof child->mask, &child->mask) != 0)
		goto fail;
	child->regs_read = false; /* what the core sees is read again once it is adopted */
	child->guarded = !same_process;
	if (child->guarded && !guard(child, SIGKILL))
		goto fail;
	if (park(child))
		return child;
fail:
	if (child)
		port_user_release(child);
	if (!same_process)
		port_process_release(process);
	return NULL;
}

/* The host would let root. */
static void tell_untraced(uint32_t process, uint32_t tid)
{
	char text[200];
	int size = snprintf(text, sizeof text,
			    "ketch: process %u: %u, which it made, cannot be taken over (after "
			    "PR_SET_DUMPABLE only root can): it is ended\n",
			    process, tid);
	port_console_write(PORT_STREAM_REPORT, text, (size_t)size, false);
}

bool user_newborn_take(struct port_user *parent, uint32_t tid, struct port_user_event *event)
{
	if (!newborn_wait(parent, tid))
		return false;
	event->kind = PORT_USER_CHILD;
	event->same_process = host_syscall(SYS_tgkill, parent->process->id, tid, 0, 0, 0, 0) == 0;
	event->child = newborn_prepare(parent, tid, event->same_process);
	if (!event->child) {
		/* Killed, or the host has no memory: a program cannot go on without its thread. */
		int status;
		uint64_t mask;
		if (user_ptrace(PTRACE_GETSIGMASK, tid, sizeof mask, &mask) == 0)
			tell_untraced(parent->process->id, tid);
		host_syscall(SYS_kill, tid, SIGKILL, 0, 0, 0, 0);
		while (user_wait((int32_t)tid, &status) >= 0 && WIFSTOPPED(status))
			user_ptrace(PTRACE_CONT, tid, 0, NULL);
		return false;
	}
	if (!event->same_process)
		event->child_process = event->child->process;
	atomic_store(&parent->child_adopted, 0);
	event->child->adopted = &parent->child_adopted;
	return true;
}

void user_newborns_end(struct port_user *user)
{
	int status;
	while (user->newborns) {
		struct user_newborn *newborn = user->newborns;
		user->newborns = newborn->next;
		if (!newborn->dead)
			host_syscall(SYS_kill, newborn->tid, SIGKILL, 0, 0, 0, 0);
		free(newborn);
	}
	long tid;
	while ((tid = user_wait(-1, &status)) > 0) {
		if (!WIFSTOPPED(status))
			continue;
		host_syscall(SYS_kill, tid, SIGKILL, 0, 0, 0, 0);
		user_ptrace(PTRACE_CONT, (uint32_t)tid, 0, NULL);
	}
}

/* ---- The child's side ---- */

static void parent_may_go(struct port_user *child)
{
	_Atomic uint32_t *adopted = child->adopted;
	child->adopted = NULL;
	if (!adopted)
		return;
	host_delay();
	atomic_store(adopted, 1); /* its owner may be gone from here on */
	host_futex_wake(adopted, 1);
}

static bool adopt(struct port_user *child)
{
	int status;
	host_delay();
	long error = user_ptrace(PTRACE_SEIZE, child->tid, 0, (void *)USER_OPTIONS);
	if (error) {
		if (error != -ESRCH)
			tell_untraced(child->process->id, child->tid);
		return false;
	}
	host_delay();
	user_ptrace(PTRACE_INTERRUPT, child->tid, 0, NULL);
	host_delay();
	if (user_wait((int32_t)child->tid, &status) < 0)
		return false;
	if (!WIFSTOPPED(status) || status >> 16 == PTRACE_EVENT_EXIT) {
		child->last_status = status;
		child->last_status_valid = true;
		return true;
	}
	user_stopped(child, status);
	if (child->guarded)
		guard(child, 0);
	child->raw.orig_rax = ~0ull;
	user_ptrace(PTRACE_SETREGS, child->tid, 0, &child->raw);
	user_ptrace(PTRACE_SETSIGMASK, child->tid, sizeof child->mask, &child->mask);
	child->injected = false;
	return true;
}

bool port_user_adopt(struct port_user *child)
{
	bool alive = adopt(child);
	if (!alive) {
		/* Dead already, unless the host does not let us: nobody will ever wake it. */
		host_syscall(SYS_kill, child->tid, SIGKILL, 0, 0, 0, 0);
		if (child->tid == child->process->id)
			atomic_store(&child->process->pid, 0);
	}
	parent_may_go(child);
	return alive;
}

void port_user_abandon(struct port_user *child)
{
	host_syscall(SYS_kill, child->tid, SIGKILL, 0, 0, 0, 0);
	if (child->tid == child->process->id)
		atomic_store(&child->process->pid, 0);
	parent_may_go(child);
	port_user_release(child);
}
