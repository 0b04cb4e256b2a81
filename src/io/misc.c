/* SPDX-License-Identifier: MIT */
/*
 * misc.c: what a device has besides requests: its timer, its start routine, shutdown; and small
 * questions to the system.
 *
 * Contexts: as each function says. Locks: io_lock for the list of devices that want
 * IRP_MJ_SHUTDOWN; a device queue has its own. The device's timer is a KTIMER of 1 s whose DPC
 * calls the routine at DISPATCH_LEVEL.
 */
#include "io/io_internal.h"

static LIST_ENTRY shutdown_list = {&shutdown_list, &shutdown_list};

/* ---- The device's timer ---- */

static VOID NTAPI timer_dpc(PKDPC dpc, PVOID context, PVOID one, PVOID two)
{
	struct io_device *device = context;
	(void)dpc;
	(void)one;
	(void)two;
	if (!atomic_load(&device->timer_on))
		return;
	device->timer_routine(device->object, device->timer_context);
}

void io_timer_remove(struct io_device *device)
{
	if (!device->timer_routine)
		return;
	atomic_store(&device->timer_on, false);
	KeCancelTimer(&device->timer);
	KeRemoveQueueDpc(&device->timer_dpc);
}

/* A routine to call once a second (DPC, DISPATCH_LEVEL) once the timer is started. IRQL = PASSIVE.
 * STATUS_SUCCESS. */
NTSTATUS NTAPI IoInitializeTimer(PDEVICE_OBJECT DeviceObject, PIO_TIMER_ROUTINE TimerRoutine,
				 PVOID Context)
{
	struct io_device *device = io_device_of(DeviceObject);
	device->timer_routine = TimerRoutine;
	device->timer_context = Context;
	DeviceObject->Timer = (PIO_TIMER)&device->timer;
	KeInitializeTimerEx(&device->timer, SynchronizationTimer);
	KeInitializeDpc(&device->timer_dpc, timer_dpc, device);
	return STATUS_SUCCESS;
}

/* IRQL <= DISPATCH. */
VOID NTAPI IoStartTimer(PDEVICE_OBJECT DeviceObject)
{
	struct io_device *device = io_device_of(DeviceObject);
	LARGE_INTEGER due = {.QuadPart = -10 * 1000 * 1000};
	if (!device->timer_routine || atomic_exchange(&device->timer_on, true))
		return;
	KeSetTimerEx(&device->timer, due, 1000, &device->timer_dpc);
}

/* IRQL <= DISPATCH; not inside the timer's routine. */
VOID NTAPI IoStopTimer(PDEVICE_OBJECT DeviceObject)
{
	struct io_device *device = io_device_of(DeviceObject);
	if (atomic_exchange(&device->timer_on, false))
		KeCancelTimer(&device->timer);
}

/* ---- StartIo ---- */

static void start_io(PDEVICE_OBJECT device, PIRP irp)
{
	PDRIVER_STARTIO routine = device->DriverObject->DriverStartIo;
	device->CurrentIrp = irp;
	routine(device, irp);
	if (vf_on())
		vf_callout_irql(routine, irp, DISPATCH_LEVEL, 2);
}

/* Start a request now, or queue it behind those that are under way. IRQL <= DISPATCH. */
VOID NTAPI IoStartPacket(PDEVICE_OBJECT DeviceObject, PIRP Irp, PULONG Key,
			 PDRIVER_CANCEL CancelFunction)
{
	PKDEVICE_QUEUE_ENTRY entry = &Irp->Tail.Overlay.DeviceQueueEntry;
	KIRQL old = ke_irql_raise(DISPATCH_LEVEL), cancel = DISPATCH_LEVEL;
	bool queued;
	if (CancelFunction) {
		IoAcquireCancelSpinLock(&cancel);
		IoSetCancelRoutine(Irp, CancelFunction);
	}
	if (Key)
		queued = KeInsertByKeyDeviceQueue(&DeviceObject->DeviceQueue, entry, *Key);
	else
		queued = KeInsertDeviceQueue(&DeviceObject->DeviceQueue, entry);
	if (queued && CancelFunction && Irp->Cancel) {
		/* Cancelled on the way in: nobody else has seen the routine yet. */
		PDRIVER_CANCEL routine = IoSetCancelRoutine(Irp, 0);
		if (routine) {
			Irp->CancelIrql = cancel;
			routine(DeviceObject, Irp);
			ke_irql_lower(old);
			return;
		}
	}
	if (!queued && CancelFunction && !Irp->Cancel)
		DeviceObject->CurrentIrp = Irp; /* before the cancel routine can run */
	if (CancelFunction)
		IoReleaseCancelSpinLock(cancel);
	if (!queued)
		start_io(DeviceObject, Irp);
	ke_irql_lower(old);
}

static void start_next(PDEVICE_OBJECT device, BOOLEAN cancelable,
		       PKDEVICE_QUEUE_ENTRY (*take)(PDEVICE_OBJECT, ULONG), ULONG key)
{
	KIRQL cancel = DISPATCH_LEVEL;
	if (cancelable)
		IoAcquireCancelSpinLock(&cancel);
	PKDEVICE_QUEUE_ENTRY entry = take(device, key);
	PIRP irp = entry ? CONTAINING_RECORD(entry, IRP, Tail.Overlay.DeviceQueueEntry) : 0;
	device->CurrentIrp = irp;
	if (cancelable)
		IoReleaseCancelSpinLock(cancel);
	if (irp)
		start_io(device, irp);
}

