/* SPDX-License-Identifier: MIT */
/*
 * ddi.h: the one table of functions that drivers import (DESIGN.md decision 2).
 *
 * Rows live in ldr/ddi/<part>.def, one file per part of the core, all included by ldr/ddi.def:
 *
 *     DDI(name, module, min, max, version, rule, flags)
 *     DDI_AS(name, symbol, module, min, max, version, rule, flags)    the C function has another
 * name (memcpy: libc's is taken) DDI_DATA(name, module, version)
 *
 * name     the exported name; the core defines a function of that name (NTAPI), or for DDI_DATA a
 * variable. module   NTOSKRNL or HAL (each is found under both names, DEF-319), later NETIO, NDIS.
 * min, max lowest and highest legal IRQL of the caller: PASSIVE APC DISPATCH IPI DIRQL(12) HIGH(15
 * = any). version  first Windows version as NTDDI-style 0xMMmm: 0x0500 2000, 0x0501 XP, 0x0502
 * 2003, 0x0600 Vista, 0x0601 7, 0x0602 8, 0x0603 8.1, 0x0A00 10. rule     the verifier rule
 * (vf/rules.def) that an IRQL outside [min, max] breaks; RtIrql where no documented rule covers it.
 * flags    0 or DDI_THUNK (may raise an exception or call a driver: bound through the call-record
 * thunk), DDI_NMI (allowed in an NMI callback, NMI-32), DDI_STORPORT (on the
 * HwStorPortProhibitedDDIs list, VER-74), DDI_FAULT (with DDI_THUNK: a page fault inside the
 * function, at IRQL < DISPATCH_LEVEL, is raised in the driver as an exception at its call; for
 * functions like memcpy that hold nothing while they touch the driver's memory), joined with |.
 *
 * Generated from it: the loader's binding, the binding stubs (ldr/ddi_stub.S), import libraries
 * (tools/import-libs), the verifier's entry checks, `ketch ddi`, `ketch imports`, docs. Adding a
 * DDI is one row and one function.
 *
 * This file is also read by the assembler: only #defines outside the guard.
 */
#define DDI_THUNK    1
#define DDI_NMI      2
#define DDI_STORPORT 4
#define DDI_FAULT    8

#ifndef __ASSEMBLER__
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum ddi_module { DDI_NTOSKRNL, DDI_HAL, DDI_NETIO, DDI_NDIS, DDI_MODULE_COUNT };

struct ddi {
	const char *name;
	void *function;      /* the C function, or the variable's address */
	void *entry_checked; /* what imports are bound to when the verifier is on */
	void *entry;         /* what they are bound to when it is off */
	uint8_t module;      /* enum ddi_module */
	uint8_t irql_min, irql_max;
	uint8_t flags;
	uint16_t version;
	uint16_t rule; /* enum vf_rule */
	bool data;
};

extern const struct ddi ddi_table[];
extern const uint32_t ddi_count;
/* By name, in any module of the kernel proper (NTOSKRNL, HAL count as one); 0 when absent. */
const struct ddi *ddi_find(enum ddi_module module, const char *name);
const char *ddi_module_name(enum ddi_module module);
/* The row whose function, or one of its entries, is at this address; 0: none. NMI-safe. */
const struct ddi *ddi_from_entry(uint64_t address);
/* The DDI that the call instruction before this return address in a driver calls, through its
 * import table; 0: unknown. NMI-safe. */
const struct ddi *ddi_called_before(uint64_t return_address);
#endif
