/* SPDX-License-Identifier: MIT */
/* See fake_core.h. */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <sched.h>
#include <time.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "ex/ex.h"
#include "mm/mm.h"
#include "tests/ndk/fake_core.h"

enum vf_mode vf_mode = VF_OFF;

void fake_processor_enter(struct ke_processor *processor)
{
	processor->self = processor;
	syscall(SYS_arch_prctl, ARCH_SET_GS, processor);
}

void ke_irql_lower(KIRQL irql)
{
	ke_irql_set(irql);
}

void port_random(void *bytes, size_t size)
{
	if (getrandom(bytes, size, 0) != (ssize_t)size)
		abort();
}

uint64_t port_time_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void port_spin(unsigned round)
{
	if (round > 100)
		sched_yield();
}

void *ex_allocate(size_t size, ULONG tag, POOL_TYPE type)
{
	(void)tag;
	(void)type;
	return calloc(1, size);
}

void ex_free(void *block)
{
	free(block);
}

void *mm_virtual_of(uint64_t physical)
{
	return physical >> PAGE_SHIFT < FAKE_FIRST_FRAME ? NULL : (void *)physical;
}

bool ndk_busy_try(struct ndk_object *object)
{
	(void)object;
	return true;
}

void port_wait(_Atomic uint32_t *word, uint32_t value)
{
	for (unsigned round = 0; round < 1000 && atomic_load(word) == value; round++)
		sched_yield();
}

void port_wake(_Atomic uint32_t *word)
{
	(void)word;
}
