/* SPDX-License-Identifier: MIT */
/*
 * bound_registers64.c: a 64-bit program at fixed addresses that goes to 32-bit code, fails at a
 * BOUND there, and looks at all its registers afterwards (DEF-31, DEF-35).
 *   all       ROUNDS times; in round R exactly register R has changed, as bound_registers.h says
 *   once      one exception
 *   handler   its own handler sees what the callback wrote
 *   trap      the first round hits a breakpoint behind the instruction, the second does not
 */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include "bound_registers.h"

/* In the order of enum reg, as far as the assembly code knows it; then XMM0..5, in pairs. */
uint64_t before[24], after[24], fs_base, saved_rsp;
uint64_t before_xmm[12] __attribute__((aligned(16))), after_xmm[12] __attribute__((aligned(16)));
int32_t bounds[4] __attribute__((aligned(16)));
struct {
	uint32_t offset;
	uint16_t selector;
} __attribute__((packed)) far_code;
uint8_t stack[4096] __attribute__((aligned(16)));
extern char code_32[], back[];
void registers_run(void);

__asm__(".text\n"
	"registers_run:\n"
	"	pushq %rbx\n	pushq %rbp\n	pushq %r12\n	pushq %r13\n"
	"	pushq %r14\n	pushq %r15\n"
	"	movq %rsp, saved_rsp\n"
	"	movl before+8*19, %eax\n	movl %eax, %ds\n"
	"	movl before+8*20, %eax\n	movl %eax, %es\n"
	"	ldmxcsr before+8*18\n"
	"	movaps before_xmm, %xmm0\n	movaps before_xmm+16, %xmm1\n"
	"	movaps before_xmm+32, %xmm2\n	movaps before_xmm+48, %xmm3\n"
	"	movaps before_xmm+64, %xmm4\n	movaps before_xmm+80, %xmm5\n"
	"	pushq before+8*17\n	popfq\n"
	"	movq before, %rax\n	movq before+8, %rcx\n	movq before+16, %rdx\n"
	"	movq before+24, %rbx\n	movq before+32, %rsp\n	movq before+40, %rbp\n"
	"	movq before+48, %rsi\n	movq before+56, %rdi\n	movq before+64, %r8\n"
	"	movq before+72, %r9\n	movq before+80, %r10\n	movq before+88, %r11\n"
	"	movq before+96, %r12\n	movq before+104, %r13\n	movq before+112, %r14\n"
	"	movq before+120, %r15\n"
	"	ljmp *far_code\n"
	"	.code32\n"
	"	.balign 16\n"
	"code_32:\n"
	"	.byte 0x62, 0x02\n"       /* bound eax, [edx] */
	"	.byte 0x8d, 0x76, 0x01\n" /* lea esi, [esi + 1] */
	"	ljmp $0x33, $back\n"
	"	.code64\n"
	"back:\n"
	"	movq %rax, after\n	movq %rcx, after+8\n	movq %rdx, after+16\n"
	"	movq %rbx, after+24\n	movq %rsp, after+32\n	movq %rbp, after+40\n"
	"	movq %rsi, after+48\n	movq %rdi, after+56\n	movq %r8, after+64\n"
	"	movq %r9, after+72\n	movq %r10, after+80\n	movq %r11, after+88\n"
	"	movq %r12, after+96\n	movq %r13, after+104\n	movq %r14, after+112\n"
	"	movq %r15, after+120\n"
	"	movq saved_rsp, %rsp\n"
	"	pushfq\n	popq after+8*17\n"
	"	cld\n"
	"	stmxcsr after+8*18\n"
	"	movaps %xmm0, after_xmm\n	movaps %xmm1, after_xmm+16\n"
	"	movaps %xmm2, after_xmm+32\n	movaps %xmm3, after_xmm+48\n"
	"	movaps %xmm4, after_xmm+64\n	movaps %xmm5, after_xmm+80\n"
	"	xorl %eax, %eax\n"
	"	movw %ds, %ax\n	movq %rax, after+8*19\n"
	"	movw %es, %ax\n	movq %rax, after+8*20\n"
	"	movw %fs, %ax\n	movq %rax, after+8*21\n"
	"	movw %gs, %ax\n	movq %rax, after+8*22\n"
	"	xorl %edi, %edi\n	movl %edi, %fs\n"
	"	movl $158, %eax\n	movl $0x1002, %edi\n	movq fs_base, %rsi\n"
	"	syscall\n" /* arch_prctl(ARCH_SET_FS): libc has its own things there */
	"	popq %r15\n	popq %r14\n	popq %r13\n	popq %r12\n"
	"	popq %rbp\n	popq %rbx\n"
	"	ret\n");

