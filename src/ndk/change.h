/* SPDX-License-Identifier: MIT */
/* change.h: a change of a region or window between change_post.c and change.c. */
#pragma once

#include "ndk/mr.h"

enum ndk_change_kind {
	NDK_CHANGE_FAST_REGISTER,
	NDK_CHANGE_BIND,
	NDK_CHANGE_INVALIDATE,
	/* Applied early, the request is under way: */
	NDK_CHANGE_APPLIED,
	NDK_CHANGE_UNDOABLE, /* a registration or a binding */
};

struct ndk_change {
	enum ndk_change_kind kind;
	struct ndk_object *object; /* referenced */
	/* Counted in its windows, referenced. BIND: the window's. APPLIED: that the window was
	 * bound to, which the device may still let a peer through; or 0. */
	struct ndk_mr *mr;
	uint64_t generation;       /* FAST_REGISTER: the registration that it has made */
	struct ndk_region *region; /* BIND: the window's slot and token, until it is applied */
	struct ndk_memory memory;
	struct ndk_run run;         /* of a bind that was applied: its base */
	struct ndk_backing backing; /* FAST_REGISTER: owns its pages until it is applied */
	bool fails;
};

/* What is left of it. */
void ndk_change_free(struct ndk_change *change);
/* Is it an object of this kind that is open, and of this PD? */
bool ndk_change_usable(const void *object, NDK_OBJECT_TYPE type, const struct ndk_pd *pd);
/* Does the window lie in the region, and may it? The MR's lock is held, or it stays registered. */
NTSTATUS ndk_change_range(const struct ndk_mr *mr, const struct ndk_memory *window);

static inline bool ndk_device_tokens(const struct ndk_object *object)
{
	return object->adapter->device->provider->remote_tokens;
}
