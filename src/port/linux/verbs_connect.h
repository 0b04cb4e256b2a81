/* SPDX-License-Identifier: MIT */
/* verbs_connect.h: what verbs_connect.c (operations) and verbs_event.c (events of rdma_cm) share.
 */
#pragma once

#include "port/linux/verbs_internal.h"

/* What has happened to a connection; set with fetch_or, by operations and in verbs_service. */
enum {
	CONNECTION_ACCEPTING = 1,
	CONNECTION_ESTABLISHED = 2,
	CONNECTION_DISCONNECTING = 4, /* NdkDisconnect */
	CONNECTION_DRAINED = 8,       /* ... and all requests have come back */
	CONNECTION_DOWN = 16,         /* rdma_cm said so, or never will */
	CONNECTION_BROKEN = 32,
	CONNECTION_CLOSED = 64,
	CONNECTION_OVER = 128, /* a connect that is taken down; rejected: nothing comes of it */
};

/*
 * One connector's side of rdma_cm. Kept by the connector and by each job that is under way.
 * qp   set on a baton, 0 again when the core lets the QP go; jobs take a copy: what they use lives
 *      until the control thread destroys it.
 * id   control thread and, until it is connected, event thread, in turns: an operation starts what
 *      ends with an event, and the next one comes after that.
 */
struct verbs_connection {
	_Atomic uint32_t references;
	_Atomic uint32_t flags;
	_Atomic uint64_t handshake; /* number of the one that is under way */
	void *object;               /* the connector; 0: a request that nobody has seen yet */
	struct verbs_device *device;
	struct rdma_cm_id *id;
	struct verbs_qp *qp;
	struct ndk_connect_parameters parameters; /* ours */
	struct ndk_offer peer;                    /* what came with the peer's half */
	struct verbs_job start, establish, reject, fail, disconnect, broke, end;
	int failure; /* fail's: status, and whether `peer` came with it */
	bool answered;
	/* From a shared endpoint: all of them. Control thread. */
	struct verbs_connection *next;
	struct ndk_address local;
	bool listed;
};

/* The private bytes of a connector. */
struct verbs_connector {
	struct verbs_connection *connection;
};

#define CONNECTION(job, member)                                                                    \
	((struct verbs_connection *)((char *)(job)-offsetof(struct verbs_connection, member)))

static inline struct verbs_connection *verbs_connection_of(const void *connector)
{
	return ((struct verbs_connector *)ndk_private(connector))->connection;
}

/* The private bytes of a listener or a shared endpoint. */
struct verbs_listener {
	struct verbs_job start, end, last;
	void *object;
	struct verbs_device *device;
	struct rdma_cm_id *id; /* control thread */
	struct ndk_address address;
	bool started;
};

struct verbs_connection *verbs_connection_new(struct verbs_device *device);
void verbs_connection_put(struct verbs_connection *connection);
/* In verbs_service: nobody wants this request. */
void verbs_connection_refuse(struct verbs_connection *connection);

/* Control thread. A new id, bound to `address`; `shared`: others may have the same port. 0 or an
 * errno. */
int verbs_id_open(struct verbs_device *device, void *context, const struct ndk_address *address,
		  bool shared, struct rdma_cm_id **out);
void verbs_id_close(struct rdma_cm_id **id);
/* Control thread. In the list of those of shared endpoints: 0, or EISCONN (NDK-145); or no more. */
int verbs_shared_add(struct verbs_connection *connection);
void verbs_shared_remove(struct verbs_connection *connection);
int verbs_listen(struct ndk_listener *listener, struct ndk_address *local);
int verbs_listen_end(struct ndk_listener *listener);

/* An unspecified source becomes the adapter's own address. */
void verbs_address_own(const struct ndk_device *device, const struct ndk_address *remote,
		       struct ndk_address *local);
void verbs_address_in(const struct ndk_address *from, struct sockaddr_storage *to);
void verbs_address_out(const struct sockaddr *from, struct ndk_address *to);
static inline uint32_t verbs_smaller(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}
/* Device threads: move the QP on as rdma_cm says; 0 or an errno. */
int verbs_qp_move(struct verbs_connection *connection, struct verbs_qp *qp,
		  enum ibv_qp_state state);
struct rdma_conn_param verbs_parameters(const struct verbs_connection *connection,
					const struct verbs_qp *qp);
/* In verbs_service: what is pending fails, and the core lets the QP go. `answered`: by a reject,
 * which `peer` came with. */
void verbs_connection_failed(struct verbs_connection *connection, int status, bool answered);
/* On a baton: a handshake begins; it may take ndk_handshake_ms, and is overdue then. */
void verbs_handshake_begin(struct verbs_connection *connection);
void verbs_connection_overdue(struct verbs_connection *connection);
bool verbs_events_start(struct verbs_device *device);
