/* SPDX-License-Identifier: MIT */
/*
 * ndk_qp_data.c: work requests that succeed: what moves, what completes, in which order.
 */
#include "ndk_io.h"

#define SIZE 262144

static void fill(struct io *io)
{
	for (SIZE_T i = 0; i < SIZE; i++) {
		io->mx.data[i] = (UCHAR)(i * 7 + i / 251);
		io->my.data[i] = 0;
	}
}

static void sends(struct io *io)
{
	NDK_RESULT_EX r;
	NDK_RESULT old;
	fill(io);
	CHECK(io_receive(&io->y, &io->my, 0, 4096, (PVOID)11) == STATUS_SUCCESS &&
		      io_send(&io->x, &io->mx, 100, 1000, 0, (PVOID)12) == STATUS_SUCCESS,
	      "NDK-61 NDK-63 a send and a receive are posted");
	CHECK(io_get(io->y.receive_cq, &r, 10000) && r.Status == STATUS_SUCCESS &&
		      r.BytesTransferred == 1000 && r.RequestContext == (PVOID)11 &&
		      r.QPContext == &io->y && r.Type == NdkOperationTypeReceive &&
		      r.ProviderErrorCode == 0,
	      "NDK-12 NDK-102 the receive completes, with its contexts and bytes");
	CHECK(io_get(io->x.e.cq, &r, 10000) && r.Status == STATUS_SUCCESS &&
		      r.RequestContext == (PVOID)12 && r.QPContext == &io->x &&
		      r.Type == NdkOperationTypeSend,
	      "NDK-101 the send completes once");
	CHECK(io_none(io->x.e.cq) && io_none(io->y.receive_cq), "NDK-101 nothing else completes");
	CHECK(io_same(&io->mx, 100, &io->my, 0, 1000) && io_is(&io->my, 1000, SIZE - 1000, 0),
	      "NDK-61 exactly these bytes arrive");
	io_receive(&io->y, &io->my, 0, 8, NULL);
	CHECK(io_send(&io->x, &io->mx, 0, 8, NDK_OP_FLAG_SILENT_SUCCESS, NULL) == STATUS_SUCCESS &&
		      io_status(io->y.receive_cq) == STATUS_SUCCESS && io_none(io->x.e.cq),
	      "NDK-101 silent success: no completion");
	io_receive(&io->y, &io->my, 0, 8, (PVOID)5);
	CHECK(io->x.e.qp->Dispatch->NdkSend(io->x.e.qp, (PVOID)6, NULL, 0, 0) == STATUS_SUCCESS &&
		      SOON(io->y.receive_cq->Dispatch->NdkGetCqResults(io->y.receive_cq, &old,
								       1)) &&
		      old.Status == STATUS_SUCCESS && old.BytesTransferred == 0 &&
		      old.RequestContext == (PVOID)5 && io_status(io->x.e.cq) == STATUS_SUCCESS,
	      "NDK-11 a send of nothing arrives; NDK_RESULT");
}

