/* SPDX-License-Identifier: MIT */
/*
 * verbs_thread.c: how work goes from a baton to device threads, which alone call libibverbs and
 * librdmacm, and back.
 *
 * A job is pushed onto its thread's lock-free stack; the thread takes all at once and restores
 * their order. What is finished goes onto `finished` in the same way, an interrupt is asked for
 * (ndk_port_interrupt), and the core calls verbs_service on a baton at DISPATCH_LEVEL, which calls
 * done() of each, in order, on one processor at a time.
 *
 * A job of microseconds is not worth the way to another thread and back, which takes a second
 * processor of the host. So its submitter lets the baton go, runs the job itself, as any host
 * thread may, and takes the baton again (verbs_call_here). Nobody else gets the baton; what comes
 * for the processor meanwhile waits, as it does in a hand-off. At DISPATCH_LEVEL, so that the
 * thread keeps its processor.
 *
 * An interrupt costs more than most jobs. So a submitter may wait a little (verbs_call), and a
 * device thread that has worked looks for more for SPIN_NS before it sleeps. `state` decides who
 * tells: a waiting submitter leaves (WAITED -> ANNOUNCED: done() will be called) or sees the end
 * (WAITED -> FINISHED by the device thread, which then touches the job no more).
 *
 * A consumer that polls its queue calls verbs_service itself: when that was called since the last
 * completion, the data thread owes the interrupt for OWED_ROUNDS, and asks for it if what it
 * finished is still there then.
 *
 * Contexts: submitting on a baton at any IRQL <= DISPATCH_LEVEL, verbs_call_here and verbs_service
 * at DISPATCH_LEVEL; no libc there, but in the jobs of verbs_call_here. No locks.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include "port/linux/verbs_internal.h"

#define SPIN_NS     50000u  /* how long a thread looks for more work */
#define ROUNDS      64      /* of looking, between looks at the clock */
#define OWED_ROUNDS 128     /* of the data thread: about 10 us */
#define WAIT_NS     100000u /* how long a submitter waits for the answer */

enum { ANNOUNCED, WAITED, FINISHED };

struct verbs_thread verbs_memory, verbs_control, verbs_data, verbs_clock;
static struct verbs_job *_Atomic finished;
static _Atomic uint32_t servicing;
static _Atomic uint32_t services; /* how often verbs_service was called */
/* The data thread's: what it saw of that when it last finished something; rounds until it asks for
 * an interrupt that it left to somebody who polls. */
static __thread uint32_t services_seen, owed;
static __thread bool can_owe;

/* ---- Items ---- */

