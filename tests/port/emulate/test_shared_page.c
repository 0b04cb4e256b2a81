/* SPDX-License-Identifier: MIT */
/* KUSER_SHARED_DATA: its fields, and time that never tears and never goes back. */
#define _GNU_SOURCE
#include "machine.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "port/linux/shared_page.h"

#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER 1
#elif defined(__has_feature)
#define THREAD_SANITIZER __has_feature(thread_sanitizer)
#else
#define THREAD_SANITIZER 0
#endif

#define ALIAS ((const unsigned char *)SHARED_PAGE_USER)

static uint32_t get32(unsigned offset)
{
	uint32_t value;

	memcpy(&value, ALIAS + offset, sizeof(value));
	return value;
}

/* What a driver's inline function reads: 8 bytes at once (PLT-7). */
static uint64_t get64(unsigned offset)
{
	uint64_t value;

	__asm__ volatile("movq (%1), %0" : "=r"(value) : "r"(ALIAS + offset) : "memory");
	return value;
}

/* What other drivers do: High1, Low, then High2, which must equal High1 (DEF-45). */
static bool try_time(unsigned offset, uint64_t *time)
{
	uint32_t high1, low, high2;

	__asm__ volatile("movl 4(%3), %0\n\tmovl (%3), %1\n\tmovl 8(%3), %2"
			 : "=&r"(high1), "=&r"(low), "=&r"(high2)
			 : "r"(ALIAS + offset)
			 : "memory");
	*time = (uint64_t)high1 << 32 | low;
	return high1 == high2;
}

/* They try until it does. */
static uint64_t get_time(unsigned offset, unsigned *retries)
{
	uint64_t time;

	while (!try_time(offset, &time)) {
		if (++*retries % 256 == 0) /* an update may be parked in the middle */
			sched_yield();
	}
	return time;
}

static void def44_fields(void **state)
{
	static const char root[] = "C\0:\0\\\0W\0i\0n\0d\0o\0w\0s\0\0";

	(void)state;
	assert_int_equal(get32(0x004), 0x0FA00000); /* TickCountMultiplier, DEF-46 */
	assert_memory_equal(ALIAS + 0x030, root, sizeof(root) - 1); /* NtSystemRoot */
	assert_int_equal(get32(0x260), 19045);
	assert_int_equal(get32(0x264), 1);
	assert_int_equal(ALIAS[0x268], 1);
	assert_int_equal(get32(0x26C), 10);
	assert_int_equal(get32(0x270), 0);
	assert_int_equal(get32(0x2D0), 0x100);
	assert_int_equal(ALIAS[0x2D4], 0);
	assert_true(get32(0x2E8) > 0);
}

static void def44_processor_features_are_the_hosts(void **state)
{
	const unsigned char *features = ALIAS + 0x274;

	(void)state;
	assert_int_equal(features[2], 1);  /* CMPXCHG8B: every x64 processor */
	assert_int_equal(features[6], 1);  /* SSE */
	assert_int_equal(features[10], 1); /* SSE2 */
	assert_int_equal(features[8], 1);  /* RDTSC */
	assert_int_equal(features[23], 1); /* fast fail */
	assert_int_equal(features[13], __builtin_cpu_supports("sse3") != 0);
	assert_int_equal(features[36], __builtin_cpu_supports("ssse3") != 0);
	assert_int_equal(features[37], __builtin_cpu_supports("sse4.1") != 0);
	assert_int_equal(features[38], __builtin_cpu_supports("sse4.2") != 0);
	assert_int_equal(features[39], __builtin_cpu_supports("avx") != 0);
	assert_int_equal(features[40], __builtin_cpu_supports("avx2") != 0);
	assert_int_equal(features[41], __builtin_cpu_supports("avx512f") != 0);
	assert_int_equal(features[0] + features[1], 0);
}

static void def43_alias_is_read_only_and_guarded(void **state)
{
	struct machine *m = machine_create();
	static const uint64_t unmapped[] = {SHARED_PAGE_USER - 1, SHARED_PAGE_USER + 0x1000,
					    SHARED_PAGE_USER + 0xFFFF};

	(void)state;
	m->before.gpr[RBX] = SHARED_PAGE_USER;
	MACHINE_RUN(m, 0x89, 0x03); /* mov [rbx], eax */
	assert_true(m->stopped);
	assert_int_equal(m->result, EMULATE_NOT_OURS);
	for (unsigned i = 0; i < sizeof(unmapped) / sizeof(unmapped[0]); i++) {
		m->before.gpr[RBX] = unmapped[i];
		MACHINE_RUN(m, 0x8A, 0x03); /* mov al, [rbx] */
		assert_true(m->stopped);
		assert_int_equal(m->result, EMULATE_NOT_OURS);
	}
	machine_destroy(m);
}

static void def43_a_taken_address_is_an_error(void **state)
{
	(void)state;
	assert_int_equal(shared_page_create(), EEXIST); /* by the page of setup() */
	assert_int_equal(get32(0x260), 19045);
}

