/* SPDX-License-Identifier: MIT */
/*
 * ndk_open.c: opening and closing adapters (NDK-110..113, NDK-120, NDK-120b, DEF-60, DEF-68..73).
 * CASE 0: as documented; 1: closed twice; 2: NULL closed; 3: opened at DISPATCH_LEVEL; 4: released
 * with an adapter open; 5: the same at DISPATCH_LEVEL; 6: left open at unload; 7: another client's
 * adapter; 8: WskDeregister with an adapter open; 9: closed at DISPATCH_LEVEL; 10: RNIC 5 is
 * disabled, RNIC 6 connects to itself; 11: the second opening fails on demand;
 * 12: released with an adapter open that has a protection domain; 13: 5 without another capture;
 * 14: one capture released by two threads that wait for an adapter.
 */
#include "check.h"
#include <ndis.h>
#include <wskndk.h>

static const WSK_CLIENT_DISPATCH dispatch = {MAKE_WSK_VERSION(1, 0), 0, NULL};
static WSK_REGISTRATION registration, second;
static WSK_PROVIDER_NPI npi, second_npi;
static WSK_PROVIDER_NDK_DISPATCH ndk;
static NDK_ADAPTER *adapter;

static void enter(PWSK_REGISTRATION block, PWSK_PROVIDER_NPI provider)
{
	WSK_CLIENT_NPI client = {NULL, &dispatch};
	WskRegister(&client, block);
	WskCaptureProviderNPI(block, WSK_INFINITE_WAIT, provider);
	provider->Dispatch->WskControlClient(provider->Client, WSKNDK_GET_WSK_PROVIDER_NDK_DISPATCH,
					     0, NULL, sizeof(ndk), &ndk, NULL, NULL);
}

static NTSTATUS open(USHORT major, USHORT minor, NET_IFINDEX index)
{
	NDK_VERSION version = {major, minor};
	adapter = (NDK_ADAPTER *)1;
	return ndk.WskOpenNdkAdapter(npi.Client, version, index, &adapter);
}

static void close(void)
{
	ndk.WskCloseNdkAdapter(npi.Client, adapter);
}

static BOOLEAN opens(USHORT major, USHORT minor, USHORT got_major, USHORT got_minor)
{
	if (open(major, minor, 2) != STATUS_SUCCESS)
		return FALSE;
	NDK_VERSION version = adapter->Header.Version;
	close();
	return version.Major == got_major && version.Minor == got_minor;
}

static void test_versions(void)
{
	CHECK(opens(1, 0, 1, 2), "NDK-113 1.0 is asked, the highest minor is used: 1.2");
	CHECK(opens(1, 1, 1, 2) && opens(1, 2, 1, 2), "NDK-113 1.1 and 1.2");
	CHECK(opens(2, 0, 2, 1) && opens(2, 1, 2, 1), "DEF-68 2.0 and 2.1");
	CHECK(open(1, 3, 2) == (NTSTATUS)NDIS_STATUS_BAD_VERSION && !adapter,
	      "NDK-113 a higher minor is NDIS_STATUS_BAD_VERSION");
	CHECK(open(3, 0, 2) == (NTSTATUS)NDIS_STATUS_BAD_VERSION && !adapter,
	      "NDK-113 so is a higher major");
	CHECK(open(0, 0, 2) == (NTSTATUS)NDIS_STATUS_BAD_VERSION && !adapter, "NDK-113 and 0.0");
}

static void test_failures(void)
{
	NDK_VERSION version = {1, 0};
	CHECK(open(1, 0, 77) == STATUS_NOT_FOUND && !adapter, "DEF-69 an unknown interface");
	CHECK(open(1, 0, 1) == STATUS_NOT_SUPPORTED && !adapter, "DEF-69 an interface without NDK");
	CHECK(!NT_SUCCESS(ndk.WskOpenNdkAdapter(npi.Client, version, 2, NULL)),
	      "DEF-60 nowhere to put it");
}

static void test_info(void)
{
	NDK_ADAPTER_INFO info;
	NDK_ADAPTER *first;
	ULONG size = 0;
	CHECK(open(1, 0, 2) == STATUS_SUCCESS, "DEF-60 open");
	first = adapter;
	CHECK(first->Header.ObjectType == NdkObjectTypeAdapter && first->Dispatch &&
		      first->Dispatch->NdkQueryAdapterInfo && first->Dispatch->NdkCreatePd &&
		      first->Dispatch->NdkReleaseLAM,
	      "NDK-8 header and table");
	CHECK(first->Dispatch->NdkQueryAdapterInfo(first, NULL, &size) == STATUS_BUFFER_TOO_SMALL &&
		      size == 0x68,
	      "NDK-120b the size that is needed");
	size = 0x60;
	RtlFillMemory(&info, sizeof(info), 0x77);
	CHECK(first->Dispatch->NdkQueryAdapterInfo(first, &info, &size) == STATUS_SUCCESS &&
		      info.Version.Minor == 2 && (ULONG)info.RdmaTechnology == 0x77777777,
	      "DEF-81 the layout of 1.x");
	size = sizeof(info);
	CHECK(first->Dispatch->NdkQueryAdapterInfo(first, &info, &size) == STATUS_SUCCESS &&
		      info.AdapterFlags & NDK_ADAPTER_FLAG_RDMA_READ_SINK_NOT_REQUIRED &&
		      info.AdapterFlags & NDK_ADAPTER_FLAG_CQ_INTERRUPT_MODERATION_SUPPORTED &&
		      info.MaxCallerData >= 56 && info.MaxCalleeData >= 32 &&
		      info.FRMRPageCount >= 16,
	      "DEF-81, DEF-107 what consumers look for");
	CHECK(open(1, 0, 2) == STATUS_SUCCESS && adapter != first,
	      "DEF-70 a second open is an adapter of its own");
	close();
	adapter = first;
	close();
}

