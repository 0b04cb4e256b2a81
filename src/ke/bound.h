/* SPDX-License-Identifier: MIT */
/* bound.h: bound exceptions (#BR) of user threads, for the parts around ke/bound.c. */
#pragma once

#include "ke/registry.h"

/* A routine may lie outside of every driver (DEF-37). Set before boot. */
extern bool ke_bound_anywhere;

/* What becomes of a user thread after its #BR. */
enum ke_bound_outcome {
	KE_BOUND_RESUME,  /* handled: it goes on with its registers as they are now (BND-21, 22) */
	KE_BOUND_DELIVER, /* nobody handled it: STATUS_ARRAY_BOUNDS_EXCEEDED at its RIP (BND-24) */
	KE_BOUND_END,     /* its process ends with STATUS_ARRAY_BOUNDS_EXCEEDED (BND-23, DEF-32) */
};

/* What is remembered of a user thread from one fault to the next; zero at its start. Its own. */
struct ke_bound_thread {
	struct port_user_regs regs; /* at the last fault that was handled without a change */
	struct port_bound bound;
	uint32_t repeats;            /* of it, one after the other */
	uint64_t debug_registers[6]; /* DR0..DR3, DR6, DR7, as callbacks set them */
};

/*
 * A #BR stopped the user thread of the calling thread, which is in the kernel again: offer it to
 * the callbacks, newest first. PASSIVE_LEVEL, the process's memory at its own addresses. `bound`:
 * what the instruction compared.
 */
enum ke_bound_outcome ke_bound_fault(struct port_user *user, const struct port_bound *bound,
				     struct ke_bound_thread *memory);

/* Each registered callback, for unload checks. IRQL <= DISPATCH_LEVEL. */
void ke_bound_callbacks_each(void (*each)(void *context, const struct ke_registry_entry *entry),
			     void *context);
