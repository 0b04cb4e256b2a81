/* SPDX-License-Identifier: MIT */
/*
 * The dispatcher under load: more threads than processors wait on, signal, queue, migrate and
 * interrupt at random. A model counts along; at the end every count must come out, and a thread
 * that never comes back ends the run by its time limit (PLT-26..39).
 */
#include "torture.h"

#ifndef ROUNDS
#define ROUNDS 1000
#endif
#define PROCESSORS 64
#define WORKERS    24
#define MUTEXES    3

/* One of each worker: only its owner and its own DPCs touch it. */
typedef struct {
	ULONG number;
	RANDOM random;
	KDPC dpc;
	KEVENT dpc_ran;
	volatile LONG dpc_runs;
	LONG dpc_queued;
	ULONG dpc_target;
	KTIMER timer;
	KDPC timer_dpc;
	volatile LONG timer_runs;
	LONG timer_expired;
	LONG produced, consumed;
} WORKER;

static WORKER workers[WORKERS];
static ULONG processors;

static KMUTEX mutexes[MUTEXES];
static ULONG mutex_counts[MUTEXES]; /* under the mutex, with plain arithmetic */
static volatile LONG mutex_takes[MUTEXES];
static PVOID volatile mutex_owners[MUTEXES];

static KSEMAPHORE semaphore;
static KEVENT gate; /* a synchronization event as a lock */
static volatile LONG gate_inside;
static ULONG gate_count;
static volatile LONG gate_takes;

static KSPIN_LOCK spin_lock;
static ULONG spin_count;
static volatile LONG spin_takes;

static volatile LONG ipi_runs[PROCESSORS], ipi_calls;
static volatile LONG children;

/* What the model found wrong; counted in any context, reported at the end. */
static volatile LONG wrong_owner, wrong_processor, wrong_irql, wrong_status, wrong_dpc, wrong_timer;

static LONG add(volatile LONG *counter)
{
	return InterlockedIncrement(counter);
}

/* ---- Mutexes, the gate, the semaphore ---- */

static VOID inside_mutex(WORKER *w, ULONG m)
{
	if (InterlockedExchangePointer(&mutex_owners[m], KeGetCurrentThread()))
		add(&wrong_owner);
	mutex_counts[m]++;
	add(&mutex_takes[m]);
	switch (random_below(&w->random, 8)) {
	case 0: {
		LARGE_INTEGER time = torture_us(50);
		KeDelayExecutionThread(KernelMode, FALSE, &time);
		break;
	}
	case 1: /* again, which only the owner can */
		if (KeWaitForSingleObject(&mutexes[m], Executive, KernelMode, FALSE, NULL) !=
		    STATUS_SUCCESS)
			add(&wrong_status);
		KeReleaseMutex(&mutexes[m], FALSE);
		break;
	}
	if (InterlockedExchangePointer(&mutex_owners[m], NULL) != KeGetCurrentThread())
		add(&wrong_owner);
	KeReleaseMutex(&mutexes[m], FALSE);
}

static VOID take_mutex(WORKER *w)
{
	ULONG m = random_below(&w->random, MUTEXES);
	LARGE_INTEGER time = torture_us((LONG)random_below(&w->random, 300));
	BOOLEAN limited = random_below(&w->random, 4) == 0;
	NTSTATUS status = KeWaitForSingleObject(&mutexes[m], Executive, KernelMode, FALSE,
						limited ? &time : NULL);
	if (status == STATUS_SUCCESS)
		inside_mutex(w, m);
	else if (!limited || status != STATUS_TIMEOUT)
		add(&wrong_status);
}

/* Any one of the mutexes, or all of them at once. */
static VOID take_mutexes(WORKER *w)
{
	PVOID objects[MUTEXES];
	BOOLEAN all = random_below(&w->random, 2) == 0;
	NTSTATUS status;
	ULONG m;
	for (m = 0; m < MUTEXES; m++)
		objects[m] = &mutexes[m];
	status = KeWaitForMultipleObjects(MUTEXES, objects, all ? WaitAll : WaitAny, Executive,
					  KernelMode, FALSE, NULL, NULL);
	if (status < 0 || status >= (all ? 1 : MUTEXES)) {
		add(&wrong_status);
		return;
	}
	for (m = 0; m < MUTEXES; m++) {
		if (all || m == (ULONG)status)
			inside_mutex(w, m);
	}
}

