/* SPDX-License-Identifier: MIT */
/*
 * process.c: processes as objects, and attaching to one.
 *
 * Contexts: creation and end at PASSIVE_LEVEL; attach <= DISPATCH_LEVEL by the thread itself;
 * queries anywhere. Lock: ps_lock for the list of processes. Implements DEF-28, DEF-48, DEF-49,
 * DEF-180, DEF-269, DEF-270, DEF-278, DEF-308.
 */
#include "ps/ps_internal.h"
#include "ex/ex.h"

#define BUILD_NUMBER 19045          /* as the shared page says (DEF-47) */
#define NOT_ATTACHED ((PKPROCESS)1) /* in KAPC_STATE: attached to the own process */

_Static_assert(offsetof(KPROCESS, DirectoryTableBase) == 0x28, "DEF-49");
_Static_assert(offsetof(KPROCESS, ThreadListHead) == 0x30, "DEF-49");
_Static_assert(offsetof(KPROCESS, UniqueProcessId) == 0x440, "DEF-49");
_Static_assert(offsetof(KPROCESS, ActiveProcessLinks) == 0x448, "DEF-49");
_Static_assert(offsetof(KPROCESS, ImageFileName) == 0x5a8, "DEF-49");
_Static_assert(offsetof(KPROCESS, parent_id) >= 0xb80, "DEF-49");
_Static_assert(sizeof(KAPC_STATE) == 0x30, "DEF-269");

PKPROCESS ps_system_process;
PEPROCESS PsInitialSystemProcess;
void (*ps_space_free)(struct mm_space *space);

/* The list's head is an entry of no process, as PsActiveProcessHead is. */
static LIST_ENTRY active = {&active, &active};

static void process_destroy(void *body);

struct _OBJECT_TYPE ps_process_type = {
	.name = "Process",
	.wait_offset = 0,
	.all_access = PROCESS_ALL_ACCESS,
	.destroy = process_destroy,
};
POBJECT_TYPE PsProcessType = &ps_process_type;

static void process_destroy(void *body)
{
	PKPROCESS process = body;
	KIRQL old = ke_lock_raise(&ps_lock);
	if (process->ActiveProcessLinks.Flink)
		RemoveEntryList(&process->ActiveProcessLinks);
	ke_lock_lower(&ps_lock, old);
	ps_id_remove(process->UniqueProcessId);
	if (process->address_space)
		ps_space_free(process->address_space);
	ps_user_free(process);
}

PKPROCESS ps_process_next(PKPROCESS process)
{
	LIST_ENTRY *entry = process ? process->ActiveProcessLinks.Flink : active.Flink;
	return entry == &active ? 0 : CONTAINING_RECORD(entry, KPROCESS, ActiveProcessLinks);
}

NTSTATUS ps_process_create(const char *image_name, PKPROCESS parent, PKPROCESS *result)
{
	PKPROCESS process;
	NTSTATUS status = ob_create(&ps_process_type, sizeof(*process), (void **)&process);
	if (!NT_SUCCESS(status))
		return status;
	process->UniqueProcessId = ps_id_create(process);
	if (!process->UniqueProcessId) {
		ob_dereference(process);
		return STATUS_INSUFFICIENT_RESOURCES;
	}
	ke_object_initialize(&process->Header, 3 /* process */, 0);
	InitializeListHead(&process->ThreadListHead);
	rtl_copy((char *)process->ImageFileName, sizeof(process->ImageFileName), image_name);
	process->parent_id = parent ? parent->UniqueProcessId : 0;
	process->created.QuadPart = (LONGLONG)port_time_system();
	process->exit_status = STATUS_PENDING;
	ExInitializeRundownProtection(&process->exit_protection);
	KIRQL old = ke_lock_raise(&ps_lock);
	InsertTailList(&active, &process->ActiveProcessLinks);
	ke_lock_lower(&ps_lock, old);
	*result = process;
	return STATUS_SUCCESS;
}

NTSTATUS ps_initialize(void)
{
	ps_threads_initialize();
	NTSTATUS status = ps_process_create("System", 0, &ps_system_process);
	PsInitialSystemProcess = (PEPROCESS)ps_system_process;
	return status;
}

NTSTATUS ps_start(void)
{
	return ps_thread_create(0, ob_reaper, 0, 0);
}

NTSTATUS ps_process_started(PKPROCESS process, PCUNICODE_STRING image, PCUNICODE_STRING command)
{
	PS_CREATE_NOTIFY_INFO info = {.Size = sizeof(info)};
	info.ParentProcessId = process->parent_id;
	info.CreatingThreadId = ke_thread()->client_id;
	info.ImageFileName = image;
	info.CommandLine = command;
	info.FileOpenNameAvailable = 1;
	ps_notify_process(process, &info);
	return info.CreationStatus;
}

void ps_process_ending(PKPROCESS process, NTSTATUS status)
{
	process->exit_status = status;
	ps_notify_process(process, 0);
	ExWaitForRundownProtectionRelease(&process->exit_protection);
}

void ps_process_ended(PKPROCESS process, NTSTATUS status)
{
	KIRQL old = ke_dispatcher_lock();
	process->exit_status = status;
	process->Header.SignalState = 1;
	ke_object_signal(&process->Header, 0);
	ke_dispatcher_unlock(old);
}

/* ---- DDIs ---- */

/* The process whose memory the thread sees (DEF-180). Any IRQL. */
PEPROCESS NTAPI IoGetCurrentProcess(VOID)
{
	return (PEPROCESS)ke_thread()->Process;
}

HANDLE NTAPI PsGetProcessId(PEPROCESS Process)
{
	return ((PKPROCESS)Process)->UniqueProcessId;
}

