/* SPDX-License-Identifier: MIT
 *
 * ndkpi.h: dispatch tables (NDK-23..33). The adapter has no close member: it is closed as it was
 * opened.
 */
#pragma once
#include "functions.h"

typedef struct _NDK_ADAPTER_DISPATCH {
	NDK_FN_QUERY_EXTENSION_INTERFACE *NdkQueryExtension;
	NDK_FN_QUERY_ADAPTER_INFO *NdkQueryAdapterInfo;
	NDK_FN_CREATE_CQ *NdkCreateCq;
	NDK_FN_CREATE_PD *NdkCreatePd;
	NDK_FN_CREATE_SHARED_ENDPOINT *NdkCreateSharedEndpoint;
	NDK_FN_CREATE_CONNECTOR *NdkCreateConnector;
	NDK_FN_CREATE_LISTENER *NdkCreateListener;
	NDK_FN_BUILD_LAM *NdkBuildLAM;
	NDK_FN_RELEASE_LAM *NdkReleaseLAM;
} NDK_ADAPTER_DISPATCH;

typedef struct _NDK_CONNECTOR_DISPATCH {
	NDK_FN_CLOSE_OBJECT *NdkCloseConnector;
	NDK_FN_QUERY_EXTENSION_INTERFACE *NdkQueryExtension;
	NDK_FN_CONNECT *NdkConnect;
	NDK_FN_CONNECT_WITH_SHARED_ENDPOINT *NdkConnectWithSharedEndpoint;
	NDK_FN_COMPLETE_CONNECT *NdkCompleteConnect;
	NDK_FN_ACCEPT *NdkAccept;
	NDK_FN_REJECT *NdkReject;
	NDK_FN_GET_CONNECTION_DATA *NdkGetConnectionData;
	NDK_FN_GET_LOCAL_ADDRESS *NdkGetLocalAddress;
	NDK_FN_GET_PEER_ADDRESS *NdkGetPeerAddress;
	NDK_FN_DISCONNECT *NdkDisconnect;
	NDK_FN_COMPLETE_CONNECT_EX *NdkCompleteConnectEx; /* 2.1 */
	NDK_FN_ACCEPT_EX *NdkAcceptEx;                    /* 2.1 */
} NDK_CONNECTOR_DISPATCH;

typedef struct _NDK_CQ_DISPATCH {
	NDK_FN_CLOSE_OBJECT *NdkCloseCq;
	NDK_FN_QUERY_EXTENSION_INTERFACE *NdkQueryExtension;
	NDK_FN_RESIZE_CQ *NdkResizeCq;
	NDK_FN_ARM_CQ *NdkArmCq;
	NDK_FN_GET_CQ_RESULTS *NdkGetCqResults;
	NDK_FN_CONTROL_CQ_INTERRUPT_MODERATION *NdkControlCqInterruptModeration;
	NDK_FN_GET_CQ_RESULTS_EX *NdkGetCqResultsEx; /* 1.2 */
} NDK_CQ_DISPATCH;

typedef struct _NDK_LISTENER_DISPATCH {
	NDK_FN_CLOSE_OBJECT *NdkCloseListener;
	NDK_FN_QUERY_EXTENSION_INTERFACE *NdkQueryExtension;
	NDK_FN_LISTEN *NdkListen;
	NDK_FN_GET_LISTENER_LOCAL_ADDRESS *NdkGetLocalAddress;
	NDK_FN_CONTROL_CONNECT_EVENTS *NdkControlConnectEvents;
} NDK_LISTENER_DISPATCH;

typedef struct _NDK_MR_DISPATCH {
	NDK_FN_CLOSE_OBJECT *NdkCloseMr;
	NDK_FN_QUERY_EXTENSION_INTERFACE *NdkQueryExtension;
	NDK_FN_REGISTER_MR *NdkRegisterMr;
	NDK_FN_DEREGISTER_MR *NdkDeregisterMr;
	NDK_FN_INITIALIZE_FAST_REGISTER_MR *NdkInitializeFastRegisterMr;
	NDK_FN_GET_REMOTE_TOKEN_FROM_MR *NdkGetRemoteTokenFromMr;
	NDK_FN_GET_LOCAL_TOKEN_FROM_MR *NdkGetLocalTokenFromMr;
} NDK_MR_DISPATCH;

typedef struct _NDK_MW_DISPATCH {
	NDK_FN_CLOSE_OBJECT *NdkCloseMw;
	NDK_FN_QUERY_EXTENSION_INTERFACE *NdkQueryExtension;
	NDK_FN_GET_REMOTE_TOKEN_FROM_MW *NdkGetRemoteTokenFromMw;
} NDK_MW_DISPATCH;

typedef struct _NDK_PD_DISPATCH {
	NDK_FN_CLOSE_OBJECT *NdkClosePd;
	NDK_FN_QUERY_EXTENSION_INTERFACE *NdkQueryExtension;
	NDK_FN_CREATE_MR *NdkCreateMr;
	NDK_FN_CREATE_MW *NdkCreateMw;
	NDK_FN_CREATE_SRQ *NdkCreateSrq;
	NDK_FN_CREATE_QP *NdkCreateQp;
	NDK_FN_CREATE_QP_WITH_SRQ *NdkCreateQpWithSrq;
	NDK_FN_GET_PRIVILEGED_MEMORY_REGION_TOKEN *NdkGetPrivilegedMemoryRegionToken;
} NDK_PD_DISPATCH;

typedef struct _NDK_QP_DISPATCH {
	NDK_FN_CLOSE_OBJECT *NdkCloseQp;
	NDK_FN_QUERY_EXTENSION_INTERFACE *NdkQueryExtension;
	NDK_FN_FLUSH *NdkFlush;
	NDK_FN_SEND *NdkSend;
	NDK_FN_RECEIVE *NdkReceive;
	NDK_FN_BIND *NdkBind;
	NDK_FN_FAST_REGISTER *NdkFastRegister;
	NDK_FN_INVALIDATE *NdkInvalidate;
	NDK_FN_READ *NdkRead;
	NDK_FN_WRITE *NdkWrite;
	NDK_FN_SEND_AND_INVALIDATE *NdkSendAndInvalidate; /* 1.2 */
} NDK_QP_DISPATCH;

typedef struct _NDK_SHARED_ENDPOINT_DISPATCH {
	NDK_FN_CLOSE_OBJECT *NdkCloseSharedEndpoint;
	NDK_FN_QUERY_EXTENSION_INTERFACE *NdkQueryExtension;
	NDK_FN_GET_SHARED_ENDPOINT_LOCAL_ADDRESS *NdkGetLocalAddress;
} NDK_SHARED_ENDPOINT_DISPATCH;

typedef struct _NDK_SRQ_DISPATCH {
	NDK_FN_CLOSE_OBJECT *NdkCloseSrq;
	NDK_FN_QUERY_EXTENSION_INTERFACE *NdkQueryExtension;
	NDK_FN_MODIFY_SRQ *NdkModifySrq;
	NDK_FN_SRQ_RECEIVE *NdkSrqReceive;
} NDK_SRQ_DISPATCH;
