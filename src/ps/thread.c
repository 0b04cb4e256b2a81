/* SPDX-License-Identifier: MIT */
/*
 * thread.c: threads as objects: creation, end, and what drivers may ask of them.
 *
 * Contexts: creation and end at PASSIVE_LEVEL; `gone` at DISPATCH_LEVEL on whatever thread runs
 * next; queries anywhere. Lock: ps_lock for the list of a process's threads. References: the list
 * and the id table hold none; the thread itself holds one until it has left its stack
 * (ke_thread_gone). Implements PLT-41, PLT-42, DEF-48, DEF-123, DEF-155, DEF-159, DEF-210, DEF-211,
 * DEF-277. Choices: return from a start routine ends the thread with STATUS_SUCCESS. A driver's
 * thread that ends in more critical regions than it began with, or above PASSIVE_LEVEL, is bug
 * check 0x20 as on Windows.
 */
#include "ps/ps_internal.h"
#include "ex/ex.h"
#include "ldr/ldr.h"
#include "ps/user.h"

/* How a driver's thread starts; freed by the new thread. */
struct start {
	PKSTART_ROUTINE routine;
	void *context;
};

struct ke_lock ps_lock;
void (*ps_thread_rundown)(PKTHREAD thread);

static void thread_destroy(void *body);

struct _OBJECT_TYPE ps_thread_type = {
	.name = "Thread",
	.wait_offset = 0,
	.all_access = THREAD_ALL_ACCESS,
	.destroy = thread_destroy,
};
POBJECT_TYPE PsThreadType = &ps_thread_type;

static void list_remove(PKTHREAD thread)
{
	KIRQL old = ke_lock_raise(&ps_lock);
	if (thread->ThreadListEntry.Flink) {
		RemoveEntryList(&thread->ThreadListEntry);
		thread->ThreadListEntry.Flink = 0;
	}
	ke_lock_lower(&ps_lock, old);
}

static void thread_destroy(void *body)
{
	PKTHREAD thread = body;
	list_remove(thread);
	ps_id_remove(thread->client_id.UniqueThread);
	ob_dereference(thread->owner);
}

static NTSTATUS allocate(PKPROCESS process, PKTHREAD *result)
{
	PKTHREAD thread;
	NTSTATUS status = ob_create(&ps_thread_type, sizeof(*thread), (void **)&thread);
	if (!NT_SUCCESS(status))
		return status;
	thread->client_id.UniqueThread = ps_id_create(thread);
	thread->client_id.UniqueProcess = process->UniqueProcessId;
	thread->Process = thread->owner = process;
	thread->system_thread = process == ps_system_process;
	thread->PreviousMode = thread->system_thread ? KernelMode : UserMode;
	ob_reference(process);
	if (!thread->client_id.UniqueThread) {
		ob_dereference(thread);
		return STATUS_INSUFFICIENT_RESOURCES;
	}
	KIRQL old = ke_lock_raise(&ps_lock);
	InsertTailList(&process->ThreadListHead, &thread->ThreadListEntry);
	ke_lock_lower(&ps_lock, old);
	*result = thread;
	return STATUS_SUCCESS;
}

NTSTATUS ps_thread_allocate(PKTHREAD *result)
{
	return allocate(ps_system_process, result);
}

/* On a processor, after the thread has left its stack for good. */
static void gone(PKTHREAD thread)
{
	if (!thread->system_thread)
		ps_user_less();
	ob_dereference(thread);
}

void ps_threads_initialize(void)
{
	ke_thread_gone = gone;
}

NTSTATUS ps_thread_prepare(PKPROCESS process, void (*start)(void *), void *context,
			   PKTHREAD *result)
{
	PKTHREAD thread;
	NTSTATUS status = allocate(process, &thread);
	if (!NT_SUCCESS(status))
		return status;
	status = ke_thread_initialize(thread, start, context);
	if (!NT_SUCCESS(status)) {
		ob_dereference(thread);
		return status;
	}
	ob_reference(thread); /* its own, until it is gone */
	if (!thread->system_thread) {
		atomic_fetch_add(&ps_user_count, 1);
		/* PRC-66: nobody knows it yet. */
		if (vf_strict_group_aware)
			thread->affinity.Group = thread->user_affinity.Group =
				(USHORT)(KeQueryActiveGroupCount() - 1);
	}
	*result = thread;
	return STATUS_SUCCESS;
}

/* A thread that will run start(context); `address`: the driver's routine. On success the caller has
 * a reference. */
static NTSTATUS create(struct ldr_image *owner, void (*start)(void *), void *context,
		       const void *address, PKTHREAD *result)
{
	PKTHREAD thread;
	NTSTATUS status = ps_thread_prepare(ps_system_process, start, context, &thread);
	if (!NT_SUCCESS(status))
		return status;
	thread->image = owner;
	if (address) {
		thread->StartAddress = (void *)(uintptr_t)address;
		thread->kernel_apc_disable = -1; /* PLT-41 */
	}
	ps_notify_thread(thread, TRUE);
	*result = thread;
	return STATUS_SUCCESS;
}

