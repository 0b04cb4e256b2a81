/* SPDX-License-Identifier: MIT */
/*
 * adapter.c: openings of RNICs.
 *
 * Each opening is an object of its own, whose close has no completion: ndk_adapter_close waits
 * until the last reference is gone, that is until every object made from it is closed and every
 * callback has returned, which is when the consumer may unload (NDK-111).
 *
 * Contexts: PASSIVE_LEVEL, but NdkCreate*, LAM. No locks: `handoff` says who frees the memory, the
 * closer or the last reference.
 *
 * Implements NDK-3, NDK-17, NDK-23, NDK-36, NDK-110..113, NDK-120b, DEF-68..70, VER-58. Chosen: a
 * close that waits longer than 5 s reports what it waits for, and goes on waiting; one inside a
 * callback is reported and does not wait.
 */
#include "ndk/ndk.h"
#include "ndk/lam.h"
#include "ndk/region.h"
#include "rtl/rtl.h"

uint32_t ndk_patience_ms = 5000;

static NDK_FN_QUERY_ADAPTER_INFO query_info;

static const NDK_ADAPTER_DISPATCH dispatch = {
	.NdkQueryExtension = ndk_query_extension,
	.NdkQueryAdapterInfo = query_info,
	.NdkCreateCq = ndk_create_cq,
	.NdkCreatePd = ndk_create_pd,
	.NdkCreateSharedEndpoint = ndk_create_shared_endpoint,
	.NdkCreateConnector = ndk_create_connector,
	.NdkCreateListener = ndk_create_listener,
	.NdkBuildLAM = ndk_build_lam,
	.NdkReleaseLAM = ndk_release_lam,
};

enum { HELD, ENDED, LEFT };

static void release(struct ndk_object *object)
{
	struct ndk_adapter *adapter = (struct ndk_adapter *)object;
	ndk_region_release_token(adapter->privileged_token);
	ndk_lam_clear(adapter);
	if (atomic_exchange(&adapter->handoff, ENDED) == LEFT)
		ex_free(adapter);
	else
		KeSetEvent(&adapter->gone, IO_NO_INCREMENT, FALSE);
}

static const struct ndk_class adapter_class = {
	.name = "adapter",
	.type = NdkObjectTypeAdapter,
	.size = sizeof(struct ndk_adapter),
	.dispatch = &dispatch,
	.release = release,
};

/* ---- Information ----------------------------------------------------------------------------- */

/* NDK-3, NDK-113: the highest minor of the major that was asked for. */
static bool version_of(NDK_VERSION asked, NDK_VERSION *version)
{
	static const NDK_VERSION supported[] = {{1, 2}, {2, 1}};
	for (unsigned i = 0; i < 2; i++) {
		if (supported[i].Major != asked.Major || asked.Minor > supported[i].Minor)
			continue;
		*version = supported[i];
		return true;
	}
	return false;
}

static void fill_info(NDK_ADAPTER_INFO *info, const struct ndk_limits *limits, NDK_VERSION version)
{
	*info = (NDK_ADAPTER_INFO){
		.Version = version,
		.VendorId = limits->vendor,
		.DeviceId = limits->device,
		.MaxRegistrationSize = limits->registration_size,
		.MaxWindowSize = limits->window_size,
		.FRMRPageCount = limits->fast_register_pages,
		.MaxInitiatorRequestSge = limits->initiator_sges,
		.MaxReceiveRequestSge = limits->receive_sges,
		.MaxReadRequestSge = limits->read_sges,
		.MaxTransferLength = limits->transfer_length,
		.MaxInlineDataSize = limits->inline_size,
		.MaxInboundReadLimit = limits->inbound_reads,
		.MaxOutboundReadLimit = limits->outbound_reads,
		.MaxReceiveQueueDepth = limits->receive_depth,
		.MaxInitiatorQueueDepth = limits->initiator_depth,
		.MaxSrqDepth = limits->srq_depth,
		.MaxCqDepth = limits->cq_depth,
		.LargeRequestThreshold = limits->large_request,
		.MaxCallerData = limits->caller_data,
		.MaxCalleeData = limits->callee_data,
		.AdapterFlags = limits->flags,
		.RdmaTechnology = (NDK_RDMA_TECHNOLOGY)limits->technology,
	};
}

