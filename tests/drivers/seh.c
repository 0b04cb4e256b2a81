/* SPDX-License-Identifier: MIT */
/*
 * Structured exception handling as drivers use it (DEF-331, DEF-332, DEF-333): each scenario prints
 * PASS or FAIL. Compiled for the msvc target by clang, whose tables cover calls only; so what
 * faults is in a function of its own.
 */
#include <ntifs.h>

#define NOINLINE     __declspec(noinline)
#define STATUS_TEST  ((NTSTATUS)0xE0000001)
#define STATUS_OTHER ((NTSTATUS)0xE0000002)

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			return #condition;                                                         \
		}                                                                                  \
	} while (0)

static volatile LONG trail; /* what ran, in decimal digits */

static void mark(LONG digit)
{
	trail = trail * 10 + digit;
}

/* Not known to return never: a compiler would take away what it thinks is not reached. */
static VOID(NTAPI *volatile raiser)(NTSTATUS);

static NOINLINE void raise(NTSTATUS status)
{
	raiser(status);
}

static NOINLINE void write_to(volatile LONG *address)
{
	*address = 1;
}

static NOINLINE LONG read_from(volatile LONG *address)
{
	return *address;
}

static volatile LONG quotient;

static NOINLINE void divide(volatile LONG *by)
{
	quotient = 100 / *by;
}

/* ---- Handlers and filters ---- */

static const char *constant_filter(void)
{
	trail = 0;
	__try {
		mark(1);
		raise(STATUS_TEST);
		mark(2);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		mark(3);
		CHECK(GetExceptionCode() == STATUS_TEST);
	}
	CHECK(trail == 13);
	return 0;
}

static LONG look(EXCEPTION_POINTERS *pointers, EXCEPTION_RECORD *record, CONTEXT *context)
{
	*record = *pointers->ExceptionRecord;
	context->Rip = pointers->ContextRecord->Rip;
	context->Rsp = pointers->ContextRecord->Rsp;
	return EXCEPTION_EXECUTE_HANDLER;
}

static const char *filter_sees_the_exception(void)
{
	EXCEPTION_RECORD record;
	CONTEXT context;
	LONG here;

	__try {
		write_to((volatile LONG *)0x40);
	} __except (look(GetExceptionInformation(), &record, &context)) {
		CHECK(GetExceptionCode() == STATUS_ACCESS_VIOLATION);
	}
	CHECK(record.ExceptionCode == STATUS_ACCESS_VIOLATION);
	CHECK(record.NumberParameters == 2);
	CHECK(record.ExceptionInformation[0] == 1);
	CHECK(record.ExceptionInformation[1] == 0x40);
	CHECK((ULONG_PTR)record.ExceptionAddress == context.Rip);
	CHECK(context.Rip - (ULONG_PTR)write_to < 64);
	CHECK(context.Rsp < (ULONG_PTR)&here + 4096 && context.Rsp > (ULONG_PTR)&here - 4096);
	return 0;
}

static const char *filter_declines(void)
{
	trail = 0;
	__try {
		__try {
			raise(STATUS_TEST);
		} __except (mark(1), EXCEPTION_CONTINUE_SEARCH) {
			mark(9);
		}
	} __except (GetExceptionCode() == STATUS_TEST ? EXCEPTION_EXECUTE_HANDLER
						      : EXCEPTION_CONTINUE_SEARCH) {
		mark(2);
	}
	CHECK(trail == 12);
	return 0;
}

static LONG skip_breakpoint(EXCEPTION_POINTERS *pointers)
{
	if (pointers->ExceptionRecord->ExceptionCode != STATUS_BREAKPOINT) {
		return EXCEPTION_CONTINUE_SEARCH;
	}
	mark(2);
	pointers->ContextRecord->Rip++;
	return EXCEPTION_CONTINUE_EXECUTION;
}

static NOINLINE void breakpoint(void)
{
	mark(1);
	__debugbreak();
	mark(3);
}

