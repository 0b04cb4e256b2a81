/* SPDX-License-Identifier: MIT */
/* ex_internal.h: what the files of ex share. */
#pragma once

#include "ex/ex.h"

NTSTATUS ex_work_initialize(void);
NTSTATUS ex_callbacks_initialize(void);
