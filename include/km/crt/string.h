/* SPDX-License-Identifier: MIT
 *
 * The C functions that the kernel exports (DEF-313), for drivers. The core does not include this: its memcpy and relatives
 * are its own, with the SysV convention.
 */
#pragma once
#ifdef _WIN32
#include <stdarg.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *one, const void *two, size_t n);
size_t strlen(const char *text);
int strcmp(const char *one, const char *two);
size_t wcslen(const wchar_t *text);
int _stricmp(const char *one, const char *two);
int _wcsicmp(const wchar_t *one, const wchar_t *two);
#ifdef __cplusplus
}
#endif
#endif
