/* SPDX-License-Identifier: MIT */
/*
 * ndk_consumer.h: one end of ndk_consumer.c's connection: objects, queues, requests, ends.
 *
 * Habits of consumers in the field (DEF-79..119): message buffers through a LAM and the privileged
 * token, fast-register MRs for data, one receive CQ and one initiator CQ, each drained in its
 * notification and armed again, results in arrays, completions awaited only when they pend.
 */
#pragma once

#include "check.h"
#include <netioapi.h>
#include <wskndk.h>

#define TAG      'snoC'
#define SLOTS    8    /* receives posted, and so credits */
#define SENDS    8    /* messages under way */
#define MESSAGE  256  /* bytes of a slot */
#define DATA     8192 /* of a data buffer */
#define PATIENCE 3000 /* ms for a peer's answer */

enum message_type { MESSAGE_PUSH = 1, MESSAGE_PULL, MESSAGE_ECHO, MESSAGE_REPLY };

/* PUSH: the peer reads `address`, then invalidates `token` with its reply. PULL: it writes it. */
struct message {
	ULONG type, sequence, credits, length;
	NTSTATUS status;
	UINT32 token;
	UINT64 address;
	UCHAR fill; /* every byte of the data */
};

struct link;

enum request_kind {
	REQUEST_RECEIVE,
	REQUEST_SEND,
	REQUEST_DATA,
	REQUEST_REGISTER,
	REQUEST_INVALIDATE
};

/* What comes back as RequestContext. */
struct request {
	enum request_kind kind;
	ULONG slot;
	BOOLEAN used;
	struct message message; /* DATA: what to answer when it is done */
};

struct wait {
	KEVENT event;
	NTSTATUS status;
	PVOID object;
};

struct memory {
	PUCHAR bytes;
	ULONG size;
	PMDL mdl;
	NDK_LOGICAL_ADDRESS_MAPPING *lam;
	ULONG fbo;
	ULONG lam_size;
};

struct link {
	const char *name;
	NDK_ADAPTER *adapter;
	NDK_ADAPTER_INFO info;
	NDK_PD *pd;
	UINT32 privileged;
	NDK_CQ *receive_cq, *send_cq;
	NDK_QP *qp;
	NDK_CONNECTOR *connector;
	NDK_MR *mr; /* the client: fast-register; the server: normal */
	UINT32 token;
	BOOLEAN registered; /* normal */
	struct memory messages, data;
	struct request receives[SLOTS], sends[SENDS];
	KSPIN_LOCK lock;      /* initiator queue, requests, credits */
	KSPIN_LOCK cq_lock;   /* NDK-87 */
	BOOLEAN closing;      /* cq_lock: the CQs are not used any more (NDK-80) */
	volatile LONG posted; /* requests under way, both queues */
	LONG credits;
	volatile LONG broken;
	KEVENT changed; /* a reply, a broken link */
	struct message reply;
	volatile LONG replies, invalidated; /* by the peer */
	UINT32 invalidated_token;
	volatile LONG registered_fast, locally_invalidated;
	void (*on_message)(struct link *link, const struct message *message);
};

/* ---- Calls that may pend (DEF-83) ---- */

CHECK_HELPER VOID NTAPI on_request(PVOID context, NTSTATUS status)
{
	struct wait *wait = context;
	wait->status = status;
	KeSetEvent(&wait->event, 0, FALSE);
}

CHECK_HELPER VOID NTAPI on_create(PVOID context, NTSTATUS status, NDK_OBJECT_HEADER *object)
{
	((struct wait *)context)->object = object;
	on_request(context, status);
}

CHECK_HELPER VOID NTAPI on_close(PVOID context)
{
	on_request(context, STATUS_SUCCESS);
}

CHECK_HELPER struct wait *wait_begin(struct wait *wait)
{
	KeInitializeEvent(&wait->event, NotificationEvent, FALSE);
	wait->object = NULL;
	return wait;
}

CHECK_HELPER NTSTATUS wait_end(struct wait *wait, NTSTATUS status, PVOID *object)
{
	if (status != STATUS_PENDING)
		return status;
	KeWaitForSingleObject(&wait->event, Executive, KernelMode, FALSE, NULL);
	if (object && NT_SUCCESS(wait->status))
		*object = wait->object;
	return wait->status;
}

CHECK_HELPER void close_object(NDK_OBJECT_HEADER *object, NDK_FN_CLOSE_OBJECT *function)
{
	struct wait wait;
	NTSTATUS status = function(object, on_close, wait_begin(&wait));
	wait_end(&wait, status, NULL);
}

