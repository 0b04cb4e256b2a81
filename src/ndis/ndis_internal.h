/* SPDX-License-Identifier: MIT */
/* ndis_internal.h: what the files of this part share. */
#pragma once

#include "ndis/ndis.h"

/* While the table is being made. 0: no such index, no room. */
struct ndis_interface *ndis_interface_find(NET_IFINDEX index);
struct ndis_interface *ndis_interface_make(NET_IFINDEX index, enum ndis_kind kind);
bool ndis_interface_add_address(struct ndis_interface *interface, const SOCKADDR_INET *address,
				uint8_t prefix);

/* An address in text: a.b.c.d or IPv6; false: it is none. */
bool ndis_address_parse(const char *text, size_t length, SOCKADDR_INET *address);
/* By what the caller gave: the LUID when it is not 0, else the index (netioapi.h). */
const struct ndis_interface *ndis_interface_of(const NET_LUID *luid, NET_IFINDEX index);

/*
 * A table for the caller of a netioapi function: a ULONG count and `count` rows of `row` bytes from
 * offset 8, zeroed; FreeMibTable takes it back. 0: no memory. IRQL < DISPATCH_LEVEL.
 */
void *ndis_table_allocate(uint32_t count, size_t row, uint64_t caller);
/* Family: AF_UNSPEC, AF_INET or AF_INET6. */
bool ndis_family_valid(ADDRESS_FAMILY family);

#define NDIS_LINK_SPEED 100000000000ull /* bits per second */
#define NDIS_MTU        4096u
