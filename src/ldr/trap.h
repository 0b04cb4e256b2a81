/* SPDX-License-Identifier: MIT */
/* trap.h: what ldr/trap.c and ldr/trap_fatal.c share. */
#pragma once

#include "ke/callout.h"
#include "ke/walk.h"
#include "ldr/ldr.h"

/* Where a trap happened. */
struct trap_place {
	struct port_regs regs;
	uint64_t driver_rip; /* RIP, or the driver's instruction when RIP is in a stub that stands
				for it */
	const struct ldr_image *image; /* that holds driver_rip; 0: the core, or nowhere */
	bool nowhere;                  /* the fault is the fetch of the instruction */
	KIRQL irql;
	uint64_t blame, blame_rsp;         /* newest address in a driver on the stack; 0: none */
	const struct ke_call_record *call; /* raise at this DDI call instead */
};

/* If `function` is the entry of exception dispatch, whose frame ends at `rsp`: the record of the
 * trap; else 0. NMI-safe. */
const struct ke_call_record *ldr_trap_record(uint64_t function, uint64_t rsp);

/* The documented exception for a trap. Returns by how much RIP is behind the instruction. */
unsigned trap_describe(const struct port_trap *trap, EXCEPTION_RECORD *record);
/* A bug check that the documents give this trap; for traps that no handler may see. */
_Noreturn void trap_fatal(const struct port_trap *trap, const struct trap_place *place);
/* Kernel code was to go on in memory of a user process: fatal, as with SMEP. */
bool trap_executes_user(const struct port_trap *trap);
/* Bug check 0xCE when the trap has to do with an unloaded driver. */
void trap_unloaded(const struct port_trap *trap, const struct trap_place *place);
/* Bug check 0x7F when the thread has used up its stack. */
void trap_guard_page(const struct port_trap *trap, const struct trap_place *place);
_Noreturn void trap_stack_overflow(const struct port_trap *trap, const struct trap_place *place);
