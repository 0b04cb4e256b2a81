/* SPDX-License-Identifier: MIT */
/* mr_state.h: the states of a memory region (NDK-128); see mr_state.c. */
#pragma once

#include <ntdef.h>
#include <stdatomic.h>
#include <stdint.h>

enum ndk_mr_state {
	NDK_MR_CREATED,       /* C: normal */
	NDK_MR_REGISTERING,   /* P1 */
	NDK_MR_REGISTERED,    /* REG */
	NDK_MR_DEREGISTERING, /* P2 */
	NDK_MR_FAST_CREATED,  /* F: fast-register */
	NDK_MR_INITIALIZING,  /* P3 */
	NDK_MR_INITIALIZED,   /* INIT, INVALIDATED */
	NDK_MR_FAST,          /* FREG */
	NDK_MR_CLOSED,
	NDK_MR_STATES,
};

enum ndk_mr_event {
	/* asked for by the consumer */
	NDK_MR_REGISTER,
	NDK_MR_DEREGISTER,
	NDK_MR_INITIALIZE,
	NDK_MR_FAST_REGISTER,
	NDK_MR_INVALIDATE,
	NDK_MR_BIND,
	NDK_MR_CLOSE,
	NDK_MR_ASKED,
	/* how that ended */
	NDK_MR_REGISTER_DONE = NDK_MR_ASKED,
	NDK_MR_REGISTER_FAILED,
	NDK_MR_DEREGISTER_DONE,
	NDK_MR_DEREGISTER_FAILED, /* a window is bound, or on demand */
	NDK_MR_INITIALIZE_DONE,
	NDK_MR_INITIALIZE_FAILED,   /* the first */
	NDK_MR_REINITIALIZE_FAILED, /* a later one: the former maximum stays */
	NDK_MR_EVENTS,
};

/* Take the step: STATUS_SUCCESS and the state has changed, or the status that refuses it. */
NTSTATUS ndk_mr_step(_Atomic uint32_t *state, enum ndk_mr_event event);
const char *ndk_mr_state_name(uint32_t state);
