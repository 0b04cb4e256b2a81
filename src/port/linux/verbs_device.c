/* SPDX-License-Identifier: MIT */
/*
 * verbs_device.c: open an RDMA device for an adapter: its limits, its addresses, what all its
 * objects share, and the thread that hears of its death.
 *
 * Host threads before the machine boots, and device threads. Chosen: limits that a device does not
 * have (its registration size may be "everything") are capped; private data are what rdma_cm leaves
 * of InfiniBand's messages; the addresses are those of the network interfaces in its GID table.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "port/linux/verbs_internal.h"

/* NDK_ADAPTER_INFO.AdapterFlags (NDK-18). Completion queues are the core's: it moderates and
 * resizes them. */
#define FLAG_READ_SINK_NOT_REQUIRED 0x2u
#define FLAG_MODERATION             0x4u
#define FLAG_CQ_RESIZE              0x100u
#define FLAG_LOOPBACK_CONNECTIONS   0x10000u

enum technology { IWARP = 1, INFINIBAND, ROCE, ROCE_V2 };

#define SOFT_ROCE_VENDOR   0xffffffu
#define REGISTRATION_LIMIT (1ull << 46)
#define FAST_PAGES         512
#define LARGE_REQUEST      65536u
#define CQ_START           4096u

struct verbs_device *_Atomic verbs_devices;

int verbs_status(int error)
{
	switch (error) {
	case 0:
		return NDK_SUCCESS;
	case ENOMEM:
	case ENOSPC:
	case EAGAIN:
	case EMFILE:
		return NDK_INSUFFICIENT_RESOURCES;
	case EINVAL:
		return NDK_INVALID_PARAMETER;
	case EFAULT:
	case EACCES:
	case EPERM:
		return NDK_ACCESS_VIOLATION;
	case EADDRINUSE:
		return NDK_SHARING_VIOLATION;
	case EADDRNOTAVAIL:
		return NDK_INVALID_ADDRESS;
	case ENOBUFS:
		return NDK_TOO_MANY_ADDRESSES;
	case EISCONN:
		return NDK_ADDRESS_ALREADY_EXISTS;
	case ENETUNREACH:
	case ENODEV:
	case ENETDOWN:
		return NDK_NETWORK_UNREACHABLE;
	case EHOSTUNREACH:
	case EHOSTDOWN:
		return NDK_HOST_UNREACHABLE;
	case ETIMEDOUT:
		return NDK_IO_TIMEOUT;
	case ECONNREFUSED:
		return NDK_CONNECTION_REFUSED;
	case ENOTCONN:
	case ECONNRESET:
		return NDK_CONNECTION_INVALID;
	case EOPNOTSUPP:
		return NDK_NOT_SUPPORTED;
	default:
		return NDK_INTERNAL_ERROR;
	}
}

static uint32_t at_most(uint64_t value, uint32_t limit)
{
	return value < limit ? (uint32_t)value : limit;
}

/* ---- Addresses ---- */

static bool read_line(const char *path, char *line, int size)
{
	FILE *file = fopen(path, "re");
	if (!file)
		return false;
	bool ok = fgets(line, size, file);
	fclose(file);
	if (ok)
		line[strcspn(line, "\n")] = 0;
	return ok && *line;
}

/* True if `interface` stands in the GID table of the device's port 1. */
static bool interface_is_ours(const char *device, const char *interface)
{
	for (unsigned i = 0; i < 256; i++) {
		char path[PATH_MAX], line[IF_NAMESIZE + 1];
		snprintf(path, sizeof path, "/sys/class/infiniband/%s/ports/1/gid_attrs/ndevs/%u",
			 device, i);
		errno = 0;
		if (read_line(path, line, sizeof line) && !strcmp(line, interface))
			return true;
		if (errno == ENOENT)
			break;
	}
	char path[PATH_MAX];
	snprintf(path, sizeof path, "/sys/class/infiniband/%s/device/net/%s", device, interface);
	return access(path, F_OK) == 0;
}

static uint8_t prefix_of(const uint8_t *mask, size_t size)
{
	unsigned bits = 0;
	for (size_t i = 0; i < size; i++)
		bits += (unsigned)__builtin_popcount(mask[i]);
	return (uint8_t)bits;
}

