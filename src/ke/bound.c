/* SPDX-License-Identifier: MIT */
/*
 * bound.c: bound exceptions of user threads: registration and dispatch of callbacks (BND-1..27,
 * DEF-27..34, DEF-36, DEF-37).
 *
 * A user thread whose BOUND instruction raised #BR enters the kernel like any other thread that
 * does, and its kernel thread comes here, before anything in user mode, a debugger included, has
 * seen the exception (BND-26). Callbacks run on it at PASSIVE_LEVEL, attached to its process, with
 * interrupts on; they may wait. So the family counts running calls (ke/registry.h), and
 * deregistration sleeps until the callback runs nowhere.
 *
 * Context: ke_bound_fault on a user thread's kernel thread, PASSIVE_LEVEL. No locks of its own.
 *
 * Chosen where the documents are silent: IRQL <= APC_LEVEL for both functions (BND-9); several
 * registrations, newest first, the first answer but ContinueSearch counts (BND-10, 11); the same
 * routine twice has two entries (BND-12); a NULL routine, and one in no loaded driver unless
 * ke_bound_anywhere, is refused and reported (BND-13, DEF-37); deregistration inside a callback is
 * refused with STATUS_UNSUCCESSFUL; at another IRQL: bug check 0xC8 (BND-19); in another critical
 * or guarded region: bug check 1, as for any return to user mode; an answer out of range counts as
 * ContinueSearch (BND-25). Handled without a change of anything repeats the fault (BND-22). After
 * REPEATS in a row the verifier reports it and the exception goes to the program, so that the run
 * ends; without verifier it repeats until the run's time ends, as it would for ever on Windows.
 */
#include "ke/bound.h"
#include "ke/guard.h"
#include "ke/internal.h"
#include "ke/trap_frame.h"
#include "ke/walk.h"

#define REPEATS 1000

bool ke_bound_anywhere;

static struct ke_registry bound_callbacks = {.name = "bound", .family = 2};

/* ---- Dispatch ---- */

/* Regions that a callback entered are left, or the thread takes them to user mode. */
static void check_regions(const struct ke_registry_entry *entry, int32_t kernel, int32_t special)
{
	PKTHREAD thread = ke_thread();
	if (thread->kernel_apc_disable == kernel && thread->special_apc_disable == special)
		return;
	ke_bugcheck(0x1 /* APC_INDEX_MISMATCH */, (uint64_t)entry->routine, 0,
		    (uint64_t)(uint16_t)thread->special_apc_disable << 16 |
			    (uint16_t)thread->kernel_apc_disable,
		    0,
		    &(struct ke_bugcheck_detail){
			    .address = (uint64_t)entry->routine,
			    .text = "a bound callback returned in another critical or guarded "
				    "region than it was called in"});
}

static BOUND_CALLBACK_STATUS call(const struct ke_registry_entry *entry)
{
	PBOUND_CALLBACK routine = (PBOUND_CALLBACK)entry->routine;
	PKTHREAD thread = ke_thread();
	int32_t kernel = thread->kernel_apc_disable, special = thread->special_apc_disable;
	struct ke_call_record record;
	ke_callout_begin(&record, NULL);
	BOUND_CALLBACK_STATUS answer = routine();
	ke_callout_end(&record);
	vf_callout_irql(entry->routine, NULL, PASSIVE_LEVEL, 2);
	check_regions(entry, kernel, special);
	return answer;
}

/* Newest first until one does not say ContinueSearch; *last: who was called last. */
static BOUND_CALLBACK_STATUS walk(uint64_t *last)
{
	BOUND_CALLBACK_STATUS answer = BoundExceptionContinueSearch;
	struct ke_registry_entry *entry;
	struct ke_registry_walk walk;
	ke_registry_walk_begin(&walk, &bound_callbacks, KE_NEWEST_FIRST);
	while (answer == BoundExceptionContinueSearch && (entry = ke_registry_walk_next(&walk))) {
		*last = (uint64_t)entry->routine;
		answer = call(entry);
		if ((ULONG)answer < BoundExceptionMaximum)
			continue;
		vf_report(VF_BoundAnswer, NULL, *last, *last,
			  "a bound callback returned %u, which is no answer", (ULONG)answer);
		answer = BoundExceptionContinueSearch;
	}
	ke_registry_walk_end(&walk);
	return answer;
}

/* The bounds in memory are what they were when the instruction compared. */
static bool bounds_stay(const struct port_bound *bound)
{
	int32_t wide[2] = {0};
	int16_t narrow[2] = {0};
	bool is_wide = bound->size == sizeof *wide;
	if (!ke_guard_copy(is_wide ? (void *)wide : narrow, (const void *)bound->address,
			   2 * (size_t)bound->size))
		return false;
	return is_wide ? wide[0] == bound->lower && wide[1] == bound->upper
		       : narrow[0] == bound->lower && narrow[1] == bound->upper;
}

/*
 * Handled, with the frame as it was. True if that happened REPEATS times in a row, for the same
 * instruction with the same registers and the same bounds, and this time nothing was changed for
 * certain.
 */
