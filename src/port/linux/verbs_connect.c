/* SPDX-License-Identifier: MIT */
/*
 * verbs_connect.c: connectors on rdma_cm (librdmacm).
 *
 * The QP is the provider's, not rdma_cm's (id->qp stays 0). So the peer's acceptance arrives as
 * CONNECT_RESPONSE, NdkCompleteConnect is rdma_establish, and the passive side's acceptance is
 * complete when ESTABLISHED comes, or the peer's first message, whichever is first. What rdma_cm
 * announces is in verbs_event.c.
 *
 * Contexts: operations on a baton; jobs on the control thread, which alone creates and destroys
 * ids; done() and verbs_connection_* in verbs_service. No locks: `flags` is atomic.
 *
 * Chosen: the limits of reads are the smaller of both sides' (NDK-139), receivers that are not
 * ready are tried for ever (rnr_retry 7) each 0.64 ms (rdma_cm's default is 655 ms), a lost packet
 * 7 times.
 */
#include <string.h>
#include "port/linux/verbs_connect.h"

#define RESOLVE_MS 2000

/* On a baton: the core lets the QP go, and so do we. One that was about to be connected is no use
 * any more. */
static void let_go(struct verbs_connection *c)
{
	struct verbs_qp *qp = c->qp;
	if (!qp)
		return;
	if (qp->connection == c)
		qp->connection = NULL;
	if (atomic_load(&c->flags) & CONNECTION_ACCEPTING)
		verbs_qp_flush(qp);
	c->qp = NULL;
}

static void submit(struct verbs_connection *c, struct verbs_job *job,
		   void (*run)(struct verbs_job *), void (*done)(struct verbs_job *))
{
	atomic_fetch_add(&c->references, 1);
	job->run = run;
	job->done = done;
	verbs_submit(&verbs_control, job);
}

static void fail_run(struct verbs_job *job)
{
	struct verbs_connection *c = CONNECTION(job, fail);
	verbs_shared_remove(c);
	verbs_id_close(&c->id);
	verbs_finish(job, c->failure);
}

static void tell_failed(struct verbs_connection *c)
{
	struct verbs_qp *qp = c->qp;
	let_go(c);
	if (qp && qp->told_broken) /* that was why: the core hears of both */
		ndk_qp_broken(qp->object, 0);
	else
		ndk_connector_failed(c->object, c->failure, c->answered ? &c->peer : NULL);
}

static void fail_done(struct verbs_job *job)
{
	struct verbs_connection *c = CONNECTION(job, fail);
	if (!(atomic_fetch_and(&c->flags, ~CONNECTION_OVER) & CONNECTION_CLOSED))
		tell_failed(c);
	verbs_connection_put(c);
}

/* When a connect is told to have failed its address is free (NDK-144). */
void verbs_connection_failed(struct verbs_connection *c, int status, bool answered)
{
	uint32_t flags = atomic_load(&c->flags);
	if (flags & CONNECTION_OVER)
		return;
	c->failure = status;
	c->answered = answered;
	if (!c->parameters.qp || flags & CONNECTION_ACCEPTING) {
		tell_failed(c);
	} else {
		atomic_fetch_or(&c->flags, CONNECTION_OVER);
		submit(c, &c->fail, fail_run, fail_done);
	}
}

/* ---- Active side ---- */

static void connect_run(struct verbs_job *job)
{
	struct verbs_connection *c = CONNECTION(job, start);
	struct sockaddr_storage remote;
	int error = atomic_load(&c->flags) & CONNECTION_CLOSED ? ECONNABORTED : 0;
	verbs_address_own(c->device->core, &c->parameters.remote, &c->parameters.local);
	if (!error)
		error = verbs_id_open(c->device, c, &c->parameters.local,
				      c->parameters.endpoint != NULL, &c->id);
	if (!error && c->parameters.endpoint)
		error = verbs_shared_add(c);
	verbs_address_in(&c->parameters.remote, &remote);
	if (!error && verbs.rdma_resolve_addr(c->id, NULL, (struct sockaddr *)&remote, RESOLVE_MS))
		error = errno;
	if (error) {
		verbs_shared_remove(c);
		verbs_id_close(&c->id);
	}
	verbs_finish(job, verbs_status(error));
}

