/* SPDX-License-Identifier: MIT */
/*
 * ndk_pingpong: two ends in one driver, each on an RNIC of its own: messages to and fro, RDMA
 * writes and reads, with latency and bandwidth.
 *
 *     ketch cc ndk_pingpong.c && ketch run ndk_pingpong.sys
 *
 * It opens its adapters as Windows drivers do, through Winsock Kernel, and needs no RDMA card:
 * without options the machine has two RNICs that reach each other. With --adapter=verbs:DEVICE the
 * same driver runs on a device of the host.
 */
#include "ndk_common.h"

#define BUFFER   0x100000
#define MESSAGE  64
#define ROUNDS   2000
#define TRANSFER 256 /* of 1 MiB */

static NDK_END ends[2];

DRIVER_INITIALIZE DriverEntry;
static DRIVER_UNLOAD Unload;

static NDK_SGE Piece(const NDK_END *End, ULONG Offset, ULONG Length)
{
	NDK_SGE sge;

	sge.VirtualAddress = End->Buffer + Offset;
	sge.Length = Length;
	sge.MemoryRegionToken = End->LocalToken;
	return sge;
}

static NTSTATUS Receive(NDK_END *End)
{
	NDK_SGE sge = Piece(End, MESSAGE, MESSAGE);

	return End->Qp->Dispatch->NdkReceive(End->Qp, NULL, &sge, 1);
}

/* One message; its completion at the sender is silent. */
static NTSTATUS Send(NDK_END *End)
{
	NDK_SGE sge = Piece(End, 0, MESSAGE);

	return End->Qp->Dispatch->NdkSend(End->Qp, NULL, &sge, 1, NDK_OP_FLAG_SILENT_SUCCESS);
}

static LONGLONG Nanoseconds(LARGE_INTEGER Begin)
{
	LARGE_INTEGER frequency, now = KeQueryPerformanceCounter(&frequency);

	return (now.QuadPart - Begin.QuadPart) * 1000000000 / frequency.QuadPart;
}

/* A message of one end, received by the other. */
static NTSTATUS Pass(NDK_END *From, NDK_END *To, UCHAR Number)
{
	NTSTATUS status;

	RtlFillMemory(From->Buffer, MESSAGE, Number);
	status = Send(From);
	if (NT_SUCCESS(status))
		status = NdkPoll(To);
	if (NT_SUCCESS(status) &&
	    (To->Buffer[MESSAGE] != Number || To->Buffer[2 * MESSAGE - 1] != Number))
		status = STATUS_DATA_ERROR;
	if (NT_SUCCESS(status))
		status = Receive(To); /* the next one */
	return status;
}

static NTSTATUS PingPong(VOID)
{
	NTSTATUS status = Receive(&ends[0]);
	LARGE_INTEGER begin;
	LONGLONG time;
	ULONG i;

	if (NT_SUCCESS(status))
		status = Receive(&ends[1]);
	begin = KeQueryPerformanceCounter(NULL);
	for (i = 0; i < ROUNDS && NT_SUCCESS(status); i++) {
		status = Pass(&ends[0], &ends[1], (UCHAR)i);
		if (NT_SUCCESS(status))
			status = Pass(&ends[1], &ends[0], (UCHAR)~i);
	}
	time = Nanoseconds(begin);
	if (NT_SUCCESS(status))
		DbgPrint("ndk_pingpong: %u messages of %u bytes: %I64d ns each\n", 2 * ROUNDS,
			 MESSAGE, time / (2 * ROUNDS));
	return status;
}

/* One RDMA transfer from or to the other end's buffer, until it is complete. */
static NTSTATUS Transfer(BOOLEAN Read, ULONG Length)
{
	NDK_END *mine = &ends[0], *other = &ends[1];
	NDK_SGE sge = Piece(mine, 0, Length);
	NDK_FN_WRITE *function = Read ? mine->Qp->Dispatch->NdkRead : mine->Qp->Dispatch->NdkWrite;
	NTSTATUS status = function(mine->Qp, NULL, &sge, 1, (UINT64)(ULONG_PTR)other->Buffer,
				   other->RemoteToken, 0);

	return NT_SUCCESS(status) ? NdkPoll(mine) : status;
}

static NTSTATUS Rdma(BOOLEAN Read)
{
	const char *name = Read ? "reads" : "writes";
	NDK_END *from = &ends[Read ? 1 : 0], *to = &ends[Read ? 0 : 1];
	NTSTATUS status = STATUS_SUCCESS;
	LARGE_INTEGER begin;
	LONGLONG time;
	ULONG i;

	begin = KeQueryPerformanceCounter(NULL);
	for (i = 0; i < ROUNDS && NT_SUCCESS(status); i++)
		status = Transfer(Read, PAGE_SIZE);
	time = Nanoseconds(begin);
	if (!NT_SUCCESS(status))
		return status;
	DbgPrint("ndk_pingpong: RDMA %s of 4 KiB: %I64d ns each\n", name, time / ROUNDS);

	RtlFillMemory(to->Buffer, BUFFER, 0);
	for (i = 0; i < BUFFER; i++)
		from->Buffer[i] = (UCHAR)(i * 7 + i / 4096 + Read);
	begin = KeQueryPerformanceCounter(NULL);
	for (i = 0; i < TRANSFER && NT_SUCCESS(status); i++)
		status = Transfer(Read, BUFFER);
	time = Nanoseconds(begin);
	if (!NT_SUCCESS(status))
		return status;
	if (RtlCompareMemory(from->Buffer, to->Buffer, BUFFER) != BUFFER)
		return STATUS_DATA_ERROR;
	DbgPrint("ndk_pingpong: RDMA %s of 1 MiB: %I64d MB/s\n", name,
		 (LONGLONG)TRANSFER * BUFFER * 1000 / (time ? time : 1));
	return STATUS_SUCCESS;
}

static NTSTATUS Run(VOID)
{
	NTSTATUS status;
	ULONG i;

	if (!NdkFindEnds(ends))
		return STATUS_NOT_FOUND;
	for (i = 0; i < 2; i++) {
		status = NdkOpenEnd(&ends[i], BUFFER,
				    NDK_MR_FLAG_ALLOW_LOCAL_WRITE | NDK_MR_FLAG_ALLOW_REMOTE_READ |
					    NDK_MR_FLAG_ALLOW_REMOTE_WRITE);
		if (!NT_SUCCESS(status))
			return status;
	}
	status = NdkListen(&ends[1]);
	if (NT_SUCCESS(status))
		status = NdkConnectEnds(&ends[0], &ends[1]);
	if (!NT_SUCCESS(status))
		return status;
	DbgPrint("ndk_pingpong: interface %u is connected to interface %u\n", ends[0].Index,
		 ends[1].Index);
	status = PingPong();
	if (NT_SUCCESS(status))
		status = Rdma(FALSE);
	if (NT_SUCCESS(status))
		status = Rdma(TRUE);
	return status;
}

static VOID Unload(PDRIVER_OBJECT DriverObject)
{
	UNREFERENCED_PARAMETER(DriverObject);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	NTSTATUS status = NdkEnter();

	UNREFERENCED_PARAMETER(RegistryPath);
	DriverObject->DriverUnload = Unload;
	if (!NT_SUCCESS(status))
		return status;
	status = Run();
	NdkCloseEnd(&ends[0]);
	NdkCloseEnd(&ends[1]);
	NdkLeave();
	return status;
}
