/* SPDX-License-Identifier: MIT */
/*
 * The bug checks of traps, with their documented parameters and a line that says what broke.
 *
 * Contexts: the trapping processor, any IRQL, NMI too, on the alternate stack or the thread's. No
 * locks. What the bug check refers to lies in the frames below, which are never left.
 *
 * Requirements: VER-35 (0xA, 0xD1), VER-39 (0xCE), NMI-36, DEF-328 (0x139), DEF-332 (0x7E, 0x1E),
 * DEF-33 (0x50), DEF-336.
 *
 * Chosen where documents are silent:
 * - No handler, below DISPATCH_LEVEL, an address of the system's range: 0x50; 0xBE for a write to
 * memory that can be read, 0xFC for the execution of such memory. Another exception is 0x7E in a
 * system thread. In a thread of a process an access violation is 0x50 (DEF-33), all else 0x1E; 0x1E
 * also at and above DISPATCH_LEVEL, where no thread is to blame.
 * - A stack that is used up is 0x7F with parameter 1 = 8, a double fault; #BR in kernel mode is
 * 0x7F with parameter 1 = 5 (BND-17); the rest is 0.
 * - A fault of the core itself gets the code that a driver's would get, but 0xA instead of 0xD1,
 * and names the DDI and the driver's call.
 */
#include "ldr/trap.h"
#include "ex/ex.h"
#include "ldr/ddi.h"
#include "ldr/exception.h"
#include "mm/user.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

#define SYSTEM_RANGE 0x400000000000ull /* MmSystemRangeStart (DEF-325) */
#define FIRST_64K    0x10000
#define GUARD        0x10000 /* bytes below a stack that count as its overflow */

static const char *access_name(uint64_t access)
{
	return access == 8 ? "execution" : access == 1 ? "write" : "read";
}

static uint64_t access_number(unsigned access)
{
	return access == PORT_EXECUTE ? 8 : access == PORT_WRITE ? 1 : 0;
}

/* What is at a bad address, in words. */
static void explain_address(uint64_t address, char *text, size_t size)
{
	const struct ldr_image *image = ldr_image_from_address(address);
	const struct ldr_section *section;

	rtl_copy(text, size, "");
	if (address == UINT64_MAX) {
		rtl_copy(text, size, " (a noncanonical address)");
	} else if (address < FIRST_64K) {
		rtl_copy(text, size, " (a null pointer)");
	} else if (image) {
		section = ldr_image_section_at(image, address);
		if (!section) {
			rtl_print(text, size, " (in %s, outside its sections)", image->name);
		} else if (atomic_load_explicit(&section->discarded, memory_order_relaxed)) {
			rtl_print(text, size, " (discarded %s section of %s)", section->name,
				  image->name);
		} else if (section->pageable) {
			rtl_print(text, size, " (pageable section %s of %s)", section->name,
				  image->name);
		} else {
			rtl_print(text, size, " (section %s of %s)", section->name, image->name);
		}
	} else if (address < SYSTEM_RANGE && mm_user_current()) {
		rtl_print(text, size, " (a user address; %s)",
			  ke_in_nmi() || ke_irql() >= DISPATCH_LEVEL
				  ? "only locked pages are there at this IRQL"
			  : mm_user_accessible(address, false) ? "the program may only read it"
							       : "the program has nothing there");
	} else {
		char pool[100];
		ex_pool_describe((const void *)address, pool, sizeof pool);
		if (pool[0])
			rtl_print(text, size, " (%s)", pool);
	}
}

/* One line about a bad access. */
static void explain_access(uint64_t access, uint64_t address, char *text, size_t size)
{
	const struct ldr_image *image = ldr_image_from_address(address);
	const struct ldr_section *section = image ? ldr_image_section_at(image, address) : 0;
	char what[128];

	if (access == 8 && section &&
	    atomic_load_explicit(&section->discarded, memory_order_relaxed)) {
		rtl_print(text, size, "call into discarded %s section of %s", section->name,
			  image->name);
		return;
	}
	explain_address(address, what, sizeof(what));
	if (address == UINT64_MAX) {
		rtl_print(text, size, "access to a noncanonical address");
	} else if (access == 8) {
		rtl_print(text, size, "jump to 0x%llx%s, where no code is", address, what);
	} else {
		rtl_print(text, size, "%s of 0x%llx%s", access_name(access), address, what);
	}
}

