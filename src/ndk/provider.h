/* SPDX-License-Identifier: MIT */
/*
 * provider.h: the border between the NDK objects and what moves their bytes (DESIGN.md decision 6).
 *
 * The object layer (src/ndk) does lifetimes, states, checks, completions and callbacks. A provider
 * offers struct ndk_provider; loopback lives in the core, verbs in the port, so nothing here needs
 * the drivers' headers. Objects are known by the core's pointers; a provider keeps its own bytes
 * beside each (ndk_private).
 *
 * Operations are called on a baton, IRQL <= DISPATCH_LEVEL, and never wait. One that returns
 * NDK_PENDING is finished by its up-call, once, later or before it returns. Up-calls are made on a
 * baton at IRQL <= DISPATCH_LEVEL. A provider whose library blocks runs it on device threads: they
 * call ndk_port_interrupt, and the core then calls `service` at DISPATCH_LEVEL, which makes the
 * up-calls.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* NTSTATUS values that cross the border. */
enum ndk_status {
	NDK_SUCCESS = 0,
	NDK_PENDING = 0x103,
	NDK_BUFFER_OVERFLOW = (int)0x80000005,
	NDK_DEVICE_BUSY = (int)0x80000011,
	NDK_UNSUCCESSFUL = (int)0xc0000001,
	NDK_ACCESS_VIOLATION = (int)0xc0000005,
	NDK_INVALID_PARAMETER = (int)0xc000000d,
	NDK_SHARING_VIOLATION = (int)0xc0000043,
	NDK_INSUFFICIENT_RESOURCES = (int)0xc000009a,
	NDK_IO_TIMEOUT = (int)0xc00000b5,
	NDK_NOT_SUPPORTED = (int)0xc00000bb,
	NDK_INTERNAL_ERROR = (int)0xc00000e5,
	NDK_CANCELLED = (int)0xc0000120,
	NDK_REMOTE_RESOURCES = (int)0xc000013d,
	NDK_INVALID_ADDRESS = (int)0xc0000141,
	NDK_INVALID_DEVICE_STATE = (int)0xc0000184,
	NDK_TOO_MANY_ADDRESSES = (int)0xc0000209,
	NDK_ADDRESS_ALREADY_EXISTS = (int)0xc000020a,
	NDK_CONNECTION_REFUSED = (int)0xc0000236,
	NDK_CONNECTION_INVALID = (int)0xc000023a,
	NDK_NETWORK_UNREACHABLE = (int)0xc000023c,
	NDK_HOST_UNREACHABLE = (int)0xc000023d,
	NDK_CONNECTION_ABORTED = (int)0xc0000241,
};

/* Kinds of objects: NDK_OBJECT_TYPE's values. */
enum ndk_type {
	NDK_TYPE_ADAPTER = 1,
	NDK_TYPE_QP,
	NDK_TYPE_CQ,
	NDK_TYPE_MR,
	NDK_TYPE_MW,
	NDK_TYPE_PD,
	NDK_TYPE_ENDPOINT,
	NDK_TYPE_CONNECTOR,
	NDK_TYPE_LISTENER,
	NDK_TYPE_SRQ,
	NDK_TYPES,
};

struct ndk_adapter;
struct ndk_pd;
struct ndk_mr;
struct ndk_mw;
struct ndk_cq;
struct ndk_qp;
struct ndk_srq;
struct ndk_connector;
struct ndk_listener;
struct ndk_endpoint;

/* The provider's bytes beside an object: private_size[type] of them, zeroed, 16-byte aligned. */
#define NDK_PRIVATE_OFFSET 0x30
static inline void *ndk_private(const void *object)
{
	return *(void *const *)((const char *)object + NDK_PRIVATE_OFFSET);
}

/* ---- Adapters ---- */

#define NDK_FAMILY_IPV4 2
#define NDK_FAMILY_IPV6 23

struct ndk_device_address {
	uint16_t family;   /* 2: IPv4, 23: IPv6 (Windows' AF_INET, AF_INET6) */
	uint8_t prefix;    /* bits */
	uint8_t bytes[16]; /* network order */
};

/* What a device can do: NDK_ADAPTER_INFO without what the core adds. */
struct ndk_limits {
	uint32_t vendor, device;
	uint64_t registration_size, window_size; /* bytes */
	uint32_t fast_register_pages;
	uint32_t initiator_sges, receive_sges, read_sges;
	uint32_t transfer_length, inline_size; /* bytes */
	uint32_t inbound_reads, outbound_reads;
	uint32_t receive_depth, initiator_depth, srq_depth, cq_depth;
	uint32_t large_request;            /* bytes */
	uint32_t caller_data, callee_data; /* bytes */
	uint32_t flags;                    /* NDK_ADAPTER_FLAG_* */
	uint32_t technology;               /* NDK_RDMA_TECHNOLOGY */
};

