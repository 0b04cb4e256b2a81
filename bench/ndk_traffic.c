/* SPDX-License-Identifier: MIT */
/*
 * ndk_traffic.c: two ndk_ends that are connected to each other over the loopback provider, through
 * the consumer's functions; one thread posts and polls both. Runs on a baton.
 */
#include <ndkpi.h>
#include <ws2def.h>
#include "bench/ndk.h"
#include "bench/ndk_traffic.h"
#include "ke/ke.h"
#include "ndk/ndk.h"
#include "rtl/rtl.h"

#define DEPTH 64

struct end ndk_ends[2];
static NDK_LISTENER *listener;
static NDK_CONNECTOR *volatile incoming;
static volatile LONG pending; /* calls whose completion has not come */
static volatile bool failed;

static VOID NTAPI on_request(PVOID context, NTSTATUS status)
{
	(void)context;
	failed |= !NT_SUCCESS(status);
	InterlockedDecrement(&pending);
}

static VOID NTAPI on_close(PVOID context)
{
	on_request(context, STATUS_SUCCESS);
}

static VOID NTAPI on_create(PVOID context, NTSTATUS status, NDK_OBJECT_HEADER *object)
{
	*(NDK_OBJECT_HEADER **)context = object;
	on_request(context, status);
}

static VOID NTAPI on_connect(PVOID context, NDK_CONNECTOR *connector)
{
	(void)context;
	incoming = connector;
}

static VOID NTAPI on_notify(PVOID context, NTSTATUS status)
{
	(void)context;
	(void)status;
}

static void sleep_ms(void)
{
	LARGE_INTEGER millisecond = {.QuadPart = -10000};
	KeDelayExecutionThread(KernelMode, FALSE, &millisecond);
}

/* Of a call that was counted as pending before. */
static void settle(NTSTATUS status)
{
	if (status != STATUS_PENDING)
		on_request(NULL, status);
	while (pending)
		sleep_ms();
}

#define CALL(expression)                                                                           \
	do {                                                                                       \
		InterlockedIncrement(&pending);                                                    \
		settle(expression);                                                                \
	} while (0)

static void make_memory(struct end *end)
{
	end->data = ExAllocatePoolWithTag(NonPagedPoolNx, BUFFER, 'hcnB');
	memset(end->data, 1, BUFFER);
	end->mdl = IoAllocateMdl(end->data, BUFFER, FALSE, FALSE, NULL);
	MmBuildMdlForNonPagedPool(end->mdl);
	CALL(end->pd->Dispatch->NdkCreateMr(end->pd, FALSE, on_create, &end->mr, &end->mr));
	CALL(end->mr->Dispatch->NdkRegisterMr(end->mr, end->mdl, BUFFER,
					      NDK_MR_FLAG_ALLOW_LOCAL_WRITE |
						      NDK_MR_FLAG_ALLOW_REMOTE_READ |
						      NDK_MR_FLAG_ALLOW_REMOTE_WRITE,
					      on_request, NULL));
	end->local = end->mr->Dispatch->NdkGetLocalTokenFromMr(end->mr);
	end->remote = end->mr->Dispatch->NdkGetRemoteTokenFromMr(end->mr);
}

static void make_end(struct end *end, uint32_t index)
{
	NDK_VERSION version = {2, 1};
	if (!NT_SUCCESS(ndk_adapter_open(index, version, 0, &end->adapter))) {
		failed = true;
		return;
	}
	NDK_ADAPTER *a = end->adapter;
	CALL(a->Dispatch->NdkCreatePd(a, on_create, &end->pd, &end->pd));
	CALL(a->Dispatch->NdkCreateCq(a, 4 * DEPTH, on_notify, NULL, NULL, on_create, &end->cq,
				      &end->cq));
	CALL(end->pd->Dispatch->NdkCreateQp(end->pd, end->cq, end->cq, NULL, DEPTH, DEPTH, 1, 1, 0,
					    on_create, &end->qp, &end->qp));
	make_memory(end);
}

static SOCKADDR_IN address_of(uint32_t index, USHORT port)
{
	const struct ndk_device *device = ndk_device_find(index);
	SOCKADDR_IN address = {.sin_family = AF_INET};
	memcpy(&address.sin_addr, device->addresses[0].bytes, 4);
	address.sin_port = (USHORT)(port << 8 | port >> 8);
	return address;
}

static void join(uint32_t from, uint32_t to)
{
	SOCKADDR_IN source = address_of(from, 0), target = address_of(to, 7471);
	struct end *x = &ndk_ends[0], *y = &ndk_ends[1];
	CALL(y->adapter->Dispatch->NdkCreateListener(y->adapter, on_connect, NULL, on_create,
						     &listener, &listener));
	CALL(listener->Dispatch->NdkListen(listener, (SOCKADDR *)&target, sizeof target, on_request,
					   NULL));
	CALL(x->adapter->Dispatch->NdkCreateConnector(x->adapter, on_create, &x->connector,
						      &x->connector));
	InterlockedIncrement(&pending);
	NTSTATUS status = x->connector->Dispatch->NdkConnect(
		x->connector, x->qp, (SOCKADDR *)&source, sizeof source, (SOCKADDR *)&target,
		sizeof target, 1, 1, NULL, 0, on_request, NULL);
	failed |= status != STATUS_PENDING;
	while (!incoming && !failed)
		sleep_ms();
	if (failed)
		return;
	y->connector = incoming;
	InterlockedIncrement(&pending);
	status = y->connector->Dispatch->NdkAccept(y->connector, y->qp, 1, 1, NULL, 0, NULL, NULL,
						   on_request, NULL);
	failed |= status != STATUS_PENDING;
	while (pending > 1)
		sleep_ms();
	CALL(x->connector->Dispatch->NdkCompleteConnect(x->connector, NULL, NULL, on_request,
							NULL));
}

