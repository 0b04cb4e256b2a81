/* SPDX-License-Identifier: MIT */
/*
 * zw_file.c: files by handle: ZwCreateFile and its relatives, for host files and for drivers'
 * devices alike.
 *
 * Context: PASSIVE_LEVEL. No locks.
 * Implements DEF-128, DEF-169, DEF-217, DEF-219, DEF-292.
 * Choices: every request is complete when the function returns, also on a file that was not opened
 * for synchronous I/O; the caller's event is set then, and its APC routine is called on the calling
 * thread as a normal kernel APC.
 */
#include "io/io_internal.h"

/* ---- Open ---- */

static NTSTATUS check_open(const struct io_open *open)
{
	const ULONG synchronous = FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT;
	if (open->disposition > FILE_MAXIMUM_DISPOSITION)
		return STATUS_INVALID_PARAMETER;
	if ((open->options & synchronous) == synchronous)
		return STATUS_INVALID_PARAMETER;
	if (open->options & synchronous && !(io_file_access(open->access) & SYNCHRONIZE))
		return STATUS_INVALID_PARAMETER;
	if (open->options & FILE_DELETE_ON_CLOSE && !(io_file_access(open->access) & DELETE))
		return STATUS_INVALID_PARAMETER;
	return STATUS_SUCCESS;
}

static NTSTATUS open_handle(const struct io_open *open, PHANDLE handle, PIO_STATUS_BLOCK block,
			    uint64_t caller)
{
	PFILE_OBJECT file;
	ULONG_PTR information = 0;
	NTSTATUS status = check_open(open);
	if (NT_SUCCESS(status))
		status = io_file_open(open, &file, &information);
	if (NT_SUCCESS(status)) {
		NTSTATUS made = ob_handle_create(file, io_file_access(open->access),
						 open->attributes->Attributes, caller, handle);
		if (!NT_SUCCESS(made)) {
			io_file_cleanup(file);
			status = made;
		}
		ob_dereference(file);
	}
	block->Status = status;
	block->Information = information;
	return status;
}

/*
 * Open or create a file or device (DEF-169). IRQL = PASSIVE. IoStatusBlock->Information:
 * FILE_OPENED, FILE_CREATED ... STATUS_SUCCESS, STATUS_INVALID_PARAMETER,
 * STATUS_OBJECT_NAME_NOT_FOUND, _PATH_NOT_FOUND, _NAME_INVALID, _NAME_COLLISION (FILE_CREATE),
 * STATUS_ACCESS_DENIED, STATUS_SHARING_VIOLATION, STATUS_FILE_IS_A_DIRECTORY,
 * STATUS_NOT_A_DIRECTORY, STATUS_NO_SUCH_DEVICE, or the driver's.
 */
NTSTATUS NTAPI ZwCreateFile(PHANDLE FileHandle, ACCESS_MASK DesiredAccess,
			    POBJECT_ATTRIBUTES ObjectAttributes, PIO_STATUS_BLOCK IoStatusBlock,
			    PLARGE_INTEGER AllocationSize, ULONG FileAttributes, ULONG ShareAccess,
			    ULONG CreateDisposition, ULONG CreateOptions, PVOID EaBuffer,
			    ULONG EaLength)
{
	struct io_open open = {ObjectAttributes, DesiredAccess,     AllocationSize, FileAttributes,
			       ShareAccess,      CreateDisposition, CreateOptions,  EaBuffer,
			       EaLength,         KernelMode};
	return open_handle(&open, FileHandle, IoStatusBlock, VF_CALLER());
}

NTSTATUS NTAPI ZwOpenFile(PHANDLE FileHandle, ACCESS_MASK DesiredAccess,
			  POBJECT_ATTRIBUTES ObjectAttributes, PIO_STATUS_BLOCK IoStatusBlock,
			  ULONG ShareAccess, ULONG OpenOptions)
{
	struct io_open open = {.attributes = ObjectAttributes,
			       .access = DesiredAccess,
			       .share = ShareAccess,
			       .disposition = FILE_OPEN,
			       .options = OpenOptions};
	return open_handle(&open, FileHandle, IoStatusBlock, VF_CALLER());
}

