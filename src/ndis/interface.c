/* SPDX-License-Identifier: MIT */
/*
 * interface.c: the table of network interfaces.
 *
 * Contexts and locks: filled by the thread that boots the machine, before any driver runs; constant
 * afterwards, so everybody reads it without a lock, at any IRQL.
 *
 * Implements the table behind DEF-75 (index, LUID, alias and addresses of each RNIC can be set) and
 * the default adapters. Chosen: an RNIC is an Ethernet interface (IfType 6) whose NetLuidIndex is
 * 0x8000 + index, with the alias "Ethernet INDEX"; its physical address and GUID come from the
 * index too, so that they are the same in each run. Index 1 is the software loopback interface.
 */
#include "ndis/ndis_internal.h"
#include "port/port.h"
#include "rtl/rtl.h"

static struct ndis_interface interfaces[NDIS_RNICS + 1];
static uint32_t interface_count;

uint32_t ndis_interface_count(void)
{
	return interface_count;
}

const struct ndis_interface *ndis_interface_at(uint32_t number)
{
	return number < interface_count ? &interfaces[number] : NULL;
}

struct ndis_interface *ndis_interface_find(NET_IFINDEX index)
{
	for (uint32_t i = 0; i < interface_count; i++) {
		if (interfaces[i].index == index)
			return &interfaces[i];
	}
	return NULL;
}

const struct ndis_interface *ndis_interface_by_index(NET_IFINDEX index)
{
	return ndis_interface_find(index);
}

const struct ndis_interface *ndis_interface_by_luid(NET_LUID luid)
{
	for (uint32_t i = 0; i < interface_count; i++) {
		if (interfaces[i].luid.Value == luid.Value)
			return &interfaces[i];
	}
	return NULL;
}

static void name(WCHAR *to, const char *prefix, uint32_t number)
{
	char text[NDIS_ALIAS_LENGTH];
	size_t length = rtl_print(text, sizeof(text), "%s %u", prefix, number);
	for (size_t i = 0; i <= length; i++)
		to[i] = (WCHAR)text[i];
}

struct ndis_interface *ndis_interface_make(NET_IFINDEX index, enum ndis_kind kind)
{
	static const GUID guid = {0x4b657463, 0x6800, 0x4e49, {0x80, 'C', 0, 0, 0, 0, 0, 0}};
	bool software = kind == NDIS_SOFTWARE_LOOPBACK;
	if (interface_count == NDIS_RNICS + software)
		return NULL;
	struct ndis_interface *new = &interfaces[interface_count++];
	new->kind = kind;
	new->index = index;
	new->luid.Info.IfType = software ? IF_TYPE_SOFTWARE_LOOPBACK : IF_TYPE_ETHERNET_CSMACD;
	new->luid.Info.NetLuidIndex = software ? 0 : (0x8000 + index) & 0xffffff;
	new->guid = guid;
	static const uint8_t locally_administered[] = {0x02, 'K'};
	memcpy(new->physical_address, locally_administered, sizeof(locally_administered));
	for (unsigned i = 0; i < 4; i++) {
		new->guid.Data4[4 + i] = (UCHAR)(index >> (24 - 8 * i));
		new->physical_address[2 + i] = (uint8_t)(index >> (24 - 8 * i));
	}
	name(new->alias, software ? "Loopback Pseudo-Interface" : "Ethernet", index);
	name(new->description, software ? "Software Loopback Interface" : "Ketch RNIC", index);
	return new;
}

static bool is_link_local(const SOCKADDR_INET *address)
{
	const uint8_t *bytes = address->Ipv6.sin6_addr.u.Byte;
	return address->si_family == AF_INET6 && bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
}

bool ndis_interface_add_address(struct ndis_interface *interface, const SOCKADDR_INET *address,
				uint8_t prefix)
{
	if (interface->address_count == NDIS_ADDRESSES)
		return false;
	struct ndis_address *new = &interface->addresses[interface->address_count++];
	new->address = *address;
	new->prefix = prefix;
	if (is_link_local(address))
		new->address.Ipv6.sin6_scope_id = interface->index;
	return true;
}

static void make_software_loopback(void)
{
	struct ndis_interface *loopback = ndis_interface_make(1, NDIS_SOFTWARE_LOOPBACK);
	SOCKADDR_INET address;
	memset(&address, 0, sizeof(address));
	address.Ipv4.sin_family = AF_INET;
	address.Ipv4.sin_addr.S_un.S_addr = __builtin_bswap32(INADDR_LOOPBACK);
	ndis_interface_add_address(loopback, &address, 8);
	memset(&address, 0, sizeof(address));
	address.Ipv6.sin6_family = AF_INET6;
	address.Ipv6.sin6_addr.u.Byte[15] = 1;
	ndis_interface_add_address(loopback, &address, 128);
}

/* ---- RNICs for NDK ---- */

