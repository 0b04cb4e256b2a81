/* SPDX-License-Identifier: MIT */
/*
 * work.h: the half of the border to a provider that moves data and connects; continues provider.h.
 *
 * Nothing here needs the drivers' headers. Operations and up-calls: on a baton, IRQL <=
 * DISPATCH_LEVEL, never wait; no provider lock is held during an up-call.
 */
#pragma once

#include "ndk/provider.h"

/* ---- Objects that are made: `parameters` of the provider's create ---- */

struct ndk_cq_parameters {
	uint32_t depth;
};

struct ndk_srq_parameters {
	struct ndk_pd *pd;
	uint32_t depth, sges;
};

struct ndk_qp_parameters {
	struct ndk_pd *pd;
	struct ndk_cq *receive_cq, *initiator_cq;
	struct ndk_srq *srq; /* 0: its own receive queue */
	uint32_t receive_depth, receive_sges;
	uint32_t initiator_depth, initiator_sges, inline_size;
};

struct ndk_address {
	uint16_t family; /* 2: IPv4, 23: IPv6 */
	uint16_t port;   /* host order; 0: any */
	uint32_t scope;
	uint8_t bytes[16]; /* network order; IPv4: the first 4 */
};

/* address.c, pure code. */
bool ndk_address_is_any(const struct ndk_address *address);
/* Without the port, and with it. */
bool ndk_address_same_host(const struct ndk_address *a, const struct ndk_address *b);
bool ndk_address_same(const struct ndk_address *a, const struct ndk_address *b);
/* It lies in the network of this address. */
bool ndk_address_in_network(const struct ndk_device_address *own,
			    const struct ndk_address *address);

/* A shared endpoint. The provider reports the port it chose by ndk_endpoint_bound, before
 * ndk_created or its return. */
struct ndk_endpoint_parameters {
	struct ndk_address address;
};

/* ---- Initiator requests ---- */

enum ndk_operation { /* NDK_OPERATION_TYPE's values */
		     NDK_RECEIVE = 1,
		     NDK_SEND = 2,
		     NDK_FAST_REGISTER = 4,
		     NDK_BIND = 8,
		     NDK_INVALIDATE = 0x10,
		     NDK_READ = 0x20,
		     NDK_WRITE = 0x40,
};

enum ndk_work_flag { /* NDK_OP_FLAG_*'s values */
		     NDK_WORK_SILENT = 1,
		     NDK_WORK_READ_FENCE = 2,
		     NDK_WORK_SOLICIT = 4,
		     NDK_WORK_INLINE = 0x40,
		     NDK_WORK_READ_LOCAL_INVALIDATE = 0x100,
		     NDK_WORK_DEFER = 0x200,
};

struct ndk_sge { /* NDK_SGE */
	uint64_t address;
	uint32_t length;
	uint32_t token;
};

struct ndk_change; /* FastRegister, Bind, Invalidate: see below */

/*
 * One request. While NdkSend & co. run it lies on the caller's stack, and `sge` is the consumer's
 * array: a provider that does not complete it inside post() takes a copy (ndk_work_capture).
 * Checked before: flags, number of SGEs, lengths, inline length, connection state.
 */
struct ndk_work {
	struct ndk_work *next; /* of a copy: its holder's */
	struct ndk_qp *qp;
	void *context;      /* the consumer's */
	uint16_t operation; /* enum ndk_operation */
	uint16_t flags;     /* enum ndk_work_flag */
	bool captured;      /* a copy */
	bool begun; /* a provider sets it when it has accepted the request before it takes a copy */
	bool invalidates; /* a send: with remote_token (NdkSendAndInvalidate) */
	uint32_t length;  /* of all SGEs */
	uint32_t sge_count;
	uint32_t remote_token;   /* read, write, send that invalidates */
	uint64_t remote_address; /* read, write; a fast registration: its first page */
	/* With NDK_WORK_INLINE: plain memory, tokens mean nothing; a copy has one SGE, its own
	 * bytes. */
	const struct ndk_sge *sge;
	struct ndk_change *change;
};

