/* SPDX-License-Identifier: MIT */
/*
 * The call-record thunk (DESIGN.md decision 5): between a driver and a DDI that may raise an exception or call a driver.
 *
 * It builds a struct ke_call_record (ke/callout.h) with the driver's nonvolatile registers, links it into the thread, calls
 * the function with a copy of the arguments, and unlinks. An unwind that leaves the call goes to the record's
 * registers; the record is then dropped by its address.
 *
 * Stack, downwards: return address | RBP | record, 0x110 | 12 stack arguments, 0x60 | home space, 0x20.
 *
 * NMI at any instruction: a stack walk goes through the thunk by its call frame information. A record is complete before it is
 * linked. An NMI links and unlinks its own record above ours, so our read and write of the list need not be one.
 */
#define THREAD_OFFSET  0x188 /* struct ke_processor.current */
#define RECORDS_OFFSET 0x458 /* struct _KTHREAD.records; both asserted in ldr/ddi.c */

#define RECORD   -0x110
#define PREVIOUS RECORD + 0x00
#define KIND     RECORD + 0x08
#define RIP      RECORD + 0x10
#define RSP      RECORD + 0x18
#define RBX      RECORD + 0x20
#define RBP      RECORD + 0x28
#define RSI      RECORD + 0x30
#define RDI      RECORD + 0x38
#define R12      RECORD + 0x40
#define R13      RECORD + 0x48
#define R14      RECORD + 0x50
#define R15      RECORD + 0x58
#define XMM6     RECORD + 0x60
#define FRAME    RECORD + 0x100
#define DDI      RECORD + 0x108

	.text
/* RAX: the function. R10D: its row. Everything else as the driver left it. */
	.globl ddi_thunk
	.type ddi_thunk, @function
	.balign 16
ddi_thunk:
	.cfi_startproc
	pushq %rbp
	.cfi_def_cfa_offset 16
	.cfi_offset %rbp, -16
	movq %rsp, %rbp
	.cfi_def_cfa_register %rbp
	subq $0x190, %rsp
	movq %rbx, RBX(%rbp)
	movq %rsi, RSI(%rbp)
	movq %rdi, RDI(%rbp)
	movq %r12, R12(%rbp)
	movq %r13, R13(%rbp)
	movq %r14, R14(%rbp)
	movq %r15, R15(%rbp)
	movaps %xmm6, XMM6 + 0x00(%rbp)
	movaps %xmm7, XMM6 + 0x10(%rbp)
	movaps %xmm8, XMM6 + 0x20(%rbp)
	movaps %xmm9, XMM6 + 0x30(%rbp)
	movaps %xmm10, XMM6 + 0x40(%rbp)
	movaps %xmm11, XMM6 + 0x50(%rbp)
	movaps %xmm12, XMM6 + 0x60(%rbp)
	movaps %xmm13, XMM6 + 0x70(%rbp)
	movaps %xmm14, XMM6 + 0x80(%rbp)
	movaps %xmm15, XMM6 + 0x90(%rbp)
	movq (%rbp), %r11
	movq %r11, RBP(%rbp)
	movq 8(%rbp), %r11
	movq %r11, RIP(%rbp)
	leaq 16(%rbp), %r11
	movq %r11, RSP(%rbp)
	movq $0, KIND(%rbp)		/* KE_RECORD_DDI */
	movq $0, FRAME(%rbp)
	movl %r10d, %r10d
	movq %r10, DDI(%rbp)

	/* arguments 5 to 16, from behind the driver's home space to behind ours */
	.irp slot, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
	movq 0x30 + 8 * \slot(%rbp), %r11
	movq %r11, 0x20 + 8 * \slot(%rsp)
	.endr

	movq %gs:THREAD_OFFSET, %r10
	movq RECORDS_OFFSET(%r10), %r11
	movq %r11, PREVIOUS(%rbp)
	leaq RECORD(%rbp), %r11
	movq %r11, RECORDS_OFFSET(%r10)

	call *%rax

	/* The thread may be on another processor now; RAX and XMM0 hold the result. */
	movq %gs:THREAD_OFFSET, %r10
	movq PREVIOUS(%rbp), %r11
	movq %r11, RECORDS_OFFSET(%r10)
	leave
	.cfi_def_cfa %rsp, 8
	.cfi_restore %rbp
	ret
	.cfi_endproc
	.size ddi_thunk, . - ddi_thunk

	.section .note.GNU-stack, "", @progbits
