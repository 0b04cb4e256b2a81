/* SPDX-License-Identifier: MIT */
/*
 * user_inject.c: have a stopped user thread execute a system call on the tracer's behalf.
 *
 * Context: the thread's own tracer. The call's instruction is one that the program has: the one it
 * just came from, or the vdso's. Its code is never changed, as other threads may be executing it.
 */
#define _GNU_SOURCE
#include <asm/unistd_64.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "port/linux/sanitize.h"
#include "port/linux/user.h"

static const struct {
	uint16_t number64, number32;
} calls[] = {
	[USER_CALL_PAUSE] = {__NR_pause, 29},    [USER_CALL_PRCTL] = {__NR_prctl, 172},
	[USER_CALL_MMAP] = {__NR_mmap, 192},     [USER_CALL_MUNMAP] = {__NR_munmap, 91},
	[USER_CALL_MREMAP] = {__NR_mremap, 163}, [USER_CALL_MODIFY_LDT] = {__NR_modify_ldt, 123},
};

#define VDSO_PAGES 4

/* 64: `syscall`, 32: `int $0x80`, 0: neither. */
static unsigned call_at(struct port_user *user, uint64_t address)
{
	uint8_t code[2];
	if (user_memory_read(user, address, code, 2) != 2)
		return 0;
	if (code[0] == 0x0f && code[1] == 0x05)
		return 64;
	return code[0] == 0xcd && code[1] == 0x80 ? 32 : 0;
}

/* Where the host mapped its vdso, which holds a system call instruction; 0: nowhere. */
static uint64_t vdso_of(struct port_user *user)
{
	char path[64];
	uint8_t bytes[1024];
	snprintf(path, sizeof path, "/proc/%u/auxv", user->tid);
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return 0;
	ssize_t size = read(file, bytes, sizeof bytes);
	close(file);
	for (ssize_t at = 0; at + 16 <= size; at += 16) {
		uint64_t entry[2];
		memcpy(entry, bytes + at, sizeof entry);
		if (entry[0] == AT_SYSINFO_EHDR)
			return entry[1];
	}
	/* Entries of a 32-bit program are half as wide. */
	for (ssize_t at = 0; at + 8 <= size; at += 8) {
		uint32_t entry[2];
		memcpy(entry, bytes + at, sizeof entry);
		if (entry[0] == AT_SYSINFO_EHDR)
			return entry[1];
	}
	return 0;
}

/*
 * A 32-bit program's vdso has both; there it must be int $0x80, as the host keeps the memory of
 * 32-bit programs for 32-bit calls.
 */
static unsigned vdso_site(struct port_user *user, uint64_t *address)
{
	uint64_t vdso = vdso_of(user);
	unsigned found = 0;
	for (unsigned i = 0; vdso && i < VDSO_PAGES; i++) {
		uint8_t code[PORT_PAGE_SIZE];
		uint64_t page = vdso + i * PORT_PAGE_SIZE;
		size_t size = user_memory_read(user, page, code, sizeof code);
		for (size_t at = 0; at + 1 < size; at++) {
			bool narrow = code[at] == 0xcd && code[at + 1] == 0x80;
			bool wide = code[at] == 0x0f && code[at + 1] == 0x05;
			if (!narrow && (!wide || found))
				continue;
			*address = page + at;
			if (narrow)
				return 32;
			found = 64;
		}
	}
	return found;
}

unsigned user_call_site(struct port_user *user, const struct user_regs_struct *regs,
			uint64_t *address)
{
	*address = regs->rip - 2;
	unsigned bits = call_at(user, *address);
	/* `syscall` in 32-bit code returns elsewhere. */
	if (bits == 32 || (bits == 64 && regs->cs == 0x33))
		return bits;
	return vdso_site(user, address);
}

