/* SPDX-License-Identifier: MIT */
/*
 * ndk_functions.c: what each function does with its arguments, and no other test asks: every slot
 * of every table, limits of queue pairs, the number of results, requests before there is a
 * connection, affinity, and antecedents of one queue pair after the other (NDK-1, 5, 33, 46, 55,
 * 56, 62, 66, 98).
 */
#include "ndk_io.h"

/* ---- Tables ---- */

static ULONG unset(const VOID *table, SIZE_T size)
{
	const PVOID *slots = table;
	ULONG count = 0;
	for (SIZE_T i = 0; i < size / sizeof(PVOID); i++)
		count += !slots[i];
	return count;
}

#define UNSET(object) unset((object)->Dispatch, sizeof(*(object)->Dispatch))

static void tables(struct io *io)
{
	NDK_ADAPTER *a = io->a.adapter;
	NDK_PD *pd = io->x.e.pd;
	NDK_MW *mw = MAKE(NDK_MW, pd->Dispatch->NdkCreateMw, pd);
	NDK_CONNECTOR *connector = MAKE(NDK_CONNECTOR, a->Dispatch->NdkCreateConnector, a);
	NDK_LISTENER *listener =
		MAKE(NDK_LISTENER, a->Dispatch->NdkCreateListener, a, door_rung, &io->door);
	NDK_SHARED_ENDPOINT *endpoint =
		MAKE(NDK_SHARED_ENDPOINT, a->Dispatch->NdkCreateSharedEndpoint, a,
		     (const SOCKADDR *)&io->a.local, io_address_size(&io->a.local));
	NDK_SRQ *srq = MAKE(NDK_SRQ, pd->Dispatch->NdkCreateSrq, pd, 8, 1, 0, NULL, NULL, NULL);
	CHECK(UNSET(a) + UNSET(pd) + UNSET(mw) + UNSET(connector) + UNSET(listener) +
			      UNSET(endpoint) + UNSET(srq) + UNSET(io->mx.mr) + UNSET(io->x.e.cq) +
			      UNSET(io->x.e.qp) ==
		      0,
	      "NDK-1 NDK-33 every function of all ten tables is there");
	CLOSE(srq->Dispatch->NdkCloseSrq, srq);
	CLOSE(endpoint->Dispatch->NdkCloseSharedEndpoint, endpoint);
	CLOSE(listener->Dispatch->NdkCloseListener, listener);
	CLOSE(connector->Dispatch->NdkCloseConnector, connector);
	CLOSE(mw->Dispatch->NdkCloseMw, mw);
}

/* ---- Queue pairs ---- */

static NTSTATUS create(struct io *io, ULONG receives, ULONG initiators, ULONG receive_sges,
		       ULONG initiator_sges, ULONG inline_size)
{
	struct call call;
	NDK_QP *qp = NULL;
	NDK_PD *pd = io->x.e.pd;
	call_begin(&call);
	NTSTATUS first = pd->Dispatch->NdkCreateQp(pd, io->x.receive_cq, io->x.e.cq, NULL, receives,
						   initiators, receive_sges, initiator_sges,
						   inline_size, call_created, &call, &qp);
	NTSTATUS status = call_end(&call, first);
	if (first == STATUS_PENDING)
		qp = call.object;
	if (NT_SUCCESS(status))
		CLOSE(qp->Dispatch->NdkCloseQp, qp);
	return status;
}

static void limits(struct io *io)
{
	const NDK_ADAPTER_INFO *most = &io->a.info;
	CHECK(create(io, 4, 4, most->MaxReceiveRequestSge, most->MaxInitiatorRequestSge, 0) ==
		      STATUS_SUCCESS,
	      "NDK-46 SGEs up to the adapter's limits");
	CHECK(create(io, most->MaxReceiveQueueDepth + 1, 4, 1, 1, 0) == STATUS_INVALID_PARAMETER,
	      "NDK-46 a receive queue above MaxReceiveQueueDepth");
	CHECK(create(io, 4, most->MaxInitiatorQueueDepth + 1, 1, 1, 0) == STATUS_INVALID_PARAMETER,
	      "NDK-46 an initiator queue above MaxInitiatorQueueDepth");
	CHECK(create(io, 4, 4, most->MaxReceiveRequestSge + 1, 1, 0) == STATUS_INVALID_PARAMETER,
	      "NDK-46 SGEs above MaxReceiveRequestSge");
	CHECK(create(io, 4, 4, 1, most->MaxInitiatorRequestSge + 1, 0) == STATUS_INVALID_PARAMETER,
	      "NDK-46 SGEs above MaxInitiatorRequestSge");
	CHECK(create(io, 4, 4, 1, 1, most->MaxInlineDataSize + 1) == STATUS_INVALID_PARAMETER,
	      "NDK-46 inline data above MaxInlineDataSize");
}

