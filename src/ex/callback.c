/* SPDX-License-Identifier: MIT */
/*
 * callback.c: callback objects: named lists of functions that drivers notify each other by.
 *
 * Contexts and locks: notify at IRQL <= DISPATCH_LEVEL, the rest at PASSIVE_LEVEL or APC_LEVEL.
 * `callback_lock` (DISPATCH_LEVEL) protects all registrations of all objects; it is never held
 * while a function runs. A registration stays in its list while a call of it runs; each call is a
 * frame on its caller's stack.
 *
 * Handles are the registrations' addresses, but none is ever followed before it was found in the
 * list: a stale or wrong one has no effect and is reported.
 *
 * Implements PLT-61..64, PRC-43..47, VER-54 and the lists for VER-42.
 * Chosen where the documents are silent: ExUnregisterCallback waits for the running calls of other
 * threads; called from inside its own function, or above APC_LEVEL, it takes effect at once and the
 * registration goes with the last running call. A function that was registered while a notification
 * runs is called by it too.
 */
#include "ex/ex_internal.h"
#include "ke/processor_change.h"
#include "ob/ob.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

#define TAG_REGISTRATION 'RlaC'

struct _CALLBACK_OBJECT {
	LIST_ENTRY registrations; /* in registration order */
	bool allow_multiple;
	bool system; /* \Callback\...: drivers must not notify it */
};

struct callback_registration {
	LIST_ENTRY entry; /* in its object's list */
	LIST_ENTRY all;
	uint64_t number;                 /* of the registration, ascending */
	struct _CALLBACK_OBJECT *object; /* referenced */
	PCALLBACK_FUNCTION function;
	void *context;
	struct callback_call *calls; /* that run */
	KEVENT *waiter;              /* who unregisters and waits for the last call */
	bool dead;                   /* not called any more */
	bool orphan;                 /* nobody waits: the last call frees it */
	struct callback_registration *next_gone;
};

/* One running call. On its caller's stack. */
struct callback_call {
	struct callback_call *next;
	PKTHREAD thread;
};

static LIST_ENTRY all_registrations = {&all_registrations, &all_registrations};
static struct ke_lock callback_lock;
static uint64_t registrations; /* so far */
static struct _CALLBACK_OBJECT *processor_add;

static struct _OBJECT_TYPE callback_type = {
	.name = "Callback",
	.wait_offset = OB_NOT_WAITABLE,
	.all_access = STANDARD_RIGHTS_ALL | 1,
};

/* ---- Objects ----------------------------------------------------------------------------------
 */

static NTSTATUS create(const OBJECT_ATTRIBUTES *attributes, bool allow_multiple,
		       struct _CALLBACK_OBJECT **object)
{
	void *body;
	NTSTATUS status = ob_create(&callback_type, sizeof(struct _CALLBACK_OBJECT), &body);
	if (!NT_SUCCESS(status))
		return status;
	struct _CALLBACK_OBJECT *new = body;
	InitializeListHead(&new->registrations);
	new->allow_multiple = allow_multiple;
	status = ob_insert(new, attributes, NULL);
	if (!NT_SUCCESS(status)) {
		ob_dereference(new);
		return status;
	}
	*object = new;
	return STATUS_SUCCESS;
}

/*
 * Open a callback object by name or, with Create, make it. IRQL = PASSIVE by rule, <= APC_LEVEL by
 * its page. The caller ends by ObDereferenceObject. AllowMultipleCallbacks counts only for a new
 * object. STATUS_SUCCESS; STATUS_UNSUCCESSFUL: no name; STATUS_OBJECT_NAME_NOT_FOUND,
 * STATUS_OBJECT_TYPE_MISMATCH, and what ob_insert says. (PLT-61)
 */
