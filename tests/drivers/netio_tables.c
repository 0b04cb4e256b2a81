/* SPDX-License-Identifier: MIT */
/*
 * netio_tables.c: how a consumer finds its interface (DEF-75..77). CASE 0: all of it, the default
 * adapters. 1: FreeMibTable inside a table; 2: twice; 3: a table is left; 4: the adapters of
 * --adapter=loopback:70000=10.1.2.3/8,alias:wire,luid:0x6000001000000,9=fe80::9;
 * 5: one RNIC without IPv6, --adapter=loopback:2=10.0.0.1;
 * 6: two with link-local addresses; 7: sixteen; 8: a table at DISPATCH_LEVEL.
 */
#include "check.h"
#include <netioapi.h>
#include <wsk.h>

static ULONG ip4(UCHAR a, UCHAR b, UCHAR c, UCHAR d)
{
	return (ULONG)a | (ULONG)b << 8 | (ULONG)c << 16 | (ULONG)d << 24;
}

static SOCKADDR_INET inet4(ULONG address)
{
	SOCKADDR_INET inet;
	RtlZeroMemory(&inet, sizeof(inet));
	inet.Ipv4.sin_family = AF_INET;
	inet.Ipv4.sin_addr.S_un.S_addr = address;
	return inet;
}

static BOOLEAN same(const WCHAR *a, const WCHAR *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

static void test_names(void)
{
	NET_LUID luid, again;
	NET_IFINDEX index = 0;
	WCHAR alias[257], small[4] = L"xxx";
	CHAR name[64];
	GUID guid;
	CHECK(ConvertInterfaceIndexToLuid(2, &luid) == STATUS_SUCCESS &&
		      luid.Info.IfType == IF_TYPE_ETHERNET_CSMACD,
	      "DEF-76 the index gives the LUID of an Ethernet interface");
	CHECK(ConvertInterfaceIndexToLuid(99, &again) == STATUS_INVALID_PARAMETER,
	      "DEF-76 an unknown index is STATUS_INVALID_PARAMETER");
	CHECK(ConvertInterfaceLuidToIndex(&luid, &index) == STATUS_SUCCESS && index == 2,
	      "DEF-76 the LUID gives the index back");
	CHECK(ConvertInterfaceLuidToAlias(&luid, alias, 257) == STATUS_SUCCESS &&
		      same(alias, L"Ethernet 2"),
	      "DEF-76 the LUID gives the alias");
	CHECK(ConvertInterfaceLuidToAlias(&luid, small, 4) == STATUS_BUFFER_TOO_SMALL &&
		      small[3] == 0,
	      "DEF-76 a small buffer is STATUS_BUFFER_TOO_SMALL, not an overrun");
	CHECK(ConvertInterfaceAliasToLuid(L"ethernet 2", &again) == STATUS_SUCCESS &&
		      again.Value == luid.Value,
	      "DEF-76 the alias gives the LUID, without case");
	CHECK(ConvertInterfaceLuidToGuid(&luid, &guid) == STATUS_SUCCESS &&
		      ConvertInterfaceGuidToLuid(&guid, &again) == STATUS_SUCCESS &&
		      again.Value == luid.Value,
	      "DEF-76 the GUID goes there and back");
	CHECK(ConvertInterfaceLuidToNameA(&luid, name, sizeof(name)) == STATUS_SUCCESS &&
		      ConvertInterfaceNameToLuidA(name, &again) == STATUS_SUCCESS &&
		      again.Value == luid.Value,
	      "DEF-76 the name goes there and back");
	ULONG mask;
	UINT8 length;
	CHECK(ConvertLengthToIpv4Mask(20, &mask) == STATUS_SUCCESS &&
		      mask == ip4(255, 255, 240, 0) &&
		      ConvertIpv4MaskToLength(mask, &length) == STATUS_SUCCESS && length == 20,
	      "DEF-55 masks and their lengths");
	CHECK(ConvertIpv4MaskToLength(ip4(255, 0, 255, 0), &length) == STATUS_INVALID_PARAMETER,
	      "DEF-55 a mask with a hole is none");
}

static void test_interfaces(void)
{
	MIB_IF_TABLE2 *table;
	MIB_IF_ROW2 row;
	ULONG found = 0;
	CHECK(GetIfTable2(&table) == STATUS_SUCCESS && table->NumEntries == 3,
	      "DEF-75 two RNICs and the software loopback interface");
	for (ULONG i = 0; i < table->NumEntries; i++) {
		if (table->Table[i].Type == IF_TYPE_ETHERNET_CSMACD &&
		    table->Table[i].OperStatus == IfOperStatusUp &&
		    (table->Table[i].InterfaceIndex == 2 || table->Table[i].InterfaceIndex == 3))
			found++;
	}
	CHECK(found == 2, "DEF-75 indices 2 and 3 are up");
	FreeMibTable(table);
	RtlZeroMemory(&row, sizeof(row));
	row.InterfaceIndex = 3;
	CHECK(GetIfEntry2(&row) == STATUS_SUCCESS && row.InterfaceLuid.Value &&
		      row.PhysicalAddressLength == 6 && row.PhysicalAddress[0] == 2,
	      "DEF-75 an entry by index");
	row.InterfaceIndex = 0; /* the LUID counts */
	CHECK(GetIfEntry2(&row) == STATUS_SUCCESS && row.InterfaceIndex == 3,
	      "DEF-75 an entry by LUID");
	RtlZeroMemory(&row, sizeof(row));
	CHECK(GetIfEntry2(&row) == STATUS_INVALID_PARAMETER, "DEF-75 an entry by nothing");
	row.InterfaceIndex = 77;
	CHECK(GetIfEntry2(&row) == STATUS_OBJECT_NAME_NOT_FOUND, "DEF-75 an unknown entry");
	MIB_IPINTERFACE_TABLE *ip;
	CHECK(GetIpInterfaceTable(AF_INET6, &ip) == STATUS_SUCCESS && ip->NumEntries == 3 &&
		      ip->Table[0].Family == AF_INET6 && ip->Table[0].Connected,
	      "DEF-75 IP interfaces of a family");
	FreeMibTable(ip);
}

static void test_addresses(void)
{
	MIB_UNICASTIPADDRESS_TABLE *table;
	MIB_UNICASTIPADDRESS_ROW row;
	ULONG found = 0;
	CHECK(GetUnicastIpAddressTable(AF_UNSPEC, &table) == STATUS_SUCCESS &&
		      table->NumEntries == 6,
	      "DEF-75 all addresses");
	for (ULONG i = 0; i < table->NumEntries; i++) {
		const MIB_UNICASTIPADDRESS_ROW *at = &table->Table[i];
		if (at->Address.si_family == AF_INET && at->InterfaceIndex == 2 &&
		    at->Address.Ipv4.sin_addr.S_un.S_addr == ip4(192, 0, 2, 1))
			found |= 1;
		if (at->Address.si_family == AF_INET && at->InterfaceIndex == 3 &&
		    at->Address.Ipv4.sin_addr.S_un.S_addr == ip4(192, 0, 2, 2))
			found |= 2;
		if (at->Address.si_family == AF_INET6 && at->InterfaceIndex == 2 &&
		    at->Address.Ipv6.sin6_addr.u.Byte[0] == 0xfd &&
		    at->Address.Ipv6.sin6_addr.u.Byte[15] == 1)
			found |= 4;
		if (at->Address.si_family == AF_INET6 && at->InterfaceIndex == 3 &&
		    at->Address.Ipv6.sin6_addr.u.Byte[15] == 2 &&
		    at->DadState == IpDadStatePreferred)
			found |= 8;
	}
	CHECK(found == 15, "DESIGN 5 index 2: 192.0.2.1, fd00::1; index 3: 192.0.2.2, fd00::2");
	FreeMibTable(table);
	CHECK(GetUnicastIpAddressTable(AF_INET, &table) == STATUS_SUCCESS && table->NumEntries == 3,
	      "DEF-75 the addresses of a family");
	KIRQL old;
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	FreeMibTable(table); /* legal here */
	KeLowerIrql(old);
	CHECK(GetUnicastIpAddressTable(99, &table) == STATUS_INVALID_PARAMETER,
	      "DEF-75 no such family");
	InitializeUnicastIpAddressEntry(&row);
	row.InterfaceIndex = 3;
	row.InterfaceLuid.Value = 0;
	row.Address = inet4(ip4(192, 0, 2, 2));
	CHECK(GetUnicastIpAddressEntry(&row) == STATUS_SUCCESS && row.OnLinkPrefixLength == 24,
	      "DEF-75 an address' entry");
	row.Address = inet4(ip4(192, 0, 2, 3));
	CHECK(GetUnicastIpAddressEntry(&row) == STATUS_NOT_FOUND, "DEF-75 not its address");
}

static void test_routes(void)
{
	MIB_IPFORWARD_ROW2 route;
	SOCKADDR_INET destination = inet4(ip4(192, 0, 2, 2)), source;
	NET_IFINDEX index = 0;
	CHECK(GetBestRoute2(NULL, 0, NULL, &destination, 0, &route, &source) == STATUS_SUCCESS &&
		      route.InterfaceIndex == 2 &&
		      source.Ipv4.sin_addr.S_un.S_addr == ip4(192, 0, 2, 1) && !route.Loopback,
	      "DEF-77 the other RNIC is reached over the wire");
	CHECK(GetBestRoute2(NULL, 3, NULL, &destination, 0, &route, &source) == STATUS_SUCCESS &&
		      route.InterfaceIndex == 3 && route.Loopback,
	      "DEF-77 from the interface that the caller names");
	CHECK(GetBestRoute2(NULL, 9, NULL, &destination, 0, &route, &source) == STATUS_NOT_FOUND,
	      "DEF-77 from an unknown interface");
	CHECK(GetBestInterfaceEx((PSOCKADDR)&destination, &index) == STATUS_SUCCESS && index == 2,
	      "DEF-77 the best interface");
	destination = inet4(ip4(8, 8, 8, 8));
	CHECK(GetBestRoute2(NULL, 0, NULL, &destination, 0, &route, &source) ==
		      STATUS_NETWORK_UNREACHABLE,
	      "DEF-77 nobody reaches the world");
	CHECK(GetBestInterface(ip4(127, 0, 0, 1), &index) == STATUS_SUCCESS && index == 1,
	      "DEF-77 the software loopback interface");

	MIB_IPPATH_TABLE *paths;
	ULONG found = 0;
	CHECK(GetIpPathTable(AF_INET, &paths) == STATUS_SUCCESS && paths->NumEntries == 2,
	      "DEF-77 a path in each direction");
	for (ULONG i = 0; i < paths->NumEntries; i++) {
		if (paths->Table[i].InterfaceIndex == 3 && paths->Table[i].IsReachable &&
		    paths->Table[i].Destination.Ipv4.sin_addr.S_un.S_addr == ip4(192, 0, 2, 1) &&
		    paths->Table[i].Source.Ipv4.sin_addr.S_un.S_addr == ip4(192, 0, 2, 2))
			found++;
	}
	CHECK(found == 1, "DEF-77 the path from 192.0.2.2 to 192.0.2.1");
	FreeMibTable(paths);

	MIB_IPFORWARD_TABLE2 *routes;
	CHECK(GetIpForwardTable2(AF_INET, &routes) == STATUS_SUCCESS && routes->NumEntries == 6 &&
		      routes->Table[0].DestinationPrefix.Prefix.Ipv4.sin_addr.S_un.S_addr ==
			      ip4(192, 0, 2, 0) &&
		      routes->Table[0].DestinationPrefix.PrefixLength == 24,
	      "DEF-77 the networks and the addresses in them");
	FreeMibTable(routes);
}

/* Entries: by nothing, by what is not there, by what a table gave. */
static void test_entries(void)
{
	MIB_UNICASTIPADDRESS_ROW address;
	MIB_IPINTERFACE_ROW interface;
	MIB_IPFORWARD_ROW2 route, again;
	MIB_IPPATH_ROW path;
	SOCKADDR_INET source;
	InitializeIpInterfaceEntry(&interface);
	interface.Family = AF_INET;
	CHECK(GetIpInterfaceEntry(&interface) == STATUS_INVALID_PARAMETER,
	      "DEF-55 GetIpInterfaceEntry without LUID and index");
	interface.InterfaceIndex = 1;
	CHECK(GetIpInterfaceEntry(&interface) == STATUS_SUCCESS && interface.NlMtu == 0xffffffff,
	      "DEF-55 the software loopback interface has no MTU here either");
	InitializeUnicastIpAddressEntry(&address);
	address.Address = inet4(ip4(192, 0, 2, 2));
	CHECK(GetUnicastIpAddressEntry(&address) == STATUS_INVALID_PARAMETER,
	      "DEF-55 GetUnicastIpAddressEntry without LUID and index");
	RtlZeroMemory(&path, sizeof(path));
	path.Destination = inet4(ip4(192, 0, 2, 2));
	CHECK(GetIpPathEntry(&path) == STATUS_INVALID_PARAMETER,
	      "DEF-55 GetIpPathEntry without LUID and index");
	path.InterfaceIndex = 2;
	CHECK(GetIpPathEntry(&path) == STATUS_SUCCESS &&
		      path.Source.Ipv4.sin_addr.S_un.S_addr == ip4(192, 0, 2, 1),
	      "DEF-55 the path from interface 2");

	InitializeIpForwardEntry(&route);
	CHECK(route.Loopback && route.Publish && route.Immortal && route.SitePrefixLength == 255 &&
		      (ULONG)route.Protocol == 0xffffffff && route.ValidLifetime == 0xffffffff,
	      "DEF-55 InitializeIpForwardEntry");
	source = inet4(ip4(192, 0, 2, 2));
	source.Ipv4.sin_port = 7;
	route.DestinationPrefix.Prefix = source;
	CHECK(GetBestRoute2(NULL, 3, NULL, &route.DestinationPrefix.Prefix, 0, &route, &source) ==
			      STATUS_SUCCESS &&
		      route.DestinationPrefix.PrefixLength == 32 &&
		      route.DestinationPrefix.Prefix.Ipv4.sin_addr.S_un.S_addr ==
			      ip4(192, 0, 2, 2) &&
		      route.DestinationPrefix.Prefix.Ipv4.sin_port == 0,
	      "DEF-77 a destination that lies in the route; its port is no part of it");
	again = route;
	again.Metric = 0;
	CHECK(GetIpForwardEntry2(&again) == STATUS_SUCCESS && again.Metric == route.Metric,
	      "DEF-77 the best route is an entry");
	again.NextHop.si_family = AF_UNSPEC;
	CHECK(GetIpForwardEntry2(&again) == STATUS_INVALID_PARAMETER,
	      "DEF-55 GetIpForwardEntry2 without the next hop");
	again = route;
	again.InterfaceIndex = 0;
	again.InterfaceLuid.Value = 0;
	CHECK(GetIpForwardEntry2(&again) == STATUS_INVALID_PARAMETER,
	      "DEF-55 GetIpForwardEntry2 without LUID and index");
	RtlZeroMemory(&source, sizeof(source));
	source.si_family = AF_INET6;
	source.Ipv6.sin6_addr.u.Byte[0] = 0xfd;
	CHECK(GetBestRoute2(NULL, 0, &source, &route.DestinationPrefix.Prefix, 0, &again,
			    &source) == STATUS_INVALID_PARAMETER,
	      "DEF-77 a source of another family");
}

static VOID NTAPI on_stable(PVOID context, PMIB_UNICASTIPADDRESS_TABLE table)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(table);
	CHECK(FALSE, "DEF-55 no address is tentative");
}

