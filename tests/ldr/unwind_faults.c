/* SPDX-License-Identifier: MIT */
/* A driver whose exports do what drivers must not do, for tests/ldr/test_unwind_trap.c. */
#include <ntifs.h>

#define EXPORT   __declspec(dllexport)
#define NOINLINE __declspec(noinline)

NTSYSAPI ULONG64 NTAPI TestSum(ULONG64 a, ULONG64 b, double c, ULONG64 d, ULONG64 e, ULONG64 f,
			       ULONG64 g, ULONG64 h, ULONG64 i, ULONG64 j, ULONG64 k, ULONG64 l,
			       ULONG64 m, ULONG64 n, ULONG64 o, ULONG64 p);

static volatile ULONG64 sink;

EXPORT NOINLINE void fault_read(volatile ULONG64 *address)
{
	sink = *address;
}

EXPORT NOINLINE void fault_write(volatile ULONG64 *address)
{
	*address = 1;
}

EXPORT NOINLINE void fault_divide(volatile LONG *by)
{
	sink = (ULONG64)(100 / *by);
}

EXPORT NOINLINE void fault_breakpoint(void)
{
	__debugbreak();
	sink = 1;
}

EXPORT NOINLINE void fault_fast_fail(unsigned code)
{
	__asm__ volatile("int $0x29" : : "c"(code));
}

EXPORT NOINLINE void fault_call(void (*routine)(void))
{
	routine();
	sink = 1;
}

EXPORT NOINLINE void fault_set_event(PRKEVENT event)
{
	sink = (ULONG64)KeSetEvent(event, 0, FALSE);
}

EXPORT NOINLINE void fault_copy(void *to, const void *from, SIZE_T size)
{
	sink = (ULONG64)(ULONG_PTR)memcpy(to, from, size);
}

EXPORT NOINLINE void fault_privileged(void)
{
	__asm__ volatile("rdmsr" : : "c"(0x10) : "rax", "rdx");
}

EXPORT NOINLINE ULONG64 fault_recurse(ULONG64 depth)
{
	volatile char local[4096];

	local[0] = (char)depth;
	return fault_recurse(depth + 1) + (ULONG64)local[0];
}

EXPORT NOINLINE void fault_bug_check(void)
{
	KeBugCheckEx(0xDEAD, 1, 2, 3, 4);
}

/* Returns the status of the exception in routine(argument), 0: none. */
EXPORT NOINLINE NTSTATUS try_call(void (*routine)(void *), void *argument)
{
	__try {
		routine(argument);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		return GetExceptionCode();
	}
	return 0;
}

EXPORT NOINLINE NTSTATUS try_copy(void *to, const void *from, SIZE_T size)
{
	__try {
		fault_copy(to, from, size);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		return GetExceptionCode();
	}
	return 0;
}

NTSYSAPI VOID NTAPI TestRaise(NTSTATUS status);

EXPORT NOINLINE NTSTATUS try_raise(NTSTATUS status)
{
	__try {
		TestRaise(status);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		return GetExceptionCode();
	}
	return 0;
}

/* Keeps values in nonvolatile XMM registers over an exception that try_raise takes; nobody saves
 * them in between. */
EXPORT NOINLINE double keep_floats(volatile double *in)
{
	double a = in[0], b = in[1], c = in[2], d = in[3];

	if (try_raise(STATUS_DEVICE_BUSY) != STATUS_DEVICE_BUSY) {
		return 0;
	}
	return a + 10 * b + 100 * c + 1000 * d;
}

/* Calls functions of the kernel of every kind, two frames deep. */
EXPORT NOINLINE ULONG64 calls_inner(PRKEVENT event, void *buffer)
{
	volatile ULONG64 seed = 3;
	ULONG64 sum = TestSum(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, seed);

	sum += (ULONG64)KeSetEvent(event, 0, FALSE);
	memcpy(buffer, &sum, sizeof(sum));
	DbgPrint("sum %d\n", (int)seed);
	return sum + seed;
}

EXPORT NOINLINE ULONG64 calls(PRKEVENT event, void *buffer)
{
	volatile ULONG64 kept = 5;
	ULONG64 sum = calls_inner(event, buffer);

	return sum + kept;
}

EXPORT NOINLINE VOID NTAPI callback(PVOID context, PVOID first, PVOID second)
{
	UNREFERENCED_PARAMETER(second);
	sink = calls((PRKEVENT)context, first);
}

/* The kernel in between: calls ... callback ... ExNotifyCallback ... calls_through. */
EXPORT NOINLINE void calls_through(PRKEVENT event, void *buffer)
{
	PVOID handle = ExRegisterCallback(NULL, callback, event);

	ExNotifyCallback(handle, buffer, NULL);
	ExUnregisterCallback(handle);
	sink = 1;
}

EXPORT NOINLINE USHORT capture(ULONG count, PVOID *trace)
{
	USHORT found = RtlCaptureStackBackTrace(0, count, trace, NULL);

	sink = found;
	return found;
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(driver);
	UNREFERENCED_PARAMETER(path);
	return STATUS_SUCCESS;
}
int _fltused;
