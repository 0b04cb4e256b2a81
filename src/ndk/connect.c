/* SPDX-License-Identifier: MIT */
/*
 * connect.c: the calls that change a connector's state.
 *
 * Each checks its arguments, moves the state under connector->lock, makes the request that will
 * complete, and calls the provider, whose answer comes as a report (connector_event.c), possibly
 * before the operation has returned. An operation that fails at once moves the state back.
 *
 * Contexts: IRQL <= DISPATCH_LEVEL. Implements NDK-71..74c, 135..148.
 *
 * Chosen: what fails inline can also fail by completion (the policy decides), but for wrong
 * arguments and states. Private data that is too long, or a length without data:
 * STATUS_INVALID_PARAMETER. A destination port 0 is
 * STATUS_INVALID_ADDRESS. Disconnect makes the QP refuse requests at once.
 */
#include "ndk/connection.h"
#include "rtl/rtl.h"

/* What a consumer calls with. */
struct call {
	struct ndk_connector *connector;
	const void *routine; /* completion */
	void *context;
	uint64_t caller;
};

/* The call ends without the provider. `leave` must have been called. */
static NTSTATUS end(const struct call *call, NTSTATUS status)
{
	return ndk_request_done(call->connector, call->routine, call->context, status,
				call->caller);
}

