/* SPDX-License-Identifier: MIT
 *
 * The compiler's x86intrin.h, without our names for what it defines itself.
 */
#pragma once
#include "../intrin_undef.h"
#include_next <x86intrin.h>
