/* SPDX-License-Identifier: MIT */
/*
 * ndk_object_life.c: the life of NDK objects, in every way that functions may complete: NDK-3,
 * NDK-6..8, NDK-35, NDK-36, NDK-75..83, NDK-111, NDK-113, NDK-120b, DEF-3, DEF-68, DEF-70, DEF-86.
 *
 * -DMODE=0: the default, 1: --ndk-complete=inline, 2: pending, 3: random.
 */
#include "../vm/consumer.h"

#ifndef HOW
#define HOW 0
#endif

static struct consumer door;

/* ---- Versions and information ---- */

static NTSTATUS open_version(USHORT major, USHORT minor, NDK_ADAPTER **adapter)
{
	NDK_VERSION version = {major, minor};
	NET_IFINDEX index = 2;
	return door.ndk.WskOpenNdkAdapter(door.npi.Client, version, index, adapter);
}

static BOOLEAN answers(USHORT major, USHORT minor, USHORT got_major, USHORT got_minor)
{
	NDK_ADAPTER *adapter;
	NDK_ADAPTER_INFO info;
	ULONG size = sizeof info;
	NTSTATUS status = open_version(major, minor, &adapter);
	if (!got_major)
		return status == (NTSTATUS)0xC0010004 && !adapter;
	if (!NT_SUCCESS(status))
		return FALSE;
	BOOLEAN right = adapter->Header.Version.Major == got_major &&
			adapter->Header.Version.Minor == got_minor;
	adapter->Dispatch->NdkQueryAdapterInfo(adapter, &info, &size);
	right = right && info.Version.Major == got_major && info.Version.Minor == got_minor;
	NDK_PD *pd = MAKE(NDK_PD, adapter->Dispatch->NdkCreatePd, adapter);
	right = right && pd->Header.Version.Minor == got_minor &&
		pd->Header.Version.Major == got_major;
	CLOSE(pd->Dispatch->NdkClosePd, pd);
	door.ndk.WskCloseNdkAdapter(door.npi.Client, adapter);
	return right;
}

static void versions(void)
{
	NDK_ADAPTER *one = NULL, *two = NULL;
	CHECK(answers(1, 0, 1, 2), "NDK-113 1.0 opens as 1.2");
	CHECK(answers(1, 1, 1, 2), "NDK-113 1.1 opens as 1.2");
	CHECK(answers(1, 2, 1, 2), "NDK-113 1.2 opens as 1.2");
	CHECK(answers(1, 3, 0, 0), "NDK-113 1.3 is refused");
	CHECK(answers(2, 0, 2, 1), "NDK-113 2.0 opens as 2.1");
	CHECK(answers(2, 1, 2, 1), "NDK-113 2.1 opens as 2.1");
	CHECK(answers(2, 2, 0, 0), "NDK-113 2.2 is refused");
	CHECK(answers(3, 0, 0, 0), "NDK-113 3.0 is refused");
	CHECK(answers(0, 9, 0, 0), "NDK-113 0.9 is refused");
	CHECK(NT_SUCCESS(open_version(1, 0, &one)) && NT_SUCCESS(open_version(2, 0, &two)) &&
		      one != two,
	      "DEF-70 each opening is an adapter of its own");
	door.ndk.WskCloseNdkAdapter(door.npi.Client, one);
	door.ndk.WskCloseNdkAdapter(door.npi.Client, two);
}

static void information(void)
{
	NDK_ADAPTER *a = door.adapter;
	NDK_ADAPTER_INFO info;
	ULONG size = 0;
	CHECK(a->Dispatch->NdkQueryAdapterInfo(a, NULL, &size) == STATUS_BUFFER_TOO_SMALL &&
		      size == 0x68,
	      "NDK-36 the size that is needed");
	size = 0x5f;
	CHECK(a->Dispatch->NdkQueryAdapterInfo(a, &info, &size) == STATUS_BUFFER_TOO_SMALL &&
		      size == 0x68,
	      "NDK-120b one byte less than the old size is too small");
	RtlFillMemory(&info, sizeof info, 0x55);
	size = 0x60;
	CHECK(a->Dispatch->NdkQueryAdapterInfo(a, &info, &size) == STATUS_SUCCESS &&
		      info.Version.Major && (ULONG)info.RdmaTechnology == 0x55555555,
	      "NDK-120b the old size is filled, and no more");
	size = sizeof info;
	CHECK(a->Dispatch->NdkQueryAdapterInfo(a, &info, &size) == STATUS_SUCCESS &&
		      info.RdmaTechnology != NdkUndefined && info.FRMRPageCount >= 16 &&
		      info.MaxCallerData >= 56 && info.MaxCalleeData >= 32 &&
		      (info.AdapterFlags & NDK_ADAPTER_FLAG_RDMA_READ_SINK_NOT_REQUIRED) &&
		      (info.AdapterFlags & NDK_ADAPTER_FLAG_CQ_INTERRUPT_MODERATION_SUPPORTED),
	      "NDK-17 DEF-81 DEF-107 what consumers need");
}

