/* SPDX-License-Identifier: MIT */
/*
 * convert.c: names of interfaces: index, LUID, alias, GUID, and masks.
 *
 * Contexts: IRQL < DISPATCH_LEVEL; reads the constant table of interfaces, no locks.
 * Implements DEF-76. Chosen: where a name does not fit its buffer, the first character is 0 if
 * there is room for it, and the status is STATUS_BUFFER_TOO_SMALL (the page's
 * STATUS_NOT_ENOUGH_MEMORY is no status of the kernel). An interface's name (not its alias) is
 * "ethernet_N" or "loopback_N", N its NetLuidIndex.
 */
#include "ndis/ndis_internal.h"
#include "rtl/rtl.h"

const struct ndis_interface *ndis_interface_of(const NET_LUID *luid, NET_IFINDEX index)
{
	return luid && luid->Value ? ndis_interface_by_luid(*luid) : ndis_interface_by_index(index);
}

/* STATUS_SUCCESS; STATUS_INVALID_PARAMETER: no such interface, or no pointer. */
NTSTATUS NETIOAPI_API_ ConvertInterfaceIndexToLuid(NET_IFINDEX InterfaceIndex,
						   PNET_LUID InterfaceLuid)
{
	const struct ndis_interface *interface = ndis_interface_by_index(InterfaceIndex);
	if (!interface || !InterfaceLuid)
		return STATUS_INVALID_PARAMETER;
	*InterfaceLuid = interface->luid;
	return STATUS_SUCCESS;
}

NTSTATUS NETIOAPI_API_ ConvertInterfaceLuidToIndex(const NET_LUID *InterfaceLuid,
						   PNET_IFINDEX InterfaceIndex)
{
	const struct ndis_interface *interface = ndis_interface_of(InterfaceLuid, 0);
	if (!interface || !InterfaceIndex)
		return STATUS_INVALID_PARAMETER;
	*InterfaceIndex = interface->index;
	return STATUS_SUCCESS;
}

static NTSTATUS copy_name(PWSTR to, SIZE_T room, const WCHAR *from)
{
	SIZE_T length = 0;
	while (from[length])
		length++;
	if (!to)
		return STATUS_INVALID_PARAMETER;
	if (length + 1 > room) {
		if (room)
			to[0] = 0;
		return STATUS_BUFFER_TOO_SMALL;
	}
	memcpy(to, from, (length + 1) * sizeof(WCHAR));
	return STATUS_SUCCESS;
}

/* Length in characters, with the terminator. STATUS_SUCCESS, STATUS_INVALID_PARAMETER,
 * STATUS_BUFFER_TOO_SMALL. */
NTSTATUS NETIOAPI_API_ ConvertInterfaceLuidToAlias(const NET_LUID *InterfaceLuid,
						   PWSTR InterfaceAlias, SIZE_T Length)
{
	const struct ndis_interface *interface = ndis_interface_of(InterfaceLuid, 0);
	if (!interface)
		return STATUS_INVALID_PARAMETER;
	return copy_name(InterfaceAlias, Length, interface->alias);
}

NTSTATUS NETIOAPI_API_ ConvertInterfaceAliasToLuid(const WCHAR *InterfaceAlias,
						   PNET_LUID InterfaceLuid)
{
	if (!InterfaceAlias || !InterfaceLuid)
		return STATUS_INVALID_PARAMETER;
	for (uint32_t i = 0; i < ndis_interface_count(); i++) {
		const struct ndis_interface *interface = ndis_interface_at(i);
		if (!ndis_alias_equal(interface->alias, InterfaceAlias))
			continue;
		*InterfaceLuid = interface->luid;
		return STATUS_SUCCESS;
	}
	return STATUS_INVALID_PARAMETER;
}

NTSTATUS NETIOAPI_API_ ConvertInterfaceLuidToGuid(const NET_LUID *InterfaceLuid,
						  GUID *InterfaceGuid)
{
	const struct ndis_interface *interface = ndis_interface_of(InterfaceLuid, 0);
	if (!interface || !InterfaceGuid)
		return STATUS_INVALID_PARAMETER;
	*InterfaceGuid = interface->guid;
	return STATUS_SUCCESS;
}

NTSTATUS NETIOAPI_API_ ConvertInterfaceGuidToLuid(const GUID *InterfaceGuid,
						  PNET_LUID InterfaceLuid)
{
	if (!InterfaceGuid || !InterfaceLuid)
		return STATUS_INVALID_PARAMETER;
	for (uint32_t i = 0; i < ndis_interface_count(); i++) {
		const struct ndis_interface *interface = ndis_interface_at(i);
		if (memcmp(&interface->guid, InterfaceGuid, sizeof(GUID)))
			continue;
		*InterfaceLuid = interface->luid;
		return STATUS_SUCCESS;
	}
	return STATUS_INVALID_PARAMETER;
}

