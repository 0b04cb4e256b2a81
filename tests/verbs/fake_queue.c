/* SPDX-License-Identifier: MIT */
/* fake_queue.c: shared receive queues, queue pairs; who posts moves the bytes.
 * See fake.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fake.h"

static struct fake_qp *qps;

/* ---- Receives ---- */

static int receives_add(struct fake_receives *queue, const struct ibv_recv_wr *wr)
{
	if (queue->count == queue->most || wr->num_sge > FAKE_SGES)
		return ENOMEM;
	struct fake_receive *r = calloc(1, sizeof *r);
	r->wr = *wr;
	memcpy(r->sges, wr->sg_list, (size_t)wr->num_sge * sizeof *r->sges);
	*queue->last = r;
	queue->last = &r->next;
	queue->count++;
	return 0;
}

static struct fake_receive *receives_take(struct fake_receives *queue)
{
	struct fake_receive *r = queue->first;
	if (!r)
		return NULL;
	queue->first = r->next;
	if (!queue->first)
		queue->last = &queue->first;
	queue->count--;
	return r;
}

static void received(struct fake_qp *qp, struct fake_receive *r, struct ibv_wc *wc)
{
	wc->wr_id = r->wr.wr_id;
	wc->qp_num = qp->ibv.qp_num;
	fake_place(qp->ibv.recv_cq, wc);
	free(r);
}

/* ---- The error state ---- */

static void fail(struct fake_qp *qp)
{
	struct fake_receive *r;
	qp->ibv.state = IBV_QPS_ERR;
	while ((r = receives_take(&qp->receives))) {
		struct ibv_wc wc = {.status = IBV_WC_WR_FLUSH_ERR};
		received(qp, r, &wc);
	}
}

/* ---- Accesses ---- */

static char *local(const struct fake_qp *qp, const struct ibv_sge *sge, int wanted)
{
	const struct fake_mr *mr = fake_mr_find(sge->lkey, qp->ibv.pd);
	uint64_t offset = mr ? sge->addr - mr->iova : 0;
	if (!mr || (mr->access & wanted) != wanted || offset > mr->ibv.length ||
	    sge->length > mr->ibv.length - offset)
		return NULL;
	return (char *)mr->ibv.addr + offset;
}

static char *remote(const struct fake_qp *qp, uint32_t key, uint64_t address, uint32_t length,
		    unsigned wanted)
{
	const struct fake_mr *mr = fake_mr_find(key, qp->ibv.pd);
	const struct fake_mw *mw = fake_mw_find(key);
	uint64_t start, size;
	if (mr && ((unsigned)mr->access & wanted) == wanted) {
		start = mr->iova;
		size = mr->ibv.length;
	} else if (mw && mw->mr && mw->qp == qp && (mw->access & wanted) == wanted) {
		mr = mw->mr;
		start = mw->start;
		size = mw->length;
	} else {
		return NULL;
	}
	if (address - start > size || length > size - (address - start))
		return NULL;
	return (char *)mr->ibv.addr + (address - mr->iova);
}

/* To or from `bytes`. False: an element may not be accessed, or there is no room. */
static bool copy(const struct fake_qp *qp, const struct ibv_sge *sges, int count, char *bytes,
		 uint32_t length, bool to_sges)
{
	for (int i = 0; i < count && length; i++) {
		uint32_t here = sges[i].length < length ? sges[i].length : length;
		char *data = local(qp, &sges[i], to_sges ? IBV_ACCESS_LOCAL_WRITE : 0);
		if (!data)
			return false;
		memcpy(to_sges ? data : bytes, to_sges ? bytes : data, here);
		bytes += here;
		length -= here;
	}
	return !length;
}

/* ---- Windows ---- */

static enum ibv_wc_status bind_window(struct fake_qp *qp, const struct ibv_send_wr *wr)
{
	const struct ibv_mw_bind_info *info = &wr->bind_mw.bind_info;
	struct fake_mw *mw = (struct fake_mw *)wr->bind_mw.mw;
	struct fake_mr *mr = (struct fake_mr *)info->mr;
	if (mw->mr || mw->ibv.pd != qp->ibv.pd || wr->bind_mw.rkey >> 8 != mw->key >> 8 ||
	    wr->bind_mw.rkey == mw->key || !(mr->access & IBV_ACCESS_MW_BIND) ||
	    info->addr - mr->iova > mr->ibv.length ||
	    info->length > mr->ibv.length - (info->addr - mr->iova))
		return IBV_WC_MW_BIND_ERR;
	mw->key = wr->bind_mw.rkey;
	mw->qp = qp;
	mw->mr = mr;
	mr->windows++;
	qp->windows++;
	mw->start = info->addr;
	mw->length = info->length;
	mw->access = info->mw_access_flags;
	return IBV_WC_SUCCESS;
}

