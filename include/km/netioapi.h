/* SPDX-License-Identifier: MIT
 *
 * The IP helper functions of the kernel, NETIO.SYS (DEF-55, DEF-75..77).
 */
#pragma once
#include "wdm.h"
#include "ws2def.h"
#include "ws2ipdef.h"
#include "ifdef.h"
#include "nldef.h"
#include "ntddndis.h"

EXTERN_C_START

#ifndef ANY_SIZE
#define ANY_SIZE 1
#endif
#define NETIO_STATUS     NTSTATUS
#define NETIO_SUCCESS(x) NT_SUCCESS(x)
#define NETIOAPI_API_    NTAPI
#define NETIOAPI_API     DECLSPEC_IMPORT NETIO_STATUS NETIOAPI_API_
#define IF_NAMESIZE      NDIS_IF_MAX_STRING_SIZE

typedef enum _MIB_NOTIFICATION_TYPE {
	MibParameterNotification,
	MibAddInstance,
	MibDeleteInstance,
	MibInitialNotification
} MIB_NOTIFICATION_TYPE,
	*PMIB_NOTIFICATION_TYPE;

typedef enum _MIB_IF_ENTRY_LEVEL {
	MibIfEntryNormal = 0,
	MibIfEntryNormalWithoutStatistics = 2
} MIB_IF_ENTRY_LEVEL,
	*PMIB_IF_ENTRY_LEVEL;

typedef enum _MIB_IF_TABLE_LEVEL {
	MibIfTableNormal = 0,
	MibIfTableRaw = 1,
	MibIfTableNormalWithoutStatistics = 2
} MIB_IF_TABLE_LEVEL,
	*PMIB_IF_TABLE_LEVEL;

typedef struct _MIB_IF_ROW2 {
	NET_LUID InterfaceLuid;
	NET_IFINDEX InterfaceIndex;
	GUID InterfaceGuid;
	WCHAR Alias[IF_MAX_STRING_SIZE + 1];
	WCHAR Description[IF_MAX_STRING_SIZE + 1];
	ULONG PhysicalAddressLength;
	UCHAR PhysicalAddress[IF_MAX_PHYS_ADDRESS_LENGTH];
	UCHAR PermanentPhysicalAddress[IF_MAX_PHYS_ADDRESS_LENGTH];
	ULONG Mtu;
	IFTYPE Type;
	TUNNEL_TYPE TunnelType;
	NDIS_MEDIUM MediaType;
	NDIS_PHYSICAL_MEDIUM PhysicalMediumType;
	NET_IF_ACCESS_TYPE AccessType;
	NET_IF_DIRECTION_TYPE DirectionType;
	struct {
		BOOLEAN HardwareInterface : 1;
		BOOLEAN FilterInterface : 1;
		BOOLEAN ConnectorPresent : 1;
		BOOLEAN NotAuthenticated : 1;
		BOOLEAN NotMediaConnected : 1;
		BOOLEAN Paused : 1;
		BOOLEAN LowPower : 1;
		BOOLEAN EndPointInterface : 1;
	} InterfaceAndOperStatusFlags;
	IF_OPER_STATUS OperStatus;
	NET_IF_ADMIN_STATUS AdminStatus;
	NET_IF_MEDIA_CONNECT_STATE MediaConnectState;
	NET_IF_NETWORK_GUID NetworkGuid;
	NET_IF_CONNECTION_TYPE ConnectionType;
	ULONG64 TransmitLinkSpeed;
	ULONG64 ReceiveLinkSpeed;
	ULONG64 InOctets;
	ULONG64 InUcastPkts;
	ULONG64 InNUcastPkts;
	ULONG64 InDiscards;
	ULONG64 InErrors;
	ULONG64 InUnknownProtos;
	ULONG64 InUcastOctets;
	ULONG64 InMulticastOctets;
	ULONG64 InBroadcastOctets;
	ULONG64 OutOctets;
	ULONG64 OutUcastPkts;
	ULONG64 OutNUcastPkts;
	ULONG64 OutDiscards;
	ULONG64 OutErrors;
	ULONG64 OutUcastOctets;
	ULONG64 OutMulticastOctets;
	ULONG64 OutBroadcastOctets;
	ULONG64 OutQLen;
} MIB_IF_ROW2, *PMIB_IF_ROW2;

typedef struct _MIB_IF_TABLE2 {
	ULONG NumEntries;
	MIB_IF_ROW2 Table[ANY_SIZE];
} MIB_IF_TABLE2, *PMIB_IF_TABLE2;

