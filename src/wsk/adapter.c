/* SPDX-License-Identifier: MIT */
/*
 * adapter.c: NDK adapters of a client: opened by interface index, closed by the client.
 *
 * Contexts and locks: PASSIVE_LEVEL. `wsk_lock` protects the client's list; it is not held while an
 * adapter is opened or closed, which may wait.
 *
 * Implements DEF-60, DEF-68..70, DEF-72, NDK-111..113. Statuses (DEF-69): STATUS_NOT_FOUND,
 * STATUS_NOT_SUPPORTED for an interface without NDK, STATUS_DEVICE_NOT_READY for an RNIC whose NDK
 * is disabled, NDIS_STATUS_BAD_VERSION unchanged. Chosen: at DISPATCH_LEVEL, where neither can
 * wait, opening answers STATUS_INVALID_DEVICE_STATE and closing does nothing, both after the
 * report.
 */
#include "ex/ex.h"
#include "ndis/ndis.h"
#include "ndk/ndk.h"
#include "wsk/wsk_internal.h"

static NTSTATUS open(NET_IFINDEX index, NDK_VERSION version, uint64_t caller, NDK_ADAPTER **adapter)
{
	const struct ndis_interface *interface = ndis_interface_by_index(index);
	if (!interface)
		return STATUS_NOT_FOUND;
	if (interface->kind == NDIS_SOFTWARE_LOOPBACK)
		return STATUS_NOT_SUPPORTED;
	NTSTATUS status = ndk_adapter_open(index, version, caller, adapter);
	return status == NDIS_STATUS_NOT_READY_ ? STATUS_DEVICE_NOT_READY : status;
}

/*
 * Open the RNIC of an interface: an adapter of its own for each call. IRQL = PASSIVE_LEVEL.
 * STATUS_SUCCESS, or *NdkAdapter is 0: the statuses above, STATUS_INVALID_PARAMETER,
 * STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_DEVICE_STATE: no capture, or a wrong IRQL.
 */
static NTSTATUS WSKAPI wsk_open_ndk_adapter(PWSK_CLIENT client, NDK_VERSION version,
					    NET_IFINDEX index, NDK_ADAPTER **adapter)
{
	uint64_t caller = VF_CALLER();
	if (!adapter)
		return STATUS_INVALID_PARAMETER;
	*adapter = NULL;
	struct wsk_client *entered = wsk_enter(client, PASSIVE_LEVEL, "WskOpenNdkAdapter", caller);
	if (!entered)
		return STATUS_INVALID_DEVICE_STATE;
	struct wsk_adapter *new = ex_allocate(sizeof(*new), WSK_TAG, NonPagedPoolNx);
	NTSTATUS status =
		new ? open(index, version, caller, &new->adapter) : STATUS_INSUFFICIENT_RESOURCES;
	if (NT_SUCCESS(status)) {
		new->index = index;
		new->caller = caller;
		KIRQL old = ke_lock_raise(&wsk_lock);
		InsertTailList(&entered->adapters, &new->entry);
		ke_lock_lower(&wsk_lock, old);
		*adapter = new->adapter;
	} else {
		ex_free(new);
	}
	wsk_leave(entered);
	return status;
}

/* The client's open adapter, from now on closing; 0: it has none like that. */
static struct wsk_adapter *take(struct wsk_client *client, const NDK_ADAPTER *adapter)
{
	struct wsk_adapter *found = NULL;
	KIRQL old = ke_lock_raise(&wsk_lock);
	for (LIST_ENTRY *entry = client->adapters.Flink; entry != &client->adapters && !found;
	     entry = entry->Flink) {
		struct wsk_adapter *candidate = CONTAINING_RECORD(entry, struct wsk_adapter, entry);
		if (candidate->adapter == adapter && !candidate->closing)
			found = candidate;
	}
	if (found)
		found->closing = true;
	ke_lock_lower(&wsk_lock, old);
	return found;
}

/*
 * Close an adapter: returns when all its objects are closed and none of their callbacks runs.
 * IRQL = PASSIVE_LEVEL, not inside a callback. What is no open adapter of this client: no effect.
 */
static VOID WSKAPI wsk_close_ndk_adapter(PWSK_CLIENT client, NDK_ADAPTER *adapter)
{
	uint64_t caller = VF_CALLER();
	struct wsk_client *entered = wsk_enter(client, PASSIVE_LEVEL, "WskCloseNdkAdapter", caller);
	if (!entered)
		return;
	struct wsk_adapter *found = take(entered, adapter);
	if (found) {
		ndk_adapter_close(adapter, caller);
		KIRQL old = ke_lock_raise(&wsk_lock);
		RemoveEntryList(&found->entry);
		ke_lock_lower(&wsk_lock, old);
		ex_free(found);
	} else if (vf_on()) {
		vf_report(VF_WskAdapter, "WskCloseNdkAdapter", caller, (uint64_t)adapter,
			  "is called with %p, which is no open adapter of this client", adapter);
	}
	wsk_leave(entered); /* wakes who waits for the adapter */
}

void wsk_adapters_left(const struct vf_unload *unload, struct wsk_client *client)
{
	for (;;) {
		struct wsk_adapter *found = NULL;
		KIRQL old = ke_lock_raise(&wsk_lock);
		for (LIST_ENTRY *entry = client->adapters.Flink;
		     entry != &client->adapters && !found; entry = entry->Flink) {
			struct wsk_adapter *adapter =
				CONTAINING_RECORD(entry, struct wsk_adapter, entry);
			if (!adapter->closing)
				found = adapter;
		}
		if (found)
			found->closing = true; /* nobody will */
		ke_lock_lower(&wsk_lock, old);
		if (!found)
			return;
		vf_unload_left(unload, VF_WskLeft, (const void *)found->caller, found->adapter,
			       "the adapter %p of interface %u open", (void *)found->adapter,
			       (unsigned)found->index);
	}
}

const WSK_PROVIDER_NDK_DISPATCH wsk_ndk_dispatch = {
	.WskOpenNdkAdapter = wsk_open_ndk_adapter,
	.WskCloseNdkAdapter = wsk_close_ndk_adapter,
};
