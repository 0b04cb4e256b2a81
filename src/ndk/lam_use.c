/* SPDX-License-Identifier: MIT */
/*
 * lam_use.c: who still uses a logical address mapping that is released? While the verifier is on.
 *
 * A mapping refers to nothing here, so its release does no harm; on a machine with an IOMMU, or
 * with map registers, the adapter can no longer reach the pages. So at a release all requests on
 * the adapter's queues that have not completed are looked through for its pages: SGEs with the
 * privileged token, and fast registrations. Regions that are fast-registered with its pages are
 * found, too: no request of the consumer, but a peer may use them.
 *
 * The pages of two mappings may be the same ones, since logical addresses are the model's physical
 * ones. So each mapping of an adapter is remembered, and a page between the lowest and the highest
 * one of another mapping says nothing: no driver is accused wrongly.
 *
 * Contexts and locks: IRQL <= DISPATCH_LEVEL. `ndk_lock` protects the list of mappings; queues are
 * looked through under their own locks, one after the other, each object with a reference.
 *
 * Implements VER-62 (the release of a mapping), NDK-134.
 */
#include "ndk/lam.h"
#include "mm/mm.h"
#include "ndk/mr.h"
#include "ndk/queue.h"
#include "rtl/rtl.h"

struct search {
	const struct ndk_adapter *adapter;
	const NDK_LOGICAL_ADDRESS_MAPPING *lam;
	uint64_t first, last;
	const char *what; /* found: "a send of the queue pair" */
	uint64_t page;
};

/* ---- Which mappings there are ---- */

struct ndk_lam_record *ndk_lam_remember(struct ndk_adapter *adapter,
					const NDK_LOGICAL_ADDRESS_MAPPING *lam)
{
	struct ndk_lam_record *record = ex_allocate(sizeof *record, NDK_TAG, NonPagedPoolNx);
	if (!record)
		return NULL;
	record->first = ~(uint64_t)0;
	for (ULONG i = 0; i < lam->AdapterPageCount; i++) {
		uint64_t page = (uint64_t)lam->AdapterPageArray[i].QuadPart;
		if (page < record->first)
			record->first = page;
		if (page > record->last)
			record->last = page;
	}
	KIRQL old = ke_lock_raise(&ndk_lock);
	InsertTailList(&adapter->lams, &record->entry);
	ke_lock_lower(&ndk_lock, old);
	return record;
}

void ndk_lam_clear(struct ndk_adapter *adapter)
{
	while (adapter->lams.Flink && !IsListEmpty(&adapter->lams))
		ex_free(CONTAINING_RECORD(RemoveHeadList(&adapter->lams), struct ndk_lam_record,
					  entry));
}

/* Off the list; 0: it is not on it. */
static struct ndk_lam_record *take(struct ndk_adapter *adapter, const void *pointer)
{
	struct ndk_lam_record *found = NULL;
	KIRQL old = ke_lock_raise(&ndk_lock);
	for (LIST_ENTRY *e = adapter->lams.Flink; e != &adapter->lams && !found; e = e->Flink) {
		struct ndk_lam_record *record = CONTAINING_RECORD(e, struct ndk_lam_record, entry);
		if (record == pointer)
			found = record;
	}
	if (found)
		RemoveEntryList(&found->entry);
	ke_lock_lower(&ndk_lock, old);
	return found;
}

/* The page may be meant as another mapping's. */
static bool is_of_another(const struct ndk_adapter *adapter, uint64_t page)
{
	bool is = false;
	KIRQL old = ke_lock_raise(&ndk_lock);
	for (LIST_ENTRY *e = adapter->lams.Flink; e != &adapter->lams && !is; e = e->Flink) {
		const struct ndk_lam_record *record =
			CONTAINING_RECORD(e, struct ndk_lam_record, entry);
		is = page >= record->first && page <= record->last;
	}
	ke_lock_lower(&ndk_lock, old);
	return is;
}

/* ---- What uses one ---- */

