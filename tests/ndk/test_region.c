/* SPDX-License-Identifier: MIT */
/*
 * ndk's regions as they are, over a fake core: tokens, checks of an access, and the guarantee: when
 * the close of a region has returned, not one byte changes. The same race is run with a look-up
 * that checks once and copies without the gate (WRONG): bytes must change there, or this proves
 * nothing.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "ndk/mr_state.h"
#include "tests/ndk/fake_core.h"

/* Under ThreadSanitizer the race without the gate is an error by itself, and all is slow. */
#if defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static struct ndk_adapter adapter = {.privileged_token = 0xffffffff};
static struct ndk_pd pd = {.object.adapter = &adapter}, other_pd = {.object.adapter = &adapter};
static struct ndk_object owner;
static struct ke_processor processors[4];

/* ---- The state table ------------------------------------------------------------------------- */

#define IDS (-1) /* STATUS_INVALID_DEVICE_STATE */
#define IP  (-2) /* STATUS_INVALID_PARAMETER */

/* NDK-128 once more: Register, Deregister, InitFastReg, FastRegister, Invalidate, Bind, Close. */
static const struct {
	enum ndk_mr_state state;
	int next[NDK_MR_ASKED];
} expected[] = {
	{NDK_MR_CREATED, {NDK_MR_REGISTERING, IDS, IP, IP, IP, IDS, NDK_MR_CLOSED}},
	{NDK_MR_REGISTERING, {IDS, IDS, IP, IP, IP, IDS, IDS}},
	{NDK_MR_REGISTERED,
	 {IDS, NDK_MR_DEREGISTERING, IP, IP, IP, NDK_MR_REGISTERED, NDK_MR_CLOSED}},
	{NDK_MR_DEREGISTERING, {IDS, IDS, IP, IP, IP, IDS, IDS}},
	{NDK_MR_FAST_CREATED, {IP, IP, NDK_MR_INITIALIZING, IDS, IDS, IP, NDK_MR_CLOSED}},
	{NDK_MR_INITIALIZING, {IP, IP, IDS, IDS, IDS, IP, IDS}},
	{NDK_MR_INITIALIZED, {IP, IP, NDK_MR_INITIALIZING, NDK_MR_FAST, IDS, IP, NDK_MR_CLOSED}},
	{NDK_MR_FAST, {IP, IP, IDS, IDS, NDK_MR_INITIALIZED, NDK_MR_FAST, NDK_MR_CLOSED}},
	{NDK_MR_CLOSED, {IDS, IDS, IDS, IDS, IDS, IDS, IDS}},
};

static void state_table_NDK_128(void **unused)
{
	(void)unused;
	assert_int_equal(sizeof expected / sizeof expected[0], NDK_MR_STATES);
	for (unsigned row = 0; row < NDK_MR_STATES; row++) {
		for (unsigned event = 0; event < NDK_MR_ASKED; event++) {
			_Atomic uint32_t state = expected[row].state;
			int next = expected[row].next[event];
			NTSTATUS status = ndk_mr_step(&state, (enum ndk_mr_event)event);
			assert_int_equal(status, next == IDS  ? STATUS_INVALID_DEVICE_STATE
						 : next == IP ? STATUS_INVALID_PARAMETER
							      : STATUS_SUCCESS);
			assert_int_equal(state, next < 0 ? (int)expected[row].state : next);
		}
	}
	_Atomic uint32_t state = NDK_MR_CREATED;
	assert_int_equal(ndk_mr_step(&state, NDK_MR_REGISTER), STATUS_SUCCESS);
	assert_int_equal(ndk_mr_step(&state, NDK_MR_DEREGISTER_DONE), STATUS_INTERNAL_ERROR);
	assert_int_equal(ndk_mr_step(&state, NDK_MR_REGISTER_DONE), STATUS_SUCCESS);
	assert_int_equal(state, NDK_MR_REGISTERED);
}

/* ---- Tokens ---------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

#define TOKENS (SANITIZED ? 50000u : 1000000u)

/* No value comes back within a million registrations, and none is 0. */
static void tokens_do_not_come_back_NDK_123(void **unused)
{
	(void)unused;
	static uint32_t tokens[1000000];
	for (unsigned i = 0; i < TOKENS; i++) {
		struct ndk_region *region = ndk_region_take();
		assert_non_null(region);
		tokens[i] = ndk_region_token(region);
		assert_int_not_equal(tokens[i], 0);
		ndk_region_give(region);
	}
	qsort(tokens, TOKENS, sizeof tokens[0], compare);
	for (unsigned i = 1; i < TOKENS; i++)
		assert_int_not_equal(tokens[i], tokens[i - 1]);
}

