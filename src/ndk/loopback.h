/* SPDX-License-Identifier: MIT */
/*
 * loopback.h: what the files of the loopback provider share.
 *
 * Lock order: internal.h; no two of loopback's own are held together. None is held while bytes
 * move, or during an up-call into the object layer, but that of a QP's queue in ndk_work_capture.
 */
#pragma once

#include "ndk/connection.h"
#include "ndk/queue.h"

/* ---- Moving bytes: loopback_move.c ---- */

/* One side of a transfer: a list of local SGEs, a peer's range, or plain memory (inline data). */
struct loopback_span {
	struct ndk_pd *pd;         /* 0: plain memory */
	const struct ndk_sge *sge; /* the next one to open */
	uint32_t count;            /* left in `sge`, the current range not included */
	uint32_t token;            /* of the current range */
	uint64_t address;
	uint32_t length; /* left in the current range */
	unsigned rights; /* enum ndk_right: what every byte needs */
};

enum loopback_moved {
	LOOPBACK_MOVED,
	LOOPBACK_SOURCE_FAULT,
	LOOPBACK_TARGET_FAULT,
	LOOPBACK_STOPPED,
};

struct loopback_span loopback_span_local(struct ndk_pd *pd, const struct ndk_sge *sge,
					 uint32_t count, unsigned rights);
struct loopback_span loopback_span_remote(struct ndk_pd *pd, uint32_t token, uint64_t address,
					  uint32_t length, unsigned rights);
/*
 * Move `length` bytes, which both sides have. All of both sides is checked before the first byte
 * moves. `stop`: give up between two pieces when it becomes true. *status gets what a fault was.
 */
enum loopback_moved loopback_move(struct loopback_span *target, struct loopback_span *source,
				  uint32_t length, const _Atomic bool *stop, NTSTATUS *status);

/* ---- Receive queues: loopback_receive.c ---- */

struct loopback_qp;

/* The receives that are posted to a QP or an SRQ; the provider's bytes beside an SRQ. */
struct loopback_queue {
	struct ke_lock lock;
	struct ndk_receive *first, **last;
	LIST_ENTRY starved; /* loopback_qp.starved: QPs whose peers wait for a receive */
	bool waking;        /* somebody runs the peers of starved QPs */
};

void loopback_queue_initialize(struct loopback_queue *queue);
/* For the peer of `to`: the oldest receive, which is being received into from now on; 0: none, and
 * the peer is kicked when one comes. */
struct ndk_receive *loopback_receive_take(struct loopback_qp *to);
/* It was not touched: back to the head. */
void loopback_receive_return(struct loopback_qp *to, struct ndk_receive *receive);
void loopback_receive_done(struct loopback_qp *to, struct ndk_receive *receive,
			   const struct ndk_received *received);
int loopback_receive(struct ndk_qp *qp, struct ndk_srq *srq, struct ndk_receive *receive);
/* Complete what is posted to the QP's own queue with STATUS_CANCELLED. */
void loopback_receive_flush(struct loopback_qp *self);
/* Nobody is to be kicked for it any more. */
void loopback_receive_forget(struct loopback_qp *self);
/* An SRQ goes away. */
void loopback_queue_destroy(struct ndk_srq *srq);

/* ---- A queue pair: loopback_qp.c; the provider's bytes beside a QP ---- */

struct loopback_link;

struct loopback_qp {
	struct ndk_qp *qp;
	struct ke_lock lock;       /* all up to `ending` */
	bool running;              /* somebody executes the queue */
	struct ndk_delivery owner; /* a work item that goes on */
	bool again;                /* a receive came while it ran: do not stop */
	bool flushing;             /* a flush came while it ran: what is not begun is cancelled */
	struct ndk_work *first, **last; /* requests that wait, oldest first */
	struct ndk_work *cancelled,
		**cancelled_last; /* that a flush took; the executor completes them */
	/* Its Disconnect [0] and its close [1] end when all is completed, and nobody visits. */
	_Atomic(struct ndk_connector *) ending[2];
	_Atomic uint32_t visits;              /* the peer is at this QP's memory or receives */
	_Atomic(struct loopback_link *) link; /* set once, when connected */
	unsigned side;
	struct loopback_queue receives; /* without an SRQ */
	/* under the lock of its receive queue */
	LIST_ENTRY starved;         /* Flink 0: it is not */
	_Atomic uint32_t receiving; /* the peer moves bytes into a receive; flushes that complete */
	struct ndk_receive *flushed, **flushed_last; /* complete behind them */
};

