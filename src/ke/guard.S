/* SPDX-License-Identifier: MIT */
/*
 * Copies that survive a fault; see ke/guard.h. The functions change no stack pointer, so that the way out is a plain return.
 * A fault reports the instruction that faulted: everything between the two labels continues at ke_guard_failed.
 */
	.text
	.globl ke_guard_copy, ke_guard_recover
	.type ke_guard_copy, @function
	.type ke_guard_recover, @function

/* bool ke_guard_copy(void *to, const void *from, size_t size) */
	.balign 16
ke_guard_copy:
	.cfi_startproc
	cmpq $8, %rdx
	jne 1f
ke_guard_begin:
	movq (%rsi), %rax
	movq %rax, (%rdi)
	jmp 2f
1:	movq %rdx, %rcx
	rep movsb
ke_guard_end:
2:	movl $1, %eax
	ret
ke_guard_failed:
	xorl %eax, %eax
	ret
	.cfi_endproc
	.size ke_guard_copy, . - ke_guard_copy

/* uint64_t ke_guard_recover(uint64_t rip) */
	.balign 16
ke_guard_recover:
	.cfi_startproc
	xorl %eax, %eax
	leaq ke_guard_begin(%rip), %rdx
	cmpq %rdx, %rdi
	jb 1f
	leaq ke_guard_end(%rip), %rdx
	cmpq %rdx, %rdi
	jae 1f
	leaq ke_guard_failed(%rip), %rax
1:	ret
	.cfi_endproc
	.size ke_guard_recover, . - ke_guard_recover

	.section .note.GNU-stack, "", @progbits
