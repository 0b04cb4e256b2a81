/* SPDX-License-Identifier: MIT */
/*
 * object.c: the object header: references, death, and the reaper.
 *
 * Contexts: references are counted without a lock at any IRQL <= DISPATCH_LEVEL (and are harmless
 * above: nothing is taken). The last dereference destroys at once at PASSIVE_LEVEL with APCs on;
 * otherwise it pushes the object on `reaper_stack` and sets an event for the reaper thread. Locks:
 * none but the graveyard's (DISPATCH_LEVEL, innermost). Implements PLT-43, DEF-134, VER-33 (0x3F):
 * a dereference below 0 or a use of a dead object is reported and has no effect. Choice: with the
 * verifier on, the memory of the last GRAVES dead objects is kept, so that a late use finds the
 * header.
 */
#include "ob/ob_internal.h"

#define GRAVES 128

static _Atomic(struct ob_header *) reaper_stack;
static KEVENT reaper_event;
static _Atomic uint64_t reaper_pushed, reaper_done;
static struct ke_lock grave_lock;
static struct ob_header *graves[GRAVES];
static uint32_t grave_next;

NTSTATUS ob_initialize(void)
{
	NTSTATUS status;
	KeInitializeEvent(&reaper_event, SynchronizationEvent, FALSE);
	status = ob_name_initialize();
	if (NT_SUCCESS(status))
		status = ob_handle_initialize();
	return status;
}

NTSTATUS ob_create(POBJECT_TYPE type, size_t size, void **body)
{
	struct ob_header *header = ob_allocate(sizeof(*header) + size);
	if (!header)
		return STATUS_INSUFFICIENT_RESOURCES;
	header->type = type;
	header->size = size;
	atomic_init(&header->references, 1);
	atomic_init(&header->signature, OB_ALIVE);
	atomic_fetch_add_explicit(&type->objects, 1, memory_order_relaxed);
	*body = ob_body_of(header);
	return STATUS_SUCCESS;
}

static void bury(struct ob_header *header)
{
	struct ob_header *freed = header;
	if (vf_on()) {
		KIRQL old = ke_lock_raise(&grave_lock);
		freed = graves[grave_next];
		graves[grave_next] = header;
		grave_next = (grave_next + 1) % GRAVES;
		ke_lock_lower(&grave_lock, old);
	}
	if (freed)
		ex_free(freed);
}

/* PASSIVE_LEVEL. */
static void destroy(struct ob_header *header)
{
	POBJECT_TYPE type = header->type;
	ob_name_unlink(header);
	if (type->destroy)
		type->destroy(ob_body_of(header));
	atomic_fetch_sub_explicit(&type->objects, 1, memory_order_relaxed);
	atomic_store_explicit(&header->signature, OB_DEAD, memory_order_release);
	bury(header);
}

static void reap_later(struct ob_header *header)
{
	struct ob_header *head = atomic_load_explicit(&reaper_stack, memory_order_relaxed);
	atomic_fetch_add_explicit(&reaper_pushed, 1, memory_order_relaxed);
	do {
		header->next = head;
		/* release: pairs with the reaper's exchange */
	} while (!atomic_compare_exchange_weak_explicit(
		&reaper_stack, &head, header, memory_order_release, memory_order_relaxed));
	KeSetEvent(&reaper_event, IO_NO_INCREMENT, FALSE);
}

static void reap(void)
{
	struct ob_header *header = atomic_exchange_explicit(&reaper_stack, 0, memory_order_acquire);
	while (header) {
		struct ob_header *next = header->next;
		destroy(header);
		atomic_fetch_add_explicit(&reaper_done, 1, memory_order_release);
		header = next;
	}
}

void ob_reaper(void *unused)
{
	(void)unused;
	for (;;) {
		KeWaitForSingleObject(&reaper_event, Executive, KernelMode, FALSE, 0);
		reap();
	}
}

void ob_drain(void)
{
	LARGE_INTEGER pause = {.QuadPart = -10000};
	uint64_t target = atomic_load_explicit(&reaper_pushed, memory_order_acquire);
	while (atomic_load_explicit(&reaper_done, memory_order_acquire) < target) {
		KeSetEvent(&reaper_event, IO_NO_INCREMENT, FALSE);
		KeDelayExecutionThread(KernelMode, FALSE, &pause);
	}
}

/* False, after a report: the object is dead or was never one. `from`: the return address in the
 * caller. */
static bool usable(struct ob_header *header, const char *what, void *from)
{
	if ((uintptr_t)ob_body_of(header) < PORT_PAGE_SIZE) {
		vf_report(VF_ObjectReference, what, vf_caller(from), (uint64_t)ob_body_of(header),
			  "the object pointer is NULL");
		return false;
	}
	uint32_t signature = atomic_load_explicit(&header->signature, memory_order_acquire);
	int64_t references = atomic_load_explicit(&header->references, memory_order_relaxed);
	if (__builtin_expect(signature == OB_ALIVE && references > 0, 1))
		return true;
	const char *state =
		signature == OB_ALIVE || signature == OB_DYING || signature == OB_DEAD
			? "the object is already deleted: its last reference was given back before"
			: "this is not the address of an object";
	vf_report(VF_ObjectReference, what, vf_caller(from), (uint64_t)(header + 1), "%s", state);
	return false;
}

