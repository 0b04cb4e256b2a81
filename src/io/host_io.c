/* SPDX-License-Identifier: MIT */
/*
 * host_io.c: the requests on open files of the host (host_files.c): read, write, query, set, flush;
 * and the driver object.
 *
 * Contexts: PASSIVE_LEVEL. No locks: the host orders what reaches a file. The buffers are the I/O
 * manager's copies (DO_BUFFERED_IO): the host's thread must not depend on memory that the verifier
 * takes away.
 */
#include "io/host_files.h"

/* Linux' numbers (port.h: errno of the host). */
enum {
	HOST_EPERM = 1,
	HOST_ENOENT = 2,
	HOST_EIO = 5,
	HOST_ENOMEM = 12,
	HOST_EACCES = 13,
	HOST_EBUSY = 16,
	HOST_EEXIST = 17,
	HOST_EXDEV = 18,
	HOST_ENODEV = 19,
	HOST_ENOTDIR = 20,
	HOST_EISDIR = 21,
	HOST_EINVAL = 22,
	HOST_ENFILE = 23,
	HOST_EMFILE = 24,
	HOST_ETXTBSY = 26,
	HOST_EFBIG = 27,
	HOST_ENOSPC = 28,
	HOST_EROFS = 30,
	HOST_ENAMETOOLONG = 36,
	HOST_ENOTEMPTY = 39,
	HOST_ELOOP = 40,
	HOST_EDQUOT = 122,
};

NTSTATUS io_status_of_errno(int error)
{
	static const struct {
		int error;
		NTSTATUS status;
	} table[] = {
		{0, STATUS_SUCCESS},
		{HOST_EPERM, STATUS_ACCESS_DENIED},
		{HOST_ENOENT, STATUS_OBJECT_NAME_NOT_FOUND},
		{HOST_EIO, STATUS_IO_DEVICE_ERROR},
		{HOST_ENOMEM, STATUS_INSUFFICIENT_RESOURCES},
		{HOST_EACCES, STATUS_ACCESS_DENIED},
		{HOST_EBUSY, STATUS_SHARING_VIOLATION},
		{HOST_EEXIST, STATUS_OBJECT_NAME_COLLISION},
		{HOST_EXDEV, STATUS_ACCESS_DENIED}, /* a path that leads out of the folder */
		{HOST_ENODEV, STATUS_NO_SUCH_DEVICE},
		{HOST_ENOTDIR, STATUS_NOT_A_DIRECTORY},
		{HOST_EISDIR, STATUS_FILE_IS_A_DIRECTORY},
		{HOST_EINVAL, STATUS_INVALID_PARAMETER},
		{HOST_ENFILE, STATUS_TOO_MANY_OPENED_FILES},
		{HOST_EMFILE, STATUS_TOO_MANY_OPENED_FILES},
		{HOST_ETXTBSY, STATUS_SHARING_VIOLATION},
		{HOST_EFBIG, STATUS_DISK_FULL},
		{HOST_ENOSPC, STATUS_DISK_FULL},
		{HOST_EROFS, STATUS_MEDIA_WRITE_PROTECTED},
		{HOST_ENAMETOOLONG, STATUS_OBJECT_NAME_INVALID},
		{HOST_ENOTEMPTY, STATUS_DIRECTORY_NOT_EMPTY},
		{HOST_ELOOP, STATUS_ACCESS_DENIED},
		{HOST_EDQUOT, STATUS_QUOTA_EXCEEDED},
	};
	for (size_t n = 0; n < RTL_NUMBER_OF(table); n++) {
		if (table[n].error == error)
			return table[n].status;
	}
	return STATUS_UNSUCCESSFUL;
}

static NTSTATUS run(struct io_host_file *file, enum port_operation operation, int64_t offset,
		    uint64_t *information)
{
	struct port_request request = {
		.operation = operation, .handle = file->handle, .offset = offset};
	ke_request_run(&request);
	if (information)
		*information = request.information;
	return io_status_of_errno(request.error);
}

/* ---- Read and write ---- */

static void advance(PFILE_OBJECT object, int64_t to)
{
	if (object->Flags & FO_SYNCHRONOUS_IO)
		object->CurrentByteOffset.QuadPart = to;
}

static NTSTATUS file_read(struct io_host_file *file, PIRP irp, PIO_STACK_LOCATION location,
			  ULONG_PTR *information)
{
	struct port_request request = {.operation = PORT_FILE_READ,
				       .handle = file->handle,
				       .buffer = irp->AssociatedIrp.SystemBuffer,
				       .size = location->Parameters.Read.Length,
				       .offset = location->Parameters.Read.ByteOffset.QuadPart};
	if (file->directory)
		return STATUS_INVALID_DEVICE_REQUEST;
	if (!(file->access & (FILE_READ_DATA | FILE_EXECUTE)))
		return STATUS_ACCESS_DENIED;
	if (request.offset < 0)
		return STATUS_INVALID_PARAMETER;
	if (!request.size)
		return STATUS_SUCCESS;
	ke_request_run(&request);
	if (request.error)
		return io_status_of_errno(request.error);
	if (!request.information)
		return STATUS_END_OF_FILE;
	*information = request.information;
	advance(file->object, request.offset + (int64_t)request.information);
	return STATUS_SUCCESS;
}

