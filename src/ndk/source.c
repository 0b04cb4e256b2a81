/* SPDX-License-Identifier: MIT */
/*
 * source.c: is what was registered still there? While the verifier is on.
 *
 * The consumer keeps the pages locked, and leaves the MDL alone, from NdkRegisterMr until the
 * deregistration has completed; and the memory, from NdkFastRegister until the invalidation has.
 * Nothing in the region itself would notice: so whoever unlocks an MDL or frees memory asks here
 * (ex_memory_watch), and all registered regions are looked through: for their MDLs, and for the
 * memory that the pages are, at whatever address it was registered.
 *
 * Contexts: IRQL <= DISPATCH_LEVEL. `ndk_lock` keeps the objects there while they are looked
 * through, and their page tables, which go only after ndk_mr_source_forget. A source is written by
 * who took the region's state through P1 or P2, or holds its lock, then `active` (release, acquired
 * by the look).
 *
 * Implements VER-60 (MDL used, unlocked or freed while registered or pending), NDK-121, DEF-91.
 */
#include "ndk/mr.h"
#include "rtl/rtl.h"

static _Atomic uint32_t active;

#define GET(field)        __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define SET(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)

static uint64_t sum_of(const MDL *mdl)
{
	uint64_t sum = (uint64_t)mdl->StartVa;
	sum = sum * 0x9e3779b97f4a7c15 + mdl->ByteOffset;
	sum = sum * 0x9e3779b97f4a7c15 + mdl->ByteCount;
	sum = sum * 0x9e3779b97f4a7c15 + (uint64_t)mdl->Next;
	return sum * 0x9e3779b97f4a7c15 + *MmGetMdlPfnArray(mdl);
}

/* The region is set. */
static void watch_from_now(struct ndk_mr *mr)
{
	struct ndk_mr_source *source = &mr->source;
	uint64_t base = (uint64_t)mr->region->base;
	SET(source->first, base);
	SET(source->end, base + mr->region->length);
	atomic_fetch_add_explicit(&active, 1, memory_order_relaxed);
	atomic_store_explicit(&source->active, true, memory_order_release);
}

void ndk_mr_source_remember(struct ndk_mr *mr, MDL *mdl, SIZE_T length, uint64_t caller)
{
	struct ndk_mr_source *source = &mr->source;
	unsigned count = 0;
	source->caller = caller;
	source->sum = 0;
	for (SIZE_T left = length; mdl && count < NDK_MR_MDLS; mdl = mdl->Next) {
		SET(source->mdls[count], mdl);
		source->sum += sum_of(mdl);
		count++;
		if (left <= mdl->ByteCount)
			break;
		left -= mdl->ByteCount;
	}
	for (; count < NDK_MR_MDLS; count++)
		SET(source->mdls[count], NULL);
	watch_from_now(mr);
}

void ndk_mr_source_pages(struct ndk_mr *mr)
{
	for (unsigned i = 0; i < NDK_MR_MDLS; i++)
		SET(mr->source.mdls[i], NULL);
	watch_from_now(mr);
}

void ndk_mr_source_check(struct ndk_mr *mr)
{
	const struct ndk_mr_source *source = &mr->source;
	uint64_t sum = 0;
	if (!atomic_load_explicit(&source->active, memory_order_relaxed))
		return;
	for (unsigned i = 0; i < NDK_MR_MDLS && source->mdls[i]; i++)
		sum += sum_of(source->mdls[i]);
	if (sum != source->sum)
		vf_report(
			VF_NdkMdl, "NdkRegisterMr", source->caller, (uint64_t)source->mdls[0],
			"changes the MDL %p while NdkRegisterMr of the memory region %p is pending",
			source->mdls[0], mr);
}

void ndk_mr_source_forget(struct ndk_mr *mr)
{
	/* Whoever looks at the page table holds it. */
	bool looked_at =
		mr->pages && atomic_load_explicit(&mr->source.active, memory_order_relaxed);
	KIRQL old = looked_at ? ke_lock_raise(&ndk_lock) : 0;
	if (atomic_load_explicit(&mr->source.active, memory_order_relaxed) &&
	    atomic_exchange_explicit(&mr->source.active, false, memory_order_relaxed))
		atomic_fetch_sub_explicit(&active, 1, memory_order_relaxed);
	if (looked_at)
		ke_lock_lower(&ndk_lock, old);
}

/* Is some of the region's memory in [base, end)? */
static bool holds(const struct ndk_mr *mr, uint64_t base, uint64_t end)
{
	uint64_t first = GET(mr->source.first);
	if (first)
		return first < end && base < GET(mr->source.end);
	uint64_t at = mr->region->offset, last = at + mr->region->length, next;
	for (; at < last; at = next) {
		next = (at / NDK_PAGE_SIZE + 1) * NDK_PAGE_SIZE;
		next = next < last ? next : last;
		first = (uint64_t)mr->pages[at / NDK_PAGE_SIZE] + at % NDK_PAGE_SIZE;
		if (first < end && base < first + (next - at))
			return true;
	}
	return false;
}

/* Does [base, end) hold one of its MDLs, or (a free) its memory? */
static bool concerns(const struct ndk_mr *mr, uint64_t base, uint64_t end, bool unlock,
		     const char **what)
{
	const struct ndk_mr_source *source = &mr->source;
	for (unsigned i = 0; i < NDK_MR_MDLS; i++) {
		uint64_t mdl = (uint64_t)GET(source->mdls[i]);
		*what = unlock ? "unlocks the MDL" : "frees the MDL";
		if (mdl >= base && mdl < end)
			return true;
	}
	*what = "frees the memory";
	return !unlock && holds(mr, base, end);
}

/* Memory goes away, or (`unlock`) an MDL's pages are unlocked. */
static void watch(const void *memory, size_t size, bool unlock, const char *ddi, uint64_t caller)
{
	uint64_t base = (uint64_t)memory;
	if (!atomic_load_explicit(&active, memory_order_relaxed))
		return;
	const struct ndk_mr *found = NULL;
	const char *what = NULL;
	uint32_t token = 0, state = 0;
	KIRQL old = ke_lock_raise(&ndk_lock);
	for (LIST_ENTRY *entry = ndk_objects.Flink; entry != &ndk_objects && !found;
	     entry = entry->Flink) {
		struct ndk_object *object = CONTAINING_RECORD(entry, struct ndk_object, all);
		struct ndk_mr *mr = (struct ndk_mr *)object;
		if (object->class == &ndk_mr_class &&
		    atomic_load_explicit(&mr->source.active, memory_order_acquire) &&
		    concerns(mr, base, base + size, unlock, &what)) {
			found = mr;
			token = atomic_load(&mr->remote_token);
			state = atomic_load(&mr->state);
		}
	}
	ke_lock_lower(&ndk_lock, old);
	if (found)
		vf_report(VF_NdkMdl, ddi, caller, base,
			  "%s %p of the memory region %p (token 0x%08x), which is %s", what, memory,
			  found, token, ndk_mr_state_name(state));
}

void ndk_source_initialize(void)
{
	ex_memory_watch = watch;
}
