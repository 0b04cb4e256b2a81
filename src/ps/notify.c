/* SPDX-License-Identifier: MIT */
/*
 * notify.c: the routines that drivers register to hear of processes, threads and images.
 *
 * Contexts: registration, removal and the calls themselves at PASSIVE_LEVEL. Lock: ps_lock for the
 * tables; a call runs without it, under the entry's rundown protection, so a removal returns only
 * when the routine is no longer running. Not from inside the routine itself. Implements DEF-51 (the
 * strict switch), VER-38. Choices: 64 routines of a kind; called in the order of registration; a
 * routine may be registered once.
 */
#include "ps/ps_internal.h"
#include "ex/ex.h"
#include "ldr/ldr.h"

#define ROUTINES_MAX 64

struct entry {
	void *routine; /* 0: free; under ps_lock */
	EX_RUNDOWN_REF running;
};

static struct entry table[PS_NOTIFY_KINDS][ROUTINES_MAX];

/* DEF-51: the bit that the force-integrity link option sets, or the driver itself. */
static bool signed_image(const void *routine)
{
	const struct ldr_image *image = ldr_image_from_address((uint64_t)routine);
	return image && image->entry.flags & 0x20;
}

/* Processes of both forms are one list of the documents (one limit), but not one table here. */
static NTSTATUS add(enum ps_notify_kind kind, void *routine, NTSTATUS full)
{
	NTSTATUS status = full;
	struct entry *place = 0;
	if (!routine)
		return STATUS_INVALID_PARAMETER;
	if (vf_strict_signed_callbacks && !signed_image(routine))
		return STATUS_ACCESS_DENIED;
	KIRQL old = ke_lock_raise(&ps_lock);
	for (unsigned n = 0; n < ROUTINES_MAX; n++) {
		struct entry *entry = &table[kind][n];
		if (entry->routine == routine && kind <= PS_NOTIFY_PROCESS_EX)
			goto out; /* documented for processes only */
		if (!entry->routine && !place)
			place = entry;
	}
	if (place) {
		ExReInitializeRundownProtection(&place->running);
		place->routine = routine;
		status = STATUS_SUCCESS;
	}
out:
	ke_lock_lower(&ps_lock, old);
	return status;
}

static NTSTATUS remove_routine(enum ps_notify_kind kind, void *routine)
{
	struct entry *entry = 0;
	KIRQL old = ke_lock_raise(&ps_lock);
	for (unsigned n = 0; n < ROUTINES_MAX && !entry; n++) {
		if (routine && table[kind][n].routine == routine)
			entry = &table[kind][n];
	}
	ke_lock_lower(&ps_lock, old);
	if (!entry)
		return STATUS_PROCEDURE_NOT_FOUND;
	ExWaitForRundownProtectionRelease(&entry->running);
	old = ke_lock_raise(&ps_lock);
	entry->routine = 0;
	ke_lock_lower(&ps_lock, old);
	return STATUS_SUCCESS;
}

/* The routine at `n`, protected until ended(); 0: none there. */
static void *begin(enum ps_notify_kind kind, unsigned n)
{
	struct entry *entry = &table[kind][n];
	KIRQL old = ke_lock_raise(&ps_lock);
	void *routine = entry->routine;
	if (routine && !ExAcquireRundownProtection(&entry->running))
		routine = 0;
	ke_lock_lower(&ps_lock, old);
	return routine;
}

static void end(enum ps_notify_kind kind, unsigned n, void *routine)
{
	if (vf_on())
		vf_callout_irql(routine, 0, PASSIVE_LEVEL, 2);
	ExReleaseRundownProtection(&table[kind][n].running);
}

void ps_notify_thread(PKTHREAD thread, BOOLEAN create)
{
	struct ke_call_record record;
	for (unsigned n = 0; n < ROUTINES_MAX; n++) {
		PCREATE_THREAD_NOTIFY_ROUTINE routine = begin(PS_NOTIFY_THREAD, n);
		if (!routine)
			continue;
		ke_callout_begin(&record, 0);
		routine(thread->client_id.UniqueProcess, thread->client_id.UniqueThread, create);
		ke_callout_end(&record);
		end(PS_NOTIFY_THREAD, n, routine);
	}
}

void ps_notify_process(PKPROCESS process, PS_CREATE_NOTIFY_INFO *info)
{
	struct ke_call_record record;
	for (unsigned n = 0; n < ROUTINES_MAX; n++) {
		PCREATE_PROCESS_NOTIFY_ROUTINE routine = begin(PS_NOTIFY_PROCESS, n);
		PCREATE_PROCESS_NOTIFY_ROUTINE_EX routine_ex;
		if (routine) {
			ke_callout_begin(&record, 0);
			routine(process->parent_id, process->UniqueProcessId, info != 0);
			ke_callout_end(&record);
			end(PS_NOTIFY_PROCESS, n, routine);
		}
		routine_ex = begin(PS_NOTIFY_PROCESS_EX, n);
		if (routine_ex) {
			ke_callout_begin(&record, 0);
			routine_ex((PEPROCESS)process, process->UniqueProcessId, info);
			ke_callout_end(&record);
			end(PS_NOTIFY_PROCESS_EX, n, routine_ex);
		}
	}
}

