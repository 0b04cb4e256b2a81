/* SPDX-License-Identifier: MIT */
/*
 * ndk_srq.c: a shared receive queue: two connections take from it, thresholds, resizing, life.
 */
#include "ndk_io.h"

#define SIZE 65536

static NDK_SRQ *srq;
static volatile LONG notified;
static volatile NTSTATUS notified_with;
static struct io_end ends[2]; /* passive, on the SRQ */
static struct io_end peers[2];
static NDK_PD *pd;
static struct io_watch watch;
static struct memory memory, theirs[2];

static VOID NTAPI on_srq(PVOID context, NTSTATUS status)
{
	UNREFERENCED_PARAMETER(context);
	notified_with = status;
	InterlockedIncrement(&notified);
}

static NTSTATUS post(ULONG length, ULONG_PTR context)
{
	NDK_SGE sge = memory_sge(&memory, 0, length);
	return srq->Dispatch->NdkSrqReceive(srq, (PVOID)context, &sge, 1);
}

static BOOLEAN make(struct io *io, ULONG depth, ULONG threshold)
{
	NDK_ADAPTER *b = io->b.adapter;
	pd = MAKE(NDK_PD, b->Dispatch->NdkCreatePd, b);
	if (!pd || !io_cq(&watch, b, 64) || !memory_make(&memory, pd, SIZE, IO_ALL))
		return FALSE;
	srq = MAKE(NDK_SRQ, pd->Dispatch->NdkCreateSrq, pd, depth, 2, threshold, on_srq, NULL,
		   NULL);
	if (!srq)
		return FALSE;
	for (unsigned i = 0; i < 2; i++) {
		KeInitializeEvent(&ends[i].e.gone, NotificationEvent, FALSE);
		ends[i].e.qp = MAKE(NDK_QP, pd->Dispatch->NdkCreateQpWithSrq, pd, watch.cq,
				    watch.cq, srq, &ends[i], 8, 1, 0);
		if (!ends[i].e.qp || !io_end_make(&peers[i], io->a.adapter, &plain) ||
		    !memory_make(&theirs[i], peers[i].e.pd, SIZE, IO_ALL))
			return FALSE;
	}
	return TRUE;
}

static void refused(struct io *io)
{
	struct call call;
	NDK_SRQ *none = NULL;
	NDK_SGE three[3] = {memory_sge(&memory, 0, 1), memory_sge(&memory, 0, 1),
			    memory_sge(&memory, 0, 1)};
	call_begin(&call);
	NTSTATUS status = call_end(&call, pd->Dispatch->NdkCreateSrq(pd, io->b.info.MaxSrqDepth + 1,
								     1, 0, NULL, NULL, NULL,
								     call_created, &call, &none));
	CHECK(status == STATUS_INVALID_PARAMETER, "NDK-45 a depth above the adapter's");
	three[1].Length = io->b.info.MaxTransferLength;
	CHECK(srq->Dispatch->NdkSrqReceive(srq, NULL, three, 3) == STATUS_INVALID_PARAMETER &&
		      srq->Dispatch->NdkSrqReceive(srq, NULL, three, 2) ==
			      STATUS_INVALID_PARAMETER &&
		      ends[0].e.qp->Dispatch->NdkReceive(ends[0].e.qp, NULL, three, 1) ==
			      STATUS_INVALID_PARAMETER,
	      "NDK-59 NDK-105 too many SGEs, too many bytes; a receive on a queue pair that has an "
	      "SRQ");
}

