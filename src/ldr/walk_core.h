/* SPDX-License-Identifier: MIT */
/* walk_core.h: undo one frame of the core's own code, for ldr/walk.c. */
#pragma once

#include "port/port.h"

/* Where the function begins that holds the address; 0: it is not code that ldr_walk_core_step
 * knows. */
uint64_t ldr_walk_core_function(uint64_t address);

/*
 * From a function of the core to its caller: RIP, RSP and nonvolatile registers. RIP is 0 when
 * nobody called it. `exact`: RIP is about to execute; false: it is a return address. Stack slots
 * outside [low, high) are not read. False: the code is not ours, or the stack is not what it should
 * be; *regs is then unchanged. Any IRQL, NMI too; no locks; never faults.
 */
bool ldr_walk_core_step(struct port_regs *regs, bool exact, uint64_t low, uint64_t high);