/*
 * What the adapter can do. PASSIVE_LEVEL. *pBufferSize: bytes of *pInfo, then what is written or
 * needed; without RdmaTechnology it is what 1.x had. STATUS_SUCCESS; STATUS_BUFFER_TOO_SMALL;
 * STATUS_INVALID_DEVICE_STATE. (NDK-36, NDK-120b)
 */
static NTSTATUS NTAPI query_info(NDK_ADAPTER *pNdkAdapter, NDK_ADAPTER_INFO *pInfo,
				 ULONG *pBufferSize)
{
	static const char function[] = "NdkQueryAdapterInfo";
	struct ndk_adapter *adapter = (struct ndk_adapter *)pNdkAdapter;
	uint64_t caller = NDK_CALLER();
	NTSTATUS status = STATUS_SUCCESS;
	if (!ndk_object_enter(adapter, NdkObjectTypeAdapter, function, caller))
		return STATUS_INVALID_DEVICE_STATE;
	if (vf_on() && ke_irql() != PASSIVE_LEVEL)
		vf_report(VF_NdkIrql, function, caller, (uint64_t)adapter,
			  "is called at %s (%u), legal at PASSIVE_LEVEL only",
			  vf_irql_name(ke_irql()), ke_irql());
	const ULONG full = sizeof(NDK_ADAPTER_INFO);
	const ULONG old = offsetof(NDK_ADAPTER_INFO, RdmaTechnology);
	if (ndk_must_fail(NDK_FUNCTION_QueryAdapterInfo, &status))
		goto out;
	if (!pInfo || *pBufferSize < old) {
		*pBufferSize = full;
		status = STATUS_BUFFER_TOO_SMALL;
		goto out;
	}
	ULONG size = *pBufferSize < full ? old : full;
	memcpy(pInfo, &adapter->info, size);
	*pBufferSize = size;
out:
	ndk_object_leave(adapter);
	return status;
}

/* ---- Opening ----------------------------------------------------------------------------------
 */

struct opening {
	KEVENT done;
	NTSTATUS status;
};

static void opened(struct ndk_request *request)
{
	struct opening *opening = (struct opening *)(uintptr_t)request->argument;
	opening->status = request->status;
	KeSetEvent(&opening->done, IO_NO_INCREMENT, FALSE);
}

/* The provider's part; waits for it. */
static NTSTATUS make(struct ndk_adapter *adapter)
{
	const struct ndk_provider *provider = adapter->device->provider;
	struct opening opening;
	if (!provider->create)
		return STATUS_SUCCESS;
	struct ndk_request *request = ndk_request_pend(adapter, NULL, NULL, 0);
	if (!request)
		return STATUS_INSUFFICIENT_RESOURCES;
	KeInitializeEvent(&opening.done, NotificationEvent, FALSE);
	request->finish = opened;
	request->argument = (uintptr_t)&opening;
	adapter->object.creation = request;
	NTSTATUS status = provider->create(adapter, NDK_TYPE_ADAPTER, NULL);
	if (status != STATUS_PENDING) {
		ndk_request_discard(request);
		adapter->object.made = status == STATUS_SUCCESS;
		return status;
	}
	KeWaitForSingleObject(&opening.done, Executive, KernelMode, FALSE, NULL);
	return opening.status;
}

