/* SPDX-License-Identifier: MIT */
/*
 * Threads that leave the kernel for user mode and enter it again, thousands of times, more of them
 * than processors, while kernel threads compete, NMIs and DPCs come, threads wait, migrate, take
 * APCs and end on processors that they borrowed (ke_thread_user_leave and _enter). No program is
 * traced: what a host thread does without a baton is a pause here.
 *
 *     user_entry [ROUNDS [SEED]]     prints PASS and FAIL lines; exit status 0 when all passed
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>
#include "ke/ke.h"
#include "ke/request.h"
#include "ketch/ketch.h"
#include "ps/ps.h"

#define PROCESSORS 4
#define USERS      6
#define KERNELS    2
#define CHILDREN   40 /* threads that end on a borrowed processor */

static int failures;
static uint32_t rounds = 2000, seed;

static struct {
	_Atomic uint32_t thread, irql, state, holder, affinity, twice, apc, dpc, wait, nmi;
} wrong;

static _Atomic uint32_t working, left, children_left; /* working: may still send an APC */
static _Atomic uint64_t borrowed, queued, entries, apcs_sent, apcs_run, dpcs_sent, dpcs_run, nmis;
static _Atomic(PKTHREAD) inside[PROCESSORS]; /* who is on this processor at DISPATCH_LEVEL */
static PKTHREAD users[USERS];
static KAPC apcs[USERS];
static _Atomic bool apc_busy[USERS];
static _Atomic bool begun, stop; /* begun: all threads are there, and in users[] */

struct worker {
	uint32_t number;
	uint64_t random;
};

static uint32_t below(struct worker *w, uint32_t limit)
{
	uint64_t x = w->random += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return (uint32_t)((x ^ (x >> 31)) % limit);
}

static uint32_t host_id(void)
{
	return (uint32_t)syscall(SYS_gettid);
}

static void check(bool condition, _Atomic uint32_t *counter)
{
	if (!condition)
		atomic_fetch_add(counter, 1);
}

static void pause_ns(long ns)
{
	uint64_t until = port_time_ns() + (uint64_t)ns;
	while (port_time_ns() < until)
		__builtin_ia32_pause();
}

/* ---- Interrupts ---- */

static BOOLEAN NTAPI on_nmi(PVOID context, BOOLEAN handled)
{
	(void)context;
	(void)handled;
	struct ke_processor *self = ke_this();
	atomic_fetch_add(&nmis, 1);
	check(atomic_load(&self->port.holder) == host_id() && self->irql == HIGH_LEVEL, &wrong.nmi);
	return TRUE;
}

static VOID NTAPI on_dpc(PKDPC dpc, PVOID context, PVOID unused1, PVOID unused2)
{
	(void)dpc;
	(void)unused1;
	(void)unused2;
	check(atomic_load(&ke_this()->port.holder) == host_id(), &wrong.dpc);
	atomic_fetch_add(&dpcs_run, 1);
	atomic_store((_Atomic bool *)context, false);
}

static VOID NTAPI on_apc(PKAPC apc, PKNORMAL_ROUTINE *normal, PVOID *context, PVOID *argument1,
			 PVOID *argument2)
{
	size_t to = (size_t)(apc - apcs);
	(void)normal;
	(void)context;
	(void)argument1;
	(void)argument2;
	check(ke_irql() == APC_LEVEL && users[to] == ke_thread(), &wrong.apc);
	atomic_fetch_add(&apcs_run, 1);
	atomic_store(&apc_busy[to], false);
}

static void send_apc(struct worker *w)
{
	size_t to = below(w, USERS);
	bool idle = false;
	if (!atomic_compare_exchange_strong(&apc_busy[to], &idle, true))
		return;
	KeInitializeApc(&apcs[to], users[to], OriginalApcEnvironment, on_apc, NULL, NULL,
			KernelMode, NULL);
	if (KeInsertQueueApc(&apcs[to], NULL, NULL, 0))
		atomic_fetch_add(&apcs_sent, 1);
	else
		atomic_store(&apc_busy[to], false);
}

static void send_dpc(struct worker *w)
{
	static KDPC dpcs[USERS + KERNELS];
	static _Atomic bool busy[USERS + KERNELS];
	bool idle = false;
	if (!atomic_compare_exchange_strong(&busy[w->number], &idle, true))
		return;
	KeInitializeDpc(&dpcs[w->number], on_dpc, &busy[w->number]);
	KeSetTargetProcessorDpc(&dpcs[w->number], (CCHAR)below(w, PROCESSORS));
	atomic_fetch_add(&dpcs_sent, 1);
	KeInsertQueueDpc(&dpcs[w->number], NULL, NULL);
}