static const char *continue_after_breakpoint(void)
{
	trail = 0;
	__try {
		breakpoint();
		mark(4);
	} __except (skip_breakpoint(GetExceptionInformation())) {
		mark(9);
	}
	CHECK(trail == 1234);
	return 0;
}

static const char *continue_after_raise(void)
{
	EXCEPTION_RECORD record = {.ExceptionCode = STATUS_TEST, .NumberParameters = 1};

	trail = 0;
	record.ExceptionInformation[0] = 77;
	__try {
		RtlRaiseException(&record);
		mark(2);
	} __except (mark((LONG)GetExceptionInformation()->ExceptionRecord->ExceptionInformation[0] -
			 76),
		    EXCEPTION_CONTINUE_EXECUTION) {
		mark(9);
	}
	CHECK(trail == 12);
	return 0;
}

static const char *noncontinuable(void)
{
	trail = 0;
	__try {
		__try {
			raise(STATUS_TEST);
		} __except (GetExceptionCode() == STATUS_TEST
				    ? (mark(1), EXCEPTION_CONTINUE_EXECUTION)
				    : EXCEPTION_CONTINUE_SEARCH) {
			mark(9);
		}
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		mark(2);
		CHECK(GetExceptionCode() == STATUS_NONCONTINUABLE_EXCEPTION);
	}
	CHECK(trail == 12);
	return 0;
}

/* ---- Hardware ---- */

static const char *bad_read(void)
{
	__try {
		(void)read_from((volatile LONG *)0x18);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		CHECK(GetExceptionCode() == STATUS_ACCESS_VIOLATION);
		return 0;
	}
	return "no exception";
}

static const char *noncanonical(void)
{
	__try {
		(void)read_from((volatile LONG *)0x1234567812345678);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		CHECK(GetExceptionCode() == STATUS_ACCESS_VIOLATION);
		return 0;
	}
	return "no exception";
}

static const char *division(void)
{
	volatile LONG zero = 0;

	__try {
		divide(&zero);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		CHECK(GetExceptionCode() == STATUS_INTEGER_DIVIDE_BY_ZERO);
		return 0;
	}
	return "no exception";
}

static NOINLINE void call(void (*routine)(void))
{
	routine();
	mark(9);
}

static const char *jump_to_nowhere(void)
{
	trail = 0;
	__try {
		call((void (*)(void))(ULONG_PTR)0x50);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		mark(1);
		CHECK(GetExceptionCode() == STATUS_ACCESS_VIOLATION);
	}
	CHECK(trail == 1);
	return 0;
}

/* ---- Finally ---- */

static NOINLINE void leave_by(NTSTATUS status)
{
	__try {
		__try {
			mark(1);
			if (status) {
				raise(status);
			}
			mark(2);
		} __finally {
			mark(AbnormalTermination() ? 3 : 4);
		}
	} __finally {
		mark(AbnormalTermination() ? 5 : 6);
	}
}

static const char *finally_blocks(void)
{
	trail = 0;
	leave_by(0);
	CHECK(trail == 1246);
	trail = 0;
	__try {
		leave_by(STATUS_TEST);
	} __except (mark(2), EXCEPTION_EXECUTE_HANDLER) {
		mark(7);
	}
	CHECK(trail == 12357);
	return 0;
}

static const char *finally_in_the_same_function(void)
{
	trail = 0;
	__try {
		__try {
			raise(STATUS_TEST);
		} __finally {
			mark(1);
		}
		mark(9);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		mark(2);
	}
	__try {
		mark(3);
	} __finally {
		mark(AbnormalTermination() ? 9 : 4);
	}
	CHECK(trail == 1234);
	return 0;
}

static const char *finally_outside_is_not_left(void)
{
	trail = 0;
	__try {
		__try {
			raise(STATUS_TEST);
		} __except (EXCEPTION_EXECUTE_HANDLER) {
			mark(1);
		}
		mark(2);
	} __finally {
		mark(AbnormalTermination() ? 9 : 3);
	}
	CHECK(trail == 123);
	return 0;
}

