/* SPDX-License-Identifier: MIT */
/*
 * Hangs for ever on every processor: WHERE=0 at PASSIVE_LEVEL, 2 at DISPATCH_LEVEL, 15 at
 * HIGH_LEVEL, 16 inside an NMI callback, 1 in a wait that nobody ends. The run's time limit ends it
 * and says where each processor stood.
 */
#include "torture.h"

#define PROCESSORS 16

static volatile LONG hanging;

static DECLSPEC_NOINLINE VOID hang_here(VOID)
{
	InterlockedIncrement(&hanging);
	for (;;)
		YieldProcessor();
}

static BOOLEAN NTAPI on_nmi(PVOID context, BOOLEAN handled)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(handled);
	hang_here();
	return TRUE;
}

static VOID NTAPI worker(PVOID argument)
{
	KIRQL old;
	KeSetSystemAffinityThreadEx((KAFFINITY)1 << (ULONG_PTR)argument);
	if (WHERE == 2 || WHERE == 15)
		KeRaiseIrql(WHERE, &old);
	hang_here();
}

static VOID hang_in_nmi(ULONG processors)
{
	KAFFINITY_EX set;
	ULONG i;
	KeSetSystemAffinityThreadEx((KAFFINITY)1
				    << (processors - 1)); /* the own one gets it last */
	KeRegisterNmiCallback(on_nmi, NULL);
	KeInitializeAffinityEx(&set);
	for (i = 0; i < processors; i++)
		KeAddProcessorAffinityEx(&set, i);
	HalSendNMI(&set);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	ULONG i, processors = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
	KEVENT never;
	UNREFERENCED_PARAMETER(DriverObject);
	UNREFERENCED_PARAMETER(RegistryPath);
	if (WHERE == 16)
		hang_in_nmi(processors);
	for (i = 0; WHERE != 1 && i < processors; i++)
		check_thread(worker, (PVOID)(ULONG_PTR)i);
	KeInitializeEvent(&never, NotificationEvent, FALSE);
	KeWaitForSingleObject(&never, Executive, KernelMode, FALSE, NULL);
	return STATUS_SUCCESS;
}

DRIVER_INITIALIZE DriverEntry;
