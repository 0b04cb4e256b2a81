/* SPDX-License-Identifier: MIT */
/*
 * Spin lock rules (VER-8, VER-12, VER-23, VER-29, PLT-15..20, PLT-23). CASE 0 uses every form as
 * documented; the others break one rule each.
 */
#include "check.h"

static KSPIN_LOCK lock, other, third;
static EX_SPIN_LOCK shared;
static KLOCK_QUEUE_HANDLE handle, second;

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

CHECK_HELPER void plain_forms(void)
{
	KIRQL old, high;
	KeAcquireSpinLock(&lock, &old);
	CHECK(old == PASSIVE_LEVEL && KeGetCurrentIrql() == DISPATCH_LEVEL,
	      "PLT-16 raises and returns the old IRQL");
	CHECK(!KeTestSpinLock(&lock), "PLT-19 a held lock does not look free");
	CHECK(!KeTryToAcquireSpinLockAtDpcLevel(&lock),
	      "PLT-19 a held lock is not acquired by a try");
	KeReleaseSpinLock(&lock, old);
	CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL && lock == 0, "PLT-17 releases and lowers");
	CHECK(KeTestSpinLock(&lock), "PLT-19 a free lock looks free");

	KeRaiseIrql(APC_LEVEL, &high);
	old = KeAcquireSpinLockRaiseToDpc(&lock);
	CHECK(old == APC_LEVEL, "PLT-16 from APC_LEVEL");
	KeReleaseSpinLock(&lock, old);
	CHECK(KeGetCurrentIrql() == APC_LEVEL, "PLT-17 back to APC_LEVEL");
	KeLowerIrql(high);

	KeRaiseIrql(DISPATCH_LEVEL, &old);
	KeAcquireSpinLockAtDpcLevel(&lock);
	KeReleaseSpinLockFromDpcLevel(&lock);
	CHECK(KeTryToAcquireSpinLockAtDpcLevel(&lock), "PLT-19 a try acquires a free lock");
	KeReleaseSpinLockFromDpcLevel(&lock);
	KIRQL inner = KeAcquireSpinLockForDpc(&lock);
	CHECK(inner == DISPATCH_LEVEL, "ForDpc at DISPATCH_LEVEL");
	KeReleaseSpinLockForDpc(&lock, inner);
	KeLowerIrql(old);
}

CHECK_HELPER void queued_forms(void)
{
	KIRQL old;
	KeAcquireInStackQueuedSpinLock(&lock, &handle);
	CHECK(KeGetCurrentIrql() == DISPATCH_LEVEL && handle.OldIrql == PASSIVE_LEVEL,
	      "PLT-20 the handle keeps the IRQL");
	KeReleaseInStackQueuedSpinLock(&handle);
	CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL && lock == 0, "PLT-20 releases and lowers");
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	KeAcquireInStackQueuedSpinLockAtDpcLevel(&lock, &handle);
	KeReleaseInStackQueuedSpinLockFromDpcLevel(&handle);
	KeAcquireInStackQueuedSpinLockForDpc(&lock, &handle);
	KeReleaseInStackQueuedSpinLockForDpc(&handle);
	CHECK(KeGetCurrentIrql() == DISPATCH_LEVEL && lock == 0, "DEF-262 no change of IRQL");
	KeLowerIrql(old);
}

CHECK_HELPER void shared_forms(void)
{
	KIRQL old = ExAcquireSpinLockShared(&shared), inner;
	CHECK(old == PASSIVE_LEVEL && KeGetCurrentIrql() == DISPATCH_LEVEL,
	      "a reader raises the IRQL");
	CHECK(!ExTryAcquireSpinLockExclusiveAtDpcLevel(&shared),
	      "no writer while there is a reader");
	CHECK(ExTryConvertSharedSpinLockExclusive(&shared), "the only reader becomes the writer");
	CHECK(!ExTryAcquireSpinLockSharedAtDpcLevel(&shared), "no reader while there is a writer");
	ExReleaseSpinLockExclusive(&shared, old);
	old = ExAcquireSpinLockExclusive(&shared);
	ExReleaseSpinLockExclusive(&shared, old);
	KeRaiseIrql(DISPATCH_LEVEL, &inner);
	ExAcquireSpinLockSharedAtDpcLevel(&shared);
	ExReleaseSpinLockSharedFromDpcLevel(&shared);
	ExAcquireSpinLockExclusiveAtDpcLevel(&shared);
	ExReleaseSpinLockExclusiveFromDpcLevel(&shared);
	KeLowerIrql(inner);
	CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL && shared == 0, "released and lowered");
}

#define RAISED(level, call)                                                                        \
	do {                                                                                       \
		KIRQL old_;                                                                        \
		KeRaiseIrql(level, &old_);                                                         \
		call;                                                                              \
		KeLowerIrql(old_);                                                                 \
	} while (0)

CHECK_HELPER void in_order(PKSPIN_LOCK first, PKSPIN_LOCK next)
{
	KIRQL old;
	KLOCK_QUEUE_HANDLE inner;
	KeAcquireSpinLock(first, &old);
	KeAcquireInStackQueuedSpinLockAtDpcLevel(next, &inner);
	KeReleaseInStackQueuedSpinLockFromDpcLevel(&inner);
	KeReleaseSpinLock(first, old);
}

