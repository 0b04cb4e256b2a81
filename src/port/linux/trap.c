/* SPDX-License-Identifier: MIT */
/*
 * trap.c: the handler of SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGTRAP: emulate, or tell the core
 * what happened.
 *
 * On the alternate stack, with the interrupt signal blocked. Runs no kernel code but ke_port_trap,
 * which only looks, rewrites the frame, or bug checks. A signal that a process sent, or that hits a
 * thread which holds no baton, kills the process as if nobody listened.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include "port/linux/emulate.h"
#include "port/linux/host.h"
#include "port/linux/memcheck.h"
#include "port/linux/shared_page.h"

#define TICK_100NS 156250u /* KeQueryTimeIncrement */

static uint64_t op_cr8_read(void *context)
{
	(void)context;
	return ke_port_cr8_read();
}

/*
 * A lowered CR8 or STI makes interrupts deliverable: the signal waits behind this handler and comes
 * before the next instruction, on the thread's own stack.
 */
static void deliver_after_handler(bool deliverable)
{
	if (deliverable)
		host_tgkill(host_self->tid, HOST_SIGNAL_INTERRUPT);
}

static void op_cr8_write(void *context, uint64_t value)
{
	uint64_t rip = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	deliver_after_handler(ke_port_cr8_write((unsigned)value, rip));
}

static void op_interrupts_set(void *context, bool enabled)
{
	(void)context;
	deliver_after_handler(ke_port_interrupt_flag(enabled));
}

static void op_page_update(void *context)
{
	(void)context;
	uint64_t interrupt_time = port_time_ns() / 100;
	shared_page_update(port_time_system(), interrupt_time, interrupt_time / TICK_100NS);
}

static const struct emulate_ops operations = {
	.cr8_read = op_cr8_read,
	.cr8_write = op_cr8_write,
	.interrupts_set = op_interrupts_set,
	.page_update = op_page_update,
};

static void describe_exception(const struct emulate_report *report, struct port_trap *trap)
{
	trap->code = report->code;
	switch (report->exception) {
	case EMULATE_ACCESS_VIOLATION:
		trap->kind = PORT_TRAP_PAGE_FAULT;
		trap->address = report->address;
		trap->access = report->write ? PORT_WRITE : PORT_READ;
		break;
	case EMULATE_FAST_FAIL:
		trap->kind = PORT_TRAP_FAST_FAIL;
		break;
	case EMULATE_ASSERTION:
		trap->kind = PORT_TRAP_ASSERT;
		break;
	case EMULATE_BREAKPOINT:
		trap->kind = PORT_TRAP_BREAKPOINT;
		break;
	case EMULATE_DEBUG_SERVICE:
		trap->kind = PORT_TRAP_DEBUG_SERVICE;
		break;
	default:
		trap->kind = PORT_TRAP_PROTECTION;
		break;
	}
}

/* A fault like any other, by the processor's vector. */
static void describe_fault(int number, const siginfo_t *info, const struct emulate_fault *fault,
			   struct port_trap *trap)
{
	switch (fault->vector) {
	case 0:
		trap->kind =
			info->si_code == FPE_INTOVF ? PORT_TRAP_OVERFLOW_INTEGER : PORT_TRAP_DIVIDE;
		break;
	case 1:
		trap->kind = PORT_TRAP_SINGLE_STEP;
		break;
	case 3:
		trap->kind = PORT_TRAP_BREAKPOINT;
		break;
	case 5:
		trap->kind = PORT_TRAP_BOUND;
		break;
	case 6:
		trap->kind = PORT_TRAP_ILLEGAL;
		break;
	case 14:
		trap->kind = PORT_TRAP_PAGE_FAULT;
		trap->address = fault->address;
		trap->access = fault->error_code & 16  ? PORT_EXECUTE
			       : fault->error_code & 2 ? PORT_WRITE
						       : PORT_READ;
		trap->text = emulate_address_name(fault->address);
		break;
	case 16:
	case 19:
		trap->kind = PORT_TRAP_FLOAT;
		trap->code = (uint64_t)info->si_code;
		break;
	case 17:
		trap->kind = PORT_TRAP_ALIGNMENT;
		break;
	default:
		trap->kind = number == SIGBUS ? PORT_TRAP_ALIGNMENT : PORT_TRAP_PROTECTION;
		break;
	}
}

/*
 * The host could not push the frame of an interrupt signal, because the code at HIGH_LEVEL runs
 * with a stack pointer that points nowhere, and sent this instead. The interrupt is masked and
 * still in the pending word: go on.
 */
static bool interrupt_without_stack(int number, const siginfo_t *info, const ucontext_t *context)
{
	const char *stack = (const char *)context->uc_mcontext.gregs[REG_RSP];
	return number == SIGSEGV && info->si_code == SI_KERNEL && !info->si_addr &&
	       ke_port_interrupts_masked() && !port_pages_accessible(stack - 128, true);
}

void host_on_trap(int number, siginfo_t *info, void *raw)
{
	int saved = errno;
	ucontext_t *context = raw;
	memcheck_enter(raw);
	struct port_cpu *cpu = host_held_cpu();
	/* SIGTRAP of int 3 carries SI_KERNEL, a signal that somebody sent a code of 0 or less. */
	if (!cpu || info->si_code <= 0)
		goto not_ours;
	if (interrupt_without_stack(number, info, context))
		goto done;

	memcheck_fault(number, context);
	struct emulate_fault fault = emulate_fault_of(context);
	struct emulate_report report = {0};
	struct port_trap trap = {0};
	switch (emulate_instruction(context, &fault, &operations, context, &report)) {
	case EMULATE_DONE:
		goto done;
	case EMULATE_EXCEPTION:
		describe_exception(&report, &trap);
		if (report.exception == EMULATE_DEBUG_SERVICE) /* a fault here, a trap on Windows */
			context->uc_mcontext.gregs[REG_RIP] += report.length;
		break;
	case EMULATE_UNSUPPORTED:
		/* At privilege 0 INT 5 goes through the gate of #BR. */
		trap.kind = report.class == EMULATE_CLASS_INTERRUPT && report.operand == 5
				    ? PORT_TRAP_BOUND
				    : PORT_TRAP_PRIVILEGED;
		trap.code = report.operand;
		trap.text = report.what;
		break;
	case EMULATE_NOT_OURS:
		describe_fault(number, info, &fault, &trap);
		break;
	}
	emulate_stub_restore(context);
	if (ke_port_trap(cpu, &trap, (struct port_frame *)context))
		goto done;
not_ours:
	/* Die of it as if nobody had listened: exit status, core dump and all. */
	signal(number, SIG_DFL);
	if (info->si_code <= 0)
		raise(number);
done:
	errno = saved;
}

bool port_stub_lookup(uint64_t address, uint64_t *original)
{
	return emulate_stub_lookup(address, original);
}
