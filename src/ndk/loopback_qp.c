/* SPDX-License-Identifier: MIT */
/*
 * loopback_qp.c: who carries out work requests: the processor that posts them.
 *
 * A queue is executed by one thread at a time, its `running` owner. A request that is posted to an
 * idle, empty queue is executed at once from the poster's stack; one that finds the queue running
 * or stopped is captured and appended, and the owner goes on with it. A send that finds no
 * receive stops the queue (loopback_receive.c); it is captured then and put at the head. So
 * requests of a QP take effect in the order of posting (NDK-130), one after the other, which
 * READ_FENCE asks for anyway, and DEFER, a hint, needs nothing.
 *
 * No lock is held, and nobody waits, while a request is executed; bytes move at DISPATCH_LEVEL in
 * pieces (loopback_move.c). A flush moves what waits to `cancelled`, which the owner completes
 * behind the request that it is at.
 *
 * Contexts and locks: IRQL <= DISPATCH_LEVEL; self->lock protects the queue. The owner holds a busy
 * reference to its QP, and visits the peer's QP while it executes: an end of the connection there
 * (disconnect, close) is not reported before the visit is over, so that from then on not one byte
 * of its memory is touched, whether or not it stays registered.
 *
 * Implements NDK-99..109, 109a, 106, 141, 142; DEF-112, DEF-116, DEF-119.
 *
 * Chosen: receiver not ready: the queue waits until a receive comes, the connection ends, or a
 * flush. When the peer has gone, requests that were not begun stay until a flush (NDK-142); a
 * request in the middle of its bytes completes with STATUS_CANCELLED. Faults at a local SGE:
 * STATUS_ACCESS_VIOLATION. When the receive is at fault (too small: STATUS_BUFFER_OVERFLOW, its
 * memory: STATUS_ACCESS_VIOLATION) the sender gets STATUS_REMOTE_RESOURCES. All of these break the
 * connection: both ends are flushed. A failure of FastRegister, Bind or Invalidate does not.
 */
#include "ndk/loopback.h"
#include "rtl/rtl.h"

enum outcome {
	OUTCOME_DONE,
	OUTCOME_BREAK, /* done, and so is the connection */
	OUTCOME_STALL, /* not begun: no receive, or no peer */
};

/* ---- Sends ---- */

static unsigned sink_rights(const struct ndk_qp *qp)
{
	ULONG flags = qp->object.adapter->info.AdapterFlags;
	return flags & NDK_ADAPTER_FLAG_RDMA_READ_SINK_NOT_REQUIRED
		       ? NDK_RIGHT_LOCAL_WRITE
		       : NDK_RIGHT_LOCAL_WRITE | NDK_RIGHT_READ_SINK;
}

static struct loopback_span source_of(const struct ndk_work *work)
{
	struct ndk_pd *pd = work->flags & NDK_WORK_INLINE ? NULL : work->qp->pd;
	return loopback_span_local(pd, work->sge, work->sge_count, NDK_RIGHT_LOCAL_READ);
}

/* The bytes are there: the rest of what a send does at the other end. */
static enum outcome deliver(struct loopback_qp *to, struct ndk_receive *receive,
			    const struct ndk_work *work, NTSTATUS *status)
{
	struct ndk_received received = {
		.status = STATUS_SUCCESS,
		.bytes = work->length,
		.solicited = work->flags & NDK_WORK_SOLICIT,
		.invalidated = work->invalidates,
		.token = work->remote_token,
	};
	enum outcome outcome = OUTCOME_DONE;
	if (work->invalidates && !ndk_remote_invalidate(to->qp->pd, work->remote_token)) {
		/* NDK-108 */
		received = (struct ndk_received){.status = STATUS_CANCELLED};
		*status = STATUS_ACCESS_VIOLATION;
		outcome = OUTCOME_BREAK;
	}
	loopback_receive_done(to, receive, &received);
	return outcome;
}

static enum outcome fail_receive(struct loopback_qp *to, struct ndk_receive *receive,
				 NTSTATUS receive_status)
{
	struct ndk_received received = {.status = receive_status};
	loopback_receive_done(to, receive, &received);
	return OUTCOME_BREAK;
}

