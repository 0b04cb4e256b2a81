/* SPDX-License-Identifier: MIT */
/*
 * Processor change callbacks that a driver left behind (VER-42, VER-43). PASSIVE_LEVEL; the
 * registry calls back under its lock, where reports are allowed.
 *
 * Chosen: the registration stays, and bug check 0xCE follows when a processor is added.
 */
#include "ke/processor_change.h"
#include "vf/vf_internal.h"

void vf_unload_processor(const struct vf_unload *unload);

static void callback(void *context, const struct ke_registry_entry *entry)
{
	const struct vf_unload *unload = context;
	if (vf_unload_owns(unload, entry->routine) ||
	    (entry->context && vf_unload_owns(unload, entry->context)))
		vf_unload_left(unload, VF_ChangeLeft, (void *)(uintptr_t)entry->caller,
			       entry->routine,
			       "the processor change callback %p with context %p registered",
			       entry->routine, entry->context);
}

void vf_unload_processor(const struct vf_unload *unload)
{
	ke_change_callbacks_each(callback, (void *)(uintptr_t)unload);
}
