/* SPDX-License-Identifier: MIT */
/*
 * DPCs from everywhere: NMI callbacks and threads queue them to all processors while threads on
 * other processors remove and flush them. Each DPC that was queued runs once or was removed, never
 * both, never neither (PLT-32..37, NMI-32).
 */
#include "torture.h"

#ifndef ROUNDS
#define ROUNDS 1000
#endif
#define PROCESSORS 16

typedef struct {
	KDPC dpc;
	volatile LONG queued, removed, runs, refused;
	ULONG target;
} BLOCK;

static BLOCK from_nmi[PROCESSORS], from_thread[PROCESSORS], passing[PROCESSORS];
static ULONG processors;
static volatile LONG wrong_place, wrong_result, lost, working;

static VOID NTAPI routine(PKDPC dpc, PVOID context, PVOID first, PVOID second)
{
	BLOCK *block = context;
	UNREFERENCED_PARAMETER(second);
	if (dpc != &block->dpc || first != block || KeGetCurrentIrql() != DISPATCH_LEVEL ||
	    KeGetCurrentProcessorNumberEx(NULL) != block->target)
		InterlockedIncrement(&wrong_place);
	InterlockedIncrement(&block->runs);
}

/* Before it is queued: the routine may run before the call returns. */
static VOID queue(BLOCK *block)
{
	InterlockedIncrement(&block->queued);
	if (!KeInsertQueueDpc(&block->dpc, block, NULL)) {
		InterlockedDecrement(&block->queued);
		InterlockedIncrement(&block->refused);
	}
}

static VOID take_back(BLOCK *block)
{
	if (KeRemoveQueueDpc(&block->dpc))
		InterlockedIncrement(&block->removed);
}

/* Queues to the next processor, sometimes to its own. */
static BOOLEAN NTAPI on_nmi(PVOID context, BOOLEAN handled)
{
	ULONG self = KeGetCurrentProcessorNumberEx(NULL);
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(handled);
	queue(&from_nmi[(self + 1) % processors]);
	if (KeRemoveQueueDpc(&from_nmi[self].dpc)) /* which an NMI callback cannot */
		InterlockedIncrement(&wrong_result);
	return TRUE;
}

static VOID flood(RANDOM *random)
{
	KAFFINITY_EX set;
	ULONG i;
	KeInitializeAffinityEx(&set);
	for (i = 0; i < processors; i++) {
		if (random_below(random, 2))
			KeAddProcessorAffinityEx(&set, i);
	}
	HalSendNMI(&set);
}

/* Each round queues one that nobody removes and waits until it has run, however others stir its
 * target's queue. */
static VOID pass_one(BLOCK *block)
{
	LONG before = block->runs;
	ULONG tries;
	queue(block);
	for (tries = 0; block->runs == before; tries++) {
		if (tries < 1000) {
			YieldProcessor();
			continue;
		}
		check_sleep(1);
		if (tries == 3000) { /* two seconds */
			InterlockedIncrement(&lost);
			return;
		}
	}
}

static VOID NTAPI worker(PVOID argument)
{
	ULONG self = (ULONG)(ULONG_PTR)argument, round;
	RANDOM random;
	random_start(&random, self);
	KeSetSystemAffinityThreadEx((KAFFINITY)1 << self);
	for (round = 0; round < ROUNDS; round++) {
		BLOCK *block = &from_thread[random_below(&random, processors)];
		switch (random_below(&random, 16)) {
		case 0 ... 4:
			queue(block);
			break;
		case 5 ... 9:
			take_back(block);
			break;
		case 10 ... 12:
			take_back(&from_nmi[random_below(&random, processors)]);
			break;
		case 13:
			pass_one(&passing[self]);
			break;
		case 14:
			flood(&random);
			break;
		default:
			if (random_below(&random, 4) == 0)
				KeFlushQueuedDpcs();
			break;
		}
	}
	InterlockedDecrement(&working);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID prepare(BLOCK *block, ULONG target)
{
	PROCESSOR_NUMBER number;
	KeGetProcessorNumberFromIndex(target, &number);
	KeInitializeDpc(&block->dpc, routine, block);
	KeSetTargetProcessorDpcEx(&block->dpc, &number);
	block->target = target;
	if (target % 2)
		KeSetImportanceDpc(&block->dpc, HighImportance);
}

static BOOLEAN adds_up(BLOCK *blocks, const char *name)
{
	LONG queued = 0, removed = 0, runs = 0, refused = 0;
	ULONG i;
	BOOLEAN right = TRUE;
	for (i = 0; i < processors; i++) {
		queued += blocks[i].queued;
		removed += blocks[i].removed;
		runs += blocks[i].runs;
		refused += blocks[i].refused;
		right &= blocks[i].queued == blocks[i].removed + blocks[i].runs;
	}
	DbgPrint("dpc: %s: %d queued, %d removed, %d ran, %d were queued already\n", name, queued,
		 removed, runs, refused);
	return right && queued != 0;
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	PVOID threads[PROCESSORS], handle;
	ULONG i;
	UNREFERENCED_PARAMETER(DriverObject);
	UNREFERENCED_PARAMETER(RegistryPath);
	processors = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
	if (processors > PROCESSORS)
		processors = PROCESSORS;
	for (i = 0; i < processors; i++) {
		prepare(&from_nmi[i], i);
		prepare(&from_thread[i], i);
		prepare(&passing[i], (i + 1) % processors);
	}
	handle = KeRegisterNmiCallback(on_nmi, NULL);
	working = (LONG)processors;
	for (i = 0; i < processors; i++)
		threads[i] = check_thread(worker, (PVOID)(ULONG_PTR)i);
	for (i = 0; i < processors; i++)
		check_join(threads[i]);
	/* A send waits a millisecond for its NMI; a busy host may take longer. */
	check_sleep(50);
	KeDeregisterNmiCallback(handle);
	KeFlushQueuedDpcs();
	CHECK(adds_up(from_nmi, "from NMI callbacks"),
	      "NMI-32 DPCs queued by NMI callbacks run once or are removed");
	CHECK(adds_up(from_thread, "from threads"),
	      "PLT-33 DPCs queued by threads run once or are removed");
	CHECK(adds_up(passing, "not removed"), "PLT-33 DPCs that nobody removes run once");
	CHECK(!lost, "PLT-33 no DPC is forgotten in its queue");
	CHECK(!wrong_place, "PLT-34 DPCs run on their processor at DISPATCH_LEVEL");
	CHECK(!wrong_result, "PLT-33 an NMI callback removes nothing");
	return check_result();
}

DRIVER_INITIALIZE DriverEntry;
