/* SPDX-License-Identifier: MIT */
/*
 * route.c: how to reach an address: best interface, best route, paths, neighbours.
 *
 * Contexts: IRQL < DISPATCH_LEVEL; reads the constant table of interfaces, no locks.
 *
 * Implements DEF-77. Every network of an interface is on the link; there are no gateways. Chosen:
 * an address of this machine's own RNIC is reached from another RNIC of the same network, if there
 * is one, because the adapters of a machine stand for the two ends of a wire (DEF-104); from itself
 * only if there is none, or if the caller names the interface, be it by the zone of a link-local
 * address. Who is reached over a link is a neighbour, always reachable.
 */
#include "ndis/ndis_internal.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

struct route {
	const struct ndis_interface *interface;
	const struct ndis_address *source;
	bool own; /* the destination is this interface's own address */
};

/* To an address of another interface. */
struct path {
	SOCKADDR_INET destination;
	const struct ndis_interface *owner;
	struct route route;
};

static uint32_t paths(void)
{
	return ndis_interface_count() * ndis_interface_count() * NDIS_ADDRESSES;
}

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
	unsigned bits = ndis_family_bits(destination->si_family);
	unsigned prefix = route->own ? bits : route->source->prefix;
	SOCKADDR_INET *network = &row->DestinationPrefix.Prefix;
	*network = route->own ? *destination : route->source->address;
	network->Ipv4.sin_port = 0; /* of either family */
	uint8_t *bytes = network->si_family == AF_INET ? (uint8_t *)&network->Ipv4.sin_addr
						       : network->Ipv6.sin6_addr.u.Byte;
	for (unsigned bit = prefix; bit < bits; bit++)
		bytes[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	row->DestinationPrefix.PrefixLength = (UINT8)prefix;
	row->NextHop.si_family = destination->si_family; /* on the link: no next hop */
	row->ValidLifetime = row->PreferredLifetime = 0xffffffff;
	row->Metric = 256;
	row->Protocol = RouteProtocolLocal;
	row->Loopback = route->own || route->interface->kind == NDIS_SOFTWARE_LOOPBACK;
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
	    !ndis_family_is_one(DestinationAddress->si_family))
		return STATUS_INVALID_PARAMETER;
	const SOCKADDR_INET destination = *DestinationAddress; /* may lie in what is written */
	const SOCKADDR_INET *source = unspecified(SourceAddress) ? NULL : SourceAddress;
	if (source && source->si_family != destination.si_family)
		return STATUS_INVALID_PARAMETER;
	if (ndis_interface_given(InterfaceLuid, InterfaceIndex)) {
		only = ndis_interface_of(InterfaceLuid, InterfaceIndex);
		if (!only)
			return STATUS_NOT_FOUND;
	}
	if (!find_route(&destination, only, source, &route))
		return STATUS_NETWORK_UNREACHABLE;
	fill_route(&route, &destination, BestRoute);
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

/* Times infinite, flags TRUE; site prefix, metric and protocol no legal value. */
void NETIOAPI_API_ InitializeIpForwardEntry(PMIB_IPFORWARD_ROW2 Row)
{
	memset(Row, 0, sizeof(*Row));
	Row->ValidLifetime = Row->PreferredLifetime = Row->Metric = 0xffffffff;
	Row->SitePrefixLength = 255;
	Row->Protocol = (NL_ROUTE_PROTOCOL)-1;
	Row->Loopback = Row->AutoconfigureAddress = Row->Publish = Row->Immortal = TRUE;
}

#define ROUTES (2 * NDIS_ADDRESSES) /* of one interface: each address' network, and itself */

static bool route_row(uint32_t number, ADDRESS_FAMILY family, void *row)
{
	struct route route = {.own = number % 2};
	route.source = ndis_address_item(number / 2, family, &route.interface);
	if (!route.source ||
	    (!route.own &&
	     route.source->prefix == ndis_family_bits(route.source->address.si_family)))
		return false;
	if (row)
		fill_route(&route, &route.source->address, row);
	return true;
}

/* By DestinationPrefix, NextHop and LUID or index. STATUS_SUCCESS, STATUS_INVALID_PARAMETER,
 * STATUS_NOT_FOUND. */
NTSTATUS NETIOAPI_API_ GetIpForwardEntry2(PMIB_IPFORWARD_ROW2 Row)
{
	if (!Row || !ndis_family_is_one(Row->DestinationPrefix.Prefix.si_family) ||
	    Row->NextHop.si_family != Row->DestinationPrefix.Prefix.si_family ||
	    !ndis_interface_given(&Row->InterfaceLuid, Row->InterfaceIndex))
		return STATUS_INVALID_PARAMETER;
	const struct ndis_interface *interface =
		ndis_interface_of(&Row->InterfaceLuid, Row->InterfaceIndex);
	if (!unspecified(&Row->NextHop))
		return STATUS_NOT_FOUND; /* a gateway */
	for (uint32_t i = 0; interface && i < ndis_interface_count() * ROUTES; i++) {
		MIB_IPFORWARD_ROW2 row;
		if (ndis_interface_at(i / ROUTES) != interface || !route_row(i, AF_UNSPEC, &row) ||
		    row.DestinationPrefix.PrefixLength != Row->DestinationPrefix.PrefixLength ||
		    !ndis_address_equal(&row.DestinationPrefix.Prefix,
					&Row->DestinationPrefix.Prefix))
			continue;
		*Row = row;
		return STATUS_SUCCESS;
	}
	return STATUS_NOT_FOUND;
}

