/* SPDX-License-Identifier: MIT */
/*
 * rule_ndk_mr.c: breaks one rule of NDK's memory regions and objects (-DCASE=n), or none (0).
 * VER-57..63, NDK-76, NDK-126, NDK-129, NDK-131, DEF-93. The cases that need a pending request run
 * with
 * --ndk-complete=pending.
 */
#include "ndk_io.h"

#ifndef CASE
#define CASE 0
#endif
#define TAG 'rKdN'

static struct io io;
static PUCHAR data;
static PMDL mdl;
static NDK_PD *pd;
static NDK_MR *mr;

CHECK_HELPER NTSTATUS add(ULONG flags)
{
	return WAIT(mr->Dispatch->NdkRegisterMr, mr, mdl, PAGE_SIZE, flags);
}

CHECK_HELPER NTSTATUS take(void)
{
	return WAIT(mr->Dispatch->NdkDeregisterMr, mr);
}

/* A fast-register region instead of the normal one, initialised for two pages. */
CHECK_HELPER void make_fast(void)
{
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
	mr = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, TRUE);
	CHECK(NT_SUCCESS(WAIT(mr->Dispatch->NdkInitializeFastRegisterMr, mr, 2, TRUE)),
	      "initialised");
}

CHECK_HELPER VOID NTAPI ignore(PVOID context, NTSTATUS status)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(status);
}

CHECK_HELPER VOID NTAPI ignore_close(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
}

/* ---- Objects ---- */

#if CASE == 1
static NTSTATUS broken(void)
{
	return take() == STATUS_INVALID_DEVICE_STATE;
}
#elif CASE == 2
static NTSTATUS broken(void)
{
	return NT_SUCCESS(add(0)) && NT_SUCCESS(take()) && take() == STATUS_INVALID_DEVICE_STATE;
}
#elif CASE == 3
static NTSTATUS broken(void)
{
	make_fast();
	return take() == STATUS_INVALID_PARAMETER;
}
#elif CASE == 4
static NTSTATUS broken(void)
{
	NDK_QP *qp = io.x.e.qp;
	BOOLEAN right =
		NT_SUCCESS(add(0)) &&
		qp->Dispatch->NdkInvalidate(qp, NULL, &mr->Header, 0) == STATUS_INVALID_PARAMETER;
	return NT_SUCCESS(take()) && right;
}
#elif CASE == 6
static NTSTATUS broken(void)
{
	PMDL locked = IoAllocateMdl(data, PAGE_SIZE, FALSE, FALSE, NULL);
	MmProbeAndLockPages(locked, KernelMode, IoModifyAccess);
	BOOLEAN right = NT_SUCCESS(WAIT(mr->Dispatch->NdkRegisterMr, mr, locked, PAGE_SIZE, 0));
	MmUnlockPages(locked);
	right = NT_SUCCESS(take()) && right;
	IoFreeMdl(locked);
	return right;
}
#elif CASE == 7
static NTSTATUS broken(void)
{
	BOOLEAN right = NT_SUCCESS(add(0));
	IoFreeMdl(mdl);
	mdl = NULL;
	return NT_SUCCESS(take()) && right;
}
#elif CASE == 8
static NTSTATUS broken(void)
{
	BOOLEAN right = NT_SUCCESS(add(0));
	ExFreePoolWithTag(data, TAG);
	data = NULL;
	return NT_SUCCESS(take()) && right;
}
#elif CASE == 9
static NTSTATUS broken(void)
{
	struct call call;
	KIRQL irql;
	call_begin(&call);
	KeRaiseIrql(DISPATCH_LEVEL, &irql);
	NTSTATUS status = mr->Dispatch->NdkRegisterMr(mr, mdl, PAGE_SIZE, 0, call_requested, &call);
	mdl->ByteCount /= 2;
	KeLowerIrql(irql);
	status = call_end(&call, status);
	mdl->ByteCount *= 2;
	return NT_SUCCESS(status) && NT_SUCCESS(take());
}
#elif CASE == 40 || CASE == 41 /* the memory of a fast register, and what lies beside it */
static BOOLEAN fast_register(const PVOID *where, ULONG count, SIZE_T length)
{
	NDK_QP *qp = io.x.e.qp;
	NDK_RESULT_EX result;
	NDK_LOGICAL_ADDRESS pages[2];
	for (ULONG i = 0; i < count; i++)
		pages[i] = MmGetPhysicalAddress(PAGE_ALIGN(where[i]));
	make_fast();
	return NT_SUCCESS(qp->Dispatch->NdkFastRegister(qp, NULL, mr, count, pages, 0, length, NULL,
							NDK_OP_FLAG_ALLOW_REMOTE_READ)) &&
	       NT_SUCCESS(end_poll(&io.x.e, &result));
}

