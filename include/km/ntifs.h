/* SPDX-License-Identifier: MIT
 *
 * ntifs.h: ntddk.h and what file systems and security drivers use: attaching to processes, objects
 * by name, waits by handle, system information.
 *
 * KAFFINITY_EX and KTRAP_FRAME are incomplete here for drivers, as upstream, because drivers define
 * their own (DEF-15, DEF-29); include ntaffinity.h or nttrap.h to have them; ntsysinfo.h has module
 * lists. The core always has all three.
 */
#pragma once
#include "ntddk.h"
#include "ntifs/ps.h"
#include "ntifs/zw.h"
#ifndef _WIN32
#include "ntaffinity.h"
#include "ntsysinfo.h"
#include "nttrap.h"
#endif