/* It goes on with events, unless it could not even start. */
static void connect_done(struct verbs_job *job)
{
	struct verbs_connection *c = CONNECTION(job, start);
	if (job->status != NDK_SUCCESS && !(atomic_load(&c->flags) & CONNECTION_CLOSED))
		verbs_connection_failed(c, job->status, false);
	verbs_connection_put(c);
}

static int connect_to(struct ndk_connector *connector,
		      const struct ndk_connect_parameters *parameters)
{
	struct verbs_connection *c = verbs_connection_of(connector);
	c->parameters = *parameters;
	c->qp = ndk_private(parameters->qp);
	c->qp->connection = c;
	verbs_handshake_begin(c);
	submit(c, &c->start, connect_run, connect_done);
	return NDK_PENDING;
}

/* This half of the handshake is over; when it has failed, the peer need not wait for it. */
static void finish_half(struct verbs_connection *c, int error)
{
	if (error && c->id)
		verbs.rdma_reject(c->id, NULL, 0);
	verbs_finish(&c->establish, error ? NDK_CONNECTION_ABORTED : NDK_SUCCESS);
}

static void complete_run(struct verbs_job *job)
{
	struct verbs_connection *c = CONNECTION(job, establish);
	struct verbs_qp *qp = c->qp;
	int error = qp && c->id ? verbs_qp_move(c, qp, IBV_QPS_RTR) : ENOTCONN;
	if (!error)
		error = verbs_qp_move(c, qp, IBV_QPS_RTS);
	if (!error && verbs.rdma_establish(c->id))
		error = errno;
	finish_half(c, error);
}

static void complete_done(struct verbs_job *job)
{
	struct verbs_connection *c = CONNECTION(job, establish);
	if (atomic_load(&c->flags) & CONNECTION_CLOSED)
		;
	else if (job->status == NDK_SUCCESS)
		verbs_connection_alive(c);
	else
		verbs_connection_failed(c, job->status, false);
	verbs_connection_put(c);
}

static int complete_connect(struct ndk_connector *connector)
{
	struct verbs_connection *c = verbs_connection_of(connector);
	atomic_fetch_or(&c->flags, CONNECTION_ACCEPTING);
	submit(c, &c->establish, complete_run, complete_done);
	return NDK_PENDING;
}

void verbs_connection_alive(struct verbs_connection *c)
{
	uint32_t flags = atomic_load(&c->flags);
	if (!(flags & CONNECTION_ACCEPTING) || flags & (CONNECTION_ESTABLISHED | CONNECTION_CLOSED))
		return;
	atomic_fetch_or(&c->flags, CONNECTION_ESTABLISHED);
	ndk_connector_established(c->object);
	if (c->qp && c->qp->flushed) /* a moment before */
		verbs_connection_flushed(c);
}

/* ---- Passive side ---- */

static int accept_qp(struct verbs_connection *c, struct verbs_qp *qp)
{
	int error = verbs_qp_move(c, qp, IBV_QPS_INIT);
	if (!error)
		error = verbs_qp_move(c, qp, IBV_QPS_RTR);
	if (!error)
		error = verbs_qp_move(c, qp, IBV_QPS_RTS);
	struct rdma_conn_param parameters = verbs_parameters(c, qp);
	parameters.responder_resources =
		(uint8_t)verbs_smaller(parameters.responder_resources, c->peer.outbound_reads);
	parameters.initiator_depth =
		(uint8_t)verbs_smaller(parameters.initiator_depth, c->peer.inbound_reads);
	if (!error && verbs.rdma_accept(c->id, &parameters))
		error = errno;
	return error;
}

static void accept_run(struct verbs_job *job)
{
	struct verbs_connection *c = CONNECTION(job, establish);
	struct verbs_qp *qp = c->qp;
	finish_half(c, qp && c->id ? accept_qp(c, qp) : ENOTCONN);
}

