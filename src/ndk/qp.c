/* SPDX-License-Identifier: MIT */
/*
 * qp.c: queue pairs: making, states, flush, end. post.c has the posting functions.
 *
 * The state only grows: IDLE, CONNECTED, PEER_GONE, DEAD. It is changed by compare and swap, from
 * any processor. Who makes a QP DEAD flushes it afterwards; a provider looks at the state again
 * under the lock of its queue, so that a request that was let in just before is flushed too.
 *
 * Contexts and locks: IRQL <= DISPATCH_LEVEL. A QP is in the lists of its CQs from its making to
 * its destruction, under each CQ's lock.
 *
 * Implements NDK-30, 46, 47, 60, 81, 94, 100, 106, 116 (DEF), 147; VER-61 (a DEFER chain left
 * open).
 *
 * Chosen: NdkFlush leaves the connection as it is (on a device whose flush is the error state it
 * breaks it). Depths and SGE counts of 0 are legal: nothing can be posted there. A close flushes at
 * once.
 */
#include "ndk/connection.h"
#include "ndk/queue.h"
#include "rtl/rtl.h"

bool ndk_qp_advance(struct ndk_qp *qp, enum ndk_qp_state state)
{
	uint32_t old = atomic_load(&qp->state);
	while (old < (uint32_t)state) {
		if (atomic_compare_exchange_weak(&qp->state, &old, state))
			return true;
	}
	return false;
}

void ndk_qp_kill(struct ndk_qp *qp)
{
	ndk_qp_advance(qp, NDK_QP_DEAD);
	qp->data->flush(qp);
}

void ndk_qp_broken(struct ndk_qp *qp, uint32_t reason)
{
	ndk_qp_advance(qp, NDK_QP_DEAD);
	struct ndk_connector *connector = ndk_qp_connector(qp);
	if (connector) {
		ndk_connector_peer_gone(connector, reason);
		ndk_busy_put(&connector->object);
	}
}

/* ---- Flush ---- */

/*
 * Cancel what is posted to both queues; each request completes with STATUS_CANCELLED. IRQL <=
 * DISPATCH_LEVEL, also while something is being posted. Source: NDK-60, NDK-100, NDK-106.
 */
VOID NTAPI ndk_qp_flush(NDK_QP *pNdkQp)
{
	struct ndk_qp *qp = (struct ndk_qp *)pNdkQp;
	if (!ndk_object_enter(qp, NdkObjectTypeQp, "NdkFlush", NDK_CALLER()))
		return;
	qp->data->flush(qp);
	ndk_object_leave(qp);
}

/* ---- Life ---- */

static void begin_close(struct ndk_object *object)
{
	struct ndk_qp *qp = (struct ndk_qp *)object;
	if (qp->deferred && vf_on()) /* the consumer never ended a chain (NDK-107, VER-61) */
		vf_report(VF_NdkDeferOpen, "NdkCloseQp", qp->deferred, (uint64_t)qp,
			  "the last request posted to the QP %p has NDK_OP_FLAG_DEFER", qp);
	ndk_qp_kill(qp);
}

static void unlink_cq(struct ndk_cq *cq, struct ndk_qp_link *link)
{
	if (!link->qp) /* it was never linked */
		return;
	KIRQL old = ke_lock_raise(&cq->lock);
	RemoveEntryList(&link->entry);
	ke_lock_lower(&cq->lock, old);
}

static void link_cq(struct ndk_cq *cq, struct ndk_qp *qp, struct ndk_qp_link *link)
{
	link->qp = qp;
	KIRQL old = ke_lock_raise(&cq->lock);
	InsertTailList(&cq->qps, &link->entry);
	ke_lock_lower(&cq->lock, old);
}

static void destroy(struct ndk_object *object)
{
	struct ndk_qp *qp = (struct ndk_qp *)object;
	ndk_pd_unlink(&qp->of_pd);
	unlink_cq(qp->receive_cq, &qp->links[0]);
	unlink_cq(qp->initiator_cq, &qp->links[1]);
	ndk_receive_pool_destroy(&qp->receives);
	ex_free(qp->works);
	qp->works = NULL;
}

