/* SPDX-License-Identifier: MIT */
/*
 * unload.c: NDK objects that a driver left open, named with kind, token and where they were created
 * (VER-63, DEF-73, DEF-120); calls that have not completed, of a machine that hangs; and the part's
 * start.
 *
 * PASSIVE_LEVEL. `ndk_lock` is held while objects are looked at, not while they are reported. Of a
 * machine that stands still a host thread looks at them, without it.
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

/* ---- What a machine that hangs may be waiting for ---- */

#define LOOKED_AT 100000u /* list elements: one may have been stopped in the middle of a change */

static void tell(const char *call, const struct ndk_object *object, char *text, size_t size)
{
	char more[64] = "";
	if (object->class->describe)
		object->class->describe(object, more, sizeof more);
	rtl_print(text, size, "%s of the %s %p%s", call, object->class->name, object, more);
}

bool ndk_pending(unsigned index, char *text, size_t size, uint64_t *caller)
{
	unsigned looked = 0;
	for (LIST_ENTRY *o = ndk_objects.Flink; o != &ndk_objects; o = o->Flink) {
		const struct ndk_object *object = CONTAINING_RECORD(o, struct ndk_object, all);
		for (LIST_ENTRY *r = object->pending.Flink; r != &object->pending; r = r->Flink) {
			const struct ndk_request *request =
				CONTAINING_RECORD(r, struct ndk_request, entry);
			if (++looked > LOOKED_AT)
				return false;
			if (index--)
				continue;
			*caller = request->caller;
			if (request->kind == NDK_CREATE)
				tell("the creation", (const struct ndk_object *)request->argument,
				     text, size);
			else
				tell(request->function ? request->function : "a call", object, text,
				     size);
			return true;
		}
		if (++looked > LOOKED_AT)
			return false;
		if (ndk_closing(object) && !index--) {
			*caller = object->close.caller;
			tell("the close", object, text, size);
			return true;
		}
	}
	return false;
}

NTSTATUS ndk_initialize(void)
{
	ndk_regions_initialize();
	ndk_source_initialize();
	return STATUS_SUCCESS;
}
