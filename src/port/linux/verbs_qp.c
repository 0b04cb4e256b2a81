/* SPDX-License-Identifier: MIT */
/*
 * verbs_qp.c: queue pairs and shared receive queues on a device: made, put into the error state,
 * gone.
 *
 * A QP is moved to INIT when it is made, since receives may be posted before it is connected;
 * verbs_connect.c moves it on (verbs_qp_move). All QPs share one completion queue of the device,
 * which grows with them: the consumer's queues are the core's. Every request is signalled, so the
 * device never needs more entries than there are requests.
 *
 * Contexts: operations on a baton; making and destroying on the control thread (which owns cq_size
 * and cq_used), the error state and lists on the data thread. No locks.
 *
 * Chosen: a QP that was flushed stays in the error state (NdkFlush ends a connection, NDK-147). A
 * window that is still bound goes before its QP: soft-RoCE stalls for 51 s otherwise.
 */
#include <string.h>
#include "port/linux/verbs_connect.h"

/* ---- Room in the device's completion queue ---- */

static bool reserve(struct verbs_device *device, uint32_t entries)
{
	uint32_t need = device->cq_used + entries, size = device->cq_size;
	while (size < need)
		size *= 2;
	if (size > (uint32_t)device->attributes.max_cqe)
		size = (uint32_t)device->attributes.max_cqe;
	if (size < need)
		return false;
	if (size > device->cq_size) {
		if (verbs.ibv_resize_cq(device->cq, (int)size))
			return false;
		device->cq_size = size;
	}
	device->cq_used = need;
	return true;
}

/* ---- Queue pairs ---- */

static uint32_t entries_of(const struct verbs_qp *qp)
{
	return VERBS_PER_ENTRY * qp->parameters.initiator_depth +
	       (qp->srq ? 0 : qp->parameters.receive_depth);
}

static int make(struct verbs_qp *qp)
{
	const struct ndk_qp_parameters *p = &qp->parameters;
	struct verbs_device *device = qp->device;
	struct ibv_qp_init_attr init = {
		.qp_context = qp,
		.send_cq = device->cq,
		.recv_cq = device->cq,
		.srq = qp->srq ? qp->srq->srq : NULL,
		.cap = {.max_send_wr =
				VERBS_PER_ENTRY * (p->initiator_depth ? p->initiator_depth : 1),
			.max_recv_wr = p->receive_depth ? p->receive_depth : 1,
			.max_send_sge = p->initiator_sges ? p->initiator_sges : 1,
			.max_recv_sge = p->receive_sges ? p->receive_sges : 1,
			.max_inline_data = p->inline_size},
		.qp_type = IBV_QPT_RC};
	struct ibv_qp_attr attributes = {.qp_state = IBV_QPS_INIT,
					 .port_num = 1,
					 .qp_access_flags =
						 IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE};
	if (!reserve(device, entries_of(qp)))
		return NDK_INSUFFICIENT_RESOURCES;
	qp->qp = verbs.ibv_create_qp(qp->pd->pd, &init);
	int error = qp->qp ? verbs.ibv_modify_qp(qp->qp, &attributes,
						 IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT |
							 IBV_QP_ACCESS_FLAGS)
			   : errno;
	if (!error)
		return NDK_SUCCESS;
	if (qp->qp)
		verbs.ibv_destroy_qp(qp->qp);
	qp->qp = NULL;
	device->cq_used -= entries_of(qp);
	int status = verbs_status(error);
	return status == NDK_INVALID_PARAMETER ? status : NDK_INSUFFICIENT_RESOURCES;
}

/* Then the data thread gets to know it. */
static void qp_listed(struct verbs_job *job)
{
	struct verbs_qp *qp = (struct verbs_qp *)job;
	qp->next = qp->device->qps;
	qp->device->qps = qp;
	verbs_finish(job, NDK_SUCCESS);
}

static void qp_make(struct verbs_job *job)
{
	int status = make((struct verbs_qp *)job);
	if (status != NDK_SUCCESS) {
		verbs_finish(job, status);
		return;
	}
	job->run = qp_listed;
	verbs_pass(&verbs_data, job);
}

static void qp_made(struct verbs_job *job)
{
	ndk_created(((struct verbs_qp *)job)->object, job->status);
}

int verbs_qp_create(void *object, const struct ndk_qp_parameters *parameters)
{
	struct verbs_qp *qp = ndk_private(object);
	qp->object = object;
	qp->device = verbs_device_of(object);
	qp->pd = ndk_private(parameters->pd);
	qp->srq = parameters->srq ? ndk_private(parameters->srq) : NULL;
	qp->parameters = *parameters;
	qp->job.run = qp_make;
	qp->job.done = qp_made;
	return verbs_call(&verbs_control, &qp->job);
}

/* What the device reported of it (verbs_poll.c) has come through the data thread before this. */
static void qp_gone(struct verbs_job *job)
{
	verbs_finish(job, NDK_SUCCESS);
}

static void qp_unmake(struct verbs_job *job)
{
	struct verbs_qp *qp = (struct verbs_qp *)job;
	verbs.ibv_destroy_qp(qp->qp);
	qp->device->cq_used -= entries_of(qp);
	job->run = qp_gone;
	verbs_pass(&verbs_data, job);
}

static void qp_unlist(struct verbs_job *job)
{
	struct verbs_qp *qp = (struct verbs_qp *)job;
	struct verbs_qp **link = &qp->device->qps;
	qp->flushing = true; /* nobody wants to hear of errors any more */
	verbs_qp_error(qp);
	while (verbs_poll(qp->device)) /* receives that it took from an SRQ */
		;
	while (*link != qp)
		link = &(*link)->next;
	*link = qp->next;
	verbs_qp_unbind(qp);
	job->run = qp_unmake;
	verbs_pass(&verbs_control, job);
}