typedef struct _MIB_IPINTERFACE_ROW {
	ADDRESS_FAMILY Family;
	NET_LUID InterfaceLuid;
	NET_IFINDEX InterfaceIndex;
	ULONG MaxReassemblySize;
	ULONG64 InterfaceIdentifier;
	ULONG MinRouterAdvertisementInterval;
	ULONG MaxRouterAdvertisementInterval;
	BOOLEAN AdvertisingEnabled;
	BOOLEAN ForwardingEnabled;
	BOOLEAN WeakHostSend;
	BOOLEAN WeakHostReceive;
	BOOLEAN UseAutomaticMetric;
	BOOLEAN UseNeighborUnreachabilityDetection;
	BOOLEAN ManagedAddressConfigurationSupported;
	BOOLEAN OtherStatefulConfigurationSupported;
	BOOLEAN AdvertiseDefaultRoute;
	NL_ROUTER_DISCOVERY_BEHAVIOR RouterDiscoveryBehavior;
	ULONG DadTransmits;
	ULONG BaseReachableTime;
	ULONG RetransmitTime;
	ULONG PathMtuDiscoveryTimeout;
	NL_LINK_LOCAL_ADDRESS_BEHAVIOR LinkLocalAddressBehavior;
	ULONG LinkLocalAddressTimeout;
	ULONG ZoneIndices[ScopeLevelCount];
	ULONG SitePrefixLength;
	ULONG Metric;
	ULONG NlMtu;
	BOOLEAN Connected;
	BOOLEAN SupportsWakeUpPatterns;
	BOOLEAN SupportsNeighborDiscovery;
	BOOLEAN SupportsRouterDiscovery;
	ULONG ReachableTime;
	NL_INTERFACE_OFFLOAD_ROD TransmitOffload;
	NL_INTERFACE_OFFLOAD_ROD ReceiveOffload;
	BOOLEAN DisableDefaultRoutes;
} MIB_IPINTERFACE_ROW, *PMIB_IPINTERFACE_ROW;

typedef struct _MIB_IPINTERFACE_TABLE {
	ULONG NumEntries;
	MIB_IPINTERFACE_ROW Table[ANY_SIZE];
} MIB_IPINTERFACE_TABLE, *PMIB_IPINTERFACE_TABLE;

typedef struct _MIB_UNICASTIPADDRESS_ROW {
	SOCKADDR_INET Address;
	NET_LUID InterfaceLuid;
	NET_IFINDEX InterfaceIndex;
	NL_PREFIX_ORIGIN PrefixOrigin;
	NL_SUFFIX_ORIGIN SuffixOrigin;
	ULONG ValidLifetime;
	ULONG PreferredLifetime;
	UINT8 OnLinkPrefixLength;
	BOOLEAN SkipAsSource;
	NL_DAD_STATE DadState;
	SCOPE_ID ScopeId;
	LARGE_INTEGER CreationTimeStamp;
} MIB_UNICASTIPADDRESS_ROW, *PMIB_UNICASTIPADDRESS_ROW;

typedef struct _MIB_UNICASTIPADDRESS_TABLE {
	ULONG NumEntries;
	MIB_UNICASTIPADDRESS_ROW Table[ANY_SIZE];
} MIB_UNICASTIPADDRESS_TABLE, *PMIB_UNICASTIPADDRESS_TABLE;

typedef struct _IP_ADDRESS_PREFIX {
	SOCKADDR_INET Prefix;
	UINT8 PrefixLength;
} IP_ADDRESS_PREFIX, *PIP_ADDRESS_PREFIX;

typedef struct _MIB_IPFORWARD_ROW2 {
	NET_LUID InterfaceLuid;
	NET_IFINDEX InterfaceIndex;
	IP_ADDRESS_PREFIX DestinationPrefix;
	SOCKADDR_INET NextHop;
	UCHAR SitePrefixLength;
	ULONG ValidLifetime;
	ULONG PreferredLifetime;
	ULONG Metric;
	NL_ROUTE_PROTOCOL Protocol;
	BOOLEAN Loopback;
	BOOLEAN AutoconfigureAddress;
	BOOLEAN Publish;
	BOOLEAN Immortal;
	ULONG Age;
	NL_ROUTE_ORIGIN Origin;
} MIB_IPFORWARD_ROW2, *PMIB_IPFORWARD_ROW2;

typedef struct _MIB_IPFORWARD_TABLE2 {
	ULONG NumEntries;
	MIB_IPFORWARD_ROW2 Table[ANY_SIZE];
} MIB_IPFORWARD_TABLE2, *PMIB_IPFORWARD_TABLE2;

