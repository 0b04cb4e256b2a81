/* SPDX-License-Identifier: MIT */
/*
 * bound_registers.h: what bound_frame.c (the driver) and bound_registers64.c (the user program)
 * agree on. In round R of the program the callback changes register R, by changed().
 */
#pragma once

enum reg {
	RAX,
	RCX,
	RDX,
	RBX,
	RSP,
	RBP,
	RSI,
	RDI,
	R8,
	R9,
	R10,
	R11,
	R12,
	R13,
	R14,
	R15,
	RIP,
	FLAGS,
	MXCSR,
	DS,
	ES,
	FS,
	GS,
	GS_BASE,
	XMM0,
	XMM1,
	XMM2,
	XMM3,
	XMM4,
	XMM5,    /* the low halves; the high ones are their complements */
	CODE_64, /* CS 0x33, RIP = RDI */
	ROUNDS
};

#define SKIPPED 5 /* bytes from BOUND to behind the instruction that follows it */

static inline unsigned long long changed(enum reg reg, unsigned long long old)
{
	switch (reg) {
	case RAX:
		return 5; /* an index within the bounds: the instruction is executed again */
	case RDX:
		return old + 8; /* where there are other bounds */
	case RSP:
		return old - 64;
	case R12:
	case R13:
	case R14:
	case R15:
	case CODE_64:
		return old; /* not in the frame */
	case RIP:
		return old + SKIPPED;
	case FLAGS:
		return old ^ 0x41; /* CF, ZF */
	case MXCSR:
		return old ^ 0x2000; /* rounding */
	case DS:
	case ES:
		return 0x23; /* code that can be read is data */
	case FS:
	case GS:
		return 0x2b;
	case GS_BASE:
		return 0x123456789000;
	default:
		return reg >= XMM0 || (reg >= R8 && reg <= R11) ? old ^ 0xfedcba9876543210
								: old ^ 0x00ff00f0;
	}
}
