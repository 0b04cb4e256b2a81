/* SPDX-License-Identifier: MIT */
/*
 * ob.h: objects: their header, types, names and handles.
 *
 * An object is a body behind a header that only this part knows; everybody holds pointers to
 * bodies. It has a count of references (its memory lives while that is above 0) and a count of open
 * handles. A name is a weak entry in a directory: it goes when the object dies or, for types that
 * say so, when the last handle is closed.
 *
 * IRQL: references <= DISPATCH_LEVEL; all else <= APC_LEVEL. The last dereference above
 * PASSIVE_LEVEL hands the object to the reaper thread, so the type's `destroy` always runs at
 * PASSIVE_LEVEL.
 */
#pragma once

#include "ke/ke.h"

/* A kind of object. Drivers hold pointers to it (*PsThreadType) and never look inside. */
struct _OBJECT_TYPE {
	const char *name;    /* as WinObj shows it: "Device" */
	int32_t wait_offset; /* of the DISPATCHER_HEADER in the body; negative: cannot be waited on
			      */
	bool name_with_handles; /* the name goes with the last handle (unless permanent), not with
				   the object */
	ACCESS_MASK all_access; /* what GENERIC_ALL and MAXIMUM_ALLOWED mean */
	void (*last_handle)(void *body); /* PASSIVE: the last handle was closed; may be 0 */
	void (*destroy)(void *body); /* PASSIVE: nobody refers to it; its memory goes afterwards;
					may be 0 */
	/* Write the full name (no terminator) of an object that is not named in a directory; 0: it
	 * has none. Returns the characters it takes; writes at most `room` of them. May be 0. */
	size_t (*full_name)(const void *body, WCHAR *to, size_t room);
	_Atomic uint32_t objects; /* alive */
};

#define OB_NOT_WAITABLE (-1)

extern struct _OBJECT_TYPE ob_directory_type, ob_link_type, ob_event_type, ob_semaphore_type;

/* Boot: makes the namespace. Before any thread but the boot thread runs. */
NTSTATUS ob_initialize(void);
/* Body of the reaper thread (ps starts it): deletes what died above PASSIVE_LEVEL. Never returns.
 */
void ob_reaper(void *unused);
/* Wait until everything that was handed to the reaper before the call is gone. PASSIVE_LEVEL. */
void ob_drain(void);

/* ---- Objects ---- */

/* A zeroed body (16-byte aligned) with one reference, the caller's; no name.
 * STATUS_INSUFFICIENT_RESOURCES. <= DISPATCH. */
NTSTATUS ob_create(POBJECT_TYPE type, size_t size, void **body);
/*
 * Give an object its name and permanence (OBJ_PERMANENT); attributes 0 or without a name: it stays
 * anonymous. With OBJ_OPENIF and an object of the same type there: STATUS_OBJECT_NAME_EXISTS,
 * *existing referenced (existing may be 0 without OBJ_OPENIF). STATUS_OBJECT_NAME_COLLISION,
 * _NAME_INVALID, _PATH_SYNTAX_BAD, _PATH_NOT_FOUND, _TYPE_MISMATCH, INVALID_PARAMETER.
 */
NTSTATUS ob_insert(void *body, const OBJECT_ATTRIBUTES *attributes, void **existing);
/* The same with a plain name. */
NTSTATUS ob_insert_name(void *body, const UNICODE_STRING *name, ULONG attributes);
/* Find by name and reference; type 0: any. STATUS_OBJECT_NAME_NOT_FOUND, _PATH_NOT_FOUND,
 * _TYPE_MISMATCH, ... */
NTSTATUS ob_open(const OBJECT_ATTRIBUTES *attributes, POBJECT_TYPE type, void **body);
NTSTATUS ob_open_name(const UNICODE_STRING *name, POBJECT_TYPE type, void **body);

/* Where a name led: an object, and what of the name lies behind it (devices and keys parse that
 * themselves). */
struct ob_path {
	void *body;          /* referenced */
	UNICODE_STRING rest; /* begins with the separator, unless it is all of a relative name; in
				`buffer` */
	void *buffer;
};
/* As ob_open, but an object that is not a directory takes the rest of the name. Ends with
 * ob_path_release. */
NTSTATUS ob_lookup(const OBJECT_ATTRIBUTES *attributes, struct ob_path *path);
void ob_path_release(struct ob_path *path); /* frees the buffer and drops the reference, if any */

POBJECT_TYPE ob_type(const void *body);
void ob_reference(void *body);
/* False when the object is already dying. For weak tables under a lock that `destroy` takes too. */
bool ob_reference_try(void *body);
void ob_dereference(void *body);
int64_t ob_reference_count(const void *body);
int32_t ob_handle_count(const void *body);
/* Drop OBJ_PERMANENT (and the reference that it holds). */
void ob_make_temporary(void *body);
/* Take the name away now. */
void ob_name_remove(void *body);
/* The full name without terminator; characters it takes (0: no name); writes at most `room`. */
size_t ob_name(const void *body, WCHAR *to, size_t room);

/* A symbolic link object: name -> target. STATUS_OBJECT_NAME_COLLISION ... <= APC. `caller`: who
 * made it, for unload checks. */
NTSTATUS ob_link_create(const OBJECT_ATTRIBUTES *attributes, const UNICODE_STRING *target,
			uint64_t caller, void **body);
NTSTATUS ob_directory_create(const OBJECT_ATTRIBUTES *attributes, void **body);

/* ---- Handles: multiples of 4; a closed one never comes back to life with the next object of its
 * slot ---- */

/* Takes its own reference. `caller`: the driver's address that asks, 0 for the core. */
NTSTATUS ob_handle_create(void *body, ACCESS_MASK access, ULONG attributes, uint64_t caller,
			  HANDLE *handle);
/* STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH, STATUS_ACCESS_DENIED (user mode only). Knows
 * -1 and -2. */
NTSTATUS ob_handle_reference(HANDLE handle, ACCESS_MASK access, POBJECT_TYPE type,
			     KPROCESSOR_MODE mode, void **body, ACCESS_MASK *granted);
NTSTATUS ob_handle_close(HANDLE handle);
