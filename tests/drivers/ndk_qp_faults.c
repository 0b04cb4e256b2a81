/* SPDX-License-Identifier: MIT */
/*
 * ndk_qp_faults.c: work requests that are refused, fail, or are flushed: statuses, what else
 * completes, who hears of it, and that not one byte moves.
 */
#include "ndk_io.h"

#define SIZE 131072

static void refused(struct io *io)
{
	NDK_QP *qp = io->x.e.qp;
	NDK_SGE sge[5], big = memory_sge(&io->mx, 0, io->a.info.MaxTransferLength);
	for (ULONG i = 0; i < 5; i++)
		sge[i] = memory_sge(&io->mx, i, 1);
	CHECK(qp->Dispatch->NdkSend(qp, NULL, sge, 5, 0) == STATUS_INVALID_PARAMETER &&
		      qp->Dispatch->NdkReceive(qp, NULL, sge, 5) == STATUS_INVALID_PARAMETER,
	      "NDK-105 more SGEs than the queue pair has");
	sge[0] = big;
	CHECK(qp->Dispatch->NdkSend(qp, NULL, sge, 2, 0) == STATUS_INVALID_PARAMETER &&
		      qp->Dispatch->NdkReceive(qp, NULL, sge, 2) == STATUS_INVALID_PARAMETER,
	      "NDK-105 more than MaxTransferLength");
	CHECK(qp->Dispatch->NdkSend(qp, NULL, sge + 1, 1, NDK_OP_FLAG_ALLOW_REMOTE_READ) ==
			      STATUS_INVALID_PARAMETER &&
		      qp->Dispatch->NdkSend(qp, NULL, sge + 1, 1, 0x80000000) ==
			      STATUS_INVALID_PARAMETER &&
		      qp->Dispatch->NdkRead(qp, NULL, sge + 1, 1, 0, 0, NDK_OP_FLAG_INLINE) ==
			      STATUS_INVALID_PARAMETER &&
		      qp->Dispatch->NdkWrite(qp, NULL, sge + 1, 1, 0, 0,
					     NDK_OP_FLAG_SEND_AND_SOLICIT_EVENT) ==
			      STATUS_INVALID_PARAMETER,
	      "NDK-22 flags of other functions");
	CHECK(io_none(io->x.e.cq), "NDK-101 none of these completes");
}

/* A fault of the request: its status; the rest is cancelled; both sides hear of it. */
static void fault(struct io *io, NTSTATUS posted, NTSTATUS wanted, const char *text)
{
	if (!io_is_loopback(io) && wanted == STATUS_REMOTE_RESOURCES)
		wanted = STATUS_ACCESS_VIOLATION; /* a device does not tell bounds from rights */
	/* Behind it: requests that must be cancelled. */
	NTSTATUS next = io_write(&io->x, &io->mx, 0, 8, (UINT64)io->my.data, io_token(&io->my), 0,
				 (PVOID)99);
	NTSTATUS status = io_status(io->x.e.cq);
	if (posted != STATUS_SUCCESS || status != wanted)
		DbgPrint("posted 0x%08x, completed 0x%08x, wanted 0x%08x\n", posted, status,
			 wanted);
	CHECK(posted == STATUS_SUCCESS && status == wanted, text);
	CHECK(next == STATUS_CONNECTION_INVALID ||
		      (next == STATUS_SUCCESS && io_status(io->x.e.cq) == STATUS_CANCELLED),
	      "NDK-109a what is behind it is cancelled or refused");
	CHECK(io_status(io->x.receive_cq) == STATUS_CANCELLED &&
		      io_status(io->y.receive_cq) == STATUS_CANCELLED,
	      "NDK-109a receives of both ends come back");
	CHECK(SOON(io->x.gone == 1 && io->y.gone == 1),
	      "NDK-109a the connection is broken: one disconnect event on each side");
	CHECK(io_send(&io->x, &io->mx, 0, 8, 0, NULL) == STATUS_CONNECTION_INVALID,
	      "NDK-143 posting afterwards: STATUS_CONNECTION_INVALID");
	CHECK(io_is(&io->my, 0, SIZE, 0) && io_is(&io->mx, 0, SIZE, 0xee),
	      "NDK-109a not one byte has changed");
}

