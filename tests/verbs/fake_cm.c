/* SPDX-License-Identifier: MIT */
/* fake_cm.c: connections: ids, their addresses, and what one end makes the other hear. See fake.h.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "fake.h"

enum state { IDLE, LISTENING, ASKING, ASKED, ACCEPTING, ACCEPTED, CONNECTED, OVER };

struct id {
	struct rdma_cm_id ibv;
	struct id *next, *peer;
	enum state state;
	bool bound, shared, left; /* left: it has said that it disconnects */
	uint32_t qp, peer_qp;
	long events; /* got, not acknowledged */
};

struct event {
	struct rdma_cm_event ibv;
	struct event *next;
	struct id *owner; /* whose end waits for the acknowledgement: a request's is the listener */
	char data[256];
};

struct channel {
	struct rdma_event_channel ibv;
	struct event *first, **last;
};

static struct id *ids;
static struct ibv_context contexts[FAKE_DEVICES];

/* ---- Events ---- */

struct rdma_event_channel *rdma_create_event_channel(void)
{
	struct channel *channel = calloc(1, sizeof *channel);
	channel->last = &channel->first;
	return &channel->ibv;
}

static struct event *tell(struct id *id, enum rdma_cm_event_type type, int status,
			  const struct rdma_conn_param *from)
{
	struct channel *channel = (struct channel *)id->ibv.channel;
	struct event *e = calloc(1, sizeof *e);
	e->ibv.id = &id->ibv;
	e->owner = id;
	e->ibv.event = type;
	e->ibv.status = status;
	if (from) {
		e->ibv.param.conn = *from;
		/* As the receiver sees it. */
		e->ibv.param.conn.responder_resources = from->initiator_depth;
		e->ibv.param.conn.initiator_depth = from->responder_resources;
		if (from->private_data_len)
			memcpy(e->data, from->private_data, from->private_data_len);
		e->ibv.param.conn.private_data = e->data;
	}
	*channel->last = e;
	channel->last = &e->next;
	pthread_cond_broadcast(&fake_changed);
	return e;
}

int rdma_get_cm_event(struct rdma_event_channel *ibv, struct rdma_cm_event **event)
{
	struct channel *channel = (struct channel *)ibv;
	pthread_mutex_lock(&fake_lock);
	while (!channel->first)
		pthread_cond_wait(&fake_changed, &fake_lock);
	struct event *e = channel->first;
	channel->first = e->next;
	if (!channel->first)
		channel->last = &channel->first;
	e->owner->events++;
	*event = &e->ibv;
	pthread_mutex_unlock(&fake_lock);
	return 0;
}

int rdma_ack_cm_event(struct rdma_cm_event *event)
{
	pthread_mutex_lock(&fake_lock);
	((struct event *)event)->owner->events--;
	free(event);
	pthread_cond_broadcast(&fake_changed);
	pthread_mutex_unlock(&fake_lock);
	return 0;
}

/* ---- Ids ---- */

static int failed(int error)
{
	errno = error;
	return error ? -1 : 0;
}

static struct id *new_id(struct rdma_event_channel *channel, void *context)
{
	struct id *id = calloc(1, sizeof *id);
	id->ibv.channel = channel;
	id->ibv.context = context;
	id->next = ids;
	ids = id;
	fake_live[FAKE_ID]++;
	return id;
}

int rdma_create_id(struct rdma_event_channel *channel, struct rdma_cm_id **id, void *context,
		   enum rdma_port_space space)
{
	(void)space;
	pthread_mutex_lock(&fake_lock);
	bool fails = fake_fails("rdma_create_id");
	if (!fails)
		*id = &new_id(channel, context)->ibv;
	pthread_mutex_unlock(&fake_lock);
	return fails ? -1 : 0;
}

/* The other end hears of the end of this one. */
static void leave(struct id *id)
{
	struct id *peer = id->peer;
	if (!peer)
		return;
	switch (peer->state) {
	case ASKING:
	case ASKED:
	case ACCEPTING:
	case ACCEPTED:
		tell(peer, RDMA_CM_EVENT_REJECTED, 4, NULL);
		peer->state = OVER;
		break;
	case CONNECTED:
		if (!id->left)
			tell(peer, RDMA_CM_EVENT_DISCONNECTED, 0, NULL);
		break;
	default:
		break;
	}
	peer->peer = NULL;
}

