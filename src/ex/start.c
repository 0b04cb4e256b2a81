/* SPDX-License-Identifier: MIT */
/* start.c: the executive's start, after the pool: worker threads and the system's callback objects.
 * PASSIVE_LEVEL, once. */
#include "ex/ex_internal.h"

NTSTATUS ex_initialize(void)
{
	NTSTATUS status = ex_work_initialize();
	if (NT_SUCCESS(status))
		status = ex_callbacks_initialize();
	return status;
}
