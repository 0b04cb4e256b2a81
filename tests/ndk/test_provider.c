/* SPDX-License-Identifier: MIT */
/*
 * A whole machine with a provider that finishes later, on a thread of the host, as a device does:
 * each operation ends at once, before its return, or some time after it, at random, and some fail.
 * The object layer must tell the consumer everything once, in order, whatever comes first
 * (NDK-76..83, NDK-128), and ask the provider to destroy exactly what it made, children first.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ke/ke.h"
#include "ke/request.h"
#include "ketch/ketch.h"
#include "ndk/internal.h"
#include "ndk/ndk.h"
#include "ndk/region.h"
#include "ndk/work.h"

#define JOBS   64
#define ROUNDS 300
#define SIZE   8192u

static unsigned passed, failed;

#define CHECK(condition, text)                                                                     \
	do {                                                                                       \
		if (condition)                                                                     \
			passed++;                                                                  \
		else                                                                               \
			printf("FAIL %s (line %d)\n", text, __LINE__), failed++;                   \
	} while (0)

/* ---- The provider ---------------------------------------------------------------------------- */

enum operation { CREATE, DESTROY, REGISTER, DEREGISTER, INITIALIZE };
enum pace { AT_ONCE, BEFORE_RETURN, LATER, ANY };

struct job {
	struct job *next;
	enum operation operation;
	void *object;
	int status;
};

static struct job jobs[JOBS];
static _Atomic uint32_t job_count;
static struct job *_Atomic submitted, *_Atomic finished;
static _Atomic uint32_t made[NDK_TYPES], gone[NDK_TYPES];
static _Atomic uint32_t registered, deregistered;
static _Atomic bool stop;
static enum pace pace = ANY;
static int next_status; /* of the next operation */
static uint64_t seed = 1;
static const struct ndk_memory *last_memory;

