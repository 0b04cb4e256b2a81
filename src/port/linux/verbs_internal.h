/* SPDX-License-Identifier: MIT */
/*
 * verbs_internal.h: what the files of the verbs provider share. See verbs_thread.c for how work
 * goes from a baton to the device threads and back.
 */
#pragma once

#include "ndk/work.h"
#include "port/linux/host.h"
#include "port/linux/verbs_library.h"

/* ---- Jobs: from a baton to a device thread, and back ---- */

/*
 * One call of a library. run() is called on a device thread and leads to one verbs_finish; done()
 * then on a baton at DISPATCH_LEVEL, unless the submitter waited for it. The owner's memory
 * between.
 */
struct verbs_job {
	struct verbs_job *next;
	void (*run)(struct verbs_job *job);
	void (*done)(struct verbs_job *job);
	_Atomic uint32_t state; /* verbs_thread.c */
	int status;             /* enum ndk_status */
};

struct verbs_thread {
	struct verbs_job *_Atomic submitted; /* newest first */
	_Atomic uint32_t asleep;
	_Atomic uint32_t doorbell; /* futex, unless there is `wake` */
	int wake;                  /* an eventfd, or 0 */
};

/* Memory: registrations. Control: what else is slow. Data: posts and polls (verbs_work.c). Clock:
 * sleeps (verbs_event.c). */
extern struct verbs_thread verbs_memory, verbs_control, verbs_data, verbs_clock;

/* On a baton. Submit; done() will be called. */
void verbs_submit(struct verbs_thread *thread, struct verbs_job *job);
/* On a baton. Submit and wait a little: the status, or NDK_PENDING, and done() will be called. */
int verbs_call(struct verbs_thread *thread, struct verbs_job *job);
/* On a baton at DISPATCH_LEVEL, which the caller is without meanwhile: run() on its own thread, for
 * a job that takes microseconds and has ended when run() returns. The status. */
int verbs_call_here(struct verbs_job *job);
/* On a device thread: another one goes on with the job. */
void verbs_pass(struct verbs_thread *thread, struct verbs_job *job);
/* On a device thread: the job is done; not the caller's any more. */
void verbs_finish(struct verbs_job *job, int status);
/* The data thread, again and again while it is awake: true while it owes an interrupt. */
bool verbs_owed(void);
/* How long a thread has found nothing to do. Again and again: true after spin_ns. */
struct verbs_idle {
	unsigned rounds;
	uint64_t since_ns;
};
bool verbs_idle(struct verbs_idle *idle, uint64_t spin_ns);
/* On a device thread: run what was submitted to it; false: nothing was. */
bool verbs_run(struct verbs_thread *thread);
bool verbs_threads_start(void);
void verbs_service(void);

/* ---- Items of one size, for a baton ---- */

/* Address space of `limit` items that become memory when they are first used. IRQL any, no wait. */
struct verbs_pool {
	_Atomic uint64_t free; /* index + 1 of the first free item, and a count against ABA */
	_Atomic uint32_t used; /* items that were ever given out */
	uint32_t limit;
	size_t size;
	char *base;
};
bool verbs_pool_create(struct verbs_pool *pool, size_t size, uint32_t limit);
void *verbs_pool_get(struct verbs_pool *pool); /* contents undefined but the first time (0) */
void verbs_pool_put(struct verbs_pool *pool, void *item);

/* ---- The device ---- */

#define VERBS_SGES        16
#define VERBS_DEPTH       16384u
#define VERBS_CALLER_DATA 56u  /* what rdma_cm leaves of a REQ */
#define VERBS_CALLEE_DATA 148u /* of a REJ */

struct verbs_qp;

struct verbs_device {
	struct ibv_context *context;
	struct ibv_device_attr attributes;
	struct ibv_comp_channel *channel;
	struct ibv_cq *cq;         /* of all QPs; polled by the data thread (verbs_work.c) */
	uint32_t cq_size, cq_used; /* control thread */
	struct rdma_event_channel *events;
	struct ndk_device *core;
	struct verbs_qp *qps; /* data thread */
	bool soft_roce;       /* has its own ways, see verbs_poll.c and verbs_work.c */
	bool dead;            /* data thread */
	_Atomic bool failed;  /* it will be dead */
	struct verbs_job death;
	struct verbs_device *next;
};

