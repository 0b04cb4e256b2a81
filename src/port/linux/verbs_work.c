/* SPDX-License-Identifier: MIT */
/*
 * verbs_work.c: posting. A request becomes a node on the poster's baton: its scatter/gather
 * elements are looked up in the core's table, what changes a region is applied there. The data
 * thread then posts the node to the device, in order, and verbs_poll.c sees it come back.
 *
 * What verbs cannot do is done by the data thread when the node's turn comes: a fast registration
 * or bind registers the memory (ibv_reg_mr) and binds the type 2 window to it; without remote
 * rights there is no window, and the node is done when those before it are.
 *
 * Contexts: verbs_data_operations on a baton, <= DISPATCH_LEVEL; all else on the data thread, which
 * alone touches queues, windows and nodes. No locks.
 *
 * Chosen: a local element that may not be accessed fails as one of the peer's would: inline
 * success, completion with STATUS_ACCESS_VIOLATION, the connection broken (NDK-109a). Memory under
 * the privileged token is registered for the one request.
 */
#include <string.h>
#include "port/linux/verbs_work.h"

#define NODES (1u << 18)

static struct verbs_pool nodes;

bool verbs_nodes_start(void)
{
	return verbs_pool_create(&nodes, sizeof(struct verbs_node), NODES);
}

/* ---- On the poster's baton ---- */

static struct verbs_node *node_get(enum verbs_kind kind)
{
	struct verbs_node *node = verbs_pool_get(&nodes);
	if (!node)
		return NULL;
	memset(node, 0, offsetof(struct verbs_node, sges));
	node->region = node->parent = NULL;
	node->leaves = NULL;
	node->kind = kind;
	return node;
}

static bool add_sge(struct verbs_node *node, uint64_t address, uint32_t length,
		    struct verbs_region *region)
{
	if (node->sge_count == VERBS_SGES)
		return false;
	unsigned i = node->sge_count++;
	node->sges[i].address = address;
	node->sges[i].length = length;
	node->sges[i].region = region;
	node->sges[i].generation = region ? atomic_load(&region->generation) : 0;
	node->sges[i].temporary = NULL;
	return true;
}

/* Find what the elements are. False: one of them may not be accessed. */
static bool resolve(struct verbs_node *node, struct ndk_pd *pd, const struct ndk_sge *sge,
		    uint32_t count, enum ndk_right right)
{
	for (uint32_t i = 0; i < count; i++) {
		struct ndk_run runs[VERBS_SGES];
		struct ndk_mr *mr = NULL;
		if (!sge[i].length)
			continue;
		unsigned found = ndk_local_lookup(pd, sge[i].token, sge[i].address, sge[i].length,
						  right, &mr, runs, VERBS_SGES);
		if (!found)
			return false;
		if (mr) {
			struct verbs_memory *memory = ndk_private(mr);
			if (!add_sge(node, sge[i].address, sge[i].length, memory->region))
				return false;
			continue;
		}
		if (found > VERBS_SGES)
			return false;
		for (unsigned r = 0; r < found; r++)
			if (!add_sge(node, (uint64_t)runs[r].base, (uint32_t)runs[r].size, NULL))
				return false;
	}
	return true;
}

/* The region or window that a request changes; changed in the core's table now, so that what is
 * posted next finds it so. */
static int resolve_change(struct verbs_node *node, struct ndk_work *work)
{
	struct ndk_change *change = work->change;
	const struct ndk_memory *memory = ndk_change_memory(change);
	struct verbs_memory *object = ndk_private(ndk_change_object(change));
	node->region = object->region;
	node->generation = atomic_load(&object->region->generation);
	if (memory) {
		struct verbs_memory *from = ndk_private(ndk_change_region(change));
		if (from != object)
			node->parent = from->region;
		node->base = verbs_contiguous(memory);
		node->start = memory->start;
		node->length = memory->length;
		node->rights = memory->rights;
		node->remote_token = memory->remote_token;
	}
	int status = ndk_change_apply_early(change);
	if (status == NDK_SUCCESS && memory && !node->base)
		node->base = ndk_change_base(change);
	return status;
}

