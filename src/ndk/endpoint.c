/* SPDX-License-Identifier: MIT */
/*
 * endpoint.c: shared endpoints: an address and port that several connections start from (NDK-144).
 *
 * The provider binds the address when it makes the endpoint. A connector that connects from it
 * keeps it as an antecedent. Contexts: IRQL <= DISPATCH_LEVEL; `local` is written before the
 * endpoint is handed out. Implements NDK-31, 40, 70, 135.
 *
 * Chosen: an unspecified address is STATUS_INVALID_ADDRESS, as for listeners.
 */
#include "ndk/connection.h"
#include "rtl/rtl.h"

void ndk_endpoint_bound(struct ndk_endpoint *endpoint, const struct ndk_address *local)
{
	endpoint->local = *local;
}

/*
 * Its address, with the port that was chosen. IRQL <= DISPATCH_LEVEL. STATUS_SUCCESS;
 * STATUS_BUFFER_TOO_SMALL: *pAddressLength bytes are needed. Source: NDK-70.
 */
static NTSTATUS NTAPI get_local_address(NDK_SHARED_ENDPOINT *pNdkSharedEndpoint, SOCKADDR *pAddress,
					ULONG *pAddressLength)
{
	struct ndk_endpoint *endpoint = (struct ndk_endpoint *)pNdkSharedEndpoint;
	if (!ndk_object_enter(endpoint, NdkObjectTypeSharedEndpoint, "NdkGetLocalAddress",
			      NDK_CALLER()))
		return STATUS_INVALID_DEVICE_STATE;
	NTSTATUS status;
	if (!ndk_must_fail(NDK_FUNCTION_GetLocalAddress, &status))
		status = ndk_address_store(&endpoint->local, pAddress, pAddressLength);
	ndk_object_leave(endpoint);
	return status;
}

static const NDK_SHARED_ENDPOINT_DISPATCH dispatch = {
	.NdkCloseSharedEndpoint = ndk_close,
	.NdkQueryExtension = ndk_query_extension,
	.NdkGetLocalAddress = get_local_address,
};

static const struct ndk_class class = {
	.name = "shared endpoint",
	.type = NdkObjectTypeSharedEndpoint,
	.size = sizeof(struct ndk_endpoint),
	.dispatch = &dispatch,
};

/*
 * Create a shared endpoint at an address of the adapter. IRQL <= DISPATCH_LEVEL. Port 0: one of
 * 49152 to 65535. STATUS_SUCCESS, STATUS_PENDING; STATUS_INVALID_ADDRESS; STATUS_SHARING_VIOLATION:
 * in use; STATUS_TOO_MANY_ADDRESSES: no port is left; STATUS_INSUFFICIENT_RESOURCES. Source:
 * NDK-40.
 */
NTSTATUS NTAPI ndk_create_shared_endpoint(NDK_ADAPTER *pNdkAdapter, CONST SOCKADDR *pAddress,
					  ULONG AddressLength,
					  NDK_FN_CREATE_COMPLETION *CreateCompletion,
					  PVOID RequestContext,
					  NDK_SHARED_ENDPOINT **ppNdkSharedEndpoint)
{
	struct ndk_endpoint_parameters parameters;
	uint64_t caller = NDK_CALLER();
	if (!ndk_object_enter(pNdkAdapter, NdkObjectTypeAdapter, "NdkCreateSharedEndpoint", caller))
		return STATUS_INVALID_DEVICE_STATE;
	NTSTATUS status = ndk_address_parse(pAddress, AddressLength, &parameters.address);
	if (NT_SUCCESS(status) && ndk_address_is_any(&parameters.address))
		status = STATUS_INVALID_ADDRESS;
	if (NT_SUCCESS(status)) {
		struct ndk_endpoint *endpoint =
			ndk_object_allocate(&class, (struct ndk_object *)pNdkAdapter, caller);
		status = STATUS_INSUFFICIENT_RESOURCES;
		if (endpoint)
			status = ndk_create_done(
				endpoint, &parameters, NDK_FUNCTION_CreateSharedEndpoint,
				CreateCompletion, RequestContext, (void **)ppNdkSharedEndpoint);
	}
	ndk_object_leave(pNdkAdapter);
	return status;
}
