/* SPDX-License-Identifier: MIT */
/*
 * Stack walks (ke/walk.h): for RtlCaptureStackBackTrace, NMI, crash and hang reports.
 *
 * In a driver's function the unwind data says where the caller is (ldr/unwind.c), in a function of
 * the core its call frame information does (ldr/walk_core.c), and the port knows the way back from
 * its handlers. Where none leads on (the entry of exception dispatch) the newest call record that
 * is not below RSP says what was interrupted, or who called. Other code that a processor may be in,
 * such as the host's memcpy, has no stack frame of its own when it is interrupted, or a frame
 * pointer, or a small frame.
 *
 * Contexts: any IRQL, NMI too; no locks. All memory is read through ke_guard_copy, stack slots only
 * inside the stack that the walk is on, and every step goes up that stack; so a walk ends whatever
 * it finds.
 *
 * Requirements: DEF-213, DEF-333, DEF-22, NMI-32.
 */
#include "ke/walk.h"
#include "ke/guard.h"
#include "ldr/ldr.h"
#include "ldr/trap.h"
#include "ldr/unwind.h"
#include "ldr/walk_core.h"
#include "rtl/rtl.h"

#define FRAMES_MAXIMUM 512
#define SEARCH_MAXIMUM 1024 /* bytes of stack that are searched in code of the host */
#define OTHER_STACK                                                                                \
	65536 /* bytes above RSP that count as the stack when it is not the thread's own */

static bool on_stack(const struct ke_walk *walk, uint64_t address, size_t size)
{
	return !(address & 7) && address >= walk->low && address < walk->high &&
	       walk->high - address >= size;
}

static bool read_stack(const struct ke_walk *walk, uint64_t address, uint64_t *value)
{
	return on_stack(walk, address, 8) && ke_guard_read64(address, value);
}

static bool on_thread_stack(const struct _KTHREAD *thread, uint64_t address)
{
	return address >= (uint64_t)thread->StackLimit && address < (uint64_t)thread->StackBase;
}

const struct ke_call_record *ke_walk_record(const struct _KTHREAD *thread,
					    const struct ke_call_record *record, uint64_t rsp)
{
	bool own = on_thread_stack(thread, rsp);

	for (unsigned i = 0; record && i < FRAMES_MAXIMUM; i++) {
		bool record_own = on_thread_stack(thread, (uint64_t)record);
		uint64_t previous;

		/* Another stack (an NMI's) is always newer than the thread's own. */
		if (own ? record_own && (uint64_t)record >= rsp
			: record_own || (uint64_t)record >= rsp) {
			return record;
		}
		if (!ke_guard_read64((uint64_t)&record->previous, &previous)) {
			return 0;
		}
		record = (const struct ke_call_record *)previous;
	}
	return 0;
}

/* The stack that RSP is on. */
static void find_stack(struct ke_walk *walk)
{
	uint64_t rsp = walk->regs.rsp;

	if (on_thread_stack(walk->thread, rsp)) {
		walk->low = rsp;
		walk->high = (uint64_t)walk->thread->StackBase;
	} else {
		walk->low = rsp;
		walk->high = rsp + OTHER_STACK < rsp ? UINT64_MAX : rsp + OTHER_STACK;
	}
}

/* The walk stands at new registers that are not the caller's of the last frame. */
static void jump(struct ke_walk *walk, bool exact)
{
	uint64_t original;

	if (exact && port_stub_lookup(walk->regs.rip, &original)) {
		walk->regs.rip = original;
	}
	walk->exact = exact;
	walk->nowhere = false;
	find_stack(walk);
}

void ke_walk_begin(struct ke_walk *walk, PKTHREAD thread, const struct port_regs *regs)
{
	memset(walk, 0, sizeof(*walk));
	walk->thread = thread;
	walk->record = thread->records;
	if (regs) {
		walk->regs = *regs;
	} else {
		uint64_t *frame = __builtin_frame_address(0);

		walk->regs.rbp = frame[0];
		walk->regs.rip = frame[1];
		walk->regs.rsp = (uint64_t)(frame + 2);
	}
	jump(walk, regs != 0);
}

