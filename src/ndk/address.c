/* SPDX-License-Identifier: MIT */
/*
 * address.c: socket addresses: what the consumer passes, and what it gets back (NDK-70, NDK-135).
 *
 * Pure code. Chosen: an address that is longer than its family needs is accepted.
 */
#include "ndk/connection.h"
#include "rtl/rtl.h"

static uint16_t swap(uint16_t value)
{
	return (uint16_t)(value << 8 | value >> 8);
}

NTSTATUS ndk_address_parse(const SOCKADDR *from, ULONG length, struct ndk_address *to)
{
	*to = (struct ndk_address){0};
	if (!from || length < sizeof(USHORT))
		return STATUS_INVALID_ADDRESS;
	if (from->sa_family == AF_INET && length >= sizeof(SOCKADDR_IN)) {
		const SOCKADDR_IN *in = (const SOCKADDR_IN *)from;
		to->port = swap(in->sin_port);
		memcpy(to->bytes, &in->sin_addr, 4);
	} else if (from->sa_family == AF_INET6 && length >= sizeof(SOCKADDR_IN6)) {
		const SOCKADDR_IN6 *in6 = (const SOCKADDR_IN6 *)from;
		to->port = swap(in6->sin6_port);
		to->scope = in6->sin6_scope_id;
		memcpy(to->bytes, &in6->sin6_addr, 16);
	} else {
		return STATUS_INVALID_ADDRESS;
	}
	to->family = from->sa_family;
	return STATUS_SUCCESS;
}

NTSTATUS ndk_address_store(const struct ndk_address *from, SOCKADDR *to, ULONG *length)
{
	ULONG needed = from->family == AF_INET ? sizeof(SOCKADDR_IN) : sizeof(SOCKADDR_IN6);
	ULONG room = *length;
	*length = needed;
	if (!to || room < needed)
		return STATUS_BUFFER_TOO_SMALL;
	memset(to, 0, needed);
	if (from->family == AF_INET) {
		SOCKADDR_IN *in = (SOCKADDR_IN *)to;
		in->sin_port = swap(from->port);
		memcpy(&in->sin_addr, from->bytes, 4);
	} else {
		SOCKADDR_IN6 *in6 = (SOCKADDR_IN6 *)to;
		in6->sin6_port = swap(from->port);
		in6->sin6_scope_id = from->scope;
		memcpy(&in6->sin6_addr, from->bytes, 16);
	}
	to->sa_family = from->family;
	return STATUS_SUCCESS;
}

bool ndk_address_is_any(const struct ndk_address *address)
{
	static const uint8_t zeros[16];
	return !memcmp(address->bytes, zeros, sizeof zeros);
}

bool ndk_address_same_host(const struct ndk_address *a, const struct ndk_address *b)
{
	return a->family == b->family && !memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

bool ndk_address_same(const struct ndk_address *a, const struct ndk_address *b)
{
	return a->port == b->port && ndk_address_same_host(a, b);
}

bool ndk_address_in_network(const struct ndk_device_address *own, const struct ndk_address *address)
{
	if (own->family != address->family)
		return false;
	for (unsigned bit = 0; bit < own->prefix; bit++) {
		if ((own->bytes[bit / 8] ^ address->bytes[bit / 8]) & 0x80 >> bit % 8)
			return false;
	}
	return true;
}
