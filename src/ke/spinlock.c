/* SPDX-License-Identifier: MIT */
/*
 * Drivers' spin locks (PLT-15..19, PLT-23, DEF-141, DEF-187, VER-8, VER-12, VER-23, VER-29).
 *
 * Runs at any IRQL up to DISPATCH_LEVEL, and above it where a driver breaks the rules. A lock is 8
 * bytes, resident, 0 = free. A held one is 1 | processor index << 1, so that a processor that waits
 * for itself is found at once (PLT-23). A value with bit 0 clear belongs to the queued form
 * (spinlock_queued.c); a lock must be used with one form only, and when it is not, each form waits
 * until the other has left.
 *
 * The common paths call nothing that is not itself a Microsoft-ABI function: the compiler would
 * have to save XMM6..XMM15 around it.
 */
#include "ke/spinlock.h"
#include "ke/internal.h"

static inline KSPIN_LOCK word_of(uint32_t index)
{
	return 1 | (KSPIN_LOCK)index << 1;
}

static inline _Atomic KSPIN_LOCK *atomic_word(PKSPIN_LOCK lock)
{
	return (_Atomic KSPIN_LOCK *)lock;
}

/* One try. Acquire pairs with the release in word_release. */
static inline bool word_try(PKSPIN_LOCK lock)
{
	KSPIN_LOCK expected = 0;
	return atomic_compare_exchange_strong_explicit(atomic_word(lock), &expected,
						       word_of(ke_this()->index),
						       memory_order_acquire, memory_order_relaxed);
}

static inline void word_release(PKSPIN_LOCK lock)
{
	atomic_store_explicit(atomic_word(lock), 0, memory_order_release);
}

static __attribute__((noinline)) VOID NTAPI word_wait(PKSPIN_LOCK lock, const char *ddi,
						      void *return_address)
{
	KSPIN_LOCK own = word_of(ke_this()->index);
	for (unsigned round = 0;; round++) {
		KSPIN_LOCK word = atomic_load_explicit(atomic_word(lock), memory_order_relaxed);
		if (word == own)
			ke_spin_deadlock(VF_SpinLock, ddi, vf_caller(return_address), lock);
		if (!word && word_try(lock))
			return;
		port_spin(round);
	}
}

static inline void word_acquire(PKSPIN_LOCK lock, const char *ddi, void *return_address)
{
	if (!word_try(lock))
		word_wait(lock, ddi, return_address);
}

/* Verifier on: the acquire is written down. */
static __attribute__((noinline)) VOID NTAPI note_acquire(PKSPIN_LOCK lock, void *return_address,
							 unsigned kind, KIRQL irql)
{
	ke_held_add(lock, vf_caller(return_address), kind, irql);
}

static __attribute__((noinline)) VOID NTAPI check_order(PKSPIN_LOCK lock, const char *ddi,
							void *return_address)
{
	if (!ke_in_nmi())
		ke_held_check_order(lock, vf_caller(return_address), ddi);
}

static __attribute__((noinline)) VOID NTAPI check_release(PKSPIN_LOCK lock, const char *ddi,
							  void *return_address, unsigned kind,
							  KIRQL irql)
{
	bool free = !atomic_load_explicit(atomic_word(lock), memory_order_relaxed);
	ke_spin_check_release(VF_SpinLock, ddi, vf_caller(return_address), lock, free, kind, irql);
}

static __attribute__((noinline)) VOID NTAPI check_irql(enum vf_rule rule, PKSPIN_LOCK lock,
						       const char *ddi, void *return_address,
						       KIRQL min, KIRQL max)
{
	ke_spin_check_irql(rule, ddi, vf_caller(return_address), lock, min, max);
}

static __attribute__((noinline)) VOID NTAPI check_resident(PKSPIN_LOCK lock, void *return_address)
{
	ke_check_resident("KeInitializeSpinLock", return_address, lock);
	ke_lock_order_forget(lock, sizeof *lock);
}

static inline __attribute__((always_inline)) KIRQL raise_acquire(PKSPIN_LOCK lock, const char *ddi,
								 void *return_address)
{
	KIRQL old = ke_spin_raise();
	if (vf_on())
		check_order(lock, ddi, return_address);
	word_acquire(lock, ddi, return_address);
	if (vf_on())
		note_acquire(lock, return_address, KE_HELD_RAISED, old);
	return old;
}

static inline __attribute__((always_inline)) void release_lower(PKSPIN_LOCK lock, KIRQL irql,
								const char *ddi,
								void *return_address)
{
	if (vf_on())
		check_release(lock, ddi, return_address, KE_HELD_RAISED, irql);
	word_release(lock);
	KeLowerIrql(irql);
}

