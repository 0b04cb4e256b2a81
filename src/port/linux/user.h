/* SPDX-License-Identifier: MIT */
/*
 * user.h: what the files that trace user programs share.
 *
 * Everything that takes a struct port_user is called by the host thread that traces it, while the
 * user thread is stopped.
 */
#pragma once

#include <linux/ptrace.h>
#include <signal.h>
#include <sys/user.h>
#include <sys/wait.h>
#include "port/linux/host.h"

struct user_image {
	struct user_image *older; /* of the same process: names are kept until it is released */
	uint64_t base, size;      /* of what is mapped of it; 0: unknown */
	char path[];
};

struct port_process {
	_Atomic uint32_t pid;        /* 0: gone */
	_Atomic uint32_t reader;     /* a thread by which its memory was reached last; 0: none */
	_Atomic uint32_t references; /* the core's, and one of each user thread */
	uint32_t id;                 /* pid, kept for reports */
	struct user_image *_Atomic image;
};

/* What a thread is stopped at: how it goes on depends on it. */
enum user_stop {
	USER_STOP_NONE,   /* it runs, or is gone */
	USER_STOP_EVENT,  /* goes on as if nothing had happened */
	USER_STOP_SIGNAL, /* `signal` waits to be passed on, or dropped */
	USER_STOP_GROUP,  /* the program is stopped by a signal: stays so until SIGCONT */
};

struct port_user {
	struct port_process *process;
	uint32_t tid;
	enum user_stop stop;
	int signal;
	int last_status; /* of its end, seen while the tracer waited for something else */
	bool last_status_valid;
	bool regs_read,
		regs_changed; /* `regs` holds the thread's registers; the core changed them */
	bool fxsave_read, fxsave_changed;
	struct port_user_regs regs;
	struct user_regs_struct raw; /* as the host gave them */
	struct user_fpregs_struct fxsave __attribute__((aligned(16)));
	uint64_t bound_code, bound_data; /* of its last #BR: the instruction and the bounds */
	siginfo_t info;                  /* of the fault that it is stopped at */
	bool fault;     /* it is stopped at a fault that the kernel decides about */
	bool kicked;    /* its next stop is told to the kernel, whatever it is */
	bool delivered; /* it was given a fault, and nothing has happened to it since */
	bool injected;  /* it has executed a call since, so the fault must be raised again ... */
	bool redeliver; /* ... which it is: the next one is no new fault */
	unsigned call_bits; /* of the last call that it was made to execute: 64 or 32 */
	/* A newborn between its parent's tracer and its own (user_child.c) */
	uint64_t mask;             /* its signal mask */
	bool guarded;              /* dies with its parent, until it is adopted */
	_Atomic uint32_t *adopted; /* its parent's tracer waits for 1 */
	/* A parent: what its tracer waits for before the parent goes on. 1: nothing. */
	_Atomic uint32_t child_adopted;
	struct user_newborn *newborns; /* stopped for the first time, not announced yet */
};

#define USER_OPTIONS                                                                               \
	(PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |      \
	 PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT | PTRACE_O_TRACESYSGOOD)

/* ptrace(2) as the host has it: no libc, negative errno. */
static inline long user_ptrace(long request, uint32_t tid, uint64_t address, void *data)
{
	return host_syscall(SYS_ptrace, request, (long)tid, (long)address, (long)data, 0, 0);
}

static inline long user_wait(int32_t tid, int *status)
{
	long result;
	do
		result = host_syscall(SYS_wait4, tid, (long)status, (long)(__WALL | __WNOTHREAD), 0,
				      0, 0);
	while (result == -EINTR);
	return result;
}

/* ---- user.c ---- */

struct port_process *user_process_create(uint32_t pid);
void user_process_reference(struct port_process *process);
struct port_user *user_create(struct port_process *process, uint32_t tid);
/* The process runs another program now: its name and place. No baton. */
void user_process_image_read(struct port_process *process);
/* A thread by which the process's memory can be reached: the first one may end before the others.
 * `not`: this one cannot; 0: any. 0: there is none. Any context. */
