/* SPDX-License-Identifier: MIT
 *
 * Register contexts, exceptions and unwinding on x64 (DEF-331..333). CONTEXT is 0x4D0 bytes.
 */
#pragma once
#include "../ntdef.h"

EXTERN_C_START

typedef struct DECLSPEC_ALIGN(16) _M128A {
	ULONGLONG Low;
	LONGLONG High;
} M128A, *PM128A;

typedef struct DECLSPEC_ALIGN(16) _XSAVE_FORMAT {
	USHORT ControlWord;
	USHORT StatusWord;
	UCHAR TagWord;
	UCHAR Reserved1;
	USHORT ErrorOpcode;
	ULONG ErrorOffset;
	USHORT ErrorSelector;
	USHORT Reserved2;
	ULONG DataOffset;
	USHORT DataSelector;
	USHORT Reserved3;
	ULONG MxCsr;
	ULONG MxCsr_Mask;
	M128A FloatRegisters[8];
	M128A XmmRegisters[16];
	UCHAR Reserved4[96];
} XSAVE_FORMAT, *PXSAVE_FORMAT, XMM_SAVE_AREA32, *PXMM_SAVE_AREA32;

#define CONTEXT_AMD64           0x00100000
#define CONTEXT_CONTROL         (CONTEXT_AMD64 | 0x01)
#define CONTEXT_INTEGER         (CONTEXT_AMD64 | 0x02)
#define CONTEXT_SEGMENTS        (CONTEXT_AMD64 | 0x04)
#define CONTEXT_FLOATING_POINT  (CONTEXT_AMD64 | 0x08)
#define CONTEXT_DEBUG_REGISTERS (CONTEXT_AMD64 | 0x10)
#define CONTEXT_XSTATE          (CONTEXT_AMD64 | 0x40)
#define CONTEXT_FULL            (CONTEXT_CONTROL | CONTEXT_INTEGER | CONTEXT_FLOATING_POINT)
#define CONTEXT_ALL             (CONTEXT_FULL | CONTEXT_SEGMENTS | CONTEXT_DEBUG_REGISTERS)
#define CONTEXT_UNWOUND_TO_CALL 0x20000000

typedef struct DECLSPEC_ALIGN(16) _CONTEXT {
	ULONG64 P1Home, P2Home, P3Home, P4Home, P5Home, P6Home; /* 000 */
	ULONG ContextFlags;                                     /* 030 */
	ULONG MxCsr;
	USHORT SegCs, SegDs, SegEs, SegFs, SegGs, SegSs; /* 038 */
	ULONG EFlags;
	ULONG64 Dr0, Dr1, Dr2, Dr3, Dr6, Dr7;           /* 048 */
	ULONG64 Rax, Rcx, Rdx, Rbx, Rsp, Rbp, Rsi, Rdi; /* 078 */
	ULONG64 R8, R9, R10, R11, R12, R13, R14, R15;
	ULONG64 Rip; /* 0F8 */
	union {
		XMM_SAVE_AREA32 FltSave; /* 100 */
		struct {
			M128A Header[2];
			M128A Legacy[8];
			M128A Xmm0, Xmm1, Xmm2, Xmm3, Xmm4, Xmm5, Xmm6, Xmm7;
			M128A Xmm8, Xmm9, Xmm10, Xmm11, Xmm12, Xmm13, Xmm14, Xmm15;
		};
	};
	M128A VectorRegister[26]; /* 300 */
	ULONG64 VectorControl;
	ULONG64 DebugControl;
	ULONG64 LastBranchToRip, LastBranchFromRip;
	ULONG64 LastExceptionToRip, LastExceptionFromRip;
} CONTEXT, *PCONTEXT;

#define EXCEPTION_NONCONTINUABLE     0x01
#define EXCEPTION_UNWINDING          0x02
#define EXCEPTION_EXIT_UNWIND        0x04
#define EXCEPTION_STACK_INVALID      0x08
#define EXCEPTION_NESTED_CALL        0x10
#define EXCEPTION_TARGET_UNWIND      0x20
#define EXCEPTION_COLLIDED_UNWIND    0x40
#define EXCEPTION_UNWIND             0x66
#define IS_UNWINDING(flags)          (((flags)&EXCEPTION_UNWIND) != 0)
#define IS_DISPATCHING(flags)        (((flags)&EXCEPTION_UNWIND) == 0)
#define IS_TARGET_UNWIND(flags)      (((flags)&EXCEPTION_TARGET_UNWIND) != 0)
#define EXCEPTION_MAXIMUM_PARAMETERS 15

