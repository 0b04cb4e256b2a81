/* SPDX-License-Identifier: MIT
 *
 * IPv4 addresses in text (DEF-78): exported by the kernel itself. PASSIVE_LEVEL.
 */
#pragma once
#include "ntdef.h"

EXTERN_C_START

struct in_addr;
/* "a.b.c.d" or "a.b.c.d:port"; the port in network order, 0 when absent. STATUS_INVALID_PARAMETER
 * on bad text. */
NTSYSAPI NTSTATUS NTAPI RtlIpv4StringToAddressExW(PCWSTR AddressString, BOOLEAN Strict,
						  struct in_addr *Address, PUSHORT Port);

EXTERN_C_END
