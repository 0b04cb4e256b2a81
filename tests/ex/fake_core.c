/* SPDX-License-Identifier: MIT */
/* See fake_core.h. Locks are checked, not only taken: a lock that is taken twice ends the test. */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "ex/ex.h"
#include "mm/mm.h"
#include "mm/user.h"
#include "rtl/rtl.h"
#include "tests/ex/fake_core.h"

enum vf_mode vf_mode = VF_OFF;
struct fake_findings fake_findings;
struct fake_bugcheck fake_bugcheck;
unsigned fake_protect_failures;

/* ---- Port ---- */

static int host_protection(unsigned protection)
{
	return (protection & PORT_READ ? PROT_READ : 0) |
	       (protection & PORT_WRITE ? PROT_WRITE : 0) |
	       (protection & PORT_EXECUTE ? PROT_EXEC : 0);
}

void *port_pages_reserve(void *hint, size_t size)
{
	void *base =
		mmap(hint, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return base == MAP_FAILED ? NULL : base;
}

bool port_pages_protect(void *base, size_t size, unsigned protection)
{
	if (fake_protect_failures) {
		fake_protect_failures--;
		return false;
	}
	return mprotect(base, size, host_protection(protection)) == 0;
}

void port_pages_decommit(void *base, size_t size)
{
	mmap(base, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

/* No user processes. */
bool mm_user_accessible(uint64_t address, bool write)
{
	return port_pages_accessible((const void *)address, write);
}

void mm_user_trim(void)
{
}

void *mm_user_locked(uint64_t address)
{
	(void)address;
	return NULL;
}

bool port_pages_accessible(const void *address, bool write)
{
	int pipes[2];
	if (write || pipe(pipes))
		abort();
	bool accessible = syscall(SYS_write, pipes[1], address, 1) == 1;
	close(pipes[0]);
	close(pipes[1]);
	return accessible;
}

/* ---- Ke ---- */

static struct ke_processor processor;
uint32_t ke_processor_maximum = 1;
_Atomic uint32_t ke_processor_count = 1;

struct ke_meaning ke_meaning_of(size_t size)
{
	(void)size;
	return (struct ke_meaning){0};
}

static void on_fault(int signal_number, siginfo_t *info, void *context)
{
	ucontext_t *user = context;
	unsigned access = user->uc_mcontext.gregs[REG_ERR] & 2 ? PORT_WRITE : PORT_READ;
	if (mm_pageable_fault((uint64_t)info->si_addr, access, ke_irql()))
		return;
	signal(signal_number, SIG_DFL);
}

void fake_processor_enter(void)
{
	processor.self = &processor;
	syscall(SYS_arch_prctl, ARCH_SET_GS, &processor);
}

void fake_faults_begin(void)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
	sigaction(SIGSEGV, &action, NULL);
}

void ke_lock_acquire(struct ke_lock *lock)
{
	if (atomic_exchange(&lock->held, 1) || ke_irql() < DISPATCH_LEVEL)
		abort();
}

void ke_lock_release(struct ke_lock *lock)
{
	if (!atomic_exchange(&lock->held, 0))
		abort();
}

KIRQL ke_lock_raise(struct ke_lock *lock)
{
	if (ke_irql() > DISPATCH_LEVEL)
		abort();
	KIRQL old = ke_irql_raise(DISPATCH_LEVEL);
	ke_lock_acquire(lock);
	return old;
}

void ke_lock_lower(struct ke_lock *lock, KIRQL old)
{
	ke_lock_release(lock);
	ke_irql_set(old);
}

void ke_print(enum port_stream stream, const char *format, ...)
{
	(void)stream;
	fputs(format, stderr);
}

void ke_bugcheck(ULONG code, uint64_t p1, uint64_t p2, uint64_t p3, uint64_t p4,
		 const struct ke_bugcheck_detail *detail)
{
	(void)detail;
	if (!fake_bugcheck.armed)
		abort();
	fake_bugcheck.code = code;
	fake_bugcheck.parameters[0] = p1;
	fake_bugcheck.parameters[1] = p2;
	fake_bugcheck.parameters[2] = p3;
	fake_bugcheck.parameters[3] = p4;
	longjmp(fake_bugcheck.out, 1);
}

__attribute__((ms_abi)) void ExRaiseStatus(NTSTATUS status)
{
	fprintf(stderr, "raised 0x%08x\n", (unsigned)status);
	abort();
}

/* ---- Vf ---- */

static void note(enum vf_rule rule, uint64_t caller, uint64_t object, const uint64_t *parameters,
		 const char *format, va_list arguments)
{
	fake_findings.count++;
	fake_findings.rule = rule;
	fake_findings.caller = caller;
	fake_findings.object = object;
	for (unsigned i = 0; i < 3; i++)
		fake_findings.parameters[i] = parameters ? parameters[i] : 0;
	rtl_vprint(fake_findings.text, sizeof(fake_findings.text), format, arguments);
}

void vf_report(enum vf_rule rule, const char *ddi, uint64_t caller, uint64_t object,
	       const char *format, ...)
{
	(void)ddi;
	va_list arguments;
	va_start(arguments, format);
	note(rule, caller, object, NULL, format, arguments);
	va_end(arguments);
}

void vf_report_with(enum vf_rule rule, const char *ddi, uint64_t caller, uint64_t object,
		    const uint64_t parameters[3], const char *format, ...)
{
	(void)ddi;
	va_list arguments;
	va_start(arguments, format);
	note(rule, caller, object, parameters, format, arguments);
	va_end(arguments);
}

void fake_findings_clear(void)
{
	fake_findings = (struct fake_findings){0};
}

bool vf_address_where(uint64_t address, char *where, size_t size)
{
	rtl_print(where, size, "%I64x", address);
	return true;
}

const char *vf_irql_name(KIRQL irql)
{
	return irql >= DISPATCH_LEVEL ? "DISPATCH_LEVEL or above" : "below DISPATCH_LEVEL";
}

uint64_t vf_caller(void *return_address)
{
	return (uint64_t)return_address;
}

/* No timer is set here. */
void ke_timers_each(void (*each)(void *context, KTIMER *timer), void *context)
{
	(void)each, (void)context;
}

BOOLEAN NTAPI KeCancelTimer(PKTIMER timer)
{
	(void)timer;
	abort();
}

void ke_lock_order_forget(const void *base, size_t size)
{
	(void)base, (void)size;
}
