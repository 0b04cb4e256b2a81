/* SPDX-License-Identifier: MIT */
/*
 * user_thread.c: the kernel threads of user threads.
 *
 * A user thread is run by a kernel thread whose host thread traces it (port.h). It is a loop: leave
 * the kernel, let the user thread run, come back with what happened. Contexts: PASSIVE_LEVEL on a
 * baton, except between ke_thread_user_leave and ke_thread_user_enter, where nothing of the core
 * may be touched. No locks.
 *
 * A thread that ends is held by its tracer until drivers have heard of it (PORT_USER_EXITING), so
 * that its memory is there as long as kernel code runs in its context; so is one that another
 * thread's exit, exec or a signal ends while it is in a callback.
 */
#include "ex/ex.h"
#include "ke/bound.h"
#include "ke/machine.h"
#include "mm/user.h"
#include "ps/ps_internal.h"
#include "ps/user.h"

struct user_thread {
	struct ps_user *user;
	struct port_user *port;
	const char *const *arguments; /* of a program that is to be started */
	uint64_t address;             /* of a bound exception that was not handled */
	bool locate, located;
	struct port_place place; /* of it */
	struct ke_bound_thread bound;
};

static void child_made(struct user_thread *t, const struct port_user_event *event);

/* ---- The end ---- */

static void ending(struct user_thread *t)
{
	if (ke_thread()->terminating)
		return;
	ps_thread_ending();
	if (atomic_fetch_sub(&t->user->living, 1) == 1)
		ps_user_ending(t->user);
}

static _Noreturn void gone(struct user_thread *t)
{
	struct ps_user *user = t->user;
	NTSTATUS status = ps_user_status_now(user);
	ending(t);
	if (t->port)
		port_user_release(t->port);
	ex_free(t);
	if (atomic_fetch_sub(&user->threads, 1) == 1)
		ps_user_ended(user);
	ps_thread_exit(status);
}

/* ---- Running ---- */

/* #BR: the callbacks decide (BND-20..24). The place is remembered for the report. */
static enum port_user_resume bound(struct user_thread *t, const struct port_bound *fault)
{
	struct ps_user *user = t->user;
	struct ps_program *program = user->program;
	enum ke_bound_outcome outcome = ke_bound_fault(t->port, fault, &t->bound);
	if (outcome == KE_BOUND_RESUME) {
		atomic_fetch_add(&program->handled, 1);
		return PORT_USER_CONTINUE;
	}
	/* Where the program, or the one who ends it, sees the exception. */
	t->address = port_user_regs(t->port)->general.rip;
	t->locate = true;
	if (outcome == KE_BOUND_DELIVER) {
		atomic_fetch_add(&program->delivered, 1);
		return PORT_USER_DELIVER;
	}
	ps_user_bound_error(user);
	port_process_kill(user->port);
	return PORT_USER_CONTINUE;
}

/* Without a baton. */
static void locate(struct user_thread *t)
{
	if (!t->locate)
		return;
	t->locate = false;
	port_process_locate(t->user->port, t->address, &t->place);
	t->located = true;
}

static void run(struct user_thread *t)
{
	PKTHREAD self = ke_thread();
	struct ps_user *user = t->user;
	enum port_user_resume resume = PORT_USER_CONTINUE;
	for (;;) {
		struct port_user_event event;
		if (user->process->address_space)
			mm_space_flush(user->process->address_space);
		ke_thread_user_leave();
		locate(t);
		port_user_run(t->port, resume, &event);
		ke_thread_user_enter(self);
		if (t->located)
			ps_user_place(user, t->address, &t->place);
		t->located = false;
		if (event.kind != PORT_USER_CALLED)
			resume = PORT_USER_CONTINUE;
		switch (event.kind) {
		case PORT_USER_CALLED: /* APCs were delivered on the way in */
			break;
		case PORT_USER_BOUND:
			resume = bound(t, &event.bound);
			break;
		case PORT_USER_CHILD:
			child_made(t, &event);
			break;
		case PORT_USER_EXEC:
			ps_user_exec(user);
			t->bound = (struct ke_bound_thread){0}; /* no debug register is set */
			break;
		case PORT_USER_EXITING:
			ps_user_status(user, &event);
			ending(t);
			break;
		case PORT_USER_ENDED:
			if (event.status_valid)
				ps_user_status(user, &event);
			return;
		}
	}
}

