/* SPDX-License-Identifier: MIT */
/*
 * irp.c: request packets: allocation, the way down a device stack and up again, cancellation.
 *
 * Contexts: <= DISPATCH_LEVEL. Locks: `packet_lock` (DISPATCH_LEVEL) for the list of packets; the
 * cancel spin lock is a driver's lock (KSPIN_LOCK), as drivers hold it across their code.
 * Implements DEF-6, DEF-143, DEF-244, DEF-247, DEF-248, PLT-86, PLT-87, VER-22, VER-38 (requests
 * left), bug checks 0x35, 0x44, 0x48. Choice: a final completion of a driver's own IRP
 * (IoAllocateIrp) that no completion routine stopped is reported; the IRP stays with the driver
 * that made it.
 */
#include "io/io_internal.h"

static struct ke_lock packet_lock;
static LIST_ENTRY packets = {&packets, &packets};
static KSPIN_LOCK cancel_lock;

/* ---- Allocation ---- */

static void irp_initialize(PIRP irp, USHORT size, CCHAR stack_size)
{
	memset(irp, 0, size);
	irp->Type = IO_TYPE_IRP;
	irp->Size = size;
	irp->StackCount = stack_size;
	irp->CurrentLocation = (CCHAR)(stack_size + 1);
	irp->Tail.Overlay.CurrentStackLocation = (PIO_STACK_LOCATION)(irp + 1) + stack_size;
	InitializeListHead(&irp->ThreadListEntry);
}

PIRP io_irp_allocate(CCHAR stack_size, uint64_t caller)
{
	USHORT size = IoSizeOfIrp(stack_size);
	if (stack_size < 1 || stack_size > 126)
		return 0;
	struct io_packet *packet = io_allocate(sizeof(*packet) + size);
	if (!packet)
		return 0;
	PIRP irp = (PIRP)(packet + 1);
	irp_initialize(irp, size, stack_size);
	irp->AllocationFlags = IRP_ALLOCATED_FIXED_SIZE;
	packet->caller = caller;
	KIRQL old = ke_lock_raise(&packet_lock);
	InsertTailList(&packets, &packet->all);
	ke_lock_lower(&packet_lock, old);
	return irp;
}

void io_irp_free(PIRP irp)
{
	struct io_packet *packet = io_packet_of(irp);
	KIRQL old = ke_lock_raise(&packet_lock);
	RemoveEntryList(&packet->all);
	ke_lock_lower(&packet_lock, old);
	if (packet->thread)
		ob_dereference(packet->thread);
	irp->Type = 0;
	ex_free(packet);
}

void io_irp_own(PIRP irp, bool queued)
{
	struct io_packet *packet = io_packet_of(irp);
	PKTHREAD thread = ke_thread();
	irp->Tail.Overlay.Thread = ps_ethread(thread);
	ob_reference(thread);
	packet->built = true;
	KIRQL old = ke_lock_raise(&packet_lock);
	packet->thread = thread;
	packet->queued = queued;
	ke_lock_lower(&packet_lock, old);
}

static _Noreturn void completed_twice(PIRP irp, uint64_t caller, const char *text)
{
	struct ke_bugcheck_detail detail = {.text = text, .address = caller};
	ke_bugcheck(MULTIPLE_IRP_COMPLETE_REQUESTS, (uint64_t)irp, 0, 0, 0, &detail);
}

/* A request with `StackSize` locations (DEF-244). IRQL <= DISPATCH. NULL: no memory, or a size
 * below 1. */
PIRP NTAPI IoAllocateIrp(CCHAR StackSize, BOOLEAN ChargeQuota)
{
	(void)ChargeQuota;
	return io_irp_allocate(StackSize, IO_OWNER());
}

PIRP NTAPI IoAllocateIrpEx(PDEVICE_OBJECT DeviceObject, CCHAR StackSize, BOOLEAN ChargeQuota)
{
	(void)DeviceObject;
	(void)ChargeQuota;
	return io_irp_allocate(StackSize, IO_OWNER());
}

