/* SPDX-License-Identifier: MIT */
/*
 * verbs_event.c: what rdma_cm announces, on its way to the core.
 *
 * A thread for each device reads events. Some it answers itself (a resolved address is followed by
 * the route, the route by the connect request); what the core must know becomes an event item, told
 * in verbs_service. An event is acknowledged only after its item is queued: an id is destroyed
 * after all its events are acknowledged, so the core hears nothing of a connector after its end.
 *
 * Contexts: event threads; tell() in verbs_service (DISPATCH_LEVEL). No locks.
 */
#include <string.h>
#include <time.h>
#include "port/linux/verbs_connect.h"

#define EVENTS     65536u
#define HANDSHAKES 65536u

struct event {
	struct verbs_job job;
	enum rdma_cm_event_type type;
	int error; /* errno, or a reason to reject */
	struct verbs_connection *connection;
	struct verbs_listener *listener;
	struct ndk_address local, remote;
	struct ndk_offer offer;
};

static struct verbs_pool events;

/* ---- Handshakes that take too long ---- */

struct handshake {
	struct verbs_job job;
	struct verbs_connection *connection; /* not kept: it has this number, or is another one */
	uint64_t number, until_ns;
};

static struct verbs_pool handshakes;

/* All may take equally long: who came first is due first. */
static void handshake_wait(struct verbs_job *job)
{
	struct handshake *h = (struct handshake *)job;
	uint64_t now;
	while ((now = port_time_ns()) < h->until_ns) {
		uint64_t left = h->until_ns - now;
		struct timespec time = {(time_t)(left / 1000000000), (long)(left % 1000000000)};
		nanosleep(&time, NULL);
	}
	verbs_finish(job, NDK_SUCCESS);
}

static void handshake_due(struct verbs_job *job)
{
	struct handshake *h = (struct handshake *)job;
	if (atomic_load(&h->connection->handshake) == h->number)
		verbs_connection_overdue(h->connection);
	verbs_pool_put(&handshakes, h);
}

void verbs_handshake_begin(struct verbs_connection *c)
{
	static _Atomic uint64_t number;
	struct handshake *h = verbs_pool_get(&handshakes);
	atomic_store(&c->handshake, atomic_fetch_add(&number, 1) + 1);
	if (!h) /* of so many, rdma_cm's own patience (minutes) must do */
		return;
	h->connection = c;
	h->number = atomic_load(&c->handshake);
	h->until_ns = port_time_ns() + ndk_handshake_ms * 1000000ull;
	h->job.run = handshake_wait;
	h->job.done = handshake_due;
	verbs_submit(&verbs_clock, &h->job);
}

/* ---- In verbs_service ---- */

static int status_of(const struct event *e)
{
	bool passive = e->connection->parameters.qp == NULL;
	switch (e->type) {
	case RDMA_CM_EVENT_REJECTED:
		return passive ? NDK_CONNECTION_ABORTED : NDK_CONNECTION_REFUSED;
	case RDMA_CM_EVENT_UNREACHABLE:
		return passive ? NDK_IO_TIMEOUT : verbs_status(e->error);
	case RDMA_CM_EVENT_ADDR_ERROR:
	case RDMA_CM_EVENT_ROUTE_ERROR:
		switch (e->error) {
		case ENETUNREACH:
		case ENODEV:
			return NDK_NETWORK_UNREACHABLE;
		case EADDRNOTAVAIL: /* rdma_cm: the same pair of addresses and ports */
			return NDK_ADDRESS_ALREADY_EXISTS;
		default:
			return NDK_HOST_UNREACHABLE;
		}
	default:
		return NDK_CONNECTION_ABORTED;
	}
}

