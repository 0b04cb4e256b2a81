/* SPDX-License-Identifier: MIT */
/*
 * ndk_hostile.c: consumers that pass what they should not, and ends that come at a bad moment:
 * NDK-14, 41, 46, 47, 49, 51, 56, 57, 61, 63, 71, 72, 100, 105, 125, 128, 130, 135, 140, 141, 142,
 * 144, 148.
 *
 * -DCASE=0: what is refused or harmless without a finding. 1: NdkInitializeFastRegisterMr while the
 * invalidation waits in its queue (NdkMrState). 2: no page array (NdkFastRegister). 3: Disconnect
 * while the peer's bytes arrive, or while the connection breaks. 4: objects after their close
 * (NdkObject), NDK-80, NDK-86.
 */
#include "ndk_io.h"

#ifndef CASE
#define CASE 0
#endif

#define PAGES 2

/* ---- Arguments ---- */

static void __attribute__((unused)) chains(struct io *io)
{
	NDK_MR *mr = MAKE(NDK_MR, io->x.e.pd->Dispatch->NdkCreateMr, io->x.e.pd, FALSE);
	PUCHAR bytes = ExAllocatePoolWithTag(NonPagedPoolNx, 2 * PAGE_SIZE, 'tseT');
	PMDL first = IoAllocateMdl(bytes, PAGE_SIZE, FALSE, FALSE, NULL);
	PMDL last = IoAllocateMdl(bytes + PAGE_SIZE, PAGE_SIZE, FALSE, FALSE, NULL);
	PMDL empty = IoAllocateMdl(bytes + PAGE_SIZE, PAGE_SIZE, FALSE, FALSE, NULL);
	union {
		NDK_LOGICAL_ADDRESS_MAPPING lam;
		UCHAR room[64];
	} lam;
	ULONG size = sizeof lam, fbo;
	MmBuildMdlForNonPagedPool(first);
	MmBuildMdlForNonPagedPool(last);
	MmBuildMdlForNonPagedPool(empty);
	empty->ByteCount = 0;
	first->Next = empty;
	empty->Next = last;
	CHECK(NT_SUCCESS(WAIT(mr->Dispatch->NdkRegisterMr, mr, first, 2 * PAGE_SIZE, 0)) &&
		      NT_SUCCESS(WAIT(mr->Dispatch->NdkDeregisterMr, mr)),
	      "NDK-121 an MDL without bytes in the middle of a chain");
	empty->Next = empty;
	CHECK(WAIT(mr->Dispatch->NdkRegisterMr, mr, first, 2 * PAGE_SIZE, 0) ==
		      STATUS_INVALID_PARAMETER,
	      "NDK-49 a chain whose end is itself, without bytes");
	CHECK(io->a.adapter->Dispatch->NdkBuildLAM(io->a.adapter, first, 2 * PAGE_SIZE,
						   call_requested, NULL, &lam.lam, &size,
						   &fbo) == STATUS_INVALID_PARAMETER,
	      "NDK-41 the same chain");
	first->Next = first;
	CHECK(WAIT(mr->Dispatch->NdkRegisterMr, mr, first, 2 * PAGE_SIZE, 0) ==
		      STATUS_INVALID_PARAMETER,
	      "NDK-49 a chain whose end is its beginning");
	first->Next = NULL;
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
	IoFreeMdl(first);
	IoFreeMdl(empty);
	IoFreeMdl(last);
	ExFreePoolWithTag(bytes, 'tseT');
}

