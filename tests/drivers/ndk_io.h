/* SPDX-License-Identifier: MIT */
/*
 * ndk_io.h: for tests of NDK queues and connections, on any provider: two openings of adapters that
 * reach each other, connected ends of any shape, and short forms of the calls.
 *
 * The adapters are found through GetUnicastIpAddressTable: the first two interfaces that have one,
 * or the same one twice (the guest of `./x check-vm` has one).
 */
#pragma once

#include "../vm/consumer.h"

struct shape {
	ULONG cq, receives, initiators, receive_sges, initiator_sges, inline_size;
	BOOLEAN two_cqs;
};

static const struct shape plain = {128, 32, 32, 4, 4, 64, TRUE};

/* Notifications of one CQ. */
struct io_watch {
	NDK_CQ *cq;
	volatile LONG count, running, overlaps;
	volatile LONG levels; /* bit IRQL: seen */
	volatile NTSTATUS status;
	void (*hook)(struct io_watch *watch); /* in the callback */
	volatile LONG found;                  /* a hook's */
};

struct io_end {
	struct end e; /* cq: initiator's */
	NDK_CQ *receive_cq;
	NDK_SRQ *srq;
	struct io_watch initiator, receive;
	volatile LONG gone; /* disconnect events */
};

struct io {
	struct consumer a, b; /* active, passive side */
	struct io_end x, y;   /* active, passive end */
	struct memory mx, my; /* their memory, all rights */
	struct door door;     /* its close waits for those of the connectors (NDK-83) */
};

/* ---- Adapters ---- */

CHECK_HELPER NDK_ADAPTER *io_adapter(struct consumer *c, ULONG skip, ADDRESS_FAMILY family,
				     SOCKADDR_INET *local)
{
	NDK_VERSION version = {2, 1};
	NDK_ADAPTER *adapter = NULL;
	PMIB_UNICASTIPADDRESS_TABLE table;
	ULONG last = 0;
	if (!NT_SUCCESS(GetUnicastIpAddressTable(family, &table)))
		return NULL;
	for (ULONG i = 0; i < table->NumEntries && !adapter; i++) {
		ULONG index = table->Table[i].InterfaceIndex;
		if (index == last ||
		    !NT_SUCCESS(c->ndk.WskOpenNdkAdapter(c->npi.Client, version, index, &adapter)))
			continue;
		last = index;
		if (skip) {
			skip--;
			c->ndk.WskCloseNdkAdapter(c->npi.Client, adapter);
			adapter = NULL;
			continue;
		}
		*local = table->Table[i].Address;
	}
	FreeMibTable(table);
	return adapter;
}

CHECK_HELPER BOOLEAN io_open_family(struct io *io, ADDRESS_FAMILY family)
{
	RtlZeroMemory(io, sizeof(*io));
	if (!consumer_open(&io->a, family))
		return FALSE;
	io->b = io->a;
	io->b.adapter = io_adapter(&io->a, 1, family, &io->b.local);
	if (!io->b.adapter)
		io->b.adapter = io_adapter(&io->a, 0, family, &io->b.local);
	return io->b.adapter != NULL;
}

CHECK_HELPER BOOLEAN io_open(struct io *io)
{
	return io_open_family(io, AF_INET);
}

CHECK_HELPER void io_close(struct io *io)
{
	io->b.ndk.WskCloseNdkAdapter(io->b.npi.Client, io->b.adapter);
	consumer_close(&io->a);
}

/* The adapters are those of the core's loopback provider; verbs has its limits (docs/verbs.md). */
CHECK_HELPER BOOLEAN io_is_loopback(const struct io *io)
{
	return io->a.info.VendorId == 0x4b5448;
}

CHECK_HELPER ULONG io_address_size(const SOCKADDR_INET *address)
{
	return address->si_family == AF_INET ? sizeof(SOCKADDR_IN) : sizeof(SOCKADDR_IN6);
}

CHECK_HELPER SOCKADDR_INET io_with_port(SOCKADDR_INET address, USHORT port)
{
	address.Ipv4.sin_port = RtlUshortByteSwap(port); /* at the same place in both */
	return address;
}

/* ---- Ends ---- */

CHECK_HELPER VOID NTAPI io_gone(PVOID context)
{
	struct io_end *end = context;
	InterlockedIncrement(&end->gone);
	KeSetEvent(&end->e.gone, 0, FALSE);
}

CHECK_HELPER VOID NTAPI io_notified(PVOID context, NTSTATUS status)
{
	struct io_watch *watch = context;
	if (InterlockedIncrement(&watch->running) != 1)
		InterlockedIncrement(&watch->overlaps);
	InterlockedOr(&watch->levels, 1 << KeGetCurrentIrql());
	watch->status = status;
	if (watch->hook)
		watch->hook(watch);
	InterlockedDecrement(&watch->running);
	InterlockedIncrement(&watch->count);
}

