/* SPDX-License-Identifier: MIT
 *
 * KUSER_SHARED_DATA, the page at 0xFFFFF78000000000 (DEF-43..47, PLT-7).
 */
#pragma once
#include "../wdm/ke_types.h"

EXTERN_C_START

typedef struct _KSYSTEM_TIME {
	ULONG LowPart;
	LONG High1Time;
	LONG High2Time;
} KSYSTEM_TIME, *PKSYSTEM_TIME;

#define PROCESSOR_FEATURE_MAX              64
#define PF_FLOATING_POINT_PRECISION_ERRATA 0
#define PF_COMPARE_EXCHANGE_DOUBLE         2
#define PF_MMX_INSTRUCTIONS_AVAILABLE      3
#define PF_XMMI_INSTRUCTIONS_AVAILABLE     6
#define PF_RDTSC_INSTRUCTION_AVAILABLE     8
#define PF_PAE_ENABLED                     9
#define PF_XMMI64_INSTRUCTIONS_AVAILABLE   10
#define PF_NX_ENABLED                      12
#define PF_SSE3_INSTRUCTIONS_AVAILABLE     13
#define PF_COMPARE_EXCHANGE128             14
#define PF_XSAVE_ENABLED                   17
#define PF_RDWRFSGSBASE_AVAILABLE          22

typedef struct _KUSER_SHARED_DATA {
	ULONG TickCountLowDeprecated;        /* 000 */
	ULONG TickCountMultiplier;           /* 004 */
	volatile KSYSTEM_TIME InterruptTime; /* 008 */
	volatile KSYSTEM_TIME SystemTime;    /* 014 */
	volatile KSYSTEM_TIME TimeZoneBias;  /* 020 */
	USHORT ImageNumberLow;
	USHORT ImageNumberHigh;
	WCHAR NtSystemRoot[260]; /* 030 */
	ULONG MaxStackTraceDepth;
	ULONG CryptoExponent;
	ULONG TimeZoneId;
	ULONG LargePageMinimum;
	ULONG AitSamplingValue;
	ULONG AppCompatFlag;
	ULONGLONG RNGSeedVersion;
	ULONG GlobalValidationRunlevel;
	volatile LONG TimeZoneBiasStamp;
	ULONG NtBuildNumber;           /* 260 */
	NT_PRODUCT_TYPE NtProductType; /* 264 */
	BOOLEAN ProductTypeIsValid;    /* 268 */
	BOOLEAN Reserved0[1];
	USHORT NativeProcessorArchitecture;
	ULONG NtMajorVersion;                             /* 26C */
	ULONG NtMinorVersion;                             /* 270 */
	BOOLEAN ProcessorFeatures[PROCESSOR_FEATURE_MAX]; /* 274 */
	ULONG Reserved1;
	ULONG Reserved3;
	volatile ULONG TimeSlip;
	ULONG AlternativeArchitecture;
	ULONG BootId;
	LARGE_INTEGER SystemExpirationDate; /* 2C8 */
	ULONG SuiteMask;                    /* 2D0 */
	BOOLEAN KdDebuggerEnabled;          /* 2D4 */
	UCHAR MitigationPolicies;
	USHORT CyclesPerYield;
	volatile ULONG ActiveConsoleId; /* 2D8 */
	volatile ULONG DismountCount;
	ULONG ComPlusPackage;
	ULONG LastSystemRITEventTickCount;
	ULONG NumberOfPhysicalPages; /* 2E8 */
	BOOLEAN SafeBootMode;
	UCHAR VirtualizationFlags;
	UCHAR Reserved12[2];
	ULONG SharedDataFlags; /* 2F0 */
	ULONG DataFlagsPad[1];
	ULONGLONG TestRetInstruction;
	LONGLONG QpcFrequency; /* 300 */
	ULONG SystemCall;
	ULONG Reserved2;
	ULONGLONG SystemCallPad[2];
	union { /* 320 */
		volatile KSYSTEM_TIME TickCount;
		volatile ULONG64 TickCountQuad;
		struct {
			ULONG ReservedTickCountOverlay[3];
			ULONG TickCountPad[1];
		};
	};
	ULONG Cookie; /* 330 */
	ULONG CookiePad[1];
	LONGLONG ConsoleSessionForegroundProcessId;
	ULONGLONG TimeUpdateLock;
	ULONGLONG BaselineSystemTimeQpc;
	ULONGLONG BaselineInterruptTimeQpc;
	ULONGLONG QpcSystemTimeIncrement;
	ULONGLONG QpcInterruptTimeIncrement;
	UCHAR Rest[0x1000 - 0x368];
} KUSER_SHARED_DATA, *PKUSER_SHARED_DATA;

#define KI_USER_SHARED_DATA    0xFFFFF78000000000ULL
#define MM_SHARED_USER_DATA_VA 0x7FFE0000
#ifdef _WIN32
#define SharedUserData      ((KUSER_SHARED_DATA *const)KI_USER_SHARED_DATA)
#define SharedInterruptTime (KI_USER_SHARED_DATA + 0x8)
#define SharedSystemTime    (KI_USER_SHARED_DATA + 0x14)
#define SharedTickCount     (KI_USER_SHARED_DATA + 0x320)
#endif

EXTERN_C_END
