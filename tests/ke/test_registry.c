/* SPDX-License-Identifier: MIT */
/*
 * The callback registry, as it is, over a fake port: handles, order, and a race of readers against
 * writers. The same race is run over a registry that frees an entry as soon as it is unlinked
 * (wrong_registry.c): it must fail there, or this test proves nothing.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>
#include "ke/registry.h"
#include "tests/ke/fake_core.h"
#include "tests/ke/wrong_registry.h"

/* ---- Readers as processors: an odd sequence while a dispatch runs, as in ke/nmi.c ---- */

#define READERS 3

static _Atomic uint64_t sequences[READERS];

static void grace(void)
{
	for (int i = 0; i < READERS; i++) {
		uint64_t sequence = atomic_load(&sequences[i]);
		while ((sequence & 1) && atomic_load(&sequences[i]) == sequence)
			sched_yield();
	}
}

static void no_grace(void)
{
}

static struct ke_registry fresh(void)
{
	return (struct ke_registry){.name = "test", .family = 7, .grace = no_grace};
}

static int dummy;

/* ---- Handles ---- */

static void handles_are_checked_NMI_12(void **state)
{
	(void)state;
	struct ke_registry registry = fresh();
	assert_int_equal(ke_registry_deregister(&registry, NULL), STATUS_INVALID_HANDLE);
	assert_int_equal(ke_registry_deregister(&registry, &dummy), STATUS_INVALID_HANDLE);
	void *handle = ke_registry_register(&registry, &dummy, NULL, 0);
	assert_non_null(handle);
	assert_int_equal(ke_registry_deregister(&registry, (char *)handle + 1),
			 STATUS_INVALID_HANDLE);
	assert_int_equal(ke_registry_deregister(&registry, handle), STATUS_SUCCESS);
	assert_int_equal(ke_registry_deregister(&registry, handle), STATUS_INVALID_HANDLE);
	for (int i = 0; i < 100000; i++) {
		uint64_t garbage = (uint64_t)rand() << 33 ^ (uint64_t)rand();
		assert_int_equal(ke_registry_deregister(&registry, (void *)garbage),
				 STATUS_INVALID_HANDLE);
	}
}

static void a_slot_used_again_has_another_handle_NMI_12(void **state)
{
	(void)state;
	struct ke_registry registry = fresh();
	void *first = ke_registry_register(&registry, &dummy, NULL, 0);
	struct ke_registry_entry *slot = ke_registry_first(&registry);
	ke_registry_deregister(&registry, first);
	void *second = ke_registry_register(&registry, &dummy, NULL, 0);
	assert_ptr_equal(ke_registry_first(&registry), slot);
	assert_ptr_not_equal(first, second);
	assert_int_equal(ke_registry_deregister(&registry, first), STATUS_INVALID_HANDLE);
	assert_int_equal(ke_registry_deregister(&registry, second), STATUS_SUCCESS);
}

static void handles_of_another_family_do_not_match_NMI_12(void **state)
{
	(void)state;
	struct ke_registry one = fresh(), two = fresh();
	two.family = 8;
	void *handle = ke_registry_register(&one, &dummy, NULL, 0);
	ke_registry_register(&two, &dummy, NULL, 0);
	assert_int_equal(ke_registry_deregister(&two, handle), STATUS_INVALID_HANDLE);
	assert_int_equal(ke_registry_deregister(&one, handle), STATUS_SUCCESS);
}

static void the_same_routine_twice_has_two_entries_NMI_7(void **state)
{
	(void)state;
	struct ke_registry registry = fresh();
	void *first = ke_registry_register(&registry, &dummy, &dummy, 0);
	void *second = ke_registry_register(&registry, &dummy, &dummy, 0);
	assert_ptr_not_equal(first, second);
	assert_non_null(ke_registry_next(ke_registry_first(&registry)));
}

static void order_is_newest_first_and_stays_NMI_14(void **state)
{
	(void)state;
	struct ke_registry registry = fresh();
	void *handles[5];
	for (uintptr_t i = 0; i < 5; i++)
		handles[i] = ke_registry_register(&registry, &dummy, (void *)i, 0);
	ke_registry_deregister(&registry, handles[2]);
	static const uintptr_t expected[] = {4, 3, 1, 0};
	size_t at = 0;
	for (struct ke_registry_entry *e = ke_registry_first(&registry); e; e = ke_registry_next(e))
		assert_int_equal((uintptr_t)e->context, expected[at++]);
	assert_int_equal(at, 4);
}