static NTSTATUS create_srq(struct io *io, ULONG depth, ULONG sges, ULONG threshold)
{
	struct call call;
	NDK_SRQ *srq = NULL;
	NDK_PD *pd = io->x.e.pd;
	call_begin(&call);
	NTSTATUS first = pd->Dispatch->NdkCreateSrq(pd, depth, sges, threshold, NULL, NULL, NULL,
						    call_created, &call, &srq);
	NTSTATUS status = call_end(&call, first);
	if (first == STATUS_PENDING)
		srq = call.object;
	if (NT_SUCCESS(status))
		CLOSE(srq->Dispatch->NdkCloseSrq, srq);
	return status;
}

static void srq_limits(struct io *io)
{
	const NDK_ADAPTER_INFO *most = &io->a.info;
	CHECK(create_srq(io, 8, 1, 8) == STATUS_SUCCESS, "NDK-45 a threshold up to the depth");
	CHECK(create_srq(io, 0, 1, 0) == STATUS_INVALID_PARAMETER &&
		      create_srq(io, most->MaxSrqDepth + 1, 1, 0) == STATUS_INVALID_PARAMETER,
	      "NDK-45 no depth, and one above MaxSrqDepth");
	CHECK(create_srq(io, 8, most->MaxReceiveRequestSge + 1, 0) == STATUS_INVALID_PARAMETER,
	      "NDK-45 SGEs above MaxReceiveRequestSge");
	CHECK(create_srq(io, 8, 1, 9) == STATUS_INVALID_PARAMETER,
	      "NDK-45 a threshold above the depth");
}

/* ---- Results ---- */

static void results(struct io *io)
{
	NDK_RESULT some[8];
	NDK_RESULT_EX more[8];
	const NDK_CQ_DISPATCH *f = io->x.e.cq->Dispatch;
	NDK_CQ *cq = io->x.e.cq;
	LONG before = io->x.initiator.count;
	CHECK(f->NdkGetCqResults(cq, some, 8) == 0 && f->NdkGetCqResultsEx(cq, more, 8) == 0,
	      "NDK-56 an empty queue: 0");
	f->NdkArmCq(cq, NDK_CQ_NOTIFY_ANY);
	for (ULONG_PTR i = 0; i < 7; i++)
		io_write(&io->x, &io->mx, 0, 8, (UINT64)io->my.data, io_token(&io->my), 0,
			 (PVOID)i);
	CHECK(SOON(io->x.initiator.count == before + 1), "NDK-55 an armed queue notifies");
	check_sleep(20);
	RtlFillMemory(some, sizeof(some), 0x55);
	CHECK(f->NdkGetCqResults(cq, some, 2) == 2 && some[0].RequestContext == (PVOID)0 &&
		      some[1].RequestContext == (PVOID)1 && some[2].Status == 0x55555555,
	      "NDK-56 no more than the array holds, the oldest");
	CHECK(f->NdkGetCqResultsEx(cq, more, 3) == 3 && more[0].RequestContext == (PVOID)2 &&
		      more[2].RequestContext == (PVOID)4,
	      "NDK-56 the next ones, whichever function asks");
	CHECK(f->NdkGetCqResults(cq, some, 8) == 2 && some[1].RequestContext == (PVOID)6 &&
		      some[2].Status == 0x55555555 && f->NdkGetCqResults(cq, some, 8) == 0,
	      "NDK-56 the number that was there");
}

/* ---- Without a connection ---- */

