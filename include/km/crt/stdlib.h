/* SPDX-License-Identifier: MIT
 *
 * Numbers in text, exported by the kernel. There is no heap here: ExAllocatePool2.
 */
#pragma once
#ifdef _WIN32
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
int __cdecl atoi(const char *text);
long __cdecl atol(const char *text);
unsigned long __cdecl strtoul(const char *text, char **end, int base);
#ifdef __cplusplus
}
#endif
#endif
