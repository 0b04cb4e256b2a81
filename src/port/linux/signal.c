/* SPDX-License-Identifier: MIT */
/*
 * signal.c: interrupts and NMIs as host signals (traps: trap.c) (DESIGN.md section 2).
 *
 * interrupt  SA_NODEFER, empty mask, on the interrupted stack: IRQL and the pending word are the
 * only mask. NMI        on the alternate stack, blocks itself (one running, one pending) and the
 * interrupt signal. trap       on the alternate stack, blocks the interrupt signal; decodes and
 * rewrites the context only. freeze     on the alternate stack, blocks nothing it needs: never
 * returns.
 *
 * Every handler trusts host_held_cpu alone (`holder == own id`, and not asleep while the baton is
 * lent), and saves errno.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "port/linux/host.h"
#include "port/linux/memcheck.h"
#include "port/linux/sanitize.h"

struct port_frame; /* a ucontext_t */

static ucontext_t *context_of(struct port_frame *frame)
{
	return (ucontext_t *)frame;
}

static void on_interrupt(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	int saved = errno;
	memcheck_enter(context);
	struct port_cpu *cpu = host_held_cpu();
	if (!cpu)
		host_user_interrupted(context);
	else
		ke_port_interrupt(cpu, context);
	memcheck_leave(context);
	errno = saved;
}

static void on_nmi(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	int saved = errno;
	memcheck_enter(context);
	struct port_cpu *cpu = host_held_cpu();
	host_delay();
	if (cpu && atomic_exchange(&cpu->nmi, 0))
		ke_port_nmi(cpu, context);
	errno = saved;
}

static void on_freeze(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	struct port_cpu *cpu = host_held_cpu();
	if (!cpu)
		return; /* the baton moved on; whoever has it is asked again */
	if (host_self->publishing)
		return; /* the report would wait behind its message; it is asked again */
	atomic_store(&cpu->frozen, (struct port_frame *)context);
	port_park();
}

static void on_hold(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)info;
	(void)context;
	int saved = errno;
	struct port_cpu *cpu = host_held_cpu();
	for (unsigned round = 0; cpu && ke_port_hold(cpu); round++)
		port_spin(round);
	errno = saved;
}

/* ---- Frames ---- */

void port_frame_read(const struct port_frame *frame, struct port_regs *regs)
{
	const greg_t *g = ((const ucontext_t *)frame)->uc_mcontext.gregs;
	*regs = (struct port_regs){
		.rax = (uint64_t)g[REG_RAX],
		.rcx = (uint64_t)g[REG_RCX],
		.rdx = (uint64_t)g[REG_RDX],
		.rbx = (uint64_t)g[REG_RBX],
		.rsp = (uint64_t)g[REG_RSP],
		.rbp = (uint64_t)g[REG_RBP],
		.rsi = (uint64_t)g[REG_RSI],
		.rdi = (uint64_t)g[REG_RDI],
		.r8 = (uint64_t)g[REG_R8],
		.r9 = (uint64_t)g[REG_R9],
		.r10 = (uint64_t)g[REG_R10],
		.r11 = (uint64_t)g[REG_R11],
		.r12 = (uint64_t)g[REG_R12],
		.r13 = (uint64_t)g[REG_R13],
		.r14 = (uint64_t)g[REG_R14],
		.r15 = (uint64_t)g[REG_R15],
		.rip = (uint64_t)g[REG_RIP],
		.rflags = (uint64_t)g[REG_EFL],
	};
}

uint64_t port_frame_rip(const struct port_frame *frame)
{
	return (uint64_t)((const ucontext_t *)frame)->uc_mcontext.gregs[REG_RIP];
}

void port_frame_write(struct port_frame *frame, const struct port_regs *regs)
{
	greg_t *g = context_of(frame)->uc_mcontext.gregs;
	g[REG_RAX] = (greg_t)regs->rax;
	g[REG_RCX] = (greg_t)regs->rcx;
	g[REG_RDX] = (greg_t)regs->rdx;
	g[REG_RBX] = (greg_t)regs->rbx;
	g[REG_RSP] = (greg_t)regs->rsp;
	g[REG_RBP] = (greg_t)regs->rbp;
	g[REG_RSI] = (greg_t)regs->rsi;
	g[REG_RDI] = (greg_t)regs->rdi;
	g[REG_R8] = (greg_t)regs->r8;
	g[REG_R9] = (greg_t)regs->r9;
	g[REG_R10] = (greg_t)regs->r10;
	g[REG_R11] = (greg_t)regs->r11;
	g[REG_R12] = (greg_t)regs->r12;
	g[REG_R13] = (greg_t)regs->r13;
	g[REG_R14] = (greg_t)regs->r14;
	g[REG_R15] = (greg_t)regs->r15;
	g[REG_RIP] = (greg_t)regs->rip;
	g[REG_EFL] = (greg_t)regs->rflags;
}

void port_frame_nmi_unblock(struct port_frame *frame)
{
	sigdelset(&context_of(frame)->uc_sigmask, HOST_SIGNAL_NMI);
}

void *port_frame_fxsave(struct port_frame *frame)
{
	return context_of(frame)->uc_mcontext.fpregs;
}

/* Where handlers return to: `mov $15, %rax; syscall`, with the ucontext_t on top of the stack. */
static uint64_t restorer;
#define RESTORER_SIZE 9

