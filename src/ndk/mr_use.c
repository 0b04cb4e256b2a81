/* SPDX-License-Identifier: MIT */
/*
 * mr_use.c: what requests mean to use: a region that is deregistered, a region that is no sink.
 * While the verifier is on.
 *
 * A deregistration waits for the accesses that are under way, and later ones are refused, so a
 * request that is posted and names the region will fail and break its connection. The consumer is
 * told when it deregisters, where its mistake is. The requests on the queues of the region's
 * protection domain that have not completed are looked through, but no more than MOST of them, of
 * MOST_QUEUES queues.
 *
 * Contexts and locks: IRQL <= DISPATCH_LEVEL. The list of queues under ndk_lock, each queue with a
 * reference and under its own locks.
 *
 * Implements NDK-129 (the report of posted requests), VER-61 (READ_SINK).
 */
#include "ndk/mr.h"
#include "ndk/queue.h"
#include "rtl/rtl.h"

#define MOST        4096u
#define MOST_QUEUES 256u

struct search {
	uint32_t token;
	unsigned left, queues;
	const char *what; /* found */
};

/* True ends the search. */
static bool names(const struct ndk_posted *posted, void *context)
{
	struct search *search = context;
	if (!search->left)
		return true;
	search->left--;
	for (uint32_t i = 0; i < posted->sge_count; i++) {
		if (posted->sge[i].token == search->token && posted->sge[i].length) {
			search->what = posted->what;
			return true;
		}
	}
	return false;
}

/* A glance, without the queue's locks: most have nothing posted that waits. */
static bool is_empty(const struct ndk_object *object)
{
	const struct ndk_qp *qp = (const struct ndk_qp *)object;
	if (object->class->type == NdkObjectTypeSrq)
		return !atomic_load_explicit(&((const struct ndk_srq *)object)->receives.used,
					     memory_order_relaxed);
	return !atomic_load_explicit(&qp->captured, memory_order_relaxed) &&
	       !atomic_load_explicit(&qp->receives.used, memory_order_relaxed);
}

/* The next queue that is not empty, with a reference; takes over that of `before`. 0: there is
 * none. */
static struct ndk_object *next_queue(struct search *search, struct ndk_pd *pd,
				     struct ndk_object *before)
{
	struct ndk_object *found = NULL;
	const LIST_ENTRY *entry = &pd->queues;
	if (before)
		entry = before->class->type == NdkObjectTypeQp
				? &((struct ndk_qp *)before)->of_pd.entry
				: &((struct ndk_srq *)before)->of_pd.entry;
	KIRQL old = ke_lock_raise(&ndk_lock);
	for (entry = entry->Flink; entry != &pd->queues && !found && search->queues;
	     entry = entry->Flink) {
		search->queues--;
		const struct ndk_queue_entry *queue =
			CONTAINING_RECORD(entry, struct ndk_queue_entry, entry);
		if (!is_empty(queue->object) && ndk_busy_try(queue->object))
			found = queue->object;
	}
	ke_lock_lower(&ndk_lock, old);
	if (before)
		ndk_busy_put(before);
	return found;
}

bool ndk_mr_posted(struct ndk_mr *mr, char *text, size_t size)
{
	struct search search = {ndk_mr_local_token(mr), MOST, MOST_QUEUES, NULL};
	struct ndk_object *object = NULL;
	while (search.left && !search.what && (object = next_queue(&search, mr->pd, object))) {
		ndk_posted_find(object, names, &search);
		if (search.what)
			rtl_print(text, size, "%s the %s %p, which has not completed, names",
				  search.what, object->class->name, object);
	}
	if (object)
		ndk_busy_put(object);
	return search.what;
}

bool ndk_mr_is_no_sink(struct ndk_pd *pd, uint32_t token)
{
	bool lacks = false;
	unsigned rights;
	struct ndk_object *object = ndk_region_owner(pd, token, &rights);
	if (!object)
		return false;
	if (object->class->type == NdkObjectTypeMr) {
		struct ndk_mr *mr = (struct ndk_mr *)object;
		KIRQL old = ke_lock_raise(&mr->lock);
		lacks = !mr->posted && !(rights & NDK_RIGHT_READ_SINK);
		ke_lock_lower(&mr->lock, old);
	}
	ndk_busy_put(object);
	return lacks;
}
