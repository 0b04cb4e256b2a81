/* SPDX-License-Identifier: MIT */
/*
 * Requests (PLT-86, PLT-87, DEF-6, DEF-143, DEF-244..252): down a stack of two devices, up through
 * completion routines, pending, cancelled, with every way to pass buffers.
 */
#include "check.h"

#define CODE(n, method) CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800 + (n), method, FILE_ANY_ACCESS)

static PDEVICE_OBJECT bottom, top;
static struct {
	PIO_STACK_LOCATION location;
	ULONG major, code, in, out, method_ok, cleanups, closes, creates;
	BOOLEAN pend, pending_marked;
	KIRQL close_irql;
	PIRP irp;
} seen;
static LIST_ENTRY queue;
static KSPIN_LOCK queue_lock;
static IO_CSQ csq;
static ULONG cancelled;

/* ---- The lower device ---- */

static VOID NTAPI cancel(PDEVICE_OBJECT device, PIRP irp)
{
	UNREFERENCED_PARAMETER(device);
	IoReleaseCancelSpinLock(irp->CancelIrql);
	irp->IoStatus.Status = STATUS_CANCELLED;
	irp->IoStatus.Information = 0;
	IoCompleteRequest(irp, IO_NO_INCREMENT);
}

static VOID NTAPI later(PVOID context)
{
	PIRP irp = context;
	check_sleep(5);
	irp->IoStatus.Status = STATUS_SUCCESS;
	irp->IoStatus.Information = 77;
	IoCompleteRequest(irp, IO_NO_INCREMENT);
}

static NTSTATUS control(PIRP irp, PIO_STACK_LOCATION location)
{
	PUCHAR in = irp->AssociatedIrp.SystemBuffer, out = irp->AssociatedIrp.SystemBuffer;
	ULONG length = location->Parameters.DeviceIoControl.OutputBufferLength;
	seen.code = location->Parameters.DeviceIoControl.IoControlCode;
	seen.in = location->Parameters.DeviceIoControl.InputBufferLength;
	seen.out = length;
	switch (seen.code & 3) {
	case METHOD_NEITHER:
		in = location->Parameters.DeviceIoControl.Type3InputBuffer;
		out = irp->UserBuffer;
		break;
	case METHOD_IN_DIRECT:
	case METHOD_OUT_DIRECT:
		out = irp->MdlAddress
			      ? MmGetSystemAddressForMdlSafe(irp->MdlAddress, NormalPagePriority)
			      : NULL;
		seen.method_ok = irp->MdlAddress && MmGetMdlByteCount(irp->MdlAddress) == length;
		break;
	}
	if (!in || !out)
		return STATUS_INVALID_PARAMETER;
	UCHAR first = in[0];
	for (ULONG i = 0; i < length; i++)
		out[i] = (UCHAR)(first + i);
	irp->IoStatus.Information = length;
	return STATUS_SUCCESS;
}

static NTSTATUS NTAPI lower(PDEVICE_OBJECT device, PIRP irp)
{
	PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(irp);
	NTSTATUS status = STATUS_SUCCESS;
	UNREFERENCED_PARAMETER(device);
	seen.major = location->MajorFunction;
	seen.irp = irp;
	irp->IoStatus.Information = 0;
	if (seen.pend) {
		seen.pend = FALSE;
		IoMarkIrpPending(irp);
		HANDLE thread;
		PsCreateSystemThread(&thread, THREAD_ALL_ACCESS, NULL, NULL, NULL, later, irp);
		ZwClose(thread);
		return STATUS_PENDING;
	}
	switch (seen.major) {
	case IRP_MJ_CREATE:
		seen.creates++;
		break;
	case IRP_MJ_CLEANUP:
		seen.cleanups++;
		break;
	case IRP_MJ_CLOSE:
		seen.closes++;
		seen.close_irql = KeGetCurrentIrql();
		break;
	case IRP_MJ_DEVICE_CONTROL:
	case IRP_MJ_INTERNAL_DEVICE_CONTROL:
		status = control(irp, location);
		break;
	case IRP_MJ_READ:
		if (irp->AssociatedIrp.SystemBuffer) {
			RtlFillMemory(irp->AssociatedIrp.SystemBuffer,
				      location->Parameters.Read.Length, 0x5a);
			irp->IoStatus.Information = location->Parameters.Read.Length;
		}
		break;
	case IRP_MJ_WRITE:
		irp->IoStatus.Information = location->Parameters.Write.Length;
		break;
	case IRP_MJ_FLUSH_BUFFERS:
		IoCsqInsertIrp(&csq, irp, NULL);
		return STATUS_PENDING;
	default:
		status = STATUS_NOT_SUPPORTED;
	}
	irp->IoStatus.Status = status;
	IoCompleteRequest(irp, IO_NO_INCREMENT);
	return status;
}

