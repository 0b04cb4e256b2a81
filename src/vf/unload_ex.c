/* SPDX-License-Identifier: MIT */
/*
 * Executive objects that a driver left behind: callback registrations, work items, resources,
 * lookaside lists, locked pages, pool (VER-38, VER-39, VER-42, VER-44). PASSIVE_LEVEL; the
 * executive's own queries take its locks.
 */
#include "ex/ex.h"
#include "rtl/rtl.h"
#include "vf/vf_internal.h"

static void callback(void *context, uint64_t routine, const void *handle)
{
	vf_unload_left(context, VF_CallbackLeft, (const void *)(uintptr_t)routine, handle,
		       "the callback registration %p", handle);
}

static void work(void *context, uint64_t routine, bool running)
{
	vf_unload_left(context, VF_WorkItemLeft, (const void *)(uintptr_t)routine,
		       (const void *)(uintptr_t)routine,
		       running ? "a work item running" : "a work item queued");
}

static void live(void *context, const struct ex_live *object)
{
	static const struct {
		enum vf_rule rule;
		const char *text;
	} kinds[EX_LIVE_KINDS] = {
		[EX_LIVE_RESOURCE] = {VF_ResourceLeft, "the ERESOURCE %p initialized"},
		[EX_LIVE_LOOKASIDE] = {VF_LookasideLeft, "the lookaside list %p initialized"},
		[EX_LIVE_MDL_LOCKED] = {VF_PagesLeft, "the pages of the MDL %p locked"},
	};
	vf_unload_left(context, kinds[object->kind].rule, (const void *)(uintptr_t)object->caller,
		       object->object, kinds[object->kind].text, object->object);
}

static void block(void *context, const struct ex_pool_block *pool)
{
	/* A tag is four characters in the order of memory. */
	char tag[5];
	for (unsigned i = 0; i < 4; i++) {
		char c = (char)(pool->tag >> (8 * i));
		tag[i] = c >= ' ' && c <= '~' ? c : '.';
	}
	tag[4] = 0;
	vf_unload_left(context, VF_PoolLeft, (const void *)(uintptr_t)pool->caller, pool->base,
		       "the %s pool block %p (%llu bytes, tag '%s')",
		       pool->paged ? "paged" : "nonpaged", pool->base,
		       (unsigned long long)pool->size, tag);
}

void vf_unload_ex(const struct vf_unload *unload)
{
	const void *base = (const void *)(uintptr_t)unload->base;
	size_t size = unload->end - unload->base;
	void *context = (void *)(uintptr_t)unload;

	ex_callback_each(base, size, callback, context);
	ex_work_each(base, size, work, context);
	for (int kind = 0; kind < EX_LIVE_KINDS; kind++)
		ex_live_each((enum ex_live_kind)kind, base, size, true, live, context);
	ex_pool_each(base, size, block, context);
}
