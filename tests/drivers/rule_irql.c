/* SPDX-License-Identifier: MIT */
/*
 * One routine of each IRQL rule (VER-4, VER-13..22, VER-26, VER-30): LEGAL calls it at its highest
 * legal IRQL, else it is called one level above. (tests/vf/entry_test.c looks at every routine.)
 */
#include "check.h"

#ifdef LEGAL
#define AT(legal) (legal)
#else
#define AT(legal) ((legal) + 1)
#endif

static PAGED_LOOKASIDE_LIST lookaside;
static ERESOURCE resource;
static FAST_MUTEX mutex;
static KEVENT event;
static PDRIVER_OBJECT self;

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

static NTSTATUS NTAPI dispatch(PDEVICE_OBJECT device, PIRP irp)
{
	KIRQL old;
	UNREFERENCED_PARAMETER(device);
	irp->IoStatus.Status = STATUS_SUCCESS;
	irp->IoStatus.Information = 0;
	IoCompleteRequest(irp, IO_NO_INCREMENT);
#ifdef LEGAL
	KeRaiseIrql(APC_LEVEL, &old);
	KeLowerIrql(old);
#else
	KeRaiseIrql(APC_LEVEL, &old);
#endif
	return STATUS_SUCCESS;
}

CHECK_HELPER void irql_return(void)
{
	PDEVICE_OBJECT device;
	self->MajorFunction[IRP_MJ_FLUSH_BUFFERS] = dispatch;
	if (!NT_SUCCESS(IoCreateDevice(self, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &device)))
		return;
	device->Flags &= ~DO_DEVICE_INITIALIZING;
	IO_STATUS_BLOCK status;
	KEVENT done;
	KeInitializeEvent(&done, NotificationEvent, FALSE);
	PIRP irp = IoBuildSynchronousFsdRequest(IRP_MJ_FLUSH_BUFFERS, device, NULL, 0, NULL, &done,
						&status);
	CHECK(irp && IoCallDriver(device, irp) == STATUS_SUCCESS,
	      "VER-22 the dispatch routine was called");
	KeLowerIrql(PASSIVE_LEVEL);
	IoDeleteDevice(device);
}

CHECK_HELPER void at(KIRQL irql)
{
	KIRQL old;
	PVOID block = NULL;
	BOOLEAN acquired = FALSE;
	ULONG major;
	LARGE_INTEGER soon = check_ms(1), zero = {0};
	PHYSICAL_ADDRESS highest;
	UNREFERENCED_PARAMETER(soon);
	UNREFERENCED_PARAMETER(zero);
	UNICODE_STRING name;
	RtlInitUnicodeString(&name, L"\\??\\NoSuchLink");
	highest.QuadPart = -1;
	if (CASE == 8)
		block = MmAllocateContiguousMemory(PAGE_SIZE, highest);
	if (CASE == 2)
		ExAcquireFastMutex(&mutex);
	if (CASE == 4)
		KeEnterCriticalRegion();

	KeRaiseIrql(irql, &old);
	switch (CASE) {
	case 1:
		block = ExAllocatePoolWithTag(NonPagedPoolNx, 32, 'tseT');
		break;
	case 2:
		acquired = ExTryToAcquireFastMutex(&mutex);
		break; /* held: FALSE */
	case 3:
		ExInitializePagedLookasideList(&lookaside, NULL, NULL, 0, 32, 'tseT', 0);
		break;
	case 4:
		acquired = ExAcquireResourceSharedLite(&resource, FALSE);
		break;
	case 5:
		ExIsProcessorFeaturePresent(0);
		break;
	case 6:
		IoGetInitialStack();
		break;
	case 7:
		MmResetDriverPaging((PVOID)(ULONG_PTR)unload);
		break;
	case 8:
		MmFreeContiguousMemory(block);
		break;
	case 9:
		ZwClose(NULL);
		break;
	case 10:
		PsGetVersion(&major, NULL, NULL, NULL);
		break;
	case 11:
		RtlDeleteRegistryValue(RTL_REGISTRY_SERVICES, L"no such key", L"no such value");
		break;
	case 12:
		ObReferenceObjectByHandle(NULL, 0, NULL, KernelMode, &block, NULL);
		break;
	case 13:
		KeQueryPriorityThread(KeGetCurrentThread());
		break;
	case 14:
		IoDeleteSymbolicLink(&name);
		break;
	}
	if (acquired && CASE == 4)
		ExReleaseResourceLite(&resource);
	KeLowerIrql(old);
	if (CASE == 2)
		ExReleaseFastMutex(&mutex);

	if (CASE == 4)
		KeLeaveCriticalRegion();
	if (CASE == 3)
		ExDeletePagedLookasideList(&lookaside);
	if (CASE == 1 && block)
		ExFreePoolWithTag(block, 'tseT');
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	static const KIRQL highest[] = {0, 2, 1, 1, 1, 0, 1, 1, 2, 0, 0, 0, 0, 0, 0};
	UNREFERENCED_PARAMETER(path);
	self = driver;
	driver->DriverUnload = unload;
	ExInitializeFastMutex(&mutex);
	ExInitializeResourceLite(&resource);
	KeInitializeEvent(&event, NotificationEvent, FALSE);
	if (CASE == 0)
		irql_return();
	else
		at(AT(highest[CASE]));
	ExDeleteResourceLite(&resource);
	CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL, "the call came back");
	return check_result();
}