typedef struct _EXCEPTION_RECORD {
	NTSTATUS ExceptionCode;
	ULONG ExceptionFlags;
	struct _EXCEPTION_RECORD *ExceptionRecord;
	PVOID ExceptionAddress;
	ULONG NumberParameters;
	ULONG_PTR ExceptionInformation[EXCEPTION_MAXIMUM_PARAMETERS];
} EXCEPTION_RECORD, *PEXCEPTION_RECORD;

typedef struct _EXCEPTION_POINTERS {
	PEXCEPTION_RECORD ExceptionRecord;
	PCONTEXT ContextRecord;
} EXCEPTION_POINTERS, *PEXCEPTION_POINTERS;

typedef enum _EXCEPTION_DISPOSITION {
	ExceptionContinueExecution,
	ExceptionContinueSearch,
	ExceptionNestedException,
	ExceptionCollidedUnwind
} EXCEPTION_DISPOSITION;

/* .pdata: three RVAs (DEF-331). */
typedef struct _IMAGE_RUNTIME_FUNCTION_ENTRY {
	ULONG BeginAddress;
	ULONG EndAddress;
	union {
		ULONG UnwindInfoAddress;
		ULONG UnwindData;
	};
} RUNTIME_FUNCTION, *PRUNTIME_FUNCTION, IMAGE_RUNTIME_FUNCTION_ENTRY,
	*PIMAGE_RUNTIME_FUNCTION_ENTRY;

#define UNW_FLAG_NHANDLER  0
#define UNW_FLAG_EHANDLER  1
#define UNW_FLAG_UHANDLER  2
#define UNW_FLAG_CHAININFO 4

typedef enum _UNWIND_OP_CODES {
	UWOP_PUSH_NONVOL = 0,
	UWOP_ALLOC_LARGE = 1,
	UWOP_ALLOC_SMALL = 2,
	UWOP_SET_FPREG = 3,
	UWOP_SAVE_NONVOL = 4,
	UWOP_SAVE_NONVOL_FAR = 5,
	UWOP_EPILOG = 6,
	UWOP_SPARE_CODE = 7,
	UWOP_SAVE_XMM128 = 8,
	UWOP_SAVE_XMM128_FAR = 9,
	UWOP_PUSH_MACHFRAME = 10
} UNWIND_OP_CODES;

typedef union _UNWIND_CODE {
	struct {
		UCHAR CodeOffset;
		UCHAR UnwindOp : 4;
		UCHAR OpInfo : 4;
	};
	USHORT FrameOffset;
} UNWIND_CODE, *PUNWIND_CODE;

typedef struct _UNWIND_INFO {
	UCHAR Version : 3;
	UCHAR Flags : 5;
	UCHAR SizeOfProlog;
	UCHAR CountOfCodes;
	UCHAR FrameRegister : 4;
	UCHAR FrameOffset : 4; /* in 16 bytes */
	UNWIND_CODE UnwindCode[1];
	/* padded to an even count; then the handler's RVA and data, or a chained RUNTIME_FUNCTION
	 */
} UNWIND_INFO, *PUNWIND_INFO;

typedef struct _SCOPE_TABLE_AMD64 {
	ULONG Count;
	struct {
		ULONG BeginAddress;
		ULONG EndAddress;
		ULONG HandlerAddress; /* 1: a filter that always says "execute handler" */
		ULONG JumpTarget;     /* 0: a __finally block */
	} ScopeRecord[1];
} SCOPE_TABLE_AMD64, *PSCOPE_TABLE_AMD64, SCOPE_TABLE, *PSCOPE_TABLE;

struct _DISPATCHER_CONTEXT;
typedef EXCEPTION_DISPOSITION NTAPI EXCEPTION_ROUTINE(struct _EXCEPTION_RECORD *ExceptionRecord,
						      PVOID EstablisherFrame,
						      struct _CONTEXT *ContextRecord,
						      PVOID DispatcherContext);
