/* SPDX-License-Identifier: MIT */
/*
 * ps.h: threads and processes as objects.
 *
 * KTHREAD and ETHREAD, KPROCESS and EPROCESS are one object each (DEF-48). The system process owns
 * every kernel thread.
 */
#pragma once

#include "ke/ke.h"

/* Offsets that drivers read without a call (DEF-49) are asserted in process.c. */
struct _KPROCESS {
	DISPATCHER_HEADER Header; /* 000: signalled when the process has ended */
	uint8_t pad018[0x10];
	uint64_t DirectoryTableBase; /* 028 */
	LIST_ENTRY ThreadListHead;   /* 030: of KTHREAD.ThreadListEntry; ps lock */
	uint8_t pad040[0x400];
	HANDLE UniqueProcessId;        /* 440 */
	LIST_ENTRY ActiveProcessLinks; /* 448: ps lock */
	uint8_t pad458[0x150];
	UCHAR ImageFileName[15]; /* 5A8 */
	uint8_t pad5b7[0x609];

	/* own */
	HANDLE parent_id;
	LARGE_INTEGER created;
	NTSTATUS exit_status;
	EX_RUNDOWN_REF exit_protection; /* PsAcquireProcessExitSynchronization */
	struct mm_space *address_space; /* of a user process (mm/user.h); 0: the system's */
	struct ps_user *user;           /* of a user process (ps/user.c) */
	uint8_t tail[0x100];
};

/* ETHREAD is KTHREAD, EPROCESS is KPROCESS. */
static inline PETHREAD ps_ethread(PKTHREAD thread)
{
	return (PETHREAD)thread;
}

static inline PKTHREAD ps_kthread(PETHREAD thread)
{
	return (PKTHREAD)thread;
}

extern struct _OBJECT_TYPE ps_thread_type, ps_process_type;
extern PKPROCESS ps_system_process;

/* Boot, after ob_initialize: the system process. */
NTSTATUS ps_initialize(void);
/* Boot, when threads can run: the reaper of dead objects. */
NTSTATUS ps_start(void);

/* ---- Threads ---- */

/*
 * A thread object that nobody runs yet: zeroed, in the system process, with an id and one
 * reference, the caller's. For processors' idle threads and ps itself.
 */
NTSTATUS ps_thread_allocate(PKTHREAD *thread);

/*
 * Start a kernel thread of the core that runs start(context) at PASSIVE_LEVEL; its return ends the
 * thread. `owner`: on whose behalf (0: nobody's). *thread (may be 0) gets a reference.
 * STATUS_INSUFFICIENT_RESOURCES. PASSIVE_LEVEL.
 */
NTSTATUS ps_thread_create(struct ldr_image *owner, void (*start)(void *), void *context,
			  PKTHREAD *thread);
/* End the calling thread; all frames are abandoned. */
_Noreturn void ps_thread_exit(NTSTATUS status);
/* Its first half, for a thread that goes on for a while without drivers: they are told now. */
void ps_thread_ending(void);

/* Called once in every ending thread, at PASSIVE_LEVEL, before it is signalled (io: its pending
 * IRPs). */
extern void (*ps_thread_rundown)(PKTHREAD thread);
/* A process object with an address space is gone (mm). */
extern void (*ps_space_free)(struct mm_space *space);

/* ---- Processes ---- */

/* A process object without threads; one reference, the caller's. */
NTSTATUS ps_process_create(const char *image_name, PKPROCESS parent, PKPROCESS *process);
/*
 * It is ready (notify routines; their refusal is the result), it is about to end (notify routines,
 * exit synchronization; its memory is still there), it has ended (signal). PASSIVE_LEVEL.
 */
NTSTATUS ps_process_started(PKPROCESS process, PCUNICODE_STRING image, PCUNICODE_STRING command);
void ps_process_ending(PKPROCESS process, NTSTATUS status);
void ps_process_ended(PKPROCESS process, NTSTATUS status);

/* An image was mapped: call the load-image routines. `process` 0: a driver. PASSIVE_LEVEL, before
 * its entry point. */
void ps_image_loaded(PCUNICODE_STRING name, PKPROCESS process, const void *base, size_t size);

/* ---- Unloading ---- */

/* Threads that PsCreateSystemThread started in [base, end) and that have not ended (DEF-341). <=
 * DISPATCH_LEVEL. */
size_t ps_thread_count(uint64_t base, uint64_t end);
