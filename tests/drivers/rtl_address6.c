/* SPDX-License-Identifier: MIT */
/* rtl_address6.c: IPv6 addresses in text, both ways; IPv4 addresses into text; mstcpip.h's helpers.
 */
#include "check.h"
#include <mstcpip.h>

static BOOLEAN same(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

/* Read, and written again. */
static BOOLEAN goes_round(const char *in, const char *out)
{
	IN6_ADDR address;
	PCSTR end;
	CHAR text[46];
	if (!NT_SUCCESS(RtlIpv6StringToAddressA(in, &end, &address)) || *end)
		return FALSE;
	return RtlIpv6AddressToStringA(&address, text) == text + strlen(out) && same(text, out);
}

static BOOLEAN refused(const char *in)
{
	IN6_ADDR address;
	ULONG scope;
	USHORT port;
	RtlFillMemory(&address, sizeof(address), 0x5a);
	return RtlIpv6StringToAddressExA(in, &address, &scope, &port) == STATUS_INVALID_PARAMETER &&
	       address.u.Byte[0] == 0x5a;
}

static void test_plain(void)
{
	IN6_ADDR address;
	PCSTR end;
	CHECK(goes_round("::", "::") && goes_round("0:0:0:0:0:0:0:1", "::1") &&
		      goes_round("FD00::1", "fd00::1") && goes_round("1::", "1::"),
	      "runs of zeros");
	CHECK(goes_round("1:0:0:2:0:0:0:3", "1:0:0:2::3") &&
		      goes_round("1:0:2:0:3:0:4:0", "1:0:2:0:3:0:4:0"),
	      "the longest run, of two words at least");
	CHECK(goes_round("::ffff:192.0.2.1", "::ffff:192.0.2.1") &&
		      goes_round("::ffff:c000:201", "::ffff:192.0.2.1"),
	      "an IPv4-mapped address");
	CHECK(goes_round("::c000:201", "::192.0.2.1") && goes_round("::1:0", "::0.1.0.0") &&
		      goes_round("::8", "::8"),
	      "an IPv4-compatible address");
	CHECK(goes_round("fe80::5efe:a00:1", "fe80::5efe:10.0.0.1") &&
		      goes_round("fe80::200:5efe:1.2.3.4", "fe80::200:5efe:1.2.3.4") &&
		      goes_round("1:2::1.2.3.4", "1:2::102:304"),
	      "an ISATAP address");
	CHECK(NT_SUCCESS(RtlIpv6StringToAddressA("fe80::1%4", &end, &address)) && *end == '%',
	      "the terminator");
	CHECK(!NT_SUCCESS(RtlIpv6StringToAddressA("fe80:1", &end, &address)), "too few words");
}

static void test_extended(void)
{
	IN6_ADDR address;
	ULONG scope = 9, length = 64;
	USHORT port = 9;
	CHAR text[64];
	WCHAR wide[64];
	CHECK(NT_SUCCESS(RtlIpv6StringToAddressExW(L"[fe80::1%4]:445", &address, &scope, &port)) &&
		      scope == 4 && port == RtlUshortByteSwap(445) && address.u.Byte[15] == 1,
	      "scope and port");
	CHECK(NT_SUCCESS(RtlIpv6AddressToStringExA(&address, scope, port, text, &length)) &&
		      same(text, "[fe80::1%4]:445") && length == 16,
	      "and back");
	length = 15;
	CHECK(RtlIpv6AddressToStringExW(&address, scope, port, wide, &length) ==
			      STATUS_INVALID_PARAMETER &&
		      length == 16,
	      "one character short");
	CHECK(NT_SUCCESS(RtlIpv6StringToAddressExA("fd00::2", &address, &scope, &port)) && !scope &&
		      !port,
	      "neither");
	CHECK(refused("") && refused("[fd00::1") && refused("[fd00::1]:") &&
		      refused("[fd00::1]:65536") && refused("fd00::1:") && refused("fd00::1%") &&
		      refused("fd00::1]:80") && refused("fd00::1 ") && refused("[]") &&
		      refused("[fd00::1]x") && refused("fd00::1%4294967296"),
	      "what is none");
}

static BOOLEAN same_wide(const WCHAR *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

static void test_ipv4(void)
{
	IN_ADDR address, other = {{{9, 9, 9, 9}}};
	USHORT port = 9;
	PCSTR end;
	PCWSTR wide_end;
	PCSTR in = "192.0.2.255/24";
	PCWSTR wide_in = L"0300.0x0.767 ";
	CHECK(RtlIpv4StringToAddressA(in, TRUE, &end, &address) == STATUS_SUCCESS &&
		      end == in + 11 && *end == '/' && address.S_un.S_un_b.s_b4 == 255 &&
		      RtlIpv4StringToAddressW(wide_in, FALSE, &wide_end, &address) ==
			      STATUS_SUCCESS &&
		      *wide_end == ' ' && address.S_un.S_un_b.s_b3 == 2 &&
		      RtlIpv4StringToAddressW(wide_in, TRUE, &wide_end, &other) ==
			      STATUS_INVALID_PARAMETER,
	      "DEF-78 IPv4 ends at its terminator; other bases when it is not strict");
	CHECK(RtlIpv4StringToAddressExA("1.2.3.4:x", TRUE, &other, &port) ==
			      STATUS_INVALID_PARAMETER &&
		      RtlIpv4StringToAddressExA(NULL, TRUE, &other, &port) ==
			      STATUS_INVALID_PARAMETER &&
		      RtlIpv4StringToAddressExW(L"1.2.3.4", TRUE, NULL, &port) ==
			      STATUS_INVALID_PARAMETER &&
		      RtlIpv4StringToAddressExW(L"1.2.3.4", TRUE, &other, NULL) ==
			      STATUS_INVALID_PARAMETER &&
		      other.S_un.S_un_b.s_b1 == 9 && port == 9,
	      "DEF-78 what is refused writes nothing");
	CHAR text[32];
	WCHAR wide[32];
	ULONG length = 11;
	CHECK(RtlIpv4AddressToStringA(&address, text) == text + 11 && same(text, "192.0.2.255") &&
		      RtlIpv4AddressToStringW(&address, wide) == wide + 11 &&
		      same_wide(wide, "192.0.2.255"),
	      "DEF-78 IPv4, to its terminator");
	CHECK(RtlIpv4AddressToStringExA(&address, 0, text, &length) == STATUS_INVALID_PARAMETER &&
		      length == 12 &&
		      RtlIpv4AddressToStringExA(&address, 0, text, &length) == STATUS_SUCCESS &&
		      length == 12 && same(text, "192.0.2.255"),
	      "DEF-78 IPv4: the need, and what fits exactly");
	length = 32;
	CHECK(RtlIpv4AddressToStringExW(&address, RtlUshortByteSwap(65535), wide, &length) ==
			      STATUS_SUCCESS &&
		      length == 18 && same_wide(wide, "192.0.2.255:65535"),
	      "DEF-78 IPv4 with a port");
	length = 0;
	CHECK(RtlIpv4AddressToStringExW(&address, 0, NULL, &length) == STATUS_INVALID_PARAMETER &&
		      length == 12 &&
		      RtlIpv4AddressToStringExW(NULL, 0, wide, &length) ==
			      STATUS_INVALID_PARAMETER &&
		      RtlIpv4AddressToStringExA(&address, 0, NULL, &length) ==
			      STATUS_INVALID_PARAMETER,
	      "DEF-78 IPv4: no buffer, no address");
}

static void test_helpers(void)
{
	SOCKADDR_INET inet;
	RtlFillMemory(&inet, sizeof(inet), 0x77);
	inet.si_family = AF_INET6;
	INETADDR_SETANY((PSOCKADDR)&inet);
	CHECK(INETADDR_ISANY((PSOCKADDR)&inet) && INETADDR_PORT((PSOCKADDR)&inet) == 0 &&
		      inet.si_family == AF_INET6,
	      "any address");
	INETADDR_ADDRESS((PSOCKADDR)&inet)[15] = 1;
	INETADDR_SET_PORT((PSOCKADDR)&inet, 7);
	CHECK(!INETADDR_ISANY((PSOCKADDR)&inet) && inet.Ipv6.sin6_addr.u.Byte[15] == 1 &&
		      inet.Ipv6.sin6_port == 7,
	      "address and port");
}

DRIVER_UNLOAD OnUnload;
VOID NTAPI OnUnload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

DRIVER_INITIALIZE DriverEntry;
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = OnUnload;
	test_plain();
	test_extended();
	test_ipv4();
	test_helpers();
	return check_result();
}
