/* SPDX-License-Identifier: MIT */
/* ndis_internal.h: what the files of this part share. */
#pragma once

#include "ndis/ndis.h"

/* While the table is being made. 0: no such index, no room. */
struct ndis_interface *ndis_interface_find(NET_IFINDEX index);
struct ndis_interface *ndis_interface_make(NET_IFINDEX index, enum ndis_kind kind);
bool ndis_interface_add_address(struct ndis_interface *interface, const SOCKADDR_INET *address,
				uint8_t prefix);

/* Without case, as ConvertInterfaceAliasToLuid looks for them. */
bool ndis_alias_equal(const WCHAR *a, const WCHAR *b);
/* An address in text: a.b.c.d or IPv6; false: it is none. */
bool ndis_address_parse(const char *text, size_t length, SOCKADDR_INET *address);
/* By what the caller gave: the LUID when it is not 0, else the index (netioapi.h). */
const struct ndis_interface *ndis_interface_of(const NET_LUID *luid, NET_IFINDEX index);

/* One of them is given: else the functions' pages say STATUS_INVALID_PARAMETER. */
static inline bool ndis_interface_given(const NET_LUID *luid, NET_IFINDEX index)
{
	return (luid && luid->Value) || index;
}

/* Item `number` of what a table may hold: false: it is no row, or of another family than `family`
 * (AF_UNSPEC: of any). `row` 0: only whether it is one. */
typedef bool ndis_row_fn(uint32_t number, ADDRESS_FAMILY family, void *row);
/*
 * A table for the caller of a netioapi function: a ULONG count, and from offset 8 rows of `row`
 * bytes, those of the first `items` items that are rows; FreeMibTable takes it back.
 * STATUS_SUCCESS; STATUS_INVALID_PARAMETER: the family, nowhere to put *table; STATUS_NOT_FOUND: no
 * row; STATUS_INSUFFICIENT_RESOURCES. IRQL < DISPATCH_LEVEL.
 */
NTSTATUS ndis_table_make(ndis_row_fn *fill, uint32_t items, size_t row, ADDRESS_FAMILY family,
			 uint64_t caller, void *table);
/* Address `number` of all that interfaces may have (NDIS_ADDRESSES each), of a family; 0: none. */
const struct ndis_address *ndis_address_item(uint32_t number, ADDRESS_FAMILY family,
					     const struct ndis_interface **interface);

static inline bool ndis_family_is_one(ADDRESS_FAMILY family)
{
	return family == AF_INET || family == AF_INET6;
}
/* With AF_UNSPEC. */
static inline bool ndis_family_valid(ADDRESS_FAMILY family)
{
	return family == AF_UNSPEC || ndis_family_is_one(family);
}
static inline unsigned ndis_family_bits(ADDRESS_FAMILY family)
{
	return family == AF_INET ? 32 : 128;
}

#define NDIS_LINK_SPEED 100000000000ull /* bits per second */
#define NDIS_MTU        4096u