/* The provider's addresses are the interface's, which came from --adapter. */
static void give_addresses(struct ndis_interface *interface)
{
	struct ndk_device *rnic = &interface->rnic;
	for (uint32_t i = 0; i < interface->address_count; i++) {
		const struct ndis_address *from = &interface->addresses[i];
		struct ndk_device_address *to = &rnic->addresses[rnic->address_count++];
		to->family = from->address.si_family;
		to->prefix = from->prefix;
		if (to->family == AF_INET)
			memcpy(to->bytes, &from->address.Ipv4.sin_addr, 4);
		else
			memcpy(to->bytes, &from->address.Ipv6.sin6_addr, 16);
	}
}

/* A device of the host has addresses and a name of its own. */
static const char *open_verbs(struct ndis_interface *interface)
{
	static char why[200];
	struct ndk_device *rnic = &interface->rnic;
	if (!port_verbs_open(rnic, interface->device, why, sizeof(why)))
		return why;
	for (uint32_t i = 0; i < rnic->address_count; i++) {
		const struct ndk_device_address *from = &rnic->addresses[i];
		SOCKADDR_INET address;
		memset(&address, 0, sizeof(address));
		address.si_family = from->family;
		if (from->family == AF_INET)
			memcpy(&address.Ipv4.sin_addr, from->bytes, 4);
		else
			memcpy(&address.Ipv6.sin6_addr, from->bytes, 16);
		ndis_interface_add_address(interface, &address, from->prefix);
	}
	for (size_t i = 0; i < NDIS_ALIAS_LENGTH - 1 && i < sizeof(rnic->name); i++)
		interface->description[i] = (WCHAR)(unsigned char)rnic->name[i];
	return NULL;
}

static const char *add_rnic(struct ndis_interface *interface)
{
	struct ndk_device *rnic = &interface->rnic;
	rnic->interface_index = interface->index;
	if (interface->kind == NDIS_RNIC_LOOPBACK) {
		rnic->provider = &ndk_loopback;
		rtl_narrow(rnic->name, sizeof(rnic->name), interface->alias, NDIS_ALIAS_LENGTH - 1);
		give_addresses(interface);
	} else {
		const char *why = open_verbs(interface);
		if (why)
			return why;
	}
	rnic->disabled = interface->disabled;
	if (!ndk_device_add(rnic))
		return "NDK has no room for this RNIC";
	if (interface->self) /* besides the provider's own flags */
		rnic->limits.flags |= NDK_ADAPTER_FLAG_LOOPBACK_CONNECTIONS_SUPPORTED;
	return NULL;
}

bool ndis_alias_equal(const WCHAR *a, const WCHAR *b)
{
	while (*a && rtl_upcase(*a) == rtl_upcase(*b)) {
		a++;
		b++;
	}
	return rtl_upcase(*a) == rtl_upcase(*b);
}

/* What was chosen may be another interface's default. */
static const char *check_names(void)
{
	for (uint32_t i = 0; i < interface_count; i++) {
		for (uint32_t j = 0; j < i; j++) {
			if (interfaces[i].luid.Value == interfaces[j].luid.Value)
				return "each interface has its own LUID";
			if (ndis_alias_equal(interfaces[i].alias, interfaces[j].alias))
				return "each interface has its own alias";
		}
	}
	return NULL;
}

const char *ndis_initialize(const char **device)
{
	const char *why = NULL;
	if (interface_count == 0)
		why = ndis_adapter_describe("loopback");
	for (uint32_t i = 0; i < interface_count && !why; i++) {
		*device = interfaces[i].kind == NDIS_RNIC_VERBS ? interfaces[i].device : NULL;
		why = add_rnic(&interfaces[i]);
	}
	if (why)
		return why;
	*device = NULL;
	make_software_loopback();
	return check_names();
}

static const uint8_t *bytes_of(const SOCKADDR_INET *address)
{
	return address->si_family == AF_INET ? (const uint8_t *)&address->Ipv4.sin_addr
					     : address->Ipv6.sin6_addr.u.Byte;
}

bool ndis_address_in(const SOCKADDR_INET *address, const SOCKADDR_INET *network, uint8_t prefix)
{
	if (address->si_family != network->si_family)
		return false;
	if (address->si_family == AF_INET6 && address->Ipv6.sin6_scope_id &&
	    network->Ipv6.sin6_scope_id &&
	    address->Ipv6.sin6_scope_id != network->Ipv6.sin6_scope_id)
		return false;
	const uint8_t *a = bytes_of(address), *b = bytes_of(network);
	for (unsigned bit = 0; bit < prefix; bit++) {
		if ((a[bit / 8] ^ b[bit / 8]) & (0x80 >> bit % 8))
			return false;
	}
	return true;
}

bool ndis_address_equal(const SOCKADDR_INET *a, const SOCKADDR_INET *b)
{
	return ndis_address_in(a, b, (uint8_t)ndis_family_bits(a->si_family));
}
