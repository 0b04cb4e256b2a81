/* SPDX-License-Identifier: MIT */
/*
 * request.c: host files, opened, read and written by a device thread that may block and call libc.
 *
 * The core pushes requests onto `submitted` without a lock; the thread takes all at once, restores
 * their order and completes each by ke_port_request_done. Paths are resolved below `root` by
 * openat2 with RESOLVE_BENEATH, so neither `..` nor a symbolic link leads out of the folder.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include "port/linux/host.h"

static int root = -1;
static struct port_request *_Atomic submitted;
static _Atomic uint32_t doorbell;

static int open_beneath(const char *path, uint64_t flags, uint64_t mode)
{
	struct open_how how = {.flags = flags | O_CLOEXEC,
			       .mode = mode,
			       .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	if (root < 0) {
		errno = ENOENT;
		return -1;
	}
	return (int)syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof how);
}

static int64_t do_open(struct port_request *r)
{
	bool write = r->flags & PORT_OPEN_WRITE;
	uint64_t access = write ? O_RDWR : O_RDONLY;
	if (r->flags & PORT_OPEN_DIRECTORY)
		access = O_RDONLY | O_DIRECTORY;
	if (!(r->flags & PORT_OPEN_CREATE)) {
		r->information = r->flags & PORT_OPEN_TRUNCATE ? 2 : 0;
		return open_beneath(r->path, access | (r->flags & PORT_OPEN_TRUNCATE ? O_TRUNC : 0),
				    0);
	}
	/* Whether it was there before is part of the answer: create exclusively first. */
	int file = open_beneath(r->path, access | O_CREAT | O_EXCL, 0666);
	r->information = 1;
	if (file >= 0 || errno != EEXIST || r->flags & PORT_OPEN_EXCLUSIVE)
		return file;
	r->information = r->flags & PORT_OPEN_TRUNCATE ? 2 : 0;
	return open_beneath(r->path, access | (r->flags & PORT_OPEN_TRUNCATE ? O_TRUNC : 0), 0);
}

static int do_delete(const char *path)
{
	char folder[4096];
	const char *name = strrchr(path, '/');
	size_t length = name ? (size_t)(name - path) : 0;
	if (length >= sizeof folder) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(folder, path, length);
	folder[length] = 0;
	int directory = open_beneath(folder, O_PATH | O_DIRECTORY, 0);
	if (directory < 0)
		return -1;
	name = name ? name + 1 : path;
	int result = unlinkat(directory, name, 0);
	if (result && errno == EISDIR)
		result = unlinkat(directory, name, AT_REMOVEDIR);
	int error = errno;
	close(directory);
	errno = error;
	return result;
}

static int64_t do_write(struct port_request *r)
{
	if (r->offset >= 0)
		return pwrite((int)r->handle, r->buffer, r->size, r->offset);
	struct stat status;
	if (fstat((int)r->handle, &status))
		return -1;
	return pwrite((int)r->handle, r->buffer, r->size, status.st_size);
}

static void perform(struct port_request *r)
{
	struct stat status;
	int64_t result = -1;
	int file = (int)r->handle;
	errno = 0;
	switch (r->operation) {
	case PORT_FILE_OPEN:
		result = r->handle = do_open(r);
		break;
	case PORT_FILE_CLOSE:
		result = close(file);
		break;
	case PORT_FILE_READ:
		result = pread(file, r->buffer, r->size, r->offset);
		r->information = result > 0 ? (uint64_t)result : 0;
		break;
	case PORT_FILE_WRITE:
		result = do_write(r);
		r->information = result > 0 ? (uint64_t)result : 0;
		break;
	case PORT_FILE_SIZE:
		result = fstat(file, &status);
		r->information = result ? 0 : (uint64_t)status.st_size;
		break;
	case PORT_FILE_RESIZE:
		result = ftruncate(file, r->offset);
		break;
	case PORT_FILE_FLUSH:
		result = fsync(file);
		break;
	case PORT_FILE_DELETE:
		result = do_delete(r->path);
		break;
	}
	r->error = result < 0 ? errno : 0;
}

static void *request_main(void *unused)
{
	(void)unused;
	for (;;) {
		uint32_t seen = atomic_load(&doorbell);
		struct port_request *list = atomic_exchange(&submitted, NULL), *ordered = NULL;
		if (!list) {
			host_futex_wait(&doorbell, seen, NULL);
			continue;
		}
		while (list) {
			struct port_request *next = list->next;
			list->next = ordered;
			ordered = list;
			list = next;
		}
		while (ordered) {
			struct port_request *next = ordered->next;
			perform(ordered);
			ke_port_request_done(ordered);
			ordered = next;
		}
	}
	return NULL;
}

void port_request_submit(struct port_request *request)
{
	struct port_request *head = atomic_load(&submitted);
	do
		request->next = head;
	while (!atomic_compare_exchange_weak(&submitted, &head, request));
	atomic_fetch_add(&doorbell, 1);
	host_futex_wake(&doorbell, 1);
}

bool port_files_set(const char *folder, int *error)
{
	int file = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (file < 0) {
		*error = errno;
		return false;
	}
	if (root >= 0)
		close(root);
	root = file;
	return true;
}

bool host_request_start(void)
{
	return host_device_start(request_main, NULL, "ketch-files");
}
