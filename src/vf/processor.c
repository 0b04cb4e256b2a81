/* SPDX-License-Identifier: MIT */
/*
 * Processor change callbacks: what a driver left behind when it unloaded (VER-42, VER-43), and when
 * an addition failed (VER-53). PASSIVE_LEVEL; the registry calls back under its lock, where reports
 * are allowed.
 *
 * Chosen: a registration that was left stays, and bug check 0xCE follows when a processor is added.
 * Pool counts as left by an addition when a callback allocated it at Start, on the thread that
 * calls it, and it lives when all have been told of the failure; also if the callback that set the
 * error allocated it.
 */
#include "ex/ex.h"
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

struct failed {
	uint32_t addition, processor;
};

static void block(void *context, const struct ex_pool_block *pool)
{
	const struct failed *failed = context;
	if (pool->addition != failed->addition)
		return;
	vf_report(VF_ChangePoolLeft, NULL, pool->caller, (uint64_t)pool->base,
		  "allocated %I64u bytes at the start of processor %u and holds them although it "
		  "was told of the failure",
		  (uint64_t)pool->size, failed->processor);
}

void vf_processor_failed(uint32_t addition, uint32_t processor)
{
	struct failed failed = {addition, processor};
	ex_pool_each(NULL, SIZE_MAX, block, &failed);
}
