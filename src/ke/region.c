/* SPDX-License-Identifier: MIT */
/*
 * Critical and guarded regions: a thread keeps APCs away from itself (PLT-21, PLT-22, VER-5,
 * VER-23, DEF-255, DEF-256).
 *
 * Runs at APC_LEVEL or below, on the thread concerned; no locks: only the thread itself changes its
 * two counters, and the dispatcher reads them when it decides whether an APC can be delivered.
 * Counters are 0 outside of regions and negative inside, as documented.
 *
 * Chosen: leaving a region that was not entered is reported and has no effect.
 */
#include "ke/internal.h"

/* A region ended: kernel APCs that waited for it come now. */
static __attribute__((noinline)) VOID NTAPI deliver_waiting(PKTHREAD thread)
{
	if (atomic_load_explicit(&thread->apc_pending, memory_order_relaxed))
		ke_interrupt_request_self(APC_LEVEL);
}

/* Normal kernel APCs of this thread wait; regions nest. IRQL <= APC_LEVEL. PLT-21. */
VOID NTAPI KeEnterCriticalRegion(VOID)
{
	ke_thread()->kernel_apc_disable--;
}

static __attribute__((noinline)) VOID NTAPI leave_unpaired(enum vf_rule rule, const char *ddi,
							   void *return_address)
{
	vf_report(rule, ddi, vf_caller(return_address), (uint64_t)(uintptr_t)ke_thread(),
		  "left a region that this thread did not enter");
}

/* Ends the newest KeEnterCriticalRegion. IRQL <= APC_LEVEL. PLT-21. */
VOID NTAPI KeLeaveCriticalRegion(VOID)
{
	PKTHREAD thread = ke_thread();
	if (thread->kernel_apc_disable == 0) {
		leave_unpaired(VF_CriticalRegions, "KeLeaveCriticalRegion",
			       __builtin_return_address(0));
		return;
	}
	if (++thread->kernel_apc_disable == 0 && thread->special_apc_disable == 0)
		deliver_waiting(thread);
}

/* All kernel APCs of this thread wait, special ones too; regions nest. IRQL <= APC_LEVEL. PLT-21.
 */
VOID NTAPI KeEnterGuardedRegion(VOID)
{
	ke_thread()->special_apc_disable--;
}

/* Ends the newest KeEnterGuardedRegion. IRQL <= APC_LEVEL. PLT-21. */
VOID NTAPI KeLeaveGuardedRegion(VOID)
{
	PKTHREAD thread = ke_thread();
	if (thread->special_apc_disable == 0) {
		leave_unpaired(VF_GuardedRegions, "KeLeaveGuardedRegion",
			       __builtin_return_address(0));
		return;
	}
	if (++thread->special_apc_disable == 0)
		deliver_waiting(thread);
}

/* TRUE inside a critical or a guarded region. IRQL <= DISPATCH_LEVEL (rule IrqlKeApcLte2:
 * APC_LEVEL). PLT-22. */
BOOLEAN NTAPI KeAreApcsDisabled(VOID)
{
	PKTHREAD thread = ke_thread();
	return thread->kernel_apc_disable != 0 || thread->special_apc_disable != 0;
}

/* TRUE inside a guarded region or at APC_LEVEL and above. IRQL <= DISPATCH_LEVEL (rule: APC_LEVEL).
 * DEF-255. */
BOOLEAN NTAPI KeAreAllApcsDisabled(VOID)
{
	return ke_thread()->special_apc_disable != 0 || ke_irql() >= APC_LEVEL;
}
