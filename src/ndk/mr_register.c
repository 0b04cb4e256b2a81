/* SPDX-License-Identifier: MIT */
/*
 * mr_register.c: registration and deregistration of memory regions, initialisation for fast
 * registers.
 *
 * What may happen when is mr_state.c's table; who may touch the bytes is region.c's gate. A
 * registration fills a slot and opens its gate just before it is reported; a deregistration closes
 * the gate first, waits for the piece that each access is at, then lets the provider end its part:
 * only then is it reported, whatever the completion policy says.
 *
 * Contexts and locks: IRQL <= DISPATCH_LEVEL. The state word is stepped by compare and swap, and
 * who took a step owns the fields until the next one; no lock otherwise.
 *
 * Implements NDK-49..51, NDK-121, NDK-122, NDK-125, NDK-128, NDK-129, NDK-132, DEF-90, DEF-96,
 * DEF-97, VER-60. Chosen: deregistration with bound windows is refused with STATUS_DEVICE_BUSY; one
 * while requests are at work is advised against, and waits; a parameter error is always inline.
 */
#include "ndk/mr.h"
#include "rtl/rtl.h"

/* A call that the state table refused (VER-60). */
static __attribute__((noinline)) void refused(const struct ndk_mr *mr, enum ndk_mr_event event,
					      const char *function, uint64_t caller,
					      NTSTATUS status)
{
	uint32_t state = atomic_load_explicit(&mr->state, memory_order_relaxed);
	enum vf_rule rule = event != NDK_MR_DEREGISTER           ? VF_NdkMrState
			    : status == STATUS_INVALID_PARAMETER ? VF_NdkMrFastDeregister
								 : VF_NdkMrDeregister;
	vf_report(rule, function, caller, (uint64_t)mr,
		  "is called on the memory region %p (token 0x%08x), made for %s registration, "
		  "which is %s",
		  mr, atomic_load(&mr->remote_token), mr->fast ? "fast" : "normal",
		  ndk_mr_state_name(state));
}

/* ---- Registration ---------------------------------------------------------------------------- */

#define MR_FLAGS                                                                                   \
	(NDK_MR_FLAG_ALLOW_REMOTE_WRITE | NDK_MR_FLAG_ALLOW_REMOTE_READ |                          \
	 NDK_MR_FLAG_RDMA_READ_SINK)

static unsigned rights_of(ULONG flags)
{
	unsigned rights = NDK_RIGHT_LOCAL_READ;
	if (flags & NDK_MR_FLAG_ALLOW_REMOTE_WRITE)
		rights |= NDK_RIGHT_LOCAL_WRITE;
	if (flags & (NDK_MR_FLAG_ALLOW_REMOTE_WRITE & ~NDK_MR_FLAG_ALLOW_LOCAL_WRITE))
		rights |= NDK_RIGHT_REMOTE_WRITE;
	if (flags & NDK_MR_FLAG_ALLOW_REMOTE_READ)
		rights |= NDK_RIGHT_REMOTE_READ;
	if (flags & NDK_MR_FLAG_RDMA_READ_SINK)
		rights |= NDK_RIGHT_READ_SINK;
	return rights;
}

void ndk_memory_clear(struct ndk_memory *memory, struct ndk_run *run)
{
	if (memory->runs != run)
		ex_free((void *)memory->runs);
	*memory = (struct ndk_memory){0};
}

void ndk_mr_clear(struct ndk_mr *mr)
{
	if (mr->region)
		ndk_region_give(mr->region);
	mr->region = NULL;
	ex_free(mr->pages);
	mr->pages = NULL;
	ndk_memory_clear(&mr->memory, &mr->run);
	atomic_store_explicit(&mr->remote_token, 0, memory_order_relaxed);
}

NTSTATUS ndk_memory_list(struct ndk_memory *memory, const struct ndk_backing *backing,
			 uint64_t offset, struct ndk_run *run)
{
	unsigned count = ndk_backing_runs(backing, offset, memory->length, run, 1);
	struct ndk_run *runs = run;
	if (count > 1) {
		runs = ex_allocate(count * sizeof *runs, NDK_TAG, NonPagedPoolNx);
		if (!runs)
			return STATUS_INSUFFICIENT_RESOURCES;
		ndk_backing_runs(backing, offset, memory->length, runs, count);
	}
	memory->runs = runs;
	memory->run_count = count;
	return STATUS_SUCCESS;
}

