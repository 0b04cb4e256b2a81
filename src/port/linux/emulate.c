/* SPDX-License-Identifier: MIT */
/*
 * Emulation of what drivers' headers inline: CR8, CLI and STI, loads from the shared page; and
 * recognition of the privileged instructions and software interrupts that a process cannot do or
 * must turn into an exception.
 *
 * Contexts: a SIGSEGV, SIGILL or SIGTRAP handler on a thread that holds a virtual processor's
 * baton, at any IRQL, also when it interrupted an NMI callback. Allocates nothing, takes no lock,
 * calls nothing of libc but mem*. Zydis' decoder is a pure function of its arguments (it imports
 * only mem*, strlen and assert), and programs bind their symbols at start (meson.build). All shared
 * state is in emulate_stub.c. 70 to 100 ns beside the signal's 2 to 4 us, so nothing is decoded by
 * hand.
 *
 * Requirements: PLT-5 (CR8), PLT-7 and DEF-43 (shared page: emulate_load.c, emulate_stub.c), DEF-26
 * (names: emulate_names.c), DEF-40, DEF-41, DEF-328 (int 29h), DEF-338 (int 3, int 2Ch).
 *
 * GS-relative fields (PLT-6, DEF-38) need nothing: GS base is the KPCR's address. Beyond it a fault
 * is a fault.
 *
 * Interrupt flag: PUSHF and POPF do not fault in a process. PUSHF shows the host's flag, always
 * set, and POPF silently leaves it. So _disable() and _enable() work, RFLAGS.IF reads as 1 after
 * _disable(), and code that saves RFLAGS, disables and restores RFLAGS (instead of _enable())
 * leaves the virtual flag clear: whoever owns the flag should end it, with a report, when the
 * driver next does what is impossible with interrupts off (returns, waits, lowers IRQL). A compiler
 * whose headers call instead of inlining has no such limit. STI takes effect at once, without the
 * processor's delay by one instruction.
 *
 * Chosen where the documents are silent: an INT n other than 29h, 2Ch, 2Dh and 3 is unsupported,
 * not an exception; MOV CR0 with a LOCK prefix (AMD's 32-bit alias of CR8) is MOV CR0.
 */
#define _GNU_SOURCE
#include "port/linux/emulate_internal.h"

#include <string.h>

#include "port/linux/shared_page.h"

enum vector {
	VECTOR_BREAKPOINT = 3,
	VECTOR_INVALID_OPCODE = 6,
	VECTOR_PROTECTION = 13,
	VECTOR_PAGE = 14
};

#define INT_ASSERTION      0x2Cu
#define INT_DEBUG_SERVICE  0x2Du
#define INT_FAST_FAIL      0x29u
#define OPCODE_INT3        0xCC
#define OPCODE_INT         0xCD
#define OPCODE_MOV_CR_BITS 0x20 /* 20: from CR, 21: from DR, 22: to CR, 23: to DR */
#define PAGE_FAULT_FETCH   0x10u
#define CODE_SELECTOR      0x33 /* 64-bit user code */
#define USER_SPACE_BITS    47
#define PAGE_BYTES         0x1000u
#define CR8_NUMBER         8
#define CR8_MAX            15

static ZydisDecoder decoder;

/* The general register of an encoded number 0..15, as an index into gregs. */
static int register_index(unsigned number)
{
	static const unsigned char order[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
					      REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
					      REG_R12, REG_R13, REG_R14, REG_R15};

	return order[number];
}

bool emulate_is_mov_cr(const ZydisDecodedInstruction *decoded)
{
	return decoded->mnemonic == ZYDIS_MNEMONIC_MOV &&
	       decoded->opcode_map == ZYDIS_OPCODE_MAP_0F &&
	       (decoded->opcode & ~3u) == OPCODE_MOV_CR_BITS;
}

unsigned emulate_mov_cr_number(const struct emulate_code *in)
{
	return in->decoded.raw.modrm.reg | (in->decoded.raw.rex.R << 3);
}

static bool decode(struct emulate_code *in, size_t available, ZyanStatus *status)
{
	memcpy(in->bytes, (const void *)in->rip, available);
	*status = ZydisDecoderDecodeInstruction(&decoder, &in->context, in->bytes, available,
						&in->decoded);
	return ZYAN_SUCCESS(*status);
}

/*
 * Reads and decodes the instruction at in->rip. The next page is touched only if the processor
 * needed it too: it decoded the instruction before it raised #GP or #PF, but may raise #UD earlier.
 */
