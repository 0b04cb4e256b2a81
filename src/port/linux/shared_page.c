/* SPDX-License-Identifier: MIT */
/*
 * KUSER_SHARED_DATA: one page of a memfd, mapped twice.
 *
 * The read-only mapping lies at the documented user address 0x7FFE0000 inside 17 pages that nothing
 * else may use; the writable one lies anywhere. The kernel address 0xFFFFF78000000000 is not
 * mappable in a process: emulate.c redirects loads from it to the alias. Fields are written by raw
 * offsets, since drivers' headers are not the port's.
 *
 * Contexts: create and destroy at start and end of the machine. shared_page_update() anywhere, in a
 * signal handler that interrupts another update too, on any number of threads.
 *
 * Locks: none, and none is possible. A thread may lose its baton between any two instructions here
 * and stay parked for long; a lock that it held, or a try-lock that others then skip, would stop
 * the machine's clock. Instead each field only grows. A KSYSTEM_TIME is written as High2, then Low
 * and High1 in one 8-byte exchange (DEF-45 asks for High2, Low, High1; inline code reads Low and
 * High1 as one 8-byte load, PLT-7). Both steps are maxima, so
 *   - High2 >= High1 always; they differ only while an update is between its two steps at a carry
 * out of Low (every 429 s);
 *   - an update that was parked there is finished by whoever publishes next, and changes nothing
 * when it wakes. SystemTime at +14h is not 8-byte aligned but lies within one cache line, where x86
 * keeps such an exchange atomic.
 *
 * Requirements: PLT-7, DEF-43..47. Chosen where the documents are silent:
 *   - version 10.0.19045, product type 1 (workstation: there is no server of that build), suite
 * SINGLEUSERTS;
 *   - SystemTime does not step back with the host's clock: it stands still until the host has
 * caught up;
 *   - TimeZoneBias 0 (UTC), so that a run does not depend on where it runs;
 *   - processor features are those of the host's CPUID, where the host's kernel has enabled them;
 *   - the cookie is 0 and the debugger flag clear until their owner stores them by
 * shared_page_bytes().
 */
#define _GNU_SOURCE
#include "port/linux/shared_page.h"

#include <cpuid.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <uchar.h>
#include <unistd.h>

#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE (1 << 1)
#endif

#define TICK_MULTIPLIER     0x0FA00000u /* 15.625 ms in milliseconds, 8.24 fixed point (DEF-46) */
#define MACHINE_AMD64       0x8664
#define MAJOR_VERSION       10
#define MINOR_VERSION       0
#define BUILD_NUMBER        19045
#define PRODUCT_WORKSTATION 1
#define SUITE_SINGLEUSERTS  0x100
#define LARGE_PAGE          0x200000

struct __attribute__((packed)) unaligned64 {
	uint64_t value;
};

static unsigned char *page;

static void put16(unsigned offset, uint16_t value)
{
	memcpy(page + offset, &value, sizeof(value));
}

static void put32(unsigned offset, uint32_t value)
{
	memcpy(page + offset, &value, sizeof(value));
}

/* Stores desired if *p still is *expected; otherwise *expected becomes what *p is. A full barrier.
 */
static bool exchange64(unsigned char *p, uint64_t *expected, uint64_t desired)
{
	bool done;

	__asm__ volatile("lock cmpxchgq %[desired], %[memory]"
			 : "=@ccz"(done), "+a"(*expected), [memory] "+m"(*(struct unaligned64 *)p)
			 : [desired] "r"(desired)
			 : "memory");
	return done;
}

static uint64_t load64(const unsigned char *p)
{
	uint64_t value;

	__asm__ volatile("movq %[memory], %[value]"
			 : [value] "=r"(value)
			 : [memory] "m"(*(const struct unaligned64 *)p)
			 : "memory");
	return value;
}

static void publish(unsigned offset, uint64_t value)
{
	unsigned char *low = page + offset;
	uint32_t *high2 = (uint32_t *)(page + offset + 8);
	uint32_t high = (uint32_t)(value >> 32);
	uint64_t current = load64(low);
	uint32_t current_high;

	if (value <= current)
		return;
	current_high = __atomic_load_n(high2, __ATOMIC_RELAXED);
	while (current_high < high) {
		/* Read by drivers' code: they load High1, Low, High2 in this order, and x86 keeps
		 * it. */
		if (__atomic_compare_exchange_n(high2, &current_high, high, false, __ATOMIC_SEQ_CST,
						__ATOMIC_RELAXED))
			break;
	}
	while (current < value && !exchange64(low, &current, value))
		continue;
}

void shared_page_update(uint64_t system_time, uint64_t interrupt_time, uint64_t tick_count)
{
	publish(SHARED_PAGE_INTERRUPT_TIME, interrupt_time);
	publish(SHARED_PAGE_SYSTEM_TIME, system_time);
	publish(SHARED_PAGE_TICK_COUNT, tick_count);
}

unsigned char *shared_page_bytes(void)
{
	return page;
}

enum cpuid_register { EAX, EBX, ECX, EDX };

