/* SPDX-License-Identifier: MIT */
/*
 * change_post.c: the posting half of fast register, bind and invalidate: checks, copies, the next
 * step of the state. See change.c.
 *
 * IRQL <= DISPATCH_LEVEL; locks as in change.c.
 *
 * Implements NDK-64..66, NDK-124, NDK-125..127, NDK-130, NDK-131, DEF-1, DEF-91..94, VER-60.
 * Chosen: tokens of regions do not change with a registration (DEF-1) but under
 * --strict=ndk-tokens; a window gets a new one with each bind, from the same counter as regions do
 * (region.c), which can only be read after it.
 */
#include "ndk/change.h"
#include "rtl/rtl.h"

#define FLAGS_REMOTE                                                                               \
	(NDK_OP_FLAG_ALLOW_REMOTE_READ |                                                           \
	 (NDK_OP_FLAG_ALLOW_REMOTE_WRITE & ~NDK_OP_FLAG_ALLOW_LOCAL_WRITE))

static unsigned rights_of(ULONG flags)
{
	unsigned rights = NDK_RIGHT_LOCAL_READ;
	if (flags & NDK_OP_FLAG_ALLOW_REMOTE_WRITE)
		rights |= NDK_RIGHT_LOCAL_WRITE;
	if (flags & (NDK_OP_FLAG_ALLOW_REMOTE_WRITE & ~NDK_OP_FLAG_ALLOW_LOCAL_WRITE))
		rights |= NDK_RIGHT_REMOTE_WRITE;
	if (flags & NDK_OP_FLAG_ALLOW_REMOTE_READ)
		rights |= NDK_RIGHT_REMOTE_READ;
	if (flags & NDK_OP_FLAG_RDMA_READ_SINK)
		rights |= NDK_RIGHT_READ_SINK;
	return rights;
}

bool ndk_change_usable(const void *pointer, NDK_OBJECT_TYPE type, const struct ndk_pd *pd)
{
	const struct ndk_object *object = pointer;
	if (!object || object->signature != NDK_SIGNATURE || object->class->type != type ||
	    ndk_closing(object))
		return false;
	return (type == NdkObjectTypeMr ? ((const struct ndk_mr *)object)->pd
					: ((const struct ndk_mw *)object)->pd) == pd;
}

static struct ndk_change *make(enum ndk_change_kind kind, void *object)
{
	struct ndk_change *change = ex_allocate(sizeof(*change), NDK_TAG, NonPagedPoolNx);
	if (!change)
		return NULL;
	change->kind = kind;
	change->object = object;
	ndk_busy_get(object);
	return change;
}

void ndk_change_free(struct ndk_change *change)
{
	struct ndk_object *object = change->object;
	if (change->region)
		ndk_region_give(change->region);
	ndk_backing_free(&change->backing);
	ndk_memory_clear(&change->memory, &change->run);
	ex_free(change);
	ndk_busy_put(object);
}

static void report_state(enum vf_rule rule, const char *function, const struct ndk_mr *mr,
			 uint64_t caller)
{
	vf_report(rule, function, caller, (uint64_t)mr,
		  "is called on the memory region %p (token 0x%08x), made for %s registration, "
		  "which is %s",
		  mr, atomic_load(&mr->remote_token), mr->fast ? "fast" : "normal",
		  ndk_mr_state_name(atomic_load(&mr->state)));
}

/* ---- Posting: fast register ------------------------------------------------------------------ */

static NTSTATUS check_pages(const struct ndk_mr *mr, ULONG count, const void *pages, ULONG *fbo,
			    SIZE_T length, PVOID base, uint64_t caller)
{
	static const char function[] = "NdkFastRegister";
	if (!pages || !count || count > mr->pages_most || !length || *fbo >= NDK_PAGE_SIZE ||
	    length > (SIZE_T)count * NDK_PAGE_SIZE - *fbo) {
		vf_report(VF_NdkFastRegister, function, caller, (uint64_t)mr,
			  "asks for %u pages (%p), offset %u, %Iu bytes of a memory region "
			  "initialised for %u pages",
			  count, pages, *fbo, length, mr->pages_most);
		return STATUS_INVALID_PARAMETER;
	}
	if (BYTE_OFFSET(base) == *fbo)
		return STATUS_SUCCESS;
	if (!*fbo) { /* DEF-93 */
		vf_report(VF_NdkFastBase, function, caller, (uint64_t)mr,
			  "passes the offset 0 with the base %p, whose low bits are not 0", base);
		return STATUS_SUCCESS;
	}
	vf_report(VF_NdkFastRegister, function, caller, (uint64_t)mr,
		  "passes the offset %u with the base %p, whose low bits differ", *fbo, base);
	return STATUS_INVALID_PARAMETER;
}

