/* SPDX-License-Identifier: MIT */
/* pool_test: the pool's arithmetic and its judgements, in an ordinary program (fake_core). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>
#include "ex/pool.h"
#include "mm/mm.h"
#include "tests/ex/fake_core.h"

#define TAG 0x74736574u /* "test" */

static int begin(void **state)
{
	(void)state;
	fake_findings_clear();
	ex_pool_fail_after(UINT64_MAX);
	ke_irql_set(PASSIVE_LEVEL);
	return 0;
}

static void *take(POOL_TYPE type, size_t size)
{
	void *block = ExAllocatePoolWithTag(type, size, TAG);
	assert_non_null(block);
	return block;
}

static void no_findings(void)
{
	if (fake_findings.count)
		fail_msg("%s", fake_findings.text);
}

static void finding(enum vf_rule rule)
{
	assert_int_equal(fake_findings.count, 1);
	assert_int_equal(fake_findings.rule, rule);
	fake_findings_clear();
}

static void plt47_alignment_and_pages(void **state)
{
	(void)state;
	for (size_t size = 1; size < 3 * PAGE_SIZE; size += size < 600 ? 1 : 37) {
		char *block = take(NonPagedPoolNx, size);
		assert_int_equal((uintptr_t)block % 16, 0);
		if (size >= PAGE_SIZE)
			assert_int_equal((uintptr_t)block % PAGE_SIZE, 0);
		else
			assert_int_equal((uintptr_t)block / PAGE_SIZE,
					 ((uintptr_t)block + size - 1) / PAGE_SIZE);
		memset(block, 0x11, size);
		ExFreePoolWithTag(block, TAG);
	}
	no_findings();
}

static void plt47_cache_aligned(void **state)
{
	(void)state;
	for (size_t size = 1; size < PAGE_SIZE; size += 31) {
		void *block = take(NonPagedPoolNxCacheAligned, size);
		assert_int_equal((uintptr_t)block % SYSTEM_CACHE_LINE_SIZE, 0);
		ExFreePool(block);
	}
	no_findings();
}

static void classes_fit(void **state)
{
	(void)state;
	for (size_t size = 1; size <= PAGE_SIZE; size++) {
		unsigned class = ex_class_of(size, false);
		assert_in_range(ex_class_size(class), size, PAGE_SIZE);
		assert_true(class == 0 ||
			    ex_class_size(class - 1) < size); /* the smallest that fits */
		assert_int_equal(ex_class_size(class) % 16, 0);
		assert_int_equal(ex_class_size(ex_class_of(size, true)) % SYSTEM_CACHE_LINE_SIZE,
				 0);
	}
}

/* Many live blocks at once: none overlaps another. */
static void blocks_do_not_overlap(void **state)
{
	(void)state;
	fake_faults_begin();
	enum { COUNT = 4000 };
	static unsigned char *blocks[COUNT];
	static size_t sizes[COUNT];
	unsigned seed = (unsigned)time(NULL);
	print_message("seed %u\n", seed);
	srand(seed);
	for (int round = 0; round < 60000; round++) {
		int i = rand() % COUNT;
		if (blocks[i]) {
			for (size_t at = 0; at < sizes[i]; at++)
				assert_int_equal(blocks[i][at], (unsigned char)i);
			ExFreePoolWithTag(blocks[i], TAG);
			blocks[i] = NULL;
			continue;
		}
		sizes[i] = 1 + (size_t)rand() % (rand() % 10 ? 300 : 9000);
		blocks[i] = take(rand() % 2 ? NonPagedPoolNx : PagedPool, sizes[i]);
		memset(blocks[i], i, sizes[i]);
	}
	for (int i = 0; i < COUNT; i++) {
		if (blocks[i])
			ExFreePool(blocks[i]);
		blocks[i] = NULL;
	}
	no_findings();
}

/* Long runs of many lengths: each has all its pages, also when it takes the place of a shorter one.
 */
