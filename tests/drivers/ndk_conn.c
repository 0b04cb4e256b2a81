/* SPDX-License-Identifier: MIT */
/*
 * ndk_conn.c: connections: states, statuses, addresses, private data, read limits, ends.
 */
#include "ndk_io.h"

static USHORT port_of(const SOCKADDR_INET *address)
{
	return RtlUshortByteSwap(address->Ipv4.sin_port);
}

/* ---- One side at a time ---- */

struct side {
	struct io_end end;
	struct call call; /* that pends */
	NTSTATUS first;
};

static NTSTATUS connect_begin(struct side *side, struct consumer *c, const SOCKADDR_INET *from,
			      const SOCKADDR_INET *to, const void *data, ULONG size)
{
	ULONG length = io_address_size(from);
	NDK_CONNECTOR *connector = side->end.e.connector;
	if (!connector)
		connector = side->end.e.connector =
			MAKE(NDK_CONNECTOR, c->adapter->Dispatch->NdkCreateConnector, c->adapter);
	call_begin(&side->call);
	side->first = connector->Dispatch->NdkConnect(
		connector, side->end.e.qp, (const SOCKADDR *)from, length, (const SOCKADDR *)to,
		length, 3, 5, data, size, call_requested, &side->call);
	return side->first;
}

static NTSTATUS finish(struct side *side)
{
	LARGE_INTEGER limit = check_ms(10000);
	if (side->first == STATUS_PENDING &&
	    KeWaitForSingleObject(&side->call.done, Executive, KernelMode, FALSE, &limit))
		return STATUS_IO_TIMEOUT;
	return side->first == STATUS_PENDING ? side->call.status : side->first;
}

static BOOLEAN rung(struct door *door)
{
	LARGE_INTEGER limit = check_ms(10000);
	return KeWaitForSingleObject(&door->rung, Executive, KernelMode, FALSE, &limit) ==
	       STATUS_SUCCESS;
}

static NTSTATUS accept_begin(struct side *side, NDK_CONNECTOR *connector, const void *data,
			     ULONG size)
{
	side->end.e.connector = connector;
	call_begin(&side->call);
	side->first =
		connector->Dispatch->NdkAccept(connector, side->end.e.qp, 7, 2, data, size, io_gone,
					       &side->end, call_requested, &side->call);
	return side->first;
}

static NTSTATUS complete(struct side *side)
{
	NDK_CONNECTOR *connector = side->end.e.connector;
	return WAIT(connector->Dispatch->NdkCompleteConnect, connector, io_gone, &side->end);
}

static BOOLEAN sides(struct io *io, struct side *x, struct side *y)
{
	RtlZeroMemory(x, sizeof(*x));
	RtlZeroMemory(y, sizeof(*y));
	return io_end_make(&x->end, io->a.adapter, &plain) &&
	       io_end_make(&y->end, io->b.adapter, &plain);
}

static void close_connector(struct side *side)
{
	if (side->end.e.connector)
		CLOSE(side->end.e.connector->Dispatch->NdkCloseConnector, side->end.e.connector);
}

static struct side x, y;
static struct door door;

/* ---- The whole way ---- */

