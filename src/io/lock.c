/* SPDX-License-Identifier: MIT */
/*
 * lock.c: what drivers use to keep requests and removal in order: remove locks and cancel-safe
 * queues.
 *
 * Contexts: remove locks <= DISPATCH_LEVEL (the final wait PASSIVE); queues <= DISPATCH_LEVEL. All
 * state is the driver's.
 */
#include "io/io_internal.h"

/* ---- Remove locks ---- */

/* Any IRQL at which its memory is there. The checking build's parameters have no use. */
VOID NTAPI IoInitializeRemoveLockEx(PIO_REMOVE_LOCK Lock, ULONG AllocateTag, ULONG MaxLockedMinutes,
				    ULONG HighWatermark, ULONG RemlockSize)
{
	(void)AllocateTag;
	(void)MaxLockedMinutes;
	(void)HighWatermark;
	if (!Lock || RemlockSize < sizeof(IO_REMOVE_LOCK_COMMON_BLOCK))
		return;
	Lock->Common.Removed = FALSE;
	Lock->Common.IoCount = 1;
	KeInitializeEvent(&Lock->Common.RemoveEvent, SynchronizationEvent, FALSE);
}

static void release(PIO_REMOVE_LOCK lock)
{
	if (!__atomic_sub_fetch(&lock->Common.IoCount, 1, __ATOMIC_SEQ_CST))
		KeSetEvent(&lock->Common.RemoveEvent, IO_NO_INCREMENT, FALSE);
}

/* IRQL <= DISPATCH. STATUS_SUCCESS, STATUS_DELETE_PENDING once the removal has begun. */
NTSTATUS NTAPI IoAcquireRemoveLockEx(PIO_REMOVE_LOCK Lock, PVOID Tag, PCSTR File, ULONG Line,
				     ULONG RemlockSize)
{
	(void)Tag;
	(void)File;
	(void)Line;
	(void)RemlockSize;
	__atomic_add_fetch(&Lock->Common.IoCount, 1, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&Lock->Common.Removed, __ATOMIC_SEQ_CST))
		return STATUS_SUCCESS;
	release(Lock);
	return STATUS_DELETE_PENDING;
}

/* IRQL <= DISPATCH. */
VOID NTAPI IoReleaseRemoveLockEx(PIO_REMOVE_LOCK Lock, PVOID Tag, ULONG RemlockSize)
{
	(void)Tag;
	(void)RemlockSize;
	release(Lock);
}

/* The last: refuse further acquires, release the own one, wait for all others. IRQL = PASSIVE. */
VOID NTAPI IoReleaseRemoveLockAndWaitEx(PIO_REMOVE_LOCK Lock, PVOID Tag, ULONG RemlockSize)
{
	(void)Tag;
	(void)RemlockSize;
	__atomic_store_n(&Lock->Common.Removed, TRUE, __ATOMIC_SEQ_CST);
	release(Lock);                                                      /* the caller's */
	if (__atomic_sub_fetch(&Lock->Common.IoCount, 1, __ATOMIC_SEQ_CST)) /* the lock's own */
		KeWaitForSingleObject(&Lock->Common.RemoveEvent, Executive, KernelMode, FALSE, 0);
}

/* ---- Cancel-safe queues ---- */

/*
 * The cancel routine finds its queue in DriverContext[3]: the queue itself, or the caller's
 * context, which knows it. Both begin with Type.
 */
static VOID NTAPI csq_cancel(PDEVICE_OBJECT device, PIRP irp)
{
	PIO_CSQ csq = irp->Tail.Overlay.DriverContext[3];
	PIO_CSQ_IRP_CONTEXT context = 0;
	KIRQL irql;
	(void)device;
	IoReleaseCancelSpinLock(irp->CancelIrql);
	if (csq->Type == IO_TYPE_CSQ_IRP_CONTEXT) {
		context = irp->Tail.Overlay.DriverContext[3];
		csq = context->Csq;
	}
	csq->CsqAcquireLock(csq, &irql);
	csq->CsqRemoveIrp(csq, irp);
	if (context)
		context->Irp = 0; /* who removes by context finds it gone */
	csq->CsqReleaseLock(csq, irql);
	csq->CsqCompleteCanceledIrp(csq, irp);
}

static NTSTATUS csq_initialize(PIO_CSQ csq, ULONG type, PIO_CSQ_INSERT_IRP insert,
			       PIO_CSQ_REMOVE_IRP remove, PIO_CSQ_PEEK_NEXT_IRP peek,
			       PIO_CSQ_ACQUIRE_LOCK acquire, PIO_CSQ_RELEASE_LOCK unlock,
			       PIO_CSQ_COMPLETE_CANCELED_IRP complete)
{
	*csq = (IO_CSQ){type, insert, remove, peek, acquire, unlock, complete, 0};
	return STATUS_SUCCESS;
}

