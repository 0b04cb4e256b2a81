/* SPDX-License-Identifier: MIT */
/*
 * host_files.c: the file system of \??\C:\ and \SystemRoot\: the folder that the host gave
 * (--files), through port requests.
 *
 * It is a driver of the core: a device \Device\HarddiskVolume1 whose dispatch routines run each
 * request to its end. Contexts: PASSIVE_LEVEL (requests that arrive at DISPATCH_LEVEL are refused).
 * Lock: `open_mutex` for the list of open files (share modes). Implements the file half of DEF-128,
 * DEF-169, DEF-217, DEF-219, DEF-292.
 *
 * Chosen: \??\C:, \DosDevices\C: and \SystemRoot all name the top of the folder; names are taken as
 * they are (the host may tell upper from lower case); without a folder every open is
 * STATUS_OBJECT_PATH_NOT_FOUND. Times are 0 ("not supported"), attributes tell only files from
 * directories. Directories can be opened, not made or listed.
 */
#include "io/host_files.h"

static LIST_ENTRY open_files = {&open_files, &open_files};
static FAST_MUTEX open_mutex;

/* ---- Names ---- */

/* One component is legal: not empty, not . or .., no character that Windows or the host reserve. */
static bool legal(const char *name, size_t length)
{
	if (!length || (name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.'))))
		return false;
	for (size_t n = 0; n < length; n++) {
		char c = name[n];
		if ((UCHAR)c < 0x20 || c == '"' || c == '*' || c == ':' || c == '<' || c == '>' ||
		    c == '?' || c == '|')
			return false;
	}
	return true;
}

/* \a\b as a/b behind what is in `path`. */
static NTSTATUS append(char *path, size_t room, const UNICODE_STRING *name)
{
	char text[HOST_PATH_MAX];
	size_t at = rtl_length(path), start = 0;
	size_t length = rtl_utf8(text, sizeof(text), name->Buffer, name->Length / sizeof(WCHAR));
	if (length >= sizeof(text))
		return STATUS_OBJECT_NAME_INVALID;
	if (length && text[0] == '\\')
		start = 1;
	while (start < length) {
		size_t end = start;
		while (end < length && text[end] != '\\') {
			if (text[end] == '/' || !text[end])
				return STATUS_OBJECT_NAME_INVALID;
			end++;
		}
		if (!legal(text + start, end - start) || at + 1 + end - start >= room)
			return STATUS_OBJECT_NAME_INVALID;
		if (at)
			path[at++] = '/';
		memcpy(path + at, text + start, end - start);
		at += end - start;
		path[at] = 0;
		start = end + 1;
	}
	return STATUS_SUCCESS;
}

static NTSTATUS make_path(PFILE_OBJECT object, struct io_host_file *file)
{
	if (object->RelatedFileObject && object->RelatedFileObject->FsContext) {
		struct io_host_file *related = object->RelatedFileObject->FsContext;
		rtl_copy(file->path, sizeof(file->path), related->path);
	}
	return append(file->path, sizeof(file->path), &object->FileName);
}

/* ENOENT: is the folder there? */
static NTSTATUS not_found(const char *path)
{
	char folder[HOST_PATH_MAX];
	struct port_request request = {.operation = PORT_FILE_OPEN,
				       .path = folder,
				       .flags = PORT_OPEN_READ | PORT_OPEN_DIRECTORY};
	size_t end = rtl_length(path);
	while (end && path[end] != '/')
		end--;
	if (!end)
		return STATUS_OBJECT_NAME_NOT_FOUND;
	memcpy(folder, path, end);
	folder[end] = 0;
	ke_request_run(&request);
	if (request.error)
		return STATUS_OBJECT_PATH_NOT_FOUND;
	request.operation = PORT_FILE_CLOSE;
	ke_request_run(&request);
	return STATUS_OBJECT_NAME_NOT_FOUND;
}

/* ---- Share modes, under the mutex ---- */

static bool conflicts(const FILE_OBJECT *one, const FILE_OBJECT *two)
{
	return (one->ReadAccess && !two->SharedRead) || (one->WriteAccess && !two->SharedWrite) ||
	       (one->DeleteAccess && !two->SharedDelete);
}

static NTSTATUS share(struct io_host_file *file)
{
	NTSTATUS status = STATUS_SUCCESS;
	ExAcquireFastMutex(&open_mutex);
	for (LIST_ENTRY *entry = open_files.Flink; entry != &open_files; entry = entry->Flink) {
		struct io_host_file *other = CONTAINING_RECORD(entry, struct io_host_file, entry);
		if (!rtl_equal(other->path, file->path))
			continue;
		if (other->object->DeletePending)
			status = STATUS_DELETE_PENDING;
		else if (conflicts(file->object, other->object) ||
			 conflicts(other->object, file->object))
			status = STATUS_SHARING_VIOLATION;
	}
	if (NT_SUCCESS(status))
		InsertTailList(&open_files, &file->entry);
	ExReleaseFastMutex(&open_mutex);
	return status;
}

static void unshare(struct io_host_file *file)
{
	ExAcquireFastMutex(&open_mutex);
	if (file->entry.Flink)
		RemoveEntryList(&file->entry);
	file->entry.Flink = 0;
	ExReleaseFastMutex(&open_mutex);
}

/* ---- Create ---- */

static unsigned open_flags(ULONG disposition, ACCESS_MASK access, ULONG options)
{
	static const unsigned by_disposition[] = {
		[FILE_SUPERSEDE] = PORT_OPEN_CREATE | PORT_OPEN_TRUNCATE,
		[FILE_OPEN] = 0,
		[FILE_CREATE] = PORT_OPEN_CREATE | PORT_OPEN_EXCLUSIVE,
		[FILE_OPEN_IF] = PORT_OPEN_CREATE,
		[FILE_OVERWRITE] = PORT_OPEN_TRUNCATE,
		[FILE_OVERWRITE_IF] = PORT_OPEN_CREATE | PORT_OPEN_TRUNCATE,
	};
	unsigned flags = PORT_OPEN_READ | by_disposition[disposition];
	if (access & (FILE_WRITE_DATA | FILE_APPEND_DATA) || flags & PORT_OPEN_TRUNCATE)
		flags |= PORT_OPEN_WRITE;
	if (options & FILE_DIRECTORY_FILE)
		flags = PORT_OPEN_READ | PORT_OPEN_DIRECTORY;
	return flags;
}

/* The host opens a directory for reading without a word; only reading it tells. */
static bool is_directory(int64_t handle)
{
	char byte;
	struct port_request request = {
		.operation = PORT_FILE_READ, .handle = handle, .buffer = &byte, .size = 1};
	ke_request_run(&request);
	return io_status_of_errno(request.error) == STATUS_FILE_IS_A_DIRECTORY;
}

static NTSTATUS open_host(struct io_host_file *file, ULONG disposition, ULONG options,
			  ULONG_PTR *information)
{
	static const UCHAR results[3] = {FILE_OPENED, FILE_CREATED, FILE_OVERWRITTEN};
	struct port_request request = {.operation = PORT_FILE_OPEN, .path = file->path};
	request.flags = open_flags(disposition, file->access, options);
	ke_request_run(&request);
	if (request.error) {
		NTSTATUS status = io_status_of_errno(request.error);
		if (status == STATUS_OBJECT_NAME_NOT_FOUND)
			return not_found(file->path);
		if (status == STATUS_NOT_A_DIRECTORY && !(options & FILE_DIRECTORY_FILE))
			return STATUS_OBJECT_PATH_NOT_FOUND;
		return status;
	}
	file->handle = request.handle;
	file->open = true;
	*information = results[request.information];
	if (disposition == FILE_SUPERSEDE && request.information == 2)
		*information = FILE_SUPERSEDED;
	file->directory = options & FILE_DIRECTORY_FILE || is_directory(file->handle);
	if (file->directory && options & FILE_NON_DIRECTORY_FILE)
		return STATUS_FILE_IS_A_DIRECTORY;
	return STATUS_SUCCESS;
}

void io_host_close(struct io_host_file *file)
{
	struct port_request request = {.operation = PORT_FILE_CLOSE, .handle = file->handle};
	if (file->open)
		ke_request_run(&request);
	file->open = false;
}

/* The rights that the file object will have when the open succeeds, for the share modes. */
static void set_rights(PFILE_OBJECT object, ACCESS_MASK access, ULONG share_access)
{
	object->ReadAccess = (access & (FILE_READ_DATA | FILE_EXECUTE)) != 0;
	object->WriteAccess = (access & (FILE_WRITE_DATA | FILE_APPEND_DATA)) != 0;
	object->DeleteAccess = (access & DELETE) != 0;
	object->SharedRead = (share_access & FILE_SHARE_READ) != 0;
	object->SharedWrite = (share_access & FILE_SHARE_WRITE) != 0;
	object->SharedDelete = (share_access & FILE_SHARE_DELETE) != 0;
}

NTSTATUS io_host_create(PIRP irp, PIO_STACK_LOCATION location, ULONG_PTR *information)
{
	PFILE_OBJECT object = location->FileObject;
	ULONG disposition = location->Parameters.Create.Options >> 24;
	ULONG options = location->Parameters.Create.Options & 0xffffff;
	struct io_host_file *file;
	NTSTATUS status;
	(void)irp;
	if (!io_files_present)
		return STATUS_OBJECT_PATH_NOT_FOUND;
	if (disposition > FILE_MAXIMUM_DISPOSITION ||
	    (options & FILE_DIRECTORY_FILE && options & FILE_NON_DIRECTORY_FILE))
		return STATUS_INVALID_PARAMETER;
	if (options & FILE_DIRECTORY_FILE && disposition != FILE_OPEN &&
	    disposition != FILE_OPEN_IF)
		return STATUS_NOT_SUPPORTED;
	file = io_allocate(sizeof(*file));
	if (!file)
		return STATUS_INSUFFICIENT_RESOURCES;
	file->object = object;
	file->access = location->Parameters.Create.SecurityContext->DesiredAccess;
	set_rights(object, file->access, location->Parameters.Create.ShareAccess);
	status = make_path(object, file);
	if (NT_SUCCESS(status))
		status = share(file);
	if (NT_SUCCESS(status))
		status = open_host(file, disposition, options, information);
	if (!NT_SUCCESS(status)) {
		io_host_close(file);
		unshare(file);
		ex_free(file);
		return status;
	}
	if (options & FILE_DELETE_ON_CLOSE)
		object->DeletePending = TRUE;
	object->FsContext = file;
	object->Flags |= FO_FILE_OPEN;
	return status;
}

/* The last handle is closed: delete now what is to be deleted. */
NTSTATUS io_host_cleanup(struct io_host_file *file)
{
	struct port_request request = {.operation = PORT_FILE_DELETE, .path = file->path};
	if (!file->entry.Flink)
		return STATUS_SUCCESS; /* done before */
	io_host_close(file);
	if (file->object->DeletePending)
		ke_request_run(&request);
	unshare(file);
	return request.error ? io_status_of_errno(request.error) : STATUS_SUCCESS;
}

void io_host_lock_initialize(void)
{
	ExInitializeFastMutex(&open_mutex);
}
