/* SPDX-License-Identifier: MIT */
/*
 * In-stack queued spin locks: waiters in the order of their coming, each spinning on its own handle
 * (PLT-20, PLT-73, DEF-173, DEF-176, DEF-253, DEF-262).
 *
 * Runs at any IRQL up to DISPATCH_LEVEL for the raising forms, at or above it for the others. The
 * lock's word points to the last handle's queue entry, 0 = free; bit 0 set means that the plain
 * form holds it (spinlock.c). In a handle: LockQueue.Next  the entry of the next waiter. Set by
 * that waiter (release), read by the holder (acquire). LockQueue.Lock  the lock's address, with
 * WAITING until the predecessor hands over (clears it: release; the waiter spins on it: acquire).
 *   after OldIrql   in the handle's padding, the index of the waiter's processor, for PLT-23.
 * A predecessor's handle stays where it is until it has seen the successor in Next, so the
 * successor may read it before.
 */
#include "ke/spinlock.h"
#include "rtl/rtl.h"

#define WAITING ((uintptr_t)1)

struct handle {
	struct handle *_Atomic next;
	_Atomic uintptr_t lock;
	KIRQL irql;
	uint8_t kind; /* enum ke_held_kind */
	uint16_t pad;
	uint32_t processor;
};
_Static_assert(sizeof(struct handle) == 0x18 && sizeof(KLOCK_QUEUE_HANDLE) == 0x18, "PLT-73");
_Static_assert(offsetof(struct handle, irql) == offsetof(KLOCK_QUEUE_HANDLE, OldIrql), "PLT-73");

static inline _Atomic KSPIN_LOCK *tail_of(PKSPIN_LOCK lock)
{
	return (_Atomic KSPIN_LOCK *)lock;
}

static __attribute__((noinline)) VOID NTAPI deadlock(PKSPIN_LOCK lock, const char *ddi,
						     void *return_address)
{
	ke_spin_deadlock(VF_QueuedSpinLock, ddi, vf_caller(return_address), lock);
}

/* Verifier on: a lock that this processor holds already would never come. */
static __attribute__((noinline)) VOID NTAPI check_acquire(PKSPIN_LOCK lock, const char *ddi,
							  void *return_address, KIRQL min,
							  KIRQL max)
{
	uint64_t caller = vf_caller(return_address);
	ke_spin_check_irql(min ? VF_AcquireAtDpcIrql : VF_AcquireSpinLockIrql, ddi, caller, lock,
			   min, max);
	if (ke_irql() >= DISPATCH_LEVEL && ke_held_find(lock))
		ke_spin_deadlock(VF_QueuedSpinLock, ddi, caller, lock);
	if (ke_irql() == DISPATCH_LEVEL) /* below, this processor holds none */
		ke_held_check_order(lock, caller, ddi);
}

static __attribute__((noinline)) VOID NTAPI note_acquire(PKSPIN_LOCK lock, const char *ddi,
							 void *return_address, unsigned kind,
							 KIRQL irql)
{
	(void)ddi;
	ke_held_add(lock, vf_caller(return_address), kind, irql);
}

/* The lock is taken by others: wait for the handle's turn. `last` is the word as it was read. */
static __attribute__((noinline)) VOID NTAPI queue_wait(PKSPIN_LOCK lock, struct handle *handle,
						       KSPIN_LOCK last, const char *ddi,
						       void *return_address)
{
	unsigned round = 0;
	for (;;) {
		if (last & 1) { /* the plain form holds it */
			if (last == (1 | (KSPIN_LOCK)handle->processor << 1))
				deadlock(lock, ddi, return_address);
			port_spin(round++);
			last = atomic_load_explicit(tail_of(lock), memory_order_relaxed);
			continue;
		}
		/* Acquire: pairs with the release of a word that becomes 0. Release: the handle is
		 * complete. */
		if (atomic_compare_exchange_weak_explicit(
			    tail_of(lock), &last, (KSPIN_LOCK)(uintptr_t)handle,
			    memory_order_acq_rel, memory_order_relaxed))
			break;
	}
	if (!last) {
		atomic_store_explicit(&handle->lock, (uintptr_t)lock, memory_order_relaxed);
		return;
	}
	struct handle *predecessor = (struct handle *)(uintptr_t)last;
	if (predecessor->processor == handle->processor)
		deadlock(lock, ddi, return_address);
	atomic_store_explicit(&predecessor->next, handle, memory_order_release);
	while (atomic_load_explicit(&handle->lock, memory_order_acquire) & WAITING)
		port_spin(round++);
}

