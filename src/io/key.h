/* SPDX-License-Identifier: MIT */
/* key.h: the registry's tree, for the files of io that offer it to drivers. */
#pragma once

#include "io/io_internal.h"

struct io_value {
	LIST_ENTRY entry;
	UNICODE_STRING name;
	ULONG type, size;
	UCHAR *data;
};

struct io_node {
	LIST_ENTRY entry; /* in the parent's children */
	struct io_node *parent;
	LIST_ENTRY children, values;
	ULONG child_count, value_count;
	ULONG references; /* the tree's and key objects' */
	bool deleted;
	LARGE_INTEGER written;
	UNICODE_STRING name;
};

/* The body of a key object. */
struct io_key {
	struct io_node *node; /* constant */
};

enum io_key_create { IO_KEY_OPEN, IO_KEY_LAST, IO_KEY_ALL };

/* Protects all nodes and values. */
void io_key_lock(void);
void io_key_unlock(void);

/* A key object by name, referenced. STATUS_OBJECT_NAME_NOT_FOUND, STATUS_KEY_DELETED, ... */
NTSTATUS io_key_open(const OBJECT_ATTRIBUTES *attributes, enum io_key_create create,
		     struct io_key **key, ULONG *disposition);
NTSTATUS io_key_reference(HANDLE handle, struct io_key **key);

/* Under the lock. */
struct io_value *io_value_find(struct io_node *node, const UNICODE_STRING *name);
NTSTATUS io_value_set(struct io_node *node, const UNICODE_STRING *name, ULONG type,
		      const void *data, ULONG size);
void io_value_remove(struct io_node *node, struct io_value *value);
/* STATUS_CANNOT_DELETE: it has children, or is the root. */
NTSTATUS io_node_delete(struct io_node *node);

/*
 * An answer with a fixed part and more: what does not fit is cut (STATUS_BUFFER_OVERFLOW); when not
 * even the fixed part fits, nothing is written (STATUS_BUFFER_TOO_SMALL).
 */
struct io_out {
	UCHAR *buffer;
	ULONG length, fixed, need;
};
void io_out_begin(struct io_out *out, void *buffer, ULONG length, ULONG fixed, ULONG need,
		  PULONG result);
void io_out_put(struct io_out *out, ULONG at, const void *data, ULONG size);
NTSTATUS io_out_end(const struct io_out *out);

/* A value of the service's key. */
NTSTATUS io_registry_store(const UNICODE_STRING *service, const UNICODE_STRING *name, ULONG type,
			   const void *data, ULONG size);
/* UTF-8 to UTF-16 without terminator: bytes, or 0 for bad or too long text. */
USHORT io_widen(const char *text, WCHAR *to, size_t room);
