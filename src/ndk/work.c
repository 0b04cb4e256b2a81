/* SPDX-License-Identifier: MIT */
/*
 * work.c: work requests between the posting functions and a provider: copies of those that outlive
 * the call, and completions of all.
 *
 * A copy comes from the QP's own free list, as many as the initiator queue is deep, so that a full
 * queue is noticed here (NDK-105) and posting never allocates. It holds a busy reference to the
 * QP, as every posted receive of the QP does, until the completion is placed.
 *
 * Contexts and locks: IRQL <= DISPATCH_LEVEL; qp->work_lock protects the free list.
 * Implements NDK-101, 102, 104 (data captured), 12, 13; VER-56.
 */
#include "ndk/queue.h"
#include "rtl/rtl.h"

/* A copy: the request, its SGEs, its inline bytes. */
static struct ndk_sge *sges_of(struct ndk_work *copy)
{
	return (struct ndk_sge *)(copy + 1);
}

/* `out`: the copy is whole, and not yet completed; set and cleared for who looks through them. */
struct slot {
	_Atomic bool out;
	_Alignas(16) struct ndk_work work; /* and its SGEs, and its inline bytes */
};

static struct slot *slot_of(struct ndk_work *copy)
{
	return CONTAINING_RECORD(copy, struct slot, work);
}

NTSTATUS ndk_works_create(struct ndk_qp *qp)
{
	const struct ndk_qp_parameters *p = &qp->parameters;
	uint32_t sges = p->initiator_sges ? p->initiator_sges : 1; /* inline data need one */
	size_t size = sizeof(struct slot) + sges * sizeof(struct ndk_sge) + p->inline_size;
	size = (size + 15) & ~(size_t)15;
	qp->work_size = size;
	qp->inline_offset = sizeof(struct ndk_work) + sges * sizeof(struct ndk_sge);
	/* One more than the depth: for the request that a provider is just looking at. */
	qp->works = ex_allocate((p->initiator_depth + 1) * size, NDK_TAG, NonPagedPoolNx);
	if (!qp->works)
		return STATUS_INSUFFICIENT_RESOURCES;
	for (uint32_t i = 0; i <= p->initiator_depth; i++) {
		struct ndk_work *work = &((struct slot *)(qp->works + i * size))->work;
		work->next = qp->free_works;
		qp->free_works = work;
	}
	return STATUS_SUCCESS;
}

/* Not under the lock: the consumer's memory may be pageable. */
static void fill(struct ndk_work *copy, const struct ndk_work *work)
{
	const struct ndk_qp *qp = work->qp;
	*copy = *work;
	copy->captured = true;
	copy->sge = sges_of(copy);
	if (work->flags & NDK_WORK_INLINE) {
		char *bytes = (char *)copy + qp->inline_offset;
		*sges_of(copy) =
			(struct ndk_sge){.address = (uint64_t)bytes, .length = work->length};
		copy->sge_count = 1;
		for (uint32_t i = 0; i < work->sge_count; i++) {
			memcpy(bytes, (const void *)work->sge[i].address, work->sge[i].length);
			bytes += work->sge[i].length;
		}
	} else if (work->sge_count) {
		memcpy(sges_of(copy), work->sge, work->sge_count * sizeof *work->sge);
	}
}

struct ndk_work *ndk_work_capture(const struct ndk_work *work)
{
	struct ndk_qp *qp = work->qp;
	KIRQL old = ke_lock_raise(&qp->work_lock);
	struct ndk_work *copy = NULL;
	if (qp->captured < qp->parameters.initiator_depth + work->begun) {
		copy = qp->free_works;
		qp->free_works = copy->next;
		atomic_store_explicit(&qp->captured, qp->captured + 1, memory_order_relaxed);
	}
	ke_lock_lower(&qp->work_lock, old);
	if (!copy)
		return NULL;
	fill(copy, work);
	ndk_busy_get(&qp->object);
	atomic_store_explicit(&slot_of(copy)->out, true, memory_order_release);
	return copy;
}

static void release(struct ndk_work *copy)
{
	struct ndk_qp *qp = copy->qp;
	KIRQL old = ke_lock_raise(&qp->work_lock);
	atomic_store_explicit(&slot_of(copy)->out, false, memory_order_relaxed);
	copy->next = qp->free_works;
	qp->free_works = copy;
	atomic_store_explicit(&qp->captured, qp->captured - 1, memory_order_relaxed);
	ke_lock_lower(&qp->work_lock, old);
}