static void plt7_update_writes_the_three_times(void **state)
{
	uint64_t time;

	(void)state;
	shared_page_update(0x01DA000012345678, 0x0000000300000004, 0x0000000500000006);
	assert_int_equal(get64(0x14), 0x01DA000012345678); /* SystemTime */
	assert_int_equal(get32(0x1C), 0x01DA0000);
	assert_int_equal(get64(0x08), 0x0000000300000004); /* InterruptTime */
	assert_int_equal(get32(0x10), 3);
	assert_int_equal(get64(0x320), 0x0000000500000006); /* TickCount */
	assert_int_equal(get32(0x328), 5);
	assert_int_equal(get32(0x330), 0); /* and nothing behind them */
	assert_int_equal(get32(0x20), 0);
	assert_true(try_time(0x14, &time));
	assert_int_equal(time, 0x01DA000012345678);
}

static void def45_time_does_not_go_back(void **state)
{
	(void)state;
	shared_page_update(0x300000000, 0x200000005, 0x100000007);
	shared_page_update(0x2FFFFFFFF, 0x1FFFFFFFF, 0x0FFFFFFFF);
	assert_int_equal(get64(0x14), 0x300000000);
	assert_int_equal(get32(0x1C), 3);
	assert_int_equal(get64(0x08), 0x200000005);
	assert_int_equal(get32(0x10), 2);
	assert_int_equal(get64(0x320), 0x100000007);
	assert_int_equal(get32(0x328), 1);
	shared_page_update(0x2FFFFFFFF, 0x200000006, 0x0FFFFFFFF); /* each on its own */
	assert_int_equal(get64(0x14), 0x300000000);
	assert_int_equal(get64(0x08), 0x200000006);
}

/* ---- An update that another one interrupts at every instruction ---- */

static const unsigned fields[] = {0x08, 0x14, 0x320};

static struct {
	unsigned countdown; /* interrupt at this instruction */
	uint64_t time;      /* with an update to this */
	bool interrupted, wrong;
} interruption;

static const uint64_t old_time = 0x7FFFFFFF0, new_time = 0x800000005;
static const uint64_t older_time = 0x800000002, newer_time = 0x900000000; /* than new_time */

static void reset_times(void)
{
	for (unsigned i = 0; i < 3; i++)
		memset(shared_page_bytes() + fields[i], 0, 12);
	shared_page_update(old_time, old_time, old_time);
}

static void on_trap(int number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	uint64_t time;

	(void)number;
	(void)info;
	if (--interruption.countdown != 0)
		return;
	uc->uc_mcontext.gregs[REG_EFL] &= ~0x100LL;
	shared_page_update(interruption.time, interruption.time, interruption.time);
	interruption.interrupted = true;
	for (unsigned i = 0; i < 3; i++) /* what the parked update left half done was finished */
		interruption.wrong |= !try_time(fields[i], &time) || time < interruption.time;
}

/* Sets or clears the trap flag; the 128 bytes below RSP are the compiler's. */
static inline __attribute__((always_inline)) void single_step(bool on)
{
	__asm__ volatile("leaq -128(%%rsp), %%rsp\n\tpushfq\n\tandq $~0x100, (%%rsp)\n\t"
			 "orq %0, (%%rsp)\n\tpopfq\n\tleaq 128(%%rsp), %%rsp"
			 :
			 : "r"(on ? 0x100ul : 0ul)
			 : "memory", "cc");
}

/* Returns false when the update had ended before the interruption. */
static bool interrupt_update(unsigned at, uint64_t with)
{
	uint64_t expected, time;

	reset_times();
	interruption.countdown = at;
	interruption.time = with;
	interruption.interrupted = interruption.wrong = false;
	single_step(true);
	shared_page_update(new_time, new_time, new_time);
	single_step(false);
	assert_false(interruption.wrong);
	expected = interruption.interrupted && with > new_time ? with : new_time;
	for (unsigned i = 0; i < 3; i++) {
		assert_true(try_time(fields[i], &time));
		assert_int_equal(time, expected);
	}
	return interruption.interrupted;
}

static void def45_an_update_interrupted_at_each_instruction(void **state)
{
	struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO}, old;
	unsigned steps = 0;

	(void)state;
	if (THREAD_SANITIZER) /* would step through its run-time, tens of thousands of instructions
			       */
		skip();
	assert_int_equal(sigaction(SIGTRAP, &action, &old), 0);
	do {
		steps++;
	} while (interrupt_update(steps, newer_time) && interrupt_update(steps, older_time));
	print_message("interrupted at %u instructions\n", steps - 1);
	assert_true(steps > 30);
	sigaction(SIGTRAP, &old, NULL);
}

/* ---- Readers and writers at once ---- */

#define WRITERS    2
#define READERS    2
#define NEW_VALUES 500u
#define TIME_STEP  0x30000001u /* a carry into the high word every fifth update */
#define EMULATED   500u

