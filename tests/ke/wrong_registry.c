/* SPDX-License-Identifier: MIT */
/* See wrong_registry.h. One writer; readers do not lock. */
#include "tests/ke/wrong_registry.h"
#include <stddef.h>

static struct wrong_entry memory[64];
static struct wrong_entry *_Atomic head;
static struct wrong_entry *freed[64];
static size_t freed_count, used;

struct wrong_entry *wrong_first(void)
{
	return head;
}

void *wrong_register(void *context)
{
	if (!freed_count && used == sizeof memory / sizeof *memory)
		return NULL;
	struct wrong_entry *entry = freed_count ? freed[--freed_count] : &memory[used++];
	entry->context = context;
	entry->next = head;
	head = entry;
	return entry;
}

void wrong_deregister(void *handle)
{
	struct wrong_entry *_Atomic *link = &head;
	while (*link != handle)
		link = &(*link)->next;
	*link = ((struct wrong_entry *)handle)->next;
	freed[freed_count++] = handle;
}
