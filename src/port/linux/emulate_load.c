/* SPDX-License-Identifier: MIT */
/*
 * Loads from the shared page: which copy of an instruction reads the alias instead (DEF-43).
 *
 * The page's kernel address has 32 zero bits at its end, and the alias lies below 4 GiB. So the
 * copy is the instruction itself with an address-size prefix, which truncates the effective address
 * to 32 bits, that is to the offset in the page, and with 7FFE0000h added to its displacement. It
 * keeps its registers: one copy serves an instruction whatever address it computes, also a loop
 * that walks the page, and no operand is decoded to more than an offset in the bytes.
 *
 * String instructions and XLAT have no displacement, and a prefix would truncate RCX and the other
 * pointer too. Their copy is verbatim and borrows the registers that point into the page.
 *
 * Every form goes this way: integer, SSE, AVX, AVX-512, x87, absolute (A0..A3). Not supported and
 * said so: gathers (an element may lie outside the page), MOVDIR64B and its like, CALL through the
 * page (it would push the stub's address), and an instruction that redundant prefixes leave no room
 * for the copy's. A store is an access violation, as the page is read-only (DEF-43).
 *
 * Contexts: a signal handler on any thread. Locks: none.
 */
#define _GNU_SOURCE
#include "port/linux/emulate_internal.h"

#include <string.h>

#include "port/linux/shared_page.h"

#define PREFIX_ADDRESS_SIZE 0x67

#define MOD_NO_DISPLACEMENT 0
#define MOD_DISPLACEMENT32  2
#define RM_SIB              4
#define BASE_NONE           5

static bool in_page(uint64_t address)
{
	return address - SHARED_PAGE_KERNEL < SHARED_PAGE_SIZE;
}