/* Neighbours in time are not neighbours in value: of 4096 pairs few differ by less than 2^16, and
 * every bit changes in about half of the steps. */
static void tokens_are_unguessable(void **unused)
{
	(void)unused;
	unsigned near = 0, flips[32] = {0};
	uint32_t last = 0;
	for (unsigned i = 0; i < 4096; i++) {
		struct ndk_region *region = ndk_region_take();
		uint32_t token = ndk_region_token(region), difference = token - last;
		near += difference < 65536 || -difference < 65536;
		for (unsigned bit = 0; bit < 32; bit++)
			flips[bit] += (token ^ last) >> bit & 1;
		last = token;
		ndk_region_give(region);
	}
	assert_true(near < 32);
	for (unsigned bit = 0; bit < 32; bit++)
		assert_in_range(flips[bit], 4096 / 4, 4096 * 3 / 4);
}

static void turned_tokens_keep_the_slot_NDK_124(void **unused)
{
	(void)unused;
	uint32_t token = 0x123456ff;
	assert_int_equal(ndk_token_turn(token), 0x12345600);
	assert_int_equal(ndk_token_turn(0xff), 1); /* never 0 */
	assert_int_equal(ndk_token_turn(0x12345600), 0x12345601);
}

static void slots_run_out(void **unused)
{
	(void)unused;
	static struct ndk_region *taken[NDK_REGIONS];
	unsigned count = 0;
	while ((taken[count] = ndk_region_take()))
		count++;
	assert_int_equal(count, NDK_REGIONS_LIMIT);
	ndk_region_give(taken[--count]);
	taken[count] = ndk_region_take();
	assert_non_null(taken[count++]);
	while (count)
		ndk_region_give(taken[--count]);
}

/* ---- Checks of an access (NDK-109a, NDK-133) ------------------------------------------------- */

#define START UINT64_C(0xdead000000000123) /* any number (DEF-92) */

static struct ndk_region *region_of(char *memory, uint64_t length, unsigned rights)
{
	struct ndk_region *region = ndk_region_take();
	struct ndk_backing backing = {.base = memory};
	ndk_region_set(region, &owner, &pd, START, length, rights, &backing);
	ndk_region_open(region);
	return region;
}

static NTSTATUS try(struct ndk_pd *in, uint32_t token, uint64_t address, uint64_t length,
		    unsigned rights)
{
	struct ndk_access access;
	NTSTATUS status = ndk_access_begin(in, token, address, length, rights, &access);
	if (NT_SUCCESS(status))
		ndk_access_end(&access);
	return status;
}

