/* SPDX-License-Identifier: MIT */
/*
 * verbs_poll.c: requests come back from the device.
 *
 * The data thread posts what was submitted, polls the device's completion queue, and goes on so for
 * SPIN_NS after the last event; then it asks the device for an interrupt, looks once more, and
 * sleeps until a doorbell (an eventfd) or the completion channel wakes it. Requests of a queue are
 * finished in the order in which they were posted. verbs_service tells the core.
 *
 * A request that fails puts the QP into the error state (the device does so by itself): the rest
 * comes back cancelled, the core is told once that the QP is broken, the connection is taken down.
 *
 * Contexts: data thread, verbs_service (DISPATCH_LEVEL). No locks.
 *
 * Chosen: verbs does not say whether a message was solicited; each one counts as if it were.
 * A device that does not tell bounds from rights: STATUS_ACCESS_VIOLATION for both.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include "port/linux/verbs_work.h"

#define SPIN_NS 50000u
#define LOOK_MS 500
#define BATCH   32

/* ---- Queues of nodes ---- */

struct verbs_queue *verbs_queue_of(struct verbs_node *node)
{
	if (node->kind == VERBS_SEND)
		return &node->qp->sends;
	return node->kind == VERBS_RECEIVE ? &node->qp->receives : &node->srq->receives;
}

void verbs_queue_add(struct verbs_queue *queue, struct verbs_node *node)
{
	node->next = NULL;
	node->previous = queue->last;
	if (queue->last)
		queue->last->next = node;
	else
		queue->first = node;
	queue->last = node;
}

static void queue_remove(struct verbs_queue *queue, struct verbs_node *node)
{
	if (node->previous)
		node->previous->next = node->next;
	else
		queue->first = node->next;
	if (node->next)
		node->next->previous = node->previous;
	else
		queue->last = node->previous;
}

/* ---- Windows ---- */

void verbs_region_unbind(struct verbs_region *region)
{
	if (!region->bound)
		return;
	struct verbs_region **link = &region->bound->windows;
	while (*link != region)
		link = &(*link)->next_bound;
	*link = region->next_bound;
	region->bound = NULL;
}

void verbs_qp_unbind(struct verbs_qp *qp)
{
	while (qp->windows)
		verbs_region_renew(qp->windows);
}

/* A fast registration ends: so do the windows that were bound to it, on whatever QP (NDK-131). */
static void end_children(struct verbs_device *device, const struct verbs_region *parent)
{
	for (struct verbs_qp *qp = device->qps; qp; qp = qp->next) {
		struct verbs_region *region = qp->windows;
		while (region) {
			struct verbs_region *next = region->next_bound;
			if (region->parent == parent)
				verbs_region_renew(region);
			region = next;
		}
	}
}

/* ---- The end of a node ---- */

static void finish(struct verbs_node *node)
{
	struct verbs_region *region = node->region;
	bool alive = region && atomic_load(&region->generation) == node->generation;
	if (alive && node->work->operation == NDK_INVALIDATE)
		end_children(node->qp->device, region);
	if (alive && node->applied && node->status != NDK_SUCCESS &&
	    (node->window || region->mr || region->bound))
		verbs_region_renew(region); /* whatever it is bound to, nobody gets at it */
	for (uint32_t i = 0; i < node->sge_count; i++)
		verbs_dereg(node->sges[i].temporary);
	verbs_dereg(node->leaves);
	verbs_finish(&node->job, node->status);
}

static void tell_drained(struct verbs_qp *qp)
{
	while (qp && qp->drained && !qp->sends.first && !qp->receives.first) {
		struct verbs_job *job = qp->drained;
		qp->drained = job->next;
		job->run(job);
	}
}

/* Those at the front that are done are finished. */
static void retire(struct verbs_queue *queue)
{
	struct verbs_node *node;
	while ((node = queue->first) && node->done) {
		struct verbs_qp *qp = node->qp;
		queue_remove(queue, node);
		finish(node);
		tell_drained(qp);
	}
}

void verbs_queue_retire(struct verbs_queue *queue)
{
	struct verbs_node *node = queue->first;
	struct verbs_qp *qp = node && node->kind == VERBS_SEND ? node->qp : NULL;
	retire(queue);
	while (qp && (node = qp->waiting) && !verbs_node_must_wait(node)) {
		qp->waiting = node->next;
		verbs_node_begin(node);
		retire(queue);
	}
}

void verbs_qp_drain(struct verbs_qp *qp, struct verbs_job *job)
{
	job->next = qp->drained;
	qp->drained = job;
	tell_drained(qp);
}

