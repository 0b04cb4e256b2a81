// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include "fake_kernel.h"

#include <asm/prctl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ex/ex.h"
#include "ke/guard.h"
#include "ldr/ddi.h"
#include "port/port.h"

size_t fake_blocks;
int fake_lock_depth;
uint64_t fake_page_calls;
char fake_printed[256];
struct fake_stop fake_stop;
int fake_protect_fails = -1, fake_allocate_fails = -1;
size_t fake_reserve_limit = SIZE_MAX;
bool fake_hints_ignored;
enum vf_mode vf_mode;

static void require(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "fake kernel: %s\n", what);
	abort();
}

/* ---- port ---- */

static bool fails(int *after)
{
	return *after >= 0 && (*after)-- == 0;
}

static int host_protection(unsigned protection)
{
	return (protection & PORT_READ ? PROT_READ : 0) |
	       (protection & PORT_WRITE ? PROT_WRITE : 0) |
	       (protection & PORT_EXECUTE ? PROT_EXEC : 0);
}

void *port_pages_reserve(void *hint, size_t size)
{
	void *got = size > fake_reserve_limit
			    ? MAP_FAILED
			    : mmap(fake_hints_ignored ? NULL : hint, size, PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	fake_page_calls++;
	return got == MAP_FAILED ? NULL : got;
}

bool port_pages_protect(void *base, size_t size, unsigned protection)
{
	fake_page_calls++;
	require((protection & (PORT_WRITE | PORT_EXECUTE)) != (PORT_WRITE | PORT_EXECUTE) ||
			strcmp(fake_printed, "rwx allowed") == 0,
		"pages writable and executable");
	if (fails(&fake_protect_fails))
		return false;
	return mprotect(base, size, host_protection(protection)) == 0;
}

void port_pages_decommit(void *base, size_t size)
{
	fake_page_calls++;
	require(mmap(base, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
		     -1, 0) == base,
		"decommit");
}

void port_pages_release(void *base, size_t size)
{
	fake_page_calls++;
	require(munmap(base, size) == 0, "release");
}

void port_random(void *bytes, size_t size)
{
	require(getrandom(bytes, size, 0) == (ssize_t)size, "random");
}

/* ---- ke, ex ---- */

void NTAPI KeInitializeMutex(PRKMUTEX mutex, ULONG level)
{
	(void)mutex;
	(void)level;
}

NTSTATUS NTAPI KeWaitForSingleObject(PVOID object, KWAIT_REASON reason, KPROCESSOR_MODE mode,
				     BOOLEAN alertable, PLARGE_INTEGER timeout)
{
	(void)object;
	require(reason == Executive && mode == KernelMode && !alertable && !timeout, "wait");
	fake_lock_depth++;
	return STATUS_SUCCESS;
}

LONG NTAPI KeReleaseMutex(PRKMUTEX mutex, BOOLEAN wait)
{
	(void)mutex;
	require(!wait && fake_lock_depth > 0, "release of a mutex");
	fake_lock_depth--;
	return 0;
}

void ke_print(enum port_stream stream, const char *format, ...)
{
	va_list arguments;

	require(stream == PORT_STREAM_REPORT, "stream");
	va_start(arguments, format);
	vsnprintf(fake_printed, sizeof(fake_printed), format, arguments);
	va_end(arguments);
}

void ke_bugcheck(ULONG code, uint64_t p1, uint64_t p2, uint64_t p3, uint64_t p4,
		 const struct ke_bugcheck_detail *detail)
{
	const uint64_t parameters[4] = {p1, p2, p3, p4};

	require(fake_stop.armed, "unexpected bug check");
	fake_stop.armed = false;
	fake_stop.code = code;
	memcpy(fake_stop.parameters, parameters, sizeof(parameters));
	fake_stop.address = detail->address;
	snprintf(fake_stop.text, sizeof(fake_stop.text), "%s", detail->text);
	longjmp(fake_stop.back, 1);
}

bool ke_guard_copy(void *to, const void *from, size_t size)
{
	int ends[2];
	bool good;

	/* The host says EFAULT where the access would fault. */
	require(size <= 4096 && pipe(ends) == 0, "pipe");
	good = write(ends[1], from, size) == (ssize_t)size &&
	       read(ends[0], to, size) == (ssize_t)size;
	close(ends[0]);
	close(ends[1]);
	return good;
}

void *ex_allocate(size_t size, ULONG tag, POOL_TYPE type)
{
	void *block;

	if (fails(&fake_allocate_fails))
		return NULL;
	block = calloc(1, size);
	require(block && tag && type == NonPagedPoolNx, "allocation");
	fake_blocks++;
	return block;
}

void ex_free(void *block)
{
	if (block)
		fake_blocks--;
	free(block);
}

/* ---- The table ---- */

int fake_variable = 42;

ULONG NTAPI fake_dbgprint(const char *format, ...)
{
	(void)format;
	return 0;
}

void NTAPI fake_bugcheckex(void)
{
}

uint64_t NTAPI fake_halsendnmi(uint64_t argument)
{
	return argument + 1;
}

void NTAPI fake_checked(void)
{
}

const struct ddi ddi_table[] = {
	{.name = "KeBugCheckEx",
	 .function = fake_bugcheckex,
	 .entry = fake_bugcheckex,
	 .entry_checked = fake_checked,
	 .module = DDI_NTOSKRNL},
	{.name = "DbgPrint",
	 .function = fake_dbgprint,
	 .entry = fake_dbgprint,
	 .entry_checked = fake_checked,
	 .module = DDI_NTOSKRNL},
	{.name = "HalSendNMI",
	 .function = fake_halsendnmi,
	 .entry = fake_halsendnmi,
	 .entry_checked = fake_checked,
	 .module = DDI_HAL},
#define ROW(text)                                                                                  \
	{                                                                                          \
		.name = text, .function = fake_checked, .entry = fake_checked,                     \
		.entry_checked = fake_checked, .module = DDI_NTOSKRNL                              \
	}
	ROW("Zulu"),
	ROW("Alpha"),
	ROW("Mike"),
	ROW("_under"),
	ROW("Bravo"),
	ROW("Yankee"),
	ROW("MikeX"),
	ROW("Charlie"),
	ROW("Mik"),
	{.name = "NtBuildNumber", .function = &fake_variable, .module = DDI_NTOSKRNL, .data = true},
	{.name = "WskRegister",
	 .function = fake_checked,
	 .entry = fake_checked,
	 .entry_checked = fake_checked,
	 .module = DDI_NETIO},
};
const uint32_t ddi_count = sizeof(ddi_table) / sizeof(ddi_table[0]);

static int family(unsigned int module)
{
	return module == DDI_HAL ? DDI_NTOSKRNL : (int)module;
}

const struct ddi *ddi_find(enum ddi_module module, const char *name)
{
	for (uint32_t i = 0; i < ddi_count; i++) {
		if (family(ddi_table[i].module) == family(module) &&
		    strcmp(ddi_table[i].name, name) == 0)
			return &ddi_table[i];
	}
	return NULL;
}

const char *ddi_module_name(enum ddi_module module)
{
	static const char *const names[] = {"ntoskrnl.exe", "HAL.dll", "NETIO.SYS", "NDIS.SYS"};

	return names[module];
}

/* ---- ---- */

void fake_boot(void)
{
	static struct ke_processor processor;
	static struct _KTHREAD thread;

	processor.self = &processor;
	processor.current = &thread;
	require(syscall(SYS_arch_prctl, ARCH_SET_GS, &processor) == 0, "GS");
	require(NT_SUCCESS(ldr_initialize()), "ldr_initialize");
}

const char *fake_protection(uint64_t address)
{
	static char protection[4];
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];

	require(maps, "/proc/self/maps");
	protection[0] = 0;
	while (fgets(line, sizeof(line), maps)) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx %3c", &start, &end, protection) == 3 &&
		    address >= start && address < end)
			break;
		protection[0] = 0;
	}
	fclose(maps);
	return protection;
}

