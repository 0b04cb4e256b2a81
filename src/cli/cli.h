/* SPDX-License-Identifier: MIT */
/* cli.h: what the files of the ketch command share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "ketch/ketch.h"

/* Exit status of every subcommand (DESIGN.md section 5). */
enum {
	EXIT_EXPECTED = 0, /* all as expected */
	EXIT_REFUSED = 1,  /* the driver refused or broke a rule, or time ran out */
	EXIT_USAGE = 2,    /* usage, file or image error */
	EXIT_BUGCHECK = 3,
};

int cli_run(int argc, char **argv);     /* run.c */
int cli_cc(int argc, char **argv);      /* cc.c */
int cli_imports(int argc, char **argv); /* tables.c */
int cli_ddi(int argc, char **argv);     /* tables.c */
int cli_nmi(int argc, char **argv);     /* remote.c */
int cli_add(int argc, char **argv);     /* remote.c */

/* Help texts, help.c. `topic` 0: all commands. Returns false when there is no such topic. */
bool help_print(FILE *to, const char *topic);
/* One line to standard error: `ketch: ...`; returns EXIT_USAGE. */
int usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A whole file; 0 and errno when it cannot be read. */
void *file_read(const char *path, size_t *size);
/* The part of a path behind the last slash. */
const char *file_name(const char *path);
/* A number in decimal or 0x form, alone in its text and not above `limit`. */
bool number_parse(const char *text, uint64_t limit, uint64_t *value);

/* Printable ASCII of any text, `\xNN` for the rest, "" for an empty one; the result is static, four
 * at a time. */
const char *escaped(const char *text);

/* symbol.c: ` (symbol, file.c:12)` for an address in a driver, or an empty text. Remembers where
 * image files lie. */
void symbol_add_image(const char *name, const char *path);
const char *symbol_of(uint64_t address);
/* The same for an address of an ELF file, in the file's own terms. */
const char *symbol_of_file(const char *path, uint64_t linked);
/* The same for an address that is either a routine's or lies behind a call: then the line of the
 * call. */
const char *symbol_of_call(uint64_t address);

/* actions.c */
enum action_kind { ACTION_NMI, ACTION_ADD, ACTION_IOCTL, ACTION_WAIT, ACTION_UNLOAD, ACTION_USER };
#define ACTION_ALL_PROCESSORS UINT32_MAX

struct action {
	enum action_kind kind;
	const char *text;   /* as given */
	uint32_t processor; /* NMI; or ACTION_ALL_PROCESSORS */
	uint32_t count;     /* NMI, ADD */
	enum ketch_add how; /* ADD */
	uint32_t ms;        /* WAIT */
	char device[128];   /* IOCTL */
	uint32_t code;
	uint8_t *input;
	size_t input_size;
	const char **arguments; /* USER; NULL-terminated */
	bool background;
};
/* False: `text` is not an action; *why says what is wrong with it. */
bool action_parse(const char *text, struct action *action, const char **why);

/* user.c: `user:` and `user&:` from behind the colon; false: no memory or no name. Whether a file
 * can be a user program; *why says what is wrong with it. What became of the programs, on standard
 * error. */
bool user_parse(const char *text, struct action *action);
bool user_usable(const char *path, const char **why);
struct run;
bool user_action(struct run *run, const struct action *action);
bool user_wait_all(struct run *run);
void user_report(void);
/* `bounds32+0x1034 (check, bounds32.c:12)`: where its last unhandled bound exception was; static.
 */
const char *user_place(const struct ketch_user *user);

/* options.c: the words of `ketch run`. Returns 0, or EXIT_USAGE after a message. */
struct run;
int options_take(struct run *run, int argc, char **argv);

/* remote.c: take events from other processes (`ketch nmi PID`); false: cannot listen, which is no
 * reason to stop. */
bool remote_listen(void);

/* What a run was asked to do, and what it came to. */
struct run {
	struct ketch_options machine;
	const char *drivers[16]; /* paths; the first is the driver under test */
	size_t driver_count;
	const char *loaded[16]; /* in the order of loading */
	size_t loaded_count;
	struct action actions[64];
	size_t action_count;
	const char *adapters[16], *failures[16];
	const char *registry[64];
	size_t registry_count;
	const char *files, *json;
	const char *expect_status, *expect_bugcheck, *expect_rule;
	uint64_t expect_status_value, expect_bugcheck_value;

	/* result */
	enum ketch_outcome outcome;
	bool unusable;       /* a file, image or argument, not the driver's doing: exit status 2 */
	char *message;       /* what was refused and why, lines of text; 0: status says it */
	const char *subject; /* the driver's file name */
	bool interrupted;
	bool unloaded;                 /* one or more drivers */
	bool stays_loaded;             /* a driver without DriverUnload */
	uint32_t status;               /* of the step that was refused */
	const char *stage;             /* what it was */
	struct ketch_nmi last_nmi[64]; /* per processor */
	uint64_t nmi_count[64];
	uint64_t ioctls;
	uint32_t added; /* processors, by this run's actions */
	double seconds;
	int exit_status;
};

/* run.c. False: stop here; outcome, status and stage tell why. */
bool run_step(struct run *run, const char *stage, enum ketch_outcome outcome, uint32_t status);
/* Why the last step was refused, in words; shown in the report. */
void run_explain(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* report.c: print the outcome to standard error; write --json. Sets run->exit_status. */
void report_text(struct run *run);
bool report_json(const struct run *run);
int report_exit_status(const struct run *run);
const char *status_name(uint32_t status); /* STATUS_..., or an empty text */
