/* SPDX-License-Identifier: MIT */
/*
 * Stack walks (ke/walk.h): for RtlCaptureStackBackTrace, NMI, crash and hang reports.
 *
 * In a driver's function the unwind data says where the caller is. In the core, which is compiled
 * with frame pointers, the chain of RBP leads to the frame that a driver called; where a call
 * record lies on the way, the record is exact and is followed instead: from a DDI to the driver
 * that called it, from an NMI or interrupt to what it interrupted. A walk may begin at any
 * instruction, also before a core function has set up its frame. Then the frame pointer is still
 * the caller's; the first instructions are recognised, and where that fails but a record shows that
 * driver frames must lie between, the stack is searched for a return address into a driver.
 *
 * Contexts: any IRQL, NMI too; no locks. All memory is read through ke_guard_copy, stack slots only
 * inside the stack that the walk is on, and every step goes up that stack; so a walk ends whatever
 * it finds.
 *
 * Requirements: DEF-213, DEF-333, DEF-22, NMI-32.
 */
#include "ke/walk.h"
#include "ke/guard.h"
#include "ldr/ddi.h"
#include "ldr/ldr.h"
#include "ldr/unwind.h"
#include "rtl/rtl.h"

#define FRAMES_MAXIMUM 512
#define SEARCH_MAXIMUM 16384 /* bytes of stack that are searched for a lost driver frame */
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
	walk->unsure = exact;
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

/* Look for the return address of a core function into a driver, from RSP up to `end`. */
static bool search(struct ke_walk *walk, uint64_t end)
{
	uint64_t at = walk->regs.rsp, value;

	if (end - at > SEARCH_MAXIMUM) {
		end = at + SEARCH_MAXIMUM;
	}
	for (; at < end && read_stack(walk, at, &value); at += 8) {
		if (ldr_image_from_address(value) && follows_call(value)) {
			walk->regs.rip = value;
			walk->regs.rsp = at + 8;
			walk->exact = false;
			walk->unsure = false;
			return true;
		}
	}
	return false;
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
 * At an instruction of the core that has just been interrupted: recognise the first and last
 * instructions of a function, where RBP is the caller's.
 */
static bool without_frame(struct ke_walk *walk)
{
	uint64_t rip = walk->regs.rip, rsp = walk->regs.rsp, value;
	uint8_t at[4], before = 0;

	if (walk->nowhere || !ke_guard_copy(at, (const void *)rip, sizeof(at))) {
		/* nowhere: a jump through a bad pointer; the caller is on top of the stack */
		return read_stack(walk, rsp, &walk->regs.rip) && (walk->regs.rsp = rsp + 8);
	}
	(void)ke_guard_copy(&before, (const void *)(rip - 1), 1);
	if (at[0] == 0x55 || at[0] == 0xc3 || (at[0] == 0xf3 && at[1] == 0x0f && at[2] == 0x1e) ||
	    (rip >= (uint64_t)ddi_stubs_begin && rip < (uint64_t)ddi_stubs_end)) {
		/* push %rbp; ret; endbr64; an entry stub */
		return read_stack(walk, rsp, &walk->regs.rip) && (walk->regs.rsp = rsp + 8);
	}
	if (before == 0x55 && at[0] == 0x48 && at[1] == 0x89 && at[2] == 0xe5) {
		/* push %rbp is done, mov %rsp,%rbp not */
		if (!read_stack(walk, rsp, &value) || !read_stack(walk, rsp + 8, &walk->regs.rip)) {
			return false;
		}
		walk->regs.rbp = value;
		walk->regs.rsp = rsp + 16;
		return true;
	}
	return false;
}

static bool step_chain(struct ke_walk *walk)
{
	uint64_t rbp = walk->regs.rbp, next;

	if (!read_stack(walk, rbp, &next) || !read_stack(walk, rbp + 8, &walk->regs.rip)) {
		return false;
	}
	walk->regs.rsp = rbp + 16;
	walk->regs.rbp = next;
	walk->low = walk->regs.rsp;
	return true;
}

static bool step_core(struct ke_walk *walk)
{
	struct ke_call_record record;

	if (walk->unsure && without_frame(walk)) {
		walk->exact = false;
		walk->unsure = false;
		walk->low = walk->regs.rsp;
		return true;
	}
	for (unsigned i = 0; i < FRAMES_MAXIMUM; i++) {
		const struct ke_call_record *next =
			ke_walk_record(walk->thread, walk->record, walk->regs.rsp);
		uint64_t caller;
		bool chain = read_stack(walk, walk->regs.rbp + 8, &caller) && caller != 0 &&
			     on_stack(walk, walk->regs.rbp, 16);

		walk->record = next;
		if (!next || (chain && walk->regs.rbp < (uint64_t)next) ||
		    !on_stack(walk, (uint64_t)next, sizeof(record))) {
			if (walk->unsure && !chain) {
				walk->unsure = false;
				return search(walk, walk->high);
			}
			walk->exact = false;
			walk->unsure = false;
			return step_chain(walk);
		}
		/* The frame pointer leads past a record: is a driver's frame between? */
		if (walk->unsure && search(walk, (uint64_t)next)) {
			return true;
		}
		walk->unsure = false;
		if (!ke_guard_copy(&record, next, sizeof(record))) {
			return false;
		}
		walk->record = record.previous;
		if (follow_record(walk, &record)) {
			return true;
		}
		walk->regs.rsp = (uint64_t)next + sizeof(record);
	}
	return false;
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
	walk->unsure = false;
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