static void long_runs(void **state)
{
	(void)state;
	size_t lengths[] = {65,  66,  70,  71,  72,  73,   100,  127,  128, 129,
			    130, 255, 256, 257, 300, 1000, 1024, 1025, 2000};
	enum { COUNT = sizeof(lengths) / sizeof(lengths[0]) };
	for (int round = 0; round < 2; round++) {
		char *blocks[COUNT];
		for (size_t i = 0; i < COUNT; i++) {
			blocks[i] = take(NonPagedPoolNx, lengths[i] * PAGE_SIZE - round);
			blocks[i][0] = (char)i;
			blocks[i][lengths[i] * PAGE_SIZE - 2] = (char)i;
			/* the page behind it */
			assert_int_equal(
				port_pages_accessible(blocks[i] + lengths[i] * PAGE_SIZE, false),
				vf_mode == VF_OFF);
		}
		for (size_t i = COUNT; i-- > 0;) {
			assert_int_equal(blocks[i][0], (char)i);
			assert_int_equal(blocks[i][lengths[i] * PAGE_SIZE - 2], (char)i);
			ExFreePool(blocks[i]);
			lengths[i]++; /* often the same queue: the second round meets freed runs */
		}
	}
	no_findings();
}

/* The host's mappings are finite: without the verifier they do not limit the pool, with it the pool
 * says so. */
static void many_runs(void **state)
{
	(void)state;
	enum { COUNT = 60000 };
	static char *blocks[COUNT];
	size_t got = 0;
	while (got < COUNT && (blocks[got] = ExAllocatePoolWithTag(NonPagedPoolNx, PAGE_SIZE, TAG)))
		got++;
	if (vf_mode == VF_OFF)
		assert_int_equal(got, COUNT);
	else
		assert_in_range(got, 20000, COUNT);
	while (got)
		ExFreePool(blocks[--got]);
	ExFreePool(take(NonPagedPoolNx, PAGE_SIZE));
	no_findings();
}

static void plt45_flags(void **state)
{
	(void)state;
	char *block = ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, TAG);
	for (int i = 0; i < 100; i++)
		assert_int_equal(block[i], 0);
	memset(block, 1, 100);
	ExFreePool(block);
	block = ExAllocatePool2(POOL_FLAG_PAGED | POOL_FLAG_SPECIAL_POOL, 5000, TAG);
	assert_non_null(block); /* optional flags are ignored */
	assert_true(mm_is_pageable((uint64_t)block));
	ExFreePool(block);
	no_findings();
	assert_null(ExAllocatePool2(POOL_FLAG_NON_PAGED, 100, 0));
	finding(VF_PoolFlags);
	assert_null(ExAllocatePool2(POOL_FLAG_NON_PAGED | POOL_FLAG_PAGED, 100, TAG));
	finding(VF_PoolFlags);
	assert_null(ExAllocatePool2(0, 100, TAG));
	finding(VF_PoolFlags);
	assert_null(ExAllocatePool2(POOL_FLAG_NON_PAGED | 0x8000, 100, TAG));
	finding(VF_PoolFlags);
}

static void plt46_fresh_memory_has_a_pattern(void **state)
{
	(void)state;
	unsigned char *block = take(NonPagedPool, 40);
	assert_int_equal(block[0], EX_FILL_FRESH);
	assert_int_equal(block[39], EX_FILL_FRESH);
	ExFreePool(block);
	block = take(NonPagedPool, 10000);
	assert_int_equal(block[9999], EX_FILL_FRESH);
	ExFreePool(block);
	block = take(NonPagedPoolNx | POOL_ZERO_ALLOCATION, 40);
	assert_int_equal(block[0], 0);
	ExFreePool(block);
	no_findings();
}

