/* SPDX-License-Identifier: MIT */
/*
 * Faults that stop Windows: CASE picks one; each ends in the bug check that the documents name
 * (VER-35, VER-39, DEF-26, DEF-33, DEF-328, DEF-332, DEF-336, NMI-36).
 */
#include <ntifs.h>

#define NOINLINE __declspec(noinline)

static volatile LONG quotient;
static KDPC dpc;
static KEVENT event;
static PVOID nmi;

static NOINLINE void write_to(volatile LONG *address)
{
	*address = 1;
}

static NOINLINE void divide(volatile LONG *by)
{
	quotient = 100 / *by;
}

static NOINLINE ULONG recurse(ULONG depth)
{
	volatile UCHAR local[4096];

	local[0] = (UCHAR)depth;
	return recurse(depth + 1) + local[0];
}

static ULONG_PTR NTAPI ipi_routine(ULONG_PTR context)
{
	write_to((volatile LONG *)context);
	return 0;
}

static VOID NTAPI dpc_routine(PKDPC unused, PVOID context, PVOID first, PVOID second)
{
	UNREFERENCED_PARAMETER(unused);
	UNREFERENCED_PARAMETER(first);
	UNREFERENCED_PARAMETER(second);
	write_to(context);
}

static BOOLEAN NTAPI nmi_routine(PVOID context, BOOLEAN handled)
{
	UNREFERENCED_PARAMETER(handled);
	write_to(context);
	return TRUE;
}

static VOID NTAPI thread_routine(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
	ExRaiseStatus(STATUS_DEVICE_BUSY);
}

#pragma code_seg("INIT")
static NOINLINE void in_init(void)
{
	quotient++;
}
#pragma code_seg()

static void (*volatile init_routine)(void) = in_init;

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
#if CASE == 12
	init_routine();
#endif
	if (nmi) {
		KeDeregisterNmiCallback(nmi);
	}
}

static void fault(void)
{
	volatile LONG zero = 0;
	HANDLE thread;
	KIRQL irql;

	UNREFERENCED_PARAMETER(zero);
	UNREFERENCED_PARAMETER(thread);
	UNREFERENCED_PARAMETER(irql);
#if CASE == 1
	write_to((volatile LONG *)0x10);
#elif CASE == 2
	KeRaiseIrql(DISPATCH_LEVEL, &irql);
	write_to((volatile LONG *)0x10);
#elif CASE == 3
	KeInitializeDpc(&dpc, dpc_routine, (PVOID)0x18);
	KeRaiseIrql(DISPATCH_LEVEL,
		    &irql); /* so that it runs on this thread's stack, when the IRQL drops */
	KeInsertQueueDpc(&dpc, NULL, NULL);
	KeLowerIrql(irql);
#elif CASE == 4
	write_to((volatile LONG *)0xFFFFF80000001000);
#elif CASE == 5
	divide(&zero);
#elif CASE == 6
	__fastfail(3);
#elif CASE == 7
	__debugbreak();
#elif CASE == 8
	quotient = (LONG)recurse(0);
#elif CASE == 9
	KeSetEvent((PRKEVENT)0x20, 0, FALSE);
#elif CASE == 10
	PsCreateSystemThread(&thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, thread_routine, NULL);
	KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
#elif CASE == 11
	nmi = KeRegisterNmiCallback(nmi_routine, (PVOID)0x28);
#elif CASE == 13
	quotient = (LONG)__readmsr(0x1b);
#elif CASE == 14
	((void (*)(void))(ULONG_PTR)0x30)();
#elif CASE == 15
	KeBugCheckEx(0xE2, 1, 2, 3, 4);
#elif CASE == 17
	KeIpiGenericCall(ipi_routine, 0x38);
#elif CASE == 18
	RtlCopyMemory((PVOID)0x48, &event, 8);
#elif CASE == 19
	quotient = (LONG)RtlCompareMemory((PVOID)0x0123456789abcdef, &event, 8);
#elif CASE == 16
	*(volatile UCHAR *)"read-only" = 1;
#endif
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	KeInitializeEvent(&event, NotificationEvent, FALSE);
	fault();
	return STATUS_SUCCESS;
}
