/* SPDX-License-Identifier: MIT
 *
 * Debug output and assertions (PLT-55, DEF-338).
 */
#pragma once
#include "../intrin.h"
#include "ke.h"

EXTERN_C_START

/* Up to DIRQL; at most 512 bytes a call. */
NTSYSAPI ULONG CDECL DbgPrint(PCSTR Format, ...);
NTSYSAPI ULONG CDECL DbgPrintEx(ULONG ComponentId, ULONG Level, PCSTR Format, ...);
NTSYSAPI ULONG NTAPI vDbgPrintEx(ULONG ComponentId, ULONG Level, PCSTR Format,
				 km_va_list Arguments);
NTSYSAPI ULONG NTAPI vDbgPrintExWithPrefix(PCSTR Prefix, ULONG ComponentId, ULONG Level,
					   PCSTR Format, km_va_list Arguments);
NTSYSAPI VOID NTAPI DbgBreakPoint(VOID);
NTSYSAPI VOID NTAPI DbgBreakPointWithStatus(ULONG Status);
NTSYSAPI VOID NTAPI RtlAssert(PVOID FailedAssertion, PVOID FileName, ULONG LineNumber,
			      PCHAR Message);

#define DPFLTR_ERROR_LEVEL   0
#define DPFLTR_WARNING_LEVEL 1
#define DPFLTR_TRACE_LEVEL   2
#define DPFLTR_INFO_LEVEL    3
#define DPFLTR_MASK          0x80000000

#define DPFLTR_SYSTEM_ID       0
#define DPFLTR_VIDEO_ID        19
#define DPFLTR_NDIS_ID         23
#define DPFLTR_ACPI_ID         67
#define DPFLTR_IHVDRIVER_ID    77
#define DPFLTR_IHVVIDEO_ID     78
#define DPFLTR_IHVAUDIO_ID     79
#define DPFLTR_IHVNETWORK_ID   80
#define DPFLTR_IHVSTREAMING_ID 81
#define DPFLTR_IHVBUS_ID       82
#define DPFLTR_WDI_ID          86
#define DPFLTR_DEFAULT_ID      101

/* int 2Ch: the assertion failure trap. */
FORCEINLINE BOOLEAN km_assertion_failed(VOID)
{
	__int2c();
	return FALSE;
}

#if defined(DBG) && DBG
#define KdPrint(list)   DbgPrint list
#define KdPrintEx(list) DbgPrintEx list
#define KdBreakPoint()  DbgBreakPoint()
#define ASSERT(e)       ((e) ? (void)0 : RtlAssert((PVOID) #e, (PVOID)__FILE__, __LINE__, NULL))
#define ASSERTMSG(text, e)                                                                         \
	((e) ? (void)0 : RtlAssert((PVOID) #e, (PVOID)__FILE__, __LINE__, (PCHAR)(text)))
#define NT_ASSERT(e) ((e) ? TRUE : km_assertion_failed())
#define PAGED_CODE()                                                                               \
	do {                                                                                       \
		if (KeGetCurrentIrql() > APC_LEVEL) {                                              \
			DbgPrint("EX: Pageable code called at IRQL %d\n", KeGetCurrentIrql());     \
			__int2c();                                                                 \
		}                                                                                  \
	} while (0)
#define PAGED_ASSERT(e) NT_ASSERT(e)
#else
#define KdPrint(list)   ((void)0)
#define KdPrintEx(list) ((void)0)
#define KdBreakPoint()  ((void)0)
#ifndef ASSERT
#define ASSERT(e) ((void)0)
#endif
#define ASSERTMSG(text, e) ((void)0)
#define NT_ASSERT(e)       ((void)0)
#define PAGED_CODE()       ((void)0)
#define PAGED_ASSERT(e)    ((void)0)
#endif
#define NT_VERIFY(e)          ((e) ? TRUE : FALSE)
#define NT_ASSERTMSG(text, e) NT_ASSERT(e)
#define NT_FRE_ASSERT(e)      ((e) ? TRUE : FALSE)
#define RTL_SOFT_ASSERT(e)    ((void)0)
#define NT_ANALYSIS_ASSUME(e) ((void)0)
#define PAGED_CODE_LOCKED()   ((void)0)

/* DEF-314 */
KM_EXPORTED_DATA(BOOLEAN, KdDebuggerEnabled);
KM_EXPORTED_DATA(BOOLEAN, KdDebuggerNotPresent);
#ifndef _WIN32
extern ULONG NtBuildNumber; /* exported, but drivers declare it themselves */
#endif
#ifdef _WIN32
#define KD_DEBUGGER_ENABLED     (*KdDebuggerEnabled)
#define KD_DEBUGGER_NOT_PRESENT (*KdDebuggerNotPresent)
#else
#define KD_DEBUGGER_ENABLED     KdDebuggerEnabled
#define KD_DEBUGGER_NOT_PRESENT KdDebuggerNotPresent
#endif

EXTERN_C_END