/* IRQL <= DISPATCH. STATUS_SUCCESS. */
NTSTATUS NTAPI IoCsqInitialize(PIO_CSQ Csq, PIO_CSQ_INSERT_IRP CsqInsertIrp,
			       PIO_CSQ_REMOVE_IRP CsqRemoveIrp,
			       PIO_CSQ_PEEK_NEXT_IRP CsqPeekNextIrp,
			       PIO_CSQ_ACQUIRE_LOCK CsqAcquireLock,
			       PIO_CSQ_RELEASE_LOCK CsqReleaseLock,
			       PIO_CSQ_COMPLETE_CANCELED_IRP CsqCompleteCanceledIrp)
{
	return csq_initialize(Csq, IO_TYPE_CSQ, CsqInsertIrp, CsqRemoveIrp, CsqPeekNextIrp,
			      CsqAcquireLock, CsqReleaseLock, CsqCompleteCanceledIrp);
}

NTSTATUS NTAPI IoCsqInitializeEx(PIO_CSQ Csq, PIO_CSQ_INSERT_IRP_EX CsqInsertIrp,
				 PIO_CSQ_REMOVE_IRP CsqRemoveIrp,
				 PIO_CSQ_PEEK_NEXT_IRP CsqPeekNextIrp,
				 PIO_CSQ_ACQUIRE_LOCK CsqAcquireLock,
				 PIO_CSQ_RELEASE_LOCK CsqReleaseLock,
				 PIO_CSQ_COMPLETE_CANCELED_IRP CsqCompleteCanceledIrp)
{
	return csq_initialize(Csq, IO_TYPE_CSQ_EX, (PIO_CSQ_INSERT_IRP)(void *)CsqInsertIrp,
			      CsqRemoveIrp, CsqPeekNextIrp, CsqAcquireLock, CsqReleaseLock,
			      CsqCompleteCanceledIrp);
}

static NTSTATUS csq_insert(PIO_CSQ csq, PIRP irp, PIO_CSQ_IRP_CONTEXT context, void *insert_context)
{
	NTSTATUS status = STATUS_SUCCESS;
	KIRQL irql;
	if (context) {
		context->Type = IO_TYPE_CSQ_IRP_CONTEXT;
		context->Irp = irp;
		context->Csq = csq;
		irp->Tail.Overlay.DriverContext[3] = context;
	} else {
		irp->Tail.Overlay.DriverContext[3] = csq;
	}
	csq->CsqAcquireLock(csq, &irql);
	if (csq->Type == IO_TYPE_CSQ_EX)
		status = ((PIO_CSQ_INSERT_IRP_EX)(void *)csq->CsqInsertIrp)(csq, irp,
									    insert_context);
	else
		csq->CsqInsertIrp(csq, irp);
	if (!NT_SUCCESS(status)) {
		csq->CsqReleaseLock(csq, irql);
		return status;
	}
	IoMarkIrpPending(irp);
	IoSetCancelRoutine(irp, csq_cancel);
	/* Cancelled before the routine was there: nobody else takes it out. */
	if (irp->Cancel && IoSetCancelRoutine(irp, 0)) {
		csq->CsqRemoveIrp(csq, irp);
		if (context)
			context->Irp = 0;
		csq->CsqReleaseLock(csq, irql);
		csq->CsqCompleteCanceledIrp(csq, irp);
		return status;
	}
	csq->CsqReleaseLock(csq, irql);
	return status;
}

/* Queue a request (marked pending) that may be cancelled at any time. IRQL <= DISPATCH. Context
 * (optional): to take out this one. */
VOID NTAPI IoCsqInsertIrp(PIO_CSQ Csq, PIRP Irp, PIO_CSQ_IRP_CONTEXT Context)
{
	csq_insert(Csq, Irp, Context, 0);
}

/* The same; the driver's insert routine may refuse: its status. */
NTSTATUS NTAPI IoCsqInsertIrpEx(PIO_CSQ Csq, PIRP Irp, PIO_CSQ_IRP_CONTEXT Context,
				PVOID InsertContext)
{
	return csq_insert(Csq, Irp, Context, InsertContext);
}

/* The request of a context; NULL: it was cancelled or taken. IRQL <= DISPATCH. */
PIRP NTAPI IoCsqRemoveIrp(PIO_CSQ Csq, PIO_CSQ_IRP_CONTEXT Context)
{
	KIRQL irql;
	Csq->CsqAcquireLock(Csq, &irql);
	PIRP irp = Context->Irp;
	if (irp && !IoSetCancelRoutine(irp, 0))
		irp = 0; /* its cancel routine is under way */
	if (irp) {
		Csq->CsqRemoveIrp(Csq, irp);
		Context->Irp = 0;
	}
	Csq->CsqReleaseLock(Csq, irql);
	return irp;
}

/* The next request that the driver's peek routine chooses; NULL: none. IRQL <= DISPATCH. */
PIRP NTAPI IoCsqRemoveNextIrp(PIO_CSQ Csq, PVOID PeekContext)
{
	KIRQL irql;
	Csq->CsqAcquireLock(Csq, &irql);
	PIRP irp = Csq->CsqPeekNextIrp(Csq, 0, PeekContext);
	while (irp && !IoSetCancelRoutine(irp, 0))
		irp = Csq->CsqPeekNextIrp(Csq, irp, PeekContext); /* that one is being cancelled */
	if (irp) {
		PIO_CSQ_IRP_CONTEXT context = irp->Tail.Overlay.DriverContext[3];
		Csq->CsqRemoveIrp(Csq, irp);
		if (context->Type == IO_TYPE_CSQ_IRP_CONTEXT)
			context->Irp = 0;
	}
	Csq->CsqReleaseLock(Csq, irql);
	return irp;
}