typedef EXCEPTION_ROUTINE *PEXCEPTION_ROUTINE;

#define UNWIND_HISTORY_TABLE_SIZE 12
typedef struct _UNWIND_HISTORY_TABLE_ENTRY {
	ULONG64 ImageBase;
	PRUNTIME_FUNCTION FunctionEntry;
} UNWIND_HISTORY_TABLE_ENTRY, *PUNWIND_HISTORY_TABLE_ENTRY;

typedef struct _UNWIND_HISTORY_TABLE {
	ULONG Count;
	UCHAR LocalHint;
	UCHAR GlobalHint;
	UCHAR Search;
	UCHAR Once;
	ULONG64 LowAddress;
	ULONG64 HighAddress;
	UNWIND_HISTORY_TABLE_ENTRY Entry[UNWIND_HISTORY_TABLE_SIZE];
} UNWIND_HISTORY_TABLE, *PUNWIND_HISTORY_TABLE;

typedef struct _DISPATCHER_CONTEXT {
	ULONG64 ControlPc;
	ULONG64 ImageBase;
	PRUNTIME_FUNCTION FunctionEntry;
	ULONG64 EstablisherFrame;
	ULONG64 TargetIp;
	PCONTEXT ContextRecord;
	PEXCEPTION_ROUTINE LanguageHandler;
	PVOID HandlerData;
	PUNWIND_HISTORY_TABLE HistoryTable;
	ULONG ScopeIndex;
	ULONG Fill0;
} DISPATCHER_CONTEXT, *PDISPATCHER_CONTEXT;

typedef struct _KNONVOLATILE_CONTEXT_POINTERS {
	PM128A FloatingContext[16];
	PULONG64 IntegerContext[16];
} KNONVOLATILE_CONTEXT_POINTERS, *PKNONVOLATILE_CONTEXT_POINTERS;

NTSYSAPI VOID NTAPI RtlCaptureContext(PCONTEXT ContextRecord); /* 15 */
NTSYSAPI PRUNTIME_FUNCTION NTAPI RtlLookupFunctionEntry(
	ULONG64 ControlPc, PULONG64 ImageBase, PUNWIND_HISTORY_TABLE HistoryTable); /* 15 */
NTSYSAPI PEXCEPTION_ROUTINE NTAPI RtlVirtualUnwind(
	ULONG HandlerType, ULONG64 ImageBase, ULONG64 ControlPc, PRUNTIME_FUNCTION FunctionEntry,
	PCONTEXT ContextRecord, PVOID *HandlerData, PULONG64 EstablisherFrame,
	PKNONVOLATILE_CONTEXT_POINTERS ContextPointers); /* 15 */
NTSYSAPI VOID NTAPI RtlUnwindEx(PVOID TargetFrame, PVOID TargetIp,
				PEXCEPTION_RECORD ExceptionRecord, PVOID ReturnValue,
				PCONTEXT OriginalContext, PUNWIND_HISTORY_TABLE HistoryTable);
NTSYSAPI VOID NTAPI RtlUnwind(PVOID TargetFrame, PVOID TargetIp, PEXCEPTION_RECORD ExceptionRecord,
			      PVOID ReturnValue);
NTSYSAPI VOID NTAPI RtlRestoreContext(PCONTEXT ContextRecord, PEXCEPTION_RECORD ExceptionRecord);
NTSYSAPI VOID NTAPI RtlRaiseException(PEXCEPTION_RECORD ExceptionRecord);
NTSYSAPI USHORT NTAPI RtlCaptureStackBackTrace(ULONG FramesToSkip, ULONG FramesToCapture,
					       PVOID *BackTrace, PULONG BackTraceHash); /* 15 */
NTSYSAPI PVOID NTAPI RtlPcToFileHeader(PVOID PcValue, PVOID *BaseOfImage);              /* 15 */
NTSYSAPI EXCEPTION_DISPOSITION NTAPI __C_specific_handler(PEXCEPTION_RECORD ExceptionRecord,
							  PVOID EstablisherFrame,
							  PCONTEXT ContextRecord,
							  PDISPATCHER_CONTEXT DispatcherContext);

EXTERN_C_END