typedef struct _MIB_IPPATH_ROW {
	SOCKADDR_INET Source;
	SOCKADDR_INET Destination;
	NET_LUID InterfaceLuid;
	NET_IFINDEX InterfaceIndex;
	SOCKADDR_INET CurrentNextHop;
	ULONG PathMtu;
	ULONG RttMean;
	ULONG RttDeviation;
	union {
		ULONG LastReachable;
		ULONG LastUnreachable;
	};
	BOOLEAN IsReachable;
	ULONG64 LinkTransmitSpeed;
	ULONG64 LinkReceiveSpeed;
} MIB_IPPATH_ROW, *PMIB_IPPATH_ROW;

typedef struct _MIB_IPPATH_TABLE {
	ULONG NumEntries;
	MIB_IPPATH_ROW Table[ANY_SIZE];
} MIB_IPPATH_TABLE, *PMIB_IPPATH_TABLE;

/* An address of the link, and whose it is. */
typedef struct _MIB_IPNET_ROW2 {
	SOCKADDR_INET Address;
	NET_IFINDEX InterfaceIndex;
	NET_LUID InterfaceLuid;
	UCHAR PhysicalAddress[IF_MAX_PHYS_ADDRESS_LENGTH];
	ULONG PhysicalAddressLength;
	NL_NEIGHBOR_STATE State;
	union {
		struct {
			BOOLEAN IsRouter : 1;
			BOOLEAN IsUnreachable : 1;
		};
		UCHAR Flags;
	};
	union {
		ULONG LastReachable; /* ms ago */
		ULONG LastUnreachable;
	} ReachabilityTime;
} MIB_IPNET_ROW2, *PMIB_IPNET_ROW2;

typedef struct _MIB_IPNET_TABLE2 {
	ULONG NumEntries;
	MIB_IPNET_ROW2 Table[ANY_SIZE];
} MIB_IPNET_TABLE2, *PMIB_IPNET_TABLE2;

typedef VOID(NETIOAPI_API_ *PIPINTERFACE_CHANGE_CALLBACK)(PVOID CallerContext,
							  PMIB_IPINTERFACE_ROW Row,
							  MIB_NOTIFICATION_TYPE NotificationType);
typedef VOID(NETIOAPI_API_ *PUNICAST_IPADDRESS_CHANGE_CALLBACK)(
	PVOID CallerContext, PMIB_UNICASTIPADDRESS_ROW Row, MIB_NOTIFICATION_TYPE NotificationType);
typedef VOID(NETIOAPI_API_ *PSTABLE_UNICAST_IPADDRESS_TABLE_CALLBACK)(
	PVOID CallerContext, PMIB_UNICASTIPADDRESS_TABLE AddressTable);
typedef VOID(NETIOAPI_API_ *PIPFORWARD_CHANGE_CALLBACK)(PVOID CallerContext,
							PMIB_IPFORWARD_ROW2 Row,
							MIB_NOTIFICATION_TYPE NotificationType);

/* All functions but FreeMibTable (<= DISPATCH_LEVEL) and CancelMibChangeNotify2 (PASSIVE_LEVEL):
 * IRQL < DISPATCH_LEVEL. */

/* Interfaces */
NETIOAPI_API GetIfEntry2(PMIB_IF_ROW2 Row);
NETIOAPI_API GetIfEntry2Ex(MIB_IF_ENTRY_LEVEL Level, PMIB_IF_ROW2 Row);
NETIOAPI_API GetIfTable2(PMIB_IF_TABLE2 *Table);
NETIOAPI_API GetIfTable2Ex(MIB_IF_TABLE_LEVEL Level, PMIB_IF_TABLE2 *Table);
NETIOAPI_API GetIpInterfaceEntry(PMIB_IPINTERFACE_ROW Row);
NETIOAPI_API GetIpInterfaceTable(ADDRESS_FAMILY Family, PMIB_IPINTERFACE_TABLE *Table);
DECLSPEC_IMPORT VOID NETIOAPI_API_ InitializeIpInterfaceEntry(PMIB_IPINTERFACE_ROW Row);

/* Addresses */
NETIOAPI_API GetUnicastIpAddressEntry(PMIB_UNICASTIPADDRESS_ROW Row);
NETIOAPI_API GetUnicastIpAddressTable(ADDRESS_FAMILY Family, PMIB_UNICASTIPADDRESS_TABLE *Table);
DECLSPEC_IMPORT VOID NETIOAPI_API_ InitializeUnicastIpAddressEntry(PMIB_UNICASTIPADDRESS_ROW Row);

/* Routes and paths */
NETIOAPI_API GetBestRoute2(NET_LUID *InterfaceLuid, NET_IFINDEX InterfaceIndex,
			   const SOCKADDR_INET *SourceAddress,
			   const SOCKADDR_INET *DestinationAddress, ULONG AddressSortOptions,
			   PMIB_IPFORWARD_ROW2 BestRoute, SOCKADDR_INET *BestSourceAddress);
