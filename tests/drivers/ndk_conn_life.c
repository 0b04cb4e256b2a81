/* SPDX-License-Identifier: MIT */
/*
 * ndk_conn_life.c: closes from inside callbacks, closes in the wrong order, closes in a storm of
 * events; the functions of 2.1; dispatch tables that the consumer replaces.
 */
#include "ndk_io.h"

/* ---- Closes from inside callbacks (NDK-79) ---- */

static struct call closed;
static volatile NTSTATUS refused_with;

/* `closed` was made before: somebody may wait for it already. */
static void close_now(NDK_CONNECTOR *connector)
{
	KeClearEvent(&closed.done);
	if (connector->Dispatch->NdkCloseConnector(&connector->Header, call_closed, &closed) !=
	    STATUS_PENDING)
		KeSetEvent(&closed.done, 0, FALSE);
}

static BOOLEAN closes(void)
{
	LARGE_INTEGER limit = check_ms(10000);
	return KeWaitForSingleObject(&closed.done, Executive, KernelMode, FALSE, &limit) ==
	       STATUS_SUCCESS;
}

static VOID NTAPI refused(PVOID context, NTSTATUS status)
{
	refused_with = status;
	close_now(context);
}

static VOID NTAPI refuse_by_close(PVOID context, NDK_CONNECTOR *connector)
{
	UNREFERENCED_PARAMETER(context);
	close_now(connector);
}

static VOID NTAPI gone_and_closed(PVOID context)
{
	struct io_end *end = context;
	end->gone++;
	close_now(end->e.connector);
}

static NTSTATUS connect(struct io_end *end, struct consumer *c, const SOCKADDR_INET *to,
			NDK_FN_REQUEST_COMPLETION *routine, PVOID context)
{
	ULONG size = io_address_size(to);
	return end->e.connector->Dispatch->NdkConnect(end->e.connector, end->e.qp,
						      (SOCKADDR *)&c->local, size, (SOCKADDR *)to,
						      size, 1, 1, NULL, 0, routine, context);
}

static void inside(struct io *io)
{
	struct door door = {0};
	SOCKADDR_INET to = io_with_port(io->b.local, 3333);
	struct call call;
	KeInitializeEvent(&closed.done, NotificationEvent, FALSE);
	door.listener = MAKE(NDK_LISTENER, io->b.adapter->Dispatch->NdkCreateListener,
			     io->b.adapter, refuse_by_close, &door);
	CHECK(WAIT(door.listener->Dispatch->NdkListen, door.listener, (SOCKADDR *)&to,
		   io_address_size(&to)) == STATUS_SUCCESS &&
		      io_end_make(&io->x, io->a.adapter, &plain),
	      "NDK-68 a listener whose event closes the connector");
	io->x.e.connector =
		MAKE(NDK_CONNECTOR, io->a.adapter->Dispatch->NdkCreateConnector, io->a.adapter);
	call_begin(&call);
	NTSTATUS status = connect(&io->x, &io->a, &to, call_requested, &call);
	CHECK(call_end(&call, status) == STATUS_CONNECTION_REFUSED && closes(),
	      "DEF-109 NDK-79 a close inside the connect event refuses");
	CLOSE(io->x.e.connector->Dispatch->NdkCloseConnector, io->x.e.connector);
	io->x.e.connector =
		MAKE(NDK_CONNECTOR, io->a.adapter->Dispatch->NdkCreateConnector, io->a.adapter);
	status = connect(&io->x, &io->a, &to, refused, io->x.e.connector);
	CHECK(status == STATUS_PENDING && SOON(refused_with == STATUS_CONNECTION_REFUSED) &&
		      closes(),
	      "NDK-79 a close inside the completion of its own connect");
	io->x.e.connector = NULL;
	io_end_close(&io->x);
	CLOSE(door.listener->Dispatch->NdkCloseListener, door.listener);
}

/* The handshake with the functions of 2.1; the disconnect event closes (NDK-79, DEF-117). */
static volatile LONG reasons;
static volatile ULONG reason = 77;

static VOID NTAPI gone_with_reason(PVOID context, ULONG why)
{
	UNREFERENCED_PARAMETER(context);
	reason = why;
	InterlockedIncrement(&reasons);
}

