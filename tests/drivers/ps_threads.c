/* SPDX-License-Identifier: MIT */
/* Threads and processes (PLT-41, PLT-42, DEF-48, DEF-49, DEF-123, DEF-155, DEF-159, DEF-211,
 * DEF-269..278, DEF-308). */
#include "check.h"

static struct {
	KIRQL irql;
	BOOLEAN apcs_disabled, all_disabled, system;
	PVOID object, process;
	HANDLE thread_id, process_id;
	NTSTATUS terminate;
} seen;

static volatile LONG runs;

static VOID NTAPI looks(PVOID context)
{
	seen.irql = KeGetCurrentIrql();
	seen.apcs_disabled = KeAreApcsDisabled();
	seen.all_disabled = KeAreAllApcsDisabled();
	seen.object = PsGetCurrentThread();
	seen.process = PsGetCurrentProcess();
	seen.thread_id = PsGetCurrentThreadId();
	seen.process_id = PsGetCurrentProcessId();
	seen.system = PsIsSystemThread(PsGetCurrentThread());
	*(LONG *)context = 1;
	PsTerminateSystemThread(0x11);
	*(LONG *)context = 2;
}

static VOID NTAPI returns(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
	InterlockedIncrement(&runs);
}

static VOID NTAPI waits(PVOID event)
{
	KeWaitForSingleObject(event, Executive, KernelMode, FALSE, NULL);
}

static void one_thread(void)
{
	LONG reached = 0;
	CLIENT_ID id = {0};
	HANDLE handle;
	PVOID thread;
	PETHREAD found;
	NTSTATUS status =
		PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, &id, looks, &reached);
	CHECK(NT_SUCCESS(status), "PLT-41 PsCreateSystemThread");
	status = ObReferenceObjectByHandle(handle, SYNCHRONIZE, *PsThreadType, KernelMode, &thread,
					   NULL);
	CHECK(NT_SUCCESS(status), "DEF-123 the thread object by its handle and type");
	CHECK(KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, NULL) == STATUS_SUCCESS,
	      "DEF-123 a wait for its end");
	CHECK(reached == 1, "PLT-42 PsTerminateSystemThread does not return");
	CHECK(seen.irql == PASSIVE_LEVEL, "PLT-41 it starts at PASSIVE_LEVEL");
	CHECK(seen.apcs_disabled && !seen.all_disabled, "PLT-41 it starts in a critical region");
	CHECK(seen.object == thread, "DEF-48 PsGetCurrentThread is the object of the handle");
	CHECK(seen.process == PsInitialSystemProcess && id.UniqueProcess == seen.process_id,
	      "PLT-41 it belongs to the system process");
	CHECK(seen.thread_id == id.UniqueThread &&
		      seen.thread_id == PsGetThreadId((PETHREAD)thread),
	      "DEF-48 the thread's id is the same everywhere");
	CHECK(seen.system, "DEF-277 PsIsSystemThread");
	CHECK(PsLookupThreadByThreadId(id.UniqueThread, &found) == STATUS_SUCCESS &&
		      found == thread,
	      "DEF-211 PsLookupThreadByThreadId of a referenced thread that has ended");
	ObDereferenceObject(found);
	CHECK(ZwWaitForSingleObject(handle, FALSE, NULL) == STATUS_SUCCESS,
	      "DEF-123 a wait after its end, by handle");
	ObDereferenceObject(thread);
	ZwClose(handle);
}

