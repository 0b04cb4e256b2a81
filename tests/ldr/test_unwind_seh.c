// SPDX-License-Identifier: MIT
/*
 * Exceptions: the scenarios of tests/drivers/seh.c on the fake machine, bound with and without
 * checks (DEF-331..333); what happens when nobody handles one; stack walks from traps. Arguments:
 * the driver at several levels of optimisation.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "fake_machine.h"
#include "ke/bugcheck.h"
#include "ke/walk.h"
#include "ldr/exception.h"

static char **files;
static int file_count;

static void test_scenarios_DEF332(void **state)
{
	(void)state;
	assert_true(file_count > 0);
	for (int i = 0; i < 2 * file_count; i++) {
		struct ldr_image *image = fake_image_load(files[i / 2], i & 1);
		NTSTATUS(NTAPI * entry)(PDRIVER_OBJECT, PUNICODE_STRING);
		DRIVER_OBJECT driver = {0};

		entry = (void *)image->entry_point;
		fake_printed_clear();
		assert_int_equal(entry(&driver, 0), STATUS_SUCCESS);
		print_message("%s: %u passed, %u failed\n", image->name, fake_pass, fake_fail);
		if (fake_fail || fake_pass < 20) {
			fail_msg("%s", fake_printed);
		}
		assert_null(fake_thread.records);
		fake_image_forget(image);
	}
}

static char finally_order[8];

static VOID NTAPI finally_a(BOOLEAN abnormal, PVOID frame)
{
	assert_true(abnormal && frame == (PVOID)0x1234);
	strcat(finally_order, "a");
}

static VOID NTAPI finally_b(BOOLEAN abnormal, PVOID frame)
{
	assert_true(abnormal && frame == (PVOID)0x1234);
	strcat(finally_order, "b");
}

/* An unwind inside one function: only the blocks that it leaves run (_local_unwind; a range may be
 * split). */
static void test_blocks_around_the_target_stay_DEF332(void **state)
{
	const uint64_t base = (uint64_t)finally_a & ~0xffffffull;
	const ULONG a = (ULONG)((uint64_t)finally_a - base),
		    b = (ULONG)((uint64_t)finally_b - base);
	/* inner __finally 10..20; outer one 8..30 and, its second range, 40..50 */
	const ULONG table[] = {3, 0x10, 0x20, a, 0, 0x08, 0x30, b, 0, 0x40, 0x50, b, 0};
	static const struct {
		uint64_t target;
		ULONG flags;
		const char *ran;
	} unwinds[] = {
		{0x28, EXCEPTION_UNWINDING | EXCEPTION_TARGET_UNWIND, "a"},
		{0x48, EXCEPTION_UNWINDING | EXCEPTION_TARGET_UNWIND, "a"},
		{0x18, EXCEPTION_UNWINDING | EXCEPTION_TARGET_UNWIND, ""},
		{0x60, EXCEPTION_UNWINDING | EXCEPTION_TARGET_UNWIND, "ab"},
		{0x28, EXCEPTION_UNWINDING, "ab"}, /* the target is in another function */
	};

	(void)state;
	fake_machine_handle();
	for (unsigned i = 0; i < sizeof(unwinds) / sizeof(unwinds[0]); i++) {
		EXCEPTION_RECORD record = {.ExceptionFlags = unwinds[i].flags};
		DISPATCHER_CONTEXT dispatcher = {
			.ControlPc = base + 0x18,
			.ImageBase = base,
			.TargetIp = base + unwinds[i].target,
			.HandlerData = (PVOID)table,
		};

		finally_order[0] = 0;
		assert_int_equal(__C_specific_handler(&record, (PVOID)0x1234, 0, &dispatcher),
				 ExceptionContinueSearch);
		assert_string_equal(finally_order, unwinds[i].ran);
	}
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scenarios_DEF332),
		cmocka_unit_test(test_blocks_around_the_target_stay_DEF332),
	};

	return cmocka_run_group_tests(tests, 0, 0);
}

int main(int argc, char **argv)
{
	files = argv + 1;
	file_count = argc - 1;
	return fake_machine_run(run);
}
