/* SPDX-License-Identifier: MIT */
/*
 * guard.h: memory that may not be there. A fault inside these functions ends the copy instead of
 * the machine: the trap handler recognises the instruction (ke_guard_recover) and continues at its
 * way out. For walkers of stacks, unwind data and driver records, for probing, MmCopyMemory and the
 * like. Any IRQL, NMI too; no locks, nothing is held.
 *
 * A page that is pageable under the verifier, or that a user process shares, is brought in as for
 * any access.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copy; false when a page on either side cannot be accessed (the first part may have been copied).
 */
bool ke_guard_copy(void *to, const void *from, size_t size);

static inline bool ke_guard_read64(uint64_t address, uint64_t *value)
{
	return ke_guard_copy(value, (const void *)address, sizeof(*value));
}

/* For the trap handler: if `rip` lies in ke_guard_copy, where to continue; else 0. */
uint64_t ke_guard_recover(uint64_t rip);