static void test_neighbours(void)
{
	MIB_UNICASTIPADDRESS_TABLE *addresses;
	MIB_IPNET_TABLE2 *table;
	MIB_IPNET_ROW2 row;
	MIB_IF_ROW2 owner;
	SOCKADDR_INET source;
	HANDLE handle = (HANDLE)1;
	RtlZeroMemory(&owner, sizeof(owner));
	RtlZeroMemory(&row, sizeof(row));
	owner.InterfaceIndex = 3;
	GetIfEntry2(&owner);
	row.Address = inet4(ip4(192, 0, 2, 2));
	CHECK(GetIpNetEntry2(&row) == STATUS_INVALID_PARAMETER &&
		      GetIpNetEntry2(NULL) == STATUS_INVALID_PARAMETER,
	      "DEF-55 GetIpNetEntry2 without LUID and index");
	row.InterfaceIndex = 2;
	source = inet4(ip4(192, 0, 2, 1));
	CHECK(ResolveIpNetEntry2(&row, &source) == STATUS_SUCCESS && row.State == NlnsReachable &&
		      row.InterfaceLuid.Value && row.PhysicalAddressLength == 6 &&
		      RtlEqualMemory(row.PhysicalAddress, owner.PhysicalAddress, 6),
	      "DEF-55 the other RNIC's physical address");
	source.si_family = AF_INET6;
	source.Ipv6.sin6_addr.u.Byte[0] = 0xfd;
	CHECK(ResolveIpNetEntry2(&row, &source) == STATUS_INVALID_PARAMETER,
	      "DEF-55 a source of another family");
	row.Address = inet4(ip4(192, 0, 2, 1));
	CHECK(ResolveIpNetEntry2(&row, NULL) == STATUS_NOT_FOUND,
	      "DEF-55 an own address is no neighbour");
	CHECK(GetIpNetTable2(AF_UNSPEC, &table) == STATUS_SUCCESS && table->NumEntries == 4 &&
		      table->Table[0].InterfaceIndex == 2 &&
		      table->Table[0].Address.Ipv4.sin_addr.S_un.S_addr == ip4(192, 0, 2, 2),
	      "DEF-55 each sees the other, by both addresses");
	FreeMibTable(table);
	CHECK(NotifyStableUnicastIpAddressTable(AF_INET, &addresses, on_stable, NULL, &handle) ==
			      STATUS_SUCCESS &&
		      addresses->NumEntries == 3 && !handle,
	      "DEF-55 addresses are stable at once");
	FreeMibTable(addresses);
	CHECK(NotifyStableUnicastIpAddressTable(AF_INET, &addresses, NULL, NULL, &handle) ==
			      STATUS_INVALID_PARAMETER &&
		      NotifyStableUnicastIpAddressTable(AF_INET, NULL, on_stable, NULL, &handle) ==
			      STATUS_INVALID_PARAMETER &&
		      NotifyStableUnicastIpAddressTable(AF_INET, &addresses, on_stable, NULL,
							NULL) == STATUS_INVALID_PARAMETER,
	      "DEF-55 but not without a callback, a table and a handle");
}