static void accept_done(struct verbs_job *job)
{
	struct verbs_connection *c = CONNECTION(job, establish);
	if (job->status == NDK_SUCCESS)
		;
	else if (atomic_load(&c->flags) & (CONNECTION_CLOSED | CONNECTION_OVER))
		let_go(c);
	else
		verbs_connection_failed(c, job->status, false);
	verbs_connection_put(c);
}

static int accept_it(struct ndk_connector *connector, struct ndk_qp *qp,
		     const struct ndk_offer *offer)
{
	struct verbs_connection *c = verbs_connection_of(connector);
	c->qp = ndk_private(qp);
	c->qp->connection = c;
	if (atomic_fetch_or(&c->flags, CONNECTION_ACCEPTING) & CONNECTION_OVER) {
		let_go(c);
		return NDK_IO_TIMEOUT; /* the peer is being rejected */
	}
	c->parameters.offer = *offer;
	submit(c, &c->establish, accept_run, accept_done);
	return NDK_PENDING;
}

static void put_done(struct verbs_job *job)
{
	verbs_connection_put(CONNECTION(job, reject));
}

static void reject_run(struct verbs_job *job)
{
	struct verbs_connection *c = CONNECTION(job, reject);
	const struct ndk_offer *offer = &c->parameters.offer;
	if (c->id)
		verbs.rdma_reject(c->id, offer->size ? offer->data : NULL, (uint8_t)offer->size);
	if (!c->object)
		verbs_id_close(&c->id);
	verbs_finish(job, NDK_SUCCESS);
}

static int reject(struct ndk_connector *connector, const struct ndk_offer *offer)
{
	struct verbs_connection *c = verbs_connection_of(connector);
	if (atomic_fetch_or(&c->flags, CONNECTION_OVER) & CONNECTION_OVER)
		return NDK_CONNECTION_ABORTED; /* rejected by us already, it took too long */
	c->parameters.offer = *offer;
	let_go(c);
	submit(c, &c->reject, reject_run, put_done);
	return NDK_SUCCESS;
}

void verbs_connection_overdue(struct verbs_connection *c)
{
	uint32_t flags = atomic_load(&c->flags);
	if (flags & (CONNECTION_ESTABLISHED | CONNECTION_OVER | CONNECTION_CLOSED))
		return;
	if (c->parameters.qp || flags & CONNECTION_ACCEPTING) {
		verbs_connection_failed(c, NDK_IO_TIMEOUT, false);
		return;
	}
	/* And the peer hears of it. First the flag: the consumer may be about to accept or reject.
	 */
	if (atomic_fetch_or(&c->flags, CONNECTION_OVER) & CONNECTION_OVER)
		return;
	c->failure = NDK_IO_TIMEOUT;
	c->answered = false;
	tell_failed(c);
	submit(c, &c->reject, reject_run, put_done);
}

void verbs_connection_refuse(struct verbs_connection *c)
{
	submit(c, &c->reject, reject_run, put_done);
	verbs_connection_put(c);
}

/* ---- The end ---- */

static void drained(struct verbs_job *job)
{
	verbs_finish(job, NDK_SUCCESS);
}

/* On the data thread: all requests of the QP come back, then the job is done. */
static void drain(struct verbs_job *job, struct verbs_qp *qp)
{
	job->run = drained;
	if (!qp || !qp->qp) {
		drained(job);
		return;
	}
	qp->flushing = true;
	verbs_qp_error(qp);
	verbs_qp_drain(qp, job);
}

static void disconnect_drain(struct verbs_job *job)
{
	drain(job, CONNECTION(job, disconnect)->qp);
}

static void disconnect_run(struct verbs_job *job)
{
	struct verbs_connection *c = CONNECTION(job, disconnect);
	if (!c->id || verbs.rdma_disconnect(c->id)) /* it is down: no event will come */
		atomic_fetch_or(&c->flags, CONNECTION_DOWN);
	job->run = disconnect_drain;
	verbs_pass(&verbs_data, job);
}