static NTSTATUS fill_offer(struct ndk_offer *offer, ULONG inbound, ULONG outbound, const void *data,
			   ULONG length, ULONG most)
{
	if (length > most || length > sizeof offer->data || (length && !data))
		return STATUS_INVALID_PARAMETER;
	memset(offer, 0, sizeof *offer);
	offer->inbound_reads = inbound;
	offer->outbound_reads = outbound;
	offer->size = length;
	memcpy(offer->data, data, length);
	return STATUS_SUCCESS;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

struct disconnect_event {
	const void *routine;
	PVOID context;
	bool ex;
};

static void set_event(struct ndk_connector *connector, const struct disconnect_event *event)
{
	connector->event_ex = event->ex;
	connector->event = (NDK_FN_DISCONNECT_EVENT_CALLBACK *)event->routine;
	connector->event_context = event->context;
}

/*
 * To `to`, if the table allows it, with a request that pends. `qp`: take it; `event`: the
 * consumer's.
 */
static NTSTATUS start(const struct call *call, enum ndk_connector_call kind,
		      enum ndk_connector_state to, struct ndk_qp *qp,
		      const struct disconnect_event *event)
{
	struct ndk_connector *connector = call->connector;
	struct ndk_request *request =
		ndk_request_pend(connector, call->routine, call->context, call->caller);
	if (!request)
		return STATUS_INSUFFICIENT_RESOURCES;
	KIRQL old = ke_lock_raise(&connector->lock);
	NTSTATUS status = ndk_connector_check(connector, kind);
	if (NT_SUCCESS(status) && qp)
		status = ndk_connector_take_qp(connector, qp);
	if (NT_SUCCESS(status)) {
		connector->state = to;
		request->function = kind == NDK_CALL_CONNECT    ? "NdkConnect"
				    : kind == NDK_CALL_COMPLETE ? "NdkCompleteConnect"
								: "NdkAccept";
		connector->pending = request;
		if (event)
			set_event(connector, event);
		/* While the operation runs: the connector may let it go before. */
		if (qp)
			ndk_busy_get(&qp->object);
	}
	ke_lock_lower(&connector->lock, old);
	if (status == STATUS_INVALID_PARAMETER)
		vf_report(VF_NdkObject, kind == NDK_CALL_CONNECT ? "NdkConnect" : "NdkAccept",
			  call->caller, (uint64_t)qp,
			  "is called with %p, which is no open queue pair of the connector's RNIC",
			  qp);
	if (!NT_SUCCESS(status))
		ndk_request_discard(request);
	return status;
}

/* The operation returned: STATUS_PENDING, or a failure at once, which puts the state back. */
static NTSTATUS started(const struct call *call, enum ndk_connector_state back,
			void (*release)(struct ndk_connector *), NTSTATUS status)
{
	struct ndk_connector *connector = call->connector;
	if (status == STATUS_PENDING)
		return status;
	KIRQL old = ke_lock_raise(&connector->lock);
	struct ndk_request *request = connector->pending;
	connector->pending = NULL;
	if (request)
		connector->state = back;
	ke_lock_lower(&connector->lock, old);
	if (!request)
		return STATUS_PENDING; /* a close was faster and has completed it */
	if (release)
		release(connector);
	return ndk_request_settle(request, status);
}

/* ---- Active side ---- */

/* The state is CONNECTING, the request pends. */
static NTSTATUS connect_provider(const struct call *call,
				 const struct ndk_connect_parameters *parameters)
{
	struct ndk_connector *connector = call->connector;
	KIRQL old = ke_lock_raise(&connector->lock);
	connector->local = parameters->local;
	connector->remote = parameters->remote;
	connector->inbound_reads = parameters->offer.inbound_reads;
	connector->outbound_reads = parameters->offer.outbound_reads;
	connector->peer_offered = false;
	connector->endpoint = parameters->endpoint;
	ke_lock_lower(&connector->lock, old);
	/* The consumer's own completion may close it before the operation returns. */
	ndk_busy_get(&connector->object);
	NTSTATUS status = connector->operations->connect(connector, parameters);
	status = started(call, NDK_IDLE, ndk_connector_release, status);
	ndk_busy_put(&parameters->qp->object);
	ndk_busy_put(&connector->object);
	return status;
}

static NTSTATUS connect(const struct call *call, struct ndk_connect_parameters *parameters,
			struct ndk_offer *offer, NTSTATUS status)
{
	const NDK_ADAPTER_INFO *info = &call->connector->object.adapter->info;
	if (NT_SUCCESS(status)) {
		parameters->offer = *offer;
		parameters->offer.inbound_reads =
			least(offer->inbound_reads, info->MaxInboundReadLimit);
		parameters->offer.outbound_reads =
			least(offer->outbound_reads, info->MaxOutboundReadLimit);
		if (!parameters->qp)
			status = STATUS_INVALID_PARAMETER;
		else if (!parameters->remote.port || ndk_address_is_any(&parameters->remote) ||
			 parameters->remote.family != parameters->local.family)
			status = STATUS_INVALID_ADDRESS;
	}
	struct ndk_endpoint *kept = parameters->endpoint;
	if (NT_SUCCESS(status) && kept && !ndk_antecedent_add(call->connector, kept))
		status = STATUS_INSUFFICIENT_RESOURCES;
	else if (NT_SUCCESS(status)) {
		status = start(call, NDK_CALL_CONNECT, NDK_CONNECTING, parameters->qp, NULL);
		if (!NT_SUCCESS(status) && kept)
			ndk_antecedent_drop(call->connector, kept);
	}
	ndk_object_leave(call->connector);
	return NT_SUCCESS(status) ? connect_provider(call, parameters) : end(call, status);
}

/*
 * Connect to a listener. IRQL <= DISPATCH_LEVEL. The source may be unspecified, its port 0.
 * STATUS_SUCCESS, STATUS_PENDING; inline or by completion: STATUS_INVALID_ADDRESS,
 * STATUS_SHARING_VIOLATION, STATUS_TOO_MANY_ADDRESSES, STATUS_ADDRESS_ALREADY_EXISTS,
 * STATUS_NETWORK_UNREACHABLE, STATUS_HOST_UNREACHABLE, STATUS_CONNECTION_REFUSED,
 * STATUS_IO_TIMEOUT, STATUS_INSUFFICIENT_RESOURCES; STATUS_INVALID_PARAMETER: private data, QP;
 * STATUS_INVALID_DEVICE_STATE: the connector or the QP is or was connected, or is being so. After
 * a failure both are as before. Source: NDK-71.
 */
NTSTATUS NTAPI ndk_connect(NDK_CONNECTOR *pNdkConnector, NDK_QP *pNdkQp,
			   CONST SOCKADDR *pSrcAddress, ULONG SrcAddressLength,
			   CONST SOCKADDR *pDestAddress, ULONG DestAddressLength,
			   ULONG InboundReadLimit, ULONG OutboundReadLimit,
			   CONST VOID *pPrivateData, ULONG PrivateDataLength,
			   NDK_FN_REQUEST_COMPLETION *RequestCompletion, PVOID RequestContext)
{
	struct call call = {(struct ndk_connector *)pNdkConnector, RequestCompletion,
			    RequestContext, NDK_CALLER()};
	struct ndk_connect_parameters parameters = {.qp = (struct ndk_qp *)pNdkQp};
	struct ndk_offer offer;
	NTSTATUS status;
	if (!ndk_object_enter(pNdkConnector, NdkObjectTypeConnector, "NdkConnect", call.caller))
		return STATUS_INVALID_DEVICE_STATE;
	if (!ndk_must_fail(NDK_FUNCTION_Connect, &status))
		status = fill_offer(&offer, InboundReadLimit, OutboundReadLimit, pPrivateData,
				    PrivateDataLength,
				    call.connector->object.adapter->info.MaxCallerData);
	if (NT_SUCCESS(status))
		status = ndk_address_parse(pSrcAddress, SrcAddressLength, &parameters.local);
	if (NT_SUCCESS(status))
		status = ndk_address_parse(pDestAddress, DestAddressLength, &parameters.remote);
	return connect(&call, &parameters, &offer, status);
}

static NTSTATUS use_endpoint(struct ndk_connector *connector, struct ndk_endpoint *endpoint,
			     struct ndk_connect_parameters *parameters)
{
	if (!endpoint || endpoint->object.signature != NDK_SIGNATURE ||
	    endpoint->object.class->type != NdkObjectTypeSharedEndpoint ||
	    endpoint->object.adapter->device != connector->object.adapter->device ||
	    ndk_closing(&endpoint->object))
		return STATUS_INVALID_PARAMETER;
	parameters->endpoint = endpoint;
	parameters->local = endpoint->local;
	return STATUS_SUCCESS;
}

/* The same from the address of a shared endpoint. Source: NDK-72. */
NTSTATUS NTAPI ndk_connect_with_shared_endpoint(
	NDK_CONNECTOR *pNdkConnector, NDK_QP *pNdkQp, NDK_SHARED_ENDPOINT *pNdkSharedEndpoint,
	CONST SOCKADDR *pDestAddress, ULONG DestAddressLength, ULONG InboundReadLimit,
	ULONG OutboundReadLimit, CONST VOID *pPrivateData, ULONG PrivateDataLength,
	NDK_FN_REQUEST_COMPLETION *RequestCompletion, PVOID RequestContext)
{
	struct call call = {(struct ndk_connector *)pNdkConnector, RequestCompletion,
			    RequestContext, NDK_CALLER()};
	struct ndk_connect_parameters parameters = {.qp = (struct ndk_qp *)pNdkQp};
	struct ndk_offer offer;
	NTSTATUS status;
	if (!ndk_object_enter(pNdkConnector, NdkObjectTypeConnector, "NdkConnectWithSharedEndpoint",
			      call.caller))
		return STATUS_INVALID_DEVICE_STATE;
	if (!ndk_must_fail(NDK_FUNCTION_ConnectWithSharedEndpoint, &status))
		status = fill_offer(&offer, InboundReadLimit, OutboundReadLimit, pPrivateData,
				    PrivateDataLength,
				    call.connector->object.adapter->info.MaxCallerData);
	if (NT_SUCCESS(status))
		status = use_endpoint(call.connector, (struct ndk_endpoint *)pNdkSharedEndpoint,
				      &parameters);
	if (NT_SUCCESS(status))
		status = ndk_address_parse(pDestAddress, DestAddressLength, &parameters.remote);
	return connect(&call, &parameters, &offer, status);
}

/* ---- Both sides ---- */

static NTSTATUS complete_connect(const struct call *call, const struct disconnect_event *event)
{
	struct ndk_connector *connector = call->connector;
	NTSTATUS status;
	if (!ndk_object_enter(connector, NdkObjectTypeConnector, "NdkCompleteConnect",
			      call->caller))
		return STATUS_INVALID_DEVICE_STATE;
	if (!ndk_must_fail(NDK_FUNCTION_CompleteConnect, &status))
		status = start(call, NDK_CALL_COMPLETE, NDK_COMPLETING, NULL, event);
	ndk_object_leave(connector);
	if (!NT_SUCCESS(status))
		return end(call, status);
	ndk_busy_get(&connector->object);
	status = connector->operations->complete_connect(connector);
	status = started(call, NDK_ACCEPTED, NULL, status);
	ndk_busy_put(&connector->object);
	return status;
}

/*
 * Active side, after NdkConnect: establish the connection. IRQL <= DISPATCH_LEVEL. STATUS_SUCCESS,
 * STATUS_PENDING; inline or by completion: STATUS_CONNECTION_INVALID: not connecting;
 * STATUS_CONNECTION_ABORTED: the peer gave up; STATUS_IO_TIMEOUT. Source: NDK-73.
 */
NTSTATUS NTAPI ndk_complete_connect(NDK_CONNECTOR *pNdkConnector,
				    NDK_FN_DISCONNECT_EVENT_CALLBACK *DisconnectEvent,
				    PVOID DisconnectEventContext,
				    NDK_FN_REQUEST_COMPLETION *RequestCompletion,
				    PVOID RequestContext)
{
	struct call call = {(struct ndk_connector *)pNdkConnector, RequestCompletion,
			    RequestContext, NDK_CALLER()};
	struct disconnect_event event = {DisconnectEvent, DisconnectEventContext, false};
	return complete_connect(&call, &event);
}

/* The same with an event that is told a reason. Since 2.1. */
NTSTATUS NTAPI ndk_complete_connect_ex(NDK_CONNECTOR *pNdkConnector,
				       NDK_FN_DISCONNECT_EVENT_EX_CALLBACK *DisconnectEvent,
				       PVOID DisconnectEventContext,
				       NDK_FN_REQUEST_COMPLETION *RequestCompletion,
				       PVOID RequestContext)
{
	struct call call = {(struct ndk_connector *)pNdkConnector, RequestCompletion,
			    RequestContext, NDK_CALLER()};
	struct disconnect_event event = {DisconnectEvent, DisconnectEventContext, true};
	return complete_connect(&call, &event);
}

/* ---- Passive side ---- */

struct accept_call {
	struct call call;
	struct ndk_qp *qp;
	ULONG inbound, outbound;
	const void *data;
	ULONG length;
	struct disconnect_event event;
};

static NTSTATUS accept_start(const struct accept_call *accept, struct ndk_offer *offer)
{
	struct ndk_connector *connector = accept->call.connector;
	const NDK_ADAPTER_INFO *info = &connector->object.adapter->info;
	NTSTATUS status = fill_offer(offer, accept->inbound, accept->outbound, accept->data,
				     accept->length, info->MaxCalleeData);
	if (NT_SUCCESS(status) && !accept->qp)
		status = STATUS_INVALID_PARAMETER;
	if (!NT_SUCCESS(status))
		return status;
	status = start(&accept->call, NDK_CALL_ACCEPT, NDK_ACCEPTING, accept->qp, &accept->event);
	if (!NT_SUCCESS(status))
		return status;
	KIRQL old = ke_lock_raise(&connector->lock);
	connector->inbound_reads = accept->inbound;
	connector->outbound_reads = accept->outbound;
	ndk_connector_limit(connector);
	offer->inbound_reads = connector->inbound_reads;
	offer->outbound_reads = connector->outbound_reads;
	ke_lock_lower(&connector->lock, old);
	return status;
}

static NTSTATUS accept(const struct accept_call *accept)
{
	struct ndk_connector *connector = accept->call.connector;
	struct ndk_offer offer;
	NTSTATUS status;
	if (!ndk_object_enter(connector, NdkObjectTypeConnector, "NdkAccept", accept->call.caller))
		return STATUS_INVALID_DEVICE_STATE;
	if (!ndk_must_fail(NDK_FUNCTION_Accept, &status))
		status = accept_start(accept, &offer);
	ndk_object_leave(connector);
	if (!NT_SUCCESS(status))
		return end(&accept->call, status);
	ndk_busy_get(&connector->object);
	status = connector->operations->accept(connector, accept->qp, &offer);
	status = started(&accept->call, NDK_INCOMING, ndk_connector_release_qp, status);
	ndk_busy_put(&accept->qp->object);
	ndk_busy_put(&connector->object);
	return status;
}

/*
 * Accept the connection request that came with a connect event; completes when the peer has called
 * NdkCompleteConnect. IRQL <= DISPATCH_LEVEL. The QP may belong to another opening of the RNIC.
 * STATUS_PENDING; STATUS_INVALID_PARAMETER: QP, private data; STATUS_INVALID_DEVICE_STATE;
 * STATUS_CONNECTION_ABORTED: the peer gave up; STATUS_IO_TIMEOUT. Source: NDK-74.
 */
NTSTATUS NTAPI ndk_accept(NDK_CONNECTOR *pNdkConnector, NDK_QP *pNdkQp, ULONG InboundReadLimit,
			  ULONG OutboundReadLimit, CONST VOID *pPrivateData,
			  ULONG PrivateDataLength,
			  NDK_FN_DISCONNECT_EVENT_CALLBACK *DisconnectEvent,
			  PVOID DisconnectEventContext,
			  NDK_FN_REQUEST_COMPLETION *RequestCompletion, PVOID RequestContext)
{
	struct accept_call call = {
		.call = {(struct ndk_connector *)pNdkConnector, RequestCompletion, RequestContext,
			 NDK_CALLER()},
		.qp = (struct ndk_qp *)pNdkQp,
		.inbound = InboundReadLimit,
		.outbound = OutboundReadLimit,
		.data = pPrivateData,
		.length = PrivateDataLength,
		.event = {DisconnectEvent, DisconnectEventContext, false},
	};
	return accept(&call);
}

/* The same with an event that is told a reason. Since 2.1. */
NTSTATUS NTAPI ndk_accept_ex(NDK_CONNECTOR *pNdkConnector, NDK_QP *pNdkQp, ULONG InboundReadLimit,
			     ULONG OutboundReadLimit, CONST VOID *pPrivateData,
			     ULONG PrivateDataLength,
			     NDK_FN_DISCONNECT_EVENT_EX_CALLBACK *DisconnectEvent,
			     PVOID DisconnectEventContext,
			     NDK_FN_REQUEST_COMPLETION *RequestCompletion, PVOID RequestContext)
{
	struct accept_call call = {
		.call = {(struct ndk_connector *)pNdkConnector, RequestCompletion, RequestContext,
			 NDK_CALLER()},
		.qp = (struct ndk_qp *)pNdkQp,
		.inbound = InboundReadLimit,
		.outbound = OutboundReadLimit,
		.data = pPrivateData,
		.length = PrivateDataLength,
		.event = {DisconnectEvent, DisconnectEventContext, true},
	};
	return accept(&call);
}

/* The lock is not held: the state is FAILED afterwards. */
static NTSTATUS reject_start(struct ndk_connector *connector)
{
	KIRQL old = ke_lock_raise(&connector->lock);
	NTSTATUS status = ndk_connector_check(connector, NDK_CALL_REJECT);
	if (NT_SUCCESS(status)) {
		connector->state = NDK_FAILED;
		connector->failure = STATUS_CONNECTION_INVALID;
	}
	ke_lock_lower(&connector->lock, old);
	if (NT_SUCCESS(status))
		ndk_connector_release_qp(connector);
	return status;
}

/*
 * Refuse: a request that came with a connect event, or (active side) the connection that the peer
 * accepted. IRQL <= DISPATCH_LEVEL. STATUS_SUCCESS; STATUS_CONNECTION_ABORTED: the peer gave up;
 * STATUS_INVALID_PARAMETER: private data; STATUS_INVALID_DEVICE_STATE. Source: NDK-74a.
 */
NTSTATUS NTAPI ndk_reject(NDK_CONNECTOR *pNdkConnector, CONST VOID *pPrivateData,
			  ULONG PrivateDataLength)
{
	struct ndk_connector *connector = (struct ndk_connector *)pNdkConnector;
	const NDK_ADAPTER_INFO *info = NULL;
	struct ndk_offer offer;
	NTSTATUS status;
	if (!ndk_object_enter(connector, NdkObjectTypeConnector, "NdkReject", NDK_CALLER()))
		return STATUS_INVALID_DEVICE_STATE;
	info = &connector->object.adapter->info;
	if (!ndk_must_fail(NDK_FUNCTION_Reject, &status))
		status = fill_offer(&offer, 0, 0, pPrivateData, PrivateDataLength,
				    connector->passive ? info->MaxCalleeData : info->MaxCallerData);
	if (NT_SUCCESS(status))
		status = reject_start(connector);
	if (NT_SUCCESS(status))
		status = connector->operations->reject(connector, &offer);
	ndk_object_leave(connector);
	return status;
}

/* ---- Disconnect ---- */

static NTSTATUS disconnect_start(const struct call *call)
{
	struct ndk_connector *connector = call->connector;
	struct ndk_request *request =
		ndk_request_pend(connector, call->routine, call->context, call->caller);
	if (!request)
		return STATUS_INSUFFICIENT_RESOURCES;
	KIRQL old = ke_lock_raise(&connector->lock);
	NTSTATUS status = ndk_connector_check(connector, NDK_CALL_DISCONNECT);
	if (NT_SUCCESS(status)) {
		connector->state = NDK_DISCONNECTING;
		request->function = "NdkDisconnect";
		connector->disconnect = request;
		ndk_qp_advance(connector->qp, NDK_QP_DEAD);
	}
	ke_lock_lower(&connector->lock, old);
	if (!NT_SUCCESS(status))
		ndk_request_discard(request);
	return status;
}

/*
 * End the connection in order and flush the QP. IRQL <= DISPATCH_LEVEL. STATUS_SUCCESS,
 * STATUS_PENDING; STATUS_CONNECTION_INVALID: not connected; STATUS_IO_TIMEOUT. Source: NDK-74c,
 * NDK-141.
 */
NTSTATUS NTAPI ndk_disconnect(NDK_CONNECTOR *pNdkConnector,
			      NDK_FN_REQUEST_COMPLETION *RequestCompletion, PVOID RequestContext)
{
	struct ndk_connector *connector = (struct ndk_connector *)pNdkConnector;
	struct call call = {connector, RequestCompletion, RequestContext, NDK_CALLER()};
	NTSTATUS status;
	if (!ndk_object_enter(connector, NdkObjectTypeConnector, "NdkDisconnect", call.caller))
		return STATUS_INVALID_DEVICE_STATE;
	if (!ndk_must_fail(NDK_FUNCTION_Disconnect, &status))
		status = disconnect_start(&call);
	ndk_object_leave(connector);
	if (!NT_SUCCESS(status))
		return end(&call, status);
	struct ndk_request *request = connector->disconnect;
	ndk_busy_get(&connector->object);
	status = connector->operations->disconnect(connector);
	if (status != STATUS_PENDING) {
		KIRQL old = ke_lock_raise(&connector->lock);
		connector->disconnect = NULL;
		connector->state = NDK_DISCONNECTED;
		ke_lock_lower(&connector->lock, old);
		status = ndk_request_settle(request, status);
	}
	ndk_busy_put(&connector->object);
	return status;
}
