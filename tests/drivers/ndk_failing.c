/* SPDX-License-Identifier: MIT */
/*
 * ndk_failing.c: work requests that fail on demand by their completion (NDK-101, NDK-109a,
 * NDK-130): --ndk-complete=pending and --ndk-fail for the first call of each, the first two of
 * NdkSend, the second of NdkGetLocalAddress, the first of NdkGetPeerAddress.
 *
 * On a fabric a change that fails ends the connection (docs/verbs.md), so there it is the last one.
 */
#include "ndk_io.h"

/* Posted, completed with a failure. */
static BOOLEAN fails(struct io *io, NTSTATUS posted)
{
	return posted == STATUS_SUCCESS && io_status(io->x.e.cq) == STATUS_ACCESS_VIOLATION;
}

static BOOLEAN works(struct io *io, NTSTATUS posted)
{
	return posted == STATUS_SUCCESS && io_status(io->x.e.cq) == STATUS_SUCCESS;
}

static void fast(struct io *io)
{
	NDK_QP *qp = io->x.e.qp;
	NDK_PD *pd = io->x.e.pd;
	NDK_LOGICAL_ADDRESS page = MmGetPhysicalAddress(io->mx.data);
	NDK_MR *mr = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, TRUE);
	WAIT(mr->Dispatch->NdkInitializeFastRegisterMr, mr, 1, TRUE);
#define REGISTER()                                                                                 \
	qp->Dispatch->NdkFastRegister(qp, NULL, mr, 1, &page, 0, PAGE_SIZE, NULL,                  \
				      NDK_OP_FLAG_ALLOW_REMOTE_READ)
#define INVALIDATE() qp->Dispatch->NdkInvalidate(qp, NULL, &mr->Header, 0)
	CHECK(fails(io, REGISTER()), "NDK-65 a fast registration that fails when its turn comes");
	if (io_is_loopback(io)) {
		CHECK(works(io, REGISTER()), "NDK-130 leaves the region as it was");
		CHECK(fails(io, INVALIDATE()), "NDK-66 an invalidation");
		CHECK(works(io, INVALIDATE()), "NDK-130 leaves it registered");
	}
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
}

static void bind(struct io *io)
{
	NDK_QP *qp = io->x.e.qp;
	NDK_PD *pd = io->x.e.pd;
	NDK_MW *mw = MAKE(NDK_MW, pd->Dispatch->NdkCreateMw, pd);
#define BIND()                                                                                     \
	qp->Dispatch->NdkBind(qp, NULL, io->mx.mr, mw, io->mx.data, 64,                            \
			      NDK_OP_FLAG_ALLOW_REMOTE_READ)
	CHECK(fails(io, BIND()), "NDK-64 a bind");
	if (io_is_loopback(io))
		CHECK(works(io, BIND()), "NDK-130 leaves the window free");
	CLOSE(mw->Dispatch->NdkCloseMw, mw);
}

static NTSTATUS post(struct io *io, ULONG which)
{
	NDK_QP *qp = io->x.e.qp;
	NDK_SGE sge = memory_sge(&io->mx, 0, 64);
	UINT64 address = (UINT64)io->my.data;
	switch (which) {
	case 0:
		return qp->Dispatch->NdkSend(qp, NULL, &sge, 1, NDK_OP_FLAG_SILENT_SUCCESS);
	case 1:
		return qp->Dispatch->NdkSend(qp, NULL, &sge, 1, NDK_OP_FLAG_INLINE);
	case 2:
		return qp->Dispatch->NdkSendAndInvalidate(qp, NULL, &sge, 1, 0, io_token(&io->my));
	case 3:
		return qp->Dispatch->NdkWrite(qp, NULL, &sge, 1, address, io_token(&io->my), 0);
	default:
		return qp->Dispatch->NdkRead(qp, NULL, &sge, 1, address, io_token(&io->my), 0);
	}
}

static void data(struct io *io, ULONG which)
{
	BOOLEAN joined = io_pair(io, &plain, PAGE_SIZE);
	CHECK(joined, "NDK-136 two ends");
	if (joined) {
		RtlFillMemory(io->mx.data, 64, 'x');
		RtlFillMemory(io->my.data, 128, 'y');
		io_receive(&io->y, &io->my, 64, 64, NULL);
		CHECK(fails(io, post(io, which)), "NDK-101 a request that fails on its way");
		CHECK(io_is(&io->my, 0, 128, 'y') && io_is(&io->mx, 0, 64, 'x'),
		      "NDK-109a moves nothing");
		CHECK(io_status(io->y.receive_cq) == STATUS_CANCELLED && SOON(io->y.gone == 1),
		      "NDK-109a and breaks the connection");
	}
	io_unpair(io);
}

static void addresses(struct io *io)
{
	NDK_CONNECTOR *c = io->x.e.connector;
	SOCKADDR_INET address;
	ULONG size = sizeof(address);
	NDK_FN_GET_LOCAL_ADDRESS *local = c->Dispatch->NdkGetLocalAddress;
	NDK_FN_GET_PEER_ADDRESS *peer = c->Dispatch->NdkGetPeerAddress;
	CHECK(local(c, (SOCKADDR *)&address, &size) == STATUS_INTERNAL_ERROR &&
		      local(c, (SOCKADDR *)&address, &size) == STATUS_SUCCESS,
	      "NDK-70 NdkGetLocalAddress");
	CHECK(peer(c, (SOCKADDR *)&address, &size) == STATUS_INTERNAL_ERROR &&
		      peer(c, (SOCKADDR *)&address, &size) == STATUS_SUCCESS,
	      "NDK-70 NdkGetPeerAddress");
}

static void test(struct io *io)
{
	BOOLEAN joined = io_pair(io, &plain, PAGE_SIZE);
	CHECK(joined, "NDK-136 two ends");
	if (joined) {
		addresses(io);
		fast(io);
		if (io_is_loopback(io))
			bind(io);
	}
	io_unpair(io);
	joined = io_pair(io, &plain, PAGE_SIZE);
	CHECK(joined, "NDK-136 two ends");
	if (joined && !io_is_loopback(io))
		bind(io);
	io_unpair(io);
	for (ULONG which = 0; which < 5; which++)
		data(io, which);
}
IO_DRIVER(test)
