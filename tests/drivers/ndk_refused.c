/* SPDX-License-Identifier: MIT */
/*
 * ndk_refused.c: a call that is refused says so at once and leaves no trace (NDK-54, 58, 73, 140,
 * 148); a port is free again when its connector is closed, whatever the peer does (NDK-144); a
 * window's token is for peers alone (NDK-14, NDK-28); a read has its own number of elements
 * (NDK-105); remote access that was not announced (NDK-65); hosts and networks that there are not
 * (NDK-71); with one processor, the backlog (NDK-145).
 */
#include "ndk_io.h"

/* ---- At once, and not by a completion ---- */

static VOID NTAPI must_not(PVOID context, NTSTATUS status)
{
	UNREFERENCED_PARAMETER(status);
	InterlockedIncrement(context);
}

static void inline_only(struct io *io)
{
	LONG called = 0;
	UCHAR data[300] = {0};
	NDK_CQ *cq = io->x.e.cq;
	NDK_PD *pd = io->x.e.pd;
	NDK_CONNECTOR *c = io->x.e.connector;
	const SOCKADDR *address = (const SOCKADDR *)&io->door.address;
	ULONG size = io_address_size(&io->door.address);
	NDK_SRQ *srq = MAKE(NDK_SRQ, pd->Dispatch->NdkCreateSrq, pd, 8, 1, 0, NULL, NULL, NULL);
	CHECK(cq->Dispatch->NdkResizeCq(cq, 0, must_not, &called) == STATUS_INVALID_PARAMETER &&
		      cq->Dispatch->NdkResizeCq(cq, io->a.info.MaxCqDepth + 1, must_not, &called) ==
			      STATUS_INVALID_PARAMETER,
	      "NDK-54 no depth, and one above MaxCqDepth");
	CHECK(srq->Dispatch->NdkModifySrq(srq, io->a.info.MaxSrqDepth + 1, 0, must_not, &called) ==
		      STATUS_INVALID_PARAMETER,
	      "NDK-58 a depth above MaxSrqDepth");
	NDK_SGE none = memory_sge(&io->mx, 0, 0);
	for (ULONG i = 0; i < 3; i++)
		srq->Dispatch->NdkSrqReceive(srq, NULL, &none, 1);
	CHECK(srq->Dispatch->NdkModifySrq(srq, 2, 0, must_not, &called) == STATUS_INVALID_PARAMETER,
	      "NDK-58 a depth below what is queued");
	CHECK(c->Dispatch->NdkConnect(c, io->x.e.qp, address, size, address, size, 1, 1, data,
				      sizeof(data), must_not, &called) == STATUS_INVALID_PARAMETER,
	      "NDK-148 private data that are too long");
	CHECK(c->Dispatch->NdkConnect(c, io->x.e.qp, address, size, address, size, 1, 1, NULL, 0,
				      must_not, &called) == STATUS_INVALID_DEVICE_STATE,
	      "NDK-140 NdkConnect of a connector that is connected");
	check_sleep(20);
	CHECK(!called, "NDK-76 none of them completes");
	CLOSE(srq->Dispatch->NdkCloseSrq, srq);
}

/* ---- Remote rights that were not announced ---- */

static void unannounced(struct io *io)
{
	NDK_QP *qp = io->x.e.qp;
	NDK_PD *pd = io->x.e.pd;
	NDK_LOGICAL_ADDRESS page = MmGetPhysicalAddress(io->mx.data);
	NDK_MR *mr = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, TRUE);
	WAIT(mr->Dispatch->NdkInitializeFastRegisterMr, mr, 1, FALSE);
	CHECK(qp->Dispatch->NdkFastRegister(qp, NULL, mr, 1, &page, 0, PAGE_SIZE, NULL,
					    NDK_OP_FLAG_ALLOW_REMOTE_READ) ==
			      STATUS_ACCESS_VIOLATION &&
		      qp->Dispatch->NdkFastRegister(qp, NULL, mr, 1, &page, 0, PAGE_SIZE, NULL,
						    NDK_OP_FLAG_ALLOW_REMOTE_WRITE) ==
			      STATUS_ACCESS_VIOLATION &&
		      io_none(io->x.e.cq),
	      "NDK-65 remote access that NdkInitializeFastRegisterMr did not announce");
	CHECK(qp->Dispatch->NdkFastRegister(qp, NULL, mr, 1, &page, 0, PAGE_SIZE, NULL,
					    NDK_OP_FLAG_ALLOW_LOCAL_WRITE) == STATUS_SUCCESS &&
		      io_status(io->x.e.cq) == STATUS_SUCCESS,
	      "NDK-65 local access");
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
}

/* ---- Where nobody is ---- */

