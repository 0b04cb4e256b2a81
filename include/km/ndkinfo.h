/* SPDX-License-Identifier: MIT
 *
 * ndkinfo.h: what an NDK adapter can do (NDK-2, NDK-17, NDK-18).
 */
#pragma once
#include "ntdef.h"

typedef struct {
	USHORT Major;
	USHORT Minor;
} NDK_VERSION;

typedef enum _NDK_RDMA_TECHNOLOGY {
	NdkUndefined = 0,
	NdkiWarp,
	NdkInfiniBand,
	NdkRoCE,
	NdkRoCEv2,
	NdkMaxTechnology
} NDK_RDMA_TECHNOLOGY;

/* NDK_ADAPTER_INFO.AdapterFlags (NDK-18) */
#define NDK_ADAPTER_FLAG_IN_ORDER_DMA_SUPPORTED               0x00000001
#define NDK_ADAPTER_FLAG_RDMA_READ_SINK_NOT_REQUIRED          0x00000002
#define NDK_ADAPTER_FLAG_CQ_INTERRUPT_MODERATION_SUPPORTED    0x00000004
#define NDK_ADAPTER_FLAG_MULTI_ENGINE_SUPPORTED               0x00000008
#define NDK_ADAPTER_FLAG_RDMA_READ_LOCAL_INVALIDATE_SUPPORTED 0x00000010 /* 1.2 */
#define NDK_ADAPTER_FLAG_CQ_RESIZE_SUPPORTED                  0x00000100
#define NDK_ADAPTER_FLAG_LOOPBACK_CONNECTIONS_SUPPORTED       0x00010000

typedef struct _NDK_ADAPTER_INFO {
	NDK_VERSION Version; /* the provider's */
	UINT32 VendorId;
	UINT32 DeviceId;
	SIZE_T MaxRegistrationSize; /* bytes */
	SIZE_T MaxWindowSize;       /* bytes */
	ULONG FRMRPageCount;
	ULONG MaxInitiatorRequestSge;
	ULONG MaxReceiveRequestSge;
	ULONG MaxReadRequestSge;
	ULONG MaxTransferLength; /* bytes in one request */
	ULONG MaxInlineDataSize; /* bytes in one request */
	ULONG MaxInboundReadLimit;
	ULONG MaxOutboundReadLimit;
	ULONG MaxReceiveQueueDepth;
	ULONG MaxInitiatorQueueDepth;
	ULONG MaxSrqDepth; /* 0: no shared receive queues */
	ULONG MaxCqDepth;
	ULONG LargeRequestThreshold; /* bytes */
	ULONG MaxCallerData;         /* bytes */
	ULONG MaxCalleeData;         /* bytes */
	ULONG AdapterFlags;          /* NDK_ADAPTER_FLAG_* */
	NDK_RDMA_TECHNOLOGY RdmaTechnology;
} NDK_ADAPTER_INFO;