/* The driver's own memory as a request. IRQL <= DISPATCH. */
VOID NTAPI IoInitializeIrp(PIRP Irp, USHORT PacketSize, CCHAR StackSize)
{
	irp_initialize(Irp, PacketSize, StackSize);
}

/* A fresh start for a request that the driver allocated. IRQL <= DISPATCH. */
VOID NTAPI IoReuseIrp(PIRP Irp, NTSTATUS Iostatus)
{
	UCHAR flags = Irp->AllocationFlags;
	irp_initialize(Irp, Irp->Size, Irp->StackCount);
	Irp->AllocationFlags = flags;
	Irp->IoStatus.Status = Iostatus;
}

/* IRQL <= DISPATCH (DEF-248). Freeing what is no IRP (any more) is bug check 0x44. */
VOID NTAPI IoFreeIrp(PIRP Irp)
{
	if (Irp->Type != IO_TYPE_IRP)
		completed_twice(Irp, VF_CALLER(),
				"IoFreeIrp of memory that is no IRP: it was freed before");
	if (io_packet_of(Irp)) {
		io_irp_free(Irp);
	} else {
		Irp->Type = 0; /* pool of the driver that IoInitializeIrp made an IRP */
		ex_free(Irp);
	}
}

/* Requests that the driver allocated and did not free (VER-38). */
void io_irp_unload(const struct vf_unload *unload)
{
	for (uint32_t index = 0;; index++) {
		uint32_t n = 0;
		uint64_t caller = 0;
		PIRP irp = 0;
		KIRQL old = ke_lock_raise(&packet_lock);
		for (LIST_ENTRY *entry = packets.Flink; entry != &packets && !irp;
		     entry = entry->Flink) {
			struct io_packet *packet = CONTAINING_RECORD(entry, struct io_packet, all);
			if (packet->caller < unload->base || packet->caller >= unload->end ||
			    n++ < index)
				continue;
			irp = (PIRP)(packet + 1);
			caller = packet->caller;
		}
		ke_lock_lower(&packet_lock, old);
		if (!irp)
			return;
		vf_unload_left(unload, VF_ObjectLeft, (void *)caller, irp, "the IRP %p allocated",
			       irp);
	}
}

/* ---- Down ---- */

/* VER-22: report, and go on at the IRQL of the call. */
static void irql_changed(PDRIVER_DISPATCH routine, PIO_STACK_LOCATION location, KIRQL before)
{
	KIRQL now = ke_irql();
	if (vf_on())
		vf_report(VF_IrqlReturn, "IofCallDriver", (uint64_t)routine, (uint64_t)location,
			  "called the dispatch routine at %s, and it returned at %s",
			  vf_irql_name(before), vf_irql_name(now));
	if (now > before)
		ke_irql_lower(before);
	else
		ke_irql_raise(before);
}

static NTSTATUS call_driver(PDEVICE_OBJECT device, PIRP irp, void *from)
{
	KIRQL before = ke_irql();
	if (irp->Type != IO_TYPE_IRP)
		completed_twice(irp, vf_caller(from),
				"IofCallDriver with memory that is no IRP: it was freed before");
	if (--irp->CurrentLocation <= 0) {
		struct ke_bugcheck_detail detail = {.text = "IofCallDriver: the IRP has no stack "
							    "location left: allocate it with "
							    "the device's StackSize",
						    .address = vf_caller(from)};
		ke_bugcheck(NO_MORE_IRP_STACK_LOCATIONS, (uint64_t)irp, 0, 0, 0, &detail);
	}
	PIO_STACK_LOCATION location = --irp->Tail.Overlay.CurrentStackLocation;
	location->DeviceObject = device;
	PDRIVER_DISPATCH routine = 0;
	if (location->MajorFunction <= IRP_MJ_MAXIMUM_FUNCTION)
		routine = device->DriverObject->MajorFunction[location->MajorFunction];
	if (!routine)
		routine = io_invalid_request; /* DEF-6 */
	struct io_packet *packet = io_packet_of(irp);
	if (packet)
		packet->routine = (uint64_t)routine;
	NTSTATUS status = routine(device, irp);
	if (ke_irql() != before)
		irql_changed(routine, location, before);
	return status;
}

