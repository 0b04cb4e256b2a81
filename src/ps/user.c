/* SPDX-License-Identifier: MIT */
/*
 * user.c: user programs as processes of the machine (DESIGN.md "User mode is a real Linux
 * process").
 *
 * Contexts: PASSIVE_LEVEL, in the threads of the process or in the one that makes it; the list of
 * programs is read by host threads, too. Lock: ps_lock for the tail of that list and for
 * ps_user_kill.
 *
 * Lifetime: a process has struct ps_user from its making to the death of its object; the running
 * program holds one reference to the object. Drivers hear of its end while its memory is still
 * there, as its last thread is held by its tracer until they have (ps_user_ending); the object is
 * signalled when the host's process is gone.
 *
 * Choices: an exec is the load of another image in the same process. A process that a program makes
 * (fork) begins with the image of its parent. Exit status of the object: the program's exit code;
 * 0xC000008C when a bound exception ended it (BND-23, BND-24); else the NTSTATUS that is nearest to
 * its signal.
 */
#include "ps/user.h"
#include "ex/ex.h"
#include "ke/machine.h"
#include "mm/user.h"
#include "ps/ps_internal.h"

#define NAME_MAX 1024 /* characters of an image's name or command line; what is longer is cut */

_Atomic uint32_t ps_user_count;

static struct ps_program *_Atomic first_program;
static struct ps_program *last_program; /* ps_lock */

void ps_user_less(void)
{
	if (atomic_fetch_sub(&ps_user_count, 1) == 1)
		ke_host_signal();
}

struct ps_program *ps_program_first(void)
{
	return atomic_load_explicit(&first_program, memory_order_acquire);
}

struct ps_program *ps_program_next(struct ps_program *program)
{
	return atomic_load_explicit(&program->next, memory_order_acquire);
}

static void program_list(struct ps_user *user)
{
	struct ps_program *program = user->program;
	if (user->listed)
		return;
	user->listed = true;
	KIRQL old = ke_lock_raise(&ps_lock);
	/* Release: readers find a complete program. */
	atomic_store_explicit(last_program ? &last_program->next : &first_program, program,
			      memory_order_release);
	last_program = program;
	ke_lock_lower(&ps_lock, old);
}

static const char *base_name(const char *path)
{
	const char *name = path;
	for (; *path; path++) {
		if (*path == '/' && path[1])
			name = path + 1;
	}
	return name;
}

/* ---- Making ---- */

NTSTATUS ps_user_create(const char *name, PKPROCESS parent, struct ps_user **result)
{
	struct ps_user *user = ex_allocate(sizeof(*user), 'sUsP', NonPagedPoolNx);
	struct ps_program *program = ex_allocate(sizeof(*program), 'rPsP', NonPagedPoolNx);
	NTSTATUS status = STATUS_INSUFFICIENT_RESOURCES;
	PKPROCESS process;
	if (!user || !program)
		goto fail;
	memset(user, 0, sizeof(*user));
	memset(program, 0, sizeof(*program));
	status = ps_process_create(base_name(name), parent, &process);
	if (!NT_SUCCESS(status))
		goto fail;
	rtl_copy(program->name, sizeof(program->name), name);
	program->child = parent->user != 0;
	user->process = process;
	user->program = program;
	user->status = STATUS_PENDING;
	process->user = user;
	atomic_fetch_add(&ps_user_count, 1);
	*result = user;
	return STATUS_SUCCESS;
fail:
	if (user)
		ex_free(user);
	if (program)
		ex_free(program);
	return status;
}

bool ps_user_attach(struct ps_user *user, struct port_process *port)
{
	user->port = port;
	atomic_store(&user->program->host_id, port_process_id(port));
	user->process->address_space = mm_space_create(port);
	return user->process->address_space != 0;
}

void ps_user_free(PKPROCESS process)
{
	struct ps_user *user = process->user;
	if (!user)
		return;
	if (user->port)
		port_process_release(user->port);
	if (!user->listed)
		ex_free(user->program);
	ex_free(user);
}

NTSTATUS ps_user_start(const char *const *arguments, struct ps_program **program)
{
	struct ps_user *user;
	NTSTATUS status = ps_user_create(arguments[0], ps_system_process, &user);
	if (!NT_SUCCESS(status))
		return status;
	program_list(user);
	*program = user->program;
	status = ps_user_thread_start(user, arguments, 0);
	if (!NT_SUCCESS(status))
		ps_user_failed(user, "the host refused a thread");
	return status;
}

/* ---- Names ---- */

struct names {
	UNICODE_STRING image, command;
	WCHAR image_text[NAME_MAX], command_text[NAME_MAX];
};

/* Append UTF-8 as far as there is room; what is not UTF-8 becomes U+FFFD. */
static void append(UNICODE_STRING *to, const char *text)
{
	const uint8_t *at = (const uint8_t *)text;
	while (*at) {
		unsigned more = *at < 0x80 ? 0 : *at < 0xe0 ? 1 : *at < 0xf0 ? 2 : 3;
		uint32_t code = more == 0 ? *at : *at & (0x3f >> more);
		bool good = *at < 0x80 || (*at >= 0xc2 && *at < 0xf5);
		for (at++; good && more; more--, at++) {
			good = (*at & 0xc0) == 0x80;
			if (!good)
				break;
			code = code << 6 | (*at & 0x3f);
		}
		if (!good)
			code = 0xfffd;
		unsigned size = code > 0xffff ? 4 : 2;
		if (to->Length + size > to->MaximumLength)
			return;
		WCHAR *end = to->Buffer + to->Length / 2;
		if (size == 4) {
			end[0] = (WCHAR)(0xd7c0 + (code >> 10));
			end[1] = (WCHAR)(0xdc00 | (code & 0x3ff));
		} else {
			end[0] = (WCHAR)code;
		}
		to->Length = (USHORT)(to->Length + size);
	}
}

