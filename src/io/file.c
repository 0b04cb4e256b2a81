/* SPDX-License-Identifier: MIT */
/*
 * file.c: file objects: opening a device or a file on it, cleanup, close.
 *
 * Contexts: PASSIVE_LEVEL. No locks of its own.
 * A file object holds its device (reference and open count). IRP_MJ_CLEANUP goes out when the last
 * handle is closed, IRP_MJ_CLOSE when the last reference goes. Implements the open half of DEF-128
 * and DEF-169, IoGetDeviceObjectPointer.
 */
#include "io/io_internal.h"

static void file_destroy(void *body);
static void file_last_handle(void *body);
static size_t file_full_name(const void *body, WCHAR *to, size_t room);

struct _OBJECT_TYPE io_file_type = {
	.name = "File",
	.wait_offset = offsetof(FILE_OBJECT, Event),
	.all_access = 0x1f01ff,
	.last_handle = file_last_handle,
	.destroy = file_destroy,
	.full_name = file_full_name,
};
POBJECT_TYPE IoFileObjectType = &io_file_type;

ACCESS_MASK io_file_access(ACCESS_MASK access)
{
	if (access & GENERIC_READ)
		access |= FILE_GENERIC_READ;
	if (access & GENERIC_WRITE)
		access |= FILE_GENERIC_WRITE;
	if (access & GENERIC_EXECUTE)
		access |= FILE_GENERIC_EXECUTE;
	if (access & (GENERIC_ALL | MAXIMUM_ALLOWED))
		access |= FILE_ALL_ACCESS;
	return access & 0x01ffffffu;
}

static size_t file_full_name(const void *body, WCHAR *to, size_t room)
{
	const FILE_OBJECT *file = body;
	size_t device = file->DeviceObject ? ob_name(file->DeviceObject, to, room) : 0;
	size_t name = file->FileName.Length / sizeof(WCHAR);
	for (size_t n = 0; n < name && device + n < room; n++)
		to[device + n] = file->FileName.Buffer[n];
	return device + name;
}

PDEVICE_OBJECT io_file_device(PFILE_OBJECT file)
{
	return io_device_top(file->DeviceObject);
}

/* CLEANUP or CLOSE; the driver cannot refuse them. */
static void tell(PFILE_OBJECT file, UCHAR major)
{
	struct io_request request;
	PDEVICE_OBJECT device = io_file_device(file);
	if (NT_SUCCESS(io_request_begin(&request, device, file, major))) {
		request.irp->Flags |= IRP_CLOSE_OPERATION;
		io_request_send(&request, device);
	}
	ob_dereference(device);
}

void io_file_cleanup(PFILE_OBJECT file)
{
	if (file->Flags & FO_CLEANUP_COMPLETE || !(file->Flags & FO_HANDLE_CREATED))
		return;
	file->Flags |= FO_CLEANUP_COMPLETE;
	tell(file, IRP_MJ_CLEANUP);
}

static void file_last_handle(void *body)
{
	io_file_cleanup(body);
}

static void file_destroy(void *body)
{
	PFILE_OBJECT file = body;
	if (file->DeviceObject) {
		/* FO_HANDLE_CREATED: the open succeeded. */
		if (file->Flags & FO_HANDLE_CREATED)
			tell(file, IRP_MJ_CLOSE);
		io_device_close(file->DeviceObject);
		ob_dereference(file->DeviceObject);
	}
	if (file->RelatedFileObject)
		ob_dereference(file->RelatedFileObject);
	ex_free(file->FileName.Buffer);
}

static NTSTATUS make_file(const struct ob_path *path, const struct io_open *open,
			  PFILE_OBJECT *result)
{
	PFILE_OBJECT file;
	NTSTATUS status = ob_create(&io_file_type, sizeof(*file), (void **)&file);
	if (!NT_SUCCESS(status))
		return status;
	file->Type = IO_TYPE_FILE;
	file->Size = sizeof(*file);
	if (open->options & (FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT))
		file->Flags |= FO_SYNCHRONOUS_IO;
	if (open->options & FILE_SYNCHRONOUS_IO_ALERT)
		file->Flags |= FO_ALERTABLE_IO;
	if (open->options & FILE_NO_INTERMEDIATE_BUFFERING)
		file->Flags |= FO_NO_INTERMEDIATE_BUFFERING;
	if (open->options & FILE_WRITE_THROUGH)
		file->Flags |= FO_WRITE_THROUGH;
	if (open->options & FILE_SEQUENTIAL_ONLY)
		file->Flags |= FO_SEQUENTIAL_ONLY;
	KeInitializeEvent(&file->Lock, SynchronizationEvent, TRUE); /* free */
	KeInitializeEvent(&file->Event, NotificationEvent, FALSE);
	InitializeListHead(&file->IrpList);
	file->FileName.Buffer = io_allocate(path->rest.Length + sizeof(WCHAR));
	if (!file->FileName.Buffer) {
		ob_dereference(file);
		return STATUS_INSUFFICIENT_RESOURCES;
	}
	memcpy(file->FileName.Buffer, path->rest.Buffer, path->rest.Length);
	file->FileName.Length = path->rest.Length;
	file->FileName.MaximumLength = (USHORT)(path->rest.Length + sizeof(WCHAR));
	*result = file;
	return STATUS_SUCCESS;
}

