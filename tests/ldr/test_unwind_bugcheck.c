// SPDX-License-Identifier: MIT
/* Bug check callbacks (PLT-56, PLT-57). Arguments: unwind_faults.c's image. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "faulty_driver.h"

#define SYSTEM_ADDRESS 0x480000001234 /* above MmSystemRangeStart; nothing is there */

static KBUGCHECK_CALLBACK_RECORD records[4];
static KBUGCHECK_REASON_CALLBACK_RECORD reason_record;
static char order[16];

static VOID NTAPI note(PVOID buffer, ULONG length)
{
	assert_true(ke_irql() == HIGH_LEVEL);
	fake_fail |= length != 7;
	strcat(order, buffer);
}

static VOID NTAPI crash_in_callback(PVOID buffer, ULONG length)
{
	note(buffer, length);
	((void(NTAPI *)(void *)) export("fault_read"))((void *)0x10);
}

static VOID NTAPI note_reason(KBUGCHECK_CALLBACK_REASON reason,
			      PKBUGCHECK_REASON_CALLBACK_RECORD record, PVOID data, ULONG size)
{
	strcat(order, "R");
	fake_fail |= reason != KbCallbackSecondaryDumpData || record != &reason_record ||
		     size != sizeof(KBUGCHECK_SECONDARY_DUMP_DATA) || !data ||
		     strcmp(order, "DCAR") != 0;
	if (fake_fail) {
		fprintf(stderr, "order %s\n", order);
	}
}

static void with_callbacks(void)
{
	static UCHAR component[] = "test";

	for (unsigned i = 0; i < 4; i++) {
		KeInitializeCallbackRecord(&records[i]);
	}
	KeInitializeCallbackRecord(&reason_record);
	KeRegisterBugCheckReasonCallback(&reason_record, note_reason, KbCallbackSecondaryDumpData,
					 component);
	KeRegisterBugCheckCallback(&records[0], note, "A", 7, component);
	KeRegisterBugCheckCallback(&records[1], note, "B", 7, component);
	KeRegisterBugCheckCallback(&records[2], crash_in_callback, "C", 7, component);
	KeRegisterBugCheckCallback(&records[3], note, "D", 7, component);
	records[1].Buffer = "X"; /* overwritten: the checksum is wrong, it is not called */
	call("fault_bug_check", 0);
}

static void test_bug_check_callbacks_PLT56_PLT57(void **state)
{
	const struct ketch_bugcheck *b = fake_crash(with_callbacks);

	(void)state;
	assert_non_null(b);
	assert_int_equal(b->code, 0xdead);
	assert_string_equal(b->name, "");
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(b->parameters[i], i + 1);
	}
	assert_true(in_export(b->address, "fault_bug_check"));
	assert_string_equal(b->driver, "faults.sys");
}

static void test_registration_of_callbacks_PLT57(void **state)
{
	(void)state;
	KeInitializeCallbackRecord(&records[0]);
	assert_false(KeDeregisterBugCheckCallback(&records[0]));
	assert_true(KeRegisterBugCheckCallback(&records[0], note, 0, 0, 0));
	assert_false(KeRegisterBugCheckCallback(&records[0], note, 0, 0, 0));
	records[0].State = BufferEmpty; /* initialised again while it is in the list */
	assert_false(KeRegisterBugCheckCallback(&records[0], note, 0, 0, 0));
	records[0].State = BufferInserted;
	assert_true(KeDeregisterBugCheckCallback(&records[0]));
	assert_false(KeDeregisterBugCheckCallback(&records[0]));
	KeInitializeCallbackRecord(&reason_record);
	assert_false(KeRegisterBugCheckReasonCallback(&reason_record, note_reason,
						      KbCallbackInvalid, 0));
	assert_true(
		KeRegisterBugCheckReasonCallback(&reason_record, note_reason, KbCallbackDumpIo, 0));
	assert_true(KeDeregisterBugCheckReasonCallback(&reason_record));
}

static int run(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_bug_check_callbacks_PLT56_PLT57),
		TEST(test_registration_of_callbacks_PLT57),
	};

	return cmocka_run_group_tests(tests, 0, 0);
}

int main(int argc, char **argv)
{
	file = argc > 1 ? argv[1] : "";
	return fake_machine_run(run);
}
