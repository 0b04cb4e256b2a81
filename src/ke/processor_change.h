/* SPDX-License-Identifier: MIT */
/* processor_change.h: processors that join the running machine, and who is told of it. */
#pragma once

#include "ke/registry.h"

enum ke_add {
	KE_ADD,
	KE_ADD_FAIL,     /* the processor does not start (PRC-37) */
	KE_ADD_MISMATCH, /* it turns out to be of another kind: bug check 0x130 (PRC-39) */
};

/*
 * Add the next processor: tell the drivers, start it, tell them again. PASSIVE_LEVEL, on a thread
 * of the core's own; waits for registrations and other additions that are under way. `idle`: its
 * idle thread (ps_thread_allocate), which it keeps if it starts. *added is set in any case.
 * STATUS_SUCCESS; STATUS_NO_MORE_ENTRIES: the partition is full; STATUS_UNSUCCESSFUL: it did not
 * start (KE_ADD_FAIL); STATUS_INSUFFICIENT_RESOURCES: the host has no more threads; or the first
 * error that a driver set (PRC-36).
 */
struct ke_added {
	uint32_t index; /* of the processor */
	bool vetoed;    /* the status is a driver's */
};
NTSTATUS ke_processor_add(enum ke_add how, PKTHREAD idle, struct ke_added *added);

/* One round of calls: what the drivers are to see, and what they are given. */
struct ke_change_phase {
	KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT said;
	KE_PROCESSOR_CHANGE_NOTIFY_CONTEXT shown; /* a copy, made anew for each call */
	NTSTATUS status;                          /* *OperationStatus; the first error stays */
	uint32_t addition;                        /* number of the operation, for checks */
	/* \Callback\ProcessorAdd's own, kept from one phase to the next. */
	uint64_t clients; /* registrations up to this number were told of the start; 0: none yet */
	uint64_t refuser; /* the client that set the error; 0: none of them */
};

/* Call one routine, of either way of registering (their forms are the same), and judge what it did
 * with what it was given (PRC-6, 17, 24, 36, 44). PASSIVE_LEVEL. */
void ke_change_call(struct ke_change_phase *phase, PPROCESSOR_CALLBACK_FUNCTION routine,
		    void *context);
/* Calls the clients of \Callback\ProcessorAdd by ke_change_call (PRC-43..47); set by ex. */
extern void (*ke_change_object)(struct ke_change_phase *phase);

/* Tell the registered callbacks of a start, as an addition does; for measuring. PASSIVE_LEVEL. */
void ke_change_notify(struct ke_change_phase *phase);

void ke_processor_change_initialize(void);
/* Each registered callback, for unload checks. IRQL <= DISPATCH_LEVEL. */
void ke_change_callbacks_each(void (*each)(void *context, const struct ke_registry_entry *entry),
			      void *context);
