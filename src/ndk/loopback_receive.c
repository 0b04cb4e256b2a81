/* SPDX-License-Identifier: MIT */
/*
 * loopback_receive.c: posted receives, of a QP or an SRQ, and senders that wait for one.
 *
 * A sender that finds no receive leaves the receiving QP on the queue's `starved` list and stops;
 * its request stays at the head of its queue, and what is posted behind it waits too, for as long
 * as the connection lasts (NDK-63, DEF-112). Whoever posts a receive takes a starved QP off the
 * list and runs its peer's queue, and goes on while there are receives and starved QPs: one at a
 * time for a queue (`waking`), so that a sender at fault, which gives the receive back, does not
 * run the next one from its own stack.
 *
 * A flush completes posted receives in order: behind one that is being received into, if there is
 * one (`flushed`).
 *
 * Contexts and locks: IRQL <= DISPATCH_LEVEL; queue->lock. Implements DEF-112, DEF-116, NDK-106,
 * NDK-109b (taking).
 */
#include "ndk/loopback.h"
#include "rtl/rtl.h"

static const struct ndk_received cancelled = {.status = STATUS_CANCELLED};

static struct loopback_queue *queue_of(struct loopback_qp *self)
{
	return self->qp->srq ? ndk_private(self->qp->srq) : &self->receives;
}

void loopback_queue_initialize(struct loopback_queue *queue)
{
	queue->last = &queue->first;
	InitializeListHead(&queue->starved);
}

/* ---- Senders ---- */

struct ndk_receive *loopback_receive_take(struct loopback_qp *to)
{
	struct loopback_queue *queue = queue_of(to);
	KIRQL old = ke_lock_raise(&queue->lock);
	struct ndk_receive *receive = queue->first;
	if (receive) {
		queue->first = receive->next;
		if (!queue->first)
			queue->last = &queue->first;
		to->receiving++;
	} else if (!to->starved.Flink) {
		InsertTailList(&queue->starved, &to->starved);
	}
	ke_lock_lower(&queue->lock, old);
	if (receive && to->qp->srq)
		ndk_srq_taken(to->qp->srq);
	return receive;
}

/*
 * The QP's receive has completed, or went back, or a flush has begun: those that were flushed
 * meanwhile are next. `receiving` counts until the last of them is placed, so that a Disconnect
 * does not end before.
 */
static void settle(struct loopback_qp *to)
{
	struct loopback_queue *queue = queue_of(to);
	for (bool over = false; !over;) {
		KIRQL old = ke_lock_raise(&queue->lock);
		struct ndk_receive *receive = to->flushed, *next;
		to->flushed = NULL;
		over = !receive;
		if (over)
			to->receiving--;
		ke_lock_lower(&queue->lock, old);
		for (; receive; receive = next) {
			next = receive->next;
			ndk_receive_complete(to->qp, receive, &cancelled);
		}
	}
	loopback_drained(to);
}

void loopback_receive_done(struct loopback_qp *to, struct ndk_receive *receive,
			   const struct ndk_received *received)
{
	ndk_receive_complete(to->qp, receive, received);
	settle(to);
}

/* The next starved QP whose peer can go on, with a busy reference; 0: none, or somebody else is
 * waking them. `begin`: the caller is not yet the one who does. */
static struct loopback_qp *wake_one(struct loopback_queue *queue, bool begin)
{
	struct loopback_qp *found = NULL;
	KIRQL old = ke_lock_raise(&queue->lock);
	bool other = begin && queue->waking;
	while (!other && !found && queue->first && !IsListEmpty(&queue->starved)) {
		LIST_ENTRY *entry = RemoveHeadList(&queue->starved);
		struct loopback_qp *qp = CONTAINING_RECORD(entry, struct loopback_qp, starved);
		entry->Flink = NULL;
		if (ndk_busy_try(&qp->qp->object))
			found = qp;
	}
	if (!other)
		queue->waking = found;
	ke_lock_lower(&queue->lock, old);
	return found;
}

static void wake(struct loopback_queue *queue)
{
	struct loopback_qp *starved = wake_one(queue, true);
	for (; starved; starved = wake_one(queue, false)) {
		struct loopback_link *link = atomic_load(&starved->link);
		struct ndk_qp *peer = link ? loopback_link_peer(link, starved->side) : NULL;
		if (peer) {
			loopback_kick(loopback_of(peer));
			loopback_link_leave(peer);
		}
		ndk_busy_put(&starved->qp->object);
	}
}

void loopback_receive_return(struct loopback_qp *to, struct ndk_receive *receive)
{
	static const struct ndk_received nothing = {.status = STATUS_CANCELLED};
	struct loopback_queue *queue = queue_of(to);
	struct ndk_srq *srq = to->qp->srq;
	if (!srq) { /* the connection breaks: it would be flushed next */
		loopback_receive_done(to, receive, &nothing);
		return;
	}
	KIRQL old = ke_lock_raise(&srq->lock);
	srq->queued++;
	ke_lock_lower(&srq->lock, old);
	old = ke_lock_raise(&queue->lock);
	receive->next = queue->first;
	queue->first = receive;
	if (!receive->next)
		queue->last = &receive->next;
	ke_lock_lower(&queue->lock, old);
	settle(to);
	wake(queue);
}

/* ---- Receivers ---- */

int loopback_receive(struct ndk_qp *qp, struct ndk_srq *srq, struct ndk_receive *receive)
{
	struct loopback_queue *queue = srq ? ndk_private(srq) : &loopback_of(qp)->receives;
	receive->next = NULL;
	KIRQL old = ke_lock_raise(&queue->lock);
	/* Who makes a QP dead flushes it afterwards, under this lock. */
	bool dead = qp && atomic_load(&qp->state) == NDK_QP_DEAD;
	if (!dead) {
		*queue->last = receive;
		queue->last = &receive->next;
	}
	bool starved = !IsListEmpty(&queue->starved);
	ke_lock_lower(&queue->lock, old);
	if (dead)
		return NDK_CONNECTION_INVALID;
	if (starved)
		wake(queue);
	return NDK_SUCCESS;
}

void loopback_receive_flush(struct loopback_qp *self)
{
	struct loopback_queue *queue = &self->receives;
	bool first = false; /* of those that complete receives of this QP */
	if (self->qp->srq)
		return;
	KIRQL old = ke_lock_raise(&queue->lock);
	if (queue->first) {
		if (!self->flushed)
			self->flushed_last = &self->flushed;
		*self->flushed_last = queue->first;
		self->flushed_last = queue->last;
		queue->first = NULL;
		queue->last = &queue->first;
		first = !self->receiving;
		self->receiving += first;
	}
	ke_lock_lower(&queue->lock, old);
	if (first)
		settle(self);
}

void loopback_receive_forget(struct loopback_qp *self)
{
	struct loopback_queue *queue = queue_of(self);
	KIRQL old = ke_lock_raise(&queue->lock);
	if (self->starved.Flink)
		RemoveEntryList(&self->starved);
	self->starved.Flink = NULL;
	ke_lock_lower(&queue->lock, old);
}

void loopback_queue_destroy(struct ndk_srq *srq)
{
	struct loopback_queue *queue = ndk_private(srq);
	while (queue->first) {
		struct ndk_receive *receive = queue->first;
		queue->first = receive->next;
		ndk_srq_receive_free(srq, receive);
	}
}
