/* SPDX-License-Identifier: MIT */
/* kernel_processor.c: processors that join, on the machine's side; in the control thread at
 * PASSIVE_LEVEL. */
#include "bench/bench.h"
#include "ke/internal.h"
#include "ke/processor_change.h"
#include "machine/machine.h"

static void *handles[64];
static unsigned handle_count;
static volatile uint64_t starts, seconds;

static VOID NTAPI on_change(PVOID context, PKE_PROCESSOR_CHANGE_NOTIFY_CONTEXT change,
			    PNTSTATUS status)
{
	(void)context;
	(void)status;
	if (change->State == KeProcessorAddStartNotify)
		starts++;
	else
		seconds++;
}

void kernel_change_begin(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		handles[handle_count++] = KeRegisterProcessorChangeCallback(on_change, NULL, 0);
}

void kernel_change_end(void)
{
	while (handle_count)
		KeDeregisterProcessorChangeCallback(handles[--handle_count]);
}

/* One after the other, each with all notifications; a partition that is full gives no figure. */
double kernel_processor_add(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct ke_added added;
		uint64_t before = starts + seconds, begin = port_time_ns();
		NTSTATUS status = machine_processor_add(KE_ADD, &added);
		bench_record(port_time_ns() - begin);
		if (!NT_SUCCESS(status) || starts + seconds != before + 2)
			return -1;
	}
	return 0;
}

double kernel_processor_notify(unsigned count)
{
	struct ke_change_phase phase = {0};
	uint64_t begin = port_time_ns();
	for (unsigned i = 0; i < count; i++)
		ke_change_notify(&phase);
	return (double)(port_time_ns() - begin) / count / handle_count;
}
