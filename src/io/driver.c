/* SPDX-License-Identifier: MIT */
/*
 * driver.c: driver objects: start, reinitialization, unload.
 *
 * Contexts: start and unload at PASSIVE_LEVEL on a system thread, one at a time (the machine's
 * control thread); extensions and registrations as their functions say. Lock: io_lock for lists;
 * never held while a driver runs. Implements PLT-58..60, DEF-6, DEF-50 (DriverSection), DEF-121,
 * DEF-300, DEF-341, VER-22's counterpart in irp.c, VER-38, VER-43. Choices: reinitialization
 * routines run right after DriverEntry, the boot ones first, as for a driver that is loaded on
 * demand. A driver whose threads still run when DriverUnload has returned is reported; they get a
 * second to end before the image goes.
 */
#include "io/io_internal.h"
#include "ldr/ldr.h"

#define REGISTRY_SERVICES "\\Registry\\Machine\\System\\CurrentControlSet\\Services\\"
#define TEXT_MAX          320 /* characters of a driver's name or registry path */

struct ke_lock io_lock;
static LIST_ENTRY all_drivers = {&all_drivers, &all_drivers};
static const char *busy_reason = "";

static void driver_destroy(void *body);

struct _OBJECT_TYPE io_driver_type = {
	.name = "Driver",
	.wait_offset = OB_NOT_WAITABLE,
	.all_access = 0xf0001,
	.destroy = driver_destroy,
};
POBJECT_TYPE IoDriverObjectType = &io_driver_type;

/* MAJOR functions that the driver did not set (PLT-60). */
NTSTATUS NTAPI io_invalid_request(PDEVICE_OBJECT device, PIRP irp)
{
	(void)device;
	irp->IoStatus.Status = STATUS_INVALID_DEVICE_REQUEST;
	irp->IoStatus.Information = 0;
	IofCompleteRequest(irp, IO_NO_INCREMENT);
	return STATUS_INVALID_DEVICE_REQUEST;
}

static void driver_destroy(void *body)
{
	struct io_driver *driver = body;
	KIRQL old = ke_lock_raise(&io_lock);
	RemoveEntryList(&driver->all);
	ke_lock_lower(&io_lock, old);
	while (driver->clients) {
		struct io_client_extension *client = driver->clients;
		driver->clients = client->next;
		ex_free(client);
	}
	for (unsigned n = 0; n < 2; n++) {
		while (!IsListEmpty(&driver->reinitialize[n]))
			ex_free(CONTAINING_RECORD(RemoveHeadList(&driver->reinitialize[n]),
						  struct io_reinitialize, entry));
	}
	ex_free(driver->object.DriverName.Buffer);
	ex_free(driver->extension.ServiceKeyName.Buffer);
}

/* head + tail as a string of its own, terminated. */
static NTSTATUS make_string(UNICODE_STRING *out, const char *head, const UNICODE_STRING *tail)
{
	size_t characters = rtl_length(head), bytes = characters * sizeof(WCHAR) + tail->Length;
	if (bytes > TEXT_MAX * sizeof(WCHAR))
		return STATUS_NAME_TOO_LONG;
	out->Buffer = io_allocate(bytes + sizeof(WCHAR));
	if (!out->Buffer)
		return STATUS_INSUFFICIENT_RESOURCES;
	for (size_t n = 0; n < characters; n++)
		out->Buffer[n] = (WCHAR)head[n];
	memcpy(out->Buffer + characters, tail->Buffer, tail->Length);
	out->Length = (USHORT)bytes;
	out->MaximumLength = (USHORT)(bytes + sizeof(WCHAR));
	return STATUS_SUCCESS;
}

