/* SPDX-License-Identifier: MIT */
/*
 * Undo one frame by the unwind codes of its function.
 *
 * Contexts: any IRQL, NMI too; no locks. Images and stacks are read through ke_guard_copy, image
 * addresses are checked against the image's size, stack addresses against the limits that the
 * caller gives.
 *
 * Requirements: DEF-331 (version 1; the epilog codes of version 2 are skipped, epilogues are
 * recognised by their instructions in both), DEF-333 (leaf functions, chained entries), DEF-310.
 *
 * Chosen where documents are silent: a chain is followed over at most 32 rows; an unknown code
 * makes the whole frame unreadable instead of a guess.
 */
#include "ldr/unwind.h"
#include "ke/guard.h"
#include "rtl/rtl.h"

#define CHAIN_MAXIMUM 32

/* UNWIND_INFO as read from an image. */
struct info {
	uint8_t version, flags, prologue, count;
	uint8_t frame_register, frame_offset;
	uint32_t tail; /* RVA behind the codes */
	UNWIND_CODE codes[256];
};

bool ldr_unwind_read(const struct ldr_unwind *unwind, uint64_t address, void *to, size_t size)
{
	if (address & 7 || address < unwind->low || address >= unwind->high ||
	    unwind->high - address < size) {
		return false;
	}
	return ke_guard_copy(to, (const void *)address, size);
}

bool ldr_unwind_image(const struct ldr_function *function, uint64_t rva, void *to, size_t size)
{
	if (rva > function->size || function->size - rva < size) {
		return false;
	}
	return ke_guard_copy(to, (const void *)(function->base + rva), size);
}

static bool info_read(const struct ldr_function *function, uint32_t rva, struct info *info)
{
	uint8_t head[4];

	if (rva & 3 || !ldr_unwind_image(function, rva, head, sizeof(head))) {
		return false;
	}
	info->version = head[0] & 7;
	info->flags = head[0] >> 3;
	info->prologue = head[1];
	info->count = head[2];
	info->frame_register = head[3] & 15;
	info->frame_offset = head[3] >> 4;
	info->tail = rva + 4 + 2u * ((info->count + 1u) & ~1u);
	if (info->version != 1 && info->version != 2) {
		return false;
	}
	return ldr_unwind_image(function, rva + 4, info->codes, 2u * info->count);
}

/* The next row of a chain. */
static bool info_next(const struct ldr_function *function, const struct info *info,
		      RUNTIME_FUNCTION *next)
{
	return ldr_unwind_image(function, info->tail, next, sizeof(*next));
}

bool ldr_unwind_primary(const struct ldr_function *function, RUNTIME_FUNCTION *primary)
{
	struct info info;

	*primary = function->row;
	for (unsigned depth = 0; depth < CHAIN_MAXIMUM; depth++) {
		if (!info_read(function, primary->UnwindData, &info)) {
			return false;
		}
		if (!(info.flags & UNW_FLAG_CHAININFO)) {
			return true;
		}
		if (!info_next(function, &info, primary)) {
			return false;
		}
	}
	return false;
}

static bool pop(struct ldr_unwind *unwind, unsigned number)
{
	uint64_t *rsp = &unwind->registers[UNWIND_RSP], at = *rsp, value;

	if (!ldr_unwind_read(unwind, at, &value, sizeof(value))) {
		return false;
	}
	*rsp = at + 8;
	unwind->registers[number] = value;
	if (unwind->saved_at && number < UNWIND_RIP) {
		unwind->saved_at->IntegerContext[number] = (PULONG64)at;
	}
	return true;
}

static bool load(struct ldr_unwind *unwind, unsigned number, uint64_t at)
{
	if (!ldr_unwind_read(unwind, at, &unwind->registers[number], 8)) {
		return false;
	}
	if (unwind->saved_at) {
		unwind->saved_at->IntegerContext[number] = (PULONG64)at;
	}
	return true;
}

