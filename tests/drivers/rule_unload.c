/* SPDX-License-Identifier: MIT */
/*
 * What a driver leaves behind (VER-38, VER-39, VER-43, VER-44, DEF-341): CASE 0 nothing, the others
 * one thing each. With FAIL_ENTRY DriverEntry fails afterwards, so that Unload is not called.
 */
#include "check.h"

static KTIMER timer;
static KDPC dpc;
static LONG runs;
static PCALLBACK_OBJECT callback_object;
static PVOID registration, pool, thread;
static ERESOURCE resource;
static PDEVICE_OBJECT device;
static volatile LONG stop;

static VOID NTAPI deferred(PKDPC Dpc, PVOID Context, PVOID One, PVOID Two)
{
	UNREFERENCED_PARAMETER(Dpc);
	UNREFERENCED_PARAMETER(Context);
	UNREFERENCED_PARAMETER(One);
	UNREFERENCED_PARAMETER(Two);
	InterlockedIncrement(&runs);
}

static VOID NTAPI notified(PVOID Context, PVOID One, PVOID Two)
{
	UNREFERENCED_PARAMETER(Context);
	UNREFERENCED_PARAMETER(One);
	UNREFERENCED_PARAMETER(Two);
}

static VOID NTAPI system_thread(PVOID Context)
{
	UNREFERENCED_PARAMETER(Context);
	while (!stop)
		check_sleep(5);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
	if (CASE == 0) {
		KeCancelTimer(&timer);
		ExUnregisterCallback(registration);
		ObDereferenceObject(callback_object);
		ExFreePoolWithTag(pool, 'tseT');
		ExDeleteResourceLite(&resource);
		IoDeleteDevice(device);
		stop = 1;
		check_join(thread);
	}
}

static void make(PDRIVER_OBJECT driver, int what)
{
	UNICODE_STRING name;
	OBJECT_ATTRIBUTES attributes;
	LARGE_INTEGER due = check_ms(60000);
	switch (what) {
	case 1:
		KeSetTimer(&timer, due, &dpc);
		break;
	case 2:
		RtlInitUnicodeString(&name, L"\\Callback\\KetchTest");
		InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE, NULL, NULL);
		CHECK(NT_SUCCESS(ExCreateCallback(&callback_object, &attributes, TRUE, TRUE)),
		      "PLT-61 created");
		registration = ExRegisterCallback(callback_object, notified, NULL);
		CHECK(registration, "PLT-62 registered");
		break;
	case 3:
		pool = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, 'tseT');
		break;
	case 4:
		ExInitializeResourceLite(&resource);
		break;
	case 5:
		CHECK(NT_SUCCESS(IoCreateDevice(driver, 0, NULL, FILE_DEVICE_UNKNOWN, 0, FALSE,
						&device)),
		      "DEF-161 a device");
		break;
	case 7:
		KeSetTimer(&timer, check_ms(30), &dpc);
		break;
	case 6:
		thread = check_thread(system_thread, NULL);
		break;
	}
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = unload;
	KeInitializeTimer(&timer);
	KeInitializeDpc(&dpc, deferred, NULL);
	for (int what = 1; what <= 7; what++) {
		if ((CASE == 0 && what < 7) || CASE == what)
			make(driver, what);
	}
#ifdef FAIL_ENTRY
	return STATUS_CANCELLED;
#else
	CHECK(runs == 0, "nothing has run yet");
	return check_result();
#endif
}
