/* SPDX-License-Identifier: MIT
 *
 * NDIS as seen by all: object headers, media, NDK capabilities and statistics (NDK-117..119a).
 */
#pragma once
#include "ntdef.h"
#include "ifdef.h"
#include "ws2ipdef.h"
#include "ndkinfo.h"

EXTERN_C_START

typedef INT NDIS_STATUS, *PNDIS_STATUS;
typedef ULONG NDIS_OID, *PNDIS_OID;
typedef ULONG NDIS_PORT_NUMBER, *PNDIS_PORT_NUMBER;

#define NDIS_IF_MAX_STRING_SIZE IF_MAX_STRING_SIZE

typedef struct _NDIS_OBJECT_HEADER {
	UCHAR Type;
	UCHAR Revision;
	USHORT Size;
} NDIS_OBJECT_HEADER, *PNDIS_OBJECT_HEADER;

#define NDIS_OBJECT_TYPE_DEFAULT                         0x80
#define NDIS_OBJECT_TYPE_NDK_PROVIDER_CHARACTERISTICS    0xB2
#define NDIS_OBJECT_TYPE_MINIPORT_ADAPTER_NDK_ATTRIBUTES 0xB3
#define NDIS_OBJECT_REVISION_1                           1

typedef enum _NDIS_MEDIUM {
	NdisMedium802_3,
	NdisMedium802_5,
	NdisMediumFddi,
	NdisMediumWan,
	NdisMediumLocalTalk,
	NdisMediumDix,
	NdisMediumArcnetRaw,
	NdisMediumArcnet878_2,
	NdisMediumAtm,
	NdisMediumWirelessWan,
	NdisMediumIrda,
	NdisMediumBpc,
	NdisMediumCoWan,
	NdisMedium1394,
	NdisMediumInfiniBand,
	NdisMediumTunnel,
	NdisMediumNative802_11,
	NdisMediumLoopback,
	NdisMediumWiMAX,
	NdisMediumIP,
	NdisMediumMax
} NDIS_MEDIUM,
	*PNDIS_MEDIUM;

typedef enum _NDIS_PHYSICAL_MEDIUM {
	NdisPhysicalMediumUnspecified,
	NdisPhysicalMediumWirelessLan,
	NdisPhysicalMediumCableModem,
	NdisPhysicalMediumPhoneLine,
	NdisPhysicalMediumPowerLine,
	NdisPhysicalMediumDSL,
	NdisPhysicalMediumFibreChannel,
	NdisPhysicalMedium1394,
	NdisPhysicalMediumWirelessWan,
	NdisPhysicalMediumNative802_11,
	NdisPhysicalMediumBluetooth,
	NdisPhysicalMediumInfiniband,
	NdisPhysicalMediumWiMax,
	NdisPhysicalMediumUWB,
	NdisPhysicalMedium802_3,
	NdisPhysicalMedium802_5,
	NdisPhysicalMediumIrda,
	NdisPhysicalMediumWiredWAN,
	NdisPhysicalMediumWiredCoWan,
	NdisPhysicalMediumOther,
	NdisPhysicalMediumMax
} NDIS_PHYSICAL_MEDIUM,
	*PNDIS_PHYSICAL_MEDIUM;

#define OID_NDK_SET_STATE       0xFC040201
#define OID_NDK_STATISTICS      0xFC040202
#define OID_NDK_CONNECTIONS     0xFC040203
#define OID_NDK_LOCAL_ENDPOINTS 0xFC040204

#define NDIS_NDK_CAPABILITIES_REVISION_1    1
#define NDIS_NDK_STATISTICS_INFO_REVISION_1 1
#define NDIS_NDK_CONNECTIONS_REVISION_1     1
#define NDIS_NDK_LOCAL_ENDPOINTS_REVISION_1 1