static bool add_address(struct ndk_device *device, const struct ifaddrs *from)
{
	static const uint8_t link_local[2] = {0xfe, 0x80};
	struct ndk_device_address *to = &device->addresses[device->address_count];
	*to = (struct ndk_device_address){0};
	if (from->ifa_addr->sa_family == AF_INET) {
		to->family = 2;
		memcpy(to->bytes, &((struct sockaddr_in *)(void *)from->ifa_addr)->sin_addr, 4);
		to->prefix = prefix_of(
			(uint8_t *)&((struct sockaddr_in *)(void *)from->ifa_netmask)->sin_addr, 4);
		return true;
	}
	if (from->ifa_addr->sa_family != AF_INET6)
		return false;
	to->family = 23;
	memcpy(to->bytes, &((struct sockaddr_in6 *)(void *)from->ifa_addr)->sin6_addr, 16);
	to->prefix = prefix_of(
		(uint8_t *)&((struct sockaddr_in6 *)(void *)from->ifa_netmask)->sin6_addr, 16);
	return memcmp(to->bytes, link_local, 2) != 0;
}

static void find_addresses(struct ndk_device *device, const char *name)
{
	struct ifaddrs *list;
	if (getifaddrs(&list))
		return;
	for (struct ifaddrs *i = list; i; i = i->ifa_next)
		if (i->ifa_addr && i->ifa_netmask &&
		    device->address_count <
			    sizeof device->addresses / sizeof device->addresses[0] &&
		    interface_is_ours(name, i->ifa_name) && add_address(device, i))
			device->address_count++;
	freeifaddrs(list);
}

/* ---- Limits ---- */

/* The most inline data that a QP of this device takes; found by asking for less and less. */
static uint32_t inline_limit(struct verbs_device *v)
{
	uint32_t found = 0;
	struct ibv_pd *pd = verbs.ibv_alloc_pd(v->context);
	for (uint32_t size = 256; pd && !found && size >= 16; size /= 2) {
		struct ibv_qp_init_attr init = {.send_cq = v->cq,
						.recv_cq = v->cq,
						.cap = {.max_send_wr = 1,
							.max_recv_wr = 1,
							.max_send_sge = 1,
							.max_recv_sge = 1,
							.max_inline_data = size},
						.qp_type = IBV_QPT_RC};
		struct ibv_qp *qp = verbs.ibv_create_qp(pd, &init);
		if (!qp)
			continue;
		found = size;
		verbs.ibv_destroy_qp(qp);
	}
	if (pd)
		verbs.ibv_dealloc_pd(pd);
	return found;
}

static uint32_t technology_of(const struct ibv_context *context, const struct ibv_port_attr *port)
{
	if (context->device->transport_type == IBV_TRANSPORT_IWARP)
		return IWARP;
	return port->link_layer == IBV_LINK_LAYER_ETHERNET ? ROCE_V2 : INFINIBAND;
}

static void fill_limits(struct verbs_device *v, const struct ibv_port_attr *port)
{
	const struct ibv_device_attr *a = &v->attributes;
	struct ndk_limits *l = &v->core->limits;
	uint32_t sges = at_most((uint64_t)a->max_sge, VERBS_SGES);
	bool srqs = a->max_srq > 0 && a->max_srq_sge > 0;
	*l = (struct ndk_limits){
		.vendor = a->vendor_id,
		.device = a->vendor_part_id,
		.registration_size =
			a->max_mr_size < REGISTRATION_LIMIT ? a->max_mr_size : REGISTRATION_LIMIT,
		.fast_register_pages = FAST_PAGES,
		.initiator_sges = sges,
		.receive_sges = srqs ? at_most((uint64_t)a->max_srq_sge, sges) : sges,
		.read_sges = a->max_sge_rd ? at_most((uint64_t)a->max_sge_rd, sges) : sges,
		.transfer_length = port->max_msg_sz,
		.inline_size = inline_limit(v),
		.inbound_reads = at_most((uint64_t)a->max_qp_rd_atom, 128),
		.outbound_reads = at_most((uint64_t)a->max_qp_init_rd_atom, 128),
		.receive_depth = at_most((uint64_t)a->max_qp_wr, VERBS_DEPTH),
		.initiator_depth = at_most((uint64_t)a->max_qp_wr / VERBS_PER_ENTRY, VERBS_DEPTH),
		.srq_depth = srqs ? at_most((uint64_t)a->max_srq_wr, VERBS_DEPTH) : 0,
		.cq_depth = at_most((uint64_t)a->max_cqe, 1u << 20),
		.large_request = LARGE_REQUEST,
		.caller_data = VERBS_CALLER_DATA,
		.callee_data = VERBS_CALLEE_DATA,
		.flags = FLAG_MODERATION | FLAG_CQ_RESIZE | FLAG_LOOPBACK_CONNECTIONS,
		.technology = technology_of(v->context, port),
	};
	l->window_size = l->registration_size;
	if (l->technology != IWARP)
		l->flags |= FLAG_READ_SINK_NOT_REQUIRED;
}

