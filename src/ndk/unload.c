/* SPDX-License-Identifier: MIT */
/*
 * unload.c: NDK objects that a driver left open, named with kind, token and where they were created
 * (VER-63, DEF-73, DEF-120); and the part's start.
 *
 * PASSIVE_LEVEL. `ndk_lock` is held while objects are looked at, not while they are reported.
 */
#include "ndk/ndk.h"
#include "ndk/mr.h"
#include "rtl/rtl.h"

#define LISTED 32u /* looked at under the lock at a time */

struct left {
	const struct ndk_object *object;
	uint64_t caller;
	char text[128];
};

static void note(struct left *left, const struct ndk_object *object)
{
	char more[64] = "";
	if (object->class->describe)
		object->class->describe(object, more, sizeof more);
	left->object = object;
	left->caller = object->caller;
	rtl_print(left->text, sizeof left->text, "the NDK %s %p %s%s", object->class->name, object,
		  ndk_closing(object) ? "closing" : "open", more);
}

static bool is_left(const struct ndk_object *object, const struct vf_unload *unload)
{
	return object->class->type != NdkObjectTypeAdapter && object->caller >= unload->base &&
	       object->caller < unload->end;
}

/* The next ones, behind the first `skip`. */
static unsigned collect(const struct vf_unload *unload, unsigned skip, struct left *found)
{
	unsigned count = 0;
	KIRQL old = ke_lock_raise(&ndk_lock);
	for (LIST_ENTRY *entry = ndk_objects.Flink; entry != &ndk_objects && count < LISTED;
	     entry = entry->Flink) {
		const struct ndk_object *object = CONTAINING_RECORD(entry, struct ndk_object, all);
		if (!is_left(object, unload))
			continue;
		if (skip)
			skip--;
		else
			note(&found[count++], object);
	}
	ke_lock_lower(&ndk_lock, old);
	return count;
}

/* Adapters are told by who opened them (wsk). */
void ndk_object_unload(const struct vf_unload *unload)
{
	static struct left found[LISTED]; /* one unload at a time */
	unsigned count = LISTED;
	for (unsigned all = 0; count == LISTED; all += count) {
		count = collect(unload, all, found);
		for (unsigned i = 0; i < count; i++)
			vf_unload_left(unload, VF_NdkLeft, (const void *)found[i].caller,
				       found[i].object, "%s", found[i].text);
	}
}

NTSTATUS ndk_initialize(void)
{
	ndk_regions_initialize();
	ndk_source_initialize();
	return STATUS_SUCCESS;
}