static void handshake(struct io *io)
{
	static const UCHAR caller[24] = "what the caller said...", callee[8] = "callee.";
	UCHAR data[256];
	ULONG in = 0, out = 0, size = sizeof(data);
	SOCKADDR_INET address;
	CHECK(sides(io, &x, &y), "NDK-136 two ends");
	CHECK(connect_begin(&x, &io->a, &io->a.local, &door.address, caller, 24) ==
			      STATUS_PENDING &&
		      rung(&door),
	      "NDK-137 a connect event");
	NDK_CONNECTOR *c = door.connector;
	RtlFillMemory(data, sizeof(data), 0xff);
	CHECK(c->Dispatch->NdkGetConnectionData(c, &in, &out, data, &size) == STATUS_SUCCESS &&
		      RtlCompareMemory(data, caller, 24) == 24 && data[24] == 0 &&
		      size == io->b.info.MaxCallerData && in == 5 && out == 3,
	      "NDK-138 NDK-139 the caller's data, zeroes behind, and its limits the other way "
	      "round");
	size = 24;
	CHECK(c->Dispatch->NdkGetConnectionData(c, NULL, NULL, data, &size) ==
			      STATUS_BUFFER_TOO_SMALL &&
		      size == io->b.info.MaxCallerData,
	      "NDK-74b DEF-108 a buffer of what was sent is too small");
	size = 0;
	CHECK(c->Dispatch->NdkGetConnectionData(c, NULL, NULL, NULL, &size) == STATUS_SUCCESS &&
		      size == io->b.info.MaxCallerData,
	      "NDK-138 no buffer: the size");
	size = sizeof(address);
	CHECK(c->Dispatch->NdkGetPeerAddress(c, (SOCKADDR *)&address, &size) == STATUS_SUCCESS &&
		      size == io_address_size(&address) &&
		      address.Ipv4.sin_addr.S_un.S_addr == io->a.local.Ipv4.sin_addr.S_un.S_addr &&
		      port_of(&address) >= 49152,
	      "NDK-70 NDK-135 the peer's address, with a port from 49152 to 65535");
	CHECK(c->Dispatch->NdkGetLocalAddress(c, (SOCKADDR *)&address, &size) == STATUS_SUCCESS &&
		      port_of(&address) == port_of(&door.address),
	      "NDK-70 the passive side's own address is the listener's");
	size = 4;
	CHECK(c->Dispatch->NdkGetLocalAddress(c, NULL, &size) == STATUS_BUFFER_TOO_SMALL &&
		      size == io_address_size(&address),
	      "NDK-70 what GetLocalAddress needs");
	CHECK(complete(&x) == STATUS_CONNECTION_INVALID,
	      "NDK-73 NdkCompleteConnect before the peer has accepted");
	CHECK(accept_begin(&y, c, callee, 8) == STATUS_PENDING && finish(&x) == STATUS_SUCCESS,
	      "NDK-136 the connect succeeds when the peer accepts");
	check_sleep(20);
	CHECK(!KeReadStateEvent(&y.call.done), "DEF-111 the accept waits for NdkCompleteConnect");
	c = x.end.e.connector;
	size = sizeof(data);
	RtlFillMemory(data, sizeof(data), 0xff);
	CHECK(c->Dispatch->NdkGetConnectionData(c, &in, &out, data, &size) == STATUS_SUCCESS &&
		      RtlCompareMemory(data, callee, 8) == 8 && data[8] == 0 &&
		      size == io->a.info.MaxCalleeData,
	      "NDK-138 what the peer accepted with; the size is what an accept can carry");
	CHECK(in == 2 && out == 5, "NDK-139 the least of both sides' limits");
	CHECK(complete(&x) == STATUS_SUCCESS && finish(&y) == STATUS_SUCCESS,
	      "NDK-136 both sides are connected");
	size = 0;
	CHECK(c->Dispatch->NdkGetConnectionData(c, &in, NULL, NULL, &size) == STATUS_SUCCESS &&
		      in == 2,
	      "DEF-2 the limits can be read after the handshake");
	size = sizeof(SOCKADDR_IN);
	CHECK(c->Dispatch->NdkGetLocalAddress(c, (SOCKADDR *)&address, &size) == STATUS_SUCCESS &&
		      port_of(&address) >= 49152,
	      "DEF-113 the port that was chosen");
	connect_begin(&x, &io->a, &io->a.local, &door.address, NULL, 0);
	accept_begin(&y, y.end.e.connector, NULL, 0);
	CHECK(complete(&x) == STATUS_CONNECTION_INVALID &&
		      finish(&x) == STATUS_INVALID_DEVICE_STATE &&
		      finish(&y) == STATUS_INVALID_DEVICE_STATE &&
		      c->Dispatch->NdkReject(c, NULL, 0) == STATUS_INVALID_DEVICE_STATE,
	      "NDK-140 calls of other states");
}

static void disconnects(struct io *io)
{
	NDK_CONNECTOR *c = x.end.e.connector, *p = y.end.e.connector;
	CHECK(WAIT(c->Dispatch->NdkDisconnect, c) == STATUS_SUCCESS && SOON(y.end.gone == 1),
	      "NDK-141 NDK-142 a disconnect gives the peer its event");
	CHECK(WAIT(c->Dispatch->NdkDisconnect, c) == STATUS_CONNECTION_INVALID,
	      "NDK-141 a second one: STATUS_CONNECTION_INVALID");
	CHECK(WAIT(p->Dispatch->NdkDisconnect, p) == STATUS_SUCCESS,
	      "NDK-142 the peer disconnects too");
	check_sleep(20);
	CHECK(!x.end.gone && y.end.gone == 1,
	      "NDK-142 no event after an own disconnect; one in all");
	close_connector(&y);
	NDK_CONNECTOR *again =
		MAKE(NDK_CONNECTOR, io->b.adapter->Dispatch->NdkCreateConnector, io->b.adapter);
	close_connector(&x);
	y.end.e.connector = again;
	connect_begin(&y, &io->b, &io->b.local, &door.address, NULL, 0);
	CHECK(finish(&y) == STATUS_INVALID_DEVICE_STATE, "NDK-147 a queue pair is connected once");
	io_end_close(&x.end);
	io_end_close(&y.end);
}

