/* SPDX-License-Identifier: MIT */
/*
 * parse.c: addresses in text, and what --adapter says (DEF-75).
 *
 * Contexts: pure code but for ndis_adapter_describe, which the booting thread calls.
 * Chosen: a network is /24 (IPv4) or /64 (IPv6) unless /PREFIX says otherwise; indices go from 2
 * (1 is the software loopback interface) to 2^24 - 0x8001, since the index makes the LUID.
 */
#include "ndis/ndis_internal.h"
#include "rtl/rtl.h"

#define INDEX_MAX (0xffffffu - 0x8000u)

/* ---- Addresses ---- */

bool ndis_address_parse(const char *text, size_t length, SOCKADDR_INET *address)
{
	uint8_t bytes[16];
	memset(address, 0, sizeof(*address));
	if (rtl_address4_read(text, text + length, bytes)) {
		address->Ipv4.sin_family = AF_INET;
		memcpy(&address->Ipv4.sin_addr, bytes, 4);
		return true;
	}
	if (!rtl_address6_read(text, text + length, bytes))
		return false;
	address->Ipv6.sin6_family = AF_INET6;
	memcpy(&address->Ipv6.sin6_addr, bytes, 16);
	return true;
}

/* ---- --adapter ---- */

static bool starts(const char **at, const char *end, const char *word)
{
	size_t length = rtl_length(word);
	if ((size_t)(end - *at) < length || memcmp(*at, word, length))
		return false;
	*at += length;
	return true;
}

static bool is_word(const char *at, const char *end, const char *word)
{
	return starts(&at, end, word) && at == end;
}

/* And not the software loopback interface's. */
static bool is_unicast(const SOCKADDR_INET *address)
{
	static const SOCKADDR_INET zero = {.Ipv6 = {.sin6_family = AF_INET6}};
	if (address->si_family == AF_INET) {
		uint8_t first = address->Ipv4.sin_addr.S_un.S_un_b.s_b1;
		return first && first != 127 && first < 224;
	}
	const uint8_t *bytes = address->Ipv6.sin6_addr.u.Byte;
	return bytes[0] != 0xff && !(ndis_address_in(address, &zero, 127));
}

static const char *take_address(struct ndis_interface *interface, const char *at, const char *end)
{
	const char *slash = at;
	uint64_t prefix;
	SOCKADDR_INET address;
	while (slash < end && *slash != '/')
		slash++;
	if (!ndis_address_parse(at, (size_t)(slash - at), &address))
		return "an address is a.b.c.d or IPv6, with or without /PREFIX";
	if (!is_unicast(&address))
		return "an address of an RNIC is a unicast address";
	uint8_t bits = (uint8_t)ndis_family_bits(address.si_family);
	prefix = address.si_family == AF_INET ? 24 : 64;
	if (slash < end) {
		slash++;
		if (!rtl_number_read(&slash, end, 10, 3, bits, &prefix) || slash != end)
			return "a prefix is a number of bits of the address";
	}
	for (uint32_t i = 0; i < ndis_interface_count(); i++) {
		const struct ndis_interface *other = ndis_interface_at(i);
		for (uint32_t j = 0; j < other->address_count; j++) {
			if (ndis_address_equal(&other->addresses[j].address, &address))
				return "an address belongs to one interface, once";
		}
	}
	if (!ndis_interface_add_address(interface, &address, (uint8_t)prefix))
		return "an interface has at most 8 addresses";
	return NULL;
}

static const char *take_alias(struct ndis_interface *interface, const char *at, const char *end)
{
	size_t length = rtl_widen(interface->alias, NDIS_ALIAS_LENGTH - 1, at, (size_t)(end - at));
	if (!length || length >= NDIS_ALIAS_LENGTH)
		return "an alias has 1 to 63 characters";
	interface->alias[length] = 0;
	return NULL;
}

static const char *take_luid(struct ndis_interface *interface, const char *at, const char *end)
{
	NET_LUID luid;
	uint64_t value;
	int base = starts(&at, end, "0x") ? 16 : 10;
	if (!rtl_number_read(&at, end, base, 20, UINT64_MAX, &value) || at != end || !value)
		return "a LUID is a number that is not 0";
	luid.Value = value;
	interface->luid = luid;
	return NULL;
}

/* One INDEX=VALUE or VALUE. */
static const char *take_item(struct ndis_interface **interface, const char *at, const char *end)
{
	const char *equals = at;
	uint64_t index;
	while (equals < end && *equals != '=')
		equals++;
	if (equals < end) {
		if (!rtl_number_read(&at, equals, 10, 10, INDEX_MAX, &index) || at != equals ||
		    index < 2)
			return "an interface index is a number from 2 to 16744447";
		*interface = ndis_interface_find((NET_IFINDEX)index);
		if (*interface && (*interface)->kind != NDIS_RNIC_LOOPBACK)
			return "this index is a verbs device's";
		if (!*interface)
			*interface = ndis_interface_make((NET_IFINDEX)index, NDIS_RNIC_LOOPBACK);
		if (!*interface)
			return "a machine has at most 16 RNICs";
		at = equals + 1;
	}
	if (!*interface)
		return "the first address needs INDEX=";
	if (is_word(at, end, "self")) {
		(*interface)->self = true;
		return NULL;
	}
	if (is_word(at, end, "disabled")) {
		(*interface)->disabled = true;
		return NULL;
	}
	if (starts(&at, end, "alias:"))
		return take_alias(*interface, at, end);
	if (starts(&at, end, "luid:"))
		return take_luid(*interface, at, end);
	return take_address(*interface, at, end);
}

static const char *take_loopback(const char *at)
{
	struct ndis_interface *interface = NULL;
	const char *end, *why = NULL;
	do {
		for (end = at; *end && *end != ','; end++)
			;
		why = take_item(&interface, at, end);
		at = end + 1;
	} while (!why && *end);
	return why;
}

static const char *take_verbs(const char *device)
{
	NET_IFINDEX index = 2;
	while (ndis_interface_find(index))
		index++;
	if (rtl_length(device) >= NDIS_DEVICE_LENGTH)
		return "verbs: takes the name of an RDMA device of this host";
	struct ndis_interface *interface = ndis_interface_make(index, NDIS_RNIC_VERBS);
	if (!interface)
		return "a machine has at most 16 RNICs";
	rtl_copy(interface->device, sizeof(interface->device), device);
	return NULL;
}

const char *ndis_adapter_describe(const char *text)
{
	const char *end = text + rtl_length(text);
	if (rtl_equal(text, "loopback"))
		text = "loopback:2=192.0.2.1,fd00::1,3=192.0.2.2,fd00::2";
	end = text + rtl_length(text);
	if (starts(&text, end, "loopback:"))
		return take_loopback(text);
	if (rtl_equal(text, "verbs"))
		return take_verbs("");
	if (starts(&text, end, "verbs:"))
		return take_verbs(text);
	return "it is loopback, loopback:INDEX=ADDRESS,..., verbs or verbs:DEVICE";
}
