/* SPDX-License-Identifier: MIT */
/*
 * pnp.c: plug and play notifications and device interfaces.
 *
 * Contexts: PASSIVE_LEVEL. Lock: `pnp_lock` (DISPATCH_LEVEL) for the lists; a routine runs without
 * it, and an unregistration waits for its running calls, unless it is made by the routine itself.
 * A registration holds its driver object, and the driver does not unload while it is there
 * (VER-42). Implements PRC-48, PLT-91. Choices: device interfaces may be registered for any named
 * device, as no bus enumerates devices here; hardware profiles and target devices never change, so
 * registrations for them are accepted and never called.
 */
#include "io/io_internal.h"

struct registration {
	LIST_ENTRY entry;
	IO_NOTIFICATION_EVENT_CATEGORY category;
	GUID class;
	struct io_driver *driver; /* referenced */
	PDRIVER_NOTIFICATION_CALLBACK_ROUTINE routine;
	void *context;
	uint64_t caller;
	uint32_t running; /* calls under way */
	bool removed;
	KEVENT idle; /* set when the last call of a removed one ends */
};

/* A call under way, on the stack of who calls. */
struct running {
	LIST_ENTRY entry;
	struct registration *registration;
	PKTHREAD thread;
};

struct interface {
	LIST_ENTRY entry;
	GUID class;
	PDEVICE_OBJECT device; /* referenced */
	bool enabled;
	UNICODE_STRING name; /* behind */
};

static struct ke_lock pnp_lock;
static LIST_ENTRY registrations = {&registrations, &registrations};
static LIST_ENTRY calls = {&calls, &calls};
static LIST_ENTRY interfaces = {&interfaces, &interfaces};

static const GUID arrival_event = {
	0xcb3a4004, 0x46f0, 0x11d0, {0xb0, 0x8f, 0x00, 0x60, 0x97, 0x13, 0x05, 0x3f}};
static const GUID removal_event = {
	0xcb3a4005, 0x46f0, 0x11d0, {0xb0, 0x8f, 0x00, 0x60, 0x97, 0x13, 0x05, 0x3f}};

static bool same(const GUID *one, const GUID *two)
{
	return !memcmp(one, two, sizeof(*one));
}

/* ---- Calls ---- */

static void registration_free(struct registration *registration)
{
	atomic_fetch_sub(&registration->driver->registrations, 1);
	ob_dereference(registration->driver);
	ex_free(registration);
}

/* `registration` is counted as running; the count is given back here. */
static void call(struct registration *registration, const GUID *event, const GUID *class,
		 PCUNICODE_STRING link)
{
	UNICODE_STRING name = *link;
	DEVICE_INTERFACE_CHANGE_NOTIFICATION notification = {1, sizeof(notification), *event,
							     *class, &name};
	struct running running = {.registration = registration, .thread = ke_thread()};
	PDRIVER_NOTIFICATION_CALLBACK_ROUTINE routine = registration->routine;
	void *context = registration->context;
	KIRQL old = ke_lock_raise(&pnp_lock);
	InsertHeadList(&calls, &running.entry);
	ke_lock_lower(&pnp_lock, old);
	IO_CALLOUT(routine, context, routine(&notification, context));
	old = ke_lock_raise(&pnp_lock);
	RemoveEntryList(&running.entry);
	bool last = --registration->running == 0 && registration->removed;
	if (last)
		KeSetEvent(&registration->idle, IO_NO_INCREMENT, FALSE);
	ke_lock_lower(&pnp_lock, old);
}

