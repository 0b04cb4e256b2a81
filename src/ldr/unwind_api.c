/* SPDX-License-Identifier: MIT */
/*
 * The documented routines over the unwinder: look a function up, undo a frame, capture a back
 * trace.
 *
 * Contexts: any IRQL, NMI too; no locks, no allocation. A driver may pass any registers and any
 * table.
 *
 * Requirements: DEF-310, DEF-213, DEF-331, DEF-333, DEF-22.
 *
 * Chosen where documents are silent:
 * - RtlVirtualUnwind on data or a stack that cannot be right sets RIP to 0, as the end of a stack
 * has it, and finds no handler. (Windows takes an access violation.)
 * - Back traces hold the frames of drivers. Those of the core lie in no listed module, and drivers
 * call such addresses "unknown code" (DEF-334).
 */
#include <ntifs.h>
#include "ke/guard.h"
#include "ke/walk.h"
#include "ldr/exception.h"
#include "ldr/ldr.h"
#include "ldr/unwind.h"
#include "rtl/rtl.h"

enum ldr_function_kind ldr_function_find(uint64_t pc, struct ldr_function *function)
{
	const struct ldr_image *image = ldr_image_from_address(pc);
	uint32_t low = 0, high, rva;

	if (!image) {
		return LDR_FUNCTION_NONE;
	}
	if (ldr_image_state(image) == LDR_UNLOADED || !image->functions) {
		return LDR_FUNCTION_LEAF;
	}
	rva = (uint32_t)(pc - image->base);
	high = image->function_count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const RUNTIME_FUNCTION *row = (const RUNTIME_FUNCTION *)image->functions + middle;
		RUNTIME_FUNCTION copy;

		if (!ke_guard_copy(&copy, row, sizeof(copy))) {
			return LDR_FUNCTION_LEAF;
		}
		if (rva < copy.BeginAddress) {
			high = middle;
		} else if (rva >= copy.EndAddress) {
			low = middle + 1;
		} else {
			function->base = image->base;
			function->size = image->size;
			function->row = copy;
			function->where = (PRUNTIME_FUNCTION)row;
			return LDR_FUNCTION_FOUND;
		}
	}
	return LDR_FUNCTION_LEAF;
}

/*
 * The row of the exception directory for an address. IRQL <= HIGH_LEVEL.
 * ImageBase gets the image's base, also for a function without a row; `history` is not needed. 0:
 * no row. DEF-310.
 */
PRUNTIME_FUNCTION NTAPI RtlLookupFunctionEntry(ULONG64 pc, PULONG64 base,
					       PUNWIND_HISTORY_TABLE history)
{
	struct ldr_function function;
	struct ldr_image *image;

	(void)history;
	if (ldr_function_find(pc, &function) == LDR_FUNCTION_FOUND) {
		*base = function.base;
		return function.where;
	}
	image = ldr_image_from_address(pc);
	*base = image ? image->base : 0;
	return 0;
}

/*
 * Undo the frame of `entry`, a function of the image at `base`, in *context. IRQL <= HIGH_LEVEL.
 * `type`: UNW_FLAG_NHANDLER, or which handler to look for. Returns the language handler that
 * applies at pc, with its data, or 0. `pointers` (optional) gets where each restored register was
 * saved. DEF-331.
 */
PEXCEPTION_ROUTINE NTAPI RtlVirtualUnwind(ULONG type, ULONG64 base, ULONG64 pc,
					  PRUNTIME_FUNCTION entry, PCONTEXT context, PVOID *data,
					  PULONG64 establisher,
					  PKNONVOLATILE_CONTEXT_POINTERS pointers)
{
	const struct ldr_image *image = ldr_image_from_address(base);
	struct ldr_function function = {
		.base = base,
		.size = image && image->base == base ? image->size : UINT32_MAX,
		.where = entry,
	};
	struct ldr_unwind unwind = {
		.registers = (uint64_t *)&context->Rax,
		.xmm = context->FltSave.XmmRegisters,
		.saved_at = pointers,
		.high = UINT64_MAX,
	};

	context->Rip = pc;
	if (!ke_guard_copy(&function.row, entry, sizeof(function.row)) ||
	    !ldr_unwind_function(&unwind, &function, type)) {
		context->Rip = 0;
		return 0;
	}
	*establisher = unwind.establisher;
	if (!unwind.handler) {
		return 0;
	}
	*data = (PVOID)unwind.handler_data;
	return (PEXCEPTION_ROUTINE)(base + unwind.handler);
}

/* The base of the module that holds an address, also in *base; 0: none. IRQL <= HIGH_LEVEL. */
PVOID NTAPI RtlPcToFileHeader(PVOID pc, PVOID *base)
{
	const struct ldr_image *image = ldr_image_from_address((uint64_t)pc);

	*base = image && ldr_image_state(image) != LDR_UNLOADED ? (PVOID)image->base : 0;
	return *base;
}

/*
 * Return addresses of the driver frames from the caller on; thunked, so that the walk begins at the
 * caller's exact registers. IRQL <= HIGH_LEVEL. Leaves out the first `skip`, writes at most
 * `count`, and to *hash (optional) the sum of their low halves. Returns how many were written.
 * DEF-213.
 */
USHORT NTAPI RtlCaptureStackBackTrace(ULONG skip, ULONG count, PVOID *trace, PULONG hash)
{
	struct ke_walk walk;
	ULONG found = 0, sum = 0;

	ke_walk_begin_caller(&walk);
	while (found < count && found < 0xffff && ke_walk_next(&walk)) {
		if (!walk.image) {
			continue;
		}
		if (skip) {
			skip--;
			continue;
		}
		trace[found++] = (PVOID)walk.address;
		sum += (ULONG)walk.address;
	}
	if (hash) {
		*hash = sum;
	}
	return (USHORT)found;
}

/*
 * As RtlCaptureStackBackTrace without a skip count; thunked. IRQL <= HIGH_LEVEL. `flags`: bit 0
 * asks for frames of the user's stack, of which there are none; the bits from 8 on are a number of
 * frames to skip.
 */
ULONG NTAPI RtlWalkFrameChain(PVOID *callers, ULONG count, ULONG flags)
{
	if (flags & 1) {
		return 0;
	}
	return RtlCaptureStackBackTrace(flags >> 8, count, callers, 0);
}

/*
 * Continue with the registers of *context, and with the XMM registers when its flags say that it
 * holds them. IRQL <= HIGH_LEVEL. With STATUS_UNWIND_CONSOLIDATE, *record names a routine that is
 * called first, with the record, and returns where to continue. Does not return.
 */
VOID NTAPI RtlRestoreContext(PCONTEXT context, PEXCEPTION_RECORD record)
{
	typedef PVOID NTAPI consolidate(PEXCEPTION_RECORD);

	if (record && record->ExceptionCode == STATUS_UNWIND_CONSOLIDATE &&
	    record->NumberParameters >= 1) {
		context->Rip = (ULONG64)((consolidate *)record->ExceptionInformation[0])(record);
	}
	ldr_exception_resume(context);
}
