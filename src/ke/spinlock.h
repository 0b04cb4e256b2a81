/* SPDX-License-Identifier: MIT */
/*
 * spinlock.h: what the files of the drivers' spin locks share: the table of held locks, which the
 * verifier's checks read.
 *
 * Each processor lists the locks that it holds, with who acquired them; only while the verifier is
 * on. The processor itself writes its list, at DISPATCH_LEVEL or above; another processor clears an
 * entry when it releases a lock that it never acquired (a defect), hence the atomic.
 */
#pragma once

#include "ke/ke.h"
#include "vf/vf.h"

enum ke_held_kind {
	KE_HELD_RAISED = 1, /* acquired by a form that raised the IRQL: `irql` is what it was */
	KE_HELD_DPC = 2,    /* acquired by a form that did not */
	KE_HELD_SHARED = 4, /* a reader of a reader-writer lock */
};

struct ke_held {
	const void *_Atomic lock; /* 0: free */
	uint64_t caller;
	uint8_t kind; /* KE_HELD_RAISED or KE_HELD_DPC, with or without KE_HELD_SHARED */
	KIRQL irql;
};

/* All but the last at DISPATCH_LEVEL or above. */
void ke_held_add(const void *lock, uint64_t caller, unsigned kind, KIRQL irql);
/* 0: this processor does not hold it. */
const struct ke_held *ke_held_find(const void *lock);
/* Copy and forget the entry of this processor, or, when it has none, forget that of any other.
 * False: nobody's. */
bool ke_held_remove(const void *lock, struct ke_held *held, bool *own);
/* True if the list was too short once: entries may be missing, so that absence proves nothing. */
bool ke_held_incomplete(void);

/* In an NMI callback: report NmiForbidden. Else, when the IRQL is outside [min, max], the classic
 * `rule` (VER-29). */
void ke_spin_check_irql(enum vf_rule rule, const char *ddi, uint64_t caller, const void *lock,
			KIRQL min, KIRQL max);
/* `rule` (SpinLock or QueuedSpinLock) is broken: this processor waits for itself (PLT-23). */
_Noreturn void ke_spin_deadlock(enum vf_rule rule, const char *ddi, uint64_t caller,
				const void *lock);
/*
 * A release by a form of `kind`; `irql` is the IRQL that a raising form is asked to return to.
 * Reports what is wrong with it and forgets the entry.
 */
void ke_spin_check_release(enum vf_rule rule, const char *ddi, uint64_t caller, const void *lock,
			   bool free, unsigned kind, KIRQL irql);

/* Verifier on, at DISPATCH_LEVEL, before a wait: compare with the locks that this processor holds
 * (VER-34). */
void ke_held_check_order(const void *lock, uint64_t caller, const char *ddi);

/* lock_order.c */
void ke_lock_order_check(const void *held, const void *lock, uint64_t caller, const char *ddi);

/* Verifier on, before a raise to DISPATCH_LEVEL: pageable memory goes (VER-35). */
VOID NTAPI ke_spin_trim(VOID);

/* Raise to DISPATCH_LEVEL unless the IRQL is higher already (a defect that the entry check has
 * reported). */
static inline KIRQL ke_spin_raise(void)
{
	KIRQL old = ke_irql();
	if (old < DISPATCH_LEVEL) {
		if (vf_on())
			ke_spin_trim();
		ke_irql_set(DISPATCH_LEVEL);
	}
	return old;
}
