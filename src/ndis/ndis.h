/* SPDX-License-Identifier: MIT */
/*
 * ndis.h: the network interfaces of the machine: what `--adapter` describes, what netioapi.h lists,
 * and what an NDK adapter is opened on. Made before boot, constant afterwards: read without a lock
 * in any context.
 */
#pragma once

#include <netioapi.h>
#include <stdbool.h>
#include <stdint.h>
#include "ndk/ndk.h"

#define NDIS_RNICS         16u /* and the software loopback interface */
#define NDIS_ADDRESSES     8u  /* of one interface */
#define NDIS_ALIAS_LENGTH  64u
#define NDIS_DEVICE_LENGTH 64u

enum ndis_kind {
	NDIS_SOFTWARE_LOOPBACK, /* index 1, 127.0.0.1 and ::1: no NDK, as everywhere */
	NDIS_RNIC_LOOPBACK,     /* an RNIC in this process */
	NDIS_RNIC_VERBS,        /* a device of the host */
};

struct ndis_address {
	SOCKADDR_INET address; /* port 0; link-local: its zone is the interface's index */
	uint8_t prefix;        /* bits of the network it is in */
};

struct ndis_interface {
	enum ndis_kind kind;
	NET_IFINDEX index;
	NET_LUID luid;
	GUID guid;
	uint8_t physical_address[6];
	WCHAR alias[NDIS_ALIAS_LENGTH];
	WCHAR description[NDIS_ALIAS_LENGTH];
	char device[NDIS_DEVICE_LENGTH]; /* NDIS_RNIC_VERBS: its name on the host */
	struct ndk_device rnic;          /* what NDK adapters are opened on */
	bool self;     /* connections from an address of the RNIC to itself (DEF-104) */
	bool disabled; /* NDK is switched off: opening answers "not ready" (NDK-112) */
	uint32_t address_count;
	struct ndis_address addresses[NDIS_ADDRESSES];
};

/*
 * One --adapter: `loopback`, `loopback:INDEX=VALUE,...`, `verbs` (the first device of the host) or
 * `verbs:DEVICE`. VALUE is an address,
 * with or without /PREFIX, `alias:NAME`, `luid:NUMBER`, `self` (connections to itself) or
 * `disabled`; VALUE without INDEX= goes to the last index. 0: understood; else why not, in words.
 * Before ndis_initialize, by the thread that boots.
 */
const char *ndis_adapter_describe(const char *text);
/*
 * The default adapters when none was described: index 2 with 192.0.2.1 and fd00::1, index 3 with
 * 192.0.2.2 and fd00::2; and the software loopback interface. Adds the RNICs to NDK. 0, or why
 * not; *device is the device of the host that it is about, or 0.
 */
const char *ndis_initialize(const char **device);

uint32_t ndis_interface_count(void);
const struct ndis_interface *ndis_interface_at(uint32_t number);
/* 0: there is none. */
const struct ndis_interface *ndis_interface_by_index(NET_IFINDEX index);
const struct ndis_interface *ndis_interface_by_luid(NET_LUID luid);

/* Of one family, and the same address; neither the port nor a zone that is 0 counts. */
bool ndis_address_equal(const SOCKADDR_INET *a, const SOCKADDR_INET *b);
/* Both lie in the network of `prefix` bits. */
bool ndis_address_in(const SOCKADDR_INET *address, const SOCKADDR_INET *network, uint8_t prefix);
