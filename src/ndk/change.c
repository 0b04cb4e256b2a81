/* SPDX-License-Identifier: MIT */
/*
 * change.c: what work requests do to regions and windows: fast register, bind, invalidate.
 *
 * Requests take effect in queue order, but the consumer may post FastRegister, Send and Invalidate
 * back to back (NDK-130). So there are two states: `state` is what it will be when everything
 * posted has run, and decides what may be posted; `effective` is what the region is now. A change
 * is made when its request is posted and steps `state`; it is applied when its turn comes, or
 * dropped when the request is flushed. When no change is left, `state` follows `effective`: a
 * request that failed leaves the region as it was before.
 *
 * Contexts and locks: IRQL <= DISPATCH_LEVEL. The object's `lock` (DISPATCH_LEVEL; a window's
 * before its region's) protects `state`, `effective`, `posted` and, for windows, the binding. A
 * gate is closed under it: that waits for accesses, which take no lock.
 *
 * Implements NDK-108, NDK-109 (the invalidating half), NDK-130, NDK-131. Chosen: a window of a fast
 * register dies with the registration that it was bound to, and stays bound until it is
 * invalidated.
 */
#include "ndk/change.h"

/* ---- The end of a change --------------------------------------------------------------------- */

/* The lock is held. A change is over. */
static void settle_mr(struct ndk_mr *mr)
{
	uint32_t state = atomic_load_explicit(&mr->state, memory_order_relaxed);
	if (--mr->posted || state == NDK_MR_CLOSED || state == NDK_MR_INITIALIZING)
		return; /* whose end is the next step */
	atomic_compare_exchange_strong(&mr->state, &state, mr->effective);
}

static void settle_mw(struct ndk_mw *mw)
{
	if (!--mw->posted)
		mw->state = mw->effective;
}

/* The lock is held: the region is open no more. False: it was not. */
static bool invalidate_mr(struct ndk_mr *mr)
{
	if (mr->effective != NDK_MR_FAST)
		return false;
	ndk_region_close(mr->region);
	mr->generation++;
	mr->effective = NDK_MR_INITIALIZED;
	ndk_mr_source_forget(mr);
	ndk_memory_clear(&mr->memory, &mr->run);
	ex_free(mr->pages);
	mr->pages = NULL;
	return true;
}

/* The lock is held: the window is open no more. Returns the region that it was bound to, to be let
 * go without the lock; 0: it was not bound. */
static struct ndk_mr *invalidate_mw(struct ndk_mw *mw)
{
	struct ndk_mr *mr = mw->mr;
	if (!mr)
		return NULL;
	ndk_region_close(mw->region);
	ndk_region_give(mw->region);
	mw->region = NULL;
	mw->effective = NDK_MW_FREE;
	mw->mr = NULL;
	ndk_memory_clear(&mw->memory, &mw->run);
	atomic_fetch_sub(&mr->windows, 1);
	return mr;
}

static NTSTATUS apply_fast_register(struct ndk_change *change)
{
	struct ndk_mr *mr = (struct ndk_mr *)change->object;
	NTSTATUS status = STATUS_INVALID_DEVICE_STATE;
	KIRQL old = ke_lock_raise(&mr->lock);
	if (ndk_closing(&mr->object)) {
		status = STATUS_CANCELLED;
	} else if (mr->effective == NDK_MR_INITIALIZED) {
		mr->memory = change->memory;
		mr->run = change->run;
		if (mr->memory.runs == &change->run)
			mr->memory.runs = &mr->run;
		change->memory.runs = &change->run;
		mr->pages = change->backing.pages;
		ndk_region_set(mr->region, &mr->object, mr->pd, mr->memory.start, mr->memory.length,
			       mr->memory.rights, &change->backing);
		change->backing = (struct ndk_backing){0};
		if (!ndk_device_tokens(&mr->object))
			ndk_region_retoken(mr->region, mr->memory.remote_token);
		mr->effective = NDK_MR_FAST;
		change->generation = mr->generation;
		if (vf_on())
			ndk_mr_source_pages(mr);
		ndk_region_open(mr->region);
		status = STATUS_SUCCESS;
	}
	settle_mr(mr);
	ke_lock_lower(&mr->lock, old);
	return status;
}

