/* SPDX-License-Identifier: MIT */
/*
 * wrong_registry.h: a registry as it is often written: deregistration unlinks the entry and gives
 * its memory back at once, whoever may stand on it. (It keeps the memory in an array, so that the
 * defect shows as a late call and not as a crash.)
 */
#pragma once

#include <stdatomic.h>

struct wrong_entry {
	struct wrong_entry *_Atomic next;
	void *_Atomic context;
};

struct wrong_entry *wrong_first(void);
void *wrong_register(void *context);
void wrong_deregister(void *handle);