static void __attribute__((unused)) elements(struct io *io)
{
	const NDK_QP_DISPATCH *qp = io->x.e.qp->Dispatch;
	NDK_QP *self = io->x.e.qp;
	NDK_SGE sges[4];
	NDK_RESULT_EX result;
	for (int i = 0; i < 4; i++) {
		sges[i] = memory_sge(&io->mx, 0, 0);
		sges[i].Length = MAXULONG;
	}
	CHECK(qp->NdkSend(self, NULL, NULL, 1, 0) == STATUS_INVALID_PARAMETER &&
		      qp->NdkSend(self, NULL, NULL, MAXULONG, NDK_OP_FLAG_INLINE) ==
			      STATUS_INVALID_PARAMETER &&
		      qp->NdkReceive(self, NULL, NULL, 1) == STATUS_INVALID_PARAMETER &&
		      qp->NdkWrite(self, NULL, NULL, 2, 0, 0, 0) == STATUS_INVALID_PARAMETER,
	      "NDK-105 elements that are not there");
	CHECK(qp->NdkSend(self, NULL, sges, MAXULONG, 0) == STATUS_INVALID_PARAMETER &&
		      qp->NdkReceive(self, NULL, sges, MAXULONG) == STATUS_INVALID_PARAMETER &&
		      qp->NdkRead(self, NULL, sges, 5, 0, 0, 0) == STATUS_INVALID_PARAMETER &&
		      qp->NdkSend(self, NULL, sges, MAXULONG, NDK_OP_FLAG_INLINE) ==
			      STATUS_INVALID_PARAMETER,
	      "NDK-105 too many elements; the rest of the array is not looked at");
	CHECK(qp->NdkSend(self, NULL, sges, 4, 0) == STATUS_INVALID_PARAMETER &&
		      qp->NdkReceive(self, NULL, sges, 4) == STATUS_INVALID_PARAMETER &&
		      qp->NdkSend(self, NULL, sges, 2, NDK_OP_FLAG_INLINE) ==
			      STATUS_INVALID_PARAMETER,
	      "NDK-105 lengths whose sum does not fit in 32 bits");
	CHECK(!io->x.e.cq->Dispatch->NdkGetCqResultsEx(io->x.e.cq, NULL, 0) &&
		      !io->x.e.cq->Dispatch->NdkGetCqResults(io->x.e.cq, NULL, 0),
	      "NDK-56 no room");
	CHECK(!io_get(io->x.e.cq, &result, 5), "NDK-101 nothing completes that was refused");
}

static void __attribute__((unused)) objects(struct io *io)
{
	struct call call;
	NDK_CQ *cq = NULL, *other = MAKE(NDK_CQ, io->b.adapter->Dispatch->NdkCreateCq,
					 io->b.adapter, 8, NULL, NULL, NULL);
	NDK_QP *qp = NULL;
	NDK_PD *pd = io->x.e.pd;
	call_begin(&call);
	CHECK(io->a.adapter->Dispatch->NdkCreateCq(io->a.adapter, 0, NULL, NULL, NULL, call_created,
						   &call, &cq) == STATUS_INVALID_PARAMETER,
	      "NDK-37 a queue without places");
	CHECK(pd->Dispatch->NdkCreateQpWithSrq(pd, io->x.e.cq, io->x.e.cq, NULL, NULL, 4, 1, 0,
					       call_created, &call,
					       &qp) == STATUS_INVALID_PARAMETER,
	      "NDK-47 no shared receive queue");
	CHECK(pd->Dispatch->NdkCreateQp(pd, NULL, io->x.e.cq, NULL, 4, 4, 1, 1, 0, call_created,
					&call, &qp) == STATUS_INVALID_PARAMETER &&
		      pd->Dispatch->NdkCreateQp(pd, other, io->x.e.cq, NULL, 4, 4, 1, 1, 0,
						call_created, &call,
						&qp) == STATUS_INVALID_PARAMETER &&
		      pd->Dispatch->NdkCreateQp(pd, (NDK_CQ *)pd, io->x.e.cq, NULL, 4, 4, 1, 1, 0,
						call_created, &call,
						&qp) == STATUS_INVALID_PARAMETER,
	      "NDK-46 no completion queue, another adapter's, a protection domain");
	CHECK(!cq && !qp, "NDK-78 nothing was stored");
	CLOSE(other->Dispatch->NdkCloseCq, other);
}

