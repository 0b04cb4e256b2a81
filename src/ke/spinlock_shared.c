/* SPDX-License-Identifier: MIT */
/*
 * Reader-writer spin locks: EX_SPIN_LOCK (4 bytes, resident, 0 = free).
 *
 * Runs at DISPATCH_LEVEL or below. The word: bit 31 a writer has it or waits for the readers to
 * leave; bits 16..30 that writer's processor; bits 0..15 the number of readers. A waiting writer
 * keeps new readers out. A writer takes the word with acquire after a release of another writer (a
 * store of 0) or of the last reader.
 *
 * Chosen: a reader may acquire the lock again on its processor only while no writer waits; when one
 * does, neither can go on, and the verifier finds it (PLT-23).
 */
#include "ke/spinlock.h"

#define WRITER           0x80000000u
#define READERS          0xffffu
#define WRITER_OF(index) (WRITER | (uint32_t)(index) << 16)

static inline _Atomic uint32_t *word_of(PEX_SPIN_LOCK lock)
{
	return (_Atomic uint32_t *)lock;
}

static void check_before(PEX_SPIN_LOCK lock, const char *ddi, uint64_t caller, KIRQL min)
{
	ke_spin_check_irql(min ? VF_AcquireAtDpcIrql : VF_AcquireSpinLockIrql, ddi, caller, lock,
			   min, DISPATCH_LEVEL);
}

/* At DISPATCH_LEVEL, verifier on: would this acquire wait for its own processor? */
static void check_recursion(PEX_SPIN_LOCK lock, const char *ddi, uint64_t caller, bool writer)
{
	const struct ke_held *held = ke_held_find(lock);
	if (!held) {
		if (!ke_in_nmi())
			ke_held_check_order(lock, caller, ddi);
		return;
	}
	bool writer_waits = atomic_load_explicit(word_of(lock), memory_order_relaxed) & WRITER;
	if (writer || writer_waits || !(held->kind & KE_HELD_SHARED))
		ke_spin_deadlock(VF_SpinLock, ddi, caller, lock);
}

static void acquire_shared(PEX_SPIN_LOCK lock, const char *ddi, uint64_t caller)
{
	uint32_t own = WRITER_OF(ke_this()->index);
	if (vf_on())
		check_recursion(lock, ddi, caller, false);
	for (unsigned round = 0;; round++) {
		uint32_t word = atomic_load_explicit(word_of(lock), memory_order_relaxed);
		if (!(word & WRITER) && atomic_compare_exchange_weak_explicit(
						word_of(lock), &word, word + 1,
						memory_order_acquire, memory_order_relaxed))
			return;
		if ((word & ~READERS) == own)
			ke_spin_deadlock(VF_SpinLock, ddi, caller, lock);
		port_spin(round);
	}
}

static void acquire_exclusive(PEX_SPIN_LOCK lock, const char *ddi, uint64_t caller)
{
	uint32_t own = WRITER_OF(ke_this()->index);
	unsigned round = 0;
	if (vf_on())
		check_recursion(lock, ddi, caller, true);
	for (;; round++) {
		uint32_t word = atomic_load_explicit(word_of(lock), memory_order_relaxed);
		if (!(word & WRITER) && atomic_compare_exchange_weak_explicit(
						word_of(lock), &word, word | own,
						memory_order_acquire, memory_order_relaxed))
			break;
		if ((word & ~READERS) == own)
			ke_spin_deadlock(VF_SpinLock, ddi, caller, lock);
		port_spin(round);
	}
	/* Acquires the releases of the readers. */
	while (atomic_load_explicit(word_of(lock), memory_order_acquire) & READERS)
		port_spin(round++);
}

static KIRQL raise_acquire(PEX_SPIN_LOCK lock, const char *ddi, uint64_t caller, bool writer)
{
	if (vf_on())
		check_before(lock, ddi, caller, PASSIVE_LEVEL);
	KIRQL old = ke_spin_raise();
	if (writer)
		acquire_exclusive(lock, ddi, caller);
	else
		acquire_shared(lock, ddi, caller);
	if (vf_on())
		ke_held_add(lock, caller, KE_HELD_RAISED | (writer ? 0 : KE_HELD_SHARED), old);
	return old;
}

static void acquire_at_dpc(PEX_SPIN_LOCK lock, const char *ddi, uint64_t caller, bool writer)
{
	if (vf_on())
		check_before(lock, ddi, caller, DISPATCH_LEVEL);
	if (writer)
		acquire_exclusive(lock, ddi, caller);
	else
		acquire_shared(lock, ddi, caller);
	if (vf_on())
		ke_held_add(lock, caller, KE_HELD_DPC | (writer ? 0 : KE_HELD_SHARED),
			    DISPATCH_LEVEL);
}

/* False: nobody holds it in this way, and the word was left alone. */
static bool release(PEX_SPIN_LOCK lock, const char *ddi, uint64_t caller, unsigned kind, KIRQL irql)
{
	uint32_t word = atomic_load_explicit(word_of(lock), memory_order_relaxed);
	bool shared = kind & KE_HELD_SHARED;
	bool held = shared ? (word & READERS) != 0 : (word & WRITER) != 0;
	if (vf_on()) {
		ke_spin_check_irql(kind & KE_HELD_RAISED ? VF_ReleaseSpinLockIrql
							 : VF_ReleaseFromDpcIrql,
				   ddi, caller, lock, DISPATCH_LEVEL, DISPATCH_LEVEL);
		ke_spin_check_release(VF_SpinLock, ddi, caller, lock, !held, kind, irql);
	}
	if (!held)
		return false;
	if (shared)
		atomic_fetch_sub_explicit(word_of(lock), 1, memory_order_release);
	else
		atomic_store_explicit(word_of(lock), 0, memory_order_release);
	return true;
}