static void scattered(struct io *io)
{
	NDK_SGE from[3] = {memory_sge(&io->mx, 10, 100), memory_sge(&io->mx, 5000, 70000),
			   memory_sge(&io->mx, 1, 0)};
	NDK_SGE to[4] = {memory_sge(&io->my, 0, 50), memory_sge(&io->my, 60, 0),
			 memory_sge(&io->my, 100, 60000), memory_sge(&io->my, 100000, 50000)};
	NDK_RESULT_EX r;
	fill(io);
	CHECK(io->y.e.qp->Dispatch->NdkReceive(io->y.e.qp, NULL, to, 4) == STATUS_SUCCESS &&
		      io->x.e.qp->Dispatch->NdkSend(io->x.e.qp, NULL, from, 3, 0) ==
			      STATUS_SUCCESS &&
		      io_get(io->y.receive_cq, &r, 10000) && r.Status == STATUS_SUCCESS &&
		      r.BytesTransferred == 70100 && io_status(io->x.e.cq) == STATUS_SUCCESS,
	      "NDK-14 lists of SGEs on both sides");
	CHECK(io_same(&io->mx, 10, &io->my, 0, 50) && io_same(&io->mx, 60, &io->my, 100, 50) &&
		      io_same(&io->mx, 5000, &io->my, 150, 59950) &&
		      io_same(&io->mx, 64950, &io->my, 100000, 10050) &&
		      io_is(&io->my, 110050, 40000, 0),
	      "NDK-14 bytes go from list to list in order");
	RtlZeroMemory(io->my.data, SIZE);
	CHECK(io->x.e.qp->Dispatch->NdkWrite(io->x.e.qp, NULL, from, 2, (UINT64)io->my.data + 3,
					     io_token(&io->my), 0) == STATUS_SUCCESS &&
		      io_status(io->x.e.cq) == STATUS_SUCCESS &&
		      io_same(&io->mx, 10, &io->my, 3, 100) &&
		      io_same(&io->mx, 5000, &io->my, 103, 70000),
	      "NDK-67 a write gathers");
	RtlZeroMemory(io->mx.data, SIZE);
	CHECK(io->x.e.qp->Dispatch->NdkRead(io->x.e.qp, NULL, from, 2, (UINT64)io->my.data + 3,
					    io_token(&io->my), 0) == STATUS_SUCCESS &&
		      io_status(io->x.e.cq) == STATUS_SUCCESS &&
		      io_same(&io->mx, 10, &io->my, 3, 100) &&
		      io_same(&io->mx, 5000, &io->my, 103, 70000) && io_is(&io->mx, 0, 10, 0),
	      "NDK-67 a read scatters");
}

static void remote(struct io *io)
{
	NDK_RESULT_EX r;
	fill(io);
	CHECK(io_write(&io->x, &io->mx, 0, SIZE, (UINT64)io->my.data, io_token(&io->my), 0,
		       (PVOID)1) == STATUS_SUCCESS &&
		      io_get(io->x.e.cq, &r, 10000) && r.Status == STATUS_SUCCESS &&
		      r.Type == NdkOperationTypeWrite && io_same(&io->mx, 0, &io->my, 0, SIZE),
	      "NDK-67 a write of many pieces");
	CHECK(io_none(io->y.receive_cq) && io_none(io->y.e.cq), "NDK-67 the peer is not told");
	RtlZeroMemory(io->my.data, SIZE);
	CHECK(io_write(&io->x, &io->mx, 1, 1, (UINT64)io->my.data + SIZE - 1, io_token(&io->my), 0,
		       NULL) == STATUS_SUCCESS &&
		      io_status(io->x.e.cq) == STATUS_SUCCESS &&
		      io->my.data[SIZE - 1] == io->mx.data[1] && io_is(&io->my, 0, SIZE - 1, 0),
	      "NDK-67 the last byte of a region");
	RtlFillMemory(io->my.data, SIZE, 0x33);
	CHECK(io_read(&io->x, &io->mx, 0, SIZE, (UINT64)io->my.data, io_token(&io->my),
		      NDK_OP_FLAG_READ_FENCE, NULL) == STATUS_SUCCESS &&
		      io_get(io->x.e.cq, &r, 10000) && r.Status == STATUS_SUCCESS &&
		      r.Type == NdkOperationTypeRead && io_is(&io->mx, 0, SIZE, 0x33),
	      "NDK-67 NDK-103 a read of many pieces");
	CHECK(io->x.e.qp->Dispatch->NdkWrite(io->x.e.qp, NULL, NULL, 0, 0, 0, 0) ==
			      STATUS_SUCCESS &&
		      io_status(io->x.e.cq) == STATUS_SUCCESS,
	      "NDK-67 a write of nothing checks nothing");
}

