/* SPDX-License-Identifier: MIT */
/*
 * srq.c: shared receive queues, and their threshold.
 *
 * `queued` counts the receives that nobody has taken yet. While armed, falling below the threshold
 * disarms and notifies; two notifications never run at once. A failure is told once, and nothing
 * after it.
 *
 * Contexts and locks: IRQL <= DISPATCH_LEVEL; srq->lock protects the counts and flags; while it is
 * held nothing is called but the queueing of a delivery.
 *
 * Implements NDK-32, 45, 58, 59, 109b; VER-56.
 *
 * Chosen: armed at creation only with a threshold above 0 (there is nothing queued then, so "falls
 * below" begins with the first receive that is taken). A threshold above the depth, and a depth
 * below what is queued, are STATUS_INVALID_PARAMETER. Without a callback nothing is armed.
 */
#include "ndk/queue.h"
#include "rtl/rtl.h"

/* ---- The threshold ---- */

/* The lock is held. */
static void trigger(struct ndk_srq *srq)
{
	srq->armed = false;
	if (!srq->notification || srq->failure_told || ndk_closing(&srq->object))
		return;
	if (srq->notifying) {
		srq->due = true;
		return;
	}
	srq->notifying = true;
	ndk_busy_get(&srq->object);
	ndk_delivery_queue(&srq->delivery, NDK_LEVEL_ANY);
}

static void notify(struct ndk_delivery *delivery)
{
	struct ndk_srq *srq = CONTAINING_RECORD(delivery, struct ndk_srq, delivery);
	KIRQL old = ke_lock_raise(&srq->lock);
	NTSTATUS status = srq->failed ? STATUS_INTERNAL_ERROR : STATUS_SUCCESS;
	srq->failure_told = srq->failed;
	ke_lock_lower(&srq->lock, old);
	if (!ndk_closing(&srq->object)) {
		struct ndk_callout callout;
		ndk_callout_begin(&callout, srq->notification, srq->notification_context);
		srq->notification(srq->notification_context, status);
		ndk_callout_end(&callout);
	}
	old = ke_lock_raise(&srq->lock);
	bool again = srq->due && !srq->failure_told && !ndk_closing(&srq->object);
	srq->due = false;
	srq->notifying = again;
	if (again)
		ndk_delivery_queue(&srq->delivery, NDK_LEVEL_ANY);
	ke_lock_lower(&srq->lock, old);
	if (!again)
		ndk_busy_put(&srq->object);
}

void ndk_srq_taken(struct ndk_srq *srq)
{
	KIRQL old = ke_lock_raise(&srq->lock);
	srq->queued--;
	if (srq->armed && srq->queued < srq->threshold)
		trigger(srq);
	ke_lock_lower(&srq->lock, old);
}

void ndk_srq_failed(struct ndk_srq *srq)
{
	KIRQL old = ke_lock_raise(&srq->lock);
	bool first = !srq->failed;
	srq->failed = true;
	if (first)
		trigger(srq);
	ke_lock_lower(&srq->lock, old);
}

void ndk_srq_receive_free(struct ndk_srq *srq, struct ndk_receive *receive)
{
	ndk_receive_put(&srq->receives, receive);
}

/* ---- The consumer's functions ---- */

static NTSTATUS modify(struct ndk_srq *srq, ULONG depth, ULONG threshold)
{
	NTSTATUS status;
	if (ndk_must_fail(NDK_FUNCTION_ModifySrq, &status))
		return status;
	if (depth > srq->object.adapter->info.MaxSrqDepth ||
	    threshold > (depth ? depth : srq->receives.depth) || (depth && depth < srq->queued))
		return STATUS_INVALID_PARAMETER;
	if (depth) {
		status = ndk_receive_pool_resize(&srq->receives, depth);
		if (!NT_SUCCESS(status))
			return status;
	}
	if (!threshold)
		return STATUS_SUCCESS;
	KIRQL old = ke_lock_raise(&srq->lock);
	srq->threshold = threshold;
	srq->armed = srq->notification != NULL;
	if (srq->armed && srq->queued < threshold)
		trigger(srq);
	ke_lock_lower(&srq->lock, old);
	return STATUS_SUCCESS;
}

/*
 * Change depth and threshold; 0 keeps either. A threshold arms the notification again. IRQL <=
 * DISPATCH_LEVEL. STATUS_SUCCESS, STATUS_PENDING; STATUS_INVALID_PARAMETER: limits;
 * STATUS_INSUFFICIENT_RESOURCES. Source: NDK-58, NDK-109b.
 */
static NTSTATUS NTAPI modify_srq(NDK_SRQ *pNdkSrq, ULONG SrqDepth, ULONG NotifyThreshold,
				 NDK_FN_REQUEST_COMPLETION *RequestCompletion, PVOID RequestContext)
{
	struct ndk_srq *srq = (struct ndk_srq *)pNdkSrq;
	uint64_t caller = NDK_CALLER();
	if (!ndk_object_enter(srq, NdkObjectTypeSrq, "NdkModifySrq", caller))
		return STATUS_INVALID_DEVICE_STATE;
	NTSTATUS status = modify(srq, SrqDepth, NotifyThreshold);
	ndk_object_leave(srq);
	return ndk_request_done(srq, RequestCompletion, RequestContext, status, caller);
}

