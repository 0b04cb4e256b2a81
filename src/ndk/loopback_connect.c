/* SPDX-License-Identifier: MIT */
/*
 * loopback_connect.c: connections inside the machine.
 *
 * A link joins two connectors, and when both agreed their QPs. It is OFFERED by connect, ACCEPTED
 * by accept, CONNECTED by complete_connect, and ENDED by whatever comes first: reject, disconnect,
 * abort, a fault, the timer. Each step moves the state under link->lock, takes references to whom
 * it concerns, and reports to them after the lock is released. Who comes late is told `ended`.
 *
 * Contexts and locks: IRQL <= DISPATCH_LEVEL. link->lock protects the state and the pointers;
 * `links_lock` the list of all links; never both (order: internal.h). A link has a reference for
 * each connector, each QP, and the timer. A connector or QP that a link names has not ended: its
 * abort or flush takes it out first.
 *
 * Implements NDK-71..74c, 135..147; DEF-103..106, DEF-109, DEF-111, DEF-114, DEF-117.
 *
 * Chosen: a handshake may take 30 s, each side then gets STATUS_IO_TIMEOUT.
 */
#include "ndk/loopback.h"
#include "rtl/rtl.h"

uint32_t ndk_handshake_ms = 30000;

static struct ke_lock links_lock;
static LIST_ENTRY links = {&links, &links};

/* ---- Links ---- */

void loopback_link_put(struct loopback_link *link)
{
	if (atomic_fetch_sub(&link->references, 1) != 1)
		return;
	KIRQL old = ke_lock_raise(&links_lock);
	RemoveEntryList(&link->entry);
	ke_lock_lower(&links_lock, old);
	ex_free(link);
}

static void link_get(struct loopback_link *link)
{
	atomic_fetch_add(&link->references, 1);
}

struct ndk_qp *loopback_link_peer(struct loopback_link *link, unsigned side)
{
	KIRQL old = ke_lock_raise(&link->lock);
	struct ndk_qp *qp = link->qp[!side];
	if (qp && !ndk_busy_try(&qp->object))
		qp = NULL;
	if (qp) /* under the lock: when the link has ended no visit begins */
		atomic_fetch_add(&loopback_of(qp)->visits, 1);
	ke_lock_lower(&link->lock, old);
	return qp;
}

void loopback_link_leave(struct ndk_qp *peer)
{
	if (atomic_fetch_sub(&loopback_of(peer)->visits, 1) == 1)
		loopback_drained(loopback_of(peer));
	ndk_busy_put(&peer->object);
}

/* The lock is held: who ends it tells them, each with a busy reference. */
struct ends {
	struct ndk_connector *connector[2];
	struct ndk_qp *qp[2];
};

static struct ends end_link(struct loopback_link *link, NTSTATUS ended)
{
	struct ends ends = {0};
	link->state = LOOPBACK_ENDED;
	link->ended = ended;
	for (unsigned side = 0; side < 2; side++) {
		struct ndk_connector *connector = link->connector[side];
		struct ndk_qp *qp = link->qp[side];
		if (connector && ndk_busy_try(&connector->object))
			ends.connector[side] = connector;
		if (qp && ndk_busy_try(&qp->object))
			ends.qp[side] = qp;
		link->qp[side] = NULL;
	}
	return ends;
}

static void put_ends(const struct ends *ends)
{
	for (unsigned side = 0; side < 2; side++) {
		if (ends->qp[side])
			ndk_busy_put(&ends->qp[side]->object);
		if (ends->connector[side])
			ndk_busy_put(&ends->connector[side]->object);
	}
}

static void stop_timer(struct loopback_link *link)
{
	if (KeCancelTimer(&link->timer))
		loopback_link_put(link);
}

/* The port is free when nothing comes of a connect. */
static void unbind(struct ndk_connector *connector)
{
	struct loopback_connector *self = ndk_private(connector);
	struct loopback_port *port = atomic_exchange(&self->port, NULL);
	if (port)
		loopback_port_put(port);
}

static void fail(struct ndk_connector *connector, NTSTATUS status, const struct ndk_offer *offer)
{
	if (!connector)
		return;
	if (!connector->passive)
		unbind(connector);
	ndk_connector_failed(connector, status, offer);
}

