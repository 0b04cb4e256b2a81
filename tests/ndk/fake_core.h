/* SPDX-License-Identifier: MIT */
/* fake_core.h: just enough of the core to run ndk's regions in an ordinary program with threads. */
#pragma once

#include "ke/ke.h"
#include "ndk/region.h"

/* Give the calling thread a processor (GS) of its own, at PASSIVE_LEVEL. */
void fake_processor_enter(struct ke_processor *processor);
/* mm_virtual_of answers 0 for frames below this, else the address itself. */
#define FAKE_FIRST_FRAME 0x10u
