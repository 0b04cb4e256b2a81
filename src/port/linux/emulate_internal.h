/* SPDX-License-Identifier: MIT */
/* What the files of the emulation share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

#include <Zydis/Zydis.h>

#include "port/linux/emulate.h"

#define EMULATE_MAX_LENGTH 15

#define EMULATE_PAGE_FAULT_WRITE 2u /* bit of the error code of vector 14 */

/* Registers that a stub borrows: they hold the alias's address instead of the kernel's while it
 * runs. */
enum emulate_borrow {
	EMULATE_BORROW_RSI = 1,
	EMULATE_BORROW_RDI = 2,
	EMULATE_BORROW_RBX = 4,
};

/* How to run an instruction on the alias. */
struct emulate_copy {
	unsigned char code[EMULATE_MAX_LENGTH];
	unsigned char length;
	unsigned char borrow; /* enum emulate_borrow */
};

/* Bits of the opcode 0F 20..23. */
#define EMULATE_MOV_DEBUG 1u
#define EMULATE_MOV_TO    2u

struct emulate_code {
	uint64_t rip;
	unsigned char bytes[EMULATE_MAX_LENGTH];
	ZydisDecodedInstruction decoded;
	ZydisDecoderContext context;
};

/* emulate.c: MOV to or from a control or debug register, and the register's number 0..15. */
bool emulate_is_mov_cr(const ZydisDecodedInstruction *decoded);
unsigned emulate_mov_cr_number(const struct emulate_code *in);

/* emulate_names.c: fills class, what, operand and write if the instruction is privileged. */
bool emulate_classify(const struct emulate_code *in, const ucontext_t *uc,
		      struct emulate_report *out);

/* emulate_load.c */
enum emulate_result emulate_load_copy(const ZydisDecoder *decoder, const struct emulate_code *in,
				      const ucontext_t *uc, const struct emulate_fault *fault,
				      struct emulate_copy *copy, struct emulate_report *out);

/* emulate_stub.c */
int emulate_stub_create(void);
void emulate_stub_destroy(void);
/* The address of the stub for this instruction, made if need be; 0 when the table is full. */
uint64_t emulate_stub_get(const struct emulate_code *in, const struct emulate_copy *copy);
/* TRUE if rip is the end of a stub that borrows registers, which is left by a fault. */
bool emulate_stub_at_end(uint64_t rip);
/* Moves each borrowed register by delta. */
void emulate_stub_shift(ucontext_t *uc, unsigned borrow, uint64_t delta);