static bool matches_page(struct search *search, uint64_t address, const char *what)
{
	uint64_t page = address & ~(uint64_t)(NDK_PAGE_SIZE - 1);
	if (page < search->first || page > search->last)
		return false;
	for (ULONG i = 0; i < search->lam->AdapterPageCount; i++) {
		if ((uint64_t)search->lam->AdapterPageArray[i].QuadPart != page)
			continue;
		search->what = what;
		search->page = page;
		return true;
	}
	return false;
}

static bool matches(const struct ndk_posted *posted, void *context)
{
	struct search *search = context;
	const struct ndk_sge *sge = posted->sge;
	if (posted->work && posted->work->operation == NDK_FAST_REGISTER)
		return matches_page(search, posted->work->remote_address, posted->what);
	for (uint32_t i = 0; i < posted->sge_count; i++) {
		if (sge[i].token != search->adapter->privileged_token || !sge[i].length)
			continue;
		if (matches_page(search, sge[i].address, posted->what) ||
		    matches_page(search, sge[i].address + sge[i].length - 1, posted->what))
			return true;
	}
	return false;
}

static bool matches_region(struct search *search, struct ndk_mr *mr)
{
	bool is = false;
	KIRQL old = ke_lock_raise(&mr->lock);
	if (mr->fast && mr->effective == NDK_MR_FAST) {
		const char *first = mr->region->base ? mr->region->base : mr->region->pages[0];
		is = matches_page(search, mm_physical_of(first), NULL);
	}
	ke_lock_lower(&mr->lock, old);
	return is;
}

/* ---- All objects of an adapter, each with a reference while it is looked at ---- */

static struct ndk_object *next_object(const struct ndk_adapter *adapter, struct ndk_object *before)
{
	struct ndk_object *found = NULL;
	KIRQL old = ke_lock_raise(&ndk_lock);
	LIST_ENTRY *entry = before ? before->all.Flink : ndk_objects.Flink;
	for (; entry != &ndk_objects && !found; entry = entry->Flink) {
		struct ndk_object *object = CONTAINING_RECORD(entry, struct ndk_object, all);
		if (object->adapter == adapter && &object->adapter->object != object &&
		    ndk_busy_try(object))
			found = object;
	}
	ke_lock_lower(&ndk_lock, old);
	if (before)
		ndk_busy_put(before);
	return found;
}

static void look(struct search *search, struct ndk_object *object, uint64_t caller)
{
	static const char function[] = "NdkReleaseLAM";
	bool used = false;
	switch (object->class->type) {
	case NdkObjectTypeQp:
	case NdkObjectTypeSrq:
		used = ndk_posted_find(object, matches, search);
		break;
	case NdkObjectTypeMr:
		if (matches_region(search, (struct ndk_mr *)object) &&
		    !is_of_another(search->adapter, search->page))
			vf_report(VF_NdkLamRegistered, function, caller, (uint64_t)search->lam,
				  "releases %p, with whose page 0x%I64x the memory region %p "
				  "(token 0x%08x) is fast-registered",
				  search->lam, search->page, object,
				  atomic_load(&((struct ndk_mr *)object)->remote_token));
		break;
	default:
		break;
	}
	if (used && !is_of_another(search->adapter, search->page))
		vf_report(VF_NdkLam, function, caller, (uint64_t)search->lam,
			  "releases %p while %s the %s %p, which has not completed, uses its page "
			  "0x%I64x",
			  search->lam, search->what, object->class->name, object, search->page);
}

void ndk_lam_forget(struct ndk_adapter *adapter, NDK_LOGICAL_ADDRESS_MAPPING *lam, uint64_t caller)
{
	struct ndk_lam_record *record = lam ? take(adapter, lam->AdapterContext) : NULL;
	if (!record) {
		vf_report(VF_NdkLam, "NdkReleaseLAM", caller, (uint64_t)lam,
			  "is called with %p, which NdkBuildLAM did not fill, or which is released",
			  lam);
		return;
	}
	struct search search = {adapter, lam, record->first, record->last, NULL, 0};
	ex_free(record);
	struct ndk_object *object = NULL;
	while ((object = next_object(adapter, object)))
		look(&search, object, caller);
	lam->AdapterContext = NULL;
}