bool verbs_pool_create(struct verbs_pool *pool, size_t size, uint32_t limit)
{
	size = (size + sizeof(uint32_t) + 63) & ~(size_t)63;
	void *base = mmap(NULL, size * limit, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return false;
	pool->base = base;
	pool->size = size;
	pool->limit = limit;
	return true;
}

static char *item_of(struct verbs_pool *pool, uint32_t index)
{
	return pool->base + (size_t)index * pool->size;
}

/* A free item's: the index + 1 of the next one. Behind the item: who gets it may be faster than
 * another one who is just looking. */
static _Atomic uint32_t *link_of(struct verbs_pool *pool, uint32_t index)
{
	return (_Atomic uint32_t *)(item_of(pool, index) + pool->size - sizeof(uint32_t));
}

void *verbs_pool_get(struct verbs_pool *pool)
{
	uint64_t head = atomic_load_explicit(&pool->free, memory_order_acquire);
	while ((uint32_t)head) {
		uint32_t index = (uint32_t)head - 1;
		uint64_t next = ((head >> 32) + 1) << 32 |
				atomic_load_explicit(link_of(pool, index), memory_order_relaxed);
		if (atomic_compare_exchange_weak_explicit(
			    &pool->free, &head, next, memory_order_acquire, memory_order_acquire))
			return item_of(pool, index);
	}
	uint32_t index = atomic_load_explicit(&pool->used, memory_order_relaxed);
	do
		if (index == pool->limit)
			return NULL;
	while (!atomic_compare_exchange_weak_explicit(&pool->used, &index, index + 1,
						      memory_order_relaxed, memory_order_relaxed));
	return item_of(pool, index);
}

void verbs_pool_put(struct verbs_pool *pool, void *item)
{
	uint32_t index = (uint32_t)((size_t)((char *)item - pool->base) / pool->size);
	uint64_t head = atomic_load_explicit(&pool->free, memory_order_relaxed);
	uint64_t new;
	do {
		atomic_store_explicit(link_of(pool, index), (uint32_t)head, memory_order_relaxed);
		new = ((head >> 32) + 1) << 32 | (index + 1);
	} while (!atomic_compare_exchange_weak_explicit(&pool->free, &head, new,
							memory_order_release, /* -> get */
							memory_order_relaxed));
}

/* ---- To a device thread ---- */

/* True: it is the only one. */
static bool push(struct verbs_job *_Atomic *list, struct verbs_job *job)
{
	struct verbs_job *head = atomic_load_explicit(list, memory_order_relaxed);
	do
		job->next = head;
	while (!atomic_compare_exchange_weak(list, &head, job)); /* -> take_all */
	return !head;
}

static struct verbs_job *take_all(struct verbs_job *_Atomic *list)
{
	if (!atomic_load_explicit(list, memory_order_relaxed))
		return NULL;
	struct verbs_job *newest = atomic_exchange(list, NULL), *ordered = NULL;
	while (newest) {
		struct verbs_job *next = newest->next;
		newest->next = ordered;
		ordered = newest;
		newest = next;
	}
	return ordered;
}

static void ring(struct verbs_thread *thread)
{
	if (!atomic_load(&thread->asleep) || !atomic_exchange(&thread->asleep, 0))
		return;
	if (thread->wake) {
		uint64_t one = 1;
		host_syscall(SYS_write, thread->wake, (long)&one, sizeof one, 0, 0, 0);
		return;
	}
	atomic_fetch_add(&thread->doorbell, 1);
	host_futex_wake(&thread->doorbell, 1);
}

void verbs_pass(struct verbs_thread *thread, struct verbs_job *job)
{
	push(&thread->submitted, job);
	ring(thread);
}

static void submit(struct verbs_thread *thread, struct verbs_job *job, uint32_t state)
{
	atomic_store_explicit(&job->state, state, memory_order_relaxed);
	verbs_pass(thread, job);
}

void verbs_submit(struct verbs_thread *thread, struct verbs_job *job)
{
	submit(thread, job, ANNOUNCED);
}

int verbs_call(struct verbs_thread *thread, struct verbs_job *job)
{
	uint64_t until = 0;
	submit(thread, job, WAITED);
	for (unsigned round = 1;; round++) {
		if (atomic_load_explicit(&job->state, memory_order_acquire) == FINISHED)
			return job->status;
		if (round % ROUNDS == 0) { /* a clock may be slow to read */
			uint64_t now = port_time_ns();
			if (!until)
				until = now + WAIT_NS;
			else if (now > until)
				break;
		}
		__builtin_ia32_pause();
	}
	uint32_t state = WAITED;
	if (atomic_compare_exchange_strong(&job->state, &state, ANNOUNCED))
		return NDK_PENDING;
	return job->status;
}

/* Nothing of the machine interrupts the library: a handler that finds no baton does nothing. What
 * is pending afterwards the core finds when it lowers the IRQL. */
int verbs_call_here(struct verbs_job *job)
{
	struct port_thread *self = host_self;
	struct port_cpu *cpu = atomic_load(&self->cpu);
	if (ke_port_cr8_read() < 2)
		abort(); /* switched here, it would let go the baton of another thread */
	atomic_store_explicit(&job->state, WAITED, memory_order_relaxed);
	port_cpu_release(cpu, self, cpu->gs_base);
	job->run(job);
	port_cpu_take(cpu, self);
	return job->status;
}

bool verbs_run(struct verbs_thread *thread)
{
	struct verbs_job *list = take_all(&thread->submitted);
	if (!list)
		return false;
	while (list) {
		struct verbs_job *next = list->next;
		list->run(list);
		list = next;
	}
	return true;
}

bool verbs_idle(struct verbs_idle *idle, uint64_t spin_ns)
{
	if (++idle->rounds % ROUNDS)
		return false;
	uint64_t now = port_time_ns();
	if (!idle->since_ns)
		idle->since_ns = now;
	return now - idle->since_ns >= spin_ns;
}

static void work(struct verbs_thread *thread, uint64_t spin_ns)
{
	struct verbs_idle idle = {0};
	for (;;) {
		uint32_t seen = atomic_load(&thread->doorbell);
		if (verbs_run(thread)) {
			idle = (struct verbs_idle){0};
			continue;
		}
		if (spin_ns && !verbs_idle(&idle, spin_ns)) {
			__builtin_ia32_pause();
			continue;
		}
		atomic_store(&thread->asleep, 1); /* then `submitted`; ring: the other way round */
		if (!atomic_load(&thread->submitted))
			host_futex_wait(&thread->doorbell, seen, NULL);
		atomic_store(&thread->asleep, 0);
	}
}

static void *memory_main(void *unused)
{
	(void)unused;
	work(&verbs_memory, SPIN_NS);
	return NULL;
}

static void *control_main(void *unused)
{
	(void)unused;
	work(&verbs_control, 0);
	return NULL;
}

static void *clock_main(void *unused)
{
	(void)unused;
	work(&verbs_clock, 0);
	return NULL;
}

bool verbs_threads_start(void)
{
	return host_device_start(clock_main, NULL, "ketch-rdma-clk") &&
	       host_device_start(memory_main, NULL, "ketch-rdma-mem") &&
	       host_device_start(control_main, NULL, "ketch-rdma-ctl");
}

/* ---- Back ---- */

void verbs_finish(struct verbs_job *job, int status)
{
	job->status = status;
	uint32_t state = WAITED;
	if (atomic_compare_exchange_strong(&job->state, &state, FINISHED)) /* -> verbs_call */
		return;
	if (!push(&finished, job))
		return; /* who came first has announced it */
	uint32_t count = atomic_load_explicit(&services, memory_order_relaxed);
	if (can_owe && count != services_seen)
		owed = OWED_ROUNDS;
	else
		ndk_port_interrupt(&verbs_provider);
	services_seen = count;
}

bool verbs_owed(void)
{
	can_owe = true;
	if (owed && !--owed && atomic_load(&finished))
		ndk_port_interrupt(&verbs_provider);
	return owed;
}

void verbs_service(void)
{
	atomic_fetch_add_explicit(&services, 1, memory_order_relaxed);
	do {
		if (atomic_exchange(&servicing, 1))
			return; /* who is at it looks again */
		struct verbs_job *list;
		while ((list = take_all(&finished)))
			while (list) {
				struct verbs_job *next = list->next;
				list->done(list);
				list = next;
			}
		atomic_store(&servicing, 0);
	} while (atomic_load(&finished));
}
