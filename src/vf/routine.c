/* SPDX-License-Identifier: MIT */
/*
 * routine.c: can an address be meant as a routine that is called?
 *
 * By the image's sections and its exception directory. Lock-free, any IRQL, as the loader's
 * look-ups are.
 */
#include <ntimage.h>
#include "ke/guard.h"
#include "ldr/ldr.h"
#include "vf/vf_internal.h"

/*
 * Behind the prologue of a function that changes RSP no call can arrive: the function would take
 * something else for its return address. Leaf functions have no row, and code with several entries
 * has them before the frame is made, so neither is accused.
 */
static bool is_inside_function(uint64_t address)
{
	enum { CHAINED = 4 };
	struct {
		uint8_t version_flags, prologue, codes, frame;
	} unwind;
	ULONG64 base;
	const RUNTIME_FUNCTION *row = RtlLookupFunctionEntry(address, &base, NULL);
	if (!row || !ke_guard_copy(&unwind, (const char *)base + row->UnwindData, sizeof unwind))
		return false;
	uint64_t offset = address - base - row->BeginAddress;
	return unwind.version_flags >> 3 & CHAINED ||
	       (offset && offset >= unwind.prologue && unwind.codes);
}

const char *vf_routine_fault(uint64_t address)
{
	const struct ldr_image *image = ldr_image_from_address(address);
	if (!image)
		return "lies in no driver";
	const struct ldr_section *section = ldr_image_section_at(image, address);
	if (!section || !(section->flags & IMAGE_SCN_MEM_EXECUTE))
		return "lies in data";
	return is_inside_function(address) ? "lies inside a function" : NULL;
}