/* ---- The upper device passes everything on ---- */

static NTSTATUS NTAPI upper_done(PDEVICE_OBJECT device, PIRP irp, PVOID context)
{
	seen.pending_marked = irp->PendingReturned;
	if (irp->PendingReturned)
		IoMarkIrpPending(irp);
	return device == top && context == &seen ? STATUS_SUCCESS : STATUS_MORE_PROCESSING_REQUIRED;
}

static NTSTATUS NTAPI dispatch(PDEVICE_OBJECT device, PIRP irp)
{
	if (device == bottom)
		return lower(device, irp);
	IoCopyCurrentIrpStackLocationToNext(irp);
	IoSetCompletionRoutine(irp, upper_done, &seen, TRUE, TRUE, TRUE);
	return IoCallDriver(bottom, irp);
}

/* ---- A driver's own request ---- */

static NTSTATUS NTAPI keep(PDEVICE_OBJECT device, PIRP irp, PVOID event)
{
	UNREFERENCED_PARAMETER(irp);
	if (!device)
		KeSetEvent(event, IO_NO_INCREMENT, FALSE);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static void own_irp(void)
{
	KEVENT event;
	PIRP irp = IoAllocateIrp(top->StackSize, FALSE);
	KeInitializeEvent(&event, NotificationEvent, FALSE);
	CHECK(irp && (ULONG_PTR)irp % 16 == 0 && irp->Type == 6 && irp->StackCount == 2 &&
		      irp->CurrentLocation == 3 && irp->Size == IoSizeOfIrp(2),
	      "PLT-86 IoAllocateIrp");
	IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_WRITE;
	IoGetNextIrpStackLocation(irp)->Parameters.Write.Length = 12;
	IoSetCompletionRoutine(irp, keep, &event, TRUE, TRUE, TRUE);
	CHECK(IoCallDriver(top, irp) == STATUS_SUCCESS,
	      "DEF-247 the status of the lowest driver comes back");
	CHECK(KeReadStateEvent(&event), "the sender's completion routine has no device object");
	CHECK(irp->IoStatus.Information == 12 && irp->CurrentLocation == 3,
	      "DEF-143 the request has come back");
	IoReuseIrp(irp, STATUS_NOT_SUPPORTED);
	CHECK(irp->CurrentLocation == 3 && irp->IoStatus.Status == STATUS_NOT_SUPPORTED,
	      "IoReuseIrp");
	KeClearEvent(&event);
	seen.pend = TRUE;
	IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_READ;
	IoSetCompletionRoutine(irp, keep, &event, TRUE, TRUE, TRUE);
	CHECK(IoCallDriver(top, irp) == STATUS_PENDING, "a pending request");
	KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
	CHECK(seen.pending_marked && irp->PendingReturned && irp->IoStatus.Information == 77,
	      "DEF-251 pending is told to each completion routine");
	IoFreeIrp(irp);
}

static void selective(void)
{
	static const struct {
		UCHAR major;
		BOOLEAN success, error, called;
		PCSTR text;
	} cases[] = {
		{IRP_MJ_WRITE, TRUE, FALSE, TRUE, "DEF-252 invoked on success"},
		{IRP_MJ_WRITE, FALSE, TRUE, FALSE, "DEF-252 not invoked on success"},
		{IRP_MJ_SCSI, FALSE, TRUE, TRUE, "DEF-252 invoked on error"},
		{IRP_MJ_QUERY_EA, TRUE, FALSE, FALSE, "DEF-252 not invoked on error"},
	};
	for (int i = 0; i < 4; i++) {
		KEVENT event;
		/* The second location's routine always keeps the request for us. */
		PIRP irp = IoAllocateIrp(2, FALSE);
		KEVENT kept;
		KeInitializeEvent(&event, NotificationEvent, FALSE);
		KeInitializeEvent(&kept, NotificationEvent, FALSE);
		IoSetCompletionRoutine(irp, keep, &kept, TRUE, TRUE, TRUE);
		IoSetNextIrpStackLocation(irp);
		IoGetCurrentIrpStackLocation(irp)->DeviceObject = NULL;
		IoGetNextIrpStackLocation(irp)->MajorFunction = cases[i].major;
		IoSetCompletionRoutine(irp, keep, &event, cases[i].success, cases[i].error, FALSE);
		IoCallDriver(bottom, irp);
		CHECK(!!KeReadStateEvent(&event) == cases[i].called, cases[i].text);
		IoFreeIrp(irp);
	}
}

/* ---- Requests that the I/O manager builds ---- */

static void built(void)
{
	KEVENT event;
	IO_STATUS_BLOCK block = {0};
	UCHAR in[8] = {3}, out[300];
	LARGE_INTEGER offset = {0};
	static const ULONG codes[] = {CODE(0, METHOD_BUFFERED), CODE(1, METHOD_IN_DIRECT),
				      CODE(2, METHOD_OUT_DIRECT), CODE(3, METHOD_NEITHER)};
	for (int i = 0; i < 4; i++) {
		RtlZeroMemory(out, sizeof(out));
		seen.method_ok = 0;
		KeInitializeEvent(&event, NotificationEvent, FALSE);
		PIRP irp = IoBuildDeviceIoControlRequest(codes[i], top, in, sizeof(in), out,
							 sizeof(out), FALSE, &event, &block);
		NTSTATUS status = IoCallDriver(top, irp);
		KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
		CHECK(status == STATUS_SUCCESS && block.Status == STATUS_SUCCESS &&
			      block.Information == 300 && seen.major == IRP_MJ_DEVICE_CONTROL &&
			      seen.code == codes[i] && seen.in == 8 && seen.out == 300,
		      "IoBuildDeviceIoControlRequest, each method");
		CHECK(out[0] == 3 && out[299] == (UCHAR)(3 + 299), "its output arrives");
		CHECK(i == 0 || i == 3 || seen.method_ok,
		      "direct methods describe the buffer by an MDL");
	}
	KeInitializeEvent(&event, NotificationEvent, FALSE);
	top->Flags |= DO_BUFFERED_IO;
	PIRP irp = IoBuildSynchronousFsdRequest(IRP_MJ_READ, top, out, 64, &offset, &event, &block);
	NTSTATUS status = IoCallDriver(top, irp);
	KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
	CHECK(status == STATUS_SUCCESS && block.Information == 64 && out[0] == 0x5a &&
		      out[63] == 0x5a && out[64] != 0x5a,
	      "DEF-246 IoBuildSynchronousFsdRequest, buffered");
	KeInitializeEvent(&event, NotificationEvent, FALSE);
	seen.pend = TRUE;
	irp = IoBuildSynchronousFsdRequest(IRP_MJ_WRITE, top, out, 64, &offset, &event, &block);
	CHECK(IoCallDriver(top, irp) == STATUS_PENDING, "DEF-246 a pending one");
	KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
	CHECK(block.Status == STATUS_SUCCESS && block.Information == 77,
	      "DEF-246 its status arrives before the event");
	top->Flags &= ~DO_BUFFERED_IO;
}

static void invalid(void)
{
	KEVENT event;
	IO_STATUS_BLOCK block;
	PDRIVER_DISPATCH saved = bottom->DriverObject->MajorFunction[IRP_MJ_PNP];
	bottom->DriverObject->MajorFunction[IRP_MJ_PNP] = NULL;
	KeInitializeEvent(&event, NotificationEvent, FALSE);
	PIRP irp = IoBuildSynchronousFsdRequest(IRP_MJ_PNP, bottom, NULL, 0, NULL, &event, &block);
	CHECK(IoCallDriver(bottom, irp) == STATUS_INVALID_DEVICE_REQUEST,
	      "DEF-6 a NULL major function");
	KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
	CHECK(block.Status == STATUS_INVALID_DEVICE_REQUEST,
	      "DEF-6 the request is completed with it");
	bottom->DriverObject->MajorFunction[IRP_MJ_PNP] = saved;
}

/* ---- Cancel ---- */

static void cancels(void)
{
	KEVENT event;
	KeInitializeEvent(&event, NotificationEvent, FALSE);
	PIRP irp = IoAllocateIrp(2, FALSE);
	IoSetCompletionRoutine(irp, keep, &event, TRUE, TRUE, TRUE);
	IoSetNextIrpStackLocation(irp);
	CHECK(IoCancelIrp(irp) == FALSE && irp->Cancel,
	      "IoCancelIrp without a cancel routine only marks");
	irp->Cancel = FALSE;
	IoSetCancelRoutine(irp, cancel);
	CHECK(IoCancelIrp(irp) == TRUE, "IoCancelIrp calls the cancel routine");
	CHECK(KeReadStateEvent(&event) && irp->IoStatus.Status == STATUS_CANCELLED,
	      "which completed the request");
	IoFreeIrp(irp);
}

static VOID NTAPI csq_insert(PIO_CSQ Csq, PIRP irp)
{
	UNREFERENCED_PARAMETER(Csq);
	InsertTailList(&queue, &irp->Tail.Overlay.ListEntry);
}

static VOID NTAPI csq_remove(PIO_CSQ Csq, PIRP irp)
{
	UNREFERENCED_PARAMETER(Csq);
	RemoveEntryList(&irp->Tail.Overlay.ListEntry);
}

static PIRP NTAPI csq_peek(PIO_CSQ Csq, PIRP irp, PVOID context)
{
	PLIST_ENTRY entry = irp ? irp->Tail.Overlay.ListEntry.Flink : queue.Flink;
	UNREFERENCED_PARAMETER(Csq);
	UNREFERENCED_PARAMETER(context);
	return entry == &queue ? NULL : CONTAINING_RECORD(entry, IRP, Tail.Overlay.ListEntry);
}

static VOID NTAPI csq_acquire(PIO_CSQ Csq, PKIRQL irql)
{
	UNREFERENCED_PARAMETER(Csq);
	KeAcquireSpinLock(&queue_lock, irql);
}

static VOID NTAPI csq_release(PIO_CSQ Csq, KIRQL irql)
{
	UNREFERENCED_PARAMETER(Csq);
	KeReleaseSpinLock(&queue_lock, irql);
}

static VOID NTAPI csq_cancelled(PIO_CSQ Csq, PIRP irp)
{
	UNREFERENCED_PARAMETER(Csq);
	cancelled++;
	irp->IoStatus.Status = STATUS_CANCELLED;
	IoCompleteRequest(irp, IO_NO_INCREMENT);
}

static void safe_queue(void)
{
	KEVENT events[3];
	IO_STATUS_BLOCK blocks[3];
	PIRP irps[3];
	for (int i = 0; i < 3; i++) {
		KeInitializeEvent(&events[i], NotificationEvent, FALSE);
		irps[i] = IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, bottom, NULL, 0, NULL,
						       &events[i], &blocks[i]);
		CHECK(IoCallDriver(bottom, irps[i]) == STATUS_PENDING,
		      "a request waits in a cancel-safe queue");
	}
	CHECK(IoCancelIrp(irps[1]) == TRUE && cancelled == 1, "the second is cancelled");
	KeWaitForSingleObject(&events[1], Executive, KernelMode, FALSE, NULL);
	CHECK(blocks[1].Status == STATUS_CANCELLED, "and its sender hears of it");
	PIRP next = IoCsqRemoveNextIrp(&csq, NULL);
	CHECK(next == irps[0], "IoCsqRemoveNextIrp gives the first");
	next->IoStatus.Status = STATUS_SUCCESS;
	IoCompleteRequest(next, IO_NO_INCREMENT);
	next = IoCsqRemoveNextIrp(&csq, NULL);
	CHECK(next == irps[2], "then the third");
	next->IoStatus.Status = STATUS_SUCCESS;
	IoCompleteRequest(next, IO_NO_INCREMENT);
	CHECK(IoCsqRemoveNextIrp(&csq, NULL) == NULL, "then none");
}