CHECK_HELPER NDK_CQ *io_cq(struct io_watch *watch, NDK_ADAPTER *adapter, ULONG depth)
{
	watch->cq = MAKE(NDK_CQ, adapter->Dispatch->NdkCreateCq, adapter, depth, io_notified, watch,
			 NULL);
	return watch->cq;
}

CHECK_HELPER BOOLEAN io_end_make(struct io_end *end, NDK_ADAPTER *adapter, const struct shape *s)
{
	RtlZeroMemory(end, sizeof(*end));
	KeInitializeEvent(&end->e.gone, NotificationEvent, FALSE);
	end->e.pd = MAKE(NDK_PD, adapter->Dispatch->NdkCreatePd, adapter);
	end->e.cq = io_cq(&end->initiator, adapter, s->cq);
	end->receive_cq = s->two_cqs ? io_cq(&end->receive, adapter, s->cq) : end->e.cq;
	if (!end->e.pd || !end->e.cq || !end->receive_cq)
		return FALSE;
	end->e.qp = MAKE(NDK_QP, end->e.pd->Dispatch->NdkCreateQp, end->e.pd, end->receive_cq,
			 end->e.cq, end, s->receives, s->initiators, s->receive_sges,
			 s->initiator_sges, s->inline_size);
	return end->e.qp != NULL;
}

CHECK_HELPER void io_end_close(struct io_end *end)
{
	if (end->e.connector)
		CLOSE(end->e.connector->Dispatch->NdkCloseConnector, end->e.connector);
	if (end->e.qp)
		CLOSE(end->e.qp->Dispatch->NdkCloseQp, end->e.qp);
	if (end->srq)
		CLOSE(end->srq->Dispatch->NdkCloseSrq, end->srq);
	if (end->receive_cq && end->receive_cq != end->e.cq)
		CLOSE(end->receive_cq->Dispatch->NdkCloseCq, end->receive_cq);
	end->receive_cq = NULL;
	if (end->e.cq)
		CLOSE(end->e.cq->Dispatch->NdkCloseCq, end->e.cq);
	if (end->e.pd)
		CLOSE(end->e.pd->Dispatch->NdkClosePd, end->e.pd);
}

struct io_connect {
	struct consumer *c;
	struct io_end *end;
	struct door *door;
	NTSTATUS status;
};

CHECK_HELPER NTSTATUS io_connect_to(struct io_end *end, struct consumer *c,
				    const SOCKADDR_INET *remote)
{
	ULONG size = io_address_size(remote);
	end->e.connector =
		MAKE(NDK_CONNECTOR, c->adapter->Dispatch->NdkCreateConnector, c->adapter);
	if (!end->e.connector)
		return STATUS_INSUFFICIENT_RESOURCES;
	NTSTATUS status = WAIT(end->e.connector->Dispatch->NdkConnect, end->e.connector, end->e.qp,
			       (const SOCKADDR *)&c->local, size, (const SOCKADDR *)remote, size, 4,
			       4, NULL, 0);
	if (NT_SUCCESS(status))
		status = WAIT(end->e.connector->Dispatch->NdkCompleteConnect, end->e.connector,
			      io_gone, end);
	return status;
}

CHECK_HELPER VOID NTAPI io_connect(PVOID context)
{
	struct io_connect *connect = context;
	connect->status = io_connect_to(connect->end, connect->c, &connect->door->address);
}

/* x connects to y through a new listener. Both ends are made already. */
CHECK_HELPER BOOLEAN io_join(struct io *io, struct io_end *x, struct io_end *y, struct door *door)
{
	struct io_connect connect = {&io->a, x, door, STATUS_UNSUCCESSFUL};
	LARGE_INTEGER limit = check_ms(30000);
	if (!door_open(door, &io->b, 0))
		return FALSE;
	PVOID thread = check_thread(io_connect, &connect);
	NTSTATUS status = KeWaitForSingleObject(&door->rung, Executive, KernelMode, FALSE, &limit);
	if (!status) {
		y->e.connector = door->connector;
		status = WAIT(door->connector->Dispatch->NdkAccept, door->connector, y->e.qp, 4, 4,
			      NULL, 0, io_gone, y);
	}
	check_join(thread);
	if (!NT_SUCCESS(status) || !NT_SUCCESS(connect.status))
		DbgPrint("FAIL connect 0x%08x, accept 0x%08x\n", connect.status, status);
	return NT_SUCCESS(status) && NT_SUCCESS(connect.status);
}

#define IO_ALL                                                                                     \
	(NDK_MR_FLAG_ALLOW_LOCAL_WRITE | NDK_MR_FLAG_ALLOW_REMOTE_READ |                           \
	 NDK_MR_FLAG_ALLOW_REMOTE_WRITE | NDK_MR_FLAG_RDMA_READ_SINK)