static const char *leave_statement(void)
{
	trail = 0;
	__try {
		mark(1);
		if (trail == 1) {
			__leave;
		}
		mark(9);
	} __finally {
		mark(2);
	}
	CHECK(trail == 12);
	return 0;
}

static NOINLINE void deep(LONG depth)
{
	volatile LONG kept = depth;

	__try {
		if (depth == 0) {
			raise(STATUS_TEST);
		}
		deep(depth - 1);
	} __finally {
		if (kept == depth) {
			trail++;
		}
	}
}

static const char *deep_recursion(void)
{
	trail = 0;
	__try {
		deep(100);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		CHECK(trail == 101);
		return 0;
	}
	return "no exception";
}

/* ---- Exceptions in handlers ---- */

static LONG raising_filter(NTSTATUS code)
{
	if (code == STATUS_TEST) {
		mark(1);
		raise(STATUS_OTHER);
	}
	return EXCEPTION_CONTINUE_SEARCH;
}

static const char *exception_in_a_filter(void)
{
	trail = 0;
	__try {
		__try {
			raise(STATUS_TEST);
		} __except (raising_filter(GetExceptionCode())) {
			mark(9);
		}
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		mark(2);
		CHECK(GetExceptionCode() == STATUS_OTHER);
	}
	CHECK(trail == 12);
	return 0;
}

static LONG handling_filter(void)
{
	__try {
		raise(STATUS_OTHER);
	} __except (GetExceptionCode() == STATUS_OTHER ? EXCEPTION_EXECUTE_HANDLER
						       : EXCEPTION_CONTINUE_SEARCH) {
		mark(1);
	}
	return EXCEPTION_EXECUTE_HANDLER;
}

static const char *exception_handled_in_a_filter(void)
{
	trail = 0;
	__try {
		raise(STATUS_TEST);
	} __except (handling_filter()) {
		mark(2);
		CHECK(GetExceptionCode() == STATUS_TEST);
	}
	CHECK(trail == 12);
	return 0;
}

static const char *exception_in_a_handler(void)
{
	trail = 0;
	__try {
		__try {
			raise(STATUS_TEST);
		} __except (EXCEPTION_EXECUTE_HANDLER) {
			mark(1);
			raise(STATUS_OTHER);
		}
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		mark(2);
		CHECK(GetExceptionCode() == STATUS_OTHER);
	}
	CHECK(trail == 12);
	return 0;
}

static NOINLINE void raising_finally(void)
{
	__try {
		__try {
			raise(STATUS_TEST);
		} __finally {
			mark(1);
			raise(STATUS_OTHER);
		}
	} __finally {
		mark(2);
	}
}

static const char *collided_unwind(void)
{
	trail = 0;
	__try {
		raising_finally();
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		mark(3);
		CHECK(GetExceptionCode() == STATUS_OTHER);
	}
	CHECK(trail == 123);
	return 0;
}

static NOINLINE void catches_the_other(void)
{
	__try {
		raising_finally();
	} __except (GetExceptionCode() == STATUS_OTHER ? EXCEPTION_EXECUTE_HANDLER
						       : EXCEPTION_CONTINUE_SEARCH) {
		mark(3);
	}
	mark(4);
}

/* The second exception is taken in a frame that the first one was on its way through. */
static const char *collision_ends_the_first(void)
{
	trail = 0;
	__try {
		catches_the_other();
		mark(5);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		mark(9);
	}
	CHECK(trail == 12345);
	return 0;
}

static NOINLINE void handling_finally(void)
{
	__try {
		raise(STATUS_TEST);
	} __finally {
		__try {
			raise(STATUS_OTHER);
		} __except (EXCEPTION_EXECUTE_HANDLER) {
			mark(1);
		}
	}
}