/* All checks, and all that is needed to open it. The state is P1. */
static NTSTATUS prepare(struct ndk_mr *mr, MDL *mdl, SIZE_T length, ULONG flags, uint64_t caller)
{
	struct ndk_backing backing;
	bool unlocked = false;
	const struct ndk_provider *provider = mr->object.adapter->device->provider;
	if ((flags & ~(ULONG)MR_FLAGS) || length > mr->object.adapter->info.MaxRegistrationSize)
		return STATUS_INVALID_PARAMETER;
	NTSTATUS status = ndk_backing_of_mdl(mdl, length, &backing, &unlocked);
	if (unlocked)
		vf_report(VF_NdkPages, "NdkRegisterMr", caller, (uint64_t)mdl,
			  "registers the MDL %p, whose pages are not locked (flags 0x%04x)", mdl,
			  (USHORT)mdl->MdlFlags);
	if (!NT_SUCCESS(status))
		return status;
	mr->pages = backing.pages;
	mr->memory.start = (uint64_t)MmGetMdlVirtualAddress(mdl);
	mr->memory.length = length;
	mr->memory.rights = rights_of(flags);
	mr->region = ndk_region_take();
	status = mr->region ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
	if (NT_SUCCESS(status) && provider->mr_register)
		status = ndk_memory_list(&mr->memory, &backing, 0, &mr->run);
	if (!NT_SUCCESS(status)) {
		ndk_mr_clear(mr);
		return status;
	}
	ndk_region_set(mr->region, &mr->object, mr->pd, mr->memory.start, length, mr->memory.rights,
		       &backing);
	mr->memory.remote_token = ndk_region_token(mr->region);
	if (vf_on())
		ndk_mr_source_remember(mr, mdl, length, caller);
	return STATUS_SUCCESS;
}

/* P1 ends: peers can get at the bytes, or it was nothing. */
static void end_registration(struct ndk_mr *mr, NTSTATUS status, ULONG pages, bool remote)
{
	(void)pages;
	(void)remote;
	if (!NT_SUCCESS(status)) {
		ndk_mr_source_forget(mr);
		ndk_mr_clear(mr);
		ndk_mr_step(&mr->state, NDK_MR_REGISTER_FAILED);
		return;
	}
	atomic_store_explicit(&mr->remote_token, mr->memory.remote_token, memory_order_relaxed);
	if (!ndk_closing(&mr->object))
		ndk_region_open(mr->region);
	ndk_mr_step(&mr->state, NDK_MR_REGISTER_DONE);
}

static void finish_registration(struct ndk_request *request)
{
	if (vf_on())
		ndk_mr_source_check((struct ndk_mr *)request->object);
	end_registration((struct ndk_mr *)request->object, request->status, 0, false);
}

/* What a function of an MR does after its checks: have the provider do its part, if it has one, and
 * end it as the policy says. */
struct ndk_mr_operation {
	void (*begin)(struct ndk_mr *mr, const struct ndk_mr_operation *operation); /* 0: nothing */
	int (*provide)(struct ndk_mr *mr, const struct ndk_mr_operation *operation);
	void (*end)(struct ndk_mr *mr, NTSTATUS status, ULONG pages, bool remote);
	void (*finish)(struct ndk_request *request); /* calls `end` */
	NDK_FN_REQUEST_COMPLETION *completion;
	void *context;
	const char *function;
	uint64_t caller;
	ULONG pages; /* initialisation */
	bool remote;
};