/* The peer has invalidated a window of this QP. */
static void invalidated(struct verbs_qp *qp, struct verbs_node *node)
{
	for (struct verbs_region *r = qp->windows; r; r = r->next_bound)
		if (r->mw->rkey == node->token) {
			verbs_region_unbind(r);
			node->leaves = r->mr;
			r->mr = NULL;
			atomic_store(&r->lkey, 0);
			end_children(qp->device, r);
			return;
		}
}

/* ---- Completions ---- */

static int status_of(enum verbs_kind kind, enum ibv_wc_status status)
{
	switch (status) {
	case IBV_WC_SUCCESS:
		return NDK_SUCCESS;
	case IBV_WC_WR_FLUSH_ERR:
		return NDK_CANCELLED;
	case IBV_WC_LOC_LEN_ERR:
		return NDK_BUFFER_OVERFLOW;
	case IBV_WC_LOC_PROT_ERR:
	case IBV_WC_LOC_ACCESS_ERR:
	case IBV_WC_REM_ACCESS_ERR:
	case IBV_WC_MW_BIND_ERR:
		return NDK_ACCESS_VIOLATION;
	case IBV_WC_LOC_QP_OP_ERR: /* of a receive, soft-RoCE's word for too small */
		return kind == VERBS_SEND ? NDK_INTERNAL_ERROR : NDK_BUFFER_OVERFLOW;
	case IBV_WC_REM_INV_REQ_ERR: /* the receive is too small */
	case IBV_WC_REM_OP_ERR:      /* or at fault otherwise */
		return kind == VERBS_SEND ? NDK_REMOTE_RESOURCES : NDK_BUFFER_OVERFLOW;
	case IBV_WC_REM_ABORT_ERR:
	case IBV_WC_RESP_TIMEOUT_ERR:
		return NDK_CONNECTION_ABORTED;
	case IBV_WC_RETRY_EXC_ERR:
	case IBV_WC_RNR_RETRY_EXC_ERR:
		return NDK_IO_TIMEOUT;
	default:
		return NDK_INTERNAL_ERROR;
	}
}

/* A request of this QP failed for another reason than that the QP is flushed. */
void verbs_node_failed(struct verbs_node *node)
{
	struct verbs_qp *qp = node->qp;
	if (!qp->flushing)
		node->broken = true;
	verbs_qp_error(qp);
}

static struct verbs_qp *qp_by_number(struct verbs_device *device, uint32_t number)
{
	struct verbs_qp *qp = device->qps;
	while (qp && qp->qp->qp_num != number)
		qp = qp->next;
	return qp;
}

static void completed(struct verbs_device *device, const struct ibv_wc *wc)
{
	struct verbs_node *node = (struct verbs_node *)wc->wr_id;
	if (wc->wr_id == VERBS_EXTRA)
		return; /* flushed or failed: so is what it was for */
	node->status =
		node->fault && wc->status != IBV_WC_WR_FLUSH_ERR && wc->status != IBV_WC_SUCCESS
			? node->fault
			: status_of(node->kind, wc->status);
	node->provider_error = wc->status == IBV_WC_SUCCESS ? 0
			       : wc->vendor_err             ? wc->vendor_err
							    : (uint32_t)wc->status;
	node->done = true;
	if (node->kind ==
	    VERBS_SRQ_RECEIVE) { /* any QP may take any of them: it leaves the queue */
		queue_remove(&node->srq->receives, node);
		node->srq->posted--;
		verbs_srq_refill(node->srq);
		node->qp = qp_by_number(device, wc->qp_num);
	}
	/* A write with an immediate takes a receive, and leaves its memory as it was. NDK knows no
	 * such thing: `byte_len` is what the peer wrote elsewhere. */
	if (node->kind != VERBS_SEND && wc->status == IBV_WC_SUCCESS &&
	    wc->opcode == IBV_WC_RECV_RDMA_WITH_IMM)
		node->status = NDK_CONNECTION_ABORTED;
	if (node->kind != VERBS_SEND && node->status == NDK_SUCCESS) {
		node->bytes = wc->byte_len;
		node->flagged = wc->wc_flags & IBV_WC_WITH_INV;
		/* Soft-RoCE tells the token, but not that it is one. */
		if (device->soft_roce && !(wc->wc_flags & IBV_WC_WITH_IMM) && wc->invalidated_rkey)
			node->flagged = true;
		if (node->flagged && node->qp) {
			node->token = wc->invalidated_rkey;
			invalidated(node->qp, node);
		}
	}
	if (node->status != NDK_SUCCESS && node->qp)
		verbs_node_failed(node);
	if (node->kind == VERBS_SRQ_RECEIVE)
		finish(node);
	else
		verbs_queue_retire(verbs_queue_of(node));
}