NTSTATUS io_call(PDEVICE_OBJECT device, PIRP irp)
{
	struct ke_call_record record;
	ke_callout_begin(&record, 0);
	NTSTATUS status = call_driver(device, irp, 0);
	ke_callout_end(&record);
	return status;
}

/* Hand a request to a device's driver (DEF-247). IRQL <= DISPATCH. Returns what its dispatch
 * routine returned. */
NTSTATUS NTAPI IofCallDriver(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
	return call_driver(DeviceObject, Irp, __builtin_return_address(0));
}

NTSTATUS NTAPI PoCallDriver(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
	return call_driver(DeviceObject, Irp, __builtin_return_address(0));
}

/* Power requests are not serialized here: nothing to start. IRQL <= DISPATCH. */
VOID NTAPI PoStartNextPowerIrp(PIRP Irp)
{
	(void)Irp;
}

/* ---- Up ---- */

static bool wants_call(const IO_STACK_LOCATION *location, PIRP irp)
{
	UCHAR control = location->Control;
	if (NT_SUCCESS(irp->IoStatus.Status) && control & SL_INVOKE_ON_SUCCESS)
		return true;
	if (!NT_SUCCESS(irp->IoStatus.Status) && control & SL_INVOKE_ON_ERROR)
		return true;
	return irp->Cancel && control & SL_INVOKE_ON_CANCEL;
}

static void check_completion(PIRP irp, void *from)
{
	if (irp->IoStatus.Status == STATUS_PENDING)
		vf_report(VF_IrpMisuse, "IofCompleteRequest", vf_caller(from), (uint64_t)irp,
			  "completed the IRP %p with STATUS_PENDING", irp);
	if (irp->CancelRoutine)
		vf_report(VF_IrpMisuse, "IofCompleteRequest", vf_caller(from), (uint64_t)irp,
			  "completed the IRP %p while its cancel routine %p is set: clear it with "
			  "IoSetCancelRoutine first",
			  irp, (void *)irp->CancelRoutine);
}

static VOID NTAPI finish_apc(PKAPC apc, PKNORMAL_ROUTINE *normal, PVOID *context, PVOID *one,
			     PVOID *two)
{
	(void)normal;
	(void)context;
	(void)one;
	(void)two;
	io_irp_finish(CONTAINING_RECORD(apc, IRP, Tail.Apc));
}

static VOID NTAPI finish_rundown(PKAPC apc)
{
	io_irp_finish(CONTAINING_RECORD(apc, IRP, Tail.Apc));
}

