/* SPDX-License-Identifier: MIT */
/*
 * ndk_common.h: what the NDK examples share: the way from Winsock Kernel to an adapter, two ends
 * with a queue pair and a registered buffer each, and a connection between them.
 *
 * Every NDK function may finish at once, or return STATUS_PENDING and call back later, even before
 * it has returned. NdkWait() is the usual way to deal with both: a notification event on the stack.
 */
#pragma once

#include <ntddk.h>
#include <wskndk.h>
#include <netioapi.h>

#define NDK_EXAMPLE_TAG   'xEdN'
#define NDK_EXAMPLE_DEPTH 32 /* requests under way */
#ifndef NDK_EXAMPLE_FAMILY
#define NDK_EXAMPLE_FAMILY AF_INET /* or AF_INET6 */
#endif
/* Of a SOCKADDR_INET of this family; the port is at the same place in both. */
#define NDK_ADDRESS_LENGTH                                                                         \
	(NDK_EXAMPLE_FAMILY == AF_INET ? sizeof(SOCKADDR_IN) : sizeof(SOCKADDR_IN6))

static WSK_CLIENT_DISPATCH NdkClientDispatch = {MAKE_WSK_VERSION(1, 0), 0, NULL};
static WSK_REGISTRATION NdkRegistration;
static WSK_PROVIDER_NPI NdkProvider;
static WSK_PROVIDER_NDK_DISPATCH NdkWsk;

/* ---- Calls that may pend ---- */

typedef struct _NDK_WAIT {
	KEVENT Event;
	NTSTATUS Status;
	PVOID Object;
} NDK_WAIT;

static VOID NTAPI NdkOnRequest(PVOID Context, NTSTATUS Status)
{
	NDK_WAIT *wait = Context;

	wait->Status = Status;
	KeSetEvent(&wait->Event, IO_NO_INCREMENT, FALSE);
}

static VOID NTAPI NdkOnCreate(PVOID Context, NTSTATUS Status, NDK_OBJECT_HEADER *Object)
{
	NDK_WAIT *wait = Context;

	wait->Object = Object;
	NdkOnRequest(Context, Status);
}

static VOID NTAPI NdkOnClose(PVOID Context)
{
	NdkOnRequest(Context, STATUS_SUCCESS);
}

static NDK_WAIT *NdkBegin(NDK_WAIT *Wait)
{
	KeInitializeEvent(&Wait->Event, NotificationEvent, FALSE);
	Wait->Object = NULL;
	return Wait;
}

/* What a call came to; `Object`, if there is one, was set by the call when it did not pend. */
static NTSTATUS NdkWait(NDK_WAIT *Wait, NTSTATUS Status, PVOID *Object)
{
	if (Status != STATUS_PENDING)
		return Status;
	KeWaitForSingleObject(&Wait->Event, Executive, KernelMode, FALSE, NULL);
	if (Object)
		*Object = Wait->Object;
	return Wait->Status;
}

static VOID NdkClose(NDK_OBJECT_HEADER *Object, NDK_FN_CLOSE_OBJECT *Close)
{
	NDK_WAIT wait;
	NTSTATUS status = Close(Object, NdkOnClose, NdkBegin(&wait));

	NdkWait(&wait, status, NULL);
}

/* Close what was created, and forget it. */
#define NDK_CLOSE(object, member)                                                                  \
	do {                                                                                       \
		if (object)                                                                        \
			NdkClose(&(object)->Header, (object)->Dispatch->member);                   \
		(object) = NULL;                                                                   \
	} while (0)

/* ---- The way in ---- */

static VOID NdkLeave(VOID)
{
	WskReleaseProviderNPI(&NdkRegistration);
	WskDeregister(&NdkRegistration);
}

static NTSTATUS NdkEnter(VOID)
{
	WSK_CLIENT_NPI client = {NULL, &NdkClientDispatch};
	NTSTATUS status = WskRegister(&client, &NdkRegistration);

	if (!NT_SUCCESS(status))
		return status;
	status = WskCaptureProviderNPI(&NdkRegistration, WSK_INFINITE_WAIT, &NdkProvider);
	if (!NT_SUCCESS(status)) {
		WskDeregister(&NdkRegistration);
		return status;
	}
	status = NdkProvider.Dispatch->WskControlClient(NdkProvider.Client,
							WSKNDK_GET_WSK_PROVIDER_NDK_DISPATCH, 0,
							NULL, sizeof(NdkWsk), &NdkWsk, NULL, NULL);
	if (!NT_SUCCESS(status))
		NdkLeave();
	return status;
}