static int post(struct ndk_qp *object, struct ndk_work *work)
{
	struct verbs_qp *qp = ndk_private(object);
	const struct ndk_memory *memory = work->change ? ndk_change_memory(work->change) : NULL;
	if (memory && memory->run_count && !verbs_contiguous(memory))
		return NDK_INSUFFICIENT_RESOURCES; /* at once: it does not break the connection */
	struct verbs_node *node = node_get(VERBS_SEND);
	if (!node)
		return NDK_INSUFFICIENT_RESOURCES;
	node->qp = qp;
	bool reads = work->operation == NDK_READ;
	if (!(work->flags & NDK_WORK_INLINE) &&
	    !resolve(node, qp->parameters.pd, work->sge, work->sge_count,
		     reads ? NDK_RIGHT_LOCAL_WRITE : NDK_RIGHT_LOCAL_READ))
		node->status = NDK_ACCESS_VIOLATION;
	node->work = ndk_work_capture(work);
	if (!node->work) {
		verbs_pool_put(&nodes, node);
		return NDK_INSUFFICIENT_RESOURCES;
	}
	if (work->change)
		node->status = resolve_change(node, node->work);
	node->applied = work->change && node->status == NDK_SUCCESS;
	node->job.run = verbs_node_post;
	node->job.done = verbs_node_done;
	verbs_submit(&verbs_data, &node->job);
	return NDK_SUCCESS;
}

static int receive(struct ndk_qp *qp_object, struct ndk_srq *srq_object,
		   struct ndk_receive *receive)
{
	struct verbs_node *node = node_get(qp_object ? VERBS_RECEIVE : VERBS_SRQ_RECEIVE);
	if (!node)
		return NDK_INSUFFICIENT_RESOURCES;
	struct ndk_pd *pd;
	if (qp_object) {
		node->qp = ndk_private(qp_object);
		pd = node->qp->parameters.pd;
	} else {
		node->srq = ndk_private(srq_object);
		pd = node->srq->parameters.pd;
	}
	node->receive = receive;
	if (!resolve(node, pd, receive->sge, receive->sge_count, NDK_RIGHT_LOCAL_WRITE)) {
		/* It fails when a message comes for it: with the key of no region. */
		static struct verbs_region none;
		node->sge_count = 0;
		add_sge(node, 0, receive->length, &none);
		node->fault = NDK_ACCESS_VIOLATION;
	}
	node->job.run = verbs_node_post;
	node->job.done = verbs_node_done;
	verbs_submit(&verbs_data, &node->job);
	return NDK_SUCCESS;
}

static void flush_run(struct verbs_job *job)
{
	struct verbs_qp *qp = (struct verbs_qp *)((char *)job - offsetof(struct verbs_qp, flush));
	qp->flushing = true;
	verbs_qp_error(qp);
	verbs_finish(job, NDK_SUCCESS);
}

static void flush_done(struct verbs_job *job)
{
	struct verbs_qp *qp = (struct verbs_qp *)((char *)job - offsetof(struct verbs_qp, flush));
	atomic_store(&qp->flush_submitted, false);
	qp->flushed = true;
	if (atomic_load(&qp->failed))
		verbs_qp_broken(qp, 0);
	else if (qp->connection)
		verbs_connection_flushed(qp->connection);
}

void verbs_qp_flush(struct verbs_qp *qp)
{
	if (!qp->qp || atomic_exchange(&qp->flush_submitted, true))
		return;
	qp->flush.run = flush_run;
	qp->flush.done = flush_done;
	verbs_submit(&verbs_data, &qp->flush);
}

static void flush(struct ndk_qp *object)
{
	verbs_qp_flush(ndk_private(object));
}

