/* SPDX-License-Identifier: MIT */
/*
 * verbs_listen.c: what has a local address: ids of rdma_cm, listeners, shared endpoints.
 *
 * Contexts: operations on a baton; jobs on the control thread, which alone creates and destroys
 * ids; done() in verbs_service. No locks.
 */
#include <netinet/in.h>
#include <string.h>
#include "port/linux/verbs_connect.h"

#define BACKLOG    64
#define FIRST_PORT 49152
#define PORTS      16384

/* ---- Addresses ---- */

void verbs_address_in(const struct ndk_address *from, struct sockaddr_storage *to)
{
	memset(to, 0, sizeof *to);
	if (from->family == 2) {
		struct sockaddr_in *a = (struct sockaddr_in *)to;
		a->sin_family = AF_INET;
		a->sin_port = htons(from->port);
		memcpy(&a->sin_addr, from->bytes, 4);
		return;
	}
	struct sockaddr_in6 *a = (struct sockaddr_in6 *)to;
	a->sin6_family = AF_INET6;
	a->sin6_port = htons(from->port);
	a->sin6_scope_id = from->scope;
	memcpy(&a->sin6_addr, from->bytes, 16);
}

void verbs_address_out(const struct sockaddr *from, struct ndk_address *to)
{
	memset(to, 0, sizeof *to);
	if (from->sa_family == AF_INET) {
		const struct sockaddr_in *a = (const struct sockaddr_in *)(const void *)from;
		to->family = 2;
		to->port = ntohs(a->sin_port);
		memcpy(to->bytes, &a->sin_addr, 4);
	} else if (from->sa_family == AF_INET6) {
		const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)(const void *)from;
		to->family = 23;
		to->port = ntohs(a->sin6_port);
		to->scope = a->sin6_scope_id;
		memcpy(to->bytes, &a->sin6_addr, 16);
	}
}

/* What an unspecified source stands for (DEF-105): an address of the adapter, not what the host's
 * routes would choose; one that has the peer in its network, if there is one. */
void verbs_address_own(const struct ndk_device *device, const struct ndk_address *remote,
		       struct ndk_address *local)
{
	const struct ndk_device_address *own = NULL;
	if (!ndk_address_is_any(local))
		return;
	for (uint32_t i = 0; i < device->address_count; i++) {
		const struct ndk_device_address *each = &device->addresses[i];
		if (each->family != local->family || (own && ndk_address_in_network(own, remote)))
			continue;
		if (!own || ndk_address_in_network(each, remote))
			own = each;
	}
	if (own)
		memcpy(local->bytes, own->bytes, sizeof local->bytes);
}

/* Bind to a port of the dynamic range (NDK-135), from one to the next in turn. */
static int bind_anywhere(struct rdma_cm_id *id, struct ndk_address address)
{
	static uint32_t next;
	struct sockaddr_storage local;
	if (!next)
		next = (uint32_t)getpid() * 2654435761u >> 8;
	for (uint32_t i = 0; i < PORTS; i++) {
		address.port = (uint16_t)(FIRST_PORT + next++ % PORTS);
		verbs_address_in(&address, &local);
		if (!verbs.rdma_bind_addr(id, (struct sockaddr *)&local))
			return 0;
		if (errno != EADDRINUSE)
			return errno;
	}
	return ENOBUFS;
}

/* Whether the adapter has this address. */
static bool is_ours(const struct ndk_device *device, const struct ndk_address *address)
{
	size_t size = address->family == 2 ? 4 : 16;
	for (uint32_t i = 0; i < device->address_count; i++)
		if (device->addresses[i].family == address->family &&
		    !memcmp(device->addresses[i].bytes, address->bytes, size))
			return true;
	return ndk_address_is_any(address);
}

static int bind_to(struct rdma_cm_id *id, const struct ndk_address *address)
{
	struct sockaddr_storage local;
	if (!address->port)
		return bind_anywhere(id, *address);
	verbs_address_in(address, &local);
	return verbs.rdma_bind_addr(id, (struct sockaddr *)&local) ? errno : 0;
}

/* A new id, bound to `address`; `shared`: others may be bound to the same port. 0 or an errno. */
int verbs_id_open(struct verbs_device *device, void *context, const struct ndk_address *address,
		  bool shared, struct rdma_cm_id **out)
{
	struct rdma_cm_id *id;
	int one = 1, error = is_ours(device->core, address) ? 0 : EADDRNOTAVAIL;
	if (verbs.rdma_create_id(device->events, &id, context, RDMA_PS_TCP))
		return errno;
	if (!error && shared &&
	    verbs.rdma_set_option(id, RDMA_OPTION_ID, RDMA_OPTION_ID_REUSEADDR, &one, sizeof one))
		error = errno;
	if (!error)
		error = bind_to(id, address);
	if (error) {
		verbs.rdma_destroy_id(id);
		return error;
	}
	*out = id;
	return 0;
}

void verbs_id_close(struct rdma_cm_id **id)
{
	if (*id)
		verbs.rdma_destroy_id(*id); /* waits until all its events are acknowledged */
	*id = NULL;
}

