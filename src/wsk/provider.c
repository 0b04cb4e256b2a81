/* SPDX-License-Identifier: MIT */
/*
 * provider.c: the dispatch table that WskCaptureProviderNPI gives.
 *
 * Contexts: WskControlClient <= DISPATCH_LEVEL, the rest as their pages say; no locks of their own.
 *
 * Implements DEF-57..59, DEF-65..67, DEF-74: the control code 'NDKD', which fills the NDK dispatch
 * table by value. Sockets are not there: the functions that make one, and the other control codes,
 * answer STATUS_NOT_SUPPORTED, and complete the IRP with it when one is given. Chosen: an output
 * larger than the table is filled with the table.
 */
#include "io/io.h"
#include "ke/callout.h"
#include "ndk/ndk.h"
#include "wsk/wsk_internal.h"

/* The IRP is the caller's, as it would be for a driver below: the stack location is taken, and its
 * completion routine is the driver's code. */
static NTSTATUS answer(PIRP irp, NTSTATUS status)
{
	struct ke_call_record record;
	if (!irp)
		return status;
	if (irp->CurrentLocation > 1)
		IoSetNextIrpStackLocation(irp);
	irp->IoStatus.Status = status;
	irp->IoStatus.Information = 0;
	ke_callout_begin(&record, NULL);
	IofCompleteRequest(irp, IO_NO_INCREMENT);
	ke_callout_end(&record);
	return status;
}

static NTSTATUS refuse(PWSK_CLIENT client, PIRP irp, KIRQL highest, const char *function,
		       uint64_t caller)
{
	struct wsk_client *entered = wsk_enter(client, highest, function, caller);
	NTSTATUS status = answer(irp, entered ? STATUS_NOT_SUPPORTED : STATUS_DEVICE_NOT_READY);
	if (entered)
		wsk_leave(entered);
	return status;
}

static NTSTATUS WSKAPI wsk_socket(PWSK_CLIENT client, ADDRESS_FAMILY family, USHORT type,
				  ULONG protocol, ULONG flags, PVOID context, const VOID *dispatch,
				  PEPROCESS process, PETHREAD thread, PSECURITY_DESCRIPTOR security,
				  PIRP irp)
{
	(void)family, (void)type, (void)protocol, (void)flags, (void)context, (void)dispatch;
	(void)process, (void)thread, (void)security;
	return refuse(client, irp, DISPATCH_LEVEL, "WskSocket", VF_CALLER());
}

static NTSTATUS WSKAPI wsk_socket_connect(PWSK_CLIENT client, USHORT type, ULONG protocol,
					  PSOCKADDR local, PSOCKADDR remote, ULONG flags,
					  PVOID context,
					  const WSK_CLIENT_CONNECTION_DISPATCH *dispatch,
					  PEPROCESS process, PETHREAD thread,
					  PSECURITY_DESCRIPTOR security, PIRP irp)
{
	(void)type, (void)protocol, (void)local, (void)remote, (void)flags, (void)context;
	(void)dispatch, (void)process, (void)thread, (void)security;
	return refuse(client, irp, DISPATCH_LEVEL, "WskSocketConnect", VF_CALLER());
}

static NTSTATUS WSKAPI wsk_get_address_info(PWSK_CLIENT client, PUNICODE_STRING node,
					    PUNICODE_STRING service, ULONG name_space,
					    GUID *provider, PADDRINFOEXW hints,
					    PADDRINFOEXW *result, PEPROCESS process,
					    PETHREAD thread, PIRP irp)
{
	(void)node, (void)service, (void)name_space, (void)provider, (void)hints, (void)result;
	(void)process, (void)thread;
	return refuse(client, irp, PASSIVE_LEVEL, "WskGetAddressInfo", VF_CALLER());
}

static VOID WSKAPI wsk_free_address_info(PWSK_CLIENT client, PADDRINFOEXW info)
{
	(void)info; /* none was ever given */
	struct wsk_client *entered =
		wsk_enter(client, PASSIVE_LEVEL, "WskFreeAddressInfo", VF_CALLER());
	if (entered)
		wsk_leave(entered);
}

static NTSTATUS WSKAPI wsk_get_name_info(PWSK_CLIENT client, PSOCKADDR address, ULONG length,
					 PUNICODE_STRING node, PUNICODE_STRING service, ULONG flags,
					 PEPROCESS process, PETHREAD thread, PIRP irp)
{
	(void)address, (void)length, (void)node, (void)service, (void)flags, (void)process;
	(void)thread;
	return refuse(client, irp, PASSIVE_LEVEL, "WskGetNameInfo", VF_CALLER());
}

/* STATUS_SUCCESS; STATUS_INVALID_PARAMETER: no room for the table, or an IRP (DEF-65, DEF-66). */
static NTSTATUS get_ndk_dispatch(SIZE_T out_size, PVOID out, SIZE_T *returned, PIRP irp)
{
	if (irp || !out || out_size < sizeof(WSK_PROVIDER_NDK_DISPATCH))
		return STATUS_INVALID_PARAMETER;
	*(WSK_PROVIDER_NDK_DISPATCH *)out = wsk_ndk_dispatch;
	if (returned)
		*returned = sizeof(WSK_PROVIDER_NDK_DISPATCH);
	return STATUS_SUCCESS;
}

/*
 * Operations on the client itself. IRQL <= DISPATCH_LEVEL. STATUS_NOT_SUPPORTED: any code but
 * WSKNDK_GET_WSK_PROVIDER_NDK_DISPATCH; STATUS_DEVICE_NOT_READY: the client has no capture.
 * (DEF-59)
 */
static NTSTATUS WSKAPI wsk_control_client(PWSK_CLIENT client, ULONG code, SIZE_T in_size, PVOID in,
					  SIZE_T out_size, PVOID out, SIZE_T *returned, PIRP irp)
{
	(void)in_size, (void)in;
	int32_t status = STATUS_NOT_SUPPORTED;
	struct wsk_client *entered =
		wsk_enter(client, DISPATCH_LEVEL, "WskControlClient", VF_CALLER());
	if (!entered)
		return answer(irp, STATUS_DEVICE_NOT_READY);
	if (!ndk_must_fail(NDK_FUNCTION_WskControlClient, &status) &&
	    code == WSKNDK_GET_WSK_PROVIDER_NDK_DISPATCH)
		status = get_ndk_dispatch(out_size, out, returned, irp);
	answer(irp, status);
	wsk_leave(entered);
	return status;
}

const WSK_PROVIDER_DISPATCH wsk_dispatch = {
	.Version = WSK_VERSION,
	.WskSocket = wsk_socket,
	.WskSocketConnect = wsk_socket_connect,
	.WskControlClient = wsk_control_client,
	.WskGetAddressInfo = wsk_get_address_info,
	.WskFreeAddressInfo = wsk_free_address_info,
	.WskGetNameInfo = wsk_get_name_info,
};
