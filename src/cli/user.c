/* SPDX-License-Identifier: MIT */
/*
 * user.c: user programs: the actions user:PROGRAM[,ARG...] and user&:..., and what became of them.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/cli.h"

/* ---- Words ---- */

/* Commas part the words; `\\,` is a comma. */
bool user_parse(const char *text, struct action *action)
{
	char *word = malloc(strlen(text) + 1);
	size_t count = 1;
	for (const char *at = text; *at; at++)
		count += *at == ',';
	action->kind = ACTION_USER;
	action->arguments = calloc(count + 1, sizeof *action->arguments);
	if (!word || !action->arguments)
		return false;
	action->arguments[0] = word;
	for (count = 1; *text; text++) {
		if (*text == ',') {
			*word++ = 0;
			action->arguments[count++] = word;
			continue;
		}
		if (text[0] == '\\' && text[1] == ',')
			text++;
		*word++ = *text;
	}
	*word = 0;
	return action->arguments[0][0] != 0;
}

static const char *not_a_program(const char *path)
{
	unsigned char head[20];
	size_t got = 0;
	FILE *file = fopen(path, "re");
	if (!file)
		return strerror(errno);
	got = fread(head, 1, sizeof head, file);
	fclose(file);
	if (got < sizeof head || memcmp(head, ELFMAG, SELFMAG) != 0)
		return "it is not an ELF program";
	unsigned type = head[16] | head[17] << 8, machine = head[18] | head[19] << 8;
	if (type != ET_EXEC && type != ET_DYN)
		return "it is an ELF file, but not a program";
	if (machine != EM_386 && machine != EM_X86_64)
		return "it is a program for another processor: i386 and x86-64 can run";
	return NULL;
}

bool user_usable(const char *path, const char **why)
{
	struct stat status;
	*why = NULL;
	if (stat(path, &status))
		*why = strerror(errno);
	else if (!S_ISREG(status.st_mode))
		*why = "it is not a file";
	else if (access(path, X_OK))
		*why = "it is not executable";
	else
		*why = not_a_program(path);
	return !*why;
}

/* ---- Running ---- */

bool user_action(struct run *run, const struct action *action)
{
	uint32_t index;
	/* The machine may look at them until the end. */
	enum ketch_outcome outcome = ketch_user_start(action->arguments, &index);
	if (outcome == KETCH_REFUSED) {
		run_explain(run, "ketch: %s: %s", escaped(action->text), ketch_message());
		run->unusable = true;
	}
	if (outcome == KETCH_OK && !action->background)
		outcome = ketch_user_wait(index);
	return run_step(run, action->text, outcome, 0);
}

bool user_wait_all(struct run *run)
{
	enum ketch_outcome outcome = KETCH_OK;
	bool interrupted = false;
	do {
		/* After Ctrl-C nobody wants to wait for them. */
		if (run->interrupted)
			outcome = ketch_user_kill();
		if (outcome == KETCH_OK)
			outcome = ketch_user_wait(UINT32_MAX);
		if (outcome == KETCH_INTERRUPTED)
			run->interrupted = interrupted = true;
	} while (outcome == KETCH_INTERRUPTED);
	if (outcome == KETCH_OK && interrupted) {
		run_step(run, "the user programs", KETCH_INTERRUPTED, 0);
		return true; /* the drivers are unloaded now */
	}
	return run_step(run, "the user programs", outcome, 0);
}

/* ---- The report ---- */

const char *user_place(const struct ketch_user *user)
{
	static char text[1024];
	if (*user->file)
		snprintf(text, sizeof text, "%.250s+0x%llx%s", escaped(user->file),
			 (unsigned long long)user->offset,
			 symbol_of_file(user->path, user->linked));
	else
		snprintf(text, sizeof text, "0x%llx", (unsigned long long)user->address);
	return text;
}

static void print_program(const struct ketch_user *user)
{
	fprintf(stderr, "ketch: program %s (process %u): ", escaped(user->name), user->pid);
	switch (user->state) {
	case KETCH_USER_RUNNING:
		fputs("still running, ended with the machine", stderr);
		break;
	case KETCH_USER_FAILED:
		break;
	case KETCH_USER_EXITED:
		fprintf(stderr, "exited with %d", user->code);
		break;
	case KETCH_USER_KILLED:
		if (user->bound_error || user->bound_fatal) {
			fprintf(stderr, "ended with 0x%08x %s at ", user->status,
				status_name(user->status));
			fputs(user_place(user), stderr);
			fputs(user->bound_error ? ": a bound callback ended it "
						  "(BoundExceptionError, or a bad Rip)"
						: ": no bound callback handled it",
			      stderr);
		} else {
			const char *name = sigabbrev_np(user->code);
			fprintf(stderr, "ended by signal %d%s%s", user->code, name ? " SIG" : "",
				name ? name : "");
		}
		break;
	}
	if (user->refused)
		fprintf(stderr, ", refused by a process notify routine (0x%08x %s)", user->status,
			status_name(user->status));
	if (user->handled)
		fprintf(stderr, "; %llu bound exception%s handled",
			(unsigned long long)user->handled, user->handled == 1 ? "" : "s");
	if (user->delivered > user->bound_fatal) {
		fprintf(stderr, "; %llu delivered to it, the last at ",
			(unsigned long long)user->delivered);
		fputs(user_place(user), stderr);
	}
	fputc('\n', stderr);
}

void user_report(void)
{
	struct ketch_user user;
	for (uint32_t i = 0; ketch_user(i, &user); i++) {
		if (user.state != KETCH_USER_FAILED) /* why it was not started has been said */
			print_program(&user);
	}
}
