/* SPDX-License-Identifier: MIT */
/*
 * pd.c: protection domains, and the privileged token.
 *
 * IRQL <= DISPATCH_LEVEL; ndk_lock protects the list of its queues. A PD is what regions, windows
 * and queue pairs have in common: an access checks for it (region.c). The privileged token is one
 * for each opening of an adapter: it stands for logical addresses, locally only.
 *
 * Implements NDK-29, NDK-38, NDK-48, NDK-133.
 */
#include "ndk/internal.h"

static NDK_FN_GET_PRIVILEGED_MEMORY_REGION_TOKEN get_privileged_token;

static const NDK_PD_DISPATCH dispatch = {
	.NdkClosePd = ndk_close,
	.NdkQueryExtension = ndk_query_extension,
	.NdkCreateMr = ndk_create_mr,
	.NdkCreateMw = ndk_create_mw,
	.NdkCreateSrq = ndk_create_srq,
	.NdkCreateQp = ndk_create_qp,
	.NdkCreateQpWithSrq = ndk_create_qp_with_srq,
	.NdkGetPrivilegedMemoryRegionToken = get_privileged_token,
};

static const struct ndk_class pd_class = {
	.name = "protection domain",
	.type = NdkObjectTypePd,
	.size = sizeof(struct ndk_pd),
	.dispatch = &dispatch,
};

/*
 * Make a protection domain. IRQL <= DISPATCH_LEVEL. STATUS_SUCCESS (*ppNdkPd set), STATUS_PENDING,
 * STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_DEVICE_STATE. (NDK-38)
 */
NTSTATUS NTAPI ndk_create_pd(NDK_ADAPTER *pNdkAdapter, NDK_FN_CREATE_COMPLETION *CreateCompletion,
			     PVOID RequestContext, NDK_PD **ppNdkPd)
{
	uint64_t caller = NDK_CALLER();
	struct ndk_adapter *adapter = (struct ndk_adapter *)pNdkAdapter;
	if (!ndk_object_enter(adapter, NdkObjectTypeAdapter, "NdkCreatePd", caller))
		return STATUS_INVALID_DEVICE_STATE;
	NTSTATUS status = STATUS_INSUFFICIENT_RESOURCES;
	struct ndk_pd *pd = ndk_object_allocate(&pd_class, &adapter->object, caller);
	if (pd) {
		InitializeListHead(&pd->queues);
		status = ndk_create_done(pd, NULL, NDK_FUNCTION_CreatePd, CreateCompletion,
					 RequestContext, (void **)ppNdkPd);
	}
	ndk_object_leave(adapter);
	return status;
}

void ndk_pd_link(struct ndk_pd *pd, struct ndk_queue_entry *entry, void *object)
{
	entry->object = object;
	KIRQL old = ke_lock_raise(&ndk_lock);
	InsertTailList(&pd->queues, &entry->entry);
	ke_lock_lower(&ndk_lock, old);
}

void ndk_pd_unlink(struct ndk_queue_entry *entry)
{
	if (!entry->object)
		return;
	KIRQL old = ke_lock_raise(&ndk_lock);
	RemoveEntryList(&entry->entry);
	ke_lock_lower(&ndk_lock, old);
}

/* The token for NDK_SGEs with logical addresses (NdkBuildLAM). IRQL <= DISPATCH_LEVEL. (NDK-48) */
static VOID NTAPI get_privileged_token(NDK_PD *pNdkPd, UINT32 *pToken)
{
	struct ndk_pd *pd = (struct ndk_pd *)pNdkPd;
	if (!ndk_object_enter(pd, NdkObjectTypePd, "NdkGetPrivilegedMemoryRegionToken",
			      NDK_CALLER()))
		return;
	*pToken = pd->object.adapter->privileged_token;
	ndk_object_leave(pd);
}