static void __attribute__((unused)) addresses(struct io *io)
{
	struct io_end end;
	NDK_SHARED_ENDPOINT *endpoint;
	SOCKADDR_INET local = io->a.local, remote = io_with_port(io->b.local, 7), other = local;
	ULONG size = sizeof(SOCKADDR_IN);
	NTSTATUS status = STATUS_SUCCESS;
	struct call call;
	other.si_family = AF_INET6;
	if (!io_end_make(&end, io->a.adapter, &plain))
		return;
	NDK_CONNECTOR *c =
		MAKE(NDK_CONNECTOR, io->a.adapter->Dispatch->NdkCreateConnector, io->a.adapter);
	const NDK_CONNECTOR_DISPATCH *d = c->Dispatch;
#define CONNECT(source, source_size, target, target_size, data, length)                            \
	WAIT(d->NdkConnect, c, end.e.qp, (const SOCKADDR *)(source), source_size,                  \
	     (const SOCKADDR *)(target), target_size, 1, 1, data, length)
	CHECK(CONNECT(&local, size - 1, &remote, size, NULL, 0) == STATUS_INVALID_ADDRESS &&
		      CONNECT(&local, size, &remote, 1, NULL, 0) == STATUS_INVALID_ADDRESS &&
		      CONNECT(NULL, 0, &remote, size, NULL, 0) == STATUS_INVALID_ADDRESS &&
		      CONNECT(&local, size, NULL, size, NULL, 0) == STATUS_INVALID_ADDRESS,
	      "NDK-135 addresses that are too short, or not there");
	CHECK(CONNECT(&other, sizeof other, &remote, size, NULL, 0) == STATUS_INVALID_ADDRESS,
	      "NDK-135 families that differ");
	CHECK(CONNECT(&local, size, &remote, size, NULL, 4) == STATUS_INVALID_PARAMETER &&
		      CONNECT(&local, size, &remote, size, &other, MAXULONG) ==
			      STATUS_INVALID_PARAMETER,
	      "NDK-148 private data that are not there, or too long");
	for (int i = 0; i < 3 && (!i || status == STATUS_CONNECTION_REFUSED); i++)
		status = CONNECT(&local, size, &remote, size, NULL, 0);
	CHECK(status == STATUS_CONNECTION_REFUSED,
	      "NDK-71 the same connector is refused as often as it tries");
	SOCKADDR_INET source = io_with_port(local, 6001);
	for (int i = 0; i < 3 && status == STATUS_CONNECTION_REFUSED; i++)
		status = CONNECT(&source, size, &remote, size, NULL, 0);
	CHECK(status == STATUS_CONNECTION_REFUSED, "NDK-144 a connect that failed keeps no port");
	endpoint = MAKE(NDK_SHARED_ENDPOINT, io->a.adapter->Dispatch->NdkCreateSharedEndpoint,
			io->a.adapter, (const SOCKADDR *)&local, size);
	for (int i = 0; i < 20 && status == STATUS_CONNECTION_REFUSED; i++)
		status = WAIT(d->NdkConnectWithSharedEndpoint, c, end.e.qp, endpoint,
			      (const SOCKADDR *)&remote, size, 1, 1, NULL, 0);
	CHECK(status == STATUS_CONNECTION_REFUSED, "NDK-72 refused as often as it is tried");
	call_begin(&call);
	LARGE_INTEGER limit = check_ms(10000);
	status = endpoint->Dispatch->NdkCloseSharedEndpoint(&endpoint->Header, call_closed, &call);
	if (status == STATUS_PENDING)
		status = KeWaitForSingleObject(&call.done, Executive, KernelMode, FALSE, &limit);
	CHECK(status == STATUS_SUCCESS, "NDK-144 a connect that failed keeps no endpoint");
	CLOSE(d->NdkCloseConnector, c);
	io_end_close(&end);
}

