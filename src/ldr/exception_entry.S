/* SPDX-License-Identifier: MIT */
/*
 * RtlCaptureContext, and the probes of stack pages that compilers call: routines whose contract is about registers.
 * Offsets are those of CONTEXT (asserted in ldr/ddi.c).
 */
	.text

/* VOID RtlCaptureContext(PCONTEXT): the caller's registers as they are after the call, but RCX, which is the argument. */
	.globl RtlCaptureContext
	.type RtlCaptureContext, @function
	.balign 16
RtlCaptureContext:
	.cfi_startproc
	movl $0x10000f, 0x30(%rcx)	/* ContextFlags: control, integer, segments, floating point */
	movq %rax, 0x78(%rcx)
	movq %rcx, 0x80(%rcx)
	movq %rdx, 0x88(%rcx)
	movq %rbx, 0x90(%rcx)
	leaq 8(%rsp), %rax
	movq %rax, 0x98(%rcx)
	movq %rbp, 0xa0(%rcx)
	movq %rsi, 0xa8(%rcx)
	movq %rdi, 0xb0(%rcx)
	movq %r8, 0xb8(%rcx)
	movq %r9, 0xc0(%rcx)
	movq %r10, 0xc8(%rcx)
	movq %r11, 0xd0(%rcx)
	movq %r12, 0xd8(%rcx)
	movq %r13, 0xe0(%rcx)
	movq %r14, 0xe8(%rcx)
	movq %r15, 0xf0(%rcx)
	movq (%rsp), %rax
	movq %rax, 0xf8(%rcx)
	pushfq
	.cfi_adjust_cfa_offset 8
	popq %rax
	.cfi_adjust_cfa_offset -8
	movl %eax, 0x44(%rcx)
	movw %cs, 0x38(%rcx)
	movw %ds, 0x3a(%rcx)
	movw %es, 0x3c(%rcx)
	movw %fs, 0x3e(%rcx)
	movw %gs, 0x40(%rcx)
	movw %ss, 0x42(%rcx)
	stmxcsr 0x34(%rcx)
	fxsave64 0x100(%rcx)
	movq 0x78(%rcx), %rax
	ret
	.cfi_endproc
	.size RtlCaptureContext, . - RtlCaptureContext

/*
 * __chkstk, ___chkstk_ms: RAX = bytes that the caller is about to take from the stack. Touch each page, so that the guard page is
 * met in order; all registers stay as they are.
 */
	.globl __chkstk, ___chkstk_ms
	.type __chkstk, @function
	.type ___chkstk_ms, @function
	.balign 16
__chkstk:
___chkstk_ms:
	.cfi_startproc
	pushq %rcx
	.cfi_adjust_cfa_offset 8
	pushq %rax
	.cfi_adjust_cfa_offset 8
	leaq 24(%rsp), %rcx
1:	cmpq $0x1000, %rax
	jb 2f
	subq $0x1000, %rcx
	testb $0, (%rcx)
	subq $0x1000, %rax
	jmp 1b
2:	subq %rax, %rcx
	testb $0, (%rcx)
	popq %rax
	.cfi_adjust_cfa_offset -8
	popq %rcx
	.cfi_adjust_cfa_offset -8
	ret
	.cfi_endproc
	.size __chkstk, . - __chkstk

	.section .note.GNU-stack, "", @progbits