static void qp_unmade(struct verbs_job *job)
{
	ndk_destroyed(((struct verbs_qp *)job)->object);
}

int verbs_qp_destroy(void *object)
{
	struct verbs_qp *qp = ndk_private(object);
	if (!qp->qp)
		return NDK_SUCCESS;
	qp->job.run = qp_unlist;
	qp->job.done = qp_unmade;
	/* Not waited for: what else is on its way to verbs_service comes first. */
	verbs_submit(&verbs_data, &qp->job);
	return NDK_PENDING;
}

void verbs_qp_error(struct verbs_qp *qp)
{
	struct ibv_qp_attr attributes = {.qp_state = IBV_QPS_ERR};
	if (!qp->error && verbs.ibv_modify_qp(qp->qp, &attributes, IBV_QP_STATE))
		verbs_device_failed(qp->device, "a queue pair cannot be put into the error state");
	qp->error = true;
}

/* ---- Connected ---- */

struct rdma_conn_param verbs_parameters(const struct verbs_connection *c, const struct verbs_qp *qp)
{
	const struct ndk_offer *offer = &c->parameters.offer;
	const struct ndk_limits *limits = &c->device->core->limits;
	return (struct rdma_conn_param){
		.private_data = offer->size ? offer->data : NULL,
		.private_data_len = (uint8_t)offer->size,
		.responder_resources =
			(uint8_t)verbs_smaller(offer->inbound_reads, limits->inbound_reads),
		.initiator_depth =
			(uint8_t)verbs_smaller(offer->outbound_reads, limits->outbound_reads),
		.flow_control = 1,
		.retry_count = 7,
		.rnr_retry_count = 7,
		.srq = qp->srq != NULL,
		.qp_num = qp->qp->qp_num,
	};
}

int verbs_qp_move(struct verbs_connection *c, struct verbs_qp *qp, enum ibv_qp_state state)
{
	struct ibv_qp_attr attributes = {.qp_state = state};
	struct rdma_conn_param own = verbs_parameters(c, qp);
	int mask;
	if (verbs.rdma_init_qp_attr(c->id, &attributes, &mask))
		return errno;
	if (mask & IBV_QP_ACCESS_FLAGS)
		attributes.qp_access_flags = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
	if (mask & IBV_QP_MAX_DEST_RD_ATOMIC)
		attributes.max_dest_rd_atomic =
			(uint8_t)verbs_smaller(own.responder_resources, c->peer.outbound_reads);
	if (mask & IBV_QP_MAX_QP_RD_ATOMIC)
		attributes.max_rd_atomic =
			(uint8_t)verbs_smaller(own.initiator_depth, c->peer.inbound_reads);
	if (mask & IBV_QP_RNR_RETRY)
		attributes.rnr_retry = 7;
	if (mask & IBV_QP_MIN_RNR_TIMER)
		attributes.min_rnr_timer = 12; /* what the peer waits: 0.64 ms; 0 were 655 ms */
	return verbs.ibv_modify_qp(qp->qp, &attributes, mask);
}

/* ---- Shared receive queues ---- */

static void srq_make(struct verbs_job *job)
{
	struct verbs_srq *srq = (struct verbs_srq *)job;
	struct ibv_srq_init_attr init = {
		.srq_context = srq,
		.attr = {.max_wr = srq->parameters.depth, .max_sge = srq->parameters.sges}};
	if (reserve(srq->device, srq->parameters.depth)) {
		srq->srq = verbs.ibv_create_srq(srq->pd->pd, &init);
		if (!srq->srq)
			srq->device->cq_used -= srq->parameters.depth;
	}
	verbs_finish(job, srq->srq ? NDK_SUCCESS : NDK_INSUFFICIENT_RESOURCES);
}

static void srq_made(struct verbs_job *job)
{
	ndk_created(((struct verbs_srq *)job)->object, job->status);
}

int verbs_srq_create(void *object, const struct ndk_srq_parameters *parameters)
{
	struct verbs_srq *srq = ndk_private(object);
	srq->object = object;
	srq->device = verbs_device_of(object);
	srq->pd = ndk_private(parameters->pd);
	srq->parameters = *parameters;
	srq->job.run = srq_make;
	srq->job.done = srq_made;
	return verbs_call(&verbs_control, &srq->job);
}

/* From data to control to data: receives that were submitted are posted before, receives that were
 * taken are polled after the SRQ goes. */
static void srq_gone(struct verbs_job *job)
{
	while (verbs_poll(((struct verbs_srq *)job)->device))
		;
	verbs_finish(job, NDK_SUCCESS);
}

static void srq_unmake(struct verbs_job *job)
{
	struct verbs_srq *srq = (struct verbs_srq *)job;
	verbs.ibv_destroy_srq(srq->srq);
	srq->device->cq_used -= srq->parameters.depth;
	job->run = srq_gone;
	verbs_pass(&verbs_data, job);
}

static void srq_leave(struct verbs_job *job)
{
	job->run = srq_unmake;
	verbs_pass(&verbs_control, job);
}

static void srq_unmade(struct verbs_job *job)
{
	struct verbs_srq *srq = (struct verbs_srq *)job;
	verbs_srq_empty(srq);
	ndk_destroyed(srq->object);
}

int verbs_srq_destroy(void *object)
{
	struct verbs_srq *srq = ndk_private(object);
	if (!srq->srq)
		return NDK_SUCCESS;
	srq->job.run = srq_leave;
	srq->job.done = srq_unmade;
	verbs_submit(&verbs_data, &srq->job);
	return NDK_PENDING;
}
