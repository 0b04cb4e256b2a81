/* SPDX-License-Identifier: MIT */
/*
 * ndk_mr_torture.c: eight workers register, deregister, fast-register, bind and invalidate memory
 * while they read and write each other's, at random, with a model that knows what must be
 * accessible.
 *
 * Each worker owns three regions: one registered normally, one by fast registers, one through a
 * window. Only the owner changes a region; its model's `version` is odd meanwhile. Everybody reads
 * and writes: a request during which the version stayed the same and even must do what the model
 * says: succeed, and a read finds what the worker wrote last; or be refused. When a region has been
 * closed the owner fills it, waits, and finds every byte as it was (NDK-50, DESIGN.md decision 7).
 * A refused request breaks its connection: the worker makes another.
 *
 * On a fabric (verbs) a fast registration or a window is for the peer of the connection that made
 * it, its owner here, and ends with that connection. A request whose peer is gone need not come
 * back by itself there: the worker flushes.
 *
 * The seed is -DSEED=N; -DROUNDS=N requests of each worker.
 */
#include "../torture/torture.h"
#include "ndk_io.h"

#ifndef ROUNDS
#define ROUNDS 200
#endif

#define WORKERS     8
#define TAG         'oTdN'
#define BIG         (8 * 80 * 1024) /* bytes of a region; a worker writes its eighth */
#define PART        (BIG / WORKERS)
#define PAGES       (BIG / PAGE_SIZE)
#define PATIENCE_MS 30000

enum kind { NORMAL, FAST, WINDOW, KINDS };

struct region {
	enum kind kind;
	PUCHAR data;
	PMDL mdl;
	NDK_MR *mr;
	NDK_MW *mw;
	NDK_LOGICAL_ADDRESS *pages;
	volatile LONG64 version; /* odd: being changed */
	/* the model: valid while the version is even and the same */
	volatile BOOLEAN open, may_read, may_write;
	volatile UINT32 token;
	volatile ULONG64 base; /* what peers call the first byte */
};

struct worker {
	ULONG number;
	RANDOM random;
	NDK_CQ *cq[2]; /* active, passive */
	NDK_QP *qp[2];
	NDK_CONNECTOR *connector[2];
	KEVENT rung;
	volatile LONG gone;
	struct region regions[KINDS];
	struct memory own;                    /* what it writes from and reads to */
	UCHAR wrote[WORKERS][KINDS];          /* last value in its part */
	LONG64 wrote_version[WORKERS][KINDS]; /* -1: none */
	ULONG broken, refused, changes, failures;
};

static struct io io;
static BOOLEAN fabric;
static NDK_PD *pd[2];
static NDK_LISTENER *listener;
static SOCKADDR_INET listens;
static struct worker workers[WORKERS];
static volatile LONG wrong;
static volatile LONG64 requests, leaked;

static void complain(const char *what, ULONG a, ULONG64 b)
{
	if (InterlockedIncrement(&wrong) <= 10)
		DbgPrint("FAIL %s (%u, 0x%I64x)\n", what, a, b);
}

/* ---- Connections ---- */

static VOID NTAPI on_incoming(PVOID context, NDK_CONNECTOR *connector)
{
	UCHAR data[64];
	ULONG length = sizeof data;
	UNREFERENCED_PARAMETER(context);
	NTSTATUS status =
		connector->Dispatch->NdkGetConnectionData(connector, NULL, NULL, data, &length);
	if (!NT_SUCCESS(status) || data[0] >= WORKERS) {
		complain("NdkGetConnectionData", data[0], (ULONG)status);
		return;
	}
	workers[data[0]].connector[1] = connector;
	KeSetEvent(&workers[data[0]].rung, 0, FALSE);
}

static BOOLEAN make_qps(struct worker *w)
{
	for (int i = 0; i < 2; i++)
		w->qp[i] = MAKE(NDK_QP, pd[i]->Dispatch->NdkCreateQp, pd[i], w->cq[i], w->cq[i], w,
				4, 16, 1, 1, 0);
	return w->qp[0] && w->qp[1];
}

static VOID NTAPI on_gone(PVOID context)
{
	InterlockedExchange(context, 1);
}

