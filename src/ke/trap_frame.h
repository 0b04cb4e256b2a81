/* SPDX-License-Identifier: MIT */
/* trap_frame.h: the registers of a stopped user thread as a KTRAP_FRAME, and back (DEF-27..32). */
#pragma once

#include <nttrap.h>
#include "ke/bound.h"

/* Fill in all that the layout has (DEF-29, DEF-30). `fxsave` may be 0: XMM and MXCSR are 0. */
void ke_trap_frame_fill(KTRAP_FRAME *frame, const struct port_user_regs *regs, const void *fxsave,
			const uint64_t debug_registers[6]);
/*
 * Write back what differs from `before`, the frame as it was filled in. What may not be changed is
 * refused and reported, `routine` being who wrote last (DEF-32). False: the thread cannot go on at
 * the frame's Rip.
 */
bool ke_trap_frame_apply(const KTRAP_FRAME *frame, const KTRAP_FRAME *before,
			 struct port_user *user, struct ke_bound_thread *memory, uint64_t routine);
