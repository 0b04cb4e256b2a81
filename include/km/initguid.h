/* SPDX-License-Identifier: MIT
 *
 * Turns each later DEFINE_GUID of this file into a definition. No include guard: each inclusion
 * does.
 */
#pragma once
#ifndef INITGUID
#define INITGUID
#endif
#include "guiddef.h"
#undef DEFINE_GUID
#define DEFINE_GUID(name, ...) KM_DEFINE_GUID(name, __VA_ARGS__)
