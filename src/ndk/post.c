/* SPDX-License-Identifier: MIT */
/*
 * post.c: the posting functions of a queue pair.
 *
 * Each checks what can be checked now (flags, lengths, limits, connection), describes the request
 * on the stack and gives it to the provider, which completes it now or later. Nothing is posted,
 * and nothing will complete, when the status is not STATUS_SUCCESS (NDK-101).
 *
 * Contexts and locks: IRQL <= DISPATCH_LEVEL, no locks here. The consumer serialises the calls of
 * each queue; the verifier watches (VER-56), and an overlap does no harm.
 *
 * Implements NDK-14, 19, 22, 30, 61..67, 99..107, 143; VER-56, VER-60 (flags), DEF-101.
 *
 * Chosen: connection first, then arguments. NDK_OP_FLAG_INLINE is legal for NdkWrite. Flags that a
 * function does not know: STATUS_INVALID_PARAMETER. Read-local-invalidate is ignored without the
 * adapter flag. More than MaxTransferLength, or SGEs than the queue pair was made for:
 * STATUS_INVALID_PARAMETER; a full queue: STATUS_INSUFFICIENT_RESOURCES. A dead queue pair
 * takes no receives either: STATUS_CONNECTION_INVALID.
 */
#include "ke/pageable.h"
#include "ndk/queue.h"
#include "rtl/rtl.h"

_Static_assert(sizeof(NDK_SGE) == sizeof(struct ndk_sge) &&
		       offsetof(NDK_SGE, Length) == offsetof(struct ndk_sge, length) &&
		       offsetof(NDK_SGE, MemoryRegionToken) == offsetof(struct ndk_sge, token),
	       "struct ndk_sge is NDK_SGE");
#define SAME(ours, documented) _Static_assert((int)(ours) == (int)(documented), #ours)
SAME(NDK_SEND, NdkOperationTypeSend);
SAME(NDK_READ, NdkOperationTypeRead);
SAME(NDK_WRITE, NdkOperationTypeWrite);
SAME(NDK_BIND, NdkOperationTypeBind);
SAME(NDK_FAST_REGISTER, NdkOperationTypeFastRegister);
SAME(NDK_INVALIDATE, NdkOperationTypeInvalidate);
SAME(NDK_WORK_SILENT, NDK_OP_FLAG_SILENT_SUCCESS);
SAME(NDK_WORK_READ_FENCE, NDK_OP_FLAG_READ_FENCE);
SAME(NDK_WORK_SOLICIT, NDK_OP_FLAG_SEND_AND_SOLICIT_EVENT);
SAME(NDK_WORK_INLINE, NDK_OP_FLAG_INLINE);
SAME(NDK_WORK_READ_LOCAL_INVALIDATE, NDK_OP_FLAG_RDMA_READ_LOCAL_INVALIDATE);
SAME(NDK_WORK_DEFER, NDK_OP_FLAG_DEFER);

#define COMMON_FLAGS (NDK_OP_FLAG_SILENT_SUCCESS | NDK_OP_FLAG_READ_FENCE | NDK_OP_FLAG_DEFER)
#define SEND_FLAGS   (COMMON_FLAGS | NDK_OP_FLAG_SEND_AND_SOLICIT_EVENT | NDK_OP_FLAG_INLINE)
#define READ_FLAGS   (COMMON_FLAGS | NDK_OP_FLAG_RDMA_READ_LOCAL_INVALIDATE)
#define WRITE_FLAGS  (COMMON_FLAGS | NDK_OP_FLAG_INLINE)
#define BIND_FLAGS   (COMMON_FLAGS | NDK_OP_FLAG_ALLOW_REMOTE_READ | NDK_OP_FLAG_ALLOW_REMOTE_WRITE)
#define FAST_REGISTER_FLAGS                                                                        \
	(BIND_FLAGS | NDK_OP_FLAG_ALLOW_LOCAL_WRITE | NDK_OP_FLAG_RDMA_READ_SINK)

/* ---- One call ---- */

struct post {
	struct ndk_qp *qp;
	_Atomic uint64_t *user;
	const char *name;
	uint64_t caller;
	bool serial;
	bool fails; /* on demand, by its completion */
};