static void fail(struct ndk_qp *object)
{
	struct verbs_qp *qp = ndk_private(object);
	atomic_store(&qp->failed, true);
	verbs_qp_flush(qp);
}

const struct ndk_data_operations verbs_data_operations = {
	.post = post,
	.receive = receive,
	.flush = flush,
	.fail = fail,
};

void verbs_node_free(struct verbs_node *node)
{
	verbs_pool_put(&nodes, node);
}

/* ---- On the data thread: to the device ---- */

/* Elements as the device wants them. False: memory under the privileged token cannot be registered
 * for a send. */
static bool device_sges(struct verbs_node *node, struct ibv_pd *pd, struct ibv_sge *sges)
{
	for (uint32_t i = 0; i < node->sge_count; i++) {
		struct verbs_region *region = node->sges[i].region;
		sges[i] = (struct ibv_sge){.addr = node->sges[i].address,
					   .length = node->sges[i].length};
		if (region) {
			/* A region of the past has the key 0, which the device refuses. */
			if (atomic_load(&region->generation) == node->sges[i].generation)
				sges[i].lkey = atomic_load(&region->lkey);
			continue;
		}
		struct ibv_mr *mr = verbs.ibv_reg_mr(pd, (void *)sges[i].addr, sges[i].length,
						     IBV_ACCESS_LOCAL_WRITE);
		if (!mr && node->kind == VERBS_SEND)
			return false;
		if (!mr) { /* a receive fails when its message comes */
			node->fault = NDK_INSUFFICIENT_RESOURCES;
			continue;
		}
		node->sges[i].temporary = mr;
		sges[i].lkey = mr->lkey;
	}
	return true;
}

static int post_receive(struct verbs_node *node)
{
	struct ibv_sge sges[VERBS_SGES];
	struct ibv_recv_wr wr = {.wr_id = (uint64_t)node,
				 .sg_list = sges,
				 .num_sge = (int)node->sge_count},
			   *bad;
	struct verbs_pd *pd = node->qp ? node->qp->pd : node->srq->pd;
	device_sges(node, pd->pd, sges);
	return verbs_status(node->qp ? ibv_post_recv(node->qp->qp, &wr, &bad)
				     : ibv_post_srq_recv(node->srq->srq, &wr, &bad));
}

void verbs_srq_refill(struct verbs_srq *srq)
{
	struct verbs_node *node = srq->waiting;
	if (!node)
		return;
	srq->waiting = node->next;
	srq->posted++;
	node->status = post_receive(node);
}

/*
 * A window takes another key with each bind, but a fast-register MR keeps its token (DEF-1). So
 * when it already has the wanted key it is bound with another one first, without any rights, and
 * invalidated.
 */
static bool change_key(struct verbs_node *node, const struct ibv_send_wr *wr)
{
	struct ibv_mw *mw = node->region->mw;
	uint32_t other = (mw->rkey & ~0xffu) | ((mw->rkey + 1) & 0xff);
	struct ibv_send_wr bind = *wr, invalidate = {.wr_id = VERBS_EXTRA,
						     .opcode = IBV_WR_LOCAL_INV,
						     .invalidate_rkey = other};
	struct ibv_send_wr *bad;
	bind.wr_id = VERBS_EXTRA;
	bind.send_flags = 0;
	bind.next = &invalidate;
	bind.bind_mw.rkey = other;
	bind.bind_mw.bind_info.mw_access_flags = 0;
	if (ibv_post_send(node->qp->qp, &bind, &bad))
		return false;
	mw->rkey = other;
	return true;
}