/* ---- Threads ---- */

/* On a processor: is all as a running thread may expect? */
static void check_here(PKTHREAD me)
{
	check(ke_thread() == me, &wrong.thread);
	check(ke_irql() == PASSIVE_LEVEL, &wrong.irql);
	check(me->State == KE_THREAD_RUNNING, &wrong.state);
	KIRQL old = KeRaiseIrqlToDpcLevel();
	struct ke_processor *self = ke_this();
	check(self->current == me && me->processor == self, &wrong.thread);
	check(atomic_load(&self->port.holder) == host_id(), &wrong.holder);
	check(me->affinity.Mask >> self->number.Number & 1, &wrong.affinity);
	check(!atomic_exchange(&inside[self->index], me), &wrong.twice);
	pause_ns(300);
	check(atomic_exchange(&inside[self->index], NULL) == me, &wrong.twice);
	KeLowerIrql(old);
}

static void work(struct worker *w)
{
	LARGE_INTEGER time = {.QuadPart = -10ll * below(w, 200)};
	switch (below(w, 12)) {
	case 0:
		check(KeDelayExecutionThread(KernelMode, FALSE, &time) == STATUS_SUCCESS,
		      &wrong.wait);
		break;
	case 1:
		pause_ns(below(w, 60000));
		break;
	case 2:
		send_dpc(w);
		break;
	case 3:
		send_apc(w);
		break;
	case 4:
		KeSetSystemAffinityThread(1u << below(w, PROCESSORS) | 1u << below(w, PROCESSORS));
		break;
	case 5:
		KeRevertToUserAffinityThread();
		break;
	case 6:
		KeSetPriorityThread(ke_thread(), 6 + (KPRIORITY)below(w, 5));
		break;
	}
}

/* Once through user mode. */
static void excursion(struct worker *w, PKTHREAD me)
{
	ke_thread_user_leave();
	switch (below(w, 6)) {
	case 0:
		usleep(below(w, 300));
		break;
	case 1:
		sched_yield();
		break;
	default:
		pause_ns(below(w, 4000));
	}
	ke_thread_user_enter(me);
	atomic_fetch_add(&entries, 1);
	/* Only a hint, for the record: the port knows whether the processor is lent. */
	atomic_fetch_add(port_cpu_lent(&ke_this()->port) ? &borrowed : &queued, 1);
	check_here(me);
}

static void child(void *argument)
{
	struct worker w = {.number = 0, .random = (uint64_t)argument};
	excursion(&w, ke_thread());
	atomic_fetch_sub(&children_left, 1);
} /* ends on the processor that it has borrowed */

static void sleep_ms(void)
{
	LARGE_INTEGER time = {.QuadPart = -10000};
	KeDelayExecutionThread(KernelMode, FALSE, &time);
}

static void await_begin(void)
{
	while (!atomic_load(&begun))
		sleep_ms();
}

static void user(void *argument)
{
	struct worker *w = argument;
	PKTHREAD me = ke_thread();
	await_begin();
	for (uint32_t i = 0; i < rounds; i++) {
		excursion(w, me);
		work(w);
		if (w->number == 0 && i % (rounds / CHILDREN) == 0) {
			atomic_fetch_add(&children_left, 1);
			if (!NT_SUCCESS(ps_thread_create(NULL, child, (void *)(uint64_t)(i + seed),
							 NULL)))
				atomic_fetch_sub(&children_left, 1);
		}
	}
	KeRevertToUserAffinityThread();
	atomic_fetch_sub(&working, 1);
	/* Not yet gone when the last APC comes. */
	while ((atomic_load(&working) || atomic_load(&apc_busy[w->number])) && !atomic_load(&stop))
		sleep_ms();
	atomic_fetch_sub(&left, 1);
}

static void kernel(void *argument)
{
	struct worker *w = argument;
	await_begin();
	while (atomic_load(&working) > KERNELS) {
		check_here(ke_thread());
		work(w);
		LARGE_INTEGER time = {.QuadPart = -10ll * below(w, 400)};
		KeDelayExecutionThread(KernelMode, FALSE, &time);
	}
	atomic_fetch_sub(&working, 1);
	atomic_fetch_sub(&left, 1);
}

