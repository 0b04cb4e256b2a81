/* SPDX-License-Identifier: MIT */
/*
 * A machine for tests: runs bytes of code with chosen registers, and passes every fault to
 * emulate_instruction().
 *
 * A fault that is not emulated ends the run; the registers of that moment are then in `after` too.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

#include "port/linux/emulate.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };

#define MACHINE_VECTORS     4
#define MACHINE_VECTOR_SIZE 64
#define MACHINE_STACK       512
#define MACHINE_CODE_SIZE   0x4000
#define MACHINE_BODY        0x1000 /* where the code under test starts, unless told otherwise */
#define MACHINE_FLAGS       0x202ull

struct machine_state {
	uint64_t gpr[16];
	uint64_t flags;
	unsigned char vector[MACHINE_VECTORS][MACHINE_VECTOR_SIZE];
};

struct machine {
	unsigned char *code; /* MACHINE_CODE_SIZE bytes, then the state page */
	struct machine_shared *shared;
	void *alternate_stack;

	struct machine_state before, after;
	unsigned char stack[MACHINE_STACK]; /* before: RSP points into it unless a test sets it */

	/* The processor that ops work on. */
	uint64_t cr8;
	bool interrupts;
	unsigned cr8_reads, cr8_writes, interrupt_writes, page_updates;
	void (*on_page_update)(struct machine *m);

	/* What happened. */
	bool emulating;               /* in emulate_instruction() */
	unsigned emulated;            /* faults that ended in EMULATE_DONE */
	bool stopped;                 /* by a fault that was not emulated */
	enum emulate_result result;   /* of that fault */
	struct emulate_report report; /* of that fault */
	struct emulate_fault fault;   /* of that fault */
	bool context_changed;         /* by the emulation of that fault */
	uint64_t stop_rip;            /* of the context after it */
	uint64_t last_report_rip;     /* of the last fault, emulated or not */

	/* Called for single-step traps and SIGUSR1; may change the context. */
	void (*on_signal)(struct machine *m, int signal, ucontext_t *uc);
};

/* cmocka's fixtures of a group: the shared page and the emulation. */
int machine_setup(void **state);
int machine_teardown(void **state);

/* Also installs the handlers: call it in the test itself, as cmocka sets its own before each test.
 */
struct machine *machine_create(void);
void machine_destroy(struct machine *m);

/* Registers that tell each other apart, RSP in m->stack, flags clear, vectors likewise. */
void machine_reset(struct machine *m);

/* Runs size bytes at code + offset. `before` is kept. */
void machine_run_at(struct machine *m, unsigned offset, const void *body, size_t size);
void machine_run(struct machine *m, const void *body, size_t size);

/* The address of the code under test. */
uint64_t machine_address(const struct machine *m, unsigned offset);

#define MACHINE_RUN(m, ...)                                                                        \
	machine_run(m, (const unsigned char[]){__VA_ARGS__},                                       \
		    sizeof((const unsigned char[]){__VA_ARGS__}))

/* KETCH_TEST_SEED or a fresh seed; printed. */
uint64_t machine_seed(void);
uint64_t machine_random(uint64_t *state);