static enum outcome send(struct loopback_qp *self, struct loopback_qp *to,
			 const struct ndk_work *work, NTSTATUS *status)
{
	struct ndk_receive *receive = loopback_receive_take(to);
	if (!receive)
		return OUTCOME_STALL;
	struct loopback_span source = source_of(work);
	struct loopback_span target = loopback_span_local(
		to->qp->pd, receive->sge, receive->sge_count, NDK_RIGHT_LOCAL_WRITE);
	NTSTATUS fault = STATUS_SUCCESS;
	*status = STATUS_REMOTE_RESOURCES;
	if (receive->length < work->length)
		return fail_receive(to, receive, STATUS_BUFFER_OVERFLOW);
	struct loopback_link *link = atomic_load(&self->link);
	switch (loopback_move(&target, &source, work->length, &link->stop[self->side], &fault)) {
	case LOOPBACK_SOURCE_FAULT:
		*status = STATUS_ACCESS_VIOLATION;
		loopback_receive_return(to, receive);
		return OUTCOME_BREAK;
	case LOOPBACK_TARGET_FAULT:
		return fail_receive(to, receive, STATUS_ACCESS_VIOLATION);
	case LOOPBACK_STOPPED:
		*status = STATUS_CANCELLED;
		fail_receive(to, receive, STATUS_CANCELLED);
		return OUTCOME_DONE;
	default:
		*status = STATUS_SUCCESS;
		return deliver(to, receive, work, status);
	}
}

/* ---- Reads and writes ---- */

static enum outcome transfer(struct loopback_qp *self, struct loopback_qp *to,
			     const struct ndk_work *work, NTSTATUS *status)
{
	bool read = work->operation == NDK_READ;
	struct loopback_link *link = atomic_load(&self->link);
	const _Atomic bool *stop = &link->stop[self->side];
	enum loopback_moved moved, local = read ? LOOPBACK_TARGET_FAULT : LOOPBACK_SOURCE_FAULT;
	if (read) {
		struct loopback_span target = loopback_span_local(
			work->qp->pd, work->sge, work->sge_count, sink_rights(work->qp));
		struct loopback_span source =
			loopback_span_remote(to->qp->pd, work->remote_token, work->remote_address,
					     work->length, NDK_RIGHT_REMOTE_READ);
		moved = loopback_move(&target, &source, work->length, stop, status);
	} else {
		struct loopback_span source = source_of(work);
		struct loopback_span target =
			loopback_span_remote(to->qp->pd, work->remote_token, work->remote_address,
					     work->length, NDK_RIGHT_REMOTE_WRITE);
		moved = loopback_move(&target, &source, work->length, stop, status);
	}
	if (moved == LOOPBACK_MOVED) {
		*status = STATUS_SUCCESS;
		if (work->flags & NDK_WORK_READ_LOCAL_INVALIDATE && work->sge_count)
			ndk_remote_invalidate(work->qp->pd, work->sge[0].token); /* NDK-109 */
		return OUTCOME_DONE;
	}
	if (moved == LOOPBACK_STOPPED) {
		*status = STATUS_CANCELLED;
		return OUTCOME_DONE; /* whoever stopped it does the rest */
	}
	if (moved == local)
		*status = STATUS_ACCESS_VIOLATION;
	return OUTCOME_BREAK;
}

static enum outcome execute(struct loopback_qp *self, struct ndk_work *work, NTSTATUS *status)
{
	struct loopback_link *link = atomic_load(&self->link);
	enum outcome outcome;
	if (work->change) {
		*status = ndk_change_apply(work->change);
		work->change = NULL;
		return OUTCOME_DONE;
	}
	struct ndk_qp *peer = loopback_link_peer(link, self->side);
	if (!peer)
		return OUTCOME_STALL;
	if (atomic_load(&peer->state) == NDK_QP_DEAD) /* it closes: the link's end is next */
		outcome = OUTCOME_STALL;
	else if (work->operation == NDK_SEND)
		outcome = send(self, loopback_of(peer), work, status);
	else
		outcome = transfer(self, loopback_of(peer), work, status);
	loopback_link_leave(peer);
	return outcome;
}

