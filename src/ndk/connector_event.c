/* SPDX-License-Identifier: MIT */
/*
 * connector_event.c: what a provider reports about a connector, and the consumer's events.
 *
 * Each report moves the state under connector->lock and takes the request that waits for it; the
 * request completes, or the event is queued, after the lock is released. A report that does not fit
 * the state (the consumer was faster) has no effect.
 *
 * Contexts: IRQL <= DISPATCH_LEVEL. Events hold a busy reference until the callback has returned.
 *
 * Implements NDK-74e, 82, 136..145; DEF-109, DEF-117, DEF-118.
 *
 * Chosen: the disconnect event comes once, also when the connection breaks by a fault of this end;
 * not after an own Disconnect or close has begun.
 */
#include "ndk/connection.h"
#include "rtl/rtl.h"

/* ---- Reports ---- */

/* The lock is held: the request that waits. */
static struct ndk_request *take_pending(struct ndk_connector *connector)
{
	struct ndk_request *request = connector->pending;
	connector->pending = NULL;
	return request;
}

static void take_offer(struct ndk_connector *connector, const struct ndk_offer *offer)
{
	connector->peer = *offer;
	connector->peer_offered = true;
	ndk_connector_limit(connector);
}

void ndk_connector_bound(struct ndk_connector *connector, const struct ndk_address *local)
{
	KIRQL old = ke_lock_raise(&connector->lock);
	connector->local = *local;
	ke_lock_lower(&connector->lock, old);
}

void ndk_connector_accepted(struct ndk_connector *connector, const struct ndk_offer *offer)
{
	struct ndk_request *request = NULL;
	KIRQL old = ke_lock_raise(&connector->lock);
	if (connector->state == NDK_CONNECTING) {
		connector->state = NDK_ACCEPTED;
		take_offer(connector, offer);
		request = take_pending(connector);
	}
	ke_lock_lower(&connector->lock, old);
	if (request)
		ndk_request_complete(request, STATUS_SUCCESS);
}

void ndk_connector_failed(struct ndk_connector *connector, int status,
			  const struct ndk_offer *offer)
{
	struct ndk_request *request = NULL;
	KIRQL old = ke_lock_raise(&connector->lock);
	bool connecting = connector->state == NDK_CONNECTING;
	bool fits = connecting ||
		    (connector->state > NDK_CONNECTING && connector->state <= NDK_ACCEPTING);
	if (fits) {
		connector->failure = status;
		connector->state = connecting ? NDK_IDLE : NDK_FAILED;
		if (offer)
			take_offer(connector, offer);
		request = take_pending(connector);
	}
	ke_lock_lower(&connector->lock, old);
	if (connecting)
		ndk_connector_release(connector);
	else if (fits)
		ndk_connector_release_qp(connector);
	if (request)
		ndk_request_complete(request, status);
}

/* The completion of NdkAccept or NdkCompleteConnect; only when it has returned may the disconnect
 * event come. */
static void established_run(struct ndk_delivery *delivery)
{
	struct ndk_request *request = CONTAINING_RECORD(delivery, struct ndk_request, delivery);
	struct ndk_connector *connector = (struct ndk_connector *)request->object;
	ndk_busy_get(&connector->object);
	ndk_request_run(request);
	KIRQL old = ke_lock_raise(&connector->lock);
	connector->may_tell = true;
	bool due = connector->event_due;
	ke_lock_lower(&connector->lock, old);
	if (due)
		ndk_delivery_queue(&connector->disconnect_delivery, NDK_LEVEL_ANY);
	ndk_busy_put(&connector->object);
}

void ndk_connector_established(struct ndk_connector *connector)
{
	struct ndk_request *request = NULL;
	KIRQL old = ke_lock_raise(&connector->lock);
	if (connector->state == NDK_COMPLETING || connector->state == NDK_ACCEPTING) {
		connector->state = NDK_CONNECTED;
		ndk_qp_advance(connector->qp, NDK_QP_CONNECTED);
		request = take_pending(connector);
		request->delivery.run = established_run;
	}
	ke_lock_lower(&connector->lock, old);
	if (request)
		ndk_request_complete(request, STATUS_SUCCESS);
}

