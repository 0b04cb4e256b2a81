/* SPDX-License-Identifier: MIT */
/*
 * memory.c: who still gets at memory when requests that change its regions wait, fail or go astray;
 * for tests/verbs/run.sh. CASE: which one. y owns the memory, x reaches for it.
 */
#include "../drivers/ndk_io.h"

#define SIZE 4096
#define REMOTE                                                                                     \
	(NDK_OP_FLAG_ALLOW_LOCAL_WRITE | NDK_OP_FLAG_ALLOW_REMOTE_READ |                           \
	 NDK_OP_FLAG_ALLOW_REMOTE_WRITE)

static NTSTATUS poke(struct io *io, struct io_end *from, UINT64 address, UINT32 token, UCHAR value)
{
	io->mx.data[0] = value;
	NTSTATUS status = io_write(from, &io->mx, 0, 1, address, token, 0, NULL);
	return status == STATUS_SUCCESS ? io_status(from->e.cq) : status;
}

static NTSTATUS invalidate(struct io_end *end, NDK_OBJECT_HEADER *what)
{
	return end->e.qp->Dispatch->NdkInvalidate(end->e.qp, NULL, what, 0);
}

static NTSTATUS bind(struct io *io, NDK_MW *mw)
{
	return io->y.e.qp->Dispatch->NdkBind(io->y.e.qp, NULL, io->my.mr, mw, io->my.data, SIZE,
					     REMOTE & ~NDK_OP_FLAG_ALLOW_LOCAL_WRITE);
}

/* ---- Fast registration of y's memory ---- */

static UCHAR lam_bytes[sizeof(NDK_LOGICAL_ADDRESS_MAPPING) + 4 * sizeof(NDK_LOGICAL_ADDRESS)];
static NDK_LOGICAL_ADDRESS_MAPPING *const lam = (NDK_LOGICAL_ADDRESS_MAPPING *)lam_bytes;
static ULONG fbo;
static NDK_MR *fast;

static BOOLEAN fast_make(struct io *io)
{
	ULONG size = sizeof(lam_bytes);
	struct call call;
	fast = MAKE(NDK_MR, io->y.e.pd->Dispatch->NdkCreateMr, io->y.e.pd, TRUE);
	call_begin(&call);
	return fast &&
	       WAIT(fast->Dispatch->NdkInitializeFastRegisterMr, fast, 2, TRUE) == STATUS_SUCCESS &&
	       call_end(&call, io->b.adapter->Dispatch->NdkBuildLAM(io->b.adapter, io->my.mdl, SIZE,
								    call_requested, &call, lam,
								    &size, &fbo)) == STATUS_SUCCESS;
}

static NTSTATUS fast_register(struct io *io, struct io_end *end)
{
	return end->e.qp->Dispatch->NdkFastRegister(end->e.qp, NULL, fast, lam->AdapterPageCount,
						    lam->AdapterPageArray, fbo, SIZE, io->my.data,
						    REMOTE);
}

static void fast_close(struct io *io)
{
	CLOSE(fast->Dispatch->NdkCloseMr, fast);
	io->b.adapter->Dispatch->NdkReleaseLAM(io->b.adapter, lam);
}

static UINT32 fast_token(void)
{
	return fast->Dispatch->NdkGetRemoteTokenFromMr(fast);
}

/* ---- More ends on the same protection domains ---- */

static struct io_end x2, y2;
static struct door door2;

static BOOLEAN end_on(struct io_end *end, NDK_ADAPTER *adapter, NDK_PD *pd)
{
	KeInitializeEvent(&end->e.gone, NotificationEvent, FALSE);
	end->receive_cq = end->e.cq = io_cq(&end->initiator, adapter, 64);
	end->e.qp = end->e.cq ? MAKE(NDK_QP, pd->Dispatch->NdkCreateQp, pd, end->e.cq, end->e.cq,
				     end, 8, 8, 1, 1, 0)
			      : NULL;
	return end->e.qp != NULL;
}

