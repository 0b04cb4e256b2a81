/* SPDX-License-Identifier: MIT */
/*
 * rule_ndk_close.c: closes an object while a request on it is pending (-DCASE=n): VER-57, NDK-80.
 * With --ndk-complete=pending on one processor. That they may be closed afterwards is what every
 * other driver shows.
 */
#include "ndk_io.h"

static struct io io;
static PMDL mdl;
static NDK_MR *mr;

CHECK_HELPER VOID NTAPI ignore(PVOID context, NTSTATUS status)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(status);
}

#if CASE == 0
static NTSTATUS broken(void)
{
	struct call closed;
	KIRQL irql;
	call_begin(&closed);
	KeRaiseIrql(DISPATCH_LEVEL, &irql); /* nothing completes on this processor meanwhile */
	NTSTATUS status = STATUS_SUCCESS;
	for (int i = 0; i < 64 && NT_SUCCESS(status) && status != STATUS_PENDING; i++)
		status = mr->Dispatch->NdkRegisterMr(mr, mdl, PAGE_SIZE, 0, ignore, NULL);
	NTSTATUS close = mr->Dispatch->NdkCloseMr(&mr->Header, call_closed, &closed);
	KeLowerIrql(irql);
	call_end(&closed, close);
	mr = NULL;
	return status == STATUS_PENDING && close == STATUS_PENDING;
}
#elif CASE == 1
/* The same, while it is deregistered. */
static NTSTATUS broken(void)
{
	struct call closed;
	KIRQL irql;
	BOOLEAN right = NT_SUCCESS(WAIT(mr->Dispatch->NdkRegisterMr, mr, mdl, PAGE_SIZE, 0));
	call_begin(&closed);
	KeRaiseIrql(DISPATCH_LEVEL, &irql);
	NTSTATUS status = mr->Dispatch->NdkDeregisterMr(mr, ignore, NULL);
	NTSTATUS close = mr->Dispatch->NdkCloseMr(&mr->Header, call_closed, &closed);
	KeLowerIrql(irql);
	call_end(&closed, close);
	mr = NULL;
	return right && status == STATUS_PENDING && close == STATUS_PENDING;
}
#elif CASE == 2
/* A protection domain of which objects are being made. */
static NTSTATUS broken(void)
{
	struct call window, region, closed;
	NDK_PD *own = MAKE(NDK_PD, io.a.adapter->Dispatch->NdkCreatePd, io.a.adapter);
	NDK_MW *no_window;
	NDK_MR *no_region;
	KIRQL irql;
	call_begin(&window);
	call_begin(&region);
	call_begin(&closed);
	KeRaiseIrql(DISPATCH_LEVEL, &irql);
	NTSTATUS first = own->Dispatch->NdkCreateMw(own, call_created, &window, &no_window);
	NTSTATUS second = own->Dispatch->NdkCreateMr(own, FALSE, call_created, &region, &no_region);
	NTSTATUS close = own->Dispatch->NdkClosePd(&own->Header, call_closed, &closed);
	KeLowerIrql(irql);
	if (!NT_SUCCESS(call_end(&window, first)) || !NT_SUCCESS(call_end(&region, second)))
		return FALSE;
	NDK_MW *mw = window.object;
	NDK_MR *made = region.object;
	CLOSE(mw->Dispatch->NdkCloseMw, mw);
	CLOSE(made->Dispatch->NdkCloseMr, made);
	call_end(&closed, close);
	return first == STATUS_PENDING && second == STATUS_PENDING && close == STATUS_PENDING;
}
#endif

static void test(struct io *opened)
{
	PVOID data = ExAllocatePoolWithTag(NonPagedPoolNx, PAGE_SIZE, 'cKdN');
	io = *opened;
	NDK_PD *pd = MAKE(NDK_PD, io.a.adapter->Dispatch->NdkCreatePd, io.a.adapter);
	mr = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, FALSE);
	mdl = IoAllocateMdl(data, PAGE_SIZE, FALSE, FALSE, NULL);
	MmBuildMdlForNonPagedPool(mdl);
	CHECK(broken(), "VER-57 a close that comes too early completes all the same");
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
	CLOSE(pd->Dispatch->NdkClosePd, pd);
	IoFreeMdl(mdl);
	ExFreePoolWithTag(data, 'cKdN');
}

IO_DRIVER(test)
