/* SPDX-License-Identifier: MIT */
/* machine.h: what the files of this part share: commands to the control thread and the time limit.
 */
#pragma once

#include "ke/processor_change.h"
#include "ke/request.h"
#include "ketch/ketch.h"

extern struct ketch_options machine_options;

/* Wait until the last command, whose waiting may have been interrupted, is over: before its memory
 * is used again. */
enum ketch_outcome machine_idle(void);
/* Run a command in the control thread and wait for it, the machine's stop, or the end of the run's
 * time. */
enum ketch_outcome machine_command(struct ke_command *command);
/* True once after ketch_interrupt; from then on the run's end is near. */
bool machine_interrupted(void);
/* Wait until `done` answers true; the same outcomes. For host threads. */
enum ketch_outcome machine_wait(bool (*done)(void *context), void *context, uint64_t poll_ns);

/* The thread that adds processors. PASSIVE_LEVEL. */
NTSTATUS machine_processors_initialize(void);
/* Add one, with all notifications (PRC-50). PASSIVE_LEVEL, on a thread of the core's own. */
NTSTATUS machine_processor_add(enum ke_add how, struct ke_added *added);

/* The RNICs and how NDK functions complete and fail. False: machine_message says why. */
bool machine_network(const struct ketch_options *options);

extern char machine_message[16384];
