/* SPDX-License-Identifier: MIT */
/*
 * rows.c: interfaces and their addresses as netioapi.h lists them.
 *
 * Contexts: IRQL < DISPATCH_LEVEL; reads the constant table of interfaces, no locks.
 * Implements DEF-75 (the third way to find an adapter). Chosen: interfaces are always up; counters
 * of traffic are 0, because NDK's traffic does not pass the IP stack; an entry is looked for by
 * InterfaceLuid, or by InterfaceIndex when the LUID is 0, as the functions' pages say.
 */
#include "ndis/ndis_internal.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

static ULONG mtu(const struct ndis_interface *interface)
{
	return interface->kind == NDIS_SOFTWARE_LOOPBACK ? 0xffffffff : NDIS_MTU;
}

static void fill_interface(const struct ndis_interface *from, MIB_IF_ROW2 *row)
{
	bool software = from->kind == NDIS_SOFTWARE_LOOPBACK;
	memset(row, 0, sizeof(*row));
	row->InterfaceLuid = from->luid;
	row->InterfaceIndex = from->index;
	row->InterfaceGuid = from->guid;
	memcpy(row->Alias, from->alias, sizeof(from->alias));
	memcpy(row->Description, from->description, sizeof(from->description));
	if (!software) {
		row->PhysicalAddressLength = sizeof(from->physical_address);
		memcpy(row->PhysicalAddress, from->physical_address,
		       sizeof(from->physical_address));
		memcpy(row->PermanentPhysicalAddress, from->physical_address,
		       sizeof(from->physical_address));
	}
	row->Mtu = mtu(from);
	row->Type = software ? IF_TYPE_SOFTWARE_LOOPBACK : IF_TYPE_ETHERNET_CSMACD;
	row->MediaType = software ? NdisMediumLoopback : NdisMedium802_3;
	row->PhysicalMediumType =
		software ? NdisPhysicalMediumUnspecified : NdisPhysicalMedium802_3;
	row->AccessType = software ? NET_IF_ACCESS_LOOPBACK : NET_IF_ACCESS_BROADCAST;
	row->DirectionType = NET_IF_DIRECTION_SENDRECEIVE;
	row->InterfaceAndOperStatusFlags.HardwareInterface = !software;
	row->InterfaceAndOperStatusFlags.ConnectorPresent = !software;
	row->OperStatus = IfOperStatusUp;
	row->AdminStatus = NET_IF_ADMIN_STATUS_UP;
	row->MediaConnectState = MediaConnectStateConnected;
	row->ConnectionType = NET_IF_CONNECTION_DEDICATED;
	row->TransmitLinkSpeed = software ? 1073741824 : NDIS_LINK_SPEED;
	row->ReceiveLinkSpeed = row->TransmitLinkSpeed;
}

/* STATUS_SUCCESS; STATUS_INVALID_PARAMETER; STATUS_OBJECT_NAME_NOT_FOUND: no such interface. */
NTSTATUS NETIOAPI_API_ GetIfEntry2(PMIB_IF_ROW2 Row)
{
	if (!Row || !ndis_interface_given(&Row->InterfaceLuid, Row->InterfaceIndex))
		return STATUS_INVALID_PARAMETER;
	const struct ndis_interface *interface =
		ndis_interface_of(&Row->InterfaceLuid, Row->InterfaceIndex);
	if (!interface)
		return STATUS_OBJECT_NAME_NOT_FOUND;
	fill_interface(interface, Row);
	return STATUS_SUCCESS;
}

NTSTATUS NETIOAPI_API_ GetIfEntry2Ex(MIB_IF_ENTRY_LEVEL Level, PMIB_IF_ROW2 Row)
{
	if (Level != MibIfEntryNormal && Level != MibIfEntryNormalWithoutStatistics)
		return STATUS_INVALID_PARAMETER;
	return GetIfEntry2(Row);
}

static bool interface_row(uint32_t number, ADDRESS_FAMILY family, void *row)
{
	(void)family;
	if (row)
		fill_interface(ndis_interface_at(number), row);
	return true;
}

static NTSTATUS interface_table(PMIB_IF_TABLE2 *table, uint64_t caller)
{
	return ndis_table_make(interface_row, ndis_interface_count(), sizeof(MIB_IF_ROW2),
			       AF_UNSPEC, caller, table);
}

