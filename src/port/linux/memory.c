/* SPDX-License-Identifier: MIT */
/*
 * memory.c: pages, random data, waiting of threads without a baton. System calls only, callable in
 * any context.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <sys/mman.h>
#include <time.h>
#include "port/linux/emulate.h"
#include "port/linux/host.h"

static int host_protection(unsigned protection)
{
	return (protection & PORT_READ ? PROT_READ : 0) |
	       (protection & PORT_WRITE ? PROT_WRITE : 0) |
	       (protection & PORT_EXECUTE ? PROT_EXEC : 0);
}

static void *map(void *hint, size_t size, int flags)
{
	long result = host_syscall(SYS_mmap, (long)hint, (long)size, PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
	return result < 0 && result > -4096 ? NULL : (void *)result;
}

void *port_pages_reserve(void *hint, size_t size)
{
	return map(hint, size, 0);
}

bool port_pages_protect(void *base, size_t size, unsigned protection)
{
	return host_syscall(SYS_mprotect, (long)base, (long)size, host_protection(protection), 0, 0,
			    0) == 0;
}

void port_pages_decommit(void *base, size_t size)
{
	emulate_stub_forget((uint64_t)base, size);
	map(base, size, MAP_FIXED);
}

void port_pages_release(void *base, size_t size)
{
	emulate_stub_forget((uint64_t)base, size);
	host_syscall(SYS_munmap, (long)base, (long)size, 0, 0, 0, 0);
}

/*
 * The host's own checked access: FUTEX_WAIT reads the word (with a time-out of zero it never
 * sleeps); FUTEX_WAKE_OP ORs zero into it. Both answer EFAULT instead of a signal.
 */
bool port_pages_accessible(const void *address, bool write)
{
	_Atomic uint32_t *word = (_Atomic uint32_t *)((uintptr_t)address & ~(uintptr_t)3);
	static _Atomic uint32_t nobody;
	long result;
	if (write) {
		long operation = FUTEX_OP(FUTEX_OP_OR, 0, FUTEX_OP_CMP_EQ, 0);
		result = host_syscall(SYS_futex, (long)&nobody, FUTEX_WAKE_OP_PRIVATE, 0, 0,
				      (long)word, operation);
	} else {
		struct timespec zero = {0, 0};
		result = host_syscall(SYS_futex, (long)word, FUTEX_WAIT_PRIVATE, 0x5a5a5a5a,
				      (long)&zero, 0, 0);
	}
	return result != -EFAULT;
}

void port_random(void *bytes, size_t size)
{
	char *to = bytes;
	while (size) {
		long n = host_syscall(SYS_getrandom, (long)to, (long)size, 0, 0, 0, 0);
		if (n <= 0)
			continue; /* interrupted */
		to += n;
		size -= (size_t)n;
	}
}

void port_host_wait(_Atomic uint32_t *word, uint32_t while_value, int64_t timeout_ns)
{
	struct timespec at, *until = NULL;
	if (timeout_ns >= 0) {
		clock_gettime(CLOCK_MONOTONIC, &at);
		at.tv_sec += timeout_ns / 1000000000;
		at.tv_nsec += timeout_ns % 1000000000;
		if (at.tv_nsec >= 1000000000) {
			at.tv_nsec -= 1000000000;
			at.tv_sec++;
		}
		until = &at;
	}
	host_futex_wait(word, while_value, until);
}

void port_host_wake(_Atomic uint32_t *word)
{
	host_futex_wake(word, INT32_MAX);
}
