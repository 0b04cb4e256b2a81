/* SPDX-License-Identifier: MIT */
/*
 * mr.c: memory regions: creation, close, tokens. The rest is mr_register.c and, by work requests,
 * change.c.
 *
 * IRQL <= DISPATCH_LEVEL; see mr_register.c and, for mr->lock, change.c.
 * Implements NDK-27, NDK-43, NDK-52, NDK-123, NDK-128 (close), DEF-1. Chosen: a close deregisters
 * or invalidates, without an answer of its own; tokens are 0 in states that have none.
 */
#include "ndk/mr.h"
#include "rtl/rtl.h"

static void describe(const struct ndk_object *object, char *text, size_t size)
{
	const struct ndk_mr *mr = (const struct ndk_mr *)object;
	rtl_print(text, size, ", token 0x%08x, %s", atomic_load(&mr->remote_token),
		  ndk_mr_state_name(atomic_load(&mr->state)));
}

/* ---- Creation and close ---------------------------------------------------------------------- */

/* Nobody gets at the bytes from here on: a fast registration looks under the lock whether the
 * region is closing. */
static void begin_close(struct ndk_object *object)
{
	struct ndk_mr *mr = (struct ndk_mr *)object;
	/* Refused: a request's end comes first, and its slot may go at any time. */
	if (!NT_SUCCESS(ndk_mr_step(&mr->state, NDK_MR_CLOSE)) || !mr->region)
		return;
	KIRQL old = ke_lock_raise(&mr->lock);
	ndk_region_close(mr->region);
	ke_lock_lower(&mr->lock, old);
}

static void destroy(struct ndk_object *object)
{
	struct ndk_mr *mr = (struct ndk_mr *)object;
	if (mr->region)
		ndk_region_close(mr->region);
	ndk_mr_source_forget(mr);
	ndk_mr_clear(mr);
}

static NDK_FN_GET_REMOTE_TOKEN_FROM_MR get_remote_token;
static NDK_FN_GET_LOCAL_TOKEN_FROM_MR get_local_token;

static const NDK_MR_DISPATCH dispatch = {
	.NdkCloseMr = ndk_close,
	.NdkQueryExtension = ndk_query_extension,
	.NdkRegisterMr = ndk_register_mr,
	.NdkDeregisterMr = ndk_deregister_mr,
	.NdkInitializeFastRegisterMr = ndk_initialize_fast_register_mr,
	.NdkGetRemoteTokenFromMr = get_remote_token,
	.NdkGetLocalTokenFromMr = get_local_token,
};

const struct ndk_class ndk_mr_class = {
	.name = "memory region",
	.type = NdkObjectTypeMr,
	.size = sizeof(struct ndk_mr),
	.dispatch = &dispatch,
	.begin_close = begin_close,
	.destroy = destroy,
	.describe = describe,
};

/*
 * Make a memory region. IRQL <= DISPATCH_LEVEL. FastRegister: for NdkInitializeFastRegisterMr and
 * NdkFastRegister, else for NdkRegisterMr. STATUS_SUCCESS (*ppNdkMr set), STATUS_PENDING,
 * STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_DEVICE_STATE. (NDK-43)
 */
NTSTATUS NTAPI ndk_create_mr(NDK_PD *pNdkPd, BOOLEAN FastRegister,
			     NDK_FN_CREATE_COMPLETION *CreateCompletion, PVOID RequestContext,
			     NDK_MR **ppNdkMr)
{
	uint64_t caller = NDK_CALLER();
	struct ndk_pd *pd = (struct ndk_pd *)pNdkPd;
	if (!ndk_object_enter(pd, NdkObjectTypePd, "NdkCreateMr", caller))
		return STATUS_INVALID_DEVICE_STATE;
	NTSTATUS status = STATUS_INSUFFICIENT_RESOURCES;
	struct ndk_mr *mr = ndk_object_allocate(&ndk_mr_class, &pd->object, caller);
	if (mr) {
		mr->pd = pd;
		mr->fast = FastRegister;
		mr->effective = FastRegister ? NDK_MR_FAST_CREATED : NDK_MR_CREATED;
		atomic_init(&mr->state, mr->effective);
		status = ndk_create_done(mr, NULL, NDK_FUNCTION_CreateMr, CreateCompletion,
					 RequestContext, (void **)ppNdkMr);
	}
	ndk_object_leave(pd);
	return status;
}

/* ---- Tokens ---------------------------------------------------------------------------------- */

static bool has_token(const struct ndk_mr *mr)
{
	uint32_t state = atomic_load_explicit(&mr->state, memory_order_acquire);
	return state == NDK_MR_REGISTERED || state == NDK_MR_INITIALIZED || state == NDK_MR_FAST;
}

/* For peers. IRQL <= DISPATCH_LEVEL. 0: not registered, or not initialised. (NDK-52, NDK-123) */
static UINT32 NTAPI get_remote_token(NDK_MR *pNdkMr)
{
	struct ndk_mr *mr = (struct ndk_mr *)pNdkMr;
	if (!ndk_object_enter(mr, NdkObjectTypeMr, "NdkGetRemoteTokenFromMr", NDK_CALLER()))
		return 0;
	uint32_t token =
		has_token(mr) ? atomic_load_explicit(&mr->remote_token, memory_order_relaxed) : 0;
	ndk_object_leave(mr);
	return token;
}

/* For NDK_SGE. IRQL <= DISPATCH_LEVEL. 0: not registered, or not initialised. (NDK-52, NDK-123) */
static UINT32 NTAPI get_local_token(NDK_MR *pNdkMr)
{
	struct ndk_mr *mr = (struct ndk_mr *)pNdkMr;
	if (!ndk_object_enter(mr, NdkObjectTypeMr, "NdkGetLocalTokenFromMr", NDK_CALLER()))
		return 0;
	uint32_t token = has_token(mr) ? ndk_mr_local_token(mr) : 0;
	ndk_object_leave(mr);
	return token;
}
