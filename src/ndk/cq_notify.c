/* SPDX-License-Identifier: MIT */
/*
 * cq_notify.c: completion queues: what is placed in them, and when the consumer hears of it.
 *
 * Entries are numbered in the order of completion (NDK-88): `head` is the oldest, `tail` the next
 * number. A notification is *triggered* when an arm is satisfied: the arm is cleared, `notified`
 * takes the tail, and the callback is queued, as a DPC or work item. If one is queued or runs
 * already, the new one is `due` and is queued when that has returned, so that two never run at once
 * (NDK-90). An arm looks only at entries numbered `notified` or above that are still there (NDK-93,
 * DEF-99).
 *
 * Contexts and locks: everything at IRQL <= DISPATCH_LEVEL. cq->lock protects all of it; while it
 * is held nothing is called but the queueing of a delivery or a timer. Producers come from any
 * processor. A busy reference is held while a notification is under way or the timer is set, so
 * that a close waits for them (NDK-82).
 *
 * Implements NDK-90..95, NDK-97 (the delay), VER-64.
 *
 * Chosen: a failed completion satisfies ANY and SOLICITED. An overflow loses the completion that
 * did not fit and all later ones; what is in the queue can still be got; all QPs of the queue are
 * broken. When nothing is armed the error waits for the next arm. It is told once, by the next
 * notification that runs, and nothing is told after it. Moderation
 * delays every notification but that of an error. Notifications of a queue whose close has begun
 * are dropped.
 */
#include "ndk/queue.h"
#include "rtl/rtl.h"

bool ndk_strict_arm;

/* What an arm becomes when another follows before it was satisfied: [old][new] (NDK-92). */
static const uint8_t rearm[3][3] = {
	[NDK_CQ_NOTIFY_ERRORS] = {[NDK_CQ_NOTIFY_ERRORS] = NDK_CQ_NOTIFY_ERRORS,
				  [NDK_CQ_NOTIFY_ANY] = NDK_CQ_NOTIFY_ANY,
				  [NDK_CQ_NOTIFY_SOLICITED] = NDK_CQ_NOTIFY_SOLICITED},
	[NDK_CQ_NOTIFY_ANY] = {[NDK_CQ_NOTIFY_ERRORS] = NDK_CQ_NOTIFY_ANY,
			       [NDK_CQ_NOTIFY_ANY] = NDK_CQ_NOTIFY_ANY,
			       [NDK_CQ_NOTIFY_SOLICITED] = NDK_CQ_NOTIFY_ANY},
	[NDK_CQ_NOTIFY_SOLICITED] = {[NDK_CQ_NOTIFY_ERRORS] = NDK_CQ_NOTIFY_SOLICITED,
				     [NDK_CQ_NOTIFY_ANY] = NDK_CQ_NOTIFY_ANY,
				     [NDK_CQ_NOTIFY_SOLICITED] = NDK_CQ_NOTIFY_SOLICITED},
};

/* ---- Notifications ---- */

/* The lock is held: the arm is satisfied, now. */
static void trigger(struct ndk_cq *cq)
{
	cq->armed = NDK_NOT_ARMED;
	cq->notified = cq->tail;
	cq->delayed = 0;
	if (!cq->notification || cq->status_told || ndk_closing(&cq->object))
		return;
	if (cq->notifying) {
		cq->due = true;
		return;
	}
	cq->notifying = true;
	ndk_busy_get(&cq->object);
	ndk_delivery_queue(&cq->delivery, NDK_LEVEL_ANY);
}

/* The lock is held: does an entry satisfy the arm? */
static bool satisfied(const struct ndk_cq *cq)
{
	uint64_t from = cq->notified > cq->head ? cq->notified : cq->head;
	switch (cq->armed) {
	case NDK_CQ_NOTIFY_ANY:
		return cq->tail > from;
	case NDK_CQ_NOTIFY_SOLICITED:
		return cq->solicited > from;
	default:
		return false;
	}
}

