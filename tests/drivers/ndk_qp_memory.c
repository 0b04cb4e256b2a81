/* SPDX-License-Identifier: MIT */
/*
 * ndk_qp_memory.c: requests that change regions and windows, in the order of the queue: fast
 * registration, invalidation at either end, windows, chains of deferred requests.
 */
#include "ndk_io.h"

#define SIZE 65536

struct fast {
	NDK_MR *mr;
	UINT32 token;
	UCHAR lam_bytes[sizeof(NDK_LOGICAL_ADDRESS_MAPPING) + 32 * sizeof(NDK_LOGICAL_ADDRESS)];
	NDK_LOGICAL_ADDRESS_MAPPING *lam;
	ULONG fbo;
	PVOID base;
};

static BOOLEAN fast_make(struct fast *f, NDK_ADAPTER *adapter, NDK_PD *pd, struct memory *m)
{
	ULONG size = sizeof(f->lam_bytes);
	f->lam = (NDK_LOGICAL_ADDRESS_MAPPING *)f->lam_bytes;
	f->mr = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, TRUE);
	if (!f->mr ||
	    !NT_SUCCESS(WAIT(f->mr->Dispatch->NdkInitializeFastRegisterMr, f->mr, 17, TRUE)))
		return FALSE;
	f->token = f->mr->Dispatch->NdkGetRemoteTokenFromMr(f->mr);
	struct call call;
	call_begin(&call);
	NTSTATUS status = adapter->Dispatch->NdkBuildLAM(adapter, m->mdl, SIZE, call_requested,
							 &call, f->lam, &size, &f->fbo);
	f->base = (PVOID)((ULONG_PTR)m->data ^ 0x7f5500000000000ull);
	return NT_SUCCESS(call_end(&call, status)) && f->token;
}

static NTSTATUS fast_register(struct io_end *end, struct fast *f, ULONG flags, PVOID context)
{
	return end->e.qp->Dispatch->NdkFastRegister(
		end->e.qp, context, f->mr, f->lam->AdapterPageCount, f->lam->AdapterPageArray,
		f->fbo, SIZE, f->base, flags);
}

static NTSTATUS invalidate(struct io_end *end, struct fast *f, ULONG flags)
{
	return end->e.qp->Dispatch->NdkInvalidate(end->e.qp, NULL, &f->mr->Header, flags);
}

#define REMOTE                                                                                     \
	(NDK_OP_FLAG_ALLOW_LOCAL_WRITE | NDK_OP_FLAG_ALLOW_REMOTE_READ |                           \
	 NDK_OP_FLAG_ALLOW_REMOTE_WRITE)

/* y offers the region, x uses it (DEF-91). */
static void cycles(struct io *io, struct fast *f)
{
	NDK_RESULT_EX r;
	BOOLEAN good = TRUE;
	for (ULONG round = 0; round < 3 && good; round++) {
		io->mx.data[5] = (UCHAR)(round + 1);
		good = fast_register(&io->y, f, REMOTE, (PVOID)8) == STATUS_SUCCESS &&
		       io_get(io->y.e.cq, &r, 10000) && r.Status == STATUS_SUCCESS &&
		       r.Type == NdkOperationTypeFastRegister && r.RequestContext == (PVOID)8 &&
		       f->mr->Dispatch->NdkGetRemoteTokenFromMr(f->mr) == f->token &&
		       io_write(&io->x, &io->mx, 5, 1, (UINT64)f->base + round, f->token, 0,
				NULL) == STATUS_SUCCESS &&
		       io_status(io->x.e.cq) == STATUS_SUCCESS && io->my.data[round] == round + 1 &&
		       invalidate(&io->y, f, 0) == STATUS_SUCCESS &&
		       io_get(io->y.e.cq, &r, 10000) && r.Status == STATUS_SUCCESS &&
		       r.Type == NdkOperationTypeInvalidate;
	}
	CHECK(good, "DEF-91 DEF-1 register, use, invalidate, again, with one token");
	CHECK(invalidate(&io->y, f, 0) == STATUS_INVALID_DEVICE_STATE && io_none(io->y.e.cq),
	      "NDK-128 an invalidation of what is invalid");
	CHECK(fast_register(&io->y, f, NDK_OP_FLAG_INLINE, NULL) == STATUS_INVALID_PARAMETER,
	      "NDK-22 a flag that NdkFastRegister does not know");
}

