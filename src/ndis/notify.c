/* SPDX-License-Identifier: MIT */
/*
 * notify.c: notifications of changed interfaces, addresses and routes.
 *
 * Contexts and locks: IRQL < DISPATCH_LEVEL. `notify_lock` (DISPATCH_LEVEL) protects the list of
 * registrations and their members; it is not held while a callback runs.
 *
 * Interfaces, addresses and routes never change while a machine runs, so a callback is called once,
 * if the initial notification is asked for: before the function returns, with no row, as its page
 * says, and with the handle already given. CancelMibChangeNotify2 waits for that call. From inside
 * it, which hangs on Windows, it takes effect at once and is reported, as is a handle that is none
 * (DEF-55). A handle is never followed before it was found in the list. Registrations that a driver
 * leaves are reported (VER-38).
 */
#include "ex/ex.h"
#include "ke/ke.h"
#include "ndis/ndis_internal.h"
#include "vf/vf.h"

#define TAG_NOTIFY 'ntNK'

/* What the three kinds of callback have in common. */
typedef VOID(NETIOAPI_API_ *change_callback)(PVOID context, PVOID row, MIB_NOTIFICATION_TYPE type);

struct registration {
	LIST_ENTRY entry; /* until it is cancelled */
	change_callback callback;
	PKTHREAD running; /* who is in the callback */
	bool cancelled;
	KEVENT *waiter; /* who cancels, waits for the callback, and frees it; 0: who runs frees it
			 */
};

static LIST_ENTRY registrations = {&registrations, &registrations};
static struct ke_lock notify_lock;

static void call(struct registration *registration, PVOID context)
{
	KIRQL irql = ke_irql();
	registration->callback(context, NULL, MibInitialNotification);
	if (vf_on())
		vf_callout_irql((const void *)registration->callback, context, irql, 2);
	KIRQL old = ke_lock_raise(&notify_lock);
	bool orphan = registration->cancelled && !registration->waiter;
	registration->running = NULL;
	if (registration->waiter) /* who frees it as soon as the event is set */
		KeSetEvent(registration->waiter, IO_NO_INCREMENT, FALSE);
	ke_lock_lower(&notify_lock, old);
	if (orphan)
		ex_free(registration);
}

static NTSTATUS add(ADDRESS_FAMILY family, change_callback callback, PVOID context, BOOLEAN initial,
		    HANDLE *handle)
{
	if (!ndis_family_valid(family) || !callback || !handle)
		return STATUS_INVALID_PARAMETER;
	struct registration *new = ex_allocate(sizeof(*new), TAG_NOTIFY, NonPagedPoolNx);
	if (!new)
		return STATUS_INSUFFICIENT_RESOURCES;
	new->callback = callback;
	new->running = initial ? ke_thread() : NULL;
	KIRQL old = ke_lock_raise(&notify_lock);
	InsertTailList(&registrations, &new->entry);
	ke_lock_lower(&notify_lock, old);
	*handle = new; /* from now on another thread may cancel it */
	if (initial)
		call(new, context);
	return STATUS_SUCCESS;
}

/* Callback: IRQL as this call's. STATUS_SUCCESS, STATUS_INVALID_PARAMETER,
 * STATUS_INSUFFICIENT_RESOURCES; the same for the two below. */
NTSTATUS NETIOAPI_API_ NotifyIpInterfaceChange(ADDRESS_FAMILY Family,
					       PIPINTERFACE_CHANGE_CALLBACK Callback,
					       PVOID CallerContext, BOOLEAN InitialNotification,
					       HANDLE *NotificationHandle)
{
	return add(Family, (change_callback)(void *)Callback, CallerContext, InitialNotification,
		   NotificationHandle);
}

NTSTATUS NETIOAPI_API_ NotifyUnicastIpAddressChange(ADDRESS_FAMILY Family,
						    PUNICAST_IPADDRESS_CHANGE_CALLBACK Callback,
						    PVOID CallerContext,
						    BOOLEAN InitialNotification,
						    HANDLE *NotificationHandle)
{
	return add(Family, (change_callback)(void *)Callback, CallerContext, InitialNotification,
		   NotificationHandle);
}

NTSTATUS NETIOAPI_API_ NotifyRouteChange2(ADDRESS_FAMILY AddressFamily,
					  PIPFORWARD_CHANGE_CALLBACK Callback, PVOID CallerContext,
					  BOOLEAN InitialNotification, HANDLE *NotificationHandle)
{
	return add(AddressFamily, (change_callback)(void *)Callback, CallerContext,
		   InitialNotification, NotificationHandle);
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

/* No callback from now on; true: none runs. The lock is held. */
static bool cancel(struct registration *registration)
{
	RemoveEntryList(&registration->entry);
	registration->cancelled = true;
	return !registration->running;
}

/*
 * End a notification: afterwards its callback is not called and does not run. IRQL = PASSIVE_LEVEL,
 * not inside the callback. STATUS_SUCCESS; STATUS_INVALID_PARAMETER: no such notification.
 */
NTSTATUS NETIOAPI_API_ CancelMibChangeNotify2(HANDLE NotificationHandle)
{
	uint64_t caller = VF_CALLER();
	KEVENT done;
	bool idle = false, inside = false, waits = false;
	KeInitializeEvent(&done, NotificationEvent, FALSE);
	KIRQL old = ke_lock_raise(&notify_lock);
	struct registration *registration = find(NotificationHandle);
	if (registration) {
		idle = cancel(registration);
		inside = registration->running == ke_thread();
		waits = !idle && !inside && old <= APC_LEVEL;
		if (waits)
			registration->waiter = &done;
	}
	ke_lock_lower(&notify_lock, old);
	if (inside && vf_on())
		vf_report(VF_MibNotification, "CancelMibChangeNotify2", caller,
			  (uint64_t)NotificationHandle,
			  "is called from the callback of the notification %p: it would wait for "
			  "itself",
			  NotificationHandle);
	if (!registration && NotificationHandle && vf_on())
		vf_report(VF_MibNotification, "CancelMibChangeNotify2", caller,
			  (uint64_t)NotificationHandle,
			  "is called with %p, which is no notification, or was cancelled before",
			  NotificationHandle);
	if (waits)
		KeWaitForSingleObject(&done, Executive, KernelMode, FALSE, NULL);
	if (waits || idle)
		ex_free(registration);
	return registration ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
}

void ndis_notify_unload(const struct vf_unload *unload)
{
	for (;;) {
		struct registration *found = NULL;
		const void *callback = NULL;
		bool idle = false;
		KIRQL old = ke_lock_raise(&notify_lock);
		for (LIST_ENTRY *entry = registrations.Flink; entry != &registrations && !found;
		     entry = entry->Flink) {
			struct registration *registration =
				CONTAINING_RECORD(entry, struct registration, entry);
			callback = (const void *)registration->callback;
			if ((uintptr_t)callback >= unload->base &&
			    (uintptr_t)callback < unload->end)
				found = registration;
		}
		if (found)
			idle = cancel(found);
		ke_lock_lower(&notify_lock, old);
		if (!found)
			return;
		vf_unload_left(unload, VF_NotifyLeft, callback, found,
			       "the notification %p without CancelMibChangeNotify2", (void *)found);
		if (idle)
			ex_free(found);
	}
}