static void there_is_no_limit_but_memory_NMI_8_NMI_5(void **state)
{
	(void)state;
	static void *handles[20000];
	struct ke_registry registry = fresh();
	fake_no_memory = true;
	assert_null(ke_registry_register(&registry, &dummy, NULL, 0));
	assert_null(ke_registry_first(&registry));
	fake_no_memory = false;
	for (int i = 0; i < 20000; i++)
		assert_non_null(handles[i] = ke_registry_register(&registry, &dummy, NULL, 0));
	for (int i = 0; i < 20000; i += 2)
		assert_int_equal(ke_registry_deregister(&registry, handles[i]), STATUS_SUCCESS);
	for (int i = 0; i < 20000; i++)
		assert_int_equal(ke_registry_deregister(&registry, handles[i]),
				 i % 2 ? STATUS_SUCCESS : STATUS_INVALID_HANDLE);
	assert_null(ke_registry_first(&registry));
}

/* ---- The race ---- */

/* A context that dies when its registration has ended: a call that finds it dead came too late. */
struct context {
	_Atomic uint32_t alive;
};

#define CONTEXTS 64

static struct context contexts[CONTEXTS];
static _Atomic uint64_t late_calls, calls;
static _Atomic bool stop;
static unsigned seed;

static void delay(unsigned *random)
{
	if (rand_r(random) % 8)
		return;
	struct timespec time = {.tv_nsec = rand_r(random) % 20000};
	nanosleep(&time, NULL);
}

static void call(struct context *context, unsigned *random)
{
	delay(random); /* an NMI callback may take its time */
	atomic_fetch_add(&calls, 1);
	if (!atomic_load(&context->alive))
		atomic_fetch_add(&late_calls, 1);
}

static struct ke_registry ours;
static bool race_wrong;

static void *reader(void *argument)
{
	size_t self = (size_t)argument;
	unsigned random = seed + (unsigned)self + 1;
	while (!atomic_load(&stop)) {
		atomic_fetch_add(&sequences[self], 1);
		if (race_wrong) {
			for (struct wrong_entry *e = wrong_first(); e; e = e->next)
				call(e->context, &random);
		} else {
			for (struct ke_registry_entry *e = ke_registry_first(&ours); e;
			     e = ke_registry_next(e))
				call(e->context, &random);
		}
		atomic_fetch_add(&sequences[self], 1);
		sched_yield();
	}
	return NULL;
}

static void writer_round(void **handles, unsigned *random)
{
	size_t i = (size_t)rand_r(random) % CONTEXTS;
	struct context *context = &contexts[i];
	if (!handles[i]) {
		atomic_store(&context->alive, 1);
		handles[i] = race_wrong ? wrong_register(context)
					: ke_registry_register(&ours, &dummy, context, 0);
		return;
	}
	if (race_wrong)
		wrong_deregister(handles[i]);
	else
		assert_int_equal(ke_registry_deregister(&ours, handles[i]), STATUS_SUCCESS);
	atomic_store(&context->alive, 0);
	handles[i] = NULL;
}

static uint64_t race(bool wrong, int rounds)
{
	pthread_t threads[READERS];
	void *handles[CONTEXTS] = {NULL};
	unsigned random = seed;
	race_wrong = wrong;
	ours = (struct ke_registry){.name = "race", .family = 1, .grace = grace};
	atomic_store(&stop, false);
	atomic_store(&late_calls, 0);
	atomic_store(&calls, 0);
	for (size_t i = 0; i < READERS; i++)
		pthread_create(&threads[i], NULL, reader, (void *)i);
	for (int i = 0; i < rounds && !(wrong && atomic_load(&late_calls)); i++)
		writer_round(handles, &random);
	while (!atomic_load(
		&calls)) /* a busy host: the readers have to have looked at least once */
		writer_round(handles, &random);
	atomic_store(&stop, true);
	for (size_t i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	return atomic_load(&late_calls);
}

static void no_call_after_deregistration_NMI_13(void **state)
{
	(void)state;
	assert_int_equal(race(false, 3000), 0);
}

static void unlink_then_free_is_caught_NMI_13(void **state)
{
	(void)state;
	assert_int_not_equal(race(true, 1000000), 0);
}

int main(int argc, char **argv)
{
	seed = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : (unsigned)time(NULL);
	printf("seed %u\n", seed);
	srand(seed);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handles_are_checked_NMI_12),
		cmocka_unit_test(a_slot_used_again_has_another_handle_NMI_12),
		cmocka_unit_test(handles_of_another_family_do_not_match_NMI_12),
		cmocka_unit_test(the_same_routine_twice_has_two_entries_NMI_7),
		cmocka_unit_test(order_is_newest_first_and_stays_NMI_14),
		cmocka_unit_test(there_is_no_limit_but_memory_NMI_8_NMI_5),
		cmocka_unit_test(no_call_after_deregistration_NMI_13),
		cmocka_unit_test(unlink_then_free_is_caught_NMI_13),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
