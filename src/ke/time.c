/* SPDX-License-Identifier: MIT */
/*
 * Time, stalls, floating point state, and data exports about the system (PLT-7, PLT-9, PLT-40,
 * DEF-46, DEF-175, DEF-260, DEF-305, DEF-314).
 *
 * Any IRQL, NMI too (the floating point calls: DISPATCH_LEVEL or below); no locks. All times come
 * from the port's one clock, which is what inline code reads from the shared page, so that both
 * kinds of reads agree.
 *
 * Chosen: the performance counter runs at 10 MHz, as on Windows; interrupt time is as fine as the
 * clock.
 */
#include "ke/internal.h"
#include "rtl/rtl.h"

#define COUNTER_FREQUENCY 10000000

ULONG NtBuildNumber = 0xf0000000 | RTL_VERSION_BUILD; /* high nibble: free build */
BOOLEAN KdDebuggerEnabled = FALSE;
BOOLEAN KdDebuggerNotPresent = TRUE;

/* Drivers find routines of the HAL here and replace some; ours answer that they are not there.
 * DEF-314. */
static NTSTATUS NTAPI hal_absent(VOID)
{
	return STATUS_NOT_SUPPORTED;
}

#define ABSENT (void *)hal_absent
void *HalDispatchTable[24] = {
	(void *)4, /* version */
	ABSENT,    ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT,
	ABSENT,    ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT,
	ABSENT,    ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, ABSENT,
};

#undef KeQueryInterruptTime
/* 100 ns units since boot. Any IRQL. PLT-7. */
ULONGLONG NTAPI KeQueryInterruptTime(VOID)
{
	return ke_interrupt_time();
}

/* The same; *QpcTimeStamp gets the performance counter at that moment. Any IRQL. */
ULONGLONG NTAPI KeQueryInterruptTimePrecise(PULONG64 QpcTimeStamp)
{
	uint64_t time = ke_interrupt_time();
	*QpcTimeStamp = time; /* both count 100 ns */
	return time;
}

/* 100 ns units since boot, without time asleep: this machine never sleeps. Any IRQL. */
ULONGLONG NTAPI KeQueryUnbiasedInterruptTime(VOID)
{
	return ke_interrupt_time();
}

#undef KeQuerySystemTime
/* Wall clock: 100 ns units since 1601-01-01 UTC. Any IRQL. DEF-175. */
VOID NTAPI KeQuerySystemTime(PLARGE_INTEGER CurrentTime)
{
	CurrentTime->QuadPart = (LONGLONG)port_time_system();
}

/* The same, as fine as it goes. Any IRQL. PLT-40. */
VOID NTAPI KeQuerySystemTimePrecise(PLARGE_INTEGER CurrentTime)
{
	CurrentTime->QuadPart = (LONGLONG)port_time_system();
}

#undef KeQueryTickCount
/* Clock interrupts since boot, each KeQueryTimeIncrement long. Any IRQL. DEF-46. */
VOID NTAPI KeQueryTickCount(PLARGE_INTEGER CurrentCount)
{
	CurrentCount->QuadPart = (LONGLONG)(ke_interrupt_time() / KE_TIME_INCREMENT);
}

/* 100 ns units from one clock interrupt to the next. Any IRQL. DEF-46. */
ULONG NTAPI KeQueryTimeIncrement(VOID)
{
	return KE_TIME_INCREMENT;
}

/* The performance counter; *PerformanceFrequency, optional, gets its counts per second. Any IRQL.
 * PLT-40. */
LARGE_INTEGER NTAPI KeQueryPerformanceCounter(PLARGE_INTEGER PerformanceFrequency)
{
	LARGE_INTEGER now = {.QuadPart =
				     (LONGLONG)(port_time_ns() / (1000000000 / COUNTER_FREQUENCY))};
	if (PerformanceFrequency)
		PerformanceFrequency->QuadPart = COUNTER_FREQUENCY;
	return now;
}

/* Busy for this many microseconds. Any IRQL. PLT-40. */
VOID NTAPI KeStallExecutionProcessor(ULONG MicroSeconds)
{
	uint64_t end = port_time_ns() + (uint64_t)MicroSeconds * 1000;
	for (unsigned round = 0; port_time_ns() < end; round++)
		port_spin(round);
}

/*
 * Save and restore what a driver's floating point code would change. IRQL <= DISPATCH_LEVEL.
 * Nothing to do on x64, where the registers belong to the thread. STATUS_SUCCESS.
 */
NTSTATUS NTAPI KeSaveFloatingPointState(PKFLOATING_SAVE FloatSave)
{
	FloatSave->Dummy = 0;
	return STATUS_SUCCESS;
}

NTSTATUS NTAPI KeRestoreFloatingPointState(PKFLOATING_SAVE FloatSave)
{
	(void)FloatSave;
	return STATUS_SUCCESS;
}
