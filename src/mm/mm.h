/* SPDX-License-Identifier: MIT */
/* mm.h: memory that may be paged out, as the rest of the core sees it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <ntdef.h>

/* A raise to DISPATCH_LEVEL or above, or an NMI, begins: page out what is pageable and not locked (DEF-337). NMI-safe; one load when
 * nothing is paged in. Only called while the verifier is on. */
void mm_pageable_trim(void);
/* A page fault at `address`: true if it was paged out and is in again (retry), false if it is not pageable or the IRQL is
 * DISPATCH_LEVEL or above. Called in trap handlers. */
bool mm_pageable_fault(uint64_t address, KIRQL irql);
/* The address lies in a pageable section or in paged pool (DEF-340). NMI-safe. */
bool mm_is_pageable(uint64_t address);
