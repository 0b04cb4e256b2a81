/* SPDX-License-Identifier: MIT */
/*
 * Recognise an epilogue by its instructions, and undo what is left of it (DEF-331).
 *
 * The convention allows few forms: `add rsp, n` or `lea rsp, n[frame register]`, then pops of
 * 8-byte registers, then a return or a jump to another function. The unwind codes do not describe
 * them, so the instructions from RIP on are read.
 *
 * Contexts: any IRQL, NMI too; no locks; pure but for guarded reads of the image.
 */
#include "ldr/unwind.h"
#include "rtl/rtl.h"

#define REX_B 1
#define REX_W 8

/* The bytes from RIP to the function's end, at most so many as a longest epilogue has. */
struct code {
	uint8_t bytes[64];
	size_t size, at;
	uint64_t rva; /* of bytes[0] */
};

static int32_t displacement(const uint8_t *bytes, size_t size)
{
	uint32_t value;

	if (size == 1) {
		return (int8_t)bytes[0];
	}
	__builtin_memcpy(&value, bytes, sizeof(value));
	return (int32_t)value;
}

static bool has(const struct code *code, size_t bytes)
{
	return code->size - code->at >= bytes;
}

/* `add rsp, n`, or `lea rsp, n[frame]`: what RSP becomes. Leaves the position alone when it is
 * neither. */
static void deallocation(struct code *code, const uint64_t *registers, unsigned frame,
			 uint64_t *rsp)
{
	const uint8_t *b = &code->bytes[code->at];
	size_t size;

	if (has(code, 4) && b[0] == 0x48 && b[1] == 0x83 && b[2] == 0xc4) {
		*rsp += (uint64_t)displacement(b + 3, 1);
		code->at += 4;
	} else if (has(code, 7) && b[0] == 0x48 && b[1] == 0x81 && b[2] == 0xc4) {
		*rsp += (uint64_t)displacement(b + 3, 4);
		code->at += 7;
	} else if (frame && has(code, 4) && (b[0] & 0xfe) == 0x48 && b[1] == 0x8d &&
		   (b[2] & 0x38) == UNWIND_RSP << 3 &&
		   ((b[2] & 7u) | (b[0] & REX_B) << 3) == frame && (b[2] & 7) != 4) {
		size = b[2] >> 6 == 1 ? 1 : b[2] >> 6 == 2 ? 4 : 0;
		if (size && has(code, 3 + size)) {
			*rsp = registers[frame] + (uint64_t)displacement(b + 3, size);
			code->at += 3 + size;
		}
	}
}

/* One pop; false when the next instruction is none. */
static bool next_pop(struct code *code, unsigned *number)
{
	const uint8_t *b = &code->bytes[code->at];

	if (has(code, 1) && (b[0] & 0xf8) == 0x58) {
		*number = b[0] & 7u;
		code->at += 1;
		return true;
	}
	if (has(code, 2) && (b[0] & 0xf0) == 0x40 && (b[1] & 0xf8) == 0x58) {
		*number = (b[1] & 7u) | (b[0] & REX_B) << 3;
		code->at += 2;
		return true;
	}
	return false;
}

/*
 * A jump inside the function (and its chained parts) is no epilogue, but one to its beginning is: a
 * tail call of itself.
 */
static bool leaves_function(const struct ldr_function *function, uint64_t target)
{
	RUNTIME_FUNCTION own, other;
	struct ldr_function there;

	if (!ldr_unwind_primary(function, &own)) {
		return false;
	}
	if (target == own.BeginAddress) {
		return true;
	}
	if (target >= function->row.BeginAddress && target < function->row.EndAddress) {
		return false;
	}
	if (ldr_function_find(function->base + target, &there) != LDR_FUNCTION_FOUND ||
	    !ldr_unwind_primary(&there, &other)) {
		return true;
	}
	return other.BeginAddress != own.BeginAddress;
}

/* A return, or a jump out of the function in one of the forms that the convention allows. */
static bool ends(const struct code *code, const struct ldr_function *function)
{
	const uint8_t *b = &code->bytes[code->at];
	uint64_t behind = code->rva + code->at;

	if (has(code, 1) && b[0] == 0xc3) {
		return true;
	}
	if (has(code, 3) && b[0] == 0xc2) {
		return true;
	}
	if (has(code, 2) && b[0] == 0xf3 && b[1] == 0xc3) {
		return true;
	}
	if (has(code, 2) && b[0] == 0xeb) {
		return leaves_function(function, behind + 2 + (uint64_t)displacement(b + 1, 1));
	}
	if (has(code, 5) && b[0] == 0xe9) {
		return leaves_function(function, behind + 5 + (uint64_t)displacement(b + 1, 4));
	}
	if (has(code, 6) && b[0] == 0xff && b[1] == 0x25) { /* jmp [rip + n] */
		return true;
	}
	if (has(code, 7) && (b[0] & 0xf8) == 0x48 && b[1] == 0xff && b[2] == 0x25) {
		return true;
	}
	/* jmp reg, with the prefix that marks a tail call */
	return has(code, 3) && (b[0] & 0xf8) == 0x48 && b[1] == 0xff && (b[2] & 0xf8) == 0xe0;
}

static bool read_code(const struct ldr_function *function, uint64_t rip, struct code *code)
{
	uint64_t end = function->row.EndAddress;

	code->rva = rip - function->base;
	code->at = 0;
	if (code->rva >= end) {
		return false;
	}
	code->size = end - code->rva;
	if (code->size > sizeof(code->bytes)) {
		code->size = sizeof(code->bytes);
	}
	return ldr_unwind_image(function, code->rva, code->bytes, code->size);
}

bool ldr_unwind_epilogue(struct ldr_unwind *unwind, const struct ldr_function *function,
			 unsigned frame_register, bool *done)
{
	uint64_t rsp = unwind->registers[UNWIND_RSP];
	struct code code, pops;
	unsigned number;

	*done = false;
	if (!read_code(function, unwind->registers[UNWIND_RIP], &code)) {
		return true; /* not readable: then it is not about to execute either */
	}
	deallocation(&code, unwind->registers, frame_register, &rsp);
	pops = code;
	while (next_pop(&code, &number)) {
	}
	if (!ends(&code, function)) {
		return true;
	}
	*done = true;
	while (next_pop(&pops, &number)) {
		if (!ldr_unwind_read(unwind, rsp, &unwind->registers[number], 8)) {
			return false;
		}
		if (unwind->saved_at) {
			unwind->saved_at->IntegerContext[number] = (PULONG64)rsp;
		}
		rsp += 8;
	}
	if (!ldr_unwind_read(unwind, rsp, &unwind->registers[UNWIND_RIP], 8)) {
		return false;
	}
	unwind->registers[UNWIND_RSP] = rsp + 8;
	return true;
}
