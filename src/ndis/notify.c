/* SPDX-License-Identifier: MIT */
/*
 * notify.c: notifications of changed interfaces, addresses and routes.
 *
 * Contexts and locks: IRQL < DISPATCH_LEVEL. `notify_lock` (DISPATCH_LEVEL) protects the list of
 * registrations; it is not held while a callback runs.
 *
 * Interfaces, addresses and routes never change while a machine runs, so a callback is called once,
 * if the initial notification is asked for: before the function returns, with no row, as its page
 * says. Registrations that a driver leaves are reported (VER-38).
 */
#include "ex/ex.h"
#include "ke/ke.h"
#include "ndis/ndis_internal.h"
#include "vf/vf.h"

#define TAG_NOTIFY 'ntNK'

struct registration {
	LIST_ENTRY entry;
	const void *callback;
	uint64_t caller;
};

static LIST_ENTRY registrations = {&registrations, &registrations};
static struct ke_lock notify_lock;

static NTSTATUS add(ADDRESS_FAMILY family, const void *callback, HANDLE *handle, uint64_t caller)
{
	if (!ndis_family_valid(family) || !callback || !handle)
		return STATUS_INVALID_PARAMETER;
	struct registration *new = ex_allocate(sizeof(*new), TAG_NOTIFY, NonPagedPoolNx);
	if (!new)
		return STATUS_INSUFFICIENT_RESOURCES;
	new->callback = callback;
	new->caller = caller;
	KIRQL old = ke_lock_raise(&notify_lock);
	InsertTailList(&registrations, &new->entry);
	ke_lock_lower(&notify_lock, old);
	*handle = new;
	return STATUS_SUCCESS;
}

/* Callback: IRQL as this call's. STATUS_SUCCESS, STATUS_INVALID_PARAMETER,
 * STATUS_INSUFFICIENT_RESOURCES; the same for the two below. */
NTSTATUS NETIOAPI_API_ NotifyIpInterfaceChange(ADDRESS_FAMILY Family,
					       PIPINTERFACE_CHANGE_CALLBACK Callback,
					       PVOID CallerContext, BOOLEAN InitialNotification,
					       HANDLE *NotificationHandle)
{
	NTSTATUS status = add(Family, (const void *)Callback, NotificationHandle, VF_CALLER());
	if (NT_SUCCESS(status) && InitialNotification)
		Callback(CallerContext, NULL, MibInitialNotification);
	return status;
}

NTSTATUS NETIOAPI_API_ NotifyUnicastIpAddressChange(ADDRESS_FAMILY Family,
						    PUNICAST_IPADDRESS_CHANGE_CALLBACK Callback,
						    PVOID CallerContext,
						    BOOLEAN InitialNotification,
						    HANDLE *NotificationHandle)
{
	NTSTATUS status = add(Family, (const void *)Callback, NotificationHandle, VF_CALLER());
	if (NT_SUCCESS(status) && InitialNotification)
		Callback(CallerContext, NULL, MibInitialNotification);
	return status;
}

NTSTATUS NETIOAPI_API_ NotifyRouteChange2(ADDRESS_FAMILY AddressFamily,
					  PIPFORWARD_CHANGE_CALLBACK Callback, PVOID CallerContext,
					  BOOLEAN InitialNotification, HANDLE *NotificationHandle)
{
	NTSTATUS status =
		add(AddressFamily, (const void *)Callback, NotificationHandle, VF_CALLER());
	if (NT_SUCCESS(status) && InitialNotification)
		Callback(CallerContext, NULL, MibInitialNotification);
	return status;
}

/* The lock is held. */
static struct registration *find(const void *handle)
{
	for (LIST_ENTRY *entry = registrations.Flink; entry != &registrations;
	     entry = entry->Flink) {
		if (CONTAINING_RECORD(entry, struct registration, entry) == handle)
			return CONTAINING_RECORD(entry, struct registration, entry);
	}
	return NULL;
}

/* PASSIVE_LEVEL. STATUS_SUCCESS; STATUS_INVALID_PARAMETER: no such notification. */
NTSTATUS NETIOAPI_API_ CancelMibChangeNotify2(HANDLE NotificationHandle)
{
	KIRQL old = ke_lock_raise(&notify_lock);
	struct registration *registration = find(NotificationHandle);
	if (registration)
		RemoveEntryList(&registration->entry);
	ke_lock_lower(&notify_lock, old);
	ex_free(registration);
	return registration ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

void ndis_notify_unload(const struct vf_unload *unload)
{
	for (;;) {
		struct registration *found = NULL;
		KIRQL old = ke_lock_raise(&notify_lock);
		for (LIST_ENTRY *entry = registrations.Flink; entry != &registrations && !found;
		     entry = entry->Flink) {
			struct registration *registration =
				CONTAINING_RECORD(entry, struct registration, entry);
			if ((uintptr_t)registration->callback >= unload->base &&
			    (uintptr_t)registration->callback < unload->end)
				found = registration;
		}
		if (found)
			RemoveEntryList(&found->entry);
		ke_lock_lower(&notify_lock, old);
		if (!found)
			return;
		vf_unload_left(unload, VF_NotifyLeft, found->callback, found,
			       "the notification %p without CancelMibChangeNotify2", (void *)found);
		ex_free(found);
	}
}
