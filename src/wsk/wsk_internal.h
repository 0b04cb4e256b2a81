/* SPDX-License-Identifier: MIT */
/* wsk_internal.h: clients and their adapters. */
#pragma once

#include <wsk.h>
#include <wskndk.h>
#include "ke/ke.h"
#include "vf/vf.h"
#include "wsk/wsk.h"

#define WSK_TAG 'ksWK'

/*
 * A registration. All members but `dispatch`, `table` and `caller`, which never change: wsk_lock.
 * It lives until WskDeregister has found nothing of it in use; a pointer to it is never followed
 * before it was found in the list.
 */
struct wsk_client {
	LIST_ENTRY entry;
	PWSK_REGISTRATION block;             /* the driver's; 0: the driver is gone */
	const WSK_CLIENT_DISPATCH *dispatch; /* the driver's */
	WSK_CLIENT_DISPATCH table;           /* a copy of it (DEF-62) */
	uint64_t caller;                     /* who registered */
	uint64_t capture_caller;             /* who captured last */
	uint32_t captures;                   /* without a release */
	uint32_t calls; /* functions that run with it: of the dispatch table, waits */
	bool gone;      /* WskDeregister has begun */
	LIST_ENTRY adapters;
	LIST_ENTRY waiters; /* struct wsk_waiter */
};

/* Somebody who waits for a client to change; on its own stack. */
struct wsk_waiter {
	LIST_ENTRY entry;
	KEVENT changed; /* set for every change since the waiter is in the list */
};

struct wsk_adapter {
	LIST_ENTRY entry; /* in its client's list, until it is closed */
	NDK_ADAPTER *adapter;
	NET_IFINDEX index;
	uint64_t caller; /* who opened it */
	bool closing;
};

extern struct ke_lock wsk_lock; /* DISPATCH_LEVEL; before NDK's lock */

/* By the block, or by what the provider NPI gave as Client; 0: no such. The lock is held. */
struct wsk_client *wsk_client_of(const WSK_REGISTRATION *block);
struct wsk_client *wsk_client_find(const void *client);
/* Something of it has been given back: wake who waits. The lock is held. */
void wsk_client_changed(struct wsk_client *client);

/*
 * At the beginning of each function of the dispatch tables: IRQL, client, capture; what is wrong is
 * reported. 0: refuse; not for a missing capture while the client has an adapter open, which it
 * must be able to close (DEF-71). Else wsk_leave at the end.
 */
struct wsk_client *wsk_enter(PWSK_CLIENT client, KIRQL highest, const char *function,
			     uint64_t caller);
void wsk_leave(struct wsk_client *client);

/* provider.c */
extern const WSK_PROVIDER_DISPATCH wsk_dispatch;
/* adapter.c */
extern const WSK_PROVIDER_NDK_DISPATCH wsk_ndk_dispatch;
/* Report each adapter that a client left open. */
void wsk_adapters_left(const struct vf_unload *unload, struct wsk_client *client);

#define WSK_VERSION MAKE_WSK_VERSION(1, 0)
