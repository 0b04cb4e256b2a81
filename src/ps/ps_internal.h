/* SPDX-License-Identifier: MIT */
/* ps_internal.h: what the files of ps share. */
#pragma once

#include "ke/callout.h"
#include "ob/ob.h"
#include "ps/ps.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

/* Ids, lists of threads and processes. DISPATCH_LEVEL. */
extern struct ke_lock ps_lock;

#define PS_IDS_MAX 0x4000 /* ids are below 4 * this */

/* An id (a multiple of 4) for a thread or process; 0: no more. The table holds no reference. */
HANDLE ps_id_create(void *object);
void ps_id_remove(HANDLE id);
/* The object of that type, referenced; 0: none. */
void *ps_id_find(HANDLE id, POBJECT_TYPE type);

/* At boot, before there are threads. */
void ps_threads_initialize(void);

enum ps_notify_kind {
	PS_NOTIFY_PROCESS,
	PS_NOTIFY_PROCESS_EX,
	PS_NOTIFY_THREAD,
	PS_NOTIFY_IMAGE,
	PS_NOTIFY_KINDS
};

void ps_notify_thread(PKTHREAD thread, BOOLEAN create);
void ps_notify_process(PKPROCESS process, PS_CREATE_NOTIFY_INFO *info);

/*
 * A thread of a user process, not ready yet: start(context) will run in it. Nobody is told. On
 * success the caller has a reference.
 */
NTSTATUS ps_thread_prepare(PKPROCESS process, void (*start)(void *), void *context,
			   PKTHREAD *thread);
/* The active process after `process` (0: the first); 0: no more. Under ps_lock. */
PKPROCESS ps_process_next(PKPROCESS process);
/* The process object dies (user.c). */
void ps_user_free(PKPROCESS process);
