/* SPDX-License-Identifier: MIT */
/*
 * Privileged instructions and loads from the shared page, as drivers' headers inline them: the
 * interface of emulate.c.
 *
 * Pure: nothing here installs a handler or knows a processor. The port's SIGSEGV, SIGILL and
 * SIGTRAP handlers pass the signal's context in and act on the result.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>

enum emulate_result {
	EMULATE_NOT_OURS,    /* a fault like any other; the context is unchanged */
	EMULATE_DONE,        /* the context was advanced: resume it */
	EMULATE_EXCEPTION,   /* raise report.exception; the context is the driver's at the fault */
	EMULATE_UNSUPPORTED, /* a process cannot do report.what; likewise */
};

enum emulate_exception {
	EMULATE_EXCEPTION_NONE,
	EMULATE_GENERAL_PROTECTION, /* mov cr8 of a value above 15; code = the value */
	EMULATE_ACCESS_VIOLATION,   /* a store to the shared page, or a read past its end */
	EMULATE_FAST_FAIL,          /* int 29h; code = ECX (DEF-328) */
	EMULATE_ASSERTION,          /* int 2Ch (DEF-338) */
	EMULATE_DEBUG_SERVICE,      /* int 2Dh; code = EAX */
	EMULATE_BREAKPOINT,         /* int 3; the context's RIP is behind it, report.rip at it */
};

/* What an unsupported instruction belongs to; emulate_class_name() gives the words. */
enum emulate_class {
	EMULATE_CLASS_NONE,
	EMULATE_CLASS_CONTROL_REGISTER, /* operand = number, write */
	EMULATE_CLASS_DEBUG_REGISTER,   /* operand = number, write */
	EMULATE_CLASS_MSR,              /* operand = number (ECX), write */
	EMULATE_CLASS_PORT_IO,          /* operand = port, write */
	EMULATE_CLASS_DESCRIPTOR_TABLE,
	EMULATE_CLASS_CACHE_TLB,
	EMULATE_CLASS_VIRTUALIZATION,
	EMULATE_CLASS_PERFORMANCE_COUNTER, /* operand = ECX */
	EMULATE_CLASS_EXTENDED_STATE,      /* operand = ECX (XSETBV) */
	EMULATE_CLASS_INTERRUPT,           /* operand = vector of INT n */
	EMULATE_CLASS_SYSTEM,              /* hlt, swapgs, sysret, iretq, ... */
	EMULATE_CLASS_SHARED_PAGE,         /* a load from that page, of a rare form */
};

struct emulate_fault {
	unsigned vector;     /* REG_TRAPNO */
	uint64_t error_code; /* REG_ERR */
	uint64_t address;    /* REG_CR2, meaningful for vector 14 */
};

struct emulate_report {
	uint64_t rip; /* the instruction, in the driver (never in a stub) */
	enum emulate_exception exception;
	enum emulate_class class;
	const char *what; /* the instruction's name in capitals, static; set with UNSUPPORTED */
	uint64_t address; /* ACCESS_VIOLATION */
	uint64_t code;    /* see the exception */
	uint64_t operand; /* see the class */
	unsigned length;  /* of the instruction, in bytes */
	bool has_operand;
	bool write; /* a store, or a write to the register or port */
};

/*
 * The virtual processor under the fault. All are called in the signal handler: they only read and
 * set its state and must not switch threads. What a lowered CR8 or an STI makes due is run
 * afterwards, by a rewritten context.
 */
struct emulate_ops {
	uint64_t (*cr8_read)(void *ctx);
	void (*cr8_write)(void *ctx, uint64_t value);    /* value is 0..15 */
	void (*interrupts_set)(void *ctx, bool enabled); /* cli, sti */
	/* Before each load from the shared page; may do nothing when a clock keeps it fresh. */
	void (*page_update)(void *ctx);
};

/* Maps the stubs' memory. Returns 0 or an errno. Not in a handler. */
int emulate_init(void);
void emulate_exit(void);

/*
 * Looks at the fault and does what can be done. Any context, a signal handler included: it takes
 * no lock and no memory and calls nothing but mem*, Zydis' decoder and ops.
 */
enum emulate_result emulate_instruction(ucontext_t *uc, const struct emulate_fault *fault,
					const struct emulate_ops *ops, void *ctx,
					struct emulate_report *out);

/* The fault that a signal's context carries. */
struct emulate_fault emulate_fault_of(const ucontext_t *uc);

/*
 * True if rip lies in a stub; *original is then the address in the driver: of the instruction, or
 * of the next one when the copy has run. For stack walks and reports, in an NMI too.
 */
bool emulate_stub_lookup(uint64_t rip, uint64_t *original);

/*
 * Takes a context that stopped in a stub back to the driver: RIP, and the registers that a string
 * instruction borrowed. Call it before an exception is raised on a signal's context that
 * emulate_instruction() called NOT_OURS, or a copy of one is shown. False: not in a stub, nothing
 * changed. A context so restored may also be resumed.
 */
bool emulate_stub_restore(ucontext_t *uc);

/*
 * The code in [start, start + length) is going away (an image is unloaded): no thread runs there
 * or in its stubs any more. Without this call the table of stubs would fill up in the end.
 */
void emulate_stub_forget(uint64_t start, uint64_t length);

/*
 * Words for an address that drivers hard-code and a process does not have ("the local APIC"), or
 * NULL (DEF-26).
 */
const char *emulate_address_name(uint64_t address);

/* "model-specific registers", ... */
const char *emulate_class_name(enum emulate_class class);