static const char *exception_handled_in_a_finally(void)
{
	trail = 0;
	__try {
		handling_finally();
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		mark(2);
		CHECK(GetExceptionCode() == STATUS_TEST);
	}
	CHECK(trail == 12);
	return 0;
}

/* ---- Registers ---- */

static volatile LONG64 number = 3;
static volatile double fraction = 1.5;

/* Uses all nonvolatile registers, and raises while they hold its values. */
static NOINLINE LONG64 busy_thrower(void)
{
	LONG64 a = number * 2, b = number * 3, c = number * 4, d = number * 5, e = number * 6;
	double f = fraction * 2, g = fraction * 3, h = fraction * 4, i = fraction * 5;

	raise(STATUS_TEST);
	return a + b + c + d + e + (LONG64)(f + g + h + i);
}

static NOINLINE void catcher(void)
{
	__try {
		number = busy_thrower();
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		mark(1);
	}
}

static const char *registers_survive(void)
{
	LONG64 a = number + 10, b = number + 20, c = number + 30, d = number + 40, e = number + 50;
	double f = fraction + 1, g = fraction + 2, h = fraction + 3, i = fraction + 4;

	trail = 0;
	catcher();
	CHECK(trail == 1);
	CHECK(a == 13 && b == 23 && c == 33 && d == 43 && e == 53);
	CHECK(f == 2.5 && g == 3.5 && h == 4.5 && i == 5.5);
	return 0;
}

static const char *many_times(void)
{
	LONG caught = 0;

	for (LONG i = 0; i < 2000; i++) {
		__try {
			if (i & 1) {
				raise(STATUS_TEST);
			}
			write_to((volatile LONG *)8);
		} __except (EXCEPTION_EXECUTE_HANDLER) {
			caught++;
		}
	}
	CHECK(caught == 2000);
	return 0;
}

/* ---- Across the kernel ---- */

static VOID NTAPI raising_callback(PVOID context, PVOID first, PVOID second)
{
	UNREFERENCED_PARAMETER(first);
	UNREFERENCED_PARAMETER(second);
	__try {
		raise(*(NTSTATUS *)context);
	} __finally {
		mark(1);
	}
}

static const char *across_a_ddi(void)
{
	UNICODE_STRING name = RTL_CONSTANT_STRING(L"\\Callback\\SehTest");
	NTSTATUS code = STATUS_TEST;
	OBJECT_ATTRIBUTES attributes;
	PCALLBACK_OBJECT callback;
	PVOID handle;

	InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE, NULL, NULL);
	CHECK(NT_SUCCESS(ExCreateCallback(&callback, &attributes, TRUE, TRUE)));
	handle = ExRegisterCallback(callback, raising_callback, &code);
	trail = 0;
	__try {
		ExNotifyCallback(callback, NULL, NULL);
		mark(9);
	} __except (EXCEPTION_EXECUTE_HANDLER) {
		mark(2);
		code = GetExceptionCode();
	}
	ExUnregisterCallback(handle);
	ObDereferenceObject(callback);
	CHECK(trail == 12);
	CHECK(code == STATUS_TEST);
	return 0;
}

static const char *raised_by_ddis(void)
{
	trail = 0;
	__try {
		ExRaiseAccessViolation();
	} __except (GetExceptionCode() == STATUS_ACCESS_VIOLATION) {
		mark(1);
	}
	__try {
		ExRaiseDatatypeMisalignment();
	} __except (GetExceptionCode() == STATUS_DATATYPE_MISALIGNMENT) {
		mark(2);
	}
	CHECK(trail == 12);
	return 0;
}

static const char *capture_and_restore(void)
{
	volatile LONG rounds = 0;
	CONTEXT context;

	RtlCaptureContext(&context);
	if (rounds < 3) {
		rounds++;
		RtlRestoreContext(&context, NULL);
	}
	CHECK(rounds == 3);
	CHECK(context.Rip - (ULONG_PTR)capture_and_restore < 256);
	return 0;
}

/* ---- Walks ---- */

