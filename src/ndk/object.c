/* SPDX-License-Identifier: MIT */
/*
 * object.c: the life of every NDK object (NDK-75..86).
 *
 * An object lives as long as its `busy` count. Being open is one reference, which the consumer's
 * close gives back; each request, callback, event and successor is another. Whoever gives back the
 * last one ends the object: the provider's part goes, then the close completion is called, and only
 * when that has returned are the antecedents let go, each of which may end in turn. So an
 * antecedent completes after the last successor's completion has returned, whatever order the
 * consumer closed them in (NDK-83), and nothing is called for an object after its close completion
 * (NDK-82). A close cannot fail: its request is part of the object.
 *
 * Contexts and locks: IRQL <= DISPATCH_LEVEL. `ndk_lock` (DISPATCH_LEVEL, innermost) protects the
 * list of all objects and every object's antecedents; nothing is called while it is held.
 *
 * Order: a reference is taken relaxed by who holds one, given back acquire-release, so the last one
 * sees what all others did. Dispatch is written once and never read (NDK-7); the consumer's
 * reserved words are only zeroed (NDK-8).
 *
 * Implements NDK-1, NDK-4..8, NDK-34, NDK-35, NDK-75..86, VER-57, VER-59, VER-63, DEF-3, DEF-85,
 * DEF-86. Chosen: a second close is reported and answered with STATUS_SUCCESS, without a callback;
 * a call on an object whose close has begun is reported and refused with
 * STATUS_INVALID_DEVICE_STATE.
 */
#include "ndk/internal.h"
#include "rtl/rtl.h"

struct ke_lock ndk_lock;
LIST_ENTRY ndk_objects = {&ndk_objects, &ndk_objects};

static const char *name_of(const struct ndk_object *object)
{
	return object->class->name;
}

static bool is_object(const struct ndk_object *object)
{
	return object && object->signature == NDK_SIGNATURE;
}

/* ---- Entry of the consumer's calls ---------------------------------------------------------- */

static __attribute__((noinline)) bool refuse(const struct ndk_object *object, NDK_OBJECT_TYPE type,
					     const char *function, uint64_t caller)
{
	if (!is_object(object) || object->class->type != type)
		vf_report(VF_NdkObject, function, caller, (uint64_t)object,
			  "is called with %p, which is %s%s", object,
			  is_object(object) ? "a " : "no object, or one that is closed",
			  is_object(object) ? name_of(object) : "");
	else
		vf_report(VF_NdkClosed, function, caller, (uint64_t)object,
			  "is called on the %s %p, whose close has begun", name_of(object), object);
	return false;
}

bool ndk_object_enter(const void *pointer, NDK_OBJECT_TYPE type, const char *function,
		      uint64_t caller)
{
	struct ndk_object *object = (struct ndk_object *)pointer;
	if (!is_object(object) || object->class->type != type ||
	    atomic_load_explicit(&object->life, memory_order_relaxed) != NDK_OPEN)
		return refuse(object, type, function, caller);
	if (vf_on()) {
		if (ke_irql() > DISPATCH_LEVEL)
			vf_report(VF_NdkIrql, function, caller, (uint64_t)object,
				  "is called at %s (%u), legal up to DISPATCH_LEVEL",
				  vf_irql_name(ke_irql()), ke_irql());
		ndk_busy_get(object);
		atomic_fetch_add_explicit(&object->calls, 1, memory_order_relaxed);
	}
	return true;
}

void ndk_object_leave(const void *pointer)
{
	struct ndk_object *object = (struct ndk_object *)pointer;
	if (!vf_on())
		return;
	atomic_fetch_sub_explicit(&object->calls, 1, memory_order_relaxed);
	ndk_busy_put(object);
}

/* ---- Making -------------------------------------------------------------------------------- */

static void close_run(struct ndk_delivery *delivery);

bool ndk_object_private(struct ndk_object *object)
{
	size_t size = object->adapter->device->provider->private_size[object->class->type];
	if (!size)
		return true;
	object->provider_data = ex_allocate(size, NDK_TAG, NonPagedPoolNx);
	return object->provider_data != NULL;
}

