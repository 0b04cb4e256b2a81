/* SPDX-License-Identifier: MIT */
/*
 * As much of a machine as unwinding, exceptions, traps and bug checks need, for their tests: one
 * processor with one thread on a stack of its own, signals for traps, images compiled for Windows.
 * A bug check jumps back into the test.
 */
#pragma once

#include <ntifs.h>
#include <stdbool.h>
#include <stdint.h>
#include "ke/bugcheck.h"
#include "ke/callout.h"
#include "ke/ke.h"
#include "ldr/ldr.h"

extern struct ke_processor fake_processor;
extern struct _KTHREAD fake_thread;

/* Run main_ on the fake thread's stack, and return what it returns. */
int fake_machine_run(int (*main_)(void));

/* Take the signals back from cmocka, which sets its own for each test; loading an image does this
 * too. */
void fake_machine_handle(void);

/* Load a file that a test's meson.build made; the imports are bound by the table, checked or not.
 * Aborts with words. */
struct ldr_image *fake_image_load(const char *path, bool checked);
/* An export of it. */
void *fake_image_symbol(struct ldr_image *image, const char *name);
/* Bytes as an image of one readable and executable run, `functions` at that offset. */
struct ldr_image *fake_image_raw(const void *bytes, uint32_t size, uint32_t functions,
				 uint32_t count);
void fake_image_forget(struct ldr_image *image);

/* What was printed by DbgPrint since the last fake_printed_clear. */
extern char fake_printed[65536];
extern unsigned fake_pass, fake_fail; /* lines that begin so */
void fake_printed_clear(void);
extern char fake_report[4096]; /* by ke_print */

/*
 * Run `scenario` in a process of its own, which a bug check ends: its report, or 0 when it returned
 * or died otherwise.
 */
const struct ketch_bugcheck *fake_crash(void (*scenario)(void));

/* The verifier's entry check, as called. */
extern unsigned fake_entry_count;
extern uint32_t fake_entry_row;
extern uint64_t fake_entry_caller;

/* Called for each instruction in an image while single-stepping; 0: do not step. */
extern void (*fake_step)(const struct port_regs *regs, const uint8_t *fxsave);
void fake_step_on(void);
void fake_step_off(void);

/* An NMI at the next SIGUSR1: called on the alternate stack. */
extern void (*fake_nmi)(struct port_frame *frame);

extern bool fake_pageable_once; /* the next page fault is of paged-out memory: make it readable */
extern struct ldr_section *fake_section; /* what ldr_image_section_at finds */