static void explain_record(const EXCEPTION_RECORD *record, char *text, size_t size)
{
	switch ((uint32_t)record->ExceptionCode) {
	case (uint32_t)STATUS_ACCESS_VIOLATION:
		if (record->NumberParameters >= 2) {
			char access[160];

			explain_access(record->ExceptionInformation[0],
				       record->ExceptionInformation[1], access, sizeof(access));
			rtl_print(text, size, "%s, and no handler", access);
			return;
		}
		break;
	case (uint32_t)STATUS_BREAKPOINT:
		rtl_copy(text, size, "breakpoint (int 3, DbgBreakPoint or a failed PAGED_CODE)");
		return;
	case (uint32_t)STATUS_ASSERTION_FAILURE:
		rtl_copy(text, size, "a failed assertion (int 2Ch)");
		return;
	case (uint32_t)STATUS_INTEGER_DIVIDE_BY_ZERO:
		rtl_copy(text, size, "division by zero, and no handler");
		return;
	case (uint32_t)STATUS_PRIVILEGED_INSTRUCTION:
		rtl_copy(text, size, "an instruction that this machine cannot do, and no handler");
		return;
	}
	rtl_print(text, size, "exception 0x%08x, and no handler%s", (uint32_t)record->ExceptionCode,
		  record->ExceptionFlags & EXCEPTION_STACK_INVALID
			  ? " (the stack or the unwind data is damaged)"
			  : "");
}

/* 0x139's common codes (DEF-328). */
static const char *fast_fail_name(uint64_t code)
{
	switch (code) {
	case 2:
		return "the stack cookie was overwritten: a local buffer overran";
	case 3:
		return "a list entry is corrupt, or was removed twice";
	case 6:
		return "the security cookie was not initialised";
	case 10:
		return "an indirect call went to no valid target";
	default:
		return "the driver asked to stop (int 29h)";
	}
}

static _Noreturn void stop(ULONG code, uint64_t p1, uint64_t p2, uint64_t p3, uint64_t p4,
			   const struct trap_place *place, const char *text)
{
	struct ke_bugcheck_detail detail = {
		.regs = &place->regs,
		.text = text,
		.address = place->blame,
	};

	ke_bugcheck(code, p1, p2, p3, p4, &detail);
}

/* The core faulted: which DDI, called by whom, with what. */
static void explain_core(const struct port_trap *trap, const struct trap_place *place, char *text,
			 size_t size)
{
	const struct ddi *ddi = place->blame ? ddi_called_before(place->blame) : 0;
	char where[80], what[96];

	if (!place->blame) {
		rtl_print(text, size,
			  "the kernel itself failed at 0x%llx on 0x%llx: something it keeps for a "
			  "driver was overwritten or freed, or Ketch has a bug",
			  place->regs.rip, trap->address);
		return;
	}
	(void)ke_where(place->blame, where, sizeof(where));
	if (trap->kind != PORT_TRAP_PAGE_FAULT) {
		rtl_print(text, size, "%s, called by %s, failed on what it was given",
			  ddi ? ddi->name : "a function", where);
		return;
	}
	explain_address(trap->address, what, sizeof(what));
	rtl_print(text, size, "bad pointer 0x%llx%s passed to %s by %s", trap->address, what,
		  ddi ? ddi->name : "a function", where);
}

