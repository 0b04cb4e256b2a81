/* SPDX-License-Identifier: MIT
 *
 * Where drivers look for GUID_DEVICE_PROCESSOR (PRC-48).
 */
#pragma once
#include "wdmguid.h"