static NOINLINE USHORT trace(PVOID *frames, ULONG skip)
{
	USHORT count = RtlCaptureStackBackTrace(skip, 32, frames, NULL);

	mark(1);
	return count;
}

static NOINLINE USHORT trace_deeper(PVOID *frames, ULONG skip)
{
	USHORT count = trace(frames, skip);

	mark(2);
	return count;
}

static const char *back_trace(void)
{
	PVOID all[32], some[32];
	USHORT count, fewer;

	trail = 0;
	count = trace_deeper(all, 0);
	fewer = trace_deeper(some, 1);
	CHECK(count >= 3 && fewer == count - 1);
	CHECK((ULONG_PTR)all[0] - (ULONG_PTR)trace < 256);
	CHECK((ULONG_PTR)all[1] - (ULONG_PTR)trace_deeper < 256);
	CHECK(some[0] == all[1] - 0 || (ULONG_PTR)some[0] - (ULONG_PTR)trace_deeper < 256);
	return 0;
}

static LONG trace_in_filter(PVOID *frames, USHORT *count)
{
	*count = RtlCaptureStackBackTrace(0, 32, frames, NULL);
	return EXCEPTION_EXECUTE_HANDLER;
}

/* A filter's back trace goes through the dispatcher to the function that raised. */
static const char *back_trace_in_a_filter(void)
{
	BOOLEAN found = FALSE;
	PVOID frames[32];
	USHORT count = 0;

	__try {
		write_to((volatile LONG *)0x60);
	} __except (trace_in_filter(frames, &count)) {
		mark(1);
	}
	for (USHORT i = 0; i < count; i++) {
		if ((ULONG_PTR)frames[i] - (ULONG_PTR)write_to < 64) {
			found = TRUE;
		}
	}
	CHECK(found);
	return 0;
}

static const struct {
	const char *name;
	const char *(*run)(void);
} scenarios[] = {
#define SCENARIO(name)                                                                             \
	{                                                                                          \
#name, name                                                                        \
	}
	SCENARIO(constant_filter),
	SCENARIO(filter_sees_the_exception),
	SCENARIO(filter_declines),
	SCENARIO(continue_after_breakpoint),
	SCENARIO(continue_after_raise),
	SCENARIO(noncontinuable),
	SCENARIO(bad_read),
	SCENARIO(noncanonical),
	SCENARIO(division),
	SCENARIO(jump_to_nowhere),
	SCENARIO(finally_blocks),
	SCENARIO(finally_in_the_same_function),
	SCENARIO(finally_outside_is_not_left),
	SCENARIO(leave_statement),
	SCENARIO(deep_recursion),
	SCENARIO(exception_in_a_filter),
	SCENARIO(exception_handled_in_a_filter),
	SCENARIO(exception_in_a_handler),
	SCENARIO(collided_unwind),
	SCENARIO(collision_ends_the_first),
	SCENARIO(exception_handled_in_a_finally),
	SCENARIO(registers_survive),
	SCENARIO(many_times),
	SCENARIO(across_a_ddi),
	SCENARIO(raised_by_ddis),
	SCENARIO(capture_and_restore),
	SCENARIO(back_trace),
	SCENARIO(back_trace_in_a_filter),
};

static VOID NTAPI unload(PDRIVER_OBJECT driver)
{
	UNREFERENCED_PARAMETER(driver);
}

NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	UNREFERENCED_PARAMETER(path);
	raiser = (VOID(NTAPI *)(NTSTATUS))ExRaiseStatus;
	for (ULONG i = 0; i < RTL_NUMBER_OF(scenarios); i++) {
		const char *failed = scenarios[i].run();

		if (failed) {
			DbgPrint("FAIL seh %s: %s\n", scenarios[i].name, failed);
		} else {
			DbgPrint("PASS seh %s\n", scenarios[i].name);
		}
	}
	driver->DriverUnload = unload;
	return STATUS_SUCCESS;
}

int _fltused;
