/* SPDX-License-Identifier: MIT */
/*
 * ndk_mr_register.c: registration, deregistration and initialisation of memory regions, logical
 * address mappings: NDK-41, NDK-42, NDK-49..52, NDK-121..123, NDK-128, NDK-132, NDK-134, DEF-1,
 * DEF-4, DEF-87, DEF-88, DEF-90, DEF-96, DEF-97. In every way that functions may complete.
 */
#include "../vm/consumer.h"

#define TAG  'rMdN'
#define SIZE (3 * PAGE_SIZE + 100)

static struct consumer door;
static NDK_PD *pd;

static NTSTATUS add(NDK_MR *mr, PMDL mdl, SIZE_T length, ULONG flags)
{
	return WAIT(mr->Dispatch->NdkRegisterMr, mr, mdl, length, flags);
}

static NTSTATUS take(NDK_MR *mr)
{
	return WAIT(mr->Dispatch->NdkDeregisterMr, mr);
}

static UINT32 remote(NDK_MR *mr)
{
	return mr->Dispatch->NdkGetRemoteTokenFromMr(mr);
}

static UINT32 local(NDK_MR *mr)
{
	return mr->Dispatch->NdkGetLocalTokenFromMr(mr);
}

static PMDL mdl_of(PVOID base, ULONG length)
{
	PMDL mdl = IoAllocateMdl(base, length, FALSE, FALSE, NULL);
	MmBuildMdlForNonPagedPool(mdl);
	return mdl;
}

/* ---- Normal regions ---- */

static void normal(PUCHAR data)
{
	PMDL mdl = mdl_of(data + 10, SIZE);
	NDK_MR *mr = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, FALSE);
	CHECK(!local(mr) && !remote(mr), "NDK-123 no tokens before the registration");
	CHECK(add(mr, mdl, SIZE, 0) == STATUS_SUCCESS, "NDK-49 registration");
	UINT32 first = remote(mr);
	CHECK(local(mr) && first, "NDK-52 NDK-123 tokens after it");
	CHECK(take(mr) == STATUS_SUCCESS, "NDK-50 deregistration");
	CHECK(!local(mr) && !remote(mr), "NDK-128 no tokens afterwards");
	CHECK(mdl->MdlFlags & MDL_SOURCE_IS_NONPAGED_POOL, "NDK-132 the MDL is as it was");
	ULONG wrong = 0, same = 0;
	for (ULONG flags = 0; flags < 16; flags++) {
		wrong += add(mr, mdl, SIZE - flags, flags) != STATUS_SUCCESS;
		same += remote(mr) == first;
		wrong += take(mr) != STATUS_SUCCESS;
	}
	CHECK(!wrong, "DEF-97 any combination of the flags");
	CHECK(!same, "NDK-123 a token is not used again soon");
	CHECK(add(mr, mdl, SIZE, 16) == STATUS_INVALID_PARAMETER &&
		      add(mr, mdl, SIZE, 0x80000000) == STATUS_INVALID_PARAMETER,
	      "NDK-49 no other flags");
	CHECK(add(mr, mdl, SIZE, 15) == STATUS_SUCCESS, "NDK-128 ... and the region is as before");
	CHECK(take(mr) == STATUS_SUCCESS, "NDK-50 deregistered");
	CHECK(add(mr, mdl, 0, 0) == STATUS_INVALID_PARAMETER, "NDK-121 no length");
	CHECK(add(mr, mdl, SIZE + 1, 0) == STATUS_INVALID_PARAMETER, "NDK-121 beyond the MDL");
	CHECK(add(mr, mdl, (SIZE_T)1 << 50, 0) == STATUS_INVALID_PARAMETER,
	      "NDK-121 beyond MaxRegistrationSize");
	CHECK(add(mr, NULL, SIZE, 0) == STATUS_INVALID_PARAMETER, "DEF-90 no MDL");

	/* A chain: contiguous, then with a gap that only a longer registration reaches. */
	PMDL next = mdl_of(data + 10 + SIZE, PAGE_SIZE);
	mdl->Next = next;
	CHECK(add(mr, mdl, SIZE + PAGE_SIZE, 0) == STATUS_SUCCESS, "NDK-121 a chain");
	CHECK(take(mr) == STATUS_SUCCESS, "NDK-50 of a chain");
	IoFreeMdl(next);
	next = mdl_of(data + 11 + SIZE, PAGE_SIZE);
	mdl->Next = next;
	CHECK(add(mr, mdl, SIZE + 1, 0) == STATUS_INVALID_PARAMETER, "NDK-121 a gap in the chain");
	CHECK(add(mr, mdl, SIZE, 0) == STATUS_SUCCESS, "NDK-121 behind the length");
	CHECK(take(mr) == STATUS_SUCCESS, "NDK-50 again");
	IoFreeMdl(next);
	mdl->Next = NULL;

	/* DEF-90: locked for reading; written by peers all the same. */
	PMDL locked = IoAllocateMdl(data, SIZE, FALSE, FALSE, NULL);
	MmProbeAndLockPages(locked, KernelMode, IoReadAccess);
	CHECK(add(mr, locked, SIZE, NDK_MR_FLAG_ALLOW_REMOTE_WRITE) == STATUS_SUCCESS,
	      "DEF-90 pages that are locked for reading");
	CHECK(take(mr) == STATUS_SUCCESS && (locked->MdlFlags & MDL_PAGES_LOCKED),
	      "NDK-132 the pages stay locked");
	PMDL part = IoAllocateMdl(data, SIZE, FALSE, FALSE, NULL);
	IoBuildPartialMdl(locked, part, data + 100, PAGE_SIZE);
	CHECK(add(mr, part, PAGE_SIZE + 1, 0) == STATUS_INVALID_PARAMETER &&
		      add(mr, part, PAGE_SIZE, 0) == STATUS_SUCCESS,
	      "NDK-121 a part of locked pages");
	CHECK(take(mr) == STATUS_SUCCESS, "NDK-50 of a part");
	IoFreeMdl(part);
	MmUnlockPages(locked);
	IoFreeMdl(locked);

	/* A close deregisters. */
	CHECK(add(mr, mdl, SIZE, 0) == STATUS_SUCCESS, "NDK-49 the last");
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
	IoFreeMdl(mdl);
}

