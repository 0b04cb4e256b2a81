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
 * stopped before its first instruction on return, or gone. What cannot be moved stays, and the
 * report says so: kernel code does not see it. No baton.
 */
void user_layout_lower(struct port_user *user);
