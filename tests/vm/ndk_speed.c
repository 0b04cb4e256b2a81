/* SPDX-License-Identifier: MIT */
/*
 * ndk_speed.c: what verbs_baseline.c measures, through NDK: a registration of 4 KiB with its
 * deregistration, and an RDMA write of 4 KiB from post to completion, polled. And how long a
 * message that had to wait for its receive takes once that is posted: the peer asks again soon.
 */
#include "consumer.h"

#define SIZE   4096
#define PAIRS  2000
#define WRITES 500

static ULONG taken[PAIRS > WRITES ? PAIRS : WRITES]; /* ns */

static ULONG median(ULONG count)
{
	for (ULONG i = 1; i < count; i++) {
		ULONG value = taken[i], at = i;
		for (; at && taken[at - 1] > value; at--)
			taken[at] = taken[at - 1];
		taken[at] = value;
	}
	return taken[count / 2];
}

static ULONG64 now_ns(void)
{
	LARGE_INTEGER frequency, counter = KeQueryPerformanceCounter(&frequency);
	return (ULONG64)(counter.QuadPart / frequency.QuadPart) * 1000000000u +
	       (ULONG64)(counter.QuadPart % frequency.QuadPart) * 1000000000u /
		       (ULONG64)frequency.QuadPart;
}

static VOID NTAPI set(PVOID context, NTSTATUS status)
{
	*(volatile NTSTATUS *)context = status;
}

/* As a consumer at DISPATCH_LEVEL would: no event, no wait. */
static NTSTATUS spin(NTSTATUS status, volatile NTSTATUS *later)
{
	if (status != STATUS_PENDING)
		return status;
	while (*later == STATUS_PENDING)
		YieldProcessor();
	return *later;
}

static void registrations(struct end *end)
{
	struct memory m;
	BOOLEAN good = memory_make(&m, end->pd, SIZE, NDK_MR_FLAG_ALLOW_REMOTE_WRITE);
	good = good && NT_SUCCESS(WAIT(m.mr->Dispatch->NdkDeregisterMr, m.mr));
	for (ULONG i = 0; i < PAIRS && good; i++) {
		volatile NTSTATUS later[2] = {STATUS_PENDING, STATUS_PENDING};
		ULONG64 start = now_ns();
		good = NT_SUCCESS(spin(
			       m.mr->Dispatch->NdkRegisterMr(m.mr, m.mdl, SIZE,
							     NDK_MR_FLAG_ALLOW_REMOTE_READ |
								     NDK_MR_FLAG_ALLOW_REMOTE_WRITE,
							     set, (PVOID)&later[0]),
			       &later[0])) &&
		       NT_SUCCESS(spin(m.mr->Dispatch->NdkDeregisterMr(m.mr, set, (PVOID)&later[1]),
				       &later[1]));
		taken[i] = (ULONG)(now_ns() - start);
	}
	CHECK(good, "NDK-49 NDK-50 registrations");
	DbgPrint("ndk_speed: register+deregister %u ns\n", median(PAIRS));
	if (good) /* memory_close deregisters */
		good = NT_SUCCESS(WAIT(m.mr->Dispatch->NdkRegisterMr, m.mr, m.mdl, SIZE, 0));
	memory_close(&m);
}

static void writes(struct end ends[2])
{
	struct memory from, to;
	BOOLEAN good = memory_make(&from, ends[0].pd, SIZE, NDK_MR_FLAG_ALLOW_LOCAL_WRITE) &&
		       memory_make(&to, ends[1].pd, SIZE, NDK_MR_FLAG_ALLOW_REMOTE_WRITE);
	CHECK(good, "NDK-49 memory of both ends");
	if (!good)
		return;
	RtlFillMemory(from.data, SIZE, 0x5a);
	NDK_SGE sge = memory_sge(&from, 0, SIZE);
	UINT32 token = to.mr->Dispatch->NdkGetRemoteTokenFromMr(to.mr);
	for (ULONG i = 0; i < WRITES && good; i++) {
		NDK_RESULT_EX result;
		ULONG64 start = now_ns();
		good = NT_SUCCESS(ends[0].qp->Dispatch->NdkWrite(ends[0].qp, NULL, &sge, 1,
								 (UINT64)to.data, token, 0)) &&
		       NT_SUCCESS(end_poll(&ends[0], &result));
		taken[i] = (ULONG)(now_ns() - start);
	}
	CHECK(good && RtlCompareMemory(from.data, to.data, SIZE) == SIZE, "NDK-67 writes arrive");
	DbgPrint("ndk_speed: write 4096 %u ns\n", median(WRITES));
	memory_close(&from);
	memory_close(&to);
}

static void late_receive(struct end ends[2])
{
	struct memory m[2];
	ULONG64 best = ~0ull;
	BOOLEAN good = memory_make(&m[0], ends[0].pd, SIZE, 0) &&
		       memory_make(&m[1], ends[1].pd, SIZE, NDK_MR_FLAG_ALLOW_LOCAL_WRITE);
	for (ULONG i = 0; i < 5 && good; i++) {
		NDK_SGE from = memory_sge(&m[0], 0, SIZE), to = memory_sge(&m[1], 0, SIZE);
		NDK_RESULT_EX result;
		good = NT_SUCCESS(ends[0].qp->Dispatch->NdkSend(ends[0].qp, NULL, &from, 1, 0));
		check_sleep(20);
		ULONG64 start = now_ns();
		good = good &&
		       NT_SUCCESS(ends[1].qp->Dispatch->NdkReceive(ends[1].qp, NULL, &to, 1)) &&
		       NT_SUCCESS(end_poll(&ends[1], &result));
		if (now_ns() - start < best)
			best = now_ns() - start;
		good = good && NT_SUCCESS(end_poll(&ends[0], &result));
	}
	CHECK(good && best < 400000000, "DEF-112 a late receive gets its message soon");
	DbgPrint("ndk_speed: late receive %u ns\n", (ULONG)best);
	memory_close(&m[0]);
	memory_close(&m[1]);
}

static void measure(struct consumer *consumer)
{
	static struct end ends[2];
	static struct door door;
	BOOLEAN good = pair_make(ends, &door, consumer);
	CHECK(good, "NDK-136 two ends of one adapter");
	if (!good)
		return;
	registrations(&ends[0]);
	writes(ends);
	late_receive(ends);
	end_close(&ends[0]);
	end_close(&ends[1]);
	door_close(&door);
}

CONSUMER_DRIVER(measure)