/* ---- At DISPATCH_LEVEL ---- */

struct at_dispatch {
	KEVENT registered, deregistered;
	NTSTATUS status[2];
};

static VOID NTAPI on_registered(PVOID context, NTSTATUS status)
{
	struct at_dispatch *call = context;
	call->status[0] = status;
	KeSetEvent(&call->registered, 0, FALSE);
}

static VOID NTAPI on_deregistered(PVOID context, NTSTATUS status)
{
	struct at_dispatch *call = context;
	call->status[1] = status;
	KeSetEvent(&call->deregistered, 0, FALSE);
}

static void dispatch_level(PUCHAR data)
{
	struct at_dispatch call;
	KIRQL irql;
	PMDL mdl = mdl_of(data, PAGE_SIZE);
	NDK_MR *mr = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, FALSE);
	KeInitializeEvent(&call.registered, NotificationEvent, FALSE);
	KeInitializeEvent(&call.deregistered, NotificationEvent, FALSE);
	KeRaiseIrql(DISPATCH_LEVEL, &irql);
	NTSTATUS status = mr->Dispatch->NdkRegisterMr(mr, mdl, PAGE_SIZE, 1, on_registered, &call);
	KeLowerIrql(irql);
	if (status == STATUS_PENDING) {
		KeWaitForSingleObject(&call.registered, Executive, KernelMode, FALSE, NULL);
		status = call.status[0];
	}
	CHECK(NT_SUCCESS(status) && local(mr), "NDK-6 registration at DISPATCH_LEVEL");
	KeRaiseIrql(DISPATCH_LEVEL, &irql);
	status = mr->Dispatch->NdkDeregisterMr(mr, on_deregistered, &call);
	KeLowerIrql(irql);
	if (status == STATUS_PENDING) {
		KeWaitForSingleObject(&call.deregistered, Executive, KernelMode, FALSE, NULL);
		status = call.status[1];
	}
	CHECK(NT_SUCCESS(status) && !local(mr), "NDK-6 deregistration at DISPATCH_LEVEL");
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
	IoFreeMdl(mdl);
}

/* ---- Fast-register regions ---- */

