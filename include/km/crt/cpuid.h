/* SPDX-License-Identifier: MIT
 *
 * The compiler's cpuid.h, without our names for what it defines itself.
 */
#pragma once
#include "../intrin_undef.h"
#if __INCLUDE_LEVEL__ > 0 /* "next" means nothing when this file itself is compiled */
#include_next <cpuid.h>
#endif