static VOID take_gate(WORKER *w)
{
	LARGE_INTEGER time = torture_us((LONG)random_below(&w->random, 200));
	BOOLEAN limited = random_below(&w->random, 4) == 0;
	NTSTATUS status =
		KeWaitForSingleObject(&gate, Executive, KernelMode, FALSE, limited ? &time : NULL);
	if (limited && status == STATUS_TIMEOUT)
		return;
	if (status != STATUS_SUCCESS)
		add(&wrong_status);
	if (InterlockedExchange(&gate_inside, 1))
		add(&wrong_owner);
	gate_count++;
	add(&gate_takes);
	if (random_below(&w->random, 8) == 0)
		KeSetPriorityThread(KeGetCurrentThread(),
				    (KPRIORITY)(1 + random_below(&w->random, 15)));
	InterlockedExchange(&gate_inside, 0);
	if (KeSetEvent(&gate, (KPRIORITY)random_below(&w->random, 3), FALSE))
		add(&wrong_owner); /* it was closed while we had it */
}

static VOID use_semaphore(WORKER *w)
{
	LARGE_INTEGER time = torture_us((LONG)random_below(&w->random, 200));
	if (random_below(&w->random, 2)) {
		LONG units = (LONG)(1 + random_below(&w->random, 3));
		KeReleaseSemaphore(&semaphore, 0, units, FALSE);
		w->produced += units;
	} else if (KeWaitForSingleObject(&semaphore, Executive, KernelMode, FALSE, &time) ==
		   STATUS_SUCCESS) {
		w->consumed++;
	}
}

/* ---- DPCs and timers ---- */

static VOID NTAPI dpc_routine(PKDPC dpc, PVOID context, PVOID first, PVOID second)
{
	WORKER *w = context;
	if (dpc != &w->dpc || first != w || second != (PVOID)(ULONG_PTR)w->dpc_target)
		add(&wrong_dpc);
	if (KeGetCurrentProcessorNumberEx(NULL) != w->dpc_target)
		add(&wrong_processor);
	if (KeGetCurrentIrql() != DISPATCH_LEVEL)
		add(&wrong_irql);
	add(&w->dpc_runs);
	KeSetEvent(&w->dpc_ran, 0, FALSE);
}

static VOID use_dpc(WORKER *w)
{
	static const KDPC_IMPORTANCE importance[] = {LowImportance, MediumImportance,
						     HighImportance};
	PROCESSOR_NUMBER number;
	w->dpc_target = random_below(&w->random, processors);
	KeGetProcessorNumberFromIndex(w->dpc_target, &number);
	KeSetTargetProcessorDpcEx(&w->dpc, &number);
	KeSetImportanceDpc(&w->dpc, importance[random_below(&w->random, 3)]);
	if (!KeInsertQueueDpc(&w->dpc, w, (PVOID)(ULONG_PTR)w->dpc_target))
		add(&wrong_dpc); /* nobody else queues it, and it has run */
	if (random_below(&w->random, 4) == 0 && KeRemoveQueueDpc(&w->dpc))
		return; /* it must not run any more */
	w->dpc_queued++;
	KeWaitForSingleObject(&w->dpc_ran, Executive, KernelMode, FALSE, NULL);
}

static VOID NTAPI timer_routine(PKDPC dpc, PVOID context, PVOID first, PVOID second)
{
	WORKER *w = context;
	UNREFERENCED_PARAMETER(first);
	UNREFERENCED_PARAMETER(second);
	if (dpc != &w->timer_dpc || KeGetCurrentIrql() != DISPATCH_LEVEL)
		add(&wrong_irql);
	add(&w->timer_runs);
}

