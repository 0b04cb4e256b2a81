/* SPDX-License-Identifier: MIT */
/*
 * window_program32.c: a 32-bit user program of the window_* drivers, without a C library:
 * `window_program32 pattern|stack|share [NUMBER]`. The exit status is the number of failures.
 */
#include "window_user.h"

static struct window_request request = {.sign = WINDOW_SIGN};
static unsigned char buffer[WINDOW_BUFFER + 4096];

static int call(int number, int a, int b, int c)
{
	int result;
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(a), "c"(b), "d"(c)
			 : "memory");
	return result;
}

static void ask(void)
{
	static const int bounds[2] = {0, 9};
	int index = 100;
	__asm__ volatile(".byte 0x62, 0x01" /* bound eax, [ecx] */
			 : "+a"(index)
			 : "c"(bounds), "d"(&request)
			 : "memory");
}

static int fail(void)
{
	call(4, 1, (int)"FAIL the driver's bytes\n", 24);
	return 1;
}

static int pattern(unsigned char *at)
{
	for (unsigned i = 0; i < WINDOW_BUFFER; i++)
		at[i] = (unsigned char)(i * 7);
	request.command = WINDOW_PATTERN;
	request.buffer = (unsigned)at;
	ask();
	for (unsigned i = 0; i < WINDOW_BUFFER; i++) {
		if (at[i] != (unsigned char)(i % 5 ? i * 11 : i * 7))
			return fail();
	}
	return 0;
}

static int share(unsigned own)
{
	request.command = WINDOW_SHARE;
	request.buffer = (unsigned)buffer;
	request.own = own;
	ask();
	for (unsigned i = 0; i < WINDOW_BUFFER; i += 4) {
		if (*(unsigned *)(buffer + i) != own)
			return fail();
	}
	return 0;
}

__attribute__((used)) static void run(int count, char **words)
{
	unsigned char on_stack[WINDOW_BUFFER];
	int failures = words[1][1] == 'a'   ? pattern(buffer) + pattern(buffer + 3)
		       : words[1][1] == 't' ? pattern(on_stack)
					    : share(count > 2 ? (unsigned)words[2][0] : 0);
	call(252, failures + (int)request.errors, 0, 0);
}

__asm__(".globl _start\n"
	"_start:\n"
	"	movl (%esp), %eax\n"
	"	leal 4(%esp), %edx\n"
	"	andl $-16, %esp\n"
	"	subl $8, %esp\n"
	"	pushl %edx\n"
	"	pushl %eax\n"
	"	call run\n");
