/* SPDX-License-Identifier: MIT */
/*
 * bound_decode.h: was it #BR? What a fault in user mode was, judged by what the instruction would
 * do (BND-27..29, BND-32).
 *
 * Pure: it looks at registers, and asks for memory and segments.
 */
#pragma once

#include <signal.h>
#include "port/linux/user.h"

enum bound_verdict {
	BOUND_RAISED,        /* #BR: the index is below the lower or above the upper bound */
	BOUND_NOT_EXCEPTION, /* the signal is none of the processor's, or it names an address */
	BOUND_NOT_BOUND,     /* another instruction, 64-bit code, or none that can be fetched */
	BOUND_UNDEFINED,     /* LOCK BOUND: #UD */
	BOUND_PROTECTION,    /* #GP or #SS: segment or limit forbid the access, or it is too long */
	BOUND_NOT_ACCESSIBLE, /* the bounds cannot be read */
	BOUND_IN_RANGE,       /* it would pass */
};

struct bound_ops {
	void *context;
	/* As port_process_read. */
	size_t (*read)(void *context, uint64_t address, void *buffer, size_t size);
	/* As user_segment_read; base is not asked for of FS and GS, which `regs` has. */
	bool (*segment)(void *context, uint16_t selector, struct user_segment *segment);
};

/*
 * `info` is of the signal that stopped the thread, `regs` are as of that stop. *bound: what was
 * compared, if it came so far.
 */
enum bound_verdict bound_decode(const struct port_user_regs *regs, const siginfo_t *info,
				const struct bound_ops *ops, struct port_bound *bound);
