/* SPDX-License-Identifier: MIT */
/* Objects: references, handles, names, links, directories, events by handle (PLT-43, DEF-134,
 * DEF-147, DEF-154, DEF-156, ...). */
#include "check.h"

/* Not in public headers: drivers declare them so (DEF-307). */
extern POBJECT_TYPE *IoDriverObjectType, *IoDeviceObjectType;

static UNICODE_STRING text(PCWSTR characters)
{
	UNICODE_STRING string;
	RtlInitUnicodeString(&string, characters);
	return string;
}

static OBJECT_ATTRIBUTES attributes(UNICODE_STRING *name, ULONG flags, HANDLE root)
{
	OBJECT_ATTRIBUTES result;
	InitializeObjectAttributes(&result, name, flags, root, NULL);
	return result;
}

static void handles(void)
{
	HANDLE handle, second, stale;
	PVOID object, again;
	NTSTATUS status = ZwCreateEvent(&handle, EVENT_ALL_ACCESS, NULL, NotificationEvent, FALSE);
	CHECK(NT_SUCCESS(status), "ZwCreateEvent without attributes");
	CHECK(handle && (ULONG_PTR)handle % 4 == 0, "a handle is a multiple of 4");
	CHECK(ObReferenceObjectByHandle(handle, 0, NULL, KernelMode, &object, NULL) ==
		      STATUS_SUCCESS,
	      "DEF-154 type NULL is any type in kernel mode");
	CHECK(ObReferenceObjectByHandle(handle, 0, *ExEventObjectType, KernelMode, &again, NULL) ==
			      STATUS_SUCCESS &&
		      again == object,
	      "*ExEventObjectType is the type of events");
	ObDereferenceObject(again);
	CHECK(ObReferenceObjectByHandle(handle, 0, *PsThreadType, KernelMode, &again, NULL) ==
		      STATUS_OBJECT_TYPE_MISMATCH,
	      "PLT-43 another type is STATUS_OBJECT_TYPE_MISMATCH");
	CHECK(KeReadStateEvent(object) == 0, "the body is the KEVENT");
	CHECK(ZwSetEvent(handle, NULL) == STATUS_SUCCESS && KeReadStateEvent(object) != 0,
	      "ZwSetEvent sets it");
	CHECK(ZwWaitForSingleObject(handle, FALSE, NULL) == STATUS_SUCCESS,
	      "ZwWaitForSingleObject on an event");
	status = ObOpenObjectByPointer(object, OBJ_KERNEL_HANDLE, NULL, EVENT_ALL_ACCESS,
				       *ExEventObjectType, KernelMode, &second);
	CHECK(NT_SUCCESS(status) && (LONG_PTR)second < 0, "DEF-208 a kernel handle of an object");
	CHECK(ZwClose(second) == STATUS_SUCCESS, "ZwClose of the second handle");
	CHECK(ZwClose(handle) == STATUS_SUCCESS, "ZwClose of the first handle");
	CHECK(ZwClose(handle) == STATUS_INVALID_HANDLE,
	      "DEF-147 a closed handle is STATUS_INVALID_HANDLE");
	stale = handle;
	for (int i = 0; i < 2000; i++) {
		ZwCreateEvent(&handle, EVENT_ALL_ACCESS, NULL, NotificationEvent, FALSE);
		if (handle == stale)
			break;
		ZwClose(handle);
	}
	CHECK(handle != stale, "a closed handle does not come back with the next 2000 objects");
	CHECK(ZwClose(NULL) == STATUS_INVALID_HANDLE, "NULL is no handle");
	CHECK(ZwClose((HANDLE)(ULONG_PTR)0x12345678) == STATUS_INVALID_HANDLE,
	      "garbage is no handle");
	CHECK(KeReadStateEvent(object) != 0, "the object lives by its reference");
	ObDereferenceObject(object);
	CHECK(ObReferenceObjectByHandle(ZwCurrentThread(), 0, *PsThreadType, KernelMode, &object,
					NULL) == STATUS_SUCCESS &&
		      object == PsGetCurrentThread(),
	      "NtCurrentThread() is the thread");
	ObDereferenceObject(object);
	CHECK(ObReferenceObjectByHandle(ZwCurrentProcess(), 0, *PsProcessType, KernelMode, &object,
					NULL) == STATUS_SUCCESS &&
		      object == PsGetCurrentProcess(),
	      "NtCurrentProcess() is the process");
	ObDereferenceObject(object);
}