static void extended(struct io *io)
{
	struct door door;
	struct call call, accept;
	LARGE_INTEGER limit = check_ms(10000);
	BOOLEAN made = io_end_make(&io->x, io->a.adapter, &plain) &&
		       io_end_make(&io->y, io->b.adapter, &plain) && door_open(&door, &io->b, 0);
	CHECK(made, "NDK-2 an adapter of 2.1");
	if (!made)
		return;
	io->x.e.connector =
		MAKE(NDK_CONNECTOR, io->a.adapter->Dispatch->NdkCreateConnector, io->a.adapter);
	NDK_CONNECTOR *x = io->x.e.connector;
	call_begin(&call);
	NTSTATUS status = connect(&io->x, &io->a, &door.address, call_requested, &call);
	CHECK(status == STATUS_PENDING && KeWaitForSingleObject(&door.rung, Executive, KernelMode,
								FALSE, &limit) == STATUS_SUCCESS,
	      "NDK-71 a connect");
	io->y.e.connector = door.connector;
	NDK_CONNECTOR *y = door.connector;
	call_begin(&accept);
	status = y->Dispatch->NdkAcceptEx(y, io->y.e.qp, 1, 1, NULL, 0, gone_with_reason, NULL,
					  call_requested, &accept);
	CHECK(status == STATUS_PENDING && call_end(&call, STATUS_PENDING) == STATUS_SUCCESS &&
		      WAIT(x->Dispatch->NdkCompleteConnectEx, x, gone_with_reason, NULL) ==
			      STATUS_SUCCESS &&
		      call_end(&accept, STATUS_PENDING) == STATUS_SUCCESS,
	      "NDK-73 NDK-74 NdkAcceptEx and NdkCompleteConnectEx");
	CHECK(WAIT(x->Dispatch->NdkDisconnect, x) == STATUS_SUCCESS && SOON(reasons == 1) &&
		      reason == 0,
	      "NDK-74e the event has a reason, 0 when there is none");
	io_end_close(&io->x);
	io_end_close(&io->y);
	CLOSE(door.listener->Dispatch->NdkCloseListener, door.listener);
}

/* Two ends in the middle of the handshake: NdkConnect has succeeded, NdkAccept pends. */
static BOOLEAN half(struct io *io, NDK_FN_DISCONNECT_EVENT_CALLBACK *event,
		    NDK_FN_REQUEST_COMPLETION *accepted, struct call *accept)
{
	struct call call;
	LARGE_INTEGER limit = check_ms(10000);
	if (!io_end_make(&io->x, io->a.adapter, &plain) ||
	    !io_end_make(&io->y, io->b.adapter, &plain) || !door_open(&io->door, &io->b, 0))
		return FALSE;
	io->x.e.connector =
		MAKE(NDK_CONNECTOR, io->a.adapter->Dispatch->NdkCreateConnector, io->a.adapter);
	call_begin(&call);
	connect(&io->x, &io->a, &io->door.address, call_requested, &call);
	if (KeWaitForSingleObject(&io->door.rung, Executive, KernelMode, FALSE, &limit))
		return FALSE;
	NDK_CONNECTOR *y = io->y.e.connector = io->door.connector;
	call_begin(accept);
	y->Dispatch->NdkAccept(y, io->y.e.qp, 1, 1, NULL, 0, event, &io->y, accepted, accept);
	return NT_SUCCESS(call_end(&call, STATUS_PENDING));
}

static BOOLEAN pair(struct io *io, NDK_FN_DISCONNECT_EVENT_CALLBACK *event)
{
	struct call accept;
	if (!half(io, event, call_requested, &accept))
		return FALSE;
	NTSTATUS status = WAIT(io->x.e.connector->Dispatch->NdkCompleteConnect, io->x.e.connector,
			       NULL, NULL);
	return NT_SUCCESS(status) && NT_SUCCESS(call_end(&accept, STATUS_PENDING));
}

static void closing_event(struct io *io)
{
	KeClearEvent(&closed.done);
	CHECK(pair(io, gone_and_closed), "NDK-74 a consumer that closes in its disconnect event");
	CLOSE(io->x.e.connector->Dispatch->NdkCloseConnector, io->x.e.connector);
	CHECK(closes() && io->y.gone == 1, "NDK-79 DEF-117 the close inside the event completes");
	io->y.e.connector = NULL;
	io_unpair(io);
}

/* ---- The disconnect event comes after the completion of NdkAccept has returned ---- */

static volatile LONG accept_returns, told, told_early;

static VOID NTAPI slow_accept(PVOID context, NTSTATUS status)
{
	LARGE_INTEGER start = KeQueryPerformanceCounter(NULL), frequency, now;
	do
		now = KeQueryPerformanceCounter(&frequency);
	while (now.QuadPart - start.QuadPart < frequency.QuadPart / 20);
	accept_returns = 1;
	call_requested(context, status);
}

