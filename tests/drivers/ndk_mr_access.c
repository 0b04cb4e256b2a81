/* SPDX-License-Identifier: MIT */
/*
 * ndk_mr_access.c: what peers can reach, and what they cannot: pages in any order, any base
 * address, stale tokens, other protection domains, windows and what they were bound to, closes.
 * NDK-50, NDK-83, NDK-122..125, NDK-128, NDK-131, NDK-133, DEF-92, DEF-96. -DSTRICT: with
 * --strict=ndk-tokens.
 */
#include "ndk_io.h"

#define PAGES 8
#define SIZE  (PAGES * PAGE_SIZE)
#define TAG   'aMdN'

static struct io io;
static PUCHAR data; /* the passive side's, under the tests' own regions */
static PMDL mdl;

/* A write of `length` bytes by the peer; its completion's status. */
static NTSTATUS poke(UINT32 token, ULONG64 address, ULONG length)
{
	return io_write(&io.x, &io.mx, 0, length, address, token, 0, NULL) == STATUS_SUCCESS
		       ? io_status(io.x.e.cq)
		       : STATUS_UNSUCCESSFUL;
}

/* It is refused, and nothing changes. The connection breaks. */
static BOOLEAN denied(UINT32 token, ULONG64 address, ULONG length, NTSTATUS expected)
{
	RtlFillMemory(data, SIZE, 0xee);
	NTSTATUS status = poke(token, address, length);
	ULONG changed = 0;
	for (ULONG i = 0; i < SIZE; i++)
		changed += data[i] != 0xee;
	return status == expected && !changed;
}

static BOOLEAN again(void)
{
	io_unpair(&io);
	return io_pair(&io, &plain, SIZE);
}

static BOOLEAN refused(UINT32 token, ULONG64 address, ULONG length, NTSTATUS expected)
{
	BOOLEAN right = denied(token, address, length, expected);
	return again() && right;
}

static NTSTATUS own(struct io_end *end, NTSTATUS posted)
{
	return NT_SUCCESS(posted) ? io_status(end->e.cq) : posted;
}

/* The two ends are made anew after each refusal, and with them the domains: so each test makes its
 * own region. */
static NDK_MR *region(BOOLEAN fast)
{
	NDK_PD *pd = io.y.e.pd;
	NDK_MR *mr = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, fast);
	if (fast)
		WAIT(mr->Dispatch->NdkInitializeFastRegisterMr, mr, PAGES, TRUE);
	else
		WAIT(mr->Dispatch->NdkRegisterMr, mr, mdl, SIZE, NDK_MR_FLAG_ALLOW_REMOTE_WRITE);
	return mr;
}

static UINT32 token_of(NDK_MR *mr)
{
	return mr->Dispatch->NdkGetRemoteTokenFromMr(mr);
}

/* ---- Pages in any order, any base (NDK-125, DEF-92) ---- */

static NTSTATUS fast_register(NDK_MR *mr, const ULONG *order, ULONG count, ULONG fbo, ULONG length,
			      ULONG64 base)
{
	NDK_QP *qp = io.y.e.qp;
	NDK_LOGICAL_ADDRESS pages[PAGES];
	for (ULONG i = 0; i < count; i++)
		pages[i] = MmGetPhysicalAddress(data + order[i] * PAGE_SIZE);
	return own(&io.y, qp->Dispatch->NdkFastRegister(
				  qp, NULL, mr, count, pages, fbo, length, (PVOID)base,
				  NDK_OP_FLAG_ALLOW_REMOTE_READ | NDK_OP_FLAG_ALLOW_REMOTE_WRITE));
}

static NTSTATUS invalidate(NDK_OBJECT_HEADER *object)
{
	return own(&io.y, io.y.e.qp->Dispatch->NdkInvalidate(io.y.e.qp, NULL, object, 0));
}