static bool fetch(struct emulate_code *in, unsigned vector)
{
	size_t in_page = PAGE_BYTES - in->rip % PAGE_BYTES;
	ZyanStatus status;

	if (in->rip >> USER_SPACE_BITS)
		return false; /* a jump to a non-canonical address */
	if (in_page >= EMULATE_MAX_LENGTH)
		return decode(in, EMULATE_MAX_LENGTH, &status);
	if (decode(in, in_page, &status))
		return true;
	if (status != ZYDIS_STATUS_NO_MORE_DATA || vector == VECTOR_INVALID_OPCODE)
		return false;
	return decode(in, EMULATE_MAX_LENGTH, &status);
}

static enum emulate_result advance(ucontext_t *uc, const struct emulate_code *in)
{
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(in->rip + in->decoded.length);
	return EMULATE_DONE;
}

static enum emulate_result raise(struct emulate_report *out, enum emulate_exception exception,
				 uint64_t code)
{
	out->exception = exception;
	out->code = code;
	return EMULATE_EXCEPTION;
}

static enum emulate_result mov_cr8(ucontext_t *uc, const struct emulate_code *in,
				   const struct emulate_ops *ops, void *ctx,
				   struct emulate_report *out)
{
	unsigned number = in->decoded.raw.modrm.rm | (in->decoded.raw.rex.B << 3);
	greg_t *reg = &uc->uc_mcontext.gregs[register_index(number)];

	if (in->decoded.opcode & EMULATE_MOV_TO) {
		if ((uint64_t)*reg > CR8_MAX)
			return raise(out, EMULATE_GENERAL_PROTECTION, (uint64_t)*reg);
		ops->cr8_write(ctx, (uint64_t)*reg);
	} else {
		*reg = (greg_t)ops->cr8_read(ctx);
	}
	return advance(uc, in);
}

static enum emulate_result privileged(ucontext_t *uc, const struct emulate_code *in,
				      const struct emulate_ops *ops, void *ctx,
				      struct emulate_report *out)
{
	const ZydisDecodedInstruction *decoded = &in->decoded;

	if (emulate_is_mov_cr(decoded) && !(decoded->opcode & EMULATE_MOV_DEBUG) &&
	    emulate_mov_cr_number(in) == CR8_NUMBER)
		return mov_cr8(uc, in, ops, ctx, out);
	if (decoded->mnemonic == ZYDIS_MNEMONIC_CLI || decoded->mnemonic == ZYDIS_MNEMONIC_STI) {
		ops->interrupts_set(ctx, decoded->mnemonic == ZYDIS_MNEMONIC_STI);
		return advance(uc, in);
	}
	return emulate_classify(in, uc, out) ? EMULATE_UNSUPPORTED : EMULATE_NOT_OURS;
}

static enum emulate_result software_interrupt(ucontext_t *uc, const struct emulate_code *in,
					      struct emulate_report *out)
{
	const greg_t *gregs = uc->uc_mcontext.gregs;

	switch (in->bytes[in->decoded.length - 1]) {
	case INT_FAST_FAIL:
		return raise(out, EMULATE_FAST_FAIL, (uint32_t)gregs[REG_RCX]);
	case INT_ASSERTION:
		return raise(out, EMULATE_ASSERTION, 0);
	case INT_DEBUG_SERVICE:
		return raise(out, EMULATE_DEBUG_SERVICE, (uint32_t)gregs[REG_RAX]);
	default:
		return emulate_classify(in, uc, out) ? EMULATE_UNSUPPORTED : EMULATE_NOT_OURS;
	}
}

static enum emulate_result protection_fault(ucontext_t *uc, struct emulate_code *in,
					    const struct emulate_fault *fault,
					    const struct emulate_ops *ops, void *ctx,
					    struct emulate_report *out)
{
	if (emulate_stub_at_end(in->rip)) {
		emulate_stub_restore(uc);
		out->rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
		return EMULATE_DONE;
	}
	if (!fetch(in, fault->vector))
		return EMULATE_NOT_OURS;
	out->length = in->decoded.length;
	if (in->decoded.mnemonic == ZYDIS_MNEMONIC_INT)
		return software_interrupt(uc, in, out);
	return privileged(uc, in, ops, ctx, out);
}

/* A read that left the page at either end, in a stub: on the kernel's address it is an access
 * violation there. */