/* NDK-57: a resize below the count, when the count is the only rule. */
static void __attribute__((unused)) moderation(struct io *io)
{
	static struct io_watch watch;
	NDK_CQ *cq = io_cq(&watch, io->a.adapter, 16);
	NDK_QP *qp = MAKE(NDK_QP, io->x.e.pd->Dispatch->NdkCreateQp, io->x.e.pd, cq, cq, NULL, 8, 8,
			  1, 1, 0);
	CHECK(cq->Dispatch->NdkControlCqInterruptModeration(cq, MAXULONG, 10) == STATUS_SUCCESS &&
		      WAIT(cq->Dispatch->NdkResizeCq, cq, 8) == STATUS_SUCCESS,
	      "NDK-57 the count alone; fewer places");
	cq->Dispatch->NdkArmCq(cq, NDK_CQ_NOTIFY_ANY);
	for (int i = 0; i < 8; i++)
		qp->Dispatch->NdkReceive(qp, NULL, NULL, 0);
	qp->Dispatch->NdkFlush(qp);
	CHECK(SOON(watch.count), "NDK-97 a full queue is told");
	NDK_RESULT_EX result;
	for (int i = 0; i < 8 && io_get(cq, &result, 10000); i++)
		; /* a device flushes one by one */
	cq->Dispatch->NdkControlCqInterruptModeration(cq, MAXULONG, 3);
	for (int i = 0; i < 4; i++)
		qp->Dispatch->NdkReceive(qp, NULL, NULL, 0);
	qp->Dispatch->NdkFlush(qp);
	LONG before = watch.count;
	cq->Dispatch->NdkArmCq(cq, NDK_CQ_NOTIFY_ANY);
	CHECK(SOON(watch.count > before), "NDK-93 as many as the count were there at the arm");
	CLOSE(qp->Dispatch->NdkCloseQp, qp);
	CLOSE(cq->Dispatch->NdkCloseCq, cq);
}

/* The disconnect event belongs to the call that made the connection: later ones, which are refused,
 * do not replace it, at the active side (0) or the passive one (1). */
static VOID NTAPI other_event(PVOID context)
{
	(*(volatile LONG *)context)++;
}

static void __attribute__((unused)) events(struct io *io)
{
	static volatile LONG others;
	static struct io_end spare;
	CHECK(io_end_make(&spare, io->b.adapter, &plain), "NDK-46 one more queue pair");
	for (int side = 0; side < 2; side++) {
		static struct io pair;
		pair = (struct io){.a = io->a, .b = io->b};
		if (!io_pair(&pair, &plain, 4096)) {
			CHECK(FALSE, "NDK-71 two ends");
			return;
		}
		struct io_end *told = side ? &pair.y : &pair.x, *goes = side ? &pair.x : &pair.y;
		NDK_CONNECTOR *c = told->e.connector, *other = goes->e.connector;
		CHECK(WAIT(c->Dispatch->NdkCompleteConnect, c, other_event, (PVOID)&others) ==
				      STATUS_CONNECTION_INVALID &&
			      WAIT(c->Dispatch->NdkAccept, c, spare.e.qp, 1, 1, NULL, 0,
				   other_event, (PVOID)&others) == STATUS_INVALID_DEVICE_STATE &&
			      WAIT(c->Dispatch->NdkAccept, c, spare.e.qp, 1, 1, NULL, 0, NULL,
				   NULL) == STATUS_INVALID_DEVICE_STATE,
		      "NDK-140 a connection is not made twice");
		CHECK(WAIT(other->Dispatch->NdkDisconnect, other) == STATUS_SUCCESS &&
			      SOON(told->gone == 1) && !others,
		      "NDK-142 its own disconnect event is called");
		io_unpair(&pair);
	}
	io_end_close(&spare);
}

/* ---- Fast registers ---- */

struct pages {
	PMDL mdl;
	UCHAR *bytes;
	NDK_LOGICAL_ADDRESS list[PAGES];
};