/* FastRegister, Send and Invalidate back to back, with and behind a send that waits. */
static void queue_order(struct io *io, struct fast *f)
{
	NDK_RESULT_EX r;
	BOOLEAN good;
	io_send(&io->y, &io->my, 0, 8, 0, (PVOID)1); /* no receive: what follows waits */
	good = fast_register(&io->y, f, REMOTE | NDK_OP_FLAG_DEFER, (PVOID)2) == STATUS_SUCCESS;
	good = good &&
	       io_send(&io->y, &io->my, 0, 8, NDK_OP_FLAG_DEFER, (PVOID)3) == STATUS_SUCCESS;
	good = good && invalidate(&io->y, f, 0) == STATUS_SUCCESS;
	good = good && fast_register(&io->y, f, REMOTE, (PVOID)4) == STATUS_SUCCESS;
	CHECK(good && io_none(io->y.e.cq), "NDK-130 a chain is posted behind a send that waits");
	io_receive(&io->x, &io->mx, 0, 8, NULL);
	io_receive(&io->x, &io->mx, 0, 8, NULL);
	static const ULONG_PTR contexts[] = {1, 2, 3, 0, 4};
	for (ULONG i = 0; i < 5; i++)
		good = good && io_get(io->y.e.cq, &r, 10000) && r.Status == STATUS_SUCCESS &&
		       r.RequestContext == (PVOID)contexts[i];
	CHECK(good, "NDK-130 NDK-107 all of it takes place, in order");
	while (io_get(io->x.receive_cq, &r, 5))
		;
}

/* x's send invalidates y's region (NDK-108); it is registered. */
static void remote_invalidation(struct io *io, struct fast *f)
{
	NDK_RESULT_EX r;
	NDK_SGE sge = memory_sge(&io->mx, 0, 8);
	io_receive(&io->y, &io->my, 0, 8, (PVOID)6);
	CHECK(io->x.e.qp->Dispatch->NdkSendAndInvalidate(io->x.e.qp, (PVOID)7, &sge, 1, 0,
							 f->token) == STATUS_SUCCESS &&
		      io_get(io->y.receive_cq, &r, 10000) && r.Status == STATUS_SUCCESS &&
		      r.Type == NdkOperationTypeReceiveAndInvalidate &&
		      r.TypeSpecificCompletionOutput == f->token && r.RequestContext == (PVOID)6 &&
		      r.BytesTransferred == 8,
	      "NDK-108 NDK-12 the receive says which token was invalidated");
	CHECK(io_get(io->x.e.cq, &r, 10000) && r.Status == STATUS_SUCCESS &&
		      r.Type == NdkOperationTypeSend && r.RequestContext == (PVOID)7,
	      "NDK-13 the sender's completion is a send");
	CHECK(invalidate(&io->y, f, 0) == STATUS_INVALID_DEVICE_STATE,
	      "NDK-89 the region is invalid at its owner");
	/* Once more, told by NdkGetCqResults. */
	NDK_RESULT old;
	CHECK(fast_register(&io->y, f, REMOTE, NULL) == STATUS_SUCCESS &&
		      io_status(io->y.e.cq) == STATUS_SUCCESS,
	      "NDK-108 it can be registered again");
	io_receive(&io->y, &io->my, 0, 8, (PVOID)9);
	CHECK(io->x.e.qp->Dispatch->NdkSendAndInvalidate(io->x.e.qp, NULL, &sge, 1,
							 NDK_OP_FLAG_SILENT_SUCCESS,
							 f->token) == STATUS_SUCCESS &&
		      SOON(io->y.receive_cq->Dispatch->NdkGetCqResults(io->y.receive_cq, &old,
								       1)) &&
		      old.Status == STATUS_SUCCESS && old.RequestContext == (PVOID)9 &&
		      invalidate(&io->y, f, 0) == STATUS_INVALID_DEVICE_STATE,
	      "NDK-89 NdkGetCqResults gets it too, and the token is invalid all the same");
}

