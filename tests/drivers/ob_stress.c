/* SPDX-License-Identifier: MIT */
/*
 * Many threads at once: names come and go while others open them, handles are made and closed,
 * threads are looked up while they end, the last reference is given back at DISPATCH_LEVEL;
 * requests are cancelled while they are completed. Nothing is lost, nothing leaks.
 */
#include "check.h"

#define THREADS 6
#define ROUNDS  2000

static volatile LONG failures, opened, looked_up, completions[2], go;
static volatile HANDLE target_id;
static PDEVICE_OBJECT device;
static LIST_ENTRY queue;
static KSPIN_LOCK queue_lock;
static IO_CSQ csq;
static KEVENT arrived;

static ULONG next(ULONG *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 16;
}

/* ---- Objects ---- */

/* Open or make one of four events into a slot whose old handle is closed. */
static void names(ULONG *seed, HANDLE *slot)
{
	WCHAR buffer[] = L"\\BaseNamedObjects\\KetchStress0";
	UNICODE_STRING name;
	OBJECT_ATTRIBUTES attributes;
	HANDLE old_handle = *slot;
	PVOID object;
	KIRQL old;
	if (old_handle &&
	    (ZwClose(old_handle) != STATUS_SUCCESS || ZwClose(old_handle) != STATUS_INVALID_HANDLE))
		InterlockedIncrement(&failures);
	*slot = NULL;
	buffer[RTL_NUMBER_OF(buffer) - 2] += (WCHAR)(next(seed) % 4);
	RtlInitUnicodeString(&name, buffer);
	InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_OPENIF, NULL,
				   NULL);
	NTSTATUS status =
		ZwCreateEvent(slot, EVENT_ALL_ACCESS, &attributes, NotificationEvent, FALSE);
	if (status == STATUS_OBJECT_NAME_EXISTS)
		InterlockedIncrement(&opened);
	if (!NT_SUCCESS(status) ||
	    ObReferenceObjectByHandle(*slot, 0, *ExEventObjectType, KernelMode, &object, NULL) !=
		    STATUS_SUCCESS) {
		InterlockedIncrement(&failures);
		return;
	}
	KeSetEvent(object, 0, FALSE);
	if (next(seed) & 1) {
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		ObDereferenceObject(object);
		KeLowerIrql(old);
	} else {
		ObDereferenceObject(object);
	}
}

static VOID NTAPI object_thread(PVOID number)
{
	ULONG seed = (ULONG)(ULONG_PTR)number * 7919 + 1;
	HANDLE slots[4] = {NULL};
	PETHREAD thread;
	while (!go)
		check_sleep(1);
	for (int i = 0; i < ROUNDS || go == 1; i++) {
		names(&seed, &slots[next(&seed) % 4]);
		if (NT_SUCCESS(PsLookupThreadByThreadId(target_id, &thread))) {
			InterlockedIncrement(&looked_up);
			ObDereferenceObject(thread);
		}
	}
	for (int i = 0; i < 4; i++) {
		if (slots[i])
			ZwClose(slots[i]);
	}
}

static VOID NTAPI short_thread(PVOID unused)
{
	UNREFERENCED_PARAMETER(unused);
	target_id = PsGetCurrentThreadId();
}

static void objects(void)
{
	PVOID threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		threads[i] = check_thread(object_thread, (PVOID)(ULONG_PTR)i);
	go = 1;
	for (int i = 0; i < 12; i++)
		check_join(check_thread(short_thread, NULL));
	go = 2;
	for (int i = 0; i < THREADS; i++)
		check_join(threads[i]);
	CHECK(failures == 0, "PLT-43, DEF-147 names and handles under load");
	CHECK(opened > 100, "and there was load");
}

/* ---- Requests: each is completed exactly once, by its canceller or by its server ---- */