/* STATUS_SUCCESS: go on, and call `leave` at the end. */
static NTSTATUS enter(struct post *post, enum ndk_function function)
{
	struct ndk_qp *qp = post->qp;
	NTSTATUS status;
	if (!ndk_object_enter(qp, NdkObjectTypeQp, post->name, post->caller))
		return STATUS_INVALID_DEVICE_STATE;
	if (vf_on())
		post->serial = ndk_serial_enter(post->user, post->name, qp, post->caller);
	if (post->user == &qp->initiator_user)
		qp->deferred = 0; /* an inline failure ends a chain, too (NDK-107) */
	if (!ndk_must_fail(function, &status))
		return STATUS_SUCCESS;
	post->fails = post->user == &qp->initiator_user && ndk_policy_how(false) != NDK_INLINE;
	if (post->fails)
		return STATUS_SUCCESS;
	ndk_serial_leave(post->user, post->serial);
	ndk_object_leave(qp);
	return status;
}

static NTSTATUS leave(const struct post *post, NTSTATUS status)
{
	ndk_serial_leave(post->user, post->serial);
	ndk_object_leave(post->qp);
	return status;
}

static NTSTATUS enter_initiator(struct post *post, enum ndk_function function, ULONG flags,
				ULONG known)
{
	post->user = &post->qp->initiator_user;
	NTSTATUS status = enter(post, function);
	if (status != STATUS_SUCCESS)
		return status;
	if (atomic_load_explicit(&post->qp->state, memory_order_acquire) != NDK_QP_CONNECTED)
		return leave(post, STATUS_CONNECTION_INVALID);
	if (flags & ~known)
		return leave(post, STATUS_INVALID_PARAMETER);
	if (!post->qp->parameters.initiator_depth)
		return leave(post, STATUS_INSUFFICIENT_RESOURCES);
	return STATUS_SUCCESS;
}

static NTSTATUS hand_over(struct post *post, struct ndk_work *work)
{
	struct ndk_qp *qp = post->qp;
	struct ndk_change *change = work->change;
	NTSTATUS status = qp->data->post(qp, work);
	if (NT_SUCCESS(status))
		qp->deferred = work->flags & NDK_WORK_DEFER ? post->caller : 0;
	else if (change)
		ndk_change_drop(change);
	return leave(post, status);
}

/* ---- Data ---- */

/* NDK-104, NDK-105. */
static NTSTATUS check_data(const struct ndk_qp *qp, struct ndk_work *work, const NDK_SGE *sge,
			   ULONG count)
{
	const NDK_ADAPTER_INFO *info = &qp->object.adapter->info;
	bool is_inline = work->flags & NDK_WORK_INLINE;
	ULONG limit = work->operation == NDK_READ &&
				      info->MaxReadRequestSge < qp->parameters.initiator_sges
			      ? info->MaxReadRequestSge
			      : qp->parameters.initiator_sges;
	uint64_t length = 0;
	if ((count && !sge) || (!is_inline && count > limit))
		return STATUS_INVALID_PARAMETER;
	for (ULONG i = 0; i < count && length <= info->MaxTransferLength; i++)
		length += sge[i].Length;
	if (length > info->MaxTransferLength || (is_inline && length > qp->parameters.inline_size))
		return STATUS_INVALID_PARAMETER;
	work->sge = (const struct ndk_sge *)sge;
	work->sge_count = count;
	work->length = (uint32_t)length;
	return STATUS_SUCCESS;
}

/* Inline data are read at DISPATCH_LEVEL (NDK-14). */
static void check_resident(const struct post *post, const NDK_SGE *sge, ULONG count)
{
	for (ULONG i = 0; i < count; i++) {
		uint64_t first = (uint64_t)sge[i].VirtualAddress;
		if (sge[i].Length && (mm_is_unlocked_pageable(first) ||
				      mm_is_unlocked_pageable(first + sge[i].Length - 1)))
			vf_report(VF_NdkInline, post->name, post->caller, first,
				  "is called with NDK_OP_FLAG_INLINE and %u bytes at %p, which are "
				  "pageable",
				  sge[i].Length, sge[i].VirtualAddress);
	}
}

static NTSTATUS post_data(struct post *post, struct ndk_work *work, const NDK_SGE *sge, ULONG count)
{
	static const struct ndk_sge nowhere = {.length = 1}; /* the token 0 is nobody's */
	work->qp = post->qp;
	NTSTATUS status = check_data(post->qp, work, sge, count);
	if ((work->flags & NDK_WORK_INLINE) && NT_SUCCESS(status) && vf_on())
		check_resident(post, sge, count);
	if (post->fails) {
		work->sge = &nowhere;
		work->sge_count = 1;
		work->length = 1;
		work->flags &= (uint16_t)~NDK_WORK_INLINE;
	}
	return NT_SUCCESS(status) ? hand_over(post, work) : leave(post, status);
}

