// SPDX-License-Identifier: MIT
/* The runtime as ntoskrnl.exe and HAL.dll, seen as drivers see it: by the list, headers and export
 * directories. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_kernel.h"
#include "ldr/ldr_internal.h"
#include "pe_build.h"

static struct ldr_entry *module_number(int number)
{
	LIST_ENTRY *link = PsLoadedModuleList.in_load_order.Flink;

	while (number--)
		link = link->Flink;
	return (struct ldr_entry *)link;
}

static uint32_t u32_at(const struct ldr_entry *module, uint32_t rva)
{
	uint32_t value;

	memcpy(&value, (const char *)module->dll_base + rva, sizeof(value));
	return value;
}

static uint16_t u16_at(const struct ldr_entry *module, uint32_t rva)
{
	return (uint16_t)u32_at(module, rva);
}

/* As a driver does it: walk the names, take the function by the name's index. 0: not exported. */
static uint64_t exported(const struct ldr_entry *module, const char *name)
{
	uint32_t pe = u32_at(module, 0x3c);
	uint32_t directory = u32_at(module, pe + 24 + 112);
	uint32_t names = u32_at(module, directory + 32);

	for (uint32_t i = 0; i < u32_at(module, directory + 24); i++) {
		const char *found = (const char *)module->dll_base + u32_at(module, names + 4 * i);

		if (strcmp(found, name) == 0) {
			uint32_t index = u16_at(module, u32_at(module, directory + 36) + 2 * i);

			assert_true(index < u32_at(module, directory + 20));
			return (uint64_t)module->dll_base +
			       u32_at(module, u32_at(module, directory + 28) + 4 * index);
		}
	}
	return 0;
}

static bool inside(const struct ldr_entry *module, const void *address)
{
	return (uint64_t)address - (uint64_t)module->dll_base < module->size_of_image;
}

static void def54_headers_are_those_of_an_image(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		const struct ldr_entry *module = module_number(i);
		const char *base = module->dll_base;
		uint32_t pe = u32_at(module, 0x3c), sections, end = 0x1000;

		assert_memory_equal(base, "MZ", 2);
		assert_memory_equal(base + pe, "PE\0", 4);
		assert_int_equal(u16_at(module, pe + 4), 0x8664);
		assert_int_equal(u16_at(module, pe + 24), 0x20b);
		assert_memory_equal(base + pe + 24 + 24, &module->dll_base, 8);
		assert_int_equal(u32_at(module, pe + 24 + 56), module->size_of_image);
		assert_int_equal((uint64_t)base % 0x10000, 0);
		assert_string_equal(fake_protection((uint64_t)base), "r--");
		sections = u16_at(module, pe + 6);
		assert_true(sections >= 2);
		for (uint32_t s = 0; s < sections; s++) {
			uint32_t header = pe + 24 + u16_at(module, pe + 20) + 40 * s;
			uint32_t rva = u32_at(module, header + 12);

			assert_true(rva >= end && rva % 0x1000 == 0);
			end = rva + u32_at(module, header + 8);
			assert_true(end <= module->size_of_image);
			/* What the table calls readable or executable is. */
			assert_int_equal(fake_protection((uint64_t)base + rva)[0], 'r');
			assert_int_equal(fake_protection((uint64_t)base + rva)[2],
					 u32_at(module, header + 36) & 0x20000000 ? 'x' : '-');
		}
	}
}

static void def54_exports_lead_to_the_real_functions(void **state)
{
	const struct ldr_entry *kernel = module_number(0), *hal = module_number(1);
	uint64_t(NTAPI * send)(uint64_t);

	(void)state;
	assert_int_equal(exported(kernel, "DbgPrint"), (uint64_t)fake_dbgprint);
	assert_int_equal(exported(kernel, "KeBugCheckEx"), (uint64_t)fake_bugcheckex);
	assert_int_equal(exported(kernel, "HalSendNMI"), (uint64_t)fake_halsendnmi);
	assert_int_equal(exported(kernel, "NtBuildNumber"), (uint64_t)&fake_variable);
	assert_int_equal(exported(kernel, "WskRegister"), 0);
	assert_int_equal(exported(hal, "DbgPrint"), 0);
	/* HAL.dll's lie in HAL.dll, and work. */
	send = (uint64_t(NTAPI *)(uint64_t))exported(hal, "HalSendNMI");
	assert_true(inside(hal, (const void *)send));
	assert_int_equal(send(41), 42);
}

/* The section that an address lies in, by the table; its flags. */
static uint32_t section_flags(const struct ldr_entry *module, const void *address)
{
	uint32_t pe = u32_at(module, 0x3c);
	uint64_t rva = (uint64_t)address - (uint64_t)module->dll_base;

	for (uint32_t s = 0; s < u16_at(module, pe + 6); s++) {
		uint32_t header = pe + 24 + u16_at(module, pe + 20) + 40 * s;

		if (rva - u32_at(module, header + 12) < u32_at(module, header + 8))
			return u32_at(module, header + 36);
	}
	return 0;
}

static void def54_sections_are_those_of_the_program(void **state)
{
	const struct ldr_entry *kernel = module_number(0);
	static const char constant[] = "read only";

	(void)state;
	assert_int_equal(section_flags(kernel, (const void *)ldr_image_load), 0x60000020);
	assert_int_equal(section_flags(kernel, &fake_variable), 0xc0000040);
	assert_int_equal(section_flags(kernel, constant), 0x40000040);
	assert_int_equal(section_flags(kernel, (const char *)kernel->dll_base + 0x1000),
			 0x40000040);
}

