/* SPDX-License-Identifier: MIT */
/*
 * wsk_stress.c: registrations, captures and adapters of several threads at once (DEF-61, DEF-64,
 * DEF-70): each thread has a registration of its own, which it ends again and again, and shares one
 * with all, whose captures nest and whose adapters overlap.
 */
#include "check.h"
#include <wskndk.h>

#define THREADS 6
#define ROUNDS  150

static const WSK_CLIENT_DISPATCH dispatch = {MAKE_WSK_VERSION(1, 0), 0, NULL};
static WSK_REGISTRATION shared;
static volatile LONG failures, adapters;

static void expect(BOOLEAN condition)
{
	if (!condition)
		InterlockedIncrement(&failures);
}

/* Capture, open `count` adapters, make a PD in each, close all, release. */
static void use(PWSK_REGISTRATION block, NET_IFINDEX index, ULONG count)
{
	NDK_VERSION version = {2, 0};
	WSK_PROVIDER_NDK_DISPATCH ndk;
	WSK_PROVIDER_NPI npi;
	NDK_ADAPTER *open[3];
	expect(WskCaptureProviderNPI(block, WSK_INFINITE_WAIT, &npi) == STATUS_SUCCESS);
	expect(npi.Dispatch->WskControlClient(npi.Client, WSKNDK_GET_WSK_PROVIDER_NDK_DISPATCH, 0,
					      NULL, sizeof(ndk), &ndk, NULL,
					      NULL) == STATUS_SUCCESS);
	for (ULONG i = 0; i < count; i++) {
		expect(ndk.WskOpenNdkAdapter(npi.Client, version, index, &open[i]) ==
		       STATUS_SUCCESS);
		InterlockedIncrement(&adapters);
	}
	for (ULONG i = 0; i < count; i++)
		ndk.WskCloseNdkAdapter(npi.Client, open[i]);
	WskReleaseProviderNPI(block);
}

static VOID NTAPI work(PVOID context)
{
	ULONG number = (ULONG)(ULONG_PTR)context;
	for (ULONG i = 0; i < ROUNDS; i++) {
		WSK_REGISTRATION own;
		WSK_CLIENT_NPI client = {NULL, &dispatch};
		expect(WskRegister(&client, &own) == STATUS_SUCCESS);
		use(&own, 2 + number % 2, (number + i) % 4);
		WskDeregister(&own);
		use(&shared, 2 + i % 2, 1 + (number + i) % 3);
	}
	PsTerminateSystemThread(STATUS_SUCCESS);
}

DRIVER_UNLOAD OnUnload;
VOID NTAPI OnUnload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

DRIVER_INITIALIZE DriverEntry;
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	WSK_CLIENT_NPI client = {NULL, &dispatch};
	PVOID threads[THREADS];
	UNREFERENCED_PARAMETER(path);
	driver->DriverUnload = OnUnload;
	CHECK(WskRegister(&client, &shared) == STATUS_SUCCESS, "DEF-61 the shared registration");
	for (ULONG_PTR i = 0; i < THREADS; i++)
		threads[i] = check_thread(work, (PVOID)i);
	for (ULONG i = 0; i < THREADS; i++)
		check_join(threads[i]);
	WskDeregister(&shared);
	CHECK(failures == 0, "DEF-64, DEF-70 every call of every thread succeeded");
	CHECK(adapters > THREADS * ROUNDS, "DEF-70 and adapters were open");
	return check_result();
}
