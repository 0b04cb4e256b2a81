/* SPDX-License-Identifier: MIT */
/*
 * route.c: how to reach an address: best interface, best route, paths.
 *
 * Contexts: IRQL < DISPATCH_LEVEL; reads the constant table of interfaces, no locks.
 *
 * Implements DEF-77. Every network of an interface is on the link; there are no gateways. Chosen:
 * an address of this machine's own RNIC is reached from another RNIC of the same network, if there
 * is one, because the adapters of a machine stand for the two ends of a wire (DEF-104); from itself
 * only if there is none, or if the caller names the interface.
 */
#include "ndis/ndis_internal.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

struct route {
	const struct ndis_interface *interface;
	const struct ndis_address *source;
	bool own; /* the destination is this interface's own address */
};

static bool owns(const struct ndis_interface *interface, const SOCKADDR_INET *address)
{
	for (uint32_t i = 0; i < interface->address_count; i++) {
		if (ndis_address_equal(&interface->addresses[i].address, address))
			return true;
	}
	return false;
}

static bool better(const struct route *a, const struct route *b)
{
	if (!b->interface || a->own != b->own)
		return !b->interface || b->own;
	return a->source->prefix > b->source->prefix;
}

/* `only`: from this interface; `source`: from this address; 0: from any. False: unreachable. */
static bool find_route(const SOCKADDR_INET *destination, const struct ndis_interface *only,
		       const SOCKADDR_INET *source, struct route *best)
{
	memset(best, 0, sizeof(*best));
	for (uint32_t i = 0; i < ndis_interface_count(); i++) {
		const struct ndis_interface *interface = ndis_interface_at(i);
		struct route route = {.interface = interface, .own = owns(interface, destination)};
		if (only && interface != only)
			continue;
		for (uint32_t j = 0; j < interface->address_count; j++) {
			route.source = &interface->addresses[j];
			if (source && !ndis_address_equal(&route.source->address, source))
				continue;
			if (ndis_address_in(destination, &route.source->address,
					    route.source->prefix) &&
			    better(&route, best))
				*best = route;
		}
	}
	return best->interface;
}

