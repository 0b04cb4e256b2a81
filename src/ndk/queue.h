/* SPDX-License-Identifier: MIT */
/*
 * queue.h: completion queues, queue pairs and shared receive queues, as the files of the object
 * layer see them.
 *
 * Lock order: internal.h.
 */
#pragma once

#include "ndk/internal.h"
#include "ndk/work.h"

/* ---- Completion queue: cq.c ---- */

#define NDK_NOT_ARMED 0xff

struct ndk_cq {
	struct ndk_object object;
	struct ke_lock lock; /* all up to `status` */
	NDK_RESULT_EX *ring;
	uint32_t depth;
	uint32_t next;       /* place of entry `tail` in the ring */
	uint64_t head, tail; /* numbers of the oldest entry and of the next one */
	uint64_t notified;   /* the tail when the last notification was triggered */
	uint64_t solicited;  /* 1 + number of the newest entry that satisfies SOLICITED */
	uint8_t armed;       /* NDK_CQ_NOTIFY_*, or NDK_NOT_ARMED */
	bool notifying;      /* a notification is queued or runs */
	bool due;            /* another one is to follow it */
	bool moderated, timer_set;
	uint32_t moderation_interval, moderation_count;
	uint32_t delayed; /* entries since the arm that moderation has kept quiet about */
	NTSTATUS status;  /* a failure: it is dead (NDK-94) */
	bool status_told;
	struct ndk_request *resize; /* while the provider resizes its own */
	uint32_t resize_depth;
	NDK_FN_CQ_NOTIFICATION_CALLBACK *notification;
	PVOID notification_context;
	struct ndk_delivery delivery, killer;
	KTIMER timer;
	KDPC timer_dpc;
	LIST_ENTRY qps;            /* struct ndk_qp_link */
	_Atomic uint64_t consumer; /* VER-56: who is inside a serialised function */
};

void ndk_cq_place(struct ndk_cq *cq, const NDK_RESULT_EX *result, bool solicited);
/* cq_notify.c */
void ndk_cq_notify_initialize(struct ndk_cq *cq);
void ndk_cq_arm(struct ndk_cq *cq, uint8_t type);
void ndk_cq_moderate(struct ndk_cq *cq, uint32_t interval, uint32_t count);
/* A close has begun: no notification any more. */
void ndk_cq_quiet(struct ndk_cq *cq);

/* ---- Receive slots of a QP or SRQ: receive.c ---- */

/*
 * `depth` slots of `sges` elements; those that are not posted are on the free list. The lock
 * protects the list and the counts.
 */
struct ndk_receive_pool {
	struct ke_lock lock;
	struct ndk_receive *free;
	uint32_t depth, sges;
	uint32_t longest; /* bytes of a receive: the adapter's MaxTransferLength */
	_Atomic uint32_t
		used;      /* slots out: posted or being received into; changes under the lock */
	uint32_t made;     /* slots that exist */
	char *block;       /* of all the slots made at first */
	LIST_ENTRY blocks; /* later ones (NdkModifySrq) */
};

NTSTATUS ndk_receive_pool_create(struct ndk_receive_pool *pool, const NDK_ADAPTER_INFO *info,
				 uint32_t depth, uint32_t sges);
void ndk_receive_pool_destroy(struct ndk_receive_pool *pool);
/* More or fewer; IRQL <= DISPATCH_LEVEL. */
NTSTATUS ndk_receive_pool_resize(struct ndk_receive_pool *pool, uint32_t depth);
/* A slot with these elements. */
NTSTATUS ndk_receive_get(struct ndk_receive_pool *pool, PVOID context, const NDK_SGE *sge,
			 ULONG count, struct ndk_receive **receive);
void ndk_receive_put(struct ndk_receive_pool *pool, struct ndk_receive *receive);

/* A request that has not completed, to be looked at. */
struct ndk_posted {
	const struct ndk_work *work; /* 0: a receive */
	const struct ndk_sge *sge;
	uint32_t sge_count;
	const char *what; /* "NdkSend of", for messages */
};
typedef bool ndk_posted_match(const struct ndk_posted *posted, void *context);

/* Is there one among those that are out? The pool's lock is held meanwhile. */
bool ndk_receives_find(struct ndk_receive_pool *pool, ndk_posted_match *matches, void *context);

/* ---- Queue pair: qp.c, work.c, post.c ---- */

enum ndk_qp_state {
	NDK_QP_IDLE,      /* receives may be posted */
	NDK_QP_CONNECTED, /* initiator requests too */
	NDK_QP_PEER_GONE, /* receives only; what is posted stays until a flush (NDK-142) */
	NDK_QP_DEAD,      /* disconnected, broken or closing: nothing more */
};

struct ndk_qp_link {
	LIST_ENTRY entry;
	struct ndk_qp *qp;
};

struct ndk_qp {
	struct ndk_object object;
	const struct ndk_data_operations *data;
	struct ndk_pd *pd;
	struct ndk_cq *receive_cq, *initiator_cq;
	struct ndk_srq *srq;
	PVOID context;
	_Atomic uint32_t state;    /* enum ndk_qp_state; grows only */
	_Atomic(void *) connector; /* 0: free; set once (NDK-147) */
	struct ndk_qp_parameters parameters;
	struct ndk_receive_pool receives; /* srq 0 */
	struct ke_lock work_lock;         /* the free list of captured requests */
	struct ndk_work *free_works;
	_Atomic uint32_t captured; /* copies out; changes under work_lock */
	char *works;               /* memory of all */
	size_t work_size, inline_offset;
	struct ndk_qp_link links[2]; /* in the CQs' lists: receive, initiator */
	struct ndk_queue_entry of_pd;
	_Atomic uint64_t initiator_user, receive_user; /* VER-56 */
	uint64_t deferred; /* who posted the last initiator request, if it had DEFER (VER-61) */
};

NDK_FN_FLUSH ndk_qp_flush;
/* The copies' memory: work.c. */
NTSTATUS ndk_works_create(struct ndk_qp *qp);
/* Is there one on this QP, or SRQ, that matches? The queue's lock is held meanwhile. Data that were
 * posted inline are out of their SGEs: such requests are passed over. */
bool ndk_posted_find(struct ndk_object *queue, ndk_posted_match *matches, void *context);

/* To `state`, if that is later than what it is in. True: it changed. */
bool ndk_qp_advance(struct ndk_qp *qp, enum ndk_qp_state state);
/* Dead, and flush what is outstanding. */
void ndk_qp_kill(struct ndk_qp *qp);

extern const NDK_QP_DISPATCH ndk_qp_dispatch; /* post.c */

/* ---- Shared receive queue: srq.c ---- */

struct ndk_srq {
	struct ndk_object object;
	struct ndk_queue_entry of_pd;
	struct ndk_receive_pool receives;
	struct ke_lock lock; /* all below */
	uint32_t queued;     /* receives that nobody has taken */
	uint32_t threshold;
	bool armed, notifying, due, failed, failure_told;
	NDK_FN_SRQ_NOTIFICATION_CALLBACK *notification;
	PVOID notification_context;
	struct ndk_delivery delivery;
	_Atomic uint64_t user; /* VER-56 */
};

/* ---- VER-56: calls that the consumer serialises ---- */

/* At the beginning and the end, while the verifier is on; the end with what the beginning returned.
 */
bool ndk_serial_enter(_Atomic uint64_t *user, const char *function, const void *object,
		      uint64_t caller);
void ndk_serial_leave(_Atomic uint64_t *user, bool entered);
