/* SPDX-License-Identifier: MIT */
/*
 * netio_notify.c: notifications of netioapi.h (DEF-55). CASE 0: as documented; 1: cancelled twice;
 * 2: a handle that is none; 3: cancelled inside the callback; 4: the callback returns at another
 * IRQL; 5: left at unload; 6: contexts that go with their cancellation, in several threads.
 */
#include "check.h"
#include <netioapi.h>

static ULONG notified;
static HANDLE handle;

static VOID NTAPI on_address(PVOID context, PMIB_UNICASTIPADDRESS_ROW row,
			     MIB_NOTIFICATION_TYPE type)
{
	KIRQL old;
	if (context == &notified && !row && type == MibInitialNotification && handle)
		notified++;
	if (CASE == 3)
		CHECK(CancelMibChangeNotify2(handle) == STATUS_SUCCESS,
		      "DEF-55 inside the callback it does not wait");
	if (CASE == 4)
		KeRaiseIrql(DISPATCH_LEVEL, &old);
}

static VOID NTAPI on_interface(PVOID context, PMIB_IPINTERFACE_ROW row, MIB_NOTIFICATION_TYPE type)
{
	on_address(context, (PMIB_UNICASTIPADDRESS_ROW)row, type);
}

static VOID NTAPI on_route(PVOID context, PMIB_IPFORWARD_ROW2 row, MIB_NOTIFICATION_TYPE type)
{
	on_address(context, (PMIB_UNICASTIPADDRESS_ROW)row, type);
}

/* Each of the three: the initial notification comes once, has the handle, and no row. */
static BOOLEAN comes(NTSTATUS status, ULONG times)
{
	BOOLEAN good = status == STATUS_SUCCESS && notified == times &&
		       CancelMibChangeNotify2(handle) == STATUS_SUCCESS;
	handle = NULL;
	notified = 0;
	return good;
}

static void test_initial(void)
{
	CHECK(comes(NotifyUnicastIpAddressChange(AF_UNSPEC, on_address, &notified, TRUE, &handle),
		    1),
	      "DEF-55 addresses: the initial notification, once, with the handle, without a row");
	CHECK(comes(NotifyIpInterfaceChange(AF_INET, on_interface, &notified, TRUE, &handle), 1),
	      "DEF-55 interfaces");
	CHECK(comes(NotifyRouteChange2(AF_INET6, on_route, &notified, TRUE, &handle), 1),
	      "DEF-55 routes");
	CHECK(comes(NotifyRouteChange2(AF_INET6, on_route, &notified, FALSE, &handle), 0),
	      "DEF-55 none that was not asked for");
	CHECK(NotifyRouteChange2(99, on_route, NULL, TRUE, &handle) == STATUS_INVALID_PARAMETER &&
		      NotifyIpInterfaceChange(AF_INET, NULL, NULL, TRUE, &handle) ==
			      STATUS_INVALID_PARAMETER &&
		      NotifyUnicastIpAddressChange(AF_INET, on_address, NULL, TRUE, NULL) ==
			      STATUS_INVALID_PARAMETER &&
		      CancelMibChangeNotify2(NULL) == STATUS_INVALID_PARAMETER,
	      "DEF-55 no such family, no callback, nowhere for the handle, no handle");
}

static KEVENT inside, go_on;
static volatile BOOLEAN left, cancelled;

static VOID NTAPI on_slow(PVOID context, PMIB_UNICASTIPADDRESS_ROW row, MIB_NOTIFICATION_TYPE type)
{
	UNREFERENCED_PARAMETER(context);
	UNREFERENCED_PARAMETER(row);
	UNREFERENCED_PARAMETER(type);
	KeSetEvent(&inside, 0, FALSE);
	KeWaitForSingleObject(&go_on, Executive, KernelMode, FALSE, NULL);
	check_sleep(20); /* time for a cancellation that does not wait to return */
	left = TRUE;
}

