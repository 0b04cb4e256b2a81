/* SPDX-License-Identifier: MIT */
/*
 * Bug check callbacks: routines that drivers registered to run when the machine stops.
 *
 * The records are the drivers' memory and stay theirs: nothing is allocated. Each is checked before
 * it is used in a bug check, as the driver that broke the machine may have broken it as well.
 *
 * Contexts: registration at any IRQL (refused in an NMI callback, which may have interrupted
 * another registration); the calls at HIGH_LEVEL, other processors frozen. Locks: `lock`, at
 * HIGH_LEVEL; innermost.
 *
 * Requirements: PLT-57, PLT-89, PLT-90, VER-38.
 *
 * Chosen where documents are silent: newest first, all BugCheckCallback routines before all reason
 * routines. This machine writes no crash dump; so of the reasons only KbCallbackSecondaryDumpData
 * is called, once, with a buffer of 4 KiB.
 */
#include "ke/bugcheck.h"
#include "ke/callout.h"
#include "ke/guard.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

#define RECORDS_MAXIMUM 256

static struct ke_lock lock;
static LIST_ENTRY plain_list = {&plain_list, &plain_list};
static LIST_ENTRY reason_list = {&reason_list, &reason_list};
static uint8_t dump_data[4096] __attribute__((aligned(16)));

static KIRQL lock_high(void)
{
	KIRQL old = ke_irql_raise(HIGH_LEVEL);

	ke_lock_acquire(&lock);
	return old;
}

static void unlock_high(KIRQL old)
{
	ke_lock_release(&lock);
	ke_irql_lower(old);
}

static void insert(LIST_ENTRY *head, LIST_ENTRY *entry)
{
	entry->Flink = head->Flink;
	entry->Blink = head;
	head->Flink->Blink = entry;
	head->Flink = entry;
}

static void remove(LIST_ENTRY *entry)
{
	entry->Blink->Flink = entry->Flink;
	entry->Flink->Blink = entry->Blink;
}

/* A record that is in a list says so in its state; a driver may have copied it or forgotten to
 * initialise it. */
static bool is_inserted(const LIST_ENTRY *head, const LIST_ENTRY *entry)
{
	unsigned count = 0;

	for (const LIST_ENTRY *e = head->Flink; e != head && count < RECORDS_MAXIMUM;
	     e = e->Flink) {
		if (e == entry) {
			return true;
		}
		count++;
	}
	return count == RECORDS_MAXIMUM;
}

static ULONG_PTR plain_checksum(const KBUGCHECK_CALLBACK_RECORD *record)
{
	return (ULONG_PTR)record->CallbackRoutine + (ULONG_PTR)record->Buffer + record->Length +
	       (ULONG_PTR)record->Component;
}

static ULONG_PTR reason_checksum(const KBUGCHECK_REASON_CALLBACK_RECORD *record)
{
	return (ULONG_PTR)record->CallbackRoutine + (ULONG_PTR)record->Reason +
	       (ULONG_PTR)record->Component;
}

/*
 * Have `routine` called with `buffer` in a bug check. Any IRQL. The record is resident memory of
 * the caller, initialised by KeInitializeCallbackRecord, and the list's until it is deregistered.
 * FALSE: it is registered already, or the call comes from an NMI callback. PLT-57.
 */
BOOLEAN NTAPI KeRegisterBugCheckCallback(PKBUGCHECK_CALLBACK_RECORD record,
					 PKBUGCHECK_CALLBACK_ROUTINE routine, PVOID buffer,
					 ULONG length, PUCHAR component)
{
	BOOLEAN done = FALSE;
	KIRQL old;

	if (ke_in_nmi() || !routine) {
		return FALSE;
	}
	old = lock_high();
	if (record->State != BufferInserted && !is_inserted(&plain_list, &record->Entry)) {
		record->CallbackRoutine = routine;
		record->Buffer = buffer;
		record->Length = length;
		record->Component = component;
		record->Checksum = plain_checksum(record);
		record->State = BufferInserted;
		insert(&plain_list, &record->Entry);
		done = TRUE;
	}
	unlock_high(old);
	return done;
}

/* Take it back. Any IRQL. FALSE: it is not registered, or the call comes from an NMI callback.
 * PLT-57. */
BOOLEAN NTAPI KeDeregisterBugCheckCallback(PKBUGCHECK_CALLBACK_RECORD record)
{
	BOOLEAN done = FALSE;
	KIRQL old;

	if (ke_in_nmi()) {
		return FALSE;
	}
	old = lock_high();
	if (record->State == BufferInserted && is_inserted(&plain_list, &record->Entry)) {
		remove(&record->Entry);
		record->State = BufferEmpty;
		done = TRUE;
	}
	unlock_high(old);
	return done;
}

/*
 * Have `routine` called for `reason` in a bug check. Any IRQL. FALSE: as
 * KeRegisterBugCheckCallback, or the reason is not a documented one. PLT-57.
 */
