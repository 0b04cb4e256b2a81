/* SPDX-License-Identifier: MIT
 *
 * Socket addresses of IPv6, and of either family.
 */
#pragma once
#include "ws2def.h"
#include "in6addr.h"

EXTERN_C_START

typedef struct sockaddr_in6 {
	ADDRESS_FAMILY sin6_family;
	USHORT sin6_port; /* network order */
	ULONG sin6_flowinfo;
	IN6_ADDR sin6_addr;
	union {
		ULONG sin6_scope_id;
		SCOPE_ID sin6_scope_struct;
	};
} SOCKADDR_IN6, *PSOCKADDR_IN6, *LPSOCKADDR_IN6;
typedef struct sockaddr_in6 SOCKADDR_IN6_LH, *PSOCKADDR_IN6_LH, *LPSOCKADDR_IN6_LH;

typedef struct _sockaddr_in6_pair {
	PSOCKADDR_IN6 SourceAddress;
	PSOCKADDR_IN6 DestinationAddress;
} SOCKADDR_IN6_PAIR, *PSOCKADDR_IN6_PAIR;

typedef union _SOCKADDR_INET {
	SOCKADDR_IN Ipv4;
	SOCKADDR_IN6 Ipv6;
	ADDRESS_FAMILY si_family;
} SOCKADDR_INET, *PSOCKADDR_INET;

#define SS_PORT(ssp) (((PSOCKADDR_IN)(ssp))->sin_port)

#define IN6ADDR_ANY_INIT                                                                           \
	{                                                                                          \
		{                                                                                  \
			{                                                                          \
				0                                                                  \
			}                                                                          \
		}                                                                                  \
	}
#define IN6ADDR_LOOPBACK_INIT                                                                      \
	{                                                                                          \
		{                                                                                  \
			{                                                                          \
				0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1                     \
			}                                                                          \
		}                                                                                  \
	}

#define IP_HDRINCL      2
#define IP_TOS          3
#define IP_TTL          4
#define IP_PKTINFO      19
#define IP_UNICAST_IF   31
#define IPV6_HOPLIMIT   21
#define IPV6_PKTINFO    19
#define IPV6_UNICAST_IF 31
#define IPV6_V6ONLY     27

static __inline BOOLEAN IN6_ADDR_EQUAL(const IN6_ADDR *x, const IN6_ADDR *y)
{
	for (INT i = 0; i < 8; i++) {
		if (x->u.Word[i] != y->u.Word[i])
			return FALSE;
	}
	return TRUE;
}
#define IN6_ARE_ADDR_EQUAL IN6_ADDR_EQUAL

static __inline BOOLEAN IN4_ADDR_EQUAL(const IN_ADDR *x, const IN_ADDR *y)
{
	return (BOOLEAN)(x->s_addr == y->s_addr);
}

EXTERN_C_END