static NTSTATUS broken(void)
{
	NDK_QP *qp = io.x.e.qp;
	NDK_RESULT_EX result;
	PVOID first = ExAllocatePoolWithTag(NonPagedPoolNx, 64, TAG);
	PVOID second = ExAllocatePoolWithTag(NonPagedPoolNx, 64, TAG);
	PVOID beside = BYTE_OFFSET(first) > BYTE_OFFSET(second) ? first : second;
	PVOID where[2] = {data, beside};
	BOOLEAN right = fast_register(where, 2, PAGE_SIZE + BYTE_OFFSET(beside));
	if (CASE == 40) {
		ExFreePoolWithTag(data, TAG);
		data = NULL;
	} else {
		ExFreePoolWithTag(beside, TAG);
	}
	right = right && NT_SUCCESS(qp->Dispatch->NdkInvalidate(qp, NULL, &mr->Header, 0)) &&
		NT_SUCCESS(end_poll(&io.x.e, &result));
	ExFreePoolWithTag(beside == first ? second : first, TAG);
	if (CASE == 40)
		ExFreePoolWithTag(beside, TAG);
	return right && BYTE_OFFSET(beside);
}
#elif CASE == 64 || CASE == 65 || CASE == 66
/* Objects that do not go together: a region of another domain, a queue whose close has begun, a
 * queue pair that is none. */
static NTSTATUS broken(void)
{
	NDK_ADAPTER *a = io.a.adapter;
	NDK_PD *other = MAKE(NDK_PD, a->Dispatch->NdkCreatePd, a);
	NDK_CQ *cq = MAKE(NDK_CQ, a->Dispatch->NdkCreateCq, a, 8, NULL, NULL, NULL);
	NDK_QP *qp = MAKE(NDK_QP, pd->Dispatch->NdkCreateQp, pd, cq, cq, NULL, 1, 1, 1, 1, 0), *no;
	NDK_MW *mw = MAKE(NDK_MW, other->Dispatch->NdkCreateMw, other);
	NDK_CONNECTOR *c = MAKE(NDK_CONNECTOR, a->Dispatch->NdkCreateConnector, a);
	const SOCKADDR *to = (const SOCKADDR *)&io.door.address;
	struct call closing, unused;
	BOOLEAN right = NT_SUCCESS(add(0));
	call_begin(&closing);
	call_begin(&unused);
	NTSTATUS status = STATUS_PENDING;
	if (CASE == 65)
		status = cq->Dispatch->NdkCloseCq(&cq->Header, call_closed, &closing);
	right = right && status == STATUS_PENDING &&
		STATUS_INVALID_PARAMETER ==
			(CASE == 64 ? io.x.e.qp->Dispatch->NdkBind(io.x.e.qp, NULL, mr, mw, data, 8,
								   NDK_OP_FLAG_ALLOW_REMOTE_READ)
			 : CASE == 65
				 ? pd->Dispatch->NdkCreateQp(pd, cq, cq, NULL, 1, 1, 1, 1, 0,
							     call_created, &unused, &no)
				 : WAIT(c->Dispatch->NdkConnect, c, (NDK_QP *)cq,
					(const SOCKADDR *)&io.a.local, io_address_size(&io.a.local),
					to, io_address_size(&io.a.local), 1, 1, NULL, 0));
	CLOSE(c->Dispatch->NdkCloseConnector, c);
	CLOSE(mw->Dispatch->NdkCloseMw, mw);
	CLOSE(qp->Dispatch->NdkCloseQp, qp);
	if (CASE == 65)
		call_end(&closing, status);
	else
		CLOSE(cq->Dispatch->NdkCloseCq, cq);
	CLOSE(other->Dispatch->NdkClosePd, other);
	return NT_SUCCESS(take()) && right;
}
#elif CASE == 43 /* NDK-64, NDK-127: remote write to a region that is not written locally either   \
		  */
