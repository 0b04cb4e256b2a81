// SPDX-License-Identifier: MIT
/*
 * Traps and bug checks: the documented code and parameters of each, and a line that names what
 * broke; stack walks from each instruction of the kernel that a driver calls. Arguments:
 * unwind_faults.c's image.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "faulty_driver.h"

#define SYSTEM_ADDRESS 0x480000001230 /* above MmSystemRangeStart; nothing is there */

static void *argument;

/* ---- No handler ---- */

static void read_null(void)
{
	call("fault_read", (void *)0x20);
}

static void test_unhandled_in_a_system_thread_DEF332(void **state)
{
	const struct ketch_bugcheck *b = fake_crash(read_null);

	(void)state;
	assert_non_null(b);
	assert_int_equal(b->code, 0x7e);
	assert_string_equal(b->name, "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED");
	assert_int_equal(b->parameters[0], 0xc0000005);
	assert_true(in_export(b->parameters[1], "fault_read"));
	assert_true(b->parameters[2] && b->parameters[3]);
	assert_true(b->registers_valid);
	assert_int_equal(b->registers[16], b->parameters[1]);
	assert_int_equal(b->address, b->parameters[1]);
	assert_string_equal(b->driver, "faults.sys");
	assert_contains(b->text, "read of 0x20 (a null pointer)");
	assert_int_equal(b->irql, 0);
	assert_true(b->frame_count >= 2);
	assert_int_equal(b->frames[0].address, b->address);
	assert_contains(b->frames[0].where, "faults.sys+0x");
}

static void read_null_as_user(void)
{
	fake_thread.system_thread = false;
	read_null();
}

static void divide_as_user(void)
{
	static volatile LONG zero;

	fake_thread.system_thread = false;
	call("fault_divide", (void *)&zero);
}

static void test_unhandled_in_a_user_thread_DEF33(void **state)
{
	const struct ketch_bugcheck *b = fake_crash(read_null_as_user);

	(void)state;
	assert_non_null(b);
	assert_int_equal(b->code, 0x50);
	assert_int_equal(b->parameters[0], 0x20);
	assert_int_equal(b->parameters[1], 0);
	assert_true(in_export(b->parameters[2], "fault_read"));
	b = fake_crash(divide_as_user);
	assert_non_null(b);
	assert_int_equal(b->code, 0x1e);
	assert_int_equal(b->parameters[0], 0xc0000094);
}

static void write_system(void)
{
	call("fault_write", (void *)SYSTEM_ADDRESS);
}

static void write_read_only(void)
{
	assert_int_equal(mprotect((void *)driver->base, 4096, PROT_READ), 0);
	call("fault_write", (void *)(driver->base + 16));
}

static void execute_data(void)
{
	assert_int_equal(mprotect((void *)driver->base, 4096, PROT_READ), 0);
	call("fault_call", (void *)(driver->base + 16));
}

static void test_system_addresses(void **state)
{
	const struct ketch_bugcheck *b = fake_crash(write_system);

	(void)state;
	assert_non_null(b);
	assert_int_equal(b->code, 0x50);
	assert_int_equal(b->parameters[0], SYSTEM_ADDRESS);
	assert_int_equal(b->parameters[1], 2);
	assert_true(in_export(b->parameters[2], "fault_write"));
	b = fake_crash(write_read_only);
	assert_non_null(b);
	assert_int_equal(b->code, 0xbe);
	assert_int_equal(b->parameters[0], driver->base + 16);
	b = fake_crash(execute_data);
	assert_non_null(b);
	assert_int_equal(b->code, 0xfc);
}

static void read_at_dispatch(void)
{
	fake_processor.irql = DISPATCH_LEVEL;
	call("fault_write", (void *)0x30);
}

static void call_null_at_dispatch(void)
{
	fake_processor.irql = DISPATCH_LEVEL;
	call("fault_call", 0);
}

static void test_page_faults_at_dispatch_VER35(void **state)
{
	const struct ketch_bugcheck *b = fake_crash(read_at_dispatch);

	(void)state;
	assert_non_null(b);
	assert_int_equal(b->code, 0xd1);
	assert_int_equal(b->parameters[0], 0x30);
	assert_int_equal(b->parameters[1], DISPATCH_LEVEL);
	assert_int_equal(b->parameters[2], 1);
	assert_true(in_export(b->parameters[3], "fault_write"));
	assert_int_equal(b->irql, DISPATCH_LEVEL);
	b = fake_crash(call_null_at_dispatch);
	assert_non_null(b);
	assert_int_equal(b->code, 0xd1);
	assert_int_equal(b->parameters[2], 8);
	assert_true(in_export(b->address, "fault_call"));
}

