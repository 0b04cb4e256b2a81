/* SPDX-License-Identifier: MIT */
/*
 * ndk_cq_notify.c: completion queues: when a notification comes and when none does, how often, at
 * which level, one at a time; overflow, resize, moderation.
 */
#include "ndk_io.h"

#define SIZE 65536

static LONG seen; /* notifications of the watch that were expected so far */

static void drain(NDK_CQ *cq)
{
	NDK_RESULT results[8];
	while (cq->Dispatch->NdkGetCqResults(cq, results, 8))
		;
}

/* One completion in x's initiator CQ. It is there on return. */
static BOOLEAN place(struct io *io)
{
	struct io_end *x = &io->x;
	LARGE_INTEGER limit = check_ms(10000), start, now;
	KeQuerySystemTime(&start);
	volatile UCHAR *last = io->my.data + 8;
	UCHAR value = (UCHAR)(*last + 1);
	io->mx.data[8] = value;
	if (io_write(x, &io->mx, 0, 9, (UINT64)io->my.data, io_token(&io->my), 0, NULL))
		return FALSE;
	do {
		KeQuerySystemTime(&now);
	} while (*last != value && now.QuadPart - start.QuadPart < -limit.QuadPart);
	check_sleep(2); /* the completion follows the bytes */
	return *last == value;
}

static BOOLEAN more(struct io_watch *watch)
{
	seen++;
	return SOON(watch->count == seen);
}

static BOOLEAN no_more(struct io_watch *watch)
{
	check_sleep(20);
	return watch->count == seen;
}

static void arm(struct io_watch *watch, ULONG type)
{
	watch->cq->Dispatch->NdkArmCq(watch->cq, type);
}

static void arming(struct io *io)
{
	struct io_watch *watch = &io->x.initiator;
	seen = watch->count;
	CHECK(place(io) && no_more(watch), "NDK-90 not armed: no notification");
	drain(watch->cq);
	arm(watch, NDK_CQ_NOTIFY_ANY);
	CHECK(no_more(watch), "DEF-99 an empty queue, whose entries were drained: none");
	CHECK(place(io) && more(watch) && watch->status == STATUS_SUCCESS,
	      "NDK-55 NDK-91 ANY: the next completion");
	CHECK(place(io) && no_more(watch), "NDK-90 once for each arm");
	arm(watch, NDK_CQ_NOTIFY_ANY);
	CHECK(more(watch), "NDK-93 an entry came since the last notification: at once");
	arm(watch, NDK_CQ_NOTIFY_ANY);
	CHECK(no_more(watch),
	      "NDK-93 all entries were there at the last notification: not at once");
	CHECK(place(io) && more(watch), "NDK-93 but with the next entry");
	drain(watch->cq);
	arm(watch, NDK_CQ_NOTIFY_ERRORS);
	CHECK(place(io) && no_more(watch), "NDK-91 ERRORS: not by a completion");
	arm(watch, NDK_CQ_NOTIFY_SOLICITED);
	CHECK(place(io) && no_more(watch), "NDK-91 SOLICITED: not by a completion that is none");
	arm(watch, NDK_CQ_NOTIFY_ERRORS);
	arm(watch, NDK_CQ_NOTIFY_ANY);
	CHECK(more(watch), "NDK-92 SOLICITED and ERRORS, then ANY: ANY");
	drain(watch->cq);
}

/* NDK-92: each pair of arms, and what then notifies. */
static void rearming(struct io *io)
{
	struct io_watch *watch = &io->x.initiator;
	static const UCHAR by_success[3][3] = {{0, 1, 0}, {1, 1, 1}, {0, 1, 0}};
	BOOLEAN good = TRUE;
	for (ULONG first = 0; first < 3; first++) {
		for (ULONG second = 0; second < 3; second++) {
			drain(watch->cq);
			seen = watch->count;
			arm(watch, first);
			arm(watch, second);
			good = good && place(io) &&
			       (by_success[first][second] ? more(watch) : no_more(watch));
			if (!by_success[first][second]) { /* disarm it */
				arm(watch, NDK_CQ_NOTIFY_ANY);
				good = good && more(watch);
			}
			if (!good) {
				DbgPrint("arm %u, then %u\n", first, second);
				goto out;
			}
		}
	}
out:
	CHECK(good, "NDK-92 the table of arms");
	drain(watch->cq);
}

static void solicited(struct io *io)
{
	struct io_watch *watch = &io->y.receive;
	if (!io_is_loopback(io))
		return; /* no receiver is told, and a flush ends the connection */
	seen = watch->count;
	for (ULONG i = 0; i < 4; i++)
		io_receive(&io->y, &io->my, 64 * i, 64, NULL);
	arm(watch, NDK_CQ_NOTIFY_SOLICITED);
	io_send(&io->x, &io->mx, 0, 8, 0, NULL);
	CHECK(no_more(watch), "NDK-91 SOLICITED: not by a plain send");
	io_send(&io->x, &io->mx, 0, 8, NDK_OP_FLAG_SEND_AND_SOLICIT_EVENT, NULL);
	CHECK(more(watch), "NDK-91 SOLICITED: by a send that asks for it");
	arm(watch, NDK_CQ_NOTIFY_SOLICITED);
	io_send(&io->x, &io->mx, 0, 8, 0, NULL);
	CHECK(no_more(watch), "NDK-93 entries count only if they match the type");
	io->y.e.qp->Dispatch->NdkFlush(io->y.e.qp);
	CHECK(more(watch), "NDK-91 SOLICITED: by a completion with an error");
	drain(watch->cq);
	drain(io->x.e.cq);
}