/* The networks and the addresses of all interfaces. Free the table with FreeMibTable.
 * STATUS_SUCCESS, STATUS_INVALID_PARAMETER, STATUS_NOT_FOUND, STATUS_INSUFFICIENT_RESOURCES. */
NTSTATUS NETIOAPI_API_ GetIpForwardTable2(ADDRESS_FAMILY Family, PMIB_IPFORWARD_TABLE2 *Table)
{
	return ndis_table_make(route_row, ndis_interface_count() * ROUTES,
			       sizeof(MIB_IPFORWARD_ROW2), Family, VF_CALLER(), Table);
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

/* By Destination, LUID or index, and Source where given. STATUS_SUCCESS, STATUS_INVALID_PARAMETER,
 * STATUS_NOT_FOUND. */
NTSTATUS NETIOAPI_API_ GetIpPathEntry(PMIB_IPPATH_ROW Row)
{
	struct route route;
	if (!Row || !ndis_family_is_one(Row->Destination.si_family) ||
	    !ndis_interface_given(&Row->InterfaceLuid, Row->InterfaceIndex))
		return STATUS_INVALID_PARAMETER;
	const struct ndis_interface *only =
		ndis_interface_of(&Row->InterfaceLuid, Row->InterfaceIndex);
	const SOCKADDR_INET destination = Row->Destination, source = Row->Source;
	if (!only || !find_route(&destination, only, unspecified(&source) ? NULL : &source, &route))
		return STATUS_NOT_FOUND;
	fill_path(&route, &destination, Row);
	return STATUS_SUCCESS;
}

/* From interface I to address J of another, as it is seen from there. */
static bool find_path(uint32_t number, ADDRESS_FAMILY family, struct path *path)
{
	uint32_t addresses = ndis_interface_count() * NDIS_ADDRESSES;
	const struct ndis_interface *from = ndis_interface_at(number / addresses);
	const struct ndis_address *address =
		ndis_address_item(number % addresses, family, &path->owner);
	if (!address || from == path->owner)
		return false;
	path->destination = address->address;
	if (path->destination.si_family == AF_INET6 && path->destination.Ipv6.sin6_scope_id)
		path->destination.Ipv6.sin6_scope_id = from->index;
	return find_route(&path->destination, from, NULL, &path->route);
}

static bool path_row(uint32_t number, ADDRESS_FAMILY family, void *row)
{
	struct path path;
	if (!find_path(number, family, &path))
		return false;
	if (row)
		fill_path(&path.route, &path.destination, row);
	return true;
}

/* One path from each interface to each address of another in its network. Free the table with
 * FreeMibTable. Statuses as GetIpForwardTable2. */
NTSTATUS NETIOAPI_API_ GetIpPathTable(ADDRESS_FAMILY Family, PMIB_IPPATH_TABLE *Table)
{
	return ndis_table_make(path_row, paths(), sizeof(MIB_IPPATH_ROW), Family, VF_CALLER(),
			       Table);
}

/* ---- Neighbours ---- */

static bool neighbour_row(uint32_t number, ADDRESS_FAMILY family, void *to)
{
	MIB_IPNET_ROW2 *row = to;
	struct path path;
	if (!find_path(number, family, &path))
		return false;
	if (!row)
		return true;
	memset(row, 0, sizeof(*row));
	row->Address = path.destination;
	row->InterfaceIndex = path.route.interface->index;
	row->InterfaceLuid = path.route.interface->luid;
	row->PhysicalAddressLength = sizeof(path.owner->physical_address);
	memcpy(row->PhysicalAddress, path.owner->physical_address, row->PhysicalAddressLength);
	row->State = NlnsReachable;
	return true;
}

/* By Address and LUID or index. STATUS_SUCCESS, STATUS_INVALID_PARAMETER, STATUS_NOT_FOUND. */
NTSTATUS NETIOAPI_API_ GetIpNetEntry2(PMIB_IPNET_ROW2 Row)
{
	if (!Row || !ndis_family_is_one(Row->Address.si_family) ||
	    !ndis_interface_given(&Row->InterfaceLuid, Row->InterfaceIndex))
		return STATUS_INVALID_PARAMETER;
	const struct ndis_interface *interface =
		ndis_interface_of(&Row->InterfaceLuid, Row->InterfaceIndex);
	for (uint32_t i = 0; interface && i < paths(); i++) {
		MIB_IPNET_ROW2 row;
		if (!neighbour_row(i, Row->Address.si_family, &row) ||
		    row.InterfaceIndex != interface->index ||
		    !ndis_address_equal(&row.Address, &Row->Address))
			continue;
		*Row = row;
		return STATUS_SUCCESS;
	}
	return STATUS_NOT_FOUND;
}

/* The same: whoever is on the link is known. The source, where given, is of the address' family. */
NTSTATUS NETIOAPI_API_ ResolveIpNetEntry2(PMIB_IPNET_ROW2 Row, const SOCKADDR_INET *SourceAddress)
{
	if (Row && !unspecified(SourceAddress) &&
	    SourceAddress->si_family != Row->Address.si_family)
		return STATUS_INVALID_PARAMETER;
	return GetIpNetEntry2(Row);
}

/* Who is on the links of all interfaces. Free the table with FreeMibTable. Statuses as
 * GetIpForwardTable2. */
NTSTATUS NETIOAPI_API_ GetIpNetTable2(ADDRESS_FAMILY Family, PMIB_IPNET_TABLE2 *Table)
{
	return ndis_table_make(neighbour_row, paths(), sizeof(MIB_IPNET_ROW2), Family, VF_CALLER(),
			       Table);
}
