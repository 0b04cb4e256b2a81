/* SPDX-License-Identifier: MIT */
/*
 * memcheck.h: what valgrind's memcheck must be told.
 *
 * It follows the stack pointer to know which part of a stack is in use, and loses the trail when a
 * handler runs on another stack or continues the thread at a lower address. So each handler
 * declares what lies below the stack pointers, its own and the interrupted one, usable and
 * uninitialized. Reads of uninitialized memory are found as before.
 *
 * GS base: valgrind 3.19 does not know wrgsbase; the port uses arch_prctl there, which it does.
 * When a handler returns it puts back the GS base of before, which the kernel does not: a thread
 * that went to another processor inside would use the first one's KPCR. So there an interrupt is
 * not taken inside the handler (memcheck_interrupt), and GS is set once more before it is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <asm/prctl.h>
#include <sys/syscall.h>
#include "port/linux/host.h"

#if defined(__has_include)
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#endif
#endif

#ifdef VALGRIND_MAKE_MEM_UNDEFINED

#define MEMCHECK_RED_ZONE 128

static inline __attribute__((always_inline)) void memcheck_below(void *low, size_t size,
								 uint64_t own, uint64_t interrupted)
{
	uint64_t base = (uint64_t)low, end = base + size;
	bool has_own = own > base && own <= end,
	     has_other = interrupted > base && interrupted <= end;
	if (!has_own && !has_other)
		return;
	end = has_own && (!has_other || own < interrupted) ? own : interrupted;
	if (end > base + MEMCHECK_RED_ZONE)
		VALGRIND_MAKE_MEM_UNDEFINED(low, end - MEMCHECK_RED_ZONE - base);
}

/* First thing in a handler; in its own frame. */
static inline __attribute__((always_inline)) void memcheck_enter(const void *context)
{
	const struct port_thread *self = host_self;
	if (__builtin_expect(!RUNNING_ON_VALGRIND || !self, 1))
		return;
	uint64_t own,
		interrupted = (uint64_t)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RSP];
	__asm__ volatile("movq %%rsp, %0" : "=r"(own));
	memcheck_below(self->alternate, HOST_ALTERNATE_SIZE, own, interrupted);
	memcheck_below(self->stack_limit, HOST_STACK_SIZE, own, interrupted);
}

/* It takes a privileged instruction for an unknown one, and gives neither the vector nor the code
 * segment. */
static inline void memcheck_fault(int number, ucontext_t *context)
{
	greg_t *gregs = context->uc_mcontext.gregs;
	if (__builtin_expect(!RUNNING_ON_VALGRIND, 1))
		return;
	gregs[REG_CSGSFS] |= 0x33;
	if (number == SIGILL && !gregs[REG_TRAPNO])
		gregs[REG_TRAPNO] = 13;
}

/* What an interrupt stopped, kept on the interrupted stack. */
struct memcheck_stopped {
	struct _libc_fpstate fxsave __attribute__((aligned(16)));
	ucontext_t context;
};

static _Noreturn __attribute__((used)) void memcheck_take_interrupt(
	struct memcheck_stopped *stopped)
{
	int saved = errno;
	void *base;
	do { /* again when an interrupt came in between and moved us */
		base = *(void *volatile *)&host_self->gs_base;
		host_syscall(SYS_arch_prctl, ARCH_SET_GS, (long)base, 0, 0, 0, 0);
	} while (base != *(void *volatile *)&host_self->gs_base);
	struct port_cpu *cpu = host_held_cpu();
	struct port_frame *frame = (struct port_frame *)&stopped->context;
	struct port_regs regs;
	/* A handler that came before this may have declared it unused; and one undefined register
	 * makes all of fxsave so. */
	VALGRIND_MAKE_MEM_DEFINED(stopped, sizeof *stopped);
	if (cpu)
		ke_port_interrupt(cpu, frame);
	errno = saved;
	port_frame_read(frame, &regs);
	/* The handler's frames lay between: gone for memcheck, yet the last steps go through there.
	 */
	VALGRIND_MAKE_MEM_UNDEFINED(stopped + 1,
				    regs.rsp - MEMCHECK_RED_ZONE - (uint64_t)(stopped + 1));
	port_context_resume(&regs, &stopped->fxsave);
}

/* It leaves the frame's floating-point state empty: the registers have it when the handler has
 * returned. */
static __attribute__((naked)) void memcheck_thunk(void)
{
	__asm__("fxsave64 (%rdi)\n\tjmp memcheck_take_interrupt");
}

/* In the handler, which runs on the interrupted stack and blocks all signals: have the interrupt
 * taken there when the handler has returned. False: not under valgrind. */
static inline __attribute__((always_inline)) bool memcheck_interrupt(ucontext_t *context)
{
	if (__builtin_expect(!RUNNING_ON_VALGRIND, 1))
		return false;
	greg_t *gregs = context->uc_mcontext.gregs;
	uint64_t own;
	__asm__ volatile("movq %%rsp, %0" : "=r"(own));
	own -= 2 * MEMCHECK_RED_ZONE; /* below the handler's frames: *context lies above */
	struct memcheck_stopped *stopped = (void *)((own - sizeof *stopped) & ~(uint64_t)63);
	stopped->context = *context;
	stopped->context.uc_mcontext.fpregs = &stopped->fxsave;
	((uint64_t *)stopped)[-1] = 0; /* its return address */
	gregs[REG_RSP] = (greg_t)((uint64_t)stopped - 8);
	gregs[REG_RDI] = (greg_t)stopped;
	gregs[REG_RIP] = (greg_t)memcheck_thunk;
	gregs[REG_EFL] &= ~(greg_t)0x500; /* DF, TF */
	return true;
}

#else

#define RUNNING_ON_VALGRIND 0

static inline bool memcheck_interrupt(ucontext_t *context)
{
	(void)context;
	return false;
}

static inline void memcheck_enter(const void *context)
{
	(void)context;
}
static inline void memcheck_fault(int number, ucontext_t *context)
{
	(void)number;
	(void)context;
}

#endif