#define CLOSE(object, member)                                                                      \
	do {                                                                                       \
		if (object)                                                                        \
			close_object(&(object)->Header, (object)->Dispatch->member);               \
		(object) = NULL;                                                                   \
	} while (0)

/* ---- Memory: pool, MDL, LAM (DEF-87, DEF-88) ---- */

CHECK_HELPER NTSTATUS memory_make(struct link *link, struct memory *memory, ULONG size)
{
	struct wait wait;
	memory->size = size;
	memory->bytes = ExAllocatePoolWithTag(NonPagedPoolNx, size, TAG);
	if (!memory->bytes)
		return STATUS_INSUFFICIENT_RESOURCES;
	RtlZeroMemory(memory->bytes, size);
	memory->mdl = IoAllocateMdl(memory->bytes, size, FALSE, FALSE, NULL);
	if (!memory->mdl)
		return STATUS_INSUFFICIENT_RESOURCES;
	MmBuildMdlForNonPagedPool(memory->mdl);
	ULONG pages = ADDRESS_AND_SIZE_TO_SPAN_PAGES(memory->bytes, size);
	memory->lam_size = sizeof(*memory->lam) + (pages - 1) * sizeof(NDK_LOGICAL_ADDRESS);
	PVOID lam = ExAllocatePoolWithTag(NonPagedPoolNx, memory->lam_size, TAG);
	if (!lam)
		return STATUS_INSUFFICIENT_RESOURCES;
	NTSTATUS status = link->adapter->Dispatch->NdkBuildLAM(link->adapter, memory->mdl, size,
							       on_request, wait_begin(&wait), lam,
							       &memory->lam_size, &memory->fbo);
	status = wait_end(&wait, status, NULL);
	if (!NT_SUCCESS(status)) {
		ExFreePoolWithTag(lam, TAG);
		return status;
	}
	memory->lam = lam;
	if (memory->lam->AdapterPageCount != pages)
		return STATUS_DATA_ERROR;
	return STATUS_SUCCESS;
}

CHECK_HELPER void memory_free(struct link *link, struct memory *memory)
{
	if (memory->lam) {
		link->adapter->Dispatch->NdkReleaseLAM(link->adapter, memory->lam);
		ExFreePoolWithTag(memory->lam, TAG);
	}
	if (memory->mdl)
		IoFreeMdl(memory->mdl);
	if (memory->bytes)
		ExFreePoolWithTag(memory->bytes, TAG);
	RtlZeroMemory(memory, sizeof(*memory));
}

/* Slot n of the message buffer, by its logical address: slots do not cross pages. */
CHECK_HELPER NDK_SGE slot_sge(struct link *link, ULONG slot, ULONG length)
{
	NDK_SGE sge;
	ULONG at = link->messages.fbo + slot * MESSAGE;
	sge.LogicalAddress.QuadPart =
		link->messages.lam->AdapterPageArray[at / PAGE_SIZE].QuadPart + at % PAGE_SIZE;
	sge.Length = length;
	sge.MemoryRegionToken = link->privileged;
	return sge;
}

/* ---- Requests ---- */

CHECK_HELPER void link_break(struct link *link)
{
	InterlockedExchange(&link->broken, 1);
	KeSetEvent(&link->changed, 0, FALSE);
}

CHECK_HELPER NTSTATUS post_receive(struct link *link, ULONG slot)
{
	NDK_SGE sge = slot_sge(link, slot, MESSAGE);
	link->receives[slot].kind = REQUEST_RECEIVE;
	link->receives[slot].slot = slot;
	InterlockedIncrement(&link->posted);
	NTSTATUS status = link->qp->Dispatch->NdkReceive(link->qp, &link->receives[slot], &sge, 1);
	if (!NT_SUCCESS(status))
		InterlockedDecrement(&link->posted);
	return status;
}

/* The lock is held. */
CHECK_HELPER struct request *request_take(struct link *link, enum request_kind kind)
{
	for (ULONG i = 0; i < SENDS; i++) {
		struct request *request = &link->sends[i];
		if (request->used)
			continue;
		request->used = TRUE;
		request->kind = kind;
		request->slot = SLOTS + i;
		InterlockedIncrement(&link->posted);
		return request;
	}
	return NULL;
}

/* The lock is held. */
CHECK_HELPER NTSTATUS posted(struct link *link, struct request *request, NTSTATUS status)
{
	if (!NT_SUCCESS(status)) {
		request->used = FALSE;
		InterlockedDecrement(&link->posted);
	}
	return status;
}

