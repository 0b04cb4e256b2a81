/* SPDX-License-Identifier: MIT */
/*
 * long user_wait_unless(int32_t tid, int *status, unsigned options, _Atomic uint32_t *word)
 *
 * wait4, unless *word is or becomes different from 0: then -EINTR. The handler of the signal that announces the change
 * (user_wait_interrupted) finds the thread between user_wait_begin and user_wait_end and sends it to the end; there the
 * host would begin the call again. So the change is never missed, and no result is ever lost.
 */
	.text
	.globl user_wait_unless, user_wait_begin, user_wait_end
	.hidden user_wait_unless, user_wait_begin, user_wait_end
	.type user_wait_unless, @function
user_wait_unless:
	.cfi_startproc
	movq %rcx, %r8
	xorl %r10d, %r10d
user_wait_begin:
	cmpl $0, (%r8)
	jne 1f
	movl $61, %eax			/* wait4 */
	syscall
user_wait_end:
	ret
1:
	movq $-4, %rax			/* -EINTR */
	ret
	.cfi_endproc
	.size user_wait_unless, . - user_wait_unless
	.section .note.GNU-stack, "", @progbits