/* Both ends by one thread: connect, accept, complete. */
static BOOLEAN join(struct worker *w)
{
	struct call active, passive;
	UCHAR data[4] = {(UCHAR)w->number};
	LARGE_INTEGER limit = check_ms(PATIENCE_MS);
	NDK_ADAPTER *a = io.a.adapter;
	if (!make_qps(w))
		return FALSE;
	KeClearEvent(&w->rung);
	w->connector[1] = NULL;
	w->gone = 0;
	w->connector[0] = MAKE(NDK_CONNECTOR, a->Dispatch->NdkCreateConnector, a);
	call_begin(&active);
	call_begin(&passive);
	NTSTATUS status = w->connector[0]->Dispatch->NdkConnect(
		w->connector[0], w->qp[0], (const SOCKADDR *)&io.a.local,
		io_address_size(&io.a.local), (const SOCKADDR *)&listens, io_address_size(&listens),
		1, 1, data, sizeof data, call_requested, &active);
	if (status != STATUS_PENDING ||
	    KeWaitForSingleObject(&w->rung, Executive, KernelMode, FALSE, &limit)) {
		complain("connect", w->number, (ULONG)status);
		return FALSE;
	}
	NTSTATUS accept = w->connector[1]->Dispatch->NdkAccept(
		w->connector[1], w->qp[1], 1, 1, NULL, 0, NULL, NULL, call_requested, &passive);
	status = call_end(&active, status);
	if (NT_SUCCESS(status))
		status = WAIT(w->connector[0]->Dispatch->NdkCompleteConnect, w->connector[0],
			      on_gone, (PVOID)&w->gone);
	accept = call_end(&passive, accept);
	if (NT_SUCCESS(status) && NT_SUCCESS(accept))
		return TRUE;
	complain("accept", (ULONG)accept, (ULONG)status);
	return FALSE;
}

static void part(struct worker *w)
{
	NDK_RESULT_EX result;
	for (int i = 0; i < 2; i++) {
		if (w->connector[i])
			CLOSE(w->connector[i]->Dispatch->NdkCloseConnector, w->connector[i]);
	}
	for (int i = 0; i < 2; i++) {
		CLOSE(w->qp[i]->Dispatch->NdkCloseQp, w->qp[i]);
		while (w->cq[i]->Dispatch->NdkGetCqResultsEx(w->cq[i], &result, 1))
			;
	}
}

/* The next completion of an end. */
static NTSTATUS poll(struct worker *w, int end)
{
	NDK_RESULT_EX result;
	BOOLEAN flushed = FALSE;
	LARGE_INTEGER frequency, start = KeQueryPerformanceCounter(&frequency);
	for (;;) {
		if (w->cq[end]->Dispatch->NdkGetCqResultsEx(w->cq[end], &result, 1))
			return result.Status;
		if (fabric && w->gone && !flushed) {
			w->qp[end]->Dispatch->NdkFlush(w->qp[end]);
			flushed = TRUE;
		}
		LONGLONG passed = KeQueryPerformanceCounter(NULL).QuadPart - start.QuadPart;
		if (passed > frequency.QuadPart * (PATIENCE_MS / 1000)) {
			complain("no completion", w->number, 0);
			return STATUS_IO_TIMEOUT;
		}
		YieldProcessor();
	}
}

/* ---- The owner's side ---- */

static void begin_change(struct region *r)
{
	InterlockedIncrement64(&r->version);
}

static void end_change(struct region *r, BOOLEAN open)
{
	r->open = open;
	InterlockedIncrement64(&r->version);
}

static ULONG op_flags(const struct region *r)
{
	return (r->may_read ? NDK_OP_FLAG_ALLOW_REMOTE_READ : 0) |
	       (r->may_write ? NDK_OP_FLAG_ALLOW_REMOTE_WRITE : 0);
}