/* Both locks are held. */
static NTSTATUS bind_now(struct ndk_change *change, struct ndk_mw *mw, struct ndk_mr *mr)
{
	struct ndk_backing part = {0};
	uint32_t state = mr->fast ? mr->effective : atomic_load(&mr->state);
	if (ndk_closing(&mw->object) || ndk_closing(&mr->object))
		return STATUS_CANCELLED;
	if (mw->mr || (state != NDK_MR_FAST && state != NDK_MR_REGISTERED))
		return STATUS_INVALID_DEVICE_STATE;
	NTSTATUS status = ndk_change_range(mr, &change->memory);
	if (!NT_SUCCESS(status))
		return status;
	uint64_t offset = change->memory.start - mr->memory.start;
	if (mr->region->base) {
		part.base = mr->region->base + offset;
	} else {
		uint64_t at = mr->region->offset + offset;
		part.pages = mr->region->pages + at / NDK_PAGE_SIZE;
		part.offset = at % NDK_PAGE_SIZE;
	}
	change->run.base = part.base ? part.base : part.pages[0] + part.offset;
	mw->mr = mr;
	mw->region = change->region;
	change->region = NULL;
	mw->generation = mr->generation;
	mw->memory = change->memory;
	/* For peers only: its token in an SGE is refused. */
	unsigned remote = mw->memory.rights & (NDK_RIGHT_REMOTE_READ | NDK_RIGHT_REMOTE_WRITE);
	ndk_region_set(mw->region, &mw->object, mw->pd, mw->memory.start, mw->memory.length,
		       remote | NDK_REGION_WINDOW, &part);
	mw->effective = NDK_MW_BOUND;
	ndk_region_open(mw->region);
	return STATUS_SUCCESS;
}

static NTSTATUS apply_bind(struct ndk_change *change)
{
	struct ndk_mw *mw = (struct ndk_mw *)change->object;
	struct ndk_mr *mr = change->mr;
	bool kept = ndk_antecedent_add(mw, mr);
	KIRQL old = ke_lock_raise(&mw->lock);
	ke_lock_acquire(&mr->lock);
	NTSTATUS status = kept ? bind_now(change, mw, mr) : STATUS_INSUFFICIENT_RESOURCES;
	ke_lock_release(&mr->lock);
	settle_mw(mw);
	ke_lock_lower(&mw->lock, old);
	if (!NT_SUCCESS(status)) {
		atomic_fetch_sub(&mr->windows, 1);
		if (kept)
			ndk_antecedent_drop(mw, mr);
	}
	ndk_busy_put(&mr->object);
	return status;
}

/* `token`: what a peer said, 0: it was posted. The object may have got another meanwhile. */
static NTSTATUS apply_invalidation(struct ndk_object *object, uint32_t token)
{
	bool done = false;
	struct ndk_mr *bound = NULL;
	if (object->class->type == NdkObjectTypeMr) {
		struct ndk_mr *mr = (struct ndk_mr *)object;
		KIRQL old = ke_lock_raise(&mr->lock);
		if (!token || mr->memory.remote_token == token)
			done = invalidate_mr(mr);
		mr->posted += token != 0;
		settle_mr(mr);
		ke_lock_lower(&mr->lock, old);
	} else {
		struct ndk_mw *mw = (struct ndk_mw *)object;
		KIRQL old = ke_lock_raise(&mw->lock);
		if (!token || mw->memory.remote_token == token)
			bound = invalidate_mw(mw);
		done = bound;
		mw->posted += token != 0;
		settle_mw(mw);
		ke_lock_lower(&mw->lock, old);
	}
	if (bound)
		ndk_antecedent_drop(object, bound);
	return done ? STATUS_SUCCESS : STATUS_INVALID_DEVICE_STATE;
}

static NTSTATUS apply(struct ndk_change *change)
{
	return change->kind == NDK_CHANGE_FAST_REGISTER ? apply_fast_register(change)
	       : change->kind == NDK_CHANGE_BIND        ? apply_bind(change)
							: apply_invalidation(change->object, 0);
}

void ndk_change_fail(struct ndk_change *change)
{
	change->fails = true;
}

NTSTATUS ndk_change_apply(struct ndk_change *change)
{
	if (change->fails) {
		ndk_change_drop(change);
		return STATUS_ACCESS_VIOLATION;
	}
	NTSTATUS status = apply(change);
	ndk_change_free(change);
	return status;
}

/* One change more is posted, or it is over. */
static void count(struct ndk_object *object, bool more)
{
	if (object->class->type == NdkObjectTypeMr) {
		struct ndk_mr *mr = (struct ndk_mr *)object;
		KIRQL old = ke_lock_raise(&mr->lock);
		mr->posted += more;
		if (!more)
			settle_mr(mr);
		ke_lock_lower(&mr->lock, old);
	} else {
		struct ndk_mw *mw = (struct ndk_mw *)object;
		KIRQL old = ke_lock_raise(&mw->lock);
		mw->posted += more;
		if (!more)
			settle_mw(mw);
		ke_lock_lower(&mw->lock, old);
	}
}