/* A read into x's own fast-registered region invalidates it. */
static void local_invalidation(struct io *io, struct fast *own)
{
	if (!(io->a.info.AdapterFlags & NDK_ADAPTER_FLAG_RDMA_READ_LOCAL_INVALIDATE_SUPPORTED))
		return;
	io->my.data[100] = 0x66;
	io->mx.data[0] = 0;
	CHECK(fast_register(&io->x, own, REMOTE | NDK_OP_FLAG_RDMA_READ_SINK, NULL) ==
			      STATUS_SUCCESS &&
		      io_status(io->x.e.cq) == STATUS_SUCCESS,
	      "NDK-109 a fast-registered sink");
	NDK_SGE sge = {.Length = 1};
	sge.VirtualAddress = own->base;
	sge.MemoryRegionToken = own->mr->Dispatch->NdkGetLocalTokenFromMr(own->mr);
	CHECK(io->x.e.qp->Dispatch->NdkRead(
		      io->x.e.qp, NULL, &sge, 1, (UINT64)io->my.data + 100, io_token(&io->my),
		      NDK_OP_FLAG_RDMA_READ_LOCAL_INVALIDATE) == STATUS_SUCCESS &&
		      io_status(io->x.e.cq) == STATUS_SUCCESS && io->mx.data[0] == 0x66,
	      "NDK-109 a read with local invalidation");
	CHECK(invalidate(&io->x, own, 0) == STATUS_INVALID_DEVICE_STATE,
	      "NDK-109 has invalidated its sink");
}

static void windows(struct io *io)
{
	NDK_MW *mw = MAKE(NDK_MW, io->y.e.pd->Dispatch->NdkCreateMw, io->y.e.pd);
	NDK_QP *qp = io->y.e.qp;
	NDK_RESULT_EX r;
	CHECK(mw && mw->Dispatch->NdkGetRemoteTokenFromMw(mw) == 0,
	      "NDK-44 NDK-123 a window, unbound");
	CHECK(qp->Dispatch->NdkBind(qp, (PVOID)4, io->my.mr, mw, io->my.data + 100, 16,
				    NDK_OP_FLAG_ALLOW_REMOTE_WRITE) == STATUS_SUCCESS &&
		      io_get(io->y.e.cq, &r, 10000) && r.Status == STATUS_SUCCESS &&
		      r.Type == NdkOperationTypeBind && r.RequestContext == (PVOID)4,
	      "NDK-64 a bind");
	UINT32 token = mw->Dispatch->NdkGetRemoteTokenFromMw(mw);
	io->mx.data[0] = 0x21;
	CHECK(token && token != io_token(&io->my) &&
		      io_write(&io->x, &io->mx, 0, 1, (UINT64)io->my.data + 115, token, 0, NULL) ==
			      STATUS_SUCCESS &&
		      io_status(io->x.e.cq) == STATUS_SUCCESS && io->my.data[115] == 0x21,
	      "NDK-53 NDK-131 the last byte of the window, by its token");
	CHECK(qp->Dispatch->NdkInvalidate(qp, NULL, &mw->Header, 0) == STATUS_SUCCESS &&
		      io_status(io->y.e.cq) == STATUS_SUCCESS,
	      "NDK-131 an invalidation of the window");
	CHECK(io_write(&io->x, &io->mx, 0, 1, (UINT64)io->my.data + 115, token, 0, NULL) ==
			      STATUS_SUCCESS &&
		      io_status(io->x.e.cq) == STATUS_ACCESS_VIOLATION,
	      "NDK-131 then its token opens nothing");
	CLOSE(mw->Dispatch->NdkCloseMw, mw);
}