NTSTATUS io_driver_create(const UNICODE_STRING *name, struct io_driver **result)
{
	static UNICODE_STRING hardware =
		RTL_CONSTANT_STRING(L"\\REGISTRY\\MACHINE\\HARDWARE\\DESCRIPTION\\SYSTEM");
	struct io_driver *driver;
	NTSTATUS status = ob_create(&io_driver_type, sizeof(*driver), (void **)&driver);
	if (!NT_SUCCESS(status))
		return status;
	driver->object.Type = IO_TYPE_DRIVER;
	driver->object.Size = sizeof(DRIVER_OBJECT);
	driver->object.Flags = DRVO_LEGACY_DRIVER;
	driver->object.DriverExtension = &driver->extension;
	driver->object.HardwareDatabase = &hardware;
	driver->extension.DriverObject = &driver->object;
	for (unsigned n = 0; n <= IRP_MJ_MAXIMUM_FUNCTION; n++)
		driver->object.MajorFunction[n] = io_invalid_request;
	InitializeListHead(&driver->reinitialize[0]);
	InitializeListHead(&driver->reinitialize[1]);
	KIRQL old = ke_lock_raise(&io_lock);
	InsertTailList(&all_drivers, &driver->all);
	ke_lock_lower(&io_lock, old);
	status = make_string(&driver->object.DriverName, "\\Driver\\", name);
	if (NT_SUCCESS(status))
		status = make_string(&driver->extension.ServiceKeyName, "", name);
	if (NT_SUCCESS(status))
		status = ob_insert_name(driver, &driver->object.DriverName, OBJ_CASE_INSENSITIVE);
	if (status != STATUS_SUCCESS) {
		ob_dereference(driver);
		return status;
	}
	*result = driver;
	return STATUS_SUCCESS;
}

void io_driver_discard(struct io_driver *driver)
{
	ob_name_remove(driver);
	ob_dereference(driver);
}

struct io_driver *io_driver_find(const struct ldr_image *image)
{
	struct io_driver *found = 0;
	KIRQL old = ke_lock_raise(&io_lock);
	for (LIST_ENTRY *entry = all_drivers.Flink; entry != &all_drivers && !found;
	     entry = entry->Flink) {
		struct io_driver *driver = CONTAINING_RECORD(entry, struct io_driver, all);
		if (image && driver->image == image && ob_reference_try(driver))
			found = driver;
	}
	ke_lock_lower(&io_lock, old);
	return found;
}

/* ---- Start ---- */

/* Devices that exist when the driver is ready are ready too. */
static void devices_ready(struct io_driver *driver)
{
	KIRQL old = ke_lock_raise(&io_lock);
	for (PDEVICE_OBJECT device = driver->object.DeviceObject; device;
	     device = device->NextDevice)
		device->Flags &= ~DO_DEVICE_INITIALIZING;
	driver->object.Flags |= DRVO_INITIALIZED;
	ke_lock_lower(&io_lock, old);
}

/* Routines registered while these run wait for the next round. */
static void reinitialize(struct io_driver *driver, unsigned kind)
{
	for (;;) {
		struct io_reinitialize *entry = 0;
		KIRQL old = ke_lock_raise(&io_lock);
		if (!IsListEmpty(&driver->reinitialize[kind]))
			entry = CONTAINING_RECORD(RemoveHeadList(&driver->reinitialize[kind]),
						  struct io_reinitialize, entry);
		ke_lock_lower(&io_lock, old);
		if (!entry)
			return;
		PDRIVER_REINITIALIZE routine = entry->routine;
		void *context = entry->context;
		ex_free(entry);
		driver->extension.Count++;
		IO_CALLOUT(routine, context,
			   routine(&driver->object, context, driver->extension.Count));
	}
}

/* DriverEntry and what follows its success. */
static NTSTATUS run_entry(struct io_driver *driver)
{
	PDRIVER_INITIALIZE entry = driver->object.DriverInit;
	UNICODE_STRING path; /* valid only during the call (PLT-58) */
	NTSTATUS status = make_string(&path, REGISTRY_SERVICES, &driver->extension.ServiceKeyName);
	if (!NT_SUCCESS(status))
		return status;
	IO_CALLOUT(entry, driver, status = entry(&driver->object, &path));
	ex_free(path.Buffer);
	if (!NT_SUCCESS(status))
		return status;
	devices_ready(driver);
	reinitialize(driver, 0);
	reinitialize(driver, 1);
	return status;
}

static NTSTATUS widen(const char *text, UNICODE_STRING *name, WCHAR *buffer, size_t room)
{
	size_t length = rtl_length(text);
	if (!length || length >= room)
		return STATUS_OBJECT_NAME_INVALID;
	for (size_t n = 0; n < length; n++)
		buffer[n] = (UCHAR)text[n];
	*name = (UNICODE_STRING){(USHORT)(length * sizeof(WCHAR)), (USHORT)(length * sizeof(WCHAR)),
				 buffer};
	return STATUS_SUCCESS;
}

/* The file's name without extension. */
static UNICODE_STRING service_name(const struct ldr_image *image)
{
	UNICODE_STRING name = image->entry.base_name;
	for (USHORT n = name.Length / sizeof(WCHAR); n > 1; n--) {
		if (name.Buffer[n - 1] == L'.') {
			name.Length = (USHORT)((n - 1) * sizeof(WCHAR));
			break;
		}
	}
	return name;
}