static inline __attribute__((always_inline)) void acquire(PKSPIN_LOCK lock,
							  PKLOCK_QUEUE_HANDLE public_handle,
							  unsigned kind, KIRQL irql,
							  const char *ddi, void *return_address)
{
	struct handle *handle = (struct handle *)public_handle;
	KSPIN_LOCK last = 0;
	atomic_store_explicit(&handle->next, NULL, memory_order_relaxed);
	atomic_store_explicit(&handle->lock, (uintptr_t)lock | WAITING, memory_order_relaxed);
	handle->irql = irql;
	handle->kind = (uint8_t)kind;
	handle->processor = ke_this()->index;
	if (atomic_compare_exchange_strong_explicit(tail_of(lock), &last,
						    (KSPIN_LOCK)(uintptr_t)handle,
						    memory_order_acq_rel, memory_order_relaxed))
		atomic_store_explicit(&handle->lock, (uintptr_t)lock, memory_order_relaxed);
	else
		queue_wait(lock, handle, last, ddi, return_address);
	if (vf_on())
		note_acquire(lock, ddi, return_address, kind, irql);
}

/* The word did not point to this handle any more: a successor has come, or is about to say so. */
static __attribute__((noinline)) VOID NTAPI hand_over(struct handle *handle)
{
	struct handle *next;
	for (unsigned round = 0;
	     !(next = atomic_load_explicit(&handle->next, memory_order_acquire)); round++)
		port_spin(round);
	uintptr_t lock = atomic_load_explicit(&next->lock, memory_order_relaxed);
	atomic_store_explicit(&next->lock, lock & ~WAITING, memory_order_release);
}

/* False: the handle holds nothing, and was left alone. */
static __attribute__((noinline)) BOOLEAN NTAPI check_release(struct handle *handle, const char *ddi,
							     void *return_address, unsigned kind,
							     KIRQL min, KIRQL max)
{
	uint64_t caller = vf_caller(return_address);
	uintptr_t word = atomic_load_explicit(&handle->lock, memory_order_relaxed);
	ke_spin_check_irql(min == max ? VF_ReleaseSpinLockIrql : VF_ReleaseFromDpcIrql, ddi, caller,
			   (void *)word, min, max);
	if (!word || (word & WAITING)) {
		vf_report(VF_QueuedSpinLock, ddi, caller, (uint64_t)(uintptr_t)handle,
			  "was given the handle %p, which holds no lock", handle);
		return FALSE;
	}
	ke_spin_check_release(VF_QueuedSpinLock, ddi, caller, (void *)word, false, kind,
			      handle->irql);
	return TRUE;
}

static inline __attribute__((always_inline)) void release(struct handle *handle)
{
	PKSPIN_LOCK lock = (PKSPIN_LOCK)atomic_load_explicit(&handle->lock, memory_order_relaxed);
	KSPIN_LOCK last = (KSPIN_LOCK)(uintptr_t)handle;
	if (!atomic_compare_exchange_strong_explicit(tail_of(lock), &last, 0, memory_order_release,
						     memory_order_relaxed))
		hand_over(handle);
	atomic_store_explicit(&handle->lock, 0, memory_order_relaxed);
}

