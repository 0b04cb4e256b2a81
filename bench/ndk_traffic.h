/* SPDX-License-Identifier: MIT */
/* ndk_traffic.h: the two ends of ndk_traffic.c, for the other kernel files of the NDK rows. */
#pragma once

#include <ndkpi.h>

#define BUFFER (1u << 20)

struct end {
	NDK_ADAPTER *adapter;
	NDK_PD *pd;
	NDK_CQ *cq;
	NDK_QP *qp;
	NDK_CONNECTOR *connector;
	NDK_MR *mr; /* all of `data`, all rights */
	PMDL mdl;
	char *data;
	UINT32 local, remote;
};

extern struct end ndk_ends[2]; /* active, passive */
