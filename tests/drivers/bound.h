/* SPDX-License-Identifier: MIT */
/* bound.h: what the bound_* drivers share. */
#pragma once

#include "check.h"
#include <nttrap.h>

/* DEF-27: the registers of the user thread, in a callback; NULL outside of one. */
CHECK_HELPER KTRAP_FRAME *bound_frame(VOID)
{
	return *(KTRAP_FRAME **)((PUCHAR)KeGetCurrentThread() + 0x90);
}

/* Put the index of bound_program32 into range. */
CHECK_HELPER BOUND_CALLBACK_STATUS bound_handle(VOID)
{
	bound_frame()->Rax = 3;
	return BoundExceptionHandled;
}

/* What is left to check when the programs have run. */
CHECK_HELPER VOID bound_deregister(PVOID handle)
{
	CHECK(KeDeregisterBoundCallback(handle) == STATUS_SUCCESS, "BND-2, BND-7 deregistration");
}
