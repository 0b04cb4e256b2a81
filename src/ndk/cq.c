/* SPDX-License-Identifier: MIT */
/*
 * cq.c: completion queues: the consumer's functions. cq_notify.c has the notifications.
 *
 * A ring of NDK_RESULT_EX; cq->lock protects it, at IRQL <= DISPATCH_LEVEL. The consumer serialises
 * its own calls (NDK-87), which the verifier watches (VER-56) and the lock does not rely on.
 *
 * Implements NDK-11, 12, 25, 37, 54..57, 87..89, 96, 97, 98; VER-56, VER-61.
 *
 * Chosen: depth 0 is refused; a resize to less than what is in the queue is refused; an arm of a
 * wrong type, or of a queue without a callback, is reported and ignored.
 */
#include "ndk/queue.h"
#include "rtl/rtl.h"

/* ---- The consumer's functions ---- */

/* VER-56: at the beginning of a serialised function. */
static bool serial_enter(struct ndk_cq *cq, const char *function, uint64_t caller)
{
	return vf_on() && ndk_serial_enter(&cq->consumer, function, cq, caller);
}

/* The lock is held: the oldest entry, and forget it. */
static const NDK_RESULT_EX *take(struct ndk_cq *cq)
{
	uint64_t present = cq->tail - cq->head;
	if (!present)
		return NULL;
	uint32_t place = cq->next >= present ? cq->next - (uint32_t)present
					     : cq->next + cq->depth - (uint32_t)present;
	cq->head++;
	return &cq->ring[place];
}

/* Whoever polls need not wait for the device's interrupt. */
static void look_at_device(const struct ndk_cq *cq)
{
	void (*service)(void) = cq->object.adapter->device->provider->service;
	if (!service)
		return;
	KIRQL old = ke_irql_raise(DISPATCH_LEVEL);
	service();
	ke_irql_lower(old);
}

/*
 * Remove up to nResults completions, oldest first. IRQL <= DISPATCH_LEVEL; not at the same time as
 * another NdkGetCqResults(Ex) or NdkArmCq of the queue. Returns how many; 0: there are none.
 * Source: NDK-56, NDK-87, NDK-88.
 */
static ULONG NTAPI get_results(NDK_CQ *pNdkCq, NDK_RESULT Results[], ULONG nResults)
{
	struct ndk_cq *cq = (struct ndk_cq *)pNdkCq;
	const NDK_RESULT_EX *result;
	uint64_t caller = NDK_CALLER();
	ULONG count = 0;
	if (!ndk_object_enter(cq, NdkObjectTypeCq, "NdkGetCqResults", caller))
		return 0;
	bool entered = serial_enter(cq, "NdkGetCqResults", caller);
	look_at_device(cq);
	KIRQL old = ke_lock_raise(&cq->lock);
	for (; count < nResults && (result = take(cq)); count++)
		Results[count] = (NDK_RESULT){.Status = result->Status,
					      .BytesTransferred = result->BytesTransferred,
					      .QPContext = result->QPContext,
					      .RequestContext = result->RequestContext};
	ke_lock_lower(&cq->lock, old);
	ndk_serial_leave(&cq->consumer, entered);
	ndk_object_leave(cq);
	return count;
}

/* The same with type, provider's error and invalidated token. Since 1.2. Source: NDK-12, NDK-56. */
static ULONG NTAPI get_results_ex(NDK_CQ *pNdkCq, NDK_RESULT_EX Results[], ULONG nResults)
{
	struct ndk_cq *cq = (struct ndk_cq *)pNdkCq;
	const NDK_RESULT_EX *result;
	uint64_t caller = NDK_CALLER();
	ULONG count = 0;
	if (!ndk_object_enter(cq, NdkObjectTypeCq, "NdkGetCqResultsEx", caller))
		return 0;
	bool entered = serial_enter(cq, "NdkGetCqResultsEx", caller);
	look_at_device(cq);
	KIRQL old = ke_lock_raise(&cq->lock);
	for (; count < nResults && (result = take(cq)); count++)
		Results[count] = *result;
	ke_lock_lower(&cq->lock, old);
	ndk_serial_leave(&cq->consumer, entered);
	ndk_object_leave(cq);
	return count;
}

/*
 * Ask for one notification. Type: NDK_CQ_NOTIFY_ERRORS, _ANY, _SOLICITED. IRQL <= DISPATCH_LEVEL;
 * serialised with NdkGetCqResults(Ex). Source: NDK-55, NDK-90..93.
 */
static VOID NTAPI arm_cq(NDK_CQ *pNdkCq, ULONG Type)
{
	struct ndk_cq *cq = (struct ndk_cq *)pNdkCq;
	uint64_t caller = NDK_CALLER();
	if (!ndk_object_enter(cq, NdkObjectTypeCq, "NdkArmCq", caller))
		return;
	if (Type > NDK_CQ_NOTIFY_SOLICITED || !cq->notification) {
		if (vf_on())
			vf_report(VF_NdkArgument, "NdkArmCq", caller, (uint64_t)cq,
				  "NdkArmCq with type %u on the queue %p, which has %s callback",
				  Type, cq, cq->notification ? "a" : "no");
	} else {
		bool entered = serial_enter(cq, "NdkArmCq", caller);
		ndk_cq_arm(cq, (uint8_t)Type);
		ndk_serial_leave(&cq->consumer, entered);
	}
	ndk_object_leave(cq);
}

