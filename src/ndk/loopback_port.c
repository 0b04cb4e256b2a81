/* SPDX-License-Identifier: MIT */
/*
 * loopback_port.c: addresses and ports of loopback RNICs (NDK-135, NDK-144), and the listeners and
 * shared endpoints that hold them.
 *
 * An endpoint is an address and a port, in a table by hash; references are what the documents
 * count: a listener and each connector that it accepted; a connector that connects; a shared
 * endpoint and each connector from it. At zero the port is free again.
 *
 * Contexts and locks: IRQL <= DISPATCH_LEVEL; `table_lock` protects the table, the references and
 * who listens.
 *
 * Chosen: an address that no RNIC of the machine has: STATUS_HOST_UNREACHABLE inside the prefix of
 * one's own, STATUS_NETWORK_UNREACHABLE outside. Connecting an RNIC with itself is refused without
 * the adapter flag LOOPBACK_CONNECTIONS.
 */
#include "ndk/loopback.h"
#include "ndk/ndk.h"
#include "rtl/rtl.h"

#define BUCKETS    256u
#define FIRST_PORT 49152u
#define PORTS      (65536u - FIRST_PORT)

static struct ke_lock table_lock;
static LIST_ENTRY buckets[BUCKETS];
static uint32_t next_port;

/* ---- Addresses ---- */

int loopback_address_own(const struct ndk_device *device, struct ndk_address *local)
{
	if (!ndk_address_is_any(local))
		return NDK_SUCCESS;
	for (uint32_t i = 0; i < device->address_count; i++) {
		if (device->addresses[i].family != local->family)
			continue;
		memcpy(local->bytes, device->addresses[i].bytes, local->family == AF_INET ? 4 : 16);
		return NDK_SUCCESS;
	}
	return NDK_INVALID_ADDRESS;
}

int loopback_route(const struct ndk_device *device, const struct ndk_address *remote)
{
	const struct ndk_device *other = ndk_device_of_address(remote->family, remote->bytes);
	if (other && other->provider == device->provider) {
		bool refuse = other == device && !(device->limits.flags &
						   NDK_ADAPTER_FLAG_LOOPBACK_CONNECTIONS_SUPPORTED);
		return refuse ? NDK_CONNECTION_REFUSED : NDK_SUCCESS;
	}
	for (uint32_t i = 0; i < device->address_count; i++) {
		if (ndk_address_in_network(&device->addresses[i], remote))
			return NDK_HOST_UNREACHABLE;
	}
	return NDK_NETWORK_UNREACHABLE;
}

/* ---- Ports ---- */

static uint32_t hash(const struct ndk_address *address)
{
	uint32_t value = address->port;
	for (unsigned i = 0; i < sizeof address->bytes; i++)
		value = value * 31 + address->bytes[i];
	return (value ^ value >> 8) % BUCKETS;
}

/* The lock is held. */
static LIST_ENTRY *bucket_of(const struct ndk_address *address)
{
	LIST_ENTRY *bucket = &buckets[hash(address)];
	if (!bucket->Flink)
		InitializeListHead(bucket);
	return bucket;
}

static struct loopback_port *find(const struct ndk_address *address)
{
	LIST_ENTRY *bucket = bucket_of(address);
	for (LIST_ENTRY *e = bucket->Flink; e != bucket; e = e->Flink) {
		struct loopback_port *port = CONTAINING_RECORD(e, struct loopback_port, entry);
		if (port->address.port == address->port &&
		    ndk_address_same_host(&port->address, address))
			return port;
	}
	return NULL;
}

/* The lock is held: a free port, from one to the next in turn. */
static int choose(struct ndk_address *address)
{
	if (address->port)
		return find(address) ? NDK_SHARING_VIOLATION : NDK_SUCCESS;
	for (uint32_t i = 0; i < PORTS; i++) {
		address->port = (uint16_t)(FIRST_PORT + next_port++ % PORTS);
		if (!find(address))
			return NDK_SUCCESS;
	}
	address->port = 0;
	return NDK_TOO_MANY_ADDRESSES;
}