typedef struct _NDIS_NDK_CAPABILITIES {
	NDIS_OBJECT_HEADER Header;
	ULONG Flags;
	ULONG MaxQpCount;
	ULONG MaxCqCount;
	ULONG MaxMrCount;
	ULONG MaxPdCount;
	ULONG MaxInboundReadLimit; /* 0: the adapter has no limit */
	ULONG MaxOutboundReadLimit;
	ULONG MaxMwCount;
	ULONG MaxSrqCount;
	ULONG64 MissingCounterMask;
	NDK_ADAPTER_INFO *NdkInfo;
} NDIS_NDK_CAPABILITIES, *PNDIS_NDK_CAPABILITIES;

typedef struct _NDIS_NDK_PERFORMANCE_COUNTERS {
	ULONG64 Connect;
	ULONG64 Accept;
	ULONG64 ConnectFailure;
	ULONG64 ConnectionError;
	ULONG64 ActiveConnection;
	ULONG64 Reserved01;
	ULONG64 Reserved02;
	ULONG64 Reserved03;
	ULONG64 Reserved04;
	ULONG64 Reserved05;
	ULONG64 Reserved06;
	ULONG64 Reserved07;
	ULONG64 Reserved08;
	ULONG64 Reserved09;
	ULONG64 Reserved10;
	ULONG64 Reserved11;
	ULONG64 Reserved12;
	ULONG64 Reserved13;
	ULONG64 Reserved14;
	ULONG64 Reserved15;
	ULONG64 Reserved16;
	ULONG64 Reserved17;
	ULONG64 Reserved18;
	ULONG64 Reserved19;
	ULONG64 Reserved20;
	ULONG64 CQError;
	ULONG64 RDMAInOctets;
	ULONG64 RDMAOutOctets;
	ULONG64 RDMAInFrames;
	ULONG64 RDMAOutFrames;
} NDIS_NDK_PERFORMANCE_COUNTERS, *PNDIS_NDK_PERFORMANCE_COUNTERS;

#define NDIS_NDK_PERFORMANCE_COUNTER_MASK(CntField)                                                \
	(((ULONG64)1) << (FIELD_OFFSET(NDIS_NDK_PERFORMANCE_COUNTERS, CntField) / sizeof(ULONG64)))

typedef struct _NDIS_NDK_STATISTICS_INFO {
	NDIS_OBJECT_HEADER Header;
	ULONG Flags;
	NDIS_NDK_PERFORMANCE_COUNTERS CounterSet;
} NDIS_NDK_STATISTICS_INFO, *PNDIS_NDK_STATISTICS_INFO;

typedef struct _NDIS_NDK_CONNECTION_ENTRY {
	SOCKADDR_INET Local;
	SOCKADDR_INET Remote;
	BOOLEAN UserModeOwner;
	ULONG OwnerPid;
} NDIS_NDK_CONNECTION_ENTRY, *PNDIS_NDK_CONNECTION_ENTRY;

typedef struct _NDIS_NDK_CONNECTIONS {
	NDIS_OBJECT_HEADER Header;
	ULONG Flags;
	ULONG Count;
	BOOLEAN NDConnectionsMappedtoTCPConnections;
	NDIS_NDK_CONNECTION_ENTRY Connections[1];
} NDIS_NDK_CONNECTIONS, *PNDIS_NDK_CONNECTIONS;

typedef struct _NDIS_NDK_LOCAL_ENDPOINT_ENTRY {
	SOCKADDR_INET Local;
	BOOLEAN UserModeOwner;
	BOOLEAN Listener;
	ULONG OwnerPid;
} NDIS_NDK_LOCAL_ENDPOINT_ENTRY, *PNDIS_NDK_LOCAL_ENDPOINT_ENTRY;

typedef struct _NDIS_NDK_LOCAL_ENDPOINTS {
	NDIS_OBJECT_HEADER Header;
	ULONG Flags;
	ULONG Count;
	BOOLEAN NDLocalEndpointsMappedtoTCPLocalEndpoints;
	NDIS_NDK_LOCAL_ENDPOINT_ENTRY LocalEndpoints[1];
} NDIS_NDK_LOCAL_ENDPOINTS, *PNDIS_NDK_LOCAL_ENDPOINTS;

EXTERN_C_END
