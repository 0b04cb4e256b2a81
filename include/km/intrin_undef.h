/* SPDX-License-Identifier: MIT
 *
 * Takes back the intrinsics of intrin.h that the compiler's own headers define as well;
 * crt/immintrin.h and its neighbours include this before them.
 */
#pragma once
#include "intrin.h"
#undef _mm_pause
#undef _mm_mfence
#undef _mm_lfence
#undef _mm_sfence
#undef __rdtsc
#undef __rdtscp
#undef __cpuid
#undef __cpuidex
#undef __readeflags
#undef __writeeflags
#undef __popcnt64
#undef _byteswap_ushort
#undef _byteswap_ulong
#undef _byteswap_uint64
#undef __popcnt
#undef _rotl
#undef _rotr
#undef _rotl64
#undef _rotr64
#undef _BitScanForward
#undef _BitScanReverse
#undef __wbinvd
#undef __faststorefence