static void any_order(void)
{
	static ULONG order[PAGES] = {5, 6, 7, 0, 3, 1, 2, 4};
	static const ULONG64 bases[] = {0x1000, 0xdeadbeef00000000, 0xfffffffffffff000};
	NDK_MR *mr = region(TRUE);
	ULONG wrong = 0, rounds = 3;
	if (!io_is_loopback(&io)) { /* a device wants pages that lie together, and no end of 2^64 */
		for (ULONG i = 0; i < PAGES; i++)
			order[i] = i;
		rounds = 2;
	}
	for (ULONG i = 0; i < SIZE; i++)
		io.mx.data[i] = (UCHAR)(i * 7 + i / 251);
	for (ULONG k = 0; k < rounds; k++) {
		ULONG fbo = k * 100, length = SIZE - 2 * fbo;
		ULONG64 base = bases[k] + fbo; /* the last one goes past 2^64 */
		RtlZeroMemory(data, SIZE);
		wrong += fast_register(mr, order, PAGES, fbo, length, base) != STATUS_SUCCESS;
		wrong += poke(token_of(mr), base, length) != STATUS_SUCCESS;
		for (ULONG i = 0; i < length; i++) {
			ULONG at = fbo + i;
			wrong += data[order[at / PAGE_SIZE] * PAGE_SIZE + at % PAGE_SIZE] !=
				 io.mx.data[i];
		}
		wrong += invalidate(&mr->Header) != STATUS_SUCCESS;
	}
	CHECK(!wrong, "NDK-125 DEF-92 pages in any order at any base");
	CHECK(fast_register(mr, order, 3, 0, 2 * PAGE_SIZE + 5, 0x7000) == STATUS_SUCCESS &&
		      poke(token_of(mr), 0x7000 + 2 * PAGE_SIZE, 5) == STATUS_SUCCESS,
	      "NDK-125 fewer pages and bytes than initialised");
	UINT32 token = token_of(mr);
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
	CHECK(refused(token, 0x7000, 1, STATUS_ACCESS_VIOLATION), "NDK-128 a close invalidates");

	mr = region(TRUE);
	fast_register(mr, order, 3, 0, 2 * PAGE_SIZE + 5, 0x7000);
	token = token_of(mr);
	struct call call;
	call_begin(&call);
	NTSTATUS status = mr->Dispatch->NdkCloseMr(&mr->Header, call_closed, &call);
	call_end(&call, status);
	CHECK(refused(token, 0x7000, 1, STATUS_ACCESS_VIOLATION), "NDK-128 its token is dead");
}

/* ---- Tokens ---- */

static void stale_tokens(void)
{
	ULONG64 address = (ULONG64)data;
	NDK_MR *mr = region(FALSE);
	UINT32 first = token_of(mr);
	CHECK(poke(first, address, SIZE) == STATUS_SUCCESS, "NDK-49 a registered region is there");
	WAIT(mr->Dispatch->NdkDeregisterMr, mr);
	WAIT(mr->Dispatch->NdkRegisterMr, mr, mdl, SIZE, NDK_MR_FLAG_ALLOW_REMOTE_WRITE);
	UINT32 second = token_of(mr);
	CHECK(first != second && poke(second, address, SIZE) == STATUS_SUCCESS,
	      "NDK-123 registered again, with another token");
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
	CHECK(refused(second, address, 1, STATUS_ACCESS_VIOLATION), "NDK-50 a stale token");

	mr = region(FALSE);
	second = token_of(mr);
	NDK_MR *closing = mr; /* its domain goes with the ends */
	CHECK(second != first, "NDK-123 tokens do not come back");
	CLOSE(closing->Dispatch->NdkCloseMr, closing);
	CHECK(refused(first, address, SIZE, STATUS_ACCESS_VIOLATION),
	      "NDK-123 the first stays stale");
}

static void foreign(void)
{
	UINT32 privileged;
	NDK_PD *pd = MAKE(NDK_PD, io.b.adapter->Dispatch->NdkCreatePd, io.b.adapter);
	NDK_MR *mr = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, FALSE);
	WAIT(mr->Dispatch->NdkRegisterMr, mr, mdl, SIZE, NDK_MR_FLAG_ALLOW_REMOTE_WRITE);
	CHECK(refused(token_of(mr), (ULONG64)data, 1, STATUS_ACCESS_VIOLATION),
	      "NDK-109a a region of another protection domain");
	WAIT(mr->Dispatch->NdkDeregisterMr, mr);
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
	CLOSE(pd->Dispatch->NdkClosePd, pd);
	io.y.e.pd->Dispatch->NdkGetPrivilegedMemoryRegionToken(io.y.e.pd, &privileged);
	CHECK(refused(privileged, (ULONG64)MmGetPhysicalAddress(data).QuadPart, 1,
		      STATUS_ACCESS_VIOLATION),
	      "NDK-133 the privileged token is not for peers");
}

