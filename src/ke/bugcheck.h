/* SPDX-License-Identifier: MIT */
/* bugcheck.h: what ke/bugcheck.c and its callbacks share with the rest of ke; ke_bugcheck itself is
 * in ke/ke.h. */
#pragma once

#include "ke/ke.h"
#include "ketch/ketch.h"

/* The report of the bug check that stopped the machine; 0: none. Complete once ke_machine_stopped
 * says KE_STOP_BUGCHECK. */
const struct ketch_bugcheck *ke_bugcheck_report(void);

/* Documented name of a code (`NMI_HARDWARE_FAILURE`); 0: not a documented code. */
const char *ke_bugcheck_name(ULONG code);

/*
 * Private to the bug check. Call every registered routine; each leaves its list before it is
 * called, so that a fault in one, which enters the bug check again, continues with the next.
 * HIGH_LEVEL, other processors frozen.
 */
void ke_bugcheck_callbacks(void);

struct vf_unload;
/* Report callbacks that a driver leaves behind (vf/checks.def). */
void ke_bugcheck_unload(const struct vf_unload *unload);
