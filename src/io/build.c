/* SPDX-License-Identifier: MIT */
/*
 * build.c: requests that the I/O manager makes and finishes: their buffers, IoBuild*, and requests
 * of the core itself.
 *
 * Contexts: making and sending at PASSIVE_LEVEL (IoBuildAsynchronousFsdRequest <= APC_LEVEL);
 * finishing as io_irp_finish says. No locks. Implements DEF-246, the buffer methods of reads,
 * writes and control codes, IoMarkIrpPending's meaning for the sender. Choices: a status block is
 * always written and an event always set, also for requests that fail at once. A driver that
 * returns STATUS_PENDING without IoMarkIrpPending, or the reverse, is reported; the requester goes
 * on instead of hanging. Output beyond the caller's buffer (IoStatus.Information too large) is
 * reported and cut.
 */
#include "ke/guard.h"
#include "io/io_internal.h"
#include "mm/mm.h"

/* ---- Buffers ---- */

/* Locking would not raise: every page is there, or pageable. */
static bool lockable(const void *buffer, ULONG length, bool write)
{
	uint64_t page = (uint64_t)buffer & ~(uint64_t)(PAGE_SIZE - 1),
		 end = (uint64_t)buffer + length;
	for (; page < end; page += PAGE_SIZE) {
		if (!port_pages_accessible((const void *)page, write) && !mm_is_pageable(page))
			return false;
	}
	return true;
}

static NTSTATUS lock_buffer(PIRP irp, void *buffer, ULONG length, LOCK_OPERATION operation)
{
	if (!lockable(buffer, length, operation != IoReadAccess))
		return STATUS_ACCESS_VIOLATION;
	PMDL mdl = IoAllocateMdl(buffer, length, FALSE, FALSE, irp);
	if (!mdl)
		return STATUS_INSUFFICIENT_RESOURCES;
	MmProbeAndLockPages(mdl, KernelMode, operation);
	return STATUS_SUCCESS;
}

/* A system buffer of `size` that begins with `in`; the request frees it. */
static NTSTATUS system_buffer(PIRP irp, const void *in, ULONG in_size, ULONG size)
{
	if (!size)
		return STATUS_SUCCESS;
	irp->AssociatedIrp.SystemBuffer = io_allocate(size);
	if (!irp->AssociatedIrp.SystemBuffer)
		return STATUS_INSUFFICIENT_RESOURCES;
	if (in_size)
		memcpy(irp->AssociatedIrp.SystemBuffer, in, in_size);
	irp->Flags |= IRP_BUFFERED_IO | IRP_DEALLOCATE_BUFFER;
	return STATUS_SUCCESS;
}

static void expect_output(PIRP irp, void *out, ULONG out_size)
{
	irp->UserBuffer = out;
	if (out_size)
		irp->Flags |= IRP_INPUT_OPERATION;
	io_packet_of(irp)->out_size = out_size;
}

NTSTATUS io_irp_system_buffer(PIRP irp, const void *in, ULONG in_size, void *out, ULONG size)
{
	NTSTATUS status = system_buffer(irp, in, in_size, size);
	if (NT_SUCCESS(status) && out)
		expect_output(irp, out, size);
	return status;
}

NTSTATUS io_irp_buffers(PIRP irp, PDEVICE_OBJECT device, void *buffer, ULONG length)
{
	bool read = IoGetNextIrpStackLocation(irp)->MajorFunction == IRP_MJ_READ;
	NTSTATUS status = STATUS_SUCCESS;
	if (device->Flags & DO_BUFFERED_IO) {
		status = system_buffer(irp, buffer, read ? 0 : length, length);
		if (NT_SUCCESS(status) && read)
			expect_output(irp, buffer, length);
	} else if (device->Flags & DO_DIRECT_IO) {
		if (length)
			status = lock_buffer(irp, buffer, length,
					     read ? IoWriteAccess : IoReadAccess);
	} else {
		irp->UserBuffer = buffer;
	}
	return status;
}

NTSTATUS io_irp_control_buffers(PIRP irp, ULONG code, const void *in, ULONG in_size, void *out,
				ULONG out_size)
{
	ULONG method = code & 3;
	NTSTATUS status;
	if (method == METHOD_NEITHER) {
		irp->UserBuffer = out;
		IoGetNextIrpStackLocation(irp)->Parameters.DeviceIoControl.Type3InputBuffer =
			(void *)(uintptr_t)in;
		return STATUS_SUCCESS;
	}
	if (method == METHOD_BUFFERED) {
		status = system_buffer(irp, in, in_size, max(in_size, out_size));
		if (NT_SUCCESS(status))
			expect_output(irp, out, out_size);
		return status;
	}
	status = system_buffer(irp, in, in_size, in_size);
	if (NT_SUCCESS(status) && out_size)
		status = lock_buffer(irp, out, out_size,
				     method == METHOD_IN_DIRECT ? IoReadAccess : IoWriteAccess);
	return status;
}

