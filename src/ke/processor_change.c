/* SPDX-License-Identifier: MIT */
/*
 * processor_change.c: processors join the running machine, and drivers are told (PRC-1..50).
 *
 * Contexts: PASSIVE_LEVEL; registration and deregistration also at APC_LEVEL (reported), above it
 * they are refused. Lock: the gate, an event that one thread holds. Registrations, deregistrations
 * and additions go through it one after the other, across the calls of drivers (PRC-27, PRC-28,
 * PRC-41): so a processor is seen by each callback exactly once, as an existing one or as one that
 * joins; who gets a Start gets the second call; and a deregistration returns when no call runs.
 * Calls of one phase therefore need no lock of the registry: its list stands still. Order: the
 * gate, then the registry's lock, then the dispatcher lock.
 *
 * An addition: Start to all (callbacks, then the clients of \Callback\ProcessorAdd); the
 * processor's idle thread runs; it becomes active (ke_processor_activate); Complete to all in the
 * same order. ke_processor_joining makes its number known from Start on.
 *
 * Chosen where the documents are silent: *OperationStatus holds STATUS_SUCCESS when Complete and
 * Failure are called, as when the first Start is; all are called at Start although one has set an
 * error, and then all get Failure, also who set it (PRC-35; with --strict=processor-veto nobody
 * behind it gets Start, and Failure goes to those before it, as PRC-19 says for existing
 * processors); success codes are no veto (PRC-18); ChangeContext->Status is STATUS_SUCCESS in Start
 * and Complete (PRC-21); a veto makes KeRegisterProcessorChangeCallback return NULL (PRC-22); an
 * exception does not leave a callback: it has no handler (bug check).
 */
#include "ke/processor_change.h"
#include "ke/internal.h"
#include "ke/walk.h"

static struct ke_registry change_callbacks = {.name = "processor change", .family = 3};
static KEVENT gate;                   /* set: nobody is inside */
static const void *called;            /* the routine that runs; the gate */
static uint32_t operations;           /* additions and enumerations so far; the gate */
static _Atomic(PKTHREAD) gate_holder; /* for its own thread to recognise itself */
void (*ke_change_object)(struct ke_change_phase *phase);

void ke_processor_change_initialize(void)
{
	KeInitializeEvent(&gate, SynchronizationEvent, TRUE);
}

static bool inside(void)
{
	return atomic_load_explicit(&gate_holder, memory_order_relaxed) == ke_thread();
}

static void gate_enter(void)
{
	KeWaitForSingleObject(&gate, Executive, KernelMode, FALSE, NULL);
	atomic_store_explicit(&gate_holder, ke_thread(), memory_order_relaxed);
}

static void gate_leave(void)
{
	atomic_store_explicit(&gate_holder, NULL, memory_order_relaxed);
	KeSetEvent(&gate, IO_NO_INCREMENT, FALSE);
}

/* ---- One call ---- */

static const char *state_name(KE_PROCESSOR_CHANGE_NOTIFY_STATE state)
{
	return state == KeProcessorAddStartNotify      ? "KeProcessorAddStartNotify"
	       : state == KeProcessorAddCompleteNotify ? "KeProcessorAddCompleteNotify"
						       : "KeProcessorAddFailureNotify";
}

static void begin_phase(struct ke_change_phase *phase, KE_PROCESSOR_CHANGE_NOTIFY_STATE state,
			NTSTATUS status)
{
	phase->said.State = state;
	phase->said.Status = status;
	phase->status = STATUS_SUCCESS;
}

/* What a routine did to *OperationStatus, which held `before`. */
static __attribute__((noinline)) void status_written(struct ke_change_phase *phase,
						     const void *routine, NTSTATUS before)
{
	NTSTATUS after = phase->status;
	uint64_t address = (uint64_t)routine;
	bool start = phase->said.State == KeProcessorAddStartNotify;
	if (start && NT_SUCCESS(before) && !NT_SUCCESS(after))
		return; /* the veto */
	phase->status = before;
	if (!vf_on())
		return;
	if (!start)
		vf_report(VF_ChangeStatusState, NULL, address, address,
			  "wrote 0x%08x to *OperationStatus in state %s", after,
			  state_name(phase->said.State));
	else if (!NT_SUCCESS(before))
		vf_report(VF_ChangeStatusFirst, NULL, address, address,
			  "wrote 0x%08x over the error 0x%08x that another callback had set", after,
			  before);
	else
		vf_report(VF_ChangeStatusSuccess, NULL, address, address,
			  "wrote the success code 0x%08x to *OperationStatus", after);
}

static bool same_context(const KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT *a,
			 const KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT *b)
{
	return !memcmp(a, b, sizeof *a);
}