static void disconnect_done(struct verbs_job *job)
{
	struct verbs_connection *c = CONNECTION(job, disconnect);
	uint32_t flags = atomic_fetch_or(&c->flags, CONNECTION_DRAINED);
	if (flags & CONNECTION_DOWN && !(flags & CONNECTION_CLOSED))
		ndk_connector_disconnected(c->object, NDK_SUCCESS);
	verbs_connection_put(c);
}

static int disconnect(struct ndk_connector *connector)
{
	struct verbs_connection *c = verbs_connection_of(connector);
	atomic_fetch_or(&c->flags, CONNECTION_DISCONNECTING);
	submit(c, &c->disconnect, disconnect_run, disconnect_done);
	return NDK_PENDING;
}

static void broke_run(struct verbs_job *job)
{
	struct verbs_connection *c = CONNECTION(job, broke);
	if (c->id)
		verbs.rdma_disconnect(c->id); /* so that the peer hears of it */
	verbs_finish(job, NDK_SUCCESS);
}

static void broke_done(struct verbs_job *job)
{
	verbs_connection_put(CONNECTION(job, broke));
}

bool verbs_connection_broken(struct verbs_connection *c)
{
	uint32_t flags = atomic_load(&c->flags);
	if (c->parameters.qp && !(flags & (CONNECTION_ACCEPTING | CONNECTION_CLOSED))) {
		verbs_connection_failed(c, NDK_CONNECTION_ABORTED, false);
		return false;
	}
	flags = atomic_fetch_or(&c->flags, CONNECTION_BROKEN);
	if (flags & (CONNECTION_BROKEN | CONNECTION_CLOSED))
		return true;
	submit(c, &c->broke, broke_run, broke_done);
	if (!(flags & CONNECTION_ESTABLISHED))
		let_go(c); /* as the core does, which is told of the QP */
	return true;
}

void verbs_connection_flushed(struct verbs_connection *c)
{
	uint32_t over =
		CONNECTION_DISCONNECTING | CONNECTION_DOWN | CONNECTION_BROKEN | CONNECTION_CLOSED;
	uint32_t flags = atomic_load(&c->flags);
	if (!(flags & CONNECTION_ESTABLISHED) || flags & over)
		return;
	verbs_qp_broken(c->qp, 0);
}

/* A QP that was never about to be connected can still be. */
static void end_drain(struct verbs_job *job)
{
	struct verbs_connection *c = CONNECTION(job, end);
	drain(job, atomic_load(&c->flags) & CONNECTION_ACCEPTING ? c->qp : NULL);
}

static void end_run(struct verbs_job *job)
{
	struct verbs_connection *c = CONNECTION(job, end);
	if (c->id && atomic_load(&c->flags) & CONNECTION_ESTABLISHED)
		verbs.rdma_disconnect(c->id);
	verbs_shared_remove(c);
	verbs_id_close(&c->id);
	job->run = end_drain;
	verbs_pass(&verbs_data, job);
}

static void end_done(struct verbs_job *job)
{
	struct verbs_connection *c = CONNECTION(job, end);
	if (c->qp && c->qp->connection == c)
		c->qp->connection = NULL;
	if (atomic_load(&c->flags) & CONNECTION_DISCONNECTING) /* nobody else will end that now */
		ndk_connector_disconnected(c->object, NDK_SUCCESS);
	ndk_connector_gone(c->object);
	verbs_connection_put(c);
}

static int abort_it(struct ndk_connector *connector)
{
	struct verbs_connection *c = verbs_connection_of(connector);
	atomic_fetch_or(&c->flags, CONNECTION_CLOSED);
	submit(c, &c->end, end_run, end_done);
	return NDK_PENDING;
}

const struct ndk_connection_operations verbs_connection_operations = {
	.listen = verbs_listen,
	.listen_end = verbs_listen_end,
	.connect = connect_to,
	.complete_connect = complete_connect,
	.accept = accept_it,
	.reject = reject,
	.disconnect = disconnect,
	.abort = abort_it,
};
