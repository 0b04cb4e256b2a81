/* SPDX-License-Identifier: MIT */
/* The driver object, its devices and extensions (PLT-58..60, PLT-82..84, PLT-93, DEF-6, DEF-50,
 * DEF-161, DEF-300). */
#include "check.h"

static ULONG reinitialized[4], reinit_count;
static UNICODE_STRING path_copy;

static VOID NTAPI again(PDRIVER_OBJECT driver, PVOID context, ULONG count)
{
	if (reinit_count < 4)
		reinitialized[reinit_count++] = (ULONG)(ULONG_PTR)context * 100 + count;
	if (context == (PVOID)1)
		IoRegisterDriverReinitialization(driver, again, (PVOID)3);
}

static NTSTATUS NTAPI own_driver(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	return driver->DriverExtension && !path ? STATUS_SUCCESS : STATUS_UNSUCCESSFUL;
}

static NTSTATUS NTAPI refuses(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(driver);
	UNREFERENCED_PARAMETER(path);
	return STATUS_CANCELLED;
}

static void driver_object(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNICODE_STRING prefix = RTL_CONSTANT_STRING(L"\\Driver\\"), service;
	UNICODE_STRING key =
		RTL_CONSTANT_STRING(L"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\");
	ULONG filled = 0;
	CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL && PsIsSystemThread(PsGetCurrentThread()),
	      "PLT-58 DriverEntry at PASSIVE_LEVEL in a system thread");
	CHECK(driver->Type == 4 && driver->Size == 0x150, "PLT-60 Type and Size");
	CHECK((PCHAR)driver->DriverStart <= (PCHAR)own_driver &&
		      (PCHAR)own_driver < (PCHAR)driver->DriverStart + driver->DriverSize,
	      "PLT-60 DriverStart and DriverSize are the image");
	CHECK((PVOID)driver->DriverInit != NULL, "PLT-60 DriverInit");
	for (int i = 0; i <= IRP_MJ_MAXIMUM_FUNCTION; i++)
		filled += driver->MajorFunction[i] != NULL;
	CHECK(filled == 28, "PLT-60 all 28 major functions are set");
	CHECK(RtlPrefixUnicodeString(&prefix, &driver->DriverName, FALSE),
	      "PLT-60 the name is \\Driver\\...");
	CHECK(driver->HardwareDatabase && driver->HardwareDatabase->Length,
	      "PLT-60 HardwareDatabase");
	CHECK(driver->DriverExtension && driver->DriverExtension->DriverObject == driver,
	      "PLT-60 DriverExtension");
	CHECK(*(PVOID *)((PCHAR)driver->DriverSection + 0x30) == driver->DriverStart,
	      "DEF-50 DriverSection is the loader entry");
	CHECK(RtlPrefixUnicodeString(&key, path, TRUE),
	      "PLT-58 the registry path is the service's key");
	service.Buffer = path->Buffer + key.Length / sizeof(WCHAR);
	service.Length = service.MaximumLength = path->Length - key.Length;
	CHECK(RtlEqualUnicodeString(&service, &driver->DriverExtension->ServiceKeyName, FALSE),
	      "PLT-83 ServiceKeyName is the last part of it");
}

static void extensions(PDRIVER_OBJECT driver)
{
	PVOID one = NULL, two = NULL;
	CHECK(IoAllocateDriverObjectExtension(driver, again, 100, &one) == STATUS_SUCCESS && one,
	      "IoAllocateDriverObjectExtension");
	CHECK(IoAllocateDriverObjectExtension(driver, again, 100, &two) ==
		      STATUS_OBJECT_NAME_COLLISION,
	      "an id is taken once");
	CHECK(IoGetDriverObjectExtension(driver, again) == one, "IoGetDriverObjectExtension");
	CHECK(IoGetDriverObjectExtension(driver, refuses) == NULL, "an unknown id");
}