void ke_change_call(struct ke_change_phase *phase, PPROCESSOR_CALLBACK_FUNCTION routine,
		    void *context)
{
	struct ke_call_record record;
	NTSTATUS before = phase->status;
	phase->shown = phase->said;
	PKTHREAD thread = ke_thread();
	if (phase->said.State == KeProcessorAddStartNotify)
		thread->change_start = phase->addition;
	called = (const void *)routine;
	ke_callout_begin(&record, NULL);
	routine(context, &phase->shown, &phase->status);
	ke_callout_end(&record);
	thread->change_start = 0;
	KIRQL irql = ke_irql();
	if (__builtin_expect(irql != PASSIVE_LEVEL, 0)) {
		vf_callout_irql((const void *)routine, context, PASSIVE_LEVEL, 2);
		ke_irql_lower(PASSIVE_LEVEL);
	}
	if (__builtin_expect(phase->status != before, 0))
		status_written(phase, (const void *)routine, before);
	if (vf_on() && !same_context(&phase->said, &phase->shown))
		vf_report(VF_ChangeContext, NULL, (uint64_t)routine, (uint64_t)routine,
			  "changed the KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT that it was given for "
			  "processor %u",
			  phase->said.NtNumber);
}

/* ---- All of them, in the order of registration (PRC-33) ---- */

static bool strict_stop(const struct ke_change_phase *phase)
{
	return vf_strict_processor_veto && !NT_SUCCESS(phase->status);
}

/* Those before `end`; 0: all. Returns the one that set the error in this phase. */
static struct ke_registry_entry *tell_callbacks(struct ke_change_phase *phase,
						const struct ke_registry_entry *end)
{
	struct ke_registry_entry *refuser = NULL;
	for (struct ke_registry_entry *e = change_callbacks.oldest; e && e != end; e = e->newer) {
		ke_change_call(phase, (PPROCESSOR_CALLBACK_FUNCTION)e->routine, e->context);
		if (!refuser && !NT_SUCCESS(phase->status))
			refuser = e;
		if (strict_stop(phase))
			break;
	}
	return refuser;
}

void ke_change_notify(struct ke_change_phase *phase)
{
	gate_enter();
	begin_phase(phase, KeProcessorAddStartNotify, STATUS_SUCCESS);
	tell_callbacks(phase, NULL);
	gate_leave();
}

static void tell_object(struct ke_change_phase *phase)
{
	if (ke_change_object)
		ke_change_object(phase);
}

/* ---- Adding a processor ---- */

static NTSTATUS start_processor(enum ke_add how, struct ke_processor *processor, PKTHREAD idle)
{
	if (how == KE_ADD_MISMATCH)
		ke_bugcheck(0x130 /* DYNAMIC_ADD_PROCESSOR_MISMATCH */, 0, 0, 0, 0,
			    &(struct ke_bugcheck_detail){
				    .text = "the processor that was added is not of the kind of "
					    "the others (add:mismatch)"});
	if (how == KE_ADD_FAIL)
		return STATUS_UNSUCCESSFUL;
	if (!ke_processor_start(processor, idle))
		return STATUS_INSUFFICIENT_RESOURCES;
	ke_processor_activate(processor);
	return STATUS_SUCCESS;
}

/* Inside the gate. */
static NTSTATUS add(enum ke_add how, PKTHREAD idle, struct ke_added *added)
{
	uint32_t index = added->index;
	struct ke_processor *processor = ke_processors[index];
	struct ke_change_phase phase = {.addition = ++operations};
	phase.said.NtNumber = index;
	phase.said.ProcNumber = ke_processor_number(index);
	ke_processor_prepare(processor, index);
	atomic_store(&ke_processor_joining, index);

	begin_phase(&phase, KeProcessorAddStartNotify, STATUS_SUCCESS);
	struct ke_registry_entry *refuser = tell_callbacks(&phase, NULL);
	if (!strict_stop(&phase))
		tell_object(&phase);
	NTSTATUS status = phase.status;
	added->vetoed = !NT_SUCCESS(status);
	if (!added->vetoed)
		status = start_processor(how, processor, idle);

	if (NT_SUCCESS(status)) {
		begin_phase(&phase, KeProcessorAddCompleteNotify, STATUS_SUCCESS);
		tell_callbacks(&phase, NULL);
		tell_object(&phase);
	} else {
		begin_phase(&phase, KeProcessorAddFailureNotify, status);
		tell_callbacks(&phase, vf_strict_processor_veto ? refuser : NULL);
		tell_object(&phase);
		if (vf_on())
			vf_processor_failed(phase.addition, index);
	}
	atomic_store(&ke_processor_joining, KE_NO_PROCESSOR);
	return status;
}

NTSTATUS ke_processor_add(enum ke_add how, PKTHREAD idle, struct ke_added *added)
{
	NTSTATUS status = STATUS_NO_MORE_ENTRIES;
	gate_enter();
	*added = (struct ke_added){.index = atomic_load(&ke_processor_count)};
	if (added->index < ke_processor_maximum)
		status = add(how, idle, added);
	gate_leave();
	return status;
}