NTSTATUS ndk_adapter_open(uint32_t interface_index, NDK_VERSION version, uint64_t caller,
			  NDK_ADAPTER **out)
{
	NTSTATUS status;
	*out = NULL;
	const struct ndk_device *device = ndk_device_find(interface_index);
	if (!device)
		return STATUS_NOT_FOUND;
	if (ndk_must_fail(NDK_FUNCTION_OpenAdapter, &status))
		return status;
	NDK_VERSION highest;
	if (!version_of(version, &highest))
		return NDIS_STATUS_BAD_VERSION_;
	if (device->disabled)
		return NDIS_STATUS_NOT_READY_;
	struct ndk_adapter *adapter = ndk_object_allocate(&adapter_class, NULL, caller);
	if (!adapter)
		return STATUS_INSUFFICIENT_RESOURCES;
	adapter->object.adapter = adapter;
	adapter->object.header.Version = highest;
	adapter->device = device;
	InitializeListHead(&adapter->lams);
	fill_info(&adapter->info, &device->limits, highest);
	KeInitializeEvent(&adapter->gone, NotificationEvent, FALSE);
	adapter->privileged_token = ndk_region_reserve_token();
	status = adapter->privileged_token && ndk_object_private(&adapter->object)
			 ? make(adapter)
			 : STATUS_INSUFFICIENT_RESOURCES;
	if (!NT_SUCCESS(status)) {
		ndk_object_discard(adapter);
		KeWaitForSingleObject(&adapter->gone, Executive, KernelMode, FALSE, NULL);
		ex_free(adapter);
		return status;
	}
	ndk_object_publish(&adapter->object);
	*out = (NDK_ADAPTER *)adapter;
	return STATUS_SUCCESS;
}

/* ---- Closing -----------------------------------------------------------------------------------
 */

unsigned ndk_adapter_describe(NDK_ADAPTER *handle, char *text, size_t size)
{
	const struct ndk_adapter *adapter = (const struct ndk_adapter *)handle;
	unsigned count = 0;
	size_t used = 0;
	text[0] = 0;
	KIRQL old = ke_lock_raise(&ndk_lock);
	for (LIST_ENTRY *entry = ndk_objects.Flink; entry != &ndk_objects; entry = entry->Flink) {
		const struct ndk_object *object = CONTAINING_RECORD(entry, struct ndk_object, all);
		if (object->adapter != adapter || object->class == &adapter_class)
			continue;
		char where[48];
		vf_address_where(object->caller, where, sizeof where);
		if (used < size)
			used += rtl_print(text + used, size - used, "%sthe %s %p from %s",
					  count ? ", " : "", object->class->name, object, where);
		count++;
	}
	ke_lock_lower(&ndk_lock, old);
	return count;
}

static void wait(struct ndk_adapter *adapter, uint64_t caller)
{
	LARGE_INTEGER patience = {.QuadPart = -10000LL * ndk_patience_ms};
	char what[160];
	if (KeWaitForSingleObject(&adapter->gone, Executive, KernelMode, FALSE, &patience) !=
	    STATUS_TIMEOUT)
		return;
	unsigned count = ndk_adapter_describe((NDK_ADAPTER *)adapter, what, sizeof what);
	vf_report(VF_NdkAdapterClose, "NdkCloseAdapter", caller, (uint64_t)adapter,
		  "waits for %u open object%s: %s", count, count == 1 ? "" : "s", what);
	KeWaitForSingleObject(&adapter->gone, Executive, KernelMode, FALSE, NULL);
}

void ndk_adapter_close(NDK_ADAPTER *handle, uint64_t caller)
{
	static const char function[] = "NdkCloseAdapter";
	struct ndk_adapter *adapter = (struct ndk_adapter *)handle;
	uint32_t open = NDK_OPEN;
	if (!adapter || adapter->object.signature != NDK_SIGNATURE ||
	    adapter->object.class != &adapter_class ||
	    !atomic_compare_exchange_strong(&adapter->object.life, &open, NDK_CLOSING)) {
		vf_report(VF_NdkObject, function, caller, (uint64_t)adapter,
			  "is called with %p, which is no open adapter", adapter);
		return;
	}
	bool inside = ndk_in_callback(), high = ke_irql() != PASSIVE_LEVEL;
	if (inside || high)
		vf_report(VF_NdkAdapterClose, function, caller, (uint64_t)adapter,
			  "closes the adapter %p %s: that waits for itself", adapter,
			  inside ? "inside an NDK callback" : "above PASSIVE_LEVEL");
	ndk_busy_put(&adapter->object);
	if (!inside && !high)
		wait(adapter, caller);
	else if (atomic_exchange(&adapter->handoff, LEFT) != ENDED)
		return;
	ex_free(adapter);
}
