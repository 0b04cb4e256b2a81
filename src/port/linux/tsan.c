/* SPDX-License-Identifier: MIT */
/*
 * tsan.c: signals under ThreadSanitizer.
 *
 * Its runtime cannot be entered again, so it puts a signal off to the thread's next atomic
 * operation or intercepted call. A driver's code has neither: a driver that spins would never see
 * an interrupt or an NMI. But while driver code runs the runtime is not being entered. So the
 * kernel gets a handler of ours, which asks where the signal hit: in instrumented code it goes the
 * runtime's way, in a driver's code the real handler runs at once.
 *
 * A signal that was put off is lost to us when the thread returns to a driver without another
 * atomic operation. A thread without a baton therefore sends the signals of latched NMIs and
 * pending interrupts again until somebody has taken them.
 *
 * A signal also ends a sleep in the host (no SA_RESTART), so that the sleeper comes by an atomic
 * operation.
 *
 * Put-off handlers are called with all signals blocked; `late` gives them the mask that the kernel
 * would have given.
 *
 * What stays weaker than in other builds: an NMI in instrumented code hits the next atomic
 * operation and not any instruction; its frame says where the signal came, and changes to it have
 * no effect (nobody makes any); it runs on the thread's own stack.
 */
#include "port/linux/sanitize.h"
#if HOST_TSAN
#define _GNU_SOURCE
#include <link.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include "port/linux/host.h"

#define AGAIN_NS     200000
#define RANGES       256
#define MAXIMUM_CPUS 1280

/* The host's own form of struct sigaction. */
struct kernel_action {
	void (*handler)(int, siginfo_t *, void *);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};

static struct {
	void (*ours)(int, siginfo_t *, void *);
	void (*runtime)(int, siginfo_t *, void *);
	uint64_t mask; /* blocked while it runs */
} handlers[_NSIG];

/* The code of every object of the process; all else is drivers' code and stubs. */
static struct {
	uint64_t start, end;
} ranges[RANGES];
static unsigned range_count;

static struct port_cpu *cpus[MAXIMUM_CPUS];
static _Atomic uint32_t cpu_count;

static uint64_t mask_set(uint64_t mask)
{
	uint64_t before = 0;
	host_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, (long)&before, _NSIG / 8, 0, 0);
	return before;
}

static uint64_t interrupted_mask(const void *context)
{
	uint64_t mask;
	memcpy(&mask, &((const ucontext_t *)context)->uc_sigmask, sizeof mask);
	return mask;
}

/* What the runtime calls, sooner or later. */
static void late(int number, siginfo_t *info, void *context)
{
	uint64_t before = mask_set(interrupted_mask(context) | handlers[number].mask);
	handlers[number].ours(number, info, context);
	mask_set(before);
}

/* What the kernel calls. Not instrumented: it may have interrupted the runtime. */
__attribute__((disable_sanitizer_instrumentation)) static void first(int number, siginfo_t *info,
								     void *context)
{
	uint64_t rip = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	for (unsigned i = 0; i < range_count; i++) {
		if (rip - ranges[i].start < ranges[i].end - ranges[i].start) {
			uint64_t all = ~0ull, before = 0;
			host_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before,
				     _NSIG / 8, 0, 0);
			handlers[number].runtime(number, info, context);
			host_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, _NSIG / 8,
				     0, 0);
			return;
		}
	}
	handlers[number].ours(number, info, context);
}

static int add_ranges(struct dl_phdr_info *object, size_t size, void *unused)
{
	(void)size;
	(void)unused;
	for (unsigned i = 0; i < object->dlpi_phnum && range_count < RANGES; i++) {
		const ElfW(Phdr) *header = &object->dlpi_phdr[i];
		if (header->p_type != PT_LOAD || !(header->p_flags & PF_X))
			continue;
		ranges[range_count].start = object->dlpi_addr + header->p_vaddr;
		ranges[range_count++].end = object->dlpi_addr + header->p_vaddr + header->p_memsz;
	}
	return 0;
}

bool host_tsan_install(int number, const struct sigaction *action)
{
	struct sigaction put_off = *action;
	struct kernel_action kernel;
	if (!range_count)
		dl_iterate_phdr(add_ranges, NULL);
	handlers[number].ours = action->sa_sigaction;
	memcpy(&handlers[number].mask, &action->sa_mask, sizeof handlers[number].mask);
	if (!(action->sa_flags & SA_NODEFER))
		handlers[number].mask |= 1ull << (number - 1);
	put_off.sa_sigaction = late;
	if (sigaction(number, &put_off, NULL) ||
	    host_syscall(SYS_rt_sigaction, number, 0, (long)&kernel, _NSIG / 8, 0, 0))
		return false;
	handlers[number].runtime = kernel.handler;
	kernel.handler = first;
	kernel.flags &= ~(
		unsigned long)SA_RESTART; /* a thread that sleeps must get to an atomic operation */
	memcpy(&kernel.mask, &action->sa_mask, sizeof kernel.mask);
	return host_syscall(SYS_rt_sigaction, number, (long)&kernel, 0, _NSIG / 8, 0, 0) == 0;
}

void host_tsan_watch(struct port_cpu *cpu)
{
	uint32_t index = atomic_load(&cpu_count);
	if (index < MAXIMUM_CPUS) {
		cpus[index] = cpu;
		atomic_store(&cpu_count, index + 1);
	}
}

static void *again_main(void *unused)
{
	(void)unused;
	for (;;) {
		uint32_t count = atomic_load(&cpu_count);
		/* Many processors on few of the host's must find time between the signals. */
		const struct timespec pause = {.tv_nsec = AGAIN_NS * (1 + (long)count / 4)};
		for (uint32_t i = 0; i < count; i++) {
			struct port_cpu *cpu = cpus[i];
			if (atomic_load(&cpu->nmi))
				port_cpu_nmi(cpu);
			if (atomic_load(&cpu->pending))
				port_cpu_kick(cpu);
		}
		host_syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, (long)&pause, 0, 0, 0);
	}
	return NULL;
}

bool host_tsan_start(void)
{
	return host_device_start(again_main, NULL, "ketch-again");
}
#endif