static bool repeats_for_ever(struct ke_bound_thread *memory, const struct port_user_regs *regs,
			     const struct port_bound *bound)
{
	if (memory->repeats && memcmp(&memory->regs, regs, sizeof *regs) == 0 &&
	    memcmp(&memory->bound, bound, sizeof *bound) == 0) {
		memory->repeats++;
	} else {
		memory->regs = *regs;
		memory->bound = *bound;
		memory->repeats = 1;
	}
	return memory->repeats >= REPEATS && bounds_stay(bound);
}

enum ke_bound_outcome ke_bound_fault(struct port_user *user, const struct port_bound *bound,
				     struct ke_bound_thread *memory)
{
	PKTHREAD thread = ke_thread();
	struct port_user_regs *regs = port_user_regs(user);
	KTRAP_FRAME frame, before;
	uint64_t last = 0;
	if (!ke_registry_first(&bound_callbacks))
		return KE_BOUND_DELIVER;

	ke_trap_frame_fill(&before, regs, port_user_fxsave(user), memory->debug_registers);
	frame = before;
	KTRAP_FRAME *outer = thread->TrapFrame;
	thread->TrapFrame = &frame;
	BOUND_CALLBACK_STATUS answer = walk(&last);
	thread->TrapFrame = outer;

	if (answer == BoundExceptionError)
		return KE_BOUND_END;
	bool changed = memcmp(&frame, &before, sizeof frame) != 0;
	if (changed && !ke_trap_frame_apply(&frame, &before, user, memory, last))
		return KE_BOUND_END;
	if (answer != BoundExceptionHandled)
		return KE_BOUND_DELIVER;
	if (changed || !vf_on()) {
		memory->repeats = 0;
	} else if (repeats_for_ever(memory, regs, bound)) {
		vf_report(
			VF_BoundRepeat, NULL, last, last,
			"a bound callback said Handled %u times for one instruction (at %#I64x) "
			"and changed nothing: index %d, bounds %d to %d; the exception goes to the "
			"program",
			memory->repeats, regs->general.rip, bound->index, bound->lower,
			bound->upper);
		memory->repeats = 0;
		return KE_BOUND_DELIVER;
	}
	return KE_BOUND_RESUME;
}

/* ---- DDIs ---- */

/*
 * Register a routine that is called when a thread in user mode gets a bound exception (#BR), on
 * that thread, at PASSIVE_LEVEL, before any handler of the program. IRQL <= APC_LEVEL.
 * CallbackRoutine: a routine of the driver; it takes no argument and answers ContinueSearch,
 * Handled (the thread goes on as its trap frame says) or Error (its process ends). Returns a handle
 * for KeDeregisterBoundCallback, or NULL: no memory, no routine, or one in no loaded driver.
 * Source: BND-1, BND-6, BND-9..13, DEF-37.
 */
PVOID NTAPI KeRegisterBoundCallback(PBOUND_CALLBACK CallbackRoutine)
{
	uint64_t caller = (uint64_t)__builtin_return_address(0);
	uint64_t routine = (uint64_t)CallbackRoutine;
	if (!routine || (!ke_bound_anywhere && !ke_where_driver(routine))) {
		vf_report(
			VF_BoundRoutine, "KeRegisterBoundCallback", caller, routine,
			routine ? "KeRegisterBoundCallback with the routine %#I64x, which lies in "
				  "no loaded driver"
				: "KeRegisterBoundCallback without a routine",
			routine);
		return NULL;
	}
	return ke_registry_register(&bound_callbacks, (void *)CallbackRoutine, NULL, caller);
}

/*
 * Remove a callback; when it returns no thread runs it any more. IRQL <= APC_LEVEL.
 * STATUS_SUCCESS; STATUS_INVALID_HANDLE: no live registration has this handle; STATUS_UNSUCCESSFUL,
 * nothing changed: called from a bound callback, or above APC_LEVEL while the callback runs.
 * Source: BND-2, BND-7, BND-9, BND-14, BND-15.
 */
NTSTATUS NTAPI KeDeregisterBoundCallback(PVOID Handle)
{
	uint64_t caller = (uint64_t)__builtin_return_address(0);
	if (vf_on() && ke_registry_inside(&bound_callbacks))
		vf_report(
			VF_BoundInside, "KeDeregisterBoundCallback", caller, (uint64_t)Handle,
			"KeDeregisterBoundCallback from a bound callback, which it would wait for");
	NTSTATUS status = ke_registry_deregister(&bound_callbacks, Handle);
	if (status == STATUS_INVALID_HANDLE && vf_on())
		vf_report(VF_BoundHandle, "KeDeregisterBoundCallback", caller, (uint64_t)Handle,
			  Handle ? "no bound callback is registered under handle %p (deregistered "
				   "before?)"
				 : "KeDeregisterBoundCallback with a NULL handle %p (did the "
				   "registration fail?)",
			  Handle);
	return status;
}

void ke_bound_callbacks_each(void (*each)(void *context, const struct ke_registry_entry *entry),
			     void *context)
{
	ke_registry_each(&bound_callbacks, each, context);
}
