/* SPDX-License-Identifier: MIT */
/*
 * Asynchronous procedure calls: routines that run in a given thread (PLT-79, DEF-257, DEF-258).
 *
 * Queues and the `Inserted` flag are under the dispatcher lock. `apc_pending` says that the kernel
 * queue is not empty; it is also read without the lock, by the thread itself and when it is
 * switched to. Delivery is an interrupt at APC_LEVEL on the processor that runs the thread:
 * ke_apc_deliver, on the thread's own stack.
 *
 * Special kernel APCs (no normal routine) run at APC_LEVEL before all others, and only a guarded
 * region or IRQL >= APC_LEVEL holds them back. For a normal kernel APC the kernel routine runs at
 * APC_LEVEL and then the normal routine at PASSIVE_LEVEL; a critical region, an owned mutex and a
 * normal routine that is under way hold it back. A wait below APC_LEVEL is interrupted for a
 * deliverable APC and then goes on.
 *
 * User-mode APCs end an alertable user-mode wait with STATUS_USER_APC and stay queued: system
 * threads never return to user mode. They are run down when the thread ends.
 */
#include "ke/internal.h"

#define APC_OBJECT 18

_Static_assert(sizeof(KAPC) == 0x58, "PLT-79");

static KAPC *first(PKTHREAD thread, KPROCESSOR_MODE mode)
{
	LIST_ENTRY *list = &thread->apc_list[(unsigned)mode];
	return IsListEmpty(list) ? NULL : CONTAINING_RECORD(list->Flink, KAPC, ApcListEntry);
}

static bool deliverable(PKTHREAD thread, const KAPC *apc)
{
	if (thread->special_apc_disable)
		return false;
	return !apc->NormalRoutine || (!thread->kernel_apc_disable && !thread->in_normal_apc);
}

bool ke_apc_deliverable(PKTHREAD thread)
{
	/* Special ones stand in front: when the first cannot be delivered, none can. */
	const KAPC *apc = first(thread, KernelMode);
	return apc && deliverable(thread, apc);
}

static void take(PKTHREAD thread, KAPC *apc)
{
	RemoveEntryList(&apc->ApcListEntry);
	apc->Inserted = FALSE;
	if (!first(thread, KernelMode))
		atomic_store_explicit(&thread->apc_pending, false, memory_order_relaxed);
}

/* One kernel APC; at APC_LEVEL, without the lock. The KAPC may be freed by its kernel routine. */
static void run(PKTHREAD thread, KAPC *apc)
{
	PKKERNEL_ROUTINE kernel = apc->KernelRoutine;
	PKNORMAL_ROUTINE normal = apc->NormalRoutine;
	PVOID context = apc->NormalContext, argument1 = apc->SystemArgument1,
	      argument2 = apc->SystemArgument2;
	bool special = !normal;
	struct ke_call_record record;

	ke_callout_begin(&record, NULL);
	thread->in_special_apc = special;
	kernel(apc, &normal, &context, &argument1, &argument2);
	if (vf_on())
		vf_callout_irql((void *)kernel, apc, APC_LEVEL, 0);
	thread->in_special_apc = false;
	if (normal && !special) {
		ke_irql_lower(PASSIVE_LEVEL);
		normal(context, argument1, argument2);
		if (vf_on())
			vf_callout_irql((void *)normal, context, PASSIVE_LEVEL, 1);
		ke_irql_raise(APC_LEVEL);
	}
	ke_callout_end(&record);
}

void ke_apc_deliver(void)
{
	PKTHREAD thread = ke_thread();
	for (;;) {
		KIRQL old = ke_dispatcher_lock();
		if (!ke_apc_deliverable(thread)) {
			ke_dispatcher_unlock(old);
			return;
		}
		KAPC *apc = first(thread, KernelMode);
		bool normal = apc->NormalRoutine != NULL;
		take(thread, apc);
		if (normal)
			thread->in_normal_apc = true;
		ke_dispatcher_unlock(old);

		run(thread, apc);
		if (normal)
			thread->in_normal_apc = false;
	}
}

