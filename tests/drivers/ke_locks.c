/* SPDX-License-Identifier: MIT */
/* Spin locks of all kinds under contention: threads on all processors change plain variables, and
 * none of the changes is lost. */
#include "check.h"

#define THREADS 4
#define ROUNDS  3000

static KSPIN_LOCK plain, queued;
static EX_SPIN_LOCK shared;
static ULONG plain_sum, queued_sum, written, torn;
static volatile LONG readers, most_readers;

static void use_plain(ULONG round)
{
	KIRQL old;
	if (round & 1) {
		KeAcquireSpinLock(&plain, &old);
		plain_sum++;
		KeReleaseSpinLock(&plain, old);
	} else {
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		KeAcquireSpinLockAtDpcLevel(&plain);
		plain_sum++;
		KeReleaseSpinLockFromDpcLevel(&plain);
		KeLowerIrql(old);
	}
}

static void use_queued(void)
{
	KLOCK_QUEUE_HANDLE handle;
	KeAcquireInStackQueuedSpinLock(&queued, &handle);
	queued_sum++;
	KeReleaseInStackQueuedSpinLock(&handle);
}

static void use_shared(ULONG round)
{
	static volatile ULONG one, two;
	KIRQL old;
	if (round % 8 == 0) {
		old = ExAcquireSpinLockExclusive(&shared);
		one++;
		written++;
		two++;
		ExReleaseSpinLockExclusive(&shared, old);
		return;
	}
	old = ExAcquireSpinLockShared(&shared);
	LONG now = InterlockedIncrement(&readers);
	if (now > most_readers)
		most_readers = now;
	if (one != two)
		torn++;
	InterlockedDecrement(&readers);
	ExReleaseSpinLockShared(&shared, old);
}

static VOID NTAPI worker(PVOID Context)
{
	UNREFERENCED_PARAMETER(Context);
	for (ULONG round = 0; round < ROUNDS; round++) {
		use_plain(round);
		use_queued();
		use_shared(round);
	}
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	PVOID threads[THREADS];
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	for (int i = 0; i < THREADS; i++)
		threads[i] = check_thread(worker, NULL);
	for (int i = 0; i < THREADS; i++)
		check_join(threads[i]);
	CHECK(plain_sum == THREADS * ROUNDS, "PLT-16 no change under a spin lock is lost");
	CHECK(queued_sum == THREADS * ROUNDS, "PLT-20 no change under a queued spin lock is lost");
	CHECK(written == THREADS * ROUNDS / 8, "no change of a writer is lost");
	CHECK(torn == 0, "readers see no writer at work");
	CHECK(plain == 0 && queued == 0 && shared == 0, "PLT-15 the locks are free again");
	return check_result();
}
