/* SPDX-License-Identifier: MIT
 *
 * The C functions over memory and text that the kernel exports (DEF-313), for drivers. The core
 * does not see them: its memcpy and relatives are its own, with the SysV convention.
 */
#pragma once
#ifdef _WIN32
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
void *__cdecl memcpy(void *to, const void *from, size_t n);
void *__cdecl memmove(void *to, const void *from, size_t n);
void *__cdecl memset(void *to, int byte, size_t n);
int __cdecl memcmp(const void *one, const void *two, size_t n);

size_t __cdecl strlen(const char *text);
int __cdecl strcmp(const char *one, const char *two);
int __cdecl strncmp(const char *one, const char *two, size_t n);
char *__cdecl strcpy(char *to, const char *from);
char *__cdecl strncpy(char *to, const char *from, size_t n);
char *__cdecl strcat(char *to, const char *from);
int __cdecl _stricmp(const char *one, const char *two);
int __cdecl _strnicmp(const char *one, const char *two, size_t n);

size_t __cdecl wcslen(const wchar_t *text);
int __cdecl wcscmp(const wchar_t *one, const wchar_t *two);
int __cdecl wcsncmp(const wchar_t *one, const wchar_t *two, size_t n);
wchar_t *__cdecl wcscpy(wchar_t *to, const wchar_t *from);
wchar_t *__cdecl wcsncpy(wchar_t *to, const wchar_t *from, size_t n);
wchar_t *__cdecl wcscat(wchar_t *to, const wchar_t *from);
int __cdecl _wcsicmp(const wchar_t *one, const wchar_t *two);
int __cdecl _wcsnicmp(const wchar_t *one, const wchar_t *two, size_t n);

#ifndef __cplusplus
char *__cdecl strchr(const char *text, int character);
char *__cdecl strrchr(const char *text, int character);
char *__cdecl strstr(const char *text, const char *what);
wchar_t *__cdecl wcschr(const wchar_t *text, wchar_t character);
wchar_t *__cdecl wcsrchr(const wchar_t *text, wchar_t character);
wchar_t *__cdecl wcsstr(const wchar_t *text, const wchar_t *what);
#else
const char *__cdecl strchr(const char *text, int character);
const char *__cdecl strrchr(const char *text, int character);
const char *__cdecl strstr(const char *text, const char *what);
const wchar_t *__cdecl wcschr(const wchar_t *text, wchar_t character);
const wchar_t *__cdecl wcsrchr(const wchar_t *text, wchar_t character);
const wchar_t *__cdecl wcsstr(const wchar_t *text, const wchar_t *what);
#endif
#ifdef __cplusplus
}
#endif
#endif