void *ndk_object_allocate(const struct ndk_class *class, struct ndk_object *parent, uint64_t caller)
{
	struct ndk_object *object = ex_allocate(class->size, NDK_TAG, NonPagedPoolNx);
	if (!object)
		return NULL;
	object->class = class;
	object->caller = caller;
	object->header.ObjectType = class->type;
	object->dispatch = class->dispatch;
	atomic_init(&object->busy, 1);
	InitializeListHead(&object->all);
	InitializeListHead(&object->pending);
	ndk_delivery_initialize(&object->close.delivery, close_run);
	object->close.object = object;
	object->close.kind = NDK_CLOSE;
	if (!parent)
		return object; /* an adapter: fills the rest itself */
	object->adapter = parent->adapter;
	object->header.Version = object->adapter->info.Version;
	if (!ndk_object_private(object)) {
		ex_free(object);
		return NULL;
	}
	ndk_busy_get(parent);
	object->antecedents[0] = parent;
	return object;
}

void ndk_object_publish(struct ndk_object *object)
{
	KIRQL old = ke_lock_raise(&ndk_lock);
	InsertTailList(&ndk_objects, &object->all);
	ke_lock_lower(&ndk_lock, old);
	object->signature = NDK_SIGNATURE;
	object->published = true;
	atomic_store_explicit(&object->life, NDK_OPEN, memory_order_release);
}

/* The object goes to the consumer, unless it could not be made. */
static void finish_creation(struct ndk_request *request)
{
	struct ndk_object *object = (struct ndk_object *)(uintptr_t)request->argument;
	if (NT_SUCCESS(request->status)) {
		ndk_object_publish(object);
		request->result = object;
	} else {
		ndk_object_discard(object);
	}
}

/* The provider's part: NDK_PENDING goes on in ndk_created. */
static int make(struct ndk_object *object, const void *parameters)
{
	const struct ndk_provider *provider = object->adapter->device->provider;
	int status = NDK_SUCCESS;
	if (provider->create)
		status = provider->create(object, (enum ndk_type)object->class->type, parameters);
	if (status == NDK_SUCCESS)
		object->made = true;
	return status;
}

NTSTATUS ndk_create_done(void *pointer, const void *parameters, enum ndk_function function,
			 NDK_FN_CREATE_COMPLETION *routine, void *context, void **out)
{
	struct ndk_object *object = pointer;
	enum ndk_how how = ndk_policy_how(false);
	struct ndk_request *request = NULL;
	NTSTATUS status;
	/* A provider may go on later, so there must be a request for it in any case. */
	bool needed = how != NDK_INLINE || object->adapter->device->provider->create;
	if (needed) {
		request =
			ndk_request_pend(object->antecedents[0], routine, context, object->caller);
		if (!request) {
			ndk_object_discard(object);
			return STATUS_INSUFFICIENT_RESOURCES;
		}
		request->kind = NDK_CREATE;
		request->finish = finish_creation;
		request->argument = (uintptr_t)object;
		object->creation = request;
	}
	if (!ndk_must_fail(function, &status))
		status = make(object, parameters);
	if (status == NDK_PENDING)
		return STATUS_PENDING;
	if (how != NDK_INLINE)
		return ndk_request_end(request, how, status);
	if (request)
		ndk_request_discard(request);
	if (!NT_SUCCESS(status)) {
		ndk_object_discard(object);
		return status;
	}
	ndk_object_publish(object);
	*out = object;
	return STATUS_SUCCESS;
}

void ndk_created(void *pointer, int status)
{
	struct ndk_object *object = pointer;
	object->made = status == NDK_SUCCESS;
	ndk_request_complete(object->creation, status);
}

/* ---- References ------------------------------------------------------------------------------ */

static void end(struct ndk_object *object);

bool ndk_busy_try(struct ndk_object *object)
{
	uint32_t busy = atomic_load_explicit(&object->busy, memory_order_relaxed);
	do {
		if (!busy)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		&object->busy, &busy, busy + 1, memory_order_acquire, memory_order_relaxed));
	return true;
}

void ndk_busy_put(struct ndk_object *object)
{
	/* Acquires what the others released by the same step. */
	if (atomic_fetch_sub_explicit(&object->busy, 1, memory_order_acq_rel) == 1)
		end(object);
}

