/* SPDX-License-Identifier: MIT */
/*
 * Mutexes (PLT-30, PLT-76): owned by a thread, which may acquire one again and has to release it as
 * often.
 *
 * Runs at DISPATCH_LEVEL or below; all fields are under the dispatcher lock. SignalState is 1 when
 * free and 1 minus the number of acquires when owned; acquiring is a wait (wait.c). While a thread
 * owns a mutex its normal kernel APCs wait.
 *
 * Chosen: when the owner ends, the mutex becomes free and abandoned: the next wait gets
 * STATUS_ABANDONED_WAIT_0.
 */
#include "ke/internal.h"

_Static_assert(sizeof(KMUTANT) == 0x38 && offsetof(KMUTANT, OwnerThread) == 0x28, "PLT-76");

/* Initialize a free mutex. IRQL: any; resident memory. Level is reserved. PLT-30. */
VOID NTAPI KeInitializeMutex(PRKMUTEX Mutex, ULONG Level)
{
	if (vf_on())
		ke_check_resident("KeInitializeMutex", __builtin_return_address(0), Mutex);
	(void)Level;
	ke_object_initialize(&Mutex->Header, KE_MUTANT, 1);
	Mutex->Header.Size = sizeof *Mutex / 4;
	Mutex->MutantListEntry.Flink = Mutex->MutantListEntry.Blink = NULL;
	Mutex->OwnerThread = NULL;
	Mutex->Abandoned = FALSE;
	Mutex->ApcDisable = 1;
}

/* The owner gives it up for good; dispatcher lock held. */
static void disown(KMUTANT *mutex)
{
	RemoveEntryList(&mutex->MutantListEntry);
	mutex->OwnerThread->kernel_apc_disable += mutex->ApcDisable;
	mutex->OwnerThread = NULL;
	ke_state_set(&mutex->Header, 1);
	ke_object_signal(&mutex->Header, MUTANT_INCREMENT);
}

/*
 * Release once; returns the state before: 0 means that it is free now. IRQL <= DISPATCH_LEVEL; with
 * Wait TRUE <= APC_LEVEL: the next call must be a KeWait. Raises STATUS_MUTANT_NOT_OWNED (or
 * STATUS_ABANDONED for an abandoned mutex) when the caller is not the owner. PLT-30.
 */
LONG NTAPI KeReleaseMutex(PRKMUTEX Mutex, BOOLEAN Wait)
{
	PKTHREAD thread = ke_thread();
	KIRQL old = ke_dispatcher_lock();
	if (Mutex->OwnerThread != thread) {
		PKTHREAD owner = Mutex->OwnerThread;
		NTSTATUS status = Mutex->Abandoned ? STATUS_ABANDONED : STATUS_MUTANT_NOT_OWNED;
		ke_dispatcher_unlock(old);
		if (vf_on())
			vf_report(VF_MutexOwner, "KeReleaseMutex", VF_CALLER(),
				  (uint64_t)(uintptr_t)Mutex,
				  "called for the mutex %p on thread %p, owned by thread %p", Mutex,
				  thread, owner);
		ExRaiseStatus(status);
	}
	LONG before = ke_state(&Mutex->Header);
	bool free = before == 0;
	if (free)
		disown(Mutex);
	else
		ke_state_set(&Mutex->Header, before + 1);
	bool deliver = free && Mutex->ApcDisable && thread->kernel_apc_disable == 0 &&
		       atomic_load_explicit(&thread->apc_pending, memory_order_relaxed);
	if (deliver)
		atomic_fetch_or(&ke_this()->port.pending,
				1u << APC_LEVEL); /* taken when the IRQL drops */
	ke_wait_next(old, Wait);
	return before;
}

/* The state: 1 free, else owned. IRQL <= DISPATCH_LEVEL. PLT-30. */
LONG NTAPI KeReadStateMutex(PRKMUTEX Mutex)
{
	return ke_state(&Mutex->Header);
}

void ke_mutants_abandon(PKTHREAD thread)
{
	while (!IsListEmpty(&thread->mutants)) {
		KMUTANT *mutex = CONTAINING_RECORD(thread->mutants.Flink, KMUTANT, MutantListEntry);
		mutex->Abandoned = TRUE;
		disown(mutex);
	}
}