NTSTATUS NTAPI ExCreateCallback(PCALLBACK_OBJECT *CallbackObject,
				POBJECT_ATTRIBUTES ObjectAttributes, BOOLEAN Create,
				BOOLEAN AllowMultipleCallbacks)
{
	if (!ObjectAttributes || !ObjectAttributes->ObjectName ||
	    !ObjectAttributes->ObjectName->Length)
		return STATUS_UNSUCCESSFUL;
	for (;;) {
		void *body;
		NTSTATUS status = ob_open(ObjectAttributes, &callback_type, &body);
		if (NT_SUCCESS(status)) {
			*CallbackObject = body;
			return STATUS_SUCCESS;
		}
		if (status != STATUS_OBJECT_NAME_NOT_FOUND || !Create)
			return status;
		status = create(ObjectAttributes, AllowMultipleCallbacks, CallbackObject);
		/* Somebody else made it meanwhile: open that one. */
		if (status != STATUS_OBJECT_NAME_COLLISION && status != STATUS_OBJECT_NAME_EXISTS)
			return status;
	}
}

/* ---- Registrations (callback_lock is held where it says so)
 * ------------------------------------------ */

static struct callback_registration *find(const void *handle)
{
	for (LIST_ENTRY *entry = all_registrations.Flink; entry != &all_registrations;
	     entry = entry->Flink) {
		struct callback_registration *registration =
			CONTAINING_RECORD(entry, struct callback_registration, all);
		if (registration == handle && !registration->dead)
			return registration;
	}
	return NULL;
}

static bool runs_on(const struct callback_registration *registration, PKTHREAD thread)
{
	for (const struct callback_call *call = registration->calls; call; call = call->next) {
		if (call->thread == thread)
			return true;
	}
	return false;
}

static void unlink(struct callback_registration *registration)
{
	RemoveEntryList(&registration->entry);
	RemoveEntryList(&registration->all);
}

/* It has been unlinked; the lock is not held. */
static void dispose(struct callback_registration *registration)
{
	ob_dereference(registration->object);
	ex_free(registration);
}

/*
 * Add a function. IRQL <= APC_LEVEL. Returns a handle for ExUnregisterCallback; 0: no memory, no
 * function, or the object allows one registration and has one. (PLT-62)
 */
PVOID NTAPI ExRegisterCallback(PCALLBACK_OBJECT CallbackObject, PCALLBACK_FUNCTION CallbackFunction,
			       PVOID CallbackContext)
{
	if (!CallbackObject || !CallbackFunction || ob_type(CallbackObject) != &callback_type)
		return NULL;
	struct callback_registration *new =
		ex_allocate(sizeof(*new), TAG_REGISTRATION, NonPagedPoolNx);
	if (!new)
		return NULL;
	new->object = CallbackObject;
	new->function = CallbackFunction;
	new->context = CallbackContext;

	KIRQL old = ke_lock_raise(&callback_lock);
	bool allowed =
		CallbackObject->allow_multiple || IsListEmpty(&CallbackObject->registrations);
	if (allowed) {
		ob_reference(CallbackObject);
		new->number = ++registrations;
		InsertTailList(&CallbackObject->registrations, &new->entry);
		InsertTailList(&all_registrations, &new->all);
	}
	ke_lock_lower(&callback_lock, old);
	if (allowed)
		return new;
	ex_free(new);
	return NULL;
}

/* Remove a registration and wait until no other thread runs its function. IRQL <= APC_LEVEL.
 * (PLT-63) */
VOID NTAPI ExUnregisterCallback(PVOID CallbackRegistration)
{
	KEVENT done;
	bool may_wait = ke_irql() <= APC_LEVEL;
	KeInitializeEvent(&done, NotificationEvent, FALSE);

	KIRQL old = ke_lock_raise(&callback_lock);
	struct callback_registration *registration = find(CallbackRegistration);
	bool busy = false;
	if (registration) {
		registration->dead = true;
		busy = registration->calls;
		if (!busy)
			unlink(registration);
		else if (may_wait && !runs_on(registration, ke_thread()))
			registration->waiter = &done;
		else
			registration->orphan = true;
	}
	bool waits = busy && registration->waiter;
	ke_lock_lower(&callback_lock, old);

	if (!registration) {
		if (vf_on())
			vf_report(VF_CallbackHandle, "ExUnregisterCallback", VF_CALLER(),
				  (uint64_t)CallbackRegistration,
				  "is called with %p, which is not the handle of a registration",
				  CallbackRegistration);
		return;
	}
	if (waits)
		KeWaitForSingleObject(&done, Executive, KernelMode, FALSE, NULL);
	if (waits || !busy)
		dispose(registration);
}

