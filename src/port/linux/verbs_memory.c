/* SPDX-License-Identifier: MIT */
/*
 * verbs_memory.c: protection domains, memory regions and windows on a device.
 *
 * NdkRegisterMr is ibv_reg_mr of the process's memory, NdkDeregisterMr ibv_dereg_mr: after it has
 * returned the device moves not one byte (measured: findings, and tests/vm). Small ones the caller
 * does itself, without its baton; the others run on the memory thread.
 *
 * User space has no fast-register request. A fast-register MR is a type 2 window here, whose token
 * is known when the request is posted, and each fast registration a registration of its own, under
 * that window (verbs_work.c); so is each bind of an MW, because soft-RoCE does not keep a window
 * within bounds inside its region. A type 2 window works through the QP only that bound it.
 *
 * Contexts: operations on a baton; jobs on the memory thread or in verbs_call_here, those of
 * fast-register MRs and windows on the data thread. No locks.
 *
 * Chosen: pages that do not lie together in the process cannot be registered as one region with
 * verbs: STATUS_INSUFFICIENT_RESOURCES.
 */
#include <stdio.h>
#include <stdlib.h>
#include "port/linux/verbs_internal.h"

#define REGIONS (1u << 20)
#define SMALL   (64u << 10) /* bytes that are registered in some microseconds */

static struct verbs_pool regions;

bool verbs_memory_start(void)
{
	return verbs_pool_create(&regions, sizeof(struct verbs_region), REGIONS);
}

int verbs_access(uint32_t rights)
{
	int access = 0;
	if (rights & (NDK_RIGHT_LOCAL_WRITE | NDK_RIGHT_REMOTE_WRITE))
		access |= IBV_ACCESS_LOCAL_WRITE;
	if (rights & NDK_RIGHT_REMOTE_READ)
		access |= IBV_ACCESS_REMOTE_READ;
	if (rights & NDK_RIGHT_REMOTE_WRITE)
		access |= IBV_ACCESS_REMOTE_WRITE;
	return access;
}

char *verbs_contiguous(const struct ndk_memory *memory)
{
	for (uint32_t i = 1; i < memory->run_count; i++)
		if (memory->runs[i].base != memory->runs[i - 1].base + memory->runs[i - 1].size)
			return NULL;
	return memory->run_count ? memory->runs[0].base : NULL;
}

/* A device that was taken away has taken its regions and windows with it: EIO. */
static bool is_gone(const struct ibv_context *context, int error)
{
	struct verbs_device *device = verbs_devices;
	while (device->context != context)
		device = device->next;
	return error == EIO && atomic_load(&device->failed);
}

void verbs_dereg(struct ibv_mr *mr)
{
	struct ibv_context *context = mr ? mr->context : NULL;
	int error = mr ? verbs.ibv_dereg_mr(mr) : 0;
	if (!error || is_gone(context, error))
		return;
	/* To go on would let a peer at memory that its owner believes to be its own again. */
	fprintf(stderr, "ketch: the RDMA device does not deregister memory (error %d)\n", error);
	abort();
}

/* ---- Protection domains ---- */

static void pd_make(struct verbs_job *job)
{
	struct verbs_pd *pd = (struct verbs_pd *)job;
	pd->pd = verbs.ibv_alloc_pd(pd->device->context);
	verbs_finish(job, pd->pd ? NDK_SUCCESS : NDK_INSUFFICIENT_RESOURCES);
}

static void pd_made(struct verbs_job *job)
{
	ndk_created(((struct verbs_pd *)job)->object, job->status);
}

int verbs_pd_create(void *object)
{
	struct verbs_pd *pd = ndk_private(object);
	pd->object = object;
	pd->device = verbs_device_of(object);
	pd->job.run = pd_make;
	pd->job.done = pd_made;
	return verbs_call(&verbs_memory, &pd->job);
}

static void pd_unmake(struct verbs_job *job)
{
	verbs_dereg(((struct verbs_pd *)job)->nothing);
	verbs.ibv_dealloc_pd(((struct verbs_pd *)job)->pd);
	verbs_finish(job, NDK_SUCCESS);
}

