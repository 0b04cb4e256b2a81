/* SPDX-License-Identifier: MIT */
/*
 * As much of a kernel as the loader needs, for its unit tests: pages of the host, a heap, a table
 * of four functions and a variable. A bug check jumps back into the test.
 */
#pragma once

#include <ntifs.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include "ke/ke.h"
#include "ldr/ldr.h"
#include "vf/vf.h"

extern size_t fake_blocks;       /* live pool blocks */
extern int fake_lock_depth;      /* of the loader's mutex */
extern uint64_t fake_page_calls; /* of port_pages_* */
extern char fake_printed[256];   /* by ke_print, the last */

/* Failures to come: the host's and the pool's, after so many more successes; -1: none. */
extern int fake_protect_fails, fake_allocate_fails;
extern size_t fake_reserve_limit; /* larger reservations fail */
extern bool fake_hints_ignored;

struct fake_stop {
	jmp_buf back;
	bool armed;
	ULONG code;
	uint64_t parameters[4];
	uint64_t address;
	char text[400];
};
extern struct fake_stop fake_stop;

/* Once: gives the thread a processor, and starts the loader. */
void fake_boot(void);

/* "r-x" and the like of the mapping that holds the address, from the host's own account; "" when
 * there is none. */
const char *fake_protection(uint64_t address);

/* What the table's functions are bound to. */
ULONG NTAPI fake_dbgprint(const char *format, ...);
void NTAPI fake_bugcheckex(void);
uint64_t NTAPI fake_halsendnmi(uint64_t argument);
void NTAPI fake_checked(void);
extern int fake_variable;

/* Sections that mm knows of. */
extern unsigned fake_sections, fake_pageable_sections;
/* Loaded images that the verifier was told of. */
extern unsigned fake_judged;
