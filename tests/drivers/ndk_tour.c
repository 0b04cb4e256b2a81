/* SPDX-License-Identifier: MIT */
/*
 * ndk_tour.c: the functions that few consumers use, in one connection: shared endpoint, shared
 * receive queue, window, resized queue, rejection, disconnection (NDK-40, NDK-44, NDK-45, NDK-47,
 * NDK-54, NDK-58, NDK-59, NDK-64, NDK-72, NDK-74a, NDK-74c, NDK-35), over IPv4, or IPv6 with
 * -DNDK_EXAMPLE_FAMILY=AF_INET6 (NDK-135, DEF-105). With -DMAY_FAIL it only has to
 * end without a leak, a hang or a crash, whatever fails.
 */
#include "check.h"
#pragma clang diagnostic ignored "-Wunused-function" /* not all of it is used here */
#include "../../examples/ndk_common.h"

#ifndef MAY_FAIL
#define MAY_FAIL 0
#endif
#define BUFFER  0x4000
#define MESSAGE 256

static NDK_END active, passive;
static NDK_SRQ *srq;
static NDK_MW *mw;
static NDK_SHARED_ENDPOINT *endpoint;
static NDK_QP *second_qp;
static NDK_CONNECTOR *refused;
static KEVENT disconnected;

static NTSTATUS Poll(NDK_END *End)
{
	NDK_RESULT result;
	for (ULONG i = 0; i < 3000; i++) {
		if (End->Cq->Dispatch->NdkGetCqResults(End->Cq, &result, 1))
			return result.Status;
		check_sleep(1);
	}
	return STATUS_IO_TIMEOUT;
}

static NDK_SGE Piece(const NDK_END *End, ULONG Offset)
{
	NDK_SGE sge;
	sge.VirtualAddress = End->Buffer + Offset;
	sge.Length = MESSAGE;
	sge.MemoryRegionToken = End->LocalToken;
	return sge;
}

static VOID NTAPI OnDisconnect(PVOID Context)
{
	KeSetEvent(Context, 0, FALSE);
}

/* The passive end receives from an SRQ. */
static NTSTATUS MakeSrq(void)
{
	NDK_WAIT wait;
	const NDK_PD_DISPATCH *pd = passive.Pd->Dispatch;
	NTSTATUS status = pd->NdkCreateSrq(passive.Pd, 8, 1, 0, NULL, NULL, NULL, NdkOnCreate,
					   NdkBegin(&wait), &srq);
	status = NdkWait(&wait, status, (PVOID *)&srq);
	if (!NT_SUCCESS(status))
		return status;
	NDK_CLOSE(passive.Qp, NdkCloseQp);
	status = pd->NdkCreateQpWithSrq(passive.Pd, passive.Cq, passive.Cq, srq, &passive, 8, 1, 0,
					NdkOnCreate, NdkBegin(&wait), &passive.Qp);
	status = NdkWait(&wait, status, (PVOID *)&passive.Qp);
	if (!NT_SUCCESS(status))
		return status;
	status = srq->Dispatch->NdkModifySrq(srq, 16, 0, NdkOnRequest, NdkBegin(&wait));
	status = NdkWait(&wait, status, NULL);
	for (ULONG i = 0; i < 2 && NT_SUCCESS(status); i++) {
		NDK_SGE sge = Piece(&passive, i * MESSAGE);
		status = srq->Dispatch->NdkSrqReceive(srq, NULL, &sge, 1);
	}
	return status;
}

static NTSTATUS MakeActive(void)
{
	NDK_WAIT wait;
	SOCKADDR_INET address = active.Address;
	NTSTATUS status =
		active.Cq->Dispatch->NdkResizeCq(active.Cq, 200, NdkOnRequest, NdkBegin(&wait));
	status = NdkWait(&wait, status, NULL);
	if (!NT_SUCCESS(status))
		return status;
	address.Ipv4.sin_port = 0;
	status = active.Adapter->Dispatch->NdkCreateSharedEndpoint(
		active.Adapter, (PSOCKADDR)&address, NDK_ADDRESS_LENGTH, NdkOnCreate,
		NdkBegin(&wait), &endpoint);
	status = NdkWait(&wait, status, (PVOID *)&endpoint);
	if (!NT_SUCCESS(status))
		return status;
	ULONG length = NDK_ADDRESS_LENGTH;
	status = endpoint->Dispatch->NdkGetLocalAddress(endpoint, (PSOCKADDR)&active.Address,
							&length);
	if (NT_SUCCESS(status) && !active.Address.Ipv4.sin_port)
		return STATUS_DATA_ERROR;
	status = active.Pd->Dispatch->NdkCreateQp(active.Pd, active.Cq, active.Cq, NULL, 4, 4, 1, 1,
						  0, NdkOnCreate, NdkBegin(&wait), &second_qp);
	return NdkWait(&wait, status, (PVOID *)&second_qp);
}