static void by_context(void)
{
	KEVENT event;
	IO_CSQ_IRP_CONTEXT context;
	PIRP irp = IoAllocateIrp(2, FALSE);
	KeInitializeEvent(&event, NotificationEvent, FALSE);
	for (int round = 0; round < 2; round++) {
		IoReuseIrp(irp, STATUS_SUCCESS);
		KeClearEvent(&event);
		IoSetCompletionRoutine(irp, keep, &event, TRUE, TRUE, TRUE);
		IoSetNextIrpStackLocation(irp);
		IoCsqInsertIrp(&csq, irp, &context);
		if (round)
			IoCancelIrp(irp);
		CHECK(IoCsqRemoveIrp(&csq, &context) == (round ? NULL : irp) &&
			      !!KeReadStateEvent(&event) == round && IsListEmpty(&queue),
		      "IoCsqRemoveIrp takes out its own, or finds it cancelled");
	}
	/* Its cancel routine is about to run: it may not be taken any more. */
	IoReuseIrp(irp, STATUS_SUCCESS);
	IoSetNextIrpStackLocation(irp);
	IoCsqInsertIrp(&csq, irp, &context);
	PDRIVER_CANCEL routine = IoSetCancelRoutine(irp, NULL);
	CHECK(routine && IoCsqRemoveIrp(&csq, &context) == NULL && context.Irp == irp,
	      "IoCsqRemoveIrp leaves a request to its cancel routine");
	RemoveEntryList(&irp->Tail.Overlay.ListEntry);
	IoFreeIrp(irp);
}