static NTSTATUS open_now(struct worker *w, struct region *r)
{
	NDK_QP *qp = w->qp[1];
	NTSTATUS status;
	r->base = (ULONG64)r->data;
	if (r->kind == NORMAL) {
		status = WAIT(r->mr->Dispatch->NdkRegisterMr, r->mr, r->mdl, BIG,
			      (r->may_read ? NDK_MR_FLAG_ALLOW_REMOTE_READ : 0) |
				      (r->may_write ? NDK_MR_FLAG_ALLOW_REMOTE_WRITE : 0));
		r->token = r->mr->Dispatch->NdkGetRemoteTokenFromMr(r->mr);
		return status;
	}
	if (r->kind == FAST) {
		r->base = ((ULONG64)random_below(&w->random, 1 << 30) << 30) + 0x1000 * w->number;
		r->base &= ~0xfffull;
		status = qp->Dispatch->NdkFastRegister(qp, NULL, r->mr, PAGES, r->pages, 0, BIG,
						       (PVOID)r->base, op_flags(r));
		r->token = r->mr->Dispatch->NdkGetRemoteTokenFromMr(r->mr);
	} else {
		status = qp->Dispatch->NdkBind(qp, NULL, r->mr, r->mw, r->data, BIG, op_flags(r));
		r->token = r->mw->Dispatch->NdkGetRemoteTokenFromMw(r->mw);
	}
	return NT_SUCCESS(status) ? poll(w, 1) : status;
}

static NTSTATUS close_now(struct worker *w, struct region *r)
{
	NDK_QP *qp = w->qp[1];
	if (r->kind == NORMAL)
		return WAIT(r->mr->Dispatch->NdkDeregisterMr, r->mr);
	NTSTATUS status = qp->Dispatch->NdkInvalidate(
		qp, NULL, r->kind == FAST ? &r->mr->Header : &r->mw->Header, 0);
	return NT_SUCCESS(status) ? poll(w, 1) : status;
}

/* Not one byte of a closed region changes. */
static void check_quiet(struct worker *w, struct region *r)
{
	RtlFillMemory(r->data, BIG, 0xee);
	KeStallExecutionProcessor(5 + random_below(&w->random, 50));
	ULONG changed = 0;
	for (ULONG i = 0; i < BIG / 8; i++)
		changed += ((volatile ULONG64 *)r->data)[i] != 0xeeeeeeeeeeeeeeeeull;
	if (changed) {
		InterlockedAdd64(&leaked, changed);
		complain("words changed after a region was closed", changed, r->kind);
	}
}

static void change(struct worker *w, struct region *r)
{
	BOOLEAN open = r->open;
	begin_change(r);
	if (!open) {
		r->may_read = random_below(&w->random, 8) != 0;
		r->may_write = random_below(&w->random, 8) != 0;
	}
	NTSTATUS status = open ? close_now(w, r) : open_now(w, r);
	if (!NT_SUCCESS(status))
		complain(open ? "closing a region" : "opening a region", r->kind, (ULONG)status);
	if (open)
		check_quiet(w, r);
	end_change(r, open ? FALSE : NT_SUCCESS(status));
	w->changes++;
}

/* The connection that may carry the owner's requests is gone, or is whole again. */
static BOOLEAN rejoin(struct worker *w)
{
	ULONG kind = fabric ? FAST : KINDS;
	struct region *r = w->regions;
	w->broken++;
	for (ULONG i = kind; i < KINDS; i++)
		if (r[i].open)
			begin_change(&r[i]);
	part(w);
	BOOLEAN joined = join(w);
	for (ULONG i = kind; i < KINDS; i++) {
		if (!r[i].open)
			continue;
		NTSTATUS status = joined ? close_now(w, &r[i]) : STATUS_SUCCESS;
		if (!NT_SUCCESS(status))
			complain("closing a region whose connection is gone", i, (ULONG)status);
		check_quiet(w, &r[i]);
		end_change(&r[i], FALSE);
	}
	return joined;
}

/* ---- The peers' side ---- */

static BOOLEAN all_are(const UCHAR *data, ULONG length, UCHAR value)
{
	for (ULONG i = 0; i < length; i++) {
		if (data[i] != value)
			return FALSE;
	}
	return TRUE;
}

/* What the model says of a request. */
static BOOLEAN allowed(const struct region *r, BOOLEAN own, BOOLEAN write, ULONG64 beyond)
{
	return r->open && !beyond && (own || !fabric || r->kind == NORMAL) &&
	       (write ? r->may_write : r->may_read);
}

