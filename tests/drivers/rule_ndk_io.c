/* SPDX-License-Identifier: MIT */
/*
 * rule_ndk_io.c: rules of NDK queues and connections, each broken by one CASE; CASE 0 breaks none.
 */
#include "ndk_io.h"

#ifndef CASE
#define CASE 0
#endif

#define BIG 33554432

static volatile LONG stop;

/* ---- Two threads on one queue (VER-56) ---- */

static NTSTATUS big_write(struct io *io)
{
	return io_write(&io->x, &io->mx, 0, BIG, (UINT64)io->my.data, io_token(&io->my),
			NDK_OP_FLAG_SILENT_SUCCESS, NULL);
}

static VOID NTAPI post_again(PVOID context)
{
	struct io *io = context;
	while (!stop && big_write(io) != STATUS_CONNECTION_INVALID)
		;
}

static VOID NTAPI poll_again(PVOID context)
{
	struct io *io = context;
	NDK_RESULT result;
	while (!stop)
		io->x.e.cq->Dispatch->NdkGetCqResults(io->x.e.cq, &result, 1);
}

/* For a second: long enough for two threads to meet. */
static __attribute__((unused)) void together(struct io *io, PKSTART_ROUTINE routine)
{
	PVOID thread = check_thread(routine, io);
	LARGE_INTEGER start, now;
	KeQuerySystemTime(&start);
	do {
		if (routine == post_again) {
			big_write(io);
		} else {
			NDK_RESULT result;
			for (ULONG i = 0; i < 1000; i++)
				io->x.e.cq->Dispatch->NdkGetCqResults(io->x.e.cq, &result, 1);
		}
		KeQuerySystemTime(&now);
	} while (now.QuadPart - start.QuadPart < 10000000);
	stop = 1;
	check_join(thread);
}

/* The two queues of a QP may be used at once, and a flush at any time (NDK-99, NDK-100). */
static VOID NTAPI receive_again(PVOID context)
{
	struct io *io = context;
	NDK_RESULT result;
	for (ULONG i = 0; i < 2000; i++) {
		io_receive(&io->x, &io->mx, 0, 8, NULL);
		if (i % 50 == 0)
			io->x.e.qp->Dispatch->NdkFlush(io->x.e.qp);
		while (io->x.receive_cq->Dispatch->NdkGetCqResults(io->x.receive_cq, &result, 1))
			;
	}
	stop = 1;
}

static __attribute__((unused)) void kept(struct io *io)
{
	NDK_CQ *cq = io->x.e.cq;
	PVOID thread = check_thread(receive_again, io);
	ULONG posted = 0;
	do /* the other thread may be done before this one comes here */
		posted += io_write(&io->x, &io->mx, 0, 8, (UINT64)io->my.data, io_token(&io->my),
				   NDK_OP_FLAG_SILENT_SUCCESS, NULL) == STATUS_SUCCESS;
	while (!stop);
	check_join(thread);
	CHECK(posted, "NDK-99 NDK-100 both queues at once, and flushes");
	NDK_RESULT r;
	for (NDK_CQ *each = cq;; each = io->x.receive_cq) {
		while (each->Dispatch->NdkGetCqResults(each, &r, 1))
			;
		if (each == io->x.receive_cq)
			break;
	}
	io_write(&io->x, &io->mx, 0, 8, (UINT64)io->my.data, io_token(&io->my), NDK_OP_FLAG_DEFER,
		 NULL);
	io_write(&io->x, &io->mx, 0, 8, (UINT64)io->my.data, io_token(&io->my), 0, NULL);
	CHECK(io_status(cq) == STATUS_SUCCESS && io_status(cq) == STATUS_SUCCESS &&
		      cq->Dispatch->NdkControlCqInterruptModeration(cq, 0, 0) == STATUS_SUCCESS &&
		      WAIT(cq->Dispatch->NdkResizeCq, cq, 200) == STATUS_SUCCESS,
	      "NDK-107 a chain that ends; features that the adapter has");
	io_write(&io->x, &io->mx, 0, 8, (UINT64)io->my.data, io_token(&io->my), NDK_OP_FLAG_DEFER,
		 NULL);
	CHECK(io_write(&io->x, &io->mx, 0, 8, (UINT64)io->my.data, io_token(&io->my), 0x80000000,
		       NULL) == STATUS_INVALID_PARAMETER &&
		      io_status(cq) == STATUS_SUCCESS,
	      "NDK-107 an inline failure ends a chain, too");
	cq->Dispatch->NdkArmCq(cq, NDK_CQ_NOTIFY_ANY);
}