static void record_to_regs(const struct ke_call_record *record, struct port_regs *regs)
{
	regs->rip = record->rip;
	regs->rsp = record->rsp;
	regs->rbx = record->rbx;
	regs->rbp = record->rbp;
	regs->rsi = record->rsi;
	regs->rdi = record->rdi;
	regs->r12 = record->r12;
	regs->r13 = record->r13;
	regs->r14 = record->r14;
	regs->r15 = record->r15;
}

void ke_walk_begin_caller(struct ke_walk *walk)
{
	const struct ke_call_record *record = ke_thread()->records;

	if (!record || record->kind != KE_RECORD_DDI) {
		ke_walk_begin(walk, ke_thread(), 0);
		return;
	}
	memset(walk, 0, sizeof(*walk));
	walk->thread = ke_thread();
	walk->record = record->previous;
	record_to_regs(record, &walk->regs);
	jump(walk, false);
}

/* True if `address` follows a call instruction: it may be a return address. */
static bool follows_call(uint64_t address)
{
	uint8_t bytes[8];

	if (!ke_guard_copy(bytes, (const void *)(address - sizeof(bytes)), sizeof(bytes))) {
		return false;
	}
	if (bytes[3] == 0xe8) {
		return true;
	}
	for (unsigned size = 2; size <= 7; size++) { /* FF /2 with its operand */
		const uint8_t *code = bytes + sizeof(bytes) - size;

		if (code[0] == 0xff && (code[1] & 0x38) == 0x10) {
			return true;
		}
	}
	return false;
}

/* True if code that we know may return there. */
static bool is_return_address(uint64_t address)
{
	return (ldr_image_from_address(address) || ldr_walk_core_function(address - 1)) &&
	       follows_call(address);
}

/* Go on where a record says. False: the record is no place to go on (a barrier). */
static bool follow_record(struct ke_walk *walk, const struct ke_call_record *record)
{
	CONTEXT context;

	switch (record->kind) {
	case KE_RECORD_DDI:
		record_to_regs(record, &walk->regs);
		jump(walk, false);
		return true;
	case KE_RECORD_TRAP:
		if (!ke_guard_copy(&context, record->context, sizeof(context))) {
			return false;
		}
		memcpy(&walk->regs, &context.Rax, 17 * sizeof(uint64_t));
		jump(walk, true);
		walk->nowhere = record->ddi != 0;
		return true;
	case KE_RECORD_INTERRUPT:
		port_frame_read(record->frame, &walk->regs);
		jump(walk, true);
		return true;
	default:
		return false;
	}
}

/*
 * In code that nobody describes (the host's): the return address is on top of the stack, or RBP
 * points below it; or it is the first near RSP that looks like one.
 */
static bool step_unknown(struct ke_walk *walk)
{
	uint64_t rsp = walk->regs.rsp, rbp = walk->regs.rbp, value, next;
	uint8_t code;

	if (walk->exact && read_stack(walk, rsp, &value) &&
	    (is_return_address(value) || walk->nowhere ||
	     !ke_guard_copy(&code, (const void *)walk->regs.rip, 1))) {
		walk->regs.rip = value;
		walk->regs.rsp = rsp + 8;
		return true;
	}
	if (rbp >= rsp && read_stack(walk, rbp, &next) && read_stack(walk, rbp + 8, &value) &&
	    is_return_address(value)) {
		walk->regs.rip = value;
		walk->regs.rsp = rbp + 16;
		walk->regs.rbp = next;
		return true;
	}
	for (; walk->exact && rsp < walk->regs.rsp + SEARCH_MAXIMUM; rsp += 8) {
		if (read_stack(walk, rsp, &value) && is_return_address(value)) {
			walk->regs.rip = value;
			walk->regs.rsp = rsp + 8;
			return true;
		}
	}
	return false;
}

/* Go on at the newest record that is a way on. */
static bool step_record(struct ke_walk *walk)
{
	struct ke_call_record record;

	for (unsigned i = 0; i < FRAMES_MAXIMUM; i++) {
		const struct ke_call_record *next =
			ke_walk_record(walk->thread, walk->record, walk->regs.rsp);

		if (!next || !ke_guard_copy(&record, next, sizeof(record))) {
			return false;
		}
		walk->record = record.previous;
		if (follow_record(walk, &record)) {
			return true;
		}
	}
	return false;
}