/* ---- Headers (NDK-7, NDK-8) ---- */

static BOOLEAN is_zero(const NDK_OBJECT_HEADER *header)
{
	for (int i = 0; i < 4; i++) {
		if (header->NdkReserved[i])
			return FALSE;
	}
	return TRUE;
}

static void headers(void)
{
	NDK_PD *pd = MAKE(NDK_PD, door.adapter->Dispatch->NdkCreatePd, door.adapter);
	NDK_MR *mr = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, FALSE);
	NDK_MW *mw = MAKE(NDK_MW, pd->Dispatch->NdkCreateMw, pd);
	GUID guid = {0};
	NDK_EXTENSION_INTERFACE interface;
	CHECK(pd->Header.ObjectType == NdkObjectTypePd &&
		      mr->Header.ObjectType == NdkObjectTypeMr &&
		      mw->Header.ObjectType == NdkObjectTypeMw &&
		      door.adapter->Header.ObjectType == NdkObjectTypeAdapter,
	      "NDK-8 types");
	CHECK(is_zero(&pd->Header) && is_zero(&mr->Header) && is_zero(&mw->Header),
	      "NDK-8 the reserved words are zero");
	const PVOID *table = (const PVOID *)mr->Dispatch;
	ULONG slots = 0;
	for (ULONG i = 0; i < sizeof(NDK_MR_DISPATCH) / sizeof(PVOID); i++)
		slots += table[i] != NULL;
	CHECK(slots == 7, "NDK-33 every slot of the table is set");
	CHECK(mr->Dispatch->NdkQueryExtension(&mr->Header, &guid, mr->Header.Version, &interface) ==
		      STATUS_NOT_SUPPORTED,
	      "NDK-35 there are no extensions");

	/* The consumer replaces the table, and uses the reserved words. */
	const NDK_MR_DISPATCH *saved = mr->Dispatch;
	const NDK_PD_DISPATCH *saved_pd = pd->Dispatch;
	mr->Dispatch = (const NDK_MR_DISPATCH *)0x1;
	pd->Dispatch = (const NDK_PD_DISPATCH *)0x1;
	for (ULONG_PTR i = 0; i < 4; i++)
		mr->Header.NdkReserved[i] = (PVOID)(0x1000 + i);
	UCHAR *data = ExAllocatePoolWithTag(NonPagedPoolNx, 5000, 'tseT');
	PMDL mdl = IoAllocateMdl(data, 5000, FALSE, FALSE, NULL);
	MmBuildMdlForNonPagedPool(mdl);
	CHECK(NT_SUCCESS(WAIT(saved->NdkRegisterMr, mr, mdl, 5000, 0)) &&
		      saved->NdkGetLocalTokenFromMr(mr) &&
		      NT_SUCCESS(WAIT(saved->NdkDeregisterMr, mr)),
	      "NDK-7 the table in the object is not read");
	CHECK(mr->Header.NdkReserved[0] == (PVOID)0x1000 &&
		      mr->Header.NdkReserved[3] == (PVOID)0x1003,
	      "NDK-8 the reserved words are the consumer's");
	CLOSE(saved->NdkCloseMr, mr);
	CLOSE(mw->Dispatch->NdkCloseMw, mw);
	CLOSE(saved_pd->NdkClosePd, pd);
	IoFreeMdl(mdl);
	ExFreePool(data);
}

/* ---- Completions (NDK-6, NDK-76..79) ---- */

struct counted {
	volatile LONG calls;
	volatile LONG passive, dispatch, nested;
	volatile LONG inside; /* the call has not returned */
	NTSTATUS status;
	NDK_OBJECT_HEADER *object;
	KEVENT done;
};

static void counted_begin(struct counted *counted)
{
	RtlZeroMemory(counted, sizeof *counted);
	KeInitializeEvent(&counted->done, NotificationEvent, FALSE);
}

static VOID NTAPI on_created(PVOID context, NTSTATUS status, NDK_OBJECT_HEADER *object)
{
	struct counted *counted = context;
	if (KeGetCurrentIrql() == PASSIVE_LEVEL)
		InterlockedIncrement(&counted->passive);
	else if (KeGetCurrentIrql() == DISPATCH_LEVEL)
		InterlockedIncrement(&counted->dispatch);
	if (counted->inside)
		InterlockedIncrement(&counted->nested);
	InterlockedIncrement(&counted->calls);
	counted->status = status;
	counted->object = object;
	KeSetEvent(&counted->done, 0, FALSE);
}

