/* SPDX-License-Identifier: MIT */
/*
 * Bound callbacks that a driver left behind (VER-41, BND-8). PASSIVE_LEVEL; the registry calls back
 * under its lock, where reports are allowed.
 *
 * Chosen: the registration stays, and bug check 0xCE follows when a bound exception calls it.
 */
#include "ke/bound.h"
#include "vf/vf_internal.h"

void vf_unload_bound(const struct vf_unload *unload);

static void bound_callback(void *context, const struct ke_registry_entry *entry)
{
	const struct vf_unload *unload = context;
	if (vf_unload_owns(unload, entry->routine))
		vf_unload_left(unload, VF_BoundLeft, (void *)(uintptr_t)entry->caller,
			       entry->routine, "the bound callback %p registered", entry->routine);
}

void vf_unload_bound(const struct vf_unload *unload)
{
	ke_bound_callbacks_each(bound_callback, (void *)(uintptr_t)unload);
}