/* A chain that ends in an inline failure: the request before it completes, the failed one never. */
static void failing_chain(struct io *io, struct fast *f)
{
	NDK_RESULT_EX r;
	NTSTATUS first = fast_register(&io->y, f, REMOTE | NDK_OP_FLAG_DEFER, (PVOID)1);
	NTSTATUS second = fast_register(&io->y, f, REMOTE | NDK_OP_FLAG_DEFER, (PVOID)2);
	CHECK(first == STATUS_SUCCESS && second == STATUS_INVALID_DEVICE_STATE &&
		      io_get(io->y.e.cq, &r, 10000) && r.Status == STATUS_SUCCESS &&
		      r.RequestContext == (PVOID)1 && io_none(io->y.e.cq),
	      "NDK-107 a chain that ends in a failure: one completion, of the first");
	CHECK(invalidate(&io->y, f, 0) == STATUS_SUCCESS && io_status(io->y.e.cq) == STATUS_SUCCESS,
	      "NDK-107 and the chain is over");
}

/* A flush takes a posted registration back (NDK-130). */
static void flushed_change(struct io *io, struct fast *f)
{
	BOOLEAN good = io_send(&io->y, &io->my, 0, 8, 0, NULL) == STATUS_SUCCESS &&
		       fast_register(&io->y, f, REMOTE, NULL) == STATUS_SUCCESS;
	io->y.e.qp->Dispatch->NdkFlush(io->y.e.qp);
	CHECK(good && io_status(io->y.e.cq) == STATUS_CANCELLED &&
		      io_status(io->y.e.cq) == STATUS_CANCELLED,
	      "NDK-106 a registration that was flushed");
	if (fast_register(&io->y, f, REMOTE, NULL) == STATUS_CONNECTION_INVALID)
		return; /* a device whose flush ends the connection */
	CHECK(io_status(io->y.e.cq) == STATUS_SUCCESS &&
		      invalidate(&io->y, f, 0) == STATUS_SUCCESS &&
		      io_status(io->y.e.cq) == STATUS_SUCCESS,
	      "NDK-130 leaves the region as it was");
}

/* A send that invalidates what is no token: the connection is broken (NDK-108). */
static void bad_token(struct io *io, struct fast *f)
{
	NDK_SGE sge = memory_sge(&io->mx, 0, 8);
	io_receive(&io->y, &io->my, 0, 8, NULL);
	NTSTATUS status = io->x.e.qp->Dispatch->NdkSendAndInvalidate(io->x.e.qp, NULL, &sge, 1, 0,
								     f->token ^ 0x1111);
	/* Of a device only its time-out tells the sender, long after. */
	CHECK(status == STATUS_SUCCESS &&
		      (!io_is_loopback(io) || !NT_SUCCESS(io_status(io->x.e.cq))) &&
		      !NT_SUCCESS(io_status(io->y.receive_cq)) && SOON(io->x.gone && io->y.gone),
	      "NDK-108 a token that does not exist: the connection is broken");
}

static BOOLEAN pair(struct io *io, struct fast *theirs, struct fast *own)
{
	return io_pair(io, &plain, SIZE) && fast_make(theirs, io->b.adapter, io->y.e.pd, &io->my) &&
	       fast_make(own, io->a.adapter, io->x.e.pd, &io->mx);
}

static void unpair(struct io *io, struct fast *theirs, struct fast *own)
{
	CLOSE(theirs->mr->Dispatch->NdkCloseMr, theirs->mr);
	CLOSE(own->mr->Dispatch->NdkCloseMr, own->mr);
	io->b.adapter->Dispatch->NdkReleaseLAM(io->b.adapter, theirs->lam);
	io->a.adapter->Dispatch->NdkReleaseLAM(io->a.adapter, own->lam);
	io_unpair(io);
}

static void test(struct io *io)
{
	static struct fast theirs, own;
	CHECK(pair(io, &theirs, &own), "NDK-51 two ends with fast-register regions");
	cycles(io, &theirs);
	queue_order(io, &theirs);
	remote_invalidation(io, &theirs);
	local_invalidation(io, &own);
	failing_chain(io, &theirs);
	flushed_change(io, &theirs);
	unpair(io, &theirs, &own);
	CHECK(pair(io, &theirs, &own), "NDK-136 two ends for windows");
	windows(io);
	unpair(io, &theirs, &own);
	CHECK(pair(io, &theirs, &own), "NDK-108 two ends for a bad token");
	bad_token(io, &theirs);
	unpair(io, &theirs, &own);
}

IO_DRIVER(test)