/* All locations are done. */
static void complete_last(PIRP irp, CCHAR boost, void *from)
{
	struct io_packet *packet = io_packet_of(irp);
	if (irp->Flags & IRP_ASSOCIATED_IRP) {
		PIRP master = irp->AssociatedIrp.MasterIrp;
		LONG left =
			__atomic_sub_fetch(&master->AssociatedIrp.IrpCount, 1, __ATOMIC_SEQ_CST);
		while (irp->MdlAddress) {
			PMDL mdl = irp->MdlAddress;
			irp->MdlAddress = mdl->Next;
			IoFreeMdl(mdl);
		}
		IoFreeIrp(irp);
		if (!left)
			IofCompleteRequest(master, boost);
		return;
	}
	if (!packet || !packet->built) {
		if (vf_on())
			vf_report(VF_IrpMisuse, "IofCompleteRequest",
				  packet ? packet->caller : vf_caller(from), (uint64_t)irp,
				  "completed the driver's own IRP %p, and no completion routine "
				  "kept it: "
				  "return STATUS_MORE_PROCESSING_REQUIRED and free it",
				  irp);
		return;
	}
	if (irp->Flags & IRP_DEFER_IO_COMPLETION && !irp->PendingReturned) {
		struct io_request *request = atomic_exchange(&packet->request, 0);
		if (request) {
			request->waits = true;
			KeSetEvent(&request->event, boost, FALSE);
		} else {
			io_irp_finish(irp); /* the sender has given up */
		}
		return;
	}
	/* Output goes to the requesting thread's buffers: its context, APC_LEVEL. */
	PKTHREAD thread = packet->thread;
	KeInitializeApc(&irp->Tail.Apc, thread, OriginalApcEnvironment, finish_apc, finish_rundown,
			0, KernelMode, 0);
	if (!KeInsertQueueApc(&irp->Tail.Apc, 0, 0, boost))
		io_irp_finish(irp);
}

static void complete(PIRP irp, CCHAR boost, void *from)
{
	if (irp->Type != IO_TYPE_IRP || irp->CurrentLocation > irp->StackCount + 1)
		completed_twice(irp, vf_caller(from),
				"IofCompleteRequest: this IRP was completed before");
	if (vf_on())
		check_completion(irp, from);
	PIO_STACK_LOCATION done = irp->Tail.Overlay.CurrentStackLocation;
	for (;;) {
		irp->CurrentLocation++;
		irp->Tail.Overlay.CurrentStackLocation++;
		if (irp->CurrentLocation > irp->StackCount + 1)
			break;
		bool above =
			irp->CurrentLocation <= irp->StackCount; /* a driver's location is there */
		irp->PendingReturned = done->Control & SL_PENDING_RETURNED;
		if (done->CompletionRoutine && wants_call(done, irp)) {
			PIO_COMPLETION_ROUTINE routine = done->CompletionRoutine;
			PDEVICE_OBJECT device =
				above ? irp->Tail.Overlay.CurrentStackLocation->DeviceObject : 0;
			void *context = done->Context;
			KIRQL irql = ke_irql();
			done->CompletionRoutine = 0;
			done->Context = 0;
			done->Control = 0;
			NTSTATUS status = routine(device, irp, context);
			if (vf_on())
				vf_callout_irql(routine, context, irql, 2);
			if (status == STATUS_MORE_PROCESSING_REQUIRED)
				return; /* the routine has it; it may be gone */
		} else {
			if (irp->PendingReturned && above)
				IoMarkIrpPending(irp);
			done->CompletionRoutine = 0;
			done->Context = 0;
			done->Control = 0;
		}
		done = irp->Tail.Overlay.CurrentStackLocation;
	}
	complete_last(irp, boost, from);
}

/*
 * A driver is done with a request (DEF-143): completion routines of the drivers above run, then the
 * requester gets the result. IRQL <= DISPATCH. The IRP is gone afterwards; a second completion is
 * bug check 0x44.
 */
VOID NTAPI IofCompleteRequest(PIRP Irp, CCHAR PriorityBoost)
{
	complete(Irp, PriorityBoost, __builtin_return_address(0));
}

/* As IoSetCompletionRoutine; the driver cannot unload while its routine may be called, here by
 * rule. STATUS_SUCCESS. */
NTSTATUS NTAPI IoSetCompletionRoutineEx(PDEVICE_OBJECT DeviceObject, PIRP Irp,
					PIO_COMPLETION_ROUTINE CompletionRoutine, PVOID Context,
					BOOLEAN InvokeOnSuccess, BOOLEAN InvokeOnError,
					BOOLEAN InvokeOnCancel)
{
	(void)DeviceObject;
	IoSetCompletionRoutine(Irp, CompletionRoutine, Context, InvokeOnSuccess, InvokeOnError,
			       InvokeOnCancel);
	return STATUS_SUCCESS;
}