static NTSTATUS broken(void)
{
	NDK_QP *qp = io.x.e.qp;
	NDK_RESULT_EX result;
	NDK_MW *mw = MAKE(NDK_MW, pd->Dispatch->NdkCreateMw, pd);
	BOOLEAN right =
		NT_SUCCESS(add(NDK_MR_FLAG_ALLOW_REMOTE_READ)) &&
		qp->Dispatch->NdkBind(qp, NULL, mr, mw, data, 10, NDK_OP_FLAG_ALLOW_REMOTE_WRITE) ==
			STATUS_ACCESS_VIOLATION &&
		NT_SUCCESS(qp->Dispatch->NdkBind(qp, NULL, mr, mw, data, 10,
						 NDK_OP_FLAG_ALLOW_REMOTE_READ)) &&
		NT_SUCCESS(end_poll(&io.x.e, &result));
	CLOSE(mw->Dispatch->NdkCloseMw, mw);
	return NT_SUCCESS(take()) && right;
}
#elif CASE == 42 /* pages without a virtual address */
static NTSTATUS broken(void)
{
	PHYSICAL_ADDRESS low = {.QuadPart = 0}, high = {.QuadPart = -1};
	PMDL pages = MmAllocatePagesForMdl(low, high, low, 2 * PAGE_SIZE);
	BOOLEAN right = NT_SUCCESS(WAIT(mr->Dispatch->NdkRegisterMr, mr, pages, 2 * PAGE_SIZE, 0));
	MmFreePagesFromMdl(pages);
	right = right && NT_SUCCESS(take());
	ExFreePool(pages);
	return right;
}
#elif CASE == 47 || CASE == 48 /* NDK-129: a posted receive, a send that waits for one */
static NTSTATUS broken(void)
{
	struct memory m;
	BOOLEAN right = memory_make(&m, pd, PAGE_SIZE, NDK_MR_FLAG_ALLOW_LOCAL_WRITE) &&
			(CASE == 47 ? io_receive(&io.x, &m, 0, 8, NULL)
				    : io_send(&io.x, &m, 0, 8, 0, NULL)) == STATUS_SUCCESS;
	memory_close(&m);
	return right;
}
#elif CASE == 12
static KEVENT done;
static volatile LONG tried;

static VOID NTAPI close_adapter(PVOID context)
{
	if (KeGetCurrentIrql() == PASSIVE_LEVEL) {
		io.a.ndk.WskCloseNdkAdapter(io.a.npi.Client, context);
		tried = 1;
	}
	KeSetEvent(&done, 0, FALSE);
}

/* Callbacks come at both levels: until one comes at PASSIVE_LEVEL. */
static NTSTATUS broken(void)
{
	NDK_VERSION version = {1, 2};
	NDK_ADAPTER *adapter;
	KeInitializeEvent(&done, SynchronizationEvent, FALSE);
	if (!NT_SUCCESS(io.a.ndk.WskOpenNdkAdapter(io.a.npi.Client, version, 2, &adapter)))
		return FALSE;
	for (int i = 0; i < 64 && !tried; i++) {
		NDK_PD *own = MAKE(NDK_PD, adapter->Dispatch->NdkCreatePd, adapter);
		own->Dispatch->NdkClosePd(&own->Header, close_adapter, adapter);
		KeWaitForSingleObject(&done, Executive, KernelMode, FALSE, NULL);
	}
	return tried;
}
#elif CASE == 26
/* The adapter is closed while a protection domain is open, which somebody closes later. */
static VOID NTAPI close_late(PVOID context)
{
	NDK_PD *own = context;
	check_sleep(400);
	CLOSE(own->Dispatch->NdkClosePd, own);
}