void ps_image_loaded(PCUNICODE_STRING name, PKPROCESS process, const void *base, size_t size)
{
	struct ke_call_record record;
	for (unsigned n = 0; n < ROUTINES_MAX; n++) {
		IMAGE_INFO info = {.ImageAddressingMode = 3};
		PLOAD_IMAGE_NOTIFY_ROUTINE routine = begin(PS_NOTIFY_IMAGE, n);
		if (!routine)
			continue;
		info.SystemModeImage = !process;
		info.ImageBase = (void *)(uintptr_t)base;
		info.ImageSize = size;
		ke_callout_begin(&record, 0);
		routine((PUNICODE_STRING)(uintptr_t)name, process ? process->UniqueProcessId : 0,
			&info);
		ke_callout_end(&record);
		end(PS_NOTIFY_IMAGE, n, routine);
	}
}

/* VER-38. */
void ps_notify_unload(const struct vf_unload *unload)
{
	static const char *const names[PS_NOTIFY_KINDS] = {"process", "process", "thread", "image"};
	for (enum ps_notify_kind kind = 0; kind < PS_NOTIFY_KINDS; kind++) {
		for (unsigned n = 0; n < ROUTINES_MAX; n++) {
			KIRQL old = ke_lock_raise(&ps_lock);
			uint64_t routine = (uint64_t)table[kind][n].routine;
			ke_lock_lower(&ps_lock, old);
			if (routine >= unload->base && routine < unload->end)
				vf_unload_left(unload, VF_NotifyLeft, (void *)routine,
					       (void *)routine,
					       "the %s notify routine %p registered", names[kind],
					       (void *)routine);
		}
	}
}

/* ---- DDIs: IRQL = PASSIVE (VER-21) ---- */

/*
 * Hear of processes. STATUS_SUCCESS, STATUS_INVALID_PARAMETER (registered already, or no room),
 * STATUS_PROCEDURE_NOT_FOUND (Remove of an unknown routine), STATUS_ACCESS_DENIED (strict switch,
 * DEF-51).
 */
NTSTATUS NTAPI PsSetCreateProcessNotifyRoutine(PCREATE_PROCESS_NOTIFY_ROUTINE NotifyRoutine,
					       BOOLEAN Remove)
{
	if (Remove)
		return remove_routine(PS_NOTIFY_PROCESS, NotifyRoutine);
	return add(PS_NOTIFY_PROCESS, NotifyRoutine, STATUS_INVALID_PARAMETER);
}

NTSTATUS NTAPI PsSetCreateProcessNotifyRoutineEx(PCREATE_PROCESS_NOTIFY_ROUTINE_EX NotifyRoutine,
						 BOOLEAN Remove)
{
	if (Remove)
		return remove_routine(PS_NOTIFY_PROCESS_EX, NotifyRoutine);
	return add(PS_NOTIFY_PROCESS_EX, NotifyRoutine, STATUS_INVALID_PARAMETER);
}

/* Hear of threads. STATUS_SUCCESS, STATUS_INSUFFICIENT_RESOURCES (no room), STATUS_ACCESS_DENIED
 * (strict switch). */
NTSTATUS NTAPI PsSetCreateThreadNotifyRoutine(PCREATE_THREAD_NOTIFY_ROUTINE NotifyRoutine)
{
	return add(PS_NOTIFY_THREAD, NotifyRoutine, STATUS_INSUFFICIENT_RESOURCES);
}

/* STATUS_SUCCESS, STATUS_PROCEDURE_NOT_FOUND. */
NTSTATUS NTAPI PsRemoveCreateThreadNotifyRoutine(PCREATE_THREAD_NOTIFY_ROUTINE NotifyRoutine)
{
	return remove_routine(PS_NOTIFY_THREAD, NotifyRoutine);
}

/* Hear of images. STATUS_SUCCESS, STATUS_INSUFFICIENT_RESOURCES (no room), STATUS_ACCESS_DENIED
 * (strict switch). */
NTSTATUS NTAPI PsSetLoadImageNotifyRoutine(PLOAD_IMAGE_NOTIFY_ROUTINE NotifyRoutine)
{
	return add(PS_NOTIFY_IMAGE, NotifyRoutine, STATUS_INSUFFICIENT_RESOURCES);
}

/* Flags: 1 asks for images of another architecture too; there are none. */
NTSTATUS NTAPI PsSetLoadImageNotifyRoutineEx(PLOAD_IMAGE_NOTIFY_ROUTINE NotifyRoutine,
					     ULONG_PTR Flags)
{
	if (Flags & ~(ULONG_PTR)1)
		return STATUS_INVALID_PARAMETER;
	return add(PS_NOTIFY_IMAGE, NotifyRoutine, STATUS_INSUFFICIENT_RESOURCES);
}

/* STATUS_SUCCESS, STATUS_PROCEDURE_NOT_FOUND. */
NTSTATUS NTAPI PsRemoveLoadImageNotifyRoutine(PLOAD_IMAGE_NOTIFY_ROUTINE NotifyRoutine)
{
	return remove_routine(PS_NOTIFY_IMAGE, NotifyRoutine);
}
