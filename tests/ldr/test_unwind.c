// SPDX-License-Identifier: MIT
/*
 * The unwinder: from every instruction of real compiled functions, single-stepped (DEF-331,
 * DEF-333); every form of unwind code and epilogue by hand; hostile data. Arguments: the images to
 * step through.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fake_machine.h"
#include "ldr/exception.h"
#include "ldr/unwind.h"
#include "port/port.h"

static char **files;
static int file_count;

/* ---- Every instruction ---- */

struct entered {
	uint64_t slot; /* where the return address is */
	struct port_regs regs;
	uint8_t xmm[256];
};

static struct entered entered[64];
static unsigned depth, steps, wrong;
static struct port_regs before;
static char first_wrong[200];

static void complain(const struct port_regs *regs, unsigned frame, const char *what)
{
	if (wrong++ == 0) {
		const struct ldr_image *image = ldr_image_from_address(regs->rip);

		snprintf(first_wrong, sizeof(first_wrong), "%s+0x%lx frame %u of %u: %s",
			 image->name, (unsigned long)(regs->rip - image->base), frame, depth, what);
	}
}

static bool nonvolatile_equal(const struct port_regs *a, const struct port_regs *b)
{
	return a->rbx == b->rbx && a->rbp == b->rbp && a->rsi == b->rsi && a->rdi == b->rdi &&
	       a->r12 == b->r12 && a->r13 == b->r13 && a->r14 == b->r14 && a->r15 == b->r15;
}

/* Unwind through all frames, and compare with what was seen when each was entered. */
static void check_frames(const struct port_regs *regs, const uint8_t *fxsave)
{
	struct port_regs at = *regs;
	M128A xmm[16];

	memcpy(xmm, fxsave + 160, sizeof(xmm));
	for (unsigned frame = depth; frame-- > 0;) {
		const struct entered *expected = &entered[frame];
		struct ldr_function function;
		struct ldr_unwind unwind = {
			.registers = &at.rax,
			.xmm = xmm,
			.low = at.rsp,
			.high = (uint64_t)fake_thread.StackBase,
		};
		bool good = ldr_function_find(at.rip, &function) == LDR_FUNCTION_FOUND
				    ? ldr_unwind_function(&unwind, &function, 0)
				    : ldr_unwind_leaf(&unwind);

		if (!good) {
			complain(regs, frame, "no unwind");
			return;
		}
		if (at.rip != *(uint64_t *)expected->slot || at.rsp != expected->slot + 8) {
			complain(regs, frame, "wrong caller");
			return;
		}
		if (!nonvolatile_equal(&at, &expected->regs)) {
			complain(regs, frame, "wrong registers");
		}
		if (memcmp(&xmm[6], expected->xmm + 96, 160) != 0) {
			complain(regs, frame, "wrong XMM registers");
		}
	}
}

/*
 * libgcc's ___chkstk_ms begins with push rcx; push rax; cmp rax, 0x1000, and has no unwind data:
 * behind the pushes nobody can unwind it.
 */
static bool in_chkstk(const struct port_regs *regs)
{
	static const uint8_t begin[] = {0x51, 0x50, 0x48, 0x3d, 0, 0x10, 0, 0};
	const struct entered *last = &entered[depth - 1];

	return memcmp((const void *)last->regs.rip, begin, sizeof(begin)) == 0 &&
	       regs->rsp != last->slot;
}

static void on_step(const struct port_regs *regs, const uint8_t *fxsave)
{
	bool inside = ldr_image_from_address(regs->rip) != 0;
	uint64_t top;

	while (depth && regs->rsp > entered[depth - 1].slot) {
		depth--;
	}
	if (!inside) {
		before.rip = 0;
		return;
	}
	top = *(uint64_t *)regs->rsp;
	if (depth == 0 ||
	    (before.rip && regs->rsp == before.rsp - 8 && top > before.rip &&
	     top <= before.rip + 8 && !(regs->rip > before.rip && regs->rip <= before.rip + 8))) {
		assert_true(depth < 64);
		entered[depth].slot = regs->rsp;
		entered[depth].regs = *regs;
		memcpy(entered[depth].xmm, fxsave + 160, 256);
		depth++;
	}
	before = *regs;
	steps++;
	if (in_chkstk(regs)) {
		return;
	}
	check_frames(regs, fxsave);
}

static void test_every_instruction_DEF331_DEF333(void **state)
{
	(void)state;
	assert_true(file_count > 0);
	for (int i = 0; i < file_count; i++) {
		struct ldr_image *image = fake_image_load(files[i], false);
		uint64_t(NTAPI * shapes)(void) = fake_image_symbol(image, "shapes");
		uint64_t plain = shapes(), stepped;

		depth = steps = wrong = 0;
		before.rip = 0;
		fake_step = on_step;
		fake_step_on();
		stepped = shapes();
		fake_step_off();
		fake_step = 0;
		print_message("%s: %u instructions\n", image->name, steps);
		if (wrong) {
			fail_msg("%u wrong; the first: %s", wrong, first_wrong);
		}
		assert_true(steps > 500);
		assert_true(plain != 0 && stepped != 0);
		fake_image_forget(image);
	}
}

static void test_capture_context(void **state)
{
	CONTEXT context __attribute__((aligned(16)));

	(void)state;
	memset(&context, 0xee, sizeof(context));
	RtlCaptureContext(&context);
	assert_int_equal(context.ContextFlags & CONTEXT_FULL, CONTEXT_FULL);
	assert_true(context.Rip > (uint64_t)test_capture_context &&
		    context.Rip < (uint64_t)test_capture_context + 512);
	assert_int_equal(context.Rbp, (uint64_t)__builtin_frame_address(0));
	assert_true(context.Rsp < context.Rbp && context.Rsp > context.Rbp - 4096);
	assert_int_equal(context.FltSave.MxCsr & 0x1f80, 0x1f80);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_instruction_DEF331_DEF333),
		cmocka_unit_test(test_capture_context),
	};

	return cmocka_run_group_tests(tests, 0, 0);
}

int main(int argc, char **argv)
{
	files = argv + 1;
	file_count = argc - 1;
	return fake_machine_run(run);
}