/* One RNIC with an IPv4 address. */
static void test_alone(void)
{
	MIB_IPPATH_TABLE *paths = (MIB_IPPATH_TABLE *)1;
	MIB_IPFORWARD_TABLE2 *routes;
	CHECK(GetIpPathTable(AF_INET, &paths) == STATUS_NOT_FOUND && paths == (MIB_IPPATH_TABLE *)1,
	      "DEF-77 no path to anywhere: no table");
	CHECK(GetIpForwardTable2(AF_INET6, &routes) == STATUS_SUCCESS && routes->NumEntries == 1 &&
		      routes->Table[0].InterfaceIndex == 1 && routes->Table[0].Loopback,
	      "DEF-77 an address that is its own network is one route");
	FreeMibTable(routes);
}

/* --adapter=loopback:2=fe80::1,3=fe80::2: the zone of a link-local address is its interface. */
static void test_zones(void)
{
	MIB_UNICASTIPADDRESS_TABLE *table;
	MIB_UNICASTIPADDRESS_ROW row;
	MIB_IPINTERFACE_ROW interface;
	MIB_IPFORWARD_ROW2 route;
	MIB_IPPATH_TABLE *paths;
	SOCKADDR_INET destination, source;
	CHECK(GetUnicastIpAddressTable(AF_INET6, &table) == STATUS_SUCCESS &&
		      table->Table[1].InterfaceIndex == 3 &&
		      table->Table[1].Address.Ipv6.sin6_scope_id == 3 &&
		      table->Table[1].ScopeId.Value == 3 &&
		      table->Table[2].Address.Ipv6.sin6_scope_id == 0,
	      "DEF-75 the zone of a link-local address is its interface; others have none");
	row = table->Table[1];
	destination = row.Address;
	FreeMibTable(table);
	row.Address.Ipv6.sin6_scope_id = 2;
	CHECK(GetUnicastIpAddressEntry(&row) == STATUS_NOT_FOUND, "DEF-75 not of another zone");
	row.Address.Ipv6.sin6_scope_id = 0;
	CHECK(GetUnicastIpAddressEntry(&row) == STATUS_SUCCESS &&
		      row.Address.Ipv6.sin6_scope_id == 3,
	      "DEF-75 a zone that is not given");
	CHECK(GetBestRoute2(NULL, 0, NULL, &destination, 0, &route, &source) == STATUS_SUCCESS &&
		      route.InterfaceIndex == 3 && route.Loopback,
	      "DEF-77 a zone names the interface");
	destination.Ipv6.sin6_scope_id = 2;
	CHECK(GetBestRoute2(NULL, 0, NULL, &destination, 0, &route, &source) == STATUS_SUCCESS &&
		      route.InterfaceIndex == 2 && !route.Loopback &&
		      source.Ipv6.sin6_scope_id == 2 && source.Ipv6.sin6_addr.u.Byte[15] == 1,
	      "DEF-77 the other RNIC, as seen from here");
	CHECK(GetBestRoute2(NULL, 3, NULL, &destination, 0, &route, &source) ==
		      STATUS_NETWORK_UNREACHABLE,
	      "DEF-77 not from an interface outside of the zone");
	CHECK(GetIpPathTable(AF_INET6, &paths) == STATUS_SUCCESS && paths->NumEntries == 2 &&
		      paths->Table[0].InterfaceIndex == 2 &&
		      paths->Table[0].Destination.Ipv6.sin6_scope_id == 2 &&
		      paths->Table[0].Source.Ipv6.sin6_scope_id == 2,
	      "DEF-77 a path lies in one zone");
	FreeMibTable(paths);
	InitializeIpInterfaceEntry(&interface);
	interface.Family = AF_INET6;
	interface.InterfaceIndex = 3;
	CHECK(GetIpInterfaceEntry(&interface) == STATUS_SUCCESS &&
		      interface.ZoneIndices[ScopeLevelLink] == 3,
	      "DEF-75 the zone of the link");
}

