/* SPDX-License-Identifier: MIT */
/*
 * rule_ndk_completion.c: calls without a completion routine, or with one that is none (-DCASE=n):
 * NDK-76. That right ones are called is what every other driver shows.
 */
#include "ndk_io.h"

static struct io io;
static PMDL mdl;
static NDK_PD *pd;
static NDK_MR *mr;

CHECK_HELPER NTSTATUS take(void)
{
	return WAIT(mr->Dispatch->NdkDeregisterMr, mr);
}

#if CASE == 0
static NTSTATUS broken(void)
{
	NDK_MW *mw = MAKE(NDK_MW, pd->Dispatch->NdkCreateMw, pd);
	NTSTATUS status = mw->Dispatch->NdkCloseMw(&mw->Header, NULL, NULL);
	return NT_SUCCESS(status);
}
#elif CASE == 1
static NTSTATUS broken(void)
{
	NTSTATUS status = mr->Dispatch->NdkRegisterMr(mr, mdl, PAGE_SIZE, 0, NULL, NULL);
	check_sleep(50);
	return NT_SUCCESS(status) && NT_SUCCESS(take());
}
#elif CASE == 2
/* A routine that is no completion routine, and no driver's. */
static NTSTATUS broken(void)
{
	NDK_FN_REQUEST_COMPLETION *wrong =
		(NDK_FN_REQUEST_COMPLETION *)(ULONG_PTR)ExGetPreviousMode;
	NTSTATUS status = mr->Dispatch->NdkRegisterMr(mr, mdl, PAGE_SIZE, 0, wrong, NULL);
	check_sleep(50);
	return NT_SUCCESS(status) && NT_SUCCESS(take());
}
#elif CASE == 3 || CASE == 4 || CASE == 5
/* Data, the middle of a function, and a callback that is no function: not one of them is called,
 * since the machine stops at the finding. */
static NTSTATUS broken(void)
{
	NDK_FN_REQUEST_COMPLETION *wrong = (NDK_FN_REQUEST_COMPLETION *)(ULONG_PTR)&io;
	if (CASE == 4)
		wrong = (NDK_FN_REQUEST_COMPLETION *)((ULONG_PTR)io_pair + 64);
	if (CASE == 5)
		return !!MAKE(NDK_CQ, io.a.adapter->Dispatch->NdkCreateCq, io.a.adapter, 1,
			      (NDK_FN_CQ_NOTIFICATION_CALLBACK *)wrong, NULL, NULL);
	return NT_SUCCESS(mr->Dispatch->NdkRegisterMr(mr, mdl, PAGE_SIZE, 0, wrong, NULL));
}
#endif

static void test(struct io *opened)
{
	PVOID data = ExAllocatePoolWithTag(NonPagedPoolNx, PAGE_SIZE, 'cKdN');
	io = *opened;
	pd = MAKE(NDK_PD, io.a.adapter->Dispatch->NdkCreatePd, io.a.adapter);
	mr = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, FALSE);
	mdl = IoAllocateMdl(data, PAGE_SIZE, FALSE, FALSE, NULL);
	MmBuildMdlForNonPagedPool(mdl);
	CHECK(broken(), "NDK-76 as said");
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
	CLOSE(pd->Dispatch->NdkClosePd, pd);
	IoFreeMdl(mdl);
	ExFreePoolWithTag(data, 'cKdN');
}

IO_DRIVER(test)
