/* SPDX-License-Identifier: MIT */
/*
 * user_run.c: let a user thread run until the kernel must act.
 *
 * Context: the thread's own tracer, without a baton. No locks.
 *
 * The tracer waits for whatever it traces, not for a thread id: an exec gives the thread that
 * survives the id of the first one, and a wait by id would sleep for ever. It traces one thread,
 * and for a moment those that this thread has just made (user_child.c).
 *
 * All signals but #BR pass unchanged, with their siginfo; a program that is stopped (SIGSTOP) stays
 * stopped (PTRACE_LISTEN), so its parent and SIGCONT see what they always see.
 */
#define _GNU_SOURCE
#include <string.h>
#include <ucontext.h>
#include "port/linux/sanitize.h"
#include "port/linux/user.h"
#include "port/linux/user_layout.h"

static bool stops_group(int signal)
{
	return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

void user_stopped(struct port_user *user, int status)
{
	int signal = WSTOPSIG(status);
	user->signal = 0;
	switch (status >> 16) {
	case 0:
		/* 0x80 marks the stops at system calls (PTRACE_O_TRACESYSGOOD). */
		user->stop = signal & 0x80 ? USER_STOP_EVENT : USER_STOP_SIGNAL;
		user->signal = signal & 0x80 ? 0 : signal;
		break;
	case PTRACE_EVENT_STOP:
		user->stop = stops_group(signal) ? USER_STOP_GROUP : USER_STOP_EVENT;
		break;
	default:
		user->stop = USER_STOP_EVENT;
		break;
	}
}

void user_go(struct port_user *user, long request)
{
	if (user->stop == USER_STOP_GROUP && request == PTRACE_CONT)
		request = PTRACE_LISTEN;
	user_regs_flush(user);
	if (user->injected && user->stop == USER_STOP_SIGNAL)
		user->redeliver = user->signal != 0;
	user->injected = false;
	host_delay();
	/* It may have been killed meanwhile: the next wait says so. */
	user_ptrace(request, user->tid, 0, (void *)(long)user->signal);
	user->stop = USER_STOP_NONE;
	user->signal = 0;
}

/* A SIGSEGV that the processor caused, in code that can hold BOUND. */
static bool is_bound(struct port_user *user, struct port_bound *bound)
{
	if (user->redeliver) {
		user->redeliver = false;
		user_ptrace(PTRACE_SETSIGINFO, user->tid, 0, &user->info);
		return false;
	}
	user->injected = false;
	return user_ptrace(PTRACE_GETSIGINFO, user->tid, 0, &user->info) == 0 &&
	       user->info.si_code == SI_KERNEL && user_regs_fetch(user) &&
	       user_is_bound(user, &user->info, bound);
}

static void tell_status(int status, struct port_user_event *event)
{
	event->killed = WIFSIGNALED(status);
	event->code = event->killed ? WTERMSIG(status) : WEXITSTATUS(status);
}

/* True: something for the kernel. */
static bool handle(struct port_user *user, int status, struct port_user_event *event)
{
	uint64_t message = 0;
	bool delivered = user->delivered && !user->redeliver;
	user_stopped(user, status);
	if (status >> 16 == PTRACE_EVENT_EXIT)
		user_process_forget(user);
	else
		atomic_store(&user->process->reader, user->tid);
	if (delivered)
		user->delivered = false;
	switch (status >> 16) {
	case PTRACE_EVENT_CLONE:
	case PTRACE_EVENT_FORK:
	case PTRACE_EVENT_VFORK:
		return user_ptrace(PTRACE_GETEVENTMSG, user->tid, 0, &message) == 0 &&
		       user_newborn_take(user, (uint32_t)message, event);
	case PTRACE_EVENT_EXEC:
		user_layout_lower(user);
		user_process_image_read(user->process);
		event->kind = PORT_USER_EXEC;
		return true;
	case PTRACE_EVENT_EXIT:
		user_ptrace(PTRACE_GETEVENTMSG, user->tid, 0, &message);
		event->kind = PORT_USER_EXITING;
		tell_status((int)message, event);
		event->by_fault = delivered && event->killed && event->code == SIGSEGV;
		return true;
	case 0:
		if (user->signal != SIGSEGV || !is_bound(user, &event->bound))
			return false;
		event->kind = PORT_USER_BOUND;
		user->fault = true;
		return true;
	default:
		return false;
	}
}

static void ended(struct port_user *user, int status, struct port_user_event *event)
{
	user_newborns_end(user);
	user_process_forget(user);
	event->kind = PORT_USER_ENDED;
	tell_status(status, event);
	if (event->status_valid) /* the first thread's end is the process's */
		atomic_store(&user->process->pid, 0);
	user->stop = USER_STOP_NONE;
}

/* ---- Being called back ---- */

long user_wait_unless(int32_t tid, int *status, unsigned options, _Atomic uint32_t *word);
extern const char user_wait_begin[], user_wait_end[];

void host_user_interrupted(void *raw)
{
	greg_t *registers = ((ucontext_t *)raw)->uc_mcontext.gregs;
	greg_t rip = registers[REG_RIP];
	if (rip < (greg_t)user_wait_begin || rip >= (greg_t)user_wait_end)
		return;
	registers[REG_RIP] = (greg_t)user_wait_end;
	registers[REG_RAX] = -EINTR;
}

void port_thread_kick(struct port_thread *thread)
{
	atomic_store(&thread->kicked, 1);
	host_delay();
	host_tgkill(thread->tid, HOST_SIGNAL_INTERRUPT);
}

/* The kernel wants this thread; the user thread is stopped where it is, if it runs. */
static long called_back(struct port_user *user, int *status)
{
	if (user->stop != USER_STOP_NONE)
		return 0;
	user_ptrace(PTRACE_INTERRUPT, user->tid, 0, NULL);
	user->kicked = true; /* the next stop of any kind will do */
	return user_wait(-1, status);
}

/* What happens next to the user thread or to one that it made: the id. 0: it shall not run now. */
static long next_stop(struct port_user *user, int *status)
{
	_Atomic uint32_t *kicked = &host_self->kicked;
	if (user->last_status_valid) {
		*status = user->last_status;
		user->last_status_valid = false;
		return user->tid;
	}
	if (atomic_load(kicked) && user->stop != USER_STOP_NONE)
		goto back;
	host_delay();
	if (user->stop != USER_STOP_NONE)
		user_go(user, PTRACE_CONT);
	long tid;
	while ((tid = user_wait_unless(-1, status, __WALL | __WNOTHREAD, kicked)) == -EINTR) {
		if (atomic_load(kicked))
			goto back;
	}
	return tid;
back:
	atomic_store(kicked, 0);
	return called_back(user, status);
}

void port_user_run(struct port_user *user, enum port_user_resume resume,
		   struct port_user_event *event)
{
	int status;
	memset(event, 0, sizeof *event);
	while (!atomic_load(&user->child_adopted))
		host_futex_wait(&user->child_adopted, 0, NULL);
	if (user->fault) {
		user->delivered = resume == PORT_USER_DELIVER;
		if (!user->delivered)
			user->signal = 0;
		user->fault = false;
	}
	for (;;) {
		long tid = next_stop(user, &status);
		if (tid == 0) {
			event->kind = PORT_USER_CALLED;
			return;
		}
		if (tid < 0) { /* another thread's exec took its place */
			ended(user, 0, event);
			return;
		}
		bool stopped = WIFSTOPPED(status);
		if (stopped && status >> 16 == PTRACE_EVENT_EXEC)
			user->tid = (uint32_t)tid;
		if ((uint32_t)tid != user->tid) {
			user_newborn_seen(user, (uint32_t)tid, status);
			continue;
		}
		if (!stopped) {
			event->status_valid = user->tid == user->process->id;
			ended(user, status, event);
			return;
		}
		if (handle(user, status, event))
			return;
		if (user->kicked) {
			user->kicked = false;
			event->kind = PORT_USER_CALLED;
			return;
		}
	}
}