/* NDK-124: with the strict switch an old token is dead although the region is registered again. */
static void turning_tokens(void)
{
	static const ULONG order[1] = {0};
	NDK_MR *mr = region(TRUE);
	fast_register(mr, order, 1, 0, PAGE_SIZE, 0x1000);
	UINT32 first = token_of(mr);
	CHECK(poke(first, 0x1000, 8) == STATUS_SUCCESS, "NDK-65 fast-registered");
	invalidate(&mr->Header);
	fast_register(mr, order, 1, 0, PAGE_SIZE, 0x1000);
	UINT32 second = token_of(mr);
#ifdef STRICT
	CHECK(second != first && (second & ~0xffu) == (first & ~0xffu),
	      "NDK-124 the low 8 bits change");
	CHECK(poke(second, 0x1000, 8) == STATUS_SUCCESS, "NDK-124 the new token");
#else
	CHECK(second == first, "DEF-1 the token stays");
	invalidate(&mr->Header);
#endif
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
	CHECK(refused(first, 0x1000, 8, STATUS_ACCESS_VIOLATION), "NDK-124 the old one");
}

/* ---- Windows ---- */

static NTSTATUS bind(NDK_MR *mr, NDK_MW *mw, ULONG64 address, ULONG length)
{
	return own(&io.y, io.y.e.qp->Dispatch->NdkBind(io.y.e.qp, NULL, mr, mw, (PVOID)address,
						       length, NDK_OP_FLAG_ALLOW_REMOTE_WRITE));
}

/* A window of a fast register dies with the registration: not even its bytes of the next one. */
static void window_of_fast(void)
{
	static const ULONG order[2] = {4, 5}, other[2] = {1, 2};
	NDK_PD *pd = io.y.e.pd;
	NDK_MR *mr = region(TRUE);
	NDK_MW *mw = MAKE(NDK_MW, pd->Dispatch->NdkCreateMw, pd);
	fast_register(mr, order, 2, 0, 2 * PAGE_SIZE, 0x10000);
	CHECK(bind(mr, mw, 0x10800, PAGE_SIZE) == STATUS_SUCCESS,
	      "NDK-64 a window of a fast register");
	UINT32 token = mw->Dispatch->NdkGetRemoteTokenFromMw(mw);
	RtlZeroMemory(data, SIZE);
	RtlFillMemory(io.mx.data, SIZE, 0x77);
	CHECK(poke(token, 0x10800, PAGE_SIZE) == STATUS_SUCCESS &&
		      data[4 * PAGE_SIZE + 0x800] == 0x77 && data[4 * PAGE_SIZE + 0x7ff] == 0 &&
		      data[5 * PAGE_SIZE + 0x7ff] == 0x77 && data[5 * PAGE_SIZE + 0x800] == 0,
	      "NDK-127 exactly its bytes");
	CHECK(invalidate(&mr->Header) == STATUS_SUCCESS &&
		      fast_register(mr, other, 2, 0, 2 * PAGE_SIZE, 0x10000) == STATUS_SUCCESS,
	      "NDK-130 the region is registered anew");
	CLOSE(mw->Dispatch->NdkCloseMw, mw);
	CLOSE(mr->Dispatch->NdkCloseMr, mr);

	mr = region(TRUE);
	mw = MAKE(NDK_MW, pd->Dispatch->NdkCreateMw, pd);
	fast_register(mr, order, 2, 0, 2 * PAGE_SIZE, 0x10000);
	bind(mr, mw, 0x10800, PAGE_SIZE);
	token = mw->Dispatch->NdkGetRemoteTokenFromMw(mw);
	invalidate(&mr->Header);
	fast_register(mr, other, 2, 0, 2 * PAGE_SIZE, 0x10000);
	CHECK(denied(token, 0x10800, 1, STATUS_ACCESS_VIOLATION),
	      "NDK-131 the window does not see the new registration");
	CLOSE(mw->Dispatch->NdkCloseMw, mw);
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
	again();
}