static BOOLEAN second_pair(struct io *io)
{
	return end_on(&x2, io->a.adapter, io->x.e.pd) && end_on(&y2, io->b.adapter, io->y.e.pd) &&
	       io_join(io, &x2, &y2, &door2);
}

static void second_close(void)
{
	io_end_close(&x2);
	io_end_close(&y2);
	CLOSE(door2.listener->Dispatch->NdkCloseListener, door2.listener);
}

/* ---- The cases ---- */

/* A window's invalidation waits behind a send: until it is through, the peer gets at the memory,
 * and so its region cannot be deregistered (NDK-129). */
static void waiting(struct io *io)
{
	NDK_MW *mw = MAKE(NDK_MW, io->y.e.pd->Dispatch->NdkCreateMw, io->y.e.pd);
	CHECK(bind(io, mw) == STATUS_SUCCESS && io_status(io->y.e.cq) == STATUS_SUCCESS,
	      "NDK-64 a window");
	UINT32 token = mw->Dispatch->NdkGetRemoteTokenFromMw(mw);
	CHECK(poke(io, &io->x, (UINT64)io->my.data, token, 1) == STATUS_SUCCESS &&
		      io->my.data[0] == 1,
	      "NDK-67 the peer writes through it");
	io_send(&io->y, &io->my, 0, 0, 0, NULL); /* no receive */
	CHECK(invalidate(&io->y, &mw->Header) == STATUS_SUCCESS && io_none(io->y.e.cq),
	      "NDK-66 its invalidation waits");
	NTSTATUS status = WAIT(io->my.mr->Dispatch->NdkDeregisterMr, io->my.mr);
	io->my.data[0] = 0;
	poke(io, &io->x, (UINT64)io->my.data, token, 2);
	CHECK(status == STATUS_DEVICE_BUSY || !io->my.data[0],
	      "NDK-50 no byte changes after a deregistration has completed");
	CHECK(status == STATUS_DEVICE_BUSY, "NDK-129 the window still counts as bound");
	io_receive(&io->x, &io->mx, 0, 8, NULL);
	CHECK(io_status(io->y.e.cq) == STATUS_SUCCESS && io_status(io->y.e.cq) == STATUS_SUCCESS,
	      "NDK-66 then both are complete");
	CLOSE(mw->Dispatch->NdkCloseMw, mw);
}

/* Requests that were cancelled have changed nothing (NDK-130). */
static void cancelled(struct io *io)
{
	NDK_RESULT_EX r;
	ULONG count = 0;
	NDK_MW *mw = MAKE(NDK_MW, io->y.e.pd->Dispatch->NdkCreateMw, io->y.e.pd);
	CHECK(mw && fast_make(io), "NDK-51 a window and a fast-register region");
	io_send(&io->y, &io->my, 0, 0, 0, NULL); /* no receive */
	CHECK(bind(io, mw) == STATUS_SUCCESS && fast_register(io, &io->y) == STATUS_SUCCESS &&
		      io_none(io->y.e.cq),
	      "NDK-64 NDK-65 a bind and a fast registration wait");
	io->y.e.qp->Dispatch->NdkFlush(io->y.e.qp);
	while (count < 3 && io_get(io->y.e.cq, &r, 10000) && r.Status == STATUS_CANCELLED)
		count++;
	CHECK(count == 3, "NDK-106 all are cancelled");
	CHECK(WAIT(io->my.mr->Dispatch->NdkDeregisterMr, io->my.mr) == STATUS_SUCCESS &&
		      WAIT(io->my.mr->Dispatch->NdkRegisterMr, io->my.mr, io->my.mdl, SIZE,
			   IO_ALL) == STATUS_SUCCESS,
	      "NDK-130 no window is bound: the region can be deregistered");
	CHECK(second_pair(io) && fast_register(io, &y2) == STATUS_SUCCESS &&
		      io_status(y2.e.cq) == STATUS_SUCCESS,
	      "NDK-130 the other can be fast-registered, through another queue pair");
	CHECK(poke(io, &x2, (UINT64)io->my.data, fast_token(), 3) == STATUS_SUCCESS &&
		      io->my.data[0] == 3,
	      "NDK-67 and used");
	fast_close(io);
	CLOSE(mw->Dispatch->NdkCloseMw, mw);
	second_close();
}

