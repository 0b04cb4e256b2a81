/* SPDX-License-Identifier: MIT */
/*
 * rule_ndk_lam.c: a logical address mapping that is released while it is used (-DCASE=n), or not
 * (0). VER-62, NDK-134.
 */
#include "ndk_io.h"

#ifndef CASE
#define CASE 0
#endif
#define PAGES 4

struct mapping {
	UCHAR bytes[sizeof(NDK_LOGICAL_ADDRESS_MAPPING) + PAGES * sizeof(NDK_LOGICAL_ADDRESS)];
	NDK_LOGICAL_ADDRESS_MAPPING *lam;
	ULONG fbo;
};

static struct io *io;
static struct mapping mine;
static NDK_ADAPTER *adapter;
static UINT32 privileged;

static BOOLEAN map(struct mapping *m)
{
	struct call call;
	ULONG size = sizeof(m->bytes);
	m->lam = (NDK_LOGICAL_ADDRESS_MAPPING *)m->bytes;
	call_begin(&call);
	NTSTATUS status =
		adapter->Dispatch->NdkBuildLAM(adapter, io->mx.mdl, PAGES * PAGE_SIZE,
					       call_requested, &call, m->lam, &size, &m->fbo);
	return NT_SUCCESS(call_end(&call, status));
}

static void unmap(struct mapping *m)
{
	adapter->Dispatch->NdkReleaseLAM(adapter, m->lam);
}

CHECK_HELPER NDK_SGE page(const struct mapping *m, ULONG index, ULONG length)
{
	NDK_SGE sge = {.Length = length, .MemoryRegionToken = privileged};
	sge.LogicalAddress = m->lam->AdapterPageArray[index];
	return sge;
}

CHECK_HELPER NTSTATUS receive(const struct mapping *m)
{
	NDK_SGE sge[2] = {memory_sge(&io->mx, 0, 8), page(m, 2, 8)};
	return io->x.e.qp->Dispatch->NdkReceive(io->x.e.qp, NULL, sge, 2);
}

CHECK_HELPER NTSTATUS send(const struct mapping *m)
{
	NDK_SGE sge = page(m, 1, PAGE_SIZE);
	return io->x.e.qp->Dispatch->NdkSend(io->x.e.qp, NULL, &sge, 1, 0);
}

CHECK_HELPER NDK_MR *region(void)
{
	NDK_PD *pd = io->x.e.pd;
	NDK_MR *mr = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, TRUE);
	WAIT(mr->Dispatch->NdkInitializeFastRegisterMr, mr, PAGES, TRUE);
	return mr;
}

CHECK_HELPER NTSTATUS fast_register(NDK_MR *mr, const struct mapping *m)
{
	NDK_QP *qp = io->x.e.qp;
	return qp->Dispatch->NdkFastRegister(qp, NULL, mr, m->lam->AdapterPageCount,
					     m->lam->AdapterPageArray, m->fbo, PAGE_SIZE,
					     io->mx.data, NDK_OP_FLAG_ALLOW_REMOTE_READ);
}

#if CASE == 1
static BOOLEAN run(void)
{
	NTSTATUS status = receive(&mine);
	unmap(&mine);
	return status == STATUS_SUCCESS;
}
#elif CASE == 2
/* A send that waits for a receive. */
static BOOLEAN run(void)
{
	NTSTATUS status = send(&mine);
	unmap(&mine);
	return status == STATUS_SUCCESS;
}
#elif CASE == 3
/* A fast registration behind it. */
static BOOLEAN run(void)
{
	NDK_MR *mr = region();
	io_send(&io->x, &io->mx, 0, 8, 0, NULL);
	NTSTATUS status = fast_register(mr, &mine);
	unmap(&mine);
	io->x.e.qp->Dispatch->NdkFlush(io->x.e.qp);
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
	return status == STATUS_SUCCESS;
}
#elif CASE == 4
static BOOLEAN run(void)
{
	NDK_MR *mr = region();
	BOOLEAN right = fast_register(mr, &mine) == STATUS_SUCCESS &&
			io_status(io->x.e.cq) == STATUS_SUCCESS;
	unmap(&mine);
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
	return right;
}
#else
static BOOLEAN run(void)
{
	static struct mapping same;
	NDK_MR *mr = region();
	/* Two mappings of the same pages: whose they are cannot be told. */
	BOOLEAN right = map(&same) && receive(&same) == STATUS_SUCCESS;
	unmap(&mine);
	right = right && io_send(&io->y, &io->my, 0, 16, 0, NULL) == STATUS_SUCCESS &&
		io_status(io->x.receive_cq) == STATUS_SUCCESS;
	if (io_is_loopback(io)) { /* on a fabric a flush ends the connection (docs/verbs.md) */
		right = right && receive(&same) == STATUS_SUCCESS && send(&same) == STATUS_SUCCESS;
		io->x.e.qp->Dispatch->NdkFlush(io->x.e.qp);
		right = right && io_status(io->x.receive_cq) == STATUS_CANCELLED &&
			io_status(io->x.e.cq) == STATUS_CANCELLED;
	}
	right = right && fast_register(mr, &same) == STATUS_SUCCESS &&
		io_status(io->x.e.cq) == STATUS_SUCCESS &&
		io->x.e.qp->Dispatch->NdkInvalidate(io->x.e.qp, NULL, &mr->Header, 0) ==
			STATUS_SUCCESS &&
		io_status(io->x.e.cq) == STATUS_SUCCESS;
	/* In the same queue, but other memory, and not by its logical address. */
	right = right && io_receive(&io->x, &io->mx, 0, 8, NULL) == STATUS_SUCCESS;
	unmap(&same);
	CLOSE(mr->Dispatch->NdkCloseMr, mr);
	return right;
}
#endif

static void test(struct io *opened)
{
	io = opened;
	CHECK(io_pair(io, &plain, PAGES * PAGE_SIZE), "NDK-136 two ends");
	adapter = io->a.adapter;
	io->x.e.pd->Dispatch->NdkGetPrivilegedMemoryRegionToken(io->x.e.pd, &privileged);
	CHECK(map(&mine) && run(), "VER-62 NDK-134 a mapping that is released");
	io_unpair(io);
}

IO_DRIVER(test)