static NDK_MR *fast_region(struct io *io, struct pages *p)
{
	NDK_MR *mr = MAKE(NDK_MR, io->x.e.pd->Dispatch->NdkCreateMr, io->x.e.pd, TRUE);
	p->bytes = ExAllocatePoolWithTag(NonPagedPoolNx, PAGES * PAGE_SIZE, 'tseT');
	RtlZeroMemory(p->bytes, PAGES * PAGE_SIZE);
	for (int i = 0; i < PAGES; i++)
		p->list[i] = MmGetPhysicalAddress(p->bytes + i * PAGE_SIZE);
	CHECK(WAIT(mr->Dispatch->NdkInitializeFastRegisterMr, mr, PAGES, TRUE) == STATUS_SUCCESS,
	      "NDK-51 initialised");
	return mr;
}

static NTSTATUS fast_register(struct io *io, NDK_MR *mr, const struct pages *p,
			      const NDK_LOGICAL_ADDRESS *list)
{
	return io->x.e.qp->Dispatch->NdkFastRegister(
		io->x.e.qp, NULL, mr, PAGES, list, 0, PAGES * PAGE_SIZE, p->bytes,
		NDK_OP_FLAG_ALLOW_REMOTE_READ | NDK_OP_FLAG_ALLOW_REMOTE_WRITE);
}

/* The invalidation waits behind a send that has no receive; until it has completed the region may
 * not become something else, and afterwards nobody reaches it. */
static void __attribute__((unused)) reinitialized(struct io *io)
{
	struct pages p;
	NDK_MR *mr = fast_region(io, &p);
	CHECK(fast_register(io, mr, &p, p.list) == STATUS_SUCCESS &&
		      io_status(io->x.e.cq) == STATUS_SUCCESS,
	      "NDK-65 registered");
	UINT32 token = mr->Dispatch->NdkGetRemoteTokenFromMr(mr);
	RtlFillMemory(io->my.data, 64, 0xee);
	CHECK(io_send(&io->x, &io->mx, 0, 16, 0, NULL) == STATUS_SUCCESS &&
		      io->x.e.qp->Dispatch->NdkInvalidate(io->x.e.qp, NULL, &mr->Header, 0) ==
			      STATUS_SUCCESS &&
		      io_none(io->x.e.cq),
	      "NDK-130 the invalidation waits");
	CHECK(WAIT(mr->Dispatch->NdkInitializeFastRegisterMr, mr, PAGES, TRUE) ==
		      STATUS_INVALID_DEVICE_STATE,
	      "NDK-128 not initialised again before it is invalidated");
	CHECK(io_receive(&io->y, &io->my, 128, 16, NULL) == STATUS_SUCCESS &&
		      io_status(io->x.e.cq) == STATUS_SUCCESS &&
		      io_status(io->x.e.cq) == STATUS_SUCCESS,
	      "NDK-66 invalidated");
	CHECK(io_write(&io->y, &io->my, 0, 64, (ULONG_PTR)p.bytes, token, 0, NULL) ==
			      STATUS_SUCCESS &&
		      io_status(io->y.e.cq) == STATUS_ACCESS_VIOLATION && !p.bytes[0] &&
		      !p.bytes[63],
	      "NDK-128 not one byte moves afterwards");
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
	ExFreePoolWithTag(p.bytes, 'tseT');
}

static void __attribute__((unused)) no_pages(struct io *io)
{
	struct pages p;
	NDK_MR *mr = fast_region(io, &p);
	CHECK(fast_register(io, mr, &p, NULL) == STATUS_INVALID_PARAMETER, "NDK-65 no page array");
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
	ExFreePoolWithTag(p.bytes, 'tseT');
}

/* ---- The end of a connection ---- */

#define ROUNDS   60
#define RECEIVES 24
#define BULK     1048576

struct peer {
	struct io *io;
	KEVENT go;
	BOOLEAN faulty;
};

static VOID NTAPI send_something(PVOID context)
{
	struct peer *peer = context;
	struct io *io = peer->io;
	KeWaitForSingleObject(&peer->go, Executive, KernelMode, FALSE, NULL);
	if (peer->faulty)
		io_write(&io->x, &io->mx, 0, 64, 0x1000, 0xdead, 0, NULL);
	else
		io_send(&io->x, &io->mx, 0, BULK, 0, NULL);
}

