/* SPDX-License-Identifier: MIT */
/*
 * NMIs flood all processors while threads on all of them register and deregister callbacks with
 * contexts that are poisoned as soon as a deregistration has returned: a callback that sees poison
 * was called too late (NMI-13, NMI-28, NMI-29).
 *
 *     ketch cc -DROUNDS=2000 nmi_torture.c
 */
#include "check.h"
#include <ntaffinity.h>

#ifndef ROUNDS
#define ROUNDS 1000
#endif
#ifndef SEED
#define SEED 12345
#endif
#define WORKERS    64
#define PER_WORKER 4
#define ALIVE      0x616c6976u
#define POISON     0xdeaddeadu

typedef struct {
	volatile ULONG state;
	volatile LONG calls;
} CONTEXT_BLOCK;

static volatile LONG running, late, torn;
static volatile LONG64 total;
static ULONG processors;

static BOOLEAN NTAPI on_nmi(PVOID context, BOOLEAN handled)
{
	CONTEXT_BLOCK *block = context;
	ULONG state = block->state;
	volatile ULONG spin;
	UNREFERENCED_PARAMETER(handled);
	if (state == POISON)
		InterlockedIncrement(&late);
	else if (state != ALIVE)
		InterlockedIncrement(&torn);
	InterlockedIncrement(&block->calls);
	InterlockedIncrement64(&total);
	for (spin = 0; spin < 50; spin++)
		;
	if (block->state != state)
		InterlockedIncrement(&late); /* it died while it was called */
	return TRUE;
}

/* Claims every NMI, so that none is left over when the others come and go. */
static BOOLEAN NTAPI on_nmi_claim(PVOID context, BOOLEAN handled)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(handled);
	return TRUE;
}

static ULONG next_random(ULONG *seed)
{
	return *seed = *seed * 1664525 + 1013904223;
}

static VOID NTAPI worker(PVOID argument)
{
	ULONG self = (ULONG)(ULONG_PTR)argument, seed = SEED * 2654435761u + self, round, i;
	CONTEXT_BLOCK *blocks =
		ExAllocatePoolWithTag(NonPagedPoolNx, PER_WORKER * sizeof *blocks, 'troT');
	PVOID handles[PER_WORKER] = {NULL};
	KAFFINITY_EX all;

	KeSetSystemAffinityThreadEx((KAFFINITY)1 << self);
	KeInitializeAffinityEx(&all);
	for (i = 0; i < processors; i++)
		KeAddProcessorAffinityEx(&all, i);
	for (round = 0; blocks && round < ROUNDS; round++) {
		i = next_random(&seed) % PER_WORKER;
		if (handles[i]) {
			if (KeDeregisterNmiCallback(handles[i]) != STATUS_SUCCESS)
				InterlockedIncrement(&torn);
			handles[i] = NULL;
			blocks[i].state = POISON;
		} else {
			blocks[i].state = ALIVE;
			handles[i] = KeRegisterNmiCallback(on_nmi, &blocks[i]);
			if (!handles[i])
				InterlockedIncrement(&torn);
		}
		if (next_random(&seed) % 2)
			HalSendNMI(&all);
	}
	for (i = 0; i < PER_WORKER; i++) {
		if (handles[i])
			KeDeregisterNmiCallback(handles[i]);
		if (blocks)
			blocks[i].state = POISON;
	}
	if (blocks)
		ExFreePoolWithTag(blocks, 'troT');
	InterlockedDecrement(&running);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	PVOID threads[WORKERS], claim;
	ULONG i;
	UNREFERENCED_PARAMETER(DriverObject);
	UNREFERENCED_PARAMETER(RegistryPath);
	processors = KeQueryActiveProcessorCount(NULL);
	if (processors > WORKERS)
		processors = WORKERS;
	claim = KeRegisterNmiCallback(on_nmi_claim, NULL);
	running = (LONG)processors;
	for (i = 0; i < processors; i++)
		threads[i] = check_thread(worker, (PVOID)(ULONG_PTR)i);
	for (i = 0; i < processors; i++)
		check_join(threads[i]);
	check_sleep(5);
	KeDeregisterNmiCallback(claim);
	DbgPrint("nmi_torture: %u rounds on each of %u processors, %I64d calls\n", ROUNDS,
		 processors, total);
	CHECK(total > 0, "NMI-20 callbacks were called");
	CHECK(late == 0, "NMI-13 no callback after its deregistration returned");
	CHECK(torn == 0, "NMI-28 no torn list, no lost registration");
	return check_result();
}

DRIVER_INITIALIZE DriverEntry;