static bool invalidate(struct fake_qp *qp, uint32_t key)
{
	struct fake_mw *mw = fake_mw_find(key);
	if (!mw || !mw->mr || mw->qp != qp)
		return false;
	mw->mr->windows--;
	mw->mr = NULL;
	qp->windows--;
	return true;
}

/* ---- Requests ---- */

static struct fake_qp *peer_of(const struct fake_qp *qp)
{
	struct fake_qp *peer = qps;
	while (peer && peer->ibv.qp_num != qp->peer)
		peer = peer->next;
	return peer && (peer->ibv.state == IBV_QPS_RTR || peer->ibv.state == IBV_QPS_RTS) ? peer
											  : NULL;
}

/* The peer may not be accessed so. */
static enum ibv_wc_status refuse(struct fake_qp *peer)
{
	fail(peer);
	fake_event(peer->ibv.context, IBV_EVENT_QP_ACCESS_ERR, peer);
	return IBV_WC_REM_ACCESS_ERR;
}

static enum ibv_wc_status deliver(struct fake_qp *peer, struct fake_receive *r,
				  const struct ibv_send_wr *wr, char *bytes, uint32_t length)
{
	uint64_t room = 0;
	struct ibv_wc wc = {.opcode = IBV_WC_RECV, .byte_len = length};
	for (int i = 0; i < r->wr.num_sge; i++)
		room += r->sges[i].length;
	enum ibv_wc_status status = IBV_WC_SUCCESS;
	if (length > room) {
		wc.status = IBV_WC_LOC_LEN_ERR;
		status = IBV_WC_REM_INV_REQ_ERR;
	} else if (!copy(peer, r->sges, r->wr.num_sge, bytes, length, true)) {
		wc.status = IBV_WC_LOC_PROT_ERR;
		status = IBV_WC_REM_OP_ERR;
	} else if (wr->opcode == IBV_WR_SEND_WITH_INV) {
		wc.wc_flags = IBV_WC_WITH_INV;
		wc.invalidated_rkey = wr->invalidate_rkey;
		if (!invalidate(peer, wr->invalidate_rkey)) {
			wc.status = IBV_WC_LOC_ACCESS_ERR;
			status = IBV_WC_REM_INV_REQ_ERR;
		}
	}
	received(peer, r, &wc);
	if (status != IBV_WC_SUCCESS)
		fail(peer);
	return status;
}

/* An immediate with a write: NDK knows no such thing. */
static void deliver_immediate(struct fake_qp *peer, uint32_t length)
{
	struct fake_receive *r = receives_take(&peer->receives);
	struct ibv_wc wc = {.opcode = IBV_WC_RECV_RDMA_WITH_IMM,
			    .byte_len = length,
			    .wc_flags = IBV_WC_WITH_IMM};
	if (r)
		received(peer, r, &wc);
}

static uint32_t length_of(const struct fake_send *s)
{
	uint32_t length = 0;
	for (int i = 0; i < s->wr.num_sge; i++)
		length += s->sges[i].length;
	return length;
}

/* True: the request is over, with *status. */
static bool transfer(struct fake_qp *qp, struct fake_send *s, enum ibv_wc_status *status)
{
	struct fake_qp *peer = peer_of(qp);
	struct fake_receives *receives = NULL;
	bool reads = s->wr.opcode == IBV_WR_RDMA_READ;
	uint32_t length = length_of(s);
	char *own = malloc(length + 1), *other;
	if (s->wr.send_flags & IBV_SEND_INLINE)
		memcpy(own, s->bytes, length);
	*status = IBV_WC_SUCCESS;
	if (!(s->wr.send_flags & IBV_SEND_INLINE) && !reads &&
	    !copy(qp, s->sges, s->wr.num_sge, own, length, false)) {
		*status = IBV_WC_LOC_PROT_ERR;
		goto over;
	}
	if (!peer)
		goto wait;
	if (s->wr.opcode == IBV_WR_SEND || s->wr.opcode == IBV_WR_SEND_WITH_INV) {
		receives = peer->ibv.srq ? &((struct fake_srq *)peer->ibv.srq)->receives
					 : &peer->receives;
		if (!receives->first)
			goto wait;
		*status = deliver(peer, receives_take(receives), &s->wr, own, length);
		goto over;
	}
	if (!length) /* checks nothing */
		goto over;
	other = remote(peer, s->wr.wr.rdma.rkey, s->wr.wr.rdma.remote_addr, length,
		       reads ? IBV_ACCESS_REMOTE_READ : IBV_ACCESS_REMOTE_WRITE);
	if (!other && fake_now("MUTE")) { /* it fails, and neither answers nor tells */
		fail(peer);
		goto wait;
	}
	if (!other)
		*status = refuse(peer);
	else if (!reads)
		memcpy(other, own, length);
	else if (!copy(qp, s->sges, s->wr.num_sge, other, length, true))
		*status = IBV_WC_LOC_PROT_ERR;
	if (!reads && other && fake_now("IMMEDIATE"))
		deliver_immediate(peer, length);
over:
	free(own);
	return true;
wait:
	free(own);
	return false;
}

