/* SPDX-License-Identifier: MIT */
/*
 * crt_print.c: formatting into memory, under the C names that images import (DEF-313, DEF-312). See
 * format.c for the language.
 *
 * Pure code, no locks; any IRQL on resident memory. The results of the _ functions are those of
 * Microsoft's library: the length when it fits; -1 and no terminator when it does not; a text that
 * fills the buffer exactly has no terminator either.
 */
#include "rtl/rtl_internal.h"

static struct rtl_arguments microsoft(__builtin_ms_va_list list)
{
	struct rtl_arguments arguments = {.microsoft = true, .ms = list};
	return arguments;
}

static int print(void *to, size_t room, const void *format, bool wide, __builtin_ms_va_list list)
{
	struct rtl_arguments arguments = microsoft(list);
	struct rtl_output out = {.buffer = to, .room = room, .wide = wide};
	rtl_format_run(&out, format, wide, &arguments);
	if (out.length < room) {
		if (wide)
			((WCHAR *)to)[out.length] = 0;
		else
			((char *)to)[out.length] = 0;
	}
	if (!to && !room) /* only the length is asked for */
		return (int)out.length;
	return out.length <= room ? (int)out.length : -1;
}

int NTAPI crt_vsnprintf(char *to, size_t size, const char *format, __builtin_ms_va_list list)
{
	return print(to, size, format, false, list);
}

int NTAPI crt_vsnwprintf(WCHAR *to, size_t size, const WCHAR *format, __builtin_ms_va_list list)
{
	return print(to, size, format, true, list);
}

int NTAPI crt_snprintf(char *to, size_t size, const char *format, ...)
{
	__builtin_ms_va_list list;
	__builtin_ms_va_start(list, format);
	int result = print(to, size, format, false, list);
	__builtin_ms_va_end(list);
	return result;
}

int NTAPI crt_snwprintf(WCHAR *to, size_t size, const WCHAR *format, ...)
{
	__builtin_ms_va_list list;
	__builtin_ms_va_start(list, format);
	int result = print(to, size, format, true, list);
	__builtin_ms_va_end(list);
	return result;
}

/* As large as an object can be, in characters. */
#define UNBOUNDED ((size_t)0x7fffffff)

int NTAPI crt_vsprintf(char *to, const char *format, __builtin_ms_va_list list)
{
	return print(to, UNBOUNDED, format, false, list);
}

int NTAPI crt_sprintf(char *to, const char *format, ...)
{
	__builtin_ms_va_list list;
	__builtin_ms_va_start(list, format);
	int result = print(to, UNBOUNDED, format, false, list);
	__builtin_ms_va_end(list);
	return result;
}

int NTAPI crt_swprintf(WCHAR *to, const WCHAR *format, ...)
{
	__builtin_ms_va_list list;
	__builtin_ms_va_start(list, format);
	int result = print(to, UNBOUNDED, format, true, list);
	__builtin_ms_va_end(list);
	return result;
}
