// SPDX-License-Identifier: MIT
/*
 * Stack walks: from each instruction of a driver and of the kernel that it calls, and from an NMI's
 * stack (DEF-213). Arguments: unwind_faults.c's image.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

#include "faulty_driver.h"
#include "ke/walk.h"

#define SYSTEM_ADDRESS 0x480000001234 /* above MmSystemRangeStart; nothing is there */

static unsigned walk_steps, walk_wrong, walk_depth;
static char walk_first[256];
static const char *const walk_names[] = {"calls", "calls_inner", "calls_through", "callback"};
static struct {
	const char *name;
	uint64_t slot; /* of the return address */
} walk_active[8];

/* Keep account of which functions of the driver are active. */
static void walk_account(const struct port_regs *regs)
{
	while (walk_depth && regs->rsp > walk_active[walk_depth - 1].slot) {
		walk_depth--;
	}
	for (unsigned i = 0; i < 4; i++) {
		if (regs->rip == (uint64_t)fake_image_symbol(driver, walk_names[i])) {
			walk_active[walk_depth].name = walk_names[i];
			walk_active[walk_depth++].slot = regs->rsp;
		}
	}
}

static void walk_step(const struct port_regs *regs, const uint8_t *fxsave)
{
	uint64_t found[8] = {0};
	unsigned frames = 0;
	struct ke_walk walk;
	bool good;

	(void)fxsave;
	walk_account(regs);
	if (walk_depth == 0) {
		return;
	}
	walk_steps++;
	ke_walk_begin(&walk, &fake_thread, regs);
	while (frames < 8 && ke_walk_next(&walk)) {
		/* but for the linker's jump to an import */
		if (walk.image && memcmp((void *)walk.address, "\xff\x25", 2) != 0) {
			found[frames++] = walk.address;
		}
	}
	good = frames == walk_depth;
	for (unsigned i = 0; good && i < frames; i++) {
		good = in_export(found[i], walk_active[walk_depth - 1 - i].name);
	}
	if (!good && walk_wrong++ == 0) {
		snprintf(walk_first, sizeof(walk_first),
			 "%s 0x%lx: %u frames instead of %u, +0x%lx",
			 ldr_image_from_address(regs->rip) ? "driver" : "core",
			 (unsigned long)regs->rip, frames, walk_depth,
			 (unsigned long)(found[0] - driver->base));
	}
}

static void walk_through(const char *name, bool checked)
{
	static KEVENT event;
	static uint64_t buffer[4];
	void(NTAPI * routine)(void *, void *);

	fake_image_forget(driver);
	driver = fake_image_load(file, checked);
	routine = export(name);
	routine(&event, buffer); /* the host's linker has bound what the kernel calls then */
	walk_steps = walk_wrong = walk_depth = 0;
	fake_step = walk_step;
	fake_step_on();
	routine(&event, buffer);
	fake_step_off();
	fake_step = 0;
	print_message("%s: %u instructions\n", name, walk_steps);
	if (walk_wrong) {
		fail_msg("%u wrong; the first: %s", walk_wrong, walk_first);
	}
	assert_true(walk_steps > 500);
}

/* Where an NMI may hit: in the driver, in stubs and thunks, in functions of the kernel of all
 * kinds. */
static void test_walk_from_every_instruction_DEF213(void **state)
{
	(void)state;
	walk_through("calls", false);
	walk_through("calls", true);
	walk_through("calls_through", false);
	walk_through("calls_through", true);
}

/* From an NMI's stack to what it interrupted. */
static unsigned nmi_frames;
static PVOID nmi_trace[16];

static void nmi_captures(struct port_frame *frame)
{
	USHORT(NTAPI * trace)(ULONG, PVOID *) = export("capture");
	struct ke_call_record record;

	ke_callout_begin(&record, frame);
	nmi_frames = trace(16, nmi_trace);
	ke_callout_end(&record);
}

static void NTAPI raise_nmi(void *context)
{
	(void)context;
	raise(SIGUSR1);
}

static void test_back_trace_in_an_nmi_DEF213(void **state)
{
	(void)state;
	fake_nmi = nmi_captures;
	call("fault_call", raise_nmi);
	fake_nmi = 0;
	assert_int_equal(nmi_frames, 2);
	assert_true(in_export((uint64_t)nmi_trace[0], "capture"));
	assert_true(in_export((uint64_t)nmi_trace[1], "fault_call"));
	assert_null(fake_thread.records);
}

static int run(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_walk_from_every_instruction_DEF213),
		TEST(test_back_trace_in_an_nmi_DEF213),
	};

	return cmocka_run_group_tests(tests, 0, 0);
}

int main(int argc, char **argv)
{
	file = argc > 1 ? argv[1] : "";
	return fake_machine_run(run);
}