static void pd_unmade(struct verbs_job *job)
{
	ndk_destroyed(((struct verbs_pd *)job)->object);
}

int verbs_pd_destroy(void *object)
{
	struct verbs_pd *pd = ndk_private(object);
	if (!pd->pd)
		return NDK_SUCCESS;
	pd->job.run = pd_unmake;
	pd->job.done = pd_unmade;
	return verbs_call(&verbs_memory, &pd->job);
}

/* ---- MRs and MWs: made and gone ---- */

static void window_make(struct verbs_job *job)
{
	struct verbs_memory *m = (struct verbs_memory *)job;
	struct verbs_region *region = m->region;
	if (!region->mw)
		region->mw = ibv_alloc_mw(m->pd->pd, IBV_MW_TYPE_2);
	m->token = region->mw ? region->mw->rkey : 0;
	verbs_finish(job, region->mw                               ? NDK_SUCCESS
			  : errno == EOPNOTSUPP || errno == ENOSYS ? NDK_NOT_SUPPORTED
								   : NDK_INSUFFICIENT_RESOURCES);
}

static void region_free(struct verbs_region *region)
{
	atomic_store(&region->lkey, 0);
	atomic_fetch_add(&region->generation, 1);
	verbs_pool_put(&regions, region);
}

static void mw_end(struct verbs_memory *m, int status)
{
	if (status == NDK_SUCCESS)
		ndk_memory_token(m->object, m->token);
	else
		region_free(m->region); /* nobody destroys what was not made */
}

static void mw_made(struct verbs_job *job)
{
	struct verbs_memory *m = (struct verbs_memory *)job;
	mw_end(m, job->status);
	ndk_created(m->object, job->status);
}

int verbs_memory_create(void *object, enum ndk_type type)
{
	struct verbs_memory *m = ndk_private(object);
	m->object = object;
	m->pd = ndk_private(ndk_object_pd(object));
	m->region = verbs_pool_get(&regions);
	if (!m->region)
		return NDK_INSUFFICIENT_RESOURCES;
	m->region->mr = NULL;
	m->region->mw = NULL;
	m->region->bound = NULL;
	m->region->parent = NULL;
	m->region->owner = m;
	m->region->fresh_token = 0;
	if (type == NDK_TYPE_MR)
		return NDK_SUCCESS;
	m->fast = true;
	m->job.run = window_make;
	m->job.done = mw_made;
	int status = verbs_call(&verbs_data, &m->job);
	if (status != NDK_PENDING)
		mw_end(m, status);
	return status;
}

static void tell_token(struct verbs_job *job)
{
	struct verbs_memory *m =
		(struct verbs_memory *)((char *)job - offsetof(struct verbs_memory, renewed));
	ndk_memory_token(m->object, atomic_exchange(&m->region->fresh_token, 0));
}

static void dealloc(struct ibv_mw *mw)
{
	struct ibv_context *context = mw ? mw->context : NULL;
	int error = mw ? ibv_dealloc_mw(mw) : 0;
	if (!error || is_gone(context, error))
		return;
	fprintf(stderr, "ketch: the RDMA device does not free a memory window\n");
	abort();
}

void verbs_region_renew(struct verbs_region *region)
{
	struct verbs_memory *m = region->owner;
	verbs_region_unbind(region);
	dealloc(region->mw);
	atomic_store(&region->lkey, 0);
	verbs_dereg(region->mr);
	region->mr = NULL;
	region->mw = region->mw ? ibv_alloc_mw(m->pd->pd, IBV_MW_TYPE_2) : NULL;
	if (region->mw && !atomic_exchange(&region->fresh_token, region->mw->rkey)) {
		m->renewed.done = tell_token;
		atomic_store(&m->renewed.state, 0);
		verbs_finish(&m->renewed, NDK_SUCCESS);
	}
}

