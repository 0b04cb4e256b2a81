/* SPDX-License-Identifier: MIT */
/*
 * device.c: the RNICs of the machine.
 *
 * Added before drivers run, never taken away: read without a lock, at any IRQL. `devices` and each
 * `next` are released by who adds, acquired by who walks.
 *
 * Implements NDK-17, NDK-18, DEF-70, DEF-80, DEF-81, DEF-104, DEF-107 (limits of the loopback
 * RNICs).
 */
#include <ndkinfo.h>
#include "ndk/internal.h"
#include "ndk/ndk.h"
#include "rtl/rtl.h"

static struct ndk_device *_Atomic devices;

static const struct ndk_limits loopback_limits = {
	.vendor = 0x4b5448,
	.device = 1,
	.registration_size = (uint64_t)1 << 40,
	.window_size = (uint64_t)1 << 40,
	.fast_register_pages = 8192,
	.initiator_sges = 32,
	.receive_sges = 32,
	.read_sges = 30, /* fewer, as on cards: a read's header takes the place of some */
	.transfer_length = 1u << 30,
	.inline_size = 1024,
	.inbound_reads = 128,
	.outbound_reads = 128,
	.receive_depth = 16384,
	.initiator_depth = 16384,
	.srq_depth = 16384,
	.cq_depth = 131072,
	.large_request = 65536,
	.caller_data = 56,
	.callee_data = 148, /* not the caller's: who takes one for the other should find it */
	.flags = NDK_ADAPTER_FLAG_IN_ORDER_DMA_SUPPORTED |
		 NDK_ADAPTER_FLAG_RDMA_READ_SINK_NOT_REQUIRED |
		 NDK_ADAPTER_FLAG_CQ_INTERRUPT_MODERATION_SUPPORTED |
		 NDK_ADAPTER_FLAG_RDMA_READ_LOCAL_INVALIDATE_SUPPORTED |
		 NDK_ADAPTER_FLAG_CQ_RESIZE_SUPPORTED,
	.technology = NdkRoCEv2,
};

struct ndk_device *ndk_device_first(void)
{
	return atomic_load_explicit(&devices, memory_order_acquire);
}

static struct ndk_device *next_of(struct ndk_device *device)
{
	return __atomic_load_n(&device->next, __ATOMIC_ACQUIRE);
}

struct ndk_device *ndk_device_find(uint32_t interface_index)
{
	struct ndk_device *device = ndk_device_first();
	while (device && device->interface_index != interface_index)
		device = next_of(device);
	return device;
}

static bool has_address(const struct ndk_device *device, uint16_t family, const void *bytes)
{
	for (uint32_t i = 0; i < device->address_count; i++) {
		const struct ndk_device_address *address = &device->addresses[i];
		if (address->family == family &&
		    !memcmp(address->bytes, bytes, family == NDK_FAMILY_IPV4 ? 4 : 16))
			return true;
	}
	return false;
}

struct ndk_device *ndk_device_of_address(uint16_t family, const void *bytes)
{
	struct ndk_device *device = ndk_device_first();
	while (device && !has_address(device, family, bytes))
		device = next_of(device);
	return device;
}

bool ndk_device_add(struct ndk_device *device)
{
	if (!device->limits.cq_depth)
		device->limits = loopback_limits;
	if (ndk_device_find(device->interface_index) || !ndk_provider_add(device->provider))
		return false;
	device->next = NULL;
	struct ndk_device *last = ndk_device_first();
	if (!last) {
		atomic_store_explicit(&devices, device, memory_order_release);
		return true;
	}
	while (next_of(last))
		last = next_of(last);
	__atomic_store_n(&last->next, device, __ATOMIC_RELEASE);
	return true;
}

void ndk_devices_default(void)
{
	static struct ndk_device plain[2];
	for (uint8_t i = 0; i < 2; i++) {
		struct ndk_device *device = &plain[i];
		device->provider = &ndk_loopback;
		device->interface_index = 2u + i;
		rtl_print(device->name, sizeof device->name, "RDMA %u", i + 1);
		device->address_count = 2;
		device->addresses[0] = (struct ndk_device_address){
			NDK_FAMILY_IPV4, 24, {192, 0, 2, (uint8_t)(i + 1)}};
		device->addresses[1] = (struct ndk_device_address){
			NDK_FAMILY_IPV6, 64, {0xfd, [15] = (uint8_t)(i + 1)}};
		ndk_device_add(device);
	}
}
