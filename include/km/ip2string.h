/* SPDX-License-Identifier: MIT
 *
 * Addresses in text (DEF-78): exported by the kernel itself. PASSIVE_LEVEL.
 *
 * StringToAddress: STATUS_SUCCESS or STATUS_INVALID_PARAMETER; *Terminator is where the address
 * ended. Ex: the whole text, "a.b.c.d:port", "[v6%scope]:port"; ports in network order, 0 when
 * absent. AddressToString: returns the end of the text; room for 16 (IPv4) or 46 (IPv6) characters.
 * Ex: the length in characters with terminator, in and out; STATUS_INVALID_PARAMETER: too small.
 */
#pragma once
#include "ntdef.h"

EXTERN_C_START

struct in_addr;
struct in6_addr;

NTSYSAPI NTSTATUS NTAPI RtlIpv4StringToAddressA(PCSTR S, BOOLEAN Strict, PCSTR *Terminator,
						struct in_addr *Addr);
NTSYSAPI NTSTATUS NTAPI RtlIpv4StringToAddressW(PCWSTR S, BOOLEAN Strict, PCWSTR *Terminator,
						struct in_addr *Addr);
NTSYSAPI NTSTATUS NTAPI RtlIpv4StringToAddressExA(PCSTR AddressString, BOOLEAN Strict,
						  struct in_addr *Address, PUSHORT Port);
NTSYSAPI NTSTATUS NTAPI RtlIpv4StringToAddressExW(PCWSTR AddressString, BOOLEAN Strict,
						  struct in_addr *Address, PUSHORT Port);
NTSYSAPI PSTR NTAPI RtlIpv4AddressToStringA(const struct in_addr *Addr, PSTR S);
NTSYSAPI PWSTR NTAPI RtlIpv4AddressToStringW(const struct in_addr *Addr, PWSTR S);
NTSYSAPI NTSTATUS NTAPI RtlIpv4AddressToStringExA(const struct in_addr *Address, USHORT Port,
						  PSTR AddressString, PULONG AddressStringLength);
NTSYSAPI NTSTATUS NTAPI RtlIpv4AddressToStringExW(const struct in_addr *Address, USHORT Port,
						  PWSTR AddressString, PULONG AddressStringLength);

NTSYSAPI NTSTATUS NTAPI RtlIpv6StringToAddressA(PCSTR S, PCSTR *Terminator, struct in6_addr *Addr);
NTSYSAPI NTSTATUS NTAPI RtlIpv6StringToAddressW(PCWSTR S, PCWSTR *Terminator,
						struct in6_addr *Addr);
NTSYSAPI NTSTATUS NTAPI RtlIpv6StringToAddressExA(PCSTR AddressString, struct in6_addr *Address,
						  PULONG ScopeId, PUSHORT Port);
NTSYSAPI NTSTATUS NTAPI RtlIpv6StringToAddressExW(PCWSTR AddressString, struct in6_addr *Address,
						  PULONG ScopeId, PUSHORT Port);
NTSYSAPI PSTR NTAPI RtlIpv6AddressToStringA(const struct in6_addr *Addr, PSTR S);
NTSYSAPI PWSTR NTAPI RtlIpv6AddressToStringW(const struct in6_addr *Addr, PWSTR S);
NTSYSAPI NTSTATUS NTAPI RtlIpv6AddressToStringExA(const struct in6_addr *Address, ULONG ScopeId,
						  USHORT Port, PSTR AddressString,
						  PULONG AddressStringLength);
NTSYSAPI NTSTATUS NTAPI RtlIpv6AddressToStringExW(const struct in6_addr *Address, ULONG ScopeId,
						  USHORT Port, PWSTR AddressString,
						  PULONG AddressStringLength);

EXTERN_C_END