static VOID NTAPI told_of_end(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
	told_early |= !accept_returns;
	told = 1;
}

static void event_order(struct io *io)
{
	struct call accept;
	for (unsigned round = 0; round < 4; round++) { /* at both levels */
		accept_returns = told = 0;
		if (!half(io, told_of_end, slow_accept, &accept))
			break;
		WAIT(io->x.e.connector->Dispatch->NdkCompleteConnect, io->x.e.connector, NULL,
		     NULL);
		WAIT(io->x.e.connector->Dispatch->NdkDisconnect, io->x.e.connector);
		call_end(&accept, STATUS_PENDING);
		if (!SOON(told))
			told_early = 1;
		io_unpair(io);
	}
	CHECK(told && !told_early,
	      "NDK-142 the disconnect event waits for the completion of NdkAccept");
}

/* ---- Orders ---- */

struct closing {
	struct call call;
	NTSTATUS status;
};

static void begin(struct closing *closing, NDK_FN_CLOSE_OBJECT *function, NDK_OBJECT_HEADER *object)
{
	call_begin(&closing->call);
	closing->status = function(object, call_closed, &closing->call);
}

static BOOLEAN open_still(const struct closing *closing)
{
	return closing->status == STATUS_PENDING && !KeReadStateEvent((PKEVENT)&closing->call.done);
}

static void antecedents_first(struct io *io)
{
	struct closing pd, cq, receive_cq, qp;
	struct io_end *x = &io->x;
	NDK_RESULT_EX r;
	CHECK(io_pair(io, &plain, 4096), "NDK-83 a pair to close from the wrong end");
	io_receive(x, &io->mx, 0, 8, (PVOID)9);
	memory_close(&io->mx);
	begin(&pd, x->e.pd->Dispatch->NdkClosePd, &x->e.pd->Header);
	begin(&qp, x->e.qp->Dispatch->NdkCloseQp, &x->e.qp->Header);
	CHECK(io_get(x->receive_cq, &r, 10000) && r.Status == STATUS_CANCELLED,
	      "NDK-81 a close flushes, whatever it waits for");
	begin(&cq, x->e.cq->Dispatch->NdkCloseCq, &x->e.cq->Header);
	begin(&receive_cq, x->receive_cq->Dispatch->NdkCloseCq, &x->receive_cq->Header);
	check_sleep(10);
	CHECK(open_still(&pd) && open_still(&cq) && open_still(&receive_cq) && open_still(&qp),
	      "NDK-83 PD, CQs and QP wait for the connector");
	CLOSE(x->e.connector->Dispatch->NdkCloseConnector, x->e.connector);
	CHECK(SOON(!open_still(&pd) && !open_still(&cq) && !open_still(&receive_cq) &&
		   !open_still(&qp)),
	      "NDK-83 then all of them close");
	RtlZeroMemory(x, sizeof(*x));
	io_unpair(io);
}

/* A queue pair whose close begins in the middle of the handshake: its peer is not left alone. */
static void queue_pair_closes(struct io *io)
{
	struct closing qp;
	struct call accept;
	CHECK(half(io, io_gone, call_requested, &accept), "NDK-136 the peer accepts");
	NDK_CONNECTOR *x = io->x.e.connector;
	begin(&qp, io->x.e.qp->Dispatch->NdkCloseQp, &io->x.e.qp->Header);
	WAIT(x->Dispatch->NdkCompleteConnect, x, io_gone, &io->x);
	CHECK(!NT_SUCCESS(call_end(&accept, STATUS_PENDING)) || SOON(io->y.gone == 1),
	      "NDK-142 the peer hears that the queue pair is no more");
	CLOSE(x->Dispatch->NdkCloseConnector, io->x.e.connector);
	CHECK(SOON(!open_still(&qp)), "NDK-83 the close waits for the connector, at most");
	io->x.e.qp = NULL;
	io_unpair(io);
}

/* Requests that wait when the listener closes are refused (NDK-84, DEF-118). */
static void listener_closes(struct io *io)
{
	struct door door;
	struct call calls[4];
	struct io_end ends[4];
	NTSTATUS status[4];
	ULONG refusals = 0;
	CHECK(door_open(&door, &io->b, 0), "NDK-39 a listener");
	door.listener->Dispatch->NdkControlConnectEvents(door.listener, TRUE);
	for (unsigned i = 0; i < 4; i++) {
		if (i == 2)
			CLOSE(door.listener->Dispatch->NdkCloseListener, door.listener);
		io_end_make(&ends[i], io->a.adapter, &plain);
		ends[i].e.connector = MAKE(
			NDK_CONNECTOR, io->a.adapter->Dispatch->NdkCreateConnector, io->a.adapter);
		call_begin(&calls[i]);
		status[i] = connect(&ends[i], &io->a, &door.address, call_requested, &calls[i]);
	}
	for (unsigned i = 0; i < 4; i++) {
		refusals += call_end(&calls[i], status[i]) == STATUS_CONNECTION_REFUSED;
		io_end_close(&ends[i]);
	}
	CHECK(refusals == 4, "DEF-118 a paused listener, and one that has closed, refuse");
}