static NDK_ADAPTER *NdkOpenAdapter(NET_IFINDEX Index)
{
	NDK_VERSION version = {1, 0}; /* at least; the adapter tells what it has */
	NDK_ADAPTER *adapter;

	if (!NT_SUCCESS(NdkWsk.WskOpenNdkAdapter(NdkProvider.Client, version, Index, &adapter)))
		return NULL;
	return adapter;
}

/* ---- An end ---- */

typedef struct _NDK_END {
	NET_IFINDEX Index;
	SOCKADDR_INET Address;
	NDK_ADAPTER *Adapter;
	NDK_PD *Pd;
	NDK_CQ *Cq; /* of both queues */
	NDK_QP *Qp;
	NDK_MR *Mr;
	NDK_LISTENER *Listener; /* the passive end */
	NDK_CONNECTOR *Connector;
	KEVENT Incoming;
	PUCHAR Buffer;
	ULONG Size;
	PMDL Mdl;
	UINT32 LocalToken, RemoteToken;
	BOOLEAN Registered;
} NDK_END;

/*
 * Two RNICs that have an address of the family and can be opened, or the same one twice when there
 * is only one. FALSE: there is none.
 */
static BOOLEAN NdkFindEnds(NDK_END Ends[2])
{
	PMIB_UNICASTIPADDRESS_TABLE table;
	ULONG i, found = 0;

	if (!NT_SUCCESS(GetUnicastIpAddressTable(NDK_EXAMPLE_FAMILY, &table)))
		return FALSE;
	for (i = 0; i < table->NumEntries && found < 2; i++) {
		const MIB_UNICASTIPADDRESS_ROW *row = &table->Table[i];
		NDK_ADAPTER *adapter;

		if (found && row->InterfaceIndex == Ends[0].Index)
			continue;
		adapter = NdkOpenAdapter(row->InterfaceIndex);
		if (!adapter)
			continue;
		NdkWsk.WskCloseNdkAdapter(NdkProvider.Client, adapter);
		Ends[found].Index = row->InterfaceIndex;
		Ends[found].Address = row->Address;
		found++;
	}
	FreeMibTable(table);
	if (found == 1) {
		Ends[1].Index = Ends[0].Index;
		Ends[1].Address = Ends[0].Address;
	}
	return found != 0;
}

static NTSTATUS NdkRegister(NDK_END *End, ULONG Flags)
{
	NDK_WAIT wait;
	NTSTATUS status = End->Mr->Dispatch->NdkRegisterMr(End->Mr, End->Mdl, End->Size, Flags,
							   NdkOnRequest, NdkBegin(&wait));

	status = NdkWait(&wait, status, NULL);
	if (!NT_SUCCESS(status))
		return status;
	End->LocalToken = End->Mr->Dispatch->NdkGetLocalTokenFromMr(End->Mr);
	End->RemoteToken = End->Mr->Dispatch->NdkGetRemoteTokenFromMr(End->Mr);
	End->Registered = TRUE;
	return STATUS_SUCCESS;
}

/* When it has succeeded, no peer reads or writes the buffer any more. */
static NTSTATUS NdkDeregister(NDK_END *End)
{
	NDK_WAIT wait;
	NTSTATUS status =
		End->Mr->Dispatch->NdkDeregisterMr(End->Mr, NdkOnRequest, NdkBegin(&wait));

	status = NdkWait(&wait, status, NULL);
	if (NT_SUCCESS(status))
		End->Registered = FALSE;
	return status;
}

static NTSTATUS NdkAllocate(NDK_END *End, ULONG Size)
{
	End->Size = Size;
	End->Buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, Size, NDK_EXAMPLE_TAG);
	if (!End->Buffer)
		return STATUS_INSUFFICIENT_RESOURCES;
	End->Mdl = IoAllocateMdl(End->Buffer, Size, FALSE, FALSE, NULL);
	if (!End->Mdl)
		return STATUS_INSUFFICIENT_RESOURCES;
	MmBuildMdlForNonPagedPool(End->Mdl);
	return STATUS_SUCCESS;
}

