/* SPDX-License-Identifier: MIT */
/*
 * Undo one frame of the core's own code by the call frame information that compilers put into
 * .eh_frame (DWARF, as the System V ABI for x86-64 profiles it). It is right at every instruction,
 * which frame pointers are not: an NMI may hit a function before it has one, and leaf functions
 * never have one.
 *
 * The tables are our own and are trusted; the stack is not. A function's description is found by
 * binary search in .eh_frame_hdr, which the program headers name. What compilers do not emit for C
 * (expressions) is refused.
 *
 * Contexts: any IRQL, NMI too; no locks; pure but for guarded reads of the stack.
 */
#include "ldr/walk_core.h"
#include "ke/guard.h"
#include "rtl/rtl.h"

#define REGISTERS 17 /* DWARF's: the general ones, and the return address */
#define DWARF_RSP 7
#define DWARF_RIP 16
#define STATES    8    /* remembered states, nested */
#define ENCODING  0x1b /* pointers: 4 bytes, signed, relative to themselves */

/* The program's own headers; linkers define it. */
extern const uint8_t __ehdr_start[] __attribute__((weak, visibility("hidden")));

struct program_header {
	uint32_t type, flags;
	uint64_t offset, address, physical, file_size, memory_size, align;
};

#define PT_GNU_EH_FRAME 0x6474e550

/* .eh_frame_hdr in the form that linkers write: rows of function and description, both relative to
 * the header. */
struct frame_header {
	uint8_t version, pointer_encoding, count_encoding, table_encoding;
	int32_t frame;
	uint32_t count;
	struct {
		int32_t function, description;
	} rows[];
};

/* One state of the rules: where the caller's registers are. */
struct rules {
	unsigned cfa_register;
	int64_t cfa_offset;
	int64_t at[REGISTERS]; /* saved there, relative to the CFA */
	uint32_t saved;        /* bit: the register is */
};

struct description {
	const uint8_t *code, *end;            /* of the function */
	const uint8_t *initial, *initial_end; /* common to several functions */
	uint64_t begin, code_align;
	int64_t data_align;
	bool signal;
};

static uint32_t u32(const uint8_t *at)
{
	uint32_t value;

	__builtin_memcpy(&value, at, sizeof(value));
	return value;
}

static uint64_t uleb(const uint8_t **at)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t byte = *(*at)++;

		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			break;
		}
	}
	return value;
}

static int64_t sleb(const uint8_t **at)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64;) {
		uint8_t byte = *(*at)++;

		value |= (uint64_t)(byte & 0x7f) << shift;
		shift += 7;
		if (!(byte & 0x80)) {
			if (byte & 0x40 && shift < 64) {
				value |= ~0ull << shift;
			}
			break;
		}
	}
	return (int64_t)value;
}

static const struct frame_header *frame_header(void)
{
	const uint8_t *elf = __ehdr_start;
	const struct frame_header *header = 0;
	const struct program_header *program;
	uint64_t offset;
	uint16_t count;

	if (!elf) {
		return 0;
	}
	__builtin_memcpy(&offset, elf + 32, sizeof(offset)); /* e_phoff */
	__builtin_memcpy(&count, elf + 56, sizeof(count));   /* e_phnum */
	program = (const struct program_header *)(elf + offset);
	for (unsigned i = 0; i < count; i++) {
		if (program[i].type == PT_GNU_EH_FRAME) {
			/* addresses count from the first segment, which begins with the headers */
			header = (const struct frame_header *)(elf + program[i].offset);
		}
	}
	return header && header->version == 1 && header->count_encoding == 0x03 &&
			       header->table_encoding == 0x3b
		       ? header
		       : 0;
}

/* The common part: augmentation "zR", perhaps with P, L and S. */
static bool read_common(const uint8_t *common, struct description *description)
{
	const uint8_t *at = common + 8, *end = common + 4 + u32(common), *text = at + 1, *data;
	uint64_t size;

	if (*at != 1 || *text != 'z') {
		return false;
	}
	for (at = text; *at; at++) {
	}
	at++;
	description->code_align = uleb(&at);
	description->data_align = sleb(&at);
	if (*at++ != DWARF_RIP) {
		return false;
	}
	size = uleb(&at);
	data = at;
	description->initial = at + size;
	description->initial_end = end;
	for (text++; *text; text++) {
		if (*text == 'R') {
			if (*data++ != ENCODING) {
				return false;
			}
		} else if (*text == 'L') {
			data++;
		} else if (*text == 'P') {
			data += 5;
		} else if (*text == 'S') {
			description->signal = true;
		} else {
			return false;
		}
	}
	return true;
}

static bool find(uint64_t pc, struct description *description)
{
	const struct frame_header *header = frame_header();
	uint32_t low = 0, high = header ? header->count : 0;
	const uint8_t *entry, *at;
	uint64_t base = (uint64_t)header, size;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (base + (uint64_t)(int64_t)header->rows[middle].function <= pc) {
			low = middle + 1;
		} else {
			high = middle;
		}
	}
	if (low == 0) {
		return false;
	}
	entry = (const uint8_t *)(base + (uint64_t)(int64_t)header->rows[low - 1].description);
	description->signal = false;
	description->begin = base + (uint64_t)(int64_t)header->rows[low - 1].function;
	if (pc - description->begin >= u32(entry + 12) ||
	    !read_common(entry + 4 - u32(entry + 4), description)) {
		return false;
	}
	at = entry + 16;
	size = uleb(&at);
	description->code = at + size;
	description->end = entry + 4 + u32(entry);
	return true;
}