/* ---- mm: remembers what it was told ---- */

#include "mm/mm.h"

unsigned fake_sections, fake_pageable_sections;
static struct mm_section sections[256];

bool mm_section_add(const struct mm_section *section)
{
	for (unsigned i = 0; i < 256; i++) {
		if (sections[i].size)
			continue;
		sections[i] = *section;
		fake_sections++;
		fake_pageable_sections += section->pageable;
		return true;
	}
	return false;
}

static void forget(struct mm_section *section)
{
	fake_sections--;
	fake_pageable_sections -= section->pageable;
	section->size = 0;
}

void mm_section_remove(void *base)
{
	for (unsigned i = 0; i < 256; i++) {
		if (sections[i].size && sections[i].base == base)
			forget(&sections[i]);
	}
}

void mm_section_remove_image(uint64_t image_base)
{
	for (unsigned i = 0; i < 256; i++) {
		if (sections[i].size && sections[i].image_base == image_base)
			forget(&sections[i]);
	}
}

/* ---- vf: is told of each image, in its final state ---- */

unsigned fake_judged;

void vf_image_loaded(uint64_t base, const struct ldr_pe *pe)
{
	(void)pe;
	fake_judged += ldr_image_state(ldr_image_from_address(base)) == LDR_LOADED;
}
