/* SPDX-License-Identifier: MIT */
/*
 * listener.c: listeners.
 *
 * Contexts and locks: IRQL <= DISPATCH_LEVEL; listener->lock protects all of it. A connection
 * request holds a busy reference until its event has returned; an accepted connector keeps the
 * listener as its antecedent (NDK-83, NDK-144).
 *
 * Implements NDK-26, 39, 68, 69, 70, 84, 135, 144..146; DEF-106, DEF-118.
 *
 * Chosen: a second NdkListen is STATUS_INVALID_DEVICE_STATE; an unspecified address (0.0.0.0, ::)
 * is STATUS_INVALID_ADDRESS; the backlog is 128 requests whose event has not been called.
 */
#include "ndk/connection.h"
#include "rtl/rtl.h"

static const struct ndk_connection_operations *operations_of(const struct ndk_listener *listener)
{
	return listener->object.adapter->device->provider->connection;
}

/* ---- Listening ---- */

/* The lock is not held: what NdkListen led to. */
static void settle(struct ndk_listener *listener, NTSTATUS status, const struct ndk_address *local)
{
	KIRQL old = ke_lock_raise(&listener->lock);
	listener->bound = NT_SUCCESS(status);
	listener->listening = listener->bound;
	if (listener->bound)
		listener->local = *local;
	ke_lock_lower(&listener->lock, old);
}

void ndk_listener_bound(struct ndk_listener *listener, int status, const struct ndk_address *local)
{
	struct ndk_request *request = listener->pending;
	listener->pending = NULL;
	settle(listener, status, local);
	ndk_request_complete(request, status);
}

static NTSTATUS begin(struct ndk_listener *listener, const SOCKADDR *address, ULONG length,
		      struct ndk_address *local)
{
	NTSTATUS status = ndk_address_parse(address, length, local);
	if (NT_SUCCESS(status) && ndk_address_is_any(local))
		status = STATUS_INVALID_ADDRESS;
	if (!NT_SUCCESS(status))
		return status;
	KIRQL old = ke_lock_raise(&listener->lock);
	if (listener->listening)
		status = STATUS_INVALID_DEVICE_STATE;
	else
		listener->listening = true;
	ke_lock_lower(&listener->lock, old);
	return status;
}

/*
 * Wait for connections at an address of the adapter. IRQL <= DISPATCH_LEVEL. Port 0: one of 49152
 * to 65535. STATUS_SUCCESS, STATUS_PENDING; STATUS_INVALID_ADDRESS: not the adapter's;
 * STATUS_SHARING_VIOLATION: in use; STATUS_TOO_MANY_ADDRESSES: no port is left;
 * STATUS_INSUFFICIENT_RESOURCES; STATUS_INVALID_DEVICE_STATE: it listens. Source: NDK-68, NDK-135.
 */
static NTSTATUS NTAPI listen(NDK_LISTENER *pNdkListener, CONST SOCKADDR *pAddress,
			     ULONG AddressLength, NDK_FN_REQUEST_COMPLETION *RequestCompletion,
			     PVOID RequestContext)
{
	struct ndk_listener *listener = (struct ndk_listener *)pNdkListener;
	struct ndk_address local;
	uint64_t caller = NDK_CALLER();
	NTSTATUS status;
	if (!ndk_object_enter(listener, NdkObjectTypeListener, "NdkListen", caller))
		return STATUS_INVALID_DEVICE_STATE;
	if (!ndk_must_fail(NDK_FUNCTION_Listen, &status))
		status = begin(listener, pAddress, AddressLength, &local);
	ndk_object_leave(listener);
	if (!NT_SUCCESS(status))
		return ndk_request_done(listener, RequestCompletion, RequestContext, status,
					caller);
	struct ndk_request *request =
		ndk_request_pend(listener, RequestCompletion, RequestContext, caller);
	listener->pending = request;
	status = request ? operations_of(listener)->listen(listener, &local)
			 : STATUS_INSUFFICIENT_RESOURCES;
	if (status == STATUS_PENDING)
		return status;
	settle(listener, status, &local);
	return request ? ndk_request_settle(request, status) : status;
}

/*
 * Refuse connection requests for a while (TRUE), or take them again. IRQL <= DISPATCH_LEVEL.
 * Source: NDK-69, NDK-146.
 */