static VOID NTAPI on_closed(PVOID context)
{
	on_created(context, STATUS_SUCCESS, NULL);
}

#define ROUNDS 24

static void completions(void)
{
	NDK_PD *pd = MAKE(NDK_PD, door.adapter->Dispatch->NdkCreatePd, door.adapter);
	ULONG inlines = 0, pends = 0, passive = 0, dispatch = 0, wrong = 0, closes_inline = 0;
	ULONG nested = 0;
	for (ULONG i = 0; i < ROUNDS; i++) {
		struct counted made, closed;
		NDK_MR *poison = (NDK_MR *)0x5a5a, *mr = poison;
		counted_begin(&made);
		counted_begin(&closed);
		made.inside = closed.inside = 1;
		NTSTATUS status = pd->Dispatch->NdkCreateMr(pd, TRUE, on_created, &made, &mr);
		made.inside = 0;
		if (status == STATUS_PENDING) {
			KeWaitForSingleObject(&made.done, Executive, KernelMode, FALSE, NULL);
			wrong += mr != poison || !made.object || made.status != STATUS_SUCCESS;
			mr = (NDK_MR *)made.object;
			pends++;
		} else {
			wrong += status != STATUS_SUCCESS || mr == poison || made.calls;
			inlines++;
		}
		status = mr->Dispatch->NdkCloseMr(&mr->Header, on_closed, &closed);
		closed.inside = 0;
		/* NDK-77: whoever was called has been told STATUS_PENDING. */
		nested += (ULONG)(made.nested + closed.nested);
		wrong += closed.nested && status != STATUS_PENDING;
		if (status == STATUS_PENDING)
			KeWaitForSingleObject(&closed.done, Executive, KernelMode, FALSE, NULL);
		else
			closes_inline++;
		wrong += status != STATUS_PENDING && status != STATUS_SUCCESS;
		wrong += closed.calls != (status == STATUS_PENDING);
		wrong += made.calls > 1;
		passive += (ULONG)(made.passive + closed.passive);
		dispatch += (ULONG)(made.dispatch + closed.dispatch);
	}
	CHECK(!wrong, "NDK-75..78 one completion for each STATUS_PENDING, none else");
	if (HOW == 0)
		CHECK(inlines == ROUNDS && !closes_inline,
		      "DEF-3 by default creates are inline and closes pend");
	if (HOW == 1)
		CHECK(inlines == ROUNDS && closes_inline == ROUNDS, "inline: nothing pends");
	if (HOW == 2)
		CHECK(pends == ROUNDS && !closes_inline, "pending: everything pends");
	if (HOW == 3)
		CHECK(pends && inlines && closes_inline && closes_inline < ROUNDS,
		      "random: both happen");
	if (HOW % 2 == 0)
		CHECK(passive && dispatch, "NDK-6 callbacks come at PASSIVE and DISPATCH_LEVEL");
	if (HOW % 2 == 0 && door.info.VendorId == 0x4b5448) /* loopback; a device comes later */
		CHECK(nested, "NDK-77 a completion may come before the function has returned");
	CLOSE(pd->Dispatch->NdkClosePd, pd);
}

/* Close the object inside its own create completion (NDK-79). */
struct inside {
	struct counted closed;
	NTSTATUS close_status;
	KEVENT done;
};

static VOID NTAPI close_inside(PVOID context, NTSTATUS status, NDK_OBJECT_HEADER *object)
{
	struct inside *inside = context;
	if (NT_SUCCESS(status))
		inside->close_status =
			((NDK_MR *)object)
				->Dispatch->NdkCloseMr(object, on_closed, &inside->closed);
	KeSetEvent(&inside->done, 0, FALSE);
}

static void close_from_completion(void)
{
	NDK_PD *pd = MAKE(NDK_PD, door.adapter->Dispatch->NdkCreatePd, door.adapter);
	ULONG wrong = 0, tried = 0;
	for (ULONG i = 0; i < ROUNDS; i++) {
		struct inside inside;
		NDK_MR *mr;
		counted_begin(&inside.closed);
		KeInitializeEvent(&inside.done, NotificationEvent, FALSE);
		NTSTATUS status = pd->Dispatch->NdkCreateMr(pd, FALSE, close_inside, &inside, &mr);
		if (status != STATUS_PENDING) {
			CLOSE(mr->Dispatch->NdkCloseMr, mr);
			continue;
		}
		tried++;
		KeWaitForSingleObject(&inside.done, Executive, KernelMode, FALSE, NULL);
		if (inside.close_status == STATUS_PENDING)
			KeWaitForSingleObject(&inside.closed.done, Executive, KernelMode, FALSE,
					      NULL);
		wrong += inside.closed.calls != (inside.close_status == STATUS_PENDING);
	}
	CHECK(!wrong && (tried || HOW < 2),
	      "NDK-79 an object may be closed inside its creation's completion");
	CLOSE(pd->Dispatch->NdkClosePd, pd);
}