/* ---- Notification
 * ---------------------------------------------------------------------------------------- */

/* The first living registration from `entry` on. The lock is held. */
static struct callback_registration *next_living(struct _CALLBACK_OBJECT *object, LIST_ENTRY *entry)
{
	for (; entry != &object->registrations; entry = entry->Flink) {
		struct callback_registration *registration =
			CONTAINING_RECORD(entry, struct callback_registration, entry);
		if (!registration->dead)
			return registration;
	}
	return NULL;
}

/* The call is over. The lock is held; true: nobody else will, so dispose of the registration. */
static bool end_call(struct callback_registration *registration, struct callback_call *call)
{
	struct callback_call **link = &registration->calls;
	while (*link != call)
		link = &(*link)->next;
	*link = call->next;
	if (registration->calls || !registration->dead)
		return false;
	unlink(registration);
	bool orphan = registration->orphan;
	if (registration->waiter) /* who frees it as soon as the event is set */
		KeSetEvent(registration->waiter, 0, FALSE);
	return orphan;
}

/* A driver notifies: the DDI's record is the bridge between the two. */
static void call_function(const struct callback_registration *registration, void *argument1,
			  void *argument2)
{
	KIRQL irql = ke_irql();
	registration->function(registration->context, argument1, argument2);
	if (vf_on())
		vf_callout_irql(registration->function, registration->context, irql, 2);
}

/* Of \Callback\ProcessorAdd. */
static void call_client(const struct callback_registration *registration,
			struct ke_change_phase *phase)
{
	bool refused = !NT_SUCCESS(phase->status);
	ke_change_call(phase, (PPROCESSOR_CALLBACK_FUNCTION)registration->function,
		       registration->context);
	if (!refused && !NT_SUCCESS(phase->status))
		phase->refuser = registration->number;
}

/* False: it and those behind it are not called. */
static bool is_meant(const struct callback_registration *registration,
		     const struct ke_change_phase *phase)
{
	if (!phase)
		return true;
	if (registration->number > phase->clients)
		return false;
	if (!vf_strict_processor_veto)
		return true;
	return NT_SUCCESS(phase->status) &&
	       (!phase->refuser || registration->number < phase->refuser);
}

/* `phase` 0: a driver notifies, with these arguments. */
static void notify(struct _CALLBACK_OBJECT *object, struct ke_change_phase *phase, void *argument1,
		   void *argument2)
{
	struct callback_call call = {.thread = ke_thread()};
	struct callback_registration *gone = NULL;
	KIRQL old = ke_lock_raise(&callback_lock);
	struct callback_registration *registration =
		next_living(object, object->registrations.Flink);
	while (registration && is_meant(registration, phase)) {
		call.next = registration->calls;
		registration->calls = &call;
		ke_lock_lower(&callback_lock, old);

		if (phase)
			call_client(registration, phase);
		else
			call_function(registration, argument1, argument2);

		old = ke_lock_raise(&callback_lock);
		LIST_ENTRY *following = registration->entry.Flink;
		if (end_call(registration, &call)) {
			registration->next_gone = gone;
			gone = registration;
		}
		registration = next_living(object, following);
	}
	ke_lock_lower(&callback_lock, old);
	while (gone) {
		struct callback_registration *next = gone->next_gone;
		dispose(gone);
		gone = next;
	}
}

/*
 * Call every function of the object, in registration order, at the caller's IRQL. IRQL <=
 * DISPATCH_LEVEL. Not for the system's own objects. (PLT-64, PRC-46)
 */
