/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/vf/fake_processor.h"

struct ke_processor fake_processor;
struct _KTHREAD fake_thread;

void fake_processor_begin(void)
{
	fake_processor = (struct ke_processor){.self = &fake_processor, .current = &fake_thread};
	fake_thread.records = NULL;
	fake_processor_hold();
}

void fake_processor_hold(void)
{
	if (syscall(SYS_arch_prctl, ARCH_SET_GS, &fake_processor))
		abort();
}