/* ---- The owner ---- */

static void complete_all(struct ndk_work *work, NTSTATUS status)
{
	struct ndk_work *next;
	for (; work; work = next) {
		next = work->next;
		ndk_work_complete(work, status, 0);
	}
}

enum stall { STALL_STOPPED, STALL_RETRY, STALL_CANCEL };

/* `work` could not begin: it is the head of the queue again, which has no owner any more, unless a
 * receive or a flush has come meanwhile. */
static enum stall stall(struct loopback_qp *self, struct ndk_work **work)
{
	enum stall result = STALL_STOPPED;
	if (!(*work)->captured) {
		(*work)->begun = true;
		*work = ndk_work_capture(*work);
	}
	KIRQL old = ke_lock_raise(&self->lock);
	if (self->flushing) {
		result = STALL_CANCEL;
	} else if (self->again) {
		result = STALL_RETRY;
	} else {
		(*work)->next = self->first;
		self->first = *work;
		if (!(*work)->next)
			self->last = &(*work)->next;
		self->running = false;
	}
	self->again = false;
	ke_lock_lower(&self->lock, old);
	return result;
}

/* The next request, or 0 and the queue has no owner any more. Completes what was flushed. */
static struct ndk_work *next_work(struct loopback_qp *self)
{
	for (;;) {
		KIRQL old = ke_lock_raise(&self->lock);
		struct ndk_work *cancelled = self->cancelled, *work = NULL;
		self->cancelled = NULL;
		if (!cancelled) {
			work = self->first;
			if (work)
				self->first = work->next;
			if (!self->first)
				self->last = &self->first;
			self->running = work != NULL;
			self->again = false;
			self->flushing = false;
		}
		ke_lock_lower(&self->lock, old);
		if (!cancelled)
			return work;
		complete_all(cancelled, STATUS_CANCELLED);
	}
}

/* What the owner has done for others is enough: a work item is the next owner. */
static void hand_on(struct loopback_qp *self, struct ndk_work *work)
{
	KIRQL old = ke_lock_raise(&self->lock);
	work->next = self->first;
	self->first = work;
	if (!work->next)
		self->last = &work->next;
	ke_lock_lower(&self->lock, old);
	ndk_busy_get(&self->qp->object);
	ndk_delivery_queue(&self->owner, NDK_LEVEL_PASSIVE);
}

/* The caller has become the owner. `work` 0: begin with what waits. */
static void run(struct loopback_qp *self, struct ndk_work *work)
{
	struct ndk_qp *qp = self->qp;
	ndk_busy_get(&qp->object);
	if (!work)
		work = next_work(self);
	for (unsigned done = 0; work; done++) {
		NTSTATUS status = STATUS_CANCELLED;
		enum outcome outcome = OUTCOME_DONE;
		/* All that was there when it became the owner: more has been posted since. */
		if (done > qp->parameters.initiator_depth && work->captured) {
			hand_on(self, work);
			break;
		}
		if (atomic_load(&qp->state) != NDK_QP_DEAD)
			outcome = execute(self, work, &status);
		if (outcome == OUTCOME_STALL) {
			enum stall stalled = stall(self, &work);
			if (stalled == STALL_STOPPED)
				break;
			if (stalled == STALL_RETRY)
				continue;
		}
		if (outcome == OUTCOME_BREAK)
			ndk_qp_advance(qp, NDK_QP_DEAD); /* nothing is let in from now on */
		ndk_work_complete(work, status, 0);
		if (outcome == OUTCOME_BREAK)
			loopback_link_break(atomic_load(&self->link));
		work = next_work(self);
	}
	loopback_drained(self);
	ndk_busy_put(&qp->object);
}

static void run_owner(struct ndk_delivery *delivery)
{
	struct loopback_qp *self = CONTAINING_RECORD(delivery, struct loopback_qp, owner);
	struct ndk_qp *qp = self->qp;
	run(self, NULL);
	ndk_busy_put(&qp->object);
}