static bool left_the_page(const struct emulate_fault *fault)
{
	return !(fault->error_code & EMULATE_PAGE_FAULT_WRITE) &&
	       fault->address - SHARED_PAGE_GUARD_START <
		       SHARED_PAGE_GUARD_END - SHARED_PAGE_GUARD_START;
}

static enum emulate_result page_fault(ucontext_t *uc, struct emulate_code *in,
				      const struct emulate_fault *fault,
				      const struct emulate_ops *ops, void *ctx,
				      struct emulate_report *out)
{
	bool in_page = fault->address - SHARED_PAGE_KERNEL < SHARED_PAGE_SIZE;
	struct emulate_copy copy;
	enum emulate_result result;
	uint64_t stub, original;

	if (emulate_stub_lookup(in->rip, &original)) {
		if (!in_page && !left_the_page(fault))
			return EMULATE_NOT_OURS; /* the other operand, a stack: it may yet be paged
						    in */
		emulate_stub_restore(uc);
		in->rip = original;
		out->rip = original;
		if (!in_page) {
			out->exception = EMULATE_ACCESS_VIOLATION;
			out->address = SHARED_PAGE_KERNEL + (fault->address - SHARED_PAGE_USER);
			return EMULATE_EXCEPTION;
		}
	}
	if (!in_page || (fault->error_code & PAGE_FAULT_FETCH) || !fetch(in, fault->vector))
		return EMULATE_NOT_OURS;
	out->length = in->decoded.length;
	result = emulate_load_copy(&decoder, in, uc, fault, &copy, out);
	if (result != EMULATE_DONE)
		return result;
	stub = emulate_stub_get(in, &copy);
	if (!stub) {
		out->class = EMULATE_CLASS_SHARED_PAGE;
		out->what = "LOAD FROM THE SHARED PAGE AT TOO MANY PLACES";
		return EMULATE_UNSUPPORTED;
	}
	ops->page_update(ctx);
	emulate_stub_shift(uc, copy.borrow, SHARED_PAGE_USER - SHARED_PAGE_KERNEL);
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)stub;
	return EMULATE_DONE;
}

/* A trap: RIP is past the instruction, which is CC or CD 03. */
static enum emulate_result breakpoint(const struct emulate_code *in, struct emulate_report *out)
{
	const unsigned char *end = (const unsigned char *)in->rip;

	if (end[-1] == OPCODE_INT3)
		out->length = 1;
	else if (end[-1] == VECTOR_BREAKPOINT && end[-2] == OPCODE_INT)
		out->length = 2;
	else
		return EMULATE_NOT_OURS;
	out->rip = in->rip - out->length;
	return raise(out, EMULATE_BREAKPOINT, 0);
}

enum emulate_result emulate_instruction(ucontext_t *uc, const struct emulate_fault *fault,
					const struct emulate_ops *ops, void *ctx,
					struct emulate_report *out)
{
	struct emulate_code in;

	in.rip = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
	memset(out, 0, sizeof(*out));
	out->rip = in.rip;
	if ((uc->uc_mcontext.gregs[REG_CSGSFS] & 0xFFFF) != CODE_SELECTOR)
		return EMULATE_NOT_OURS;
	switch (fault->vector) {
	case VECTOR_BREAKPOINT:
		return breakpoint(&in, out);
	case VECTOR_INVALID_OPCODE:
		if (!fetch(&in, fault->vector))
			return EMULATE_NOT_OURS;
		out->length = in.decoded.length;
		return emulate_classify(&in, uc, out) ? EMULATE_UNSUPPORTED : EMULATE_NOT_OURS;
	case VECTOR_PROTECTION:
		return protection_fault(uc, &in, fault, ops, ctx, out);
	case VECTOR_PAGE:
		return page_fault(uc, &in, fault, ops, ctx, out);
	default:
		return EMULATE_NOT_OURS;
	}
}

struct emulate_fault emulate_fault_of(const ucontext_t *uc)
{
	const greg_t *gregs = uc->uc_mcontext.gregs;

	return (struct emulate_fault){
		.vector = (unsigned)gregs[REG_TRAPNO],
		.error_code = (uint64_t)gregs[REG_ERR],
		.address = (uint64_t)gregs[REG_CR2],
	};
}

int emulate_init(void)
{
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	return emulate_stub_create();
}

void emulate_exit(void)
{
	emulate_stub_destroy();
}