#define VERBS_DEVICES 16u
extern struct verbs_device *_Atomic verbs_devices; /* at most so many */
extern const struct ndk_provider verbs_provider;

int verbs_status(int error); /* errno -> enum ndk_status */
static inline struct verbs_device *verbs_device_of(const void *object)
{
	return ndk_object_device(object)->data;
}

/* ---- Memory: verbs_memory.c ---- */

/*
 * What stands behind an MR or MW. Its memory is never given back, so that a request that names a
 * region of the past finds another generation.
 * lkey   0: nothing is registered. Written by who registers, read by the data thread.
 * All else: a region that NdkRegisterMr made belongs to who registers or deregisters it; that of a
 * fast-register MR or a window to the data thread.
 */
struct verbs_region {
	_Atomic uint32_t generation;
	_Atomic uint32_t lkey;
	struct ibv_mr *mr;
	struct ibv_mw *mw;
	struct verbs_qp *bound; /* the window is bound to this QP, and in its list */
	struct verbs_region *next_bound;
	struct verbs_region *parent; /* of an MW: the MR's that it was bound to, if that is fast */
	struct verbs_memory *owner;
	_Atomic uint32_t fresh_token; /* of a new window, for the core; 0: told */
};

/* The private bytes of a PD. */
struct verbs_pd {
	struct verbs_job job;
	void *object;
	struct verbs_device *device;
	struct ibv_pd *pd;
	struct ibv_mr *nothing; /* verbs_work.c, post_fault; data thread */
};

/* The private bytes of an MR or MW. */
struct verbs_memory {
	struct verbs_job job, renewed;
	void *object;
	struct verbs_pd *pd;
	struct verbs_region *region;
	char *base; /* NdkRegisterMr: what is, or is to be, registered */
	uint64_t start, length;
	uint32_t rights;
	uint32_t token; /* of a window that was just made */
	bool fast;      /* the region is the data thread's */
};

bool verbs_memory_start(void);
int verbs_memory_create(void *object, enum ndk_type type);
int verbs_memory_destroy(void *object, enum ndk_type type);
int verbs_pd_create(void *object);
int verbs_pd_destroy(void *object);
int verbs_mr_register(struct ndk_mr *mr, const struct ndk_memory *memory);
int verbs_mr_deregister(struct ndk_mr *mr);
int verbs_mr_initialize(struct ndk_mr *mr, uint32_t pages, bool remote);
/* The one piece of the process's memory that the runs make up; 0: they lie apart. */
char *verbs_contiguous(const struct ndk_memory *memory);
/* Device threads. */
int verbs_access(uint32_t rights);
void verbs_dereg(struct ibv_mr *mr); /* 0 is allowed; does not return when the device refuses */

/* ---- Queue pairs and requests: verbs_qp.c, verbs_work.c ---- */

enum verbs_kind { VERBS_SEND, VERBS_RECEIVE, VERBS_SRQ_RECEIVE };

/* Work requests of the device that one of ours needs on top; it fails with them. wr_id of such. */
#define VERBS_EXTRA     1
#define VERBS_PER_ENTRY 3

/* One request that a QP or SRQ holds. */
struct verbs_node {
	struct verbs_job job;
	struct verbs_node *next, *previous; /* queue; data thread */
	enum verbs_kind kind;
	bool done;    /* the device is through with it; waits for those before it */
	bool broken;  /* its failure broke the QP */
	bool window;  /* the device has a bind or invalidation of a window for it */
	bool applied; /* it changes its region, in the core already */
	bool flagged; /* a receive: the device says that it invalidated `token` */
	struct verbs_qp *qp;
	struct verbs_srq *srq;
	struct ndk_work *work;
	struct ndk_receive *receive;
	int status, fault; /* fault: what its failure is to be called */
	uint32_t provider_error, bytes, token;
	uint32_t sge_count;
	struct {
		uint64_t address;
		uint32_t length;
		uint32_t generation;
		struct verbs_region *region; /* 0: `address` is in the process, to be registered */
		struct ibv_mr *temporary;
	} sges[VERBS_SGES];
	/* Fast registration, bind, invalidation. */
	struct verbs_region *region, *parent; /* parent: of a window, the fast-register MR's */
	uint32_t generation, rights, remote_token;
	char *base;
	uint64_t start, length;
	struct ibv_mr *leaves; /* deregister it before the completion */
};