static NTSTATUS carry_out(struct ndk_mr *mr, NTSTATUS status,
			  const struct ndk_mr_operation *operation)
{
	enum ndk_how how = ndk_policy_how(false);
	struct ndk_request *request = NULL;
	if (how != NDK_INLINE || operation->provide) {
		request = ndk_request_pend(mr, operation->completion, operation->context,
					   operation->caller);
		if (!request) {
			operation->end(mr, STATUS_INSUFFICIENT_RESOURCES, 0, false);
			return STATUS_INSUFFICIENT_RESOURCES;
		}
		request->finish = operation->finish;
		request->function = operation->function;
		request->argument = (uint64_t)operation->remote << 32 | operation->pages;
		mr->request = request;
	}
	if (NT_SUCCESS(status) && operation->begin)
		operation->begin(mr, operation);
	if (NT_SUCCESS(status) && operation->provide) {
		KIRQL old = ke_irql_raise(DISPATCH_LEVEL); /* provider.h */
		status = operation->provide(mr, operation);
		ke_irql_lower(old);
	}
	if (status == STATUS_PENDING)
		return STATUS_PENDING;
	if (how != NDK_INLINE)
		return ndk_request_end(request, how, status);
	if (request)
		ndk_request_discard(request);
	operation->end(mr, status, operation->pages, operation->remote);
	return status;
}

static int provide_registration(struct ndk_mr *mr, const struct ndk_mr_operation *operation)
{
	(void)operation;
	return mr->object.adapter->device->provider->mr_register(mr, &mr->memory);
}

void ndk_mr_registered(struct ndk_mr *mr, int status, uint32_t remote_token)
{
	if (status == NDK_SUCCESS && remote_token)
		mr->memory.remote_token = remote_token;
	ndk_request_complete(mr->request, status);
}

/*
 * Register what an MDL chain describes. IRQL <= DISPATCH_LEVEL. Length in bytes; Flags
 * NDK_MR_FLAG_*. STATUS_SUCCESS, STATUS_PENDING; STATUS_INVALID_PARAMETER: flags, length, chain,
 * MDL not locked, or an MR made for fast registration; STATUS_INVALID_DEVICE_STATE: not the time;
 * STATUS_NOT_SUPPORTED: memory of a user process; STATUS_INSUFFICIENT_RESOURCES. (NDK-49, NDK-121)
 */
NTSTATUS NTAPI ndk_register_mr(NDK_MR *pNdkMr, MDL *Mdl, SIZE_T Length, ULONG Flags,
			       NDK_FN_REQUEST_COMPLETION *RequestCompletion, PVOID RequestContext)
{
	static const char function[] = "NdkRegisterMr";
	struct ndk_mr *mr = (struct ndk_mr *)pNdkMr;
	uint64_t caller = NDK_CALLER();
	if (!ndk_object_enter(mr, NdkObjectTypeMr, function, caller))
		return STATUS_INVALID_DEVICE_STATE;
	NTSTATUS failure = STATUS_SUCCESS, status = ndk_mr_step(&mr->state, NDK_MR_REGISTER);
	if (!NT_SUCCESS(status)) {
		refused(mr, NDK_MR_REGISTER, function, caller, status);
		goto out;
	}
	status = prepare(mr, Mdl, Length, Flags, caller);
	if (!NT_SUCCESS(status)) {
		ndk_mr_step(&mr->state, NDK_MR_REGISTER_FAILED);
		goto out;
	}
	ndk_must_fail(NDK_FUNCTION_RegisterMr, &failure);
	struct ndk_mr_operation operation = {
		.end = end_registration,
		.finish = finish_registration,
		.completion = RequestCompletion,
		.context = RequestContext,
		.function = function,
		.caller = caller,
	};
	if (mr->object.adapter->device->provider->mr_register)
		operation.provide = provide_registration;
	status = carry_out(mr, failure, &operation);
out:
	ndk_object_leave(mr);
	return status;
}

/* ---- Deregistration -------------------------------------------------------------------------- */

/* P2 ends. Nobody has been able to reach the bytes since it began. */
static void end_deregistration(struct ndk_mr *mr, NTSTATUS status, ULONG pages, bool remote)
{
	(void)pages;
	(void)remote;
	if (!NT_SUCCESS(status)) { /* on demand, before anything was done */
		ndk_mr_step(&mr->state, NDK_MR_DEREGISTER_FAILED);
		return;
	}
	ndk_mr_clear(mr);
	ndk_mr_step(&mr->state, NDK_MR_DEREGISTER_DONE);
}