static void notify(const GUID *event, const GUID *class, PCUNICODE_STRING link)
{
	static const UNICODE_STRING nothing;
	struct registration *at = 0;
	for (;;) {
		struct registration *next = 0;
		KIRQL old = ke_lock_raise(&pnp_lock);
		/* The one that was called stays in the list while it is counted: the walk can go on
		 * from it. */
		LIST_ENTRY *entry = at ? at->entry.Flink : registrations.Flink;
		for (; entry != &registrations && !next; entry = entry->Flink) {
			struct registration *candidate =
				CONTAINING_RECORD(entry, struct registration, entry);
			if (!candidate->removed &&
			    candidate->category == EventCategoryDeviceInterfaceChange &&
			    same(&candidate->class, class))
				next = candidate;
		}
		if (next)
			next->running += 2; /* the call's and the walk's */
		bool last = at && --at->running == 0 && at->removed;
		if (last)
			KeSetEvent(&at->idle, IO_NO_INCREMENT, FALSE);
		ke_lock_lower(&pnp_lock, old);
		if (!next)
			return;
		at = next;
		call(at, event, class, link ? link : &nothing);
	}
}

void io_pnp_arrival(const GUID *interface_class, PCUNICODE_STRING link)
{
	notify(&arrival_event, interface_class, link);
}

/* ---- Registrations ---- */

/* PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES. */
static void tell_existing(struct registration *registration)
{
	for (uint32_t index = 0;; index++) {
		struct interface *found = 0;
		uint32_t n = 0;
		KIRQL old = ke_lock_raise(&pnp_lock);
		for (LIST_ENTRY *entry = interfaces.Flink; entry != &interfaces && !found;
		     entry = entry->Flink) {
			struct interface *candidate =
				CONTAINING_RECORD(entry, struct interface, entry);
			if (candidate->enabled && same(&candidate->class, &registration->class) &&
			    n++ == index)
				found = candidate;
		}
		if (found)
			registration->running++;
		ke_lock_lower(&pnp_lock, old);
		if (!found)
			return;
		call(registration, &arrival_event, &registration->class, &found->name);
	}
}

/*
 * Be told of device interfaces that come and go (PRC-48). IRQL = PASSIVE. STATUS_SUCCESS,
 * STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER (category, or no interface class).
 */
NTSTATUS NTAPI IoRegisterPlugPlayNotification(IO_NOTIFICATION_EVENT_CATEGORY EventCategory,
					      ULONG EventCategoryFlags, PVOID EventCategoryData,
					      PDRIVER_OBJECT DriverObject,
					      PDRIVER_NOTIFICATION_CALLBACK_ROUTINE CallbackRoutine,
					      PVOID Context, PVOID *NotificationEntry)
{
	struct registration *registration;
	bool interface = EventCategory == EventCategoryDeviceInterfaceChange;
	*NotificationEntry = 0;
	if (EventCategory <= EventCategoryReserved ||
	    EventCategory > EventCategoryKernelSoftRestart || (interface && !EventCategoryData) ||
	    !CallbackRoutine)
		return STATUS_INVALID_PARAMETER;
	registration = io_allocate(sizeof(*registration));
	if (!registration)
		return STATUS_INSUFFICIENT_RESOURCES;
	registration->category = EventCategory;
	if (interface)
		registration->class = *(const GUID *)EventCategoryData;
	registration->driver = io_driver_of(DriverObject);
	registration->routine = CallbackRoutine;
	registration->context = Context;
	registration->caller = VF_CALLER();
	KeInitializeEvent(&registration->idle, NotificationEvent, FALSE);
	ob_reference(DriverObject);
	atomic_fetch_add(&registration->driver->registrations, 1);
	KIRQL old = ke_lock_raise(&pnp_lock);
	InsertTailList(&registrations, &registration->entry);
	ke_lock_lower(&pnp_lock, old);
	*NotificationEntry = registration;
	if (interface &&
	    EventCategoryFlags & PNPNOTIFY_DEVICE_INTERFACE_INCLUDE_EXISTING_INTERFACES)
		tell_existing(registration);
	return STATUS_SUCCESS;
}

/* Under the lock: a registration of this address that is not removed. */
static struct registration *find(const void *handle)
{
	for (LIST_ENTRY *entry = registrations.Flink; entry != &registrations;
	     entry = entry->Flink) {
		struct registration *registration =
			CONTAINING_RECORD(entry, struct registration, entry);
		if (registration == handle && !registration->removed)
			return registration;
	}
	return 0;
}

