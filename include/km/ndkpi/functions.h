/* SPDX-License-Identifier: MIT
 *
 * ndkpi.h: types of the provider's functions and of the consumer's callbacks (NDK-34..74e).
 * A function that returns STATUS_PENDING calls its completion exactly once; one that returns
 * anything else never calls it.
 */
#pragma once
#include "types.h"

EXTERN_C_START

/* ---- The consumer's callbacks (NDK-74e) ---- */

typedef VOID(NTAPI NDK_FN_REQUEST_COMPLETION)(PVOID Context, NTSTATUS Status);
typedef VOID(NTAPI NDK_FN_CREATE_COMPLETION)(PVOID Context, NTSTATUS Status,
					     NDK_OBJECT_HEADER *pNdkObject);
typedef VOID(NTAPI NDK_FN_CLOSE_COMPLETION)(PVOID Context);
typedef VOID(NTAPI NDK_FN_CQ_NOTIFICATION_CALLBACK)(PVOID CqNotificationContext, NTSTATUS CqStatus);
typedef VOID(NTAPI NDK_FN_SRQ_NOTIFICATION_CALLBACK)(PVOID SrqNotificationContext,
						     NTSTATUS SrqStatus);
typedef VOID(NTAPI NDK_FN_CONNECT_EVENT_CALLBACK)(PVOID ConnectEventContext,
						  NDK_CONNECTOR *pNdkConnector);
typedef VOID(NTAPI NDK_FN_DISCONNECT_EVENT_CALLBACK)(PVOID DisconnectEventContext);
/* 2.1. Reason 0: none given. */
typedef VOID(NTAPI NDK_FN_DISCONNECT_EVENT_EX_CALLBACK)(PVOID DisconnectEventContext,
							ULONG ProviderDisconnectReason);

/* ---- Every object ---- */

typedef NTSTATUS(NTAPI NDK_FN_CLOSE_OBJECT)(NDK_OBJECT_HEADER *pNdkObject,
					    NDK_FN_CLOSE_COMPLETION *CloseCompletion,
					    PVOID RequestContext);
typedef NTSTATUS(NTAPI NDK_FN_QUERY_EXTENSION_INTERFACE)(NDK_OBJECT_HEADER *pNdkObject,
							 CONST GUID *InterfaceId,
							 NDK_VERSION InterfaceVersion,
							 NDK_EXTENSION_INTERFACE *pInterface);

/* ---- Adapter ---- */

typedef NTSTATUS(NTAPI NDK_FN_QUERY_ADAPTER_INFO)(NDK_ADAPTER *pNdkAdapter, NDK_ADAPTER_INFO *pInfo,
						  ULONG *pBufferSize);
typedef NTSTATUS(NTAPI NDK_FN_CREATE_CQ)(NDK_ADAPTER *pNdkAdapter, ULONG CqDepth,
					 NDK_FN_CQ_NOTIFICATION_CALLBACK *CqNotification,
					 PVOID CqNotificationContext, GROUP_AFFINITY *Affinity,
					 NDK_FN_CREATE_COMPLETION *CreateCompletion,
					 PVOID RequestContext, NDK_CQ **ppNdkCq);
typedef NTSTATUS(NTAPI NDK_FN_CREATE_PD)(NDK_ADAPTER *pNdkAdapter,
					 NDK_FN_CREATE_COMPLETION *CreateCompletion,
					 PVOID RequestContext, NDK_PD **ppNdkPd);
typedef NTSTATUS(NTAPI NDK_FN_CREATE_SHARED_ENDPOINT)(NDK_ADAPTER *pNdkAdapter,
						      CONST SOCKADDR *pAddress, ULONG AddressLength,
						      NDK_FN_CREATE_COMPLETION *CreateCompletion,
						      PVOID RequestContext,
						      NDK_SHARED_ENDPOINT **ppNdkSharedEndpoint);
typedef NTSTATUS(NTAPI NDK_FN_CREATE_CONNECTOR)(NDK_ADAPTER *pNdkAdapter,
						NDK_FN_CREATE_COMPLETION *CreateCompletion,
						PVOID RequestContext,
						NDK_CONNECTOR **ppNdkConnector);
typedef NTSTATUS(NTAPI NDK_FN_CREATE_LISTENER)(NDK_ADAPTER *pNdkAdapter,
					       NDK_FN_CONNECT_EVENT_CALLBACK *ConnectEvent,
					       PVOID ConnectEventContext,
					       NDK_FN_CREATE_COMPLETION *CreateCompletion,
					       PVOID RequestContext, NDK_LISTENER **ppNdkListener);