/* Two connected ends, with `size` bytes of memory each. */
CHECK_HELPER BOOLEAN io_pair(struct io *io, const struct shape *shape, SIZE_T size)
{
	return io_end_make(&io->x, io->a.adapter, shape) &&
	       io_end_make(&io->y, io->b.adapter, shape) &&
	       io_join(io, &io->x, &io->y, &io->door) &&
	       memory_make(&io->mx, io->x.e.pd, size, IO_ALL) &&
	       memory_make(&io->my, io->y.e.pd, size, IO_ALL);
}

CHECK_HELPER void io_unpair(struct io *io)
{
	memory_close(&io->mx);
	memory_close(&io->my);
	io_end_close(&io->x);
	io_end_close(&io->y);
	if (io->door.listener)
		CLOSE(io->door.listener->Dispatch->NdkCloseListener, io->door.listener);
}

/* ---- Requests ---- */

CHECK_HELPER UINT32 io_token(const struct memory *m)
{
	return m->mr->Dispatch->NdkGetRemoteTokenFromMr(m->mr);
}

CHECK_HELPER NTSTATUS io_send(struct io_end *end, const struct memory *m, SIZE_T at, ULONG length,
			      ULONG flags, PVOID context)
{
	NDK_SGE sge = memory_sge(m, at, length);
	return end->e.qp->Dispatch->NdkSend(end->e.qp, context, &sge, 1, flags);
}

CHECK_HELPER NTSTATUS io_receive(struct io_end *end, const struct memory *m, SIZE_T at,
				 ULONG length, PVOID context)
{
	NDK_SGE sge = memory_sge(m, at, length);
	return end->e.qp->Dispatch->NdkReceive(end->e.qp, context, &sge, 1);
}

CHECK_HELPER NTSTATUS io_write(struct io_end *end, const struct memory *m, SIZE_T at, ULONG length,
			       UINT64 remote, UINT32 token, ULONG flags, PVOID context)
{
	NDK_SGE sge = memory_sge(m, at, length);
	return end->e.qp->Dispatch->NdkWrite(end->e.qp, context, &sge, 1, remote, token, flags);
}

CHECK_HELPER NTSTATUS io_read(struct io_end *end, const struct memory *m, SIZE_T at, ULONG length,
			      UINT64 remote, UINT32 token, ULONG flags, PVOID context)
{
	NDK_SGE sge = memory_sge(m, at, length);
	return end->e.qp->Dispatch->NdkRead(end->e.qp, context, &sge, 1, remote, token, flags);
}

/* One completion within `ms`; FALSE: none. */
CHECK_HELPER BOOLEAN io_get(NDK_CQ *cq, NDK_RESULT_EX *result, ULONG ms)
{
	for (ULONG tries = 0;; tries++) {
		if (cq->Dispatch->NdkGetCqResultsEx(cq, result, 1))
			return TRUE;
		if (tries >= ms)
			return FALSE;
		check_sleep(1);
	}
}

/* The next completion of a CQ within 10 s: its status; 1 is none. */
CHECK_HELPER NTSTATUS io_status(NDK_CQ *cq)
{
	NDK_RESULT_EX result;
	return io_get(cq, &result, 10000) ? result.Status : 1;
}

/* No completion for a little while. */
CHECK_HELPER BOOLEAN io_none(NDK_CQ *cq)
{
	NDK_RESULT_EX result;
	return !io_get(cq, &result, 20);
}

CHECK_HELPER BOOLEAN io_same(const struct memory *a, SIZE_T at, const struct memory *b, SIZE_T bt,
			     SIZE_T length)
{
	return RtlCompareMemory(a->data + at, b->data + bt, length) == length;
}

CHECK_HELPER BOOLEAN io_is(const struct memory *m, SIZE_T at, SIZE_T length, UCHAR value)
{
	for (SIZE_T i = 0; i < length; i++) {
		if (m->data[at + i] != value)
			return FALSE;
	}
	return TRUE;
}

/* A condition within 10 s. */
#define SOON(condition)                                                                            \
	({                                                                                         \
		BOOLEAN true_ = FALSE;                                                             \
		for (ULONG tries_ = 0; !(true_ = !!(condition)) && tries_ < 10000; tries_++)       \
			check_sleep(1);                                                            \
		true_;                                                                             \
	})

/* ---- A driver whose DriverEntry runs a test on two openings ---- */

CHECK_HELPER VOID NTAPI io_unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

#define IO_DRIVER(test)                                                                            \
	NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)                    \
	{                                                                                          \
		static struct io io;                                                               \
		UNREFERENCED_PARAMETER(path);                                                      \
		driver->DriverUnload = io_unload;                                                  \
		if (io_open(&io)) {                                                                \
			test(&io);                                                                 \
			io_close(&io);                                                             \
		} else {                                                                           \
			CHECK(FALSE, "NDK-112 two adapters");                                      \
		}                                                                                  \
		return check_result();                                                             \
	}
