/* SPDX-License-Identifier: MIT */
/*
 * connection.h: connectors, listeners and shared endpoints, as the files of the object layer see
 * them.
 *
 * Lock order: internal.h. No lock is held while a request completes.
 */
#pragma once

#include <ws2def.h>
#include <ws2ipdef.h>
#include "ndk/queue.h"

/* The operation is done at once: return the status, or call back as the policy says. */
static inline NTSTATUS ndk_request_settle(struct ndk_request *request, NTSTATUS status)
{
	enum ndk_how how = ndk_policy_how(false);
	if (how != NDK_INLINE)
		return ndk_request_end(request, how, status);
	ndk_request_discard(request);
	return status;
}

/* ---- Addresses: address.c ---- */

/* STATUS_INVALID_ADDRESS: no IPv4 or IPv6 address, or too short. */
NTSTATUS ndk_address_parse(const SOCKADDR *from, ULONG length, struct ndk_address *to);
/* NDK-70: *length gets what is needed. STATUS_SUCCESS, STATUS_BUFFER_TOO_SMALL. */
NTSTATUS ndk_address_store(const struct ndk_address *from, SOCKADDR *to, ULONG *length);

/* ---- Connector: connector.c, connector_event.c, connect.c ---- */

enum ndk_connector_state {
	NDK_IDLE,       /* also after a Connect that failed */
	NDK_CONNECTING, /* active: Connect pends */
	NDK_ACCEPTED,   /* active: Connect has succeeded */
	NDK_COMPLETING, /* active: CompleteConnect pends */
	NDK_INCOMING,   /* passive: announced */
	NDK_ACCEPTING,  /* passive: Accept pends */
	NDK_CONNECTED,
	NDK_PEER_GONE,     /* the disconnect event is due or was called */
	NDK_DISCONNECTING, /* Disconnect pends */
	NDK_DISCONNECTED,
	NDK_FAILED, /* it came to no connection: `failure` says what calls return */
	NDK_CONNECTOR_STATES,
};

enum ndk_connector_call {
	NDK_CALL_CONNECT,
	NDK_CALL_COMPLETE,
	NDK_CALL_ACCEPT,
	NDK_CALL_REJECT,
	NDK_CALL_DATA,
	NDK_CALL_LOCAL,
	NDK_CALL_PEER,
	NDK_CALL_DISCONNECT,
	NDK_CONNECTOR_CALLS,
};

struct ndk_connector {
	struct ndk_object object;
	const struct ndk_connection_operations *operations;
	struct ke_lock lock; /* all below */
	enum ndk_connector_state state;
	NTSTATUS failure;
	bool passive;
	struct ndk_qp *qp;
	struct ndk_listener *listener; /* passive */
	struct ndk_endpoint *endpoint; /* active, from a shared one */
	struct ndk_request *pending;   /* Connect, CompleteConnect or Accept */
	struct ndk_request *disconnect;
	struct ndk_address local, remote;
	struct ndk_offer peer; /* what came with its connect, accept or reject */
	bool peer_offered;
	uint32_t inbound_reads, outbound_reads; /* own, then effective (NDK-139) */
	bool event_ex;
	bool event_due, may_tell; /* may_tell: the completion of the handshake has returned */
	union {
		NDK_FN_DISCONNECT_EVENT_CALLBACK *event;
		NDK_FN_DISCONNECT_EVENT_EX_CALLBACK *event_with_reason;
	};
	PVOID event_context;
	uint32_t reason;
	struct ndk_delivery connect_delivery, disconnect_delivery;
};

extern const NDK_CONNECTOR_DISPATCH ndk_connector_dispatch;

/* connector.c. The lock is held: STATUS_SUCCESS when the table allows the call. */
NTSTATUS ndk_connector_check(const struct ndk_connector *connector, enum ndk_connector_call call);
struct ndk_connector *ndk_connector_make(struct ndk_object *adapter, uint64_t caller);
/* The lock is held: own limits and the peer's opposite ones make the effective ones (NDK-139). */
void ndk_connector_limit(struct ndk_connector *connector);
/* The QP belongs to the connector from now on. STATUS_INVALID_PARAMETER,
 * STATUS_INVALID_DEVICE_STATE (used already), STATUS_INSUFFICIENT_RESOURCES. */
NTSTATUS ndk_connector_take_qp(struct ndk_connector *connector, struct ndk_qp *qp);
/* No connection came of it: the QP may be used by another connector. */
void ndk_connector_release_qp(struct ndk_connector *connector);
/* A Connect failed: nor is the shared endpoint kept any longer. */
void ndk_connector_release(struct ndk_connector *connector);
/* The connector of a QP, with a busy reference; 0: none, or it ends. */
struct ndk_connector *ndk_qp_connector(struct ndk_qp *qp);

/* connector_event.c */
void ndk_connector_events_initialize(struct ndk_connector *connector);
/* Never announced: refuse the peer, and forget it. */
void ndk_connector_refuse(struct ndk_connector *connector);

/* connect.c */
NDK_FN_CONNECT ndk_connect;
NDK_FN_CONNECT_WITH_SHARED_ENDPOINT ndk_connect_with_shared_endpoint;
NDK_FN_COMPLETE_CONNECT ndk_complete_connect;
NDK_FN_COMPLETE_CONNECT_EX ndk_complete_connect_ex;
NDK_FN_ACCEPT ndk_accept;
NDK_FN_ACCEPT_EX ndk_accept_ex;
NDK_FN_REJECT ndk_reject;
NDK_FN_DISCONNECT ndk_disconnect;

/* ---- Listener: listener.c ---- */

#define NDK_BACKLOG 128 /* connection requests that no event has been called for (NDK-145) */

struct ndk_listener {
	struct ndk_object object;
	struct ke_lock lock; /* all below */
	bool listening, bound, paused;
	uint32_t waiting; /* announced, event not called yet */
	struct ndk_address local;
	struct ndk_request *pending;
	NDK_FN_CONNECT_EVENT_CALLBACK *event;
	PVOID event_context;
};

/* A connection request is over: its event has returned, or it was refused. */
void ndk_listener_event_done(struct ndk_listener *listener);

/* ---- Shared endpoint: endpoint.c ---- */

struct ndk_endpoint {
	struct ndk_object object;
	struct ndk_address local;
};
