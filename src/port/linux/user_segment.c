/* SPDX-License-Identifier: MIT */
/*
 * user_segment.c: what the selectors of a stopped user thread refer to.
 *
 * Context: the thread's own tracer, without a baton. Of the GDT user mode can load Linux's flat
 * segments and three entries that the thread sets itself (set_thread_area). The LDT is the
 * process's; only the process can read it, so it is made to (modify_ldt, into a page that is mapped
 * for the purpose). Programs with an LDT are rare; nobody else pays for it.
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <string.h>
#include <sys/mman.h>
#include "port/linux/user.h"

#define GDT_CODE_32 0x23
#define GDT_DATA    0x2b
#define GDT_CODE_64 0x33

#define TLS_FIRST 12 /* the thread's own entries of the GDT, on x86-64 */
#define TLS_LAST  14

#define LDT_ENTRY 8

static void describe(struct user_segment *segment, uint32_t base, uint32_t limit, bool pages)
{
	segment->base = base;
	segment->limit = pages ? limit << 12 | 0xfff : limit;
}

static bool flat(uint16_t selector, struct user_segment *segment)
{
	describe(segment, 0, 0xfffff, true);
	segment->present = segment->readable = true;
	segment->big = selector != GDT_CODE_64;
	segment->code = selector != GDT_DATA;
	segment->writable = selector == GDT_DATA;
	segment->long_mode = selector == GDT_CODE_64;
	return true;
}

static bool thread_area(struct port_user *user, unsigned index, struct user_segment *segment)
{
	struct user_desc desc;
	if (index < TLS_FIRST || index > TLS_LAST ||
	    user_ptrace(PTRACE_GET_THREAD_AREA, user->tid, index, &desc) != 0)
		return false;
	if (desc.seg_not_present && desc.read_exec_only && !desc.base_addr && !desc.limit)
		return false; /* an empty entry */
	describe(segment, desc.base_addr, desc.limit, desc.limit_in_pages);
	segment->present = !desc.seg_not_present;
	segment->big = desc.seg_32bit;
	segment->code = desc.contents & 2;
	segment->readable = !segment->code || !desc.read_exec_only;
	segment->writable = !segment->code && !desc.read_exec_only;
	segment->expand_down = desc.contents == MODIFY_LDT_CONTENTS_STACK;
	segment->long_mode = false;
	return true;
}

/* Copy the LDT up to and including `index`. False: there is no such entry, or the thread is gone.
 */
static bool ldt_read(struct port_user *user, unsigned index, uint8_t entry[LDT_ENTRY])
{
	const struct user_regs_struct regs = user->raw;
	uint64_t size = (index + 1) * LDT_ENTRY;
	uint64_t arguments[6] = {0,     size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				 ~0ull, 0};
	bool done, found = false;
	int64_t page = user_call_run(user, &regs, USER_CALL_MMAP, arguments, &done);
	if (page < 0 && page > -4096)
		goto out;
	uint64_t address = (uint64_t)page;
	if (user->call_bits == 32)
		address &= 0xffffffff;
	int64_t copied = user_call_run(user, &regs, USER_CALL_MODIFY_LDT,
				       (const uint64_t[6]){0, address, size}, &done);
	if (copied >= (int64_t)size)
		found = user_memory_read(user, address + size - LDT_ENTRY, entry, LDT_ENTRY) ==
			LDT_ENTRY;
	if (done)
		user_call_run(user, &regs, USER_CALL_MUNMAP, (const uint64_t[6]){address, size},
			      &done);
out:
	if (done)
		user_ptrace(PTRACE_SETREGS, user->tid, 0, (void *)(uintptr_t)&regs);
	return found;
}

static bool ldt(struct port_user *user, unsigned index, struct user_segment *segment)
{
	uint8_t d[LDT_ENTRY];
	if (!ldt_read(user, index, d))
		return false;
	unsigned type = d[5] & 15;
	if (!(d[5] & 0x10))
		return false; /* an empty entry */
	describe(segment, d[2] | d[3] << 8 | d[4] << 16 | (uint32_t)d[7] << 24,
		 d[0] | d[1] << 8 | (uint32_t)(d[6] & 15) << 16, d[6] & 0x80);
	segment->present = d[5] & 0x80;
	segment->big = d[6] & 0x40;
	segment->long_mode = d[6] & 0x20;
	segment->code = type & 8;
	segment->readable = !segment->code || (type & 2);
	segment->writable = !segment->code && (type & 2);
	segment->expand_down = !segment->code && (type & 4);
	return true;
}

bool user_segment_read(struct port_user *user, uint16_t selector, struct user_segment *segment)
{
	memset(segment, 0, sizeof *segment);
	if (!(selector & ~3)) /* null, whatever its RPL */
		return false;
	if (selector == GDT_CODE_32 || selector == GDT_DATA || selector == GDT_CODE_64)
		return flat(selector, segment);
	if (selector & 4)
		return ldt(user, selector >> 3, segment);
	return thread_area(user, selector >> 3, segment);
}