/*
 * A frame of the core has just been undone. If its callout record was in it, and was for an
 * interrupt, go on at what was interrupted: the frames behind it are the host's way of delivering
 * it.
 */
static void pass_interrupt(struct ke_walk *walk, uint64_t before)
{
	const struct ke_call_record *next = ke_walk_record(walk->thread, walk->record, before);
	struct ke_call_record record;

	if (next && (uint64_t)next >= before && (uint64_t)next < walk->regs.rsp &&
	    ke_guard_copy(&record, next, sizeof(record)) && record.kind == KE_RECORD_INTERRUPT) {
		walk->record = record.previous;
		(void)follow_record(walk, &record);
	}
}

/* At the way back from a handler of the port's: what it interrupted. */
static bool step_frame(struct ke_walk *walk)
{
	const struct port_frame *frame = port_frame_at(walk->regs.rip, walk->regs.rsp);
	uint8_t readable;

	if (!frame || !ke_guard_copy(&readable, (const uint8_t *)frame + 255, 1)) {
		return false;
	}
	port_frame_read(frame, &walk->regs);
	jump(walk, true);
	return true;
}

/* At the first function on a stack, which nobody called: the entry of exception dispatch leads on
 * to what trapped. */
static bool step_first(struct ke_walk *walk, uint64_t function)
{
	const struct ke_call_record *trap = ldr_trap_record(function, walk->regs.rsp);
	struct ke_call_record record;

	return trap && ke_guard_copy(&record, trap, sizeof(record)) && follow_record(walk, &record);
}

static bool step_core(struct ke_walk *walk)
{
	uint64_t before = walk->regs.rsp, function;

	if (step_frame(walk)) {
		return true;
	}
	function = walk->nowhere ? 0 : ldr_walk_core_function(walk->regs.rip - !walk->exact);
	if ((function && ldr_walk_core_step(&walk->regs, walk->exact, walk->low, walk->high)) ||
	    step_unknown(walk)) {
		walk->exact = false;
		walk->nowhere = false;
		walk->low = walk->regs.rsp;
		if (walk->regs.rip == 0) {
			return step_first(walk, function) || step_record(walk);
		}
		pass_interrupt(walk, before);
		return true;
	}
	return step_record(walk);
}

static bool step_driver(struct ke_walk *walk)
{
	uint64_t before = walk->regs.rsp;
	struct ldr_function function;
	struct ldr_unwind unwind = {
		.registers = &walk->regs.rax,
		.low = walk->low,
		.high = walk->high,
	};
	bool good;

	if (ldr_function_find(walk->regs.rip, &function) == LDR_FUNCTION_FOUND) {
		good = ldr_unwind_function(&unwind, &function, 0);
	} else {
		good = ldr_unwind_leaf(&unwind);
	}
	walk->exact = false;
	walk->low = walk->regs.rsp;
	return good && walk->regs.rsp > before;
}

bool ke_walk_next(struct ke_walk *walk)
{
	if (walk->ended || walk->frames++ == FRAMES_MAXIMUM) {
		return false;
	}
	if (walk->begun && !(walk->image ? step_driver(walk) : step_core(walk))) {
		walk->ended = true;
		return false;
	}
	walk->begun = true;
	if (walk->regs.rip == 0 && walk->frames > 1) {
		walk->ended = true;
		return false;
	}
	walk->address = walk->regs.rip;
	walk->stack = walk->regs.rsp;
	walk->image = ldr_image_from_address(walk->regs.rip);
	return true;
}

bool ke_where(uint64_t address, char *text, size_t size)
{
	if (ldr_image_from_address(address)) {
		return ldr_address_format(address, text, size) != 0;
	}
	if (size) {
		text[0] = 0;
	}
	return false;
}

const char *ke_where_driver(uint64_t address)
{
	const struct ldr_image *image = ldr_image_from_address(address);

	return image ? image->name : 0;
}