/* NDK-97; STATUS_INVALID_PARAMETER_MIX: neither of the rules would ever apply. */
static NTSTATUS control_moderation(struct ndk_cq *cq, ULONG interval, ULONG count)
{
	NTSTATUS status;
	if (ndk_must_fail(NDK_FUNCTION_ControlCqInterruptModeration, &status))
		return status;
	if (interval == MAXULONG && (count == MAXULONG || count > cq->depth))
		return STATUS_INVALID_PARAMETER_MIX;
	ndk_cq_moderate(cq, interval, count);
	return STATUS_SUCCESS;
}

static bool lacks(struct ndk_cq *cq, ULONG flag, const char *function, uint64_t caller)
{
	if (cq->object.adapter->info.AdapterFlags & flag)
		return false;
	if (vf_on())
		vf_report(VF_NdkAdapterFlag, function, caller, (uint64_t)cq,
			  "%s on an adapter whose flags 0x%x lack 0x%x", function,
			  cq->object.adapter->info.AdapterFlags, flag);
	return true;
}

/*
 * Delay notifications until ModerationCount completions came or ModerationInterval microseconds
 * passed. IRQL <= DISPATCH_LEVEL. Interval 0 or count 0 or 1: off. MAXULONG: the other rule alone.
 * STATUS_SUCCESS, STATUS_INVALID_PARAMETER_MIX, STATUS_NOT_SUPPORTED (the adapter lacks the flag).
 * Source: NDK-57, NDK-97.
 */
static NTSTATUS NTAPI moderation(NDK_CQ *pNdkCq, ULONG ModerationInterval, ULONG ModerationCount)
{
	struct ndk_cq *cq = (struct ndk_cq *)pNdkCq;
	const char *function = "NdkControlCqInterruptModeration";
	uint64_t caller = NDK_CALLER();
	if (!ndk_object_enter(cq, NdkObjectTypeCq, function, caller))
		return STATUS_INVALID_DEVICE_STATE;
	NTSTATUS status = STATUS_NOT_SUPPORTED;
	if (!lacks(cq, NDK_ADAPTER_FLAG_CQ_INTERRUPT_MODERATION_SUPPORTED, function, caller))
		status = control_moderation(cq, ModerationInterval, ModerationCount);
	ndk_object_leave(cq);
	return status;
}

/* The ring with another depth; entries stay in order. */
static NTSTATUS resize_ring(struct ndk_cq *cq, uint32_t depth)
{
	const NDK_RESULT_EX *result;
	NTSTATUS status = STATUS_SUCCESS;
	NDK_RESULT_EX *ring = ex_allocate(depth * sizeof *ring, NDK_TAG, NonPagedPoolNx);
	if (!ring)
		return STATUS_INSUFFICIENT_RESOURCES;
	NDK_RESULT_EX *old_ring = ring;
	KIRQL old = ke_lock_raise(&cq->lock);
	uint64_t head = cq->head;
	uint32_t count = 0;
	if (cq->tail - cq->head > depth) {
		status = STATUS_INVALID_PARAMETER; /* NDK-96 */
	} else {
		while ((result = take(cq)))
			ring[count++] = *result;
		cq->head = head;
		old_ring = cq->ring;
		cq->ring = ring;
		cq->depth = depth;
		cq->next = count == depth ? 0 : count;
	}
	ke_lock_lower(&cq->lock, old);
	ex_free(old_ring);
	return status;
}

void ndk_cq_resized(struct ndk_cq *cq, int status)
{
	struct ndk_request *request = cq->resize;
	if (NT_SUCCESS(status))
		status = resize_ring(cq, cq->resize_depth);
	ndk_request_complete(request, status);
}

/* The provider resizes its own; 0: done. Else what NdkResizeCq returns. */
static NTSTATUS resize_provider(struct ndk_cq *cq, uint32_t depth, const void *routine,
				void *context, uint64_t caller)
{
	const struct ndk_data_operations *data = cq->object.adapter->device->provider->data;
	if (!data->cq_resize)
		return STATUS_SUCCESS;
	cq->resize = ndk_request_pend(cq, routine, context, caller);
	cq->resize_depth = depth;
	if (!cq->resize)
		return STATUS_INSUFFICIENT_RESOURCES;
	struct ndk_request *request = cq->resize;
	NTSTATUS status = data->cq_resize(cq, depth);
	if (status != STATUS_PENDING)
		ndk_request_discard(request);
	return status;
}

/*
 * Change the depth; completions stay. IRQL <= DISPATCH_LEVEL. STATUS_SUCCESS, STATUS_PENDING;
 * STATUS_INVALID_PARAMETER: 0, more than the adapter's maximum, or fewer than are in the queue;
 * STATUS_INSUFFICIENT_RESOURCES; STATUS_NOT_SUPPORTED: the adapter lacks the flag. Source: NDK-54,
 * NDK-96.
 */
