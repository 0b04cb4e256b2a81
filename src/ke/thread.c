/* SPDX-License-Identifier: MIT */
/*
 * thread.c: the kernel half of threads: layout, start state, end (ps makes the objects around
 * them).
 *
 * KTHREAD and ETHREAD are one object (DEF-48); offsets that drivers read without a call are
 * asserted here (DEF-49, DEF-27). IRQL: PASSIVE_LEVEL to end a thread; preparing one touches only
 * memory that nobody else knows yet.
 */
#include "ke/internal.h"

_Static_assert(offsetof(KTHREAD, InitialStack) == 0x28, "DEF-49");
_Static_assert(offsetof(KTHREAD, StackLimit) == 0x30, "DEF-49");
_Static_assert(offsetof(KTHREAD, StackBase) == 0x38, "DEF-49");
_Static_assert(offsetof(KTHREAD, MiscFlags) == 0x74, "DEF-49");
_Static_assert(offsetof(KTHREAD, TrapFrame) == 0x90, "DEF-27");
_Static_assert(offsetof(KTHREAD, Process) == 0xb8, "DEF-49");
_Static_assert(offsetof(KTHREAD, State) == 0x184, "DEF-49");
_Static_assert(offsetof(KTHREAD, WaitIrql) == 0x186, "DEF-49");
_Static_assert(offsetof(KTHREAD, PreviousMode) == 0x232, "DEF-49");
_Static_assert(offsetof(KTHREAD, ThreadListEntry) == 0x2f8, "DEF-49");
_Static_assert(offsetof(KTHREAD, StartAddress) == 0x450, "DEF-49");
_Static_assert(sizeof(KTHREAD) >= 0x800, "DEF-49");

void ke_object_initialize(DISPATCHER_HEADER *object, UCHAR type, LONG state)
{
	memset(object, 0, sizeof *object);
	object->Type = type;
	object->SignalState = state;
	InitializeListHead(&object->WaitListHead);
}

void ke_thread_prepare(PKTHREAD thread, void (*start)(void *), void *context)
{
	ke_object_initialize(&thread->Header, KE_THREAD, 0);
	InitializeListHead(&thread->apc_list[0]);
	InitializeListHead(&thread->apc_list[1]);
	InitializeListHead(&thread->mutants);
	thread->start = start;
	thread->start_context = context;
	thread->priority = thread->base_priority = KE_PROCESS_PRIORITY;
	/* Group 0, all processors that it can hold: those that join later are meant too. */
	thread->affinity.Mask = ke_group_size == 64 ? ~0ull : (1ull << ke_group_size) - 1;
	thread->user_affinity = thread->affinity;
	KeInitializeTimer(&thread->wait_timer);
}

void ke_thread_exit(NTSTATUS status)
{
	PKTHREAD thread = ke_thread();
	thread->exit_status = status;
	ke_apc_rundown();
	ke_dispatcher_lock();
	ke_mutants_abandon(thread);
	ke_state_set(&thread->Header, 1);
	ke_object_signal(&thread->Header, 0);
	thread->State = KE_THREAD_TERMINATED;
	ke_switch_away();
	__builtin_unreachable();
}
