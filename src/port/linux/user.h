/* SPDX-License-Identifier: MIT */
/*
 * user.h: what the files that trace user programs share.
 *
 * Everything that takes a struct port_user is called by the host thread that traces it, while the
 * user thread is stopped.
 */
#pragma once

#include <signal.h>
#include <sys/user.h>
#include "port/linux/host.h"

struct port_process {
	_Atomic uint32_t pid;        /* 0: gone */
	_Atomic uint32_t references; /* the core's, and one of each user thread */
	char image[4096];            /* changes with an exec, while it has one thread */
};

struct port_user {
	struct port_process *process;
	uint32_t tid;
	bool regs_read,
		regs_changed; /* `regs` holds the thread's registers; they differ from them */
	bool fxsave_read, fxsave_changed;
	struct port_user_regs regs;
	struct user_regs_struct raw; /* as the host gave them */
	struct user_fpregs_struct fxsave __attribute__((aligned(16)));
};

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
/*
 * A SIGSEGV stopped the thread: is it #BR (BND-27..29, 32)? user_bound.c. Registers are in
 * user->regs.
 */
bool user_is_bound(struct port_user *user, const siginfo_t *info);