uint32_t user_process_reader(struct port_process *process, uint32_t not );
/* The thread ends: not by it any more. */
void user_process_forget(const struct port_user *user);
/* "/proc/ID" and `tail`, which is short. Any context. */
#define USER_PROC_PATH 32
void user_proc_path(char path[USER_PROC_PATH], uint32_t id, const char *tail);
/* user->regs and user->raw are those of the stopped thread. False: it is gone. */
bool user_regs_fetch(struct port_user *user);
/* Write back what the core changed. */
void user_regs_flush(struct port_user *user);

/* ---- user_run.c ---- */

/* Note what a stop is, so that user_go continues rightly. */
void user_stopped(struct port_user *user, int status);
/* Continue; `request` is PTRACE_CONT or PTRACE_SYSCALL. */
void user_go(struct port_user *user, long request);

/* ---- user_inject.c ---- */

enum user_call {
	USER_CALL_PAUSE,
	USER_CALL_PRCTL,
	USER_CALL_MMAP,
	USER_CALL_MUNMAP,
	USER_CALL_MREMAP,
	USER_CALL_MODIFY_LDT
};
/* Where a system call instruction stands that the stopped thread may execute; 64: `syscall` in
 * 64-bit code, 32: `int $0x80`; 0: none is known. `regs`: the thread's. */
unsigned user_call_site(struct port_user *user, const struct user_regs_struct *regs,
			uint64_t *address);
/* Registers such that the thread executes this call next. */
void user_call_prepare(struct user_regs_struct *regs, unsigned bits, uint64_t address,
		       enum user_call call, const uint64_t arguments[6]);
/*
 * Have the stopped thread execute a system call, and stop again. Its registers are then arbitrary,
 * a signal that it was stopped at has been taken off. Negative errno as result, *done false: the
 * thread is gone.
 */
int64_t user_call_run(struct port_user *user, const struct user_regs_struct *regs,
		      enum user_call call, const uint64_t arguments[6], bool *done);
/* Let it run, with this signal, to its next stop: also the entry or the exit of a system call.
 * False: it is gone or on its way out. */
bool user_call_step(struct port_user *user, int signal, int *status);

/* ---- user_child.c ---- */

struct user_newborn {
	struct user_newborn *next;
	uint32_t tid;
	bool dead;
};
/* The stop of a thread other than the tracer's own, with this status. */
void user_newborn_seen(struct port_user *user, uint32_t tid, int status);
/* The parent announces it. False: it died before. */
bool user_newborn_take(struct port_user *parent, uint32_t tid, struct port_user_event *event);
/* The tracer's own thread is gone: those that it did not come to announce end. */
void user_newborns_end(struct port_user *user);

/* ---- user_segment.c ---- */

/* A segment as the processor would see it. */
struct user_segment {
	uint32_t base, limit; /* limit in bytes, granularity applied: the last valid offset, or
				 below which none is valid when expand_down */
	bool present;
	bool code;        /* else data */
	bool readable;    /* code: may be read; data: always */
	bool writable;    /* data */
	bool expand_down; /* data */
	bool big;         /* D/B: 32-bit code, or upper bound 4 GiB when expand_down */
	bool long_mode;   /* L: 64-bit code */
};

/*
 * What a selector loaded in the stopped thread refers to: the flat segments of Linux, an entry of
 * the thread's TLS slots, or of the process's LDT. False: null, beyond its table, or unusable.
 */
bool user_segment_read(struct port_user *user, uint16_t selector, struct user_segment *segment);
/* Its memory; as port_process_read. */
size_t user_memory_read(struct port_user *user, uint64_t address, void *buffer, size_t size);

/* ---- user_bound.c ---- */

/* A SIGSEGV stopped the thread: is it #BR (BND-27..29, 32)? Registers are in user->regs. */
bool user_is_bound(struct port_user *user, const siginfo_t *info, struct port_bound *bound);