static void names(void)
{
	UNICODE_STRING name = text(L"\\BaseNamedObjects\\KetchEvent"),
		       other = text(L"\\basenamedobjects\\KETCHEVENT");
	UNICODE_STRING absent = text(L"\\BaseNamedObjects\\Nobody"),
		       nowhere = text(L"\\Nowhere\\Nobody");
	UNICODE_STRING relative = text(L"KetchEvent"), directory = text(L"\\BaseNamedObjects");
	UNICODE_STRING bad = text(L"NoBackslash"), empty_part = text(L"\\BaseNamedObjects\\\\X");
	OBJECT_ATTRIBUTES oa = attributes(&name, OBJ_CASE_INSENSITIVE, NULL);
	HANDLE handle, second, root;
	PVOID one, two;
	CHECK(ZwCreateEvent(&handle, EVENT_ALL_ACCESS, &oa, NotificationEvent, FALSE) ==
		      STATUS_SUCCESS,
	      "a named event");
	CHECK(ZwCreateEvent(&second, EVENT_ALL_ACCESS, &oa, NotificationEvent, FALSE) ==
		      STATUS_OBJECT_NAME_COLLISION,
	      "the name is taken");
	oa = attributes(&other, OBJ_CASE_INSENSITIVE | OBJ_OPENIF, NULL);
	CHECK(ZwCreateEvent(&second, EVENT_ALL_ACCESS, &oa, NotificationEvent, FALSE) ==
		      STATUS_OBJECT_NAME_EXISTS,
	      "PLT-65 OBJ_OPENIF opens, case does not matter");
	ObReferenceObjectByHandle(handle, 0, NULL, KernelMode, &one, NULL);
	ObReferenceObjectByHandle(second, 0, NULL, KernelMode, &two, NULL);
	CHECK(one == two, "both handles are one object");
	ObDereferenceObject(two);
	ZwClose(second);
	oa = attributes(&absent, 0, NULL);
	CHECK(ZwOpenEvent(&second, EVENT_ALL_ACCESS, &oa) == STATUS_OBJECT_NAME_NOT_FOUND,
	      "an absent name");
	oa = attributes(&nowhere, 0, NULL);
	CHECK(ZwOpenEvent(&second, EVENT_ALL_ACCESS, &oa) == STATUS_OBJECT_PATH_NOT_FOUND,
	      "an absent directory");
	oa = attributes(&bad, 0, NULL);
	CHECK(ZwOpenEvent(&second, EVENT_ALL_ACCESS, &oa) == STATUS_OBJECT_PATH_SYNTAX_BAD,
	      "a path begins with \\");
	oa = attributes(&empty_part, 0, NULL);
	CHECK(ZwOpenEvent(&second, EVENT_ALL_ACCESS, &oa) == STATUS_OBJECT_NAME_INVALID,
	      "no component is empty");
	oa = attributes(&directory, 0, NULL);
	CHECK(ZwOpenEvent(&second, EVENT_ALL_ACCESS, &oa) == STATUS_OBJECT_TYPE_MISMATCH,
	      "a directory is no event");
	CHECK(ZwOpenDirectoryObject(&root, DIRECTORY_QUERY, &oa) == STATUS_SUCCESS,
	      "DEF-288 ZwOpenDirectoryObject");
	oa = attributes(&relative, 0, root);
	CHECK(ZwOpenEvent(&second, EVENT_ALL_ACCESS, &oa) == STATUS_SUCCESS,
	      "a name relative to a directory");
	ZwClose(second);
	ZwClose(root);
	ZwClose(handle);
	oa = attributes(&name, 0, NULL);
	CHECK(ZwOpenEvent(&second, EVENT_ALL_ACCESS, &oa) == STATUS_OBJECT_NAME_NOT_FOUND,
	      "the name goes with the last handle, though the object is referenced");
	ObDereferenceObject(one);
}

static void permanent(void)
{
	UNICODE_STRING name = text(L"\\KernelObjects\\KetchPermanent");
	OBJECT_ATTRIBUTES oa = attributes(&name, OBJ_PERMANENT, NULL),
			  plain = attributes(&name, 0, NULL);
	HANDLE handle;
	CHECK(ZwCreateEvent(&handle, EVENT_ALL_ACCESS, &oa, SynchronizationEvent, TRUE) ==
		      STATUS_SUCCESS,
	      "PLT-65 a permanent event");
	ZwClose(handle);
	CHECK(ZwOpenEvent(&handle, EVENT_ALL_ACCESS, &plain) == STATUS_SUCCESS,
	      "it stays without handles");
	CHECK(ZwMakeTemporaryObject(handle) == STATUS_SUCCESS, "ZwMakeTemporaryObject");
	ZwClose(handle);
	CHECK(ZwOpenEvent(&handle, EVENT_ALL_ACCESS, &plain) == STATUS_OBJECT_NAME_NOT_FOUND,
	      "then it goes with its handle");
}

