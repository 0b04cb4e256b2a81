/* SPDX-License-Identifier: MIT */
/*
 * consumer.h: a small NDK consumer, for the drivers of the guest: the way in, objects made and
 * closed while the caller waits, memory, two ends that are connected to each other.
 *
 * PASSIVE_LEVEL unless said otherwise. Whatever fails is printed and ends in a NULL or a status.
 */
#pragma once

#include "../drivers/check.h"
#include <netioapi.h>
#include <wskndk.h>

/* ---- Calls that may pend ---- */

struct call {
	KEVENT done;
	NTSTATUS status;
	PVOID object;
};

CHECK_HELPER VOID NTAPI call_requested(PVOID context, NTSTATUS status)
{
	struct call *call = context;
	call->status = status;
	KeSetEvent(&call->done, 0, FALSE);
}

CHECK_HELPER VOID NTAPI call_created(PVOID context, NTSTATUS status, NDK_OBJECT_HEADER *object)
{
	struct call *call = context;
	call->object = object;
	call_requested(call, status);
}

CHECK_HELPER VOID NTAPI call_closed(PVOID context)
{
	call_requested(context, STATUS_SUCCESS);
}

CHECK_HELPER void call_begin(struct call *call)
{
	KeInitializeEvent(&call->done, NotificationEvent, FALSE);
	call->object = NULL;
}

CHECK_HELPER NTSTATUS call_end(struct call *call, NTSTATUS status)
{
	if (status == STATUS_PENDING) {
		KeWaitForSingleObject(&call->done, Executive, KernelMode, FALSE, NULL);
		status = call->status;
	}
	return status;
}

/* status = WAIT(function, arguments without the tail) */
#define WAIT(function, ...)                                                                        \
	({                                                                                         \
		struct call call_;                                                                 \
		call_begin(&call_);                                                                \
		call_end(&call_, function(__VA_ARGS__, call_requested, &call_));                   \
	})