static void ver28_free_of_unknown_addresses(void **state)
{
	(void)state;
	char *block = take(NonPagedPoolNx, 100), *run = take(NonPagedPoolNx, 10000);
	int local;
	void *wrong[] = {block + 16,
			 run + PAGE_SIZE,
			 run + 16,
			 &local,
			 NULL,
			 (void *)0xfffff80000001000,
			 run + 3 * PAGE_SIZE};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		ExFreePool(wrong[i]);
		assert_int_equal(fake_findings.parameters[0], (uint64_t)wrong[i]);
		finding(VF_PoolFreeUnknown);
	}
	ExFreePool(block);
	ExFreePool(run);
	no_findings();
}

static void ver28_double_free(void **state)
{
	(void)state;
	size_t sizes[] = {1, 100, 2000, 4095, 4096, 20000};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char *block = take(i % 2 ? NonPagedPoolNx : PagedPool, sizes[i]);
		ExFreePool(block);
		no_findings();
		ExFreePool(block);
		assert_int_equal(fake_findings.object, (uint64_t)block);
		finding(VF_PoolDoubleFree);
	}
}

static void ver31_write_past_the_end(void **state)
{
	(void)state;
	size_t sizes[] = {1, 15, 16, 17, 32, 100, 1000, 2048, 4000, 4095, 4097, 10000};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		volatile char *block = take(NonPagedPoolNx, sizes[i]);
		block[sizes[i]] = 0;
		ExFreePool((void *)block);
		assert_int_equal(fake_findings.parameters[1], (uint64_t)block + sizes[i]);
		finding(VF_PoolOverrun);
	}
}

static void ver31_write_after_free(void **state)
{
	(void)state;
	volatile char *block = take(NonPagedPoolNx, 200);
	ExFreePool((void *)block);
	block[7] = 1;
	for (int i = 0; i < 1000 && !fake_findings.count; i++)
		take(NonPagedPoolNx, 200); /* the class comes round to it */
	finding(VF_PoolUsedAfterFree);
}

static void ver27_zero_size_and_irql(void **state)
{
	(void)state;
	void *block = take(NonPagedPoolNx, 0);
	finding(VF_PoolZeroSize);
	ExFreePool(block);
	ke_irql_set(DISPATCH_LEVEL);
	block = take(PagedPool, 10);
	finding(VF_IrqlExAllocatePool); /* VER-13 covers this function */
	ExFreePool(block);
	assert_int_equal(fake_findings.parameters[0], DISPATCH_LEVEL);
	finding(VF_PoolFreePagedIrql);
	block = ExAllocatePool2(POOL_FLAG_PAGED, 10, TAG);
	finding(VF_PoolPagedIrql);
	ke_irql_set(APC_LEVEL);
	ExFreePool(block);
	ke_irql_set(DISPATCH_LEVEL);
	ExFreePool(take(NonPagedPoolNx, 10));
	no_findings();
}

static void def22_above_dispatch_the_reserve_answers(void **state)
{
	(void)state;
	void *before = take(NonPagedPoolNx, 50);
	/* As if the lock were held by the code that an NMI interrupted. */
	ke_irql_set(DISPATCH_LEVEL);
	ke_lock_acquire(&ex_pool_lock);
	ke_irql_set(HIGH_LEVEL);
	void *blocks[40];
	unsigned got = 0;
	for (unsigned i = 0; i < 40; i++) {
		blocks[i] = ExAllocatePool2(POOL_FLAG_NON_PAGED, 4000, TAG);
		finding(VF_PoolNonPagedIrql);
		if (blocks[i])
			memset(blocks[got++] = blocks[i], 1, 4000);
	}
	assert_int_equal(got, 32);
	assert_null(ExAllocatePool2(POOL_FLAG_NON_PAGED, 5000, TAG));
	fake_findings_clear();
	for (unsigned i = 0; i < got; i++) {
		ExFreePool(blocks[i]);
		finding(VF_PoolFreeNonPagedIrql);
	}
	void *again = ExAllocatePool2(POOL_FLAG_NON_PAGED, 10, TAG);
	finding(VF_PoolNonPagedIrql);
	assert_non_null(again); /* what was freed can be had again */
	ExFreePool(again);
	finding(VF_PoolFreeNonPagedIrql);
	ExFreePool(before);
	finding(VF_PoolFreeNonPagedIrql);
	ExFreePool(before);
	finding(VF_PoolDoubleFree);
	ke_irql_set(DISPATCH_LEVEL);
	ke_lock_release(&ex_pool_lock);
	ke_irql_set(PASSIVE_LEVEL);
	struct ex_pool_totals old, new;
	ex_pool_totals(&old);
	ExFreePool(take(NonPagedPoolNx, 10)); /* does what was put off */
	ex_pool_totals(&new);
	assert_int_equal(new.blocks, old.blocks - 1);
	no_findings();
}