static void start(struct ke_command *command)
{
	static struct worker workers[USERS + KERNELS];
	(void)command;
	if (!KeRegisterNmiCallback(on_nmi, NULL))
		abort();
	for (uint32_t i = 0; i < USERS + KERNELS; i++) {
		workers[i] = (struct worker){.number = i, .random = seed * 1000003ull + i};
		if (!NT_SUCCESS(ps_thread_create(NULL, i < USERS ? user : kernel, &workers[i],
						 i < USERS ? &users[i] : NULL)))
			abort();
	}
	atomic_store(&begun, true);
}

/* ---- The host's side ---- */

static void *flood(void *unused)
{
	struct worker w = {.random = seed};
	while (!atomic_load(&stop)) {
		ketch_nmi_raise(below(&w, PROCESSORS));
		if (below(&w, 4) == 0)
			usleep(below(&w, 100));
	}
	return unused;
}

static void say(bool good, const char *what)
{
	printf("%s %s\n", good ? "PASS" : "FAIL", what);
	failures += !good;
}

static bool nmis_add_up(void)
{
	bool good = true;
	for (uint32_t i = 0; i < PROCESSORS; i++) {
		struct ketch_nmi_counts c;
		good &= ketch_nmi_counts(i, &c) && c.sent == c.delivered + c.coalesced + c.latched;
	}
	return good;
}

int main(int argc, char **argv)
{
	const struct ketch_options options = {.processors = PROCESSORS,
					      .maximum_processors = PROCESSORS,
					      .group_size = 64,
					      .verify = KETCH_VERIFY_OFF,
					      .ignore_unhandled_nmi = true};
	static struct ke_command command = {.run = start};
	rounds = argc > 1 ? (uint32_t)atoi(argv[1]) : rounds;
	seed = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : (uint32_t)time(NULL);
	if (rounds < CHILDREN)
		rounds = CHILDREN;
	printf("seed %u\n", seed);
	if (!ketch_boot(&options)) {
		fprintf(stderr, "user_entry: %s\n", ketch_message());
		return 2;
	}
	pthread_t thread;
	atomic_store(&working, USERS + KERNELS);
	atomic_store(&left, USERS + KERNELS);
	pthread_create(&thread, NULL, flood, NULL);
	ke_command_post(KE_COMMANDS_CONTROL, &command);
	const uint32_t limit_ms = 100000;
	uint32_t ms = 0;
	for (; (atomic_load(&left) || atomic_load(&children_left)) && ms < limit_ms; ms += 10)
		ketch_wait(10);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	ketch_wait(20);
	printf("user_entry: %ju entries, %ju on a borrowed processor; %ju NMIs, %ju APCs, %ju "
	       "DPCs\n",
	       (uintmax_t)entries, (uintmax_t)borrowed, (uintmax_t)nmis, (uintmax_t)apcs_run,
	       (uintmax_t)dpcs_run);
	if (ms >= limit_ms) {
		printf("left %u, children %u\n", left, children_left);
		for (uint32_t i = 0; i < USERS; i++)
			printf("thread %u: state %u, priority %d, affinity %#jx, processor %u, APC "
			       "%d %d\n",
			       i, users[i]->State, users[i]->priority,
			       (uintmax_t)users[i]->affinity.Mask, users[i]->processor->index,
			       apc_busy[i], users[i]->apc_pending);
		for (uint32_t i = 0; i < PROCESSORS; i++) {
			struct ke_processor *p = ke_processors[i];
			printf("processor %u: holder %u, asleep %u, pending %#x, irql %u, idle %d, "
			       "next %p, "
			       "off %d\n",
			       i, p->port.holder, p->port.asleep, p->port.pending, p->irql,
			       p->current == p->idle, (void *)p->next, p->interrupts_off);
		}
	}
	say(ms < limit_ms, "every thread comes back and ends");
	say(entries >= (uint64_t)USERS * rounds && borrowed > 0 && queued > 0,
	    "entries on borrowed processors and through the queues");
	say(!wrong.thread && !wrong.irql && !wrong.state, "the thread is the one that runs");
	say(!wrong.holder && !wrong.twice, "one holder of each processor");
	say(!wrong.affinity, "affinity");
	say(!wrong.apc && apcs_run == apcs_sent, "APCs run once, on their thread");
	say(!wrong.dpc && dpcs_run == dpcs_sent, "DPCs run once, on a holder");
	say(!wrong.wait, "waits end");
	say(!wrong.nmi && nmis > 0 && nmis_add_up(), "NMI-38 none lost, each on a holder");
	fflush(stdout);
	_exit(failures != 0);
}