/* A copy that outlives the call. 0: as many as the queue is deep are outstanding (return
 * NDK_INSUFFICIENT_RESOURCES). */
struct ndk_work *ndk_work_capture(const struct ndk_work *work);
/*
 * Exactly once for each request that post() accepted, in queue order: places the completion, unless
 * it is silent and successful, drops `change` unless it is 0 (who applies it sets it to 0), frees a
 * copy.
 * `provider_error` (2.1): the device's own code, 0: none.
 */
void ndk_work_complete(struct ndk_work *work, int status, uint32_t provider_error);

/*
 * The memory half of FastRegister, Bind and Invalidate: applied when the request's turn comes in
 * the queue; the status is the completion's. An invalidation has ended when this returns.
 */
int ndk_change_apply(struct ndk_change *change);
/* For a provider with its own device, which looks regions up when a request is posted: applied now,
 * but the region is not at rest until the request completes (`change` stays with it): a window that
 * is invalidated still counts as bound, and what fails is taken back (NDK-130). */
int ndk_change_apply_early(struct ndk_change *change);
/* For a provider with its own device: the memory that becomes accessible (0: an invalidation), and
 * the MR or MW. */
const struct ndk_memory *ndk_change_memory(const struct ndk_change *change);
void *ndk_change_object(const struct ndk_change *change);
/* Before it is applied: the MR whose memory a window gets (no runs then); else the object. */
void *ndk_change_region(const struct ndk_change *change);
/* A bind that was applied: where the window's memory begins. */
char *ndk_change_base(const struct ndk_change *change);

/* ---- Receives ---- */

/* From NdkReceive or NdkSrqReceive to its completion; the provider's in between. */
struct ndk_receive {
	struct ndk_receive *next; /* its holder's */
	void *context;            /* the consumer's */
	uint32_t length;          /* of all SGEs */
	uint32_t sge_count;
	_Atomic bool posted; /* the core's: it is out */
	struct ndk_sge sge[];
};

struct ndk_received {
	int status;
	uint32_t bytes;
	bool solicited;
	bool invalidated; /* the sender invalidated `token`; ndk_remote_invalidate has been called
			   */
	uint32_t token;
	uint32_t provider_error;
};

/* Exactly once for each receive. `qp`: the one that received, or was flushed. */
void ndk_receive_complete(struct ndk_qp *qp, struct ndk_receive *receive,
			  const struct ndk_received *received);
/* Of an SRQ: a receive is no longer queued (thresholds, NDK-109b). Once for each, at the latest
 * before its completion. */
void ndk_srq_taken(struct ndk_srq *srq);
/* Of an SRQ that goes away: the receive was never used. */
void ndk_srq_receive_free(struct ndk_srq *srq, struct ndk_receive *receive);

/* ---- Data operations ---- */

struct ndk_data_operations {
	/* One at a time for each QP, unless the consumer breaks NDK-99. NDK_SUCCESS: it will be
	 * completed; else it never is. */
	int (*post)(struct ndk_qp *qp, struct ndk_work *work);
	/* Exactly one of qp and srq is given. NDK_SUCCESS: it will be completed. */
	int (*receive)(struct ndk_qp *qp, struct ndk_srq *srq, struct ndk_receive *receive);
	/* Complete what is outstanding on both queues with NDK_CANCELLED, now or soon; of an SRQ
	 * only what the QP has taken. */
	void (*flush)(struct ndk_qp *qp);
	/* The QP shall transfer nothing any more (its CQ has died): break its connection, as after
	 * a fault, and flush. 0: flush does. */
	void (*fail)(struct ndk_qp *qp);
	/* NDK_PENDING -> ndk_cq_resized; else at once. 0: the core's ring is all there is. */
	int (*cq_resize)(struct ndk_cq *cq, uint32_t depth);
};

void ndk_cq_resized(struct ndk_cq *cq, int status);
/* The device lost the CQ or SRQ: NDK-94, NDK-109b. */
void ndk_cq_failed(struct ndk_cq *cq, int status);
void ndk_srq_failed(struct ndk_srq *srq);
/* The QP can transfer nothing any more (a fault at either end; the connection is broken). The
 * provider completes what is outstanding as after flush(). Tells the consumer by its
 * DisconnectEvent. */
