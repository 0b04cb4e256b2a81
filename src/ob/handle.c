/* SPDX-License-Identifier: MIT */
/*
 * handle.c: the handle table of the kernel.
 *
 * A handle is slot and generation of an entry, shifted by 2 (multiples of 4); one with
 * OBJ_KERNEL_HANDLE has bit 31 and all above it set. The generation changes when a handle is
 * closed, so that a stale value does not match the next owner of the slot; free slots are reused
 * oldest first.
 *
 * Contexts: <= APC_LEVEL. Locks: `lock` (DISPATCH_LEVEL) for the table; references are taken under
 * it, given back outside. Implements PLT-43, DEF-147, DEF-154 (type 0 in kernel mode);
 * NtCurrentProcess() and NtCurrentThread() are understood.
 */
#include "ob/ob_internal.h"

#define SLOT_BITS       16
#define SLOTS_MAX       (1u << SLOT_BITS)
#define GENERATION_MASK 0x1fffu
#define KERNEL_BIT      0xffffffff80000000ull

struct slot {
	struct ob_header *object; /* 0: free */
	uint32_t generation;
	ACCESS_MASK access;
	bool kernel;
	uint32_t next_free;
	uint64_t caller;
};

static struct ke_lock lock;
static struct slot *slots; /* [0] is never used: handle 0 is none */
static uint32_t slot_count, free_first, free_last;

static void free_append(uint32_t index)
{
	slots[index].next_free = 0;
	if (free_last)
		slots[free_last].next_free = index;
	else
		free_first = index;
	free_last = index;
}

/* Double the table. The lock is not held. */
static bool grow(uint32_t seen)
{
	uint32_t want = seen ? seen * 2 : 256;
	struct slot *larger, *old_slots = 0;
	if (want > SLOTS_MAX)
		return false;
	larger = ob_allocate(want * sizeof(*larger));
	if (!larger)
		return false;
	KIRQL old = ke_lock_raise(&lock);
	if (slot_count == seen) {
		if (seen)
			memcpy(larger, slots, seen * sizeof(*larger));
		old_slots = slots;
		slots = larger;
		slot_count = want;
		for (uint32_t n = seen ? seen : 1; n < want; n++) {
			slots[n].generation = 0;
			free_append(n);
		}
	} else {
		old_slots = larger; /* somebody else was faster */
	}
	ke_lock_lower(&lock, old);
	if (old_slots)
		ex_free(old_slots);
	return true;
}

NTSTATUS ob_handle_initialize(void)
{
	return grow(0) ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
}

static HANDLE value_of(uint32_t index)
{
	uint64_t value = ((uint64_t)slots[index].generation << SLOT_BITS | index) << 2;
	return (HANDLE)(slots[index].kernel ? value | KERNEL_BIT : value);
}

/* Under the lock. The two low bits of a handle are the caller's own (documented). */
static struct slot *find(HANDLE handle)
{
	uint64_t value = (uint64_t)handle & ~3ull;
	uint32_t index = value >> 2 & (SLOTS_MAX - 1);
	if (!index || index >= slot_count || !slots[index].object ||
	    (uint64_t)value_of(index) != value)
		return 0;
	return &slots[index];
}

NTSTATUS ob_handle_create(void *body, ACCESS_MASK access, ULONG attributes, uint64_t caller,
			  HANDLE *handle)
{
	struct ob_header *header = ob_header_of(body);
	KIRQL old;
	if (access & (GENERIC_ALL | MAXIMUM_ALLOWED))
		access = header->type->all_access | (access & 0x0ffffffu & ~MAXIMUM_ALLOWED);
	for (;;) {
		uint32_t seen;
		old = ke_lock_raise(&lock);
		if (free_first)
			break;
		seen = slot_count;
		ke_lock_lower(&lock, old);
		if (!grow(seen))
			return STATUS_INSUFFICIENT_RESOURCES;
	}
	uint32_t index = free_first;
	struct slot *slot = &slots[index];
	free_first = slot->next_free;
	if (!free_first)
		free_last = 0;
	slot->object = header;
	slot->access = access;
	slot->kernel = attributes & OBJ_KERNEL_HANDLE;
	slot->caller = caller;
	ob_reference(body);
	atomic_fetch_add_explicit(&header->handles, 1, memory_order_relaxed);
	*handle = value_of(index);
	ke_lock_lower(&lock, old);
	return STATUS_SUCCESS;
}

NTSTATUS ob_handle_reference(HANDLE handle, ACCESS_MASK access, POBJECT_TYPE type,
			     KPROCESSOR_MODE mode, void **body, ACCESS_MASK *granted)
{
	NTSTATUS status = STATUS_SUCCESS;
	struct ob_header *header = 0;
	ACCESS_MASK have = 0;
	*body = 0;
	if (handle == (HANDLE)-1 || handle == (HANDLE)-2) {
		PKTHREAD thread = ke_thread();
		header = ob_header_of(handle == (HANDLE)-1 ? (void *)thread->Process
							   : (void *)thread);
		have = header->type->all_access;
		ob_reference(ob_body_of(header));
	} else {
		KIRQL old = ke_lock_raise(&lock);
		struct slot *slot = find(handle);
		if (slot && !(mode != KernelMode && slot->kernel)) {
			header = slot->object;
			have = slot->access;
			ob_reference(ob_body_of(header));
		}
		ke_lock_lower(&lock, old);
	}
	if (!header)
		return STATUS_INVALID_HANDLE;
	if (type && header->type != type)
		status = STATUS_OBJECT_TYPE_MISMATCH;
	else if (mode != KernelMode && access & ~have)
		status = STATUS_ACCESS_DENIED;
	if (!NT_SUCCESS(status)) {
		ob_dereference(ob_body_of(header));
		return status;
	}
	if (granted)
		*granted = have;
	*body = ob_body_of(header);
	return STATUS_SUCCESS;
}

NTSTATUS ob_handle_close(HANDLE handle)
{
	struct ob_header *header = 0;
	KIRQL old = ke_lock_raise(&lock);
	struct slot *slot = find(handle);
	if (slot) {
		header = slot->object;
		slot->object = 0;
		slot->generation = (slot->generation + 1) & GENERATION_MASK;
		free_append((uint32_t)(slot - slots));
	}
	ke_lock_lower(&lock, old);
	if (!header)
		return STATUS_INVALID_HANDLE;
	if (atomic_fetch_sub_explicit(&header->handles, 1, memory_order_acq_rel) == 1) {
		if (header->type->last_handle)
			header->type->last_handle(ob_body_of(header));
		ob_name_last_handle(header);
	}
	ob_dereference(ob_body_of(header));
	return STATUS_SUCCESS;
}

/* Handles that the driver opened and did not close (VER-38). */
void ob_handle_unload(const struct vf_unload *unload)
{
	for (uint32_t n = 1;; n++) {
		HANDLE handle = 0;
		const char *type = 0;
		uint64_t caller = 0;
		KIRQL old = ke_lock_raise(&lock);
		bool more = n < slot_count;
		if (more && slots[n].object && slots[n].caller >= unload->base &&
		    slots[n].caller < unload->end) {
			handle = value_of(n);
			type = slots[n].object->type->name;
			caller = slots[n].caller;
		}
		ke_lock_lower(&lock, old);
		if (!more)
			return;
		if (handle)
			vf_unload_left(unload, VF_ObjectLeft, (void *)caller, handle,
				       "the %s handle %p open", type, handle);
	}
}
