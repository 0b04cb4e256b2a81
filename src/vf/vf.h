/* SPDX-License-Identifier: MIT */
/*
 * vf.h: the verifier as the rest of the core sees it: report a broken rule, and ask what is
 * checked.
 *
 * Rules are data (vf/rules.def): RULE(id, number, name, kind, bug check parameter 1, what to do). A
 * finding is a violation or an advice (DESIGN.md decision 8). vf_report may be called at any IRQL
 * and in an NMI: it takes no lock and allocates nothing; findings go into a fixed table (later ones
 * are counted) and, unless vf_quiet, at once to the report stream.
 */
#pragma once

#include <ntifs.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum vf_mode { VF_OFF, VF_REPORT, VF_BUGCHECK };
extern enum vf_mode vf_mode; /* set before boot, constant after */
/* Keep findings, print none: who booted the machine reports them at the end. Before boot. */
extern bool vf_quiet;

static inline bool vf_on(void)
{
	return __builtin_expect(vf_mode != VF_OFF, 0);
}

enum vf_rule {
#define RULE(id, ...) VF_##id,
#include "vf/rules.def"
#undef RULE
	VF_RULE_COUNT,
};

struct vf_finding {
	enum vf_rule rule;
	_Atomic uint32_t count; /* how often the same rule was broken at the same address */
	const char *ddi;        /* the function that found it; 0: none */
	uint64_t address;       /* in the driver: who did it */
	uint64_t object;        /* handle, routine, pointer that it is about; 0: none */
	uint32_t processor;
	uint8_t irql;
	uint64_t parameters[3]; /* bug check parameters 2 to 4 where the rule has a documented form
				 */
	bool parameters_used;
	char text[200]; /* what exactly, with values; no full stop */
};

struct ldr_image;
struct ldr_pe;

/*
 * Report a broken rule. `caller`: an address in the driver (VF_CALLER() in a DDI). Format: rtl.h's.
 * When the mode is bug check and the rule is a violation, does not return.
 * Findings of code outside every driver image, and of drivers that are not checked, are dropped
 * (VER-3).
 */
void vf_report(enum vf_rule rule, const char *ddi, uint64_t caller, uint64_t object,
	       const char *format, ...);
/* The same with documented bug check parameters 2 to 4. */
void vf_report_with(enum vf_rule rule, const char *ddi, uint64_t caller, uint64_t object,
		    const uint64_t parameters[3], const char *format, ...);

/*
 * The driver's address that called the DDI whose C function's frame this is: the return address
 * when it lies in a driver, else the newest call record's (thunked DDIs).
 */
uint64_t vf_caller(void *return_address);
#define VF_CALLER() vf_caller(__builtin_return_address(0))

/* Entry check of a DDI, from the binding stub: IRQL outside [min, max], or not allowed in an NMI
 * callback. */
void vf_ddi_entry(uint32_t ddi, uint64_t caller);

/* Around every call of a driver's routine: the IRQL must come back unchanged (VER-36). */
void vf_callout_irql(const void *routine, const void *context, KIRQL expected, unsigned id);

/* An image was loaded at `base`: look at what it imports (VER-55, VER-72). PASSIVE_LEVEL. */
void vf_image_loaded(uint64_t base, const struct ldr_pe *pe);

/* DriverUnload returned, or DriverEntry failed: look in every registry of live objects
 * (VER-38..44). PASSIVE_LEVEL. */
void vf_driver_unload(struct ldr_image *image, bool entry_failed);

/*
 * What a part's unload check works with. A part offers `void <part>_<object>_unload(const struct
 * vf_unload *unload)`, named in vf/checks.def, that goes through its live objects and calls
 * vf_unload_left for each that would outlive the image.
 */
struct vf_unload {
	struct ldr_image *image;
	uint64_t base, end;
	bool entry_failed;
};
/* True if the address lies in the image, or in pool that the image's driver allocated. */
bool vf_unload_owns(const struct vf_unload *unload, const void *address);
/*
 * `address`: the routine or storage in the image (0: only `object` is known); `object`: the object,
 * handle or block. The text goes on from "DRIVER left ...", as in "the timer %p active".
 */
void vf_unload_left(const struct vf_unload *unload, enum vf_rule rule, const void *address,
		    const void *object, const char *format, ...);

/* All were told that the addition of this number failed (VER-53). PASSIVE_LEVEL. */
void vf_processor_failed(uint32_t addition, uint32_t processor);

/* Findings so far, for the report at the end. */
uint32_t vf_finding_count(void);   /* kept in the table */
uint32_t vf_violation_count(void); /* of all, also those the table had no room for */
const struct vf_finding *vf_finding_at(uint32_t index);
const char *vf_rule_name(enum vf_rule rule);
const char *vf_rule_number(enum vf_rule rule);
const char *vf_rule_remedy(enum vf_rule rule);
bool vf_rule_is_advice(enum vf_rule rule);
/* `bad.sys+0x1a2c`; false and an empty text when the address lies in no driver. NMI-safe. */
bool vf_address_where(uint64_t address, char *where, size_t size);
/*
 * Can a driver mean this address as a routine that is called? 0: it can; else what is wrong, after
 * "the routine ...": it lies in no driver, in data, or inside a function whose frame is made there.
 * Any IRQL.
 */
const char *vf_routine_fault(uint64_t address);
const char *vf_irql_name(KIRQL irql); /* DISPATCH_LEVEL */

/* Judge only these drivers: file names joined with commas, without case; 0 or empty: all (VER-3).
 * Before boot. */
void vf_drivers_select(const char *names);

/* The documented strict switches (--strict=NAME,...), each off by default. */
extern bool vf_strict_signed_callbacks; /* DEF-51 */
extern bool vf_strict_processor_veto;   /* PRC-35: after a veto only who succeeded is told */
extern bool vf_strict_group_aware;      /* PRC-66 */