static bool writes(const ZydisDecodedOperand *operand)
{
	return (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
}

static enum emulate_result refuse(struct emulate_report *out, const char *what)
{
	out->class = EMULATE_CLASS_SHARED_PAGE;
	out->what = what;
	return EMULATE_UNSUPPORTED;
}

static enum emulate_result store(struct emulate_report *out, uint64_t address)
{
	out->exception = EMULATE_ACCESS_VIOLATION;
	out->address = address;
	out->write = true;
	return EMULATE_EXCEPTION;
}

static bool append(struct emulate_copy *copy, const void *bytes, size_t count)
{
	if (copy->length + count > sizeof(copy->code))
		return false;
	memcpy(copy->code + copy->length, bytes, count);
	copy->length = (unsigned char)(copy->length + count);
	return true;
}

/* The copy with an address-size prefix; false if it would be too long. */
static bool prefix_copy(const struct emulate_code *in, const ZydisDecodedOperand *operand,
			struct emulate_copy *copy)
{
	static const unsigned char prefix = PREFIX_ADDRESS_SIZE;
	const ZydisDecodedInstruction *decoded = &in->decoded;
	uint32_t displacement = (uint32_t)operand->mem.disp.value + (uint32_t)SHARED_PAGE_USER;
	bool absolute = operand->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM;
	unsigned head = absolute ? decoded->raw.disp.offset : decoded->raw.modrm.offset;
	unsigned tail = head;

	copy->length = 0;
	copy->borrow = 0;
	if (!append(copy, &prefix, 1) || !append(copy, in->bytes, head))
		return false;
	if (!absolute) {
		bool sib = decoded->raw.modrm.rm == RM_SIB;
		bool no_base = sib && decoded->raw.modrm.mod == MOD_NO_DISPLACEMENT &&
			       decoded->raw.sib.base == BASE_NONE;
		unsigned char modrm = in->bytes[head] & 0x3F;

		if (!no_base)
			modrm |= MOD_DISPLACEMENT32 << 6;
		tail += sib ? 2 : 1;
		if (!append(copy, &modrm, 1) || (sib && !append(copy, &in->bytes[head + 1], 1)))
			return false;
	}
	tail += decoded->raw.disp.size / 8;
	return append(copy, &displacement, sizeof(displacement)) &&
	       append(copy, in->bytes + tail, decoded->length - tail);
}

static enum emulate_result explicit_load(const struct emulate_code *in,
					 const ZydisDecodedOperand *operand,
					 const struct emulate_fault *fault,
					 struct emulate_copy *copy, struct emulate_report *out)
{
	/* None of these can reach the page but through another operand or a segment's base. */
	if (in->decoded.address_width != 64 || operand->mem.base == ZYDIS_REGISTER_RIP ||
	    operand->mem.segment == ZYDIS_REGISTER_FS || operand->mem.segment == ZYDIS_REGISTER_GS)
		return EMULATE_NOT_OURS;
	if (writes(operand))
		return store(out, fault->address);
	if (operand->mem.type == ZYDIS_MEMOP_TYPE_VSIB)
		return refuse(out, "GATHER FROM THE SHARED PAGE");
	if (in->decoded.meta.category == ZYDIS_CATEGORY_CALL)
		return refuse(out, "CALL THROUGH THE SHARED PAGE");
	if (!prefix_copy(in, operand, copy))
		return refuse(out, "LOAD FROM THE SHARED PAGE WITH REDUNDANT PREFIXES");
	return EMULATE_DONE;
}

/* The register that an implicit operand's address needs shifted, or 0 when the operand is not in
 * the page. */
static unsigned borrowed(const ZydisDecodedOperand *operand, const ucontext_t *uc)
{
	const greg_t *gregs = uc->uc_mcontext.gregs;

	switch (operand->mem.base) {
	case ZYDIS_REGISTER_RSI:
		return in_page((uint64_t)gregs[REG_RSI]) ? EMULATE_BORROW_RSI : 0;
	case ZYDIS_REGISTER_RDI:
		return in_page((uint64_t)gregs[REG_RDI]) ? EMULATE_BORROW_RDI : 0;
	case ZYDIS_REGISTER_RBX: /* XLAT adds AL */
		return in_page((uint64_t)gregs[REG_RBX] + (gregs[REG_RAX] & 0xFF))
			       ? EMULATE_BORROW_RBX
			       : 0;
	default:
		return 0;
	}
}

static enum emulate_result implicit_load(const struct emulate_code *in,
					 const ZydisDecodedOperand *operands, const ucontext_t *uc,
					 struct emulate_copy *copy, struct emulate_report *out)
{
	copy->length = 0;
	copy->borrow = 0;
	for (unsigned i = 0; i < in->decoded.operand_count; i++) {
		const ZydisDecodedOperand *operand = &operands[i];

		if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		if (operand->mem.segment == ZYDIS_REGISTER_FS ||
		    operand->mem.segment == ZYDIS_REGISTER_GS)
			return EMULATE_NOT_OURS;
		if (writes(operand) && borrowed(operand, uc)) /* only [RDI] is ever written */
			return store(out, (uint64_t)uc->uc_mcontext.gregs[REG_RDI]);
		copy->borrow |= borrowed(operand, uc);
	}
	if (!copy->borrow || !append(copy, in->bytes, in->decoded.length))
		return EMULATE_NOT_OURS;
	return EMULATE_DONE;
}

enum emulate_result emulate_load_copy(const ZydisDecoder *decoder, const struct emulate_code *in,
				      const ucontext_t *uc, const struct emulate_fault *fault,
				      struct emulate_copy *copy, struct emulate_report *out)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	const ZydisDecodedOperand *memory = NULL;

	if (fault->error_code & EMULATE_PAGE_FAULT_WRITE)
		return store(out, fault->address);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeOperands(decoder, &in->context, &in->decoded, operands,
						     in->decoded.operand_count)))
		return EMULATE_NOT_OURS;
	for (unsigned i = 0; i < in->decoded.operand_count; i++) {
		if (operands[i].type != ZYDIS_OPERAND_TYPE_MEMORY ||
		    operands[i].visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
			continue;
		if (memory)
			return refuse(out, "MOVE FROM THE SHARED PAGE TO MEMORY");
		memory = &operands[i];
	}
	return memory ? explicit_load(in, memory, fault, copy, out)
		      : implicit_load(in, operands, uc, copy, out);
}
