/* SPDX-License-Identifier: MIT */
/*
 * apc.c: a driver that queues kernel APCs to a user thread while that sleeps in user mode (in a
 * system call of the host, or stopped): they run there at once, and the program does not notice.
 */
#include <ntifs.h>

static PETHREAD Target;
static HANDLE Worker;
static KEVENT Ran, Arrived;
static KAPC Apc;
static LONG Runs;

static VOID Kernel(PKAPC Self, PKNORMAL_ROUTINE *Normal, PVOID *Context, PVOID *First,
		   PVOID *Second)
{
	UNREFERENCED_PARAMETER(Self);
	UNREFERENCED_PARAMETER(Normal);
	UNREFERENCED_PARAMETER(Context);
	UNREFERENCED_PARAMETER(First);
	UNREFERENCED_PARAMETER(Second);
	if (PsGetCurrentThread() != Target || PsGetCurrentProcess() != PsGetThreadProcess(Target) ||
	    KeGetCurrentIrql() != APC_LEVEL)
		DbgPrint("FAIL the APC runs elsewhere\n");
	Runs++;
	KeSetEvent(&Ran, IO_NO_INCREMENT, FALSE);
}

static VOID Work(PVOID Unused)
{
	LARGE_INTEGER Wait = {.QuadPart = -1000000}, Limit = {.QuadPart = -50000000};
	UNREFERENCED_PARAMETER(Unused);
	KeWaitForSingleObject(&Arrived, Executive, KernelMode, FALSE, NULL);
	for (int Round = 0; Round < 8; Round++) {
		if (Round % 2 == 0)
			KeDelayExecutionThread(KernelMode, FALSE, &Wait);
		KeInitializeApc(&Apc, (PKTHREAD)Target, OriginalApcEnvironment, Kernel, NULL, NULL,
				KernelMode, NULL);
		if (!KeInsertQueueApc(&Apc, NULL, NULL, IO_NO_INCREMENT) ||
		    KeWaitForSingleObject(&Ran, Executive, KernelMode, FALSE, &Limit) !=
			    STATUS_SUCCESS) {
			DbgPrint("FAIL the APC of round %d does not run\n", Round);
			break;
		}
	}
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID ThreadNotify(HANDLE ProcessId, HANDLE ThreadId, BOOLEAN Create)
{
	if (!Create || Target || ProcessId == PsGetProcessId(PsInitialSystemProcess))
		return;
	if (NT_SUCCESS(PsLookupThreadByThreadId(ThreadId, &Target)))
		KeSetEvent(&Arrived, IO_NO_INCREMENT, FALSE);
}

static VOID Unload(PDRIVER_OBJECT DriverObject)
{
	UNREFERENCED_PARAMETER(DriverObject);
	PsRemoveCreateThreadNotifyRoutine(ThreadNotify);
	ZwWaitForSingleObject(Worker, FALSE, NULL);
	ZwClose(Worker);
	ObDereferenceObject(Target);
	DbgPrint("PASS %d APCs\n", Runs);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	OBJECT_ATTRIBUTES Attributes;
	UNREFERENCED_PARAMETER(RegistryPath);
	DriverObject->DriverUnload = Unload;
	KeInitializeEvent(&Ran, SynchronizationEvent, FALSE);
	KeInitializeEvent(&Arrived, NotificationEvent, FALSE);
	InitializeObjectAttributes(&Attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
	PsSetCreateThreadNotifyRoutine(ThreadNotify);
	return PsCreateSystemThread(&Worker, THREAD_ALL_ACCESS, &Attributes, NULL, NULL, Work,
				    NULL);
}