static NTSTATUS Create(NDK_CONNECTOR **Connector)
{
	NDK_WAIT wait;
	NTSTATUS status = active.Adapter->Dispatch->NdkCreateConnector(active.Adapter, NdkOnCreate,
								       NdkBegin(&wait), Connector);
	return NdkWait(&wait, status, (PVOID *)Connector);
}

static NTSTATUS Connect(void)
{
	NDK_WAIT connect;
	NTSTATUS status = Create(&active.Connector);
	if (!NT_SUCCESS(status))
		return status;
	status = active.Connector->Dispatch->NdkConnectWithSharedEndpoint(
		active.Connector, active.Qp, endpoint, (PSOCKADDR)&passive.Address,
		NDK_ADDRESS_LENGTH, 1, 1, NULL, 0, NdkOnRequest, NdkBegin(&connect));
	if (status != STATUS_PENDING && !NT_SUCCESS(status))
		return status;
	return NdkFinishConnect(&active, &passive, &connect, status, OnDisconnect, &disconnected);
}

/* A second connection, which the passive end does not want. */
static NTSTATUS Refuse(void)
{
	NDK_CONNECTOR *connected = passive.Connector;
	NDK_WAIT connect;
	SOCKADDR_INET address = active.Address;
	NTSTATUS status = Create(&refused), rejected = STATUS_SUCCESS;
	if (!NT_SUCCESS(status))
		return status;
	address.Ipv4.sin_port = 0;
	KeClearEvent(&passive.Incoming);
	status = refused->Dispatch->NdkConnect(refused, second_qp, (PSOCKADDR)&address,
					       NDK_ADDRESS_LENGTH, (PSOCKADDR)&passive.Address,
					       NDK_ADDRESS_LENGTH, 1, 1, NULL, 0, NdkOnRequest,
					       NdkBegin(&connect));
	if (status == STATUS_PENDING || NT_SUCCESS(status)) {
		if (NT_SUCCESS(NdkAwaitRequest(&passive, &connect, status)) &&
		    passive.Connector != connected) {
			rejected =
				passive.Connector->Dispatch->NdkReject(passive.Connector, "no", 3);
			NDK_CLOSE(passive.Connector, NdkCloseConnector);
		}
		status = NdkWait(&connect, status, NULL);
	}
	passive.Connector = connected;
	if (!NT_SUCCESS(rejected))
		return rejected;
	return status == STATUS_CONNECTION_REFUSED ? STATUS_SUCCESS
	       : NT_SUCCESS(status)                ? STATUS_DATA_ERROR
						   : status;
}

/* A window over the second page: written through its token, then invalidated. */
static NTSTATUS Window(void)
{
	NDK_WAIT wait;
	NDK_SGE sge = Piece(&active, 0);
	NTSTATUS status =
		passive.Pd->Dispatch->NdkCreateMw(passive.Pd, NdkOnCreate, NdkBegin(&wait), &mw);
	status = NdkWait(&wait, status, (PVOID *)&mw);
	if (!NT_SUCCESS(status))
		return status;
	const NDK_QP_DISPATCH *qp = passive.Qp->Dispatch;
	status = qp->NdkBind(passive.Qp, NULL, passive.Mr, mw, passive.Buffer + PAGE_SIZE,
			     PAGE_SIZE, NDK_OP_FLAG_ALLOW_REMOTE_WRITE);
	if (NT_SUCCESS(status))
		status = Poll(&passive);
	if (!NT_SUCCESS(status))
		return status;
	RtlFillMemory(active.Buffer, MESSAGE, 0x3c);
	status = active.Qp->Dispatch->NdkWrite(active.Qp, NULL, &sge, 1,
					       (UINT64)(ULONG_PTR)passive.Buffer + PAGE_SIZE + 8,
					       mw->Dispatch->NdkGetRemoteTokenFromMw(mw), 0);
	if (NT_SUCCESS(status))
		status = Poll(&active);
	if (NT_SUCCESS(status) && passive.Buffer[PAGE_SIZE + 8] != 0x3c)
		return STATUS_DATA_ERROR;
	if (NT_SUCCESS(status))
		status = qp->NdkInvalidate(passive.Qp, NULL, &mw->Header, 0);
	return NT_SUCCESS(status) ? Poll(&passive) : status;
}