NTSTATUS ps_thread_create(struct ldr_image *owner, void (*start)(void *), void *context,
			  PKTHREAD *thread)
{
	PKTHREAD own;
	NTSTATUS status = create(owner, start, context, 0, &own);
	if (!NT_SUCCESS(status))
		return status;
	ke_thread_ready(own);
	if (thread)
		*thread = own;
	else
		ob_dereference(own);
	return STATUS_SUCCESS;
}

/* A driver's thread must not take with it what it has disabled. */
static void check_end(PKTHREAD thread)
{
	struct ke_bugcheck_detail detail = {.address = (uint64_t)thread->StartAddress};
	int32_t regions = thread->kernel_apc_disable + 1;
	/* What its mutexes disabled comes back when they are abandoned. */
	for (LIST_ENTRY *e = thread->mutants.Flink; e != &thread->mutants; e = e->Flink)
		regions += CONTAINING_RECORD(e, KMUTANT, MutantListEntry)->ApcDisable;
	if (!thread->StartAddress)
		return;
	if (ke_irql() != PASSIVE_LEVEL) {
		detail.text = "a system thread ends above PASSIVE_LEVEL: lower the IRQL before it "
			      "returns";
		ke_bugcheck(IRQL_GT_ZERO_AT_SYSTEM_SERVICE, (uint64_t)thread->StartAddress,
			    ke_irql(), 0, 0, &detail);
	}
	if (regions || thread->special_apc_disable) {
		detail.text = "a system thread ends inside a critical or guarded region: leave "
			      "what it entered";
		ke_bugcheck(KERNEL_APC_PENDING_DURING_EXIT, 0, (uint64_t)(int64_t)regions, 0, 0,
			    &detail);
	}
}

void ps_thread_ending(void)
{
	PKTHREAD thread = ke_thread();
	thread->terminating = true;
	ps_notify_thread(thread, FALSE);
	if (ps_thread_rundown)
		ps_thread_rundown(thread);
}

void ps_thread_exit(NTSTATUS status)
{
	PKTHREAD thread = ke_thread();
	thread->records = 0; /* frames of drivers that called us are abandoned */
	check_end(thread);
	if (!thread->terminating)
		ps_thread_ending();
	/* From here on it runs no driver's code: it no longer counts as its image's. */
	list_remove(thread);
	ke_thread_exit(status);
}

/* First code of a driver's thread. */
static void driver_thread(void *context)
{
	struct start *start = context;
	PKSTART_ROUTINE routine = start->routine;
	void *argument = start->context;
	struct ke_call_record record;
	ex_free(start);
	ke_callout_begin(&record, 0);
	routine(argument);
	ke_callout_end(&record);
	ps_thread_exit(STATUS_SUCCESS);
}

/* Under ps_lock. */
static bool runs(PKTHREAD thread, uint64_t base, uint64_t end)
{
	uint64_t start = (uint64_t)thread->StartAddress;
	return thread->ThreadListEntry.Flink && start >= base && start < end;
}

size_t ps_thread_count(uint64_t base, uint64_t end)
{
	LIST_ENTRY *head = &ps_system_process->ThreadListHead;
	size_t count = 0;
	KIRQL old = ke_lock_raise(&ps_lock);
	for (LIST_ENTRY *entry = head->Flink; entry != head; entry = entry->Flink)
		count += runs(CONTAINING_RECORD(entry, KTHREAD, ThreadListEntry), base, end);
	ke_lock_lower(&ps_lock, old);
	return count;
}

/* VER-38, DEF-341. By ids: the list may change while a finding is reported. */
void ps_thread_unload(const struct vf_unload *unload)
{
	for (uint32_t n = 1; n < PS_IDS_MAX; n++) {
		PKTHREAD thread = ps_id_find((HANDLE)(ULONG_PTR)(n * 4), &ps_thread_type);
		if (!thread)
			continue;
		KIRQL old = ke_lock_raise(&ps_lock);
		bool left = runs(thread, unload->base, unload->end);
		ke_lock_lower(&ps_lock, old);
		if (left)
			vf_unload_left(unload, VF_ThreadLeft, thread->StartAddress, thread,
				       "the thread %p running", thread);
		ob_dereference(thread);
	}
}

/* ---- DDIs ---- */

/*
 * Start a thread of the driver (PLT-41, DEF-155). IRQL = PASSIVE. ProcessHandle NULL: the system
 * process. The routine starts at PASSIVE_LEVEL in a critical region. STATUS_SUCCESS,
 * STATUS_INVALID_HANDLE, STATUS_INSUFFICIENT_RESOURCES.
 */