/* PF_* indices of winnt.h and the CPUID bit that each stands for. */
static const struct feature {
	unsigned char index;
	enum cpuid_register reg;
	unsigned char bit;
	uint32_t leaf;
} features[] = {
	{2, EDX, 8, 1},            /* COMPARE_EXCHANGE_DOUBLE */
	{3, EDX, 23, 1},           /* MMX */
	{6, EDX, 25, 1},           /* XMMI: SSE */
	{7, EDX, 31, 0x80000001},  /* 3DNOW */
	{8, EDX, 4, 1},            /* RDTSC */
	{9, EDX, 6, 1},            /* PAE */
	{10, EDX, 26, 1},          /* XMMI64: SSE2 */
	{12, EDX, 20, 0x80000001}, /* NX */
	{13, ECX, 0, 1},           /* SSE3 */
	{14, ECX, 13, 1},          /* COMPARE_EXCHANGE128 */
	{17, ECX, 27, 1},          /* XSAVE, as enabled by the host's kernel */
	{28, ECX, 30, 1},          /* RDRAND */
	{32, EDX, 27, 0x80000001}, /* RDTSCP */
	{33, ECX, 22, 7},          /* RDPID */
	{35, ECX, 29, 0x80000001}, /* MONITORX */
	{36, ECX, 9, 1},           /* SSSE3 */
	{37, ECX, 19, 1},          /* SSE4.1 */
	{38, ECX, 20, 1},          /* SSE4.2 */
	{39, ECX, 28, 1},          /* AVX */
	{40, EBX, 5, 7},           /* AVX2 */
	{41, EBX, 16, 7},          /* AVX512F */
	{42, EBX, 9, 7},           /* ERMS */
};

#define PF_FASTFAIL       23
#define PF_RDWRFSGSBASE   22
#define PF_FIRST_EXTENDED 39 /* AVX, AVX2, AVX512F: need state that the host's kernel saves */
#define PF_LAST_EXTENDED  41

/* XCR0: the states that the host's kernel saves. */
static uint32_t enabled_states(void)
{
	unsigned r[4] = {0};
	uint32_t low, high;

	if (!__get_cpuid(1, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) || !(r[ECX] & bit_OSXSAVE))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return low;
}

static void fill_features(void)
{
	const uint32_t avx_state = 0x6, avx512_state = 0xE6;
	unsigned char *present = page + SHARED_PAGE_FEATURES;
	uint32_t states = enabled_states();

	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		const struct feature *f = &features[i];
		unsigned r[4] = {0};

		if (__get_cpuid_count(f->leaf, 0, &r[EAX], &r[EBX], &r[ECX], &r[EDX]))
			present[f->index] = (r[f->reg] >> f->bit) & 1;
	}
	if ((states & avx_state) != avx_state)
		memset(present + PF_FIRST_EXTENDED, 0, PF_LAST_EXTENDED - PF_FIRST_EXTENDED + 1);
	if ((states & avx512_state) != avx512_state)
		present[PF_LAST_EXTENDED] = 0;
	present[PF_RDWRFSGSBASE] = (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE) != 0;
	present[PF_FASTFAIL] = 1; /* int 29h: emulate.c */
}

static void fill(void)
{
	static const char16_t root[] = u"C:\\Windows";

	put32(SHARED_PAGE_TICK_MULTIPLIER, TICK_MULTIPLIER);
	put16(SHARED_PAGE_IMAGE_NUMBER, MACHINE_AMD64);
	put16(SHARED_PAGE_IMAGE_NUMBER + 2, MACHINE_AMD64);
	memcpy(page + SHARED_PAGE_SYSTEM_ROOT, root, sizeof(root));
	put32(SHARED_PAGE_LARGE_PAGE_MIN, LARGE_PAGE);
	put32(SHARED_PAGE_BUILD_NUMBER, BUILD_NUMBER);
	put32(SHARED_PAGE_PRODUCT_TYPE, PRODUCT_WORKSTATION);
	page[SHARED_PAGE_PRODUCT_VALID] = 1;
	put32(SHARED_PAGE_MAJOR_VERSION, MAJOR_VERSION);
	put32(SHARED_PAGE_MINOR_VERSION, MINOR_VERSION);
	put32(SHARED_PAGE_SUITE_MASK, SUITE_SINGLEUSERTS);
	put32(SHARED_PAGE_PHYSICAL_PAGES, (uint32_t)sysconf(_SC_PHYS_PAGES));
	fill_features();
}

int shared_page_create(void)
{
	const size_t reserved_size = SHARED_PAGE_GUARD_END - SHARED_PAGE_GUARD_START;
	void *reserved = MAP_FAILED, *writable = MAP_FAILED, *alias;
	int fd, error;

	fd = memfd_create("ketch-shared-page", MFD_CLOEXEC);
	if (fd < 0)
		return errno;
	if (ftruncate(fd, SHARED_PAGE_SIZE) != 0)
		goto fail;
	writable = mmap(NULL, SHARED_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (writable == MAP_FAILED)
		goto fail;
	reserved = mmap((void *)SHARED_PAGE_GUARD_START, reserved_size, PROT_NONE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (reserved == MAP_FAILED)
		goto fail;
	if (reserved != (void *)SHARED_PAGE_GUARD_START) {
		errno = EEXIST; /* a host older than MAP_FIXED_NOREPLACE took the address as a hint
				 */
		goto fail;
	}
	alias = mmap((void *)SHARED_PAGE_USER, SHARED_PAGE_SIZE, PROT_READ, MAP_SHARED | MAP_FIXED,
		     fd, 0);
	if (alias == MAP_FAILED)
		goto fail;
	close(fd);
	page = writable;
	fill();
	return 0;

fail:
	error = errno;
	if (reserved != MAP_FAILED)
		munmap(reserved, reserved_size);
	if (writable != MAP_FAILED)
		munmap(writable, SHARED_PAGE_SIZE);
	close(fd);
	return error;
}

void shared_page_destroy(void)
{
	if (!page)
		return;
	munmap((void *)SHARED_PAGE_GUARD_START, SHARED_PAGE_GUARD_END - SHARED_PAGE_GUARD_START);
	munmap(page, SHARED_PAGE_SIZE);
	page = NULL;
}
