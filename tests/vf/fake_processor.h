/* SPDX-License-Identifier: MIT */
/* fake_processor.h: a test's thread holds a processor that exists only so that GS points somewhere.
 */
#pragma once
#include "ke/callout.h"

extern struct ke_processor fake_processor;
extern struct _KTHREAD fake_thread;
/* A fresh processor, held by the caller. */
void fake_processor_begin(void);
/* Another thread holds it too. */
void fake_processor_hold(void);
