/* SPDX-License-Identifier: MIT */
/*
 * ends.c: connections that end at a bad moment, for tests/verbs/run.sh. CASE: which one.
 */
#include "../drivers/ndk_io.h"

/* Nothing that is used again: QPs are closed before the connectors that used them. */
static void close_backwards(struct io *io)
{
	CLOSE(io->x.e.qp->Dispatch->NdkCloseQp, io->x.e.qp);
	CLOSE(io->y.e.qp->Dispatch->NdkCloseQp, io->y.e.qp);
	CLOSE(io->x.e.connector->Dispatch->NdkCloseConnector, io->x.e.connector);
	CLOSE(io->y.e.connector->Dispatch->NdkCloseConnector, io->y.e.connector);
}

/* The device says DISCONNECTED of a connection before either end knows that there is one
 * (FAKE_HASTE): neither comes about, and each QP goes before its connector. */
static void hasty(struct io *io)
{
	struct io_connect connect = {&io->a, &io->x, &io->door, STATUS_UNSUCCESSFUL};
	LARGE_INTEGER limit = check_ms(30000);
	NTSTATUS status = STATUS_UNSUCCESSFUL;
	CHECK(io_end_make(&io->x, io->a.adapter, &plain) &&
		      io_end_make(&io->y, io->b.adapter, &plain) && door_open(&io->door, &io->b, 0),
	      "NDK-136 two ends");
	PVOID thread = check_thread(io_connect, &connect);
	if (!KeWaitForSingleObject(&io->door.rung, Executive, KernelMode, FALSE, &limit)) {
		io->y.e.connector = io->door.connector;
		status = WAIT(io->y.e.connector->Dispatch->NdkAccept, io->y.e.connector, io->y.e.qp,
			      4, 4, NULL, 0, io_gone, &io->y);
	}
	check_join(thread);
	CHECK(status == STATUS_CONNECTION_ABORTED && connect.status == STATUS_CONNECTION_ABORTED,
	      "NDK-73 NDK-74 the peer was gone before the handshake was over");
	close_backwards(io);
	CHECK(!io->x.gone && !io->y.gone, "NDK-142 no disconnect event of what never was");
	io_unpair(io);
}

static NTSTATUS disconnected(NDK_CONNECTOR *connector, struct call *call)
{
	call_begin(call);
	return connector->Dispatch->NdkDisconnect(connector, call_requested, call);
}

/* A close while NdkDisconnect pends. */
static void impatient(struct io *io)
{
	struct call call;
	LARGE_INTEGER limit = check_ms(10000);
	for (ULONG i = 0; i < 10; i++) {
		BOOLEAN pair = io_pair(io, &plain, 64);
		CHECK(pair, "NDK-136 two ends are connected");
		if (!pair)
			break;
		NDK_CONNECTOR *connector = io->x.e.connector;
		NTSTATUS status = disconnected(connector, &call);
		CLOSE(connector->Dispatch->NdkCloseConnector, io->x.e.connector);
		CHECK(status == STATUS_SUCCESS ||
			      (status == STATUS_PENDING &&
			       !KeWaitForSingleObject(&call.done, Executive, KernelMode, FALSE,
						      &limit)),
		      "NDK-81 NDK-76 the disconnect ends before the close does");
		io_unpair(io);
	}
}

/* ---- A listener that closes while more connect requests wait for their event ---- */

#define CLIENTS 8

static struct call listener_closed, connector_closed[CLIENTS];
static volatile LONG rings;

static VOID NTAPI close_listener(PVOID context, NDK_CONNECTOR *connector)
{
	struct door *door = context;
	LONG ring = InterlockedIncrement(&rings);
	struct call *closed = &connector_closed[(ring - 1) % CLIENTS];
	if (ring == 1)
		door->listener->Dispatch->NdkCloseListener(&door->listener->Header, call_closed,
							   &listener_closed);
	call_begin(closed);
	if (connector->Dispatch->NdkCloseConnector(&connector->Header, call_closed, closed) !=
	    STATUS_PENDING)
		KeSetEvent(&closed->done, 0, FALSE);
}

static NTSTATUS begin_connect(struct io *io, struct io_end *end, struct call *call)
{
	ULONG size = io_address_size(&io->door.address);
	call_begin(call);
	return end->e.connector->Dispatch->NdkConnect(
		end->e.connector, end->e.qp, (SOCKADDR *)&io->a.local, size,
		(SOCKADDR *)&io->door.address, size, 1, 1, NULL, 0, call_requested, call);
}