static PKDEVICE_QUEUE_ENTRY take_first(PDEVICE_OBJECT device, ULONG key)
{
	(void)key;
	return KeRemoveDeviceQueue(&device->DeviceQueue);
}

static PKDEVICE_QUEUE_ENTRY take_by_key(PDEVICE_OBJECT device, ULONG key)
{
	return KeRemoveByKeyDeviceQueue(&device->DeviceQueue, key);
}

/* The current request is done: start the next. IRQL = DISPATCH (VER-12). */
VOID NTAPI IoStartNextPacket(PDEVICE_OBJECT DeviceObject, BOOLEAN Cancelable)
{
	start_next(DeviceObject, Cancelable, take_first, 0);
}

VOID NTAPI IoStartNextPacketByKey(PDEVICE_OBJECT DeviceObject, BOOLEAN Cancelable, ULONG Key)
{
	start_next(DeviceObject, Cancelable, take_by_key, Key);
}

/* ---- Shutdown ---- */

/* Send IRP_MJ_SHUTDOWN to this device before the machine stops. IRQL = PASSIVE. STATUS_SUCCESS. */
NTSTATUS NTAPI IoRegisterShutdownNotification(PDEVICE_OBJECT DeviceObject)
{
	struct io_device *device = io_device_of(DeviceObject);
	KIRQL old = ke_lock_raise(&io_lock);
	if (!device->shutdown) {
		device->shutdown = true;
		InsertHeadList(&shutdown_list, &device->shutdown_entry);
		DeviceObject->Flags |= DO_SHUTDOWN_REGISTERED;
	}
	ke_lock_lower(&io_lock, old);
	return STATUS_SUCCESS;
}

/* The same, after all file systems have been flushed: there are none that need it. */
NTSTATUS NTAPI IoRegisterLastChanceShutdownNotification(PDEVICE_OBJECT DeviceObject)
{
	return IoRegisterShutdownNotification(DeviceObject);
}

void io_shutdown_remove(struct io_device *device)
{
	KIRQL old = ke_lock_raise(&io_lock);
	if (device->shutdown) {
		device->shutdown = false;
		RemoveEntryList(&device->shutdown_entry);
		device->object->Flags &= ~DO_SHUTDOWN_REGISTERED;
	}
	ke_lock_lower(&io_lock, old);
}

/* IRQL = PASSIVE. */
VOID NTAPI IoUnregisterShutdownNotification(PDEVICE_OBJECT DeviceObject)
{
	io_shutdown_remove(io_device_of(DeviceObject));
}

void io_shutdown(void)
{
	for (;;) {
		PDEVICE_OBJECT device = 0, top;
		struct io_request request;
		KIRQL old = ke_lock_raise(&io_lock);
		if (!IsListEmpty(&shutdown_list)) {
			device = CONTAINING_RECORD(shutdown_list.Flink, struct io_device,
						   shutdown_entry)
					 ->object;
			ob_reference(device);
		}
		ke_lock_lower(&io_lock, old);
		if (!device)
			return;
		io_shutdown_remove(io_device_of(device));
		top = io_device_top(device);
		if (NT_SUCCESS(io_request_begin(&request, top, 0, IRP_MJ_SHUTDOWN)))
			io_request_send(&request, top);
		ob_dereference(top);
		ob_dereference(device);
	}
}

/* ---- Questions ---- */

/* The stack that runs now. Any IRQL. */
VOID NTAPI IoGetStackLimits(PULONG_PTR LowLimit, PULONG_PTR HighLimit)
{
	*LowLimit = (ULONG_PTR)ke_thread()->StackLimit;
	*HighLimit = (ULONG_PTR)ke_thread()->StackBase;
}

ULONG_PTR NTAPI IoGetRemainingStackSize(VOID)
{
	ULONG_PTR here = (ULONG_PTR)__builtin_frame_address(0),
		  low = (ULONG_PTR)ke_thread()->StackLimit;
	return here > low ? here - low : 0;
}

/* The high end of the thread's stack. IRQL <= APC (VER-18). */
PVOID NTAPI IoGetInitialStack(VOID)
{
	return ke_thread()->StackBase;
}

/* WDM 6.0 is what Vista and everything later offers. IRQL = PASSIVE. */
BOOLEAN NTAPI IoIsWdmVersionAvailable(UCHAR MajorVersion, UCHAR MinorVersion)
{
	return MajorVersion < 6 || (MajorVersion == 6 && MinorVersion == 0);
}

/* The process that made a request. IRQL <= DISPATCH. NULL: a driver's own IRP. */
PEPROCESS NTAPI IoGetRequestorProcess(PIRP Irp)
{
	PETHREAD thread = Irp->Tail.Overlay.Thread;
	return thread ? (PEPROCESS)ps_kthread(thread)->Process : 0;
}

ULONG NTAPI IoGetRequestorProcessId(PIRP Irp)
{
	PETHREAD thread = Irp->Tail.Overlay.Thread;
	return thread ? HandleToULong(ps_kthread(thread)->client_id.UniqueProcess) : 0;
}