/* NDK-94: more completions than the queue holds. */
static __attribute__((unused)) void overflow(struct io *io)
{
	struct io_watch *watch = &io->x.initiator;
	NDK_RESULT_EX r;
	ULONG count = 0;
	io_receive(&io->x, &io->mx, 0, 8, NULL);
	watch->cq->Dispatch->NdkArmCq(watch->cq, NDK_CQ_NOTIFY_ERRORS);
	for (ULONG i = 0; i < 9; i++)
		io_write(&io->x, &io->mx, 0, 8, (UINT64)io->my.data, io_token(&io->my), 0, NULL);
	CHECK(SOON(watch->count == 1) && watch->status == STATUS_BUFFER_OVERFLOW,
	      "NDK-94 NDK-95 an overflow notifies with STATUS_BUFFER_OVERFLOW");
	CHECK(io_status(io->x.receive_cq) == STATUS_CANCELLED &&
		      SOON(io->x.gone == 1 && io->y.gone == 1) &&
		      io_send(&io->x, &io->mx, 0, 8, 0, NULL) == STATUS_CONNECTION_INVALID,
	      "NDK-94 its queue pairs are dead: flushed, disconnected");
	while (io_get(watch->cq, &r, 5))
		count++;
	CHECK(count == 8, "NDK-94 what was in it can be got");
	watch->cq->Dispatch->NdkArmCq(watch->cq, NDK_CQ_NOTIFY_ANY);
	check_sleep(20);
	CHECK(watch->count == 1, "NDK-94 it is told once");
}

/* NDK-95: nothing was armed. */
static __attribute__((unused)) void overflow_unarmed(struct io *io)
{
	struct io_watch *watch = &io->x.initiator;
	for (ULONG i = 0; i < 9; i++)
		io_write(&io->x, &io->mx, 0, 8, (UINT64)io->my.data, io_token(&io->my), 0, NULL);
	check_sleep(20);
	CHECK(!watch->count, "NDK-95 an overflow without an arm: no notification yet");
	watch->cq->Dispatch->NdkArmCq(watch->cq, NDK_CQ_NOTIFY_SOLICITED);
	CHECK(SOON(watch->count == 1) && watch->status == STATUS_BUFFER_OVERFLOW,
	      "NDK-95 NDK-91 it is told at the next arm, of any type");
}

/* NDK-94: it dies while a notification is queued that cannot run yet, armed again meanwhile. */
static __attribute__((unused)) void overflow_queued(struct io *io)
{
	struct io_watch *watch = &io->x.initiator;
	KIRQL irql;
	ULONG posted = 0;
	KeRaiseIrql(DISPATCH_LEVEL, &irql);
	watch->cq->Dispatch->NdkArmCq(watch->cq, NDK_CQ_NOTIFY_ANY);
	for (ULONG i = 0; i < 9; i++) {
		posted += io_write(&io->x, &io->mx, 0, 8, (UINT64)io->my.data, io_token(&io->my), 0,
				   NULL) == STATUS_SUCCESS;
		if (!i)
			watch->cq->Dispatch->NdkArmCq(watch->cq, NDK_CQ_NOTIFY_ERRORS);
	}
	watch->cq->Dispatch->NdkArmCq(watch->cq, NDK_CQ_NOTIFY_ANY);
	KeLowerIrql(irql);
	CHECK(posted == 9 && SOON(watch->count) && watch->status == STATUS_BUFFER_OVERFLOW,
	      "NDK-94 the notification that was queued tells of the overflow");
	watch->cq->Dispatch->NdkArmCq(watch->cq, NDK_CQ_NOTIFY_ANY);
	check_sleep(50);
	CHECK(watch->count == 1, "NDK-94 NDK-90 and no other does");
}

#ifndef STRICT
#define STRICT 1
#endif

/* NDK-93: what was there at the last notification, with and without --strict=ndk-arm. */
static __attribute__((unused)) void arm_present(struct io *io)
{
	struct io_watch *watch = &io->x.initiator;
	watch->cq->Dispatch->NdkArmCq(watch->cq, NDK_CQ_NOTIFY_ANY);
	io_write(&io->x, &io->mx, 0, 8, (UINT64)io->my.data, io_token(&io->my), 0, NULL);
	CHECK(SOON(watch->count == 1), "NDK-91 a notification");
	watch->cq->Dispatch->NdkArmCq(watch->cq, NDK_CQ_NOTIFY_ANY);
	check_sleep(20);
	CHECK(watch->count == 1 + STRICT, "NDK-93 the same entry notifies again, or does not");
}

