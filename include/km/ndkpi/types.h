/* SPDX-License-Identifier: MIT
 *
 * ndkpi.h: objects, requests, results, flags (NDK-8..22).
 */
#pragma once
#include "../wdm.h"
#include "../ndkinfo.h"

typedef struct sockaddr SOCKADDR, *PSOCKADDR; /* ws2def.h completes it */

/* ---- Objects: the provider sets all of it and reads none of it again (NDK-7, NDK-8) ---- */

typedef enum _NDK_OBJECT_TYPE {
	NdkObjectTypeUndefined = 0,
	NdkObjectTypeAdapter,
	NdkObjectTypeQp,
	NdkObjectTypeCq,
	NdkObjectTypeMr,
	NdkObjectTypeMw,
	NdkObjectTypePd,
	NdkObjectTypeSharedEndpoint,
	NdkObjectTypeConnector,
	NdkObjectTypeListener,
	NdkObjectTypeSrq,
	NdkObjectTypeMax
} NDK_OBJECT_TYPE;

typedef struct _NDK_OBJECT_HEADER {
	NDK_VERSION Version;
	NDK_OBJECT_TYPE ObjectType;
	PVOID NdkReserved[4]; /* the consumer's side; the provider only zeroes it */
} NDK_OBJECT_HEADER;

#define KETCH_NDK_OBJECT(name)                                                                     \
	struct _NDK_##name##_DISPATCH;                                                             \
	typedef struct _NDK_##name {                                                               \
		NDK_OBJECT_HEADER Header;                                                          \
		CONST struct _NDK_##name##_DISPATCH *Dispatch;                                     \
	} NDK_##name
KETCH_NDK_OBJECT(ADAPTER);
KETCH_NDK_OBJECT(CONNECTOR);
KETCH_NDK_OBJECT(CQ);
KETCH_NDK_OBJECT(LISTENER);
KETCH_NDK_OBJECT(MR);
KETCH_NDK_OBJECT(MW);
KETCH_NDK_OBJECT(PD);
KETCH_NDK_OBJECT(QP);
KETCH_NDK_OBJECT(SHARED_ENDPOINT);
KETCH_NDK_OBJECT(SRQ);
#undef KETCH_NDK_OBJECT

typedef struct _NDK_EXTENSION_INTERFACE {
	CONST VOID *Dispatch;
} NDK_EXTENSION_INTERFACE;

/* ---- Memory ---- */

typedef PHYSICAL_ADDRESS NDK_LOGICAL_ADDRESS;

typedef struct _NDK_LOGICAL_ADDRESS_MAPPING {
	PVOID AdapterContext; /* the provider's */
	ULONG AdapterPageCount;
	NDK_LOGICAL_ADDRESS AdapterPageArray[1]; /* AdapterPageCount */
} NDK_LOGICAL_ADDRESS_MAPPING;

typedef struct _NDK_SGE {
	union {
		PVOID VirtualAddress;
		NDK_LOGICAL_ADDRESS LogicalAddress; /* with the privileged token */
	};
	ULONG Length;
	UINT32 MemoryRegionToken;
} NDK_SGE;

/* NdkRegisterMr (NDK-20) */
#define NDK_MR_FLAG_ALLOW_LOCAL_READ   0x00000000
#define NDK_MR_FLAG_ALLOW_LOCAL_WRITE  0x00000001
#define NDK_MR_FLAG_ALLOW_REMOTE_READ  0x00000002
#define NDK_MR_FLAG_ALLOW_REMOTE_WRITE 0x00000005 /* includes local write */
#define NDK_MR_FLAG_RDMA_READ_SINK     0x00000008

/* ---- Requests and results ---- */

/*
 * Work requests (NDK-19). RDMA_READ_SINK is printed without a value, and RDMA_READ_LOCAL_INVALIDATE
 * with that of DEFER: here they take the free bits.
 */
#define NDK_OP_FLAG_SILENT_SUCCESS             0x00000001
#define NDK_OP_FLAG_READ_FENCE                 0x00000002
#define NDK_OP_FLAG_SEND_AND_SOLICIT_EVENT     0x00000004
#define NDK_OP_FLAG_ALLOW_REMOTE_READ          0x00000008
#define NDK_OP_FLAG_ALLOW_LOCAL_WRITE          0x00000010
#define NDK_OP_FLAG_ALLOW_REMOTE_WRITE         0x00000030 /* includes local write */
#define NDK_OP_FLAG_INLINE                     0x00000040
#define NDK_OP_FLAG_RDMA_READ_SINK             0x00000080
#define NDK_OP_FLAG_RDMA_READ_LOCAL_INVALIDATE 0x00000100
#define NDK_OP_FLAG_DEFER                      0x00000200 /* 1.2 */

/* NdkArmCq (NDK-21) */
#define NDK_CQ_NOTIFY_ERRORS    0
#define NDK_CQ_NOTIFY_ANY       1
#define NDK_CQ_NOTIFY_SOLICITED 2

typedef struct _NDK_RESULT {
	NTSTATUS Status;
	ULONG BytesTransferred; /* of a receive */
	PVOID QPContext;
	PVOID RequestContext;
} NDK_RESULT;

typedef enum _NDK_OPERATION_TYPE {
	NdkOperationTypeReceive = 0x1,
	NdkOperationTypeReceiveAndInvalidate = 0x8001,
	NdkOperationTypeSend = 0x2,
	NdkOperationTypeFastRegister = 0x4,
	NdkOperationTypeBind = 0x8,
	NdkOperationTypeInvalidate = 0x10,
	NdkOperationTypeRead = 0x20,
	NdkOperationTypeWrite = 0x40
} NDK_OPERATION_TYPE;

typedef struct _NDK_RESULT_EX {
	NTSTATUS Status;
	ULONG BytesTransferred; /* of a receive */
	PVOID QPContext;
	PVOID RequestContext;
	NDK_OPERATION_TYPE Type;
	ULONG ProviderErrorCode;                /* 2.1; 0: none given */
	ULONG_PTR TypeSpecificCompletionOutput; /* ReceiveAndInvalidate: the token */
} NDK_RESULT_EX;