static inline __attribute__((always_inline)) void raise_acquire(PKSPIN_LOCK lock,
								PKLOCK_QUEUE_HANDLE handle,
								const char *ddi,
								void *return_address)
{
	if (vf_on())
		check_acquire(lock, ddi, return_address, PASSIVE_LEVEL, DISPATCH_LEVEL);
	KIRQL old = ke_spin_raise();
	acquire(lock, handle, KE_HELD_RAISED, old, ddi, return_address);
}

static inline __attribute__((always_inline)) void release_lower(PKLOCK_QUEUE_HANDLE public_handle,
								const char *ddi,
								void *return_address)
{
	struct handle *handle = (struct handle *)public_handle;
	if (vf_on() && !check_release(handle, ddi, return_address, KE_HELD_RAISED, DISPATCH_LEVEL,
				      DISPATCH_LEVEL))
		return;
	release(handle);
	KeLowerIrql(handle->irql);
}

/* Raise to DISPATCH_LEVEL and acquire; the handle keeps the old IRQL. IRQL <= DISPATCH_LEVEL.
 * PLT-20. */
VOID NTAPI KeAcquireInStackQueuedSpinLock(PKSPIN_LOCK SpinLock, PKLOCK_QUEUE_HANDLE LockHandle)
{
	raise_acquire(SpinLock, LockHandle, "KeAcquireInStackQueuedSpinLock",
		      __builtin_return_address(0));
}

/* Release and lower to the IRQL before the acquire. IRQL = DISPATCH_LEVEL. PLT-20. */
VOID NTAPI KeReleaseInStackQueuedSpinLock(PKLOCK_QUEUE_HANDLE LockHandle)
{
	release_lower(LockHandle, "KeReleaseInStackQueuedSpinLock", __builtin_return_address(0));
}

/* Acquire without a change of IRQL. IRQL >= DISPATCH_LEVEL. DEF-253. */
VOID NTAPI KeAcquireInStackQueuedSpinLockAtDpcLevel(PKSPIN_LOCK SpinLock,
						    PKLOCK_QUEUE_HANDLE LockHandle)
{
	const char *ddi = "KeAcquireInStackQueuedSpinLockAtDpcLevel";
	if (vf_on())
		check_acquire(SpinLock, ddi, __builtin_return_address(0), DISPATCH_LEVEL,
			      HIGH_LEVEL);
	acquire(SpinLock, LockHandle, KE_HELD_DPC, DISPATCH_LEVEL, ddi,
		__builtin_return_address(0));
}

/* Release what the AtDpcLevel form acquired. IRQL >= DISPATCH_LEVEL. DEF-262. */
VOID NTAPI KeReleaseInStackQueuedSpinLockFromDpcLevel(PKLOCK_QUEUE_HANDLE LockHandle)
{
	if (vf_on() &&
	    !check_release((struct handle *)LockHandle,
			   "KeReleaseInStackQueuedSpinLockFromDpcLevel",
			   __builtin_return_address(0), KE_HELD_DPC, DISPATCH_LEVEL, HIGH_LEVEL))
		return;
	release((struct handle *)LockHandle);
}

/* For a DPC routine, also a threaded one: raise to DISPATCH_LEVEL if need be and acquire. IRQL <=
 * DISPATCH_LEVEL. */
VOID NTAPI KeAcquireInStackQueuedSpinLockForDpc(PKSPIN_LOCK SpinLock,
						PKLOCK_QUEUE_HANDLE LockHandle)
{
	raise_acquire(SpinLock, LockHandle, "KeAcquireInStackQueuedSpinLockForDpc",
		      __builtin_return_address(0));
}

/* Release what the ForDpc form acquired. IRQL = DISPATCH_LEVEL. */
VOID NTAPI KeReleaseInStackQueuedSpinLockForDpc(PKLOCK_QUEUE_HANDLE LockHandle)
{
	release_lower(LockHandle, "KeReleaseInStackQueuedSpinLockForDpc",
		      __builtin_return_address(0));
}