static void plt48_tags(void **state)
{
	(void)state;
	ExFreePoolWithTag(take(NonPagedPoolNx, 10), 0);
	no_findings();
	ExFreePoolWithTag(take(NonPagedPoolNx, 10), 0x31323334);
	finding(VF_PoolTag);
}

static void bad_frees_stop_an_unchecked_machine(void **state)
{
	(void)state;
	char *block = take(NonPagedPoolNx, 10);
	ExFreePool(block);
	fake_bugcheck.armed = true;
	if (!setjmp(fake_bugcheck.out)) {
		ExFreePool(block);
		fail();
	}
	assert_int_equal(fake_bugcheck.code, 0xc2);
	assert_int_equal(fake_bugcheck.parameters[0], 7);
	if (!setjmp(fake_bugcheck.out)) {
		ExFreePool(block + 8);
		fail();
	}
	assert_int_equal(fake_bugcheck.parameters[0], 0x46);
	fake_bugcheck.armed = false;
}

static void count_block(void *context, const struct ex_pool_block *block)
{
	size_t *bytes = context;
	*bytes += block->size;
	assert_int_equal(block->tag, TAG);
}

static void ver44_blocks_by_owner(void **state)
{
	(void)state;
	void *one = ex_allocate_for(100, TAG, NonPagedPoolNx, 0x1234000);
	void *two = ex_allocate_for(9000, TAG, PagedPool, 0x1234fff);
	void *other = ex_allocate_for(50, TAG, PagedPool, 0x1235000);
	size_t bytes = 0;
	assert_int_equal(ex_pool_each((void *)0x1234000, 0x1000, count_block, &bytes), 2);
	assert_int_equal(bytes, 9100);
	struct ex_pool_block found;
	assert_int_equal(ex_pool_find((char *)two + 8999, &found), EX_POOL_PAGED);
	assert_ptr_equal(found.base, two);
	ex_free(one);
	ex_free(two);
	assert_int_equal(ex_pool_find(two, &found), EX_POOL_FREE);
	assert_int_equal(ex_pool_each((void *)0x1234000, 0x1000, count_block, &bytes), 0);
	ex_free(other);
	no_findings();
}

/* A driver that writes past its blocks does not reach the core's. */
static void the_core_lives_apart(void **state)
{
	(void)state;
	for (size_t size = 1; size < PAGE_SIZE; size *= 2) {
		char *core = ex_allocate(size, TAG, NonPagedPoolNx);
		char *driver = take(NonPagedPoolNx, size);
		assert_true((uintptr_t)core >> PAGE_SHIFT != (uintptr_t)driver >> PAGE_SHIFT);
		ex_free(core);
		ExFreePool(driver);
	}
}