static bool load_xmm(struct ldr_unwind *unwind, unsigned number, uint64_t at)
{
	M128A value;

	if (!ldr_unwind_read(unwind, at, &value, sizeof(value))) {
		return false;
	}
	if (unwind->xmm) {
		unwind->xmm[number] = value;
	}
	if (unwind->saved_at) {
		unwind->saved_at->FloatingContext[number] = (PM128A)at;
	}
	return true;
}

/* A frame that the processor pushed: RIP, CS, RFLAGS, RSP, SS, below them perhaps an error code. */
static bool pop_machine_frame(struct ldr_unwind *unwind, bool error_code)
{
	uint64_t at = unwind->registers[UNWIND_RSP] + (error_code ? 8 : 0);

	return ldr_unwind_read(unwind, at, &unwind->registers[UNWIND_RIP], 8) &&
	       ldr_unwind_read(unwind, at + 24, &unwind->registers[UNWIND_RSP], 8);
}

/* Slots that a code takes; 0: not a code. */
static unsigned code_slots(UNWIND_CODE code)
{
	switch (code.UnwindOp) {
	case UWOP_PUSH_NONVOL:
	case UWOP_ALLOC_SMALL:
	case UWOP_SET_FPREG:
		return 1;
	case UWOP_PUSH_MACHFRAME:
		return code.OpInfo <= 1 ? 1 : 0;
	case UWOP_ALLOC_LARGE:
		return code.OpInfo == 0 ? 2 : code.OpInfo == 1 ? 3 : 0;
	case UWOP_SAVE_NONVOL:
	case UWOP_SAVE_XMM128:
		return 2;
	case UWOP_SAVE_NONVOL_FAR:
	case UWOP_SAVE_XMM128_FAR:
		return 3;
	default:
		return 0;
	}
}

/*
 * Version 2 begins with epilog codes, padded to an even number by an empty one. They only say where
 * the epilogues are.
 */
static unsigned epilog_codes(const struct info *info)
{
	unsigned count = 0;

	if (info->version < 2) {
		return 0;
	}
	while (count < info->count && info->codes[count].UnwindOp == UWOP_EPILOG) {
		count++;
	}
	if (count & 1 && count < info->count && info->codes[count].FrameOffset == 0) {
		count++;
	}
	return count;
}

/* Undo one code. `base`: the address that saved registers are relative to. */
static bool code_undo(struct ldr_unwind *unwind, const struct info *info, unsigned index,
		      uint64_t base, bool *machine_frame)
{
	const UNWIND_CODE *code = &info->codes[index];
	uint64_t *rsp = &unwind->registers[UNWIND_RSP];
	uint32_t small = 0, large = 0;

	if (index + 1 < info->count) {
		small = code[1].FrameOffset;
	}
	if (index + 2 < info->count) {
		large = small | (uint32_t)code[2].FrameOffset << 16;
	}
	switch (code->UnwindOp) {
	case UWOP_PUSH_NONVOL:
		return pop(unwind, code->OpInfo);
	case UWOP_ALLOC_LARGE:
		*rsp += code->OpInfo ? large : small * 8ull;
		return true;
	case UWOP_ALLOC_SMALL:
		*rsp += code->OpInfo * 8ull + 8;
		return true;
	case UWOP_SET_FPREG:
		*rsp = unwind->registers[info->frame_register] - 16ull * info->frame_offset;
		return true;
	case UWOP_SAVE_NONVOL:
		return load(unwind, code->OpInfo, base + small * 8ull);
	case UWOP_SAVE_NONVOL_FAR:
		return load(unwind, code->OpInfo, base + large);
	case UWOP_SAVE_XMM128:
		return load_xmm(unwind, code->OpInfo, base + small * 16ull);
	case UWOP_SAVE_XMM128_FAR:
		return load_xmm(unwind, code->OpInfo, base + large);
	case UWOP_PUSH_MACHFRAME:
		*machine_frame = true;
		return pop_machine_frame(unwind, code->OpInfo);
	default:
		return false;
	}
}

