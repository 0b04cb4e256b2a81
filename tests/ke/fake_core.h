/* SPDX-License-Identifier: MIT */
/* fake_core.h: enough of a port and a core for the registry to run in an ordinary program. */
#pragma once

#include "ke/ke.h"

extern bool fake_no_memory; /* the host has no pages */

/* The calling host thread becomes a kernel thread: ke_thread() is its own KTHREAD. */
void fake_thread_begin(void);
/* ke_irql() of the calling thread. */
void fake_irql_set(KIRQL irql);