static int failures;

static void prepare(void)
{
	for (int i = 0; i < 16; i++)
		before[i] = i < 8 ? 0x10000000u + 0x01010101u * (unsigned)i
				  : 0x1122334455660000u + (unsigned)i;
	before[RAX] = 1000;
	before[RDX] = (uintptr_t)bounds;
	before[RSP] = (uintptr_t)stack + 2048;
	before[RDI] = (uintptr_t)back;
	before[FLAGS] = 0x202;
	before[MXCSR] = 0x1f80;
	before[DS] = before[ES] = 0x2b;
	for (int i = 0; i < 6; i++) {
		before_xmm[2 * i] = 0x0101010101010101u * (unsigned)(i + 1);
		before_xmm[2 * i + 1] = ~before_xmm[2 * i];
	}
	bounds[0] = bounds[2] = 0;
	bounds[1] = 9;
	bounds[3] = 0x7fffffff;
	far_code.offset = (uint32_t)(uintptr_t)code_32;
	far_code.selector = 0x23;
	syscall(SYS_arch_prctl, ARCH_GET_FS, &fs_base);
	syscall(SYS_arch_prctl, ARCH_SET_GS, 0);
}

static void run(void)
{
	prepare();
	registers_run();
	syscall(SYS_arch_prctl, ARCH_GET_GS, &after[GS_BASE]);
	/* ESI counts the instruction behind BOUND. */
	uint64_t steps = after[RSI] - before[RSI];
	after[RIP] = 1;
	if (steps <= 1) {
		after[RIP] = 1 - steps; /* 1: it was skipped */
		after[RSI] -= steps;
	} else {
		after[RSI]--;
		after[RIP] = 0;
	}
}

static void expect(unsigned round, const char *what, unsigned number, uint64_t is, uint64_t want)
{
	if (is == want)
		return;
	printf("FAIL round %u: %s %u is %#jx instead of %#jx\n", round, what, number, (uintmax_t)is,
	       (uintmax_t)want);
	failures++;
}

static void all(void)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		run();
		for (unsigned i = 0; i < 24; i++) {
			uint64_t want = i == round ? changed((enum reg)i, before[i]) : before[i];
			uint64_t is = after[i];
			if (i == RIP)
				want = round == RIP || round == CODE_64;
			if (i == FLAGS)
				is = (is & 0x23cd7) | 0x200, want = (want & 0x23cd7) | 0x200;
			if ((i == GS_BASE && round == GS) || (i == GS && round == GS_BASE))
				continue; /* one loads the other */
			expect(round, "register", i, is, want);
		}
		for (unsigned i = 0; i < 6; i++) {
			uint64_t want = round == XMM0 + i
						? changed((enum reg)round, before_xmm[2 * i])
						: before_xmm[2 * i];
			expect(round, "XMM", i, after_xmm[2 * i], want);
			expect(round, "the upper half of XMM", i, after_xmm[2 * i + 1], ~want);
		}
	}
}

/* ---- Signals; on a stack of their own, and with libc's FS ---- */

static volatile uint64_t seen_rax, seen_rip, seen;

static void on_signal(int number, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	(void)info;
	seen++;
	seen_rax = (uint64_t)g[REG_RAX];
	seen_rip = (uint64_t)g[REG_RIP];
	if (number == SIGTRAP)
		g[REG_EFL] |= 0x10000; /* RF: over the breakpoint */
}

static void listen(int number)
{
	static uint8_t signal_stack[65536];
	const stack_t alternate = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	sigaltstack(&alternate, NULL);
	sigaction(number, &action, NULL);
}

int main(int count, char **words)
{
	const char *mode = count > 1 ? words[1] : "all";
	if (!strcmp(mode, "all")) {
		all();
	} else if (!strcmp(mode, "handler")) {
		listen(SIGSEGV);
		run();
		expect(0, "signals seen", 0, seen, 1);
		expect(0, "the handler's RAX", 0, seen_rax, 0x4b45);
		expect(0, "the handler's RIP", 0, seen_rip, (uintptr_t)code_32 + 2);
	} else if (!strcmp(mode, "trap")) {
		listen(SIGTRAP);
		run();
		expect(0, "traps seen", 0, seen, 1);
		expect(0, "the trap's RIP", 0, seen_rip, (uintptr_t)back);
		run();
		expect(1, "traps seen", 0, seen, 1);
	} else {
		run();
	}
	fflush(stdout);
	return failures;
}