static void finish_deregistration(struct ndk_request *request)
{
	end_deregistration((struct ndk_mr *)request->object, request->status, 0, false);
}

static int provide_deregistration(struct ndk_mr *mr, const struct ndk_mr_operation *operation)
{
	(void)operation;
	return mr->object.adapter->device->provider->mr_deregister(mr);
}

void ndk_mr_deregistered(struct ndk_mr *mr)
{
	ndk_request_complete(mr->request, STATUS_SUCCESS);
}

/* Close the gate: from here on every access is refused, and those under way have ended. */
static void shut(struct ndk_mr *mr, const struct ndk_mr_operation *operation)
{
	char what[100] = "requests use";
	bool used = vf_on() && ndk_mr_posted(mr, what, sizeof what);
	ndk_mr_source_forget(mr);
	used |= ndk_region_close(mr->region);
	if (used)
		vf_report(VF_NdkMrBusy, "NdkDeregisterMr", operation->caller, (uint64_t)mr,
			  "deregisters the memory region %p (token 0x%08x) while %s it", mr,
			  atomic_load(&mr->remote_token), what);
}

/*
 * Deregister. IRQL <= DISPATCH_LEVEL. STATUS_SUCCESS, or STATUS_PENDING and the completion: from
 * then on no peer and no request in flight reads or writes one byte of it.
 * STATUS_INVALID_DEVICE_STATE: not registered; STATUS_INVALID_PARAMETER: an MR made for fast
 * registration; STATUS_DEVICE_BUSY: a window is bound to it. (NDK-50, NDK-129)
 */
NTSTATUS NTAPI ndk_deregister_mr(NDK_MR *pNdkMr, NDK_FN_REQUEST_COMPLETION *RequestCompletion,
				 PVOID RequestContext)
{
	static const char function[] = "NdkDeregisterMr";
	struct ndk_mr *mr = (struct ndk_mr *)pNdkMr;
	uint64_t caller = NDK_CALLER();
	if (!ndk_object_enter(mr, NdkObjectTypeMr, function, caller))
		return STATUS_INVALID_DEVICE_STATE;
	NTSTATUS failure = STATUS_SUCCESS, status = ndk_mr_step(&mr->state, NDK_MR_DEREGISTER);
	if (!NT_SUCCESS(status)) {
		refused(mr, NDK_MR_DEREGISTER, function, caller, status);
		goto out;
	}
	if (atomic_load(&mr->windows)) {
		vf_report(VF_NdkMrBound, function, caller, (uint64_t)mr,
			  "deregisters the memory region %p (token 0x%08x), to which windows are "
			  "bound",
			  mr, atomic_load(&mr->remote_token));
		ndk_mr_step(&mr->state, NDK_MR_DEREGISTER_FAILED);
		status = STATUS_DEVICE_BUSY;
		goto out;
	}
	struct ndk_mr_operation operation = {
		.begin = shut,
		.end = end_deregistration,
		.finish = finish_deregistration,
		.completion = RequestCompletion,
		.context = RequestContext,
		.function = function,
		.caller = caller,
	};
	ndk_must_fail(NDK_FUNCTION_DeregisterMr, &failure);
	if (mr->object.adapter->device->provider->mr_deregister)
		operation.provide = provide_deregistration;
	status = carry_out(mr, failure, &operation);
out:
	ndk_object_leave(mr);
	return status;
}

/* ---- Initialisation for fast registers ------------------------------------------------------- */

static void end_initialization(struct ndk_mr *mr, NTSTATUS status, ULONG pages, bool remote)
{
	if (!NT_SUCCESS(status)) {
		ndk_mr_step(&mr->state,
			    mr->pages_most ? NDK_MR_REINITIALIZE_FAILED : NDK_MR_INITIALIZE_FAILED);
		return;
	}
	mr->pages_most = pages;
	mr->remote_access = remote;
	mr->effective = NDK_MR_INITIALIZED;
	if (!atomic_load_explicit(&mr->remote_token, memory_order_relaxed))
		atomic_store_explicit(&mr->remote_token, ndk_region_token(mr->region),
				      memory_order_relaxed);
	ndk_mr_step(&mr->state, NDK_MR_INITIALIZE_DONE);
}