bool ndk_traffic_ready;

void ndk_traffic_begin(void)
{
	struct ndk_device *first = ndk_device_first();
	failed = ndk_traffic_ready = false;
	incoming = NULL;
	if (!first || !first->next)
		return;
	make_end(&ndk_ends[0], first->interface_index);
	if (!failed)
		make_end(&ndk_ends[1], first->next->interface_index);
	if (!failed)
		join(first->interface_index, first->next->interface_index);
	ndk_traffic_ready = !failed;
}

#define CLOSE(object, member) CALL((object)->Dispatch->member(&(object)->Header, on_close, NULL))

void ndk_traffic_end(void)
{
	for (unsigned i = 0; i < 2; i++) {
		struct end *end = &ndk_ends[i];
		CLOSE(end->connector, NdkCloseConnector);
		CLOSE(end->qp, NdkCloseQp);
		CLOSE(end->cq, NdkCloseCq);
		CALL(end->mr->Dispatch->NdkDeregisterMr(end->mr, on_request, NULL));
		CLOSE(end->mr, NdkCloseMr);
		CLOSE(end->pd, NdkClosePd);
		IoFreeMdl(end->mdl);
		ExFreePoolWithTag(end->data, 'hcnB');
	}
	CLOSE(listener, NdkCloseListener);
	ndk_adapter_close(ndk_ends[0].adapter, 0);
	ndk_adapter_close(ndk_ends[1].adapter, 0);
}

/* ---- Batches ---- */

static void wait_completions(struct end *end, unsigned count)
{
	NDK_RESULT results[DEPTH];
	while (count) {
		ULONG got = end->cq->Dispatch->NdkGetCqResults(end->cq, results,
							       count < DEPTH ? count : DEPTH);
		for (ULONG i = 0; i < got; i++)
			failed |= !NT_SUCCESS(results[i].Status);
		count -= got;
	}
}

static double writes(unsigned count, ULONG size)
{
	struct end *x = &ndk_ends[0], *y = &ndk_ends[1];
	NDK_SGE sge = {.Length = size, .MemoryRegionToken = x->local};
	sge.VirtualAddress = x->data;
	uint64_t begin = port_time_ns();
	for (unsigned i = 0; i < count; i++) {
		NTSTATUS status = x->qp->Dispatch->NdkWrite(x->qp, NULL, &sge, 1, (UINT64)y->data,
							    y->remote, 0);
		if (!NT_SUCCESS(status))
			return -1;
		wait_completions(x, 1);
	}
	return failed ? -1 : (double)(port_time_ns() - begin) / count;
}

double ndk_write_4k(unsigned count)
{
	return writes(count, 4096);
}

double ndk_write_1m(unsigned count)
{
	return writes(count, BUFFER);
}

double ndk_memcpy_1m(unsigned count)
{
	uint64_t begin = port_time_ns();
	for (unsigned i = 0; i < count; i++) {
		memcpy(ndk_ends[1].data, ndk_ends[0].data, BUFFER);
		__asm__ volatile("" : : "r"(ndk_ends[1].data) : "memory");
	}
	return (double)(port_time_ns() - begin) / count;
}

static NTSTATUS receive(struct end *end, unsigned slot)
{
	NDK_SGE sge = {.Length = 64, .MemoryRegionToken = end->local};
	sge.VirtualAddress = end->data + 65536 + 64 * slot;
	return end->qp->Dispatch->NdkReceive(end->qp, NULL, &sge, 1);
}

static NTSTATUS send(struct end *end, unsigned slot)
{
	NDK_SGE sge = {.Length = 64, .MemoryRegionToken = end->local};
	sge.VirtualAddress = end->data + 64 * slot;
	return end->qp->Dispatch->NdkSend(end->qp, NULL, &sge, 1, 0);
}

double ndk_pingpong(unsigned count)
{
	uint64_t begin = port_time_ns();
	for (unsigned i = 0; i < count; i++) {
		for (unsigned side = 0; side < 2; side++) {
			if (!NT_SUCCESS(receive(&ndk_ends[!side], 0)) ||
			    !NT_SUCCESS(send(&ndk_ends[side], 0)))
				return -1;
			wait_completions(&ndk_ends[!side], 1);
			wait_completions(&ndk_ends[side], 1);
		}
	}
	return failed ? -1 : (double)(port_time_ns() - begin) / count;
}

double ndk_stream(unsigned count)
{
	uint64_t begin = port_time_ns();
	for (unsigned i = 0; i < count; i += DEPTH) {
		for (unsigned slot = 0; slot < DEPTH; slot++)
			failed |= !NT_SUCCESS(receive(&ndk_ends[1], slot));
		for (unsigned slot = 0; slot < DEPTH; slot++)
			failed |= !NT_SUCCESS(send(&ndk_ends[0], slot));
		if (failed)
			return -1;
		wait_completions(&ndk_ends[1], DEPTH);
		wait_completions(&ndk_ends[0], DEPTH);
	}
	return (double)(port_time_ns() - begin) / count;
}