static void inline_data(struct io *io)
{
	UCHAR local[64];
	NDK_SGE sge[6];
	for (ULONG i = 0; i < 64; i++)
		local[i] = (UCHAR)(i + 1);
	for (ULONG i = 0; i < 6; i++) {
		sge[i].VirtualAddress = local + 10 * i;
		sge[i].Length = 10;
		sge[i].MemoryRegionToken = 0xdeadbeef;
	}
	RtlZeroMemory(io->my.data, SIZE);
	/* No receive yet: the data must have been captured when the receive comes. */
	CHECK(io->x.e.qp->Dispatch->NdkSend(io->x.e.qp, NULL, sge, 6, NDK_OP_FLAG_INLINE) ==
		      STATUS_SUCCESS,
	      "NDK-104 inline data take more SGEs than the queue pair has");
	RtlZeroMemory(local, sizeof(local));
	io_receive(&io->y, &io->my, 0, 64, NULL);
	CHECK(io_status(io->y.receive_cq) == STATUS_SUCCESS &&
		      io_status(io->x.e.cq) == STATUS_SUCCESS && io->my.data[0] == 1 &&
		      io->my.data[59] == 60 && io->my.data[60] == 0,
	      "NDK-104 inline data are captured before the return");
	sge[0].Length = 65;
	CHECK(io->x.e.qp->Dispatch->NdkSend(io->x.e.qp, NULL, sge, 1, NDK_OP_FLAG_INLINE) ==
		      STATUS_INVALID_PARAMETER,
	      "NDK-104 more than InlineDataSize: STATUS_INVALID_PARAMETER");
	sge[0].Length = 10;
	local[0] = 0x77;
	CHECK(io->x.e.qp->Dispatch->NdkWrite(io->x.e.qp, NULL, sge, 1, (UINT64)io->my.data,
					     io_token(&io->my),
					     NDK_OP_FLAG_INLINE) == STATUS_SUCCESS &&
		      io_status(io->x.e.cq) == STATUS_SUCCESS && io->my.data[0] == 0x77,
	      "NDK-22 an inline write");
}

static void not_ready(struct io *io)
{
	NDK_RESULT_EX r;
	BOOLEAN order = TRUE;
	fill(io);
	for (ULONG i = 0; i < 5; i++)
		io_send(&io->x, &io->mx, i * 16, 16, 0, (PVOID)(ULONG_PTR)i);
	io_write(&io->x, &io->mx, 1000, 16, (UINT64)io->my.data + 1000, io_token(&io->my), 0,
		 (PVOID)5);
	CHECK(io_none(io->x.e.cq) && io_is(&io->my, 1000, 16, 0),
	      "DEF-112 sends wait for receives, and what follows waits behind them");
	for (ULONG i = 0; i < 5; i++)
		io_receive(&io->y, &io->my, i * 16, 16, (PVOID)(ULONG_PTR)(100 + i));
	for (ULONG i = 0; i < 5; i++) {
		order = order && io_get(io->y.receive_cq, &r, 10000) &&
			r.Status == STATUS_SUCCESS &&
			r.RequestContext == (PVOID)(ULONG_PTR)(100 + i);
		order = order && io_get(io->x.e.cq, &r, 10000) && r.Status == STATUS_SUCCESS &&
			r.RequestContext == (PVOID)(ULONG_PTR)i;
	}
	CHECK(order, "NDK-88 they complete in the order of posting");
	CHECK(io_get(io->x.e.cq, &r, 10000) && r.RequestContext == (PVOID)5 &&
		      io_same(&io->mx, 0, &io->my, 0, 80) &&
		      io_same(&io->mx, 1000, &io->my, 1000, 16),
	      "NDK-130 then the write takes place");
}

static void test(struct io *io)
{
	BOOLEAN joined = io_pair(io, &plain, SIZE);
	CHECK(joined, "NDK-136 NDK-137 two ends are connected");
	if (joined) {
		sends(io);
		scattered(io);
		remote(io);
		inline_data(io);
		not_ready(io);
	}
	io_unpair(io);
}

IO_DRIVER(test)