int loopback_post(struct ndk_qp *qp, struct ndk_work *work)
{
	struct loopback_qp *self = loopback_of(qp);
	int status = NDK_SUCCESS;
	KIRQL old = ke_lock_raise(&self->lock);
	bool owner = !self->running && !self->first;
	/* Who changes the state flushes afterwards, under this lock. */
	if (atomic_load(&qp->state) != NDK_QP_CONNECTED) {
		status = NDK_CONNECTION_INVALID;
	} else if (owner) {
		self->running = true;
	} else {
		struct ndk_work *copy = ndk_work_capture(work);
		if (copy) {
			copy->next = NULL;
			*self->last = copy;
			self->last = &copy->next;
		} else {
			status = NDK_INSUFFICIENT_RESOURCES;
		}
	}
	ke_lock_lower(&self->lock, old);
	if (owner && status == NDK_SUCCESS)
		run(self, work);
	return status;
}

void loopback_kick(struct loopback_qp *self)
{
	KIRQL old = ke_lock_raise(&self->lock);
	bool owner = !self->running && self->first;
	if (owner)
		self->running = true;
	else
		self->again = self->running;
	ke_lock_lower(&self->lock, old);
	if (owner)
		run(self, NULL);
}

/* ---- Flush ---- */

static void flush_initiator(struct loopback_qp *self)
{
	KIRQL old = ke_lock_raise(&self->lock);
	bool owner = !self->running;
	if (self->first) {
		if (!self->cancelled)
			self->cancelled_last = &self->cancelled;
		*self->cancelled_last = self->first;
		self->cancelled_last = self->last;
		self->first = NULL;
		self->last = &self->first;
	}
	self->running = true;
	self->flushing = true;
	ke_lock_lower(&self->lock, old);
	if (owner)
		run(self, NULL);
}

void loopback_flush(struct ndk_qp *qp)
{
	struct loopback_qp *self = loopback_of(qp);
	loopback_receive_flush(self);
	flush_initiator(self);
}

void loopback_fail(struct ndk_qp *qp)
{
	struct loopback_link *link = atomic_load(&loopback_of(qp)->link);
	if (link)
		loopback_link_break(link);
	loopback_flush(qp);
}

/* The lock is held: nothing is outstanding. */
static bool quiet(const struct loopback_qp *self)
{
	return !self->running && !self->first && !self->cancelled &&
	       !atomic_load(&self->receiving) && !atomic_load(&self->visits);
}

bool loopback_drain(struct loopback_qp *self, struct ndk_connector *connector, bool closing)
{
	loopback_flush(self->qp);
	KIRQL old = ke_lock_raise(&self->lock);
	/* Set before it looks: `receiving` and `visits` become 0 without this lock, and who does
	 * that looks at `ending` afterwards (both seq_cst), so that one of the two sees the other.
	 */
	atomic_store(&self->ending[closing], connector);
	bool done = quiet(self) && atomic_exchange(&self->ending[closing], NULL);
	ke_lock_lower(&self->lock, old);
	return done;
}

void loopback_drained(struct loopback_qp *self)
{
	struct ndk_connector *disconnected = NULL, *closed = NULL;
	if (!atomic_load(&self->ending[0]) && !atomic_load(&self->ending[1]))
		return; /* who sets one looks at the queue afterwards */
	KIRQL old = ke_lock_raise(&self->lock);
	if (quiet(self)) {
		disconnected = atomic_exchange(&self->ending[0], NULL);
		closed = atomic_exchange(&self->ending[1], NULL);
	}
	ke_lock_lower(&self->lock, old);
	if (disconnected)
		ndk_connector_disconnected(disconnected, NDK_SUCCESS);
	if (closed)
		ndk_connector_gone(closed);
}

/* ---- Life ---- */

void loopback_qp_initialize(struct ndk_qp *qp)
{
	struct loopback_qp *self = loopback_of(qp);
	self->qp = qp;
	self->last = &self->first;
	ndk_delivery_initialize(&self->owner, run_owner);
	loopback_queue_initialize(&self->receives);
}

void loopback_qp_destroy(struct ndk_qp *qp)
{
	struct loopback_qp *self = loopback_of(qp);
	struct loopback_link *link = atomic_load(&self->link);
	loopback_receive_forget(self);
	if (link)
		loopback_link_put(link);
}