/* With one processor, which hears of all requests at once. */
static void unanswered(struct io *io)
{
	static struct io_end ends[CLIENTS];
	static struct call calls[CLIENTS];
	NTSTATUS statuses[CLIENTS];
	LARGE_INTEGER limit = check_ms(10000);
	ULONG refused = 0, size = sizeof(io->door.address);
	KIRQL irql;
	io->door.address = io_with_port(io->b.local, 0);
	io->door.listener = MAKE(NDK_LISTENER, io->b.adapter->Dispatch->NdkCreateListener,
				 io->b.adapter, close_listener, &io->door);
	CHECK(WAIT(io->door.listener->Dispatch->NdkListen, io->door.listener,
		   (SOCKADDR *)&io->door.address,
		   io_address_size(&io->door.address)) == STATUS_SUCCESS &&
		      io->door.listener->Dispatch->NdkGetLocalAddress(io->door.listener,
								      (SOCKADDR *)&io->door.address,
								      &size) == STATUS_SUCCESS,
	      "NDK-68 a listener");
	call_begin(&listener_closed);
	for (ULONG i = 0; i < CLIENTS; i++) {
		io_end_make(&ends[i], io->a.adapter, &plain);
		ends[i].e.connector = MAKE(
			NDK_CONNECTOR, io->a.adapter->Dispatch->NdkCreateConnector, io->a.adapter);
	}
	KeRaiseIrql(DISPATCH_LEVEL, &irql);
	for (ULONG i = 0; i < CLIENTS; i++)
		statuses[i] = begin_connect(io, &ends[i], &calls[i]);
	KeStallExecutionProcessor(200000);
	KeLowerIrql(irql);
	for (ULONG i = 0; i < CLIENTS; i++)
		refused += call_end(&calls[i], statuses[i]) == STATUS_CONNECTION_REFUSED;
	CHECK(refused == CLIENTS, "NDK-84 NDK-145 each client is refused");
	CHECK(rings && rings < CLIENTS, "NDK-84 some were never announced");
	for (LONG i = 0; i < rings && i < CLIENTS; i++)
		KeWaitForSingleObject(&connector_closed[i].done, Executive, KernelMode, FALSE,
				      &limit);
	CHECK(!KeWaitForSingleObject(&listener_closed.done, Executive, KernelMode, FALSE, &limit),
	      "NDK-83 the listener is closed");
	for (ULONG i = 0; i < CLIENTS; i++)
		io_end_close(&ends[i]);
}

/* x's device dies under its requests (FAKE_DEATH). */
static void dead(struct io *io)
{
	NDK_RESULT_EX r;
	ULONG lost = 0, i;
	BOOLEAN pair = io_pair(io, &plain, 4096);
	CHECK(pair, "NDK-136 two ends are connected");
	for (i = 0; pair && i < 8; i++)
		io_receive(&io->x, &io->mx, 0, 8, NULL);
	for (i = 0; pair && i < 8; i++) /* the third is the last that it sees */
		io_write(&io->x, &io->mx, 0, 8, (UINT64)io->my.data, io_token(&io->my), 0, NULL);
	for (i = 0; i < 8 && io_get(io->x.e.cq, &r, 10000); i++)
		lost += r.Status == STATUS_INTERNAL_ERROR && r.ProviderErrorCode;
	CHECK(i == 8 && lost >= 5, "NDK-101 each request comes back, most with an error");
	for (i = 0; i < 8 && io_get(io->x.receive_cq, &r, 10000); i++)
		lost += r.Status == STATUS_INTERNAL_ERROR;
	CHECK(i == 8 && lost >= 13, "NDK-101 and each receive");
	CHECK(SOON(io->x.gone == 1 && io->y.gone == 1), "NDK-142 the connection is over, once");
	CHECK(io_receive(&io->x, &io->mx, 0, 8, NULL) == STATUS_CONNECTION_INVALID,
	      "NDK-63 the queue pair is dead");
	io_unpair(io);
}

/* A peer that writes with an immediate (FAKE_IMMEDIATE): more than the receive that it takes has
 * room for. The consumer must not believe that this arrived in it. */
