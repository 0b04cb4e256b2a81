/* SPDX-License-Identifier: MIT */
/* mr.h: memory regions among mr.c, mr_register.c, change.c, source.c. */
#pragma once

#include "ndk/mr_state.h"
#include "ndk/region.h"

extern const struct ndk_class ndk_mr_class;
extern const struct ndk_class ndk_mw_class;

NDK_FN_REGISTER_MR ndk_register_mr;
NDK_FN_DEREGISTER_MR ndk_deregister_mr;
NDK_FN_INITIALIZE_FAST_REGISTER_MR ndk_initialize_fast_register_mr;

/* The registration is over: its slot and tables go. The gate is closed. */
void ndk_mr_clear(struct ndk_mr *mr);
/* A provider with a device of its own wants all pieces. */
NTSTATUS ndk_memory_list(struct ndk_memory *memory, const struct ndk_backing *backing,
			 uint64_t offset, struct ndk_run *run);
void ndk_memory_clear(struct ndk_memory *memory, struct ndk_run *run);

/* Of a fast register the slot's token may be ahead of what is registered (--strict=ndk-tokens). */
static inline uint32_t ndk_mr_local_token(const struct ndk_mr *mr)
{
	return mr->object.adapter->device->provider->remote_tokens
		       ? ndk_region_token(mr->region)
		       : atomic_load_explicit(&mr->remote_token, memory_order_relaxed);
}

/* A request that has not completed names the region: `text` is what, "a receive of the queue pair
 * ... names" (mr_use.c). */
bool ndk_mr_posted(struct ndk_mr *mr, char *text, size_t size);

/* ---- source.c: is what was registered still there? While the verifier is on. ---- */

void ndk_mr_source_remember(struct ndk_mr *mr, MDL *mdl, SIZE_T length, uint64_t caller);
/* It is fast-registered: its memory is watched. The lock is held. */
void ndk_mr_source_pages(struct ndk_mr *mr);
/* A pending registration ends: the MDLs are as they were? */
void ndk_mr_source_check(struct ndk_mr *mr);
void ndk_mr_source_forget(struct ndk_mr *mr);
void ndk_source_initialize(void);