static bool called_by(PKTHREAD thread, const struct registration *registration)
{
	for (LIST_ENTRY *entry = calls.Flink; entry != &calls; entry = entry->Flink) {
		struct running *running = CONTAINING_RECORD(entry, struct running, entry);
		if (running->thread == thread && running->registration == registration)
			return true;
	}
	return false;
}

/* A failed DriverEntry may leave them (VER-43). */
void io_pnp_unload(const struct vf_unload *unload)
{
	for (uint32_t index = 0;; index++) {
		uint32_t n = 0;
		void *routine = 0, *found = 0;
		KIRQL old = ke_lock_raise(&pnp_lock);
		for (LIST_ENTRY *entry = registrations.Flink; entry != &registrations;
		     entry = entry->Flink) {
			struct registration *registration =
				CONTAINING_RECORD(entry, struct registration, entry);
			uint64_t address = (uint64_t)registration->routine;
			if (registration->removed || address < unload->base ||
			    address >= unload->end || n++ < index)
				continue;
			routine = (void *)address;
			found = registration;
			break;
		}
		ke_lock_lower(&pnp_lock, old);
		if (!found)
			return;
		vf_unload_left(unload, VF_NotifyLeft, routine, found,
			       "the plug and play notification %p registered", found);
	}
}

/* Frees a registration that its own routine removed, when its calls are over. */
struct late_free {
	struct ex_work work;
	struct registration *registration;
};

static void free_later(struct ex_work *work)
{
	struct late_free *late = CONTAINING_RECORD(work, struct late_free, work);
	KeWaitForSingleObject(&late->registration->idle, Executive, KernelMode, FALSE, 0);
	KIRQL old = ke_lock_raise(&pnp_lock);
	RemoveEntryList(&late->registration->entry);
	ke_lock_lower(&pnp_lock, old);
	registration_free(late->registration);
	ex_free(late);
}

static NTSTATUS unregister(void *handle, const char *ddi, uint64_t caller)
{
	struct late_free *late = io_allocate(sizeof(*late));
	if (!late)
		return STATUS_INSUFFICIENT_RESOURCES;
	KIRQL old = ke_lock_raise(&pnp_lock);
	struct registration *registration = find(handle);
	bool inside = registration && called_by(ke_thread(), registration);
	if (registration) {
		registration->removed = true;
		if (!registration->running)
			KeSetEvent(&registration->idle, IO_NO_INCREMENT, FALSE);
	}
	ke_lock_lower(&pnp_lock, old);
	if (!registration) {
		ex_free(late);
		vf_report(VF_PnpHandle, ddi, caller, (uint64_t)handle,
			  "got %p, which is no registered notification", handle);
		return STATUS_INVALID_PARAMETER;
	}
	late->registration = registration;
	late->work.run = free_later;
	if (inside)
		ex_work_queue(&late->work, DelayedWorkQueue);
	else
		free_later(&late->work);
	return STATUS_SUCCESS;
}

/* IRQL = PASSIVE. Returns when no call is under way, except the one that the caller is in.
 * STATUS_SUCCESS, STATUS_INVALID_PARAMETER. */
NTSTATUS NTAPI IoUnregisterPlugPlayNotification(PVOID NotificationEntry)
{
	return unregister(NotificationEntry, "IoUnregisterPlugPlayNotification", VF_CALLER());
}

NTSTATUS NTAPI IoUnregisterPlugPlayNotificationEx(PVOID NotificationEntry)
{
	return unregister(NotificationEntry, "IoUnregisterPlugPlayNotificationEx", VF_CALLER());
}

/* ---- Device interfaces ---- */

static const char hex[] = "0123456789abcdef";

static WCHAR *put_hex(WCHAR *to, uint64_t value, unsigned digits)
{
	while (digits--)
		*to++ = (WCHAR)hex[value >> (4 * digits) & 15];
	return to;
}

#define GUID_CHARACTERS 38