static VOID NTAPI notify_slowly(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
	NotifyUnicastIpAddressChange(AF_INET, on_slow, NULL, TRUE, &handle);
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID NTAPI cancel(PVOID context)
{
	*(NTSTATUS *)context = CancelMibChangeNotify2(handle);
	cancelled = left;
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static void test_wait(void)
{
	NTSTATUS status = STATUS_PENDING;
	KeInitializeEvent(&inside, NotificationEvent, FALSE);
	KeInitializeEvent(&go_on, NotificationEvent, FALSE);
	PVOID first = check_thread(notify_slowly, NULL);
	KeWaitForSingleObject(&inside, Executive, KernelMode, FALSE, NULL);
	PVOID second = check_thread(cancel, &status);
	LARGE_INTEGER soon = check_ms(20);
	CHECK(KeWaitForSingleObject(second, Executive, KernelMode, FALSE, &soon) == STATUS_TIMEOUT,
	      "DEF-55 the cancellation waits for the callback");
	KeSetEvent(&go_on, 0, FALSE);
	check_join(second);
	check_join(first);
	CHECK(status == STATUS_SUCCESS && cancelled,
	      "DEF-55 and returns when the callback has returned");
}

#define PAIRS  3
#define ROUNDS 150
#define ALIVE  0x600dc0de

/* One thread registers, the other one cancels as soon as there is a handle, and ends the context.
 */
static struct pair {
	HANDLE volatile handle;
	volatile ULONG context;
} pairs[PAIRS];
static volatile LONG calls, dead, refused;

static VOID NTAPI on_pair(PVOID context, PMIB_IPFORWARD_ROW2 row, MIB_NOTIFICATION_TYPE type)
{
	volatile ULONG *alive = context;
	UNREFERENCED_PARAMETER(row);
	UNREFERENCED_PARAMETER(type);
	InterlockedIncrement(&calls);
	for (ULONG i = 0; i < 200; i++) {
		if (*alive != ALIVE)
			InterlockedIncrement(&dead);
		YieldProcessor();
	}
}

static VOID NTAPI pair_register(PVOID context)
{
	struct pair *pair = context;
	for (ULONG i = 0; i < ROUNDS; i++) {
		pair->context = ALIVE;
		if (NotifyRouteChange2(AF_UNSPEC, on_pair, (PVOID)&pair->context, TRUE,
				       (HANDLE *)&pair->handle) != STATUS_SUCCESS)
			InterlockedIncrement(&refused);
		while (pair->handle)
			YieldProcessor();
	}
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static VOID NTAPI pair_cancel(PVOID context)
{
	struct pair *pair = context;
	for (ULONG i = 0; i < ROUNDS; i++) {
		while (!pair->handle)
			YieldProcessor();
		if (CancelMibChangeNotify2(pair->handle) != STATUS_SUCCESS)
			InterlockedIncrement(&refused);
		pair->context = 0;
		pair->handle = NULL;
	}
	PsTerminateSystemThread(STATUS_SUCCESS);
}

static void test_pairs(void)
{
	PVOID threads[2 * PAIRS];
	for (ULONG i = 0; i < 2 * PAIRS; i++)
		threads[i] = check_thread(i % 2 ? pair_cancel : pair_register, &pairs[i / 2]);
	for (ULONG i = 0; i < 2 * PAIRS; i++)
		check_join(threads[i]);
	CHECK(calls == PAIRS * ROUNDS && !refused, "DEF-55 every notification came and was ended");
	CHECK(!dead, "DEF-55 no callback runs when its cancellation has returned");
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
	switch (CASE) {
	case 0:
		test_initial();
		test_wait();
		break;
	case 1:
		NotifyUnicastIpAddressChange(AF_INET, on_address, NULL, FALSE, &handle);
		CHECK(CancelMibChangeNotify2(handle) == STATUS_SUCCESS, "DEF-55 once");
		CHECK(CancelMibChangeNotify2(handle) == STATUS_INVALID_PARAMETER, "DEF-55 twice");
		break;
	case 2:
		CHECK(CancelMibChangeNotify2((HANDLE)0x1234) == STATUS_INVALID_PARAMETER,
		      "DEF-55 a handle that is none");
		break;
	case 3:
	case 4:
		NotifyUnicastIpAddressChange(AF_INET, on_address, &notified, TRUE, &handle);
		CHECK(notified == 1, "DEF-55 the callback was called");
		break;
	case 5:
		NotifyUnicastIpAddressChange(AF_INET, on_address, NULL, FALSE, &handle);
		break;
	case 6:
		test_pairs();
		break;
	}
	return check_result();
}