static bool is_mine(const struct ndk_device *device, const struct ndk_address *address)
{
	for (uint32_t i = 0; i < device->address_count; i++) {
		const struct ndk_device_address *own = &device->addresses[i];
		if (own->family == address->family &&
		    !memcmp(own->bytes, address->bytes, address->family == AF_INET ? 4 : 16))
			return true;
	}
	return false;
}

int loopback_port_open(const struct ndk_device *device, struct ndk_address *address,
		       struct loopback_port **out)
{
	if (!is_mine(device, address))
		return NDK_INVALID_ADDRESS;
	struct loopback_port *port = ex_allocate(sizeof *port, NDK_TAG, NonPagedPoolNx);
	if (!port)
		return NDK_INSUFFICIENT_RESOURCES;
	port->references = 1;
	KIRQL old = ke_lock_raise(&table_lock);
	int status = choose(address);
	if (status == NDK_SUCCESS) {
		port->address = *address;
		InsertTailList(bucket_of(address), &port->entry);
	}
	ke_lock_lower(&table_lock, old);
	if (status == NDK_SUCCESS)
		*out = port;
	else
		ex_free(port);
	return status;
}

void loopback_port_get(struct loopback_port *port)
{
	KIRQL old = ke_lock_raise(&table_lock);
	port->references++;
	ke_lock_lower(&table_lock, old);
}

void loopback_port_put(struct loopback_port *port)
{
	KIRQL old = ke_lock_raise(&table_lock);
	bool last = !--port->references;
	if (last)
		RemoveEntryList(&port->entry);
	ke_lock_lower(&table_lock, old);
	if (last)
		ex_free(port);
}

void loopback_port_listen(struct loopback_port *port, struct ndk_listener *listener)
{
	KIRQL old = ke_lock_raise(&table_lock);
	port->listener = listener;
	ke_lock_lower(&table_lock, old);
}

struct ndk_listener *loopback_port_find(const struct ndk_address *address,
					struct loopback_port **out)
{
	struct ndk_listener *listener = NULL;
	KIRQL old = ke_lock_raise(&table_lock);
	struct loopback_port *port = find(address);
	if (port && port->listener && ndk_busy_try(&port->listener->object)) {
		listener = port->listener;
		port->references++;
		*out = port;
	}
	ke_lock_lower(&table_lock, old);
	return listener;
}

/* ---- Listeners and shared endpoints ---- */

int loopback_listen(struct ndk_listener *listener, struct ndk_address *local)
{
	struct loopback_listener *self = ndk_private(listener);
	int status = loopback_port_open(listener->object.adapter->device, local, &self->port);
	if (status == NDK_SUCCESS)
		loopback_port_listen(self->port, listener);
	return status;
}

int loopback_listen_end(struct ndk_listener *listener)
{
	struct loopback_listener *self = ndk_private(listener);
	if (self->port)
		loopback_port_listen(self->port, NULL);
	return NDK_SUCCESS;
}

void loopback_listener_destroy(struct ndk_listener *listener)
{
	struct loopback_listener *self = ndk_private(listener);
	if (self->port)
		loopback_port_put(self->port);
}

int loopback_endpoint_create(struct ndk_endpoint *endpoint, const struct ndk_address *address)
{
	struct loopback_listener *self = ndk_private(endpoint);
	struct ndk_address local = *address;
	int status = loopback_port_open(endpoint->object.adapter->device, &local, &self->port);
	if (status == NDK_SUCCESS)
		ndk_endpoint_bound(endpoint, &local);
	return status;
}

void loopback_endpoint_destroy(struct ndk_endpoint *endpoint)
{
	struct loopback_listener *self = ndk_private(endpoint);
	if (self->port)
		loopback_port_put(self->port);
}