static VOID NTAPI on_timer(PKDPC dpc, PVOID context, PVOID argument1, PVOID argument2)
{
	struct loopback_link *link = context;
	struct ends ends = {0};
	(void)dpc;
	(void)argument1;
	(void)argument2;
	KIRQL old = ke_lock_raise(&link->lock);
	if (link->state < LOOPBACK_CONNECTED)
		ends = end_link(link, STATUS_IO_TIMEOUT);
	ke_lock_lower(&link->lock, old);
	fail(ends.connector[0], STATUS_IO_TIMEOUT, NULL);
	fail(ends.connector[1], STATUS_IO_TIMEOUT, NULL);
	put_ends(&ends);
	loopback_link_put(link);
}

/* ---- Connect ---- */

/* NDK-145: the same four numbers twice. Enters the link in the list of all. */
static int publish(struct loopback_link *link)
{
	int status = NDK_SUCCESS;
	KIRQL old = ke_lock_raise(&links_lock);
	for (LIST_ENTRY *e = links.Flink; e != &links; e = e->Flink) {
		struct loopback_link *other = CONTAINING_RECORD(e, struct loopback_link, entry);
		if (other->state != LOOPBACK_ENDED && ndk_address_same(&other->from, &link->from) &&
		    ndk_address_same(&other->to, &link->to))
			status = NDK_ADDRESS_ALREADY_EXISTS;
	}
	if (status == NDK_SUCCESS)
		InsertTailList(&links, &link->entry);
	ke_lock_lower(&links_lock, old);
	return status;
}

static struct loopback_link *make_link(struct ndk_connector *active, const struct ndk_address *from,
				       const struct ndk_address *to)
{
	struct loopback_link *link = ex_allocate(sizeof *link, NDK_TAG, NonPagedPoolNx);
	if (!link)
		return NULL;
	atomic_init(&link->references, 1);
	link->connector[0] = active;
	link->from = *from;
	link->to = *to;
	KeInitializeTimer(&link->timer);
	KeInitializeDpc(&link->timer_dpc, on_timer, link);
	return link;
}

static void start_timer(struct loopback_link *link)
{
	LARGE_INTEGER due = {.QuadPart = -10000LL * ndk_handshake_ms};
	link_get(link);
	KeSetTimer(&link->timer, due, &link->timer_dpc);
}

static int bind_local(struct ndk_connector *connector, const struct ndk_connect_parameters *p,
		      struct ndk_address *local)
{
	struct loopback_connector *self = ndk_private(connector);
	struct loopback_port *port = NULL;
	*local = p->local;
	if (p->endpoint) {
		port = ((struct loopback_listener *)ndk_private(p->endpoint))->port;
		loopback_port_get(port);
	} else {
		const struct ndk_device *device = connector->object.adapter->device;
		int status = loopback_address_own(device, local);
		if (status == NDK_SUCCESS)
			status = loopback_port_open(device, local, &port);
		if (status != NDK_SUCCESS)
			return status;
	}
	atomic_store(&self->port, port);
	return NDK_SUCCESS;
}

/* The listener's half: the connector that its consumer is told of. Takes over `port`. */
static int offer_to(struct ndk_listener *listener, struct loopback_port *port,
		    struct loopback_link *link, const struct ndk_address *local,
		    const struct ndk_offer *offer)
{
	struct ndk_connector *passive = ndk_connector_incoming(listener, &link->to, local, offer);
	if (!passive) {
		loopback_port_put(port);
		return NDK_CONNECTION_REFUSED;
	}
	struct loopback_connector *other = ndk_private(passive);
	link_get(link);
	other->link = link;
	other->side = 1;
	atomic_store(&other->port, port);
	link->connector[1] = passive;
	start_timer(link);
	ndk_connector_announce(passive);
	return NDK_PENDING;
}