VOID NTAPI ExNotifyCallback(PVOID CallbackObject, PVOID Argument1, PVOID Argument2)
{
	struct _CALLBACK_OBJECT *object = CallbackObject;
	if (!object || ob_type(object) != &callback_type)
		return;
	if (vf_on() && object->system)
		vf_report(VF_CallbackSystem, "ExNotifyCallback", VF_CALLER(), (uint64_t)object,
			  "notifies %p, a callback object of the system", object);
	notify(object, NULL, Argument1, Argument2);
}

/*
 * The core's notification of \Callback\ProcessorAdd, at PASSIVE_LEVEL. Registrations come and go
 * while a processor is added: who comes after the start notifications is not told of the rest.
 */
static void processor_add_notify(struct ke_change_phase *phase)
{
	if (phase->said.State == KeProcessorAddStartNotify) {
		KIRQL old = ke_lock_raise(&callback_lock);
		phase->clients = registrations;
		ke_lock_lower(&callback_lock, old);
	}
	notify(processor_add, phase, NULL, NULL);
}

/* ---- What is left of a driver -------------------------------------------------------------------
 */

#define LISTED 32u /* that one look calls back for */

size_t ex_callback_each(const void *base, size_t size,
			void (*each)(void *context, uint64_t routine, const void *handle),
			void *context)
{
	struct {
		uint64_t routine;
		const void *handle;
	} found[LISTED];
	size_t count = 0;
	KIRQL old = ke_lock_raise(&callback_lock);
	for (LIST_ENTRY *entry = all_registrations.Flink; entry != &all_registrations;
	     entry = entry->Flink) {
		struct callback_registration *registration =
			CONTAINING_RECORD(entry, struct callback_registration, all);
		uint64_t routine = (uint64_t)registration->function;
		if (registration->dead || routine - (uintptr_t)base >= size)
			continue;
		if (count < LISTED) {
			found[count].routine = routine;
			found[count].handle = registration;
		}
		count++;
	}
	ke_lock_lower(&callback_lock, old);
	for (size_t i = 0; each && i < count && i < LISTED; i++)
		each(context, found[i].routine, found[i].handle);
	return count;
}

size_t ex_callback_purge(const void *base, size_t size)
{
	struct callback_registration *gone = NULL;
	size_t count = 0;
	KIRQL old = ke_lock_raise(&callback_lock);
	for (LIST_ENTRY *entry = all_registrations.Flink; entry != &all_registrations;) {
		struct callback_registration *registration =
			CONTAINING_RECORD(entry, struct callback_registration, all);
		entry = entry->Flink;
		if (registration->dead ||
		    (uintptr_t)registration->function - (uintptr_t)base >= size)
			continue;
		count++;
		registration->dead = true;
		registration->orphan = true;
		if (registration->calls)
			continue;
		unlink(registration);
		registration->next_gone = gone;
		gone = registration;
	}
	ke_lock_lower(&callback_lock, old);
	while (gone) {
		struct callback_registration *next = gone->next_gone;
		dispose(gone);
		gone = next;
	}
	return count;
}

/* ---- Start
 * ------------------------------------------------------------------------------------------ */

static NTSTATUS create_system(const WCHAR *path, struct _CALLBACK_OBJECT **object)
{
	UNICODE_STRING name;
	OBJECT_ATTRIBUTES attributes;
	RtlInitUnicodeString(&name, path);
	InitializeObjectAttributes(&attributes, &name, OBJ_PERMANENT | OBJ_CASE_INSENSITIVE, NULL,
				   NULL);
	NTSTATUS status = create(&attributes, true, object);
	if (NT_SUCCESS(status))
		(*object)->system = true;
	return status;
}

NTSTATUS ex_callbacks_initialize(void)
{
	struct _CALLBACK_OBJECT *object;
	NTSTATUS status = create_system(L"\\Callback\\SetSystemTime", &object);
	if (NT_SUCCESS(status))
		status = create_system(L"\\Callback\\PowerState", &object);
	if (NT_SUCCESS(status))
		status = create_system(L"\\Callback\\ProcessorAdd", &processor_add);
	if (NT_SUCCESS(status))
		ke_change_object = processor_add_notify;
	return status;
}
