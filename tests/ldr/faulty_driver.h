/* SPDX-License-Identifier: MIT */
/* unwind_faults.c's image, loaded anew for each test of a program. For one C file. */
#pragma once

#include <string.h>
#include <cmocka.h>
#include "fake_machine.h"
#include "ldr/unwind.h"

static const char *file;
static struct ldr_image *driver;

static inline void *export(const char *name)
{
	fake_machine_handle();
	return fake_image_symbol(driver, name);
}

static inline void load(void)
{
	driver = fake_image_load(file, false);
}

static inline int setup(void **state)
{
	(void)state;
	load();
	fake_processor.irql = PASSIVE_LEVEL;
	fake_thread.system_thread = true;
	fake_report[0] = 0;
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	fake_image_forget(driver);
	return 0;
}

static inline void call(const char *name, void *value)
{
	((void(NTAPI *)(void *)) export(name))(value);
}

static inline bool in_export(uint64_t address, const char *name)
{
	uint64_t begin = (uint64_t)fake_image_symbol(driver, name);
	struct ldr_function function;

	if (ldr_function_find(address, &function) == LDR_FUNCTION_FOUND) {
		return function.base + function.row.BeginAddress == begin;
	}
	return address >= begin && address < begin + 32;
}

#define assert_contains(text, part)                                                                \
	do {                                                                                       \
		if (!strstr(text, part))                                                           \
			fail_msg("\"%s\" is not in \"%s\"", part, text);                           \
	} while (0)