/* A fast registration or a bind. True: the device has the node; else it is done. */
static bool post_bind(struct verbs_node *node, struct ibv_send_wr *wr)
{
	struct verbs_region *region = node->region;
	struct verbs_qp *qp = node->qp;
	struct ibv_send_wr *bad;
	bool remote = node->rights & (NDK_RIGHT_REMOTE_READ | NDK_RIGHT_REMOTE_WRITE);
	bool window = node->work->operation == NDK_BIND || remote;
	int access = verbs_access(node->rights);
	if (region->mr || region->bound) { /* by another QP, whose invalidation has failed */
		node->status = NDK_ACCESS_VIOLATION;
		return false;
	}
	/* The window gives the peer its rights; the region under it gives none. */
	struct ibv_mr *mr = verbs.ibv_reg_mr_iova(qp->pd->pd, node->base, node->length, node->start,
						  (access & IBV_ACCESS_LOCAL_WRITE) |
							  (window ? IBV_ACCESS_MW_BIND : 0));
	if (!mr) {
		node->status = NDK_INSUFFICIENT_RESOURCES;
		return false;
	}
	region->mr = mr;
	atomic_store(&region->lkey, mr->lkey);
	if (!window)
		return false;
	wr->opcode = IBV_WR_BIND_MW;
	wr->bind_mw.mw = region->mw;
	wr->bind_mw.rkey = node->remote_token;
	wr->bind_mw.bind_info = (struct ibv_mw_bind_info){
		.mr = mr,
		.addr = node->start,
		.length = node->length,
		.mw_access_flags =
			(unsigned)access & (IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE)};
	if (!region->mw || (region->mw->rkey == node->remote_token && !change_key(node, wr)) ||
	    ibv_post_send(qp->qp, wr, &bad)) {
		node->status = NDK_ACCESS_VIOLATION;
		return false;
	}
	node->window = true;
	region->mw->rkey = node->remote_token;
	region->parent = node->parent;
	region->bound = qp;
	region->next_bound = qp->windows;
	qp->windows = region;
	return true;
}

static bool post_invalidate(struct verbs_node *node, struct ibv_send_wr *wr)
{
	struct verbs_region *region = node->region;
	struct ibv_send_wr *bad;
	node->leaves = region->mr;
	region->mr = NULL;
	atomic_store(&region->lkey, 0);
	if (!region->bound)
		return false;
	wr->opcode = IBV_WR_LOCAL_INV;
	wr->invalidate_rkey = region->mw->rkey;
	bool own = region->bound == node->qp;
	if (own && !ibv_post_send(node->qp->qp, wr, &bad)) {
		node->window = true;
		verbs_region_unbind(region);
		return true;
	}
	node->status = own ? NDK_CANCELLED : NDK_ACCESS_VIOLATION;
	region->mr = node->leaves;
	node->leaves = NULL;
	return false;
}

static bool post_transfer(struct verbs_node *node, struct ibv_send_wr *wr)
{
	const struct ndk_work *work = node->work;
	struct ibv_sge sges[VERBS_SGES];
	struct ibv_send_wr *bad;
	wr->sg_list = sges;
	wr->num_sge = (int)node->sge_count;
	if (work->flags & NDK_WORK_INLINE) {
		sges[0] = (struct ibv_sge){.addr = work->length ? work->sge[0].address : 0,
					   .length = work->length};
		wr->num_sge = work->length ? 1 : 0;
		wr->send_flags |= IBV_SEND_INLINE;
	} else if (!device_sges(node, node->qp->pd->pd, sges)) {
		node->status = NDK_INSUFFICIENT_RESOURCES;
		return false;
	}
	if (work->operation == NDK_SEND) {
		wr->opcode = work->invalidates ? IBV_WR_SEND_WITH_INV : IBV_WR_SEND;
		if (work->invalidates)
			wr->invalidate_rkey = work->remote_token;
	} else {
		wr->opcode = work->operation == NDK_READ ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE;
		wr->wr.rdma.remote_addr = work->remote_address;
		wr->wr.rdma.rkey = work->remote_token;
	}
	int error = ibv_post_send(node->qp->qp, wr, &bad);
	node->status = verbs_status(error);
	return !error;
}

