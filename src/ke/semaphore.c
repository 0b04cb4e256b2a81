/* SPDX-License-Identifier: MIT */
/*
 * Semaphores (PLT-75): a count that waits decrement. Runs at DISPATCH_LEVEL or below; the count is
 * under the dispatcher lock.
 */
#include "ke/internal.h"

_Static_assert(sizeof(KSEMAPHORE) == 0x20 && offsetof(KSEMAPHORE, Limit) == 0x18, "PLT-75");

/* Initialize with `Count` free units of at most `Limit` (> 0). IRQL: any; resident memory. */
VOID NTAPI KeInitializeSemaphore(PRKSEMAPHORE Semaphore, LONG Count, LONG Limit)
{
	if (vf_on())
		ke_check_resident("KeInitializeSemaphore", __builtin_return_address(0), Semaphore);
	ke_object_initialize(&Semaphore->Header, KE_SEMAPHORE, Count);
	Semaphore->Header.Size = sizeof *Semaphore / 4;
	Semaphore->Limit = Limit;
}

/*
 * Add `Adjustment` (> 0) units; returns the count before. IRQL <= DISPATCH_LEVEL; with Wait TRUE <=
 * APC_LEVEL: the next call must be a KeWait. Increment: priority boost for threads whose wait ends.
 * Raises STATUS_SEMAPHORE_LIMIT_EXCEEDED and changes nothing when the count would pass the limit.
 */
LONG NTAPI KeReleaseSemaphore(PRKSEMAPHORE Semaphore, KPRIORITY Increment, LONG Adjustment,
			      BOOLEAN Wait)
{
	KIRQL old = ke_dispatcher_lock();
	LONG before = ke_state(&Semaphore->Header);
	int64_t after = (int64_t)before + Adjustment;
	if (after > Semaphore->Limit || after < before) {
		ke_dispatcher_unlock(old);
		if (vf_on())
			vf_report(VF_SemaphoreLimit, "KeReleaseSemaphore", VF_CALLER(),
				  (uint64_t)(uintptr_t)Semaphore,
				  "added %d to the count %d of a semaphore with the limit %d",
				  Adjustment, before, Semaphore->Limit);
		ExRaiseStatus(STATUS_SEMAPHORE_LIMIT_EXCEEDED);
	}
	ke_state_set(&Semaphore->Header, (LONG)after);
	if (before == 0)
		ke_object_signal(&Semaphore->Header, Increment);
	ke_wait_next(old, Wait);
	return before;
}

/* The count. IRQL <= DISPATCH_LEVEL. */
LONG NTAPI KeReadStateSemaphore(PRKSEMAPHORE Semaphore)
{
	return ke_state(&Semaphore->Header);
}
