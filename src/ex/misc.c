/* SPDX-License-Identifier: MIT */
/*
 * misc.c: small services: previous mode, time zone, timer resolution, UUIDs, processor features.
 *
 * Contexts as said for each; no locks.
 * Implements DEF-230, DEF-243, VER-15, VER-17. Chosen: the machine's time zone is UTC (the shared
 * page says so too).
 */
#include "ex/ex_internal.h"
#include "ke/ke.h"
#include "rtl/rtl.h"

#define CLOCK_INCREMENT 156250u /* 100 ns units: the clock's own resolution (DEF-46) */

/* IRQL <= DISPATCH_LEVEL: whether the thread's request came from user mode. (DEF-230) */
KPROCESSOR_MODE NTAPI ExGetPreviousMode(VOID)
{
	return (KPROCESSOR_MODE)ke_thread()->PreviousMode;
}

/* IRQL any. (DEF-243) */
VOID NTAPI ExSystemTimeToLocalTime(PLARGE_INTEGER SystemTime, PLARGE_INTEGER LocalTime)
{
	*LocalTime = *SystemTime;
}

VOID NTAPI ExLocalTimeToSystemTime(PLARGE_INTEGER LocalTime, PLARGE_INTEGER SystemTime)
{
	*SystemTime = *LocalTime;
}

/* IRQL <= APC_LEVEL. The resolution in 100 ns units: it never changes. */
ULONG NTAPI ExSetTimerResolution(ULONG DesiredTime, BOOLEAN SetResolution)
{
	(void)DesiredTime;
	(void)SetResolution;
	return CLOCK_INCREMENT;
}

VOID NTAPI ExQueryTimerResolution(PULONG MaximumTime, PULONG MinimumTime, PULONG CurrentTime)
{
	*MaximumTime = CLOCK_INCREMENT;
	*MinimumTime = CLOCK_INCREMENT;
	*CurrentTime = CLOCK_INCREMENT;
}

/* PASSIVE_LEVEL. A random UUID (version 4). STATUS_SUCCESS. */
NTSTATUS NTAPI ExUuidCreate(GUID *Uuid)
{
	port_random(Uuid, sizeof(*Uuid));
	Uuid->Data3 = (USHORT)((Uuid->Data3 & 0x0fff) | 0x4000);
	Uuid->Data4[0] = (UCHAR)((Uuid->Data4[0] & 0x3f) | 0x80);
	return STATUS_SUCCESS;
}

/* IRQL <= DISPATCH_LEVEL. Whether the system is of this suite (a bit number of the suite mask). */
BOOLEAN NTAPI ExVerifySuite(ULONG SuiteType)
{
	return SuiteType < 32 && (ULONG)RTL_VERSION_SUITE >> SuiteType & 1;
}

/* ---- Processor features: those of the host
 * ------------------------------------------------------------ */

static void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(registers[0]), "=b"(registers[1]), "=c"(registers[2]),
			   "=d"(registers[3])
			 : "a"(leaf), "c"(subleaf));
}

/* PF_* numbers; where each is found. Register 0 to 3: EAX, EBX, ECX, EDX. */
static const struct {
	uint8_t feature;
	uint8_t cpuid_register, bit;
	uint32_t leaf;
} features[] = {
	{2, 3, 8, 1},            /* PF_COMPARE_EXCHANGE_DOUBLE */
	{3, 3, 23, 1},           /* PF_MMX_INSTRUCTIONS_AVAILABLE */
	{6, 3, 25, 1},           /* PF_XMMI_INSTRUCTIONS_AVAILABLE */
	{8, 3, 4, 1},            /* PF_RDTSC_INSTRUCTION_AVAILABLE */
	{9, 3, 6, 1},            /* PF_PAE_ENABLED */
	{10, 3, 26, 1},          /* PF_XMMI64_INSTRUCTIONS_AVAILABLE */
	{13, 2, 0, 1},           /* PF_SSE3_INSTRUCTIONS_AVAILABLE */
	{14, 2, 13, 1},          /* PF_COMPARE_EXCHANGE128 */
	{17, 2, 26, 1},          /* PF_XSAVE_ENABLED */
	{22, 1, 0, 7},           /* PF_RDWRFSGSBASE_AVAILABLE */
	{28, 2, 30, 1},          /* PF_RDRAND_INSTRUCTION_AVAILABLE */
	{32, 3, 27, 0x80000001}, /* PF_RDTSCP_INSTRUCTION_AVAILABLE */
	{36, 2, 9, 1},           /* PF_SSSE3_INSTRUCTIONS_AVAILABLE */
	{37, 2, 19, 1},          /* PF_SSE4_1_INSTRUCTIONS_AVAILABLE */
	{38, 2, 20, 1},          /* PF_SSE4_2_INSTRUCTIONS_AVAILABLE */
	{39, 2, 28, 1},          /* PF_AVX_INSTRUCTIONS_AVAILABLE */
	{40, 1, 5, 7},           /* PF_AVX2_INSTRUCTIONS_AVAILABLE */
	{41, 1, 16, 7},          /* PF_AVX512F_INSTRUCTIONS_AVAILABLE */
};

#define PF_NX_ENABLED         12
#define PF_FASTFAIL_AVAILABLE 23

/* PASSIVE_LEVEL by rule. FALSE also for features without a number here. (VER-17) */
BOOLEAN NTAPI ExIsProcessorFeaturePresent(ULONG ProcessorFeature)
{
	if (ProcessorFeature == PF_NX_ENABLED || ProcessorFeature == PF_FASTFAIL_AVAILABLE)
		return TRUE;
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		if (features[i].feature != ProcessorFeature)
			continue;
		uint32_t registers[4];
		cpuid(features[i].leaf & 0x80000000u, 0, registers);
		if (features[i].leaf > registers[0])
			return FALSE;
		cpuid(features[i].leaf, 0, registers);
		return registers[features[i].cpuid_register] >> features[i].bit & 1;
	}
	return FALSE;
}