/* NDK-124: a window's token does not come back, however often it is bound. */
#define BINDS 1000

static void window_tokens(void)
{
	static UINT32 tokens[BINDS];
	NDK_MR *mr = region(FALSE);
	NDK_MW *mw = MAKE(NDK_MW, io.y.e.pd->Dispatch->NdkCreateMw, io.y.e.pd);
	ULONG bound = 0, repeated = 0, near = 0;
	for (ULONG i = 0; i < BINDS; i++) {
		bound += bind(mr, mw, (ULONG64)data, SIZE) == STATUS_SUCCESS;
		tokens[i] = mw->Dispatch->NdkGetRemoteTokenFromMw(mw);
		for (ULONG k = 0; k < i; k++)
			repeated += tokens[k] == tokens[i];
		near += i && tokens[i] >> 8 == tokens[i - 1] >> 8;
		if (i + 1 < BINDS)
			bound += invalidate(&mw->Header) == STATUS_SUCCESS;
	}
	CHECK(bound == 2 * BINDS - 1 && !repeated && near < 4,
	      "NDK-124 a thousand binds of a window, a thousand tokens, not next to each other");
	CHECK(poke(tokens[BINDS - 1], (ULONG64)data, 8) == STATUS_SUCCESS, "NDK-131 the last one");
	CHECK(denied(tokens[BINDS - 1 - 256], (ULONG64)data, 8, STATUS_ACCESS_VIOLATION),
	      "NDK-124 the one of 256 binds ago opens nothing");
	CLOSE(mw->Dispatch->NdkCloseMw, mw);
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
	again();
}

/* NDK-83: a region that a window is bound to closes after the window. */
static void region_before_window(void)
{
	struct call region_closed, window_closed;
	NDK_PD *pd = io.y.e.pd;
	NDK_MR *mr = region(FALSE);
	NDK_MW *mw = MAKE(NDK_MW, pd->Dispatch->NdkCreateMw, pd);
	CHECK(bind(mr, mw, (ULONG64)data, PAGE_SIZE) == STATUS_SUCCESS, "NDK-64 bound");
	UINT32 token = mw->Dispatch->NdkGetRemoteTokenFromMw(mw), whole = token_of(mr);
	call_begin(&region_closed);
	call_begin(&window_closed);
	NTSTATUS status = mr->Dispatch->NdkCloseMr(&mr->Header, call_closed, &region_closed);
	check_sleep(10);
	CHECK(status == STATUS_PENDING && !KeReadStateEvent(&region_closed.done),
	      "NDK-83 the region's close waits for the window's");
	CHECK(!io_is_loopback(&io) || denied(whole, (ULONG64)data, 1, STATUS_ACCESS_VIOLATION),
	      "NDK-128 nobody gets at the bytes of a region whose close has begun");
	status = mw->Dispatch->NdkCloseMw(&mw->Header, call_closed, &window_closed);
	call_end(&window_closed, status);
	call_end(&region_closed, STATUS_PENDING);
	again();
	CHECK(refused(token, (ULONG64)data, 1, STATUS_ACCESS_VIOLATION), "NDK-128 both are gone");
}

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	if (!io_open(&io) || !io_pair(&io, &plain, SIZE))
		return STATUS_UNSUCCESSFUL;
	data = ExAllocatePoolWithTag(NonPagedPoolNx, SIZE, TAG);
	mdl = IoAllocateMdl(data, SIZE, FALSE, FALSE, NULL);
	MmBuildMdlForNonPagedPool(mdl);
	any_order();
	stale_tokens();
	foreign();
	turning_tokens();
	window_of_fast();
	if (io_is_loopback(&io)) /* a device has 256 for a window */
		window_tokens();
	region_before_window();
	io_unpair(&io);
	IoFreeMdl(mdl);
	ExFreePoolWithTag(data, TAG);
	io_close(&io);
	return check_result();
}