static NTSTATUS broken(void)
{
	NDK_VERSION version = {1, 2};
	NDK_ADAPTER *adapter;
	if (!NT_SUCCESS(io.a.ndk.WskOpenNdkAdapter(io.a.npi.Client, version, 2, &adapter)))
		return FALSE;
	PVOID thread =
		check_thread(close_late, MAKE(NDK_PD, adapter->Dispatch->NdkCreatePd, adapter));
	io.a.ndk.WskCloseNdkAdapter(io.a.npi.Client, adapter);
	check_join(thread);
	return TRUE;
}
#elif CASE == 13
static NTSTATUS broken(void)
{
	NDK_MR *left = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, FALSE);
	return NT_SUCCESS(WAIT(left->Dispatch->NdkRegisterMr, left, mdl, PAGE_SIZE, 0));
}
#elif CASE == 30 /* more than are looked at together, the last one with the longest text */
static NTSTATUS broken(void)
{
	ULONG made = 0;
	for (ULONG i = 0; i < 70; i++)
		made += MAKE(NDK_MW, pd->Dispatch->NdkCreateMw, pd) != NULL;
	NDK_MR *left = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, TRUE);
	return made == 70 &&
	       NT_SUCCESS(WAIT(left->Dispatch->NdkInitializeFastRegisterMr, left, 16, TRUE));
}
#elif CASE == 14
static NTSTATUS broken(void)
{
	/* A second close while the first waits for the window. */
	NDK_PD *own = MAKE(NDK_PD, io.a.adapter->Dispatch->NdkCreatePd, io.a.adapter);
	NDK_MW *mw = MAKE(NDK_MW, own->Dispatch->NdkCreateMw, own);
	struct call call;
	call_begin(&call);
	NTSTATUS first = own->Dispatch->NdkClosePd(&own->Header, call_closed, &call);
	NTSTATUS second = own->Dispatch->NdkClosePd(&own->Header, ignore_close, NULL);
	CLOSE(mw->Dispatch->NdkCloseMw, mw);
	call_end(&call, first);
	return first == STATUS_PENDING && second == STATUS_SUCCESS;
}
#elif CASE == 15
static NTSTATUS broken(void)
{
	NDK_PD *own = MAKE(NDK_PD, io.a.adapter->Dispatch->NdkCreatePd, io.a.adapter);
	NDK_MW *mw = MAKE(NDK_MW, own->Dispatch->NdkCreateMw, own), *other;
	struct call call, unused;
	call_begin(&call);
	call_begin(&unused);
	NTSTATUS first = own->Dispatch->NdkClosePd(&own->Header, call_closed, &call);
	NTSTATUS used = own->Dispatch->NdkCreateMw(own, call_created, &unused, &other);
	CLOSE(mw->Dispatch->NdkCloseMw, mw);
	call_end(&call, first);
	return used == STATUS_INVALID_DEVICE_STATE;
}
#elif CASE == 16
static NTSTATUS broken(void)
{
	KIRQL irql;
	ULONG size = 0;
	KeRaiseIrql(DISPATCH_LEVEL, &irql);
	NTSTATUS status = io.a.adapter->Dispatch->NdkQueryAdapterInfo(io.a.adapter, NULL, &size);
	KeLowerIrql(irql);
	return status == STATUS_BUFFER_TOO_SMALL;
}
#elif CASE == 17
static NTSTATUS broken(void)
{
	return WAIT(mr->Dispatch->NdkDeregisterMr, (NDK_MR *)pd) == STATUS_INVALID_DEVICE_STATE;
}
#elif CASE == 18
static NTSTATUS broken(void)
{
	PMDL bare = IoAllocateMdl(data, PAGE_SIZE, FALSE, FALSE, NULL);
	NTSTATUS status = WAIT(mr->Dispatch->NdkRegisterMr, mr, bare, PAGE_SIZE, 0);
	IoFreeMdl(bare);
	return status == STATUS_INVALID_PARAMETER;
}
#elif CASE == 19
static NTSTATUS broken(void)
{
	return NT_SUCCESS(add(0)) && add(0) == STATUS_INVALID_DEVICE_STATE && NT_SUCCESS(take());
}

/* ---- Work requests ---- */