enum fault_case {
	BAD_TOKEN,
	BEYOND,
	STRADDLING,
	OVERFLOWING,
	READ_ONLY,
	WRITE_ONLY,
	OTHER_PD,
	DEREGISTERED,
	PRIVILEGED,
	LOCAL_TOKEN,
	LOCAL_RANGE,
	LOCAL_READ_ONLY,
	SECOND_SGE,
	SECOND_SINK,
	FAULTS,
};

static const struct {
	NTSTATUS status;
	const char *text;
} faults[FAULTS] = {
	[BAD_TOKEN] = {STATUS_ACCESS_VIOLATION, "NDK-109a a remote token that does not exist"},
	[BEYOND] = {STATUS_REMOTE_RESOURCES, "NDK-109a an address beyond the region"},
	[STRADDLING] = {STATUS_REMOTE_RESOURCES, "NDK-109a the last byte is beyond the region"},
	[OVERFLOWING] = {STATUS_REMOTE_RESOURCES, "NDK-109a address and length wrap around"},
	[READ_ONLY] = {STATUS_ACCESS_VIOLATION, "NDK-109a a write to a region for reads"},
	[WRITE_ONLY] = {STATUS_ACCESS_VIOLATION, "NDK-109a a read of a region for writes"},
	[OTHER_PD] = {STATUS_ACCESS_VIOLATION, "NDK-109a a region of another PD"},
	[DEREGISTERED] = {STATUS_ACCESS_VIOLATION, "NDK-109a a region that was deregistered"},
	[PRIVILEGED] = {STATUS_ACCESS_VIOLATION, "NDK-133 the privileged token from a peer"},
	[LOCAL_TOKEN] = {STATUS_ACCESS_VIOLATION, "NDK-14 a local token that does not exist"},
	[LOCAL_RANGE] = {STATUS_ACCESS_VIOLATION, "NDK-14 an SGE beyond its region"},
	[LOCAL_READ_ONLY] = {STATUS_ACCESS_VIOLATION,
			     "NDK-20 a read into a region without local write"},
	[SECOND_SINK] = {STATUS_ACCESS_VIOLATION, "NDK-14 the second sink of a read is bad"},
	[SECOND_SGE] = {STATUS_ACCESS_VIOLATION,
			"NDK-14 the second SGE is bad, the first not sent"},
};

static NTSTATUS post_fault(struct io *io, enum fault_case which, struct memory *other)
{
	UINT64 base = (UINT64)io->my.data;
	UINT32 token = io_token(&io->my), privileged;
	NDK_SGE sge[2] = {memory_sge(&io->mx, 0, 8), memory_sge(&io->mx, 0, 8)};
	NDK_QP *qp = io->x.e.qp;
	switch (which) {
	case BAD_TOKEN:
		return io_write(&io->x, &io->mx, 0, 8, base, token ^ 0x5a5a5a5a, 0, NULL);
	case BEYOND:
		return io_write(&io->x, &io->mx, 0, 8, base + SIZE, token, 0, NULL);
	case STRADDLING:
		return io_write(&io->x, &io->mx, 0, SIZE, base + 1, token, 0, NULL);
	case OVERFLOWING:
		return io_write(&io->x, &io->mx, 0, 16, (UINT64)-8, token, 0, NULL);
	case WRITE_ONLY:
		return io_read(&io->x, &io->mx, 0, 8, (UINT64)other->data, io_token(other), 0,
			       NULL);
	case PRIVILEGED:
		io->y.e.pd->Dispatch->NdkGetPrivilegedMemoryRegionToken(io->y.e.pd, &privileged);
		return io_write(&io->x, &io->mx, 0, 8,
				(UINT64)MmGetPhysicalAddress(io->my.data).QuadPart, privileged, 0,
				NULL);
	case LOCAL_TOKEN:
		sge[0].MemoryRegionToken ^= 0x1234567;
		return qp->Dispatch->NdkWrite(qp, NULL, sge, 1, base, token, 0);
	case LOCAL_RANGE:
		sge[0].Length = SIZE + 1;
		return qp->Dispatch->NdkWrite(qp, NULL, sge, 1, base, token, 0);
	case LOCAL_READ_ONLY:
		return io_read(&io->x, other, 0, 8, base, token, 0, NULL);
	case SECOND_SINK:
		sge[1].MemoryRegionToken ^= 0x1234567;
		return qp->Dispatch->NdkRead(qp, NULL, sge, 2, base, token, 0);
	case SECOND_SGE:
		sge[1].MemoryRegionToken ^= 0x1234567;
		return qp->Dispatch->NdkWrite(qp, NULL, sge, 2, base, token, 0);
	default: /* READ_ONLY, OTHER_PD, DEREGISTERED */
		return io_write(&io->x, &io->mx, 0, 8, (UINT64)other->data, io_token(other), 0,
				NULL);
	}
}

