/* SPDX-License-Identifier: MIT */
/*
 * connector.c: connectors: the state table, life, queries. connect.c has the calls that change the
 * state, connector_event.c what a provider reports.
 *
 * Contexts and locks: IRQL <= DISPATCH_LEVEL; connector->lock protects the state and what goes with
 * it. A provider's operation is called after the state has changed, without the lock.
 *
 * Implements NDK-24, 38, 70, 74b, 81, 136..140, 147; VER-62, DEF-2, DEF-108, DEF-113, DEF-114.
 *
 * Chosen: calls in the wrong state: the table. A connector whose Connect failed, at once or by its
 * completion, is as it was before, but that the data of a reject can be got; one that failed later
 * is not used again. GetConnectionData after the handshake works, and is an advice (DEF-2). A close
 * in the middle of a connect cancels it (STATUS_CANCELLED) and gives the peer an abort; a close of
 * a connection flushes the QP.
 */
#include "ndk/connection.h"
#include "rtl/rtl.h"

/* ---- States (NDK-140) ---- */

#define OK          STATUS_SUCCESS
#define WRONG       STATUS_INVALID_DEVICE_STATE
#define UNCONNECTED STATUS_CONNECTION_INVALID
#define AS_FAILED   STATUS_PENDING /* connector->failure */

static const NTSTATUS allowed[NDK_CONNECTOR_CALLS][NDK_CONNECTOR_STATES] = {
	/* IDLE CONNECTING ACCEPTED COMPLETING INCOMING ACCEPTING CONNECTED PEER_GONE DISCONNECTING
	   DISCONNECTED FAILED */
	[NDK_CALL_CONNECT] = {OK, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG, WRONG,
			      WRONG},
	[NDK_CALL_COMPLETE] = {UNCONNECTED, UNCONNECTED, OK, UNCONNECTED, UNCONNECTED, UNCONNECTED,
			       UNCONNECTED, UNCONNECTED, UNCONNECTED, UNCONNECTED, AS_FAILED},
	[NDK_CALL_ACCEPT] = {WRONG, WRONG, WRONG, WRONG, OK, WRONG, WRONG, WRONG, WRONG, WRONG,
			     AS_FAILED},
	[NDK_CALL_REJECT] = {WRONG, WRONG, OK, WRONG, OK, WRONG, WRONG, WRONG, WRONG, WRONG,
			     AS_FAILED},
	/* IDLE: of a reject, or refused there */
	[NDK_CALL_DATA] = {OK, WRONG, OK, OK, OK, OK, OK, OK, WRONG, WRONG, OK},
	[NDK_CALL_LOCAL] = {WRONG, OK, OK, OK, OK, OK, OK, OK, OK, OK, OK},
	[NDK_CALL_PEER] = {WRONG, OK, OK, OK, OK, OK, OK, OK, OK, OK, OK},
	[NDK_CALL_DISCONNECT] = {UNCONNECTED, UNCONNECTED, UNCONNECTED, UNCONNECTED, UNCONNECTED,
				 UNCONNECTED, OK, OK, UNCONNECTED, UNCONNECTED, UNCONNECTED},
};

