/* SPDX-License-Identifier: MIT
 *
 * Classes of characters, exported by the kernel.
 */
#pragma once
#ifdef _WIN32
#ifdef __cplusplus
extern "C" {
#endif
int __cdecl isdigit(int character);
int __cdecl isxdigit(int character);
int __cdecl isspace(int character);
int __cdecl isprint(int character);
int __cdecl isupper(int character);
int __cdecl islower(int character);
int __cdecl tolower(int character);
int __cdecl toupper(int character);
#ifdef __cplusplus
}
#endif
#endif
