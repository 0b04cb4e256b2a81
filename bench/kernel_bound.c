/* SPDX-License-Identifier: MIT */
/* kernel_bound.c: bound exceptions of a user program, handled in the machine; in the control thread
 * at PASSIVE_LEVEL. */
#include <nttrap.h>
#include "bench/bench.h"
#include "ke/bound.h"
#include "ke/internal.h"
#include "ps/user.h"

static const char *program_path;
static uint64_t first_ns, last_ns;
static unsigned faults;

static BOUND_CALLBACK_STATUS NTAPI on_bound(void)
{
	last_ns = port_time_ns();
	if (!faults++)
		first_ns = last_ns;
	ke_thread()->TrapFrame->Rip += 2;
	return BoundExceptionHandled;
}

void kernel_bound_set(const char *path)
{
	ke_bound_anywhere = true; /* our callback lies in no driver */
	program_path = path;
}

double kernel_bound_handled(unsigned count)
{
	char number[16];
	const char *const arguments[] = {program_path, number, NULL};
	struct ps_program *program;
	LARGE_INTEGER pause = {.QuadPart = -10000};
	PVOID handle = KeRegisterBoundCallback(on_bound);
	rtl_print(number, sizeof number, "%u", count);
	faults = 0;
	if (!handle || !NT_SUCCESS(ps_user_start(arguments, &program)))
		return -1;
	while (atomic_load(&program->state) < PS_PROGRAM_FAILED)
		KeDelayExecutionThread(KernelMode, FALSE, &pause);
	KeDeregisterBoundCallback(handle);
	return faults == count ? (double)(last_ns - first_ns) / (count - 1) : -1;
}
