/* SPDX-License-Identifier: MIT */
/*
 * ndk_conn_quiet.c: when a connection has ended, at either end and in whatever way, not one byte of
 * a region changes any more, although it stays registered and its peer was writing it. On a fabric
 * a few rounds must do.
 */
#include "ndk_io.h"

#define SIZE (128u << 10) /* four pieces */
#ifndef ROUNDS
#define ROUNDS 150
#endif

enum how { DISCONNECT, CLOSE_CONNECTOR, CLOSE_QP, FLUSHED, HOWS };

static const char *const names[HOWS] = {
	"NDK-141 nothing is written after a disconnect",
	"NDK-81 nothing is written after the close of a connector",
	"NDK-81 nothing is written after the close of a queue pair",
	"NDK-141 nothing is written after the disconnect of a connection that the peer has broken",
};

static struct io *io;
static UCHAR *snapshot;
static volatile LONG writing;

/* The region changes with each request. */
static VOID NTAPI write(PVOID context)
{
	UINT32 token = io_token(&io->my);
	ULONG half = SIZE;
	UNREFERENCED_PARAMETER(context);
	writing = 1;
	while (io_write(&io->x, &io->mx, half, SIZE, (UINT64)io->my.data, token,
			NDK_OP_FLAG_SILENT_SUCCESS, NULL) == STATUS_SUCCESS)
		half ^= SIZE;
}

static void end(enum how how)
{
	NDK_CONNECTOR *connector = io->y.e.connector;
	struct call closed;
	NTSTATUS status;
	switch (how) {
	case FLUSHED: /* a fault of y's */
		io_write(&io->y, &io->my, 0, 8, 0, 0, 0, NULL);
		/* fall through */
	case DISCONNECT:
		WAIT(connector->Dispatch->NdkDisconnect, connector);
		break;
	case CLOSE_CONNECTOR:
		CLOSE(io->y.e.connector->Dispatch->NdkCloseConnector, io->y.e.connector);
		break;
	default:
		call_begin(&closed);
		status = connector->Dispatch->NdkCloseConnector(&connector->Header, call_closed,
								&closed);
		io->y.e.connector = NULL;
		CLOSE(io->y.e.qp->Dispatch->NdkCloseQp, io->y.e.qp);
		call_end(&closed, status);
		break;
	}
}

static ULONG one_round(enum how how)
{
	ULONG changed = 0;
	struct shape shape = plain;
	if (!io_end_make(&io->x, io->a.adapter, &shape) ||
	    !io_end_make(&io->y, io->b.adapter, &shape) ||
	    !io_join(io, &io->x, &io->y, &io->door) ||
	    !memory_make(&io->mx, io->x.e.pd, 2 * SIZE, IO_ALL) ||
	    !memory_make(&io->my, io->y.e.pd, SIZE, IO_ALL))
		return ~0u;
	RtlFillMemory(io->mx.data, SIZE, 0xaa);
	RtlFillMemory(io->mx.data + SIZE, SIZE, 0x55);
	writing = 0;
	PVOID thread = check_thread(write, NULL);
	while (!*(volatile UCHAR *)io->my.data)
		YieldProcessor();
	end(how);
	RtlCopyMemory(snapshot, io->my.data, SIZE);
	check_join(thread);
	for (ULONG i = 0; i < SIZE; i++)
		changed += io->my.data[i] != snapshot[i];
	io_unpair(io);
	return changed;
}

static void test(struct io *opened)
{
	io = opened;
	snapshot = ExAllocatePoolWithTag(NonPagedPoolNx, SIZE, 'tpnS');
	for (enum how how = 0; how < HOWS; how++) {
		ULONG changed = 0, rounds = io_is_loopback(io) ? ROUNDS : 4;
		for (ULONG i = 0; i < rounds && !changed; i++)
			changed = one_round(how);
		if (changed)
			DbgPrint("%u bytes changed\n", changed);
		CHECK(!changed, names[how]);
	}
	ExFreePoolWithTag(snapshot, 'tpnS');
}

IO_DRIVER(test)