/* Is the other region's token still asked for when it is gone? */
static NTSTATUS post_gone(struct io *io, struct memory *other)
{
	UINT32 token = io_token(other);
	UINT64 address = (UINT64)other->data;
	if (!NT_SUCCESS(WAIT(other->mr->Dispatch->NdkDeregisterMr, other->mr)))
		return STATUS_UNSUCCESSFUL;
	NTSTATUS status = io_write(&io->x, &io->mx, 0, 8, address, token, 0, NULL);
	CLOSE(other->mr->Dispatch->NdkCloseMr, other->mr);
	return status;
}

static void one_fault(struct io *io, enum fault_case which)
{
	static const ULONG flags[FAULTS] = {[READ_ONLY] = NDK_MR_FLAG_ALLOW_REMOTE_READ,
					    [WRITE_ONLY] = NDK_MR_FLAG_ALLOW_REMOTE_WRITE,
					    [OTHER_PD] = IO_ALL,
					    [DEREGISTERED] = IO_ALL};
	struct memory other;
	NDK_PD *pd = NULL;
	BOOLEAN joined = io_pair(io, &plain, SIZE);
	if (joined && which == OTHER_PD)
		pd = MAKE(NDK_PD, io->b.adapter->Dispatch->NdkCreatePd, io->b.adapter);
	NDK_PD *owner = which == LOCAL_READ_ONLY ? io->x.e.pd : pd ? pd : io->y.e.pd;
	joined = joined && memory_make(&other, owner, 4096, flags[which]);
	CHECK(joined, faults[which].text);
	if (joined) {
		RtlFillMemory(io->mx.data, SIZE, 0xee);
		io_receive(&io->x, &io->mx, 0, 64, NULL);
		io_receive(&io->y, &io->my, 0, 64, NULL);
		NTSTATUS posted = which == DEREGISTERED ? post_gone(io, &other)
							: post_fault(io, which, &other);
		fault(io, posted, faults[which].status, faults[which].text);
		CHECK(io_is(&other, 0, 4096, 0), "NDK-109a nor one of the other region");
		memory_close(&other);
	}
	if (pd)
		CLOSE(pd->Dispatch->NdkClosePd, pd);
	io_unpair(io);
}

/* The receive is at fault. */
static void bad_receive(struct io *io, BOOLEAN small)
{
	NDK_RESULT_EX r;
	BOOLEAN joined = io_pair(io, &plain, SIZE);
	CHECK(joined, "NDK-109a two ends for a bad receive");
	if (joined) {
		NDK_SGE sge = memory_sge(&io->my, 0, small ? 7 : 8);
		if (!small)
			sge.MemoryRegionToken ^= 0x7777;
		RtlFillMemory(io->mx.data, SIZE, 0xee);
		io->y.e.qp->Dispatch->NdkReceive(io->y.e.qp, (PVOID)3, &sge, 1);
		io_receive(&io->y, &io->my, 0, 8, (PVOID)4);
		CHECK(io_send(&io->x, &io->mx, 0, 8, 0, NULL) == STATUS_SUCCESS &&
			      io_status(io->x.e.cq) == STATUS_REMOTE_RESOURCES,
		      "NDK-109a the sender of a receive at fault: STATUS_REMOTE_RESOURCES");
		CHECK(io_get(io->y.receive_cq, &r, 10000) && r.RequestContext == (PVOID)3 &&
			      r.Status ==
				      (small ? STATUS_BUFFER_OVERFLOW : STATUS_ACCESS_VIOLATION),
		      "NDK-109a a receive that is too small, or bad");
		CHECK(io_get(io->y.receive_cq, &r, 10000) && r.RequestContext == (PVOID)4 &&
			      r.Status == STATUS_CANCELLED && SOON(io->y.gone && io->x.gone) &&
			      io_is(&io->my, 0, SIZE, 0),
		      "NDK-109a the connection is broken, the other receive cancelled, no byte "
		      "written");
	}
	io_unpair(io);
}