/* The consumer in the field: drain, then arm, in the callback. */
static void drain_and_arm(struct io_watch *watch)
{
	NDK_RESULT results[16];
	ULONG got;
	while ((got = watch->cq->Dispatch->NdkGetCqResults(watch->cq, results, 16)))
		watch->found += got;
	arm(watch, NDK_CQ_NOTIFY_ANY);
}

/* The same table, by completions that are solicited. */
static void rearming_solicited(struct io *io)
{
	struct io_watch *watch = &io->y.receive;
	static const UCHAR expected[3][3] = {{0, 1, 1}, {1, 1, 1}, {1, 1, 1}};
	BOOLEAN good = TRUE;
	for (ULONG i = 0; i < 9 && good; i++) {
		ULONG first = i / 3, second = i % 3;
		drain(watch->cq);
		drain(io->x.e.cq);
		seen = watch->count;
		io_receive(&io->y, &io->my, 0, 8, NULL);
		arm(watch, first);
		arm(watch, second);
		io_send(&io->x, &io->mx, 0, 8, NDK_OP_FLAG_SEND_AND_SOLICIT_EVENT, NULL);
		good = expected[first][second] ? more(watch) : no_more(watch);
		if (!expected[first][second]) { /* disarm it */
			arm(watch, NDK_CQ_NOTIFY_ANY);
			good = good && more(watch);
		}
		if (!good)
			DbgPrint("arm %u, then %u\n", first, second);
	}
	CHECK(good, "NDK-92 the table of arms, by solicited completions");
	drain(watch->cq);
	drain(io->x.e.cq);
}

static struct io *posting;
static volatile LONG posted_once; /* the first post has returned (NDK-99) */

/* Armed, and satisfied, while the callback still runs. */
static void post_inside(struct io_watch *watch)
{
	if (watch->found++)
		return;
	while (!posted_once)
		YieldProcessor();
	drain(watch->cq);
	arm(watch, NDK_CQ_NOTIFY_ANY);
	for (ULONG i = 0; i < 3; i++)
		io_write(&posting->x, &posting->mx, 0, 8, (UINT64)posting->my.data,
			 io_token(&posting->my), 0, NULL);
	LARGE_INTEGER start = KeQueryPerformanceCounter(NULL), frequency, now;
	do /* long enough for another processor to call it too */
		now = KeQueryPerformanceCounter(&frequency);
	while (now.QuadPart - start.QuadPart < frequency.QuadPart / 200);
}

static void due(struct io *io)
{
	struct io_watch *watch = &io->x.initiator;
	KIRQL old;
	drain(watch->cq);
	posting = io;
	watch->found = watch->overlaps = 0;
	watch->hook = post_inside;
	seen = watch->count;
	arm(watch, NDK_CQ_NOTIFY_ANY);
	KeRaiseIrql(DISPATCH_LEVEL, &old); /* a DPC comes when the call has returned */
	io_write(&io->x, &io->mx, 0, 8, (UINT64)io->my.data, io_token(&io->my), 0, NULL);
	posted_once = 1;
	KeLowerIrql(old);
	CHECK(SOON(watch->count == seen + 2) && !watch->overlaps,
	      "NDK-90 one that is due while another runs comes when that has returned");
	check_sleep(10);
	CHECK(watch->count == seen + 2, "NDK-90 once");
	watch->hook = NULL;
	drain(watch->cq);
}

static void storm(struct io *io)
{
	struct io_watch *watch = &io->x.initiator;
	NDK_SGE sge = memory_sge(&io->mx, 0, 8);
	ULONG posted = 0;
	drain(watch->cq);
	watch->found = watch->overlaps = watch->levels = 0;
	watch->hook = drain_and_arm;
	arm(watch, NDK_CQ_NOTIFY_ANY);
	for (ULONG tries = 0; posted < 3000 && tries < 200000; tries++) {
		NTSTATUS status = io->x.e.qp->Dispatch->NdkWrite(
			io->x.e.qp, NULL, &sge, 1, (UINT64)io->my.data, io_token(&io->my), 0);
		posted += status == STATUS_SUCCESS;
		/* No more in flight than the queues hold. */
		if (posted - (ULONG)watch->found > 24)
			(void)SOON(posted - (ULONG)watch->found <= 8);
	}
	CHECK(posted == 3000 && SOON(watch->found == 3000), "DEF-99 no completion is missed");
	CHECK(SOON(!watch->running) && !watch->overlaps, "NDK-90 never two notifications at once");
	CHECK(watch->levels == (1 << PASSIVE_LEVEL | 1 << DISPATCH_LEVEL),
	      "NDK-6 notifications at PASSIVE_LEVEL and at DISPATCH_LEVEL");
	watch->hook = NULL;
	/* It is armed; leave it unarmed. */
	seen = watch->count;
	CHECK(place(io) && SOON(watch->count > seen), "NDK-90 still armed");
	drain(watch->cq);
}