static BOOLEAN attack(struct worker *w)
{
	ULONG owner = random_below(&w->random, WORKERS), kind = random_below(&w->random, KINDS);
	struct region *r = &workers[owner].regions[kind];
	LONG64 *known = &w->wrote_version[owner][kind];
	BOOLEAN write = random_below(&w->random, 2);
	/* Most requests are such that the model allows them; others break the connection. */
	BOOLEAN wild = random_below(&w->random, 16) == 0;
	ULONG64 beyond = wild && random_below(&w->random, 2) ? BIG : 0;
	LONG64 version = r->version;
	if (version & 1)
		return TRUE;
	UINT32 token = r->token;
	ULONG64 address = r->base + w->number * PART + beyond;
	BOOLEAN expected = allowed(r, owner == w->number, write, beyond);
	if (r->version != version || (!expected && !wild) || !token)
		return TRUE;

	UCHAR value = (UCHAR)(1 + random_below(&w->random, 100));
	NDK_SGE sge = memory_sge(&w->own, 0, PART);
	NDK_QP *qp = w->qp[0];
	RtlFillMemory(w->own.data, PART, value);
	NTSTATUS status = write ? qp->Dispatch->NdkWrite(qp, NULL, &sge, 1, address, token, 0)
				: qp->Dispatch->NdkRead(qp, NULL, &sge, 1, address, token, 0);
	BOOLEAN posted = NT_SUCCESS(status);
	if (posted)
		status = poll(w, 0);
	BOOLEAN same = r->version == version;
	InterlockedIncrement64(&requests);
	if (same && NT_SUCCESS(status) != expected)
		complain(expected ? "refused what the model allows"
				  : "allowed what the model refuses",
			 kind * 2 + write, (ULONG)status);
	if (same && NT_SUCCESS(status) && !write && *known == version &&
	    !all_are(w->own.data, PART, w->wrote[owner][kind]))
		complain("a read finds other bytes than were written", kind, w->own.data[0]);
	if (write) {
		w->wrote[owner][kind] = value;
		*known = same && NT_SUCCESS(status) ? version : -1;
	}
	if (NT_SUCCESS(status))
		return TRUE;
	w->refused++;
	if (status != STATUS_ACCESS_VIOLATION && status != STATUS_REMOTE_RESOURCES &&
	    !(fabric && w->gone && status == STATUS_CANCELLED))
		complain("an odd status", posted, (ULONG)status);
	return rejoin(w);
}

/* ---- Set-up ---- */

static BOOLEAN make_region(struct worker *w, struct region *r, enum kind kind)
{
	ULONG flags = kind == WINDOW ? NDK_MR_FLAG_ALLOW_LOCAL_WRITE : 0;
	r->kind = kind;
	r->data = ExAllocatePoolWithTag(NonPagedPoolNx, BIG, TAG);
	r->pages = ExAllocatePoolWithTag(NonPagedPoolNx, PAGES * sizeof *r->pages, TAG);
	r->mdl = r->data ? IoAllocateMdl(r->data, BIG, FALSE, FALSE, NULL) : NULL;
	if (!r->mdl || !r->pages)
		return FALSE;
	MmBuildMdlForNonPagedPool(r->mdl);
	for (ULONG i = 0; i < PAGES; i++)
		r->pages[i] = MmGetPhysicalAddress(r->data + i * PAGE_SIZE);
	r->mr = MAKE(NDK_MR, pd[1]->Dispatch->NdkCreateMr, pd[1], kind == FAST);
	if (kind == FAST)
		return NT_SUCCESS(
			WAIT(r->mr->Dispatch->NdkInitializeFastRegisterMr, r->mr, PAGES, TRUE));
	if (kind == NORMAL)
		return TRUE;
	r->mw = MAKE(NDK_MW, pd[1]->Dispatch->NdkCreateMw, pd[1]);
	UNREFERENCED_PARAMETER(w);
	return NT_SUCCESS(WAIT(r->mr->Dispatch->NdkRegisterMr, r->mr, r->mdl, BIG, flags));
}

static void close_region(struct region *r)
{
	if (r->mw)
		CLOSE(r->mw->Dispatch->NdkCloseMw, r->mw);
	if (r->kind == WINDOW)
		WAIT(r->mr->Dispatch->NdkDeregisterMr, r->mr);
	CLOSE(r->mr->Dispatch->NdkCloseMr, r->mr);
	IoFreeMdl(r->mdl);
	ExFreePoolWithTag(r->data, TAG);
	ExFreePoolWithTag(r->pages, TAG);
}