static NTSTATUS NdkCreateQueues(NDK_END *End)
{
	const NDK_PD_DISPATCH *pd;
	NDK_WAIT wait;
	NTSTATUS status =
		End->Adapter->Dispatch->NdkCreateCq(End->Adapter, 4 * NDK_EXAMPLE_DEPTH, NULL, NULL,
						    NULL, NdkOnCreate, NdkBegin(&wait), &End->Cq);

	status = NdkWait(&wait, status, (PVOID *)&End->Cq);
	if (!NT_SUCCESS(status))
		return status;
	pd = End->Pd->Dispatch;
	status =
		pd->NdkCreateQp(End->Pd, End->Cq, End->Cq, End, NDK_EXAMPLE_DEPTH,
				NDK_EXAMPLE_DEPTH, 1, 1, 0, NdkOnCreate, NdkBegin(&wait), &End->Qp);
	return NdkWait(&wait, status, (PVOID *)&End->Qp);
}

/* Open the adapter, and make all but the connection. NdkCloseEnd takes back what there is. */
static NTSTATUS NdkOpenEnd(NDK_END *End, ULONG Size, ULONG Flags)
{
	NDK_WAIT wait;
	NTSTATUS status = NdkAllocate(End, Size);

	if (!NT_SUCCESS(status))
		return status;
	End->Adapter = NdkOpenAdapter(End->Index);
	if (!End->Adapter)
		return STATUS_NOT_FOUND;
	status = End->Adapter->Dispatch->NdkCreatePd(End->Adapter, NdkOnCreate, NdkBegin(&wait),
						     &End->Pd);
	status = NdkWait(&wait, status, (PVOID *)&End->Pd);
	if (!NT_SUCCESS(status))
		return status;
	status = End->Pd->Dispatch->NdkCreateMr(End->Pd, FALSE, NdkOnCreate, NdkBegin(&wait),
						&End->Mr);
	status = NdkWait(&wait, status, (PVOID *)&End->Mr);
	if (!NT_SUCCESS(status))
		return status;
	status = NdkRegister(End, Flags);
	if (!NT_SUCCESS(status))
		return status;
	return NdkCreateQueues(End);
}

static VOID NdkCloseEnd(NDK_END *End)
{
	NDK_CLOSE(End->Connector, NdkCloseConnector);
	NDK_CLOSE(End->Listener, NdkCloseListener);
	NDK_CLOSE(End->Qp, NdkCloseQp);
	NDK_CLOSE(End->Cq, NdkCloseCq);
	if (End->Registered)
		NdkDeregister(End);
	NDK_CLOSE(End->Mr, NdkCloseMr);
	NDK_CLOSE(End->Pd, NdkClosePd);
	if (End->Adapter)
		NdkWsk.WskCloseNdkAdapter(NdkProvider.Client, End->Adapter);
	End->Adapter = NULL;
	if (End->Mdl)
		IoFreeMdl(End->Mdl);
	if (End->Buffer)
		ExFreePoolWithTag(End->Buffer, NDK_EXAMPLE_TAG);
	End->Mdl = NULL;
	End->Buffer = NULL;
}

/* ---- A connection ---- */

static VOID NTAPI NdkOnConnect(PVOID Context, NDK_CONNECTOR *Connector)
{
	NDK_END *end = Context;

	end->Connector = Connector; /* ours from now on */
	KeSetEvent(&end->Incoming, IO_NO_INCREMENT, FALSE);
}

static NTSTATUS NdkListen(NDK_END *End)
{
	SOCKADDR_INET address = End->Address;
	ULONG length = NDK_ADDRESS_LENGTH;
	NDK_WAIT wait;
	NTSTATUS status;

	KeInitializeEvent(&End->Incoming, NotificationEvent, FALSE);
	status = End->Adapter->Dispatch->NdkCreateListener(
		End->Adapter, NdkOnConnect, End, NdkOnCreate, NdkBegin(&wait), &End->Listener);
	status = NdkWait(&wait, status, (PVOID *)&End->Listener);
	if (!NT_SUCCESS(status))
		return status;
	address.Ipv4.sin_port = 0; /* any */
	status = End->Listener->Dispatch->NdkListen(End->Listener, (PSOCKADDR)&address,
						    NDK_ADDRESS_LENGTH, NdkOnRequest,
						    NdkBegin(&wait));
	status = NdkWait(&wait, status, NULL);
	if (!NT_SUCCESS(status))
		return status;
	return End->Listener->Dispatch->NdkGetLocalAddress(End->Listener, (PSOCKADDR)&End->Address,
							   &length);
}

