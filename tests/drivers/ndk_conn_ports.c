/* SPDX-License-Identifier: MIT */
/*
 * ndk_conn_ports.c: addresses and ports: IPv6, shared endpoints, what is in use and when it is
 * free; handshakes that take too long; both ends closed at once. CASE 1: an RNIC
 * that connects to itself (--adapter=loopback:2=...,self). CASE 2: --ndk-handshake=2000. CASE 3:
 * all ports taken.
 */
#include "ndk_io.h"

#ifndef CASE
#define CASE 0
#endif

static USHORT port_of(const SOCKADDR_INET *address)
{
	return RtlUshortByteSwap(address->Ipv4.sin_port);
}

static NTSTATUS endpoint_make(NDK_ADAPTER *adapter, const SOCKADDR_INET *address,
			      NDK_SHARED_ENDPOINT **endpoint)
{
	struct call call;
	*endpoint = NULL;
	call_begin(&call);
	NTSTATUS first = adapter->Dispatch->NdkCreateSharedEndpoint(
		adapter, (const SOCKADDR *)address, io_address_size(address), call_created, &call,
		endpoint);
	NTSTATUS status = call_end(&call, first);
	if (first == STATUS_PENDING)
		*endpoint = call.object;
	return status;
}

/* x, from the endpoint, to the door; not accepted. */
static NTSTATUS shared_connect(struct io_end *end, struct consumer *c, NDK_SHARED_ENDPOINT *from,
			       const SOCKADDR_INET *to, struct call *call)
{
	end->e.connector =
		MAKE(NDK_CONNECTOR, c->adapter->Dispatch->NdkCreateConnector, c->adapter);
	call_begin(call);
	return end->e.connector->Dispatch->NdkConnectWithSharedEndpoint(
		end->e.connector, end->e.qp, from, (const SOCKADDR *)to, io_address_size(to), 1, 1,
		NULL, 0, call_requested, call);
}

static BOOLEAN rung(struct door *door)
{
	LARGE_INTEGER limit = check_ms(10000);
	return KeWaitForSingleObject(&door->rung, Executive, KernelMode, FALSE, &limit) ==
	       STATUS_SUCCESS;
}

static void close_connector(NDK_CONNECTOR *connector)
{
	CLOSE(connector->Dispatch->NdkCloseConnector, connector);
}

static __attribute__((unused)) void shared(struct io *io)
{
	static struct door door, second;
	NDK_SHARED_ENDPOINT *endpoint, *other;
	struct call call[3], closing;
	SOCKADDR_INET address, chosen = io_with_port(io->a.local, 5555);
	ULONG size = sizeof(address);
	CHECK(door_open(&door, &io->b, 0) && door_open(&second, &io->b, 0) &&
		      io_end_make(&io->x, io->a.adapter, &plain) &&
		      io_end_make(&io->y, io->a.adapter, &plain),
	      "NDK-40 two doors, two ends");
	CHECK(endpoint_make(io->a.adapter, &chosen, &endpoint) == STATUS_SUCCESS &&
		      endpoint->Dispatch->NdkGetLocalAddress(endpoint, (SOCKADDR *)&address,
							     &size) == STATUS_SUCCESS &&
		      port_of(&address) == 5555,
	      "NDK-40 NDK-70 a shared endpoint");
	CHECK(endpoint_make(io->a.adapter, &chosen, &other) == STATUS_SHARING_VIOLATION && !other,
	      "NDK-144 its address is in use");
	CHECK(endpoint_make(io->a.adapter, &io->b.local, &other) == STATUS_INVALID_ADDRESS ||
		      io->a.local.Ipv4.sin_addr.S_un.S_addr ==
			      io->b.local.Ipv4.sin_addr.S_un.S_addr,
	      "NDK-40 an address of another adapter");
	NTSTATUS status = shared_connect(&io->x, &io->a, endpoint, &door.address, &call[0]);
	CHECK(status == STATUS_PENDING && rung(&door), "NDK-72 a connection from it");
	size = sizeof(address);
	CHECK(door.connector->Dispatch->NdkGetPeerAddress(door.connector, (SOCKADDR *)&address,
							  &size) == STATUS_SUCCESS &&
		      port_of(&address) == 5555,
	      "NDK-72 the peer sees its port");
	status = shared_connect(&io->y, &io->a, endpoint, &door.address, &call[1]);
	CHECK(call_end(&call[1], status) == STATUS_ADDRESS_ALREADY_EXISTS,
	      "NDK-145 the same four numbers twice");
	close_connector(io->y.e.connector);
	status = shared_connect(&io->y, &io->a, endpoint, &second.address, &call[1]);
	CHECK(status == STATUS_PENDING && rung(&second), "NDK-144 another destination from it");
	call_begin(&closing);
	CHECK(endpoint->Dispatch->NdkCloseSharedEndpoint(&endpoint->Header, call_closed,
							 &closing) == STATUS_PENDING &&
		      !KeReadStateEvent(&closing.done),
	      "NDK-83 its close waits for the connectors");
	close_connector(door.connector);
	CHECK(call_end(&call[0], STATUS_PENDING) == STATUS_CONNECTION_REFUSED,
	      "NDK-145 one is refused");
	check_sleep(10);
	CHECK(!KeReadStateEvent(&closing.done), "NDK-144 one connector is left");
	close_connector(second.connector);
	CHECK(call_end(&call[1], STATUS_PENDING) == STATUS_CONNECTION_REFUSED &&
		      SOON(KeReadStateEvent(&closing.done)),
	      "NDK-83 without it the endpoint closes");
	io_end_close(&io->x);
	io_end_close(&io->y);
	CHECK(SOON(endpoint_make(io->a.adapter, &chosen, &other) == STATUS_SUCCESS),
	      "NDK-144 and its address is free");
	CLOSE(other->Dispatch->NdkCloseSharedEndpoint, other);
	CLOSE(door.listener->Dispatch->NdkCloseListener, door.listener);
	CLOSE(second.listener->Dispatch->NdkCloseListener, second.listener);
}

