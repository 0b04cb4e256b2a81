/* SPDX-License-Identifier: MIT */
/*
 * ndk_dereg: a peer writes a large memory region while it is deregistered. When NdkDeregisterMr has
 * completed, not one byte of it may change any more, whatever was under way.
 *
 *     ketch cc ndk_dereg.c && ketch run ndk_dereg.sys
 *
 * In each round a thread writes the region over and over, a different byte in each pass, with many
 * requests outstanding. In the middle of that the region's owner deregisters it, takes a copy, lets
 * the writer go on until it fails, and compares.
 */
#include "ndk_common.h"

#define REGION  0x1000000 /* 16 MiB */
#define CHUNK   0x100000
#define ROUNDS  10
#define SETTLE  20 /* ms that the writer has for late bytes */
#define WRITING 16 /* requests of the writer under way */

static NDK_END writer, owner;
static PUCHAR copy;
static volatile LONG64 written; /* bytes, completed */
static volatile BOOLEAN enough; /* the writer is to stop, though the region is still there */
static NTSTATUS end_status;

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD Unload;

/* Two chunks of the writer's buffer hold two different bytes. */
static NTSTATUS PostWrite(ULONG Number)
{
	ULONG offset = Number % (REGION / CHUNK) * CHUNK;
	NDK_SGE sge;

	sge.VirtualAddress = writer.Buffer + Number / (REGION / CHUNK) % 2 * CHUNK;
	sge.Length = CHUNK;
	sge.MemoryRegionToken = writer.LocalToken;
	return writer.Qp->Dispatch->NdkWrite(writer.Qp, NULL, &sge, 1,
					     (UINT64)(ULONG_PTR)owner.Buffer + offset,
					     owner.RemoteToken, 0);
}

/* Until a write fails: then the region is gone. Waits for all of its requests. */
static VOID NTAPI Write(PVOID Context)
{
	NTSTATUS status = STATUS_SUCCESS, result;
	ULONG posted = 0, done = 0;

	UNREFERENCED_PARAMETER(Context);
	do {
		while (NT_SUCCESS(status) && !enough && posted - done < WRITING) {
			status = PostWrite(posted);
			if (NT_SUCCESS(status))
				posted++;
		}
		if (posted == done)
			break;
		result = NdkPoll(&writer);
		done++;
		if (NT_SUCCESS(result))
			InterlockedAdd64(&written, CHUNK);
		else if (NT_SUCCESS(status) || result == STATUS_ACCESS_VIOLATION)
			status = result; /* the failed access; the rest is cancelled */
	} while (NT_SUCCESS(status) || posted != done);
	end_status = status;
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static PVOID StartWriter(VOID)
{
	PVOID thread = NULL;
	HANDLE handle;

	if (!NT_SUCCESS(PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, Write,
					     NULL)))
		return NULL;
	ObReferenceObjectByHandle(handle, THREAD_ALL_ACCESS, NULL, KernelMode, &thread, NULL);
	ZwClose(handle);
	return thread;
}

static LARGE_INTEGER Milliseconds(LONG Count)
{
	LARGE_INTEGER time;

	time.QuadPart = -10000ll * Count;
	return time;
}

/* Deregister in the middle of the writing; returns how many bytes changed afterwards. */
static NTSTATUS Round(LONG64 *Changed)
{
	LONG64 goal = (written / CHUNK + 20) * CHUNK;
	LARGE_INTEGER moment = Milliseconds(1), settle = Milliseconds(SETTLE);
	PVOID thread = StartWriter();
	NTSTATUS status, ended = STATUS_TIMEOUT;
	ULONG i;

	if (!thread)
		return STATUS_INSUFFICIENT_RESOURCES;
	while (written < goal && ended == STATUS_TIMEOUT)
		ended = KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, &moment);
	status = NdkDeregister(&owner);
	enough = !NT_SUCCESS(status);
	RtlCopyMemory(copy, owner.Buffer, REGION);
	KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, NULL);
	ObDereferenceObject(thread);
	if (!NT_SUCCESS(status))
		return status;
	if (ended != STATUS_TIMEOUT) /* a write failed before there was a reason */
		return end_status;
	KeDelayExecutionThread(KernelMode, FALSE, &settle);
	for (i = 0; i < REGION; i++)
		*Changed += copy[i] != owner.Buffer[i];
	return STATUS_SUCCESS;
}

static NTSTATUS Connect(VOID)
{
	NTSTATUS status = NdkOpenEnd(&writer, 2 * CHUNK, NDK_MR_FLAG_ALLOW_LOCAL_WRITE);

	if (NT_SUCCESS(status))
		status = NdkOpenEnd(&owner, REGION, NDK_MR_FLAG_ALLOW_REMOTE_WRITE);
	if (NT_SUCCESS(status))
		status = NdkListen(&owner);
	if (NT_SUCCESS(status))
		status = NdkConnectEnds(&writer, &owner);
	if (!NT_SUCCESS(status))
		return status;
	RtlFillMemory(writer.Buffer, CHUNK, 0x55);
	RtlFillMemory(writer.Buffer + CHUNK, CHUNK, 0xaa);
	return status;
}

/* A failed access breaks the connection, so each round has its own. */
static NTSTATUS Run(VOID)
{
	NTSTATUS status = STATUS_SUCCESS;
	LONG64 changed = 0;
	NDK_END ends[2];
	ULONG i;

	RtlZeroMemory(ends, sizeof(ends));
	if (!NdkFindEnds(ends))
		return STATUS_NOT_FOUND;
	for (i = 0; i < ROUNDS && NT_SUCCESS(status); i++) {
		writer = ends[0];
		owner = ends[1];
		status = Connect();
		if (NT_SUCCESS(status))
			status = Round(&changed);
		NdkCloseEnd(&writer);
		NdkCloseEnd(&owner);
	}
	if (!NT_SUCCESS(status))
		return status;
	DbgPrint("ndk_dereg: %u deregistrations of 16 MiB, %I64d MiB written before\n", i,
		 written / 0x100000);
	DbgPrint("ndk_dereg: then the writer's requests fail with 0x%08x\n", end_status);
	DbgPrint("ndk_dereg: bytes that changed after completion: %I64d\n", changed);
	return changed ? STATUS_DATA_ERROR : STATUS_SUCCESS;
}

static VOID Unload(PDRIVER_OBJECT DriverObject)
{
	UNREFERENCED_PARAMETER(DriverObject);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	NTSTATUS status;

	UNREFERENCED_PARAMETER(RegistryPath);
	DriverObject->DriverUnload = Unload;
	copy = ExAllocatePool2(POOL_FLAG_NON_PAGED, REGION, NDK_EXAMPLE_TAG);
	if (!copy)
		return STATUS_INSUFFICIENT_RESOURCES;
	status = NdkEnter();
	if (NT_SUCCESS(status)) {
		status = Run();
		NdkLeave();
	}
	ExFreePoolWithTag(copy, NDK_EXAMPLE_TAG);
	return status;
}