static void links(PDEVICE_OBJECT device)
{
	UNICODE_STRING dos = text(L"\\DosDevices\\KetchOb"), global = text(L"\\GLOBAL??\\KetchOb");
	UNICODE_STRING question = text(L"\\??\\KetchOb"),
		       through = text(L"\\??\\GLOBALROOT\\Device\\KetchOb");
	UNICODE_STRING target = text(L"\\Device\\KetchOb"), self = text(L"\\??\\KetchLoop");
	WCHAR buffer[64];
	UNICODE_STRING answer = {0, sizeof(buffer), buffer}, small = {0, 4, buffer};
	OBJECT_ATTRIBUTES oa = attributes(&question, OBJ_CASE_INSENSITIVE, NULL);
	HANDLE handle;
	ULONG length = 0;
	PVOID object;
	CHECK(IoCreateSymbolicLink(&dos, &target) == STATUS_SUCCESS,
	      "DEF-156 IoCreateSymbolicLink");
	CHECK(IoCreateSymbolicLink(&question, &target) == STATUS_OBJECT_NAME_COLLISION,
	      "DEF-156 \\DosDevices and \\?? are one place");
	CHECK(ObReferenceObjectByName(&global, 0, NULL, 0, *IoDeviceObjectType, KernelMode, NULL,
				      &object) == STATUS_SUCCESS &&
		      object == device,
	      "the link leads to the device");
	ObDereferenceObject(object);
	CHECK(ObReferenceObjectByName(&through, 0, NULL, 0, NULL, KernelMode, NULL, &object) ==
			      STATUS_SUCCESS &&
		      object == device,
	      "GLOBALROOT leads to the root");
	ObDereferenceObject(object);
	CHECK(ZwOpenSymbolicLinkObject(&handle, SYMBOLIC_LINK_QUERY, &oa) == STATUS_SUCCESS,
	      "ZwOpenSymbolicLinkObject opens the link itself");
	CHECK(ZwQuerySymbolicLinkObject(handle, &answer, &length) == STATUS_SUCCESS &&
		      RtlEqualUnicodeString(&answer, &target, FALSE) && length == target.Length + 2,
	      "ZwQuerySymbolicLinkObject gives its target");
	CHECK(ZwQuerySymbolicLinkObject(handle, &small, &length) == STATUS_BUFFER_TOO_SMALL,
	      "a small buffer");
	ZwClose(handle);
	CHECK(IoDeleteSymbolicLink(&target) == STATUS_OBJECT_TYPE_MISMATCH,
	      "a device is no symbolic link");
	CHECK(IoDeleteSymbolicLink(&dos) == STATUS_SUCCESS, "IoDeleteSymbolicLink");
	CHECK(IoDeleteSymbolicLink(&dos) == STATUS_OBJECT_NAME_NOT_FOUND, "DEF-162 a deleted link");
	CHECK(IoCreateSymbolicLink(&self, &self) == STATUS_SUCCESS, "a link to itself");
	CHECK(!NT_SUCCESS(
		      ObReferenceObjectByName(&self, 0, NULL, 0, NULL, KernelMode, NULL, &object)),
	      "a loop of links has an end");
	IoDeleteSymbolicLink(&self);
}

static void driver_and_device(PDRIVER_OBJECT driver, PDEVICE_OBJECT device)
{
	UNICODE_STRING expected = text(L"\\Device\\KetchOb");
	struct {
		OBJECT_NAME_INFORMATION info;
		WCHAR text[64];
	} name;
	ULONG length = 0;
	PVOID object;
	CHECK(ObReferenceObjectByName(&driver->DriverName, OBJ_CASE_INSENSITIVE, NULL, 0,
				      *IoDriverObjectType, KernelMode, NULL,
				      &object) == STATUS_SUCCESS &&
		      object == driver,
	      "DEF-307 the driver object by its name");
	ObDereferenceObject(object);
	CHECK(ObQueryNameString(device, &name.info, sizeof(name), &length) == STATUS_SUCCESS &&
		      RtlEqualUnicodeString(&name.info.Name, &expected, FALSE) &&
		      length == sizeof(OBJECT_NAME_INFORMATION) + expected.Length + 2,
	      "ObQueryNameString of a device");
	CHECK(ObQueryNameString(device, &name.info, 20, &length) == STATUS_INFO_LENGTH_MISMATCH &&
		      length == sizeof(OBJECT_NAME_INFORMATION) + expected.Length + 2,
	      "ObQueryNameString tells the length");
	CHECK(ObQueryNameString(PsGetCurrentThread(), &name.info, sizeof(name), &length) ==
			      STATUS_SUCCESS &&
		      name.info.Name.Length == 0,
	      "a thread has no name");
	CHECK(ObGetObjectType(device) == *IoDeviceObjectType, "ObGetObjectType");
}