static void devices(PDRIVER_OBJECT driver)
{
	UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Device\\KetchDevices"),
		       bad = RTL_CONSTANT_STRING(L"KetchDevices");
	PDEVICE_OBJECT one, two = (PDEVICE_OBJECT)1, three;
	ULONG sum = 0;
	CHECK(IoCreateDevice(driver, 100, &name, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN,
			     FALSE, &one) == STATUS_SUCCESS,
	      "DEF-161 IoCreateDevice");
	CHECK(one->Type == 3 && one->DriverObject == driver && one->StackSize == 1 &&
		      one->ReferenceCount == 0,
	      "PLT-84 what it begins with");
	CHECK(one->Flags & DO_DEVICE_INITIALIZING && one->Flags & DO_DEVICE_HAS_NAME,
	      "DEF-161 DO_DEVICE_INITIALIZING");
	CHECK(one->Characteristics == FILE_DEVICE_SECURE_OPEN &&
		      one->DeviceType == FILE_DEVICE_UNKNOWN,
	      "type and characteristics");
	CHECK(one->DeviceExtension && (ULONG_PTR)one->DeviceExtension % 16 == 0 &&
		      (ULONG_PTR)one % 16 == 0,
	      "PLT-93 device and extension are 16-byte aligned");
	for (int i = 0; i < 100; i++)
		sum += ((PUCHAR)one->DeviceExtension)[i];
	CHECK(sum == 0, "DEF-161 the extension is zeroed");
	CHECK(IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &two) ==
			      STATUS_OBJECT_NAME_COLLISION &&
		      two == NULL,
	      "a name is taken once");
	CHECK(IoCreateDevice(driver, 0, &bad, FILE_DEVICE_UNKNOWN, 0, FALSE, &two) ==
		      STATUS_OBJECT_PATH_SYNTAX_BAD,
	      "a name begins with \\");
	CHECK(IoCreateDevice(driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &two) ==
			      STATUS_SUCCESS &&
		      !two->DeviceExtension,
	      "a device without name and extension");
	CHECK(driver->DeviceObject == two && two->NextDevice == one && one->NextDevice == NULL,
	      "DRIVER_OBJECT.DeviceObject is the list of devices");
	CHECK(IoAttachDeviceToDeviceStack(two, one) == NULL,
	      "a device that is not initialized takes no attachment");
	one->Flags &= ~DO_DEVICE_INITIALIZING;
	CHECK(IoAttachDeviceToDeviceStack(two, one) == one && two->StackSize == 2 &&
		      one->AttachedDevice == two,
	      "IoAttachDeviceToDeviceStack");
	three = IoGetAttachedDeviceReference(one);
	CHECK(three == two, "IoGetAttachedDeviceReference");
	ObDereferenceObject(three);
	IoDetachDevice(one);
	CHECK(one->AttachedDevice == NULL, "IoDetachDevice");
	IoDeleteDevice(two);
	CHECK(driver->DeviceObject == one, "IoDeleteDevice takes it from the list");
	IoDeleteDevice(one);
	CHECK(IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &one) ==
		      STATUS_SUCCESS,
	      "the name is free again");
	IoDeleteDevice(one);
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Driver\\KetchOwn"),
		       link = RTL_CONSTANT_STRING(L"\\??\\KetchLater");
	CHECK(KeGetCurrentIrql() == PASSIVE_LEVEL, "PLT-59 DriverUnload at PASSIVE_LEVEL");
	CHECK(reinit_count == 3 && reinitialized[0] == 1 * 100 + 1 &&
		      reinitialized[1] == 2 * 100 + 2 && reinitialized[2] == 3 * 100 + 3,
	      "reinitialization routines ran in order, with a count, also one that was registered "
	      "meanwhile");
	CHECK(driver->Flags & DRVO_INITIALIZED, "DRVO_INITIALIZED");
	CHECK(!(driver->DeviceObject->Flags & DO_DEVICE_INITIALIZING),
	      "DEF-161 DO_DEVICE_INITIALIZING is cleared after DriverEntry");
	IoDeleteDevice(driver->DeviceObject);
	UNREFERENCED_PARAMETER(name);
	UNREFERENCED_PARAMETER(link);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNICODE_STRING own = RTL_CONSTANT_STRING(L"\\Driver\\KetchOwn");
	PDEVICE_OBJECT device;
	path_copy = *path;
	driver->DriverUnload = unload;
	driver_object(driver, path);
	extensions(driver);
	devices(driver);
	CHECK(IoCreateDriver(&own, refuses) == STATUS_CANCELLED,
	      "DEF-300 IoCreateDriver gives the routine's status");
	CHECK(IoCreateDriver(NULL, own_driver) == STATUS_SUCCESS,
	      "DEF-300 a driver object without image");
	CHECK(IoIsWdmVersionAvailable(1, 0x30) && IoIsWdmVersionAvailable(6, 0) &&
		      !IoIsWdmVersionAvailable(7, 0),
	      "IoIsWdmVersionAvailable");
	ULONG_PTR low, high;
	IoGetStackLimits(&low, &high);
	CHECK(low < (ULONG_PTR)&device && (ULONG_PTR)&device < high &&
		      IoGetRemainingStackSize() > 0x1000 &&
		      IoGetRemainingStackSize() < high - low &&
		      (ULONG_PTR)IoGetInitialStack() == high,
	      "DEF-49 stack limits");
	IoCreateDevice(driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE, &device);
	IoRegisterDriverReinitialization(driver, again, (PVOID)2);
	IoRegisterBootDriverReinitialization(driver, again, (PVOID)1);
	return check_result();
}