/* ---- What comes to nothing ---- */

static NTSTATUS connect_status(struct io *io, const SOCKADDR_INET *from, const SOCKADDR_INET *to)
{
	connect_begin(&x, &io->a, from, to, NULL, 0);
	NTSTATUS status = finish(&x);
	close_connector(&x);
	return status;
}

static void refusals(struct io *io)
{
	SOCKADDR_INET nobody = io_with_port(io->b.local, 9), elsewhere = io->a.local;
	UCHAR big[257] = {0};
	CHECK(sides(io, &x, &y), "NDK-145 two ends for refusals");
	CHECK(connect_status(io, &io->a.local, &nobody) == STATUS_CONNECTION_REFUSED,
	      "DEF-106 nobody listens: STATUS_CONNECTION_REFUSED");
	door.listener->Dispatch->NdkControlConnectEvents(door.listener, TRUE);
	CHECK(connect_status(io, &io->a.local, &door.address) == STATUS_CONNECTION_REFUSED,
	      "NDK-69 NDK-146 a paused listener refuses");
	door.listener->Dispatch->NdkControlConnectEvents(door.listener, FALSE);
	elsewhere.Ipv4.sin_addr.S_un.S_addr = 0x630a0a0a; /* 10.10.10.99 */
	NTSTATUS status = connect_status(io, &elsewhere, &door.address);
	CHECK(status == STATUS_INVALID_ADDRESS, "NDK-71 a source that is not the adapter's");
	elsewhere = io_with_port(elsewhere, 7000);
	status = connect_status(io, &io->a.local, &elsewhere);
	CHECK(status == STATUS_NETWORK_UNREACHABLE || status == STATUS_HOST_UNREACHABLE,
	      "NDK-71 an address that nobody has");
	connect_begin(&x, &io->a, &io->a.local, &door.address, big, 257);
	CHECK(finish(&x) == STATUS_INVALID_PARAMETER, "NDK-148 private data that is too long");
	close_connector(&x);
	NDK_LISTENER *other = MAKE(NDK_LISTENER, io->b.adapter->Dispatch->NdkCreateListener,
				   io->b.adapter, door_rung, &door);
	elsewhere = io_with_port(elsewhere, 7001);
	CHECK(WAIT(other->Dispatch->NdkListen, other, (SOCKADDR *)&elsewhere,
		   sizeof(SOCKADDR_IN)) == STATUS_INVALID_ADDRESS,
	      "DEF-106 NdkListen at an address that is not the adapter's");
	CHECK(WAIT(other->Dispatch->NdkListen, other, (SOCKADDR *)&door.address,
		   io_address_size(&door.address)) == STATUS_SHARING_VIOLATION,
	      "NDK-144 NdkListen where somebody listens");
	CHECK(WAIT(other->Dispatch->NdkListen, other, (SOCKADDR *)&door.address, 4) ==
		      STATUS_INVALID_ADDRESS,
	      "NDK-68 half an address");
	CLOSE(other->Dispatch->NdkCloseListener, other);
}