static _Noreturn void fast_fail(const struct port_trap *trap, const struct trap_place *place)
{
	EXCEPTION_RECORD record = {
		.ExceptionCode = STATUS_STACK_BUFFER_OVERRUN,
		.ExceptionFlags = EXCEPTION_NONCONTINUABLE,
		.ExceptionAddress = (PVOID)place->driver_rip,
		.NumberParameters = 1,
		.ExceptionInformation = {trap->code},
	};
	KTRAP_FRAME frame = {
		.Rax = place->regs.rax,
		.Rcx = place->regs.rcx,
		.Rdx = place->regs.rdx,
		.R8 = place->regs.r8,
		.R9 = place->regs.r9,
		.R10 = place->regs.r10,
		.R11 = place->regs.r11,
		.Rbp = place->regs.rbp,
		.Rip = place->driver_rip,
		.Rsp = place->regs.rsp,
		.EFlags = (ULONG)place->regs.rflags,
		.PreviousIrql = place->irql,
	};

	stop(KERNEL_SECURITY_CHECK_FAILURE, trap->code, (uint64_t)&frame, (uint64_t)&record, 0,
	     place, fast_fail_name(trap->code));
}

_Noreturn void trap_fatal(const struct port_trap *trap, const struct trap_place *place)
{
	bool core = !place->image && !place->nowhere;
	EXCEPTION_RECORD record = {0};
	CONTEXT context = {.ContextFlags = CONTEXT_CONTROL | CONTEXT_INTEGER};
	char text[240], access[160];

	if (trap->kind == PORT_TRAP_FAST_FAIL) {
		fast_fail(trap, place);
	}
	if (trap->kind == PORT_TRAP_BOUND) {
		stop(UNEXPECTED_KERNEL_MODE_TRAP, 5, 0, 0, 0, place,
		     "a bound exception (#BR or INT 5) in kernel mode, which no callback is "
		     "offered");
	}
	ldr_context_from_regs(&context, &place->regs);
	context.Rip = place->driver_rip - trap_describe(trap, &record);
	record.ExceptionAddress = (PVOID)context.Rip;
	if (trap_executes_user(trap)) {
		rtl_print(text, sizeof(text), "kernel code went on at 0x%llx, in user memory",
			  trap->address);
		stop(ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, trap->address, 0, 0, 0, place, text);
	}
	if (core) {
		explain_core(trap, place, text, sizeof(text));
	} else if (trap->kind == PORT_TRAP_PAGE_FAULT) {
		explain_access(access_number(trap->access), trap->address, access, sizeof(access));
		rtl_print(text, sizeof(text), "%s at %s%s", access, vf_irql_name(place->irql),
			  ke_in_nmi() ? ", in an NMI callback" : "");
	} else {
		explain_record(&record, access, sizeof(access));
		rtl_print(text, sizeof(text), "%s%s", access,
			  ke_in_nmi() ? " may be in an NMI callback" : "");
	}
	if (trap->kind != PORT_TRAP_PAGE_FAULT) {
		stop(KMODE_EXCEPTION_NOT_HANDLED, (uint32_t)record.ExceptionCode, context.Rip,
		     record.ExceptionInformation[0], record.ExceptionInformation[1], place, text);
	}
	if (place->irql >= DISPATCH_LEVEL) {
		stop(core ? IRQL_NOT_LESS_OR_EQUAL : DRIVER_IRQL_NOT_LESS_OR_EQUAL, trap->address,
		     place->irql, access_number(trap->access), context.Rip, place, text);
	}
	if (trap->address >= SYSTEM_RANGE) {
		stop(PAGE_FAULT_IN_NONPAGED_AREA, trap->address,
		     trap->access == PORT_EXECUTE ? 0x10
		     : trap->access == PORT_WRITE ? 2
						  : 0,
		     context.Rip, 0, place, text);
	}
	stop(SYSTEM_THREAD_EXCEPTION_NOT_HANDLED, (uint32_t)record.ExceptionCode, context.Rip,
	     (uint64_t)&record, (uint64_t)&context, place, text);
}

bool trap_executes_user(const struct port_trap *trap)
{
	return trap->kind == PORT_TRAP_PAGE_FAULT && trap->access == PORT_EXECUTE &&
	       trap->address < SYSTEM_RANGE && mm_user_current() &&
	       mm_user_accessible(trap->address, false);
}