static void release_buffers(PIRP irp)
{
	if (irp->Flags & IRP_DEALLOCATE_BUFFER) {
		ex_free(irp->AssociatedIrp.SystemBuffer);
		irp->Flags &= ~IRP_DEALLOCATE_BUFFER;
	}
	while (irp->MdlAddress) {
		PMDL mdl = irp->MdlAddress;
		irp->MdlAddress = mdl->Next;
		if (mdl->MdlFlags & MDL_PAGES_LOCKED)
			MmUnlockPages(mdl);
		IoFreeMdl(mdl);
	}
}

/* ---- The end ---- */

static void copy_output(PIRP irp, struct io_packet *packet)
{
	ULONG_PTR size = irp->IoStatus.Information;
	const ULONG wanted = IRP_BUFFERED_IO | IRP_INPUT_OPERATION;
	if ((irp->Flags & wanted) != wanted || NT_ERROR(irp->IoStatus.Status) || !irp->UserBuffer)
		return;
	if (size > packet->out_size) {
		vf_report(VF_IrpMisuse, "IofCompleteRequest", packet->routine, (uint64_t)irp,
			  "completed the IRP %p with IoStatus.Information %I64u, but the output "
			  "buffer has %u bytes",
			  irp, (uint64_t)size, packet->out_size);
		size = packet->out_size;
	}
	/* A program may have unmapped it meanwhile, or be gone. */
	if ((ULONG_PTR)irp->UserBuffer >= MmUserProbeAddress) {
		memcpy(irp->UserBuffer, irp->AssociatedIrp.SystemBuffer, size);
	} else if (!ke_guard_copy(irp->UserBuffer, irp->AssociatedIrp.SystemBuffer, size)) {
		irp->IoStatus.Status = STATUS_ACCESS_VIOLATION;
		irp->IoStatus.Information = 0;
	}
}

void io_irp_finish(PIRP irp)
{
	struct io_packet *packet = io_packet_of(irp);
	struct io_request *request = atomic_exchange(&packet->request, 0);
	IO_STATUS_BLOCK result = irp->IoStatus;
	PIO_STATUS_BLOCK block = irp->UserIosb;
	PKEVENT event = irp->UserEvent;
	copy_output(irp, packet);
	release_buffers(irp);
	io_irp_free(irp);
	if (request) {
		block = &request->result;
		event = &request->event;
	}
	if (block)
		*block = result;
	/* The status block may be gone once the event is set. */
	if (event)
		KeSetEvent(event, IO_NO_INCREMENT, FALSE);
}

/* ---- Requests of the core ---- */

NTSTATUS io_request_begin(struct io_request *request, PDEVICE_OBJECT device, PFILE_OBJECT file,
			  UCHAR major)
{
	memset(request, 0, sizeof(*request));
	KeInitializeEvent(&request->event, NotificationEvent, FALSE);
	PIRP irp = request->irp = io_irp_allocate(device->StackSize, 0);
	if (!irp)
		return STATUS_INSUFFICIENT_RESOURCES;
	io_irp_own(irp, false);
	atomic_store(&io_packet_of(irp)->request, request);
	irp->Flags = IRP_SYNCHRONOUS_API | IRP_DEFER_IO_COMPLETION;
	irp->Tail.Overlay.OriginalFileObject = file;
	IoGetNextIrpStackLocation(irp)->MajorFunction = major;
	IoGetNextIrpStackLocation(irp)->FileObject = file;
	return STATUS_SUCCESS;
}

void io_request_abandon(struct io_request *request)
{
	release_buffers(request->irp);
	io_irp_free(request->irp);
}

/* The dispatch routine returned a final status, but the request is not complete. Give it some time,
 * then leave it. */
static bool wait_for_late(struct io_request *request, struct io_packet *packet, uint64_t routine,
			  NTSTATUS status)
{
	LARGE_INTEGER limit = {.QuadPart = -20 * 1000 * 1000};
	vf_report(VF_IrpMisuse, "IofCallDriver", routine, (uint64_t)request->irp,
		  "got 0x%08x from the dispatch routine, which did not complete the IRP %p: "
		  "complete it, or call "
		  "IoMarkIrpPending and return STATUS_PENDING",
		  status, request->irp);
	if (KeWaitForSingleObject(&request->event, Executive, KernelMode, FALSE, &limit) !=
	    STATUS_TIMEOUT)
		return true;
	if (atomic_exchange(&packet->request, 0))
		return false;
	KeWaitForSingleObject(&request->event, Executive, KernelMode, FALSE,
			      0); /* it came at this moment */
	return true;
}

NTSTATUS io_request_send(struct io_request *request, PDEVICE_OBJECT device)
{
	PIRP irp = request->irp;
	struct io_packet *packet = io_packet_of(irp);
	UCHAR major = IoGetNextIrpStackLocation(irp)->MajorFunction;
	uint64_t routine = (uint64_t)device->DriverObject->MajorFunction[major];
	NTSTATUS status = io_call(device, irp);
	bool late = status != STATUS_PENDING && !KeReadStateEvent(&request->event);
	if (late && !wait_for_late(request, packet, routine, status)) {
		request->result.Status = status;
		return status;
	}
	KeWaitForSingleObject(&request->event, Executive, KernelMode, FALSE, 0);
	if (request->waits) {
		if (status == STATUS_PENDING)
			vf_report(VF_IrpMisuse, "IofCallDriver", routine, (uint64_t)irp,
				  "got STATUS_PENDING from the dispatch routine, which did not "
				  "call IoMarkIrpPending");
		request->result = irp->IoStatus;
		io_irp_finish(irp);
	} else if (status != STATUS_PENDING && !late) {
		vf_report(VF_IrpMisuse, "IofCallDriver", routine, (uint64_t)irp,
			  "got 0x%08x from the dispatch routine, which had called "
			  "IoMarkIrpPending: return STATUS_PENDING",
			  status);
	}
	return request->result.Status;
}