static void tell_incoming(struct event *e)
{
	struct verbs_connection *c = e->connection;
	struct ndk_connector *connector =
		ndk_connector_incoming(e->listener->object, &e->local, &e->remote, &e->offer);
	if (!connector) {
		verbs_connection_refuse(c);
		return;
	}
	c->object = connector;
	verbs_handshake_begin(c);
	((struct verbs_connector *)ndk_private(connector))->connection = c;
	ndk_connector_announce(connector);
}

static void tell_down(struct verbs_connection *c)
{
	uint32_t flags = atomic_fetch_or(&c->flags, CONNECTION_DOWN);
	if (flags & (CONNECTION_CLOSED | CONNECTION_DOWN) || !c->object)
		return;
	if (flags & CONNECTION_DRAINED)
		ndk_connector_disconnected(c->object, NDK_SUCCESS);
	else if (!(flags & CONNECTION_ESTABLISHED)) /* the peer was faster than we, or gave up */
		verbs_connection_failed(c, NDK_CONNECTION_ABORTED, false);
	else if (!(flags & (CONNECTION_DISCONNECTING | CONNECTION_BROKEN)))
		ndk_connector_peer_gone(c->object, 0);
}

static void tell(struct verbs_job *job)
{
	struct event *e = (struct event *)job;
	struct verbs_connection *c = e->connection;
	bool closed = atomic_load(&c->flags) & CONNECTION_CLOSED;
	switch (e->type) {
	case RDMA_CM_EVENT_CONNECT_REQUEST:
		tell_incoming(e);
		break;
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		if (!closed)
			ndk_connector_bound(c->object, &e->local);
		break;
	case RDMA_CM_EVENT_CONNECT_RESPONSE:
		if (!closed)
			ndk_connector_accepted(c->object, &e->offer);
		break;
	case RDMA_CM_EVENT_ESTABLISHED:
		verbs_connection_alive(c);
		break;
	case RDMA_CM_EVENT_DISCONNECTED:
		tell_down(c);
		break;
	default:
		if (!closed && c->object)
			verbs_connection_failed(c, status_of(e), e->type == RDMA_CM_EVENT_REJECTED);
		break;
	}
	verbs_connection_put(c);
	verbs_pool_put(&events, e);
}

/* ---- On the event thread ---- */

/* The limits are those of who sent it: its reads of us are what we respond to. */
static void copy_offer(struct ndk_offer *to, const struct rdma_conn_param *from)
{
	to->outbound_reads = from->responder_resources;
	to->inbound_reads = from->initiator_depth;
	to->size = from->private_data ? from->private_data_len : 0;
	if (to->size)
		memcpy(to->data, from->private_data, to->size);
}

static void announce(struct verbs_connection *c, const struct rdma_cm_event *from,
		     enum rdma_cm_event_type type, int error)
{
	struct event *e;
	while (!(e = verbs_pool_get(&events)))
		usleep(1000); /* the core is behind by more than EVENTS */
	memset(e, 0, sizeof *e);
	e->job.done = tell;
	e->type = type;
	e->error = error;
	e->connection = c;
	if (from->listen_id)
		e->listener = from->listen_id->context;
	verbs_address_out(&from->id->route.addr.src_addr, &e->local);
	verbs_address_out(&from->id->route.addr.dst_addr, &e->remote);
	if (type == RDMA_CM_EVENT_CONNECT_REQUEST || type == RDMA_CM_EVENT_CONNECT_RESPONSE ||
	    type == RDMA_CM_EVENT_REJECTED) {
		copy_offer(&e->offer, &from->param.conn);
		c->peer = e->offer;
	}
	atomic_fetch_add(&c->references, 1);
	atomic_store(&e->job.state, 0);
	verbs_finish(&e->job, NDK_SUCCESS);
}

/* The id is of this device, not of another one that has the address, too. */
static bool is_of(const struct verbs_device *device, const struct rdma_cm_id *id)
{
	return id->verbs &&
	       !strcmp(verbs.ibv_get_device_name(id->verbs->device), device->core->name);
}

