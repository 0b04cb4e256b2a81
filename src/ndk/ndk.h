/* SPDX-License-Identifier: MIT */
/*
 * ndk.h: what the NDK part offers to the rest of the core: RNICs, opening and closing adapters,
 * completion policy.
 */
#pragma once

#include <ndkpi.h>
#include <ntifs.h>
#include "ndk/policy.h"
#include "ndk/provider.h"

/* ---- RNICs ---- */

/* Before the machine boots or at PASSIVE_LEVEL; never taken away. Fills unset limits of loopback
 * devices with the defaults. False: the interface index is taken. */
bool ndk_device_add(struct ndk_device *device);
/* In order of their addition; go on with ->next. 0: none. */
struct ndk_device *ndk_device_first(void);
struct ndk_device *ndk_device_find(uint32_t interface_index);
/* The RNIC that has this address (network order); 0: none. */
struct ndk_device *ndk_device_of_address(uint16_t family, const void *bytes);
/* The provider of the core, complete semantics (loopback.c). */
extern const struct ndk_provider ndk_loopback;
/* The two RNICs of a machine without options (DESIGN.md section 5). */
void ndk_devices_default(void);

/* At boot, when threads and pool work. */
NTSTATUS ndk_initialize(void);

/* Of a machine that stands still: a call that has not completed, and who called. False: no more. */
bool ndk_pending(unsigned index, char *text, size_t size, uint64_t *caller);

/* ---- Adapters (NDK-110..113, DEF-68..70) ---- */

#define NDIS_STATUS_BAD_VERSION_ ((NTSTATUS)0xc0010004)
#define NDIS_STATUS_NOT_READY_   ((NTSTATUS)0xc0010011)

/*
 * Open an RNIC. PASSIVE_LEVEL. *adapter is 0 on failure. STATUS_SUCCESS; STATUS_NOT_FOUND: no such
 * interface; NDIS_STATUS_BAD_VERSION (0xC0010004): major not 1 or 2, or a minor above 1.2, 2.1;
 * NDIS_STATUS_ADAPTER_NOT_READY (0xC0010011): disabled; STATUS_INSUFFICIENT_RESOURCES.
 */
NTSTATUS ndk_adapter_open(uint32_t interface_index, NDK_VERSION version, uint64_t caller,
			  NDK_ADAPTER **adapter);
/*
 * Close it: returns when every descendant is closed and every callback has returned (NDK-111).
 * PASSIVE_LEVEL, not inside a callback: that is reported, and the close goes on without waiting.
 */
void ndk_adapter_close(NDK_ADAPTER *adapter, uint64_t caller);
/* Objects that keep the adapter open, in words, for who waits (DEF-71). Returns how many. */
unsigned ndk_adapter_describe(NDK_ADAPTER *adapter, char *text, size_t size);