/* y disconnects while x's bytes arrive, or while a fault of x breaks the connection: the Disconnect
 * completes, after all receives have (NDK-141). */
static BOOLEAN end_round(struct io *io, ULONG round)
{
	struct peer peer = {.io = io, .faulty = round & 1};
	NDK_RESULT_EX results[RECEIVES + 1];
	struct call call;
	LARGE_INTEGER limit = check_ms(10000);
	KeInitializeEvent(&peer.go, NotificationEvent, FALSE);
	for (ULONG i = 0; i < RECEIVES; i++) {
		if (io_receive(&io->y, &io->my, 0, i ? 16 : BULK, NULL) != STATUS_SUCCESS)
			return FALSE;
	}
	PVOID thread = check_thread(send_something, &peer);
	call_begin(&call);
	KeSetEvent(&peer.go, 0, FALSE);
	/* In the middle of the bytes; of a fault any time. */
	ULONG most = peer.faulty ? round % 7 * 4000 : 1000000;
	for (ULONG spin = 0; spin < most && *(volatile UCHAR *)io->my.data == 0x11; spin++)
		YieldProcessor();
	NDK_CONNECTOR *connector = io->y.e.connector;
	NTSTATUS status = connector->Dispatch->NdkDisconnect(connector, call_requested, &call);
	if (status == STATUS_PENDING) {
		status = KeWaitForSingleObject(&call.done, Executive, KernelMode, FALSE, &limit);
		if (status)
			DbgPrint("FAIL the Disconnect of round %u does not complete\n", round);
	}
	ULONG count = io->y.receive_cq->Dispatch->NdkGetCqResultsEx(io->y.receive_cq, results,
								    RECEIVES + 1);
	if (count != RECEIVES)
		DbgPrint("FAIL round %u: %u receives have completed when the Disconnect has\n",
			 round, count);
	check_join(thread);
	return status == STATUS_SUCCESS && count == RECEIVES;
}

static void __attribute__((unused)) ends(struct io *io)
{
	BOOLEAN right = TRUE;
	for (ULONG round = 0; right && round < ROUNDS; round++) {
		right = io_pair(io, &plain, BULK);
		if (right) {
			RtlFillMemory(io->mx.data, BULK, 0x77);
			RtlFillMemory(io->my.data, BULK, 0x11);
			right = end_round(io, round);
		}
		io_unpair(io);
	}
	CHECK(right, "NDK-141 a Disconnect completes, behind all receives");
}

/* ---- After the close ---- */