static uint32_t draw(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

static void push(struct job *_Atomic *stack, struct job *job)
{
	struct job *head = atomic_load(stack);
	do
		job->next = head;
	while (!atomic_compare_exchange_weak(stack, &head, job));
}

static void up_call(const struct job *job)
{
	switch (job->operation) {
	case CREATE:
		ndk_created(job->object, job->status);
		break;
	case DESTROY:
		ndk_destroyed(job->object);
		break;
	case REGISTER:
		ndk_mr_registered(job->object, job->status, 0xabcd0000 + job_count);
		break;
	case DEREGISTER:
		ndk_mr_deregistered(job->object);
		break;
	case INITIALIZE:
		ndk_mr_initialized(job->object, job->status, 0xbeef0000);
		break;
	}
}

static void service(void)
{
	struct job *list = atomic_exchange(&finished, NULL);
	while (list) {
		struct job copy = *list;
		struct job *next = list->next;
		list->object = NULL; /* free */
		up_call(&copy);
		list = next;
	}
}

static const struct ndk_provider slow;

static void *device(void *unused)
{
	(void)unused;
	while (!atomic_load(&stop)) {
		struct job *list = atomic_exchange(&submitted, NULL);
		usleep(list ? 300 : 50);
		while (list) {
			struct job *next = list->next;
			push(&finished, list);
			list = next;
			ndk_port_interrupt(&slow);
		}
	}
	return NULL;
}

static int start(enum operation operation, void *object)
{
	int status = next_status;
	enum pace now = pace == ANY ? (enum pace)draw(3) : pace;
	next_status = NDK_SUCCESS;
	if (now == AT_ONCE)
		return status;
	struct job local = {.operation = operation, .object = object, .status = status};
	if (now == BEFORE_RETURN) {
		up_call(&local);
		return NDK_PENDING;
	}
	struct job *job = &jobs[atomic_fetch_add(&job_count, 1) % JOBS];
	if (job->object)
		abort();
	*job = local;
	push(&submitted, job);
	return NDK_PENDING;
}

static int create(void *object, enum ndk_type type, const void *parameters)
{
	(void)parameters;
	*(uint64_t *)ndk_private(object) = 0x1234;
	if (next_status == NDK_SUCCESS)
		atomic_fetch_add(&made[type], 1);
	return start(CREATE, object);
}

static int destroy(void *object, enum ndk_type type)
{
	if (*(uint64_t *)ndk_private(object) != 0x1234)
		abort(); /* twice, or never made */
	*(uint64_t *)ndk_private(object) = 0;
	atomic_fetch_add(&gone[type], 1);
	if (type == NDK_TYPE_PD &&
	    gone[NDK_TYPE_MR] + gone[NDK_TYPE_MW] != made[NDK_TYPE_MR] + made[NDK_TYPE_MW])
		CHECK(false, "NDK-83 children are destroyed before their parent");
	return start(DESTROY, object);
}

static int mr_register(struct ndk_mr *mr, const struct ndk_memory *memory)
{
	last_memory = memory;
	atomic_fetch_add(&registered, next_status == NDK_SUCCESS);
	return start(REGISTER, mr);
}

static int mr_deregister(struct ndk_mr *mr)
{
	atomic_fetch_add(&deregistered, 1);
	return start(DEREGISTER, mr);
}

static int mr_initialize(struct ndk_mr *mr, uint32_t pages, bool remote)
{
	(void)pages;
	(void)remote;
	return start(INITIALIZE, mr);
}

static const struct ndk_provider slow = {
	.name = "slow",
	.private_size = {[NDK_TYPE_ADAPTER] = 8,
			 [NDK_TYPE_PD] = 8,
			 [NDK_TYPE_MR] = 8,
			 [NDK_TYPE_MW] = 8,
			 [NDK_TYPE_SRQ] = 8},
	.remote_tokens = true,
	.service = service,
	.create = create,
	.destroy = destroy,
	.mr_register = mr_register,
	.mr_deregister = mr_deregister,
	.mr_initialize = mr_initialize,
};

/* ---- The consumer ---------------------------------------------------------------------------- */

struct call {
	KEVENT done;
	_Atomic uint32_t times;
	NTSTATUS status;
	NDK_OBJECT_HEADER *object;
	uint32_t order;
};

static _Atomic uint32_t order;

static VOID NTAPI on_created(PVOID context, NTSTATUS status, NDK_OBJECT_HEADER *object)
{
	struct call *call = context;
	call->status = status;
	call->object = object;
	call->order = ++order;
	atomic_fetch_add(&call->times, 1);
	KeSetEvent(&call->done, 0, FALSE);
}

static VOID NTAPI on_request(PVOID context, NTSTATUS status)
{
	on_created(context, status, NULL);
}

static VOID NTAPI on_closed(PVOID context)
{
	on_created(context, STATUS_SUCCESS, NULL);
}

static struct call *fresh(struct call *call)
{
	memset(call, 0, sizeof *call);
	KeInitializeEvent(&call->done, NotificationEvent, FALSE);
	return call;
}

/* How it ended; STATUS_PENDING waits for exactly one completion. */
static NTSTATUS end(struct call *call, NTSTATUS status)
{
	LARGE_INTEGER limit = {.QuadPart = -10000 * 10000LL};
	if (status == STATUS_PENDING &&
	    KeWaitForSingleObject(&call->done, Executive, KernelMode, FALSE, &limit))
		return STATUS_TIMEOUT;
	CHECK(call->times == (status == STATUS_PENDING),
	      "NDK-76 one completion for STATUS_PENDING");
	return status == STATUS_PENDING ? call->status : status;
}

static NDK_ADAPTER *adapter;
static MDL *mdl;

static NDK_PD *make_pd(void)
{
	struct call call;
	NDK_PD *pd = NULL;
	NTSTATUS status = adapter->Dispatch->NdkCreatePd(adapter, on_created, fresh(&call), &pd);
	if (end(&call, status) != STATUS_SUCCESS)
		return NULL;
	return status == STATUS_PENDING ? (NDK_PD *)call.object : pd;
}

static NDK_MR *make_mr(NDK_PD *pd, bool fast, NTSTATUS expected)
{
	struct call call;
	NDK_MR *mr = NULL;
	NTSTATUS status = pd->Dispatch->NdkCreateMr(pd, fast, on_created, fresh(&call), &mr);
	NTSTATUS ended = end(&call, status);
	CHECK(ended == expected, "NDK-43 a create ends as the provider says");
	if (ended != STATUS_SUCCESS)
		CHECK(!call.object && !mr, "NDK-78 a failed create gives no object");
	return status == STATUS_PENDING ? (NDK_MR *)call.object : mr;
}

static NTSTATUS add(NDK_MR *mr)
{
	struct call call;
	return end(&call, mr->Dispatch->NdkRegisterMr(mr, mdl, SIZE, NDK_MR_FLAG_ALLOW_REMOTE_WRITE,
						      on_request, fresh(&call)));
}

static NTSTATUS take(NDK_MR *mr)
{
	struct call call;
	return end(&call, mr->Dispatch->NdkDeregisterMr(mr, on_request, fresh(&call)));
}

static void close_mr(NDK_MR *mr)
{
	struct call call;
	CHECK(NT_SUCCESS(
		      end(&call, mr->Dispatch->NdkCloseMr(&mr->Header, on_closed, fresh(&call)))),
	      "NDK-75 a close never fails");
}

/* A local access, as a request's. */
static bool reachable(NDK_PD *pd, UINT32 token)
{
	struct ndk_access access;
	KIRQL old = ke_irql_raise(DISPATCH_LEVEL);
	bool reached = NT_SUCCESS(ndk_access_begin((struct ndk_pd *)pd, token,
						   (uint64_t)MmGetMdlVirtualAddress(mdl), SIZE,
						   NDK_RIGHT_LOCAL_WRITE, &access));
	if (reached)
		ndk_access_end(&access);
	ke_irql_lower(old);
	return reached;
}

static void pending_registration(NDK_PD *pd)
{
	struct call one, two;
	NDK_MR *mr = make_mr(pd, false, STATUS_SUCCESS);
	pace = LATER;
	NTSTATUS status = mr->Dispatch->NdkRegisterMr(mr, mdl, SIZE, NDK_MR_FLAG_ALLOW_LOCAL_WRITE,
						      on_request, fresh(&one));
	CHECK(status == STATUS_PENDING, "NDK-49 a registration pends");
	CHECK(!mr->Dispatch->NdkGetRemoteTokenFromMr(mr) &&
		      !mr->Dispatch->NdkGetLocalTokenFromMr(mr),
	      "NDK-123 no token while it is pending");
	CHECK(mr->Dispatch->NdkRegisterMr(mr, mdl, SIZE, 0, on_request, fresh(&two)) ==
		      STATUS_INVALID_DEVICE_STATE,
	      "NDK-128 P1: registering");
	CHECK(mr->Dispatch->NdkDeregisterMr(mr, on_request, &two) == STATUS_INVALID_DEVICE_STATE,
	      "NDK-128 P1: deregistering");
	CHECK(end(&one, status) == STATUS_SUCCESS && !two.times, "NDK-49 it ends");
	UINT32 local = mr->Dispatch->NdkGetLocalTokenFromMr(mr);
	CHECK(mr->Dispatch->NdkGetRemoteTokenFromMr(mr) >> 16 == 0xabcd && local,
	      "NDK-123 the device's token");
	CHECK(last_memory->run_count == 1 && last_memory->length == SIZE &&
		      last_memory->runs[0].base == MmGetMdlVirtualAddress(mdl),
	      "what the provider is told");
	CHECK(reachable(pd, local), "a local request reaches it");
	status = mr->Dispatch->NdkDeregisterMr(mr, on_request, fresh(&one));
	CHECK(status == STATUS_PENDING && !reachable(pd, local),
	      "NDK-50 nobody reaches it while it is deregistered");
	CHECK(mr->Dispatch->NdkRegisterMr(mr, mdl, SIZE, 0, on_request, fresh(&two)) ==
		      STATUS_INVALID_DEVICE_STATE,
	      "NDK-128 P2: registering");
	CHECK(end(&one, status) == STATUS_SUCCESS, "NDK-50 it ends");

	next_status = NDK_INSUFFICIENT_RESOURCES;
	CHECK(add(mr) == STATUS_INSUFFICIENT_RESOURCES, "NDK-49 a failure of the provider");
	CHECK(add(mr) == STATUS_SUCCESS, "NDK-128 ... leaves it as it was");

	/* Closed while it is deregistered: the request first, then the close. */
	status = mr->Dispatch->NdkDeregisterMr(mr, on_request, fresh(&one));
	NTSTATUS closing = mr->Dispatch->NdkCloseMr(&mr->Header, on_closed, fresh(&two));
	CHECK(status == STATUS_PENDING && closing == STATUS_PENDING, "NDK-128 P2: closing");
	CHECK(end(&two, closing) == STATUS_SUCCESS && end(&one, status) == STATUS_SUCCESS &&
		      one.order < two.order,
	      "NDK-81 the close completes last");
	pace = ANY;
}

static void antecedents(void)
{
	struct call pd_closed, mr_closed;
	NDK_PD *pd = make_pd();
	NDK_MR *mr = make_mr(pd, true, STATUS_SUCCESS);
	pace = LATER;
	NTSTATUS first = pd->Dispatch->NdkClosePd(&pd->Header, on_closed, fresh(&pd_closed));
	NTSTATUS second = mr->Dispatch->NdkCloseMr(&mr->Header, on_closed, fresh(&mr_closed));
	CHECK(first == STATUS_PENDING && second == STATUS_PENDING, "NDK-83 both pend");
	CHECK(end(&pd_closed, first) == STATUS_SUCCESS &&
		      end(&mr_closed, second) == STATUS_SUCCESS &&
		      mr_closed.order < pd_closed.order,
	      "NDK-83 the antecedent completes last");
	pace = ANY;
}

static _Atomic uint32_t failures_told;

static VOID NTAPI on_srq(PVOID context, NTSTATUS status)
{
	(void)context;
	atomic_fetch_add(&failures_told, status == STATUS_INTERNAL_ERROR);
}

/* NDK-109b: it fails while a notification of its threshold is queued. */
static void failing_srq(NDK_PD *pd)
{
	struct call call;
	NDK_SRQ *srq = NULL;
	LARGE_INTEGER moment = {.QuadPart = -20 * 10000LL};
	pace = AT_ONCE;
	NTSTATUS status = pd->Dispatch->NdkCreateSrq(pd, 8, 1, 1, on_srq, NULL, NULL, on_created,
						     fresh(&call), &srq);
	CHECK(end(&call, status) == STATUS_SUCCESS, "NDK-45 a shared receive queue");
	if (status == STATUS_PENDING)
		srq = (NDK_SRQ *)call.object;
	KIRQL old = ke_irql_raise(DISPATCH_LEVEL);
	status = srq->Dispatch->NdkModifySrq(srq, 0, 1, on_request, fresh(&call));
	ndk_srq_failed((struct ndk_srq *)srq);
	ke_irql_lower(old);
	CHECK(end(&call, status) == STATUS_SUCCESS, "NDK-58 its threshold");
	for (unsigned i = 0; i < 500 && !failures_told; i++)
		KeDelayExecutionThread(KernelMode, FALSE, &moment);
	status = srq->Dispatch->NdkModifySrq(srq, 0, 2, on_request, fresh(&call));
	CHECK(end(&call, status) == STATUS_SUCCESS, "NDK-58 armed again");
	for (unsigned i = 0; i < 5; i++)
		KeDelayExecutionThread(KernelMode, FALSE, &moment);
	CHECK(failures_told == 1, "NDK-109b its failure is told once");
	status = srq->Dispatch->NdkCloseSrq(&srq->Header, on_closed, fresh(&call));
	CHECK(end(&call, status) == STATUS_SUCCESS, "NDK-81 it closes");
	pace = ANY;
}

static void one_round(NDK_PD *pd)
{
	struct call call;
	bool fast = draw(2);
	bool fails = !draw(8);
	next_status = fails ? NDK_INSUFFICIENT_RESOURCES : NDK_SUCCESS;
	NDK_MR *mr = make_mr(pd, fast, next_status);
	if (!mr)
		return;
	for (unsigned i = draw(4); i--;) {
		if (fast) {
			CHECK(NT_SUCCESS(
				      end(&call, mr->Dispatch->NdkInitializeFastRegisterMr(
							 mr, 4, TRUE, on_request, fresh(&call)))),
			      "NDK-51 initialisation");
			continue;
		}
		next_status = draw(4) ? NDK_SUCCESS : NDK_INSUFFICIENT_RESOURCES;
		if (NT_SUCCESS(add(mr)) && draw(8))
			CHECK(NT_SUCCESS(take(mr)), "NDK-50 deregistration");
	}
	next_status = NDK_SUCCESS;
	close_mr(mr);
}

static void run_all(struct ke_command *command)
{
	NDK_VERSION version = {2, 1};
	struct call call;
	(void)command;
	void *memory = ExAllocatePoolWithTag(NonPagedPoolNx, SIZE, 'tseT');
	mdl = IoAllocateMdl(memory, SIZE, FALSE, FALSE, NULL);
	MmBuildMdlForNonPagedPool(mdl);
	CHECK(NT_SUCCESS(ndk_adapter_open(99, version, 0, &adapter)), "NDK-112 the adapter opens");
	NDK_PD *pd = make_pd();
	CHECK(pd != NULL, "NDK-38 a protection domain");
	pending_registration(pd);
	antecedents();
	failing_srq(pd);
	for (unsigned i = 0; i < ROUNDS; i++)
		one_round(pd);
	CHECK(end(&call, pd->Dispatch->NdkClosePd(&pd->Header, on_closed, fresh(&call))) ==
		      STATUS_SUCCESS,
	      "NDK-75 the domain closes");
	pace = LATER;
	ndk_adapter_close(adapter, 0);
	for (unsigned type = 0; type < NDK_TYPES; type++)
		CHECK(made[type] == gone[type], "what was made is destroyed");
	CHECK(made[NDK_TYPE_ADAPTER] == 1 && made[NDK_TYPE_PD] == 2 && made[NDK_TYPE_MR] > 100,
	      "all of it was tried");
	CHECK(registered > 100 && deregistered > 50, "registered and deregistered");
	IoFreeMdl(mdl);
	ExFreePoolWithTag(memory, 'tseT');
}

int main(int argc, char **argv)
{
	const struct ketch_options options = {.processors = 2,
					      .maximum_processors = 2,
					      .group_size = 64,
					      .verify = KETCH_VERIFY_REPORT};
	static struct ndk_device rnic = {.provider = &slow, .interface_index = 99, .name = "slow"};
	static struct ke_command command = {.run = run_all};
	pthread_t thread;
	seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 20240601;
	printf("seed %ju\n", (uintmax_t)seed);
	if (!ketch_boot(&options)) {
		fprintf(stderr, "test_provider: %s\n", ketch_message());
		return 2;
	}
	if (!ndk_device_add(&rnic) || pthread_create(&thread, NULL, device, NULL))
		return 2;
	ke_command_post(KE_COMMANDS_CONTROL, &command);
	for (unsigned ms = 0; !atomic_load(&command.done) && ms < 40000; ms += 10)
		ketch_wait(10);
	bool ended = atomic_load(&command.done);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	if (!ended)
		printf("FAIL it did not end\n");
	printf("%s the objects over a provider that finishes when it likes: %u checks, %u failed\n",
	       ended && !failed ? "PASS" : "FAIL", passed + failed, failed);
	fflush(stdout);
	_exit(ended && !failed ? 0 : 1); /* processors still sleep in this process */
}