/* ---- Beginnings ---- */

/* The first thread of a program. */
static void spawned(void *context)
{
	struct user_thread *t = context;
	struct ps_user *user = t->user;
	struct port_user_start start = {.arguments = t->arguments};
	struct port_process *process;
	PKTHREAD self = ke_thread();

	ke_thread_user_leave();
	t->port = port_user_spawn(&start, &process);
	ke_thread_user_enter(self);
	if (!t->port) {
		self->terminating = true; /* nobody was told of it */
		ex_free(t);
		ps_user_failed(user, start.what);
		ps_thread_exit(STATUS_UNSUCCESSFUL);
	}
	bool room = ps_user_attach(user, process);
	ps_user_tell_process(user, t->arguments);
	/* From here on the arguments are the caller's again. */
	atomic_store(&user->program->state, PS_PROGRAM_RUNNING);
	ke_host_signal();
	ps_notify_thread(self, TRUE);
	ps_user_tell_image(user);
	if (!room)
		port_process_kill(process);
	run(t);
	gone(t);
}

/* Any other: its parent's tracer has let go of it. */
static void adopted(void *context)
{
	struct user_thread *t = context;
	PKTHREAD self = ke_thread();
	ke_thread_user_leave();
	bool alive = port_user_adopt(t->port);
	ke_thread_user_enter(self);
	if (alive)
		run(t);
	gone(t);
}

/* Tells drivers, unless the thread is the program's first: that does so itself. */
NTSTATUS ps_user_thread_start(struct ps_user *user, const char *const *arguments,
			      struct port_user *port)
{
	struct user_thread *t = ex_allocate(sizeof(*t), 'tUsP', NonPagedPoolNx);
	PKTHREAD thread;
	if (!t)
		return STATUS_INSUFFICIENT_RESOURCES;
	memset(t, 0, sizeof(*t));
	t->user = user;
	t->port = port;
	t->arguments = arguments;
	NTSTATUS status = ps_thread_prepare(user->process, port ? adopted : spawned, t, &thread);
	if (!NT_SUCCESS(status)) {
		ex_free(t);
		return status;
	}
	atomic_fetch_add(&user->threads, 1);
	atomic_fetch_add(&user->living, 1);
	if (port)
		ps_notify_thread(thread, TRUE);
	ke_thread_ready(thread);
	ob_dereference(thread);
	return STATUS_SUCCESS;
}

/* A process that a program made. */
static NTSTATUS process_made(struct user_thread *t, const struct port_user_event *event,
			     struct ps_user **result)
{
	struct ps_user *user;
	const char *name = port_process_image(event->child_process);
	NTSTATUS status = ps_user_create(name, t->user->process, &user);
	if (!NT_SUCCESS(status)) {
		port_process_release(event->child_process);
		return status;
	}
	if (!ps_user_attach(user, event->child_process)) {
		ps_user_failed(user, "no memory");
		return STATUS_INSUFFICIENT_RESOURCES;
	}
	atomic_store(&user->program->state, PS_PROGRAM_RUNNING);
	ps_user_tell_process(user, 0);
	*result = user;
	return STATUS_SUCCESS;
}

static void child_made(struct user_thread *t, const struct port_user_event *event)
{
	PKTHREAD self = ke_thread();
	struct ps_user *user = t->user;
	NTSTATUS status = STATUS_SUCCESS;
	if (!event->same_process)
		status = process_made(t, event, &user);
	if (NT_SUCCESS(status)) {
		status = ps_user_thread_start(user, 0, event->child);
		if (NT_SUCCESS(status))
			return;
		if (!event->same_process)
			ps_user_failed(user, "no thread");
	}
	ke_thread_user_leave();
	port_user_abandon(event->child);
	ke_thread_user_enter(self);
}