static VOID NTAPI close_at_once(PVOID context, NDK_CONNECTOR *connector)
{
	UNREFERENCED_PARAMETER(context);
	NTSTATUS status =
		connector->Dispatch->NdkCloseConnector(&connector->Header, call_closed, context);
	if (status != STATUS_PENDING)
		call_closed(context);
}

static NTSTATUS connect_to(struct io *io, struct io_end *end, const char *host, USHORT port)
{
	SOCKADDR_INET to = io_with_port(io->a.local, port);
	NDK_ADAPTER *adapter = io->a.adapter;
	ULONG size = io_address_size(&to);
	RtlCopyMemory(&to.Ipv4.sin_addr, host, 4);
	NDK_CONNECTOR *c = MAKE(NDK_CONNECTOR, adapter->Dispatch->NdkCreateConnector, adapter);
	NTSTATUS status =
		WAIT(c->Dispatch->NdkConnect, c, end->e.qp, (const SOCKADDR *)&io->a.local, size,
		     (const SOCKADDR *)&to, size, 1, 1, NULL, 0);
	CLOSE(c->Dispatch->NdkCloseConnector, c);
	return status;
}

/* fd00::LAST, of which the RNICs have 1 and 2. */
static NTSTATUS listen_at(NDK_ADAPTER *adapter, UCHAR last)
{
	SOCKADDR_IN6 at = {.sin6_family = AF_INET6};
	struct call unused;
	at.sin6_addr.u.Byte[0] = 0xfd;
	at.sin6_addr.u.Byte[15] = last;
	call_begin(&unused);
	NDK_LISTENER *listener = MAKE(NDK_LISTENER, adapter->Dispatch->NdkCreateListener, adapter,
				      close_at_once, &unused);
	NTSTATUS status =
		WAIT(listener->Dispatch->NdkListen, listener, (const SOCKADDR *)&at, sizeof(at));
	CLOSE(listener->Dispatch->NdkCloseListener, listener);
	return status;
}

static void nobody(struct io *io)
{
	struct io_end end;
	if (!io_is_loopback(io) || !io_end_make(&end, io->a.adapter, &plain))
		return;
	CHECK(connect_to(io, &end, "\xc0\x00\x02\x4d", 5000) == STATUS_HOST_UNREACHABLE,
	      "NDK-71 a host of the own network that there is not");
	CHECK(connect_to(io, &end, "\xc6\x33\x64\x01", 5000) == STATUS_NETWORK_UNREACHABLE,
	      "NDK-71 a network that there is not");
	CHECK(connect_to(io, &end, "\xc0\x00\x02\x02", 0) == STATUS_INVALID_ADDRESS,
	      "NDK-71 the port 0");
	CHECK(listen_at(io->a.adapter, 1) == STATUS_SUCCESS &&
		      listen_at(io->a.adapter, 2) == STATUS_INVALID_ADDRESS &&
		      listen_at(io->b.adapter, 2) == STATUS_SUCCESS,
	      "NDK-135 an IPv6 address of one's own, and the other RNIC's");
	io_end_close(&end);
}

/* ---- More requests than are kept for a listener (one processor, so that no event is called) */

#define BACKLOG 128

static NTSTATUS waiting[BACKLOG + 1];
static LONG waiting_done;

static VOID NTAPI waiting_over(PVOID context, NTSTATUS status)
{
	*(NTSTATUS *)context = status;
	InterlockedIncrement(&waiting_done);
}

static void backlog(struct io *io)
{
	static struct io_end ends[BACKLOG + 1];
	NDK_ADAPTER *a = io->a.adapter, *b = io->b.adapter;
	SOCKADDR_INET address = io->b.local;
	ULONG length = sizeof(address), size = io_address_size(&address), last = BACKLOG;
	struct call unused;
	KIRQL irql;
	call_begin(&unused);
	if (!io_is_loopback(io) || KeQueryActiveProcessorCount(NULL) != 1)
		return;
	NDK_LISTENER *listener =
		MAKE(NDK_LISTENER, b->Dispatch->NdkCreateListener, b, close_at_once, &unused);
	WAIT(listener->Dispatch->NdkListen, listener, (const SOCKADDR *)&address, size);
	listener->Dispatch->NdkGetLocalAddress(listener, (SOCKADDR *)&address, &length);
	for (ULONG i = 0; i <= BACKLOG; i++) {
		io_end_make(&ends[i], a, &plain);
		ends[i].e.connector = MAKE(NDK_CONNECTOR, a->Dispatch->NdkCreateConnector, a);
	}
	KeRaiseIrql(DISPATCH_LEVEL, &irql);
	for (ULONG i = 0; i <= BACKLOG; i++) {
		NDK_CONNECTOR *c = ends[i].e.connector;
		waiting[i] = c->Dispatch->NdkConnect(
			c, ends[i].e.qp, (const SOCKADDR *)&io->a.local, size,
			(const SOCKADDR *)&address, size, 1, 1, NULL, 0, waiting_over, &waiting[i]);
		if (waiting[i] != STATUS_PENDING && i < last)
			last = i;
	}
	KeLowerIrql(irql);
	CHECK(last == BACKLOG && waiting[last] == STATUS_CONNECTION_REFUSED,
	      "NDK-145 128 requests wait for their event, the next one is refused");
	CHECK(SOON(waiting_done == BACKLOG), "NDK-84 all of them are answered");
	for (ULONG i = 0; i <= BACKLOG; i++)
		io_end_close(&ends[i]);
	CLOSE(listener->Dispatch->NdkCloseListener, listener);
}