/* ---- A CQ closed in a storm of notifications (NDK-82) ---- */

static volatile LONG late, over;
static KSPIN_LOCK arming; /* protects: the queue is used no more once `closing` is set */
static BOOLEAN closing;

/* Still runs when its queue's close begins, but does not use it any more. */
static void arm_again(struct io_watch *watch)
{
	KIRQL old;
	NDK_RESULT results[8];
	KeAcquireSpinLock(&arming, &old);
	while (!closing && watch->cq->Dispatch->NdkGetCqResults(watch->cq, results, 8))
		;
	if (!closing)
		watch->cq->Dispatch->NdkArmCq(watch->cq, NDK_CQ_NOTIFY_ANY);
	KeReleaseSpinLock(&arming, old);
	KeStallExecutionProcessor(20);
	if (over)
		InterlockedIncrement(&late);
}

static void stop_arming(void)
{
	KIRQL old;
	KeAcquireSpinLock(&arming, &old);
	closing = TRUE;
	KeReleaseSpinLock(&arming, old);
}

static void storm(struct io *io)
{
	for (unsigned round = 0; round < 30; round++) {
		if (!io_pair(io, &plain, 4096))
			break;
		over = 0;
		closing = FALSE;
		io->x.initiator.hook = arm_again;
		io->x.e.cq->Dispatch->NdkArmCq(io->x.e.cq, NDK_CQ_NOTIFY_ANY);
		for (unsigned i = 0; i < 20; i++)
			io_write(&io->x, &io->mx, 0, 8, (UINT64)io->my.data, io_token(&io->my), 0,
				 NULL);
		memory_close(&io->mx);
		memory_close(&io->my);
		CLOSE(io->x.e.connector->Dispatch->NdkCloseConnector, io->x.e.connector);
		CLOSE(io->x.e.qp->Dispatch->NdkCloseQp, io->x.e.qp);
		stop_arming();
		CLOSE(io->x.e.cq->Dispatch->NdkCloseCq, io->x.e.cq);
		over = 1;
		io_unpair(io);
	}
	check_sleep(20);
	CHECK(!late, "NDK-82 no notification after the close of its queue has completed");
}

/* ---- The consumer replaces Dispatch (NDK-7) ---- */

static void hooked(struct io *io)
{
	CHECK(io_pair(io, &plain, 4096), "NDK-7 two ends whose tables are replaced");
	const NDK_QP_DISPATCH *qp = io->x.e.qp->Dispatch;
	const NDK_CQ_DISPATCH *cq = io->x.e.cq->Dispatch;
	const NDK_CONNECTOR_DISPATCH *connector = io->x.e.connector->Dispatch;
	io->x.e.qp->Dispatch = (PVOID)(ULONG_PTR)0xdead;
	io->x.e.cq->Dispatch = (PVOID)(ULONG_PTR)0xdead;
	io->x.e.connector->Dispatch = (PVOID)(ULONG_PTR)0xdead;
	NDK_SGE sge = memory_sge(&io->mx, 0, 8);
	NDK_RESULT r;
	CHECK(qp->NdkWrite(io->x.e.qp, NULL, &sge, 1, (UINT64)io->my.data, io_token(&io->my), 0) ==
			      STATUS_SUCCESS &&
		      SOON(cq->NdkGetCqResults(io->x.e.cq, &r, 1)) && r.Status == STATUS_SUCCESS &&
		      WAIT(connector->NdkDisconnect, io->x.e.connector) == STATUS_SUCCESS,
	      "NDK-7 the provider never reads Dispatch");
	io->x.e.qp->Dispatch = qp;
	io->x.e.cq->Dispatch = cq;
	io->x.e.connector->Dispatch = connector;
	io_unpair(io);
}

static void test(struct io *io)
{
	call_begin(&closed);
	inside(io);
	extended(io);
	closing_event(io);
	event_order(io);
	antecedents_first(io);
	queue_pair_closes(io);
	listener_closes(io);
	storm(io);
	hooked(io);
}

IO_DRIVER(test)