/*
 * Send the bytes of the SGEs into the peer's next receive. IRQL <= DISPATCH_LEVEL. Flags:
 * SILENT_SUCCESS, READ_FENCE, SEND_AND_SOLICIT_EVENT, INLINE, DEFER. STATUS_SUCCESS;
 * STATUS_CONNECTION_INVALID; STATUS_INVALID_PARAMETER; STATUS_INSUFFICIENT_RESOURCES: the queue is
 * full. Source: NDK-61, NDK-22.
 */
static NTSTATUS NTAPI post_send(NDK_QP *pNdkQp, PVOID RequestContext, CONST NDK_SGE *pSgl,
				ULONG nSge, ULONG Flags)
{
	struct post post = {(struct ndk_qp *)pNdkQp, NULL, "NdkSend", NDK_CALLER(), false, false};
	struct ndk_work work = {
		.operation = NDK_SEND, .context = RequestContext, .flags = (uint16_t)Flags};
	NTSTATUS status = enter_initiator(&post, NDK_FUNCTION_Send, Flags, SEND_FLAGS);
	return status == STATUS_SUCCESS ? post_data(&post, &work, pSgl, nSge) : status;
}

/* The same, and the peer invalidates its token RemoteMemoryRegionToken. Since 1.2. Source: NDK-62,
 * NDK-108. */
static NTSTATUS NTAPI post_send_and_invalidate(NDK_QP *pNdkQp, PVOID RequestContext,
					       CONST NDK_SGE *pSgl, ULONG nSge, ULONG Flags,
					       UINT32 RemoteMemoryRegionToken)
{
	struct post post = {
		(struct ndk_qp *)pNdkQp, NULL, "NdkSendAndInvalidate", NDK_CALLER(), false, false};
	struct ndk_work work = {.operation = NDK_SEND,
				.context = RequestContext,
				.flags = (uint16_t)Flags,
				.invalidates = true,
				.remote_token = RemoteMemoryRegionToken};
	NTSTATUS status = enter_initiator(&post, NDK_FUNCTION_SendAndInvalidate, Flags, SEND_FLAGS);
	return status == STATUS_SUCCESS ? post_data(&post, &work, pSgl, nSge) : status;
}

/* NDK-122: reads need sinks, unless the adapter says otherwise. */
static void check_sinks(const struct post *post, const NDK_SGE *sge, ULONG count)
{
	const struct ndk_qp *qp = post->qp;
	if (qp->object.adapter->info.AdapterFlags & NDK_ADAPTER_FLAG_RDMA_READ_SINK_NOT_REQUIRED)
		return;
	for (ULONG i = 0; sge && i < count && i < qp->parameters.initiator_sges; i++) {
		uint32_t token = sge[i].MemoryRegionToken;
		if (sge[i].Length && ndk_mr_is_no_sink(qp->pd, token))
			vf_report(
				VF_NdkReadSink, post->name, post->caller, token,
				"reads into the region with the token 0x%08x, which is registered "
				"without RDMA_READ_SINK, on an adapter whose flags 0x%x lack 0x%x",
				token, qp->object.adapter->info.AdapterFlags,
				NDK_ADAPTER_FLAG_RDMA_READ_SINK_NOT_REQUIRED);
	}
}

/*
 * Read [RemoteAddress, + length of the SGEs) of the peer's region into the SGEs. IRQL <=
 * DISPATCH_LEVEL. Flags: SILENT_SUCCESS, READ_FENCE, RDMA_READ_LOCAL_INVALIDATE, DEFER. Statuses as
 * NdkSend. Source: NDK-67, NDK-109.
 */