HANDLE NTAPI PsGetProcessInheritedFromUniqueProcessId(PEPROCESS Process)
{
	return ((PKPROCESS)Process)->parent_id;
}

/* The name's first 14 characters. Any IRQL. */
PCHAR NTAPI PsGetProcessImageFileName(PEPROCESS Process)
{
	return (PCHAR)((PKPROCESS)Process)->ImageFileName;
}

LONGLONG NTAPI PsGetProcessCreateTimeQuadPart(PEPROCESS Process)
{
	return ((PKPROCESS)Process)->created.QuadPart;
}

/* STATUS_PENDING while it runs. IRQL <= DISPATCH. */
NTSTATUS NTAPI PsGetProcessExitStatus(PEPROCESS Process)
{
	return ((PKPROCESS)Process)->exit_status;
}

/* Id to referenced process (DEF-278). IRQL <= APC. STATUS_INVALID_PARAMETER when there is none. */
NTSTATUS NTAPI PsLookupProcessByProcessId(HANDLE ProcessId, PEPROCESS *Process)
{
	PKPROCESS process = ps_id_find(ProcessId, &ps_process_type);
	if (!process)
		return STATUS_INVALID_PARAMETER;
	*Process = (PEPROCESS)process;
	return STATUS_SUCCESS;
}

/*
 * A handle of a process by its id. IRQL = PASSIVE. STATUS_INVALID_CID: no such process;
 * STATUS_INVALID_PARAMETER_MIX: a name besides the id, or neither.
 */
NTSTATUS NTAPI ZwOpenProcess(PHANDLE ProcessHandle, ACCESS_MASK DesiredAccess,
			     POBJECT_ATTRIBUTES ObjectAttributes, PCLIENT_ID ClientId)
{
	if (!ClientId || ObjectAttributes->ObjectName)
		return STATUS_INVALID_PARAMETER_MIX;
	PKPROCESS process = ps_id_find(ClientId->UniqueProcess, &ps_process_type);
	if (!process)
		return STATUS_INVALID_CID;
	NTSTATUS status = ob_handle_create(process, DesiredAccess, ObjectAttributes->Attributes,
					   VF_CALLER(), ProcessHandle);
	ob_dereference(process);
	return status;
}

/* Keep a process from ending (DEF-308). IRQL <= APC. STATUS_PROCESS_IS_TERMINATING once its end has
 * begun. */
NTSTATUS NTAPI PsAcquireProcessExitSynchronization(PEPROCESS Process)
{
	if (!ExAcquireRundownProtection(&((PKPROCESS)Process)->exit_protection))
		return STATUS_PROCESS_IS_TERMINATING;
	return STATUS_SUCCESS;
}

VOID NTAPI PsReleaseProcessExitSynchronization(PEPROCESS Process)
{
	ExReleaseRundownProtection(&((PKPROCESS)Process)->exit_protection);
}

/* In one step as seen by the dispatcher: it looks at the thread's process when it switches. */
static void process_set(PKTHREAD thread, PKPROCESS process)
{
	KIRQL old = ke_irql_raise(max(ke_irql(), DISPATCH_LEVEL));
	thread->Process = process;
	void (*switched)(PKPROCESS) =
		atomic_load_explicit(&ke_process_switched, memory_order_acquire);
	if (switched)
		switched(process);
	ke_irql_lower(old);
}

/*
 * See a process's user memory (DEF-269). IRQL <= DISPATCH, not in a DPC (bug check 5, as on
 * Windows). Nests by the caller's state blocks.
 */
VOID NTAPI KeStackAttachProcess(PRKPROCESS Process, PRKAPC_STATE ApcState)
{
	PKTHREAD thread = ke_thread();
	PKPROCESS from = thread->Process;
	if (ke_this()->in_dpc) {
		struct ke_bugcheck_detail detail = {
			.text = "KeStackAttachProcess was called in a DPC"};
		detail.address = VF_CALLER();
		ke_bugcheck(INVALID_PROCESS_ATTACH_ATTEMPT, (uint64_t)Process, (uint64_t)from, 0, 1,
			    &detail);
	}
	memset(ApcState, 0, sizeof(*ApcState));
	InitializeListHead(&ApcState->ApcListHead[0]);
	InitializeListHead(&ApcState->ApcListHead[1]);
	ApcState->Process = NOT_ATTACHED;
	if (from == Process)
		return;
	ApcState->Process = from;
	process_set(thread, Process);
}

/* Back to what KeStackAttachProcess left (DEF-270). IRQL <= DISPATCH. */
VOID NTAPI KeUnstackDetachProcess(PRKAPC_STATE ApcState)
{
	PKTHREAD thread = ke_thread();
	PKPROCESS from = thread->Process, to = ApcState->Process;
	if (to == NOT_ATTACHED)
		return;
	if (!to) {
		struct ke_bugcheck_detail detail = {
			.text = "KeUnstackDetachProcess without KeStackAttachProcess"};
		detail.address = VF_CALLER();
		ke_bugcheck(INVALID_PROCESS_DETACH_ATTEMPT, (uint64_t)from, 0, 0, 0, &detail);
	}
	ApcState->Process = 0;
	process_set(thread, to);
}

/* IRQL = PASSIVE (VER-21). TRUE: a checked build, which this is not. Each pointer is optional. */
BOOLEAN NTAPI PsGetVersion(PULONG MajorVersion, PULONG MinorVersion, PULONG BuildNumber,
			   PUNICODE_STRING CSDVersion)
{
	if (MajorVersion)
		*MajorVersion = 10;
	if (MinorVersion)
		*MinorVersion = 0;
	if (BuildNumber)
		*BuildNumber = BUILD_NUMBER;
	if (CSDVersion)
		memset(CSDVersion, 0, sizeof(*CSDVersion));
	return FALSE;
}