bool ndk_antecedent_add(void *successor, void *antecedent)
{
	struct ndk_object *object = successor;
	bool added = false;
	KIRQL old = ke_lock_raise(&ndk_lock);
	for (unsigned i = 0; i < NDK_ANTECEDENTS && !added; i++) {
		if (object->antecedents[i])
			continue;
		object->antecedents[i] = antecedent;
		added = true;
	}
	if (added)
		ndk_busy_get(antecedent);
	ke_lock_lower(&ndk_lock, old);
	return added;
}

void ndk_antecedent_drop(void *successor, void *antecedent)
{
	struct ndk_object *object = successor;
	bool dropped = false;
	KIRQL old = ke_lock_raise(&ndk_lock);
	for (unsigned i = 0; i < NDK_ANTECEDENTS && !dropped; i++) {
		if (object->antecedents[i] != antecedent)
			continue;
		object->antecedents[i] = NULL;
		dropped = true;
	}
	ke_lock_lower(&ndk_lock, old);
	if (dropped)
		ndk_busy_put(antecedent);
}

/* ---- Closing --------------------------------------------------------------------------------- */

/* Nothing will be called for it any more: let go what it kept alive, and the memory. */
static void release(struct ndk_object *object)
{
	struct ndk_object *antecedents[NDK_ANTECEDENTS];
	KIRQL old = ke_lock_raise(&ndk_lock);
	RemoveEntryList(&object->all);
	memcpy(antecedents, object->antecedents, sizeof antecedents);
	ke_lock_lower(&ndk_lock, old);
	object->signature = NDK_SIGNATURE_GONE;
	ex_free(object->provider_data);
	if (object->class->release)
		object->class->release(object);
	else
		ex_free(object);
	for (unsigned i = 0; i < NDK_ANTECEDENTS; i++) {
		if (antecedents[i])
			ndk_busy_put(antecedents[i]);
	}
}

static void close_run(struct ndk_delivery *delivery)
{
	struct ndk_request *request = CONTAINING_RECORD(delivery, struct ndk_request, delivery);
	ndk_request_run(request);
	release(request->object);
}

/* The last reference is gone. True: so is the provider's part; else ndk_destroyed comes. */
static bool unmake(struct ndk_object *object)
{
	const struct ndk_provider *provider = object->adapter->device->provider;
	atomic_store_explicit(&object->life, NDK_GONE, memory_order_relaxed);
	if (!object->made || !provider->destroy)
		return true;
	return provider->destroy(object, (enum ndk_type)object->class->type) != NDK_PENDING;
}

/* ... and tell who closed it. */
static void finish(struct ndk_object *object)
{
	if (object->class->destroy)
		object->class->destroy(object);
	if (object->published && object->close.routine)
		ndk_delivery_queue(&object->close.delivery, NDK_LEVEL_ANY);
	else
		release(object);
}

static void end(struct ndk_object *object)
{
	if (unmake(object))
		finish(object);
}

void ndk_destroyed(void *object)
{
	finish(object);
}

void ndk_object_discard(void *object)
{
	ndk_busy_put(object);
}

/* The oldest request on an object whose callback has not begun, and how many there are. */
struct pending {
	unsigned count;
	uint64_t caller;
	const char *function, *created; /* one of the two */
};

static struct pending pending_of(const struct ndk_object *object)
{
	struct pending pending = {0};
	KIRQL old = ke_lock_raise(&ndk_lock);
	for (LIST_ENTRY *e = object->pending.Flink; e != &object->pending; e = e->Flink) {
		const struct ndk_request *request = CONTAINING_RECORD(e, struct ndk_request, entry);
		if (pending.count++)
			continue;
		pending.caller = request->caller;
		if (request->kind == NDK_CREATE)
			pending.created = name_of((const struct ndk_object *)request->argument);
		else
			pending.function = request->function;
	}
	ke_lock_lower(&ndk_lock, old);
	return pending;
}

static void report_pending(const struct ndk_object *object, const struct pending *pending,
			   uint64_t caller)
{
	char where[48], state[48] = "", more[24] = "";
	if (!vf_address_where(pending->caller, where, sizeof where))
		rtl_print(where, sizeof where, "%p", (void *)pending->caller);
	if (object->class->describe)
		object->class->describe(object, state, sizeof state);
	if (pending->count > 1)
		rtl_print(more, sizeof more, ", and %u more", pending->count - 1);
	vf_report(VF_NdkCloseBusy, "NdkCloseObject", caller, (uint64_t)object,
		  "closes the %s %p%s, while %s%s from %s is pending%s", name_of(object), object,
		  state, pending->created ? "the creation of a " : "",
		  pending->created    ? pending->created
		  : pending->function ? pending->function
				      : "a request",
		  where, more);
}

