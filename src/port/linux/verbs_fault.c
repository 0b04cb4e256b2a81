/* SPDX-License-Identifier: MIT */
/*
 * verbs_fault.c: what a device reports by itself: QPs that a peer broke, and that have no receive
 * to fail (NDK-109a); SRQs that are lost (NDK-109b); the end of the device.
 *
 * A device that has failed is not listened to any more. All requests of its QPs come back with
 * STATUS_INTERNAL_ERROR, their connections break, SRQs report an error; what is posted later comes
 * back likewise. Regions are deregistered as ever; a device that refuses that, and is still there,
 * ends Ketch (verbs_memory.c).
 *
 * Soft-RoCE says nothing of a QP that a peer broke. It does not even answer that peer if a read's
 * region went while its bytes were sent: such a read never ends, and neither end would hear of it.
 * So its QPs are asked now and then.
 *
 * Contexts: an event thread for each device, data thread, verbs_service (DISPATCH_LEVEL). No locks.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "port/linux/verbs_work.h"

/* ---- Queue pairs and shared receive queues ---- */

#define QP(job, member) ((struct verbs_qp *)((char *)(job)-offsetof(struct verbs_qp, member)))

static void broke_run(struct verbs_job *job)
{
	struct verbs_qp *qp = QP(job, broke);
	verbs_qp_error(qp);
	verbs_finish(job, qp->flushing ? NDK_CANCELLED : NDK_SUCCESS);
}

static void broke_done(struct verbs_job *job)
{
	if (job->status == NDK_SUCCESS)
		verbs_qp_broken(QP(job, broke), IBV_WC_FATAL_ERR);
}

/* By the device, or seen by the data thread. */
static void qp_event(struct verbs_qp *qp)
{
	if (atomic_exchange(&qp->reported, true))
		return;
	qp->broke.run = broke_run;
	qp->broke.done = broke_done;
	verbs_pass(&verbs_data, &qp->broke);
}

void verbs_qps_look(void)
{
	struct ibv_qp_attr now;
	struct ibv_qp_init_attr unused;
	for (struct verbs_device *device = verbs_devices; device; device = device->next)
		for (struct verbs_qp *qp = device->soft_roce ? device->qps : NULL; qp;
		     qp = qp->next)
			if (!qp->error &&
			    !verbs.ibv_query_qp(qp->qp, &now, IBV_QP_STATE, &unused) &&
			    now.qp_state == IBV_QPS_ERR)
				qp_event(qp);
}

static void srq_broke_run(struct verbs_job *job)
{
	verbs_finish(job, NDK_SUCCESS);
}

static void srq_broke_done(struct verbs_job *job)
{
	ndk_srq_failed(
		((struct verbs_srq *)((char *)job - offsetof(struct verbs_srq, broke)))->object);
}

static void srq_event(struct verbs_srq *srq)
{
	if (srq->broke.run)
		return;
	srq->broke.run = srq_broke_run;
	srq->broke.done = srq_broke_done;
	verbs_pass(&verbs_data, &srq->broke); /* before what its end has to do there */
}

/* ---- The end of a device: its requests come back, its connections break ---- */

static void give_back(struct verbs_queue *queue)
{
	for (struct verbs_node *node = queue->first; node; node = node->next) {
		if (node->done)
			continue;
		node->done = true;
		node->status = NDK_INTERNAL_ERROR;
		node->provider_error = IBV_WC_FATAL_ERR;
	}
	verbs_queue_retire(queue);
}

static void died_done(struct verbs_job *job)
{
	struct verbs_qp *qp = QP(job, died);
	if (qp->srq)
		ndk_srq_failed(qp->srq->object);
	if (job->status == NDK_SUCCESS)
		verbs_qp_broken(qp, IBV_WC_FATAL_ERR);
}

static void device_died(struct verbs_job *job)
{
	struct verbs_device *device =
		(struct verbs_device *)((char *)job - offsetof(struct verbs_device, death));
	device->dead = true; /* nothing that it may still say is listened to */
	for (struct verbs_qp *qp = device->qps; qp; qp = qp->next) {
		qp->error = true;
		qp->waiting = NULL;
		give_back(&qp->sends);
		give_back(&qp->receives);
		qp->died.done = died_done;
		verbs_finish(&qp->died, qp->flushing ? NDK_CANCELLED : NDK_SUCCESS);
	}
}

void verbs_device_failed(struct verbs_device *device, const char *why)
{
	if (atomic_exchange(&device->failed, true))
		return;
	fprintf(stderr, "ketch: RDMA device %s failed: %s\n", device->core->name, why);
	device->death.run = device_died;
	verbs_pass(&verbs_data, &device->death);
}

static void *event_main(void *device)
{
	struct verbs_device *v = device;
	struct ibv_async_event event;
	while (!verbs.ibv_get_async_event(v->context, &event)) {
		switch (event.event_type) {
		case IBV_EVENT_QP_FATAL:
		case IBV_EVENT_QP_REQ_ERR:
		case IBV_EVENT_QP_ACCESS_ERR:
			qp_event(event.element.qp->qp_context);
			break;
		case IBV_EVENT_SRQ_ERR:
			srq_event(event.element.srq->srq_context);
			break;
		case IBV_EVENT_DEVICE_FATAL:
		case IBV_EVENT_CQ_ERR:
			verbs_device_failed(v, event.event_type == IBV_EVENT_CQ_ERR
						       ? "its completion queue is lost"
						       : "it says so");
			break;
		default:
			break;
		}
		verbs.ibv_ack_async_event(&event);
	}
	verbs_device_failed(v, strerror(errno));
	return NULL;
}

bool verbs_work_watch(struct verbs_device *device)
{
	int flags = fcntl(device->channel->fd, F_GETFL);
	return flags >= 0 && !fcntl(device->channel->fd, F_SETFL, flags | O_NONBLOCK) &&
	       host_device_start(event_main, device, "ketch-rdma-ev");
}
