/* SPDX-License-Identifier: MIT */
/*
 * internal.h: the NDK objects among themselves: lifetime, requests, callbacks, memory.
 *
 * Everything here: IRQL <= DISPATCH_LEVEL, on a baton. See object.c, request.c, region.c for the
 * theory.
 *
 * Lock order of src/ndk, outermost first; all are struct ke_lock, taken once each. No other two of
 * them are ever held together, and none while a consumer's routine or an operation of a provider
 * runs. Any of them may be held when a busy reference is taken, none when one is given back (that
 * may end an object).
 *   wsk's lock, then ndk_lock (ndk_adapter_describe)
 *   a connector's lock, then ndk_lock (the QP becomes an antecedent)
 *   a region's lock, then ndk_lock (its page table is watched no more)
 *   a window's lock, then its region's, then the pool's (what the binding owned is freed), and the
 *     gate of either (region.c: accesses take no lock)
 *   loopback: the lock of a QP's queue, then qp->work_lock (the only up-call under a provider's
 *     lock: ndk_work_capture)
 *   a CQ's lock, an SRQ's lock, then those of the dispatcher (a delivery is queued, a timer set)
 * Innermost, with nothing but that behind them: ndk_lock, qp->work_lock, a receive pool's, a
 * listener's; loopback's links, list of links, receive queues and table of ports.
 */
#pragma once

#include <ndkpi.h>
#include <ntifs.h>
#include "ex/ex.h"
#include "ke/callout.h"
#include "ke/ke.h"
#include "ndk/policy.h"
#include "ndk/provider.h"
#include "vf/vf.h"

#define NDK_TAG 'kdnK'
/* Who calls a function of a dispatch table: drivers call these directly. */
#define NDK_CALLER() ((uint64_t)__builtin_return_address(0))

/* Every object that the consumer has, and every object's antecedents. */
extern struct ke_lock ndk_lock;
extern LIST_ENTRY ndk_objects;

/* ---- Deliveries: calls out of the core, by DPC or by work item ---- */

enum ndk_level {
	NDK_LEVEL_ANY,      /* by turns, or as --ndk-complete=random draws */
	NDK_LEVEL_DISPATCH, /* a DPC on this processor */
	NDK_LEVEL_PASSIVE,  /* a work item */
};

/* One call that is under way; its owner's until run() is entered, and then again. */
struct ndk_delivery {
	void (*run)(struct ndk_delivery *delivery);
	KDPC dpc;
	struct ex_work work;
};
void ndk_delivery_initialize(struct ndk_delivery *delivery, void (*run)(struct ndk_delivery *));
/* Not while it is queued. DPCs run when the IRQL allows it: from PASSIVE_LEVEL before this returns.
 */
void ndk_delivery_queue(struct ndk_delivery *delivery, enum ndk_level level);

/* Before a device of the provider is opened. False: too many. */
bool ndk_provider_add(const struct ndk_provider *provider);

/* Around every call of a consumer's routine: call record, depth of callbacks on this thread, IRQL
 * afterwards. */
struct ndk_callout {
	struct ke_call_record record;
	const void *routine, *context;
	KIRQL irql;
};
void ndk_callout_begin(struct ndk_callout *callout, const void *routine, const void *context);
void ndk_callout_end(struct ndk_callout *callout);
/* True inside a consumer's callback. */
static inline bool ndk_in_callback(void)
{
	return ke_thread()->callback_depth != NULL;
}

/* ---- Objects ---- */

struct ndk_object;

struct ndk_class {
	const char *name; /* "memory region" */
	NDK_OBJECT_TYPE type;
	size_t size;
	const void *dispatch;
	/* The close has begun: start to flush and cancel; returns at once. 0: nothing to do. */
	void (*begin_close)(struct ndk_object *object);
	/* The last reference is gone, the provider's part too; frees what the object owns, not the
	 * object. 0: nothing. */
	void (*destroy)(struct ndk_object *object);
	/* Instead of freeing the memory, as the very last. 0: it is freed. */
	void (*release)(struct ndk_object *object);
	/* More about it for a finding: " token 0x12345678"; 0: nothing to say. */
	void (*describe)(const struct ndk_object *object, char *text, size_t size);
	bool close_cancels; /* a close with requests under way is how they are cancelled: no finding
			     */
	const char *request; /* the only function of it that may pend; 0: none, or several */
};

enum ndk_life { NDK_NEW, NDK_OPEN, NDK_CLOSING, NDK_GONE };

enum ndk_request_kind { NDK_REQUEST, NDK_CREATE, NDK_CLOSE };

/*
 * An asynchronous call under way. Owns a busy reference to `object` until its callback has
 * returned.
 */
