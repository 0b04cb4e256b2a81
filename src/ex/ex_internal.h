/* SPDX-License-Identifier: MIT */
/* ex_internal.h: what the files of ex share. */
#pragma once

#include "ex/ex.h"

NTSTATUS ex_work_initialize(void);
NTSTATUS ex_callbacks_initialize(void);

/* SLISTs: what the exports of these lists do. Any IRQL. */
PSLIST_ENTRY NTAPI ex_slist_pop(PSLIST_HEADER ListHead);
PSLIST_ENTRY NTAPI ex_slist_push(PSLIST_HEADER ListHead, PSLIST_ENTRY ListEntry);
PSLIST_ENTRY NTAPI ex_slist_flush(PSLIST_HEADER ListHead);
