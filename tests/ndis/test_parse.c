/* SPDX-License-Identifier: MIT */
/*
 * test_parse.c: src/ndis/parse.c and interface.c: addresses in text, and the interfaces that
 * --adapter describes (DEF-75, DEF-104, DESIGN.md section 5). NDK and the port are faked here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "src/ndis/ndis_internal.h"
#include "rtl/rtl.h"

const struct ndk_provider ndk_loopback;
static unsigned added;

bool ndk_device_add(struct ndk_device *device)
{
	(void)device;
	added++;
	return true;
}

bool port_verbs_open(struct ndk_device *device, const char *name, char *why, size_t size)
{
	(void)why, (void)size;
	rtl_copy(device->name, sizeof(device->name), *name ? name : "first0");
	device->addresses[0] = (struct ndk_device_address){2, 8, {10, 1, 2, 3}};
	device->address_count = 1;
	return true;
}

static bool parses(const char *text, SOCKADDR_INET *address)
{
	return ndis_address_parse(text, rtl_length(text), address);
}

static void assert_ipv6(const char *text, const uint8_t bytes[16])
{
	SOCKADDR_INET address;
	assert_true(parses(text, &address));
	assert_int_equal(address.si_family, AF_INET6);
	assert_memory_equal(address.Ipv6.sin6_addr.u.Byte, bytes, 16);
}

static void test_ipv4(void **state)
{
	static const char *const wrong[] = {
		"",       "1",      "1.2.3",      "1.2.3.4.", "1.2.3.4.5", "256.1.1.1", "1.2.3.x",
		".1.2.3", "1..2.3", "0001.2.3.4", " 1.2.3.4", "1.2.3.4 ",  "-1.2.3.4"};
	SOCKADDR_INET address;
	(void)state;
	assert_true(parses("192.0.2.255", &address));
	assert_int_equal(address.si_family, AF_INET);
	assert_int_equal(address.Ipv4.sin_addr.S_un.S_un_b.s_b1, 192);
	assert_int_equal(address.Ipv4.sin_addr.S_un.S_un_b.s_b4, 255);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_false(parses(wrong[i], &address));
}

static void test_ipv6(void **state)
{
	static const char *const wrong[] = {":",
					    ":::",
					    "1::2::3",
					    "1:2:3:4:5:6:7",
					    "1:2:3:4:5:6:7:8:9",
					    "12345::",
					    "1:",
					    ":1",
					    "1:2:3:4:5:6:7:8::",
					    "::1.2.3",
					    "g::",
					    "::1.2.3.4:5",
					    "1:2:3:4:5:6:7:1.2.3.4",
					    "fd00::1%2"};
	SOCKADDR_INET address;
	(void)state;
	assert_ipv6("::", (uint8_t[16]){0});
	assert_ipv6("::1", (uint8_t[16]){[15] = 1});
	assert_ipv6("fd00::1", (uint8_t[16]){0xfd, [15] = 1});
	assert_ipv6("1::", (uint8_t[16]){0, 1});
	assert_ipv6("1:2:3:4:5:6:7:8",
		    (uint8_t[16]){0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8});
	assert_ipv6("1:2:3:4:5:6:7::",
		    (uint8_t[16]){0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 0});
	assert_ipv6("::ffff:1.2.3.4", (uint8_t[16]){[10] = 0xff, 0xff, 1, 2, 3, 4});
	assert_ipv6("1:2:3:4:5:6:1.2.3.4",
		    (uint8_t[16]){0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 1, 2, 3, 4});
	assert_ipv6("ABCD:ef01::9", (uint8_t[16]){0xab, 0xcd, 0xef, 1, [15] = 9});
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_false(parses(wrong[i], &address));
}

static void test_networks(void **state)
{
	SOCKADDR_INET a, b, c;
	(void)state;
	assert_true(parses("10.1.255.1", &a) && parses("10.1.128.9", &b) && parses("::1", &c));
	assert_true(ndis_address_in(&a, &b, 17));
	assert_false(ndis_address_in(&a, &b, 18));
	assert_true(ndis_address_in(&a, &b, 0));
	assert_false(ndis_address_in(&a, &c, 0));
	assert_true(ndis_address_equal(&a, &a));
	assert_false(ndis_address_equal(&a, &b));
}

/* The table lives as long as the process: what follows adds to it, in this order. */
static void test_adapters(void **state)
{
	static const char *const wrong[] = {"",
					    "loop",
					    "loopback:",
					    "loopback:2",
					    "loopback:2=",
					    "loopback:0=1.2.3.4",
					    "loopback:1=1.2.3.4",
					    "loopback:x=1.2.3.4",
					    "loopback:99999999=1.2.3.4",
					    "loopback:=1.2.3.4",
					    "loopback:2=1.2.3.4/",
					    "loopback:2=1.2.3.4/33",
					    "loopback:2=::1/129",
					    "loopback:2=alias:",
					    "loopback:2=luid:0",
					    "loopback:2=luid:x",
					    "loopback:2=selfish",
					    "loopback:2=0.0.0.0",
					    "loopback:2=127.0.0.1",
					    "loopback:2=239.1.1.1",
					    "loopback:2=255.255.255.255",
					    "loopback:2=::",
					    "loopback:2=::1",
					    "loopback:2=ff02::1",
					    "verb:x"};
	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		assert_non_null(ndis_adapter_describe(wrong[i]));

	assert_null(ndis_adapter_describe("loopback:70=10.0.0.1/8,fd00::70/"
					  "48,alias:left,self,71=10.0.0.2,luid:0x1234,disabled"));
	assert_null(ndis_adapter_describe("verbs:rxe7"));
	assert_null(ndis_adapter_describe("verbs"));
	const struct ndis_interface *left = ndis_interface_by_index(70);
	assert_non_null(left);
	assert_int_equal(left->address_count, 2);
	assert_int_equal(left->addresses[0].prefix, 8);
	assert_int_equal(left->addresses[1].prefix, 48);
	assert_int_equal(left->alias[0], 'l');
	assert_int_equal(left->alias[4], 0);
	assert_true(left->self);
	assert_false(left->disabled);
	const struct ndis_interface *right = ndis_interface_by_index(71);
	assert_int_equal(right->luid.Value, 0x1234);
	assert_ptr_equal(ndis_interface_by_luid(right->luid), right);
	assert_true(right->disabled);
	assert_int_equal(right->addresses[0].prefix, 24);
	assert_non_null(ndis_adapter_describe("loopback:72=10.0.0.2")); /* 71 has it */
	const char *device;
	assert_null(ndis_initialize(&device));
	assert_int_equal(added, ndis_interface_count() - 1); /* all but the software loopback */
	assert_int_equal(left->rnic.address_count, 2);
	assert_int_equal(left->rnic.limits.flags, NDK_ADAPTER_FLAG_LOOPBACK_CONNECTIONS_SUPPORTED);
	assert_true(right->rnic.disabled);
}

static void test_verbs(void **state)
{
	unsigned found = 0;
	(void)state;
	for (uint32_t i = 0; i < ndis_interface_count(); i++) {
		const struct ndis_interface *interface = ndis_interface_at(i);
		if (interface->kind != NDIS_RNIC_VERBS)
			continue;
		assert_int_equal(interface->address_count, 1);
		assert_int_equal(interface->addresses[0].prefix, 8);
		assert_int_equal(interface->description[0], found ? 'f' : 'r');
		found++;
	}
	assert_int_equal(found, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ipv4),     cmocka_unit_test(test_ipv6),
		cmocka_unit_test(test_networks), cmocka_unit_test(test_adapters),
		cmocka_unit_test(test_verbs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