#define PORTS (65536 - 49152)
static NDK_SHARED_ENDPOINT *endpoints[PORTS + 1];

static __attribute__((unused)) void all_ports(struct io *io)
{
	ULONG count = 0, distinct = 0;
	static UCHAR used[PORTS];
	NTSTATUS status = STATUS_SUCCESS;
	while (count <= PORTS && (status = endpoint_make(io->a.adapter, &io->a.local,
							 &endpoints[count])) == STATUS_SUCCESS) {
		SOCKADDR_INET address;
		ULONG size = sizeof(address);
		endpoints[count]->Dispatch->NdkGetLocalAddress(endpoints[count],
							       (SOCKADDR *)&address, &size);
		if (port_of(&address) >= 49152)
			distinct += !used[port_of(&address) - 49152]++;
		count++;
	}
	CHECK(count == PORTS && distinct == PORTS && status == STATUS_TOO_MANY_ADDRESSES,
	      "NDK-135 all ports from 49152 to 65535, each once, then STATUS_TOO_MANY_ADDRESSES");
	SOCKADDR_INET low = io_with_port(io->a.local, 1000);
	NDK_SHARED_ENDPOINT *other;
	CHECK(endpoint_make(io->a.adapter, &low, &other) == STATUS_SUCCESS,
	      "NDK-135 a port that is asked for is another matter");
	CLOSE(other->Dispatch->NdkCloseSharedEndpoint, other);
	for (ULONG i = 0; i < count; i++)
		CLOSE(endpoints[i]->Dispatch->NdkCloseSharedEndpoint, endpoints[i]);
}

/* The active side's address: 0.0.0.0 with port 0, and the listener's port number (DEF-105). */
static __attribute__((unused)) void sources(struct io *io)
{
	SOCKADDR_INET local = io->a.local, any = {0};
	any.si_family = local.si_family;
	io->a.local = any;
	CHECK(io_pair(io, &plain, 4096), "DEF-105 from an unspecified address");
	SOCKADDR_INET address;
	ULONG size = sizeof(address);
	CHECK(io->x.e.connector->Dispatch->NdkGetLocalAddress(
		      io->x.e.connector, (SOCKADDR *)&address, &size) == STATUS_SUCCESS &&
		      address.Ipv4.sin_addr.S_un.S_addr == local.Ipv4.sin_addr.S_un.S_addr,
	      "NDK-70 it becomes the adapter's own");
	io_unpair(io);
	io->a.local = io_with_port(local, 6000);
	CHECK(io_pair(io, &plain, 4096), "DEF-105 from a port of the consumer's choice");
	io_unpair(io);
	CHECK(SOON(io_pair(io, &plain, 4096)), "NDK-144 which is free again afterwards");
	io_unpair(io);
	io->a.local = local;
}

static __attribute__((unused)) void both_close(struct io *io)
{
	for (unsigned round = 0; round < 20; round++) {
		struct call call[2];
		if (!io_pair(io, &plain, 4096))
			break;
		io_receive(&io->x, &io->mx, 0, 8, NULL);
		io_receive(&io->y, &io->my, 0, 8, NULL);
		for (unsigned i = 0; i < 2; i++) {
			NDK_CONNECTOR *c = i == round % 2 ? io->x.e.connector : io->y.e.connector;
			call_begin(&call[i]);
			if (c->Dispatch->NdkCloseConnector(&c->Header, call_closed, &call[i]) !=
			    STATUS_PENDING)
				KeSetEvent(&call[i].done, 0, FALSE);
		}
		call_end(&call[0], STATUS_PENDING);
		call_end(&call[1], STATUS_PENDING);
		io->x.e.connector = io->y.e.connector = NULL;
		if (io_status(io->x.receive_cq) != STATUS_CANCELLED ||
		    io_status(io->y.receive_cq) != STATUS_CANCELLED)
			CHECK(FALSE, "DEF-117 receives come back");
		io_unpair(io);
	}
	CHECK(TRUE, "DEF-117 both ends closed at the same time");
}