NTSTATUS ndk_change_fast_register(NDK_MR *handle, ULONG count, CONST NDK_LOGICAL_ADDRESS *pages,
				  ULONG fbo, SIZE_T length, PVOID base, ULONG flags,
				  struct ndk_pd *pd, uint64_t caller, struct ndk_change **out)
{
	static const char function[] = "NdkFastRegister";
	struct ndk_mr *mr = (struct ndk_mr *)handle;
	if (!ndk_change_usable(mr, NdkObjectTypeMr, pd)) {
		vf_report(VF_NdkObject, function, caller, (uint64_t)mr,
			  "is called with %p, which is no open memory region of the queue pair's "
			  "protection domain",
			  mr);
		return STATUS_INVALID_PARAMETER;
	}
	NTSTATUS status = mr->fast ? check_pages(mr, count, pages, &fbo, length, base, caller)
				   : STATUS_SUCCESS;
	if (NT_SUCCESS(status) && mr->fast && (flags & FLAGS_REMOTE) && !mr->remote_access)
		status = STATUS_ACCESS_VIOLATION;
	if (!NT_SUCCESS(status))
		return status;
	struct ndk_change *change = make(NDK_CHANGE_FAST_REGISTER, mr);
	if (!change)
		return STATUS_INSUFFICIENT_RESOURCES;
	if (mr->fast)
		status = ndk_backing_of_pages(pages, count, fbo, &change->backing);
	change->memory.start = (uint64_t)base;
	change->memory.length = length;
	change->memory.rights = rights_of(flags);
	if (NT_SUCCESS(status) && mr->object.adapter->device->provider->mr_initialize)
		status = ndk_memory_list(&change->memory, &change->backing, 0, &change->run);
	if (!NT_SUCCESS(status))
		goto drop;

	KIRQL old = ke_lock_raise(&mr->lock);
	status = ndk_mr_step(&mr->state, NDK_MR_FAST_REGISTER);
	if (NT_SUCCESS(status)) {
		uint32_t token = atomic_load_explicit(&mr->remote_token, memory_order_relaxed);
		if (ndk_strict_tokens)
			token = ndk_token_turn(token);
		change->memory.remote_token = token;
		atomic_store_explicit(&mr->remote_token, token, memory_order_relaxed);
		mr->posted++;
	}
	ke_lock_lower(&mr->lock, old);
	if (NT_SUCCESS(status)) {
		*out = change;
		return STATUS_SUCCESS;
	}
	report_state(VF_NdkMrState, function, mr, caller);
drop:
	ndk_change_free(change);
	return status;
}

/* ---- Posting: bind --------------------------------------------------------------------------- */

NTSTATUS ndk_change_range(const struct ndk_mr *mr, const struct ndk_memory *window)
{
	uint64_t offset = window->start - mr->memory.start;
	if (!window->length || offset > mr->memory.length ||
	    window->length > mr->memory.length - offset)
		return STATUS_INVALID_PARAMETER;
	if ((window->rights & NDK_RIGHT_REMOTE_WRITE) &&
	    !(mr->memory.rights & NDK_RIGHT_LOCAL_WRITE))
		return STATUS_ACCESS_VIOLATION;
	return STATUS_SUCCESS;
}

/* The region's next step; what it is later is checked again then. Counts the window. */
static NTSTATUS take_region(struct ndk_mr *mr, const struct ndk_memory *window, uint64_t caller)
{
	static const char function[] = "NdkBind";
	KIRQL old = ke_lock_raise(&mr->lock);
	atomic_fetch_add(&mr->windows, 1); /* seq_cst, before the step: see NdkDeregisterMr */
	NTSTATUS status = ndk_mr_step(&mr->state, NDK_MR_BIND);
	bool state = !NT_SUCCESS(status);
	if (!state && (!mr->fast || (mr->effective == NDK_MR_FAST && !mr->posted)))
		status = ndk_change_range(mr, window);
	if (!NT_SUCCESS(status))
		atomic_fetch_sub(&mr->windows, 1);
	ke_lock_lower(&mr->lock, old);
	if (state)
		report_state(VF_NdkMrState, function, mr, caller);
	else if (!NT_SUCCESS(status))
		vf_report(VF_NdkWindow, function, caller, (uint64_t)mr,
			  "binds %I64u bytes at 0x%I64x to a memory region of %I64u bytes at "
			  "0x%I64x%s",
			  window->length, window->start, mr->memory.length, mr->memory.start,
			  status == STATUS_ACCESS_VIOLATION ? " that lacks local write" : "");
	return status;
}

