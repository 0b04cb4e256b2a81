/* SPDX-License-Identifier: MIT */
/*
 * wsk_register.c: registration and capture (DEF-55..67, DEF-71..74). CASE 0: as documented; 1: with
 * --wsk-delay=1500; 2: deregistered twice; 3: a zeroed block deregistered; 4: released without a
 * capture; 5: used after the release; 6: registered twice; 7: captured with a wait at
 * DISPATCH_LEVEL; 8: WskDeregister while a capture is held; 9: everything left at unload; 10: a
 * wrong IRQL in the dispatch table; 11: DriverEntry fails with everything left; 12: NULL for a
 * block at unload, when another driver has left its registration.
 */
#include "check.h"
#include <wskndk.h>

static const WSK_CLIENT_DISPATCH dispatch = {MAKE_WSK_VERSION(1, 0), 0, NULL};
static WSK_REGISTRATION registration;
static WSK_PROVIDER_NPI npi;

#pragma section("PAGETABL", read, write)
__declspec(allocate("PAGETABL")) static WSK_CLIENT_DISPATCH pageable = {MAKE_WSK_VERSION(1, 0), 0,
									NULL};

/* What the rule is about is read and written by Windows at DISPATCH_LEVEL. */
static void register_pageable(void)
{
	WSK_CLIENT_NPI client = {NULL, CASE == 14 ? &pageable : &dispatch};
	PWSK_REGISTRATION block = &registration;
	if (CASE == 13)
		block = ExAllocatePoolWithTag(PagedPool, sizeof(*block), 'tseT');
	CHECK(WskRegister(&client, block) == STATUS_SUCCESS &&
		      WskCaptureProviderNPI(block, WSK_NO_WAIT, &npi) == STATUS_SUCCESS,
	      "DEF-62 it works");
	WskReleaseProviderNPI(block);
	WskDeregister(block);
	if (CASE == 13)
		ExFreePoolWithTag(block, 'tseT');
}

static DECLSPEC_NOINLINE void register_table_on_stack(void)
{
	WSK_CLIENT_DISPATCH table = dispatch;
	WSK_CLIENT_NPI client = {NULL, &table};
	CHECK(WskRegister(&client, &registration) == STATUS_SUCCESS, "DEF-62 it works");
	RtlFillMemory(&table, sizeof(table), 0xee); /* as the next call would */
}

static void register_table_freed(void)
{
	WSK_CLIENT_DISPATCH *table = ExAllocatePoolWithTag(NonPagedPoolNx, PAGE_SIZE, 'tseT');
	WSK_CLIENT_NPI client = {NULL, table};
	*table = dispatch;
	CHECK(WskRegister(&client, &registration) == STATUS_SUCCESS, "DEF-62 it works");
	ExFreePoolWithTag(table, 'tseT');
}

static NTSTATUS register_on_stack(PWSK_REGISTRATION block)
{
	WSK_CLIENT_NPI client = {NULL, &dispatch};
	NTSTATUS status = WskRegister(&client, block);
	RtlFillMemory(&client, sizeof(client), 0xee); /* DEF-62: it was copied */
	return status;
}