/* One RNIC. Made before boot by who reads --adapter; lives for ever. */
struct ndk_device {
	struct ndk_device *next;
	const struct ndk_provider *provider;
	uint32_t interface_index;
	char name[32]; /* the alias */
	struct ndk_device_address addresses[8];
	uint32_t address_count;
	struct ndk_limits limits;
	bool disabled; /* opening it: NDIS_STATUS_ADAPTER_NOT_READY */
	void *data;    /* the provider's */
};

/* ---- Memory ---- */

#define NDK_PAGE_SIZE 4096u

/* Rights of a region or window, and what an access wants. */
enum ndk_right {
	NDK_RIGHT_LOCAL_READ = 1,
	NDK_RIGHT_LOCAL_WRITE = 2,
	NDK_RIGHT_REMOTE_READ = 4,
	NDK_RIGHT_REMOTE_WRITE = 8,
	NDK_RIGHT_READ_SINK = 16,
};

/* Memory that lies together in the process. */
struct ndk_run {
	char *base;
	size_t size;
};

/* What a region or window describes: the bytes [start, start + length) of its tokens. */
struct ndk_memory {
	uint64_t start; /* what requests call the first byte; a pure number (DEF-92) */
	uint64_t length;
	uint32_t rights; /* enum ndk_right */
	uint32_t remote_token;
	uint32_t run_count;
	const struct ndk_run *runs;
};

/* ---- Operations; every pointer may be 0: there is nothing to do, success ---- */

struct ndk_provider {
	const char *name;
	uint16_t private_size[NDK_TYPES];
	bool remote_tokens; /* remote tokens are the device's (verbs), not of the core's table */

	/* What was announced by ndk_port_interrupt. DISPATCH_LEVEL, also on several processors at
	 * once, also without an announcement (polling of a CQ). */
	void (*service)(void);

	/*
	 * An object is made: after the core has checked and filled it, before the consumer gets it.
	 * Adapters (an opening), PDs, MRs and MWs: `parameters` is 0; the others' are in work.h.
	 * -> ndk_created. MWs with device tokens: call ndk_memory_token before.
	 */
	int (*create)(void *object, enum ndk_type type, const void *parameters);
	/* Nothing refers to the object any more; an MR or MW that is still registered or bound is
	 * so no longer when it has ended. NDK_SUCCESS, or NDK_PENDING -> ndk_destroyed. */
	int (*destroy)(void *object, enum ndk_type type);

	/* The operations of an MR: DISPATCH_LEVEL.
	 * `memory` stays until the deregistration has ended. -> ndk_mr_registered */
	int (*mr_register)(struct ndk_mr *mr, const struct ndk_memory *memory);
	/* When it has ended no byte moves any more, requests in flight included. ->
	 * ndk_mr_deregistered
	 */
	int (*mr_deregister)(struct ndk_mr *mr);
	/* Get ready for fast registrations of up to `pages`. -> ndk_mr_initialized */
	int (*mr_initialize)(struct ndk_mr *mr, uint32_t pages, bool remote);

	const struct ndk_data_operations *data;             /* work.h */
	const struct ndk_connection_operations *connection; /* work.h */
};

/* How long a handshake may take, at either side: then it fails with NDK_IO_TIMEOUT. The provider
 * sees to it. */
extern uint32_t ndk_handshake_ms;

/* ---- Up-calls of memory and lifetime ---- */

/* Device threads: there is something for `service`. Callable everywhere, without a baton too. */
void ndk_port_interrupt(const struct ndk_provider *provider);

void ndk_created(void *object, int status);
void ndk_destroyed(void *object);
/* Tokens 0: the core's own. */
void ndk_mr_registered(struct ndk_mr *mr, int status, uint32_t remote_token);
void ndk_mr_deregistered(struct ndk_mr *mr);
void ndk_mr_initialized(struct ndk_mr *mr, int status, uint32_t remote_token);
/* The device's token of an MR or MW, before its creation, registration or initialisation succeeds
 * inline; or later, when a device replaces a fast-register MR's or a window's that is free. */
void ndk_memory_token(void *object, uint32_t remote_token);

/* For who cannot see the objects: the RNIC of any object, the PD of an MR or MW. */
const struct ndk_device *ndk_object_device(const void *object);
struct ndk_pd *ndk_object_pd(const void *object);

/*
 * A local scatter/gather element, for a provider whose device checks accesses itself: check token,
 * PD, range and rights now. *mr 0: the privileged token. Fills the runs that [address, address +
 * length) consists of; returns their number, 0 when it is refused, more than `room` when there are
 * more.
 */
unsigned ndk_local_lookup(struct ndk_pd *pd, uint32_t token, uint64_t address, uint32_t length,
			  enum ndk_right right, struct ndk_mr **mr, struct ndk_run *runs,
			  unsigned room);
/* A peer invalidated `token` (NdkSendAndInvalidate), or a read did (read-local-invalidate): false
 * when no fast-registered region or bound window of this PD has it. */
bool ndk_remote_invalidate(struct ndk_pd *pd, uint32_t token);