/* The lock is held: is there an entry of the armed type, however old? */
static bool present(const struct ndk_cq *cq)
{
	return cq->armed == NDK_CQ_NOTIFY_ANY         ? cq->tail > cq->head
	       : cq->armed == NDK_CQ_NOTIFY_SOLICITED ? cq->solicited > cq->head
						      : false;
}

/* The lock is held, the arm satisfied. With moderation the notification waits for more entries, or
 * for the time (NDK-97). */
static void moderate(struct ndk_cq *cq)
{
	bool by_count = cq->moderation_count <= cq->depth;
	bool by_time = cq->moderation_interval != MAXULONG;
	cq->delayed++;
	/* A resize may have left neither rule. */
	if (!cq->moderated || (by_count ? cq->delayed >= cq->moderation_count : !by_time)) {
		trigger(cq);
	} else if (by_time && !cq->timer_set) {
		LARGE_INTEGER due = {.QuadPart = -10LL * cq->moderation_interval};
		cq->timer_set = true;
		ndk_busy_get(&cq->object);
		KeSetTimer(&cq->timer, due, &cq->timer_dpc);
	}
}

static VOID NTAPI on_timer(PKDPC dpc, PVOID context, PVOID argument1, PVOID argument2)
{
	struct ndk_cq *cq = context;
	(void)dpc;
	(void)argument1;
	(void)argument2;
	KIRQL old = ke_lock_raise(&cq->lock);
	cq->timer_set = false;
	if (satisfied(cq))
		trigger(cq);
	ke_lock_lower(&cq->lock, old);
	ndk_busy_put(&cq->object);
}

/* The one notification that is under way. */
static void notify(struct ndk_delivery *delivery)
{
	struct ndk_cq *cq = CONTAINING_RECORD(delivery, struct ndk_cq, delivery);
	KIRQL old = ke_lock_raise(&cq->lock);
	NTSTATUS status = cq->status;
	cq->status_told |= !NT_SUCCESS(status);
	ke_lock_lower(&cq->lock, old);
	if (!ndk_closing(&cq->object)) {
		struct ndk_callout callout;
		ndk_callout_begin(&callout, cq->notification, cq->notification_context);
		cq->notification(cq->notification_context, status);
		ndk_callout_end(&callout);
	}
	old = ke_lock_raise(&cq->lock);
	bool again = cq->due && !cq->status_told && !ndk_closing(&cq->object);
	cq->due = false;
	if (again)
		ndk_delivery_queue(&cq->delivery, NDK_LEVEL_ANY);
	else
		cq->notifying = false;
	ke_lock_lower(&cq->lock, old);
	if (!again)
		ndk_busy_put(&cq->object);
}

/* ---- Producers ---- */

/* The next QP of a dead queue that is not dead yet, with a busy reference. */
static struct ndk_qp *living_qp(struct ndk_cq *cq)
{
	struct ndk_qp *found = NULL;
	KIRQL old = ke_lock_raise(&cq->lock);
	for (LIST_ENTRY *e = cq->qps.Flink; e != &cq->qps && !found; e = e->Flink) {
		/* The entry's owner's index is in which of the two it is. */
		struct ndk_qp_link *link = CONTAINING_RECORD(e, struct ndk_qp_link, entry);
		if (atomic_load(&link->qp->state) != NDK_QP_DEAD && ndk_busy_try(&link->qp->object))
			found = link->qp;
	}
	ke_lock_lower(&cq->lock, old);
	return found;
}

/* After the queue has died: its QPs go with it (NDK-94). */
static void kill_qps(struct ndk_delivery *delivery)
{
	struct ndk_cq *cq = CONTAINING_RECORD(delivery, struct ndk_cq, killer);
	struct ndk_qp *qp;
	while ((qp = living_qp(cq))) {
		ndk_qp_advance(qp, NDK_QP_DEAD);
		if (qp->data->fail)
			qp->data->fail(qp);
		else
			qp->data->flush(qp);
		ndk_busy_put(&qp->object);
	}
	ndk_busy_put(&cq->object);
}

