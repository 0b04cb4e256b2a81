/* SPDX-License-Identifier: MIT
 *
 * KTRAP_FRAME, 0x190 bytes (DEF-29): the registers of user mode that the kernel holds while it
 * handles a fault. A bound callback reaches it at KTHREAD + 0x90 (DEF-27).
 */
#pragma once
#include "wdm/context.h"
#include "wdm/ke_types.h"

EXTERN_C_START

struct _KTRAP_FRAME {
	ULONG64 P1Home, P2Home, P3Home, P4Home; /* 000 */
	ULONG64 P5;                             /* 020 */
	KPROCESSOR_MODE PreviousMode;           /* 028 */
	KIRQL PreviousIrql;
	UCHAR FaultIndicator;
	UCHAR ExceptionActive;
	ULONG MxCsr;
	ULONG64 Rax, Rcx, Rdx, R8, R9, R10, R11; /* 030 */
	union {
		ULONG64 GsBase; /* 068 */
		ULONG64 GsSwap;
	};
	M128A Xmm0, Xmm1, Xmm2, Xmm3, Xmm4, Xmm5; /* 070 */
	union {
		ULONG64 FaultAddress; /* 0D0 */
		ULONG64 ContextRecord;
	};
	ULONG64 Dr0, Dr1, Dr2, Dr3, Dr6, Dr7; /* 0D8 */
	ULONG64 DebugControl;
	ULONG64 LastBranchToRip, LastBranchFromRip;
	ULONG64 LastExceptionToRip, LastExceptionFromRip;
	USHORT SegDs, SegEs, SegFs, SegGs; /* 130 */
	ULONG64 TrapFrame;
	ULONG64 Rbx, Rdi, Rsi, Rbp; /* 140 */
	union {
		ULONG64 ErrorCode; /* 160 */
		ULONG64 ExceptionFrame;
	};
	ULONG64 Rip;
	USHORT SegCs;
	UCHAR Fill0;
	UCHAR Logging;
	USHORT Fill1[2];
	ULONG EFlags;
	ULONG Fill2;
	ULONG64 Rsp;
	USHORT SegSs;
	USHORT Fill3;
	ULONG Fill4;
};

EXTERN_C_END
