/* SPDX-License-Identifier: MIT */
/*
 * ndk_order.c: what must not come before something else, while another processor tries: the
 * disconnect event before the completion of the handshake has returned (NDK-142), flushed receives
 * before the one that is being received into (NDK-88, NDK-106), a sender's sleep before the receive
 * that it waits for (DEF-112). On a fabric a flush ends the connection (docs/verbs.md), and
 * messages are slow.
 */
#include "ndk_io.h"

/* ---- The event behind the completion ---- */

struct slow {
	struct call call;
	KEVENT begun;
	volatile LONG inside, early, events;
};

static VOID NTAPI slow_accepted(PVOID context, NTSTATUS status)
{
	struct slow *slow = context;
	slow->inside = 1;
	KeSetEvent(&slow->begun, 0, FALSE);
	/* The peer disconnects meanwhile, but where this interrupts its connect. */
	if (KeGetCurrentIrql() == PASSIVE_LEVEL)
		check_sleep(20);
	slow->inside = 0;
	call_requested(&slow->call, status);
}

static VOID NTAPI gone_slow(PVOID context)
{
	struct slow *slow = context;
	InterlockedExchangeAdd(&slow->early, slow->inside);
	InterlockedIncrement(&slow->events);
}

static void event_behind_completion(struct io *io)
{
	static struct door door;
	static struct slow slow;
	struct io_end x, y;
	struct io_connect connect = {&io->a, &x, &door, STATUS_UNSUCCESSFUL};
	RtlZeroMemory(&slow, sizeof(slow));
	call_begin(&slow.call);
	KeInitializeEvent(&slow.begun, NotificationEvent, FALSE);
	CHECK(io_end_make(&x, io->a.adapter, &plain) && io_end_make(&y, io->b.adapter, &plain) &&
		      door_open(&door, &io->b, 0),
	      "NDK-136 two ends and a door");
	PVOID thread = check_thread(io_connect, &connect);
	KeWaitForSingleObject(&door.rung, Executive, KernelMode, FALSE, NULL);
	y.e.connector = door.connector;
	NTSTATUS status = door.connector->Dispatch->NdkAccept(
		door.connector, y.e.qp, 1, 1, NULL, 0, gone_slow, &slow, slow_accepted, &slow);
	check_join(thread);
	KeWaitForSingleObject(&slow.begun, Executive, KernelMode, FALSE, NULL);
	NDK_CONNECTOR *c = x.e.connector;
	CHECK(status == STATUS_PENDING && WAIT(c->Dispatch->NdkDisconnect, c) == STATUS_SUCCESS,
	      "NDK-141 the peer disconnects while the completion of NdkAccept runs");
	call_end(&slow.call, STATUS_PENDING);
	CHECK(SOON(slow.events == 1) && !slow.early, "NDK-142 the event waits for its return");
	io_end_close(&x);
	io_end_close(&y);
	CLOSE(door.listener->Dispatch->NdkCloseListener, door.listener);
}

/* ---- Receives in order ---- */

#define BIG   0x800000u
#define AFTER 3

static VOID NTAPI send_big(PVOID context)
{
	struct io *io = context;
	io_send(&io->x, &io->mx, 0, BIG, 0, NULL);
}

static void flushed_behind(struct io *io)
{
	ULONG wrong = 0;
	for (ULONG round = 0; round < 20; round++) {
		NDK_RESULT_EX result;
		io->my.data[0] = 0;
		io->mx.data[0] = 1;
		for (ULONG_PTR i = 0; i <= AFTER; i++)
			io_receive(&io->y, &io->my, 0, i ? 8 : BIG, (PVOID)i);
		PVOID thread = check_thread(send_big, io);
		while (!*(volatile UCHAR *)io->my.data)
			YieldProcessor();
		io->y.e.qp->Dispatch->NdkFlush(io->y.e.qp);
		check_join(thread);
		for (ULONG_PTR i = 0; i <= AFTER; i++)
			wrong += !io_get(io->y.receive_cq, &result, 10000) ||
				 result.RequestContext != (PVOID)i;
		wrong += io_status(io->x.e.cq) == 1;
	}
	CHECK(!wrong, "NDK-88 NDK-106 flushed receives complete behind the one in the middle");
}

/* ---- A receive that comes when its sender goes to sleep ---- */

static ULONG messages;

/* The next completion, by polling, within 10 s. */
static BOOLEAN poll(NDK_CQ *cq)
{
	ULONGLONG limit = KeQueryInterruptTime() + 10 * 10000000ull;
	NDK_RESULT result;
	while (!cq->Dispatch->NdkGetCqResults(cq, &result, 1)) {
		if (KeQueryInterruptTime() > limit)
			return FALSE;
		YieldProcessor();
	}
	return result.Status == STATUS_SUCCESS;
}

static VOID NTAPI receive_all(PVOID context)
{
	struct io *io = context;
	ULONG i = 0;
	do
		io_receive(&io->y, &io->my, 0, 8, NULL);
	while (poll(io->y.receive_cq) && ++i < messages);
}

static void no_sleeper(struct io *io)
{
	ULONG sent = 0;
	messages = io_is_loopback(io) ? 30000 : 300;
	PVOID thread = check_thread(receive_all, io);
	do
		io_send(&io->x, &io->mx, 0, 8, 0, NULL);
	while (poll(io->x.e.cq) && ++sent < messages);
	check_join(thread);
	CHECK(sent == messages, "DEF-112 no sender sleeps while there is a receive");
}

static void test(struct io *io)
{
	event_behind_completion(io);
	struct io_watch watch; /* callbacks come in DPCs and in worker threads by turns: one more */
	io_cq(&watch, io->a.adapter, 8);
	CLOSE(watch.cq->Dispatch->NdkCloseCq, watch.cq);
	event_behind_completion(io);
	BOOLEAN joined = io_pair(io, &plain, BIG);
	CHECK(joined, "NDK-136 two ends");
	if (joined) {
		if (io_is_loopback(io)) /* NdkFlush breaks the connection of a device */
			flushed_behind(io);
		no_sleeper(io);
	}
	io_unpair(io);
}

IO_DRIVER(test)