/* True: there was nobody to tell, the id is to be destroyed. */
static bool incoming(struct verbs_device *device, struct rdma_cm_event *event)
{
	struct verbs_connection *c = is_of(device, event->id) ? verbs_connection_new(device) : NULL;
	event->id->context = c;
	if (!c) {
		verbs.rdma_reject(event->id, NULL, 0);
		return true;
	}
	c->id = event->id;
	announce(c, event, event->event, 0);
	return false;
}

/* Then rdma_cm asks for the route. */
static int address_resolved(struct verbs_connection *c, struct rdma_cm_event *event)
{
	if (!is_of(c->device, event->id))
		return ENETUNREACH; /* the way to the peer is another device */
	return verbs.rdma_resolve_route(event->id, 2000) ? errno : 0;
}

static int route_resolved(struct verbs_connection *c, struct rdma_cm_event *event)
{
	struct verbs_qp *qp = c->qp;
	int error = qp ? verbs_qp_move(c, qp, IBV_QPS_INIT) : ENOTCONN;
	if (error)
		return error;
	struct rdma_conn_param parameters = verbs_parameters(c, qp);
	return verbs.rdma_connect(event->id, &parameters) ? errno : 0;
}

static bool handle(struct verbs_device *device, struct rdma_cm_event *event)
{
	struct verbs_connection *c = event->id->context;
	int error = 0;
	switch (event->event) {
	case RDMA_CM_EVENT_CONNECT_REQUEST:
		return incoming(device, event);
	case RDMA_CM_EVENT_ADDR_RESOLVED:
		announce(c, event, RDMA_CM_EVENT_ADDR_RESOLVED, 0);
		error = address_resolved(c, event);
		break;
	case RDMA_CM_EVENT_ROUTE_RESOLVED:
		error = route_resolved(c, event);
		break;
	case RDMA_CM_EVENT_DISCONNECTED:
		verbs.rdma_disconnect(event->id); /* answers the peer, who waits for it */
		announce(c, event, event->event, 0);
		break;
	case RDMA_CM_EVENT_DEVICE_REMOVAL:
		if (rdma_get_peer_addr(event->id)->sa_family) /* no listener */
			announce(c, event, RDMA_CM_EVENT_DISCONNECTED, 0);
		verbs_device_failed(device, "it was taken away");
		break;
	case RDMA_CM_EVENT_ADDR_ERROR:
	case RDMA_CM_EVENT_ROUTE_ERROR:
	case RDMA_CM_EVENT_CONNECT_RESPONSE:
	case RDMA_CM_EVENT_CONNECT_ERROR:
	case RDMA_CM_EVENT_UNREACHABLE:
	case RDMA_CM_EVENT_REJECTED:
	case RDMA_CM_EVENT_ESTABLISHED:
		announce(c, event, event->event,
			 event->status < 0 ? -event->status : event->status);
		break;
	default: /* TIMEWAIT_EXIT, ADDR_CHANGE: nobody asks for them */
		break;
	}
	if (error)
		announce(c, event, RDMA_CM_EVENT_ROUTE_ERROR, error);
	return false;
}

static void *event_main(void *device)
{
	struct verbs_device *v = device;
	struct rdma_cm_event *event;
	for (;;) {
		if (verbs.rdma_get_cm_event(v->events, &event)) {
			usleep(1000);
			continue;
		}
		struct rdma_cm_id *id = event->id;
		bool orphan = handle(v, event);
		verbs.rdma_ack_cm_event(event);
		if (orphan)
			verbs.rdma_destroy_id(id);
	}
	return NULL;
}

bool verbs_events_start(struct verbs_device *device)
{
	if (!events.base && (!verbs_pool_create(&events, sizeof(struct event), EVENTS) ||
			     !verbs_pool_create(&handshakes, sizeof(struct handshake), HANDSHAKES)))
		return false;
	return host_device_start(event_main, device, "ketch-rdma-cm");
}
