/* SPDX-License-Identifier: MIT */
/*
 * event.c: event and semaphore objects with names and handles, and waits on handles.
 *
 * Contexts: PASSIVE_LEVEL. No locks: the bodies are dispatcher objects of ke.
 * Implements the Zw event functions, IoCreateNotificationEvent and IoCreateSynchronizationEvent.
 */
#include "ob/ob_internal.h"

struct _OBJECT_TYPE ob_event_type = {
	.name = "Event",
	.wait_offset = 0,
	.name_with_handles = true,
	.all_access = EVENT_ALL_ACCESS,
};
struct _OBJECT_TYPE ob_semaphore_type = {
	.name = "Semaphore",
	.wait_offset = 0,
	.name_with_handles = true,
	.all_access = SEMAPHORE_ALL_ACCESS,
};
POBJECT_TYPE ExEventObjectType = &ob_event_type;
POBJECT_TYPE ExSemaphoreObjectType = &ob_semaphore_type;

/* Create or, with OBJ_OPENIF, open. */
static NTSTATUS create_event(const OBJECT_ATTRIBUTES *attributes, ACCESS_MASK access,
			     EVENT_TYPE type, BOOLEAN state, uint64_t caller, HANDLE *handle,
			     KEVENT **event)
{
	void *body, *existing = 0;
	NTSTATUS status, made;
	*handle = 0;
	if (type != NotificationEvent && type != SynchronizationEvent)
		return STATUS_INVALID_PARAMETER;
	status = ob_create(&ob_event_type, sizeof(KEVENT), &body);
	if (!NT_SUCCESS(status))
		return status;
	KeInitializeEvent(body, type, state);
	status = made = ob_insert(body, attributes, &existing);
	if (existing) {
		ob_dereference(body);
		body = existing;
	}
	if (NT_SUCCESS(status))
		status = ob_handle_create(body, access, attributes ? attributes->Attributes : 0,
					  caller, handle);
	if (NT_SUCCESS(status)) {
		status = made;
		if (event)
			*event = body;
	}
	ob_dereference(body);
	return status;
}

/*
 * IRQL = PASSIVE. STATUS_SUCCESS, STATUS_OBJECT_NAME_EXISTS (OBJ_OPENIF),
 * STATUS_OBJECT_NAME_COLLISION, STATUS_INVALID_PARAMETER (event type), and what the walk along the
 * name gives.
 */
NTSTATUS NTAPI ZwCreateEvent(PHANDLE EventHandle, ACCESS_MASK DesiredAccess,
			     POBJECT_ATTRIBUTES ObjectAttributes, EVENT_TYPE EventType,
			     BOOLEAN InitialState)
{
	return create_event(ObjectAttributes, DesiredAccess, EventType, InitialState, VF_CALLER(),
			    EventHandle, 0);
}

/* IRQL = PASSIVE. STATUS_SUCCESS, STATUS_OBJECT_NAME_NOT_FOUND, _PATH_NOT_FOUND, _TYPE_MISMATCH. */
NTSTATUS NTAPI ZwOpenEvent(PHANDLE EventHandle, ACCESS_MASK DesiredAccess,
			   POBJECT_ATTRIBUTES ObjectAttributes)
{
	void *body;
	NTSTATUS status = ob_open(ObjectAttributes, &ob_event_type, &body);
	if (!NT_SUCCESS(status))
		return status;
	status = ob_handle_create(body, DesiredAccess, ObjectAttributes->Attributes, VF_CALLER(),
				  EventHandle);
	ob_dereference(body);
	return status;
}

/* IRQL = PASSIVE. *PreviousState (optional): 0 or 1. STATUS_INVALID_HANDLE,
 * STATUS_OBJECT_TYPE_MISMATCH. */
NTSTATUS NTAPI ZwSetEvent(HANDLE EventHandle, PLONG PreviousState)
{
	KEVENT *event;
	NTSTATUS status =
		ob_handle_reference(EventHandle, 0, &ob_event_type, KernelMode, (void **)&event, 0);
	if (!NT_SUCCESS(status))
		return status;
	LONG previous = KeSetEvent(event, EVENT_INCREMENT, FALSE);
	if (PreviousState)
		*PreviousState = previous;
	ob_dereference(event);
	return STATUS_SUCCESS;
}

/* As ZwSetEvent, to the state that is not signalled. */
NTSTATUS NTAPI ZwResetEvent(HANDLE EventHandle, PLONG PreviousState)
{
	KEVENT *event;
	NTSTATUS status =
		ob_handle_reference(EventHandle, 0, &ob_event_type, KernelMode, (void **)&event, 0);
	if (!NT_SUCCESS(status))
		return status;
	LONG previous = KeResetEvent(event);
	if (PreviousState)
		*PreviousState = previous;
	ob_dereference(event);
	return STATUS_SUCCESS;
}

NTSTATUS NTAPI ZwClearEvent(HANDLE EventHandle)
{
	return ZwResetEvent(EventHandle, 0);
}

/*
 * Wait on a handle; times as KeWaitForSingleObject's. IRQL = PASSIVE. Also STATUS_INVALID_HANDLE,
 * and STATUS_OBJECT_TYPE_MISMATCH for an object that cannot be waited on.
 */
NTSTATUS NTAPI ZwWaitForSingleObject(HANDLE Handle, BOOLEAN Alertable, PLARGE_INTEGER Timeout)
{
	void *body;
	NTSTATUS status = ob_handle_reference(Handle, SYNCHRONIZE, 0, KernelMode, &body, 0);
	if (!NT_SUCCESS(status))
		return status;
	int32_t offset = ob_type(body)->wait_offset;
	if (offset < 0)
		status = STATUS_OBJECT_TYPE_MISMATCH;
	else
		status = KeWaitForSingleObject((char *)body + offset, UserRequest, KernelMode,
					       Alertable, Timeout);
	ob_dereference(body);
	return status;
}

/*
 * Create or open an event by name; the handle keeps the returned event alive. IRQL = PASSIVE. NULL
 * on failure. A fresh event is signalled.
 */
static PKEVENT named_event(PUNICODE_STRING name, EVENT_TYPE type, uint64_t caller, PHANDLE handle)
{
	OBJECT_ATTRIBUTES attributes;
	KEVENT *event = 0;
	InitializeObjectAttributes(&attributes, name, OBJ_OPENIF | OBJ_KERNEL_HANDLE, 0, 0);
	if (!NT_SUCCESS(create_event(&attributes, EVENT_ALL_ACCESS, type, TRUE, caller, handle,
				     &event)))
		return 0;
	return event;
}

PKEVENT NTAPI IoCreateNotificationEvent(PUNICODE_STRING EventName, PHANDLE EventHandle)
{
	return named_event(EventName, NotificationEvent, VF_CALLER(), EventHandle);
}

PKEVENT NTAPI IoCreateSynchronizationEvent(PUNICODE_STRING EventName, PHANDLE EventHandle)
{
	return named_event(EventName, SynchronizationEvent, VF_CALLER(), EventHandle);
}
