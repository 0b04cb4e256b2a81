/* SPDX-License-Identifier: MIT */
/*
 * segments32.c: BOUND through segments of the program's own: an entry of the LDT, and one of the
 * thread (set_thread_area). Inside the limit it is #BR, which a callback handles; outside it is
 * #GP, which is the program's own business; and so is BOUND through a null segment.
 */
#include "i386.h"

#define SYS_set_thread_area 243

static int limits[4] __attribute__((aligned(16))) = {0, 9, 0, 9};

struct entry {
	u32 number, base, limit, flags;
};
#define FLAGS_DATA 0x41 /* 32-bit data, usable, in bytes */

static volatile u32 faults;

struct action {
	void (*handler)(int number, int *info, u32 *context);
	u32 flags;
	void (*restorer)(void);
	u32 mask[2];
};

__asm__("restore: movl $173, %eax\n int $0x80\n");
void restore(void);

static void on_fault(int number, int *info, u32 *context)
{
	if (number != 11 || info[2] != 0x80)
		fail("it is not a SIGSEGV of the processor");
	context[5 + 14] += 7;
	faults++;
}

/* bound eax, fs:[offset], 7 bytes, with `selector` in FS. */
#define BOUND_FS(index, selector, offset)                                                          \
	__asm__ volatile("movw %w2, %%fs\n.byte 0x64, 0x62, 0x05\n.long " #offset                  \
			 : "+a"(index)                                                             \
			 : "m"(limits), "r"(selector))

static void check(u32 selector)
{
	int index = 1000;
	BOUND_FS(index, selector, 0);
	if (index < 0 || index > 9)
		fail("a bound exception through the segment was not handled");
	if (faults)
		fail("it was delivered as well");
	index = 5;
	BOUND_FS(index, selector, 8); /* inside */
	index = 1000;
	BOUND_FS(index, selector, 12); /* its end is outside */
	if (index != 1000 || faults != 1)
		fail("a bound outside of the segment is not the program's own fault");
	faults = 0;
}

int main(int count, char **words)
{
	struct action action = {on_fault, 0x04000004, restore, {0, 0}};
	struct entry entry = {3, (u32)limits, 15, FLAGS_DATA};
	int index = 1000;
	(void)count;
	(void)words;
	if (call6(SYS_rt_sigaction, 11, (u32)&action, 0, 8, 0) != 0)
		fail("sigaction");
	if (call6(SYS_modify_ldt, 1, (u32)&entry, sizeof entry, 0, 0) == 0)
		check(3 << 3 | 7);
	else
		say("SKIP the host has no modify_ldt\n");
	entry.number = ~0u;
	if (call6(SYS_set_thread_area, (u32)&entry, 0, 0, 0, 0) != 0)
		fail("set_thread_area");
	check(entry.number << 3 | 3);
	BOUND_FS(index, 0, 0);
	if (index != 1000 || faults != 1)
		fail("a bound through a null segment");
	say("PASS segments\n");
	return 0;
}
