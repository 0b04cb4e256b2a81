/* SPDX-License-Identifier: MIT */
/*
 * The language handler of C: __try, __except and __finally.
 *
 * Compilers give each function that uses them a table of scopes, inner ones first: the code range
 * of the __try block, a filter (1: a constant that takes every exception) or finally block, and
 * where the __except block begins (0: it is a __finally). Drivers import this handler; the
 * dispatcher calls it through the driver's import stub, or through the driver's stack-cookie check.
 *
 * Contexts: called by the dispatcher (ldr/exception.c) on the raising thread, any IRQL. Filters and
 * finally blocks are driver code: exceptions in them come back as nested ones and collided unwinds.
 *
 * Requirements: DEF-331, DEF-332.
 *
 * Chosen where documents are silent: whether ControlPc is a return address is bit 0 of the
 * dispatcher context's Fill0, which only our dispatcher sets.
 */
#include "ke/guard.h"
#include "ke/walk.h"
#include "ldr/exception.h"
#include "ldr/ldr.h"
#include "rtl/rtl.h"

#define KERNEL_HALF 0xffff800000000000ull

typedef LONG NTAPI exception_filter(EXCEPTION_POINTERS *, PVOID);
typedef VOID NTAPI termination_handler(BOOLEAN abnormal, PVOID frame);

struct scope {
	ULONG begin, end, handler, target;
};

/* The table's length, as far as it lies in memory; a table never has more scopes than its image has
 * bytes. */
static ULONG scope_count(const DISPATCHER_CONTEXT *dispatcher)
{
	const struct ldr_image *image = ldr_image_from_address(dispatcher->ImageBase);
	ULONG count;

	if (!ke_guard_copy(&count, dispatcher->HandlerData, sizeof(count))) {
		return 0;
	}
	if (image && count > image->size / sizeof(struct scope)) {
		return 0;
	}
	return count;
}

static bool scope_read(const DISPATCHER_CONTEXT *dispatcher, ULONG index, struct scope *scope)
{
	uint64_t at = (uint64_t)dispatcher->HandlerData + sizeof(ULONG) + index * sizeof(*scope);

	return ke_guard_copy(scope, (const void *)at, sizeof(*scope));
}

/*
 * Where the frame is, as an RVA. A return address may be the first one behind the block that the
 * call is in, and the first of another; so it is the call's last byte that counts. (MSVC puts a nop
 * between, clang does not.)
 */
static uint64_t instruction(const DISPATCHER_CONTEXT *dispatcher)
{
	return dispatcher->ControlPc - dispatcher->ImageBase - (dispatcher->Fill0 & 1);
}

static bool covers(const struct scope *scope, uint64_t rva)
{
	return rva >= scope->begin && rva < scope->end;
}

/* True if the unwind's target lies in the same __try block (which may have several ranges), so that
 * it is not left. */
static bool target_inside(const DISPATCHER_CONTEXT *dispatcher, const struct scope *scope,
			  ULONG count)
{
	uint64_t target = dispatcher->TargetIp - dispatcher->ImageBase;
	struct scope other;

	for (ULONG i = 0; i < count && scope_read(dispatcher, i, &other); i++) {
		if (covers(&other, target) && other.handler == scope->handler &&
		    other.target == scope->target) {
			return true;
		}
	}
	return false;
}

/* Windows offers no handler a bad address of the kernel's half; say so, once for each instruction
 * that follows another. */
static void advise(const EXCEPTION_RECORD *record)
{
	static _Atomic uint64_t last;
	uint64_t at = (uint64_t)record->ExceptionAddress;
	uint64_t address = record->ExceptionInformation[1];
	char where[80];

	if (record->ExceptionCode != STATUS_ACCESS_VIOLATION || record->NumberParameters < 2 ||
	    address < KERNEL_HALF || address == UINT64_MAX ||
	    atomic_exchange_explicit(&last, at, memory_order_relaxed) == at) {
		return;
	}
	(void)ke_where(at, where, sizeof(where));
	ke_print(PORT_STREAM_REPORT,
		 "%s: a handler takes the access to 0x%llx, but Windows does not offer it: a bad "
		 "kernel address is bug check 0x50 there\n",
		 where, address);
}

static EXCEPTION_DISPOSITION search(PEXCEPTION_RECORD record, PVOID frame, PCONTEXT context,
				    PDISPATCHER_CONTEXT dispatcher, ULONG count)
{
	uint64_t pc = instruction(dispatcher);
	EXCEPTION_POINTERS pointers = {record, context};
	struct scope scope;

	for (ULONG i = dispatcher->ScopeIndex; i < count; i++) {
		LONG answer = EXCEPTION_EXECUTE_HANDLER;

		if (!scope_read(dispatcher, i, &scope)) {
			break;
		}
		if (!covers(&scope, pc) || scope.target == 0) {
			continue;
		}
		if (scope.handler != 1) {
			exception_filter *filter =
				(exception_filter *)(dispatcher->ImageBase + scope.handler);

			answer = filter(&pointers, frame);
		}
		if (answer < 0) {
			return ExceptionContinueExecution;
		}
		if (answer > 0) {
			advise(record);
			RtlUnwindEx(frame, (PVOID)(dispatcher->ImageBase + scope.target), record,
				    (PVOID)(ULONG_PTR)(ULONG)record->ExceptionCode,
				    dispatcher->ContextRecord, dispatcher->HistoryTable);
		}
	}
	return ExceptionContinueSearch;
}

static void leave(PEXCEPTION_RECORD record, PVOID frame, PDISPATCHER_CONTEXT dispatcher,
		  ULONG count)
{
	uint64_t pc = instruction(dispatcher);
	uint64_t target = dispatcher->TargetIp - dispatcher->ImageBase;
	bool is_target = IS_TARGET_UNWIND(record->ExceptionFlags);
	struct scope scope;

	for (ULONG i = dispatcher->ScopeIndex; i < count; i++) {
		if (!scope_read(dispatcher, i, &scope)) {
			break;
		}
		if (!covers(&scope, pc)) {
			continue;
		}
		if (is_target && target_inside(dispatcher, &scope, count)) {
			break;
		}
		if (scope.target != 0) {
			if (is_target && target == scope.target) {
				break; /* its __except block is where the unwind goes */
			}
			continue;
		}
		dispatcher->ScopeIndex =
			i + 1; /* an exception in the block must not run it again */
		((termination_handler *)(dispatcher->ImageBase + scope.handler))(TRUE, frame);
	}
}

/*
 * The language handler of C. IRQL <= HIGH_LEVEL. Returns ExceptionContinueSearch, or
 * ExceptionContinueExecution when a filter says so; does not return when a filter takes the
 * exception. DEF-332.
 */
EXCEPTION_DISPOSITION NTAPI __C_specific_handler(PEXCEPTION_RECORD record, PVOID frame,
						 PCONTEXT context, PDISPATCHER_CONTEXT dispatcher)
{
	ULONG count = scope_count(dispatcher);

	if (IS_UNWINDING(record->ExceptionFlags)) {
		leave(record, frame, dispatcher, count);
		return ExceptionContinueSearch;
	}
	return search(record, frame, context, dispatcher, count);
}
