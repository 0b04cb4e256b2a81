/* SPDX-License-Identifier: MIT */
/*
 * Where the calling thread may run, priorities, run time (PRC-67..69, PLT-44, DEF-127, DEF-178,
 * DEF-198, DEF-264, DEF-266).
 *
 * Runs at DISPATCH_LEVEL or below. A thread's affinities are under the dispatcher lock; when the
 * running processor is not in a new mask, the thread moves as the lock's holder lowers the IRQL
 * below DISPATCH_LEVEL: on return to APC_LEVEL or below it runs where it may (DEF-127).
 *
 * A thread has a user affinity, and while `affinity_is_system` a system affinity that replaces it.
 */
#include "ke/internal.h"

/* The mask that takes effect: 0 when the affinity names a processor that cannot exist, or no active
 * one (PRC-67, PRC-69). */
static KAFFINITY effective(USHORT group, KAFFINITY mask)
{
	if (mask & ~ke_affinity_possible(group))
		return 0;
	return mask & ke_affinity_active(group);
}

/* Set the system affinity of the calling thread; *previous gets the old one, {0, 0} when it had
 * none. False: no effect. */
static bool set_system(USHORT group, KAFFINITY mask, GROUP_AFFINITY *previous)
{
	PKTHREAD thread = ke_thread();
	*previous = (GROUP_AFFINITY){0};
	mask = effective(group, mask);
	if (!mask)
		return false;
	KIRQL old = ke_dispatcher_lock();
	if (thread->affinity_is_system)
		*previous = thread->affinity;
	thread->affinity = (GROUP_AFFINITY){.Mask = mask, .Group = group};
	thread->affinity_is_system = true;
	ke_thread_requeue(thread);
	ke_dispatcher_unlock(old);
	return true;
}

static void revert_to_user(void)
{
	PKTHREAD thread = ke_thread();
	KIRQL old = ke_dispatcher_lock();
	if (thread->affinity_is_system) {
		thread->affinity = thread->user_affinity;
		thread->affinity_is_system = false;
		ke_thread_requeue(thread);
	}
	ke_dispatcher_unlock(old);
}

/*
 * Run on these processors of group 0 (PRC-66: of the highest group) only, until reverted. IRQL <=
 * DISPATCH_LEVEL; at DISPATCH_LEVEL the move waits until the IRQL drops. Returns the system
 * affinity before, 0 when there was none. No effect for a mask with bits of processors that cannot
 * exist, or without an active one. PRC-67.
 */
KAFFINITY NTAPI KeSetSystemAffinityThreadEx(KAFFINITY Affinity)
{
	GROUP_AFFINITY previous;
	set_system(ke_legacy_group(), Affinity, &previous);
	return previous.Mask;
}

/* The same without a result. */
VOID NTAPI KeSetSystemAffinityThread(KAFFINITY Affinity)
{
	GROUP_AFFINITY previous;
	set_system(ke_legacy_group(), Affinity, &previous);
}

/*
 * Back to the user affinity (Affinity 0), or to this mask by the rules of
 * KeSetSystemAffinityThreadEx; no effect when no system affinity is set. IRQL <= DISPATCH_LEVEL.
 * PRC-68.
 */
VOID NTAPI KeRevertToUserAffinityThreadEx(KAFFINITY Affinity)
{
	GROUP_AFFINITY previous;
	if (!Affinity)
		revert_to_user();
	else if (ke_thread()->affinity_is_system)
		set_system(ke_legacy_group(), Affinity, &previous);
}

/* Back to the user affinity. IRQL <= DISPATCH_LEVEL. */
VOID NTAPI KeRevertToUserAffinityThread(VOID)
{
	revert_to_user();
}

/*
 * Run on these processors of a group only, until reverted; bits of processors that are not active
 * are dropped. IRQL <= DISPATCH_LEVEL. *PreviousAffinity, optional, gets the system affinity
 * before; {0, 0} when there was none, and when Affinity is invalid (group, bits, or no active
 * processor), which changes nothing. PRC-69, DEF-127.
 */
VOID NTAPI KeSetSystemGroupAffinityThread(PGROUP_AFFINITY Affinity,
					  PGROUP_AFFINITY PreviousAffinity)
{
	GROUP_AFFINITY previous;
	set_system(Affinity->Group, Affinity->Mask, &previous);
	if (PreviousAffinity)
		*PreviousAffinity = previous;
}

/* Back to a previous affinity; Mask 0: the user affinity. IRQL <= DISPATCH_LEVEL. PRC-69. */
VOID NTAPI KeRevertToUserGroupAffinityThread(PGROUP_AFFINITY PreviousAffinity)
{
	GROUP_AFFINITY previous;
	if (!PreviousAffinity->Mask)
		revert_to_user();
	else if (ke_thread()->affinity_is_system)
		set_system(PreviousAffinity->Group, PreviousAffinity->Mask, &previous);
}

/* ---- Priority ---- */

/* Dispatcher lock held. */
static void set_priority(PKTHREAD thread, LONG priority)
{
	thread->priority = thread->base_priority = (int8_t)priority;
	ke_thread_requeue(thread);
}

/* Change a thread's priority to 1..31; returns the one before. Others change nothing. IRQL =
 * PASSIVE_LEVEL. PLT-44. */
KPRIORITY NTAPI KeSetPriorityThread(PKTHREAD Thread, KPRIORITY Priority)
{
	KIRQL old = ke_dispatcher_lock();
	KPRIORITY before = Thread->priority;
	if (Priority >= 1 && Priority <= HIGH_PRIORITY)
		set_priority(Thread, Priority);
	ke_dispatcher_unlock(old);
	return before;
}

/* A thread's priority now. IRQL = PASSIVE_LEVEL. */
KPRIORITY NTAPI KeQueryPriorityThread(PKTHREAD Thread)
{
	return __atomic_load_n(&Thread->priority, __ATOMIC_RELAXED);
}

/* Set the base priority to the process's (8) plus Increment, within 1..15; returns the increment
 * before. IRQL = PASSIVE_LEVEL. */
LONG NTAPI KeSetBasePriorityThread(PKTHREAD Thread, LONG Increment)
{
	KIRQL old = ke_dispatcher_lock();
	LONG before = Thread->base_priority - KE_PROCESS_PRIORITY;
	LONG base = KE_PROCESS_PRIORITY + Increment;
	if (Increment > HIGH_PRIORITY || base >= LOW_REALTIME_PRIORITY)
		base = LOW_REALTIME_PRIORITY - 1;
	if (Increment < -HIGH_PRIORITY || base < 1)
		base = 1;
	set_priority(Thread, base);
	ke_dispatcher_unlock(old);
	return before;
}

/* Clock ticks (KeQueryTimeIncrement) that a thread ran in the kernel; *UserTime gets those in user
 * mode. IRQL <= DISPATCH_LEVEL. */
ULONG NTAPI KeQueryRuntimeThread(PKTHREAD Thread, PULONG UserTime)
{
	KIRQL old = ke_dispatcher_lock();
	uint64_t time = Thread->cpu_time_ns;
	if (Thread->State == KE_THREAD_RUNNING)
		time += port_time_ns() - Thread->switched_in_ns;
	ke_dispatcher_unlock(old);
	*UserTime = 0; /* a user thread's time belongs to the program that it runs */
	return (ULONG)(time / 100 / KE_TIME_INCREMENT);
}