static const struct ndk_class class = {
	.name = "queue pair",
	.type = NdkObjectTypeQp,
	.size = sizeof(struct ndk_qp),
	.dispatch = &ndk_qp_dispatch,
	.begin_close = begin_close,
	.destroy = destroy,
};

/* NDK-105: what the adapter can do. */
static bool within_limits(const NDK_ADAPTER_INFO *info, const struct ndk_qp_parameters *p)
{
	return p->receive_depth <= info->MaxReceiveQueueDepth &&
	       p->initiator_depth <= info->MaxInitiatorQueueDepth &&
	       p->receive_sges <= info->MaxReceiveRequestSge &&
	       p->initiator_sges <= info->MaxInitiatorRequestSge &&
	       p->inline_size <= info->MaxInlineDataSize;
}

static bool is_live(const void *object, NDK_OBJECT_TYPE type, const struct ndk_pd *pd)
{
	const struct ndk_object *o = object;
	return o && o->signature == NDK_SIGNATURE && o->class->type == type &&
	       o->adapter == pd->object.adapter && !ndk_closing(o);
}

static NTSTATUS fill(struct ndk_qp *qp)
{
	const struct ndk_qp_parameters *p = &qp->parameters;
	NTSTATUS status = ndk_receive_pool_create(&qp->receives, &qp->object.adapter->info,
						  p->receive_depth, p->receive_sges);
	if (NT_SUCCESS(status))
		status = ndk_works_create(qp);
	if (NT_SUCCESS(status) &&
	    (!ndk_antecedent_add(qp, p->receive_cq) ||
	     (p->initiator_cq != p->receive_cq && !ndk_antecedent_add(qp, p->initiator_cq)) ||
	     (p->srq && !ndk_antecedent_add(qp, p->srq))))
		status = STATUS_INSUFFICIENT_RESOURCES;
	if (NT_SUCCESS(status)) {
		link_cq(qp->receive_cq, qp, &qp->links[0]);
		link_cq(qp->initiator_cq, qp, &qp->links[1]);
		ndk_pd_link(qp->pd, &qp->of_pd, qp);
	}
	return status;
}

static NTSTATUS make(const struct ndk_qp_parameters *parameters, PVOID context, uint64_t caller,
		     struct ndk_qp **out)
{
	struct ndk_qp *qp = ndk_object_allocate(&class, &parameters->pd->object, caller);
	if (!qp)
		return STATUS_INSUFFICIENT_RESOURCES;
	qp->parameters = *parameters;
	qp->pd = parameters->pd;
	qp->receive_cq = parameters->receive_cq;
	qp->initiator_cq = parameters->initiator_cq;
	qp->srq = parameters->srq;
	qp->context = context;
	qp->data = qp->object.adapter->device->provider->data;
	NTSTATUS status = fill(qp);
	if (NT_SUCCESS(status))
		*out = qp;
	else
		ndk_object_discard(qp);
	return status;
}

struct create_call {
	const char *name;
	enum ndk_function function;
	uint64_t caller;
	NDK_FN_CREATE_COMPLETION *completion;
	PVOID context;
	void **out;
};

/* An object that the consumer passes: it is open, and of the PD's adapter. */
static bool check_object(const void *object, NDK_OBJECT_TYPE type, const char *name,
			 const struct ndk_pd *pd, const struct create_call *call)
{
	if (is_live(object, type, pd))
		return true;
	vf_report(VF_NdkObject, call->name, call->caller, (uint64_t)object,
		  "is called with %p, which is no open %s of the protection domain's adapter",
		  object, name);
	return false;
}

