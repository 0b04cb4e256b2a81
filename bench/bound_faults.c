/* SPDX-License-Identifier: MIT */
/*
 * bound_faults: a 32-bit program of COUNT bound exceptions, one after the other; whoever handles
 * one skips the instruction (EIP + 2). Without a C library.
 */

static const int bounds[2] = {0, 9};

static int number_of(const char *text)
{
	int number = 0;
	while (*text >= '0' && *text <= '9')
		number = number * 10 + *text++ - '0';
	return number;
}

__attribute__((used)) static void run(int argc, char **argv)
{
	int count = argc > 1 ? number_of(argv[1]) : 1;
	for (int i = 0; i < count; i++) /* 62 0A: bound ecx, [edx] */
		__asm__ volatile(".byte 0x62, 0x0a" : : "c"(1000), "d"(bounds) : "memory");
	__asm__ volatile("int $0x80" : : "a"(1), "b"(0));
	__builtin_unreachable();
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