struct ndk_request {
	struct ndk_delivery delivery;
	struct ndk_object *object;
	enum ndk_request_kind kind;
	union {
		const void *routine; /* 0: the consumer does not want to know */
		NDK_FN_REQUEST_COMPLETION *completed;
		NDK_FN_CREATE_COMPLETION *created;
		NDK_FN_CLOSE_COMPLETION *closed;
	};
	void *context;
	NTSTATUS status;
	struct ndk_object *result; /* NDK_CREATE */
	const char *function;      /* NDK_REQUEST: for findings; 0: unknown */
	LIST_ENTRY entry;          /* in object->pending, until the callback begins; ndk_lock */
	/* Just before the callback: the new state. May change `status`. 0: nothing to do. */
	void (*finish)(struct ndk_request *request);
	uint64_t argument; /* finish's */
	uint64_t caller;
	_Atomic bool complete;
};

#define NDK_SIGNATURE      0x4b444e4bu
#define NDK_SIGNATURE_GONE 0x6b64656eu
#define NDK_ANTECEDENTS    6

/*
 * The first member of every object. The consumer sees the first 0x30 bytes (NDK-9).
 *
 * busy         references: 1 for being open, 1 for each request, callback, event and successor
 *              under way. The close ends when it reaches 0. Anyone who holds one may take more.
 * life         NDK_OPEN -> NDK_CLOSING by the consumer's close (compare and swap), -> NDK_GONE by
 *              who drops the last reference.
 * pending      requests whose callback has not begun; ndk_lock.
 * calls        calls of the consumer that run, while the verifier is on.
 * antecedents  what this object keeps alive; ndk_lock.
 * all          in ndk_objects; ndk_lock.
 */
struct ndk_object {
	NDK_OBJECT_HEADER header; /* 00 */
	const void *dispatch;     /* 28: written once, never read (NDK-7) */
	void *provider_data;      /* 30: ndk_private */
	uint32_t signature;       /* 38 */
	_Atomic uint32_t life;    /* 3c: enum ndk_life */
	const struct ndk_class *class;
	_Atomic uint32_t busy;
	LIST_ENTRY pending; /* ndk_request.entry */
	_Atomic uint32_t calls;
	struct ndk_adapter *adapter; /* an adapter: itself */
	struct ndk_object *antecedents[NDK_ANTECEDENTS];
	LIST_ENTRY all;
	uint64_t caller; /* who created it */
	struct ndk_request close;
	struct ndk_request *creation; /* while the provider makes it */
	bool made;                    /* the provider has its part */
	bool published;               /* the consumer has it */
};
_Static_assert(offsetof(struct ndk_object, provider_data) == NDK_PRIVATE_OFFSET, "ndk_private");

/*
 * At the beginning of every function of a dispatch table: signature, type, IRQL, use after the
 * close (VER-57, VER-59). False: refuse with STATUS_INVALID_DEVICE_STATE, or do nothing.
 */
bool ndk_object_enter(const void *object, NDK_OBJECT_TYPE type, const char *function,
		      uint64_t caller);
/* ... and at its end, if it was true. Not when the call's own completion may have closed it: a
 * function that returns STATUS_PENDING leaves before it completes. */
void ndk_object_leave(const void *object);

/* Zeroed but for the header; life NDK_NEW, busy 1; keeps `parent` (and so the adapter). 0: no
 * memory. */
void *ndk_object_allocate(const struct ndk_class *class, struct ndk_object *parent,
			  uint64_t caller);
/*
 * The object is complete: have the provider make its part, then hand it out as the completion
 * policy says. Returns what the Create function returns; *out is set only for STATUS_SUCCESS.
 * A failure frees the object (destroy is called). `function`: for failures on demand.
 */
NTSTATUS ndk_create_done(void *object, const void *parameters, enum ndk_function function,
			 NDK_FN_CREATE_COMPLETION *routine, void *context, void **out);
/* The provider's bytes, for an adapter; others have them already. False: no memory. */
bool ndk_object_private(struct ndk_object *object);
/* Hand an object out without a Create function: the connector of a connect event. */
void ndk_object_publish(struct ndk_object *object);
/* An object that was never handed out goes. */
void ndk_object_discard(void *object);
/* The one close function of all tables (NDK-34). */
NTSTATUS NTAPI ndk_close(NDK_OBJECT_HEADER *object, NDK_FN_CLOSE_COMPLETION *completion,
			 void *context);
NTSTATUS NTAPI ndk_query_extension(NDK_OBJECT_HEADER *object, CONST GUID *id, NDK_VERSION version,
				   NDK_EXTENSION_INTERFACE *interface);