#elif CASE == 20 || CASE == 21
static NTSTATUS broken(void)
{
	NDK_QP *qp = io.x.e.qp;
	NDK_RESULT_EX result;
	NDK_LOGICAL_ADDRESS pages[3];
	ULONG count = CASE == 20 ? 3 : 1;
	for (ULONG i = 0; i < 3; i++)
		pages[i] = MmGetPhysicalAddress(data);
	make_fast();
	NTSTATUS status = qp->Dispatch->NdkFastRegister(qp, NULL, mr, count, pages, 0, 100,
							data + (CASE == 20 ? 0 : 7),
							NDK_OP_FLAG_ALLOW_REMOTE_READ);
	if (CASE == 20)
		return status == STATUS_INVALID_PARAMETER;
	if (!NT_SUCCESS(status) || !NT_SUCCESS(end_poll(&io.x.e, &result)))
		return FALSE;
	return NT_SUCCESS(qp->Dispatch->NdkInvalidate(qp, NULL, &mr->Header, 0)) &&
	       NT_SUCCESS(end_poll(&io.x.e, &result));
}
#elif CASE == 22 || CASE == 24
static NTSTATUS broken(void)
{
	NDK_QP *qp = io.x.e.qp;
	NDK_RESULT_EX result;
	NDK_MW *mw = MAKE(NDK_MW, pd->Dispatch->NdkCreateMw, pd);
	BOOLEAN right = NT_SUCCESS(add(NDK_MR_FLAG_ALLOW_LOCAL_WRITE));
	if (CASE == 22)
		right = right && qp->Dispatch->NdkBind(qp, NULL, mr, mw, data + 100, PAGE_SIZE,
						       NDK_OP_FLAG_ALLOW_REMOTE_READ) ==
					 STATUS_INVALID_PARAMETER;
	else
		right = right &&
			NT_SUCCESS(qp->Dispatch->NdkBind(qp, NULL, mr, mw, data + 100, 10,
							 NDK_OP_FLAG_ALLOW_REMOTE_READ)) &&
			NT_SUCCESS(end_poll(&io.x.e, &result)) && take() == STATUS_DEVICE_BUSY;
	CLOSE(mw->Dispatch->NdkCloseMw, mw);
	return NT_SUCCESS(take()) && right;
}
#elif CASE == 28 ||                                                                                \
	CASE == 29 /* NDK-131: a bound window is not bound, a free one not invalidated */
static NTSTATUS broken(void)
{
	NDK_QP *qp = io.x.e.qp;
	NDK_RESULT_EX result;
	NDK_MW *mw = MAKE(NDK_MW, pd->Dispatch->NdkCreateMw, pd);
	BOOLEAN right = NT_SUCCESS(add(NDK_MR_FLAG_ALLOW_LOCAL_WRITE));
	for (ULONG i = 0; i < 2; i++) {
		NTSTATUS status = qp->Dispatch->NdkBind(qp, NULL, mr, mw, data + 100, 10,
							NDK_OP_FLAG_ALLOW_REMOTE_READ);
		right = right && status == (i ? STATUS_INVALID_DEVICE_STATE : STATUS_SUCCESS);
		if (CASE == 29)
			break;
	}
	right = right && NT_SUCCESS(end_poll(&io.x.e, &result));
	for (ULONG i = 0; i < 2; i++) {
		NTSTATUS status = qp->Dispatch->NdkInvalidate(qp, NULL, &mw->Header, 0);
		right = right && status == (i ? STATUS_INVALID_DEVICE_STATE : STATUS_SUCCESS);
		if (CASE == 28)
			break;
	}
	right = right && NT_SUCCESS(end_poll(&io.x.e, &result)) && io_none(io.x.e.cq);
	CLOSE(mw->Dispatch->NdkCloseMw, mw);
	return NT_SUCCESS(take()) && right;
}
#elif CASE == 23
static NTSTATUS broken(void)
{
	NDK_LOGICAL_ADDRESS_MAPPING lam = {0};
	io.a.adapter->Dispatch->NdkReleaseLAM(io.a.adapter, &lam);
	return TRUE;
}

/* ---- A region that a peer writes while it is deregistered ---- */

#elif CASE == 25
#define BIG (8u << 20)

static struct memory from, to;
static struct io pair;

static VOID NTAPI write(PVOID context)
{
	NDK_QP *qp = pair.x.e.qp;
	NDK_SGE sge = memory_sge(&from, 0, BIG);
	UINT32 token = to.mr->Dispatch->NdkGetRemoteTokenFromMr(to.mr);
	UNREFERENCED_PARAMETER(context);
	/* Again and again, until one has found the region gone: then the connection is broken. */
	while (NT_SUCCESS(qp->Dispatch->NdkWrite(qp, NULL, &sge, 1, (ULONG64)to.data, token,
						 NDK_OP_FLAG_SILENT_SUCCESS)))
		;
}