/* ---- Registering ---- */

/* PRC-14..21: the existing processors, for one callback. False: it vetoed. Inside the gate. */
static bool tell_existing(PPROCESSOR_CALLBACK_FUNCTION routine, void *context)
{
	uint32_t count = atomic_load(&ke_processor_count), told;
	struct ke_change_phase phase = {.addition = ++operations};
	begin_phase(&phase, KeProcessorAddStartNotify, STATUS_SUCCESS);
	for (told = 0; told < count; told++) {
		phase.said.NtNumber = told;
		phase.said.ProcNumber = ke_processors[told]->number;
		ke_change_call(&phase, routine, context);
		if (!NT_SUCCESS(phase.status))
			break;
	}
	NTSTATUS status = phase.status;
	begin_phase(&phase,
		    NT_SUCCESS(status) ? KeProcessorAddCompleteNotify : KeProcessorAddFailureNotify,
		    status);
	for (uint32_t i = 0; i < told; i++) {
		phase.said.NtNumber = i;
		phase.said.ProcNumber = ke_processors[i]->number;
		ke_change_call(&phase, routine, context);
	}
	if (vf_on() && !NT_SUCCESS(status))
		vf_processor_failed(phase.addition, told);
	return NT_SUCCESS(status);
}

static bool refused_inside(const char *ddi, uint64_t caller)
{
	if (!inside())
		return false;
	/* A jump instead of a call, at the routine's end, hides the caller. */
	if (!ke_where_driver(caller))
		caller = (uint64_t)called;
	vf_report(VF_ChangeInside, ddi, caller, 0,
		  "%s is called by a callback that is being told of a processor; it has no effect",
		  ddi);
	return true;
}

/*
 * Be told of processors that join; with KE_PROCESSOR_CHANGE_ADD_EXISTING of those that are there,
 * too, before the return: Start for each, then Complete for each. IRQL = PASSIVE_LEVEL.
 * CallbackContext: passed to it unchanged, may be NULL. Flags: 0 or
 * KE_PROCESSOR_CHANGE_ADD_EXISTING; other bits are ignored and reported. Returns a handle for
 * KeDeregisterProcessorChangeCallback, or NULL: no memory, no routine, the callback set an error
 * for an existing processor, called from a callback, or above APC_LEVEL. Source: PRC-1, 10..28.
 */
PVOID NTAPI KeRegisterProcessorChangeCallback(PPROCESSOR_CALLBACK_FUNCTION CallbackFunction,
					      PVOID CallbackContext, ULONG Flags)
{
	static const char ddi[] = "KeRegisterProcessorChangeCallback";
	uint64_t caller = VF_CALLER();
	if (ke_irql() > APC_LEVEL || refused_inside(ddi, caller))
		return NULL;
	if (!CallbackFunction) {
		vf_report(VF_ChangeRoutine, ddi, caller, 0, "%s without a routine", ddi);
		return NULL;
	}
	if (Flags & ~(ULONG)KE_PROCESSOR_CHANGE_ADD_EXISTING)
		vf_report(VF_ChangeFlags, ddi, caller, Flags, "%s was given the flags 0x%x", ddi,
			  Flags);
	gate_enter();
	void *handle = ke_registry_register(&change_callbacks, (void *)CallbackFunction,
					    CallbackContext, caller);
	if (handle && (Flags & KE_PROCESSOR_CHANGE_ADD_EXISTING) &&
	    !tell_existing(CallbackFunction, CallbackContext)) {
		ke_registry_deregister(&change_callbacks, handle);
		handle = NULL;
	}
	gate_leave();
	return handle;
}

/*
 * Remove a callback; waits for an addition that is under way, so that when it returns the callback
 * neither runs nor is called again. IRQL = PASSIVE_LEVEL. No effect for a handle that names no live
 * registration (reported), from inside a callback (reported), above APC_LEVEL. Source: PRC-2, 27,
 * 40..42.
 */
VOID NTAPI KeDeregisterProcessorChangeCallback(PVOID CallbackHandle)
{
	static const char ddi[] = "KeDeregisterProcessorChangeCallback";
	uint64_t caller = VF_CALLER();
	if (ke_irql() > APC_LEVEL || refused_inside(ddi, caller))
		return;
	gate_enter();
	NTSTATUS status = ke_registry_deregister(&change_callbacks, CallbackHandle);
	gate_leave();
	if (status == STATUS_INVALID_HANDLE)
		vf_report(VF_ChangeHandle, ddi, caller, (uint64_t)CallbackHandle,
			  CallbackHandle
				  ? "no processor change callback is registered under handle "
				    "%p (deregistered before?)"
				  : "was given a NULL handle %p (did the registration fail?)",
			  CallbackHandle);
}

void ke_change_callbacks_each(void (*each)(void *context, const struct ke_registry_entry *entry),
			      void *context)
{
	ke_registry_each(&change_callbacks, each, context);
}