static bool step(struct fake_qp *qp)
{
	struct fake_send *s = qp->first;
	enum ibv_wc_status status = IBV_WC_WR_FLUSH_ERR;
	if (!s || fake_dead(qp->ibv.context))
		return false;
	if (qp->ibv.state == IBV_QPS_RTS) {
		if (s->wr.opcode == IBV_WR_BIND_MW)
			status = bind_window(qp, &s->wr);
		else if (s->wr.opcode == IBV_WR_LOCAL_INV)
			status = invalidate(qp, s->wr.invalidate_rkey) ? IBV_WC_SUCCESS
								       : IBV_WC_LOC_QP_OP_ERR;
		else if (!transfer(qp, s, &status))
			return false;
	} else if (qp->ibv.state != IBV_QPS_ERR) {
		return false;
	}
	qp->first = s->next;
	if (!qp->first)
		qp->last = &qp->first;
	qp->sends--;
	if (status != IBV_WC_SUCCESS || s->wr.send_flags & IBV_SEND_SIGNALED) {
		struct ibv_wc wc = {
			.wr_id = s->wr.wr_id, .status = status, .qp_num = qp->ibv.qp_num};
		fake_place(qp->ibv.send_cq, &wc);
	}
	free(s);
	if (status != IBV_WC_SUCCESS && qp->ibv.state != IBV_QPS_ERR)
		fail(qp);
	return true;
}

static void run(void)
{
	bool again;
	do {
		again = false;
		for (struct fake_qp *qp = qps; qp; qp = qp->next)
			while (step(qp))
				again = true;
	} while (again);
}

static int post_one(struct fake_qp *qp, const struct ibv_send_wr *wr)
{
	if (fake_fails("ibv_post_send"))
		return errno;
	if (qp->sends == qp->most_sends || wr->num_sge > FAKE_SGES)
		return ENOMEM;
	struct fake_send *s = calloc(1, sizeof *s);
	s->wr = *wr;
	if (wr->num_sge)
		memcpy(s->sges, wr->sg_list, (size_t)wr->num_sge * sizeof *s->sges);
	char *to = s->bytes;
	for (int i = 0; i < wr->num_sge && wr->send_flags & IBV_SEND_INLINE; i++) {
		memcpy(to, (const void *)wr->sg_list[i].addr, wr->sg_list[i].length);
		to += wr->sg_list[i].length;
	}
	*qp->last = s;
	qp->last = &s->next;
	qp->sends++;
	return 0;
}

static int post_send(struct ibv_qp *ibv, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	struct fake_qp *qp = (struct fake_qp *)ibv;
	int error = 0;
	pthread_mutex_lock(&fake_lock);
	if (ibv->state != IBV_QPS_RTS && ibv->state != IBV_QPS_ERR)
		error = EINVAL;
	for (; wr && !error; wr = error ? wr : wr->next)
		error = post_one(qp, wr);
	*bad = wr;
	if (fake_now("DEATH"))
		fake_event(ibv->context, IBV_EVENT_DEVICE_FATAL, NULL);
	run();
	pthread_mutex_unlock(&fake_lock);
	return error;
}

static int post_recv(struct ibv_qp *ibv, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	struct fake_qp *qp = (struct fake_qp *)ibv;
	*bad = wr;
	pthread_mutex_lock(&fake_lock);
	int error = fake_fails("ibv_post_recv") ? errno : receives_add(&qp->receives, wr);
	if (ibv->state == IBV_QPS_ERR)
		fail(qp);
	run();
	pthread_mutex_unlock(&fake_lock);
	return error;
}

static int post_srq_recv(struct ibv_srq *srq, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	*bad = wr;
	pthread_mutex_lock(&fake_lock);
	int error = fake_fails("ibv_post_srq_recv")
			    ? errno
			    : receives_add(&((struct fake_srq *)srq)->receives, wr);
	run();
	pthread_mutex_unlock(&fake_lock);
	return error;
}

void fake_queue_operations(struct ibv_context_ops *ops)
{
	fake_cq_operations(ops);
	ops->post_send = post_send;
	ops->post_recv = post_recv;
	ops->post_srq_recv = post_srq_recv;
}

/* ---- Queue pairs and shared receive queues ---- */

