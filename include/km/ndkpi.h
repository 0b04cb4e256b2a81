/* SPDX-License-Identifier: MIT
 *
 * ndkpi.h: the Network Direct kernel provider interface, versions 1.1 to 2.1 (NDK-8..74e).
 * Every function and callback: IRQL <= DISPATCH_LEVEL, but NdkQueryAdapterInfo at PASSIVE_LEVEL.
 */
#pragma once
#include "wdm.h"
#include "ndkinfo.h"
#include "ndkpi/types.h"
#include "ndkpi/functions.h"
#include "ndkpi/dispatch.h"
