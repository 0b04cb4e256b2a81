/* SPDX-License-Identifier: MIT */
/*
 * check.h: what test drivers share. A driver prints `PASS NUMBER description` or `FAIL NUMBER
 * description (file:line)` for each check and returns check_result() from DriverEntry;
 * tests/drivers/run.sh counts the lines.
 */
#pragma once

#include <ntifs.h>

#define CHECK_HELPER static __attribute__((unused))

static ULONG check_count, check_failures;

CHECK_HELPER VOID check_at(BOOLEAN condition, const char *text, const char *file, int line)
{
	check_count++;
	if (condition) {
		DbgPrint("PASS %u %s\n", check_count, text);
	} else {
		check_failures++;
		DbgPrint("FAIL %u %s (%s:%d)\n", check_count, text, file, line);
	}
}

/* `text` begins with the requirement: "PLT-16 the old IRQL is returned". Any IRQL up to DIRQL. */
#define CHECK(condition, text) check_at(!!(condition), text, __FILE__, __LINE__)

CHECK_HELPER NTSTATUS check_result(void)
{
	return check_failures ? STATUS_UNSUCCESSFUL : STATUS_SUCCESS;
}

CHECK_HELPER LARGE_INTEGER check_ms(LONG ms)
{
	LARGE_INTEGER time;
	time.QuadPart = -10000LL * ms;
	return time;
}

CHECK_HELPER void check_sleep(LONG ms)
{
	LARGE_INTEGER time = check_ms(ms);
	KeDelayExecutionThread(KernelMode, FALSE, &time);
}

/* A system thread, referenced: ended and released by check_join. */
CHECK_HELPER PVOID check_thread(PKSTART_ROUTINE start, PVOID context)
{
	HANDLE handle;
	PVOID thread = NULL;
	if (!NT_SUCCESS(PsCreateSystemThread(&handle, THREAD_ALL_ACCESS, NULL, NULL, NULL, start,
					     context)))
		return NULL;
	ObReferenceObjectByHandle(handle, THREAD_ALL_ACCESS, NULL, KernelMode, &thread, NULL);
	ZwClose(handle);
	return thread;
}

CHECK_HELPER void check_join(PVOID thread)
{
	KeWaitForSingleObject(thread, Executive, KernelMode, FALSE, NULL);
	ObDereferenceObject(thread);
}