static void resizing(struct io *io)
{
	NDK_CQ *cq = io->x.e.cq;
	NDK_RESULT_EX r;
	ULONG_PTR count = 0;
	if (!(io->a.info.AdapterFlags & NDK_ADAPTER_FLAG_CQ_RESIZE_SUPPORTED))
		return;
	for (ULONG_PTR i = 0; i < 20; i++) {
		NDK_SGE sge = memory_sge(&io->mx, 0, 8);
		io->x.e.qp->Dispatch->NdkWrite(io->x.e.qp, (PVOID)i, &sge, 1, (UINT64)io->my.data,
					       io_token(&io->my), 0);
	}
	check_sleep(20);
	CHECK(WAIT(cq->Dispatch->NdkResizeCq, cq, 0) == STATUS_INVALID_PARAMETER &&
		      WAIT(cq->Dispatch->NdkResizeCq, cq, io->a.info.MaxCqDepth + 1) ==
			      STATUS_INVALID_PARAMETER &&
		      WAIT(cq->Dispatch->NdkResizeCq, cq, 19) == STATUS_INVALID_PARAMETER,
	      "NDK-96 a depth of 0, above the maximum, below what is there");
	CHECK(WAIT(cq->Dispatch->NdkResizeCq, cq, 20) == STATUS_SUCCESS && io_get(cq, &r, 1000) &&
		      r.RequestContext == (PVOID)count++ && place(io) &&
		      WAIT(cq->Dispatch->NdkResizeCq, cq, 256) == STATUS_SUCCESS,
	      "NDK-54 smaller, and larger");
	while (count < 20 && io_get(cq, &r, 1000) && r.RequestContext == (PVOID)count)
		count++;
	CHECK(count == 20 && io_status(cq) == STATUS_SUCCESS && io_none(cq),
	      "NDK-54 NDK-88 the completions stay, in order");
}

static void moderating(struct io *io)
{
	struct io_watch *watch = &io->x.initiator;
	NDK_CQ *cq = watch->cq;
	LARGE_INTEGER start, end;
	if (!(io->a.info.AdapterFlags & NDK_ADAPTER_FLAG_CQ_INTERRUPT_MODERATION_SUPPORTED))
		return;
	CHECK(cq->Dispatch->NdkControlCqInterruptModeration(cq, MAXULONG, MAXULONG) ==
		      STATUS_INVALID_PARAMETER_MIX,
	      "NDK-57 NDK-97 neither rule: STATUS_INVALID_PARAMETER_MIX");
	CHECK(cq->Dispatch->NdkControlCqInterruptModeration(cq, 20, MAXULONG) == STATUS_SUCCESS,
	      "DEF-82 interval 20, count MAXULONG");
	drain(cq);
	seen = watch->count;
	arm(watch, NDK_CQ_NOTIFY_ANY);
	CHECK(place(io) && more(watch), "NDK-97 it comes after the interval");
	cq->Dispatch->NdkControlCqInterruptModeration(cq, 300000, 3);
	drain(cq);
	arm(watch, NDK_CQ_NOTIFY_ANY);
	KeQuerySystemTime(&start);
	BOOLEAN quiet = place(io) && place(io) && watch->count == seen;
	KeQuerySystemTime(&end);
	CHECK(quiet || end.QuadPart - start.QuadPart > 2500000, "NDK-97 it waits for three");
	CHECK(place(io) && more(watch), "NDK-97 and comes with the third");
	cq->Dispatch->NdkControlCqInterruptModeration(cq, MAXULONG, 2);
	drain(cq);
	arm(watch, NDK_CQ_NOTIFY_ANY);
	CHECK(place(io) && no_more(watch), "NDK-97 the count rule alone waits");
	CHECK(place(io) && more(watch), "NDK-97 and is satisfied by the second");
	drain(cq);
	arm(watch, NDK_CQ_NOTIFY_ANY);
	CHECK(place(io) && no_more(watch), "NDK-97 it counts from the last notification");
	cq->Dispatch->NdkControlCqInterruptModeration(cq, 0, 0);
	CHECK(more(watch), "NDK-97 off: what it kept quiet about is told");
	drain(cq);
}

static void test(struct io *io)
{
	BOOLEAN joined = io_pair(io, &plain, SIZE);
	CHECK(joined, "NDK-37 two ends with queues");
	if (joined) {
		arming(io);
		rearming(io);
		solicited(io);
		rearming_solicited(io);
		due(io);
		storm(io);
		resizing(io);
		moderating(io);
	}
	io_unpair(io);
}

IO_DRIVER(test)
