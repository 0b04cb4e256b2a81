/* SPDX-License-Identifier: MIT */
/*
 * netio_consumer.c: a consumer that knows nothing but netioapi.h (DEF-75, DEF-77): every address of
 * the table is listened at on the adapter of its interface, and reached from the interface and the
 * source that GetBestRoute2 names, IPv4, IPv6 and link-local. Which interfaces have NDK, it tries.
 */
#include "ndk_io.h"
#include <mstcpip.h>

static struct io io;

static NTSTATUS open(NET_IFINDEX index, NDK_ADAPTER **adapter)
{
	NDK_VERSION version = {1, 0};
	return io.a.ndk.WskOpenNdkAdapter(io.a.npi.Client, version, index, adapter);
}

static void close(NDK_ADAPTER *adapter)
{
	io.a.ndk.WskCloseNdkAdapter(io.a.npi.Client, adapter);
}

/* DEF-68: a prober's way. Returns how many have NDK. */
static ULONG probe(void)
{
	PMIB_IF_TABLE2 table;
	ULONG count = 0;
	if (!NT_SUCCESS(GetIfTable2(&table)))
		return 0;
	for (ULONG i = 0; i < table->NumEntries; i++) {
		const MIB_IF_ROW2 *row = &table->Table[i];
		NDK_ADAPTER *adapter;
		NET_IFINDEX index = 0;
		NTSTATUS status = open(row->InterfaceIndex, &adapter);
		CHECK(ConvertInterfaceLuidToIndex(&row->InterfaceLuid, &index) == STATUS_SUCCESS &&
			      index == row->InterfaceIndex &&
			      status == (row->Type == IF_TYPE_SOFTWARE_LOOPBACK
						 ? STATUS_NOT_SUPPORTED
						 : STATUS_SUCCESS),
		      "DEF-75 an Ethernet interface has NDK, the software loopback interface not");
		if (NT_SUCCESS(status)) {
			close(adapter);
			count++;
		}
	}
	FreeMibTable(table);
	return count;
}

static void reach(const MIB_UNICASTIPADDRESS_ROW *row)
{
	SOCKADDR_INET peer = row->Address, from;
	MIB_IPFORWARD_ROW2 route;
	ULONG size = sizeof(from);
	if (peer.si_family == AF_INET6)
		peer.Ipv6.sin6_scope_id = 0; /* a zone is no part of what a peer tells */
	CHECK(GetBestRoute2(NULL, 0, NULL, &peer, 0, &route, &io.a.local) == STATUS_SUCCESS &&
		      route.InterfaceIndex != row->InterfaceIndex,
	      "DEF-77 the way to an address of the other RNIC");
	io.b = io.a;
	io.b.local = row->Address;
	if (!NT_SUCCESS(open(route.InterfaceIndex, &io.a.adapter)))
		return;
	if (NT_SUCCESS(open(row->InterfaceIndex, &io.b.adapter))) {
		CHECK(io_pair(&io, &plain, 4096), "DEF-75 connected by what the tables say");
		CHECK(io.y.e.connector &&
			      NT_SUCCESS(io.y.e.connector->Dispatch->NdkGetPeerAddress(
				      io.y.e.connector, (SOCKADDR *)&from, &size)) &&
			      from.si_family == io.a.local.si_family &&
			      RtlEqualMemory(INETADDR_ADDRESS((PSOCKADDR)&from),
					     INETADDR_ADDRESS((PSOCKADDR)&io.a.local),
					     INET_ADDR_LENGTH(from.si_family)),
		      "DEF-77 the peer sees the source that the route has");
		io_unpair(&io);
		close(io.b.adapter);
	}
	close(io.a.adapter);
	RtlZeroMemory(&io.x, sizeof(io.x));
	RtlZeroMemory(&io.y, sizeof(io.y));
	RtlZeroMemory(&io.door, sizeof(io.door));
}

static void test(void)
{
	PMIB_UNICASTIPADDRESS_TABLE table;
	NDK_ADAPTER *first = io.a.adapter;
	ULONG reached = 0;
	CHECK(probe() == 2, "DEF-68 two of three interfaces");
	CHECK(GetUnicastIpAddressTable(AF_UNSPEC, &table) == STATUS_SUCCESS, "DEF-75 the table");
	for (ULONG i = 0; i < table->NumEntries; i++) {
		if (table->Table[i].InterfaceLuid.Info.IfType != IF_TYPE_SOFTWARE_LOOPBACK) {
			reach(&table->Table[i]);
			reached++;
		}
	}
	FreeMibTable(table);
	CHECK(reached == 6, "DEF-75 both RNICs, three kinds of address");
	io.a.adapter = first;
}

DRIVER_INITIALIZE DriverEntry;
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = io_unload;
	if (!consumer_open(&io.a, AF_INET))
		return STATUS_UNSUCCESSFUL;
	test();
	consumer_close(&io.a);
	return check_result();
}