static void receives(void)
{
	NDK_RESULT_EX r;
	ULONG count = 0;
	for (ULONG_PTR i = 0; i < 8; i++)
		count += post(64, i) == STATUS_SUCCESS;
	CHECK(count == 8 && post(64, 9) == STATUS_INSUFFICIENT_RESOURCES,
	      "NDK-59 a full shared receive queue");
	io_send(&peers[0], &theirs[0], 0, 10, 0, NULL);
	CHECK(io_get(watch.cq, &r, 10000) && r.RequestContext == (PVOID)0 &&
		      r.QPContext == &ends[0] && r.BytesTransferred == 10,
	      "NDK-109b the first connection takes the first receive");
	io_send(&peers[1], &theirs[1], 0, 11, 0, NULL);
	CHECK(io_get(watch.cq, &r, 10000) && r.RequestContext == (PVOID)1 &&
		      r.QPContext == &ends[1] && r.BytesTransferred == 11,
	      "NDK-109b the second one the next, with its own QPContext");
	CHECK(!notified, "NDK-109b not below the threshold of 4 yet");
	for (unsigned i = 0; i < 2; i++) {
		io_send(&peers[i], &theirs[i], 0, 1, 0, NULL);
		io_status(watch.cq);
	}
	CHECK(!notified, "NDK-109b at the threshold: not below it");
	io_send(&peers[0], &theirs[0], 0, 1, 0, NULL);
	io_status(watch.cq);
	CHECK(SOON(notified == 1) && notified_with == STATUS_SUCCESS,
	      "NDK-109b below it: notified");
	io_send(&peers[0], &theirs[0], 0, 1, 0, NULL);
	io_status(watch.cq);
	check_sleep(10);
	CHECK(notified == 1, "NDK-109b once");
	CHECK(WAIT(srq->Dispatch->NdkModifySrq, srq, 0, 2) == STATUS_SUCCESS && notified == 1,
	      "NDK-58 armed again, not below 2");
	io_send(&peers[1], &theirs[1], 0, 1, 0, NULL);
	io_status(watch.cq);
	CHECK(SOON(notified == 2), "NDK-58 and now it is");
	CHECK(WAIT(srq->Dispatch->NdkModifySrq, srq, 0, 3) == STATUS_SUCCESS && SOON(notified == 3),
	      "NDK-109b already below: notified now");
	CHECK(WAIT(srq->Dispatch->NdkModifySrq, srq, 16, 0) == STATUS_SUCCESS &&
		      WAIT(srq->Dispatch->NdkModifySrq, srq, 0, 17) == STATUS_INVALID_PARAMETER,
	      "NDK-58 a depth of 16; a threshold above it");
	for (ULONG_PTR i = 1; i < 16; i++)
		count += post(64, 100 + i) == STATUS_SUCCESS;
	CHECK(count == 23 && post(64, 0) == STATUS_INSUFFICIENT_RESOURCES,
	      "NDK-58 there is room for 16");
	for (unsigned i = 0; i < 16; i++) {
		io_send(&peers[i % 2], &theirs[i % 2], 0, 1, 0, NULL);
		count -= io_status(watch.cq) == STATUS_SUCCESS;
	}
	CHECK(count == 7, "NDK-109b all of them are received into");
	for (unsigned i = 0; i < 2; i++) {
		while (io_get(peers[i].e.cq, &r, 2))
			;
	}
}

/* Both senders wait; receives wake them. */
static void starved(void)
{
	NDK_RESULT_EX r;
	ULONG each[2] = {0, 0};
	for (unsigned i = 0; i < 6; i++)
		io_send(&peers[i % 2], &theirs[i % 2], 0, 1, 0, NULL);
	CHECK(io_none(watch.cq), "DEF-112 senders of two connections wait");
	for (unsigned i = 0; i < 6; i++)
		post(8, i);
	for (unsigned i = 0; i < 6 && io_get(watch.cq, &r, 10000); i++)
		each[r.QPContext == &ends[1]] += r.Status == STATUS_SUCCESS;
	CHECK(each[0] == 3 && each[1] == 3, "DEF-112 each receive lets one of them go on");
	CHECK(io_status(peers[0].e.cq) == STATUS_SUCCESS &&
		      io_status(peers[1].e.cq) == STATUS_SUCCESS,
	      "DEF-112 and their sends complete");
}

/* Its close waits for that of its connector (NDK-83). */
static void closing(void)
{
	struct call closed;
	NDK_QP *qp = ends[1].e.qp;
	call_begin(&closed);
	NTSTATUS status = qp->Dispatch->NdkCloseQp(&qp->Header, call_closed, &closed);
	ends[1].e.qp = NULL;
	io_send(&peers[1], &theirs[1], 0, 1, 0, NULL);
	CHECK(status == STATUS_PENDING && io_none(watch.cq),
	      "NDK-80 a queue pair that is being closed receives nothing any more");
	CLOSE(ends[1].e.connector->Dispatch->NdkCloseConnector, ends[1].e.connector);
	call_end(&closed, status);
}

static void test(struct io *io)
{
	struct door doors[2];
	if (!io->b.info.MaxSrqDepth) {
		CHECK(TRUE, "NDK-17 no shared receive queues here");
		return;
	}
	CHECK(make(io, 8, 4), "NDK-45 NDK-47 a shared receive queue with two queue pairs");
	CHECK(io_join(io, &peers[0], &ends[0], &doors[0]) &&
		      io_join(io, &peers[1], &ends[1], &doors[1]),
	      "NDK-109b two connections");
	refused(io);
	receives();
	starved();
	post(8, 77); /* still there when the queue closes */
	CHECK(WAIT(ends[0].e.connector->Dispatch->NdkDisconnect, ends[0].e.connector) ==
			      STATUS_SUCCESS &&
		      io_none(watch.cq),
	      "NDK-106 a flush leaves the receives of the SRQ alone");
	io_send(&peers[1], &theirs[1], 0, 1, 0, NULL);
	CHECK(io_status(watch.cq) == STATUS_SUCCESS, "NDK-109b the other connection takes it");
	post(8, 78);
	closing();
	for (unsigned i = 0; i < 2; i++) {
		memory_close(&theirs[i]);
		io_end_close(&peers[i]);
		io_end_close(&ends[i]);
		CLOSE(doors[i].listener->Dispatch->NdkCloseListener, doors[i].listener);
	}
	CLOSE(srq->Dispatch->NdkCloseSrq, srq);
	memory_close(&memory);
	CLOSE(watch.cq->Dispatch->NdkCloseCq, watch.cq);
	CLOSE(pd->Dispatch->NdkClosePd, pd);
}

IO_DRIVER(test)