/* Send; with a token: and have the peer invalidate it. The lock is held. */
CHECK_HELPER NTSTATUS send_locked(struct link *link, const struct message *message, UINT32 token)
{
	struct request *request = request_take(link, REQUEST_SEND);
	if (!request)
		return STATUS_INSUFFICIENT_RESOURCES;
	NDK_SGE sge = slot_sge(link, request->slot, sizeof(*message));
	RtlCopyMemory(link->messages.bytes + request->slot * MESSAGE, message, sizeof(*message));
	const NDK_QP_DISPATCH *qp = link->qp->Dispatch;
	return posted(link, request,
		      token ? qp->NdkSendAndInvalidate(link->qp, request, &sge, 1, 0, token)
			    : qp->NdkSend(link->qp, request, &sge, 1, 0));
}

CHECK_HELPER NTSTATUS send_message(struct link *link, const struct message *message, UINT32 token)
{
	KIRQL old;
	KeAcquireSpinLock(&link->lock, &old);
	NTSTATUS status = send_locked(link, message, token);
	KeReleaseSpinLock(&link->lock, old);
	if (!NT_SUCCESS(status))
		link_break(link);
	return status;
}

/* ---- Completions (DEF-99..101) ---- */

void data_done(struct link *link, struct request *request, NTSTATUS status);

CHECK_HELPER void receive_done(struct link *link, const NDK_RESULT_EX *result)
{
	struct request *request = result->RequestContext;
	struct message message;
	InterlockedDecrement(&link->posted);
	if (!NT_SUCCESS(result->Status)) {
		link_break(link);
		return;
	}
	RtlCopyMemory(&message, link->messages.bytes + request->slot * MESSAGE, sizeof(message));
	if (result->Type == NdkOperationTypeReceiveAndInvalidate) {
		link->invalidated_token = (UINT32)result->TypeSpecificCompletionOutput;
		InterlockedIncrement(&link->invalidated);
	}
	if (!link->broken && !NT_SUCCESS(post_receive(link, request->slot)))
		link_break(link);
	link->on_message(link, &message);
}

CHECK_HELPER void initiator_done(struct link *link, const NDK_RESULT *result)
{
	struct request *request = result->RequestContext, copy = *request;
	KIRQL old;
	if (!NT_SUCCESS(result->Status))
		link_break(link);
	else if (request->kind == REQUEST_REGISTER)
		InterlockedIncrement(&link->registered_fast);
	else if (request->kind == REQUEST_INVALIDATE)
		InterlockedIncrement(&link->locally_invalidated);
	KeAcquireSpinLock(&link->lock, &old);
	request->used = FALSE;
	KeReleaseSpinLock(&link->lock, old);
	if (copy.kind == REQUEST_DATA)
		data_done(link, &copy, result->Status);
	KeSetEvent(&link->changed, 0, FALSE);
	InterlockedDecrement(&link->posted);
}

CHECK_HELPER void drain_receives(struct link *link)
{
	NDK_RESULT_EX results[16];
	ULONG count;
	KIRQL old;
	do {
		KeAcquireSpinLock(&link->cq_lock, &old);
		count = link->closing ? 0
				      : link->receive_cq->Dispatch->NdkGetCqResultsEx(
						link->receive_cq, results, 16);
		KeReleaseSpinLock(&link->cq_lock, old);
		for (ULONG i = 0; i < count; i++)
			receive_done(link, &results[i]);
	} while (count);
}

CHECK_HELPER void drain_initiator(struct link *link)
{
	NDK_RESULT results[16];
	ULONG count;
	KIRQL old;
	do {
		KeAcquireSpinLock(&link->cq_lock, &old);
		count = link->closing ? 0
				      : link->send_cq->Dispatch->NdkGetCqResults(link->send_cq,
										 results, 16);
		KeReleaseSpinLock(&link->cq_lock, old);
		for (ULONG i = 0; i < count; i++)
			initiator_done(link, &results[i]);
	} while (count);
}

CHECK_HELPER void arm(struct link *link, NDK_CQ *cq)
{
	KIRQL old;
	KeAcquireSpinLock(&link->cq_lock, &old);
	if (!link->closing)
		cq->Dispatch->NdkArmCq(cq, NDK_CQ_NOTIFY_ANY);
	KeReleaseSpinLock(&link->cq_lock, old);
}

CHECK_HELPER VOID NTAPI on_receive_cq(PVOID context, NTSTATUS status)
{
	struct link *link = context;
	if (!NT_SUCCESS(status))
		link_break(link);
	drain_receives(link);
	arm(link, link->receive_cq);
}