static struct names *names_create(struct ps_user *user, const char *const *arguments)
{
	struct names *names = ex_allocate(sizeof(*names), 'nUsP', NonPagedPoolNx);
	if (!names)
		return 0;
	names->image = (UNICODE_STRING){0, sizeof(names->image_text), names->image_text};
	names->command = (UNICODE_STRING){0, sizeof(names->command_text), names->command_text};
	append(&names->image, port_process_image(user->port));
	for (; arguments && *arguments; arguments++) {
		if (names->command.Length)
			append(&names->command, " ");
		append(&names->command, *arguments);
	}
	return names;
}

/* ---- What drivers hear ---- */

void ps_user_tell_process(struct ps_user *user, const char *const *arguments)
{
	struct names *names = names_create(user, arguments);
	NTSTATUS status = ps_process_started(user->process, names ? &names->image : 0,
					     names && arguments ? &names->command : 0);
	if (!NT_SUCCESS(status)) {
		KIRQL old = ke_lock_raise(&ps_lock);
		user->program->refused = true;
		user->status = status;
		user->status_final = true;
		ke_lock_lower(&ps_lock, old);
		port_process_kill(user->port);
	}
	if (names)
		ex_free(names);
}

void ps_user_tell_image(struct ps_user *user)
{
	struct names *names = names_create(user, 0);
	uint64_t base, size;
	port_process_image_range(user->port, &base, &size);
	if (names) {
		ps_image_loaded(&names->image, user->process, (const void *)base, size);
		ex_free(names);
	}
}

void ps_user_exec(struct ps_user *user)
{
	rtl_copy((char *)user->process->ImageFileName, sizeof(user->process->ImageFileName),
		 base_name(port_process_image(user->port)));
	if (user->process->address_space)
		mm_space_replaced(user->process->address_space);
	ps_user_tell_image(user);
}

/* ---- The end ---- */

#define HOST_SIGILL  4
#define HOST_SIGTRAP 5
#define HOST_SIGFPE  8
#define HOST_SIGSEGV 11
#define HOST_SIGINT  2

static NTSTATUS status_of_signal(int signal)
{
	switch (signal) {
	case HOST_SIGILL:
		return STATUS_ILLEGAL_INSTRUCTION;
	case HOST_SIGTRAP:
		return STATUS_BREAKPOINT;
	case HOST_SIGFPE:
		return STATUS_INTEGER_DIVIDE_BY_ZERO;
	case HOST_SIGSEGV:
		return STATUS_ACCESS_VIOLATION;
	case HOST_SIGINT:
		return STATUS_CONTROL_C_EXIT;
	default:
		return STATUS_UNSUCCESSFUL;
	}
}

void ps_user_status(struct ps_user *user, const struct port_user_event *event)
{
	struct ps_program *program = user->program;
	bool final = event->kind == PORT_USER_ENDED;
	KIRQL old = ke_lock_raise(&ps_lock);
	program->bound_fatal |= event->by_fault;
	if (final) {
		program->killed = event->killed;
		program->code = event->code;
	}
	if (!user->status_final) {
		user->status_final = final;
		if (program->bound_error || program->bound_fatal)
			user->status = STATUS_ARRAY_BOUNDS_EXCEEDED;
		else
			user->status = event->killed ? status_of_signal(event->code) : event->code;
	}
	ke_lock_lower(&ps_lock, old);
}

NTSTATUS ps_user_status_now(struct ps_user *user)
{
	KIRQL old = ke_lock_raise(&ps_lock);
	NTSTATUS status = user->status;
	ke_lock_lower(&ps_lock, old);
	return status;
}

void ps_user_bound_error(struct ps_user *user)
{
	KIRQL old = ke_lock_raise(&ps_lock);
	user->program->bound_error = true;
	ke_lock_lower(&ps_lock, old);
}

void ps_user_place(struct ps_user *user, uint64_t address, const struct port_place *place)
{
	KIRQL old = ke_lock_raise(&ps_lock);
	user->program->address = address;
	user->program->place = *place;
	ke_lock_lower(&ps_lock, old);
}

void ps_user_ending(struct ps_user *user)
{
	ps_process_ending(user->process, ps_user_status_now(user));
}

/* The caller's thread keeps the process object alive. */
static void over(struct ps_user *user, enum ps_program_state state)
{
	struct ps_program *program = user->program;
	PKPROCESS process = user->process;
	program->status = user->status;
	ps_process_ended(process, user->status);
	if (program->bound_error || program->bound_fatal || program->refused)
		program_list(user);
	atomic_store_explicit(&program->state, state, memory_order_release);
	ob_dereference(process);
	ke_host_signal();
	ps_user_less();
}

void ps_user_ended(struct ps_user *user)
{
	if (user->process->address_space)
		mm_space_close(user->process->address_space);
	if (user->program->child)
		rtl_copy(user->program->name, sizeof(user->program->name),
			 base_name(port_process_image(user->port)));
	over(user, PS_PROGRAM_ENDED);
}

void ps_user_failed(struct ps_user *user, const char *why)
{
	rtl_copy(user->program->why, sizeof(user->program->why), why);
	user->status = STATUS_UNSUCCESSFUL;
	over(user, PS_PROGRAM_FAILED);
}

void ps_user_kill(void)
{
	KIRQL old = ke_lock_raise(&ps_lock);
	for (PKPROCESS process = 0; (process = ps_process_next(process));) {
		if (process->user && process->user->port)
			port_process_kill(process->user->port);
	}
	ke_lock_lower(&ps_lock, old);
}
