/* SPDX-License-Identifier: MIT */
/*
 * ndk_qp_torture.c: a thread on each processor, each with connections of its own, posts at random,
 * flushes, disconnects, closes and connects again, while a partner posts receives; nothing may be
 * lost or come twice: each request that was accepted completes once, and what was not never.
 *
 * SEED and ROUNDS can be given; the seed is printed.
 */
#include "ndk_io.h"

#ifndef ROUNDS
#define ROUNDS 12
#endif
#ifndef SEED
#define SEED 0
#endif

#define SIZE     131072
#define REQUESTS 64
#define MOST     8

struct worker {
	struct io io;
	ULONG number;
	ULONG64 random;
	volatile LONG accepted[2][REQUESTS],
		completed[2][REQUESTS]; /* initiator of x, receives of y */
	volatile LONG stop;
	ULONG moved, failed, connections;
};

static struct worker workers[MOST];

static ULONG draw(struct worker *w, ULONG below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (ULONG)(w->random >> 11) % below;
}

static void take(struct worker *w, NDK_CQ *cq, unsigned kind)
{
	NDK_RESULT_EX results[16];
	ULONG got;
	while ((got = cq->Dispatch->NdkGetCqResultsEx(cq, results, 16))) {
		for (ULONG i = 0; i < got; i++) {
			ULONG at = (ULONG)(ULONG_PTR)results[i].RequestContext;
			if (at >= REQUESTS || !w->accepted[kind][at])
				w->failed++;
			else
				w->completed[kind][at]++;
			w->moved += results[i].Status == STATUS_SUCCESS;
		}
	}
}

/* A slot whose last request has completed. */
static BOOLEAN slot(struct worker *w, unsigned kind, ULONG *at)
{
	*at = draw(w, REQUESTS);
	return w->accepted[kind][*at] == w->completed[kind][*at];
}

/* The partner: receives at the other end, until told to stop. Its own random numbers. */
static VOID NTAPI partner(PVOID context)
{
	struct worker *w = context;
	struct io *io = &w->io;
	ULONG next = 0;
	while (!w->stop) {
		take(w, io->y.receive_cq, 1);
		if (w->accepted[1][next] == w->completed[1][next]) {
			/* Counted first: it may complete before the call returns. */
			w->accepted[1][next]++;
			if (io_receive(&io->y, &io->my, next * 1024, 1024, (PVOID)(ULONG_PTR)next))
				w->accepted[1][next]--;
			next = (next + 1) % REQUESTS;
		}
		if (next % 16 == 0)
			check_sleep(0);
	}
}

static void post_one(struct worker *w)
{
	struct io *io = &w->io;
	ULONG at, kind = draw(w, 8), length = 1 + draw(w, kind == 7 ? SIZE : 1024);
	NTSTATUS status;
	take(w, io->x.e.cq, 0);
	if (!slot(w, 0, &at)) {
		if (draw(w, 16) == 0)
			check_sleep(1); /* the partner is behind */
		return;
	}
	PVOID context = (PVOID)(ULONG_PTR)at;
	w->accepted[0][at]++;
	if (kind < 4)
		status = io_send(&io->x, &io->mx, 0, length,
				 kind == 3 ? NDK_OP_FLAG_SEND_AND_SOLICIT_EVENT : 0, context);
	else if (kind == 4)
		status = io_read(&io->x, &io->mx, 0, length, (UINT64)io->my.data, io_token(&io->my),
				 NDK_OP_FLAG_READ_FENCE, context);
	else
		status = io_write(&io->x, &io->mx, 0, length, (UINT64)io->my.data,
				  io_token(&io->my), 0, context);
	if (status != STATUS_SUCCESS)
		w->accepted[0][at]--;
}

/* All that was accepted has completed, once. */
static BOOLEAN settled(struct worker *w)
{
	take(w, w->io.x.e.cq, 0);
	take(w, w->io.y.receive_cq, 1);
	for (unsigned kind = 0; kind < 2; kind++) {
		for (ULONG i = 0; i < REQUESTS; i++) {
			if (w->accepted[kind][i] != w->completed[kind][i])
				return FALSE;
		}
	}
	return TRUE;
}

static void end_connection(struct worker *w)
{
	struct io *io = &w->io;
	NDK_CONNECTOR *x = io->x.e.connector, *y = io->y.e.connector;
	switch (draw(w, 4)) {
	case 0:
		WAIT(x->Dispatch->NdkDisconnect, x);
		break;
	case 1:
		WAIT(y->Dispatch->NdkDisconnect, y);
		break;
	case 2: /* a fault */
		w->accepted[0][0] += !io_write(&io->x, &io->mx, 0, 8, 1, 1, 0, NULL);
		break;
	default:
		break;
	}
	CLOSE(x->Dispatch->NdkCloseConnector, io->x.e.connector);
	CLOSE(y->Dispatch->NdkCloseConnector, io->y.e.connector);
	w->stop = 1;
}

static void connection(struct worker *w)
{
	struct shape shape = {4 * REQUESTS, REQUESTS, REQUESTS, 1, 1, 0, TRUE};
	struct io *io = &w->io;
	w->stop = 0;
	if (!io_pair(io, &shape, SIZE)) {
		w->failed++;
		return;
	}
	PVOID thread = check_thread(partner, w);
	ULONG count = 200 + draw(w, 400);
	for (ULONG i = 0; i < count; i++) {
		post_one(w);
		if (draw(w, 100) == 0)
			io->x.e.qp->Dispatch->NdkFlush(io->x.e.qp);
	}
	end_connection(w);
	check_join(thread);
	if (!SOON(settled(w)))
		w->failed++;
	w->connections++;
	io_unpair(io);
}

static VOID NTAPI work(PVOID context)
{
	struct worker *w = context;
	KeSetSystemAffinityThreadEx((KAFFINITY)1 << w->number);
	for (ULONG i = 0; i < ROUNDS; i++)
		connection(w);
	KeRevertToUserAffinityThreadEx(0);
}

static void test(struct io *io)
{
	LARGE_INTEGER seed = {.QuadPart = SEED};
	ULONG count = KeQueryActiveProcessorCount(NULL), moved = 0, failed = 0, connections = 0;
	PVOID threads[MOST];
	if (!seed.QuadPart)
		KeQuerySystemTime(&seed);
	DbgPrint("ndk_qp_torture: -DSEED=%llu\n", (ULONG64)seed.QuadPart);
	count = count > MOST ? MOST : count;
	for (ULONG i = 0; i < count; i++) {
		workers[i].io.a = io->a;
		workers[i].io.b = io->b;
		workers[i].number = i;
		workers[i].random = (ULONG64)seed.QuadPart * 0x9e3779b97f4a7c15ull + i + 1;
		threads[i] = check_thread(work, &workers[i]);
	}
	for (ULONG i = 0; i < count; i++) {
		check_join(threads[i]);
		moved += workers[i].moved;
		failed += workers[i].failed;
		connections += workers[i].connections;
	}
	DbgPrint("%u connections, %u requests\n", connections, moved);
	CHECK(!failed && connections == count * ROUNDS, "NDK-101 each request completes once");
	CHECK(moved > count, "NDK-99 and many succeed");
}

IO_DRIVER(test)