static void fill_route(const struct route *route, const SOCKADDR_INET *destination,
		       MIB_IPFORWARD_ROW2 *row)
{
	memset(row, 0, sizeof(*row));
	row->InterfaceLuid = route->interface->luid;
	row->InterfaceIndex = route->interface->index;
	row->DestinationPrefix.PrefixLength =
		route->own ? (destination->si_family == AF_INET ? 32 : 128) : route->source->prefix;
	row->DestinationPrefix.Prefix = route->own ? *destination : route->source->address;
	if (!route->own) {
		uint8_t *bytes = destination->si_family == AF_INET
					 ? (uint8_t *)&row->DestinationPrefix.Prefix.Ipv4.sin_addr
					 : row->DestinationPrefix.Prefix.Ipv6.sin6_addr.u.Byte;
		unsigned size = destination->si_family == AF_INET ? 32 : 128;
		for (unsigned bit = route->source->prefix; bit < size; bit++)
			bytes[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	}
	row->NextHop.si_family = destination->si_family; /* on the link: no next hop */
	row->ValidLifetime = row->PreferredLifetime = 0xffffffff;
	row->Metric = 256;
	row->Protocol = RouteProtocolLocal;
	row->Loopback = route->own;
	row->Immortal = TRUE;
	row->Origin = NlroWellKnown;
}

static bool unspecified(const SOCKADDR_INET *address)
{
	static const SOCKADDR_INET zero4 = {.Ipv4 = {.sin_family = AF_INET}};
	static const SOCKADDR_INET zero6 = {.Ipv6 = {.sin6_family = AF_INET6}};
	return !address || address->si_family == AF_UNSPEC ||
	       ndis_address_equal(address, address->si_family == AF_INET ? &zero4 : &zero6);
}

/*
 * The route to a destination, from the given interface (LUID or index) or from any, and the address
 * to use. STATUS_SUCCESS; STATUS_INVALID_PARAMETER; STATUS_NOT_FOUND: no such interface;
 * STATUS_NETWORK_UNREACHABLE.
 */
NTSTATUS NETIOAPI_API_ GetBestRoute2(NET_LUID *InterfaceLuid, NET_IFINDEX InterfaceIndex,
				     const SOCKADDR_INET *SourceAddress,
				     const SOCKADDR_INET *DestinationAddress,
				     ULONG AddressSortOptions, PMIB_IPFORWARD_ROW2 BestRoute,
				     SOCKADDR_INET *BestSourceAddress)
{
	const struct ndis_interface *only = NULL;
	struct route route;
	(void)AddressSortOptions;
	if (!DestinationAddress || !BestRoute || !BestSourceAddress ||
	    (DestinationAddress->si_family != AF_INET && DestinationAddress->si_family != AF_INET6))
		return STATUS_INVALID_PARAMETER;
	if ((InterfaceLuid && InterfaceLuid->Value) || InterfaceIndex) {
		only = ndis_interface_of(InterfaceLuid, InterfaceIndex);
		if (!only)
			return STATUS_NOT_FOUND;
	}
	if (!find_route(DestinationAddress, only, unspecified(SourceAddress) ? NULL : SourceAddress,
			&route))
		return STATUS_NETWORK_UNREACHABLE;
	fill_route(&route, DestinationAddress, BestRoute);
	*BestSourceAddress = route.source->address;
	return STATUS_SUCCESS;
}

static bool inet_of(const SOCKADDR *from, SOCKADDR_INET *to)
{
	memset(to, 0, sizeof(*to));
	if (from->sa_family == AF_INET)
		memcpy(&to->Ipv4, from, sizeof(to->Ipv4));
	else if (from->sa_family == AF_INET6)
		memcpy(&to->Ipv6, from, sizeof(to->Ipv6));
	else
		return false;
	return true;
}

/* STATUS_SUCCESS, STATUS_INVALID_PARAMETER, STATUS_NETWORK_UNREACHABLE. */
NTSTATUS NETIOAPI_API_ GetBestInterfaceEx(PSOCKADDR DestinationAddress, PNET_IFINDEX BestIfIndex)
{
	SOCKADDR_INET destination;
	struct route route;
	if (!DestinationAddress || !BestIfIndex || !inet_of(DestinationAddress, &destination))
		return STATUS_INVALID_PARAMETER;
	if (!find_route(&destination, NULL, NULL, &route))
		return STATUS_NETWORK_UNREACHABLE;
	*BestIfIndex = route.interface->index;
	return STATUS_SUCCESS;
}

/* The IPv4 address in network order. */
NTSTATUS NETIOAPI_API_ GetBestInterface(ULONG DestinationAddress, PNET_IFINDEX BestIfIndex)
{
	SOCKADDR_IN address;
	memset(&address, 0, sizeof(address));
	address.sin_family = AF_INET;
	address.sin_addr.S_un.S_addr = DestinationAddress;
	return GetBestInterfaceEx((PSOCKADDR)&address, BestIfIndex);
}

/* ---- Tables ---- */

void NETIOAPI_API_ InitializeIpForwardEntry(PMIB_IPFORWARD_ROW2 Row)
{
	memset(Row, 0, sizeof(*Row));
	Row->ValidLifetime = Row->PreferredLifetime = Row->Metric = 0xffffffff;
	Row->SitePrefixLength = 255;
	Row->Protocol = MIB_IPPROTO_NETMGMT;
	Row->AutoconfigureAddress = Row->Publish = TRUE;
	Row->Immortal = TRUE;
}

/* By DestinationPrefix and LUID or index. STATUS_SUCCESS, STATUS_INVALID_PARAMETER,
 * STATUS_NOT_FOUND. */
NTSTATUS NETIOAPI_API_ GetIpForwardEntry2(PMIB_IPFORWARD_ROW2 Row)
{
	if (!Row || (Row->DestinationPrefix.Prefix.si_family != AF_INET &&
		     Row->DestinationPrefix.Prefix.si_family != AF_INET6))
		return STATUS_INVALID_PARAMETER;
	const struct ndis_interface *interface =
		ndis_interface_of(&Row->InterfaceLuid, Row->InterfaceIndex);
	const SOCKADDR_INET prefix = Row->DestinationPrefix.Prefix;
	for (uint32_t i = 0; interface && i < interface->address_count; i++) {
		const struct ndis_address *address = &interface->addresses[i];
		struct route route = {.interface = interface, .source = address};
		if (address->prefix != Row->DestinationPrefix.PrefixLength ||
		    !ndis_address_in(&prefix, &address->address, address->prefix))
			continue;
		fill_route(&route, &prefix, Row);
		return STATUS_SUCCESS;
	}
	return STATUS_NOT_FOUND;
}

/* The networks of all interfaces. Free the table with FreeMibTable. */
NTSTATUS NETIOAPI_API_ GetIpForwardTable2(ADDRESS_FAMILY Family, PMIB_IPFORWARD_TABLE2 *Table)
{
	if (!Table || !ndis_family_valid(Family))
		return STATUS_INVALID_PARAMETER;
	MIB_IPFORWARD_TABLE2 *table = ndis_table_allocate(ndis_interface_count() * NDIS_ADDRESSES,
							  sizeof(MIB_IPFORWARD_ROW2), VF_CALLER());
	if (!table)
		return STATUS_INSUFFICIENT_RESOURCES;
	ULONG count = 0;
	for (uint32_t i = 0; i < ndis_interface_count(); i++) {
		const struct ndis_interface *interface = ndis_interface_at(i);
		for (uint32_t j = 0; j < interface->address_count; j++) {
			struct route route = {.interface = interface,
					      .source = &interface->addresses[j]};
			const SOCKADDR_INET *address = &route.source->address;
			if (Family == AF_UNSPEC || Family == address->si_family)
				fill_route(&route, address, &table->Table[count++]);
		}
	}
	table->NumEntries = count;
	*Table = table;
	return STATUS_SUCCESS;
}

static void fill_path(const struct route *route, const SOCKADDR_INET *destination,
		      MIB_IPPATH_ROW *row)
{
	memset(row, 0, sizeof(*row));
	row->Source = route->source->address;
	row->Destination = *destination;
	row->InterfaceLuid = route->interface->luid;
	row->InterfaceIndex = route->interface->index;
	row->CurrentNextHop = *destination;
	row->PathMtu = NDIS_MTU;
	row->IsReachable = TRUE;
	row->LinkTransmitSpeed = row->LinkReceiveSpeed = NDIS_LINK_SPEED;
}

/* By Destination, and Source or LUID or index where given. STATUS_SUCCESS,
 * STATUS_INVALID_PARAMETER, STATUS_NOT_FOUND. */
NTSTATUS NETIOAPI_API_ GetIpPathEntry(PMIB_IPPATH_ROW Row)
{
	struct route route;
	if (!Row ||
	    (Row->Destination.si_family != AF_INET && Row->Destination.si_family != AF_INET6))
		return STATUS_INVALID_PARAMETER;
	const struct ndis_interface *only = NULL;
	if (Row->InterfaceLuid.Value || Row->InterfaceIndex) {
		only = ndis_interface_of(&Row->InterfaceLuid, Row->InterfaceIndex);
		if (!only)
			return STATUS_NOT_FOUND;
	}
	const SOCKADDR_INET destination = Row->Destination, source = Row->Source;
	if (!find_route(&destination, only, unspecified(&source) ? NULL : &source, &route))
		return STATUS_NOT_FOUND;
	fill_path(&route, &destination, Row);
	return STATUS_SUCCESS;
}

/* The next (source interface, destination) pair of the table below that is a path. */
static bool is_path(uint32_t from, uint32_t to, uint32_t address, ADDRESS_FAMILY family,
		    struct route *route)
{
	const struct ndis_interface *interface = ndis_interface_at(from);
	const struct ndis_interface *target = ndis_interface_at(to);
	if (from == to || address >= target->address_count)
		return false;
	const SOCKADDR_INET *destination = &target->addresses[address].address;
	if (family != AF_UNSPEC && family != destination->si_family)
		return false;
	return find_route(destination, interface, NULL, route);
}

/* One path from each interface to each address of another in its network. Free the table with
 * FreeMibTable. */
NTSTATUS NETIOAPI_API_ GetIpPathTable(ADDRESS_FAMILY Family, PMIB_IPPATH_TABLE *Table)
{
	uint32_t interfaces = ndis_interface_count();
	MIB_IPPATH_TABLE *table = NULL;
	if (!Table || !ndis_family_valid(Family))
		return STATUS_INVALID_PARAMETER;
	/* Once to count, once to fill. */
	for (;;) {
		ULONG count = 0;
		for (uint32_t i = 0; i < interfaces * interfaces * NDIS_ADDRESSES; i++) {
			struct route route;
			uint32_t to = i / NDIS_ADDRESSES % interfaces, address = i % NDIS_ADDRESSES;
			if (!is_path(i / NDIS_ADDRESSES / interfaces, to, address, Family, &route))
				continue;
			if (table)
				fill_path(&route,
					  &ndis_interface_at(to)->addresses[address].address,
					  &table->Table[count]);
			count++;
		}
		if (table)
			break;
		table = ndis_table_allocate(count, sizeof(MIB_IPPATH_ROW), VF_CALLER());
		if (!table)
			return STATUS_INSUFFICIENT_RESOURCES;
	}
	*Table = table;
	return STATUS_SUCCESS;
}
