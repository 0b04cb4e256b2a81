/* SPDX-License-Identifier: MIT */
/*
 * void port_context_resume(const struct port_regs *regs, const void *fxsave)
 *
 * Load every register of port.h's struct port_regs and continue at regs->rip. The last steps go through the target's own
 * stack, below its red zone: RAX, RFLAGS, RDI and RIP are put there, so an interrupt in between finds a valid stack and nothing of ours
 * below it.
 */
	.text
	.globl port_context_resume
	.type port_context_resume, @function
port_context_resume:
	.cfi_startproc
	pushq %rdi
	.cfi_adjust_cfa_offset 8
	pushq %rsi
	.cfi_adjust_cfa_offset 8
	subq $8, %rsp
	.cfi_adjust_cfa_offset 8
	call host_stack_abandon
	addq $8, %rsp
	.cfi_adjust_cfa_offset -8
	popq %rsi
	.cfi_adjust_cfa_offset -8
	popq %rdi
	.cfi_adjust_cfa_offset -8
	testq %rsi, %rsi
	jz 1f
	fxrstor64 (%rsi)
1:
	movq 0x20(%rdi), %rax		/* rsp */
	leaq -(128 + 32)(%rax), %rax
	movq (%rdi), %rcx		/* rax */
	movq %rcx, (%rax)
	movq 0x88(%rdi), %rcx		/* rflags */
	movq %rcx, 8(%rax)
	movq 0x38(%rdi), %rcx		/* rdi */
	movq %rcx, 16(%rax)
	movq 0x80(%rdi), %rcx		/* rip */
	movq %rcx, 24(%rax)
	/* for stack walks: the target is the caller from here on */
	.cfi_def_cfa %rax, 160
	.cfi_offset %rip, -136
	.cfi_offset %rdi, -144
	.cfi_offset %rax, -160
	movq 0x08(%rdi), %rcx
	movq 0x10(%rdi), %rdx
	movq 0x18(%rdi), %rbx
	movq 0x28(%rdi), %rbp
	movq 0x30(%rdi), %rsi
	movq 0x40(%rdi), %r8
	movq 0x48(%rdi), %r9
	movq 0x50(%rdi), %r10
	movq 0x58(%rdi), %r11
	movq 0x60(%rdi), %r12
	movq 0x68(%rdi), %r13
	movq 0x70(%rdi), %r14
	movq 0x78(%rdi), %r15
	movq %rax, %rsp			/* from here on *regs may be overwritten */
	.cfi_def_cfa_register %rsp
	popq %rax
	.cfi_def_cfa_offset 152
	.cfi_restore %rax
	popfq
	.cfi_def_cfa_offset 144
	popq %rdi
	.cfi_def_cfa_offset 136
	.cfi_restore %rdi
	ret $128			/* pops RIP and steps over the red zone: RSP is the target's */
	.cfi_endproc
	.size port_context_resume, . - port_context_resume
	.section .note.GNU-stack, "", @progbits