static void ids(void)
{
	PETHREAD thread;
	PEPROCESS process;
	CHECK(PsLookupThreadByThreadId((HANDLE)0xfffff0, &thread) == STATUS_INVALID_PARAMETER,
	      "DEF-211 no such thread is STATUS_INVALID_PARAMETER");
	CHECK(PsLookupThreadByThreadId(PsGetCurrentProcessId(), &thread) ==
		      STATUS_INVALID_PARAMETER,
	      "the id of a process is none of a thread");
	CHECK(PsLookupProcessByProcessId((HANDLE)4, &process) == STATUS_SUCCESS &&
		      process == PsInitialSystemProcess,
	      "DEF-278 the system process has id 4");
	ObDereferenceObject(process);
	CHECK(PsGetProcessId(PsInitialSystemProcess) == (HANDLE)4, "PsGetProcessId");
	CHECK(*(HANDLE *)((PCHAR)PsInitialSystemProcess + 0x440) == (HANDLE)4 &&
		      !strcmp((PCHAR)PsInitialSystemProcess + 0x5a8, "System"),
	      "DEF-49 id and image name at their offsets");
	CLIENT_ID id = {(HANDLE)4, PsGetCurrentThreadId()},
		  wrong = {(HANDLE)8, PsGetCurrentThreadId()};
	OBJECT_ATTRIBUTES attributes;
	HANDLE handle;
	CHECK(PsLookupProcessThreadByCid(&id, &process, &thread) == STATUS_SUCCESS &&
		      process == PsInitialSystemProcess && thread == PsGetCurrentThread(),
	      "PsLookupProcessThreadByCid");
	ObDereferenceObject(process);
	ObDereferenceObject(thread);
	CHECK(PsLookupProcessThreadByCid(&wrong, NULL, &thread) == STATUS_INVALID_CID,
	      "another process's thread");
	InitializeObjectAttributes(&attributes, NULL, OBJ_KERNEL_HANDLE, NULL, NULL);
	CHECK(ZwOpenProcess(&handle, PROCESS_ALL_ACCESS, &attributes, &id) == STATUS_SUCCESS,
	      "ZwOpenProcess");
	ZwClose(handle);
	id.UniqueProcess = (HANDLE)0x7770;
	CHECK(ZwOpenProcess(&handle, PROCESS_ALL_ACCESS, &attributes, &id) == STATUS_INVALID_CID,
	      "no such process");
	CHECK(PsTerminateSystemThread(STATUS_SUCCESS) == STATUS_INVALID_PARAMETER,
	      "PLT-42 DriverEntry's thread is not the driver's to end");
	CHECK(PsAcquireProcessExitSynchronization(PsInitialSystemProcess) == STATUS_SUCCESS,
	      "DEF-308 PsAcquireProcessExitSynchronization");
	PsReleaseProcessExitSynchronization(PsInitialSystemProcess);
}

static void many(void)
{
	PVOID threads[16];
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 16; i++)
			threads[i] = check_thread(returns, NULL);
		for (int i = 0; i < 16; i++)
			check_join(threads[i]);
	}
	CHECK(runs == 320,
	      "a return from the start routine ends a thread: 320 threads came and went");
}

static void lookups_race_ends(void)
{
	KEVENT event;
	PETHREAD found;
	ULONG hits = 0;
	KeInitializeEvent(&event, NotificationEvent, FALSE);
	PVOID thread = check_thread(waits, &event);
	HANDLE id = PsGetThreadId((PETHREAD)thread);
	KeSetEvent(&event, 0, FALSE);
	for (int i = 0; i < 100000; i++) {
		if (i == 50)
			check_join(thread);
		if (!NT_SUCCESS(PsLookupThreadByThreadId(id, &found)))
			break;
		hits++;
		ObDereferenceObject(found);
	}
	CHECK(hits >= 50 && hits < 100000, "the id goes with the last reference");
}

static void attach(void)
{
	KAPC_STATE outer, inner;
	KeStackAttachProcess((PRKPROCESS)PsInitialSystemProcess, &outer);
	KeStackAttachProcess((PRKPROCESS)PsInitialSystemProcess, &inner);
	CHECK(PsGetCurrentProcess() == PsInitialSystemProcess,
	      "DEF-269 attached to the system process, twice");
	KeUnstackDetachProcess(&inner);
	KeUnstackDetachProcess(&outer);
	CHECK(PsGetCurrentProcess() == PsInitialSystemProcess, "DEF-270 detached");
}

