/* SPDX-License-Identifier: MIT
 *
 * Formatting into memory, exported by the kernel (DEF-313). There are no files.
 */
#pragma once
#include "../ntdef.h"

EXTERN_C_START

/* Return the length, or -1 when the text does not fit; then it may lack a terminator. */
int CDECL _snprintf(char *to, size_t n, const char *format, ...);
int CDECL _vsnprintf(char *to, size_t n, const char *format, km_va_list list);
int CDECL _snwprintf(wchar_t *to, size_t n, const wchar_t *format, ...);
int CDECL _vsnwprintf(wchar_t *to, size_t n, const wchar_t *format, km_va_list list);
#ifdef _WIN32
int CDECL sprintf(char *to, const char *format, ...);
int CDECL vsprintf(char *to, const char *format, km_va_list list);
#endif

EXTERN_C_END