uint64_t ldr_walk_core_function(uint64_t address)
{
	struct description description;

	return find(address, &description) ? description.begin : 0;
}

static void save(struct rules *rules, uint64_t number, int64_t at)
{
	if (number < REGISTERS) {
		rules->at[number] = at;
		rules->saved |= 1u << number;
	}
}

static void restore(struct rules *rules, const struct rules *initial, uint64_t number)
{
	if (number < REGISTERS) {
		rules->at[number] = initial->at[number];
		rules->saved &= ~(1u << number);
		rules->saved |= initial->saved & 1u << number;
	}
}

/* Run instructions up to the location `pc`. False: one that we do not know. */
static bool run(const struct description *d, const uint8_t *at, const uint8_t *end, uint64_t pc,
		struct rules *rules, const struct rules *initial)
{
	struct rules remembered[STATES];
	uint64_t location = d->begin, number;
	unsigned depth = 0;

	while (at < end && location <= pc) {
		uint8_t code = *at++, low = code & 0x3f;

		switch (code >> 6) {
		case 1: /* advance_loc */
			location += low * d->code_align;
			continue;
		case 2: /* offset */
			save(rules, low, (int64_t)uleb(&at) * d->data_align);
			continue;
		case 3: /* restore */
			restore(rules, initial, low);
			continue;
		}
		switch (code) {
		case 0x00: /* nop */
			break;
		case 0x02: /* advance_loc1 */
			location += *at * d->code_align;
			at += 1;
			break;
		case 0x03: /* advance_loc2 */
			location += (uint64_t)(at[0] | at[1] << 8) * d->code_align;
			at += 2;
			break;
		case 0x04: /* advance_loc4 */
			location += u32(at) * d->code_align;
			at += 4;
			break;
		case 0x05: /* offset_extended */
			number = uleb(&at);
			save(rules, number, (int64_t)uleb(&at) * d->data_align);
			break;
		case 0x06: /* restore_extended */
			restore(rules, initial, uleb(&at));
			break;
		case 0x07: /* undefined */
		case 0x08: /* same_value */
			number = uleb(&at);
			if (number < REGISTERS) {
				rules->saved &= ~(1u << number);
			}
			break;
		case 0x0a: /* remember_state */
			if (depth == STATES) {
				return false;
			}
			remembered[depth++] = *rules;
			break;
		case 0x0b: /* restore_state */
			if (depth == 0) {
				return false;
			}
			*rules = remembered[--depth];
			break;
		case 0x0c: /* def_cfa */
			rules->cfa_register = (unsigned)uleb(&at);
			rules->cfa_offset = (int64_t)uleb(&at);
			break;
		case 0x0d: /* def_cfa_register */
			rules->cfa_register = (unsigned)uleb(&at);
			break;
		case 0x0e: /* def_cfa_offset */
			rules->cfa_offset = (int64_t)uleb(&at);
			break;
		case 0x2e: /* GNU_args_size */
			(void)uleb(&at);
			break;
		default:
			return false;
		}
	}
	return true;
}

/* A register by DWARF's number. */
static uint64_t *by_number(struct port_regs *regs, unsigned number)
{
	switch (number) {
	case 0:
		return &regs->rax;
	case 1:
		return &regs->rdx;
	case 2:
		return &regs->rcx;
	case 3:
		return &regs->rbx;
	case 4:
		return &regs->rsi;
	case 5:
		return &regs->rdi;
	case 6:
		return &regs->rbp;
	case 7:
		return &regs->rsp;
	case 16:
		return &regs->rip;
	default:
		return &regs->r8 + (number - 8);
	}
}

bool ldr_walk_core_step(struct port_regs *regs, bool exact, uint64_t low, uint64_t high)
{
	uint64_t pc = regs->rip - (exact ? 0 : 1), cfa;
	struct port_regs caller = *regs;
	struct description description;
	struct rules rules = {0}, initial;

	if (!find(pc, &description)) {
		return false;
	}
	if (!run(&description, description.initial, description.initial_end, UINT64_MAX, &rules,
		 &rules)) {
		return false;
	}
	initial = rules;
	if (!run(&description, description.code, description.end, pc, &rules, &initial) ||
	    rules.cfa_register >= DWARF_RIP || !(rules.saved & 1u << DWARF_RIP)) {
		return false;
	}
	cfa = *by_number(regs, rules.cfa_register) + (uint64_t)rules.cfa_offset;
	if (cfa & 7 || cfa <= low || cfa > high) {
		return false;
	}
	for (unsigned i = 0; i < REGISTERS; i++) {
		uint64_t slot = cfa + (uint64_t)rules.at[i];

		if (rules.saved & 1u << i && (slot & 7 || slot < low || slot >= high ||
					      !ke_guard_read64(slot, by_number(&caller, i)))) {
			return false;
		}
	}
	caller.rsp = cfa;
	*regs = caller;
	return true;
}