static int connect_link(struct ndk_connector *connector, const struct ndk_address *local,
			const struct ndk_connect_parameters *p)
{
	struct loopback_connector *self = ndk_private(connector);
	struct loopback_port *port = NULL;
	struct ndk_listener *listener = loopback_port_find(&p->remote, &port);
	if (!listener)
		return NDK_CONNECTION_REFUSED;
	int status = NDK_INSUFFICIENT_RESOURCES;
	struct loopback_link *link = make_link(connector, local, &p->remote);
	if (link) {
		status = publish(link);
		if (status == NDK_SUCCESS) {
			if (self->link) /* of a connect that failed */
				loopback_link_put(self->link);
			self->link = link;
			status = offer_to(listener, port, link, local, &p->offer);
			port = NULL;
			if (status != NDK_PENDING) {
				self->link = NULL;
				loopback_link_put(link);
			}
		} else {
			ex_free(link);
		}
	}
	if (port)
		loopback_port_put(port);
	ndk_busy_put(&listener->object);
	return status;
}

static int op_connect(struct ndk_connector *connector, const struct ndk_connect_parameters *p)
{
	struct ndk_address local;
	int status = bind_local(connector, p, &local);
	if (status != NDK_SUCCESS)
		return status;
	ndk_connector_bound(connector, &local);
	status = loopback_route(connector->object.adapter->device, &p->remote);
	if (status == NDK_SUCCESS)
		status = connect_link(connector, &local, p);
	if (status != NDK_PENDING)
		unbind(connector);
	return status;
}

/* ---- The handshake ---- */

static int op_accept(struct ndk_connector *connector, struct ndk_qp *qp,
		     const struct ndk_offer *offer)
{
	struct loopback_connector *self = ndk_private(connector);
	struct loopback_link *link = self->link;
	struct ndk_connector *active = NULL;
	KIRQL old = ke_lock_raise(&link->lock);
	int status = link->state == LOOPBACK_ENDED ? link->ended : NDK_PENDING;
	if (link->state == LOOPBACK_OFFERED && ndk_busy_try(&link->connector[0]->object)) {
		active = link->connector[0];
		link->state = LOOPBACK_ACCEPTED;
		link->qp[1] = qp;
	}
	ke_lock_lower(&link->lock, old);
	if (active) {
		ndk_connector_accepted(active, offer);
		ndk_busy_put(&active->object);
	}
	return status;
}

/* The lock is held: the QPs are each other's from now on, before either may post. `before`: links
 * that they let go, of handshakes that came to nothing at the last moment, or 0. True: one is dead
 * (who makes it so looks for its link afterwards: one of the two sees the other). */
static bool attach(struct loopback_link *link, struct loopback_link *before[2])
{
	bool dead = false;
	for (unsigned side = 0; side < 2; side++) {
		struct loopback_qp *qp = loopback_of(link->qp[side]);
		qp->side = side;
		link_get(link);
		before[side] = atomic_exchange(&qp->link, link);
		dead |= atomic_load(&qp->qp->state) == NDK_QP_DEAD;
	}
	return dead;
}

static int op_complete_connect(struct ndk_connector *connector)
{
	struct loopback_connector *self = ndk_private(connector);
	struct loopback_link *link = self->link, *before[2] = {NULL, NULL};
	struct ndk_connector *passive = NULL;
	bool dead = false;
	KIRQL old = ke_lock_raise(&link->lock);
	int status = link->state == LOOPBACK_ENDED ? link->ended : NDK_PENDING;
	if (link->state == LOOPBACK_ACCEPTED && ndk_busy_try(&link->connector[1]->object)) {
		passive = link->connector[1];
		link->state = LOOPBACK_CONNECTED;
		link->qp[0] = connector->qp;
		dead = attach(link, before);
	}
	ke_lock_lower(&link->lock, old);
	for (unsigned side = 0; side < 2; side++) {
		if (before[side])
			loopback_link_put(before[side]);
	}
	if (passive) {
		stop_timer(link);
		ndk_connector_established(passive);
		ndk_connector_established(connector);
		ndk_busy_put(&passive->object);
	}
	if (dead)
		loopback_link_break(link);
	return status;
}

