/* SPDX-License-Identifier: MIT */
/*
 * NMIs while threads raise and handle exceptions (DEF-213, DEF-22, NMI-32): each callback takes a
 * back trace, whose addresses must all lie in this driver, and most of which must show the
 * interrupted threads.
 */
#include <ntifs.h>

#define NOINLINE __declspec(noinline)
#define THREADS  3

extern UCHAR image_base[] __asm__("__ImageBase");

static volatile LONG stop, raised, traces, stray, through;
static PVOID handle, threads[THREADS];

static NOINLINE void deep(LONG depth)
{
	__try {
		if (depth == 0) {
			ExRaiseStatus(STATUS_DEVICE_BUSY);
		}
		deep(depth - 1);
	} __finally {
		InterlockedIncrement(&raised);
	}
}

static NOINLINE void fault(void)
{
	*(volatile LONG *)0x10 = 1;
}

static VOID NTAPI worker(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
	while (!stop) {
		__try {
			if (raised & 1) {
				fault();
			}
			deep(5);
		} __except (EXCEPTION_EXECUTE_HANDLER) {
			InterlockedIncrement(&raised);
		}
	}
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static BOOLEAN NTAPI callback(PVOID context, BOOLEAN handled)
{
	const UCHAR *base = image_base;
	PVOID frames[64];
	USHORT count = RtlCaptureStackBackTrace(0, 64, frames, NULL);
	BOOLEAN worker_seen = FALSE;

	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(handled);
	InterlockedIncrement(&traces);
	for (USHORT i = 0; i < count; i++) {
		if ((const UCHAR *)frames[i] < base || (const UCHAR *)frames[i] >= base + 0x10000) {
			InterlockedIncrement(&stray);
		}
		if ((ULONG_PTR)frames[i] - (ULONG_PTR)worker < 256) {
			worker_seen = TRUE;
		}
	}
	if (worker_seen) {
		InterlockedIncrement(&through);
	}
	return TRUE;
}

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
	stop = 1;
	for (ULONG i = 0; i < THREADS; i++) {
		KeWaitForSingleObject(threads[i], Executive, KernelMode, FALSE, NULL);
		ObDereferenceObject(threads[i]);
	}
	KeDeregisterNmiCallback(handle);
	DbgPrint("%d exceptions, %d traces, %d through a worker\n", raised, traces, through);
	DbgPrint("%s seh_nmi addresses: %d stray\n", stray ? "FAIL" : "PASS", stray);
	DbgPrint("%s seh_nmi workers seen\n", through > traces / 2 ? "PASS" : "FAIL");
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	HANDLE thread;

	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	handle = KeRegisterNmiCallback(callback, NULL);
	for (ULONG i = 0; i < THREADS; i++) {
		if (!NT_SUCCESS(PsCreateSystemThread(&thread, THREAD_ALL_ACCESS, NULL, NULL, NULL,
						     worker, NULL))) {
			return STATUS_INSUFFICIENT_RESOURCES;
		}
		ObReferenceObjectByHandle(thread, THREAD_ALL_ACCESS, NULL, KernelMode, &threads[i],
					  NULL);
		ZwClose(thread);
	}
	return handle ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
}