/* Why this is no moment for a close (VER-57, NDK-80). */
static void check_close(const struct ndk_object *object, const void *completion, uint64_t caller)
{
	static const char function[] = "NdkCloseObject";
	struct pending pending = pending_of(object);
	uint32_t calls = atomic_load_explicit(&object->calls, memory_order_relaxed);
	if (ke_irql() > DISPATCH_LEVEL)
		vf_report(VF_NdkIrql, function, caller, (uint64_t)object,
			  "is called at %s (%u), legal up to DISPATCH_LEVEL",
			  vf_irql_name(ke_irql()), ke_irql());
	if (!completion)
		vf_report(VF_NdkCompletion, function, caller, (uint64_t)object,
			  "closes the %s %p without a completion routine", name_of(object), object);
	else
		ndk_check_routine(object, "close completion", completion, caller);
	if (pending.count && !object->class->close_cancels)
		report_pending(object, &pending, caller);
	else if (calls && !ndk_in_callback())
		vf_report(VF_NdkCloseBusy, function, caller, (uint64_t)object,
			  "closes the %s %p while %u calls on it run", name_of(object), object,
			  calls);
}

/*
 * Close an object of any kind but an adapter. IRQL <= DISPATCH_LEVEL. STATUS_PENDING: the
 * completion is called when nothing is under way any more and all successors are closed;
 * STATUS_SUCCESS: it is closed, no completion. (NDK-34, NDK-75, NDK-81..86)
 */
NTSTATUS NTAPI ndk_close(NDK_OBJECT_HEADER *header, NDK_FN_CLOSE_COMPLETION *completion,
			 void *context)
{
	struct ndk_object *object = (struct ndk_object *)header;
	uint64_t caller = NDK_CALLER();
	uint32_t open = NDK_OPEN;
	if (!is_object(object) || object->class->type == NdkObjectTypeAdapter) {
		vf_report(VF_NdkObject, "NdkCloseObject", caller, (uint64_t)object,
			  "is called with %p, which is no object that it can close", object);
		return STATUS_SUCCESS;
	}
	if (!atomic_compare_exchange_strong_explicit(&object->life, &open, NDK_CLOSING,
						     memory_order_acq_rel, memory_order_relaxed)) {
		vf_report(VF_NdkClosed, "NdkCloseObject", caller, (uint64_t)object,
			  "closes the %s %p a second time", name_of(object), object);
		return STATUS_SUCCESS;
	}
	if (vf_on())
		check_close(object, completion, caller);
	enum ndk_how how = ndk_policy_how(true);
	object->close.closed = completion;
	object->close.caller = caller;
	object->close.context = context;
	if (object->class->begin_close)
		object->class->begin_close(object);
	if (atomic_fetch_sub_explicit(&object->busy, 1, memory_order_acq_rel) != 1)
		return STATUS_PENDING;
	if (!unmake(object))
		return STATUS_PENDING;
	if (how == NDK_LATER) {
		finish(object);
		return STATUS_PENDING;
	}
	if (object->class->destroy)
		object->class->destroy(object);
	if (how == NDK_NESTED)
		ndk_request_run(&object->close);
	release(object);
	return how == NDK_NESTED ? STATUS_PENDING : STATUS_SUCCESS;
}

/* No standard interfaces exist (NDK-16). IRQL <= DISPATCH_LEVEL. STATUS_NOT_SUPPORTED. (NDK-35) */
NTSTATUS NTAPI ndk_query_extension(NDK_OBJECT_HEADER *object, CONST GUID *id, NDK_VERSION version,
				   NDK_EXTENSION_INTERFACE *interface)
{
	(void)id;
	(void)version;
	(void)interface;
	static const char function[] = "NdkQueryExtension";
	const struct ndk_object *asked = (struct ndk_object *)object;
	NDK_OBJECT_TYPE type = is_object(asked) ? asked->class->type : NdkObjectTypeUndefined;
	if (!ndk_object_enter(object, type, function, NDK_CALLER()))
		return STATUS_INVALID_DEVICE_STATE;
	ndk_object_leave(object);
	return STATUS_NOT_SUPPORTED;
}
