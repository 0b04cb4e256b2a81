/* SPDX-License-Identifier: MIT */
/*
 * bound_decode.c: see bound_decode.h (BND-27..29, BND-32).
 *
 * A tracer gets SIGSEGV with SI_KERNEL for #BR, and the same for #GP: nothing that the host tells
 * has the vector. But a BOUND instruction raises #GP only for reasons that can be seen: its
 * segment, its limit, its length. So the instruction is done again here, up to the comparison,
 * exactly as the processor does it: fetch within CS, prefixes, effective address, segment, limit,
 * both bounds, signed compare. tests/port/bound_decode compares each answer with the processor's
 * own.
 *
 * Context: the tracer of a stopped user thread; no baton, no locks, no state.
 *
 * What cannot be seen: a descriptor changed after it was loaded, and bounds that another thread of
 * the program changed between the fault and this look. If they are right by now it is called
 * IN_RANGE, and the program gets its signal.
 */
#include "port/linux/bound_decode.h"
#include <Zydis/Zydis.h>
#include <string.h>

#define LONGEST 15 /* bytes of an instruction; a longer one is #GP */

/* Which segment register an operand uses. */
struct place {
	uint16_t selector;
	bool has_base; /* FS and GS: the base as loaded */
	uint64_t base;
};

static struct place place_of(const struct port_user_regs *regs, ZydisRegister segment)
{
	switch (segment) {
	case ZYDIS_REGISTER_CS:
		return (struct place){.selector = regs->cs};
	case ZYDIS_REGISTER_SS:
		return (struct place){.selector = regs->ss};
	case ZYDIS_REGISTER_ES:
		return (struct place){.selector = regs->es};
	case ZYDIS_REGISTER_FS:
		return (struct place){regs->fs, true, regs->fs_base};
	case ZYDIS_REGISTER_GS:
		return (struct place){regs->gs, true, regs->gs_base};
	default:
		return (struct place){.selector = regs->ds};
	}
}

/* Offsets [offset, offset + size) lie in the segment. */
static bool within(const struct user_segment *segment, uint64_t offset, unsigned size)
{
	uint64_t last = offset + size - 1;
	if (segment->expand_down)
		return offset > segment->limit && last <= (segment->big ? 0xffffffffu : 0xffffu);
	return last <= segment->limit;
}

/* The general register as 32-bit code sees it. */
static uint32_t value_of(const struct port_user_regs *regs, ZydisRegister reg)
{
	const struct port_regs *g = &regs->general;
	const uint64_t in_order[8] = {g->rax, g->rcx, g->rdx, g->rbx,
				      g->rsp, g->rbp, g->rsi, g->rdi};
	if (reg >= ZYDIS_REGISTER_EAX && reg <= ZYDIS_REGISTER_EDI)
		return (uint32_t)in_order[reg - ZYDIS_REGISTER_EAX];
	if (reg >= ZYDIS_REGISTER_AX && reg <= ZYDIS_REGISTER_DI)
		return (uint16_t)in_order[reg - ZYDIS_REGISTER_AX];
	return 0; /* none */
}

/*
 * The instruction at CS:EIP. *bytes is how many could be fetched: fewer than LONGEST where the
 * segment or the mapping ends.
 */
static bool fetch(const struct port_user_regs *regs, const struct bound_ops *ops,
		  const struct user_segment *code, uint8_t bytes[LONGEST], size_t *count)
{
	uint64_t offset = (uint32_t)regs->general.rip;
	size_t size = LONGEST;
	if (offset > code->limit)
		return false;
	if (code->limit - offset < LONGEST - 1)
		size = (size_t)(code->limit - offset) + 1;
	*count = ops->read(ops->context, (uint32_t)(code->base + offset), bytes, size);
	return *count != 0;
}

static bool decode(const struct user_segment *code, const uint8_t *bytes, size_t count,
		   ZydisDecodedInstruction *instruction, ZydisDecodedOperand *operands,
		   ZyanStatus *status)
{
	ZydisDecoder decoder;
	bool big = code->big;
	ZydisDecoderInit(&decoder,
			 big ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32
			     : ZYDIS_MACHINE_MODE_LONG_COMPAT_16,
			 big ? ZYDIS_STACK_WIDTH_32 : ZYDIS_STACK_WIDTH_16);
	*status = ZydisDecoderDecodeFull(&decoder, bytes, count, instruction, operands);
	return ZYAN_SUCCESS(*status) && instruction->mnemonic == ZYDIS_MNEMONIC_BOUND;
}