/* Until the request is there, or the active side's connect has failed. */
static NTSTATUS NdkAwaitRequest(NDK_END *Passive, NDK_WAIT *Connect, NTSTATUS Connecting)
{
	PVOID events[] = {&Passive->Incoming, &Connect->Event};
	LARGE_INTEGER time;
	NTSTATUS status;

	time.QuadPart = -10 * 10000000ll;
	status = KeWaitForMultipleObjects(Connecting == STATUS_PENDING ? 2 : 1, events, WaitAny,
					  Executive, KernelMode, FALSE, &time, NULL);
	if (status == STATUS_WAIT_0)
		return STATUS_SUCCESS;
	if (status == STATUS_WAIT_1 && !NT_SUCCESS(Connect->Status))
		return Connect->Status;
	return STATUS_IO_TIMEOUT;
}

/* The end of the active side's connect, which needs the other's accept: if that fails, the close of
 * its connector refuses the connection. */
static NTSTATUS NdkAwaitConnect(NDK_END *Passive, NDK_WAIT *Connect, NTSTATUS Connecting,
				NDK_WAIT *Accept, NTSTATUS *Accepting)
{
	PVOID events[] = {&Connect->Event, &Accept->Event};

	if (Connecting == STATUS_PENDING && *Accepting == STATUS_PENDING &&
	    KeWaitForMultipleObjects(2, events, WaitAny, Executive, KernelMode, FALSE, NULL,
				     NULL) == STATUS_WAIT_1)
		*Accepting = Accept->Status;
	if (*Accepting != STATUS_PENDING && !NT_SUCCESS(*Accepting))
		NDK_CLOSE(Passive->Connector, NdkCloseConnector);
	return NdkWait(Connect, Connecting, NULL);
}

/*
 * The passive end's half and the rest of the active one's. The active side's NdkConnect ends when
 * the passive side accepts, and the accept when the active side completes: so both are begun before
 * either is waited for.
 */
static NTSTATUS NdkFinishConnect(NDK_END *Active, NDK_END *Passive, NDK_WAIT *Connect,
				 NTSTATUS Connecting,
				 NDK_FN_DISCONNECT_EVENT_CALLBACK *OnDisconnect, PVOID Context)
{
	NDK_WAIT accept, complete;
	NTSTATUS accepting, status = NdkAwaitRequest(Passive, Connect, Connecting);

	if (!NT_SUCCESS(status)) {
		NDK_CLOSE(Active->Connector, NdkCloseConnector); /* ends the connect */
		NdkWait(Connect, Connecting, NULL);
		return status;
	}
	accepting = Passive->Connector->Dispatch->NdkAccept(Passive->Connector, Passive->Qp, 1, 1,
							    NULL, 0, OnDisconnect, Context,
							    NdkOnRequest, NdkBegin(&accept));
	status = NdkAwaitConnect(Passive, Connect, Connecting, &accept, &accepting);
	if (NT_SUCCESS(status)) {
		status = Active->Connector->Dispatch->NdkCompleteConnect(
			Active->Connector, NULL, NULL, NdkOnRequest, NdkBegin(&complete));
		status = NdkWait(&complete, status, NULL);
	}
	if (!NT_SUCCESS(status))
		NDK_CLOSE(Active->Connector, NdkCloseConnector); /* ends the other's accept */
	accepting = NdkWait(&accept, accepting, NULL);
	return NT_SUCCESS(status) ? accepting : status;
}

/* The passive end has listened. */
static NTSTATUS NdkConnectEnds(NDK_END *Active, NDK_END *Passive)
{
	SOCKADDR_INET source = Active->Address;
	NDK_WAIT wait;
	NTSTATUS status = Active->Adapter->Dispatch->NdkCreateConnector(
		Active->Adapter, NdkOnCreate, NdkBegin(&wait), &Active->Connector);

	status = NdkWait(&wait, status, (PVOID *)&Active->Connector);
	if (!NT_SUCCESS(status))
		return status;
	source.Ipv4.sin_port = 0;
	status = Active->Connector->Dispatch->NdkConnect(
		Active->Connector, Active->Qp, (PSOCKADDR)&source, NDK_ADDRESS_LENGTH,
		(PSOCKADDR)&Passive->Address, NDK_ADDRESS_LENGTH, 1, 1, NULL, 0, NdkOnRequest,
		NdkBegin(&wait));
	if (status != STATUS_PENDING && !NT_SUCCESS(status))
		return status;
	return NdkFinishConnect(Active, Passive, &wait, status, NULL, NULL);
}

/* Wait for one completion, polling. */
static NTSTATUS NdkPoll(NDK_END *End)
{
	NDK_RESULT result;

	while (!End->Cq->Dispatch->NdkGetCqResults(End->Cq, &result, 1))
		YieldProcessor();
	return result.Status;
}
