/* SPDX-License-Identifier: MIT */
/*
 * user_bound.c: #BR of a traced thread: what bound_decode needs, from its tracer.
 *
 * Context: the thread's own tracer, without a baton. A loop fails at one instruction again and
 * again, with its bounds in one place: instruction and bounds are then fetched by one call of the
 * host, on the guess that they are where they were last time. A wrong guess costs nothing but the
 * call that it would have saved.
 */
#define _GNU_SOURCE
#include "port/linux/bound_decode.h"
#include <string.h>
#include <sys/uio.h>

#define CODE_SIZE 15
#define DATA_SIZE 8
#define CS_32     0x23 /* flat: an offset is an address */

/* What was fetched ahead. */
struct look {
	struct port_user *user;
	bool valid;
	uint64_t code_at, data_at;
	uint8_t code[CODE_SIZE], data[DATA_SIZE];
};

static void look_ahead(struct look *look)
{
	struct port_user *user = look->user;
	look->code_at = (uint32_t)user->regs.general.rip;
	look->data_at = user->bound_data;
	if (user->regs.cs != CS_32 || look->code_at != user->bound_code || !look->data_at)
		return;
	struct iovec to[2] = {{look->code, CODE_SIZE}, {look->data, DATA_SIZE}};
	struct iovec from[2] = {{(void *)look->code_at, CODE_SIZE},
				{(void *)look->data_at, DATA_SIZE}};
	look->valid = host_syscall(SYS_process_vm_readv, user->tid, (long)to, 2, (long)from, 2,
				   0) == CODE_SIZE + DATA_SIZE;
}

static size_t read_memory(void *context, uint64_t address, void *buffer, size_t size)
{
	struct look *look = context;
	if (look->valid && address == look->code_at && size == CODE_SIZE) {
		memcpy(buffer, look->code, size);
		return size;
	}
	if (look->valid && address == look->data_at && size <= DATA_SIZE) {
		memcpy(buffer, look->data, size);
		return size;
	}
	return user_memory_read(look->user, address, buffer, size);
}

static bool read_segment(void *context, uint16_t selector, struct user_segment *segment)
{
	return user_segment_read(((struct look *)context)->user, selector, segment);
}

bool user_is_bound(struct port_user *user, const siginfo_t *info, struct port_bound *bound)
{
	struct look look = {.user = user};
	const struct bound_ops ops = {
		.context = &look, .read = read_memory, .segment = read_segment};
	look_ahead(&look);
	if (bound_decode(&user->regs, info, &ops, bound) != BOUND_RAISED)
		return false;
	user->bound_code = (uint32_t)user->regs.general.rip;
	user->bound_data = bound->address;
	return true;
}