static void an_access_is_checked_NDK_109a(void **unused)
{
	(void)unused;
	static char memory[8192];
	struct ndk_region *region = region_of(memory, sizeof memory, NDK_RIGHT_REMOTE_READ);
	uint32_t token = ndk_region_token(region);
	struct ndk_access access;
	KIRQL old = ke_irql_raise(DISPATCH_LEVEL);
	assert_int_equal(
		ndk_access_begin(&pd, token, START + 100, 50, NDK_RIGHT_REMOTE_READ, &access),
		STATUS_SUCCESS);
	assert_ptr_equal(access.data, memory + 100);
	assert_int_equal(access.length, 50);
	ndk_access_end(&access);
	assert_int_equal(try(&pd, token, START, 8192, NDK_RIGHT_REMOTE_READ), STATUS_SUCCESS);
	assert_int_equal(try(&pd, token, START, 8193, NDK_RIGHT_REMOTE_READ),
			 STATUS_REMOTE_RESOURCES);
	assert_int_equal(try(&pd, token, START + 8192, 1, NDK_RIGHT_REMOTE_READ),
			 STATUS_REMOTE_RESOURCES);
	assert_int_equal(try(&pd, token, START - 1, 1, NDK_RIGHT_REMOTE_READ),
			 STATUS_REMOTE_RESOURCES);
	/* length + offset overflows */
	assert_int_equal(try(&pd, token, START + 4096, UINT64_MAX - 100, NDK_RIGHT_REMOTE_READ),
			 STATUS_REMOTE_RESOURCES);
	assert_int_equal(try(&pd, token, START + 4096, 0xffffffffffffff00, NDK_RIGHT_REMOTE_READ),
			 STATUS_REMOTE_RESOURCES);
	assert_int_equal(try(&pd, token, START, 1, NDK_RIGHT_REMOTE_WRITE),
			 STATUS_ACCESS_VIOLATION);
	assert_int_equal(try(&other_pd, token, START, 1, NDK_RIGHT_REMOTE_READ),
			 STATUS_ACCESS_VIOLATION);
	assert_int_equal(try(&pd, token ^ 1, START, 1, NDK_RIGHT_REMOTE_READ),
			 STATUS_ACCESS_VIOLATION);
	assert_int_equal(try(&pd, 0, START, 1, NDK_RIGHT_REMOTE_READ), STATUS_ACCESS_VIOLATION);
	/* the privileged token: never for peers */
	assert_int_equal(try(&pd, 0xffffffff, (uint64_t)memory, 1, NDK_RIGHT_REMOTE_READ),
			 STATUS_ACCESS_VIOLATION);
	assert_int_equal(try(&pd, 0xffffffff, (uint64_t)memory, 1, NDK_RIGHT_LOCAL_WRITE),
			 STATUS_SUCCESS);
	assert_int_equal(try(&pd, 0xffffffff, 4096, 1, NDK_RIGHT_LOCAL_WRITE),
			 STATUS_ACCESS_VIOLATION);
	assert_false(ndk_region_close(region));
	assert_int_equal(try(&pd, token, START, 1, NDK_RIGHT_REMOTE_READ), STATUS_ACCESS_VIOLATION);
	ndk_region_give(region);
	assert_int_equal(try(&pd, token, START, 1, NDK_RIGHT_REMOTE_READ), STATUS_ACCESS_VIOLATION);
	ke_irql_lower(old);
}

/* Bytes that lie in single pages come in pieces, whole runs of pages in one. */
static void pages_come_in_pieces(void **unused)
{
	(void)unused;
	static char memory[6 * NDK_PAGE_SIZE] __attribute__((aligned(4096)));
	/* 0 1 | 4 | 2 3: three runs */
	char *pages[] = {memory,
			 memory + NDK_PAGE_SIZE,
			 memory + 4 * NDK_PAGE_SIZE,
			 memory + 2 * NDK_PAGE_SIZE,
			 memory + 3 * NDK_PAGE_SIZE,
			 NULL};
	struct ndk_backing backing = {.pages = pages, .page_count = 5, .offset = 100};
	struct ndk_region *region = ndk_region_take();
	uint64_t length = 5 * NDK_PAGE_SIZE - 200, at = 0;
	ndk_region_set(region, &owner, &pd, START, length, NDK_RIGHT_LOCAL_READ, &backing);
	ndk_region_open(region);
	static const size_t pieces[] = {2 * NDK_PAGE_SIZE - 100, NDK_PAGE_SIZE,
					2 * NDK_PAGE_SIZE - 100};
	char *const data[] = {memory + 100, memory + 4 * NDK_PAGE_SIZE, memory + 2 * NDK_PAGE_SIZE};
	KIRQL old = ke_irql_raise(DISPATCH_LEVEL);
	for (unsigned i = 0; i < 3; i++) {
		struct ndk_access access;
		assert_int_equal(ndk_access_begin(&pd, ndk_region_token(region), START + at,
						  length - at, NDK_RIGHT_LOCAL_READ, &access),
				 STATUS_SUCCESS);
		assert_int_equal(access.length, pieces[i]);
		assert_ptr_equal(access.data, data[i]);
		at += access.length;
		ndk_access_end(&access);
	}
	assert_int_equal(at, length);
	struct ndk_run runs[3];
	assert_int_equal(ndk_backing_runs(&backing, 0, length, runs, 3), 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_ptr_equal(runs[i].base, data[i]);
		assert_int_equal(runs[i].size, pieces[i]);
	}
	assert_int_equal(ndk_backing_runs(&backing, 0, length, runs, 1), 3);
	assert_int_equal(runs[0].size, pieces[0]);
	ke_irql_lower(old);
	ndk_region_close(region);
	ndk_region_give(region);
}

/* ---- MDLs (NDK-121) -------------------------------------------------------------------------- */

struct test_mdl {
	MDL mdl;
	PFN_NUMBER frames[8];
};

static char *const va = (char *)0x7000000;

