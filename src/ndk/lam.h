/* SPDX-License-Identifier: MIT */
/* lam.h: which logical address mappings are built, and what uses them; see lam_use.c. */
#pragma once

#include "ndk/internal.h"

/* While the verifier is on: what AdapterContext of a mapping points to. */
struct ndk_lam_record {
	LIST_ENTRY entry;     /* adapter->lams */
	uint64_t first, last; /* the lowest and the highest page */
};

/* NULL: no memory. */
struct ndk_lam_record *ndk_lam_remember(struct ndk_adapter *adapter,
					const NDK_LOGICAL_ADDRESS_MAPPING *lam);
/* The mapping is released: is it one, and what of its pages is in use? Reports both. */
void ndk_lam_forget(struct ndk_adapter *adapter, NDK_LOGICAL_ADDRESS_MAPPING *lam, uint64_t caller);
/* The adapter goes. */
void ndk_lam_clear(struct ndk_adapter *adapter);
