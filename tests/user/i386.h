/* SPDX-License-Identifier: MIT */
/* i386.h: what a 32-bit program without a C library needs: system calls, words, BOUND. */
#pragma once

typedef unsigned int u32;

__attribute__((always_inline)) static inline int call6(int number, u32 a, u32 b, u32 c, u32 d,
						       u32 e)
{
	int result;
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
			 : "memory");
	return result;
}

#define SYS_exit         1
#define SYS_fork         2
#define SYS_write        4
#define SYS_execve       11
#define SYS_getpid       20
#define SYS_pause        29
#define SYS_kill         37
#define SYS_rt_sigaction 174
#define SYS_waitpid      7
#define SYS_vfork        190
#define SYS_exit_group   252
#define SYS_modify_ldt   123
#define SYS_mmap2        192

static inline _Noreturn void leave(int status)
{
	for (;;)
		call6(SYS_exit_group, (u32)status, 0, 0, 0, 0);
}

static inline u32 length(const char *text)
{
	u32 n = 0;
	while (text[n])
		n++;
	return n;
}

static inline void say(const char *text)
{
	call6(SYS_write, 1, (u32)text, length(text), 0, 0);
}

static inline int same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static inline u32 number(const char *text)
{
	u32 value = 0;
	for (; *text; text++)
		value = value * 10 + (u32)(*text - '0');
	return value;
}

static inline int fail(const char *text)
{
	say("FAIL ");
	say(text);
	say("\n");
	leave(99);
}

/* BOUND eax, [ecx] (written out: clang and gas do not agree on its operands). */
static inline int bound(int index, const int *bounds)
{
	__asm__ volatile(".byte 0x62, 0x01"
			 : "+a"(index)
			 : "c"(bounds), "m"(bounds[0]), "m"(bounds[1]));
	return index;
}

int main(int count, char **words);

__asm__(".globl _start\n"
	"_start: movl %esp, %eax\n"
	"	andl $-16, %esp\n"
	"	subl $8, %esp\n"
	"	leal 4(%eax), %edx\n"
	"	pushl %edx\n"
	"	pushl (%eax)\n"
	"	call main\n"
	"	movl %eax, %ebx\n"
	"	movl $252, %eax\n"
	"	int $0x80\n");
