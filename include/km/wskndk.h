/* SPDX-License-Identifier: MIT
 *
 * The way from Winsock Kernel to an NDK adapter (DEF-57..60): WskControlClient with this code fills
 * a WSK_PROVIDER_NDK_DISPATCH by value.
 */
#pragma once
#include "wsk.h"
#include "ifdef.h"
#include "ndkpi.h"

EXTERN_C_START

#define WSKNDK_GET_WSK_PROVIDER_NDK_DISPATCH 'NDKD'

/* An adapter of its own for each call, by interface index; the version is a request (NDK-113).
 * PASSIVE_LEVEL. */
typedef NTSTATUS(WSKAPI *PFN_WSK_OPEN_NDK_ADAPTER)(PWSK_CLIENT Client, NDK_VERSION NdkVersion,
						   NET_IFINDEX InterfaceIndex,
						   NDK_ADAPTER **NdkAdapter);
/* Returns when no callback of the adapter's objects runs any more (NDK-111). PASSIVE_LEVEL. */
typedef VOID(WSKAPI *PFN_WSK_CLOSE_NDK_ADAPTER)(PWSK_CLIENT Client, NDK_ADAPTER *NdkAdapter);

typedef struct _WSK_PROVIDER_NDK_DISPATCH {
	PFN_WSK_OPEN_NDK_ADAPTER WskOpenNdkAdapter;
	PFN_WSK_CLOSE_NDK_ADAPTER WskCloseNdkAdapter;
} WSK_PROVIDER_NDK_DISPATCH, *PWSK_PROVIDER_NDK_DISPATCH;

EXTERN_C_END