struct verbs_queue {
	struct verbs_node *first, *last;
};

/* The private bytes of a QP. */
struct verbs_qp {
	struct verbs_job job, flush, broke, died;
	void *object;
	struct verbs_device *device;
	struct verbs_pd *pd;
	struct verbs_srq *srq;
	struct ibv_qp *qp;
	struct ndk_qp_parameters parameters;
	/* Data thread. */
	struct verbs_queue sends, receives;
	struct verbs_node *waiting; /* the first of `sends` that must wait for those before it */
	struct verbs_region *windows;
	struct verbs_job *drained; /* run them when both queues are empty */
	bool error;                /* in the error state, by us or by the device */
	bool flushing;             /* by us */
	struct verbs_qp *next;
	/* On a baton, in verbs_service. */
	bool told_broken, flushed;
	struct verbs_connection *connection;
	_Atomic bool flush_submitted;
	_Atomic bool failed;   /* by the core; told in verbs_service */
	_Atomic bool reported; /* `broke` is under way, or was */
};

struct verbs_srq {
	struct verbs_job job, broke;
	void *object;
	struct verbs_device *device;
	struct verbs_pd *pd;
	struct ibv_srq *srq;
	struct ndk_srq_parameters parameters;
	struct verbs_queue receives; /* data thread */
	struct verbs_node *waiting;  /* the first of those that the device has no room for */
	uint32_t posted;
};

int verbs_qp_create(void *object, const struct ndk_qp_parameters *parameters);
int verbs_qp_destroy(void *object);
int verbs_srq_create(void *object, const struct ndk_srq_parameters *parameters);
int verbs_srq_destroy(void *object);
/* In verbs_service: give the receives back that nobody took; the device has forgotten them. */
void verbs_srq_empty(struct verbs_srq *srq);
bool verbs_work_start(void);
/* Hear of what the device reports by itself. */
bool verbs_work_watch(struct verbs_device *device);
/* On a device thread: nothing more will come of it; says why. */
void verbs_device_failed(struct verbs_device *device, const char *why);
/* Data thread: take what the device has completed; false: nothing. */
bool verbs_poll(struct verbs_device *device);
extern const struct ndk_data_operations verbs_data_operations;
/* On a baton: all its requests come back. */
void verbs_qp_flush(struct verbs_qp *qp);
/* Data thread: put the QP into the error state, so that all its requests come back. */
void verbs_qp_error(struct verbs_qp *qp);
/* Data thread: run `job` (once more) when all requests have come back. */
void verbs_qp_drain(struct verbs_qp *qp, struct verbs_job *job);
/* Data thread: the window ends, whatever it is bound to, and what lies under it; a new one, with
 * another token, takes its place. */
void verbs_region_renew(struct verbs_region *region);
/* Data thread: no window that is bound to the QP is left. */
void verbs_qp_unbind(struct verbs_qp *qp);
/* Data thread: the window is bound no more; 0 bound: nothing. */
void verbs_region_unbind(struct verbs_region *region);
/* In verbs_service: something from the peer was completed, so the connection is established. */
void verbs_connection_alive(struct verbs_connection *connection);
/* In verbs_service: the consumer flushed the QP, which ends its connection. */
void verbs_connection_flushed(struct verbs_connection *connection);
/* In verbs_service, once: the QP is dead, and so is its connection. */
void verbs_qp_broken(struct verbs_qp *qp, uint32_t reason);
/* ... the connection's part. False: it is a connect, which is taken down before the core hears of
 * it and of the QP. */
bool verbs_connection_broken(struct verbs_connection *connection);

/* ---- Connections: verbs_connect.c ---- */

extern const struct ndk_connection_operations verbs_connection_operations;
bool verbs_connections_start(struct verbs_device *device);
int verbs_endpoint_create(void *object, const struct ndk_endpoint_parameters *parameters);
int verbs_address_destroy(void *object); /* of a listener or shared endpoint */
int verbs_connection_create(void *object);
int verbs_connection_destroy(void *object);