/* The device of the file object; from here on the file object's end closes it. */
static NTSTATUS take_device(PFILE_OBJECT file, void *body)
{
	PDEVICE_OBJECT device = body;
	bool exclusive;
	if (ob_type(body) == &io_file_type) {
		file->RelatedFileObject = body;
		ob_reference(body);
		device = file->RelatedFileObject->DeviceObject;
	} else if (ob_type(body) != &io_device_type) {
		return STATUS_OBJECT_TYPE_MISMATCH;
	}
	if (device->Flags & DO_DEVICE_INITIALIZING)
		return STATUS_NO_SUCH_DEVICE;
	if (!io_device_open(device, &exclusive))
		return exclusive ? STATUS_ACCESS_DENIED : STATUS_NO_SUCH_DEVICE;
	ob_reference(device);
	file->DeviceObject = device;
	return STATUS_SUCCESS;
}

static NTSTATUS send_create(PFILE_OBJECT file, const struct io_open *open, ULONG_PTR *information)
{
	IO_SECURITY_CONTEXT security = {.DesiredAccess = io_file_access(open->access),
					.FullCreateOptions = open->options};
	PDEVICE_OBJECT device = io_file_device(file);
	struct io_request request;
	NTSTATUS status = io_request_begin(&request, device, file, IRP_MJ_CREATE);
	if (NT_SUCCESS(status)) {
		PIO_STACK_LOCATION location = IoGetNextIrpStackLocation(request.irp);
		location->Parameters.Create.SecurityContext = &security;
		location->Parameters.Create.Options =
			open->disposition << 24 | (open->options & 0xffffff);
		location->Parameters.Create.FileAttributes = (USHORT)open->file_attributes;
		location->Parameters.Create.ShareAccess = (USHORT)open->share;
		location->Parameters.Create.EaLength = open->ea_size;
		request.irp->AssociatedIrp.SystemBuffer = open->ea;
		request.irp->Flags |= IRP_CREATE_OPERATION;
		request.irp->RequestorMode = open->mode;
		if (open->allocation)
			request.irp->Overlay.AllocationSize = *open->allocation;
		status = io_request_send(&request, device);
		*information = request.result.Information;
	}
	ob_dereference(device);
	return status;
}

NTSTATUS io_file_open(const struct io_open *open, PFILE_OBJECT *result, ULONG_PTR *information)
{
	struct ob_path path;
	PFILE_OBJECT file = 0;
	NTSTATUS status = ob_lookup(open->attributes, &path);
	*information = 0;
	if (!NT_SUCCESS(status))
		return status;
	status = make_file(&path, open, &file);
	if (NT_SUCCESS(status))
		status = take_device(file, path.body);
	ob_path_release(&path);
	if (NT_SUCCESS(status))
		status = send_create(file, open, information);
	if (!NT_SUCCESS(status)) {
		if (file)
			ob_dereference(file);
		return status;
	}
	ACCESS_MASK access = io_file_access(open->access);
	file->ReadAccess = (access & (FILE_READ_DATA | FILE_EXECUTE)) != 0;
	file->WriteAccess = (access & (FILE_WRITE_DATA | FILE_APPEND_DATA)) != 0;
	file->DeleteAccess = (access & DELETE) != 0;
	file->SharedRead = (open->share & FILE_SHARE_READ) != 0;
	file->SharedWrite = (open->share & FILE_SHARE_WRITE) != 0;
	file->SharedDelete = (open->share & FILE_SHARE_DELETE) != 0;
	file->Flags |= FO_HANDLE_CREATED;
	*result = file;
	return status;
}

/* ---- DDIs ---- */

/*
 * The top device of a named device, and a referenced file object that keeps it open. IRQL =
 * PASSIVE. Statuses of the walk along the name, of the driver's IRP_MJ_CREATE,
 * STATUS_NO_SUCH_DEVICE, STATUS_OBJECT_TYPE_MISMATCH, STATUS_INSUFFICIENT_RESOURCES.
 */
NTSTATUS NTAPI IoGetDeviceObjectPointer(PUNICODE_STRING ObjectName, ACCESS_MASK DesiredAccess,
					PFILE_OBJECT *FileObject, PDEVICE_OBJECT *DeviceObject)
{
	OBJECT_ATTRIBUTES attributes;
	struct io_open open = {.attributes = &attributes,
			       .access = DesiredAccess,
			       .disposition = FILE_OPEN,
			       .options = FILE_NON_DIRECTORY_FILE};
	ULONG_PTR information;
	InitializeObjectAttributes(&attributes, ObjectName, OBJ_KERNEL_HANDLE, 0, 0);
	NTSTATUS status = io_file_open(&open, FileObject, &information);
	if (!NT_SUCCESS(status))
		return status;
	/* As if its only handle had been closed. */
	io_file_cleanup(*FileObject);
	*DeviceObject = IoGetAttachedDevice((*FileObject)->DeviceObject);
	return STATUS_SUCCESS;
}

/* The device that gets the file's requests. IRQL <= DISPATCH. */
PDEVICE_OBJECT NTAPI IoGetRelatedDeviceObject(PFILE_OBJECT FileObject)
{
	return IoGetAttachedDevice(FileObject->DeviceObject);
}