static VOID NTAPI csq_insert(PIO_CSQ Csq, PIRP irp)
{
	UNREFERENCED_PARAMETER(Csq);
	InsertTailList(&queue, &irp->Tail.Overlay.ListEntry);
	KeSetEvent(&arrived, 0, FALSE);
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

static void complete(PIRP irp, NTSTATUS status)
{
	irp->IoStatus.Status = status;
	irp->IoStatus.Information = 0;
	InterlockedIncrement(&completions[status == STATUS_CANCELLED]);
	IoCompleteRequest(irp, IO_NO_INCREMENT);
}

static VOID NTAPI csq_cancelled(PIO_CSQ Csq, PIRP irp)
{
	UNREFERENCED_PARAMETER(Csq);
	complete(irp, STATUS_CANCELLED);
}

static NTSTATUS NTAPI dispatch(PDEVICE_OBJECT target, PIRP irp)
{
	UNREFERENCED_PARAMETER(target);
	IoCsqInsertIrp(&csq, irp, NULL);
	return STATUS_PENDING;
}

static VOID NTAPI server(PVOID unused)
{
	LARGE_INTEGER limit = check_ms(1);
	UNREFERENCED_PARAMETER(unused);
	while (go) {
		PIRP irp;
		KeWaitForSingleObject(&arrived, Executive, KernelMode, FALSE, &limit);
		while ((irp = IoCsqRemoveNextIrp(&csq, NULL)) != NULL)
			complete(irp, STATUS_SUCCESS);
	}
}

static NTSTATUS NTAPI kept(PDEVICE_OBJECT target, PIRP irp, PVOID event)
{
	UNREFERENCED_PARAMETER(target);
	UNREFERENCED_PARAMETER(irp);
	KeSetEvent(event, 0, FALSE);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

/* The driver's own request: it stays ours, so it can be cancelled at any moment. */
static VOID NTAPI client(PVOID number)
{
	ULONG seed = (ULONG)(ULONG_PTR)number + 77;
	for (int i = 0; i < ROUNDS; i++) {
		KEVENT event;
		PIRP irp = IoAllocateIrp(1, FALSE);
		KeInitializeEvent(&event, NotificationEvent, FALSE);
		IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_READ;
		IoSetCompletionRoutine(irp, kept, &event, TRUE, TRUE, TRUE);
		if (IoCallDriver(device, irp) != STATUS_PENDING)
			InterlockedIncrement(&failures);
		LARGE_INTEGER patience = {.QuadPart =
						  -(LONGLONG)(next(&seed) % 400)}; /* up to 40 us */
		if (KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, &patience) ==
		    STATUS_TIMEOUT)
			IoCancelIrp(irp);
		KeWaitForSingleObject(&event, Executive, KernelMode, FALSE, NULL);
		IoFreeIrp(irp);
	}
}

static void requests(void)
{
	PVOID threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		threads[i] = check_thread(i < 2 ? server : client, (PVOID)(ULONG_PTR)i);
	for (int i = 2; i < THREADS; i++)
		check_join(threads[i]);
	go = 0;
	check_join(threads[0]);
	check_join(threads[1]);
	CHECK(failures == 0 && completions[0] + completions[1] == (THREADS - 2) * ROUNDS,
	      "DEF-143 each request is completed once");
	CHECK(completions[0] > 0 && completions[1] > 0,
	      "some by the server, some by their cancel routine");
	DbgPrint("ob_stress: opened %d, looked up %d, served %d, cancelled %d\n", opened, looked_up,
		 completions[0], completions[1]);
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
	IoDeleteDevice(device);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	driver->MajorFunction[IRP_MJ_READ] = dispatch;
	InitializeListHead(&queue);
	KeInitializeEvent(&arrived, SynchronizationEvent, FALSE);
	IoCsqInitialize(&csq, csq_insert, csq_remove, csq_peek, csq_acquire, csq_release,
			csq_cancelled);
	if (!NT_SUCCESS(IoCreateDevice(driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &device)))
		return STATUS_UNSUCCESSFUL;
	objects();
	requests();
	return check_result();
}