/* Raise to DISPATCH_LEVEL and acquire as the only one; returns the IRQL before. IRQL <=
 * DISPATCH_LEVEL. */
KIRQL NTAPI ExAcquireSpinLockExclusive(PEX_SPIN_LOCK SpinLock)
{
	return raise_acquire(SpinLock, __func__, VF_CALLER(), true);
}

/* Raise to DISPATCH_LEVEL and acquire together with other readers; returns the IRQL before. IRQL <=
 * DISPATCH_LEVEL. */
KIRQL NTAPI ExAcquireSpinLockShared(PEX_SPIN_LOCK SpinLock)
{
	return raise_acquire(SpinLock, __func__, VF_CALLER(), false);
}

/* Acquire as the only one. IRQL = DISPATCH_LEVEL. */
VOID NTAPI ExAcquireSpinLockExclusiveAtDpcLevel(PEX_SPIN_LOCK SpinLock)
{
	acquire_at_dpc(SpinLock, __func__, VF_CALLER(), true);
}

/* Acquire together with other readers. IRQL = DISPATCH_LEVEL. */
VOID NTAPI ExAcquireSpinLockSharedAtDpcLevel(PEX_SPIN_LOCK SpinLock)
{
	acquire_at_dpc(SpinLock, __func__, VF_CALLER(), false);
}

/* Release and lower to the IRQL that the acquire returned. IRQL = DISPATCH_LEVEL. */
VOID NTAPI ExReleaseSpinLockExclusive(PEX_SPIN_LOCK SpinLock, KIRQL OldIrql)
{
	release(SpinLock, __func__, VF_CALLER(), KE_HELD_RAISED, OldIrql);
	ke_irql_lower(OldIrql);
}

/* Release and lower to the IRQL that the acquire returned. IRQL = DISPATCH_LEVEL. */
VOID NTAPI ExReleaseSpinLockShared(PEX_SPIN_LOCK SpinLock, KIRQL OldIrql)
{
	release(SpinLock, __func__, VF_CALLER(), KE_HELD_RAISED | KE_HELD_SHARED, OldIrql);
	ke_irql_lower(OldIrql);
}

/* Release what the AtDpcLevel form acquired. IRQL = DISPATCH_LEVEL. */
VOID NTAPI ExReleaseSpinLockExclusiveFromDpcLevel(PEX_SPIN_LOCK SpinLock)
{
	release(SpinLock, __func__, VF_CALLER(), KE_HELD_DPC, DISPATCH_LEVEL);
}

/* Release what the AtDpcLevel form acquired. IRQL = DISPATCH_LEVEL. */
VOID NTAPI ExReleaseSpinLockSharedFromDpcLevel(PEX_SPIN_LOCK SpinLock)
{
	release(SpinLock, __func__, VF_CALLER(), KE_HELD_DPC | KE_HELD_SHARED, DISPATCH_LEVEL);
}

/* One try; released by the FromDpcLevel form. IRQL = DISPATCH_LEVEL. TRUE if acquired. */
LOGICAL NTAPI ExTryAcquireSpinLockExclusiveAtDpcLevel(PEX_SPIN_LOCK SpinLock)
{
	uint32_t word = 0;
	if (vf_on())
		check_before(SpinLock, __func__, VF_CALLER(), DISPATCH_LEVEL);
	if (!atomic_compare_exchange_strong_explicit(word_of(SpinLock), &word,
						     WRITER_OF(ke_this()->index),
						     memory_order_acquire, memory_order_relaxed)) {
		port_spin(0);
		return FALSE;
	}
	if (vf_on())
		ke_held_add(SpinLock, VF_CALLER(), KE_HELD_DPC, DISPATCH_LEVEL);
	return TRUE;
}

/* One try as a reader; released by the FromDpcLevel form. IRQL = DISPATCH_LEVEL. TRUE if acquired.
 */
LOGICAL NTAPI ExTryAcquireSpinLockSharedAtDpcLevel(PEX_SPIN_LOCK SpinLock)
{
	if (vf_on())
		check_before(SpinLock, __func__, VF_CALLER(), DISPATCH_LEVEL);
	uint32_t word = atomic_load_explicit(word_of(SpinLock), memory_order_relaxed);
	while (!(word & WRITER)) {
		if (!atomic_compare_exchange_weak_explicit(word_of(SpinLock), &word, word + 1,
							   memory_order_acquire,
							   memory_order_relaxed))
			continue;
		if (vf_on())
			ke_held_add(SpinLock, VF_CALLER(), KE_HELD_DPC | KE_HELD_SHARED,
				    DISPATCH_LEVEL);
		return TRUE;
	}
	port_spin(0);
	return FALSE;
}

/* The only reader becomes the writer. IRQL = DISPATCH_LEVEL. FALSE: there are others, and it is
 * still a reader. */
LOGICAL NTAPI ExTryConvertSharedSpinLockExclusive(PEX_SPIN_LOCK SpinLock)
{
	uint32_t word = 1;
	if (vf_on())
		check_before(SpinLock, __func__, VF_CALLER(), DISPATCH_LEVEL);
	if (!atomic_compare_exchange_strong_explicit(word_of(SpinLock), &word,
						     WRITER_OF(ke_this()->index),
						     memory_order_acquire, memory_order_relaxed)) {
		port_spin(0);
		return FALSE;
	}
	if (vf_on()) {
		struct ke_held held;
		bool own;
		if (ke_held_remove(SpinLock, &held, &own))
			ke_held_add(SpinLock, held.caller, held.kind & ~(unsigned)KE_HELD_SHARED,
				    held.irql);
	}
	return TRUE;
}