static void describe(struct test_mdl *test, size_t from, size_t length, PFN_NUMBER frame)
{
	memset(test, 0, sizeof *test);
	test->mdl.StartVa = va + (from & ~(size_t)0xfff);
	test->mdl.ByteOffset = from & 0xfff;
	test->mdl.ByteCount = (ULONG)length;
	test->mdl.MdlFlags = MDL_SOURCE_IS_NONPAGED_POOL;
	for (unsigned i = 0; i < 8; i++)
		test->frames[i] = frame + i;
}

static void an_mdl_chain_is_checked_NDK_121(void **unused)
{
	(void)unused;
	struct test_mdl one, two;
	struct ndk_backing backing;
	bool unlocked;
	describe(&one, 0x10, 0x2ff0, 0x100);
	assert_int_equal(ndk_backing_of_mdl(NULL, 1, &backing, &unlocked),
			 STATUS_INVALID_PARAMETER);
	assert_int_equal(ndk_backing_of_mdl(&one.mdl, 0, &backing, &unlocked),
			 STATUS_INVALID_PARAMETER);
	assert_int_equal(ndk_backing_of_mdl(&one.mdl, 0x2ff1, &backing, &unlocked),
			 STATUS_INVALID_PARAMETER);
	assert_int_equal(ndk_backing_of_mdl(&one.mdl, 0x2ff0, &backing, &unlocked), STATUS_SUCCESS);
	assert_ptr_equal(backing.base, (char *)0x100010);

	/* a chain that goes on where the first ends, frames too: one piece */
	describe(&two, 0x3000, 0x1000, 0x103);
	one.mdl.Next = &two.mdl;
	assert_int_equal(ndk_backing_of_mdl(&one.mdl, 0x3ff0, &backing, &unlocked), STATUS_SUCCESS);
	assert_ptr_equal(backing.base, (char *)0x100010);
	/* other frames: a table */
	describe(&two, 0x3000, 0x1000, 0x203);
	assert_int_equal(ndk_backing_of_mdl(&one.mdl, 0x3ff0, &backing, &unlocked), STATUS_SUCCESS);
	assert_null(backing.base);
	assert_int_equal(backing.page_count, 4);
	assert_int_equal(backing.offset, 0x10);
	assert_ptr_equal(backing.pages[2], (char *)0x102000);
	assert_ptr_equal(backing.pages[3], (char *)0x203000);
	ndk_backing_free(&backing);
	/* a gap between the addresses */
	describe(&two, 0x3001, 0x1000, 0x103);
	assert_int_equal(ndk_backing_of_mdl(&one.mdl, 0x3ff0, &backing, &unlocked),
			 STATUS_INVALID_PARAMETER);
	/* ... that the length does not reach */
	assert_int_equal(ndk_backing_of_mdl(&one.mdl, 0x2ff0, &backing, &unlocked), STATUS_SUCCESS);
	/* two MDLs that meet in one page, which must be the same */
	describe(&one, 0x10, 0x2800, 0x100);
	describe(&two, 0x2810, 0x400, 0x102);
	one.mdl.Next = &two.mdl;
	assert_int_equal(ndk_backing_of_mdl(&one.mdl, 0x2c00, &backing, &unlocked), STATUS_SUCCESS);
	assert_ptr_equal(backing.base, (char *)0x100010);
	describe(&two, 0x2810, 0x400, 0x105);
	assert_int_equal(ndk_backing_of_mdl(&one.mdl, 0x2c00, &backing, &unlocked),
			 STATUS_INVALID_PARAMETER);
	/* not locked */
	assert_false(unlocked);
	one.mdl.MdlFlags = 0;
	assert_int_equal(ndk_backing_of_mdl(&one.mdl, 0x100, &backing, &unlocked),
			 STATUS_INVALID_PARAMETER);
	assert_true(unlocked);
	/* nothing in between */
	describe(&one, 0x10, 0, 0x100);
	describe(&two, 0x10, 0x1000, 0x100);
	one.mdl.Next = &two.mdl;
	assert_int_equal(ndk_backing_of_mdl(&one.mdl, 0x800, &backing, &unlocked), STATUS_SUCCESS);
	assert_ptr_equal(backing.base, (char *)0x100010);
	/* a user's */
	describe(&one, 0, 0x1000, 0x100);
	one.mdl.MdlFlags = MDL_PAGES_LOCKED;
	one.mdl.Process = (PEPROCESS)&one;
	assert_int_equal(ndk_backing_of_mdl(&one.mdl, 0x800, &backing, &unlocked),
			 STATUS_NOT_SUPPORTED);
	/* frames of a single MDL that do not follow each other */
	describe(&one, 0, 0x8000, 0x100);
	one.frames[5] = 0x500;
	assert_int_equal(ndk_backing_of_mdl(&one.mdl, 0x8000, &backing, &unlocked), STATUS_SUCCESS);
	assert_ptr_equal(backing.pages[5], (char *)0x500000);
	ndk_backing_free(&backing);
	one.frames[5] = 1; /* no memory */
	assert_int_equal(ndk_backing_of_mdl(&one.mdl, 0x8000, &backing, &unlocked),
			 STATUS_INVALID_PARAMETER);
}

