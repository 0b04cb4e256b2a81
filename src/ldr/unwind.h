/* SPDX-License-Identifier: MIT */
/*
 * unwind.h: undo one frame of a driver's function by its unwind data (DEF-331, DEF-333). Any IRQL,
 * NMI too: no locks, no allocation; whatever the image and the stack contain, it neither faults nor
 * loops.
 */
#pragma once

#include <ntifs.h>
#include <stdbool.h>
#include <stdint.h>

/* Numbers of registers in unwind codes, in CONTEXT (from Rax on) and in struct port_regs. */
enum {
	UNWIND_RSP = 4,
	UNWIND_RBP = 5,
	UNWIND_RIP = 16,
};

/* A row of an image's exception directory. */
struct ldr_function {
	uint64_t base; /* of the image */
	uint32_t size; /* of the image: no RVA reaches behind it */
	RUNTIME_FUNCTION row;
	PRUNTIME_FUNCTION where; /* the row in the image */
};

enum ldr_function_kind {
	LDR_FUNCTION_NONE, /* no driver image holds the address */
	LDR_FUNCTION_LEAF, /* in an image, without a row: nothing but the return address is on the
			      stack */
	LDR_FUNCTION_FOUND,
};

enum ldr_function_kind ldr_function_find(uint64_t pc, struct ldr_function *function);

/* Registers that an unwind works on, and what it finds. */
struct ldr_unwind {
	uint64_t *registers; /* 17: RAX .. R15 by number, RIP; &context->Rax as uint64_t * or
				&regs->rax */
	M128A *xmm;          /* 16; 0: not wanted */
	KNONVOLATILE_CONTEXT_POINTERS *saved_at; /* 0: not wanted */
	uint64_t low, high;                      /* no stack slot outside is read */

	uint64_t establisher; /* the frame's address, as language handlers get it */
	uint32_t handler;     /* RVA of the language handler; 0: none applies here */
	uint64_t handler_data;
	bool interrupted; /* the caller was interrupted there (a machine frame), it did not call */
};

/*
 * From inside `function` to its caller. `flags`: UNW_FLAG_EHANDLER or UNW_FLAG_UHANDLER look for a
 * handler. False: the data or the stack is not what it should be; the registers are then undefined.
 */
bool ldr_unwind_function(struct ldr_unwind *unwind, const struct ldr_function *function,
			 unsigned flags);
/* From a function without a row, or before its first instruction. */
bool ldr_unwind_leaf(struct ldr_unwind *unwind);

/* Private to the unwinder. */
bool ldr_unwind_read(const struct ldr_unwind *unwind, uint64_t address, void *to, size_t size);
bool ldr_unwind_image(const struct ldr_function *function, uint64_t rva, void *to, size_t size);
/* If RIP lies in an epilogue, undo the rest of it. */
bool ldr_unwind_epilogue(struct ldr_unwind *unwind, const struct ldr_function *function,
			 unsigned frame_register, bool *done);
/* The row at the root of a chain; false when the chain is broken. */
bool ldr_unwind_primary(const struct ldr_function *function, RUNTIME_FUNCTION *primary);