/* ---- Open ---- */

static void open_close(void)
{
	UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\KetchIrp"),
		       deep = RTL_CONSTANT_STRING(L"\\??\\KetchIrp\\a\\b");
	OBJECT_ATTRIBUTES attributes;
	IO_STATUS_BLOCK block;
	PFILE_OBJECT file;
	PDEVICE_OBJECT device;
	HANDLE handle;
	UCHAR data[16], out[16];
	ULONG creates = seen.creates, cleanups = seen.cleanups, closes = seen.closes;
	CHECK(IoGetDeviceObjectPointer(&name, FILE_READ_DATA, &file, &device) == STATUS_SUCCESS &&
		      device == top,
	      "IoGetDeviceObjectPointer gives the top of the stack");
	CHECK(seen.creates == creates + 1 && seen.cleanups == cleanups + 1 &&
		      seen.closes == closes && bottom->ReferenceCount == 1,
	      "its handle is closed, its file object open");
	ObDereferenceObject(file);
	CHECK(seen.closes == closes + 1 && bottom->ReferenceCount == 0,
	      "the last reference closes it");
	KIRQL old;
	IoGetDeviceObjectPointer(&name, FILE_READ_DATA, &file, &device);
	creates++, cleanups++, closes++;
	seen.close_irql = HIGH_LEVEL;
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	ObDereferenceObject(file);
	KeLowerIrql(old);
	for (int i = 0; i < 500 && seen.closes == closes; i++)
		check_sleep(1);
	CHECK(seen.closes == closes + 1 && seen.close_irql == PASSIVE_LEVEL,
	      "PLT-4 given back at DISPATCH_LEVEL it is closed at PASSIVE_LEVEL");
	InitializeObjectAttributes(&attributes, &deep, OBJ_CASE_INSENSITIVE, NULL, NULL);
	CHECK(ZwOpenFile(&handle, GENERIC_READ | GENERIC_WRITE | SYNCHRONIZE, &attributes, &block,
			 0, FILE_SYNCHRONOUS_IO_NONALERT) == STATUS_SUCCESS,
	      "a driver's device by ZwOpenFile");
	ObReferenceObjectByHandle(handle, 0, *IoFileObjectType, KernelMode, (PVOID *)&file, NULL);
	CHECK(file->FileName.Length == 8 && file->FileName.Buffer[0] == L'\\' &&
		      file->FileName.Buffer[1] == L'a' && file->FileName.Buffer[3] == L'b',
	      "PLT-88 FileName is what is behind the device");
	ObDereferenceObject(file);
	RtlZeroMemory(out, sizeof(out));
	data[0] = 9;
	CHECK(ZwDeviceIoControlFile(handle, NULL, NULL, NULL, &block, CODE(0, METHOD_BUFFERED),
				    data, 1, out, 16) == STATUS_SUCCESS &&
		      out[15] == 24 && block.Information == 16,
	      "ZwDeviceIoControlFile");
	seen.pend = TRUE;
	CHECK(ZwWriteFile(handle, NULL, NULL, NULL, &block, data, 16, NULL, NULL) ==
			      STATUS_SUCCESS &&
		      block.Information == 77,
	      "ZwWriteFile waits for a pending request");
	ZwClose(handle);
	CHECK(seen.cleanups == cleanups + 2 && seen.closes == closes + 2 &&
		      bottom->ReferenceCount == 0,
	      "ZwClose sends cleanup and close");
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNICODE_STRING link = RTL_CONSTANT_STRING(L"\\??\\KetchIrp");
	UNREFERENCED_PARAMETER(driver);
	IoDeleteSymbolicLink(&link);
	IoDeleteDevice(top);
	IoDeleteDevice(bottom);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\KetchIrp"),
		       link = RTL_CONSTANT_STRING(L"\\??\\KetchIrp");
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	for (int i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++)
		driver->MajorFunction[i] = dispatch;
	InitializeListHead(&queue);
	IoCsqInitialize(&csq, csq_insert, csq_remove, csq_peek, csq_acquire, csq_release,
			csq_cancelled);
	if (!NT_SUCCESS(IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &bottom)))
		return STATUS_UNSUCCESSFUL;
	bottom->Flags &= ~DO_DEVICE_INITIALIZING;
	IoCreateDevice(driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &top);
	IoAttachDeviceToDeviceStack(top, bottom);
	top->Flags &= ~DO_DEVICE_INITIALIZING;
	IoCreateSymbolicLink(&link, &name);
	own_irp();
	selective();
	built();
	invalid();
	cancels();
	safe_queue();
	by_context();
	open_close();
	IoDetachDevice(bottom); /* a driver with attached devices is not unloaded (PLT-59) */
	return check_result();
}
