/* SPDX-License-Identifier: MIT
 *
 * ntddk.h: wdm.h and what is not WDM: the shared page, further thread and process functions.
 */
#pragma once
#include "wdm.h"
#include "ntddk/shared_data.h"
#include "ntddk/zw.h"
