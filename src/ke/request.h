/* SPDX-License-Identifier: MIT */
/* request.h: commands that threads of the host give to the machine; see request.c. */
#pragma once

#include "ke/ke.h"

/* Lives in the host thread's memory until `done` is 1; its run() is called by the queue's thread at
 * PASSIVE_LEVEL. */
struct ke_command {
	void (*run)(struct ke_command *command);
	struct ke_command *next;
	_Atomic uint32_t done; /* 1 when it has run; futex of the host thread */
};

/* Who carries them out, one after the other. */
enum ke_command_queue {
	KE_COMMANDS_CONTROL, /* the control thread */
	KE_COMMANDS_ADD,     /* the thread that adds processors */
	KE_COMMAND_QUEUES,
};

void ke_request_initialize(void);
/* From a thread without a baton. */
void ke_command_post(enum ke_command_queue queue, struct ke_command *command);
/* The queue's thread from here on: carry out what is posted. PASSIVE_LEVEL. */
_Noreturn void ke_commands_serve(enum ke_command_queue queue);

/* Called at DISPATCH_LEVEL after each interrupt of a device thread (KE_DEVICE_LEVEL on processor
 * 0): the devices of NDK. Set at boot. */
extern void (*ke_device_service)(void);
