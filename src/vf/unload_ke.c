/* SPDX-License-Identifier: MIT */
/*
 * Kernel objects that a driver left behind: NMI callbacks, timers, DPCs (VER-39, VER-40, NMI-15,
 * DEF-24). PASSIVE_LEVEL; the kernel's own lists call back under their locks, where reports are
 * allowed.
 *
 * Chosen: timers and DPCs that were left are taken out of the kernel's lists after the report,
 * since their memory goes away with the image; a callback stays, and bug check 0xCE follows when it
 * is called.
 */
#include "ke/nmi.h"
#include "vf/vf_internal.h"

#define BATCH 32 /* objects taken out in one pass */

struct batch {
	const struct vf_unload *unload;
	void *objects[BATCH];
	unsigned count;
};

static void nmi_callback(void *context, const struct ke_registry_entry *entry)
{
	const struct vf_unload *unload = context;
	if (vf_unload_owns(unload, entry->routine) ||
	    (entry->context && vf_unload_owns(unload, entry->context)))
		vf_unload_left(unload, VF_NmiLeft, (void *)(uintptr_t)entry->caller, entry->routine,
			       "the NMI callback %p with context %p registered", entry->routine,
			       entry->context);
}

static void timer(void *context, KTIMER *object)
{
	struct batch *batch = context;
	const struct vf_unload *unload = batch->unload;
	PKDPC dpc = object->Dpc;
	const void *routine = dpc ? (const void *)dpc->DeferredRoutine : NULL;
	bool owned = vf_unload_owns(unload, object) ||
		     (dpc && (vf_unload_owns(unload, dpc) || vf_unload_owns(unload, routine)));
	if (!owned || batch->count == BATCH)
		return;
	vf_unload_left(unload, VF_TimerLeft, routine ? routine : object, object,
		       "the timer %p set, with the DPC routine %p", (void *)object, routine);
	batch->objects[batch->count++] = object;
}

static void dpc(void *context, KDPC *object)
{
	struct batch *batch = context;
	const struct vf_unload *unload = batch->unload;
	const void *routine = (const void *)object->DeferredRoutine;
	bool stored = vf_unload_owns(unload, object);
	if ((!stored && !vf_unload_owns(unload, routine)) || batch->count == BATCH)
		return;
	vf_unload_left(unload, stored ? VF_DpcLeft : VF_DpcRoutineLeft, routine,
		       stored ? (void *)object : routine, "the DPC %p queued, with the routine %p",
		       (void *)object, routine);
	batch->objects[batch->count++] = object;
}

void vf_unload_ke(const struct vf_unload *unload)
{
	struct batch batch = {.unload = unload};
	ke_nmi_callbacks_each(nmi_callback, (void *)(uintptr_t)unload);
	do {
		batch.count = 0;
		ke_timers_each(timer, &batch);
		for (unsigned i = 0; i < batch.count; i++)
			KeCancelTimer(batch.objects[i]);
	} while (batch.count == BATCH);
	do {
		batch.count = 0;
		ke_dpcs_each(dpc, &batch);
		for (unsigned i = 0; i < batch.count; i++)
			KeRemoveQueueDpc(batch.objects[i]);
	} while (batch.count == BATCH);
	ke_lock_order_forget((void *)(uintptr_t)unload->base, unload->end - unload->base);
}
