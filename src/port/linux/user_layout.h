/* SPDX-License-Identifier: MIT */
/*
 * user_layout.h: where a traced program's memory lies.
 *
 * The machine's user addresses end at 0x400000000000 (DEF-325); Linux puts the parts of a 64-bit
 * program above that. Both functions see to it that they lie below, before the program's first
 * instruction; a 32-bit program is left alone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* In the child, before it executes the program: what it maps later goes below. */
void user_layout_prepare(void);
/*
 * At the stop after each exec of a traced thread, which is stopped before its first instruction.
 * The tracer calls it; the thread is stopped there again on return, with other registers. Returns
 * 0, or an errno: the parts stay where they are, and kernel code cannot see those at or above
 * 0x400000000000.
 */
int user_layout_lower(uint32_t tid);