void trap_unloaded(const struct port_trap *trap, const struct trap_place *place)
{
	uint64_t address = trap->kind == PORT_TRAP_PAGE_FAULT ? trap->address : place->driver_rip;
	const struct ldr_image *image = ldr_image_from_address(address);
	uint64_t access = trap->kind == PORT_TRAP_PAGE_FAULT ? access_number(trap->access) : 8;
	struct trap_place blamed = *place;
	char text[200];

	if (!image || ldr_image_state(image) != LDR_UNLOADED) {
		return;
	}
	blamed.blame = access == 8 ? address : place->blame;
	rtl_print(text, sizeof(text),
		  "%s was unloaded, but its %s is still %s: take back every callback, timer, DPC, "
		  "work item and thread before Unload returns",
		  image->name, access == 8 ? "code" : "memory", access == 8 ? "called" : "used");
	stop(DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS, address, access,
	     place->driver_rip, 0, &blamed, text);
}

_Noreturn void trap_stack_overflow(const struct port_trap *trap, const struct trap_place *place)
{
	char text[160];

	rtl_print(text, sizeof(text),
		  "the kernel stack is used up (RSP 0x%llx, stack 0x%llx to 0x%llx)",
		  place->regs.rsp, (uint64_t)ke_thread()->StackLimit,
		  (uint64_t)ke_thread()->StackBase);
	(void)trap;
	stop(UNEXPECTED_KERNEL_MODE_TRAP, 8, 0, 0, 0, place, text);
}

void trap_guard_page(const struct port_trap *trap, const struct trap_place *place)
{
	uint64_t low = (uint64_t)ke_thread()->StackLimit;

	if (trap->address < low && trap->address >= low - GUARD) {
		trap_stack_overflow(trap, place);
	}
}

/* The code for an access violation at a system address. */
static ULONG system_address_code(uint64_t access, uint64_t address)
{
	bool there = port_pages_accessible((const void *)address, false);

	return there && access == 1   ? ATTEMPTED_WRITE_TO_READONLY_MEMORY
	       : there && access == 8 ? ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY
				      : PAGE_FAULT_IN_NONPAGED_AREA;
}

/* The newest address in a driver, from the context of an exception. */
static void find_blame(struct trap_place *place)
{
	struct ke_walk walk;

	ke_walk_begin(&walk, ke_thread(), &place->regs);
	for (unsigned i = 0; i < 64 && ke_walk_next(&walk); i++) {
		if (walk.image) {
			place->blame = walk.address;
			return;
		}
	}
}

_Noreturn void ke_trap_unhandled(EXCEPTION_RECORD *record, CONTEXT *context)
{
	struct trap_place place = {.irql = ke_irql()};
	uint64_t access = record->ExceptionInformation[0];
	uint64_t address = record->ExceptionInformation[1];
	bool violation =
		record->ExceptionCode == STATUS_ACCESS_VIOLATION && record->NumberParameters >= 2;
	char text[240];

	ldr_context_to_regs(context, &place.regs);
	find_blame(&place);
	explain_record(record, text, sizeof(text));
	if (violation && address != UINT64_MAX && place.irql < DISPATCH_LEVEL && !ke_in_nmi() &&
	    (address >= SYSTEM_RANGE || !ke_thread()->system_thread)) {
		ULONG code = address >= SYSTEM_RANGE ? system_address_code(access, address)
						     : PAGE_FAULT_IN_NONPAGED_AREA;

		if (code == PAGE_FAULT_IN_NONPAGED_AREA) {
			stop(code, address,
			     access == 8   ? 0x10
			     : access == 1 ? 2
					   : 0,
			     context->Rip, 0, &place, text);
		}
		stop(code, address, 0, 0, 0, &place, text);
	}
	if (place.irql >= DISPATCH_LEVEL || ke_in_nmi() || !ke_thread()->system_thread) {
		stop(KMODE_EXCEPTION_NOT_HANDLED, (uint32_t)record->ExceptionCode,
		     (uint64_t)record->ExceptionAddress, access, address, &place, text);
	}
	stop(SYSTEM_THREAD_EXCEPTION_NOT_HANDLED, (uint32_t)record->ExceptionCode,
	     (uint64_t)record->ExceptionAddress, (uint64_t)record, (uint64_t)context, &place, text);
}