static void injected_failures(void **state)
{
	(void)state;
	ex_pool_fail_after(2);
	void *core = ex_allocate(10, TAG, NonPagedPoolNx); /* not counted: the core's own */
	void *one = ExAllocatePoolWithTag(NonPagedPoolNx, 10, TAG);
	void *two = ExAllocatePoolWithTag(NonPagedPoolNx, 10, TAG);
	assert_non_null(core);
	assert_non_null(two);
	assert_null(ExAllocatePoolWithTag(NonPagedPoolNx, 10, TAG));
	assert_null(ExAllocatePool2(POOL_FLAG_NON_PAGED, 10, TAG));
	ex_pool_fail_after(UINT64_MAX);
	ex_free(core);
	ExFreePool(one);
	ExFreePool(two);
}

static void no_memory_is_answered(void **state)
{
	(void)state;
	fake_protect_failures = 1;
	assert_null(ExAllocatePoolWithTag(NonPagedPoolNx, 3 * PAGE_SIZE, TAG));
	assert_int_equal(fake_protect_failures, 0);
	assert_null(ExAllocatePoolWithTag(NonPagedPoolNx, (size_t)1 << 40, TAG));
	assert_null(ExAllocatePoolWithTag(NonPagedPoolNx, SIZE_MAX, TAG));
	ExFreePool(take(NonPagedPoolNx, 3 * PAGE_SIZE));
}

static void def337_paged_pool_goes_on_a_raise(void **state)
{
	(void)state;
	fake_faults_begin();
	volatile char *small = take(PagedPool, 100), *run = take(PagedPool, 20000);
	small[0] = 17;
	run[8192] = 18;
	mm_pageable_trim();
	assert_false(port_pages_accessible((void *)small, false));
	assert_false(port_pages_accessible((void *)(run + 8192), false));
	assert_false(mm_pageable_fault((uint64_t)small, PORT_READ, DISPATCH_LEVEL));
	assert_int_equal(small[0], 17); /* the fault handler brings it in */
	assert_int_equal(run[8192], 18);
	assert_true(port_pages_accessible((void *)small, false));
	assert_false(port_pages_accessible((void *)run, false)); /* page by page */
	mm_pageable_trim();
	assert_false(port_pages_accessible((void *)small, false));
	/* Locked pages stay. */
	struct ex_page *page = ex_page_of(&ex_arenas[EX_ARENA_PAGED], (void *)run);
	atomic_store(&page->locked, 1);
	run[0] = 1;
	mm_pageable_trim();
	assert_true(port_pages_accessible((void *)run, false));
	assert_false(mm_is_unlocked_pageable((uint64_t)run));
	assert_true(mm_is_unlocked_pageable((uint64_t)run + PAGE_SIZE));
	atomic_store(&page->locked, 0);
	ExFreePool((void *)small);
	ExFreePool((void *)run);
	assert_false(mm_pageable_fault((uint64_t)run, PORT_READ,
				       PASSIVE_LEVEL)); /* freed: a real fault */
	no_findings();
}

static void def337_sections(void **state)
{
	(void)state;
	fake_faults_begin();
	char *base = port_pages_reserve(NULL, 4 * PAGE_SIZE);
	port_pages_protect(base, 4 * PAGE_SIZE, PORT_READ);
	struct mm_section text = {(uint64_t)base, base, PAGE_SIZE, PORT_READ, false, ".text"};
	struct mm_section page = {(uint64_t)base, base + PAGE_SIZE, 2 * PAGE_SIZE, PORT_READ, true,
				  "PAGE"};
	assert_true(mm_section_add(&text));
	assert_true(mm_section_add(&page));
	assert_false(mm_is_pageable((uint64_t)base));
	assert_true(mm_is_pageable((uint64_t)base + PAGE_SIZE));
	assert_true(mm_is_pageable((uint64_t)base + 3 * PAGE_SIZE - 1));
	assert_false(mm_is_pageable((uint64_t)base + 3 * PAGE_SIZE));
	mm_pageable_trim();
	assert_true(port_pages_accessible(base, false));
	assert_false(port_pages_accessible(base + PAGE_SIZE, false));
	assert_false(mm_pageable_fault((uint64_t)base + PAGE_SIZE, PORT_READ, DISPATCH_LEVEL));
	assert_false(mm_pageable_fault((uint64_t)base + PAGE_SIZE, PORT_WRITE,
				       PASSIVE_LEVEL)); /* read-only */
	assert_int_equal(*(volatile char *)(base + PAGE_SIZE), 0);
	assert_true(port_pages_accessible(base + 2 * PAGE_SIZE, false)); /* a section as a whole */
	mm_section_remove_image((uint64_t)base);
	assert_false(mm_is_pageable((uint64_t)base + PAGE_SIZE));
}

