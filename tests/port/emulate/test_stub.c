/* SPDX-License-Identifier: MIT */
/*
 * Stubs as others see them: at every instruction boundary inside, under signals at any moment, from
 * several threads, and when the table is full (DEF-43, DEF-22: a stack walk in an NMI).
 */
#define _GNU_SOURCE
#include "machine.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "port/linux/shared_page.h"

#define KERNEL       SHARED_PAGE_KERNEL
#define TRAP_FLAG    0x100u
#define THREADS      4
#define LOADS        4000u /* a thread in the torture test */
#define SITES        16u
#define TABLE_SIZE   4096u
#define PATTERN(off) (0x0101010101010101u * ((off) / 8 % 251 + 1))

static void fill(void)
{
	for (unsigned offset = 0; offset < SHARED_PAGE_SIZE; offset += 8) {
		uint64_t value = PATTERN(offset);

		memcpy(shared_page_bytes() + offset, &value, sizeof(value));
	}
}

/* ---- Every boundary ---- */

static struct {
	unsigned size;        /* of the instruction under test */
	bool restore;         /* resume the restored context instead of the stub's */
	unsigned in_copy;     /* boundaries seen before the copy ran, or between its repetitions */
	unsigned behind_copy; /* and behind it */
	bool wrong;
} steps;

/* A context in a stub must read as the driver's: RIP at the instruction or the next one, RSI in the
 * page. */
static void on_step(struct machine *m, int number, ucontext_t *uc)
{
	uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP], original, body;
	ucontext_t copy = *uc;

	(void)number;
	if (!emulate_stub_lookup(rip, &original))
		return;
	body = machine_address(m, MACHINE_BODY);
	steps.in_copy += original == body;
	steps.behind_copy += original == body + steps.size;
	steps.wrong |= original != body && original != body + steps.size;
	steps.wrong |= !emulate_stub_restore(&copy);
	steps.wrong |= (uint64_t)copy.uc_mcontext.gregs[REG_RIP] != original;
	steps.wrong |= (uint64_t)copy.uc_mcontext.gregs[REG_RSI] - KERNEL >= SHARED_PAGE_SIZE;
	if (steps.restore) {
		steps.restore = false; /* once: a restored load starts over */
		memcpy(uc->uc_mcontext.gregs, copy.uc_mcontext.gregs,
		       sizeof(copy.uc_mcontext.gregs));
	}
}

static void step_through(const void *code, unsigned size, bool restore, unsigned in_copy)
{
	struct machine *m = machine_create();
	unsigned char target[16] = {0};

	memset(&steps, 0, sizeof(steps));
	steps.size = size;
	steps.restore = restore;
	m->on_signal = on_step;
	m->before.flags = MACHINE_FLAGS | TRAP_FLAG;
	m->before.gpr[RSI] = KERNEL + 0x100;
	m->before.gpr[RDI] = (uint64_t)target;
	m->before.gpr[RCX] = 3;
	machine_run(m, code, size);
	assert_false(m->stopped);
	assert_false(steps.wrong);
	assert_int_equal(steps.in_copy, in_copy);
	assert_int_equal(steps.behind_copy, 1);
	if (size == 3) { /* rep movsw */
		assert_int_equal(m->after.gpr[RSI], KERNEL + 0x106);
		assert_memory_equal(target, shared_page_bytes() + 0x100, 6);
	} else {
		assert_int_equal(m->after.gpr[RAX], PATTERN(0x108));
	}
	machine_destroy(m);
}

static void def43_each_boundary_in_a_stub_is_the_drivers(void **state)
{
	static const unsigned char load[] = {0x48, 0x8B, 0x46, 0x08}; /* mov rax, [rsi + 8] */
	static const unsigned char string[] = {0xF3, 0x66, 0xA5};     /* rep movsw, 3 times */

	(void)state;
	fill();
	/* The first boundary follows the first instruction of the stub. Each repetition is one. */
	step_through(load, sizeof(load), false, 0);
	step_through(string, sizeof(string), false, 2);
}

static void def43_a_restored_context_can_be_resumed(void **state)
{
	static const unsigned char string[] = {0xF3, 0x66, 0xA5};

	(void)state;
	fill();
	step_through(string, sizeof(string), true, 2);
}

static void def43_addresses_outside_stubs_are_not_looked_up(void **state)
{
	struct machine *m = machine_create();
	uint64_t original = 42, stub;
	ucontext_t uc = {0};

	(void)state;
	assert_false(emulate_stub_lookup(0, &original));
	assert_false(emulate_stub_lookup(machine_address(m, MACHINE_BODY), &original));
	assert_false(emulate_stub_lookup(~0ull, &original));
	assert_false(emulate_stub_restore(&uc));
	assert_int_equal(original, 42);

	m->before.gpr[RBX] = KERNEL;
	m->before.gpr[RAX] = 0;
	MACHINE_RUN(m, 0x48, 0xF7, 0x33); /* div qword [rbx], with rdx too large: #DE in the stub */
	assert_true(m->stopped);
	stub = m->stop_rip;
	assert_true(emulate_stub_lookup(stub, &original));
	assert_int_equal(original, machine_address(m, MACHINE_BODY));
	assert_false(emulate_stub_lookup(stub + 32, &original)); /* a slot that was never used */
	machine_destroy(m);                                      /* forgets */
	assert_false(emulate_stub_lookup(stub, &original));
}