/* object = MAKE(type, function, arguments without the tail); NULL when it failed */
#define MAKE(type, function, ...)                                                                  \
	({                                                                                         \
		struct call call_;                                                                 \
		type *object_ = NULL;                                                              \
		call_begin(&call_);                                                                \
		NTSTATUS first_ = function(__VA_ARGS__, call_created, &call_, &object_);           \
		NTSTATUS status_ = call_end(&call_, first_);                                       \
		if (first_ == STATUS_PENDING)                                                      \
			object_ = call_.object;                                                    \
		if (!NT_SUCCESS(status_)) {                                                        \
			DbgPrint("FAIL " #function " is 0x%08x\n", status_);                       \
			object_ = NULL;                                                            \
		}                                                                                  \
		object_;                                                                           \
	})

#define CLOSE(function, object)                                                                    \
	do {                                                                                       \
		if (object) {                                                                      \
			struct call call_;                                                         \
			call_begin(&call_);                                                        \
			call_end(&call_, function(&(object)->Header, call_closed, &call_));        \
			(object) = NULL;                                                           \
		}                                                                                  \
	} while (0)

/* ---- The way in ---- */

struct consumer {
	WSK_REGISTRATION registration;
	WSK_PROVIDER_NPI npi;
	WSK_PROVIDER_NDK_DISPATCH ndk;
	NDK_ADAPTER *adapter;
	NDK_ADAPTER_INFO info;
	SOCKADDR_INET local; /* of the adapter; port 0 */
};

/* The first address of this family on an interface that an adapter can be opened on. */
CHECK_HELPER BOOLEAN consumer_find(struct consumer *c, ADDRESS_FAMILY family)
{
	NDK_VERSION version = {2, 1};
	PMIB_UNICASTIPADDRESS_TABLE table;
	if (!NT_SUCCESS(GetUnicastIpAddressTable(family, &table)))
		return FALSE;
	for (ULONG i = 0; i < table->NumEntries && !c->adapter; i++) {
		if (!NT_SUCCESS(c->ndk.WskOpenNdkAdapter(
			    c->npi.Client, version, table->Table[i].InterfaceIndex, &c->adapter)))
			continue;
		c->local = table->Table[i].Address;
	}
	FreeMibTable(table);
	return c->adapter != NULL;
}

CHECK_HELPER BOOLEAN consumer_open(struct consumer *c, ADDRESS_FAMILY family)
{
	static const WSK_CLIENT_DISPATCH dispatch = {MAKE_WSK_VERSION(1, 0), 0, NULL};
	WSK_CLIENT_NPI client = {NULL, &dispatch};
	SIZE_T returned;
	ULONG size = sizeof(c->info);
	RtlZeroMemory(c, sizeof(*c));
	if (!NT_SUCCESS(WskRegister(&client, &c->registration)))
		return FALSE;
	if (NT_SUCCESS(WskCaptureProviderNPI(&c->registration, WSK_INFINITE_WAIT, &c->npi)) &&
	    NT_SUCCESS(c->npi.Dispatch->WskControlClient(
		    c->npi.Client, WSKNDK_GET_WSK_PROVIDER_NDK_DISPATCH, 0, NULL, sizeof(c->ndk),
		    &c->ndk, &returned, NULL)) &&
	    consumer_find(c, family))
		return NT_SUCCESS(
			c->adapter->Dispatch->NdkQueryAdapterInfo(c->adapter, &c->info, &size));
	DbgPrint("FAIL no adapter\n");
	return FALSE;
}

CHECK_HELPER void consumer_close(struct consumer *c)
{
	if (c->adapter)
		c->ndk.WskCloseNdkAdapter(c->npi.Client, c->adapter);
	WskReleaseProviderNPI(&c->registration);
	WskDeregister(&c->registration);
}

/* ---- Registered memory ---- */

struct memory {
	UCHAR *data;
	SIZE_T size;
	PMDL mdl;
	NDK_MR *mr;
};

CHECK_HELPER BOOLEAN memory_make(struct memory *m, NDK_PD *pd, SIZE_T size, ULONG flags)
{
	RtlZeroMemory(m, sizeof(*m));
	m->size = size;
	m->data = ExAllocatePoolWithTag(NonPagedPoolNx, size, 'mdnK');
	m->mdl = m->data ? IoAllocateMdl(m->data, (ULONG)size, FALSE, FALSE, NULL) : NULL;
	if (!m->mdl)
		return FALSE;
	RtlZeroMemory(m->data, size);
	MmBuildMdlForNonPagedPool(m->mdl);
	m->mr = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, FALSE);
	NTSTATUS status =
		m->mr ? WAIT(m->mr->Dispatch->NdkRegisterMr, m->mr, m->mdl, size, flags) : -1;
	if (!NT_SUCCESS(status))
		DbgPrint("FAIL NdkRegisterMr is 0x%08x\n", status);
	return NT_SUCCESS(status);
}

CHECK_HELPER void memory_close(struct memory *m)
{
	if (m->mr) {
		WAIT(m->mr->Dispatch->NdkDeregisterMr, m->mr);
		CLOSE(m->mr->Dispatch->NdkCloseMr, m->mr);
	}
	if (m->mdl)
		IoFreeMdl(m->mdl);
	if (m->data)
		ExFreePoolWithTag(m->data, 'mdnK');
	m->mdl = NULL;
	m->data = NULL;
}

CHECK_HELPER NDK_SGE memory_sge(const struct memory *m, SIZE_T offset, ULONG length)
{
	NDK_SGE sge = {.Length = length,
		       .MemoryRegionToken = m->mr->Dispatch->NdkGetLocalTokenFromMr(m->mr)};
	sge.VirtualAddress = m->data + offset;
	return sge;
}

/* ---- Ends of connections ---- */

#define DEPTH 64

struct end {
	NDK_PD *pd;
	NDK_CQ *cq;
	NDK_QP *qp;
	NDK_CONNECTOR *connector;
	KEVENT gone; /* the peer has disconnected */
	ULONG early; /* end_wait: types that came before they were waited for */
	ULONG bytes; /* end_wait: of the last receive */
};

CHECK_HELPER VOID NTAPI end_notified(PVOID context, NTSTATUS status)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(status);
}

CHECK_HELPER VOID NTAPI end_disconnected(PVOID context)
{
	KeSetEvent(&((struct end *)context)->gone, 0, FALSE);
}