static void fast(void)
{
	NDK_MR *mr = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, TRUE);
	ULONG most = door.info.FRMRPageCount;
	CHECK(!local(mr) && !remote(mr), "NDK-123 no tokens before the initialisation");
	CHECK(WAIT(mr->Dispatch->NdkInitializeFastRegisterMr, mr, most + 1, TRUE) ==
		      STATUS_IMPLEMENTATION_LIMIT,
	      "NDK-51 more pages than there are");
	CHECK(WAIT(mr->Dispatch->NdkInitializeFastRegisterMr, mr, 0, TRUE) ==
		      STATUS_INVALID_PARAMETER,
	      "NDK-51 no pages");
	CHECK(!local(mr), "NDK-128 as before");
	CHECK(WAIT(mr->Dispatch->NdkInitializeFastRegisterMr, mr, 16, TRUE) == STATUS_SUCCESS,
	      "NDK-51 initialised");
	UINT32 token = remote(mr);
	CHECK(token && local(mr), "DEF-1 tokens after the initialisation");
	CHECK(WAIT(mr->Dispatch->NdkInitializeFastRegisterMr, mr, most, FALSE) == STATUS_SUCCESS &&
		      remote(mr) == token,
	      "NDK-125 it may be repeated");
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
}

/* ---- Logical address mappings ---- */

static ULONG pages_right(NDK_LOGICAL_ADDRESS_MAPPING *lam, PUCHAR data)
{
	ULONG right = 0;
	for (ULONG i = 0; i < lam->AdapterPageCount; i++) {
		PHYSICAL_ADDRESS expected =
			MmGetPhysicalAddress((PUCHAR)PAGE_ALIGN(data) + i * PAGE_SIZE);
		right += lam->AdapterPageArray[i].QuadPart == expected.QuadPart;
	}
	return right;
}

static NTSTATUS map(PMDL mdl, SIZE_T length, NDK_LOGICAL_ADDRESS_MAPPING *lam, ULONG *size,
		    ULONG *fbo)
{
	struct call call;
	call_begin(&call);
	return call_end(&call,
			door.adapter->Dispatch->NdkBuildLAM(door.adapter, mdl, length,
							    call_requested, &call, lam, size, fbo));
}

static void mappings(PUCHAR data)
{
	NDK_ADAPTER *a = door.adapter;
	PMDL mdl = mdl_of(data + 10, SIZE);
	ULONG count = ADDRESS_AND_SIZE_TO_SPAN_PAGES(data + 10, SIZE), fbo = 0;
	ULONG needed = sizeof(NDK_LOGICAL_ADDRESS_MAPPING) + 8 * (count - 1), size = 0x10;
	NDK_LOGICAL_ADDRESS_MAPPING *lam = ExAllocatePoolWithTag(NonPagedPoolNx, needed, TAG);
	CHECK(map(mdl, SIZE, lam, &size, &fbo) == STATUS_BUFFER_TOO_SMALL && size == needed,
	      "NDK-41 DEF-87 the size that is needed");
	size = 0;
	CHECK(map(mdl, SIZE, NULL, &size, &fbo) == STATUS_BUFFER_TOO_SMALL && size == needed,
	      "NDK-41 without a buffer");
	CHECK(map(mdl, SIZE, lam, &size, &fbo) == STATUS_SUCCESS &&
		      lam->AdapterPageCount == count && fbo == BYTE_OFFSET(data + 10),
	      "NDK-134 pages and offset");
	IoFreeMdl(mdl); /* DEF-88 */
	CHECK(pages_right(lam, data) == count, "NDK-134 all pages of the range");
	a->Dispatch->NdkReleaseLAM(a, lam);

	mdl = mdl_of(data, SIZE);
	CHECK(map(mdl, SIZE + 1, lam, &size, &fbo) == STATUS_INVALID_PARAMETER,
	      "NDK-41 longer than the MDL");
	size = needed;
	CHECK(map(mdl, PAGE_SIZE, lam, &size, &fbo) == STATUS_SUCCESS &&
		      lam->AdapterPageCount == 1 && !fbo,
	      "NDK-41 shorter than the MDL");
	a->Dispatch->NdkReleaseLAM(a, lam);
	IoFreeMdl(mdl);
	ExFreePoolWithTag(lam, TAG);
}

/* ---- The privileged token ---- */

static void privileged(void)
{
	UINT32 token = 0, again = 0;
	pd->Dispatch->NdkGetPrivilegedMemoryRegionToken(pd, &token);
	pd->Dispatch->NdkGetPrivilegedMemoryRegionToken(pd, &again);
	CHECK(token && token == again, "NDK-48 the privileged token");
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
	PUCHAR data = ExAllocatePoolWithTag(NonPagedPoolNx, 8 * PAGE_SIZE, TAG);
	pd = MAKE(NDK_PD, door.adapter->Dispatch->NdkCreatePd, door.adapter);
	normal(data);
	dispatch_level(data);
	fast();
	mappings(data);
	privileged();
	CLOSE(pd->Dispatch->NdkClosePd, pd);
	ExFreePoolWithTag(data, TAG);
	consumer_close(&door);
	return check_result();
}