static void sections_and_events(void)
{
	UNICODE_STRING memory = text(L"\\Device\\PhysicalMemory"),
		       event = text(L"\\BaseNamedObjects\\KetchShared");
	OBJECT_ATTRIBUTES oa = attributes(&memory, OBJ_CASE_INSENSITIVE, NULL);
	HANDLE handle, second;
	PKEVENT one, two;
	CHECK(ZwOpenSection(&handle, SECTION_MAP_READ, &oa) == STATUS_ACCESS_DENIED,
	      "DEF-290 physical memory is denied");
	one = IoCreateNotificationEvent(&event, &handle);
	two = IoCreateNotificationEvent(&event, &second);
	CHECK(one && one == two, "IoCreateNotificationEvent opens what is there");
	CHECK(one && KeReadStateEvent(one), "a fresh one is signalled");
	ZwClose(handle);
	ZwClose(second);
}

static void queries(void)
{
	UNICODE_STRING name = text(L"\\BaseNamedObjects\\KetchQuery");
	OBJECT_ATTRIBUTES oa = attributes(&name, 0, NULL);
	struct {
		ULONG attributes, access, handles, pointers, reserved[10];
	} basic;
	struct {
		OBJECT_NAME_INFORMATION info;
		WCHAR text[64];
	} full;
	HANDLE handle, second;
	PVOID object, security;
	ULONG length;
	BOOLEAN allocated;
	ZwCreateEvent(&handle, EVENT_MODIFY_STATE, &oa, NotificationEvent, FALSE);
	ZwOpenEvent(&second, EVENT_ALL_ACCESS, &oa);
	ObReferenceObjectByHandle(handle, 0, NULL, KernelMode, &object, NULL);
	CHECK(ZwQueryObject(handle, 0, &basic, sizeof(basic), &length) == STATUS_SUCCESS &&
		      basic.handles == 2 && basic.pointers == 3 &&
		      basic.access == EVENT_MODIFY_STATE,
	      "ZwQueryObject, counts and access");
	CHECK(ZwQueryObject(handle, 0, &basic, 8, &length) == STATUS_INFO_LENGTH_MISMATCH &&
		      length == sizeof(basic),
	      "ZwQueryObject tells the length");
	CHECK(ZwQueryObject(handle, 1, &full, sizeof(full), &length) == STATUS_SUCCESS &&
		      RtlEqualUnicodeString(&full.info.Name, &name, FALSE),
	      "ZwQueryObject, the name");
	CHECK(ObGetObjectSecurity(object, &security, &allocated) == STATUS_SUCCESS && !security &&
		      !allocated,
	      "ObGetObjectSecurity: none");
	ObReleaseObjectSecurity(security, allocated);
	ObDereferenceObject(object);
	ZwClose(second);
	ZwClose(handle);
}

static void deferred_deletion(void)
{
	HANDLE handle;
	PVOID object;
	KIRQL old;
	ZwCreateEvent(&handle, EVENT_ALL_ACCESS, NULL, NotificationEvent, FALSE);
	ObReferenceObjectByHandle(handle, 0, NULL, KernelMode, &object, NULL);
	ZwClose(handle);
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	ObReferenceObject(object);
	ObDereferenceObject(object);
	CHECK(ObReferenceObjectByPointer(object, 0, *ExEventObjectType, KernelMode) ==
		      STATUS_SUCCESS,
	      "ObReferenceObjectByPointer at DISPATCH_LEVEL");
	ObDereferenceObject(object);
	ObDereferenceObject(object);
	KeLowerIrql(old);
	CHECK(TRUE, "PLT-43 the last dereference at DISPATCH_LEVEL");
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNICODE_STRING name = text(L"\\Device\\KetchOb");
	PDEVICE_OBJECT device;
	UNREFERENCED_PARAMETER(path);
	if (!NT_SUCCESS(IoCreateDevice(driver, 0, &name, FILE_DEVICE_UNKNOWN, 0, FALSE, &device)))
		return STATUS_UNSUCCESSFUL;
	handles();
	names();
	permanent();
	links(device);
	driver_and_device(driver, device);
	sections_and_events();
	queries();
	deferred_deletion();
	IoDeleteDevice(device);
	return check_result() ? STATUS_UNSUCCESSFUL : STATUS_SUCCESS;
}