/* Make `SpinLock` free. Any IRQL; the 8 bytes must be resident. PLT-15. */
VOID NTAPI KeInitializeSpinLock(PKSPIN_LOCK SpinLock)
{
	if (vf_on())
		check_resident(SpinLock, __builtin_return_address(0));
	word_release(SpinLock);
}

/* Raise to DISPATCH_LEVEL and acquire; returns the IRQL before. IRQL <= DISPATCH_LEVEL. PLT-16. */
KIRQL NTAPI KeAcquireSpinLockRaiseToDpc(PKSPIN_LOCK SpinLock)
{
	return raise_acquire(SpinLock, "KeAcquireSpinLockRaiseToDpc", __builtin_return_address(0));
}

#undef KeAcquireSpinLock
/* The same; the old IRQL is written once the lock is held. IRQL <= DISPATCH_LEVEL. PLT-16. */
VOID NTAPI KeAcquireSpinLock(PKSPIN_LOCK SpinLock, PKIRQL OldIrql)
{
	*OldIrql = raise_acquire(SpinLock, "KeAcquireSpinLock", __builtin_return_address(0));
}

/* Release and lower to `NewIrql`, the IRQL before the acquire. IRQL = DISPATCH_LEVEL. PLT-17. */
VOID NTAPI KeReleaseSpinLock(PKSPIN_LOCK SpinLock, KIRQL NewIrql)
{
	release_lower(SpinLock, NewIrql, "KeReleaseSpinLock", __builtin_return_address(0));
}

/* Acquire without a change of IRQL. IRQL >= DISPATCH_LEVEL (rule IrqlDispatch: =). PLT-18. */
VOID NTAPI KeAcquireSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock)
{
	if (vf_on())
		check_order(SpinLock, "KeAcquireSpinLockAtDpcLevel", __builtin_return_address(0));
	word_acquire(SpinLock, "KeAcquireSpinLockAtDpcLevel", __builtin_return_address(0));
	if (vf_on())
		note_acquire(SpinLock, __builtin_return_address(0), KE_HELD_DPC, DISPATCH_LEVEL);
}

/* Release what KeAcquireSpinLockAtDpcLevel acquired. IRQL = DISPATCH_LEVEL. PLT-18. */
VOID NTAPI KeReleaseSpinLockFromDpcLevel(PKSPIN_LOCK SpinLock)
{
	if (vf_on())
		check_release(SpinLock, "KeReleaseSpinLockFromDpcLevel",
			      __builtin_return_address(0), KE_HELD_DPC, DISPATCH_LEVEL);
	word_release(SpinLock);
}

/* Acquire if it is free now; released by KeReleaseSpinLockFromDpcLevel. IRQL = DISPATCH_LEVEL.
 * PLT-19. */
BOOLEAN NTAPI KeTryToAcquireSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock)
{
	if (!word_try(SpinLock)) {
		port_spin(0);
		return FALSE;
	}
	if (vf_on())
		note_acquire(SpinLock, __builtin_return_address(0), KE_HELD_DPC, DISPATCH_LEVEL);
	return TRUE;
}

/* TRUE if the lock looks free; nothing is acquired. Any IRQL. PLT-19. */
BOOLEAN NTAPI KeTestSpinLock(PKSPIN_LOCK SpinLock)
{
	if (!atomic_load_explicit(atomic_word(SpinLock), memory_order_acquire))
		return TRUE;
	port_spin(0);
	return FALSE;
}

/* For a DPC routine, also a threaded one: raise to DISPATCH_LEVEL if need be and acquire. IRQL <=
 * DISPATCH_LEVEL. */
KIRQL NTAPI KeAcquireSpinLockForDpc(PKSPIN_LOCK SpinLock)
{
	if (vf_on())
		check_irql(VF_AcquireSpinLockIrql, SpinLock, "KeAcquireSpinLockForDpc",
			   __builtin_return_address(0), PASSIVE_LEVEL, DISPATCH_LEVEL);
	return raise_acquire(SpinLock, "KeAcquireSpinLockForDpc", __builtin_return_address(0));
}

/* Release what KeAcquireSpinLockForDpc acquired, back to the IRQL that it returned. IRQL =
 * DISPATCH_LEVEL. */
VOID NTAPI KeReleaseSpinLockForDpc(PKSPIN_LOCK SpinLock, KIRQL OldIrql)
{
	if (vf_on())
		check_irql(VF_ReleaseSpinLockIrql, SpinLock, "KeReleaseSpinLockForDpc",
			   __builtin_return_address(0), DISPATCH_LEVEL, DISPATCH_LEVEL);
	release_lower(SpinLock, OldIrql, "KeReleaseSpinLockForDpc", __builtin_return_address(0));
}