/* ---- Not one byte ---------------------------------------------------------------------------- */

#define MEMORY (1u << 20)

static char target[MEMORY];
static _Atomic uint32_t token_now;
static _Atomic bool stop;
static _Atomic uint64_t written;
static bool wrong;

/* A peer: writes its half of the region again and again, in pieces, until it is refused. */
static void *peer(void *argument)
{
	struct ke_processor *processor = argument;
	uint64_t from = processor == &processors[1] ? 0 : MEMORY / 2, to = from + MEMORY / 2;
	fake_processor_enter(processor);
	unsigned char fill = 1;
	while (!atomic_load(&stop)) {
		uint32_t token = atomic_load(&token_now);
		for (uint64_t at = from; at < to;) {
			struct ndk_access access;
			KIRQL old = ke_irql_raise(DISPATCH_LEVEL);
			NTSTATUS status = ndk_access_begin(&pd, token, START + at, to - at,
							   NDK_RIGHT_REMOTE_WRITE, &access);
			if (!NT_SUCCESS(status)) {
				ke_irql_lower(old);
				break;
			}
			if (wrong)
				ndk_access_end(&access);
			memset(access.data, fill, access.length);
			if (!wrong)
				ndk_access_end(&access);
			atomic_fetch_add(&written, access.length);
			ke_irql_lower(old);
			at += access.length;
		}
		fill = (unsigned char)(fill % 100 + 1);
	}
	return NULL;
}

/* Close after some writes, mark every byte, give the peers time, count the marks that are gone. */
static uint64_t rounds(unsigned count, uint64_t enough)
{
	pthread_t threads[2];
	uint64_t changed = 0;
	atomic_store(&stop, false);
	atomic_store(&token_now, 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, peer, &processors[1 + i]), 0);
	for (unsigned round = 0; round < count && changed <= enough; round++) {
		struct ndk_region *region = region_of(target, MEMORY, NDK_RIGHT_REMOTE_WRITE);
		uint64_t before = atomic_load(&written);
		atomic_store(&token_now, ndk_region_token(region));
		while (atomic_load(&written) < before + 2 * NDK_CHUNK)
			port_spin(round);
		ndk_region_close(region);
		memset(target, 0xee, MEMORY);
		struct timespec pause = {.tv_nsec = 200000};
		nanosleep(&pause, NULL);
		for (unsigned i = 0; i < MEMORY; i++)
			changed += target[i] != (char)0xee;
		ndk_region_give(region);
	}
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	return changed;
}

static void not_one_byte_after_the_close(void **unused)
{
	(void)unused;
	wrong = false;
	assert_int_equal(rounds(SANITIZED ? 10 : 200, 0), 0);
}

#if !SANITIZED
static void without_the_gate_bytes_change(void **unused)
{
	(void)unused;
	wrong = true;
	assert_true(rounds(20000, 0) > 0);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(state_table_NDK_128),
		cmocka_unit_test(tokens_do_not_come_back_NDK_123),
		cmocka_unit_test(tokens_are_unguessable),
		cmocka_unit_test(turned_tokens_keep_the_slot_NDK_124),
		cmocka_unit_test(slots_run_out),
		cmocka_unit_test(an_access_is_checked_NDK_109a),
		cmocka_unit_test(pages_come_in_pieces),
		cmocka_unit_test(an_mdl_chain_is_checked_NDK_121),
		cmocka_unit_test(not_one_byte_after_the_close),
#if !SANITIZED
		cmocka_unit_test(without_the_gate_bytes_change),
#endif
	};
	fake_processor_enter(&processors[0]);
	ndk_regions_initialize();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