static VOID use_timer(WORKER *w)
{
	LARGE_INTEGER due = torture_us((LONG)random_below(&w->random, 300));
	if (KeSetTimer(&w->timer, due, &w->timer_dpc))
		add(&wrong_timer); /* it was not set */
	if (random_below(&w->random, 3) == 0) {
		if (KeCancelTimer(&w->timer))
			return;
	} else if (KeWaitForSingleObject(&w->timer, Executive, KernelMode, FALSE, NULL) !=
		   STATUS_SUCCESS) {
		add(&wrong_status);
	}
	w->timer_expired++;
	if (!KeReadStateTimer(&w->timer))
		add(&wrong_timer);
	KeFlushQueuedDpcs();
	if (w->timer_runs != w->timer_expired)
		add(&wrong_timer); /* each expiry runs its DPC once */
}

/* ---- Moving, interrupting, locking ---- */

static VOID move(WORKER *w)
{
	ULONG target = random_below(&w->random, processors);
	PROCESSOR_NUMBER number;
	GROUP_AFFINITY affinity = {0}, before;
	KeGetProcessorNumberFromIndex(target, &number);
	affinity.Group = number.Group;
	affinity.Mask = (KAFFINITY)1 << number.Number;
	KeSetSystemGroupAffinityThread(&affinity, &before);
	if (KeGetCurrentProcessorNumberEx(NULL) != target)
		add(&wrong_processor);
	if (random_below(&w->random, 2)) {
		LARGE_INTEGER time = torture_us(30);
		KeDelayExecutionThread(KernelMode, FALSE, &time);
		if (KeGetCurrentProcessorNumberEx(NULL) != target)
			add(&wrong_processor);
	}
	KeRevertToUserGroupAffinityThread(&before);
}

static ULONG_PTR NTAPI ipi_routine(ULONG_PTR argument)
{
	if (KeGetCurrentIrql() != IPI_LEVEL || argument != (ULONG_PTR)&ipi_calls)
		add(&wrong_irql);
	add(&ipi_runs[KeGetCurrentProcessorNumberEx(NULL)]);
	return argument;
}

static VOID interrupt_all(VOID)
{
	add(&ipi_calls);
	if (KeIpiGenericCall(ipi_routine, (ULONG_PTR)&ipi_calls) != (ULONG_PTR)&ipi_calls)
		add(&wrong_status);
}

static VOID take_spin_lock(WORKER *w)
{
	KIRQL old;
	KeAcquireSpinLock(&spin_lock, &old);
	if (old != PASSIVE_LEVEL || KeGetCurrentIrql() != DISPATCH_LEVEL)
		add(&wrong_irql);
	spin_count++;
	add(&spin_takes);
	if (random_below(&w->random, 16) == 0)
		KeStallExecutionProcessor(20);
	KeReleaseSpinLock(&spin_lock, old);
}