/* ---- Connections of shared endpoints ---- */

static struct verbs_connection *shared;

/* Connections of a shared endpoint need different destinations; rdma_cm would not mind (NDK-145).
 */
int verbs_shared_add(struct verbs_connection *c)
{
	verbs_address_out(&c->id->route.addr.src_addr, &c->local);
	for (struct verbs_connection *other = shared; other; other = other->next)
		if (ndk_address_same(&other->local, &c->local) &&
		    ndk_address_same(&other->parameters.remote, &c->parameters.remote))
			return EISCONN;
	c->next = shared;
	shared = c;
	c->listed = true;
	return 0;
}

void verbs_shared_remove(struct verbs_connection *c)
{
	struct verbs_connection **link = &shared;
	if (!c->listed)
		return;
	while (*link != c)
		link = &(*link)->next;
	*link = c->next;
	c->listed = false;
}

/* ---- Listeners and shared endpoints ---- */

static void listen_run(struct verbs_job *job)
{
	struct verbs_listener *l = (struct verbs_listener *)job;
	int error = verbs_id_open(l->device, l, &l->address, false, &l->id);
	if (!error && verbs.rdma_listen(l->id, BACKLOG)) {
		error = errno;
		verbs_id_close(&l->id);
	}
	if (!error)
		verbs_address_out(&l->id->route.addr.src_addr, &l->address);
	verbs_finish(job, verbs_status(error));
}

static void listen_done(struct verbs_job *job)
{
	struct verbs_listener *l = (struct verbs_listener *)job;
	ndk_listener_bound(l->object, job->status, &l->address);
}

#define LISTENER(job, member)                                                                      \
	((struct verbs_listener *)((char *)(job)-offsetof(struct verbs_listener, member)))

/* Nobody is listened to any more; but the address stays in use while there are connectors that came
 * by it, whose ids do not hold it (NDK-144): an id that only has the address does. */
static void listen_stop(struct verbs_job *job)
{
	struct verbs_listener *l = LISTENER(job, end);
	bool listened = l->id;
	verbs_id_close(&l->id);
	if (listened)
		verbs_id_open(l->device, l, &l->address, false, &l->id);
	verbs_finish(job, NDK_SUCCESS);
}

/* The last connector is closed. */
static void let_address_go(struct verbs_job *job)
{
	verbs_id_close(&LISTENER(job, last)->id);
	verbs_finish(job, NDK_SUCCESS);
}

int verbs_listen(struct ndk_listener *listener, struct ndk_address *local)
{
	struct verbs_listener *l = ndk_private(listener);
	l->object = listener;
	l->device = verbs_device_of(listener);
	l->address = *local;
	l->started = true;
	l->start.run = listen_run;
	l->start.done = listen_done;
	verbs_submit(&verbs_control, &l->start);
	return NDK_PENDING;
}

static void listen_ended(struct verbs_job *job)
{
	ndk_listener_ended(LISTENER(job, end)->object);
}

int verbs_listen_end(struct ndk_listener *listener)
{
	struct verbs_listener *l = ndk_private(listener);
	if (!l->started)
		return NDK_SUCCESS;
	l->end.run = listen_stop;
	l->end.done = listen_ended;
	verbs_submit(&verbs_control, &l->end);
	return NDK_PENDING;
}

static void endpoint_run(struct verbs_job *job)
{
	struct verbs_listener *l = (struct verbs_listener *)job;
	int one = 1, error = verbs_id_open(l->device, l, &l->address, false, &l->id);
	if (!error) /* nobody else has the address; from now on its connectors may share it */
		error = verbs.rdma_set_option(l->id, RDMA_OPTION_ID, RDMA_OPTION_ID_REUSEADDR, &one,
					      sizeof one)
				? errno
				: 0;
	if (error)
		verbs_id_close(&l->id);
	else
		verbs_address_out(&l->id->route.addr.src_addr, &l->address);
	verbs_finish(job, verbs_status(error));
}

static void endpoint_done(struct verbs_job *job)
{
	struct verbs_listener *l = (struct verbs_listener *)job;
	if (job->status == NDK_SUCCESS)
		ndk_endpoint_bound(l->object, &l->address);
	ndk_created(l->object, job->status);
}

int verbs_endpoint_create(void *object, const struct ndk_endpoint_parameters *parameters)
{
	struct verbs_listener *l = ndk_private(object);
	l->object = object;
	l->device = verbs_device_of(object);
	l->address = parameters->address;
	l->started = true;
	l->start.run = endpoint_run;
	l->start.done = endpoint_done;
	verbs_submit(&verbs_control, &l->start);
	return NDK_PENDING;
}

static void address_gone(struct verbs_job *job)
{
	ndk_destroyed(LISTENER(job, last)->object);
}

int verbs_address_destroy(void *object)
{
	struct verbs_listener *l = ndk_private(object);
	if (!l->started)
		return NDK_SUCCESS;
	l->last.run = let_address_go;
	l->last.done = address_gone;
	verbs_submit(&verbs_control, &l->last);
	return NDK_PENDING;
}