/* As ZwCreateFile; pipes and mailslots are not offered (STATUS_INVALID_PARAMETER). */
NTSTATUS NTAPI IoCreateFile(PHANDLE FileHandle, ACCESS_MASK DesiredAccess,
			    POBJECT_ATTRIBUTES ObjectAttributes, PIO_STATUS_BLOCK IoStatusBlock,
			    PLARGE_INTEGER AllocationSize, ULONG FileAttributes, ULONG ShareAccess,
			    ULONG Disposition, ULONG CreateOptions, PVOID EaBuffer, ULONG EaLength,
			    CREATE_FILE_TYPE CreateFileType, PVOID InternalParameters,
			    ULONG Options)
{
	struct io_open open = {ObjectAttributes, DesiredAccess, AllocationSize, FileAttributes,
			       ShareAccess,      Disposition,   CreateOptions,  EaBuffer,
			       EaLength,         KernelMode};
	(void)InternalParameters;
	(void)Options;
	if (CreateFileType != CreateFileTypeNone)
		return STATUS_INVALID_PARAMETER;
	return open_handle(&open, FileHandle, IoStatusBlock, VF_CALLER());
}

/* ---- The caller's APC routine ---- */

static VOID NTAPI apc_free(PKAPC apc, PKNORMAL_ROUTINE *normal, PVOID *context, PVOID *one,
			   PVOID *two)
{
	(void)normal;
	(void)context;
	(void)one;
	(void)two;
	ex_free(apc);
}

static VOID NTAPI apc_rundown(PKAPC apc)
{
	ex_free(apc);
}

/* An APC for later, made before the request so that its end cannot fail; 0 with a routine: no
 * memory. */
static PKAPC apc_make(PIO_APC_ROUTINE routine, void *context)
{
	PKAPC apc = io_allocate(sizeof(*apc));
	if (apc)
		KeInitializeApc(apc, ke_thread(), OriginalApcEnvironment, apc_free, apc_rundown,
				(PKNORMAL_ROUTINE)(void *)routine, KernelMode, context);
	return apc;
}

static void apc_queue(PKAPC apc, PIO_STATUS_BLOCK block, NTSTATUS status)
{
	if (apc && (NT_ERROR(status) || !KeInsertQueueApc(apc, block, 0, IO_NO_INCREMENT)))
		ex_free(apc);
}

/* ---- Read and write ---- */

static bool is_position(const LARGE_INTEGER *offset)
{
	return !offset ||
	       (offset->LowPart == FILE_USE_FILE_POINTER_POSITION && offset->HighPart == -1);
}

/* Where the transfer begins, by the documents' rules. */
static NTSTATUS find_offset(const struct io_call *call, bool write, const LARGE_INTEGER *given,
			    LARGE_INTEGER *offset)
{
	const ACCESS_MASK both = FILE_APPEND_DATA | FILE_WRITE_DATA;
	if (write && (call->access & both) == FILE_APPEND_DATA) {
		offset->LowPart = FILE_WRITE_TO_END_OF_FILE;
		offset->HighPart = -1;
	} else if (!is_position(given)) {
		*offset = *given;
	} else if (call->file->Flags & FO_SYNCHRONOUS_IO) {
		*offset = call->file->CurrentByteOffset;
	} else {
		return STATUS_INVALID_PARAMETER;
	}
	return STATUS_SUCCESS;
}

static NTSTATUS transfer(UCHAR major, HANDLE handle, HANDLE event, PKAPC apc,
			 PIO_STATUS_BLOCK block, void *buffer, ULONG length,
			 const LARGE_INTEGER *given, const ULONG *key)
{
	struct io_call call;
	LARGE_INTEGER offset;
	NTSTATUS status = io_call_begin(&call, handle, event, major);
	if (!NT_SUCCESS(status)) {
		apc_queue(apc, block, status);
		return status;
	}
	PIRP irp = call.request.irp;
	PIO_STACK_LOCATION location = IoGetNextIrpStackLocation(irp);
	status = find_offset(&call, major == IRP_MJ_WRITE, given, &offset);
	if (NT_SUCCESS(status))
		status = io_irp_buffers(irp, call.device, buffer, length);
	if (!NT_SUCCESS(status)) {
		apc_queue(apc, block, status);
		return io_call_abandon(&call, status);
	}
	location->Parameters.Read.Length = length;
	location->Parameters.Read.ByteOffset = offset;
	location->Parameters.Read.Key = key ? *key : 0;
	irp->Flags |= major == IRP_MJ_READ ? IRP_READ_OPERATION : IRP_WRITE_OPERATION;
	status = io_call_send(&call, block);
	apc_queue(apc, block, status);
	return status;
}