static void immediate(struct io *io)
{
	NDK_RESULT_EX r = {0};
	BOOLEAN pair = io_pair(io, &plain, 4096);
	CHECK(pair, "NDK-136 two ends are connected");
	io_receive(&io->y, &io->my, 0, 8, NULL);
	io_write(&io->x, &io->mx, 0, 4096, (UINT64)io->my.data, io_token(&io->my), 0, NULL);
	CHECK(io_get(io->y.receive_cq, &r, 10000) && r.Status == STATUS_CONNECTION_ABORTED &&
		      !r.BytesTransferred,
	      "NDK-102 a receive never gets more bytes than it has");
	CHECK(SOON(io->x.gone == 1 && io->y.gone == 1), "NDK-142 and the connection is over");
	io_unpair(io);
}

/* A device that neither answers a faulty read nor reports its QP (FAKE_MUTE): both ends hear of it,
 * and what is left comes back with the flush. */
static void silent(struct io *io)
{
	BOOLEAN pair = io_pair(io, &plain, 64);
	CHECK(pair, "NDK-136 two ends are connected");
	if (!pair)
		return;
	io_read(&io->x, &io->mx, 0, 64, (UINT64)io->my.data, io_token(&io->my) + 1, 0, NULL);
	CHECK(SOON(io->x.gone && io->y.gone), "NDK-109a a fault that only the device knows of");
	NDK_CONNECTOR *c = io->x.e.connector;
	CHECK(WAIT(c->Dispatch->NdkDisconnect, c) == STATUS_SUCCESS &&
		      io_status(io->x.e.cq) == STATUS_CANCELLED,
	      "NDK-141 the read comes back");
	io_unpair(io);
}

/* The queue pair breaks while its connect is answered by nobody: its completion queue overflows.
 * The connector is as before, nothing of the connect is left, and the next one is a whole one. */
static void overflowing(struct io *io)
{
	static const struct shape small = {4, 8, 8, 1, 1, 0, TRUE};
	static struct io_end again;
	struct call connect, accept;
	LARGE_INTEGER limit = check_ms(10000);
	BOOLEAN made = io_end_make(&io->x, io->a.adapter, &small) &&
		       io_end_make(&again, io->a.adapter, &plain) &&
		       io_end_make(&io->y, io->b.adapter, &plain) &&
		       memory_make(&io->mx, io->x.e.pd, 64, IO_ALL) &&
		       door_open(&io->door, &io->b, 0);
	CHECK(made, "NDK-136 two ends");
	for (ULONG i = 0; i < small.receives; i++)
		io_receive(&io->x, &io->mx, 0, 8, NULL);
	io->x.e.connector =
		MAKE(NDK_CONNECTOR, io->a.adapter->Dispatch->NdkCreateConnector, io->a.adapter);
	NTSTATUS status = begin_connect(io, &io->x, &connect);
	CHECK(!KeWaitForSingleObject(&io->door.rung, Executive, KernelMode, FALSE, &limit),
	      "NDK-137 the peer has the request");
	io->x.e.qp->Dispatch->NdkFlush(io->x.e.qp);
	CHECK(call_end(&connect, status) == STATUS_CONNECTION_ABORTED,
	      "NDK-94 NDK-71 an overflow ends the connect");
	NDK_CONNECTOR *first = io->door.connector;

	again.e.connector = io->x.e.connector;
	io->x.e.connector = NULL;
	status = begin_connect(io, &again, &connect);
	CHECK(!KeWaitForSingleObject(&io->door.rung, Executive, KernelMode, FALSE, &limit),
	      "NDK-140 the connector connects again");
	CLOSE(first->Dispatch->NdkCloseConnector, first);
	NDK_CONNECTOR *y = io->y.e.connector = io->door.connector;
	call_begin(&accept);
	NTSTATUS accepted = y->Dispatch->NdkAccept(y, io->y.e.qp, 1, 1, NULL, 0, io_gone, &io->y,
						   call_requested, &accept);
	CHECK(call_end(&connect, status) == STATUS_SUCCESS &&
		      WAIT(again.e.connector->Dispatch->NdkCompleteConnect, again.e.connector,
			   io_gone, &again) == STATUS_SUCCESS &&
		      call_end(&accept, accepted) == STATUS_SUCCESS,
	      "NDK-136 and is connected");
	CHECK(WAIT(y->Dispatch->NdkDisconnect, y) == STATUS_SUCCESS && SOON(again.gone == 1),
	      "NDK-142 and hears of the end");
	io_end_close(&again);
	io_unpair(io);
}

static void test(struct io *io)
{
	static void (*const cases[])(struct io *) = {hasty,     impatient, unanswered, dead,
						     immediate, silent,    overflowing};
	cases[CASE](io);
}

IO_DRIVER(test)
