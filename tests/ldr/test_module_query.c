// SPDX-License-Identifier: MIT
/* What drivers ask about modules: a routine by name, the lists of loaded modules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <ntsysinfo.h>
#include "fake_kernel.h"
#include "pe_build.h"

static PVOID routine(const WCHAR *name, size_t characters)
{
	UNICODE_STRING string = {.Length = (USHORT)(2 * characters),
				 .MaximumLength = (USHORT)(2 * characters),
				 .Buffer = (WCHAR *)name};

	return MmGetSystemRoutineAddress(&string);
}

static void def125_routines_by_name(void **state)
{
	WCHAR long_name[300];

	(void)state;
	assert_ptr_equal(routine(L"HalSendNMI", 10), (void *)fake_halsendnmi);
	assert_ptr_equal(routine(L"HalSendNMI", 11), (void *)fake_halsendnmi); /* terminated */
	assert_ptr_equal(routine(L"NtBuildNumber", 13), &fake_variable);
	assert_null(routine(L"halsendnmi", 10));
	assert_null(routine(L"HalSendNM", 9));
	assert_null(routine(L"", 0));
	assert_null(routine(L"HalSendNM\x149", 10)); /* 0x49 is I */
	for (int i = 0; i < 300; i++)
		long_name[i] = 'x';
	assert_null(routine(long_name, 300));
}

static struct ldr_image *load(const char *name)
{
	static struct image file;
	struct ldr_request request = {.name = name, .file = &file, .size = sizeof(file)};
	struct ldr_image *image;

	image_build(&file);
	request.allow_missing = true;
	assert_int_equal(ldr_image_load(&request, &image), STATUS_SUCCESS);
	return image;
}

static void expect_module(const RTL_PROCESS_MODULE_INFORMATION *module, int number,
			  const char *path, const char *name)
{
	assert_string_equal((const char *)module->FullPathName, path);
	assert_string_equal((const char *)module->FullPathName + module->OffsetToFileName, name);
	assert_int_equal(module->LoadOrderIndex, number);
	assert_int_equal(module->LoadCount, 1);
}

static void def53_system_module_information(void **state)
{
	struct ldr_image *one = load("one.sys"), *two = load("two.sys");
	unsigned char *raw = malloc(8 + 4 * 0x128);
	RTL_PROCESS_MODULES *list = (RTL_PROCESS_MODULES *)raw;
	ULONG needed = 0;

	(void)state;
	assert_non_null(raw);
	memset(raw, 0xcc, 8 + 4 * 0x128);
	assert_int_equal(ZwQuerySystemInformation(11, NULL, 0, &needed),
			 STATUS_INFO_LENGTH_MISMATCH);
	assert_int_equal(needed, 8 + 4 * 0x128);
	assert_int_equal(ZwQuerySystemInformation(11, raw, needed - 1, NULL),
			 STATUS_INFO_LENGTH_MISMATCH);
	assert_int_equal(raw[0], 0xcc);
	needed = 0;
	assert_int_equal(ZwQuerySystemInformation(11, raw, 8 + 4 * 0x128, &needed), STATUS_SUCCESS);
	assert_int_equal(needed, 8 + 4 * 0x128);
	assert_int_equal(list->NumberOfModules, 4);
	assert_ptr_equal(&list->Modules[0], raw + 8);
	assert_ptr_equal(&list->Modules[1], raw + 8 + 0x128);
	expect_module(&list->Modules[0], 0, "\\SystemRoot\\system32\\ntoskrnl.exe", "ntoskrnl.exe");
	expect_module(&list->Modules[1], 1, "\\SystemRoot\\system32\\HAL.dll", "HAL.dll");
	expect_module(&list->Modules[2], 2, "\\SystemRoot\\system32\\drivers\\one.sys", "one.sys");
	assert_int_equal((uint64_t)list->Modules[2].ImageBase, one->base);
	assert_int_equal(list->Modules[2].ImageSize, one->size);
	assert_int_equal((uint64_t)list->Modules[3].ImageBase, two->base);
	assert_memory_equal((const void *)list->Modules[0].ImageBase, "MZ", 2);

	assert_int_equal(ldr_image_unload(one), STATUS_SUCCESS);
	assert_int_equal(ZwQuerySystemInformation(11, raw, 8 + 4 * 0x128, &needed), STATUS_SUCCESS);
	assert_int_equal(list->NumberOfModules, 3);
	assert_int_equal((uint64_t)list->Modules[2].ImageBase, two->base);
	assert_int_equal(ZwQuerySystemInformation(12, raw, 8 + 4 * 0x128, &needed),
			 STATUS_INVALID_INFO_CLASS);
	assert_int_equal(ldr_image_unload(two), STATUS_SUCCESS);
	assert_int_equal(fake_lock_depth, 0);
	free(raw);
}

static void def311_query_module_information(void **state)
{
	struct ldr_image *one = load("one.sys");
	RTL_MODULE_EXTENDED_INFO list[4];
	PVOID bases[4] = {0};
	ULONG length = 0;

	(void)state;
	assert_int_equal(sizeof(list[0]), 0x110);
	assert_int_equal(RtlQueryModuleInformation(&length, 0x110, NULL), STATUS_SUCCESS);
	assert_int_equal(length, 3 * 0x110);
	length--;
	assert_int_equal(RtlQueryModuleInformation(&length, 0x110, list), STATUS_BUFFER_TOO_SMALL);
	assert_int_equal(length, 3 * 0x110);
	memset(list, 0xcc, sizeof(list));
	assert_int_equal(RtlQueryModuleInformation(&length, 0x110, list), STATUS_SUCCESS);
	assert_int_equal((uint64_t)list[2].ImageBase, one->base);
	assert_int_equal(list[2].ImageSize, one->size);
	assert_string_equal(list[2].FullPathName + list[2].FileNameOffset, "one.sys");
	assert_int_equal(list[3].ImageSize, 0xcccccccc);
	length = sizeof(bases);
	assert_int_equal(RtlQueryModuleInformation(&length, 8, bases), STATUS_SUCCESS);
	assert_int_equal(length, 24);
	assert_ptr_equal(bases[0], list[0].ImageBase);
	assert_int_equal((uint64_t)bases[2], one->base);
	assert_null(bases[3]);
	assert_int_equal(RtlQueryModuleInformation(&length, 16, bases), STATUS_INVALID_PARAMETER);
	assert_int_equal(ldr_image_unload(one), STATUS_SUCCESS);
	assert_int_equal(fake_lock_depth, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(def125_routines_by_name),
		cmocka_unit_test(def53_system_module_information),
		cmocka_unit_test(def311_query_module_information),
	};

	fake_boot();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