/* ---- A listener whose close waits for a connection ---- */

static void closing_listener(struct io *io, struct call *closing)
{
	struct io_end end;
	NDK_LISTENER *listener = io->door.listener;
	NDK_ADAPTER *a = io->a.adapter;
	const SOCKADDR *to = (const SOCKADDR *)&io->door.address;
	ULONG size = io_address_size(&io->door.address);
	call_begin(closing);
	CHECK(listener->Dispatch->NdkCloseListener(&listener->Header, call_closed, closing) ==
			      STATUS_PENDING &&
		      io_end_make(&end, a, &plain),
	      "NDK-83 a listener with a connection");
	io->door.listener = NULL;
	NDK_CONNECTOR *c = MAKE(NDK_CONNECTOR, a->Dispatch->NdkCreateConnector, a);
	CHECK(WAIT(c->Dispatch->NdkConnect, c, end.e.qp, (const SOCKADDR *)&io->a.local, size, to,
		   size, 1, 1, NULL, 0) == STATUS_CONNECTION_REFUSED &&
		      !KeReadStateEvent(&closing->done),
	      "NDK-84 refuses all others at once");
	CLOSE(c->Dispatch->NdkCloseConnector, c);
	io_end_close(&end);
}

/* ---- Close completions of the wrong kind: with a status, which must be one ---- */

static VOID NTAPI closed_with_status(PVOID context, NTSTATUS status)
{
	call_requested(context, status);
}

static void close_status(struct io *io)
{
	ULONG wrong = 0;
	for (ULONG i = 0; i < 8; i++) {
		struct call call;
		NDK_PD *pd = MAKE(NDK_PD, io->a.adapter->Dispatch->NdkCreatePd, io->a.adapter);
		call_begin(&call);
		wrong += call_end(&call,
				  pd->Dispatch->NdkClosePd(
					  &pd->Header,
					  (NDK_FN_CLOSE_COMPLETION *)(PVOID)closed_with_status,
					  &call)) != STATUS_SUCCESS;
	}
	CHECK(!wrong, "DEF-85 a close completion that takes a status gets STATUS_SUCCESS");
}

/* ---- The disconnect event stays ---- */

static void event_stays(struct io *io)
{
	NDK_CONNECTOR *c = io->x.e.connector;
	CHECK(WAIT(c->Dispatch->NdkCompleteConnect, c, NULL, NULL) == STATUS_CONNECTION_INVALID,
	      "NDK-73 NdkCompleteConnect a second time");
	c = io->y.e.connector;
	CHECK(WAIT(c->Dispatch->NdkDisconnect, c) == STATUS_SUCCESS && SOON(io->x.gone == 1),
	      "NDK-142 the event of the first time is called");
}

/* ---- A window's token in an SGE ---- */

static void window_token(struct io *io)
{
	NDK_QP *qp = io->x.e.qp;
	NDK_PD *pd = io->x.e.pd;
	NDK_MW *mw = MAKE(NDK_MW, pd->Dispatch->NdkCreateMw, pd);
	NTSTATUS status = qp->Dispatch->NdkBind(qp, NULL, io->mx.mr, mw, io->mx.data, 4096,
						NDK_OP_FLAG_ALLOW_REMOTE_READ |
							NDK_OP_FLAG_ALLOW_REMOTE_WRITE);
	CHECK(status == STATUS_SUCCESS && io_status(io->x.e.cq) == STATUS_SUCCESS,
	      "NDK-64 a window");
	NDK_SGE sge = memory_sge(&io->mx, 0, 64);
	sge.MemoryRegionToken = mw->Dispatch->NdkGetRemoteTokenFromMw(mw);
	status = qp->Dispatch->NdkWrite(qp, NULL, &sge, 1, (UINT64)io->my.data, io_token(&io->my),
					0);
	CHECK(status == STATUS_SUCCESS && io_status(io->x.e.cq) == STATUS_ACCESS_VIOLATION,
	      "NDK-14 the token of a window is no local one");
	CLOSE(mw->Dispatch->NdkCloseMw, mw);
}

/* ---- Elements of reads ---- */