/* The lock is held. */
static void die(struct ndk_cq *cq, NTSTATUS status)
{
	if (!NT_SUCCESS(cq->status))
		return;
	cq->status = status;
	ndk_busy_get(&cq->object);
	ndk_delivery_queue(&cq->killer, NDK_LEVEL_ANY);
	if (cq->armed != NDK_NOT_ARMED)
		trigger(cq);
}

void ndk_cq_failed(struct ndk_cq *cq, int status)
{
	KIRQL old = ke_lock_raise(&cq->lock);
	die(cq, status);
	ke_lock_lower(&cq->lock, old);
}

/* The lock is held, and there is room. */
static void append(struct ndk_cq *cq, const NDK_RESULT_EX *result, bool solicited)
{
	cq->ring[cq->next] = *result;
	if (++cq->next == cq->depth)
		cq->next = 0;
	cq->tail++;
	if (solicited || !NT_SUCCESS(result->Status))
		cq->solicited = cq->tail;
	if (cq->armed != NDK_NOT_ARMED && satisfied(cq))
		moderate(cq);
}

void ndk_cq_place(struct ndk_cq *cq, const NDK_RESULT_EX *result, bool solicited)
{
	bool overflow = false;
	KIRQL old = ke_lock_raise(&cq->lock);
	if (NT_SUCCESS(cq->status)) {
		if (cq->tail - cq->head < cq->depth) {
			append(cq, result, solicited);
		} else {
			die(cq, STATUS_BUFFER_OVERFLOW);
			overflow = true;
		}
	}
	ke_lock_lower(&cq->lock, old);
	if (overflow && vf_on())
		vf_report(VF_NdkCqOverflow, NULL, cq->object.caller, (uint64_t)cq,
			  "the completion queue %p of depth %u overflowed: a completion (type "
			  "0x%x) came "
			  "while %u were in it",
			  cq, cq->depth, result->Type, cq->depth);
}

/* ---- The consumer's side ---- */

void ndk_cq_arm(struct ndk_cq *cq, uint8_t type)
{
	KIRQL old = ke_lock_raise(&cq->lock);
	cq->armed = cq->armed == NDK_NOT_ARMED ? type : rearm[cq->armed][type];
	if (!NT_SUCCESS(cq->status) && !cq->status_told)
		trigger(cq);
	else if (satisfied(cq) || (ndk_strict_arm && present(cq))) {
		uint64_t from = cq->notified > cq->head ? cq->notified : cq->head;
		if (cq->tail - from > cq->delayed) /* what came before the arm counts, too */
			cq->delayed = (uint32_t)(cq->tail - from) - 1;
		moderate(cq);
	}
	ke_lock_lower(&cq->lock, old);
}

void ndk_cq_moderate(struct ndk_cq *cq, uint32_t interval, uint32_t count)
{
	KIRQL old = ke_lock_raise(&cq->lock);
	cq->moderated = interval && count > 1;
	cq->moderation_interval = interval;
	cq->moderation_count = count;
	if (!cq->moderated && satisfied(cq))
		trigger(cq); /* what it kept quiet about */
	ke_lock_lower(&cq->lock, old);
}

void ndk_cq_quiet(struct ndk_cq *cq)
{
	KIRQL old = ke_lock_raise(&cq->lock);
	bool cancelled = cq->timer_set && KeCancelTimer(&cq->timer);
	cq->armed = NDK_NOT_ARMED;
	cq->due = false;
	if (cancelled)
		cq->timer_set = false;
	ke_lock_lower(&cq->lock, old);
	if (cancelled)
		ndk_busy_put(&cq->object);
}

void ndk_cq_notify_initialize(struct ndk_cq *cq)
{
	cq->armed = NDK_NOT_ARMED;
	InitializeListHead(&cq->qps);
	ndk_delivery_initialize(&cq->delivery, notify);
	ndk_delivery_initialize(&cq->killer, kill_qps);
	KeInitializeTimer(&cq->timer);
	KeInitializeDpc(&cq->timer_dpc, on_timer, cq);
}