static NTSTATUS Message(void)
{
	NDK_SGE sge = Piece(&active, 0);
	NTSTATUS status = active.Qp->Dispatch->NdkSend(active.Qp, NULL, &sge, 1, 0);
	if (NT_SUCCESS(status))
		status = Poll(&active);
	if (NT_SUCCESS(status))
		status = Poll(&passive);
	if (NT_SUCCESS(status) && passive.Buffer[0] != 0x3c)
		status = STATUS_DATA_ERROR;
	return status;
}

static NTSTATUS Disconnect(void)
{
	NDK_WAIT wait;
	LARGE_INTEGER time = check_ms(3000);
	NTSTATUS status = active.Connector->Dispatch->NdkDisconnect(active.Connector, NdkOnRequest,
								    NdkBegin(&wait));
	status = NdkWait(&wait, status, NULL);
	if (NT_SUCCESS(status) && KeWaitForSingleObject(&disconnected, Executive, KernelMode, FALSE,
							&time) != STATUS_SUCCESS)
		status = STATUS_IO_TIMEOUT; /* NDK-142: the peer is told */
	return status;
}

static NTSTATUS Tour(void)
{
	static const GUID unknown = {1, 2, 3, {4}};
	NDK_VERSION version = {1, 0};
	NDK_EXTENSION_INTERFACE interface;
	NDK_END ends[2];
	RtlZeroMemory(ends, sizeof(ends));
	if (!NdkFindEnds(ends))
		return STATUS_NOT_FOUND;
	active = ends[0];
	passive = ends[1];
	NTSTATUS status = NdkOpenEnd(&active, BUFFER, NDK_MR_FLAG_ALLOW_LOCAL_WRITE);
	if (NT_SUCCESS(status))
		status = NdkOpenEnd(&passive, BUFFER, NDK_MR_FLAG_ALLOW_LOCAL_WRITE);
	if (NT_SUCCESS(status))
		status = MakeSrq();
	if (NT_SUCCESS(status))
		status = MakeActive();
	if (NT_SUCCESS(status))
		status = NdkListen(&passive);
	if (NT_SUCCESS(status))
		status = Connect();
	if (NT_SUCCESS(status))
		status = Refuse();
	if (NT_SUCCESS(status))
		status = Window();
	if (NT_SUCCESS(status))
		status = Message();
	if (NT_SUCCESS(status) &&
	    active.Qp->Dispatch->NdkQueryExtension(&active.Qp->Header, &unknown, version,
						   &interface) != STATUS_NOT_SUPPORTED)
		status = STATUS_DATA_ERROR;
	return NT_SUCCESS(status) ? Disconnect() : status;
}

DRIVER_UNLOAD OnUnload;
VOID NTAPI OnUnload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

DRIVER_INITIALIZE DriverEntry;
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = OnUnload;
	KeInitializeEvent(&disconnected, NotificationEvent, FALSE);
	NTSTATUS status = NdkEnter();
	if (NT_SUCCESS(status)) {
		status = Tour();
		NDK_CLOSE(refused, NdkCloseConnector);
		NDK_CLOSE(active.Connector, NdkCloseConnector);
		NDK_CLOSE(passive.Connector, NdkCloseConnector);
		NDK_CLOSE(endpoint, NdkCloseSharedEndpoint);
		NDK_CLOSE(second_qp, NdkCloseQp);
		NDK_CLOSE(mw, NdkCloseMw);
		NDK_CLOSE(passive.Qp, NdkCloseQp);
		NDK_CLOSE(srq, NdkCloseSrq);
		NdkCloseEnd(&active);
		NdkCloseEnd(&passive);
		NdkLeave();
	}
	DbgPrint("ndk_tour: 0x%08x\n", status);
	if (!MAY_FAIL)
		CHECK(NT_SUCCESS(status), "NDK-34..74c the functions that few consumers use");
	return MAY_FAIL ? STATUS_SUCCESS : check_result();
}
