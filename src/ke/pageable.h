/* SPDX-License-Identifier: MIT */
/*
 * pageable.h: what ke asks about memory that may be paged out; mm/pageable.c answers (DEF-337,
 * VER-35). It stands here because ke lies below mm.
 */
#pragma once

#include <ntdef.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* True if the address lies in a PAGE* section or in paged pool, whether or not it is locked
 * (DEF-340). Any context. */
bool mm_is_pageable(uint64_t address);
/* The same, and not locked: an access at DISPATCH_LEVEL would be an error. Any context. */
bool mm_is_unlocked_pageable(uint64_t address);

/* Something pageable is accessible. Set by whoever brings it in (release), cleared by the one who
 * trims (acquire). */
extern _Atomic uint32_t mm_pageable_present;
void mm_pageable_trim_now(void);
/*
 * Take pageable memory away again. Call it, when vf_on(), on every raise to DISPATCH_LEVEL or above
 * and at the entry of an NMI. Any context.
 */
static inline void mm_pageable_trim(void)
{
	if (atomic_load_explicit(&mm_pageable_present, memory_order_relaxed))
		mm_pageable_trim_now();
}
/*
 * A page fault of kind `access` (PORT_READ, _WRITE or _EXECUTE). True: the memory is pageable and
 * has been brought in; try again. False: not ours, or the IRQL does not allow it (and it is not
 * locked). Any context.
 */
bool mm_pageable_fault(uint64_t address, unsigned access, KIRQL irql);