static void finish_initialization(struct ndk_request *request)
{
	end_initialization((struct ndk_mr *)request->object, request->status,
			   (ULONG)request->argument, request->argument >> 32);
}

static int provide_initialization(struct ndk_mr *mr, const struct ndk_mr_operation *operation)
{
	return mr->object.adapter->device->provider->mr_initialize(mr, operation->pages,
								   operation->remote);
}

void ndk_mr_initialized(struct ndk_mr *mr, int status, uint32_t remote_token)
{
	if (status == NDK_SUCCESS && remote_token)
		atomic_store_explicit(&mr->remote_token, remote_token, memory_order_relaxed);
	ndk_request_complete(mr->request, status);
}

/* The next step; not while an invalidation is posted that has not been carried out: the region is
 * open until then. */
static NTSTATUS begin_initialization(struct ndk_mr *mr)
{
	KIRQL old = ke_lock_raise(&mr->lock);
	NTSTATUS status = mr->posted ? STATUS_INVALID_DEVICE_STATE
				     : ndk_mr_step(&mr->state, NDK_MR_INITIALIZE);
	ke_lock_lower(&mr->lock, old);
	return status;
}

/*
 * Get a region ready for fast registers of up to AdapterPageCount pages; may be repeated while it
 * is not registered. IRQL <= DISPATCH_LEVEL. STATUS_SUCCESS, STATUS_PENDING;
 * STATUS_IMPLEMENTATION_LIMIT: more pages than the adapter's FRMRPageCount;
 * STATUS_INVALID_PARAMETER: no pages, or an MR not made for fast registration;
 * STATUS_INVALID_DEVICE_STATE: it is registered, or its invalidation has not completed;
 * STATUS_INSUFFICIENT_RESOURCES. (NDK-51, NDK-125)
 */
NTSTATUS NTAPI ndk_initialize_fast_register_mr(NDK_MR *pNdkMr, ULONG AdapterPageCount,
					       BOOLEAN RemoteAccess,
					       NDK_FN_REQUEST_COMPLETION *RequestCompletion,
					       PVOID RequestContext)
{
	static const char function[] = "NdkInitializeFastRegisterMr";
	struct ndk_mr *mr = (struct ndk_mr *)pNdkMr;
	uint64_t caller = NDK_CALLER();
	if (!ndk_object_enter(mr, NdkObjectTypeMr, function, caller))
		return STATUS_INVALID_DEVICE_STATE;
	const struct ndk_provider *provider = mr->object.adapter->device->provider;
	NTSTATUS failure = STATUS_SUCCESS, status;
	if (!AdapterPageCount || AdapterPageCount > mr->object.adapter->info.FRMRPageCount) {
		status = AdapterPageCount ? STATUS_IMPLEMENTATION_LIMIT : STATUS_INVALID_PARAMETER;
		goto out;
	}
	status = begin_initialization(mr);
	if (!NT_SUCCESS(status)) {
		refused(mr, NDK_MR_INITIALIZE, function, caller, status);
		goto out;
	}
	if (!mr->region)
		mr->region = ndk_region_take();
	if (!mr->region) {
		ndk_mr_step(&mr->state, NDK_MR_INITIALIZE_FAILED);
		status = STATUS_INSUFFICIENT_RESOURCES;
		goto out;
	}
	ndk_must_fail(NDK_FUNCTION_InitializeFastRegisterMr, &failure);
	struct ndk_mr_operation operation = {
		.provide = provider->mr_initialize ? provide_initialization : NULL,
		.end = end_initialization,
		.finish = finish_initialization,
		.completion = RequestCompletion,
		.context = RequestContext,
		.function = function,
		.caller = caller,
		.pages = AdapterPageCount,
		.remote = RemoteAccess,
	};
	status = carry_out(mr, failure, &operation);
out:
	ndk_object_leave(mr);
	return status;
}