/* On the data thread, which may have the window in a list. */
static void window_unmake(struct verbs_job *job)
{
	struct verbs_memory *m = (struct verbs_memory *)job;
	struct verbs_region *region = m->region;
	verbs_region_unbind(region);
	dealloc(region->mw);
	verbs_dereg(region->mr);
	region_free(region);
	verbs_finish(job, NDK_SUCCESS);
}

static void memory_unmade(struct verbs_job *job)
{
	ndk_destroyed(((struct verbs_memory *)job)->object);
}

int verbs_memory_destroy(void *object, enum ndk_type type)
{
	(void)type;
	struct verbs_memory *m = ndk_private(object);
	if (!m->region)
		return NDK_SUCCESS;
	if (!m->fast && !m->region->mr) {
		region_free(m->region);
		return NDK_SUCCESS;
	}
	m->job.run = window_unmake;
	m->job.done = memory_unmade;
	/* Not waited for: a new token may be on its way to verbs_service. */
	verbs_submit(&verbs_data, &m->job);
	return NDK_PENDING;
}

/* ---- NdkRegisterMr, NdkDeregisterMr ---- */

static int call(struct verbs_memory *m)
{
	return m->length <= SMALL ? verbs_call_here(&m->job) : verbs_call(&verbs_memory, &m->job);
}

static void mr_register(struct verbs_job *job)
{
	struct verbs_memory *m = (struct verbs_memory *)job;
	struct ibv_mr *mr = verbs.ibv_reg_mr_iova(m->pd->pd, m->base, m->length, m->start,
						  verbs_access(m->rights));
	m->region->mr = mr;
	atomic_store(&m->region->lkey, mr ? mr->lkey : 0);
	verbs_finish(job, mr                ? NDK_SUCCESS
			  : errno == EFAULT ? NDK_INVALID_PARAMETER
					    : NDK_INSUFFICIENT_RESOURCES);
}

static void mr_registered(struct verbs_job *job)
{
	struct verbs_memory *m = (struct verbs_memory *)job;
	ndk_mr_registered(m->object, job->status, m->region->mr ? m->region->mr->rkey : 0);
}

int verbs_mr_register(struct ndk_mr *mr, const struct ndk_memory *memory)
{
	struct verbs_memory *m = ndk_private(mr);
	m->base = verbs_contiguous(memory);
	if (!m->base)
		return NDK_INSUFFICIENT_RESOURCES;
	m->start = memory->start;
	m->length = memory->length;
	m->rights = memory->rights;
	m->job.run = mr_register;
	m->job.done = mr_registered;
	int status = call(m);
	/* Some devices have no key for what no peer may reach: then the core's token stays. */
	if (status == NDK_SUCCESS && m->region->mr->rkey)
		ndk_memory_token(mr, m->region->mr->rkey);
	return status;
}

static void mr_deregister(struct verbs_job *job)
{
	struct verbs_memory *m = (struct verbs_memory *)job;
	atomic_store(&m->region->lkey, 0);
	verbs_dereg(m->region->mr);
	m->region->mr = NULL;
	verbs_finish(job, NDK_SUCCESS);
}

static void mr_deregistered(struct verbs_job *job)
{
	ndk_mr_deregistered(((struct verbs_memory *)job)->object);
}

int verbs_mr_deregister(struct ndk_mr *mr)
{
	struct verbs_memory *m = ndk_private(mr);
	m->job.run = mr_deregister;
	m->job.done = mr_deregistered;
	return call(m);
}

/* ---- NdkInitializeFastRegisterMr ---- */

static void mr_initialized(struct verbs_job *job)
{
	struct verbs_memory *m = (struct verbs_memory *)job;
	ndk_mr_initialized(m->object, job->status, m->token);
}

int verbs_mr_initialize(struct ndk_mr *mr, uint32_t pages, bool remote)
{
	(void)pages;
	struct verbs_memory *m = ndk_private(mr);
	m->fast = true;
	if (!remote && !m->token)
		return NDK_SUCCESS; /* never for peers */
	m->job.run = window_make;
	m->job.done = mr_initialized;
	int status = verbs_call(&verbs_data, &m->job);
	if (status == NDK_SUCCESS)
		ndk_memory_token(mr, m->token);
	return status;
}
