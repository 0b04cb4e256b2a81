/* SPDX-License-Identifier: MIT */
/*
 * user.c: an IOCTL as a user-mode program would send it: open \??\NAME, send, close.
 *
 * Context: PASSIVE_LEVEL, on a system thread. No locks.
 * The request comes from UserMode; for METHOD_NEITHER its buffers lie below MmUserProbeAddress, as
 * a program's do.
 */
#include "io/key.h"

#define USER_HINT 0x20000000u /* where a program's buffers may lie */
#define PATH_MAX  300

/* in and out as a program has them. */
struct buffers {
	char *base;
	size_t size;
	void *in, *out;
};

static size_t pages(size_t size)
{
	return (size + PORT_PAGE_SIZE - 1) & ~(size_t)(PORT_PAGE_SIZE - 1);
}

static NTSTATUS make_buffers(struct buffers *buffers, const struct io_user_request *request)
{
	size_t in = pages(request->in_size), out = pages(request->out_size);
	memset(buffers, 0, sizeof(*buffers));
	if (request->in_size > 0x10000000 || request->out_size > 0x10000000)
		return STATUS_INVALID_PARAMETER;
	if (!in && !out)
		return STATUS_SUCCESS;
	buffers->size = in + out;
	buffers->base = port_pages_reserve((void *)USER_HINT, buffers->size);
	if (!buffers->base)
		return STATUS_INSUFFICIENT_RESOURCES;
	if (!port_pages_protect(buffers->base, buffers->size, PORT_READ | PORT_WRITE)) {
		port_pages_release(buffers->base, buffers->size);
		return STATUS_INSUFFICIENT_RESOURCES;
	}
	if (in) {
		buffers->in = buffers->base;
		memcpy(buffers->in, request->in, request->in_size);
	}
	if (out)
		buffers->out = buffers->base + in;
	return STATUS_SUCCESS;
}

static NTSTATUS device_path(const char *device, WCHAR *buffer, UNICODE_STRING *path)
{
	static const WCHAR prefix[4] = L"\\??\\";
	size_t head = device[0] == '\\' ? 0 : RTL_NUMBER_OF(prefix);
	memcpy(buffer, prefix, sizeof(prefix));
	USHORT bytes = io_widen(device, buffer + head, PATH_MAX - head);
	if (!bytes)
		return STATUS_OBJECT_NAME_INVALID;
	path->Buffer = buffer;
	path->Length = path->MaximumLength = (USHORT)(bytes + head * sizeof(WCHAR));
	return STATUS_SUCCESS;
}

static NTSTATUS control(PFILE_OBJECT file, struct io_user_request *user,
			const struct buffers *buffers)
{
	PDEVICE_OBJECT device = io_file_device(file);
	struct io_request request;
	NTSTATUS status = io_request_begin(&request, device, file, IRP_MJ_DEVICE_CONTROL);
	if (NT_SUCCESS(status)) {
		PIO_STACK_LOCATION location = IoGetNextIrpStackLocation(request.irp);
		location->Parameters.DeviceIoControl.IoControlCode = user->code;
		location->Parameters.DeviceIoControl.InputBufferLength = (ULONG)user->in_size;
		location->Parameters.DeviceIoControl.OutputBufferLength = (ULONG)user->out_size;
		request.irp->RequestorMode = UserMode;
		status = io_irp_control_buffers(request.irp, user->code, buffers->in,
						(ULONG)user->in_size, buffers->out,
						(ULONG)user->out_size);
		if (NT_SUCCESS(status)) {
			status = io_request_send(&request, device);
			/* What there is no room for was reported and is not there. */
			user->returned = min(request.result.Information, (ULONG_PTR)user->out_size);
		} else {
			io_request_abandon(&request);
		}
	}
	ob_dereference(device);
	return status;
}

void io_user_ioctl(struct io_user_request *request)
{
	WCHAR text[PATH_MAX];
	UNICODE_STRING path;
	OBJECT_ATTRIBUTES attributes;
	struct io_open open = {.attributes = &attributes,
			       .access = GENERIC_READ | GENERIC_WRITE,
			       .disposition = FILE_OPEN,
			       .options = FILE_SYNCHRONOUS_IO_NONALERT | FILE_NON_DIRECTORY_FILE,
			       .mode = UserMode};
	struct buffers buffers;
	PFILE_OBJECT file = 0;
	ULONG_PTR information;
	request->returned = 0;
	request->status = make_buffers(&buffers, request);
	if (!NT_SUCCESS(request->status))
		return;
	request->status = device_path(request->device, text, &path);
	if (NT_SUCCESS(request->status)) {
		InitializeObjectAttributes(&attributes, &path, OBJ_CASE_INSENSITIVE, 0, 0);
		request->status = io_file_open(&open, &file, &information);
	}
	if (NT_SUCCESS(request->status)) {
		request->status = control(file, request, &buffers);
		if (buffers.out && !NT_ERROR(request->status))
			memcpy(request->out, buffers.out, request->out_size);
		io_file_cleanup(file);
		ob_dereference(file);
	}
	if (buffers.base)
		port_pages_release(buffers.base, buffers.size);
}