/* The lock is held; given up meanwhile. */
static void destroy(struct id *id)
{
	struct channel *channel = (struct channel *)id->ibv.channel;
	struct event **event = &channel->first, *e;
	struct id *unseen = NULL, **link = &ids;
	while ((e = *event)) {
		if (e->owner != id) {
			event = &e->next;
			continue;
		}
		*event = e->next;
		if (!e->next)
			channel->last = event;
		if (&id->ibv != e->ibv.id) { /* a request that nobody has heard of */
			unseen = (struct id *)e->ibv.id;
			free(e);
			destroy(unseen);
			event = &channel->first;
			continue;
		}
		free(e);
	}
	leave(id);
	id->state = OVER;
	while (id->events)
		pthread_cond_wait(&fake_changed, &fake_lock);
	while (*link != id)
		link = &(*link)->next;
	*link = id->next;
	for (struct id *other = ids; other; other = other->next)
		if (other->peer == id)
			other->peer = NULL;
	fake_live[FAKE_ID]--;
	free(id);
}

int rdma_destroy_id(struct rdma_cm_id *id)
{
	pthread_mutex_lock(&fake_lock);
	destroy((struct id *)id);
	pthread_mutex_unlock(&fake_lock);
	return 0;
}

/* ---- Addresses ---- */

static bool same(const struct sockaddr_storage *a, const struct sockaddr_storage *b, bool port)
{
	const struct sockaddr_in *a4 = (const void *)a, *b4 = (const void *)b;
	const struct sockaddr_in6 *a6 = (const void *)a, *b6 = (const void *)b;
	if (a->ss_family != b->ss_family || (port && a4->sin_port != b4->sin_port))
		return false;
	return a->ss_family == AF_INET ? a4->sin_addr.s_addr == b4->sin_addr.s_addr
				       : !memcmp(&a6->sin6_addr, &b6->sin6_addr, 16);
}

