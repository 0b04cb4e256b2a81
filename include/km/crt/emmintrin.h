/* SPDX-License-Identifier: MIT
 *
 * The compiler's emmintrin.h, without our names for what it defines itself.
 */
#pragma once
#include "../intrin_undef.h"
#include_next <emmintrin.h>