static int op_reject(struct ndk_connector *connector, const struct ndk_offer *offer)
{
	struct loopback_connector *self = ndk_private(connector);
	struct loopback_link *link = self->link;
	struct ends ends = {0};
	KIRQL old = ke_lock_raise(&link->lock);
	int status = link->state == LOOPBACK_ENDED ? link->ended : NDK_SUCCESS;
	if (status == NDK_SUCCESS)
		ends = end_link(link, STATUS_CONNECTION_ABORTED);
	ke_lock_lower(&link->lock, old);
	if (status == NDK_SUCCESS) {
		stop_timer(link);
		fail(ends.connector[!self->side],
		     self->side ? STATUS_CONNECTION_REFUSED : STATUS_CONNECTION_ABORTED, offer);
		if (!connector->passive)
			unbind(connector);
	}
	put_ends(&ends);
	return status;
}

/* ---- The end ---- */

/* This side leaves a connection. False: it was over. */
static bool leave(struct loopback_link *link, unsigned side, bool graceful)
{
	struct ends ends = {0};
	KIRQL old = ke_lock_raise(&link->lock);
	bool connected = link->state == LOOPBACK_CONNECTED;
	if (connected) {
		atomic_store(&link->stop[!side], true);
		atomic_store(&link->stop[side], !graceful);
		ends = end_link(link, STATUS_CONNECTION_ABORTED);
	}
	ke_lock_lower(&link->lock, old);
	if (ends.connector[!side])
		ndk_connector_peer_gone(ends.connector[!side], 0);
	put_ends(&ends);
	return connected;
}

static int op_disconnect(struct ndk_connector *connector)
{
	struct loopback_connector *self = ndk_private(connector);
	leave(self->link, self->side, true);
	return loopback_drain(loopback_of(connector->qp), connector, false) ? NDK_SUCCESS
									    : NDK_PENDING;
}

/* Before the connection: the other side is told that nothing comes of it. */
static void give_up(struct loopback_link *link, unsigned side)
{
	struct ends ends = {0};
	KIRQL old = ke_lock_raise(&link->lock);
	enum loopback_link_state state = link->state;
	if (state < LOOPBACK_CONNECTED)
		ends = end_link(link, STATUS_CONNECTION_ABORTED);
	ke_lock_lower(&link->lock, old);
	if (state >= LOOPBACK_CONNECTED)
		return;
	stop_timer(link);
	fail(ends.connector[!side],
	     side && state == LOOPBACK_OFFERED ? STATUS_CONNECTION_REFUSED
					       : STATUS_CONNECTION_ABORTED,
	     NULL);
	put_ends(&ends);
}

static int op_abort(struct ndk_connector *connector)
{
	struct loopback_connector *self = ndk_private(connector);
	struct loopback_link *link = self->link;
	if (link) {
		give_up(link, self->side);
		leave(link, self->side, false);
		KIRQL old = ke_lock_raise(&link->lock);
		link->connector[self->side] = NULL;
		ke_lock_lower(&link->lock, old);
	}
	if (connector->qp && !loopback_drain(loopback_of(connector->qp), connector, true))
		return NDK_PENDING;
	return NDK_SUCCESS;
}

void loopback_link_break(struct loopback_link *link)
{
	struct ends ends = {0};
	KIRQL old = ke_lock_raise(&link->lock);
	if (link->state == LOOPBACK_CONNECTED) {
		atomic_store(&link->stop[0], true);
		atomic_store(&link->stop[1], true);
		ends = end_link(link, STATUS_CONNECTION_ABORTED);
	}
	ke_lock_lower(&link->lock, old);
	for (unsigned side = 0; side < 2; side++) {
		if (!ends.qp[side])
			continue;
		ndk_qp_broken(ends.qp[side], 0);
		loopback_flush(ends.qp[side]);
	}
	put_ends(&ends);
}

void loopback_connector_destroy(struct ndk_connector *connector)
{
	struct loopback_connector *self = ndk_private(connector);
	unbind(connector);
	if (self->link)
		loopback_link_put(self->link);
}

const struct ndk_connection_operations loopback_connection = {
	.listen = loopback_listen,
	.listen_end = loopback_listen_end,
	.connect = op_connect,
	.complete_connect = op_complete_connect,
	.accept = op_accept,
	.reject = op_reject,
	.disconnect = op_disconnect,
	.abort = op_abort,
};