static NTSTATUS NTAPI resize_cq(NDK_CQ *pNdkCq, ULONG CqDepth,
				NDK_FN_REQUEST_COMPLETION *RequestCompletion, PVOID RequestContext)
{
	struct ndk_cq *cq = (struct ndk_cq *)pNdkCq;
	uint64_t caller = NDK_CALLER();
	NTSTATUS status;
	if (!ndk_object_enter(cq, NdkObjectTypeCq, "NdkResizeCq", caller))
		return STATUS_INVALID_DEVICE_STATE;
	if (lacks(cq, NDK_ADAPTER_FLAG_CQ_RESIZE_SUPPORTED, "NdkResizeCq", caller))
		status = STATUS_NOT_SUPPORTED;
	else if (!CqDepth || CqDepth > cq->object.adapter->info.MaxCqDepth)
		status = STATUS_INVALID_PARAMETER;
	else if (!ndk_must_fail(NDK_FUNCTION_ResizeCq, &status))
		status = resize_provider(cq, CqDepth, RequestCompletion, RequestContext, caller);
	if (status == STATUS_SUCCESS)
		status = resize_ring(cq, CqDepth);
	ndk_object_leave(cq);
	return status == STATUS_PENDING
		       ? status
		       : ndk_request_done(cq, RequestCompletion, RequestContext, status, caller);
}

/* ---- Life ---- */

static void begin_close(struct ndk_object *object)
{
	ndk_cq_quiet((struct ndk_cq *)object);
}

static void destroy(struct ndk_object *object)
{
	struct ndk_cq *cq = (struct ndk_cq *)object;
	ex_free(cq->ring);
	cq->ring = NULL;
}

static const NDK_CQ_DISPATCH dispatch = {
	.NdkCloseCq = ndk_close,
	.NdkQueryExtension = ndk_query_extension,
	.NdkResizeCq = resize_cq,
	.NdkArmCq = arm_cq,
	.NdkGetCqResults = get_results,
	.NdkControlCqInterruptModeration = moderation,
	.NdkGetCqResultsEx = get_results_ex,
};

static const struct ndk_class class = {
	.name = "completion queue",
	.type = NdkObjectTypeCq,
	.size = sizeof(struct ndk_cq),
	.dispatch = &dispatch,
	.begin_close = begin_close,
	.destroy = destroy,
	.request = "NdkResizeCq",
};

static struct ndk_cq *make(struct ndk_object *adapter, uint32_t depth, uint64_t caller)
{
	struct ndk_cq *cq = ndk_object_allocate(&class, adapter, caller);
	if (!cq)
		return NULL;
	ndk_cq_notify_initialize(cq);
	cq->depth = depth;
	cq->ring = ex_allocate(depth * sizeof *cq->ring, NDK_TAG, NonPagedPoolNx);
	if (cq->ring)
		return cq;
	ndk_object_discard(cq);
	return NULL;
}

/*
 * Create a completion queue. IRQL <= DISPATCH_LEVEL. Affinity, a preference, is not used (NDK-98).
 * STATUS_SUCCESS, STATUS_PENDING; STATUS_INVALID_PARAMETER: depth 0 or above MaxCqDepth;
 * STATUS_INSUFFICIENT_RESOURCES. Source: NDK-37.
 */
NTSTATUS NTAPI ndk_create_cq(NDK_ADAPTER *pNdkAdapter, ULONG CqDepth,
			     NDK_FN_CQ_NOTIFICATION_CALLBACK *CqNotification,
			     PVOID CqNotificationContext, GROUP_AFFINITY *Affinity,
			     NDK_FN_CREATE_COMPLETION *CreateCompletion, PVOID RequestContext,
			     NDK_CQ **ppNdkCq)
{
	struct ndk_adapter *adapter = (struct ndk_adapter *)pNdkAdapter;
	struct ndk_cq_parameters parameters = {.depth = CqDepth};
	uint64_t caller = NDK_CALLER();
	NTSTATUS status = STATUS_INVALID_PARAMETER;
	(void)Affinity;
	if (!ndk_object_enter(adapter, NdkObjectTypeAdapter, "NdkCreateCq", caller))
		return STATUS_INVALID_DEVICE_STATE;
	if (CqNotification && vf_on())
		ndk_check_routine(&adapter->object, "notification callback", CqNotification,
				  caller);
	if (CqDepth && CqDepth <= adapter->info.MaxCqDepth) {
		struct ndk_cq *cq = make(&adapter->object, CqDepth, caller);
		status = STATUS_INSUFFICIENT_RESOURCES;
		if (cq) {
			cq->notification = CqNotification;
			cq->notification_context = CqNotificationContext;
			status =
				ndk_create_done(cq, &parameters, NDK_FUNCTION_CreateCq,
						CreateCompletion, RequestContext, (void **)ppNdkCq);
		}
	}
	ndk_object_leave(adapter);
	return status;
}