/* What stands behind the prefixes, of an instruction that Zydis does not take. */
static bool opcode_is_bound(const uint8_t *bytes, size_t count)
{
	static const char prefixes[] = "\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3";
	while (count && *bytes && strchr(prefixes, *bytes)) {
		bytes++;
		count--;
	}
	return count >= 2 && bytes[0] == 0x62 && bytes[1] < 0xc0;
}

static uint32_t effective_address(const struct port_user_regs *regs,
				  const ZydisDecodedInstruction *instruction,
				  const ZydisDecodedOperand *memory)
{
	uint32_t address = value_of(regs, memory->mem.base) +
			   value_of(regs, memory->mem.index) * memory->mem.scale +
			   (uint32_t)memory->mem.disp.value;
	return instruction->address_width == 16 ? (uint16_t)address : address;
}

static int32_t bound_of(const uint8_t *bytes, unsigned size)
{
	int32_t wide;
	int16_t narrow;
	if (size == sizeof wide) {
		memcpy(&wide, bytes, sizeof wide);
		return wide;
	}
	memcpy(&narrow, bytes, sizeof narrow);
	return narrow;
}

/* Both bounds, each an access of its own. */
static enum bound_verdict read_bounds(const struct port_user_regs *regs,
				      const struct bound_ops *ops,
				      const ZydisDecodedInstruction *instruction,
				      const ZydisDecodedOperand *memory, struct port_bound *bound)
{
	struct place place = place_of(regs, memory->mem.segment);
	unsigned size = instruction->operand_width / 8;
	uint32_t offset = effective_address(regs, instruction, memory);
	struct user_segment segment;
	if (!ops->segment(ops->context, place.selector, &segment) || !segment.present ||
	    !segment.readable)
		return BOUND_PROTECTION;
	uint32_t linear[2];
	for (unsigned i = 0; i < 2; i++, offset += size) {
		if (instruction->address_width == 16)
			offset = (uint16_t)offset;
		if (!within(&segment, offset, size))
			return BOUND_PROTECTION;
		linear[i] = (uint32_t)((place.has_base ? place.base : segment.base) + offset);
	}
	/* One look, unless the address wraps between them. */
	uint8_t bytes[8];
	size_t both = linear[1] - linear[0] == size ? 2 * size : size;
	if (ops->read(ops->context, linear[0], bytes, both) != both ||
	    (both == size && ops->read(ops->context, linear[1], bytes + size, size) != size))
		return BOUND_NOT_ACCESSIBLE;
	bound->address = linear[0];
	bound->size = size;
	bound->lower = bound_of(bytes, size);
	bound->upper = bound_of(bytes + size, size);
	return BOUND_IN_RANGE;
}

enum bound_verdict bound_decode(const struct port_user_regs *regs, const siginfo_t *info,
				const struct bound_ops *ops, struct port_bound *bound)
{
	ZydisDecodedInstruction instruction;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	struct user_segment code;
	uint8_t bytes[LONGEST];
	size_t count;
	ZyanStatus status;

	if (info->si_signo != SIGSEGV || info->si_code != SI_KERNEL)
		return BOUND_NOT_EXCEPTION;
	if (!ops->segment(ops->context, regs->cs, &code) || !code.code || code.long_mode ||
	    !fetch(regs, ops, &code, bytes, &count))
		return BOUND_NOT_BOUND;
	if (!decode(&code, bytes, count, &instruction, operands, &status)) {
		if (ZYAN_SUCCESS(status) || !opcode_is_bound(bytes, count))
			return status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG ? BOUND_PROTECTION
									   : BOUND_NOT_BOUND;
		return status == ZYDIS_STATUS_ILLEGAL_LOCK ? BOUND_UNDEFINED : BOUND_PROTECTION;
	}
	enum bound_verdict verdict = read_bounds(regs, ops, &instruction, &operands[1], bound);
	if (verdict != BOUND_IN_RANGE)
		return verdict;
	uint32_t index = value_of(regs, operands[0].reg.value);
	bound->index = instruction.operand_width == 16 ? (int16_t)index : (int32_t)index;
	return bound->index < bound->lower || bound->index > bound->upper ? BOUND_RAISED
									  : BOUND_IN_RANGE;
}