static void test_options(void)
{
	NDK_ADAPTER_INFO info;
	ULONG size = sizeof(info);
	CHECK(open(1, 0, 5) == STATUS_DEVICE_NOT_READY && !adapter, "DEF-69 NDK is disabled");
	CHECK(open(1, 0, 6) == STATUS_SUCCESS &&
		      NT_SUCCESS(adapter->Dispatch->NdkQueryAdapterInfo(adapter, &info, &size)) &&
		      info.AdapterFlags & NDK_ADAPTER_FLAG_LOOPBACK_CONNECTIONS_SUPPORTED,
	      "DEF-104 the switch for connections to itself");
	close();
	WskReleaseProviderNPI(&registration);
	WskDeregister(&registration);
}

static void test_failure(void)
{
	CHECK(open(1, 0, 2) == STATUS_SUCCESS, "DEF-60 the first opening");
	close();
	CHECK(open(1, 0, 2) == STATUS_DEVICE_NOT_READY && !adapter, "DEF-69 the second fails");
	CHECK(open(1, 0, 2) == STATUS_SUCCESS, "DEF-60 the third does not");
	close();
	WskReleaseProviderNPI(&registration);
	WskDeregister(&registration);
}

static NDK_PD *pd;

static VOID NTAPI on_create(PVOID context, NTSTATUS status, NDK_OBJECT_HEADER *object)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(status);
	pd = (NDK_PD *)object;
}

static VOID NTAPI on_close(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
}

static VOID NTAPI close_later(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
	check_sleep(300);
	if (CASE == 12)
		pd->Dispatch->NdkClosePd(&pd->Header, on_close, NULL);
	close();
	if (CASE == 8)
		WskReleaseProviderNPI(&registration);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID NTAPI release(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
	WskReleaseProviderNPI(&registration);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID NTAPI deregister(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
	WskDeregister(&registration);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

/* The first release ends the capture, so the registration can go while the second one is waking. */
static void release_twice(void)
{
	static const PKSTART_ROUTINE start[] = {release, deregister, release};
	PVOID threads[3];
	for (ULONG i = 0; i < 3; i++) {
		threads[i] = check_thread(start[i], NULL);
		check_sleep(20); /* until it waits */
	}
	close();
	for (ULONG i = 0; i < 3; i++)
		check_join(threads[i]);
	CHECK(TRUE, "DEF-64 all have returned");
}

static void break_rule(void)
{
	NDK_VERSION version = {1, 0};
	NDK_ADAPTER *none = (NDK_ADAPTER *)1;
	PVOID thread;
	KIRQL old;
	CHECK(open(1, 0, 2) == STATUS_SUCCESS, "DEF-60 open");
	switch (CASE) {
	case 1:
		close();
		close();
		break;
	case 2:
		ndk.WskCloseNdkAdapter(npi.Client, NULL);
		close();
		break;
	case 3:
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		CHECK(!NT_SUCCESS(ndk.WskOpenNdkAdapter(npi.Client, version, 2, &none)) && !none,
		      "DEF-60 it is refused at DISPATCH_LEVEL");
		KeLowerIrql(old);
		close();
		break;
	case 12:
		adapter->Dispatch->NdkCreatePd(adapter, on_create, NULL, &pd);
		while (!pd)
			check_sleep(1);
		/* fall through */
	case 4:
		thread = check_thread(close_later, NULL);
		WskReleaseProviderNPI(&registration);
		CHECK(TRUE, "DEF-71 the release has waited for the adapter");
		check_join(thread);
		WskDeregister(&registration);
		return;
	case 5:
	case 13:
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		WskReleaseProviderNPI(&registration);
		KeLowerIrql(old);
		if (CASE == 5)
			WskCaptureProviderNPI(&registration, WSK_NO_WAIT, &npi);
		close();
		if (CASE == 5)
			break;
		WskDeregister(&registration);
		CHECK(TRUE, "DEF-71 what is open can be closed, and WskDeregister returns");
		return;
	case 14:
		release_twice();
		return;
	case 7:
		enter(&second, &second_npi);
		ndk.WskCloseNdkAdapter(second_npi.Client, adapter);
		WskReleaseProviderNPI(&second);
		WskDeregister(&second);
		close();
		break;
	case 8:
		thread = check_thread(close_later, NULL);
		WskDeregister(&registration);
		check_join(thread);
		return;
	case 9:
		KeRaiseIrql(DISPATCH_LEVEL, &old);
		close();
		KeLowerIrql(old);
		close();
		break;
	}
	WskReleaseProviderNPI(&registration);
	WskDeregister(&registration);
}

DRIVER_UNLOAD OnUnload;
VOID NTAPI OnUnload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

DRIVER_INITIALIZE DriverEntry;
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = OnUnload;
	enter(&registration, &npi);
	if (CASE == 0) {
		test_versions();
		test_failures();
		test_info();
		WskReleaseProviderNPI(&registration);
		WskDeregister(&registration);
	} else if (CASE == 10) {
		test_options();
	} else if (CASE == 11) {
		test_failure();
	} else if (CASE == 6) {
		CHECK(open(1, 0, 2) == STATUS_SUCCESS, "DEF-60 open");
	} else {
		break_rule();
	}
	return check_result();
}