struct ibv_srq *ibv_create_srq(struct ibv_pd *pd, struct ibv_srq_init_attr *init)
{
	pthread_mutex_lock(&fake_lock);
	struct fake_srq *srq = fake_fails("ibv_create_srq") ? NULL : calloc(1, sizeof *srq);
	if (srq) {
		srq->ibv.context = pd->context;
		srq->ibv.pd = pd;
		srq->ibv.srq_context = init->srq_context;
		srq->receives.last = &srq->receives.first;
		srq->receives.most = init->attr.max_wr;
		fake_live[FAKE_SRQ]++;
		((struct fake_pd *)pd)->children++;
	}
	pthread_mutex_unlock(&fake_lock);
	return srq ? &srq->ibv : NULL;
}

int ibv_destroy_srq(struct ibv_srq *ibv)
{
	struct fake_srq *srq = (struct fake_srq *)ibv;
	struct fake_receive *r;
	pthread_mutex_lock(&fake_lock);
	if (srq->qps)
		fake_error("a shared receive queue goes with %ld queue pairs", srq->qps);
	while ((r = receives_take(&srq->receives)))
		free(r);
	fake_live[FAKE_SRQ]--;
	((struct fake_pd *)ibv->pd)->children--;
	free(srq);
	pthread_mutex_unlock(&fake_lock);
	return 0;
}

struct ibv_qp *ibv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *init)
{
	static uint32_t number = 16;
	pthread_mutex_lock(&fake_lock);
	struct fake_qp *qp = NULL;
	if (init->cap.max_inline_data <= FAKE_INLINE && !fake_fails("ibv_create_qp"))
		qp = calloc(1, sizeof *qp);
	if (qp) {
		qp->ibv = (struct ibv_qp){.context = pd->context,
					  .qp_context = init->qp_context,
					  .pd = pd,
					  .send_cq = init->send_cq,
					  .recv_cq = init->recv_cq,
					  .srq = init->srq,
					  .qp_num = number++};
		qp->last = &qp->first;
		qp->most_sends = init->cap.max_send_wr;
		qp->receives.last = &qp->receives.first;
		qp->receives.most = init->cap.max_recv_wr;
		qp->next = qps;
		qps = qp;
		fake_live[FAKE_QP]++;
		((struct fake_pd *)pd)->children++;
		if (init->srq)
			((struct fake_srq *)init->srq)->qps++;
	}
	pthread_mutex_unlock(&fake_lock);
	if (!qp)
		errno = ENOMEM;
	return qp ? &qp->ibv : NULL;
}

int ibv_modify_qp(struct ibv_qp *ibv, struct ibv_qp_attr *attributes, int mask)
{
	struct fake_qp *qp = (struct fake_qp *)ibv;
	int error = 0;
	pthread_mutex_lock(&fake_lock);
	enum ibv_qp_state to = attributes->qp_state;
	if (fake_fails("ibv_modify_qp"))
		error = errno;
	else if (to == IBV_QPS_ERR)
		fail(qp);
	else if (ibv->state == to - 1 || (to == IBV_QPS_INIT && ibv->state == to))
		ibv->state = to;
	else
		error = EINVAL;
	if (!error && mask & IBV_QP_DEST_QPN)
		qp->peer = attributes->dest_qp_num;
	run();
	pthread_mutex_unlock(&fake_lock);
	return error;
}

int ibv_query_qp(struct ibv_qp *ibv, struct ibv_qp_attr *attributes, int mask,
		 struct ibv_qp_init_attr *init)
{
	(void)mask;
	(void)init;
	pthread_mutex_lock(&fake_lock);
	attributes->qp_state = ibv->state;
	pthread_mutex_unlock(&fake_lock);
	return 0;
}

int ibv_destroy_qp(struct ibv_qp *ibv)
{
	struct fake_qp *qp = (struct fake_qp *)ibv, **link = &qps;
	pthread_mutex_lock(&fake_lock);
	fake_event_forget(qp);
	while (*link != qp)
		link = &(*link)->next;
	*link = qp->next;
	if (qp->first && !fake_dead(ibv->context))
		fake_error("a queue pair goes with %u requests", qp->sends);
	if (qp->windows)
		fake_error("a queue pair goes with %ld windows", qp->windows);
	while (qp->first) {
		struct fake_send *s = qp->first;
		qp->first = s->next;
		free(s);
	}
	struct fake_receive *r;
	while ((r = receives_take(&qp->receives)))
		free(r);
	fake_live[FAKE_QP]--;
	((struct fake_pd *)ibv->pd)->children--;
	if (ibv->srq)
		((struct fake_srq *)ibv->srq)->qps--;
	free(qp);
	pthread_mutex_unlock(&fake_lock);
	return 0;
}
