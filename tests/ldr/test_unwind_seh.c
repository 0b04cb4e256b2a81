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

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scenarios_DEF332),
	};

	return cmocka_run_group_tests(tests, 0, 0);
}

int main(int argc, char **argv)
{
	files = argv + 1;
	file_count = argc - 1;
	return fake_machine_run(run);
}
