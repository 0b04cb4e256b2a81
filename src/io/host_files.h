/* SPDX-License-Identifier: MIT */
/* host_files.h: open files of the host, for the two halves of their file system. */
#pragma once

#include "io/io_internal.h"

#define HOST_PATH_MAX 1024

/* FILE_OBJECT.FsContext. */
struct io_host_file {
	LIST_ENTRY entry; /* of open files; its mutex */
	PFILE_OBJECT object;
	ACCESS_MASK access;
	int64_t handle;
	bool open, directory;
	char path[HOST_PATH_MAX]; /* below the folder, '/' separated */
};

NTSTATUS io_host_create(PIRP irp, PIO_STACK_LOCATION location, ULONG_PTR *information);
NTSTATUS io_host_cleanup(struct io_host_file *file);
void io_host_close(struct io_host_file *file);
void io_host_lock_initialize(void);