bool verbs_poll(struct verbs_device *device)
{
	struct ibv_wc wc[BATCH];
	int count = device->dead ? 0 : ibv_poll_cq(device->cq, BATCH, wc);
	for (int i = 0; i < count; i++)
		completed(device, &wc[i]);
	if (count < 0)
		verbs_device_failed(device, "its completion queue cannot be read");
	return count > 0;
}

static bool poll_all(void)
{
	bool any = false;
	for (struct verbs_device *device = verbs_devices; device; device = device->next)
		any |= verbs_poll(device);
	return any;
}

static void sleep_until_event(void)
{
	struct pollfd files[VERBS_DEVICES + 1] = {{.fd = verbs_data.wake, .events = POLLIN}};
	static uint64_t looked;
	unsigned count = 1;
	int patience = -1;
	for (struct verbs_device *d = verbs_devices; d; d = d->next) {
		if (d->dead)
			continue;
		if (d->soft_roce && d->qps)
			patience = LOOK_MS;
		ibv_req_notify_cq(d->cq, 0);
		files[count++] = (struct pollfd){.fd = d->channel->fd, .events = POLLIN};
	}
	atomic_store(&verbs_data.asleep, 1); /* then `submitted`; ring: the other way round */
	if (!poll_all() && !atomic_load(&verbs_data.submitted))
		poll(files, count, patience);
	atomic_store(&verbs_data.asleep, 0);
	uint64_t rings;
	if (read(verbs_data.wake, &rings, sizeof rings) < 0)
		rings = 0; /* nobody rang */
	struct ibv_cq *cq;
	void *context;
	for (struct verbs_device *d = verbs_devices; d; d = d->next)
		while (!verbs.ibv_get_cq_event(d->channel, &cq, &context))
			verbs.ibv_ack_cq_events(cq, 1);
	if (patience > 0 && port_time_ns() - looked >= LOOK_MS * 1000000ull) {
		looked = port_time_ns();
		verbs_qps_look();
	}
}

static void *data_main(void *unused)
{
	(void)unused;
	struct verbs_idle idle = {0};
	for (;;) {
		bool any = verbs_run(&verbs_data);
		any |= poll_all();
		if (verbs_owed() || any)
			idle = (struct verbs_idle){0};
		else if (!verbs_idle(&idle, SPIN_NS))
			__builtin_ia32_pause();
		else
			sleep_until_event();
	}
	return NULL;
}

/* ---- On a baton: to the core ---- */

void verbs_qp_broken(struct verbs_qp *qp, uint32_t reason)
{
	if (qp->told_broken)
		return;
	qp->told_broken = true;
	if (!qp->connection || verbs_connection_broken(qp->connection))
		ndk_qp_broken(qp->object, reason);
}

void verbs_node_done(struct verbs_job *job)
{
	struct verbs_node *node = (struct verbs_node *)job;
	struct verbs_qp *qp = node->qp;
	if (node->kind == VERBS_SEND) {
		ndk_work_complete(node->work, job->status, node->provider_error);
	} else if (!qp) { /* of an SRQ; its QP is gone */
		ndk_srq_taken(node->srq->object);
		ndk_srq_receive_free(node->srq->object, node->receive);
	} else {
		if (job->status == NDK_SUCCESS && qp->connection)
			verbs_connection_alive(qp->connection);
		struct ndk_received received = {.status = job->status,
						.bytes = node->bytes,
						.solicited = true,
						.provider_error = node->provider_error};
		if (node->flagged) {
			received.token = node->token;
			received.invalidated =
				ndk_remote_invalidate(qp->parameters.pd, node->token);
		}
		if (node->srq)
			ndk_srq_taken(node->srq->object);
		ndk_receive_complete(qp->object, node->receive, &received);
	}
	if (node->broken)
		verbs_qp_broken(qp, node->provider_error);
	verbs_node_free(node);
}

void verbs_srq_empty(struct verbs_srq *srq)
{
	struct verbs_node *node;
	while ((node = srq->receives.first)) {
		queue_remove(&srq->receives, node);
		ndk_srq_receive_free(srq->object, node->receive);
		verbs_node_free(node);
	}
}

bool verbs_work_start(void)
{
	verbs_data.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return verbs_data.wake > 0 && verbs_nodes_start() &&
	       host_device_start(data_main, NULL, "ketch-rdma-io");
}