NTSTATUS io_driver_start(struct ldr_image *image)
{
	UNICODE_STRING name = service_name(image);
	struct io_driver *driver = 0;
	NTSTATUS status = io_registry_service(&name);
	if (NT_SUCCESS(status))
		status = io_driver_create(&name, &driver);
	if (!NT_SUCCESS(status)) {
		ldr_image_unload(image);
		return status;
	}
	driver->image = image;
	driver->object.DriverStart = (void *)image->base;
	driver->object.DriverSize = image->size;
	driver->object.DriverSection = &image->entry;
	driver->object.DriverInit = (PDRIVER_INITIALIZE)image->entry_point;
	ps_image_loaded(&image->entry.full_name, 0, (void *)image->base, image->size);
	/* An export driver may have no entry point: it is ready by being loaded. */
	if (image->entry_point)
		status = run_entry(driver);
	if (NT_SUCCESS(status)) {
		ldr_image_discard_init(image);
		return status;
	}
	driver->failed = true;
	KeFlushQueuedDpcs();
	vf_driver_unload(image, true);
	io_driver_discard(driver);
	ob_drain();
	ldr_image_unload(image);
	return status;
}

/* ---- Unload ---- */

const char *io_driver_busy_reason(void)
{
	return busy_reason;
}

/* Threads that were told to end but have not yet left the driver. */
static void wait_for_threads(struct ldr_image *image)
{
	LARGE_INTEGER pause = {.QuadPart = -10 * 1000};
	for (unsigned ms = 0; ms < 1000 && ps_thread_count(image->base, image->base + image->size);
	     ms++)
		KeDelayExecutionThread(KernelMode, FALSE, &pause);
}

static NTSTATUS unload(struct io_driver *driver)
{
	struct ldr_image *image = driver->image;
	PDRIVER_UNLOAD routine = driver->object.DriverUnload;
	NTSTATUS status;
	if (!routine) {
		busy_reason = "it has no DriverUnload";
		return STATUS_INVALID_DEVICE_REQUEST;
	}
	const char *busy = io_devices_busy(driver);
	if (!busy && atomic_load(&driver->registrations))
		busy = "a plug and play notification is registered";
	if (busy) {
		busy_reason = busy;
		return STATUS_DEVICE_BUSY;
	}
	status = ldr_image_begin_unload(image);
	if (!NT_SUCCESS(status)) {
		busy_reason = "another driver imports from it";
		return status;
	}
	driver->object.Flags |= DRVO_UNLOAD_INVOKED;
	IO_CALLOUT(routine, driver, routine(&driver->object));
	ex_pool_unloading(image->base, image->size);
	KeFlushQueuedDpcs();
	vf_driver_unload(image, false);
	wait_for_threads(image);
	ex_pool_unloading(0, 0);
	io_driver_discard(driver);
	ob_drain();
	return ldr_image_unload(image);
}

NTSTATUS io_driver_unload(struct ldr_image *image)
{
	struct io_driver *driver = io_driver_find(image);
	busy_reason = "";
	if (!driver)
		return STATUS_NOT_FOUND;
	NTSTATUS status = unload(driver);
	ob_dereference(driver);
	return status;
}

/* ---- DDIs ---- */

/*
 * A driver object without an image of its own (DEF-300). IRQL = PASSIVE. DriverName 0:
 * \Driver\00000000-like. Returns the routine's status, STATUS_OBJECT_NAME_COLLISION,
 * STATUS_INSUFFICIENT_RESOURCES, STATUS_OBJECT_NAME_INVALID.
 */