static void version(void)
{
	ULONG major, minor, build;
	UNICODE_STRING pack;
	RTL_OSVERSIONINFOW info = {.dwOSVersionInfoSize = sizeof(info)};
	CHECK(PsGetVersion(&major, &minor, &build, &pack) == FALSE,
	      "PsGetVersion: not a checked build");
	RtlGetVersion(&info);
	CHECK(major == info.dwMajorVersion && minor == info.dwMinorVersion &&
		      build == info.dwBuildNumber,
	      "DEF-47 PsGetVersion agrees with RtlGetVersion");
	CHECK(major == SharedUserData->NtMajorVersion && minor == SharedUserData->NtMinorVersion,
	      "DEF-47 and with the shared page");
}

static LONG created, deleted, images;

static VOID NTAPI thread_notify(HANDLE process, HANDLE thread, BOOLEAN create)
{
	UNREFERENCED_PARAMETER(process);
	UNREFERENCED_PARAMETER(thread);
	InterlockedIncrement(create ? &created : &deleted);
}

static VOID NTAPI process_notify(HANDLE parent, HANDLE process, BOOLEAN create)
{
	UNREFERENCED_PARAMETER(parent);
	UNREFERENCED_PARAMETER(process);
	UNREFERENCED_PARAMETER(create);
}

static VOID NTAPI image_notify(PUNICODE_STRING name, HANDLE process, PIMAGE_INFO info)
{
	if (!process && info->SystemModeImage && info->ImageBase && info->ImageSize)
		images++;
	DbgPrint("ps_threads: image %wZ\n", name);
}

static void notify(void)
{
	CHECK(PsSetCreateThreadNotifyRoutine(thread_notify) == STATUS_SUCCESS,
	      "PsSetCreateThreadNotifyRoutine");
	check_join(check_thread(returns, NULL));
	CHECK(created == 1 && deleted == 1, "a thread's beginning and end are told");
	CHECK(PsRemoveCreateThreadNotifyRoutine(thread_notify) == STATUS_SUCCESS, "and no longer");
	CHECK(PsRemoveCreateThreadNotifyRoutine(thread_notify) == STATUS_PROCEDURE_NOT_FOUND,
	      "an unknown routine");
	check_join(check_thread(returns, NULL));
	CHECK(created == 1 && deleted == 1, "a removed routine is not called");
	CHECK(PsSetCreateProcessNotifyRoutine(process_notify, FALSE) == STATUS_SUCCESS,
	      "PsSetCreateProcessNotifyRoutine");
	CHECK(PsSetCreateProcessNotifyRoutine(process_notify, FALSE) == STATUS_INVALID_PARAMETER,
	      "twice");
	CHECK(PsSetCreateProcessNotifyRoutine(process_notify, TRUE) == STATUS_SUCCESS,
	      "and no longer");
	CHECK(PsSetLoadImageNotifyRoutine(image_notify) == STATUS_SUCCESS,
	      "PsSetLoadImageNotifyRoutine");
}

static volatile LONG inside;

static VOID NTAPI slow_notify(HANDLE process, HANDLE thread, BOOLEAN create)
{
	UNREFERENCED_PARAMETER(process);
	UNREFERENCED_PARAMETER(thread);
	if (create)
		return;
	inside = 1;
	check_sleep(50);
	inside = 2;
}

static void removal_waits(void)
{
	PsSetCreateThreadNotifyRoutine(slow_notify);
	PVOID thread = check_thread(returns, NULL);
	for (int i = 0; i < 1000 && !inside; i++)
		check_sleep(1);
	PsRemoveCreateThreadNotifyRoutine(slow_notify);
	CHECK(inside == 2, "a removal returns when the routine no longer runs");
	check_join(thread);
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
	CHECK(images == IMAGES, "as many images as were loaded later");
	CHECK(PsRemoveLoadImageNotifyRoutine(image_notify) == STATUS_SUCCESS,
	      "PsRemoveLoadImageNotifyRoutine");
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	one_thread();
	ids();
	many();
	lookups_race_ends();
	attach();
	version();
	notify();
	removal_waits();
	return check_result();
}
