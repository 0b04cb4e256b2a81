/* SPDX-License-Identifier: MIT */
/*
 * ndk_hang.c: a driver that waits for what never comes: nobody accepts its connection, and the
 * protection domain that it closes has a region. The run's time ends; what has not completed is
 * told with the place of the call.
 */
#include "ndk_io.h"

static VOID NTAPI ignore_closed(PVOID context)
{
	UNREFERENCED_PARAMETER(context);
}

static void test(struct io *io)
{
	static struct io_end end;
	static struct door door;
	NDK_ADAPTER *a = io->a.adapter;
	NDK_PD *pd = MAKE(NDK_PD, a->Dispatch->NdkCreatePd, a);
	NDK_MR *mr = MAKE(NDK_MR, pd->Dispatch->NdkCreateMr, pd, FALSE);
	UNREFERENCED_PARAMETER(mr);
	pd->Dispatch->NdkClosePd(&pd->Header, ignore_closed, NULL);
	if (!io_end_make(&end, a, &plain) || !door_open(&door, &io->b, 0))
		return;
	CHECK(io_connect_to(&end, &io->a, &door.address) == STATUS_IO_TIMEOUT, "it never returns");
}

IO_DRIVER(test)
