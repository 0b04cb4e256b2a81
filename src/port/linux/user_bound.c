/* SPDX-License-Identifier: MIT */
/*
 * user_bound.c: #BR of a traced thread: what bound_decode needs, from its tracer.
 *
 * Context: the thread's own tracer, without a baton. Most faults are in flat segments and in memory
 * that is there: they cost two reads of memory.
 */
#include "port/linux/bound_decode.h"

static size_t read_memory(void *user, uint64_t address, void *buffer, size_t size)
{
	return user_memory_read(user, address, buffer, size);
}

static bool read_segment(void *user, uint16_t selector, struct user_segment *segment)
{
	return user_segment_read(user, selector, segment);
}

bool user_is_bound(struct port_user *user, const siginfo_t *info, struct port_bound *bound)
{
	const struct bound_ops ops = {
		.context = user, .read = read_memory, .segment = read_segment};
	return bound_decode(&user->regs, info, &ops, bound) == BOUND_RAISED;
}