static void def203_physical_addresses(void **state)
{
	(void)state;
	char *block = take(NonPagedPoolNx, 3 * PAGE_SIZE);
	uint64_t physical = mm_physical_of(block + 5);
	assert_int_equal(physical % PAGE_SIZE, 5);
	assert_ptr_equal(mm_virtual_of(physical), block + 5);
	assert_int_equal(mm_physical_of(block + PAGE_SIZE + 5), physical + PAGE_SIZE);
	ExFreePool(block);
	assert_int_equal(mm_physical_of(block + 5), 0);
	assert_null(mm_virtual_of(physical));
	assert_ptr_equal(mm_virtual_of(mm_physical_of(def203_physical_addresses)),
			 def203_physical_addresses);
	assert_ptr_equal(mm_virtual_of(mm_physical_of(&physical)), &physical);
	assert_int_equal(mm_physical_of((void *)0x1000), 0);
	assert_int_equal(mm_physical_of((void *)0xfffff80000000000), 0);
}

static void an_allocation_is_quick(void **state)
{
	(void)state;
	enum { ROUNDS = 1000000 };
	struct timespec start, end;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (int i = 0; i < ROUNDS; i++)
		ex_free(ex_allocate(64, TAG, NonPagedPoolNx));
	clock_gettime(CLOCK_MONOTONIC, &end);
	double ns = (end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec);
	print_message("allocate and free 64 bytes: %.0f ns\n", ns / ROUNDS);
}

/* As in the machine the mode stands from start to end: two runs, `pool_test off` and `pool_test
 * report`. */
int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup(name, begin)
	const struct CMUnitTest checked[] = {
		TEST(plt47_alignment_and_pages),
		TEST(blocks_do_not_overlap),
		TEST(long_runs),
		TEST(many_runs),
		TEST(plt45_flags),
		TEST(plt46_fresh_memory_has_a_pattern),
		TEST(ver28_free_of_unknown_addresses),
		TEST(ver28_double_free),
		TEST(ver31_write_past_the_end),
		TEST(ver31_write_after_free),
		TEST(ver27_zero_size_and_irql),
		TEST(def22_above_dispatch_the_reserve_answers),
		TEST(plt48_tags),
		TEST(ver44_blocks_by_owner),
		TEST(def337_paged_pool_goes_on_a_raise),
		TEST(def337_sections),
		TEST(def203_physical_addresses),
	};
	const struct CMUnitTest unchecked[] = {
		TEST(plt47_alignment_and_pages),
		TEST(plt47_cache_aligned),
		TEST(classes_fit),
		TEST(long_runs),
		TEST(many_runs),
		TEST(long_runs),
		TEST(blocks_do_not_overlap),
		TEST(bad_frees_stop_an_unchecked_machine),
		TEST(the_core_lives_apart),
		TEST(injected_failures),
		TEST(no_memory_is_answered),
		TEST(an_allocation_is_quick),
	};
	vf_mode = argc > 1 && !strcmp(argv[1], "off") ? VF_OFF : VF_REPORT;
	fake_processor_enter();
	if (!ex_pool_initialize())
		return 1;
	return vf_mode == VF_OFF ? cmocka_run_group_tests(unchecked, NULL, NULL)
				 : cmocka_run_group_tests(checked, NULL, NULL);
}
