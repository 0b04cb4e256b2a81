/* SPDX-License-Identifier: MIT */
/*
 * address.c: IPv4 addresses in text (DEF-78).
 *
 * PASSIVE_LEVEL by the pages; pure code. An address and a port are in network order.
 * Chosen where the documents are silent: port 0 may be written; without Strict one to four parts,
 * each decimal, octal (0) or hexadecimal (0x), as C programs read them; the last part fills what is
 * left of the address.
 */
#include <ntifs.h>
#include <ip2string.h>
#include "rtl/rtl_internal.h"

#define TEXT_LENGTH 24 /* 255.255.255.255:65535 and the terminator */

struct in_addr {
	uint32_t network;
};

/* A text of either width. */
struct text {
	const void *units;
	size_t at;
	bool wide;
};

static unsigned peek(const struct text *text)
{
	if (text->wide)
		return ((const WCHAR *)text->units)[text->at];
	return ((const unsigned char *)text->units)[text->at];
}

/* A number that is at most `limit`. */
static bool read_number(struct text *text, bool strict, uint64_t limit, uint64_t *value)
{
	unsigned base = 10;
	bool digits = false;
	if (!strict && peek(text) == '0') {
		text->at++;
		digits = true; /* 0 alone */
		base = 8;
		if (peek(text) == 'x' || peek(text) == 'X') {
			text->at++;
			base = 16;
			digits = false;
		}
	}
	*value = 0;
	for (; rtl_digit(peek(text)) < base; text->at++) {
		*value = *value * base + rtl_digit(peek(text));
		digits = true;
		if (*value > limit)
			return false;
	}
	return digits;
}

static NTSTATUS read_address(struct text *text, bool strict, struct in_addr *address)
{
	uint64_t parts[4];
	unsigned count = 0;
	for (;;) {
		if (!read_number(text, strict, 0xffffffff, &parts[count]))
			return STATUS_INVALID_PARAMETER;
		count++;
		if (peek(text) != '.' || count == 4)
			break;
		text->at++;
	}
	if (strict && count != 4)
		return STATUS_INVALID_PARAMETER;
	uint64_t limit = UINT64_C(0xffffffff) >> 8 * (count - 1);
	uint64_t value = parts[count - 1];
	if (value > limit)
		return STATUS_INVALID_PARAMETER;
	for (unsigned i = 0; i + 1 < count; i++) {
		if (parts[i] > 255)
			return STATUS_INVALID_PARAMETER;
		value |= parts[i] << (24 - 8 * i);
	}
	address->network = __builtin_bswap32((uint32_t)value);
	return STATUS_SUCCESS;
}

static NTSTATUS read_with_port(struct text *text, bool strict, struct in_addr *address,
			       PUSHORT port)
{
	struct in_addr result;
	uint64_t number = 0;
	if (!text->units || !address || !port)
		return STATUS_INVALID_PARAMETER;
	NTSTATUS status = read_address(text, strict, &result);
	if (!NT_SUCCESS(status))
		return status;
	if (peek(text) == ':') {
		text->at++;
		if (!read_number(text, false, 0xffff, &number))
			return STATUS_INVALID_PARAMETER;
	}
	if (peek(text))
		return STATUS_INVALID_PARAMETER;
	*address = result;
	*port = __builtin_bswap16((uint16_t)number);
	return STATUS_SUCCESS;
}

/* STATUS_SUCCESS or STATUS_INVALID_PARAMETER; then nothing is written. */
NTSTATUS NTAPI RtlIpv4StringToAddressExW(PCWSTR AddressString, BOOLEAN Strict,
					 struct in_addr *Address, PUSHORT Port)
{
	return read_with_port(&(struct text){.units = AddressString, .wide = true}, Strict, Address,
			      Port);
}

NTSTATUS NTAPI RtlIpv4StringToAddressExA(PCSTR AddressString, BOOLEAN Strict,
					 struct in_addr *Address, PUSHORT Port)
{
	return read_with_port(&(struct text){.units = AddressString}, Strict, Address, Port);
}

/* *Terminator: where the address ended. */
NTSTATUS NTAPI RtlIpv4StringToAddressW(PCWSTR AddressString, BOOLEAN Strict, PCWSTR *Terminator,
				       struct in_addr *Address)
{
	struct text text = {.units = AddressString, .wide = true};
	NTSTATUS status = read_address(&text, Strict, Address);
	*Terminator = AddressString + text.at;
	return status;
}

NTSTATUS NTAPI RtlIpv4StringToAddressA(PCSTR AddressString, BOOLEAN Strict, PCSTR *Terminator,
				       struct in_addr *Address)
{
	struct text text = {.units = AddressString};
	NTSTATUS status = read_address(&text, Strict, Address);
	*Terminator = AddressString + text.at;
	return status;
}

/* ---- Addresses into text ---- */

void *rtl_address_put(const char *text, bool wide, void *to)
{
	size_t length = rtl_length(text);
	for (size_t i = 0; i <= length; i++) {
		if (wide)
			((WCHAR *)to)[i] = (WCHAR)text[i];
		else
			((char *)to)[i] = text[i];
	}
	return (char *)to + length * (wide ? sizeof(WCHAR) : 1);
}

NTSTATUS rtl_address_put_counted(const char *text, bool wide, void *to, ULONG *room)
{
	ULONG need = (ULONG)rtl_length(text) + 1;
	bool fits = need <= *room;
	*room = need;
	if (!fits)
		return STATUS_INVALID_PARAMETER;
	rtl_address_put(text, wide, to);
	return STATUS_SUCCESS;
}

static const char *write_address(char to[TEXT_LENGTH], const struct in_addr *address, USHORT port)
{
	const unsigned char *bytes = (const unsigned char *)&address->network;
	size_t at =
		rtl_print(to, TEXT_LENGTH, "%u.%u.%u.%u", bytes[0], bytes[1], bytes[2], bytes[3]);
	if (port)
		rtl_print(to + at, TEXT_LENGTH - at, ":%u", __builtin_bswap16(port));
	return to;
}

static NTSTATUS to_string(const struct in_addr *address, USHORT port, bool wide, void *to,
			  ULONG *room)
{
	char text[TEXT_LENGTH];
	if (!address || !room || (!to && *room))
		return STATUS_INVALID_PARAMETER;
	return rtl_address_put_counted(write_address(text, address, port), wide, to, room);
}

/* Returns the end of the text, its terminator. The buffer has room for 16 characters. */
PSTR NTAPI RtlIpv4AddressToStringA(const struct in_addr *Address, PSTR S)
{
	char text[TEXT_LENGTH];
	return rtl_address_put(write_address(text, Address, 0), false, S);
}

PWSTR NTAPI RtlIpv4AddressToStringW(const struct in_addr *Address, PWSTR S)
{
	char text[TEXT_LENGTH];
	return rtl_address_put(write_address(text, Address, 0), true, S);
}

/* *AddressStringLength: in characters with terminator, in and out. STATUS_INVALID_PARAMETER: too
 * small, *length is the need. */
NTSTATUS NTAPI RtlIpv4AddressToStringExA(const struct in_addr *Address, USHORT Port,
					 PSTR AddressString, PULONG AddressStringLength)
{
	return to_string(Address, Port, false, AddressString, AddressStringLength);
}

NTSTATUS NTAPI RtlIpv4AddressToStringExW(const struct in_addr *Address, USHORT Port,
					 PWSTR AddressString, PULONG AddressStringLength)
{
	return to_string(Address, Port, true, AddressString, AddressStringLength);
}