/* The other side of an active one that gave up: on a fabric it may hear that first. */
static __attribute__((unused)) BOOLEAN too_late(const struct io *io, NTSTATUS status)
{
	return status == STATUS_IO_TIMEOUT ||
	       (!io_is_loopback(io) && status == STATUS_CONNECTION_ABORTED);
}

static __attribute__((unused)) void timeouts(struct io *io)
{
	static struct door door;
	struct call call, accept;
	CHECK(door_open(&door, &io->b, 0) && io_end_make(&io->x, io->a.adapter, &plain) &&
		      io_end_make(&io->y, io->b.adapter, &plain),
	      "NDK-71 two ends and a short patience");
	io->x.e.connector =
		MAKE(NDK_CONNECTOR, io->a.adapter->Dispatch->NdkCreateConnector, io->a.adapter);
	NDK_CONNECTOR *c = io->x.e.connector;
	call_begin(&call);
	NTSTATUS status =
		c->Dispatch->NdkConnect(c, io->x.e.qp, (SOCKADDR *)&io->a.local,
					sizeof(SOCKADDR_IN), (SOCKADDR *)&door.address,
					sizeof(SOCKADDR_IN), 1, 1, NULL, 0, call_requested, &call);
	CHECK(call_end(&call, status) == STATUS_IO_TIMEOUT && rung(&door),
	      "NDK-71 nobody accepts: STATUS_IO_TIMEOUT");
	call_begin(&accept);
	status = door.connector->Dispatch->NdkAccept(door.connector, io->y.e.qp, 1, 1, NULL, 0,
						     NULL, NULL, call_requested, &accept);
	CHECK(too_late(io, call_end(&accept, status)), "NDK-74 an accept that comes too late");
	close_connector(door.connector);
	CLOSE(c->Dispatch->NdkCloseConnector, c);
	io_end_close(&io->y); /* on a fabric its QP was about to be connected */
	CHECK(io_end_make(&io->y, io->b.adapter, &plain), "NDK-46 another end");
	io->x.e.connector =
		MAKE(NDK_CONNECTOR, io->a.adapter->Dispatch->NdkCreateConnector, io->a.adapter);
	c = io->x.e.connector;
	call_begin(&call);
	status = c->Dispatch->NdkConnect(c, io->x.e.qp, (SOCKADDR *)&io->a.local,
					 sizeof(SOCKADDR_IN), (SOCKADDR *)&door.address,
					 sizeof(SOCKADDR_IN), 1, 1, NULL, 0, call_requested, &call);
	CHECK(status == STATUS_PENDING && rung(&door), "NDK-71 once more");
	call_begin(&accept);
	status = door.connector->Dispatch->NdkAccept(door.connector, io->y.e.qp, 1, 1, NULL, 0,
						     NULL, NULL, call_requested, &accept);
	CHECK(status == STATUS_PENDING && call_end(&call, STATUS_PENDING) == STATUS_SUCCESS &&
		      too_late(io, call_end(&accept, STATUS_PENDING)),
	      "NDK-74 the active side never completes: STATUS_IO_TIMEOUT");
	CHECK(WAIT(c->Dispatch->NdkCompleteConnect, c, NULL, NULL) == STATUS_IO_TIMEOUT,
	      "NDK-73 a completion that comes too late");
	close_connector(door.connector);
	io_end_close(&io->x);
	io_end_close(&io->y);
	CLOSE(door.listener->Dispatch->NdkCloseListener, door.listener);
}

static __attribute__((unused)) void ipv6(void)
{
	static struct io io6;
	CHECK(io_open_family(&io6, AF_INET6), "NDK-135 adapters with IPv6 addresses");
	CHECK(io_pair(&io6, &plain, 4096), "NDK-135 a connection over IPv6");
	SOCKADDR_INET address;
	ULONG size = sizeof(address);
	CHECK(io6.y.e.connector->Dispatch->NdkGetPeerAddress(
		      io6.y.e.connector, (SOCKADDR *)&address, &size) == STATUS_SUCCESS &&
		      size == sizeof(SOCKADDR_IN6) && address.si_family == AF_INET6 &&
		      RtlCompareMemory(&address.Ipv6.sin6_addr, &io6.a.local.Ipv6.sin6_addr, 16) ==
			      16,
	      "NDK-70 an IPv6 address");
	io_write(&io6.x, &io6.mx, 0, 16, (UINT64)io6.my.data, io_token(&io6.my), 0, NULL);
	CHECK(io_status(io6.x.e.cq) == STATUS_SUCCESS, "NDK-135 it carries data");
	io_unpair(&io6);
	io_close(&io6);
}

static void test(struct io *io)
{
#if CASE == 0
	shared(io);
	sources(io);
	both_close(io);
	ipv6();
#elif CASE == 1
	CHECK(io_pair(io, &plain, 4096), "DEF-104 an RNIC that connects to itself");
	io_write(&io->x, &io->mx, 0, 16, (UINT64)io->my.data, io_token(&io->my), 0, NULL);
	CHECK(io_status(io->x.e.cq) == STATUS_SUCCESS, "DEF-104 it carries data");
	io_unpair(io);
#elif CASE == 2
	timeouts(io);
#else
	all_ports(io);
#endif
}

IO_DRIVER(test)