NTSTATUS NTAPI IoCreateDriver(PUNICODE_STRING DriverName, PDRIVER_INITIALIZE InitializationFunction)
{
	static const UNICODE_STRING prefix = RTL_CONSTANT_STRING(L"\\Driver\\");
	static _Atomic uint32_t numbers;
	WCHAR buffer[16];
	char digits[16];
	UNICODE_STRING name;
	struct io_driver *driver;
	NTSTATUS status;
	if (!DriverName) {
		rtl_print(digits, sizeof(digits), "%08X", atomic_fetch_add(&numbers, 1));
		status = widen(digits, &name, buffer, RTL_NUMBER_OF(buffer));
	} else {
		UNICODE_STRING head = {prefix.Length, prefix.Length, DriverName->Buffer};
		bool prefixed = DriverName->Length > prefix.Length &&
				!rtl_compare_unicode(&head, &prefix, true);
		if (!prefixed)
			return STATUS_OBJECT_NAME_INVALID;
		name.Buffer = DriverName->Buffer + prefix.Length / sizeof(WCHAR);
		name.Length = name.MaximumLength = DriverName->Length - prefix.Length;
		status = STATUS_SUCCESS;
	}
	if (NT_SUCCESS(status))
		status = io_driver_create(&name, &driver);
	if (!NT_SUCCESS(status))
		return status;
	driver->object.DriverInit = InitializationFunction;
	driver->object.Flags = DRVO_BUILTIN_DRIVER;
	/* Called on behalf of the driver that calls us: our own record is the bridge. */
	status = InitializationFunction(&driver->object, 0);
	if (NT_SUCCESS(status))
		devices_ready(driver);
	else
		io_driver_discard(driver);
	return status;
}

/* Give back what IoCreateDriver made; its DriverUnload is not called. IRQL = PASSIVE. */
VOID NTAPI IoDeleteDriver(PDRIVER_OBJECT DriverObject)
{
	io_driver_discard(io_driver_of(DriverObject));
}

/*
 * Memory that lives as long as the driver object, found by id. IRQL <= DISPATCH.
 * STATUS_OBJECT_NAME_COLLISION: the id is taken; STATUS_INSUFFICIENT_RESOURCES.
 */
NTSTATUS NTAPI IoAllocateDriverObjectExtension(PDRIVER_OBJECT DriverObject,
					       PVOID ClientIdentificationAddress,
					       ULONG DriverObjectExtensionSize,
					       PVOID *DriverObjectExtension)
{
	struct io_driver *driver = io_driver_of(DriverObject);
	struct io_client_extension *client =
					   io_allocate(sizeof(*client) + DriverObjectExtensionSize),
				   *other;
	*DriverObjectExtension = 0;
	if (!client)
		return STATUS_INSUFFICIENT_RESOURCES;
	client->id = ClientIdentificationAddress;
	KIRQL old = ke_lock_raise(&io_lock);
	for (other = driver->clients; other && other->id != client->id; other = other->next)
		;
	if (!other) {
		client->next = driver->clients;
		driver->clients = client;
	}
	ke_lock_lower(&io_lock, old);
	if (other) {
		ex_free(client);
		return STATUS_OBJECT_NAME_COLLISION;
	}
	*DriverObjectExtension = client->data;
	return STATUS_SUCCESS;
}

/* NULL: no extension with this id. IRQL <= DISPATCH. */
PVOID NTAPI IoGetDriverObjectExtension(PDRIVER_OBJECT DriverObject,
				       PVOID ClientIdentificationAddress)
{
	struct io_driver *driver = io_driver_of(DriverObject);
	struct io_client_extension *client;
	KIRQL old = ke_lock_raise(&io_lock);
	for (client = driver->clients; client && client->id != ClientIdentificationAddress;
	     client = client->next)
		;
	ke_lock_lower(&io_lock, old);
	return client ? client->data : 0;
}

static void reinitialize_add(PDRIVER_OBJECT object, unsigned kind, PDRIVER_REINITIALIZE routine,
			     void *context)
{
	struct io_driver *driver = io_driver_of(object);
	struct io_reinitialize *entry = io_allocate(sizeof(*entry));
	if (!entry)
		return;
	entry->routine = routine;
	entry->context = context;
	KIRQL old = ke_lock_raise(&io_lock);
	InsertTailList(&driver->reinitialize[kind], &entry->entry);
	driver->object.Flags |= kind ? DRVO_REINIT_REGISTERED : DRVO_BOOTREINIT_REGISTERED;
	ke_lock_lower(&io_lock, old);
}

/* Call back once after DriverEntry, with how often that happened. IRQL = PASSIVE. */
VOID NTAPI IoRegisterDriverReinitialization(PDRIVER_OBJECT DriverObject,
					    PDRIVER_REINITIALIZE DriverReinitializationRoutine,
					    PVOID Context)
{
	reinitialize_add(DriverObject, 1, DriverReinitializationRoutine, Context);
}

VOID NTAPI IoRegisterBootDriverReinitialization(PDRIVER_OBJECT DriverObject,
						PDRIVER_REINITIALIZE DriverReinitializationRoutine,
						PVOID Context)
{
	reinitialize_add(DriverObject, 0, DriverReinitializationRoutine, Context);
}
