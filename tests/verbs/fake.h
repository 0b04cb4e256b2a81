/* SPDX-License-Identifier: MIT */
/*
 * fake.h: libibverbs and librdmacm with two devices in memory, rxe1 and rxe2 on one wire, for the
 * tests of the verbs provider that need no RDMA: they fail and lose and hurry on demand. See
 * run.sh.
 *
 * What is checked on the way: a queue that overflows, an object that is freed while others need it
 * and what is left at the end are errors of who uses it.
 *
 * One lock for everything; every change wakes everybody who waits (`fake_changed`).
 */
#pragma once

#include <infiniband/verbs.h>
#include <pthread.h>
#include <rdma/rdma_cma.h>
#include <stdbool.h>

#undef ibv_reg_mr
#undef ibv_reg_mr_iova
#undef ibv_query_port

#define FAKE_DEVICES 2
#define FAKE_SGES    16
#define FAKE_INLINE  256

enum fake_kind { FAKE_PD, FAKE_MR, FAKE_MW, FAKE_QP, FAKE_SRQ, FAKE_ID, FAKE_KINDS };

struct fake_pd {
	struct ibv_pd ibv;
	long children;
};

struct fake_mr {
	struct ibv_mr ibv;
	uint64_t iova;
	int access;
	long windows;
};

struct fake_mw {
	struct ibv_mw ibv;
	uint32_t key; /* the device's; ibv.rkey is the owner's */
	struct fake_mr *mr;
	struct fake_qp *qp;
	uint64_t start, length;
	unsigned access;
};

struct fake_receive {
	struct fake_receive *next;
	struct ibv_recv_wr wr;
	struct ibv_sge sges[FAKE_SGES];
};

struct fake_receives {
	struct fake_receive *first, **last;
	uint32_t count, most;
};

struct fake_send {
	struct fake_send *next;
	struct ibv_send_wr wr;
	struct ibv_sge sges[FAKE_SGES];
	char bytes[FAKE_INLINE];
};

struct fake_srq {
	struct ibv_srq ibv;
	struct fake_receives receives;
	long qps;
};

struct fake_qp {
	struct ibv_qp ibv;
	struct fake_qp *next;
	uint32_t peer; /* its number */
	struct fake_send *first, **last;
	uint32_t sends, most_sends;
	struct fake_receives receives;
	long events; /* not acknowledged */
	long windows;
};

struct fake_cq {
	struct ibv_cq ibv;
	struct ibv_wc *entries;
	uint32_t head, count;
	bool armed;
};

extern pthread_mutex_t fake_lock;
extern pthread_cond_t fake_changed;
extern long fake_live[FAKE_KINDS];
extern struct ibv_device *const fake_devices[FAKE_DEVICES];

/* FAKE_FAIL=NAME:N[:ERRNO]: the Nth call of NAME fails. The lock is held, or nobody else calls. */
bool fake_fails(const char *name);
/* FAKE_SLOW=MS: a registration takes as long. FAKE_`name`=N: true at the Nth time. */
bool fake_now(const char *name);
void fake_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The lock is held. */
void fake_event(struct ibv_context *context, enum ibv_event_type type, struct fake_qp *qp);
void fake_event_forget(struct fake_qp *qp);
bool fake_dead(const struct ibv_context *context);
struct fake_mr *fake_mr_find(uint32_t key, const struct ibv_pd *pd);
struct fake_mw *fake_mw_find(uint32_t key);
uint32_t fake_key_put(void *object, bool window);
void fake_key_drop(uint32_t key);
void fake_queue_operations(struct ibv_context_ops *ops);
void fake_cq_operations(struct ibv_context_ops *ops);
void fake_place(struct ibv_cq *cq, const struct ibv_wc *wc);