static void def54_no_memory(void **state)
{
	struct ldr_kernel_image kernel, hal;
	const size_t blocks = fake_blocks;

	(void)state;
	for (int i = 0; i < 2; i++) {
		fake_allocate_fails = i;
		assert_int_equal(ldr_kernel_image_build(&kernel, &hal),
				 STATUS_INSUFFICIENT_RESOURCES);
		assert_int_equal(fake_blocks, blocks);
	}
	fake_allocate_fails = -1;
	for (int i = 0; i < 6; i++) {
		fake_protect_fails = i;
		assert_int_equal(ldr_kernel_image_build(&kernel, &hal),
				 STATUS_INSUFFICIENT_RESOURCES);
	}
	fake_protect_fails = -1;
	assert_int_equal(ldr_kernel_image_build(&kernel, &hal), STATUS_SUCCESS);
	assert_int_equal(fake_blocks, blocks);
}

/* Without room below the program, functions are jumps, and variables are left out. */
static void def54_nothing_free_below_the_program(void **state)
{
	struct ldr_kernel_image kernel, hal;
	struct ldr_entry module = {.dll_base = NULL};
	uint64_t(NTAPI * send)(uint64_t);

	(void)state;
	fake_hints_ignored = true;
	assert_int_equal(ldr_kernel_image_build(&kernel, &hal), STATUS_SUCCESS);
	fake_hints_ignored = false;
	module.dll_base = (void *)kernel.base;
	module.size_of_image = kernel.size;
	assert_true(kernel.size < 0x10000);
	assert_false(inside(&module, (const void *)ldr_image_load));
	send = (uint64_t(NTAPI *)(uint64_t))exported(&module, "HalSendNMI");
	assert_true(inside(&module, (const void *)send));
	assert_int_equal(send(41), 42);
	assert_int_equal(exported(&module, "NtBuildNumber"), 0);
	assert_true(inside(&module, (const void *)exported(&module, "Zulu")));
}

static void def54_names_are_sorted(void **state)
{
	const struct ldr_entry *kernel = module_number(0);
	uint32_t directory = u32_at(kernel, u32_at(kernel, 0x3c) + 24 + 112);
	uint32_t count = u32_at(kernel, directory + 24);

	(void)state;
	assert_int_equal(count, 13);
	assert_string_equal((const char *)kernel->dll_base + u32_at(kernel, directory + 12),
			    "ntoskrnl.exe");
	for (uint32_t i = 1; i < count; i++) {
		uint32_t names = u32_at(kernel, directory + 32);
		const char *base = kernel->dll_base;

		assert_true(strcmp(base + u32_at(kernel, names + 4 * i - 4),
				   base + u32_at(kernel, names + 4 * i)) < 0);
	}
}

/* DEF-334: what may stand on a driver's stack lies in ntoskrnl.exe. */
static void def334_runtime_addresses_lie_in_ntoskrnl(void **state)
{
	const struct ldr_entry *kernel = module_number(0);
	static int data = 1, bss;
	char where[64], expected[64];

	(void)state;
	assert_true(inside(kernel, (const void *)def334_runtime_addresses_lie_in_ntoskrnl));
	assert_true(inside(kernel, (const void *)ldr_image_load));
	assert_true(inside(kernel, &data));
	assert_true(inside(kernel, &bss));
	ldr_address_format((uint64_t)ldr_image_load, where, sizeof(where));
	snprintf(expected, sizeof(expected), "ntoskrnl.exe+0x%lx",
		 (uint64_t)ldr_image_load - (uint64_t)kernel->dll_base);
	assert_string_equal(where, expected);
	ldr_address_format((uint64_t)module_number(1)->dll_base, where, sizeof(where));
	assert_string_equal(where, "HAL.dll+0x0");
	assert_int_equal(ldr_address_format(0, where, sizeof(where)), 0);
	assert_string_equal(where, "");
	assert_int_equal(ldr_address_format((uint64_t)where, where, sizeof(where)), 0);
}

/* DEF-7: by any module's name, one address; the checked one while the verifier is on. */
static void def7_one_address(void **state)
{
	(void)state;
	assert_ptr_equal(ldr_kernel_export(NULL, "HalSendNMI"), (void *)fake_halsendnmi);
	assert_ptr_equal(ldr_kernel_export("HAL.dll", "HalSendNMI"), (void *)fake_halsendnmi);
	assert_ptr_equal(ldr_kernel_export("ntoskrnl.exe", "HalSendNMI"), (void *)fake_halsendnmi);
	assert_ptr_equal(ldr_kernel_export(NULL, "NtBuildNumber"), &fake_variable);
	assert_null(ldr_kernel_export(NULL, "WskRegister"));
	assert_ptr_equal(ldr_kernel_export("NETIO.SYS", "WskRegister"), (void *)fake_checked);
	assert_null(ldr_kernel_export("other.sys", "DbgPrint"));
	vf_mode = VF_REPORT;
	assert_ptr_equal(ldr_kernel_export(NULL, "HalSendNMI"), (void *)fake_checked);
	vf_mode = VF_OFF;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(def54_headers_are_those_of_an_image),
		cmocka_unit_test(def54_exports_lead_to_the_real_functions),
		cmocka_unit_test(def54_names_are_sorted),
		cmocka_unit_test(def54_sections_are_those_of_the_program),
		cmocka_unit_test(def54_no_memory),
		cmocka_unit_test(def54_nothing_free_below_the_program),
		cmocka_unit_test(def334_runtime_addresses_lie_in_ntoskrnl),
		cmocka_unit_test(def7_one_address),
	};

	fake_boot();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
