/* SPDX-License-Identifier: MIT */
/*
 * mutex.c: fast mutexes and guarded mutexes: one structure, two ways to keep APCs off.
 *
 * IRQL <= APC_LEVEL. Count is 1 when free, 0 when held, and one less for each waiter; the holder
 * that finds waiters sets the event, which lets one go on, and that one holds the mutex without
 * touching Count again. Drivers initialise the structure inline (PLT-80), so its members mean
 * exactly this. No locks of our own.
 *
 * Implements PLT-80, DEF-232, DEF-303, VER-6, VER-14; misuse is LockOrder and LockNotAcquired
 * (VER-34).
 */
#include "ex/ex_internal.h"
#include "ke/ke.h"
#include "vf/vf.h"

static void acquire(PFAST_MUTEX mutex, uint64_t caller, const char *ddi)
{
	if (vf_on() && mutex->Owner == ke_thread())
		vf_report(VF_LockOrder, ddi, caller, (uint64_t)mutex,
			  "acquires the mutex %p, which its thread holds", mutex);
	/* Acquire: pairs with the release in release(), or with the event's. */
	if (__atomic_fetch_sub(&mutex->Count, 1, __ATOMIC_ACQUIRE) != 1) {
		__atomic_fetch_add(&mutex->Contention, 1, __ATOMIC_RELAXED);
		KeWaitForSingleObject(&mutex->Event, WrFastMutex, KernelMode, FALSE, NULL);
	}
	mutex->Owner = ke_thread();
}

static bool try_acquire(PFAST_MUTEX mutex)
{
	LONG free = 1;
	if (!__atomic_compare_exchange_n(&mutex->Count, &free, 0, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		return false;
	mutex->Owner = ke_thread();
	return true;
}

/* False: the thread does not hold it, and nothing was done. */
static bool release(PFAST_MUTEX mutex, uint64_t caller, const char *ddi)
{
	if (vf_on() && mutex->Owner != ke_thread()) {
		vf_report(VF_LockNotAcquired, ddi, caller, (uint64_t)mutex,
			  "releases the mutex %p, which its thread does not hold", mutex);
		return false;
	}
	mutex->Owner = NULL;
	if (__atomic_fetch_add(&mutex->Count, 1, __ATOMIC_RELEASE) < 0)
		KeSetEvent(&mutex->Event, 0, FALSE);
	return true;
}

/* ---- Fast mutexes: at APC_LEVEL while held
 * --------------------------------------------------------- */

/* IRQL <= APC_LEVEL; returns at APC_LEVEL. */
VOID FASTCALL ExAcquireFastMutex(PFAST_MUTEX FastMutex)
{
	KIRQL old = ke_irql();
	if (old < APC_LEVEL)
		ke_irql_raise(APC_LEVEL);
	acquire(FastMutex, EX_CALLER(), __func__);
	FastMutex->OldIrql = old;
}

/* TRUE: acquired, at APC_LEVEL. */
BOOLEAN FASTCALL ExTryToAcquireFastMutex(PFAST_MUTEX FastMutex)
{
	KIRQL old = ke_irql();
	if (old < APC_LEVEL)
		ke_irql_raise(APC_LEVEL);
	if (try_acquire(FastMutex)) {
		FastMutex->OldIrql = old;
		return TRUE;
	}
	ke_irql_lower(old);
	return FALSE;
}

/* IRQL = APC_LEVEL; returns at the IRQL of the acquire. */
VOID FASTCALL ExReleaseFastMutex(PFAST_MUTEX FastMutex)
{
	KIRQL old = (KIRQL)FastMutex->OldIrql;
	if (release(FastMutex, EX_CALLER(), __func__))
		ke_irql_lower(old);
}

/* IRQL = APC_LEVEL, or in a critical region: APCs are the caller's affair. */
VOID FASTCALL ExAcquireFastMutexUnsafe(PFAST_MUTEX FastMutex)
{
	acquire(FastMutex, EX_CALLER(), __func__);
}

VOID FASTCALL ExReleaseFastMutexUnsafe(PFAST_MUTEX FastMutex)
{
	release(FastMutex, EX_CALLER(), __func__);
}

/* The same in a critical region of its own. IRQL <= APC_LEVEL. */
VOID NTAPI ExEnterCriticalRegionAndAcquireFastMutexUnsafe(PFAST_MUTEX FastMutex)
{
	KeEnterCriticalRegion();
	acquire(FastMutex, EX_CALLER(), __func__);
}

VOID NTAPI ExReleaseFastMutexUnsafeAndLeaveCriticalRegion(PFAST_MUTEX FastMutex)
{
	if (release(FastMutex, EX_CALLER(), __func__))
		KeLeaveCriticalRegion();
}

/* ---- Guarded mutexes: in a guarded region while held
 * -------------------------------------------------- */

/* IRQL any. */
VOID FASTCALL KeInitializeGuardedMutex(PKGUARDED_MUTEX Mutex)
{
	ExInitializeFastMutex(Mutex);
}

/* IRQL <= APC_LEVEL. (VER-6) */
VOID FASTCALL KeAcquireGuardedMutex(PKGUARDED_MUTEX Mutex)
{
	KeEnterGuardedRegion();
	acquire(Mutex, EX_CALLER(), __func__);
}

VOID FASTCALL KeReleaseGuardedMutex(PKGUARDED_MUTEX Mutex)
{
	if (release(Mutex, EX_CALLER(), __func__))
		KeLeaveGuardedRegion();
}

BOOLEAN FASTCALL KeTryToAcquireGuardedMutex(PKGUARDED_MUTEX Mutex)
{
	KeEnterGuardedRegion();
	if (try_acquire(Mutex))
		return TRUE;
	KeLeaveGuardedRegion();
	return FALSE;
}

/* The caller is in a guarded region, or at APC_LEVEL. */
VOID FASTCALL KeAcquireGuardedMutexUnsafe(PKGUARDED_MUTEX Mutex)
{
	acquire(Mutex, EX_CALLER(), __func__);
}

VOID FASTCALL KeReleaseGuardedMutexUnsafe(PKGUARDED_MUTEX Mutex)
{
	release(Mutex, EX_CALLER(), __func__);
}
