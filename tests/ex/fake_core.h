/* SPDX-License-Identifier: MIT */
/* fake_core.h: just enough of the port, ke and vf to run the pool in an ordinary program. */
#pragma once

#include "ke/ke.h"
#include "vf/vf.h"

/* Give the calling thread a processor (GS) at PASSIVE_LEVEL. */
void fake_processor_enter(void);
/* Serve page faults of pageable memory until the test ends (cmocka takes the signal before each).
 */
void fake_faults_begin(void);

/* The last finding, and how many there were. */
extern struct fake_findings {
	unsigned count;
	enum vf_rule rule;
	uint64_t caller, object;
	uint64_t parameters[3];
	char text[200];
} fake_findings;
void fake_findings_clear(void);

/* The last bug check; ke_bugcheck jumps to fake_bugcheck_out when fake_bugcheck_armed. */
#include <setjmp.h>
extern struct fake_bugcheck {
	bool armed;
	jmp_buf out;
	ULONG code;
	uint64_t parameters[4];
} fake_bugcheck;

/* The next calls of port_pages_protect fail. */
extern unsigned fake_protect_failures;
