/* SPDX-License-Identifier: MIT */
/*
 * bound_program32.c: a 32-bit user program of the bound_* drivers; EDX points to the bounds, EAX is
 * the index. The first word says what it does:
 *   times N            N exceptions; each time the index must come back in range
 *   handler N D        N exceptions; its own handler must see D of them (BND-24)
 *   others             what looks like a bound exception and is none (BND-28, 29, 32)
 */
#include "../user/i386.h"

static int limits[2] = {0, 9};

/* 62 02: bound eax, [edx] */
static int check(int index)
{
	__asm__ volatile(".byte 0x62, 0x02" : "+a"(index) : "d"(limits) : "memory");
	return index;
}

struct action {
	void (*handler)(int number, int *info, u32 *context);
	u32 flags;
	void (*restorer)(void);
	u32 mask[2];
};

__asm__("restore: movl $173, %eax\n int $0x80\n");
void restore(void);

static u32 seen, last_number;
static int last_code;
static u32 skip = 2;

static void on_signal(int number, int *info, u32 *context)
{
	seen++;
	last_number = (u32)number;
	last_code = info[2];
	context[5 + 14] += skip; /* EIP */
}

static void listen(void)
{
	struct action action = {
		on_signal, 0x44000004 /* SIGINFO, RESTORER, NODEFER */, restore, {0, 0}};
	if (call6(SYS_rt_sigaction, 11, (u32)&action, 0, 8, 0) != 0 ||
	    call6(SYS_rt_sigaction, 4, (u32)&action, 0, 8, 0) != 0)
		fail("sigaction");
}

static void expect(u32 number, int code, const char *what)
{
	if (seen != 1 || last_number != number || last_code != code)
		fail(what);
	seen = 0;
}

#define SI_KERNEL 0x80
#define MAPERR    1

static int others(void)
{
	int index = 1000;
	listen();
	__asm__ volatile(".byte 0xcd, 0x05" : : : "memory");
	expect(11, SI_KERNEL, "BND-32 INT 5");
	__asm__ volatile("movl %%ds, %%esi\n"
			 "xorl %%ecx, %%ecx\n"
			 "movl %%ecx, %%ds\n"
			 ".byte 0x62, 0x02\n"
			 "movl %%esi, %%ds"
			 : "+a"(index)
			 : "d"(limits)
			 : "ecx", "esi", "memory");
	expect(11, SI_KERNEL, "BOUND through a null segment");
	__asm__ volatile(".byte 0x62, 0x02" : "+a"(index) : "d"(16) : "memory");
	expect(11, MAPERR, "BOUND at a wild pointer");
	skip = 3;
	__asm__ volatile(".byte 0xf0, 0x62, 0x02" : "+a"(index) : "d"(limits) : "memory");
	expect(4, 2, "LOCK BOUND");
	skip = 1;
	__asm__ volatile("hlt");
	expect(11, SI_KERNEL, "a privileged instruction");
	skip = 3; /* movaps xmm0, [edx] at an odd address: #GP, with the same signal as #BR */
	__asm__ volatile(".byte 0x0f, 0x28, 0x02" : : "d"((u32)limits | 1) : "memory");
	expect(11, SI_KERNEL, "BND-28 another instruction with a memory operand");
	skip = 0;
	call6(SYS_kill, (u32)call6(SYS_getpid, 0, 0, 0, 0, 0), 11, 0, 0, 0);
	expect(11, 0, "SIGSEGV that a process sent");
	if (check(0) != 0 || check(9) != 9 || check(5) != 5 || seen)
		fail("BND-29 an index in range");
	limits[0] = -5, limits[1] = -5;
	if (check(-5) != -5 || seen)
		fail("BND-29 limits are signed and inclusive");
	return 0;
}

int main(int count, char **words)
{
	u32 n = count > 2 ? number(words[2]) : 1;
	if (count > 1 && same(words[1], "others"))
		return others();
	if (count > 3 && same(words[1], "handler")) {
		listen();
		for (u32 i = 0; i < n; i++)
			check(1000 + (int)i);
		return seen == number(words[3])
			       ? 0
			       : fail("BND-24, BND-26 its own handler was not called as often");
	}
	for (u32 i = 0; i < n; i++) {
		int index = check(1000 + (int)i);
		if (index < limits[0] || index > limits[1])
			fail("BND-21 the index is not in range");
	}
	return 0;
}