/* An invalidation: the region that the window is bound to, counted once more. 0: none. */
static struct ndk_mr *hold_bound(struct ndk_object *object)
{
	struct ndk_mw *mw = (struct ndk_mw *)object;
	if (object->class->type != NdkObjectTypeMw)
		return NULL;
	KIRQL old = ke_lock_raise(&mw->lock);
	struct ndk_mr *mr = mw->mr;
	if (mr) {
		atomic_fetch_add(&mr->windows, 1);
		ndk_busy_get(&mr->object);
	}
	ke_lock_lower(&mw->lock, old);
	return mr;
}

NTSTATUS ndk_change_apply_early(struct ndk_change *change)
{
	bool invalidates = change->kind == NDK_CHANGE_INVALIDATE;
	if (change->fails)
		return STATUS_ACCESS_VIOLATION;
	struct ndk_mr *held = invalidates ? hold_bound(change->object) : NULL;
	count(change->object, true);
	NTSTATUS status = apply(change);
	change->kind = NDK_CHANGE_APPLIED;
	if (NT_SUCCESS(status) && !invalidates)
		change->kind = NDK_CHANGE_UNDOABLE;
	change->mr = held;
	return status;
}

/* The request failed after all (NDK-130), and nothing else has changed the object since. */
static void undo(struct ndk_change *change)
{
	struct ndk_mr *bound = NULL;
	if (change->object->class->type == NdkObjectTypeMr) {
		struct ndk_mr *mr = (struct ndk_mr *)change->object;
		KIRQL old = ke_lock_raise(&mr->lock);
		if (mr->generation == change->generation)
			invalidate_mr(mr);
		ke_lock_lower(&mr->lock, old);
	} else {
		struct ndk_mw *mw = (struct ndk_mw *)change->object;
		KIRQL old = ke_lock_raise(&mw->lock);
		if (mw->memory.remote_token == change->memory.remote_token)
			bound = invalidate_mw(mw);
		ke_lock_lower(&mw->lock, old);
	}
	if (bound)
		ndk_antecedent_drop(change->object, bound);
}

void ndk_change_end(struct ndk_change *change, NTSTATUS status)
{
	if (change->kind == NDK_CHANGE_UNDOABLE && !NT_SUCCESS(status))
		undo(change);
	ndk_change_drop(change);
}

void ndk_change_drop(struct ndk_change *change)
{
	count(change->object, false);
	if (change->mr) {
		atomic_fetch_sub(&change->mr->windows, 1);
		ndk_busy_put(&change->mr->object);
	}
	ndk_change_free(change);
}

const struct ndk_memory *ndk_change_memory(const struct ndk_change *change)
{
	return change->kind == NDK_CHANGE_INVALIDATE ? NULL : &change->memory;
}

char *ndk_change_base(const struct ndk_change *change)
{
	return change->run.base;
}

void *ndk_change_object(const struct ndk_change *change)
{
	return change->object;
}

void *ndk_change_region(const struct ndk_change *change)
{
	return change->kind == NDK_CHANGE_BIND ? (void *)change->mr : change->object;
}

/* ---- By a peer ------------------------------------------------------------------------------- */

/* Device tokens are not in our table: look through the PD's objects. Referenced; 0: none. */
static struct ndk_object *find_device_token(struct ndk_pd *pd, uint32_t token)
{
	struct ndk_object *found = NULL;
	KIRQL old = ke_lock_raise(&ndk_lock);
	for (LIST_ENTRY *entry = ndk_objects.Flink; entry != &ndk_objects && !found;
	     entry = entry->Flink) {
		struct ndk_object *object = CONTAINING_RECORD(entry, struct ndk_object, all);
		if (object->adapter != pd->object.adapter)
			continue;
		if ((ndk_change_usable(object, NdkObjectTypeMr, pd) &&
		     atomic_load(&((struct ndk_mr *)object)->remote_token) == token) ||
		    (ndk_change_usable(object, NdkObjectTypeMw, pd) &&
		     atomic_load(&((struct ndk_mw *)object)->remote_token) == token))
			found = ndk_busy_try(object) ? object : NULL;
	}
	ke_lock_lower(&ndk_lock, old);
	return found;
}

bool ndk_remote_invalidate(struct ndk_pd *pd, uint32_t token)
{
	unsigned rights;
	struct ndk_object *object = ndk_device_tokens(&pd->object)
					    ? find_device_token(pd, token)
					    : ndk_region_owner(pd, token, &rights);
	if (!object)
		return false;
	bool fast = object->class->type != NdkObjectTypeMr || ((struct ndk_mr *)object)->fast;
	NTSTATUS status = fast ? apply_invalidation(object, token) : STATUS_INVALID_PARAMETER;
	ndk_busy_put(object);
	return NT_SUCCESS(status);
}