static void __attribute__((unused)) closed(struct io *io)
{
	struct io_end end;
	NDK_RESULT_EX result;
	NDK_LISTENER *listener = MAKE(NDK_LISTENER, io->a.adapter->Dispatch->NdkCreateListener,
				      io->a.adapter, door_rung, NULL);
	NDK_MR *mr = MAKE(NDK_MR, io->x.e.pd->Dispatch->NdkCreateMr, io->x.e.pd, FALSE);
	NDK_MW *mw = MAKE(NDK_MW, io->x.e.pd->Dispatch->NdkCreateMw, io->x.e.pd);
	NDK_CONNECTOR *c =
		MAKE(NDK_CONNECTOR, io->a.adapter->Dispatch->NdkCreateConnector, io->a.adapter);
	if (!io_end_make(&end, io->a.adapter, &plain))
		return;
	const NDK_LISTENER_DISPATCH *dl = listener->Dispatch;
	const NDK_MR_DISPATCH *dmr = mr->Dispatch;
	const NDK_MW_DISPATCH *dmw = mw->Dispatch;
	const NDK_QP_DISPATCH *dqp = end.e.qp->Dispatch;
	const NDK_CQ_DISPATCH *dcq = end.e.cq->Dispatch;
	const NDK_PD_DISPATCH *dpd = end.e.pd->Dispatch;
	const NDK_CONNECTOR_DISPATCH *dc = c->Dispatch;
	NDK_LISTENER *was_listener = listener;
	NDK_MR *was_mr = mr;
	NDK_MW *was_mw = mw;
	NDK_CONNECTOR *was_c = c;
	NDK_QP *was_qp = end.e.qp;
	NDK_CQ *was_cq = end.e.cq;
	NDK_PD *was_pd = end.e.pd;
	UINT32 token = 0;
	ULONG size = 0;
	struct call call;
	CLOSE(dl->NdkCloseListener, listener);
	CLOSE(dmr->NdkCloseMr, mr);
	CLOSE(dmw->NdkCloseMw, mw);
	CLOSE(dc->NdkCloseConnector, c);
	io_end_close(&end);
	call_begin(&call);
#define REFUSED(call_) ((call_) == STATUS_INVALID_DEVICE_STATE)
	CHECK(REFUSED(dl->NdkListen(was_listener, NULL, 0, call_requested, &call)) &&
		      REFUSED(dl->NdkGetLocalAddress(was_listener, NULL, &size)) &&
		      REFUSED(dc->NdkConnect(was_c, was_qp, NULL, 0, NULL, 0, 0, 0, NULL, 0,
					     call_requested, &call)) &&
		      REFUSED(dc->NdkReject(was_c, NULL, 0)) &&
		      REFUSED(dc->NdkDisconnect(was_c, call_requested, &call)),
	      "NDK-80 a listener, a connector");
	CHECK(REFUSED(dmr->NdkRegisterMr(was_mr, io->mx.mdl, 16, 0, call_requested, &call)) &&
		      REFUSED(dmr->NdkDeregisterMr(was_mr, call_requested, &call)) &&
		      !dmr->NdkGetRemoteTokenFromMr(was_mr) &&
		      !dmw->NdkGetRemoteTokenFromMw(was_mw),
	      "NDK-80 a region, a window");
	CHECK(REFUSED(dqp->NdkSend(was_qp, NULL, NULL, 0, 0)) &&
		      REFUSED(dqp->NdkReceive(was_qp, NULL, NULL, 0)) &&
		      !dcq->NdkGetCqResultsEx(was_cq, &result, 1) &&
		      REFUSED(dcq->NdkResizeCq(was_cq, 8, call_requested, &call)),
	      "NDK-80 a queue pair, a completion queue");
	dqp->NdkFlush(was_qp);
	dcq->NdkArmCq(was_cq, NDK_CQ_NOTIFY_ANY);
	dpd->NdkGetPrivilegedMemoryRegionToken(was_pd, &token);
	CHECK(!token && dpd->NdkClosePd(&was_pd->Header, call_closed, &call) == STATUS_SUCCESS &&
		      dmr->NdkCloseMr(&was_mr->Header, call_closed, &call) == STATUS_SUCCESS,
	      "NDK-86 closed a second time");
	CHECK(io->x.e.qp->Dispatch->NdkInvalidate(io->x.e.qp, NULL, &was_mr->Header, 0) ==
			      STATUS_INVALID_PARAMETER &&
		      io->x.e.qp->Dispatch->NdkBind(io->x.e.qp, NULL, was_mr, was_mw, NULL, 1, 0) ==
			      STATUS_INVALID_PARAMETER,
	      "NDK-80 as arguments");
	CHECK(!KeReadStateEvent(&call.done), "NDK-76 nothing is called back");
}

static void test(struct io *io)
{
#if CASE == 3
	ends(io);
#else
	if (!io_pair(io, &plain, 65536)) {
		CHECK(FALSE, "NDK-71 two ends");
		return;
	}
#if CASE == 0
	chains(io);
	elements(io);
	objects(io);
	addresses(io);
	events(io);
	moderation(io);
#elif CASE == 1
	reinitialized(io);
#elif CASE == 2
	no_pages(io);
#else
	closed(io);
#endif
	io_unpair(io);
#endif
}

IO_DRIVER(test)
