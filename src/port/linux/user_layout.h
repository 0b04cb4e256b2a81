/* SPDX-License-Identifier: MIT */
/*
 * user_layout.h: where a traced program's memory lies.
 *
 * The machine's user addresses end at 0x400000000000 (DEF-325); Linux puts the parts of a 64-bit
 * program above that. These two see to it that they lie below, before the program's first
 * instruction; a 32-bit program is left alone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct port_user;

/* In the child, before it executes the program: what it maps later goes below. System calls only.
 */
void user_layout_prepare(void);
/*
 * The thread is stopped at the event of an exec: move its program, heap and stack below. It is
 * stopped before its first instruction on return, or gone. Returns 0, or an errno: a part stays
 * where it was, and kernel code cannot see what lies at or above 0x400000000000. No baton.
 */
int user_layout_lower(struct port_user *user);