static BOOLEAN written_while_deregistered(void)
{
	ULONG changed = 0;
	if (!io_open(&pair) || !io_pair(&pair, &plain, PAGE_SIZE))
		return FALSE;
	BOOLEAN right = memory_make(&from, pair.x.e.pd, BIG, 0) &&
			memory_make(&to, pair.y.e.pd, BIG, NDK_MR_FLAG_ALLOW_REMOTE_WRITE);
	RtlFillMemory(from.data, BIG, 0x55);
	PVOID thread = check_thread(write, NULL);
	while (*(volatile UCHAR *)to.data != 0x55) /* the first of 128 pieces moves */
		YieldProcessor();
	right = NT_SUCCESS(WAIT(to.mr->Dispatch->NdkDeregisterMr, to.mr)) && right;
	RtlFillMemory(to.data, BIG, 0xee);
	check_join(thread);
	for (ULONG i = 0; i < BIG; i++)
		changed += to.data[i] != 0xee;
	CHECK(!changed, "not one byte changes after the deregistration");
	CLOSE(to.mr->Dispatch->NdkCloseMr, to.mr);
	memory_close(&to);
	memory_close(&from);
	io_unpair(&pair);
	io_close(&pair);
	RtlZeroMemory(&pair, sizeof(pair));
	return right;
}

/* Between two pieces no request uses the region: one of a few rounds meets one that does. */
static NTSTATUS broken(void)
{
	BOOLEAN right = TRUE;
	for (ULONG i = 0; i < 4 && right; i++)
		right = written_while_deregistered();
	return right;
}
#else
static NTSTATUS broken(void)
{
	NDK_QP *qp = io.x.e.qp;
	NDK_RESULT_EX result;
	NDK_LOGICAL_ADDRESS page = MmGetPhysicalAddress(data);
	NDK_MW *mw = MAKE(NDK_MW, pd->Dispatch->NdkCreateMw, pd);
	ULONG right = NT_SUCCESS(add(NDK_MR_FLAG_ALLOW_LOCAL_WRITE));
	right += NT_SUCCESS(qp->Dispatch->NdkBind(qp, NULL, mr, mw, data + 1, PAGE_SIZE - 1,
						  NDK_OP_FLAG_ALLOW_REMOTE_WRITE));
	right += NT_SUCCESS(end_poll(&io.x.e, &result));
	right += NT_SUCCESS(qp->Dispatch->NdkInvalidate(qp, NULL, &mw->Header, 0));
	right += NT_SUCCESS(end_poll(&io.x.e, &result));
	CLOSE(mw->Dispatch->NdkCloseMw, mw);
	right += NT_SUCCESS(take());
	make_fast();
	right += NT_SUCCESS(qp->Dispatch->NdkFastRegister(qp, NULL, mr, 1, &page, 7, 100, data + 7,
							  NDK_OP_FLAG_ALLOW_REMOTE_READ));
	right += NT_SUCCESS(end_poll(&io.x.e, &result));
	right += NT_SUCCESS(qp->Dispatch->NdkInvalidate(qp, NULL, &mr->Header, 0));
	right += NT_SUCCESS(end_poll(&io.x.e, &result));
	return right == 10;
}
#endif

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	if (!io_open(&io) || !io_pair(&io, &plain, PAGE_SIZE))
		return STATUS_UNSUCCESSFUL;
	data = ExAllocatePoolWithTag(NonPagedPoolNx, PAGE_SIZE, TAG);
	mdl = IoAllocateMdl(data, PAGE_SIZE, FALSE, FALSE, NULL);
	MmBuildMdlForNonPagedPool(mdl);
	pd = io.x.e.pd;
	mr = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, FALSE);
	CHECK(broken(), "as said");
#if CASE != 13 && CASE != 30
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
	io_unpair(&io);
	if (mdl)
		IoFreeMdl(mdl);
	if (data)
		ExFreePoolWithTag(data, TAG);
	io_close(&io);
#endif
	return check_result();
}
