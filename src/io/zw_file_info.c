/* SPDX-License-Identifier: MIT */
/*
 * zw_file_info.c: requests on open files by handle, and what asks about files or deletes them.
 *
 * Context: PASSIVE_LEVEL. A file opened for synchronous I/O carries one request at a time:
 * FILE_OBJECT.Lock. Implements DEF-217; the file position is the I/O manager's own, as documented.
 */
#include "io/io_internal.h"

NTSTATUS io_call_begin(struct io_call *call, HANDLE handle, HANDLE event, UCHAR major)
{
	NTSTATUS status;
	memset(call, 0, sizeof(*call));
	status = ob_handle_reference(handle, 0, &io_file_type, KernelMode, (void **)&call->file,
				     &call->access);
	if (!NT_SUCCESS(status))
		return status;
	if (event) {
		status = ob_handle_reference(event, EVENT_MODIFY_STATE, &ob_event_type, KernelMode,
					     (void **)&call->event, 0);
		if (!NT_SUCCESS(status))
			goto out_file;
		KeClearEvent(call->event);
	}
	call->device = io_file_device(call->file);
	if (call->file->Flags & FO_SYNCHRONOUS_IO) {
		KeWaitForSingleObject(&call->file->Lock, Executive, KernelMode, FALSE, 0);
		call->locked = true;
	}
	KeClearEvent(&call->file->Event);
	status = io_request_begin(&call->request, call->device, call->file, major);
	if (NT_SUCCESS(status))
		return status;
	if (call->locked)
		KeSetEvent(&call->file->Lock, IO_NO_INCREMENT, FALSE);
	ob_dereference(call->device);
	if (call->event)
		ob_dereference(call->event);
out_file:
	ob_dereference(call->file);
	return status;
}

static void call_release(struct io_call *call)
{
	if (call->locked)
		KeSetEvent(&call->file->Lock, IO_NO_INCREMENT, FALSE);
	ob_dereference(call->device);
	if (call->event)
		ob_dereference(call->event);
	ob_dereference(call->file);
}

/* Not sent: `status` tells why. */
NTSTATUS io_call_abandon(struct io_call *call, NTSTATUS status)
{
	io_request_abandon(&call->request);
	call_release(call);
	return status;
}

NTSTATUS io_call_send(struct io_call *call, PIO_STATUS_BLOCK block)
{
	NTSTATUS status = io_request_send(&call->request, call->device);
	*block = call->request.result;
	KeSetEvent(call->event ? call->event : &call->file->Event, IO_NO_INCREMENT, FALSE);
	call_release(call);
	return status;
}

/* ---- Information ---- */

static NTSTATUS query_position(const struct io_call *call, void *buffer, ULONG length,
			       PIO_STATUS_BLOCK block)
{
	FILE_POSITION_INFORMATION position = {call->file->CurrentByteOffset};
	if (length < sizeof(position))
		return STATUS_INFO_LENGTH_MISMATCH;
	memcpy(buffer, &position, sizeof(position));
	block->Status = STATUS_SUCCESS;
	block->Information = sizeof(position);
	return STATUS_SUCCESS;
}

static NTSTATUS set_position(struct io_call *call, const void *buffer, ULONG length,
			     PIO_STATUS_BLOCK block)
{
	FILE_POSITION_INFORMATION position;
	if (length < sizeof(position))
		return STATUS_INFO_LENGTH_MISMATCH;
	memcpy(&position, buffer, sizeof(position));
	if (position.CurrentByteOffset.QuadPart < 0)
		return STATUS_INVALID_PARAMETER;
	call->file->CurrentByteOffset = position.CurrentByteOffset;
	block->Status = STATUS_SUCCESS;
	block->Information = 0;
	return STATUS_SUCCESS;
}

/*
 * Ask about an open file (DEF-217). IRQL = PASSIVE. STATUS_SUCCESS, STATUS_INFO_LENGTH_MISMATCH
 * (too small), STATUS_BUFFER_OVERFLOW (the name is longer), STATUS_INVALID_INFO_CLASS,
 * STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH, or the driver's.
 */
NTSTATUS NTAPI ZwQueryInformationFile(HANDLE FileHandle, PIO_STATUS_BLOCK IoStatusBlock,
				      PVOID FileInformation, ULONG Length,
				      FILE_INFORMATION_CLASS FileInformationClass)
{
	struct io_call call;
	NTSTATUS status = io_call_begin(&call, FileHandle, 0, IRP_MJ_QUERY_INFORMATION);
	if (!NT_SUCCESS(status))
		return status;
	if (FileInformationClass == FilePositionInformation)
		return io_call_abandon(
			&call, query_position(&call, FileInformation, Length, IoStatusBlock));
	PIRP irp = call.request.irp;
	PIO_STACK_LOCATION location = IoGetNextIrpStackLocation(irp);
	location->Parameters.QueryFile.Length = Length;
	location->Parameters.QueryFile.FileInformationClass = FileInformationClass;
	status = io_irp_system_buffer(irp, 0, 0, FileInformation, Length);
	return NT_SUCCESS(status) ? io_call_send(&call, IoStatusBlock)
				  : io_call_abandon(&call, status);
}

/* Change an open file. IRQL = PASSIVE. As ZwQueryInformationFile; STATUS_ACCESS_DENIED,
 * STATUS_INVALID_PARAMETER (a negative value). */