static bool works_find(struct ndk_qp *qp, ndk_posted_match *matches, void *context)
{
	static const char *const names[] = {
		[NDK_SEND] = "NdkSend of",   [NDK_READ] = "NdkRead of",
		[NDK_WRITE] = "NdkWrite of", [NDK_FAST_REGISTER] = "NdkFastRegister of",
		[NDK_BIND] = "NdkBind of",   [NDK_INVALIDATE] = "NdkInvalidate of"};
	bool found = false;
	KIRQL old = ke_lock_raise(&qp->work_lock);
	uint32_t left = qp->captured; /* all but those that are just being filled */
	for (uint32_t i = 0; left && i <= qp->parameters.initiator_depth && !found; i++) {
		const struct slot *slot = (const struct slot *)(qp->works + i * qp->work_size);
		/* Acquires what ndk_work_capture filled in. */
		if (!atomic_load_explicit(&slot->out, memory_order_acquire))
			continue;
		left--;
		const struct ndk_work *work = &slot->work;
		if (!(work->flags & NDK_WORK_INLINE))
			found = matches(&(struct ndk_posted){.work = work,
							     .sge = work->sge,
							     .sge_count = work->sge_count,
							     .what = names[work->operation]},
					context);
	}
	ke_lock_lower(&qp->work_lock, old);
	return found;
}

bool ndk_posted_find(struct ndk_object *queue, ndk_posted_match *matches, void *context)
{
	struct ndk_qp *qp = (struct ndk_qp *)queue;
	if (queue->class->type == NdkObjectTypeSrq)
		return ndk_receives_find(&((struct ndk_srq *)queue)->receives, matches, context);
	return works_find(qp, matches, context) ||
	       (!qp->srq && ndk_receives_find(&qp->receives, matches, context));
}

void ndk_work_complete(struct ndk_work *work, int status, uint32_t provider_error)
{
	struct ndk_qp *qp = work->qp;
	bool captured = work->captured;
	bool silent = (work->flags & NDK_WORK_SILENT) && NT_SUCCESS(status);
	NDK_RESULT_EX result = {
		.Status = status,
		.QPContext = qp->context,
		.RequestContext = work->context,
		.Type = (NDK_OPERATION_TYPE)work->operation,
		.ProviderErrorCode = provider_error,
	};
	if (work->change)
		ndk_change_end(work->change, status);
	if (captured)
		release(work); /* before the consumer can post again */
	if (!silent)
		ndk_cq_place(qp->initiator_cq, &result, false);
	if (captured)
		ndk_busy_put(&qp->object);
}

void ndk_receive_complete(struct ndk_qp *qp, struct ndk_receive *receive,
			  const struct ndk_received *received)
{
	NDK_RESULT_EX result = {
		.Status = received->status,
		.BytesTransferred = received->bytes,
		.QPContext = qp->context,
		.RequestContext = receive->context,
		.Type = received->invalidated ? NdkOperationTypeReceiveAndInvalidate
					      : NdkOperationTypeReceive,
		.ProviderErrorCode = received->provider_error,
		.TypeSpecificCompletionOutput = received->invalidated ? received->token : 0,
	};
	ndk_receive_put(qp->srq ? &qp->srq->receives : &qp->receives, receive);
	ndk_cq_place(qp->receive_cq, &result, received->solicited);
	if (!qp->srq)
		ndk_busy_put(&qp->object);
}

/* ---- VER-56 ---- */

bool ndk_serial_enter(_Atomic uint64_t *user, const char *function, const void *object,
		      uint64_t caller)
{
	uint64_t other = 0, self = caller ? caller : 1;
	if (atomic_compare_exchange_strong(user, &other, self))
		return true;
	char where[100];
	if (!vf_address_where(other, where, sizeof where))
		memcpy(where, "elsewhere", 10);
	vf_report(VF_NdkSerialized, function, caller, (uint64_t)object,
		  "%s was called for %p while a call that came from %s had not returned", function,
		  object, where);
	return false;
}

void ndk_serial_leave(_Atomic uint64_t *user, bool entered)
{
	if (entered)
		atomic_store(user, 0);
}