static NTSTATUS NTAPI post_read(NDK_QP *pNdkQp, PVOID RequestContext, CONST NDK_SGE *pSgl,
				ULONG nSge, UINT64 RemoteAddress, UINT32 RemoteToken, ULONG Flags)
{
	struct post post = {(struct ndk_qp *)pNdkQp, NULL, "NdkRead", NDK_CALLER(), false, false};
	struct ndk_work work = {.operation = NDK_READ,
				.context = RequestContext,
				.flags = (uint16_t)Flags,
				.remote_address = RemoteAddress,
				.remote_token = RemoteToken};
	NTSTATUS status = enter_initiator(&post, NDK_FUNCTION_Read, Flags, READ_FLAGS);
	if (status != STATUS_SUCCESS)
		return status;
	if (!(post.qp->object.adapter->info.AdapterFlags &
	      NDK_ADAPTER_FLAG_RDMA_READ_LOCAL_INVALIDATE_SUPPORTED))
		work.flags &= (uint16_t)~NDK_WORK_READ_LOCAL_INVALIDATE;
	if (vf_on())
		check_sinks(&post, pSgl, nSge);
	return post_data(&post, &work, pSgl, nSge);
}

/* Write the SGEs to the peer's region. Flags: SILENT_SUCCESS, READ_FENCE, INLINE, DEFER. Source:
 * NDK-67. */
static NTSTATUS NTAPI post_write(NDK_QP *pNdkQp, PVOID RequestContext, CONST NDK_SGE *pSgl,
				 ULONG nSge, UINT64 RemoteAddress, UINT32 RemoteToken, ULONG Flags)
{
	struct post post = {(struct ndk_qp *)pNdkQp, NULL, "NdkWrite", NDK_CALLER(), false, false};
	struct ndk_work work = {.operation = NDK_WRITE,
				.context = RequestContext,
				.flags = (uint16_t)Flags,
				.remote_address = RemoteAddress,
				.remote_token = RemoteToken};
	NTSTATUS status = enter_initiator(&post, NDK_FUNCTION_Write, Flags, WRITE_FLAGS);
	return status == STATUS_SUCCESS ? post_data(&post, &work, pSgl, nSge) : status;
}

/* ---- Memory ---- */

static NTSTATUS post_change(struct post *post, PVOID context, enum ndk_operation operation,
			    ULONG flags, uint64_t page, NTSTATUS status, struct ndk_change *change)
{
	struct ndk_work work = {.qp = post->qp,
				.operation = (uint16_t)operation,
				.context = context,
				.flags = (uint16_t)flags,
				.remote_address = page,
				.change = change};
	if (post->fails && NT_SUCCESS(status))
		ndk_change_fail(change);
	return NT_SUCCESS(status) ? hand_over(post, &work) : leave(post, status);
}

/*
 * Give a window a part of a region. IRQL <= DISPATCH_LEVEL. Flags: SILENT_SUCCESS, READ_FENCE,
 * ALLOW_REMOTE_READ, ALLOW_REMOTE_WRITE, DEFER. STATUS_SUCCESS; STATUS_CONNECTION_INVALID;
 * STATUS_ACCESS_VIOLATION: the region lacks the access; STATUS_INVALID_PARAMETER;
 * STATUS_INVALID_DEVICE_STATE. Source: NDK-64, NDK-127, NDK-131.
 */
static NTSTATUS NTAPI post_bind(NDK_QP *pNdkQp, PVOID RequestContext, NDK_MR *pMr, NDK_MW *pMw,
				PVOID VirtualAddress, SIZE_T Length, ULONG Flags)
{
	struct post post = {(struct ndk_qp *)pNdkQp, NULL, "NdkBind", NDK_CALLER(), false, false};
	struct ndk_change *change = NULL;
	NTSTATUS status = enter_initiator(&post, NDK_FUNCTION_Bind, Flags, BIND_FLAGS);
	if (status != STATUS_SUCCESS)
		return status;
	status = ndk_change_bind(pMr, pMw, VirtualAddress, Length, Flags, post.qp->pd, post.caller,
				 &change);
	return post_change(&post, RequestContext, NDK_BIND, Flags, 0, status, change);
}

/*
 * Give a fast-register region its pages. IRQL <= DISPATCH_LEVEL. FBO: bytes before the region in
 * the first page; Length in bytes. Flags: as NdkBind, ALLOW_LOCAL_WRITE and RDMA_READ_SINK.
 * STATUS_SUCCESS; STATUS_CONNECTION_INVALID; STATUS_ACCESS_VIOLATION: remote access was not
 * announced; STATUS_INVALID_PARAMETER; STATUS_INVALID_DEVICE_STATE. Source: NDK-65, NDK-125.
 */