static void test_steps(void)
{
	WSK_REGISTRATION garbage;
	WSK_PROVIDER_CHARACTERISTICS characteristics;
	RtlFillMemory(&garbage, sizeof(garbage), 0xa5);
	CHECK(register_on_stack(&garbage) == STATUS_SUCCESS,
	      "DEF-62 an uninitialised block, an NPI on the stack");
	WskDeregister(&garbage);
	CHECK(register_on_stack(&registration) == STATUS_SUCCESS, "DEF-61 register");
	CHECK(WskQueryProviderCharacteristics(&registration, &characteristics) == STATUS_SUCCESS &&
		      characteristics.LowestVersion <= 0x100 &&
		      characteristics.HighestVersion >= 0x100,
	      "DEF-56 the provider has version 1.0");
	CHECK(WskCaptureProviderNPI(&registration, WSK_INFINITE_WAIT, &npi) == STATUS_SUCCESS &&
		      npi.Client && npi.Dispatch && npi.Dispatch->Version >= 0x100,
	      "DEF-63 capture");
	CHECK(npi.Dispatch->WskSocket && npi.Dispatch->WskSocketConnect &&
		      npi.Dispatch->WskControlClient && npi.Dispatch->WskGetAddressInfo &&
		      npi.Dispatch->WskFreeAddressInfo && npi.Dispatch->WskGetNameInfo,
	      "DEF-74 every member is there");
	WSK_PROVIDER_NPI second;
	KIRQL old;
	KeRaiseIrql(DISPATCH_LEVEL, &old);
	CHECK(WskCaptureProviderNPI(&registration, WSK_NO_WAIT, &second) == STATUS_SUCCESS,
	      "DEF-56 capture without a wait at DISPATCH_LEVEL");
	WskReleaseProviderNPI(&registration);
	KeLowerIrql(old);
}

static void test_control(void)
{
	WSK_PROVIDER_NDK_DISPATCH ndk[2];
	SIZE_T returned = 0;
	PFN_WSK_CONTROL_CLIENT control = npi.Dispatch->WskControlClient;
	RtlFillMemory(ndk, sizeof(ndk), 0x55);
	CHECK(control(npi.Client, WSKNDK_GET_WSK_PROVIDER_NDK_DISPATCH, 0, NULL, 8, ndk, NULL,
		      NULL) == STATUS_INVALID_PARAMETER &&
		      *(ULONG64 *)ndk == 0x5555555555555555,
	      "DEF-66 room for a pointer only: refused, nothing is written");
	CHECK(control(npi.Client, WSKNDK_GET_WSK_PROVIDER_NDK_DISPATCH, 0, NULL, sizeof(*ndk), NULL,
		      &returned, NULL) == STATUS_INVALID_PARAMETER,
	      "DEF-66 no buffer");
	CHECK(control(npi.Client, WSKNDK_GET_WSK_PROVIDER_NDK_DISPATCH, 0, NULL, sizeof(*ndk), ndk,
		      &returned, NULL) == STATUS_SUCCESS &&
		      returned == 16 && ndk[0].WskOpenNdkAdapter && ndk[0].WskCloseNdkAdapter,
	      "DEF-65 the table, by value, and its size in 8 bytes");
	CHECK(*(ULONG64 *)&ndk[1] == 0x5555555555555555, "DEF-65 and not a byte more");
	CHECK(control(npi.Client, WSKNDK_GET_WSK_PROVIDER_NDK_DISPATCH, 0, NULL, sizeof(ndk), ndk,
		      NULL, NULL) == STATUS_SUCCESS,
	      "DEF-66 a larger buffer is filled");
	CHECK(control(npi.Client, WSK_TDI_BEHAVIOR, 0, NULL, 0, NULL, NULL, NULL) ==
		      STATUS_NOT_SUPPORTED,
	      "DEF-67 other codes");
}

static KEVENT completed;

static NTSTATUS NTAPI on_complete(PDEVICE_OBJECT device, PIRP irp, PVOID context)
{
	UNREFERENCED_PARAMETER(device);
	UNREFERENCED_PARAMETER(irp);
	KeSetEvent(context, 0, FALSE);
	return STATUS_MORE_PROCESSING_REQUIRED;
}