/* {01234567-89ab-cdef-0123-456789abcdef} */
static WCHAR *put_guid(WCHAR *to, const GUID *guid)
{
	*to++ = L'{';
	to = put_hex(to, guid->Data1, 8);
	*to++ = L'-';
	to = put_hex(to, guid->Data2, 4);
	*to++ = L'-';
	to = put_hex(to, guid->Data3, 4);
	for (unsigned n = 0; n < 8; n++) {
		if (n == 0 || n == 2)
			*to++ = L'-';
		to = put_hex(to, guid->Data4[n], 2);
	}
	*to++ = L'}';
	return to;
}

/* \??\Device#Name#{class}[\reference], in the interface's own memory. */
static struct interface *make_interface(PDEVICE_OBJECT device, const GUID *class,
					const UNICODE_STRING *reference)
{
	WCHAR name[128], *to;
	size_t characters = ob_name(device, name, RTL_NUMBER_OF(name));
	size_t total = 4 + characters + GUID_CHARACTERS + 1 + reference->Length / sizeof(WCHAR) + 1;
	if (!characters || characters > RTL_NUMBER_OF(name))
		return 0;
	struct interface *interface = io_allocate(sizeof(*interface) + (total + 1) * sizeof(WCHAR));
	if (!interface)
		return 0;
	interface->class = *class;
	interface->device = device;
	to = interface->name.Buffer = (WCHAR *)(interface + 1);
	memcpy(to, L"\\??\\", 4 * sizeof(WCHAR));
	to += 4;
	for (size_t n = 1; n < characters; n++)
		*to++ = name[n] == L'\\' ? L'#' : name[n];
	*to++ = L'#';
	to = put_guid(to, class);
	if (reference->Length) {
		*to++ = L'\\';
		memcpy(to, reference->Buffer, reference->Length);
		to += reference->Length / sizeof(WCHAR);
	}
	interface->name.Length = (USHORT)((char *)to - (char *)interface->name.Buffer);
	interface->name.MaximumLength = (USHORT)(interface->name.Length + sizeof(WCHAR));
	return interface;
}

/* Under the lock. */
static struct interface *find_interface(const UNICODE_STRING *name)
{
	for (LIST_ENTRY *entry = interfaces.Flink; entry != &interfaces; entry = entry->Flink) {
		struct interface *interface = CONTAINING_RECORD(entry, struct interface, entry);
		if (!rtl_compare_unicode(&interface->name, name, true))
			return interface;
	}
	return 0;
}

/*
 * Name an interface of a device; the caller frees the name (RtlFreeUnicodeString). IRQL = PASSIVE.
 * A second registration gives the same name. STATUS_SUCCESS, STATUS_INVALID_DEVICE_REQUEST (the
 * device has no name), STATUS_INSUFFICIENT_RESOURCES.
 */
NTSTATUS NTAPI IoRegisterDeviceInterface(PDEVICE_OBJECT PhysicalDeviceObject,
					 const GUID *InterfaceClassGuid,
					 PUNICODE_STRING ReferenceString,
					 PUNICODE_STRING SymbolicLinkName)
{
	static const UNICODE_STRING nothing;
	struct interface *fresh;
	WCHAR *copy;
	if (!ob_name(PhysicalDeviceObject, 0, 0))
		return STATUS_INVALID_DEVICE_REQUEST;
	fresh = make_interface(PhysicalDeviceObject, InterfaceClassGuid,
			       ReferenceString ? ReferenceString : &nothing);
	if (!fresh)
		return STATUS_INSUFFICIENT_RESOURCES;
	copy = ex_allocate_for(fresh->name.MaximumLength, 'fIoI', PagedPool, VF_CALLER());
	if (!copy) {
		ex_free(fresh);
		return STATUS_INSUFFICIENT_RESOURCES;
	}
	memcpy(copy, fresh->name.Buffer, fresh->name.MaximumLength);
	*SymbolicLinkName = fresh->name;
	SymbolicLinkName->Buffer = copy;
	KIRQL old = ke_lock_raise(&pnp_lock);
	bool known = find_interface(&fresh->name);
	if (!known) {
		ob_reference(PhysicalDeviceObject);
		InsertTailList(&interfaces, &fresh->entry);
	}
	ke_lock_lower(&pnp_lock, old);
	if (known)
		ex_free(fresh);
	return STATUS_SUCCESS;
}

