/* SPDX-License-Identifier: MIT
 *
 * What drivers take from this header: addresses in text, and helpers for socket addresses of either
 * family.
 */
#pragma once
#include "ws2def.h"
#include "ws2ipdef.h"
#include "ip2string.h"

EXTERN_C_START

static __inline ULONG INET_SOCKADDR_LENGTH(ADDRESS_FAMILY af)
{
	return af == AF_INET6 ? (ULONG)sizeof(SOCKADDR_IN6) : (ULONG)sizeof(SOCKADDR_IN);
}

static __inline ULONG INET_ADDR_LENGTH(ADDRESS_FAMILY af)
{
	return af == AF_INET6 ? (ULONG)sizeof(IN6_ADDR) : (ULONG)sizeof(IN_ADDR);
}

static __inline PUCHAR INETADDR_ADDRESS(const SOCKADDR *a)
{
	return a->sa_family == AF_INET6 ? (PUCHAR) & ((PSOCKADDR_IN6)a)->sin6_addr
					: (PUCHAR) & ((PSOCKADDR_IN)a)->sin_addr;
}

static __inline USHORT INETADDR_PORT(const SOCKADDR *a)
{
	return ((PSOCKADDR_IN)a)->sin_port;
}

static __inline VOID INETADDR_SET_PORT(PSOCKADDR a, USHORT Port)
{
	((PSOCKADDR_IN)a)->sin_port = Port;
}

static __inline BOOLEAN INETADDR_ISANY(const SOCKADDR *a)
{
	PUCHAR at = INETADDR_ADDRESS(a);
	for (ULONG i = 0; i < INET_ADDR_LENGTH(a->sa_family); i++) {
		if (at[i])
			return FALSE;
	}
	return TRUE;
}

/* The family is set. */
static __inline VOID INETADDR_SETANY(PSOCKADDR a)
{
	PUCHAR at = (PUCHAR)a;
	for (ULONG i = sizeof(a->sa_family); i < INET_SOCKADDR_LENGTH(a->sa_family); i++)
		at[i] = 0;
}

static __inline BOOLEAN INET_ADDR_EQUAL(ADDRESS_FAMILY af, const VOID *a, const VOID *b)
{
	for (ULONG i = 0; i < INET_ADDR_LENGTH(af); i++) {
		if (((const UCHAR *)a)[i] != ((const UCHAR *)b)[i])
			return FALSE;
	}
	return TRUE;
}

EXTERN_C_END