/* Free the table with FreeMibTable. STATUS_SUCCESS, STATUS_INVALID_PARAMETER,
 * STATUS_INSUFFICIENT_RESOURCES. */
NTSTATUS NETIOAPI_API_ GetIfTable2(PMIB_IF_TABLE2 *Table)
{
	return interface_table(Table, VF_CALLER());
}

NTSTATUS NETIOAPI_API_ GetIfTable2Ex(MIB_IF_TABLE_LEVEL Level, PMIB_IF_TABLE2 *Table)
{
	if ((unsigned)Level > MibIfTableNormalWithoutStatistics)
		return STATUS_INVALID_PARAMETER;
	return interface_table(Table, VF_CALLER());
}

/* ---- IP interfaces ---- */

static bool has_family(const struct ndis_interface *interface, ADDRESS_FAMILY family)
{
	for (uint32_t i = 0; i < interface->address_count; i++) {
		if (interface->addresses[i].address.si_family == family)
			return true;
	}
	return false;
}

void NETIOAPI_API_ InitializeIpInterfaceEntry(PMIB_IPINTERFACE_ROW Row)
{
	memset(Row, 0xff, sizeof(*Row)); /* "not specified" in every member */
	Row->Family = AF_UNSPEC;
	Row->InterfaceLuid.Value = 0;
	Row->InterfaceIndex = 0;
}

static void fill_ip_interface(const struct ndis_interface *from, ADDRESS_FAMILY family,
			      MIB_IPINTERFACE_ROW *row)
{
	memset(row, 0, sizeof(*row));
	row->Family = family;
	row->InterfaceLuid = from->luid;
	row->InterfaceIndex = from->index;
	row->MaxReassemblySize = 0xffff;
	row->UseAutomaticMetric = TRUE;
	row->Metric = from->kind == NDIS_SOFTWARE_LOOPBACK ? 75 : 5;
	row->NlMtu = mtu(from);
	row->Connected = TRUE;
	row->SupportsNeighborDiscovery = from->kind != NDIS_SOFTWARE_LOOPBACK;
	row->ReachableTime = row->BaseReachableTime = 30000;
	row->RetransmitTime = 1000;
	row->ZoneIndices[ScopeLevelInterface] = row->ZoneIndices[ScopeLevelLink] = from->index;
	row->SitePrefixLength = family == AF_INET ? 0 : 64;
}

/* By Family and LUID or index. STATUS_SUCCESS, STATUS_INVALID_PARAMETER, STATUS_NOT_FOUND. */
NTSTATUS NETIOAPI_API_ GetIpInterfaceEntry(PMIB_IPINTERFACE_ROW Row)
{
	if (!Row || !ndis_family_is_one(Row->Family) ||
	    !ndis_interface_given(&Row->InterfaceLuid, Row->InterfaceIndex))
		return STATUS_INVALID_PARAMETER;
	const struct ndis_interface *interface =
		ndis_interface_of(&Row->InterfaceLuid, Row->InterfaceIndex);
	if (!interface || !has_family(interface, Row->Family))
		return STATUS_NOT_FOUND;
	fill_ip_interface(interface, Row->Family, Row);
	return STATUS_SUCCESS;
}

static bool ip_interface_row(uint32_t number, ADDRESS_FAMILY family, void *row)
{
	const struct ndis_interface *interface = ndis_interface_at(number / 2);
	ADDRESS_FAMILY own = number % 2 ? AF_INET6 : AF_INET;
	if ((family != AF_UNSPEC && family != own) || !has_family(interface, own))
		return false;
	if (row)
		fill_ip_interface(interface, own, row);
	return true;
}

/* Free the table with FreeMibTable. STATUS_SUCCESS, STATUS_INVALID_PARAMETER, STATUS_NOT_FOUND,
 * STATUS_INSUFFICIENT_RESOURCES; the same for the tables below. */
NTSTATUS NETIOAPI_API_ GetIpInterfaceTable(ADDRESS_FAMILY Family, PMIB_IPINTERFACE_TABLE *Table)
{
	return ndis_table_make(ip_interface_row, 2 * ndis_interface_count(),
			       sizeof(MIB_IPINTERFACE_ROW), Family, VF_CALLER(), Table);
}