static _Atomic uint64_t clock_now;
static atomic_bool stop;

static void *writer(void *argument)
{
	(void)argument;
	while (!atomic_load(&stop)) {
		uint64_t now = atomic_fetch_add(&clock_now, TIME_STEP);

		shared_page_update(now, now, now);
	}
	return NULL;
}

struct reading {
	unsigned reads, backwards, ahead, retries, changes;
};

static void read_both_ways(unsigned field, uint64_t *last, struct reading *reading)
{
	uint64_t now = get_time(field, &reading->retries);

	reading->backwards += now < *last;
	reading->changes += now != *last;
	*last = now;
	now = get64(field);
	reading->backwards += now < *last;
	*last = now;
	reading->ahead += now > atomic_load(&clock_now);
}

static void *reader(void *argument)
{
	struct reading *reading = argument;
	uint64_t last[3] = {0};

	while (reading->changes < NEW_VALUES) {
		for (unsigned f = 0; f < 3; f++)
			read_both_ways(fields[f], &last[f], reading);
		if (++reading->reads % 1024 == 0) /* all share few processors */
			sched_yield();
	}
	return NULL;
}

static void def45_readers_never_see_time_torn_or_going_back(void **state)
{
	pthread_t writers[WRITERS], readers[READERS];
	struct reading readings[READERS] = {{0}};

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		memset(shared_page_bytes() + fields[i], 0, 12);
	atomic_store(&clock_now, 1);
	atomic_store(&stop, false);
	for (unsigned i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&writers[i], NULL, writer, NULL), 0);
	for (unsigned i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, reader, &readings[i]), 0);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	for (unsigned i = 0; i < READERS; i++) {
		print_message("%u reads: %u new values, %u retries\n", readings[i].reads * 3,
			      readings[i].changes, readings[i].retries);
		assert_int_equal(readings[i].backwards, 0);
		assert_int_equal(readings[i].ahead, 0);
	}
	for (unsigned i = 0; i < 3; i++) { /* all writers are done: the newest time is there */
		uint64_t time;

		assert_true(try_time(fields[i], &time));
		assert_int_equal(time, atomic_load(&clock_now) - TIME_STEP);
	}
}

/* ---- A driver's own loop, emulated, which brings its own updates ---- */

static void tick(struct machine *m)
{
	uint64_t now = atomic_fetch_add(&clock_now, TIME_STEP);

	(void)m;
	shared_page_update(now, now, now);
}

/* mov r8d, [rbx+0Ch]; mov r9d, [rbx+8]; cmp r8d, [rbx+10h]; jne back to the start */
static const unsigned char loop[] = {0x44, 0x8B, 0x43, 0x0C, 0x44, 0x8B, 0x4B,
				     0x08, 0x44, 0x3B, 0x43, 0x10, 0x75, 0xF2};

static void def45_a_drivers_read_loop_while_the_clock_runs(void **state)
{
	struct machine *m = machine_create();
	pthread_t thread;
	uint64_t last = 0, updates = 0;

	(void)state;
	atomic_store(&stop, false);
	assert_int_equal(pthread_create(&thread, NULL, writer, NULL), 0);
	m->on_page_update = tick;
	m->before.gpr[RBX] = SHARED_PAGE_KERNEL;
	for (unsigned i = 0; i < EMULATED; i++) {
		uint64_t now, before = atomic_load(&clock_now);

		machine_run(m, loop, sizeof(loop));
		assert_false(m->stopped);
		assert_int_equal(m->page_updates, m->emulated);
		now = m->after.gpr[R8] << 32 | m->after.gpr[R9];
		assert_true(now > last);
		assert_true(now >= before); /* the load itself brought the time up to date */
		last = now;
		updates += m->page_updates;
	}
	assert_true(updates >= 3 * EMULATED);
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	machine_destroy(m);
}

static void def44_destroy_gives_the_address_back(void **state)
{
	(void)state;
	shared_page_destroy();
	assert_null(shared_page_bytes());
	assert_int_equal(shared_page_create(), 0);
	assert_int_equal(get32(0x260), 19045);
	assert_int_equal(get64(0x08), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(def44_fields),
		cmocka_unit_test(def44_processor_features_are_the_hosts),
		cmocka_unit_test(def43_alias_is_read_only_and_guarded),
		cmocka_unit_test(def43_a_taken_address_is_an_error),
		cmocka_unit_test(plt7_update_writes_the_three_times),
		cmocka_unit_test(def44_destroy_gives_the_address_back),
		cmocka_unit_test(def45_time_does_not_go_back),
		cmocka_unit_test(def45_an_update_interrupted_at_each_instruction),
		cmocka_unit_test(def45_readers_never_see_time_torn_or_going_back),
		cmocka_unit_test(def45_a_drivers_read_loop_while_the_clock_runs),
	};

	return cmocka_run_group_tests(tests, machine_setup, machine_teardown);
}