/* ---- IoBuild* ---- */

static void set_offset(PIO_STACK_LOCATION location, ULONG length, const LARGE_INTEGER *offset)
{
	location->Parameters.Read.Length = length; /* Write has the same layout */
	if (offset)
		location->Parameters.Read.ByteOffset = *offset;
}

static PIRP build_fsd(ULONG major, PDEVICE_OBJECT device, void *buffer, ULONG length,
		      const LARGE_INTEGER *offset, PIO_STATUS_BLOCK block, PKEVENT event,
		      uint64_t caller)
{
	PIRP irp = io_irp_allocate(device->StackSize, caller);
	if (!irp)
		return 0;
	PIO_STACK_LOCATION location = IoGetNextIrpStackLocation(irp);
	location->MajorFunction = (UCHAR)major;
	io_irp_own(irp, event != 0);
	irp->UserIosb = block;
	irp->UserEvent = event;
	if (major == IRP_MJ_READ || major == IRP_MJ_WRITE) {
		irp->Flags |= major == IRP_MJ_READ ? IRP_READ_OPERATION : IRP_WRITE_OPERATION;
		set_offset(location, length, offset);
		if (!NT_SUCCESS(io_irp_buffers(irp, device, buffer, length))) {
			release_buffers(irp);
			io_irp_free(irp);
			return 0;
		}
	}
	return irp;
}

/*
 * A request (read, write, flush, shutdown, PnP) whose end sets `Event`; the I/O manager frees it
 * (DEF-246). IRQL = PASSIVE. NULL: no memory, or the buffer is not there. The thread's end cancels
 * it.
 */
PIRP NTAPI IoBuildSynchronousFsdRequest(ULONG MajorFunction, PDEVICE_OBJECT DeviceObject,
					PVOID Buffer, ULONG Length, PLARGE_INTEGER StartingOffset,
					PKEVENT Event, PIO_STATUS_BLOCK IoStatusBlock)
{
	PIRP irp = build_fsd(MajorFunction, DeviceObject, Buffer, Length, StartingOffset,
			     IoStatusBlock, Event, IO_OWNER());
	if (irp)
		irp->Flags |= IRP_SYNCHRONOUS_API;
	return irp;
}

/* The same without an event: the driver's completion routine frees it. IRQL <= APC. */
PIRP NTAPI IoBuildAsynchronousFsdRequest(ULONG MajorFunction, PDEVICE_OBJECT DeviceObject,
					 PVOID Buffer, ULONG Length, PLARGE_INTEGER StartingOffset,
					 PIO_STATUS_BLOCK IoStatusBlock)
{
	return build_fsd(MajorFunction, DeviceObject, Buffer, Length, StartingOffset, IoStatusBlock,
			 0, IO_OWNER());
}

/* A device control request with the buffers of the code's method. IRQL = PASSIVE. Otherwise as the
 * synchronous one. */
PIRP NTAPI IoBuildDeviceIoControlRequest(ULONG IoControlCode, PDEVICE_OBJECT DeviceObject,
					 PVOID InputBuffer, ULONG InputBufferLength,
					 PVOID OutputBuffer, ULONG OutputBufferLength,
					 BOOLEAN InternalDeviceIoControl, PKEVENT Event,
					 PIO_STATUS_BLOCK IoStatusBlock)
{
	PIRP irp = io_irp_allocate(DeviceObject->StackSize, IO_OWNER());
	if (!irp)
		return 0;
	PIO_STACK_LOCATION location = IoGetNextIrpStackLocation(irp);
	location->MajorFunction =
		InternalDeviceIoControl ? IRP_MJ_INTERNAL_DEVICE_CONTROL : IRP_MJ_DEVICE_CONTROL;
	location->Parameters.DeviceIoControl.IoControlCode = IoControlCode;
	location->Parameters.DeviceIoControl.InputBufferLength = InputBufferLength;
	location->Parameters.DeviceIoControl.OutputBufferLength = OutputBufferLength;
	io_irp_own(irp, true);
	irp->UserIosb = IoStatusBlock;
	irp->UserEvent = Event;
	irp->Flags |= IRP_SYNCHRONOUS_API;
	if (!NT_SUCCESS(io_irp_control_buffers(irp, IoControlCode, InputBuffer, InputBufferLength,
					       OutputBuffer, OutputBufferLength))) {
		release_buffers(irp);
		io_irp_free(irp);
		return 0;
	}
	return irp;
}