void ob_reference(void *body)
{
	struct ob_header *header = ob_header_of(body);
	if (usable(header, "ObReferenceObject", __builtin_return_address(0)))
		atomic_fetch_add_explicit(&header->references, 1, memory_order_relaxed);
}

bool ob_reference_try(void *body)
{
	struct ob_header *header = ob_header_of(body);
	int64_t count = atomic_load_explicit(&header->references, memory_order_relaxed);
	while (count > 0) {
		if (atomic_compare_exchange_weak_explicit(&header->references, &count, count + 1,
							  memory_order_acquire,
							  memory_order_relaxed))
			return true;
	}
	return false;
}

/* Returns the count that is left. */
static int64_t dereference(struct ob_header *header, void *from)
{
	int64_t left;
	if (!usable(header, "ObDereferenceObject", from))
		return 0;
	left = atomic_fetch_sub_explicit(&header->references, 1, memory_order_acq_rel) - 1;
	if (left > 0)
		return left;
	if (left < 0) {
		/* Two threads gave back the same reference at once. */
		vf_report(VF_ObjectReference, "ObDereferenceObject", vf_caller(from),
			  (uint64_t)(header + 1), "the reference count dropped to %I64d", left);
		return 0;
	}
	atomic_store_explicit(&header->signature, OB_DYING, memory_order_release);
	if (ke_irql() == PASSIVE_LEVEL && !ke_thread()->special_apc_disable)
		destroy(header);
	else
		reap_later(header);
	return 0;
}

void ob_dereference(void *body)
{
	dereference(ob_header_of(body), __builtin_return_address(0));
}

POBJECT_TYPE ob_type(const void *body)
{
	return ob_header_of(body)->type;
}

int64_t ob_reference_count(const void *body)
{
	return atomic_load_explicit(&ob_header_of(body)->references, memory_order_relaxed);
}

int32_t ob_handle_count(const void *body)
{
	return atomic_load_explicit(&ob_header_of(body)->handles, memory_order_relaxed);
}

/* ---- DDIs ---- */

/* Take a reference. IRQL <= DISPATCH. Returns a count that is only good for debugging (DEF-134). */
LONG_PTR NTAPI ObfReferenceObject(PVOID Object)
{
	struct ob_header *header = ob_header_of(Object);
	if (!usable(header, "ObReferenceObject", __builtin_return_address(0)))
		return 0;
	return atomic_fetch_add_explicit(&header->references, 1, memory_order_relaxed) + 1;
}

LONG_PTR NTAPI ObfReferenceObjectWithTag(PVOID Object, ULONG Tag)
{
	(void)Tag;
	struct ob_header *header = ob_header_of(Object);
	if (!usable(header, "ObReferenceObjectWithTag", __builtin_return_address(0)))
		return 0;
	return atomic_fetch_add_explicit(&header->references, 1, memory_order_relaxed) + 1;
}

/* Give a reference back. IRQL <= DISPATCH (PLT-43). Returns a count that is only good for
 * debugging. */
LONG_PTR NTAPI ObfDereferenceObject(PVOID Object)
{
	return dereference(ob_header_of(Object), __builtin_return_address(0));
}

LONG_PTR NTAPI ObfDereferenceObjectWithTag(PVOID Object, ULONG Tag)
{
	(void)Tag;
	return dereference(ob_header_of(Object), __builtin_return_address(0));
}

/* As ObDereferenceObject, but never destroys on the caller's stack: legal under locks that a
 * destroy takes. */
VOID NTAPI ObDereferenceObjectDeferDelete(PVOID Object)
{
	struct ob_header *header = ob_header_of(Object);
	if (!usable(header, "ObDereferenceObjectDeferDelete", __builtin_return_address(0)))
		return;
	if (atomic_fetch_sub_explicit(&header->references, 1, memory_order_acq_rel) == 1) {
		atomic_store_explicit(&header->signature, OB_DYING, memory_order_release);
		reap_later(header);
	}
}

VOID NTAPI ObDereferenceObjectDeferDeleteWithTag(PVOID Object, ULONG Tag)
{
	(void)Tag;
	ObDereferenceObjectDeferDelete(Object);
}

/*
 * Take a reference after checking the type (0 allowed in kernel mode). IRQL <= DISPATCH.
 * STATUS_SUCCESS, STATUS_OBJECT_TYPE_MISMATCH.
 */
NTSTATUS NTAPI ObReferenceObjectByPointer(PVOID Object, ACCESS_MASK DesiredAccess,
					  POBJECT_TYPE ObjectType, KPROCESSOR_MODE AccessMode)
{
	struct ob_header *header = ob_header_of(Object);
	(void)DesiredAccess;
	if (!usable(header, "ObReferenceObjectByPointer", __builtin_return_address(0)))
		return STATUS_INVALID_PARAMETER;
	if (ObjectType ? header->type != ObjectType : AccessMode != KernelMode)
		return STATUS_OBJECT_TYPE_MISMATCH;
	atomic_fetch_add_explicit(&header->references, 1, memory_order_relaxed);
	return STATUS_SUCCESS;
}

NTSTATUS NTAPI ObReferenceObjectByPointerWithTag(PVOID Object, ACCESS_MASK DesiredAccess,
						 POBJECT_TYPE ObjectType,
						 KPROCESSOR_MODE AccessMode, ULONG Tag)
{
	(void)Tag;
	return ObReferenceObjectByPointer(Object, DesiredAccess, ObjectType, AccessMode);
}