static NTSTATUS queue_receive(struct ndk_srq *srq, PVOID context, const NDK_SGE *sge, ULONG count)
{
	struct ndk_receive *receive = NULL;
	NTSTATUS status;
	if (ndk_must_fail(NDK_FUNCTION_SrqReceive, &status))
		return status;
	status = ndk_receive_get(&srq->receives, context, sge, count, &receive);
	if (!NT_SUCCESS(status))
		return status;
	/* Counted first: it may be taken before the provider returns. */
	KIRQL old = ke_lock_raise(&srq->lock);
	srq->queued++;
	ke_lock_lower(&srq->lock, old);
	status = srq->object.adapter->device->provider->data->receive(NULL, srq, receive);
	if (!NT_SUCCESS(status)) {
		ndk_srq_taken(srq);
		ndk_receive_put(&srq->receives, receive);
	}
	return status;
}

/*
 * Post memory for the next send to any QP of the queue. IRQL <= DISPATCH_LEVEL; serialised by the
 * consumer. STATUS_SUCCESS; STATUS_INVALID_PARAMETER: too many SGEs, or more bytes than
 * MaxTransferLength; STATUS_INSUFFICIENT_RESOURCES:
 * the queue is full. Source: NDK-59.
 */
static NTSTATUS NTAPI srq_receive(NDK_SRQ *pNdkSrq, PVOID RequestContext, CONST NDK_SGE *pSgl,
				  ULONG nSge)
{
	struct ndk_srq *srq = (struct ndk_srq *)pNdkSrq;
	uint64_t caller = NDK_CALLER();
	if (!ndk_object_enter(srq, NdkObjectTypeSrq, "NdkSrqReceive", caller))
		return STATUS_INVALID_DEVICE_STATE;
	bool entered = vf_on() && ndk_serial_enter(&srq->user, "NdkSrqReceive", srq, caller);
	NTSTATUS status = queue_receive(srq, RequestContext, pSgl, nSge);
	ndk_serial_leave(&srq->user, entered);
	ndk_object_leave(srq);
	return status;
}

/* ---- Life ---- */

static void destroy(struct ndk_object *object)
{
	struct ndk_srq *srq = (struct ndk_srq *)object;
	ndk_pd_unlink(&srq->of_pd);
	ndk_receive_pool_destroy(&srq->receives);
}

static const NDK_SRQ_DISPATCH dispatch = {
	.NdkCloseSrq = ndk_close,
	.NdkQueryExtension = ndk_query_extension,
	.NdkModifySrq = modify_srq,
	.NdkSrqReceive = srq_receive,
};

static const struct ndk_class class = {
	.name = "shared receive queue",
	.type = NdkObjectTypeSrq,
	.size = sizeof(struct ndk_srq),
	.dispatch = &dispatch,
	.destroy = destroy,
	.request = "NdkModifySrq",
};

static struct ndk_srq *make(const struct ndk_srq_parameters *p, ULONG threshold, uint64_t caller)
{
	struct ndk_srq *srq = ndk_object_allocate(&class, &p->pd->object, caller);
	if (!srq)
		return NULL;
	ndk_delivery_initialize(&srq->delivery, notify);
	srq->threshold = threshold;
	if (NT_SUCCESS(ndk_receive_pool_create(&srq->receives, &srq->object.adapter->info, p->depth,
					       p->sges))) {
		ndk_pd_link(p->pd, &srq->of_pd, srq);
		return srq;
	}
	ndk_object_discard(srq);
	return NULL;
}

static bool within_limits(const NDK_ADAPTER_INFO *info, const struct ndk_srq_parameters *p,
			  ULONG threshold)
{
	return p->depth && p->depth <= info->MaxSrqDepth && p->sges <= info->MaxReceiveRequestSge &&
	       threshold <= p->depth;
}

/*
 * Create a shared receive queue. IRQL <= DISPATCH_LEVEL. NotifyThreshold receives, 0: no
 * notification. STATUS_SUCCESS, STATUS_PENDING; STATUS_INVALID_PARAMETER: limits;
 * STATUS_INSUFFICIENT_RESOURCES. Source: NDK-45.
 */
NTSTATUS NTAPI ndk_create_srq(NDK_PD *pNdkPd, ULONG SrqDepth, ULONG MaxReceiveRequestSge,
			      ULONG NotifyThreshold,
			      NDK_FN_SRQ_NOTIFICATION_CALLBACK *SrqNotification,
			      PVOID SrqNotificationContext, GROUP_AFFINITY *Affinity,
			      NDK_FN_CREATE_COMPLETION *CreateCompletion, PVOID RequestContext,
			      NDK_SRQ **ppNdkSrq)
{
	struct ndk_srq_parameters parameters = {
		.pd = (struct ndk_pd *)pNdkPd, .depth = SrqDepth, .sges = MaxReceiveRequestSge};
	uint64_t caller = NDK_CALLER();
	NTSTATUS status = STATUS_INVALID_PARAMETER;
	(void)Affinity;
	if (!ndk_object_enter(pNdkPd, NdkObjectTypePd, "NdkCreateSrq", caller))
		return STATUS_INVALID_DEVICE_STATE;
	if (SrqNotification && vf_on())
		ndk_check_routine(&parameters.pd->object, "notification callback", SrqNotification,
				  caller);
	if (within_limits(&parameters.pd->object.adapter->info, &parameters, NotifyThreshold)) {
		struct ndk_srq *srq = make(&parameters, NotifyThreshold, caller);
		status = STATUS_INSUFFICIENT_RESOURCES;
		if (srq) {
			srq->notification = SrqNotification;
			srq->notification_context = SrqNotificationContext;
			srq->armed = NotifyThreshold && SrqNotification;
			status = ndk_create_done(srq, &parameters, NDK_FUNCTION_CreateSrq,
						 CreateCompletion, RequestContext,
						 (void **)ppNdkSrq);
		}
	}
	ndk_object_leave(pNdkPd);
	return status;
}
