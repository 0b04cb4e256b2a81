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
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
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

#else

#define RUNNING_ON_VALGRIND 0

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