/* An invalidation that was cancelled has taken the access away nevertheless. */
static void uninvalidated(struct io *io)
{
	CHECK(fast_make(io) && fast_register(io, &io->y) == STATUS_SUCCESS &&
		      io_status(io->y.e.cq) == STATUS_SUCCESS,
	      "NDK-65 a fast registration");
	io_send(&io->y, &io->my, 0, 0, 0, NULL); /* no receive */
	CHECK(invalidate(&io->y, &fast->Header) == STATUS_SUCCESS && io_none(io->y.e.cq),
	      "NDK-66 its invalidation waits");
	io->y.e.qp->Dispatch->NdkFlush(io->y.e.qp);
	CHECK(io_status(io->y.e.cq) == STATUS_CANCELLED &&
		      io_status(io->y.e.cq) == STATUS_CANCELLED,
	      "NDK-106 and is cancelled");
	CHECK(second_pair(io) && fast_register(io, &y2) == STATUS_SUCCESS &&
		      io_status(y2.e.cq) == STATUS_SUCCESS,
	      "NDK-65 the region can be registered through another queue pair");
	CHECK(poke(io, &x2, (UINT64)io->my.data, fast_token(), 4) == STATUS_SUCCESS &&
		      io->my.data[0] == 4,
	      "NDK-67 and used");
	fast_close(io);
	second_close();
}

/* Through another queue pair than the one that it was registered with: that fails (docs/verbs.md),
 * but nobody gets at the memory any more. */
static void astray(struct io *io)
{
	CHECK(fast_make(io) && fast_register(io, &io->y) == STATUS_SUCCESS &&
		      io_status(io->y.e.cq) == STATUS_SUCCESS && second_pair(io),
	      "NDK-65 a fast registration, and another queue pair");
	UINT32 token = fast_token();
	CHECK(poke(io, &io->x, (UINT64)io->my.data, token, 5) == STATUS_SUCCESS, "NDK-67 a write");
	CHECK(invalidate(&y2, &fast->Header) == STATUS_SUCCESS &&
		      io_status(y2.e.cq) == STATUS_ACCESS_VIOLATION,
	      "NDK-66 an invalidation that the device cannot do");
	CHECK(poke(io, &io->x, (UINT64)io->my.data, token, 6) == STATUS_ACCESS_VIOLATION &&
		      io->my.data[0] == 5,
	      "NDK-66 no byte changes after it");
	fast_close(io);
	second_close();
}

/* Pages that do not lie together: refused at once, and the connection goes on. */
static void scattered(struct io *io)
{
	CHECK(fast_make(io), "NDK-51 a fast-register region");
	NDK_LOGICAL_ADDRESS second = lam->AdapterPageArray[0];
	lam->AdapterPageArray[1].QuadPart = second.QuadPart; /* one page, twice */
	NTSTATUS status = io->y.e.qp->Dispatch->NdkFastRegister(io->y.e.qp, NULL, fast, 2,
								lam->AdapterPageArray, fbo,
								SIZE + 1, io->my.data, REMOTE);
	CHECK(status == STATUS_INSUFFICIENT_RESOURCES && io_none(io->y.e.cq),
	      "NDK-101 what fails inline does not complete");
	CHECK(fast_register(io, &io->y) == STATUS_SUCCESS &&
		      io_status(io->y.e.cq) == STATUS_SUCCESS &&
		      poke(io, &io->x, (UINT64)io->my.data, fast_token(), 7) == STATUS_SUCCESS,
	      "NDK-65 nothing has changed");
	fast_close(io);
}

static void test(struct io *io)
{
	static void (*const cases[])(struct io *) = {waiting, cancelled, uninvalidated, astray,
						     scattered};
	BOOLEAN pair = io_pair(io, &plain, SIZE);
	CHECK(pair, "NDK-136 two ends are connected");
	if (pair)
		cases[CASE](io);
	io_unpair(io);
}

IO_DRIVER(test)
