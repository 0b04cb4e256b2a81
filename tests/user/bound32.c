/* SPDX-License-Identifier: MIT */
/*
 * bound32.c: a 32-bit program whose BOUND instructions fail. The first word says how:
 *   many N   N times; each must come back with an index in range, as a callback sets it
 *   own      it has a handler for SIGSEGV, which must see the exception (BND-24)
 *   die      it has none
 *   fork, vfork   a child fails, too
 *   exec PROGRAM ...   it fails, then becomes another program
 */
#include "i386.h"

static const int limits[2] = {0, 9};

static int in_range(int index)
{
	return index >= limits[0] && index <= limits[1];
}

static int many(u32 count)
{
	for (u32 i = 0; i < count; i++) {
		if (!in_range(bound(1000 + (int)i, limits)))
			fail("the index is not in range");
	}
	return 0;
}

/* ---- Its own handler ---- */

struct action {
	void (*handler)(int number, int *info, u32 *context);
	u32 flags;
	void (*restorer)(void);
	u32 mask[2];
};

__asm__("restore: movl $173, %eax\n int $0x80\n");
void restore(void);

static u32 delivered;

static void on_fault(int number, int *info, u32 *context)
{
	/* siginfo: number, errno, code; ucontext: flags, link, stack (3), then the registers, EIP
	 * 14th */
	u32 *eip = &context[5 + 14];
	const unsigned char *at = (const unsigned char *)*eip;
	if (number != 11 || info[2] != 0x80)
		fail("it is not a SIGSEGV of the processor");
	if (at[0] != 0x62)
		fail("the exception's address is not that of BOUND");
	*eip += 2;
	delivered++;
}

static int own(void)
{
	struct action action = {on_fault, 0x04000004 /* SIGINFO, RESTORER */, restore, {0, 0}};
	if (call6(SYS_rt_sigaction, 11, (u32)&action, 0, 8, 0) != 0)
		fail("sigaction");
	for (int i = 0; i < 3; i++) {
		if (bound(1000 + i, limits) != 1000 + i)
			fail("the index has changed");
	}
	return delivered == 3 ? 0 : fail("the handler did not run three times");
}

/* ---- Other processes ---- */

static int family(int call)
{
	int status;
	for (int i = 0; i < 5; i++) {
		int child = call6(call, 0, 0, 0, 0, 0);
		if (child == 0)
			leave(in_range(bound(1000 + i, limits)) ? 40 + i : 99);
		if (child < 0 || call6(SYS_waitpid, (u32)child, (u32)&status, 0, 0, 0) != child)
			fail("wait");
		if (status != (40 + i) << 8)
			fail("the child's status");
		many(2);
	}
	return 0;
}

int main(int count, char **words)
{
	if (count > 2 && same(words[1], "many"))
		return many(number(words[2]));
	if (count > 1 && same(words[1], "own"))
		return own();
	if (count > 1 && same(words[1], "fork"))
		return family(SYS_fork);
	if (count > 1 && same(words[1], "vfork"))
		return family(SYS_vfork);
	if (count > 2 && same(words[1], "exec")) {
		many(3);
		call6(SYS_execve, (u32)words[2], (u32)(words + 2), (u32)(words + count + 1), 0, 0);
		fail("exec");
	}
	bound(1000, limits);
	return 0;
}
