/* SPDX-License-Identifier: MIT
 *
 * The compiler's emmintrin.h, without our names for what it defines itself.
 */
#pragma once
#include "../intrin_undef.h"
#ifdef __clang__ /* it dislikes "next" where this file was not found by the include path */
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Winclude-next-absolute-path"
#include_next <emmintrin.h>
#pragma clang diagnostic pop
#else
#include_next <emmintrin.h>
#endif
