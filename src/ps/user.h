/* SPDX-License-Identifier: MIT */
/*
 * user.h: user programs: what the machine starts, and what became of them. user.c has processes,
 * user_thread.c their threads.
 */
#pragma once

#include "ps/ps.h"

struct port_user;

enum ps_program_state {
	PS_PROGRAM_STARTING,
	PS_PROGRAM_RUNNING,
	PS_PROGRAM_FAILED, /* it could not be started: `why` */
	PS_PROGRAM_ENDED,
};

/*
 * A program that was started, or the process of a program that ended in a way worth telling. Never
 * freed: host threads read the list. Written by the process's threads before `state` says so
 * (release).
 */
struct ps_program {
	struct ps_program *_Atomic next;
	_Atomic uint32_t state;
	char name[128]; /* as it was given; of a process that a program made: its image's */
	_Atomic uint32_t host_id; /* the host's process id */
	bool child;               /* a program made it */
	char why[160];            /* FAILED */
	NTSTATUS status;          /* ENDED: of the process object */
	bool killed;              /* ENDED: by signal `code`; else it exited with `code` */
	int code;
	bool refused;               /* a driver's process notify routine did not want it */
	bool bound_error;           /* a bound callback ended it */
	bool bound_fatal;           /* it died of a bound exception that was delivered to it */
	_Atomic uint64_t handled;   /* bound exceptions after which it went on */
	_Atomic uint64_t delivered; /* bound exceptions that became its own SIGSEGV */
	uint64_t address;        /* of the last bound exception that was delivered, or ended it */
	struct port_place place; /* where that is */
};
/* In the order of their start; 0: no more. Any thread. */
struct ps_program *ps_program_first(void);
struct ps_program *ps_program_next(struct ps_program *program);

/* Processes that have not ended, and user threads that are not gone. ke_host_signal tells when
 * there are none. */
extern _Atomic uint32_t ps_user_count;
void ps_user_less(void); /* by one; any context */

/*
 * Start a program: arguments as in port.h, kept by the caller until the state is no longer
 * STARTING. STATUS_INSUFFICIENT_RESOURCES. PASSIVE_LEVEL.
 */
NTSTATUS ps_user_start(const char *const *arguments, struct ps_program **program);
/* End all programs. PASSIVE_LEVEL. */
void ps_user_kill(void);

/* ---- Between user.c and user_thread.c ---- */

/* What a user process has besides its object. */
struct ps_user {
	PKPROCESS process; /* which has this */
	struct port_process *port;
	struct ps_program *program;
	bool listed;              /* `program` is in the list of programs */
	_Atomic uint32_t threads; /* that are not gone */
	_Atomic uint32_t living;  /* that have not begun to end */
	NTSTATUS status;          /* with which it ends, as far as is known; ps_lock */
	bool status_final;
};

NTSTATUS ps_user_create(const char *name, PKPROCESS parent, struct ps_user **user);
/* Its host process is there. */
bool ps_user_attach(struct ps_user *user, struct port_process *port);
/* Drivers are told of the process and its image, in the thread that makes it. */
void ps_user_tell_process(struct ps_user *user, const char *const *arguments);
void ps_user_tell_image(struct ps_user *user);
/* Another program runs in it. */
void ps_user_exec(struct ps_user *user);
/* The last thread begins to end; is gone. */
void ps_user_ending(struct ps_user *user);
void ps_user_ended(struct ps_user *user);
/* It could not be started. */
void ps_user_failed(struct ps_user *user, const char *why);
/* A thread of it ends (EXITING), or the host's process has ended (ENDED). */
void ps_user_status(struct ps_user *user, const struct port_user_event *event);
NTSTATUS ps_user_status_now(struct ps_user *user);
/* A bound callback ends it. */
void ps_user_bound_error(struct ps_user *user);
/* Where a bound exception that nobody handled was. */
void ps_user_place(struct ps_user *user, uint64_t address, const struct port_place *place);

NTSTATUS ps_user_thread_start(struct ps_user *user, const char *const *arguments,
			      struct port_user *port);
