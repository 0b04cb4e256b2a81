/* SPDX-License-Identifier: MIT */
/*
 * address6.c: IPv6 addresses in text, both ways.
 *
 * Pure code. Text in: eight words in hexadecimal, one `::` for a run of zeros, an IPv4 address for
 * the last two. Text out: lower case, the first longest run of two or more zero words as `::`, an
 * IPv4-mapped, IPv4-compatible or ISATAP address with its IPv4 part in decimal. With a scope `%N`
 * behind it, with a port in brackets: [fe80::1%4]:80. Chosen: the text that is read ends at the
 * first character that no address can have; if what is before it is no address, *Terminator is the
 * beginning.
 */
#include <in6addr.h>
#include <ntifs.h>
#include "rtl/rtl_internal.h"

#define TEXT_LENGTH 72 /* the longest form with scope, brackets, port, and its terminator */

unsigned rtl_digit(unsigned c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

bool rtl_number_read(const char **at, const char *end, unsigned base, unsigned digits,
		     uint64_t limit, uint64_t *value)
{
	const char *begin = *at;
	unsigned digit;
	*value = 0;
	for (; *at < end && (digit = rtl_digit((unsigned char)**at)) < base; (*at)++) {
		if ((unsigned)(*at - begin) == digits || *value > (limit - digit) / base)
			return false;
		*value = *value * base + digit;
	}
	return *at > begin;
}

bool rtl_address4_read(const char *at, const char *end, uint8_t bytes[4])
{
	for (unsigned i = 0; i < 4; i++) {
		uint64_t value;
		if (i && (at == end || *at++ != '.'))
			return false;
		if (!rtl_number_read(&at, end, 10, 3, 255, &value))
			return false;
		bytes[i] = (uint8_t)value;
	}
	return at == end;
}

/* Where the part that begins at `at` ends, if it is in decimal with dots; 0: it is a word. */
static bool is_ipv4(const char *at, const char *end)
{
	while (at < end && *at != ':' && *at != '.')
		at++;
	return at < end && *at == '.';
}

bool rtl_address6_read(const char *at, const char *end, uint8_t bytes[16])
{
	unsigned count = 0, gap = 9; /* words read; the word that `::` stands before */
	uint8_t read[16];
	if (end - at >= 2 && at[0] == ':' && at[1] == ':') {
		gap = 0;
		at += 2;
	}
	while (at < end) {
		uint64_t value;
		if (is_ipv4(at, end)) {
			if (count > 6 || !rtl_address4_read(at, end, &read[count * 2]))
				return false;
			count += 2;
			break;
		}
		if (count == 8 || !rtl_number_read(&at, end, 16, 4, 0xffff, &value))
			return false;
		read[count * 2] = (uint8_t)(value >> 8);
		read[count * 2 + 1] = (uint8_t)value;
		count++;
		if (at == end)
			break;
		if (*at++ != ':' || at == end)
			return false;
		if (*at == ':') {
			if (gap != 9)
				return false;
			gap = count;
			at++;
		}
	}
	if (gap == 9 ? count != 8 : count > 7)
		return false;
	unsigned head = gap == 9 ? 8 : gap, tail = count - head;
	memset(bytes, 0, 16);
	memcpy(bytes, read, head * 2);
	memcpy(bytes + 16 - tail * 2, read + head * 2, tail * 2);
	return true;
}

/* ---- Text into addresses ---- */

/* The characters of an address at the beginning of the text. */
static size_t span(const char *text)
{
	size_t length = 0;
	while (rtl_digit((unsigned char)text[length]) < 16 || text[length] == ':' ||
	       text[length] == '.')
		length++;
	return length;
}

/* The driver's text, as much of it as any form can have; the rest of a longer one makes it wrong.
 */
static void narrow(char to[TEXT_LENGTH], const WCHAR *from)
{
	size_t i = 0;
	for (; i < TEXT_LENGTH - 1 && from[i]; i++)
		to[i] = from[i] < 0x80 ? (char)from[i] : '?';
	to[i] = 0;
}

static NTSTATUS read_plain(const char *text, size_t *length, struct in6_addr *address)
{
	uint8_t bytes[16];
	*length = span(text);
	if (!rtl_address6_read(text, text + *length, bytes)) {
		*length = 0;
		return STATUS_INVALID_PARAMETER;
	}
	memcpy(address, bytes, sizeof(bytes));
	return STATUS_SUCCESS;
}

/* STATUS_SUCCESS, STATUS_INVALID_PARAMETER. *Terminator: behind the address. PASSIVE_LEVEL. */
NTSTATUS NTAPI RtlIpv6StringToAddressA(PCSTR S, PCSTR *Terminator, struct in6_addr *Addr)
{
	size_t length;
	NTSTATUS status = read_plain(S, &length, Addr);
	*Terminator = S + length;
	return status;
}

NTSTATUS NTAPI RtlIpv6StringToAddressW(PCWSTR S, PCWSTR *Terminator, struct in6_addr *Addr)
{
	char text[TEXT_LENGTH];
	size_t length;
	narrow(text, S);
	NTSTATUS status = read_plain(text, &length, Addr);
	*Terminator = S + length;
	return status;
}

static NTSTATUS read_whole(const char *text, struct in6_addr *address, ULONG *scope, USHORT *port)
{
	const char *at = text, *end = text + rtl_length(text);
	uint8_t bytes[16];
	uint64_t scope_value = 0, port_value = 0;
	bool brackets = *at == '[';
	at += brackets;
	size_t length = span(at);
	if (!rtl_address6_read(at, at + length, bytes))
		return STATUS_INVALID_PARAMETER;
	at += length;
	if (*at == '%' && (++at, !rtl_number_read(&at, end, 10, 10, 0xffffffff, &scope_value)))
		return STATUS_INVALID_PARAMETER;
	if (brackets) {
		if (*at++ != ']')
			return STATUS_INVALID_PARAMETER;
		if (*at == ':' && (++at, !rtl_number_read(&at, end, 10, 5, 0xffff, &port_value)))
			return STATUS_INVALID_PARAMETER;
	}
	if (at != end)
		return STATUS_INVALID_PARAMETER;
	memcpy(address, bytes, sizeof(bytes));
	*scope = (ULONG)scope_value;
	*port = __builtin_bswap16((uint16_t)port_value);
	return STATUS_SUCCESS;
}

/* With scope and port (in network order), 0 where they are absent. STATUS_SUCCESS,
 * STATUS_INVALID_PARAMETER: nothing is written. PASSIVE_LEVEL. */
NTSTATUS NTAPI RtlIpv6StringToAddressExA(PCSTR AddressString, struct in6_addr *Address,
					 PULONG ScopeId, PUSHORT Port)
{
	if (!AddressString || !Address || !ScopeId || !Port)
		return STATUS_INVALID_PARAMETER;
	return read_whole(AddressString, Address, ScopeId, Port);
}

NTSTATUS NTAPI RtlIpv6StringToAddressExW(PCWSTR AddressString, struct in6_addr *Address,
					 PULONG ScopeId, PUSHORT Port)
{
	char text[TEXT_LENGTH];
	if (!AddressString || !Address || !ScopeId || !Port)
		return STATUS_INVALID_PARAMETER;
	narrow(text, AddressString);
	return read_whole(text, Address, ScopeId, Port);
}

/* ---- Addresses into text ---- */

static unsigned word_of(const struct in6_addr *address, unsigned i)
{
	return __builtin_bswap16(address->u.Word[i]);
}

/* The first longest run of two or more zero words; its length, 0 when there is none. */
static unsigned zeros(const struct in6_addr *address, unsigned words, unsigned *begin)
{
	unsigned best = 0;
	for (unsigned i = 0; i < words; i++) {
		unsigned length = 0;
		while (i + length < words && !word_of(address, i + length))
			length++;
		if (length >= 2 && length > best) {
			best = length;
			*begin = i;
		}
		i += length;
	}
	return best;
}

/* The last two words are an IPv4 address: mapped, compatible (but not :: and ::1), or ISATAP. */
static bool holds_ipv4(const struct in6_addr *address)
{
	bool zero = true;
	for (unsigned i = 0; i < 5; i++)
		zero = zero && !word_of(address, i);
	unsigned fifth = word_of(address, 5);
	return (zero && (fifth == 0xffff || (!fifth && word_of(address, 6)))) ||
	       (!(word_of(address, 4) & ~0x200u) && fifth == 0x5efe);
}

static size_t write_plain(char *to, size_t size, const struct in6_addr *address)
{
	const uint8_t *bytes = address->u.Byte;
	bool ipv4 = holds_ipv4(address);
	unsigned words = ipv4 ? 6 : 8, begin = 9, length = zeros(address, words, &begin);
	size_t at = 0;
	for (unsigned i = 0; i < words; i++) {
		if (i == begin) {
			at += rtl_print(to + at, size - at, "::");
			i += length - 1;
		} else {
			at += rtl_print(to + at, size - at, "%s%x",
					i && i != begin + length ? ":" : "", word_of(address, i));
		}
	}
	if (ipv4)
		at += rtl_print(to + at, size - at, "%s%u.%u.%u.%u",
				begin + length == words ? "" : ":", bytes[12], bytes[13], bytes[14],
				bytes[15]);
	return at;
}

static const char *write_whole(char to[TEXT_LENGTH], const struct in6_addr *address, ULONG scope,
			       USHORT port)
{
	size_t at = port ? rtl_print(to, TEXT_LENGTH, "[") : 0;
	at += write_plain(to + at, TEXT_LENGTH - at, address);
	if (scope)
		at += rtl_print(to + at, TEXT_LENGTH - at, "%%%u", scope);
	if (port)
		rtl_print(to + at, TEXT_LENGTH - at, "]:%u", __builtin_bswap16(port));
	return to;
}

static NTSTATUS to_string(const struct in6_addr *address, ULONG scope, USHORT port, bool wide,
			  void *to, ULONG *room)
{
	char text[TEXT_LENGTH];
	if (!address || !room || (!to && *room))
		return STATUS_INVALID_PARAMETER;
	return rtl_address_put_counted(write_whole(text, address, scope, port), wide, to, room);
}

/* The buffer has room for 46 characters; returns the end of the text. */
PSTR NTAPI RtlIpv6AddressToStringA(const struct in6_addr *Addr, PSTR S)
{
	char text[TEXT_LENGTH];
	return rtl_address_put(write_whole(text, Addr, 0, 0), false, S);
}

PWSTR NTAPI RtlIpv6AddressToStringW(const struct in6_addr *Addr, PWSTR S)
{
	char text[TEXT_LENGTH];
	return rtl_address_put(write_whole(text, Addr, 0, 0), true, S);
}

/* *AddressStringLength: in characters with terminator, in and out. STATUS_SUCCESS;
 * STATUS_INVALID_PARAMETER: too small, *length is the need. */
NTSTATUS NTAPI RtlIpv6AddressToStringExA(const struct in6_addr *Address, ULONG ScopeId, USHORT Port,
					 PSTR AddressString, PULONG AddressStringLength)
{
	return to_string(Address, ScopeId, Port, false, AddressString, AddressStringLength);
}

NTSTATUS NTAPI RtlIpv6AddressToStringExW(const struct in6_addr *Address, ULONG ScopeId, USHORT Port,
					 PWSTR AddressString, PULONG AddressStringLength)
{
	return to_string(Address, ScopeId, Port, true, AddressString, AddressStringLength);
}
