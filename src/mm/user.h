/* SPDX-License-Identifier: MIT */
/*
 * user.h: the memory of user processes, as kernel code sees it at the program's own addresses
 * (DESIGN.md section 2, DEF-33); mm/user.c has the theory.
 *
 * What a process needs: mm_space_create when it comes into being, its result in
 * KPROCESS.address_space; mm_space_flush before a thread of the program goes on; mm_space_close
 * when the program has ended. Everybody who makes a thread current on a processor, or changes a
 * thread's process, calls ke_process_switched (ke/ke.h).
 */
#pragma once

#include <ntifs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "port/port.h"

/* The memory of a user process: KPROCESS.address_space; 0: the process has none (the system's). */
struct mm_space;

/* 0: no memory. The port's process must stay until mm_space_close has returned. PASSIVE_LEVEL. */
struct mm_space *mm_space_create(struct port_process *process);
/*
 * Kernel code's changes go to the program now, and what kernel code reads next is read again. Call
 * it before a thread of the program resumes. IRQL <= DISPATCH_LEVEL.
 */
void mm_space_flush(struct mm_space *space);
/*
 * The process runs another program (exec): changes that are not with the old one are lost with it,
 * and pages that MDLs have locked belong to nobody any more. IRQL <= DISPATCH_LEVEL.
 */
void mm_space_replaced(struct mm_space *space);
/*
 * The program has ended: from now on its memory is not there; threads may still be attached.
 * PASSIVE_LEVEL. The space itself is freed with its process object.
 */
void mm_space_close(struct mm_space *space);
void mm_space_free(struct mm_space *space);

/*
 * A page fault of kind `access` at a user address, in a trap handler. True: try the instruction
 * again. False: a bad address, or the IRQL does not allow it.
 */
bool mm_user_fault(uint64_t address, unsigned access, KIRQL irql);
/* The calling thread sees a user process. Any context. */
bool mm_user_current(void);
/* The calling thread's process has memory at `address` that it may read (write). IRQL <=
 * DISPATCH_LEVEL; above it, and in an NMI, only what is in the window now counts. */
bool mm_user_accessible(uint64_t address, bool write);
/* Where in kernel memory the byte at `address` of the current process is, while an MDL has its page
 * locked; 0: it has not, or this is an NMI. */
void *mm_user_locked(uint64_t address);
/* The verifier takes pageable memory away: this processor raised its IRQL. Any context. */
void mm_user_trim(void);
