/* SPDX-License-Identifier: MIT */
/* fake_cq.c: completion queues and their channels. See fake.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "fake.h"

struct ibv_comp_channel *ibv_create_comp_channel(struct ibv_context *context)
{
	struct ibv_comp_channel *channel = calloc(1, sizeof *channel);
	channel->context = context;
	channel->fd = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
	return channel;
}

static struct fake_cq *cqs[FAKE_DEVICES * 2]; /* of whom the channels are */
static unsigned cq_count;

struct ibv_cq *ibv_create_cq(struct ibv_context *context, int size, void *cq_context,
			     struct ibv_comp_channel *channel, int vector)
{
	(void)vector;
	struct fake_cq *cq = calloc(1, sizeof *cq);
	cq->ibv.context = context;
	cq->ibv.channel = channel;
	cq->ibv.cq_context = cq_context;
	cq->ibv.cqe = size;
	cq->entries = calloc((size_t)size, sizeof *cq->entries);
	cqs[cq_count++] = cq;
	return &cq->ibv;
}

int ibv_resize_cq(struct ibv_cq *ibv, int size)
{
	struct fake_cq *cq = (struct fake_cq *)ibv;
	int error = 0;
	pthread_mutex_lock(&fake_lock);
	if (fake_fails("ibv_resize_cq")) {
		error = errno;
	} else {
		struct ibv_wc *entries = calloc((size_t)size, sizeof *entries);
		for (uint32_t i = 0; i < cq->count; i++)
			entries[i] = cq->entries[(cq->head + i) % (uint32_t)ibv->cqe];
		free(cq->entries);
		cq->entries = entries;
		cq->head = 0;
		ibv->cqe = size;
	}
	pthread_mutex_unlock(&fake_lock);
	return error;
}

int ibv_destroy_cq(struct ibv_cq *cq)
{
	(void)cq;
	return EBUSY;
}

int ibv_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **cq, void **cq_context)
{
	uint64_t one;
	if (read(channel->fd, &one, sizeof one) != sizeof one)
		return -1;
	for (unsigned i = 0; i < cq_count; i++)
		if (cqs[i]->ibv.channel == channel)
			*cq = &cqs[i]->ibv;
	*cq_context = (*cq)->cq_context;
	return 0;
}

void ibv_ack_cq_events(struct ibv_cq *cq, unsigned count)
{
	(void)cq;
	(void)count;
}

static int notify(struct ibv_cq *ibv, int solicited)
{
	(void)solicited;
	pthread_mutex_lock(&fake_lock);
	((struct fake_cq *)ibv)->armed = true;
	pthread_mutex_unlock(&fake_lock);
	return 0;
}

static int poll_cq(struct ibv_cq *ibv, int most, struct ibv_wc *to)
{
	struct fake_cq *cq = (struct fake_cq *)ibv;
	int count = 0;
	if (!__atomic_load_n(&cq->count, __ATOMIC_RELAXED))
		return 0;
	pthread_mutex_lock(&fake_lock);
	for (; count < most && cq->count; cq->count--) {
		to[count++] = cq->entries[cq->head];
		cq->head = (cq->head + 1) % (uint32_t)ibv->cqe;
	}
	pthread_mutex_unlock(&fake_lock);
	return count;
}

void fake_place(struct ibv_cq *ibv, const struct ibv_wc *wc)
{
	struct fake_cq *cq = (struct fake_cq *)ibv;
	if (fake_dead(ibv->context))
		return;
	if (cq->count == (uint32_t)ibv->cqe) {
		fake_error("a completion queue of %d entries overflows", ibv->cqe);
		return;
	}
	cq->entries[(cq->head + cq->count) % (uint32_t)ibv->cqe] = *wc;
	__atomic_store_n(&cq->count, cq->count + 1, __ATOMIC_RELAXED);
	if (cq->armed && eventfd_write(ibv->channel->fd, 1) == 0)
		cq->armed = false;
}

void fake_cq_operations(struct ibv_context_ops *ops)
{
	ops->poll_cq = poll_cq;
	ops->req_notify_cq = notify;
}