void ndk_connector_peer_gone(struct ndk_connector *connector, uint32_t reason)
{
	KIRQL old = ke_lock_raise(&connector->lock);
	bool connected = connector->state == NDK_CONNECTED;
	bool tell = connected && connector->event && !ndk_closing(&connector->object);
	if (connected) {
		connector->state = NDK_PEER_GONE;
		ndk_qp_advance(connector->qp, NDK_QP_PEER_GONE);
		connector->reason = reason;
	}
	if (tell)
		ndk_busy_get(&connector->object); /* until the event has returned */
	connector->event_due |= tell;
	bool now = tell && connector->may_tell;
	ke_lock_lower(&connector->lock, old);
	if (now)
		ndk_delivery_queue(&connector->disconnect_delivery, NDK_LEVEL_ANY);
	else if (!connected)
		ndk_connector_failed(connector, STATUS_CONNECTION_ABORTED, NULL);
}

void ndk_connector_disconnected(struct ndk_connector *connector, int status)
{
	KIRQL old = ke_lock_raise(&connector->lock);
	struct ndk_request *request = connector->disconnect;
	connector->disconnect = NULL;
	connector->state = NDK_DISCONNECTED;
	ke_lock_lower(&connector->lock, old);
	if (request)
		ndk_request_complete(request, status);
}

void ndk_connector_gone(struct ndk_connector *connector)
{
	ndk_busy_put(&connector->object);
}

/* ---- Disconnect event ---- */

static void disconnect_event(struct ndk_delivery *delivery)
{
	struct ndk_connector *connector =
		CONTAINING_RECORD(delivery, struct ndk_connector, disconnect_delivery);
	/* Not when an own Disconnect was faster (NDK-142). */
	KIRQL old = ke_lock_raise(&connector->lock);
	bool tell = connector->state == NDK_PEER_GONE;
	ke_lock_lower(&connector->lock, old);
	if (tell && !ndk_closing(&connector->object)) {
		struct ndk_callout callout;
		ndk_callout_begin(&callout, connector->event, connector->event_context);
		if (connector->event_ex)
			connector->event_with_reason(connector->event_context, connector->reason);
		else
			connector->event(connector->event_context);
		ndk_callout_end(&callout);
	}
	ndk_busy_put(&connector->object);
}

/* ---- Connect event ---- */

struct ndk_connector *ndk_connector_incoming(struct ndk_listener *listener,
					     const struct ndk_address *local,
					     const struct ndk_address *remote,
					     const struct ndk_offer *offer)
{
	KIRQL old = ke_lock_raise(&listener->lock);
	bool refuse = listener->paused || ndk_closing(&listener->object) ||
		      listener->waiting >= NDK_BACKLOG || !ndk_busy_try(&listener->object);
	if (!refuse)
		listener->waiting++;
	ke_lock_lower(&listener->lock, old);
	if (refuse)
		return NULL;
	struct ndk_connector *connector =
		ndk_connector_make(&listener->object.adapter->object, listener->object.caller);
	if (!connector || !ndk_antecedent_add(connector, listener)) {
		if (connector)
			ndk_object_discard(connector);
		ndk_listener_event_done(listener);
		return NULL;
	}
	connector->passive = true;
	connector->listener = listener;
	connector->local = *local;
	connector->remote = *remote;
	connector->inbound_reads = connector->outbound_reads = UINT32_MAX;
	take_offer(connector, offer);
	connector->state = NDK_INCOMING;
	connector->object.made = true;
	return connector;
}

void ndk_connector_announce(struct ndk_connector *connector)
{
	ndk_delivery_queue(&connector->connect_delivery, NDK_LEVEL_ANY);
}

void ndk_connector_refuse(struct ndk_connector *connector)
{
	struct ndk_offer nothing = {0};
	connector->operations->reject(connector, &nothing);
	ndk_object_discard(connector);
}

/* The consumer owns the connector from now on, unless its listener closes (NDK-84). */
static void connect_event(struct ndk_delivery *delivery)
{
	struct ndk_connector *connector =
		CONTAINING_RECORD(delivery, struct ndk_connector, connect_delivery);
	struct ndk_listener *listener = connector->listener;
	if (ndk_closing(&listener->object)) {
		ndk_connector_refuse(connector);
	} else {
		struct ndk_callout callout;
		ndk_object_publish(&connector->object);
		ndk_callout_begin(&callout, listener->event, listener->event_context);
		listener->event(listener->event_context, (NDK_CONNECTOR *)connector);
		ndk_callout_end(&callout);
	}
	ndk_listener_event_done(listener);
}

void ndk_connector_events_initialize(struct ndk_connector *connector)
{
	ndk_delivery_initialize(&connector->disconnect_delivery, disconnect_event);
	ndk_delivery_initialize(&connector->connect_delivery, connect_event);
}
