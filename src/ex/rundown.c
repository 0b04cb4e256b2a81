/* SPDX-License-Identifier: MIT */
/*
 * rundown.c: rundown protection: many users, one who waits for the last of them and lets no new one
 * in.
 *
 * IRQL <= DISPATCH_LEVEL, the wait <= APC_LEVEL. No locks. The word holds twice the number of
 * users; or, once a wait has begun, the address of the waiter's block on its stack, plus 1; or 1
 * alone when it is over. The waiter moves the count of users to its block, and the last of them
 * sets the block's event, so the block is not touched after the waiter has gone on.
 *
 * Implements DEF-293, DEF-294, DEF-298, DEF-299. The cache-aware form is one word on a cache line
 * of its own.
 */
#include "ex/ex_internal.h"
#include "ke/ke.h"

#define RUNDOWN_ACTIVE  1u
#define RUNDOWN_ONE     2u
#define TAG_CACHE_AWARE 'aCuR'

struct rundown_wait {
	_Atomic int64_t users;
	KEVENT done;
};

/* Opaque to drivers. */
struct _EX_RUNDOWN_REF_CACHE_AWARE {
	EX_RUNDOWN_REF reference;
	uint8_t pad[SYSTEM_CACHE_LINE_SIZE - sizeof(EX_RUNDOWN_REF)];
};
typedef struct _EX_RUNDOWN_REF_CACHE_AWARE EX_RUNDOWN_REF_CACHE_AWARE, *PEX_RUNDOWN_REF_CACHE_AWARE;

static ULONG_PTR load(PEX_RUNDOWN_REF reference)
{
	return __atomic_load_n(&reference->Count, __ATOMIC_ACQUIRE);
}

static void store(PEX_RUNDOWN_REF reference, ULONG_PTR value)
{
	__atomic_store_n(&reference->Count, value, __ATOMIC_RELEASE);
}