static void nmi_reads(struct port_frame *frame)
{
	struct ke_call_record record;

	ke_callout_begin(&record, frame);
	((void(NTAPI *)(void *)) export("fault_read"))((void *)0x40);
}

static void fault_in_nmi(void)
{
	fake_nmi = nmi_reads;
	fake_machine_handle();
	raise(SIGUSR1);
}

static void test_page_fault_in_an_nmi_NMI36(void **state)
{
	const struct ketch_bugcheck *b = fake_crash(fault_in_nmi);

	(void)state;
	assert_non_null(b);
	assert_int_equal(b->code, 0xd1);
	assert_int_equal(b->parameters[0], 0x40);
	assert_int_equal(b->parameters[1], 15);
	assert_contains(b->text, "NMI callback");
}

static void fast_fail(void)
{
	call("fault_fast_fail", (void *)3);
}

static void test_fast_fail_DEF328(void **state)
{
	const struct ketch_bugcheck *b = fake_crash(fast_fail);

	(void)state;
	assert_non_null(b);
	assert_int_equal(b->code, 0x139);
	assert_int_equal(b->parameters[0], 3);
	assert_true(in_export(b->address, "fault_fast_fail"));
	assert_contains(b->text, "list entry");
}

static void breakpoint(void)
{
	call("fault_breakpoint", 0);
}

static void test_breakpoint_without_handler(void **state)
{
	const struct ketch_bugcheck *b = fake_crash(breakpoint);

	(void)state;
	assert_non_null(b);
	assert_int_equal(b->code, 0x7e);
	assert_int_equal(b->parameters[0], 0x80000003);
	assert_int_equal(*(uint8_t *)b->parameters[1], 0xcc);
}

static void recurse(void)
{
	call("fault_recurse", 0);
}

static void test_stack_overflow(void **state)
{
	const struct ketch_bugcheck *b = fake_crash(recurse);

	(void)state;
	assert_non_null(b);
	assert_int_equal(b->code, 0x7f);
	assert_int_equal(b->parameters[0], 8);
	assert_int_equal(b->frame_count, 64);
	assert_true(in_export(b->frames[10].address, "fault_recurse"));
}

static void call_unloaded(void)
{
	call("fault_call", argument);
}

static void test_unloaded_driver_VER39(void **state)
{
	struct ldr_image *first = driver;
	const struct ketch_bugcheck *b;

	(void)state;
	argument = export("fault_breakpoint");
	load();
	atomic_store(&first->state, LDR_UNLOADED);
	assert_int_equal(mprotect((void *)first->base, first->size, PROT_NONE), 0);
	b = fake_crash(call_unloaded);
	fake_image_forget(first);
	assert_non_null(b);
	assert_int_equal(b->code, 0xce);
	assert_int_equal(b->parameters[0], (uint64_t)argument);
	assert_int_equal(b->parameters[1], 8);
	assert_string_equal(b->driver, "faults.sys");
	assert_contains(b->text, "faults.sys was unloaded");
	/* the caller's frame is found */
	assert_true(in_export(b->frames[1].address, "fault_call"));
}

static void test_discarded_init_DEF336(void **state)
{
	static struct ldr_section init = {.name = "INIT", .discardable = true};
	const struct ketch_bugcheck *b;
	uint64_t page = (driver->base + driver->size - 1) & ~4095ull;

	(void)state;
	atomic_store(&init.discarded, true);
	fake_section = &init;
	argument = (void *)(page + 8);
	assert_int_equal(mprotect((void *)page, 4096, PROT_NONE), 0);
	b = fake_crash(call_unloaded);
	fake_section = 0;
	assert_non_null(b);
	assert_int_equal(b->code, 0x50);
	assert_int_equal(b->parameters[0], page + 8);
	assert_int_equal(b->parameters[1], 0x10);
	assert_contains(b->text, "call into discarded INIT section of faults.sys");
}

/* ---- The kernel gets a bad pointer ---- */

static void set_event(void)
{
	call("fault_set_event", (void *)SYSTEM_ADDRESS);
}

static void set_event_at_dispatch(void)
{
	fake_processor.irql = DISPATCH_LEVEL;
	set_event();
}

static void test_bad_pointer_to_a_ddi(void **state)
{
	const struct ketch_bugcheck *b = fake_crash(set_event);

	(void)state;
	assert_non_null(b);
	assert_int_equal(b->code, 0x50);
	assert_true(in_export(b->address, "fault_set_event"));
	assert_contains(b->text, "passed to KeSetEvent by faults.sys+0x");
	b = fake_crash(set_event_at_dispatch);
	assert_non_null(b);
	assert_int_equal(b->code, 0xa);
	assert_int_equal(b->parameters[1], DISPATCH_LEVEL);
	assert_true(in_export(b->address, "fault_set_event"));
}