/* ---- The table ---- */

/* mov eax, [rbx] at TABLE_SIZE places fills it; the next is refused until some are forgotten. */
static void def43_a_full_table_refuses_and_forgetting_helps(void **state)
{
	struct machine *m = machine_create();
	unsigned offset = MACHINE_BODY, refused = 0;
	static const unsigned char load[] = {0x8B, 0x03};

	(void)state;
	fill();
	m->before.gpr[RBX] = KERNEL + 0x20;
	for (unsigned i = 0; i < TABLE_SIZE; i++, offset += 2) {
		machine_run_at(m, offset, load, sizeof(load));
		assert_false(m->stopped);
		assert_int_equal(m->after.gpr[RAX], (uint32_t)PATTERN(0x20));
	}
	for (unsigned i = 0; i < 2; i++) { /* one more place, and a place that has its stub */
		machine_run_at(m, i ? offset - 2 : offset, load, sizeof(load));
		refused += m->stopped;
		assert_int_equal(m->stopped, i == 0);
	}
	assert_int_equal(refused, 1);

	emulate_stub_forget(machine_address(m, MACHINE_BODY), 2); /* the first place only */
	machine_run_at(m, offset, load, sizeof(load));
	assert_false(m->stopped);
	assert_int_equal(m->after.gpr[RAX], (uint32_t)PATTERN(0x20));
	machine_run_at(m, MACHINE_BODY, load, sizeof(load));
	assert_true(m->stopped);
	assert_int_equal(m->result, EMULATE_UNSUPPORTED);
	assert_int_equal(m->report.class, EMULATE_CLASS_SHARED_PAGE);
	assert_false(m->context_changed);
	machine_destroy(m);
}

static void def43_forgetting_is_exact(void **state)
{
	struct machine *m = machine_create();
	uint64_t place = machine_address(m, MACHINE_BODY), original, stub;

	(void)state;
	emulate_exit(); /* a table without other entries */
	assert_int_equal(emulate_init(), 0);
	m->before.gpr[RBX] = KERNEL;
	m->before.gpr[RAX] = 0;
	MACHINE_RUN(m, 0x48, 0xF7, 0x33); /* div qword [rbx] stops in the stub, and so shows it */
	stub = m->stop_rip;
	assert_true(emulate_stub_lookup(stub, &original));
	emulate_stub_forget(place - 16, 16);
	emulate_stub_forget(place + 1, 4096);
	emulate_stub_forget(place, 0);
	assert_true(emulate_stub_lookup(stub, &original));
	emulate_stub_forget(place, 1);
	assert_false(emulate_stub_lookup(stub, &original));
	machine_destroy(m);
}

/* An image that is loaded where another was, should nobody have forgotten it: bytes decide, not the
 * address alone. */
static void def43_new_code_at_an_old_address(void **state)
{
	struct machine *m = machine_create();

	(void)state;
	fill();
	m->before.gpr[RBX] = KERNEL + 0x20;
	MACHINE_RUN(m, 0x8B, 0x03); /* mov eax, [rbx] */
	assert_int_equal(m->after.gpr[RAX], (uint32_t)PATTERN(0x20));
	MACHINE_RUN(m, 0x8B, 0x0B); /* mov ecx, [rbx] */
	assert_int_equal(m->after.gpr[RAX], m->before.gpr[RAX]);
	assert_int_equal(m->after.gpr[RCX], (uint32_t)PATTERN(0x20));
	MACHINE_RUN(m, 0x8B, 0x43, 0x10); /* mov eax, [rbx + 16] */
	assert_int_equal(m->after.gpr[RAX], (uint32_t)PATTERN(0x30));
	machine_destroy(m);
}

/* One instruction that walks the page needs one stub: with one per address, the table would be
 * full. */
static void def43_one_stub_serves_every_address(void **state)
{
	struct machine *m = machine_create();

	(void)state;
	fill();
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned offset = 0; offset < SHARED_PAGE_SIZE; offset++) {
			m->before.gpr[RBX] = KERNEL + offset;
			MACHINE_RUN(m, 0x0F, 0xB6, 0x03); /* movzx eax, byte [rbx] */
			assert_false(m->stopped);
			assert_int_equal(m->after.gpr[RAX], PATTERN(offset) & 0xFF);
		}
	}
	machine_destroy(m);
}

