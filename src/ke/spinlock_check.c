/* SPDX-License-Identifier: MIT */
/*
 * The verifier's view of spin locks: who holds which, recursion, releases that do not match
 * (PLT-23, VER-8, VER-23, VER-29).
 *
 * Runs at DISPATCH_LEVEL or above, while the verifier is on; no locks (spinlock.h tells who writes
 * what).
 *
 * Chosen: a second acquire of one lock by one processor cannot end; after the report it is bug
 * check 0xF SPIN_LOCK_ALREADY_OWNED with the lock and the address that acquired it. Any other
 * defect is reported and the call does what it would do without the verifier.
 */
#include "ke/spinlock.h"
#include "ke/pageable.h"
#include "rtl/rtl.h"

#define HELD 24 /* locks of one processor that are followed */

static struct {
	struct ke_held list[HELD];
	bool incomplete;
} held_by[KE_MAXIMUM_PROCESSORS];

void ke_held_add(const void *lock, uint64_t caller, unsigned kind, KIRQL irql)
{
	uint32_t index = ke_this()->index;
	for (unsigned i = 0; i < HELD; i++) {
		struct ke_held *held = &held_by[index].list[i];
		if (atomic_load_explicit(&held->lock, memory_order_relaxed))
			continue;
		held->caller = caller;
		held->kind = (uint8_t)kind;
		held->irql = irql;
		atomic_store_explicit(&held->lock, lock, memory_order_relaxed);
		return;
	}
	held_by[index].incomplete = true;
}

static struct ke_held *find(uint32_t index, const void *lock)
{
	for (unsigned i = 0; i < HELD; i++) {
		if (atomic_load_explicit(&held_by[index].list[i].lock, memory_order_relaxed) ==
		    lock)
			return &held_by[index].list[i];
	}
	return NULL;
}

const struct ke_held *ke_held_find(const void *lock)
{
	return find(ke_this()->index, lock);
}

bool ke_held_remove(const void *lock, struct ke_held *copy, bool *own)
{
	uint32_t self = ke_this()->index;
	uint32_t count = ke_processor_maximum;
	for (uint32_t step = 0; step < count; step++) {
		uint32_t index = (self + step) % count;
		struct ke_held *held = find(index, lock);
		if (!held)
			continue;
		copy->caller = held->caller;
		copy->kind = held->kind;
		copy->irql = held->irql;
		*own = index == self;
		atomic_store_explicit(&held->lock, NULL, memory_order_relaxed);
		return true;
	}
	return false;
}

void ke_held_check_order(const void *lock, uint64_t caller, const char *ddi)
{
	struct ke_held *list = held_by[ke_this()->index].list;
	for (unsigned i = 0; i < HELD; i++) {
		const void *held = atomic_load_explicit(&list[i].lock, memory_order_relaxed);
		if (held)
			ke_lock_order_check(held, lock, caller, ddi);
	}
}

bool ke_held_incomplete(void)
{
	for (uint32_t i = 0; i < ke_processor_maximum; i++) {
		if (held_by[i].incomplete)
			return true;
	}
	return false;
}

void ke_spin_check_irql(enum vf_rule rule, const char *ddi, uint64_t caller, const void *lock,
			KIRQL min, KIRQL max)
{
	KIRQL irql = ke_irql();
	uint64_t object = (uint64_t)(uintptr_t)lock;
	if (ke_in_nmi()) {
		vf_report(VF_NmiForbidden, ddi, caller, object,
			  "used the spin lock %p in an NMI callback", lock);
	} else if (irql < min || irql > max) {
		uint64_t parameters[3] = {irql, object, 0};
		vf_report_with(rule, ddi, caller, object, parameters,
			       "called at %s (%u) for the spin lock %p", vf_irql_name(irql), irql,
			       lock);
	}
}

void ke_spin_deadlock(enum vf_rule rule, const char *ddi, uint64_t caller, const void *lock)
{
	const struct ke_held *held = vf_on() ? ke_held_find(lock) : NULL;
	uint64_t owner = held ? held->caller : 0;
	char text[160];
	rtl_print(text, sizeof text,
		  "%s waits for the spin lock %p, which this processor holds since %p: a deadlock",
		  ddi, lock, (void *)(uintptr_t)owner);
	vf_report(rule, ddi, caller, (uint64_t)(uintptr_t)lock,
		  "waits for the spin lock %p, which this processor holds since %p", lock,
		  (void *)(uintptr_t)owner);
	struct ke_bugcheck_detail detail = {.text = text, .address = caller};
	ke_bugcheck(0xf, (uint64_t)(uintptr_t)lock, owner, 0, 0,
		    &detail); /* SPIN_LOCK_ALREADY_OWNED */
}

void ke_spin_check_release(enum vf_rule rule, const char *ddi, uint64_t caller, const void *lock,
			   bool free, unsigned kind, KIRQL irql)
{
	uint64_t object = (uint64_t)(uintptr_t)lock;
	struct ke_held held;
	bool own;
	if (free) {
		vf_report(rule, ddi, caller, object,
			  "released the spin lock %p, which nobody holds", lock);
		return;
	}
	if (!ke_held_remove(lock, &held, &own)) {
		if (!ke_held_incomplete())
			vf_report(
				rule, ddi, caller, object,
				"released the spin lock %p, which no routine of this kind acquired",
				lock);
		return;
	}
	void *since = (void *)(uintptr_t)held.caller;
	if (!own) {
		vf_report(rule, ddi, caller, object,
			  "released the spin lock %p, which another processor acquired at %p", lock,
			  since);
	} else if ((held.kind ^ kind) & KE_HELD_SHARED) {
		vf_report(rule, ddi, caller, object,
			  "released the lock %p as %s, acquired as %s at %p", lock,
			  kind & KE_HELD_SHARED ? "a reader" : "its writer",
			  held.kind & KE_HELD_SHARED ? "a reader" : "its writer", since);
	} else if (held.kind != kind) {
		vf_report(rule, ddi, caller, object,
			  "released the spin lock %p by a routine that %s the IRQL, acquired at %p "
			  "by one that %s",
			  lock, kind & KE_HELD_RAISED ? "lowers" : "keeps", since,
			  held.kind & KE_HELD_RAISED ? "raised it" : "kept it");
	} else if ((kind & KE_HELD_RAISED) && irql != held.irql) {
		vf_report(rule == VF_SpinLock ? VF_IrqlKeReleaseSpinLock : rule, ddi, caller,
			  object,
			  "released the spin lock %p to %s (%u), acquired at %p from %s (%u)", lock,
			  vf_irql_name(irql), irql, since, vf_irql_name(held.irql), held.irql);
	}
}

VOID NTAPI ke_spin_trim(VOID)
{
	mm_pageable_trim();
}
