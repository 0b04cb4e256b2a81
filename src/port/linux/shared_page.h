/* SPDX-License-Identifier: MIT */
/* KUSER_SHARED_DATA, the page of time and version that drivers read without a call (DEF-43..47). */
#pragma once

#include <stdint.h>

#define SHARED_PAGE_KERNEL 0xFFFFF78000000000ULL /* not mappable in a process: emulate.c */
#define SHARED_PAGE_USER   0x7FFE0000ULL /* mapped read-only; port and core may read it directly */
#define SHARED_PAGE_SIZE   0x1000ULL

/* Around the alias nothing is mapped, so a read that leaves the page faults, as on the kernel's
 * address. */
#define SHARED_PAGE_GUARD_START (SHARED_PAGE_USER - 0x1000)
#define SHARED_PAGE_GUARD_END   (SHARED_PAGE_USER + 0x10000)

#define SHARED_PAGE_TICK_MULTIPLIER   0x004
#define SHARED_PAGE_INTERRUPT_TIME    0x008
#define SHARED_PAGE_SYSTEM_TIME       0x014
#define SHARED_PAGE_TIME_ZONE_BIAS    0x020
#define SHARED_PAGE_IMAGE_NUMBER      0x02C
#define SHARED_PAGE_SYSTEM_ROOT       0x030
#define SHARED_PAGE_LARGE_PAGE_MIN    0x244
#define SHARED_PAGE_BUILD_NUMBER      0x260
#define SHARED_PAGE_PRODUCT_TYPE      0x264
#define SHARED_PAGE_PRODUCT_VALID     0x268
#define SHARED_PAGE_MAJOR_VERSION     0x26C
#define SHARED_PAGE_MINOR_VERSION     0x270
#define SHARED_PAGE_FEATURES          0x274 /* 64 bytes */
#define SHARED_PAGE_SUITE_MASK        0x2D0
#define SHARED_PAGE_KD_ENABLED        0x2D4
#define SHARED_PAGE_PHYSICAL_PAGES    0x2E8
#define SHARED_PAGE_TICK_COUNT        0x320
#define SHARED_PAGE_COOKIE            0x330
#define SHARED_PAGE_ACTIVE_PROCESSORS 0x3C0
#define SHARED_PAGE_ACTIVE_GROUPS     0x3C4

/* Makes and fills the page. Returns 0 or an errno (EEXIST: something else lives at the alias). Not
 * in a handler. */
int shared_page_create(void);
void shared_page_destroy(void);

/* The writable mapping, for fields that others own (debugger flag, cookie, processor count). NULL
 * before create. */
unsigned char *shared_page_bytes(void);

/*
 * Publishes the time. Units: 100 ns since 1601, 100 ns since boot, clock ticks since boot. Any
 * context, any number of callers at once. A field never goes backwards: an older value is dropped.
 */
void shared_page_update(uint64_t system_time, uint64_t interrupt_time, uint64_t tick_count);