static void test_sockets(void)
{
	PIRP irp = IoAllocateIrp(1, FALSE);
	KeInitializeEvent(&completed, NotificationEvent, FALSE);
	IoSetCompletionRoutine(irp, on_complete, &completed, TRUE, TRUE, TRUE);
	NTSTATUS status = npi.Dispatch->WskSocket(npi.Client, AF_INET, SOCK_STREAM, IPPROTO_TCP,
						  WSK_FLAG_CONNECTION_SOCKET, NULL, NULL, NULL,
						  NULL, NULL, irp);
	CHECK(status == STATUS_NOT_SUPPORTED, "DEF-74 no sockets");
	CHECK(KeReadStateEvent(&completed) && irp->IoStatus.Status == STATUS_NOT_SUPPORTED,
	      "DEF-74 the IRP is completed with the same status");
	WSK_PROVIDER_NDK_DISPATCH ndk = {NULL, NULL};
	IoReuseIrp(irp, STATUS_SUCCESS);
	KeClearEvent(&completed);
	IoSetCompletionRoutine(irp, on_complete, &completed, TRUE, TRUE, TRUE);
	status = npi.Dispatch->WskControlClient(npi.Client, WSKNDK_GET_WSK_PROVIDER_NDK_DISPATCH, 0,
						NULL, sizeof(ndk), &ndk, NULL, irp);
	CHECK(status == STATUS_INVALID_PARAMETER && !ndk.WskOpenNdkAdapter &&
		      KeReadStateEvent(&completed) &&
		      irp->IoStatus.Status == STATUS_INVALID_PARAMETER,
	      "DEF-66 'NDKD' takes no IRP");
	IoFreeIrp(irp);
}

static void test_end(void)
{
	WSK_REGISTRATION old_version;
	WSK_CLIENT_DISPATCH two = {MAKE_WSK_VERSION(2, 0), 0, NULL};
	WSK_CLIENT_DISPATCH minor = {MAKE_WSK_VERSION(1, 9), 0, NULL};
	WSK_CLIENT_NPI client = {NULL, &two};
	WSK_PROVIDER_NPI none = {0};
	WskReleaseProviderNPI(&registration);
	WskDeregister(&registration);
	CHECK(WskCaptureProviderNPI(&registration, WSK_INFINITE_WAIT, &none) ==
		      STATUS_DEVICE_NOT_READY,
	      "DEF-63 no capture after WskDeregister");
	CHECK(WskRegister(&client, &old_version) == STATUS_SUCCESS &&
		      WskCaptureProviderNPI(&old_version, WSK_NO_WAIT, &none) == STATUS_NOINTERFACE,
	      "DEF-63 version 2.0 is STATUS_NOINTERFACE");
	WskDeregister(&old_version);
	client.Dispatch = &minor;
	CHECK(WskRegister(&client, &old_version) == STATUS_SUCCESS &&
		      WskCaptureProviderNPI(&old_version, WSK_NO_WAIT, &none) == STATUS_SUCCESS,
	      "DEF-63 an unknown minor gets the provider's own version");
	WskReleaseProviderNPI(&old_version);
	WskDeregister(&old_version);
}

static KEVENT waiting;

