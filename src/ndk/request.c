/* SPDX-License-Identifier: MIT */
/*
 * request.c: asynchronous calls: create, request and close completions (NDK-76..79).
 *
 * A request keeps its object busy until its callback has returned, so the object's close waits for
 * both (NDK-81). Once the callback has begun nothing of the object is touched but that reference:
 * the consumer may close the object inside (NDK-79). The state that the request leads to is entered
 * by finish(), just before the callback, so that the consumer finds it there.
 *
 * Contexts and locks: IRQL <= DISPATCH_LEVEL; ndk_lock protects the lists of what is pending, for
 * who closes an object too early. `complete` is set by whoever completes the request: a
 * second completion by a provider is reported and has no effect (VER-65).
 */
#include "ndk/internal.h"
#include "rtl/rtl.h"

static void call(struct ndk_request *request)
{
	struct ndk_callout callout;
	NDK_OBJECT_HEADER *result = NULL;
	if (!request->routine)
		return;
	ndk_callout_begin(&callout, request->routine, request->context);
	switch (request->kind) {
	case NDK_REQUEST:
		request->completed(request->context, request->status);
		break;
	case NDK_CREATE:
		if (request->result)
			result = &request->result->header;
		request->created(request->context, request->status, result);
		break;
	case NDK_CLOSE:
		/* DEF-85: a routine that takes a status finds STATUS_SUCCESS. */
		request->completed(request->context, STATUS_SUCCESS);
		break;
	}
	ndk_callout_end(&callout);
}

/* Nobody waits for it any more. A close is on no list. */
static void unlist(struct ndk_request *request)
{
	if (request->kind == NDK_CLOSE)
		return;
	KIRQL old = ke_lock_raise(&ndk_lock);
	RemoveEntryList(&request->entry);
	ke_lock_lower(&ndk_lock, old);
}

void ndk_request_run(struct ndk_request *request)
{
	struct ndk_object *object = request->object;
	unlist(request); /* before an object that could not be made goes */
	if (request->finish)
		request->finish(request);
	call(request);
	if (request->kind == NDK_CLOSE)
		return; /* part of the object, which object.c lets go */
	ex_free(request);
	ndk_busy_put(object);
}

static void run(struct ndk_delivery *delivery)
{
	ndk_request_run(CONTAINING_RECORD(delivery, struct ndk_request, delivery));
}

void ndk_check_routine(const struct ndk_object *object, const char *what, const void *routine,
		       uint64_t caller)
{
	char where[64] = "";
	const char *fault = vf_routine_fault((uint64_t)routine);
	if (!fault)
		return;
	vf_address_where((uint64_t)routine, where, sizeof where);
	vf_report(VF_NdkCompletion, NULL, caller, (uint64_t)object,
		  "the %s %p%s%s of a call on the %s %p %s", what, routine, where[0] ? ", " : "",
		  where, object->class->name, object, fault);
}

static void check_completion(const struct ndk_object *object, const void *routine, uint64_t caller)
{
	if (!routine)
		vf_report(VF_NdkCompletion, NULL, caller, (uint64_t)object,
			  "a call on the %s %p that may return STATUS_PENDING has no completion "
			  "routine",
			  object->class->name, object);
	else
		ndk_check_routine(object, "completion routine", routine, caller);
}

struct ndk_request *ndk_request_pend(void *pointer, const void *routine, void *context,
				     uint64_t caller)
{
	struct ndk_object *object = pointer;
	struct ndk_request *request = ex_allocate(sizeof(*request), NDK_TAG, NonPagedPoolNx);
	if (!request)
		return NULL;
	if (vf_on())
		check_completion(object, routine, caller);
	ndk_delivery_initialize(&request->delivery, run);
	request->object = object;
	request->kind = NDK_REQUEST;
	request->function = object->class->request;
	request->routine = routine;
	request->context = context;
	request->caller = caller;
	ndk_busy_get(object);
	KIRQL old = ke_lock_raise(&ndk_lock);
	InsertTailList(&object->pending, &request->entry);
	ke_lock_lower(&ndk_lock, old);
	return request;
}

/* True if the caller is the one who completes it. */
static bool claim(struct ndk_request *request, NTSTATUS status)
{
	if (atomic_exchange_explicit(&request->complete, true, memory_order_acq_rel)) {
		vf_report(VF_NdkProvider, NULL, request->caller, (uint64_t)request->object,
			  "the provider completes a request on the %s %p a second time",
			  request->object->class->name, request->object);
		return false;
	}
	request->status = status;
	return true;
}

void ndk_request_complete(struct ndk_request *request, NTSTATUS status)
{
	if (claim(request, status))
		ndk_delivery_queue(&request->delivery, NDK_LEVEL_ANY);
}

void ndk_request_discard(struct ndk_request *request)
{
	struct ndk_object *object = request->object;
	unlist(request);
	ex_free(request);
	ndk_busy_put(object);
}

NTSTATUS ndk_request_end(struct ndk_request *request, enum ndk_how how, NTSTATUS status)
{
	if (how == NDK_LATER) {
		ndk_request_complete(request, status);
	} else if (claim(request, status)) {
		ndk_request_run(request);
	}
	return STATUS_PENDING;
}

/* Wrong arguments, the wrong time: returned at once (NDK-54, NDK-58, NDK-140, NDK-148). */
static bool is_refusal(NTSTATUS status)
{
	return status == STATUS_INVALID_PARAMETER || status == STATUS_INVALID_DEVICE_STATE ||
	       status == STATUS_NOT_SUPPORTED;
}

NTSTATUS ndk_request_done(void *object, const void *routine, void *context, NTSTATUS status,
			  uint64_t caller)
{
	enum ndk_how how = is_refusal(status) ? NDK_INLINE : ndk_policy_how(false);
	struct ndk_request *request =
		how == NDK_INLINE ? NULL : ndk_request_pend(object, routine, context, caller);
	return request ? ndk_request_end(request, how, status) : status;
}
