/* SPDX-License-Identifier: MIT */
/*
 * ndk_srq_starved.c: hundreds of connections wait for the one receive of a shared receive queue,
 * and each of their senders is at fault: every one of them gives the receive back to the next.
 */
#include "ndk_io.h"

#define COUNT 300 /* and one whose sender is not at fault */
#define SIZE  4096

static struct end senders[COUNT + 1], receivers[COUNT + 1];
static struct end from, to; /* what they share */
static struct memory theirs, ours;
static NDK_SRQ *srq;
static struct door door;

static VOID NTAPI connect_all(PVOID context)
{
	struct io *io = context;
	for (ULONG i = 0; i <= COUNT; i++) {
		NTSTATUS status =
			end_connect(&senders[i], io->a.adapter, &io->a.local, &door.address);
		if (!NT_SUCCESS(status))
			DbgPrint("FAIL connection %u: 0x%08x\n", i, status);
	}
}

static BOOLEAN make(struct io *io)
{
	NDK_ADAPTER *a = io->a.adapter, *b = io->b.adapter;
	from.pd = MAKE(NDK_PD, a->Dispatch->NdkCreatePd, a);
	to.pd = MAKE(NDK_PD, b->Dispatch->NdkCreatePd, b);
	from.cq = MAKE(NDK_CQ, a->Dispatch->NdkCreateCq, a, 2 * COUNT, end_notified, NULL, NULL);
	to.cq = MAKE(NDK_CQ, b->Dispatch->NdkCreateCq, b, 2 * COUNT, end_notified, NULL, NULL);
	if (!from.pd || !to.pd || !from.cq || !to.cq || !door_open(&door, &io->b, 0) ||
	    !memory_make(&theirs, from.pd, SIZE, IO_ALL) ||
	    !memory_make(&ours, to.pd, SIZE, IO_ALL))
		return FALSE;
	srq = MAKE(NDK_SRQ, to.pd->Dispatch->NdkCreateSrq, to.pd, 4, 1, 0, NULL, NULL, NULL);
	for (ULONG i = 0; srq && i <= COUNT; i++) {
		struct end *sender = &senders[i], *receiver = &receivers[i];
		KeInitializeEvent(&sender->gone, NotificationEvent, FALSE);
		KeInitializeEvent(&receiver->gone, NotificationEvent, FALSE);
		sender->qp = MAKE(NDK_QP, from.pd->Dispatch->NdkCreateQp, from.pd, from.cq, from.cq,
				  sender, 1, 1, 1, 1, 0);
		receiver->qp = MAKE(NDK_QP, to.pd->Dispatch->NdkCreateQpWithSrq, to.pd, to.cq,
				    to.cq, srq, receiver, 1, 1, 0);
		if (!sender->qp || !receiver->qp)
			return FALSE;
	}
	PVOID thread = check_thread(connect_all, io);
	NTSTATUS status = STATUS_SUCCESS;
	for (ULONG i = 0; i <= COUNT && NT_SUCCESS(status); i++)
		status = door_accept(&door, &receivers[i]);
	check_join(thread);
	return srq && NT_SUCCESS(status);
}

static NTSTATUS send(struct end *end, UINT32 token)
{
	NDK_SGE sge = memory_sge(&theirs, 0, 8);
	sge.MemoryRegionToken = token;
	return end->qp->Dispatch->NdkSend(end->qp, end, &sge, 1, 0);
}

static void closed(void)
{
	for (ULONG i = 0; i <= COUNT; i++) {
		CLOSE(senders[i].connector->Dispatch->NdkCloseConnector, senders[i].connector);
		CLOSE(receivers[i].connector->Dispatch->NdkCloseConnector, receivers[i].connector);
		CLOSE(senders[i].qp->Dispatch->NdkCloseQp, senders[i].qp);
		CLOSE(receivers[i].qp->Dispatch->NdkCloseQp, receivers[i].qp);
	}
	door_close(&door);
	CLOSE(srq->Dispatch->NdkCloseSrq, srq);
	memory_close(&theirs);
	memory_close(&ours);
	CLOSE(from.cq->Dispatch->NdkCloseCq, from.cq);
	CLOSE(to.cq->Dispatch->NdkCloseCq, to.cq);
	CLOSE(from.pd->Dispatch->NdkClosePd, from.pd);
	CLOSE(to.pd->Dispatch->NdkClosePd, to.pd);
}

static void test(struct io *io)
{
	NDK_SGE sge;
	NDK_RESULT_EX result;
	ULONG posted = 0, faults = 0, ends = 0;
	UINT32 token;
	if (!make(io)) {
		CHECK(FALSE, "NDK-47 connections on one shared receive queue");
		return;
	}
	token = theirs.mr->Dispatch->NdkGetLocalTokenFromMr(theirs.mr);
	for (ULONG i = 0; i < COUNT; i++)
		posted += send(&senders[i], token + 1) == STATUS_SUCCESS;
	CHECK(posted == COUNT && io_none(from.cq), "DEF-112 the senders wait for a receive");
	sge = memory_sge(&ours, 0, SIZE);
	CHECK(srq->Dispatch->NdkSrqReceive(srq, &ours, &sge, 1) == STATUS_SUCCESS,
	      "NDK-59 one receive for all");
	for (ULONG i = 0; i < COUNT && io_get(from.cq, &result, 10000); i++)
		faults += result.Status == STATUS_ACCESS_VIOLATION &&
			  result.RequestContext == &senders[i];
	CHECK(faults == COUNT, "NDK-109a each of them is at fault, one after the other");
	for (ULONG i = 0; i < COUNT; i++)
		ends += SOON(KeReadStateEvent(&senders[i].gone) &&
			     KeReadStateEvent(&receivers[i].gone));
	CHECK(ends == COUNT && io_none(to.cq), "NDK-109a which ends its connection, no other");
	CHECK(send(&senders[COUNT], token) == STATUS_SUCCESS && io_get(to.cq, &result, 10000) &&
		      result.Status == STATUS_SUCCESS && result.RequestContext == &ours &&
		      result.QPContext == &receivers[COUNT] && result.BytesTransferred == 8,
	      "NDK-109b the receive is still there for who is not");
	closed();
}

IO_DRIVER(test)