static void rejected(struct io *io)
{
	static const UCHAR why[5] = "busy";
	UCHAR data[256] = {0};
	ULONG size = sizeof(data);
	CHECK(connect_begin(&x, &io->a, &io->a.local, &door.address, NULL, 0) == STATUS_PENDING &&
		      rung(&door),
	      "NDK-137 a connect event to reject");
	NDK_CONNECTOR *c = door.connector;
	CHECK(c->Dispatch->NdkReject(c, why, 5) == STATUS_SUCCESS &&
		      finish(&x) == STATUS_CONNECTION_REFUSED,
	      "NDK-145 a reject: STATUS_CONNECTION_REFUSED");
	CHECK(x.end.e.connector->Dispatch->NdkGetConnectionData(x.end.e.connector, NULL, NULL, data,
								&size) == STATUS_SUCCESS &&
		      RtlCompareMemory(data, why, 5) == 5,
	      "NDK-74a the data of a reject can be got");
	CLOSE(c->Dispatch->NdkCloseConnector, c);
	c = x.end.e.connector;
	CHECK(connect_begin(&x, &io->a, &io->a.local, &door.address, NULL, 0) == STATUS_PENDING &&
		      rung(&door) &&
		      c->Dispatch->NdkGetConnectionData(c, NULL, NULL, data, &size) ==
			      STATUS_INVALID_DEVICE_STATE,
	      "NDK-140 who was rejected may try again");
	c = door.connector;
	CHECK(c->Dispatch->NdkReject(c, NULL, 0) == STATUS_SUCCESS &&
		      finish(&x) == STATUS_CONNECTION_REFUSED,
	      "NDK-145 and is rejected again");
	CLOSE(c->Dispatch->NdkCloseConnector, c);
	close_connector(&x);

	/* The connector is closed without a reject (DEF-109). */
	CHECK(connect_begin(&x, &io->a, &io->a.local, &door.address, NULL, 0) == STATUS_PENDING &&
		      rung(&door),
	      "NDK-137 a connect event to close");
	c = door.connector;
	CLOSE(c->Dispatch->NdkCloseConnector, c);
	CHECK(finish(&x) == STATUS_CONNECTION_REFUSED, "DEF-109 a close is a refusal");
	close_connector(&x);

	/* The active side rejects what was accepted. */
	CHECK(connect_begin(&x, &io->a, &io->a.local, &door.address, NULL, 0) == STATUS_PENDING &&
		      rung(&door) && accept_begin(&y, door.connector, NULL, 0) == STATUS_PENDING &&
		      finish(&x) == STATUS_SUCCESS,
	      "NDK-136 a connection to reject at the active side");
	c = x.end.e.connector;
	CHECK(c->Dispatch->NdkReject(c, NULL, 0) == STATUS_SUCCESS &&
		      finish(&y) == STATUS_CONNECTION_ABORTED,
	      "NDK-136 the accept fails: STATUS_CONNECTION_ABORTED");
	close_connector(&x);
	close_connector(&y);

	/* The active side gives up before the accept; its Connect is cancelled by the close. */
	CHECK(connect_begin(&x, &io->a, &io->a.local, &door.address, NULL, 0) == STATUS_PENDING &&
		      rung(&door),
	      "NDK-137 a connect event whose peer gives up");
	close_connector(&x);
	CHECK(finish(&x) == STATUS_CANCELLED, "NDK-81 the close cancels the connect");
	c = door.connector;
	accept_begin(&y, c, NULL, 0);
	CHECK(finish(&y) == STATUS_CONNECTION_ABORTED,
	      "NDK-74 the peer has given up: STATUS_CONNECTION_ABORTED");
	close_connector(&y);
	io_end_close(&x.end);
	io_end_close(&y.end);
}

/* The listener is closed first; its close waits for the connector's. */
static void listener_last(struct io *io)
{
	struct call closing;
	struct door first;
	CHECK(sides(io, &x, &y) && door_open(&first, &io->b, 0), "NDK-83 a second listener");
	CHECK(connect_begin(&x, &io->a, &io->a.local, &first.address, NULL, 0) == STATUS_PENDING &&
		      rung(&first) &&
		      accept_begin(&y, first.connector, NULL, 0) == STATUS_PENDING &&
		      finish(&x) == STATUS_SUCCESS && complete(&x) == STATUS_SUCCESS &&
		      finish(&y) == STATUS_SUCCESS,
	      "NDK-83 a connection through it");
	call_begin(&closing);
	NTSTATUS status = first.listener->Dispatch->NdkCloseListener(&first.listener->Header,
								     call_closed, &closing);
	check_sleep(20);
	CHECK(status == STATUS_PENDING && !KeReadStateEvent(&closing.done),
	      "NDK-83 the close of a listener waits for its connectors");
	NDK_LISTENER *other = MAKE(NDK_LISTENER, io->b.adapter->Dispatch->NdkCreateListener,
				   io->b.adapter, door_rung, &door);
	CHECK(WAIT(other->Dispatch->NdkListen, other, (SOCKADDR *)&first.address,
		   io_address_size(&first.address)) == STATUS_SHARING_VIOLATION,
	      "NDK-144 the address is in use until the last connector is closed");
	close_connector(&y);
	CHECK(SOON(KeReadStateEvent(&closing.done)) && SOON(x.end.gone == 1),
	      "NDK-83 then the listener's close completes; the peer's event came");
	CHECK(SOON(WAIT(other->Dispatch->NdkListen, other, (SOCKADDR *)&first.address,
			io_address_size(&first.address)) == STATUS_SUCCESS),
	      "NDK-144 and the address is free");
	CLOSE(other->Dispatch->NdkCloseListener, other);
	io_end_close(&x.end);
	io_end_close(&y.end);
}

static void test(struct io *io)
{
	CHECK(door_open(&door, &io->b, 0) && port_of(&door.address) >= 49152,
	      "NDK-135 port 0: one from 49152 to 65535");
	handshake(io);
	disconnects(io);
	refusals(io);
	rejected(io);
	listener_last(io);
	CLOSE(door.listener->Dispatch->NdkCloseListener, door.listener);
}

IO_DRIVER(test)
