/* SPDX-License-Identifier: MIT */
/*
 * receive.c: the slots of posted receives, of a QP or an SRQ.
 *
 * A slot takes a copy of the consumer's SGEs when a receive is posted (DEF-101), belongs to the
 * provider until the receive completes, and goes back to the free list before its completion can
 * be seen, so that a consumer that reposts from the completion always finds one.
 *
 * Contexts and locks: IRQL <= DISPATCH_LEVEL; pool->lock protects the list and the counts.
 * Implements NDK-63, NDK-105, NDK-59 (the depth).
 */
#include "ndk/queue.h"
#include "rtl/rtl.h"

struct slot_block {
	LIST_ENTRY entry;
	size_t count; /* of slots, behind it */
};

static size_t slot_size(const struct ndk_receive_pool *pool)
{
	return sizeof(struct ndk_receive) + pool->sges * sizeof(struct ndk_sge);
}

/* `count` more slots. The lock is not held. */
static NTSTATUS add_slots(struct ndk_receive_pool *pool, uint32_t count)
{
	size_t size = slot_size(pool);
	struct slot_block *block =
		ex_allocate(sizeof *block + count * size, NDK_TAG, NonPagedPoolNx);
	if (!block)
		return STATUS_INSUFFICIENT_RESOURCES;
	block->count = count;
	char *slot = (char *)(block + 1);
	KIRQL old = ke_lock_raise(&pool->lock);
	InsertTailList(&pool->blocks, &block->entry);
	for (uint32_t i = 0; i < count; i++, slot += size) {
		struct ndk_receive *receive = (struct ndk_receive *)slot;
		receive->next = pool->free;
		pool->free = receive;
	}
	pool->made += count;
	ke_lock_lower(&pool->lock, old);
	return STATUS_SUCCESS;
}

NTSTATUS ndk_receive_pool_create(struct ndk_receive_pool *pool, const NDK_ADAPTER_INFO *info,
				 uint32_t depth, uint32_t sges)
{
	pool->longest = info->MaxTransferLength;
	InitializeListHead(&pool->blocks);
	pool->depth = depth;
	pool->sges = sges;
	return depth ? add_slots(pool, depth) : STATUS_SUCCESS;
}

void ndk_receive_pool_destroy(struct ndk_receive_pool *pool)
{
	while (pool->blocks.Flink && !IsListEmpty(&pool->blocks))
		ex_free(CONTAINING_RECORD(RemoveHeadList(&pool->blocks), struct slot_block, entry));
}

NTSTATUS ndk_receive_pool_resize(struct ndk_receive_pool *pool, uint32_t depth)
{
	if (depth > pool->made) {
		NTSTATUS status = add_slots(pool, depth - pool->made);
		if (!NT_SUCCESS(status))
			return status;
	}
	KIRQL old = ke_lock_raise(&pool->lock);
	pool->depth = depth;
	ke_lock_lower(&pool->lock, old);
	return STATUS_SUCCESS;
}

/* STATUS_INVALID_PARAMETER: too many elements, or too long (NDK-105). */
static NTSTATUS fill(struct ndk_receive *receive, const NDK_SGE *sge, ULONG count, uint32_t longest)
{
	uint64_t length = 0;
	for (ULONG i = 0; i < count; i++) {
		receive->sge[i].address = (uint64_t)sge[i].LogicalAddress.QuadPart;
		receive->sge[i].length = sge[i].Length;
		receive->sge[i].token = sge[i].MemoryRegionToken;
		length += sge[i].Length;
	}
	receive->length = (uint32_t)length;
	receive->sge_count = count;
	return length > longest ? STATUS_INVALID_PARAMETER : STATUS_SUCCESS;
}

NTSTATUS ndk_receive_get(struct ndk_receive_pool *pool, PVOID context, const NDK_SGE *sge,
			 ULONG count, struct ndk_receive **out)
{
	if (count > pool->sges || (count && !sge))
		return STATUS_INVALID_PARAMETER;
	KIRQL old = ke_lock_raise(&pool->lock);
	struct ndk_receive *receive = pool->used < pool->depth ? pool->free : NULL;
	if (receive) {
		pool->free = receive->next;
		atomic_store_explicit(&pool->used, pool->used + 1, memory_order_relaxed);
	}
	ke_lock_lower(&pool->lock, old);
	if (!receive)
		return STATUS_INSUFFICIENT_RESOURCES;
	receive->context = context;
	NTSTATUS status = fill(receive, sge, count, pool->longest);
	if (!NT_SUCCESS(status)) {
		ndk_receive_put(pool, receive);
		return status;
	}
	/* Releases it to who looks through the slots. */
	atomic_store_explicit(&receive->posted, true, memory_order_release);
	*out = receive;
	return STATUS_SUCCESS;
}

void ndk_receive_put(struct ndk_receive_pool *pool, struct ndk_receive *receive)
{
	KIRQL old = ke_lock_raise(&pool->lock);
	atomic_store_explicit(&receive->posted, false, memory_order_relaxed);
	receive->next = pool->free;
	pool->free = receive;
	atomic_store_explicit(&pool->used, pool->used - 1, memory_order_relaxed);
	ke_lock_lower(&pool->lock, old);
}

bool ndk_receives_find(struct ndk_receive_pool *pool, ndk_posted_match *matches, void *context)
{
	bool found = false;
	size_t size = slot_size(pool);
	KIRQL old = ke_lock_raise(&pool->lock);
	uint32_t left = pool->used; /* all but those that are just being filled */
	for (LIST_ENTRY *e = pool->blocks.Flink; left && e != &pool->blocks; e = e->Flink) {
		const struct slot_block *block = CONTAINING_RECORD(e, struct slot_block, entry);
		const char *slot = (const char *)(block + 1);
		for (size_t i = 0; left && i < block->count; i++, slot += size) {
			const struct ndk_receive *receive = (const struct ndk_receive *)slot;
			if (!atomic_load_explicit(&receive->posted, memory_order_acquire))
				continue;
			found = matches(&(struct ndk_posted){.sge = receive->sge,
							     .sge_count = receive->sge_count,
							     .what = "a receive of"},
					context);
			left = found ? 0 : left - 1;
		}
	}
	ke_lock_lower(&pool->lock, old);
	return found;
}