static VOID NTAPI capture_for_ever(PVOID context)
{
	WSK_PROVIDER_NPI none;
	KeSetEvent(&waiting, 0, FALSE);
	*(NTSTATUS *)context = WskCaptureProviderNPI(&registration, WSK_INFINITE_WAIT, &none);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

/* The provider comes 1500 ms after boot. */
static void test_delay(void)
{
	NTSTATUS status = STATUS_PENDING;
	CHECK(register_on_stack(&registration) == STATUS_SUCCESS, "DEF-63 register");
	CHECK(WskCaptureProviderNPI(&registration, WSK_NO_WAIT, &npi) == STATUS_DEVICE_NOT_READY,
	      "DEF-63 the provider is not there yet");
	ULONG64 before = KeQueryInterruptTime();
	CHECK(WskCaptureProviderNPI(&registration, 50, &npi) == STATUS_DEVICE_NOT_READY &&
		      KeQueryInterruptTime() - before >= 45 * 10000ULL,
	      "DEF-63 not within the time that a capture waits for it");
	KeInitializeEvent(&waiting, NotificationEvent, FALSE);
	PVOID thread = check_thread(capture_for_ever, &status);
	KeWaitForSingleObject(&waiting, Executive, KernelMode, FALSE, NULL);
	WskDeregister(&registration); /* the capture that waits gives up, or has not begun */
	check_join(thread);
	CHECK(status == STATUS_DEVICE_NOT_READY, "DEF-63 WskDeregister ends a capture that waits");
	CHECK(register_on_stack(&registration) == STATUS_SUCCESS, "DEF-63 register again");
	CHECK(WskCaptureProviderNPI(&registration, WSK_INFINITE_WAIT, &npi) == STATUS_SUCCESS,
	      "DEF-63 a capture waits until the provider is there");
	WskReleaseProviderNPI(&registration);
	WskDeregister(&registration);
}

static VOID NTAPI release_later(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
	check_sleep(300);
	WskReleaseProviderNPI(&registration);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static void everything_left(void)
{
	CHECK(register_on_stack(&registration) == STATUS_SUCCESS, "register");
	CHECK(WskCaptureProviderNPI(&registration, WSK_NO_WAIT, &npi) == STATUS_SUCCESS, "capture");
}

static void break_rule(void)
{
	KIRQL old;
	PVOID thread;
	if (CASE != 3)
		register_on_stack(&registration);
	if (CASE != 3 && CASE != 4)
		WskCaptureProviderNPI(&registration, WSK_NO_WAIT, &npi);
	switch (CASE) {
	case 2:
		WskReleaseProviderNPI(&registration);
		WskDeregister(&registration);
		WskDeregister(&registration);
		return;
	case 3:
		WskDeregister(&registration);
		return;
	case 4:
		WskReleaseProviderNPI(&registration);
		break;
	case 5:
		WskReleaseProviderNPI(&registration);
		CHECK(npi.Dispatch->WskControlClient(npi.Client, WSK_TDI_BEHAVIOR, 0, NULL, 0, NULL,
						     NULL, NULL) == STATUS_DEVICE_NOT_READY,
		      "DEF-64 no use after the release");
		WskDeregister(&registration);
		return;
	case 6:
		CHECK(register_on_stack(&registration) == STATUS_INVALID_DEVICE_STATE,
		      "DEF-72 a registered block is refused");
		WskReleaseProviderNPI(&registration);
		break;
	case 7:
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		CHECK(WskCaptureProviderNPI(&registration, 10, &npi) == STATUS_SUCCESS,
		      "DEF-56 it need not wait");
		KeLowerIrql(old);
		WskReleaseProviderNPI(&registration);
		WskReleaseProviderNPI(&registration);
		break;
	case 8:
		thread = check_thread(release_later, NULL);
		WskDeregister(&registration);
		CHECK(TRUE, "DEF-64 WskDeregister has waited for the release");
		check_join(thread);
		return;
	case 10:
		KeRaiseIrql(APC_LEVEL, &old);
		npi.Dispatch->WskFreeAddressInfo(npi.Client, NULL);
		KeLowerIrql(old);
		WskReleaseProviderNPI(&registration);
		break;
	}
	WskDeregister(&registration);
}

DRIVER_UNLOAD OnUnload;
VOID NTAPI OnUnload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
	if (CASE == 12) {
		WskReleaseProviderNPI(NULL);
		WskDeregister(NULL);
		DbgPrint("NULL is no block\n");
	}
}

DRIVER_INITIALIZE DriverEntry;
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = OnUnload;
	switch (CASE) {
	case 0:
		test_steps();
		test_control();
		test_sockets();
		test_end();
		break;
	case 1:
		test_delay();
		break;
	case 9:
		everything_left();
		break;
	case 11:
		everything_left();
		return STATUS_CANCELLED;
	case 12:
		break;
	case 13:
	case 14:
		register_pageable();
		break;
	case 15:
		register_table_on_stack();
		WskDeregister(&registration);
		break;
	case 16:
		register_table_freed();
		WskDeregister(&registration);
		break;
	default:
		break_rule();
	}
	return check_result();
}
