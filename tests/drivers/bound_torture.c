/* SPDX-License-Identifier: MIT */
/*
 * Registrations and deregistrations of bound callbacks race with exceptions of several programs
 * (BND-10, 15): no callback is called that is not registered, and a deregistration returns in time.
 * ROUNDS for each of two threads.
 */
#include "bound.h"

#ifndef ROUNDS
#define ROUNDS 400
#endif
#define ROUTINES 8

static PVOID last_resort, threads[2];
static volatile LONG alive[ROUTINES], calls[ROUTINES], late, failed, rounds;

#define ROUTINE(n)                                                                                 \
	static BOUND_CALLBACK_STATUS NTAPI routine##n(VOID)                                        \
	{                                                                                          \
		return call(n);                                                                    \
	}

static BOUND_CALLBACK_STATUS call(ULONG n)
{
	LARGE_INTEGER time = {.QuadPart = -10LL * (n * 20)};
	InterlockedIncrement(&calls[n]);
	if (n % 3 == 0)
		KeDelayExecutionThread(KernelMode, FALSE, &time);
	if (!alive[n])
		InterlockedIncrement(&late);
	return n % 2 ? BoundExceptionContinueSearch : bound_handle();
}

ROUTINE(0)
ROUTINE(1)
ROUTINE(2)
ROUTINE(3)
ROUTINE(4)
ROUTINE(5)
ROUTINE(6)
ROUTINE(7)

static BOUND_CALLBACK_STATUS NTAPI last(VOID)
{
	return bound_handle();
}

static VOID NTAPI churn(PVOID context)
{
	static const PBOUND_CALLBACK routines[ROUTINES] = {routine0, routine1, routine2, routine3,
							   routine4, routine5, routine6, routine7};
	PVOID handles[ROUTINES] = {NULL};
	ULONG first = (ULONG)(ULONG_PTR)context * (ROUTINES / 2), i, n;
	for (i = 0; i < ROUNDS; i++) {
		n = first + (i * 7 + i / 5) % (ROUTINES / 2);
		if (!handles[n]) {
			InterlockedExchange(&alive[n], 1);
			handles[n] = KeRegisterBoundCallback(routines[n]);
			if (!handles[n])
				InterlockedIncrement(&failed);
		} else {
			if (KeDeregisterBoundCallback(handles[n]) != STATUS_SUCCESS)
				InterlockedIncrement(&failed);
			InterlockedExchange(&alive[n], 0);
			handles[n] = NULL;
		}
		InterlockedIncrement(&rounds);
		if (i % 8 == 0) {
			LARGE_INTEGER time = {.QuadPart = -1000};
			KeDelayExecutionThread(KernelMode, FALSE, &time);
		}
	}
	for (n = 0; n < ROUTINES; n++) {
		if (handles[n] && KeDeregisterBoundCallback(handles[n]) != STATUS_SUCCESS)
			InterlockedIncrement(&failed);
	}
}

static VOID NTAPI unload(PDRIVER_OBJECT DriverObject)
{
	LONG all = 0;
	UNREFERENCED_PARAMETER(DriverObject);
	check_join(threads[0]);
	check_join(threads[1]);
	for (ULONG i = 0; i < ROUTINES; i++)
		all += calls[i];
	DbgPrint("%d calls, %d rounds\n", all, rounds);
	CHECK(!failed && rounds == 2 * ROUNDS, "BND-6, BND-7 each registration and deregistration");
	CHECK(!late, "BND-15 no call of a callback that is not registered");
	bound_deregister(last_resort);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
	UNREFERENCED_PARAMETER(RegistryPath);
	DriverObject->DriverUnload = unload;
	last_resort = KeRegisterBoundCallback(last);
	threads[0] = check_thread(churn, (PVOID)0);
	threads[1] = check_thread(churn, (PVOID)1);
	CHECK(last_resort && threads[0] && threads[1], "BND-6 a handle");
	return check_result();
}