const struct port_frame *port_frame_at(uint64_t rip, uint64_t rsp)
{
	return restorer && rip - restorer < RESTORER_SIZE ? (const struct port_frame *)rsp : NULL;
}

/* The C library knows it, but tells only the kernel. */
static uint64_t find_restorer(void)
{
	struct {
		void *handler;
		unsigned long flags;
		uint64_t restorer;
		uint64_t mask;
	} action;
	if (syscall(SYS_rt_sigaction, HOST_SIGNAL_NMI, NULL, &action, sizeof action.mask) != 0)
		return 0;
	return action.restorer;
}

bool port_own_code(uint64_t address)
{
	extern const char __executable_start[], etext[];
	return address >= (uint64_t)__executable_start && address < (uint64_t)etext;
}

/* ---- Sending ---- */

void port_cpu_kick(struct port_cpu *cpu)
{
	if (host_idle_wake(cpu))
		return;
	uint32_t holder = atomic_load(&cpu->holder);
	if (holder)
		host_tgkill(holder, HOST_SIGNAL_INTERRUPT);
}

void port_cpu_nmi(struct port_cpu *cpu)
{
	host_delay();
	uint32_t holder = atomic_load(&cpu->holder);
	host_delay();
	if (holder)
		host_tgkill(holder, HOST_SIGNAL_NMI);
}

void port_cpu_hold(struct port_cpu *cpu)
{
	uint32_t holder = atomic_load(&cpu->holder);
	if (holder)
		host_tgkill(holder, HOST_SIGNAL_HOLD);
}

bool port_cpu_freeze(struct port_cpu *cpu, uint64_t wait_ns)
{
	uint64_t begin = port_time_ns();
	uint32_t asked = 0;
	for (unsigned round = 0; !atomic_load(&cpu->frozen); round++) {
		uint32_t holder = atomic_load(&cpu->holder);
		if (host_self && holder == host_self->tid)
			return false;
		/* Again after a while: the signal does nothing when it finds the thread between
		 * two turns. */
		if (holder && (holder != asked || round % 64 == 0))
			host_tgkill(asked = holder, HOST_SIGNAL_FREEZE);
		if (port_time_ns() - begin > wait_ns)
			return false;
		port_spin(round);
	}
	return true;
}

/* ---- Set-up ---- */

static bool install(int number, void (*handler)(int, siginfo_t *, void *), int flags,
		    const int *mask, size_t count)
{
	struct sigaction action;
	memset(&action, 0, sizeof action);
	action.sa_sigaction = handler;
	action.sa_flags = SA_SIGINFO | SA_RESTART | flags;
	sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < count; i++)
		sigaddset(&action.sa_mask, mask[i]);
#if HOST_TSAN
	return host_tsan_install(number, &action);
#else
	return sigaction(number, &action, NULL) == 0;
#endif
}

/* A traced program that stops would wake a thread of the host each time, to ignore the signal. */
static void silence_stops(void)
{
	struct sigaction action;
	if (sigaction(SIGCHLD, NULL, &action) == 0) {
		action.sa_flags |= SA_NOCLDSTOP;
		sigaction(SIGCHLD, &action, NULL);
	}
}

bool host_signals_install(void)
{
	static const int interrupt_only[] = {HOST_SIGNAL_INTERRUPT};
	static const int no_hold[] = {HOST_SIGNAL_INTERRUPT, HOST_SIGNAL_HOLD};
	static const int both[] = {HOST_SIGNAL_INTERRUPT, HOST_SIGNAL_NMI};
	static const int traps[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
	bool ok = install(HOST_SIGNAL_INTERRUPT, on_interrupt, SA_NODEFER, NULL, 0) &&
		  install(HOST_SIGNAL_NMI, on_nmi, SA_ONSTACK, no_hold, 2) &&
		  install(HOST_SIGNAL_HOLD, on_hold, SA_ONSTACK, interrupt_only, 1) &&
		  install(HOST_SIGNAL_FREEZE, on_freeze, SA_ONSTACK, both, 2);
	restorer = find_restorer();
	silence_stops();
	for (size_t i = 0; ok && i < sizeof traps / sizeof *traps; i++)
		ok = install(traps[i], host_on_trap, SA_ONSTACK | SA_NODEFER, no_hold, 2);
	return ok;
}

void host_signals_prepare_thread(struct port_thread *thread)
{
	stack_t stack = {.ss_sp = thread->alternate, .ss_size = HOST_ALTERNATE_SIZE};
	sigset_t ours;
	prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0); /* port_spin sleeps for microseconds */
	sigaltstack(&stack, NULL);
	/* The process's other signals (Ctrl-C, timers of the host) belong to threads without a
	 * baton. */
	sigfillset(&ours);
	sigdelset(&ours, HOST_SIGNAL_INTERRUPT);
	sigdelset(&ours, HOST_SIGNAL_NMI);
	sigdelset(&ours, HOST_SIGNAL_FREEZE);
	sigdelset(&ours, HOST_SIGNAL_HOLD);
	sigdelset(&ours, SIGSEGV);
	sigdelset(&ours, SIGBUS);
	sigdelset(&ours, SIGFPE);
	sigdelset(&ours, SIGILL);
	sigdelset(&ours, SIGTRAP);
	sigdelset(&ours, SIGABRT);
	pthread_sigmask(SIG_SETMASK, &ours, NULL);
}