NETIOAPI_API GetBestInterfaceEx(PSOCKADDR DestinationAddress, PNET_IFINDEX BestIfIndex);
NETIOAPI_API GetBestInterface(ULONG DestinationAddress, PNET_IFINDEX BestIfIndex);
NETIOAPI_API GetIpForwardEntry2(PMIB_IPFORWARD_ROW2 Row);
NETIOAPI_API GetIpForwardTable2(ADDRESS_FAMILY Family, PMIB_IPFORWARD_TABLE2 *Table);
DECLSPEC_IMPORT VOID NETIOAPI_API_ InitializeIpForwardEntry(PMIB_IPFORWARD_ROW2 Row);
NETIOAPI_API GetIpPathEntry(PMIB_IPPATH_ROW Row);
NETIOAPI_API GetIpPathTable(ADDRESS_FAMILY Family, PMIB_IPPATH_TABLE *Table);

/* Neighbours */
NETIOAPI_API GetIpNetEntry2(PMIB_IPNET_ROW2 Row);
NETIOAPI_API GetIpNetTable2(ADDRESS_FAMILY Family, PMIB_IPNET_TABLE2 *Table);
NETIOAPI_API ResolveIpNetEntry2(PMIB_IPNET_ROW2 Row, const SOCKADDR_INET *SourceAddress);

/* Changes */
NETIOAPI_API NotifyStableUnicastIpAddressTable(
	ADDRESS_FAMILY Family, PMIB_UNICASTIPADDRESS_TABLE *Table,
	PSTABLE_UNICAST_IPADDRESS_TABLE_CALLBACK CallerCallback, PVOID CallerContext,
	HANDLE *NotificationHandle);
NETIOAPI_API NotifyIpInterfaceChange(ADDRESS_FAMILY Family, PIPINTERFACE_CHANGE_CALLBACK Callback,
				     PVOID CallerContext, BOOLEAN InitialNotification,
				     HANDLE *NotificationHandle);
NETIOAPI_API NotifyUnicastIpAddressChange(ADDRESS_FAMILY Family,
					  PUNICAST_IPADDRESS_CHANGE_CALLBACK Callback,
					  PVOID CallerContext, BOOLEAN InitialNotification,
					  HANDLE *NotificationHandle);
NETIOAPI_API NotifyRouteChange2(ADDRESS_FAMILY AddressFamily, PIPFORWARD_CHANGE_CALLBACK Callback,
				PVOID CallerContext, BOOLEAN InitialNotification,
				HANDLE *NotificationHandle);
NETIOAPI_API CancelMibChangeNotify2(HANDLE NotificationHandle);

/* What the functions above allocated. */
DECLSPEC_IMPORT VOID NETIOAPI_API_ FreeMibTable(PVOID Memory);

/* Names of interfaces */
NETIOAPI_API ConvertInterfaceNameToLuidA(const CHAR *InterfaceName, NET_LUID *InterfaceLuid);
NETIOAPI_API ConvertInterfaceNameToLuidW(const WCHAR *InterfaceName, NET_LUID *InterfaceLuid);
NETIOAPI_API ConvertInterfaceLuidToNameA(const NET_LUID *InterfaceLuid, PSTR InterfaceName,
					 SIZE_T Length);
NETIOAPI_API ConvertInterfaceLuidToNameW(const NET_LUID *InterfaceLuid, PWSTR InterfaceName,
					 SIZE_T Length);
NETIOAPI_API ConvertInterfaceLuidToIndex(const NET_LUID *InterfaceLuid,
					 PNET_IFINDEX InterfaceIndex);
NETIOAPI_API ConvertInterfaceIndexToLuid(NET_IFINDEX InterfaceIndex, PNET_LUID InterfaceLuid);
NETIOAPI_API ConvertInterfaceLuidToAlias(const NET_LUID *InterfaceLuid, PWSTR InterfaceAlias,
					 SIZE_T Length);
NETIOAPI_API ConvertInterfaceAliasToLuid(const WCHAR *InterfaceAlias, PNET_LUID InterfaceLuid);
NETIOAPI_API ConvertInterfaceLuidToGuid(const NET_LUID *InterfaceLuid, GUID *InterfaceGuid);
NETIOAPI_API ConvertInterfaceGuidToLuid(const GUID *InterfaceGuid, PNET_LUID InterfaceLuid);
NETIOAPI_API ConvertLengthToIpv4Mask(ULONG MaskLength, PULONG Mask);
NETIOAPI_API ConvertIpv4MaskToLength(ULONG Mask, PUINT8 MaskLength);

EXTERN_C_END