static bool exchange_if(PEX_RUNDOWN_REF reference, ULONG_PTR *expected, ULONG_PTR value)
{
	return __atomic_compare_exchange_n(&reference->Count, expected, value, true,
					   __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

VOID FASTCALL ExInitializeRundownProtection(PEX_RUNDOWN_REF RunRef)
{
	store(RunRef, 0);
}

/* After a wait: let users in again. */
VOID FASTCALL ExReInitializeRundownProtection(PEX_RUNDOWN_REF RunRef)
{
	store(RunRef, 0);
}

/* As after a wait, without waiting. */
VOID FASTCALL ExRundownCompleted(PEX_RUNDOWN_REF RunRef)
{
	store(RunRef, RUNDOWN_ACTIVE);
}

/* IRQL <= DISPATCH_LEVEL. FALSE once a wait has begun. */
BOOLEAN FASTCALL ExAcquireRundownProtectionEx(PEX_RUNDOWN_REF RunRef, ULONG Count)
{
	ULONG_PTR value = load(RunRef);
	do {
		if (value & RUNDOWN_ACTIVE)
			return FALSE;
	} while (!exchange_if(RunRef, &value, value + (ULONG_PTR)Count * RUNDOWN_ONE));
	return TRUE;
}

BOOLEAN FASTCALL ExAcquireRundownProtection(PEX_RUNDOWN_REF RunRef)
{
	return ExAcquireRundownProtectionEx(RunRef, 1);
}

/* IRQL <= DISPATCH_LEVEL. The last release wakes the waiter. */
VOID FASTCALL ExReleaseRundownProtectionEx(PEX_RUNDOWN_REF RunRef, ULONG Count)
{
	ULONG_PTR value = load(RunRef);
	while (!(value & RUNDOWN_ACTIVE)) {
		if (exchange_if(RunRef, &value, value - (ULONG_PTR)Count * RUNDOWN_ONE))
			return;
	}
	struct rundown_wait *wait = (struct rundown_wait *)(value & ~(ULONG_PTR)RUNDOWN_ACTIVE);
	if (wait &&
	    atomic_fetch_sub_explicit(&wait->users, Count, memory_order_acq_rel) == (int64_t)Count)
		KeSetEvent(&wait->done, 0, FALSE);
}

VOID FASTCALL ExReleaseRundownProtection(PEX_RUNDOWN_REF RunRef)
{
	ExReleaseRundownProtectionEx(RunRef, 1);
}

/* IRQL <= APC_LEVEL. Returns when every user has released; from its start on nobody acquires. */
VOID FASTCALL ExWaitForRundownProtectionRelease(PEX_RUNDOWN_REF RunRef)
{
	struct rundown_wait wait;
	ULONG_PTR value = load(RunRef);
	KeInitializeEvent(&wait.done, NotificationEvent, FALSE);
	for (;;) {
		if (value & RUNDOWN_ACTIVE)
			return; /* over already; two waiters at a time are not allowed */
		atomic_store_explicit(&wait.users, (int64_t)(value / RUNDOWN_ONE),
				      memory_order_relaxed);
		ULONG_PTR next = value ? (ULONG_PTR)&wait | RUNDOWN_ACTIVE : RUNDOWN_ACTIVE;
		if (exchange_if(RunRef, &value, next))
			break;
	}
	if (!value)
		return;
	KeWaitForSingleObject(&wait.done, Executive, KernelMode, FALSE, NULL);
	store(RunRef, RUNDOWN_ACTIVE);
}

/* ---- Cache-aware
 * -------------------------------------------------------------------------------------- */

SIZE_T NTAPI ExSizeOfRundownProtectionCacheAware(VOID)
{
	return sizeof(EX_RUNDOWN_REF_CACHE_AWARE);
}

VOID NTAPI ExInitializeRundownProtectionCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware,
						   SIZE_T RunRefSize)
{
	(void)RunRefSize;
	store(&RunRefCacheAware->reference, 0);
}

/* IRQL <= DISPATCH_LEVEL. 0: no memory. */
PEX_RUNDOWN_REF_CACHE_AWARE NTAPI ExAllocateCacheAwareRundownProtection(POOL_TYPE PoolType,
									ULONG PoolTag)
{
	PEX_RUNDOWN_REF_CACHE_AWARE new = ExAllocatePoolWithTag(PoolType, sizeof(*new), PoolTag);
	if (new)
		store(&new->reference, 0);
	return new;
}

VOID NTAPI ExFreeCacheAwareRundownProtection(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware)
{
	ExFreePool(RunRefCacheAware);
}

BOOLEAN FASTCALL ExAcquireRundownProtectionCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware)
{
	return ExAcquireRundownProtectionEx(&RunRefCacheAware->reference, 1);
}

BOOLEAN FASTCALL
ExAcquireRundownProtectionCacheAwareEx(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware, ULONG Count)
{
	return ExAcquireRundownProtectionEx(&RunRefCacheAware->reference, Count);
}

VOID FASTCALL ExReleaseRundownProtectionCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware)
{
	ExReleaseRundownProtectionEx(&RunRefCacheAware->reference, 1);
}

VOID FASTCALL ExReleaseRundownProtectionCacheAwareEx(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware,
						     ULONG Count)
{
	ExReleaseRundownProtectionEx(&RunRefCacheAware->reference, Count);
}

VOID FASTCALL ExWaitForRundownProtectionReleaseCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRef)
{
	ExWaitForRundownProtectionRelease(&RunRef->reference);
}

VOID FASTCALL
ExReInitializeRundownProtectionCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware)
{
	store(&RunRefCacheAware->reference, 0);
}

VOID FASTCALL ExRundownCompletedCacheAware(PEX_RUNDOWN_REF_CACHE_AWARE RunRefCacheAware)
{
	store(&RunRefCacheAware->reference, RUNDOWN_ACTIVE);
}
