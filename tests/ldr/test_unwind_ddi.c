// SPDX-License-Identifier: MIT
/*
 * The DDI table: names, look-up, entry stubs and the call-record thunk, with the rows of
 * tests/ldr/table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "fake_machine.h"
#include "ldr/ddi.h"

static void test_names_are_found_DEF319(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < ddi_count; i++) {
		assert_ptr_equal(ddi_find(ddi_table[i].module, ddi_table[i].name), &ddi_table[i]);
	}
	assert_ptr_equal(ddi_find(DDI_HAL, "KeSetEvent"), ddi_find(DDI_NTOSKRNL, "KeSetEvent"));
	assert_ptr_equal(ddi_find(DDI_HAL, "HalSendNMI"), ddi_find(DDI_NTOSKRNL, "HalSendNMI"));
	assert_non_null(ddi_find(DDI_NDIS, "NdisSum"));
	assert_null(ddi_find(DDI_NTOSKRNL, "NdisSum"));
	assert_null(ddi_find(DDI_NDIS, "KeSetEvent"));
	assert_null(ddi_find(DDI_NTOSKRNL, ""));
	assert_null(ddi_find(DDI_NTOSKRNL, "KeSetEvent2"));
	assert_null(ddi_find(DDI_NTOSKRNL, "zzz"));
	assert_null(ddi_find(DDI_NTOSKRNL, "A"));
}

static void test_rows(void **state)
{
	const struct ddi *event = ddi_find(DDI_NTOSKRNL, "KeSetEvent");
	const struct ddi *sum = ddi_find(DDI_NTOSKRNL, "TestSum");
	const struct ddi *data = ddi_find(DDI_NTOSKRNL, "NtBuildNumber");

	(void)state;
	assert_int_equal(event->irql_max, 2);
	assert_ptr_equal(event->entry, event->function);
	assert_ptr_not_equal(event->entry_checked, event->function);
	assert_ptr_not_equal(sum->entry, sum->function);
	assert_true(data->data);
	assert_ptr_equal(data->entry, data->function);
	assert_ptr_equal(ddi_from_entry((uint64_t)event->entry_checked), event);
	assert_ptr_equal(ddi_from_entry((uint64_t)sum->entry), sum);
	assert_null(ddi_from_entry((uint64_t)data->function));
	assert_string_equal(ddi_module_name(DDI_HAL), "HAL.dll");
}

typedef uint64_t NTAPI sum_function(uint64_t a, uint64_t b, double c, uint64_t d, uint64_t e,
				    uint64_t f, uint64_t g, uint64_t h, uint64_t i, uint64_t j,
				    uint64_t k, uint64_t l, uint64_t m, uint64_t n, uint64_t o,
				    uint64_t p);

static uint64_t expected_sum(void)
{
	uint64_t sum = 0;

	for (uint64_t i = 1; i <= 16; i++) {
		sum += i * (i + 100);
	}
	return sum;
}

static uint64_t call_sum(void *entry)
{
	return ((sum_function *)entry)(101, 102, 103.5, 104, 105, 106, 107, 108, 109, 110, 111, 112,
				       113, 114, 115, 116);
}

static void test_arguments_pass_through_stubs(void **state)
{
	const struct ddi *row = ddi_find(DDI_NTOSKRNL, "TestSum");

	(void)state;
	assert_int_equal(call_sum(row->function), expected_sum());
	assert_int_equal(call_sum(row->entry), expected_sum());
	assert_int_equal(call_sum(row->entry_checked), expected_sum());
	assert_null(fake_thread.records);
}

static void test_entry_checks_VER26(void **state)
{
	typedef ULONG NTAPI one_argument(ULONG);
	static const struct {
		const char *name;
		enum ddi_module module;
		KIRQL irql;
		bool violation;
	} calls[] = {
		{"HalSendNMI", DDI_HAL, PASSIVE_LEVEL, false},
		{"HalSendNMI", DDI_HAL, HIGH_LEVEL, false}, /* DDI_NMI */
		{"NdisSum", DDI_NDIS, PASSIVE_LEVEL, true}, /* below its minimum */
		{"NdisSum", DDI_NDIS, DISPATCH_LEVEL, false},
		{"NdisSum", DDI_NDIS, 3, true},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		const struct ddi *row = ddi_find(calls[i].module, calls[i].name);
		ULONG result;

		fake_entry_count = 0;
		fake_processor.irql = calls[i].irql;
		result = ((one_argument *)row->entry_checked)(40);
		fake_processor.irql = PASSIVE_LEVEL;
		assert_int_equal(result, calls[i].module == DDI_HAL ? 41 : 42);
		assert_int_equal(fake_entry_count, calls[i].violation);
		if (calls[i].violation) {
			assert_ptr_equal(&ddi_table[fake_entry_row], row);
			assert_true(fake_entry_caller > (uint64_t)test_entry_checks_VER26 &&
				    fake_entry_caller < (uint64_t)test_entry_checks_VER26 + 1024);
		}
	}
}

/* vf_ddi_entry of the fake machine destroys all that a C function may; the call must not notice. */
static void test_a_violation_keeps_registers_VER26(void **state)
{
	const struct ddi *row = ddi_find(DDI_NTOSKRNL, "TestSum");
	double six = 6.5, fifteen = 15.5, six_after, fifteen_after;
	uint64_t rsi = 0x1234, rdi = 0x5678;

	(void)state;
	fake_entry_count = 0;
	fake_processor.irql = HIGH_LEVEL; /* legal up to HIGH, but not in an NMI's place */
	assert_int_equal(call_sum(row->entry_checked), expected_sum());
	assert_int_equal(fake_entry_count, 1);
	row = ddi_find(DDI_NDIS, "NdisSum");
	fake_processor.irql = PASSIVE_LEVEL;
	__asm__ volatile("movq %[six], %%xmm6\n\tmovq %[fifteen], %%xmm15\n\tsubq $0x20, %%rsp\n\t"
			 "call *%[entry]\n\taddq $0x20, %%rsp\n\tmovq %%xmm6, %[a]\n\t"
			 "movq %%xmm15, %[b]"
			 : "+S"(rsi), "+D"(rdi), [a] "=m"(six_after), [b] "=m"(fifteen_after)
			 : [six] "m"(six), [fifteen] "m"(fifteen), [entry] "b"(row->entry_checked)
			 : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2",
			   "xmm3", "xmm4", "xmm5", "xmm6", "xmm15", "memory");
	assert_int_equal(fake_entry_count, 2);
	assert_int_equal(rsi, 0x1234);
	assert_int_equal(rdi, 0x5678);
	assert_true(six_after == 6.5 && fifteen_after == 15.5);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_are_found_DEF319),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_arguments_pass_through_stubs),
		cmocka_unit_test(test_entry_checks_VER26),
		cmocka_unit_test(test_a_violation_keeps_registers_VER26),
	};

	return cmocka_run_group_tests(tests, 0, 0);
}

int main(void)
{
	return fake_machine_run(run);
}