static inline void ndk_busy_get(struct ndk_object *object)
{
	atomic_fetch_add_explicit(&object->busy, 1, memory_order_relaxed);
}
/* For whom no reference is sure: false when the last one is gone. The memory must be sure. */
bool ndk_busy_try(struct ndk_object *object);
/* The object may be gone afterwards. */
void ndk_busy_put(struct ndk_object *object);
/* `successor` keeps `antecedent` until its close completion has returned, or it is dropped. The
 * caller holds both. False: no room (a defect). */
bool ndk_antecedent_add(void *successor, void *antecedent);
void ndk_antecedent_drop(void *successor, void *antecedent);

static inline bool ndk_closing(const struct ndk_object *object)
{
	return atomic_load_explicit(&object->life, memory_order_acquire) > NDK_OPEN;
}

/* ---- Requests (NDK-76..79) ---- */

/*
 * What the function had to do is done, with this status: return it, or STATUS_PENDING with the
 * completion called, as the policy says. Failures that may only be inline are simply returned.
 */
NTSTATUS ndk_request_done(void *object, const void *routine, void *context, NTSTATUS status,
			  uint64_t caller);
/* It goes on after the return: to be completed once. 0: no memory. */
struct ndk_request *ndk_request_pend(void *object, const void *routine, void *context,
				     uint64_t caller);
/* The same with the policy's answer asked before, for functions whose state depends on it; `how` is
 * not NDK_INLINE. Returns STATUS_PENDING. */
NTSTATUS ndk_request_end(struct ndk_request *request, enum ndk_how how, NTSTATUS status);
void ndk_request_run(struct ndk_request *request); /* object.c: the completion, now */
/* From any thread, once; the callback comes by delivery, never in the caller's frame. */
void ndk_request_complete(struct ndk_request *request, NTSTATUS status);
/* While the verifier is on: can `routine` be called? `what`: "completion routine". */
void ndk_check_routine(const struct ndk_object *object, const char *what, const void *routine,
		       uint64_t caller);
/* Never to be completed: the function returns a failure inline after all. */
void ndk_request_discard(struct ndk_request *request);

/* ---- Adapter, protection domain ---- */

struct ndk_adapter {
	struct ndk_object object;
	const struct ndk_device *device;
	NDK_ADAPTER_INFO info;
	uint32_t privileged_token;
	LIST_ENTRY lams;          /* ndk_lam_record.entry; ndk_lock */
	KEVENT gone;              /* the last reference is dropped */
	_Atomic uint32_t handoff; /* adapter.c */
};

struct ndk_pd {
	struct ndk_object object;
	LIST_ENTRY queues; /* ndk_queue_entry: its QPs and SRQs; ndk_lock */
};

struct ndk_queue_entry {
	LIST_ENTRY entry;
	struct ndk_object *object; /* 0: not linked */
};
void ndk_pd_link(struct ndk_pd *pd, struct ndk_queue_entry *entry, void *object);
void ndk_pd_unlink(struct ndk_queue_entry *entry);

/* ---- Memory region, memory window ---- */

/* What NdkRegisterMr was given, for the verifier (source.c). */
#define NDK_MR_MDLS 4 /* of a chain; later ones are not watched */
struct ndk_mr_source {
	_Atomic bool active;
	MDL *mdls[NDK_MR_MDLS];
	uint64_t first, end; /* of the memory; 0: it is in several pieces, see the MR's `pages` */
	uint64_t sum;        /* of the MDLs, while the registration is pending */
	uint64_t caller;
};

/*
 * state      enum ndk_mr_state, by compare and swap (mr_state.c). Work requests step it when they
 * are posted; `effective` is what the region is now (under `lock`). windows    bound to it, or
 * about to be. region     its slot: from the registration to the deregistration, from the first
 * initialisation to the close. Written under the transitional states only.
 */
struct ndk_mr {
	struct ndk_object object;
	struct ndk_pd *pd;
	bool fast;
	_Atomic uint32_t state;
	_Atomic uint32_t windows;
	struct ndk_region *region;
	_Atomic uint32_t remote_token; /* what the consumer gets; 0: none */
	/* the current registration */
	struct ndk_memory memory;
	struct ndk_run run;
	char **pages;
	struct ndk_mr_source source;
	/* fast registration */
	ULONG pages_most; /* initialised for */
	bool remote_access;
	struct ke_lock lock; /* DISPATCH_LEVEL, innermost: `effective`, `posted` */
	uint64_t generation; /* registrations that have ended; changes while the gate is closed */
	uint32_t effective;
	uint32_t posted;             /* changes made, not yet applied or dropped */
	struct ndk_request *request; /* while the provider works */
};

enum ndk_mw_state { NDK_MW_FREE, NDK_MW_BOUND };

