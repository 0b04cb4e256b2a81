/* SPDX-License-Identifier: MIT */
/* user.c: user programs for the program that booted the machine (ketch.h). Called by host threads.
 */
#include "ke/ke.h"
#include "ke/machine.h"
#include "machine/machine.h"
#include "ps/user.h"
#include "rtl/rtl.h"

#define POLL_NS 1000000000u

struct start {
	struct ke_command command;
	const char *const *arguments;
	struct ps_program *program;
	NTSTATUS status;
};

static void run_start(struct ke_command *command)
{
	struct start *start = CONTAINING_RECORD(command, struct start, command);
	start->status = ps_user_start(start->arguments, &start->program);
}

static bool started(void *program)
{
	return atomic_load_explicit(&((struct ps_program *)program)->state, memory_order_acquire) !=
	       PS_PROGRAM_STARTING;
}

static bool has_ended(void *program)
{
	return atomic_load_explicit(&((struct ps_program *)program)->state, memory_order_acquire) >=
	       PS_PROGRAM_FAILED;
}

static bool all_have_ended(void *unused)
{
	(void)unused;
	return atomic_load(&ps_user_count) == 0;
}

static struct ps_program *program_at(uint32_t index)
{
	struct ps_program *program = ps_program_first();
	while (program && index--)
		program = ps_program_next(program);
	return program;
}

static uint32_t index_of(const struct ps_program *wanted)
{
	uint32_t index = 0;
	for (struct ps_program *p = ps_program_first(); p != wanted; p = ps_program_next(p))
		index++;
	return index;
}

enum ketch_outcome ketch_user_start(const char *const *arguments, uint32_t *index)
{
	static struct start start;
	enum ketch_outcome outcome = machine_idle();
	if (outcome != KETCH_OK)
		return outcome;
	start = (struct start){.command.run = run_start, .arguments = arguments};
	outcome = machine_command(&start.command);
	if (outcome != KETCH_OK)
		return outcome;
	struct ps_program *program = start.program;
	if (!program) {
		rtl_print(machine_message, sizeof machine_message, "%s: no memory", arguments[0]);
		return KETCH_REFUSED;
	}
	*index = index_of(program);
	outcome = machine_wait(started, program, POLL_NS);
	if (outcome == KETCH_OK &&
	    atomic_load_explicit(&program->state, memory_order_acquire) == PS_PROGRAM_FAILED) {
		rtl_copy(machine_message, sizeof machine_message, program->why);
		return KETCH_REFUSED;
	}
	return outcome;
}

enum ketch_outcome ketch_user_wait(uint32_t index)
{
	if (index == UINT32_MAX)
		return machine_wait(all_have_ended, NULL, POLL_NS);
	struct ps_program *program = program_at(index);
	return program ? machine_wait(has_ended, program, POLL_NS) : KETCH_REFUSED;
}

static void run_kill(struct ke_command *command)
{
	(void)command;
	ps_user_kill();
}

enum ketch_outcome ketch_user_kill(void)
{
	static struct ke_command command;
	enum ketch_outcome outcome = machine_idle();
	if (outcome != KETCH_OK)
		return outcome;
	command = (struct ke_command){.run = run_kill};
	return machine_command(&command);
}

bool ketch_user(uint32_t index, struct ketch_user *user)
{
	struct ps_program *program = program_at(index);
	if (!program)
		return false;
	uint32_t state = atomic_load_explicit(&program->state, memory_order_acquire);
	*user = (struct ketch_user){
		.name = program->name,
		.pid = atomic_load(&program->host_id),
		.child = program->child,
		.handled = atomic_load(&program->handled),
		.delivered = atomic_load(&program->delivered),
		.file = "",
		.path = "",
	};
	switch (state) {
	case PS_PROGRAM_FAILED:
		user->state = KETCH_USER_FAILED;
		break;
	case PS_PROGRAM_ENDED:
		user->state = program->killed ? KETCH_USER_KILLED : KETCH_USER_EXITED;
		user->code = program->code;
		user->status = (uint32_t)program->status;
		user->refused = program->refused;
		user->bound_error = program->bound_error;
		user->bound_fatal = program->bound_fatal;
		user->address = program->address;
		user->file = program->place.file;
		user->path = program->place.path;
		user->offset = program->place.offset;
		user->linked = program->place.linked;
		break;
	default:
		user->state = KETCH_USER_RUNNING;
		break;
	}
	return true;
}