static void copy_at_dispatch(void)
{
	fake_processor.irql = DISPATCH_LEVEL;
	fake_machine_handle();
	((NTSTATUS(NTAPI *)(void *, void *, SIZE_T)) export("try_copy"))((void *)SYSTEM_ADDRESS,
									 &argument, 8);
}

/* DDI_FAULT: raised in the driver at its call. */
static void test_fault_in_memcpy_is_an_exception(void **state)
{
	NTSTATUS(NTAPI * try_copy)(void *, const void *, SIZE_T) = export("try_copy");
	const struct ketch_bugcheck *b;
	uint64_t to = 0, from = 77;

	(void)state;
	assert_int_equal(try_copy(&to, &from, 8), 0);
	assert_int_equal(to, 77);
	assert_int_equal(try_copy((void *)0x50, &from, 8), STATUS_ACCESS_VIOLATION);
	assert_int_equal(try_copy(&to, (void *)SYSTEM_ADDRESS, 8), STATUS_ACCESS_VIOLATION);
	assert_null(fake_thread.records);
	b = fake_crash(copy_at_dispatch);
	assert_non_null(b);
	assert_int_equal(b->code, 0xa);
	assert_contains(b->text, "passed to memcpy by");
}

/* ---- With a handler ---- */

static void test_handled_traps_DEF332(void **state)
{
	NTSTATUS(NTAPI * try_call)(void *, void *) = export("try_call");
	volatile LONG zero = 0;

	(void)state;
	assert_int_equal(try_call(export("fault_read"), (void *)SYSTEM_ADDRESS),
			 STATUS_ACCESS_VIOLATION);
	assert_string_equal(fake_report, "");
	assert_int_equal(try_call(export("fault_read"), (void *)0xfffff80000001000),
			 STATUS_ACCESS_VIOLATION);
	assert_contains(fake_report, "but Windows does not offer it");
	fake_processor.irql = APC_LEVEL;
	assert_int_equal(try_call(export("fault_read"), (void *)8), STATUS_ACCESS_VIOLATION);
	fake_processor.irql = DISPATCH_LEVEL;
	assert_int_equal(try_call(export("fault_divide"), (void *)&zero),
			 STATUS_INTEGER_DIVIDE_BY_ZERO);
	fake_processor.irql = PASSIVE_LEVEL;
	assert_int_equal(try_call(export("fault_breakpoint"), 0), STATUS_BREAKPOINT);
	assert_null(fake_thread.records);
}

/* The nonvolatile XMM registers are the driver's at its call, whatever the kernel does with them.
 */
static void test_xmm_registers_survive_DEF332(void **state)
{
	double(NTAPI * keep_floats)(double *) = export("keep_floats");
	double values[] = {1, 2, 3, 4};

	(void)state;
	assert_true(keep_floats(values) == 4321);
}

static void test_privileged_instruction_is_reported_DEF26(void **state)
{
	NTSTATUS(NTAPI * try_call)(void *, void *) = export("try_call");

	(void)state;
	assert_int_equal(try_call(export("fault_privileged"), 0), STATUS_PRIVILEGED_INSTRUCTION);
	assert_contains(fake_report, "rdmsr");
	assert_contains(fake_report, "faults.sys+0x");
}

static void test_pageable_memory_is_brought_in_DEF337(void **state)
{
	volatile uint64_t *page = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	fake_pageable_once = true;
	call("fault_write", (void *)page);
	assert_int_equal(*page, 1);
	munmap((void *)page, 4096);
}

static int run(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_unhandled_in_a_system_thread_DEF332),
		TEST(test_unhandled_in_a_user_thread_DEF33),
		TEST(test_system_addresses),
		TEST(test_page_faults_at_dispatch_VER35),
		TEST(test_page_fault_in_an_nmi_NMI36),
		TEST(test_fast_fail_DEF328),
		TEST(test_breakpoint_without_handler),
		TEST(test_stack_overflow),
		TEST(test_unloaded_driver_VER39),
		TEST(test_discarded_init_DEF336),
		TEST(test_bad_pointer_to_a_ddi),
		TEST(test_fault_in_memcpy_is_an_exception),
		TEST(test_handled_traps_DEF332),
		TEST(test_xmm_registers_survive_DEF332),
		TEST(test_privileged_instruction_is_reported_DEF26),
		TEST(test_pageable_memory_is_brought_in_DEF337),
	};

	return cmocka_run_group_tests(tests, 0, 0);
}

int main(int argc, char **argv)
{
	file = argc > 1 ? argv[1] : "";
	return fake_machine_run(run);
}