CHECK_HELPER BOOLEAN end_make(struct end *e, NDK_ADAPTER *adapter)
{
	RtlZeroMemory(e, sizeof(*e));
	KeInitializeEvent(&e->gone, NotificationEvent, FALSE);
	e->pd = MAKE(NDK_PD, adapter->Dispatch->NdkCreatePd, adapter);
	e->cq = MAKE(NDK_CQ, adapter->Dispatch->NdkCreateCq, adapter, 2 * DEPTH, end_notified, e,
		     NULL);
	if (!e->pd || !e->cq)
		return FALSE;
	e->qp = MAKE(NDK_QP, e->pd->Dispatch->NdkCreateQp, e->pd, e->cq, e->cq, e, DEPTH, DEPTH, 1,
		     1, 0);
	return e->qp != NULL;
}

CHECK_HELPER void end_close(struct end *e)
{
	if (e->connector) {
		WAIT(e->connector->Dispatch->NdkDisconnect, e->connector);
		CLOSE(e->connector->Dispatch->NdkCloseConnector, e->connector);
	}
	CLOSE(e->qp->Dispatch->NdkCloseQp, e->qp);
	CLOSE(e->cq->Dispatch->NdkCloseCq, e->cq);
	CLOSE(e->pd->Dispatch->NdkClosePd, e->pd);
}

/* Wait for one completion, polling; its status. 10 s. Any IRQL <= DISPATCH_LEVEL. */
CHECK_HELPER NTSTATUS end_poll(struct end *e, NDK_RESULT_EX *result)
{
	LARGE_INTEGER start = KeQueryPerformanceCounter(NULL), frequency;
	for (;;) {
		if (e->cq->Dispatch->NdkGetCqResultsEx(e->cq, result, 1))
			return result->Status;
		LARGE_INTEGER now = KeQueryPerformanceCounter(&frequency);
		if (now.QuadPart - start.QuadPart > 10 * frequency.QuadPart) {
			DbgPrint("FAIL no completion in 10 s\n");
			return STATUS_IO_TIMEOUT;
		}
		YieldProcessor();
	}
}

/* Wait for a completion of this type, one of each under way; whatever comes first is kept. */
CHECK_HELPER BOOLEAN end_wait(struct end *e, NDK_OPERATION_TYPE type)
{
	NDK_RESULT_EX result;
	while (!(e->early & type)) {
		NTSTATUS status = end_poll(e, &result);
		if (!NT_SUCCESS(status)) {
			DbgPrint("FAIL completion of type 0x%x is 0x%08x\n", result.Type, status);
			return FALSE;
		}
		e->early |= result.Type;
		if (result.Type == NdkOperationTypeReceive)
			e->bytes = result.BytesTransferred;
	}
	e->early &= ~(ULONG)type;
	return TRUE;
}

/* An active connection. */
CHECK_HELPER NTSTATUS end_connect(struct end *e, NDK_ADAPTER *adapter, const SOCKADDR_INET *local,
				  const SOCKADDR_INET *remote)
{
	ULONG size = local->si_family == AF_INET ? sizeof(SOCKADDR_IN) : sizeof(SOCKADDR_IN6);
	e->connector = MAKE(NDK_CONNECTOR, adapter->Dispatch->NdkCreateConnector, adapter);
	if (!e->connector)
		return STATUS_INSUFFICIENT_RESOURCES;
	NTSTATUS status =
		WAIT(e->connector->Dispatch->NdkConnect, e->connector, e->qp,
		     (const SOCKADDR *)local, size, (const SOCKADDR *)remote, size, 1, 1, NULL, 0);
	if (NT_SUCCESS(status))
		status = WAIT(e->connector->Dispatch->NdkCompleteConnect, e->connector,
			      end_disconnected, e);
	return status;
}

/* A listener that hands one connector to who waits for it. */
struct door {
	NDK_LISTENER *listener;
	SOCKADDR_INET address;
	KEVENT rung;
	NDK_CONNECTOR *connector;
};

CHECK_HELPER VOID NTAPI door_rung(PVOID context, NDK_CONNECTOR *connector)
{
	struct door *door = context;
	door->connector = connector;
	KeSetEvent(&door->rung, 0, FALSE);
}