static NTSTATUS create(const struct ndk_qp_parameters *p, PVOID qp_context,
		       const struct create_call *call)
{
	struct ndk_qp *qp = NULL;
	NTSTATUS status = STATUS_INVALID_PARAMETER;
	if (!ndk_object_enter(p->pd, NdkObjectTypePd, call->name, call->caller))
		return STATUS_INVALID_DEVICE_STATE;
	if (check_object(p->receive_cq, NdkObjectTypeCq, "completion queue", p->pd, call) &&
	    check_object(p->initiator_cq, NdkObjectTypeCq, "completion queue", p->pd, call) &&
	    (call->function == NDK_FUNCTION_CreateQp ||
	     check_object(p->srq, NdkObjectTypeSrq, "shared receive queue", p->pd, call)) &&
	    within_limits(&p->pd->object.adapter->info, p))
		status = make(p, qp_context, call->caller, &qp);
	if (qp)
		status = ndk_create_done(qp, p, call->function, call->completion, call->context,
					 call->out);
	ndk_object_leave(p->pd);
	return status;
}

/*
 * Create a queue pair. IRQL <= DISPATCH_LEVEL. The two CQs may be one (DEF-79). STATUS_SUCCESS,
 * STATUS_PENDING; STATUS_INVALID_PARAMETER: beyond the adapter's limits, or a CQ of another
 * adapter; STATUS_INSUFFICIENT_RESOURCES. Source: NDK-46.
 */
NTSTATUS NTAPI ndk_create_qp(NDK_PD *pNdkPd, NDK_CQ *pReceiveCq, NDK_CQ *pInitiatorCq,
			     PVOID QPContext, ULONG ReceiveQueueDepth, ULONG InitiatorQueueDepth,
			     ULONG MaxReceiveRequestSge, ULONG MaxInitiatorRequestSge,
			     ULONG InlineDataSize, NDK_FN_CREATE_COMPLETION *CreateCompletion,
			     PVOID RequestContext, NDK_QP **ppNdkQp)
{
	struct ndk_qp_parameters parameters = {
		.pd = (struct ndk_pd *)pNdkPd,
		.receive_cq = (struct ndk_cq *)pReceiveCq,
		.initiator_cq = (struct ndk_cq *)pInitiatorCq,
		.receive_depth = ReceiveQueueDepth,
		.receive_sges = MaxReceiveRequestSge,
		.initiator_depth = InitiatorQueueDepth,
		.initiator_sges = MaxInitiatorRequestSge,
		.inline_size = InlineDataSize,
	};
	struct create_call call = {"NdkCreateQp",    NDK_FUNCTION_CreateQp, NDK_CALLER(),
				   CreateCompletion, RequestContext,        (void **)ppNdkQp};
	return create(&parameters, QPContext, &call);
}

/* The same with a shared receive queue. Source: NDK-47. */
NTSTATUS NTAPI ndk_create_qp_with_srq(NDK_PD *pNdkPd, NDK_CQ *pReceiveCq, NDK_CQ *pInitiatorCq,
				      NDK_SRQ *pSrq, PVOID QPContext, ULONG InitiatorQueueDepth,
				      ULONG MaxInitiatorRequestSge, ULONG InlineDataSize,
				      NDK_FN_CREATE_COMPLETION *CreateCompletion,
				      PVOID RequestContext, NDK_QP **ppNdkQp)
{
	struct ndk_qp_parameters parameters = {
		.pd = (struct ndk_pd *)pNdkPd,
		.receive_cq = (struct ndk_cq *)pReceiveCq,
		.initiator_cq = (struct ndk_cq *)pInitiatorCq,
		.srq = (struct ndk_srq *)pSrq,
		.initiator_depth = InitiatorQueueDepth,
		.initiator_sges = MaxInitiatorRequestSge,
		.inline_size = InlineDataSize,
	};
	struct create_call call = {"NdkCreateQpWithSrq", NDK_FUNCTION_CreateQpWithSrq,
				   NDK_CALLER(),         CreateCompletion,
				   RequestContext,       (void **)ppNdkQp};
	return create(&parameters, QPContext, &call);
}