static VOID NTAPI control_connect_events(NDK_LISTENER *pNdkListener, BOOLEAN Pause)
{
	struct ndk_listener *listener = (struct ndk_listener *)pNdkListener;
	if (!ndk_object_enter(listener, NdkObjectTypeListener, "NdkControlConnectEvents",
			      NDK_CALLER()))
		return;
	KIRQL old = ke_lock_raise(&listener->lock);
	listener->paused = Pause;
	ke_lock_lower(&listener->lock, old);
	ndk_object_leave(listener);
}

/*
 * Where it listens. IRQL <= DISPATCH_LEVEL. STATUS_SUCCESS; STATUS_BUFFER_TOO_SMALL:
 * *pAddressLength bytes are needed; STATUS_INVALID_DEVICE_STATE: it does not. Source: NDK-70.
 */
static NTSTATUS NTAPI get_local_address(NDK_LISTENER *pNdkListener, SOCKADDR *pAddress,
					ULONG *pAddressLength)
{
	struct ndk_listener *listener = (struct ndk_listener *)pNdkListener;
	NTSTATUS status;
	if (!ndk_object_enter(listener, NdkObjectTypeListener, "NdkGetLocalAddress", NDK_CALLER()))
		return STATUS_INVALID_DEVICE_STATE;
	if (!ndk_must_fail(NDK_FUNCTION_GetLocalAddress, &status))
		status = listener->bound
				 ? ndk_address_store(&listener->local, pAddress, pAddressLength)
				 : STATUS_INVALID_DEVICE_STATE;
	ndk_object_leave(listener);
	return status;
}

/* ---- Life ---- */

void ndk_listener_event_done(struct ndk_listener *listener)
{
	KIRQL old = ke_lock_raise(&listener->lock);
	listener->waiting--;
	ke_lock_lower(&listener->lock, old);
	ndk_busy_put(&listener->object);
}

void ndk_listener_ended(struct ndk_listener *listener)
{
	ndk_busy_put(&listener->object);
}

static void begin_close(struct ndk_object *object)
{
	struct ndk_listener *listener = (struct ndk_listener *)object;
	if (!listener->listening)
		return;
	ndk_busy_get(object);
	if (operations_of(listener)->listen_end(listener) != NDK_PENDING)
		ndk_listener_ended(listener);
}

static const NDK_LISTENER_DISPATCH dispatch = {
	.NdkCloseListener = ndk_close,
	.NdkQueryExtension = ndk_query_extension,
	.NdkListen = listen,
	.NdkGetLocalAddress = get_local_address,
	.NdkControlConnectEvents = control_connect_events,
};

static const struct ndk_class class = {
	.name = "listener",
	.type = NdkObjectTypeListener,
	.size = sizeof(struct ndk_listener),
	.dispatch = &dispatch,
	.begin_close = begin_close,
	.request = "NdkListen",
	.close_cancels = true,
};

/*
 * Create a listener. IRQL <= DISPATCH_LEVEL. STATUS_SUCCESS, STATUS_PENDING;
 * STATUS_INSUFFICIENT_RESOURCES; STATUS_INVALID_PARAMETER: no ConnectEvent. Source: NDK-39.
 */
NTSTATUS NTAPI ndk_create_listener(NDK_ADAPTER *pNdkAdapter,
				   NDK_FN_CONNECT_EVENT_CALLBACK *ConnectEvent,
				   PVOID ConnectEventContext,
				   NDK_FN_CREATE_COMPLETION *CreateCompletion, PVOID RequestContext,
				   NDK_LISTENER **ppNdkListener)
{
	uint64_t caller = NDK_CALLER();
	NTSTATUS status = STATUS_INVALID_PARAMETER;
	if (!ndk_object_enter(pNdkAdapter, NdkObjectTypeAdapter, "NdkCreateListener", caller))
		return STATUS_INVALID_DEVICE_STATE;
	if (ConnectEvent) {
		struct ndk_listener *listener =
			ndk_object_allocate(&class, (struct ndk_object *)pNdkAdapter, caller);
		status = STATUS_INSUFFICIENT_RESOURCES;
		if (listener) {
			listener->event = ConnectEvent;
			listener->event_context = ConnectEventContext;
			status = ndk_create_done(listener, NULL, NDK_FUNCTION_CreateListener,
						 CreateCompletion, RequestContext,
						 (void **)ppNdkListener);
		}
	}
	ndk_object_leave(pNdkAdapter);
	return status;
}