/* `port` in host order; 0: any, see door->address. */
CHECK_HELPER BOOLEAN door_open(struct door *door, struct consumer *c, USHORT port)
{
	ULONG size = sizeof(door->address);
	RtlZeroMemory(door, sizeof(*door));
	KeInitializeEvent(&door->rung, SynchronizationEvent, FALSE);
	door->address = c->local;
	door->address.Ipv4.sin_port = RtlUshortByteSwap(port);
	door->listener = MAKE(NDK_LISTENER, c->adapter->Dispatch->NdkCreateListener, c->adapter,
			      door_rung, door);
	if (!door->listener)
		return FALSE;
	ULONG length = c->local.si_family == AF_INET ? sizeof(SOCKADDR_IN) : sizeof(SOCKADDR_IN6);
	NTSTATUS status = WAIT(door->listener->Dispatch->NdkListen, door->listener,
			       (const SOCKADDR *)&door->address, length);
	if (NT_SUCCESS(status))
		status = door->listener->Dispatch->NdkGetLocalAddress(
			door->listener, (SOCKADDR *)&door->address, &size);
	if (!NT_SUCCESS(status))
		DbgPrint("FAIL NdkListen is 0x%08x\n", status);
	return NT_SUCCESS(status);
}

/* Wait for a peer (30 s) and accept it. */
CHECK_HELPER NTSTATUS door_accept(struct door *door, struct end *e)
{
	LARGE_INTEGER limit = check_ms(30000);
	if (KeWaitForSingleObject(&door->rung, Executive, KernelMode, FALSE, &limit))
		return STATUS_IO_TIMEOUT;
	e->connector = door->connector;
	return WAIT(e->connector->Dispatch->NdkAccept, e->connector, e->qp, 1, 1, NULL, 0,
		    end_disconnected, e);
}

struct pair_peer {
	struct consumer *consumer;
	struct door *door;
	struct end *end;
	NTSTATUS status;
};

CHECK_HELPER VOID NTAPI pair_connect(PVOID context)
{
	struct pair_peer *peer = context;
	peer->status = end_connect(peer->end, peer->consumer->adapter, &peer->consumer->local,
				   &peer->door->address);
}

/* A listener's close waits for the connectors that came by it (NDK-83): after end_close. */
CHECK_HELPER void door_close(struct door *door)
{
	CLOSE(door->listener->Dispatch->NdkCloseListener, door->listener);
}

/* Two ends of one adapter, connected to each other: ends[0] was the active one. */
CHECK_HELPER BOOLEAN pair_make(struct end ends[2], struct door *door, struct consumer *c)
{
	struct pair_peer peer = {c, door, &ends[0], STATUS_UNSUCCESSFUL};
	if (!end_make(&ends[0], c->adapter) || !end_make(&ends[1], c->adapter) ||
	    !door_open(door, c, 0))
		return FALSE;
	PVOID thread = check_thread(pair_connect, &peer);
	NTSTATUS status = door_accept(door, &ends[1]);
	check_join(thread);
	if (NT_SUCCESS(status) && NT_SUCCESS(peer.status))
		return TRUE;
	DbgPrint("FAIL connect 0x%08x, accept 0x%08x\n", peer.status, status);
	return FALSE;
}

/* A driver that calls run(consumer) in DriverEntry, with one adapter open. */
#define CONSUMER_DRIVER(run)                                                                       \
	static VOID NTAPI unload(PDRIVER_OBJECT driver)                                            \
	{                                                                                          \
		UNREFERENCED_PARAMETER(driver);                                                    \
	}                                                                                          \
	NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)                    \
	{                                                                                          \
		static struct consumer consumer;                                                   \
		UNREFERENCED_PARAMETER(path);                                                      \
		driver->DriverUnload = unload;                                                     \
		BOOLEAN is_open = consumer_open(&consumer, AF_INET);                               \
		CHECK(is_open, "DEF-60 an adapter is open");                                       \
		if (is_open)                                                                       \
			run(&consumer);                                                            \
		consumer_close(&consumer);                                                         \
		return check_result();                                                             \
	}