static inline struct loopback_qp *loopback_of(struct ndk_qp *qp)
{
	return ndk_private(qp);
}

void loopback_qp_initialize(struct ndk_qp *qp);
void loopback_qp_destroy(struct ndk_qp *qp);
int loopback_post(struct ndk_qp *qp, struct ndk_work *work);
void loopback_flush(struct ndk_qp *qp);
void loopback_fail(struct ndk_qp *qp);
/* A receive has come for which it may wait. */
void loopback_kick(struct loopback_qp *qp);
/*
 * After the link has ended: flush. True: nothing is outstanding, and the peer does not touch this
 * QP's memory any more. Else ndk_connector_disconnected, or (`closing`) ndk_connector_gone, is
 * called when it is so.
 */
bool loopback_drain(struct loopback_qp *qp, struct ndk_connector *connector, bool closing);
/* Something was completed, or a visit is over: is the drain over? */
void loopback_drained(struct loopback_qp *qp);

/* ---- Addresses and ports: loopback_port.c ---- */

/* An unspecified address becomes the device's (DEF-105). NDK_SUCCESS, NDK_INVALID_ADDRESS. */
int loopback_address_own(const struct ndk_device *device, struct ndk_address *local);
/* NDK_SUCCESS, NDK_CONNECTION_REFUSED, NDK_HOST_UNREACHABLE, NDK_NETWORK_UNREACHABLE. */
int loopback_route(const struct ndk_device *device, const struct ndk_address *remote);

/* NDK-144: an endpoint; its references are what the documents count. */
struct loopback_port {
	LIST_ENTRY entry;
	struct ndk_address address;
	uint32_t references;
	struct ndk_listener *listener;
};

/* Bind. Port 0 is replaced. NDK_SHARING_VIOLATION, NDK_TOO_MANY_ADDRESSES, NDK_INVALID_ADDRESS (not
 * the device's), NDK_INSUFFICIENT_RESOURCES. */
int loopback_port_open(const struct ndk_device *device, struct ndk_address *address,
		       struct loopback_port **port);
void loopback_port_get(struct loopback_port *port);
void loopback_port_put(struct loopback_port *port);
/* From now on, or (0) no longer, it listens. */
void loopback_port_listen(struct loopback_port *port, struct ndk_listener *listener);
/* Who listens there, with a busy reference, and its port with a reference; 0: nobody. */
struct ndk_listener *loopback_port_find(const struct ndk_address *address,
					struct loopback_port **port);

/* Beside a listener and a shared endpoint. */
struct loopback_listener {
	struct loopback_port *port;
};

int loopback_listen(struct ndk_listener *listener, struct ndk_address *local);
int loopback_listen_end(struct ndk_listener *listener);
void loopback_listener_destroy(struct ndk_listener *listener);
int loopback_endpoint_create(struct ndk_endpoint *endpoint, const struct ndk_address *address);
void loopback_endpoint_destroy(struct ndk_endpoint *endpoint);

/* ---- Connections: loopback_connect.c ---- */

enum loopback_link_state {
	LOOPBACK_OFFERED,
	LOOPBACK_ACCEPTED,
	LOOPBACK_CONNECTED,
	LOOPBACK_ENDED
};

/* What connects two QPs; side 0 is the active one. */
struct loopback_link {
	_Atomic uint32_t references; /* each connector, each QP, the timer */
	_Atomic bool stop[2];        /* that side's executor moves no more bytes */
	struct ke_lock lock;         /* all below */
	_Atomic uint32_t state;      /* enum loopback_link_state; read without the lock, too */
	NTSTATUS ended;              /* what late calls are told */
	struct ndk_connector *connector[2];
	struct ndk_qp *qp[2];
	struct ndk_address from, to; /* to find the same 4-tuple twice */
	LIST_ENTRY entry;            /* in the list of all */
	KTIMER timer;
	KDPC timer_dpc;
};

/* The provider's bytes beside a connector. */
struct loopback_connector {
	struct loopback_link *link;
	unsigned side;
	_Atomic(struct loopback_port *) port;
};

extern const struct ndk_connection_operations loopback_connection;

void loopback_connector_destroy(struct ndk_connector *connector);
void loopback_link_put(struct loopback_link *link);
/* The other end's QP, to visit it until loopback_link_leave; 0: it has gone, or the link. */
struct ndk_qp *loopback_link_peer(struct loopback_link *link, unsigned side);
void loopback_link_leave(struct ndk_qp *peer);
/* A fault: both ends are told and flushed. */
void loopback_link_break(struct loopback_link *link);