CHECK_HELPER VOID NTAPI on_send_cq(PVOID context, NTSTATUS status)
{
	struct link *link = context;
	if (!NT_SUCCESS(status))
		link_break(link);
	drain_initiator(link);
	arm(link, link->send_cq);
}

CHECK_HELPER VOID NTAPI on_disconnect(PVOID context)
{
	link_break(context);
}

/* ---- Ends: all but the connection ---- */

static WSK_PROVIDER_NPI npi;
static WSK_PROVIDER_NDK_DISPATCH ndk;

CHECK_HELPER NTSTATUS make_queues(struct link *link)
{
	struct wait wait;
	const NDK_ADAPTER_DISPATCH *adapter = link->adapter->Dispatch;
	NTSTATUS status = adapter->NdkCreateCq(link->adapter, 64, on_receive_cq, link, NULL,
					       on_create, wait_begin(&wait), &link->receive_cq);
	status = wait_end(&wait, status, (PVOID *)&link->receive_cq);
	if (!NT_SUCCESS(status))
		return status;
	status = adapter->NdkCreateCq(link->adapter, 64, on_send_cq, link, NULL, on_create,
				      wait_begin(&wait), &link->send_cq);
	status = wait_end(&wait, status, (PVOID *)&link->send_cq);
	if (!NT_SUCCESS(status))
		return status;
	status = link->send_cq->Dispatch->NdkControlCqInterruptModeration(link->send_cq, 20,
									  MAXULONG);
	if (!NT_SUCCESS(status))
		return status;
	status = link->pd->Dispatch->NdkCreateQp(link->pd, link->receive_cq, link->send_cq, link,
						 16, 16, 4, 4, 0, on_create, wait_begin(&wait),
						 &link->qp);
	return wait_end(&wait, status, (PVOID *)&link->qp);
}

/* The client: fast-register, its token is read once (DEF-1). The server: NdkRegisterMr. */
CHECK_HELPER NTSTATUS make_region(struct link *link, BOOLEAN fast)
{
	struct wait wait;
	NTSTATUS status = link->pd->Dispatch->NdkCreateMr(link->pd, fast, on_create,
							  wait_begin(&wait), &link->mr);
	status = wait_end(&wait, status, (PVOID *)&link->mr);
	if (!NT_SUCCESS(status))
		return status;
	const NDK_MR_DISPATCH *mr = link->mr->Dispatch;
	if (fast) {
		status = mr->NdkInitializeFastRegisterMr(link->mr, link->data.lam->AdapterPageCount,
							 TRUE, on_request, wait_begin(&wait));
		status = wait_end(&wait, status, NULL);
		if (NT_SUCCESS(status))
			link->token = mr->NdkGetRemoteTokenFromMr(link->mr);
		return NT_SUCCESS(status) && !link->token ? STATUS_DATA_ERROR : status;
	}
	status = mr->NdkRegisterMr(link->mr, link->data.mdl, DATA, NDK_MR_FLAG_ALLOW_LOCAL_WRITE,
				   on_request, wait_begin(&wait));
	status = wait_end(&wait, status, NULL);
	link->registered = NT_SUCCESS(status);
	if (link->registered)
		link->token = mr->NdkGetLocalTokenFromMr(link->mr);
	return status;
}

CHECK_HELPER NTSTATUS link_open(struct link *link, NET_IFINDEX index, BOOLEAN fast)
{
	NDK_VERSION version = {1, 0};
	ULONG size = sizeof(link->info);
	struct wait wait;
	NTSTATUS status = ndk.WskOpenNdkAdapter(npi.Client, version, index, &link->adapter);
	if (!NT_SUCCESS(status))
		return status;
	status = link->adapter->Dispatch->NdkQueryAdapterInfo(link->adapter, &link->info, &size);
	if (!NT_SUCCESS(status))
		return status;
	status = link->adapter->Dispatch->NdkCreatePd(link->adapter, on_create, wait_begin(&wait),
						      &link->pd);
	status = wait_end(&wait, status, (PVOID *)&link->pd);
	if (!NT_SUCCESS(status))
		return status;
	link->pd->Dispatch->NdkGetPrivilegedMemoryRegionToken(link->pd, &link->privileged);
	status = memory_make(link, &link->messages, (SLOTS + SENDS) * MESSAGE);
	if (NT_SUCCESS(status))
		status = memory_make(link, &link->data, DATA);
	if (NT_SUCCESS(status))
		status = make_region(link, fast);
	return NT_SUCCESS(status) ? make_queues(link) : status;
}