/* Link or unlink the interface's name. */
static NTSTATUS set_link(struct interface *interface, BOOLEAN enable)
{
	WCHAR text[128];
	UNICODE_STRING target = {.Buffer = text};
	if (!enable)
		return IoDeleteSymbolicLink(&interface->name);
	size_t characters = ob_name(interface->device, text, RTL_NUMBER_OF(text));
	if (!characters || characters > RTL_NUMBER_OF(text))
		return STATUS_INVALID_DEVICE_REQUEST;
	target.Length = target.MaximumLength = (USHORT)(characters * sizeof(WCHAR));
	return IoCreateSymbolicLink(&interface->name, &target);
}

/*
 * Offer the interface, or no longer: its name leads to the device, and who registered is told. IRQL
 * = PASSIVE. STATUS_SUCCESS, STATUS_OBJECT_NAME_EXISTS (enabled already),
 * STATUS_OBJECT_NAME_NOT_FOUND (unknown, or disabled already).
 */
NTSTATUS NTAPI IoSetDeviceInterfaceState(PUNICODE_STRING SymbolicLinkName, BOOLEAN Enable)
{
	NTSTATUS status = STATUS_SUCCESS;
	KIRQL old = ke_lock_raise(&pnp_lock);
	struct interface *interface = find_interface(SymbolicLinkName);
	if (!interface || (!Enable && !interface->enabled))
		status = STATUS_OBJECT_NAME_NOT_FOUND;
	else if (Enable && interface->enabled)
		status = STATUS_OBJECT_NAME_EXISTS;
	else
		interface->enabled =
			Enable; /* interfaces are never freed: the pointer stays good */
	ke_lock_lower(&pnp_lock, old);
	if (status != STATUS_SUCCESS)
		return status;
	status = set_link(interface, Enable);
	if (!NT_SUCCESS(status)) {
		interface->enabled = !Enable;
		return status;
	}
	notify(Enable ? &arrival_event : &removal_event, &interface->class, &interface->name);
	return STATUS_SUCCESS;
}

/* The names of a class's interfaces, as a list of strings in paged pool that the caller frees. IRQL
 * = PASSIVE. */
NTSTATUS NTAPI IoGetDeviceInterfaces(const GUID *InterfaceClassGuid,
				     PDEVICE_OBJECT PhysicalDeviceObject, ULONG Flags,
				     PZPWSTR SymbolicLinkList)
{
	size_t room = 0, used = 0;
	WCHAR *list = 0;
	/* Once to count, once to copy; what appears between the two waits for the next call. */
	for (unsigned round = 0; round < 2; round++) {
		KIRQL old = ke_lock_raise(&pnp_lock);
		for (LIST_ENTRY *entry = interfaces.Flink; entry != &interfaces;
		     entry = entry->Flink) {
			struct interface *interface =
				CONTAINING_RECORD(entry, struct interface, entry);
			size_t size = interface->name.MaximumLength;
			if (!same(&interface->class, InterfaceClassGuid) ||
			    (PhysicalDeviceObject && interface->device != PhysicalDeviceObject) ||
			    (!interface->enabled && !(Flags & DEVICE_INTERFACE_INCLUDE_NONACTIVE)))
				continue;
			if (!round)
				room += size;
			else if (used + size <= room)
				memcpy((char *)list + used, interface->name.Buffer, size),
					used += size;
		}
		ke_lock_lower(&pnp_lock, old);
		if (round)
			break;
		list = ex_allocate_for(room + sizeof(WCHAR), 'fIoI', NonPagedPoolNx, VF_CALLER());
		if (!list)
			return STATUS_INSUFFICIENT_RESOURCES;
		memset(list, 0, room + sizeof(WCHAR));
	}
	*SymbolicLinkList = list;
	return STATUS_SUCCESS;
}