static VOID NTAPI child(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
	add(&children);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID have_child(VOID)
{
	LONG before = children;
	PVOID thread = check_thread(child, NULL);
	if (!thread) {
		add(&wrong_status);
		return;
	}
	check_join(thread);
	if (children == before)
		add(&wrong_status);
}

static VOID NTAPI worker(PVOID context)
{
	WORKER *w = context;
	ULONG round;
	for (round = 0; round < ROUNDS; round++) {
		switch (random_below(&w->random, 22)) {
		case 0 ... 3:
			take_mutex(w);
			break;
		case 4 ... 5:
			take_mutexes(w);
			break;
		case 6 ... 8:
			take_gate(w);
			break;
		case 9 ... 11:
			use_semaphore(w);
			break;
		case 12 ... 13:
			use_dpc(w);
			break;
		case 14 ... 15:
			use_timer(w);
			break;
		case 16:
			move(w);
			break;
		case 17 ... 18:
			take_spin_lock(w);
			break;
		case 19:
			KeSetPriorityThread(KeGetCurrentThread(),
					    (KPRIORITY)(1 + random_below(&w->random, 24)));
			break;
		case 20:
			if (random_below(&w->random, 4) == 0)
				interrupt_all();
			break;
		default:
			if (random_below(&w->random, 8) == 0)
				have_child();
			break;
		}
		if (KeGetCurrentIrql() != PASSIVE_LEVEL)
			add(&wrong_irql);
	}
	PsTerminateSystemThread(STATUS_SUCCESS);
}

/* ---- The model's sums ---- */

static VOID check_sums(ULONG count)
{
	LONG produced = 0, consumed = 0, dpcs = 0, dpcs_queued = 0, timers = 0, expired = 0;
	BOOLEAN mutexes_right = TRUE, ipis_right = TRUE;
	ULONG i;
	for (i = 0; i < count; i++) {
		produced += workers[i].produced;
		consumed += workers[i].consumed;
		dpcs += workers[i].dpc_runs;
		dpcs_queued += workers[i].dpc_queued;
		timers += workers[i].timer_runs;
		expired += workers[i].timer_expired;
	}
	for (i = 0; i < MUTEXES; i++)
		mutexes_right &= mutex_counts[i] == (ULONG)mutex_takes[i] &&
				 KeReadStateMutex(&mutexes[i]) == 1;
	for (i = 0; i < processors; i++)
		ipis_right &= ipi_runs[i] == ipi_calls;
	DbgPrint("dispatcher: %u threads on %u processors: %d mutexes, %d gates, %d units, %d "
		 "DPCs, %d timers, %d IPIs, "
		 "%d children\n",
		 count, processors, mutex_takes[0] + mutex_takes[1] + mutex_takes[2], gate_takes,
		 produced, dpcs, timers, ipi_calls, children);
	CHECK(mutexes_right, "PLT-30 each take of a mutex counted once");
	CHECK(gate_count == (ULONG)gate_takes && KeReadStateEvent(&gate),
	      "PLT-26 an event lets one thread through");
	CHECK(produced == consumed + KeReadStateSemaphore(&semaphore),
	      "PLT-31 no unit of a semaphore is lost");
	CHECK(dpcs == dpcs_queued, "PLT-33 each DPC that was not removed ran once");
	CHECK(timers == expired, "PLT-38 each expiry ran its DPC once");
	CHECK(ipis_right, "PLT-39 a generic call ran on each processor once");
	CHECK(spin_count == (ULONG)spin_takes, "PLT-16 each take of a spin lock counted once");
	CHECK(!wrong_owner, "PLT-30 never two owners");
	CHECK(!wrong_processor, "PLT-34 threads and DPCs run where they must");
	CHECK(!wrong_irql, "PLT-11 the IRQL is what the context says");
	CHECK(!wrong_status, "PLT-27 waits return what they may");
	CHECK(!wrong_dpc && !wrong_timer, "PLT-33 DPCs and timers are where the model has them");
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	PVOID threads[WORKERS];
	ULONG i, count;
	UNREFERENCED_PARAMETER(DriverObject);
	UNREFERENCED_PARAMETER(RegistryPath);
	processors = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
	count = 2 * processors + 3;
	if (count > WORKERS)
		count = WORKERS;
	for (i = 0; i < MUTEXES; i++)
		KeInitializeMutex(&mutexes[i], 0);
	KeInitializeSemaphore(&semaphore, 0, MAXLONG);
	KeInitializeEvent(&gate, SynchronizationEvent, TRUE);
	KeInitializeSpinLock(&spin_lock);
	for (i = 0; i < count; i++) {
		WORKER *w = &workers[i];
		w->number = i;
		random_start(&w->random, i);
		KeInitializeDpc(&w->dpc, dpc_routine, w);
		KeInitializeEvent(&w->dpc_ran, SynchronizationEvent, FALSE);
		KeInitializeTimer(&w->timer);
		KeInitializeDpc(&w->timer_dpc, timer_routine, w);
	}
	for (i = 0; i < count; i++)
		threads[i] = check_thread(worker, &workers[i]);
	for (i = 0; i < count; i++)
		check_join(threads[i]);
	KeFlushQueuedDpcs();
	check_sums(count);
	return check_result();
}

DRIVER_INITIALIZE DriverEntry;