static NTSTATUS NTAPI post_fast_register(NDK_QP *pNdkQp, PVOID RequestContext, NDK_MR *pMr,
					 ULONG AdapterPageCount,
					 CONST NDK_LOGICAL_ADDRESS *AdapterPageArray, ULONG FBO,
					 SIZE_T Length, PVOID BaseVirtualAddress, ULONG Flags)
{
	struct post post = {
		(struct ndk_qp *)pNdkQp, NULL, "NdkFastRegister", NDK_CALLER(), false, false};
	struct ndk_change *change = NULL;
	NTSTATUS status =
		enter_initiator(&post, NDK_FUNCTION_FastRegister, Flags, FAST_REGISTER_FLAGS);
	if (status != STATUS_SUCCESS)
		return status;
	status = ndk_change_fast_register(pMr, AdapterPageCount, AdapterPageArray, FBO, Length,
					  BaseVirtualAddress, Flags, post.qp->pd, post.caller,
					  &change);
	uint64_t page = NT_SUCCESS(status) ? (uint64_t)AdapterPageArray[0].QuadPart : 0;
	return post_change(&post, RequestContext, NDK_FAST_REGISTER, Flags, page, status, change);
}

/* Take the access away again: of a fast-registered region or a bound window. Flags: SILENT_SUCCESS,
 * READ_FENCE, DEFER. Source: NDK-66, NDK-126. */
static NTSTATUS NTAPI post_invalidate(NDK_QP *pNdkQp, PVOID RequestContext,
				      NDK_OBJECT_HEADER *pNdkMrOrMw, ULONG Flags)
{
	struct post post = {
		(struct ndk_qp *)pNdkQp, NULL, "NdkInvalidate", NDK_CALLER(), false, false};
	struct ndk_change *change = NULL;
	NTSTATUS status = enter_initiator(&post, NDK_FUNCTION_Invalidate, Flags, COMMON_FLAGS);
	if (status != STATUS_SUCCESS)
		return status;
	status = ndk_change_invalidate(pNdkMrOrMw, post.qp->pd, post.caller, &change);
	return post_change(&post, RequestContext, NDK_INVALIDATE, Flags, 0, status, change);
}

/* ---- Receive ---- */

static NTSTATUS queue_receive(struct ndk_qp *qp, PVOID context, const NDK_SGE *sge, ULONG count)
{
	struct ndk_receive *receive = NULL;
	if (qp->srq)
		return STATUS_INVALID_PARAMETER;
	if (atomic_load(&qp->state) == NDK_QP_DEAD)
		return STATUS_CONNECTION_INVALID;
	NTSTATUS status = ndk_receive_get(&qp->receives, context, sge, count, &receive);
	if (!NT_SUCCESS(status))
		return status;
	ndk_busy_get(&qp->object);
	status = qp->data->receive(qp, NULL, receive);
	if (!NT_SUCCESS(status)) {
		ndk_receive_put(&qp->receives, receive);
		ndk_busy_put(&qp->object);
	}
	return status;
}

/*
 * Post memory for the peer's next send, also before the connection. IRQL <= DISPATCH_LEVEL.
 * STATUS_SUCCESS; STATUS_CONNECTION_INVALID: disconnected or broken; STATUS_INVALID_PARAMETER: too
 * many SGEs, more bytes than MaxTransferLength, or the QP has an SRQ;
 * STATUS_INSUFFICIENT_RESOURCES: the queue is full. Source: NDK-63.
 */
static NTSTATUS NTAPI post_receive(NDK_QP *pNdkQp, PVOID RequestContext, CONST NDK_SGE *pSgl,
				   ULONG nSge)
{
	struct post post = {
		(struct ndk_qp *)pNdkQp, NULL, "NdkReceive", NDK_CALLER(), false, false};
	post.user = &post.qp->receive_user;
	NTSTATUS status = enter(&post, NDK_FUNCTION_Receive);
	if (status != STATUS_SUCCESS)
		return status;
	return leave(&post, queue_receive(post.qp, RequestContext, pSgl, nSge));
}

const NDK_QP_DISPATCH ndk_qp_dispatch = {
	.NdkCloseQp = ndk_close,
	.NdkQueryExtension = ndk_query_extension,
	.NdkFlush = ndk_qp_flush,
	.NdkSend = post_send,
	.NdkReceive = post_receive,
	.NdkBind = post_bind,
	.NdkFastRegister = post_fast_register,
	.NdkInvalidate = post_invalidate,
	.NdkRead = post_read,
	.NdkWrite = post_write,
	.NdkSendAndInvalidate = post_send_and_invalidate,
};