static NTSTATUS NTAPI wake(PDEVICE_OBJECT device, PIRP irp, PVOID event)
{
	(void)device;
	if (irp->PendingReturned)
		KeSetEvent(event, IO_NO_INCREMENT, FALSE);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

/*
 * Send the request on and wait until the lower drivers have completed it; it is the caller's again.
 * IRQL = PASSIVE. FALSE: no stack location is left, nothing was sent.
 */
BOOLEAN NTAPI IoForwardIrpSynchronously(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
	KEVENT event;
	if (Irp->CurrentLocation <= 1)
		return FALSE;
	KeInitializeEvent(&event, NotificationEvent, FALSE);
	IoCopyCurrentIrpStackLocationToNext(Irp);
	IoSetCompletionRoutine(Irp, wake, &event, TRUE, TRUE, TRUE);
	if (call_driver(DeviceObject, Irp, __builtin_return_address(0)) == STATUS_PENDING)
		KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, 0);
	return TRUE;
}

/* ---- Cancellation ---- */

/* The one lock of cancel routines. IRQL <= DISPATCH. */
VOID NTAPI IoAcquireCancelSpinLock(PKIRQL Irql)
{
	*Irql = KeAcquireSpinLockRaiseToDpc(&cancel_lock);
}

VOID NTAPI IoReleaseCancelSpinLock(KIRQL Irql)
{
	KeReleaseSpinLock(&cancel_lock, Irql);
}

/*
 * Mark a request cancelled and call its cancel routine, which releases the cancel spin lock. IRQL
 * <= DISPATCH. FALSE: there was none. A completed IRP is bug check 0x48.
 */
BOOLEAN NTAPI IoCancelIrp(PIRP Irp)
{
	KIRQL old = KeAcquireSpinLockRaiseToDpc(&cancel_lock);
	Irp->Cancel = TRUE;
	PDRIVER_CANCEL routine = IoSetCancelRoutine(Irp, 0);
	if (!routine) {
		KeReleaseSpinLock(&cancel_lock, old);
		return FALSE;
	}
	if (Irp->CurrentLocation > Irp->StackCount + 1) {
		struct ke_bugcheck_detail detail = {.text = "IoCancelIrp: the IRP is complete",
						    .address = VF_CALLER()};
		ke_bugcheck(CANCEL_STATE_IN_COMPLETED_IRP, (uint64_t)Irp, (uint64_t)routine, 0, 0,
			    &detail);
	}
	Irp->CancelIrql = old;
	routine(IoGetCurrentIrpStackLocation(Irp)->DeviceObject, Irp);
	if (vf_on())
		vf_callout_irql(routine, Irp, old, 2);
	return TRUE;
}

/* The thread's requests end with it: cancel them and wait (at most a second for each round of
 * drivers). */
static void thread_rundown(PKTHREAD thread)
{
	LARGE_INTEGER pause = {.QuadPart = -10 * 1000};
	for (unsigned round = 0; round < 1000; round++) {
		PIRP irp = 0;
		KIRQL old = ke_lock_raise(&packet_lock);
		for (LIST_ENTRY *entry = packets.Flink; entry != &packets && !irp;
		     entry = entry->Flink) {
			struct io_packet *packet = CONTAINING_RECORD(entry, struct io_packet, all);
			if (packet->queued && packet->thread == thread)
				irp = (PIRP)(packet + 1);
		}
		ke_lock_lower(&packet_lock, old);
		if (!irp)
			return;
		/* Only this thread's own APC finishes it, so it is still there. */
		if (!irp->Cancel) {
			struct ke_call_record record;
			ke_callout_begin(&record, 0);
			IoCancelIrp(irp);
			ke_callout_end(&record);
		}
		KeDelayExecutionThread(KernelMode, FALSE, &pause);
	}
}

void io_irp_initialize(void)
{
	ps_thread_rundown = thread_rundown;
}