/* True if the frame register holds the frame `offset` bytes into the function. */
static bool frame_register_set(const struct info *info, uint64_t offset)
{
	unsigned slots;

	if (info->frame_register == 0) {
		return false;
	}
	if (offset >= info->prologue || info->flags & UNW_FLAG_CHAININFO) {
		return true;
	}
	for (unsigned i = epilog_codes(info); i < info->count; i += slots) {
		slots = code_slots(info->codes[i]);
		if (slots == 0) {
			return false;
		}
		if (info->codes[i].UnwindOp == UWOP_SET_FPREG) {
			return info->codes[i].CodeOffset <= offset;
		}
	}
	return false;
}

static uint64_t frame_base(const struct ldr_unwind *unwind, const struct info *info,
			   uint64_t offset)
{
	if (frame_register_set(info, offset)) {
		return unwind->registers[info->frame_register] - 16ull * info->frame_offset;
	}
	return unwind->registers[UNWIND_RSP];
}

/* Undo the codes of one row as far as they have been executed `offset` bytes into it. */
static bool info_undo(struct ldr_unwind *unwind, const struct info *info, uint64_t offset,
		      uint64_t base, bool *machine_frame)
{
	unsigned slots;

	for (unsigned i = epilog_codes(info); i < info->count; i += slots) {
		slots = code_slots(info->codes[i]);
		if (slots == 0 || i + slots > info->count) {
			return false;
		}
		if (info->codes[i].CodeOffset <= offset &&
		    !code_undo(unwind, info, i, base, machine_frame)) {
			return false;
		}
	}
	return true;
}

static void find_handler(struct ldr_unwind *unwind, const struct ldr_function *function,
			 const struct info *primary, unsigned flags)
{
	uint32_t rva;

	if (primary->flags & flags & (UNW_FLAG_EHANDLER | UNW_FLAG_UHANDLER) &&
	    ldr_unwind_image(function, primary->tail, &rva, sizeof(rva)) && rva < function->size) {
		unwind->handler = rva;
		unwind->handler_data = function->base + primary->tail + 4;
	}
}

bool ldr_unwind_function(struct ldr_unwind *unwind, const struct ldr_function *function,
			 unsigned flags)
{
	uint64_t offset =
		unwind->registers[UNWIND_RIP] - function->base - function->row.BeginAddress;
	uint64_t before = unwind->registers[UNWIND_RSP];
	bool machine_frame = false, done = false, body;
	RUNTIME_FUNCTION next;
	struct info info;

	unwind->handler = 0;
	unwind->handler_data = 0;
	unwind->interrupted = false;
	if (!info_read(function, function->row.UnwindData, &info)) {
		return false;
	}
	body = offset >= info.prologue || info.flags & UNW_FLAG_CHAININFO;
	unwind->establisher = frame_base(unwind, &info, offset);
	if (body) {
		if (!ldr_unwind_epilogue(unwind, function, info.frame_register, &done)) {
			return false;
		}
		if (done) {
			unwind->establisher = before;
			return unwind->registers[UNWIND_RSP] > before;
		}
	}
	if (!info_undo(unwind, &info, offset, unwind->establisher, &machine_frame)) {
		return false;
	}
	for (unsigned depth = 0; info.flags & UNW_FLAG_CHAININFO; depth++) {
		if (depth == CHAIN_MAXIMUM || !info_next(function, &info, &next) ||
		    !info_read(function, next.UnwindData, &info) ||
		    !info_undo(unwind, &info, UINT64_MAX, frame_base(unwind, &info, UINT64_MAX),
			       &machine_frame)) {
			return false;
		}
	}
	if (body) {
		find_handler(unwind, function, &info, flags);
	}
	unwind->interrupted = machine_frame;
	if (!machine_frame && !pop(unwind, UNWIND_RIP)) {
		return false;
	}
	return machine_frame || unwind->registers[UNWIND_RSP] > before;
}

bool ldr_unwind_leaf(struct ldr_unwind *unwind)
{
	unwind->handler = 0;
	unwind->handler_data = 0;
	unwind->interrupted = false;
	unwind->establisher = unwind->registers[UNWIND_RSP];
	return pop(unwind, UNWIND_RIP);
}