static void read_elements(struct io *io)
{
	static NDK_SGE sge[256];
	const NDK_ADAPTER_INFO *most = &io->a.info;
	struct shape shape = plain;
	shape.initiator_sges = min(most->MaxInitiatorRequestSge, ARRAYSIZE(sge) - 1);
	BOOLEAN joined = io_pair(io, &shape, 4096);
	CHECK(joined, "NDK-136 two ends with as many elements as there may be");
	if (joined) {
		NDK_QP *qp = io->x.e.qp;
		UINT64 address = (UINT64)io->my.data;
		ULONG reads = min(most->MaxReadRequestSge, shape.initiator_sges);
		for (ULONG i = 0; i < ARRAYSIZE(sge); i++)
			sge[i] = memory_sge(&io->mx, i, 1);
		CHECK(qp->Dispatch->NdkRead(qp, NULL, sge, reads + 1, address, io_token(&io->my),
					    0) == STATUS_INVALID_PARAMETER,
		      "NDK-105 a read of more elements than MaxReadRequestSge");
		CHECK(qp->Dispatch->NdkRead(qp, NULL, sge, reads, address, io_token(&io->my), 0) ==
				      STATUS_SUCCESS &&
			      io_status(io->x.e.cq) == STATUS_SUCCESS &&
			      qp->Dispatch->NdkWrite(qp, NULL, sge, shape.initiator_sges, address,
						     io_token(&io->my), 0) == STATUS_SUCCESS &&
			      io_status(io->x.e.cq) == STATUS_SUCCESS,
		      "NDK-105 as many, and a write of as many as MaxInitiatorRequestSge");
	}
	io_unpair(io);
}

/* ---- Ports ---- */

struct attempt {
	struct io *io;
	struct io_end *end;
	struct door *door;
	NTSTATUS status;
};

static VOID NTAPI attempt(PVOID context)
{
	struct attempt *a = context;
	SOCKADDR_INET from = io_with_port(a->io->a.local, 50000);
	ULONG size = io_address_size(&from);
	NDK_ADAPTER *adapter = a->io->a.adapter;
	NDK_CONNECTOR *c = MAKE(NDK_CONNECTOR, adapter->Dispatch->NdkCreateConnector, adapter);
	a->end->e.connector = c;
	a->status =
		WAIT(c->Dispatch->NdkConnect, c, a->end->e.qp, (const SOCKADDR *)&from, size,
		     (const SOCKADDR *)&a->door->address, io_address_size(&from), 1, 1, NULL, 0);
}

/* A connect from port 50000 that the peer rejects; the peer's connector stays open. */
static NDK_CONNECTOR *rejected(struct io *io, struct door *door, NTSTATUS *status)
{
	struct io_end end;
	struct attempt a = {io, &end, door, STATUS_SUCCESS};
	LARGE_INTEGER limit = check_ms(2000);
	NDK_CONNECTOR *passive = NULL;
	if (io_end_make(&end, io->a.adapter, &plain)) {
		PVOID thread = check_thread(attempt, &a);
		if (!KeWaitForSingleObject(&door->rung, Executive, KernelMode, FALSE, &limit)) {
			passive = door->connector;
			passive->Dispatch->NdkReject(passive, NULL, 0);
		}
		check_join(thread);
	}
	io_end_close(&end);
	*status = a.status;
	return passive;
}

static void port_again(struct io *io)
{
	static struct door door;
	NTSTATUS first, second;
	if (!door_open(&door, &io->b, 0))
		return;
	NDK_CONNECTOR *one = rejected(io, &door, &first), *two = rejected(io, &door, &second);
	CHECK(first == STATUS_CONNECTION_REFUSED, "NDK-145 a connect that is rejected");
	CHECK(second == STATUS_CONNECTION_REFUSED,
	      "NDK-144 from the same port again, while the peer has not closed its connector");
	CLOSE(one->Dispatch->NdkCloseConnector, one);
	CLOSE(two->Dispatch->NdkCloseConnector, two);
	CLOSE(door.listener->Dispatch->NdkCloseListener, door.listener);
}

static void test(struct io *io)
{
	struct call closing;
	BOOLEAN joined = io_pair(io, &plain, 4096);
	CHECK(joined, "NDK-136 two ends");
	if (joined) {
		inline_only(io);
		unannounced(io);
		close_status(io);
		port_again(io);
		nobody(io);
		backlog(io);
		event_stays(io);
		closing_listener(io, &closing);
	}
	io_unpair(io);
	if (joined)
		call_end(&closing, STATUS_PENDING);
	joined = io_pair(io, &plain, 4096);
	CHECK(joined, "NDK-136 two ends again");
	if (joined)
		window_token(io);
	io_unpair(io);
	read_elements(io);
}

IO_DRIVER(test)