NTSTATUS ndk_connector_check(const struct ndk_connector *connector, enum ndk_connector_call call)
{
	NTSTATUS status = allowed[call][connector->state];
	return status == AS_FAILED ? connector->failure : status;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

void ndk_connector_limit(struct ndk_connector *connector)
{
	const NDK_ADAPTER_INFO *info = &connector->object.adapter->info;
	connector->inbound_reads = least(connector->inbound_reads, info->MaxInboundReadLimit);
	connector->outbound_reads = least(connector->outbound_reads, info->MaxOutboundReadLimit);
	if (!connector->peer_offered)
		return;
	connector->inbound_reads = least(connector->inbound_reads, connector->peer.outbound_reads);
	connector->outbound_reads = least(connector->outbound_reads, connector->peer.inbound_reads);
}

/* ---- The queue pair ---- */

/* Of the same RNIC, through whatever opening of it (DEF-110). */
static bool usable(const struct ndk_connector *connector, const struct ndk_qp *qp)
{
	return qp && qp->object.signature == NDK_SIGNATURE &&
	       qp->object.class->type == NdkObjectTypeQp && !ndk_closing(&qp->object) &&
	       qp->object.adapter->device == connector->object.adapter->device;
}

NTSTATUS ndk_connector_take_qp(struct ndk_connector *connector, struct ndk_qp *qp)
{
	void *none = NULL;
	if (!usable(connector, qp))
		return STATUS_INVALID_PARAMETER;
	if (connector->qp) /* of a connect that has failed and is not yet told */
		return STATUS_INVALID_DEVICE_STATE;
	if (atomic_load(&qp->state) != NDK_QP_IDLE ||
	    !atomic_compare_exchange_strong(&qp->connector, &none, connector))
		return STATUS_INVALID_DEVICE_STATE;
	if (!ndk_antecedent_add(connector, qp)) {
		atomic_store(&qp->connector, NULL);
		return STATUS_INSUFFICIENT_RESOURCES;
	}
	connector->qp = qp;
	return STATUS_SUCCESS;
}

static void detach(struct ndk_qp *qp)
{
	KIRQL old = ke_lock_raise(&qp->work_lock);
	atomic_store(&qp->connector, NULL);
	ke_lock_lower(&qp->work_lock, old);
}

void ndk_connector_release_qp(struct ndk_connector *connector)
{
	KIRQL old = ke_lock_raise(&connector->lock);
	struct ndk_qp *qp = connector->qp;
	connector->qp = NULL;
	ke_lock_lower(&connector->lock, old);
	if (!qp)
		return;
	detach(qp);
	ndk_antecedent_drop(connector, qp);
}

void ndk_connector_release(struct ndk_connector *connector)
{
	KIRQL old = ke_lock_raise(&connector->lock);
	struct ndk_endpoint *endpoint = connector->endpoint;
	connector->endpoint = NULL;
	ke_lock_lower(&connector->lock, old);
	if (endpoint)
		ndk_antecedent_drop(connector, endpoint);
	ndk_connector_release_qp(connector);
}

struct ndk_connector *ndk_qp_connector(struct ndk_qp *qp)
{
	KIRQL old = ke_lock_raise(&qp->work_lock);
	struct ndk_connector *connector = atomic_load(&qp->connector);
	if (connector && !ndk_busy_try(&connector->object))
		connector = NULL;
	ke_lock_lower(&qp->work_lock, old);
	return connector;
}

/* ---- Queries ---- */

static NTSTATUS get_address(struct ndk_connector *connector, enum ndk_connector_call call,
			    SOCKADDR *pAddress, ULONG *pAddressLength)
{
	KIRQL old = ke_lock_raise(&connector->lock);
	NTSTATUS status = ndk_connector_check(connector, call);
	struct ndk_address address = call == NDK_CALL_LOCAL ? connector->local : connector->remote;
	ke_lock_lower(&connector->lock, old);
	return NT_SUCCESS(status) ? ndk_address_store(&address, pAddress, pAddressLength) : status;
}

/*
 * The address of this end, with the port that was chosen. IRQL <= DISPATCH_LEVEL. STATUS_SUCCESS;
 * STATUS_BUFFER_TOO_SMALL: *pAddressLength bytes are needed; STATUS_INVALID_DEVICE_STATE: no
 * connect yet. Source: NDK-70.
 */
static NTSTATUS NTAPI get_local_address(NDK_CONNECTOR *pNdkConnector, SOCKADDR *pAddress,
					ULONG *pAddressLength)
{
	struct ndk_connector *connector = (struct ndk_connector *)pNdkConnector;
	NTSTATUS status;
	if (!ndk_object_enter(connector, NdkObjectTypeConnector, "NdkGetLocalAddress",
			      NDK_CALLER()))
		return STATUS_INVALID_DEVICE_STATE;
	if (!ndk_must_fail(NDK_FUNCTION_GetLocalAddress, &status))
		status = get_address(connector, NDK_CALL_LOCAL, pAddress, pAddressLength);
	ndk_object_leave(connector);
	return status;
}

/* The other end's. Source: NDK-70. */
static NTSTATUS NTAPI get_peer_address(NDK_CONNECTOR *pNdkConnector, SOCKADDR *pAddress,
				       ULONG *pAddressLength)
{
	struct ndk_connector *connector = (struct ndk_connector *)pNdkConnector;
	NTSTATUS status;
	if (!ndk_object_enter(connector, NdkObjectTypeConnector, "NdkGetPeerAddress", NDK_CALLER()))
		return STATUS_INVALID_DEVICE_STATE;
	if (!ndk_must_fail(NDK_FUNCTION_GetPeerAddress, &status))
		status = get_address(connector, NDK_CALL_PEER, pAddress, pAddressLength);
	ndk_object_leave(connector);
	return status;
}

struct connection_data {
	ULONG *inbound, *outbound;
	void *data;
	ULONG *length;
};

/* The lock is held. NDK-138: the size that is required says nothing about how much was sent. */
static NTSTATUS copy_data(const struct ndk_connector *connector, const struct connection_data *to)
{
	const NDK_ADAPTER_INFO *info = &connector->object.adapter->info;
	ULONG required = connector->passive ? info->MaxCallerData : info->MaxCalleeData;
	if (to->inbound)
		*to->inbound = connector->inbound_reads;
	if (to->outbound)
		*to->outbound = connector->outbound_reads;
	if (!to->length)
		return STATUS_SUCCESS;
	ULONG room = *to->length;
	*to->length = required;
	if (!to->data)
		return room ? STATUS_INVALID_PARAMETER : STATUS_SUCCESS;
	memcpy(to->data, connector->peer.data, least(room, required));
	return room >= required ? STATUS_SUCCESS : STATUS_BUFFER_TOO_SMALL;
}

/* VER-62, DEF-2. */
static void check_data_call(const struct ndk_connector *connector, enum ndk_connector_state state,
			    const struct connection_data *to, uint64_t caller)
{
	static const char function[] = "NdkGetConnectionData";
	if (to->length && *to->length && !to->data)
		vf_report(VF_NdkArgument, function, caller, (uint64_t)connector,
			  "is called without a buffer and with a length of %u", *to->length);
	if (state == NDK_COMPLETING || state == NDK_ACCEPTING || state == NDK_CONNECTED)
		vf_report(VF_NdkConnectionData, function, caller, (uint64_t)connector,
			  "is called on the connector %p after %s", connector,
			  connector->passive ? "NdkAccept" : "NdkCompleteConnect");
}

/*
 * The peer's private data and the effective read limits. IRQL <= DISPATCH_LEVEL.
 * *pPrivateDataLength: in the room, out what the provider needs. STATUS_SUCCESS;
 * STATUS_BUFFER_TOO_SMALL; STATUS_INVALID_PARAMETER: no buffer but a length;
 * STATUS_INVALID_DEVICE_STATE. Source: NDK-74b, NDK-138, NDK-139, DEF-108.
 */
static NTSTATUS NTAPI get_connection_data(NDK_CONNECTOR *pNdkConnector, ULONG *pInboundReadLimit,
					  ULONG *pOutboundReadLimit, PVOID pPrivateData,
					  ULONG *pPrivateDataLength)
{
	struct ndk_connector *connector = (struct ndk_connector *)pNdkConnector;
	struct connection_data to = {pInboundReadLimit, pOutboundReadLimit, pPrivateData,
				     pPrivateDataLength};
	uint64_t caller = NDK_CALLER();
	NTSTATUS status;
	if (!ndk_object_enter(connector, NdkObjectTypeConnector, "NdkGetConnectionData", caller))
		return STATUS_INVALID_DEVICE_STATE;
	if (vf_on())
		check_data_call(connector, connector->state, &to, caller);
	if (!ndk_must_fail(NDK_FUNCTION_GetConnectionData, &status)) {
		KIRQL old = ke_lock_raise(&connector->lock);
		status = ndk_connector_check(connector, NDK_CALL_DATA);
		if (NT_SUCCESS(status) && !connector->peer_offered)
			status = STATUS_INVALID_DEVICE_STATE;
		if (NT_SUCCESS(status))
			status = copy_data(connector, &to);
		ke_lock_lower(&connector->lock, old);
	}
	ndk_object_leave(connector);
	return status;
}

/* ---- Life ---- */

static void begin_close(struct ndk_object *object)
{
	struct ndk_connector *connector = (struct ndk_connector *)object;
	KIRQL old = ke_lock_raise(&connector->lock);
	enum ndk_connector_state state = connector->state;
	struct ndk_request *pending = connector->pending;
	struct ndk_qp *qp = connector->qp;
	connector->pending = NULL;
	if (state != NDK_FAILED && state != NDK_DISCONNECTED && state != NDK_DISCONNECTING) {
		connector->state = NDK_FAILED;
		connector->failure = STATUS_CONNECTION_ABORTED;
	}
	ke_lock_lower(&connector->lock, old);
	if (qp && (state == NDK_CONNECTED || state == NDK_PEER_GONE))
		ndk_qp_advance(qp, NDK_QP_DEAD);
	if (!object->made) /* it was never given to the provider */
		return;
	ndk_busy_get(object);
	if (connector->operations->abort(connector) != NDK_PENDING)
		ndk_connector_gone(connector);
	if (pending)
		ndk_request_complete(pending, STATUS_CANCELLED);
}

static void destroy(struct ndk_object *object)
{
	struct ndk_connector *connector = (struct ndk_connector *)object;
	if (connector->qp)
		detach(connector->qp);
}

static const struct ndk_class class = {
	.name = "connector",
	.type = NdkObjectTypeConnector,
	.size = sizeof(struct ndk_connector),
	.dispatch = &ndk_connector_dispatch,
	.begin_close = begin_close,
	.destroy = destroy,
	.close_cancels = true,
};

struct ndk_connector *ndk_connector_make(struct ndk_object *adapter, uint64_t caller)
{
	struct ndk_connector *connector = ndk_object_allocate(&class, adapter, caller);
	if (!connector)
		return NULL;
	connector->operations = connector->object.adapter->device->provider->connection;
	ndk_connector_events_initialize(connector);
	return connector;
}

/*
 * Create a connector. IRQL <= DISPATCH_LEVEL. STATUS_SUCCESS, STATUS_PENDING;
 * STATUS_INSUFFICIENT_RESOURCES. Source: NDK-38.
 */
NTSTATUS NTAPI ndk_create_connector(NDK_ADAPTER *pNdkAdapter,
				    NDK_FN_CREATE_COMPLETION *CreateCompletion,
				    PVOID RequestContext, NDK_CONNECTOR **ppNdkConnector)
{
	uint64_t caller = NDK_CALLER();
	NTSTATUS status = STATUS_INSUFFICIENT_RESOURCES;
	if (!ndk_object_enter(pNdkAdapter, NdkObjectTypeAdapter, "NdkCreateConnector", caller))
		return STATUS_INVALID_DEVICE_STATE;
	struct ndk_connector *connector =
		ndk_connector_make((struct ndk_object *)pNdkAdapter, caller);
	if (connector)
		status = ndk_create_done(connector, NULL, NDK_FUNCTION_CreateConnector,
					 CreateCompletion, RequestContext, (void **)ppNdkConnector);
	ndk_object_leave(pNdkAdapter);
	return status;
}

const NDK_CONNECTOR_DISPATCH ndk_connector_dispatch = {
	.NdkCloseConnector = ndk_close,
	.NdkQueryExtension = ndk_query_extension,
	.NdkConnect = ndk_connect,
	.NdkConnectWithSharedEndpoint = ndk_connect_with_shared_endpoint,
	.NdkCompleteConnect = ndk_complete_connect,
	.NdkAccept = ndk_accept,
	.NdkReject = ndk_reject,
	.NdkGetConnectionData = get_connection_data,
	.NdkGetLocalAddress = get_local_address,
	.NdkGetPeerAddress = get_peer_address,
	.NdkDisconnect = ndk_disconnect,
	.NdkCompleteConnectEx = ndk_complete_connect_ex,
	.NdkAcceptEx = ndk_accept_ex,
};
