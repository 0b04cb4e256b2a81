/* SPDX-License-Identifier: MIT */
/*
 * walk.h: walk a kernel thread's stack, through drivers (by their unwind data) and the core (by
 * frame pointers and call records). Any IRQL, NMI too; bounded; never faults, whatever the
 * registers and the stack contain.
 *
 *     struct ke_walk walk;
 *     ke_walk_begin(&walk, thread, &regs);
 *     while (ke_walk_next(&walk))
 *             use(walk.address, walk.image);
 */
#pragma once

#include "ke/callout.h"
#include "ke/ke.h"

struct ldr_image;

struct ke_walk {
	/* the frame that ke_walk_next found */
	uint64_t address;              /* instruction, or return address */
	uint64_t stack;                /* RSP there */
	const struct ldr_image *image; /* driver that holds it; 0: the core (or nowhere) */
	bool exact; /* `address` was about to execute; false: it is a return address */

	/* the walk's own */
	struct port_regs regs;
	PKTHREAD thread;
	const struct ke_call_record *record; /* newest one not passed yet */
	uint64_t low, high;                  /* of the stack that it is on */
	unsigned frames;
	bool nowhere; /* RIP is no code */
	bool begun, ended;
};

/*
 * Walk `thread` from `regs`, which count as interrupted there; regs 0: from the caller of this
 * function, which is the calling thread. The thread is the calling one, or one that stands still.
 */
void ke_walk_begin(struct ke_walk *walk, PKTHREAD thread, const struct port_regs *regs);
/* From the driver that called the DDI that runs now (newest call record), for thunked DDIs. */
void ke_walk_begin_caller(struct ke_walk *walk);
/* Go to the first, then to each next frame. False: no more. */
bool ke_walk_next(struct ke_walk *walk);

/* The newest record from `record` on that is not below `rsp`: those below it belong to calls that
 * have been left. */
const struct ke_call_record *ke_walk_record(const struct _KTHREAD *thread,
					    const struct ke_call_record *record, uint64_t rsp);

/* `nmi.sys+0x1a2c`, for an address in a driver that is or was loaded; else false and an empty text.
 */
bool ke_where(uint64_t address, char *text, size_t size);
/* The file name of the driver that holds it; 0: none. */
const char *ke_where_driver(uint64_t address);
