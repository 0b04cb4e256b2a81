/* SPDX-License-Identifier: MIT */
/*
 * bound64.h: BOUND for 64-bit programs: a far return to 32-bit code below 4 GiB, with a stack
 * there, and back (DEF-35). Each thread has its own page.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct bound_page {
	uint8_t code[64];
	int32_t bounds[2];
	uint64_t unused;
	uint64_t saved, target; /* 16 and 24 bytes behind the bounds */
	uint8_t stack[3072];
	uint8_t top[16];
};

static inline struct bound_page *bound_page_create(void)
{
	/* 32-bit: bound eax, [ecx]; ljmp 0x33:behind it. 64-bit: jmp *24(rcx) */
	static const uint8_t code[] = {0x62, 0x01, 0xea, 0, 0, 0, 0, 0x33, 0, 0xff, 0x61, 24};
	struct bound_page *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (page == MAP_FAILED) {
		printf("FAIL mmap\n");
		exit(99);
	}
	memcpy(page->code, code, sizeof code);
	uint32_t behind = (uint32_t)(uintptr_t)(page->code + 9);
	memcpy(page->code + 3, &behind, 4);
	page->bounds[1] = 9;
	memset(page->top, 0x5a, sizeof page->top);
	return page;
}

/* The index, as it is after the instruction. Only what lies below 4 GiB survives in registers. */
__attribute__((noinline)) static int32_t bound_run(struct bound_page *page, int32_t index)
{
	uint64_t result = (uint32_t)index, bounds = (uintptr_t)page->bounds;
	uint64_t stack = (uintptr_t)page->top, code = (uintptr_t)page->code;
	__asm__ volatile("pushq %%rbx\n"
			 "pushq %%rbp\n"
			 "movl $0x2b, %%ebx\n"
			 "movl %%ebx, %%ds\n"
			 "movl %%ebx, %%es\n"
			 "movq %%rsp, 16(%%rcx)\n"
			 "leaq 1f(%%rip), %%rbx\n"
			 "movq %%rbx, 24(%%rcx)\n"
			 "movq %%rdx, %%rsp\n"
			 "pushq $0x23\n"
			 "pushq %%rsi\n"
			 "lretq\n"
			 "1: movq 16(%%rcx), %%rsp\n"
			 "popq %%rbp\n"
			 "popq %%rbx\n"
			 : "+a"(result), "+c"(bounds), "+d"(stack), "+S"(code)
			 :
			 : "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory",
			   "cc");
	return (int32_t)result;
}