/* Make the thread notice; dispatcher lock held. */
static void notify(PKTHREAD thread, const KAPC *apc, KPRIORITY increment)
{
	if (apc->ApcMode == UserMode) {
		if (thread->State == KE_THREAD_WAITING && thread->alertable &&
		    thread->wait_mode == UserMode)
			ke_thread_unwait(thread, STATUS_USER_APC, increment);
		return;
	}
	atomic_store_explicit(&thread->apc_pending, true, memory_order_relaxed);
	if (thread->State == KE_THREAD_WAITING) {
		if (thread->WaitIrql < APC_LEVEL && deliverable(thread, apc))
			ke_wait_interrupt(thread);
	} else if (thread->State == KE_THREAD_RUNNING) {
		/* Its own processor takes it when the IRQL drops, another one at once. A thread
		 * that is not running finds apc_pending when it is switched to. */
		if (thread->processor == ke_this())
			atomic_fetch_or(&ke_this()->port.pending, 1u << APC_LEVEL);
		else
			ke_interrupt_request(thread->processor, APC_LEVEL);
	} else if (thread->State == KE_THREAD_USER) {
		port_thread_kick(thread->port); /* it delivers when it enters the kernel */
	}
}

/*
 * Prepare `Apc` for `Thread`. IRQL <= DISPATCH_LEVEL. NormalRoutine NULL makes it a special kernel
 * APC; RundownRoutine, optional, is called instead of the others when the thread ends first.
 * Environment is not used: threads have one address space here. DEF-257.
 */
VOID NTAPI KeInitializeApc(PRKAPC Apc, PRKTHREAD Thread, KAPC_ENVIRONMENT Environment,
			   PKKERNEL_ROUTINE KernelRoutine, PKRUNDOWN_ROUTINE RundownRoutine,
			   PKNORMAL_ROUTINE NormalRoutine, KPROCESSOR_MODE ApcMode,
			   PVOID NormalContext)
{
	memset(Apc, 0, sizeof *Apc);
	Apc->Type = APC_OBJECT;
	Apc->Size = sizeof *Apc;
	Apc->Thread = Thread;
	Apc->ApcStateIndex =
		Environment == CurrentApcEnvironment ? OriginalApcEnvironment : (CCHAR)Environment;
	Apc->KernelRoutine = KernelRoutine;
	Apc->RundownRoutine = RundownRoutine;
	Apc->NormalRoutine = NormalRoutine;
	Apc->ApcMode = NormalRoutine ? ApcMode : KernelMode;
	Apc->NormalContext = NormalRoutine ? NormalContext : NULL;
}

static void insert(PKTHREAD thread, KAPC *apc)
{
	LIST_ENTRY *list = &thread->apc_list[(unsigned)apc->ApcMode];
	LIST_ENTRY *before = list;
	if (!apc->NormalRoutine) { /* behind the other special ones */
		before = list->Flink;
		while (before != list &&
		       !CONTAINING_RECORD(before, KAPC, ApcListEntry)->NormalRoutine)
			before = before->Flink;
	}
	InsertTailList(before, &apc->ApcListEntry);
	apc->Inserted = TRUE;
}

/*
 * Queue an initialized APC. IRQL <= DISPATCH_LEVEL. Increment: priority boost for a thread whose
 * wait it ends. FALSE: it is queued already, or the thread ends. DEF-258.
 */
BOOLEAN NTAPI KeInsertQueueApc(PRKAPC Apc, PVOID SystemArgument1, PVOID SystemArgument2,
			       KPRIORITY Increment)
{
	PKTHREAD thread = Apc->Thread;
	KIRQL old = ke_dispatcher_lock();
	bool queued = !Apc->Inserted && !thread->apc_inserting_closed;
	if (queued) {
		Apc->SystemArgument1 = SystemArgument1;
		Apc->SystemArgument2 = SystemArgument2;
		insert(thread, Apc);
		notify(thread, Apc, Increment);
	}
	ke_dispatcher_unlock(old);
	return queued;
}

/* Take an APC out of its queue again. IRQL <= DISPATCH_LEVEL. FALSE: it was not queued (it may be
 * running). */
BOOLEAN NTAPI KeRemoveQueueApc(PRKAPC Apc)
{
	PKTHREAD thread = Apc->Thread;
	KIRQL old = ke_dispatcher_lock();
	bool queued = Apc->Inserted;
	if (queued)
		take(thread, Apc);
	ke_dispatcher_unlock(old);
	return queued;
}

void ke_apc_rundown(void)
{
	PKTHREAD thread = ke_thread();
	KIRQL old = ke_dispatcher_lock();
	thread->apc_inserting_closed = true;
	for (;;) {
		KAPC *apc = first(thread, KernelMode);
		if (!apc)
			apc = first(thread, UserMode);
		if (!apc)
			break;
		take(thread, apc);
		ke_dispatcher_unlock(old);
		if (apc->RundownRoutine) {
			struct ke_call_record record;
			ke_callout_begin(&record, NULL);
			apc->RundownRoutine(apc);
			ke_callout_end(&record);
		}
		old = ke_dispatcher_lock();
	}
	ke_dispatcher_unlock(old);
}
