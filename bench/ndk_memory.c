/* SPDX-License-Identifier: MIT */
/*
 * ndk_memory.c: registering and deregistering memory by the consumer's functions. Runs on a baton.
 *
 * The verifier is on while regions are registered, so that everything that a driver's run checks is
 * in the figure.
 */
#include <ndkpi.h>
#include "bench/ndk.h"
#include "bench/ndk_traffic.h"
#include "ke/ke.h"
#include "ndk/ndk.h"
#include "ps/ps.h"
#include "vf/vf.h"

#define TAG 'mcnB'

static VOID NTAPI on_request(PVOID context, NTSTATUS status)
{
	(void)status;
	KeSetEvent(context, 0, FALSE);
}

static VOID NTAPI on_close(PVOID context)
{
	KeSetEvent(context, 0, FALSE);
}

static VOID NTAPI on_create(PVOID context, NTSTATUS status, NDK_OBJECT_HEADER *object)
{
	(void)status;
	(void)object;
	KeSetEvent(context, 0, FALSE);
}

/* ---- Idle regions ---- */

static double registrations(unsigned count, PMDL mdl, size_t length)
{
	struct end *end = &ndk_ends[0];
	KEVENT event;
	NDK_MR *mr;
	enum vf_mode mode = vf_mode;
	KeInitializeEvent(&event, NotificationEvent, FALSE);
	vf_mode = VF_REPORT;
	if (end->pd->Dispatch->NdkCreateMr(end->pd, FALSE, on_create, &event, &mr) !=
	    STATUS_SUCCESS)
		return -1;
	unsigned wrong = 0;
	uint64_t begin = port_time_ns();
	for (unsigned i = 0; i < count; i++) {
		wrong += mr->Dispatch->NdkRegisterMr(mr, mdl, length,
						     NDK_MR_FLAG_ALLOW_REMOTE_READ |
							     NDK_MR_FLAG_ALLOW_REMOTE_WRITE,
						     on_request, &event) != STATUS_SUCCESS;
		wrong += mr->Dispatch->NdkDeregisterMr(mr, on_request, &event) != STATUS_SUCCESS;
	}
	double ns = (double)(port_time_ns() - begin) / count;
	if (mr->Dispatch->NdkCloseMr(&mr->Header, on_close, &event) == STATUS_PENDING)
		KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
	vf_mode = mode;
	return wrong ? -1 : ns;
}

double ndk_register_4k(unsigned count)
{
	return registrations(count, ndk_ends[0].mdl, 4096);
}

double ndk_register_1m(unsigned count)
{
	return registrations(count, ndk_ends[0].mdl, BUFFER);
}

double ndk_register_1g(unsigned count)
{
	static PMDL mdl;
	if (!mdl) { /* for all batches; nothing of it is ever touched */
		void *memory = ExAllocatePoolWithTag(NonPagedPoolNx, (SIZE_T)1 << 30, TAG);
		if (!memory)
			return -1;
		mdl = IoAllocateMdl(memory, 1u << 30, FALSE, FALSE, NULL);
		MmBuildMdlForNonPagedPool(mdl);
	}
	return registrations(count, mdl, (size_t)1 << 30);
}

/* ---- While a peer writes ---- */

static volatile bool stop;

/* On processor 1: writes of all of the passive end's memory, until one cannot be posted: the
 * refused one before it has broken the connection. */
static void write(void *unused)
{
	struct end *x = &ndk_ends[0], *y = &ndk_ends[1];
	NDK_SGE sge = {.Length = BUFFER, .MemoryRegionToken = x->local};
	NTSTATUS status;
	(void)unused;
	KeSetSystemAffinityThreadEx(2);
	sge.VirtualAddress = x->data;
	do
		status = x->qp->Dispatch->NdkWrite(x->qp, NULL, &sge, 1, (UINT64)y->data, y->remote,
						   NDK_OP_FLAG_SILENT_SUCCESS);
	while (NT_SUCCESS(status) && !stop);
}

static uint64_t deregister_during_write(void)
{
	struct end *y = &ndk_ends[1];
	volatile char *first = y->data;
	PKTHREAD thread;
	KEVENT event;
	KeInitializeEvent(&event, NotificationEvent, FALSE);
	*first = 0; /* the other end's are 1 */
	stop = false;
	if (!NT_SUCCESS(ps_thread_create(NULL, write, NULL, &thread)))
		return 0;
	for (unsigned round = 0; !*first; round++)
		port_spin(round);
	uint64_t begin = port_time_ns();
	NTSTATUS status = y->mr->Dispatch->NdkDeregisterMr(y->mr, on_request, &event);
	uint64_t ns = port_time_ns() - begin;
	stop = true;
	KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, NULL);
	ObDereferenceObject(thread);
	/* For ndk_traffic_end. */
	y->mr->Dispatch->NdkRegisterMr(y->mr, y->mdl, BUFFER, 0, on_request, &event);
	return status == STATUS_SUCCESS ? ns : 0;
}

double ndk_deregister_busy(unsigned count)
{
	KeSetSystemAffinityThreadEx(1);
	for (unsigned i = 0; i < count; i++) {
		/* A refused write breaks the connection: another one for each try. */
		ndk_traffic_begin();
		if (!ndk_traffic_ready)
			return -1;
		uint64_t ns = deregister_during_write();
		if (ns)
			bench_record(ns);
		ndk_traffic_end();
	}
	KeRevertToUserAffinityThreadEx(0);
	return 0;
}
