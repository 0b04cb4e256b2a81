/* SPDX-License-Identifier: MIT */
/*
 * NMIs flood code that only works because the port emulates or unwinds it: CR8, CLI and STI, loads
 * from the shared page in several forms, exceptions with handlers and unwinding. Each NMI walks the
 * stack that it hit. Results must be as without NMIs (NMI-37, NMI-42, DEF-38..47).
 */
#include "torture.h"

#ifndef ROUNDS
#define ROUNDS 1000
#endif
#ifndef FAULTS
#define FAULTS                                                                                     \
	1 /* 0: no bad accesses, nor loads from the shared page; memcheck counts them as errors */
#endif
#define PROCESSORS 16
#define SHARED     0xFFFFF78000000000ull

typedef struct {
	RANDOM random;
	ULONG number;
	KDPC dpc;
	volatile LONG dpc_runs;
	ULONG64 last_time;
	LONG handled, finally;
} WORKER;

static WORKER workers[PROCESSORS];
static ULONG processors;
static KEVENT flooding;
static volatile LONG working, nmis, frames, no_frames;
static volatile LONG wrong_irql, wrong_dpc, wrong_time, wrong_copy, wrong_flag, wrong_exception,
	wrong_register;

static ULONG64 cr8_read(void)
{
	ULONG64 value;
	__asm__ volatile("movq %%cr8, %0" : "=r"(value));
	return value;
}

static VOID cr8_write(ULONG64 value)
{
	__asm__ volatile("movq %0, %%cr8" : : "r"(value) : "memory");
}

static BOOLEAN NTAPI on_nmi(PVOID context, BOOLEAN handled)
{
	PVOID trace[32];
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(handled);
	if (RtlCaptureStackBackTrace(0, 32, trace, NULL))
		InterlockedIncrement(&frames);
	else
		InterlockedIncrement(&no_frames);
	/* The interrupted code's registers are not ours. */
	__asm__ volatile("pxor %%xmm0, %%xmm0\n\tpxor %%xmm5, %%xmm5" ::: "xmm0", "xmm5");
	InterlockedIncrement(&nmis);
	return TRUE;
}

/* ---- IRQL and the interrupt flag ---- */

static VOID NTAPI dpc_routine(PKDPC dpc, PVOID context, PVOID first, PVOID second)
{
	UNREFERENCED_PARAMETER(dpc);
	UNREFERENCED_PARAMETER(first);
	UNREFERENCED_PARAMETER(second);
	if (cr8_read() != DISPATCH_LEVEL)
		InterlockedIncrement(&wrong_irql);
	InterlockedIncrement(&((WORKER *)context)->dpc_runs);
}

static VOID use_cr8(WORKER *w)
{
	ULONG64 level = DISPATCH_LEVEL + random_below(&w->random, 14), old = cr8_read();
	LONG before = w->dpc_runs;
	cr8_write(level);
	if (KeGetCurrentIrql() != level || cr8_read() != level || old != PASSIVE_LEVEL)
		InterlockedIncrement(&wrong_irql);
	KeInsertQueueDpc(&w->dpc, NULL, NULL);
	if (w->dpc_runs != before)
		InterlockedIncrement(&wrong_dpc); /* too early */
	cr8_write(old);
	if (w->dpc_runs != before + 1 || KeGetCurrentIrql() != old)
		InterlockedIncrement(&wrong_dpc); /* it comes before the next instruction */
}

static ULONG64 flags_read(void)
{
	ULONG64 flags;
	__asm__ volatile("pushfq\n\tpopq %0" : "=r"(flags));
	return flags;
}

static VOID use_flag(WORKER *w)
{
	LONG before = w->dpc_runs;
	ULONG i;
	__asm__ volatile("cli" ::: "memory");
	KeInsertQueueDpc(&w->dpc, NULL, NULL);
	for (i = 0; i < 20; i++)
		YieldProcessor();
	if (w->dpc_runs != before)
		InterlockedIncrement(&wrong_flag);
	__asm__ volatile("sti" ::: "memory");
	flags_read();
	if (w->dpc_runs != before + 1)
		InterlockedIncrement(&wrong_flag);
}

/* ---- The shared page ---- */

static VOID use_shared_page(WORKER *w)
{
	const volatile ULONG64 *time = (const volatile ULONG64 *)(SHARED + 8);
	const volatile ULONG *build = (const volatile ULONG *)(SHARED + 0x260);
	ULONG64 now = *time, sum = 1;
	UCHAR copy[64], loaded[16];
	const VOID *from = (const VOID *)(SHARED + 0x260);
	VOID *to = copy;
	SIZE_T count = sizeof copy;
	ULONG i;
	if (now < w->last_time)
		InterlockedIncrement(&wrong_time);
	w->last_time = now;
	__asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
	if (from != (const VOID *)(SHARED + 0x260 + sizeof copy) || to != copy + sizeof copy ||
	    count)
		InterlockedIncrement(&wrong_register);
	__asm__ volatile("movups (%0), %%xmm3\n\tmovups %%xmm3, (%1)"
			 :
			 : "r"(SHARED + 0x260), "r"(loaded)
			 : "xmm3", "memory");
	for (i = 0; i < sizeof loaded; i++) {
		if (loaded[i] != copy[i])
			InterlockedIncrement(&wrong_copy);
	}
	if (*(ULONG *)copy != *build)
		InterlockedIncrement(&wrong_copy);
	__asm__ volatile("addl %1, %k0" : "+r"(sum) : "m"(*build));
	if (sum != *build + 1ull)
		InterlockedIncrement(&wrong_copy);
}

