/* SPDX-License-Identifier: MIT */
/* ob_internal.h: the object header and what the files of this part share. */
#pragma once

#include "ex/ex.h"
#include "ob/ob.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

#define OB_ALIVE 0x4a624f41u /* signature: usable */
#define OB_DYING 0x4a624f44u /* no reference left, waits for its type's destroy */
#define OB_DEAD  0x4a624f58u /* destroyed; kept for a while to catch late uses */

struct ob_directory {
	LIST_ENTRY entries; /* of ob_header.entry; name lock */
	uint32_t count;
};

/*
 * references: the object dies at 0. handles: open ones; each holds a reference too.
 * parent, entry, name: the name lock. permanent: the name lock; it stands for one reference.
 */
struct ob_header {
	_Atomic uint32_t signature;
	_Atomic int32_t handles;
	_Atomic int64_t references;
	POBJECT_TYPE type;
	struct ob_header *parent; /* the directory that holds the name, referenced; 0: no name */
	LIST_ENTRY entry;
	WCHAR *name;
	uint16_t name_bytes;
	bool permanent;
	struct ob_header *next; /* reaper's stack, graveyard */
	size_t size;            /* of the body */
};
_Static_assert(sizeof(struct ob_header) % 16 == 0, "bodies are 16-byte aligned");

static inline struct ob_header *ob_header_of(const void *body)
{
	return (struct ob_header *)(uintptr_t)body - 1;
}

static inline void *ob_body_of(struct ob_header *header)
{
	return header + 1;
}

struct ob_link {
	UNICODE_STRING target; /* constant; own buffer */
	LARGE_INTEGER created;
	uint64_t caller;
	LIST_ENTRY all; /* link.c; name lock */
};

/* Zeroed. */
static inline void *ob_allocate(size_t size)
{
	return ex_allocate(size, 'jbOK', NonPagedPoolNx);
}

extern struct ob_header *ob_root;   /* the directory \ */
extern struct ke_lock ob_name_lock; /* directories, name fields of headers, the list of links */

/* Another handle is open; the last one was closed (name.c: names that go with the handles). */
void ob_name_last_handle(struct ob_header *header);
/* The object dies: unlink its name without asking (name.c). */
void ob_name_unlink(struct ob_header *header);

NTSTATUS ob_name_initialize(void);
NTSTATUS ob_handle_initialize(void);