/* Sixteen RNICs; the last one's alias is not ASCII. */
static void test_many(void)
{
	NET_IFINDEX index;
	NET_LUID luid;
	MIB_IF_TABLE2 *table;
	CHECK(GetIfTable2(&table) == STATUS_SUCCESS && table->NumEntries == 17,
	      "DEF-75 sixteen RNICs and the software loopback interface");
	FreeMibTable(table);
	CHECK(GetBestInterface(ip4(127, 0, 0, 1), &index) == STATUS_SUCCESS && index == 1,
	      "DEF-77 which is still there");
	CHECK(ConvertInterfaceAliasToLuid(L"R\u00c9SEAU", &luid) == STATUS_SUCCESS &&
		      ConvertInterfaceLuidToIndex(&luid, &index) == STATUS_SUCCESS && index == 17,
	      "DEF-76 an alias of any characters, without case");
}

static void test_options(void)
{
	NET_LUID luid;
	NET_IFINDEX index;
	WCHAR alias[64];
	MIB_UNICASTIPADDRESS_TABLE *table;
	CHECK(ConvertInterfaceIndexToLuid(70000, &luid) == STATUS_SUCCESS &&
		      luid.Value == 0x6000001000000,
	      "DEF-75 the LUID can be chosen");
	CHECK(ConvertInterfaceLuidToAlias(&luid, alias, 64) == STATUS_SUCCESS &&
		      same(alias, L"wire"),
	      "DEF-75 so can the alias");
	CHECK(ConvertInterfaceIndexToLuid(2, &luid) == STATUS_INVALID_PARAMETER,
	      "DEF-75 the default adapters are gone");
	CHECK(GetBestInterface(ip4(10, 200, 0, 1), &index) == STATUS_SUCCESS && index == 70000,
	      "DEF-75 index, address and prefix can be chosen");
	CHECK(GetUnicastIpAddressTable(AF_INET6, &table) == STATUS_SUCCESS &&
		      table->NumEntries == 2 && table->Table[0].InterfaceIndex == 9 &&
		      table->Table[0].Address.Ipv6.sin6_addr.u.Byte[1] == 0x80 &&
		      table->Table[0].Address.Ipv6.sin6_addr.u.Byte[15] == 9,
	      "DEF-75 so can an IPv6 address");
	FreeMibTable(table);
}