/* The window's next step. */
static NTSTATUS take_window(struct ndk_mw *mw, struct ndk_change *change, uint64_t caller)
{
	KIRQL old = ke_lock_raise(&mw->lock);
	bool bound = mw->state == NDK_MW_BOUND;
	if (!bound) {
		mw->state = NDK_MW_BOUND;
		mw->posted++;
		uint32_t token = ndk_region_token(change->region);
		if (ndk_device_tokens(&mw->object)) {
			token = mw->next_token;
			mw->next_token = ndk_token_turn(token);
		}
		change->memory.remote_token = token;
		atomic_store_explicit(&mw->remote_token, token, memory_order_relaxed);
	}
	ke_lock_lower(&mw->lock, old);
	if (!bound)
		return STATUS_SUCCESS;
	vf_report(VF_NdkWindow, "NdkBind", caller, (uint64_t)mw,
		  "binds the memory window %p (token 0x%08x), which is bound", mw,
		  atomic_load(&mw->remote_token));
	return STATUS_INVALID_DEVICE_STATE;
}

NTSTATUS ndk_change_bind(NDK_MR *mr_handle, NDK_MW *mw_handle, PVOID address, SIZE_T length,
			 ULONG flags, struct ndk_pd *pd, uint64_t caller, struct ndk_change **out)
{
	struct ndk_mr *mr = (struct ndk_mr *)mr_handle;
	struct ndk_mw *mw = (struct ndk_mw *)mw_handle;
	bool region = ndk_change_usable(mr, NdkObjectTypeMr, pd);
	if (!region || !ndk_change_usable(mw, NdkObjectTypeMw, pd)) {
		vf_report(VF_NdkObject, "NdkBind", caller, (uint64_t)(region ? (void *)mw : mr),
			  "is called with %p, which is no open memory %s of the queue pair's "
			  "protection domain",
			  region ? (void *)mw : (void *)mr, region ? "window" : "region");
		return STATUS_INVALID_PARAMETER;
	}
	if (length > mr->object.adapter->info.MaxWindowSize)
		return STATUS_INVALID_PARAMETER;
	struct ndk_change *change = make(NDK_CHANGE_BIND, mw);
	if (!change)
		return STATUS_INSUFFICIENT_RESOURCES;
	change->memory.start = (uint64_t)address;
	change->memory.length = length;
	change->memory.rights = rights_of(flags);
	change->region = ndk_region_take();
	NTSTATUS status = change->region ? take_region(mr, &change->memory, caller)
					 : STATUS_INSUFFICIENT_RESOURCES;
	if (!NT_SUCCESS(status))
		goto drop;
	change->mr = mr;
	ndk_busy_get(&mr->object);
	status = take_window(mw, change, caller);
	if (NT_SUCCESS(status)) {
		*out = change;
		return STATUS_SUCCESS;
	}
	atomic_fetch_sub(&mr->windows, 1);
	ndk_busy_put(&mr->object);
drop:
	ndk_change_free(change);
	return status;
}

/* ---- Posting: invalidate --------------------------------------------------------------------- */

static NTSTATUS take_invalidation_mr(struct ndk_mr *mr, uint64_t caller)
{
	KIRQL old = ke_lock_raise(&mr->lock);
	NTSTATUS status = ndk_mr_step(&mr->state, NDK_MR_INVALIDATE);
	if (NT_SUCCESS(status))
		mr->posted++;
	ke_lock_lower(&mr->lock, old);
	if (!NT_SUCCESS(status))
		report_state(mr->fast ? VF_NdkMrState : VF_NdkMrInvalidate, "NdkInvalidate", mr,
			     caller);
	return status;
}

static NTSTATUS take_invalidation_mw(struct ndk_mw *mw, uint64_t caller)
{
	KIRQL old = ke_lock_raise(&mw->lock);
	bool bound = mw->state == NDK_MW_BOUND;
	if (bound) {
		mw->state = NDK_MW_FREE;
		mw->posted++;
	}
	ke_lock_lower(&mw->lock, old);
	if (bound)
		return STATUS_SUCCESS;
	vf_report(VF_NdkWindow, "NdkInvalidate", caller, (uint64_t)mw,
		  "invalidates the memory window %p, which is not bound", mw);
	return STATUS_INVALID_DEVICE_STATE;
}

NTSTATUS ndk_change_invalidate(NDK_OBJECT_HEADER *header, struct ndk_pd *pd, uint64_t caller,
			       struct ndk_change **out)
{
	bool window = ndk_change_usable(header, NdkObjectTypeMw, pd);
	if (!window && !ndk_change_usable(header, NdkObjectTypeMr, pd)) {
		vf_report(VF_NdkObject, "NdkInvalidate", caller, (uint64_t)header,
			  "is called with %p, which is no open region or window of the queue "
			  "pair's protection domain",
			  header);
		return STATUS_INVALID_PARAMETER;
	}
	struct ndk_change *change = make(NDK_CHANGE_INVALIDATE, header);
	if (!change)
		return STATUS_INSUFFICIENT_RESOURCES;
	NTSTATUS status = window ? take_invalidation_mw((struct ndk_mw *)header, caller)
				 : take_invalidation_mr((struct ndk_mr *)header, caller);
	if (NT_SUCCESS(status))
		*out = change;
	else
		ndk_change_free(change);
	return status;
}