/* ---- Exceptions ---- */

static DECLSPEC_NOINLINE VOID fail(WORKER *w, ULONG depth)
{
	volatile ULONG here = depth;
	if (depth) {
		__try {
			fail(w, depth - 1);
		} __finally {
			w->finally++;
		}
		if (here != depth)
			InterlockedIncrement(&wrong_register);
		return;
	}
	if (!FAULTS || random_below(&w->random, 2))
		ExRaiseStatus(STATUS_UNSUCCESSFUL);
	*(volatile ULONG *)(ULONG_PTR)16 = 1;
}

static VOID use_exceptions(WORKER *w)
{
	ULONG depth = random_below(&w->random, 4);
	LONG before = w->finally;
	volatile BOOLEAN caught = FALSE;
	__try {
		fail(w, depth);
	} __except (GetExceptionCode() == STATUS_UNSUCCESSFUL ||
				    GetExceptionCode() == STATUS_ACCESS_VIOLATION
			    ? EXCEPTION_EXECUTE_HANDLER
			    : EXCEPTION_CONTINUE_SEARCH) {
		caught = TRUE;
	}
	if (!caught || w->finally != before + (LONG)depth)
		InterlockedIncrement(&wrong_exception);
	w->handled++;
}

/* ---- */

/* Volatile registers across NMIs, without a call that could change them. */
static VOID use_registers(VOID)
{
	ULONG64 integer = 0x0123456789abcdefull, high = 0;
	__asm__ volatile(
		"movq %0, %%xmm0\n\tmovq %0, %%xmm5\n\tmovl $200, %%ecx\n"
		"1:\tpause\n\tdecl %%ecx\n\tjnz 1b\n\tmovq %%xmm0, %1\n\tmovq %%xmm5, %%rcx\n\t"
		"andq %%rcx, %1"
		: "+r"(integer), "=&r"(high)
		:
		: "rcx", "xmm0", "xmm5", "cc");
	if (high != 0x0123456789abcdefull || integer != high)
		InterlockedIncrement(&wrong_register);
}

static VOID NTAPI worker(PVOID argument)
{
	WORKER *w = argument;
	ULONG round;
	KeSetSystemAffinityThreadEx((KAFFINITY)1 << w->number);
	KeWaitForSingleObject(&flooding, Executive, KernelMode, FALSE, NULL);
	for (round = 0; round < ROUNDS; round++) {
		switch (random_below(&w->random, 8)) {
		case 0 ... 1:
			use_cr8(w);
			break;
		case 2:
			use_flag(w);
			break;
		case 3 ... 4:
			if (FAULTS)
				use_shared_page(w);
			break;
		case 5 ... 6:
			use_exceptions(w);
			break;
		default:
			use_registers();
			break;
		}
	}
	InterlockedDecrement(&working);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

/* Two of them, so that a processor that is interrupted may interrupt others; at the workers'
 * priority, so that they take turns. */
static VOID NTAPI flooder(PVOID argument)
{
	KAFFINITY_EX all;
	ULONG i;
	UNREFERENCED_PARAMETER(argument);
	KeInitializeAffinityEx(&all);
	for (i = 0; i < processors; i++)
		KeAddProcessorAffinityEx(&all, i);
	KeSetEvent(&flooding, 0, FALSE);
	while (working > 0)
		HalSendNMI(&all);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	PVOID threads[PROCESSORS + 2], handle;
	LONG handled = 0;
	ULONG i;
	UNREFERENCED_PARAMETER(DriverObject);
	UNREFERENCED_PARAMETER(RegistryPath);
	processors = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
	if (processors > PROCESSORS)
		processors = PROCESSORS;
	handle = KeRegisterNmiCallback(on_nmi, NULL);
	KeInitializeEvent(&flooding, NotificationEvent, FALSE);
	working = (LONG)processors;
	for (i = 0; i < processors; i++) {
		workers[i].number = i;
		random_start(&workers[i].random, i);
		KeInitializeDpc(&workers[i].dpc, dpc_routine, &workers[i]);
	}
	for (i = 0; i < processors + 2; i++)
		threads[i] = i < processors ? check_thread(worker, &workers[i])
					    : check_thread(flooder, NULL);
	for (i = 0; i < processors + 2; i++)
		check_join(threads[i]);
	check_sleep(50); /* a send waits a millisecond; a busy host may take longer */
	KeDeregisterNmiCallback(handle);
	for (i = 0; i < processors; i++)
		handled += workers[i].handled;
	DbgPrint("emulation: %d NMIs, %d with a stack, %d exceptions on %u processors\n", nmis,
		 frames, handled, processors);
	CHECK(nmis > 0 && frames > 0 && handled > 0,
	      "NMI-20 NMIs came while exceptions were handled");
	CHECK(!wrong_irql, "DEF-40 CR8 is the IRQL");
	CHECK(!wrong_dpc, "DEF-40 a DPC runs as soon as CR8 is lowered, and not before");
	CHECK(!wrong_flag, "DEF-41 CLI keeps interrupts out, STI lets them in");
	CHECK(!wrong_time, "DEF-43 the interrupt time never goes back");
	CHECK(!wrong_copy, "DEF-43 each form of load reads the same");
	CHECK(!wrong_register, "NMI-42 the interrupted registers are unchanged");
	CHECK(!wrong_exception, "DEF-332 handlers and __finally run as often as they must");
	return check_result();
}

DRIVER_INITIALIZE DriverEntry;