/* ---- Antecedents (NDK-83, DEF-86) ---- */

static volatile LONG sequence;

struct ordered {
	LONG at;
	KEVENT done;
};

static VOID NTAPI on_ordered(PVOID context)
{
	struct ordered *ordered = context;
	ordered->at = InterlockedIncrement(&sequence);
	KeSetEvent(&ordered->done, 0, FALSE);
}

static VOID NTAPI on_ignored(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
}

static void antecedents(void)
{
	struct ordered pd_closed = {0}, mr_closed = {0};
	KeInitializeEvent(&pd_closed.done, NotificationEvent, FALSE);
	KeInitializeEvent(&mr_closed.done, NotificationEvent, FALSE);
	NDK_PD *pd = MAKE(NDK_PD, door.adapter->Dispatch->NdkCreatePd, door.adapter);
	NDK_MR *mr = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, FALSE);
	NDK_MW *mw = MAKE(NDK_MW, pd->Dispatch->NdkCreateMw, pd);
	NTSTATUS status = pd->Dispatch->NdkClosePd(&pd->Header, on_ordered, &pd_closed);
	CHECK(status == STATUS_PENDING, "NDK-83 a PD with open successors closes later");
	check_sleep(20);
	CHECK(!pd_closed.at, "NDK-83 it waits");
	CHECK(mw->Dispatch->NdkGetRemoteTokenFromMw(mw) == 0, "NDK-83 its successors still work");
	CLOSE(mw->Dispatch->NdkCloseMw, mw);
	check_sleep(20);
	CHECK(!pd_closed.at, "NDK-83 it waits for the last");
	status = mr->Dispatch->NdkCloseMr(&mr->Header, on_ordered, &mr_closed);
	if (status == STATUS_PENDING)
		KeWaitForSingleObject(&mr_closed.done, Executive, KernelMode, FALSE, NULL);
	KeWaitForSingleObject(&pd_closed.done, Executive, KernelMode, FALSE, NULL);
	CHECK(pd_closed.at > mr_closed.at, "NDK-83 the antecedent completes last");

	/* Nobody waits for the children, and the parent is closed at once (DEF-86). */
	struct call call;
	pd = MAKE(NDK_PD, door.adapter->Dispatch->NdkCreatePd, door.adapter);
	for (ULONG i = 0; i < 8; i++) {
		mr = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, (BOOLEAN)(i & 1));
		mr->Dispatch->NdkCloseMr(&mr->Header, on_ignored, NULL);
	}
	call_begin(&call);
	CHECK(NT_SUCCESS(
		      call_end(&call, pd->Dispatch->NdkClosePd(&pd->Header, call_closed, &call))),
	      "DEF-86 children closed without waiting, then the parent");
}

/* ---- Adapter close (NDK-111) ---- */

struct late {
	NDK_MR *mr;
	NDK_PD *pd;
	volatile LONG closed;
};

static VOID NTAPI slow(PVOID context)
{
	struct late *late = context;
	KeStallExecutionProcessor(5000);
	InterlockedIncrement(&late->closed);
}

static VOID NTAPI close_late(PVOID context)
{
	struct late *late = context;
	check_sleep(50);
	if (late->mr->Dispatch->NdkCloseMr(&late->mr->Header, slow, late) == STATUS_SUCCESS)
		InterlockedIncrement(&late->closed);
	if (late->pd->Dispatch->NdkClosePd(&late->pd->Header, slow, late) == STATUS_SUCCESS)
		InterlockedIncrement(&late->closed);
}

static void adapter_close_waits(void)
{
	NDK_ADAPTER *adapter;
	struct late late = {0};
	if (!NT_SUCCESS(open_version(1, 2, &adapter))) {
		CHECK(FALSE, "the adapter opens");
		return;
	}
	late.pd = MAKE(NDK_PD, adapter->Dispatch->NdkCreatePd, adapter);
	late.mr = MAKE(NDK_MR, late.pd->Dispatch->NdkCreateMr, late.pd, FALSE);
	PVOID thread = check_thread(close_late, &late);
	door.ndk.WskCloseNdkAdapter(door.npi.Client, adapter);
	if (HOW % 2 == 1) /* inline or at random: the thread counts after its calls */
		check_join(thread);
	CHECK(late.closed == 2, "NDK-111 the adapter's close returns after the last callback has");
	if (HOW % 2 == 0)
		check_join(thread);
}

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	if (!consumer_open(&door, AF_INET))
		return STATUS_UNSUCCESSFUL;
	versions();
	information();
	headers();
	completions();
	close_from_completion();
	antecedents();
	adapter_close_waits();
	consumer_close(&door);
	return check_result();
}