DRIVER_UNLOAD OnUnload;
VOID NTAPI OnUnload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

DRIVER_INITIALIZE DriverEntry;
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	MIB_UNICASTIPADDRESS_TABLE *table;
	KIRQL old;
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = OnUnload;
	switch (CASE) {
	case 0:
		test_names();
		test_interfaces();
		test_addresses();
		test_routes();
		test_entries();
		test_neighbours();
		break;
	case 1:
		GetUnicastIpAddressTable(AF_INET, &table);
		FreeMibTable(&table->Table[1]); /* reported, no harm */
		CHECK(table->NumEntries == 3, "DEF-77 the table is still there");
		FreeMibTable(table);
		break;
	case 2:
		GetUnicastIpAddressTable(AF_INET, &table);
		FreeMibTable(table);
		FreeMibTable(table);
		break;
	case 3:
		GetUnicastIpAddressTable(AF_INET, &table);
		break;
	case 4:
		test_options();
		break;
	case 5:
		test_alone();
		break;
	case 6:
		test_zones();
		break;
	case 7:
		test_many();
		break;
	case 8:
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		CHECK(GetUnicastIpAddressTable(AF_INET, &table) == STATUS_SUCCESS,
		      "DEF-55 it works, but is legal below DISPATCH_LEVEL only");
		KeLowerIrql(old);
		FreeMibTable(table);
		break;
	}
	return check_result();
}