static void flushes(struct io *io)
{
	ULONG count = 0, cancelled = 0;
	NDK_RESULT_EX r;
	BOOLEAN joined = io_pair(io, &plain, SIZE);
	CHECK(joined, "NDK-106 two ends for flushes");
	if (joined) {
		for (ULONG i = 0; i < 32; i++)
			count += io_receive(&io->x, &io->mx, i * 8, 8, (PVOID)(ULONG_PTR)i) ==
				 STATUS_SUCCESS;
		CHECK(count == 32 && io_receive(&io->x, &io->mx, 0, 8, NULL) ==
					     STATUS_INSUFFICIENT_RESOURCES,
		      "NDK-105 a full receive queue");
		for (ULONG i = 0; i < 32; i++)
			count += io_send(&io->x, &io->mx, 0, 8, NDK_OP_FLAG_SILENT_SUCCESS,
					 (PVOID)(ULONG_PTR)i) == STATUS_SUCCESS;
		CHECK(count == 64 && io_send(&io->x, &io->mx, 0, 8, 0, NULL) ==
					     STATUS_INSUFFICIENT_RESOURCES,
		      "NDK-105 a full initiator queue");
		io->x.e.qp->Dispatch->NdkFlush(io->x.e.qp);
		for (ULONG i = 0; i < 32; i++)
			cancelled += io_get(io->x.receive_cq, &r, 10000) &&
				     r.Status == STATUS_CANCELLED &&
				     r.RequestContext == (PVOID)(ULONG_PTR)i;
		for (ULONG i = 0; i < 32; i++)
			cancelled += io_get(io->x.e.cq, &r, 10000) &&
				     r.Status == STATUS_CANCELLED &&
				     r.RequestContext == (PVOID)(ULONG_PTR)i;
		CHECK(cancelled == 64 && io_none(io->x.e.cq) && io_none(io->x.receive_cq),
		      "NDK-60 DEF-116 a flush cancels every request of both queues, in order");
	}
	io_unpair(io);
}

/* A close of the connector instead of a flush (DEF-115). */
static void closes(struct io *io)
{
	ULONG cancelled = 0;
	BOOLEAN joined = io_pair(io, &plain, SIZE);
	CHECK(joined, "DEF-115 two ends for a close");
	if (joined) {
		for (ULONG i = 0; i < 32; i++)
			io_receive(&io->x, &io->mx, 0, 8, NULL);
		io_send(&io->x, &io->mx, 0, 8, 0, NULL);
		CLOSE(io->x.e.connector->Dispatch->NdkCloseConnector, io->x.e.connector);
		for (ULONG i = 0; i < 32; i++)
			cancelled += io_status(io->x.receive_cq) == STATUS_CANCELLED;
		CHECK(cancelled == 32 && io_status(io->x.e.cq) == STATUS_CANCELLED,
		      "DEF-116 the close of the connector returns every request");
		CHECK(SOON(io->y.gone == 1) && !io->x.gone, "DEF-117 the peer hears of it once");
		CHECK(io_send(&io->x, &io->mx, 0, 8, 0, NULL) == STATUS_CONNECTION_INVALID,
		      "DEF-119 posting afterwards");
	}
	io_unpair(io);
}

static void unconnected(struct io *io)
{
	struct memory m;
	BOOLEAN made = io_end_make(&io->x, io->a.adapter, &plain) &&
		       memory_make(&m, io->x.e.pd, 4096, IO_ALL);
	CHECK(made && io_send(&io->x, &m, 0, 8, 0, NULL) == STATUS_CONNECTION_INVALID &&
		      io_write(&io->x, &m, 0, 8, 0, 0, 0, NULL) == STATUS_CONNECTION_INVALID &&
		      io_receive(&io->x, &m, 0, 8, NULL) == STATUS_SUCCESS,
	      "NDK-143 before a connection only receives are taken");
	if (made)
		memory_close(&m);
	NDK_CQ *cq = io->x.receive_cq;
	CLOSE(io->x.e.qp->Dispatch->NdkCloseQp, io->x.e.qp);
	CHECK(io_status(cq) == STATUS_CANCELLED, "NDK-81 the close of the queue pair flushes it");
	io_end_close(&io->x);
}

static void test(struct io *io)
{
	unconnected(io);
	CHECK(io_pair(io, &plain, SIZE), "NDK-105 two ends for refusals");
	refused(io);
	io_unpair(io);
	for (unsigned which = 0; which < FAULTS; which++)
		one_fault(io, which);
	bad_receive(io, TRUE);
	bad_receive(io, FALSE);
	flushes(io);
	closes(io);
}

IO_DRIVER(test)