static BOOLEAN make_worker(struct worker *w, ULONG number)
{
	w->number = number;
	random_start(&w->random, number);
	KeInitializeEvent(&w->rung, SynchronizationEvent, FALSE);
	RtlFillMemory(w->wrote_version, sizeof w->wrote_version, 0xff);
	w->cq[0] = MAKE(NDK_CQ, io.a.adapter->Dispatch->NdkCreateCq, io.a.adapter, 64, end_notified,
			w, NULL);
	w->cq[1] = MAKE(NDK_CQ, io.b.adapter->Dispatch->NdkCreateCq, io.b.adapter, 64, end_notified,
			w, NULL);
	if (!memory_make(&w->own, pd[0], PART, NDK_MR_FLAG_ALLOW_LOCAL_WRITE))
		return FALSE;
	for (ULONG kind = 0; kind < KINDS; kind++) {
		if (!make_region(w, &w->regions[kind], (enum kind)kind))
			return FALSE;
	}
	return join(w);
}

static VOID NTAPI work(PVOID context)
{
	struct worker *w = context;
	BOOLEAN joined = TRUE;
	for (ULONG round = 0; round < ROUNDS && joined && wrong < 10; round++) {
		if (random_below(&w->random, 4) == 0)
			change(w, &w->regions[random_below(&w->random, KINDS)]);
		else
			joined = attack(w);
	}
	for (ULONG kind = 0; kind < KINDS && joined; kind++) {
		if (w->regions[kind].open)
			change(w, &w->regions[kind]);
	}
}

static BOOLEAN listen(void)
{
	NDK_ADAPTER *b = io.b.adapter;
	ULONG size = sizeof listens;
	listener = MAKE(NDK_LISTENER, b->Dispatch->NdkCreateListener, b, on_incoming, NULL);
	return NT_SUCCESS(WAIT(listener->Dispatch->NdkListen, listener,
			       (const SOCKADDR *)&io.b.local, io_address_size(&io.b.local))) &&
	       NT_SUCCESS(listener->Dispatch->NdkGetLocalAddress(listener, (SOCKADDR *)&listens,
								 &size));
}

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	PVOID threads[WORKERS];
	ULONG broken = 0, refused = 0, changes = 0;
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	if (!io_open(&io))
		return STATUS_UNSUCCESSFUL;
	fabric = !io_is_loopback(&io);
	pd[0] = MAKE(NDK_PD, io.a.adapter->Dispatch->NdkCreatePd, io.a.adapter);
	pd[1] = MAKE(NDK_PD, io.b.adapter->Dispatch->NdkCreatePd, io.b.adapter);
	BOOLEAN made = listen();
	for (ULONG i = 0; i < WORKERS; i++)
		made = made && make_worker(&workers[i], i);
	CHECK(made, "eight workers with three regions each");
	for (ULONG i = 0; i < WORKERS; i++)
		threads[i] = check_thread(work, &workers[i]);
	for (ULONG i = 0; i < WORKERS; i++) {
		check_join(threads[i]);
		broken += workers[i].broken;
		refused += workers[i].refused;
		changes += workers[i].changes;
	}
	for (ULONG i = 0; i < WORKERS; i++) {
		struct worker *w = &workers[i];
		part(w);
		for (ULONG kind = 0; kind < KINDS; kind++)
			close_region(&w->regions[kind]);
		memory_close(&w->own);
		CLOSE(w->cq[0]->Dispatch->NdkCloseCq, w->cq[0]);
		CLOSE(w->cq[1]->Dispatch->NdkCloseCq, w->cq[1]);
	}
	CLOSE(listener->Dispatch->NdkCloseListener, listener);
	CLOSE(pd[0]->Dispatch->NdkClosePd, pd[0]);
	CLOSE(pd[1]->Dispatch->NdkClosePd, pd[1]);
	io_close(&io);
	DbgPrint("seed %u: %I64d requests, %u refused, %u connections anew, %u changes, %I64d "
		 "words changed after a close\n",
		 SEED, requests, refused, broken, changes, leaked);
	CHECK(!leaked, "NDK-50 not one byte changes after a deregistration or invalidation");
	CHECK(!wrong && changes && requests,
	      "NDK-85 all at once, on objects of its own: the model is right");
	return check_result();
}
