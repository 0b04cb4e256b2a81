/* SPDX-License-Identifier: MIT */
/*
 * nmi_watch: counts nonmaskable interrupts per processor and shows where each one hit.
 *
 *     ketch cc nmi_watch.c && ketch run -p 4 nmi_watch.sys nmi:allx3
 *
 * A thread on each processor keeps it busy at PASSIVE_LEVEL or at DISPATCH_LEVEL, so that the NMIs
 * have something to hit. The callback does only what is allowed at HIGH_LEVEL: it counts and
 * remembers; the driver prints at PASSIVE_LEVEL when it is unloaded.
 */
#include <ntddk.h>

#define PROCESSORS 64
#define REMEMBERED 8

struct hits {
	volatile LONG count;
	KIRQL irql; /* in the callback */
	PVOID where[REMEMBERED];
};

static struct hits hits[PROCESSORS];
static PKTHREAD threads[PROCESSORS];
static volatile LONG stop, working;
static volatile ULONG_PTR sum[PROCESSORS];
static PVOID registration;
static ULONG_PTR image_base, image_end;

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD Unload;

/* The innermost frame of what was interrupted that lies in this driver: the callback's own frame
 * comes first. */
static PVOID InterruptedAddress(VOID)
{
	PVOID frames[16];
	USHORT count = RtlCaptureStackBackTrace(1, RTL_NUMBER_OF(frames), frames, NULL);
	USHORT i;

	for (i = 0; i < count; i++) {
		if ((ULONG_PTR)frames[i] >= image_base && (ULONG_PTR)frames[i] < image_end)
			return frames[i];
	}
	return NULL;
}

static BOOLEAN NTAPI OnNmi(PVOID Context, BOOLEAN Handled)
{
	ULONG processor = KeGetCurrentProcessorNumberEx(NULL);
	struct hits *mine = (struct hits *)Context + processor % PROCESSORS;
	LONG n = InterlockedIncrement(&mine->count) - 1;

	UNREFERENCED_PARAMETER(Handled);
	mine->irql = KeGetCurrentIrql();
	mine->where[n % REMEMBERED] = InterruptedAddress();
	return TRUE;
}

static VOID BusyAtPassive(ULONG processor)
{
	ULONG i;

	for (i = 0; i < 10000; i++)
		sum[processor] += i;
}

static VOID BusyAtDispatch(ULONG processor)
{
	KIRQL old;
	ULONG i;

	KeRaiseIrql(DISPATCH_LEVEL, &old);
	for (i = 0; i < 10000; i++)
		sum[processor] ^= i;
	KeLowerIrql(old);
}

static VOID NTAPI Work(PVOID Context)
{
	ULONG processor = (ULONG)(ULONG_PTR)Context;

	KeSetSystemAffinityThreadEx((KAFFINITY)1 << processor);
	InterlockedIncrement(&working);
	while (!stop) {
		if (processor % 2)
			BusyAtDispatch(processor);
		else
			BusyAtPassive(processor);
	}
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

static NTSTATUS StartThread(ULONG processor)
{
	HANDLE handle;
	NTSTATUS status = PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Work,
					       (PVOID)(ULONG_PTR)processor);

	if (!NT_SUCCESS(status))
		return status;
	status = ObReferenceObjectByHandle(handle, THREAD_ALL_ACCESS, NULL, KernelMode,
					   (PVOID *)&threads[processor], NULL);
	ZwClose(handle);
	return status;
}

static VOID Unload(PDRIVER_OBJECT DriverObject)
{
	ULONG i, count = KeQueryActiveProcessorCount(NULL);

	UNREFERENCED_PARAMETER(DriverObject);
	KeDeregisterNmiCallback(registration);
	StopThreads();
	for (i = 0; i < count && i < PROCESSORS; i++) {
		LONG n, first = hits[i].count > REMEMBERED ? hits[i].count - REMEMBERED : 0;

		DbgPrint("nmi_watch: processor %u: %d NMIs, callback at IRQL %u\n", i,
			 hits[i].count, hits[i].irql);
		for (n = first; n < hits[i].count; n++) {
			PVOID where = hits[i].where[n % REMEMBERED];

			if (where)
				DbgPrint("nmi_watch:   %d: at nmi_watch.sys+0x%x\n", n + 1,
					 (ULONG)((ULONG_PTR)where - image_base));
			else
				DbgPrint("nmi_watch:   %d: not in this driver\n", n + 1);
		}
	}
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	ULONG i, count = KeQueryActiveProcessorCount(NULL);
	NTSTATUS status = STATUS_SUCCESS;
	LARGE_INTEGER millisecond;

	UNREFERENCED_PARAMETER(RegistryPath);
	image_base = (ULONG_PTR)DriverObject->DriverStart;
	image_end = image_base + DriverObject->DriverSize;
	if (count > PROCESSORS)
		count = PROCESSORS;

	registration = KeRegisterNmiCallback(OnNmi, hits);
	if (!registration)
		return STATUS_INSUFFICIENT_RESOURCES;
	for (i = 0; i < count && NT_SUCCESS(status); i++)
		status = StartThread(i);
	if (!NT_SUCCESS(status)) {
		KeDeregisterNmiCallback(registration);
		StopThreads();
		return status;
	}
	millisecond.QuadPart = -10000;
	while (working < (LONG)count)
		KeDelayExecutionThread(KernelMode, FALSE, &millisecond);
	DriverObject->DriverUnload = Unload;
	DbgPrint("nmi_watch: watching %u processors\n", count);
	return STATUS_SUCCESS;
}
