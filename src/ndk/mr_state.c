/* SPDX-License-Identifier: MIT */
/*
 * mr_state.c: the state table of memory regions (NDK-128), as a table.
 *
 * A row is a state, a column what the consumer asks for; a cell the next state, or the status that
 * refuses it. What the consumer asked for ends by one of `ends`. A step is one compare and swap, so
 * of two calls at once one is refused. Any IRQL, no locks.
 *
 * The documents name no status for an illegal step: STATUS_INVALID_DEVICE_STATE for the wrong time,
 * STATUS_INVALID_PARAMETER for the wrong kind of region. A close in P1, P2 or P3 waits for the end
 * of the request and takes no step.
 */
#include "ndk/mr_state.h"
#include <ntstatus.h>

struct cell {
	uint8_t next;
	NTSTATUS refusal; /* 0: the step is legal */
};

/* clang-format off */
#define C    {NDK_MR_CREATED, 0}
#define P1   {NDK_MR_REGISTERING, 0}
#define REG  {NDK_MR_REGISTERED, 0}
#define P2   {NDK_MR_DEREGISTERING, 0}
#define P3   {NDK_MR_INITIALIZING, 0}
#define INIT {NDK_MR_INITIALIZED, 0}
#define FREG {NDK_MR_FAST, 0}
#define END  {NDK_MR_CLOSED, 0}
#define IDS  {0, STATUS_INVALID_DEVICE_STATE}
#define IP   {0, STATUS_INVALID_PARAMETER}

static const struct cell table[NDK_MR_STATES][NDK_MR_ASKED] = {
	/*                        Register  Deregister  InitFast  FastRegister  Invalidate  Bind  Close */
	[NDK_MR_CREATED] =       {P1,       IDS,        IP,       IP,           IP,         IDS,  END},
	[NDK_MR_REGISTERING] =   {IDS,      IDS,        IP,       IP,           IP,         IDS,  IDS},
	[NDK_MR_REGISTERED] =    {IDS,      P2,         IP,       IP,           IP,         REG,  END},
	[NDK_MR_DEREGISTERING] = {IDS,      IDS,        IP,       IP,           IP,         IDS,  IDS},
	[NDK_MR_FAST_CREATED] =  {IP,       IP,         P3,       IDS,          IDS,        IP,   END},
	[NDK_MR_INITIALIZING] =  {IP,       IP,         IDS,      IDS,          IDS,        IP,   IDS},
	[NDK_MR_INITIALIZED] =   {IP,       IP,         P3,       FREG,         IDS,        IP,   END},
	[NDK_MR_FAST] =          {IP,       IP,         IDS,      IDS,          INIT,       FREG, END},
	[NDK_MR_CLOSED] =        {IDS,      IDS,        IDS,      IDS,          IDS,        IDS,  IDS},
};

static const struct {
	uint8_t from, to;
} ends[NDK_MR_EVENTS] = {
	[NDK_MR_REGISTER_DONE] =       {NDK_MR_REGISTERING, NDK_MR_REGISTERED},
	[NDK_MR_REGISTER_FAILED] =     {NDK_MR_REGISTERING, NDK_MR_CREATED},
	[NDK_MR_DEREGISTER_DONE] =     {NDK_MR_DEREGISTERING, NDK_MR_CREATED},
	[NDK_MR_DEREGISTER_FAILED] =   {NDK_MR_DEREGISTERING, NDK_MR_REGISTERED},
	[NDK_MR_INITIALIZE_DONE] =     {NDK_MR_INITIALIZING, NDK_MR_INITIALIZED},
	[NDK_MR_INITIALIZE_FAILED] =   {NDK_MR_INITIALIZING, NDK_MR_FAST_CREATED},
	[NDK_MR_REINITIALIZE_FAILED] = {NDK_MR_INITIALIZING, NDK_MR_INITIALIZED},
};
/* clang-format on */

static const char *const names[NDK_MR_STATES] = {
	[NDK_MR_CREATED] = "not registered",
	[NDK_MR_REGISTERING] = "being registered",
	[NDK_MR_REGISTERED] = "registered",
	[NDK_MR_DEREGISTERING] = "being deregistered",
	[NDK_MR_FAST_CREATED] = "not initialised",
	[NDK_MR_INITIALIZING] = "being initialised",
	[NDK_MR_INITIALIZED] = "initialised, not fast-registered",
	[NDK_MR_FAST] = "fast-registered",
	[NDK_MR_CLOSED] = "closed",
};

NTSTATUS ndk_mr_step(_Atomic uint32_t *state, enum ndk_mr_event event)
{
	uint32_t now = atomic_load_explicit(state, memory_order_acquire), next;
	do {
		if (event < NDK_MR_ASKED) {
			const struct cell *cell = &table[now][event];
			if (cell->refusal)
				return cell->refusal;
			next = cell->next;
		} else if (event < NDK_MR_EVENTS && ends[event].from == now) {
			next = ends[event].to;
		} else {
			return STATUS_INTERNAL_ERROR;
		}
		/* Releases what the step before wrote to who takes the next one. */
	} while (!atomic_compare_exchange_weak_explicit(state, &now, next, memory_order_acq_rel,
							memory_order_acquire));
	return STATUS_SUCCESS;
}

const char *ndk_mr_state_name(uint32_t state)
{
	return names[state];
}