/*
 * A request that may not touch its own memory breaks the connection (NDK-109a): so that the peer
 * hears of it as of a bad access, one is posted in its place: to the key 0, which nobody has.
 */
static bool post_fault(struct verbs_node *node)
{
	static char bytes[64] __attribute__((aligned(64)));
	struct verbs_pd *pd = node->qp->pd;
	struct ibv_send_wr *bad;
	if (!pd->nothing)
		pd->nothing = verbs.ibv_reg_mr(pd->pd, bytes, sizeof bytes, 0);
	if (!pd->nothing || node->qp->error)
		return false;
	struct ibv_sge sge = {.addr = (uint64_t)bytes, .length = 1, .lkey = pd->nothing->lkey};
	struct ibv_send_wr wr = {.wr_id = (uint64_t)node,
				 .sg_list = &sge,
				 .num_sge = 1,
				 .opcode = IBV_WR_RDMA_WRITE,
				 .send_flags = IBV_SEND_SIGNALED};
	node->fault = node->status;
	return !ibv_post_send(node->qp->qp, &wr, &bad);
}

/* True: the device has the node. */
static bool post_send(struct verbs_node *node)
{
	const struct ndk_work *work = node->work;
	struct ibv_send_wr wr = {.wr_id = (uint64_t)node,
				 .send_flags =
					 IBV_SEND_SIGNALED |
					 (work->flags & NDK_WORK_READ_FENCE ? IBV_SEND_FENCE : 0) |
					 (work->flags & NDK_WORK_SOLICIT ? IBV_SEND_SOLICITED : 0)};
	switch (work->operation) {
	case NDK_FAST_REGISTER:
	case NDK_BIND:
		return post_bind(node, &wr);
	case NDK_INVALIDATE:
		return post_invalidate(node, &wr);
	default:
		return post_transfer(node, &wr);
	}
}

void verbs_node_begin(struct verbs_node *node)
{
	if (node->status == NDK_SUCCESS && node->region &&
	    node->generation != atomic_load(&node->region->generation))
		node->status = NDK_ACCESS_VIOLATION;
	bool posted = false;
	struct verbs_device *device = node->qp ? node->qp->device : node->srq->device;
	if (device->dead)
		node->status = NDK_INTERNAL_ERROR;
	else if (node->status != NDK_SUCCESS)
		posted = node->kind == VERBS_SEND && post_fault(node);
	else if (node->qp && node->qp->error && (node->region || node->kind != VERBS_SEND))
		node->status = NDK_CANCELLED; /* soft-RoCE would not look at a receive any more */
	else if (node->kind != VERBS_SEND)
		posted = (node->status = post_receive(node)) == NDK_SUCCESS;
	else
		posted = post_send(node);
	if (posted)
		return;
	node->done = true;
	if (node->status != NDK_SUCCESS && node->qp)
		verbs_node_failed(node);
}

/*
 * Soft-RoCE stalls when a send is tried again (the receiver was not ready) and a bind or an
 * invalidation is behind it. There, such a request waits until those before it are complete, and
 * those behind it wait with it.
 */
bool verbs_node_must_wait(const struct verbs_node *node)
{
	return node->region && node->previous && node->qp->device->soft_roce;
}

void verbs_node_post(struct verbs_job *job)
{
	struct verbs_node *node = (struct verbs_node *)job;
	verbs_queue_add(verbs_queue_of(node), node);
	if (node->srq) { /* NdkModifySrq may have made it deeper than the device's */
		if (node->srq->posted == node->srq->parameters.depth) {
			if (!node->srq->waiting)
				node->srq->waiting = node;
			return;
		}
		node->srq->posted++;
	}
	if (node->kind == VERBS_SEND && (node->qp->waiting || verbs_node_must_wait(node))) {
		if (!node->qp->waiting)
			node->qp->waiting = node;
		return;
	}
	verbs_node_begin(node);
	if (node->done)
		verbs_queue_retire(verbs_queue_of(node));
}