static __attribute__((unused)) void flags(struct io *io)
{
	NDK_CQ *cq = io->x.e.cq;
	CHECK(WAIT(cq->Dispatch->NdkResizeCq, cq, 64) == STATUS_NOT_SUPPORTED &&
		      cq->Dispatch->NdkControlCqInterruptModeration(cq, 20, 4) ==
			      STATUS_NOT_SUPPORTED,
	      "NDK-96 NDK-97 without the adapter's flag: STATUS_NOT_SUPPORTED");
	NDK_QP *qp = io->x.e.qp;
	NDK_PD *pd = io->x.e.pd;
	NDK_LOGICAL_ADDRESS page = MmGetPhysicalAddress(io->mx.data);
	NDK_MR *mr = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, TRUE);
	WAIT(mr->Dispatch->NdkInitializeFastRegisterMr, mr, 1, FALSE);
	NTSTATUS status = qp->Dispatch->NdkFastRegister(qp, NULL, mr, 1, &page, 0, 64, NULL,
							NDK_OP_FLAG_ALLOW_LOCAL_WRITE);
	NDK_SGE sge = {.Length = 8, .MemoryRegionToken = mr->Dispatch->NdkGetLocalTokenFromMr(mr)};
	CHECK(status == STATUS_SUCCESS && io_status(cq) == STATUS_SUCCESS &&
		      qp->Dispatch->NdkRead(
			      qp, NULL, &sge, 1, (UINT64)io->my.data, io_token(&io->my),
			      NDK_OP_FLAG_RDMA_READ_LOCAL_INVALIDATE) == STATUS_SUCCESS &&
		      io_status(cq) == STATUS_SUCCESS,
	      "NDK-109 a read with RDMA_READ_LOCAL_INVALIDATE");
	CHECK(qp->Dispatch->NdkInvalidate(qp, NULL, &mr->Header, 0) == STATUS_SUCCESS &&
		      io_status(cq) == STATUS_SUCCESS,
	      "NDK-109 without the adapter's flag the region is still registered");
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
}

/* NDK-122: without the adapter's flag a read needs a sink. */
static __attribute__((unused)) void sinks(struct io *io)
{
	struct memory plain_memory;
	CHECK(memory_make(&plain_memory, io->x.e.pd, 4096, NDK_MR_FLAG_ALLOW_LOCAL_WRITE),
	      "NDK-20 a region without RDMA_READ_SINK");
	CHECK(io_read(&io->x, &io->mx, 0, 8, (UINT64)io->my.data, io_token(&io->my), 0, NULL) ==
			      STATUS_SUCCESS &&
		      io_status(io->x.e.cq) == STATUS_SUCCESS,
	      "NDK-122 a read into a sink");
	if (CASE == 14) { /* only that */
		memory_close(&plain_memory);
		return;
	}
	CHECK(io_read(&io->x, &plain_memory, 0, 8, (UINT64)io->my.data, io_token(&io->my), 0,
		      NULL) == STATUS_SUCCESS &&
		      io_status(io->x.e.cq) == STATUS_ACCESS_VIOLATION,
	      "NDK-122 a read into what is none: STATUS_ACCESS_VIOLATION");
	memory_close(&plain_memory);
}

static void broken(struct io *io)
{
	switch (CASE) {
	case 0:
		kept(io);
		break;
	case 1:
		together(io, post_again);
		break;
	case 2:
		together(io, poll_again);
		break;
	case 3:
		overflow(io);
		break;
	case 4:
		flags(io);
		break;
	case 5:
		io_write(&io->x, &io->mx, 0, 8, (UINT64)io->my.data, io_token(&io->my),
			 NDK_OP_FLAG_DEFER, NULL);
		CHECK(io_status(io->x.e.cq) == STATUS_SUCCESS, "NDK-107 a chain that is left open");
		break;
	case 6: {
		ULONG size = 8;
		NDK_CONNECTOR *c = io->x.e.connector;
		CHECK(c->Dispatch->NdkGetConnectionData(c, NULL, NULL, NULL, &size) ==
			      STATUS_INVALID_PARAMETER,
		      "NDK-138 a length without a buffer");
		break;
	}
	case 12: {
		ULONG size = 0;
		NDK_CONNECTOR *c = io->x.e.connector;
		CHECK(c->Dispatch->NdkGetConnectionData(c, NULL, NULL, NULL, &size) ==
			      STATUS_SUCCESS,
		      "DEF-2 the data of a connection that is there");
		break;
	}
	case 13: {
		NDK_QP *qp = io->x.e.qp;
		NDK_SGE sge = {.Length = 8};
		sge.VirtualAddress = ExAllocatePoolWithTag(PagedPool, 8, 'dgaP');
		RtlZeroMemory(sge.VirtualAddress, 8);
		CHECK(qp->Dispatch->NdkWrite(qp, NULL, &sge, 1, (UINT64)io->my.data,
					     io_token(&io->my),
					     NDK_OP_FLAG_INLINE) == STATUS_SUCCESS &&
			      io_status(io->x.e.cq) == STATUS_SUCCESS,
		      "NDK-14 inline data from paged pool");
		ExFreePoolWithTag(sge.VirtualAddress, 'dgaP');
		break;
	}
	case 7:
		io->x.e.cq->Dispatch->NdkArmCq(io->x.e.cq, 3);
		CHECK(TRUE, "NDK-21 a type that is none");
		break;
	case 9:
		overflow_unarmed(io);
		break;
	case 10:
		arm_present(io);
		break;
	case 11:
		overflow_queued(io);
		break;
	default:
		sinks(io);
		break;
	}
}

static void test(struct io *io)
{
	struct shape shape = plain;
	if (CASE == 3 || CASE == 9 || CASE == 11)
		shape.cq = 8;
	CHECK(io_pair(io, &shape, CASE == 1 ? BIG : 4096), "NDK-136 two ends");
	broken(io);
	io_unpair(io);
}

IO_DRIVER(test)
