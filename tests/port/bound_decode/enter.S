/* SPDX-License-Identifier: MIT */
/*
 * enter.S: execute code of another segment with given registers until a signal handler brings the
 * thread back to bound_left. See test_bound_real.c for struct entry.
 */
	.text
	.globl bound_enter
	.type bound_enter, @function
bound_enter:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, bound_saved_rsp(%rip)
	movw 34(%rdi), %ax
	movw %ax, %ds
	movw 36(%rdi), %ax
	movw %ax, %es
	movw 38(%rdi), %ax
	movw %ax, %gs
	movzwl 40(%rdi), %eax
	pushq %rax		/* SS */
	movl 16(%rdi), %eax
	pushq %rax		/* ESP */
	pushq $0x202
	movzwl 32(%rdi), %eax
	pushq %rax		/* CS */
	movl 44(%rdi), %eax
	pushq %rax		/* EIP */
	movl 0(%rdi), %eax
	movl 4(%rdi), %ecx
	movl 8(%rdi), %edx
	movl 12(%rdi), %ebx
	movl 20(%rdi), %ebp
	movl 24(%rdi), %esi
	movl 28(%rdi), %edi
	iretq

	/* The handler comes here with the stack of the entry. */
	.globl bound_left
bound_left:
	xorl %eax, %eax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %gs
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret
	.size bound_enter, . - bound_enter

	.bss
	.globl bound_saved_rsp
	.balign 8
bound_saved_rsp:
	.quad 0
	.section .note.GNU-stack, "", @progbits
