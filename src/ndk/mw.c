/* SPDX-License-Identifier: MIT */
/*
 * mw.c: memory windows: creation, close, token. Binding and invalidation are change.c.
 *
 * IRQL <= DISPATCH_LEVEL; mw->lock. A window has a slot, and so a token, of its own for each bind,
 * until it is invalidated, and the region that it is bound to as an antecedent, which lets the
 * region's close wait (NDK-83).
 *
 * Implements NDK-28, NDK-44, NDK-53, NDK-131.
 */
#include "ndk/mr.h"
#include "rtl/rtl.h"

/* Nobody gets at the bytes through it from here on: a bind looks under the lock whether the window
 * is closing. */
static void begin_close(struct ndk_object *object)
{
	struct ndk_mw *mw = (struct ndk_mw *)object;
	KIRQL old = ke_lock_raise(&mw->lock);
	if (mw->region)
		ndk_region_close(mw->region);
	ke_lock_lower(&mw->lock, old);
}

static void destroy(struct ndk_object *object)
{
	struct ndk_mw *mw = (struct ndk_mw *)object;
	if (mw->region) {
		ndk_region_close(mw->region);
		ndk_region_give(mw->region);
	}
	if (mw->mr)
		atomic_fetch_sub(&mw->mr->windows, 1);
	ndk_memory_clear(&mw->memory, &mw->run);
}

static void describe(const struct ndk_object *object, char *text, size_t size)
{
	rtl_print(text, size, ", token 0x%08x",
		  atomic_load(&((const struct ndk_mw *)object)->remote_token));
}

static NDK_FN_GET_REMOTE_TOKEN_FROM_MW get_remote_token;

static const NDK_MW_DISPATCH dispatch = {
	.NdkCloseMw = ndk_close,
	.NdkQueryExtension = ndk_query_extension,
	.NdkGetRemoteTokenFromMw = get_remote_token,
};

const struct ndk_class ndk_mw_class = {
	.name = "memory window",
	.type = NdkObjectTypeMw,
	.size = sizeof(struct ndk_mw),
	.dispatch = &dispatch,
	.begin_close = begin_close,
	.destroy = destroy,
	.describe = describe,
};

/*
 * Make a memory window. IRQL <= DISPATCH_LEVEL. STATUS_SUCCESS (*ppNdkMw set), STATUS_PENDING,
 * STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_DEVICE_STATE. (NDK-44)
 */
NTSTATUS NTAPI ndk_create_mw(NDK_PD *pNdkPd, NDK_FN_CREATE_COMPLETION *CreateCompletion,
			     PVOID RequestContext, NDK_MW **ppNdkMw)
{
	uint64_t caller = NDK_CALLER();
	struct ndk_pd *pd = (struct ndk_pd *)pNdkPd;
	if (!ndk_object_enter(pd, NdkObjectTypePd, "NdkCreateMw", caller))
		return STATUS_INVALID_DEVICE_STATE;
	NTSTATUS status = STATUS_INSUFFICIENT_RESOURCES;
	struct ndk_mw *mw = ndk_object_allocate(&ndk_mw_class, &pd->object, caller);
	if (!mw)
		goto out;
	mw->pd = pd;
	status = ndk_create_done(mw, NULL, NDK_FUNCTION_CreateMw, CreateCompletion, RequestContext,
				 (void **)ppNdkMw);
out:
	ndk_object_leave(pd);
	return status;
}

/* ---- For providers ---- */

void ndk_memory_token(void *object, uint32_t remote_token)
{
	if (((struct ndk_object *)object)->class == &ndk_mw_class) {
		((struct ndk_mw *)object)->next_token = remote_token;
		return;
	}
	struct ndk_mr *mr = object;
	mr->memory.remote_token = remote_token;
	if (mr->fast)
		atomic_store_explicit(&mr->remote_token, remote_token, memory_order_relaxed);
}

struct ndk_pd *ndk_object_pd(const void *object)
{
	return ((const struct ndk_object *)object)->class == &ndk_mw_class
		       ? ((const struct ndk_mw *)object)->pd
		       : ((const struct ndk_mr *)object)->pd;
}

const struct ndk_device *ndk_object_device(const void *object)
{
	return ((const struct ndk_object *)object)->adapter->device;
}

/* For peers. IRQL <= DISPATCH_LEVEL. 0: NdkBind was never posted. (NDK-53, NDK-123) */
static UINT32 NTAPI get_remote_token(NDK_MW *pNdkMw)
{
	struct ndk_mw *mw = (struct ndk_mw *)pNdkMw;
	if (!ndk_object_enter(mw, NdkObjectTypeMw, "NdkGetRemoteTokenFromMw", NDK_CALLER()))
		return 0;
	uint32_t token = atomic_load_explicit(&mw->remote_token, memory_order_relaxed);
	ndk_object_leave(mw);
	return token;
}