typedef NTSTATUS(NTAPI NDK_FN_BUILD_LAM)(NDK_ADAPTER *pNdkAdapter, MDL *Mdl, SIZE_T Length,
					 NDK_FN_REQUEST_COMPLETION *RequestCompletion,
					 PVOID RequestContext, NDK_LOGICAL_ADDRESS_MAPPING *pNdkLAM,
					 ULONG *pNdkLAMSize, ULONG *pFBO);
typedef VOID(NTAPI NDK_FN_RELEASE_LAM)(NDK_ADAPTER *pNdkAdapter,
				       NDK_LOGICAL_ADDRESS_MAPPING *pNdkLAM);

/* ---- Protection domain ---- */

typedef NTSTATUS(NTAPI NDK_FN_CREATE_MR)(NDK_PD *pNdkPd, BOOLEAN FastRegister,
					 NDK_FN_CREATE_COMPLETION *CreateCompletion,
					 PVOID RequestContext, NDK_MR **ppNdkMr);
typedef NTSTATUS(NTAPI NDK_FN_CREATE_MW)(NDK_PD *pNdkPd, NDK_FN_CREATE_COMPLETION *CreateCompletion,
					 PVOID RequestContext, NDK_MW **ppNdkMw);
typedef NTSTATUS(NTAPI NDK_FN_CREATE_SRQ)(NDK_PD *pNdkPd, ULONG SrqDepth,
					  ULONG MaxReceiveRequestSge, ULONG NotifyThreshold,
					  NDK_FN_SRQ_NOTIFICATION_CALLBACK *SrqNotification,
					  PVOID SrqNotificationContext, GROUP_AFFINITY *Affinity,
					  NDK_FN_CREATE_COMPLETION *CreateCompletion,
					  PVOID RequestContext, NDK_SRQ **ppNdkSrq);
typedef NTSTATUS(NTAPI NDK_FN_CREATE_QP)(NDK_PD *pNdkPd, NDK_CQ *pReceiveCq, NDK_CQ *pInitiatorCq,
					 PVOID QPContext, ULONG ReceiveQueueDepth,
					 ULONG InitiatorQueueDepth, ULONG MaxReceiveRequestSge,
					 ULONG MaxInitiatorRequestSge, ULONG InlineDataSize,
					 NDK_FN_CREATE_COMPLETION *CreateCompletion,
					 PVOID RequestContext, NDK_QP **ppNdkQp);
typedef NTSTATUS(NTAPI NDK_FN_CREATE_QP_WITH_SRQ)(
	NDK_PD *pNdkPd, NDK_CQ *pReceiveCq, NDK_CQ *pInitiatorCq, NDK_SRQ *pSrq, PVOID QPContext,
	ULONG InitiatorQueueDepth, ULONG MaxInitiatorRequestSge, ULONG InlineDataSize,
	NDK_FN_CREATE_COMPLETION *CreateCompletion, PVOID RequestContext, NDK_QP **ppNdkQp);
typedef VOID(NTAPI NDK_FN_GET_PRIVILEGED_MEMORY_REGION_TOKEN)(NDK_PD *pNdkPd, UINT32 *pToken);

/* ---- Memory region and window ---- */

typedef NTSTATUS(NTAPI NDK_FN_REGISTER_MR)(NDK_MR *pNdkMr, MDL *Mdl, SIZE_T Length, ULONG Flags,
					   NDK_FN_REQUEST_COMPLETION *RequestCompletion,
					   PVOID RequestContext);
typedef NTSTATUS(NTAPI NDK_FN_DEREGISTER_MR)(NDK_MR *pNdkMr,
					     NDK_FN_REQUEST_COMPLETION *RequestCompletion,
					     PVOID RequestContext);
typedef NTSTATUS(NTAPI NDK_FN_INITIALIZE_FAST_REGISTER_MR)(
	NDK_MR *pNdkMr, ULONG AdapterPageCount, BOOLEAN RemoteAccess,
	NDK_FN_REQUEST_COMPLETION *RequestCompletion, PVOID RequestContext);
typedef UINT32(NTAPI NDK_FN_GET_REMOTE_TOKEN_FROM_MR)(NDK_MR *pNdkMr);
typedef UINT32(NTAPI NDK_FN_GET_LOCAL_TOKEN_FROM_MR)(NDK_MR *pNdkMr);
typedef UINT32(NTAPI NDK_FN_GET_REMOTE_TOKEN_FROM_MW)(NDK_MW *pNdkMw);

/* ---- Completion queue ---- */

typedef NTSTATUS(NTAPI NDK_FN_RESIZE_CQ)(NDK_CQ *pNdkCq, ULONG CqDepth,
					 NDK_FN_REQUEST_COMPLETION *RequestCompletion,
					 PVOID RequestContext);