/* Orders that do not contradict, also when the memory of a lock becomes another lock's. */
CHECK_HELPER void orders(void)
{
	in_order(&lock, &other);
	in_order(&other, &third);
	in_order(&lock, &third);
	for (int i = 0; i < 4; i++) {
		PKSPIN_LOCK block = ExAllocatePool2(POOL_FLAG_NON_PAGED, sizeof *block, 'tseT');
		KSPIN_LOCK here = 0;
		if (i & 1)
			in_order(block, &lock);
		else
			in_order(&lock, block);
		if (i & 1)
			in_order(&here, &lock);
		else
			in_order(&lock, &here);
		ExFreePoolWithTag(block, 'tseT');
	}
	UNICODE_STRING name;
	RtlInitUnicodeString(&name, L"KeInitializeSpinLock");
	/* The export: what headers inline is only a store. */
	VOID(NTAPI * initialize)
	(PKSPIN_LOCK) = (VOID(NTAPI *)(PKSPIN_LOCK))(ULONG_PTR)MmGetSystemRoutineAddress(&name);
	initialize(&third);
	in_order(&third, &lock);
}

CHECK_HELPER void broken(int which)
{
	KIRQL old;
	switch (which) {
	case 1: /* released at PASSIVE_LEVEL */
		KeAcquireSpinLock(&lock, &old);
		KeLowerIrql(PASSIVE_LEVEL);
		KeReleaseSpinLock(&lock, PASSIVE_LEVEL);
		break;
	case 2: /* to another IRQL than before */
		KeAcquireSpinLock(&lock, &old);
		KeReleaseSpinLock(&lock, APC_LEVEL);
		KeLowerIrql(PASSIVE_LEVEL);
		break;
	case 3: /* AtDpcLevel at PASSIVE_LEVEL */
		KeAcquireSpinLockAtDpcLevel(&lock);
		RAISED(DISPATCH_LEVEL, KeReleaseSpinLockFromDpcLevel(&lock));
		break;
	case 4: /* released, but not held */
		RAISED(DISPATCH_LEVEL, KeReleaseSpinLock(&lock, DISPATCH_LEVEL));
		break;
	case 5: /* acquired by one form, released by the other */
		KeAcquireSpinLock(&lock, &old);
		KeReleaseSpinLockFromDpcLevel(&lock);
		KeLowerIrql(old);
		break;
	case 6: /* acquired twice */
		KeAcquireSpinLock(&lock, &old);
		KeAcquireSpinLockAtDpcLevel(&lock);
		break;
	case 7: /* queued lock acquired twice */
		KeAcquireInStackQueuedSpinLock(&lock, &handle);
		KeAcquireInStackQueuedSpinLockAtDpcLevel(&lock, &second);
		break;
	case 8: /* queued lock released twice */
		KeAcquireInStackQueuedSpinLock(&lock, &handle);
		KeReleaseInStackQueuedSpinLock(&handle);
		RAISED(DISPATCH_LEVEL, KeReleaseInStackQueuedSpinLock(&handle));
		break;
	case 9: /* above DISPATCH_LEVEL */
		RAISED(3, KeAcquireSpinLock(&lock, &old); KeReleaseSpinLock(&lock, old));
		break;
	case 10: /* queued, above DISPATCH_LEVEL */
		RAISED(3, KeAcquireInStackQueuedSpinLock(&lock, &handle));
		break;
	case 11: /* queued AtDpcLevel at APC_LEVEL */
		RAISED(APC_LEVEL, KeAcquireInStackQueuedSpinLockAtDpcLevel(&lock, &handle));
		break;
	case 12: /* queued FromDpcLevel at APC_LEVEL */
		KeAcquireInStackQueuedSpinLockAtDpcLevel(
			&lock, (KeRaiseIrql(DISPATCH_LEVEL, &old), &handle));
		KeLowerIrql(APC_LEVEL);
		KeReleaseInStackQueuedSpinLockFromDpcLevel(&handle);
		KeLowerIrql(old);
		break;
	case 13: /* a writer releases as a reader */
		old = ExAcquireSpinLockExclusive(&shared);
		ExReleaseSpinLockShared(&shared, old);
		break;
	case 14: /* a reader wants to write */
		ExAcquireSpinLockShared(&shared);
		ExAcquireSpinLockExclusiveAtDpcLevel(&shared);
		break;
	case 16: /* A before B, then B before A */
		in_order(&lock, &other);
		in_order(&other, &lock);
		break;
	case 17: /* A before B before C, then C before A */
		in_order(&lock, &other);
		in_order(&other, &third);
		in_order(&third, &lock);
		break;
	case 15: /* queued lock released at APC_LEVEL */
		KeAcquireInStackQueuedSpinLock(&lock, &handle);
		KeLowerIrql(APC_LEVEL);
		KeReleaseInStackQueuedSpinLock(&handle);
		break;
	}
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	lock = 0x77;
	KeInitializeSpinLock(&lock);
	CHECK(lock == 0, "PLT-15 a free lock is 0");
	if (CASE) {
		broken(CASE);
	} else {
		plain_forms();
		queued_forms();
		shared_forms();
		orders();
	}
	return check_result();
}