BOOLEAN NTAPI KeRegisterBugCheckReasonCallback(PKBUGCHECK_REASON_CALLBACK_RECORD record,
					       PKBUGCHECK_REASON_CALLBACK_ROUTINE routine,
					       KBUGCHECK_CALLBACK_REASON reason, PUCHAR component)
{
	BOOLEAN done = FALSE;
	KIRQL old;

	if (ke_in_nmi() || !routine || reason < KbCallbackSecondaryDumpData ||
	    reason > KbCallbackTriageDumpData) {
		return FALSE;
	}
	old = lock_high();
	if (record->State != BufferInserted && !is_inserted(&reason_list, &record->Entry)) {
		record->CallbackRoutine = routine;
		record->Component = component;
		record->Reason = reason;
		record->Checksum = reason_checksum(record);
		record->State = BufferInserted;
		insert(&reason_list, &record->Entry);
		done = TRUE;
	}
	unlock_high(old);
	return done;
}

/* Take it back. Any IRQL. FALSE: it is not registered, or the call comes from an NMI callback.
 * PLT-57. */
BOOLEAN NTAPI KeDeregisterBugCheckReasonCallback(PKBUGCHECK_REASON_CALLBACK_RECORD record)
{
	BOOLEAN done = FALSE;
	KIRQL old;

	if (ke_in_nmi()) {
		return FALSE;
	}
	old = lock_high();
	if (record->State == BufferInserted && is_inserted(&reason_list, &record->Entry)) {
		remove(&record->Entry);
		record->State = BufferEmpty;
		done = TRUE;
	}
	unlock_high(old);
	return done;
}

/* ---- In the bug check ---- */

/* The list's first entry, which leaves the list; 0 at the end, or where a link is broken. */
static LIST_ENTRY *take(LIST_ENTRY *head)
{
	LIST_ENTRY *entry = head->Flink, copy;

	if (entry == head || !ke_guard_copy(&copy, entry, sizeof(copy))) {
		return 0;
	}
	head->Flink = copy.Flink;
	return entry;
}

static void call_plain(PKBUGCHECK_CALLBACK_RECORD record)
{
	KBUGCHECK_CALLBACK_RECORD copy;
	struct ke_call_record call;

	if (!ke_guard_copy(&copy, record, sizeof(copy)) || copy.State != BufferInserted ||
	    copy.Checksum != plain_checksum(&copy)) {
		return;
	}
	record->State = BufferStarted;
	ke_callout_begin(&call, 0);
	copy.CallbackRoutine(copy.Buffer, copy.Length);
	ke_callout_end(&call);
	record->State = BufferFinished;
}

static void call_reason(PKBUGCHECK_REASON_CALLBACK_RECORD record)
{
	KBUGCHECK_REASON_CALLBACK_RECORD copy;
	KBUGCHECK_SECONDARY_DUMP_DATA data = {
		.InBuffer = dump_data,
		.InBufferLength = sizeof(dump_data),
		.MaximumAllowed = sizeof(dump_data),
	};
	struct ke_call_record call;

	if (!ke_guard_copy(&copy, record, sizeof(copy)) || copy.State != BufferInserted ||
	    copy.Checksum != reason_checksum(&copy) || copy.Reason != KbCallbackSecondaryDumpData) {
		return;
	}
	record->State = BufferStarted;
	ke_callout_begin(&call, 0);
	copy.CallbackRoutine(copy.Reason, record, &data, sizeof(data));
	ke_callout_end(&call);
	record->State = BufferFinished;
}

void ke_bugcheck_callbacks(void)
{
	static unsigned calls; /* over all entries; a damaged list may be a ring */
	LIST_ENTRY *entry;

	while (calls++ < RECORDS_MAXIMUM && (entry = take(&plain_list))) {
		call_plain(CONTAINING_RECORD(entry, KBUGCHECK_CALLBACK_RECORD, Entry));
	}
	while (calls++ < 2 * RECORDS_MAXIMUM && (entry = take(&reason_list))) {
		call_reason(CONTAINING_RECORD(entry, KBUGCHECK_REASON_CALLBACK_RECORD, Entry));
	}
}

/* Callbacks that a driver leaves behind when it is unloaded (VER-38). */
void ke_bugcheck_unload(const struct vf_unload *unload)
{
	KIRQL old = lock_high();
	unsigned count = 0;

	for (LIST_ENTRY *e = plain_list.Flink; e != &plain_list && count < RECORDS_MAXIMUM;
	     e = e->Flink, count++) {
		const KBUGCHECK_CALLBACK_RECORD *record =
			CONTAINING_RECORD(e, KBUGCHECK_CALLBACK_RECORD, Entry);
		bool routine = vf_unload_owns(unload, (const void *)record->CallbackRoutine);

		if (routine || vf_unload_owns(unload, record)) {
			vf_unload_left(unload, VF_BugCheckCallbackLeft,
				       routine ? (const void *)record->CallbackRoutine : record,
				       record, "the bug check callback record %p registered",
				       record);
		}
	}
	for (LIST_ENTRY *e = reason_list.Flink; e != &reason_list && count < 2 * RECORDS_MAXIMUM;
	     e = e->Flink, count++) {
		const KBUGCHECK_REASON_CALLBACK_RECORD *record =
			CONTAINING_RECORD(e, KBUGCHECK_REASON_CALLBACK_RECORD, Entry);
		bool routine = vf_unload_owns(unload, (const void *)record->CallbackRoutine);

		if (routine || vf_unload_owns(unload, record)) {
			vf_unload_left(unload, VF_BugCheckCallbackLeft,
				       routine ? (const void *)record->CallbackRoutine : record,
				       record, "the bug check reason callback record %p registered",
				       record);
		}
	}
	unlock_high(old);
}