typedef VOID(NTAPI NDK_FN_ARM_CQ)(NDK_CQ *pNdkCq, ULONG Type);
typedef ULONG(NTAPI NDK_FN_GET_CQ_RESULTS)(NDK_CQ *pNdkCq, NDK_RESULT Results[], ULONG nResults);
typedef ULONG(NTAPI NDK_FN_GET_CQ_RESULTS_EX)(NDK_CQ *pNdkCq, NDK_RESULT_EX Results[],
					      ULONG nResults);
typedef NTSTATUS(NTAPI NDK_FN_CONTROL_CQ_INTERRUPT_MODERATION)(NDK_CQ *pNdkCq,
							       ULONG ModerationInterval,
							       ULONG ModerationCount);

/* ---- Shared receive queue ---- */

typedef NTSTATUS(NTAPI NDK_FN_MODIFY_SRQ)(NDK_SRQ *pNdkSrq, ULONG SrqDepth, ULONG NotifyThreshold,
					  NDK_FN_REQUEST_COMPLETION *RequestCompletion,
					  PVOID RequestContext);
typedef NTSTATUS(NTAPI NDK_FN_SRQ_RECEIVE)(NDK_SRQ *pNdkSrq, PVOID RequestContext,
					   CONST NDK_SGE *pSgl, ULONG nSge);

/* ---- Queue pair ---- */

typedef VOID(NTAPI NDK_FN_FLUSH)(NDK_QP *pNdkQp);
typedef NTSTATUS(NTAPI NDK_FN_SEND)(NDK_QP *pNdkQp, PVOID RequestContext, CONST NDK_SGE *pSgl,
				    ULONG nSge, ULONG Flags);
typedef NTSTATUS(NTAPI NDK_FN_SEND_AND_INVALIDATE)(NDK_QP *pNdkQp, PVOID RequestContext,
						   CONST NDK_SGE *pSgl, ULONG nSge, ULONG Flags,
						   UINT32 RemoteMemoryRegionToken);
typedef NTSTATUS(NTAPI NDK_FN_RECEIVE)(NDK_QP *pNdkQp, PVOID RequestContext, CONST NDK_SGE *pSgl,
				       ULONG nSge);
typedef NTSTATUS(NTAPI NDK_FN_BIND)(NDK_QP *pNdkQp, PVOID RequestContext, NDK_MR *pMr, NDK_MW *pMw,
				    PVOID VirtualAddress, SIZE_T Length, ULONG Flags);
typedef NTSTATUS(NTAPI NDK_FN_FAST_REGISTER)(NDK_QP *pNdkQp, PVOID RequestContext, NDK_MR *pMr,
					     ULONG AdapterPageCount,
					     CONST NDK_LOGICAL_ADDRESS *AdapterPageArray, ULONG FBO,
					     SIZE_T Length, PVOID BaseVirtualAddress, ULONG Flags);
typedef NTSTATUS(NTAPI NDK_FN_INVALIDATE)(NDK_QP *pNdkQp, PVOID RequestContext,
					  NDK_OBJECT_HEADER *pNdkMrOrMw, ULONG Flags);
typedef NTSTATUS(NTAPI NDK_FN_READ)(NDK_QP *pNdkQp, PVOID RequestContext, CONST NDK_SGE *pSgl,
				    ULONG nSge, UINT64 RemoteAddress, UINT32 RemoteToken,
				    ULONG Flags);
typedef NTSTATUS(NTAPI NDK_FN_WRITE)(NDK_QP *pNdkQp, PVOID RequestContext, CONST NDK_SGE *pSgl,
				     ULONG nSge, UINT64 RemoteAddress, UINT32 RemoteToken,
				     ULONG Flags);

/* ---- Listener, shared endpoint ---- */

typedef NTSTATUS(NTAPI NDK_FN_LISTEN)(NDK_LISTENER *pNdkListener, CONST SOCKADDR *pAddress,
				      ULONG AddressLength,
				      NDK_FN_REQUEST_COMPLETION *RequestCompletion,
				      PVOID RequestContext);
typedef VOID(NTAPI NDK_FN_CONTROL_CONNECT_EVENTS)(NDK_LISTENER *pNdkListener, BOOLEAN Pause);
typedef NTSTATUS(NTAPI NDK_FN_GET_LISTENER_LOCAL_ADDRESS)(NDK_LISTENER *pNdkListener,
							  SOCKADDR *pAddress,
							  ULONG *pAddressLength);
