/* SPDX-License-Identifier: MIT */
/*
 * What imports are bound to unless it is the function itself, generated from the table:
 *
 *     ddi_entry_NAME    when it is DDI_THUNK: a stub that enters it through the thunk (ldr/ddi_thunk.S)
 *     ddi_checked_NAME  a stub that looks at the IRQL first; out of range, it calls vf_ddi_entry
 *
 * A stub changes neither the stack nor an argument register (RCX, RDX, R8, R9, XMM0-3) before it jumps on; RAX, R10 and
 * R11 are free at a call. The way to vf_ddi_entry is in the end of this file.
 *
 * Rows are numbered in the order of the table; ddi.c counts in the same order.
 */
#define PASSIVE  0
#define APC      1
#define DISPATCH 2
#define DIRQL    12
#define IPI      14
#define HIGH     15

#define IRQL_OFFSET 0x50 /* struct ke_processor.irql; asserted in ldr/ddi.c */

#include "ldr/ddi.h"

	.text
	.balign 16
ddi_stubs:
	.cfi_startproc	/* for all stubs: they do not move the stack */
	.set index, 0

	.macro ddi_checks name, target, min, max, flags
	.globl ddi_checked_\name
	.balign 8
ddi_checked_\name:
	.if (\min) > 0 || (\max) < HIGH || !((\flags) & DDI_NMI)
	movb %gs:IRQL_OFFSET, %al
	.if (\min) > 0
	cmpb $(\min), %al
	jb 1f
	.endif
	.if (\max) < HIGH
	cmpb $(\max), %al
	ja 1f
	.elseif !((\flags) & DDI_NMI)
	cmpb $HIGH, %al
	je 1f
	.endif
	jmp \target
1:	leaq \target(%rip), %rax
	movl $index, %r10d
	jmp ddi_violation
	.else
	jmp \target
	.endif
	.endm

	.macro ddi_row name, symbol, min, max, flags
	.if (\flags) & DDI_THUNK
	.globl ddi_entry_\name
	.balign 8
ddi_entry_\name:
	leaq \symbol(%rip), %rax
	movl $index, %r10d
	jmp ddi_thunk
	ddi_checks \name, ddi_entry_\name, \min, \max, (\flags)
	.else
	ddi_checks \name, \symbol, \min, \max, (\flags)
	.endif
	.set index, index + 1
	.endm

#define DDI_AS(name, symbol, module, min, max, version, rule, flags) \
	ddi_row name, symbol, min, max, (flags);
#define DDI(name, module, min, max, version, rule, flags) \
	ddi_row name, name, min, max, (flags);
#define DDI_DATA(name, module, version) .set index, index + 1;
#include "ldr/ddi.def"

	.cfi_endproc
	.balign 16

/*
 * The IRQL of a call is not allowed: vf_ddi_entry(index in R10D, return address), then on to RAX. The C function is SysV's, so
 * all that it may change and the driver's callee may need, or the driver relies on, is kept.
 */
	.type ddi_violation, @function
ddi_violation:
	.cfi_startproc
	pushq %rbp
	.cfi_def_cfa_offset 16
	.cfi_offset %rbp, -16
	movq %rsp, %rbp
	.cfi_def_cfa_register %rbp
	pushq %rax
	pushq %rcx
	pushq %rdx
	pushq %r8
	pushq %r9
	pushq %rsi
	pushq %rdi
	pushq %rdi
	subq $0x100, %rsp
	.irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movaps %xmm\number, \number * 16(%rsp)
	.endr
	cld
	movl %r10d, %edi
	movq 8(%rbp), %rsi
	call vf_ddi_entry
	.irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movaps \number * 16(%rsp), %xmm\number
	.endr
	addq $0x108, %rsp
	popq %rdi
	popq %rsi
	popq %r9
	popq %r8
	popq %rdx
	popq %rcx
	popq %rax
	popq %rbp
	.cfi_def_cfa %rsp, 8
	.cfi_restore %rbp
	jmp *%rax
	.cfi_endproc
	.size ddi_violation, . - ddi_violation

	.section .note.GNU-stack, "", @progbits