/* ---- Opening ---- */

static struct ibv_context *open_by_name(const char *name, char *found, size_t found_size, char *why,
					size_t size)
{
	struct ibv_context *context = NULL;
	int count = 0;
	struct ibv_device **list = verbs.ibv_get_device_list(&count);
	*found = 0;
	for (int i = 0; i < count && !context; i++) {
		const char *candidate = verbs.ibv_get_device_name(list[i]);
		if (*name && strcmp(name, candidate))
			continue;
		snprintf(found, found_size, "%s", candidate);
		context = verbs.ibv_open_device(list[i]);
	}
	if (!context && *found)
		snprintf(why, size, "RDMA device %s cannot be opened: %s", found, strerror(errno));
	else if (!context && count && *name)
		snprintf(why, size, "no RDMA device is called %s (ibv_devinfo -l lists %d)", name,
			 count);
	else if (!context)
		snprintf(why, size,
			 "this host has no RDMA device (soft-RoCE: rdma link add rxe0 type rxe "
			 "netdev NAME)");
	if (list)
		verbs.ibv_free_device_list(list);
	return context;
}

static bool share(struct verbs_device *v, char *why, size_t size)
{
	v->cq_size = at_most((uint64_t)v->attributes.max_cqe, CQ_START);
	v->channel = verbs.ibv_create_comp_channel(v->context);
	if (v->channel)
		v->cq = verbs.ibv_create_cq(v->context, (int)v->cq_size, v, v->channel, 0);
	if (v->cq)
		v->events = verbs.rdma_create_event_channel();
	if (!v->events)
		snprintf(why, size, "%s: no completion or event queue: %s", v->core->name,
			 strerror(errno));
	return v->events;
}

bool port_verbs_open(struct ndk_device *device, const char *name, char *why, size_t size)
{
	static unsigned opened;
	char found[sizeof device->name];
	if (!verbs_library_load(why, size))
		return false;
	if (opened++ == VERBS_DEVICES) {
		snprintf(why, size, "verbs:%s is one adapter more than the %u of verbs that can be",
			 name, VERBS_DEVICES);
		return false;
	}
	struct ibv_context *context = open_by_name(name, found, sizeof found, why, size);
	struct verbs_device *v = context ? calloc(1, sizeof *v) : NULL;
	struct ibv_port_attr port = {0};
	if (!v)
		return false;
	v->context = context;
	v->core = device;
	device->provider = &verbs_provider;
	device->data = v;
	memcpy(device->name, found, sizeof found);
	int error = verbs.ibv_query_device(context, &v->attributes);
	if (!error)
		error = verbs.ibv_query_port(context, 1, (struct _compat_ibv_port_attr *)&port);
	if (error) {
		snprintf(why, size, "%s: its attributes cannot be read: %s", found,
			 strerror(error));
		return false;
	}
	v->soft_roce = v->attributes.vendor_id == SOFT_ROCE_VENDOR;
	if (!share(v, why, size))
		return false;
	fill_limits(v, &port);
	find_addresses(device, found);
	if (!device->address_count) {
		snprintf(why, size, "%s has no IPv4 or IPv6 address (ip addr add ... dev NAME)",
			 found);
		return false;
	}
	static bool started;
	if (!started)
		started = verbs_memory_start() && verbs_threads_start() && verbs_work_start();
	if (!started || !verbs_work_watch(v) || !verbs_connections_start(v)) {
		snprintf(why, size, "%s: the host refused memory or a thread", found);
		return false;
	}
	v->next = verbs_devices;
	atomic_store(&verbs_devices, v); /* -> the data thread, which looks at all of it */
	return true;
}
