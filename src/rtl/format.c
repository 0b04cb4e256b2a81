/* SPDX-License-Identifier: MIT */
/*
 * format.c: the printf language of the Windows kernel, written once for DbgPrint, the CRT exports
 * and our own messages.
 *
 * Pure code: no locks, no allocation, no tables that are written; any IRQL and NMI callbacks too
 * (DEF-22, NMI-34). Implements PLT-55 and the formatting half of DEF-312 and DEF-313.
 *
 * The language is Microsoft's also for our own messages: %l is 32 bit, %ll and %I64 are 64 bit, %p
 * is 16 upper-case digits. Chosen where the documents are silent: the ANSI code page is UTF-8, so
 * %S and %wZ lose nothing; a NULL text prints as (null); %n writes nothing and counts as invalid; a
 * floating point conversion takes its argument and prints '?'.
 */
#include "rtl/rtl_internal.h"

/* A width or precision above this is cut: no text of the kernel is longer, and lengths cannot wrap.
 */
#define FORMAT_LIMIT 0x7fffffffu

/* ---- The specification ------------------------------------------------------------------------
 */

static unsigned peek(const struct format_state *state)
{
	if (state->format_wide)
		return *(const WCHAR *)state->format;
	return *(const unsigned char *)state->format;
}

static void skip(struct format_state *state)
{
	state->format = (const char *)state->format + (state->format_wide ? sizeof(WCHAR) : 1);
}

static bool accept(struct format_state *state, unsigned character)
{
	if (peek(state) != character)
		return false;
	skip(state);
	return true;
}

static size_t read_number(struct format_state *state)
{
	size_t number = 0;
	while (peek(state) >= '0' && peek(state) <= '9') {
		number = number * 10 + (peek(state) - '0');
		if (number > FORMAT_LIMIT)
			number = FORMAT_LIMIT;
		skip(state);
	}
	return number;
}

static void read_flags(struct format_state *state, struct format_spec *spec)
{
	for (;; skip(state)) {
		switch (peek(state)) {
		case '-':
			spec->left = true;
			break;
		case '+':
			spec->plus = true;
			break;
		case ' ':
			spec->space = true;
			break;
		case '#':
			spec->alternate = true;
			break;
		case '0':
			spec->zero = true;
			break;
		default:
			return;
		}
	}
}

static void read_width(struct format_state *state, struct format_spec *spec)
{
	if (!accept(state, '*')) {
		spec->width = read_number(state);
		return;
	}
	int64_t width = (int32_t)format_next_32(state->arguments);
	if (width < 0) {
		spec->left = true;
		width = -width;
	}
	spec->width = (size_t)width > FORMAT_LIMIT ? FORMAT_LIMIT : (size_t)width;
}

static void read_precision(struct format_state *state, struct format_spec *spec)
{
	if (!accept(state, '.'))
		return;
	spec->has_precision = true;
	if (!accept(state, '*')) {
		spec->precision = read_number(state);
		return;
	}
	int32_t precision = (int32_t)format_next_32(state->arguments);
	if (precision < 0)
		spec->has_precision = false; /* as if it were absent */
	else
		spec->precision = (size_t)precision;
}

/* I, I32, I64; true when the I was the start of one. */
static void read_size_i(struct format_state *state, struct format_spec *spec)
{
	const void *after = state->format;
	spec->size = SIZE_64; /* plain I: the size of a pointer */
	if (accept(state, '6')) {
		if (accept(state, '4'))
			return;
	} else if (accept(state, '3') && accept(state, '2')) {
		spec->size = SIZE_32;
		return;
	}
	state->format = after;
}

static void read_size(struct format_state *state, struct format_spec *spec)
{
	if (accept(state, 'h')) {
		spec->size = accept(state, 'h') ? SIZE_BYTE : SIZE_SHORT;
	} else if (accept(state, 'l')) {
		spec->size = accept(state, 'l') ? SIZE_64 : SIZE_LONG;
	} else if (accept(state, 'w')) {
		spec->size = SIZE_WIDE;
	} else if (accept(state, 'I')) {
		read_size_i(state, spec);
	} else if (accept(state, 'j') || accept(state, 'z') || accept(state, 't')) {
		spec->size = SIZE_64;
	} else {
		accept(state, 'L'); /* long double: the same as double */
	}
}

/* ---- The loop and its callers -------------------------------------------------------------------
 */

struct rtl_format_result rtl_format_run(struct rtl_output *output, const void *format,
					bool format_wide, struct rtl_arguments *arguments)
{
	struct format_state state = {.out = output,
				     .format = format,
				     .format_wide = format_wide,
				     .arguments = arguments};
	for (;;) {
		unsigned character = peek(&state);
		if (!character)
			break;
		skip(&state);
		if (character != '%') {
			format_put(output, character);
			continue;
		}
		struct format_spec spec = {0};
		read_flags(&state, &spec);
		read_width(&state, &spec);
		read_precision(&state, &spec);
		read_size(&state, &spec);
		if (!peek(&state)) { /* the format ends inside a conversion */
			state.result.invalid = true;
			break;
		}
		character = peek(&state);
		skip(&state);
		format_convert(&state, &spec, character);
	}
	state.result.length = output->length;
	return state.result;
}

struct rtl_format_result rtl_format(char *buffer, size_t size, const char *format,
				    struct rtl_arguments *arguments)
{
	struct rtl_output out = {.buffer = buffer, .room = size ? size - 1 : 0};
	struct rtl_format_result result = rtl_format_run(&out, format, false, arguments);
	if (size)
		buffer[out.length < size ? out.length : size - 1] = 0;
	return result;
}

size_t rtl_vprint(char *buffer, size_t size, const char *format, va_list arguments)
{
	struct rtl_arguments source = {.microsoft = false};
	va_copy(source.sysv, arguments);
	struct rtl_format_result result = rtl_format(buffer, size, format, &source);
	va_end(source.sysv);
	return result.length;
}

size_t rtl_print(char *buffer, size_t size, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	size_t length = rtl_vprint(buffer, size, format, arguments);
	va_end(arguments);
	return length;
}