static void name_of(const struct ndis_interface *interface, char *to, size_t size)
{
	rtl_print(to, size, "%s_%u",
		  interface->kind == NDIS_SOFTWARE_LOOPBACK ? "loopback" : "ethernet",
		  (unsigned)interface->luid.Info.NetLuidIndex);
}

NTSTATUS NETIOAPI_API_ ConvertInterfaceLuidToNameW(const NET_LUID *InterfaceLuid,
						   PWSTR InterfaceName, SIZE_T Length)
{
	char text[NDIS_ALIAS_LENGTH];
	WCHAR wide[NDIS_ALIAS_LENGTH];
	const struct ndis_interface *interface = ndis_interface_of(InterfaceLuid, 0);
	if (!interface)
		return STATUS_INVALID_PARAMETER;
	name_of(interface, text, sizeof(text));
	for (size_t i = 0; i < NDIS_ALIAS_LENGTH; i++)
		wide[i] = (WCHAR)text[i];
	return copy_name(InterfaceName, Length, wide);
}

NTSTATUS NETIOAPI_API_ ConvertInterfaceLuidToNameA(const NET_LUID *InterfaceLuid,
						   PSTR InterfaceName, SIZE_T Length)
{
	char text[NDIS_ALIAS_LENGTH];
	const struct ndis_interface *interface = ndis_interface_of(InterfaceLuid, 0);
	if (!interface || !InterfaceName)
		return STATUS_INVALID_PARAMETER;
	name_of(interface, text, sizeof(text));
	if (rtl_length(text) + 1 > Length) {
		if (Length)
			InterfaceName[0] = 0;
		return STATUS_BUFFER_TOO_SMALL;
	}
	memcpy(InterfaceName, text, rtl_length(text) + 1);
	return STATUS_SUCCESS;
}

/* STATUS_SUCCESS, STATUS_INVALID_PARAMETER. */
NTSTATUS NETIOAPI_API_ ConvertInterfaceNameToLuidA(const CHAR *InterfaceName,
						   NET_LUID *InterfaceLuid)
{
	if (!InterfaceName || !InterfaceLuid)
		return STATUS_INVALID_PARAMETER;
	for (uint32_t i = 0; i < ndis_interface_count(); i++) {
		char text[NDIS_ALIAS_LENGTH];
		name_of(ndis_interface_at(i), text, sizeof(text));
		if (!rtl_equal_nocase(text, InterfaceName))
			continue;
		*InterfaceLuid = ndis_interface_at(i)->luid;
		return STATUS_SUCCESS;
	}
	return STATUS_INVALID_PARAMETER;
}

NTSTATUS NETIOAPI_API_ ConvertInterfaceNameToLuidW(const WCHAR *InterfaceName,
						   NET_LUID *InterfaceLuid)
{
	char text[NDIS_ALIAS_LENGTH];
	size_t i = 0;
	if (!InterfaceName)
		return STATUS_INVALID_PARAMETER;
	for (; InterfaceName[i] && i < sizeof(text) - 1; i++)
		text[i] = InterfaceName[i] < 0x80 ? (char)InterfaceName[i] : '?';
	text[i] = 0;
	return ConvertInterfaceNameToLuidA(text, InterfaceLuid);
}

/* The mask in network order. STATUS_INVALID_PARAMETER: more than 32 bits. */
NTSTATUS NETIOAPI_API_ ConvertLengthToIpv4Mask(ULONG MaskLength, PULONG Mask)
{
	if (MaskLength > 32 || !Mask)
		return STATUS_INVALID_PARAMETER;
	*Mask = MaskLength ? __builtin_bswap32(0xffffffffu << (32 - MaskLength)) : 0;
	return STATUS_SUCCESS;
}

/* STATUS_INVALID_PARAMETER: the set bits are not the first ones. */
NTSTATUS NETIOAPI_API_ ConvertIpv4MaskToLength(ULONG Mask, PUINT8 MaskLength)
{
	uint32_t bits = ~__builtin_bswap32(Mask);
	if (!MaskLength || (bits & (bits + 1)))
		return STATUS_INVALID_PARAMETER;
	*MaskLength = (UINT8)(bits ? __builtin_clz(bits) : 32);
	return STATUS_SUCCESS;
}