static bool is_any(const struct sockaddr_storage *a)
{
	static const struct in6_addr any;
	return a->ss_family == AF_INET
		       ? !((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr
		       : !memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, &any,
				 sizeof any);
}

/* The device that has the address: its last byte is 1 or 2. 0: none. */
static struct ibv_context *device_of(const struct sockaddr_storage *a)
{
	const uint8_t *bytes =
		a->ss_family == AF_INET
			? (const uint8_t *)&((const struct sockaddr_in *)(const void *)a)->sin_addr
			: ((const struct sockaddr_in6 *)(const void *)a)->sin6_addr.s6_addr + 12;
	if (bytes[3] < 1 || bytes[3] > FAKE_DEVICES)
		return NULL;
	struct ibv_context *context = &contexts[bytes[3] - 1];
	if (!context->device) /* who was told of it reads it without the lock */
		context->device = fake_devices[bytes[3] - 1];
	return context;
}

static void copy_address(struct sockaddr_storage *to, const struct sockaddr *from)
{
	memset(to, 0, sizeof *to);
	memcpy(to, from,
	       from->sa_family == AF_INET ? sizeof(struct sockaddr_in)
					  : sizeof(struct sockaddr_in6));
}

int rdma_bind_addr(struct rdma_cm_id *ibv, struct sockaddr *address)
{
	struct id *id = (struct id *)ibv;
	struct sockaddr_storage wanted;
	copy_address(&wanted, address);
	pthread_mutex_lock(&fake_lock);
	int error = fake_fails("rdma_bind_addr") ? errno : 0;
	if (!error && !is_any(&wanted) && !device_of(&wanted))
		error = EADDRNOTAVAIL;
	for (struct id *other = ids; other && !error; other = other->next) {
		const struct sockaddr_storage *theirs = &other->ibv.route.addr.src_storage;
		const struct sockaddr_in *a = (const void *)theirs, *b = (const void *)&wanted;
		if (other != id && other->bound && a->sin_port == b->sin_port &&
		    theirs->ss_family == wanted.ss_family && !(other->shared && id->shared) &&
		    (is_any(theirs) || is_any(&wanted) || same(theirs, &wanted, true)))
			error = EADDRINUSE;
	}
	if (!error) {
		ibv->route.addr.src_storage = wanted;
		ibv->verbs = is_any(&wanted) ? NULL : device_of(&wanted);
		id->bound = true;
	}
	pthread_mutex_unlock(&fake_lock);
	return failed(error);
}

int rdma_set_option(struct rdma_cm_id *id, int level, int option, void *value, size_t size)
{
	(void)level;
	(void)option;
	(void)size;
	((struct id *)id)->shared = *(int *)value;
	return 0;
}

int rdma_resolve_addr(struct rdma_cm_id *ibv, struct sockaddr *source, struct sockaddr *target,
		      int timeout_ms)
{
	(void)source;
	(void)timeout_ms;
	struct id *id = (struct id *)ibv;
	pthread_mutex_lock(&fake_lock);
	int error = fake_fails("rdma_resolve_addr") ? errno : 0;
	copy_address(&ibv->route.addr.dst_storage, target);
	struct ibv_context *there = device_of(&ibv->route.addr.dst_storage);
	if (!error && there && is_any(&ibv->route.addr.src_storage)) {
		in_port_t port =
			((struct sockaddr_in *)(void *)&ibv->route.addr.src_storage)->sin_port;
		ibv->route.addr.src_storage = ibv->route.addr.dst_storage;
		((struct sockaddr_in *)(void *)&ibv->route.addr.src_storage)->sin_port = port;
		ibv->verbs = there;
	}
	if (!error && there)
		tell(id, RDMA_CM_EVENT_ADDR_RESOLVED, 0, NULL);
	else if (!error)
		tell(id, RDMA_CM_EVENT_ADDR_ERROR, -ENETUNREACH, NULL);
	pthread_mutex_unlock(&fake_lock);
	return failed(error);
}

int rdma_resolve_route(struct rdma_cm_id *id, int timeout_ms)
{
	(void)timeout_ms;
	pthread_mutex_lock(&fake_lock);
	int error = fake_fails("rdma_resolve_route") ? errno : 0;
	if (!error)
		tell((struct id *)id, RDMA_CM_EVENT_ROUTE_RESOLVED, 0, NULL);
	pthread_mutex_unlock(&fake_lock);
	return failed(error);
}

/* ---- The handshake ---- */

int rdma_init_qp_attr(struct rdma_cm_id *id, struct ibv_qp_attr *attributes, int *mask)
{
	*mask = IBV_QP_STATE;
	attributes->dest_qp_num = ((struct id *)id)->peer_qp;
	if (attributes->qp_state == IBV_QPS_INIT)
		*mask |= IBV_QP_ACCESS_FLAGS;
	else if (attributes->qp_state == IBV_QPS_RTR)
		*mask |= IBV_QP_DEST_QPN | IBV_QP_MAX_DEST_RD_ATOMIC;
	else
		*mask |= IBV_QP_MAX_QP_RD_ATOMIC | IBV_QP_RNR_RETRY;
	return fake_fails("rdma_init_qp_attr") ? -1 : 0;
}

int rdma_listen(struct rdma_cm_id *id, int backlog)
{
	(void)backlog;
	pthread_mutex_lock(&fake_lock);
	int error = fake_fails("rdma_listen") ? errno : 0;
	if (!error)
		((struct id *)id)->state = LISTENING;
	pthread_mutex_unlock(&fake_lock);
	return failed(error);
}

static struct id *listener_of(const struct sockaddr_storage *target)
{
	for (struct id *id = ids; id; id = id->next) {
		const struct sockaddr_storage *own = &id->ibv.route.addr.src_storage;
		if (id->state == LISTENING && own->ss_family == target->ss_family &&
		    ((const struct sockaddr_in *)(const void *)own)->sin_port ==
			    ((const struct sockaddr_in *)(const void *)target)->sin_port &&
		    (is_any(own) || same(own, target, true)))
			return id;
	}
	return NULL;
}

int rdma_connect(struct rdma_cm_id *ibv, struct rdma_conn_param *parameters)
{
	struct id *id = (struct id *)ibv;
	pthread_mutex_lock(&fake_lock);
	int error = fake_fails("rdma_connect") ? errno : 0;
	struct id *listener = error ? NULL : listener_of(&ibv->route.addr.dst_storage);
	if (listener) {
		struct id *incoming = new_id(listener->ibv.channel, NULL);
		struct rdma_conn_param padded = *parameters;
		char data[56] = {0};
		if (parameters->private_data_len)
			memcpy(data, parameters->private_data, parameters->private_data_len);
		padded.private_data = data;
		padded.private_data_len = sizeof data;
		incoming->ibv.verbs = device_of(&ibv->route.addr.dst_storage);
		incoming->ibv.route.addr.src_storage = ibv->route.addr.dst_storage;
		incoming->ibv.route.addr.dst_storage = ibv->route.addr.src_storage;
		incoming->state = ASKED;
		incoming->peer = id;
		incoming->peer_qp = parameters->qp_num;
		id->state = ASKING;
		id->peer = incoming;
		id->qp = parameters->qp_num;
		struct event *e = tell(incoming, RDMA_CM_EVENT_CONNECT_REQUEST, 0, &padded);
		e->ibv.listen_id = &listener->ibv;
		e->owner = listener;
	} else if (!error) {
		tell(id, RDMA_CM_EVENT_REJECTED, 8, NULL);
	}
	pthread_mutex_unlock(&fake_lock);
	return failed(error);
}

int rdma_accept(struct rdma_cm_id *ibv, struct rdma_conn_param *parameters)
{
	struct id *id = (struct id *)ibv;
	pthread_mutex_lock(&fake_lock);
	int error = fake_fails("rdma_accept") ? errno : id->state != ASKED ? EINVAL : 0;
	if (!error) {
		id->state = ACCEPTING;
		id->peer->state = ACCEPTED;
		id->peer->peer_qp = parameters->qp_num;
		tell(id->peer, RDMA_CM_EVENT_CONNECT_RESPONSE, 0, parameters);
	}
	pthread_mutex_unlock(&fake_lock);
	return failed(error);
}

int rdma_establish(struct rdma_cm_id *ibv)
{
	struct id *id = (struct id *)ibv;
	pthread_mutex_lock(&fake_lock);
	int error = fake_fails("rdma_establish") ? errno : id->state != ACCEPTED ? EINVAL : 0;
	if (!error) {
		id->state = id->peer->state = CONNECTED;
		if (fake_now("HASTE")) { /* it is over before anybody knows that it has begun */
			id->left = id->peer->left = true;
			tell(id, RDMA_CM_EVENT_DISCONNECTED, 0, NULL);
			tell(id->peer, RDMA_CM_EVENT_DISCONNECTED, 0, NULL);
			id->state = id->peer->state = OVER;
		} else {
			tell(id->peer, RDMA_CM_EVENT_ESTABLISHED, 0, NULL);
		}
	}
	pthread_mutex_unlock(&fake_lock);
	if (!error && id->state == OVER) { /* let that be heard first */
		struct timespec at = {.tv_nsec = 20000000};
		nanosleep(&at, NULL);
	}
	return failed(error);
}

int rdma_reject(struct rdma_cm_id *ibv, const void *data, uint8_t size)
{
	struct id *id = (struct id *)ibv;
	pthread_mutex_lock(&fake_lock);
	struct id *peer = id->peer;
	int error = peer ? 0 : EINVAL;
	if (peer) {
		struct rdma_conn_param parameters = {.private_data = data,
						     .private_data_len = size};
		tell(peer, RDMA_CM_EVENT_REJECTED, 28, &parameters);
		peer->state = id->state = OVER;
		peer->peer = id->peer = NULL;
	}
	pthread_mutex_unlock(&fake_lock);
	return failed(error);
}

/* The first one asks, the second one agrees: then the first one hears of it, too. */
int rdma_disconnect(struct rdma_cm_id *ibv)
{
	struct id *id = (struct id *)ibv;
	pthread_mutex_lock(&fake_lock);
	int error = id->state == CONNECTED || id->state == OVER ? 0 : EINVAL;
	if (!error && id->state == CONNECTED && !id->left) {
		id->left = true;
		if (id->peer) {
			tell(id->peer, RDMA_CM_EVENT_DISCONNECTED, 0, NULL);
			if (id->peer->left)
				id->state = id->peer->state = OVER;
		} else {
			tell(id, RDMA_CM_EVENT_DISCONNECTED, 0, NULL);
		}
	}
	pthread_mutex_unlock(&fake_lock);
	return failed(error);
}