struct ndk_mw {
	struct ndk_object object;
	struct ndk_pd *pd;
	struct ndk_region *region;         /* its slot while it is bound; `lock` */
	_Atomic uint32_t remote_token;     /* 0: not bound yet */
	uint32_t next_token;               /* of the next bind, where they are the device's */
	struct ke_lock lock;               /* as the MR's */
	uint32_t state, effective, posted; /* enum ndk_mw_state; as the MR's */
	struct ndk_mr *mr;                 /* bound to */
	uint64_t generation;               /* the registration of `mr` that it was bound to */
	struct ndk_memory memory;
	struct ndk_run run;
};

/* Functions of the adapter's and the PD's tables that live with their objects. */
NDK_FN_CREATE_CQ ndk_create_cq;
NDK_FN_CREATE_PD ndk_create_pd;
NDK_FN_CREATE_SHARED_ENDPOINT ndk_create_shared_endpoint;
NDK_FN_CREATE_CONNECTOR ndk_create_connector;
NDK_FN_CREATE_LISTENER ndk_create_listener;
NDK_FN_BUILD_LAM ndk_build_lam;
NDK_FN_RELEASE_LAM ndk_release_lam;
NDK_FN_CREATE_MR ndk_create_mr;
NDK_FN_CREATE_MW ndk_create_mw;
NDK_FN_CREATE_SRQ ndk_create_srq;
NDK_FN_CREATE_QP ndk_create_qp;
NDK_FN_CREATE_QP_WITH_SRQ ndk_create_qp_with_srq;

/* ---- Regions: what tokens stand for; see region.c ---- */

struct ndk_access {
	char *data;    /* where `address` is */
	size_t length; /* bytes that lie together there: at most what was asked, at most NDK_CHUNK
			*/
	void *guard;   /* region.c's */
};
#define NDK_CHUNK 32768u

/*
 * Check `length` (not 0) bytes at `address` under `token` for protection domain, range without
 * overflow, state and rights, and open the first piece of them, which stays accessible until
 * ndk_access_end. A deregistration, invalidation or close that has begun makes it fail; one that
 * begins later waits for the end. Local SGEs: NDK_RIGHT_LOCAL_READ or _WRITE; a peer's:
 * NDK_RIGHT_REMOTE_*; a sink of reads: NDK_RIGHT_LOCAL_WRITE | NDK_RIGHT_READ_SINK.
 * IRQL = DISPATCH_LEVEL until the end.
 * STATUS_ACCESS_VIOLATION: token, PD, state or rights; STATUS_REMOTE_RESOURCES: beyond the region.
 */
NTSTATUS ndk_access_begin(struct ndk_pd *pd, uint32_t token, uint64_t address, uint64_t length,
			  unsigned rights, struct ndk_access *access);
void ndk_access_end(struct ndk_access *access);

/* The region with this token is no sink of RDMA reads, and no change of it is posted (mr_use.c). */
bool ndk_mr_is_no_sink(struct ndk_pd *pd, uint32_t token);

/* ---- Changes of regions and windows by work requests (NDK-124..131) ---- */

/*
 * What NdkFastRegister, NdkBind, NdkInvalidate will do, with its copies. Made by the posting
 * function, which also takes the state's next step (NDK-130); then applied when its turn comes in
 * the queue, or dropped, exactly once. Holds the object.
 */
struct ndk_change;
NTSTATUS ndk_change_fast_register(NDK_MR *mr, ULONG count, CONST NDK_LOGICAL_ADDRESS *pages,
				  ULONG fbo, SIZE_T length, PVOID base, ULONG flags,
				  struct ndk_pd *pd, uint64_t caller, struct ndk_change **change);
NTSTATUS ndk_change_bind(NDK_MR *mr, NDK_MW *mw, PVOID address, SIZE_T length, ULONG flags,
			 struct ndk_pd *pd, uint64_t caller, struct ndk_change **change);
NTSTATUS ndk_change_invalidate(NDK_OBJECT_HEADER *object, struct ndk_pd *pd, uint64_t caller,
			       struct ndk_change **change);
/* Its completion's status. An invalidation has ended when this returns: no access is under way. */
NTSTATUS ndk_change_apply(struct ndk_change *change);
/* The request was flushed or failed. */
void ndk_change_drop(struct ndk_change *change);
/* The request is over, with this status: drop what was not applied, or was applied early. */
void ndk_change_end(struct ndk_change *change, NTSTATUS status);
/* When its turn comes it fails, and nothing changes (--ndk-fail). */
void ndk_change_fail(struct ndk_change *change);
/* For a provider with its own device: the memory that becomes accessible (0: an invalidation), and
 * the object. */
const struct ndk_memory *ndk_change_memory(const struct ndk_change *change);
void *ndk_change_object(const struct ndk_change *change);
char *ndk_change_base(const struct ndk_change *change);
