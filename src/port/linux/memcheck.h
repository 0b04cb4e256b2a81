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
 * When a handler returns it puts back the GS base of before, which the kernel does not: see
 * memcheck_leave.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include "port/linux/host.h"

#if defined(__has_include)
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/libvex_guest_amd64.h>
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

/*
 * Last thing in a handler in which its thread may have gone to another processor: valgrind puts
 * back the GS base of before, from the copy of all registers that it keeps behind the context.
 * Correct that copy; nothing moves us any more until the handler has returned.
 */
struct memcheck_kept {
	uint32_t begin, flags, number;
	VexGuestAMD64State shadow[2], registers;
	uint64_t mask;
	uint32_t end;
};

#define MEMCHECK_KEPT_BEGIN 0x31415927u
#define MEMCHECK_KEPT_END   0x27182818u
#define MEMCHECK_KEPT_AFTER 2048 /* bytes behind the context's address at most */

static inline void memcheck_leave(const ucontext_t *context)
{
	const struct port_thread *self = host_self;
	if (__builtin_expect(!RUNNING_ON_VALGRIND || !self, 1))
		return;
	uint64_t block = 1ull << (HOST_SIGNAL_INTERRUPT - 1);
	host_syscall(SYS_rt_sigprocmask, SIG_BLOCK, (long)&block, 0, _NSIG / 8, 0, 0);
	VALGRIND_MAKE_MEM_DEFINED(context, MEMCHECK_KEPT_AFTER + sizeof(struct memcheck_kept));
	for (size_t i = 0; i < MEMCHECK_KEPT_AFTER; i += 8) {
		struct memcheck_kept *kept = (void *)((char *)context + i);
		if (kept->begin == MEMCHECK_KEPT_BEGIN && kept->end == MEMCHECK_KEPT_END) {
			kept->registers.guest_GS_CONST = (uint64_t)self->gs_base;
			return;
		}
	}
	VALGRIND_PRINTF_BACKTRACE("memcheck_leave: no copy of the registers was found\n");
}

#else

#define RUNNING_ON_VALGRIND 0

static inline void memcheck_leave(const ucontext_t *context)
{
	(void)context;
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