void user_call_prepare(struct user_regs_struct *regs, unsigned bits, uint64_t address,
		       enum user_call call, const uint64_t arguments[6])
{
	regs->orig_rax = ~0ull;
	regs->rip = address;
	regs->eflags &= ~0x10500ull; /* no trap, direction or resume flag */
	if (bits == 64) {
		regs->cs = 0x33;
		regs->rax = calls[call].number64;
		regs->rdi = arguments[0];
		regs->rsi = arguments[1];
		regs->rdx = arguments[2];
		regs->r10 = arguments[3];
		regs->r8 = arguments[4];
		regs->r9 = arguments[5];
	} else {
		regs->rax = calls[call].number32;
		regs->rbx = arguments[0];
		regs->rcx = arguments[1];
		regs->rdx = arguments[2];
		regs->rsi = arguments[3];
		regs->rdi = arguments[4];
		regs->rbp = arguments[5];
	}
}

bool user_call_step(struct port_user *user, int signal, int *status)
{
	if (user_ptrace(PTRACE_SYSCALL, user->tid, 0, (void *)(long)signal) != 0 ||
	    user_wait((int32_t)user->tid, status) < 0)
		return false;
	if (WIFSTOPPED(*status) && *status >> 16 != PTRACE_EVENT_EXIT)
		return true;
	user->last_status = *status;
	user->last_status_valid = true;
	return false;
}

/*
 * True: it stands behind the call. SIGSTOP, which alone cannot be blocked, takes its course: the
 * host remembers that the program is stopped, and forgets it at SIGCONT. Were it kept back and sent
 * again, that SIGCONT might have come and gone. *stopped: it may be in such a stop.
 */
static bool run_through(struct port_user *user, int signal, bool *stopped)
{
	int status;
	for (int seen = 0; seen < 2;) { /* entry and exit of the call */
		host_delay();
		if (!user_call_step(user, signal, &status))
			return false;
		signal = 0;
		if (status >> 16 == 0 && WSTOPSIG(status) == (SIGTRAP | 0x80))
			seen++;
		else if (status >> 16 == 0)
			signal = WSTOPSIG(status);
		else if (WSTOPSIG(status) != SIGTRAP)
			*stopped = true;
	}
	return true;
}

int64_t user_call_run(struct port_user *user, const struct user_regs_struct *regs,
		      enum user_call call, const uint64_t arguments[6], bool *done)
{
	struct user_regs_struct now = *regs;
	uint64_t address, mask = 0, all = ~0ull;
	int64_t result = -ENOSYS;
	/* What it is stopped at now: another stop than a fault is over with this call. */
	int signal = user->stop == USER_STOP_SIGNAL && user->signal == SIGSTOP ? SIGSTOP : 0;
	bool stopped = user->stop == USER_STOP_GROUP || signal;
	unsigned bits = user_call_site(user, regs, &address);
	user->call_bits = bits;
	user->injected = true;
	*done = true;
	if (!bits)
		return result;
	user_call_prepare(&now, bits, address, call, arguments);
	*done = user_ptrace(PTRACE_GETSIGMASK, user->tid, sizeof mask, &mask) == 0 &&
		user_ptrace(PTRACE_SETSIGMASK, user->tid, sizeof all, &all) == 0 &&
		user_ptrace(PTRACE_SETREGS, user->tid, 0, &now) == 0 &&
		run_through(user, signal, &stopped) &&
		user_ptrace(PTRACE_GETREGS, user->tid, 0, &now) == 0;
	if (*done) {
		result = bits == 64 ? (int64_t)now.rax : (int32_t)now.rax;
		user_ptrace(PTRACE_SETSIGMASK, user->tid, sizeof mask, &mask);
	}
	if (user->stop == USER_STOP_GROUP || signal) {
		user->stop = USER_STOP_EVENT;
		user->signal = 0;
	}
	if (stopped) /* the host looks whether it still is before the program runs again */
		user_ptrace(PTRACE_INTERRUPT, user->tid, 0, NULL);
	return result;
}
