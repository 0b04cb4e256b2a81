/* SPDX-License-Identifier: MIT
 *
 * Formatting into memory, exported by the kernel (DEF-313). There are no files.
 */
#pragma once
#ifdef _WIN32
#include <stdarg.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
/* Return the length, or -1 when the text does not fit; then it may lack a terminator. */
int __cdecl _snprintf(char *to, size_t n, const char *format, ...);
int __cdecl _vsnprintf(char *to, size_t n, const char *format, va_list list);
int __cdecl _snwprintf(wchar_t *to, size_t n, const wchar_t *format, ...);
int __cdecl _vsnwprintf(wchar_t *to, size_t n, const wchar_t *format, va_list list);
int __cdecl sprintf(char *to, const char *format, ...);
int __cdecl vsprintf(char *to, const char *format, va_list list);
#ifdef __cplusplus
}
#endif
#endif