static void unconnected(struct io *io)
{
	struct io_end end;
	struct memory m;
	BOOLEAN made =
		io_end_make(&end, io->a.adapter, &plain) && memory_make(&m, end.e.pd, 4096, IO_ALL);
	CHECK(made, "NDK-62 an end without a connection");
	if (made) {
		NDK_SGE sge = memory_sge(&m, 0, 8);
		NDK_QP *qp = end.e.qp;
		CHECK(qp->Dispatch->NdkSendAndInvalidate(qp, NULL, &sge, 1, 0, io_token(&m)) ==
			      STATUS_CONNECTION_INVALID,
		      "NDK-62 NdkSendAndInvalidate: STATUS_CONNECTION_INVALID");
		NDK_MW *mw = MAKE(NDK_MW, end.e.pd->Dispatch->NdkCreateMw, end.e.pd);
		CHECK(qp->Dispatch->NdkInvalidate(qp, NULL, &mw->Header, 0) ==
			      STATUS_CONNECTION_INVALID,
		      "NDK-66 NdkInvalidate: STATUS_CONNECTION_INVALID");
		CHECK(io_none(end.e.cq), "NDK-62 NDK-66 neither completes");
		CLOSE(mw->Dispatch->NdkCloseMw, mw);
		memory_close(&m);
	}
	io_end_close(&end);
}

/* ---- Affinity is a preference (NDK-98) ---- */

static void affinity(struct io *io)
{
	GROUP_AFFINITY there = {.Mask = 1}, nowhere = {.Mask = (KAFFINITY)1 << 63, .Group = 7};
	GROUP_AFFINITY *wishes[] = {&there, &nowhere};
	NDK_ADAPTER *a = io->a.adapter;
	NDK_PD *pd = io->x.e.pd;
	for (ULONG i = 0; i < 2; i++) {
		struct io_watch watch = {0};
		NDK_CQ *cq = MAKE(NDK_CQ, a->Dispatch->NdkCreateCq, a, 16, io_notified, &watch,
				  wishes[i]);
		NDK_SRQ *srq = MAKE(NDK_SRQ, pd->Dispatch->NdkCreateSrq, pd, 8, 1, 0, NULL, NULL,
				    wishes[i]);
		CHECK(cq && srq, "NDK-98 an affinity, even to processors that there are not");
		CLOSE(srq->Dispatch->NdkCloseSrq, srq);
		CLOSE(cq->Dispatch->NdkCloseCq, cq);
	}
}

/* ---- Antecedents of a queue pair with an SRQ (NDK-5) ---- */

static BOOLEAN pending(struct call *call, NTSTATUS status)
{
	return status == STATUS_PENDING && !KeReadStateEvent(&call->done);
}

static void antecedents(struct io *io)
{
	struct call cq_closed, srq_closed, pd_closed;
	NDK_ADAPTER *a = io->a.adapter;
	NDK_PD *pd = MAKE(NDK_PD, a->Dispatch->NdkCreatePd, a);
	struct io_watch watch = {0};
	NDK_CQ *cq = io_cq(&watch, a, 16);
	NDK_SRQ *srq = MAKE(NDK_SRQ, pd->Dispatch->NdkCreateSrq, pd, 8, 1, 0, NULL, NULL, NULL);
	NDK_QP *qp = MAKE(NDK_QP, pd->Dispatch->NdkCreateQpWithSrq, pd, cq, cq, srq, NULL, 8, 1, 0);
	call_begin(&cq_closed);
	call_begin(&srq_closed);
	call_begin(&pd_closed);
	NTSTATUS cq_status = cq->Dispatch->NdkCloseCq(&cq->Header, call_closed, &cq_closed);
	NTSTATUS srq_status = srq->Dispatch->NdkCloseSrq(&srq->Header, call_closed, &srq_closed);
	NTSTATUS pd_status = pd->Dispatch->NdkClosePd(&pd->Header, call_closed, &pd_closed);
	check_sleep(20);
	CHECK(pending(&cq_closed, cq_status), "NDK-5 the CQ waits for the queue pair");
	CHECK(pending(&srq_closed, srq_status), "NDK-5 the SRQ waits for the queue pair");
	CHECK(pending(&pd_closed, pd_status), "NDK-4 NDK-5 the PD waits for all of them");
	CLOSE(qp->Dispatch->NdkCloseQp, qp);
	CHECK(SOON(KeReadStateEvent(&cq_closed.done) && KeReadStateEvent(&srq_closed.done) &&
		   KeReadStateEvent(&pd_closed.done)),
	      "NDK-5 then all of them close");
}

static void test(struct io *io)
{
	BOOLEAN joined = io_pair(io, &plain, 4096);
	CHECK(joined, "NDK-136 two ends");
	if (joined) {
		tables(io);
		limits(io);
		srq_limits(io);
		results(io);
		unconnected(io);
		affinity(io);
		antecedents(io);
	}
	io_unpair(io);
}

IO_DRIVER(test)