typedef NTSTATUS(NTAPI NDK_FN_GET_SHARED_ENDPOINT_LOCAL_ADDRESS)(
	NDK_SHARED_ENDPOINT *pNdkSharedEndpoint, SOCKADDR *pAddress, ULONG *pAddressLength);

/* ---- Connector ---- */

typedef NTSTATUS(NTAPI NDK_FN_CONNECT)(NDK_CONNECTOR *pNdkConnector, NDK_QP *pNdkQp,
				       CONST SOCKADDR *pSrcAddress, ULONG SrcAddressLength,
				       CONST SOCKADDR *pDestAddress, ULONG DestAddressLength,
				       ULONG InboundReadLimit, ULONG OutboundReadLimit,
				       CONST VOID *pPrivateData, ULONG PrivateDataLength,
				       NDK_FN_REQUEST_COMPLETION *RequestCompletion,
				       PVOID RequestContext);
typedef NTSTATUS(NTAPI NDK_FN_CONNECT_WITH_SHARED_ENDPOINT)(
	NDK_CONNECTOR *pNdkConnector, NDK_QP *pNdkQp, NDK_SHARED_ENDPOINT *pNdkSharedEndpoint,
	CONST SOCKADDR *pDestAddress, ULONG DestAddressLength, ULONG InboundReadLimit,
	ULONG OutboundReadLimit, CONST VOID *pPrivateData, ULONG PrivateDataLength,
	NDK_FN_REQUEST_COMPLETION *RequestCompletion, PVOID RequestContext);
typedef NTSTATUS(NTAPI NDK_FN_COMPLETE_CONNECT)(NDK_CONNECTOR *pNdkConnector,
						NDK_FN_DISCONNECT_EVENT_CALLBACK *DisconnectEvent,
						PVOID DisconnectEventContext,
						NDK_FN_REQUEST_COMPLETION *RequestCompletion,
						PVOID RequestContext);
typedef NTSTATUS(NTAPI NDK_FN_ACCEPT)(NDK_CONNECTOR *pNdkConnector, NDK_QP *pNdkQp,
				      ULONG InboundReadLimit, ULONG OutboundReadLimit,
				      CONST VOID *pPrivateData, ULONG PrivateDataLength,
				      NDK_FN_DISCONNECT_EVENT_CALLBACK *DisconnectEvent,
				      PVOID DisconnectEventContext,
				      NDK_FN_REQUEST_COMPLETION *RequestCompletion,
				      PVOID RequestContext);
typedef NTSTATUS(NTAPI NDK_FN_REJECT)(NDK_CONNECTOR *pNdkConnector, CONST VOID *pPrivateData,
				      ULONG PrivateDataLength);
typedef NTSTATUS(NTAPI NDK_FN_GET_CONNECTION_DATA)(NDK_CONNECTOR *pNdkConnector,
						   ULONG *pInboundReadLimit,
						   ULONG *pOutboundReadLimit, PVOID pPrivateData,
						   ULONG *pPrivateDataLength);
typedef NTSTATUS(NTAPI NDK_FN_GET_LOCAL_ADDRESS)(NDK_CONNECTOR *pNdkConnector, SOCKADDR *pAddress,
						 ULONG *pAddressLength);
typedef NTSTATUS(NTAPI NDK_FN_GET_PEER_ADDRESS)(NDK_CONNECTOR *pNdkConnector, SOCKADDR *pAddress,
						ULONG *pAddressLength);
typedef NTSTATUS(NTAPI NDK_FN_DISCONNECT)(NDK_CONNECTOR *pNdkConnector,
					  NDK_FN_REQUEST_COMPLETION *RequestCompletion,
					  PVOID RequestContext);
/* 2.1 */
typedef NTSTATUS(NTAPI NDK_FN_COMPLETE_CONNECT_EX)(
	NDK_CONNECTOR *pNdkConnector, NDK_FN_DISCONNECT_EVENT_EX_CALLBACK *DisconnectEvent,
	PVOID DisconnectEventContext, NDK_FN_REQUEST_COMPLETION *RequestCompletion,
	PVOID RequestContext);
typedef NTSTATUS(NTAPI NDK_FN_ACCEPT_EX)(NDK_CONNECTOR *pNdkConnector, NDK_QP *pNdkQp,
					 ULONG InboundReadLimit, ULONG OutboundReadLimit,
					 CONST VOID *pPrivateData, ULONG PrivateDataLength,
					 NDK_FN_DISCONNECT_EVENT_EX_CALLBACK *DisconnectEvent,
					 PVOID DisconnectEventContext,
					 NDK_FN_REQUEST_COMPLETION *RequestCompletion,
					 PVOID RequestContext);

EXTERN_C_END