/* ---- Threads ---- */

static unsigned char *common; /* code that all threads run: SITES functions of 16 bytes */
static atomic_uint failures, started, finished, in_stub;

/* An interrupt at any moment, as a preemption or an NMI: the context must always make sense. */
static void on_interrupt(struct machine *m, int number, ucontext_t *uc)
{
	uint64_t rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP], original;
	uint64_t own = machine_address(m, 0), shared = (uint64_t)common;

	(void)number;
	if (!emulate_stub_lookup(rip, &original))
		return;
	atomic_fetch_add(&in_stub, 1);
	if (original - own >= MACHINE_CODE_SIZE && original - shared >= SITES * 16)
		atomic_fetch_add(&failures, 1);
	if (rip % 2 && !emulate_stub_restore(uc)) /* some go back to the driver's code */
		atomic_fetch_add(&failures, 1);
}

static void hammer(struct machine *m, unsigned id)
{
	static const unsigned char call[] = {0xFF, 0xD2};             /* call rdx */
	static const unsigned char load[] = {0x4C, 0x8B, 0x43, 0x08}; /* mov r8, [rbx + 8] */
	static const unsigned char string[] = {0xF3, 0xA4};           /* rep movsb */
	unsigned char target[64];

	for (unsigned i = 0; i < LOADS; i++) {
		uint64_t offset = (i * 8 + id * 512) % (SHARED_PAGE_SIZE - sizeof(target));
		unsigned where = MACHINE_BODY + i % 64 * 16;
		bool right;

		m->before.gpr[RBX] = KERNEL + offset;
		m->before.gpr[RDX] = (uint64_t)common + i % SITES * 16;
		m->before.gpr[RSI] = KERNEL + offset;
		m->before.gpr[RDI] = (uint64_t)target;
		m->before.gpr[RCX] = sizeof(target);
		switch (i % 3) {
		case 0: /* a place of all threads */
			machine_run(m, call, sizeof(call));
			right = m->after.gpr[RAX] == PATTERN(offset);
			break;
		case 1: /* places of this thread */
			machine_run_at(m, where, load, sizeof(load));
			right = m->after.gpr[R8] == PATTERN(offset + 8);
			break;
		default:
			memset(target, 0, sizeof(target));
			machine_run_at(m, where, string, sizeof(string));
			right = memcmp(target, shared_page_bytes() + offset, sizeof(target)) == 0 &&
				m->after.gpr[RSI] == KERNEL + offset + sizeof(target);
			break;
		}
		if (!right || m->stopped)
			atomic_fetch_add(&failures, 1);
	}
}

static void *hammer_thread(void *argument)
{
	struct machine *m = machine_create();

	m->on_signal = on_interrupt;
	atomic_fetch_add(&started, 1);
	hammer(m, (unsigned)(uintptr_t)argument);
	atomic_fetch_add(&finished, 1);
	while (atomic_load(&finished) <= THREADS) /* stay until nobody signals any more */
		sched_yield();
	machine_destroy(m);
	return NULL;
}

static void def43_threads_and_signals_in_the_same_and_other_places(void **state)
{
	static const unsigned char site[] = {0x48, 0x8B, 0x03, 0xC3}; /* mov rax, [rbx]; ret */
	pthread_t threads[THREADS];

	(void)state;
	fill();
	common = mmap(NULL, SITES * 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(common, MAP_FAILED);
	for (unsigned i = 0; i < SITES; i++)
		memcpy(common + i * 16, site, sizeof(site));
	assert_int_equal(mprotect(common, SITES * 16, PROT_READ | PROT_EXEC), 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer_thread, (void *)i), 0);
	while (atomic_load(&started) < THREADS) /* they have no handler before */
		sched_yield();
	for (unsigned i = 0; atomic_load(&finished) < THREADS; i++) {
		pthread_kill(threads[i % THREADS], SIGUSR1);
		sched_yield();
	}
	atomic_fetch_add(&finished, 1);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	print_message("interrupted in a stub: %u times\n", atomic_load(&in_stub));
	assert_int_equal(atomic_load(&failures), 0);
	emulate_stub_forget((uint64_t)common, SITES * 16);
	munmap(common, SITES * 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(def43_each_boundary_in_a_stub_is_the_drivers),
		cmocka_unit_test(def43_a_restored_context_can_be_resumed),
		cmocka_unit_test(def43_addresses_outside_stubs_are_not_looked_up),
		cmocka_unit_test(def43_a_full_table_refuses_and_forgetting_helps),
		cmocka_unit_test(def43_forgetting_is_exact),
		cmocka_unit_test(def43_new_code_at_an_old_address),
		cmocka_unit_test(def43_one_stub_serves_every_address),
		cmocka_unit_test(def43_threads_and_signals_in_the_same_and_other_places),
	};

	return cmocka_run_group_tests(tests, machine_setup, machine_teardown);
}