NTSTATUS NTAPI PsCreateSystemThread(PHANDLE ThreadHandle, ULONG DesiredAccess,
				    POBJECT_ATTRIBUTES ObjectAttributes, HANDLE ProcessHandle,
				    PCLIENT_ID ClientId, PKSTART_ROUTINE StartRoutine,
				    PVOID StartContext)
{
	ULONG attributes = ObjectAttributes ? ObjectAttributes->Attributes : 0;
	struct start *start;
	PKTHREAD thread;
	NTSTATUS status;
	HANDLE handle;
	if (ProcessHandle) {
		void *process;
		status = ob_handle_reference(ProcessHandle, 0, &ps_process_type, KernelMode,
					     &process, 0);
		if (!NT_SUCCESS(status))
			return status;
		ob_dereference(process);
	}
	start = ex_allocate(sizeof(*start), 'tSsP', NonPagedPoolNx);
	if (!start)
		return STATUS_INSUFFICIENT_RESOURCES;
	start->routine = StartRoutine;
	start->context = StartContext;
	status = create(ldr_image_from_address((uint64_t)StartRoutine), driver_thread, start,
			StartRoutine, &thread);
	if (!NT_SUCCESS(status)) {
		ex_free(start);
		return status;
	}
	status = ob_handle_create(thread, DesiredAccess, attributes, VF_CALLER(), &handle);
	if (NT_SUCCESS(status)) {
		/* Before it runs: the routine may read them. */
		*ThreadHandle = handle;
		if (ClientId)
			*ClientId = thread->client_id;
	}
	ke_thread_ready(thread);
	ob_dereference(thread);
	return status;
}

/* End the calling system thread (PLT-42). IRQL = PASSIVE. STATUS_INVALID_PARAMETER when it is not
 * one; else no return. */
NTSTATUS NTAPI PsTerminateSystemThread(NTSTATUS ExitStatus)
{
	PKTHREAD thread = ke_thread();
	/* The core's own threads, DriverEntry's among them, are not the driver's to end. */
	if (!thread->system_thread || !thread->StartAddress)
		return STATUS_INVALID_PARAMETER;
	ps_thread_exit(ExitStatus);
}

/* Ids (DEF-48, DEF-210). Any IRQL. */
HANDLE NTAPI PsGetCurrentThreadId(VOID)
{
	return ke_thread()->client_id.UniqueThread;
}

HANDLE NTAPI PsGetCurrentProcessId(VOID)
{
	return ke_thread()->client_id.UniqueProcess;
}

HANDLE NTAPI PsGetThreadId(PETHREAD Thread)
{
	return ps_kthread(Thread)->client_id.UniqueThread;
}

HANDLE NTAPI PsGetThreadProcessId(PETHREAD Thread)
{
	return ps_kthread(Thread)->client_id.UniqueProcess;
}

/* The process that it is a thread of, wherever it is attached. */
PEPROCESS NTAPI PsGetThreadProcess(PETHREAD Thread)
{
	return (PEPROCESS)ps_kthread(Thread)->owner;
}

/* A thread without user mode (DEF-277). Any IRQL. */
BOOLEAN NTAPI PsIsSystemThread(PETHREAD Thread)
{
	return ps_kthread(Thread)->system_thread;
}

BOOLEAN NTAPI PsIsThreadTerminating(PETHREAD Thread)
{
	return ps_kthread(Thread)->terminating;
}

/* STATUS_PENDING while it runs. IRQL <= DISPATCH. */
NTSTATUS NTAPI PsGetThreadExitStatus(PETHREAD Thread)
{
	PKTHREAD thread = ps_kthread(Thread);
	return thread->State == KE_THREAD_TERMINATED ? thread->exit_status : STATUS_PENDING;
}

/* Id to referenced thread (DEF-211). IRQL <= APC. STATUS_INVALID_PARAMETER when there is none. */
NTSTATUS NTAPI PsLookupThreadByThreadId(HANDLE ThreadId, PETHREAD *Thread)
{
	PKTHREAD thread = ps_id_find(ThreadId, &ps_thread_type);
	if (!thread)
		return STATUS_INVALID_PARAMETER;
	*Thread = ps_ethread(thread);
	return STATUS_SUCCESS;
}

/* Both at once; Process may be NULL. IRQL <= APC. STATUS_INVALID_CID: no such thread, or it is
 * another process's. */
NTSTATUS NTAPI PsLookupProcessThreadByCid(PCLIENT_ID Cid, PEPROCESS *Process, PETHREAD *Thread)
{
	PKTHREAD thread = ps_id_find(Cid->UniqueThread, &ps_thread_type);
	if (!thread)
		return STATUS_INVALID_CID;
	if (thread->client_id.UniqueProcess != Cid->UniqueProcess) {
		ob_dereference(thread);
		return STATUS_INVALID_CID;
	}
	if (Process) {
		void *process = ps_id_find(Cid->UniqueProcess, &ps_process_type);
		if (!process) {
			ob_dereference(thread);
			return STATUS_INVALID_CID;
		}
		*Process = process;
	}
	*Thread = ps_ethread(thread);
	return STATUS_SUCCESS;
}
