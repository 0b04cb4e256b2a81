/* SPDX-License-Identifier: MIT */
/*
 * here.c: a device that takes long to register (FAKE_SLOW): what comes for the caller's processor
 * meanwhile is not lost; for tests/verbs/run.sh. Processor 1 sends NMIs to processor 0, which
 * registers; a timer's DPC is due there all the time. CASE 1: more threads than processors
 * register, at PASSIVE_LEVEL, so that they are switched and change processors at any instruction.
 */
#include "../drivers/ndk_io.h"
#include <ntaffinity.h>

#ifndef CASE
#define CASE 0
#endif
#define SMALL  4096
#define LARGE  (256 * 1024)
#define ROUNDS 400 /* at most: a busy host has no time for the sender in some */
#define HEARD  5

#if CASE == 0
static volatile LONG nmis, dpcs, stop;

static BOOLEAN NTAPI on_nmi(PVOID context, BOOLEAN handled)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(handled);
	if (KeGetCurrentProcessorNumberEx(NULL) == 0)
		nmis++;
	return TRUE;
}

static VOID NTAPI on_timer(PKDPC dpc, PVOID context, PVOID first, PVOID second)
{
	UNREFERENCED_PARAMETER(dpc);
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(first);
	UNREFERENCED_PARAMETER(second);
	dpcs++;
}

static VOID NTAPI send(PVOID unused)
{
	KAFFINITY_EX first;
	UNREFERENCED_PARAMETER(unused);
	KeSetSystemAffinityThreadEx(2);
	KeInitializeAffinityEx(&first);
	KeAddProcessorAffinityEx(&first, 0);
	while (!stop)
		HalSendNMI(&first); /* waits up to 1 ms */
}

static NTSTATUS registration(NDK_MR *mr, struct call *call, struct memory *m, SIZE_T size)
{
	call_begin(call);
	return mr->Dispatch->NdkRegisterMr(mr, m->mdl, size, NDK_MR_FLAG_ALLOW_REMOTE_WRITE,
					   call_requested, call);
}

static void test(struct io *io)
{
	static KTIMER timer;
	static KDPC dpc;
	struct memory *m = &io->mx;
	struct call call;
	BOOLEAN pair = io_pair(io, &plain, LARGE), done = TRUE;
	ULONG heard = 0;
	CHECK(pair, "NDK-136 two ends are connected");
	if (!pair)
		return;
	CHECK(WAIT(m->mr->Dispatch->NdkDeregisterMr, m->mr) == STATUS_SUCCESS,
	      "NDK-50 it is deregistered");
	PVOID handle = KeRegisterNmiCallback(on_nmi, NULL);
	KeInitializeTimerEx(&timer, NotificationTimer);
	KeInitializeDpc(&dpc, on_timer, NULL);
	KeSetTargetProcessorDpc(&dpc, 0);
	KeSetSystemAffinityThreadEx(1);
	KeSetTimerEx(&timer, check_ms(1), 1, &dpc);
	PVOID thread = check_thread(send, NULL);
	for (ULONG i = 0; i < ROUNDS && done && heard < HEARD; i++) {
		LONG nmis_before = nmis, dpcs_before = dpcs;
		done = registration(m->mr, &call, m, SMALL) == STATUS_SUCCESS;
		heard += nmis != nmis_before && dpcs != dpcs_before;
		done = done && WAIT(m->mr->Dispatch->NdkDeregisterMr, m->mr) == STATUS_SUCCESS;
	}
	stop = TRUE;
	check_join(thread);
	KeCancelTimer(&timer);
	KeFlushQueuedDpcs();
	KeRevertToUserAffinityThreadEx(0);
	KeDeregisterNmiCallback(handle);
	CHECK(done, "NDK-49 a small registration is done when the function returns");
	CHECK(heard == HEARD, "NMI-20 NMIs and DPCs that came meanwhile are there afterwards");
	NTSTATUS status = registration(m->mr, &call, m, LARGE);
	CHECK(status == STATUS_PENDING && call_end(&call, status) == STATUS_SUCCESS,
	      "NDK-49 a large one is not waited for");
	io_unpair(io);
}
#else
#define THREADS 4

struct worker {
	struct memory memory;
	PVOID thread;
	ULONG done;
	BOOLEAN failed;
};

static VOID NTAPI work(PVOID context)
{
	struct worker *worker = context;
	struct memory *m = &worker->memory;
	ULONGLONG end = KeQueryInterruptTime() + 300 * 10000; /* 100 ns */
	while (!worker->failed && KeQueryInterruptTime() < end) {
		worker->failed = WAIT(m->mr->Dispatch->NdkDeregisterMr, m->mr) != STATUS_SUCCESS ||
				 WAIT(m->mr->Dispatch->NdkRegisterMr, m->mr, m->mdl, SMALL,
				      NDK_MR_FLAG_ALLOW_REMOTE_WRITE) != STATUS_SUCCESS ||
				 KeGetCurrentIrql() != PASSIVE_LEVEL;
		worker->done++;
	}
}

static void test(struct io *io)
{
	static struct worker workers[THREADS];
	NDK_ADAPTER *adapter = io->a.adapter;
	NDK_PD *pd = MAKE(NDK_PD, adapter->Dispatch->NdkCreatePd, adapter);
	BOOLEAN made = pd != NULL, done = TRUE;
	for (ULONG i = 0; i < THREADS && made; i++)
		made = memory_make(&workers[i].memory, pd, SMALL, IO_ALL);
	CHECK(made, "NDK-49 each thread has a region");
	for (ULONG i = 0; i < THREADS && made; i++)
		workers[i].thread = check_thread(work, &workers[i]);
	for (ULONG i = 0; i < THREADS && made; i++) {
		check_join(workers[i].thread);
		done = done && workers[i].done && !workers[i].failed;
	}
	CHECK(done, "NDK-49 NDK-50 threads that are switched in the middle get on with it");
	for (ULONG i = 0; i < THREADS; i++)
		memory_close(&workers[i].memory);
	if (pd)
		CLOSE(pd->Dispatch->NdkClosePd, pd);
}
#endif

IO_DRIVER(test)