NTSTATUS NTAPI ZwSetInformationFile(HANDLE FileHandle, PIO_STATUS_BLOCK IoStatusBlock,
				    PVOID FileInformation, ULONG Length,
				    FILE_INFORMATION_CLASS FileInformationClass)
{
	struct io_call call;
	NTSTATUS status = io_call_begin(&call, FileHandle, 0, IRP_MJ_SET_INFORMATION);
	if (!NT_SUCCESS(status))
		return status;
	if (FileInformationClass == FilePositionInformation)
		return io_call_abandon(&call,
				       set_position(&call, FileInformation, Length, IoStatusBlock));
	PIRP irp = call.request.irp;
	PIO_STACK_LOCATION location = IoGetNextIrpStackLocation(irp);
	location->Parameters.SetFile.Length = Length;
	location->Parameters.SetFile.FileInformationClass = FileInformationClass;
	status = io_irp_system_buffer(irp, FileInformation, Length, 0, Length);
	return NT_SUCCESS(status) ? io_call_send(&call, IoStatusBlock)
				  : io_call_abandon(&call, status);
}

/* Have what was written reach the disk. IRQL = PASSIVE. STATUS_INVALID_HANDLE,
 * STATUS_OBJECT_TYPE_MISMATCH, or the driver's. */
NTSTATUS NTAPI ZwFlushBuffersFile(HANDLE FileHandle, PIO_STATUS_BLOCK IoStatusBlock)
{
	struct io_call call;
	NTSTATUS status = io_call_begin(&call, FileHandle, 0, IRP_MJ_FLUSH_BUFFERS);
	return NT_SUCCESS(status) ? io_call_send(&call, IoStatusBlock) : status;
}

/* FILE_FS_DEVICE_INFORMATION. */
struct device_information {
	DEVICE_TYPE DeviceType;
	ULONG Characteristics;
};

/*
 * About the volume or device of an open file; its type and characteristics the I/O manager knows
 * itself, the rest the driver is asked for. IRQL = PASSIVE. As ZwQueryInformationFile.
 */
NTSTATUS NTAPI ZwQueryVolumeInformationFile(HANDLE FileHandle, PIO_STATUS_BLOCK IoStatusBlock,
					    PVOID FsInformation, ULONG Length,
					    FS_INFORMATION_CLASS FsInformationClass)
{
	struct io_call call;
	NTSTATUS status = io_call_begin(&call, FileHandle, 0, IRP_MJ_QUERY_VOLUME_INFORMATION);
	if (!NT_SUCCESS(status))
		return status;
	if (FsInformationClass == FileFsDeviceInformation) {
		PDEVICE_OBJECT device = call.file->DeviceObject;
		struct device_information info = {device->DeviceType, device->Characteristics};
		if (Length < sizeof(info))
			return io_call_abandon(&call, STATUS_INFO_LENGTH_MISMATCH);
		memcpy(FsInformation, &info, sizeof(info));
		IoStatusBlock->Status = STATUS_SUCCESS;
		IoStatusBlock->Information = sizeof(info);
		return io_call_abandon(&call, STATUS_SUCCESS);
	}
	PIO_STACK_LOCATION location = IoGetNextIrpStackLocation(call.request.irp);
	/* QueryVolume has QueryFile's layout. */
	location->Parameters.QueryFile.Length = Length;
	location->Parameters.QueryFile.FileInformationClass =
		(FILE_INFORMATION_CLASS)FsInformationClass;
	status = io_irp_system_buffer(call.request.irp, 0, 0, FsInformation, Length);
	return NT_SUCCESS(status) ? io_call_send(&call, IoStatusBlock)
				  : io_call_abandon(&call, status);
}

/* ---- By name ---- */

/* IRQL = PASSIVE. The statuses of ZwOpenFile for DELETE access. */
NTSTATUS NTAPI ZwDeleteFile(POBJECT_ATTRIBUTES ObjectAttributes)
{
	struct io_open open = {.attributes = ObjectAttributes,
			       .access = DELETE,
			       .share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
			       .disposition = FILE_OPEN,
			       .options = FILE_DELETE_ON_CLOSE};
	PFILE_OBJECT file;
	ULONG_PTR information;
	NTSTATUS status = io_file_open(&open, &file, &information);
	if (!NT_SUCCESS(status))
		return status;
	io_file_cleanup(file);
	ob_dereference(file);
	return STATUS_SUCCESS;
}

/* IRQL = PASSIVE. The statuses of ZwOpenFile for FILE_READ_ATTRIBUTES, and of
 * ZwQueryInformationFile. */
NTSTATUS NTAPI ZwQueryFullAttributesFile(POBJECT_ATTRIBUTES ObjectAttributes,
					 PFILE_NETWORK_OPEN_INFORMATION FileInformation)
{
	IO_STATUS_BLOCK block;
	HANDLE handle;
	NTSTATUS status = ZwOpenFile(&handle, FILE_READ_ATTRIBUTES | SYNCHRONIZE, ObjectAttributes,
				     &block, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
				     FILE_SYNCHRONOUS_IO_NONALERT);
	if (!NT_SUCCESS(status))
		return status;
	status = ZwQueryInformationFile(handle, &block, FileInformation, sizeof(*FileInformation),
					FileNetworkOpenInformation);
	ob_handle_close(handle);
	return status;
}
