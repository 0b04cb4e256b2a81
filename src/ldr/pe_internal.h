/* SPDX-License-Identifier: MIT */
/* What the files of the PE reader share. Pure, as pe.h. */
#pragma once

#include "ldr/pe.h"

/* What lies behind an RVA: `present` bytes that exist, then zeros up to `extent`. */
struct pe_span {
	const unsigned char *bytes;
	uint32_t present;
	uint32_t extent;
};

bool pe_span_at(const struct ldr_pe *pe, uint32_t rva, struct pe_span *span);

/* Fills the error in and returns false, resp. LDR_PE_BAD. `name` may be NULL. */
bool pe_fail(struct ldr_pe_error *error, enum ldr_pe_code code, uint32_t index, uint64_t value,
	     uint64_t limit);
int pe_bad(struct ldr_pe_error *error, enum ldr_pe_code code, uint32_t index, uint64_t value,
	   uint64_t limit);
int pe_bad_named(struct ldr_pe_error *error, enum ldr_pe_code code, uint32_t index, uint64_t value,
		 uint64_t limit, struct ldr_pe_text name);

/* Fields of a file have no alignment. */
static inline uint16_t pe_u16(const void *from)
{
	uint16_t value;

	__builtin_memcpy(&value, from, sizeof(value));
	return value;
}

static inline uint32_t pe_u32(const void *from)
{
	uint32_t value;

	__builtin_memcpy(&value, from, sizeof(value));
	return value;
}

static inline uint64_t pe_u64(const void *from)
{
	uint64_t value;

	__builtin_memcpy(&value, from, sizeof(value));
	return value;
}

static inline uint64_t pe_align(uint64_t value, uint64_t alignment)
{
	return (value + alignment - 1) & ~(alignment - 1);
}

static inline bool pe_power_of_two(uint64_t value)
{
	return value && !(value & (value - 1));
}
