/* SPDX-License-Identifier: MIT */
/*
 * ndk_refused.c: a call that is refused says so at once and leaves no trace (NDK-54, 58, 73, 140,
 * 148); a port is free again when its connector is closed, whatever the peer does (NDK-144); a
 * window's token is for peers alone (NDK-14, NDK-28); a read has its own number of elements
 * (NDK-105).
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
	BOOLEAN joined = io_pair(io, &plain, 4096);
	CHECK(joined, "NDK-136 two ends");
	if (joined) {
		inline_only(io);
		port_again(io);
		event_stays(io);
	}
	io_unpair(io);
	joined = io_pair(io, &plain, 4096);
	CHECK(joined, "NDK-136 two ends again");
	if (joined)
		window_token(io);
	io_unpair(io);
	read_elements(io);
}

IO_DRIVER(test)