/*
 * Read (DEF-292). IRQL = PASSIVE. ByteOffset NULL: the current position (synchronous files).
 * STATUS_SUCCESS, STATUS_END_OF_FILE, STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH,
 * STATUS_INVALID_PARAMETER, STATUS_ACCESS_VIOLATION, STATUS_ACCESS_DENIED, or the driver's.
 */
NTSTATUS NTAPI ZwReadFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine,
			  PVOID ApcContext, PIO_STATUS_BLOCK IoStatusBlock, PVOID Buffer,
			  ULONG Length, PLARGE_INTEGER ByteOffset, PULONG Key)
{
	PKAPC apc = ApcRoutine ? apc_make(ApcRoutine, ApcContext) : 0;
	if (ApcRoutine && !apc)
		return STATUS_INSUFFICIENT_RESOURCES;
	return transfer(IRP_MJ_READ, FileHandle, Event, apc, IoStatusBlock, Buffer, Length,
			ByteOffset, Key);
}

/* Write (DEF-219); to the end of the file when it was opened for FILE_APPEND_DATA alone (DEF-128).
 * As ZwReadFile; STATUS_DISK_FULL. */
NTSTATUS NTAPI ZwWriteFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine,
			   PVOID ApcContext, PIO_STATUS_BLOCK IoStatusBlock, PVOID Buffer,
			   ULONG Length, PLARGE_INTEGER ByteOffset, PULONG Key)
{
	PKAPC apc = ApcRoutine ? apc_make(ApcRoutine, ApcContext) : 0;
	if (ApcRoutine && !apc)
		return STATUS_INSUFFICIENT_RESOURCES;
	return transfer(IRP_MJ_WRITE, FileHandle, Event, apc, IoStatusBlock, Buffer, Length,
			ByteOffset, Key);
}

/* ---- Control ---- */

static NTSTATUS control(UCHAR major, HANDLE handle, HANDLE event, PKAPC apc, PIO_STATUS_BLOCK block,
			ULONG code, void *in, ULONG in_size, void *out, ULONG out_size)
{
	struct io_call call;
	NTSTATUS status = io_call_begin(&call, handle, event, major);
	if (!NT_SUCCESS(status)) {
		apc_queue(apc, block, status);
		return status;
	}
	PIO_STACK_LOCATION location = IoGetNextIrpStackLocation(call.request.irp);
	location->Parameters.DeviceIoControl.IoControlCode = code;
	location->Parameters.DeviceIoControl.InputBufferLength = in_size;
	location->Parameters.DeviceIoControl.OutputBufferLength = out_size;
	status = io_irp_control_buffers(call.request.irp, code, in, in_size, out, out_size);
	status = NT_SUCCESS(status) ? io_call_send(&call, block) : io_call_abandon(&call, status);
	apc_queue(apc, block, status);
	return status;
}

/* IRQL = PASSIVE. Buffers by the code's method. The driver's status, or as ZwReadFile. */
NTSTATUS NTAPI ZwDeviceIoControlFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine,
				     PVOID ApcContext, PIO_STATUS_BLOCK IoStatusBlock,
				     ULONG IoControlCode, PVOID InputBuffer,
				     ULONG InputBufferLength, PVOID OutputBuffer,
				     ULONG OutputBufferLength)
{
	PKAPC apc = ApcRoutine ? apc_make(ApcRoutine, ApcContext) : 0;
	if (ApcRoutine && !apc)
		return STATUS_INSUFFICIENT_RESOURCES;
	return control(IRP_MJ_DEVICE_CONTROL, FileHandle, Event, apc, IoStatusBlock, IoControlCode,
		       InputBuffer, InputBufferLength, OutputBuffer, OutputBufferLength);
}

NTSTATUS NTAPI ZwFsControlFile(HANDLE FileHandle, HANDLE Event, PIO_APC_ROUTINE ApcRoutine,
			       PVOID ApcContext, PIO_STATUS_BLOCK IoStatusBlock,
			       ULONG FsControlCode, PVOID InputBuffer, ULONG InputBufferLength,
			       PVOID OutputBuffer, ULONG OutputBufferLength)
{
	PKAPC apc = ApcRoutine ? apc_make(ApcRoutine, ApcContext) : 0;
	if (ApcRoutine && !apc)
		return STATUS_INSUFFICIENT_RESOURCES;
	return control(IRP_MJ_FILE_SYSTEM_CONTROL, FileHandle, Event, apc, IoStatusBlock,
		       FsControlCode, InputBuffer, InputBufferLength, OutputBuffer,
		       OutputBufferLength);
}
