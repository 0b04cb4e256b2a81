/* SPDX-License-Identifier: MIT */
/*
 * notify.c: a driver that hears of user processes, threads and images, and looks at the objects:
 * while they run, in their last moment, and when they are gone. With REFUSE it does not want any.
 */
#include <ntifs.h>

#define KEPT 64

static volatile LONG Processes, Ended, Threads, ThreadsEnded, Images, Kept;
static PEPROCESS Objects[KEPT];
static PETHREAD ThreadObjects[KEPT];
static volatile LONG ThreadsKept;
static PVOID Handle;

#define CHECK(Condition, What)                                                                     \
	do {                                                                                       \
		if (!(Condition))                                                                  \
			DbgPrint("FAIL %s\n", What);                                               \
	} while (0)

static BOUND_CALLBACK_STATUS Callback(VOID)
{
	ULONG64 *Frame = *(ULONG64 **)((char *)KeGetCurrentThread() + 0x90);
	Frame[0x30 / 8] = 1; /* Rax */
	return BoundExceptionHandled;
}

static VOID ProcessNotify(PEPROCESS Process, HANDLE ProcessId, PPS_CREATE_NOTIFY_INFO Info)
{
	PEPROCESS Found;
	KAPC_STATE State;
	CHECK(PsGetProcessId(Process) == ProcessId, "the process has another id");
	CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL, "IRQL of the process routine");
	CHECK(NT_SUCCESS(PsLookupProcessByProcessId(ProcessId, &Found)) && Found == Process,
	      "PsLookupProcessByProcessId while it runs");
	CHECK(PsGetProcessExitStatus(Process) == STATUS_PENDING || !Info,
	      "exit status while it runs");
	KeStackAttachProcess((PRKPROCESS)Process, &State);
	CHECK(PsGetCurrentProcess() == Process, "attached to the process");
	KeUnstackDetachProcess(&State);
	if (!Info) {
		/* In its last thread, whose memory is still there. */
		CHECK(PsGetCurrentProcess() == Process, "the end is told in another process");
		ObDereferenceObject(Found);
		InterlockedIncrement(&Ended);
		return;
	}
#ifdef REFUSE
	Info->CreationStatus = STATUS_ACCESS_DENIED;
#endif
	LONG Number = InterlockedIncrement(&Processes);
	CHECK(Info->ImageFileName && Info->ImageFileName->Length > 2 &&
		      Info->ImageFileName->Buffer[0] == '/',
	      "the image's name");
	CHECK((Number == 1) == (Info->CommandLine != NULL && Info->CommandLine->Length != 0),
	      "the command line is that of the program");
	CHECK(Number == 1 ? Info->ParentProcessId == PsGetProcessId(PsInitialSystemProcess)
			  : Info->ParentProcessId == PsGetCurrentProcessId(),
	      "the parent");
	CHECK(PsGetProcessInheritedFromUniqueProcessId(Process) == Info->ParentProcessId,
	      "the parent's id");
	if (Number <= KEPT) /* with its reference */
		Objects[Kept++] = Found;
}

static VOID ThreadNotify(HANDLE ProcessId, HANDLE ThreadId, BOOLEAN Create)
{
	PETHREAD Thread;
	if (ProcessId == PsGetProcessId(PsInitialSystemProcess))
		return;
	CHECK(NT_SUCCESS(PsLookupThreadByThreadId(ThreadId, &Thread)), "PsLookupThreadByThreadId");
	CHECK(!PsIsSystemThread(Thread), "PsIsSystemThread of a user thread");
	CHECK(PsGetProcessId(PsGetThreadProcess(Thread)) == ProcessId, "PsGetThreadProcess");
	CHECK(PsGetThreadProcessId(Thread) == ProcessId, "PsGetThreadProcessId");
	if (!Create) {
		CHECK(PsGetCurrentThreadId() == ThreadId, "the end is told in another thread");
		InterlockedIncrement(&ThreadsEnded);
		ObDereferenceObject(Thread);
		return;
	}
	InterlockedIncrement(&Threads);
	LONG Place = InterlockedIncrement(&ThreadsKept);
	if (Place <= KEPT)
		ThreadObjects[Place - 1] = Thread;
	else
		ObDereferenceObject(Thread);
}

static VOID ImageNotify(PUNICODE_STRING Name, HANDLE ProcessId, PIMAGE_INFO Info)
{
	if (!ProcessId)
		return;
	CHECK(Name && Name->Length > 2 && !Info->SystemModeImage && Info->ImageBase &&
		      Info->ImageSize >= 0x1000,
	      "what the image routine gets");
	CHECK(ProcessId == PsGetCurrentProcessId(), "the image's process");
	InterlockedIncrement(&Images);
}

static VOID CheckGone(PVOID Object, const char *What)
{
	LARGE_INTEGER Now = {.QuadPart = 0};
	CHECK(KeWaitForSingleObject(Object, Executive, KernelMode, FALSE, &Now) == STATUS_SUCCESS,
	      What);
}

static VOID Unload(PDRIVER_OBJECT DriverObject)
{
	UNREFERENCED_PARAMETER(DriverObject);
	PsSetCreateProcessNotifyRoutineEx(ProcessNotify, TRUE);
	PsRemoveCreateThreadNotifyRoutine(ThreadNotify);
	PsRemoveLoadImageNotifyRoutine(ImageNotify);
	CHECK(KeDeregisterBoundCallback(Handle) == STATUS_SUCCESS, "deregistration");
	CHECK(Processes == Ended, "every process that began has ended");
	CHECK(Threads == ThreadsEnded, "every thread that began has ended");
	for (LONG Index = 0; Index < Kept; Index++) {
		KAPC_STATE State;
		CheckGone(Objects[Index], "an ended process is signalled");
		DbgPrint("exit status 0x%08x\n", PsGetProcessExitStatus(Objects[Index]));
		CHECK(PsAcquireProcessExitSynchronization(Objects[Index]) ==
			      STATUS_PROCESS_IS_TERMINATING,
		      "exit synchronization of an ended process");
		/* Attaching to what has ended is allowed, there is only no memory. */
		KeStackAttachProcess((PRKPROCESS)Objects[Index], &State);
		KeUnstackDetachProcess(&State);
		ObDereferenceObject(Objects[Index]);
	}
	for (LONG Index = 0; Index < ThreadsKept && Index < KEPT; Index++) {
		CheckGone(ThreadObjects[Index], "an ended thread is signalled");
		CHECK(PsIsThreadTerminating(ThreadObjects[Index]), "PsIsThreadTerminating");
		ObDereferenceObject(ThreadObjects[Index]);
	}
	DbgPrint("PASS %d processes, %d threads, %d images\n", Processes, Threads, Images);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	UNREFERENCED_PARAMETER(RegistryPath);
	DriverObject->DriverUnload = Unload;
	Handle = KeRegisterBoundCallback(Callback);
	CHECK(Handle != NULL, "registration");
	CHECK(NT_SUCCESS(PsSetCreateProcessNotifyRoutineEx(ProcessNotify, FALSE)),
	      "process routine");
	CHECK(NT_SUCCESS(PsSetCreateThreadNotifyRoutine(ThreadNotify)), "thread routine");
	CHECK(NT_SUCCESS(PsSetLoadImageNotifyRoutine(ImageNotify)), "image routine");
	return STATUS_SUCCESS;
}