static NTSTATUS file_write(struct io_host_file *file, PIRP irp, PIO_STACK_LOCATION location,
			   ULONG_PTR *information)
{
	LARGE_INTEGER offset = location->Parameters.Write.ByteOffset;
	bool at_end = (offset.LowPart == FILE_WRITE_TO_END_OF_FILE && offset.HighPart == -1) ||
		      !(file->access & FILE_WRITE_DATA);
	struct port_request request = {.operation = PORT_FILE_WRITE,
				       .handle = file->handle,
				       .buffer = irp->AssociatedIrp.SystemBuffer,
				       .size = location->Parameters.Write.Length,
				       .offset = at_end ? -1 : offset.QuadPart};
	uint64_t size;
	if (file->directory)
		return STATUS_INVALID_DEVICE_REQUEST;
	if (!(file->access & (FILE_WRITE_DATA | FILE_APPEND_DATA)))
		return STATUS_ACCESS_DENIED;
	if (!at_end && request.offset < 0)
		return STATUS_INVALID_PARAMETER;
	if (!request.size)
		return STATUS_SUCCESS;
	ke_request_run(&request);
	if (request.error)
		return io_status_of_errno(request.error);
	*information = request.information;
	if (!at_end)
		advance(file->object, request.offset + (int64_t)request.information);
	else if (NT_SUCCESS(run(file, PORT_FILE_SIZE, 0, &size)))
		advance(file->object, (int64_t)size);
	return STATUS_SUCCESS;
}

/* ---- Information ---- */

static NTSTATUS query_name(struct io_host_file *file, FILE_NAME_INFORMATION *info, ULONG length,
			   ULONG_PTR *information)
{
	const ULONG head = offsetof(FILE_NAME_INFORMATION, FileName);
	ULONG bytes = file->object->FileName.Length, room;
	if (length < sizeof(*info))
		return STATUS_INFO_LENGTH_MISMATCH;
	room = min(bytes, length - head);
	info->FileNameLength = bytes;
	memcpy(info->FileName, file->object->FileName.Buffer, room);
	*information = head + room;
	return room < bytes ? STATUS_BUFFER_OVERFLOW : STATUS_SUCCESS;
}

static NTSTATUS file_query(struct io_host_file *file, PIRP irp, PIO_STACK_LOCATION location,
			   ULONG_PTR *information)
{
	void *buffer = irp->AssociatedIrp.SystemBuffer;
	ULONG length = location->Parameters.QueryFile.Length, need;
	ULONG attributes = file->directory ? FILE_ATTRIBUTE_DIRECTORY : FILE_ATTRIBUTE_NORMAL;
	uint64_t size;
	NTSTATUS status = run(file, PORT_FILE_SIZE, 0, &size);
	LARGE_INTEGER end = {.QuadPart = file->directory ? 0 : (LONGLONG)size};
	LARGE_INTEGER allocation = {.QuadPart = (end.QuadPart + PAGE_SIZE - 1) &
						~(LONGLONG)(PAGE_SIZE - 1)};
	if (!NT_SUCCESS(status))
		return status;
	switch (location->Parameters.QueryFile.FileInformationClass) {
	case FileBasicInformation: {
		FILE_BASIC_INFORMATION basic = {.FileAttributes = attributes};
		need = sizeof(basic);
		if (length >= need)
			memcpy(buffer, &basic, need);
		break;
	}
	case FileStandardInformation: {
		FILE_STANDARD_INFORMATION standard = {.AllocationSize = allocation,
						      .EndOfFile = end,
						      .NumberOfLinks = 1,
						      .DeletePending = file->object->DeletePending,
						      .Directory = file->directory};
		need = sizeof(standard);
		if (length >= need)
			memcpy(buffer, &standard, need);
		break;
	}
	case FileNetworkOpenInformation: {
		FILE_NETWORK_OPEN_INFORMATION network = {.AllocationSize = allocation,
							 .EndOfFile = end,
							 .FileAttributes = attributes};
		need = sizeof(network);
		if (length >= need)
			memcpy(buffer, &network, need);
		break;
	}
	case FileNameInformation:
		return query_name(file, buffer, length, information);
	default:
		return STATUS_INVALID_INFO_CLASS;
	}
	if (length < need)
		return STATUS_INFO_LENGTH_MISMATCH;
	*information = need;
	return STATUS_SUCCESS;
}