void ndk_qp_broken(struct ndk_qp *qp, uint32_t reason);

/* ---- Connections ---- */

/* What travels with connect, accept and reject. */
struct ndk_offer {
	uint32_t inbound_reads, outbound_reads; /* of who sends it */
	uint32_t size;
	uint8_t data[256];
};

struct ndk_connect_parameters {
	struct ndk_qp *qp;
	struct ndk_endpoint *endpoint; /* 0: `local` is bound for this connection alone */
	struct ndk_address local, remote;
	struct ndk_offer offer;
};

/*
 * They return a failure at once, or NDK_SUCCESS, or NDK_PENDING with the up-call named behind them
 * later (or before the return). The object layer has checked the connector's state.
 */
struct ndk_connection_operations {
	/* NDK_SUCCESS: *local has the port. NDK_PENDING -> ndk_listener_bound. */
	int (*listen)(struct ndk_listener *listener, struct ndk_address *local);
	/* The listener closes: refuse what has not been announced; no ndk_connector_incoming after
	 * the end. -> ndk_listener_ended */
	int (*listen_end)(struct ndk_listener *listener);
	/* ndk_connector_accepted, or ndk_connector_failed. */
	int (*connect)(struct ndk_connector *connector,
		       const struct ndk_connect_parameters *parameters);
	/* Active side, accepted: ndk_connector_established or _failed. */
	int (*complete_connect)(struct ndk_connector *connector);
	/* Passive side: ndk_connector_established or _failed. */
	int (*accept)(struct ndk_connector *connector, struct ndk_qp *qp,
		      const struct ndk_offer *offer);
	/* Passive before accept, active before complete_connect. Never pends. */
	int (*reject)(struct ndk_connector *connector, const struct ndk_offer *offer);
	/* End a connection in order, flush the QP. -> ndk_connector_disconnected, when all is
	 * completed. */
	int (*disconnect)(struct ndk_connector *connector);
	/* The connector closes, in whatever state; flush the QP. -> ndk_connector_gone; no other
	 * up-call for it after that, or after NDK_SUCCESS. */
	int (*abort)(struct ndk_connector *connector);
};

void ndk_endpoint_bound(struct ndk_endpoint *endpoint, const struct ndk_address *local);
void ndk_listener_bound(struct ndk_listener *listener, int status, const struct ndk_address *local);
void ndk_listener_ended(struct ndk_listener *listener);

/*
 * A peer wants to connect to the listener: the new connector, not announced yet, so that the
 * provider can fill ndk_private(connector) (`create` is not called for it; `destroy` is). 0: refuse
 * it (paused, closing, backlog full, no memory).
 */
struct ndk_connector *ndk_connector_incoming(struct ndk_listener *listener,
					     const struct ndk_address *local,
					     const struct ndk_address *remote,
					     const struct ndk_offer *offer);
/* Call the consumer's connect event. */
void ndk_connector_announce(struct ndk_connector *connector);

/* Active side: the local address is known now. */
void ndk_connector_bound(struct ndk_connector *connector, const struct ndk_address *local);
void ndk_connector_accepted(struct ndk_connector *connector, const struct ndk_offer *offer);
/* What is pending on it (connect, complete_connect or accept) has failed. `offer`: that came with a
 * reject, or 0. */
void ndk_connector_failed(struct ndk_connector *connector, int status,
			  const struct ndk_offer *offer);
/* Both sides, before anything that the peer sends is completed: requests complete, the QP may post.
 */
void ndk_connector_established(struct ndk_connector *connector);
/* The peer has gone: disconnected, closed, broken. In any state after established: the event, once;
 * before it: as _failed with NDK_CONNECTION_ABORTED. */
void ndk_connector_peer_gone(struct ndk_connector *connector, uint32_t reason);
void ndk_connector_disconnected(struct ndk_connector *connector, int status);
void ndk_connector_gone(struct ndk_connector *connector);
