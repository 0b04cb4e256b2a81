/* SPDX-License-Identifier: MIT */
/*
 * nmi_stackwalk: interrupts every processor by HalSendNMI and prints the stack that each NMI
 * interrupted.
 *
 *     ketch cc nmi_stackwalk.c && ketch run -p 4 nmi_stackwalk.sys
 *
 * This is what samplers and hang detectors do: an NMI reaches a processor at any IRQL, also one
 * that spins with interrupts off, and the callback walks the interrupted stack by the images'
 * unwind data.
 */
#include <ntddk.h>
#include <ntaffinity.h>

#define PROCESSORS 16
#define DEPTH      32

struct sample {
	volatile LONG taken;
	USHORT count;
	PVOID frames[DEPTH];
};

static struct sample samples[PROCESSORS];
static PKTHREAD threads[PROCESSORS];
static volatile LONG stop, working, waiting;
static PVOID registration;
static ULONG_PTR image_base, image_end;

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD Unload;

static BOOLEAN NTAPI OnNmi(PVOID Context, BOOLEAN Handled)
{
	struct sample *sample =
		(struct sample *)Context + KeGetCurrentProcessorNumberEx(NULL) % PROCESSORS;

	if (!waiting)
		return Handled; /* not ours */
	sample->count = RtlCaptureStackBackTrace(0, DEPTH, sample->frames, NULL);
	InterlockedExchange(&sample->taken, 1);
	return TRUE;
}

/* A few frames deep, so that there is a stack to see; each keeps a frame of its own. */
static DECLSPEC_NOINLINE ULONG Innermost(volatile ULONG *seed)
{
	ULONG i, value = *seed;

	for (i = 0; i < 1000; i++)
		value = value * 1664525 + 1013904223;
	return *seed = value;
}

static DECLSPEC_NOINLINE ULONG Middle(volatile ULONG *seed)
{
	ULONG before = *seed;

	return Innermost(seed) ^ before;
}

static DECLSPEC_NOINLINE ULONG Outermost(volatile ULONG *seed)
{
	volatile ULONG buffer[64];

	buffer[*seed % 64] = Middle(seed);
	return buffer[*seed % 64];
}

static VOID NTAPI Work(PVOID Context)
{
	ULONG processor = (ULONG)(ULONG_PTR)Context;
	volatile ULONG seed = processor;

	KeSetSystemAffinityThreadEx((KAFFINITY)1 << processor);
	InterlockedIncrement(&working);
	while (!stop)
		Outermost(&seed);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID StopThreads(VOID)
{
	ULONG i;

	InterlockedExchange(&stop, 1);
	for (i = 0; i < PROCESSORS; i++) {
		if (!threads[i])
			continue;
		KeWaitForSingleObject(threads[i], Executive, KernelMode, FALSE, NULL);
		ObDereferenceObject(threads[i]);
	}
}

static VOID PrintSample(ULONG processor)
{
	struct sample *sample = &samples[processor];
	USHORT i;

	DbgPrint("nmi_stackwalk: processor %u\n", processor);
	for (i = 0; i < sample->count; i++) {
		ULONG_PTR frame = (ULONG_PTR)sample->frames[i];

		if (frame >= image_base && frame < image_end)
			DbgPrint("nmi_stackwalk:   nmi_stackwalk.sys+0x%x\n",
				 (ULONG)(frame - image_base));
		else
			DbgPrint("nmi_stackwalk:   kernel\n");
	}
}

static VOID SampleAll(ULONG count)
{
	KAFFINITY_EX targets;
	LARGE_INTEGER millisecond;
	ULONG i, tries;

	millisecond.QuadPart = -10000;
	KeInitializeAffinityEx(&targets);
	for (i = 0; i < count; i++)
		KeAddProcessorAffinityEx(&targets, i);
	InterlockedExchange(&waiting, 1);
	HalSendNMI(&targets);
	for (i = 0; i < count; i++) {
		for (tries = 0; !samples[i].taken && tries < 1000; tries++)
			KeDelayExecutionThread(KernelMode, FALSE, &millisecond);
	}
	InterlockedExchange(&waiting, 0);
}

static VOID Unload(PDRIVER_OBJECT DriverObject)
{
	UNREFERENCED_PARAMETER(DriverObject);
	KeDeregisterNmiCallback(registration);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	ULONG i, count = KeQueryActiveProcessorCount(NULL);
	NTSTATUS status = STATUS_SUCCESS;
	LARGE_INTEGER millisecond;
	HANDLE handle;

	UNREFERENCED_PARAMETER(RegistryPath);
	millisecond.QuadPart = -10000;
	image_base = (ULONG_PTR)DriverObject->DriverStart;
	image_end = image_base + DriverObject->DriverSize;
	if (count > PROCESSORS)
		count = PROCESSORS;

	registration = KeRegisterNmiCallback(OnNmi, samples);
	if (!registration)
		return STATUS_INSUFFICIENT_RESOURCES;
	for (i = 0; i < count && NT_SUCCESS(status); i++) {
		status = PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Work,
					      (PVOID)(ULONG_PTR)i);
		if (NT_SUCCESS(status)) {
			status = ObReferenceObjectByHandle(handle, THREAD_ALL_ACCESS, NULL,
							   KernelMode, (PVOID *)&threads[i], NULL);
			ZwClose(handle);
		}
	}
	if (NT_SUCCESS(status)) {
		while (working < (LONG)count)
			KeDelayExecutionThread(KernelMode, FALSE, &millisecond);
		SampleAll(count);
	}
	StopThreads();
	if (!NT_SUCCESS(status)) {
		KeDeregisterNmiCallback(registration);
		return status;
	}
	for (i = 0; i < count; i++)
		PrintSample(i);
	DriverObject->DriverUnload = Unload;
	return STATUS_SUCCESS;
}
