/* SPDX-License-Identifier: MIT */
/* vf_internal.h: what the verifier's own files share. */
#pragma once

#include <stdarg.h>
#include "ldr/ddi.h"
#include "vf/vf.h"

/* Bug check code and parameter 1 of a rule (vf/rules.def). */
uint32_t vf_rule_code(enum vf_rule rule);
uint64_t vf_rule_parameter(enum vf_rule rule);

/* What a rule's documented parameters 2 to 4 are made of in the DDI itself; the entry check leaves
 * such rules alone. */
bool vf_rule_in_function(enum vf_rule rule);

/*
 * The judgement of an entry check, by itself: true when a call of `ddi` at `irql` breaks *rule.
 * Pure; any context.
 */
bool vf_ddi_judge(const struct ddi *ddi, KIRQL irql, bool in_nmi, enum vf_rule *rule);

/* True if findings about code at `address` count: it lies in a driver that is checked (VER-3).
 * NMI-safe. */
bool vf_address_checked(uint64_t address);
/* True if it lies in any driver. NMI-safe. */
bool vf_address_in_driver(uint64_t address);

/* vf_report_with, whose parameters may be 0. `by_object`: findings about other objects are others.
 */
void vf_report_list(enum vf_rule rule, const char *ddi, uint64_t caller, uint64_t object,
		    bool by_object, const uint64_t *parameters, const char *format,
		    va_list arguments);

/* What images and pool know (vf/image.c). NMI-safe, but for the pool's. */
void vf_image_range(const struct ldr_image *image, uint64_t *base, uint64_t *end);
/* The name of the image that holds the address, or an empty text. */
void vf_address_name(uint64_t address, char *name, size_t size);
/* The code that allocated the pool block that holds the address; 0: it is not pool. <=
 * DISPATCH_LEVEL. */
uint64_t vf_pool_allocator(const void *address);
