/* SPDX-License-Identifier: MIT */
/* ex_internal.h: what the files of ex share. */
#pragma once

#include "ex/ex.h"
#include "vf/vf.h"

NTSTATUS ex_work_initialize(void);
NTSTATUS ex_callbacks_initialize(void);

/* SLISTs: what the exports of these lists do. Any IRQL. */
PSLIST_ENTRY NTAPI ex_slist_pop(PSLIST_HEADER ListHead);
PSLIST_ENTRY NTAPI ex_slist_push(PSLIST_HEADER ListHead, PSLIST_ENTRY ListEntry);
PSLIST_ENTRY NTAPI ex_slist_flush(PSLIST_HEADER ListHead);

/* Who called this DDI. For the quick ones: without the verifier nobody is looked up. */
#define EX_CALLER() (vf_on() ? VF_CALLER() : (uint64_t)__builtin_return_address(0))