/* ---- Addresses ---- */

static void fill_address(const struct ndis_interface *interface, const struct ndis_address *from,
			 MIB_UNICASTIPADDRESS_ROW *row)
{
	memset(row, 0, sizeof(*row));
	row->Address = from->address;
	row->InterfaceLuid = interface->luid;
	row->InterfaceIndex = interface->index;
	row->PrefixOrigin = IpPrefixOriginManual;
	row->SuffixOrigin = IpSuffixOriginManual;
	row->ValidLifetime = row->PreferredLifetime = 0xffffffff;
	row->OnLinkPrefixLength = from->prefix;
	row->DadState = IpDadStatePreferred;
	if (from->address.si_family == AF_INET6)
		row->ScopeId = from->address.Ipv6.sin6_scope_struct;
}

void NETIOAPI_API_ InitializeUnicastIpAddressEntry(PMIB_UNICASTIPADDRESS_ROW Row)
{
	memset(Row, 0, sizeof(*Row));
	Row->PrefixOrigin = IpPrefixOriginUnchanged;
	Row->SuffixOrigin = IpSuffixOriginUnchanged;
	Row->ValidLifetime = Row->PreferredLifetime = 0xffffffff;
	Row->OnLinkPrefixLength = 255;
	Row->DadState = IpDadStateInvalid;
}

/* By Address and LUID or index. STATUS_SUCCESS, STATUS_INVALID_PARAMETER, STATUS_NOT_FOUND. */
NTSTATUS NETIOAPI_API_ GetUnicastIpAddressEntry(PMIB_UNICASTIPADDRESS_ROW Row)
{
	if (!Row || !ndis_family_is_one(Row->Address.si_family) ||
	    !ndis_interface_given(&Row->InterfaceLuid, Row->InterfaceIndex))
		return STATUS_INVALID_PARAMETER;
	const struct ndis_interface *interface =
		ndis_interface_of(&Row->InterfaceLuid, Row->InterfaceIndex);
	for (uint32_t i = 0; interface && i < interface->address_count; i++) {
		if (!ndis_address_equal(&interface->addresses[i].address, &Row->Address))
			continue;
		fill_address(interface, &interface->addresses[i], Row);
		return STATUS_SUCCESS;
	}
	return STATUS_NOT_FOUND;
}

static bool address_row(uint32_t number, ADDRESS_FAMILY family, void *row)
{
	const struct ndis_interface *interface;
	const struct ndis_address *address = ndis_address_item(number, family, &interface);
	if (address && row)
		fill_address(interface, address, row);
	return address;
}

static NTSTATUS address_table(ADDRESS_FAMILY family, PMIB_UNICASTIPADDRESS_TABLE *table,
			      uint64_t caller)
{
	return ndis_table_make(address_row, ndis_interface_count() * NDIS_ADDRESSES,
			       sizeof(MIB_UNICASTIPADDRESS_ROW), family, caller, table);
}

/* All addresses of a family (AF_UNSPEC: of both), interface by interface, the software loopback
 * interface's last. */
NTSTATUS NETIOAPI_API_ GetUnicastIpAddressTable(ADDRESS_FAMILY Family,
						PMIB_UNICASTIPADDRESS_TABLE *Table)
{
	return address_table(Family, Table, VF_CALLER());
}

/*
 * All addresses once they are usable: here they always are, so it is the table above at once, the
 * callback is not called and *NotificationHandle is 0. Statuses as above.
 */
NTSTATUS NETIOAPI_API_
NotifyStableUnicastIpAddressTable(ADDRESS_FAMILY Family, PMIB_UNICASTIPADDRESS_TABLE *Table,
				  PSTABLE_UNICAST_IPADDRESS_TABLE_CALLBACK CallerCallback,
				  PVOID CallerContext, HANDLE *NotificationHandle)
{
	(void)CallerContext;
	if (!CallerCallback || !NotificationHandle)
		return STATUS_INVALID_PARAMETER;
	NTSTATUS status = address_table(Family, Table, VF_CALLER());
	if (NT_SUCCESS(status))
		*NotificationHandle = NULL;
	return status;
}