static NTSTATUS file_set(struct io_host_file *file, PIRP irp, PIO_STACK_LOCATION location)
{
	void *buffer = irp->AssociatedIrp.SystemBuffer;
	ULONG length = location->Parameters.SetFile.Length;
	int64_t end;
	switch (location->Parameters.SetFile.FileInformationClass) {
	case FileEndOfFileInformation:
		if (length < sizeof(FILE_END_OF_FILE_INFORMATION))
			return STATUS_INFO_LENGTH_MISMATCH;
		end = ((FILE_END_OF_FILE_INFORMATION *)buffer)->EndOfFile.QuadPart;
		if (!(file->access & FILE_WRITE_DATA))
			return STATUS_ACCESS_DENIED;
		return end < 0 ? STATUS_INVALID_PARAMETER : run(file, PORT_FILE_RESIZE, end, 0);
	case FileDispositionInformation:
		if (length < sizeof(FILE_DISPOSITION_INFORMATION))
			return STATUS_INFO_LENGTH_MISMATCH;
		if (!(file->access & DELETE))
			return STATUS_ACCESS_DENIED;
		file->object->DeletePending = ((FILE_DISPOSITION_INFORMATION *)buffer)->DeleteFile;
		return STATUS_SUCCESS;
	case FileBasicInformation:
		/* Times and attributes are not kept. */
		return length < sizeof(FILE_BASIC_INFORMATION) ? STATUS_INFO_LENGTH_MISMATCH
							       : STATUS_SUCCESS;
	default:
		return STATUS_INVALID_INFO_CLASS;
	}
}

/* ---- The driver ---- */

static NTSTATUS act(PIRP irp, PIO_STACK_LOCATION location, ULONG_PTR *information)
{
	struct io_host_file *file = location->FileObject ? location->FileObject->FsContext : 0;
	if (ke_irql() >= DISPATCH_LEVEL)
		return STATUS_INVALID_DEVICE_STATE; /* it would have to wait for the host */
	if (location->MajorFunction == IRP_MJ_CREATE)
		return location->FileObject ? io_host_create(irp, location, information)
					    : STATUS_INVALID_PARAMETER;
	if (!file)
		return STATUS_INVALID_DEVICE_REQUEST;
	switch (location->MajorFunction) {
	case IRP_MJ_CLEANUP:
		return io_host_cleanup(file);
	case IRP_MJ_CLOSE:
		io_host_cleanup(file);
		location->FileObject->FsContext = 0;
		ex_free(file);
		return STATUS_SUCCESS;
	case IRP_MJ_READ:
		return file_read(file, irp, location, information);
	case IRP_MJ_WRITE:
		return file_write(file, irp, location, information);
	case IRP_MJ_QUERY_INFORMATION:
		return file_query(file, irp, location, information);
	case IRP_MJ_SET_INFORMATION:
		return file_set(file, irp, location);
	case IRP_MJ_FLUSH_BUFFERS:
		return file->directory ? STATUS_SUCCESS : run(file, PORT_FILE_FLUSH, 0, 0);
	default:
		return STATUS_INVALID_DEVICE_REQUEST;
	}
}

static NTSTATUS NTAPI dispatch(PDEVICE_OBJECT device, PIRP irp)
{
	PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
	ULONG_PTR information = 0;
	(void)device;
	NTSTATUS status = act(irp, location, &information);
	irp->IoStatus.Status = status;
	irp->IoStatus.Information = information;
	IofCompleteRequest(irp, IO_DISK_INCREMENT);
	return status;
}

NTSTATUS io_host_files_initialize(void)
{
	static const UNICODE_STRING driver_name = RTL_CONSTANT_STRING(L"HostFiles");
	static const UCHAR majors[] = {IRP_MJ_CREATE,          IRP_MJ_CLEANUP,
				       IRP_MJ_CLOSE,           IRP_MJ_READ,
				       IRP_MJ_WRITE,           IRP_MJ_QUERY_INFORMATION,
				       IRP_MJ_SET_INFORMATION, IRP_MJ_FLUSH_BUFFERS};
	static UNICODE_STRING device_name = RTL_CONSTANT_STRING(L"\\Device\\HarddiskVolume1");
	static UNICODE_STRING links[] = {RTL_CONSTANT_STRING(L"\\GLOBAL??\\C:"),
					 RTL_CONSTANT_STRING(L"\\SystemRoot")};
	struct io_driver *driver;
	PDEVICE_OBJECT device;
	io_host_lock_initialize();
	NTSTATUS status = io_driver_create(&driver_name, &driver);
	if (!NT_SUCCESS(status))
		return status;
	for (size_t n = 0; n < sizeof(majors); n++)
		driver->object.MajorFunction[majors[n]] = dispatch;
	status = IoCreateDevice(&driver->object, 0, &device_name, FILE_DEVICE_DISK_FILE_SYSTEM, 0,
				FALSE, &device);
	if (!NT_SUCCESS(status))
		return status;
	device->Flags |= DO_BUFFERED_IO;
	device->Flags &= ~DO_DEVICE_INITIALIZING;
	for (size_t n = 0; n < RTL_NUMBER_OF(links) && NT_SUCCESS(status); n++)
		status = IoCreateSymbolicLink(&links[n], &device_name);
	return status;
}
